/* Databases: open, close, facts, collections by name. */
#include "api/handle.h"
#include "base/vfs.h"
#include "index/index.h"
#include "simd/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TEXT_OF(number) TEXT_OF_(number)
#define TEXT_OF_(number) #number
#define VERSION_TEXT                                                                                                   \
    TEXT_OF(VECDB_VERSION_MAJOR) "." TEXT_OF(VECDB_VERSION_MINOR) "." TEXT_OF(VECDB_VERSION_PATCH)

const char *vecdb_status_name(vecdb_status status)
{
    switch (status) {
#define NAME(status_)                                                                                                  \
    case status_:                                                                                                      \
        return #status_
        NAME(VECDB_OK);
        NAME(VECDB_NOT_FOUND);
        NAME(VECDB_EXHAUSTED);
        NAME(VECDB_ERR_INVALID);
        NAME(VECDB_ERR_DIM);
        NAME(VECDB_ERR_TYPE);
        NAME(VECDB_ERR_EXISTS);
        NAME(VECDB_ERR_NO_SUCH);
        NAME(VECDB_ERR_FILTER);
        NAME(VECDB_ERR_LIMIT);
        NAME(VECDB_ERR_NOMEM);
        NAME(VECDB_ERR_IO);
        NAME(VECDB_ERR_FULL);
        NAME(VECDB_ERR_CORRUPT);
        NAME(VECDB_ERR_BUSY);
        NAME(VECDB_ERR_READONLY);
        NAME(VECDB_ERR_VERSION);
        NAME(VECDB_ERR_POISONED);
        NAME(VECDB_ERR_MISUSE);
        NAME(VECDB_ERR_CANCELLED);
        NAME(VECDB_ERR_UNSUPPORTED);
#undef NAME
    }
    return "unknown status";
}

const char *vecdb_last_error(void) { return error_last()->message; }
const char *vecdb_version(void) { return VERSION_TEXT; }
uint32_t vecdb_version_number(void) { return VECDB_VERSION_NUMBER; }
const char *vecdb_simd_name(void) { return simd_name(); }

bool vecdb_has_feature(const char *name)
{
    if (!name)
        return false;
    if (strncmp(name, "index.", 6) == 0)
        return index_find(name + 6) != NULL || scalar_index_find(name + 6) != NULL;
    if (strncmp(name, "metric.", 7) == 0)
        return metric_from_name(name + 7) != VECDB_METRIC_DEFAULT;
    if (strncmp(name, "type.", 5) == 0)
        return type_from_name(name + 5) != VECDB_TYPE_NONE;
    if (strncmp(name, "simd.", 5) == 0) {
        size_t count;
        const struct simd_row *rows = simd_rows(&count);
        for (size_t i = 0; i < count; i++)
            if (strcmp(rows[i].name, name + 5) == 0)
                return rows[i].supported();
    }
    return false;
}

void vecdb_free(void *memory) { mem_free(memory); }

vecdb_status vecdb_open(const char *path, const vecdb_open_options *options, vecdb_db **out)
{
    return db_open_with_vfs(&vfs_posix, path, options, out);
}

