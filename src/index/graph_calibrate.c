/* How much effort which recall takes: rows held out of the graph are its queries, so that none finds itself. Their true
 * neighbours are the nearest by the vectors among the nearest by codes.
 *
 * One walk per query tells of all efforts: with a smaller pool, or a smaller gamma, it would have gone the same way and
 * ended sooner. */
#include "index/graph_build.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/graph_exact.h"
#include "index/graph_task.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#include <math.h>
#include <stdlib.h>

#define K 10
#define BY_CODES 40    /* nearest by codes, to be ranked by the vectors */
#define BLOCK 512      /* rows of one product */
#define TASK_BLOCKS 16
#define TILE 48
#define REFINE_K 2

#define TRACE_TASK 8 /* queries */
#define TRACE_POOL 512
#define EF_STEPS 23
#define GAMMA_STEPS 40
#define STEPS (EF_STEPS + GAMMA_STEPS)

/* What is measured; the steps kept are chosen among these. */
static const float ladder[STEPS] = {
    10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 96, 112, 136, 160, 192, 224, 272, 320, 400, TRACE_POOL,
    -0.2f, -0.15f, -0.1f, -0.07f, -0.05f, -0.035f, -0.02f, -0.01f, 0.01f, 0.02f, 0.03f, 0.04f, 0.05f, 0.06f, 0.07f, 0.08f,
    0.09f, 0.1f, 0.11f, 0.12f, 0.13f, 0.14f, 0.15f, 0.16f, 0.17f, 0.18f, 0.2f, 0.22f, 0.24f, 0.26f, 0.28f, 0.3f,
    0.32f, 0.34f, 0.37f, 0.4f, 0.43f, 0.46f, 0.5f, 0.55f};
/* By how much one would miss their steps. */
static const float wishes[] = {0.99f, 0.95f, 0.999f, 0.98f, 0.9f, 0.8f, 0.996f, 0.97f, 0.985f, 0.993f};
#define WISHED_LEAST 0.8

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

/* ---- walks ---- */

struct trace {
    struct graph *graph;
    const struct graph_state *state;
    const uint32_t *rows; /* the queries */
    const float *kth;
    size_t count;
    struct tally *tallies; /* per task */
};

/* True neighbours found at each step, and their squares: how much queries differ. */
struct tally {
    uint32_t found[STEPS], squares[STEPS];
};

/* One query's walk, and the answer of the moment: counted anew only when the pool's best are others. */
struct moment {
    struct graph_scratch *scratch;
    const struct graph_query *query;
    struct graph_exact exact;
    float limit;                     /* distance of the K-th neighbour */
    uint64_t best[REFINE_K * K];
    size_t best_count, want, found;
};

static size_t true_neighbours(const struct trace *trace, struct moment *moment)
{
    const struct graph_pool *pool = &moment->scratch->pool;
    size_t n = pool->count < moment->want ? pool->count : moment->want, rows_count = 0, found = 0;
    const uint32_t *next = trace->state->dup_next;
    uint32_t rows[REFINE_K * K] = {0};
    float distances[REFINE_K * K];
    bool same = n == moment->best_count;

    for (size_t i = 0; i < n; i++) {
        same &= moment->best[i] == (pool->keys[i] | 1);
        moment->best[i] = pool->keys[i] | 1;
    }
    moment->best_count = n;
    if (same)
        return moment->found;
    for (size_t i = 0; i < n && rows_count < moment->want; i++)
        for (uint32_t row = graph_key_node(pool->keys[i]); row != GRAPH_NONE && rows_count < moment->want;
             row = next ? next[row] : GRAPH_NONE)
            rows[rows_count++] = row;
    graph_exact_distances(&moment->exact, rows, rows_count, distances);
    for (size_t i = 0; i < rows_count; i++)
        found += distances[i] <= moment->limit;
    return moment->found = found < K ? found : K;
}

static void count_answer(const struct trace *trace, struct moment *moment, size_t step, struct tally *tally)
{
    uint32_t found = (uint32_t)true_neighbours(trace, moment);

    tally->found[step] += found;
    tally->squares[step] += found * found;
}

