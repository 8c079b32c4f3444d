/* Graph kinds: what they find under every metric and type, on awkward sets, filtered, grown, saved and opened. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "index/graph_task.h"
#include "index/hnsw.h"
#include "index/topk.h"
#include "schema/type.h"
#include "support/neighbours.h"

static const struct {
    vecdb_type type;
    vecdb_metric metric;
    uint32_t dim;
} spaces[] = {
    {VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, 24},     {VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_IP, 33},
    {VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_COSINE, 96}, {VECDB_TYPE_FLOAT16_VECTOR, VECDB_METRIC_L2, 40},
    {VECDB_TYPE_FLOAT16_VECTOR, VECDB_METRIC_COSINE, 17}, {VECDB_TYPE_BFLOAT16_VECTOR, VECDB_METRIC_IP, 64},
    {VECDB_TYPE_INT8_VECTOR, VECDB_METRIC_L2, 48},      {VECDB_TYPE_INT8_VECTOR, VECDB_METRIC_COSINE, 65},
    {VECDB_TYPE_INT8_VECTOR, VECDB_METRIC_IP, 31},      {VECDB_TYPE_BINARY_VECTOR, VECDB_METRIC_HAMMING, 256},
    {VECDB_TYPE_BINARY_VECTOR, VECDB_METRIC_JACCARD, 128}, {VECDB_TYPE_FLOAT16_VECTOR, VECDB_METRIC_L2, 270},
};
#define SPACES (sizeof spaces / sizeof spaces[0])

/* The last are for codes that begin with what tells most. */
static enum test_shape shape_of(size_t space) { return spaces[space].dim > 256 ? TEST_UNEVEN : TEST_CLUSTERS; }

static struct pool *pool;

static struct index *build(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric, const char *text,
                           struct pool *on)
{
    struct index_build_context context = {.pool = on, .seed = 7};
    struct params params;
    struct index *index = NULL;

    assert_int_equal(params_parse("index", ops->build_params, ops->search_params, text, &params), VECDB_OK);
    if (ops->build(vectors, metric, &params, &context, &index) != VECDB_OK)
        fail_msg("build: %s", error_last()->message);
    if (ops->check(index) != VECDB_OK)
        fail_msg("check: %s", error_last()->message);
    return index;
}

struct answer {
    struct index_search search;
    struct params params;
    struct hit *hits;
    size_t *counts;
    struct index_counters counters;
};

static void ask(const struct index *index, struct answer *answer, const struct vectors *queries, size_t k, const char *text)
{
    answer->search.queries = queries->blocks[0];
    answer->search.query_count = queries->row_count;
    answer->search.query_stride = queries->stride;
    answer->search.k = k;
    answer->search.params = &answer->params;
    assert_int_equal(params_parse("search", index->ops->search_params, NULL, text, &answer->params), VECDB_OK);
    answer->hits = mem_array_alloc(queries->row_count * k + 1, sizeof *answer->hits);
    answer->counts = mem_array_alloc(queries->row_count + 1, sizeof *answer->counts);
    memset(&answer->counters, 0, sizeof answer->counters);
    if (index->ops->search(index, &answer->search, answer->hits, answer->counts, &answer->counters) != VECDB_OK)
        fail_msg("search: %s", error_last()->message);
}

static void answer_free(struct answer *answer)
{
    mem_free(answer->hits);
    mem_free(answer->counts);
}

/* Sound hits, all that there can be, of at least so much recall, which is returned. */
static double check_answer(const struct vectors *vectors, vecdb_metric metric, struct answer *answer, double floor)
{
    size_t possible = answer->search.allowed ? answer->search.allowed_count : vectors->row_count;
    double recall;

    if (!answer->search.allowed && vectors->present) {
        possible = 0;
        for (size_t row = 0; row < vectors->row_count; row++)
            possible += bitmap_get(vectors->present, row);
    }
    for (size_t q = 0; q < answer->search.query_count; q++) {
        test_check_sound(vectors, metric, &answer->search, q, answer->hits + q * answer->search.k, answer->counts[q], 1e-4);
        if (!answer->search.has_radius)
            assert_int_equal(answer->counts[q], possible < answer->search.k ? possible : answer->search.k);
    }
    recall = test_recall(vectors, metric, &answer->search, answer->hits, answer->counts);
    if (recall < floor)
        fail_msg("%s %s: recall %.4f, wanted %.4f", type_name(vectors->type), metric_name(metric), recall, floor);
    return recall;
}

/* The last `count` rows of a set, as queries; the set is shortened by them. */
static struct vectors take_queries(struct test_rows *rows, size_t count)
{
    struct vectors queries = rows->vectors;
    static const uint8_t *block[64];
    static size_t used;

    rows->vectors.row_count -= count;
    for (size_t i = 0; i < count; i++) { /* a query has a value */
        size_t row = rows->vectors.row_count + i;
        if (rows->present && !bitmap_get(rows->present, row))
            memcpy(rows->data + row * queries.stride, rows->data + (row - 1) * queries.stride, queries.stride);
    }
    queries.row_count = count;
    block[used % 64] = vectors_row(&rows->vectors, rows->vectors.row_count);
    queries.blocks = &block[used++ % 64];
    queries.present = NULL;
    return queries;
}

static void test_recall_of_all_spaces(void **state)
{
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t s = 0; s < SPACES; s++) {
        struct test_rows rows = test_rows_make(&rng, spaces[s].type, spaces[s].dim, 3050, shape_of(s), 0, false);
        struct vectors queries = take_queries(&rows, 50);
        struct index *index = build(&hnsw_ops, &rows.vectors, spaces[s].metric, "", pool);
        struct answer answer = {0};
        ask(index, &answer, &queries, 10, "ef=100");
        check_answer(&rows.vectors, spaces[s].metric, &answer, 0.95);
        answer_free(&answer);
        ask(index, &answer, &queries, 10, "");
        check_answer(&rows.vectors, spaces[s].metric, &answer, 0.9);
        answer_free(&answer);
        hnsw_ops.free(index);
        test_rows_free(&rows);
    }
}

