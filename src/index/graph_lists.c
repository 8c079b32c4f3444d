#include "index/graph_lists.h"

#include "base/checksum.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/graph_build.h"
#include "index/cluster.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#define LISTS_FACTOR 3.0   /* lists, in square roots of the rows: as much for centroids as for rows of the lists scanned */
#define RENEW_SHARE 4      /* lists are made again when rows have grown by a fourth */
#define BEYOND_ROWS 64     /* members that a list's mean distance is taken from */
#define SAMPLED_LISTS 192  /* others looked at for queries at all distances, */
#define QUERIES 12         /* of which so many serve, */
#define MEMBERS 16         /* each for so many members */
#define AHEAD 8            /* rows on their way from memory */
#define TAIL_LEAST 2000    /* deviations that a tail is taken from */

void graph_lists_free(struct graph_lists *lists)
{
    while (lists) {
        struct graph_lists *next = lists->retired;
        mem_free(lists->centroids);
        mem_free(lists->beyond);
        mem_free(lists->spread);
        mem_free(lists->tail);
        mem_free(lists->signs);
        mem_free(lists->center);
        mem_free(lists->sketches);
        mem_free(lists->offsets);
        mem_free(lists->rows);
        mem_free(lists);
        lists = next;
    }
}

vecdb_status graph_lists_alloc(const struct graph_codec *codec, size_t count, size_t row_count, struct graph_lists **out)
{
    struct graph_lists *lists = mem_zalloc(sizeof *lists);
    size_t size;

    *out = NULL;
    if (!lists)
        return error_nomem("graph lists");
    lists->count = (uint32_t)count;
    lists->row_count = (uint32_t)row_count;
    lists->centroids = mem_array_size(count, codec->stride, &size) ? mem_aligned_alloc(64, size + 64) : NULL;
    lists->beyond = mem_array_alloc(count, sizeof *lists->beyond);
    lists->spread = mem_array_alloc(count, sizeof *lists->spread);
    lists->tail = mem_array_alloc(GRAPH_TAILS * GRAPH_TAIL_STEPS, sizeof *lists->tail);
    lists->signs = mem_alloc(codec->code_dim / 2);
    lists->center = mem_array_zalloc(codec->code_dim, sizeof *lists->center);
    lists->sketches = graph_array(row_count, graph_sketch_size(codec));
    lists->offsets = mem_array_alloc(count + 1, sizeof *lists->offsets);
    lists->rows = mem_array_alloc(row_count + 1, sizeof *lists->rows);
    if (!lists->centroids || !lists->beyond || !lists->spread || !lists->tail || !lists->signs || !lists->center ||
        !lists->sketches || !lists->offsets || !lists->rows) {
        graph_lists_free(lists);
        return error_nomem("graph lists");
    }
    *out = lists;
    return VECDB_OK;
}

void graph_lists_set_mark(struct graph_lists *lists)
{
    lists->mark = checksum(lists->rows, lists->row_count * sizeof *lists->rows,
                           checksum(lists->offsets, ((size_t)lists->count + 1) * sizeof *lists->offsets, 0));
}

void graph_lists_offset(const struct graph_codec *codec, float *out)
{
    for (size_t d = 0; d < codec->code_dim; d++)
        out[d] = codec->mean[d] / codec->step - 128;
}

size_t graph_lists_memory(const struct graph_lists *lists, const struct graph_codec *codec)
{
    size_t bytes = 0;

    for (; lists; lists = lists->retired)
        bytes += sizeof *lists + lists->count * (codec->stride + 3 * sizeof(float)) +
                 GRAPH_TAILS * GRAPH_TAIL_STEPS * sizeof(float) + codec->code_dim * (sizeof(float) + 1) +
                 lists->row_count * (sizeof *lists->rows + graph_sketch_size(codec));
    return bytes;
}

/* ---- learning how distances spread ---- */

struct survey {
    const struct graph_state *state;
    struct graph_lists *lists;
    float *deviations; /* count x QUERIES x MEMBERS, in distances of the query to the centroid; NAN where there is none */
    uint8_t *tails;    /* count x QUERIES: which tail they belong to */
    float *offset;     /* what makes a code the vector it stands for, in steps; NULL under L2 */
    uint64_t seed;
};

