/* Inside of a sealed segment; for segment_file.c, segment_columns.c, segment_loaded.c and segment_verify.c only. */
#ifndef VECDB_STORAGE_SEGMENT_BODY_H
#define VECDB_STORAGE_SEGMENT_BODY_H

#include "storage/segment_file.h"
#include "storage/segment_format.h"

/* A field's sections; NULL where there is none. */
struct field_sections {
    const struct container_section *values, *valid, *packed, *pages, *sizes, *stats;
    bool empty; /* no row has a value, and but for vectors there is nothing to read */
    unsigned size_width;
    size_t page_rows;
    uint64_t null_count, bytes;
    atomic_uint_least64_t *checked; /* a bit for each page (variable width) or block (BOOL) whose values were seen to be right */
};

/* What a segment shares with its loaded twin. */
struct segment_body {
    atomic_uint references;
    struct file_map map;
    struct container container;
    struct schema *schema;
    struct field_sections *fields;
    const struct container_section *keys, *key_rows, *key_filter; /* keys, key_rows NULL: rows are in key order */
    size_t row_count, block_rows;
    uint64_t collection_id, partition_id, last_lsn;
    bool keys_ascend;
    atomic_bool keys_checked;
};

/* Values of differing length, as they are before they are packed. */
struct unpacked_field {
    uint64_t *starts;  /* of blocks, among the data */
    uint32_t *offsets; /* block_rows + 1 a block, each counted from its block's start */
    uint8_t *data;     /* NULL: it stays packed */
    uint64_t size;
    size_t block_count;
};

struct segment_file {
    struct segment base;
    struct segment_body *body;
    const uint8_t **vectors; /* for each field; NULL for others than vectors */
    void **loaded;           /* field_count + 3 blocks of memory: vectors, then keys, key_rows, key_filter; or NULL */
    const uint64_t *keys;
    const uint32_t *key_rows; /* NULL: the key's position is its row */
    const uint8_t *key_filter;
    bool counted;            /* loaded, and keys are first_key, first_key + 1 ..: none of the above is read */
    int64_t first_key;
    struct unpacked_field *unpacked; /* of each field, when loaded; or NULL */
    size_t memory;
};

static inline struct segment_file *segment_file_of(const struct segment *segment)
{
    return (struct segment_file *)(uintptr_t)segment;
}

/** Rows of page i of a field. */
static inline size_t segment_page_rows(const struct segment_body *body, const struct field_sections *field, size_t page)
{
    size_t left = body->row_count - page * field->page_rows;

    return left < field->page_rows ? left : field->page_rows;
}

/** VECDB_ERR_CORRUPT, in printf's words, of this file. */
vecdb_status segment_corrupt(const struct segment_body *body, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* What struct segment_ops says of columns, rows, vectors and statistics. */
vecdb_status segment_file_column(struct segment *segment, size_t f, size_t block, size_t row_count, struct column_scratch *scratch,
                                 struct column *out);
vecdb_status segment_file_row(struct segment *segment, size_t f, size_t row, struct column_scratch *scratch, struct column *out);
const uint8_t *const *segment_file_vector_blocks(struct segment *segment, size_t f, unsigned *block_shift);
void segment_file_and_present(struct segment *segment, size_t f, size_t row_count, uint64_t *rows);
bool segment_file_stats(struct segment *segment, size_t f, size_t block, struct column_stats *out);

/** Unpack the fields with short values, and vectors but for those `left_out` (a bit a field; NULL: none); those that cannot be, for
 * want of memory or because they are damaged, stay packed. */
void segment_unpack(struct segment_file *file, const uint64_t *left_out);
void segment_free_unpacked(struct segment_file *file);
/** A page's entry, its size compared with the rows' sizes. */
vecdb_status segment_page_entry(struct segment_body *body, size_t f, size_t page, struct block_entry *out);

#endif
