#include "schema/rows.h"

#include "base/float16.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/utf8.h"
#include "schema/json.h"
#include "schema/sparse.h"
#include "schema/value.h"

#include <float.h>
#include <math.h>

/* What a column owns, when its data are not the caller's. */
struct rows_storage {
    struct buf data, offsets, valid;
};

void rows_deinit(struct rows *rows)
{
    if (rows->storage)
        for (size_t f = 0; f < rows->schema->field_count; f++) {
            buf_deinit(&rows->storage[f].data);
            buf_deinit(&rows->storage[f].offsets);
            buf_deinit(&rows->storage[f].valid);
        }
    mem_free(rows->storage);
    mem_free(rows->columns);
    rows->storage = NULL;
    rows->columns = NULL;
}

static vecdb_status rows_init(struct rows *rows, const struct schema *schema, size_t row_count)
{
    rows->schema = schema;
    rows->row_count = row_count;
    rows->columns = mem_array_zalloc(schema->field_count, sizeof *rows->columns);
    rows->storage = mem_array_zalloc(schema->field_count, sizeof *rows->storage);
    if (!rows->columns || !rows->storage) {
        rows_deinit(rows);
        return error_nomem("batch");
    }
    for (size_t f = 0; f < schema->field_count; f++) {
        const struct field *field = &schema->fields[f];
        rows->columns[f] = (struct column){.type = field->type,
                                           .element_type = field->element_type,
                                           .dim = field->dim,
                                           .width = field->width,
                                           .row_count = row_count};
    }
    return VECDB_OK;
}

/* The column's views onto what it has stored; to be called once nothing more is appended. */
static void adopt_storage(struct rows *rows, size_t f)
{
    struct column *column = &rows->columns[f];
    struct rows_storage *storage = &rows->storage[f];

    if (storage->data.data || !column->data)
        column->data = storage->data.data;
    if (storage->offsets.size)
        column->offsets = (const uint32_t *)(const void *)storage->offsets.data;
    if (storage->valid.size)
        column->valid = (const uint64_t *)(const void *)storage->valid.data;
}

/* ---- checks of single values ---- */

static double sum_of_squares(vecdb_type type, uint32_t dim, const void *vector)
{
    const char *bytes = vector;
    double sum = 0;

    for (uint32_t i = 0; i < dim; i++) {
        double x = type == VECDB_TYPE_FLOAT_VECTOR     ? float_from_bits(load_u32(bytes + 4 * (size_t)i))
                   : type == VECDB_TYPE_FLOAT16_VECTOR ? float_from_f16(load_u16(bytes + 2 * (size_t)i))
                                                       : float_from_bf16(load_u16(bytes + 2 * (size_t)i));
        sum += x * x;
    }
    return sum;
}

vecdb_status rows_check_vector(vecdb_type type, uint32_t dim, const void *vector, const char *field, size_t row)
{
    const char *bytes = vector;
    double sum;

    if (type == VECDB_TYPE_INT8_VECTOR || type == VECDB_TYPE_BINARY_VECTOR)
        return VECDB_OK;
    if (type == VECDB_TYPE_FLOAT_VECTOR) { /* four sums at once; a sum that is fine in float is fine */
        float sums[8] = {0}, total = 0;
        uint32_t i = 0;
        for (; i + 8 <= dim; i += 8)
            for (int j = 0; j < 8; j++) {
                float x;
                memcpy(&x, bytes + 4 * (size_t)(i + (uint32_t)j), 4);
                sums[j] += x * x;
            }
        for (; i < dim && !PLANTED(23); i++) {
            float x;
            memcpy(&x, bytes + 4 * (size_t)i, 4);
            total += x * x;
        }
        for (int j = 0; j < 8; j++)
            total += sums[j];
        if (total <= FLT_MAX / 8)
            return VECDB_OK;
    }
    sum = sum_of_squares(type, dim, vector);
    if (sum <= FLT_MAX / 4)
        return VECDB_OK;
    for (uint32_t i = 0; i < dim; i++) {
        float x = type == VECDB_TYPE_FLOAT_VECTOR     ? float_from_bits(load_u32(bytes + 4 * (size_t)i))
                  : type == VECDB_TYPE_FLOAT16_VECTOR ? float_from_f16(load_u16(bytes + 2 * (size_t)i))
                                                      : float_from_bf16(load_u16(bytes + 2 * (size_t)i));
        if (!isfinite(x))
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu: element %u is %s", field, row, i,
                             isnan(x) ? "NaN" : "infinite");
    }
    return error_set(VECDB_ERR_INVALID, "field %s: row %zu: the squares of its elements sum to %g, more than %g", field,
                     row, sum, FLT_MAX / 4.0);
}

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

