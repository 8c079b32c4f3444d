/* What searches can be told besides filters: a partition key, rows that expire, a filter for each query, cancelling, groups'
 * offset, cursors' dynamic keys, and the choice among hits by relevance. */
#include "support/api.h"
#include "support/unit.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { DIM = 4 };

static vecdb_collection *create(vecdb_db *db, const char *name, uint32_t key_flags, uint32_t num_partitions, const char *ttl)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "tenant", .type = VECDB_TYPE_VARCHAR, .max_length = 16, .flags = key_flags},
                                  {.name = "until", .type = VECDB_TYPE_INT64, .flags = VECDB_NULLABLE},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *rows;

    schema.name = name, schema.fields = fields, schema.field_count = 4, schema.dynamic = true;
    schema.num_partitions = num_partitions, schema.ttl_field = ttl;
    assert_done(vecdb_collection_create(db, &schema, &rows));
    return rows;
}

/* Rows first .. first + count - 1: tenant t<key % 10>, v = (key, 0, 0, 1). */
static vecdb_status put(vecdb_collection *rows, int64_t first, size_t count, const int64_t *until, bool replace)
{
    int64_t *keys = malloc(count * sizeof *keys), *none = calloc(count, sizeof *none);
    float(*v)[DIM] = calloc(count, sizeof *v);
    uint8_t *valid = calloc(count, 1);
    vecdb_string *tenants = malloc(count * sizeof *tenants);
    char(*texts)[8] = malloc(count * sizeof *texts);
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_status status;

    for (size_t i = 0; i < count; i++) {
        keys[i] = first + (int64_t)i;
        v[i][0] = (float)keys[i], v[i][3] = 1;
        tenants[i] = (vecdb_string){texts[i], (size_t)snprintf(texts[i], 8, "t%lld", (long long)(keys[i] % 10))};
    }
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                                    {.field = "tenant", .type = VECDB_TYPE_VARCHAR, .data = tenants},
                                    {.field = "until", .type = VECDB_TYPE_INT64, .data = until ? until : none, .valid = until ? NULL : valid},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = v},
                                    {.field = "colour", .type = VECDB_TYPE_INT64, .data = keys}};
    batch.columns = columns, batch.column_count = 5, batch.row_count = count;
    status = replace ? vecdb_upsert(rows, &batch, NULL) : vecdb_insert(rows, &batch, NULL);
    free(keys), free(none), free(v), free(valid), free(tenants), free(texts);
    return status;
}

static vecdb_search_request ask(const float *query, size_t limit)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;

    request.queries = query, request.dim = DIM, request.query_count = 1, request.limit = limit, request.metric = VECDB_METRIC_L2;
    return request;
}

static long number_of(const char *json, const char *name)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    at = strstr(json, quoted);
    assert_non_null(at);
    return atol(at + strlen(quoted));
}

static void check_partitioned(vecdb_collection *rows, size_t partitions)
{
    const float query[DIM] = {500, 0, 0, 1};
    vecdb_search_request request = ask(query, 10);
    int64_t keys[10];
    char **names, *text;
    uint64_t count;
    size_t found;

    assert_done(vecdb_partition_list(rows, &names, &found));
    assert_int_equal(found, partitions);
    assert_string_equal(names[0], "_default_0");
    vecdb_free(names);
    assert_done(vecdb_search_into(rows, &request, keys, NULL, &found));
    assert_int_equal(found, 10);
    assert_int_equal(keys[0], 500);
    request.filter = "tenant == 't3'";
    assert_done(vecdb_search_into(rows, &request, keys, NULL, &found));
    assert_int_equal(found, 10);
    for (size_t i = 0; i < found; i++)
        assert_int_equal(keys[i] % 10, 3);
    assert_done(vecdb_explain(rows, &request, &text));
    assert_true(number_of(text, "rows_scored") <= 1000 * 4 / 10 + 100); /* other partitions are not looked at */
    assert_true(number_of(text, "segments_scanned") + number_of(text, "segments_indexed") < (long)partitions);
    vecdb_free(text);
    assert_done(vecdb_count(rows, "tenant in ['t1', 't2'] and id < 100", NULL, &count));
    assert_int_equal(count, 20);
    assert_done(vecdb_count(rows, "tenant == 't1' or id == 2", NULL, &count)); /* says nothing about the others' tenant */
    assert_int_equal(count, 101);
    assert_done(vecdb_count(rows, "not (tenant == 't1')", NULL, &count));
    assert_int_equal(count, 900);
    assert_done(vecdb_count(rows, NULL, NULL, &count));
    assert_int_equal(count, 1000);
}

