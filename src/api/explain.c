/* How a search ran, or a filter; and what is in a field. */
#include "api/answer.h"
#include "query/view_source.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* The segments, each with the index that a search in `field` uses (SCHEMA_NONE: none is searched), and how the filter runs. */
static vecdb_status print_segments(const struct snapshot *snapshot, const struct search *search, bool searched,
                                   struct buf *text)
{
    TRY(buf_append_text(text, ",\"segments_detail\":["));
    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        size_t field = searched ? view_field(view, snapshot->schema, search->field) : SCHEMA_NONE;
        const struct index_ref *ref = field == SCHEMA_NONE ? NULL : view_index(view, field);

        TRY(buf_printf(text, "%s{\"rows\":%zu,\"live\":%zu,\"growing\":%s", v ? "," : "", view->row_count,
                       view_live_rows(view), view->segment->growing ? "true" : "false"));
        if (searched)
            TRY(buf_printf(text, ",\"index\":\"%s\",\"indexed_rows\":%zu", ref ? ref->index->ops->name : "none",
                           ref ? atomic_load(&ref->covered) : 0));
        if (ref && ref->index->ops->reads) {
            struct index_reads reads;
            ref->index->ops->reads(ref->index, &reads);
            TRY(buf_printf(text, ",\"reads\":{\"query\":%zu,\"row\":%zu,\"exact\":%zu,\"hop\":%zu}", reads.query, reads.row,
                           reads.exact, reads.hop));
        }
        if (search->filter) {
            TRY(buf_append_text(text, ",\"filter\":"));
            TRY(search_explain_filter(snapshot, v, search->filter, search->partitions, search->partition_count, text));
        }
        TRY(buf_append_text(text, "}"));
    }
    return buf_append_text(text, "]");
}

/* What searches of graphs chose, and by which estimates: means over the queries that came to estimating. */
static vecdb_status print_choice(const struct index_counters *counters, struct buf *text)
{
    double probes = (double)counters->probes;

    TRY(buf_printf(text, ",\"graph\":{\"plain_walks\":%llu,\"stepping_walks\":%llu,\"list_scans\":%llu,\"code_scans\":%llu,\"row_scans\":%llu",
                   (unsigned long long)counters->plain_walks, (unsigned long long)counters->stepping_walks,
                   (unsigned long long)counters->list_scans, (unsigned long long)counters->code_scans, (unsigned long long)counters->row_scans));
    if (counters->probes)
        TRY(buf_printf(text, ",\"passing_near\":%.3f,\"estimates\":{\"plain_walk\":%.0f,\"stepping_walk\":%.0f,\"code_scan\":%.0f}",
                       counters->near_share / probes, counters->plain_cost / probes, counters->stepping_cost / probes,
                       counters->scan_cost / probes));
    return buf_append_text(text, "}");
}

static vecdb_status print_search(const struct answer *answer, double milliseconds, struct buf *text)
{
    const struct search_counters *counters = &answer->counters;
    const char *field = answer->snapshot->schema->fields[answer->request.search.field].name;

    TRY(buf_append_text(text, "{\"field\":"));
    TRY(buf_append_json_string(text, field, strlen(field)));
    TRY(buf_printf(text, ",\"metric\":\"%s\",\"rows\":%llu,\"rows_allowed\":%llu,\"segments\":%zu",
                   metric_name(answer->request.search.metric), (unsigned long long)answer->snapshot->live_rows,
                   (unsigned long long)counters->rows_allowed, answer->snapshot->view_count));
    TRY(buf_printf(text, ",\"segments_indexed\":%u,\"segments_scanned\":%u", counters->indexed_segments,
                   counters->scanned_segments));
    TRY(print_segments(answer->snapshot, &answer->request.search, true, text));
    TRY(buf_printf(text, ",\"rows_scored\":%llu,\"reranked\":%llu,\"hops\":%llu",
                   (unsigned long long)counters->index.rows_scored, (unsigned long long)counters->index.reranked,
                   (unsigned long long)counters->index.hops));
    TRY(print_choice(&counters->index, text));
    TRY(buf_printf(text, ",\"filter_blocks\":%llu,\"filter_blocks_skipped\":%llu,\"filter_index_lookups\":%llu",
                   (unsigned long long)counters->filter.blocks, (unsigned long long)counters->filter.blocks_skipped,
                   (unsigned long long)counters->filter.index_lookups));
    TRY(buf_printf(text, ",\"filter_bitmaps_cached\":%llu", (unsigned long long)counters->filter.remembered));
    return buf_printf(text, ",\"hits\":%zu,\"exhausted\":%s,\"milliseconds\":%.3f}",
                      answer->first[answer->request.search.query_count], answer->exhausted ? "true" : "false", milliseconds);
}

static double milliseconds_since(const struct timespec *begin)
{
    struct timespec end;

    clock_gettime(CLOCK_MONOTONIC, &end);
    return (double)(end.tv_sec - begin->tv_sec) * 1e3 + (double)(end.tv_nsec - begin->tv_nsec) / 1e6;
}

static vecdb_status explain_search(vecdb_collection *collection, const vecdb_search_request *read, struct buf *text)
{
    struct timespec begin;
    struct answer answer;
    vecdb_status status;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    TRY(answer_run(collection, read, &answer));
    status = print_search(&answer, milliseconds_since(&begin), text);
    answer_deinit(&answer);
    return status;
}

