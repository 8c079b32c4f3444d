/* Exact search: every allowed row is looked at. */
#ifndef VECDB_INDEX_FLAT_H
#define VECDB_INDEX_FLAT_H

#include "index/index.h"

/**
 * Nearest allowed rows, by scanning the vectors themselves; needs no index. `search->params` is not looked at.
 * @param hits    query_count x k; query i's are at hits + i * k, sorted by (distance, row).
 * @param counts  query_count: min(k, rows allowed and present), fewer with a radius.
 * Thread-safe. Shares queries, or the rows of few queries, among the threads of search->pool.
 */
vecdb_status flat_search(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                         struct hit *hits, size_t *counts, struct index_counters *counters);
/** The same over rows first_row and those after it. */
vecdb_status flat_search_from(const struct vectors *vectors, size_t first_row, vecdb_metric metric,
                              const struct index_search *search, struct hit *hits, size_t *counts,
                              struct index_counters *counters);

#endif
