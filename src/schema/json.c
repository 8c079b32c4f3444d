/* Text is parsed by jansson; the rest here turns its tree into our flat form and reads that. */

/* jansson uses some of our names for things of its own. */
#define JSON_OBJECT JANSSON_OBJECT
#define JSON_ARRAY JANSSON_ARRAY
#define JSON_STRING JANSSON_STRING
#define JSON_INTEGER JANSSON_INTEGER
#define JSON_REAL JANSSON_REAL
#define JSON_TRUE JANSSON_TRUE
#define JSON_FALSE JANSSON_FALSE
#define JSON_NULL JANSSON_NULL
#define json_string jansson_string
#include <jansson.h>
#undef JSON_OBJECT
#undef JSON_ARRAY
#undef JSON_STRING
#undef JSON_INTEGER
#undef JSON_REAL
#undef JSON_TRUE
#undef JSON_FALSE
#undef JSON_NULL
#undef json_string

#include "schema/json.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_TEXT ((size_t)256 << 20) /* so that sizes of the parsed form, at most 6.5 times as long, fit 32 bits */

/* ---- Reading ---- */

int64_t json_int(struct json value)
{
    return (int64_t)load_u64(value.data + 1);
}

double json_double(struct json value)
{
    double real;

    if (json_kind(value) == JSON_INT)
        return (double)json_int(value);
    memcpy(&real, value.data + 1, sizeof real);
    return real;
}

const char *json_string(struct json value, size_t *length)
{
    *length = load_u32(value.data + 1);
    return (const char *)value.data + 5;
}

size_t json_count(struct json value)
{
    return load_u32(value.data + 1);
}

struct json json_at(struct json value, size_t i)
{
    size_t count = json_count(value), begin, end, keys = 0;
    const uint8_t *ends = value.data + 5, *first;

    if (json_kind(value) == JSON_OBJECT) {
        keys = count ? load_u32(ends + (count - 1) * 4) : 0;
        ends += count * 4;
    }
    first = ends + count * 4 + keys;
    begin = i ? load_u32(ends + (i - 1) * 4) : 0;
    end = load_u32(ends + i * 4);
    return (struct json){first + begin, end - begin};
}

const char *json_key(struct json value, size_t i, size_t *length)
{
    const uint8_t *ends = value.data + 5;
    size_t begin = i ? load_u32(ends + (i - 1) * 4) : 0;

    *length = load_u32(ends + i * 4) - begin;
    return (const char *)ends + json_count(value) * 8 + begin;
}

static int compare_bytes(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t n = a_length < b_length ? a_length : b_length;
    int order = n ? memcmp(a, b, n) : 0;

    return order ? order : (a_length > b_length) - (a_length < b_length);
}

struct json json_member(struct json value, const char *key, size_t length)
{
    size_t low = 0, high;