/* Whether a search with this step's effort would end here. */
static bool would_end(const struct graph_pool *pool, const struct moment *moment, size_t step)
{
    struct graph_stop stop = {TRACE_POOL, K, moment->want, ladder[step]};
    uint64_t limit;

    if (pool->cursor >= pool->count)
        return true;
    if (step < EF_STEPS)
        return pool->cursor >= (size_t)ladder[step] && pool->cursor >= moment->want;
    return pool->count >= stop.keep && graph_walk_ends(pool, moment->query, stop, pool->keys[pool->cursor], &limit);
}

static void follow(const struct trace *trace, struct moment *moment, struct tally *tally)
{
    const struct graph_layer *base = &trace->state->layers[0];
    struct graph_pool *pool = &moment->scratch->pool;
    struct index_counters counters = {0};
    uint32_t seeds[GRAPH_ENTRY];
    size_t seed_count = graph_descend(trace->state, moment->scratch, moment->query, 0, seeds, &counters);
    size_t ef = 0, gamma = EF_STEPS;

    graph_pool_reset(pool, TRACE_POOL);
    for (size_t i = 0; i < seed_count; i++)
        graph_seed(moment->scratch, base, moment->query, seeds[i], &counters);
    for (;;) {
        while (pool->cursor < pool->count && pool->keys[pool->cursor] & 1)
            pool->cursor++;
        for (; ef < EF_STEPS && would_end(pool, moment, ef); ef++)
            count_answer(trace, moment, ef, tally);
        for (; gamma < STEPS && would_end(pool, moment, gamma); gamma++)
            count_answer(trace, moment, gamma, tally);
        if (pool->cursor >= pool->count)
            break;
        graph_expand(moment->scratch, base, moment->query, UINT64_MAX, &counters);
    }
    graph_scratch_clear(moment->scratch);
}

static vecdb_status trace_task(void *context, size_t task, unsigned worker)
{
    const struct trace *trace = context;
    const struct vectors *vectors = &trace->state->vectors;
    size_t end = (task + 1) * TRACE_TASK < trace->count ? (task + 1) * TRACE_TASK : trace->count;
    struct graph_scratch *scratch;

    TRY(graph_scratch_take(trace->graph, trace->state, TRACE_POOL, &scratch));
    for (size_t q = task * TRACE_TASK; q < end; q++) {
        const void *vector = vectors_row(vectors, trace->rows[q]);
        struct graph_query query;
        struct moment moment = {.scratch = scratch, .query = &query, .best_count = SIZE_MAX};
        graph_codec_query(&trace->state->codec, vectors->type, vector, scratch->floats, scratch->code, &query);
        moment.want = query.exact || !trace->graph->settings.refine ? K : REFINE_K * K;
        moment.limit = trace->kth[q] + 1e-6f * fabsf(trace->kth[q]);
        graph_exact_init(&moment.exact, vectors, trace->graph->base.metric, vector, scratch->floats);
        follow(trace, &moment, &trace->tallies[task]);
    }
    graph_scratch_give(trace->graph, scratch);
    return VECDB_OK;
}

/* ---- the steps to keep ---- */

static size_t first_step(const float *recalls, size_t count, float recall)
{
    size_t i = 0;

    while (i < count - 1 && recalls[i] < recall)
        i++;
    return i;
}

/* The first and the last, the one from which on more brings no more, those that first reach a recall one may wish for, and others
 * in the widest gaps. */
static void choose_steps(const float *efforts, const float *recalls, size_t count, struct graph_step *out)
{
    bool chosen[STEPS] = {false};
    size_t n = 0;

    chosen[0] = chosen[count - 1] = chosen[first_step(recalls, count, recalls[count - 1])] = true;
    for (size_t i = 0; i < count; i++)
        n += chosen[i];
    for (size_t w = 0; w < sizeof wishes / sizeof *wishes && n < GRAPH_CALIBRATION_STEPS; w++) {
        size_t i = first_step(recalls, count, wishes[w]);
        n += !chosen[i];
        chosen[i] = true;
    }
    while (n < GRAPH_CALIBRATION_STEPS) {
        size_t widest = 0, at = 0, last = 0;
        for (size_t i = 1; i < count; i++)
            if (chosen[i]) {
                if (i - last > widest) {
                    widest = i - last;
                    at = last + widest / 2;
                }
                last = i;
            }
        chosen[at] = true;
        n++;
    }
    for (size_t i = 0; i < count; i++)
        if (chosen[i])
            *out++ = (struct graph_step){efforts[i], recalls[i]};
}

