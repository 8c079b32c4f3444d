/* The public API: what comes in comes out, in memory and in a directory, after reopening too. */
#include "support/api.h"
#include "support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];

static int make_directory(void **state)
{
    snprintf(directory, sizeof directory, "/tmp/vecdb-api-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    char command[128];

    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command);
}

static vecdb_db *open_memory(void)
{
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    return db;
}

static void close_all(vecdb_db **db, vecdb_collection **collection)
{
    assert_done(vecdb_collection_close(collection));
    assert_null(*collection);
    assert_done(vecdb_close(db));
    assert_null(*db);
}

/* Each value follows from the key: see api_insert(). */
static void check_rows(const vecdb_result *result, const int64_t *keys, size_t count)
{
    vecdb_column id, b, i8, i16, i32, f, d, text, json, list, vector;
    size_t first;

    assert_int_equal(vecdb_result_rows(result, 0, &first), count);
    assert_int_equal(first, 0);
    assert_done(vecdb_result_column(result, "id", &id));
    assert_done(vecdb_result_column(result, "b", &b));
    assert_done(vecdb_result_column(result, "i8", &i8));
    assert_done(vecdb_result_column(result, "i16", &i16));
    assert_done(vecdb_result_column(result, "i32", &i32));
    assert_done(vecdb_result_column(result, "f", &f));
    assert_done(vecdb_result_column(result, "d", &d));
    assert_done(vecdb_result_column(result, "text", &text));
    assert_done(vecdb_result_column(result, "json", &json));
    assert_done(vecdb_result_column(result, "list", &list));
    assert_done(vecdb_result_column(result, "vector", &vector));
    for (size_t i = 0; i < count; i++) {
        int64_t key = keys[i];
        float expected[API_DIM];
        char words[64];
        size_t length;
        bool valid = key % 3 != 0;

        assert_int_equal(((const int64_t *)id.data)[i], key);
        api_vector(key, expected);
        assert_memory_equal((const float *)vector.data + i * API_DIM, expected, sizeof expected);
        assert_int_equal(b.valid ? b.valid[i] : 1, valid);
        assert_int_equal(list.valid ? list.valid[i] : 1, valid);
        if (!valid)
            continue;
        assert_int_equal(((const uint8_t *)b.data)[i], key % 2 == 0);
        assert_int_equal(((const int8_t *)i8.data)[i], (int8_t)(key % 100));
        assert_int_equal(((const int16_t *)i16.data)[i], key % 1000);
        assert_int_equal(((const int32_t *)i32.data)[i], key % 100000);
        assert_true(((const float *)f.data)[i] == (float)(key % 1000) / 4);
        assert_true(((const double *)d.data)[i] == (double)key / 8);
        length = (size_t)snprintf(words, sizeof words, "text %lld \xC3\xA9", (long long)key);
        assert_int_equal(text.offsets[i + 1] - text.offsets[i], length);
        assert_memory_equal((const char *)text.data + text.offsets[i], words, length);
        length = (size_t)snprintf(words, sizeof words, "{\"n\": %lld, \"odd\": %s}", (long long)key, key % 2 ? "true" : "false");
        assert_int_equal(json.offsets[i + 1] - json.offsets[i], length);
        assert_memory_equal((const char *)json.data + json.offsets[i], words, length);
        assert_int_equal(list.offsets[i + 1] - list.offsets[i], key % 4);
        for (int64_t j = 0; j < key % 4; j++)
            assert_int_equal(((const int32_t *)list.data)[list.offsets[i] + (uint64_t)j], key + j);
    }
}

static void check_get(vecdb_collection *collection, const int64_t *keys, size_t count)
{
    const vecdb_column column = {.type = VECDB_TYPE_INT64, .data = keys};
    vecdb_result *result;

    assert_int_equal(vecdb_get(collection, &column, count, NULL, 0, &result), VECDB_OK);
    check_rows(result, keys, count);
    vecdb_result_free(&result);
    assert_null(result);
}

static uint64_t count_rows(vecdb_collection *collection)
{
    uint64_t count;

    assert_done(vecdb_count(collection, NULL, NULL, &count));
    return count;
}

