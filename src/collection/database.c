#include "collection/database.h"

#include "base/nearest.h"
#include "base/plant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRESH_ROWS 8192 /* by default: a search beside them takes about twice as long as with none */
#define RESERVE ((uint64_t)256 << 10) /* of disk, so that rows can be deleted when it is full */

/* Recovery hands frames here; those of collections that are gone, or in segments already, are not needed any more. */
vecdb_status database_apply_frame(void *context, const struct wal_frame *frame, bool *needed)
{
    struct database *database = context;
    uint64_t id;

    TRY(frame_collection(frame, &id));
    *needed = false;
    for (size_t i = 0; i < database->collection_count; i++)
        if (database->collections[i]->id == id) {
            *needed = frame->lsn > database->collections[i]->checkpoint_lsn || PLANTED(15);
            return *needed ? collection_replay(database->collections[i], frame) : VECDB_OK;
        }
    return VECDB_OK;
}

static vecdb_status add_collection(struct database *database, struct collection *collection)
{
    struct collection **collections =
        mem_realloc(database->collections, (database->collection_count + 1) * sizeof *collections);

    if (!collections)
        return error_nomem("collection");
    database->collections = collections;
    collections[database->collection_count++] = collection;
    return VECDB_OK;
}

static vecdb_status add_alias(struct database *database, const char *name, uint64_t collection_id)
{
    char *copy = mem_strdup(name);
    struct alias *aliases = mem_realloc(database->aliases, (database->alias_count + 1) * sizeof *aliases);

    if (aliases)
        database->aliases = aliases;
    if (!copy || !aliases) {
        mem_free(copy);
        return error_nomem("alias");
    }
    aliases[database->alias_count++] = (struct alias){copy, collection_id};
    return VECDB_OK;
}

/* Make what the manifest describes, then what the log says happened since. */
vecdb_status database_restore(struct database *database)
{
    const struct manifest *manifest = store_manifest(database->store);

    for (size_t i = 0; i < manifest->collection_count; i++) {
        struct collection *collection;
        vecdb_status status;
        TRY(collection_restore(database, &manifest->collections[i], &collection));
        if ((status = add_collection(database, collection)) != VECDB_OK) {
            collection_release(collection);
            return status;
        }
    }
    for (size_t i = 0; i < manifest->alias_count; i++)
        TRY(add_alias(database, manifest->aliases[i].name, manifest->aliases[i].collection_id));
    return store_recover(database->store, database_apply_frame, database);
}

void database_forget(struct database *database)
{
    for (size_t i = 0; i < database->collection_count; i++)
        collection_release(database->collections[i]);
    for (size_t i = 0; i < database->alias_count; i++)
        mem_free(database->aliases[i].name);
    database->collection_count = database->alias_count = 0;
}

static void database_free(struct database *database)
{
    database_forget(database);
    if (database->store)
        store_close(database->store);
    mem_free(database->collections);
    mem_free(database->aliases);
    mem_free(database->path);
    pool_free(database->pool);
    pthread_mutex_destroy(&database->lock);
    mem_free(database);
    mem_trim();
}

vecdb_status database_open(const struct vfs *vfs, const char *path, const vecdb_open_options *options,
                           struct mem_account *account, struct database **out)
{
    struct database *database = mem_aligned_zalloc(CACHE_LINE, sizeof *database);
    struct store_options how = {.lock_timeout_ms = options->lock_timeout_ms,
                                .wal = {.reserve = RESERVE,
                                        .reserve_types = 1u << FRAME_DELETE | 1u << FRAME_TRUNCATE}};
    vecdb_status status;

    *out = NULL;
    if (!database)
        return error_nomem("database");
    pthread_mutex_init(&database->lock, NULL);
    database->durability = options->durability ? options->durability : VECDB_DURABILITY_FULL;
    database->read_only = options->flags & VECDB_OPEN_READ_ONLY;
    database->in_heap = options->flags & VECDB_OPEN_IN_HEAP;
    database->next_id = 1;
    database->fresh_rows = options->fresh_rows == UINT32_MAX ? SIZE_MAX : options->fresh_rows ? options->fresh_rows : FRESH_ROWS;
    database->processors = pool_processors();
    status = pool_create(options->threads, &database->pool);
    if (status == VECDB_OK && path && !(database->path = mem_strdup(path)))
        status = error_nomem("database");
    if (status == VECDB_OK && path) {
        how.flags = (database->read_only ? STORE_READ_ONLY : 0) |
                    (options->flags & VECDB_OPEN_NO_CREATE ? STORE_NO_CREATE : 0);
        status = store_open(vfs, path, &how, &database->store);
        while (status == VECDB_OK && (status = database_restore(database)) == VECDB_ERR_NO_SUCH && database->read_only) {
            bool changed; /* the writing process went on, and files went away: begin anew from what it published */
            database_forget(database);
            status = store_refresh(database->store, &changed);
            if (status == VECDB_OK && !changed) {
                status = database_restore(database);
                break;
            }
        }
    } else if (status == VECDB_OK && database->read_only) {
        status = error_set(VECDB_ERR_INVALID, "open: a database in memory cannot be read-only");
    }
    if (status != VECDB_OK) {
        vecdb_error failure = *error_last();
        database_free(database);
        return error_adopt(&failure);
    }
    database->account = account;
    *out = database;
    return VECDB_OK;
}

