/* What a nearest-neighbour index kind is. An index covers one segment's rows of one vector field and speaks in row
 * numbers (0 .. row_count - 1). It keeps no more than codes and links: the vectors themselves stay with the segment,
 * which lends them as `struct vectors` to build and to open, and keeps them until free.
 *
 * distance is smaller-is-closer everywhere inside: L2 squared, -inner product, 1 - cosine, differing bits, Jaccard.
 */
#ifndef VECDB_INDEX_INDEX_H
#define VECDB_INDEX_INDEX_H

#include "base/bitmap.h"
#include "base/buf.h"
#include "base/pool.h"
#include "index/params.h"
#include "schema/column.h"
#include "schema/type.h"

#include <stdatomic.h>

/** Where rows of differing length are read from. */
struct vector_columns {
    /** A block's first `row_count` rows; what was read before with the same scratch is gone. */
    vecdb_status (*read)(void *context, size_t field, size_t block, size_t row_count, struct column_scratch *scratch,
                         struct column *out);
    void *context;
    size_t field;
};

/** The rows' vectors, in blocks of block_rows (a power of two); contiguous data is one block. Rows without a value
 * (nullable fields) hold zeros and are never to be returned: their bit in `present` is clear. */
struct vectors {
    vecdb_type type; /* VECDB_TYPE_..._VECTOR */
    uint32_t dim;
    size_t width;    /* bytes of one vector */
    size_t stride;   /* bytes from one row to the next within a block */
    size_t row_count;
    unsigned block_shift; /* row i is in block i >> block_shift, at i & ((1 << block_shift) - 1) */
    const uint8_t *const *blocks;
    const uint64_t *present; /* NULL: all */
    struct vector_columns columns; /* SPARSE_FLOAT_VECTOR: in place of `blocks` */
};

static inline const uint8_t *vectors_row(const struct vectors *vectors, size_t row)
{
    size_t mask = ((size_t)1 << vectors->block_shift) - 1;

    return vectors->blocks[row >> vectors->block_shift] + (row & mask) * vectors->stride;
}

/** What building may use and must heed. */
struct index_build_context {
    struct pool *pool;
    uint64_t seed;            /* same seed, same rows, same parameters: same index */
    vecdb_progress progress;  /* or NULL; call it with no lock held, from the building thread only */
    void *progress_context;
};

struct index_memos; /* index/memo.h */

/** One search. */
struct index_search {
    const void *queries;      /* in the field's own element type, checked: no NaN, no zero vector under COSINE;
                                 SPARSE_FLOAT_VECTOR: struct sparse_vector */
    size_t query_count;
    size_t query_stride;      /* bytes */
    size_t k;                 /* 1 .. row_count */
    const uint64_t *allowed;  /* bitmap of rows that may be returned (filter and deletions); NULL: all. May be longer than
                                 the index has rows, never shorter */
    size_t allowed_count;     /* bits set in it */
    struct index_memos *memos; /* kept with `allowed`; NULL: it does not come again */
    const struct params *params; /* checked search parameters */
    bool has_radius;          /* range search: only rows with distance < radius (IP, COSINE: already negated) */
    float radius;
    struct pool *pool;        /* may be used to share out queries or rows; NULL: this thread only */
    const struct deadline *deadline; /* or NULL; see index/deadline.h */
};

/** A hit: row and distance. Results of one query are sorted by (distance, row). */
struct hit {
    float distance;
    uint32_t row;
};

/** What a search did; added to, never reset, by the index. */
struct index_counters {
    uint64_t rows_scored; /* distance computations on codes */
    uint64_t reranked;    /* exact distance computations */
    uint64_t hops;        /* graph nodes expanded, or lists scanned */
    /* What graphs chose, query by query: docs/performance.md, "Filtered search on graphs". */
    uint64_t plain_walks, stepping_walks, list_scans, code_scans, row_scans;
    uint64_t probes;      /* plain walks that came as far as judging the filter; the sums below are over them */
    double near_share;    /* passing rows among the nearest */
    double plain_cost, stepping_cost, scan_cost; /* estimates, in rows scored on a walk; no stepping: 0 */
};

