/* The queries of a group are turned over: a table leads from an index to the queries that have it and their values there. Rows
 * are then read once for all of them, and mostly what is looked up is not in the table. */
#include "index/sparse_scan.h"

#include "base/mem.h"
#include "index/deadline.h"
#include "index/topk.h"
#include "schema/sparse.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define GROUP_MAX 64
#define RANGE_MIN 8 /* blocks of rows that are worth a task of their own */
#define NO_INDEX UINT32_MAX

/* A query's value at an index. */
struct use {
    uint32_t index, query;
    float value;
};

/* Where the uses of an index are. */
struct slot {
    uint32_t index, first, last; /* NO_INDEX: empty */
};

struct query_table {
    struct use *uses; /* by index */
    struct slot *slots;
    uint32_t mask;
};

struct scan_job {
    const struct vectors *vectors;
    const struct index_search *search;
    size_t first_row, group_size, range_count, range_blocks;
    struct hit *hits; /* range_count times query_count x k */
    size_t *counts;
    atomic_uint_fast64_t scored;
};

/* -- the table */

static uint32_t hash_index(uint32_t index) { return index * 2654435761u ^ index >> 15; }

static int compare_uses(const void *a, const void *b)
{
    const struct use *x = a, *y = b;

    return (x->index > y->index) - (x->index < y->index);
}

static void table_deinit(struct query_table *table)
{
    mem_free(table->uses);
    mem_free(table->slots);
}

static void enter_uses(struct query_table *table, uint32_t first, uint32_t last)
{
    uint32_t at = hash_index(table->uses[first].index) & table->mask;

    while (table->slots[at].index != NO_INDEX)
        at = (at + 1) & table->mask;
    table->slots[at] = (struct slot){table->uses[first].index, first, last};
}

static vecdb_status table_init(struct query_table *table, const struct index_search *search, size_t first_query, size_t count)
{
    size_t total = 0, slots = 16, at = 0;

    for (size_t q = 0; q < count; q++)
        total += ((const struct sparse_vector *)((const uint8_t *)search->queries + (first_query + q) * search->query_stride))->count;
    while (slots < total * 4)
        slots *= 2;
    table->uses = mem_array_alloc(total + 1, sizeof *table->uses);
    table->slots = mem_array_alloc(slots, sizeof *table->slots);
    if (!table->uses || !table->slots)
        return error_nomem("search");
    table->mask = (uint32_t)slots - 1;
    memset(table->slots, 0xFF, slots * sizeof *table->slots);
    for (size_t q = 0; q < count; q++) {
        const struct sparse_vector *query =
            (const void *)((const uint8_t *)search->queries + (first_query + q) * search->query_stride);
        for (size_t i = 0; i < query->count; i++)
            table->uses[at++] = (struct use){query->values[i].index, (uint32_t)q, query->values[i].value};
    }
    qsort(table->uses, total, sizeof *table->uses, compare_uses);
    for (size_t first = 0, last; first < total; first = last) {
        for (last = first; last < total && table->uses[last].index == table->uses[first].index; last++)
            ;
        enter_uses(table, (uint32_t)first, (uint32_t)last);
    }
    return VECDB_OK;
}

static void add_row(const struct query_table *table, const vecdb_sparse *values, size_t count, float *scores)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t at = hash_index(values[i].index) & table->mask;

        while (table->slots[at].index != NO_INDEX && table->slots[at].index != values[i].index)
            at = (at + 1) & table->mask;
        if (table->slots[at].index == NO_INDEX)
            continue;
        for (uint32_t u = table->slots[at].first; u < table->slots[at].last; u++)
            scores[table->uses[u].query] += table->uses[u].value * values[i].value;
    }
}

/* -- scanning */

static void take_scores(const struct index_search *search, float *scores, struct topk *topk, size_t count, uint32_t row)
{
    for (size_t q = 0; q < count; q++) {
        float distance = -scores[q];
        scores[q] = 0;
        if (distance != 0 && distance <= topk[q].threshold && (!search->has_radius || distance < search->radius))
            topk_push(&topk[q], distance, row);
    }
}

static bool any_allowed(const struct index_search *search, size_t first, size_t last)
{
    return !search->allowed || bitmap_next(search->allowed, last, first) < last;
}