vecdb_status database_close(struct database *database)
{
    struct mem_account *account = database->account;
    vecdb_status status = VECDB_OK;

    upkeep_stop(database->upkeep);
    database->upkeep = NULL;
    if (database->store && !database->read_only && store_check(database->store) == VECDB_OK)
        status = store_sync(database->store);
    if (status != VECDB_OK) {
        vecdb_error failure = *error_last();
        database_free(database);
        error_adopt(&failure);
    } else {
        database_free(database);
    }
    mem_account_release(account);
    return status;
}

vecdb_status database_sync(struct database *database) { return database->store ? store_sync(database->store) : VECDB_OK; }

uint64_t database_new_id(struct database *database)
{
    return __atomic_fetch_add(&database->next_id, 1, __ATOMIC_RELAXED);
}

vecdb_status database_writable(const struct database *database)
{
    if (database->read_only)
        return error_set(VECDB_ERR_READONLY, "database %s is open read-only", database->path);
    return VECDB_OK;
}

static struct collection *find_name(const struct database *database, const char *name)
{
    for (size_t i = 0; i < database->collection_count; i++)
        if (strcmp(collection_schema(database->collections[i])->name, name) == 0)
            return database->collections[i];
    return NULL;
}

static struct alias *find_alias(const struct database *database, const char *name)
{
    for (size_t i = 0; i < database->alias_count; i++)
        if (strcmp(database->aliases[i].name, name) == 0)
            return &database->aliases[i];
    return NULL;
}

static vecdb_status no_collection(const struct database *database, const char *name)
{
    struct nearest nearest = nearest_to(name, strlen(name));

    for (size_t i = 0; i < database->collection_count; i++)
        nearest_offer(&nearest, collection_schema(database->collections[i])->name);
    for (size_t i = 0; i < database->alias_count; i++)
        nearest_offer(&nearest, database->aliases[i].name);
    return error_set(VECDB_ERR_NO_SUCH, "no collection %s%s%s%s", name, DID_YOU_MEAN(nearest.best));
}

static vecdb_status check_free(const struct database *database, const char *name)
{
    if (find_name(database, name))
        return error_set(VECDB_ERR_EXISTS, "collection %s exists", name);
    if (find_alias(database, name))
        return error_set(VECDB_ERR_EXISTS, "%s is an alias", name);
    return VECDB_OK;
}

/* Put a collection into the manifest, if there is one; *id receives its id. Its partitions get the ids that theirs have,
 * which count from PARTITION_FIRST. */
static vecdb_status describe_collection(struct database *database, const struct collection *collection, uint64_t *id)
{
    const struct schema *schema = collection_schema(collection);
    uint64_t partition;
    struct manifest_collection *described;
    struct manifest *draft;
    struct buf bytes = {0};
    vecdb_status status;

    if (!database->store) {
        *id = database_new_id(database);
        return VECDB_OK;
    }
    status = schema_encode(schema, &bytes);
    if (status == VECDB_OK)
        status = store_begin(database->store, &draft);
    if (status == VECDB_OK) {
        status = manifest_add_collection(draft, bytes.data, bytes.size, &described);
        for (size_t i = 0; i < collection->partition_count && status == VECDB_OK; i++)
            status = manifest_add_partition(described, collection->partitions[i].name, &partition);
        if (status == VECDB_OK) {
            *id = described->id;
            status = store_publish(database->store);
        } else {
            store_abandon(database->store);
        }
    }
    buf_deinit(&bytes);
    return status;
}

/* The default partition, or those of the partition key. */
static vecdb_status add_first_partitions(struct collection *collection)
{
    const struct schema *schema = collection_schema(collection);
    char name[32];

    if (schema->partition_key == SCHEMA_NONE)
        return collection_add_partition(collection, PARTITION_FIRST, "_default");
    for (uint32_t i = 0; i < schema->num_partitions; i++) {
        snprintf(name, sizeof name, "_default_%u", i);
        TRY(collection_add_partition(collection, PARTITION_FIRST + i, name));
    }
    return VECDB_OK;
}

