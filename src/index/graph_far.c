/* Links to far rows. Bulk building gives a row its nearest, so in well separated clusters hardly a link leads from one to the
 * next, and a walk that begins in the wrong one ends there. (Insertion one row after another gets such links from the time when
 * the graph was small.) So among a sample of the nodes, whose nearest of the sample are further away, those that are not linked
 * over two steps already are linked, both ways; then among a sample of that, and so on: some sample has just a few rows of a
 * cluster, whatever its size. */
#include "index/graph_far.h"

#include "base/mem.h"
#include "base/rng.h"
#include "index/cluster.h"
#include "index/graph_prune.h"
#include "index/knn_graph.h"
#include "simd/kernels.h"

#define SAMPLE_SHARE 8
#define SAMPLE_LEAST 32
#define SPARED_LEAST 8192 /* of fewer nodes the largest sample is linked in any case: it costs little, and the next is soon too small */
#define LEAF_ROWS 150
#define LEAF_OVERLAP 3
#define CANDIDATES 32
#define FAR_LINKS 3 /* of a node in a sample, and about as many that lead back */
#define BLOCK 64
#define AHEAD 8 /* nodes whose links are on their way from memory */

struct far {
    const struct graph_linker *linker;
    const uint32_t *sample;
    size_t count;
    const struct knn_input *parts; /* or NULL */
    const struct knn_lists *lists;
    uint32_t *found; /* FAR_LINKS per node of the sample, GRAPH_NONE after the last */
};

static void unmark(uint64_t *marks, uint32_t node)
{
    marks[node / 64] &= ~(1ull << (node % 64));
}

/* Those of a list that are not within two steps of the node: they alone are marked, and what is come upon loses its mark. */
static size_t beyond_two_steps(struct graph_scratch *scratch, const struct graph_layer *layer, uint32_t node, const uint64_t *list,
                               size_t count, uint64_t *out)
{
    uint32_t near[GRAPH_DEGREE_MAX];
    size_t n = graph_links(layer, node, near), left = 0;
    uint64_t *marks = scratch->visited;

    for (size_t l = 0; l < count; l++)
        (void)graph_visit(scratch, graph_key_node(list[l]));
    for (size_t i = 0; i < n; i++)
        unmark(marks, near[i]);
    for (size_t i = 0; i < n && i < AHEAD; i++)
        graph_prefetch_whole_list(layer, near[i]);
    for (size_t i = 0; i < n; i++) {
        const uint32_t *links = layer->links + (size_t)near[i] * layer->degree;
        if (i + AHEAD < n)
            graph_prefetch_whole_list(layer, near[i + AHEAD]);
        for (uint32_t l = 0; l < layer->degree && links[l] != GRAPH_NONE; l++)
            unmark(marks, links[l]);
    }
    for (size_t l = 0; l < count; l++)
        if (marks[graph_key_node(list[l]) / 64] >> graph_key_node(list[l]) % 64 & 1)
            out[left++] = list[l];
    graph_scratch_clear(scratch);
    return left;
}

static vecdb_status find_task(void *context, size_t task, unsigned worker)
{
    const struct far *far = context;
    const struct graph_linker *linker = far->linker;
    struct graph_scratch *scratch;

    TRY(graph_scratch_take(linker->graph, linker->state, 1, &scratch));
    for (size_t i = task * BLOCK; i < (task + 1) * BLOCK && i < far->count; i++) {
        uint32_t node = far->sample[i], *out = far->found + i * FAR_LINKS, links[GRAPH_DEGREE_MAX];
        const uint64_t *list = far->lists->keys + node * far->lists->k;
        uint64_t keys[CANDIDATES];
        size_t n = beyond_two_steps(scratch, linker->layer, node, list, far->lists->counts[node], keys);
        n = graph_prune(&linker->state->codec, linker->layer->codes, keys, n, 1.0f, FAR_LINKS, links);
        for (size_t l = 0; l < FAR_LINKS; l++)
            out[l] = l < n ? links[l] : GRAPH_NONE;
    }
    graph_scratch_give(linker->graph, scratch);
    return VECDB_OK;
}

