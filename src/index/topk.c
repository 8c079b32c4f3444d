#include "index/topk.h"

#include "base/error.h"
#include "base/mem.h"

#include <stdlib.h>

static void sift_down(struct hit *hits, size_t count, size_t i)
{
    struct hit moving = hits[i];

    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= count)
            break;
        if (child + 1 < count && hit_before(&hits[child], &hits[child + 1]))
            child++;
        if (!hit_before(&moving, &hits[child]))
            break;
        hits[i] = hits[child];
        i = child;
    }
    hits[i] = moving;
}

void topk_push(struct topk *topk, float distance, uint32_t row)
{
    struct hit hit = {distance, row};

    if (topk->count < topk->k) {
        size_t i = topk->count++;
        while (i > 0 && hit_before(&topk->hits[(i - 1) / 2], &hit)) {
            topk->hits[i] = topk->hits[(i - 1) / 2];
            i = (i - 1) / 2;
        }
        topk->hits[i] = hit;
    } else {
        if (!hit_before(&hit, &topk->hits[0]))
            return;
        topk->hits[0] = hit;
        sift_down(topk->hits, topk->count, 0);
    }
    if (topk->count == topk->k)
        topk->threshold = topk->hits[0].distance;
}

void topk_finish(struct topk *topk)
{
    for (size_t n = topk->count; n > 1; n--) {
        struct hit worst = topk->hits[0];
        topk->hits[0] = topk->hits[n - 1];
        topk->hits[n - 1] = worst;
        sift_down(topk->hits, n - 1, 0);
    }
}

void topk_merge_sources(const struct index_search *search, const struct hit *from, const size_t *from_counts, size_t sources,
                        struct hit *hits, size_t *counts)
{
    for (size_t q = 0; q < search->query_count; q++) {
        struct topk topk;
        topk_init(&topk, hits + q * search->k, search->k);
        for (size_t source = 0; source < sources; source++) {
            size_t at = source * search->query_count + q;
            for (size_t i = 0; i < from_counts[at]; i++)
                topk_push(&topk, from[at * search->k + i].distance, from[at * search->k + i].row);
        }
        topk_finish(&topk);
        counts[q] = topk.count;
    }
}

vecdb_status topk_sources_begin(struct topk_sources *sources, const struct index_search *search, size_t count,
                                struct hit *hits, size_t *counts)
{
    size_t room;

    *sources = (struct topk_sources){hits, counts, count};
    if (count <= 1)
        return VECDB_OK;
    sources->hits = NULL;
    sources->counts = NULL;
    if (!mem_array_size(count * search->query_count, search->k, &room))
        return error_nomem("search");
    sources->hits = mem_array_alloc(room, sizeof *sources->hits);
    sources->counts = mem_array_zalloc(count * search->query_count, sizeof *sources->counts);
    return sources->hits && sources->counts ? VECDB_OK : error_nomem("search");
}

void topk_sources_end(struct topk_sources *sources, const struct index_search *search, vecdb_status status, struct hit *hits,
                      size_t *counts)
{
    if (sources->count <= 1)
        return;
    if (status == VECDB_OK)
        topk_merge_sources(search, sources->hits, sources->counts, sources->count, hits, counts);
    mem_free(sources->hits);
    mem_free(sources->counts);
}
