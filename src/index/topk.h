/* The k nearest of what is pushed: a bounded heap with the worst on top, order (distance, row). */
#ifndef VECDB_INDEX_TOPK_H
#define VECDB_INDEX_TOPK_H

#include "index/index.h"

#include <math.h>

/** Over the caller's array of k hits. */
struct topk {
    struct hit *hits;
    size_t count, k;
    float threshold; /* distances at or beyond it are of no use once full; +inf before */
};

static inline bool hit_before(const struct hit *a, const struct hit *b)
{
    return a->distance < b->distance || (a->distance == b->distance && a->row < b->row);
}

static inline void topk_init(struct topk *topk, struct hit *hits, size_t k)
{
    topk->hits = hits;
    topk->count = 0;
    topk->k = k;
    topk->threshold = INFINITY;
}

/** Push a candidate; call it when distance <= topk->threshold (ties go to the smaller row). */
void topk_push(struct topk *topk, float distance, uint32_t row);
/** Sort what is there, best first; nothing may be pushed after. */
void topk_finish(struct topk *topk);
/** Where several sources put their answers to one search, query_count x k apart. */
struct topk_sources {
    struct hit *hits; /* the caller's own where there is one source */
    size_t *counts, count;
};
/** Make room. On failure, too, for topk_sources_end(). */
vecdb_status topk_sources_begin(struct topk_sources *sources, const struct index_search *search, size_t count,
                                struct hit *hits, size_t *counts);
/** Bring the answers together in `hits` and `counts` if all went well so far, and give the room back. */
void topk_sources_end(struct topk_sources *sources, const struct index_search *search, vecdb_status status, struct hit *hits,
                      size_t *counts);
/** Bring the answers of several sources to one search together. They lie query_count x k apart. */
void topk_merge_sources(const struct index_search *search, const struct hit *from, const size_t *from_counts, size_t sources,
                        struct hit *hits, size_t *counts);

#endif
