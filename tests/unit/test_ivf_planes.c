/* Bytes in two planes: whatever is asked, the answers are those of a full scan; and files that are damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/neighbours.h"

#include "base/mem.h"
#include "index/ivf_planes.h"
#include "index/ivf_state.h"

#include <stdlib.h>
#include <string.h>

#define DIM 140
#define ROWS 3000

/* Whole numbers, most of them nearly the same in every second dimension. */
static struct test_rows make_rows(struct rng *rng, bool nulls)
{
    struct test_rows data = test_rows_make(rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_INTEGERS, 0, nulls);
    float *values = (float *)(void *)data.data;

    for (size_t i = 0; i < ROWS * DIM; i++)
        if (i % DIM % 2)
            values[i] = 200 + (float)((int)values[i] % 8);
    return data;
}

static struct index *build(const char *kind, const char *text, const struct vectors *vectors, vecdb_metric metric)
{
    const struct index_ops *ops = index_find(kind);
    struct index_build_context context = {.seed = 7};
    struct params params;
    struct index *index = NULL;

    assert_int_equal(params_parse(kind, ops->build_params, ops->search_params, text, &params), VECDB_OK);
    if (ops->build(vectors, metric, &params, &context, &index) != VECDB_OK)
        fail_msg("%s %s: %s", kind, text, error_last()->message);
    return index;
}

static uint32_t ahead_of(const struct index *index) { return ((const struct ivf *)index)->coder.ahead; }

/* Ask, and compare with a scan of all rows. nprobe: all lists. */
static struct index_counters ask(const struct index *index, const struct vectors *vectors, struct index_search search)
{
    struct index_counters counters = {0};
    struct params params;
    struct hit *hits = mem_zalloc(search.query_count * search.k * sizeof *hits);
    size_t *counts = mem_zalloc(search.query_count * sizeof *counts);

    assert_int_equal(params_parse("search", index->ops->search_params, index->ops->build_params, "nprobe=12", &params),
                     VECDB_OK);
    search.params = &params;
    assert_int_equal(index->ops->search(index, &search, hits, counts, &counters), VECDB_OK);
    for (size_t q = 0; q < search.query_count; q++)
        test_check_exact(vectors, VECDB_METRIC_L2, &search, q, hits + q * search.k, counts[q]);
    mem_free(hits);
    mem_free(counts);
    return counters;
}

/* Alone, a few together, and in a batch that is multiplied; bytes and not; filters; ranges. */
static void ask_everything(struct rng *rng, const struct index *index, const struct vectors *vectors,
                           const struct test_rows *asked)
{
    static const double shares[] = {0.01, 0.45, 0.9};
    static const size_t counts[] = {1, 5, 40};
    struct test_rows halves = test_rows_make(rng, VECDB_TYPE_FLOAT_VECTOR, DIM, 40, TEST_CLUSTERS, 0, false);
    float *values = (float *)(void *)halves.data;

    for (size_t i = 0; i < 40 * DIM; i++)
        values[i] = ((const float *)(const void *)asked->data)[i] + 0.4f;
    for (size_t c = 0; c < 3; c++) {
        for (int bytes = 0; bytes < 2; bytes++) {
            struct index_search search = {.queries = bytes ? asked->data : halves.data, .query_count = counts[c], .k = 10,
                                          .query_stride = DIM * sizeof(float)};
            ask(index, vectors, search);
            search.k = 400; /* more than a chunk stays behind */
            ask(index, vectors, search);
            search.k = 200;
            search.has_radius = true;
            search.radius = 60 * DIM;
            ask(index, vectors, search);
            search.has_radius = false;
            search.k = 10;
            for (size_t s = 0; s < 3; s++) {
                uint64_t *allowed = test_bitmap(rng, vectors->row_count, shares[s], &search.allowed_count);
                search.allowed = allowed;
                ask(index, vectors, search);
                mem_free(allowed);
            }
        }
    }
    test_rows_free(&halves);
}

