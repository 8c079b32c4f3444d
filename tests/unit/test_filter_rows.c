/* What is remembered of filters: asked again, under deletions, by snapshots of before, when rows expire, when a name gets another
 * meaning, when there is no memory for it, and by many threads. */
#include "support/api.h"
#include "support/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DIM = 4, ROWS = 5000 };

static vecdb_collection *create(vecdb_db *db, const char *ttl)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "until", .type = VECDB_TYPE_INT64},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *rows;

    schema.name = "rows", schema.fields = fields, schema.field_count = 3, schema.dynamic = true, schema.ttl_field = ttl;
    assert_done(vecdb_collection_create(db, &schema, &rows));
    return rows;
}

/* v = (key, 0, 0, 1), colour (dynamic) = key % 100. */
static void put(vecdb_collection *rows, int64_t first, size_t count, int64_t until)
{
    int64_t *keys = malloc(count * 3 * sizeof *keys), *ends = keys + count, *colours = ends + count;
    float(*v)[DIM] = calloc(count, sizeof *v);
    vecdb_batch batch = VECDB_BATCH_INIT;

    for (size_t i = 0; i < count; i++) {
        keys[i] = first + (int64_t)i;
        ends[i] = until;
        colours[i] = keys[i] % 100;
        v[i][0] = (float)keys[i], v[i][3] = 1;
    }
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                                    {.field = "until", .type = VECDB_TYPE_INT64, .data = ends},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = v},
                                    {.field = "colour", .type = VECDB_TYPE_INT64, .data = colours}};
    batch.columns = columns, batch.column_count = 4, batch.row_count = count;
    assert_done(vecdb_insert(rows, &batch, NULL));
    free(keys), free(v);
}

static const float origin[DIM] = {0, 0, 0, 1};

static vecdb_search_request ask(const char *filter, size_t limit)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;

    request.queries = origin, request.dim = DIM, request.query_count = 1, request.limit = limit, request.metric = VECDB_METRIC_L2;
    request.filter = filter, request.exact = true;
    return request;
}

static size_t find(vecdb_collection *rows, const char *filter, size_t limit, int64_t *keys)
{
    vecdb_search_request request = ask(filter, limit);
    size_t count;

    assert_done(vecdb_search_into(rows, &request, keys, NULL, &count));
    return count;
}

static long cached(vecdb_collection *rows, vecdb_search_request request)
{
    static const char name[] = "\"filter_bitmaps_cached\":";
    char *text, *at;
    long value;

    assert_done(vecdb_explain(rows, &request, &text));
    assert_non_null(at = strstr(text, name));
    value = atol(at + strlen(name));
    vecdb_free(text);
    return value;
}

static int64_t seconds_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec;
}

