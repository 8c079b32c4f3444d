/* One value while a filter runs: a constant, or what a row has. And how two compare. */
#ifndef VECDB_FILTER_DATUM_H
#define VECDB_FILTER_DATUM_H

#include "schema/json.h"

enum datum_kind {
    DATUM_NONE, /* no value: NULL, a path that leads nowhere, an overflow */
    DATUM_BOOL,
    DATUM_INT,
    DATUM_DOUBLE,
    DATUM_STRING,
    DATUM_JSON, /* an array or object */
    DATUM_LIST  /* constants only: the list of an `in`, of json_contains_all, ... */
};

struct datum {
    enum datum_kind kind;
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct {
            const char *data;
            size_t length;
        } string;
        struct json json;
        struct {
            const struct datum *items;
            size_t count;
        } list;
    };
};

/** What can be compared with what; a bit each. */
enum datum_class {
    CLASS_BOOL = 1,
    CLASS_NUMBER = 2,
    CLASS_STRING = 4,
    CLASS_ARRAY = 8,
    CLASS_OBJECT = 16
};
/** 0 for NONE and LIST. */
unsigned datum_class(const struct datum *datum);

/** Less than 0, 0, more than 0; or DATUM_UNORDERED when a NaN is in it. Exact. */
#define DATUM_UNORDERED 2
int compare_int_double(int64_t a, double b);
int compare_strings(const char *a, size_t a_length, const char *b, size_t b_length);
/** Two of one class that has an order (numbers, strings). */
int datum_compare(const struct datum *a, const struct datum *b);
/** Two of one class, any. */
bool datum_equal(const struct datum *a, const struct datum *b);
/** Deep, numbers by value; iterative. */
bool json_equal(struct json a, struct json b);

/** A JSON value; null gives NONE. */
struct datum datum_from_json(struct json value);
/** Append the value in JSON; NONE is null. */
vecdb_status datum_put_json(const struct datum *datum, struct buf *out);
/** Append the value as filters write it. */
vecdb_status datum_print(const struct datum *datum, struct buf *out);

/** A double that is an integer in the range of int64 becomes one: one form for equal numbers. */
struct datum datum_canonical(struct datum number);

#endif
