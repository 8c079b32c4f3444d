/* A database: its collections by name, its aliases, and what they share: threads, memory account, store. */
#ifndef VECDB_COLLECTION_DATABASE_H
#define VECDB_COLLECTION_DATABASE_H

#include "base/mem.h"
#include "base/pool.h"
#include "collection/collection.h"

struct alias {
    char *name;
    uint64_t collection; /* id */
};

struct database {
    char *path;              /* NULL: in memory */
    bool read_only, in_heap;
    vecdb_durability durability;
    struct store *store;     /* NULL: in memory */
    struct pool *pool;
    struct mem_account *account;
    struct upkeep *upkeep;   /* NULL: nobody looks after it but its callers */
    unsigned processors;     /* of the machine */
    size_t fresh_rows;       /* rows without an index that searches are to find beside it at most; SIZE_MAX: no limit */

    pthread_mutex_t lock;    /* the members below; taken before any collection's write_lock */
    struct collection **collections;
    size_t collection_count;
    struct alias *aliases;
    size_t alias_count;
    uint64_t next_id;        /* of growing segments, and in memory of collections and indexes: never used twice */

    _Alignas(CACHE_LINE) atomic_uint searching; /* searches that run now: written by each, so with nothing that others read */
};

/** `account` is taken over on success. `vfs`: vfs_posix, or a test's. */
vecdb_status database_open(const struct vfs *vfs, const char *path, const vecdb_open_options *options,
                           struct mem_account *account, struct database **out);
vecdb_status database_close(struct database *database);

/* upkeep.c: a thread that syncs, seals, merges and builds in the background */
struct upkeep;
/** For a database that is open for writing. database_close() stops it. */
vecdb_status upkeep_start(struct database *database);
void upkeep_stop(struct upkeep *upkeep);
/** A NORMAL write is waiting to be synced, or fresh rows to be indexed. */
void upkeep_poke(struct upkeep *upkeep);
/** The same, though it has just looked: somebody waits. */
void upkeep_hurry(struct upkeep *upkeep);
/** What to build with: in its thread, threads that give way to the program's. */
struct pool *database_pool(const struct database *database);

/** A search runs, and has run. */
static inline void database_search_begins(struct database *database)
{
    atomic_fetch_add_explicit(&database->searching, 1, memory_order_relaxed);
}
static inline void database_search_ends(struct database *database)
{
    atomic_fetch_sub_explicit(&database->searching, 1, memory_order_relaxed);
}

vecdb_status database_sync(struct database *database);
/** Read-only: go on to what the writing process has published. */
vecdb_status database_refresh(struct database *database);
/** For opening and refreshing: make what the manifest and the log say; give it up again; do a log frame again. */
vecdb_status database_restore(struct database *database);
void database_forget(struct database *database);
vecdb_status database_apply_frame(void *context, const struct wal_frame *frame, bool *needed);
uint64_t database_new_id(struct database *database);
/** VECDB_ERR_READONLY when it is. */
vecdb_status database_writable(const struct database *database);

vecdb_status database_create_collection(struct database *database, const vecdb_schema *schema, struct collection **out);
/** By name or alias; retained. */
vecdb_status database_find_collection(struct database *database, const char *name, struct collection **out);
vecdb_status database_drop_collection(struct database *database, const char *name);
vecdb_status database_rename_collection(struct database *database, const char *name, const char *new_name);
vecdb_status database_set_alias(struct database *database, const char *alias, const char *collection, bool move);
vecdb_status database_drop_alias(struct database *database, const char *alias);
/** One block of memory for mem_free(): pointers, then texts; sorted. NULL when there are none. */
vecdb_status names_pack(const char *const *names, size_t count, char ***out);
vecdb_status database_list_collections(struct database *database, char ***names, size_t *count);
vecdb_status database_list_aliases(struct database *database, const char *collection, char ***names, size_t *count);

#endif
