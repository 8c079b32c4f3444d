/* Writing: insert, upsert, delete. */
#include "api/handle.h"

#include <string.h>

static vecdb_status read_options(const vecdb_write_options *options, vecdb_write_options *read)
{
    *read = (vecdb_write_options)VECDB_WRITE_OPTIONS_INIT;
    if (!options)
        return VECDB_OK;
    TRY(struct_read("write options", options, read, sizeof *read));
    if ((unsigned)read->durability > VECDB_DURABILITY_NONE)
        return error_set(VECDB_ERR_INVALID, "write: durability %d is unknown", (int)read->durability);
    return VECDB_OK;
}

/* Hand results back, into as much of the struct as the caller has. */
static void write_options_out(vecdb_write_options *options, const struct write_result *result)
{
    if (!options)
        return;
    if (options->size >= offsetof(vecdb_write_options, affected) + sizeof options->affected)
        options->affected = result->affected;
    if (options->size >= offsetof(vecdb_write_options, bad_row) + sizeof options->bad_row)
        options->bad_row = result->bad_row;
}

static vecdb_status insert(vecdb_collection *collection, const vecdb_batch *batch, bool replace,
                           vecdb_write_options *options)
{
    struct write_result result = {0, UINT64_MAX, 0};
    vecdb_batch read = VECDB_BATCH_INIT;
    vecdb_write_options how;
    struct call call;
    vecdb_status status;

    TRY(call_begin_collection(&call, collection));
    status = struct_read("batch", batch, &read, sizeof read);
    if (status == VECDB_OK)
        status = read_options(options, &how);
    if (status == VECDB_OK)
        status = collection_insert(collection->collection, &read, replace, how.durability, &result);
    if (status == VECDB_OK && how.auto_ids && !replace && result.first_auto_id)
        for (size_t i = 0; i < read.row_count; i++)
            how.auto_ids[i] = result.first_auto_id + (int64_t)i;
    write_options_out(options, &result);
    return call_end(&call, status);
}

vecdb_status vecdb_insert(vecdb_collection *collection, const vecdb_batch *batch, vecdb_write_options *options)
{
    return insert(collection, batch, false, options);
}

vecdb_status vecdb_upsert(vecdb_collection *collection, const vecdb_batch *batch, vecdb_write_options *options)
{
    return insert(collection, batch, true, options);
}

vecdb_status vecdb_delete(vecdb_collection *collection, const vecdb_column *keys, size_t key_count,
                          vecdb_write_options *options)
{
    struct write_result result = {0, UINT64_MAX, 0};
    vecdb_write_options how;
    struct call call;
    vecdb_status status;

    TRY(call_begin_collection(&call, collection));
    status = read_options(options, &how);
    if (status == VECDB_OK && !keys)
        status = error_set(VECDB_ERR_INVALID, "delete: keys is NULL");
    if (status == VECDB_OK)
        status = collection_delete_keys(collection->collection, keys, key_count, how.durability, &result);
    write_options_out(options, &result);
    return call_end(&call, status);
}

vecdb_status vecdb_delete_where(vecdb_collection *collection, const char *filter, const char *filter_params,
                                vecdb_write_options *options)
{
    struct write_result result = {0, UINT64_MAX, 0};
    vecdb_write_options how;
    struct call call;
    vecdb_status status;

    TRY(call_begin_collection(&call, collection));
    status = read_options(options, &how);
    if (status == VECDB_OK)
        status = collection_delete_where(collection->collection, filter, filter_params, how.durability, &result);
    write_options_out(options, &result);
    return call_end(&call, status);
}