    if (json_kind(value) != JSON_OBJECT)
        return (struct json){NULL, 0};
    high = json_count(value);
    while (low < high) {
        size_t middle = low + (high - low) / 2, n;
        const char *at = json_key(value, middle, &n);
        int order = compare_bytes(at, n, key, length);

        if (order == 0)
            return json_at(value, middle);
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return (struct json){NULL, 0};
}

/* ---- Building ---- */

vecdb_status json_put_null(struct buf *out)
{
    return buf_append(out, &(uint8_t){JSON_NULL}, 1);
}

vecdb_status json_put_bool(struct buf *out, bool value)
{
    return buf_append(out, &(uint8_t){value ? JSON_TRUE : JSON_FALSE}, 1);
}

vecdb_status json_put_int(struct buf *out, int64_t value)
{
    uint8_t bytes[9] = {JSON_INT};

    store_u64(bytes + 1, (uint64_t)value);
    return buf_append(out, bytes, sizeof bytes);
}

vecdb_status json_put_double(struct buf *out, double value)
{
    uint8_t bytes[9] = {JSON_DOUBLE};

    if (!isfinite(value))
        return error_set(VECDB_ERR_INVALID, "JSON: %s is no number that JSON has", isnan(value) ? "NaN" : "infinity");
    memcpy(bytes + 1, &value, sizeof value);
    return buf_append(out, bytes, sizeof bytes);
}

vecdb_status json_put_string(struct buf *out, const char *text, size_t length)
{
    uint8_t head[5] = {JSON_STRING};

    if (length > MAX_TEXT)
        return error_set(VECDB_ERR_LIMIT, "JSON: a string of %zu bytes is longer than %zu", length, MAX_TEXT);
    TRY(buf_reserve(out, sizeof head + length));
    store_u32(head + 1, (uint32_t)length);
    TRY(buf_append(out, head, sizeof head));
    return buf_append(out, text, length);
}

vecdb_status json_put_array(struct buf *out, size_t count, const struct json *values)
{
    size_t total = 0, start = out->size;

    for (size_t i = 0; i < count; i++)
        total += values[i].size;
    if (count > UINT32_MAX / 4 || total > UINT32_MAX)
        return error_set(VECDB_ERR_LIMIT, "JSON: an array of %zu values in %zu bytes is too large", count, total);
    TRY(buf_reserve(out, 5 + 4 * count + total));
    out->data[start] = JSON_ARRAY;
    store_u32(out->data + start + 1, (uint32_t)count);
    out->size = start + 5 + 4 * count;
    total = 0;
    for (size_t i = 0; i < count; i++) {
        total += values[i].size;
        store_u32(out->data + start + 5 + 4 * i, (uint32_t)total);
        TRY(buf_append(out, values[i].data, values[i].size));
    }
    return VECDB_OK;
}

/* A member on its way into an object; `at` is its place among those given. */
struct member {
    const char *key;
    size_t length, at;
    json_t *node;
};

static int compare_members(const void *left, const void *right)
{
    const struct member *a = left, *b = right;
    int order = compare_bytes(a->key, a->length, b->key, b->length);

    return order ? order : (a->at > b->at) - (a->at < b->at);
}

/* Appends an object's head and keys; the ends of its values are for the caller to store, from *ends on. */
static vecdb_status put_object_head(struct buf *out, const struct member *members, size_t count, size_t *ends)
{
    size_t start = out->size, keys = 0;

    for (size_t i = 0; i < count; i++)
        keys += members[i].length;
    if (count > UINT32_MAX / 8 || keys > UINT32_MAX)
        return error_set(VECDB_ERR_LIMIT, "JSON: an object of %zu members with %zu bytes of keys is too large", count,
                         keys);
    TRY(buf_reserve(out, 5 + 8 * count + keys));
    out->data[start] = JSON_OBJECT;
    store_u32(out->data + start + 1, (uint32_t)count);
    out->size = start + 5 + 8 * count;
    memset(out->data + start + 5, 0, 8 * count);
    keys = 0;
    for (size_t i = 0; i < count; i++) {
        keys += members[i].length;
        store_u32(out->data + start + 5 + 4 * i, (uint32_t)keys);
        TRY(buf_append(out, members[i].key, members[i].length));
    }
    *ends = start + 5 + 4 * count;
    return VECDB_OK;
}

vecdb_status json_put_object(struct buf *out, size_t count, const vecdb_string *keys, const struct json *values)
{
    struct member *members = mem_array_alloc(count ? count : 1, sizeof *members);
    size_t start = out->size, ends = 0, kept = 0, total = 0;
    vecdb_status status;

    if (!members)
        return error_nomem("JSON object");
    for (size_t i = 0; i < count; i++)
        members[i] = (struct member){keys[i].data, keys[i].length, i, NULL};
    qsort(members, count, sizeof *members, compare_members);
    for (size_t i = 0; i < count; i++) {
        bool again = i + 1 < count && compare_bytes(members[i].key, members[i].length, members[i + 1].key,
                                                    members[i + 1].length) == 0;
        if (!again)
            members[kept++] = members[i];
    }
    status = put_object_head(out, members, kept, &ends);
    for (size_t i = 0; i < kept && status == VECDB_OK; i++) {
        struct json value = values[members[i].at];

        total += value.size;
        if (total > UINT32_MAX)
            status = error_set(VECDB_ERR_LIMIT, "JSON: an object of %zu bytes is too large", total);
        else if ((status = buf_append(out, value.data, value.size)) == VECDB_OK)
            store_u32(out->data + ends + 4 * i, (uint32_t)total);
    }
    if (status != VECDB_OK)
        out->size = start;
    mem_free(members);
    return status;
}

/* ---- Parsing ---- */

/* What the text must go through before jansson may see it: nesting is counted, because jansson recurses, and integers
 * beyond 64 bits, which it refuses, become reals by a ".0" behind them. It need not notice other mistakes. */
struct scan {
    struct buf text;   /* the text with those changes; empty while there are none */
    struct buf places; /* size_t each: where in `text` a ".0" begins */
};

static bool is_big(const char *digits, size_t count, bool negative)
{
    static const char limit[] = "9223372036854775808";

    while (count && *digits == '0')
        digits++, count--;
    if (count != sizeof limit - 1)
        return count > sizeof limit - 1;
    return memcmp(digits, limit, count) > (negative ? 0 : -1);
}

static vecdb_status scan_text(const char *text, size_t length, struct scan *scan)
{
    size_t depth = 0, copied = 0;
    const char *zero = length ? memchr(text, 0, length) : NULL;

    if (zero) /* jansson would take it for the end */
        return error_set(VECDB_ERR_INVALID, "JSON: a zero byte (at byte %zu)", (size_t)(zero - text));
    for (size_t i = 0; i < length; i++) {
        char c = text[i];

        if (c == '"') {
            for (i++; i < length && text[i] != '"'; i++)
                i += text[i] == '\\';
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_MAX_DEPTH)
                return error_set(VECDB_ERR_LIMIT, "JSON: nested deeper than %d at byte %zu", JSON_MAX_DEPTH, i);
        } else if (c == ']' || c == '}') {
            depth -= depth > 0;
        } else if (c == '-' || (c >= '0' && c <= '9')) {
            size_t first = i + (c == '-'), end = first;

            while (end < length && text[end] >= '0' && text[end] <= '9')
                end++;
            i = end - (end > i);
            if (end < length && (text[end] == '.' || text[end] == 'e' || text[end] == 'E')) {
                for (end++; end < length && (strchr("+-eE", text[end]) || (text[end] >= '0' && text[end] <= '9'));)
                    end++;
                i = end - 1;
            } else if (is_big(text + first, end - first, c == '-')) {
                size_t place;

                TRY(buf_append(&scan->text, text + copied, end - copied));
                place = scan->text.size;
                TRY(buf_append(&scan->places, &place, sizeof place));
                TRY(buf_append(&scan->text, ".0", 2));
                copied = end;
            }
        }
    }
    return copied ? buf_append(&scan->text, text + copied, length - copied) : VECDB_OK;
}

