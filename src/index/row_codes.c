#include "index/row_codes.h"

#include "base/mem.h"
#include "index/deadline.h"
#include "index/flat.h"
#include "index/ivf_codes.h"
#include "index/topk.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define CHUNK_ROWS 512
#define RANGE_CHUNKS 64 /* worth a task of their own: a smaller scan is over before a thread has woken */
#define GROUP_MAX 32

struct code_chunk {
    struct ivf_part part; /* one list */
    size_t first;
    struct code_chunk *_Atomic next;
};

struct row_codes {
    struct coder coder;
    float *mean;
    size_t first, end;                /* rows with codes; for whoever adds */
    struct code_scratch *scratch;     /* the same */
    struct code_chunk *last;          /* the same */
    struct code_chunk *_Atomic chunks; /* oldest first */
    /* Held by searches; to give chunks back nobody may be. Apart, since taking it writes. */
    _Alignas(CACHE_LINE) pthread_rwlock_t searching;
};

bool row_codes_take(vecdb_type type)
{
    return type == VECDB_TYPE_FLOAT_VECTOR || type == VECDB_TYPE_FLOAT16_VECTOR || type == VECDB_TYPE_BFLOAT16_VECTOR;
}

vecdb_metric row_codes_metric(const struct row_codes *codes) { return codes->coder.metric; }

static void chunk_free(struct code_chunk *chunk)
{
    if (!chunk)
        return;
    part_deinit(&chunk->part);
    mem_free(chunk);
}

void row_codes_free(struct row_codes *codes)
{
    if (!codes)
        return;
    for (struct code_chunk *chunk = atomic_load(&codes->chunks), *next; chunk; chunk = next) {
        next = atomic_load(&chunk->next);
        chunk_free(chunk);
    }
    code_scratch_free(codes->scratch);
    pthread_rwlock_destroy(&codes->searching);
    mem_free(codes->mean);
    mem_free(codes);
}

vecdb_status row_codes_create(vecdb_type type, vecdb_metric metric, uint32_t dim, size_t first_row, struct row_codes **out)
{
    struct row_codes *codes = mem_aligned_zalloc(CACHE_LINE, sizeof *codes);

    *out = NULL;
    if (!codes)
        return error_nomem("codes");
    pthread_rwlock_init(&codes->searching, NULL);
    codes->coder = (struct coder){.kind = CODE_SQ8, .type = type, .metric = metric, .dim = dim, .exact = true};
    coder_layout(&codes->coder);
    codes->first = codes->end = first_row;
    codes->mean = mem_aligned_alloc(64, codes->coder.dim * sizeof(float));
    if (!codes->mean || code_scratch_create(&codes->coder, &codes->scratch) != VECDB_OK) {
        row_codes_free(codes);
        return error_nomem("codes");
    }
    codes->coder.mean = codes->mean;
    *out = codes;
    return VECDB_OK;
}

/* -- adding */

/* The mean of the first chunk; codes of later rows are as good as theirs, if not as short. */
static vecdb_status find_mean(struct row_codes *codes, const struct vectors *vectors)
{
    size_t dim = codes->coder.dim;
    float *row = mem_array_alloc(dim, sizeof *row);

    if (!row)
        return error_nomem("codes");
    memset(codes->mean, 0, dim * sizeof(float));
    for (size_t i = 0; i < CHUNK_ROWS; i++) {
        coder_floats(&codes->coder, vectors_row(vectors, codes->first + i), row);
        simd_codes()->scale_f32(row, dim, 1.0f / CHUNK_ROWS);
        simd_codes()->add_f32(codes->mean, row, dim);
    }
    mem_free(row);
    for (size_t i = 0; i < dim; i++)
        if (!isfinite(codes->mean[i]))
            codes->mean[i] = 0;
    return VECDB_OK;
}

static vecdb_status chunk_create(struct row_codes *codes, const struct vectors *vectors, struct code_chunk **out)
{
    struct code_chunk *chunk = mem_zalloc(sizeof *chunk);
    struct ivf_part *part = &chunk->part;
    vecdb_status status = VECDB_OK;

    *out = NULL;
    if (!chunk)
        return error_nomem("codes");
    chunk->first = codes->end;
    part->list_count = 1;
    part->row_count = part->slot_count = CHUNK_ROWS;
    part->owned_size = part_layout(part, &codes->coder, true, false, NULL);
    if (!(part->owned = mem_aligned_alloc(64, part->owned_size + 64)))
        status = error_nomem("codes");
    if (status == VECDB_OK) {
        part_layout(part, &codes->coder, true, false, part->owned);
        *(uint32_t *)(uintptr_t)part->sizes = CHUNK_ROWS;
        for (size_t i = 0; i < CHUNK_ROWS; i++)
            ((uint32_t *)(uintptr_t)part->rows)[i] = (uint32_t)(chunk->first + i);
        status = part_encode(part, &codes->coder, NULL, vectors, NULL, 0, CHUNK_ROWS, codes->scratch, NULL, NULL);
    }
    if (status == VECDB_OK)
        status = part_derive(part, &codes->coder);
    if (status == VECDB_OK)
        *out = chunk;
    else
        chunk_free(chunk);
    return status;
}

