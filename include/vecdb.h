/*
 * vecdb: an embedded vector database. One shared library, this header, one directory on disk.
 *
 * Conventions
 *  - Every function that can fail returns a vecdb_status: 0 is success, negative is an error, positive is success with
 *    something to say. What went wrong, in words and numbers, is kept on the handle (vecdb_db_error,
 *    vecdb_collection_error: safe from any thread) and for the calling thread (vecdb_last_error).
 *  - Structs that you pass in start with `size`: set it with the VECDB_..._INIT macro. Later versions only append fields,
 *    so a program compiled against an older header keeps working.
 *  - Handles are opaque. A close or free function takes the address of your pointer and sets it to NULL; NULL is allowed.
 *  - What you pass in is read during the call and never kept. What you get from a handle lives as long as its
 *    documentation says; nothing else needs freeing.
 *  - Strings are UTF-8. Integers and floats are in the machine's order; element types are named, never guessed.
 *
 * Threads: each handle's type says in one sentence what may be done from several threads.
 */
#ifndef VECDB_H
#define VECDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define VECDB_API __attribute__((visibility("default")))
#else
#define VECDB_API
#endif

#define VECDB_VERSION_MAJOR 0
#define VECDB_VERSION_MINOR 1
#define VECDB_VERSION_PATCH 0
/** major * 1000000 + minor * 1000 + patch of this header; compare with vecdb_version_number(). */
#define VECDB_VERSION_NUMBER 1000

/* ------------------------------------------------------------------------------------------------- status */

/** What a call returns: 0 success, positive success with a remark, negative an error. Values never change meaning. */
typedef int32_t vecdb_status;

enum {
    VECDB_OK = 0,
    VECDB_NOT_FOUND = 1,       /**< nothing has this key or name; not an error where asking is allowed */
    VECDB_EXHAUSTED = 2,       /**< fewer rows than asked for, because no more match */
    VECDB_ERR_INVALID = -1,    /**< an argument is wrong: the message names it and the numbers */
    VECDB_ERR_DIM = -2,        /**< a vector's dimension differs from the field's */
    VECDB_ERR_TYPE = -3,       /**< a value's type does not fit its field */
    VECDB_ERR_EXISTS = -4,     /**< the name or key is taken */
    VECDB_ERR_NO_SUCH = -5,    /**< no collection, field or index of that name */
    VECDB_ERR_FILTER = -6,     /**< the filter text is wrong: the message has the column of the mistake */
    VECDB_ERR_LIMIT = -7,      /**< beyond a documented limit */
    VECDB_ERR_NOMEM = -8,      /**< out of memory, or beyond memory_limit; nothing changed */
    VECDB_ERR_IO = -9,         /**< the operating system failed a file operation */
    VECDB_ERR_FULL = -10,      /**< no space left on the device; nothing changed */
    VECDB_ERR_CORRUPT = -11,   /**< a file holds what vecdb did not write there */
    VECDB_ERR_BUSY = -12,      /**< another process, or a handle that is still open, is in the way */
    VECDB_ERR_READONLY = -13,  /**< the database was opened read-only, or lies on read-only media */
    VECDB_ERR_VERSION = -14,   /**< written by a newer vecdb, in a format this one cannot read */
    VECDB_ERR_POISONED = -15,  /**< an earlier write failed with "durability unknown": reopen to write again */
    VECDB_ERR_MISUSE = -16,    /**< a closed handle, a handle carried over fork(), a call out of order */
    VECDB_ERR_CANCELLED = -17, /**< a progress callback or a deadline stopped the call */
    VECDB_ERR_UNSUPPORTED = -18 /**< known, but this index, metric or type cannot do it; the message says what can */
};

/** A failure in full, copied into storage of the caller's. */
typedef struct vecdb_error {
    uint32_t size;       /**< sizeof(vecdb_error) */
    vecdb_status status; /**< VECDB_OK when nothing failed yet */
    int32_t system;      /**< errno of the failed system call, or 0 */
    char message[500];   /**< UTF-8, always terminated */
} vecdb_error;
#define VECDB_ERROR_INIT {sizeof(vecdb_error), VECDB_OK, 0, {0}}

/** Name of a status, "VECDB_ERR_DIM"; "unknown status" for others. Static text. Thread-safe. */
VECDB_API const char *vecdb_status_name(vecdb_status status);
/**
 * Message of the calling thread's most recent failed vecdb call, "" when none failed. Valid until that thread's next
 * vecdb call. Where calls may move between threads (Go, async runtimes) use vecdb_db_error or vecdb_collection_error.
 */
VECDB_API const char *vecdb_last_error(void);

/** Version of the library that is running, "0.1.0". Static text. */
VECDB_API const char *vecdb_version(void);
/** Version of the library that is running, as VECDB_VERSION_NUMBER counts. */
VECDB_API uint32_t vecdb_version_number(void);
/** Instruction set in use: "scalar", "avx2", "avx512", "neon". VECDB_SIMD in the environment overrides the choice. */
VECDB_API const char *vecdb_simd_name(void);
/** Whether this build has a feature, by name: "index.HNSW", "metric.JACCARD", "simd.avx512". */
VECDB_API bool vecdb_has_feature(const char *name);

