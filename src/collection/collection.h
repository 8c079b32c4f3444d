/* A collection: the living object. Its rows are segments; every write makes a new snapshot. One writer at a time (write_lock);
 * readers take the published snapshot and never wait for a writer.
 *
 * A write goes: check, make the snapshot after it, append one frame to the log, make it `latest`; then, without the lock,
 * wait until the frame is as durable as was asked, and publish. So the latest snapshot may be ahead of the published one by
 * writes that wait for their sync; what writers check against is the latest. */
#ifndef VECDB_COLLECTION_COLLECTION_H
#define VECDB_COLLECTION_COLLECTION_H

#include "base/convoy.h"
#include "base/mem.h"
#include "filter/compiled.h"
#include "query/search.h"
#include "schema/rows.h"
#include "storage/store.h"

#include <pthread.h>

struct database;

/** An index that the user defined on a field. */
struct index_definition {
    uint64_t id;
    char *name, *field, *params_text;
    const char *scalar;          /* "BITMAP", "AUTOINDEX", ...: of a field that is no vector; then without the next three */
    const struct index_ops *ops;
    vecdb_metric metric;
    struct params params;
    bool automatic; /* type AUTOINDEX */
};

struct partition {
    uint32_t id;
    char *name;
};

/* Held by one thread at a time (claim.c). */
struct claim {
    pthread_mutex_t lock; /* only ever held for a moment */
    pthread_cond_t given_back;
    bool taken;
    pthread_t owner;
    uint64_t callback_since; /* when the owner's progress callback was called, which is running; 0: none is */
};

struct collection {
    atomic_uint references;
    struct database *database;
    uint64_t id;
    atomic_bool dropped;

    struct claim upkeep;         /* on writing segments anew and building indexes; taken before all locks */
    pthread_mutex_t write_lock;  /* held by whoever changes anything below */
    struct schema **schemas;     /* all there have been, newest last; segments and snapshots point to them */
    size_t schema_count;
    struct index_definition *indexes;
    size_t index_count;
    struct partition *partitions; /* the default one, "_default", first */
    size_t partition_count;
    int64_t next_auto_id;
    struct snapshot *latest;     /* with all that has been written */
    uint64_t checkpoint_lsn;     /* writes up to here are in sealed segments */

    atomic_bool growth_failed;     /* taking rows into the indexes did, last */
    struct compiled_filters filters; /* of the searches of late */

    struct convoy convoy;          /* of small inserts that are to be durable when they return */

    /* Written by every search, on a line of its own. */
    _Alignas(CACHE_LINE) pthread_mutex_t snapshot_lock; /* held only to take or set `published`, and to change (with
                                                           write_lock) or read (without) indexes and partitions */
    struct snapshot *published;    /* what readers see */
    _Atomic uint64_t searched;     /* when, by a coarse clock in ms; 0: never */
};

/** What a manifest describes: schema, partitions, index definitions, segments. */
vecdb_status collection_restore(struct database *database, const struct manifest_collection *from,
                                struct collection **out);
/** A collection without partitions; takes over the schema, also on failure. */
vecdb_status collection_create(struct database *database, uint64_t id, struct schema *schema, struct collection **out);
vecdb_status collection_add_partition(struct collection *collection, uint32_t id, const char *name);
static inline struct collection *collection_retain(struct collection *collection)
{
    atomic_fetch_add_explicit(&collection->references, 1, memory_order_relaxed);
    return collection;
}
void collection_release(struct collection *collection);
/** The newest schema. With write_lock, or through a snapshot. */
static inline const struct schema *collection_schema(const struct collection *collection)
{
    return collection->schemas[collection->schema_count - 1];
}
/** The current state, retained; release it with snapshot_release(). */
struct snapshot *collection_snapshot(struct collection *collection);
/**
 * Before a change that is no logged write (an index, a merge): make all writes durable and publish them, so that latest and
 * published are one. With write_lock.
 */
vecdb_status collection_settle(struct collection *collection);
/** Replace the state, latest and published; takes over the reference. With write_lock, after collection_settle(). */
void collection_publish(struct collection *collection, struct snapshot *snapshot);
/** Make a snapshot the latest; takes over the reference. With write_lock, and with its frame in the log before that is let go. */
void collection_advance(struct collection *collection, struct snapshot *snapshot);
/** A write: make `snapshot` the latest state, with the log frame `parts` behind it, and return a reference in *staged for
 * collection_commit(). Takes over `snapshot`, also on failure. With write_lock. */
vecdb_status collection_stage(struct collection *collection, struct snapshot *snapshot, uint16_t type,
                              const struct iovec *parts, size_t part_count, struct snapshot **staged);
