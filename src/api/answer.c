#include "api/answer.h"
#include "filter/compiled.h"
#include "query/group.h"

#include <math.h>
#include <string.h>

vecdb_status find_partition(void *context, const char *name, uint32_t *id)
{
    struct collection *collection = context;
    vecdb_status status;

    pthread_mutex_lock(&collection->snapshot_lock);
    status = collection_find_partition(collection, name, id);
    pthread_mutex_unlock(&collection->snapshot_lock);
    return status;
}

vecdb_status take_snapshot(vecdb_collection *handle, struct snapshot **out)
{
    *out = NULL;
    TRY(collection_alive(handle->collection));
    *out = collection_snapshot(handle->collection);
    return VECDB_OK;
}

vecdb_status wrap_result(struct result *result, vecdb_result **out)
{
    vecdb_result *handle = mem_alloc(sizeof *handle);

    if (!handle) {
        result_free(result);
        return error_nomem("result");
    }
    handle->result = result;
    *out = handle;
    return VECDB_OK;
}

void answer_round(struct found *found, size_t count, int32_t digits)
{
    double scale;

    if (digits < 0)
        return;
    scale = pow(10, digits > 6 ? 6 : digits);
    for (size_t i = 0; i < count; i++)
        found[i].score = (float)(floor((double)found[i].score * scale + 0.5) / scale);
}

/* Cut the offset off the front of each query's hits; `first` receives where each query's begin in what is left. */
static void apply_offset(struct found *found, size_t *counts, size_t query_count, size_t offset, size_t *first)
{
    size_t from = 0, to = 0;

    for (size_t q = 0; q < query_count; q++) {
        size_t kept = counts[q] > offset ? counts[q] - offset : 0;
        first[q] = to;
        memmove(found + to, found + from + (counts[q] - kept), kept * sizeof *found);
        from += counts[q];
        to += kept;
    }
    first[query_count] = to;
}

void answer_deinit(struct answer *answer)
{
    request_deinit(&answer->request);
    snapshot_release(answer->snapshot);
    mem_free(answer->found);
    mem_free(answer->first);
}

vecdb_status answer_prepare(vecdb_collection *handle, struct snapshot *snapshot, const vecdb_search_request *asked,
                            struct request *request)
{
    vecdb_metric index_metric;
    size_t field;

    if (asked->compiled && asked->compiled->schema != snapshot->schema)
        return error_set(VECDB_ERR_MISUSE, "search: the filter was compiled for another collection, or an older schema");
    TRY(request_find_field(snapshot->schema, asked->field, &field));
    index_metric = collection_field_metric(handle->collection, snapshot->schema->fields[field].name);
    TRY(request_init(request, snapshot, asked, index_metric, &handle->collection->filters, asked->compiled ? asked->compiled->filter : NULL,
                     find_partition, handle->collection));
    request->search.pool = handle->db->database->pool;
    collection_note_search(handle->collection);
    return VECDB_OK;
}

/* Offset and limit count groups here. */
static vecdb_status run_grouped(struct answer *answer, size_t *counts)
{
    struct request *request = &answer->request;
    struct group_search group = {request->group_field, request->group_size, request->strict_group_size, request->offset,
                                 request->limit};

    TRY(group_search_run(answer->snapshot, &request->search, &group, &answer->found, counts, &answer->exhausted,
                         &answer->counters));
    apply_offset(answer->found, counts, request->search.query_count, 0, answer->first);
    return VECDB_OK;
}