/* ------------------------------------------------------------------------------------------------- data model */

/** Types of fields and values. The numbers are Milvus'. */
typedef enum vecdb_type {
    VECDB_TYPE_NONE = 0,
    VECDB_TYPE_BOOL = 1,   /**< 1 byte, 0 or 1 */
    VECDB_TYPE_INT8 = 2,
    VECDB_TYPE_INT16 = 3,
    VECDB_TYPE_INT32 = 4,
    VECDB_TYPE_INT64 = 5,
    VECDB_TYPE_FLOAT = 10,
    VECDB_TYPE_DOUBLE = 11,
    VECDB_TYPE_VARCHAR = 21, /**< UTF-8, at most max_length bytes */
    VECDB_TYPE_ARRAY = 22,   /**< values of element_type, at most max_capacity */
    VECDB_TYPE_JSON = 23,    /**< JSON text */
    VECDB_TYPE_BINARY_VECTOR = 100,   /**< dim bits in dim/8 bytes; bit i is bit (7 - i%8) of byte i/8 */
    VECDB_TYPE_FLOAT_VECTOR = 101,    /**< dim float32 */
    VECDB_TYPE_FLOAT16_VECTOR = 102,  /**< dim IEEE half */
    VECDB_TYPE_BFLOAT16_VECTOR = 103, /**< dim bfloat16 */
    VECDB_TYPE_SPARSE_FLOAT_VECTOR = 104, /**< vecdb_sparse: what is not zero, by index; no dim */
    VECDB_TYPE_INT8_VECTOR = 105      /**< dim signed bytes */
} vecdb_type;

/** Metrics. What a search returns as score, and which end is nearer. */
typedef enum vecdb_metric {
    VECDB_METRIC_DEFAULT = 0, /**< COSINE for dense vectors, HAMMING for binary, IP for sparse ones; or the index's */
    VECDB_METRIC_L2 = 1,      /**< squared Euclidean distance; smaller is nearer */
    VECDB_METRIC_IP = 2,      /**< inner product; larger is nearer */
    VECDB_METRIC_COSINE = 3,  /**< cosine similarity in [-1, 1]; larger is nearer */
    VECDB_METRIC_HAMMING = 4, /**< differing bits; smaller is nearer */
    VECDB_METRIC_JACCARD = 5  /**< 1 - |a and b| / |a or b|, 0 when both are empty; smaller is nearer */
} vecdb_metric;

enum { /* limits; each has its own error message */
    VECDB_MAX_DIM = 32768,          /**< dense vectors; binary vectors eight times as many bits */
    VECDB_MAX_FIELDS = 256,
    VECDB_MAX_NAME = 255,           /**< bytes of a collection's, field's or index's name */
    VECDB_MAX_VARCHAR = 1048576,    /**< bytes of a string */
    VECDB_MAX_JSON = 1048576,       /**< bytes of a JSON value */
    VECDB_MAX_SPARSE = 131072,      /**< values of a sparse vector */
    VECDB_MAX_CAPACITY = 65536,     /**< elements of an ARRAY */
    VECDB_MAX_KEY = 1024,           /**< bytes of a VARCHAR primary key */
    VECDB_MAX_BATCH_BYTES = 67108864 /**< bytes of one insert, upsert or delete; larger ones are refused */
};

/** Flags of a field. */
enum {
    VECDB_PRIMARY_KEY = 1,  /**< exactly one field, INT64 or VARCHAR */
    VECDB_AUTO_ID = 2,      /**< with PRIMARY_KEY: the library makes the keys, and inserts must not bring them */
    VECDB_NULLABLE = 4,     /**< values may be missing */
    VECDB_PARTITION_KEY = 8 /**< INT64 or VARCHAR: rows with equal values are kept together, and filters that ask for some
                                 values search only where they are. There are no other partitions then */
};

/** One field of a schema. Unused members stay zero. */
typedef struct vecdb_field {
    const char *name;
    vecdb_type type;
    uint32_t flags;            /**< VECDB_PRIMARY_KEY | ... */
    uint32_t dim;              /**< vectors: 1..32768; binary: a multiple of 8 up to 262144; sparse ones have none */
    uint32_t max_length;       /**< VARCHAR (also as array element): 1..VECDB_MAX_VARCHAR bytes; 0 means 65535 */
    uint32_t max_capacity;     /**< ARRAY: 1..VECDB_MAX_CAPACITY; 0 means 4096 */
    vecdb_type element_type;   /**< ARRAY: any scalar but JSON and ARRAY */
    const char *default_value; /**< JSON text of the value used when one is missing; NULL for none */
    const char *description;   /**< free text, or NULL */
    uint64_t reserved[2];
} vecdb_field;

