/* What the parts of a graph search share: one call's settings, and the steps between a walk and its hits. */
#ifndef VECDB_INDEX_GRAPH_TASK_H
#define VECDB_INDEX_GRAPH_TASK_H

#include "base/bitmap.h"
#include "index/graph_search.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#define GRAPH_FILTER_GATHER 64 /* passing rows that an expansion under a filter is content with */

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

static inline bool graph_may_return(const struct index_search *search, const struct vectors *vectors, uint32_t row)
{
    if (search->allowed)
        return bitmap_get(search->allowed, row);
    return !vectors->present || bitmap_get(vectors->present, row);
}

/** Whether the node, or a row in its chain, may be returned. */
static inline bool graph_node_passes(const struct index_search *search, const struct graph_state *state, uint32_t node)
{
    const uint32_t *next = state->dup_next;

    if (graph_may_return(search, &state->vectors, node))
        return true;
    if (next)
        while ((node = __atomic_load_n(&next[node], __ATOMIC_ACQUIRE)) != GRAPH_NONE)
            if (graph_may_return(search, &state->vectors, node))
                return true;
    return false;
}

static inline uint32_t graph_layer_count(const struct graph_layer *layer)
{
    return __atomic_load_n(&layer->count, __ATOMIC_ACQUIRE);
}

static inline void graph_prefetch_links(const struct graph_layer *layer, uint32_t node)
{
    const uint32_t *links = layer->links + (size_t)node * layer->degree;

    simd_prefetch_line(links);
    if (layer->degree > 16)
        simd_prefetch_line(links + 16);
}

/* Expand the candidate at the cursor, which was not yet: those of its links that are new go into scratch->ids, and the first
 * `bytes` of their codes are asked for. Returns how many. */
static inline size_t graph_take_links(struct graph_scratch *scratch, const struct graph_layer *layer, size_t stride, size_t bytes,
                                      struct index_counters *counters)
{
    struct graph_pool *pool = &scratch->pool;
    size_t n = 0, log_count = scratch->log_count;
    uint32_t *ids = scratch->ids, *log = scratch->log, degree = layer->degree;
    uint64_t *visited = scratch->visited;
    const uint32_t *links = layer->links + (size_t)graph_key_node(pool->keys[pool->cursor]) * degree;
    const uint8_t *codes = layer->codes;

    pool->keys[pool->cursor++] |= 1;
    counters->hops++;
    for (uint32_t i = 0; i < degree; i++) { /* one in three is new, whereof no branch can know beforehand */
        uint32_t node = __atomic_load_n(&links[i], __ATOMIC_ACQUIRE);
        uint64_t *word = &visited[node / 64], bits;
        if (node == GRAPH_NONE)
            break;
        bits = *word;
        *word = bits | 1ull << (node % 64);
        ids[n] = node;
        n += ~bits >> (node % 64) & 1;
    }
    if (log_count + n <= scratch->log_capacity) /* else all will be cleared */
        for (size_t i = 0; i < n; i++) {
            log[log_count + i] = ids[i];
            simd_prefetch(codes + (size_t)ids[i] * stride, bytes);
        }
    else
        for (size_t i = 0; i < n; i++)
            simd_prefetch(codes + (size_t)ids[i] * stride, bytes);
    scratch->log_count = log_count + n;
    if (pool->cursor < pool->count)
        graph_prefetch_links(layer, graph_key_node(pool->keys[pool->cursor]));
    counters->rows_scored += n;
    return n;
}

/** Expand the candidate at the cursor, which was not yet: those of its links that are new go into scratch->ids and are scored in
 * scratch->scores. Returns how many. */
static inline size_t graph_score_links(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                                       struct index_counters *counters)
{
    size_t stride = query->codec->stride, n = graph_take_links(scratch, layer, stride, stride, counters);

    graph_scores(query, layer->codes, scratch->ids, n, scratch->scores);
    return n;
}

/* Only rows with scores up to `most` go on. Returns how many. */
static inline size_t graph_drop_far(uint32_t *ids, uint32_t *scores, size_t n, uint32_t most)
{
    size_t kept = 0;

    for (size_t i = 0; i < n; i++) {
        ids[kept] = ids[i];
        scores[kept] = scores[i];
        kept += scores[i] <= most;
    }
    return kept;
}

