#include "filter/row_value.h"

int64_t row_integer(vecdb_type type, const uint8_t *at)
{
    switch (type) {
    case VECDB_TYPE_INT8:
        return (int8_t)*at;
    case VECDB_TYPE_INT16:
        return (int16_t)load_u16(at);
    case VECDB_TYPE_INT32:
        return (int32_t)load_u32(at);
    case VECDB_TYPE_INT64:
        return (int64_t)load_u64(at);
    default: /* BOOL */
        return *at;
    }
}

double row_real(vecdb_type type, const uint8_t *at)
{
    float narrow;
    double wide;

    if (type == VECDB_TYPE_FLOAT) {
        memcpy(&narrow, at, sizeof narrow);
        return narrow;
    }
    memcpy(&wide, at, sizeof wide);
    return wide;
}

static struct datum fixed_value(vecdb_type type, const uint8_t *at)
{
    if (type == VECDB_TYPE_BOOL)
        return (struct datum){DATUM_BOOL, {.boolean = *at != 0}};
    if (type == VECDB_TYPE_FLOAT || type == VECDB_TYPE_DOUBLE)
        return (struct datum){DATUM_DOUBLE, {.real = row_real(type, at)}};
    return (struct datum){DATUM_INT, {.integer = row_integer(type, at)}};
}

static struct datum text_value(const uint8_t *at, size_t size)
{
    return (struct datum){DATUM_STRING, {.string = {(const char *)at, size}}};
}

struct elements row_elements(const struct column *column, size_t row)
{
    struct elements elements = {.type = column->element_type, .width = type_width(column->element_type, 0)};

    elements.data = column_bytes(column, row, &elements.size);
    if (elements.width)
        elements.count = elements.size / elements.width;
    else if (elements.size >= 4 && load_u32(elements.data) <= (elements.size - 4) / 4)
        elements.count = load_u32(elements.data);
    return elements;
}

struct datum row_element(const struct elements *elements, size_t i)
{
    size_t head, begin, end;

    if (i >= elements->count)
        return (struct datum){DATUM_NONE, {0}};
    if (elements->width)
        return fixed_value(elements->type, elements->data + i * elements->width);
    head = 4 + 4 * elements->count;
    begin = i ? load_u32(elements->data + 4 * i) : 0;
    end = load_u32(elements->data + 4 + 4 * i);
    if (begin > end || end > elements->size - head)
        return (struct datum){DATUM_NONE, {0}};
    return text_value(elements->data + head + begin, end - begin);
}

/* json_member() for the small objects that most are: a look at each key's length, and at its bytes if that fits. */
static struct json member_of(struct json object, const char *key, size_t length)
{
    const uint8_t *ends = object.data + 5, *keys, *values;
    uint32_t count, begin = 0;

    if (json_kind(object) != JSON_OBJECT)
        return (struct json){NULL, 0};
    count = load_u32(object.data + 1);
    if (count > 16)
        return json_member(object, key, length);
    keys = ends + 8 * count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = load_u32(ends + 4 * i);

        if (end - begin == length && memcmp(keys + begin, key, length) == 0) {
            values = keys + load_u32(ends + 4 * (count - 1));
            begin = i ? load_u32(ends + 4 * (count + i - 1)) : 0;
            return (struct json){values + begin, load_u32(ends + 4 * (count + i)) - begin};
        }
        begin = end;
    }
    return (struct json){NULL, 0};
}

struct json row_json(const struct column *column, size_t row, const struct step *steps, size_t count)
{
    struct json value;

    value.data = column_bytes(column, row, &value.size);
    if (!value.size)
        return (struct json){NULL, 0};
    for (size_t i = 0; i < count && value.data; i++) {
        if (steps[i].key)
            value = member_of(value, steps[i].key, steps[i].length);
        else if (json_kind(value) == JSON_ARRAY && steps[i].index < json_count(value))
            value = json_at(value, steps[i].index);
        else
            value.data = NULL;
    }
    return value;
}

struct datum row_value(const struct column *column, const struct operand *operand, size_t row)
{
    static const struct datum none = {DATUM_NONE, {0}};
    struct elements elements;
    const uint8_t *bytes;
    struct json value;
    size_t size;

    if (operand->kind == OPERAND_CONSTANT)
        return operand->constant;
    if (!column_is_valid(column, row))
        return none;
    if (column->type == VECDB_TYPE_JSON) {
        value = row_json(column, row, operand->steps, operand->step_count);
        if (!json_exists(value))
            return none;
        if (operand->kind != OPERAND_LENGTH)
            return datum_from_json(value);
        if (json_kind(value) != JSON_ARRAY)
            return none;
        return (struct datum){DATUM_INT, {.integer = (int64_t)json_count(value)}};
    }
    if (column->type == VECDB_TYPE_ARRAY) {
        elements = row_elements(column, row);
        if (operand->kind == OPERAND_LENGTH)
            return (struct datum){DATUM_INT, {.integer = (int64_t)elements.count}};
        return operand->step_count ? row_element(&elements, operand->steps[0].index) : none;
    }
    bytes = column_bytes(column, row, &size);
    return column->width ? fixed_value(column->type, bytes) : text_value(bytes, size);
}
