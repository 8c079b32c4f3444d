/*
 * Plug-ins for vecdb: index kinds, metrics and filter functions of your own, registered at run time from C.
 *
 * A program fills a struct and registers it, once, before it opens a database that uses it; it stays registered until the
 * process ends. What a kind is asked to do may come from any thread; which calls may run at the same time is said below.
 * Kinds built into the library are kept in the same registry and called by the same code.
 *
 * Every struct begins with its size and the ABI it was compiled for (the ..._INIT macros set both). Within one ABI number
 * structs only grow at their end. docs/plugins.md has an introduction, examples/plugin a kind and a metric that work.
 */
#ifndef VECDB_PLUGIN_H
#define VECDB_PLUGIN_H

#include "vecdb.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VECDB_PLUGIN_ABI 1

/** ABI number of the library that is running. It takes plug-ins compiled for this number. */
VECDB_API uint32_t vecdb_plugin_abi(void);

/* ------------------------------------------------------------------------------------------------- metrics */

enum { VECDB_PLUGIN_METRIC_FIRST = 1000 }; /**< metrics' numbers are yours to choose, from here on; databases keep them */

/** The bit of a vector type in a set of types. */
#define VECDB_PLUGIN_TYPE(type) (1u << ((type)-VECDB_TYPE_BINARY_VECTOR))

/** A metric. Searches without an index scan with it; index kinds that are plug-ins may take it. */
typedef struct vecdb_plugin_metric {
    uint32_t size, abi;
    const char *name;   /**< "L1": 1..31 letters, digits and _; not a name that is taken */
    uint32_t number;    /**< VECDB_PLUGIN_METRIC_FIRST .. 65535; what a vecdb_metric is set to */
    uint32_t types;     /**< VECDB_PLUGIN_TYPE(VECDB_TYPE_FLOAT_VECTOR) | ... */
    /** Distance of two vectors of `dim` elements of `type`: smaller is nearer, never NaN. Any number of threads at once. */
    float (*distance)(const void *a, const void *b, vecdb_type type, uint32_t dim, void *context);
    void *context;      /**< for distance */
} vecdb_plugin_metric;
#define VECDB_PLUGIN_METRIC_INIT {sizeof(vecdb_plugin_metric), VECDB_PLUGIN_ABI, NULL, 0, 0, NULL, NULL}

/**
 * Register a metric; what `name` points to is copied.
 * @return VECDB_OK; VECDB_ERR_VERSION (another ABI), VECDB_ERR_EXISTS (name or number), VECDB_ERR_INVALID, VECDB_ERR_LIMIT.
 */
VECDB_API vecdb_status vecdb_plugin_register_metric(const vecdb_plugin_metric *metric);

/** A distance as vecdb computes it, by any metric, its own or registered: smaller is nearer (IP: negated, COSINE: 1 - cosine). */
VECDB_API float vecdb_plugin_distance(vecdb_metric metric, vecdb_type type, uint32_t dim, const void *a, const void *b);

/* ------------------------------------------------------------------------------------------------- filter functions */

enum { VECDB_PLUGIN_BOOL = 1, VECDB_PLUGIN_INTEGER = 2, VECDB_PLUGIN_REAL = 3, VECDB_PLUGIN_TEXT = 4 };

/** What a filter function is given. */
typedef struct vecdb_plugin_value {
    uint32_t kind;      /**< VECDB_PLUGIN_BOOL ... */
    bool boolean;
    int64_t integer;
    double real;
    const char *text;   /**< UTF-8, need not be terminated */
    size_t length;      /**< bytes */
} vecdb_plugin_value;

enum { VECDB_PLUGIN_ARGUMENTS = 8 };

/**
 * A function for filters: "within_km(place, 52.5, 13.4)" is true, false or unknown for each row. Its first argument is a field,
 * a path into JSON or arithmetic; the others are constants or {templates}.
 */
typedef struct vecdb_plugin_function {
    uint32_t size, abi;
    const char *name;         /**< 1..31 letters, digits and _; not that of a function there is; as it is to be written */
    uint32_t argument_count;  /**< 1..VECDB_PLUGIN_ARGUMENTS */
    /** 1: true, 0: false, -1: unknown. Not called for rows without a value, nor for arrays and objects: they are unknown. The same
     * arguments must always give the same. Any number of threads at once; no lock is held, so it may call any function. */
    int (*test)(const vecdb_plugin_value *arguments, uint32_t count, void *context);
    void *context;            /**< for test */
} vecdb_plugin_function;
#define VECDB_PLUGIN_FUNCTION_INIT {sizeof(vecdb_plugin_function), VECDB_PLUGIN_ABI, NULL, 0, NULL, NULL}

/** Register a filter function; returns as vecdb_plugin_register_metric. */
VECDB_API vecdb_status vecdb_plugin_register_function(const vecdb_plugin_function *function);

