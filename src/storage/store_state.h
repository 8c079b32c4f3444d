/* What the parts of a store share. */
#ifndef VECDB_STORAGE_STORE_STATE_H
#define VECDB_STORAGE_STORE_STATE_H

#include "storage/file_list.h"
#include "storage/store.h"

#include <pthread.h>
#include <stdatomic.h>

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

/** Each of the names that store_list_directory() found. */
#define EACH_NAME(listing, name)                                                                                       \
    for (const char *name = (const char *)(listing).data, *end_ = name + (listing).size; name < end_;                  \
         name += strlen(name) + 1)

/* store_manifest.c */
/** Look through the directory: the newest generation, the one before, ids that are taken, and a file that only a database has. */
vecdb_status store_list_directory(struct store *store, uint64_t *newest, uint64_t *before, const char **data_file);
/** Read the newest manifest; make the first one where there is none and there may be one. */
vecdb_status store_load_manifest(struct store *store);
/** Publish `draft`, which becomes store->current; on failure it is the caller's still. `publishing` held, or nobody else there. */
vecdb_status store_put_manifest(struct store *store, struct manifest *draft);

/* store.c */
/** Start the log, or go on in a new file. `publishing` held. */
vecdb_status store_next_log(struct store *store);

#endif
