/* Indexes on scalar fields, array elements and JSON paths: the distinct values in order, and the rows of each.
 *
 *   INVERTED  any scalar, ARRAY elements, a JSON path
 *   BITMAP    the same, for few distinct values: values that many rows have get a bitmap besides their list
 *   STL_SORT  numbers and VARCHAR        TRIE  VARCHAR
 *   NGRAM     VARCHAR or a JSON path: every run of min_gram .. max_gram characters, to narrow down `like '%part%'`
 *   AUTOINDEX becomes BITMAP for BOOL and up to bitmapCardinalityLimit (100) values, else STL_SORT for numbers, INVERTED
 *
 * All but NGRAM share one form, a sorted dictionary with lists of rows, and answer equality, `in`, ranges, prefixes,
 * array_contains..., and patterns by looking at the dictionary alone. The bytes are the same in memory and in a file, so
 * opening is checking. Indexed and scanned evaluation find the same rows.
 */
#ifndef VECDB_FILTER_SCALAR_INDEX_H
#define VECDB_FILTER_SCALAR_INDEX_H

#include "filter/filter.h"

struct scalar_index;
struct condition;

/** The name as this library writes it, "BITMAP" for "bitmap"; NULL when no scalar index has it. */
const char *scalar_index_find(const char *name);

/** A parameter of a kind; `choices` for words, otherwise a number from low to high. */
struct scalar_param {
    const char *kind, *name, *meaning, *choices;
    double low, high, default_value;
};
/** The i-th, over all kinds; false past the last. */
bool scalar_index_param_at(size_t i, struct scalar_param *out);
/** Parameters as one JSON text, terminated, in one order; "" when there are none. Their names are checked, values are not.
 * @param path  json_path when the parameters have none; or NULL. */
vecdb_status scalar_index_params(const char *kind, const char *params, const char *path, struct buf *out);

#define SCALAR_INDEX_FORMAT 1 /* of the saved bytes */

/**
 * Whether an index of this kind fits the field, and its parameters are right.
 * @param kind    "INVERTED", ..., "AUTOINDEX"
 * @param params  "name=value, ..." or a JSON object, or NULL. json_path: `meta["a"]["b"]`, or a dynamic key; json_cast_type: bool double varchar
 *                array_bool array_double array_varchar JSON (the default); min_gram, max_gram; bitmapCardinalityLimit.
 */
vecdb_status scalar_index_check_params(const struct schema *schema, size_t field, const char *kind, const char *params);
/** The same, and build it over all rows of a source. */
vecdb_status scalar_index_build(const struct schema *schema, size_t field, const char *kind, const char *params,
                                const struct filter_source *source, struct scalar_index **out);
/** Append the index as bytes. */
vecdb_status scalar_index_save(const struct scalar_index *index, struct buf *out);
/** Check every number in the bytes, which stay the caller's and must outlive the index, 8-byte aligned. VECDB_ERR_CORRUPT. */
vecdb_status scalar_index_open(const uint8_t *data, size_t size, struct scalar_index **out);
void scalar_index_free(struct scalar_index *index);
/** Every invariant again; what is wrong is in the message. */
vecdb_status scalar_index_check(const struct scalar_index *index);

/** "BITMAP": the kind it is, AUTOINDEX having chosen. */
const char *scalar_index_kind(const struct scalar_index *index);
size_t scalar_index_rows(const struct scalar_index *index);
/** Distinct values; bytes in all. */
size_t scalar_index_keys(const struct scalar_index *index);
size_t scalar_index_size(const struct scalar_index *index);

/* ---- For the planner ---- */

struct scalar_lookup {
    bool exact;      /* the rows found are the answer; otherwise they include it, and remain to be tested */
    uint64_t rows;   /* found, or about so many */
    double cost;     /* nanoseconds or so */
};
/** Whether the index can answer a condition, and at what cost. Rows are those of TRUE, negation included. */
bool scalar_index_serves(const struct scalar_index *index, const struct condition *condition,
                         struct scalar_lookup *out);
/** Set the bits of the rows. `bits` has room for all rows and is overwritten. */
vecdb_status scalar_index_lookup(const struct scalar_index *index, const struct condition *condition, uint64_t *bits);

/* ---- Statistics ---- */

/**
 * What is in a field: {"rows": n, "null_count": n, "distinct_count": n, "min": v, "max": v, "unique_values": [...]}.
 * distinct_count and unique_values are exact; the latter are left out when there are more than `max_unique`. ARRAY fields:
 * of their elements. JSON fields: null_count only, but for values of a json_path; min and max are of its numbers if it has
 * any, then of its texts. Vectors: null_count only.
 * @param params  NULL, or with json_path, as scalar_index_check_params() has it.
 * @param rows    of each source: a bitmap of the rows that count, NULL for all; or NULL.
 */
vecdb_status scalar_statistics(const struct schema *schema, size_t field, const char *params, size_t max_unique,
                               const struct filter_source *sources, const uint64_t *const *rows, size_t source_count,
                               struct buf *out);

#endif
