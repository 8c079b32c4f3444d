/* Clusters: repeatable, balanced where data allow it, and sane when they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/neighbours.h"

#include "base/mem.h"
#include "quant/kmeans_groups.h"

#include <math.h>
#include <string.h>

static float *make_rows(struct rng *rng, size_t count, size_t dim, size_t clusters)
{
    float *rows = mem_alloc(count * dim * sizeof *rows + 4), *centres = mem_alloc(clusters * dim * sizeof *centres);

    for (size_t i = 0; i < clusters * dim; i++)
        centres[i] = (float)rng_normal(rng) * 5;
    for (size_t i = 0; i < count; i++) {
        /* cluster sizes differ a lot: half of the rows are in the first */
        size_t c = rng_unit(rng) < 0.5 ? 0 : rng_below(rng, clusters);
        for (size_t j = 0; j < dim; j++)
            rows[i * dim + j] = centres[c * dim + j] + (float)rng_normal(rng);
    }
    mem_free(centres);
    return rows;
}

static void same_on_any_number_of_threads(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    float *rows = make_rows(&rng, 12000, 20, 30), one[50 * 20], many[50 * 20], other[50 * 20];
    struct kmeans_options options = {.clusters = 50, .iterations = 6, .seed = 5, .stage = "train"};

    assert_int_equal(kmeans_train(rows, 12000, 20, &options, one), VECDB_OK);
    assert_int_equal(pool_create(3, &options.pool), VECDB_OK);
    assert_int_equal(kmeans_train(rows, 12000, 20, &options, many), VECDB_OK);
    assert_memory_equal(one, many, sizeof one);
    options.seed = 6;
    assert_int_equal(kmeans_train(rows, 12000, 20, &options, other), VECDB_OK);
    assert_memory_not_equal(one, other, sizeof one);
    pool_free(options.pool);
    mem_free(rows);
}

static void assigns_to_the_nearest_and_balances(void **state)
{
    static const size_t dims[] = {1, 2, 3, 17, 100};
    struct rng rng = rng_seeded(test_seed() + 1);

    for (size_t d = 0; d < 5; d++) {
        size_t dim = dims[d], n = 6000, clusters = 60, sizes[60] = {0};
        float *rows = make_rows(&rng, n, dim, 40), *centroids = mem_alloc(clusters * dim * sizeof *centroids);
        float *distances = mem_alloc(n * sizeof *distances), *scratch;
        uint32_t *lists = mem_alloc(n * sizeof *lists);
        struct kmeans_options options = {.clusters = clusters, .iterations = 10, .seed = 5, .stage = "train"};
        struct kmeans_assigner assigner;
        assert_int_equal(kmeans_train(rows, n, dim, &options, centroids), VECDB_OK);
        assert_int_equal(kmeans_assigner_init(&assigner, centroids, clusters, dim), VECDB_OK);
        scratch = mem_aligned_alloc(64, kmeans_scratch_floats(&assigner) * sizeof *scratch);
        kmeans_assign(&assigner, rows, dim, n, scratch, lists, distances);
        for (size_t i = 0; i < n; i++) {
            double best = INFINITY, chosen = 0, norm = 1;
            for (size_t c = 0; c < clusters; c++) {
                double distance = 0;
                for (size_t j = 0; j < dim; j++) {
                    double x = rows[i * dim + j] - centroids[c * dim + j];
                    distance += x * x;
                    norm += c == 0 ? (double)rows[i * dim + j] * rows[i * dim + j] : 0;
                }
                best = fmin(best, distance);
                if (c == lists[i])
                    chosen = distance;
            }
            assert_true(chosen <= best + 1e-5 * norm);
            assert_true(fabs((double)distances[i] - chosen) <= 1e-5 * norm);
            sizes[lists[i]]++;
        }
        for (size_t c = 0; c < clusters; c++)
            assert_true(sizes[c] <= 10 * n / clusters);
        kmeans_assigner_deinit(&assigner);
        mem_free(scratch);
        mem_free(lists);
        mem_free(distances);
        mem_free(centroids);
        mem_free(rows);
    }
}

/* Lists of each row by groups of centroids, and how many are the nearest there are. */
static size_t assign_by_groups(const float *rows, size_t n, size_t dim, const float *centroids, size_t clusters, uint32_t *lists,
                               double *farther)
{
    uint32_t *nearest = mem_alloc(n * sizeof *nearest);
    float *distances = mem_alloc(n * sizeof *distances), *scratch;
    struct kmeans_assigner assigner;
    struct kmeans_groups groups;
    double chosen = 0, best = 0;
    size_t same = 0;

    assert_int_equal(kmeans_groups_init(&groups, centroids, clusters, dim), VECDB_OK);
    scratch = mem_aligned_alloc(64, kmeans_groups_scratch_floats(&groups) * sizeof *scratch);
    kmeans_groups_assign(&groups, rows, n, scratch, lists);
    mem_free(scratch);
    kmeans_groups_deinit(&groups);
    assert_int_equal(kmeans_assigner_init(&assigner, centroids, clusters, dim), VECDB_OK);
    scratch = mem_aligned_alloc(64, kmeans_scratch_floats(&assigner) * sizeof *scratch);
    kmeans_assign(&assigner, rows, dim, n, scratch, nearest, distances);
    for (size_t i = 0; i < n; i++) {
        assert_true(lists[i] < clusters);
        same += lists[i] == nearest[i];
        best += distances[i];
        for (size_t j = 0; j < dim; j++) {
            double x = rows[i * dim + j] - centroids[lists[i] * dim + j];
            chosen += x * x;
        }
    }
    *farther = best > 0 ? chosen / best : 1;
    mem_free(scratch);
    kmeans_assigner_deinit(&assigner);
    mem_free(nearest);
    mem_free(distances);
    return same;
}

