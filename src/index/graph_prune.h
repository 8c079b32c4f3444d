/* Which of a node's candidates become its links: the relative neighbourhood rule (Malkov & Yashunin's algorithm 4, NSG's
 * MRNG rule) with Vamana's alpha: keep the nearest, and each next one unless a kept one is closer to it by a
 * factor than the node is. Distances are squared where the metric's are, so alpha2 is alpha squared. */
#ifndef VECDB_INDEX_GRAPH_PRUNE_H
#define VECDB_INDEX_GRAPH_PRUNE_H

#include "index/graph_codec.h"

/**
 * @param candidates  keys (graph_key) sorted, each node once, without the node itself.
 * @param out         receives at most `limit` nodes, nearest first.
 * @return how many.
 */
size_t graph_prune(const struct graph_codec *codec, const uint8_t *codes, const uint64_t *candidates, size_t count,
                   float alpha2, size_t limit, uint32_t *out);
/** Sort keys and drop equal ones; returns how many are left. */
size_t graph_sort_keys(uint64_t *keys, size_t count);

#endif
