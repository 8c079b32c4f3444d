#include "quant/kmeans.h"

#include "quant/kmeans_groups.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"
#include "simd/kernels.h"

#include <math.h>
#include <string.h>

#define ROWS_AT_ONCE 24   /* multiplied by a panel at a time */
#define BLOCK_ROWS 480    /* rows that stay in the cache while panels pass */
#define TASK_ROWS 4800

vecdb_status kmeans_assigner_init(struct kmeans_assigner *assigner, const float *centroids, size_t clusters, size_t dim)
{
    const struct distance_kernels *kernels = simd_distance();
    size_t columns = align_up(32768 / dim + 1, 64), panels;

    if (columns > 256)
        columns = 256;
    *assigner = (struct kmeans_assigner){.clusters = clusters, .dim = dim, .panel_columns = columns};
    panels = (clusters + columns - 1) / columns;
    assigner->panel_size = align_up(kernels->f32_panel_size(columns, dim), 64);
    assigner->panels = mem_aligned_alloc(64, panels * assigner->panel_size + 64);
    assigner->bias = mem_aligned_alloc(64, align_up(clusters, 16) * sizeof(float));
    if (!assigner->panels || !assigner->bias) {
        kmeans_assigner_deinit(assigner);
        return error_nomem("clustering");
    }
    for (size_t p = 0; p < panels; p++) {
        size_t first = p * columns, n = clusters - first < columns ? clusters - first : columns;
        kernels->f32_pack(centroids + first * dim, dim * sizeof(float), NULL, n, dim,
                          assigner->panels + p * assigner->panel_size);
        for (size_t i = first; i < first + n; i++)
            assigner->bias[i] = simd_codes()->sumsq_f32(centroids + i * dim, dim);
    }
    return VECDB_OK;
}

void kmeans_assigner_deinit(struct kmeans_assigner *assigner)
{
    mem_free(assigner->panels);
    mem_free(assigner->bias);
    assigner->panels = NULL;
    assigner->bias = NULL;
}

size_t kmeans_scratch_floats(const struct kmeans_assigner *assigner)
{
    return ROWS_AT_ONCE * assigner->panel_columns + BLOCK_ROWS;
}

void kmeans_assign(const struct kmeans_assigner *assigner, const float *rows, size_t stride, size_t count,
                   float *scratch, uint32_t *out, float *distances)
{
    const struct distance_kernels *kernels = simd_distance();
    const struct compare_kernels *compare = simd_compare();
    float *products = scratch, *best = scratch + ROWS_AT_ONCE * assigner->panel_columns;
    size_t columns = assigner->panel_columns;

    for (size_t block = 0; block < count; block += BLOCK_ROWS) {
        size_t block_rows = count - block < BLOCK_ROWS ? count - block : BLOCK_ROWS;
        for (size_t i = 0; i < block_rows; i++) {
            best[i] = INFINITY;
            out[block + i] = 0;
        }
        for (size_t first = 0; first < assigner->clusters; first += columns) {
            size_t n = assigner->clusters - first < columns ? assigner->clusters - first : columns;
            const uint8_t *panel = assigner->panels + first / columns * assigner->panel_size;
            for (size_t i = 0; i < block_rows; i += ROWS_AT_ONCE) {
                size_t m = block_rows - i < ROWS_AT_ONCE ? block_rows - i : ROWS_AT_ONCE;
                kernels->f32_multiply(rows + (block + i) * stride, stride * sizeof(float), m, panel, n, assigner->dim,
                                      -2, assigner->bias + first, products, columns);
                for (size_t j = 0; j < m; j++) {
                    const float *line = products + j * columns;
                    float least = compare->min_f32(line, n);
                    if (least < best[i + j]) {
                        size_t at = 0;
                        while (at + 1 < n && line[at] != least)
                            at++;
                        best[i + j] = least;
                        out[block + i + j] = (uint32_t)(first + at);
                    }
                }
            }
        }
        if (distances) {
            for (size_t i = 0; i < block_rows; i++) {
                float distance = best[i] + simd_codes()->sumsq_f32(rows + (block + i) * stride, assigner->dim);
                distances[block + i] = distance > 0 ? distance : 0;
            }
        }
    }
}

/* -- training */

struct training {
    const float *rows;
    size_t count, dim;
    const struct kmeans_options *options;
    float *centroids;
    struct kmeans_groups assigner;
    uint32_t *cluster; /* of each row */
    uint32_t *order;   /* rows by cluster */
    size_t *starts;    /* clusters + 1, into order */
    float *scratch;    /* per worker */
};

static vecdb_status assign_task(void *context, size_t i, unsigned worker)
{
    struct training *training = context;
    size_t first = i * TASK_ROWS, n = training->count - first < TASK_ROWS ? training->count - first : TASK_ROWS;

    kmeans_groups_assign(&training->assigner, training->rows + first * training->dim, n,
                         training->scratch + worker * align_up(kmeans_groups_scratch_floats(&training->assigner), 32),
                         training->cluster + first);
    return VECDB_OK;
}

/* New centroids of clusters 64 i .. 64 i + 63: the means of their rows, summed in row order. */
static vecdb_status mean_task(void *context, size_t i, unsigned worker)
{
    struct training *training = context;
    const struct code_kernels *codes = simd_codes();
    size_t dim = training->dim, last = (i + 1) * 64;

    for (size_t c = i * 64; c < last && c < training->options->clusters; c++) {
        size_t n = training->starts[c + 1] - training->starts[c];
        float *centroid = training->centroids + c * dim;
        if (n == 0)
            continue; /* stays where it is */
        memset(centroid, 0, dim * sizeof *centroid);
        for (size_t j = training->starts[c]; j < training->starts[c + 1]; j++)
            codes->add_f32(centroid, training->rows + training->order[j] * dim, dim);
        codes->scale_f32(centroid, dim, 1 / (float)n);
        if (training->options->spherical)
            codes->normalize_f32(centroid, dim, centroid);
    }
    return VECDB_OK;
}