static bool same_filter(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

/* The queries that have the filter of `first`, and come after it: one search. Their hits go to found[query]. */
static vecdb_status run_one_filter(struct answer *answer, size_t first, bool *done, uint8_t *queries, size_t *members,
                                   struct found **found, size_t *counts)
{
    const struct request *request = &answer->request;
    const char *text = request->query_filters[first];
    struct search search = request->search;
    size_t width = search.query_size, n = 0, *own, at = 0;
    struct filter *filter = NULL;
    struct found *all = NULL;
    vecdb_status status = VECDB_OK;

    for (size_t q = first; q < request->search.query_count; q++) {
        if (done[q] || !same_filter(request->query_filters[q], text))
            continue;
        done[q] = true;
        memcpy(queries + n * width, search.queries + q * search.query_stride, width);
        members[n++] = q;
    }
    own = mem_array_zalloc(n + 1, sizeof *own);
    if (!own)
        return error_nomem("search");
    if (text && *text)
        status = compiled_filters_take(request->filters, answer->snapshot->schema, text, strlen(text),
                                       request->filter_params, &filter);
    search.queries = queries;
    search.query_stride = width;
    search.query_count = n;
    search.filter = filter;
    if (status == VECDB_OK)
        status = search_run(answer->snapshot, &search, &all, own, &answer->counters);
    for (size_t i = 0; i < n && status == VECDB_OK; at += own[i++]) {
        counts[members[i]] = own[i];
        found[members[i]] = mem_dup(all + at, own[i] * sizeof *all + 1);
        if (!found[members[i]])
            status = error_nomem("search");
    }
    mem_free(all);
    mem_free(own);
    filter_free(filter);
    return status;
}

/* Each query its own filter; one that several have is evaluated once. */
static vecdb_status run_filters(struct answer *answer, size_t *counts)
{
    size_t query_count = answer->request.search.query_count, total = 0, at = 0;
    size_t width = answer->request.search.query_size;
    struct found **found = mem_array_zalloc(query_count, sizeof *found);
    bool *done = mem_zalloc(query_count);
    uint8_t *queries = mem_array_alloc(query_count, width);
    size_t *members = mem_array_alloc(query_count, sizeof *members);
    vecdb_status status = found && done && queries && members ? VECDB_OK : error_nomem("search");

    for (size_t q = 0; q < query_count && status == VECDB_OK; q++)
        if (!done[q])
            status = run_one_filter(answer, q, done, queries, members, found, counts);
    for (size_t q = 0; q < query_count; q++)
        total += counts[q];
    if (status == VECDB_OK && !(answer->found = mem_array_alloc(total + 1, sizeof *answer->found)))
        status = error_nomem("search");
    for (size_t q = 0; q < query_count && status == VECDB_OK; at += counts[q++])
        memcpy(answer->found + at, found[q], counts[q] * sizeof **found);
    for (size_t q = 0; found && q < query_count; q++)
        mem_free(found[q]);
    mem_free(found);
    mem_free(done);
    mem_free(queries);
    mem_free(members);
    return status;
}

static vecdb_status run(struct answer *answer, size_t *counts)
{
    struct request *request = &answer->request;
    size_t query_count = request->search.query_count;

    if (request->group_field != SCHEMA_NONE && request->query_filters)
        return error_set(VECDB_ERR_UNSUPPORTED, "search: group_by does not go with a filter for each query");
    if (request->group_field != SCHEMA_NONE)
        return run_grouped(answer, counts);
    TRY(request->query_filters ? run_filters(answer, counts)
                               : search_run(answer->snapshot, &request->search, &answer->found, counts, &answer->counters));
    apply_offset(answer->found, counts, query_count, request->offset, answer->first);
    for (size_t q = 0; q < query_count; q++)
        answer->exhausted |= answer->first[q + 1] - answer->first[q] < request->limit;
    return VECDB_OK;
}

vecdb_status answer_run(vecdb_collection *handle, const vecdb_search_request *asked, struct answer *answer)
{
    size_t *counts;
    vecdb_status status;

    memset(answer, 0, sizeof *answer);
    TRY(take_snapshot(handle, &answer->snapshot));
    if ((status = answer_prepare(handle, answer->snapshot, asked, &answer->request)) != VECDB_OK) {
        snapshot_release(answer->snapshot);
        return status;
    }
    counts = mem_array_zalloc(asked->query_count + 1, sizeof *counts);
    answer->first = mem_array_zalloc(asked->query_count + 1, sizeof *answer->first);
    database_search_begins(handle->db->database);
    status = counts && answer->first ? run(answer, counts) : error_nomem("search");
    database_search_ends(handle->db->database);
    if (status == VECDB_OK)
        answer_round(answer->found, answer->first[asked->query_count], asked->round_decimal);
    mem_free(counts);
    if (status != VECDB_OK)
        answer_deinit(answer);
    return status;
}