/** What a collection holds. */
typedef struct vecdb_schema {
    uint32_t size;
    uint32_t field_size;       /**< sizeof(vecdb_field) */
    const char *name;          /**< of the collection: 1..255 bytes of UTF-8 without control characters */
    const char *description;   /**< free text, or NULL */
    const vecdb_field *fields;
    size_t field_count;
    bool dynamic;              /**< keys that are no field are kept in a hidden JSON field, "$meta" */
    const char *ttl_field;     /**< an INT64 field: seconds since 1970 when a row expires, and is seen no more; null, or 0 or
                                    less: never. NULL: no row expires */
    uint32_t num_partitions;   /**< with a PARTITION_KEY: how many partitions its values are spread over, 1..1024; 0 means 16 */
    uint64_t ttl_seconds;      /**< rows expire, and are seen no more, so long after they were inserted or upserted; 0: never */
} vecdb_schema;
#define VECDB_SCHEMA_INIT {sizeof(vecdb_schema), sizeof(vecdb_field), NULL, NULL, NULL, 0, false, NULL, 0, 0}

/** Some bytes of text; need not be terminated and may contain zeros. */
typedef struct vecdb_string {
    const char *data;
    size_t length; /**< bytes */
} vecdb_string;

/**
 * One value of a sparse vector. A vector's indexes are below 2^32 - 1 and differ; they may come in any order and go out ascending.
 * A vector may be empty.
 */
typedef struct vecdb_sparse {
    uint32_t index;
    float value;
} vecdb_sparse;

/**
 * One field's values for a batch of rows, going in or coming out.
 *   fixed width   data = row_count values of `type`, `stride` bytes apart (0: packed). Booleans are bytes.
 *   vectors       data = row_count vectors of `dim` elements, `stride` bytes from one to the next (0: packed)
 *   VARCHAR, JSON offsets NULL: data = row_count vecdb_string
 *                 otherwise: row i is bytes offsets[i] .. offsets[i+1] of data (row_count + 1 offsets)
 *   ARRAY         row i has elements offsets[i] .. offsets[i+1] of data, laid out as `element_type` packed
 *                 (VARCHAR elements: data = vecdb_string)
 *   SPARSE_FLOAT_VECTOR  row i has elements offsets[i] .. offsets[i+1] of data, an array of vecdb_sparse
 * Columns that come out use offsets for VARCHAR and JSON.
 */
typedef struct vecdb_column {
    const char *field;
    vecdb_type type;         /**< of the values given; integers and floats may be narrower than the field */
    vecdb_type element_type; /**< ARRAY */
    uint32_t dim;            /**< vectors, but for sparse ones */
    size_t stride;           /**< bytes; 0 for packed */
    const void *data;
    const uint64_t *offsets;
    const uint8_t *valid;    /**< row_count bytes, 0 where the value is missing; NULL when all are there */
    uint64_t reserved[2];
} vecdb_column;

/** Rows, column by column. Fields left out take their default, or null, or are an error. */
typedef struct vecdb_batch {
    uint32_t size;
    uint32_t column_size;    /**< sizeof(vecdb_column) */
    const vecdb_column *columns;
    size_t column_count;
    size_t row_count;
    const char *partition;   /**< name of a partition, or NULL for the default one */
} vecdb_batch;
#define VECDB_BATCH_INIT {sizeof(vecdb_batch), sizeof(vecdb_column), NULL, 0, 0, NULL}

/* ------------------------------------------------------------------------------------------------- database */

/** An open database. Every function that takes one may be called from any thread at any time, but for vecdb_close. */
typedef struct vecdb_db vecdb_db;
/** An open collection. Every function that takes one may be called from any thread at any time, but for its close. */
typedef struct vecdb_collection vecdb_collection;
/** Rows that a search or query found. Read-only: any number of threads may read one. */
typedef struct vecdb_result vecdb_result;
/** A position in a search or query over one frozen state of a collection. For one thread at a time. */
typedef struct vecdb_cursor vecdb_cursor;
/** A parsed filter, bound to a collection's schema. Read-only: any number of threads may use one. */
typedef struct vecdb_filter vecdb_filter;

/** When a write is acknowledged. */
typedef enum vecdb_durability {
    VECDB_DURABILITY_DEFAULT = 0, /**< the database's; FULL unless its options say otherwise */
    VECDB_DURABILITY_FULL = 1,    /**< synced: the batch survives power loss once the call returns */
    VECDB_DURABILITY_NORMAL = 2,  /**< survives a crash of the process; power loss may lose the last moments, whole batches */
    VECDB_DURABILITY_NONE = 3     /**< buffered: durable after vecdb_sync */
} vecdb_durability;

/**
 * Called now and then from a long call, on the calling thread, with no lock held: it may call any function. What must not
 * run twice at a time (flush, optimize, load, an index of the same collection) is refused in there with VECDB_ERR_BUSY; so it is
 * on other threads when a callback has not returned for a second.
 * @param done, total  work in units of the call's own; total 0 when not known.
 * @return false to stop: the call then fails with VECDB_ERR_CANCELLED and changes nothing.
 */
