/* Exact search over the vectors. Work is cut into tasks of a group of queries and a range of rows: a chunk of rows is
 * scored for all queries of the group while it is in the cache. */
#include "index/flat.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/deadline.h"
#include "index/scan.h"
#include "index/topk.h"

#include <stdatomic.h>
#include <string.h>

#define GROUP_MAX 64          /* queries of a task */
#define RANGE_MIN 16384       /* rows worth a task of their own */
#define DENSE_SHARE 4         /* a chunk with one row in so many allowed is scored whole */

struct flat_job {
    const struct vectors *vectors;
    const struct index_search *search;
    vecdb_metric metric;
    size_t group_size, range_count, range_rows;
    struct hit *hits;         /* query_count x k; with several ranges, range_count of these, one after the other */
    size_t *counts;           /* query_count, for each range */
    const float *norms;       /* of rows, COSINE; or NULL */
    atomic_uint_fast64_t scored;
};

/* The rows of a chunk that may be returned. */
struct chunk_mask {
    uint64_t words[SCAN_CHUNK / 64];
    size_t count; /* bits set */
};

static void chunk_mask_init(struct chunk_mask *mask, const struct flat_job *job, size_t first, size_t n)
{
    const uint64_t *allowed = job->search->allowed, *present = job->vectors->present;

    bitmap_fill(mask->words, n);
    mask->count = n;
    if (!allowed && !present)
        return;
    for (size_t w = 0; w < bitmap_words(n); w++) {
        if (allowed)
            mask->words[w] &= allowed[first / 64 + w];
        if (present)
            mask->words[w] &= present[first / 64 + w];
    }
    mask->count = bitmap_count(mask->words, n);
}

/* Offer distances of rows in ascending order; rows[i] is the i-th row's number, NULL for first + i. `mask` NULL: all. */
static void offer(struct topk *topk, const struct index_search *search, const float *distances, size_t n, size_t first,
                  const uint32_t *rows, const uint64_t *mask)
{
    const struct compare_kernels *compare = simd_compare();
    uint32_t below[SCAN_CHUNK];
    size_t count = 0, i = 0;

    if (!search->has_radius) {
        for (; i < n && topk->count < topk->k; i++) { /* an overflow is far away, but a distance */
            if (!mask || bitmap_get(mask, i))
                topk_push(topk, distances[i] < INFINITY ? distances[i] : INFINITY,
                          rows ? rows[i] : (uint32_t)(first + i));
        }
    }
    if (i < n) {
        float limit = topk->threshold;
        if (search->has_radius && search->radius < limit)
            limit = search->radius;
        count = compare->below_f32(distances + i, n - i, limit, (uint32_t)i, below);
    }
    for (size_t j = 0; j < count; j++) {
        i = below[j];
        if (distances[i] < topk->threshold && (!mask || bitmap_get(mask, i)))
            topk_push(topk, distances[i], rows ? rows[i] : (uint32_t)(first + i));
    }
}

/* Score rows first .. last - 1, a chunk at a time, for `count` queries. */
static vecdb_status scan_range(struct flat_job *job, const struct scan_query *queries, struct topk *topk, size_t count,
                               size_t first, size_t last)
{
    const struct vectors *vectors = job->vectors;
    float distances[SCAN_CHUNK];
    uint32_t rows[SCAN_CHUNK];
    size_t block_rows = (size_t)1 << vectors->block_shift, scored = 0, since_check = 0;

    for (size_t next; first < last; first = next) {
        struct chunk_mask mask;
        size_t n;

        next = (first | (SCAN_CHUNK - 1)) + 1;
        if (next > last)
            next = last;
        if (block_rows < SCAN_CHUNK && next > (first | (block_rows - 1)) + 1)
            next = (first | (block_rows - 1)) + 1;
        n = next - first;
        /* masks begin at a multiple of 64: small blocks may not */
        if (first % 64) {
            bitmap_fill(mask.words, n);
            for (size_t i = 0; i < n; i++)
                if ((job->search->allowed && !bitmap_get(job->search->allowed, first + i)) ||
                    (vectors->present && !bitmap_get(vectors->present, first + i)))
                    bitmap_clear(mask.words, i);
            mask.count = bitmap_count(mask.words, n);
        } else {
            chunk_mask_init(&mask, job, first, n);
        }
        if (!mask.count)
            continue;
        if (mask.count * DENSE_SHARE >= n) {
            const uint64_t *bits = mask.count == n ? NULL : mask.words;
            for (size_t i = 0; i < count; i++) {
                scan_rows(&queries[i], vectors_row(vectors, first), vectors->stride, n,
                          job->norms ? job->norms + first : NULL, distances);
                offer(&topk[i], job->search, distances, n, first, NULL, bits);
            }
            scored += n * count;
            since_check += n * count;
        } else {
            n = simd_compare()->bits_list(mask.words, bitmap_words(n), (uint32_t)first, rows);
            for (size_t i = 0; i < count; i++) {
                scan_gather(&queries[i], vectors, rows, n, job->norms, distances);
                offer(&topk[i], job->search, distances, n, first, rows, NULL);
            }
            scored += n * count;
            since_check += n * count;
        }
        if (since_check >= 1024) {
            since_check = 0;
            TRY(deadline_check(job->search->deadline));
        }
    }
    atomic_fetch_add_explicit(&job->scored, scored, memory_order_relaxed);
    return VECDB_OK;
}

