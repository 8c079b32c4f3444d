/* Rows that were just inserted are found through the index, not by scanning, within moments and without anybody's asking;
 * whatever is written meanwhile, answers are right. */
#include "api/handle.h"
#include "base/rng.h"
#include "collection/database.h"
#include "support/api.h"
#include "support/fault.h"
#include "support/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef __SANITIZE_THREAD__ /* twenty times slower */
#define TOGETHER_ROWS (8 * BATCH)
#else
#define TOGETHER_ROWS (20 * BATCH)
#endif

enum { DIM = 16, BATCH = 1000, WAIT_MS = 200000 };

static void vector_of(int64_t key, float *out)
{
    struct rng rng = rng_seeded((uint64_t)key * 2654435761u + 1);

    for (int i = 0; i < DIM; i++)
        out[i] = (float)rng_normal(&rng);
}

static vecdb_status insert(vecdb_collection *rows, int64_t first, size_t count)
{
    int64_t *keys = malloc(count * sizeof *keys);
    float *vectors = malloc(count * DIM * sizeof *vectors);
    vecdb_status status;

    for (size_t i = 0; i < count; i++) {
        keys[i] = first + (int64_t)i;
        vector_of(keys[i], vectors + i * DIM);
    }
    status = api_insert_plain(rows, VECDB_TYPE_FLOAT_VECTOR, DIM, keys, vectors, count);
    free(keys);
    free(vectors);
    return status;
}

static void create_index(vecdb_collection *rows, const char *type)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = "vector", options.metric = VECDB_METRIC_L2, options.type = type;
    assert_done(vecdb_index_create(rows, &options));
}

static uint64_t stat_of(vecdb_collection *rows, const char *name)
{
    char pattern[64], *text, *at;
    uint64_t value;

    assert_done(vecdb_collection_stats(rows, &text));
    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    assert_non_null(at = strstr(text, pattern));
    value = strtoull(at + strlen(pattern), NULL, 10);
    vecdb_free(text);
    return value;
}

/* The index's description has such a number, or such text. */
static bool described(vecdb_collection *rows, const char *what)
{
    char *text;
    bool found;

    assert_done(vecdb_index_describe(rows, "vector", &text));
    found = strstr(text, what) != NULL;
    if (!found)
        fprintf(stderr, "%s\n", text);
    vecdb_free(text);
    return found;
}

/* Until the index has so many rows, which takes nobody but upkeep. */
static void wait_until_indexed(vecdb_collection *rows, uint64_t count)
{
    for (int ms = 0; stat_of(rows, "indexed_rows") < count; ms += 5) {
        if (ms > WAIT_MS)
            fail_msg("%llu of %llu rows are indexed", (unsigned long long)stat_of(rows, "indexed_rows"), (unsigned long long)count);
        usleep(5000);
    }
    assert_int_equal(stat_of(rows, "indexed_rows"), count);
}

/* The keys nearest to a vector. Returns how many. */
static size_t search(vecdb_collection *rows, const float *query, const char *params, bool exact, int64_t keys[10])
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    vecdb_result *result;
    vecdb_column column;
    size_t count;

    request.queries = query, request.dim = DIM, request.query_count = 1, request.limit = 10, request.params = exact ? NULL : params;
    request.metric = VECDB_METRIC_L2;
    request.exact = exact;
    if (vecdb_search(rows, &request, &result) < 0) {
        fprintf(stderr, "search: %s\n", vecdb_last_error());
        return 0;
    }
    count = vecdb_result_rows(result, 0, NULL);
    if (vecdb_result_column(result, "id", &column) == VECDB_OK)
        memcpy(keys, column.data, count * sizeof *keys);
    else
        count = 0;
    vecdb_result_free(&result);
    return count;
}

