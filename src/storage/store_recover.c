/* Replaying the logs of a database: into a new log for who writes, as far as they go for who reads. */
#include "storage/store_state.h"

#include "base/mem.h"
#include "base/plant.h"

#include <assert.h>
#include <string.h>

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
    if (replay->new_log) {
        assert(draft.wals); /* what was carried over came from one of them */
        draft.wals[0] = (struct manifest_wal){replay->new_log, draft.checkpoint_lsn + 1};
        draft.epoch = store->epoch;
    }
    draft.wal_count = replay->new_log != 0; /* what the old logs hold is carried over, or in the segments */
    status = store_put_manifest(store, &draft);
    manifest_deinit(&draft);
    if (status == VECDB_ERR_FULL && !replay->new_log)
        return VECDB_OK; /* only tidying up: the next opening will */
    TRY(status);
    store->has_log = replay->new_log != 0;
    /* store_put_manifest() has removed what the found manifest named, and the one before it: what is left are true orphans. */
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
        bool rolls = PLANTED(26) && status == VECDB_OK && next_lsn > store->current.wals[store->current.wal_count - 1].first_lsn;
        return rolls ? store_next_log(store) : status;
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
        if (status == VECDB_ERR_FULL) {
            int system = cause.system;
            (void)error_set(status, "the log is written anew when a database is opened for writing: %s; make space, or open it "
                            "read-only", cause.message);
            cause = *error_last();
            cause.system = system;
        }
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