/** Wait for a staged write's durability and publish it. Without write_lock. Releases `staged`. */
vecdb_status collection_commit(struct collection *collection, struct snapshot *staged, vecdb_durability durability);
/** VECDB_ERR_NO_SUCH when the collection has been dropped. */
vecdb_status collection_alive(const struct collection *collection);
/** Whether it may be changed: it is there, and its database neither read-only nor failed. */
vecdb_status collection_writable(const struct collection *collection);
vecdb_status collection_add_schema(struct collection *collection, struct schema *schema);
/** Go over to another schema of the same rows; takes it over, also on failure. With write_lock. */
vecdb_status collection_set_schema(struct collection *collection, struct schema *schema);
/** Add a field to the schema; rows there are take its default, or have no value. */
vecdb_status collection_add_field(struct collection *collection, const vecdb_field *field);
vecdb_status collection_set_ttl(struct collection *collection, uint64_t seconds);
/** Begin a change of the manifest, if there is one: *draft and *described are NULL for a database in memory. */
vecdb_status collection_begin_change(struct collection *collection, struct manifest **draft,
                                     struct manifest_collection **described);
/** Id by name; VECDB_ERR_NO_SUCH. With write_lock or snapshot_lock. */
vecdb_status collection_find_partition(const struct collection *collection, const char *name, uint32_t *id);

/* claim.c */
void claim_init(struct claim *claim);
void claim_deinit(struct claim *claim);
/** Wait for the claim and take it. VECDB_ERR_BUSY when that may be for ever: a progress callback asks, on this thread, for what it
 * reports on, or has not returned for a second to whoever has the claim. */
vecdb_status collection_begin_upkeep(struct collection *collection);
void collection_end_upkeep(struct collection *collection);
/** A caller's progress callback, whose runs are noted: claim_report() with this as its context. */
struct watched_progress {
    struct claim *claim;
    vecdb_progress progress;
    void *context;
};
bool claim_report(void *context, const char *stage, uint64_t done, uint64_t total);
/** What takes the place of the caller's `progress`. */
static inline vecdb_progress claim_watch(struct watched_progress *out, struct collection *collection, vecdb_progress progress,
                                         void *context)
{
    *out = (struct watched_progress){&collection->upkeep, progress, context};
    return progress ? claim_report : NULL;
}

/* insert.c, delete.c */
struct write_result {
    uint64_t affected;
    uint64_t bad_row;
    int64_t first_auto_id;
};
vecdb_status collection_insert(struct collection *collection, const vecdb_batch *batch, bool replace,
                               vecdb_durability durability, struct write_result *result);
vecdb_status collection_delete_keys(struct collection *collection, const vecdb_column *keys, size_t key_count,
                                    vecdb_durability durability, struct write_result *result);
vecdb_status collection_delete_where(struct collection *collection, const char *filter, const char *filter_params,
                                     vecdb_durability durability, struct write_result *result);
vecdb_status collection_truncate(struct collection *collection);
/** Delete the rows that have expired, so that compaction drops them. */
vecdb_status collection_delete_expired(struct collection *collection);

/* frames.c: what the log carries */
enum { /* types of frames; stored, never reused */
    FRAME_INSERT = 1,
    FRAME_DELETE = 2,
    FRAME_TRUNCATE = 3,
};
/** But for the values of the field `around` (SCHEMA_NONE: none), which belong at out->data + *hole. */
vecdb_status frame_put_insert(const struct collection *collection, uint32_t partition, bool replace,
                              int64_t next_auto_id, const struct rows *rows, size_t around, struct buf *out, size_t *hole);
/** Keys of rows, by view of the snapshot. */
vecdb_status frame_put_delete(const struct collection *collection, const struct snapshot *snapshot,
                              uint32_t *const *rows, const size_t *counts, struct buf *out);
vecdb_status frame_put_truncate(const struct collection *collection, struct buf *out);
/** The collection that a frame is about. VECDB_ERR_CORRUPT when it is too short. */
vecdb_status frame_collection(const struct wal_frame *frame, uint64_t *id);
/* insert.c, delete.c: what a frame did, done again; visible at once. For the one thread that recovers or follows. */
vecdb_status collection_redo_insert(struct collection *collection, const struct rows *rows, uint32_t partition,
                                    uint64_t lsn);
vecdb_status collection_redo_delete(struct collection *collection, const vecdb_column *keys, size_t key_count,
                                    uint64_t lsn);
vecdb_status collection_redo_truncate(struct collection *collection, uint64_t lsn);
/** What an upsert replaced is gone, even where what it wrote is too: rows of other partitions among it. */
vecdb_status delete_redo_replaced(struct collection *collection, const struct rows *rows, uint64_t lsn);
/** Planted bug 13: the rows that an upsert replaces go away in a write of their own. */
vecdb_status delete_plant_first(struct collection *collection, const struct rows *rows);
/** Do again what a frame says. */
vecdb_status collection_replay(struct collection *collection, const struct wal_frame *frame);

/* indexes.c */
/** "HNSW", "BITMAP", "AUTOINDEX": as the user named it. */
const char *index_definition_type(const struct index_definition *definition);
void index_definition_deinit(struct index_definition *definition);
/** Add a definition as the manifest has it. */
vecdb_status collection_restore_index(struct collection *collection, const struct manifest_index *from);
vecdb_status collection_create_index(struct collection *collection, const vecdb_index_options *options);
vecdb_status collection_drop_index(struct collection *collection, const char *name);
/** By index name, or the name of a field that has just one. VECDB_ERR_NO_SUCH. With write_lock. */
vecdb_status collection_find_index(const struct collection *collection, const char *name,
                                   const struct index_definition **out);
