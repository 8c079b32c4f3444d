/* Codes of rows that no index has yet, made as the rows come: a search scans them in place of the vectors, a quarter of the
 * bytes. Answers are exact, as FLAT's are (flat_index.c): codes carry the length of what they leave out. */
#ifndef VECDB_INDEX_ROW_CODES_H
#define VECDB_INDEX_ROW_CODES_H

#include "index/index.h"

struct row_codes;

/** Whether vectors of a type are worth coding: floats are. */
bool row_codes_take(vecdb_type type);
/** For rows from first_row on. */
vecdb_status row_codes_create(vecdb_type type, vecdb_metric metric, uint32_t dim, size_t first_row, struct row_codes **out);
void row_codes_free(struct row_codes *codes);
vecdb_metric row_codes_metric(const struct row_codes *codes);
/** Code rows up to vectors->row_count, but for fewer than a chunk of them. One caller at a time; searches may run. */
vecdb_status row_codes_add(struct row_codes *codes, const struct vectors *vectors);
/** Give back codes of rows before `row`, unless somebody is searching just now. By whoever adds. */
void row_codes_forget(struct row_codes *codes, size_t row);
/** As flat_search_from(), of the same metric; rows without a code are scanned as they are. */
vecdb_status row_codes_search(struct row_codes *codes, const struct vectors *vectors, size_t first_row,
                              const struct index_search *search, struct hit *hits, size_t *counts,
                              struct index_counters *counters);

#endif
