/* Insertion, in batches: every new row searches the graph as it is and the rows of its batch, takes links by the same pruning as
 * in bulk, and then the rows it links to take it up, those with full lists pruning anew. Within a batch nobody depends on who
 * comes first, so it runs on all threads and ends the same. Searches go on meanwhile: a row can be found from the moment the
 * first link to it is written. */
#include "index/graph_build.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/graph_lists.h"
#include "index/graph_prune.h"
#include "simd/graph.h"

#include <assert.h>
#include <stdlib.h>

#define BATCH_MAX 512
#define BATCH_SHARE 20     /* a batch is at most one row in so many */
#define BATCH_NEIGHBOURS 16
#define TASK_ROWS 8
#define CAPACITY_MIN 1024
#define ALPHA2 1.2f
#define UPPER_BEAM 32

struct batch {
    struct graph *graph;
    struct graph_state *state;
    const struct index_build_context *context;
    size_t from, count; /* rows */
    bool base_only;     /* no row of these goes into the layers above */
    size_t beam, room;  /* keys kept per row */
    uint64_t *keys;     /* room per row */
    uint32_t *key_counts;
    uint32_t *twin;     /* per row: the node of equal code, or GRAPH_NONE */
    uint64_t *pairs;    /* of reverse_pair(), sorted */
    size_t pair_count;
    size_t *groups;     /* where a target's pairs begin */
    size_t group_count;
};

static bool present(const struct graph_state *state, size_t row)
{
    return !state->vectors.present || bitmap_get(state->vectors.present, row);
}

/* ---- phase 1: each row searches ---- */

static void search_batch(struct batch *batch, size_t i, const struct graph_query *self, uint32_t *scores, uint32_t *chosen)
{
    const struct graph_state *state = batch->state;
    const struct graph_layer *base = &state->layers[0];
    size_t stride = state->codec.stride, n;
    uint64_t *keys = batch->keys + i * batch->room;

    graph_scores_rows(self, graph_code(base, stride, batch->from), batch->count, scores);
    for (size_t j = 0; j < batch->count; j++) {
        if (!present(state, batch->from + j) || j == i)
            scores[j] = INT32_MAX;
        else if (j < i && batch->twin[i] == GRAPH_NONE && scores[j] == 0 &&
                 memcmp(graph_code(base, stride, batch->from + i), graph_code(base, stride, batch->from + j), stride) == 0)
            batch->twin[i] = (uint32_t)(batch->from + j);
    }
    n = simd_graph()->smallest_i32((int32_t *)scores, batch->count, BATCH_NEIGHBOURS, INT32_MAX, chosen);
    for (size_t c = 0; c < n; c++)
        keys[batch->key_counts[i]++] = graph_key(scores[chosen[c]], (uint32_t)(batch->from + chosen[c]));
}

static vecdb_status search_task(void *context, size_t task, unsigned worker)
{
    struct batch *batch = context;
    struct graph_state *state = batch->state;
    const struct graph_layer *base = &state->layers[0];
    size_t stride = state->codec.stride, end = (task + 1) * TASK_ROWS;
    struct graph_stop stop = {.ef = batch->beam};
    struct index_counters counters = {0};
    struct graph_scratch *scratch;
    uint32_t scores[BATCH_MAX], chosen[BATCH_MAX + 16];

    TRY(graph_scratch_take(batch->graph, state, batch->beam, &scratch));
    for (size_t i = task * TASK_ROWS; i < end && i < batch->count; i++) {
        uint64_t *keys = batch->keys + i * batch->room;
        uint32_t row = (uint32_t)(batch->from + i), seeds[GRAPH_ENTRY];
        struct graph_query self;
        size_t seed_count;

        batch->key_counts[i] = 0;
        batch->twin[i] = GRAPH_NONE;
        if (!present(state, row))
            continue;
        graph_codec_self(&state->codec, graph_code(base, stride, row), &self);
        if (batch->graph->first != GRAPH_NONE) {
            seed_count = graph_descend(state, scratch, &self, 0, seeds, &counters);
            scratch->pool.count = scratch->pool.cursor = 0;
            scratch->pool.capacity = batch->beam;
            for (size_t s = 0; s < seed_count; s++)
                graph_seed(scratch, base, &self, seeds[s], &counters);
            graph_walk(scratch, base, &self, stop, &counters);
            graph_scratch_clear(scratch);
            for (size_t k = 0; k < scratch->pool.count; k++)
                keys[k] = scratch->pool.keys[k] & ~1ull;
            batch->key_counts[i] = (uint32_t)scratch->pool.count;
            for (size_t k = 0; k < scratch->pool.count && graph_key_score(keys[k]) == 0; k++)
                if (memcmp(graph_code(base, stride, graph_key_node(keys[k])), graph_code(base, stride, row), stride) == 0)
                    batch->twin[i] = graph_key_node(keys[k]);
        }
        if (batch->count > 1)
            search_batch(batch, i, &self, scores, chosen);
    }
    graph_scratch_give(batch->graph, scratch);
    return VECDB_OK;
}