/* Codes that tell most at their beginning are scored, and fetched, only as far as it takes to know that a row is beyond `most`;
 * such rows leave scratch->ids. Returns how many stay. */
static inline size_t graph_score_near(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                                      size_t n, uint32_t most)
{
    const struct graph_codec *codec = query->codec;
    const struct graph_kernels *kernels = simd_graph();
    uint32_t *ids = scratch->ids, *scores = scratch->scores;
    size_t stride = codec->stride;

    kernels->l2sq_u8_part(query->code, layer->codes, ids, n, stride, 0, codec->head, scores);
    n = graph_drop_far(ids, scores, n, most);
    for (size_t i = 0; i < n; i++)
        simd_prefetch(layer->codes + (size_t)ids[i] * stride + codec->head, stride - codec->head);
    kernels->l2sq_u8_part(query->code, layer->codes, ids, n, stride, codec->head, codec->middle, scores);
    n = graph_drop_far(ids, scores, n, most);
    kernels->l2sq_u8_part(query->code, layer->codes, ids, n, stride, codec->middle, stride, scores);
    return n;
}

/* A candidate whose links are asked for and not yet scored. */
struct graph_expansion {
    size_t n;       /* in scratch->ids */
    uint64_t limit; /* what need not go into the pool */
    uint32_t most;  /* score that need not be known to the end; UINT32_MAX: all are */
};

/** Begin a step of a walk: the candidate at the cursor is expanded, its new links are asked for. */
static inline void graph_expand_begin(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                                      uint64_t limit, struct index_counters *counters, struct graph_expansion *out)
{
    const struct graph_pool *pool = &scratch->pool;
    const struct graph_codec *codec = query->codec;
    uint64_t worst = pool->count == pool->capacity ? pool->keys[pool->count - 1] : UINT64_MAX;

    out->limit = limit;
    out->most = query->kind == GRAPH_CODE_L2 && codec->head ? (uint32_t)((limit < worst ? limit : worst) >> 32) : UINT32_MAX;
    out->n = graph_take_links(scratch, layer, codec->stride, out->most == UINT32_MAX ? codec->stride : codec->head, counters);
}

/** End it: finds not beyond the limit go into the pool. */
static inline void graph_expand_end(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                                    const struct graph_expansion *expansion)
{
    struct graph_pool *pool = &scratch->pool;
    const uint32_t *ids = scratch->ids, *scores = scratch->scores;
    size_t n = expansion->n;

    if (expansion->most == UINT32_MAX)
        graph_scores(query, layer->codes, ids, n, scratch->scores);
    else
        n = graph_score_near(scratch, layer, query, n, expansion->most);
    for (size_t i = 0; i < n; i++) {
        uint64_t candidate = graph_key(scores[i], ids[i]);
        if (candidate <= expansion->limit && (pool->count < pool->capacity || candidate < pool->keys[pool->count - 1]) &&
            graph_pool_insert(pool, candidate) == pool->cursor)
            graph_prefetch_links(layer, ids[i]); /* next, as it looks; most others are never expanded */
    }
}

/** One step of a walk: the candidate at the cursor is expanded; finds not beyond `limit` go into the pool. */
static inline void graph_expand(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                                uint64_t limit, struct index_counters *counters)
{
    struct graph_expansion expansion;

    graph_expand_begin(scratch, layer, query, limit, counters, &expansion);
    graph_expand_end(scratch, layer, query, &expansion);
}

static inline void graph_pool_reset(struct graph_pool *pool, size_t capacity)
{
    pool->count = pool->cursor = 0;
    pool->capacity = capacity;
}

/** Room for n hits. */
vecdb_status graph_scratch_hits(struct graph_scratch *scratch, size_t n);
/** The rows of a pool, best first, chains unrolled, until there are `want`. Returns how many. */
size_t graph_unroll(const struct search_task *task, const struct graph_pool *pool, size_t want, struct hit *out);
/** Up to `want` of the rows that the filter lets through into scratch->hits (graph_filtered.c). */
vecdb_status graph_search_filtered(const struct search_task *task, struct graph_scratch *scratch,
                                   const struct graph_query *query, size_t want, size_t *count,
                                   struct index_counters *counters);
/** What the caller asks for, as a pool size and a gamma. */
void graph_effort_settle(const struct graph_calibration *calibration, const struct graph_effort *effort, size_t k,
                         struct search_task *task);

#endif
