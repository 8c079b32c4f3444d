#include "index/graph.h"

#include "base/mem.h"
#include "index/graph_entry.h"
#include "index/graph_fused.h"
#include "index/graph_lists.h"

#define HUGE_PAGE (2u << 20)

static vecdb_status graph_nomem(void) { return error_nomem("graph index"); }

vecdb_status graph_create(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric,
                          const struct graph_settings *settings, struct graph **out)
{
    struct graph *graph;
    struct graph_state *state;

    *out = NULL;
    if (vectors->row_count > GRAPH_ROWS_MAX)
        return error_set(VECDB_ERR_LIMIT, "index %s: %zu rows; a segment's graph holds at most %u", ops->name,
                         vectors->row_count, GRAPH_ROWS_MAX);
    graph = mem_zalloc(sizeof *graph);
    state = mem_zalloc(sizeof *state);
    if (!graph || !state) {
        mem_free(graph);
        mem_free(state);
        return graph_nomem();
    }
    graph->base.ops = ops;
    graph->base.vectors = *vectors;
    graph->base.metric = metric;
    graph->settings = *settings;
    graph->first = GRAPH_NONE;
    pthread_mutex_init(&graph->lock, NULL);
    state->vectors = *vectors;
    for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
        uint32_t degree = e ? settings->degree / 2 : settings->degree;
        state->layers[e].degree = degree < 8 && e ? 8 : degree;
    }
    atomic_store_explicit(&graph->state, state, memory_order_release);
    *out = graph;
    return VECDB_OK;
}

static void free_state(struct graph_state *state)
{
    for (size_t i = 0; i < sizeof state->retired_memory / sizeof *state->retired_memory; i++)
        mem_free(state->retired_memory[i]);
    graph_codec_deinit(&state->codec);
    mem_free(state);
}

void graph_free(struct index *index)
{
    struct graph *graph = (struct graph *)index;
    struct graph_state *state, *next;

    if (!graph)
        return;
    while (graph->scratch) {
        struct graph_scratch *scratch = graph->scratch;
        graph->scratch = scratch->next;
        graph_scratch_free(scratch);
    }
    state = atomic_load_explicit(&graph->state, memory_order_acquire);
    for (unsigned e = 0; e < GRAPH_LAYERS && !graph->mapped; e++) {
        mem_free(state->layers[e].codes);
        mem_free(state->layers[e].links);
        mem_free(state->layers[e].lower);
    }
    if (!graph->mapped)
        mem_free(state->dup_next);
    for (; state; state = next) {
        next = state->retired;
        free_state(state);
    }
    graph_fused_free(atomic_load_explicit(&graph->fused, memory_order_acquire));
    graph_fused_free(graph->retired_fused);
    graph_lists_free(atomic_load_explicit(&graph->lists, memory_order_acquire));
    graph_entry_free(graph->entry);
    pthread_mutex_destroy(&graph->lock);
    mem_free(graph);
}

vecdb_status graph_lay_out(struct graph *graph, struct pool *pool)
{
    struct graph_fused *fused = NULL;

    if (graph->settings.fused && graph->first != GRAPH_NONE)
        TRY(graph_fused_create(atomic_load_explicit(&graph->state, memory_order_relaxed), graph->settings.seed, pool, &fused));
    atomic_store_explicit(&graph->fused, fused, memory_order_release);
    return VECDB_OK;
}

void *graph_array(size_t count, size_t size)
{
    size_t bytes;

    if (!mem_array_size(count, size, &bytes))
        return NULL;
    return mem_aligned_alloc(bytes >= HUGE_PAGE ? HUGE_PAGE : 64, bytes ? bytes : 1);
}

vecdb_status graph_layer_alloc(struct graph_layer *layer, unsigned e, size_t stride, size_t capacity)
{
    layer->codes = graph_array(capacity, stride);
    layer->links = graph_array(capacity, (size_t)layer->degree * sizeof *layer->links);
    layer->lower = e ? graph_array(capacity, sizeof *layer->lower) : NULL;
    if (!layer->codes || !layer->links || (e && !layer->lower)) {
        mem_free(layer->codes);
        mem_free(layer->links);
        mem_free(layer->lower);
        layer->codes = NULL;
        layer->links = layer->lower = NULL;
        return graph_nomem();
    }
    memset(layer->codes, 0, capacity * stride);
    memset(layer->links, 0xFF, capacity * layer->degree * sizeof *layer->links);
    layer->capacity = (uint32_t)capacity;
    return VECDB_OK;
}

bool graph_is_complete(const struct index *index)
{
    const struct graph *graph = (const struct graph *)index;

    return atomic_load_explicit(&graph->state, memory_order_acquire)->codec.lossless;
}

size_t graph_memory(const struct index *index)
{
    const struct graph *graph = (const struct graph *)index;
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_acquire);
    size_t bytes = sizeof *graph + graph_fused_memory(atomic_load_explicit(&graph->fused, memory_order_acquire)) +
                   graph_entry_memory(graph->entry);

    bytes += graph_lists_memory(atomic_load_explicit(&graph->lists, memory_order_acquire), &state->codec);
    for (; state; state = state->retired) {
        bytes += sizeof *state + state->codec.code_dim * sizeof(float);
        for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
            const struct graph_layer *layer = &state->layers[e];
            if (layer->capacity)
                bytes += (size_t)layer->capacity * (state->codec.stride + layer->degree * sizeof(uint32_t) +
                                                    (e ? sizeof(uint32_t) : 0));
        }
        if (state->dup_next)
            bytes += (size_t)state->layers[0].capacity * sizeof(uint32_t);
    }
    return bytes;
}

void graph_reads(const struct index *index, struct index_reads *out)
{
    const struct graph *graph = (const struct graph *)index;
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_acquire);
    const struct graph_fused *fused = atomic_load_explicit(&graph->fused, memory_order_acquire);

    *out = (struct index_reads){
        .row = state ? state->codec.stride : 0,
        .exact = index->vectors.width,
        .hop = fused ? fused->block_size : state ? state->layers[0].degree * sizeof(uint32_t) : 0,
    };
}