vecdb_status collection_describe_index(struct collection *collection, const char *name, struct buf *out);
/** The metric of the index on a field, VECDB_METRIC_DEFAULT when there is none. */
vecdb_metric collection_field_metric(struct collection *collection, const char *field);

/** Indexes of the segments that a segment was made of, and where their rows went, as index_ops.merge takes them. */
struct index_parts {
    struct index **indexes;
    const uint32_t **row_maps;
    size_t count;
};
/** Build the index of one view's rows, from those of its parts (or NULL) where that is less work; *out stays NULL where there
 * is nothing to build. `options` for its progress. */
vecdb_status collection_build_index(struct collection *collection, const struct snapshot *snapshot,
                                    const struct segment_view *view, const struct index_definition *definition,
                                    const vecdb_index_options *options, const struct index_parts *parts,
                                    struct index_ref **out);
/** Whether a segment of so many rows is searched faster by the definition's kind than by a scan. */
bool collection_index_pays(const struct index_definition *definition, size_t rows);

/* build.c */
/** Write an index of a sealed segment to a file. `out->kind` is for mem_free(). */
vecdb_status collection_save_index(struct collection *collection, const struct index_ref *ref,
                                   const struct index_definition *definition, struct manifest_index_file *out);
/** Open an index that the manifest names for a segment, over the view's rows. *out stays NULL when it is not worth trusting:
 * it is built anew then. `in_heap`: read the file instead of mapping it. */
vecdb_status collection_open_index(struct collection *collection, const struct segment_view *view,
                                   const struct index_definition *definition, const struct manifest_index_file *from,
                                   bool in_heap, struct index_ref **out);
/** Show indexes that were built; those of sealed segments are saved and named by the manifest first, together with their
 * definition when it is new (`define`). With the claim on upkeep. */
vecdb_status collection_publish_indexes(struct collection *collection, const struct index_definition *definition,
                                        bool define, struct index_ref **refs, size_t count);
/** Put a definition into a draft of the manifest (NULL: in memory there is none) and among the collection's. With write_lock
 * and the claim on upkeep. */
vecdb_status collection_define_index(struct collection *collection, struct manifest_collection *described,
                                     const struct index_definition *definition);
/** Take it from among the collection's again. With write_lock. */
void collection_undefine_index(struct collection *collection, uint64_t id);
/** Build what indexes are defined and sealed segments lack. With the claim on upkeep. */
vecdb_status collection_build_missing(struct collection *collection, vecdb_progress progress, void *context);

/* flush.c, compact.c */
vecdb_status collection_flush(struct collection *collection, vecdb_progress progress, void *context);
/** Before an index is built: seal growing rows if they are many, so that its work is for the segment that stays; if it is on
 * `vectors`, together with sealed ones that have no such index yet. Does nothing in memory. With the claim on upkeep.
 * *out, unless it is NULL, goes on beside the caller: the new segments can be read, but are only synced and published by the time
 * sealing_end() returns, which must be called whatever happens. */
struct sealing;
vecdb_status collection_seal_for_index(struct collection *collection, bool vectors, vecdb_progress progress, void *context,
                                       struct sealing **out);
/** The new segments, until the end. */
const struct snapshot *sealing_sealed(const struct sealing *sealing);
vecdb_status sealing_end(struct sealing *sealing);
/** One segment for each partition where one fits, without deleted rows, with all indexes. */
vecdb_status collection_optimize(struct collection *collection, vecdb_progress progress, void *context);
/** Merge segments of a size, and write those anew that are mostly deleted. */
vecdb_status collection_compact(struct collection *collection, vecdb_progress progress, void *context);
bool collection_wants_compaction(struct collection *collection);

/* grow.c */
#define GROW_FIRST 4096 /* growing rows below which scanning is as fast as an index: they wait for none */
/** Take rows of growing segments into their indexes, until all that are published now are in. */
vecdb_status collection_grow_indexes(struct collection *collection, vecdb_progress progress, void *context);
/** After a write of so many rows: wake who takes them in, and wait for that when there are more than searches ought to find
 * beside the indexes (vecdb_open_options.fresh_rows). No lock held. */
void collection_keep_pace(struct collection *collection, size_t row_count);
/** Somebody searches: writers wait only then. */
void collection_note_search(struct collection *collection);

/* load.c */
/** Bring vectors, keys and indexes of sealed segments into memory, or back to their files. */
vecdb_status collection_load(struct collection *collection, bool load, vecdb_progress progress, void *context);
/** Facts as JSON. */
vecdb_status collection_print_stats(struct collection *collection, struct buf *out);

/* partitions.c */
vecdb_status collection_create_partition(struct collection *collection, const char *name);
vecdb_status collection_drop_partition(struct collection *collection, const char *name);

#endif
