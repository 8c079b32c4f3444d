/* Best-first search: Malkov & Yashunin, arXiv:1603.09320, algorithm 2, with one sorted pool instead of two heaps; the
 * (1 + gamma) stop is arXiv:2505.15636's. Filtered walks step over rows that do not pass to those behind them
 * (ACORN, arXiv:2403.04871), and start from rows that do. */
#include "index/graph_search.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/graph_entry.h"
#include "index/graph_exact.h"
#include "index/graph_fused.h"
#include "index/graph_lists.h"
#include "index/topk.h"
#include "simd/kernels.h"

#include <math.h>

#define LOG_SHARE 16       /* the log holds one node in so many; beyond, all bits are wiped */
#define DEADLINE_HOPS 256
#define FILTER_SEEDS 8
#define FILTER_SAMPLE 1024 /* entry nodes looked at for seeds */
#define FILTER_GATHER 64   /* passing rows an expansion is content with */
#define FILTER_FEW 4000    /* passing rows that are always scanned */
#define PROBE_HOPS 24      /* of a plain walk, after which the filter is judged */
#define PROBE_NEAREST 32   /* rows whose share of passing ones is the filter's near the query */
#define STEPPING_COST 4.0  /* a walk over passing rows alone costs about so many plain ones */
#define SCAN_COST 0.35     /* of a row in a scan of the passing ones, in rows of a walk */
#define POOL_FACTOR 4      /* candidates kept, in multiples of ef, as most need not pass */
#define POOL_MORE 4096     /* but no more than so many beyond ef: inserting takes as long as the pool */
#define LISTS_LEAST 1000   /* passing rows from which on lists are scanned rather than all of them */
#define LISTS_SHARE 0.5    /* share of passing rows, of all or near the query, from which on a plain walk is cheaper than lists */
#define MISS_FACTOR 1.4    /* rows that a scan of lists may miss by its estimate, over those that the recall allows */
#define MISS_LEAST 0.002
#define SCAN_BLOCK 256
#define SCAN_AHEAD 8       /* rows fetched before they are scored */

/* ---- scratch ---- */

void graph_scratch_free(struct graph_scratch *scratch)
{
    if (!scratch)
        return;
    mem_free(scratch->visited);
    mem_free(scratch->log);
    mem_free(scratch->pool.keys);
    mem_free(scratch->passing.keys);
    mem_free(scratch->ids);
    mem_free(scratch->scores);
    mem_free(scratch->bridges);
    mem_free(scratch->floats);
    mem_free(scratch->code);
    mem_free(scratch->self_code);
    mem_free(scratch->planes);
    mem_free(scratch->hits);
    mem_free(scratch->list_floats);
    mem_free(scratch->list_scores);
    mem_free(scratch->list_heap);
    mem_free(scratch->list_bits);
    mem_free(scratch->gathered);
    mem_free(scratch->distances);
    mem_free(scratch->entry_scores);
    mem_free(scratch->entry_nodes);
    mem_free(scratch);
}

static vecdb_status scratch_nomem(void)
{
    return error_nomem("graph search");
}

static bool grow(void *field, size_t count, size_t size)
{
    void **memory = field;

    mem_free(*memory);
    *memory = mem_array_alloc(count, size);
    return *memory != NULL;
}

vecdb_status graph_scratch_pool(struct graph_scratch *scratch, size_t ef)
{
    if (ef < GRAPH_ENTRY_BEAM_MAX)
        ef = GRAPH_ENTRY_BEAM_MAX;
    if (scratch->pool_room < ef + 1) {
        scratch->pool_room = 0;
        if (!grow(&scratch->pool.keys, ef + 1, sizeof(uint64_t)) || !grow(&scratch->passing.keys, ef + 1, sizeof(uint64_t)))
            return scratch_nomem();
        scratch->pool_room = ef + 1;
    }
    return VECDB_OK;
}

