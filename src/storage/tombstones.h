/* Which rows of a segment are deleted. A version is immutable and counted: a snapshot retains the one it began with, and a
 * delete makes a new version that shares all pages it did not touch.
 *
 * On disk a version is a file of its own (kind FILE_TOMBSTONES). It is source data: a wrong bit would bring a deleted row
 * back, so any doubt about it is VECDB_ERR_CORRUPT. */
#ifndef VECDB_STORAGE_TOMBSTONES_H
#define VECDB_STORAGE_TOMBSTONES_H

#include "base/bitmap.h"
#include "storage/container.h"

#define TOMBSTONES_PAGE_ROWS 32768 /* bits of a 4 KiB page */
#define TOMBSTONES_PAGE_WORDS (TOMBSTONES_PAGE_ROWS / 64)

struct tombstones_page {
    atomic_uint references;
    uint64_t words[TOMBSTONES_PAGE_WORDS];
};

struct tombstones {
    atomic_uint references;
    size_t row_count;     /* of the segment; for a growing one, room for rows */
    size_t deleted_count;
    struct tombstones_page *pages[]; /* NULL: none of its rows is deleted */
};

/** Nothing deleted. Every function takes NULL for a version in which nothing is. */
vecdb_status tombstones_create(size_t row_count, struct tombstones **out);
void tombstones_retain(struct tombstones *tombstones);
void tombstones_release(struct tombstones *tombstones);

/** A new version with these rows deleted too; rows that were already, or come twice, are no mistake.
 * VECDB_ERR_INVALID for a row >= row_count; VECDB_ERR_NOMEM. `from` stays as it is. */
vecdb_status tombstones_with(const struct tombstones *from, size_t row_count, const uint32_t *rows, size_t count,
                             struct tombstones **out);
/** The same, rows given as a bitmap of `row_count` bits. */
vecdb_status tombstones_with_bitmap(const struct tombstones *from, size_t row_count, const uint64_t *rows,
                                    struct tombstones **out);

static inline size_t tombstones_count(const struct tombstones *tombstones)
{
    return tombstones ? tombstones->deleted_count : 0;
}

static inline bool tombstones_get(const struct tombstones *tombstones, size_t row)
{
    const struct tombstones_page *page = tombstones ? tombstones->pages[row / TOMBSTONES_PAGE_ROWS] : NULL;

    return page && bitmap_get(page->words, row % TOMBSTONES_PAGE_ROWS);
}

/** Clear the deleted rows' bits in a bitmap of the segment's first `row_count` rows. */
void tombstones_subtract(const struct tombstones *tombstones, uint64_t *rows, size_t row_count);
/** Rows deleted among the first `row_count`. */
size_t tombstones_count_first(const struct tombstones *tombstones, size_t row_count);

/** Write a version; the directory is not synced. */
vecdb_status tombstones_save(const struct tombstones *tombstones, const struct dir *dir, const uint8_t *uuid,
                             uint64_t file_id, uint64_t segment_id, struct container_id *out);
/** Read one, checking everything. @param row_count  of the segment. */
vecdb_status tombstones_open(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                             uint64_t segment_id, size_t row_count, struct tombstones **out);
/** Check a file thoroughly, for any segment. Returns VECDB_OK or VECDB_ERR_CORRUPT after reporting; others when the check
 * itself failed. */
vecdb_status tombstones_verify(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                               const struct problem_sink *sink);

#endif