typedef bool (*vecdb_progress)(void *context, const char *stage, uint64_t done, uint64_t total);

enum { /* vecdb_open_options.flags */
    VECDB_OPEN_READ_ONLY = 1, /**< share with a writing process and other readers; works on read-only media */
    VECDB_OPEN_NO_CREATE = 2, /**< fail with VECDB_ERR_NO_SUCH when the directory holds no database */
    VECDB_OPEN_IN_HEAP = 4    /**< read files into memory instead of mapping them */
};

typedef struct vecdb_open_options {
    uint32_t size;
    uint32_t flags;
    vecdb_durability durability; /**< default for every write */
    uint32_t threads;            /**< for searching and building; 0: one per core */
    uint64_t memory_limit;       /**< bytes the library may allocate; 0: no limit */
    uint32_t lock_timeout_ms;    /**< how long to wait for another process to let go; 0: not at all */
    /** Rows that no index has taken in yet, beside which a search is to find itself at most: while there are more, and somebody
     * has searched the collection within a tenth of a second, an insert or upsert waits for the indexes, a millisecond a row and
     * a second at most. 0: 8192; UINT32_MAX: never wait. */
    uint32_t fresh_rows;
} vecdb_open_options;
#define VECDB_OPEN_OPTIONS_INIT {sizeof(vecdb_open_options), 0, VECDB_DURABILITY_DEFAULT, 0, 0, 0, 0}

/**
 * Open a database, creating its directory when there is none.
 * @param path     a directory; NULL or ":memory:" for a database in memory, gone when closed.
 * @param options  NULL for defaults.
 * @param out      receives the handle; NULL on failure (then see vecdb_last_error).
 * @return VECDB_OK; VECDB_ERR_BUSY (another process writes: the message has its pid; or this one does already);
 *         VECDB_ERR_CORRUPT, VECDB_ERR_VERSION, VECDB_ERR_IO, VECDB_ERR_READONLY, VECDB_ERR_NOMEM, VECDB_ERR_INVALID.
 */
VECDB_API vecdb_status vecdb_open(const char *path, const vecdb_open_options *options, vecdb_db **out);
/**
 * Close a database. VECDB_ERR_BUSY, and nothing happens, while collections, cursors or filters of it are open.
 * No other call on the handle may be running.
 */
VECDB_API vecdb_status vecdb_close(vecdb_db **db);
/** Copy the most recent failure on this handle into *error. Thread-safe. */
VECDB_API vecdb_status vecdb_db_error(vecdb_db *db, vecdb_error *error);
/** Make everything written so far durable, whatever the durability mode. */
VECDB_API vecdb_status vecdb_sync(vecdb_db *db);
/** Read-only databases: go on to what the writing process has published since. Open collections follow. */
VECDB_API vecdb_status vecdb_refresh(vecdb_db *db);
/**
 * Facts about the database as JSON text: path, version, collections, bytes on disk and in memory, what recovery did.
 * @param out  receives text to give to vecdb_free().
 */
VECDB_API vecdb_status vecdb_db_stats(vecdb_db *db, char **out);
/** Free text or a list that a vecdb function handed over. NULL is allowed. */
VECDB_API void vecdb_free(void *memory);

/**
 * Check every file of a closed or open database against its checksums and every structure against its rules.
 * @param report  receives JSON text for vecdb_free(): {"ok": bool, "files": n, "bytes": n, "problems": [{file, offset, what}]}.
 *                Where one byte of a file was changed, the first problem's offset is this byte's, and `what` says what it was
 *                (in writes of the log above 128 KiB, only where the write begins; and in the first eight files).
 * @return VECDB_OK when nothing is wrong, VECDB_ERR_CORRUPT when something is; others when the check itself failed.
 */
VECDB_API vecdb_status vecdb_verify(const char *path, vecdb_progress progress, void *context, char **report);
/** Write a consistent copy of an open database into the new directory `path` while reading and writing go on. */
VECDB_API vecdb_status vecdb_backup(vecdb_db *db, const char *path, vecdb_progress progress, void *context);
/** Save what can be saved of a damaged, closed database, dropping what cannot; `report` says what was dropped, as JSON. */
VECDB_API vecdb_status vecdb_repair(const char *path, vecdb_progress progress, void *context, char **report);

/* ------------------------------------------------------------------------------------------------- collections */