static void remove_directory(const char *directory)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

static void test_partition_key(void **state)
{
    char directory[] = "/tmp/vecdb-features-XXXXXX";
    vecdb_collection *rows, *none;
    vecdb_schema bad = VECDB_SCHEMA_INIT;
    const vecdb_field bad_fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                      {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    const vecdb_field late = {.name = "late", .type = VECDB_TYPE_INT64, .default_value = "1", .flags = VECDB_PARTITION_KEY};
    const vecdb_schema *schema;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_db *db;

    assert_non_null(mkdtemp(directory));
    assert_done(vecdb_open(directory, NULL, &db));
    rows = create(db, "rows", VECDB_PARTITION_KEY, 7, NULL);
    assert_done(put(rows, 0, 1000, NULL, false));
    check_partitioned(rows, 7);
    assert_refused(vecdb_partition_create(rows, "mine"), VECDB_ERR_INVALID, "partition key tenant");
    assert_refused(vecdb_partition_drop(rows, "_default_3"), VECDB_ERR_INVALID, "_default_3");
    assert_refused(vecdb_collection_add_field(rows, &late), VECDB_ERR_UNSUPPORTED, "late");
    batch.partition = "_default_1";
    assert_refused(vecdb_insert(rows, &batch, NULL), VECDB_ERR_INVALID, "tenant|_default_1");
    bad.name = "bad", bad.fields = bad_fields, bad.field_count = 2, bad.num_partitions = 3;
    assert_refused(vecdb_collection_create(db, &bad, &none), VECDB_ERR_INVALID, "num_partitions|3");
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_open(directory, NULL, &db)); /* from the log */
    assert_done(vecdb_collection_open(db, "rows", &rows));
    check_partitioned(rows, 7);
    assert_done(vecdb_optimize(rows, NULL, NULL));
    check_partitioned(rows, 7);
    assert_done(put(rows, 0, 200, NULL, true)); /* replaced where they are */
    check_partitioned(rows, 7);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_collection_rename(db, "rows", "lines"));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_open(directory, NULL, &db));
    assert_done(vecdb_collection_open(db, "lines", &rows));
    check_partitioned(rows, 7);
    assert_done(vecdb_collection_schema(rows, &schema));
    assert_int_equal(schema->num_partitions, 7);
    assert_done(vecdb_collection_truncate(rows));
    assert_done(put(rows, 0, 1000, NULL, false));
    check_partitioned(rows, 7);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    remove_directory(directory);
}

static void test_partition_key_in_memory(void **state)
{
    vecdb_collection *rows;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, "rows", VECDB_PARTITION_KEY, 0, NULL);
    assert_done(put(rows, 0, 1000, NULL, false));
    check_partitioned(rows, 16);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

/* ---- rows that expire ---- */

static void check_expired(vecdb_collection *rows, int64_t now)
{
    const float query[DIM] = {0, 0, 0, 1};
    const int64_t wanted[] = {0, 1, 2, 3};
    const vecdb_column keys = {.type = VECDB_TYPE_INT64, .data = wanted};
    vecdb_search_request request = ask(query, 100);
    vecdb_query_request all = VECDB_QUERY_REQUEST_INIT;
    vecdb_result *result;
    int64_t found_keys[100];
    uint64_t count;
    size_t found;

    assert_done(vecdb_count(rows, NULL, NULL, &count));
    assert_int_equal(count, 30);
    assert_done(vecdb_count(rows, "id >= 0", NULL, &count));
    assert_int_equal(count, 30);
    assert_int_equal(vecdb_search_into(rows, &request, found_keys, NULL, &found), VECDB_EXHAUSTED);
    assert_int_equal(found, 30);
    for (size_t i = 0; i < found; i++)
        assert_true(found_keys[i] % 4 != 1);
    assert_done(vecdb_query(rows, &all, &result));
    assert_int_equal(vecdb_result_rows(result, 0, NULL), 30);
    vecdb_result_free(&result);
    assert_done(vecdb_get(rows, &keys, 4, NULL, 0, &result)); /* 1 has expired */
    assert_int_equal(vecdb_result_rows(result, 0, NULL), 3);
    vecdb_result_free(&result);
}