/* ---- phase 2: links of the new rows ---- */

static bool is_node(const struct batch *batch, size_t row)
{
    if (row < batch->from || row >= batch->from + batch->count)
        return true;
    return present(batch->state, row) && batch->twin[row - batch->from] == GRAPH_NONE;
}

static vecdb_status link_task(void *context, size_t task, unsigned worker)
{
    struct batch *batch = context;
    const struct graph_layer *base = &batch->state->layers[0];
    size_t end = (task + 1) * TASK_ROWS;
    uint32_t links[GRAPH_DEGREE_MAX];

    for (size_t i = task * TASK_ROWS; i < end && i < batch->count; i++) {
        uint64_t *keys = batch->keys + i * batch->room;
        size_t n = 0;
        if (!is_node(batch, batch->from + i))
            continue;
        for (size_t k = 0; k < batch->key_counts[i]; k++)
            if (is_node(batch, graph_key_node(keys[k])))
                keys[n++] = keys[k];
        n = graph_sort_keys(keys, n);
        n = graph_prune(&batch->state->codec, base->codes, keys, n, ALPHA2, base->degree * 3 / 4, links);
        graph_set_links(base, (uint32_t)(batch->from + i), links, n);
    }
    return VECDB_OK;
}

/* ---- phase 3: reverse links ---- */

/* Row `source` links to `target`: its nearest, or one of its others. That is noted here, because another thread may be changing
 * the list of `source`, which has rows of the batch to take up too. */
static uint64_t reverse_pair(uint32_t target, uint32_t source, bool nearest)
{
    return (uint64_t)target << 32 | (uint64_t)source << 1 | !nearest;
}

static uint32_t pair_source(uint64_t pair) { return (uint32_t)pair >> 1; }
static bool pair_is_nearest(uint64_t pair) { return !(pair & 1); }

static void take_up(const struct graph_state *state, const struct graph_layer *layer, uint32_t target, const uint64_t *pairs,
                    size_t count, uint32_t *all, uint32_t *scores, uint64_t *keys)
{
    const struct graph_codec *codec = &state->codec;
    uint32_t kept[GRAPH_DEGREE_MAX];
    size_t own = graph_links(layer, target, all), n = own;
    struct graph_query self;

    for (size_t j = 0; j < count; j++) {
        uint32_t source = pair_source(pairs[j]);
        bool known = false;
        for (size_t l = 0; l < own; l++)
            known |= all[l] == source;
        if (!known)
            all[n++] = source;
    }
    if (n <= layer->degree) {
        for (size_t l = own; l < n; l++)
            __atomic_store_n(&layer->links[(size_t)target * layer->degree + l], all[l], __ATOMIC_RELEASE);
        return;
    }
    graph_codec_self(codec, graph_code(layer, codec->stride, target), &self);
    graph_scores(&self, layer->codes, all, n, scores);
    for (size_t l = 0; l < n; l++)
        keys[l] = graph_key(scores[l], all[l]);
    n = graph_sort_keys(keys, n);
    n = graph_prune(codec, layer->codes, keys, n, ALPHA2, layer->degree, kept);
    for (size_t j = 0, at = layer->degree; j < count; j++) { /* a new row's nearest must not refuse it: who else would lead there? */
        uint32_t source = pair_source(pairs[j]);
        bool found = !pair_is_nearest(pairs[j]);
        for (size_t l = 0; l < n && !found; l++)
            found = kept[l] == source;
        if (found)
            continue;
        if (n < layer->degree)
            kept[n++] = source;
        else if (at > layer->degree / 2)
            kept[--at] = source;
    }
    graph_set_links(layer, target, kept, n);
}

