/* Exact search against double precision, over types, metrics, layouts, filters and thread counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/neighbours.h"

#include "base/mem.h"
#include "index/deadline.h"
#include "index/flat.h"
#include "index/topk.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    vecdb_type type;
    vecdb_metric metric;
} pairs[] = {
    {VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2},       {VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_IP},
    {VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_COSINE},   {VECDB_TYPE_FLOAT16_VECTOR, VECDB_METRIC_L2},
    {VECDB_TYPE_FLOAT16_VECTOR, VECDB_METRIC_IP},     {VECDB_TYPE_FLOAT16_VECTOR, VECDB_METRIC_COSINE},
    {VECDB_TYPE_BFLOAT16_VECTOR, VECDB_METRIC_L2},    {VECDB_TYPE_BFLOAT16_VECTOR, VECDB_METRIC_IP},
    {VECDB_TYPE_BFLOAT16_VECTOR, VECDB_METRIC_COSINE},{VECDB_TYPE_INT8_VECTOR, VECDB_METRIC_L2},
    {VECDB_TYPE_INT8_VECTOR, VECDB_METRIC_IP},        {VECDB_TYPE_INT8_VECTOR, VECDB_METRIC_COSINE},
    {VECDB_TYPE_BINARY_VECTOR, VECDB_METRIC_HAMMING}, {VECDB_TYPE_BINARY_VECTOR, VECDB_METRIC_JACCARD},
};
#define PAIRS (sizeof pairs / sizeof pairs[0])

/* Search and compare with brute force. */
static void check(const struct vectors *vectors, vecdb_metric metric, struct index_search *search)
{
    struct hit *hits = mem_alloc(search->query_count * search->k * sizeof *hits);
    size_t *counts = mem_zalloc(search->query_count * sizeof *counts);
    struct index_counters counters = {0};

    assert_int_equal(flat_search(vectors, metric, search, hits, counts, &counters), VECDB_OK);
    for (size_t q = 0; q < search->query_count; q++)
        test_check_exact(vectors, metric, search, q, hits + q * search->k, counts[q]);
    mem_free(hits);
    mem_free(counts);
}

static void every_type_and_metric(void **state)
{
    static const uint32_t dims[] = {8, 40, 104, 264};
    struct rng rng = rng_seeded(test_seed());

    for (size_t p = 0; p < PAIRS; p++) {
        for (size_t d = 0; d < 4; d++) {
            size_t rows = 100 + rng_below(&rng, 900);
            struct test_rows data = test_rows_make(&rng, pairs[p].type, dims[d], rows, TEST_CLUSTERS,
                                                   d == 1 ? 64 : d == 2 ? 16 : 0, d == 3);
            struct index_search search = {.queries = data.data, .query_count = 5, .k = 10,
                                          .query_stride = data.vectors.stride};
            check(&data.vectors, pairs[p].metric, &search);
            search.k = rows;
            check(&data.vectors, pairs[p].metric, &search);
            search.k = 1;
            search.query_count = 40; /* a batch */
            check(&data.vectors, pairs[p].metric, &search);
            test_rows_free(&data);
        }
    }
}

static void filters_and_radius(void **state)
{
    static const double shares[] = {0, 0.003, 0.1, 0.5, 0.97, 1};
    struct rng rng = rng_seeded(test_seed() + 1);

    for (size_t p = 0; p < PAIRS; p++) {
        for (size_t s = 0; s < 6; s++) {
            struct test_rows data = test_rows_make(&rng, pairs[p].type, 48, 1500, TEST_CLUSTERS, s % 2 ? 32 : 0,
                                                   s % 3 == 0);
            struct index_search search = {.queries = data.data, .query_count = 20, .k = 7,
                                          .query_stride = data.vectors.stride};
            uint64_t *allowed = test_bitmap(&rng, 1500, shares[s], &search.allowed_count);
            struct hit hits[20 * 7];
            size_t counts[20];
            search.allowed = allowed;
            check(&data.vectors, pairs[p].metric, &search);
            assert_int_equal(flat_search(&data.vectors, pairs[p].metric, &search, hits, counts, NULL), VECDB_OK);
            if (counts[0] > 3) {
                search.has_radius = true;
                search.radius = hits[counts[0] / 2].distance; /* strictly nearer only */
                check(&data.vectors, pairs[p].metric, &search);
                search.k = 1500;
                search.radius = hits[counts[0] - 1].distance * 1.1f;
                check(&data.vectors, pairs[p].metric, &search);
            }
            mem_free(allowed);
            test_rows_free(&data);
        }
    }
}

