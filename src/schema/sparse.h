/* Sparse vectors: in a column a row's bytes are its vecdb_sparse, by ascending index, at a multiple of 4 bytes. */
#ifndef VECDB_SCHEMA_SPARSE_H
#define VECDB_SCHEMA_SPARSE_H

#include "base/buf.h"

/** A vector, or a query: what a search over a sparse field has `query_count` of. */
struct sparse_vector {
    const vecdb_sparse *values;
    size_t count;
};

/** Append a vector, values first .. last - 1, given in any order, as a column keeps it. VECDB_ERR_INVALID: an index twice or too
 * large, a value that is NaN or infinite, or squares that do not stay finite; VECDB_ERR_LIMIT: too many values. The message begins
 * with `field` and `row`. */
vecdb_status sparse_put(const vecdb_sparse *values, uint64_t first, uint64_t last, const char *field, size_t row, struct buf *out);
/** Whether bytes from a file are a vector as a column keeps it; *why, if not NULL, receives what is wrong. */
bool sparse_check(const uint8_t *bytes, size_t size, const char **why);

#endif
