#include "crash/scenarios.h"

#include "api/handle.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/rng.h"
#include "collection/verify.h"
#include "storage/format.h"
#include "support/fault.h"
#include "support/simfs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIRECTORY "db"
#define COPY "copy"
#define DIM 8

struct world {
    struct simfs *fs;
    vecdb_db *db;
    vecdb_collection *films, *names;
};

static const struct driver scenarios = {.name = "scenario"};

/* ------------------------------------------------------------------------------------------------- rows */

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t counter = a ^ (b * 0x9E3779B97F4A7C15ull);

    return rng_mix(&counter);
}

enum { MOST = 300 };

struct films {
    int64_t ids[MOST];
    int32_t years[MOST], marks[MOST * 3];
    uint8_t valid[MOST];
    char titles[MOST][80], extras[MOST][80];
    vecdb_string title[MOST], extra[MOST];
    uint64_t ends[MOST + 1];
    float vectors[MOST][DIM];
};

static vecdb_status put_films(vecdb_collection *collection, int64_t first, size_t count, uint64_t version, bool replace,
                              const char *partition)
{
    static struct films f;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_column columns[] = {
        {.field = "id", .type = VECDB_TYPE_INT64, .data = f.ids},
        {.field = "year", .type = VECDB_TYPE_INT32, .data = f.years, .valid = f.valid},
        {.field = "title", .type = VECDB_TYPE_VARCHAR, .data = f.title, .valid = f.valid},
        {.field = "extra", .type = VECDB_TYPE_JSON, .data = f.extra, .valid = f.valid},
        {.field = "marks", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_INT32, .data = f.marks, .offsets = f.ends},
        {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = f.vectors},
    };

    for (size_t i = 0; i < count; i++) {
        uint64_t salt = mix((uint64_t)first + i, version);
        f.ids[i] = first + (int64_t)i;
        f.years[i] = (int32_t)(1900 + salt % 100);
        f.valid[i] = salt % 5 != 0;
        f.title[i] = (vecdb_string){f.titles[i], (size_t)snprintf(f.titles[i], 80, "film %llu film film %llu",
                                                                   (unsigned long long)(salt % 97), (unsigned long long)salt % 1000)};
        f.extra[i] = (vecdb_string){f.extras[i], (size_t)snprintf(f.extras[i], 80, "{\"n\": %llu, \"tags\": [\"a\", null]}",
                                                                   (unsigned long long)(salt % 50))};
        f.ends[i + 1] = f.ends[i] + salt % 4;
        for (uint64_t j = f.ends[i]; j < f.ends[i + 1]; j++)
            f.marks[j] = (int32_t)(salt >> (8 * (j - f.ends[i]))) % 10;
        for (int d = 0; d < DIM; d++)
            f.vectors[i][d] = (float)(mix(salt, (uint64_t)d) % 1000) / 10 + 1;
    }
    batch.columns = columns;
    batch.column_count = sizeof columns / sizeof columns[0];
    batch.row_count = count;
    batch.partition = partition;
    return replace ? vecdb_upsert(collection, &batch, NULL) : vecdb_insert(collection, &batch, NULL);
}

static vecdb_status put_names(vecdb_collection *collection, size_t first, size_t count, bool replace)
{
    static char texts[MOST][24];
    static vecdb_string keys[MOST];
    static uint8_t bits[MOST][2];
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_column columns[] = {
        {.field = "name", .type = VECDB_TYPE_VARCHAR, .data = keys},
        {.field = "bits", .type = VECDB_TYPE_BINARY_VECTOR, .dim = 16, .data = bits},
    };

    for (size_t i = 0; i < count; i++) {
        keys[i] = (vecdb_string){texts[i], (size_t)snprintf(texts[i], 24, "name %llu", (unsigned long long)mix(first + i, 3) % 1000)};
        store_u16(bits[i], (uint16_t)mix(first + i, 4));
        for (size_t j = 0; j < i; j++)
            if (!replace && keys[j].length == keys[i].length && memcmp(keys[j].data, keys[i].data, keys[i].length) == 0)
                texts[i][0] = (char)('a' + i % 26);
    }
    batch.columns = columns;
    batch.column_count = 2;
    batch.row_count = count;
    return replace ? vecdb_upsert(collection, &batch, NULL) : vecdb_insert(collection, &batch, NULL);
}

/* ------------------------------------------------------------------------------------------------- opening */

static vecdb_status open_world(struct world *world, uint32_t flags)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_status status;

    options.threads = 1;
    options.flags = flags;
    status = db_open_with_vfs(simfs_vfs(world->fs), DIRECTORY, &options, &world->db);
    if (status == VECDB_OK)
        status = vecdb_collection_open(world->db, "films", &world->films);
    if (status == VECDB_OK)
        status = vecdb_collection_open(world->db, "names", &world->names);
    return status;
}