static void same_answer_on_any_number_of_threads(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 2);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 24, 70000, TEST_INTEGERS, 4096, false);
    size_t query_counts[] = {1, 3, 200};

    for (size_t i = 0; i < 3; i++) {
        size_t n = query_counts[i], k = 50;
        struct hit *one = mem_zalloc(n * k * sizeof *one), *many = mem_zalloc(n * k * sizeof *many);
        size_t *counts = mem_zalloc(n * sizeof *counts);
        struct index_search search = {.queries = data.data, .query_count = n, .k = k, .query_stride = 96};
        struct index_counters counters = {0};
        assert_int_equal(flat_search(&data.vectors, VECDB_METRIC_L2, &search, one, counts, &counters), VECDB_OK);
        assert_true(counters.rows_scored >= 70000 * n);
        assert_int_equal(pool_create(3, &search.pool), VECDB_OK);
        assert_int_equal(flat_search(&data.vectors, VECDB_METRIC_L2, &search, many, counts, NULL), VECDB_OK);
        assert_memory_equal(one, many, n * k * sizeof *one);
        assert_int_equal(one[0].row, 0);
        pool_free(search.pool);
        mem_free(one);
        mem_free(many);
        mem_free(counts);
    }
    test_rows_free(&data);
}

static void ties_go_to_the_smaller_row(void **state)
{
    struct rng rng = rng_seeded(1);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 16, 3000, TEST_CONSTANT, 0, false);
    struct hit hits[64 * 20];
    size_t counts[64];

    for (size_t n = 1; n <= 64; n += 63) {
        for (vecdb_metric metric = VECDB_METRIC_L2; metric <= VECDB_METRIC_COSINE; metric++) {
            struct index_search search = {.queries = data.data, .query_count = n, .k = 20, .query_stride = 64};
            assert_int_equal(flat_search(&data.vectors, metric, &search, hits, counts, NULL), VECDB_OK);
            for (size_t q = 0; q < n; q++) {
                assert_int_equal(counts[q], 20);
                for (uint32_t i = 0; i < 20; i++)
                    assert_int_equal(hits[q * 20 + i].row, i);
            }
        }
    }
    test_rows_free(&data);
}

static void extreme_values(void **state)
{
    static float rows[40][8];
    const uint8_t *blocks[1] = {(const uint8_t *)rows};
    struct vectors vectors = {.type = VECDB_TYPE_FLOAT_VECTOR, .dim = 8, .width = 32, .stride = 32, .row_count = 40,
                              .block_shift = 40, .blocks = blocks};
    struct hit hits[30 * 40];
    size_t counts[30];

    for (size_t i = 0; i < 40; i++)
        for (size_t j = 0; j < 8; j++)
            rows[i][j] = (i % 4 == 0 ? 3e38f : i % 4 == 1 ? -3e38f : i % 4 == 2 ? 1e-40f : 0) * (j % 2 ? 1.0f : -1.0f);
    for (size_t n = 1; n <= 30; n += 29) {
        for (vecdb_metric metric = VECDB_METRIC_L2; metric <= VECDB_METRIC_COSINE; metric++) {
            struct index_search search = {.queries = rows, .query_count = n, .k = 40, .query_stride = 32};
            assert_int_equal(flat_search(&vectors, metric, &search, hits, counts, NULL), VECDB_OK);
            for (size_t q = 0; q < n; q++) {
                assert_int_equal(counts[q], 40);
                for (size_t i = 0; i < 40; i++) {
                    assert_false(isnan(hits[q * 40 + i].distance));
                    assert_true(i == 0 || hit_before(&hits[q * 40 + i - 1], &hits[q * 40 + i]));
                }
            }
            if (metric == VECDB_METRIC_COSINE) { /* rows of one direction, whatever their length */
                assert_true(fabsf(hits[0].distance) < 1e-5f);
                assert_true(hits[0].row % 4 == 0);
            }
        }
    }
}

static void stops_at_the_deadline(void **state)
{
    struct rng rng = rng_seeded(1);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 16, 20000, TEST_CLUSTERS, 0, false);
    struct deadline deadline;
    struct hit hits[32];
    size_t counts[32];
    struct index_search search = {.queries = data.data, .query_count = 32, .k = 1, .query_stride = 64,
                                  .deadline = &deadline};

    deadline_start(&deadline, 0, &(int32_t){1});
    assert_int_equal(flat_search(&data.vectors, VECDB_METRIC_L2, &search, hits, counts, NULL), VECDB_ERR_CANCELLED);
    assert_string_equal(error_last()->message, "search: cancelled");
    test_rows_free(&data);
}

static void empty_inputs(void **state)
{
    struct vectors none = {.type = VECDB_TYPE_FLOAT_VECTOR, .dim = 4, .width = 16, .stride = 16, .block_shift = 40};
    float query[4] = {1, 2, 3, 4};
    struct hit hit;
    size_t count = 9;
    struct index_search search = {.queries = query, .query_count = 1, .k = 1, .query_stride = 16};

    assert_int_equal(flat_search(&none, VECDB_METRIC_L2, &search, &hit, &count, NULL), VECDB_OK);
    assert_int_equal(count, 0);
    search.query_count = 0;
    assert_int_equal(flat_search(&none, VECDB_METRIC_L2, &search, &hit, &count, NULL), VECDB_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_metric),
        cmocka_unit_test(filters_and_radius),
        cmocka_unit_test(same_answer_on_any_number_of_threads),
        cmocka_unit_test(ties_go_to_the_smaller_row),
        cmocka_unit_test(extreme_values),
        cmocka_unit_test(stops_at_the_deadline),
        cmocka_unit_test(empty_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
