/* An open database: writes, files, changes of what there is. */
#include "storage/store_state.h"

#include "base/mem.h"
#include "base/plant.h"

#include <assert.h>
#include <string.h>

const struct manifest *store_manifest(const struct store *store) { return &store->current; }
const struct store_recovery *store_recovery(const struct store *store) { return &store->recovery; }
const struct dir *store_dir(const struct store *store) { return &store->dir; }

/* -- writes */

vecdb_status store_check(struct store *store)
{
    if (store->read_only)
        return error_set(VECDB_ERR_READONLY, "the database is open read-only");
    if (!store->wal)
        return error_set(VECDB_ERR_MISUSE, "the database is not recovered yet");
    return wal_check(store->wal);
}

/* The manifest names the new log before it gets its first frame. */
static vecdb_status publish_log(void *context, uint64_t id, uint64_t first_lsn)
{
    struct store *store = context;
    struct manifest draft;
    struct manifest_wal *grown;
    vecdb_status status;

    TRY(manifest_copy(&store->current, &draft));
    if (!store->has_log && !PLANTED(26))
        draft.wal_count = 0; /* logs of an earlier opening: recovery found nothing to keep in them */
    grown = mem_realloc(draft.wals, (draft.wal_count + 1) * sizeof *grown);
    if (!grown) {
        manifest_deinit(&draft);
        return error_nomem("manifest");
    }
    draft.wals = grown;
    draft.wals[draft.wal_count++] = (struct manifest_wal){id, first_lsn};
    draft.epoch = store->epoch;
    status = store_put_manifest(store, &draft);
    manifest_deinit(&draft);
    return status;
}

vecdb_status store_next_log(struct store *store)
{
    TRY(wal_roll(store->wal, atomic_fetch_add(&store->next_id, 1), publish_log, store));
    store->has_log = true;
    atomic_store(&store->roll_at, store->options.wal_roll_size);
    return VECDB_OK;
}

/* Have a log to append to, and go on in a new file when this one is long. */
static vecdb_status ready_log(struct store *store)
{
    vecdb_status status = VECDB_OK;
    uint64_t size;

    TRY(store_check(store));
    size = wal_size(store->wal);
    if (size == 0) {
        pthread_mutex_lock(&store->publishing);
        if (wal_size(store->wal) == 0)
            status = store_next_log(store);
        pthread_mutex_unlock(&store->publishing);
    } else if (size >= atomic_load(&store->roll_at) && pthread_mutex_trylock(&store->publishing) == 0) {
        /* The log can go on where it is, so failing to change files is no failure of this write; but the next write need
         * not try again. */
        if (wal_size(store->wal) >= atomic_load(&store->roll_at) && store_next_log(store) != VECDB_OK)
            atomic_fetch_add(&store->roll_at, store->options.wal_roll_size / 4 + 1);
        pthread_mutex_unlock(&store->publishing);
    }
    return status;
}

vecdb_status store_append(struct store *store, uint16_t type, const struct iovec *parts, size_t part_count, uint64_t *lsn)
{
    assert(type != 0);
    TRY(ready_log(store));
    return wal_append(store->wal, type, parts, part_count, lsn);
}

vecdb_status store_append_frames(struct store *store, uint16_t type, const struct iovec *frames, size_t frame_count,
                                 uint64_t *lsn)
{
    assert(type != 0);
    TRY(ready_log(store));
    return wal_append_frames(store->wal, type, frames, frame_count, lsn);
}

vecdb_status store_commit(struct store *store, uint64_t lsn, vecdb_durability mode)
{
    return wal_commit(store->wal, lsn, mode);
}

vecdb_status store_sync(struct store *store) { return store->wal ? wal_sync(store->wal) : VECDB_OK; }
vecdb_status store_tick(struct store *store) { return store->wal ? wal_tick(store->wal) : VECDB_OK; }
uint64_t store_last_lsn(struct store *store) { return store->wal ? wal_next_lsn(store->wal) - 1 : 0; }

