/* Merging IVF indexes: what was learned is kept while the rows lie where they lay, and learned anew when they moved. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/neighbours.h"

#include "base/mem.h"
#include "index/ivf_state.h"

#include <stdlib.h>
#include <string.h>

#define DIM 32
#define ROWS 4000
#define FIRST 2500 /* rows of the first part; the second has the others */

static const char *const kinds[][2] = {
    {"IVF_FLAT", "nlist=40"}, {"IVF_SQ8", "nlist=40"},  {"IVF_PQ", "nlist=40"}, {"IVF_PQ", "nlist=40, m=8, nbits=8, rotation=fht"},
    {"IVF_RABITQ", "nlist=40"}, {"SCANN", "nlist=40"}, {"IVF_PQ", "nlist=40, refine_type=sq8"},
};
#define KINDS (sizeof kinds / sizeof kinds[0])

static struct params parse(const char *kind, const char *text)
{
    struct params params;

    if (params_parse(kind, index_find(kind)->build_params, index_find(kind)->search_params, text, &params) != VECDB_OK)
        fail_msg("%s %s: %s", kind, text, error_last()->message);
    return params;
}

/* The rows first .. last - 1 by themselves. */
static struct vectors stretch(const struct test_rows *data, size_t first, size_t last, const uint8_t **block)
{
    struct vectors vectors = data->vectors;

    *block = data->data + first * data->vectors.stride;
    vectors.blocks = block;
    vectors.block_shift = 40;
    vectors.row_count = last - first;
    return vectors;
}

struct merged {
    struct index *parts[2], *index;
    const uint8_t *blocks[2];
};

/* Two parts, and what they are merged to: the second part's rows behind the first's, every 7th row dropped. kept: receives them. */
static struct merged merge(const struct test_rows *data, const char *kind, const char *text, const char *merged_text,
                           struct test_rows *kept)
{
    const struct index_ops *ops = index_find(kind);
    struct index_build_context context = {.seed = 7};
    struct params params = parse(kind, text);
    uint32_t *maps[2] = {mem_array_alloc(ROWS, 4), mem_array_alloc(ROWS, 4)};
    struct merged merged = {0};
    size_t count = 0;

    for (size_t row = 0; row < ROWS; row++) {
        uint32_t *to = row < FIRST ? &maps[0][row] : &maps[1][row - FIRST];
        *to = row % 7 == 3 ? UINT32_MAX : (uint32_t)count;
        if (row % 7 != 3)
            memcpy(kept->data + count++ * kept->vectors.stride, data->data + row * data->vectors.stride, data->vectors.stride);
    }
    kept->vectors.row_count = count;
    for (size_t i = 0; i < 2; i++) {
        struct vectors part = stretch(data, i ? FIRST : 0, i ? ROWS : FIRST, &merged.blocks[i]);
        assert_int_equal(ops->build(&part, VECDB_METRIC_L2, &params, &context, &merged.parts[i]), VECDB_OK);
    }
    params = parse(kind, merged_text);
    if (ops->merge(&kept->vectors, VECDB_METRIC_L2, &params, merged.parts, (const uint32_t *const *)maps, 2, &context,
                   &merged.index) != VECDB_OK)
        fail_msg("%s %s: %s", kind, merged_text, error_last()->message);
    assert_int_equal(merged.index->ops->check(merged.index), VECDB_OK);
    mem_free(maps[0]);
    mem_free(maps[1]);
    return merged;
}

/* Whether all that was learned is byte for byte what the first part has. */
static bool learned_alike(const struct merged *merged)
{
    struct ivf a = *(struct ivf *)merged->index, b = *(struct ivf *)merged->parts[0];
    size_t size = ivf_state_layout(&a, NULL);

    return size == ivf_state_layout(&b, NULL) && memcmp(a.state, b.state, size) == 0;
}

/* Centroids that are those of the first part: lists that come out too long are cut even where nothing is trained. */
static size_t centroids_kept(const struct merged *merged)
{
    const struct ivf *a = (const struct ivf *)merged->index, *b = (const struct ivf *)merged->parts[0];
    size_t kept = 0, size = a->coder.code_dim * sizeof(float);

    for (size_t i = 0; i < a->list_count && i < b->list_count; i++)
        kept += memcmp(a->centroids + i * a->coder.code_dim, b->centroids + i * b->coder.code_dim, size) == 0;
    return kept;
}

