/* Batches so large that their vectors go to the log from where they were copied to: what is replayed is what was inserted. */
#include "base/rng.h"
#include "support/api.h"
#include "support/sample.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIM = 64, MANY = 20000, KEYS = 40000 }; /* 5 MB: copied by several threads */

static float vectors[KEYS][DIM]; /* by key, as inserted last; all zeros: not there */
static struct rng rng;

static vecdb_db *open_at(const char *directory)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_db *db;

    options.durability = VECDB_DURABILITY_NONE;
    assert_done(vecdb_open(directory, &options, &db));
    return db;
}

/* Insert or, when keys are drawn at random and repeat, upsert. */
static void write_rows(vecdb_collection *rows, int64_t first, size_t count, bool random)
{
    int64_t *keys = malloc(count * sizeof *keys);
    float *values = malloc(count * sizeof vectors[0]);
    vecdb_column columns[2] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                               {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = values}};
    vecdb_batch batch = VECDB_BATCH_INIT;

    for (size_t i = 0; i < count; i++) {
        keys[i] = random ? (int64_t)rng_below(&rng, KEYS) : first + (int64_t)i;
        for (size_t d = 0; d < DIM; d++)
            vectors[keys[i]][d] = values[i * DIM + d] = (float)(1 + rng_below(&rng, 1u << 20));
    }
    batch.columns = columns, batch.column_count = 2, batch.row_count = count;
    assert_done(random ? vecdb_upsert(rows, &batch, NULL) : vecdb_insert(rows, &batch, NULL));
    memset(values, 0xFF, count * sizeof vectors[0]); /* the caller's own again */
    free(keys);
    free(values);
}

static void check_rows(vecdb_collection *rows)
{
    for (int i = 0; i < 100; i++) {
        vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
        int64_t wanted = (int64_t)rng_below(&rng, KEYS), found;
        float score;
        if (!vectors[wanted][0])
            continue;
        request.queries = vectors[wanted], request.dim = DIM, request.query_count = 1, request.limit = 1;
        request.metric = VECDB_METRIC_L2, request.exact = true;
        assert_done(vecdb_search_into(rows, &request, &found, &score, NULL));
        assert_int_equal(found, wanted);
        assert_true(score == 0);
    }
}

static void test_replayed(void **state)
{
    char directory[] = "/tmp/vecdb-large-XXXXXX", command[64];
    vecdb_collection *rows;
    vecdb_db *db;

    rng = rng_seeded(sample_seed(1));
    assert_non_null(mkdtemp(directory));
    db = open_at(directory);
    rows = api_create_plain(db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
    write_rows(rows, 0, 7, false); /* so that the next begin within a block */
    write_rows(rows, 7, MANY, false);
    write_rows(rows, MANY + 7, 4097, false);
    check_rows(rows);
    for (int round = 0; round < 2; round++) {
        assert_done(vecdb_collection_close(&rows));
        assert_done(vecdb_close(&db));
        db = open_at(directory);
        assert_done(vecdb_collection_open(db, "rows", &rows));
        check_rows(rows);
        write_rows(rows, 0, MANY, true); /* repeats go nowhere, so this is in many pieces */
        check_rows(rows);
    }
    assert_done(vecdb_flush(rows));
    check_rows(rows);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_replayed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
