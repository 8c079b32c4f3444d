/* Collections: create, open, close, schema, partitions, indexes. */
#include "api/handle.h"

#include <string.h>

/* A public schema, kept as long as the handle. */
struct published_schema {
    struct published_schema *next;
    const struct schema *of;
    vecdb_schema schema;
    vecdb_field fields[];
};

static vecdb_status make_handle(vecdb_db *db, struct collection *collection, vecdb_collection **out)
{
    vecdb_collection *handle = mem_zalloc(sizeof *handle);

    if (!handle) {
        collection_release(collection);
        return error_nomem("collection handle");
    }
    handle->magic = COLLECTION_MAGIC;
    handle->db = db;
    handle->collection = collection;
    failure_init(&handle->failure);
    pthread_mutex_init(&handle->schema_lock, NULL);
    atomic_fetch_add(&db->children, 1);
    *out = handle;
    return VECDB_OK;
}

vecdb_status vecdb_collection_create(vecdb_db *db, const vecdb_schema *schema, vecdb_collection **out)
{
    vecdb_schema read = VECDB_SCHEMA_INIT;
    struct collection *collection;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "create collection: out is NULL");
    *out = NULL;
    TRY(call_begin_db(&call, db));
    status = struct_read("schema", schema, &read, sizeof read);
    if (status == VECDB_OK)
        status = database_create_collection(db->database, &read, &collection);
    if (status == VECDB_OK)
        status = make_handle(db, collection, out);
    return call_end(&call, status);
}

vecdb_status vecdb_collection_open(vecdb_db *db, const char *name, vecdb_collection **out)
{
    struct collection *collection;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "open collection: out is NULL");
    *out = NULL;
    TRY(call_begin_db(&call, db));
    status = database_find_collection(db->database, name, &collection);
    if (status == VECDB_OK)
        status = make_handle(db, collection, out);
    return call_end(&call, status);
}

vecdb_status vecdb_collection_close(vecdb_collection **handle)
{
    vecdb_collection *collection;
    vecdb_db *db;
    struct call call;

    if (!handle || !*handle)
        return VECDB_OK;
    collection = *handle;
    TRY(call_begin_collection(&call, collection));
    if (atomic_load(&collection->children))
        return call_end(&call, error_set(VECDB_ERR_BUSY, "close: %u cursors or filters of the collection are still open",
                                         atomic_load(&collection->children)));
    db = collection->db;
    collection->magic = 0;
    collection_release(collection->collection);
    while (collection->schemas) {
        struct published_schema *next = collection->schemas->next;
        mem_free(collection->schemas);
        collection->schemas = next;
    }
    pthread_mutex_destroy(&collection->schema_lock);
    failure_deinit(&collection->failure);
    mem_free(collection);
    mem_account_enter(call.before);
    atomic_fetch_sub(&db->children, 1);
    *handle = NULL;
    return VECDB_OK;
}

vecdb_status vecdb_collection_error(vecdb_collection *collection, vecdb_error *error)
{
    if (!error)
        return error_set(VECDB_ERR_INVALID, "error is NULL");
    if (!collection || collection->magic != COLLECTION_MAGIC)
        return error_set(VECDB_ERR_MISUSE, "the collection handle is closed or was never one");
    return failure_copy(&collection->failure, error);
}

static vecdb_status publish_schema(vecdb_collection *collection, const struct schema *schema, const vecdb_schema **out)
{
    struct published_schema *published;

    for (published = collection->schemas; published; published = published->next)
        if (published->of == schema) {
            *out = &published->schema;
            return VECDB_OK;
        }
    published = mem_alloc(sizeof *published + schema->field_count * sizeof *published->fields);
    if (!published)
        return error_nomem("schema");
    schema_publish(schema, published->fields, &published->schema);
    published->of = schema;
    published->next = collection->schemas;
    collection->schemas = published;
    *out = &published->schema;
    return VECDB_OK;
}

vecdb_status vecdb_collection_schema(vecdb_collection *collection, const vecdb_schema **out)
{
    struct snapshot *snapshot;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "schema: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    snapshot = collection_snapshot(collection->collection);
    pthread_mutex_lock(&collection->schema_lock);
    status = publish_schema(collection, snapshot->schema, out);
    pthread_mutex_unlock(&collection->schema_lock);
    snapshot_release(snapshot);
    return call_end(&call, status);
}

vecdb_status vecdb_collection_add_field(vecdb_collection *collection, const vecdb_field *field)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    if (!field)
        return call_end(&call, error_set(VECDB_ERR_INVALID, "add field: field is NULL"));
    return call_end(&call, collection_add_field(collection->collection, field));
}

vecdb_status vecdb_collection_set_ttl(vecdb_collection *collection, uint64_t seconds)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    return call_end(&call, collection_set_ttl(collection->collection, seconds));
}

