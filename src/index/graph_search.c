/* Best-first search: Malkov & Yashunin, arXiv:1603.09320, algorithm 2, with one sorted pool instead of two heaps; the
 * (1 + gamma) stop is arXiv:2505.15636's. Scratch, filters and effort have files of their own. */
#include "index/graph_search.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/graph_entry.h"
#include "index/graph_exact.h"
#include "index/graph_fused.h"
#include "index/graph_lists.h"
#include "index/graph_task.h"
#include "index/topk.h"
#include "simd/kernels.h"

#include <math.h>

#define SCAN_BLOCK 256
#define FAR_SHARE 8 /* of the rows, fewer of which are scanned by themselves */
#define FAR_SCAN 24 /* rows that take as long to score one after another as a walk takes for each candidate that it keeps */
#define SCAN_AHEAD 8 /* rows fetched before they are scored */

/* ---- the walk ---- */

void graph_seed(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                uint32_t node, struct index_counters *counters)
{
    uint32_t score;

    if (!graph_visit(scratch, node))
        return;
    graph_scores(query, layer->codes, &node, 1, &score);
    counters->rows_scored++;
    graph_pool_insert(&scratch->pool, graph_key(score, node));
}

uint64_t graph_walk_limit(const struct graph_query *query, uint32_t score, float gamma)
{
    double distance = (double)score - (double)query->zero;

    distance = (double)query->zero + (1 + (double)gamma) * (distance > 0 ? distance : 0);
    return distance >= 4294967295.0 ? UINT64_MAX : (uint64_t)distance << 32 | UINT32_MAX;
}

bool graph_walk_ends(const struct graph_pool *pool, const struct graph_query *query, struct graph_stop stop, uint64_t key,
                     uint64_t *limit)
{
    uint32_t kth = graph_key_score(pool->keys[stop.k - 1]);
    uint64_t last = graph_walk_limit(query, kth, stop.gamma);

    *limit = stop.gamma > 0 ? last : (uint64_t)kth << 32 | UINT32_MAX;
    return key > last;
}

/* Begin the walk's next step. *limit: what need not be expanded or kept. Returns false when the walk has ended. */
static inline bool next_step(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                             struct graph_stop stop, uint64_t *limit, struct index_counters *counters,
                             struct graph_expansion *expansion)
{
    struct graph_pool *pool = &scratch->pool;

    while (pool->cursor < pool->count && pool->keys[pool->cursor] & 1)
        pool->cursor++;
    if (pool->cursor == pool->count || (stop.gamma != 0 && pool->count >= stop.keep &&
                                        graph_walk_ends(pool, query, stop, pool->keys[pool->cursor], limit)))
        return false;
    graph_expand_begin(scratch, layer, query, *limit, counters, expansion);
    return true;
}

void graph_walk(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                struct graph_stop stop, struct index_counters *counters)
{
    uint64_t limit = UINT64_MAX;
    struct graph_expansion expansion;

    while (next_step(scratch, layer, query, stop, &limit, counters, &expansion))
        graph_expand_end(scratch, layer, query, &expansion);
}

/* Into the pool the best nodes of a layer, of which all, or the first, are scored. */
static void begin_by_scan(const struct graph_layer *layer, struct graph_scratch *scratch, const struct graph_query *query,
                          struct index_counters *counters)
{
    uint32_t scores[GRAPH_SCAN_MAX], count = graph_layer_count(layer);

    if (count > GRAPH_SCAN_MAX)
        count = GRAPH_SCAN_MAX;
    graph_scores_rows(query, layer->codes, count, scores);
    counters->rows_scored += count;
    for (uint32_t i = 0; i < count; i++)
        graph_pool_insert(&scratch->pool, graph_key(scores[i], i));
}