/** Create a collection and open it. VECDB_ERR_EXISTS when the name is taken. */
VECDB_API vecdb_status vecdb_collection_create(vecdb_db *db, const vecdb_schema *schema, vecdb_collection **out);
/** Open a collection by name. VECDB_ERR_NO_SUCH when there is none. */
VECDB_API vecdb_status vecdb_collection_open(vecdb_db *db, const char *name, vecdb_collection **out);
/** Give a handle back. VECDB_ERR_BUSY while cursors or filters made from it are open. */
VECDB_API vecdb_status vecdb_collection_close(vecdb_collection **collection);
/** Delete a collection and its data. Handles that are open on it stay valid and answer VECDB_ERR_NO_SUCH. */
VECDB_API vecdb_status vecdb_collection_drop(vecdb_db *db, const char *name);
/** Rename a collection. */
VECDB_API vecdb_status vecdb_collection_rename(vecdb_db *db, const char *name, const char *new_name);
/**
 * Names of all collections, sorted.
 * @param names  receives an array of `*count` strings, one block of memory for vecdb_free(); NULL when there are none.
 */
VECDB_API vecdb_status vecdb_collection_list(vecdb_db *db, char ***names, size_t *count);
/** Copy the most recent failure on this handle into *error. Thread-safe. */
VECDB_API vecdb_status vecdb_collection_error(vecdb_collection *collection, vecdb_error *error);
/** The schema, with sizes as this library knows them. Valid until the handle is closed. */
VECDB_API vecdb_status vecdb_collection_schema(vecdb_collection *collection, const vecdb_schema **out);
/** Facts as JSON text for vecdb_free(): rows, deleted, segments, indexes, bytes, memory. */
VECDB_API vecdb_status vecdb_collection_stats(vecdb_collection *collection, char **out);
/**
 * What is in a field, as JSON text for vecdb_free(): rows, null_count, distinct_count, min, max, unique_values.
 * @param field       of an ARRAY its elements count; of JSON or a vector there is null_count alone.
 * @param params      for JSON "json_path=..." as in an index: what is at that path; or NULL.
 * @param max_unique  unique_values are left out when there are more.
 */
VECDB_API vecdb_status vecdb_field_stats(vecdb_collection *collection, const char *field, const char *params,
                                         size_t max_unique, char **out);
/** Add a field to a live collection. It must be nullable or have a default, which rows already there take. */
VECDB_API vecdb_status vecdb_collection_add_field(vecdb_collection *collection, const vecdb_field *field);
/**
 * Let rows expire so many seconds after they were inserted or upserted; 0: never. Takes effect at once, also on rows there are: those
 * from before this was first asked for, be it when the collection was created, count as inserted at that moment. Rows that have expired
 * come back when they are given more time, unless optimize, compaction or a later row of the same key has dropped them.
 */
VECDB_API vecdb_status vecdb_collection_set_ttl(vecdb_collection *collection, uint64_t seconds);
/** Delete all rows, keeping schema and index definitions. */
VECDB_API vecdb_status vecdb_collection_truncate(vecdb_collection *collection);

/** Another name for a collection; moves the alias when it already exists and `move` is true. */
VECDB_API vecdb_status vecdb_alias_set(vecdb_db *db, const char *alias, const char *collection, bool move);
VECDB_API vecdb_status vecdb_alias_drop(vecdb_db *db, const char *alias);
/** Aliases of a collection, or all of them when `collection` is NULL, as vecdb_collection_list gives names. */
VECDB_API vecdb_status vecdb_alias_list(vecdb_db *db, const char *collection, char ***names, size_t *count);

VECDB_API vecdb_status vecdb_partition_create(vecdb_collection *collection, const char *name);
/** Drop a partition and its rows. */
VECDB_API vecdb_status vecdb_partition_drop(vecdb_collection *collection, const char *name);
/** Partitions' names, the default one ("_default") first, as vecdb_collection_list gives names. */
VECDB_API vecdb_status vecdb_partition_list(vecdb_collection *collection, char ***names, size_t *count);

/* ------------------------------------------------------------------------------------------------- writing */

typedef struct vecdb_write_options {
    uint32_t size;
    vecdb_durability durability; /**< of this batch */
    int64_t *auto_ids;           /**< AUTO_ID with INT64 keys: receives row_count keys; or NULL */
    uint64_t affected;           /**< out: rows inserted, or deleted */
    uint64_t bad_row;            /**< out: on failure the first row at fault, UINT64_MAX when not about a row */
} vecdb_write_options;
#define VECDB_WRITE_OPTIONS_INIT {sizeof(vecdb_write_options), VECDB_DURABILITY_DEFAULT, NULL, 0, UINT64_MAX}

/**
 * Add rows, all or none.
 * @param options  NULL for defaults.
 * @return VECDB_OK; VECDB_ERR_EXISTS (a key is there already, or twice in the batch), VECDB_ERR_DIM, VECDB_ERR_TYPE,
 *         VECDB_ERR_INVALID (a NaN, a zero vector under COSINE, bad UTF-8, a field missing), VECDB_ERR_NO_SUCH (field),
 *         VECDB_ERR_LIMIT, VECDB_ERR_FULL, VECDB_ERR_IO, VECDB_ERR_READONLY, VECDB_ERR_POISONED, VECDB_ERR_NOMEM.
 */
