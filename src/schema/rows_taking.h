/* What the parts of rows_from_batch() share: the storage of columns, and each part's door. */
#ifndef VECDB_SCHEMA_ROWS_TAKING_H
#define VECDB_SCHEMA_ROWS_TAKING_H

#include "schema/rows.h"

/** What a column owns, when its data are not the caller's. */
struct rows_storage {
    struct buf data, offsets, valid;
};

/* rows.c */
vecdb_status rows_init(struct rows *rows, const struct schema *schema, size_t row_count);
/** The column's views onto what it has stored; to be called once nothing more is appended. */
void rows_adopt_storage(struct rows *rows, size_t f);
/** A field that the batch leaves out. */
vecdb_status rows_fill_missing(struct rows *rows, size_t f);
/** Whether the batch has a value for a row. */
static inline bool rows_given(const vecdb_column *column, size_t row) { return !column->valid || column->valid[row]; }
vecdb_status rows_wrong_type(const struct field *field, vecdb_type given);

/* rows_fixed.c */
vecdb_status rows_take_scalars(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row);
vecdb_status rows_take_vectors(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row);
/** Values of rows without one become zeros, or the default. */
vecdb_status rows_put_missing(const struct field *field, struct buf *out);
/** An integer or a boolean of any width. */
int64_t rows_read_integer(vecdb_type type, const void *bytes);
double rows_read_real(vecdb_type type, const void *bytes);
/** One value of type `given` as one of `type`, if it fits. */
vecdb_status rows_put_scalar(const struct field *field, vecdb_type type, vecdb_type given, const void *bytes, size_t row,
                             struct buf *out);
/** Whether values of one scalar type may be given for another. */
bool rows_scalar_converts(vecdb_type given, vecdb_type wanted);

/* rows_variable.c */
vecdb_status rows_take_variable(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row);
/** Gathers columns that are no field into $meta. `meta` is a JSON column given for $meta itself, or NULL. */
vecdb_status rows_take_dynamic(struct rows *rows, const vecdb_column *const *unknown, size_t unknown_count,
                               const vecdb_column *meta, uint64_t *bad_row);
/** The end of what has been stored is where the next row begins. */
vecdb_status rows_put_offset(struct rows_storage *storage);

#endif