/* Rows first .. last - 1 of one block. */
static vecdb_status scan_block(struct scan_job *job, const struct query_table *table, struct column_scratch *scratch, size_t first,
                               size_t last, float *scores, struct topk *topk, size_t count)
{
    const struct vectors *vectors = job->vectors;
    const struct index_search *search = job->search;
    size_t block = first >> vectors->block_shift, begin = block << vectors->block_shift, scored = 0;
    struct column column;

    TRY(vectors->columns.read(vectors->columns.context, vectors->columns.field, block, last - begin, scratch, &column));
    for (size_t row = first; row < last; row++) {
        size_t size;
        const uint8_t *bytes;
        if ((search->allowed && !bitmap_get(search->allowed, row)) || !column_is_valid(&column, row - begin))
            continue;
        bytes = column_bytes(&column, row - begin, &size);
        add_row(table, (const vecdb_sparse *)(const void *)bytes, size / sizeof(vecdb_sparse), scores);
        take_scores(search, scores, topk, count, (uint32_t)row);
        scored++;
    }
    atomic_fetch_add_explicit(&job->scored, scored * count, memory_order_relaxed);
    return VECDB_OK;
}

static vecdb_status scan_task(void *context, size_t i, unsigned worker)
{
    struct scan_job *job = context;
    const struct index_search *search = job->search;
    size_t block_rows = (size_t)1 << job->vectors->block_shift, range = i % job->range_count;
    size_t first_query = i / job->range_count * job->group_size, count = search->query_count - first_query;
    size_t slot = range * search->query_count + first_query, row_count = job->vectors->row_count;
    size_t first = ((job->first_row >> job->vectors->block_shift) + range * job->range_blocks) * block_rows;
    size_t end = first + job->range_blocks * block_rows < row_count ? first + job->range_blocks * block_rows : row_count;
    struct column_scratch scratch = {{0}};
    struct query_table table = {0};
    struct topk topk[GROUP_MAX];
    float scores[GROUP_MAX] = {0};
    vecdb_status status;

    if (count > job->group_size)
        count = job->group_size;
    for (size_t q = 0; q < count; q++)
        topk_init(&topk[q], job->hits + (slot + q) * search->k, search->k);
    status = table_init(&table, search, first_query, count);
    for (; first < end && status == VECDB_OK; first += block_rows) {
        size_t from = first < job->first_row ? job->first_row : first, to = first + block_rows < end ? first + block_rows : end;
        if (!any_allowed(search, from, to))
            continue;
        status = deadline_check(search->deadline);
        if (status == VECDB_OK)
            status = scan_block(job, &table, &scratch, from, to, scores, topk, count);
    }
    for (size_t q = 0; q < count && status == VECDB_OK; q++) {
        topk_finish(&topk[q]);
        job->counts[slot + q] = topk[q].count;
    }
    buf_deinit(&scratch.bytes);
    table_deinit(&table);
    return status;
}

/* Shared out by rows, for reading them is most of the work; by queries where there are more than go into a table. */
static void plan(struct scan_job *job)
{
    size_t threads = pool_threads(job->search->pool), shift = job->vectors->block_shift, queries = job->search->query_count;
    size_t rows = job->vectors->row_count, blocks = ((rows + ((size_t)1 << shift) - 1) >> shift) - (job->first_row >> shift);
    size_t groups = (queries + GROUP_MAX - 1) / GROUP_MAX;

    job->group_size = (queries + groups - 1) / groups;
    job->range_count = threads > 1 && groups < 2 * threads ? 2 * threads / groups : 1;
    if (job->range_count > blocks / RANGE_MIN)
        job->range_count = blocks / RANGE_MIN ? blocks / RANGE_MIN : 1;
    job->range_blocks = (blocks + job->range_count - 1) / job->range_count;
}

vecdb_status sparse_scan(const struct vectors *vectors, size_t first_row, const struct index_search *search, struct hit *hits,
                         size_t *counts, struct index_counters *counters)
{
    struct scan_job job = {.vectors = vectors, .search = search, .first_row = first_row};
    struct topk_sources sources;
    size_t groups;
    vecdb_status status;

    if (search->query_count == 0)
        return VECDB_OK;
    memset(counts, 0, search->query_count * sizeof *counts);
    if (first_row >= vectors->row_count)
        return VECDB_OK;
    plan(&job);
    groups = (search->query_count + job.group_size - 1) / job.group_size;
    status = topk_sources_begin(&sources, search, job.range_count, hits, counts);
    job.hits = sources.hits;
    job.counts = sources.counts;
    if (status == VECDB_OK)
        status = pool_run(search->pool, groups * job.range_count, scan_task, &job);
    topk_sources_end(&sources, search, status, hits, counts);
    if (counters)
        counters->rows_scored += atomic_load(&job.scored);
    return status;
}