static vecdb_status scratch_fit(struct graph_scratch *scratch, const struct graph_state *state)
{
    size_t nodes = state->layers[0].capacity, links = state->layers[0].degree + FILTER_GATHER, code = state->codec.stride;
    size_t floats = graph_codec_scratch(&state->codec);

    if (floats < state->codec.dim)
        floats = state->codec.dim; /* also holds a query as floats */
    if (scratch->node_capacity < nodes || !scratch->visited) {
        scratch->node_capacity = 0;
        mem_free(scratch->visited);
        scratch->visited = mem_array_zalloc(bitmap_words(nodes) + 1, sizeof *scratch->visited);
        scratch->log_capacity = nodes / LOG_SHARE;
        if (!scratch->visited || !grow(&scratch->log, scratch->log_capacity + 1, sizeof *scratch->log))
            return scratch_nomem();
        scratch->node_capacity = nodes;
    }
    if (state->entry && scratch->entry_room < state->entry->count) {
        scratch->entry_room = 0;
        if (!grow(&scratch->entry_scores, state->entry->count, sizeof(int32_t)) ||
            !grow(&scratch->entry_nodes, state->entry->count + 16, sizeof(uint32_t)))
            return scratch_nomem();
        scratch->entry_room = state->entry->count;
    }
    if (scratch->link_room < links) {
        scratch->link_room = 0;
        if (!grow(&scratch->ids, links + 1, sizeof(uint32_t)) || !grow(&scratch->scores, links + 1, sizeof(uint32_t)) ||
            !grow(&scratch->bridges, links + 1, sizeof(uint32_t)))
            return scratch_nomem();
        scratch->link_room = links;
    }
    if (scratch->code_room < code || scratch->float_room < floats || !scratch->code) {
        scratch->code_room = scratch->float_room = 0;
        mem_free(scratch->code);
        mem_free(scratch->self_code);
        mem_free(scratch->planes);
        scratch->planes = mem_alloc(code / 2 + 64);
        scratch->code = mem_aligned_alloc(64, align_up(code + 1, 64));
        scratch->self_code = mem_aligned_alloc(64, align_up(code + 1, 64));
        if (!scratch->code || !scratch->self_code || !scratch->planes || !grow(&scratch->floats, floats + 1, sizeof(float)))
            return scratch_nomem();
        scratch->code_room = code;
        scratch->float_room = floats;
    }
    return VECDB_OK;
}

static vecdb_status scratch_hits(struct graph_scratch *scratch, size_t n)
{
    if (scratch->hit_room < n) {
        scratch->hit_room = 0;
        if (!grow(&scratch->hits, n, sizeof *scratch->hits) || !grow(&scratch->gathered, n, sizeof *scratch->gathered) ||
            !grow(&scratch->distances, n, sizeof *scratch->distances))
            return scratch_nomem();
        scratch->hit_room = n;
    }
    return VECDB_OK;
}

vecdb_status graph_scratch_take(struct graph *graph, const struct graph_state *state, size_t ef,
                                struct graph_scratch **out)
{
    struct graph_scratch *scratch;
    vecdb_status status;

    pthread_mutex_lock(&graph->lock);
    scratch = graph->scratch;
    if (scratch)
        graph->scratch = scratch->next;
    pthread_mutex_unlock(&graph->lock);
    *out = NULL;
    if (!scratch && !(scratch = mem_zalloc(sizeof *scratch)))
        return scratch_nomem();
    if ((status = scratch_fit(scratch, state)) != VECDB_OK || (status = graph_scratch_pool(scratch, ef)) != VECDB_OK) {
        graph_scratch_free(scratch);
        return status;
    }
    *out = scratch;
    return VECDB_OK;
}

void graph_scratch_give(struct graph *graph, struct graph_scratch *scratch)
{
    graph_scratch_clear(scratch);
    pthread_mutex_lock(&graph->lock);
    scratch->next = graph->scratch;
    graph->scratch = scratch;
    pthread_mutex_unlock(&graph->lock);
}

void graph_scratch_clear(struct graph_scratch *scratch)
{
    if (scratch->log_count > scratch->log_capacity)
        memset(scratch->visited, 0, bitmap_words(scratch->node_capacity) * sizeof *scratch->visited);
    else
        for (size_t i = 0; i < scratch->log_count; i++)
            scratch->visited[scratch->log[i] / 64] = 0;
    scratch->log_count = 0;
}

/* ---- the walk ---- */

static void pool_reset(struct graph_pool *pool, size_t capacity)
{
    pool->count = pool->cursor = 0;
    pool->capacity = capacity;
}

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