/* Recursion is bounded by JSON_MAX_DEPTH, which scan_text() has seen to. */
static vecdb_status put_node(struct buf *out, json_t *node);

static vecdb_status put_array_node(struct buf *out, json_t *node)
{
    size_t count = json_array_size(node), start = out->size;

    TRY(buf_append(out, NULL, 5 + 4 * count));
    out->data[start] = JSON_ARRAY;
    store_u32(out->data + start + 1, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        TRY(put_node(out, json_array_get(node, i)));
        store_u32(out->data + start + 5 + 4 * i, (uint32_t)(out->size - (start + 5 + 4 * count)));
    }
    return VECDB_OK;
}

static vecdb_status put_object_node(struct buf *out, json_t *node)
{
    size_t count = json_object_size(node), n = 0, ends, first;
    struct member few[16], *members = count <= 16 ? few : mem_array_alloc(count, sizeof *members);
    vecdb_status status;

    if (!members)
        return error_nomem("JSON object");
    for (void *at = json_object_iter(node); at; at = json_object_iter_next(node, at), n++)
        members[n] = (struct member){json_object_iter_key(at), json_object_iter_key_len(at), n,
                                     json_object_iter_value(at)};
    qsort(members, count, sizeof *members, compare_members);
    status = put_object_head(out, members, count, &ends);
    first = out->size;
    for (size_t i = 0; i < count && status == VECDB_OK; i++)
        if ((status = put_node(out, members[i].node)) == VECDB_OK)
            store_u32(out->data + ends + 4 * i, (uint32_t)(out->size - first));
    if (members != few)
        mem_free(members);
    return status;
}

