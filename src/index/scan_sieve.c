#include "index/scan_sieve.h"

#include <stdlib.h>

#define GATHER 32 /* rows scored at once, so that their cache misses overlap */

void sieve_init(struct sieve *sieve, const struct scan_query *query, const struct vectors *vectors,
                const struct index_search *search, struct hit *hits, struct hit *scratch)
{
    *sieve = (struct sieve){.query = query, .vectors = vectors, .pending = scratch + search->k,
                            .pending_capacity = 2 * search->k + 256, .has_radius = search->has_radius};
    topk_init(&sieve->exact, hits, search->k);
    topk_init(&sieve->upper, scratch, search->k);
    sieve->radius = search->has_radius ? search->radius : INFINITY;
    sieve->limit = sieve->radius;
}

static void lower_limit(struct sieve *sieve, float limit)
{
    if (limit < sieve->limit)
        sieve->limit = limit;
}

void sieve_push_exact(struct sieve *sieve, float distance, uint32_t row)
{
    if (!(distance < INFINITY))
        distance = INFINITY;
    if (sieve->has_radius && !(distance < sieve->radius))
        return;
    if (distance <= sieve->exact.threshold) {
        topk_push(&sieve->exact, distance, row);
        lower_limit(sieve, sieve->exact.threshold);
    }
}

/* Score pending rows from .. to - 1. */
static void rerank(struct sieve *sieve, size_t from, size_t to)
{
    uint32_t rows[GATHER];
    float distances[GATHER];

    while (from < to) {
        size_t n = to - from < GATHER ? to - from : GATHER;
        for (size_t i = 0; i < n; i++)
            rows[i] = sieve->pending[from + i].row;
        scan_gather(sieve->query, sieve->vectors, rows, n, sieve->norms, distances);
        for (size_t i = 0; i < n; i++)
            sieve_push_exact(sieve, distances[i], rows[i]);
        sieve->reranked += n;
        from += n;
    }
}

/* Forget pending rows that are no hits. */
static void squeeze(struct sieve *sieve)
{
    size_t kept = 0;

    for (size_t i = 0; i < sieve->pending_count; i++)
        if (sieve->pending[i].distance <= sieve->limit)
            sieve->pending[kept++] = sieve->pending[i];
    sieve->pending_count = kept;
}

void sieve_push(struct sieve *sieve, float lower, float upper, uint32_t row)
{
    sieve->asked = 0;
    sieve->pending[sieve->pending_count++] = (struct hit){lower, row};
    if (upper < sieve->upper.threshold) {
        topk_push(&sieve->upper, upper, row);
        lower_limit(sieve, sieve->upper.threshold);
    }
    if (sieve->pending_count < sieve->pending_capacity)
        return;
    squeeze(sieve);
    if (sieve->pending_count > sieve->pending_capacity / 2) { /* bounds too wide to tell these apart */
        rerank(sieve, 0, sieve->pending_count);
        sieve->pending_count = 0;
    }
}

static int by_distance(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;

    return hit_before(x, y) ? -1 : 1;
}

/* Ask for pending rows up to `end`. */
static void ask(struct sieve *sieve, size_t end)
{
    uint32_t rows[GATHER];
    size_t n = 0;

    for (; sieve->asked < end && sieve->asked < sieve->pending_count && n < GATHER; sieve->asked++)
        rows[n++] = sieve->pending[sieve->asked].row;
    scan_ask(sieve->vectors, rows, n);
}

void sieve_ask(struct sieve *sieve)
{
    squeeze(sieve);
    qsort(sieve->pending, sieve->pending_count, sizeof *sieve->pending, by_distance);
    ask(sieve, GATHER);
}

size_t sieve_finish(struct sieve *sieve)
{
    size_t done = 0, step = sieve->exact.k < GATHER ? sieve->exact.k : GATHER;

    if (!sieve->asked)
        sieve_ask(sieve);
    while (done < sieve->pending_count && sieve->pending[done].distance <= sieve->limit) {
        size_t end = done + step < sieve->pending_count ? done + step : sieve->pending_count;
        step = 8;
        ask(sieve, end + step);
        rerank(sieve, done, end);
        done = end;
    }
    topk_finish(&sieve->exact);
    return sieve->exact.count;
}