/* By the clock that expiry goes by: time() may be a tick behind it. */
static int64_t seconds_now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_REALTIME, &time);
    return time.tv_sec;
}

static void test_expiry(void **state)
{
    char directory[] = "/tmp/vecdb-features-XXXXXX";
    int64_t now = seconds_now(), until[40];
    const vecdb_schema *schema;
    vecdb_collection *rows;
    vecdb_db *db;
    uint64_t count;
    char *text;

    for (int i = 0; i < 40; i++) /* no end, over, far ahead, none */
        until[i] = i % 4 == 0 ? 0 : i % 4 == 1 ? now - 5 : i % 4 == 2 ? now + 100000 : -1;
    assert_non_null(mkdtemp(directory));
    assert_done(vecdb_open(directory, NULL, &db));
    rows = create(db, "rows", 0, 0, "until");
    assert_done(vecdb_collection_schema(rows, &schema));
    assert_string_equal(schema->ttl_field, "until");
    assert_done(put(rows, 0, 40, until, false));
    check_expired(rows, now);
    assert_done(vecdb_flush(rows));
    check_expired(rows, now);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_open(directory, NULL, &db));
    assert_done(vecdb_collection_open(db, "rows", &rows));
    check_expired(rows, now);
    assert_done(vecdb_optimize(rows, NULL, NULL)); /* drops them for good */
    assert_done(vecdb_collection_stats(rows, &text));
    assert_int_equal(number_of(text, "rows"), 30);
    assert_int_equal(number_of(text, "deleted"), 0);
    vecdb_free(text);
    check_expired(rows, now);
    until[0] = now - 1; /* the place of a row that is over is free */
    assert_done(put(rows, 100, 1, until, false));
    assert_done(put(rows, 100, 1, NULL, false));
    assert_refused(put(rows, 100, 1, NULL, false), VECDB_ERR_EXISTS, "100");
    assert_done(vecdb_count(rows, "id == 100", NULL, &count));
    assert_int_equal(count, 1);
    until[0] = now + 1; /* expires while we look */
    assert_done(put(rows, 101, 1, until, false));
    for (int i = 0; i < 40; i++) {
        assert_done(vecdb_count(rows, "id == 101", NULL, &count));
        if (!count)
            break;
        usleep(100000);
    }
    assert_int_equal(count, 0);
    assert_true(seconds_now() >= now + 1);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    remove_directory(directory);
}

/* ---- rows that expire so long after they were written ---- */

static uint64_t count_of(vecdb_collection *rows)
{
    uint64_t count;

    assert_done(vecdb_count(rows, NULL, NULL, &count));
    return count;
}

/* Count, search, query and get agree on how many of the keys 0 .. 99 there are. */
static void check_there(vecdb_collection *rows, int64_t first, size_t there)
{
    static const float origin[DIM] = {0, 0, 0, 1};
    vecdb_search_request request = ask(origin, 100);
    vecdb_query_request query = VECDB_QUERY_REQUEST_INIT;
    int64_t keys[100];
    vecdb_column wanted = {.field = "id", .type = VECDB_TYPE_INT64, .data = keys};
    vecdb_result *result;
    size_t count;

    assert_int_equal(count_of(rows), there);
    assert_true(vecdb_search_into(rows, &request, keys, NULL, &count) >= 0);
    assert_int_equal(count, there);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(keys[i], first + (int64_t)i);
    request.filter = "id < 1000";
    assert_true(vecdb_search_into(rows, &request, keys, NULL, &count) >= 0);
    assert_int_equal(count, there);
    assert_done(vecdb_query(rows, &query, &result));
    assert_int_equal(vecdb_result_rows(result, 0, NULL), there);
    vecdb_result_free(&result);
    for (int i = 0; i < 100; i++)
        keys[i] = i;
    assert_true(vecdb_get(rows, &wanted, 100, NULL, 0, &result) >= 0);
    assert_int_equal(vecdb_result_rows(result, 0, NULL), there);
    vecdb_result_free(&result);
}

