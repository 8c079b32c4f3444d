/* Columns of variable width: text, JSON, arrays, sparse vectors; and what is no field, gathered into $meta. */
#include "schema/rows_taking.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "schema/json.h"
#include "schema/sparse.h"

#include <math.h>

static vecdb_status check_text(const char *name, size_t row, const char *text, size_t length, size_t max_length)
{
    size_t bad;

    if (length > max_length)
        return error_set(VECDB_ERR_LIMIT, "field %s: row %zu: text of %zu bytes is longer than max_length %zu", name,
                         row, length, max_length);
    if (!utf8_valid(text, length, &bad))
        return error_set(VECDB_ERR_INVALID, "field %s: row %zu: text is not UTF-8 (byte %zu)", name, row, bad);
    return VECDB_OK;
}

static vecdb_status offsets_check(const vecdb_column *column, size_t row_count, const char *name)
{
    for (size_t row = 0; row < row_count; row++)
        if (column->offsets[row + 1] < column->offsets[row])
            return error_set(VECDB_ERR_INVALID, "field %s: offset %zu is %llu, less than the %llu before it", name,
                             row + 1, (unsigned long long)column->offsets[row + 1],
                             (unsigned long long)column->offsets[row]);
    return VECDB_OK;
}

static vecdb_string text_at(const vecdb_column *column, size_t row)
{
    if (!column->offsets)
        return ((const vecdb_string *)column->data)[row];
    return (vecdb_string){(const char *)column->data + column->offsets[row],
                          (size_t)(column->offsets[row + 1] - column->offsets[row])};
}

/* Text becomes a column's bytes: VARCHAR as it is, JSON parsed. */
static vecdb_status put_text(const struct field *field, vecdb_string text, size_t row, struct buf *out)
{
    if (text.length && !text.data)
        return error_set(VECDB_ERR_INVALID, "field %s: row %zu: text is NULL", field->name, row);
    if (field->type == VECDB_TYPE_VARCHAR) {
        TRY(check_text(field->name, row, text.data, text.length, field->max_length));
        return buf_append(out, text.data, text.length);
    }
    if (text.length > VECDB_MAX_JSON)
        return error_set(VECDB_ERR_LIMIT, "field %s: row %zu: JSON of %zu bytes is longer than %d", field->name, row,
                         text.length, VECDB_MAX_JSON);
    if (json_parse(text.data, text.length, out) != VECDB_OK)
        return error_prefix("field %s: row %zu: ", field->name, row);
    return VECDB_OK;
}

static vecdb_status put_array(const struct field *field, const vecdb_column *column, size_t row, struct buf *out)
{
    uint64_t first = column->offsets[row], count = column->offsets[row + 1] - first;

    if (count > field->max_capacity)
        return error_set(VECDB_ERR_LIMIT, "field %s: row %zu: %llu elements are more than max_capacity %u", field->name,
                         row, (unsigned long long)count, field->max_capacity);
    if (field->element_type == VECDB_TYPE_VARCHAR) {
        const vecdb_string *texts = (const vecdb_string *)column->data + first;
        uint32_t count32 = (uint32_t)count, end = 0;
        TRY(buf_append(out, &count32, 4));
        for (uint64_t i = 0; i < count; i++) {
            if (texts[i].length && !texts[i].data)
                return error_set(VECDB_ERR_INVALID, "field %s: row %zu: text is NULL", field->name, row);
            TRY(check_text(field->name, row, texts[i].data, texts[i].length, field->max_length));
            if (__builtin_add_overflow(end, (uint32_t)texts[i].length, &end))
                return error_set(VECDB_ERR_LIMIT, "field %s: row %zu: more than 4 GiB", field->name, row);
            TRY(buf_append(out, &end, 4));
        }
        for (uint64_t i = 0; i < count; i++)
            TRY(buf_append(out, texts[i].data, texts[i].length));
        return VECDB_OK;
    }
    for (uint64_t i = 0; i < count; i++)
        TRY(rows_put_scalar(field, field->element_type, column->element_type,
                       (const char *)column->data + (first + i) * type_width(column->element_type, 0), row, out));
    return VECDB_OK;
}

/* Whether the column may be where a field of elements is wanted: an ARRAY, or a sparse vector. */
static vecdb_status check_elements(const struct field *field, const vecdb_column *column, size_t row_count)
{
    if (field->type == VECDB_TYPE_ARRAY && !rows_scalar_converts(column->element_type, field->element_type))
        return error_set(VECDB_ERR_TYPE, "field %s: got elements of type %s, the field's are %s", field->name,
                         type_name(column->element_type) ? type_name(column->element_type) : "(unknown)",
                         type_name(field->element_type));
    if (!column->offsets && row_count)
        return error_set(VECDB_ERR_INVALID, "field %s: %s column needs offsets", field->name,
                         field->type == VECDB_TYPE_ARRAY ? "an ARRAY" : "a SPARSE_FLOAT_VECTOR");
    return VECDB_OK;
}

vecdb_status rows_put_offset(struct rows_storage *storage)
{
    uint32_t offset = (uint32_t)storage->data.size;

    if (storage->data.size > UINT32_MAX / 2)
        return error_set(VECDB_ERR_LIMIT, "a batch with more than 2 GiB in one field");
    return buf_append(&storage->offsets, &offset, sizeof offset);
}

