/* ANNOY: recall, filters, few rows, storing, and files that are not what they should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/neighbours.h"

#include "base/mem.h"

#include <string.h>

static struct index *build(const char *text, const struct vectors *vectors, vecdb_metric metric, struct pool *pool)
{
    const struct index_ops *ops = index_find("ANNOY");
    struct index_build_context context = {.pool = pool, .seed = 7};
    struct params params;
    struct index *index = NULL;

    assert_int_equal(params_parse("index ANNOY", ops->build_params, NULL, text, &params), VECDB_OK);
    if (ops->build(vectors, metric, &params, &context, &index) != VECDB_OK)
        fail_msg("%s", error_last()->message);
    return index;
}

static void ask(const struct index *index, struct index_search *search, const char *text, struct hit *hits,
                size_t *counts)
{
    struct params params;

    assert_int_equal(params_parse("search", index->ops->search_params, NULL, text, &params), VECDB_OK);
    search->params = &params;
    if (index->ops->search(index, search, hits, counts, NULL) != VECDB_OK)
        fail_msg("%s", error_last()->message);
    search->params = NULL;
}

static const vecdb_type types[] = {VECDB_TYPE_FLOAT_VECTOR, VECDB_TYPE_FLOAT16_VECTOR, VECDB_TYPE_BFLOAT16_VECTOR,
                                   VECDB_TYPE_INT8_VECTOR};

static void finds_neighbours(void **state)
{
    struct rng rng = rng_seeded(test_seed());

    for (size_t t = 0; t < 4; t++) {
        struct test_rows data = test_rows_make(&rng, types[t], 32, 3000, TEST_CLUSTERS, t == 1 ? 128 : 0, t == 2);
        for (vecdb_metric metric = VECDB_METRIC_L2; metric <= VECDB_METRIC_COSINE; metric++) {
            struct index *index = build("n_trees=12", &data.vectors, metric, NULL);
            struct hit hits[300];
            size_t counts[30];
            struct index_search search = {.queries = data.data, .query_count = 30, .k = 10,
                                          .query_stride = data.vectors.stride};
            ask(index, &search, "", hits, counts);
            assert_true(test_recall(&data.vectors, metric, &search, hits, counts) >=
                        (metric == VECDB_METRIC_IP ? 0.75 : 0.9));
            ask(index, &search, "search_k=3000", hits, counts); /* all of them: exact */
            for (size_t q = 0; q < 30; q++)
                if (!data.present || bitmap_get(data.present, q))
                    test_check_exact(&data.vectors, metric, &search, q, hits + q * 10, counts[q]);
            assert_int_equal(index->ops->check(index), VECDB_OK);
            index->ops->free(index);
        }
        test_rows_free(&data);
    }
}

static void filters_and_ranges(void **state)
{
    static const double shares[] = {0, 0.002, 0.1, 0.9};
    struct rng rng = rng_seeded(test_seed() + 1);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 24, 4000, TEST_CLUSTERS, 0, false);
    struct index *index = build("", &data.vectors, VECDB_METRIC_L2, NULL);
    struct hit hits[100];
    size_t counts[10];

    for (size_t s = 0; s < 4; s++) {
        struct index_search search = {.queries = data.data, .query_count = 10, .k = 10, .query_stride = 96};
        uint64_t *allowed = test_bitmap(&rng, 4000, shares[s], &search.allowed_count);
        search.allowed = allowed;
        ask(index, &search, "search_k=1", hits, counts);
        for (size_t q = 0; q < 10; q++) {
            assert_int_equal(counts[q], search.allowed_count < 10 ? search.allowed_count : 10);
            test_check_sound(&data.vectors, VECDB_METRIC_L2, &search, q, hits + q * 10, counts[q], 0);
        }
        search.has_radius = true;
        search.radius = counts[0] ? hits[counts[0] / 2].distance : 1;
        ask(index, &search, "search_k=4000", hits, counts);
        for (size_t q = 0; q < 10; q++)
            test_check_exact(&data.vectors, VECDB_METRIC_L2, &search, q, hits + q * 10, counts[q]);
        mem_free(allowed);
    }
    index->ops->free(index);
    test_rows_free(&data);
}

