/* So many lists that they are found by groups of them: nearly the nearest ones, all of them when all are asked for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/neighbours.h"

#include "base/mem.h"
#include "index/ivf_job.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIM = 24, ROWS = 33000, LISTS = 2048, QUERIES = 60, WANT = 20 };

static struct index *build(const char *kind, const struct vectors *vectors, vecdb_metric metric, const char *text)
{
    const struct index_ops *ops = index_find(kind);
    struct index_build_context context = {.seed = 7};
    struct params params;
    struct index *index = NULL;

    assert_int_equal(params_parse("test", ops->build_params, NULL, text, &params), VECDB_OK);
    assert_int_equal(ops->build(vectors, metric, &params, &context, &index), VECDB_OK);
    return index;
}

/* Of the WANT nearest lists by their terms, how many are found; and terms are what they say. */
static size_t lists_found(const struct ivf *ivf, const float *query, const struct hit *lists)
{
    float terms[LISTS], sorted[WANT + 1];
    size_t kept = 0, found = 0;

    for (size_t list = 0; list < LISTS; list++) {
        double sum = 0;
        for (size_t i = 0; i < DIM; i++) {
            double x = ivf->coder.l2 ? query[i] - ivf->centroids[list * DIM + i] : 0;
            sum += ivf->coder.l2 ? x * x : -(double)query[i] * ivf->centroids[list * DIM + i];
        }
        terms[list] = (float)sum;
        size_t at = kept < WANT ? kept++ : WANT;
        for (; at > 0 && sorted[at - 1] > terms[list]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = terms[list];
    }
    for (size_t i = 0; i < WANT; i++) {
        assert_true(fabsf(lists[i].distance - terms[lists[i].row]) <= 1e-4f * (fabsf(terms[lists[i].row]) + 1));
        assert_true(i == 0 || lists[i].distance >= lists[i - 1].distance);
        found += terms[lists[i].row] <= sorted[WANT - 1];
    }
    return found;
}

static void nearest_lists_are_found(void **state)
{
    static const vecdb_metric metrics[] = {VECDB_METRIC_L2, VECDB_METRIC_COSINE};
    struct rng rng = rng_seeded(test_seed());
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CLUSTERS, 0, false);

    for (size_t m = 0; m < 2; m++) {
        struct index *index = build("IVF_FLAT", &data.vectors, metrics[m], "nlist=2048");
        const struct ivf *ivf = (const struct ivf *)index;
        struct index_search search = {.queries = data.data, .query_count = QUERIES, .query_stride = DIM * sizeof(float), .k = 10};
        float *floats = mem_aligned_alloc(64, QUERIES * DIM * sizeof *floats);
        struct hit *lists = mem_alloc(QUERIES * WANT * sizeof *lists), *all = mem_alloc(LISTS * sizeof *all), one[WANT];
        size_t found = 0;
        uint64_t seen[LISTS / 64] = {0};

        assert_true(ivf->grouped);
        assert_true(ivf_groups_wanted(ivf, 1) >= 1 && ivf_groups_wanted(ivf, WANT) < 40 && ivf_groups_wanted(ivf, LISTS) == 45);
        for (size_t q = 0; q < QUERIES; q++)
            coder_floats(&ivf->coder, data.data + q * DIM * sizeof(float), floats + q * DIM);
        assert_int_equal(ivf_coarse(ivf, floats, QUERIES, WANT, &search, lists), VECDB_OK);
        for (size_t q = 0; q < QUERIES; q++) {
            found += lists_found(ivf, floats + q * DIM, lists + q * WANT);
            assert_int_equal(ivf_coarse(ivf, floats + q * DIM, 1, WANT, &search, one), VECDB_OK);
            for (size_t i = 0; i < WANT; i++) /* one by one as in a batch */
                assert_true(fabsf(one[i].distance - lists[q * WANT + i].distance) <= 1e-4f * (fabsf(one[i].distance) + 1));
        }
        if (found < 0.9 * QUERIES * WANT)
            fail_msg("metric %d: %zu of %d nearest lists are found", (int)metrics[m], found, QUERIES * WANT);
        assert_int_equal(ivf_coarse(ivf, floats, 1, LISTS, &search, all), VECDB_OK);
        for (size_t i = 0; i < LISTS; i++)
            bitmap_set(seen, all[i].row);
        assert_int_equal(bitmap_count(seen, LISTS), LISTS);
        mem_free(floats);
        mem_free(lists);
        mem_free(all);
        index->ops->free(index);
    }
    test_rows_free(&data);
}