vecdb_status rows_take_variable(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];
    struct rows_storage *storage = &rows->storage[f];

    if (column->type != field->type && !(field->type == VECDB_TYPE_JSON && column->type == VECDB_TYPE_VARCHAR))
        return rows_wrong_type(field, column->type);
    if (field->type == VECDB_TYPE_ARRAY || type_is_sparse(field->type))
        TRY(check_elements(field, column, rows->row_count));
    if (column->offsets)
        TRY(offsets_check(column, rows->row_count, field->name));
    TRY(rows_put_offset(storage));
    for (size_t row = 0; row < rows->row_count; row++) {
        *bad_row = row;
        if (!rows_given(column, row))
            TRY(buf_append(&storage->data, field->default_value, field->default_size));
        else if (field->type == VECDB_TYPE_ARRAY)
            TRY(put_array(field, column, row, &storage->data));
        else if (type_is_sparse(field->type))
            TRY(sparse_put(column->data, column->offsets[row], column->offsets[row + 1], field->name, row, &storage->data));
        else
            TRY(put_text(field, text_at(column, row), row, &storage->data));
        TRY(rows_put_offset(storage));
    }
    *bad_row = UINT64_MAX;
    return VECDB_OK;
}

/* ---- the dynamic field ---- */

/* One unknown column's value as a parsed JSON value. */
static vecdb_status put_dynamic(const vecdb_column *column, size_t row, struct buf *out)
{
    switch (column->type) {
    case VECDB_TYPE_BOOL:
        return json_put_bool(out, ((const uint8_t *)column->data)[row * (column->stride ? column->stride : 1)]);
    case VECDB_TYPE_INT8:
    case VECDB_TYPE_INT16:
    case VECDB_TYPE_INT32:
    case VECDB_TYPE_INT64: {
        size_t stride = column->stride ? column->stride : type_width(column->type, 0);
        return json_put_int(out, rows_read_integer(column->type, (const char *)column->data + row * stride));
    }
    case VECDB_TYPE_FLOAT:
    case VECDB_TYPE_DOUBLE: {
        size_t stride = column->stride ? column->stride : type_width(column->type, 0);
        double number = rows_read_real(column->type, (const char *)column->data + row * stride);
        if (!isfinite(number))
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu: %s", column->field, row,
                             isnan(number) ? "NaN" : "infinite");
        return json_put_double(out, number);
    }
    case VECDB_TYPE_VARCHAR: {
        vecdb_string text = text_at(column, row);
        if (text.length && !text.data)
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu: text is NULL", column->field, row);
        TRY(check_text(column->field, row, text.data, text.length, VECDB_MAX_JSON));
        return json_put_string(out, text.data, text.length);
    }
    case VECDB_TYPE_JSON: {
        vecdb_string text = text_at(column, row);
        if (text.length > VECDB_MAX_JSON)
            return error_set(VECDB_ERR_LIMIT, "field %s: row %zu: JSON of %zu bytes is longer than %d", column->field,
                             row, text.length, VECDB_MAX_JSON);
        if (json_parse(text.data ? text.data : "", text.length, out) != VECDB_OK)
            return error_prefix("field %s: row %zu: ", column->field, row);
        return VECDB_OK;
    }
    default:
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: %s cannot be kept in the dynamic field", column->field,
                         type_name(column->type) ? type_name(column->type) : "an unknown type");
    }
}

vecdb_status rows_take_dynamic(struct rows *rows, const vecdb_column *const *unknown, size_t unknown_count,
                                 const vecdb_column *meta, uint64_t *bad_row)
{
    size_t f = rows->schema->dynamic, capacity = unknown_count;
    struct rows_storage *storage = &rows->storage[f];
    struct buf values = {0}, whole = {0};
    vecdb_string *keys = NULL;
    struct json *members = NULL;
    size_t *ends = NULL;
    vecdb_status status = rows_put_offset(storage);

    for (size_t row = 0; status == VECDB_OK && row < rows->row_count; row++) {
        size_t count = 0, given = 0;
        struct json object = {0};

        *bad_row = row;
        values.size = whole.size = 0;
        if (meta && rows_given(meta, row)) {
            vecdb_string text = text_at(meta, row);
            if ((status = put_text(&rows->schema->fields[f], text, row, &whole)) != VECDB_OK)
                break;
            object = (struct json){whole.data, whole.size};
            if (json_kind(object) != JSON_OBJECT) {
                status = error_set(VECDB_ERR_TYPE, "field %s: row %zu is not a JSON object", SCHEMA_DYNAMIC_FIELD, row);
                break;
            }
            given = json_count(object);
        }
        if (given + unknown_count > capacity || !keys) {
            capacity = given + unknown_count;
            mem_free(keys);
            mem_free(members);
            mem_free(ends);
            keys = mem_array_alloc(capacity + 1, sizeof *keys);
            members = mem_array_alloc(capacity + 1, sizeof *members);
            ends = mem_array_alloc(capacity + 1, sizeof *ends);
            if (!keys || !members || !ends) {
                status = error_nomem("batch");
                break;
            }
        }
        for (size_t i = 0; i < given; i++, count++) {
            keys[count].data = json_key(object, i, &keys[count].length);
            members[count] = json_at(object, i);
        }
        for (size_t i = 0; i < unknown_count && status == VECDB_OK; i++) {
            if (!rows_given(unknown[i], row))
                continue;
            status = put_dynamic(unknown[i], row, &values);
            keys[count] = (vecdb_string){unknown[i]->field, strlen(unknown[i]->field)};
            ends[count++] = values.size;
        }
        for (size_t i = given, start = 0; i < count; start = ends[i++])
            members[i] = (struct json){values.data + start, ends[i] - start};
        if (status == VECDB_OK)
            status = json_put_object(&storage->data, count, keys, members);
        if (status == VECDB_OK)
            status = rows_put_offset(storage);
    }
    if (status == VECDB_OK)
        *bad_row = UINT64_MAX;
    mem_free(keys);
    mem_free(members);
    mem_free(ends);
    buf_deinit(&values);
    buf_deinit(&whole);
    return status;
}
