/* Writing the log. */
#include "storage/wal_frame.h"

#include "base/mem.h"
#include "base/park.h"
#include "base/plant.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define MIB ((uint64_t)1 << 20)
#define GATHER_NS_MIN 50000   /* what is known before the first sync has ended */
#define GATHER_NS_MAX 1000000 /* a slow disk must not make waiting long */

/* Those who wait for the same sync. */
struct group {
    _Atomic uint32_t ended; /* counts up when all of it are to look again; they sleep on it */
    size_t size;            /* lock */
    bool watched;           /* lock: one of them sees to it that the sync begins though not all have come */
};

struct wal {
    const struct dir *dir;
    uint8_t uuid[FORMAT_UUID_SIZE];
    uint64_t epoch;
    struct wal_options options;

    pthread_mutex_t lock;
    pthread_cond_t changed; /* syncing or cutting ended, or poison moved: for those who change the file */
    struct file file;       /* lock; a leader syncs it without, and wal_roll waits for the leader */
    uint64_t salt;          /* lock */
    uint64_t end;           /* lock: where the next frame goes */
    uint64_t reserved;      /* lock: the file has its space up to here; 0: not known */
    uint64_t filled;        /* lock: and zeros from its end to here, when that is further: see fill_ahead() */
    bool awaited;           /* lock: somebody waited for a sync since that was done */
    uint64_t next_lsn;      /* lock */
    _Atomic uint64_t durable_lsn; /* set with the lock */
    struct group groups[2]; /* lock: groups[round % 2] waits for the sync that runs or comes next, the other for the one after */
    uint64_t round;         /* lock: number of that sync */
    uint64_t target;        /* lock: the last frame that the sync which runs makes durable */
    size_t company;         /* lock: how many waited at the end of the last sync, those it served and those it did not */
    uint64_t sync_ns;       /* lock: how long that sync took */
    uint64_t unsynced;      /* lock: bytes of NORMAL frames since the last sync began */
    uint64_t normal_since;  /* lock: when the oldest of them came; 0: none */
    bool syncing;           /* lock: a leader is in fdatasync, or a failed append is being undone; one sync at a time,
                             * because the system reports a failed write-back only once per open file */
    bool cutting;           /* lock: a failed append is being undone; appending waits */
    bool poisoned;          /* lock */
    vecdb_error reason;     /* lock */
};

static const uint8_t zeros[16384];

static vecdb_status poisoned(const struct wal *wal)
{
    return error_set_system(VECDB_ERR_POISONED, wal->reason.system,
                            "durability unknown: %s; reopen the database to write again", wal->reason.message);
}

static uint64_t durable(struct wal *wal) { return atomic_load_explicit(&wal->durable_lsn, memory_order_acquire); }

/* Tell all of a group to look again: they are of it no longer. Lock held; they sleep on until unpark_all(). */
static void dismiss(struct group *group)
{
    group->size = 0;
    group->watched = false;
    atomic_fetch_add_explicit(&group->ended, 1, memory_order_release);
}

/* Tell everybody that waits to look again. Lock held. */
static void wake_all(struct wal *wal)
{
    for (size_t i = 0; i < 2; i++) {
        dismiss(&wal->groups[i]);
        unpark_all(&wal->groups[i].ended);
    }
    pthread_cond_broadcast(&wal->changed);
}

/* The failure on record becomes the reason why nothing is written any more. Lock held. */
static vecdb_status poison(struct wal *wal)
{
    if (!wal->poisoned) {
        wal->poisoned = true;
        wal->reason = *error_last();
    }
    wake_all(wal);
    return poisoned(wal);
}

vecdb_status wal_create(const struct dir *dir, const uint8_t *uuid, uint64_t epoch, uint64_t next_lsn,
                        const struct wal_options *options, struct wal **out)
{
    struct wal *wal = mem_zalloc(sizeof *wal);

    *out = NULL;
    if (!wal)
        return error_nomem("log");
    wal->dir = dir;
    memcpy(wal->uuid, uuid, FORMAT_UUID_SIZE);
    wal->epoch = epoch;
    if (options)
        wal->options = *options;
    if (!wal->options.align)
        wal->options.align = 8;
    if (!wal->options.sync_after_bytes)
        wal->options.sync_after_bytes = 4 * MIB;
    if (!wal->options.sync_after_ns)
        wal->options.sync_after_ns = 200000000u;
    assert(wal->options.align >= 8 && wal->options.align <= 4096);
    wal->next_lsn = next_lsn;
    atomic_init(&wal->durable_lsn, next_lsn - 1);
    pthread_mutex_init(&wal->lock, NULL);
    pthread_cond_init(&wal->changed, NULL);
    *out = wal;
    return VECDB_OK;
}

