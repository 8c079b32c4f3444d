/* All rows of a graph at once: codes, chains of equal ones, layers, links, calibration. */
#include "index/graph_build.h"

#include "base/beside.h"
#include "base/mem.h"
#include "index/graph_entry.h"
#include "index/graph_lists.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define ENCODE_ROWS 512
#define CALIBRATION_MIN_ROWS 20000 /* below, calibrating costs more than the effort it saves */

/* ---- codes ---- */

struct encode {
    struct graph_state *state;
    size_t from, to;
};

static vecdb_status encode_task(void *context, size_t i, unsigned worker)
{
    const struct encode *encode = context;
    struct graph_state *state = encode->state;
    const struct vectors *vectors = &state->vectors;
    size_t row = encode->from + i * ENCODE_ROWS, end = row + ENCODE_ROWS < encode->to ? row + ENCODE_ROWS : encode->to;
    float *scratch = mem_array_alloc(graph_codec_scratch(&state->codec) + 1, sizeof *scratch);

    if (!scratch)
        return error_nomem("graph codes");
    for (; row < end; row++)
        if (!vectors->present || bitmap_get(vectors->present, row))
            graph_codec_encode(&state->codec, vectors->type, vectors_row(vectors, row), scratch,
                               state->layers[0].codes + row * state->codec.stride);
    mem_free(scratch);
    return VECDB_OK;
}

vecdb_status graph_encode_rows(struct graph_state *state, size_t from, size_t to, struct pool *pool)
{
    struct encode encode = {state, from, to};

    return pool_run(pool, (to - from + ENCODE_ROWS - 1) / ENCODE_ROWS, encode_task, &encode);
}

/* ---- equal codes ---- */

struct hashing {
    const struct graph_state *state;
    uint64_t *hashes;
};

static vecdb_status hash_task(void *context, size_t i, unsigned worker)
{
    const struct hashing *hashing = context;
    const struct graph_layer *base = &hashing->state->layers[0];
    size_t stride = hashing->state->codec.stride, row = i * ENCODE_ROWS;
    size_t end = row + ENCODE_ROWS < base->count ? row + ENCODE_ROWS : base->count;

    for (; row < end; row++)
        hashing->hashes[row] = XXH3_64bits(base->codes + row * stride, stride);
    return VECDB_OK;
}

vecdb_status graph_find_nodes(struct graph *graph, struct pool *pool, uint32_t *nodes, size_t *node_count)
{
    struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    const struct graph_layer *base = &state->layers[0];
    const struct vectors *vectors = &state->vectors;
    size_t stride = state->codec.stride, slots = 64;
    struct hashing hashing = {state, mem_array_alloc((size_t)base->count + 1, sizeof(uint64_t))};
    uint32_t *table;
    vecdb_status status = VECDB_OK;

    *node_count = 0;
    while (slots < 2 * (size_t)base->count)
        slots *= 2;
    table = mem_array_alloc(slots, sizeof *table);
    if (!table || !hashing.hashes)
        status = error_nomem("graph index");
    else {
        memset(table, 0xFF, slots * sizeof *table);
        status = pool_run(pool, (base->count + ENCODE_ROWS - 1) / ENCODE_ROWS, hash_task, &hashing);
    }
    for (uint32_t row = 0; status == VECDB_OK && row < base->count; row++) {
        size_t slot = hashing.hashes[row] & (slots - 1);
        if (row + 8 < base->count)
            __builtin_prefetch(&table[hashing.hashes[row + 8] & (slots - 1)]);
        if (vectors->present && !bitmap_get(vectors->present, row))
            continue;
        while (table[slot] != GRAPH_NONE &&
               (hashing.hashes[table[slot]] != hashing.hashes[row] ||
                memcmp(graph_code(base, stride, table[slot]), graph_code(base, stride, row), stride) != 0))
            slot = (slot + 1) & (slots - 1);
        if (table[slot] == GRAPH_NONE) {
            table[slot] = row;
            nodes[(*node_count)++] = row;
            continue;
        }
        if (!state->dup_next) {
            if (!(state->dup_next = mem_array_alloc(base->capacity, sizeof *state->dup_next))) {
                status = error_nomem("graph index");
                break;
            }
            memset(state->dup_next, 0xFF, (size_t)base->capacity * sizeof *state->dup_next);
        }
        state->dup_next[row] = state->dup_next[table[slot]];
        state->dup_next[table[slot]] = row;
    }
    if (status == VECDB_OK && *node_count)
        graph->first = nodes[0];
    mem_free(table);
    mem_free(hashing.hashes);
    return status;
}