static void test_integers_need_no_second_look(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 64, 2020, TEST_INTEGERS, 0, false);
    struct vectors queries = take_queries(&rows, 20);
    struct index *index = build(&hnsw_ops, &rows.vectors, VECDB_METRIC_L2, "", pool);
    struct answer answer = {0};
    float odd[64];

    (void)state;
    ask(index, &answer, &queries, 10, "ef=64");
    check_answer(&rows.vectors, VECDB_METRIC_L2, &answer, 0.95);
    assert_int_equal(answer.counters.reranked, 0);
    answer_free(&answer);
    /* but a query between the integers does */
    memcpy(odd, queries.blocks[0], sizeof odd);
    odd[3] += 0.25f;
    queries.row_count = 1;
    queries.blocks = (const uint8_t *const[]){(const uint8_t *)odd};
    ask(index, &answer, &queries, 10, "ef=64");
    check_answer(&rows.vectors, VECDB_METRIC_L2, &answer, 0.7);
    assert_true(answer.counters.reranked > 0);
    answer_free(&answer);
    hnsw_ops.free(index);
    test_rows_free(&rows);
}

/* Where few dimensions tell most of a distance, scoring stops early; that changes nothing of what is found. */
static void test_beginnings_of_codes(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 300, 4050, TEST_UNEVEN, 0, false);
    struct vectors queries = take_queries(&rows, 50);
    struct index *index = build(&hnsw_ops, &rows.vectors, VECDB_METRIC_L2, "", pool);
    struct graph_state *graph_state = atomic_load(&((struct graph *)index)->state);
    struct graph_codec *codec = &graph_state->codec;
    struct answer whole = {0}, begun = {0};
    size_t head = codec->head;

    (void)state;
    assert_non_null(codec->order);
    assert_int_equal(codec->order[0] % 3, 0);
    assert_int_equal(head, 128); /* 100 dimensions matter */
    for (size_t i = 0; i < 2; i++) {
        const char *text = i ? "ef=100" : "gamma=0.1, ef=100";
        ask(index, &begun, &queries, 10, text);
        check_answer(&rows.vectors, VECDB_METRIC_L2, &begun, 0.95);
        codec->head = 0;
        ask(index, &whole, &queries, 10, text);
        codec->head = head;
        assert_memory_equal(begun.hits, whole.hits, 50 * 10 * sizeof *whole.hits);
        assert_int_equal(begun.counters.rows_scored, whole.counters.rows_scored);
        assert_int_equal(begun.counters.hops, whole.counters.hops);
        answer_free(&begun);
        answer_free(&whole);
    }
    hnsw_ops.free(index);
    test_rows_free(&rows);
}

/* Queries of a batch walk by turns; each finds what it finds alone, one far out among them too. */
static void test_batches_answer_as_single_queries(void **state)
{
    static const size_t which[] = {0, 2, 6, 9, SPACES - 1};
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t w = 0; w < sizeof which / sizeof which[0]; w++) {
        size_t s = which[w], k = 10;
        struct test_rows rows = test_rows_make(&rng, spaces[s].type, spaces[s].dim, 2031, shape_of(s), 0, false);
        struct vectors queries = take_queries(&rows, 31), one = queries;
        struct index *index = build(&hnsw_ops, &rows.vectors, spaces[s].metric, "", pool);
        struct answer batch = {0};
        struct index_counters single = {0};
        if (spaces[s].type == VECDB_TYPE_FLOAT_VECTOR)
            for (size_t d = 0; d < spaces[s].dim; d++)
                ((float *)(void *)vectors_row(&queries, 7))[d] += 5000;
        ask(index, &batch, &queries, k, "ef=60");
        one.row_count = 1;
        for (size_t q = 0; q < queries.row_count; q++) {
            struct answer answer = {0};
            const uint8_t *row = vectors_row(&queries, q);
            one.blocks = &row;
            ask(index, &answer, &one, k, "ef=60");
            assert_int_equal(answer.counts[0], batch.counts[q]);
            assert_memory_equal(answer.hits, batch.hits + q * k, answer.counts[0] * sizeof *answer.hits);
            single.rows_scored += answer.counters.rows_scored;
            single.hops += answer.counters.hops;
            answer_free(&answer);
        }
        assert_int_equal(batch.counters.rows_scored, single.rows_scored);
        assert_int_equal(batch.counters.hops, single.hops);
        answer_free(&batch);
        hnsw_ops.free(index);
        test_rows_free(&rows);
    }
}

static void test_few_rows(void **state)
{
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t n = 0; n <= 70; n++)
        for (size_t s = 0; s < SPACES; s += n % 7 ? SPACES - 2 : 1) {
            struct test_rows rows = test_rows_make(&rng, spaces[s].type, spaces[s].dim, n + 2, shape_of(s), 0, n % 3 == 1 && n > 1);
            struct vectors queries = take_queries(&rows, 2);
            struct index *index = build(&hnsw_ops, &rows.vectors, spaces[s].metric, "M=4", n % 2 ? pool : NULL);
            struct answer answer = {0};
            if (n) {
                ask(index, &answer, &queries, n < 10 ? n : 10, "");
                check_answer(&rows.vectors, spaces[s].metric, &answer, 0.999);
                answer_free(&answer);
            }
            hnsw_ops.free(index);
            test_rows_free(&rows);
        }
}