static double recall(vecdb_collection *rows, const char *params)
{
    size_t hits = 0, wanted = 0;

    for (int q = 0; q < 100; q++) {
        float query[DIM];
        int64_t truth[10], found[10];
        size_t n, m;
        vector_of(-1 - q, query);
        n = search(rows, query, "", true, truth);
        m = search(rows, query, params, false, found);
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < m; j++)
                hits += truth[i] == found[j];
        wanted += n;
    }
    return (double)hits / (double)wanted;
}

static void delete_some(vecdb_collection *rows, int64_t first, int64_t step, size_t count)
{
    int64_t *keys = malloc(count * sizeof *keys);
    vecdb_column column = {.type = VECDB_TYPE_INT64, .data = keys};

    for (size_t i = 0; i < count; i++)
        keys[i] = first + step * (int64_t)i;
    assert_done(vecdb_delete(rows, &column, count, NULL));
    free(keys);
}

static void run(vecdb_db *db, const char *type, bool on_disk)
{
    vecdb_collection *rows = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
    const char *params = strcmp(type, "IVF_FLAT") == 0 ? "nprobe=128" : "ef=200";
    int64_t found[10];
    float query[DIM];

    create_index(rows, type);
    assert_done(insert(rows, 0, 4000)); /* few enough to be scanned */
    assert_true(described(rows, "\"indexed_rows\":0,\"pending_rows\":0,") && described(rows, "\"state\":\"finished\""));
    assert_done(insert(rows, 4000, 2000));
    wait_until_indexed(rows, 6000); /* built */
    assert_true(described(rows, "\"pending_rows\":0,"));
    assert_true(recall(rows, params) > 0.95);
    for (int i = 0; i < 4; i++)
        assert_done(insert(rows, 6000 + i * BATCH, BATCH));
    assert_done(insert(rows, 10000, 7)); /* fewer than are worth waking anybody: seen to in a while */
    wait_until_indexed(rows, 10007); /* added */
    assert_true(recall(rows, params) > 0.95);
    delete_some(rows, 0, 3, 3000);
    assert_true(recall(rows, params) > 0.95);
    for (int i = 0; i < 20; i++) { /* a row is found the moment it is there, and never after it has gone */
        int64_t key = 20000 + i;
        vector_of(key, query);
        assert_done(insert(rows, key, 1));
        assert_true(search(rows, query, params, false, found) == 10 && found[0] == key);
        delete_some(rows, key, 1, 1);
        assert_true(search(rows, query, params, false, found) == 10 && found[0] != key);
    }
    assert_done(insert(rows, 30000, 12000)); /* more than there were: built anew */
    wait_until_indexed(rows, stat_of(rows, "rows") + stat_of(rows, "deleted"));
    assert_true(recall(rows, params) > 0.95);
    if (on_disk) {
        assert_done(vecdb_flush(rows)); /* sealed; of its index, too */
        assert_int_equal(stat_of(rows, "growing_rows"), 0);
        wait_until_indexed(rows, stat_of(rows, "rows"));
        assert_true(recall(rows, params) > 0.95);
    }
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

static vecdb_db *open_on_disk(char *directory)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_db *db;

    options.durability = VECDB_DURABILITY_NONE;
    assert_non_null(mkdtemp(directory));
    assert_done(vecdb_open(directory, &options, &db));
    return db;
}