static int compare_keys(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static size_t list_size(const struct graph_lists *lists, size_t list)
{
    return lists->offsets[list + 1] - lists->offsets[list];
}

/* The mean of a list's codes. `sums`: for each dimension. */
static void find_centroid(const struct graph_state *state, struct graph_lists *lists, size_t list, uint32_t *sums)
{
    const struct graph_codec *codec = &state->codec;
    size_t n = list_size(lists, list), stride = codec->stride;
    uint8_t *centroid = lists->centroids + list * stride;

    memset(sums, 0, stride * sizeof *sums);
    for (size_t i = lists->offsets[list]; i < lists->offsets[list + 1]; i++) {
        if (i + AHEAD < lists->offsets[list + 1])
            simd_prefetch(graph_code(&state->layers[0], stride, lists->rows[i + AHEAD]), stride);
        simd_codes()->add_u8(sums, graph_code(&state->layers[0], stride, lists->rows[i]), stride);
    }
    for (size_t d = 0; d < stride; d++)
        centroid[d] = n ? (uint8_t)((sums[d] + n / 2) / n) : 0;
}

/* Members, spread over the list. */
static size_t some_members(const struct graph_lists *lists, size_t list, size_t most, uint32_t *out)
{
    size_t size = list_size(lists, list), n = size < most ? size : most;

    for (size_t i = 0; i < n; i++)
        out[i] = lists->rows[lists->offsets[list] + size * i / n];
    return n;
}

static vecdb_status centroid_task(void *context, size_t list, unsigned worker)
{
    const struct survey *survey = context;
    const struct graph_state *state = survey->state;
    struct graph_lists *lists = survey->lists;
    const struct graph_codec *codec = &state->codec;
    uint32_t members[BEYOND_ROWS], scores[BEYOND_ROWS];
    uint32_t *sums = mem_array_alloc(codec->stride, sizeof *sums);
    struct graph_query self;
    double sum = 0;
    size_t n;

    if (!sums)
        return error_nomem("graph lists");
    find_centroid(state, lists, list, sums);
    mem_free(sums);
    graph_codec_self(codec, lists->centroids + list * codec->stride, &self);
    n = some_members(lists, list, BEYOND_ROWS, members);
    graph_scores(&self, state->layers[0].codes, members, n, scores);
    for (size_t i = 0; i < n; i++)
        sum += scores[i];
    lists->beyond[list] = n ? (float)(sum / (double)n) : 0;
    return VECDB_OK;
}

/* Rows of other lists, near ones and far ones, as queries. */
static vecdb_status spread_task(void *context, size_t list, unsigned worker)
{
    const struct survey *survey = context;
    const struct graph_state *state = survey->state;
    struct graph_lists *lists = survey->lists;
    const struct graph_codec *codec = &state->codec;
    const uint8_t *centroid = lists->centroids + list * codec->stride, *codes = state->layers[0].codes;
    float *deviations = survey->deviations + list * QUERIES * MEMBERS;
    struct rng rng = rng_seeded(survey->seed + list);
    uint32_t others[SAMPLED_LISTS], distances[SAMPLED_LISTS], members[MEMBERS], scores[MEMBERS];
    size_t n = some_members(lists, list, MEMBERS, members), other_count = 0, count = 0;
    uint64_t keys[SAMPLED_LISTS];
    struct graph_query self;
    double squares = 0;

    for (size_t i = 0; i < QUERIES * MEMBERS; i++)
        deviations[i] = NAN;
    lists->spread[list] = 0;
    graph_codec_self(codec, centroid, &self);
    others[other_count++] = (uint32_t)list; /* queries within the list too */
    for (size_t i = 1; i < SAMPLED_LISTS; i++) {
        size_t other = rng_below(&rng, lists->count);
        if (list_size(lists, other))
            others[other_count++] = (uint32_t)other;
    }
    graph_scores(&self, lists->centroids, others, other_count, distances);
    for (size_t i = 0; i < other_count; i++)
        keys[i] = (uint64_t)distances[i] << 32 | others[i];
    qsort(keys, other_count, sizeof *keys, compare_keys);
    for (size_t q = 0, rank = 0; q < QUERIES && rank < other_count; q++, rank += 1 + rank / 2) {
        size_t other = (uint32_t)keys[rank];
        uint32_t row = lists->rows[lists->offsets[other] + rng_below(&rng, list_size(lists, other))], to_centroid, zero = 0;
        double apart;
        graph_codec_self(codec, graph_code(&state->layers[0], codec->stride, row), &self);
        graph_scores(&self, centroid, &zero, 1, &to_centroid);
        graph_scores(&self, codes, members, n, scores);
        apart = sqrt(to_centroid > 1 ? (double)to_centroid : 1);
        survey->tails[list * QUERIES + q] = (uint8_t)graph_tail_of((float)to_centroid, lists->beyond[list]);
        for (size_t i = 0; i < n; i++) {
            if (members[i] == row)
                continue;
            double deviation = ((double)scores[i] - to_centroid - lists->beyond[list]) / apart;
            deviations[q * MEMBERS + i] = (float)deviation;
            squares += deviation * deviation;
            count++;
        }
    }
    if (count)
        lists->spread[list] = (float)sqrt(squares / (double)count);
    return VECDB_OK;
}

/* Shares of deviations below so many spreads, of all lists together; where queries at a distance were few, of all queries. */
static void find_tail(const struct survey *survey)
{
    struct graph_lists *lists = survey->lists;
    size_t counts[GRAPH_TAILS + 1][GRAPH_TAIL_STEPS] = {{0}}, totals[GRAPH_TAILS + 1] = {0};

    for (size_t list = 0; list < lists->count; list++)
        for (size_t i = 0; i < QUERIES * MEMBERS; i++) {
            size_t tail = survey->tails[list * QUERIES + i / MEMBERS], step;
            float z = survey->deviations[list * QUERIES * MEMBERS + i] / lists->spread[list], at;
            if (!(lists->spread[list] > 0) || !(z == z))
                continue;
            at = ceilf((z - GRAPH_TAIL_FROM) * GRAPH_TAIL_PER);
            step = at > 0 ? at < GRAPH_TAIL_STEPS ? (size_t)at : GRAPH_TAIL_STEPS : 0;
            totals[tail]++;
            totals[GRAPH_TAILS]++;
            if (step < GRAPH_TAIL_STEPS) {
                counts[tail][step]++;
                counts[GRAPH_TAILS][step]++;
            }
        }
    for (size_t tail = 0; tail < GRAPH_TAILS; tail++) {
        size_t from = totals[tail] < TAIL_LEAST ? GRAPH_TAILS : tail, sum = 0;
        for (size_t i = 0; i < GRAPH_TAIL_STEPS; i++) {
            sum += counts[from][i];
            lists->tail[tail * GRAPH_TAIL_STEPS + i] = totals[from] ? (float)((double)sum / (double)totals[from]) : 1;
        }
    }
}

/* ---- sketches ---- */

static void load_code(const struct survey *survey, const uint8_t *code, float *out)
{
    simd_codes()->f32_from_u8(code, survey->state->codec.code_dim, out);
}

/* Squared length of what a code stands for, in steps. */
static float squared_length(const struct survey *survey, const uint8_t *code, float *x)
{
    size_t dim = survey->state->codec.code_dim;

    load_code(survey, code, x);
    for (size_t d = 0; d < dim; d++)
        x[d] += survey->offset[d];
    return simd_codes()->sumsq_f32(x, dim);
}

static vecdb_status sketch_task(void *context, size_t list, unsigned worker)
{
    const struct survey *survey = context;
    const struct graph_codec *codec = &survey->state->codec;
    struct graph_lists *lists = survey->lists;
    const uint8_t *centroid = lists->centroids + list * codec->stride;
    size_t dim = codec->code_dim;
    float *rotated = mem_array_alloc(3 * dim, sizeof *rotated), *way = rotated + dim, *middle = way + dim, length = 0;

    if (!rotated)
        return error_nomem("graph lists");
    if (survey->offset)
        length = squared_length(survey, centroid, way);
    load_code(survey, centroid, middle);
    memcpy(rotated, middle, dim * sizeof *rotated);
    for (size_t d = 0; d < dim; d++)
        rotated[d] -= lists->center[d];
    simd_codes()->rotate(rotated, dim, lists->signs);
    for (size_t i = lists->offsets[list]; i < lists->offsets[list + 1]; i++) {
        const uint8_t *code = graph_code(&survey->state->layers[0], codec->stride, lists->rows[i]);
        uint8_t *sketch = lists->sketches + i * graph_sketch_size(codec);
        if (i + AHEAD < lists->offsets[list + 1])
            simd_prefetch(graph_code(&survey->state->layers[0], codec->stride, lists->rows[i + AHEAD]), codec->stride);
        float numbers[2], square, size, along, longer = survey->offset ? squared_length(survey, code, way) - length : 0;
        load_code(survey, code, way);
        simd_codes()->sub_f32(way, middle, dim, way);
        square = simd_codes()->sumsq_f32(way, dim);
        simd_codes()->rotate(way, dim, lists->signs);
        simd_graph()->sketch_signs(way, rotated, dim, 1, (uint64_t *)(void *)(sketch + 8), &size, &along);
        numbers[1] = size > 0 ? 2 * square / size : 0;
        numbers[0] = square + numbers[1] * along - longer;
        memcpy(sketch, numbers, sizeof numbers);
    }
    mem_free(rotated);
    return VECDB_OK;
}

static vecdb_status make_sketches(struct survey *survey, struct pool *pool)
{
    const struct graph_codec *codec = &survey->state->codec;
    struct graph_lists *lists = survey->lists;
    struct rng rng = rng_seeded(survey->seed ^ 0x6C69737473ull);
    vecdb_status status;

    for (size_t i = 0; i < codec->code_dim / 2; i++)
        lists->signs[i] = (uint8_t)rng_next(&rng);
    for (size_t list = 0; list < lists->count; list++)
        for (size_t d = 0; d < codec->code_dim; d++)
            lists->center[d] += (float)lists->centroids[list * codec->stride + d] / (float)lists->count;
    if (codec->kind == GRAPH_CODE_DOT) {
        if (!(survey->offset = mem_array_alloc(codec->code_dim, sizeof *survey->offset)))
            return error_nomem("graph lists");
        graph_lists_offset(codec, survey->offset);
    }
    status = pool_run(pool, lists->count, sketch_task, survey);
    mem_free(survey->offset);
    return status;
}

static vecdb_status learn(struct survey *survey, const struct index_build_context *context)
{
    struct graph_lists *lists = survey->lists;
    struct pool *pool = context->pool;
    vecdb_status status;

    TRY(pool_run(pool, lists->count, centroid_task, survey));
    survey->deviations = mem_array_alloc((size_t)lists->count * QUERIES * MEMBERS, sizeof *survey->deviations);
    survey->tails = mem_array_zalloc((size_t)lists->count * QUERIES, sizeof *survey->tails);
    status = survey->deviations && survey->tails ? pool_run(pool, lists->count, spread_task, survey) : error_nomem("graph lists");
    if (status == VECDB_OK) {
        find_tail(survey);
        status = graph_progress(context, "dividing", 2, 3);
    }
    mem_free(survey->deviations);
    mem_free(survey->tails);
    return status == VECDB_OK ? make_sketches(survey, pool) : status;
}

/* ---- making them ---- */

size_t graph_lists_leaf(size_t rows)
{
    size_t count = (size_t)(LISTS_FACTOR * sqrt((double)rows));

    return rows < GRAPH_LISTS_MIN_ROWS ? 0 : rows / (count < GRAPH_LISTS_MOST ? count : GRAPH_LISTS_MOST);
}

/* All rows there are. Returns how many. */
static size_t list_rows(const struct graph_state *state, uint32_t *out)
{
    size_t n = 0;

    for (size_t row = 0; row < state->layers[0].count; row++)
        if (!state->vectors.present || bitmap_get(state->vectors.present, row))
            out[n++] = (uint32_t)row;
    return n;
}

/* Lists of the leaves' nodes, each with those that follow it in its chain if `chains`. */
static vecdb_status lists_of(const struct graph_state *state, const struct cluster *cluster, size_t row_count, bool chains,
                             struct graph_lists **out)
{
    const uint32_t *next = chains ? state->dup_next : NULL;
    size_t n = 0;

    TRY(graph_lists_alloc(&state->codec, cluster->leaf_count, row_count, out));
    (*out)->row_limit = state->layers[0].count;
    for (size_t i = 0; i < cluster->leaf_count; i++) {
        (*out)->offsets[i] = (uint32_t)n;
        for (size_t j = cluster->offsets[i]; j < cluster->offsets[i + 1]; j++)
            for (uint32_t row = cluster->members[j]; row != GRAPH_NONE; row = next ? next[row] : GRAPH_NONE) {
                assert(n < row_count); /* every row once: in one leaf, or in the chain of one */
                (*out)->rows[n++] = row;
            }
    }
    (*out)->offsets[cluster->leaf_count] = (uint32_t)n;
    assert(n == row_count);
    return VECDB_OK;
}

static vecdb_status divide(const struct graph_state *state, uint64_t seed, struct pool *pool, uint32_t *nodes,
                           struct graph_lists **out)
{
    const struct graph_codec *codec = &state->codec;
    size_t n = list_rows(state, nodes);
    struct cluster_input input = {state->layers[0].codes, codec->stride, codec->code_dim, nodes, n, graph_lists_leaf(n), 1, seed};
    struct cluster cluster;
    vecdb_status status;

    *out = NULL;
    if (!input.leaf_rows)
        return VECDB_OK;
    TRY(cluster_create(&input, pool, &cluster));
    status = lists_of(state, &cluster, n, false, out);
    cluster_deinit(&cluster);
    return status;
}

static int compare_rows(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* `cluster` NULL: rows are divided here. */
static vecdb_status make(struct graph *graph, const struct cluster *cluster, const struct index_build_context *context)
{
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    size_t rows = state->layers[0].count;
    struct graph_lists *lists = NULL;
    struct survey survey = {.state = state, .seed = graph->settings.seed};
    uint32_t *nodes;
    vecdb_status status;

    if (rows < GRAPH_LISTS_MIN_ROWS || state->codec.kind >= GRAPH_CODE_HAMMING)
        return VECDB_OK;
    TRY(graph_progress(context, "dividing", 0, 3));
    if (!(nodes = mem_array_alloc(rows, sizeof *nodes)))
        return error_nomem("graph lists");
    status = !cluster ? divide(state, graph->settings.seed, context->pool, nodes, &lists)
                      : lists_of(state, cluster, list_rows(state, nodes), true, &lists);
    mem_free(nodes);
    if (status == VECDB_OK && lists) {
        for (size_t list = 0; list < lists->count; list++)
            qsort(lists->rows + lists->offsets[list], list_size(lists, list), sizeof *lists->rows, compare_rows);
        lists->codes = state->recoded;
        survey.lists = lists;
        graph_lists_set_mark(lists);
        if ((status = graph_progress(context, "dividing", 1, 3)) == VECDB_OK)
            status = learn(&survey, context);
    }
    if (status != VECDB_OK || !lists) {
        graph_lists_free(lists);
        return status;
    }
    lists->retired = atomic_load_explicit(&graph->lists, memory_order_relaxed);
    atomic_store_explicit(&graph->lists, lists, memory_order_release);
    return VECDB_OK;
}

vecdb_status graph_lists_make(struct graph *graph, const struct index_build_context *context) { return make(graph, NULL, context); }

vecdb_status graph_lists_make_of(struct graph *graph, const struct cluster *cluster, const struct index_build_context *context)
{
    return make(graph, cluster, context);
}

vecdb_status graph_lists_renew(struct graph *graph, const struct index_build_context *context)
{
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    const struct graph_lists *lists = atomic_load_explicit(&graph->lists, memory_order_relaxed);

    if (lists && lists->codes == state->recoded &&
        state->layers[0].count < (size_t)lists->row_limit + lists->row_limit / RENEW_SHARE)
        return VECDB_OK;
    return graph_lists_make(graph, context);
}
