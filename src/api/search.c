/* Searching and reading: search, query, get, count, filters. */
#include "api/handle.h"
#include "query/request.h"
#include "query/select.h"

#include <math.h>
#include <string.h>

static vecdb_status find_partition(void *context, const char *name, uint32_t *id)
{
    struct collection *collection = context;
    vecdb_status status;

    pthread_mutex_lock(&collection->snapshot_lock);
    status = collection_find_partition(collection, name, id);
    pthread_mutex_unlock(&collection->snapshot_lock);
    return status;
}

static vecdb_status take_snapshot(vecdb_collection *handle, struct snapshot **out)
{
    TRY(collection_alive(handle->collection));
    *out = collection_snapshot(handle->collection);
    return VECDB_OK;
}

static vecdb_status wrap_result(struct result *result, vecdb_result **out)
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

/* ---- search ---- */

static void round_scores(struct found *found, size_t count, int32_t digits)
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

/* A search carried out: hits of all queries, offset applied. */
struct answer {
    struct snapshot *snapshot;
    struct request request;
    struct found *found;
    size_t *first; /* query_count + 1 */
    bool exhausted;
    struct search_counters counters;
};

static void answer_deinit(struct answer *answer)
{
    request_deinit(&answer->request);
    snapshot_release(answer->snapshot);
    mem_free(answer->found);
    mem_free(answer->first);
}

static vecdb_status run_search(vecdb_collection *handle, const vecdb_search_request *asked, struct answer *answer)
{
    const struct filter *compiled = asked->compiled ? asked->compiled->filter : NULL;
    vecdb_metric index_metric = VECDB_METRIC_DEFAULT;
    size_t *counts, field;
    vecdb_status status;

    memset(answer, 0, sizeof *answer);
    TRY(take_snapshot(handle, &answer->snapshot));
    if (asked->compiled && asked->compiled->schema != answer->snapshot->schema) {
        snapshot_release(answer->snapshot);
        return error_set(VECDB_ERR_MISUSE, "search: the filter was compiled for another collection, or an older schema");
    }
    status = request_find_field(answer->snapshot->schema, asked->field, &field);
    if (status == VECDB_OK)
        index_metric = collection_field_metric(handle->collection, answer->snapshot->schema->fields[field].name);
    if (status == VECDB_OK)
        status = request_init(&answer->request, answer->snapshot, asked, index_metric, compiled, find_partition,
                              handle->collection);
    if (status != VECDB_OK) {
        snapshot_release(answer->snapshot);
        return status;
    }
    answer->request.search.pool = handle->db->database->pool;
    counts = mem_array_zalloc(asked->query_count + 1, sizeof *counts);
    answer->first = mem_array_zalloc(asked->query_count + 1, sizeof *answer->first);
    if (!counts || !answer->first)
        status = error_nomem("search");
    else
        status = search_run(answer->snapshot, &answer->request.search, &answer->found, counts, &answer->counters);
    if (status == VECDB_OK) {
        apply_offset(answer->found, counts, asked->query_count, answer->request.offset, answer->first);
        round_scores(answer->found, answer->first[asked->query_count], asked->round_decimal);
        for (size_t q = 0; q < asked->query_count; q++)
            answer->exhausted |= answer->first[q + 1] - answer->first[q] < answer->request.limit;
    }
    mem_free(counts);
    if (status != VECDB_OK)
        answer_deinit(answer);
    return status;
}

vecdb_status vecdb_search(vecdb_collection *collection, const vecdb_search_request *request, vecdb_result **out)
{
    vecdb_search_request read = VECDB_SEARCH_REQUEST_INIT;
    struct output output = {0};
    struct result *result;
    struct answer answer;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "search: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    if ((status = struct_read("search request", request, &read, sizeof read)) != VECDB_OK ||
        (status = run_search(collection, &read, &answer)) != VECDB_OK)
        return call_end(&call, status);
    status = output_init(&output, answer.snapshot->schema, read.output_fields, read.output_count);
    if (status == VECDB_OK)
        status = output_fetch(&output, answer.snapshot, answer.found, answer.first, read.query_count, true, &result);
    if (status == VECDB_OK) {
        result->exhausted = answer.exhausted;
        status = wrap_result(result, out);
    }
    if (status == VECDB_OK && answer.exhausted)
        status = VECDB_EXHAUSTED;
    output_deinit(&output);
    answer_deinit(&answer);
    return call_end(&call, status);
}

