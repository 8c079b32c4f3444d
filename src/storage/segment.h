/* A run of rows: growing in memory, or sealed in a file. What the rest of the library sees of either.
 *
 * Rows are numbered from 0 in the order they came and never change; a deleted row's bit is set in a bitmap that the
 * snapshot holds, not in the segment. Columns are read in blocks of block_rows. Segments are counted: every snapshot that
 * shows one retains it.
 */
#ifndef VECDB_STORAGE_SEGMENT_H
#define VECDB_STORAGE_SEGMENT_H

#include "schema/column.h"
#include "schema/schema.h"

#include <stdatomic.h>

struct segment;

struct segment_ops {
    /** Values of a block's first `row_count` rows (growing: of those that the snapshot may see). */
    vecdb_status (*column)(struct segment *segment, size_t field, size_t block, size_t row_count,
                           struct column_scratch *scratch, struct column *out);
    /** Vectors of a field: pointers to its blocks, valid as long as the segment; stride is the field's width. Raw rows
     * are 64-byte aligned at the start of a block. */
    const uint8_t *const *(*vector_blocks)(struct segment *segment, size_t field, unsigned *block_shift);
    /** Clear the bits of the first row_count rows that have no value in the field; for vectors that may be null. */
    void (*and_present)(struct segment *segment, size_t field, size_t row_count, uint64_t *rows);
    /** The newest row below row_count with this key (INT64: 8 bytes; VARCHAR: its text), deleted or not; false when there
     * is none. VECDB_ERR_CORRUPT is possible in sealed segments. */
    vecdb_status (*find)(struct segment *segment, const void *key, size_t key_size, size_t row_count, bool *found,
                         uint32_t *row);
    bool (*stats)(struct segment *segment, size_t field, size_t block, struct column_stats *out);
    /** One row's value, as a column of one row. NULL: segment_row() takes it from the block. */
    vecdb_status (*row)(struct segment *segment, size_t field, size_t row, struct column_scratch *scratch,
                        struct column *out);
    void (*free)(struct segment *segment);
};

/** What the layer above keeps with a segment; freed with it. First member of its own struct. */
struct segment_kept {
    void (*free)(struct segment_kept *kept);
};

struct segment {
    const struct segment_ops *ops;
    const struct schema *schema; /* of the rows: fields added to the collection later are not in it */
    uint64_t id;
    size_t block_rows;           /* a power of two, 64 .. 65536 */
    size_t row_count;            /* sealed: of rows; growing: room for rows, see the snapshot for how many there are */
    bool growing;
    bool closed;                 /* growing: takes no more rows, for it is being sealed; for the writer */
    bool keys_ascend;            /* later rows have larger keys, so that row order is key order */
    atomic_uint references;
    void *_Atomic beside;        /* growing: what the layer above keeps for its rows, or NULL */
    void (*beside_free)(void *beside);
    struct segment_kept *_Atomic kept; /* or NULL; set once */
};

static inline void segment_retain(struct segment *segment)
{
    atomic_fetch_add_explicit(&segment->references, 1, memory_order_relaxed);
}

static inline void segment_release(struct segment *segment)
{
    struct segment_kept *kept;

    if (!segment || atomic_fetch_sub_explicit(&segment->references, 1, memory_order_acq_rel) != 1)
        return;
    if ((kept = atomic_load_explicit(&segment->kept, memory_order_acquire)))
        kept->free(kept);
    segment->ops->free(segment);
}

/** One row's value, as a column of one row, without unpacking more than it must. */
static inline vecdb_status segment_row(struct segment *segment, size_t field, size_t row, struct column_scratch *scratch,
                                       struct column *out)
{
    static const uint64_t missing = 0;
    size_t block = row / segment->block_rows, at = row % segment->block_rows;
    vecdb_status status;

    if (segment->ops->row)
        return segment->ops->row(segment, field, row, scratch, out);
    if ((status = segment->ops->column(segment, field, block, at + 1, scratch, out)) != VECDB_OK)
        return status;
    out->valid = column_is_valid(out, at) ? NULL : &missing;
    if (out->width)
        out->data += at * out->width;
    else
        out->offsets += at;
    out->row_count = 1;
    return VECDB_OK;
}

#endif
