/* A sealed segment: one file that never changes, mapped read-only or copied to memory. Opening looks at headers and tables
 * only; data is checked against its checksums when it is first read, and every number that steers a read is checked
 * against what it must agree with, whatever the checksums say. Vectors are not checked when searched (a wrong bit there is
 * a wrong distance, no more), but when they are loaded, merged or indexed (segment_check_field). */
#ifndef VECDB_STORAGE_SEGMENT_FILE_H
#define VECDB_STORAGE_SEGMENT_FILE_H

#include "storage/container.h"
#include "storage/segment.h"

enum {
    SEGMENT_IN_HEAP = 1 /* read the file into memory instead of mapping it */
};

/**
 * Open.
 * @param id      what the manifest says of the file; size 0: not known.
 * @param schema  the collection's: fields of the segment must be in it, with the same types; NULL: not checked. The
 *                segment has a schema of its own, which may lack fields that were added later.
 * @return VECDB_OK; VECDB_ERR_CORRUPT; VECDB_ERR_VERSION; VECDB_ERR_NO_SUCH (no such file); VECDB_ERR_IO; VECDB_ERR_NOMEM.
 */
vecdb_status segment_open(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                          const struct schema *schema, unsigned flags, struct segment **out);

/* What follows is for segments that segment_open() gave, or segment_load() or segment_unload(). */

/** Whether it is one of those. */
bool segment_is_file(const struct segment *segment);
uint64_t segment_collection_id(const struct segment *segment);
uint64_t segment_partition_id(const struct segment *segment);
uint64_t segment_last_lsn(const struct segment *segment);
/** Name of its file. */
const char *segment_file_name(const struct segment *segment);
/** Bytes of its file, and bytes of it in memory that are not a map. */
uint64_t segment_file_size(const struct segment *segment);
size_t segment_memory(const struct segment *segment);
/** Checksum of a field's data: what an index over it is bound to. */
uint64_t segment_field_checksum(const struct segment *segment, size_t field);

/** The row that has a key: VECDB_OK, VECDB_NOT_FOUND, VECDB_ERR_CORRUPT, VECDB_ERR_NOMEM. Deleted rows are found too.
 * INT64 or VARCHAR must be the primary key's type. */
vecdb_status segment_find_int64(struct segment *segment, int64_t key, size_t *row);
vecdb_status segment_find_text(struct segment *segment, const void *key, size_t length, struct column_scratch *scratch,
                               size_t *row);

/** Check all of a field's data against its checksums, also what was right before. */
vecdb_status segment_check_field(struct segment *segment, size_t field);

/**
 * The same segment with its vectors, keys (unless they are counted) and short texts in memory (huge pages where there are), checked
 * as they are copied; texts as far as there is memory. A new object that shares the file with the old one: put it in the old one's
 * place; the old one lives as long as someone retains it, and so do pointers to its vectors.
 * @param left_out  bitmap of vector fields that stay in the file; NULL: none
 */
vecdb_status segment_load(struct segment *segment, const uint64_t *left_out, struct segment **out);
/** The same segment, answering from its file again. */
vecdb_status segment_unload(struct segment *segment, struct segment **out);

/** Check every checksum and every rule. VECDB_OK; VECDB_ERR_CORRUPT after reporting; others when the check itself failed. */
vecdb_status segment_verify(struct segment *segment, const struct problem_sink *sink);

#endif