static bool is_valid(const vecdb_column *column, size_t row) { return !column->valid || column->valid[row]; }

/* ---- columns of fixed width ---- */

/* An integer or a boolean of any width. */
static int64_t read_integer(vecdb_type type, const void *bytes)
{
    switch (type) {
    case VECDB_TYPE_BOOL:
        return *(const uint8_t *)bytes;
    case VECDB_TYPE_INT8:
        return *(const int8_t *)bytes;
    case VECDB_TYPE_INT16:
        return (int16_t)load_u16(bytes);
    case VECDB_TYPE_INT32:
        return (int32_t)load_u32(bytes);
    default:
        return (int64_t)load_u64(bytes);
    }
}

static double read_real(vecdb_type type, const void *bytes)
{
    double number;

    if (type == VECDB_TYPE_FLOAT)
        return float_from_bits(load_u32(bytes));
    if (type != VECDB_TYPE_DOUBLE)
        return (double)read_integer(type, bytes);
    memcpy(&number, bytes, sizeof number);
    return number;
}

static vecdb_status put_scalar(const struct field *field, vecdb_type type, vecdb_type given, const void *bytes,
                               size_t row, struct buf *out)
{
    if (type_is_float(type)) {
        double number = read_real(given, bytes);
        float single = (float)number;
        if (!isfinite(number))
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu: %s", field->name, row,
                             isnan(number) ? "NaN" : "infinite");
        if (type == VECDB_TYPE_DOUBLE)
            return buf_append(out, &number, sizeof number);
        if (!isfinite(single))
            return error_set(VECDB_ERR_TYPE, "field %s: row %zu: %g does not fit FLOAT", field->name, row, number);
        return buf_append(out, &single, sizeof single);
    } else {
        int64_t number = read_integer(given, bytes), low = 0, high = 1;
        if (type != VECDB_TYPE_BOOL)
            value_integer_range(type, &low, &high);
        if (number < low || number > high)
            return error_set(VECDB_ERR_TYPE, "field %s: row %zu: %lld does not fit %s (%lld .. %lld)", field->name, row,
                             (long long)number, type_name(type), (long long)low, (long long)high);
        return buf_append(out, &number, type_width(type, 0));
    }
}

/* Whether values of one scalar type may be given for another. */
static bool scalar_converts(vecdb_type given, vecdb_type wanted)
{
    if (given == wanted)
        return true;
    if (type_is_integer(wanted))
        return type_is_integer(given);
    if (type_is_float(wanted))
        return type_is_float(given) || type_is_integer(given);
    return false;
}

static vecdb_status wrong_type(const struct field *field, vecdb_type given)
{
    return error_set(VECDB_ERR_TYPE, "field %s: got %s, the field is %s", field->name,
                     type_name(given) ? type_name(given) : "an unknown type", type_name(field->type));
}

/* Values of rows without one become zeros, or the default. */
static vecdb_status put_missing(const struct field *field, struct buf *out)
{
    if (field->default_value)
        return buf_append(out, field->default_value, field->default_size);
    return buf_append(out, NULL, field->width);
}

static bool needs_no_copy(const struct field *field, const vecdb_column *column, size_t stride)
{
    return !column->valid && stride == field->width && column->type == field->type &&
           ((uintptr_t)column->data & 7) == 0 && type_width(column->type, field->dim) == field->width &&
           field->type != VECDB_TYPE_BOOL && !type_is_float(field->type);
}

