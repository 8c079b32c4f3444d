/* A database's manifests: found, read from whichever copy is good, written so that a crash leaves one. */
#include "storage/store_state.h"

#include "base/mem.h"
#include "base/plant.h"

#include <string.h>

#define REFRESH_TRIES 20 /* readers: how often the writer may overtake one opening */

static vecdb_status read_copy(struct store *store, uint64_t generation, char copy, bool *read_only,
                              struct manifest *out, struct buf *bytes)
{
    char name[FILE_NAME_SIZE];

    manifest_file_name(generation, copy, false, name);
    bytes->size = 0;
    TRY(file_read_all(&store->dir, name, MANIFEST_MAX_SIZE, bytes));
    return manifest_decode(name, bytes->data, bytes->size, generation, NULL, read_only, out);
}

/* Read the manifest of a generation from whichever copy is good. */
static vecdb_status read_manifest(struct store *store, uint64_t generation, struct manifest *out, bool *read_only)
{
    struct buf first = {0}, second = {0};
    vecdb_status status = read_copy(store, generation, 'a', read_only, out, &first), other;
    vecdb_error cause = *error_last();
    char name[FILE_NAME_SIZE];

    if (status == VECDB_OK && !store->read_only) {
        manifest_file_name(generation, 'b', false, name);
        other = file_read_all(&store->dir, name, MANIFEST_MAX_SIZE, &second);
        if (other == VECDB_ERR_NOMEM) {
            cause = *error_last();
            status = other;
            manifest_deinit(out);
        } else if (other != VECDB_OK || second.size != first.size || memcmp(first.data, second.data, first.size) != 0) {
            store->copy_missing = true;
            store->recovery.damaged_copies += other != VECDB_ERR_NO_SUCH;
        }
    } else if (status != VECDB_OK && status != VECDB_ERR_NOMEM && status != VECDB_ERR_VERSION) {
        other = read_copy(store, generation, 'b', read_only, out, &second);
        if (other == VECDB_OK) {
            store->copy_missing = true;
            store->recovery.damaged_copies += status != VECDB_ERR_NO_SUCH;
            status = VECDB_OK;
        } else if (status == VECDB_ERR_NO_SUCH || other == VECDB_ERR_VERSION || other == VECDB_ERR_NOMEM) {
            status = other;
            cause = *error_last();
        }
    }
    buf_deinit(&first);
    buf_deinit(&second);
    return status == VECDB_OK ? VECDB_OK : error_adopt(&cause);
}

/* A failed sync of the directory leaves open what it holds: nothing is written any more. */
static vecdb_status sync_directory(struct store *store)
{
    vecdb_status status = dir_sync(&store->dir);

    if (status != VECDB_OK && store->wal)
        wal_poison(store->wal);
    store->sync_failed |= status != VECDB_OK;
    return status;
}

/* Write one copy. *renamed says whether it was renamed into place, or may have been. */
static vecdb_status write_copy(struct store *store, uint64_t generation, char copy, const struct buf *bytes, bool *renamed)
{
    char name[FILE_NAME_SIZE], temporary[FILE_NAME_SIZE];
    struct file file;
    vecdb_error cause;
    vecdb_status status;

    *renamed = false;
    manifest_file_name(generation, copy, false, name);
    manifest_file_name(generation, copy, true, temporary);
    TRY(file_open(&store->dir, temporary, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &file));
    status = file_write(&file, 0, bytes->data, bytes->size);
    if (status == VECDB_OK)
        status = file_sync(&file);
    file_close(&file);
    if (status == VECDB_OK) {
        status = dir_rename(&store->dir, temporary, name);
        *renamed = status == VECDB_OK || status == VECDB_ERR_IO; /* an I/O error leaves open what the disk has */
    }
    if (status == VECDB_OK && !PLANTED(1))
        status = sync_directory(store);
    if (status != VECDB_OK && !*renamed) {
        cause = *error_last();
        (void)dir_unlink(&store->dir, temporary);
        return error_adopt(&cause);
    }
    return status;
}