/* ---- awkward sets ---- */

static void check_set(struct test_rows *rows, size_t query_count, const char *text, double floor)
{
    struct vectors queries = take_queries(rows, query_count);
    vecdb_metric metrics[] = {VECDB_METRIC_L2, VECDB_METRIC_IP, VECDB_METRIC_COSINE};

    for (size_t m = 0; m < 3; m++) {
        struct index *index = build(&hnsw_ops, &rows->vectors, metrics[m], "", pool);
        struct answer answer = {0};
        ask(index, &answer, &queries, 10, text);
        check_answer(&rows->vectors, metrics[m], &answer, floor);
        answer_free(&answer);
        hnsw_ops.free(index);
    }
}

static void test_all_equal(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 20, 1000, TEST_CONSTANT, 0, false);

    (void)state;
    check_set(&rows, 5, "ef=50", 0.999);
    test_rows_free(&rows);
}

/* Clusters far apart, of all centres equally far: no link between near rows leads out of one, no descent towards another. */
static void test_islands(void **state)
{
    static const struct {
        uint32_t dim, clusters;
    } cases[] = {{96, 150}, {64, 10}};
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        uint32_t dim = cases[c].dim;
        struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, dim, 12200, TEST_CLUSTERS, 0, false);
        float *centres = mem_array_alloc((size_t)cases[c].clusters * dim, sizeof *centres);
        struct answer answer = {0};
        struct vectors queries;
        struct index *index, *opened;
        struct buf bytes = {0};
        for (size_t i = 0; i < (size_t)cases[c].clusters * dim; i++)
            centres[i] = (float)rng_normal(&rng);
        for (size_t row = 0; row < rows.vectors.row_count; row++) {
            float *to = (float *)(void *)(rows.data + row * rows.vectors.stride);
            size_t cluster = (size_t)rng_below(&rng, cases[c].clusters);
            for (uint32_t d = 0; d < dim; d++)
                to[d] = centres[cluster * dim + d] + 0.3f * (float)rng_normal(&rng);
        }
        queries = take_queries(&rows, 200);
        index = build(&hnsw_ops, &rows.vectors, VECDB_METRIC_L2, "M=16, efConstruction=200", pool);
        ask(index, &answer, &queries, 10, "ef=100");
        check_answer(&rows.vectors, VECDB_METRIC_L2, &answer, 0.97);
        answer_free(&answer);
        assert_int_equal(hnsw_ops.save(index, &bytes), VECDB_OK);
        assert_int_equal(hnsw_ops.open(bytes.data, bytes.size, &rows.vectors, VECDB_METRIC_L2, NULL, &opened), VECDB_OK);
        ask(opened, &answer, &queries, 10, "ef=100");
        check_answer(&rows.vectors, VECDB_METRIC_L2, &answer, 0.97);
        answer_free(&answer);
        hnsw_ops.free(opened);
        hnsw_ops.free(index);
        buf_deinit(&bytes);
        mem_free(centres);
        test_rows_free(&rows);
    }
}

static void test_half_duplicates(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 20, 4020, TEST_CLUSTERS, 0, false);

    (void)state;
    for (size_t i = 0; i < 2000; i++) /* of 40 rows */
        memcpy(rows.data + (2000 + i) * rows.vectors.stride, rows.data + i % 40 * rows.vectors.stride, rows.vectors.stride);
    check_set(&rows, 20, "ef=100", 0.95);
    test_rows_free(&rows);
}

static void test_an_outlier_and_idle_dimensions(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 30, 3020, TEST_CLUSTERS, 0, false);

    (void)state;
    for (size_t i = 0; i < 3020; i++)
        for (size_t d = 20; d < 30; d++)
            ((float *)(void *)(rows.data + i * rows.vectors.stride))[d] = 3;
    for (size_t d = 0; d < 30; d++)
        ((float *)(void *)(rows.data + 777 * rows.vectors.stride))[d] = 1e6f;
    check_set(&rows, 20, "ef=150", 0.9); /* under IP the outlier itself may be missed: its code ends at the codes' range */
    test_rows_free(&rows);
}

static void test_lengths_that_differ(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 24, 4020, TEST_CLUSTERS, 0, false);
    struct vectors queries;
    struct index *index;
    struct answer answer = {0};

    (void)state;
    for (size_t i = 0; i < 4020; i++) {
        float factor = (float)(0.05 + 3 * rng_unit(&rng) * rng_unit(&rng));
        for (size_t d = 0; d < 24; d++)
            ((float *)(void *)(rows.data + i * rows.vectors.stride))[d] *= factor;
    }
    queries = take_queries(&rows, 20);
    index = build(&hnsw_ops, &rows.vectors, VECDB_METRIC_IP, "", pool);
    ask(index, &answer, &queries, 10, "ef=100");
    check_answer(&rows.vectors, VECDB_METRIC_IP, &answer, 0.95);
    answer_free(&answer);
    hnsw_ops.free(index);
    test_rows_free(&rows);
}

/* Queries that are not like the rows: of another spread, from between and beyond the clusters, some further than floats reach. */
static void throw_far(struct rng *rng, const struct vectors *queries)
{
    float *block = (float *)(void *)queries->blocks[0];

    for (size_t q = 0; q < queries->row_count; q++) {
        float size = q % 4 == 0 ? 0.1f : q % 4 == 1 ? 1 : q % 4 == 2 ? 5 : 40, *query = block + q * queries->dim;
        for (size_t d = 0; d < queries->dim; d++)
            query[d] = q % 8 < 4 ? size * (float)rng_normal(rng) : size * (float)rng_unit(rng) * (d % 2 ? 1 : -3);
    }
}

