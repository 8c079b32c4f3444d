/* One writer, searchers, a deleter and an index build at once: every search sees one committed state. Each row's vector and
 * its number carry the batch that wrote it, so a torn row, a row deleted before the search began, or half a batch shows. */
#include "support/api.h"
#include "support/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCHES = 60, BATCH = 50, DIM = 4 };

static vecdb_collection *rows;
static atomic_int written;  /* batches whose insert has returned */
static atomic_int deleted;  /* batches whose delete has returned */
static atomic_bool finished;
static atomic_int wrong;

static vecdb_status write_batch(int batch)
{
    int64_t keys[BATCH];
    float vectors[BATCH][DIM];

    for (int i = 0; i < BATCH; i++) {
        keys[i] = (int64_t)batch * BATCH + i;
        for (int j = 0; j < DIM; j++)
            vectors[i][j] = (float)batch;
    }
    return api_insert_plain(rows, VECDB_TYPE_FLOAT_VECTOR, DIM, keys, vectors, BATCH);
}

static void *writer(void *unused)
{
    for (int batch = 0; batch < BATCHES; batch++) {
        if (write_batch(batch) != VECDB_OK)
            atomic_fetch_add(&wrong, 1);
        atomic_store(&written, batch + 1);
        if (batch % 4 == 3) { /* the batch before last goes */
            int64_t keys[BATCH];
            const vecdb_column column = {.type = VECDB_TYPE_INT64, .data = keys};
            for (int i = 0; i < BATCH; i++)
                keys[i] = (int64_t)(batch - 2) * BATCH + i;
            if (vecdb_delete(rows, &column, BATCH, NULL) != VECDB_OK)
                atomic_fetch_add(&wrong, 1);
            atomic_store(&deleted, batch + 1);
        }
    }
    atomic_store(&finished, true);
    return NULL;
}

static void *searcher(void *unused)
{
    const float query[DIM] = {0};
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    const char *const output[] = {"vector"};

    request.queries = query, request.dim = DIM, request.query_count = 1, request.metric = VECDB_METRIC_L2;
    request.limit = BATCHES * BATCH, request.output_fields = output, request.output_count = 1;
    request.params = "ef=4000";
    while (!atomic_load(&finished)) {
        int before = atomic_load(&written), gone = atomic_load(&deleted), after, seen[BATCHES] = {0};
        vecdb_result *result;
        vecdb_column keys, vectors;
        size_t count;
        if (vecdb_search(rows, &request, &result) < 0) {
            atomic_fetch_add(&wrong, 1);
            fprintf(stderr, "%s\n", vecdb_last_error());
            continue;
        }
        after = atomic_load(&written);
        count = vecdb_result_rows(result, 0, NULL);
        if (vecdb_result_column(result, "id", &keys) != VECDB_OK || vecdb_result_column(result, "vector", &vectors) != VECDB_OK)
            atomic_fetch_add(&wrong, 1);
        for (size_t i = 0; i < count; i++) {
            int batch = (int)(((const int64_t *)keys.data)[i] / BATCH);
            const float *vector = (const float *)vectors.data + i * DIM;
            seen[batch]++;
            for (int j = 0; j < DIM; j++)
                if (vector[j] != (float)batch)
                    atomic_fetch_add(&wrong, 1); /* another row's vector */
        }
        for (int batch = 0; batch < BATCHES; batch++) {
            bool must_be_gone = batch % 4 == 1 && batch + 2 < gone;
            bool must_be_there = batch < before && !(batch % 4 == 1 && batch + 2 < after + 4);
            if (seen[batch] != 0 && seen[batch] != BATCH)
                atomic_fetch_add(&wrong, 1); /* half a batch, or a row twice */
            if ((must_be_gone && seen[batch]) || (must_be_there && !seen[batch]) || (batch > after && seen[batch]))
                atomic_fetch_add(&wrong, 1);
        }
        vecdb_result_free(&result);
    }
    return NULL;
}

static void *builder(void *unused)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    static const char *const types[] = {"FLAT", "HNSW"};

    options.field = "vector", options.metric = VECDB_METRIC_L2;
    for (int i = 0; !atomic_load(&finished); i++) {
        options.type = types[i % 2];
        if (vecdb_index_create(rows, &options) < 0 || vecdb_index_drop(rows, "vector") < 0) {
            fprintf(stderr, "%s\n", vecdb_last_error());
            atomic_fetch_add(&wrong, 1);
        }
    }
    return NULL;
}

static void *upkeeper(void *unused)
{
    while (!atomic_load(&finished)) {
        if (vecdb_flush(rows) < 0 || vecdb_optimize(rows, NULL, NULL) < 0) {
            fprintf(stderr, "%s\n", vecdb_last_error());
            atomic_fetch_add(&wrong, 1);
        }
        usleep(1000);
    }
    return NULL;
}

static void run(vecdb_db *db, bool with_upkeep)
{
    void *(*const jobs[])(void *) = {writer, searcher, searcher, builder, upkeeper};
    size_t job_count = with_upkeep ? 5 : 4;
    pthread_t threads[5];
    uint64_t count;

    atomic_store(&written, 0), atomic_store(&deleted, 0), atomic_store(&wrong, 0), atomic_store(&finished, false);
    rows = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
    for (size_t i = 0; i < job_count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, jobs[i], NULL), 0);
    for (size_t i = 0; i < job_count; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_done(vecdb_count(rows, NULL, NULL, &count));
    assert_int_equal(count, (BATCHES - BATCHES / 4) * BATCH);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

static void test_in_memory(void **state)
{
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    run(db, false);
}

static void test_on_disk(void **state)
{
    char directory[] = "/tmp/vecdb-threads-XXXXXX", command[64];
    vecdb_db *db;

    assert_non_null(mkdtemp(directory));
    assert_done(vecdb_open(directory, NULL, &db));
    run(db, true);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

/* Many threads that each write single rows: every one is there, and one sync serves several. */
static void *single_writer(void *which)
{
    int64_t first = (int64_t)(intptr_t)which * 1000;

    for (int64_t i = 0; i < 50; i++) {
        const int64_t key = first + i;
        const float vector[DIM] = {(float)key};
        if (api_insert_plain(rows, VECDB_TYPE_FLOAT_VECTOR, DIM, &key, vector, 1) != VECDB_OK)
            atomic_fetch_add(&wrong, 1);
    }
    return NULL;
}

static void test_many_writers(void **state)
{
    char directory[] = "/tmp/vecdb-threads-XXXXXX", command[64];
    pthread_t threads[8];
    uint64_t count;
    vecdb_db *db;

    atomic_store(&wrong, 0);
    assert_non_null(mkdtemp(directory));
    assert_done(vecdb_open(directory, NULL, &db));
    rows = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
    for (intptr_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, single_writer, (void *)i), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_open(directory, NULL, &db));
    assert_done(vecdb_collection_open(db, "rows", &rows));
    assert_done(vecdb_count(rows, NULL, NULL, &count));
    assert_int_equal(count, 400);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_in_memory),
        cmocka_unit_test(test_on_disk),
        cmocka_unit_test(test_many_writers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