static void test_every_type_comes_back(void **state)
{
    const int64_t keys[] = {7, 0, 4999, 3, 2500};
    vecdb_db *db = open_memory();
    vecdb_collection *collection = api_create(db, "rows", false);

    assert_done(api_insert(collection, 0, 3000));
    assert_done(api_insert(collection, 3000, 2000));
    assert_int_equal(count_rows(collection), 5000);
    check_get(collection, keys, 5);
    close_all(&db, &collection);
}

static void test_reopen(void **state)
{
    const int64_t kept[] = {1, 2, 1500, 1999}, gone[] = {3, 4, 700};
    const vecdb_column keys = {.type = VECDB_TYPE_INT64, .data = gone};
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_collection *collection;
    vecdb_result *result;
    vecdb_db *db;

    assert_done(vecdb_open(directory, NULL, &db));
    collection = api_create(db, "rows", true);
    assert_done(api_insert(collection, 0, 2000));
    assert_done(vecdb_delete(collection, &keys, 3, &options));
    assert_int_equal(options.affected, 3);
    close_all(&db, &collection);
    for (int round = 0; round < 3; round++) {
        assert_done(vecdb_open(directory, NULL, &db));
        assert_done(vecdb_collection_open(db, "rows", &collection));
        assert_int_equal(count_rows(collection), 1997);
        check_get(collection, kept, 4);
        assert_int_equal(vecdb_get(collection, &keys, 3, NULL, 0, &result), VECDB_NOT_FOUND);
        vecdb_result_free(&result);
        if (round == 0)
            assert_done(vecdb_flush(collection)); /* next time from a segment */
        if (round == 1)
            assert_done(vecdb_optimize(collection, NULL, NULL));
        close_all(&db, &collection);
    }
}

static void test_names_live_on(void **state)
{
    vecdb_collection *collection;
    char **names;
    size_t count;
    vecdb_db *db;

    assert_done(vecdb_open(directory, NULL, &db));
    collection = api_create_plain(db, "films", VECDB_TYPE_FLOAT_VECTOR, 4);
    assert_done(vecdb_partition_create(collection, "old"));
    assert_done(vecdb_alias_set(db, "movies", "films", false));
    assert_done(vecdb_collection_rename(db, "films", "pictures"));
    close_all(&db, &collection);
    assert_done(vecdb_open(directory, NULL, &db));
    assert_done(vecdb_collection_list(db, &names, &count));
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "pictures");
    vecdb_free(names);
    assert_done(vecdb_collection_open(db, "movies", &collection));
    assert_done(vecdb_partition_list(collection, &names, &count));
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "_default");
    assert_string_equal(names[1], "old");
    vecdb_free(names);
    assert_done(vecdb_alias_list(db, NULL, &names, &count));
    assert_int_equal(count, 1);
    vecdb_free(names);
    assert_done(vecdb_alias_drop(db, "movies"));
    assert_refused(vecdb_alias_drop(db, "movies"), VECDB_ERR_NO_SUCH, "movies");
    assert_done(vecdb_collection_drop(db, "pictures"));
    assert_refused(vecdb_count(collection, NULL, NULL, &(uint64_t){0}), VECDB_ERR_NO_SUCH, "pictures|dropped");
    close_all(&db, &collection);
}

static void test_upsert_replaces_at_once(void **state)
{
    const int64_t keys[] = {1, 2, 2, 9};
    const float vectors[4][2] = {{1, 1}, {2, 2}, {3, 3}, {9, 9}};
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                                    {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2, .data = vectors}};
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_db *db = open_memory();
    vecdb_collection *collection = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, 2);
    const vecdb_column two = {.type = VECDB_TYPE_INT64, .data = &keys[1]};
    vecdb_column vector;
    vecdb_result *result;

    batch.columns = columns;
    batch.column_count = 2;
    batch.row_count = 4;
    assert_refused(vecdb_insert(collection, &batch, &options), VECDB_ERR_EXISTS, "key 2|rows 1 and 2");
    assert_int_equal(options.bad_row, 2);
    assert_int_equal(count_rows(collection), 0);
    assert_done(vecdb_upsert(collection, &batch, &options));
    assert_int_equal(count_rows(collection), 3);
    assert_done(vecdb_get(collection, &two, 1, NULL, 0, &result));
    assert_done(vecdb_result_column(result, "vector", &vector));
    assert_true(((const float *)vector.data)[0] == 3); /* the last one of the batch */
    vecdb_result_free(&result);
    assert_done(vecdb_upsert(collection, &batch, &options));
    assert_int_equal(count_rows(collection), 3);
    batch.row_count = 1;
    assert_refused(vecdb_insert(collection, &batch, &options), VECDB_ERR_EXISTS, "row 0|key 1|there already");
    close_all(&db, &collection);
}