VECDB_API vecdb_status vecdb_insert(vecdb_collection *collection, const vecdb_batch *batch,
                                    vecdb_write_options *options);
/** Add rows, replacing those whose key is there already, in one atomic step. A key twice in the batch: the last wins. */
VECDB_API vecdb_status vecdb_upsert(vecdb_collection *collection, const vecdb_batch *batch,
                                    vecdb_write_options *options);
/** Delete the rows with these keys; keys that are not there are ignored. `keys->field` may be NULL. */
VECDB_API vecdb_status vecdb_delete(vecdb_collection *collection, const vecdb_column *keys, size_t key_count,
                                    vecdb_write_options *options);
/** Delete the rows that match a filter, in one atomic step. An empty filter is refused: use truncate. */
VECDB_API vecdb_status vecdb_delete_where(vecdb_collection *collection, const char *filter, const char *filter_params,
                                          vecdb_write_options *options);

/* ------------------------------------------------------------------------------------------------- indexes */

typedef struct vecdb_index_options {
    uint32_t size;
    const char *field;
    const char *name;         /**< NULL: the field's name */
    const char *type;         /**< "HNSW", "IVF_FLAT", ...; scalar: "INVERTED", "BITMAP", ...; NULL or "AUTOINDEX" chooses */
    vecdb_metric metric;      /**< vectors */
    const char *params;       /**< "M=16, efConstruction=200" or a JSON object; NULL for defaults */
    vecdb_progress progress;  /**< or NULL */
    void *context;            /**< for progress */
} vecdb_index_options;
#define VECDB_INDEX_OPTIONS_INIT {sizeof(vecdb_index_options), NULL, NULL, NULL, VECDB_METRIC_DEFAULT, NULL, NULL, NULL}

/**
 * Define an index on a field and build it for the rows there are; later rows are indexed as they come.
 * @return VECDB_OK; VECDB_ERR_EXISTS (the field has an index already), VECDB_ERR_NO_SUCH (field or index type),
 *         VECDB_ERR_INVALID (a parameter: the message has its name, value and range), VECDB_ERR_UNSUPPORTED
 *         (type and metric do not go together), VECDB_ERR_CANCELLED, VECDB_ERR_NOMEM, ...
 */
VECDB_API vecdb_status vecdb_index_create(vecdb_collection *collection, const vecdb_index_options *options);
/** Drop an index by name or by its field's name; searches then scan. */
VECDB_API vecdb_status vecdb_index_drop(vecdb_collection *collection, const char *name);
/** Names of the indexes, as vecdb_collection_list gives names. */
VECDB_API vecdb_status vecdb_index_list(vecdb_collection *collection, char ***names, size_t *count);
/** One index as JSON text for vecdb_free(): name, field, type, kind (AUTOINDEX having chosen), params; total_rows, indexed_rows and
 * pending_rows (those yet to be taken in; a few new rows are scanned for good); bytes; state: finished, or partial while rows
 * are pending. */
VECDB_API vecdb_status vecdb_index_describe(vecdb_collection *collection, const char *name, char **out);

/** A parameter that an index kind knows. */
typedef struct vecdb_param_info {
    uint32_t size;
    const char *index;   /**< "HNSW" */
    const char *name;    /**< "efConstruction" */
    const char *meaning; /**< one line */
    const char *choices; /**< for words: "sq8|fp16|fp32"; else NULL */
    double low, high, default_value;
    bool for_search;     /**< a search parameter; otherwise one for building */
} vecdb_param_info;
#define VECDB_PARAM_INFO_INIT {sizeof(vecdb_param_info), NULL, NULL, NULL, NULL, 0, 0, 0, false}
/** The i-th parameter known, over all index kinds; VECDB_NOT_FOUND past the last. Static text. */
VECDB_API vecdb_status vecdb_param_at(size_t i, vecdb_param_info *out);

/* ------------------------------------------------------------------------------------------------- searching */