static double recall(const struct merged *merged, const struct test_rows *kept, const char *kind)
{
    struct params params = parse(kind, "nprobe=40");
    struct index_search search = {.queries = kept->data, .query_count = 30, .k = 10, .query_stride = kept->vectors.stride,
                                  .params = &params};
    struct hit hits[300];
    size_t counts[30];

    params_parse(kind, index_find(kind)->search_params, index_find(kind)->build_params, "nprobe=40", &params);
    assert_int_equal(merged->index->ops->search(merged->index, &search, hits, counts, NULL), VECDB_OK);
    return test_recall(&kept->vectors, VECDB_METRIC_L2, &search, hits, counts);
}

static void merged_free(struct merged *merged)
{
    merged->index->ops->free(merged->index);
    merged->parts[0]->ops->free(merged->parts[0]);
    merged->parts[1]->ops->free(merged->parts[1]);
}

static void kept_while_nothing_moved(void **state)
{
    struct rng rng = rng_seeded(test_seed());

    for (int shape = TEST_CLUSTERS; shape <= TEST_INTEGERS; shape++) {
        struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, (enum test_shape)shape, 0, false);
        struct test_rows kept = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, (enum test_shape)shape, 0, false);
        for (size_t i = 0; i < KINDS; i++) {
            struct merged merged = merge(&data, kinds[i][0], kinds[i][1], kinds[i][1], &kept);
            if (!learned_alike(&merged))
                fail_msg("%s %s: trained again, and nothing moved", kinds[i][0], kinds[i][1]);
            assert_true(recall(&merged, &kept, kinds[i][0]) >= (strcmp(kinds[i][0], "IVF_FLAT") == 0 ? 1 : 0.9));
            merged_free(&merged);
        }
        test_rows_free(&data);
        test_rows_free(&kept);
    }
}

static void learned_anew_when_rows_moved(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 1);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CLUSTERS, 0, false);
    struct test_rows kept = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CLUSTERS, 0, false);
    float *values = (float *)(void *)data.data;

    for (size_t i = FIRST * DIM; i < ROWS * DIM; i++)
        values[i] = 40 - 3 * values[i];
    for (size_t i = 0; i < KINDS; i++) {
        struct merged merged = merge(&data, kinds[i][0], kinds[i][1], kinds[i][1], &kept);
        if (centroids_kept(&merged) > 0)
            fail_msg("%s %s: not trained again, and half of the rows moved", kinds[i][0], kinds[i][1]);
        assert_true(recall(&merged, &kept, kinds[i][0]) >= (strcmp(kinds[i][0], "IVF_FLAT") == 0 ? 1 : 0.85));
        merged_free(&merged);
    }
    test_rows_free(&data);
    test_rows_free(&kept);
}

/* Other parameters than the parts have: as if built. */
static void learned_anew_for_other_parameters(void **state)
{
    static const char *const changed[][3] = {{"IVF_FLAT", "nlist=40", "nlist=41"},
                                             {"IVF_FLAT", "", "nlist=40"},
                                             {"IVF_PQ", "nlist=40", "nlist=40, m=8"},
                                             {"IVF_PQ", "nlist=40, m=8, nbits=8", "nlist=40, m=16, nbits=4"},
                                             {"IVF_RABITQ", "nlist=40", "nlist=40, rbq_bits=7"},
                                             {"IVF_RABITQ", "nlist=40", "nlist=40, refine=false"}};
    struct rng rng = rng_seeded(test_seed() + 2);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CLUSTERS, 0, false);
    struct test_rows kept = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CLUSTERS, 0, false);

    for (size_t i = 0; i < sizeof changed / sizeof changed[0]; i++) {
        struct merged merged = merge(&data, changed[i][0], changed[i][1], changed[i][2], &kept);
        struct params params = parse(changed[i][0], changed[i][2]);
        struct index_build_context context = {.seed = 7};
        struct index *built;
        struct buf a = {0}, b = {0};
        assert_int_equal(index_find(changed[i][0])->build(&kept.vectors, VECDB_METRIC_L2, &params, &context, &built), VECDB_OK);
        assert_int_equal(built->ops->save(built, &a), VECDB_OK);
        assert_int_equal(built->ops->save(merged.index, &b), VECDB_OK);
        assert_int_equal(a.size, b.size);
        assert_memory_equal(a.data, b.data, a.size);
        buf_deinit(&a);
        buf_deinit(&b);
        built->ops->free(built);
        merged_free(&merged);
    }
    test_rows_free(&data);
    test_rows_free(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_while_nothing_moved),
        cmocka_unit_test(learned_anew_when_rows_moved),
        cmocka_unit_test(learned_anew_for_other_parameters),
    };

    return cmocka_run_group_tests_name("ivf_merge", tests, NULL, NULL);
}