static void close_world(struct world *world)
{
    vecdb_error failure = *error_last();

    (void)vecdb_collection_close(&world->films);
    (void)vecdb_collection_close(&world->names);
    (void)vecdb_close(&world->db);
    error_adopt(&failure);
}

/* ------------------------------------------------------------------------------------------------- what is there */

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = mix(hash, ((const uint8_t *)data)[i]);
    return hash;
}

static size_t width_of(const vecdb_column *column)
{
    switch (column->type) {
    case VECDB_TYPE_INT64:
        return 8;
    case VECDB_TYPE_INT32:
    case VECDB_TYPE_FLOAT:
        return 4;
    case VECDB_TYPE_FLOAT_VECTOR:
        return 4 * column->dim;
    case VECDB_TYPE_BINARY_VECTOR:
        return column->dim / 8;
    default:
        return column->type == VECDB_TYPE_ARRAY ? 4 : 1; /* of an element */
    }
}

static uint64_t hash_row(const vecdb_result *result, size_t row)
{
    uint64_t hash = 1;
    vecdb_column column;

    for (size_t c = 0; vecdb_result_column_at(result, c, &column) == VECDB_OK; c++) {
        size_t width = width_of(&column), stride = column.stride ? column.stride : width;
        if (column.valid && !column.valid[row])
            hash = mix(hash, 77);
        else if (column.offsets)
            hash = hash_bytes(hash, (const uint8_t *)column.data + column.offsets[row] * width,
                              (size_t)(column.offsets[row + 1] - column.offsets[row]) * width);
        else
            hash = hash_bytes(hash, (const uint8_t *)column.data + row * stride, width);
    }
    return hash;
}

static vecdb_status hash_rows(vecdb_collection *collection, uint64_t *hash)
{
    static const char *const everything[] = {"*"};
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    vecdb_result *result = NULL;
    vecdb_status status;

    request.output_fields = everything;
    request.output_count = 1;
    status = vecdb_query(collection, &request, &result);
    if (status < 0)
        return status;
    for (size_t row = 0; row < vecdb_result_rows(result, 0, NULL); row++)
        *hash += hash_row(result, row);
    vecdb_result_free(&result);
    return VECDB_OK;
}

typedef vecdb_status (*list_names)(void *handle, char ***names, size_t *count);

static vecdb_status list_aliases(void *db, char ***names, size_t *count) { return vecdb_alias_list(db, NULL, names, count); }
static vecdb_status list_collections(void *db, char ***names, size_t *count) { return vecdb_collection_list(db, names, count); }
static vecdb_status list_indexes(void *c, char ***names, size_t *count) { return vecdb_index_list(c, names, count); }
static vecdb_status list_partitions(void *c, char ***names, size_t *count) { return vecdb_partition_list(c, names, count); }

static vecdb_status hash_names(list_names list, void *handle, uint64_t *hash)
{
    char **names = NULL;
    size_t count = 0;
    vecdb_status status = list(handle, &names, &count);

    for (size_t i = 0; status >= 0 && i < count; i++)
        *hash += hash_bytes(count, names[i], strlen(names[i]));
    vecdb_free(names);
    return status < 0 ? status : VECDB_OK;
}

/* All that can be seen of a database. */
static vecdb_status look(vecdb_db *db, uint64_t *hash)
{
    char **names = NULL;
    size_t count = 0;
    vecdb_status status;

    *hash = 0;
    TRY(hash_names(list_aliases, db, hash));
    TRY(hash_names(list_collections, db, hash));
    TRY(vecdb_collection_list(db, &names, &count));
    status = VECDB_OK;
    for (size_t i = 0; i < count && status == VECDB_OK; i++) {
        vecdb_collection *collection = NULL;
        const vecdb_schema *schema;
        status = vecdb_collection_open(db, names[i], &collection);
        if (status == VECDB_OK)
            status = hash_names(list_indexes, collection, hash);
        if (status == VECDB_OK)
            status = hash_names(list_partitions, collection, hash);
        if (status == VECDB_OK && (status = vecdb_collection_schema(collection, &schema)) == VECDB_OK)
            *hash = mix(*hash, schema->field_count);
        if (status == VECDB_OK)
            status = hash_rows(collection, hash);
        (void)vecdb_collection_close(&collection);
    }
    vecdb_free(names);
    return status;
}

