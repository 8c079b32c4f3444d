#include "storage/store.h"

#include "base/mem.h"
#include "base/plant.h"
#include "storage/file_list.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOCK_NAME "LOCK"
#define REFRESH_TRIES 20 /* readers: how often the writer may overtake one opening */

struct store {
    struct dir dir;
    struct file lock_file;
    struct store_options options;
    bool read_only, recovered;
    uint64_t epoch;              /* that our logs carry, once there is one */
    struct wal *wal;             /* NULL before recovery, and for readers */
    _Atomic uint64_t next_id;    /* of files */
    atomic_uint wal_count;       /* of current.wals; with the next two for store_log_size() */
    _Atomic uint64_t log_first, log_checkpoint;
    _Atomic uint64_t roll_at;    /* size of the log's file that asks for a new one */

    pthread_mutex_t publishing;  /* held from store_begin() to its end, and while the log changes files */
    struct manifest current;     /* publishing */
    struct manifest draft;       /* publishing */
    uint64_t next_generation;    /* publishing */
    uint64_t previous_generation; /* publishing: still on disk; 0: none */
    bool sync_failed;            /* publishing: of the directory */
    bool has_log;                /* publishing: the log has a file, the last of current.wals */

    pthread_mutex_t files_lock;
    unsigned holds;              /* files_lock */
    struct file_list kept;           /* files_lock: to remove when nobody holds */

    struct buf listing;          /* names found by opening, until recovery is done */
    bool copy_missing;           /* of the manifest: publish anew */
    struct store_recovery recovery;
    uint64_t follow_id, follow_offset, follow_lsn; /* readers: where store_follow() goes on */
};

/* -- manifests on disk */

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

/* Publish `draft`, which becomes store->current; on failure it is the caller's still. `publishing` held. */
static vecdb_status publish(struct store *store, struct manifest *draft)
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

/* -- opening */

static vecdb_status busy(struct store *store)
{
    char text[32] = {0};
    size_t got = 0;

    (void)file_read_some(&store->lock_file, 0, text, sizeof text - 1, &got);
    text[strcspn(text, "\n")] = '\0';
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

#define EACH_NAME(listing, name)                                                                                       \
    for (const char *name = (const char *)(listing).data, *end_ = name + (listing).size; name < end_;                  \
         name += strlen(name) + 1)

/* Look through the directory: the newest generation, the one before, and ids that are taken. */
static vecdb_status list_directory(struct store *store, uint64_t *newest, uint64_t *before, const char **data_file)
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
    status = publish(store, &first);
    manifest_deinit(&first);
    return status;
}