/* The same of a layer that has a table to begin by. */
static void begin_by_entry(const struct graph_state *state, struct graph_scratch *scratch, const struct graph_query *query,
                           size_t beam, struct index_counters *counters)
{
    const struct graph_layer *layer = &state->layers[state->entry->layer];
    uint32_t scores[GRAPH_ENTRY_BEAM_MAX], *nodes = scratch->entry_nodes;
    size_t tried = beam > GRAPH_ENTRY_TRIED ? beam : GRAPH_ENTRY_TRIED, n;

    n = graph_entry_nearest(state->entry, query, tried, scratch->entry_scores, nodes);
    for (size_t i = 0; i < n; i++)
        simd_prefetch(layer->codes + (size_t)nodes[i] * query->codec->stride, query->codec->stride);
    graph_scores(query, layer->codes, nodes, n, scores);
    counters->rows_scored += n;
    for (size_t i = 0; i < n; i++)
        graph_pool_insert(&scratch->pool, graph_key(scores[i], nodes[i]));
}

size_t graph_descend(const struct graph_state *state, struct graph_scratch *scratch, const struct graph_query *query,
                     unsigned to_layer, uint32_t seeds[GRAPH_ENTRY], struct index_counters *counters)
{
    size_t beam = state->entry_beam > GRAPH_ENTRY ? state->entry_beam : GRAPH_ENTRY;
    struct graph_stop stop = {.ef = beam};
    unsigned e = to_layer > 1 ? to_layer : 1;
    size_t n = 0;

    graph_pool_reset(&scratch->pool, GRAPH_ENTRY);
    if (state->entry && to_layer < state->entry->layer && graph_entry_serves(state->entry, state)) {
        e = state->entry->layer;
        begin_by_entry(state, scratch, query, beam, counters);
    } else {
        while (e < GRAPH_LAYERS - 1 && graph_layer_count(&state->layers[e]) > GRAPH_SCAN_MAX)
            e++;
        if (!graph_layer_count(&state->layers[e]))
            return 0;
        begin_by_scan(&state->layers[e], scratch, query, counters);
    }
    for (;;) {
        n = scratch->pool.count < GRAPH_ENTRY ? scratch->pool.count : GRAPH_ENTRY;
        for (size_t i = 0; i < n; i++)
            seeds[i] = graph_key_node(scratch->pool.keys[i]);
        if (e == to_layer)
            return n;
        for (size_t i = 0; i < n; i++)
            seeds[i] = state->layers[e].lower[seeds[i]];
        if (--e == to_layer)
            return n;
        graph_pool_reset(&scratch->pool, beam);
        for (size_t i = 0; i < n; i++)
            graph_seed(scratch, &state->layers[e], query, seeds[i], counters);
        graph_walk(scratch, &state->layers[e], query, stop, counters);
        graph_scratch_clear(scratch);
    }
}

void graph_scores_ahead(const struct graph_query *query, const uint8_t *codes, const uint32_t *rows, size_t n,
                        uint32_t *scores)
{
    size_t stride = query->codec->stride;

    for (size_t i = 0; i < n && i < SCAN_AHEAD; i++)
        simd_prefetch(codes + (size_t)rows[i] * stride, stride);
    for (size_t i = 0; i < n; i += SCAN_AHEAD) {
        size_t count = n - i < SCAN_AHEAD ? n - i : SCAN_AHEAD;
        for (size_t next = i + SCAN_AHEAD; next < n && next < i + 2 * SCAN_AHEAD; next++)
            simd_prefetch(codes + (size_t)rows[next] * stride, stride);
        graph_scores(query, codes, rows + i, count, scores + i);
    }
}

/* ---- one query ---- */

size_t graph_unroll(const struct search_task *task, const struct graph_pool *pool, size_t want, struct hit *out)
{
    const uint32_t *next = task->state->dup_next;
    size_t n = 0;

    for (size_t i = 0; i < pool->count && n < want; i++) {
        float distance = graph_codec_distance(&task->state->codec, graph_key_score(pool->keys[i]));
        uint32_t row = graph_key_node(pool->keys[i]);
        do {
            if (graph_may_return(task->search, &task->state->vectors, row))
                out[n++] = (struct hit){distance, row};
            row = next ? __atomic_load_n(&next[row], __ATOMIC_ACQUIRE) : GRAPH_NONE;
        } while (row != GRAPH_NONE && n < want);
    }
    return n;
}

