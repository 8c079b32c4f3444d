#include "collection/collection.h"

#include "base/mem.h"
#include "base/plant.h"
#include "collection/database.h"

#include <string.h>
#include <time.h>

#define GIVE_WAY_NS 75000 /* a search takes about as long */

void collection_release(struct collection *collection)
{
    if (!collection || atomic_fetch_sub_explicit(&collection->references, 1, memory_order_acq_rel) != 1)
        return;
    snapshot_release(collection->published);
    snapshot_release(collection->latest);
    for (size_t i = 0; i < collection->index_count; i++)
        index_definition_deinit(&collection->indexes[i]);
    for (size_t i = 0; i < collection->partition_count; i++)
        mem_free(collection->partitions[i].name);
    for (size_t i = 0; i < collection->schema_count; i++)
        schema_free(collection->schemas[i]);
    mem_free(collection->indexes);
    mem_free(collection->partitions);
    mem_free(collection->schemas);
    claim_deinit(&collection->upkeep);
    convoy_deinit(&collection->convoy);
    compiled_filters_deinit(&collection->filters);
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
    struct collection *collection = mem_aligned_zalloc(CACHE_LINE, sizeof *collection);
    vecdb_status status;

    *out = NULL;
    if (!collection) {
        schema_free(schema);
        return error_nomem("collection");
    }
    atomic_init(&collection->references, 1);
    claim_init(&collection->upkeep);
    convoy_init(&collection->convoy);
    compiled_filters_init(&collection->filters);
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
    collection->latest = snapshot_retain(collection->published);
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

/* Show a snapshot to readers, unless they see a later one already. */
static void show(struct collection *collection, struct snapshot *snapshot, bool same_lsn_too)
{
    struct snapshot *before = NULL;

    pthread_mutex_lock(&collection->snapshot_lock);
    if (snapshot->lsn > collection->published->lsn || same_lsn_too) {
        before = collection->published;
        collection->published = snapshot_retain(snapshot);
    }
    pthread_mutex_unlock(&collection->snapshot_lock);
    if (PLANTED(21) && before)
        while (atomic_load(&before->references) > 1u + (before == collection->latest))
            snapshot_release(before);
    snapshot_release(before);
}

void collection_publish(struct collection *collection, struct snapshot *snapshot)
{
    snapshot_count(snapshot);
    show(collection, snapshot, true);
    snapshot_release(collection->latest);
    collection->latest = snapshot;
}

vecdb_status collection_settle(struct collection *collection)
{
    bool settled;

    pthread_mutex_lock(&collection->snapshot_lock); /* a writer that has let write_lock go may be publishing */
    settled = collection->latest == collection->published;
    pthread_mutex_unlock(&collection->snapshot_lock);
    if (settled)
        return VECDB_OK;
    if (collection->database->store)
        TRY(store_commit(collection->database->store, collection->latest->lsn, VECDB_DURABILITY_FULL));
    show(collection, collection->latest, false);
    return VECDB_OK;
}

void collection_advance(struct collection *collection, struct snapshot *snapshot)
{
    snapshot_count(snapshot);
    snapshot_release(collection->latest);
    collection->latest = snapshot;
}

vecdb_status collection_stage(struct collection *collection, struct snapshot *snapshot, uint16_t type,
                              const struct iovec *parts, size_t part_count, struct snapshot **staged)
{
    vecdb_status status = VECDB_OK;

    *staged = NULL;
    snapshot->lsn = collection->latest->lsn + 1;
    if (collection->database->store)
        status = store_append(collection->database->store, type, parts, part_count, &snapshot->lsn);
    if (status != VECDB_OK) {
        snapshot_release(snapshot);
        return status;
    }
    collection_advance(collection, snapshot);
    *staged = snapshot_retain(snapshot);
    return VECDB_OK;
}

/* Searches that keep all processors busy share one of them with a thread that does nothing but sync: each sync takes as much of its
 * time as a search. While there are so many, a sync waits for a moment. */
static void give_way(const struct database *database)
{
    if (atomic_load_explicit(&database->searching, memory_order_relaxed) >= database->processors)
        nanosleep(&(struct timespec){.tv_nsec = GIVE_WAY_NS}, NULL);
}

vecdb_status collection_commit(struct collection *collection, struct snapshot *staged, vecdb_durability durability)
{
    struct database *database = collection->database;
    vecdb_status status = VECDB_OK;

    if (durability == VECDB_DURABILITY_DEFAULT)
        durability = database->durability;
    if (database->store && durability == VECDB_DURABILITY_FULL)
        give_way(database);
    if (database->store)
        status = store_commit(database->store, staged->lsn, durability);
    if (status == VECDB_OK)
        show(collection, staged, false);
    if (durability == VECDB_DURABILITY_NORMAL)
        upkeep_poke(database->upkeep);
    snapshot_release(staged);
    return status;
}

vecdb_status collection_begin_change(struct collection *collection, struct manifest **draft,
                                     struct manifest_collection **described)
{
    *draft = NULL;
    *described = NULL;
    if (!collection->database->store)
        return VECDB_OK;
    TRY(store_begin(collection->database->store, draft));
    *described = manifest_find(*draft, collection->id);
    if (*described)
        return VECDB_OK;
    store_abandon(collection->database->store);
    return error_set(VECDB_ERR_NO_SUCH, "collection %s has been dropped", collection_schema(collection)->name);
}

vecdb_status collection_add_partition(struct collection *collection, uint32_t id, const char *name)
{
    char *copy = mem_strdup(name);
    struct partition *partitions;
    vecdb_status status = VECDB_OK;

    pthread_mutex_lock(&collection->snapshot_lock);
    partitions = mem_realloc(collection->partitions, (collection->partition_count + 1) * sizeof *partitions);
    if (partitions)
        collection->partitions = partitions;
    if (partitions && copy) {
        partitions[collection->partition_count++] = (struct partition){id, copy};
    } else {
        mem_free(copy);
        status = error_nomem("partition");
    }
    pthread_mutex_unlock(&collection->snapshot_lock);
    return status;
}

vecdb_status collection_alive(const struct collection *collection)
{
    if (atomic_load_explicit(&collection->dropped, memory_order_acquire))
        return error_set(VECDB_ERR_NO_SUCH, "collection %s has been dropped", collection_schema(collection)->name);
    return VECDB_OK;
}

vecdb_status collection_writable(const struct collection *collection)
{
    TRY(collection_alive(collection));
    return database_writable(collection->database);
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

vecdb_status collection_set_schema(struct collection *collection, struct schema *schema)
{
    struct manifest_collection *described = NULL;
    struct manifest *draft = NULL;
    struct snapshot *next = NULL;
    struct buf bytes = {0};
    vecdb_status status = collection_settle(collection);

    if (status == VECDB_OK)
        status = snapshot_copy(collection->latest, schema, collection->latest->view_count, &next);
    if (status == VECDB_OK)
        status = schema_encode(schema, &bytes);
    if (status == VECDB_OK)
        status = collection_add_schema(collection, schema); /* it stays there, unless publishing fails */
    if (status != VECDB_OK)
        schema_free(schema);
    if (status == VECDB_OK) {
        status = collection_begin_change(collection, &draft, &described);
        if (status == VECDB_OK && draft) {
            status = manifest_set_schema(described, bytes.data, bytes.size);
            if (status == VECDB_OK)
                status = store_publish(collection->database->store);
            else
                store_abandon(collection->database->store);
        }
        if (status != VECDB_OK) { /* not the newest, after all */
            collection->schema_count--;
            schema_free(schema);
        }
    }
    if (status == VECDB_OK)
        collection_publish(collection, next);
    else
        snapshot_release(next);
    buf_deinit(&bytes);
    return status;
}

vecdb_status collection_set_ttl(struct collection *collection, uint64_t seconds)
{
    struct schema *schema;
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK && collection_schema(collection)->ttl_seconds != seconds &&
        (status = schema_with_ttl(collection_schema(collection), seconds, &schema)) == VECDB_OK)
        status = collection_set_schema(collection, schema);
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}

vecdb_status collection_add_field(struct collection *collection, const vecdb_field *field)
{
    struct schema *schema;
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = schema_with_field(collection_schema(collection), field, &schema);
    if (status == VECDB_OK)
        status = collection_set_schema(collection, schema);
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}