static void test_time_to_live(void **state)
{
    char directory[] = "/tmp/vecdb-ttl-XXXXXX", *text;
    const vecdb_field hidden = {.name = "$inserted", .type = VECDB_TYPE_INT64, .flags = VECDB_NULLABLE};
    const char *wanted[] = {"*"};
    vecdb_query_request query = VECDB_QUERY_REQUEST_INIT;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    const vecdb_schema *schema;
    vecdb_column column;
    vecdb_collection *rows;
    vecdb_result *result;
    vecdb_db *db;

    assert_non_null(mkdtemp(directory));
    assert_done(vecdb_open(directory, NULL, &db));
    rows = create(db, "rows", 0, 0, NULL);
    assert_done(put(rows, 0, 30, NULL, false));
    assert_done(vecdb_flush(rows)); /* rows older than the time to live: as if inserted when it is set */
    assert_refused(vecdb_collection_set_ttl(rows, UINT64_MAX), VECDB_ERR_LIMIT, "ttl_seconds");
    assert_done(vecdb_collection_set_ttl(rows, 100000));
    assert_done(vecdb_collection_schema(rows, &schema));
    assert_int_equal(schema->ttl_seconds, 100000);
    assert_int_equal(schema->field_count, 4); /* ours is not among them */
    assert_refused(vecdb_collection_add_field(rows, &hidden), VECDB_ERR_INVALID, "reserved");
    assert_done(put(rows, 30, 30, NULL, false));
    check_there(rows, 0, 60);
    query.output_fields = wanted, query.output_count = 1;
    assert_done(vecdb_query(rows, &query, &result));
    assert_int_equal(vecdb_result_column(result, "$inserted", &column), VECDB_ERR_NO_SUCH);
    vecdb_result_free(&result);
    assert_done(vecdb_collection_set_ttl(rows, 1));
    usleep(1100000);
    check_there(rows, 0, 0);
    assert_done(put(rows, 60, 20, NULL, false)); /* with time of their own */
    assert_done(put(rows, 10, 5, NULL, false));  /* in the place of some that are over */
    assert_int_equal(count_of(rows), 25);
    assert_done(vecdb_collection_set_ttl(rows, 0));
    check_there(rows, 0, 80); /* none was dropped yet */
    assert_done(vecdb_collection_set_ttl(rows, 1));
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    usleep(1100000);
    assert_done(vecdb_open(directory, NULL, &db)); /* times outlive closing, the log's and the segments' */
    assert_done(vecdb_collection_open(db, "rows", &rows));
    check_there(rows, 0, 0);
    assert_done(put(rows, 0, 10, NULL, true));
    assert_done(vecdb_collection_set_ttl(rows, 3600));
    index.field = "v", index.type = "HNSW", index.metric = VECDB_METRIC_L2;
    assert_done(vecdb_index_create(rows, &index));
    check_there(rows, 0, 80);
    assert_done(vecdb_collection_set_ttl(rows, 1));
    usleep(1100000);
    assert_done(vecdb_optimize(rows, NULL, NULL)); /* drops them for good */
    assert_done(vecdb_collection_stats(rows, &text));
    assert_int_equal(number_of(text, "rows"), 0);
    vecdb_free(text);
    assert_done(vecdb_collection_set_ttl(rows, 0));
    check_there(rows, 0, 0);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    remove_directory(directory);
}

/* ---- a filter for each query ---- */

static void test_query_filters(void **state)
{
    enum { QUERIES = 6 };
    static const char *const filters[QUERIES] = {"id < 5", NULL, "id % 2 == 0", "id < 5", "", "id > 10000"};
    float queries[QUERIES][DIM] = {{0}};
    vecdb_search_request request = ask(queries[0], 8), one;
    int64_t keys[QUERIES * 8], alone[8];
    size_t counts[QUERIES], count;
    vecdb_collection *rows;
    vecdb_cursor *cursor;
    vecdb_db *db;

    for (int q = 0; q < QUERIES; q++)
        for (int i = 0; i < DIM; i++)
            queries[q][i] = (float)(q * 7 + i);
    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, "rows", 0, 0, NULL);
    assert_done(put(rows, 0, 100, NULL, false));
    request.query_count = QUERIES, request.query_filters = filters, request.offset = 1;
    assert_int_equal(vecdb_search_into(rows, &request, keys, NULL, counts), VECDB_EXHAUSTED);
    for (int q = 0; q < QUERIES; q++) { /* each as if it were alone */
        one = ask(queries[q], 8);
        one.filter = filters[q], one.offset = 1;
        assert_done(vecdb_search_into(rows, &one, alone, NULL, &count));
        assert_int_equal(counts[q], count);
        assert_memory_equal(keys + q * 8, alone, sizeof alone);
    }
    assert_int_equal(counts[0], 4);
    assert_int_equal(counts[5], 0);
    request.filter = "id < 50";
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, counts), VECDB_ERR_INVALID, "filter for each query");
    request.filter = NULL, request.group_by = "tenant";
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, counts), VECDB_ERR_UNSUPPORTED, "group_by");
    request.group_by = NULL, request.query_count = 1, request.offset = 0;
    assert_refused(vecdb_search_cursor(rows, &request, &cursor), VECDB_ERR_UNSUPPORTED, "query_filters");
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