/* The rows of all segments that a filter takes; then how. */
static vecdb_status print_filter(const struct snapshot *snapshot, const struct search *search, struct buf *text)
{
    struct filter_counters counters = {0};
    struct timespec begin;
    uint64_t matching = 0;

    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (size_t v = 0; v < snapshot->view_count; v++) {
        uint64_t *rows;
        size_t here;
        TRY(search_allowed(snapshot, v, search->filter, search->partitions, search->partition_count, NULL, &rows, &here,
                           &counters));
        mem_free(rows);
        matching += here;
    }
    TRY(buf_printf(text, "{\"rows\":%llu,\"rows_allowed\":%llu,\"segments\":%zu",
                   (unsigned long long)snapshot->live_rows, (unsigned long long)matching, snapshot->view_count));
    TRY(buf_printf(text, ",\"filter_blocks\":%llu,\"filter_blocks_skipped\":%llu,\"filter_index_lookups\":%llu",
                   (unsigned long long)counters.blocks, (unsigned long long)counters.blocks_skipped,
                   (unsigned long long)counters.index_lookups));
    TRY(buf_printf(text, ",\"milliseconds\":%.3f", milliseconds_since(&begin)));
    TRY(print_segments(snapshot, search, false, text));
    return buf_append_text(text, "}");
}

static vecdb_status explain_filter(vecdb_collection *collection, const vecdb_search_request *read, struct buf *text)
{
    struct search search = {0};
    struct filter *filter = NULL;
    struct buf partitions = {0};
    struct snapshot *snapshot;
    vecdb_status status;

    TRY(take_snapshot(collection, &snapshot));
    if (read->compiled && read->compiled->schema != snapshot->schema)
        status = error_set(VECDB_ERR_MISUSE, "explain: the filter was compiled for another collection, or an older schema");
    else if (read->compiled)
        status = VECDB_OK;
    else
        status = filter_compile(snapshot->schema, read->filter ? read->filter : "", read->filter ? strlen(read->filter) : 0,
                                read->filter_params, &filter);
    search.filter = read->compiled ? read->compiled->filter : filter;
    if (status == VECDB_OK && read->partitions) {
        status = request_partitions(read->partitions, read->partition_count, find_partition, collection->collection,
                                    &partitions);
        if (status == VECDB_OK)
            status = buf_reserve(&partitions, 4); /* so that none is not NULL, which means all */
        search.partitions = (const uint32_t *)(const void *)partitions.data;
        search.partition_count = read->partition_count;
    }
    if (status == VECDB_OK)
        status = print_filter(snapshot, &search, text);
    buf_deinit(&partitions);
    filter_free(filter);
    snapshot_release(snapshot);
    return status;
}

vecdb_status vecdb_explain(vecdb_collection *collection, const vecdb_search_request *request, char **out)
{
    vecdb_search_request read = VECDB_SEARCH_REQUEST_INIT;
    struct buf text = {0};
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "explain: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    status = struct_read("search request", request, &read, sizeof read);
    if (status == VECDB_OK)
        status = read.queries || read.query_count ? explain_search(collection, &read, &text)
                                                  : explain_filter(collection, &read, &text);
    if (status == VECDB_OK && !(*out = buf_take_text(&text)))
        status = error_nomem("explain");
    buf_deinit(&text);
    return call_end(&call, status);
}

/* ---- what is in a field ---- */

static vecdb_status print_field_stats(const struct snapshot *snapshot, size_t field, const char *params, size_t max_unique,
                                      struct buf *text)
{
    size_t count = snapshot->view_count;
    struct view_source *views = mem_array_alloc(count + 1, sizeof *views);
    struct filter_source *sources = mem_array_alloc(count + 1, sizeof *sources);
    uint64_t **rows = mem_array_zalloc(count + 1, sizeof *rows);
    vecdb_status status = views && sources && rows ? VECDB_OK : error_nomem("field stats");

    for (size_t v = 0; v < count && status == VECDB_OK; v++) {
        sources[v] = view_source_init(&views[v], snapshot, &snapshot->views[v]);
        status = search_live_rows(&snapshot->views[v], &rows[v]);
    }
    if (status == VECDB_OK)
        status = scalar_statistics(snapshot->schema, field, params, max_unique, sources, (const uint64_t *const *)rows, count,
                                   text);
    for (size_t v = 0; rows && v < count; v++)
        mem_free(rows[v]);
    mem_free(rows);
    mem_free(views);
    mem_free(sources);
    return status;
}

vecdb_status vecdb_field_stats(vecdb_collection *collection, const char *field, const char *params, size_t max_unique,
                               char **out)
{
    struct snapshot *snapshot = NULL;
    struct buf path = {0}, text = {0};
    struct call call;
    vecdb_status status;
    size_t f = SCHEMA_NONE;

    if (!out || !field)
        return error_set(VECDB_ERR_INVALID, "field stats: field or out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    status = take_snapshot(collection, &snapshot);
    if (status == VECDB_OK) {
        f = schema_find(snapshot->schema, field, strlen(field));
        if (f == SCHEMA_NONE && snapshot->schema->dynamic != SCHEMA_NONE) {
            f = snapshot->schema->dynamic; /* a key among the dynamic ones */
            status = scalar_index_params("INVERTED", params, field, &path);
            params = (const char *)path.data;
        } else if (f == SCHEMA_NONE) {
            status = schema_no_field(snapshot->schema, field);
        }
    }
    if (status == VECDB_OK)
        status = print_field_stats(snapshot, f, params, max_unique, &text);
    if (status == VECDB_OK && !(*out = buf_take_text(&text)))
        status = error_nomem("field stats");
    buf_deinit(&path);
    buf_deinit(&text);
    snapshot_release(snapshot);
    return call_end(&call, status);
}