/* Give back what is kept behind the end; if that fails it is given back with the file. */
static void drop_reserve(struct wal *wal)
{
    if (wal->file.fd > 0 && (wal->reserved > wal->end || wal->filled > wal->end) && !wal->poisoned)
        (void)file_truncate(&wal->file, wal->end);
    wal->reserved = wal->filled = 0;
}

void wal_free(struct wal *wal)
{
    if (!wal)
        return;
    drop_reserve(wal);
    file_close(&wal->file);
    pthread_cond_destroy(&wal->changed);
    pthread_mutex_destroy(&wal->lock);
    mem_free(wal);
}

/* -- syncing */

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Sync everything appended so far and wake those who wait for it; `writers` of them, 0 or 1, is the caller. Lock held, nobody
 * syncing; released at the end. */
static vecdb_status sync_and_unlock(struct wal *wal, size_t writers)
{
    struct group *group;
    uint64_t start;
    size_t size;
    vecdb_status status;

    if (!wal->file.fd || wal->next_lsn - 1 <= durable(wal)) {
        pthread_mutex_unlock(&wal->lock);
        return VECDB_OK;
    }
    wal->syncing = true;
    wal->target = wal->next_lsn - 1;
    wal->unsynced = 0;
    wal->normal_since = 0;
    pthread_mutex_unlock(&wal->lock);
    start = now_ns();
    status = file_sync(&wal->file);
    pthread_mutex_lock(&wal->lock);
    wal->syncing = false;
    wal->sync_ns = now_ns() - start;
    wal->company = wal->groups[0].size + wal->groups[1].size + writers;
    group = &wal->groups[wal->round++ % 2];
    size = group->size;
    if (status == VECDB_OK) {
        atomic_store_explicit(&wal->durable_lsn, wal->target, memory_order_release);
        dismiss(group);
        pthread_cond_broadcast(&wal->changed);
    } else {
        status = poison(wal);
    }
    pthread_mutex_unlock(&wal->lock); /* those who are woken will want it */
    if (size)
        unpark_all(&group->ended);
    return status;
}

/* Wait with a group for its sync, or for `patience`: who watches is to see then whether somebody leads. Lock held, and released
 * meanwhile; not taken again, and true returned, when that sync served this one. */
static bool wait_for_sync(struct wal *wal, struct group *group, uint64_t lsn, uint64_t patience)
{
    bool watches = !group->watched;
    uint32_t seen = atomic_load_explicit(&group->ended, memory_order_relaxed);

    group->watched = true;
    group->size++;
    pthread_mutex_unlock(&wal->lock);
    for (uint64_t until = now_ns() + patience, now; atomic_load_explicit(&group->ended, memory_order_acquire) == seen;) {
        if (watches && (now = now_ns()) >= until)
            break;
        park(&group->ended, seen, watches ? until - now : PARK_FOR_EVER);
    }
    if (durable(wal) >= lsn)
        return true;
    pthread_mutex_lock(&wal->lock);
    if (atomic_load_explicit(&group->ended, memory_order_relaxed) == seen) { /* still of it */
        group->size--;
        group->watched = false;
    }
    return false;
}

/* Wait until a frame is durable, or see to it. Those whom the last sync served are about to write again: to wait for them, for no
 * longer than two syncs take, is worth it, for otherwise they would take turns with those who are here, half of them in each sync.
 * Whoever comes last leads. Lock held; released at the end. */
