/* How much effort which recall takes: rows held out of the graph are its queries, so that none finds itself. Their true
 * neighbours are the nearest by the vectors among the nearest by codes. */
#include "index/graph_build.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/graph_exact.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#include <stdlib.h>

#define K 10
#define BY_CODES 40    /* nearest by codes, to be ranked by the vectors */
#define BLOCK 512      /* rows of one product */
#define TASK_BLOCKS 16
#define TILE 48
#define REFINE_K 2

static const float ef_ladder[GRAPH_CALIBRATION_STEPS] = {10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 512};
static const float gamma_ladder[GRAPH_CALIBRATION_STEPS] = {-0.2f, -0.1f, -0.05f, -0.02f, 0.01f, 0.035f,
                                                            0.06f, 0.1f,  0.15f,  0.22f,  0.32f, 0.5f};

struct truth {
    const struct graph_state *state;
    const uint32_t *rows; /* the queries, ascending */
    size_t count;
    uint8_t *codes;       /* of the queries */
    uint64_t *keys;       /* BY_CODES per query and task */
    uint32_t *key_counts;
};

static bool held(const struct truth *truth, uint32_t row)
{
    size_t low = 0, high = truth->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (truth->rows[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low < truth->count && truth->rows[low] == row;
}

static void keep_nearest(struct truth *truth, uint64_t *keys, uint32_t *key_count, const int32_t *scores, size_t n,
                         uint32_t first, uint32_t *chosen)
{
    int32_t limit = *key_count == BY_CODES ? (int32_t)graph_key_score(keys[BY_CODES - 1]) : INT32_MAX;
    size_t found = simd_graph()->smallest_i32(scores, n, BY_CODES, limit, chosen);
    struct graph_pool pool = {.keys = keys, .count = *key_count, .capacity = BY_CODES};

    for (size_t i = 0; i < found; i++)
        if (!held(truth, first + chosen[i]) &&
            (!truth->state->vectors.present || bitmap_get(truth->state->vectors.present, first + chosen[i])))
            graph_pool_insert(&pool, graph_key((uint32_t)scores[chosen[i]], first + chosen[i]));
    *key_count = (uint32_t)pool.count;
}

static vecdb_status truth_task(void *context, size_t task, unsigned worker)
{
    struct truth *truth = context;
    const struct distance_kernels *kernels = simd_distance();
    const struct graph_layer *base = &truth->state->layers[0];
    size_t dim = truth->state->codec.code_dim, first = task * TASK_BLOCKS * BLOCK;
    void *panel = mem_aligned_alloc(64, align_up(kernels->u8_panel_size(BLOCK, dim) + 1, 64));
    int32_t *tile = mem_aligned_alloc(64, TILE * BLOCK * sizeof *tile);
    uint32_t chosen[BLOCK + 16];
    bool enough = panel && tile;

    for (size_t b = 0; b < TASK_BLOCKS && enough; b++, first += BLOCK) {
        size_t n = first >= base->count ? 0 : base->count - first < BLOCK ? base->count - first : BLOCK;
        if (!n)
            break;
        kernels->u8_pack(base->codes + first * dim, dim, NULL, n, dim, panel);
        for (size_t q = 0; q < truth->count; q += TILE) {
            size_t queries = truth->count - q < TILE ? truth->count - q : TILE;
            kernels->u8_l2sq(truth->codes + q * dim, dim, queries, panel, n, dim, tile, BLOCK);
            for (size_t i = 0; i < queries; i++) {
                size_t list = task * truth->count + q + i;
                keep_nearest(truth, truth->keys + list * BY_CODES, &truth->key_counts[list], tile + i * BLOCK, n,
                             (uint32_t)first, chosen);
            }
        }
    }
    mem_free(panel);
    mem_free(tile);
    return enough ? VECDB_OK : error_nomem("calibration");
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Of each query, the distance of its K-th neighbour. */
static vecdb_status find_truth(struct graph *graph, struct truth *truth, size_t tasks, float *kth)
{
    const struct vectors *vectors = &truth->state->vectors;
    float *scratch = mem_array_alloc((size_t)vectors->dim + 1, sizeof *scratch);

    if (!scratch)
        return error_nomem("calibration");
    for (size_t q = 0; q < truth->count; q++) {
        uint64_t keys[BY_CODES];
        struct graph_pool pool = {.keys = keys, .capacity = BY_CODES};
        uint32_t rows[BY_CODES];
        float distances[BY_CODES];
        struct graph_exact exact;
        for (size_t t = 0; t < tasks; t++)
            for (size_t i = 0; i < truth->key_counts[t * truth->count + q]; i++)
                graph_pool_insert(&pool, truth->keys[(t * truth->count + q) * BY_CODES + i]);
        for (size_t i = 0; i < pool.count; i++)
            rows[i] = graph_key_node(keys[i]);
        graph_exact_init(&exact, vectors, graph->base.metric, vectors_row(vectors, truth->rows[q]), scratch);
        graph_exact_distances(&exact, rows, pool.count, distances);
        qsort(distances, pool.count, sizeof *distances, compare_floats);
        kth[q] = distances[pool.count < K ? pool.count - 1 : K - 1];
    }
    mem_free(scratch);
    return VECDB_OK;
}

struct trial {
    struct graph *graph;
    const uint8_t *queries;
    const float *kth;
    size_t count;
    struct pool *pool;
    struct hit *hits;
    size_t *hit_counts;
};

static vecdb_status measure(struct trial *trial, const struct graph_effort *effort, float *recall)
{
    struct index_search search = {.queries = trial->queries, .query_count = trial->count,
                                  .query_stride = trial->graph->base.vectors.width, .k = K, .pool = trial->pool};
    struct index_counters counters = {0};
    size_t found = 0;

    TRY(graph_search(&trial->graph->base, &search, effort, trial->hits, trial->hit_counts, &counters));
    for (size_t q = 0; q < trial->count; q++)
        for (size_t i = 0; i < trial->hit_counts[q]; i++)
            found += trial->hits[q * K + i].distance <= trial->kth[q] + 1e-6f * (trial->kth[q] > 0 ? trial->kth[q] : -trial->kth[q]);
    *recall = (float)found / (float)(trial->count * K);
    return VECDB_OK;
}

static vecdb_status climb(struct trial *trial, const float *ladder, bool gamma, struct graph_step *steps)
{
    float best = 0;

    for (size_t i = 0; i < GRAPH_CALIBRATION_STEPS; i++) {
        struct graph_effort effort = {.ef = gamma ? 512 : (size_t)ladder[i], .gamma = gamma ? ladder[i] : 0, .refine_k = REFINE_K};
        float recall = best;
        if (best < 0.9995f) /* what lies beyond cannot be told apart by so few queries */
            TRY(measure(trial, &effort, &recall));
        best = recall > best ? recall : best;
        steps[i] = (struct graph_step){ladder[i], best > 1 ? 1 : best};
    }
    return VECDB_OK;
}

vecdb_status graph_calibrate(struct graph *graph, const uint32_t *rows, size_t count,
                             const struct index_build_context *context)
{
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    const struct vectors *vectors = &state->vectors;
    size_t stride = state->codec.stride, tasks = (state->layers[0].count + TASK_BLOCKS * BLOCK - 1) / (TASK_BLOCKS * BLOCK);
    struct truth truth = {state, rows, count, mem_array_alloc(count, stride), NULL, NULL};
    uint8_t *queries = mem_array_alloc(count, vectors->width);
    float *kth = mem_array_alloc(count, sizeof *kth);
    struct trial trial = {graph, queries, kth, count, context->pool, mem_array_alloc(count * K, sizeof(struct hit)),
                          mem_array_alloc(count, sizeof(size_t))};
    vecdb_status status = VECDB_OK;

    truth.keys = mem_array_alloc(tasks * count * BY_CODES, sizeof *truth.keys);
    truth.key_counts = mem_array_zalloc(tasks * count, sizeof *truth.key_counts);
    if (!truth.codes || !truth.keys || !truth.key_counts || !queries || !kth || !trial.hits || !trial.hit_counts)
        status = error_nomem("calibration");
    else
        for (size_t q = 0; q < count; q++) {
            memcpy(truth.codes + q * stride, graph_code(&state->layers[0], stride, rows[q]), stride);
            memcpy(queries + q * vectors->width, vectors_row(vectors, rows[q]), vectors->width);
        }
    if (status == VECDB_OK)
        status = graph_progress(context, "calibrating", 0, 1);
    if (status == VECDB_OK)
        status = pool_run(context->pool, tasks, truth_task, &truth);
    if (status == VECDB_OK)
        status = find_truth(graph, &truth, tasks, kth);
    if (status == VECDB_OK)
        status = climb(&trial, ef_ladder, false, graph->calibration.ef);
    if (status == VECDB_OK)
        status = climb(&trial, gamma_ladder, true, graph->calibration.gamma);
    if (status == VECDB_OK)
        graph->calibration.query_count = (uint32_t)count;
    mem_free(truth.codes);
    mem_free(truth.keys);
    mem_free(truth.key_counts);
    mem_free(queries);
    mem_free(kth);
    mem_free(trial.hits);
    mem_free(trial.hit_counts);
    return status;
}