static vecdb_status reverse_task(void *context, size_t task, unsigned worker)
{
    struct batch *batch = context;
    size_t end = (task + 1) * TASK_ROWS, room = batch->state->layers[0].degree + BATCH_MAX;
    uint32_t *all = mem_array_alloc(room, sizeof *all), *scores = mem_array_alloc(room, sizeof *scores);
    uint64_t *keys = mem_array_alloc(room, sizeof *keys);
    bool enough = all && scores && keys;

    for (size_t g = task * TASK_ROWS; enough && g < end && g < batch->group_count; g++)
        take_up(batch->state, &batch->state->layers[0], (uint32_t)(batch->pairs[batch->groups[g]] >> 32),
                batch->pairs + batch->groups[g], batch->groups[g + 1] - batch->groups[g], all, scores, keys);
    mem_free(all);
    mem_free(scores);
    mem_free(keys);
    return enough ? VECDB_OK : error_nomem("linking");
}

static int compare_pairs(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void gather_pairs(struct batch *batch)
{
    const struct graph_layer *base = &batch->state->layers[0];

    batch->pair_count = batch->group_count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const uint32_t *links = base->links + (batch->from + i) * base->degree;
        for (uint32_t l = 0; l < base->degree && links[l] != GRAPH_NONE; l++)
            batch->pairs[batch->pair_count++] = reverse_pair(links[l], (uint32_t)(batch->from + i), l == 0);
    }
    qsort(batch->pairs, batch->pair_count, sizeof *batch->pairs, compare_pairs);
    for (size_t p = 0; p < batch->pair_count; p++)
        if (!p || batch->pairs[p] >> 32 != batch->pairs[p - 1] >> 32)
            batch->groups[batch->group_count++] = p;
    batch->groups[batch->group_count] = batch->pair_count;
}

/* ---- layers above: few rows, one after another ---- */

static vecdb_status insert_above(struct batch *batch, uint32_t row, unsigned height)
{
    struct graph_state *state = batch->state;
    size_t stride = state->codec.stride;
    uint32_t below = row;

    for (unsigned e = 1; e <= height; e++) {
        struct graph_layer *layer = &state->layers[e];
        uint32_t node = layer->count, links[GRAPH_DEGREE_MAX], seeds[GRAPH_ENTRY];
        struct index_counters counters = {0};
        struct graph_scratch *scratch;
        struct graph_query self;
        size_t n = 0, seed_count;

        assert(node < layer->capacity);
        memcpy(layer->codes + node * stride, graph_code(&state->layers[0], stride, row), stride);
        layer->lower[node] = below;
        if (node) {
            TRY(graph_scratch_take(batch->graph, state, UPPER_BEAM, &scratch));
            graph_codec_self(&state->codec, graph_code(layer, stride, node), &self);
            seed_count = graph_descend(state, scratch, &self, e, seeds, &counters);
            scratch->pool.count = scratch->pool.cursor = 0;
            scratch->pool.capacity = UPPER_BEAM;
            for (size_t s = 0; s < seed_count; s++)
                graph_seed(scratch, layer, &self, seeds[s], &counters);
            graph_walk(scratch, layer, &self, (struct graph_stop){.ef = UPPER_BEAM}, &counters);
            graph_scratch_clear(scratch);
            for (size_t k = 0; k < scratch->pool.count; k++)
                scratch->pool.keys[k] &= ~1ull;
            n = graph_prune(&state->codec, layer->codes, scratch->pool.keys, scratch->pool.count, ALPHA2,
                            layer->degree * 3 / 4, links);
            graph_scratch_give(batch->graph, scratch);
        }
        graph_set_links(layer, node, links, n);
        __atomic_store_n(&layer->count, node + 1, __ATOMIC_RELEASE);
        for (size_t l = 0; l < n; l++) {
            uint64_t pair = reverse_pair(links[l], node, l == 0), keys[GRAPH_DEGREE_MAX + 1];
            uint32_t all[GRAPH_DEGREE_MAX + 1], scores[GRAPH_DEGREE_MAX + 1];
            take_up(state, layer, links[l], &pair, 1, all, scores, keys);
        }
        below = node;
    }
    return VECDB_OK;
}

