/* What the graph kinds (HNSW, NSG) share: rows as codes, links between them, a few small layers to enter by.
 *
 * Nodes of the base layer are the segment's rows. A walk compares codes only: bytes (lossless where the values are integers
 * that fit a byte, SQ8 otherwise) under squared distance or inner product, or the bits of a binary vector. The best of what it
 * finds is scored again on the vectors themselves, unless the codes are lossless.
 *
 * A row whose code equals an earlier row's is not a node: it hangs in that row's chain (dup_next) and comes out with it.
 * Rows without a value are neither. So all nodes differ, and no clique of equal rows can cut the graph.
 *
 * Layer e > 0 holds about one node in 32^e, drawn by a hash of the row, the first row always (as node 0). A
 * search scans the lowest layer of at most GRAPH_SCAN_MAX nodes, then descends.
 *
 * One thread may add rows while others search: lists are written entry by entry, each a valid node, after the
 * code it leads to; arrays that grow are copied and the old ones kept until the graph is freed. */
#ifndef VECDB_INDEX_GRAPH_H
#define VECDB_INDEX_GRAPH_H

#include "index/deadline.h"
#include "index/graph_codec.h"
#include "index/index.h"

#include <pthread.h>
#include <stdatomic.h>

#define GRAPH_NONE UINT32_MAX      /* ends a list of links; no node */
#define GRAPH_LAYERS 6             /* 2^31 rows leave 64 in the last */
#define GRAPH_LAYER_SHIFT 5        /* one node in 32 is also in the layer above */
#define GRAPH_SCAN_MAX 128         /* nodes scored one after another rather than walked */
#define GRAPH_ROWS_MAX 0x7FFFFFFFu /* a candidate packs its row into 31 bits */
#define GRAPH_DEGREE_MAX 512

struct graph_layer {
    uint32_t count;    /* nodes; in the base layer, rows */
    uint32_t capacity; /* nodes there is room for */
    uint32_t degree;   /* links per node at most */
    uint8_t *codes;    /* count x the codec's stride */
    uint32_t *links;   /* count x degree, GRAPH_NONE after the last */
    uint32_t *lower;   /* each node's number in the layer below; NULL in the base layer */
};

/* What a search sees; replaced as a whole when an array grows or the vectors move. */
struct graph_state {
    struct vectors vectors;
    struct graph_codec codec;
    struct graph_layer layers[GRAPH_LAYERS];
    uint32_t *dup_next;          /* per row: the next one of equal code, or GRAPH_NONE; NULL when there are none */
    struct graph_state *retired; /* an older state, for those who may still read it */
    void *retired_memory[GRAPH_LAYERS * 3 + 1];
    uint32_t recoded;            /* how often codes were replaced by those of another codec */
    uint32_t entry_beam;         /* candidates kept on the way down; 0: GRAPH_ENTRY */
    struct graph_entry *entry;   /* the graph's, or NULL when it does not go with these codes */
};

/* How much effort a recall takes, measured at build time on rows that were not yet in the graph. */
#define GRAPH_CALIBRATION_STEPS 12
struct graph_step {
    float effort, recall; /* of the 10 nearest; both rise from step to step */
};
struct graph_calibration {
    uint32_t query_count; /* 0: not measured */
    uint32_t independent; /* answers, found each by itself, that would tell as much; query_count to ten times it. 0: not measured */
    struct graph_step ef[GRAPH_CALIBRATION_STEPS], gamma[GRAPH_CALIBRATION_STEPS];
};

struct graph_settings {
    uint32_t degree;          /* of the base layer; half of it above, at least 8 */
    uint32_t ef_construction; /* as the user gave it */
    bool fused;               /* layout: sketches beside the nodes, see graph_fused.h */
    bool refine;              /* score more than k again on the vectors, for the k best of them */
    uint64_t seed;
    /* of bulk building only; 0: as efConstruction and degree suggest */
    uint32_t neighbours;      /* from leaves */
    uint32_t beam, candidates; /* of refining: its width, and how many finds are pruned */
    float alpha2;
};

struct graph_scratch;
struct graph_fused;
struct graph_lists;
struct graph_entry;

struct graph {
    struct index base;
    struct graph_settings settings;
    struct graph_calibration calibration;
    _Atomic(struct graph_state *) state;
    _Atomic(struct graph_fused *) fused; /* or NULL */
    _Atomic(struct graph_lists *) lists; /* or NULL; see graph_lists.h */
    struct graph_fused *retired_fused;   /* given up when the graph began to grow; for those who may still read it */
    struct graph_entry *entry;           /* or NULL; for as long as the graph */
    uint32_t first; /* the row in every layer; GRAPH_NONE when no row has a value */
    bool growing;   /* add() was called: lists may change under a search, and not every node need be reachable */
    size_t repaired; /* rows there were when add() last looked for unreachable ones */
    bool mapped;    /* codes and links are the file's */
    pthread_mutex_t lock;           /* of `scratch` */
    struct graph_scratch *scratch;  /* idle ones */
};

static inline const uint8_t *graph_code(const struct graph_layer *layer, size_t stride, size_t node)
{
    return layer->codes + node * stride;
}

/** Layers a row belongs to beyond the base, by its hash. */
static inline unsigned graph_height(uint64_t seed, uint32_t row)
{
    uint64_t counter = seed ^ ((uint64_t)row + 1) * 0xD6E8FEB86659FD93ull, hash = rng_mix(&counter);
    unsigned height = (unsigned)__builtin_ctzll(hash | 1ull << 62) / GRAPH_LAYER_SHIFT;

    return height < GRAPH_LAYERS - 1 ? height : GRAPH_LAYERS - 1;
}

vecdb_status graph_create(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric,
                          const struct graph_settings *settings, struct graph **out);
void graph_free(struct index *index);
/** Arrays of layer e, codes zero and links empty. */
vecdb_status graph_layer_alloc(struct graph_layer *layer, unsigned e, size_t stride, size_t capacity);
/** Huge pages where it is large; 64-byte aligned. */
void *graph_array(size_t count, size_t size);
vecdb_status graph_check(const struct index *index);
size_t graph_memory(const struct index *index);
void graph_reads(const struct index *index, struct index_reads *out);
bool graph_is_complete(const struct index *index);

/** A graph of all rows, built at once (graph_build.c). */
vecdb_status graph_create_built(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric,
                                const struct graph_settings *settings, const struct index_build_context *context,
                                struct index **out);
/** As index_ops.merge; settings are those of the largest part (graph_merge.c). */
vecdb_status graph_merge(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric,
                         struct index *const *parts, const uint32_t *const *row_maps, size_t part_count,
                         const struct index_build_context *context, struct index **out);
/** Make what the layout asks for, of a graph that is finished. */
vecdb_status graph_lay_out(struct graph *graph, struct pool *pool);
/** Rows one batch after another (graph_insert.c). */
vecdb_status graph_add(struct index *index, const struct vectors *vectors, const struct index_build_context *context);

vecdb_status graph_save(const struct index *index, struct buf *out);
vecdb_status graph_open(const struct index_ops *ops, const void *data, size_t size, const struct vectors *vectors,
                        vecdb_metric metric, struct index **out);

#endif
