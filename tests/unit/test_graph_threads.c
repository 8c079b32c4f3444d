/* One thread adds rows while others search: every hit is a row that was there, and rows are found soon after. Run under
 * ThreadSanitizer by `make tsan`. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "index/hnsw.h"
#include "support/neighbours.h"

#define ROWS 4000

struct shared {
    struct test_rows rows;
    struct index *index;
    vecdb_metric metric;
    atomic_size_t added;
    atomic_bool over;
    atomic_size_t wrong, asked;
};

static void *searcher(void *context)
{
    struct shared *shared = context;
    struct params params;
    size_t at = 0;

    params_default(hnsw_ops.search_params, &params);
    while (!atomic_load(&shared->over)) {
        struct hit hits[10];
        size_t count = 0, before = atomic_load(&shared->added), row = at++ * 7919 % before;
        struct index_counters counters = {0};
        struct index_search search = {.queries = shared->rows.data + row * shared->rows.vectors.stride, .query_count = 1,
                                      .query_stride = shared->rows.vectors.stride, .k = 10, .params = &params};
        bool found = false;
        if (hnsw_ops.search(shared->index, &search, hits, &count, &counters) != VECDB_OK || count != 10)
            atomic_fetch_add(&shared->wrong, 1);
        for (size_t i = 0; i < count; i++) {
            found |= hits[i].row == row;
            if (hits[i].row >= ROWS || (i && hits[i].distance < hits[i - 1].distance))
                atomic_fetch_add(&shared->wrong, 1);
        }
        atomic_fetch_add(&shared->asked, found);
        if (!found && atomic_load(&shared->over) == false && getenv("VECDB_TEST_VERBOSE"))
            print_message("row %zu of %zu was not found\n", row, before);
    }
    return NULL;
}

static void grow_and_search(vecdb_type type, vecdb_metric metric, enum test_shape shape)
{
    struct rng rng = rng_seeded(test_seed());
    struct shared shared = {.metric = metric};
    struct index_build_context context = {.seed = 3};
    struct vectors part;
    struct params params;
    pthread_t threads[2];
    size_t step = 1;

    shared.rows = test_rows_make(&rng, type, 32, ROWS, shape, 0, false);
    for (size_t i = 1; i < ROWS; i += 5) /* twins, for the chains */
        memcpy(shared.rows.data + i * shared.rows.vectors.stride, shared.rows.data + i / 2 * shared.rows.vectors.stride,
               shared.rows.vectors.stride);
    part = shared.rows.vectors;
    part.row_count = 20;
    params_default(hnsw_ops.build_params, &params);
    assert_int_equal(hnsw_ops.build(&part, metric, &params, &context, &shared.index), VECDB_OK);
    assert_int_equal(pool_create(2, &context.pool), VECDB_OK);
    atomic_store(&shared.added, 20);
    for (size_t t = 0; t < 2; t++)
        assert_int_equal(pthread_create(&threads[t], NULL, searcher, &shared), 0);
    while (part.row_count < ROWS) {
        part.row_count = part.row_count + step > ROWS ? ROWS : part.row_count + step;
        assert_int_equal(hnsw_ops.add(shared.index, &part, &context), VECDB_OK);
        atomic_store(&shared.added, part.row_count);
        step = part.row_count < 200 ? 1 : 97;
    }
    atomic_store(&shared.over, true);
    for (size_t t = 0; t < 2; t++)
        pthread_join(threads[t], NULL);
    assert_int_equal(atomic_load(&shared.wrong), 0);
    assert_true(atomic_load(&shared.asked) > 0);
    if (hnsw_ops.check(shared.index) != VECDB_OK)
        fail_msg("check: %s", error_last()->message);
    hnsw_ops.free(shared.index);
    pool_free(context.pool);
    test_rows_free(&shared.rows);
}

static void test_float_rows(void **state)
{
    (void)state;
    grow_and_search(VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, TEST_CLUSTERS);
}

static void test_integer_rows(void **state)
{
    (void)state;
    grow_and_search(VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, TEST_INTEGERS);
}

static void test_bits(void **state)
{
    (void)state;
    grow_and_search(VECDB_TYPE_BINARY_VECTOR, VECDB_METRIC_HAMMING, TEST_CLUSTERS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float_rows),
        cmocka_unit_test(test_integer_rows),
        cmocka_unit_test(test_bits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