static vecdb_status take_scalars(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];
    struct buf *out = &rows->storage[f].data;
    size_t stride = column->stride ? column->stride : type_width(column->type, 0);

    if (!scalar_converts(column->type, field->type))
        return wrong_type(field, column->type);
    if (needs_no_copy(field, column, stride)) {
        rows->columns[f].data = column->data;
        return VECDB_OK;
    }
    TRY(buf_reserve(out, rows->row_count * field->width));
    for (size_t row = 0; row < rows->row_count; row++) {
        *bad_row = row;
        if (is_valid(column, row))
            TRY(put_scalar(field, field->type, column->type, (const char *)column->data + row * stride, row, out));
        else
            TRY(put_missing(field, out));
    }
    *bad_row = UINT64_MAX;
    return VECDB_OK;
}

/* One dense vector in the field's element type, from float32. */
static vecdb_status put_converted(const struct field *field, const float *values, size_t row, struct buf *out)
{
    for (uint32_t i = 0; i < field->dim; i++) {
        float x = float_from_bits(load_u32(values + i));
        uint16_t half;
        if (field->type == VECDB_TYPE_INT8_VECTOR) {
            int8_t byte = (int8_t)x;
            if (!(x >= -128 && x <= 127) || (float)byte != x)
                return error_set(VECDB_ERR_TYPE, "field %s: row %zu: element %u is %g, not an INT8", field->name, row,
                                 i, (double)x);
            TRY(buf_append(out, &byte, 1));
            continue;
        }
        half = field->type == VECDB_TYPE_FLOAT16_VECTOR ? f16_from_float(x) : bf16_from_float(x);
        TRY(buf_append(out, &half, 2));
    }
    return VECDB_OK;
}

static vecdb_status take_vectors(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];
    struct buf *out = &rows->storage[f].data;
    size_t width = type_width(column->type, column->dim), stride = column->stride ? column->stride : width;
    bool converted = column->type == VECDB_TYPE_FLOAT_VECTOR && field->type != VECDB_TYPE_FLOAT_VECTOR &&
                     field->type != VECDB_TYPE_BINARY_VECTOR;

    if (column->type != field->type && !converted)
        return wrong_type(field, column->type);
    if (column->dim != field->dim)
        return error_set(VECDB_ERR_DIM, "field %s: got %u values, dim is %u", field->name, column->dim, field->dim);
    if (stride < width)
        return error_set(VECDB_ERR_INVALID, "field %s: a stride of %zu bytes is less than the vector's %zu", field->name,
                         stride, width);
    if (!column->valid && !converted && stride == width && ((uintptr_t)column->data & 3) == 0)
        rows->columns[f].data = column->data;
    else
        TRY(buf_reserve(out, rows->row_count * field->width));
    for (size_t row = 0; row < rows->row_count; row++) {
        const char *vector = (const char *)column->data + row * stride;
        *bad_row = row;
        if (!is_valid(column, row)) {
            TRY(buf_append(out, NULL, field->width));
            continue;
        }
        TRY(rows_check_vector(column->type, field->dim, vector, field->name, row));
        if (converted) {
            TRY(put_converted(field, (const float *)(const void *)vector, row, out));
            TRY(rows_check_vector(field->type, field->dim, out->data + out->size - field->width, field->name, row));
        } else if (!rows->columns[f].data) {
            TRY(buf_append(out, vector, width));
        }
    }
    *bad_row = UINT64_MAX;
    return VECDB_OK;
}

/* ---- columns of variable width ---- */

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
        TRY(put_scalar(field, field->element_type, column->element_type,
                       (const char *)column->data + (first + i) * type_width(column->element_type, 0), row, out));
    return VECDB_OK;
}

/* Whether the column may be where a field of elements is wanted: an ARRAY, or a sparse vector. */
static vecdb_status check_elements(const struct field *field, const vecdb_column *column, size_t row_count)
{
    if (field->type == VECDB_TYPE_ARRAY && !scalar_converts(column->element_type, field->element_type))
        return error_set(VECDB_ERR_TYPE, "field %s: got elements of type %s, the field's are %s", field->name,
                         type_name(column->element_type) ? type_name(column->element_type) : "(unknown)",
                         type_name(field->element_type));
    if (!column->offsets && row_count)
        return error_set(VECDB_ERR_INVALID, "field %s: %s column needs offsets", field->name,
                         field->type == VECDB_TYPE_ARRAY ? "an ARRAY" : "a SPARSE_FLOAT_VECTOR");
    return VECDB_OK;
}