static vecdb_status flat_task(void *context, size_t i, unsigned worker)
{
    struct flat_job *job = context;
    const struct index_search *search = job->search;
    const struct vectors *vectors = job->vectors;
    size_t group = i / job->range_count, range = i % job->range_count;
    size_t first_query = group * job->group_size, count = search->query_count - first_query;
    size_t scratch_size = scan_scratch_size(vectors->type, vectors->dim);
    size_t first = range * job->range_rows, last = first + job->range_rows;
    size_t slot = range * search->query_count + first_query;
    struct scan_query queries[GROUP_MAX];
    struct topk topk[GROUP_MAX];
    uint8_t *scratch;
    vecdb_status status;

    if (count > job->group_size)
        count = job->group_size;
    if (last > vectors->row_count)
        last = vectors->row_count;
    scratch = mem_aligned_alloc(64, count * scratch_size + 64);
    if (!scratch)
        return error_nomem("search");
    for (size_t q = 0; q < count; q++) {
        const uint8_t *query = (const uint8_t *)search->queries + (first_query + q) * search->query_stride;
        scan_prepare(&queries[q], vectors->type, job->metric, vectors->dim, query, scratch + q * scratch_size);
        topk_init(&topk[q], job->hits + (slot + q) * search->k, search->k);
    }
    status = scan_range(job, queries, topk, count, first, last);
    for (size_t q = 0; q < count && status == VECDB_OK; q++) {
        topk_finish(&topk[q]);
        job->counts[slot + q] = topk[q].count;
    }
    mem_free(scratch);
    return status;
}

/* Bring the ranges' hits together. */
static void merge_ranges(const struct flat_job *job, struct hit *hits, size_t *counts)
{
    size_t query_count = job->search->query_count, k = job->search->k;

    for (size_t q = 0; q < query_count; q++) {
        struct topk topk;
        topk_init(&topk, hits + q * k, k);
        for (size_t range = 0; range < job->range_count; range++) {
            const struct hit *from = job->hits + (range * query_count + q) * k;
            for (size_t i = 0; i < job->counts[range * query_count + q]; i++)
                topk_push(&topk, from[i].distance, from[i].row);
        }
        topk_finish(&topk);
        counts[q] = topk.count;
    }
}

/* Cut the job so that every thread has work: by queries, and by rows when there are few queries. */
static void plan(struct flat_job *job)
{
    size_t threads = pool_threads(job->search->pool), rows = job->vectors->row_count;
    size_t queries = job->search->query_count, groups;

    job->group_size = (queries + threads - 1) / threads;
    if (job->group_size > GROUP_MAX)
        job->group_size = GROUP_MAX;
    groups = (queries + job->group_size - 1) / job->group_size;
    job->range_count = 1;
    if (groups < 2 * threads && threads > 1)
        job->range_count = 2 * threads / groups;
    if (job->range_count > rows / RANGE_MIN)
        job->range_count = rows / RANGE_MIN;
    if (job->range_count == 0)
        job->range_count = 1;
    job->range_rows = align_up((rows + job->range_count - 1) / job->range_count, 1024);
}

vecdb_status flat_search(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                         struct hit *hits, size_t *counts, struct index_counters *counters)
{
    struct flat_job job = {
        .vectors = vectors, .search = search, .metric = metric, .hits = hits, .counts = counts};
    size_t groups, slots, bytes;
    vecdb_status status;

    if (search->query_count == 0)
        return VECDB_OK;
    plan(&job);
    groups = (search->query_count + job.group_size - 1) / job.group_size;
    if (job.range_count > 1) {
        slots = job.range_count * search->query_count;
        if (!mem_array_size(slots, search->k, &bytes))
            return error_nomem("search");
        job.hits = mem_array_alloc(bytes, sizeof *job.hits);
        job.counts = mem_array_zalloc(slots, sizeof *job.counts);
        if (!job.hits || !job.counts) {
            mem_free(job.hits);
            mem_free(job.counts);
            return error_nomem("search");
        }
    }
    status = pool_run(search->pool, groups * job.range_count, flat_task, &job);
    if (job.range_count > 1) {
        if (status == VECDB_OK)
            merge_ranges(&job, hits, counts);
        mem_free(job.hits);
        mem_free(job.counts);
    }
    if (counters)
        counters->rows_scored += atomic_load(&job.scored);
    return status;
}
