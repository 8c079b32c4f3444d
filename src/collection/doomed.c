#include "collection/doomed.h"

#include "base/mem.h"
#include "query/expiry.h"

#include <stdio.h>

struct key_text key_text(vecdb_type type, const void *key, size_t size)
{
    struct key_text text;

    if (type == VECDB_TYPE_INT64)
        snprintf(text.text, sizeof text.text, "%lld", (long long)(int64_t)load_u64(key));
    else
        snprintf(text.text, sizeof text.text, "'%.*s'%s", size > 80 ? 80 : (int)size, (const char *)key,
                 size > 80 ? "..." : "");
    return text;
}

void doomed_deinit(struct doomed *doomed)
{
    for (size_t v = 0; doomed->rows && v < doomed->view_count; v++)
        mem_free(doomed->rows[v]);
    mem_free(doomed->rows);
    mem_free(doomed->counts);
    mem_free(doomed->capacities);
}

static vecdb_status doomed_make_lists(struct doomed *doomed)
{
    doomed->rows = mem_array_zalloc(doomed->view_count + 1, sizeof *doomed->rows);
    doomed->counts = mem_array_zalloc(doomed->view_count + 1, sizeof *doomed->counts);
    doomed->capacities = mem_array_zalloc(doomed->view_count + 1, sizeof *doomed->capacities);
    return doomed->rows && doomed->counts && doomed->capacities ? VECDB_OK : error_nomem("delete");
}

vecdb_status doomed_add(struct doomed *doomed, size_t view, uint32_t row)
{
    if (!doomed->rows)
        TRY(doomed_make_lists(doomed));
    if (doomed->counts[view] == doomed->capacities[view]) {
        size_t capacity = doomed->capacities[view] ? doomed->capacities[view] * 2 : 16;
        uint32_t *rows = mem_realloc(doomed->rows[view], capacity * sizeof *rows);
        if (!rows)
            return error_nomem("delete");
        doomed->rows[view] = rows;
        doomed->capacities[view] = capacity;
    }
    doomed->rows[view][doomed->counts[view]++] = row;
    return VECDB_OK;
}

vecdb_status doomed_apply(const struct doomed *doomed, struct snapshot *next, uint64_t *affected)
{
    for (size_t v = 0; v < doomed->view_count; v++) {
        struct segment_view *view = &next->views[v];
        struct tombstones *tombstones;
        size_t before = tombstones_count(view->tombstones);
        if (doomed_count(doomed, v) == 0)
            continue;
        TRY(tombstones_with(view->tombstones, view->segment->row_count, doomed->rows[v], doomed->counts[v],
                            &tombstones));
        *affected += tombstones_count(tombstones) - before;
        view_set_tombstones(view, tombstones);
    }
    return VECDB_OK;
}

vecdb_status doomed_find_keys(const struct snapshot *snapshot, const struct rows *rows, bool replace,
                                 struct doomed *doomed, uint64_t *bad_row)
{
    const struct column *keys = &rows->columns[rows->schema->primary];

    for (size_t row = 0; row < rows->row_count; row++) {
        size_t size, view;
        const uint8_t *key = column_bytes(keys, row, &size);
        uint32_t at;
        bool found, expired = false;
        TRY(snapshot_find(snapshot, key, size, &found, &view, &at));
        if (!found)
            continue;
        if (!replace)
            TRY(row_expired(snapshot, view, at, &expired)); /* as good as gone: the new row takes its place */
        if (!replace && !expired) {
            *bad_row = row;
            return error_set(VECDB_ERR_EXISTS, "field %s: row %zu: key %s is there already",
                             rows->schema->fields[rows->schema->primary].name, row,
                             key_text(keys->type, key, size).text);
        }
        TRY(doomed_add(doomed, view, at));
    }
    return VECDB_OK;
}