/* ---- layers above ---- */

/* Layer e from those nodes of the one below that reach up so far. `numbers` are their numbers below. */
static vecdb_status fill_layer(struct graph *graph, struct graph_state *state, unsigned e, const uint32_t *rows,
                               const uint32_t *numbers, size_t count)
{
    struct graph_layer *layer = &state->layers[e];
    const struct graph_layer *below = &state->layers[e - 1];
    size_t stride = state->codec.stride;

    TRY(graph_layer_alloc(layer, e, stride, count));
    layer->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        layer->lower[i] = numbers[i];
        memcpy(layer->codes + i * stride, graph_code(below, stride, numbers[i]), stride);
    }
    return VECDB_OK;
}

vecdb_status graph_link_layers(struct graph *graph, bool base, const uint64_t *promoted, uint32_t *rows, size_t node_count,
                               const struct index_build_context *context)
{
    struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    uint32_t *numbers = mem_dup(rows, node_count * sizeof *rows);
    vecdb_status status = numbers ? VECDB_OK : error_nomem("graph index");

    for (unsigned e = 0; e < GRAPH_LAYERS && status == VECDB_OK; e++) {
        struct graph_linker linker = {graph, state, &state->layers[e], numbers, node_count, context};
        size_t n = 0;
        if (e) {
            if ((status = fill_layer(graph, state, e, rows, numbers, node_count)) != VECDB_OK)
                break;
            for (size_t i = 0; i < node_count; i++)
                numbers[i] = (uint32_t)i;
        }
        if ((e || base) && (status = graph_link(&linker)) != VECDB_OK)
            break;
        for (size_t i = 0; i < node_count; i++)
            if (!i || graph_height(graph->settings.seed, rows[i]) > e || (e == 0 && promoted && bitmap_get(promoted, rows[i]))) {
                numbers[n] = numbers[i];
                rows[n++] = rows[i];
            }
        node_count = n;
    }
    mem_free(numbers);
    graph_entry_free(graph->entry);
    graph->entry = state->entry = NULL;
    if (status == VECDB_OK)
        status = graph_entry_create(state, &graph->entry);
    state->entry = graph->entry;
    return status;
}

size_t graph_hold_out(const struct graph *graph, uint32_t *nodes, size_t *node_count, uint32_t held[GRAPH_CALIBRATION_QUERIES])
{
    size_t n = 0, kept = 0, step = *node_count / GRAPH_CALIBRATION_QUERIES;

    if (*node_count < CALIBRATION_MIN_ROWS)
        return 0;
    for (size_t i = 0; i < *node_count; i++)
        if (n < GRAPH_CALIBRATION_QUERIES && i && i >= n * step + step / 2 && !graph_height(graph->settings.seed, nodes[i]))
            held[n++] = nodes[i];
        else
            nodes[kept++] = nodes[i];
    *node_count = kept;
    return n;
}

vecdb_status graph_take_in_held(struct graph *graph, const uint32_t *held, size_t count,
                                const struct index_build_context *context)
{
    if (!count)
        return VECDB_OK;
    TRY(graph_calibrate(graph, held, count, context));
    TRY(graph_insert_rows(graph, held, count, context));
    return graph_repair_layers(graph, context); /* they may have pushed out a row's last link */
}

static vecdb_status link_nodes(struct graph *graph, const uint32_t *nodes, size_t node_count,
                               const struct index_build_context *context)
{
    uint32_t *rows = mem_dup(nodes, node_count * sizeof *rows);
    vecdb_status status = rows ? graph_link_layers(graph, true, NULL, rows, node_count, context) : error_nomem("graph index");

    mem_free(rows);
    return status == VECDB_OK ? graph_cover(graph, nodes, node_count, context) : status;
}