/* ---- a batch ---- */

static size_t tasks(size_t n) { return (n + TASK_ROWS - 1) / TASK_ROWS; }

static vecdb_status insert_batch(struct batch *batch)
{
    struct graph_state *state = batch->state;
    struct pool *pool = batch->count > TASK_ROWS ? batch->context->pool : NULL;

    if (!batch->base_only) /* those have their codes, which another thread may be reading (graph_build.c) */
        TRY(graph_encode_rows(state, batch->from, batch->from + batch->count, pool));
    TRY(pool_run(pool, tasks(batch->count), search_task, batch));
    for (size_t i = 0; i < batch->count; i++) { /* a twin that has one itself */
        uint32_t twin = batch->twin[i];
        if (twin != GRAPH_NONE && twin >= batch->from && batch->twin[twin - batch->from] != GRAPH_NONE)
            batch->twin[i] = batch->twin[twin - batch->from];
    }
    TRY(pool_run(pool, tasks(batch->count), link_task, batch));
    gather_pairs(batch);
    if (state->layers[0].count < batch->from + batch->count)
        __atomic_store_n(&state->layers[0].count, (uint32_t)(batch->from + batch->count), __ATOMIC_RELEASE);
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = (uint32_t)(batch->from + i), twin = batch->twin[i];
        if (twin != GRAPH_NONE) {
            state->dup_next[row] = state->dup_next[twin];
            __atomic_store_n(&state->dup_next[twin], row, __ATOMIC_RELEASE);
        }
    }
    TRY(pool_run(pool, tasks(batch->group_count), reverse_task, batch));
    for (size_t i = 0; i < batch->count; i++) {
        uint32_t row = (uint32_t)(batch->from + i);
        unsigned height = graph_height(batch->graph->settings.seed, row);
        if (!is_node(batch, row) || batch->base_only)
            continue;
        if (batch->graph->first == GRAPH_NONE) {
            height = GRAPH_LAYERS - 1;
            __atomic_store_n(&batch->graph->first, row, __ATOMIC_RELEASE);
        }
        TRY(insert_above(batch, row, height));
    }
    return VECDB_OK;
}

/* ---- room ---- */

/* Nodes layer e has at most when there are `rows` rows. */
static size_t layer_room(uint64_t seed, unsigned e, size_t rows)
{
    size_t n = 1;

    if (!e)
        return rows;
    for (size_t row = 0; row < rows; row++)
        n += graph_height(seed, (uint32_t)row) >= e;
    return n;
}

static bool same_place(const struct vectors *a, const struct vectors *b)
{
    return a->blocks == b->blocks && a->present == b->present && a->stride == b->stride && a->block_shift == b->block_shift;
}

/* Codes of all rows there are, in fresh arrays: another codec. */
static vecdb_status recode(struct graph *graph, struct graph_state *state, struct pool *pool)
{
    size_t stride = state->codec.stride;

    TRY(graph_encode_rows(state, 0, state->layers[0].count, pool));
    for (unsigned e = 1; e < GRAPH_LAYERS; e++)
        for (size_t i = 0; i < state->layers[e].count; i++)
            memcpy(state->layers[e].codes + i * stride,
                   graph_code(&state->layers[e - 1], stride, state->layers[e].lower[i]), stride);
    return VECDB_OK;
}

static void free_layers(struct graph_state *state, const struct graph_state *but)
{
    for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
        struct graph_layer *layer = &state->layers[e];
        const struct graph_layer *kept = &but->layers[e];
        if (layer->codes != kept->codes)
            mem_free(layer->codes);
        if (layer->links != kept->links)
            mem_free(layer->links);
        if (layer->lower != kept->lower)
            mem_free(layer->lower);
    }
    if (state->dup_next != but->dup_next)
        mem_free(state->dup_next);
}