typedef struct vecdb_search_request {
    uint32_t size;
    const char *field;         /**< vector field; NULL when the collection has just one */
    const void *queries;       /**< query_count vectors; sparse ones: see query_offsets */
    vecdb_type query_type;     /**< of the queries; NONE: the field's. FLOAT_VECTOR is taken by every dense field */
    uint32_t dim;              /**< of each query; checked against the field's; sparse: 0 */
    size_t query_count;
    size_t query_stride;       /**< bytes from one query to the next; 0 for packed */
    size_t limit;              /**< k: hits wanted per query, at least 1 */
    size_t offset;             /**< hits to skip; with group_by, groups */
    vecdb_metric metric;       /**< DEFAULT: the index's, or COSINE / HAMMING without one */
    const char *filter;        /**< expression, or NULL for all rows */
    const char *filter_params; /**< JSON object for {names} in the filter, or NULL */
    const vecdb_filter *compiled; /**< instead of `filter`, or NULL */
    const char *const *output_fields; /**< fields to bring along; "*" for all; NULL for none */
    size_t output_count;
    const char *const *partitions; /**< partitions to search; NULL for all */
    size_t partition_count;
    const vecdb_column *within_keys; /**< search only rows with these keys; NULL for all */
    size_t within_count;
    const char *params;        /**< "ef=64" or a JSON object, checked against the index kind's table; NULL for defaults */
    bool has_radius;           /**< range search: only hits nearer than radius (and not nearer than range_filter) */
    bool has_range_filter;
    double radius;
    double range_filter;
    const char *group_by;      /**< scalar field: at most group_size hits per value, limit counts groups; or NULL */
    size_t group_size;         /**< 0 means 1 */
    bool strict_group_size;
    int32_t round_decimal;     /**< digits after the point of scores, 0..6; -1 or less: no rounding */
    uint32_t timeout_ms;       /**< 0: none */
    bool exact;                /**< scan every row, whatever the index */
    const char *const *query_filters; /**< query_count filters, one for each query, "" or NULL for all rows; instead of `filter` */
    const int32_t *cancel;     /**< another thread may make it other than 0: the search then soon fails with _CANCELLED */
    const uint64_t *query_offsets; /**< SPARSE_FLOAT_VECTOR: query i is vecdb_sparse query_offsets[i] .. [i+1] of `queries` */
} vecdb_search_request;
#define VECDB_SEARCH_REQUEST_INIT                                                                                  \
    {sizeof(vecdb_search_request), NULL, NULL, VECDB_TYPE_NONE, 0, 0, 0, 10, 0, VECDB_METRIC_DEFAULT, NULL, NULL,  \
     NULL, NULL, 0, NULL, 0, NULL, 0, NULL, false, false, 0, 0, NULL, 0, false, -1, 0, false, NULL, NULL, NULL}

/**
 * Find the nearest rows to each query.
 * @param out  receives a result for vecdb_result_free(); NULL on failure. Query i has at most `limit` hits, best first,
 *             ties by smaller key. Fewer than `limit` only when no more rows match. A row whose sparse vector scores 0, having
 *             nothing in common with the query, does not match.
 * @return VECDB_OK, or VECDB_EXHAUSTED (some query has fewer than `limit` hits, because no more rows match);
 *         VECDB_ERR_DIM, VECDB_ERR_INVALID (k of 0, a NaN, a zero vector under COSINE, a parameter), VECDB_ERR_FILTER,
 *         VECDB_ERR_NO_SUCH (field), VECDB_ERR_TYPE, VECDB_ERR_CANCELLED (timeout, or cancel), VECDB_ERR_NOMEM.
 * Sees the state current when it began; never waits for a writer.
 */
VECDB_API vecdb_status vecdb_search(vecdb_collection *collection, const vecdb_search_request *request,
                                    vecdb_result **out);
/**
 * The same, into storage of the caller's, for collections with INT64 keys: nothing is allocated for the caller.
 * @param keys    query_count x limit; unused places receive -1.
 * @param scores  query_count x limit, or NULL; unused places receive NaN.
 * @param counts  query_count: hits found for each query; or NULL.
 */
VECDB_API vecdb_status vecdb_search_into(vecdb_collection *collection, const vecdb_search_request *request,
                                         int64_t *keys, float *scores, size_t *counts);

/** One part of a hybrid search. */
typedef struct vecdb_hybrid_request {
    uint32_t size;
    const vecdb_search_request *const *searches; /**< over one or several vector fields, same query_count each */
    size_t search_count;
    const char *ranker;       /**< "rrf" or "weighted" */
    double rrf_k;             /**< rrf: 0 means 60 */
    const double *weights;    /**< weighted: search_count values in [0, 1] */
    bool raw_scores;          /**< weighted: do not normalise scores */
    size_t limit, offset;
    const char *const *output_fields;
    size_t output_count;
    int32_t round_decimal;
} vecdb_hybrid_request;
#define VECDB_HYBRID_REQUEST_INIT {sizeof(vecdb_hybrid_request), NULL, 0, "rrf", 0, NULL, false, 10, 0, NULL, 0, -1}
/** Search several vector fields and merge the ranks. Scores are fused ones, larger is better. */
VECDB_API vecdb_status vecdb_hybrid_search(vecdb_collection *collection, const vecdb_hybrid_request *request,
                                           vecdb_result **out);

typedef struct vecdb_query_request {
    uint32_t size;
    const char *filter;        /**< NULL or "" for all rows */
    const char *filter_params; /**< JSON object for {names} in the filter, or NULL */
    const char *const *output_fields; /**< NULL: all */
    size_t output_count;
    const char *const *partitions;
    size_t partition_count;
    size_t limit;              /**< 0: all */
    size_t offset;
    const char *order_by;      /**< "year desc, title"; NULL: by key */
} vecdb_query_request;
#define VECDB_QUERY_REQUEST_INIT {sizeof(vecdb_query_request), NULL, NULL, NULL, 0, NULL, 0, 0, 0, NULL}
/** Rows that match a filter. */
VECDB_API vecdb_status vecdb_query(vecdb_collection *collection, const vecdb_query_request *request,
                                   vecdb_result **out);
