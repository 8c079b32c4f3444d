/* Filters of their own: compile, match, free. */
#include "api/answer.h"

#include <string.h>

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