/* Exact distances of the candidates, then the k best that the radius allows. */
static size_t finish(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                     const void *vector, size_t n, struct hit *hits, struct index_counters *counters)
{
    const struct index_search *search = task->search;
    struct topk topk;

    if (!query->exact) {
        struct graph_exact exact;
        graph_exact_init(&exact, &task->state->vectors, task->graph->base.metric, vector, scratch->floats);
        for (size_t i = 0; i < n; i++)
            scratch->gathered[i] = scratch->hits[i].row;
        graph_exact_distances(&exact, scratch->gathered, n, scratch->distances);
        for (size_t i = 0; i < n; i++)
            scratch->hits[i].distance = scratch->distances[i];
        counters->reranked += n;
    }
    topk_init(&topk, hits, search->k);
    for (size_t i = 0; i < n; i++)
        if ((!search->has_radius || scratch->hits[i].distance < search->radius) &&
            scratch->hits[i].distance <= topk.threshold)
            topk_push(&topk, scratch->hits[i].distance, scratch->hits[i].row);
    topk_finish(&topk);
    return topk.count;
}


/* Every row that may be returned, on its vector. */
static vecdb_status scan_rows(const struct search_task *task, struct graph_scratch *scratch, const void *vector,
                              struct hit *hits, size_t *count, struct index_counters *counters)
{
    const struct index_search *search = task->search;
    const struct vectors *vectors = &task->state->vectors;
    size_t row_count = __atomic_load_n(&task->state->layers[0].count, __ATOMIC_ACQUIRE), row = 0, blocks = 0;
    uint32_t rows[SCAN_BLOCK];
    float distances[SCAN_BLOCK];
    struct graph_exact exact;
    struct topk topk;

    graph_exact_init(&exact, vectors, task->graph->base.metric, vector, scratch->floats);
    counters->row_scans++;
    topk_init(&topk, hits, search->k);
    while (row < row_count) {
        size_t n = 0;
        if (search->allowed) {
            for (; n < SCAN_BLOCK && (row = bitmap_next(search->allowed, row_count, row)) < row_count; row++)
                rows[n++] = (uint32_t)row;
        } else
            for (; n < SCAN_BLOCK && row < row_count; row++)
                if (graph_may_return(search, vectors, (uint32_t)row))
                    rows[n++] = (uint32_t)row;
        graph_exact_distances(&exact, rows, n, distances);
        counters->reranked += n;
        for (size_t i = 0; i < n; i++)
            if ((!search->has_radius || distances[i] < search->radius) && distances[i] <= topk.threshold)
                topk_push(&topk, distances[i], rows[i]);
        if (++blocks % 16 == 0)
            TRY(deadline_check(search->deadline));
    }
    topk_finish(&topk);
    *count = topk.count;
    return VECDB_OK;
}

/* Into scratch->hits the best of all rows that may be returned, by codes. Each row is looked at by itself, so chains do not
 * matter. */