static vecdb_status put_node(struct buf *out, json_t *node)
{
    switch (json_typeof(node)) {
    case JANSSON_OBJECT:
        return put_object_node(out, node);
    case JANSSON_ARRAY:
        return put_array_node(out, node);
    case JANSSON_STRING:
        return json_put_string(out, json_string_value(node), json_string_length(node));
    case JANSSON_INTEGER:
        return json_put_int(out, json_integer_value(node));
    case JANSSON_REAL:
        return json_put_double(out, json_real_value(node));
    case JANSSON_TRUE:
    case JANSSON_FALSE:
        return json_put_bool(out, json_typeof(node) == JANSSON_TRUE);
    case JANSSON_NULL:
        break;
    }
    return json_put_null(out);
}

static vecdb_status parse_error(const json_error_t *error, const struct scan *scan)
{
    size_t position = error->position < 0 ? 0 : (size_t)error->position, moved = 0;

    if (json_error_code(error) == json_error_out_of_memory)
        return error_nomem("JSON text");
    for (size_t i = 0; i < scan->places.size / sizeof(size_t); i++) {
        size_t place;

        memcpy(&place, scan->places.data + i * sizeof place, sizeof place);
        moved += place < position ? 2 : 0;
    }
    return error_set(VECDB_ERR_INVALID, "JSON: %s (at byte %zu)", error->text, position > moved ? position - moved : 0);
}