static void remove_directory(const char *directory)
{
    char command[64];

    snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

static void test_in_memory(void **state)
{
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    run(db, "HNSW", false);
}

static void test_on_disk(void **state)
{
    char directory[] = "/tmp/vecdb-fresh-XXXXXX";

    run(open_on_disk(directory), "HNSW", true);
    remove_directory(directory);
}

static void test_lists(void **state)
{
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    run(db, "IVF_FLAT", false);
}

/* An index on vectors joins sealed segments that have none with the growing rows, deleted rows left out; those that have one, and
 * a scalar index, leave segments alone. */
static void test_sealed_are_joined(void **state)
{
    char directory[] = "/tmp/vecdb-joined-XXXXXX";
    vecdb_db *db = open_on_disk(directory);
    vecdb_collection *rows = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
    vecdb_index_options scalar = VECDB_INDEX_OPTIONS_INIT;

    for (int i = 0; i < 3; i++) {
        assert_done(insert(rows, i * 3000, 3000));
        assert_done(vecdb_flush(rows));
    }
    assert_done(insert(rows, 9000, 1000)); /* fewer than are sealed for their own sake */
    delete_some(rows, 0, 3, 3000);
    scalar.field = "id", scalar.type = "INVERTED";
    assert_done(vecdb_index_create(rows, &scalar));
    assert_int_equal(stat_of(rows, "segments"), 3); /* and growing rows */
    create_index(rows, "HNSW");
    assert_int_equal(stat_of(rows, "segments"), 1);
    assert_int_equal(stat_of(rows, "growing_rows"), 0);
    assert_int_equal(stat_of(rows, "rows"), 7000);
    assert_int_equal(stat_of(rows, "indexed_rows"), 7000);
    assert_true(recall(rows, "ef=200") > 0.95);
    assert_done(insert(rows, 20000, 5000));
    assert_done(vecdb_flush(rows));
    wait_until_indexed(rows, 12000);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    remove_directory(directory);
}

/* ---- all at once ---- */

static vecdb_collection *shared;
static atomic_long written; /* keys below it are there */
static atomic_bool over;
static atomic_int wrong;

static void *searcher(void *context)
{
    struct rng rng = rng_seeded((uint64_t)(uintptr_t)context);

    while (!atomic_load(&over)) {
        long before = atomic_load(&written), key;
        int64_t found[10];
        float query[DIM];
        if (before < BATCH)
            continue;
        key = (long)rng_below(&rng, (uint64_t)before) / 5 * 5 + 1; /* never one that is deleted */
        if (key >= before)
            continue;
        vector_of(key, query);
        if (search(shared, query, "ef=100", false, found) != 10)
            atomic_fetch_add(&wrong, 1);
        else
            for (int i = 0; i < 10; i++) /* of the last batches they may be there or not */
                if (found[i] % 5 == 0 && found[i] < before - 4 * BATCH)
                    atomic_fetch_add(&wrong, 1);
        if (found[0] != key) /* itself, at no distance */
            atomic_fetch_add(&wrong, 1);
    }
    return NULL;
}

static void *optimizer(void *context)
{
    while (!atomic_load(&over)) {
        if (vecdb_flush(shared) < 0) {
            fprintf(stderr, "flush: %s\n", vecdb_last_error());
            atomic_fetch_add(&wrong, 1);
        }
        usleep(300000);
    }
    return NULL;
}

static void run_together(vecdb_db *db, bool with_flush, long total)
{
    pthread_t threads[3];
    size_t count = with_flush ? 3 : 2;

    atomic_store(&written, 0), atomic_store(&wrong, 0), atomic_store(&over, false);
    shared = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
    create_index(shared, "HNSW");
    for (size_t i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i == 2 ? optimizer : searcher, (void *)(uintptr_t)(i + 1)), 0);
    for (long at = 0; at < total; at += BATCH) {
        assert_done(insert(shared, at, BATCH));
        atomic_store(&written, at + BATCH);
        if (at >= BATCH)
            delete_some(shared, at - BATCH, 5, BATCH / 5);
    }
    if (!with_flush)
        wait_until_indexed(shared, (uint64_t)total);
    atomic_store(&over, true);
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_done(vecdb_collection_close(&shared));
    assert_done(vecdb_close(&db));
}

static void test_together_in_memory(void **state)
{
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    run_together(db, false, TOGETHER_ROWS);
}

static void test_together_on_disk(void **state)
{
    char directory[] = "/tmp/vecdb-fresh-XXXXXX";

    run_together(open_on_disk(directory), true, TOGETHER_ROWS);
    remove_directory(directory);
}

