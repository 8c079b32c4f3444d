/* Searching inverted lists: term at a time, with a sum for each row of a window. Terms come by ascending index, so that sums have
 * the same bits as those of a scan. */
#include "index/sparse_lists.h"

#include "base/mem.h"
#include "index/deadline.h"
#include "index/topk.h"
#include "schema/sparse.h"

#include <stdatomic.h>
#include <string.h>

#define WINDOW 32768    /* rows: their sums stay in the second cache */
#define GROUP_MAX 32    /* queries of a task */
#define FEW 16          /* rows a posting, from which on postings are gone through again instead of sums */
#define STEP 16         /* sums looked at together */

/* What is left of a term's postings. */
struct cursor {
    const uint32_t *rows;
    const float *values;
    size_t from, at, end; /* from .. at: those in the window */
    float weight;
};

struct lists_job {
    const struct sparse_lists *lists;
    const struct index_search *search;
    size_t group_size, range_count, range_rows;
    struct hit *hits; /* range_count times query_count x k */
    size_t *counts;
    atomic_uint_fast64_t postings, terms;
};

/* One query's way through a range of rows. */
struct walk {
    const struct index_search *search;
    struct cursor *cursors;
    size_t cursor_count, postings;
    float *sums; /* WINDOW, all 0 between windows */
    struct topk topk;
};

static const struct sparse_vector *query_at(const struct index_search *search, size_t q)
{
    return (const void *)((const uint8_t *)search->queries + q * search->query_stride);
}

static size_t lower_bound(const uint32_t *numbers, size_t first, size_t last, uint32_t wanted)
{
    while (first < last) {
        size_t middle = first + (last - first) / 2;
        if (numbers[middle] < wanted)
            first = middle + 1;
        else
            last = middle;
    }
    return first;
}

/* Cursors of the query's terms that some row has, from a row on. */
static void begin_walk(struct walk *walk, const struct sparse_lists *lists, const struct sparse_vector *query, size_t first_row)
{
    size_t at = 0;

    walk->cursor_count = 0;
    for (size_t i = 0; i < query->count && at < lists->terms; i++) {
        struct cursor cursor = {.rows = lists->rows, .values = lists->values, .weight = query->values[i].value};
        at = lower_bound(lists->names, at, lists->terms, query->values[i].index);
        if (at == lists->terms || lists->names[at] != query->values[i].index || cursor.weight == 0)
            continue;
        cursor.end = lists->starts[at + 1];
        cursor.at = lower_bound(lists->rows, lists->starts[at], cursor.end, (uint32_t)first_row);
        walk->cursors[walk->cursor_count++] = cursor;
    }
}

/* Add a term's postings of the rows before `last` up. */
static void add_term(struct cursor *cursor, size_t base, size_t last, float *sums)
{
    const uint32_t *rows = cursor->rows;
    const float *values = cursor->values;
    float weight = cursor->weight;

    cursor->from = cursor->at;
    cursor->at = lower_bound(rows, cursor->at, cursor->end, (uint32_t)last);
    for (size_t i = cursor->from; i < cursor->at; i++)
        sums[rows[i] - base] += weight * values[i];
}

/* The k-th best so far, as a sum: lower ones are of no use. */
static float least_of(const struct walk *walk)
{
    float least = -walk->topk.threshold;

    return walk->search->has_radius && -walk->search->radius > least ? -walk->search->radius : least;
}

static void take(struct walk *walk, float sum, size_t row)
{
    const struct index_search *search = walk->search;

    if (sum != 0 && -sum <= walk->topk.threshold && (!search->has_radius || -sum < search->radius) &&
        (!search->allowed || bitmap_get(search->allowed, row)))
        topk_push(&walk->topk, -sum, (uint32_t)row);
}

/* The rows that the window's postings are of; each once, for its sum is 0 afterwards. */
static void take_postings(struct walk *walk, size_t base)
{
    for (size_t c = 0; c < walk->cursor_count; c++) {
        const struct cursor *cursor = &walk->cursors[c];
        for (size_t i = cursor->from; i < cursor->at; i++) {
            float *sum = &walk->sums[cursor->rows[i] - base];
            take(walk, *sum, cursor->rows[i]);
            *sum = 0;
        }
    }
}

static bool any_near(const float *sums, float least)
{
    int any = 0;

    for (size_t i = 0; i < STEP; i++)
        any |= (sums[i] >= least) & (sums[i] != 0);
    return any;
}

static void take_window(struct walk *walk, size_t base, size_t count)
{
    size_t i = 0;

    for (; i < count; i += STEP) /* sums past the last row are 0 */
        if (any_near(walk->sums + i, least_of(walk)))
            for (size_t j = i; j < i + STEP; j++)
                take(walk, walk->sums[j], base + j);
    memset(walk->sums, 0, i * sizeof *walk->sums);
}