static void answers_are_exact(void **state)
{
    static const char *const kinds[] = {"IVF_FLAT", "IVF_SQ8"};
    struct rng rng = rng_seeded(test_seed());
    struct test_rows asked = make_rows(&rng, false);

    for (size_t i = 0; i < 2; i++) {
        struct test_rows data = make_rows(&rng, i == 1);
        struct index *index = build(kinds[i], "nlist=12", &data.vectors, VECDB_METRIC_L2);
        assert_int_equal(ahead_of(index), 64);
        ask_everything(&rng, index, &data.vectors, &asked);
        assert_int_equal(index->ops->check(index), VECDB_OK);
        index->ops->free(index);
        test_rows_free(&data);
    }
    test_rows_free(&asked);
}

/* No part of the dimensions tells enough, or the metric is another: one piece. */
static void only_where_it_pays(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 1);
    struct test_rows even = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_INTEGERS, 0, false);
    struct test_rows data = make_rows(&rng, false), floats = make_rows(&rng, false);
    struct test_rows alike = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CONSTANT, 0, false);
    const struct {
        const struct vectors *vectors;
        vecdb_metric metric;
    } cases[] = {{&even.vectors, VECDB_METRIC_L2},
                 {&data.vectors, VECDB_METRIC_IP},
                 {&data.vectors, VECDB_METRIC_COSINE},
                 {&floats.vectors, VECDB_METRIC_L2},
                 {&alike.vectors, VECDB_METRIC_L2}};

    ((float *)(void *)floats.data)[17] = 0.5f;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct index *index = build("IVF_SQ8", "nlist=12", cases[i].vectors, cases[i].metric);
        assert_int_equal(ahead_of(index), 0);
        index->ops->free(index);
    }
    test_rows_free(&even);
    test_rows_free(&data);
    test_rows_free(&floats);
    test_rows_free(&alike);
}

static void grows_and_is_stored(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 2);
    struct test_rows data = make_rows(&rng, false), asked = make_rows(&rng, false);
    struct vectors some = data.vectors;
    struct index_build_context context = {.seed = 7};
    struct index *index, *again;
    struct params params;
    struct buf out = {0};

    some.row_count = ROWS - 700;
    index = build("IVF_SQ8", "nlist=12", &some, VECDB_METRIC_L2);
    for (some.row_count = ROWS - 500; some.row_count <= ROWS; some.row_count += 100)
        assert_int_equal(index->ops->add(index, &some, &context), VECDB_OK);
    ask_everything(&rng, index, &data.vectors, &asked);
    params_default(index->ops->build_params, &params);
    assert_int_equal(index->ops->save(index, &out), VECDB_OK);
    uint8_t *copy = mem_aligned_alloc(64, out.size);
    memcpy(copy, out.data, out.size);
    assert_int_equal(index->ops->open(copy, out.size, &data.vectors, VECDB_METRIC_L2, &params, &again), VECDB_OK);
    assert_int_equal(ahead_of(again), 64);
    ask_everything(&rng, again, &data.vectors, &asked);
    assert_int_equal(again->ops->check(again), VECDB_OK);
    again->ops->free(again);
    index->ops->free(index);
    mem_free(copy);
    buf_deinit(&out);
    test_rows_free(&data);
    test_rows_free(&asked);
}

/* Offsets of the header (format.md): flags, dimensions ahead; the order of dimensions is the end of what precedes the lists. */
#define FLAGS_AT 24
#define AHEAD_AT 116

