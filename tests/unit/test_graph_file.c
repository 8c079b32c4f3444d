/* Graph files: every field broken one at a time is refused with a message, every legitimate index is taken, and nothing that
 * random damage does goes further than an error. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <math.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "index/hnsw.h"
#include "support/neighbours.h"

enum { HEADER = 512, HASH_AT = 240 };

static const struct index_ops *kind = &hnsw_ops; /* and then NSG, whose files have the same fields */

static void params_of_degree(uint32_t degree, struct params *params)
{
    char text[64];

    snprintf(text, sizeof text, kind == &hnsw_ops ? "M=%u" : "out_degree=%u", kind == &hnsw_ops ? degree / 2 : degree);
    assert_int_equal(params_parse("index", kind->build_params, NULL, text, params), VECDB_OK);
}

struct fixture {
    struct test_rows rows;
    vecdb_metric metric;
    struct buf saved;
    /* where things lie */
    size_t mean, codes, links, upper_codes, upper_links, upper_lower, chains;
    uint32_t degree, stride, upper;
};

static void fix_hash(uint8_t *h)
{
    memset(h + HASH_AT, 0, 8);
    store_u64(h + HASH_AT, XXH3_64bits(h, HEADER));
}

static void build_and_save(struct fixture *f)
{
    struct index_build_context context = {.seed = 9};
    struct params params;
    struct index *index;

    params_of_degree(16, &params);
    assert_int_equal(kind->build(&f->rows.vectors, f->metric, &params, &context, &index), VECDB_OK);
    assert_int_equal(kind->save(index, &f->saved), VECDB_OK);
    kind->free(index);
}

/* float rows with a codec that rotates not, some rows equal, some missing. */
static void make(struct fixture *f, vecdb_type type, vecdb_metric metric, size_t rows, bool equal, bool nulls)
{
    struct rng rng = rng_seeded(test_seed());
    size_t at;

    memset(f, 0, sizeof *f);
    f->metric = metric;
    f->rows = test_rows_make(&rng, type, 24, rows, TEST_CLUSTERS, 0, nulls);
    for (size_t i = 0; equal && i < rows / 2; i++)
        if (!nulls || (i % 7 != 3 && (i + rows / 2) % 7 != 3))
            memcpy(f->rows.data + (i + rows / 2) * f->rows.vectors.stride, f->rows.data + i * f->rows.vectors.stride,
                   f->rows.vectors.stride);
    build_and_save(f);
    f->degree = load_u32(f->saved.data + 40);
    f->stride = load_u32(f->saved.data + 88);
    f->upper = load_u32(f->saved.data + 200);
    f->mean = HEADER;
    at = HEADER + (type == VECDB_TYPE_BINARY_VECTOR ? 0 : load_u32(f->saved.data + 64) * 4);
    if (load_u32(f->saved.data + 68) & 2)
        at += load_u32(f->saved.data + 64) / 2;
    f->codes = align_up(at, 64);
    f->links = f->codes + align_up(rows * f->stride, 64);
    f->upper_codes = f->links + align_up(rows * f->degree * 4, 64);
    f->upper_links = f->upper_codes + align_up((size_t)f->upper * f->stride, 64);
    f->upper_lower = f->upper_links + align_up((size_t)f->upper * load_u32(f->saved.data + 204) * 4, 64);
    f->chains = f->saved.size - align_up(rows * 4, 64);
}

static void drop(struct fixture *f)
{
    buf_deinit(&f->saved);
    test_rows_free(&f->rows);
}

static vecdb_status try_open(const struct fixture *f, const uint8_t *data, size_t size)
{
    struct params params;
    struct index *index = NULL;
    vecdb_status status;

    params_default(kind->build_params, &params);
    status = kind->open(data, size, &f->rows.vectors, f->metric, &params, &index);
    assert_true((status == VECDB_OK) == (index != NULL));
    kind->free(index);
    return status;
}

/* The saved bytes, to be broken. */
static uint8_t *copy_that_opens(const struct fixture *f)
{
    uint8_t *data = mem_aligned_alloc(64, f->saved.size);

    assert_non_null(data);
    memcpy(data, f->saved.data, f->saved.size);
    assert_int_equal(try_open(f, data, f->saved.size), VECDB_OK);
    return data;
}

static size_t rejected;

