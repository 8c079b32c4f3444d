/* A database's directory: its lock, its manifest, its log, and the rules that keep them true to each other.
 *
 *   LOCK                held by flock by the one process that writes; its text is that process' id
 *   MANIFEST-<gen>.a .b what there is (storage/manifest.h); only what it names exists
 *   wal-<id>.log        the log (storage/wal.h); seg- del- idx-<id> segments, deletions, indexes
 * Ids of files count up over all kinds and are never used twice, not even after a failure.
 *
 * Publishing: files synced by who wrote them; then the log; the directory; MANIFEST-<gen>.a.tmp, synced, renamed;
 * the directory: now it counts. Then the second copy; only then are files removed that no manifest names any more.
 * Opening for writing copies the log's live frames into a new file before anything is acknowledged, so that no byte is
 * ever appended to what a crash left behind.
 */
#ifndef VECDB_STORAGE_STORE_H
#define VECDB_STORAGE_STORE_H

#include "storage/manifest.h"
#include "storage/wal.h"

struct store;

enum { /* store_options.flags */
    STORE_READ_ONLY = 1, /* take no lock, change nothing */
    STORE_NO_CREATE = 2,
};

struct store_options {
    unsigned flags;
    uint32_t lock_timeout_ms;
    struct wal_options wal;
    uint64_t wal_roll_size; /* bytes after which the log goes on in a new file; 0 means 64 MiB */
};

struct store_recovery { /* what opening found and did */
    uint64_t frames;          /* replayed */
    uint64_t dropped_bytes;   /* of a torn log tail, promised to nobody */
    uint64_t damaged_copies;  /* of the manifest; the other copy was good */
    uint64_t removed_files;   /* left behind by an unfinished operation */
};

/**
 * Open the database in directory `path`, making it when there is none (not with the two flags), and lock it.
 * @return VECDB_ERR_BUSY with the pid of the process that has it; VECDB_ERR_NO_SUCH; VECDB_ERR_CORRUPT; VECDB_ERR_VERSION;
 *         VECDB_ERR_READONLY (no right to write there, or written with features this library must not write); ...
 */
vecdb_status store_open(const struct vfs *vfs, const char *path, const struct store_options *options,
                        struct store **out);
/** Closes files and lets go of the lock. Syncs nothing: call store_sync() before if that is wanted. */
void store_close(struct store *store);

/**
 * Replay the log, oldest write first, then be ready for writing. Between store_open and this, look at store_manifest().
 * @param apply  called for each frame after manifest->checkpoint_lsn. Its failure fails the opening. *needed is true; set
 *               it false for a frame that the segments hold already (its collection's checkpoint_lsn says so): it is not
 *               carried over to the new log.
 * For a read-only store it may be called again after store_refresh(), and may return VECDB_ERR_NO_SUCH when the writer
 * went on meanwhile: refresh, and begin anew.
 */
typedef vecdb_status (*store_apply)(void *context, const struct wal_frame *frame, bool *needed);
vecdb_status store_recover(struct store *store, store_apply apply, void *context);
/** Read-only: hand over the frames that came since the last store_recover() or store_follow(). */
vecdb_status store_follow(struct store *store, store_apply apply, void *context);
/** Read-only: read the newest manifest. *changed says whether there was a newer one. */
vecdb_status store_refresh(struct store *store, bool *changed);

/** The manifest now in force. While writing goes on, only between store_begin() and its end. */
const struct manifest *store_manifest(const struct store *store);
const struct store_recovery *store_recovery(const struct store *store);
const struct dir *store_dir(const struct store *store);

/* -- writes: one frame per batch. From any thread. */

/** As wal_append(). Rows may be applied, but not shown, before store_commit(). Not between the calling thread's own
 * store_begin() and its end: the first write publishes a manifest that names the log. */
vecdb_status store_append(struct store *store, uint16_t type, const struct iovec *parts, size_t part_count, uint64_t *lsn);
/** As wal_append_frames(); as above. */
vecdb_status store_append_frames(struct store *store, uint16_t type, const struct iovec *frames, size_t frame_count,
                                 uint64_t *lsn);
/** As wal_commit(). */
vecdb_status store_commit(struct store *store, uint64_t lsn, vecdb_durability mode);
/** Make everything appended durable. */
vecdb_status store_sync(struct store *store);
/** NORMAL: sync what has waited for long enough. For a background thread, every 100 ms or so. */
vecdb_status store_tick(struct store *store);
/** VECDB_OK, VECDB_ERR_READONLY or VECDB_ERR_POISONED with the reason. */
vecdb_status store_check(struct store *store);
uint64_t store_last_lsn(struct store *store);
/** Bytes of log that an opening would have to replay, roughly. */
uint64_t store_log_size(struct store *store);

/* -- files */

/** An id for a file that the caller makes himself; it is never given twice. */
uint64_t store_new_id(struct store *store);
/** A new file under a new id, to be filled, synced with file_sync(), closed, and named by a manifest. */
vecdb_status store_create_file(struct store *store, enum file_kind kind, uint64_t *id, struct file *out);
/** Remove a file that no manifest named. Failing is no harm: the next opening removes it. */
void store_discard_file(struct store *store, enum file_kind kind, uint64_t id);
vecdb_status store_open_file(const struct store *store, enum file_kind kind, uint64_t id, struct file *out);
/** While held, files that fall out of the manifest stay on disk (for a copy in progress). Counted. */
void store_hold_files(struct store *store);
void store_let_files_go(struct store *store);

/* -- change of what there is. One at a time: store_begin() waits. */

/** A copy of the manifest to edit. wals, generation, epoch and next_file_id are the store's to fill in. */
vecdb_status store_begin(struct store *store, struct manifest **draft);
/**
 * Publish the draft. On failure the old manifest stays in force; on VECDB_ERR_POISONED a crash may show either.
 * Ends the change in any case. Files that only the old manifest named are removed.
 */
vecdb_status store_publish(struct store *store);
/** End the change without publishing. */
void store_abandon(struct store *store);

#endif
