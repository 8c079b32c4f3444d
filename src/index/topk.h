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
/** Bring the answers of several sources to one search together. They lie query_count x k apart. */
void topk_merge_sources(const struct index_search *search, const struct hit *from, const size_t *from_counts, size_t sources,
                        struct hit *hits, size_t *counts);

#endif
