/* Cursors: a search or a query read page by page, over one frozen state. */
#include "api/answer.h"
#include "query/select.h"

#include <string.h>

struct vecdb_cursor {
    vecdb_collection *collection;
    struct snapshot *snapshot;
    struct output output;
    bool searches;
    /* a search: what is still to come is what `rows` has left */
    struct request request;
    struct row_set rows;
    uint8_t *query;
    int32_t round_decimal;
    /* a query: all its rows are known */
    struct found *found;
    size_t found_count, at;
};

static vecdb_status cursor_create(vecdb_collection *collection, vecdb_cursor **out)
{
    vecdb_cursor *cursor = mem_zalloc(sizeof *cursor);

    if (!cursor)
        return error_nomem("cursor");
    cursor->collection = collection;
    *out = cursor;
    return VECDB_OK;
}

static void cursor_free(vecdb_cursor *cursor)
{
    if (cursor->searches)
        request_deinit(&cursor->request);
    row_set_deinit(&cursor->rows);
    output_deinit(&cursor->output);
    snapshot_release(cursor->snapshot);
    mem_free(cursor->query);
    mem_free(cursor->found);
    mem_free(cursor);
}

/* Output fields by name; keys of $meta are texts of the caller's, so they are copied. */
static vecdb_status take_output(vecdb_cursor *cursor, const char *const *names, size_t count)
{
    TRY(output_init(&cursor->output, cursor->snapshot->schema, names, count));
    return output_keep(&cursor->output);
}

static vecdb_status begin_search(vecdb_cursor *cursor, const vecdb_search_request *asked)
{
    vecdb_search_request read = VECDB_SEARCH_REQUEST_INIT;
    struct search_counters counters = {0};

    TRY(struct_read("search request", asked, &read, sizeof read));
    if (read.query_count != 1)
        return error_set(VECDB_ERR_INVALID, "search cursor: %zu queries; it takes one", read.query_count);
    if (read.offset || read.group_by || read.query_filters)
        return error_set(VECDB_ERR_UNSUPPORTED, "search cursor: offset, group_by and query_filters do not go with it");
    TRY(take_snapshot(cursor->collection, &cursor->snapshot));
    TRY(answer_prepare(cursor->collection, cursor->snapshot, &read, &cursor->request));
    cursor->searches = true;
    TRY(take_output(cursor, read.output_fields, read.output_count));
    TRY(row_set_choose(cursor->snapshot, &cursor->request.search, &cursor->rows, &counters));
    cursor->query = mem_dup(cursor->request.search.queries, cursor->request.search.query_size); /* the caller's may go away */
    if (!cursor->query)
        return error_nomem("cursor");
    cursor->request.search.queries = cursor->query;
    cursor->request.search.filter = NULL;
    cursor->request.search.partitions = NULL;
    cursor->request.search.within = NULL;
    cursor->request.search.deadline = NULL;
    cursor->request.search.params = NULL; /* effort follows from each page's size */
    cursor->request.search.rows = &cursor->rows;
    cursor->round_decimal = read.round_decimal;
    return VECDB_OK;
}

vecdb_status vecdb_search_cursor(vecdb_collection *collection, const vecdb_search_request *request, vecdb_cursor **out)
{
    vecdb_cursor *cursor = NULL;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "search cursor: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    status = cursor_create(collection, &cursor);
    if (status == VECDB_OK && (status = begin_search(cursor, request)) != VECDB_OK) {
        vecdb_error failure = *error_last();
        cursor_free(cursor);
        error_adopt(&failure);
    }
    if (status == VECDB_OK) {
        atomic_fetch_add(&collection->children, 1);
        *out = cursor;
    }
    return call_end(&call, status);
}