/* ---- cancelling ---- */

static int32_t cancel;
static atomic_bool searching;

static void *cancel_soon(void *unused)
{
    while (!atomic_load(&searching))
        usleep(100);
    usleep(3000);
    __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
    return NULL;
}

static void test_cancel(void **state)
{
    enum { QUERIES = 20000 };
    float(*queries)[DIM] = calloc(QUERIES, sizeof *queries);
    vecdb_search_request request = ask(queries[0], 10);
    int64_t *keys = malloc(QUERIES * 10 * sizeof *keys);
    vecdb_collection *rows;
    pthread_t thread;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, "rows", 0, 0, NULL);
    for (int i = 0; i < 20; i++)
        assert_done(put(rows, i * 1000, 1000, NULL, false));
    request.cancel = &cancel;
    assert_done(vecdb_search_into(rows, &request, keys, NULL, NULL));
    request.query_count = QUERIES;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, NULL), 0);
    atomic_store(&searching, true);
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, NULL), VECDB_ERR_CANCELLED, "cancelled");
    pthread_join(thread, NULL);
    request.query_count = 1; /* asked for before it began */
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, NULL), VECDB_ERR_CANCELLED, "cancelled");
    cancel = 0;
    assert_done(vecdb_search_into(rows, &request, keys, NULL, NULL));
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    free(queries), free(keys);
}

/* ---- groups, cursors, relevance ---- */

static void test_group_offset(void **state)
{
    const float query[DIM] = {0, 0, 0, 1};
    vecdb_search_request request = ask(query, 3);
    vecdb_collection *rows;
    vecdb_column keys;
    vecdb_result *result;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, "rows", 0, 0, NULL);
    assert_done(put(rows, 0, 100, NULL, false));
    request.group_by = "tenant", request.group_size = 2, request.strict_group_size = true, request.offset = 2;
    assert_int_equal(vecdb_search(rows, &request, &result), VECDB_OK);
    assert_int_equal(vecdb_result_rows(result, 0, NULL), 6); /* groups t2, t3, t4 */
    assert_done(vecdb_result_column(result, "id", &keys));
    for (int i = 0; i < 6; i++)
        assert_int_equal(((const int64_t *)keys.data)[i], 2 + i / 2 + 10 * (i % 2));
    vecdb_result_free(&result);
    request.offset = 8;
    assert_int_equal(vecdb_search(rows, &request, &result), VECDB_EXHAUSTED);
    assert_int_equal(vecdb_result_rows(result, 0, NULL), 4);
    vecdb_result_free(&result);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