/* ---- writers keep pace with the indexes, while somebody searches ---- */

static void *keep_searching(void *context)
{
    float query[DIM] = {0};
    int64_t found[10];

    while (!atomic_load(&over))
        (void)search(shared, query, "ef=16", false, found);
    return NULL;
}

static int64_t now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* How many of ten batches were all taken in, but for fresh_rows, when their insert returned, or had been waited for as long as
 * an insert waits: a millisecond a row, and no more than a second. *waited: how many were. */
static size_t kept_pace(uint32_t fresh_rows, size_t *waited)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    size_t kept = 0;
    pthread_t thread;
    vecdb_db *db;

    options.fresh_rows = fresh_rows;
    assert_done(vecdb_open(NULL, &options, &db));
    shared = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
    create_index(shared, "HNSW");
    assert_done(insert(shared, 0, 8 * BATCH));
    wait_until_indexed(shared, 8 * BATCH);
    atomic_store(&over, false);
    assert_int_equal(pthread_create(&thread, NULL, keep_searching, NULL), 0);
    usleep(20000);
    for (int64_t i = 0; i < 10; i++) {
        int64_t start = now_ms();
        assert_done(insert(shared, (8 + i) * BATCH, BATCH));
        bool long_enough = now_ms() - start >= (BATCH < 1000 ? BATCH : 1000);
        *waited += long_enough;
        kept += long_enough || stat_of(shared, "rows") - stat_of(shared, "indexed_rows") <= 500;
    }
    atomic_store(&over, true);
    pthread_join(thread, NULL);
    assert_done(vecdb_collection_close(&shared));
    assert_done(vecdb_close(&db));
    return kept;
}

static void test_pace(void **state)
{
    size_t waited = 0;

    assert_true(kept_pace(500, &waited) > 0); /* not all: who searches on a slow machine may seem to have stopped */
    waited = 0;
    (void)kept_pace(UINT32_MAX, &waited); /* what was taken in meanwhile is not to be told */
    assert_true(waited < 10); /* nobody waits */
}

/* Durable writes wait a moment while as many searches run as there are processors: of those that are over, however they went, none
 * may count. */
static void test_searches_are_counted(void **state)
{
    char path[] = "/tmp/vecdb-fresh-XXXXXX", command[64];
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    float query[DIM] = {1}, scores[10];
    int64_t keys[10];
    atomic_uint *searching;
    vecdb_db *db;

    assert_non_null(mkdtemp(path));
    assert_done(vecdb_open(path, NULL, &db));
    searching = &db->database->searching;
    shared = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
    assert_done(insert(shared, 0, BATCH));
    request.queries = query, request.dim = DIM, request.query_count = 1, request.limit = 10;
    assert_done(vecdb_search_into(shared, &request, keys, scores, NULL));
    request.filter = "nothing > 3";
    assert_refused(vecdb_search_into(shared, &request, keys, scores, NULL), VECDB_ERR_FILTER, "nothing");
    request.filter = NULL;
    for (uint64_t n = 1; n < 40; n++) {
        vecdb_status status;
        fault_memory(n, true);
        status = vecdb_search_into(shared, &request, keys, scores, NULL);
        fault_memory_end();
        assert_true(status == VECDB_OK || status == VECDB_ERR_NOMEM);
    }
    assert_int_equal(atomic_load(searching), 0);
    atomic_store(searching, 1000); /* they are not waited for, however many there are */
    assert_done(insert(shared, BATCH, BATCH));
    atomic_store(searching, 0);
    assert_done(vecdb_collection_close(&shared));
    assert_done(vecdb_close(&db));
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_memory),      cmocka_unit_test(test_on_disk),
        cmocka_unit_test(test_lists),          cmocka_unit_test(test_sealed_are_joined),
        cmocka_unit_test(test_together_in_memory),
        cmocka_unit_test(test_together_on_disk), cmocka_unit_test(test_pace),
        cmocka_unit_test(test_searches_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