/* The same of one that is closed. */
static vecdb_status look_closed(struct simfs *fs, const char *directory, uint64_t *hash)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_db *db = NULL;
    vecdb_status status;

    options.threads = 1;
    options.flags = VECDB_OPEN_NO_CREATE;
    status = db_open_with_vfs(simfs_vfs(fs), directory, &options, &db);
    if (status == VECDB_OK)
        status = look(db, hash);
    vecdb_error failure = *error_last();
    (void)vecdb_close(&db);
    error_adopt(&failure);
    return status;
}

/* ------------------------------------------------------------------------------------------------- what is done */

static vecdb_status insert(struct world *w) { return put_films(w->films, 5000, 40, 1, false, NULL); }
static vecdb_status upsert(struct world *w) { return put_films(w->films, 90, 60, 2, true, NULL); }
static vecdb_status insert_many(struct world *w) { return put_films(w->films, 6000, MOST, 1, false, "old"); }
static vecdb_status insert_names(struct world *w) { return put_names(w->names, 500, 30, true); }

static vecdb_status delete_films(struct world *w)
{
    int64_t keys[] = {1, 2, 3, 100, 101, 200, 250, 9999};
    vecdb_column column = {.field = "id", .type = VECDB_TYPE_INT64, .data = keys};

    return vecdb_delete(w->films, &column, 8, NULL);
}

static vecdb_status delete_names(struct world *w)
{
    vecdb_string keys[] = {{"name 1", 6}, {"name 2", 6}, {"name 30", 7}, {"name 500", 8}};
    vecdb_column column = {.field = "name", .type = VECDB_TYPE_VARCHAR, .data = keys};

    return vecdb_delete(w->names, &column, 4, NULL);
}

static vecdb_status delete_where(struct world *w)
{
    return vecdb_delete_where(w->films, "year > {y} and extra[\"n\"] < 20 or array_contains(marks, 7)", "{\"y\": 1970}", NULL);
}
static vecdb_status delete_most(struct world *w)
{
    TRY(vecdb_delete_where(w->films, "id >= 20", NULL, NULL));
    return vecdb_optimize(w->films, NULL, NULL);
}
static vecdb_status truncate(struct world *w) { return vecdb_collection_truncate(w->films); }
static vecdb_status truncate_and_flush(struct world *w)
{
    TRY(vecdb_collection_truncate(w->films));
    return vecdb_flush(w->films);
}
static vecdb_status flush(struct world *w) { return vecdb_flush(w->films); }
static vecdb_status flush_names(struct world *w) { return vecdb_flush(w->names); }
static vecdb_status optimize(struct world *w) { return vecdb_optimize(w->films, NULL, NULL); }
static vecdb_status optimize_names(struct world *w) { return vecdb_optimize(w->names, NULL, NULL); }
static vecdb_status compact(struct world *w) { return collection_compact(w->films->collection, NULL, NULL); }
static vecdb_status sync_all(struct world *w) { return vecdb_sync(w->db); }

static vecdb_status create_index(vecdb_collection *collection, const char *field, const char *type, const char *params)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = field;
    options.type = type;
    options.params = params;
    options.metric = strcmp(field, "bits") == 0 ? VECDB_METRIC_HAMMING
                     : strcmp(field, "v") == 0  ? VECDB_METRIC_L2
                                                : VECDB_METRIC_DEFAULT;
    return vecdb_index_create(collection, &options);
}

static vecdb_status index_names(struct world *w) { return create_index(w->names, "bits", "BIN_FLAT", NULL); }
static vecdb_status index_again(struct world *w)
{
    TRY(vecdb_index_drop(w->films, "v"));
    return create_index(w->films, "v", "IVF_FLAT", "nlist=4");
}
static vecdb_status index_title(struct world *w) { return create_index(w->films, "title", "INVERTED", NULL); }
static vecdb_status index_drop(struct world *w) { return vecdb_index_drop(w->films, "v"); }
static vecdb_status index_describe(struct world *w)
{
    char *text = NULL;
    vecdb_status status = vecdb_index_describe(w->films, "v", &text);

    vecdb_free(text);
    return status;
}