static void test_auto_ids(void **state)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY | VECDB_AUTO_ID},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 1}};
    const float values[] = {1, 2, 3};
    const int64_t own = 5;
    vecdb_column columns[] = {{.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 1, .data = values},
                              {.field = "id", .type = VECDB_TYPE_INT64, .data = &own}};
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_collection *collection;
    int64_t ids[3], more[3];
    vecdb_db *db;

    assert_done(vecdb_open(directory, NULL, &db));
    schema.name = "auto", schema.fields = fields, schema.field_count = 2;
    assert_done(vecdb_collection_create(db, &schema, &collection));
    batch.columns = columns, batch.column_count = 1, batch.row_count = 3;
    options.auto_ids = ids;
    assert_done(vecdb_insert(collection, &batch, &options));
    close_all(&db, &collection);
    assert_done(vecdb_open(directory, NULL, &db));
    assert_done(vecdb_collection_open(db, "auto", &collection));
    options.auto_ids = more;
    assert_done(vecdb_insert(collection, &batch, &options));
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            assert_true(ids[i] != more[j]);
    assert_int_equal(count_rows(collection), 6);
    batch.column_count = 2, batch.row_count = 1;
    assert_refused(vecdb_insert(collection, &batch, &options), VECDB_ERR_INVALID, "id|AUTO_ID");
    close_all(&db, &collection);
}

static void test_text_keys(void **state)
{
    const vecdb_field fields[] = {{.name = "name", .type = VECDB_TYPE_VARCHAR, .max_length = 20, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 1}};
    const vecdb_string names[] = {{"b", 1}, {"\xC3\xA4", 2}, {"a'\"b", 4}, {"", 0}, {"x\0y", 3}};
    const float values[] = {1, 2, 3, 4, 5};
    const vecdb_column columns[] = {{.field = "name", .type = VECDB_TYPE_VARCHAR, .data = names},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 1, .data = values}};
    const vecdb_column keys = {.type = VECDB_TYPE_VARCHAR, .data = &names[2]};
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_db *db = open_memory();
    vecdb_collection *collection;
    vecdb_result *result;
    vecdb_column column;
    int64_t ids[5];

    schema.name = "texts", schema.fields = fields, schema.field_count = 2;
    assert_done(vecdb_collection_create(db, &schema, &collection));
    batch.columns = columns, batch.column_count = 2, batch.row_count = 5;
    assert_done(vecdb_insert(collection, &batch, NULL));
    assert_int_equal(vecdb_get(collection, &keys, 3, NULL, 0, &result), VECDB_OK);
    assert_int_equal(vecdb_result_rows(result, 0, NULL), 3);
    assert_done(vecdb_result_column(result, "name", &column));
    assert_int_equal(column.offsets[3], 4 + 0 + 3);
    assert_memory_equal(column.data, "a'\"bx\0y", 7);
    vecdb_result_free(&result);
    request.queries = values, request.dim = 1, request.query_count = 1, request.limit = 5, request.metric = VECDB_METRIC_L2;
    assert_refused(vecdb_search_into(collection, &request, ids, NULL, NULL), VECDB_ERR_TYPE, "name|VARCHAR");
    assert_done(vecdb_search(collection, &request, &result));
    assert_done(vecdb_result_column(result, "name", &column));
    assert_memory_equal(column.data, "b", 1);
    vecdb_result_free(&result);
    close_all(&db, &collection);
}