/* The bytes with one change, and the header's hash put right unless told not to. */
static void expect_corrupt(const struct fixture *f, uint8_t *data, const char *words, int line)
{
    vecdb_status status = try_open(f, data, f->saved.size);

    if (status != VECDB_ERR_CORRUPT)
        fail_msg("line %d: status %d, not corrupt", line, (int)status);
    if (!strstr(error_last()->message, words))
        fail_msg("line %d: \"%s\" does not say \"%s\"", line, error_last()->message, words);
    rejected++;
    memcpy(data, f->saved.data, f->saved.size);
}

#define BREAK32(offset, value, words)                                                                                  \
    do {                                                                                                               \
        store_u32(data + (offset), (value));                                                                           \
        fix_hash(data);                                                                                                \
        expect_corrupt(&f, data, words, __LINE__);                                                                     \
    } while (0)

static void break_float(uint8_t *at, float value) { memcpy(at, &value, 4); }

#define BREAKF(offset, value, words)                                                                                   \
    do {                                                                                                               \
        break_float(data + (offset), (value));                                                                         \
        fix_hash(data);                                                                                                \
        expect_corrupt(&f, data, words, __LINE__);                                                                     \
    } while (0)

static void test_each_field_broken(void **state)
{
    struct fixture f;
    uint8_t *data;

    (void)state;
    make(&f, VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, 900, true, true);
    data = copy_that_opens(&f);

    BREAK32(0, 0x12345678, "begins with");
    BREAK32(4, 256, "header size");
    BREAK32(4, 0, "header size");
    BREAK32(8, (uint32_t)f.saved.size + 64, "says it has");
    BREAK32(8, 0, "says it has");
    BREAK32(12, 1, "says it has");
    BREAK32(16, 901, "segment has");
    BREAK32(16, 0, "segment has");
    BREAK32(20, 1, "segment has");
    BREAK32(24, VECDB_METRIC_IP, "metric");
    BREAK32(24, 77, "metric");
    BREAK32(28, VECDB_TYPE_INT8_VECTOR, "vector type");
    BREAK32(28, 0, "vector type");
    BREAK32(32, 25, "dim 25");
    BREAK32(32, 0, "dim 0");
    BREAK32(36, 900, "first row");
    BREAK32(36, UINT32_MAX, "layer 1");
    BREAK32(36, 3, "lies above"); /* has no value, and is not what the layers say */
    BREAK32(40, 3, "degree 3");
    BREAK32(40, 513, "degree 513");
    BREAK32(40, 18, "degree 16");
    BREAK32(44, 0, "efConstruction 0");
    BREAK32(44, UINT32_MAX, "efConstruction");
    BREAK32(56, 2, "refine 2");
    BREAK32(60, 1, "code kind 1");
    BREAK32(60, 2, "code kind 2");
    BREAK32(60, 99, "code kind 99");
    BREAK32(64, 128, "code dim");
    BREAK32(64, 0, "code dim");
    BREAK32(64, UINT32_MAX, "code dim");
    BREAK32(68, load_u32(data + 68) | 64, "flags");
    BREAK32(68, load_u32(data + 68) | 32, "order");
    BREAK32(68, load_u32(data + 68) | 4, "normalized");
    BREAK32(68, load_u32(data + 68) | 8, "more dimension");
    BREAK32(68, load_u32(data + 68) & ~16u, "after its end");
    BREAKF(72, 0, "step 0");
    BREAKF(72, -1, "step -1");
    BREAKF(72, NAN, "step");
    BREAKF(72, INFINITY, "step inf");
    BREAKF(76, INFINITY, "radius inf");
    BREAK32(84, 5, "5 layers");
    BREAK32(84, 7, "7 layers");
    BREAK32(88, 0, "code stride 0");
    BREAK32(88, 128, "code stride 128");
    BREAK32(92, 1, "calibration: ef 0");
    BREAK32(192, 899, "899 nodes");
    BREAK32(192, 901, "901 nodes");
    BREAK32(196, 8, "degree 8 in layer 0");
    BREAK32(196, 0, "degree 0 in layer 0");
    BREAK32(200, 0, "0 nodes in layer 1");
    BREAK32(200, 901, "901 nodes in layer 1");
    BREAK32(204, 16, "degree 16 in layer 1");
    BREAK32(208, 500, "500 nodes in layer 2");
    BREAK32(232, 50, "50 nodes in layer 5");
    BREAK32(236, 9, "degree 9 in layer 5");
    BREAK32(344, 65, "entry beam 65");
    BREAK32(348, 1, "lists");
    data[352] = 1;
    fix_hash(data);
    expect_corrupt(&f, data, "byte 352", __LINE__);
    BREAK32(364, 1, "but no dims");
    BREAKF(368, 1, "but no dims");
    BREAK32(360, 16, "entry by layer 0");
    BREAK32(372, 64, "without an order");
    BREAK32(376, 64, "without an order");
    BREAK32(380, 1, "1 independent answers of 0");
    data[384] = 1;
    fix_hash(data);
    expect_corrupt(&f, data, "byte 384", __LINE__);
    data[511] = 255;
    fix_hash(data);
    expect_corrupt(&f, data, "byte 511", __LINE__);
    data[48] ^= 1; /* and no new hash */
    expect_corrupt(&f, data, "hash", __LINE__);
    data[HASH_AT] ^= 1;
    expect_corrupt(&f, data, "hash", __LINE__);

    BREAKF(f.mean, NAN, "mean");
    BREAKF(f.mean + 23 * 4, INFINITY, "dimension 23");
    BREAK32(f.links, 900, "links to");
    BREAK32(f.links, 0x7FFFFFFF, "links to");
    BREAK32(f.links, 0, "itself");
    BREAK32(f.links + 5 * f.degree * 4 + 4, 5, "itself");
    BREAK32(f.links + 3 * f.degree * 4, 1, "no value"); /* row 3 is missing */
    BREAK32(f.links + (size_t)4 * f.degree * 4, UINT32_MAX, "past its end");
    BREAK32(f.upper_links, f.upper, "layer 1: node 0");
    BREAK32(f.upper_links + 4, 0, "itself");
    BREAK32(f.upper_lower, 1, "lies above");
    BREAK32(f.upper_lower + 4, 900, "lies above");
    BREAK32(f.upper_lower + 4, UINT32_MAX, "lies above");
    BREAK32(f.chains, 900, "chain");
    BREAK32(f.chains, 0, "ring");
    BREAK32(f.chains + 4 * 896, 450, "predecessor");
    BREAK32(f.chains + 4 * 3, 10, "chain");

    for (size_t size = 0; size < f.saved.size; size += size < HEADER ? 37 : f.saved.size / 23) {
        assert_int_equal(try_open(&f, data, size), VECDB_ERR_CORRUPT); /* cut off */
        rejected++;
    }
    assert_true(rejected > 80);
    mem_free(data);
    drop(&f);
}

