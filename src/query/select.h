/* Rows by filter and by key, without vectors: query, get, count. */
#ifndef VECDB_QUERY_SELECT_H
#define VECDB_QUERY_SELECT_H

#include "query/search.h"

/** Rows that match, in key order or by `order_by`; limit 0 is all. `found` is for mem_free(). */
vecdb_status select_rows(const struct snapshot *snapshot, const struct filter *filter, const uint32_t *partitions,
                       size_t partition_count, const char *order_by, size_t limit, size_t offset, struct found **found,
                       size_t *count, struct filter_counters *counters);
vecdb_status select_count(const struct snapshot *snapshot, const struct filter *filter, const uint32_t *partitions,
                        size_t partition_count, uint64_t *count, struct filter_counters *counters);
/** Live rows with these keys, in the order of the keys. `found` is for mem_free(). */
vecdb_status select_keys(const struct snapshot *snapshot, const struct rows *keys, struct found **found, size_t *count);

#endif
