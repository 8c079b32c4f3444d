/* A read-only database goes on to what the writing process has published since. Collections that are open stay the same
 * objects: what changed is put into them, and readers go over with their next snapshot. */
#include "collection/database.h"

#include <string.h>

/* Take what was restored anew over into the collection that handles point to. The schemas go along, for snapshots point to
 * them; the old ones stay for older snapshots. */
static vecdb_status take_over(struct collection *collection, struct collection *restored)
{
    struct index_definition *indexes = restored->indexes;
    struct partition *partitions = restored->partitions;
    size_t index_count = restored->index_count, partition_count = restored->partition_count;
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = VECDB_OK;
    while (restored->schema_count && status == VECDB_OK) {
        struct schema *first = restored->schemas[0];
        status = collection_add_schema(collection, first);
        if (status == VECDB_OK) {
            restored->schema_count--;
            memmove(restored->schemas, restored->schemas + 1, restored->schema_count * sizeof *restored->schemas);
        }
    }
    if (status == VECDB_OK) {
        pthread_mutex_lock(&collection->snapshot_lock);
        restored->indexes = collection->indexes;
        restored->index_count = collection->index_count;
        restored->partitions = collection->partitions;
        restored->partition_count = collection->partition_count;
        collection->indexes = indexes;
        collection->index_count = index_count;
        collection->partitions = partitions;
        collection->partition_count = partition_count;
        pthread_mutex_unlock(&collection->snapshot_lock);
        collection->next_auto_id = restored->next_auto_id;
        collection->checkpoint_lsn = restored->checkpoint_lsn;
        collection_publish(collection, snapshot_retain(restored->latest));
    }
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}

static struct collection *find_id(struct collection **collections, size_t count, uint64_t id)
{
    for (size_t i = 0; i < count; i++)
        if (collections[i]->id == id)
            return collections[i];
    return NULL;
}

/* Put the old objects in the place of restored ones that are the same collection; those that are gone are dropped. */
static vecdb_status merge_collections(struct database *database, struct collection **old, size_t old_count)
{
    for (size_t i = 0; i < database->collection_count; i++) {
        struct collection *restored = database->collections[i];
        struct collection *same = find_id(old, old_count, restored->id);
        if (!same)
            continue;
        TRY(take_over(same, restored));
        database->collections[i] = collection_retain(same);
        collection_release(restored);
    }
    for (size_t i = 0; i < old_count; i++)
        if (!find_id(database->collections, database->collection_count, old[i]->id))
            atomic_store_explicit(&old[i]->dropped, true, memory_order_release);
    return VECDB_OK;
}

/* Everything anew from the manifest that the store has read. */
static vecdb_status reload(struct database *database)
{
    struct collection **old = database->collections;
    struct alias *old_aliases = database->aliases;
    size_t old_count = database->collection_count, old_alias_count = database->alias_count;
    vecdb_status status;

    database->collections = NULL;
    database->aliases = NULL;
    database->collection_count = database->alias_count = 0;
    status = database_restore(database);
    if (status == VECDB_OK)
        status = merge_collections(database, old, old_count);
    if (status != VECDB_OK) { /* as before */
        vecdb_error failure = *error_last();
        database_forget(database);
        mem_free(database->collections);
        mem_free(database->aliases);
        database->collections = old;
        database->aliases = old_aliases;
        database->collection_count = old_count;
        database->alias_count = old_alias_count;
        return error_adopt(&failure);
    }
    for (size_t i = 0; i < old_count; i++)
        collection_release(old[i]);
    for (size_t i = 0; i < old_alias_count; i++)
        mem_free(old_aliases[i].name);
    mem_free(old);
    mem_free(old_aliases);
    return VECDB_OK;
}

vecdb_status database_refresh(struct database *database)
{
    vecdb_status status = VECDB_OK;
    bool changed = false;

    if (!database->read_only || !database->store)
        return VECDB_OK;
    pthread_mutex_lock(&database->lock);
    for (int tries = 0; tries < 100; tries++) { /* the writer may go on while we read: then anew */
        status = store_refresh(database->store, &changed);
        if (status == VECDB_OK && changed)
            status = reload(database);
        else if (status == VECDB_OK)
            status = store_follow(database->store, database_apply_frame, database);
        if (status != VECDB_ERR_NO_SUCH)
            break;
    }
    pthread_mutex_unlock(&database->lock);
    return status;
}
