/* Delete, by keys, by a filter, all rows, those that have expired. */
#include "base/mem.h"
#include "collection/database.h"
#include "collection/doomed.h"
#include "query/expiry.h"

#include <string.h>

#define DELETE_TRIES 8 /* to delete what a filter matches while segments are written anew */

/* The snapshot after a delete; *out stays NULL when no row was there to delete. */
static vecdb_status after_delete(struct collection *collection, const struct doomed *doomed, uint64_t *affected,
                                 struct snapshot **out)
{
    struct snapshot *next;
    vecdb_status status;

    *out = NULL;
    *affected = 0;
    TRY(snapshot_copy(collection->latest, collection->latest->schema, collection->latest->view_count, &next));
    status = doomed_apply(doomed, next, affected);
    if (status == VECDB_OK && *affected)
        *out = next;
    else
        snapshot_release(next);
    return status;
}

static vecdb_status delete_locked(struct collection *collection, const struct doomed *doomed,
                                  struct write_result *result, struct snapshot **staged)
{
    struct snapshot *next = NULL;
    struct buf frame = {0};
    vecdb_status status = after_delete(collection, doomed, &result->affected, &next);

    if (status == VECDB_OK && next && collection->database->store)
        status = frame_put_delete(collection, collection->latest, doomed->rows, doomed->counts, &frame);
    if (status == VECDB_OK && next)
        status = collection_stage(collection, next, FRAME_DELETE, &(struct iovec){frame.data, frame.size}, 1, staged);
    else
        snapshot_release(next);
    buf_deinit(&frame);
    return status;
}

vecdb_status delete_plant_first(struct collection *collection, const struct rows *rows)
{
    struct write_result result = {0};
    struct snapshot *staged = NULL;
    struct doomed doomed = {.view_count = collection->latest->view_count};
    uint64_t bad_row;
    vecdb_status status = doomed_find_keys(collection->latest, rows, true, &doomed, &bad_row);

    if (status == VECDB_OK)
        status = delete_locked(collection, &doomed, &result, &staged);
    doomed_deinit(&doomed);
    return staged ? collection_commit(collection, staged, VECDB_DURABILITY_NONE) : status;
}

/* The live rows of some keys. */
static vecdb_status doom_keys(struct collection *collection, const vecdb_column *keys, size_t key_count,
                              struct doomed *doomed)
{
    struct rows rows;
    uint64_t bad_row;
    vecdb_status status;

    TRY(rows_from_keys(collection_schema(collection), keys, key_count, &rows));
    doomed->view_count = collection->latest->view_count;
    status = doomed_find_keys(collection->latest, &rows, true, doomed, &bad_row);
    rows_deinit(&rows);
    return status;
}

vecdb_status collection_delete_keys(struct collection *collection, const vecdb_column *keys, size_t key_count,
                                    vecdb_durability durability, struct write_result *result)
{
    struct snapshot *staged = NULL;
    struct doomed doomed = {0};
    vecdb_status status;

    result->affected = 0;
    result->bad_row = UINT64_MAX;
    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = doom_keys(collection, keys, key_count, &doomed);
    if (status == VECDB_OK)
        status = delete_locked(collection, &doomed, result, &staged);
    pthread_mutex_unlock(&collection->write_lock);
    doomed_deinit(&doomed);
    return staged ? collection_commit(collection, staged, durability) : status;
}

/* Doomed rows go, as of a frame. */
static vecdb_status redo_doom(struct collection *collection, const struct doomed *doomed, uint64_t lsn)
{
    struct snapshot *next;
    uint64_t affected;

    TRY(after_delete(collection, doomed, &affected, &next));
    if (next) {
        next->lsn = lsn;
        collection_publish(collection, next);
    }
    return VECDB_OK;
}

vecdb_status delete_redo_replaced(struct collection *collection, const struct rows *rows, uint64_t lsn)
{
    struct doomed doomed = {.view_count = collection->latest->view_count};
    uint64_t bad_row;
    vecdb_status status = doomed_find_keys(collection->latest, rows, true, &doomed, &bad_row);

    if (status == VECDB_OK)
        status = redo_doom(collection, &doomed, lsn);
    doomed_deinit(&doomed);
    return status;
}

vecdb_status collection_redo_delete(struct collection *collection, const vecdb_column *keys, size_t key_count,
                                    uint64_t lsn)
{
    struct doomed doomed = {0};
    vecdb_status status = doom_keys(collection, keys, key_count, &doomed);

    if (status == VECDB_OK)
        status = redo_doom(collection, &doomed, lsn);
    doomed_deinit(&doomed);
    return status;
}

/* The rows that match a filter. */
static vecdb_status doom_matches(const struct snapshot *snapshot, const struct filter *filter, struct doomed *doomed)
{
    struct filter_counters counters = {0};

    doomed->view_count = snapshot->view_count;
    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        vecdb_status status = VECDB_OK;
        uint64_t *rows;
        size_t count;
        TRY(search_allowed(snapshot, v, filter, NULL, 0, NULL, &rows, &count, &counters));
        for (size_t row = 0; count && row < view->row_count && status == VECDB_OK; row++)
            if (!rows || bitmap_get(rows, row))
                status = doomed_add(doomed, v, (uint32_t)row);
        mem_free(rows);
        if (status != VECDB_OK)
            return status;
    }
    return VECDB_OK;
}

/* Rows chosen in an older snapshot, as the latest has them. Those deleted since are left out, their keys may have other rows now; rows
 * that came since are as if they had come after us. False: there are segments written anew, whose rows have to be looked at. */