static vecdb_status add_field(struct world *w)
{
    vecdb_field field = {.name = "more", .type = VECDB_TYPE_INT64, .flags = VECDB_NULLABLE};

    return vecdb_collection_add_field(w->films, &field);
}
static vecdb_status partition_create(struct world *w) { return vecdb_partition_create(w->films, "new"); }
static vecdb_status partition_drop(struct world *w) { return vecdb_partition_drop(w->films, "old"); }
static vecdb_status alias_set(struct world *w) { return vecdb_alias_set(w->db, "movies", "films", false); }
static vecdb_status alias_move(struct world *w) { return vecdb_alias_set(w->db, "people", "films", true); }
static vecdb_status alias_drop(struct world *w) { return vecdb_alias_drop(w->db, "people"); }
static vecdb_status rename_names(struct world *w) { return vecdb_collection_rename(w->db, "names", "called"); }
static vecdb_status drop_names(struct world *w)
{
    (void)vecdb_collection_close(&w->names);
    return vecdb_collection_drop(w->db, "names");
}
static vecdb_status create_films(vecdb_db *db, const char *name, vecdb_collection **out)
{
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {
        {.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "year", .type = VECDB_TYPE_INT32, .flags = VECDB_NULLABLE},
        {.name = "title", .type = VECDB_TYPE_VARCHAR, .max_length = 100, .flags = VECDB_NULLABLE},
        {.name = "extra", .type = VECDB_TYPE_JSON, .flags = VECDB_NULLABLE},
        {.name = "marks", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_INT32, .max_capacity = 8},
        {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM},
    };

    schema.name = name;
    schema.fields = fields;
    schema.field_count = sizeof fields / sizeof fields[0];
    schema.dynamic = true;
    return vecdb_collection_create(db, &schema, out);
}
static vecdb_status create_third(struct world *w)
{
    vecdb_collection *third = NULL;
    vecdb_status status = create_films(w->db, "third", &third);

    (void)vecdb_collection_close(&third);
    return status;
}

/* -- reading */

static vecdb_status search(struct world *w, const char *filter, const char *params, bool exact, const char *group)
{
    static const char *const fields[] = {"title", "extra", "marks"};
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    vecdb_result *result = NULL;
    float query[2][DIM];
    vecdb_status status;

    for (int d = 0; d < 2 * DIM; d++)
        query[d / DIM][d % DIM] = (float)(7 * d % 90) + 1;
    request.field = "v";
    request.queries = query;
    request.query_count = 2;
    request.dim = DIM;
    request.limit = 7;
    request.metric = VECDB_METRIC_L2;
    request.filter = filter;
    request.params = params;
    request.exact = exact;
    request.group_by = group;
    request.output_fields = fields;
    request.output_count = 3;
    status = vecdb_search(w->films, &request, &result);
    vecdb_result_free(&result);
    return status;
}

static vecdb_status search_plain(struct world *w) { return search(w, NULL, NULL, false, NULL); }
static vecdb_status search_filtered(struct world *w) { return search(w, "year > 1950 and title like \"film 1%\"", "ef=64", false, NULL); }
static vecdb_status search_exact(struct world *w) { return search(w, "extra[\"n\"] > 10", NULL, true, NULL); }
static vecdb_status search_groups(struct world *w) { return search(w, NULL, NULL, false, "year"); }

static vecdb_status get(struct world *w)
{
    static const char *const everything[] = {"*"};
    int64_t keys[] = {3, 120, 200, 299, 300, 12345};
    vecdb_column column = {.field = "id", .type = VECDB_TYPE_INT64, .data = keys};
    vecdb_result *result = NULL;
    vecdb_status status = vecdb_get(w->films, &column, 6, everything, 1, &result);

    vecdb_result_free(&result);
    return status;
}
static vecdb_status count(struct world *w)
{
    uint64_t rows;

    return vecdb_count(w->films, "year is not null and array_length(marks) > 1", NULL, &rows);
}
static vecdb_status page(struct world *w)
{
    static const char *const fields[] = {"id", "title"};
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    vecdb_cursor *cursor = NULL;
    vecdb_status status;

    request.filter = "id < 200";
    request.output_fields = fields;
    request.output_count = 2;
    status = vecdb_query_cursor(w->films, &request, &cursor);
    for (int i = 0; i < 4 && status >= 0; i++) {
        vecdb_result *result = NULL;
        status = vecdb_cursor_next(cursor, 30, &result);
        vecdb_result_free(&result);
    }
    vecdb_cursor_close(&cursor);
    return status;
}
static vecdb_status explain(struct world *w)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    float query[DIM] = {1, 2, 3, 4, 5, 6, 7, 8};
    char *text = NULL;
    vecdb_status status;

    request.field = "v";
    request.queries = query;
    request.query_count = 1;
    request.dim = DIM;
    request.filter = "year > 1950";
    status = vecdb_explain(w->films, &request, &text);
    vecdb_free(text);
    return status;
}
static vecdb_status stats(struct world *w)
{
    char *text = NULL;
    vecdb_status status = vecdb_db_stats(w->db, &text);

    vecdb_free(text);
    return status;
}
static vecdb_status load(struct world *w)
{
    TRY(vecdb_load(w->films, NULL, NULL));
    TRY(search(w, NULL, NULL, false, NULL));
    return vecdb_release(w->films);
}

