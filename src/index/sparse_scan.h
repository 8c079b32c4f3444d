/* Exact search of sparse vectors by inner product, reading the rows as they lie. */
#ifndef VECDB_INDEX_SPARSE_SCAN_H
#define VECDB_INDEX_SPARSE_SCAN_H

#include "index/index.h"

/** As flat_search_from(). A row whose score is 0, having nothing in common with the query, is no hit. A score is the sum of products
 * by ascending index, in float: whoever else computes it so gets the same bits. */
vecdb_status sparse_scan(const struct vectors *vectors, size_t first_row, const struct index_search *search, struct hit *hits,
                         size_t *counts, struct index_counters *counters);

#endif