/** Rows with these keys, in the order of the keys; keys that are not there are left out (VECDB_NOT_FOUND when none is). */
VECDB_API vecdb_status vecdb_get(vecdb_collection *collection, const vecdb_column *keys, size_t key_count,
                                 const char *const *output_fields, size_t output_count, vecdb_result **out);
/** Number of rows that match; all live rows when filter is NULL. */
VECDB_API vecdb_status vecdb_count(vecdb_collection *collection, const char *filter, const char *filter_params,
                                   uint64_t *out);

/** Start a search (one query vector) that is read page by page, or a query; over the rows as they are now. */
VECDB_API vecdb_status vecdb_search_cursor(vecdb_collection *collection, const vecdb_search_request *request,
                                           vecdb_cursor **out);
VECDB_API vecdb_status vecdb_query_cursor(vecdb_collection *collection, const vecdb_query_request *request,
                                          vecdb_cursor **out);
/** The next at most `count` rows; VECDB_EXHAUSTED with an empty result after the last. */
VECDB_API vecdb_status vecdb_cursor_next(vecdb_cursor *cursor, size_t count, vecdb_result **out);
VECDB_API void vecdb_cursor_close(vecdb_cursor **cursor);

/** Parse a filter and bind it to the collection's schema. */
VECDB_API vecdb_status vecdb_filter_compile(vecdb_collection *collection, const char *filter,
                                            const char *filter_params, vecdb_filter **out);
/** Evaluate a filter on a batch of rows that need not be in the collection: matches[i] = 1 where it is true. */
VECDB_API vecdb_status vecdb_filter_match(const vecdb_filter *filter, const vecdb_batch *batch, uint8_t *matches);
VECDB_API void vecdb_filter_free(vecdb_filter **filter);
/** How a search would run, and what it cost, as JSON text for vecdb_free(). Without queries: how its filter would. */
VECDB_API vecdb_status vecdb_explain(vecdb_collection *collection, const vecdb_search_request *request, char **out);

/**
 * Choose among hits by maximal marginal relevance: near to the query, and unlike those chosen before.
 * @param query       a vector of candidates->dim elements of candidates->type.
 * @param candidates  their vectors, as a result's column has them.
 * @param lambda      1: nearness alone, 0: difference alone; between them the weight of nearness.
 * @param chosen      receives the places of at most `limit` candidates, in the order they were chosen.
 * @param chosen_count  receives how many: the smaller of limit and count.
 * @return VECDB_OK; VECDB_ERR_INVALID, VECDB_ERR_TYPE (no vectors, or a metric that does not go with them), VECDB_ERR_NOMEM.
 */
VECDB_API vecdb_status vecdb_mmr(const void *query, const vecdb_column *candidates, size_t count, vecdb_metric metric,
                                 double lambda, size_t limit, size_t *chosen, size_t *chosen_count);

/* ------------------------------------------------------------------------------------------------- results */

/** Number of queries the result answers; 1 for get and query. */
VECDB_API size_t vecdb_result_query_count(const vecdb_result *result);
/** Rows of query i, and where they begin in the columns (`first` may be NULL). 0 when i is out of range. */
VECDB_API size_t vecdb_result_rows(const vecdb_result *result, size_t i, size_t *first);
/**
 * A column over all rows of all queries: the primary key, an output field, or "$score" (FLOAT).
 * @return VECDB_OK; VECDB_ERR_NO_SUCH. The column's memory belongs to the result.
 */
VECDB_API vecdb_status vecdb_result_column(const vecdb_result *result, const char *field, vecdb_column *out);
/** The i-th column of those the result has, key first, then "$score" if it has scores; VECDB_NOT_FOUND past the last. */
VECDB_API vecdb_status vecdb_result_column_at(const vecdb_result *result, size_t i, vecdb_column *out);
VECDB_API void vecdb_result_free(vecdb_result **result);

/* ------------------------------------------------------------------------------------------------- upkeep */

/** Write growing rows into a sealed segment. Never needed for safety. */
VECDB_API vecdb_status vecdb_flush(vecdb_collection *collection);
/** Merge segments, drop deleted rows, build all indexes: the collection at its fastest and smallest. */
VECDB_API vecdb_status vecdb_optimize(vecdb_collection *collection, vecdb_progress progress, void *context);
/** Bring vectors, keys, short texts and indexes into memory (huge pages where there are) before they are asked for. Vectors
 * that an index holds without loss (integers that fit a byte, in a graph) come with it; their other copy stays in its file. */
VECDB_API vecdb_status vecdb_load(vecdb_collection *collection, vecdb_progress progress, void *context);
/** Give back the memory that load took. Searching goes on, from the files. */
VECDB_API vecdb_status vecdb_release(vecdb_collection *collection);

#ifdef __cplusplus
}
#endif
#endif
