/* Distances as the metric has them, from the vectors themselves. */
#ifndef VECDB_INDEX_GRAPH_EXACT_H
#define VECDB_INDEX_GRAPH_EXACT_H

#include "index/index.h"

struct graph_exact {
    const struct vectors *vectors;
    vecdb_metric metric;
    const void *query;  /* f32 for float16 and bfloat16 rows, else in the rows' type */
    float query_length; /* COSINE */
};

/** `scratch` has room for dim floats. */
void graph_exact_init(struct graph_exact *exact, const struct vectors *vectors, vecdb_metric metric, const void *query,
                      float *scratch);
void graph_exact_distances(const struct graph_exact *exact, const uint32_t *rows, size_t n, float *out);

#endif