vecdb_status vecdb_search_into(vecdb_collection *collection, const vecdb_search_request *request, int64_t *keys,
                               float *scores, size_t *counts)
{
    vecdb_search_request read = VECDB_SEARCH_REQUEST_INIT;
    struct column_scratch scratch = {0};
    struct column column = {0};
    uint32_t view_at = UINT32_MAX;
    size_t block_at = 0, primary;
    struct answer answer;
    struct call call;
    vecdb_status status;

    TRY(call_begin_collection(&call, collection));
    if (!keys)
        return call_end(&call, error_set(VECDB_ERR_INVALID, "search: keys is NULL"));
    if ((status = struct_read("search request", request, &read, sizeof read)) != VECDB_OK ||
        (status = run_search(collection, &read, &answer)) != VECDB_OK)
        return call_end(&call, status);
    primary = answer.snapshot->schema->primary;
    if (answer.snapshot->schema->fields[primary].type != VECDB_TYPE_INT64)
        status = error_set(VECDB_ERR_TYPE, "field %s is a VARCHAR key: use vecdb_search",
                           answer.snapshot->schema->fields[primary].name);
    for (size_t q = 0; q < read.query_count && status == VECDB_OK; q++) {
        size_t count = answer.first[q + 1] - answer.first[q];
        if (counts)
            counts[q] = count;
        for (size_t i = 0; i < read.limit && status == VECDB_OK; i++) {
            const struct found *found = &answer.found[answer.first[q] + i];
            size_t at = q * read.limit + i, block, block_rows;
            const struct segment_view *view;
            keys[at] = -1;
            if (scores)
                scores[at] = NAN;
            if (i >= count)
                continue;
            view = &answer.snapshot->views[found->view];
            block_rows = view->segment->block_rows;
            block = found->row / block_rows;
            if (found->view != view_at || block != block_at)
                status = view_column(view, answer.snapshot->schema, primary, block, &scratch, &column);
            if (status != VECDB_OK)
                break;
            view_at = found->view;
            block_at = block;
            keys[at] = (int64_t)load_u64(column.data + found->row % block_rows * 8);
            if (scores)
                scores[at] = found->score;
        }
    }
    if (status == VECDB_OK && answer.exhausted)
        status = VECDB_EXHAUSTED;
    buf_deinit(&scratch.bytes);
    answer_deinit(&answer);
    return call_end(&call, status);
}

/* ---- by filter and by key ---- */

static vecdb_status compile(const struct schema *schema, const char *text, const char *params, struct filter **out)
{
    *out = NULL;
    return text && *text ? filter_compile(schema, text, strlen(text), params, out) : VECDB_OK;
}

vecdb_status vecdb_query(vecdb_collection *collection, const vecdb_query_request *request, vecdb_result **out)
{
    static const char *const everything[] = {"*"};
    vecdb_query_request read = VECDB_QUERY_REQUEST_INIT;
    struct filter_counters counters = {0};
    struct snapshot *snapshot = NULL;
    struct filter *filter = NULL;
    struct output output = {0};
    struct buf partitions = {0};
    struct found *found = NULL;
    struct result *result;
    struct call call;
    size_t first[2] = {0, 0};
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "query: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    status = struct_read("query request", request, &read, sizeof read);
    if (status == VECDB_OK)
        status = take_snapshot(collection, &snapshot);
    if (status == VECDB_OK)
        status = compile(snapshot->schema, read.filter, read.filter_params, &filter);
    if (status == VECDB_OK)
        status = read.output_fields ? output_init(&output, snapshot->schema, read.output_fields, read.output_count)
                                    : output_init(&output, snapshot->schema, everything, 1);
    if (status == VECDB_OK && read.partitions) {
        status = request_partitions(read.partitions, read.partition_count, find_partition, collection->collection,
                                    &partitions);
        if (status == VECDB_OK)
            status = buf_reserve(&partitions, 4);
    }
    if (status == VECDB_OK)
        status = select_rows(snapshot, filter, (const uint32_t *)(const void *)partitions.data, read.partition_count,
                           read.order_by, read.limit, read.offset, &found, &first[1], &counters);
    if (status == VECDB_OK)
        status = output_fetch(&output, snapshot, found, first, 1, false, &result);
    if (status == VECDB_OK)
        status = wrap_result(result, out);
    buf_deinit(&partitions);
    mem_free(found);
    output_deinit(&output);
    filter_free(filter);
    snapshot_release(snapshot);
    return call_end(&call, status);
}