/* A group with nearly all the near rows does not crowd out the others. */
static void test_crowded_group(void **state)
{
    enum { ROWS = 5000 };
    const float query[DIM] = {0, 0, 0, 1};
    vecdb_search_request request = ask(query, 10);
    vecdb_collection *rows;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    int64_t *keys = malloc(ROWS * sizeof *keys);
    float(*v)[DIM] = calloc(ROWS, sizeof *v);
    vecdb_string *tenants = malloc(ROWS * sizeof *tenants);
    vecdb_result *result;
    vecdb_db *db;

    for (int i = 0; i < ROWS; i++) {
        static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
        keys[i] = i;
        v[i][0] = (float)i / 10, v[i][1] = (float)(i % 7);
        tenants[i] = (vecdb_string){i < ROWS - 90 ? names[0] : names[1 + i % 9], 1};
    }
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                                    {.field = "tenant", .type = VECDB_TYPE_VARCHAR, .data = tenants},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = v}};
    batch.columns = columns, batch.column_count = 3, batch.row_count = ROWS;
    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, "rows", 0, 0, NULL);
    assert_done(vecdb_insert(rows, &batch, NULL));
    index.field = "v", index.type = "HNSW", index.metric = VECDB_METRIC_L2;
    assert_done(vecdb_index_create(rows, &index));
    request.group_by = "tenant", request.group_size = 3, request.strict_group_size = true;
    assert_int_equal(vecdb_search(rows, &request, &result), VECDB_OK);
    assert_int_equal(vecdb_result_rows(result, 0, NULL), 30);
    vecdb_result_free(&result);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    free(keys), free(v), free(tenants);
}

static void test_cursor_dynamic_keys(void **state)
{
    const float query[DIM] = {0, 0, 0, 1};
    vecdb_search_request request = ask(query, 3);
    char name[] = "colour";
    const char *output[] = {name, "tenant"};
    vecdb_collection *rows;
    vecdb_cursor *cursor;
    vecdb_column column;
    vecdb_result *result;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, "rows", 0, 0, NULL);
    assert_done(put(rows, 0, 10, NULL, false));
    request.output_fields = output, request.output_count = 2;
    assert_done(vecdb_search_cursor(rows, &request, &cursor));
    memset(name, 'x', 6); /* what was passed in is not kept */
    assert_done(vecdb_cursor_next(cursor, 4, &result));
    assert_done(vecdb_result_column(result, "colour", &column));
    assert_int_equal(column.offsets[2] - column.offsets[1], 1);
    assert_memory_equal((const char *)column.data + column.offsets[1], "1", 1);
    vecdb_result_free(&result);
    vecdb_cursor_close(&cursor);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

static void test_mmr(void **state)
{
    /* three close together, one apart, one opposite */
    const float rows[5][2] = {{1, 0.01f}, {1, 0.02f}, {1, 0.03f}, {0.7f, 0.7f}, {-1, 0}}, query[2] = {1, 0};
    const vecdb_column column = {.type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2, .data = rows};
    const uint8_t bits[3] = {0xFF, 0xFE, 0x0F}, asked = 0xFF;
    const vecdb_column binary = {.type = VECDB_TYPE_BINARY_VECTOR, .dim = 8, .data = bits};
    const vecdb_column text = {.type = VECDB_TYPE_VARCHAR, .data = rows};
    size_t chosen[5], count;

    assert_done(vecdb_mmr(query, &column, 5, VECDB_METRIC_COSINE, 1, 3, chosen, &count)); /* as a search would */
    assert_int_equal(count, 3);
    assert_true(chosen[0] == 0 && chosen[1] == 1 && chosen[2] == 2);
    assert_done(vecdb_mmr(query, &column, 5, VECDB_METRIC_COSINE, 0.4, 3, chosen, &count));
    assert_int_equal(chosen[0], 0);
    assert_int_equal(chosen[1], 4); /* 0.4 * -1 - 0.6 * -1 is more than what any other has */
    assert_done(vecdb_mmr(query, &column, 5, VECDB_METRIC_COSINE, 0.6, 9, chosen, &count));
    assert_int_equal(count, 5);
    assert_true(chosen[0] == 0 && chosen[1] == 1);
    assert_done(vecdb_mmr(query, &column, 5, VECDB_METRIC_L2, 0.5, 2, chosen, &count));
    assert_int_equal(chosen[0], 0);
    assert_done(vecdb_mmr(&asked, &binary, 3, VECDB_METRIC_HAMMING, 0.3, 2, chosen, &count));
    assert_true(chosen[0] == 0 && chosen[1] == 2);
    assert_done(vecdb_mmr(query, &column, 0, VECDB_METRIC_L2, 0.5, 2, chosen, &count));
    assert_int_equal(count, 0);
    assert_refused(vecdb_mmr(query, &column, 5, VECDB_METRIC_L2, 1.5, 2, chosen, &count), VECDB_ERR_INVALID, "lambda|1.5");
    assert_refused(vecdb_mmr(query, &text, 5, VECDB_METRIC_L2, 0.5, 2, chosen, &count), VECDB_ERR_TYPE, "VARCHAR");
    assert_true(vecdb_mmr(query, &column, 5, VECDB_METRIC_HAMMING, 0.5, 2, chosen, &count) < 0);
}

