/* Rows that were found, as columns that own their memory. What vecdb_result is. */
#ifndef VECDB_QUERY_RESULT_H
#define VECDB_QUERY_RESULT_H

#include "query/snapshot.h"

struct result_column {
    char *name;
    vecdb_type type, element_type;
    uint32_t dim;
    size_t width;       /* bytes a row; 0: offsets */
    struct buf data;
    struct buf offsets; /* u64, one more than rows; ARRAY: in elements */
    struct buf valid;   /* a byte a row; empty: all have a value */
};

struct result {
    size_t query_count;
    size_t *first;      /* query_count + 1: where each query's rows begin */
    size_t column_count;
    struct result_column *columns;
    bool exhausted;     /* some query has fewer rows than asked for, because no more match */
};

/** A row that was found. */
struct found {
    uint32_t view;      /* of the snapshot */
    uint32_t row;
    float score;        /* as the user gets it */
};

/**
 * Make a result of rows.
 * @param first        query_count + 1 positions in `found`.
 * @param fields       numbers of the fields to bring along; the primary key comes first in any case.
 * @param with_scores  add "$score".
 */
vecdb_status result_create(const struct snapshot *snapshot, const struct found *found, const size_t *first,
                           size_t query_count, const size_t *fields, size_t field_count, bool with_scores,
                           struct result **out);
/** Add members of $meta as JSON columns of their own. */
vecdb_status result_add_dynamic(struct result *result, const struct snapshot *snapshot, const struct found *found,
                                const char *key);
void result_free(struct result *result);
/** The column of a name, or NULL. */
const struct result_column *result_find(const struct result *result, const char *name);

#endif