/* Larger arrays, or codes of another codec; what `next` holds of `old` stays where nothing changes. */
static vecdb_status move_layers(struct graph *graph, const struct graph_state *old, struct graph_state *next, size_t capacity,
                                bool retrained, struct pool *pool)
{
    size_t stride = next->codec.stride;

    for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
        const struct graph_layer *from = &old->layers[e];
        struct graph_layer *to = &next->layers[e];
        uint32_t count = from->count;
        size_t room = layer_room(graph->settings.seed, e, capacity);
        if (e) /* building promotes some beyond what the hashes say */
            room += count + 1 - layer_room(graph->settings.seed, e, old->layers[0].count);
        TRY(graph_layer_alloc(to, e, stride, room));
        to->count = count;
        if (!count)
            continue;
        memcpy(to->links, from->links, (size_t)count * from->degree * sizeof *to->links);
        if (e)
            memcpy(to->lower, from->lower, count * sizeof *to->lower);
        if (!retrained)
            memcpy(to->codes, from->codes, count * stride);
    }
    if (retrained)
        TRY(recode(graph, next, pool));
    if (!(next->dup_next = mem_array_alloc(capacity, sizeof *next->dup_next)))
        return error_nomem("graph index");
    memset(next->dup_next, 0xFF, capacity * sizeof *next->dup_next);
    if (old->dup_next)
        memcpy(next->dup_next, old->dup_next, old->layers[0].count * sizeof *next->dup_next);
    return VECDB_OK;
}

/* Whether rows come to twice those that codes were cut for, or four times, and so on, on their way from `from` to `to`. */
static bool doubles(size_t trained, size_t from, size_t to)
{
    size_t next = 2 * trained;

    while (next && next <= from)
        next *= 2;
    return next && next <= to;
}

/* A state that has room for the rows of `vectors` and codes that suit them. */
static vecdb_status prepare(struct graph *graph, const struct vectors *vectors, struct pool *pool, struct graph_state **out)
{
    struct graph_state *old = atomic_load_explicit(&graph->state, memory_order_relaxed), *next;
    size_t count = old->layers[0].count, wanted = vectors->row_count, at = 0;
    bool retrain = graph->first == GRAPH_NONE || !graph_codec_knows(&old->codec, wanted);
    bool room = wanted <= old->layers[0].capacity && old->dup_next && !graph->mapped;
    vecdb_status status;

    for (size_t row = count; row < wanted && !retrain && old->codec.lossless; row++)
        retrain = (!vectors->present || bitmap_get(vectors->present, row)) &&
                  !graph_codec_fits(&old->codec, vectors->type, vectors_row(vectors, row));
    if (!retrain && !old->codec.lossless && doubles(old->codec.trained_rows, count, wanted)) {
        bool reaches; /* others may have come, in clusters of their own */
        TRY(graph_codec_reaches(&old->codec, vectors, &reaches));
        retrain = !reaches;
    }
    *out = old;
    if (room && !retrain && same_place(vectors, &old->vectors))
        return VECDB_OK;
    if (!(next = mem_zalloc(sizeof *next)))
        return error_nomem("graph index");
    *next = *old;
    memset(&next->codec, 0, sizeof next->codec);
    memset(next->retired_memory, 0, sizeof next->retired_memory);
    next->vectors = *vectors;
    next->recoded += retrain;
    if (retrain)
        next->entry = NULL;
    status = retrain ? graph_codec_train(&next->codec, vectors, graph->base.metric, graph->settings.seed, pool)
                     : graph_codec_copy(&old->codec, &next->codec);
    if (status == VECDB_OK && (!room || retrain)) {
        size_t capacity = wanted > CAPACITY_MIN ? wanted : CAPACITY_MIN;
        if (capacity < count + count / 2)
            capacity = count + count / 2;
        if (capacity < old->layers[0].capacity)
            capacity = old->layers[0].capacity;
        for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
            next->layers[e].codes = NULL;
            next->layers[e].links = next->layers[e].lower = NULL;
        }
        next->dup_next = NULL;
        status = move_layers(graph, old, next, capacity < GRAPH_ROWS_MAX ? capacity : GRAPH_ROWS_MAX, retrain, pool);
    }
    if (status != VECDB_OK) {
        free_layers(next, old);
        graph_codec_deinit(&next->codec);
        mem_free(next);
        return status;
    }
    for (unsigned e = 0; e < GRAPH_LAYERS && next->layers[e].codes != old->layers[e].codes && !graph->mapped; e++) {
        old->retired_memory[at++] = old->layers[e].codes;
        old->retired_memory[at++] = old->layers[e].links;
        old->retired_memory[at++] = old->layers[e].lower;
    }
    if (next->dup_next != old->dup_next && !graph->mapped)
        old->retired_memory[at] = old->dup_next;
    graph->mapped = false;
    next->retired = old;
    atomic_store_explicit(&graph->state, next, memory_order_release);
    *out = next;
    return VECDB_OK;
}

