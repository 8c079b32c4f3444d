/* A collection: the living object. Its rows are segments; every write makes a new snapshot and publishes it. One writer at a
 * time (write_lock); readers take the published snapshot and never wait for a writer. */
#ifndef VECDB_COLLECTION_COLLECTION_H
#define VECDB_COLLECTION_COLLECTION_H

#include "query/search.h"
#include "schema/rows.h"

#include <pthread.h>

struct database;

/** An index that the user defined on a field. */
struct index_definition {
    uint64_t id;
    char *name, *field, *params_text;
    const struct index_ops *ops;
    vecdb_metric metric;
    struct params params;
    bool automatic; /* type AUTOINDEX */
};

struct partition {
    uint32_t id;
    char *name;
};

struct collection {
    atomic_uint references;
    struct database *database;
    uint64_t id;
    atomic_bool dropped;

    pthread_mutex_t write_lock;  /* held by whoever changes anything below */
    struct schema **schemas;     /* all there have been, newest last; segments and snapshots point to them */
    size_t schema_count;
    struct index_definition *indexes;
    size_t index_count;
    struct partition *partitions; /* the default one, "_default", first */
    size_t partition_count;
    uint32_t next_partition;
    int64_t next_auto_id;

    pthread_mutex_t snapshot_lock; /* held only to take or set `published` */
    struct snapshot *published;
};

vecdb_status collection_create(struct database *database, uint64_t id, struct schema *schema, struct collection **out);
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
/** Replace the published state; takes over the reference. With write_lock. */
void collection_publish(struct collection *collection, struct snapshot *snapshot);
/** VECDB_ERR_NO_SUCH when the collection has been dropped. */
vecdb_status collection_alive(const struct collection *collection);
vecdb_status collection_add_schema(struct collection *collection, struct schema *schema);
/** Add a field to the schema; rows there are take its default, or have no value. */
vecdb_status collection_add_field(struct collection *collection, const vecdb_field *field);
/** Id by name; VECDB_ERR_NO_SUCH. With write_lock. */
vecdb_status collection_find_partition(const struct collection *collection, const char *name, uint32_t *id);

/* write.c */
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

/* indexes.c */
vecdb_status collection_create_index(struct collection *collection, const vecdb_index_options *options);
vecdb_status collection_drop_index(struct collection *collection, const char *name);
/** By index name or field name, or NULL. With write_lock. */
const struct index_definition *collection_find_index(const struct collection *collection, const char *name);
vecdb_status collection_describe_index(struct collection *collection, const char *name, struct buf *out);
/** The metric of the index on a field, VECDB_METRIC_DEFAULT when there is none; takes write_lock. */
vecdb_metric collection_field_metric(struct collection *collection, const char *field);

/* partitions.c */
vecdb_status collection_create_partition(struct collection *collection, const char *name);
vecdb_status collection_drop_partition(struct collection *collection, const char *name);

#endif