static void test_queries_of_another_distribution(void **state)
{
    static const struct {
        vecdb_metric metric;
        double floors[3]; /* at these efforts: */
    } spaces_asked[] = {{VECDB_METRIC_L2, {0.84, 0.95, 0.99}}, {VECDB_METRIC_IP, {0.65, 0.9, 0.98}}, {VECDB_METRIC_COSINE, {0.8, 0.96, 0.99}}};
    static const char *const efforts[2][3] = {{"ef=100", "ef=400", "ef=1600"},
                                              {"search_length=100", "search_length=400", "search_length=1600"}};
    const struct index_ops *kinds[] = {&hnsw_ops, &nsg_ops};
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 32, 6080, TEST_CLUSTERS, 0, false);
    struct vectors queries = take_queries(&rows, 80);

    (void)state;
    throw_far(&rng, &queries);
    for (size_t i = 0; i < 2; i++)
        for (size_t m = 0; m < 3; m++) {
            struct index *index = build(kinds[i], &rows.vectors, spaces_asked[m].metric, "", pool);
            for (size_t e = 0; e < 3; e++) {
                struct answer answer = {0};
                ask(index, &answer, &queries, 10, efforts[i][e]);
                check_answer(&rows.vectors, spaces_asked[m].metric, &answer, spaces_asked[m].floors[e]);
                answer_free(&answer);
            }
            kinds[i]->free(index);
        }
    test_rows_free(&rows);
}

/* Squared distance to whole numbers and to cut floats, with sketches beside them, under filters, and from very far. */
static void test_queries_far_out(void **state)
{
    static const enum test_shape shapes[] = {TEST_INTEGERS, TEST_OFFSET};
    static const float sizes[] = {1000, 1e6f, 1e15f};
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t s = 0; s < 2; s++) {
        struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 48, 5040, shapes[s], 0, false);
        struct vectors queries = take_queries(&rows, 40);
        for (size_t fused = 0; fused < 2; fused++) {
            struct index *index = build(&hnsw_ops, &rows.vectors, VECDB_METRIC_L2, fused ? "layout=fused" : "", pool);
            for (size_t i = 0; i < 3; i++) {
                float *query = (float *)(void *)queries.blocks[0];
                struct answer answer = {0};
                for (size_t d = 0; d < queries.row_count * 48; d++)
                    query[d] = sizes[i] * (float)rng_normal(&rng);
                if (fused)
                    answer.search.allowed = test_bitmap(&rng, rows.vectors.row_count, 0.9, &answer.search.allowed_count);
                ask(index, &answer, &queries, 10, "ef=400");
                if (sizes[i] < 1e5f) /* beyond, floats do not tell the rows apart: what is asked is to return some */
                    check_answer(&rows.vectors, VECDB_METRIC_L2, &answer, 0.95);
                for (size_t q = 0; q < queries.row_count; q++)
                    assert_int_equal(answer.counts[q], 10);
                answer_free(&answer);
                mem_free((void *)(uintptr_t)answer.search.allowed);
            }
            hnsw_ops.free(index);
        }
        test_rows_free(&rows);
    }
}

/* ---- filters, missing values, radius ---- */

static void test_filters(void **state)
{
    static const double shares[] = {0.0005, 0.004, 0.02, 0.1, 0.3, 0.6, 0.95};
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t s = 0; s < SPACES; s += 2) {
        struct test_rows rows = test_rows_make(&rng, spaces[s].type, spaces[s].dim, 6030, shape_of(s), 0, s == 2);
        struct vectors queries = take_queries(&rows, 30);
        struct index *index = build(&hnsw_ops, &rows.vectors, spaces[s].metric, "", pool);
        for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
            struct answer answer = {0};
            uint64_t *allowed = test_bitmap(&rng, rows.vectors.row_count, shares[i], &answer.search.allowed_count);
            if (rows.vectors.present) {
                for (size_t w = 0; w < bitmap_words(rows.vectors.row_count); w++)
                    allowed[w] &= rows.vectors.present[w];
                answer.search.allowed_count = bitmap_count(allowed, rows.vectors.row_count);
            }
            answer.search.allowed = allowed;
            ask(index, &answer, &queries, 10, "ef=64");
            check_answer(&rows.vectors, spaces[s].metric, &answer, 0.93);
            answer_free(&answer);
            mem_free(allowed);
        }
        hnsw_ops.free(index);
        test_rows_free(&rows);
    }
}

static void test_missing_values_are_never_found(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 16, 2020, TEST_CLUSTERS, 256, true);
    struct vectors queries = {0};
    uint8_t *copy;
    struct index *index;
    struct answer answer = {0};

    (void)state;
    rows.vectors.row_count = 2000;
    copy = mem_array_alloc(20, rows.vectors.stride);
    for (size_t i = 0; i < 20; i++)
        memcpy(copy + i * rows.vectors.stride, vectors_row(&rows.vectors, 2000 + i), rows.vectors.stride);
    queries = rows.vectors;
    queries.row_count = 20;
    queries.blocks = (const uint8_t *const[]){copy};
    index = build(&hnsw_ops, &rows.vectors, VECDB_METRIC_L2, "", pool);
    ask(index, &answer, &queries, 10, "ef=64");
    check_answer(&rows.vectors, VECDB_METRIC_L2, &answer, 0.9);
    answer_free(&answer);
    hnsw_ops.free(index);
    mem_free(copy);
    test_rows_free(&rows);
}

