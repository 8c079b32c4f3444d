/* Rows that a write is about to delete: chosen in a snapshot, gone in the one that follows it. */
#ifndef VECDB_COLLECTION_DOOMED_H
#define VECDB_COLLECTION_DOOMED_H

#include "query/snapshot.h"
#include "schema/rows.h"

/** Rows to delete, by view of the snapshot. */
struct doomed {
    uint32_t **rows; /* view_count lists; NULL while there are none, which is what most inserts find */
    size_t *counts, *capacities;
    size_t view_count;
};

void doomed_deinit(struct doomed *doomed);
static inline size_t doomed_count(const struct doomed *doomed, size_t view) { return doomed->rows ? doomed->counts[view] : 0; }
vecdb_status doomed_add(struct doomed *doomed, size_t view, uint32_t row);
/** Apply deletions to the views of a snapshot that is being made; *affected counts rows that were live. */
vecdb_status doomed_apply(const struct doomed *doomed, struct snapshot *next, uint64_t *affected);
/** Keys that live rows have already: an error for an insert, rows to delete for an upsert. */
vecdb_status doomed_find_keys(const struct snapshot *snapshot, const struct rows *rows, bool replace, struct doomed *doomed,
                              uint64_t *bad_row);

/** A key for messages. */
struct key_text {
    char text[96];
};

struct key_text key_text(vecdb_type type, const void *key, size_t size);

#endif
