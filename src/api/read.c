/* Reading by filter and by key: query, get, count. */
#include "api/answer.h"
#include "query/expiry.h"
#include "query/select.h"

#include <string.h>

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
    if (status == VECDB_OK && !filter && !schema_expires(snapshot->schema))
        *out = snapshot->live_rows;
    else if (status == VECDB_OK)
        status = select_count(snapshot, filter, NULL, 0, out, &counters);
    filter_free(filter);
    snapshot_release(snapshot);
    return call_end(&call, status);
}
