/* Two graphs whose rows lie in clusters far apart, merged: a search comes from the rows of either to those of the other, and finds as
 * much as in a graph built afresh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "index/hnsw.h"
#include "support/neighbours.h"

enum { DIM = 48, QUERIES = 400, K = 10, SOME_HANG = 8300 }; /* of so many rows some are equal: enough rows for lists, fewer nodes */

static struct pool *pool;

static struct vectors vectors_of(const uint8_t *const *block, size_t rows)
{
    return (struct vectors){.type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .stride = DIM * sizeof(float), .blocks = block,
                            .row_count = rows, .block_shift = 31};
}

static struct index *build(const struct vectors *vectors)
{
    struct index_build_context context = {.pool = pool, .seed = 7};
    struct params params;
    struct index *index;

    params_default(hnsw_ops.build_params, &params);
    if (hnsw_ops.build(vectors, VECDB_METRIC_L2, &params, &context, &index) != VECDB_OK)
        fail_msg("build: %s", error_last()->message);
    return index;
}

static double recall_of(const struct index *index, const struct vectors *vectors, const float *queries)
{
    struct hit *hits = mem_array_alloc(QUERIES * K, sizeof *hits);
    size_t *counts = mem_array_alloc(QUERIES, sizeof *counts);
    struct index_counters counters = {0};
    struct params params;
    struct index_search search = {.queries = queries, .query_count = QUERIES, .query_stride = DIM * sizeof *queries, .k = K,
                                  .params = &params, .pool = pool};
    double recall;

    assert_int_equal(params_parse("search", hnsw_ops.search_params, NULL, "ef=64", &params), VECDB_OK);
    if (hnsw_ops.search(index, &search, hits, counts, &counters) != VECDB_OK)
        fail_msg("search: %s", error_last()->message);
    recall = test_recall(vectors, VECDB_METRIC_L2, &search, hits, counts);
    mem_free(hits);
    mem_free(counts);
    return recall;
}

static void put_row(struct rng *rng, const float *centre, float *row)
{
    for (size_t d = 0; d < DIM; d++)
        row[d] = centre[d] + 0.3f * (float)rng_normal(rng);
}

/* Of every four queries one near a row of each part, and two between a row of the one and one of the other. */
static void make_queries(struct rng *rng, const float *rows, const size_t starts[3], float *queries)
{
    for (size_t q = 0; q < QUERIES; q++) {
        const float *a = rows + DIM * (starts[0] + (size_t)rng_below(rng, starts[1] - starts[0]));
        const float *b = rows + DIM * (starts[1] + (size_t)rng_below(rng, starts[2] - starts[1]));
        float share = q % 4 == 0 ? 0 : q % 4 == 1 ? 1 : (float)rng_unit(rng);
        for (size_t d = 0; d < DIM; d++)
            queries[q * DIM + d] = a[d] + share * (b[d] - a[d]) + 0.1f * (float)rng_normal(rng);
    }
}

/* Counts in *short_of when merging finds less than a point below what building does. apart: a part has the clusters that the other
 * has not; or else rows of either at random. The first part has `share` of the rows. */
static void check(struct rng *rng, size_t n, size_t clusters, bool apart, double share, size_t *short_of)
{
    size_t starts[3] = {0, (size_t)(share * (double)n), n};
    float *centres = mem_array_alloc(clusters * DIM, sizeof *centres), *rows = mem_array_alloc(n * DIM, sizeof *rows);
    float *queries = mem_array_alloc(QUERIES * DIM, sizeof *queries);
    uint32_t *map = mem_array_alloc(n, sizeof *map);
    const uint8_t *blocks[2] = {(const uint8_t *)rows, (const uint8_t *)(rows + starts[1] * DIM)};
    struct vectors all = vectors_of(&blocks[0], n);
    struct index_build_context context = {.pool = pool, .seed = 5};
    const uint32_t *maps[2] = {map, map + starts[1]};
    struct index *parts[2], *merged, *anew;
    struct params params;
    double recall, wanted;

    for (size_t i = 0; i < clusters * DIM; i++)
        centres[i] = (float)rng_normal(rng);
    for (size_t p = 0; p < 2; p++) {
        struct vectors part = vectors_of(&blocks[p], starts[p + 1] - starts[p]);
        for (size_t i = starts[p]; i < starts[p + 1]; i++) {
            size_t cluster = (size_t)rng_below(rng, apart ? clusters / 2 : clusters);
            put_row(rng, centres + (apart ? 2 * cluster + p : cluster) * DIM, rows + i * DIM);
            if (n == SOME_HANG && i % 50 == 1)
                memcpy(rows + i * DIM, rows + (i - 1) * DIM, DIM * sizeof *rows);
            map[i] = (uint32_t)i;
        }
        parts[p] = build(&part);
    }
    make_queries(rng, rows, starts, queries);
    params_default(hnsw_ops.build_params, &params);
    if (hnsw_ops.merge(&all, VECDB_METRIC_L2, &params, parts, maps, 2, &context, &merged) != VECDB_OK ||
        hnsw_ops.check(merged) != VECDB_OK)
        fail_msg("merge: %s", error_last()->message);
    anew = build(&all);
    recall = recall_of(merged, &all, queries);
    wanted = recall_of(anew, &all, queries);
    print_message("%zu rows, %zu clusters, %s, %.2f: %.4f merged, %.4f anew\n", n, clusters, apart ? "apart" : "mixed", share, recall,
                  wanted);
    *short_of += recall < wanted - 0.01;
    hnsw_ops.free(merged);
    hnsw_ops.free(anew);
    hnsw_ops.free(parts[0]);
    hnsw_ops.free(parts[1]);
    mem_free(centres);
    mem_free(rows);
    mem_free(queries);
    mem_free(map);
}

static void test_clusters_of_their_own(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    size_t short_of = 0;

    (void)state;
    check(&rng, 1500, 10, true, 0.5, &short_of);
    check(&rng, 1500, 40, true, 0.5, &short_of);
    check(&rng, 1500, 10, true, 0.9, &short_of);
    check(&rng, 20000, 10, true, 0.5, &short_of);
    check(&rng, 20000, 300, true, 0.5, &short_of);
    check(&rng, 20000, 300, true, 0.8, &short_of);
    assert_int_equal(short_of, 0);
}

static void test_clusters_of_both(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    size_t short_of = 0;

    (void)state;
    check(&rng, 1500, 10, false, 0.5, &short_of);
    check(&rng, 1500, 40, false, 0.8, &short_of);
    check(&rng, 20000, 10, false, 0.5, &short_of);
    check(&rng, SOME_HANG, 40, false, 0.5, &short_of);
    assert_int_equal(short_of, 0);
}

static int start(void **state)
{
    (void)state;
    return pool_create(2, &pool) != VECDB_OK;
}

static int stop(void **state)
{
    (void)state;
    pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_clusters_of_their_own), cmocka_unit_test(test_clusters_of_both)};

    return cmocka_run_group_tests(tests, start, stop);
}
