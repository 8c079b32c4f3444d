#include "filter/datum.h"

#include <math.h>
#include <string.h>

unsigned datum_class(const struct datum *datum)
{
    switch (datum->kind) {
    case DATUM_BOOL:
        return CLASS_BOOL;
    case DATUM_INT:
    case DATUM_DOUBLE:
        return CLASS_NUMBER;
    case DATUM_STRING:
        return CLASS_STRING;
    case DATUM_JSON:
        return json_kind(datum->json) == JSON_ARRAY ? CLASS_ARRAY : CLASS_OBJECT;
    default:
        return 0;
    }
}

int compare_int_double(int64_t a, double b)
{
    int64_t whole;
    double fraction;

    if (isnan(b))
        return DATUM_UNORDERED;
    if (b >= 0x1p63)
        return -1;
    if (b < -0x1p63)
        return 1;
    whole = (int64_t)b; /* towards zero; the rest is exact */
    fraction = b - (double)whole;
    if (a != whole)
        return a < whole ? -1 : 1;
    return fraction > 0 ? -1 : fraction < 0;
}

static int compare_doubles(double a, double b)
{
    return isnan(a) || isnan(b) ? DATUM_UNORDERED : (a > b) - (a < b);
}

int compare_strings(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t n = a_length < b_length ? a_length : b_length;
    int order = n ? memcmp(a, b, n) : 0;

    return order ? (order < 0 ? -1 : 1) : (a_length > b_length) - (a_length < b_length);
}

int datum_compare(const struct datum *a, const struct datum *b)
{
    if (a->kind == DATUM_STRING)
        return compare_strings(a->string.data, a->string.length, b->string.data, b->string.length);
    if (a->kind == DATUM_INT && b->kind == DATUM_INT)
        return (a->integer > b->integer) - (a->integer < b->integer);
    if (a->kind == DATUM_INT)
        return compare_int_double(a->integer, b->real);
    if (b->kind == DATUM_INT) {
        int order = compare_int_double(b->integer, a->real);

        return order == DATUM_UNORDERED ? order : -order;
    }
    return compare_doubles(a->real, b->real);
}

static bool scalars_equal(struct json a, struct json b)
{
    struct datum x, y;

    if (json_kind(a) == JSON_NULL || json_kind(b) == JSON_NULL)
        return json_kind(a) == json_kind(b);
    x = datum_from_json(a);
    y = datum_from_json(b);
    return datum_class(&x) == datum_class(&y) && datum_equal(&x, &y);
}

bool json_equal(struct json a, struct json b)
{
    struct level {
        struct json a, b;
        size_t next;
    } levels[JSON_MAX_DEPTH + 1];
    size_t depth = 0;

    for (;;) {
        enum json_kind kind = json_kind(a);

        if (kind == JSON_ARRAY || kind == JSON_OBJECT) {
            size_t count = json_count(a);

            if (json_kind(b) != kind || json_count(b) != count || depth == JSON_MAX_DEPTH)
                return false;
            for (size_t i = 0; kind == JSON_OBJECT && i < count; i++) {
                size_t n, m;
                const char *x = json_key(a, i, &n), *y = json_key(b, i, &m);

                if (n != m || memcmp(x, y, n) != 0)
                    return false;
            }
            levels[depth++] = (struct level){a, b, 0};
        } else if (json_kind(b) == JSON_ARRAY || json_kind(b) == JSON_OBJECT || !scalars_equal(a, b)) {
            return false;
        }
        while (depth && levels[depth - 1].next == json_count(levels[depth - 1].a))
            depth--;
        if (!depth)
            return true;
        a = json_at(levels[depth - 1].a, levels[depth - 1].next);
        b = json_at(levels[depth - 1].b, levels[depth - 1].next++);
    }
}

bool datum_equal(const struct datum *a, const struct datum *b)
{
    switch (a->kind) {
    case DATUM_BOOL:
        return a->boolean == b->boolean;
    case DATUM_STRING:
        return a->string.length == b->string.length && memcmp(a->string.data, b->string.data, a->string.length) == 0;
    case DATUM_JSON:
        return json_equal(a->json, b->json);
    case DATUM_INT:
    case DATUM_DOUBLE:
        return datum_compare(a, b) == 0;
    default:
        return false;
    }
}

struct datum datum_from_json(struct json value)
{
    struct datum out = {DATUM_NONE, {0}};
    size_t length;

    switch (json_kind(value)) {
    case JSON_NULL:
        break;
    case JSON_FALSE:
    case JSON_TRUE:
        out.kind = DATUM_BOOL;
        out.boolean = json_kind(value) == JSON_TRUE;
        break;
    case JSON_INT:
        out.kind = DATUM_INT;
        out.integer = json_int(value);
        break;
    case JSON_DOUBLE:
        out.kind = DATUM_DOUBLE;
        out.real = json_double(value);
        break;
    case JSON_STRING:
        out.kind = DATUM_STRING;
        out.string.data = json_string(value, &length);
        out.string.length = length;
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        out.kind = DATUM_JSON;
        out.json = value;
        break;
    }
    return out;
}

vecdb_status datum_put_json(const struct datum *datum, struct buf *out)
{
    switch (datum->kind) {
    case DATUM_BOOL:
        return json_put_bool(out, datum->boolean);
    case DATUM_INT:
        return json_put_int(out, datum->integer);
    case DATUM_DOUBLE:
        return json_put_double(out, datum->real);
    case DATUM_STRING:
        return json_put_string(out, datum->string.data, datum->string.length);
    case DATUM_JSON:
        return buf_append(out, datum->json.data, datum->json.size);
    default:
        return json_put_null(out);
    }
}

vecdb_status datum_print(const struct datum *datum, struct buf *out)
{
    switch (datum->kind) {
    case DATUM_BOOL:
        return buf_append_text(out, datum->boolean ? "true" : "false");
    case DATUM_INT:
        return buf_printf(out, "%lld", (long long)datum->integer);
    case DATUM_DOUBLE:
        if (!isfinite(datum->real))
            return buf_append_text(out, isnan(datum->real) ? "nan" : datum->real < 0 ? "-inf" : "inf");
        return json_print_double(datum->real, out);
    case DATUM_STRING:
        return buf_append_json_string(out, datum->string.data, datum->string.length);
    case DATUM_JSON:
        return json_print(datum->json, out);
    case DATUM_LIST:
        TRY(buf_append_text(out, "["));
        for (size_t i = 0; i < datum->list.count && i < 8; i++) {
            TRY(buf_append_text(out, i ? ", " : ""));
            TRY(datum_print(&datum->list.items[i], out)); /* lists in lists are DATUM_JSON: one level */
        }
        if (datum->list.count > 8)
            TRY(buf_printf(out, ", ... %zu in all", datum->list.count));
        return buf_append_text(out, "]");
    case DATUM_NONE:
        break;
    }
    return buf_append_text(out, "null");
}

struct datum datum_canonical(struct datum number)
{
    if (number.kind == DATUM_DOUBLE && number.real >= -0x1p63 && number.real < 0x1p63 &&
        (double)(int64_t)number.real == number.real)
        return (struct datum){DATUM_INT, {.integer = (int64_t)number.real}};
    return number;
}