/* Answers: exact with all lists, and the same from a file. */
static void answers_hold(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 1);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CLUSTERS, 0, false);
    struct index *index = build("IVF_FLAT", &data.vectors, VECDB_METRIC_L2, "nlist=2048"), *again;
    const struct index_ops *ops = index->ops;
    struct buf stored = {0};
    uint8_t *copy;
    struct params params;
    struct hit hits[2][QUERIES * 10];
    size_t counts[2][QUERIES];
    struct index_search search = {.queries = data.data, .query_count = QUERIES, .query_stride = DIM * sizeof(float), .k = 10,
                                  .params = &params};

    params_default(ops->search_params, &params);
    params_set(&params, "nprobe", LISTS);
    assert_int_equal(ops->search(index, &search, hits[0], counts[0], NULL), VECDB_OK);
    for (size_t q = 0; q < QUERIES; q++)
        test_check_exact(&data.vectors, VECDB_METRIC_L2, &search, q, hits[0] + q * 10, counts[0][q]);
    params_set(&params, "nprobe", 9);
    assert_int_equal(ops->search(index, &search, hits[0], counts[0], NULL), VECDB_OK);
    assert_int_equal(ops->save(index, &stored), VECDB_OK);
    params_default(ops->build_params, &params);
    copy = mem_aligned_alloc(64, stored.size);
    memcpy(copy, stored.data, stored.size);
    if (ops->open(copy, stored.size, &data.vectors, VECDB_METRIC_L2, &params, &again) != VECDB_OK)
        fail_msg("%s", error_last()->message);
    assert_int_equal(ops->check(again), VECDB_OK);
    params_default(ops->search_params, &params);
    params_set(&params, "nprobe", 9);
    assert_int_equal(ops->search(again, &search, hits[1], counts[1], NULL), VECDB_OK);
    assert_memory_equal(counts[0], counts[1], sizeof counts[0]);
    for (size_t i = 0; i < QUERIES * 10; i++)
        assert_true(hits[0][i].row == hits[1][i].row && hits[0][i].distance == hits[1][i].distance);
    ops->free(index);
    ops->free(again);
    buf_deinit(&stored);
    mem_free(copy);
    test_rows_free(&data);
}

/* Rows of each answer are distinct and allowed, and as many as `expected`, or any number when that is SIZE_MAX. */
static void check_rows(const char *what, const struct index_search *search, const struct hit *hits, const size_t *counts,
                       size_t expected)
{
    uint64_t *seen = mem_alloc(bitmap_words(ROWS) * sizeof *seen);

    for (size_t q = 0; q < search->query_count; q++) {
        memset(seen, 0, bitmap_words(ROWS) * sizeof *seen);
        for (size_t i = 0; i < counts[q]; i++) {
            uint32_t row = hits[q * search->k + i].row;
            assert_true(row < ROWS && (!search->allowed || bitmap_get(search->allowed, row)));
            bitmap_set(seen, row);
        }
        if (bitmap_count(seen, ROWS) != counts[q] || (expected != SIZE_MAX && counts[q] != expected))
            fail_msg("%s, query %zu of %zu: %zu hits are %zu rows, of %zu", what, q, search->query_count, counts[q],
                     bitmap_count(seen, ROWS), expected);
    }
    mem_free(seen);
}

/* Searches that go on past the lists first asked for scan every list once. */
static void going_further(struct index *index, const char *what, const struct test_rows *data, const uint64_t *eighth)
{
    enum { SOME = 16 };
    struct params params;
    struct hit *hits = mem_alloc((size_t)SOME * ROWS * sizeof *hits);
    size_t counts[SOME];
    struct index_search search = {.queries = data->data, .query_stride = DIM * sizeof(float), .params = &params};

    params_default(index->ops->search_params, &params);
    params_set(&params, "nprobe", 9);
    for (size_t count = 1; count <= SOME; count += SOME - 1) { /* one by one, and walking together */
        search.query_count = count;
        search.has_radius = false;
        search.allowed = eighth;
        search.allowed_count = ROWS / 8;
        search.k = ROWS / 8;
        assert_int_equal(index->ops->search(index, &search, hits, counts, NULL), VECDB_OK);
        check_rows(what, &search, hits, counts, ROWS / 8);
        search.k = 100;
        assert_int_equal(index->ops->search(index, &search, hits, counts, NULL), VECDB_OK);
        check_rows(what, &search, hits, counts, 100);
        search.allowed = NULL;
        search.k = ROWS / 16; /* more than the lists first asked for hold */
        assert_int_equal(index->ops->search(index, &search, hits, counts, NULL), VECDB_OK);
        check_rows(what, &search, hits, counts, ROWS / 16);
        search.radius = hits[ROWS / 32].distance;
        search.has_radius = true;
        search.k = ROWS;
        assert_int_equal(index->ops->search(index, &search, hits, counts, NULL), VECDB_OK);
        check_rows(what, &search, hits, counts, SIZE_MAX);
        search.radius = 1e30f; /* all rows */
        assert_int_equal(index->ops->search(index, &search, hits, counts, NULL), VECDB_OK);
        check_rows(what, &search, hits, counts, ROWS);
    }
    mem_free(hits);
}