static inline void prefetch_links(const struct graph_layer *layer, uint32_t node)
{
    const uint32_t *links = layer->links + (size_t)node * layer->degree;

    simd_prefetch_line(links);
    if (layer->degree > 16)
        simd_prefetch_line(links + 16);
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

void graph_walk(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                struct graph_stop stop, struct index_counters *counters)
{
    struct graph_pool *pool = &scratch->pool;
    size_t stride = query->codec->stride;
    uint32_t *ids = scratch->ids, *scores = scratch->scores;
    uint64_t limit = UINT64_MAX; /* what need not be expanded or kept */

    while (pool->cursor < pool->count) {
        uint64_t key = pool->keys[pool->cursor];
        const uint32_t *links;
        size_t n = 0;

        if (key & 1) {
            pool->cursor++;
            continue;
        }
        if (stop.gamma != 0 && pool->count >= stop.keep && graph_walk_ends(pool, query, stop, key, &limit))
            break;
        pool->keys[pool->cursor++] |= 1;
        counters->hops++;
        links = layer->links + (size_t)graph_key_node(key) * layer->degree;
        for (uint32_t i = 0; i < layer->degree; i++) {
            uint32_t node = __atomic_load_n(&links[i], __ATOMIC_ACQUIRE);
            if (node == GRAPH_NONE)
                break;
            if (graph_visit(scratch, node)) {
                simd_prefetch(layer->codes + (size_t)node * stride, stride);
                ids[n++] = node;
            }
        }
        if (pool->cursor < pool->count)
            prefetch_links(layer, graph_key_node(pool->keys[pool->cursor]));
        graph_scores(query, layer->codes, ids, n, scores);
        counters->rows_scored += n;
        for (size_t i = 0; i < n; i++) {
            uint64_t candidate = graph_key(scores[i], ids[i]);
            if (candidate <= limit && (pool->count < pool->capacity || candidate < pool->keys[pool->count - 1]) &&
                graph_pool_insert(pool, candidate) == pool->cursor)
                prefetch_links(layer, ids[i]); /* next, as it looks; most others are never expanded */
        }
    }
}

static uint32_t layer_count(const struct graph_layer *layer) { return __atomic_load_n(&layer->count, __ATOMIC_ACQUIRE); }

/* Into the pool the best nodes of a layer, of which all, or the first, are scored. */
static void begin_by_scan(const struct graph_layer *layer, struct graph_scratch *scratch, const struct graph_query *query,
                          struct index_counters *counters)
{
    uint32_t scores[GRAPH_SCAN_MAX], count = layer_count(layer);

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

    pool_reset(&scratch->pool, GRAPH_ENTRY);
    if (state->entry && to_layer < state->entry->layer && graph_entry_serves(state->entry, state)) {
        e = state->entry->layer;
        begin_by_entry(state, scratch, query, beam, counters);
    } else {
        while (e < GRAPH_LAYERS - 1 && layer_count(&state->layers[e]) > GRAPH_SCAN_MAX)
            e++;
        if (!layer_count(&state->layers[e]))
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
        pool_reset(&scratch->pool, beam);
        for (size_t i = 0; i < n; i++)
            graph_seed(scratch, &state->layers[e], query, seeds[i], counters);
        graph_walk(scratch, &state->layers[e], query, stop, counters);
        graph_scratch_clear(scratch);
    }
}

/* ---- one query ---- */

struct search_task {
    struct graph *graph;
    const struct graph_state *state;
    const struct graph_fused *fused;
    const struct graph_lists *lists; /* or NULL */
    const struct index_search *search;
    size_t ef, refine;
    float gamma, recall;
    size_t gamma_k; /* gamma is of this one's distance */
    struct hit *hits;
    size_t *counts;
    struct index_counters *counters; /* per worker */
    size_t chunk;
};

static inline bool may_return(const struct index_search *search, const struct vectors *vectors, uint32_t row)
{
    if (search->allowed)
        return bitmap_get(search->allowed, row);
    return !vectors->present || bitmap_get(vectors->present, row);
}

/* Whether the node, or a row in its chain, may be returned. */
static bool node_passes(const struct search_task *task, uint32_t node)
{
    const uint32_t *next = task->state->dup_next;

    if (may_return(task->search, &task->state->vectors, node))
        return true;
    if (next)
        while ((node = __atomic_load_n(&next[node], __ATOMIC_ACQUIRE)) != GRAPH_NONE)
            if (may_return(task->search, &task->state->vectors, node))
                return true;
    return false;
}

/* The rows of a pool, best first, chains unrolled, until there are `want`. */
static size_t unroll(const struct search_task *task, const struct graph_pool *pool, size_t want, struct hit *out)
{
    const uint32_t *next = task->state->dup_next;
    size_t n = 0;

    for (size_t i = 0; i < pool->count && n < want; i++) {
        float distance = graph_codec_distance(&task->state->codec, graph_key_score(pool->keys[i]));
        uint32_t row = graph_key_node(pool->keys[i]);
        do {
            if (may_return(task->search, &task->state->vectors, row))
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
                if (may_return(search, vectors, (uint32_t)row))
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

/* The same on codes, leaving the best in the pool: half to a thirteenth of the bytes. Chains are looked at row by row,
 * so each row comes as itself. */
static vecdb_status scan_codes(const struct search_task *task, struct graph_scratch *scratch,
                               const struct graph_query *query, size_t want, struct index_counters *counters)
{
    const struct index_search *search = task->search;
    const struct graph_layer *base = &task->state->layers[0];
    size_t row_count = __atomic_load_n(&base->count, __ATOMIC_ACQUIRE), row = 0, blocks = 0;
    uint32_t rows[SCAN_BLOCK], scores[SCAN_BLOCK];
    struct graph_pool *pool = &scratch->pool;

    pool_reset(pool, want);
    while (row < row_count) {
        size_t n = 0;
        for (; n < SCAN_BLOCK && (row = bitmap_next(search->allowed, row_count, row)) < row_count; row++)
            rows[n++] = (uint32_t)row;
        graph_scores_ahead(query, base->codes, rows, n, scores);
        counters->rows_scored += n;
        for (size_t i = 0; i < n; i++)
            graph_pool_insert(pool, graph_key(scores[i], rows[i]));
        if (++blocks % 64 == 0)
            TRY(deadline_check(search->deadline));
    }
    return VECDB_OK;
}

/* ---- filtered walk ---- */

/* Passing rows to start from: the nearest of a sample of those in layer 1. */
static void seed_passing(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                         struct index_counters *counters)
{
    const struct graph_layer *layer = &task->state->layers[1];
    uint32_t count = layer_count(layer), ids[SCAN_BLOCK], scores[SCAN_BLOCK], seeds[FILTER_SEEDS];
    double share = (double)task->search->allowed_count / ((double)layer_count(&task->state->layers[0]) + 1);
    size_t step = (size_t)((double)count * share / FILTER_SAMPLE) + 1, seed_count, at = 0;
    struct graph_pool *pool = &scratch->pool;

    pool_reset(pool, FILTER_SEEDS);
    while (at < count) {
        size_t n = 0;
        for (; at < count && n < SCAN_BLOCK; at += step)
            if (node_passes(task, layer->lower[at]))
                ids[n++] = (uint32_t)at;
        graph_scores(query, layer->codes, ids, n, scores);
        counters->rows_scored += n;
        for (size_t i = 0; i < n; i++)
            graph_pool_insert(pool, graph_key(scores[i], ids[i]));
    }
    seed_count = pool->count;
    for (size_t i = 0; i < seed_count; i++)
        seeds[i] = layer->lower[graph_key_node(pool->keys[i])];
    pool_reset(pool, task->ef);
    pool_reset(&scratch->passing, task->ef);
    for (size_t i = 0; i < seed_count; i++)
        graph_seed(scratch, &task->state->layers[0], query, seeds[i], counters);
    for (size_t i = 0; i < pool->count; i++)
        graph_pool_insert(&scratch->passing, pool->keys[i]);
}

/* Best first over passing rows; rows that do not pass are stepped over, to the passing ones among their links. The
 * rows to return gather in `passing`; the pool also holds the entry, which need not pass. */
static vecdb_status walk_filtered(const struct search_task *task, struct graph_scratch *scratch,
                                  const struct graph_query *query, struct index_counters *counters)
{
    const struct graph_layer *layer = &task->state->layers[0];
    struct graph_pool *pool = &scratch->pool, *passing = &scratch->passing;
    size_t stride = query->codec->stride, room = layer->degree + FILTER_GATHER, hops = 0;
    uint32_t *ids = scratch->ids, entry[GRAPH_ENTRY];
    size_t entries = graph_descend(task->state, scratch, query, 0, entry, counters);

    seed_passing(task, scratch, query, counters);
    for (size_t i = 0; i < entries; i++) {
        size_t before = scratch->log_count;
        graph_seed(scratch, layer, query, entry[i], counters);
        if (scratch->log_count > before && node_passes(task, entry[i])) {
            uint32_t score;
            graph_scores(query, layer->codes, &entry[i], 1, &score);
            graph_pool_insert(passing, graph_key(score, entry[i]));
        }
    }
    while (pool->cursor < pool->count) {
        uint64_t key = pool->keys[pool->cursor];
        size_t n = 0, links, bridges = 0;

        if (key & 1) {
            pool->cursor++;
            continue;
        }
        if (passing->count == passing->capacity && key > passing->keys[passing->count - 1])
            break;
        pool->keys[pool->cursor++] |= 1;
        counters->hops++;
        if (++hops % DEADLINE_HOPS == 0)
            TRY(deadline_check(task->search->deadline));
        links = graph_links(layer, graph_key_node(key), scratch->scores);
        for (size_t i = 0; i < links; i++) {
            uint32_t node = scratch->scores[i];
            if (!graph_visit(scratch, node))
                continue;
            if (node_passes(task, node)) {
                simd_prefetch(layer->codes + (size_t)node * stride, stride);
                ids[n++] = node;
            } else {
                prefetch_links(layer, node);
                scratch->bridges[bridges++] = node;
            }
        }
        for (size_t b = 0; b < bridges && n < FILTER_GATHER; b++) {
            links = graph_links(layer, scratch->bridges[b], scratch->scores);
            for (size_t i = 0; i < links && n < room; i++) {
                uint32_t node = scratch->scores[i];
                if (!bitmap_get(scratch->visited, node) && node_passes(task, node)) {
                    (void)graph_visit(scratch, node);
                    simd_prefetch(layer->codes + (size_t)node * stride, stride);
                    ids[n++] = node;
                }
            }
        }
        graph_scores(query, layer->codes, ids, n, scratch->scores);
        counters->rows_scored += n;
        for (size_t i = 0; i < n; i++) {
            uint64_t candidate = graph_key(scratch->scores[i], ids[i]);
            if (passing->count < passing->capacity || candidate < passing->keys[passing->count - 1]) {
                prefetch_links(layer, ids[i]);
                graph_pool_insert(pool, candidate);
                graph_pool_insert(passing, candidate);
            }
        }
    }
    return VECDB_OK;
}

static size_t plain_pool(size_t ef)
{
    size_t more = ef * (POOL_FACTOR - 1);

    return ef + (more < POOL_MORE ? more : POOL_MORE);
}

enum engine { PLAIN_WALK, STEPPING_WALK, LISTS, SCAN };

/* After PROBE_HOPS of a plain walk: go on, walk over passing rows alone, or scan those. What counts is how many of the rows
 * near the query pass; where they are fewer than elsewhere, walks end in the wrong places, but for a plain one. */
static enum engine choose_engine(const struct search_task *task, const struct graph_pool *pool, double scored, double *budget,
                                 struct index_counters *counters)
{
    size_t nearest = task->search->k > PROBE_NEAREST ? task->search->k : PROBE_NEAREST, passing = 0;
    double allowed = (double)task->search->allowed_count, plain = 1.2 * scored + 4 * (double)task->search->k, local;
    double walk, stepping, scan = SCAN_COST * allowed;

    if (nearest > pool->count)
        nearest = pool->count;
    for (size_t i = 0; i < nearest; i++)
        passing += node_passes(task, graph_key_node(pool->keys[i]));
    local = (double)passing / (double)nearest;
    walk = plain / (local > 1.0 / 64 ? local : 1.0 / 64);
    stepping = task->lists ? INFINITY : STEPPING_COST * plain;
    if (local < 0.5 * allowed / (double)(layer_count(&task->state->layers[0]) + 1))
        stepping = INFINITY;
    *budget = scored + (walk > scan || task->lists ? walk : scan);
    counters->probes++;
    counters->near_share += local;
    counters->plain_cost += walk;
    counters->stepping_cost += stepping < INFINITY ? stepping : 0;
    counters->scan_cost += scan;
    if (task->lists)
        return local >= LISTS_SHARE ? PLAIN_WALK : LISTS;
    return walk <= stepping && walk <= scan ? PLAIN_WALK : stepping <= scan ? STEPPING_WALK : SCAN;
}

/* A walk that takes every row for a candidate and gathers those that pass in `passing`: it cannot be led astray, and costs as
 * much as rows near the query fail. Returns PLAIN_WALK when it came to its end, and otherwise what to do instead. */
static vecdb_status walk_plain(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                               size_t want, enum engine *engine, struct index_counters *counters)
{
    const struct graph_layer *layer = &task->state->layers[0];
    struct graph_pool *pool = &scratch->pool, *passing = &scratch->passing;
    size_t stride = query->codec->stride, hops = 0, keep = want > task->gamma_k ? want : task->gamma_k;
    uint32_t *ids = scratch->ids, *scores = scratch->scores, entry[GRAPH_ENTRY];
    uint64_t limit = UINT64_MAX, scored_before;
    size_t entries = graph_descend(task->state, scratch, query, 0, entry, counters);
    double budget = INFINITY;
    bool dropped = false;

    pool_reset(pool, plain_pool(task->ef));
    pool_reset(passing, task->ef);
    scored_before = counters->rows_scored;
    for (size_t i = 0; i < entries; i++)
        graph_seed(scratch, layer, query, entry[i], counters);
    for (size_t i = 0; i < pool->count; i++)
        if (node_passes(task, graph_key_node(pool->keys[i])))
            graph_pool_insert(passing, pool->keys[i]);
    *engine = PLAIN_WALK;
    while (pool->cursor < pool->count) {
        uint64_t key = pool->keys[pool->cursor];
        double scored = (double)(counters->rows_scored - scored_before);
        const uint32_t *links;
        size_t n = 0;

        if (key & 1) {
            pool->cursor++;
            continue;
        }
        if (passing->count >= keep && task->gamma != 0)
            limit = graph_walk_limit(query, graph_key_score(passing->keys[task->gamma_k - 1]), task->gamma > 0 ? task->gamma : 0);
        else if (passing->count == passing->capacity)
            limit = passing->keys[passing->count - 1];
        if (key > limit)
            return VECDB_OK;
        if (hops == PROBE_HOPS)
            *engine = choose_engine(task, pool, scored, &budget, counters);
        if (scored > budget)
            *engine = task->lists ? LISTS : SCAN;
        if (*engine != PLAIN_WALK)
            return VECDB_OK;
        pool->keys[pool->cursor++] |= 1;
        counters->hops++;
        if (++hops % DEADLINE_HOPS == 0)
            TRY(deadline_check(task->search->deadline));
        links = layer->links + (size_t)graph_key_node(key) * layer->degree;
        for (uint32_t i = 0; i < layer->degree; i++) {
            uint32_t node = __atomic_load_n(&links[i], __ATOMIC_ACQUIRE);
            if (node == GRAPH_NONE)
                break;
            if (graph_visit(scratch, node)) {
                simd_prefetch(layer->codes + (size_t)node * stride, stride);
                ids[n++] = node;
            }
        }
        if (pool->cursor < pool->count)
            prefetch_links(layer, graph_key_node(pool->keys[pool->cursor]));
        graph_scores(query, layer->codes, ids, n, scores);
        counters->rows_scored += n;
        for (size_t i = 0; i < n; i++) {
            uint64_t candidate = graph_key(scores[i], ids[i]);
            if (candidate > limit)
                continue;
            if (pool->count == pool->capacity)
                dropped = true;
            if (graph_pool_insert(pool, candidate) == pool->cursor)
                prefetch_links(layer, ids[i]);
            if ((passing->count < passing->capacity || candidate < passing->keys[passing->count - 1]) && node_passes(task, ids[i]))
                graph_pool_insert(passing, candidate);
        }
    }
    if (dropped || passing->count < keep) /* it ended without having seen what it needs */
        *engine = task->lists ? LISTS : SCAN;
    return VECDB_OK;
}

/* So few that looking at each is cheaper than finding out anything about them. */
static bool better_scanned(const struct search_task *task)
{
    double allowed = (double)task->search->allowed_count;

    return allowed <= 4.0 * (double)task->ef || allowed <= FILTER_FEW;
}

static vecdb_status scan_lists(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                               size_t want, struct index_counters *counters)
{
    struct graph_lists_scan scan = {task->lists, task->state, task->search, query, want, MISS_FACTOR * (1 - (double)task->recall)};

    if (scan.miss < MISS_LEAST)
        scan.miss = MISS_LEAST;
    return graph_lists_scan(&scan, scratch, counters);
}

static vecdb_status search_filtered(const struct search_task *task, struct graph_scratch *scratch,
                                    const struct graph_query *query, size_t want, size_t *count,
                                    struct index_counters *counters)
{
    const struct graph_pool *pool = &scratch->pool;
    enum engine engine = SCAN;

    if (task->lists && task->search->allowed_count > LISTS_LEAST &&
        (double)task->search->allowed_count < LISTS_SHARE * (double)layer_count(&task->state->layers[0])) {
        engine = LISTS;
    } else if (!better_scanned(task)) {
        TRY(graph_scratch_pool(scratch, plain_pool(task->ef)));
        TRY(walk_plain(task, scratch, query, want, &engine, counters));
        if (engine == STEPPING_WALK) {
            graph_scratch_clear(scratch);
            TRY(walk_filtered(task, scratch, query, counters));
        }
    }
    counters->plain_walks += engine == PLAIN_WALK;
    counters->stepping_walks += engine == STEPPING_WALK;
    counters->code_scans += engine == SCAN;
    counters->list_scans += engine == LISTS;
    if (engine == PLAIN_WALK || engine == STEPPING_WALK) {
        *count = unroll(task, &scratch->passing, want, scratch->hits);
        return VECDB_OK;
    }
    if (engine == LISTS)
        TRY(scan_lists(task, scratch, query, want, counters));
    else
        TRY(scan_codes(task, scratch, query, want, counters));
    for (*count = 0; *count < pool->count; ++*count)
        scratch->hits[*count] = (struct hit){graph_codec_distance(&task->state->codec, graph_key_score(pool->keys[*count])),
                                             graph_key_node(pool->keys[*count])};
    return VECDB_OK;
}

static vecdb_status search_one(const struct search_task *task, struct graph_scratch *scratch, size_t i,
                               struct index_counters *counters)
{
    const struct index_search *search = task->search;
    const struct graph_state *state = task->state;
    const void *vector = (const uint8_t *)search->queries + i * search->query_stride;
    struct hit *hits = task->hits + i * search->k;
    size_t rows = layer_count(&state->layers[0]), n, want = task->refine, possible;
    struct graph_query query;

    TRY(deadline_check(search->deadline));
    task->counts[i] = 0;
    possible = search->allowed ? search->allowed_count : rows;
    if (rows <= GRAPH_SCAN_MAX || possible <= want || possible <= GRAPH_SCAN_MAX)
        return scan_rows(task, scratch, vector, hits, &task->counts[i], counters);
    graph_codec_query(&state->codec, state->vectors.type, vector, scratch->floats, scratch->code, &query);
    if (query.exact || !task->graph->settings.refine)
        want = search->k;
    else if (want > task->ef)
        want = task->ef;
    TRY(scratch_hits(scratch, want));
    if (search->allowed) {
        TRY(search_filtered(task, scratch, &query, want, &n, counters));
    } else {
        struct graph_stop stop = {task->ef, task->gamma_k, want > task->gamma_k ? want : task->gamma_k, task->gamma};
        uint32_t seeds[GRAPH_ENTRY];
        size_t seed_count = graph_descend(state, scratch, &query, 0, seeds, counters);
        pool_reset(&scratch->pool, task->ef);
        for (size_t s = 0; s < seed_count; s++)
            graph_seed(scratch, &state->layers[0], &query, seeds[s], counters);
        if (task->fused)
            graph_fused_walk(task->fused, scratch, &state->layers[0], &query, scratch->floats, stop, counters);
        else
            graph_walk(scratch, &state->layers[0], &query, stop, counters);
        n = unroll(task, &scratch->pool, want, scratch->hits);
        counters->plain_walks++;
    }
    graph_scratch_clear(scratch);
    if (n < search->k && n < possible) /* cut off by the filter, or by chance */
        return scan_rows(task, scratch, vector, hits, &task->counts[i], counters);
    task->counts[i] = finish(task, scratch, &query, vector, n, hits, counters);
    return VECDB_OK;
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
    status = graph_scratch_take(task->graph, task->state, task->ef > task->refine ? task->ef : task->refine, &scratch);
    if (status != VECDB_OK)
        return status;
    for (size_t i = chunk * task->chunk; i < end && status == VECDB_OK; i++)
        status = search_one(task, scratch, i, &own);
    index_counters_add(all, &own);
    graph_scratch_give(task->graph, scratch);
    return status;
}

/* ---- effort ---- */

#define EF_UNKNOWN 80     /* before there was a calibration */
#define CAP_FACTOR 4      /* with gamma, the pool may hold so many times what ef asks for */

/* Value of a rising line of steps at x, in between and at the ends. */
static float interpolate(const struct graph_step *steps, bool by_recall, float x)
{
    for (size_t i = 0; i < GRAPH_CALIBRATION_STEPS; i++) {
        float at = by_recall ? steps[i].recall : steps[i].effort, value = by_recall ? steps[i].effort : steps[i].recall;
        if (at < x)
            continue;
        if (i) {
            float before = by_recall ? steps[i - 1].recall : steps[i - 1].effort;
            float least = by_recall ? steps[i - 1].effort : steps[i - 1].recall;
            if (at > before)
                value = least + (value - least) * (x - before) / (at - before);
        }
        return value;
    }
    return by_recall ? steps[GRAPH_CALIBRATION_STEPS - 1].effort : steps[GRAPH_CALIBRATION_STEPS - 1].recall;
}

/* What the caller asks for, as a pool size and a gamma. An ef is an effort: with a calibration, the gamma that brings the same
 * recall spends it where a query needs it. */
static void settle_effort(const struct graph_calibration *calibration, const struct graph_effort *effort, size_t k,
                          struct search_task *task)
{
    bool measured = calibration->query_count > 0;
    float recall = effort->recall, ef;

    task->gamma_k = k > 10 ? k : 10;
    task->gamma = effort->gamma;
    task->recall = recall;
    if (effort->ef && !measured)
        task->recall = 1 - 0.05f * EF_UNKNOWN / ((float)effort->ef + EF_UNKNOWN);
    if (effort->ef && (!measured || effort->gamma != 0)) {
        task->ef = effort->ef;
        return;
    }
    if (!measured) {
        task->ef = (recall > 0.995f ? 6 : recall > 0.98f ? 2 : 1) * EF_UNKNOWN;
        task->ef = task->ef - 10 + k;
        return;
    }
    if (effort->ef) /* measured at k = 10: of a larger k, so much of ef is what the k need anyway */
        task->recall = recall = interpolate(calibration->ef, false, (float)effort->ef * 10 / (float)(k > 10 ? k : 10));
    ef = interpolate(calibration->ef, true, recall);
    task->ef = (size_t)ef * CAP_FACTOR + k;
    if (task->gamma == 0)
        task->gamma = interpolate(calibration->gamma, true, recall);
    if (task->gamma == 0) /* which would be no stop at all */
        task->gamma = 1e-6f;
}

vecdb_status graph_effort_read(const struct index *index, const struct index_search *search, const char *ef_name,
                               struct graph_effort *effort)
{
    *effort = (struct graph_effort){
        .ef = (size_t)params_get(search->params, ef_name),
        .recall = (float)params_get(search->params, "recall"),
        .gamma = (float)params_get(search->params, "gamma"),
        .refine_k = (float)params_get(search->params, "refine_k"),
    };
    if (effort->ef && effort->ef < search->k)
        return error_set(VECDB_ERR_INVALID, "index %s: %s is %zu, but must be at least k, which is %zu", index->ops->name,
                         ef_name, effort->ef, search->k);
    return VECDB_OK;
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
    settle_effort(&graph->calibration, effort, search->k, &task);
    task.refine = (size_t)refine < search->k ? search->k : (size_t)refine;
    if (task.ef < search->k)
        task.ef = search->k;
    if (!task.state->codec.lossless && task.refine > task.ef)
        task.ef = task.refine;
    if (workers > 1 && !(all = mem_array_zalloc(workers, sizeof *all)))
        return scratch_nomem();
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
