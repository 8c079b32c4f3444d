/* Range search on every kind of index gives all rows within the radius, as a scan does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/rng.h"
#include "support/api.h"
#include "support/neighbours.h"

enum { ROWS = 4000, DIM = 8, LIMIT = 3000, QUERIES = 5 };

static vecdb_status ask(vecdb_collection *rows, const float *query, const char *params, bool exact, const char *filter, int64_t *keys,
                        size_t *count)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;

    request.field = "vector", request.queries = query, request.dim = DIM, request.query_count = 1, request.limit = LIMIT;
    request.metric = VECDB_METRIC_L2, request.params = params, request.exact = exact, request.filter = filter;
    request.has_radius = true, request.radius = 0.6;
    return vecdb_search_into(rows, &request, keys, NULL, count);
}

static int compare_keys(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void test_kinds(void **state)
{
    static const char *const kinds[][3] = {{"HNSW", "{\"M\": 4, \"efConstruction\": 8}", NULL},
                                           {"NSG", NULL, NULL},
                                           {"ANNOY", "{\"n_trees\": 1}", "{\"search_k\": 10}"},
                                           {"IVF_FLAT", "{\"nlist\": 64}", "{\"nprobe\": 1}"},
                                           {"IVF_SQ8", "{\"nlist\": 64}", "{\"nprobe\": 1}"}};
    static float data[ROWS * DIM];
    static int64_t keys[ROWS], wanted[LIMIT], got[LIMIT];
    struct rng rng = rng_seeded(test_seed());
    size_t more = 0;

    (void)state;
    for (size_t i = 0; i < ROWS * DIM; i++)
        data[i] = (float)rng_unit(&rng);
    for (size_t i = 0; i < ROWS; i++)
        keys[i] = (int64_t)i;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
        vecdb_collection *rows;
        vecdb_db *db;
        assert_done(vecdb_open(NULL, NULL, &db));
        rows = api_create_plain(db, "range", VECDB_TYPE_FLOAT_VECTOR, DIM);
        assert_done(api_insert_plain(rows, VECDB_TYPE_FLOAT_VECTOR, DIM, keys, data, ROWS));
        index.field = "vector", index.type = kinds[kind][0], index.metric = VECDB_METRIC_L2, index.params = kinds[kind][1];
        assert_done(vecdb_index_create(rows, &index));
        for (size_t q = 0; q < QUERIES; q++)
            for (int filtered = 0; filtered < 2; filtered++) {
                const char *filter = filtered ? "id % 3 == 1" : NULL;
                size_t there, count;
                assert_done(ask(rows, data + q * DIM, NULL, true, filter, wanted, &there));
                assert_done(ask(rows, data + q * DIM, kinds[kind][2], false, filter, got, &count));
                assert_true(there > 20 && there < LIMIT);
                if (there != count)
                    fail_msg("%s: %zu rows within the radius, not %zu", kinds[kind][0], count, there);
                more += there;
                qsort(wanted, there, sizeof *wanted, compare_keys); /* equal distances may differ by rounding */
                qsort(got, there, sizeof *got, compare_keys);
                assert_memory_equal(wanted, got, there * sizeof *got);
            }
        vecdb_collection_close(&rows);
        vecdb_close(&db);
    }
    assert_true(more > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_kinds)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
