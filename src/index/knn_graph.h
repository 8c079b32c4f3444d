/* Near neighbours of every row, from all pairs within overlapping leaves. */
#ifndef VECDB_INDEX_KNN_GRAPH_H
#define VECDB_INDEX_KNN_GRAPH_H

#include "index/cluster.h"
#include "simd/kernels.h"

/** Lists of at most k candidates, as graph_key has them, sorted. */
struct knn_lists {
    uint64_t *keys;   /* of node i: keys + i * k */
    uint16_t *counts;
    size_t k;
};

struct knn_input {
    const uint8_t *codes; /* bytes under squared distance */
    size_t stride, dim;
    size_t node_count;    /* numbers nodes may have */
    const uint8_t *part_of; /* NULL, or of each node: those of part `without` get no list, and are in those of others */
    uint8_t without;
    bool apart;             /* and the lists of others hold nobody else */
};

/** The nearest k of each node among those it shares a leaf with. Same leaves, same lists, whatever the threads. */
vecdb_status knn_lists_create(const struct knn_input *input, const struct cluster *cluster, size_t k,
                              const struct index_build_context *context, struct knn_lists *out);
void knn_lists_deinit(struct knn_lists *lists);

/** Ask memory for a node's list. */
static inline void knn_prefetch_list(const struct knn_lists *lists, uint32_t node)
{
    simd_prefetch_line(&lists->counts[node]);
    simd_prefetch(lists->keys + node * lists->k, lists->k * sizeof *lists->keys);
}

#endif
