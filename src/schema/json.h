/* JSON values, parsed once into a form that paths read without parsing again.
 *
 * The parsed form of a value, little-endian, unaligned, self-contained:
 *   u8 kind  then
 *   NULL, FALSE, TRUE   nothing
 *   INT    i64          integers that fit
 *   DOUBLE f64
 *   STRING u32 length, bytes (UTF-8)
 *   ARRAY  u32 count, u32 end[count], values      end: where the i-th value ends, from the first value's start
 *   OBJECT u32 count, u32 key_end[count], u32 value_end[count], keys, values
 *          keys sorted by bytes, without duplicates (the last one given wins)
 */
#ifndef VECDB_SCHEMA_JSON_H
#define VECDB_SCHEMA_JSON_H

#include "base/buf.h"

enum json_kind {
    JSON_NULL = 0,
    JSON_FALSE = 1,
    JSON_TRUE = 2,
    JSON_INT = 3,
    JSON_DOUBLE = 4,
    JSON_STRING = 5,
    JSON_ARRAY = 6,
    JSON_OBJECT = 7
};

#define JSON_MAX_DEPTH 64

/** A value inside a parsed form. `data` NULL: there is none. */
struct json {
    const uint8_t *data;
    size_t size;
};

/** Parse text and append its parsed form. VECDB_ERR_INVALID with the position of the mistake; VECDB_ERR_LIMIT (depth). */
vecdb_status json_parse(const char *text, size_t length, struct buf *out);
/** Append the text of a parsed value. */
vecdb_status json_print(struct json value, struct buf *out);
/** Append a finite number as JSON text that reads back as the same double, whatever the locale. */
vecdb_status json_print_double(double value, struct buf *out);
/** Whether bytes are one parsed value and nothing else, with every number in range (for bytes that come from a file). */
bool json_check(const uint8_t *data, size_t size);

static inline enum json_kind json_kind(struct json value) { return (enum json_kind)value.data[0]; }
static inline bool json_exists(struct json value) { return value.data != NULL; }
int64_t json_int(struct json value);      /* kind INT */
double json_double(struct json value);    /* kind DOUBLE or INT */
const char *json_string(struct json value, size_t *length); /* kind STRING */
size_t json_count(struct json value);     /* kind ARRAY or OBJECT */
struct json json_at(struct json value, size_t i);           /* kind ARRAY; of an OBJECT, the i-th value */
const char *json_key(struct json value, size_t i, size_t *length);
/** Member of an object by key; no value when missing or not an object. */
struct json json_member(struct json value, const char *key, size_t length);

/** Building a parsed form piece by piece. */
vecdb_status json_put_null(struct buf *out);
vecdb_status json_put_bool(struct buf *out, bool value);
vecdb_status json_put_int(struct buf *out, int64_t value);
vecdb_status json_put_double(struct buf *out, double value);
vecdb_status json_put_string(struct buf *out, const char *text, size_t length);
vecdb_status json_put_array(struct buf *out, size_t count, const struct json *values);
/** An object from parsed members; keys in any order, the last of equal ones wins. */
vecdb_status json_put_object(struct buf *out, size_t count, const vecdb_string *keys, const struct json *values);

#endif