/* -- the whole database */

static vecdb_status backup(struct world *w)
{
    uint64_t hash, copied;
    vecdb_status status = vecdb_backup(w->db, COPY, NULL, NULL);

    if (status != VECDB_OK)
        return status;
    TRY(look(w->db, &hash));
    TRY(look_closed(w->fs, COPY, &copied));
    return hash == copied ? VECDB_OK : error_set(VECDB_ERR_CORRUPT, "test: the copy is another");
}

static vecdb_status verify(struct world *w)
{
    struct buf report = {0};
    vecdb_status status = database_verify(simfs_vfs(w->fs), DIRECTORY, NULL, NULL, &report);

    buf_deinit(&report);
    return status;
}

static vecdb_status repair(struct world *w)
{
    struct buf report = {0};
    vecdb_status status = database_repair(simfs_vfs(w->fs), DIRECTORY, NULL, NULL, &report);

    buf_deinit(&report);
    return status;
}

static vecdb_status reopen(struct world *w)
{
    vecdb_status status = open_world(w, 0);

    if (status == VECDB_OK)
        status = search(w, NULL, NULL, false, NULL);
    close_world(w);
    return status;
}
static vecdb_status reopen_in_heap(struct world *w)
{
    vecdb_status status = open_world(w, VECDB_OPEN_IN_HEAP);

    if (status == VECDB_OK)
        status = search(w, "id > 5", NULL, false, NULL);
    close_world(w);
    return status;
}
/* A reader beside the writer, which goes on. */
static vecdb_status follow(struct world *w)
{
    struct world reader = {.fs = w->fs};
    uint64_t hash, followed;
    vecdb_status status = open_world(&reader, VECDB_OPEN_READ_ONLY);

    if (status == VECDB_OK)
        status = put_films(w->films, 7000, 5, 1, false, NULL);
    if (status == VECDB_OK)
        status = vecdb_refresh(reader.db);
    if (status == VECDB_OK)
        status = vecdb_flush(w->films);
    if (status == VECDB_OK)
        status = put_films(w->films, 7100, 5, 1, false, NULL);
    if (status == VECDB_OK)
        status = vecdb_refresh(reader.db);
    if (status == VECDB_OK)
        status = look(w->db, &hash);
    if (status == VECDB_OK)
        status = look(reader.db, &followed);
    if (status == VECDB_OK && hash != followed)
        status = error_set(VECDB_ERR_CORRUPT, "test: the reader sees another state");
    close_world(&reader);
    return status;
}

/* -- damage to begin with */

static const char *find_file(struct simfs *fs, const char *prefix, size_t which)
{
    const char *name;

    for (size_t i = 0; (name = simfs_name(fs, DIRECTORY, i)) != NULL; i++)
        if (strncmp(name, prefix, strlen(prefix)) == 0 && which-- == 0)
            return name;
    return NULL;
}

static void damage(struct simfs *fs, const char *prefix, size_t which, size_t offset)
{
    const char *name = find_file(fs, prefix, which);
    size_t size;
    uint8_t *bytes = name ? simfs_bytes(fs, DIRECTORY, name, &size) : NULL;

    if (bytes)
        bytes[offset % size] ^= 0x41;
    simfs_settle(fs);
}

static void damage_block(struct simfs *fs) { damage(fs, "seg-", 0, 4096 + 30); }
static void damage_header(struct simfs *fs) { damage(fs, "seg-", 1, 70); }
static void damage_pages(struct simfs *fs)
{
    for (size_t offset = 8192; offset < 40000; offset += 4096)
        damage(fs, "seg-", 0, offset);
}
static void damage_tombstones(struct simfs *fs) { damage(fs, "del-", 0, 4100); }
static void damage_index(struct simfs *fs) { damage(fs, "idx-", 0, 9000); }
static void damage_log(struct simfs *fs) { damage(fs, "wal-", 0, 300); }
static void damage_copy(struct simfs *fs) { damage(fs, "MANIFEST-", 0, 150); }
static void damage_newest(struct simfs *fs)
{
    char names[8][FILE_NAME_SIZE];
    const char *name;
    size_t count = 0;

    while (count < 8 && (name = find_file(fs, "MANIFEST-", count)) != NULL)
        snprintf(names[count++], FILE_NAME_SIZE, "%s", name);
    for (size_t i = 0; i < count; i++)
        damage(fs, "MANIFEST-", i, 150);
}
static void remove_manifests(struct simfs *fs)
{
    const char *name;

    while ((name = find_file(fs, "MANIFEST-", 0)) != NULL)
        simfs_remove(fs, DIRECTORY, name);
    simfs_settle(fs);
}
static void remove_segment(struct simfs *fs)
{
    simfs_remove(fs, DIRECTORY, find_file(fs, "seg-", 0));
    simfs_settle(fs);
}

