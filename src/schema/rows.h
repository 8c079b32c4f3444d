/* A batch of rows in the form the library keeps: one column per field, checked. What a write-ahead log frame carries and
 * what growing rows take in. */
#ifndef VECDB_SCHEMA_ROWS_H
#define VECDB_SCHEMA_ROWS_H

#include "schema/schema.h"

struct rows {
    const struct schema *schema; /* borrowed */
    size_t row_count;
    struct column *columns;      /* one per field; data may be the caller's own, for as long as his call lasts */
    struct rows_storage *storage;
};

/**
 * Check a batch against a schema and bring it into shape: types widened, defaults filled in, unknown columns gathered
 * into $meta, text checked for UTF-8, vectors for NaN, Inf and overlong ones, arrays for their limits.
 * @param auto_first  with auto_id: the keys are auto_first, auto_first + 1, ... and the batch must not have any.
 * @param keep_keys   take keys from the batch even with auto_id (upsert); auto_first is then not used.
 * @param bad_row     receives the row at fault, UINT64_MAX when the failure is not about one.
 */
vecdb_status rows_from_batch(const struct schema *schema, const vecdb_batch *batch, int64_t auto_first, bool keep_keys,
                             struct rows *out, uint64_t *bad_row);
void rows_deinit(struct rows *rows);
/** About how many bytes of values a batch has, of which nothing has been checked yet; texts without offsets do not count. */
size_t rows_batch_bytes(const vecdb_batch *batch);
/** A key column as the schema's primary key keeps it: VECDB_ERR_TYPE when the type is another. */
vecdb_status rows_from_keys(const struct schema *schema, const vecdb_column *keys, size_t key_count, struct rows *out);

/** For logs: bytes that rows_decode() reads back. */
vecdb_status rows_encode(const struct rows *rows, struct buf *out);
/** The same but for the values of one field of fixed width, which belong at out->data + *hole: what lies elsewhere already need
 * not be copied. The size of all values is a multiple of 8. `field` SCHEMA_NONE: nothing is left out. */
vecdb_status rows_encode_around(const struct rows *rows, size_t field, struct buf *out, size_t *hole);
/** Columns point into `data`, which is 8-byte aligned. Fields that were added to the schema since take their default, or
 * none. Every number is checked: VECDB_ERR_CORRUPT says what is wrong. */
vecdb_status rows_decode(const struct schema *schema, const uint8_t *data, size_t size, struct rows *out);
/** Check one vector's elements: no NaN, no Inf, and squares that stay finite. `what` begins the message. */
vecdb_status rows_check_vector(vecdb_type type, uint32_t dim, const void *vector, const char *field, size_t row);

#endif