/* ---- iterators while others write ---- */

enum { STEADY = 4000 };
static vecdb_collection *busy;
static atomic_bool done_iterating;
static atomic_int failures;

/* Rows 0 .. STEADY - 1 stay; others come and go, and segments are written anew. */
static void *disturb(void *unused)
{
    for (int64_t i = 0; !atomic_load(&done_iterating); i++) {
        int64_t keys[50];
        const vecdb_column column = {.type = VECDB_TYPE_INT64, .data = keys};
        for (int k = 0; k < 50; k++)
            keys[k] = STEADY + (i % 20) * 50 + k;
        if (put(busy, keys[0], 50, NULL, true) != VECDB_OK || put(busy, i % 30 * 100, 50, NULL, true) != VECDB_OK)
            atomic_fetch_add(&failures, 1);
        if (i % 2 && vecdb_delete(busy, &column, 50, NULL) != VECDB_OK)
            atomic_fetch_add(&failures, 1);
        if (i % 10 == 9 && (vecdb_flush(busy) < 0 || (i % 40 == 39 && vecdb_optimize(busy, NULL, NULL) < 0)))
            atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

static void iterate(bool searches)
{
    static uint8_t seen[STEADY + 2000];
    const float query[DIM] = {1234, 0, 0, 1};
    vecdb_search_request search = ask(query, 10);
    vecdb_query_request query_all = VECDB_QUERY_REQUEST_INIT;
    static const char *const output[] = {"id"};
    vecdb_cursor *cursor;
    size_t others = 0;

    memset(seen, 0, sizeof seen);
    query_all.output_fields = output, query_all.output_count = 1;
    if (searches)
        assert_done(vecdb_search_cursor(busy, &search, &cursor));
    else
        assert_done(vecdb_query_cursor(busy, &query_all, &cursor));
    for (;;) {
        vecdb_result *page;
        vecdb_column keys;
        size_t count;
        vecdb_status status = vecdb_cursor_next(cursor, 333, &page);
        assert_true(status >= 0);
        count = vecdb_result_rows(page, 0, NULL);
        assert_done(vecdb_result_column(page, "id", &keys));
        for (size_t i = 0; i < count; i++) {
            int64_t key = ((const int64_t *)keys.data)[i];
            assert_in_range(key, 0, STEADY + 1999);
            assert_int_equal(seen[key]++, 0); /* no repeats */
            others += key >= STEADY;
        }
        vecdb_result_free(&page);
        if (status == VECDB_EXHAUSTED)
            break;
    }
    for (int i = 0; i < STEADY; i++)
        assert_int_equal(seen[i], 1); /* no gaps */
    assert_int_equal(others % 50, 0); /* whole batches: one state */
    vecdb_cursor_close(&cursor);
}

static void test_iterators_beside_writers(void **state)
{
    char directory[] = "/tmp/vecdb-features-XXXXXX";
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    pthread_t threads[2];
    vecdb_db *db;

    assert_non_null(mkdtemp(directory));
    options.durability = VECDB_DURABILITY_NONE;
    assert_done(vecdb_open(directory, &options, &db));
    busy = create(db, "busy", 0, 0, NULL);
    assert_done(put(busy, 0, STEADY, NULL, false));
    index.field = "v", index.type = "HNSW", index.metric = VECDB_METRIC_L2;
    assert_done(vecdb_index_create(busy, &index));
    assert_int_equal(pthread_create(&threads[0], NULL, disturb, NULL), 0);
    for (int i = 0; i < 6; i++)
        iterate(i % 2);
    atomic_store(&done_iterating, true);
    pthread_join(threads[0], NULL);
    assert_int_equal(atomic_load(&failures), 0);
    assert_done(vecdb_collection_close(&busy));
    assert_done(vecdb_close(&db));
    remove_directory(directory);
}

/* ---- which way a filtered search goes ---- */

/* 20,000 rows along a line: a filter can pass the rows near a query, or those far from it, or every so-many-th. */
static void test_choice(void **state)
{
    static const struct {
        const char *filter, *chosen;
    } cases[] = {{NULL, "plain_walks"},
                 {"id % 2 == 0", "plain_walks"},
                 {"id < 14000", "plain_walks"},   /* all the near ones pass */
                 {"id >= 6000", "list_scans"},    /* none of them, though most others do */
                 {"id < 6000", "list_scans"},
                 {"id >= 14000", "list_scans"},
                 {"id % 10 == 0", "list_scans"},
                 {"id % 20 == 0", "code_scans"},  /* few */
                 {"id == 7", "row_scans"}};
    const float query[DIM] = {100, 0, 0, 1};
    vecdb_search_request request = ask(query, 10), exact;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    int64_t keys[10], truth[10];
    vecdb_collection *rows;
    size_t count, wanted;
    vecdb_db *db;
    char *text;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db, "rows", 0, 0, NULL);
    for (int64_t i = 0; i < 10; i++)
        assert_done(put(rows, i * 2000, 2000, NULL, false));
    index.field = "v", index.type = "HNSW", index.metric = VECDB_METRIC_L2;
    assert_done(vecdb_index_create(rows, &index));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t same = 0;
        request.filter = cases[i].filter;
        assert_done(vecdb_explain(rows, &request, &text));
        if (number_of(text, cases[i].chosen) != 1)
            fail_msg("%s: %s", cases[i].filter ? cases[i].filter : "no filter", text);
        vecdb_free(text);
        exact = request, exact.exact = true;
        assert_done(vecdb_search_into(rows, &exact, truth, NULL, &wanted));
        assert_done(vecdb_search_into(rows, &request, keys, NULL, &count));
        assert_int_equal(count, wanted);
        for (size_t a = 0; a < count; a++)
            for (size_t b = 0; b < count; b++)
                same += keys[a] == truth[b];
        assert_true(same >= count * 8 / 10);
    }
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

/* ---- callbacks ---- */

static int called;

static void *flush_elsewhere(void *context)
{
    return (void *)(intptr_t)vecdb_flush(context);
}

/* Reads and writes go on inside; what is reported on cannot be asked for again. Nobody waits for ever for a callback that waits for
 * them. */
static bool report(void *context, const char *stage, uint64_t done, uint64_t total)
{
    vecdb_collection *rows = context;
    const float query[DIM] = {0, 0, 0, 1};
    vecdb_search_request request = ask(query, 3);
    int64_t keys[3];
    pthread_t thread;
    void *result;

    if (called++)
        return true;
    assert_done(vecdb_search_into(rows, &request, keys, NULL, NULL));
    assert_done(put(rows, 90000, 10, NULL, true));
    assert_refused(vecdb_flush(rows), VECDB_ERR_BUSY, "callback");
    assert_refused(vecdb_optimize(rows, NULL, NULL), VECDB_ERR_BUSY, "callback");
    assert_refused(vecdb_index_drop(rows, "v"), VECDB_ERR_BUSY, "callback");
    assert_int_equal(pthread_create(&thread, NULL, flush_elsewhere, rows), 0);
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_int_equal((intptr_t)result, VECDB_ERR_BUSY);
    return true;
}

static void test_callback(void **state)
{
    char directory[] = "/tmp/vecdb-features-XXXXXX";
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_collection *rows;
    uint64_t count;
    vecdb_db *db;

    assert_non_null(mkdtemp(directory));
    assert_done(vecdb_open(directory, NULL, &db));
    rows = create(db, "rows", 0, 0, NULL);
    assert_done(put(rows, 0, 3000, NULL, false));
    index.field = "v", index.type = "HNSW", index.metric = VECDB_METRIC_L2, index.progress = report, index.context = rows;
    assert_done(vecdb_index_create(rows, &index));
    assert_true(called > 0);
    assert_done(vecdb_count(rows, NULL, NULL, &count));
    assert_int_equal(count, 3010);
    assert_done(vecdb_flush(rows));
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    remove_directory(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_partition_key),
        cmocka_unit_test(test_partition_key_in_memory),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_time_to_live),
        cmocka_unit_test(test_query_filters),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_group_offset),
        cmocka_unit_test(test_crowded_group),
        cmocka_unit_test(test_cursor_dynamic_keys),
        cmocka_unit_test(test_mmr),
        cmocka_unit_test(test_iterators_beside_writers),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_callback),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
