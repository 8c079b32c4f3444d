/* The rows of a view that a filter leaves, made once and remembered with the segment for the next who asks for the same. */
#ifndef VECDB_QUERY_FILTER_ROWS_H
#define VECDB_QUERY_FILTER_ROWS_H

#include "filter/filter.h"
#include "index/memo.h"
#include "query/snapshot.h"

/** Rows of a view that are live and match a filter. Counted; the rows never change. */
struct filter_rows {
    atomic_uint references;
    size_t count;     /* bits set */
    size_t bytes;     /* of memory, without the memos */
    struct index_memos memos; /* what indexes know about them; filled as searches come */
    uint64_t words[]; /* of the view's rows, and one more */
};

/** `check`: as for filter_eval(). */
vecdb_status filter_rows_take(const struct snapshot *snapshot, size_t view, const struct filter *filter,
                              vecdb_status (*check)(void *context), void *check_context, struct filter_counters *counters,
                              struct filter_rows **out);
void filter_rows_release(struct filter_rows *rows);
/** Bytes of what is remembered with a segment. */
size_t filter_rows_memory(struct segment *segment);

#endif