static vecdb_status bring_forward(const struct snapshot *seen, const struct doomed *chosen, const struct snapshot *latest,
                                  struct doomed *out, bool *all)
{
    out->view_count = latest->view_count;
    *all = true;
    for (size_t w = 0; w < latest->view_count; w++) {
        const struct segment_view *view = &latest->views[w];
        size_t v = 0;
        while (v < seen->view_count && seen->views[v].segment != view->segment)
            v++;
        if (v == seen->view_count) {
            *all = *all && view->segment->growing;
            continue;
        }
        for (size_t i = 0; i < doomed_count(chosen, v); i++)
            if (chosen->rows[v][i] < view->row_count && !tombstones_get(view->tombstones, chosen->rows[v][i]))
                TRY(doomed_add(out, w, chosen->rows[v][i]));
    }
    return VECDB_OK;
}

static struct snapshot *latest_of(struct collection *collection)
{
    struct snapshot *snapshot;

    pthread_mutex_lock(&collection->write_lock);
    snapshot = snapshot_retain(collection->latest);
    pthread_mutex_unlock(&collection->write_lock);
    return snapshot;
}

/* Choose rows with no lock held, for filters may call functions of the program's; then delete those still there. *done is false when
 * segments were written anew meanwhile. */
static vecdb_status try_delete_where(struct collection *collection, const char *text, const char *params,
                                     struct write_result *result, struct snapshot **staged, bool *done)
{
    struct snapshot *seen = latest_of(collection);
    struct doomed chosen = {0}, doomed = {0};
    struct filter *filter = NULL;
    vecdb_status status = filter_compile(seen->schema, text, strlen(text), params, &filter);

    if (status == VECDB_OK)
        status = doom_matches(seen, filter, &chosen);
    pthread_mutex_lock(&collection->write_lock);
    if (status == VECDB_OK)
        status = collection_writable(collection);
    if (status == VECDB_OK)
        status = bring_forward(seen, &chosen, collection->latest, &doomed, done);
    if (status == VECDB_OK && *done)
        status = delete_locked(collection, &doomed, result, staged);
    pthread_mutex_unlock(&collection->write_lock);
    doomed_deinit(&chosen);
    doomed_deinit(&doomed);
    filter_free(filter);
    snapshot_release(seen);
    return status;
}

vecdb_status collection_delete_where(struct collection *collection, const char *text, const char *params,
                                     vecdb_durability durability, struct write_result *result)
{
    struct snapshot *staged = NULL;
    bool done = false, claimed = false;
    vecdb_status status;

    result->affected = 0;
    result->bad_row = UINT64_MAX;
    if (!text || !text[strspn(text, " \t\r\n")])
        return error_set(VECDB_ERR_INVALID, "delete: the filter is empty; use truncate to delete all rows");
    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    pthread_mutex_unlock(&collection->write_lock);
    for (int tries = 0; status == VECDB_OK && !done; tries++) {
        if (tries == DELETE_TRIES) { /* segments change faster than we look at them: keep them as they are */
            TRY(collection_begin_upkeep(collection));
            claimed = true;
        }
        status = try_delete_where(collection, text, params, result, &staged, &done);
    }
    if (claimed)
        collection_end_upkeep(collection);
    return staged ? collection_commit(collection, staged, durability) : status;
}

/* Rows that have expired, as a filter has no word for them. */
static vecdb_status doom_expired(const struct snapshot *snapshot, struct doomed *doomed)
{
    doomed->view_count = snapshot->view_count;
    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        struct filter_counters counters = {0};
        vecdb_status status = VECDB_OK;
        uint64_t *rows;
        size_t count;
        TRY(search_allowed(snapshot, v, NULL, NULL, 0, NULL, &rows, &count, &counters));
        if (count == view_live_rows(view)) {
            mem_free(rows);
            continue;
        }
        for (size_t row = 0; row < view->row_count && status == VECDB_OK; row++)
            if (!bitmap_get(rows, row) && !tombstones_get(view->tombstones, (uint32_t)row))
                status = doomed_add(doomed, v, (uint32_t)row);
        mem_free(rows);
        if (status != VECDB_OK)
            return status;
    }
    return VECDB_OK;
}

vecdb_status collection_delete_expired(struct collection *collection)
{
    struct write_result result = {0};
    struct snapshot *staged = NULL;
    struct doomed doomed = {0};
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_alive(collection);
    if (status == VECDB_OK && schema_expires(collection_schema(collection))) {
        status = database_writable(collection->database);
        if (status == VECDB_OK)
            status = doom_expired(collection->latest, &doomed);
        if (status == VECDB_OK)
            status = delete_locked(collection, &doomed, &result, &staged);
    }
    pthread_mutex_unlock(&collection->write_lock);
    doomed_deinit(&doomed);
    return staged ? collection_commit(collection, staged, VECDB_DURABILITY_DEFAULT) : status;
}

vecdb_status collection_redo_truncate(struct collection *collection, uint64_t lsn)
{
    struct snapshot *next;

    TRY(snapshot_copy(NULL, collection->latest->schema, 0, &next));
    next->lsn = lsn;
    collection_publish(collection, next);
    return VECDB_OK;
}

vecdb_status collection_truncate(struct collection *collection)
{
    struct snapshot *next = NULL, *staged = NULL;
    struct buf frame = {0};
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = frame_put_truncate(collection, &frame);
    if (status == VECDB_OK)
        status = snapshot_copy(NULL, collection->latest->schema, 0, &next);
    if (status == VECDB_OK)
        status = collection_stage(collection, next, FRAME_TRUNCATE, &(struct iovec){frame.data, frame.size}, 1, &staged);
    pthread_mutex_unlock(&collection->write_lock);
    buf_deinit(&frame);
    return staged ? collection_commit(collection, staged, VECDB_DURABILITY_DEFAULT) : status;
}
