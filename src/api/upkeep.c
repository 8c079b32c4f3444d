/* Sync, flush, optimize, load, release, stats; verify, backup, repair. */
#include "api/handle.h"
#include "collection/verify.h"

vecdb_status vecdb_sync(vecdb_db *db)
{
    struct call call;

    TRY(call_begin_db(&call, db));
    return call_end(&call, database_sync(db->database));
}

vecdb_status vecdb_flush(vecdb_collection *collection)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    return call_end(&call, collection_flush(collection->collection, NULL, NULL));
}

vecdb_status vecdb_optimize(vecdb_collection *collection, vecdb_progress progress, void *context)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    return call_end(&call, collection_optimize(collection->collection, progress, context));
}

vecdb_status vecdb_load(vecdb_collection *collection, vecdb_progress progress, void *context)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    return call_end(&call, collection_load(collection->collection, true, progress, context));
}

vecdb_status vecdb_release(vecdb_collection *collection)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    return call_end(&call, collection_load(collection->collection, false, NULL, NULL));
}

/* A buffer's text for vecdb_free(), or out of memory. */
static vecdb_status hand_over(struct buf *text, vecdb_status status, char **out)
{
    if (status == VECDB_OK && !(*out = buf_take_text(text)))
        status = error_nomem("text");
    buf_deinit(text);
    return status;
}

vecdb_status vecdb_collection_stats(vecdb_collection *collection, char **out)
{
    struct buf text = {0};
    struct call call;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "stats: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    return call_end(&call, hand_over(&text, collection_print_stats(collection->collection, &text), out));
}

vecdb_status vecdb_db_stats(vecdb_db *db, char **out)
{
    struct buf text = {0};
    struct call call;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "stats: out is NULL");
    *out = NULL;
    TRY(call_begin_db(&call, db));
    return call_end(&call, hand_over(&text, database_print_stats(db->database, &text), out));
}

vecdb_status vecdb_verify(const char *path, vecdb_progress progress, void *context, char **report)
{
    struct buf text = {0};
    vecdb_status status, verdict;

    if (report)
        *report = NULL;
    if (!path)
        return error_set(VECDB_ERR_INVALID, "verify: the path is NULL");
    verdict = database_verify(&vfs_posix, path, progress, context, &text);
    if (!report || (verdict != VECDB_OK && verdict != VECDB_ERR_CORRUPT)) {
        buf_deinit(&text);
        return verdict;
    }
    status = hand_over(&text, VECDB_OK, report);
    return status == VECDB_OK ? verdict : status;
}

vecdb_status vecdb_backup(vecdb_db *db, const char *path, vecdb_progress progress, void *context)
{
    struct call call;

    TRY(call_begin_db(&call, db));
    if (!path)
        return call_end(&call, error_set(VECDB_ERR_INVALID, "backup: the path is NULL"));
    return call_end(&call, database_backup(db->database, path, progress, context));
}

vecdb_status vecdb_repair(const char *path, vecdb_progress progress, void *context, char **report)
{
    struct buf text = {0};
    vecdb_status status;

    if (report)
        *report = NULL;
    if (!path)
        return error_set(VECDB_ERR_INVALID, "repair: the path is NULL");
    status = database_repair(&vfs_posix, path, progress, context, &text);
    if (status == VECDB_OK && report)
        return hand_over(&text, status, report);
    buf_deinit(&text);
    return status;
}

vecdb_status vecdb_refresh(vecdb_db *db)
{
    struct call call;

    TRY(call_begin_db(&call, db));
    return call_end(&call, database_refresh(db->database));
}
