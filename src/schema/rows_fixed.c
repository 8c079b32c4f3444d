/* Columns of fixed width: numbers, booleans, vectors. */
#include "schema/rows_taking.h"

#include "base/float16.h"
#include "base/plant.h"
#include "schema/value.h"

#include <float.h>
#include <math.h>

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

int64_t rows_read_integer(vecdb_type type, const void *bytes)
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

double rows_read_real(vecdb_type type, const void *bytes)
{
    double number;

    if (type == VECDB_TYPE_FLOAT)
        return float_from_bits(load_u32(bytes));
    if (type != VECDB_TYPE_DOUBLE)
        return (double)rows_read_integer(type, bytes);
    memcpy(&number, bytes, sizeof number);
    return number;
}

vecdb_status rows_put_scalar(const struct field *field, vecdb_type type, vecdb_type given, const void *bytes,
                               size_t row, struct buf *out)
{
    if (type_is_float(type)) {
        double number = rows_read_real(given, bytes);
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
        int64_t number = rows_read_integer(given, bytes), low = 0, high = 1;
        if (type != VECDB_TYPE_BOOL)
            value_integer_range(type, &low, &high);
        if (number < low || number > high)
            return error_set(VECDB_ERR_TYPE, "field %s: row %zu: %lld does not fit %s (%lld .. %lld)", field->name, row,
                             (long long)number, type_name(type), (long long)low, (long long)high);
        return buf_append(out, &number, type_width(type, 0));
    }
}

bool rows_scalar_converts(vecdb_type given, vecdb_type wanted)
{
    if (given == wanted)
        return true;
    if (type_is_integer(wanted))
        return type_is_integer(given);
    if (type_is_float(wanted))
        return type_is_float(given) || type_is_integer(given);
    return false;
}

vecdb_status rows_put_missing(const struct field *field, struct buf *out)
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

vecdb_status rows_take_scalars(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];
    struct buf *out = &rows->storage[f].data;
    size_t stride = column->stride ? column->stride : type_width(column->type, 0);

    if (!rows_scalar_converts(column->type, field->type))
        return rows_wrong_type(field, column->type);
    if (needs_no_copy(field, column, stride)) {
        rows->columns[f].data = column->data;
        return VECDB_OK;
    }
    TRY(buf_reserve(out, rows->row_count * field->width));
    for (size_t row = 0; row < rows->row_count; row++) {
        *bad_row = row;
        if (rows_given(column, row))
            TRY(rows_put_scalar(field, field->type, column->type, (const char *)column->data + row * stride, row, out));
        else
            TRY(rows_put_missing(field, out));
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

vecdb_status rows_take_vectors(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];
    struct buf *out = &rows->storage[f].data;
    size_t width = type_width(column->type, column->dim), stride = column->stride ? column->stride : width;
    bool converted = column->type == VECDB_TYPE_FLOAT_VECTOR && field->type != VECDB_TYPE_FLOAT_VECTOR &&
                     field->type != VECDB_TYPE_BINARY_VECTOR;

    if (column->type != field->type && !converted)
        return rows_wrong_type(field, column->type);
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
        if (!rows_given(column, row)) {
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