/* Readers: the newest manifest, though the writer may be replacing it just now. */
static vecdb_status load_manifest(struct store *store)
{
    uint64_t newest = 0, before = 0, tried = 0;
    const char *data_file;
    struct manifest loaded;
    bool read_only = false;
    vecdb_status status = VECDB_OK;

    for (int i = 0; i < REFRESH_TRIES; i++) {
        TRY(list_directory(store, &newest, &before, &data_file));
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
        status = list_directory(store, &newest, &before, &data_file);
        if (status == VECDB_OK && !newest && !data_file)
            status = error_set(VECDB_ERR_NO_SUCH, "the directory holds no database");
    }
    if (status == VECDB_OK && !store->read_only)
        status = take_lock(store);
    if (status == VECDB_OK)
        status = load_manifest(store);
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

/* -- recovery */

static vecdb_status next_log(struct store *store);

struct replay {
    struct store *store;
    store_apply apply;
    void *context;
    uint64_t after;    /* frames up to here are done */
    uint64_t new_log;  /* id of the log that the frames are carried to; 0: not begun */
    vecdb_status (*carry)(struct replay *replay, const struct wal_frame *frame, bool needed);
};

static vecdb_status replay_frame(void *context, const struct wal_frame *frame)
{
    struct replay *replay = context;
    bool needed = true;

    if (frame->lsn <= replay->after)
        return PLANTED(15) && frame->type ? replay->apply(replay->context, frame, &needed) : VECDB_OK;
    if (frame->type == 0)
        needed = false;
    else
        TRY(replay->apply(replay->context, frame, &needed));
    replay->store->recovery.frames++;
    return replay->carry ? replay->carry(replay, frame, needed) : VECDB_OK;
}

static vecdb_status not_yet_published(void *context, uint64_t id, uint64_t first_lsn)
{
    struct replay *replay = context;

    replay->new_log = id;
    return VECDB_OK;
}

static vecdb_status carry_frame(struct replay *replay, const struct wal_frame *frame, bool needed)
{
    struct store *store = replay->store;
    struct iovec part = {(void *)(uintptr_t)frame->payload, needed ? frame->size : 0};
    uint64_t lsn;

    if (!replay->new_log)
        TRY(wal_roll(store->wal, atomic_fetch_add(&store->next_id, 1), not_yet_published, replay));
    TRY(wal_append(store->wal, needed ? frame->type : 0, &part, needed, &lsn));
    assert(lsn == frame->lsn);
    return VECDB_OK;
}

/* Planted bug 25: replay logs that no manifest names. */
static vecdb_status plant_replay_strays(struct store *store, struct replay *replay)
{
    EACH_NAME(store->listing, name) {
        struct wal_scan scan = {.epoch = UINT64_MAX, .uuid = store->current.uuid, .last = true};
        enum file_kind kind;
        bool named = false;

        if (!format_file_parse(name, &kind, &scan.id) || kind != FILE_WAL)
            continue;
        for (size_t i = 0; i < store->current.wal_count; i++)
            named |= store->current.wals[i].id == scan.id;
        if (!named)
            TRY(wal_read(&store->dir, &scan, replay_frame, replay));
    }
    return VECDB_OK;
}

/* Replay all logs of the manifest in force. *next_lsn is the number after the last frame found. */
static vecdb_status replay_logs(struct store *store, struct replay *replay, uint64_t *next_lsn)
{
    const struct manifest *manifest = &store->current;

    *next_lsn = manifest->checkpoint_lsn + 1;
    store->recovery.frames = store->recovery.dropped_bytes = 0;
    store->follow_id = 0;
    for (size_t i = 0; i < manifest->wal_count; i++) {
        struct wal_scan scan = {
            .id = manifest->wals[i].id,
            .epoch = PLANTED(26) ? UINT64_MAX : manifest->epoch,
            .uuid = manifest->uuid,
            .first_lsn = manifest->wals[i].first_lsn,
            .last = i + 1 == manifest->wal_count || PLANTED(26),
            .end_lsn = i + 1 < manifest->wal_count ? manifest->wals[i + 1].first_lsn - 1 : 0,
            .growing = store->read_only,
        };
        vecdb_status status = wal_read(&store->dir, &scan, replay_frame, replay);
        if (status == VECDB_ERR_NO_SUCH && !store->read_only)
            return error_set(VECDB_ERR_CORRUPT, "log wal-%llu.log is missing", (unsigned long long)scan.id);
        TRY(status);
        if (scan.next_lsn > *next_lsn)
            *next_lsn = scan.next_lsn;
        store->recovery.dropped_bytes += scan.dropped_bytes;
        store->follow_id = scan.id;
        store->follow_offset = scan.end_offset;
        store->follow_lsn = scan.next_lsn;
        if (PLANTED(26) && scan.dropped_bytes)
            break;
    }
    return PLANTED(25) ? plant_replay_strays(store, replay) : VECDB_OK;
}

/* Whether the directory holds files of ours that the manifest does not name. */
static vecdb_status find_orphans(struct store *store, bool remove, size_t *count)
{
    struct file_list live = {0};
    vecdb_status status = file_list_of(&store->current, &live);

    *count = 0;
    if (status == VECDB_OK)
        EACH_NAME(store->listing, name) {
            enum file_kind kind;
            uint64_t id;
            char copy;
            bool temporary, orphan;

            if (manifest_file_parse(name, &id, &copy, &temporary))
                orphan = temporary || (id != store->current.generation && id != store->previous_generation);
            else
                orphan = format_file_parse(name, &kind, &id) && !file_list_has(&live, id);
            if (!orphan)
                continue;
            if (!remove || dir_unlink(&store->dir, name) == VECDB_OK)
                ++*count;
        }
    mem_free(live.items);
    return status;
}

/* Make what recovery found the state of the database: name the new log, then remove what is left over. */
static vecdb_status publish_recovered(struct store *store, const struct replay *replay)
{
    struct manifest draft;
    size_t count;
    vecdb_status status;

    TRY(find_orphans(store, false, &count));
    if (!replay->new_log && !count && !store->copy_missing)
        return VECDB_OK;
    if (replay->new_log)
        TRY(wal_sync(store->wal));
    TRY(manifest_copy(&store->current, &draft));
    draft.wal_count = 0; /* what the old logs hold is carried over, or in the segments */
    if (replay->new_log) {
        struct manifest_wal *grown = mem_realloc(draft.wals, sizeof *draft.wals);
        if (!grown) {
            manifest_deinit(&draft);
            return error_nomem("manifest");
        }
        draft.wals = grown;
        draft.wals[0] = (struct manifest_wal){replay->new_log, draft.checkpoint_lsn + 1};
        draft.wal_count = 1;
        draft.epoch = store->epoch;
    }
    status = publish(store, &draft);
    manifest_deinit(&draft);
    if (status == VECDB_ERR_FULL && !replay->new_log)
        return VECDB_OK; /* only tidying up: the next opening will */
    TRY(status);
    store->has_log = replay->new_log != 0;
    /* publish() has removed what the found manifest named, and the one before it: what is left are true orphans. */
    if (find_orphans(store, true, &count) == VECDB_OK)
        store->recovery.removed_files = count;
    return VECDB_OK;
}

vecdb_status store_recover(struct store *store, store_apply apply, void *context)
{
    struct replay replay = {store, apply, context, store->current.checkpoint_lsn, 0, NULL};
    vecdb_status status;
    uint64_t next_lsn;

    if (store->recovered && !store->read_only)
        return error_set(VECDB_ERR_MISUSE, "the log was replayed already");
    if (store->read_only) {
        status = replay_logs(store, &replay, &next_lsn);
        store->recovered = status == VECDB_OK;
        return status;
    }
    if ((PLANTED(5) || PLANTED(26)) && store->current.wal_count)
        store->epoch = store->current.epoch;
    TRY(wal_create(&store->dir, store->current.uuid, store->epoch, store->current.checkpoint_lsn + 1,
                   &store->options.wal, &store->wal));
    replay.carry = PLANTED(5) || PLANTED(26) ? NULL : carry_frame;
    status = replay_logs(store, &replay, &next_lsn);
#ifdef VECDB_PLANT
    if ((PLANTED(5) || PLANTED(26)) && status == VECDB_OK && store->current.wal_count) {
        status = wal_plant_reopen(store->wal, store->current.wals[store->current.wal_count - 1].id, next_lsn);
        store->has_log = true;
        store->recovered = true;
        return PLANTED(26) && status == VECDB_OK && next_lsn > store->current.wals[store->current.wal_count - 1].first_lsn ? next_log(store) : status;
    }
#endif
    if (status == VECDB_OK)
        assert(PLANTED(25) || next_lsn == wal_next_lsn(store->wal));
    if (status == VECDB_OK)
        status = publish_recovered(store, &replay);
    if (status != VECDB_OK) {
        vecdb_error cause = *error_last();
        wal_free(store->wal);
        store->wal = NULL;
        if (replay.new_log && status != VECDB_ERR_POISONED)
            store_discard_file(store, FILE_WAL, replay.new_log);
        return error_adopt(&cause);
    }
    buf_deinit(&store->listing);
    store->recovered = true;
    return VECDB_OK;
}

vecdb_status store_follow(struct store *store, store_apply apply, void *context)
{
    struct replay replay = {store, apply, context, store->current.checkpoint_lsn, 0, NULL};
    const struct manifest *manifest = &store->current;
    struct wal_scan scan;

    if (!store->read_only || !store->recovered)
        return error_set(VECDB_ERR_MISUSE, "only a reader that has replayed the log can follow it");
    if (!store->follow_id || manifest->wals[manifest->wal_count - 1].id != store->follow_id)
        return VECDB_OK;
    scan = (struct wal_scan){
        .id = store->follow_id,
        .epoch = manifest->epoch,
        .uuid = manifest->uuid,
        .first_lsn = manifest->wals[manifest->wal_count - 1].first_lsn,
        .last = true,
        .growing = true,
        .start_offset = store->follow_offset,
        .start_lsn = store->follow_lsn,
    };
    TRY(wal_read(&store->dir, &scan, replay_frame, &replay));
    store->follow_offset = scan.end_offset;
    store->follow_lsn = scan.next_lsn;
    return VECDB_OK;
}

vecdb_status store_refresh(struct store *store, bool *changed)
{
    uint64_t generation = store->current.generation;

    *changed = false;
    if (!store->read_only)
        return error_set(VECDB_ERR_MISUSE, "only a read-only database can be refreshed");
    TRY(load_manifest(store));
    *changed = store->current.generation != generation;
    if (*changed)
        store->recovered = false;
    return VECDB_OK;
}

const struct manifest *store_manifest(const struct store *store) { return &store->current; }
const struct store_recovery *store_recovery(const struct store *store) { return &store->recovery; }
const struct dir *store_dir(const struct store *store) { return &store->dir; }
bool store_is_read_only(const struct store *store) { return store->read_only; }

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
    status = publish(store, &draft);
    manifest_deinit(&draft);
    return status;
}

