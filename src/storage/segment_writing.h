/* What the parts of segment_write() share: the rows to write, where each comes from, and the field at hand. */
#ifndef VECDB_STORAGE_SEGMENT_WRITING_H
#define VECDB_STORAGE_SEGMENT_WRITING_H

#include "storage/segment_format.h"
#include "storage/segment_writer.h"

#define NO_ROW UINT32_MAX

/* Where a new row comes from. */
struct origin {
    uint32_t source, row;
};

struct field_written {
    bool empty; /* no row has a value */
    size_t page_rows;
    uint64_t null_count, bytes;
};

struct writing {
    const struct segment_write *what;
    struct container_writer container;
    size_t row_count, block_rows;
    struct origin *origins;   /* row_count */
    uint32_t **inverse;       /* for each source, its rows' new rows; only with an order */
    struct field_written *fields;
    uint64_t *keys;           /* INT64: the keys; VARCHAR: their hashes */
    uint32_t *key_rows;
    bool keys_ascend;
    struct column_scratch scratch;
    /* per field */
    size_t *source_fields;    /* its number in each source, or SCHEMA_NONE */
    uint64_t *valid;          /* bitmap of row_count bits */
    uint32_t *sizes;          /* row_count; VARCHAR, JSON, ARRAY */
    struct buf stats, entries, page, values;
    uint64_t packed_bytes;    /* of the field so far */
    /* the block of a source that `view` shows; scratch belongs to it */
    struct column view;
    size_t view_source, view_block;
    bool smaller_blocks;      /* the failure at hand is that a block is too large */
};

struct range {
    bool any, spoilt; /* spoilt: a NaN, which no range describes */
    union {
        int64_t integer;
        double real;
    } low, high;
};

static inline const struct field *writing_field(const struct writing *writer, size_t f) { return &writer->what->schema->fields[f]; }

/* segment_writing.c */
/** Row `row` of field f is next; VECDB_ERR_CANCELLED when the caller does not want to go on. */
vecdb_status writing_progress(const struct writing *writer, size_t f, size_t row);
/** Rows from `row` on that come from one block of one source, one after another; at most `limit`. */
size_t writing_run(const struct writing *writer, size_t row, size_t limit);
/** What all fields begin with: which field it is of each source. */
vecdb_status writing_begin_field(struct writing *writer, size_t f);
/** Show the block of a source that a row is in; *at receives its place there. */
vecdb_status writing_show(struct writing *writer, struct origin origin, size_t *at);
/** Call `visit` for every source row that is kept, a block of a source at a time, so that each is unpacked once. Blocks with
 * no row among the new rows first .. end - 1 are passed over. */
vecdb_status writing_visit(struct writing *writer, size_t first, size_t end,
                           void (*visit)(struct writing *writer, size_t row, const uint8_t *value, size_t size, bool valid,
                                         void *context),
                           void *context, const struct field *field);
/** Whether no row has a value, before anything is written. */
vecdb_status writing_find_nulls(struct writing *writer, size_t f, bool *empty);
/** What is known of a block; `range` NULL: of its values nothing. */
vecdb_status writing_put_stats(struct writing *writer, const struct range *range, size_t nulls);
/** What all fields end with: VALID and STATS. */
vecdb_status writing_end_field(struct writing *writer, size_t f);
/** A field in which no row has a value. */
vecdb_status writing_put_empty(struct writing *writer, size_t f);

/* segment_write_fixed.c, segment_write_text.c */
vecdb_status writing_fixed_field(struct writing *writer, size_t f);
vecdb_status writing_text_field(struct writing *writer, size_t f);

#endif