vecdb_status store_put_manifest(struct store *store, struct manifest *draft)
{
    struct buf bytes = {0};
    struct file_list dropped = {0};
    char name[FILE_NAME_SIZE];
    vecdb_status status;
    uint64_t old = store->current.generation;
    bool renamed;

    while (draft->wal_count >= 2 && draft->wals[1].first_lsn <= draft->checkpoint_lsn + 1 && !PLANTED(26))
        memmove(draft->wals, draft->wals + 1, --draft->wal_count * sizeof *draft->wals);
    draft->generation = store->next_generation++;
    draft->next_file_id = atomic_load(&store->next_id);
    manifest_file_name(draft->generation, 'a', false, name);
    status = manifest_check(name, draft); /* what could not be read back must not be written */
    if (status == VECDB_ERR_CORRUPT) {
        vecdb_error cause = *error_last();
        status = error_set(VECDB_ERR_LIMIT, "%s", cause.message);
    }
    if (status == VECDB_OK)
        status = manifest_encode(draft, &bytes);
    if (status == VECDB_OK)
        status = file_list_dropped(&store->current, draft, &dropped);
    pthread_mutex_lock(&store->files_lock);
    if (status == VECDB_OK)
        status = file_list_reserve(&store->kept, dropped.count); /* so that nothing can fail once it is published */
    pthread_mutex_unlock(&store->files_lock);
    if (status == VECDB_OK && (PLANTED(3) || PLANTED(4)))
        file_list_remove(&store->dir, &dropped);
    if (status == VECDB_OK && !PLANTED(2))
        status = sync_directory(store);
    if (status == VECDB_OK)
        status = write_copy(store, draft->generation, 'a', &bytes, &renamed);
    else
        renamed = false;
    if (status != VECDB_OK && renamed) {
        vecdb_error cause = *error_last();
        if (store->wal)
            wal_poison(store->wal);
        status = error_set_system(VECDB_ERR_POISONED, cause.system,
                                  "durability unknown: %s; reopen the database to write again", cause.message);
    }
    if (status != VECDB_OK)
        goto out;

    store->copy_missing = write_copy(store, draft->generation, 'b', &bytes, &renamed) != VECDB_OK;
    if (store->sync_failed && !store->wal)
        status = error_last()->status; /* still opening, so there is nothing to poison: fail that */
    if (store->previous_generation)
        for (char copy = 'a'; copy <= 'b'; copy++) {
            manifest_file_name(store->previous_generation, copy, false, name);
            (void)dir_unlink(&store->dir, name);
        }
    store->previous_generation = old;
    manifest_deinit(&store->current);
    store->current = *draft;
    *draft = (struct manifest){0};
    atomic_store(&store->wal_count, (unsigned)store->current.wal_count);
    atomic_store(&store->log_first, store->current.wal_count ? store->current.wals[0].first_lsn : 0);
    atomic_store(&store->log_checkpoint, store->current.checkpoint_lsn);
    pthread_mutex_lock(&store->files_lock);
    if (store->holds) {
        memcpy(store->kept.items + store->kept.count, dropped.items, dropped.count * sizeof *dropped.items);
        store->kept.count += dropped.count;
    } else {
        file_list_remove(&store->dir, &dropped);
    }
    pthread_mutex_unlock(&store->files_lock);
out:
    mem_free(dropped.items);
    buf_deinit(&bytes);
    return status;
}

vecdb_status store_list_directory(struct store *store, uint64_t *newest, uint64_t *before, const char **data_file)
{
    uint64_t highest_id = 0, highest_generation = 0;

    *newest = *before = 0;
    *data_file = NULL;
    store->listing.size = 0;
    TRY(dir_list(&store->dir, &store->listing));
    EACH_NAME(store->listing, name) {
        enum file_kind kind;
        uint64_t id;
        char copy;
        bool temporary;

        if (manifest_file_parse(name, &id, &copy, &temporary)) {
            if (id > highest_generation)
                highest_generation = id;
            if (temporary)
                continue;
            if (id > *newest) {
                *before = *newest;
                *newest = id;
            } else if (id < *newest && id > *before) {
                *before = id;
            }
        } else if (format_file_parse(name, &kind, &id)) {
            *data_file = name;
            if (id > highest_id)
                highest_id = id;
        }
    }
    store->next_generation = highest_generation + 1;
    if (!PLANTED(11))
        atomic_store(&store->next_id, highest_id + 1);
    return VECDB_OK;
}

/* The directory holds no manifest: make the first one. */
static vecdb_status create_database(struct store *store)
{
    struct manifest first = {.next_collection_id = 1, .next_file_id = 1};
    vecdb_status status;

    TRY(file_random(store->dir.vfs, first.uuid, sizeof first.uuid));
    status = store_put_manifest(store, &first);
    manifest_deinit(&first);
    return status;
}

/* Readers: the newest manifest, though the writer may be replacing it just now. */
vecdb_status store_load_manifest(struct store *store)
{
    uint64_t newest = 0, before = 0, tried = 0;
    const char *data_file;
    struct manifest loaded;
    bool read_only = false;
    vecdb_status status = VECDB_OK;

    for (int i = 0; i < REFRESH_TRIES; i++) {
        TRY(store_list_directory(store, &newest, &before, &data_file));
        if (!newest && data_file)
            return error_set(VECDB_ERR_CORRUPT, "the directory holds %s but no manifest", data_file);
        if (!newest && (store->read_only || store->options.flags & STORE_NO_CREATE))
            return error_set(VECDB_ERR_NO_SUCH, "the directory holds no database");
        if (!newest)
            return create_database(store);
        if (newest == store->current.generation)
            return VECDB_OK;
        if (newest == tried)
            break; /* it is not that a newer one came */
        tried = newest;
        status = read_manifest(store, newest, &loaded, &read_only);
        if (status == VECDB_OK || !store->read_only || status == VECDB_ERR_NOMEM)
            break;
    }
    TRY(status);
    if (read_only && !store->read_only) {
        manifest_deinit(&loaded);
        return error_set(VECDB_ERR_READONLY, "written by a newer version: this library (%d.%d) may only read it",
                         FORMAT_MAJOR, FORMAT_MINOR);
    }
    manifest_deinit(&store->current);
    store->current = loaded;
    store->previous_generation = before;
    if (store->current.next_file_id > atomic_load(&store->next_id))
        atomic_store(&store->next_id, store->current.next_file_id);
    return VECDB_OK;
}
