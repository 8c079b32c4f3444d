#include "schema/value.h"

#include "base/float16.h"
#include "base/utf8.h"

#include <math.h>

void value_integer_range(vecdb_type type, int64_t *low, int64_t *high)
{
    unsigned bits = type == VECDB_TYPE_INT8 ? 8 : type == VECDB_TYPE_INT16 ? 16 : type == VECDB_TYPE_INT32 ? 32 : 64;

    *high = (int64_t)(UINT64_MAX >> (65 - bits));
    *low = -*high - 1;
}

static const char *kind_name(enum json_kind kind)
{
    static const char *const names[] = {"null", "a bool", "a bool", "an integer", "a number", "text", "an array", "an object"};

    return names[kind];
}

static vecdb_status wrong_type(vecdb_type type, struct json value)
{
    return error_set(VECDB_ERR_TYPE, "%s cannot be %s", type_name(type), kind_name(json_kind(value)));
}

static vecdb_status scalar_from_json(vecdb_type type, uint32_t max_length, struct json value, struct buf *out)
{
    enum json_kind kind = json_kind(value);

    switch (type) {
    case VECDB_TYPE_BOOL: {
        uint8_t byte = kind == JSON_TRUE;
        if (kind != JSON_TRUE && kind != JSON_FALSE)
            return wrong_type(type, value);
        return buf_append(out, &byte, 1);
    }
    case VECDB_TYPE_INT8:
    case VECDB_TYPE_INT16:
    case VECDB_TYPE_INT32:
    case VECDB_TYPE_INT64: {
        int64_t number, low, high;
        if (kind != JSON_INT)
            return wrong_type(type, value);
        number = json_int(value);
        value_integer_range(type, &low, &high);
        if (number < low || number > high)
            return error_set(VECDB_ERR_TYPE, "%lld does not fit %s (%lld .. %lld)", (long long)number, type_name(type),
                             (long long)low, (long long)high);
        return buf_append(out, &number, type_width(type, 0)); /* little-endian: the low bytes come first */
    }
    case VECDB_TYPE_FLOAT: {
        float number;
        if (kind != JSON_INT && kind != JSON_DOUBLE)
            return wrong_type(type, value);
        number = (float)json_double(value);
        if (!isfinite(number))
            return error_set(VECDB_ERR_TYPE, "%g does not fit FLOAT", json_double(value));
        return buf_append(out, &number, sizeof number);
    }
    case VECDB_TYPE_DOUBLE: {
        double number;
        if (kind != JSON_INT && kind != JSON_DOUBLE)
            return wrong_type(type, value);
        number = json_double(value);
        return buf_append(out, &number, sizeof number);
    }
    case VECDB_TYPE_VARCHAR: {
        size_t length;
        const char *text;
        if (kind != JSON_STRING)
            return wrong_type(type, value);
        text = json_string(value, &length);
        if (length > max_length)
            return error_set(VECDB_ERR_LIMIT, "text of %zu bytes is longer than max_length %u", length, max_length);
        return buf_append(out, text, length);
    }
    default:
        return wrong_type(type, value);
    }
}

static vecdb_status array_from_json(const struct field *field, struct json value, struct buf *out)
{
    size_t count, ends_at;

    if (json_kind(value) != JSON_ARRAY)
        return wrong_type(field->type, value);
    count = json_count(value);
    if (count > field->max_capacity)
        return error_set(VECDB_ERR_LIMIT, "%zu elements are more than max_capacity %u", count, field->max_capacity);
    if (field->element_type == VECDB_TYPE_VARCHAR) {
        uint32_t count32 = (uint32_t)count;
        TRY(buf_append(out, &count32, 4));
        TRY(buf_append(out, NULL, count * 4));
    }
    ends_at = out->size;
    for (size_t i = 0; i < count; i++) {
        TRY(scalar_from_json(field->element_type, field->max_length, json_at(value, i), out));
        if (field->element_type == VECDB_TYPE_VARCHAR)
            store_u32(out->data + ends_at - (count - i) * 4, (uint32_t)(out->size - ends_at));
    }
    return VECDB_OK;
}

vecdb_status value_from_json(const struct field *field, struct json value, struct buf *out)
{
    if (field->type == VECDB_TYPE_JSON)
        return buf_append(out, value.data, value.size);
    if (field->type == VECDB_TYPE_ARRAY)
        return array_from_json(field, value, out);
    return scalar_from_json(field->type, field->max_length, value, out);
}