vecdb_status json_parse(const char *text, size_t length, struct buf *out)
{
    struct scan scan = {{0}, {0}};
    size_t start = out->size;
    json_error_t error;
    json_t *root = NULL;
    vecdb_status status;

    if (length > MAX_TEXT)
        return error_set(VECDB_ERR_LIMIT, "JSON: a text of %zu bytes is longer than %zu", length, MAX_TEXT);
    status = scan_text(text, length, &scan);
    if (status == VECDB_OK) {
        bool changed = scan.text.size > 0;

        /* jansson takes NULL for a mistake of ours, not for an empty text */
        root = json_loadb(changed ? (const char *)scan.text.data : length ? text : "", changed ? scan.text.size : length,
                          JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        status = root ? put_node(out, root) : parse_error(&error, &scan);
    }
    if (status != VECDB_OK)
        out->size = start;
    json_decref(root);
    buf_deinit(&scan.text);
    buf_deinit(&scan.places);
    return status;
}

/* ---- Printing and checking: bounded stacks of their own ---- */

vecdb_status json_print_double(double value, struct buf *out)
{
    char text[40];
    locale_t before = uselocale(newlocale(LC_ALL_MASK, "C", (locale_t)0)); /* the C locale is static: nothing to free */

    for (int digits = 15; digits <= 17; digits++) { /* the fewest that read back as the same number */
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    uselocale(before);
    if (!strpbrk(text, ".en"))
        strcat(text, ".0");
    return buf_append_text(out, text);
}

vecdb_status json_print(struct json value, struct buf *out)
{
    struct level {
        struct json value;
        size_t next;
    } levels[JSON_MAX_DEPTH + 1];
    size_t depth = 0, start = out->size;
    vecdb_status status = VECDB_OK;

    for (;;) {
        size_t length;
        const char *text;

        switch (json_kind(value)) {
        case JSON_NULL:
            status = buf_append_text(out, "null");
            break;
        case JSON_FALSE:
        case JSON_TRUE:
            status = buf_append_text(out, json_kind(value) == JSON_TRUE ? "true" : "false");
            break;
        case JSON_INT:
            status = buf_printf(out, "%lld", (long long)json_int(value));
            break;
        case JSON_DOUBLE:
            status = json_print_double(json_double(value), out);
            break;
        case JSON_STRING:
            text = json_string(value, &length);
            status = buf_append_json_string(out, text, length);
            break;
        case JSON_ARRAY:
        case JSON_OBJECT:
            if (depth == JSON_MAX_DEPTH) {
                status = error_set(VECDB_ERR_LIMIT, "JSON: nested deeper than %d", JSON_MAX_DEPTH);
                break;
            }
            levels[depth++] = (struct level){value, 0};
            status = buf_append_text(out, json_kind(value) == JSON_ARRAY ? "[" : "{");
            break;
        }
        while (status == VECDB_OK && depth && levels[depth - 1].next == json_count(levels[depth - 1].value)) {
            depth--;
            status = buf_append_text(out, json_kind(levels[depth].value) == JSON_ARRAY ? "]" : "}");
        }
        if (status != VECDB_OK || !depth)
            break;
        struct level *top = &levels[depth - 1];
        if (top->next)
            status = buf_append_text(out, ", ");
        if (status == VECDB_OK && json_kind(top->value) == JSON_OBJECT) {
            text = json_key(top->value, top->next, &length);
            status = buf_append_json_string(out, text, length);
            if (status == VECDB_OK)
                status = buf_append_text(out, ": ");
        }
        if (status != VECDB_OK)
            break;
        value = json_at(top->value, top->next++);
    }
    if (status != VECDB_OK)
        out->size = start;
    return status;
}

/* Whether the head of an array or object lies within its bytes and its ends ascend and fill it; keys in order. */
static bool check_head(const uint8_t *data, size_t size)
{
    bool object = data[0] == JSON_OBJECT;
    struct json value = {data, size};
    size_t count, ends, last = 0, keys = 0;

    if (size < 5)
        return false;
    count = json_count(value);
    if (count > (size - 5) / (object ? 8 : 4))
        return false;
    ends = 5;
    if (object) {
        size_t room = size - 5 - 8 * count;

        for (size_t i = 0; i < count; i++) {
            size_t end = load_u32(data + ends + 4 * i);

            if (end < keys || end > room)
                return false;
            if (!utf8_valid((const char *)data + 5 + 8 * count + keys, end - keys, NULL))
                return false;
            if (i) {
                size_t n, before;
                const char *a = json_key(value, i - 1, &before), *b = json_key(value, i, &n);

                if (compare_bytes(a, before, b, n) >= 0)
                    return false;
            }
            keys = end;
        }
        ends += 4 * count;
    }
    for (size_t i = 0; i < count; i++) {
        size_t end = load_u32(data + ends + 4 * i);

        if (end <= last)
            return false;
        last = end;
    }
    return last == size - (ends + 4 * count) - keys;
}

bool json_check(const uint8_t *data, size_t size)
{
    struct level {
        struct json value;
        size_t next;
    } levels[JSON_MAX_DEPTH + 1];
    size_t depth = 0;
    struct json value = {data, size};

    for (;;) {
        double real;

        if (!value.size)
            return false;
        switch (value.data[0]) {
        case JSON_NULL:
        case JSON_FALSE:
        case JSON_TRUE:
            if (value.size != 1)
                return false;
            break;
        case JSON_INT:
            if (value.size != 9)
                return false;
            break;
        case JSON_DOUBLE:
            if (value.size != 9)
                return false;
            memcpy(&real, value.data + 1, sizeof real);
            if (!isfinite(real))
                return false;
            break;
        case JSON_STRING:
            if (value.size < 5 || load_u32(value.data + 1) != value.size - 5 ||
                !utf8_valid((const char *)value.data + 5, value.size - 5, NULL))
                return false;
            break;
        case JSON_ARRAY:
        case JSON_OBJECT:
            if (depth == JSON_MAX_DEPTH || !check_head(value.data, value.size))
                return false;
            levels[depth++] = (struct level){value, 0};
            break;
        default:
            return false;
        }
        while (depth && levels[depth - 1].next == json_count(levels[depth - 1].value))
            depth--;
        if (!depth)
            return true;
        value = json_at(levels[depth - 1].value, levels[depth - 1].next++);
    }
}
