/* Building: steps that bulk building, insertion and merging share. */
#ifndef VECDB_INDEX_GRAPH_BUILD_H
#define VECDB_INDEX_GRAPH_BUILD_H

#include "index/cluster.h"
#include "index/graph_search.h"
#include "simd/kernels.h"

/** What making one layer's links takes. */
struct graph_linker {
    struct graph *graph;
    struct graph_state *state;
    struct graph_layer *layer;
    const uint32_t *nodes; /* those of the layer that are to be linked */
    size_t node_count;
    const struct index_build_context *context;
};

/** Codes of rows from .. to - 1, in parallel. */
vecdb_status graph_encode_rows(struct graph_state *state, size_t from, size_t to, struct pool *pool);
/** Links that make every node reachable from nodes[0]; serial. Lists are written entry by entry. */
vecdb_status graph_repair(const struct graph_linker *linker);
/** The same for all layers, whose nodes it finds itself. */
vecdb_status graph_repair_layers(struct graph *graph, const struct index_build_context *context);
/** Whether to go on; VECDB_ERR_CANCELLED otherwise. */
vecdb_status graph_progress(const struct index_build_context *context, const char *stage, uint64_t done, uint64_t total);
/** Links of the nodes by leaves, pruning and refining; for byte codes. */
vecdb_status graph_link(const struct graph_linker *linker);
#define GRAPH_NO_PART UINT8_MAX
/** The base layer of a merged graph, whose nodes are linked within their parts so far. Those of GRAPH_NO_PART have no links.
 * `thinned`: many rows have left the parts, so that links are wanting within them too. `cluster` receives the leaves, of about leaf_rows
 * nodes (0: as suits linking), each node in one; it is the caller's, whatever is returned. */
vecdb_status graph_link_parts(const struct graph_linker *linker, const uint8_t *part_of, bool thinned, size_t leaf_rows,
                              struct cluster *cluster);
/** Rows of a new code to `nodes`, which has room for all; the others into the chain of the first that has it. */
vecdb_status graph_find_nodes(struct graph *graph, struct pool *pool, uint32_t *nodes, size_t *node_count);
/** Layers above the base, and the base's links if `base`. `rows` are its nodes, and are used up. `promoted` is a bitmap of rows
 * that are in the first layer above though their hash does not say so; NULL: none. */
vecdb_status graph_link_layers(struct graph *graph, bool base, const uint64_t *promoted, uint32_t *rows, size_t node_count,
                               const struct index_build_context *context);
/** Promote rows into the layer above until searches find nearly all of `nodes`, which are the base layer's. */
vecdb_status graph_cover(struct graph *graph, const uint32_t *nodes, size_t node_count,
                         const struct index_build_context *context);
#define GRAPH_CALIBRATION_QUERIES 256
/** Rows for the calibration, spread over all, of none of the layers above; they leave `nodes` for `held`. Returns how many: 0 where the
 * nodes are so few that calibrating costs more than the effort it saves. */
size_t graph_hold_out(const struct graph *graph, uint32_t *nodes, size_t *node_count, uint32_t held[GRAPH_CALIBRATION_QUERIES]);
/** Measure what recall which effort brings, on rows that are not linked yet. */
vecdb_status graph_calibrate(struct graph *graph, const uint32_t *rows, size_t count,
                             const struct index_build_context *context);
/** Calibrate by the rows held out, if any, and link them. */
vecdb_status graph_take_in_held(struct graph *graph, const uint32_t *held, size_t count,
                                const struct index_build_context *context);
/** Link rows that bulk building left out; their codes are there. */
vecdb_status graph_insert_rows(struct graph *graph, const uint32_t *rows, size_t count,
                               const struct index_build_context *context);

/** Ask memory for all links of a node; a search asks for less (graph_task.h). */
static inline void graph_prefetch_whole_list(const struct graph_layer *layer, uint32_t node)
{
    simd_prefetch(layer->links + (size_t)node * layer->degree, layer->degree * sizeof *layer->links);
}

static inline void graph_set_links(const struct graph_layer *layer, uint32_t node, const uint32_t *links, size_t count)
{
    uint32_t *out = layer->links + (size_t)node * layer->degree;

    for (size_t i = 0; i < layer->degree; i++)
        __atomic_store_n(&out[i], i < count ? links[i] : GRAPH_NONE, __ATOMIC_RELEASE);
}

#endif