static inline void index_counters_add(struct index_counters *to, const struct index_counters *from)
{
    to->rows_scored += from->rows_scored;
    to->reranked += from->reranked;
    to->hops += from->hops;
    to->plain_walks += from->plain_walks;
    to->stepping_walks += from->stepping_walks;
    to->list_scans += from->list_scans;
    to->code_scans += from->code_scans;
    to->row_scans += from->row_scans;
    to->probes += from->probes;
    to->near_share += from->near_share;
    to->plain_cost += from->plain_cost;
    to->stepping_cost += from->stepping_cost;
    to->scan_cost += from->scan_cost;
}

/** Bytes that a search reads, for each of what index_counters counts. */
struct index_reads {
    size_t query; /* whatever it asks: the centroids */
    size_t row;   /* a row scored */
    size_t exact; /* one scored again */
    size_t hop;   /* a node's links */
};

struct index;

struct index_ops {
    const char *name;     /* stored in files: never reused */
    uint32_t format;      /* of save(); counts up */
    uint32_t types;       /* vector types it takes: 1u << (type - VECDB_TYPE_BINARY_VECTOR) */
    const struct param_spec *build_params, *search_params;
    bool exact;           /* its answers are those of a scan */

    /** Build over vectors->row_count rows (0 is allowed). */
    vecdb_status (*build)(const struct vectors *vectors, vecdb_metric metric, const struct params *params,
                          const struct index_build_context *context, struct index **out);
    /** Take rows index->row_count .. vectors->row_count - 1 in; searches may run meanwhile and see a prefix. NULL: the
     * kind cannot grow. One caller at a time. VECDB_ERR_UNSUPPORTED: these rows need another index, and nothing changed. */
    vecdb_status (*add)(struct index *index, const struct vectors *vectors, const struct index_build_context *context);
    /** An index over the rows of several, merged: row_maps[i][r] is where row r of parts[i] went, UINT32_MAX if dropped.
     * NULL: the caller builds anew. */
    vecdb_status (*merge)(const struct vectors *vectors, vecdb_metric metric, const struct params *params,
                          struct index *const *parts, const uint32_t *const *row_maps, size_t part_count,
                          const struct index_build_context *context, struct index **out);
    /** Nearest allowed rows. hits: query_count x k; counts[i] receives how many query i got, which is
     * min(k, allowed_count) unless a radius, or the nature of the index or of the vectors, left rows out. Thread-safe. */
    vecdb_status (*search)(const struct index *index, const struct index_search *search, struct hit *hits,
                           size_t *counts, struct index_counters *counters);
    /** Append the index's bytes, for open(). */
    vecdb_status (*save)(const struct index *index, struct buf *out);
    /** From save()'s bytes, which stay mapped until free. Every number in them is checked against the others, against
     * `size` and against vectors->row_count first: VECDB_ERR_CORRUPT says which is wrong. */
    vecdb_status (*open)(const void *data, size_t size, const struct vectors *vectors, vecdb_metric metric,
                         const struct params *params, struct index **out);
    void (*free)(struct index *index);
    /** Every invariant; VECDB_ERR_CORRUPT and the reason when one fails. */
    vecdb_status (*check)(const struct index *index);
    /** Bytes it holds in memory (mapped ones included). */
    size_t (*memory)(const struct index *index);
    /** What its searches read. NULL: it does not tell. */
    void (*reads)(const struct index *index, struct index_reads *out);
    /** Whether its searches read its own codes and not the vectors, but for few rows of filters and, where codes lose
     * something, for ranges: these can then stay in their file. NULL: it reads them. */
    bool (*complete)(const struct index *index);
};

/** First member of every kind's own struct. `vectors` is a copy of what build, add or open was given last. */
struct index {
    const struct index_ops *ops;
    struct vectors vectors;
    vecdb_metric metric;
    bool detached; /* by open(): it has copied what it needs, so the bytes it was opened from may go */
};

/** Kind by name ("HNSW", capitals or not); NULL when there is none. */
const struct index_ops *index_find(const char *name);
/** Search parameters of all kinds together: a search over an index of one kind passes over what only others know. */
const struct param_spec *index_known_search_params(void);
/** The i-th kind; NULL past the last. */
const struct index_ops *index_at(size_t i);

#endif