static void few_and_equal_rows(void **state)
{
    static const size_t counts[] = {0, 1, 2, 65, 700};
    struct rng rng = rng_seeded(test_seed() + 2);

    for (size_t c = 0; c < 5; c++) {
        for (int shape = TEST_CLUSTERS; shape <= TEST_CONSTANT; shape++) {
            struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 8, counts[c], (enum test_shape)shape,
                                                   0, false);
            for (vecdb_metric metric = VECDB_METRIC_L2; metric <= VECDB_METRIC_COSINE; metric++) {
                static const float one[8] = {1};
                struct index *index = build("n_trees=3", &data.vectors, metric, NULL);
                size_t k = counts[c] ? counts[c] : 1, count;
                struct hit *hits = mem_alloc(k * sizeof *hits);
                struct index_search search = {.queries = counts[c] ? (const void *)data.data : one, .query_count = 1,
                                              .k = k, .query_stride = 32};
                ask(index, &search, "", hits, &count);
                assert_int_equal(count, counts[c]);
                test_check_sound(&data.vectors, metric, &search, 0, hits, count, 0);
                assert_int_equal(index->ops->check(index), VECDB_OK);
                index->ops->free(index);
                mem_free(hits);
            }
            test_rows_free(&data);
        }
    }
}

static void stored_and_repeatable(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 3);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 24, 2000, TEST_CLUSTERS, 0, true);
    struct pool *pool;

    assert_int_equal(pool_create(3, &pool), VECDB_OK);
    for (vecdb_metric metric = VECDB_METRIC_L2; metric <= VECDB_METRIC_COSINE; metric++) {
        struct index *index = build("", &data.vectors, metric, NULL), *other = build("", &data.vectors, metric, pool);
        struct buf one = {0}, many = {0};
        assert_int_equal(index->ops->save(index, &one), VECDB_OK);
        assert_int_equal(other->ops->save(other, &many), VECDB_OK);
        assert_int_equal(one.size, many.size);
        assert_memory_equal(one.data, many.data, one.size);
        uint8_t *copy = mem_aligned_alloc(64, one.size);
        memcpy(copy, one.data, one.size);
        struct index *again;
        assert_int_equal(index->ops->open(copy, one.size, &data.vectors, metric, NULL, &again), VECDB_OK);
        struct index_search search = {.queries = data.data, .query_count = 10, .k = 10, .query_stride = 96, .pool = pool};
        struct hit before[100], after[100];
        size_t counts[10];
        memset(before, 0, sizeof before);
        memset(after, 0, sizeof after);
        ask(index, &search, "", before, counts);
        search.pool = NULL;
        ask(again, &search, "", after, counts);
        assert_memory_equal(before, after, sizeof before);
        again->ops->free(again);
        index->ops->free(index);
        other->ops->free(other);
        mem_free(copy);
        buf_deinit(&one);
        buf_deinit(&many);
    }
    pool_free(pool);
    test_rows_free(&data);
}

static void corruption_is_refused(void **state)
{
    static const uint32_t changes[] = {1, 0x80000000u, 0xFFFFFFFFu, 0x100};
    struct rng rng = rng_seeded(test_seed() + 4);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 8, 500, TEST_CLUSTERS, 0, false);
    struct index *index = build("n_trees=3", &data.vectors, VECDB_METRIC_L2, NULL), *again;
    const struct index_ops *ops = index->ops;
    struct buf out = {0};
    struct hit hits[30];
    size_t counts[6], refused = 0;
    struct index_search search = {.queries = data.data, .query_count = 6, .k = 5, .query_stride = 32};

    assert_int_equal(ops->save(index, &out), VECDB_OK);
    ops->free(index);
    uint8_t *copy = mem_aligned_alloc(64, out.size + 64);
    for (size_t at = 0; at < out.size; at += at < 256 ? 4 : 52) {
        for (size_t c = 0; c < 4; c++) {
            memcpy(copy, out.data, out.size);
            uint32_t value;
            memcpy(&value, copy + at, 4);
            value ^= changes[c];
            memcpy(copy + at, &value, 4);
            error_clear();
            if (ops->open(copy, out.size, &data.vectors, VECDB_METRIC_L2, NULL, &again) == VECDB_OK) {
                ask(again, &search, "", hits, counts); /* a plane: worse answers, no more */
                ops->free(again);
                continue;
            }
            assert_true(error_last()->status == VECDB_ERR_CORRUPT || error_last()->status == VECDB_ERR_VERSION);
            refused++;
        }
    }
    assert_true(refused >= 120);
    memcpy(copy, out.data, out.size);
    for (size_t size = 0; size < out.size; size += size < 300 ? 1 : 131)
        assert_int_equal(ops->open(copy, size, &data.vectors, VECDB_METRIC_L2, NULL, &again), VECDB_ERR_CORRUPT);
    mem_free(copy);
    buf_deinit(&out);
    test_rows_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_neighbours),      cmocka_unit_test(filters_and_ranges),
        cmocka_unit_test(few_and_equal_rows),    cmocka_unit_test(stored_and_repeatable),
        cmocka_unit_test(corruption_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