static vecdb_status put_offset(struct rows_storage *storage)
{
    uint32_t offset = (uint32_t)storage->data.size;

    if (storage->data.size > UINT32_MAX / 2)
        return error_set(VECDB_ERR_LIMIT, "a batch with more than 2 GiB in one field");
    return buf_append(&storage->offsets, &offset, sizeof offset);
}

static vecdb_status take_variable(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];
    struct rows_storage *storage = &rows->storage[f];

    if (column->type != field->type && !(field->type == VECDB_TYPE_JSON && column->type == VECDB_TYPE_VARCHAR))
        return wrong_type(field, column->type);
    if (field->type == VECDB_TYPE_ARRAY || type_is_sparse(field->type))
        TRY(check_elements(field, column, rows->row_count));
    if (column->offsets)
        TRY(offsets_check(column, rows->row_count, field->name));
    TRY(put_offset(storage));
    for (size_t row = 0; row < rows->row_count; row++) {
        *bad_row = row;
        if (!is_valid(column, row))
            TRY(buf_append(&storage->data, field->default_value, field->default_size));
        else if (field->type == VECDB_TYPE_ARRAY)
            TRY(put_array(field, column, row, &storage->data));
        else if (type_is_sparse(field->type))
            TRY(sparse_put(column->data, column->offsets[row], column->offsets[row + 1], field->name, row, &storage->data));
        else
            TRY(put_text(field, text_at(column, row), row, &storage->data));
        TRY(put_offset(storage));
    }
    *bad_row = UINT64_MAX;
    return VECDB_OK;
}

/* ---- missing values ---- */

/* The rows that have a value; rows without one take the default, if the field has one. */
static vecdb_status take_validity(struct rows *rows, size_t f, const uint8_t *valid, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];
    uint64_t *words;

    if (!valid || field->default_value)
        return VECDB_OK;
    TRY(buf_append(&rows->storage[f].valid, NULL, bitmap_words(rows->row_count) * 8));
    words = (uint64_t *)(void *)rows->storage[f].valid.data;
    for (size_t row = 0; row < rows->row_count; row++) {
        if (valid[row])
            bitmap_set(words, row);
        else if (!(field->flags & VECDB_NULLABLE)) {
            *bad_row = row;
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu has no value, and the field is not nullable",
                             field->name, row);
        }
    }
    return VECDB_OK;
}

/* A field that the batch leaves out. */
static vecdb_status fill_missing(struct rows *rows, size_t f)
{
    const struct field *field = &rows->schema->fields[f];
    struct rows_storage *storage = &rows->storage[f];

    if (!field->default_value && !(field->flags & VECDB_NULLABLE))
        return error_set(VECDB_ERR_INVALID, "field %s is missing, and is neither nullable nor has a default",
                         field->name);
    if (type_is_variable(field->type))
        TRY(put_offset(storage));
    for (size_t row = 0; row < rows->row_count; row++) {
        TRY(put_missing(field, &storage->data));
        if (type_is_variable(field->type))
            TRY(put_offset(storage));
    }
    if (!field->default_value)
        TRY(buf_append(&storage->valid, NULL, bitmap_words(rows->row_count) * 8));
    return VECDB_OK;
}

static vecdb_status stamp(struct rows *rows, size_t f)
{
    int64_t now = schema_now();

    for (size_t row = 0; row < rows->row_count; row++)
        TRY(buf_append(&rows->storage[f].data, &now, sizeof now));
    return VECDB_OK;
}

