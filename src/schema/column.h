/* A view of one field's values for a run of rows, as the library keeps them. It owns nothing.
 *
 *   fixed width (and vectors)  row i is the `width` bytes at data + i * width. BOOL is a byte, 0 or 1.
 *   VARCHAR                    row i is bytes offsets[i] .. offsets[i+1] of data
 *   JSON                       the same; bytes are the parsed form of schema/json.h
 *   SPARSE_FLOAT_VECTOR        the same; struct vecdb_sparse by ascending index (schema/sparse.h)
 *   ARRAY                      the same; fixed-width elements packed. VARCHAR elements: u32 count, u32 end[count]
 *                              (relative to the first byte after them), bytes.
 * Values of rows that are not valid are zeros, or empty.
 */
#ifndef VECDB_SCHEMA_COLUMN_H
#define VECDB_SCHEMA_COLUMN_H

#include "base/bitmap.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "vecdb.h"

struct column {
    vecdb_type type;
    vecdb_type element_type; /* ARRAY */
    uint32_t dim;            /* vectors */
    size_t width;            /* bytes a row; 0 where rows differ in length */
    const uint8_t *data;
    const uint32_t *offsets; /* row_count + 1, for width 0 */
    const uint64_t *valid;   /* bit set where a value is; NULL when all rows have one */
    size_t row_count;
};

static inline bool column_is_valid(const struct column *column, size_t row)
{
    return !column->valid || bitmap_get(column->valid, row);
}

/** Bytes of a row, of any type; *size receives how many. */
static inline const uint8_t *column_bytes(const struct column *column, size_t row, size_t *size)
{
    if (column->width) {
        *size = column->width;
        return column->data + row * column->width;
    }
    *size = column->offsets[row + 1] - column->offsets[row];
    return column->data + column->offsets[row];
}

/** Whether the bytes of a row of an ARRAY column are an array, for bytes that come from a file. */
static inline bool column_array_check(const struct column *column, size_t row)
{
    size_t size, width = 0, count, start = 0;
    const uint8_t *bytes = column_bytes(column, row, &size);

    switch (column->element_type) {
    case VECDB_TYPE_BOOL:
    case VECDB_TYPE_INT8:
        width = 1;
        break;
    case VECDB_TYPE_INT16:
        width = 2;
        break;
    case VECDB_TYPE_INT32:
    case VECDB_TYPE_FLOAT:
        width = 4;
        break;
    case VECDB_TYPE_VARCHAR:
        break;
    default:
        width = 8;
    }
    if (width)
        return size % width == 0;
    if (size < 4 || (count = load_u32(bytes)) > (size - 4) / 4)
        return false;
    for (size_t i = 0; i < count; i++) {
        size_t end = load_u32(bytes + 4 + 4 * i);
        if (end < start)
            return false;
        start = end;
    }
    return 4 + 4 * count + start == size;
}

/** Where a block's values may be unpacked; zero-initialise, deinit when done. One per thread. */
struct column_scratch {
    struct buf bytes;
};

/** What is known of a block of a fixed-width field without reading it. */
struct column_stats {
    bool has_range;      /* some value is valid; low and high are over the valid ones */
    union {
        int64_t integer; /* BOOL, INT8..INT64 */
        double real;     /* FLOAT, DOUBLE */
    } low, high;
    size_t null_count;
};

#endif
