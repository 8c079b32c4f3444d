#include "index/plugged.h"

#include "base/mem.h"
#include "index/deadline.h"
#include "index/flat.h"
#include "index/topk.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_ROWS 1024 /* scored between looks at the deadline */

/* ---- metrics ---- */

static bool is_present(const uint64_t *rows, size_t row) { return !rows || bitmap_get(rows, row); }

vecdb_status plugged_scan(const struct vectors *vectors, size_t first_row, const vecdb_plugin_metric *metric,
                          const struct index_search *search, struct hit *hits, size_t *counts,
                          struct index_counters *counters)
{
    for (size_t q = 0; q < search->query_count; q++) {
        const uint8_t *query = (const uint8_t *)search->queries + q * search->query_stride;
        struct topk topk;
        topk_init(&topk, hits + q * search->k, search->k);
        for (size_t row = first_row; row < vectors->row_count; row++) {
            float distance;
            if (row % CHECK_ROWS == 0)
                TRY(deadline_check(search->deadline));
            if (!is_present(search->allowed, row) || !is_present(vectors->present, row))
                continue;
            distance = metric->distance(query, vectors_row(vectors, row), vectors->type, vectors->dim, metric->context);
            counters->rows_scored++;
            if (isnan(distance))
                return error_set(VECDB_ERR_MISUSE, "plug-in metric %s: the distance of row %zu is NaN", metric->name, row);
            if ((!search->has_radius || distance < search->radius) && distance <= topk.threshold)
                topk_push(&topk, distance, (uint32_t)row);
        }
        topk_finish(&topk);
        counts[q] = topk.count;
    }
    return VECDB_OK;
}

/* ---- kinds ---- */

/* The ops come first, so that a kind is found from its ops. */
struct plugged_kind {
    struct index_ops ops;
    vecdb_plugin_index plugin;
    char name[32];
    struct param_spec build_params[PARAMS_MAX + 1], search_params[PARAMS_MAX + 1];
    struct plugged_kind *next; /* all there are: what parameters were checked against leads to the kind */
};

struct plugged_index {
    struct index base;
    const struct plugged_kind *kind;
    void *index;
    struct vecdb_plugin_vectors vectors;
};

static _Atomic(struct plugged_kind *) all_kinds;

static const struct plugged_kind *kind_of(const struct params *params)
{
    const struct plugged_kind *kind = atomic_load(&all_kinds);

    while (kind && kind->build_params != params->specs)
        kind = kind->next;
    return kind;
}

static vecdb_status failed(const struct plugged_kind *kind, const char *what, vecdb_status status)
{
    if (status > 0)
        status = VECDB_ERR_MISUSE;
    if (error_last()->status == status && *error_last()->message)
        return status;
    return error_set(status, "plug-in index %s: %s failed with %s", kind->name, what, vecdb_status_name(status));
}

static struct plugged_index *make(const struct plugged_kind *kind, const struct vectors *vectors, vecdb_metric metric)
{
    struct plugged_index *made = mem_zalloc(sizeof *made);

    if (!made)
        return NULL;
    made->base.ops = &kind->ops;
    made->base.vectors = *vectors;
    made->base.metric = metric;
    made->kind = kind;
    made->vectors = (struct vecdb_plugin_vectors){.size = sizeof made->vectors,
                                                  .type = vectors->type,
                                                  .dim = vectors->dim,
                                                  .block_shift = vectors->block_shift,
                                                  .row_count = vectors->row_count,
                                                  .stride = vectors->stride,
                                                  .blocks = vectors->blocks,
                                                  .present = vectors->present};
    return made;
}

static vecdb_status plugged_build(const struct vectors *vectors, vecdb_metric metric, const struct params *params,
                                  const struct index_build_context *context, struct index **out)
{
    const struct plugged_kind *kind = kind_of(params);
    struct plugged_index *made = make(kind, vectors, metric);
    vecdb_status status;

    *out = NULL;
    if (!made)
        return error_nomem("index");
    error_clear();
    status = kind->plugin.build(&made->vectors, metric, params->values, kind->plugin.context, &made->index);
    if (status != VECDB_OK) {
        mem_free(made);
        return failed(kind, "build", status);
    }
    made->vectors.present = NULL; /* was lent for building alone */
    *out = &made->base;
    return VECDB_OK;
}

static bool should_stop(const vecdb_plugin_search *search)
{
    return search->reserved && deadline_check(search->reserved) != VECDB_OK;
}