static void test_calibration_broken(void **state)
{
    struct fixture f;
    uint8_t *data;

    (void)state;
    make(&f, VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, 900, false, false);
    /* as if it had been measured */
    store_u32(f.saved.data + 92, 100);
    for (size_t i = 0; i < 12; i++) {
        break_float(f.saved.data + 96 + 8 * i, (float)(i + 10));
        break_float(f.saved.data + 100 + 8 * i, (float)i / 12);
        break_float(f.saved.data + 248 + 8 * i, (float)(i + 1) / 24);
        break_float(f.saved.data + 252 + 8 * i, (float)i / 12);
    }
    fix_hash(f.saved.data);
    data = copy_that_opens(&f);
    BREAKF(96, 0, "ef 0 in step 0");
    BREAKF(104, 10, "ef 10 in step 1");
    BREAKF(96 + 88, 1e9f, "in step 11");
    BREAKF(100, -0.5f, "recall -0.5");
    BREAKF(100, 1.5f, "recall 1.5");
    BREAKF(108, NAN, "recall");
    BREAKF(116, 0, "recall 0 in step 2");
    BREAKF(248, -2, "gamma -2");
    BREAKF(256, NAN, "gamma");
    BREAKF(264, 0.01f, "gamma 0.01 in step 2");
    BREAKF(252 + 88, 2, "recall 2 in step 11 of gamma");
    BREAK32(380, 99, "99 independent answers of 100");
    BREAK32(380, 1001, "1001 independent answers of 100");
    BREAK32(380, UINT32_MAX, "4294967295 independent answers");
    for (size_t i = 0; i < 2; i++) {
        store_u32(data + 380, i ? 1000 : 100);
        fix_hash(data);
        assert_int_equal(try_open(&f, data, f.saved.size), VECDB_OK);
    }
    mem_free(data);
    drop(&f);
}