vecdb_status database_create_collection(struct database *database, const vecdb_schema *from, struct collection **out)
{
    struct collection *collection = NULL;
    struct schema *schema;
    vecdb_status status;

    *out = NULL;
    TRY(database_writable(database));
    TRY(schema_create(from, &schema));
    pthread_mutex_lock(&database->lock);
    if ((status = check_free(database, schema->name)) != VECDB_OK)
        schema_free(schema);
    else
        status = collection_create(database, 0, schema, &collection);
    if (status == VECDB_OK)
        status = add_first_partitions(collection);
    if (status == VECDB_OK)
        status = add_collection(database, collection);
    if (status == VECDB_OK && (status = describe_collection(database, collection, &collection->id)) != VECDB_OK)
        database->collection_count--;
    if (status == VECDB_OK)
        *out = collection_retain(collection);
    else
        collection_release(collection);
    pthread_mutex_unlock(&database->lock);
    return status;
}

vecdb_status database_find_collection(struct database *database, const char *name, struct collection **out)
{
    struct collection *collection;
    struct alias *alias;
    vecdb_status status = VECDB_OK;

    *out = NULL;
    if (!name)
        return error_set(VECDB_ERR_INVALID, "collection: the name is NULL");
    pthread_mutex_lock(&database->lock);
    collection = find_name(database, name);
    if (!collection && (alias = find_alias(database, name)))
        for (size_t i = 0; i < database->collection_count; i++)
            if (database->collections[i]->id == alias->collection)
                collection = database->collections[i];
    if (collection)
        *out = collection_retain(collection);
    else
        status = no_collection(database, name);
    pthread_mutex_unlock(&database->lock);
    return status;
}

vecdb_status database_drop_collection(struct database *database, const char *name)
{
    vecdb_status status = VECDB_ERR_NO_SUCH;

    TRY(database_writable(database));
    if (!name)
        return error_set(VECDB_ERR_INVALID, "collection: the name is NULL");
    pthread_mutex_lock(&database->lock);
    for (size_t i = 0; i < database->collection_count; i++) {
        struct collection *collection = database->collections[i];
        struct manifest *draft;
        if (strcmp(collection_schema(collection)->name, name) != 0)
            continue;
        if (database->store) {
            if ((status = store_begin(database->store, &draft)) != VECDB_OK)
                goto done;
            manifest_remove_collection(draft, collection->id);
            if ((status = store_publish(database->store)) != VECDB_OK)
                goto done;
        }
        for (size_t a = database->alias_count; a-- > 0;)
            if (database->aliases[a].collection == collection->id) {
                mem_free(database->aliases[a].name);
                database->aliases[a] = database->aliases[--database->alias_count];
            }
        pthread_mutex_lock(&collection->write_lock);
        atomic_store_explicit(&collection->dropped, true, memory_order_release);
        pthread_mutex_unlock(&collection->write_lock);
        database->collections[i] = database->collections[--database->collection_count];
        collection_release(collection);
        status = VECDB_OK;
        break;
    }
    if (status != VECDB_OK)
        status = find_alias(database, name)
                     ? error_set(VECDB_ERR_INVALID, "%s is an alias: drop the collection by its own name", name)
                     : no_collection(database, name);
done:
    pthread_mutex_unlock(&database->lock);
    return status;
}

vecdb_status database_rename_collection(struct database *database, const char *name, const char *new_name)
{
    struct collection *collection;
    struct schema *schema;
    vecdb_status status;

    TRY(database_writable(database));
    TRY(schema_check_name("collection", new_name));
    pthread_mutex_lock(&database->lock);
    collection = name ? find_name(database, name) : NULL;
    if (!collection) {
        status = no_collection(database, name ? name : "(NULL)");
        goto done;
    }
    if (strcmp(name, new_name) == 0) {
        status = VECDB_OK;
        goto done;
    }
    if ((status = check_free(database, new_name)) != VECDB_OK)
        goto done;
    pthread_mutex_lock(&collection->write_lock);
    status = schema_copy(collection_schema(collection), new_name, &schema);
    if (status == VECDB_OK)
        status = collection_set_schema(collection, schema);
    pthread_mutex_unlock(&collection->write_lock);
done:
    pthread_mutex_unlock(&database->lock);
    return status;
}