static int compare_hits(const void *a, const void *b)
{
    const struct hit *x = a, *y = b;

    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* A plug-in's hits are believed only as far as they can do no harm. */
static vecdb_status take_hits(const struct plugged_index *index, const struct index_search *search,
                              const vecdb_plugin_hit *found, uint32_t count, struct hit *hits)
{
    if (count > search->k)
        return error_set(VECDB_ERR_MISUSE, "plug-in index %s: %u hits, where %zu were asked for", index->kind->name, count,
                         search->k);
    for (uint32_t i = 0; i < count; i++) {
        if (found[i].row >= index->vectors.row_count || !is_present(search->allowed, found[i].row) || isnan(found[i].distance))
            return error_set(VECDB_ERR_MISUSE, "plug-in index %s: hit %u, row %u, is not allowed, or its distance is NaN",
                             index->kind->name, i, found[i].row);
        hits[i] = (struct hit){found[i].distance, found[i].row};
    }
    qsort(hits, count, sizeof *hits, compare_hits);
    for (uint32_t i = 1; i < count; i++)
        if (hits[i].row == hits[i - 1].row)
            return error_set(VECDB_ERR_MISUSE, "plug-in index %s: row %u is there twice", index->kind->name, hits[i].row);
    return VECDB_OK;
}

struct plugged_job {
    const struct plugged_index *index;
    const struct index_search *search;
    struct hit *hits;
    size_t *counts;
    struct index_counters *counters; /* query_count */
};

static vecdb_status search_one(void *context, size_t q, unsigned worker)
{
    struct plugged_job *job = context;
    const struct plugged_index *index = job->index;
    struct index_search one = *job->search;
    size_t rows = index->vectors.row_count, possible = one.allowed && one.allowed_count < rows ? one.allowed_count : rows;
    struct hit *hits = job->hits + q * one.k;
    vecdb_plugin_hit *found = mem_array_alloc(one.k, sizeof *found);
    vecdb_plugin_search asked = {.size = sizeof asked, .k = (uint32_t)one.k, .allowed = one.allowed, .allowed_count = possible,
                                 .params = one.params->values, .has_radius = one.has_radius, .radius = one.radius,
                                 .stop = should_stop, .reserved = one.deadline};
    uint32_t count = 0;
    vecdb_status status;

    if (!found)
        return error_nomem("search");
    one.queries = asked.query = (const uint8_t *)one.queries + q * one.query_stride;
    one.query_count = 1;
    one.pool = NULL;
    error_clear();
    status = index->kind->plugin.search(index->index, &asked, found, &count);
    status = status == VECDB_OK ? take_hits(index, job->search, found, count, hits) : failed(index->kind, "search", status);
    mem_free(found);
    job->counts[q] = count;
    if (status == VECDB_OK && !one.has_radius && count < one.k && count < possible)
        status = flat_search(&index->base.vectors, index->base.metric, &one, hits, &job->counts[q], &job->counters[q]);
    return status;
}

static vecdb_status plugged_search(const struct index *base, const struct index_search *search, struct hit *hits,
                                   size_t *counts, struct index_counters *counters)
{
    struct plugged_job job = {(const struct plugged_index *)base, search, hits, counts, NULL};
    vecdb_status status;

    job.counters = mem_array_zalloc(search->query_count, sizeof *job.counters);
    if (!job.counters)
        return error_nomem("search");
    status = pool_run(search->query_count > 1 ? search->pool : NULL, search->query_count, search_one, &job);
    for (size_t q = 0; q < search->query_count; q++)
        counters->rows_scored += job.counters[q].rows_scored;
    mem_free(job.counters);
    return status;
}

static vecdb_status append(void *to, const void *bytes, size_t size) { return buf_append(to, bytes, size); }

static vecdb_status plugged_save(const struct index *base, struct buf *out)
{
    const struct plugged_index *index = (const struct plugged_index *)base;
    vecdb_status status;

    if (!index->kind->plugin.save)
        return VECDB_OK;
    error_clear();
    status = index->kind->plugin.save(index->index, append, out);
    return status == VECDB_OK ? VECDB_OK : failed(index->kind, "save", status);
}

static vecdb_status plugged_open(const void *data, size_t size, const struct vectors *vectors, vecdb_metric metric,
                                 const struct params *params, struct index **out)
{
    const struct plugged_kind *kind = kind_of(params);
    struct plugged_index *made;
    vecdb_status status;

    *out = NULL;
    if (!kind->plugin.open) { /* nothing was stored */
        struct index_build_context context = {.seed = 1};
        return plugged_build(vectors, metric, params, &context, out);
    }
    if (!(made = make(kind, vectors, metric)))
        return error_nomem("index");
    error_clear();
    status = kind->plugin.open(data, size, &made->vectors, metric, params->values, kind->plugin.context, &made->index);
    if (status != VECDB_OK) {
        mem_free(made);
        return failed(kind, "open", status);
    }
    made->vectors.present = NULL;
    *out = &made->base;
    return VECDB_OK;
}

static void plugged_free(struct index *base)
{
    struct plugged_index *index = (struct plugged_index *)base;

    index->kind->plugin.free(index->index);
    mem_free(index);
}

static vecdb_status plugged_check(const struct index *base) { return VECDB_OK; }

static size_t plugged_memory(const struct index *base)
{
    const struct plugged_index *index = (const struct plugged_index *)base;

    return sizeof *index + (index->kind->plugin.memory ? (size_t)index->kind->plugin.memory(index->index) : 0);
}

static vecdb_status copy_params(const char *owner, const vecdb_plugin_param *from, struct param_spec *to)
{
    size_t count = 0;

    for (; from && from[count].name; count++) {
        if (count == PARAMS_MAX)
            return error_set(VECDB_ERR_LIMIT, "plug-in index %s: more than %d parameters", owner, PARAMS_MAX);
        if (!(from[count].low <= from[count].default_value && from[count].default_value <= from[count].high) || !from[count].meaning)
            return error_set(VECDB_ERR_INVALID, "plug-in index %s: parameter %s: the default is out of its range, or it has no meaning",
                             owner, from[count].name);
        to[count] = (struct param_spec){mem_strdup(from[count].name), from[count].default_value, from[count].low, from[count].high,
                                        mem_strdup(from[count].meaning), from[count].choices ? mem_strdup(from[count].choices) : NULL,
                                        from[count].fraction};
        if (!to[count].name || !to[count].meaning || (from[count].choices && !to[count].choices))
            return error_nomem("plug-in");
    }
    return VECDB_OK;
}

static void free_params(struct param_spec *specs)
{
    for (; specs->name || specs->meaning; specs++) {
        mem_free((char *)(uintptr_t)specs->name);
        mem_free((char *)(uintptr_t)specs->meaning);
        mem_free((char *)(uintptr_t)specs->choices);
    }
}

void plugged_kind_free(struct index_ops *ops)
{
    struct plugged_kind *kind = (struct plugged_kind *)ops;

    if (!kind)
        return;
    free_params(kind->build_params);
    free_params(kind->search_params);
    mem_free(kind);
}

/* Kinds outlive every database, so no account is charged for them. */
vecdb_status plugged_kind_create(const vecdb_plugin_index *from, struct index_ops **out)
{
    struct plugged_kind *kind = mem_zalloc(sizeof *kind);
    vecdb_status status = VECDB_OK;

    *out = NULL;
    if (!kind)
        return error_nomem("plug-in");
    kind->plugin = *from;
    strcpy(kind->name, from->name); /* NOLINT: its length was checked */
    if ((status = copy_params(kind->name, from->build_params, kind->build_params)) != VECDB_OK ||
        (status = copy_params(kind->name, from->search_params, kind->search_params)) != VECDB_OK) {
        plugged_kind_free(&kind->ops);
        return status;
    }
    kind->ops = (struct index_ops){.name = kind->name,
                                   .format = from->format,
                                   .types = from->types,
                                   .build_params = kind->build_params,
                                   .search_params = kind->search_params,
                                   .build = plugged_build,
                                   .search = plugged_search,
                                   .save = plugged_save,
                                   .open = plugged_open,
                                   .free = plugged_free,
                                   .check = plugged_check,
                                   .memory = plugged_memory};
    kind->next = atomic_load(&all_kinds);
    while (!atomic_compare_exchange_weak(&all_kinds, &kind->next, kind)) {
    }
    *out = &kind->ops;
    return VECDB_OK;
}

vecdb_status plugged_check_metric(const struct index_ops *ops, vecdb_metric metric)
{
    const struct plugged_kind *kind = (const struct plugged_kind *)ops;
    bool registered = (uint32_t)metric >= VECDB_PLUGIN_METRIC_FIRST;

    if (ops->build != plugged_build && !registered)
        return VECDB_OK;
    if (ops->build == plugged_build && kind->plugin.metrics >> (registered ? 63 : (uint32_t)metric) & 1)
        return VECDB_OK;
    return error_set(VECDB_ERR_UNSUPPORTED, "index %s does not take metric %s%s", ops->name, metric_name(metric),
                     registered ? "; searches without an index do" : "");
}