static vecdb_status scan_codes(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                               size_t want, size_t *found, struct index_counters *counters)
{
    const struct graph_state *state = task->state;
    const struct graph_layer *base = &state->layers[0];
    struct graph_pool *pool = &scratch->pool;
    size_t row_count = graph_layer_count(base), blocks = 0;
    uint32_t scores[SCAN_BLOCK];

    graph_pool_reset(pool, want);
    for (size_t at = 0; at < row_count; at += SCAN_BLOCK) {
        size_t n = row_count - at < SCAN_BLOCK ? row_count - at : SCAN_BLOCK;
        graph_scores_rows(query, graph_code(base, query->codec->stride, at), n, scores);
        for (size_t i = 0; i < n; i++) {
            uint64_t key = graph_key(scores[i], (uint32_t)(at + i));
            if ((pool->count < want || key < pool->keys[want - 1]) &&
                graph_may_return(task->search, &state->vectors, (uint32_t)(at + i)))
                graph_pool_insert(pool, key);
        }
        if (++blocks % 64 == 0)
            TRY(deadline_check(task->search->deadline));
    }
    counters->rows_scored += row_count;
    counters->code_scans++;
    for (size_t i = 0; i < pool->count; i++)
        scratch->hits[i] = (struct hit){graph_codec_distance(query->codec, graph_key_score(pool->keys[i])),
                                        graph_key_node(pool->keys[i])};
    *found = pool->count;
    return VECDB_OK;
}

/* How to look for what is near a query far out: seen from there all rows are nearly equally far, so no distance says when to
 * stop, and codes tell less apart: every candidate is scored again. Sketches and lists know nothing of what lies beyond codes. */
static struct search_task far_task(const struct search_task *task)
{
    struct search_task far = *task;

    far.fused = NULL;
    far.lists = NULL;
    far.gamma = 0;
    return far;
}

/* Candidates that a query's answer is made from. */
static size_t wanted(const struct search_task *task, const struct graph_query *query)
{
    size_t want = query->kind == GRAPH_CODE_FAR ? task->ef : task->refine;

    if (query->exact || !task->graph->settings.refine)
        return task->search->k;
    return want < task->ef ? want : task->ef;
}

/* Into the pool what a walk of the base layer begins by. */
static struct graph_stop begin_walk(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                                    size_t want, struct index_counters *counters)
{
    const struct graph_state *state = task->state;
    uint32_t seeds[GRAPH_ENTRY];
    size_t count = graph_descend(state, scratch, query, 0, seeds, counters);

    graph_pool_reset(&scratch->pool, task->ef);
    for (size_t s = 0; s < count; s++)
        graph_seed(scratch, &state->layers[0], query, seeds[s], counters);
    counters->plain_walks++;
    return (struct graph_stop){task->ef, task->gamma_k, want > task->gamma_k ? want : task->gamma_k, task->gamma};
}

/* Of the n candidates in scratch->hits the answer to query i. */
static vecdb_status answer_one(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                               size_t i, size_t n, struct index_counters *counters)
{
    const struct index_search *search = task->search;
    const void *vector = (const uint8_t *)search->queries + i * search->query_stride;
    size_t possible = search->allowed ? search->allowed_count : graph_layer_count(&task->state->layers[0]);

    graph_scratch_clear(scratch);
    if (n < search->k && n < possible) /* cut off by the filter, or by chance */
        return scan_rows(task, scratch, vector, task->hits + i * search->k, &task->counts[i], counters);
    task->counts[i] = finish(task, scratch, query, vector, n, task->hits + i * search->k, counters);
    return VECDB_OK;
}

static vecdb_status search_one(const struct search_task *task, struct graph_scratch *scratch, size_t i,
                               struct index_counters *counters)
{
    const struct index_search *search = task->search;
    const struct graph_state *state = task->state;
    const void *vector = (const uint8_t *)search->queries + i * search->query_stride;
    struct hit *hits = task->hits + i * search->k;
    size_t rows = graph_layer_count(&state->layers[0]), n, want, possible;
    struct graph_query query;
    struct search_task far;