static void sort_by_cluster(struct training *training)
{
    size_t clusters = training->options->clusters;

    memset(training->starts, 0, (clusters + 2) * sizeof *training->starts);
    for (size_t i = 0; i < training->count; i++)
        training->starts[training->cluster[i] + 2]++;
    for (size_t c = 2; c <= clusters + 1; c++)
        training->starts[c] += training->starts[c - 1];
    for (size_t i = 0; i < training->count; i++)
        training->order[training->starts[training->cluster[i] + 1]++] = (uint32_t)i;
}

/* Move clusters that are nearly empty into the largest ones, while those are far larger than the mean. `sizes`
 * is scratch, two numbers a cluster. */
static void rebalance(struct training *training, struct rng *rng, size_t *sizes)
{
    size_t clusters = training->options->clusters, mean = training->count / clusters, dim = training->dim;

    size_t *origin = sizes + clusters; /* whose rows are near: another's for clusters that were moved */

    for (size_t c = 0; c < clusters; c++) {
        sizes[c] = training->starts[c + 1] - training->starts[c];
        origin[c] = c;
    }
    for (size_t moved = 0; moved < clusters && moved < 1024; moved++) { /* the next iteration goes on */
        size_t small = 0, large = 0, size, row;
        for (size_t c = 1; c < clusters; c++) {
            if (sizes[c] < sizes[small])
                small = c;
            if (sizes[c] > sizes[large])
                large = c;
        }
        if (sizes[small] > mean / 8 || (sizes[large] <= 3 * mean && sizes[small] > 0) || sizes[large] < 2)
            break;
        origin[small] = origin[large];
        size = training->starts[origin[large] + 1] - training->starts[origin[large]];
        row = training->order[training->starts[origin[large]] + rng_below(rng, size)];
        memcpy(training->centroids + small * dim, training->rows + row * dim, dim * sizeof(float));
        sizes[large] -= sizes[large] / 2;
        sizes[small] = sizes[large];
    }
}

static vecdb_status iterate(struct training *training, size_t *sizes)
{
    const struct kmeans_options *options = training->options;
    struct rng rng = rng_seeded(options->seed ^ 0x6B6D65616E73ull);
    size_t tasks = (training->count + TASK_ROWS - 1) / TASK_ROWS;

    for (unsigned round = 0; round < options->iterations; round++) {
        vecdb_status status;
        if (options->progress && !options->progress(options->progress_context, options->stage, round,
                                                    options->iterations))
            return error_set(VECDB_ERR_CANCELLED, "%s: cancelled", options->stage);
        TRY(kmeans_groups_init(&training->assigner, training->centroids, options->clusters, training->dim));
        mem_free(training->scratch);
        training->scratch = mem_aligned_alloc(
            128, pool_threads(options->pool) * align_up(kmeans_groups_scratch_floats(&training->assigner), 32) * sizeof(float));
        status = training->scratch ? pool_run(options->pool, tasks, assign_task, training) : error_nomem("clustering");
        kmeans_groups_deinit(&training->assigner);
        if (status != VECDB_OK)
            return status;
        sort_by_cluster(training);
        TRY(pool_run(options->pool, (options->clusters + 63) / 64, mean_task, training));
        if (round + 1 < options->iterations)
            rebalance(training, &rng, sizes);
    }
    return VECDB_OK;
}

/* Distinct rows to begin with: a sample without replacement (Floyd would need a set; a shuffle of numbers does). */
static void seed_centroids(struct training *training)
{
    const struct kmeans_options *options = training->options;
    struct rng rng = rng_seeded(options->seed);
    size_t dim = training->dim;

    for (size_t i = 0; i < training->count; i++)
        training->order[i] = (uint32_t)i;
    for (size_t c = 0; c < options->clusters; c++) {
        if (c < training->count) {
            size_t other = c + rng_below(&rng, training->count - c);
            uint32_t row = training->order[other];
            training->order[other] = training->order[c];
            training->order[c] = row;
        }
        memcpy(training->centroids + c * dim, training->rows + training->order[c % training->count] * dim,
               dim * sizeof(float));
    }
}

vecdb_status kmeans_train(const float *rows, size_t count, size_t dim, const struct kmeans_options *options,
                          float *centroids)
{
    struct training training = {.rows = rows, .count = count, .dim = dim, .options = options, .centroids = centroids};
    size_t *sizes;
    vecdb_status status;

    if (count == 0) {
        memset(centroids, 0, options->clusters * dim * sizeof *centroids);
        return VECDB_OK;
    }
    training.cluster = mem_array_alloc(count, sizeof *training.cluster);
    training.order = mem_array_alloc(count, sizeof *training.order);
    training.starts = mem_array_alloc(options->clusters + 2, sizeof *training.starts);
    sizes = mem_array_alloc(options->clusters, 2 * sizeof *sizes);
    if (training.cluster && training.order && training.starts && sizes) {
        seed_centroids(&training);
        status = iterate(&training, sizes);
    } else {
        status = error_nomem("clustering");
    }
    mem_free(training.cluster);
    mem_free(training.order);
    mem_free(training.starts);
    mem_free(training.scratch);
    mem_free(sizes);
    return status;
}