vecdb_status vecdb_get(vecdb_collection *collection, const vecdb_column *keys, size_t key_count,
                       const char *const *output_fields, size_t output_count, vecdb_result **out)
{
    static const char *const everything[] = {"*"};
    struct snapshot *snapshot = NULL;
    struct output output = {0};
    struct found *found = NULL;
    struct rows rows = {0};
    struct result *result;
    struct call call;
    size_t first[2] = {0, 0};
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "get: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    if (!keys)
        return call_end(&call, error_set(VECDB_ERR_INVALID, "get: keys is NULL"));
    status = take_snapshot(collection, &snapshot);
    if (status == VECDB_OK)
        status = output_fields ? output_init(&output, snapshot->schema, output_fields, output_count)
                               : output_init(&output, snapshot->schema, everything, 1);
    if (status == VECDB_OK)
        status = rows_from_keys(snapshot->schema, keys, key_count, &rows);
    if (status == VECDB_OK)
        status = select_keys(snapshot, &rows, &found, &first[1]);
    if (status == VECDB_OK)
        status = output_fetch(&output, snapshot, found, first, 1, false, &result);
    if (status == VECDB_OK)
        status = wrap_result(result, out);
    if (status == VECDB_OK && first[1] == 0)
        status = VECDB_NOT_FOUND;
    rows_deinit(&rows);
    mem_free(found);
    output_deinit(&output);
    snapshot_release(snapshot);
    return call_end(&call, status);
}

vecdb_status vecdb_count(vecdb_collection *collection, const char *text, const char *params, uint64_t *out)
{
    struct filter_counters counters = {0};
    struct snapshot *snapshot = NULL;
    struct filter *filter = NULL;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "count: out is NULL");
    *out = 0;
    TRY(call_begin_collection(&call, collection));
    status = take_snapshot(collection, &snapshot);
    if (status == VECDB_OK)
        status = compile(snapshot->schema, text, params, &filter);
    if (status == VECDB_OK && !filter)
        *out = snapshot->live_rows;
    else if (status == VECDB_OK)
        status = select_count(snapshot, filter, NULL, 0, out, &counters);
    filter_free(filter);
    snapshot_release(snapshot);
    return call_end(&call, status);
}

/* ---- filters ---- */

vecdb_status vecdb_filter_compile(vecdb_collection *collection, const char *text, const char *params,
                                  vecdb_filter **out)
{
    struct snapshot *snapshot = NULL;
    vecdb_filter *handle = NULL;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "filter: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    status = take_snapshot(collection, &snapshot);
    if (status == VECDB_OK && !(handle = mem_zalloc(sizeof *handle)))
        status = error_nomem("filter");
    if (status == VECDB_OK)
        status = filter_compile(snapshot->schema, text ? text : "", text ? strlen(text) : 0, params, &handle->filter);
    if (status == VECDB_OK) {
        handle->collection = collection;
        handle->schema = snapshot->schema;
        atomic_fetch_add(&collection->children, 1);
        *out = handle;
    } else {
        mem_free(handle);
    }
    snapshot_release(snapshot);
    return call_end(&call, status);
}

void vecdb_filter_free(vecdb_filter **filter)
{
    if (!filter || !*filter)
        return;
    filter_free((*filter)->filter);
    atomic_fetch_sub(&(*filter)->collection->children, 1);
    mem_free(*filter);
    *filter = NULL;
}

static vecdb_status rows_column(void *context, size_t field, size_t block, struct column_scratch *scratch,
                                struct column *out)
{
    *out = ((const struct rows *)context)->columns[field];
    return VECDB_OK;
}

vecdb_status vecdb_filter_match(const vecdb_filter *filter, const vecdb_batch *batch, uint8_t *matches)
{
    vecdb_batch read = VECDB_BATCH_INIT;
    struct filter_source source = {.column = rows_column};
    uint64_t *words = NULL;
    struct rows rows;
    uint64_t bad_row;
    struct call call;
    vecdb_status status;

    if (!filter || !matches)
        return error_set(VECDB_ERR_INVALID, "filter match: filter or matches is NULL");
    TRY(call_begin_collection(&call, filter->collection));
    status = struct_read("batch", batch, &read, sizeof read);
    if (status == VECDB_OK)
        status = rows_from_batch(filter->schema, &read, 1, true, &rows, &bad_row);
    if (status != VECDB_OK)
        return call_end(&call, status);
    source.context = &rows;
    source.row_count = rows.row_count;
    source.block_rows = align_up(rows.row_count + 1, 64);
    words = mem_array_alloc(bitmap_words(rows.row_count) + 1, 8);
    if (words) {
        bitmap_fill(words, rows.row_count);
        status = filter_eval(filter->filter, &source, words, NULL, NULL, NULL);
    } else {
        status = error_nomem("filter match");
    }
    for (size_t i = 0; i < rows.row_count && status == VECDB_OK; i++)
        matches[i] = bitmap_get(words, i);
    mem_free(words);
    rows_deinit(&rows);
    return call_end(&call, status);
}