static void further_lists_are_new(void **state)
{
    static const char *const kinds[] = {"IVF_FLAT", "IVF_SQ8"};
    static const vecdb_metric metrics[] = {VECDB_METRIC_L2, VECDB_METRIC_COSINE};
    struct rng rng = rng_seeded(test_seed() + 2);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CLUSTERS, 0, false);
    uint64_t *eighth = mem_array_zalloc(bitmap_words(ROWS), sizeof *eighth);

    for (size_t row = 0; row < ROWS; row += 8)
        bitmap_set(eighth, row);
    for (size_t kind = 0; kind < 2; kind++)
        for (size_t m = 0; m < 2; m++) {
            struct index *index = build(kinds[kind], &data.vectors, metrics[m], "nlist=2048");
            assert_true(((const struct ivf *)index)->grouped);
            going_further(index, kinds[kind], &data, eighth);
            index->ops->free(index);
        }
    mem_free(eighth);
    test_rows_free(&data);
}

/* The mean recall of searches that ask for one, after the index has measured how many lists that takes: a few times, each with 64 rows. */
static double recall_promised(struct index *index, const struct test_rows *data, float recall)
{
    enum { TIMES = 8, MANY = 400 };
    struct ivf *ivf = (struct ivf *)index;
    const struct ivf_part *part = ivf_view(ivf)->parts[0];
    struct index_build_context context = {0};
    struct ivf_job job = {.ivf = ivf, .vectors = &data->vectors, .context = &context};
    struct params params;
    struct hit hits[MANY * 10], truth[MANY * 10];
    size_t counts[MANY], found = 0;
    uint32_t *rows = mem_alloc(ROWS * sizeof *rows), *lists = mem_alloc(ROWS * sizeof *lists);
    struct index_search search = {.queries = data->data, .query_count = MANY, .query_stride = DIM * sizeof(float), .k = 10,
                                  .params = &params};

    for (size_t list = 0; list < LISTS; list++)
        for (size_t slot = part->starts[list]; slot < part->starts[list] + part->sizes[list]; slot++) {
            assert_true(job.row_count < ROWS);
            rows[job.row_count] = part->rows[slot];
            lists[job.row_count++] = (uint32_t)list;
        }
    assert_int_equal(job.row_count, ROWS);
    job.rows = rows;
    job.lists = lists;
    params_default(index->ops->search_params, &params);
    params_set(&params, "nprobe", LISTS);
    assert_int_equal(index->ops->search(index, &search, truth, counts, NULL), VECDB_OK);
    params_default(index->ops->search_params, &params);
    params_set(&params, "recall", recall);
    for (context.seed = 1; context.seed <= TIMES; context.seed++) {
        assert_int_equal(ivf_calibrate(&job), VECDB_OK);
        assert_int_equal(index->ops->search(index, &search, hits, counts, NULL), VECDB_OK);
        for (size_t i = 0; i < MANY * 10; i++)
            found += hits[i].distance <= truth[i / 10 * 10 + 9].distance * 1.00001f;
    }
    mem_free(rows);
    mem_free(lists);
    return (double)found / (TIMES * MANY * 10);
}

/* Lists that a search misses count as such when lists are measured: also where far too few groups are looked through. */
static void promises_know_what_is_missed(void **state)
{
    static const float recalls[] = {0.9f, 0.98f};
    struct rng rng = rng_seeded(test_seed() + 3);
    struct test_rows data = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_CLUSTERS, 0, false);
    struct index *index = build("IVF_FLAT", &data.vectors, VECDB_METRIC_L2, "nlist=2048");

    for (int few = 0; few < 2; few++)
        for (size_t i = 0; i < 2; i++) {
            double recall;
            if (few)
                ((struct ivf *)index)->groups_least = 0;
            recall = recall_promised(index, &data, recalls[i]);
            if (recall < recalls[i] - 0.04)
                fail_msg("recall=%g gets %.4f%s", (double)recalls[i], recall, few ? ", of few groups" : "");
        }
    index->ops->free(index);
    test_rows_free(&data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nearest_lists_are_found), cmocka_unit_test(answers_hold),
                                       cmocka_unit_test(further_lists_are_new), cmocka_unit_test(promises_know_what_is_missed)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
