/* Search by groups: the nearest groups of rows that share a field's value, and each group's nearest rows. */
#ifndef VECDB_QUERY_GROUP_H
#define VECDB_QUERY_GROUP_H

#include "query/search.h"

struct group_search {
    size_t field;      /* whose values make the groups; rows without a value are a group too */
    size_t group_size; /* rows wanted of each group */
    bool strict;       /* go on until each group has so many, or has no more */
    size_t offset;     /* groups to pass over */
    size_t limit;      /* groups wanted behind them */
};

/**
 * @param found   receives the rows of all queries one after another, for mem_free(): group after group, the one with the
 *                nearest row first, each group's rows best first.
 * @param counts  query_count: rows of each query.
 * @param fewer   set when some query has fewer groups than the limit, because there are no more.
 */
vecdb_status group_search_run(const struct snapshot *snapshot, const struct search *search,
                              const struct group_search *group, struct found **found, size_t *counts, bool *fewer,
                              struct search_counters *counters);

#endif