/* How many neighbours, each found or missed by itself, would tell recall as exactly as these queries do. Of a query that finds all
 * ten or none, as in clusters, the ten count as one. Only of steps that one may wish for. */
static uint32_t independent_answers(const struct trace *trace, const uint64_t *found, const uint64_t *squares)
{
    double n = (double)trace->count, alone = 0, spread = 0, worth;

    for (size_t i = EF_STEPS; i < STEPS; i++) {
        double recall = (double)found[i] / (n * K);
        if (recall < WISHED_LEAST)
            continue;
        alone += recall * (1 - recall);
        spread += (double)squares[i] / (n * K * K) - recall * recall;
    }
    worth = spread > 0 ? alone / spread : 1;
    return (uint32_t)(n * (worth < 1 ? 1 : worth > K ? K : worth));
}

static void settle_steps(const struct trace *trace, size_t tasks, struct graph_calibration *calibration)
{
    uint64_t found[STEPS] = {0}, squares[STEPS] = {0};
    float recalls[STEPS];

    for (size_t i = 0; i < STEPS; i++) {
        for (size_t t = 0; t < tasks; t++) {
            found[i] += trace->tallies[t].found[i];
            squares[i] += trace->tallies[t].squares[i];
        }
        recalls[i] = (float)found[i] / (float)(trace->count * K);
        if (i && i != EF_STEPS && recalls[i] < recalls[i - 1])
            recalls[i] = recalls[i - 1];
    }
    choose_steps(ladder, recalls, EF_STEPS, calibration->ef);
    choose_steps(ladder + EF_STEPS, recalls + EF_STEPS, GAMMA_STEPS, calibration->gamma);
    calibration->query_count = (uint32_t)trace->count;
    calibration->independent = independent_answers(trace, found, squares);
}

static vecdb_status walk_all(struct graph *graph, const uint32_t *rows, size_t count, const float *kth, struct pool *pool)
{
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    size_t tasks = (count + TRACE_TASK - 1) / TRACE_TASK;
    struct trace trace = {graph, state, rows, kth, count, mem_array_zalloc(tasks, sizeof(struct tally))};
    vecdb_status status = trace.tallies ? pool_run(pool, tasks, trace_task, &trace) : error_nomem("calibration");

    if (status == VECDB_OK)
        settle_steps(&trace, tasks, &graph->calibration);
    mem_free(trace.tallies);
    return status;
}

vecdb_status graph_calibrate(struct graph *graph, const uint32_t *rows, size_t count,
                             const struct index_build_context *context)
{
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    size_t stride = state->codec.stride, tasks = (state->layers[0].count + TASK_BLOCKS * BLOCK - 1) / (TASK_BLOCKS * BLOCK);
    struct truth truth = {state, rows, count, mem_array_alloc(count, stride), NULL, NULL};
    float *kth = mem_array_alloc(count, sizeof *kth);
    vecdb_status status = VECDB_OK;

    truth.keys = mem_array_alloc(tasks * count * BY_CODES, sizeof *truth.keys);
    truth.key_counts = mem_array_zalloc(tasks * count, sizeof *truth.key_counts);
    if (!truth.codes || !truth.keys || !truth.key_counts || !kth)
        status = error_nomem("calibration");
    else
        for (size_t q = 0; q < count; q++)
            memcpy(truth.codes + q * stride, graph_code(&state->layers[0], stride, rows[q]), stride);
    if (status == VECDB_OK)
        status = graph_progress(context, "calibrating", 0, 1);
    if (status == VECDB_OK)
        status = pool_run(context->pool, tasks, truth_task, &truth);
    if (status == VECDB_OK)
        status = find_truth(graph, &truth, tasks, kth);
    if (status == VECDB_OK)
        status = walk_all(graph, rows, count, kth, context->pool);
    mem_free(truth.codes);
    mem_free(truth.keys);
    mem_free(truth.key_counts);
    mem_free(kth);
    return status;
}
