/* Codes of rows as they come: the same answers as scanning the vectors, whatever was coded, forgotten, or not coded yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/neighbours.h"

#include "base/mem.h"
#include "index/row_codes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 3000, QUERIES = 37 };

static const vecdb_type types[] = {VECDB_TYPE_FLOAT_VECTOR, VECDB_TYPE_FLOAT16_VECTOR, VECDB_TYPE_BFLOAT16_VECTOR};
static const vecdb_metric metrics[] = {VECDB_METRIC_L2, VECDB_METRIC_IP, VECDB_METRIC_COSINE};

/* Search the first row_count rows from `first_row` on and compare with brute force. */
static void check(struct row_codes *codes, const struct test_rows *data, size_t row_count, size_t first_row,
                  const struct index_search *asked)
{
    struct vectors vectors = data->vectors;
    struct index_search search = *asked;
    struct hit *hits = mem_alloc(search.query_count * search.k * sizeof *hits);
    size_t *counts = mem_zalloc(search.query_count * sizeof *counts);
    uint64_t *allowed = mem_zalloc(bitmap_words(ROWS) * 8);
    struct index_counters counters = {0};

    vectors.row_count = row_count;
    assert_int_equal(row_codes_search(codes, &vectors, first_row, &search, hits, counts, &counters), VECDB_OK);
    for (size_t row = first_row; row < row_count; row++)
        if (!search.allowed || bitmap_get(search.allowed, row))
            bitmap_set(allowed, row);
    search.allowed = allowed;
    search.allowed_count = bitmap_count(allowed, ROWS);
    for (size_t q = 0; q < search.query_count; q++)
        test_check_exact(&vectors, row_codes_metric(codes), &search, q, hits + q * search.k, counts[q]);
    mem_free(hits);
    mem_free(counts);
    mem_free(allowed);
}

static void add(struct row_codes *codes, const struct test_rows *data, size_t row_count)
{
    struct vectors vectors = data->vectors;

    vectors.row_count = row_count;
    assert_int_equal(row_codes_add(codes, &vectors), VECDB_OK);
}

static void every_type_and_metric(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct pool *pool;

    assert_int_equal(pool_create(3, &pool), VECDB_OK);
    for (size_t t = 0; t < 3; t++)
        for (size_t m = 0; m < 3; m++) {
            struct test_rows data = test_rows_make(&rng, types[t], t == 1 ? 40 : 33, ROWS, TEST_CLUSTERS, m == 1 ? 64 : 0, false);
            struct index_search one = {.queries = data.data, .query_count = 1, .k = 10, .query_stride = data.vectors.stride};
            struct index_search many = one, masked = one;
            uint64_t *allowed = test_bitmap(&rng, ROWS, 0.2, &masked.allowed_count);
            struct row_codes *codes;
            size_t first = m == 2 ? 100 : 0; /* rows that came before anybody coded */
            many.query_count = QUERIES, many.pool = pool, many.k = 3;
            masked.allowed = allowed;
            assert_true(row_codes_take(types[t]));
            assert_int_equal(row_codes_create(types[t], metrics[m], data.vectors.dim, first, &codes), VECDB_OK);
            check(codes, &data, 50, 0, &one); /* none is coded */
            for (size_t rows = 300; rows < ROWS; rows += 277) {
                add(codes, &data, rows);
                check(codes, &data, rows, 0, &one);
                check(codes, &data, rows - 299, rows / 3, &one); /* an older view, part of it */
                check(codes, &data, rows, rows / 2, &masked);
            }
            check(codes, &data, ROWS, 0, &many); /* the last are not coded */
            row_codes_forget(codes, 1500);
            check(codes, &data, ROWS, 1500, &many);
            check(codes, &data, ROWS, 0, &one); /* who still asks for them gets them, from the vectors */
            row_codes_forget(codes, ROWS);
            check(codes, &data, ROWS, ROWS - 200, &many);
            add(codes, &data, ROWS);
            check(codes, &data, ROWS, 1600, &one);
            one.has_radius = true, one.k = ROWS, one.radius = metrics[m] == VECDB_METRIC_IP ? 0 : 1;
            check(codes, &data, ROWS, 700, &one);
            row_codes_free(codes);
            mem_free(allowed);
            test_rows_free(&data);
        }
    pool_free(pool);
}

static void nothing_but_floats(void **state)
{
    assert_false(row_codes_take(VECDB_TYPE_INT8_VECTOR));
    assert_false(row_codes_take(VECDB_TYPE_BINARY_VECTOR));
}

/* ---- adding, forgetting and searching at once ---- */

static struct row_codes *shared;
static struct test_rows shared_rows;
static atomic_size_t there;
static atomic_bool over;
static atomic_int wrong;

static void *searcher(void *context)
{
    while (!atomic_load(&over)) {
        struct vectors vectors = shared_rows.vectors;
        struct index_search search = {.query_count = 1, .k = 1, .query_stride = vectors.stride};
        struct index_counters counters = {0};
        struct hit hit;
        size_t count;
        vectors.row_count = atomic_load(&there);
        search.queries = vectors_row(&vectors, vectors.row_count - 1); /* the newest row is nearest to itself */
        if (row_codes_search(shared, &vectors, vectors.row_count / 2, &search, &hit, &count, &counters) != VECDB_OK || count != 1 ||
            hit.row != vectors.row_count - 1)
            atomic_fetch_add(&wrong, 1);
    }
    return NULL;
}

static void together(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 1);
    pthread_t threads[2];

    shared_rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 24, ROWS, TEST_CLUSTERS, 0, false);
    for (int round = 0; round < 20; round++) {
        assert_int_equal(row_codes_create(VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, 24, 0, &shared), VECDB_OK);
        atomic_store(&there, 1), atomic_store(&over, false);
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, searcher, NULL), 0);
        for (size_t rows = 100; rows <= ROWS; rows += 100) {
            add(shared, &shared_rows, rows);
            atomic_store(&there, rows);
            row_codes_forget(shared, rows / 2);
        }
        atomic_store(&over, true);
        for (int i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        row_codes_free(shared);
    }
    assert_int_equal(atomic_load(&wrong), 0);
    test_rows_free(&shared_rows);
}

static void no_memory(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 2);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 16, ROWS, TEST_CLUSTERS, 0, false);
    struct index_search search = {.queries = data.data, .query_count = 2, .k = 5, .query_stride = data.vectors.stride};
    struct mem_account *account, *before;
    struct row_codes *codes;

    assert_int_equal(row_codes_create(VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, 16, 0, &codes), VECDB_OK);
    assert_non_null(account = mem_account_create(30000)); /* a chunk and a bit */
    before = mem_account_enter(account);
    assert_int_equal(row_codes_add(codes, &data.vectors), VECDB_ERR_NOMEM);
    mem_account_enter(before);
    check(codes, &data, ROWS, 0, &search); /* what could not be coded is scanned */
    add(codes, &data, ROWS);
    check(codes, &data, ROWS, 0, &search);
    row_codes_free(codes);
    mem_account_release(account);
    test_rows_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_metric),
        cmocka_unit_test(nothing_but_floats),
        cmocka_unit_test(together),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