static vecdb_status commit_and_unlock(struct wal *wal, uint64_t lsn)
{
    vecdb_status status = VECDB_OK;
    bool waited = false;

    wal->awaited = true;
    while (durable(wal) < lsn && status == VECDB_OK) {
        struct group *group = &wal->groups[wal->round % 2];
        uint64_t patience = 2 * wal->sync_ns;
        patience = patience < GATHER_NS_MIN ? GATHER_NS_MIN : patience < GATHER_NS_MAX ? patience : GATHER_NS_MAX;

        if (wal->poisoned) {
            status = poisoned(wal);
        } else if (wal->syncing) {
            if (wait_for_sync(wal, lsn <= wal->target ? group : &wal->groups[(wal->round + 1) % 2], lsn, patience))
                return VECDB_OK;
            waited = false;
        } else if (group->size + 1 >= wal->company || waited || wal->cutting) {
            return sync_and_unlock(wal, 1);
        } else {
            if (wait_for_sync(wal, group, lsn, patience))
                return VECDB_OK;
            waited = true;
        }
    }
    pthread_mutex_unlock(&wal->lock);
    return status;
}

/* NORMAL: whether what waits is old or large enough. Lock held. */
static bool sync_due(const struct wal *wal)
{
    const struct vfs *vfs = wal->dir->vfs;

    return wal->normal_since && (wal->unsynced >= wal->options.sync_after_bytes ||
                                 vfs->now(vfs) - wal->normal_since >= wal->options.sync_after_ns);
}

static vecdb_status sync_when_due_and_unlock(struct wal *wal)
{
    vecdb_status status = wal->poisoned ? poisoned(wal) : VECDB_OK;

    if (status == VECDB_OK && sync_due(wal) && !wal->syncing)
        return sync_and_unlock(wal, 0);
    pthread_mutex_unlock(&wal->lock);
    return status;
}

vecdb_status wal_commit(struct wal *wal, uint64_t lsn, vecdb_durability mode)
{
    vecdb_status status = VECDB_OK;

    if (mode == VECDB_DURABILITY_NONE)
        return VECDB_OK;
    pthread_mutex_lock(&wal->lock);
    if (mode == VECDB_DURABILITY_NORMAL) {
        if (!wal->normal_since && durable(wal) < lsn) {
            wal->normal_since = wal->dir->vfs->now(wal->dir->vfs);
            wal->normal_since += wal->normal_since == 0;
        }
        return sync_when_due_and_unlock(wal);
    } else if (!PLANTED(10)) {
        return commit_and_unlock(wal, lsn);
    }
    pthread_mutex_unlock(&wal->lock);
    return status;
}

vecdb_status wal_sync(struct wal *wal)
{
    vecdb_status status;

    pthread_mutex_lock(&wal->lock);
    if (!wal->poisoned)
        return commit_and_unlock(wal, wal->next_lsn - 1);
    status = poisoned(wal);
    pthread_mutex_unlock(&wal->lock);
    return status;
}

vecdb_status wal_tick(struct wal *wal)
{
    pthread_mutex_lock(&wal->lock);
    return sync_when_due_and_unlock(wal);
}

/* -- appending */

static uint64_t frame_span(const struct wal_options *options, uint64_t payload)
{
    return align_up(WAL_FRAME_HEADER_SIZE + payload, options->align);
}

#define RESERVE_STEP_MAX (16 * MIB)

/* How much more than is needed to ask for at once: the next sync after asking takes some milliseconds longer. */
static uint64_t reserve_step(const struct wal *wal)
{
    return wal->end < MIB ? MIB : wal->end < RESERVE_STEP_MAX ? wal->end : RESERVE_STEP_MAX;
}

/* Have space for a frame and, behind it, for those that may use the reserve. Where the file system cannot do that, nothing is
 * kept. Lock held. */
static vecdb_status keep_reserve(struct wal *wal, uint64_t span)
{
    uint64_t wanted = wal->end + span + wal->options.reserve, step = reserve_step(wal);
    vecdb_status status;

    if (!wal->options.reserve || wanted <= wal->reserved)
        return VECDB_OK;
    status = file_allocate(&wal->file, wal->end, wanted + step - wal->end);
    if (status == VECDB_OK)
        wanted += step;
    else if (status == VECDB_ERR_FULL)
        status = file_allocate(&wal->file, wal->end, wanted - wal->end);
    if (status == VECDB_NOT_FOUND)
        wal->options.reserve = 0;
    else if (status != VECDB_OK)
        return status;
    wal->reserved = wanted;
    error_clear();
    return VECDB_OK;
}

#define FILL_MIN ((uint64_t)4096)
#define FILL_MAX ((uint64_t)256 << 10)
#define FILL_FRAME_MAX (FILL_MAX / 8) /* larger ones are not what waits for syncs is made of */

