#include "collection/database.h"

#include <stdlib.h>
#include <string.h>

vecdb_status database_open(const char *path, const vecdb_open_options *options, struct mem_account *account,
                           struct database **out)
{
    struct database *database = mem_zalloc(sizeof *database);
    vecdb_status status;

    *out = NULL;
    if (!database)
        return error_nomem("database");
    pthread_mutex_init(&database->lock, NULL);
    database->durability = options->durability ? options->durability : VECDB_DURABILITY_FULL;
    database->read_only = options->flags & VECDB_OPEN_READ_ONLY;
    database->next_id = 1;
    if (path && !(database->path = mem_strdup(path)))
        status = error_nomem("database");
    else
        status = pool_create(options->threads, &database->pool);
    if (status != VECDB_OK) {
        mem_free(database->path);
        pthread_mutex_destroy(&database->lock);
        mem_free(database);
        return status;
    }
    database->account = account;
    *out = database;
    return VECDB_OK;
}

vecdb_status database_close(struct database *database)
{
    for (size_t i = 0; i < database->collection_count; i++)
        collection_release(database->collections[i]);
    for (size_t i = 0; i < database->alias_count; i++)
        mem_free(database->aliases[i].name);
    mem_free(database->collections);
    mem_free(database->aliases);
    mem_free(database->path);
    pool_free(database->pool);
    pthread_mutex_destroy(&database->lock);
    mem_account_release(database->account);
    mem_free(database);
    return VECDB_OK;
}

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

static vecdb_status check_free(const struct database *database, const char *name)
{
    if (find_name(database, name))
        return error_set(VECDB_ERR_EXISTS, "collection %s exists", name);
    if (find_alias(database, name))
        return error_set(VECDB_ERR_EXISTS, "%s is an alias", name);
    return VECDB_OK;
}

vecdb_status database_create_collection(struct database *database, const vecdb_schema *from, struct collection **out)
{
    struct collection **collections;
    struct collection *collection;
    struct schema *schema;
    vecdb_status status;

    *out = NULL;
    TRY(database_writable(database));
    TRY(schema_create(from, &schema));
    pthread_mutex_lock(&database->lock);
    if ((status = check_free(database, schema->name)) != VECDB_OK) {
        schema_free(schema);
        goto done;
    }
    collections = mem_realloc(database->collections, (database->collection_count + 1) * sizeof *collections);
    if (!collections) {
        schema_free(schema);
        status = error_nomem("collection");
        goto done;
    }
    database->collections = collections;
    status = collection_create(database, database_new_id(database), schema, &collection);
    if (status == VECDB_OK) {
        collections[database->collection_count++] = collection;
        *out = collection_retain(collection);
    }
done:
    pthread_mutex_unlock(&database->lock);
    return status;
}

vecdb_status database_find_collection(struct database *database, const char *name, struct collection **out)
{
    struct collection *collection;
    struct alias *alias;

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
    pthread_mutex_unlock(&database->lock);
    return collection ? VECDB_OK : error_set(VECDB_ERR_NO_SUCH, "no collection %s", name);
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
        if (strcmp(collection_schema(collection)->name, name) != 0)
            continue;
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
                     : error_set(VECDB_ERR_NO_SUCH, "no collection %s", name);
    pthread_mutex_unlock(&database->lock);
    return status;
}

vecdb_status database_rename_collection(struct database *database, const char *name, const char *new_name)
{
    struct collection *collection;
    struct snapshot *next = NULL;
    struct schema *schema = NULL;
    vecdb_status status;

    TRY(database_writable(database));
    TRY(schema_check_name("collection", new_name));
    pthread_mutex_lock(&database->lock);
    collection = name ? find_name(database, name) : NULL;
    if (!collection) {
        status = error_set(VECDB_ERR_NO_SUCH, "no collection %s", name ? name : "(NULL)");
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
done:
    pthread_mutex_unlock(&database->lock);
    return status;
}

vecdb_status database_set_alias(struct database *database, const char *name, const char *collection_name, bool move)
{
    struct collection *collection;
    struct alias *alias, *aliases;
    char *copy;
    vecdb_status status = VECDB_OK;

    TRY(database_writable(database));
    TRY(schema_check_name("alias", name));
    pthread_mutex_lock(&database->lock);
    collection = collection_name ? find_name(database, collection_name) : NULL;
    alias = find_alias(database, name);
    if (!collection)
        status = error_set(VECDB_ERR_NO_SUCH, "no collection %s", collection_name ? collection_name : "(NULL)");
    else if (find_name(database, name))
        status = error_set(VECDB_ERR_EXISTS, "alias %s: a collection has this name", name);
    else if (alias && !move)
        status = error_set(VECDB_ERR_EXISTS, "alias %s exists", name);
    else if (alias)
        alias->collection = collection->id;
    else {
        copy = mem_strdup(name);
        aliases = mem_realloc(database->aliases, (database->alias_count + 1) * sizeof *aliases);
        if (aliases)
            database->aliases = aliases;
        if (copy && aliases) {
            aliases[database->alias_count++] = (struct alias){copy, collection->id};
        } else {
            mem_free(copy);
            status = error_nomem("alias");
        }
    }
    pthread_mutex_unlock(&database->lock);
    return status;
}

vecdb_status database_drop_alias(struct database *database, const char *name)
{
    struct alias *alias;

    TRY(database_writable(database));
    pthread_mutex_lock(&database->lock);
    alias = name ? find_alias(database, name) : NULL;
    if (alias) {
        mem_free(alias->name);
        *alias = database->aliases[--database->alias_count];
    }
    pthread_mutex_unlock(&database->lock);
    return alias ? VECDB_OK : error_set(VECDB_ERR_NO_SUCH, "no alias %s", name ? name : "(NULL)");
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
        status = error_set(VECDB_ERR_NO_SUCH, "no collection %s", collection_name);
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