/* Start the log, or go on in a new file. `publishing` held. */
static vecdb_status next_log(struct store *store)
{
    TRY(wal_roll(store->wal, atomic_fetch_add(&store->next_id, 1), publish_log, store));
    store->has_log = true;
    atomic_store(&store->roll_at, store->options.wal_roll_size);
    return VECDB_OK;
}

vecdb_status store_append(struct store *store, uint16_t type, const struct iovec *parts, size_t part_count, uint64_t *lsn)
{
    uint64_t size;

    assert(type != 0);
    TRY(store_check(store));
    size = wal_size(store->wal);
    if (size == 0) {
        vecdb_status status = VECDB_OK;
        pthread_mutex_lock(&store->publishing);
        if (wal_size(store->wal) == 0)
            status = next_log(store);
        pthread_mutex_unlock(&store->publishing);
        TRY(status);
    } else if (size >= atomic_load(&store->roll_at) && pthread_mutex_trylock(&store->publishing) == 0) {
        /* The log can go on where it is, so failing to change files is no failure of this write; but the next write need
         * not try again. */
        if (wal_size(store->wal) >= atomic_load(&store->roll_at) && next_log(store) != VECDB_OK)
            atomic_fetch_add(&store->roll_at, store->options.wal_roll_size / 4 + 1);
        pthread_mutex_unlock(&store->publishing);
    }
    return wal_append(store->wal, type, parts, part_count, lsn);
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
        next_log(store) != VECDB_OK)
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
        status = publish(store, &store->draft);
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