uint64_t store_log_size(struct store *store)
{
    unsigned count = atomic_load(&store->wal_count);
    uint64_t first = atomic_load(&store->log_first), checkpoint = atomic_load(&store->log_checkpoint), next, size;

    if (!store->wal || count == 0 || first == 0)
        return 0;
    size = wal_size(store->wal) + (count - 1) * store->options.wal_roll_size;
    next = wal_next_lsn(store->wal);
    if (next <= checkpoint + 1)
        return 0;
    if (checkpoint + 1 <= first || next <= first)
        return size;
    return (uint64_t)((double)size * (double)(next - 1 - checkpoint) / (double)(next - first));
}

/* -- files */

uint64_t store_new_id(struct store *store) { return atomic_fetch_add(&store->next_id, 1); }

vecdb_status store_create_file(struct store *store, enum file_kind kind, uint64_t *id, struct file *out)
{
    char name[FILE_NAME_SIZE];

    TRY(store_check(store));
    *id = atomic_fetch_add(&store->next_id, 1);
    format_file_name(kind, *id, name);
    return file_open(&store->dir, name, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, out);
}

void store_discard_file(struct store *store, enum file_kind kind, uint64_t id)
{
    char name[FILE_NAME_SIZE];

    format_file_name(kind, id, name);
    (void)dir_unlink(&store->dir, name);
}

vecdb_status store_open_file(const struct store *store, enum file_kind kind, uint64_t id, struct file *out)
{
    char name[FILE_NAME_SIZE];

    format_file_name(kind, id, name);
    return file_open(&store->dir, name, VFS_READ, out);
}

void store_hold_files(struct store *store)
{
    pthread_mutex_lock(&store->files_lock);
    store->holds++;
    pthread_mutex_unlock(&store->files_lock);
}

void store_let_files_go(struct store *store)
{
    pthread_mutex_lock(&store->files_lock);
    if (--store->holds == 0)
        file_list_remove(&store->dir, &store->kept);
    pthread_mutex_unlock(&store->files_lock);
}

/* -- change */

vecdb_status store_begin(struct store *store, struct manifest **draft)
{
    vecdb_status status;

    *draft = NULL;
    TRY(store_check(store));
    pthread_mutex_lock(&store->publishing);
    status = manifest_copy(&store->current, &store->draft);
    if (status != VECDB_OK) {
        pthread_mutex_unlock(&store->publishing);
        return status;
    }
    *draft = &store->draft;
    return VECDB_OK;
}

/* Go on in a new log when the checkpoint covers all of this one, which the manifest then no longer names: its bytes come back.
 * Nothing depends on it, so a failure is not the caller's; one that leaves the disk in doubt has poisoned the log. */
static void trim_log(struct store *store)
{
    const struct manifest *current = &store->current;
    uint64_t next = wal_next_lsn(store->wal);
    bool holds_frames = current->wal_count && current->wals[current->wal_count - 1].first_lsn < next;

    if (holds_frames && current->checkpoint_lsn + 1 == next && wal_size(store->wal) >= store->options.wal_roll_size / 64 &&
        store_next_log(store) != VECDB_OK)
        error_clear();
}

vecdb_status store_publish(struct store *store)
{
    /* The log first: a segment must not make a later write durable than the log has of another collection. */
    uint64_t last = wal_next_lsn(store->wal) - 1;
    vecdb_status status = wal_sync(store->wal);

    if (status == VECDB_OK &&
        (store->draft.checkpoint_lsn > last || store->draft.checkpoint_lsn < store->current.checkpoint_lsn))
        status = error_set(VECDB_ERR_INVALID, "checkpoint %llu: expected %llu .. %llu",
                           (unsigned long long)store->draft.checkpoint_lsn,
                           (unsigned long long)store->current.checkpoint_lsn, (unsigned long long)last);
    if (status == VECDB_OK)
        status = store_put_manifest(store, &store->draft);
    if (status == VECDB_OK)
        trim_log(store);
    if (PLANTED(11) && status != VECDB_OK)
        atomic_store(&store->next_id, store->current.next_file_id);
    store_abandon(store);
    return status;
}

void store_abandon(struct store *store)
{
    manifest_deinit(&store->draft);
    pthread_mutex_unlock(&store->publishing);
}