static vecdb_status print_double(double value, int digits, struct buf *out)
{
    if (!isfinite(value))
        return buf_append_text(out, "null");
    return buf_printf(out, "%.*g", digits, value);
}

static vecdb_status print_scalar(vecdb_type type, const uint8_t *bytes, size_t size, struct buf *out)
{
    switch (type) {
    case VECDB_TYPE_BOOL:
        return buf_append_text(out, *bytes ? "true" : "false");
    case VECDB_TYPE_INT8:
        return buf_printf(out, "%d", (int)(int8_t)*bytes);
    case VECDB_TYPE_INT16:
        return buf_printf(out, "%d", (int)(int16_t)load_u16(bytes));
    case VECDB_TYPE_INT32:
        return buf_printf(out, "%d", (int)(int32_t)load_u32(bytes));
    case VECDB_TYPE_INT64:
        return buf_printf(out, "%lld", (long long)(int64_t)load_u64(bytes));
    case VECDB_TYPE_FLOAT:
        return print_double(float_from_bits(load_u32(bytes)), 9, out);
    case VECDB_TYPE_DOUBLE: {
        double number;
        memcpy(&number, bytes, sizeof number);
        return print_double(number, 17, out);
    }
    default:
        return buf_append_json_string(out, (const char *)bytes, size);
    }
}

static vecdb_status print_array(const struct column *column, const uint8_t *bytes, size_t size, struct buf *out)
{
    bool text = column->element_type == VECDB_TYPE_VARCHAR;
    size_t width = text ? 0 : type_width(column->element_type, 0);
    size_t count = text ? (size ? load_u32(bytes) : 0) : size / width;
    const uint8_t *values = text ? bytes + 4 + count * 4 : bytes;
    size_t start = 0;

    TRY(buf_append_text(out, "["));
    for (size_t i = 0; i < count; i++) {
        size_t end = text ? load_u32(bytes + 4 + i * 4) : start + width;
        if (i)
            TRY(buf_append_text(out, ","));
        TRY(print_scalar(column->element_type, values + start, end - start, out));
        start = end;
    }
    return buf_append_text(out, "]");
}

static vecdb_status print_vector(const struct column *column, const uint8_t *bytes, struct buf *out)
{
    size_t count = column->type == VECDB_TYPE_BINARY_VECTOR ? column->dim / 8 : column->dim;

    TRY(buf_append_text(out, "["));
    for (size_t i = 0; i < count; i++) {
        if (i)
            TRY(buf_append_text(out, ","));
        switch (column->type) {
        case VECDB_TYPE_FLOAT_VECTOR:
            TRY(print_double(float_from_bits(load_u32(bytes + 4 * i)), 9, out));
            break;
        case VECDB_TYPE_FLOAT16_VECTOR:
            TRY(print_double(float_from_f16(load_u16(bytes + 2 * i)), 9, out));
            break;
        case VECDB_TYPE_BFLOAT16_VECTOR:
            TRY(print_double(float_from_bf16(load_u16(bytes + 2 * i)), 9, out));
            break;
        case VECDB_TYPE_INT8_VECTOR:
            TRY(buf_printf(out, "%d", (int)(int8_t)bytes[i]));
            break;
        default:
            TRY(buf_printf(out, "%d", (int)bytes[i]));
        }
    }
    return buf_append_text(out, "]");
}

/* {"3":0.5}: JSON's keys are text. */
static vecdb_status print_sparse(const uint8_t *bytes, size_t size, struct buf *out)
{
    TRY(buf_append_text(out, "{"));
    for (size_t at = 0; at < size; at += sizeof(vecdb_sparse)) {
        TRY(buf_printf(out, "%s\"%u\":", at ? "," : "", load_u32(bytes + at)));
        TRY(print_double(float_from_bits(load_u32(bytes + at + offsetof(vecdb_sparse, value))), 9, out));
    }
    return buf_append_text(out, "}");
}

vecdb_status value_print_json(const struct column *column, size_t row, struct buf *out)
{
    size_t size;
    const uint8_t *bytes;

    if (!column_is_valid(column, row))
        return buf_append_text(out, "null");
    bytes = column_bytes(column, row, &size);
    if (column->type == VECDB_TYPE_JSON)
        return json_print((struct json){bytes, size}, out);
    if (column->type == VECDB_TYPE_ARRAY)
        return print_array(column, bytes, size, out);
    if (type_is_sparse(column->type))
        return print_sparse(bytes, size, out);
    if (type_is_vector(column->type))
        return print_vector(column, bytes, out);
    return print_scalar(column->type, bytes, size, out);
}