vecdb_status row_codes_add(struct row_codes *codes, const struct vectors *vectors)
{
    while (vectors->row_count >= codes->end + CHUNK_ROWS) {
        struct code_chunk *chunk;
        if (codes->end == codes->first)
            TRY(find_mean(codes, vectors));
        TRY(chunk_create(codes, vectors, &chunk));
        if (codes->last)
            atomic_store_explicit(&codes->last->next, chunk, memory_order_release);
        else
            atomic_store_explicit(&codes->chunks, chunk, memory_order_release);
        codes->last = chunk;
        codes->end += CHUNK_ROWS;
    }
    return VECDB_OK;
}

void row_codes_forget(struct row_codes *codes, size_t row)
{
    struct code_chunk *first = atomic_load(&codes->chunks), *next;

    /* the last chunk stays: it is where the next one is hung */
    if (!first || first == codes->last || first->first + CHUNK_ROWS > row || pthread_rwlock_trywrlock(&codes->searching) != 0)
        return;
    for (; first != codes->last && first->first + CHUNK_ROWS <= row; first = next) {
        next = atomic_load(&first->next);
        chunk_free(first);
    }
    atomic_store(&codes->chunks, first);
    pthread_rwlock_unlock(&codes->searching);
}

/* -- searching */

struct codes_job {
    const struct row_codes *codes;
    const struct code_chunk **chunks;
    size_t chunk_count, first_row, last_row;
    const struct vectors *vectors;
    const struct index_search *search;
    size_t group_size, range_count;
    struct hit *hits; /* range_count times query_count x k */
    size_t *counts;
    atomic_uint_fast64_t scored, reranked;
};

static vecdb_status scan_chunks(struct codes_job *job, struct code_query *queries, size_t count, size_t first, size_t last)
{
    struct code_target targets[GROUP_MAX];

    for (size_t q = 0; q < count; q++)
        targets[q] = (struct code_target){&queries[q], 0, 0};
    for (size_t c = first; c < last; c++) {
        const struct code_chunk *chunk = job->chunks[c];
        size_t from = job->first_row > chunk->first ? job->first_row - chunk->first : 0;
        size_t to = job->last_row - chunk->first < CHUNK_ROWS ? job->last_row - chunk->first : CHUNK_ROWS;
        part_scan(&chunk->part, &job->codes->coder, 0, from, to, job->vectors, job->search, targets, count);
        TRY(deadline_check(job->search->deadline));
    }
    return VECDB_OK;
}

