/* What the public handles are, and how a call comes in and goes out: the handle is checked, allocations are charged to the
 * database, and a failure's details are kept on the handle. */
#ifndef VECDB_API_HANDLE_H
#define VECDB_API_HANDLE_H

#include "collection/database.h"
#include "query/result.h"

#include <sys/types.h>

#define DB_MAGIC 0x7665636462646221ull
#define COLLECTION_MAGIC 0x766563646263216cull

/** The most recent failure of a handle. */
struct failure {
    pthread_mutex_t lock;
    vecdb_error error; /* lock */
};

struct vecdb_db {
    uint64_t magic;
    pid_t pid;            /* of the process that opened it: a fork's child must not use it */
    struct database *database;
    atomic_uint children; /* open collections */
    struct failure failure;
};

struct vecdb_collection {
    uint64_t magic;
    vecdb_db *db;
    struct collection *collection;
    atomic_uint children; /* open cursors and filters */
    struct failure failure;
    pthread_mutex_t schema_lock;
    struct published_schema *schemas; /* schema_lock: all that vecdb_collection_schema has handed out */
};

struct vecdb_filter {
    vecdb_collection *collection;
    struct filter *filter;
    const struct schema *schema; /* kept by the collection */
};

struct vecdb_result {
    struct result *result;
};

/** One call: what it has to put back when it ends. */
struct call {
    struct failure *failure;
    struct mem_account *before;
};

/** vecdb_open() on other files than the system's: for tests. */
vecdb_status db_open_with_vfs(const struct vfs *vfs, const char *path, const vecdb_open_options *options, vecdb_db **out);

/** Begin a call on a handle. On failure (closed, forked, NULL) there is nothing to end. */
vecdb_status call_begin_db(struct call *call, vecdb_db *db);
vecdb_status call_begin_collection(struct call *call, vecdb_collection *collection);
/** End it; a negative status has its details put on the handle. Returns the status. */
vecdb_status call_end(struct call *call, vecdb_status status);
void failure_init(struct failure *failure);
void failure_deinit(struct failure *failure);
vecdb_status failure_copy(struct failure *failure, vecdb_error *out);

/**
 * Copy a struct that begins with its size into *to, which holds the defaults: what an older program left out keeps them; what
 * a newer one has beyond must be zero.
 */
vecdb_status struct_read(const char *name, const void *from, void *to, size_t to_size);

#endif