vecdb_status vecdb_collection_truncate(vecdb_collection *collection)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    return call_end(&call, collection_truncate(collection->collection));
}

vecdb_status vecdb_partition_create(vecdb_collection *collection, const char *name)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    return call_end(&call, collection_create_partition(collection->collection, name));
}

vecdb_status vecdb_partition_drop(vecdb_collection *collection, const char *name)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    if (!name)
        return call_end(&call, error_set(VECDB_ERR_INVALID, "partition: the name is NULL"));
    return call_end(&call, collection_drop_partition(collection->collection, name));
}

enum list_what { LIST_PARTITIONS, LIST_INDEXES };

static vecdb_status list(vecdb_collection *handle, enum list_what what, char ***names, size_t *count)
{
    struct collection *collection;
    const char **list_of;
    struct call call;
    size_t n;
    vecdb_status status;

    if (!names || !count)
        return error_set(VECDB_ERR_INVALID, "list: names or count is NULL");
    *names = NULL;
    *count = 0;
    TRY(call_begin_collection(&call, handle));
    collection = handle->collection;
    pthread_mutex_lock(&collection->write_lock);
    n = what == LIST_PARTITIONS ? collection->partition_count : collection->index_count;
    list_of = mem_array_alloc(n + 1, sizeof *list_of);
    for (size_t i = 0; list_of && i < n; i++)
        list_of[i] = what == LIST_PARTITIONS ? collection->partitions[i].name : collection->indexes[i].name;
    status = list_of ? names_pack(list_of, n, names) : error_nomem("list of names");
    pthread_mutex_unlock(&collection->write_lock);
    mem_free(list_of);
    if (status == VECDB_OK)
        *count = n;
    return call_end(&call, status);
}

vecdb_status vecdb_partition_list(vecdb_collection *collection, char ***names, size_t *count)
{
    return list(collection, LIST_PARTITIONS, names, count);
}

vecdb_status vecdb_index_list(vecdb_collection *collection, char ***names, size_t *count)
{
    return list(collection, LIST_INDEXES, names, count);
}

vecdb_status vecdb_index_create(vecdb_collection *collection, const vecdb_index_options *options)
{
    vecdb_index_options read = VECDB_INDEX_OPTIONS_INIT;
    struct call call;
    vecdb_status status;

    TRY(call_begin_collection(&call, collection));
    status = struct_read("index options", options, &read, sizeof read);
    if (status == VECDB_OK)
        status = collection_create_index(collection->collection, &read);
    return call_end(&call, status);
}

vecdb_status vecdb_index_drop(vecdb_collection *collection, const char *name)
{
    struct call call;

    TRY(call_begin_collection(&call, collection));
    if (!name)
        return call_end(&call, error_set(VECDB_ERR_INVALID, "index: the name is NULL"));
    return call_end(&call, collection_drop_index(collection->collection, name));
}

vecdb_status vecdb_index_describe(vecdb_collection *collection, const char *name, char **out)
{
    struct buf text = {0};
    struct call call;
    vecdb_status status;

    if (!out || !name)
        return error_set(VECDB_ERR_INVALID, "describe index: name or out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    status = collection_describe_index(collection->collection, name, &text);
    if (status == VECDB_OK && !(*out = buf_take_text(&text)))
        status = error_nomem("describe index");
    buf_deinit(&text);
    return call_end(&call, status);
}

static const struct param_spec *nth_spec(const struct param_spec *specs, size_t *i)
{
    for (; specs && specs->name; specs++)
        if ((*i)-- == 0)
            return specs;
    return NULL;
}

vecdb_status vecdb_param_at(size_t i, vecdb_param_info *out)
{
    struct scalar_param scalar;

    if (!out || out->size < sizeof(uint32_t) * 2)
        return error_set(VECDB_ERR_INVALID, "parameter: out is NULL or its size is not set");
    for (size_t kind = 0; index_at(kind); kind++) {
        const struct index_ops *ops = index_at(kind);
        bool for_search = false;
        const struct param_spec *spec = nth_spec(ops->build_params, &i);
        if (!spec) {
            for_search = true;
            spec = nth_spec(ops->search_params, &i);
        }
        if (spec) {
            vecdb_param_info info = {out->size,  ops->name,  spec->name,          spec->meaning, spec->choices,
                                     spec->low,  spec->high, spec->default_value, for_search};
            memcpy(out, &info, out->size < sizeof info ? out->size : sizeof info);
            return VECDB_OK;
        }
    }
    if (scalar_index_param_at(i, &scalar)) {
        vecdb_param_info info = {out->size,  scalar.kind, scalar.name,          scalar.meaning, scalar.choices,
                                 scalar.low, scalar.high, scalar.default_value, false};
        memcpy(out, &info, out->size < sizeof info ? out->size : sizeof info);
        return VECDB_OK;
    }
    return VECDB_NOT_FOUND;
}
