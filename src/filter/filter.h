/* Filters: expression text and a schema in, a bitmap of matching rows out. Knows columns, not segments: whoever has rows
 * lends them as a `struct filter_source`. docs/filter.md is the language. */
#ifndef VECDB_FILTER_FILTER_H
#define VECDB_FILTER_FILTER_H

#include "base/buf.h"
#include "schema/column.h"
#include "schema/schema.h"

#define FILTER_KEY_MAX 4096

struct filter;
struct scalar_index; /* filter/scalar_index.h */

/** Rows, seen by a filter. Fields are numbers of the schema the filter was compiled for. */
struct filter_source {
    void *context;
    size_t row_count;
    size_t block_rows; /* a multiple of 64; rows i * block_rows .. are block i, the last may be shorter */
    /** Values of a block; the view lives until the next call with the same scratch. */
    vecdb_status (*column)(void *context, size_t field, size_t block, struct column_scratch *scratch,
                           struct column *out);
    /** Statistics of a block, false when there are none. May be NULL. */
    bool (*stats)(void *context, size_t field, size_t block, struct column_stats *out);
    /** The i-th scalar index on a field, of all rows or the first ones; NULL past the last. May be NULL. */
    const struct scalar_index *(*index)(void *context, size_t field, size_t i);
    /** A row's primary key order number, so that random_sample() is stable; may be NULL: row numbers are used. */
    uint64_t seed;
};

/** What an evaluation did; added to. */
struct filter_counters {
    uint64_t blocks, blocks_skipped, index_lookups;
    uint64_t remembered; /* bitmaps that need not be made: of segments */
};

/**
 * Parse, bind and simplify. Thread-safe to use afterwards, by any number of threads.
 * @param params  JSON object with values for {name} templates, or NULL.
 * @param out     NULL on failure; an empty or blank text gives a filter that matches all rows.
 * @return VECDB_ERR_FILTER: the message has the column (from 1), what was found, what was expected; VECDB_ERR_LIMIT.
 * The filter keeps its own copy of what it needs of the schema.
 */
vecdb_status filter_compile(const struct schema *schema, const char *text, size_t length, const char *params,
                            struct filter **out);
/** Filters are counted; the last who frees one does. */
struct filter *filter_retain(struct filter *filter);
void filter_free(struct filter *filter);
/** Whether it matches every row. */
bool filter_matches_all(const struct filter *filter);
/** What tells it from other filters of the schema it was compiled for: text and parameters. NULL when that is longer than
 * FILTER_KEY_MAX, or its answer is a plug-in's and may change. */
const void *filter_key(const struct filter *filter, const struct schema **schema, size_t *size, uint64_t *hash);

/**
 * Evaluate over all rows of a source.
 * @param rows      bitmap of source->row_count bits; in: the rows that are of interest; out: those of them that match.
 * @param counters  or NULL.
 * @param check     called now and then; a failure (deadline) ends the evaluation with its status; or NULL.
 */
vecdb_status filter_eval(const struct filter *filter, const struct filter_source *source, uint64_t *rows,
                         struct filter_counters *counters, vecdb_status (*check)(void *context), void *check_context);
/**
 * The plan as JSON: nodes, chosen access, estimated and actual rows (of `source`, or without numbers when NULL).
 * @param rows  as for filter_eval(); NULL: all.
 */
vecdb_status filter_explain(const struct filter *filter, const struct filter_source *source, uint64_t *rows,
                            struct buf *out);

#endif
