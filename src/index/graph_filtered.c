/* Searches under a filter: a plain walk that gathers what passes, a walk over passing rows alone (which steps over rows that do
 * not pass to those behind them, ACORN, arXiv:2403.04871, and starts from rows that do), lists, or a scan. */
#include "index/graph_task.h"

#include "index/graph_lists_memo.h"
#include "simd/kernels.h"

#include <math.h>

#define DEADLINE_HOPS 256
#define FILTER_SEEDS 8
#define FILTER_SAMPLE 1024 /* entry nodes looked at for seeds */
#define FILTER_FEW 4000    /* passing rows that are always scanned */
#define PROBE_HOPS 24      /* of a plain walk, after which the filter is judged */
#define PROBE_NEAREST 32   /* rows whose share of passing ones is the filter's near the query */
#define STEPPING_COST 4.0  /* a walk over passing rows alone costs about so many plain ones */
#define SCAN_COST 0.35     /* of a row in a scan of the passing ones, in rows of a walk */
#define POOL_FACTOR 4      /* candidates kept, in multiples of ef, as most need not pass */
#define POOL_MORE 4096     /* but no more than so many beyond ef: inserting takes as long as the pool */
#define LISTS_LEAST 1500   /* passing rows from which on lists are scanned rather than all of them */
#define LISTS_SHARE 0.5    /* share of passing rows from which on a plain walk is tried before lists */
#define LISTS_NEAR 0.25    /* the same near the query, from which on it is cheaper */
#define PATIENCE 3.0       /* times what a walk should cost, after which lists are taken instead, of walks to many: */
#define PATIENT_FROM 32    /* from this k on. To few a walk that takes longer has often gone astray, and would end there */
#define PROBE_FIRST 8      /* hops after which lists are taken where no row near the query passes */
#define MISS_FACTOR 1.4    /* rows that a scan of lists may miss by its estimate, over those that the recall allows */
#define MISS_LEAST 0.002
#define SCAN_BLOCK 256
#define TELLING_LEAST 12   /* candidates whose distances are compared with what codes are out by, */
#define WANT_MORE 8        /* so many times as many of which are scored exactly where that is more */

/* Every passing row on its code, leaving the best in the pool: half to a thirteenth of the bytes. Chains are looked at row by row,
 * so each row comes as itself. */
