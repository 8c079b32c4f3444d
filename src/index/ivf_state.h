/* Inside the IVF kinds: an index and what searches see of it. */
#ifndef VECDB_INDEX_IVF_STATE_H
#define VECDB_INDEX_IVF_STATE_H

#include "index/ivf.h"

#include <stdatomic.h>

#define IVF_PARTS_MAX 32 /* then those that were added are merged */
#define IVF_TARGETS 8 /* recalls that the number of lists was measured for */
extern const float ivf_targets[IVF_TARGETS];

/** What searches see: replaced as a whole when rows are added; older ones stay until the index is freed. */
struct ivf_view {
    struct vectors vectors;
    size_t row_count, part_count;
    struct refine_rows *refine; /* or NULL: reranked with the vectors */
    struct ivf_view *older;
    struct ivf_part *parts[];
};

/** What answers are reranked with. */
static inline const struct vectors *ivf_exact(const struct ivf_view *view)
{
    return view->refine ? &view->refine->vectors : &view->vectors;
}

struct ivf {
    struct index base;
    const struct ivf_kind *kind;
    struct coder coder;
    bool refine;
    bool list_count_given; /* by the user: asking for more lists than there are is then a mistake */
    size_t list_count;
    const float *centroids;    /* list_count x code_dim */
    const float *mean, *codebook;
    const uint8_t *signs;
    uint32_t probes[IVF_TARGETS]; /* lists that bring the recall of ivf_targets */
    uint8_t *state;            /* centroids and what follows, when owned */
    size_t state_size;
    /* the nearest centroids: an index over them (L2 and IP), or their sums and squares (bits) */
    const uint8_t *centroid_block[1];
    struct vectors centroid_vectors;
    struct index *coarse;
    bool grouped;              /* it is an IVF_FLAT index, not FLAT: there are so many that they have lists of their own */
    double groups_least;       /* share of these that a query looks through at least */
    float *centroid_sums;
    float *columns;            /* of the codebook */
    const float *refine_mean;
    const uint16_t *order;     /* of dimensions, in two planes */
    unsigned refine_shift;     /* copies for reranking come in blocks of so many rows, a power of two */
    uint8_t **refine_blocks;   /* those that are owned */
    size_t refine_block_count;
    _Atomic(struct ivf_view *) view;
    struct ivf_part **retired; /* merged parts that a search may still be reading */
    size_t retired_count;
};

/** Bytes of centroids, mean, signs and codebook; sets the pointers when base is given. */
size_t ivf_state_layout(struct ivf *ivf, uint8_t *base);
/** What is not stored: coder's pointers, the coarse index. */
vecdb_status ivf_derive(struct ivf *ivf);
struct ivf *ivf_create(const struct ivf_kind *kind, const struct vectors *vectors, vecdb_metric metric);
void ivf_part_free(struct ivf_part *part);
/** Takes `refine` over when it succeeds. */
vecdb_status ivf_publish(struct ivf *ivf, const struct vectors *vectors, struct ivf_part *const *parts, size_t count,
                         struct refine_rows *refine);
/** Copies of all rows of `vectors` for reranking, after those that `before` (or NULL) has; *out NULL when there are none. */
vecdb_status ivf_refine_rows(struct ivf *ivf, const struct vectors *vectors, const struct refine_rows *before,
                             const struct index_build_context *context, struct refine_rows **out);
/** Rows and the list of each. */
struct ivf_assignment {
    const struct vectors *vectors;
    const uint32_t *rows;
    uint32_t *lists;
    size_t count;
};
/** In ivf_balance.c: move centroids from lists that are nearly empty to those that are far too long. moved: room for all rows,
 * receives the places (in `rows`) of those to be assigned anew. */
vecdb_status ivf_rebalance(struct ivf *ivf, const struct ivf_assignment *rows, const struct index_build_context *context,
                           uint32_t *moved, size_t *moved_count);
static inline struct ivf_view *ivf_view(const struct ivf *ivf)
{
    return atomic_load_explicit(&((struct ivf *)(uintptr_t)ivf)->view, memory_order_acquire);
}

/** Learn how many groups it takes. */
vecdb_status ivf_groups_measure(struct ivf *ivf);
/** Where lists are found by groups of them: how many of these to look through for the nearest `want` lists. */
size_t ivf_groups_wanted(const struct ivf *ivf, size_t want);
/** Nearest lists of each query, or nearly (some of them may be missed where `grouped`): query_count x want hits, sorted; hit.row is the
 * list, hit.distance its term: |q - c|^2 (L2 and COSINE), -<q, c> (IP), or an order (bits). floats: query_count x code_dim.
 * want <= list_count. */
vecdb_status ivf_coarse(const struct ivf *ivf, const float *floats, size_t query_count, size_t want,
                        const struct index_search *search, struct hit *lists);

#endif
