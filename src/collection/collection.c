#include "collection/collection.h"

#include "base/mem.h"
#include "collection/database.h"

#include <string.h>

static void index_definition_deinit(struct index_definition *definition)
{
    mem_free(definition->name);
    mem_free(definition->field);
    mem_free(definition->params_text);
}

void collection_release(struct collection *collection)
{
    if (!collection || atomic_fetch_sub_explicit(&collection->references, 1, memory_order_acq_rel) != 1)
        return;
    snapshot_release(collection->published);
    for (size_t i = 0; i < collection->index_count; i++)
        index_definition_deinit(&collection->indexes[i]);
    for (size_t i = 0; i < collection->partition_count; i++)
        mem_free(collection->partitions[i].name);
    for (size_t i = 0; i < collection->schema_count; i++)
        schema_free(collection->schemas[i]);
    mem_free(collection->indexes);
    mem_free(collection->partitions);
    mem_free(collection->schemas);
    pthread_mutex_destroy(&collection->write_lock);
    pthread_mutex_destroy(&collection->snapshot_lock);
    mem_free(collection);
}

vecdb_status collection_add_schema(struct collection *collection, struct schema *schema)
{
    struct schema **schemas =
        mem_realloc(collection->schemas, (collection->schema_count + 1) * sizeof *collection->schemas);

    if (!schemas)
        return error_nomem("collection");
    collection->schemas = schemas;
    schemas[collection->schema_count++] = schema;
    return VECDB_OK;
}

vecdb_status collection_create(struct database *database, uint64_t id, struct schema *schema, struct collection **out)
{
    struct collection *collection = mem_zalloc(sizeof *collection);
    struct partition *partition;
    vecdb_status status;

    *out = NULL;
    if (!collection) {
        schema_free(schema);
        return error_nomem("collection");
    }
    atomic_init(&collection->references, 1);
    pthread_mutex_init(&collection->write_lock, NULL);
    pthread_mutex_init(&collection->snapshot_lock, NULL);
    collection->database = database;
    collection->id = id;
    collection->next_auto_id = 1;
    if ((status = collection_add_schema(collection, schema)) != VECDB_OK) {
        schema_free(schema);
        goto fail;
    }
    if ((status = snapshot_copy(NULL, schema, 0, &collection->published)) != VECDB_OK)
        goto fail;
    partition = collection->partitions = mem_zalloc(sizeof *partition);
    if (!partition || !(partition->name = mem_strdup("_default"))) {
        status = error_nomem("collection");
        goto fail;
    }
    collection->partition_count = 1;
    collection->next_partition = 1;
    *out = collection;
    return VECDB_OK;
fail:
    collection_release(collection);
    return status;
}

struct snapshot *collection_snapshot(struct collection *collection)
{
    struct snapshot *snapshot;

    pthread_mutex_lock(&collection->snapshot_lock);
    snapshot = snapshot_retain(collection->published);
    pthread_mutex_unlock(&collection->snapshot_lock);
    return snapshot;
}

void collection_publish(struct collection *collection, struct snapshot *snapshot)
{
    struct snapshot *before;

    snapshot_count(snapshot);
    pthread_mutex_lock(&collection->snapshot_lock);
    before = collection->published;
    collection->published = snapshot;
    pthread_mutex_unlock(&collection->snapshot_lock);
    snapshot_release(before);
}

vecdb_status collection_alive(const struct collection *collection)
{
    if (atomic_load_explicit(&collection->dropped, memory_order_acquire))
        return error_set(VECDB_ERR_NO_SUCH, "collection %s has been dropped", collection_schema(collection)->name);
    return VECDB_OK;
}

vecdb_status collection_find_partition(const struct collection *collection, const char *name, uint32_t *id)
{
    for (size_t i = 0; i < collection->partition_count; i++)
        if (strcmp(collection->partitions[i].name, name) == 0) {
            *id = collection->partitions[i].id;
            return VECDB_OK;
        }
    return error_set(VECDB_ERR_NO_SUCH, "collection %s: no partition %s", collection_schema(collection)->name, name);
}

vecdb_status collection_add_field(struct collection *collection, const vecdb_field *field)
{
    struct schema *schema = NULL;
    struct snapshot *next = NULL;
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_alive(collection);
    if (status == VECDB_OK)
        status = database_writable(collection->database);
    if (status == VECDB_OK)
        status = schema_with_field(collection_schema(collection), field, &schema);
    if (status == VECDB_OK)
        status = snapshot_copy(collection->published, schema, collection->published->view_count, &next);
    if (status == VECDB_OK)
        status = collection_add_schema(collection, schema);
    if (status == VECDB_OK) {
        collection_publish(collection, next);
    } else {
        snapshot_release(next);
        schema_free(schema);
    }
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}
