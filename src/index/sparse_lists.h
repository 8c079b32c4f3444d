/* An inverted index of sparse vectors: for each index that some row has, the rows that have it and their values there. */
#ifndef VECDB_INDEX_SPARSE_LISTS_H
#define VECDB_INDEX_SPARSE_LISTS_H

#include "index/index.h"

#define SPARSE_LISTS_MAGIC 0x53525053u /* "SPRS" */

/** What a saved index begins with; the arrays follow, each at a multiple of 64 bytes. */
struct sparse_header {
    uint32_t magic, version, type, metric;
    uint64_t row_count, terms, postings;
    uint64_t size; /* of it all */
    uint8_t zeros[16];
};

struct sparse_lists {
    struct index base;
    size_t terms, postings;
    const uint64_t *starts; /* terms + 1: where each term's postings begin */
    const uint32_t *names;  /* terms: the indexes, ascending */
    const uint32_t *rows;   /* postings: ascending within a term */
    const float *values;    /* postings: none is 0 */
    uint8_t *owned;         /* the arrays, when they are not a file's */
};

/** Where the arrays lie, from `at` on (NULL: only the size is wanted). Returns the bytes they take. */
size_t sparse_lists_layout(struct sparse_lists *lists, const uint8_t *at);
/** Two readings of the rows: one to count, one to fill in. */
vecdb_status sparse_lists_build(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric,
                                const struct index_build_context *context, struct index **out);
vecdb_status sparse_lists_search(const struct index *index, const struct index_search *search, struct hit *hits, size_t *counts,
                                 struct index_counters *counters);
vecdb_status sparse_lists_save(const struct index *index, struct buf *out);
vecdb_status sparse_lists_open(const struct index_ops *ops, const void *data, size_t size, const struct vectors *vectors,
                               vecdb_metric metric, struct index **out);
vecdb_status sparse_lists_check(const struct index *index);
void sparse_lists_free(struct index *index);

#endif