/* Write zeros behind the end, as many as the log is long: the next syncs find the file's size and its blocks as they are to be,
 * and have only the bytes to write. Whatever of it fails, or is lost, is as good. Lock held. */
static void fill_ahead(struct wal *wal)
{
    uint64_t size = wal->end < FILL_MIN ? FILL_MIN : wal->end < FILL_MAX ? wal->end : FILL_MAX;
    uint64_t at = wal->end, to = align_up(at + size, FILL_MIN);

    if (wal->options.reserve && to > wal->reserved) /* only space that is ours already */
        to = wal->reserved;
    while (at < to) {
        struct iovec parts[FILE_MAX_PARTS];
        uint64_t next = at;
        size_t count = 0;

        for (; count < FILE_MAX_PARTS && next < to; count++, next += parts[count - 1].iov_len)
            parts[count] = (struct iovec){(void *)(uintptr_t)zeros, to - next < sizeof zeros ? to - next : sizeof zeros};
        if (file_write_parts(&wal->file, at, parts, count) != VECDB_OK)
            break;
        at = next;
    }
    wal->filled = at;
    wal->awaited = false;
    error_clear();
}

/* Cut a failed frame off and make the cut durable; otherwise a crash could keep the frame and lose the cut. Lock held. */
static vecdb_status undo_append(struct wal *wal)
{
    vecdb_error cause = *error_last();
    uint64_t last = wal->next_lsn - 1;
    vecdb_status status;

    wal->cutting = true;
    while (wal->syncing)
        pthread_cond_wait(&wal->changed, &wal->lock);
    status = wal->poisoned ? poisoned(wal) : VECDB_OK;
    if (status == VECDB_OK) {
        wal->syncing = true;
        wal->target = last;
        pthread_mutex_unlock(&wal->lock);
        status = file_truncate(&wal->file, wal->end);
        wal->reserved = wal->filled = 0;
        if (status == VECDB_OK && !PLANTED(27))
            status = file_sync(&wal->file);
        pthread_mutex_lock(&wal->lock);
        wal->syncing = false;
        if (status == VECDB_OK && !PLANTED(27))
            atomic_store_explicit(&wal->durable_lsn, last, memory_order_release);
    }
    wal->cutting = false;
    wake_all(wal);
    if (status != VECDB_OK)
        return poison(wal);
    return error_adopt(&cause);
}

/* Frames that are written in one go: each has its header, `parts_each` parts and padding. */
struct run {
    struct iovec parts[FILE_MAX_PARTS];
    uint8_t headers[FILE_MAX_PARTS / 3][WAL_FRAME_HEADER_SIZE];
    size_t part_count, frame_count;
    uint64_t size;
};

static bool run_has_room(const struct run *run, size_t parts_each)
{
    return run->part_count + parts_each + 2 <= FILE_MAX_PARTS && run->frame_count < FILE_MAX_PARTS / 3;
}

/* Lock held. */
static void run_add(struct run *run, struct wal *wal, uint16_t type, uint64_t lsn, const struct iovec *parts, size_t part_count)
{
    uint8_t *header = run->headers[run->frame_count++];
    struct iovec *all = run->parts + run->part_count;
    uint64_t size = 0, span;

    for (size_t i = 0; i < part_count; i++)
        size += parts[i].iov_len;
    span = frame_span(&wal->options, size);
    memset(header, 0, WAL_FRAME_HEADER_SIZE);
    store_u32(header, (uint32_t)size);
    store_u16(header + 4, type);
    store_u64(header + 8, lsn);
    store_u64(header + 16, durable(wal));
    store_u64(header + 24, checksum_parts(parts, part_count, wal->salt));
    all[0] = (struct iovec){header, WAL_FRAME_HEADER_SIZE};
    for (size_t i = 0; i < part_count; i++)
        all[i + 1] = parts[i];
    all[part_count + 1] = (struct iovec){(void *)(uintptr_t)zeros, span - WAL_FRAME_HEADER_SIZE - size};
    if (PLANTED(6))
        store_u64(header + 24, checksum_parts(all + 1, part_count + 1, wal->salt));
    store_u64(header + 32, wal_header_checksum(header, wal->salt));
    run->part_count += part_count + 2;
    run->size += span;
}

