/* Write a sealed segment from rows of others: growing ones (flush), sealed ones (merge), less their deleted rows
 * (compaction), in another order when asked (clustering). Memory: about 40 bytes a row for keys, row numbers and sizes,
 * and a few MiB, however wide the rows; in another order also 64 MiB, or a sixteenth of the largest VARCHAR, JSON or ARRAY
 * field. */
#ifndef VECDB_STORAGE_SEGMENT_WRITER_H
#define VECDB_STORAGE_SEGMENT_WRITER_H

#include "storage/container.h"
#include "storage/segment.h"

#define SEGMENT_DEFAULT_BLOCK_ROWS 1024

/** Rows of one segment. */
struct segment_source {
    struct segment *segment;
    size_t row_count;     /* only the first so many: what the snapshot shows of a growing one */
    const uint64_t *keep; /* bitmap of row_count bits: rows to write; NULL: all */
    uint32_t *row_map;    /* receives, for each of the row_count rows, its row in the new segment, UINT32_MAX if left out;
                             or NULL */
};

struct segment_write {
    const struct dir *dir;
    const uint8_t *uuid;          /* of the database */
    uint64_t segment_id;          /* of the new one, and of its file */
    uint64_t collection_id, partition_id;
    uint64_t last_lsn;            /* kept for whoever repairs a database; 0: not recorded */
    const struct schema *schema;  /* of the new segment; fields that a source lacks take their default, or null */
    const struct segment_source *sources;
    size_t source_count;
    const uint32_t *order;        /* new row i is the order[i]-th of all rows kept, counted through the sources; NULL: as
                                     they come */
    size_t block_rows;            /* a power of two, 64 .. 65536; 0: SEGMENT_DEFAULT_BLOCK_ROWS; halved when blocks would
                                     unpack to more than 64 MiB */
    bool salvage;                 /* the caller has seen that the rows kept can be read: damage to others is no failure */
    bool sync_later;              /* the file is left open and unsynced */
    vecdb_progress progress;      /* or NULL */
    void *progress_context;
};

struct segment_written {
    struct container_id file;
    size_t row_count;
    struct file unsynced; /* open with sync_later: for segment_sync(), or file_close() when it is given up */
};

/**
 * Write and sync the file; the directory is left for the caller to sync. Sealed sources are read under their checksums.
 * On failure nothing is left behind: VECDB_ERR_FULL, _IO, _NOMEM, _CORRUPT (a source), _LIMIT (too many rows, or 64 rows
 * of more than 4 GiB), _EXISTS (two rows have the same key), _CANCELLED.
 */
vecdb_status segment_write(const struct segment_write *what, struct segment_written *out);
/** Sync and close what was left open; nothing to do where nothing was. */
vecdb_status segment_sync(struct segment_written *written);

#endif