/* Rows that lie on centroids get these, or others as near but for rounding: all at once, backwards, and one by one. */
static void centroids_find_themselves(const float *centroids, size_t clusters, size_t dim)
{
    float *backwards = mem_alloc(clusters * dim * sizeof *backwards), *scratch;
    uint32_t *lists = mem_alloc(clusters * sizeof *lists);
    struct kmeans_groups groups;

    for (size_t c = 0; c < clusters; c++)
        memcpy(backwards + c * dim, centroids + (clusters - 1 - c) * dim, dim * sizeof *backwards);
    assert_int_equal(kmeans_groups_init(&groups, centroids, clusters, dim), VECDB_OK);
    assert_true(groups.count > 1);
    scratch = mem_aligned_alloc(64, kmeans_groups_scratch_floats(&groups) * sizeof *scratch);
    for (int how = 0; how < 3; how++) {
        const float *rows = how ? backwards : centroids;
        size_t step = how == 2 ? 1 : clusters;
        for (size_t first = 0; first < clusters; first += step)
            kmeans_groups_assign(&groups, rows + first * dim, step, scratch, lists + first);
        for (size_t i = 0; i < clusters; i++) {
            double distance = 0, norm = 1;
            for (size_t j = 0; j < dim; j++) {
                double x = rows[i * dim + j] - centroids[lists[i] * dim + j];
                distance += x * x;
                norm += (double)rows[i * dim + j] * rows[i * dim + j];
            }
            if (distance > 1e-5 * norm)
                fail_msg("row %zu of %zu on a centroid is put %g away, way %d", i, clusters, sqrt(distance), how);
        }
    }
    mem_free(scratch);
    kmeans_groups_deinit(&groups);
    mem_free(lists);
    mem_free(backwards);
}

static void groups_find_nearly_all(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 2);
    size_t n = 20000, dim = 24, clusters = 1200;
    float *rows = make_rows(&rng, n, dim, 300), *centroids = mem_alloc(clusters * dim * sizeof *centroids);
    uint32_t *lists = mem_alloc(n * sizeof *lists);
    struct kmeans_options options = {.clusters = clusters, .iterations = 4, .seed = 5, .stage = "train"};
    double farther;

    assert_int_equal(kmeans_train(rows, n, dim, &options, centroids), VECDB_OK);
    size_t same = assign_by_groups(rows, n, dim, centroids, clusters, lists, &farther);
    if (same < 0.93 * (double)n || farther > 1.06)
        fail_msg("%zu of %zu rows in the nearest lists, %.4f times as far", same, n, farther);
    centroids_find_themselves(centroids, clusters, dim);
    assert_int_equal(assign_by_groups(rows, n, dim, centroids, 500, lists, &farther), n); /* few: no groups */
    for (size_t i = 0; i < clusters * dim; i++) /* all alike */
        centroids[i] = 1;
    assign_by_groups(rows, n, dim, centroids, clusters, lists, &farther);
    assert_true(farther < 1.0001);
    mem_free(rows);
    mem_free(centroids);
    mem_free(lists);
}

static bool stop(void *context, const char *stage, uint64_t done, uint64_t total) { return done < 2; }

static void odd_inputs(void **state)
{
    float rows[5 * 3], centroids[9 * 3];
    struct kmeans_options options = {.clusters = 9, .iterations = 5, .seed = 1, .stage = "train"};

    for (size_t i = 0; i < 15; i++)
        rows[i] = (float)i;
    assert_int_equal(kmeans_train(rows, 5, 3, &options, centroids), VECDB_OK);
    for (size_t i = 0; i < 27; i++)
        assert_true(isfinite(centroids[i]) && centroids[i] >= 0 && centroids[i] <= 14);
    for (size_t i = 0; i < 15; i++)
        rows[i] = 2;
    assert_int_equal(kmeans_train(rows, 5, 3, &options, centroids), VECDB_OK);
    for (size_t i = 0; i < 27; i++)
        assert_true(centroids[i] == 2);
    assert_int_equal(kmeans_train(rows, 0, 3, &options, centroids), VECDB_OK);
    assert_true(centroids[26] == 0);
    options.spherical = true;
    assert_int_equal(kmeans_train(rows, 5, 3, &options, centroids), VECDB_OK);
    options.progress = stop;
    assert_int_equal(kmeans_train(rows, 5, 3, &options, centroids), VECDB_ERR_CANCELLED);
    assert_string_equal(error_last()->message, "train: cancelled");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_on_any_number_of_threads),
        cmocka_unit_test(assigns_to_the_nearest_and_balances),
        cmocka_unit_test(groups_find_nearly_all),
        cmocka_unit_test(odd_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