/* The table that searches begin by, in an index large enough to have one; and a file from before there was one. */
static void test_entry_broken(void **state)
{
    struct fixture f;
    uint8_t *data;
    size_t entry, after;

    (void)state;
    make(&f, VECDB_TYPE_FLOAT_VECTOR, VECDB_METRIC_L2, 6000, false, false);
    assert_int_equal(load_u32(f.saved.data + 360), 16);
    entry = f.codes;
    for (size_t e = 0; e < 6; e++) {
        size_t nodes = load_u32(f.saved.data + 192 + 8 * e);
        entry += align_up(nodes * f.stride, 64) + align_up(nodes * load_u32(f.saved.data + 196 + 8 * e) * 4, 64);
        entry += e ? align_up(nodes * 4, 64) : 0;
    }
    after = entry + 64 + 16 * load_u32(f.saved.data + 64);
    data = copy_that_opens(&f);
    BREAK32(360, 0, "but no dims");
    BREAK32(360, 15, "entry of 15 dims");
    BREAK32(360, 20, "entry of 20 dims");
    BREAK32(360, UINT32_MAX, "entry of 4294967295 dims");
    BREAK32(364, 0, "entry by layer 0");
    BREAK32(364, 6, "entry by layer 6");
    BREAK32(364, UINT32_MAX, "entry by layer");
    BREAKF(368, NAN, "entry scale");
    BREAKF(368, INFINITY, "entry scale inf");
    BREAKF(entry, NAN, "entry offset");
    BREAKF(entry + 15 * 4, -INFINITY, "dimension 15");
    store_u32(data + 360, 0);
    store_u32(data + 364, 0);
    store_u32(data + 368, 0);
    memmove(data + entry, data + after, f.saved.size - after);
    store_u64(data + 8, f.saved.size - (after - entry));
    fix_hash(data);
    assert_int_equal(try_open(&f, data, f.saved.size - (after - entry)), VECDB_OK);
    mem_free(data);
    drop(&f);
}

/* Codes whose dimensions are ordered. */
static void test_order_broken(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct fixture f = {.metric = VECDB_METRIC_L2};
    uint8_t *data;
    size_t order = HEADER + 320 * 4;

    (void)state;
    f.rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, 300, 900, TEST_UNEVEN, 0, false);
    build_and_save(&f);
    data = copy_that_opens(&f);
    assert_true(load_u32(data + 68) & 32);
    BREAK32(order, 300, "dimension 300 in place 0");
    BREAK32(order, UINT32_MAX, "in place 0");
    BREAK32(order + 4, load_u32(data + order), "in place 1 of");
    BREAK32(order + 299 * 4, load_u32(data + order), "in place 299");
    BREAK32(372, 0, "begin with 0");
    BREAK32(372, 100, "begin with 100");
    BREAK32(372, 384, "begin with 384");
    BREAK32(376, 0, "and 0");
    BREAK32(376, 100, "and 100");
    BREAK32(376, 384, "and 384");
    BREAK32(376, UINT32_MAX, "and 4294967295");
    BREAK32(68, load_u32(data + 68) & ~32u, "without an order");
    mem_free(data);
    drop(&f);
}

/* Whatever a few flipped bytes do, even behind a header that fits, a search of what opens stays within bounds. */
static void test_random_damage(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    vecdb_metric metrics[] = {VECDB_METRIC_L2, VECDB_METRIC_COSINE, VECDB_METRIC_HAMMING};
    size_t opened = 0;

    (void)state;
    for (size_t m = 0; m < 3; m++) {
        struct fixture f;
        uint8_t *data;
        make(&f, m == 2 ? VECDB_TYPE_BINARY_VECTOR : VECDB_TYPE_FLOAT_VECTOR, metrics[m], 300, true, true);
        data = mem_aligned_alloc(64, f.saved.size);
        for (size_t round = 0; round < 400; round++) {
            struct params params, search_params;
            struct index *index = NULL;
            memcpy(data, f.saved.data, f.saved.size);
            for (size_t i = 0; i < 1 + rng_below(&rng, 3); i++)
                data[rng_below(&rng, round % 2 ? f.saved.size : HEADER)] ^= (uint8_t)(1 + rng_below(&rng, 255));
            fix_hash(data);
            params_default(kind->build_params, &params);
            params_default(kind->search_params, &search_params);
            if (kind->open(data, f.saved.size, &f.rows.vectors, f.metric, &params, &index) == VECDB_OK) {
                struct hit hits[10];
                size_t count;
                struct index_counters counters = {0};
                struct index_search search = {.queries = f.rows.data, .query_count = 1, .query_stride = f.rows.vectors.stride,
                                              .k = 10, .params = &search_params};
                opened++;
                assert_int_equal(kind->search(index, &search, hits, &count, &counters), VECDB_OK);
                for (size_t i = 0; i < count; i++)
                    assert_true(hits[i].row < 300 && bitmap_get(f.rows.vectors.present, hits[i].row));
                kind->free(index);
            }
        }
        mem_free(data);
        drop(&f);
    }
    assert_true(opened > 50); /* codes may be anything */
}

