/* A graph whose rows are all replaced ten times over, half of them at a time, finds as much as one built afresh: rows leave by
 * merging without them, and come in a part of their own, or one after another. */
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

#define ROWS 4000
#define QUERIES 500
#define HALVES 20 /* ten turnovers */

static struct pool *pool;
static struct rng rng;

struct space {
    const struct index_ops *ops;
    vecdb_type type;
    vecdb_metric metric;
    uint32_t dim;
    enum test_shape shape;
    const char *effort;
};

/* Vectors of `rows` that lie where the caller says. */
static struct vectors vectors_at(const struct test_rows *rows, const uint8_t **block, size_t count)
{
    struct vectors vectors = rows->vectors;

    vectors.blocks = block;
    vectors.row_count = count;
    vectors.block_shift = 31;
    vectors.present = NULL;
    return vectors;
}

static struct index *build(const struct space *space, const struct vectors *vectors)
{
    struct index_build_context context = {.pool = pool, .seed = 7};
    struct params params;
    struct index *index;

    params_default(space->ops->build_params, &params);
    if (space->ops->build(vectors, space->metric, &params, &context, &index) != VECDB_OK)
        fail_msg("build: %s", error_last()->message);
    return index;
}

static double recall_of(const struct space *space, const struct index *index, const struct vectors *vectors,
                        const struct vectors *queries, uint64_t *scored)
{
    struct hit *hits = mem_array_alloc(QUERIES * 10, sizeof *hits);
    size_t *counts = mem_array_alloc(QUERIES, sizeof *counts);
    struct index_counters counters = {0};
    struct params params;
    struct index_search search = {.queries = queries->blocks[0], .query_count = QUERIES, .query_stride = queries->stride,
                                  .k = 10, .params = &params, .pool = pool};
    double recall;

    assert_int_equal(params_parse("search", space->ops->search_params, NULL, space->effort, &params), VECDB_OK);
    if (space->ops->search(index, &search, hits, counts, &counters) != VECDB_OK)
        fail_msg("search: %s", error_last()->message);
    recall = test_recall(vectors, space->metric, &search, hits, counts);
    *scored = counters.rows_scored / QUERIES;
    mem_free(hits);
    mem_free(counts);
    return recall;
}

/* Half of the rows, at random, give their places to the next half of the supply, which come behind those that stay. */
static void turn_over(const struct space *space, bool by_adding)
{
    struct test_rows supply = test_rows_make(&rng, space->type, space->dim, ROWS + HALVES * ROWS / 2 + QUERIES, space->shape, 0,
                                             false);
    size_t stride = supply.vectors.stride, next = ROWS;
    const uint8_t *query_block = supply.data + (ROWS + HALVES * ROWS / 2) * stride;
    struct vectors queries = vectors_at(&supply, &query_block, QUERIES);
    uint8_t *now = mem_dup(supply.data, ROWS * stride), *then = mem_array_alloc(ROWS, stride);
    uint32_t *kept_map = mem_array_alloc(ROWS, sizeof *kept_map), *new_map = mem_array_alloc(ROWS, sizeof *new_map);
    const uint8_t *block = now;
    struct vectors vectors = vectors_at(&supply, &block, ROWS);
    struct index *index = build(space, &vectors), *fresh;
    uint64_t scored, scored_fresh;
    double old, anew;

    for (size_t half = 0; half < HALVES; half++) {
        struct index_build_context context = {.pool = pool, .seed = 100 + half};
        const uint8_t *new_block = supply.data + next * stride, *then_block = then;
        size_t kept = 0;
        struct vectors come, after;
        struct index *parts[2] = {index, NULL}, *merged;
        const uint32_t *maps[2] = {kept_map, new_map};
        struct params params;
        for (size_t row = 0; row < ROWS; row++) { /* exactly half stay */
            bool stays = rng_below(&rng, ROWS - row) < ROWS / 2 - kept;
            kept_map[row] = stays ? (uint32_t)kept : UINT32_MAX;
            if (stays)
                memcpy(then + kept++ * stride, now + row * stride, stride);
        }
        memcpy(then + kept * stride, new_block, (ROWS - kept) * stride);
        for (size_t i = 0; i < ROWS - kept; i++)
            new_map[i] = (uint32_t)(kept + i);
        next += ROWS - kept;
        after = vectors_at(&supply, &then_block, by_adding ? kept : ROWS);
        params_default(space->ops->build_params, &params);
        if (!by_adding) {
            come = vectors_at(&supply, &new_block, ROWS - kept);
            parts[1] = build(space, &come);
        }
        if (space->ops->merge(&after, space->metric, &params, parts, maps, by_adding ? 1 : 2, &context, &merged) != VECDB_OK)
            fail_msg("merge: %s", error_last()->message);
        space->ops->free(index);
        if (parts[1])
            space->ops->free(parts[1]);
        index = merged;
        memcpy(now, then, ROWS * stride);
        vectors = vectors_at(&supply, &block, ROWS);
        if (by_adding && space->ops->add(index, &vectors, &context) != VECDB_OK)
            fail_msg("add: %s", error_last()->message);
        if (space->ops->check(index) != VECDB_OK)
            fail_msg("after half %zu: %s", half, error_last()->message);
        if (!by_adding) { /* the merged graph was told of rows that lie elsewhere now */
            struct index *same = NULL;
            const uint32_t *identity = new_map;
            for (size_t row = 0; row < ROWS; row++)
                new_map[row] = (uint32_t)row;
            if (space->ops->merge(&vectors, space->metric, &params, &index, &identity, 1, &context, &same) != VECDB_OK)
                fail_msg("merge: %s", error_last()->message);
            space->ops->free(index);
            index = same;
        }
    }
    fresh = build(space, &vectors);
    old = recall_of(space, index, &vectors, &queries, &scored);
    anew = recall_of(space, fresh, &vectors, &queries, &scored_fresh);
    print_message("%s, %s: recall %.4f by %llu rows scored, built afresh %.4f by %llu\n", space->ops->name,
                  by_adding ? "added" : "merged", old, (unsigned long long)scored, anew, (unsigned long long)scored_fresh);
    assert_true(old >= anew - 0.005);
    assert_true((double)scored <= 1.25 * (double)scored_fresh);
    space->ops->free(index);
    space->ops->free(fresh);
    mem_free(now);
    mem_free(then);
    mem_free(kept_map);
    mem_free(new_map);
    test_rows_free(&supply);
}

static const struct space hnsw_floats = {&hnsw_ops, VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_COSINE, 32, TEST_OFFSET, "ef=40"};
static const struct space hnsw_bytes = {&hnsw_ops, VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, 48, TEST_INTEGERS, "ef=24"};
static const struct space nsg_floats = {&nsg_ops, VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, 32, TEST_CLUSTERS,
                                        "search_length=40"};

static void test_by_merging(void **state)
{
    turn_over(&hnsw_floats, false);
    turn_over(&hnsw_bytes, false);
    turn_over(&nsg_floats, false);
}

static void test_by_adding(void **state)
{
    turn_over(&hnsw_floats, true);
    turn_over(&hnsw_bytes, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_by_merging), cmocka_unit_test(test_by_adding)};
    int failed;

    rng = rng_seeded(test_seed());
    if (pool_create(2, &pool) != VECDB_OK)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    pool_free(pool);
    return failed;
}