static void test_asked_again(void **state)
{
    char directory[] = "/tmp/vecdb-remember-XXXXXX", command[64];
    const int64_t some[] = {7, 107};
    const vecdb_column ids = {.field = "id", .type = VECDB_TYPE_INT64, .data = some};
    vecdb_search_request within = ask("colour == 7", 10);
    vecdb_collection *rows;
    int64_t keys[100];
    size_t count;
    vecdb_db *db;

    within.within_keys = &ids, within.within_count = 2;
    assert_non_null(mkdtemp(directory));
    for (int on_disk = 0; on_disk < 2; on_disk++) {
        assert_done(vecdb_open(on_disk ? directory : NULL, NULL, &db));
        rows = create(db, NULL);
        put(rows, 0, ROWS, 0);
        if (on_disk)
            assert_done(vecdb_flush(rows));
        assert_int_equal(cached(rows, ask("colour == 7", 10)), 0);
        assert_int_equal(cached(rows, ask("colour == 7", 20)), 1);
        assert_int_equal(cached(rows, ask("colour == 8", 10)), 0); /* another */
        assert_int_equal(find(rows, "colour == 7", 100, keys), ROWS / 100);
        assert_int_equal(keys[0], 7);
        assert_done(vecdb_search_into(rows, &within, keys, NULL, &count)); /* what is remembered stays as it is */
        assert_int_equal(count, 2);
        assert_int_equal(find(rows, "colour == 7", 100, keys), ROWS / 100);
        assert_done(vecdb_delete_where(rows, "id in [7, 107]", NULL, NULL));
        assert_int_equal(cached(rows, ask("colour == 7", 10)), 1); /* less what has been deleted */
        assert_int_equal(find(rows, "colour == 7", 100, keys), ROWS / 100 - 2);
        assert_int_equal(keys[0], 207);
        put(rows, 7, 1, 0); /* again, in another place */
        assert_int_equal(find(rows, "colour == 7", 100, keys), ROWS / 100 - 1);
        assert_int_equal(keys[0], 7);
        for (int i = 0; i < 100; i++) { /* more than are remembered */
            char filter[32];
            snprintf(filter, sizeof filter, "colour == %d", i);
            assert_in_range(find(rows, filter, 100, keys), ROWS / 100 - 1, ROWS / 100);
            assert_int_equal(keys[0] % 100, i);
        }
        assert_done(vecdb_collection_close(&rows));
        assert_done(vecdb_close(&db));
    }
    snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

static void test_older_snapshot(void **state)
{
    vecdb_search_request request = ask("colour == 7", 10);
    vecdb_collection *rows;
    vecdb_cursor *cursor;
    vecdb_result *page;
    int64_t keys[100];
    size_t seen = 0;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, NULL);
    put(rows, 0, ROWS, 0);
    assert_done(vecdb_search_cursor(rows, &request, &cursor)); /* sees all, whatever is remembered since */
    assert_done(vecdb_delete_where(rows, "colour == 7 and id > 1000", NULL, NULL));
    assert_int_equal(find(rows, "colour == 7", 100, keys), 10);
    for (size_t count = 1, first; count; seen += count) {
        assert_true(vecdb_cursor_next(cursor, 7, &page) >= 0);
        count = vecdb_result_rows(page, 0, &first);
        vecdb_result_free(&page);
        assert_int_equal(find(rows, "colour == 7", 100, keys), 10);
    }
    assert_int_equal(seen, ROWS / 100);
    vecdb_cursor_close(&cursor);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

/* A row that is over is not found by what was remembered while it was not. */
static void test_expiry(void **state)
{
    vecdb_collection *rows;
    int64_t keys[100], end = seconds_now() + 2;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, "until");
    put(rows, 0, ROWS / 2, end);
    put(rows, ROWS / 2, ROWS / 2, 0);
    for (int i = 0; i < 2; i++) {
        size_t count = find(rows, "colour == 7", 100, keys);
        if (seconds_now() < end)
            assert_int_equal(count, ROWS / 100);
    }
    while (seconds_now() < end)
        usleep(50000);
    assert_int_equal(cached(rows, ask("colour == 7", 10)), 1);
    assert_int_equal(find(rows, "colour == 7", 100, keys), ROWS / 200);
    assert_int_equal(keys[0], ROWS / 2 + 7);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

/* A key of $meta becomes a field's name, with another value. */
static void test_meaning(void **state)
{
    const vecdb_field field = {.name = "colour", .type = VECDB_TYPE_INT64, .default_value = "9"};
    vecdb_collection *rows;
    int64_t keys[100];
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, NULL);
    put(rows, 0, ROWS, 0);
    assert_int_equal(find(rows, "colour == 9", 100, keys), ROWS / 100);
    assert_int_equal(find(rows, "colour == 7", 100, keys), ROWS / 100);
    assert_done(vecdb_collection_add_field(rows, &field));
    assert_int_equal(find(rows, "colour == 7", 100, keys), 0);
    assert_int_equal(find(rows, "colour == 9", 100, keys), 100);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

/* Parameters tell filters from each other as their text does. */
static void test_parameters(void **state)
{
    vecdb_search_request request = ask("colour == {c}", 10);
    vecdb_collection *rows;
    int64_t keys[10];
    vecdb_db *db;
    size_t count;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, NULL);
    put(rows, 0, ROWS, 0);
    for (int i = 0; i < 40; i++) {
        char params[32];
        snprintf(params, sizeof params, "{\"c\": %d}", i % 20);
        request.filter_params = params;
        assert_done(vecdb_search_into(rows, &request, keys, NULL, &count));
        assert_int_equal(count, 10);
        assert_int_equal(keys[0], i % 20);
    }
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

static atomic_bool stop;

static void *search_on(void *context)
{
    vecdb_collection *rows = context;
    int64_t keys[100];
    char filter[32];

    for (int i = 0; !atomic_load(&stop); i++) {
        vecdb_search_request request;
        size_t count, before = 0;
        snprintf(filter, sizeof filter, "colour == %d", i % 24);
        request = ask(filter, 100);
        for (int again = 0; again < 2; again++) {
            if (vecdb_search_into(rows, &request, keys, NULL, &count) < 0)
                return "search";
            for (size_t k = 0; k < count; k++)
                if (keys[k] % 100 != i % 24)
                    return "a row that does not match";
            if (again && count > before) /* rows are only deleted */
                return "more rows than before";
            before = count;
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    vecdb_collection *rows;
    pthread_t threads[4];
    int64_t keys[100];
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, NULL);
    put(rows, 0, ROWS, 0);
    for (size_t t = 0; t < 4; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, search_on, rows), 0);
    for (int i = 0; i < 40; i++) {
        char filter[64];
        snprintf(filter, sizeof filter, "id >= %d and id < %d", i * 100, i * 100 + 100);
        assert_done(vecdb_delete_where(rows, filter, NULL, NULL));
        usleep(5000);
    }
    atomic_store(&stop, true);
    for (size_t t = 0; t < 4; t++) {
        void *complaint;
        assert_int_equal(pthread_join(threads[t], &complaint), 0);
        if (complaint)
            fail_msg("%s", (const char *)complaint);
    }
    assert_int_equal(find(rows, "colour == 7", 100, keys), (ROWS - 4000) / 100);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

static long filter_memory(vecdb_collection *rows)
{
    static const char name[] = "\"filter_memory\":";
    char *text, *at;
    long value;

    assert_done(vecdb_collection_stats(rows, &text));
    assert_non_null(at = strstr(text, name));
    value = atol(at + strlen(name));
    vecdb_free(text);
    return value;
}

enum { MANY = 9000, WIDE = 8 };

static float wide_at(size_t field, size_t row, size_t d) { return (float)((row * (37 + 20 * field) + d * 1009 + row * row % 613 * (d + 1)) % 997) / 997; }

static void *search_both(void *context)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    vecdb_collection *rows = context;
    float query[WIDE];
    int64_t keys[5];
    size_t count;

    request.queries = query, request.dim = WIDE, request.query_count = 1, request.limit = 5, request.metric = VECDB_METRIC_L2;
    request.filter = "id % 3 == 0";
    for (size_t i = 0; i < 60; i++) {
        request.field = i % 2 ? "v" : "w";
        for (size_t d = 0; d < WIDE; d++)
            query[d] = wide_at(i % 2, i * 11, d);
        if (vecdb_search_into(rows, &request, keys, NULL, &count) < 0)
            return "search";
        if (count != 5)
            return "fewer than there are";
        for (size_t k = 0; k < count; k++)
            if (keys[k] % 3)
                return "a row that does not match";
    }
    return NULL;
}

/* What indexes keep with a filter counts, and there is none of it where memory is scarce. */
static void test_memory(void **state)
{
    static float values[2][MANY][WIDE];
    static int64_t ids[MANY];
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "w", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = WIDE},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = WIDE}};
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
                                    {.field = "w", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = WIDE, .data = values[0]},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = WIDE, .data = values[1]}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    const long bitmap = MANY / 8;

    for (size_t i = 0; i < MANY; i++) {
        ids[i] = (int64_t)i;
        for (size_t d = 0; d < WIDE; d++)
            for (size_t f = 0; f < 2; f++)
                values[f][i][d] = wide_at(f, i, d);
    }
    schema.name = "rows", schema.fields = fields, schema.field_count = 3;
    batch.columns = columns, batch.column_count = 3, batch.row_count = MANY;
    for (int scarce = 0; scarce < 2; scarce++) {
        char directory[] = "/tmp/vecdb-memory-XXXXXX", command[64];
        vecdb_collection *rows;
        pthread_t threads[4];
        vecdb_db *db;
        assert_non_null(mkdtemp(directory));
        options.memory_limit = 0;
        assert_done(vecdb_open(directory, &options, &db));
        assert_done(vecdb_collection_create(db, &schema, &rows));
        assert_done(vecdb_insert(rows, &batch, NULL));
        for (size_t f = 1; f < 3; f++) {
            vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
            index.field = fields[f].name, index.type = "HNSW", index.metric = VECDB_METRIC_L2, index.params = "{\"M\": 6, \"efConstruction\": 40}";
            assert_done(vecdb_index_create(rows, &index));
        }
        assert_done(vecdb_collection_close(&rows));
        assert_done(vecdb_close(&db));
        options.memory_limit = scarce ? 5 << 20 : 0;
        assert_done(vecdb_open(directory, &options, &db));
        assert_done(vecdb_collection_open(db, "rows", &rows));
        assert_int_equal(filter_memory(rows), 0);
        for (size_t t = 0; t < 4; t++)
            assert_int_equal(pthread_create(&threads[t], NULL, search_both, rows), 0);
        for (size_t t = 0; t < 4; t++) {
            void *complaint;
            assert_int_equal(pthread_join(threads[t], &complaint), 0);
            if (complaint)
                fail_msg("scarce %d: %s", scarce, (const char *)complaint);
        }
        if (scarce)
            assert_true(filter_memory(rows) < 2 * bitmap + 4096);
        else
            assert_in_range(filter_memory(rows), 3 * bitmap, 3 * bitmap + 20000); /* the rows, and a memo of each index */
        assert_done(vecdb_collection_close(&rows));
        assert_done(vecdb_close(&db));
        snprintf(command, sizeof command, "rm -rf %s", directory);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asked_again), cmocka_unit_test(test_older_snapshot), cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_meaning),     cmocka_unit_test(test_parameters),     cmocka_unit_test(test_threads),
        cmocka_unit_test(test_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
