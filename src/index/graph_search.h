/* Walking a layer: best first, one sorted pool of candidates, every node scored once. */
#ifndef VECDB_INDEX_GRAPH_SEARCH_H
#define VECDB_INDEX_GRAPH_SEARCH_H

#include "index/graph.h"

#include <string.h>

/* A candidate is one number: score, row, and whether it was expanded, from the top. */
static inline uint64_t graph_key(uint32_t score, uint32_t node) { return (uint64_t)score << 32 | (uint64_t)node << 1; }
static inline uint32_t graph_key_score(uint64_t key) { return (uint32_t)(key >> 32); }
static inline uint32_t graph_key_node(uint64_t key) { return (uint32_t)key >> 1; }

/** Sorted by key; the worst fall out of a full one. */
struct graph_pool {
    uint64_t *keys;
    size_t count, capacity, cursor; /* before `cursor` all are expanded */
};

/** One thread's working memory. Searches take one from the graph and give it back. */
struct graph_scratch {
    struct graph_scratch *next;
    uint64_t *visited;  /* a bit per node; clear between walks */
    uint32_t *log;      /* nodes whose bits are set */
    size_t log_count, log_capacity, node_capacity;
    struct graph_pool pool, passing;
    size_t pool_room, passing_room;
    uint32_t *ids, *scores; /* of one expansion: link_room */
    uint32_t *bridges;
    size_t link_room;
    float *floats;
    uint8_t *code, *self_code; /* 64-byte aligned */
    uint64_t *planes;          /* of a query, for sketches */
    size_t code_room, float_room;
    struct hit *hits;
    size_t hit_room;
    float *list_floats;  /* of a scan of lists: four per list */
    uint32_t *list_scores;
    uint32_t *list_chosen;
    uint64_t *list_heap, *list_bits, *trail;
    size_t list_room, list_words; /* lists, and words of a plane of list_bits: either may grow without the other */
    int32_t *entry_scores; /* of the nodes a search begins by */
    uint32_t *entry_nodes;
    size_t entry_room;
    uint32_t *gathered;  /* rows to score exactly, as many as hits */
    float *distances;
};

vecdb_status graph_scratch_take(struct graph *graph, const struct graph_state *state, size_t ef,
                                struct graph_scratch **out);
void graph_scratch_give(struct graph *graph, struct graph_scratch *scratch);
void graph_scratch_free(struct graph_scratch *scratch);
/** Room in the pool for ef candidates. */
vecdb_status graph_scratch_pool(struct graph_scratch *scratch, size_t ef);
/** Forget what was visited. */
void graph_scratch_clear(struct graph_scratch *scratch);

static inline bool graph_visit(struct graph_scratch *scratch, uint32_t node)
{
    uint64_t *word = &scratch->visited[node / 64], bit = 1ull << (node % 64);

    if (*word & bit)
        return false;
    *word |= bit;
    if (scratch->log_count < scratch->log_capacity)
        scratch->log[scratch->log_count] = node;
    scratch->log_count++;
    return true;
}

/** Returns where it went; the capacity when it did not fit in. */
static inline size_t graph_pool_insert(struct graph_pool *pool, uint64_t key)
{
    const uint64_t *at = pool->keys;
    size_t low, left;

    if (pool->count == pool->capacity) {
        if (key >= pool->keys[pool->count - 1])
            return pool->capacity;
        pool->count--;
    }
    for (left = pool->count; left > 1; left -= left / 2) /* by halves, without a branch: none could be foretold */
        at += left / 2 & -(size_t)(at[left / 2 - 1] < key);
    low = (size_t)(at - pool->keys) + (left && *at < key);
    memmove(pool->keys + low + 1, pool->keys + low, (pool->count - low) * sizeof *pool->keys);
    pool->keys[low] = key;
    pool->count++;
    if (low < pool->cursor)
        pool->cursor = low;
    return low;
}

/** How a walk ends: when the pool of ef holds nothing unexpanded, or the next is farther than (1 + gamma) times the k-th
 * (gamma 0: only the former; below 0, that is before all k have been expanded). */
struct graph_stop {
    size_t ef, k, keep; /* gamma counts once there are `keep` candidates, at least k */
    float gamma;
};

/** The key of (1 + gamma) times a score's distance. */
uint64_t graph_walk_limit(const struct graph_query *query, uint32_t score, float gamma);
/** Whether gamma ends a walk whose next candidate is `key`; *limit receives what need not be kept beyond. */
bool graph_walk_ends(const struct graph_pool *pool, const struct graph_query *query, struct graph_stop stop, uint64_t key,
                     uint64_t *limit);
/** Score a node unless it was, and put it in the pool. */
void graph_seed(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                uint32_t node, struct index_counters *counters);
/** Walk from what the pool holds. The pool is left sorted; visited bits stay set. */
void graph_walk(struct graph_scratch *scratch, const struct graph_layer *layer, const struct graph_query *query,
                struct graph_stop stop, struct index_counters *counters);
#define GRAPH_ENTRY 2 /* candidates that come down to the base layer */
#define GRAPH_ENTRY_BEAM_MAX 64
/** Descend from the top to `layer`: nodes of it near the query. Returns how many, 0 in an empty graph. */
size_t graph_descend(const struct graph_state *state, struct graph_scratch *scratch, const struct graph_query *query,
                     unsigned layer, uint32_t seeds[GRAPH_ENTRY], struct index_counters *counters);

/** graph_scores() of rows far apart: those next in turn are on their way while the ones before are scored. */
void graph_scores_ahead(const struct graph_query *query, const uint8_t *codes, const uint32_t *rows, size_t n,
                        uint32_t *scores);

/** Links of a node, while a thread may be adding some. Returns how many. */
static inline size_t graph_links(const struct graph_layer *layer, uint32_t node, uint32_t *out)
{
    const uint32_t *links = layer->links + (size_t)node * layer->degree;
    size_t n = 0;

    for (; n < layer->degree; n++) {
        out[n] = __atomic_load_n(&links[n], __ATOMIC_ACQUIRE);
        if (out[n] == GRAPH_NONE)
            break;
    }
    return n;
}

/** How hard to look. */
struct graph_effort {
    size_t ef;      /* candidates kept; 0: by the target recall */
    float recall;
    float gamma;
    float refine_k; /* rows scored exactly, as a multiple of k */
};
/** Effort of the parameters ef (or another name for it), recall, gamma and refine_k; VECDB_ERR_INVALID when ef is below k. */
vecdb_status graph_effort_read(const struct index *index, const struct index_search *search, const char *ef_name,
                               struct graph_effort *effort);
vecdb_status graph_search(const struct index *index, const struct index_search *search, const struct graph_effort *effort,
                          struct hit *hits, size_t *counts, struct index_counters *counters);

#endif