    TRY(deadline_check(search->deadline));
    task->counts[i] = 0;
    possible = search->allowed ? search->allowed_count : rows;
    if (rows <= GRAPH_SCAN_MAX || possible <= task->refine || possible <= GRAPH_SCAN_MAX)
        return scan_rows(task, scratch, vector, hits, &task->counts[i], counters);
    graph_codec_query(&state->codec, state->vectors.type, vector, scratch->floats, scratch->code, &query);
    if (query.kind == GRAPH_CODE_FAR) {
        far = far_task(task);
        task = &far;
    }
    want = wanted(task, &query);
    TRY(graph_scratch_hits(scratch, want));
    if (query.kind == GRAPH_CODE_FAR && rows <= task->ef * FAR_SCAN && possible > rows / FAR_SHARE) {
        TRY(scan_codes(task, scratch, &query, want, &n, counters));
    } else if (search->allowed) {
        TRY(graph_search_filtered(task, scratch, &query, want, &n, counters));
    } else {
        struct graph_stop stop = begin_walk(task, scratch, &query, want, counters);
        if (task->fused)
            graph_fused_walk(task->fused, scratch, &state->layers[0], &query, scratch->floats, stop, counters);
        else
            graph_walk(scratch, &state->layers[0], &query, stop, counters);
        n = graph_unroll(task, &scratch->pool, want, scratch->hits);
    }
    return answer_one(task, scratch, &query, i, n, counters);
}

/* ---- two queries at once ---- */

#define LANES 2 /* a batch walks by turns, so that what one asks for arrives while another is scored; more brought nothing */

struct lane {
    struct graph_scratch *scratch;
    struct graph_query query;
    struct graph_stop stop;
    struct graph_expansion expansion;
    uint64_t limit;
    size_t i, want;
    bool walking;
};

/* Whether queries of this task do nothing but walk. */
static bool can_alternate(const struct search_task *task)
{
    size_t rows = graph_layer_count(&task->state->layers[0]);

    return !task->search->allowed && !task->fused && rows > GRAPH_SCAN_MAX && rows > task->refine;
}

/* The lane takes the next query there is and makes its first step. Queries far out are answered at once. */
static vecdb_status lane_begin(const struct search_task *task, struct lane *lane, size_t *next, size_t end,
                               struct index_counters *counters)
{
    const struct graph_state *state = task->state;

    lane->walking = false;
    while (*next < end && !lane->walking) {
        size_t i = (*next)++;
        const void *vector = (const uint8_t *)task->search->queries + i * task->search->query_stride;
        TRY(deadline_check(task->search->deadline));
        task->counts[i] = 0;
        graph_codec_query(&state->codec, state->vectors.type, vector, lane->scratch->floats, lane->scratch->code, &lane->query);
        if (lane->query.kind == GRAPH_CODE_FAR) {
            TRY(search_one(task, lane->scratch, i, counters));
            continue;
        }
        lane->i = i;
        lane->limit = UINT64_MAX;
        lane->want = wanted(task, &lane->query);
        TRY(graph_scratch_hits(lane->scratch, lane->want));
        lane->stop = begin_walk(task, lane->scratch, &lane->query, lane->want, counters);
        lane->expansion.n = 0;
        lane->expansion.most = UINT32_MAX;
        lane->walking = true;
    }
    return VECDB_OK;
}

static vecdb_status lane_step(const struct search_task *task, struct lane *lane, size_t *next, size_t end,
                              struct index_counters *counters)
{
    const struct graph_layer *layer = &task->state->layers[0];
    size_t n;

    if (lane->expansion.n)
        graph_expand_end(lane->scratch, layer, &lane->query, &lane->expansion);
    if (next_step(lane->scratch, layer, &lane->query, lane->stop, &lane->limit, counters, &lane->expansion))
        return VECDB_OK;
    n = graph_unroll(task, &lane->scratch->pool, lane->want, lane->scratch->hits);
    TRY(answer_one(task, lane->scratch, &lane->query, lane->i, n, counters));
    return lane_begin(task, lane, next, end, counters);
}

static vecdb_status alternate(const struct search_task *task, struct lane *lanes, size_t next, size_t end,
                              struct index_counters *counters)
{
    bool walking = true;

