/* Exact search over the vectors. Work is cut into tasks of a group of queries and a range of rows. Small groups are
 * scored row by row, a chunk of rows for all queries while it is in the cache. Large groups go through a matrix
 * product: a panel of rows is packed once and multiplied by all queries of the group. The products are rounded
 * otherwise than the distances are, so they only bound them; a sieve scores what may be a hit in the usual way. */
#include "index/flat.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/plugged.h"
#include "index/deadline.h"
#include "index/plugged.h"
#include "index/scan.h"
#include "index/scan_sieve.h"
#include "index/sparse_scan.h"
#include "index/topk.h"

#include <float.h>
#include <stdatomic.h>
#include <string.h>

#define GROUP_MAX 64          /* queries of a task */
#define PANEL_GROUP_MAX 1024  /* the same, multiplied */
#define PANEL_GROUP_MIN 12    /* packing does not pay for fewer */
#define PANEL_K_MAX 2048
#define PANEL_ROWS_MAX 512
#define PANEL_QUERIES 24      /* multiplied at a time */
#define RANGE_MIN 16384       /* rows worth a task of their own */
#define DENSE_SHARE 4         /* a chunk with one row in so many allowed is scored whole */

struct flat_job {
    const struct vectors *vectors;
    const struct index_search *search;
    vecdb_metric metric;
    size_t first_row;         /* where the scan begins */
    size_t group_size, range_count, range_rows;
    struct hit *hits;         /* query_count x k; with several ranges, range_count of these, one after the other */
    size_t *counts;           /* query_count, for each range */
    const float *norms;       /* of rows, COSINE; or NULL */
    bool multiply;
    atomic_uint_fast64_t scored, reranked;
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

/* -- through matrix products */

struct panel_work {
    size_t rows_max;   /* of a panel */
    float *queries;    /* count x dim_stride, normalised under COSINE */
    size_t dim_stride; /* floats */
    float *norms;      /* of the queries */
    float *rows;       /* rows_max x dim: converted rows */
    float *bias;       /* rows_max: squared lengths (L2) */
    float *products;   /* PANEL_QUERIES x rows_max */
    uint8_t *panel;
    struct hit *scratch;
    uint32_t *ids;
    struct scan_query *scans;
    struct sieve *sieves;
};

static void panel_work_free(struct panel_work *work)
{
    mem_free(work->queries);
    mem_free(work->norms);
    mem_free(work->rows);
    mem_free(work->bias);
    mem_free(work->products);
    mem_free(work->panel);
    mem_free(work->scratch);
    mem_free(work->ids);
    mem_free(work->scans);
    mem_free(work->sieves);
}

static vecdb_status panel_work_init(struct panel_work *work, const struct vectors *vectors, size_t count, size_t k)
{
    const struct distance_kernels *kernels = simd_distance();
    size_t dim = vectors->dim, rows = align_up(65536 / dim + 1, 64);

    *work = (struct panel_work){.rows_max = rows < PANEL_ROWS_MAX ? rows : PANEL_ROWS_MAX};
    work->dim_stride = align_up(dim, 16);
    work->queries = mem_aligned_alloc(64, count * work->dim_stride * sizeof(float));
    work->norms = mem_array_alloc(count, sizeof(float));
    work->rows = mem_aligned_alloc(64, work->rows_max * dim * sizeof(float));
    work->bias = mem_aligned_alloc(64, work->rows_max * sizeof(float));
    work->products = mem_aligned_alloc(64, PANEL_QUERIES * work->rows_max * sizeof(float));
    work->panel = mem_aligned_alloc(64, kernels->f32_panel_size(work->rows_max, dim) + 64);
    work->scratch = mem_array_alloc(count * sieve_scratch_hits(k), sizeof(struct hit));
    work->ids = mem_array_alloc(work->rows_max, sizeof(uint32_t));
    work->scans = mem_array_alloc(count, sizeof *work->scans);
    work->sieves = mem_array_alloc(count, sizeof *work->sieves);
    if (!work->queries || !work->norms || !work->rows || !work->bias || !work->products || !work->panel ||
        !work->scratch || !work->ids || !work->scans || !work->sieves) {
        panel_work_free(work);
        return error_nomem("search");
    }
    return VECDB_OK;
}

/* The next rows to multiply, from *at on: their numbers to work->ids. Returns how many. */
static size_t panel_rows(struct panel_work *work, const struct flat_job *job, size_t *at, size_t last)
{
    const uint64_t *allowed = job->search->allowed, *present = job->vectors->present;
    size_t n = 0;

    if (!allowed && !present) {
        while (n < work->rows_max && *at < last)
            work->ids[n++] = (uint32_t)(*at)++;
        return n;
    }
    while (n < work->rows_max && *at < last) {
        uint64_t word = (allowed ? allowed[*at / 64] : ~0ull) & (present ? present[*at / 64] : ~0ull);
        word &= ~0ull << (*at % 64);
        if (!word) {
            *at = (*at / 64 + 1) * 64;
            continue;
        }
        *at = *at / 64 * 64 + (size_t)__builtin_ctzll(word);
        if (*at < last)
            work->ids[n++] = (uint32_t)(*at)++;
    }
    return n;
}

/* Pack the rows in work->ids; returns the largest length among them. */
static float panel_pack(struct panel_work *work, const struct flat_job *job, size_t n)
{
    const struct vectors *vectors = job->vectors;
    const struct code_kernels *codes = simd_codes();
    size_t dim = vectors->dim, block = (size_t)work->ids[0] >> vectors->block_shift;
    bool direct = vectors->type == VECDB_TYPE_FLOAT_VECTOR && job->metric != VECDB_METRIC_COSINE &&
                  work->ids[n - 1] - work->ids[0] == n - 1 && (size_t)work->ids[n - 1] >> vectors->block_shift == block;
    const uint8_t *base = direct ? vectors_row(vectors, work->ids[0]) : (const uint8_t *)work->rows;
    size_t stride = direct ? vectors->stride : dim * sizeof(float);
    float largest = 0;

    for (size_t i = 0; i < n; i++) {
        if (!direct) {
            float *row = work->rows + i * dim;
            scan_to_f32(vectors->type, vectors->dim, vectors_row(vectors, work->ids[i]), row);
            if (job->metric == VECDB_METRIC_COSINE)
                codes->normalize_f32(row, dim, row);
        }
        work->bias[i] = codes->sumsq_f32(base + i * stride, dim);
        if (!(work->bias[i] <= largest))
            largest = work->bias[i];
    }
    simd_distance()->f32_pack(base, stride, NULL, n, dim, work->panel);
    return sqrtf(largest);
}

/* Rows so long that products overflow: score them directly. */
static void panel_direct(struct panel_work *work, size_t count, size_t n)
{
    for (size_t q = 0; q < count; q++) {
        scan_gather(work->sieves[q].query, work->sieves[q].vectors, work->ids, n, work->sieves[q].norms, work->products);
        for (size_t i = 0; i < n; i++)
            sieve_push_exact(&work->sieves[q], work->products[i], work->ids[i]);
    }
}

static void panel_multiply(struct panel_work *work, const struct flat_job *job, size_t count, size_t n, float longest)
{
    const struct distance_kernels *kernels = simd_distance();
    bool l2 = job->metric == VECDB_METRIC_L2;
    size_t dim = job->vectors->dim;
    uint32_t below[PANEL_ROWS_MAX];

    for (size_t first = 0; first < count; first += PANEL_QUERIES) {
        size_t group = count - first < PANEL_QUERIES ? count - first : PANEL_QUERIES;
        kernels->f32_multiply(work->queries + first * work->dim_stride, work->dim_stride * sizeof(float), group,
                              work->panel, n, dim, l2 ? -2 : -1, l2 ? work->bias : NULL, work->products,
                              work->rows_max);
        for (size_t q = first; q < first + group; q++) {
            struct sieve *sieve = &work->sieves[q];
            const float *products = work->products + (q - first) * work->rows_max;
            float norm = work->norms[q], sum = norm + longest;
            float constant = l2 ? norm * norm : job->metric == VECDB_METRIC_COSINE ? 1 : 0;
            /* what a product and a distance may be off, by the kernels' contracts, taken twice */
            float margin = 2 * FLT_EPSILON * (float)(dim + 4) * (l2 ? sum * sum : norm * longest + constant);
            size_t found;
            if (sieve->limit < INFINITY)
                found = simd_compare()->below_f32(products, n, sieve->limit - constant + 2 * margin, 0, below);
            else
                for (found = 0; found < n; found++)
                    below[found] = (uint32_t)found;
            for (size_t i = 0; i < found; i++) {
                float distance = products[below[i]] + constant;
                if (distance - margin <= sieve->limit)
                    sieve_push(sieve, distance - margin, distance + margin, work->ids[below[i]]);
            }
        }
    }
}

static vecdb_status panel_task(struct flat_job *job, size_t first_query, size_t count, size_t first, size_t last,
                               size_t slot)
{
    const struct index_search *search = job->search;
    const struct vectors *vectors = job->vectors;
    size_t scratch_size = align_up(scan_scratch_size(vectors->type, vectors->dim), 64);
    struct panel_work work;
    uint8_t *scratch;
    vecdb_status status = VECDB_OK;
    float longest_query = 0;

    scratch = mem_aligned_alloc(64, count * scratch_size + 64);
    if (!scratch)
        return error_nomem("search");
    if ((status = panel_work_init(&work, vectors, count, search->k)) != VECDB_OK) {
        mem_free(scratch);
        return status;
    }
    for (size_t q = 0; q < count; q++) {
        const uint8_t *query = (const uint8_t *)search->queries + (first_query + q) * search->query_stride;
        float *row = work.queries + q * work.dim_stride;
        scan_prepare(&work.scans[q], vectors->type, job->metric, vectors->dim, query, scratch + q * scratch_size);
        scan_to_f32(vectors->type, vectors->dim, query, row);
        if (job->metric == VECDB_METRIC_COSINE)
            simd_codes()->normalize_f32(row, vectors->dim, row);
        work.norms[q] = sqrtf(simd_codes()->sumsq_f32(row, vectors->dim));
        if (!(work.norms[q] <= longest_query))
            longest_query = work.norms[q];
        sieve_init(&work.sieves[q], &work.scans[q], vectors, search, job->hits + (slot + q) * search->k,
                   work.scratch + q * sieve_scratch_hits(search->k));
        work.sieves[q].norms = job->norms;
    }
    for (size_t n; status == VECDB_OK && (n = panel_rows(&work, job, &first, last)) > 0;) {
        float longest = panel_pack(&work, job, n);
        if (longest < 1e15f && longest_query < 1e15f)
            panel_multiply(&work, job, count, n, longest);
        else
            panel_direct(&work, count, n);
        atomic_fetch_add_explicit(&job->scored, n * count, memory_order_relaxed);
        status = deadline_check(search->deadline);
    }
    for (size_t q = 0; q < count && status == VECDB_OK; q++) {
        job->counts[slot + q] = sieve_finish(&work.sieves[q]);
        atomic_fetch_add_explicit(&job->reranked, work.sieves[q].reranked, memory_order_relaxed);
    }
    panel_work_free(&work);
    mem_free(scratch);
    return status;
}

/* -- */

static vecdb_status flat_task(void *context, size_t i, unsigned worker)
{
    struct flat_job *job = context;
    const struct index_search *search = job->search;
    const struct vectors *vectors = job->vectors;
    size_t group = i / job->range_count, range = i % job->range_count;
    size_t first_query = group * job->group_size, count = search->query_count - first_query;
    size_t scratch_size = scan_scratch_size(vectors->type, vectors->dim);
    size_t first = job->first_row + range * job->range_rows, last = first + job->range_rows;
    size_t slot = range * search->query_count + first_query;
    struct scan_query queries[GROUP_MAX];
    struct topk topk[GROUP_MAX];
    uint8_t *scratch;
    vecdb_status status;

    if (count > job->group_size)
        count = job->group_size;
    if (first > vectors->row_count)
        first = vectors->row_count;
    if (last > vectors->row_count)
        last = vectors->row_count;
    if (job->multiply && count >= PANEL_GROUP_MIN)
        return panel_task(job, first_query, count, first, last, slot);
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
    size_t threads = pool_threads(job->search->pool), rows = job->vectors->row_count - job->first_row;
    size_t queries = job->search->query_count, groups;

    job->multiply = job->vectors->type != VECDB_TYPE_BINARY_VECTOR && job->search->k <= PANEL_K_MAX &&
                    queries >= PANEL_GROUP_MIN * threads;
    job->group_size = (queries + threads - 1) / threads;
    if (job->group_size > (job->multiply ? PANEL_GROUP_MAX : GROUP_MAX))
        job->group_size = job->multiply ? PANEL_GROUP_MAX : GROUP_MAX;
    if (job->multiply) { /* the last group is as large as the others, nearly */
        groups = (queries + job->group_size - 1) / job->group_size;
        job->group_size = (queries + groups - 1) / groups;
    }
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
    return flat_search_from(vectors, 0, metric, search, hits, counts, counters);
}

vecdb_status flat_search_from(const struct vectors *vectors, size_t first_row, vecdb_metric metric,
                              const struct index_search *search, struct hit *hits, size_t *counts,
                              struct index_counters *counters)
{
    struct flat_job job = {.vectors = vectors, .search = search, .metric = metric, .first_row = first_row,
                           .hits = hits, .counts = counts};
    const vecdb_plugin_metric *plugged = plugged_metric(metric);
    size_t groups, slots, bytes;
    vecdb_status status;

    if (search->query_count == 0)
        return VECDB_OK;
    if (type_is_sparse(vectors->type))
        return sparse_scan(vectors, first_row, search, hits, counts, counters);
    if (plugged)
        return plugged_scan(vectors, first_row, plugged, search, hits, counts, counters);
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
    if (counters) {
        counters->rows_scored += atomic_load(&job.scored);
        counters->reranked += atomic_load(&job.reranked);
    }
    return status;
}
