/* Opening a database's directory: its lock, its manifest. */
#include "storage/store_state.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOCK_NAME "LOCK"

static vecdb_status busy(struct store *store)
{
    char text[32] = {0};
    size_t got = 0;

    (void)file_read_some(&store->lock_file, 0, text, sizeof text - 1, &got);
    text[strcspn(text, "\n")] = '\0';
    if (strtol(text, NULL, 10) == getpid())
        return error_set(VECDB_ERR_BUSY, "the database is open for writing in this process already");
    return error_set(VECDB_ERR_BUSY, "the database is open for writing in %s%s", text[0] ? "process " : "another process",
                     text);
}

static vecdb_status take_lock(struct store *store)
{
    const struct vfs *vfs = store->dir.vfs;
    uint64_t start = vfs->now(vfs), limit = (uint64_t)store->options.lock_timeout_ms * 1000000u;
    struct vfs_stat mine, there;
    vecdb_status status;
    char text[32];

    for (int moved = 0;;) {
        TRY(file_open(&store->dir, LOCK_NAME, VFS_WRITE | VFS_CREATE, &store->lock_file));
        status = file_lock(&store->lock_file);
        if (status == VECDB_OK) {
            /* Somebody may have removed the file between opening and locking it: then it guards nothing. */
            TRY(file_stat(&store->lock_file, &mine));
            status = dir_stat(&store->dir, LOCK_NAME, &there);
            if (status == VECDB_OK && mine.inode == there.inode && mine.device == there.device)
                break;
            if (status != VECDB_OK && status != VECDB_ERR_NO_SUCH)
                return status;
            if (++moved == 100)
                return error_set(VECDB_ERR_BUSY, LOCK_NAME ": the file keeps being replaced");
        } else if (status != VECDB_ERR_BUSY) {
            return status;
        } else if (vfs->now(vfs) - start >= limit) {
            return busy(store);
        } else {
            vfs->sleep(vfs, 5000000u);
        }
        file_close(&store->lock_file);
    }
    /* For people; nothing depends on it, so a full disk is no reason not to open. */
    if (file_truncate(&store->lock_file, 0) == VECDB_OK)
        (void)file_write(&store->lock_file, 0, text, (size_t)snprintf(text, sizeof text, "%ld\n", (long)getpid()));
    return VECDB_OK;
}

vecdb_status store_open(const struct vfs *vfs, const char *path, const struct store_options *options, struct store **out)
{
    struct store *store = mem_zalloc(sizeof *store);
    vecdb_status status;
    bool create, opened;

    *out = NULL;
    if (!store)
        return error_nomem("database");
    pthread_mutex_init(&store->publishing, NULL);
    pthread_mutex_init(&store->files_lock, NULL);
    if (options)
        store->options = *options;
    if (!store->options.wal_roll_size)
        store->options.wal_roll_size = (uint64_t)64 << 20;
    atomic_init(&store->next_id, 1);
    atomic_init(&store->roll_at, store->options.wal_roll_size);
    store->read_only = store->options.flags & STORE_READ_ONLY;
    create = !(store->options.flags & (STORE_READ_ONLY | STORE_NO_CREATE));
    status = dir_open(vfs, path, create, &store->dir);
    opened = status == VECDB_OK;
    if (status == VECDB_OK && !store->read_only && !create) {
        /* Leave no trace, not even a lock, where there is no database. */
        uint64_t newest, before;
        const char *data_file;
        status = store_list_directory(store, &newest, &before, &data_file);
        if (status == VECDB_OK && !newest && !data_file)
            status = error_set(VECDB_ERR_NO_SUCH, "the directory holds no database");
    }
    if (status == VECDB_OK && !store->read_only)
        status = take_lock(store);
    if (status == VECDB_OK)
        status = store_load_manifest(store);
    if (status == VECDB_OK && !store->read_only)
        store->epoch = store->current.epoch + 1;
    if (status != VECDB_OK) {
        vecdb_error cause = *error_last();
        store_close(store);
        error_adopt(&cause);
        return opened ? error_prefix("%s: ", path) : status; /* dir_open() has named it */
    }
    *out = store;
    return VECDB_OK;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    wal_free(store->wal);
    manifest_deinit(&store->current);
    manifest_deinit(&store->draft);
    mem_free(store->kept.items);
    buf_deinit(&store->listing);
    dir_close(&store->dir);
    file_close(&store->lock_file); /* last: lets go of the lock */
    pthread_mutex_destroy(&store->publishing);
    pthread_mutex_destroy(&store->files_lock);
    mem_free(store);
}

vecdb_status store_refresh(struct store *store, bool *changed)
{
    uint64_t generation = store->current.generation;

    *changed = false;
    if (!store->read_only)
        return error_set(VECDB_ERR_MISUSE, "only a read-only database can be refreshed");
    TRY(store_load_manifest(store));
    *changed = store->current.generation != generation;
    if (*changed)
        store->recovered = false;
    return VECDB_OK;
}
