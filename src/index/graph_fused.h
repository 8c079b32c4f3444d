/* layout=fused: beside each node lie its links and a sketch of every node they lead to, so that one read tells which of them
 * can be near enough; only those are fetched and scored. A sketch is a bit per dimension of the way from the node to its
 * neighbour, after a random rotation (RaBitQ, arXiv:2405.12497; beside the node as in SymphonyQG, arXiv:2411.12229), from
 * which the neighbour's score is estimated. Departs from those in that estimates only rule out: what enters the pool has its
 * true score. Made from codes and links when a graph is built, merged or opened; given up when it begins to grow. */
#ifndef VECDB_INDEX_GRAPH_FUSED_H
#define VECDB_INDEX_GRAPH_FUSED_H

#include "index/graph_search.h"

/* A node's block: links, lanes x u32; then for each link two floats a and b, lanes x f32 each; then the sketches, word by word:
 * words x lanes x u64. Blocks begin at multiples of 64 bytes. */
struct graph_fused {
    size_t words, lanes, block_size, node_count;
    uint8_t *blocks;
    uint8_t *signs; /* of the rotation */
    float *center;  /* code_dim: taken from a code before it is rotated */
    float *offset;  /* code_dim: what makes a code the vector it stands for, in steps; NULL under L2 */
};

/** Make it, where the codes allow; *out stays NULL for codes of bits. */
vecdb_status graph_fused_create(const struct graph_state *state, uint64_t seed, struct pool *pool, struct graph_fused **out);
void graph_fused_free(struct graph_fused *fused);
/** Whether every block has the links of its node. */
bool graph_fused_matches(const struct graph_fused *fused, const struct graph_layer *layer);
size_t graph_fused_memory(const struct graph_fused *fused);

/** Walk the base layer from what the pool holds, as graph_walk does. `x`: the query's floats as graph_codec_query left them;
 * overwritten. */
void graph_fused_walk(const struct graph_fused *fused, struct graph_scratch *scratch, const struct graph_layer *layer,
                      const struct graph_query *query, float *x, struct graph_stop stop, struct index_counters *counters);

#endif
