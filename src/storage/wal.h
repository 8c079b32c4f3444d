/* The redo log of a database: every change since the last checkpoint, one frame each, in files that only grow.
 *
 * A file:
 *     0  the common header of storage/format.h, kind FILE_WAL
 *    64  u64 epoch       of the manifest that named it first: how often the database was opened for writing
 *    72  u64 first lsn   of the first frame
 *    80  u64 salt        random; every checksum below starts from it, so bytes of another log never pass for ours
 *    88  u32 align       8, 512 or 4096: frames start at multiples
 *    92  u32, u64, u64, u64[1] zero
 *   120  u64 checksum of bytes 0 .. 119, seed 0
 *   128  frames, the first one at the next multiple of align
 * A frame:
 *     0  u32 payload size, at most WAL_MAX_PAYLOAD
 *     4  u16 type        the caller's; 0: nothing, only takes its number
 *     6  u16 zero
 *     8  u64 lsn         the previous frame's plus one
 *    16  u64 durable     highest lsn known to be synced when this frame was made
 *    24  u64 checksum of the payload, seed salt
 *    32  u64 checksum of bytes 0 .. 31, seed salt: checked before the size is believed
 *    40  payload, then zeros to a multiple of align
 *
 * Behind the last frame there may be zeros, of any number: written ahead of the frames, since a sync takes less when the file
 * need not grow for it. They are no frame, good or bad.
 *
 * Torn or corrupt? At the first bad frame, which should have had number e, look ahead for later headers that pass, and
 * take the highest `durable` among all frames that pass. If it is at least e, what was promised is damaged: corrupt.
 * Otherwise the damage is in what nobody was promised: a torn tail, dropped and counted. Of all files but the last,
 * everything was promised.
 */
#ifndef VECDB_STORAGE_WAL_H
#define VECDB_STORAGE_WAL_H

#include "base/file.h"
#include "storage/format.h"

#define WAL_MAX_PAYLOAD ((size_t)1 << 27)
#define WAL_HEADER_SIZE 128
#define WAL_FRAME_HEADER_SIZE 40
#define WAL_MAX_PARTS (FILE_MAX_PARTS - 2)

/* -- writing. All calls may come from several threads, but for create and free. */

struct wal;

struct wal_options {
    uint32_t align;             /* 0 means 8 */
    uint64_t sync_after_bytes;  /* NORMAL: sync when so much is unsynced; 0 means 4 MiB */
    uint64_t sync_after_ns;     /* NORMAL: or the oldest unsynced write is so old; 0 means 200 ms */
    uint64_t reserve;           /* bytes of disk kept free behind the log for frames of the types below; 0: none */
    uint64_t reserve_types;     /* bit t: frames of type t may use it, so that a full disk does not keep them out */
};

/** A log without a file yet, whose next frame gets `next_lsn`. */
vecdb_status wal_create(const struct dir *dir, const uint8_t *uuid, uint64_t epoch, uint64_t next_lsn,
                        const struct wal_options *options, struct wal **out);
/** Closes the file and does not sync it. */
void wal_free(struct wal *wal);

/**
 * Go on in a new file: sync the old one, create the new one durably, then call `publish`, which makes recovery find it
 * (the manifest), and only then put frames there. Appending waits. When anything fails before publish the log goes on
 * in the old file, if any, and the new one is removed; what publish returns is returned.
 * VECDB_ERR_POISONED when the old file's sync failed.
 */
vecdb_status wal_roll(struct wal *wal, uint64_t id, vecdb_status (*publish)(void *context, uint64_t id, uint64_t first_lsn),
                      void *context);
/**
 * Append one frame; its number goes to *lsn. Not durable before wal_commit(). On failure nothing of it is left in the
 * log, not even after a crash: VECDB_ERR_FULL, VECDB_ERR_IO, VECDB_ERR_LIMIT. Or, when that cannot be made sure,
 * VECDB_ERR_POISONED with "durability unknown".
 */
vecdb_status wal_append(struct wal *wal, uint16_t type, const struct iovec *parts, size_t part_count, uint64_t *lsn);
/** Append frames of one part each, all or none of them. The first one's number goes to *lsn, the next ones' follow. */
vecdb_status wal_append_frames(struct wal *wal, uint16_t type, const struct iovec *frames, size_t frame_count, uint64_t *lsn);
/**
 * Wait until the frame is as durable as the mode asks. One sync serves all that wait.
 * VECDB_ERR_POISONED ("durability unknown") when a sync failed: the frame may or may not be there after a crash.
 */
vecdb_status wal_commit(struct wal *wal, uint64_t lsn, vecdb_durability mode);
/** Make all frames durable. */
vecdb_status wal_sync(struct wal *wal);
/** Sync if NORMAL frames have waited long enough; for a background thread to call now and then. */
vecdb_status wal_tick(struct wal *wal);

/** Refuse writes from now on, with the failure on record as the reason. Nothing but opening anew lifts it. */
void wal_poison(struct wal *wal);
/** VECDB_OK, or VECDB_ERR_POISONED with the reason. */
vecdb_status wal_check(struct wal *wal);
uint64_t wal_next_lsn(struct wal *wal);
uint64_t wal_durable_lsn(struct wal *wal);
/** Bytes in the current file; 0 without one. */
uint64_t wal_size(struct wal *wal);

#ifdef VECDB_PLANT
/** Planted bug 5: go on in a file that was recovered from, at its end. */
vecdb_status wal_plant_reopen(struct wal *wal, uint64_t id, uint64_t next_lsn);
#endif

/* -- reading */

struct wal_frame {
    uint64_t lsn;
    uint16_t type;
    const uint8_t *payload; /* valid during the call */
    size_t size;
};
typedef vecdb_status (*wal_apply)(void *context, const struct wal_frame *frame);

struct wal_scan {
    /* in */
    uint64_t id, epoch;      /* what the header must say; epoch UINT64_MAX: anything */
    const uint8_t *uuid;
    uint64_t first_lsn;      /* what the header must say; 0: anything, and is set to it */
    bool last;               /* the newest file, which may end torn; of others everything was promised */
    uint64_t end_lsn;        /* not last: number of its last frame */
    bool growing;            /* another process may be writing it: an incomplete end is no finding */
    uint64_t start_offset;   /* where to begin; 0: at the first frame */
    uint64_t start_lsn;      /* number of the frame there */
    /* out */
    uint64_t end_offset;     /* behind the last good frame */
    uint64_t next_lsn;       /* number after the last good frame's */
    uint64_t frame_count;
    uint64_t dropped_bytes;  /* of a torn tail, zeros at its end not counted */
};
/** Hand every good frame to `apply`, in order. VECDB_ERR_CORRUPT, VECDB_ERR_VERSION, VECDB_ERR_NO_SUCH, ..., or what apply returns. */
vecdb_status wal_read(const struct dir *dir, struct wal_scan *scan, wal_apply apply, void *context);

#endif