static vecdb_status scan_codes(const struct search_task *task, struct graph_scratch *scratch,
                               const struct graph_query *query, size_t want, struct index_counters *counters)
{
    const struct index_search *search = task->search;
    const struct graph_layer *base = &task->state->layers[0];
    size_t row_count = __atomic_load_n(&base->count, __ATOMIC_ACQUIRE), row = 0, blocks = 0;
    uint32_t rows[SCAN_BLOCK], scores[SCAN_BLOCK];
    struct graph_pool *pool = &scratch->pool;

    graph_pool_reset(pool, want);
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

/* Passing rows to start from: the nearest of a sample of those in layer 1. */
static void seed_passing(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                         struct index_counters *counters)
{
    const struct graph_layer *layer = &task->state->layers[1];
    uint32_t count = graph_layer_count(layer), ids[SCAN_BLOCK], scores[SCAN_BLOCK], seeds[FILTER_SEEDS];
    double share = (double)task->search->allowed_count / ((double)graph_layer_count(&task->state->layers[0]) + 1);
    size_t step = (size_t)((double)count * share / FILTER_SAMPLE) + 1, seed_count, at = 0;
    struct graph_pool *pool = &scratch->pool;

    graph_pool_reset(pool, FILTER_SEEDS);
    while (at < count) {
        size_t n = 0;
        for (; at < count && n < SCAN_BLOCK; at += step)
            if (graph_node_passes(task->search, task->state, layer->lower[at]))
                ids[n++] = (uint32_t)at;
        graph_scores(query, layer->codes, ids, n, scores);
        counters->rows_scored += n;
        for (size_t i = 0; i < n; i++)
            graph_pool_insert(pool, graph_key(scores[i], ids[i]));
    }
    seed_count = pool->count;
    for (size_t i = 0; i < seed_count; i++)
        seeds[i] = layer->lower[graph_key_node(pool->keys[i])];
    graph_pool_reset(pool, task->ef);
    graph_pool_reset(&scratch->passing, task->ef);
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
    size_t stride = query->codec->stride, room = layer->degree + GRAPH_FILTER_GATHER, hops = 0;
    uint32_t *ids = scratch->ids, entry[GRAPH_ENTRY];
    size_t entries = graph_descend(task->state, scratch, query, 0, entry, counters);

    seed_passing(task, scratch, query, counters);
    for (size_t i = 0; i < entries; i++) {
        size_t before = scratch->log_count;
        graph_seed(scratch, layer, query, entry[i], counters);
        if (scratch->log_count > before && graph_node_passes(task->search, task->state, entry[i])) {
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
            if (graph_node_passes(task->search, task->state, node)) {
                simd_prefetch(layer->codes + (size_t)node * stride, stride);
                ids[n++] = node;
            } else {
                graph_prefetch_links(layer, node);
                scratch->bridges[bridges++] = node;
            }
        }
        for (size_t b = 0; b < bridges && n < GRAPH_FILTER_GATHER; b++) {
            links = graph_links(layer, scratch->bridges[b], scratch->scores);
            for (size_t i = 0; i < links && n < room; i++) {
                uint32_t node = scratch->scores[i];
                if (!bitmap_get(scratch->visited, node) && graph_node_passes(task->search, task->state, node)) {
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
                graph_prefetch_links(layer, ids[i]);
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
        passing += graph_node_passes(task->search, task->state, graph_key_node(pool->keys[i]));
    local = (double)passing / (double)nearest;
    walk = plain / (local > 1.0 / 64 ? local : 1.0 / 64);
    stepping = task->lists ? INFINITY : STEPPING_COST * plain;
    if (local < 0.5 * allowed / (double)(graph_layer_count(&task->state->layers[0]) + 1))
        stepping = INFINITY;
    if (task->lists)
        *budget = scored + (task->search->k > PATIENT_FROM ? PATIENCE * walk : walk);
    else
        *budget = scored + (walk > scan ? walk : scan);
    counters->probes++;
    counters->near_share += local;
    counters->plain_cost += walk;
    counters->stepping_cost += stepping < INFINITY ? stepping : 0;
    counters->scan_cost += scan;
    if (task->lists)
        return local >= LISTS_NEAR ? PLAIN_WALK : LISTS;
    return walk <= stepping && walk <= scan ? PLAIN_WALK : stepping <= scan ? STEPPING_WALK : SCAN;
}

/* A walk that takes every row for a candidate and gathers those that pass in `passing`: it cannot be led astray, and costs as
 * much as rows near the query fail. Returns PLAIN_WALK when it came to its end, and otherwise what to do instead. */
static vecdb_status walk_plain(const struct search_task *task, struct graph_scratch *scratch, const struct graph_query *query,
                               size_t want, enum engine *engine, struct index_counters *counters)
{
    const struct graph_layer *layer = &task->state->layers[0];
    struct graph_pool *pool = &scratch->pool, *passing = &scratch->passing;
    size_t hops = 0, keep = want > task->gamma_k ? want : task->gamma_k;
    const uint32_t *ids = scratch->ids, *scores = scratch->scores;
    uint32_t entry[GRAPH_ENTRY];
    uint64_t limit = UINT64_MAX, scored_before;
    size_t entries = graph_descend(task->state, scratch, query, 0, entry, counters);
    double budget = INFINITY;
    bool dropped = false;

    graph_pool_reset(pool, plain_pool(task->ef));
    graph_pool_reset(passing, task->ef);
    scored_before = counters->rows_scored;
    for (size_t i = 0; i < entries; i++)
        graph_seed(scratch, layer, query, entry[i], counters);
    for (size_t i = 0; i < pool->count; i++)
        if (graph_node_passes(task->search, task->state, graph_key_node(pool->keys[i])))
            graph_pool_insert(passing, pool->keys[i]);
    *engine = PLAIN_WALK;
    while (pool->cursor < pool->count) {
        uint64_t key = pool->keys[pool->cursor];
        double scored = (double)(counters->rows_scored - scored_before);
        size_t n;

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
        if (hops == PROBE_FIRST && task->lists && !passing->count) {
            *engine = LISTS;
            return VECDB_OK;
        }
        if (hops == PROBE_HOPS)
            *engine = choose_engine(task, pool, scored, &budget, counters);
        if (scored > budget)
            *engine = task->lists ? LISTS : SCAN;
        if (*engine != PLAIN_WALK)
            return VECDB_OK;
        if (++hops % DEADLINE_HOPS == 0)
            TRY(deadline_check(task->search->deadline));
        n = graph_score_links(scratch, layer, query, counters);
        for (size_t i = 0; i < n; i++) {
            uint64_t candidate = graph_key(scores[i], ids[i]);
            if (candidate > limit)
                continue;
            if (pool->count == pool->capacity)
                dropped = true;
            if (graph_pool_insert(pool, candidate) == pool->cursor)
                graph_prefetch_links(layer, ids[i]);
            if ((passing->count < passing->capacity || candidate < passing->keys[passing->count - 1]) &&
                graph_node_passes(task->search, task->state, ids[i]))
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
                               size_t want, bool *walk, struct index_counters *counters)
{
    struct graph_lists_scan scan = {.lists = task->lists,
                                    .state = task->state,
                                    .search = task->search,
                                    .query = query,
                                    .want = want,
                                    .miss = MISS_FACTOR * (1 - (double)task->recall),
                                    .recall = (double)task->recall};

    if (scan.miss < MISS_LEAST)
        scan.miss = MISS_LEAST;
    return graph_lists_scan(&scan, scratch, walk, counters);
}

/* How far scores are out, in standard deviations: in each dimension, row and query are by as much as rounding to whole steps makes it. */
static double score_error(const struct graph_query *query, uint32_t score)
{
    const struct graph_codec *codec = query->codec;
    double own, theirs;

    if (query->kind == GRAPH_CODE_L2)
        return 2 * sqrt((double)score / 6);
    own = query->step > 0 ? (double)query->length / (double)query->step : 0;
    theirs = (double)codec->radius / (double)codec->step;
    return sqrt((own * own + theirs * theirs) / 12);
}

/* Whether all that were found are as near as the k-th, as far as codes can tell: then the k nearest may be beyond them. So it is of
 * queries far from all that passes. */
static bool codes_say_too_little(const struct search_task *task, const struct graph_query *query, const struct graph_pool *pool,
                                 size_t want)
{
    size_t k = task->search->k;

    if (query->exact || (query->kind != GRAPH_CODE_L2 && query->kind != GRAPH_CODE_DOT) || want < TELLING_LEAST || want <= k ||
        pool->count < want)
        return false;
    return graph_key_score(pool->keys[want - 1]) - graph_key_score(pool->keys[k - 1]) <
           score_error(query, graph_key_score(pool->keys[k - 1]));
}

vecdb_status graph_search_filtered(const struct search_task *task, struct graph_scratch *scratch,
                                   const struct graph_query *query, size_t want, size_t *count,
                                   struct index_counters *counters)
{
    const struct graph_pool *pool = &scratch->pool;
    enum engine engine = SCAN;
    bool scanned = false, walk = true, many = false;

    if (task->lists && task->search->allowed_count > LISTS_LEAST) {
        many = (double)task->search->allowed_count >= LISTS_SHARE * (double)graph_layer_count(&task->state->layers[0]);
        scanned = !many || graph_lists_memo_far(task->search, task->lists);
    }
    if (scanned) {
        engine = LISTS;
        TRY(scan_lists(task, scratch, query, want, &walk, counters));
        scanned = !walk;
    } else if (better_scanned(task)) {
        walk = false;
    }
    if (walk) {
        TRY(graph_scratch_pool(scratch, plain_pool(task->ef)));
        TRY(walk_plain(task, scratch, query, want, &engine, counters));
        if (engine == STEPPING_WALK) {
            graph_scratch_clear(scratch);
            TRY(walk_filtered(task, scratch, query, counters));
        }
        if (many)
            graph_lists_memo_walked(task->search, task->lists, engine == LISTS);
    }
    counters->plain_walks += engine == PLAIN_WALK;
    counters->stepping_walks += engine == STEPPING_WALK;
    counters->code_scans += engine == SCAN;
    counters->list_scans += engine == LISTS;
    if (engine == PLAIN_WALK || engine == STEPPING_WALK) {
        *count = graph_unroll(task, &scratch->passing, want, scratch->hits);
        return VECDB_OK;
    }
    if (engine == LISTS && !scanned)
        TRY(scan_lists(task, scratch, query, want, NULL, counters));
    else if (engine == SCAN)
        TRY(scan_codes(task, scratch, query, want, counters));
    if (codes_say_too_little(task, query, pool, want)) {
        want *= WANT_MORE;
        TRY(graph_scratch_hits(scratch, want));
        TRY(graph_scratch_pool(scratch, want));
        if (engine == LISTS)
            TRY(scan_lists(task, scratch, query, want, NULL, counters));
        else
            TRY(scan_codes(task, scratch, query, want, counters));
    }
    for (*count = 0; *count < pool->count; ++*count)
        scratch->hits[*count] = (struct hit){graph_codec_distance(&task->state->codec, graph_key_score(pool->keys[*count])),
                                             graph_key_node(pool->keys[*count])};
    return VECDB_OK;
}
