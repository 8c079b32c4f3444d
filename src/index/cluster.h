/* Rows into small overlapping leaves, for building graphs: k-means in two levels on byte codes. Sums are of integers, so the
 * outcome does not depend on threads. */
#ifndef VECDB_INDEX_CLUSTER_H
#define VECDB_INDEX_CLUSTER_H

#include "index/index.h"

#define CLUSTER_OVERLAP_MAX 4

struct cluster_input {
    const uint8_t *codes; /* of node i: codes + i * stride, `dim` bytes */
    size_t stride, dim;
    const uint32_t *nodes; /* those to be clustered */
    size_t node_count;
    size_t leaf_rows;      /* nodes per leaf, wished for, before overlap */
    unsigned overlap;      /* leaves each node joins */
    uint64_t seed;
};

struct cluster {
    size_t leaf_count;
    size_t *offsets;   /* leaf i holds members[offsets[i] .. offsets[i + 1]) */
    uint32_t *members; /* ascending in each leaf, unless it was cut */
    uint32_t *order;   /* node_count nodes, those of one nearest leaf together */
};

vecdb_status cluster_create(const struct cluster_input *input, struct pool *pool, struct cluster *out);
void cluster_deinit(struct cluster *cluster);

#endif
