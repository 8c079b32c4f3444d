/* Growing rows: what was written and not yet sealed, in memory, in blocks that never move. One writer appends; readers see
 * the rows below the row count of their snapshot, without locks (but for key lookups, which take a short one). */
#ifndef VECDB_STORAGE_GROWING_H
#define VECDB_STORAGE_GROWING_H

#include "base/pool.h"
#include "schema/rows.h"
#include "storage/segment.h"

#include <sys/uio.h>

/** An empty segment with room for `row_capacity` rows (rounded up to whole blocks). The schema is borrowed and must outlive
 * it: keep it alive with the collection. */
vecdb_status growing_create(const struct schema *schema, uint64_t id, size_t row_capacity, struct segment **out);
/** Rows appended so far. For the writer. */
size_t growing_row_count(const struct segment *segment);
/** Bytes of their values. For the writer. */
size_t growing_bytes(const struct segment *segment);
/**
 * Append rows first .. first + count - 1 of a batch, all or none. There must be room. For the writer; readers learn of the
 * rows by a snapshot published afterwards. Large batches are copied on the threads of `pool`.
 */
vecdb_status growing_append(struct segment *segment, const struct rows *rows, size_t first, size_t count, struct pool *pool);
/** Where the values of rows first .. first + count - 1 lie, of a field of fixed width: at most `most` pieces, which never move
 * nor change. Returns how many; 0: they are more. */
size_t growing_pieces(const struct segment *segment, size_t field, size_t first, size_t count, struct iovec *pieces, size_t most);
/** How many of `count` rows, from `first`, fit: a block of text, JSON or arrays is held below 1 GiB. */
size_t growing_room(const struct segment *segment, const struct rows *rows, size_t first, size_t count);

#endif