/* ---- lists for filters ----
 * They need codes only, so they are made while the links are, that no thread be idle where linking has work for one. */

struct listing {
    struct beside beside;
    struct graph *graph;
    struct index_build_context context;
    pthread_t caller;
    bool begun;
    atomic_bool given_up; /* linking failed, or was cancelled */
};

static vecdb_status make_lists(void *context)
{
    struct listing *listing = context;

    if (listing->begun && !pthread_equal(pthread_self(), listing->caller))
        thread_in_background();
    return graph_lists_make(listing->graph, &listing->context);
}

/* The caller's own progress is called by its thread only. */
static bool not_given_up(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return !atomic_load(&((struct listing *)context)->given_up);
}

/* Where memory is short lists wait until linking has given back what it takes. */
static void begin_lists(struct listing *listing)
{
    const struct graph_layer *base = &atomic_load_explicit(&listing->graph->state, memory_order_relaxed)->layers[0];
    size_t linking = (size_t)base->count * (base->degree * 12 + 256); /* the links once more, lists of near rows */

    if (pool_threads(listing->context.pool) == 1 || base->count < GRAPH_LISTS_MIN_ROWS || !mem_may_keep(linking))
        return;
    listing->begun = true;
    listing->caller = pthread_self();
    listing->context.progress = not_given_up;
    listing->context.progress_context = listing;
    beside_begin(&listing->beside, true, make_lists, listing);
}

static vecdb_status end_lists(struct listing *listing, vecdb_status built)
{
    vecdb_error failure;
    vecdb_status status;

    if (!listing->begun)
        return built == VECDB_OK ? make_lists(listing) : built;
    failure = *error_last();
    atomic_store(&listing->given_up, built != VECDB_OK);
    status = beside_end(&listing->beside);
    return built == VECDB_OK ? status : error_adopt(&failure);
}

static vecdb_status build_all(struct graph *graph, const struct index_build_context *context, struct listing *listing)
{
    struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    size_t row_count = state->vectors.row_count, node_count, held_count = 0;
    uint32_t *nodes, held[GRAPH_CALIBRATION_QUERIES];
    vecdb_status status;

    TRY(graph_progress(context, "encoding", 0, 1));
    TRY(graph_codec_train(&state->codec, &state->vectors, graph->base.metric, graph->settings.seed, context->pool));
    if (!row_count)
        return VECDB_OK;
    if (state->codec.kind >= GRAPH_CODE_HAMMING) { /* no products of bits: one row after another */
        TRY(graph_add(&graph->base, &graph->base.vectors, context));
        graph->growing = false;
        return VECDB_OK;
    }
    TRY(graph_layer_alloc(&state->layers[0], 0, state->codec.stride, row_count));
    state->layers[0].count = (uint32_t)row_count;
    TRY(graph_encode_rows(state, 0, row_count, context->pool));
    begin_lists(listing);
    if (!(nodes = mem_array_alloc(row_count, sizeof *nodes)))
        return error_nomem("graph index");
    status = graph_find_nodes(graph, context->pool, nodes, &node_count);
    if (status == VECDB_OK)
        held_count = graph_hold_out(graph, nodes, &node_count, held);
    if (status == VECDB_OK && node_count)
        status = link_nodes(graph, nodes, node_count, context);
    mem_free(nodes);
    return status == VECDB_OK ? graph_take_in_held(graph, held, held_count, context) : status;
}

vecdb_status graph_create_built(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric,
                                const struct graph_settings *settings, const struct index_build_context *context,
                                struct index **out)
{
    struct listing listing = {.context = *context};
    struct graph *graph;
    vecdb_status status;

    *out = NULL;
    TRY(graph_create(ops, vectors, metric, settings, &graph));
    listing.graph = graph;
    status = end_lists(&listing, build_all(graph, context, &listing));
    if (status != VECDB_OK || (status = graph_lay_out(graph, context->pool)) != VECDB_OK) {
        graph_free(&graph->base);
        return status;
    }
    *out = &graph->base;
    return VECDB_OK;
}