    for (size_t l = 0; l < LANES; l++)
        TRY(lane_begin(task, &lanes[l], &next, end, counters));
    while (walking) {
        walking = false;
        for (size_t l = 0; l < LANES; l++)
            if (lanes[l].walking) {
                TRY(lane_step(task, &lanes[l], &next, end, counters));
                walking = true;
            }
    }
    return VECDB_OK;
}

static vecdb_status search_by_turns(const struct search_task *task, size_t begin, size_t end, struct index_counters *counters)
{
    struct lane lanes[LANES] = {0};
    size_t ef = task->ef > task->refine ? task->ef : task->refine;
    vecdb_status status = VECDB_OK;

    for (size_t l = 0; l < LANES && status == VECDB_OK; l++)
        status = graph_scratch_take(task->graph, task->state, ef, &lanes[l].scratch);
    if (status == VECDB_OK)
        status = alternate(task, lanes, begin, end, counters);
    for (size_t l = 0; l < LANES; l++)
        if (lanes[l].scratch)
            graph_scratch_give(task->graph, lanes[l].scratch);
    return status;
}

static vecdb_status search_chunk(void *context, size_t chunk, unsigned worker)
{
    const struct search_task *task = context;
    size_t end = (chunk + 1) * task->chunk;
    struct index_counters own = {0}, *all = &task->counters[worker]; /* neighbours in memory: not to be shared with each hop */
    struct graph_scratch *scratch;
    vecdb_status status;

    if (end > task->search->query_count)
        end = task->search->query_count;
    if (end - chunk * task->chunk > 1 && can_alternate(task)) {
        status = search_by_turns(task, chunk * task->chunk, end, &own);
        index_counters_add(all, &own);
        return status;
    }
    status = graph_scratch_take(task->graph, task->state, task->ef > task->refine ? task->ef : task->refine, &scratch);
    if (status != VECDB_OK)
        return status;
    for (size_t i = chunk * task->chunk; i < end && status == VECDB_OK; i++)
        status = search_one(task, scratch, i, &own);
    index_counters_add(all, &own);
    graph_scratch_give(task->graph, scratch);
    return status;
}


vecdb_status graph_search(const struct index *index, const struct index_search *search, const struct graph_effort *effort,
                          struct hit *hits, size_t *counts, struct index_counters *counters)
{
    struct graph *graph = (struct graph *)index; /* its scratch list has a lock of its own */
    struct search_task task = {.graph = graph, .search = search, .hits = hits, .counts = counts};
    unsigned workers = search->query_count > 1 ? pool_threads(search->pool) : 1;
    struct index_counters own = {0}, *all = &own;
    double refine = (double)effort->refine_k * (double)search->k;
    size_t chunks;
    vecdb_status status;

    task.lists = atomic_load_explicit(&graph->lists, memory_order_acquire); /* before the state, which must have their rows */
    task.state = atomic_load_explicit(&graph->state, memory_order_acquire);
    task.fused = atomic_load_explicit(&graph->fused, memory_order_acquire);
    if (task.lists && task.lists->codes != task.state->recoded)
        task.lists = NULL;
    graph_effort_settle(&graph->calibration, effort, search->k, &task);
    task.refine = (size_t)refine < search->k ? search->k : (size_t)refine;
    if (task.ef < search->k)
        task.ef = search->k;
    if (!task.state->codec.lossless && task.refine > task.ef)
        task.ef = task.refine;
    if (workers > 1 && !(all = mem_array_zalloc(workers, sizeof *all)))
        return error_nomem("graph search");
    task.counters = all;
    task.chunk = workers > 1 ? search->query_count / (workers * 32) + 1 : search->query_count; /* all end at once, nearly */
    if (task.chunk > 256)
        task.chunk = 256;
    chunks = (search->query_count + task.chunk - 1) / task.chunk;
    status = pool_run(workers > 1 ? search->pool : NULL, chunks, search_chunk, &task);
    for (unsigned w = 0; w < workers; w++)
        index_counters_add(counters, &all[w]);
    if (all != &own)
        mem_free(all);
    return status;
}