static vecdb_status codes_task(void *context, size_t i, unsigned worker)
{
    struct codes_job *job = context;
    const struct index_search *search = job->search;
    const struct coder *coder = &job->codes->coder;
    size_t group = i / job->range_count, range = i % job->range_count;
    size_t first_query = group * job->group_size, count = search->query_count - first_query;
    size_t slot = range * search->query_count + first_query, size = code_query_size(coder, search->k, 0);
    struct code_query *queries;
    uint8_t *scratch, *spare;
    vecdb_status status = VECDB_OK;
    uint64_t reranked = 0;

    if (count > job->group_size)
        count = job->group_size;
    queries = mem_array_alloc(count, sizeof *queries);
    scratch = mem_aligned_alloc(64, count * size);
    spare = mem_aligned_alloc(64, code_query_spare(coder));
    if (!queries || !scratch || !spare)
        status = error_nomem("search");
    for (size_t q = 0; q < count && status == VECDB_OK; q++)
        code_query_init(&queries[q], coder, job->vectors, search,
                        (const uint8_t *)search->queries + (first_query + q) * search->query_stride, true, 0, 0,
                        job->hits + (slot + q) * search->k, scratch + q * size, spare);
    if (status == VECDB_OK)
        status = scan_chunks(job, queries, count, job->chunk_count * range / job->range_count,
                             job->chunk_count * (range + 1) / job->range_count);
    for (size_t q = 0; q < count && status == VECDB_OK; q++) {
        job->counts[slot + q] = code_query_finish(&queries[q], coder, job->vectors, search, false, NULL, &reranked);
        atomic_fetch_add_explicit(&job->scored, queries[q].scored, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&job->reranked, reranked, memory_order_relaxed);
    mem_free(queries);
    mem_free(scratch);
    mem_free(spare);
    return status;
}

/* The chunks that have rows wanted; there are none when there is no memory for the list. */
static void list_chunks(struct codes_job *job)
{
    struct code_chunk *first = atomic_load_explicit(&job->codes->chunks, memory_order_acquire), *chunk;
    size_t count = 0;

    while (first && first->first + CHUNK_ROWS <= job->first_row)
        first = atomic_load_explicit(&first->next, memory_order_acquire);
    for (chunk = first; chunk && chunk->first < job->last_row; chunk = atomic_load_explicit(&chunk->next, memory_order_acquire))
        count++;
    if (!count || !(job->chunks = mem_array_alloc(count, sizeof *job->chunks)))
        return;
    for (chunk = first; job->chunk_count < count; chunk = atomic_load_explicit(&chunk->next, memory_order_acquire))
        job->chunks[job->chunk_count++] = chunk;
}

static void plan(struct codes_job *job)
{
    size_t threads = pool_threads(job->search->pool), queries = job->search->query_count, groups;

    job->group_size = (queries + threads - 1) / threads;
    if (job->group_size > GROUP_MAX)
        job->group_size = GROUP_MAX;
    groups = (queries + job->group_size - 1) / job->group_size;
    job->range_count = groups < threads ? job->chunk_count / RANGE_CHUNKS : 1;
    if (job->range_count > 2 * threads)
        job->range_count = 2 * threads;
    if (threads == 1 || job->range_count == 0)
        job->range_count = 1;
}

/* Codes of the chunks listed, and the vectors of the rows on both sides of them. */
static vecdb_status search_chunks(struct codes_job *job, struct hit *hits, size_t *counts, struct index_counters *counters)
{
    const struct index_search *search = job->search;
    size_t coded_first = job->chunks[0]->first, coded_last = job->chunks[job->chunk_count - 1]->first + CHUNK_ROWS, bytes;
    size_t groups, sources, step = search->query_count;
    struct vectors before = *job->vectors;
    vecdb_status status;

    plan(job);
    groups = (search->query_count + job->group_size - 1) / job->group_size;
    sources = job->range_count + 2;
    if (!mem_array_size(sources * step, search->k, &bytes))
        return error_nomem("search");
    job->hits = mem_array_alloc(bytes, sizeof *job->hits);
    job->counts = mem_array_zalloc(sources * step, sizeof *job->counts);
    status = job->hits && job->counts ? pool_run(search->pool, groups * job->range_count, codes_task, job)
                                      : error_nomem("search");
    if (status == VECDB_OK && job->first_row < coded_first) {
        size_t at = job->range_count * step;
        before.row_count = coded_first;
        status = flat_search_from(&before, job->first_row, row_codes_metric(job->codes), search, job->hits + at * search->k,
                                  job->counts + at, counters);
    }
    if (status == VECDB_OK && coded_last < job->last_row) {
        size_t at = (job->range_count + 1) * step;
        status = flat_search_from(job->vectors, coded_last, row_codes_metric(job->codes), search,
                                  job->hits + at * search->k, job->counts + at, counters);
    }
    if (status == VECDB_OK)
        topk_merge_sources(search, job->hits, job->counts, sources, hits, counts);
    mem_free(job->hits);
    mem_free(job->counts);
    return status;
}

vecdb_status row_codes_search(struct row_codes *codes, const struct vectors *vectors, size_t first_row,
                              const struct index_search *search, struct hit *hits, size_t *counts,
                              struct index_counters *counters)
{
    struct codes_job job = {.codes = codes, .vectors = vectors, .search = search, .first_row = first_row,
                            .last_row = vectors->row_count};
    vecdb_status status;

    if (search->query_count == 0)
        return VECDB_OK;
    pthread_rwlock_rdlock(&codes->searching);
    list_chunks(&job);
    status = job.chunk_count ? search_chunks(&job, hits, counts, counters)
                             : flat_search_from(vectors, first_row, codes->coder.metric, search, hits, counts, counters);
    pthread_rwlock_unlock(&codes->searching);
    mem_free(job.chunks);
    if (counters) {
        counters->rows_scored += atomic_load(&job.scored);
        counters->reranked += atomic_load(&job.reranked);
    }
    return status;
}
