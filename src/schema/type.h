/* Types of fields and values, and metrics: names, sizes, what goes with what. */
#ifndef VECDB_SCHEMA_TYPE_H
#define VECDB_SCHEMA_TYPE_H

#include "base/error.h"

/** "INT64", "FLOAT_VECTOR"; NULL for no type of ours. */
const char *type_name(vecdb_type type);
/** By name, capitals or not; VECDB_TYPE_NONE when there is none. */
vecdb_type type_from_name(const char *name);
static inline bool type_is_vector(vecdb_type type) { return type >= VECDB_TYPE_BINARY_VECTOR; }
static inline bool type_is_sparse(vecdb_type type) { return type == VECDB_TYPE_SPARSE_FLOAT_VECTOR; }
/** Vectors of a fixed width. */
static inline bool type_is_dense(vecdb_type type) { return type_is_vector(type) && !type_is_sparse(type); }
static inline bool type_is_integer(vecdb_type type) { return type >= VECDB_TYPE_INT8 && type <= VECDB_TYPE_INT64; }
static inline bool type_is_float(vecdb_type type) { return type == VECDB_TYPE_FLOAT || type == VECDB_TYPE_DOUBLE; }
/** VARCHAR, JSON, ARRAY, sparse vectors: rows of differing length. */
static inline bool type_is_variable(vecdb_type type)
{
    return type == VECDB_TYPE_VARCHAR || type == VECDB_TYPE_JSON || type == VECDB_TYPE_ARRAY || type_is_sparse(type);
}
/** Bytes of one value of a fixed-width type (vectors: of `dim` elements); 0 for the variable ones. */
size_t type_width(vecdb_type type, uint32_t dim);

/** "L2", "COSINE"; NULL for no metric of ours. */
const char *metric_name(vecdb_metric metric);
/** By name, capitals or not; VECDB_METRIC_DEFAULT when there is none. */
vecdb_metric metric_from_name(const char *name);
/** Whether larger scores are nearer. */
static inline bool metric_is_similarity(vecdb_metric metric)
{
    return metric == VECDB_METRIC_IP || metric == VECDB_METRIC_COSINE;
}
/** Whether vectors of this type can be compared so; VECDB_ERR_UNSUPPORTED names both and what goes with the type. */
vecdb_status metric_check(vecdb_metric metric, vecdb_type type, const char *field);
vecdb_metric metric_default(vecdb_type type);

#endif