/* Write frames behind the end, which stays where it is. Lock held. */
static vecdb_status write_frames(struct wal *wal, uint16_t type, const struct iovec *parts, size_t frame_count, size_t parts_each)
{
    struct run run = {.part_count = 0};
    uint64_t at = wal->end;

    for (size_t i = 0; i < frame_count; i++) {
        run_add(&run, wal, type, wal->next_lsn + i, parts + i * parts_each, parts_each);
        if (i + 1 < frame_count && run_has_room(&run, parts_each))
            continue;
        TRY(file_write_parts(&wal->file, at, run.parts, run.part_count));
        at += run.size;
        run.part_count = run.frame_count = 0;
        run.size = 0;
    }
    return VECDB_OK;
}

static vecdb_status append(struct wal *wal, uint16_t type, const struct iovec *parts, size_t frame_count, size_t parts_each,
                           uint64_t *lsn)
{
    uint64_t span = 0;
    vecdb_status status;

    for (size_t i = 0; i < frame_count; i++) {
        uint64_t size = 0;
        for (size_t j = 0; j < parts_each; j++) {
            size_t part = parts[i * parts_each + j].iov_len;
            if (part > WAL_MAX_PAYLOAD || (size += part) > WAL_MAX_PAYLOAD)
                return error_set(VECDB_ERR_LIMIT, "batch is larger than %zu bytes in the log", WAL_MAX_PAYLOAD);
        }
        span += frame_span(&wal->options, size);
    }
    pthread_mutex_lock(&wal->lock);
    while (wal->cutting)
        pthread_cond_wait(&wal->changed, &wal->lock);
    status = wal->poisoned ? poisoned(wal) : VECDB_OK;
    assert(status != VECDB_OK || wal->file.fd > 0);
    if (status == VECDB_OK && !(type < 64 && wal->options.reserve_types >> type & 1))
        status = keep_reserve(wal, span);
    if (status == VECDB_OK && write_frames(wal, type, parts, frame_count, parts_each) != VECDB_OK)
        status = undo_append(wal);
    if (status == VECDB_OK) {
        *lsn = wal->next_lsn;
        wal->next_lsn += frame_count;
        wal->end += span;
        wal->unsynced += span;
        if (wal->awaited && wal->end > wal->filled && span <= FILL_FRAME_MAX)
            fill_ahead(wal);
    }
    pthread_mutex_unlock(&wal->lock);
    return status;
}

vecdb_status wal_append(struct wal *wal, uint16_t type, const struct iovec *parts, size_t part_count, uint64_t *lsn)
{
    if (part_count > WAL_MAX_PARTS)
        return error_set(VECDB_ERR_INVALID, "log frame of %zu parts: at most %d", part_count, WAL_MAX_PARTS);
    return append(wal, type, parts, 1, part_count, lsn);
}

vecdb_status wal_append_frames(struct wal *wal, uint16_t type, const struct iovec *frames, size_t frame_count, uint64_t *lsn)
{
    return append(wal, type, frames, frame_count, 1, lsn);
}

/* -- files */

static vecdb_status create_file(struct wal *wal, uint64_t id, struct file *file, uint64_t *salt, uint64_t *end)
{
    bool directory_unknown = false;
    uint8_t header[WAL_HEADER_SIZE] = {0};
    char name[FILE_NAME_SIZE];
    vecdb_status status;

    TRY(file_random(wal->dir->vfs, salt, sizeof *salt));
    format_file_name(FILE_WAL, id, name);
    format_header_write(header, FILE_WAL, wal->uuid, id);
    store_u64(header + 64, wal->epoch);
    store_u64(header + 72, wal->next_lsn);
    store_u64(header + 80, *salt);
    store_u32(header + 88, wal->options.align);
    store_u64(header + 120, checksum(header, 120, 0));
    *end = align_up(WAL_HEADER_SIZE, wal->options.align);
    TRY(file_open(wal->dir, name, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, file));
    struct iovec parts[2] = {{header, sizeof header}, {(void *)(uintptr_t)zeros, *end - WAL_HEADER_SIZE}};
    status = file_write_parts(file, 0, parts, 2);
    if (status == VECDB_OK)
        status = file_sync(file);
    if (status == VECDB_OK && !PLANTED(2)) {
        status = dir_sync(wal->dir);
        directory_unknown = status != VECDB_OK;
    }
    if (status != VECDB_OK) {
        vecdb_error cause = *error_last();
        file_close(file);
        (void)dir_unlink(wal->dir, name);
        error_adopt(&cause);
        if (directory_unknown)
            wal_poison(wal);
        return status;
    }
    return VECDB_OK;
}