static void test_radius(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 16, 2020, TEST_CLUSTERS, 0, false);
    struct vectors queries = take_queries(&rows, 20);
    struct index *index = build(&hnsw_ops, &rows.vectors, VECDB_METRIC_L2, "", pool);
    struct answer answer = {0};
    float radius;

    (void)state;
    ask(index, &answer, &queries, 10, "ef=64");
    radius = answer.hits[5].distance;
    answer_free(&answer);
    answer.search.has_radius = true;
    answer.search.radius = radius;
    ask(index, &answer, &queries, 10, "ef=64");
    assert_true(answer.counts[0] == 5);
    check_answer(&rows.vectors, VECDB_METRIC_L2, &answer, 0);
    answer_free(&answer);
    hnsw_ops.free(index);
    test_rows_free(&rows);
}

static void test_ef_below_k_is_refused(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 8, 500, TEST_CLUSTERS, 0, false);
    struct index *index = build(&hnsw_ops, &rows.vectors, VECDB_METRIC_L2, "", pool);
    struct params params;
    struct hit hits[20];
    size_t count;
    struct index_counters counters = {0};
    struct index_search search = {.queries = rows.data, .query_count = 1, .query_stride = rows.vectors.stride, .k = 20,
                                  .params = &params};

    (void)state;
    assert_int_equal(params_parse("search", hnsw_ops.search_params, NULL, "ef=19", &params), VECDB_OK);
    assert_int_equal(hnsw_ops.search(index, &search, hits, &count, &counters), VECDB_ERR_INVALID);
    assert_non_null(strstr(error_last()->message, "19"));
    assert_non_null(strstr(error_last()->message, "20"));
    hnsw_ops.free(index);
    test_rows_free(&rows);
}

/* ---- the same whatever the threads; saved and opened; grown ---- */

/* The index as a file would have it, of rows half of which were there when it was built. */
static struct buf built_and_grown(const struct test_rows *rows, vecdb_metric metric, struct pool *on)
{
    struct index_build_context context = {.pool = on, .seed = 7};
    struct vectors half = rows->vectors;
    struct index *index;
    struct buf saved = {0};

    half.row_count /= 2;
    index = build(&hnsw_ops, &half, metric, "", on);
    assert_int_equal(hnsw_ops.add(index, &rows->vectors, &context), VECDB_OK);
    assert_int_equal(hnsw_ops.check(index), VECDB_OK);
    assert_int_equal(hnsw_ops.save(index, &saved), VECDB_OK);
    hnsw_ops.free(index);
    return saved;
}

static void test_threads_do_not_matter(void **state)
{
    static const size_t some[] = {0, 4, 8, 9};
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t i = 0; i < sizeof some / sizeof *some; i++) {
        size_t s = some[i];
        struct test_rows rows = test_rows_make(&rng, spaces[s].type, spaces[s].dim, 10000, shape_of(s), 0, false);
        struct buf alone = built_and_grown(&rows, spaces[s].metric, NULL);
        struct buf together = built_and_grown(&rows, spaces[s].metric, pool);
        assert_int_equal(alone.size, together.size);
        assert_memory_equal(alone.data, together.data, alone.size);
        buf_deinit(&alone);
        buf_deinit(&together);
        test_rows_free(&rows);
    }
}

static struct index *open_copy(const struct index_ops *ops, const struct buf *saved, const struct vectors *vectors,
                               vecdb_metric metric, uint8_t **copy)
{
    struct index *index = NULL;
    struct params params;

    params_default(ops->build_params, &params);
    *copy = mem_aligned_alloc(64, saved->size);
    memcpy(*copy, saved->data, saved->size);
    if (ops->open(*copy, saved->size, vectors, metric, &params, &index) != VECDB_OK)
        fail_msg("open: %s", error_last()->message);
    return index;
}

/* ---- the recall that is asked for: as many rows as it takes for some to be held out and measured with ---- */

#define WISHES 4
static const char *const wishes[WISHES] = {"recall=0.8", "recall=0.9", "recall=0.95", "recall=0.98"};

/* An ef greater than any that was calibrated (512) makes a search do more all the same. */
static void check_efs_beyond(const struct index *index, const struct vectors *queries, const char *name)
{
    uint64_t least = 0;

    for (int ef = 512; ef <= 8192; ef *= 4) {
        struct answer answer = {0};
        char text[64];
        snprintf(text, sizeof text, "%s=%d", name, ef);
        ask(index, &answer, queries, 10, text);
        assert_true(answer.counters.rows_scored > least);
        least = answer.counters.rows_scored;
        answer_free(&answer);
    }
}

/* So it does where next to nothing was enough for all there is to be found, and gamma is below 0, or far above. */
static void test_efs_beyond_all_calibrations(void **state)
{
    static const float enough[] = {-0.2f, -0.05f, 0.01f, 0.3f};

    (void)state;
    for (size_t i = 0; i < sizeof enough / sizeof *enough; i++) {
        struct graph_calibration calibration = {.query_count = 100, .independent = 1000};
        float gamma = -1;
        size_t ef_before = 0;
        for (size_t s = 0; s < GRAPH_CALIBRATION_STEPS; s++) {
            calibration.ef[s] = (struct graph_step){(float)(10 + 40 * s), 1};
            calibration.gamma[s] = (struct graph_step){enough[i] + 0.01f * (float)s, 1};
        }
        for (size_t ef = 10; ef <= 10000; ef *= 3) {
            struct graph_effort effort = {.ef = ef};
            struct search_task task = {0};
            graph_effort_settle(&calibration, &effort, 10, &task);
            assert_true(task.gamma > gamma && task.ef >= ef_before && task.ef >= ef);
            gamma = task.gamma;
            ef_before = task.ef;
        }
    }
}