static bool any_allowed(const struct index_search *search, size_t first, size_t last)
{
    return !search->allowed || bitmap_next(search->allowed, last, first) < last;
}

static vecdb_status walk_range(struct walk *walk, size_t first, size_t end)
{
    for (size_t base = first, last; base < end && walk->cursor_count; base = last) {
        size_t postings = 0;
        last = base + WINDOW < end ? base + WINDOW : end;
        TRY(deadline_check(walk->search->deadline));
        if (!any_allowed(walk->search, base, last)) {
            for (size_t c = 0; c < walk->cursor_count; c++)
                walk->cursors[c].at = lower_bound(walk->cursors[c].rows, walk->cursors[c].at, walk->cursors[c].end, (uint32_t)last);
            continue;
        }
        for (size_t c = 0; c < walk->cursor_count; c++) {
            add_term(&walk->cursors[c], base, last, walk->sums);
            postings += walk->cursors[c].at - walk->cursors[c].from;
        }
        if (postings < (last - base) / FEW)
            take_postings(walk, base);
        else
            take_window(walk, base, last - base);
        walk->postings += postings;
    }
    return VECDB_OK;
}

static vecdb_status lists_task(void *context, size_t i, unsigned worker)
{
    struct lists_job *job = context;
    const struct index_search *search = job->search;
    size_t range = i % job->range_count, first_query = i / job->range_count * job->group_size, most = 0;
    size_t last_query = first_query + job->group_size < search->query_count ? first_query + job->group_size : search->query_count;
    size_t row_count = job->lists->base.vectors.row_count, first = range * job->range_rows;
    size_t end = first + job->range_rows < row_count ? first + job->range_rows : row_count;
    struct walk walk = {.search = search};
    vecdb_status status = VECDB_OK;

    for (size_t q = first_query; q < last_query; q++)
        if (query_at(search, q)->count > most)
            most = query_at(search, q)->count;
    walk.cursors = mem_array_alloc(most + 1, sizeof *walk.cursors);
    walk.sums = mem_array_zalloc((row_count < WINDOW ? row_count : WINDOW) + STEP, sizeof *walk.sums);
    if (!walk.cursors || !walk.sums)
        status = error_nomem("search");
    for (size_t q = first_query; q < last_query && status == VECDB_OK; q++) {
        size_t slot = range * search->query_count + q;
        topk_init(&walk.topk, job->hits + slot * search->k, search->k);
        begin_walk(&walk, job->lists, query_at(search, q), first);
        atomic_fetch_add_explicit(&job->terms, range ? 0 : walk.cursor_count, memory_order_relaxed);
        status = walk_range(&walk, first, end);
        topk_finish(&walk.topk);
        job->counts[slot] = walk.topk.count;
    }
    atomic_fetch_add_explicit(&job->postings, walk.postings, memory_order_relaxed);
    mem_free(walk.cursors);
    mem_free(walk.sums);
    return status;
}

/* Shared out by queries, and by rows when there are few queries. */
static void plan(struct lists_job *job)
{
    size_t threads = pool_threads(job->search->pool), queries = job->search->query_count, groups;
    size_t windows = (job->lists->base.vectors.row_count + WINDOW - 1) / WINDOW;

    job->group_size = (queries + threads - 1) / threads;
    if (job->group_size > GROUP_MAX)
        job->group_size = GROUP_MAX;
    groups = (queries + job->group_size - 1) / job->group_size;
    job->range_count = groups < threads ? (threads + groups - 1) / groups : 1;
    if (job->range_count > windows)
        job->range_count = windows ? windows : 1;
    job->range_rows = (windows + job->range_count - 1) / job->range_count * WINDOW;
}

vecdb_status sparse_lists_search(const struct index *index, const struct index_search *search, struct hit *hits, size_t *counts,
                                 struct index_counters *counters)
{
    struct lists_job job = {.lists = (const struct sparse_lists *)index, .search = search};
    struct topk_sources sources;
    size_t groups;
    vecdb_status status;

    if (search->query_count == 0)
        return VECDB_OK;
    plan(&job);
    groups = (search->query_count + job.group_size - 1) / job.group_size;
    status = topk_sources_begin(&sources, search, job.range_count, hits, counts);
    job.hits = sources.hits;
    job.counts = sources.counts;
    if (status == VECDB_OK)
        status = pool_run(search->pool, groups * job.range_count, lists_task, &job);
    topk_sources_end(&sources, search, status, hits, counts);
    if (counters) {
        counters->rows_scored += atomic_load(&job.postings);
        counters->hops += atomic_load(&job.terms);
    }
    return status;
}