vecdb_status wal_roll(struct wal *wal, uint64_t id, vecdb_status (*publish)(void *context, uint64_t id, uint64_t first_lsn),
                      void *context)
{
    struct file file = {0};
    uint64_t salt = 0, end = 0;
    char name[FILE_NAME_SIZE];
    vecdb_status status;

    pthread_mutex_lock(&wal->lock);
    while (wal->cutting)
        pthread_cond_wait(&wal->changed, &wal->lock);
    wal->cutting = true; /* appending waits, so that syncs come to an end */
    while (wal->syncing)
        pthread_cond_wait(&wal->changed, &wal->lock);
    status = wal->poisoned ? poisoned(wal) : VECDB_OK;
    if (status == VECDB_OK) {
        status = sync_and_unlock(wal, 0);
        pthread_mutex_lock(&wal->lock);
    }
    if (status != VECDB_OK)
        goto out;
    /* All is durable and nothing is appended, so nobody syncs or cuts; who else poisons is publishing, as our caller is. */
    assert(!wal->syncing && !wal->poisoned);
    wal->syncing = true;
    pthread_mutex_unlock(&wal->lock);
    status = create_file(wal, id, &file, &salt, &end);
    if (status == VECDB_OK && (status = publish(context, id, wal->next_lsn)) != VECDB_OK) {
        vecdb_error cause = *error_last();
        file_close(&file);
        if (status != VECDB_ERR_POISONED) { /* otherwise the manifest may name it: leave it */
            format_file_name(FILE_WAL, id, name);
            (void)dir_unlink(wal->dir, name);
        }
        status = error_adopt(&cause);
    }
    pthread_mutex_lock(&wal->lock);
    wal->syncing = false;
    if (status == VECDB_OK) {
        drop_reserve(wal);
        file_close(&wal->file);
        wal->file = file;
        wal->salt = salt;
        wal->end = end;
    } else if (status == VECDB_ERR_POISONED) {
        poison(wal);
    }
out:
    wal->cutting = false;
    wake_all(wal);
    pthread_mutex_unlock(&wal->lock);
    return status;
}

void wal_poison(struct wal *wal)
{
    pthread_mutex_lock(&wal->lock);
    poison(wal);
    pthread_mutex_unlock(&wal->lock);
}

vecdb_status wal_check(struct wal *wal)
{
    vecdb_status status;

    pthread_mutex_lock(&wal->lock);
    status = wal->poisoned ? poisoned(wal) : VECDB_OK;
    pthread_mutex_unlock(&wal->lock);
    return status;
}

#define LOCKED_GETTER(function, expression)                                                                            \
    uint64_t function(struct wal *wal)                                                                                 \
    {                                                                                                                  \
        pthread_mutex_lock(&wal->lock);                                                                                \
        uint64_t value = (expression);                                                                                 \
        pthread_mutex_unlock(&wal->lock);                                                                              \
        return value;                                                                                                  \
    }
LOCKED_GETTER(wal_next_lsn, wal->next_lsn)
uint64_t wal_durable_lsn(struct wal *wal) { return durable(wal); }
LOCKED_GETTER(wal_size, wal->file.fd > 0 ? wal->end : 0)

#ifdef VECDB_PLANT
vecdb_status wal_plant_reopen(struct wal *wal, uint64_t id, uint64_t next_lsn)
{
    char name[FILE_NAME_SIZE];
    uint8_t header[WAL_HEADER_SIZE];

    format_file_name(FILE_WAL, id, name);
    TRY(file_open(wal->dir, name, VFS_WRITE, &wal->file));
    TRY(file_read(&wal->file, 0, header, sizeof header));
    TRY(file_size(&wal->file, &wal->end));
    wal->end = align_up(wal->end, wal->options.align);
    wal->salt = load_u64(header + 80);
    wal->next_lsn = next_lsn;
    atomic_store(&wal->durable_lsn, next_lsn - 1);
    return VECDB_OK;
}
#endif
