/* Whether searches come upon the rows, and what to do where they do not. Bulk building links a row to its nearest, so in data of
 * well separated clusters hardly a link leads from one cluster to the next; only the layers above lead into each, and a cluster
 * that has no row there is found by luck; among centres that are all equally far from a query no descent leads to the right one either. So after
 * building some rows are looked for, with little effort. Where many are not found, searches come down with a wider beam; if that
 * is not enough, a part of those that are lost joins the layer above, and so on until nearly all are found. */
#include "index/graph_build.h"

#include "base/mem.h"

#define COVER_FIRST_SHARE 16 /* one node in so many is looked for, to know whether more is needed */
#define COVER_SHARE 4        /* and then */
#define COVER_BEAM 16
#define COVER_ROUNDS 9
#define COVER_TOLERATED 20   /* one in so many lost is usual: neighbours that are hardly apart */
#define COVER_LOST_SHARE 200 /* so few lost are no loss: more effort finds them */
#define COVER_PROMOTE 2     /* of the lost, one in so many joins at a time: it brings its neighbours */
#define BLOCK 64

static const uint32_t beams[] = {0, 8, 24, GRAPH_ENTRY_BEAM_MAX};

struct cover {
    struct graph *graph;
    struct graph_state *state;
    const uint32_t *nodes;
    size_t first, step, count; /* looked for: nodes[first], nodes[first + step], ...: others each round, so that those promoted
                                * say nothing */
    uint8_t *lost; /* of each */
};

static bool found(const struct graph_pool *pool, uint32_t node)
{
    for (size_t i = 0; i < pool->count; i++)
        if (graph_key_node(pool->keys[i]) == node)
            return true;
    return false;
}

static vecdb_status look_task(void *context, size_t task, unsigned worker)
{
    struct cover *cover = context;
    struct graph_state *state = cover->state;
    const struct graph_layer *base = &state->layers[0];
    struct graph_stop stop = {.ef = COVER_BEAM};
    struct index_counters counters = {0};
    struct graph_scratch *scratch;

    TRY(graph_scratch_take(cover->graph, state, COVER_BEAM, &scratch));
    for (size_t i = task * BLOCK; i < (task + 1) * BLOCK && i < cover->count; i++) {
        uint32_t node = cover->nodes[cover->first + i * cover->step], seeds[GRAPH_ENTRY];
        struct graph_query self;
        size_t n;
        graph_codec_self(&state->codec, graph_code(base, state->codec.stride, node), &self);
        n = graph_descend(state, scratch, &self, 0, seeds, &counters);
        scratch->pool.count = scratch->pool.cursor = 0;
        scratch->pool.capacity = COVER_BEAM;
        for (size_t s = 0; s < n; s++)
            graph_seed(scratch, base, &self, seeds[s], &counters);
        graph_walk(scratch, base, &self, stop, &counters);
        graph_scratch_clear(scratch);
        cover->lost[i] = !found(&scratch->pool, node);
    }
    graph_scratch_give(cover->graph, scratch);
    return VECDB_OK;
}

/* The layers above, linked anew with the promoted among them. */
static vecdb_status relink_above(struct cover *cover, const uint64_t *promoted, size_t node_count,
                                 const struct index_build_context *context)
{
    uint32_t *rows = mem_dup(cover->nodes, node_count * sizeof *rows);
    vecdb_status status;

    if (!rows)
        return error_nomem("graph index");
    for (unsigned e = 1; e < GRAPH_LAYERS; e++) {
        struct graph_layer *layer = &cover->state->layers[e];
        mem_free(layer->codes);
        mem_free(layer->links);
        mem_free(layer->lower);
        *layer = (struct graph_layer){.degree = layer->degree};
    }
    status = graph_link_layers(cover->graph, false, promoted, rows, node_count, context);
    mem_free(rows);
    return status;
}

vecdb_status graph_cover(struct graph *graph, const uint32_t *nodes, size_t node_count,
                         const struct index_build_context *context)
{
    struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    struct cover cover = {graph, state, nodes, 0, COVER_FIRST_SHARE, node_count / COVER_FIRST_SHARE, NULL};
    uint64_t *promoted;
    size_t before = SIZE_MAX;
    vecdb_status status = VECDB_OK;

    if (node_count <= GRAPH_SCAN_MAX)
        return VECDB_OK;
    cover.lost = mem_zalloc(node_count / COVER_SHARE);
    promoted = mem_array_zalloc(bitmap_words(state->layers[0].count) + 1, sizeof *promoted);
    if (!cover.lost || !promoted)
        status = error_nomem("graph index");
    for (unsigned round = 0; round < COVER_ROUNDS && status == VECDB_OK; round++) {
        size_t lost = 0;
        if (round) {
            cover.first = round % COVER_SHARE;
            cover.step = COVER_SHARE;
            cover.count = node_count / COVER_SHARE;
        }
        if (round < sizeof beams / sizeof *beams)
            state->entry_beam = beams[round];
        if ((status = graph_progress(context, "looking for rows", round, COVER_ROUNDS)) != VECDB_OK ||
            (status = pool_run(context->pool, (cover.count + BLOCK - 1) / BLOCK, look_task, &cover)) != VECDB_OK)
            break;
        for (size_t i = 0; i < cover.count; i++)
            if (cover.lost[i] && lost++ % COVER_PROMOTE == 0 && round + 1 >= sizeof beams / sizeof *beams)
                bitmap_set(promoted, nodes[cover.first + i * cover.step]);
        if (lost <= cover.count / (round ? COVER_LOST_SHARE : COVER_TOLERATED))
            break;
        if (round >= sizeof beams / sizeof *beams && lost > before - before / 4)
            break; /* it brings nothing any more */
        before = lost;
        if (round + 1 >= sizeof beams / sizeof *beams)
            status = relink_above(&cover, promoted, node_count, context);
    }
    mem_free(cover.lost);
    mem_free(promoted);
    return status;
}
