/* Nearest-neighbour search over a snapshot: filter to a bitmap per segment, search each segment by its index or by scanning,
 * merge. */
#ifndef VECDB_QUERY_SEARCH_H
#define VECDB_QUERY_SEARCH_H

#include "filter/filter.h"
#include "index/deadline.h"
#include "query/result.h"

#define PARTITION_FIRST 1 /* id of a collection's first partition; those of a partition key follow one another */

/** The partition of a partition key's value. Stored data depends on it. */
uint32_t partition_of_key(const struct schema *schema, const void *value, size_t size);

/** A checked request. */
struct search {
    size_t field;              /* number in the snapshot's schema, a vector */
    vecdb_metric metric;
    const uint8_t *queries;    /* in the field's element type; SPARSE_FLOAT_VECTOR: struct sparse_vector */
    size_t query_count, query_stride, query_size;
    size_t k;                  /* limit + offset */
    const struct filter *filter; /* NULL: all rows */
    const uint32_t *partitions;  /* ids; NULL: all */
    size_t partition_count;
    const struct rows *within; /* keys to search among; NULL: all */
    const struct row_set *rows; /* instead of filter, partitions and within: rows chosen before; NULL: choose here */
    const char *params;        /* search parameters' text */
    bool has_radius, has_range_filter;
    double radius, range_filter; /* as the user gave them, in scores */
    bool exact;
    const struct deadline *deadline;
    struct pool *pool;
};

/** Rows of every view that a search may return, chosen once for several searches. */
struct row_set {
    uint64_t **bitmaps; /* view_count; NULL: all of the view's rows, or none, as the count says */
    size_t *counts;
    size_t view_count;
};

/** What a search did. */
struct search_counters {
    struct index_counters index;
    struct filter_counters filter;
    uint64_t rows_allowed;     /* over all segments */
    uint32_t indexed_segments, scanned_segments;
};

/**
 * @param found   receives the hits of all queries one after the other, for mem_free(); each best first, ties by smaller key.
 * @param counts  query_count: how many hits each query has.
 */
vecdb_status search_run(const struct snapshot *snapshot, const struct search *search, struct found **found,
                        size_t *counts, struct search_counters *counters);

/** The rows that a search's filter, partitions and keys leave, all with a value in its field. */
vecdb_status row_set_choose(const struct snapshot *snapshot, const struct search *search, struct row_set *out,
                            struct search_counters *counters);
void row_set_deinit(struct row_set *set);
/** Take a row out. */
vecdb_status row_set_remove(const struct snapshot *snapshot, struct row_set *set, size_t view, size_t row);
/** Bitmaps for all views that have rows. */
vecdb_status row_set_spell_out(const struct snapshot *snapshot, struct row_set *set);

/** The rows of a view that are live, in the partitions and match a filter, as a bitmap for mem_free(); NULL in *rows when
 * that is all of them. */
vecdb_status search_allowed(const struct snapshot *snapshot, size_t view, const struct filter *filter,
                            const uint32_t *partitions, size_t partition_count, const struct deadline *deadline,
                            uint64_t **rows, size_t *count, struct filter_counters *counters);
/** The live rows of a view, as a bitmap for mem_free(); it has at least a word. */
vecdb_status search_live_rows(const struct segment_view *view, uint64_t **rows);
/** How a filter runs on a view: what filter_explain() says, or null where the view's partition is not asked for. */
vecdb_status search_explain_filter(const struct snapshot *snapshot, size_t view, const struct filter *filter,
                                   const uint32_t *partitions, size_t partition_count, struct buf *out);
/** Order of two rows by primary key: negative, 0, positive. */
vecdb_status search_compare_keys(const struct snapshot *snapshot, const struct found *a, const struct found *b,
                                 int *order);

#endif