/* Into a free place, or that of the furthest near link. `taken` counts the far ones a node has. */
static void force(const struct graph_layer *layer, uint8_t *taken, uint32_t from, uint32_t to)
{
    uint32_t *links = layer->links + (size_t)from * layer->degree, n = 0;

    while (n < layer->degree && links[n] != GRAPH_NONE)
        if (links[n++] == to)
            return;
    if (taken[from] >= layer->degree / 4)
        return;
    if (n == layer->degree)
        n = layer->degree - 1 - taken[from];
    links[n] = to;
    taken[from]++;
}

/* Every SAMPLE_SHARE-th of the nodes, by a hash that does not depend on their order. */
static size_t thin_out(uint32_t *nodes, size_t count, uint64_t seed)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t state = seed ^ ((uint64_t)nodes[i] + 1) * 0x9E3779B97F4A7C15ull;
        if (rng_mix(&state) % SAMPLE_SHARE == 0)
            nodes[kept++] = nodes[i];
    }
    return kept;
}

static vecdb_status link_sample(struct far *far, uint8_t *taken, uint64_t seed)
{
    const struct graph_linker *linker = far->linker;
    const struct graph_codec *codec = &linker->state->codec;
    struct knn_input knn = {.codes = linker->layer->codes, .stride = codec->stride, .dim = codec->code_dim, .node_count = linker->layer->count};
    struct cluster_input input = {linker->layer->codes, codec->stride, codec->code_dim, far->sample, far->count,
                                  LEAF_ROWS, LEAF_OVERLAP, seed};
    struct cluster cluster = {0};
    struct knn_lists lists = {0};
    vecdb_status status;

    if (far->parts) {
        knn.part_of = far->parts->part_of;
        knn.without = far->parts->without;
        knn.apart = true;
    }
    TRY(cluster_create(&input, linker->context->pool, &cluster));
    status = knn_lists_create(&knn, &cluster, CANDIDATES, linker->context, &lists);
    far->lists = &lists;
    far->found = mem_array_alloc(far->count * FAR_LINKS, sizeof *far->found);
    if (status == VECDB_OK && !far->found)
        status = error_nomem("linking");
    if (status == VECDB_OK)
        status = pool_run(linker->context->pool, (far->count + BLOCK - 1) / BLOCK, find_task, far);
    for (size_t i = 0; i < far->count * FAR_LINKS && status == VECDB_OK; i++)
        if (far->found[i] != GRAPH_NONE) {
            force(linker->layer, taken, far->sample[i / FAR_LINKS], far->found[i]);
            force(linker->layer, taken, far->found[i], far->sample[i / FAR_LINKS]);
        }
    mem_free(far->found);
    knn_lists_deinit(&lists);
    cluster_deinit(&cluster);
    return status;
}

vecdb_status graph_link_far(const struct graph_linker *linker, const struct knn_input *parts)
{
    struct far far = {.linker = linker, .parts = parts && parts->apart ? parts : NULL};
    uint64_t seed = linker->graph->settings.seed;
    uint8_t *taken = mem_zalloc(linker->layer->count);
    uint32_t *sample = mem_dup(linker->nodes, linker->node_count * sizeof *sample);
    vecdb_status status = taken && sample ? VECDB_OK : error_nomem("linking");

    far.sample = sample;
    far.count = linker->node_count;
    if (far.parts && far.count >= SPARED_LEAST)
        far.count = thin_out(sample, far.count, seed++);
    while (status == VECDB_OK) {
        far.count = thin_out(sample, far.count, seed);
        if (far.count < SAMPLE_LEAST)
            break;
        status = graph_progress(linker->context, "linking far", 0, 1);
        if (status == VECDB_OK)
            status = link_sample(&far, taken, ++seed);
    }
    mem_free(taken);
    mem_free(sample);
    return status;
}
