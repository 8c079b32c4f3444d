#include "base/mem.h"
#include "collection/database.h"

#include <string.h>

vecdb_status collection_create_partition(struct collection *collection, const char *name)
{
    struct manifest_collection *described;
    struct manifest *draft;
    uint64_t new_id = 0;
    uint32_t id;
    vecdb_status status = schema_check_name("partition", name);

    if (status != VECDB_OK)
        return status;
    pthread_mutex_lock(&collection->write_lock);
    if ((status = collection_writable(collection)) != VECDB_OK)
        goto done;
    if (collection_schema(collection)->partition_key != SCHEMA_NONE) {
        status = error_set(VECDB_ERR_INVALID, "collection %s: partition key %s makes its partitions",
                           collection_schema(collection)->name,
                           collection_schema(collection)->fields[collection_schema(collection)->partition_key].name);
        goto done;
    }
    if (collection_find_partition(collection, name, &id) == VECDB_OK) {
        status = error_set(VECDB_ERR_EXISTS, "collection %s: partition %s exists", collection_schema(collection)->name,
                           name);
        goto done;
    }
    error_clear();
    if (collection->partition_count >= MANIFEST_MAX_PARTITIONS) {
        status = error_set(VECDB_ERR_LIMIT, "collection %s: more than %d partitions",
                           collection_schema(collection)->name, MANIFEST_MAX_PARTITIONS);
        goto done;
    }
    for (size_t i = 0; i < collection->partition_count; i++)
        if (collection->partitions[i].id >= new_id)
            new_id = collection->partitions[i].id + 1;
    if ((status = collection_begin_change(collection, &draft, &described)) != VECDB_OK)
        goto done;
    if (draft)
        status = manifest_add_partition(described, name, &new_id);
    if (status == VECDB_OK)
        status = collection_add_partition(collection, (uint32_t)new_id, name);
    if (draft && status == VECDB_OK) {
        status = store_publish(collection->database->store);
        if (status != VECDB_OK) {
            pthread_mutex_lock(&collection->snapshot_lock);
            mem_free(collection->partitions[--collection->partition_count].name);
            pthread_mutex_unlock(&collection->snapshot_lock);
        }
    } else if (draft) {
        store_abandon(collection->database->store);
    }
done:
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}

/* The snapshot without a partition's segments. */
static vecdb_status without_partition(const struct snapshot *snapshot, uint32_t id, struct snapshot **out)
{
    struct snapshot *copy;
    size_t kept = 0;
    vecdb_status status;

    TRY(snapshot_copy(snapshot, snapshot->schema, snapshot->view_count, &copy));
    for (size_t i = 0; i < copy->view_count; i++) { /* those to go gather at the end, and are left out of a copy */
        struct segment_view view = copy->views[i];
        if (view.partition == id)
            continue;
        copy->views[i] = copy->views[kept];
        copy->views[kept++] = view;
    }
    status = snapshot_copy(copy, copy->schema, kept, out);
    snapshot_release(copy);
    return status;
}

vecdb_status collection_drop_partition(struct collection *collection, const char *name)
{
    struct manifest_collection *described;
    struct snapshot *next = NULL;
    struct manifest *draft;
    uint32_t id;
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = collection_find_partition(collection, name, &id);
    if (status == VECDB_OK && (id == collection->partitions[0].id || collection_schema(collection)->partition_key != SCHEMA_NONE))
        status = error_set(VECDB_ERR_INVALID, "partition %s cannot be dropped", name);
    if (status == VECDB_OK)
        status = collection_settle(collection);
    if (status == VECDB_OK)
        status = without_partition(collection->latest, id, &next);
    if (status == VECDB_OK)
        status = collection_begin_change(collection, &draft, &described);
    if (status == VECDB_OK && draft) {
        manifest_remove_partition(described, id);
        status = store_publish(collection->database->store);
    }
    if (status == VECDB_OK) {
        collection_publish(collection, next);
        pthread_mutex_lock(&collection->snapshot_lock);
        for (size_t i = 0; i < collection->partition_count; i++)
            if (collection->partitions[i].id == id) {
                mem_free(collection->partitions[i].name);
                collection->partition_count--;
                memmove(&collection->partitions[i], &collection->partitions[i + 1],
                        (collection->partition_count - i) * sizeof *collection->partitions);
                break;
            }
        pthread_mutex_unlock(&collection->snapshot_lock);
    } else {
        snapshot_release(next);
    }
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}
