/* The naive half of the query oracle: rows in an array, every question answered by looking at each of them. */
#ifndef TESTS_QUERIES_MODEL_H
#define TESTS_QUERIES_MODEL_H

#include "base/rng.h"
#include "vecdb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_DIM 24     /* most elements of a dense vector */
#define MODEL_BYTES 8    /* of a binary one */
#define MODEL_DIM_W 4
#define MODEL_PARTITIONS 4
#define MODEL_TEXTS 8
#define MODEL_EXTRA 7    /* what rows take that are older than the field `extra`, which has this default */

struct model_row {
    int64_t key;
    unsigned partition; /* place in model.partitions */
    bool has_w, has_i, has_t, has_m, has_extra;
    int32_t i, t, m, extra;
    double d;
    float v[MODEL_DIM];
    uint8_t bits[MODEL_BYTES];
    float w[MODEL_DIM_W];
};

struct model {
    vecdb_type type;    /* of v */
    uint32_t dim;
    vecdb_metric metric, metric_w;
    bool text_keys, whole; /* whole: all elements are small integers, so that distances have one value only */
    bool has_extra_field;
    bool keyed;         /* t is a partition key: never missing, and there are no other partitions */
    struct model_row *rows;
    size_t count, capacity;
    bool partitions[MODEL_PARTITIONS]; /* whether there; 0 is the default one */
};

void model_free(struct model *model);
/** NULL when there is none. */
struct model_row *model_find(struct model *model, int64_t key);
void model_put(struct model *model, const struct model_row *row);
bool model_delete(struct model *model, int64_t key);
/** Order of keys as the library has it. */
int model_compare_keys(const struct model *model, int64_t a, int64_t b);
/** "k17"; at most 24 bytes. */
void model_key_text(int64_t key, char *out);
/** "a" .. "h": of a row's t. */
const char *model_text(int32_t t);
void model_random_vector(const struct model *model, struct rng *rng, float *v, uint8_t *bits);
/** The score as a user gets it. */
double model_score(const struct model *model, vecdb_metric metric, const float *query, const uint8_t *query_bits,
                   const struct model_row *row);
double model_score_w(vecdb_metric metric, const float *query, const struct model_row *row);
static inline bool model_larger_is_nearer(vecdb_metric metric)
{
    return metric == VECDB_METRIC_IP || metric == VECDB_METRIC_COSINE;
}

/* ---- filters ---- */

struct condition {
    enum { CONDITION_COMPARE, CONDITION_IN, CONDITION_NULL, CONDITION_LIKE, CONDITION_AND, CONDITION_OR, CONDITION_NOT } kind;
    char field;     /* k i t d m x */
    unsigned op;    /* == != < <= > >= */
    bool negated;   /* not in, is not null */
    int values[4];
    size_t value_count;
    struct condition *left, *right;
};

struct condition *condition_random(const struct model *model, struct rng *rng, unsigned depth);
void condition_free(struct condition *condition);
/** 1 true, 0 false, -1 unknown. */
int condition_holds(const struct model *model, const struct condition *condition, const struct model_row *row);
void condition_print(const struct model *model, const struct condition *condition, char *out, size_t room);

#endif