static void damage_is_refused(void **state)
{
    static const uint32_t wrong[] = {0, 2, 66, 140, 144, 4096, 0xFFFFFFFF};
    struct rng rng = rng_seeded(test_seed() + 3);
    struct test_rows data = make_rows(&rng, false);
    struct index *index = build("IVF_SQ8", "nlist=12", &data.vectors, VECDB_METRIC_L2), *again;
    const struct index_ops *ops = index->ops;
    struct ivf state_of = *(struct ivf *)index;
    size_t order = 192 + 64 + ivf_state_layout(&state_of, NULL) - align_up(DIM * 2, 64);
    struct params params;
    struct buf out = {0};
    uint32_t flags;
    uint16_t dims[DIM];

    params_default(ops->build_params, &params);
    assert_int_equal(ops->save(index, &out), VECDB_OK);
    ops->free(index);
    uint8_t *copy = mem_aligned_alloc(64, out.size);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        memcpy(copy, out.data, out.size);
        memcpy(copy + AHEAD_AT, &wrong[i], 4);
        assert_int_equal(ops->open(copy, out.size, &data.vectors, VECDB_METRIC_L2, &params, &again), VECDB_ERR_CORRUPT);
    }
    memcpy(copy, out.data, out.size);
    memcpy(&flags, copy + FLAGS_AT, 4);
    assert_true(flags & 32);
    flags &= ~32u;
    memcpy(copy + FLAGS_AT, &flags, 4);
    assert_int_equal(ops->open(copy, out.size, &data.vectors, VECDB_METRIC_L2, &params, &again), VECDB_ERR_CORRUPT);
    memcpy(dims, out.data + order, sizeof dims);
    assert_true(planes_order_valid(dims, DIM));
    for (int i = 0; i < 3; i++) { /* twice, none of them, and far beyond */
        memcpy(copy, out.data, out.size);
        dims[5] = i == 0 ? dims[6] : i == 1 ? DIM : 0xFFFF;
        memcpy(copy + order, dims, sizeof dims);
        assert_int_equal(ops->open(copy, out.size, &data.vectors, VECDB_METRIC_L2, &params, &again), VECDB_ERR_CORRUPT);
        assert_non_null(strstr(error_last()->message, "order"));
    }
    for (int round = 0; round < 200; round++) { /* anything anywhere: refused or harmless */
        struct index_search search = {.queries = data.data, .query_count = 1 + round % 12, .k = 5,
                                      .query_stride = DIM * sizeof(float), .params = &params};
        struct hit hits[60];
        size_t counts[12];
        memcpy(copy, out.data, out.size);
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--)
            copy[rng_below(&rng, out.size)] = (uint8_t)rng_next(&rng);
        if (ops->open(copy, out.size, &data.vectors, VECDB_METRIC_L2, &params, &again) != VECDB_OK)
            continue;
        params_default(ops->search_params, &params);
        assert_int_equal(ops->search(again, &search, hits, counts, NULL), VECDB_OK);
        params_default(ops->build_params, &params);
        again->ops->check(again);
        ops->free(again);
    }
    mem_free(copy);
    buf_deinit(&out);
    test_rows_free(&data);
}

/* What the larger part has learned is kept, the order of dimensions with it. */
static void merges_in_the_order_of_the_largest(void **state)
{
    enum { FIRST = 2000 };
    struct rng rng = rng_seeded(test_seed() + 9);
    struct test_rows data = make_rows(&rng, false), asked = make_rows(&rng, false);
    const struct index_ops *ops = index_find("IVF_SQ8");
    struct index_build_context context = {.seed = 7};
    struct params params;
    struct index *parts[2], *merged;
    const uint8_t *blocks[2] = {data.data, data.data + FIRST * data.vectors.stride};
    uint32_t *maps[2] = {mem_array_alloc(ROWS, 4), mem_array_alloc(ROWS, 4)};

    for (size_t i = 0; i < 2; i++) {
        struct vectors part = data.vectors;
        part.blocks = &blocks[i];
        part.block_shift = 40;
        part.row_count = i ? ROWS - FIRST : FIRST;
        for (uint32_t row = 0; row < ROWS; row++)
            maps[i][row] = row + (i ? FIRST : 0);
        parts[i] = build("IVF_SQ8", "nlist=12", &part, VECDB_METRIC_L2);
    }
    assert_int_equal(params_parse("IVF_SQ8", ops->build_params, ops->search_params, "nlist=12", &params), VECDB_OK);
    assert_int_equal(ops->merge(&data.vectors, VECDB_METRIC_L2, &params, parts, (const uint32_t *const *)maps, 2, &context, &merged),
                     VECDB_OK);
    assert_int_equal(ahead_of(merged), ahead_of(parts[0]));
    assert_memory_equal(((struct ivf *)merged)->order, ((struct ivf *)parts[0])->order, DIM * sizeof(uint16_t));
    ask_everything(&rng, merged, &data.vectors, &asked);
    for (size_t i = 0; i < 2; i++) {
        ops->free(parts[i]);
        mem_free(maps[i]);
    }
    ops->free(merged);
    test_rows_free(&data);
    test_rows_free(&asked);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_exact),
        cmocka_unit_test(only_where_it_pays),
        cmocka_unit_test(grows_and_is_stored),
        cmocka_unit_test(damage_is_refused),
        cmocka_unit_test(merges_in_the_order_of_the_largest),
    };

    return cmocka_run_group_tests_name("ivf_planes", tests, NULL, NULL);
}