static void test_legitimate_indexes_are_taken(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    vecdb_type types[] = {VECDB_TYPE_FLOAT_VECTOR, VECDB_TYPE_FLOAT16_VECTOR, VECDB_TYPE_INT8_VECTOR, VECDB_TYPE_BINARY_VECTOR};
    enum test_shape shapes[] = {TEST_CLUSTERS, TEST_INTEGERS, TEST_CONSTANT, TEST_OFFSET};
    const char *text = getenv("VECDB_TEST_ROUNDS");
    size_t rounds = text ? (size_t)atol(text) : 500;

    (void)state;
    for (size_t round = 0; round < rounds; round++) {
        vecdb_type type = types[rng_below(&rng, 4)];
        vecdb_metric metric = type == VECDB_TYPE_BINARY_VECTOR ? (rng_below(&rng, 2) ? VECDB_METRIC_HAMMING : VECDB_METRIC_JACCARD)
                                                               : (vecdb_metric)(1 + rng_below(&rng, 3));
        size_t n = rng_below(&rng, 4) ? rng_below(&rng, 5) : rng_below(&rng, round % 128 ? 300 : 6000), all = n;
        uint32_t dim = 8 * (uint32_t)(1 + rng_below(&rng, 12));
        struct test_rows rows = test_rows_make(&rng, type, dim, n, shapes[rng_below(&rng, 4)], 0, rng_below(&rng, 3) == 0);
        struct index_build_context context = {.seed = rng_next(&rng)};
        struct params params;
        struct index *index = NULL, *opened = NULL;
        struct buf saved = {0};
        uint8_t *data;
        params_of_degree(2 * (uint32_t)((kind == &hnsw_ops ? 2 : 3) + rng_below(&rng, 40)), &params);
        if (rng_below(&rng, 4) == 0) /* the rest comes later */
            rows.vectors.row_count = rng_below(&rng, n + 1);
        assert_int_equal(kind->build(&rows.vectors, metric, &params, &context, &index), VECDB_OK);
        if (rows.vectors.row_count < all) {
            rows.vectors.row_count = all;
            assert_int_equal(kind->add(index, &rows.vectors, &context), VECDB_OK);
        }
        if (kind->check(index) != VECDB_OK || kind->save(index, &saved) != VECDB_OK)
            fail_msg("round %zu: %s", round, error_last()->message);
        data = mem_aligned_alloc(64, saved.size);
        memcpy(data, saved.data, saved.size);
        if (kind->open(data, saved.size, &rows.vectors, metric, &params, &opened) != VECDB_OK || kind->check(opened) != VECDB_OK)
            fail_msg("round %zu: %s", round, error_last()->message);
        kind->free(index);
        kind->free(opened);
        mem_free(data);
        buf_deinit(&saved);
        test_rows_free(&rows);
    }
}

static int use_nsg(void **state)
{
    (void)state;
    kind = &nsg_ops;
    rejected = 0;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_field_broken),
        cmocka_unit_test(test_calibration_broken),
        cmocka_unit_test(test_entry_broken),
        cmocka_unit_test(test_order_broken),
        cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_legitimate_indexes_are_taken),
    };

    int failed = cmocka_run_group_tests_name("HNSW", tests, NULL, NULL);

    return failed + cmocka_run_group_tests_name("NSG", tests, use_nsg, NULL);
}