static vecdb_status make_auto_keys(struct rows *rows, int64_t first)
{
    size_t f = rows->schema->primary;
    struct rows_storage *storage = &rows->storage[f];
    bool text = rows->schema->fields[f].type == VECDB_TYPE_VARCHAR;

    if (text)
        TRY(put_offset(storage));
    for (size_t row = 0; row < rows->row_count; row++) {
        int64_t key = first + (int64_t)row;
        if (text) {
            TRY(buf_printf(&storage->data, "%lld", (long long)key));
            TRY(put_offset(storage));
        } else {
            TRY(buf_append(&storage->data, &key, sizeof key));
        }
    }
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
        return json_put_int(out, read_integer(column->type, (const char *)column->data + row * stride));
    }
    case VECDB_TYPE_FLOAT:
    case VECDB_TYPE_DOUBLE: {
        size_t stride = column->stride ? column->stride : type_width(column->type, 0);
        double number = read_real(column->type, (const char *)column->data + row * stride);
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

/* Gathers columns that are no field into $meta. `meta` is a JSON column given for $meta itself, or NULL. */
static vecdb_status take_dynamic(struct rows *rows, const vecdb_column *const *unknown, size_t unknown_count,
                                 const vecdb_column *meta, uint64_t *bad_row)
{
    size_t f = rows->schema->dynamic, capacity = unknown_count;
    struct rows_storage *storage = &rows->storage[f];
    struct buf values = {0}, whole = {0};
    vecdb_string *keys = NULL;
    struct json *members = NULL;
    size_t *ends = NULL;
    vecdb_status status = put_offset(storage);

    for (size_t row = 0; status == VECDB_OK && row < rows->row_count; row++) {
        size_t count = 0, given = 0;
        struct json object = {0};

        *bad_row = row;
        values.size = whole.size = 0;
        if (meta && is_valid(meta, row)) {
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
            if (!is_valid(unknown[i], row))
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
            status = put_offset(storage);
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

/* ---- the batch ---- */

static vecdb_status read_column(const vecdb_batch *batch, size_t i, vecdb_column *out)
{
    const char *bytes = (const char *)batch->columns + i * batch->column_size;

    memset(out, 0, sizeof *out);
    memcpy(out, bytes, batch->column_size < sizeof *out ? batch->column_size : sizeof *out);
    for (size_t b = sizeof *out; b < batch->column_size; b++)
        if (bytes[b])
            return error_set(VECDB_ERR_UNSUPPORTED, "column %zu: the program asks for what this vecdb does not know", i);
    if (!out->field)
        return error_set(VECDB_ERR_INVALID, "column %zu: field is NULL", i);
    if (!out->data && batch->row_count && !(out->offsets && out->offsets[batch->row_count] == out->offsets[0]))
        return error_set(VECDB_ERR_INVALID, "field %s: data is NULL", out->field);
    return VECDB_OK;
}

static vecdb_status take_column(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];

    if (type_is_dense(field->type))
        TRY(take_vectors(rows, f, column, bad_row));
    else if (type_is_variable(field->type))
        TRY(take_variable(rows, f, column, bad_row));
    else
        TRY(take_scalars(rows, f, column, bad_row));
    return take_validity(rows, f, column->valid, bad_row);
}

static vecdb_status take_columns(struct rows *rows, const vecdb_batch *batch, int64_t auto_first, bool keep_keys,
                                 vecdb_column *columns, const vecdb_column **unknown, bool *taken, uint64_t *bad_row)
{
    const struct schema *schema = rows->schema;
    const vecdb_column *meta = NULL;
    size_t unknown_count = 0;

    for (size_t i = 0; i < batch->column_count; i++) {
        size_t f;
        TRY(read_column(batch, i, &columns[i]));
        f = schema_find(schema, columns[i].field, strlen(columns[i].field));
        if (f == SCHEMA_NONE) {
            if (schema->dynamic == SCHEMA_NONE)
                return schema_no_field(schema, columns[i].field);
            TRY(schema_check_name("dynamic field", columns[i].field));
            unknown[unknown_count++] = &columns[i];
            continue;
        }
        if (f == schema->inserted)
            return error_set(VECDB_ERR_INVALID, "field %s is reserved", columns[i].field);
        if (taken[f])
            return error_set(VECDB_ERR_INVALID, "field %s is there twice", columns[i].field);
        taken[f] = true;
        if (f == schema->dynamic) {
            if (columns[i].type != VECDB_TYPE_JSON && columns[i].type != VECDB_TYPE_VARCHAR)
                return wrong_type(&schema->fields[f], columns[i].type);
            meta = &columns[i];
            continue;
        }
        if (f == schema->primary && schema->auto_id && !keep_keys)
            return error_set(VECDB_ERR_INVALID, "field %s is AUTO_ID: the batch must not bring keys", columns[i].field);
        if (f == schema->primary && columns[i].valid)
            for (size_t row = 0; row < rows->row_count; row++)
                if (!columns[i].valid[row]) {
                    *bad_row = row;
                    return error_set(VECDB_ERR_INVALID, "field %s: row %zu has no key", columns[i].field, row);
                }
        TRY(take_column(rows, f, &columns[i], bad_row));
    }
    if (schema->auto_id && !keep_keys) {
        TRY(make_auto_keys(rows, auto_first));
        taken[schema->primary] = true;
    }
    if (schema->dynamic != SCHEMA_NONE && (unknown_count || meta)) {
        TRY(take_dynamic(rows, unknown, unknown_count, meta, bad_row));
        taken[schema->dynamic] = true;
    }
    for (size_t f = 0; f < schema->field_count; f++) {
        if (!taken[f])
            TRY(f == schema->inserted ? stamp(rows, f) : fill_missing(rows, f));
        adopt_storage(rows, f);
    }
    return VECDB_OK;
}

vecdb_status rows_from_batch(const struct schema *schema, const vecdb_batch *batch, int64_t auto_first, bool keep_keys,
                             struct rows *out, uint64_t *bad_row)
{
    vecdb_column *columns;
    const vecdb_column **unknown;
    bool *taken;
    vecdb_status status;

    *bad_row = UINT64_MAX;
    *out = (struct rows){0};
    if (batch->column_count && !batch->columns)
        return error_set(VECDB_ERR_INVALID, "batch: columns is NULL");
    if (batch->column_count > 65536)
        return error_set(VECDB_ERR_LIMIT, "batch: %zu columns are more than 65536", batch->column_count);
    if (batch->column_count && batch->column_size < offsetof(vecdb_column, reserved))
        return error_set(VECDB_ERR_MISUSE, "batch: column_size is %u; set it with VECDB_BATCH_INIT", batch->column_size);
    if (batch->row_count > UINT32_MAX / 2)
        return error_set(VECDB_ERR_LIMIT, "batch: %zu rows are too many", batch->row_count);
    TRY(rows_init(out, schema, batch->row_count));
    columns = mem_array_alloc(batch->column_count + 1, sizeof *columns);
    unknown = mem_array_alloc(batch->column_count + 1, sizeof *unknown);
    taken = mem_array_zalloc(schema->field_count, sizeof *taken);
    if (!columns || !unknown || !taken)
        status = error_nomem("batch");
    else
        status = take_columns(out, batch, auto_first, keep_keys, columns, unknown, taken, bad_row);
    mem_free(columns);
    mem_free(unknown);
    mem_free(taken);
    if (status != VECDB_OK)
        rows_deinit(out);
    return status;
}

vecdb_status rows_from_keys(const struct schema *schema, const vecdb_column *keys, size_t key_count, struct rows *out)
{
    vecdb_column column = *keys;
    uint64_t bad_row;
    vecdb_status status;

    *out = (struct rows){0};
    if (key_count > UINT32_MAX / 2)
        return error_set(VECDB_ERR_LIMIT, "%zu keys are too many", key_count);
    if (key_count && !column.data)
        return error_set(VECDB_ERR_INVALID, "keys: data is NULL");
    column.valid = NULL;
    TRY(rows_init(out, schema, key_count));
    status = take_column(out, schema->primary, &column, &bad_row);
    adopt_storage(out, schema->primary);
    if (status != VECDB_OK)
        rows_deinit(out);
    return status;
}

/* ---- bytes ----
 *
 * u32 row_count, u32 field_count, then for each field: u32 flags (1: a validity bitmap follows), u32 0, u64 data size,
 * [row_count + 1 u32 offsets, padded to 8], [bitmap words], data padded to 8. The whole begins at a multiple of 8. */
vecdb_status rows_encode(const struct rows *rows, struct buf *out)
{
    uint32_t head[2] = {(uint32_t)rows->row_count, (uint32_t)rows->schema->field_count};
    size_t room = 8 + sizeof head;

    for (size_t f = 0; f < rows->schema->field_count; f++) { /* about so much, so that the buffer need not grow in steps */
        const struct column *column = &rows->columns[f];
        room += 48 + (column->width ? column->width * rows->row_count : column->offsets[rows->row_count] + 4 * rows->row_count);
    }
    TRY(buf_reserve(out, room));
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
        status = fill_missing(out, f);
        adopt_storage(out, f);
    }
    if (status != VECDB_OK)
        rows_deinit(out);
    return status;
}