/* Asked of an index of this kind; answers are sound, of at least the floors. Their recall is added to `recalls`. */
static void ask_for_recall(const struct index_ops *kind, const struct vectors *rows, const struct vectors *queries,
                           const double floors[WISHES], double recalls[WISHES])
{
    struct index *index = build(kind, rows, VECDB_METRIC_L2, "", pool); /* checks that all can be reached */
    uint64_t least = 0, ef_scored;
    struct answer by_ef = {0};

    ask(index, &by_ef, queries, 10, kind == &hnsw_ops ? "ef=10" : "search_length=10");
    ef_scored = by_ef.counters.rows_scored;
    answer_free(&by_ef);
    for (size_t w = 0; w < WISHES; w++) {
        struct answer answer = {0};
        ask(index, &answer, queries, 10, wishes[w]);
        recalls[w] += check_answer(rows, VECDB_METRIC_L2, &answer, floors[w]);
        assert_true(answer.counters.rows_scored >= least); /* more is asked for, more is done */
        least = answer.counters.rows_scored;
        if (!w)
            assert_true(least < ef_scored); /* less than with the smallest ef there is */
        answer_free(&answer);
    }
    check_efs_beyond(index, queries, kind == &hnsw_ops ? "ef" : "search_length");
    kind->free(index);
}

static void test_recall_asked_for(void **state)
{
    static const double floors[WISHES] = {0.78, 0.89, 0.94, 0.97};
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 32, 21200, TEST_CLUSTERS, 0, false);
    struct vectors queries = take_queries(&rows, 200);
    double recalls[WISHES] = {0};

    (void)state;
    ask_for_recall(&hnsw_ops, &rows.vectors, &queries, floors, recalls);
    ask_for_recall(&nsg_ops, &rows.vectors, &queries, floors, recalls);
    test_rows_free(&rows);
}

/* The rows held out are few, and in clusters an answer is found as a whole or not at all, so one calibration may be out by some
 * points, either way; the mean of several is not. */
static void test_recall_of_several_calibrations(void **state)
{
    enum { SETS = 4 };
    static const double none[WISHES] = {0}, floors[WISHES] = {0.78, 0.89, 0.94, 0.97};
    const struct index_ops *kinds[] = {&hnsw_ops, &nsg_ops};
    double recalls[2][WISHES] = {{0}};
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t set = 0; set < SETS; set++) {
        struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 32, 20600, TEST_CLUSTERS, 0, false);
        struct vectors queries = take_queries(&rows, 100);
        for (size_t i = 0; i < 2; i++)
            ask_for_recall(kinds[i], &rows.vectors, &queries, none, recalls[i]);
        test_rows_free(&rows);
    }
    for (size_t i = 0; i < 2; i++)
        for (size_t w = 0; w < WISHES; w++)
            if (recalls[i][w] / SETS < floors[w])
                fail_msg("%s %s: %.4f, wanted %.4f", kinds[i]->name, wishes[w], recalls[i][w] / SETS, floors[w]);
}

/* Many queries: what was asked for, but for two standard errors of the queries' own, all of whose answers are all or nothing. */
static void test_recall_asked_for_by_many(void **state)
{
    static const double asked[WISHES] = {0.8, 0.9, 0.95, 0.98};
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 32, 23000, TEST_CLUSTERS, 0, false);
    struct vectors queries = take_queries(&rows, 1000);
    double floors[WISHES], recalls[WISHES] = {0};

    (void)state;
    for (size_t w = 0; w < WISHES; w++)
        floors[w] = asked[w] - 2 * sqrt(asked[w] * (1 - asked[w]) / 1000);
    ask_for_recall(&hnsw_ops, &rows.vectors, &queries, floors, recalls);
    print_message("recall of 1000 queries: %.4f %.4f %.4f %.4f\n", recalls[0], recalls[1], recalls[2], recalls[3]);
    test_rows_free(&rows);
}

static void test_saved_and_opened(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 70, 700, 2500};
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t s = 0; s < SPACES; s++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct test_rows rows = test_rows_make(&rng, spaces[s].type, spaces[s].dim, sizes[i] + 5, shape_of(s), 0, i == 3);
            struct vectors queries = take_queries(&rows, 5);
            struct index *index = build(&hnsw_ops, &rows.vectors, spaces[s].metric, "M=6", pool), *opened;
            struct answer before = {0}, after = {0};
            struct buf saved = {0};
            uint8_t *copy;
            assert_int_equal(hnsw_ops.save(index, &saved), VECDB_OK);
            opened = open_copy(&hnsw_ops, &saved, &rows.vectors, spaces[s].metric, &copy);
            if (hnsw_ops.check(opened) != VECDB_OK)
                fail_msg("check: %s", error_last()->message);
            if (sizes[i]) {
                size_t k = sizes[i] < 10 ? sizes[i] : 10;
                ask(index, &before, &queries, k, "ef=30");
                ask(opened, &after, &queries, k, "ef=30");
                assert_memory_equal(before.counts, after.counts, 5 * sizeof *before.counts);
                for (size_t q = 0; q < 5; q++)
                    assert_memory_equal(before.hits + q * k, after.hits + q * k, before.counts[q] * sizeof *before.hits);
                answer_free(&before);
                answer_free(&after);
            }
            hnsw_ops.free(index);
            hnsw_ops.free(opened);
            mem_free(copy);
            buf_deinit(&saved);
            test_rows_free(&rows);
        }
}

