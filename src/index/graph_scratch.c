/* The working memory of searches: taken from the graph, given back, grown as the graph grows. */
#include "index/graph_search.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/graph_entry.h"
#include "index/graph_task.h"

#define LOG_SHARE 16 /* the log holds one node in so many; beyond, all bits are wiped */

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
    mem_free(scratch->list_chosen);
    mem_free(scratch->list_bits);
    mem_free(scratch->trail);
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
    size_t nodes = state->layers[0].capacity, links = state->layers[0].degree + GRAPH_FILTER_GATHER, code = state->codec.stride;
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
        scratch->code = mem_aligned_alloc(64, align_up(2 * code + 1, 64));
        scratch->self_code = mem_aligned_alloc(64, align_up(code + 1, 64));
        if (!scratch->code || !scratch->self_code || !scratch->planes || !grow(&scratch->floats, floats + 1, sizeof(float)))
            return scratch_nomem();
        scratch->code_room = code;
        scratch->float_room = floats;
    }
    return VECDB_OK;
}

vecdb_status graph_scratch_hits(struct graph_scratch *scratch, size_t n)
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