static void test_defaults_and_missing_fields(void **state)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "score", .type = VECDB_TYPE_INT32, .default_value = "42"},
                                  {.name = "title", .type = VECDB_TYPE_VARCHAR, .max_length = 9, .flags = VECDB_NULLABLE, .default_value = "\"none\""},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 1}};
    const vecdb_field later = {.name = "later", .type = VECDB_TYPE_DOUBLE, .default_value = "1.5"};
    const vecdb_field never = {.name = "never", .type = VECDB_TYPE_DOUBLE};
    const int64_t id = 1;
    const float value = 1;
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = &id},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 1, .data = &value}};
    const vecdb_column key = {.type = VECDB_TYPE_INT64, .data = &id};
    const vecdb_schema *published;
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_collection *collection;
    vecdb_result *result;
    vecdb_column column;
    vecdb_db *db;

    assert_done(vecdb_open(directory, NULL, &db));
    schema.name = "defaults", schema.fields = fields, schema.field_count = 4;
    assert_done(vecdb_collection_create(db, &schema, &collection));
    batch.columns = columns, batch.column_count = 2, batch.row_count = 1;
    assert_done(vecdb_insert(collection, &batch, NULL));
    assert_refused(vecdb_collection_add_field(collection, &never), VECDB_ERR_INVALID, "never|nullable|default");
    assert_done(vecdb_collection_add_field(collection, &later));
    for (int round = 0; round < 2; round++) {
        assert_done(vecdb_collection_schema(collection, &published));
        assert_int_equal(published->field_count, 5);
        assert_done(vecdb_get(collection, &key, 1, NULL, 0, &result));
        assert_done(vecdb_result_column(result, "score", &column));
        assert_int_equal(*(const int32_t *)column.data, 42);
        assert_done(vecdb_result_column(result, "title", &column));
        assert_memory_equal(column.data, "none", 4);
        assert_done(vecdb_result_column(result, "later", &column));
        assert_true(*(const double *)column.data == 1.5);
        vecdb_result_free(&result);
        close_all(&db, &collection);
        assert_done(vecdb_open(directory, NULL, &db));
        assert_done(vecdb_collection_open(db, "defaults", &collection));
    }
    batch.column_count = 1;
    assert_refused(vecdb_insert(collection, &batch, NULL), VECDB_ERR_INVALID, "field v|missing");
    close_all(&db, &collection);
}

static void test_dynamic_keys(void **state)
{
    const char *const output[] = {"colour", "size", "$meta"};
    const int64_t ids[] = {1, 2};
    const float vectors[2 * API_DIM] = {1, 2};
    const vecdb_string colours[] = {{"red", 3}, {"blue", 4}};
    const uint8_t valid[] = {1, 0};
    const int64_t sizes[] = {10, 0};
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
                                    {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = API_DIM, .data = vectors},
                                    {.field = "colour", .type = VECDB_TYPE_VARCHAR, .data = colours},
                                    {.field = "size", .type = VECDB_TYPE_INT64, .data = sizes, .valid = valid}};
    const vecdb_column keys = {.type = VECDB_TYPE_INT64, .data = ids};
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_db *db = open_memory();
    vecdb_collection *collection = api_create(db, "dynamic", true);
    vecdb_result *result;
    vecdb_column column;
    uint64_t count;

    batch.columns = columns, batch.column_count = 4, batch.row_count = 2;
    assert_done(vecdb_insert(collection, &batch, NULL));
    assert_done(vecdb_get(collection, &keys, 2, output, 3, &result));
    assert_done(vecdb_result_column(result, "colour", &column));
    assert_memory_equal(column.data, "\"red\"\"blue\"", 11);
    assert_done(vecdb_result_column(result, "size", &column));
    assert_non_null(column.valid);
    assert_int_equal(column.valid[1], 0);
    assert_memory_equal(column.data, "10", 2);
    assert_done(vecdb_result_column(result, "$meta", &column));
    assert_memory_equal(column.data, "{\"colour\": \"red\", \"size\": 10}{\"colour\": \"blue\"}", 47);
    vecdb_result_free(&result);
    assert_done(vecdb_count(collection, "colour == 'blue'", NULL, &count));
    assert_int_equal(count, 1);
    assert_done(vecdb_count(collection, "size > 5", NULL, &count));
    assert_int_equal(count, 1);
    close_all(&db, &collection);
}