/* layout=fused: as good, by fewer rows scored; saved, opened, merged and grown like the other. */
static void test_fused(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    uint64_t scored[2] = {0};

    (void)state;
    for (size_t s = 0; s < SPACES; s++) {
        struct test_rows rows = test_rows_make(&rng, spaces[s].type, spaces[s].dim, 4060, s % 2 ? TEST_CLUSTERS : TEST_OFFSET, 0, s == 3);
        struct vectors queries = take_queries(&rows, 60), part = rows.vectors;
        struct index_build_context context = {.pool = pool, .seed = 3};
        struct index *fused, *compact, *opened, *merged = NULL;
        struct answer by_fused = {0}, by_compact = {0}, by_opened = {0}, later = {0};
        uint32_t *map = mem_array_alloc(4000, sizeof *map);
        const uint32_t *maps = map;
        struct params params;
        struct buf saved = {0};
        uint8_t *copy;
        bool bytes = spaces[s].type != VECDB_TYPE_BINARY_VECTOR;
        part.row_count = 3500;
        fused = build(&hnsw_ops, &part, spaces[s].metric, "layout=fused", pool);
        compact = build(&hnsw_ops, &part, spaces[s].metric, "layout=compact", pool);
        assert_true(!bytes || hnsw_ops.memory(fused) > hnsw_ops.memory(compact));
        ask(fused, &by_fused, &queries, 10, "ef=60");
        ask(compact, &by_compact, &queries, 10, "ef=60");
        check_answer(&part, spaces[s].metric, &by_fused,
                     test_recall(&part, spaces[s].metric, &by_compact.search, by_compact.hits, by_compact.counts) - 0.02);
        if (bytes) {
            scored[0] += by_fused.counters.rows_scored;
            scored[1] += by_compact.counters.rows_scored;
        }
        assert_int_equal(hnsw_ops.save(fused, &saved), VECDB_OK);
        opened = open_copy(&hnsw_ops, &saved, &part, spaces[s].metric, &copy);
        ask(opened, &by_opened, &queries, 10, "ef=60");
        assert_int_equal(by_opened.counters.rows_scored, by_fused.counters.rows_scored);
        assert_memory_equal(by_opened.counts, by_fused.counts, 60 * sizeof *by_fused.counts);
        for (uint32_t i = 0; i < 3500; i++)
            map[i] = i;
        params_default(hnsw_ops.build_params, &params);
        if (hnsw_ops.merge(&part, spaces[s].metric, &params, &opened, &maps, 1, &context, &merged) != VECDB_OK)
            fail_msg("merge: %s", error_last()->message);
        assert_true(!bytes || hnsw_ops.memory(merged) > hnsw_ops.memory(compact));
        assert_int_equal(hnsw_ops.add(merged, &rows.vectors, &context), VECDB_OK);
        ask(merged, &later, &queries, 10, "ef=100");
        check_answer(&rows.vectors, spaces[s].metric, &later, 0.93);
        answer_free(&by_fused);
        answer_free(&by_compact);
        answer_free(&by_opened);
        answer_free(&later);
        hnsw_ops.free(fused);
        hnsw_ops.free(compact);
        hnsw_ops.free(opened);
        hnsw_ops.free(merged);
        mem_free(map);
        mem_free(copy);
        buf_deinit(&saved);
        test_rows_free(&rows);
    }
    print_message("rows scored: %llu fused, %llu compact\n", (unsigned long long)scored[0], (unsigned long long)scored[1]);
    assert_true(scored[0] < scored[1]);
}

static void test_grown_row_by_row(void **state)
{
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t s = 0; s < SPACES; s++) {
        struct test_rows rows = test_rows_make(&rng, spaces[s].type, spaces[s].dim, 2530, shape_of(s) == TEST_UNEVEN ? TEST_UNEVEN : s % 2 ? TEST_CLUSTERS : TEST_OFFSET, 0, s == 3);
        struct vectors queries = take_queries(&rows, 30), part = rows.vectors;
        struct index_build_context context = {.pool = pool, .seed = 3};
        struct index *index;
        size_t step = 1;
        part.row_count = s % 3 == 0 ? 0 : s % 3 == 1 ? 400 : 3;
        index = build(&hnsw_ops, &part, spaces[s].metric, "", pool);
        while (part.row_count < rows.vectors.row_count) {
            struct answer answer = {0};
            part.row_count += step;
            if (part.row_count > rows.vectors.row_count)
                part.row_count = rows.vectors.row_count;
            step = part.row_count < 300 ? 1 : part.row_count < 600 ? 37 : 500;
            assert_int_equal(hnsw_ops.add(index, &part, &context), VECDB_OK);
            if (part.row_count % 50 && part.row_count < 300)
                continue;
            if (hnsw_ops.check(index) != VECDB_OK)
                fail_msg("check at %zu rows: %s", part.row_count, error_last()->message);
            ask(index, &answer, &queries, 10, "ef=100");
            check_answer(&part, spaces[s].metric, &answer, 0.93);
            answer_free(&answer);
        }
        hnsw_ops.free(index);
        test_rows_free(&rows);
    }
}

/* ---- merging ---- */