/* ------------------------------------------------------------------------------------------------- index kinds */

/** The vectors of a segment, which it lends: row i is in block i >> block_shift, at i & ((1 << block_shift) - 1). */
typedef struct vecdb_plugin_vectors {
    uint32_t size;
    vecdb_type type;
    uint32_t dim;
    uint32_t block_shift;
    uint64_t row_count;
    uint64_t stride;              /**< bytes from one row to the next within a block */
    const uint8_t *const *blocks;
    const uint64_t *present;      /**< bit i of word i / 64: row i has a value; NULL: all have */
} vecdb_plugin_vectors;

static inline const void *vecdb_plugin_row(const vecdb_plugin_vectors *vectors, uint64_t row)
{
    return vectors->blocks[row >> vectors->block_shift] + (row & ((UINT64_C(1) << vectors->block_shift) - 1)) * vectors->stride;
}

/** A parameter: a number, or one of several words. */
typedef struct vecdb_plugin_param {
    const char *name;      /**< NULL ends a list */
    double default_value;  /**< of a word: its place in `choices` */
    double low, high;
    const char *meaning;   /**< one line */
    const char *choices;   /**< "fast|small", or NULL for numbers */
    bool fraction;         /**< not only integers */
} vecdb_plugin_param;

typedef struct vecdb_plugin_hit {
    float distance;        /**< smaller is nearer */
    uint32_t row;
} vecdb_plugin_hit;

/** One query. */
typedef struct vecdb_plugin_search {
    uint32_t size;
    uint32_t k;                /**< hits wanted, at least 1 */
    const void *query;
    const uint64_t *allowed;   /**< bit i: row i may be returned (filters, deletions); NULL: all */
    uint64_t allowed_count;
    const double *params;      /**< values, in the order of search_params */
    bool has_radius;           /**< only rows with distance < radius */
    float radius;
    /** Whether to give up (a deadline, a cancelled search): ask now and then, and then return VECDB_ERR_CANCELLED. */
    bool (*stop)(const struct vecdb_plugin_search *search);
    const void *reserved;      /**< the library's */
} vecdb_plugin_search;

/**
 * An index kind. An index is built once over the vectors of a segment, and again when the segment is written anew. A row's
 * number is its place among them. Functions return VECDB_OK or an error; what they return instead of a message is for
 * vecdb_plugin_fail().
 */
typedef struct vecdb_plugin_index {
    uint32_t size, abi;
    const char *name;        /**< "TREE": 1..31 letters, digits and _, in files for ever */
    uint32_t format;         /**< of what save() writes; counts up */
    uint32_t types;          /**< VECDB_PLUGIN_TYPE(...) | ... */
    uint64_t metrics;        /**< 1 << VECDB_METRIC_L2 | ...; bit 63: metrics that were registered */
    const vecdb_plugin_param *build_params, *search_params; /**< at most 24 each, or NULL */
    /** Build over vectors->row_count rows, 0 among them; rows that are not present are left out. `vectors` and what it points
     * to stay as they are until free(). */
    vecdb_status (*build)(const vecdb_plugin_vectors *vectors, vecdb_metric metric, const double *params, void *context,
                          void **index);
    /** The nearest allowed rows, best first, ties by row; *count receives how many. Where there are fewer than allowed and k
     * ask for, and no radius, the library looks at all rows itself. Any number of threads at once. */
    vecdb_status (*search)(const void *index, const vecdb_plugin_search *search, vecdb_plugin_hit *hits, uint32_t *count);
    /** Give the index's bytes to write(). NULL: the index is not stored, but built again when a database is opened. */
    vecdb_status (*save)(const void *index, vecdb_status (*write)(void *to, const void *bytes, size_t size), void *to);
    /** An index from bytes that save() wrote and that stay until free(). They may be damaged: check them. NULL where save is. */
    vecdb_status (*open)(const void *bytes, size_t size, const vecdb_plugin_vectors *vectors, vecdb_metric metric,
                         const double *params, void *context, void **index);
    void (*free)(void *index);
    /** Bytes of memory that the index takes; NULL: not known. */
    uint64_t (*memory)(const void *index);
    void *context;           /**< for build and open */
} vecdb_plugin_index;
#define VECDB_PLUGIN_INDEX_INIT                                                                                          \
    {sizeof(vecdb_plugin_index), VECDB_PLUGIN_ABI, NULL, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL}

/**
 * Register an index kind; texts and tables are copied.
 * @return as vecdb_plugin_register_metric.
 */
VECDB_API vecdb_status vecdb_plugin_register_index(const vecdb_plugin_index *index);

/** The message of a failure that a plug-in's function is about to return; returns `status`. */
VECDB_API vecdb_status vecdb_plugin_fail(vecdb_status status, const char *message);

#ifdef __cplusplus
}
#endif
#endif
