/* Rows as bytes, for logs. */
#include "schema/rows_taking.h"

#include "base/plant.h"
#include "schema/json.h"
#include "schema/sparse.h"

#include <assert.h>

/* ---- bytes ----
 *
 * u32 row_count, u32 field_count, then for each field: u32 flags (1: a validity bitmap follows), u32 0, u64 data size,
 * [row_count + 1 u32 offsets, padded to 8], [bitmap words], data padded to 8. The whole begins at a multiple of 8. */
vecdb_status rows_encode(const struct rows *rows, struct buf *out)
{
    size_t hole;

    return rows_encode_around(rows, SCHEMA_NONE, out, &hole);
}

vecdb_status rows_encode_around(const struct rows *rows, size_t field, struct buf *out, size_t *hole)
{
    uint32_t head[2] = {(uint32_t)rows->row_count, (uint32_t)rows->schema->field_count};
    size_t room = 8 + sizeof head;

    for (size_t f = 0; f < rows->schema->field_count; f++) { /* about so much, so that the buffer need not grow in steps */
        const struct column *column = &rows->columns[f];
        if (f == field)
            assert(column->width && column->width * rows->row_count % 8 == 0);
        else
            room += (column->width ? column->width * rows->row_count : column->offsets[rows->row_count] + 4 * rows->row_count);
    }
    TRY(buf_reserve(out, room + 48 * rows->schema->field_count));
    *hole = 0;
    TRY(buf_align(out, 8));
    TRY(buf_append(out, head, sizeof head));
    for (size_t f = 0; f < rows->schema->field_count; f++) {
        const struct column *column = &rows->columns[f];
        uint64_t size = column->width ? column->width * rows->row_count : column->offsets[rows->row_count];
        uint32_t field_head[2] = {column->valid != NULL, 0};
        TRY(buf_append(out, field_head, sizeof field_head));
        TRY(buf_append(out, &size, sizeof size));
        if (!column->width) {
            TRY(buf_append(out, column->offsets, (rows->row_count + 1) * 4));
            TRY(buf_align(out, 8));
        }
        if (column->valid)
            TRY(buf_append(out, column->valid, bitmap_words(rows->row_count) * 8));
        if (f == field)
            *hole = out->size;
        else
            TRY(buf_append(out, column->data, size));
        TRY(buf_align(out, 8));
    }
    return VECDB_OK;
}

/* Takes `size` bytes, padded to 8, off the front of what is left; NULL when there are not so many. */
static const uint8_t *cut(const uint8_t **data, size_t *left, uint64_t size)
{
    const uint8_t *start = *data;
    size_t padded;

    if (size > *left || (padded = align_up(size, 8)) > *left)
        return NULL;
    *data += padded;
    *left -= padded;
    return start;
}

static vecdb_status check_decoded(const struct field *field, const struct column *column, uint64_t size)
{
    if (column->width) {
        if (size != (PLANTED(19) ? (uint32_t)column->width * (uint32_t)column->row_count
                                 : (uint64_t)column->width * column->row_count))
            return error_set(VECDB_ERR_CORRUPT, "rows: field %s: %llu bytes for %zu rows of %zu", field->name,
                             (unsigned long long)size, column->row_count, column->width);
        return VECDB_OK;
    }
    if (column->offsets[0] != 0 || column->offsets[column->row_count] != size)
        return error_set(VECDB_ERR_CORRUPT, "rows: field %s: offsets do not span the data", field->name);
    for (size_t row = 0; row < column->row_count; row++) /* all of them, before one is believed */
        if (column->offsets[row + 1] < column->offsets[row])
            return error_set(VECDB_ERR_CORRUPT, "rows: field %s: offset %zu goes back", field->name, row + 1);
    for (size_t row = 0; row < column->row_count; row++) {
        const uint8_t *bytes = column->data + column->offsets[row];
        size_t length = column->offsets[row + 1] - column->offsets[row];
        if (column_is_valid(column, row) && field->type == VECDB_TYPE_JSON && !json_check(bytes, length))
            return error_set(VECDB_ERR_CORRUPT, "rows: field %s: row %zu is not a JSON value", field->name, row);
        if (column_is_valid(column, row) && field->type == VECDB_TYPE_ARRAY && !column_array_check(column, row))
            return error_set(VECDB_ERR_CORRUPT, "rows: field %s: row %zu is not an array", field->name, row);
        if (type_is_sparse(field->type) && !sparse_check(bytes, length, NULL))
            return error_set(VECDB_ERR_CORRUPT, "rows: field %s: row %zu is not a sparse vector", field->name, row);
    }
    return VECDB_OK;
}

/* The schema's number of the j-th field that was encoded, when the schema may have grown since: fields are added at the end,
 * but before $meta. */
static size_t encoded_field(const struct schema *schema, size_t encoded_count, size_t j)
{
    return schema->dynamic != SCHEMA_NONE && j == encoded_count - 1 ? schema->dynamic : j;
}

vecdb_status rows_decode(const struct schema *schema, const uint8_t *data, size_t size, struct rows *out)
{
    size_t left = size, encoded_count = size < 8 ? 0 : load_u32(data + 4);
    vecdb_status status = VECDB_OK;

    *out = (struct rows){0};
    if (encoded_count == 0 || encoded_count > schema->field_count || ((uintptr_t)data & 7))
        return error_set(VECDB_ERR_CORRUPT, "rows: %zu bytes, %zu fields where the schema has %zu", size, encoded_count,
                         schema->field_count);
    if (load_u32(data) > UINT32_MAX / 2)
        return error_set(VECDB_ERR_CORRUPT, "rows: %u of them", load_u32(data));
    TRY(rows_init(out, schema, load_u32(data)));
    data += 8;
    left -= 8;
    for (size_t j = 0; j < encoded_count && status == VECDB_OK; j++) {
        size_t f = encoded_field(schema, encoded_count, j);
        struct column *column = &out->columns[f];
        const uint8_t *head = cut(&data, &left, 16);
        uint64_t bytes = head ? load_u64(head + 8) : 0;
        bool truncated = !head;
        if (!truncated && !column->width)
            truncated = !(column->offsets = (const void *)cut(&data, &left, ((uint64_t)out->row_count + 1) * 4));
        if (!truncated && load_u32(head))
            truncated = !(column->valid = (const void *)cut(&data, &left, bitmap_words(out->row_count) * 8));
        if (!truncated)
            truncated = !(column->data = cut(&data, &left, bytes));
        status = truncated ? error_set(VECDB_ERR_CORRUPT, "rows: field %s is cut off", schema->fields[f].name)
                           : check_decoded(&schema->fields[f], column, bytes);
    }
    if (status == VECDB_OK && left)
        status = error_set(VECDB_ERR_CORRUPT, "rows: %zu bytes too many", left);
    for (size_t f = 0; f < schema->field_count && status == VECDB_OK; f++) {
        if (f < encoded_count - (schema->dynamic != SCHEMA_NONE) || f == schema->dynamic)
            continue;
        status = rows_fill_missing(out, f);
        rows_adopt_storage(out, f);
    }
    if (status != VECDB_OK)
        rows_deinit(out);
    return status;
}