static void check_merge(struct rng *rng, size_t space, size_t rows_wanted, size_t part_count, double dropped, bool halves_equal)
{
    struct test_rows rows = test_rows_make(rng, spaces[space].type, spaces[space].dim, rows_wanted + 30, shape_of(space), 0, false);
    struct vectors queries = take_queries(&rows, 30), parts_vectors[8], merged = rows.vectors;
    struct index_build_context context = {.pool = pool, .seed = 5};
    struct index *parts[8], *index = NULL;
    uint32_t *maps[8];
    uint8_t *data[8], *all = mem_array_alloc(rows_wanted, rows.vectors.stride);
    const uint8_t *blocks[9];
    struct params params;
    struct answer answer = {0};
    size_t kept = 0;

    if (halves_equal) /* rows that both parts have */
        for (size_t i = 1; i < rows_wanted; i += 2)
            memcpy(rows.data + i * rows.vectors.stride, rows.data + (i - 1) * rows.vectors.stride, rows.vectors.stride);
    for (size_t p = 0; p < part_count; p++) {
        size_t n = 0;
        data[p] = mem_array_alloc(rows_wanted / part_count + 1, rows.vectors.stride);
        maps[p] = mem_array_alloc(rows_wanted / part_count + 1, sizeof *maps[p]);
        for (size_t i = p; i < rows_wanted; i += part_count, n++) {
            memcpy(data[p] + n * rows.vectors.stride, rows.data + i * rows.vectors.stride, rows.vectors.stride);
            maps[p][n] = UINT32_MAX;
            if (rng_unit(rng) >= dropped) {
                memcpy(all + kept * rows.vectors.stride, rows.data + i * rows.vectors.stride, rows.vectors.stride);
                maps[p][n] = (uint32_t)kept++;
            }
        }
        parts_vectors[p] = rows.vectors;
        parts_vectors[p].row_count = n;
        blocks[p] = data[p];
        parts_vectors[p].blocks = &blocks[p];
        parts[p] = build(&hnsw_ops, &parts_vectors[p], spaces[space].metric, "", pool);
    }
    merged.row_count = kept;
    blocks[8] = all;
    merged.blocks = &blocks[8];
    params_default(hnsw_ops.build_params, &params);
    if (hnsw_ops.merge(&merged, spaces[space].metric, &params, parts, (const uint32_t *const *)maps, part_count, &context,
                       &index) != VECDB_OK ||
        hnsw_ops.check(index) != VECDB_OK)
        fail_msg("merge: %s", error_last()->message);
    ask(index, &answer, &queries, 10, "ef=100");
    check_answer(&merged, spaces[space].metric, &answer, 0.95);
    answer_free(&answer);
    hnsw_ops.free(index);
    for (size_t p = 0; p < part_count; p++) {
        hnsw_ops.free(parts[p]);
        mem_free(data[p]);
        mem_free(maps[p]);
    }
    mem_free(all);
    test_rows_free(&rows);
}

static void test_merged(void **state)
{
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t s = 0; s < SPACES; s += 2)
        check_merge(&rng, s, 3000, 2, 0, false);
    check_merge(&rng, SPACES - 1, 2000, 2, 0.1, false);
    check_merge(&rng, 0, 4000, 3, 0.3, false);
    check_merge(&rng, 2, 4000, 2, 0.9, false);
    check_merge(&rng, 0, 3000, 2, 0.1, true);
    check_merge(&rng, 0, 40, 2, 0.1, true);
    check_merge(&rng, 0, 3000, 8, 0, false);
}

static void test_other_kinds(void **state)
{
    const struct index_ops *kinds[] = {&hnsw_sq_ops, &hnsw_pq_ops, &hnsw_prq_ops, &nsg_ops, &rnsg_ops};
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 24, 3030, TEST_CLUSTERS, 0, false);
    struct vectors queries = take_queries(&rows, 30);

    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct index *index = build(kinds[i], &rows.vectors, VECDB_METRIC_COSINE, "", pool);
        struct answer answer = {0};
        assert_ptr_equal(index->ops, kinds[i]);
        assert_ptr_equal(index_find(kinds[i]->name), kinds[i]);
        ask(index, &answer, &queries, 10, i < 3 ? "ef=80" : "search_length=80");
        check_answer(&rows.vectors, VECDB_METRIC_COSINE, &answer, 0.95);
        answer_free(&answer);
        kinds[i]->free(index);
    }
    test_rows_free(&rows);
}

static bool stop_at_once(void *context, const char *stage, uint64_t done, uint64_t total)
{
    size_t *left = context;

    return (*left)-- > 0;
}

static void test_cancelled(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct test_rows rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 16, 2000, TEST_CLUSTERS, 0, false);
    struct params params;

    (void)state;
    params_default(hnsw_ops.build_params, &params);
    for (size_t calls = 0; calls < 60; calls += 7) {
        size_t left = calls;
        struct index_build_context context = {.pool = pool, .progress = stop_at_once, .progress_context = &left};
        struct index *index;
        assert_int_equal(hnsw_ops.build(&rows.vectors, VECDB_METRIC_L2, &params, &context, &index), VECDB_ERR_CANCELLED);
        assert_null(index);
    }
    test_rows_free(&rows);
}

static int start(void **state)
{
    (void)state;
    return pool_create(2, &pool) == VECDB_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    pool_free(pool);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recall_of_all_spaces),
        cmocka_unit_test(test_integers_need_no_second_look),
        cmocka_unit_test(test_beginnings_of_codes),
        cmocka_unit_test(test_batches_answer_as_single_queries),
        cmocka_unit_test(test_few_rows),
        cmocka_unit_test(test_all_equal),
        cmocka_unit_test(test_islands),
        cmocka_unit_test(test_half_duplicates),
        cmocka_unit_test(test_an_outlier_and_idle_dimensions),
        cmocka_unit_test(test_lengths_that_differ),
        cmocka_unit_test(test_queries_of_another_distribution),
        cmocka_unit_test(test_queries_far_out),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_missing_values_are_never_found),
        cmocka_unit_test(test_radius),
        cmocka_unit_test(test_ef_below_k_is_refused),
        cmocka_unit_test(test_threads_do_not_matter),
        cmocka_unit_test(test_efs_beyond_all_calibrations),
        cmocka_unit_test(test_recall_asked_for),
        cmocka_unit_test(test_recall_of_several_calibrations),
        cmocka_unit_test(test_recall_asked_for_by_many),
        cmocka_unit_test(test_saved_and_opened),
        cmocka_unit_test(test_fused),
        cmocka_unit_test(test_grown_row_by_row),
        cmocka_unit_test(test_merged),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_cancelled),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