vecdb_status db_open_with_vfs(const struct vfs *vfs, const char *path, const vecdb_open_options *options, vecdb_db **out)
{
    vecdb_open_options read = VECDB_OPEN_OPTIONS_INIT;
    struct mem_account *account, *before;
    struct database *database;
    vecdb_db *db;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "open: out is NULL");
    *out = NULL;
    if (options)
        TRY(struct_read("open options", options, &read, sizeof read));
    if (read.flags & ~(uint32_t)(VECDB_OPEN_READ_ONLY | VECDB_OPEN_NO_CREATE | VECDB_OPEN_IN_HEAP))
        return error_set(VECDB_ERR_UNSUPPORTED, "open: flags 0x%x are unknown", read.flags);
    if ((unsigned)read.durability > VECDB_DURABILITY_NONE)
        return error_set(VECDB_ERR_INVALID, "open: durability %d is unknown", (int)read.durability);
    if (path && strcmp(path, ":memory:") == 0)
        path = NULL;
    if (path && !*path)
        return error_set(VECDB_ERR_INVALID, "open: the path is empty; NULL or \":memory:\" opens one in memory");
    account = mem_account_create(read.memory_limit);
    if (!account)
        return error_nomem("database");
    db = mem_zalloc(sizeof *db); /* not charged: it is freed after its database */
    if (!db) {
        mem_account_release(account);
        return error_nomem("database");
    }
    before = mem_account_enter(account);
    status = database_open(vfs, path, &read, account, &database);
    if (status == VECDB_OK && vfs == &vfs_posix && !database->read_only &&
        (status = upkeep_start(database)) != VECDB_OK) {
        vecdb_error failure = *error_last();
        (void)database_close(database);
        mem_account_enter(before);
        mem_free(db);
        return error_adopt(&failure);
    }
    mem_account_enter(before);
    if (status != VECDB_OK) {
        mem_account_release(account);
        mem_free(db);
        return status;
    }
    db->magic = DB_MAGIC;
    db->pid = getpid();
    db->database = database;
    failure_init(&db->failure);
    *out = db;
    return VECDB_OK;
}

vecdb_status vecdb_close(vecdb_db **handle)
{
    struct call call;
    vecdb_db *db;
    vecdb_status status;

    if (!handle || !*handle)
        return VECDB_OK;
    db = *handle;
    if (db->magic == DB_MAGIC && db->pid != getpid()) { /* a fork's child: forget it, touch nothing */
        *handle = NULL;
        return VECDB_OK;
    }
    TRY(call_begin_db(&call, db));
    if (atomic_load(&db->children))
        return call_end(&call, error_set(VECDB_ERR_BUSY, "close: %u collections of the database are still open",
                                         atomic_load(&db->children)));
    status = database_close(db->database);
    mem_account_enter(call.before);
    db->magic = 0;
    failure_deinit(&db->failure);
    mem_free(db);
    *handle = NULL;
    return status;
}

vecdb_status vecdb_db_error(vecdb_db *db, vecdb_error *error)
{
    if (!error)
        return error_set(VECDB_ERR_INVALID, "error is NULL");
    if (!db || db->magic != DB_MAGIC)
        return error_set(VECDB_ERR_MISUSE, "the database handle is closed or was never one");
    return failure_copy(&db->failure, error);
}

static vecdb_status list(vecdb_db *db, char ***names, size_t *count, const char *of,
                         vecdb_status (*list_names)(struct database *, const char *, char ***, size_t *))
{
    struct call call;

    if (!names || !count)
        return error_set(VECDB_ERR_INVALID, "list: names or count is NULL");
    *names = NULL;
    *count = 0;
    TRY(call_begin_db(&call, db));
    return call_end(&call, list_names(db->database, of, names, count));
}

static vecdb_status list_collections(struct database *database, const char *of, char ***names, size_t *count)
{
    return database_list_collections(database, names, count);
}

vecdb_status vecdb_collection_list(vecdb_db *db, char ***names, size_t *count)
{
    return list(db, names, count, NULL, list_collections);
}

vecdb_status vecdb_alias_list(vecdb_db *db, const char *collection, char ***names, size_t *count)
{
    return list(db, names, count, collection, database_list_aliases);
}

vecdb_status vecdb_collection_drop(vecdb_db *db, const char *name)
{
    struct call call;

    TRY(call_begin_db(&call, db));
    return call_end(&call, database_drop_collection(db->database, name));
}

vecdb_status vecdb_collection_rename(vecdb_db *db, const char *name, const char *new_name)
{
    struct call call;

    TRY(call_begin_db(&call, db));
    return call_end(&call, database_rename_collection(db->database, name, new_name));
}

vecdb_status vecdb_alias_set(vecdb_db *db, const char *alias, const char *collection, bool move)
{
    struct call call;

    TRY(call_begin_db(&call, db));
    return call_end(&call, database_set_alias(db->database, alias, collection, move));
}

vecdb_status vecdb_alias_drop(vecdb_db *db, const char *alias)
{
    struct call call;

    TRY(call_begin_db(&call, db));
    return call_end(&call, database_drop_alias(db->database, alias));
}