static void test_partitions(void **state)
{
    const char *const only_old[] = {"old"};
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    const int64_t ids[] = {1, 2}, more[] = {3};
    const float vectors[] = {0, 0, 1, 1}, query[] = {0, 0};
    vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
                              {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2, .data = vectors}};
    vecdb_db *db = open_memory();
    vecdb_collection *collection = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, 2);
    int64_t found[3];
    size_t count;

    batch.columns = columns, batch.column_count = 2, batch.row_count = 2;
    assert_done(vecdb_insert(collection, &batch, NULL));
    columns[0].data = more, batch.row_count = 1, batch.partition = "old";
    assert_refused(vecdb_insert(collection, &batch, NULL), VECDB_ERR_NO_SUCH, "old");
    assert_done(vecdb_partition_create(collection, "old"));
    assert_refused(vecdb_partition_create(collection, "old"), VECDB_ERR_EXISTS, "old");
    assert_done(vecdb_insert(collection, &batch, NULL));
    request.queries = query, request.dim = 2, request.query_count = 1, request.limit = 3, request.metric = VECDB_METRIC_L2;
    request.partitions = only_old, request.partition_count = 1;
    assert_int_equal(vecdb_search_into(collection, &request, found, NULL, &count), VECDB_EXHAUSTED);
    assert_int_equal(count, 1);
    assert_int_equal(found[0], 3);
    assert_done(vecdb_partition_drop(collection, "old"));
    assert_int_equal(count_rows(collection), 2);
    assert_refused(vecdb_partition_drop(collection, "_default"), VECDB_ERR_INVALID, "_default");
    close_all(&db, &collection);
}

static void test_delete_where_and_truncate(void **state)
{
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_collection *collection;
    vecdb_db *db;

    assert_done(vecdb_open(directory, NULL, &db));
    collection = api_create(db, "rows", false);
    assert_done(api_insert(collection, 0, 1000));
    assert_done(vecdb_delete_where(collection, "id >= 900 or i32 == 1", NULL, &options));
    assert_int_equal(options.affected, 101);
    assert_refused(vecdb_delete_where(collection, "  ", NULL, NULL), VECDB_ERR_INVALID, "empty|truncate");
    assert_done(vecdb_delete_where(collection, "id in {keys}", "{\"keys\": [2, 3]}", &options));
    assert_int_equal(options.affected, 2);
    close_all(&db, &collection);
    assert_done(vecdb_open(directory, NULL, &db));
    assert_done(vecdb_collection_open(db, "rows", &collection));
    assert_int_equal(count_rows(collection), 897);
    assert_done(vecdb_collection_truncate(collection));
    assert_int_equal(count_rows(collection), 0);
    assert_done(api_insert(collection, 0, 10));
    close_all(&db, &collection);
    assert_done(vecdb_open(directory, NULL, &db));
    assert_done(vecdb_collection_open(db, "rows", &collection));
    assert_int_equal(count_rows(collection), 10);
    close_all(&db, &collection);
}

static void test_query_orders_and_pages(void **state)
{
    const char *const output[] = {"d", "text"};
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    vecdb_db *db = open_memory();
    vecdb_collection *collection = api_create(db, "rows", false);
    vecdb_cursor *cursor;
    vecdb_result *result;
    vecdb_column id;
    size_t seen = 0;

    assert_done(api_insert(collection, 0, 500));
    request.filter = "id % 3 != 0", request.order_by = "d desc", request.limit = 3, request.offset = 1;
    request.output_fields = output, request.output_count = 2;
    assert_done(vecdb_query(collection, &request, &result));
    assert_done(vecdb_result_column(result, "id", &id));
    assert_int_equal(vecdb_result_rows(result, 0, NULL), 3);
    assert_int_equal(((const int64_t *)id.data)[0], 497);
    assert_int_equal(((const int64_t *)id.data)[1], 496);
    assert_int_equal(vecdb_result_column(result, "f", &id), VECDB_ERR_NO_SUCH);
    vecdb_result_free(&result);
    request = (vecdb_query_request)VECDB_QUERY_REQUEST_INIT;
    request.order_by = "vectr desc";
    assert_refused(vecdb_query(collection, &request, &result), VECDB_ERR_NO_SUCH, "order_by: field vectr|did you mean vector?");
    request.order_by = "nonsense";
    assert_refused(vecdb_query(collection, &request, &result), VECDB_ERR_NO_SUCH, "nonsense");
    request.order_by = "vector";
    assert_refused(vecdb_query(collection, &request, &result), VECDB_ERR_TYPE, "FLOAT_VECTOR|vector");
    request.order_by = NULL;
    assert_done(vecdb_query_cursor(collection, &request, &cursor));
    assert_done(api_insert(collection, 500, 10)); /* the cursor does not see it */
    assert_refused(vecdb_collection_close(&collection), VECDB_ERR_BUSY, "cursors");
    while (vecdb_cursor_next(cursor, 64, &result) == VECDB_OK) {
        size_t count = vecdb_result_rows(result, 0, NULL);
        assert_done(vecdb_result_column(result, "id", &id));
        for (size_t i = 0; i < count; i++)
            assert_int_equal(((const int64_t *)id.data)[i], seen++);
        vecdb_result_free(&result);
    }
    vecdb_result_free(&result);
    assert_int_equal(seen, 500);
    vecdb_cursor_close(&cursor);
    close_all(&db, &collection);
}