/* ------------------------------------------------------------------------------------------------- the loop */

static const struct scenario {
    const char *name;
    vecdb_status (*act)(struct world *world);
    void (*spoil)(struct simfs *fs);
    bool closed;  /* it opens the database itself, or works on a closed one */
    bool salvage; /* what is there afterwards need not be what was there */
    bool rows;    /* but all rows must be */
} table[] = {
    {.name = "insert", .act = insert},
    {.name = "upsert", .act = upsert},
    {.name = "insert into a partition", .act = insert_many},
    {.name = "upsert of texts", .act = insert_names},
    {.name = "delete by key", .act = delete_films},
    {.name = "delete by text", .act = delete_names},
    {.name = "delete by filter", .act = delete_where},
    {.name = "delete most and optimize", .act = delete_most, .salvage = true},
    {.name = "truncate", .act = truncate},
    {.name = "truncate and flush", .act = truncate_and_flush, .salvage = true},
    {.name = "flush", .act = flush},
    {.name = "flush texts", .act = flush_names},
    {.name = "optimize", .act = optimize},
    {.name = "optimize texts", .act = optimize_names},
    {.name = "compact", .act = compact},
    {.name = "sync", .act = sync_all},
    {.name = "index bits", .act = index_names},
    {.name = "index titles", .act = index_title},
    {.name = "index again", .act = index_again, .salvage = true},
    {.name = "drop index", .act = index_drop},
    {.name = "describe index", .act = index_describe},
    {.name = "add field", .act = add_field},
    {.name = "create partition", .act = partition_create},
    {.name = "drop partition", .act = partition_drop},
    {.name = "set alias", .act = alias_set},
    {.name = "move alias", .act = alias_move},
    {.name = "drop alias", .act = alias_drop},
    {.name = "rename", .act = rename_names},
    {.name = "drop collection", .act = drop_names},
    {.name = "create collection", .act = create_third},
    {.name = "search", .act = search_plain},
    {.name = "search with a filter", .act = search_filtered},
    {.name = "search exactly", .act = search_exact},
    {.name = "search in groups", .act = search_groups},
    {.name = "get", .act = get},
    {.name = "count", .act = count},
    {.name = "pages", .act = page},
    {.name = "explain", .act = explain},
    {.name = "stats", .act = stats},
    {.name = "load and release", .act = load},
    {.name = "backup", .act = backup},
    {.name = "follow", .act = follow, .salvage = true},
    {.name = "verify beside", .act = verify},
    {.name = "verify", .act = verify, .closed = true},
    {.name = "repair what is whole", .act = repair, .closed = true},
    {.name = "open", .act = reopen, .closed = true},
    {.name = "open in the heap", .act = reopen_in_heap, .closed = true},
    {.name = "open, a copy damaged", .act = reopen, .spoil = damage_copy, .closed = true},
    {.name = "open, an index damaged", .act = reopen, .spoil = damage_index, .closed = true},
    {.name = "open, a segment damaged", .act = reopen, .spoil = damage_header, .closed = true, .salvage = true},
    {.name = "open, deletions damaged", .act = reopen, .spoil = damage_tombstones, .closed = true, .salvage = true},
    {.name = "open, the log damaged", .act = reopen, .spoil = damage_log, .closed = true, .salvage = true},
    {.name = "open, no manifest", .act = reopen, .spoil = damage_newest, .closed = true, .salvage = true},
    {.name = "verify, a segment damaged", .act = verify, .spoil = damage_pages, .closed = true, .salvage = true},
    {.name = "verify, a header damaged", .act = verify, .spoil = damage_header, .closed = true, .salvage = true},
    {.name = "verify, deletions damaged", .act = verify, .spoil = damage_tombstones, .closed = true, .salvage = true},
    {.name = "verify, an index damaged", .act = verify, .spoil = damage_index, .closed = true, .salvage = true},
    {.name = "verify, the log damaged", .act = verify, .spoil = damage_log, .closed = true, .salvage = true},
    {.name = "verify, a copy damaged", .act = verify, .spoil = damage_copy, .closed = true, .salvage = true},
    {.name = "verify, a segment missing", .act = verify, .spoil = remove_segment, .closed = true, .salvage = true},
    {.name = "repair a block", .act = repair, .spoil = damage_block, .closed = true, .salvage = true},
    {.name = "repair pages", .act = repair, .spoil = damage_pages, .closed = true, .salvage = true},
    {.name = "repair a header", .act = repair, .spoil = damage_header, .closed = true, .salvage = true},
    {.name = "repair deletions", .act = repair, .spoil = damage_tombstones, .closed = true, .salvage = true},
    {.name = "repair an index", .act = repair, .spoil = damage_index, .closed = true, .salvage = true},
    {.name = "repair the log", .act = repair, .spoil = damage_log, .closed = true, .salvage = true},
    {.name = "repair a copy", .act = repair, .spoil = damage_copy, .closed = true, .salvage = true},
    {.name = "repair without a segment", .act = repair, .spoil = remove_segment, .closed = true, .salvage = true},
    {.name = "repair damaged manifests", .act = repair, .spoil = damage_newest, .closed = true, .salvage = true, .rows = true},
    {.name = "repair without manifests", .act = repair, .spoil = remove_manifests, .closed = true, .salvage = true,
     .rows = true},
};
#define SCENARIOS (sizeof table / sizeof table[0])

