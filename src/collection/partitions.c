#include "base/mem.h"
#include "collection/collection.h"

#include <string.h>

vecdb_status collection_create_partition(struct collection *collection, const char *name)
{
    struct partition *partitions;
    uint32_t id;
    vecdb_status status = schema_check_name("partition", name);
    char *copy = NULL;

    if (status != VECDB_OK)
        return status;
    pthread_mutex_lock(&collection->write_lock);
    if ((status = collection_alive(collection)) != VECDB_OK)
        goto done;
    if (collection_find_partition(collection, name, &id) == VECDB_OK) {
        status = error_set(VECDB_ERR_EXISTS, "collection %s: partition %s exists", collection_schema(collection)->name,
                           name);
        goto done;
    }
    error_clear();
    if (collection->partition_count >= 4096) {
        status = error_set(VECDB_ERR_LIMIT, "collection %s: more than 4096 partitions",
                           collection_schema(collection)->name);
        goto done;
    }
    copy = mem_strdup(name);
    partitions = mem_realloc(collection->partitions, (collection->partition_count + 1) * sizeof *partitions);
    if (partitions)
        collection->partitions = partitions;
    if (!partitions || !copy) {
        mem_free(copy);
        status = error_nomem("partition");
        goto done;
    }
    partitions[collection->partition_count++] = (struct partition){collection->next_partition++, copy};
done:
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}

vecdb_status collection_drop_partition(struct collection *collection, const char *name)
{
    struct snapshot *snapshot, *next = NULL;
    uint32_t id;
    size_t kept = 0;
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_alive(collection);
    if (status == VECDB_OK)
        status = collection_find_partition(collection, name, &id);
    if (status == VECDB_OK && id == 0)
        status = error_set(VECDB_ERR_INVALID, "partition _default cannot be dropped");
    snapshot = collection->published;
    if (status == VECDB_OK)
        status = snapshot_copy(snapshot, snapshot->schema, snapshot->view_count, &next);
    if (status == VECDB_OK) {
        for (size_t i = 0; i < next->view_count; i++) { /* the dropped ones gather at the end, and go with a copy */
            struct segment_view view = next->views[i];
            if (view.partition == id)
                continue;
            next->views[i] = next->views[kept];
            next->views[kept++] = view;
        }
        snapshot = next;
        status = snapshot_copy(snapshot, snapshot->schema, kept, &next);
        snapshot_release(snapshot);
    }
    if (status == VECDB_OK) {
        collection_publish(collection, next);
        for (size_t i = 0; i < collection->partition_count; i++)
            if (collection->partitions[i].id == id) {
                mem_free(collection->partitions[i].name);
                collection->partition_count--;
                memmove(&collection->partitions[i], &collection->partitions[i + 1],
                        (collection->partition_count - i) * sizeof *collection->partitions);
                break;
            }
    }
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}
