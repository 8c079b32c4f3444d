/* Codes beside the rows of a growing segment, for searches that scan them: those that no index has taken in yet, or all where
 * the index is one that scans (index/row_codes.h). They are a help: rows without are scanned as they are. */
#ifndef VECDB_QUERY_FRESH_H
#define VECDB_QUERY_FRESH_H

#include "query/snapshot.h"

/** Code what has come to a vector field of a growing segment (its number in the segment), and give back what an index has
 * taken in. With write_lock. */
void fresh_code(struct segment_view *view, size_t field, vecdb_metric metric);
/** As flat_search_from(), over a view's rows of a field (its number in the segment). */
vecdb_status fresh_search(const struct segment_view *view, size_t field, const struct vectors *vectors, size_t first_row,
                          vecdb_metric metric, const struct index_search *search, struct hit *hits, size_t *counts,
                          struct index_counters *counters);

#endif