/* Two collections with segments, deletions, an index, a partition, an alias, and rows that only the log has. */
static struct simfs *make_base(struct counters *counters)
{
    struct world w = {.fs = simfs_create()};
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {
        {.name = "name", .type = VECDB_TYPE_VARCHAR, .max_length = 40, .flags = VECDB_PRIMARY_KEY},
        {.name = "bits", .type = VECDB_TYPE_BINARY_VECTOR, .dim = 16},
    };

    options.threads = 1;
    schema.name = "names";
    schema.fields = fields;
    schema.field_count = 2;
    if (db_open_with_vfs(simfs_vfs(w.fs), DIRECTORY, &options, &w.db) < 0 || create_films(w.db, "films", &w.films) < 0 ||
        vecdb_collection_create(w.db, &schema, &w.names) < 0 || vecdb_partition_create(w.films, "old") < 0 ||
        put_films(w.films, 0, 150, 1, false, NULL) < 0 || vecdb_flush(w.films) < 0 ||
        put_films(w.films, 150, 150, 1, false, NULL) < 0 || put_films(w.films, 1000, 50, 1, false, "old") < 0 ||
        put_names(w.names, 0, 60, true) < 0 || vecdb_flush(w.names) < 0 || vecdb_flush(w.films) < 0 ||
        vecdb_delete_where(w.films, "id % 10 == 3", NULL, NULL) < 0 || vecdb_flush(w.films) < 0 ||
        create_index(w.films, "v", "HNSW", "M=4, efConstruction=16") < 0 || create_index(w.films, "year", "BITMAP", NULL) < 0 ||
        vecdb_alias_set(w.db, "people", "names", false) < 0 ||
        put_films(w.films, 280, 50, 2, true, NULL) < 0 || put_names(w.names, 70, 20, true) < 0 || delete_names(&w) < 0)
        crash_violation(counters, &scenarios, 0, "no database to begin with: %s", error_last()->message);
    close_world(&w);
    simfs_settle(w.fs);
    return w.fs;
}

struct place {
    const struct scenario *scenario;
    struct simfs *base;
    uint64_t before, after;  /* what is to be seen */
    vecdb_status expected;   /* without a fault */
    bool memory, forever;
    int error;
    uint64_t number;
};

static bool may_fail_with(const struct place *place, vecdb_status status)
{
    if (status == place->expected || status == VECDB_ERR_NOMEM)
        return true;
    return !place->memory && (status == VECDB_ERR_IO || status == VECDB_ERR_FULL || status == VECDB_ERR_POISONED);
}

static void complain(struct counters *counters, const struct place *place, const char *what)
{
    crash_violation(counters, &scenarios, place->number, "%s, %s %llu fails %s%s%s: %s: %s", place->scenario->name,
                    place->memory ? "allocation" : "call", (unsigned long long)place->number,
                    place->forever ? "forever" : "once", place->memory ? "" : " with ",
                    place->memory ? "" : strerror(place->error), what, error_last()->message);
}