static vecdb_status begin_query(vecdb_cursor *cursor, const vecdb_query_request *asked)
{
    static const char *const everything[] = {"*"};
    vecdb_query_request read = VECDB_QUERY_REQUEST_INIT;
    struct filter_counters counters = {0};
    struct filter *filter = NULL;
    struct buf partitions = {0};
    vecdb_status status;

    TRY(struct_read("query request", asked, &read, sizeof read));
    TRY(take_snapshot(cursor->collection, &cursor->snapshot));
    TRY(read.output_fields ? take_output(cursor, read.output_fields, read.output_count) : take_output(cursor, everything, 1));
    if (read.filter && *read.filter)
        TRY(filter_compile(cursor->snapshot->schema, read.filter, strlen(read.filter), read.filter_params, &filter));
    status = VECDB_OK;
    if (read.partitions) {
        status = request_partitions(read.partitions, read.partition_count, find_partition,
                                    cursor->collection->collection, &partitions);
        if (status == VECDB_OK)
            status = buf_reserve(&partitions, 4);
    }
    if (status == VECDB_OK)
        status = select_rows(cursor->snapshot, filter, (const uint32_t *)(const void *)partitions.data,
                             read.partition_count, read.order_by, read.limit, read.offset, &cursor->found,
                             &cursor->found_count, &counters);
    buf_deinit(&partitions);
    filter_free(filter);
    return status;
}

vecdb_status vecdb_query_cursor(vecdb_collection *collection, const vecdb_query_request *request, vecdb_cursor **out)
{
    vecdb_cursor *cursor = NULL;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "query cursor: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    status = cursor_create(collection, &cursor);
    if (status == VECDB_OK && (status = begin_query(cursor, request)) != VECDB_OK) {
        vecdb_error failure = *error_last();
        cursor_free(cursor);
        error_adopt(&failure);
    }
    if (status == VECDB_OK) {
        atomic_fetch_add(&collection->children, 1);
        *out = cursor;
    }
    return call_end(&call, status);
}

static vecdb_status next_page(vecdb_cursor *cursor, size_t count, struct result **out)
{
    size_t first[2] = {0, 0};
    struct found *page = NULL;
    vecdb_status status = VECDB_OK;

    if (cursor->searches) {
        struct search_counters counters = {0};
        cursor->request.search.k = count;
        status = search_run(cursor->snapshot, &cursor->request.search, &page, &first[1], &counters);
        if (status == VECDB_OK && first[1] < count && cursor->request.search.has_radius && !cursor->request.search.exact) {
            mem_free(page); /* an index may think that a range ends too early: the last pages look at every row */
            page = NULL;
            cursor->request.search.exact = true;
            status = search_run(cursor->snapshot, &cursor->request.search, &page, &first[1], &counters);
        }
        for (size_t i = 0; status == VECDB_OK && i < first[1]; i++)
            status = row_set_remove(cursor->snapshot, &cursor->rows, page[i].view, page[i].row);
        if (status == VECDB_OK)
            answer_round(page, first[1], cursor->round_decimal);
    } else {
        size_t left = cursor->found_count - cursor->at;
        first[1] = count < left ? count : left;
        cursor->at += first[1];
    }
    if (status == VECDB_OK)
        status = output_fetch(&cursor->output, cursor->snapshot,
                              page ? page : cursor->found ? cursor->found + cursor->at - first[1] : NULL, first, 1,
                              cursor->searches, out);
    mem_free(page);
    return status;
}

vecdb_status vecdb_cursor_next(vecdb_cursor *cursor, size_t count, vecdb_result **out)
{
    struct result *result;
    struct call call;
    bool exhausted;
    vecdb_status status;

    if (!cursor || !out)
        return error_set(VECDB_ERR_INVALID, "cursor: cursor or out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, cursor->collection));
    if (count == 0)
        return call_end(&call, error_set(VECDB_ERR_INVALID, "cursor: count is 0, it must be at least 1"));
    status = next_page(cursor, count, &result);
    if (status != VECDB_OK)
        return call_end(&call, status);
    exhausted = result->first[1] == 0;
    status = wrap_result(result, out);
    return call_end(&call, status == VECDB_OK && exhausted ? VECDB_EXHAUSTED : status);
}

void vecdb_cursor_close(vecdb_cursor **handle)
{
    struct mem_account *before;
    vecdb_cursor *cursor;

    if (!handle || !*handle)
        return;
    cursor = *handle;
    *handle = NULL;
    before = mem_account_enter(cursor->collection->db->database->account);
    atomic_fetch_sub(&cursor->collection->children, 1);
    cursor_free(cursor);
    mem_account_enter(before);
}