static size_t insertion_beam(const struct graph *graph)
{
    size_t beam = graph->settings.ef_construction / 4;

    return beam < 16 ? 16 : beam > 512 ? 512 : beam;
}

static void batch_deinit(struct batch *batch)
{
    mem_free(batch->keys);
    mem_free(batch->key_counts);
    mem_free(batch->twin);
    mem_free(batch->pairs);
    mem_free(batch->groups);
}

static vecdb_status batch_init(struct batch *batch, struct graph *graph, struct graph_state *state,
                               const struct index_build_context *context)
{
    size_t pairs = (size_t)BATCH_MAX * state->layers[0].degree;

    *batch = (struct batch){.graph = graph, .state = state, .context = context, .beam = insertion_beam(graph)};
    batch->room = batch->beam + BATCH_NEIGHBOURS;
    batch->keys = mem_array_alloc(BATCH_MAX * batch->room, sizeof *batch->keys);
    batch->key_counts = mem_array_alloc(BATCH_MAX, sizeof *batch->key_counts);
    batch->twin = mem_array_alloc(BATCH_MAX, sizeof *batch->twin);
    batch->pairs = mem_array_alloc(pairs, sizeof *batch->pairs);
    batch->groups = mem_array_alloc(pairs + 1, sizeof *batch->groups);
    if (batch->keys && batch->key_counts && batch->twin && batch->pairs && batch->groups)
        return VECDB_OK;
    batch_deinit(batch);
    return error_nomem("graph index");
}

vecdb_status graph_insert_rows(struct graph *graph, const uint32_t *rows, size_t count,
                               const struct index_build_context *context)
{
    struct batch batch;
    vecdb_status status = VECDB_OK;

    TRY(batch_init(&batch, graph, atomic_load_explicit(&graph->state, memory_order_relaxed), context));
    batch.base_only = true; /* those have no room to spare */
    for (size_t i = 0; i < count && status == VECDB_OK; i++) {
        batch.from = rows[i];
        batch.count = 1;
        status = insert_batch(&batch);
    }
    batch_deinit(&batch);
    return status;
}

vecdb_status graph_add(struct index *index, const struct vectors *vectors, const struct index_build_context *context)
{
    struct graph *graph = (struct graph *)index;
    size_t total = vectors->row_count;
    struct graph_state *state;
    struct batch batch;
    vecdb_status status = VECDB_OK;

    if (total > GRAPH_ROWS_MAX)
        return error_set(VECDB_ERR_LIMIT, "index %s: %zu rows; a segment's graph holds at most %u", index->ops->name, total,
                         GRAPH_ROWS_MAX);
    TRY(prepare(graph, vectors, context->pool, &state));
    if (atomic_load_explicit(&graph->fused, memory_order_relaxed)) /* it knows the old links only */
        graph->retired_fused = atomic_exchange_explicit(&graph->fused, NULL, memory_order_acq_rel);
    graph->base.vectors = *vectors;
    graph->growing = true;
    TRY(batch_init(&batch, graph, state, context));
    for (size_t at = state->layers[0].count; status == VECDB_OK && at < total; at += batch.count) {
        batch.from = at;
        batch.count = graph->first == GRAPH_NONE ? 1 : at / BATCH_SHARE + 1;
        batch.count = batch.count > BATCH_MAX ? BATCH_MAX : batch.count;
        batch.count = batch.count > total - at ? total - at : batch.count;
        status = insert_batch(&batch);
        if (status == VECDB_OK)
            status = graph_progress(context, "inserting", at + batch.count, total);
    }
    batch_deinit(&batch);
    if (status == VECDB_OK && total > graph->repaired + graph->repaired / 2) { /* now and then: each time by half more */
        status = graph_repair_layers(graph, context);
        graph->repaired = total;
    }
    return status == VECDB_OK ? graph_lists_renew(graph, context) : status;
}
