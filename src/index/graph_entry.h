/* Where a search begins: the nodes of a layer above, each cut down to a few bytes, so that all of them are looked at in the time
 * that a walk takes to score a few. The bytes are the node's place along the directions in which codes differ most (principal
 * components, found by subspace iteration over a sample). The nearest few by them are then scored as they are. */
#ifndef VECDB_INDEX_GRAPH_ENTRY_H
#define VECDB_INDEX_GRAPH_ENTRY_H

#include "index/graph_search.h"

#define GRAPH_ENTRY_DIMS 16
#define GRAPH_ENTRY_NODES 4096 /* at most */
#define GRAPH_ENTRY_TRIED 8    /* scored as they are, at least */

struct graph_entry {
    uint32_t layer, count; /* of state->layers: the first `count` nodes */
    uint32_t dims;         /* a multiple of 4 */
    size_t code_dim;
    float scale;        /* from a sum to a byte */
    float *offsets;     /* dims: added to it */
    float *shift;       /* dims: of a query under inner product, see graph_entry.c; or NULL */
    int8_t *directions; /* dims x code_dim */
    void *panel;        /* the nodes' bytes, as simd_distance() packs them */
};

/** For the layers as they are; *out stays NULL where there is no use for it. */
vecdb_status graph_entry_create(const struct graph_state *state, struct graph_entry **out);
/** The same, of directions that are known: `offsets` and `directions` are copied. */
vecdb_status graph_entry_restore(const struct graph_state *state, uint32_t layer, uint32_t dims, float scale, const float *offsets,
                                 const int8_t *directions, struct graph_entry **out);
void graph_entry_free(struct graph_entry *entry);
size_t graph_entry_memory(const struct graph_entry *entry);
/** Whether it is still worth beginning by, after the layer has grown. */
bool graph_entry_serves(const struct graph_entry *entry, const struct graph_state *state);
/** Nodes of the layer that seem nearest, at most `want`, into `out`, which has room for count + 16. */
size_t graph_entry_nearest(const struct graph_entry *entry, const struct graph_query *query, size_t want, int32_t *scores,
                           uint32_t *out);

#endif
