/* Every node reachable from the first: walk the links breadth first; for a node not met, search the graph for met ones near
 * it and give one of them a link to it, in a free place or in that of a link the walk did not come by. The walk's own
 * links form a tree that is never cut, so what is reachable stays so. */
#include "index/graph_build.h"

#include "base/mem.h"

#include <assert.h>

#define REPAIR_BEAM 32

struct repair {
    const struct graph_linker *linker;
    uint32_t *queue, *parent; /* parent: GRAPH_NONE while not met; the root's is itself */
    size_t head, tail;
};

static void meet(struct repair *repair, uint32_t node, uint32_t from)
{
    repair->parent[node] = from;
    repair->queue[repair->tail++] = node;
}

static void walk_on(struct repair *repair)
{
    const struct graph_layer *layer = repair->linker->layer;

    while (repair->head < repair->tail) {
        uint32_t node = repair->queue[repair->head++];
        const uint32_t *links = layer->links + (size_t)node * layer->degree;
        if (repair->head + 4 < repair->tail)
            __builtin_prefetch(layer->links + (size_t)repair->queue[repair->head + 4] * layer->degree);
        for (uint32_t i = 0; i < layer->degree && links[i] != GRAPH_NONE; i++)
            if (repair->parent[links[i]] == GRAPH_NONE)
                meet(repair, links[i], node);
    }
}

/* Link from -> node if `from` has room, or a link that is not the tree's. */
static bool attach(struct repair *repair, uint32_t from, uint32_t node)
{
    const struct graph_layer *layer = repair->linker->layer;
    uint32_t *links = layer->links + (size_t)from * layer->degree, at = 0;

    while (at < layer->degree && links[at] != GRAPH_NONE)
        at++;
    if (at == layer->degree) { /* the farthest that can be spared */
        while (at > 0 && repair->parent[links[at - 1]] == from)
            at--;
        if (!at--)
            return false;
    }
    __atomic_store_n(&links[at], node, __ATOMIC_RELEASE);
    meet(repair, node, from);
    return true;
}

static void rescue(struct repair *repair, struct graph_scratch *scratch, uint32_t node)
{
    const struct graph_linker *linker = repair->linker;
    const struct graph_layer *layer = linker->layer;
    const struct graph_codec *codec = &linker->state->codec;
    struct index_counters counters = {0};
    struct graph_query self;

    graph_codec_self(codec, graph_code(layer, codec->stride, node), &self);
    scratch->pool.count = scratch->pool.cursor = 0;
    scratch->pool.capacity = REPAIR_BEAM;
    graph_seed(scratch, layer, &self, linker->nodes[0], &counters);
    /* where the walk got to last is likely near: nodes are rescued in no order, their finds are not */
    graph_seed(scratch, layer, &self, repair->queue[repair->tail - 1], &counters);
    graph_walk(scratch, layer, &self, (struct graph_stop){.ef = REPAIR_BEAM}, &counters);
    graph_scratch_clear(scratch);
    for (size_t i = 0; i < scratch->pool.count; i++)
        if (graph_key_node(scratch->pool.keys[i]) != node && attach(repair, graph_key_node(scratch->pool.keys[i]), node))
            return;
    for (size_t i = 0; i < repair->tail; i++) /* all of them full of the tree's links: anyone who is not */
        if (attach(repair, repair->queue[i], node))
            return;
    assert(false); /* a tree has leaves, and those can spare every link */
}

vecdb_status graph_repair(const struct graph_linker *linker)
{
    const struct graph_layer *layer = linker->layer;
    struct repair repair = {.linker = linker};
    struct graph_scratch *scratch = NULL;
    vecdb_status status = VECDB_OK;

    if (linker->node_count < 2)
        return VECDB_OK;
    repair.queue = mem_array_alloc(linker->node_count, sizeof *repair.queue);
    repair.parent = mem_array_alloc(layer->count, sizeof *repair.parent);
    if (!repair.queue || !repair.parent)
        status = error_nomem("linking");
    else {
        memset(repair.parent, 0xFF, layer->count * sizeof *repair.parent);
        meet(&repair, linker->nodes[0], linker->nodes[0]);
        walk_on(&repair);
    }
    if (status == VECDB_OK && repair.tail < linker->node_count)
        status = graph_scratch_take(linker->graph, linker->state, REPAIR_BEAM, &scratch);
    for (size_t i = 0; scratch && status == VECDB_OK && i < linker->node_count && repair.tail < linker->node_count; i++)
        if (repair.parent[linker->nodes[i]] == GRAPH_NONE) {
            rescue(&repair, scratch, linker->nodes[i]);
            walk_on(&repair);
        }
    if (scratch)
        graph_scratch_give(linker->graph, scratch);
    mem_free(repair.queue);
    mem_free(repair.parent);
    return status;
}

static vecdb_status repair_base(struct graph *graph, const struct index_build_context *context)
{
    struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    struct graph_layer *base = &state->layers[0];
    const uint64_t *present = state->vectors.present;
    uint64_t *followers = mem_array_zalloc(bitmap_words(base->count) + 1, sizeof *followers);
    uint32_t *nodes = mem_array_alloc((size_t)base->count + 1, sizeof *nodes);
    struct graph_linker linker = {graph, state, base, nodes, 0, context};
    vecdb_status status = followers && nodes ? VECDB_OK : error_nomem("graph index");

    if (status == VECDB_OK && graph->first != GRAPH_NONE) {
        nodes[linker.node_count++] = graph->first;
        for (uint32_t row = 0; state->dup_next && row < base->count; row++)
            if (state->dup_next[row] != GRAPH_NONE)
                bitmap_set(followers, state->dup_next[row]);
        for (uint32_t row = 0; row < base->count; row++)
            if (row != graph->first && (!present || bitmap_get(present, row)) && !bitmap_get(followers, row))
                nodes[linker.node_count++] = row;
        status = graph_repair(&linker);
    }
    mem_free(followers);
    mem_free(nodes);
    return status;
}

vecdb_status graph_repair_layers(struct graph *graph, const struct index_build_context *context)
{
    struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    uint32_t *nodes;
    vecdb_status status;

    TRY(repair_base(graph, context));
    if (!state->layers[1].count)
        return VECDB_OK;
    if (!(nodes = mem_array_alloc(state->layers[1].count, sizeof *nodes)))
        return error_nomem("graph index");
    for (uint32_t i = 0; i < state->layers[1].count; i++)
        nodes[i] = i;
    status = VECDB_OK;
    for (unsigned e = 1; e < GRAPH_LAYERS && status == VECDB_OK; e++) {
        struct graph_linker linker = {graph, state, &state->layers[e], nodes, state->layers[e].count, context};
        status = graph_repair(&linker);
    }
    mem_free(nodes);
    return status;
}