/* Act with one fault; then everything must be as before or as after. False when the fault was not reached. */
static bool try_place(const struct place *place, struct counters *counters)
{
    struct world w = {.fs = simfs_crash(place->base, PICK_KILL, 0)};
    struct simfs_faults faults = {.fail_at = place->number, .forever = place->forever, .error = place->error};
    vecdb_status status = VECDB_OK;
    uint64_t seen = 0;
    bool hit;

    simfs_settle(w.fs);
    if (place->memory)
        fault_memory(0, false);
    if (!place->scenario->closed && open_world(&w, 0) != VECDB_OK)
        complain(counters, place, "cannot begin");
    if (place->memory)
        fault_memory_next(place->number, place->forever);
    else
        simfs_set_faults(w.fs, &faults);
    error_clear();
    status = place->scenario->act(&w);
    if (status > 0)
        status = VECDB_OK;
    if (place->memory) {
        hit = fault_memory_hit();
        fault_memory_next(0, false);
    } else {
        hit = simfs_fault_hit(w.fs);
        simfs_set_faults(w.fs, NULL);
    }
    if (!may_fail_with(place, status))
        complain(counters, place, vecdb_status_name(status));
    if (w.db && status != VECDB_ERR_POISONED) {
        vecdb_status looked = look(w.db, &seen);
        if (looked != VECDB_OK || (seen != place->after && seen != place->before && !place->scenario->salvage) ||
            (status == VECDB_OK && seen != place->after))
            complain(counters, place, "who goes on sees a state that is neither");
    }
    close_world(&w);
    if (place->memory && fault_memory_live() != 0)
        complain(counters, place, "blocks leaked");
    if (place->memory)
        fault_memory_end();
    if (simfs_open_count(w.fs))
        complain(counters, place, "files left open");
    if (place->expected == VECDB_OK && !place->scenario->salvage) {
        vecdb_status looked = look_closed(w.fs, DIRECTORY, &seen);
        if (looked != VECDB_OK || (seen != place->after && seen != place->before) ||
            (status == VECDB_OK && seen != place->after))
            complain(counters, place, "opened again it is neither");
    }
    simfs_free(w.fs);
    if (hit && place->memory)
        counters->oom_faults++;
    else if (hit)
        counters->io_faults++;
    return hit;
}

static uint64_t rows_of(struct simfs *fs)
{
    struct world w = {.fs = simfs_crash(fs, PICK_KILL, 0)};
    uint64_t hash = 0;

    if (open_world(&w, 0) != VECDB_OK || hash_rows(w.films, &hash) != VECDB_OK || hash_rows(w.names, &hash) != VECDB_OK)
        hash = 0;
    close_world(&w);
    simfs_free(w.fs);
    return hash;
}

/* What acting does when nothing fails. */
static void act_once(struct place *place, struct simfs *base, struct counters *counters)
{
    struct world w = {.fs = simfs_crash(place->base, PICK_KILL, 0)};

    struct simfs *untouched = simfs_crash(place->base, PICK_KILL, 0);

    place->before = place->after = 0;
    simfs_settle(w.fs);
    if (look_closed(untouched, DIRECTORY, &place->before) != VECDB_OK)
        error_clear();
    simfs_free(untouched);
    if (!place->scenario->closed && open_world(&w, 0) != VECDB_OK)
        complain(counters, place, "cannot begin");
    place->expected = place->scenario->act(&w);
    if (place->expected > 0)
        place->expected = VECDB_OK;
    if (place->expected != VECDB_OK && (!place->scenario->spoil || place->expected != VECDB_ERR_CORRUPT))
        complain(counters, place, "does not even work");
    if (w.db)
        (void)look(w.db, &place->after);
    close_world(&w);
    if (!place->scenario->closed || place->after == 0)
        (void)look_closed(w.fs, DIRECTORY, &place->after);
    if (place->scenario->act == repair && look_closed(w.fs, DIRECTORY, &place->after) != VECDB_OK)
        complain(counters, place, "what was repaired does not open");
    if (place->scenario->rows && (rows_of(w.fs) == 0 || rows_of(w.fs) != rows_of(base)))
        complain(counters, place, "not all rows were saved");
    simfs_free(w.fs);
}

size_t crash_scenario_count(void) { return SCENARIOS; }

void crash_scenario(size_t number, uint64_t seed, size_t stride, struct counters *counters)
{
    static const struct {
        bool memory, forever;
        int error;
    } ways[] = {{true, false, 0}, {true, true, 0},          {false, false, EIO},
                {false, true, EIO}, {false, false, ENOSPC}, {false, false, EMFILE}};
    struct simfs *base = make_base(counters);
    struct place place = {.scenario = &table[number], .base = simfs_crash(base, PICK_KILL, 0)};

    simfs_settle(place.base);
    if (place.scenario->spoil)
        place.scenario->spoil(place.base);
    act_once(&place, base, counters);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        place.memory = ways[i].memory;
        place.forever = ways[i].forever;
        place.error = ways[i].error;
        for (place.number = 1 + (seed + number + i) % stride; try_place(&place, counters); place.number += stride)
            ;
    }
    simfs_free(place.base);
    simfs_free(base);
}