/* Change the manifest's aliases, if there is one: collection 0 removes. */
static vecdb_status describe_alias(struct database *database, const char *name, uint64_t collection)
{
    struct manifest *draft;
    vecdb_status status = VECDB_OK;

    if (!database->store)
        return VECDB_OK;
    TRY(store_begin(database->store, &draft));
    if (collection)
        status = manifest_set_alias(draft, name, collection);
    else
        manifest_remove_alias(draft, name);
    if (status == VECDB_OK)
        return store_publish(database->store);
    store_abandon(database->store);
    return status;
}

vecdb_status database_set_alias(struct database *database, const char *name, const char *collection_name, bool move)
{
    struct collection *collection;
    struct alias *alias;
    vecdb_status status = VECDB_OK;

    TRY(database_writable(database));
    TRY(schema_check_name("alias", name));
    pthread_mutex_lock(&database->lock);
    collection = collection_name ? find_name(database, collection_name) : NULL;
    alias = find_alias(database, name);
    if (!collection)
        status = no_collection(database, collection_name ? collection_name : "(NULL)");
    else if (find_name(database, name))
        status = error_set(VECDB_ERR_EXISTS, "alias %s: a collection has this name", name);
    else if (alias && !move)
        status = error_set(VECDB_ERR_EXISTS, "alias %s exists", name);
    if (status == VECDB_OK && !alias)
        status = add_alias(database, name, collection->id);
    if (status == VECDB_OK) {
        status = describe_alias(database, name, collection->id);
        if (status == VECDB_OK && alias)
            alias->collection = collection->id;
        else if (status != VECDB_OK && !alias)
            mem_free(database->aliases[--database->alias_count].name);
    }
    pthread_mutex_unlock(&database->lock);
    return status;
}

vecdb_status database_drop_alias(struct database *database, const char *name)
{
    struct alias *alias;
    vecdb_status status;

    TRY(database_writable(database));
    pthread_mutex_lock(&database->lock);
    alias = name ? find_alias(database, name) : NULL;
    status = alias ? describe_alias(database, name, 0)
                   : error_set(VECDB_ERR_NO_SUCH, "no alias %s", name ? name : "(NULL)");
    if (status == VECDB_OK) {
        mem_free(alias->name);
        *alias = database->aliases[--database->alias_count];
    }
    pthread_mutex_unlock(&database->lock);
    return status;
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

vecdb_status names_pack(const char *const *names, size_t count, char ***out)
{
    size_t bytes = count * sizeof(char *);
    char **list, *text;

    *out = NULL;
    if (count == 0)
        return VECDB_OK;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(names[i]) + 1;
    list = mem_alloc(bytes);
    if (!list)
        return error_nomem("list of names");
    text = (char *)(list + count);
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(names[i]) + 1;
        memcpy(text, names[i], n);
        list[i] = text;
        text += n;
    }
    *out = list;
    return VECDB_OK;
}

vecdb_status database_list_collections(struct database *database, char ***names, size_t *count)
{
    const char **list;
    vecdb_status status = VECDB_OK;

    *names = NULL;
    *count = 0;
    pthread_mutex_lock(&database->lock);
    list = mem_array_alloc(database->collection_count + 1, sizeof *list);
    if (!list)
        status = error_nomem("list of names");
    for (size_t i = 0; status == VECDB_OK && i < database->collection_count; i++)
        list[i] = collection_schema(database->collections[i])->name;
    if (status == VECDB_OK)
        status = names_pack(list, database->collection_count, names);
    if (status == VECDB_OK)
        *count = database->collection_count;
    pthread_mutex_unlock(&database->lock);
    mem_free(list);
    if (*names)
        qsort(*names, *count, sizeof **names, compare_names);
    return status;
}

vecdb_status database_list_aliases(struct database *database, const char *collection_name, char ***names, size_t *count)
{
    struct collection *collection = NULL;
    const char **list;
    size_t n = 0;
    vecdb_status status = VECDB_OK;

    *names = NULL;
    *count = 0;
    pthread_mutex_lock(&database->lock);
    list = mem_array_alloc(database->alias_count + 1, sizeof *list);
    if (!list)
        status = error_nomem("list of names");
    else if (collection_name && !(collection = find_name(database, collection_name)))
        status = no_collection(database, collection_name);
    for (size_t i = 0; status == VECDB_OK && i < database->alias_count; i++)
        if (!collection || database->aliases[i].collection == collection->id)
            list[n++] = database->aliases[i].name;
    if (status == VECDB_OK)
        status = names_pack(list, n, names);
    if (status == VECDB_OK)
        *count = n;
    pthread_mutex_unlock(&database->lock);
    mem_free(list);
    if (*names)
        qsort(*names, *count, sizeof **names, compare_names);
    return status;
}