static void test_memory_limit(void **state)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_collection *collection;
    vecdb_status status = VECDB_OK;
    uint64_t before;
    vecdb_db *db;

    options.memory_limit = 4 << 20;
    assert_done(vecdb_open(NULL, &options, &db));
    collection = api_create(db, "rows", false);
    for (int64_t i = 0; status == VECDB_OK && i < 1000; i++) {
        before = count_rows(collection);
        status = api_insert(collection, i * 500, 500);
    }
    assert_int_equal(status, VECDB_ERR_NOMEM);
    assert_non_null(strstr(vecdb_last_error(), "out of memory: "));
    assert_non_null(strstr(vecdb_last_error(), " bytes of the memory_limit of 4194304 are in use"));
    assert_int_equal(count_rows(collection), before); /* nothing of the failed batch */
    close_all(&db, &collection);
}

static void test_verify_and_backup(void **state)
{
    char copy[96], *report;
    vecdb_collection *collection;
    vecdb_db *db;

    snprintf(copy, sizeof copy, "%s/copy", directory);
    assert_done(vecdb_open(directory, NULL, &db));
    collection = api_create(db, "rows", false);
    assert_done(api_insert(collection, 0, 300));
    assert_done(vecdb_flush(collection));
    assert_done(api_insert(collection, 300, 50));
    assert_done(vecdb_backup(db, copy, NULL, NULL));
    assert_done(api_insert(collection, 350, 50));
    close_all(&db, &collection);
    assert_done(vecdb_verify(directory, NULL, NULL, &report));
    assert_non_null(strstr(report, "\"ok\""));
    vecdb_free(report);
    assert_done(vecdb_open(copy, NULL, &db));
    assert_done(vecdb_collection_open(db, "rows", &collection));
    assert_int_equal(count_rows(collection), 350);
    close_all(&db, &collection);
}

static void test_readers_beside_a_writer(void **state)
{
    vecdb_open_options read_only = VECDB_OPEN_OPTIONS_INIT;
    vecdb_collection *writer, *reader;
    vecdb_db *db, *second, *readers;

    read_only.flags = VECDB_OPEN_READ_ONLY;
    assert_done(vecdb_open(directory, NULL, &db));
    writer = api_create(db, "rows", false);
    assert_done(api_insert(writer, 0, 100));
    assert_refused(vecdb_open(directory, NULL, &second), VECDB_ERR_BUSY, "this process already");
    assert_done(vecdb_open(directory, &read_only, &readers));
    assert_done(vecdb_collection_open(readers, "rows", &reader));
    assert_int_equal(count_rows(reader), 100);
    assert_refused(api_insert(reader, 100, 1), VECDB_ERR_READONLY, "read-only");
    assert_done(api_insert(writer, 100, 100));
    assert_done(vecdb_flush(writer));
    assert_done(api_insert(writer, 200, 100));
    assert_done(vecdb_refresh(readers));
    assert_int_equal(count_rows(reader), 300);
    close_all(&readers, &reader);
    close_all(&db, &writer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_comes_back),
        cmocka_unit_test_setup_teardown(test_reopen, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_names_live_on, make_directory, remove_directory),
        cmocka_unit_test(test_upsert_replaces_at_once),
        cmocka_unit_test_setup_teardown(test_auto_ids, make_directory, remove_directory),
        cmocka_unit_test(test_text_keys),
        cmocka_unit_test_setup_teardown(test_defaults_and_missing_fields, make_directory, remove_directory),
        cmocka_unit_test(test_dynamic_keys),
        cmocka_unit_test(test_partitions),
        cmocka_unit_test_setup_teardown(test_delete_where_and_truncate, make_directory, remove_directory),
        cmocka_unit_test(test_query_orders_and_pages),
        cmocka_unit_test(test_memory_limit),
        cmocka_unit_test_setup_teardown(test_verify_and_backup, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(test_readers_beside_a_writer, make_directory, remove_directory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
