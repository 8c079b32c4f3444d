/* The fast way to link a layer: near neighbours from overlapping leaves, pruned; reverse links; one pass of searches that each
 * start at the node's own links, whose finds are pruned again; reverse links; repair. Every step is a function of
 * the codes and the seed, so the outcome does not depend on threads. */
#include "index/graph_build.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/cluster.h"
#include "index/graph_far.h"
#include "index/graph_prune.h"
#include "index/knn_graph.h"
#include "simd/kernels.h"

#include <stdlib.h>

#define LEAF_ROWS 150
#define LEAF_OVERLAP 3
#define NEIGHBOURS 32      /* from leaves, at least */
#define ALPHA2_FIRST 1.1f
#define ALPHA2_REFINED 1.2f
#define BLOCK 64           /* nodes of one task */
#define AHEAD 4            /* nodes whose lists are on their way from memory */
#define STEPS 16           /* of progress in one pass, if each has a task for every thread: they wait for one another at its end */
#define REVERSE_MAX 256    /* candidates looked at when a list overflows */
#define REVERSE_AHEAD 32   /* incoming links asked for ahead of their turn: most nodes have no more */

vecdb_status graph_progress(const struct index_build_context *context, const char *stage, uint64_t done, uint64_t total)
{
    if (context->progress && !context->progress(context->progress_context, stage, done, total))
        return error_set(VECDB_ERR_CANCELLED, "building the graph: cancelled while %s", stage);
    return VECDB_OK;
}

struct pass {
    const struct graph_linker *linker;
    const struct graph_codec *codec;
    const uint32_t *order;
    size_t first;            /* block of task 0 */
    struct knn_lists *lists;
    uint32_t *out;           /* new links, layer->degree per node */
    size_t beam, keep, candidates;
    float alpha2;
    const uint8_t *part_of;    /* merging: of each row */
    bool thinned;              /* rows have left the parts, and links with them */
    uint8_t settled;           /* a part whose rows wait for links from others; GRAPH_NO_PART: none */
    uint32_t *in_offsets, *in; /* incoming links: of node i in[in_offsets[i] .. in_offsets[i + 1]) */
    size_t in_most;
};

static vecdb_status run_pass(struct pass *pass, const char *stage, vecdb_status (*task)(void *, size_t, unsigned))
{
    size_t blocks = (pass->linker->node_count + BLOCK - 1) / BLOCK;
    size_t steps = blocks / pool_threads(pass->linker->context->pool);

    steps = steps < 1 ? 1 : steps > STEPS ? STEPS : steps;
    for (size_t s = 0; s < steps; s++) {
        size_t end = blocks * (s + 1) / steps;
        pass->first = blocks * s / steps;
        TRY(pool_run(pass->linker->context->pool, end - pass->first, task, pass));
        TRY(graph_progress(pass->linker->context, stage, s + 1, steps));
    }
    return VECDB_OK;
}

static void block_range(const struct pass *pass, size_t i, size_t *at, size_t *end)
{
    *at = (pass->first + i) * BLOCK;
    *end = *at + BLOCK < pass->linker->node_count ? *at + BLOCK : pass->linker->node_count;
}

static vecdb_status prune_task(void *context, size_t i, unsigned worker)
{
    struct pass *pass = context;
    const struct graph_layer *layer = pass->linker->layer;
    uint32_t links[GRAPH_DEGREE_MAX];
    size_t at, end;

    for (block_range(pass, i, &at, &end); at < end; at++) {
        uint32_t node = pass->order[at];
        size_t n;
        if (at + AHEAD < end)
            knn_prefetch_list(pass->lists, pass->order[at + AHEAD]);
        n = graph_prune(pass->codec, layer->codes, pass->lists->keys + node * pass->lists->k, pass->lists->counts[node],
                        pass->alpha2, pass->keep, links);
        graph_set_links(layer, node, links, n);
    }
    return VECDB_OK;
}

/* ---- reverse links ---- */

static int compare_nodes(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void sort_nodes(uint32_t *nodes, size_t n)
{
    if (n > 48) {
        qsort(nodes, n, sizeof *nodes, compare_nodes);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        uint32_t node = nodes[i];
        size_t at = i;
        for (; at > 0 && nodes[at - 1] > node; at--)
            nodes[at] = nodes[at - 1];
        nodes[at] = node;
    }
}

static vecdb_status count_task(void *context, size_t i, unsigned worker)
{
    struct pass *pass = context;
    const struct graph_layer *layer = pass->linker->layer;
    size_t at, end;

    for (block_range(pass, i, &at, &end); at < end; at++) {
        const uint32_t *links = layer->links + (size_t)pass->order[at] * layer->degree;
        if (at + AHEAD < end)
            graph_prefetch_whole_list(layer, pass->order[at + AHEAD]);
        for (uint32_t l = 0; l < layer->degree && links[l] != GRAPH_NONE; l++)
            __atomic_fetch_add(&pass->in_offsets[links[l]], 1, __ATOMIC_RELAXED);
    }
    return VECDB_OK;
}

static vecdb_status fill_task(void *context, size_t i, unsigned worker)
{
    struct pass *pass = context;
    const struct graph_layer *layer = pass->linker->layer;
    size_t at, end;

    for (block_range(pass, i, &at, &end); at < end; at++) {
        uint32_t node = pass->order[at];
        const uint32_t *links = layer->links + (size_t)node * layer->degree;
        if (at + AHEAD < end)
            graph_prefetch_whole_list(layer, pass->order[at + AHEAD]);
        for (uint32_t l = 0; l < layer->degree && links[l] != GRAPH_NONE; l++)
            pass->in[__atomic_sub_fetch(&pass->in_offsets[links[l]], 1, __ATOMIC_RELAXED)] = node;
    }
    return VECDB_OK;
}

/* Own links, and those that point here, as far as there is room; pruned together when there is not. */
static vecdb_status join_task(void *context, size_t i, unsigned worker)
{
    struct pass *pass = context;
    const struct graph_layer *layer = pass->linker->layer;
    size_t room = pass->in_most + layer->degree, at, end;
    uint32_t *all = mem_array_alloc(room, sizeof *all), *scores = mem_array_alloc(room, sizeof *scores);
    uint64_t *keys = mem_array_alloc(room, sizeof *keys);
    uint32_t kept[GRAPH_DEGREE_MAX];
    bool enough = all && scores && keys;

    for (block_range(pass, i, &at, &end); enough && at < end; at++) {
        uint32_t node = pass->order[at], *out = pass->out + (size_t)node * layer->degree;
        uint32_t *in = pass->in + pass->in_offsets[node];
        size_t own = graph_links(layer, node, all), incoming = pass->in_offsets[node + 1] - pass->in_offsets[node], n = own;
        struct graph_query self;

        if (at + 2 * AHEAD < end)
            simd_prefetch_line(&pass->in_offsets[pass->order[at + 2 * AHEAD]]);
        if (at + AHEAD < end) {
            graph_prefetch_whole_list(layer, pass->order[at + AHEAD]);
            simd_prefetch(pass->in + pass->in_offsets[pass->order[at + AHEAD]], REVERSE_AHEAD * sizeof *pass->in);
        }
        sort_nodes(in, incoming);
        for (size_t j = 0; j < incoming; j++) {
            bool known = false;
            for (size_t l = 0; l < own; l++)
                known |= all[l] == in[j];
            if (!known)
                all[n++] = in[j];
        }
        if (n > layer->degree) {
            graph_codec_self(pass->codec, graph_code(layer, pass->codec->stride, node), &self);
            graph_scores_ahead(&self, layer->codes, all, n, scores);
            for (size_t j = 0; j < n; j++)
                keys[j] = graph_key(scores[j], all[j]);
            n = graph_sort_keys(keys, n);
            n = graph_prune(pass->codec, layer->codes, keys, n < REVERSE_MAX ? n : REVERSE_MAX, pass->alpha2, layer->degree, kept);
            memcpy(all, kept, n * sizeof *all);
        }
        for (size_t l = 0; l < layer->degree; l++)
            out[l] = l < n ? all[l] : GRAPH_NONE;
    }
    mem_free(all);
    mem_free(scores);
    mem_free(keys);
    return enough ? VECDB_OK : error_nomem("linking");
}

/* pass->out becomes the layer's links, and the old links pass->out. */
static void swap_links(struct pass *pass)
{
    uint32_t *links = pass->linker->layer->links;

    pass->linker->layer->links = pass->out;
    pass->out = links;
}

static vecdb_status add_reverse(struct pass *pass)
{
    const struct graph_linker *linker = pass->linker;
    size_t count = linker->layer->count, total = 0;
    vecdb_status status;

    pass->in_offsets = mem_array_zalloc(count + 1, sizeof *pass->in_offsets);
    if (!pass->in_offsets)
        return error_nomem("linking");
    status = run_pass(pass, "reversing links", count_task);
    pass->in_most = 0;
    if (status == VECDB_OK) { /* ends of ranges; filling counts down to their starts */
        for (size_t i = 0; i < count; i++) {
            pass->in_most = pass->in_offsets[i] > pass->in_most ? pass->in_offsets[i] : pass->in_most;
            total += pass->in_offsets[i];
            pass->in_offsets[i] = (uint32_t)total;
        }
        pass->in_offsets[count] = (uint32_t)total;
        if (total > UINT32_MAX)
            status = error_set(VECDB_ERR_LIMIT, "building the graph: more than 2^32 links");
    }
    if (status == VECDB_OK) {
        pass->in = mem_array_alloc(total + 1, sizeof *pass->in);
        status = pass->in ? run_pass(pass, "reversing links", fill_task) : error_nomem("linking");
    }
    if (status == VECDB_OK)
        status = run_pass(pass, "reversing links", join_task);
    if (status == VECDB_OK)
        swap_links(pass);
    mem_free(pass->in_offsets);
    mem_free(pass->in);
    pass->in_offsets = pass->in = NULL;
    return status;
}

/* ---- refining ---- */

/* The node's links and what a walk from them finds, pruned together. */
static size_t refine_one(struct pass *pass, struct graph_scratch *scratch, uint32_t node, uint64_t *keys, uint32_t *links)
{
    const struct graph_layer *layer = pass->linker->layer;
    struct graph_pool *pool = &scratch->pool;
    struct graph_stop stop = {.ef = pass->beam};
    struct index_counters counters = {0};
    uint32_t own[GRAPH_DEGREE_MAX], scores[GRAPH_DEGREE_MAX];
    size_t own_count = graph_links(layer, node, own), n = 0, found;
    struct graph_query self;

    graph_codec_self(pass->codec, graph_code(layer, pass->codec->stride, node), &self);
    *pool = (struct graph_pool){.keys = pool->keys, .capacity = pass->beam};
    (void)graph_visit(scratch, node);
    graph_scores_ahead(&self, layer->codes, own, own_count, scores);
    for (size_t i = 0; i < own_count; i++) {
        (void)graph_visit(scratch, own[i]);
        graph_pool_insert(pool, graph_key(scores[i], own[i]));
    }
    graph_walk(scratch, layer, &self, stop, &counters);
    graph_scratch_clear(scratch);
    for (; n < pool->count; n++)
        keys[n] = pool->keys[n] & ~1ull;
    found = n;
    for (size_t i = 0; i < own_count; i++) /* links that there was no room for in the pool */
        if (!found || graph_key(scores[i], own[i]) > keys[found - 1])
            keys[n++] = graph_key(scores[i], own[i]);
    (void)graph_sort_keys(keys + found, n - found);
    return graph_prune(pass->codec, layer->codes, keys, n < pass->candidates ? n : pass->candidates, pass->alpha2, pass->keep, links);
}

static vecdb_status refine_task(void *context, size_t i, unsigned worker)
{
    struct pass *pass = context;
    const struct graph_layer *layer = pass->linker->layer;
    uint64_t *keys = mem_array_alloc(pass->beam + GRAPH_DEGREE_MAX, sizeof *keys);
    uint32_t links[GRAPH_DEGREE_MAX];
    struct graph_scratch *scratch = NULL;
    size_t at, end;
    vecdb_status status;

    status = keys ? graph_scratch_take(pass->linker->graph, pass->linker->state, pass->beam, &scratch) : error_nomem("linking");
    for (block_range(pass, i, &at, &end); status == VECDB_OK && at < end; at++) {
        uint32_t *out = pass->out + (size_t)pass->order[at] * layer->degree;
        size_t n;
        if (at + AHEAD < end)
            graph_prefetch_whole_list(layer, pass->order[at + AHEAD]);
        n = refine_one(pass, scratch, pass->order[at], keys, links);
        for (size_t l = 0; l < layer->degree; l++)
            out[l] = l < n ? links[l] : GRAPH_NONE;
    }
    if (scratch)
        graph_scratch_give(pass->linker->graph, scratch);
    mem_free(keys);
    return status;
}

/* Starting among the node's nearest, a walk need not be wide: with 25 and with 40 searches of whole numbers score as many rows, with
 * 16 some 2 % more. The user's efConstruction of 200 is 25. Floats are embeddings mostly, in which many rows have the same near
 * ones and few links lead out of their midst: a walk four times as wide finds others, and searches score a third fewer rows at .995
 * (docs/performance.md). NSG's own width, of 60, is that for whole numbers, and five thirds of it for floats. */
static size_t refine_beam(const struct graph_linker *linker)
{
    const struct graph_settings *settings = &linker->graph->settings;
    bool lossless = linker->state->codec.lossless;
    size_t given = lossless ? settings->beam : settings->beam * 5 / 3;
    size_t beam = given ? given : settings->ef_construction / (lossless ? 8 : 2);

    return beam < 16 ? 16 : beam > 256 ? 256 : beam;
}

static void clear_unlinked(struct pass *pass)
{
    memset(pass->out, 0xFF, (size_t)pass->linker->layer->count * pass->linker->layer->degree * sizeof *pass->out);
}

/* ---- merging ---- */

#define MERGE_OVERLAP 1
/* Of fewer nodes more leaves cost little, and in one a small part may meet nobody; not where leaves become lists. */
#define MERGE_FEW 32768
#define MERGE_NEIGHBOURS 16
#define MERGE_STRANGERS 8 /* of the other part, where there are two */
#define MERGE_BEAM 6

/* Whether a node is of another part than `part`, or of none. */
static bool elsewhere(const struct pass *pass, uint32_t node, uint8_t part)
{
    return pass->part_of[node] != part || part == GRAPH_NO_PART;
}

/* Rows of the largest part need not look for others: the others look for them, and their links are reversed. */
static bool is_settled(const struct pass *pass, uint32_t node)
{
    return pass->settled != GRAPH_NO_PART && pass->part_of[node] == pass->settled;
}

/* *two: the nodes are of two parts, and none is of no part. */
static uint8_t largest_part(const struct graph_linker *linker, const uint8_t *part_of, bool *two)
{
    size_t counts[GRAPH_NO_PART + 1] = {0}, best = GRAPH_NO_PART, parts = 0;

    for (size_t i = 0; i < linker->node_count; i++)
        counts[part_of[linker->nodes[i]]]++;
    for (size_t part = 0; part < GRAPH_NO_PART; part++) {
        parts += counts[part] > 0;
        if (counts[part] && (best == GRAPH_NO_PART || counts[part] > counts[best]))
            best = part;
    }
    *two = parts == 2 && !counts[GRAPH_NO_PART];
    return (uint8_t)best;
}

/* The node's own links, what it shares a leaf with in the other parts, and what a short walk through those finds, which begins
 * there: links so far lead nowhere else. All pruned together. */
static size_t merge_one(struct pass *pass, struct graph_scratch *scratch, uint32_t node, uint64_t *keys, uint32_t *links)
{
    const struct graph_layer *layer = pass->linker->layer;
    const uint64_t *list = pass->lists->keys + node * pass->lists->k;
    struct graph_pool *pool = &scratch->pool;
    struct index_counters counters = {0};
    uint32_t own[GRAPH_DEGREE_MAX], scores[GRAPH_DEGREE_MAX];
    size_t n = graph_links(layer, node, own);
    struct graph_query self;

    graph_codec_self(pass->codec, graph_code(layer, pass->codec->stride, node), &self);
    graph_scores_ahead(&self, layer->codes, own, n, scores);
    for (size_t i = 0; i < n; i++)
        keys[i] = graph_key(scores[i], own[i]);
    *pool = (struct graph_pool){.keys = pool->keys, .capacity = pass->beam};
    (void)graph_visit(scratch, node);
    for (size_t i = 0; i < pass->lists->counts[node]; i++) {
        bool foreign = elsewhere(pass, graph_key_node(list[i]), pass->part_of[node]);
        if (foreign) {
            (void)graph_visit(scratch, graph_key_node(list[i]));
            graph_pool_insert(pool, list[i]);
        }
        if (foreign || pass->thinned)
            keys[n++] = list[i];
    }
    graph_walk(scratch, layer, &self, (struct graph_stop){.ef = pass->beam}, &counters);
    graph_scratch_clear(scratch);
    for (size_t i = 0; i < pool->count; i++)
        keys[n++] = pool->keys[i] & ~1ull;
    n = graph_sort_keys(keys, n);
    return graph_prune(pass->codec, layer->codes, keys, n, pass->alpha2, pass->keep, links);
}

static vecdb_status merge_task(void *context, size_t i, unsigned worker)
{
    struct pass *pass = context;
    const struct graph_layer *layer = pass->linker->layer;
    uint64_t *keys = mem_array_alloc(GRAPH_DEGREE_MAX + pass->lists->k + pass->beam, sizeof *keys);
    uint32_t links[GRAPH_DEGREE_MAX];
    struct graph_scratch *scratch = NULL;
    size_t at, end;
    vecdb_status status;

    status = keys ? graph_scratch_take(pass->linker->graph, pass->linker->state, pass->beam, &scratch) : error_nomem("merging");
    for (block_range(pass, i, &at, &end); status == VECDB_OK && at < end; at++) {
        uint32_t *out = pass->out + (size_t)pass->order[at] * layer->degree;
        size_t n;
        if (at + AHEAD < end) {
            graph_prefetch_whole_list(layer, pass->order[at + AHEAD]);
            knn_prefetch_list(pass->lists, pass->order[at + AHEAD]);
        }
        if (is_settled(pass, pass->order[at])) {
            memcpy(out, layer->links + (size_t)pass->order[at] * layer->degree, layer->degree * sizeof *out);
            continue;
        }
        n = merge_one(pass, scratch, pass->order[at], keys, links);
        for (size_t l = 0; l < layer->degree; l++)
            out[l] = l < n ? links[l] : GRAPH_NONE;
    }
    if (scratch)
        graph_scratch_give(pass->linker->graph, scratch);
    mem_free(keys);
    return status;
}

/* Leave the layer with the block of links it came with. */
static void settle_links(struct pass *pass, uint32_t *original)
{
    const struct graph_layer *layer = pass->linker->layer;

    if (pass->out && layer->links != original) {
        memcpy(original, layer->links, (size_t)layer->count * layer->degree * sizeof *original);
        swap_links(pass);
    }
    mem_free(pass->out);
}

vecdb_status graph_link_parts(const struct graph_linker *linker, const uint8_t *part_of, bool thinned, size_t leaf_rows,
                              struct cluster *cluster)
{
    struct graph_layer *layer = linker->layer;
    const struct graph_codec *codec = &linker->state->codec;
    struct knn_input knn = {.codes = layer->codes, .stride = codec->stride, .dim = codec->code_dim, .node_count = layer->count};
    struct cluster_input input = {layer->codes, codec->stride, codec->code_dim, linker->nodes, linker->node_count,
                                  leaf_rows ? leaf_rows : LEAF_ROWS, !leaf_rows && linker->node_count < MERGE_FEW ? LEAF_OVERLAP : MERGE_OVERLAP,
                                  linker->graph->settings.seed};
    struct pass pass = {.linker = linker, .codec = codec, .part_of = part_of, .thinned = thinned,
                        .keep = layer->degree, .beam = MERGE_BEAM, .alpha2 = ALPHA2_REFINED};
    struct knn_lists lists = {0};
    uint32_t *original = layer->links;
    bool two;
    vecdb_status status;

    *cluster = (struct cluster){0};
    if (linker->node_count < 2)
        return VECDB_OK;
    TRY(graph_progress(linker->context, "clustering", 0, 1));
    pass.settled = largest_part(linker, part_of, &two);
    if (thinned)
        pass.settled = GRAPH_NO_PART;
    if (pass.settled != GRAPH_NO_PART) {
        knn.part_of = part_of;
        knn.without = pass.settled;
        knn.apart = two;
    }
    TRY(cluster_create(&input, linker->context->pool, cluster));
    status = knn_lists_create(&knn, cluster, knn.apart ? MERGE_STRANGERS : MERGE_NEIGHBOURS, linker->context, &lists);
    pass.out = mem_aligned_alloc(1 << 21, (size_t)layer->count * layer->degree * sizeof *pass.out);
    if (status == VECDB_OK && !pass.out)
        status = error_nomem("merging");
    if (status != VECDB_OK)
        goto out;
    pass.order = cluster->order;
    pass.lists = &lists;
    clear_unlinked(&pass);
    if ((status = run_pass(&pass, "merging", merge_task)) != VECDB_OK)
        goto out;
    swap_links(&pass);
    clear_unlinked(&pass);
    status = add_reverse(&pass);
    if (status == VECDB_OK)
        status = graph_link_far(linker, &knn);
    if (status == VECDB_OK)
        status = graph_repair(linker);
out:
    settle_links(&pass, original);
    knn_lists_deinit(&lists);
    return status;
}

/* ---- from nothing ---- */

vecdb_status graph_link(const struct graph_linker *linker)
{
    const struct graph_codec *codec = &linker->state->codec;
    struct graph_layer *layer = linker->layer;
    struct knn_input knn = {.codes = layer->codes, .stride = codec->stride, .dim = codec->code_dim, .node_count = layer->count};
    struct cluster_input input = {layer->codes, codec->stride, codec->code_dim, linker->nodes, linker->node_count,
                                  LEAF_ROWS, LEAF_OVERLAP, linker->graph->settings.seed};
    struct pass pass = {.linker = linker, .codec = codec};
    struct cluster cluster = {0};
    struct knn_lists lists = {0};
    uint32_t *original = layer->links;
    const struct graph_settings *settings = &linker->graph->settings;
    size_t k = NEIGHBOURS > layer->degree ? NEIGHBOURS : layer->degree;
    vecdb_status status;

    if (linker->node_count < 2)
        return VECDB_OK;
    if (settings->neighbours)
        k = settings->neighbours;
    TRY(graph_progress(linker->context, "clustering", 0, 1));
    TRY(cluster_create(&input, linker->context->pool, &cluster));
    status = knn_lists_create(&knn, &cluster, k, linker->context, &lists);
    if (status != VECDB_OK)
        goto out;
    pass.order = cluster.order;
    pass.lists = &lists;
    pass.keep = layer->degree;
    pass.alpha2 = settings->alpha2 > 0 ? settings->alpha2 : ALPHA2_FIRST;
    status = run_pass(&pass, "pruning", prune_task);
    knn_lists_deinit(&lists);
    pass.out = mem_aligned_alloc(1 << 21, (size_t)layer->count * layer->degree * sizeof *pass.out);
    if (status == VECDB_OK && !pass.out)
        status = error_nomem("linking");
    if (status != VECDB_OK)
        goto out;
    clear_unlinked(&pass);
    if ((status = add_reverse(&pass)) != VECDB_OK)
        goto out;
    pass.beam = refine_beam(linker);
    pass.alpha2 = settings->alpha2 > 0 ? settings->alpha2 : ALPHA2_REFINED;
    pass.candidates = settings->candidates ? settings->candidates : SIZE_MAX;
    clear_unlinked(&pass);
    if ((status = run_pass(&pass, "refining", refine_task)) != VECDB_OK)
        goto out;
    swap_links(&pass);
    clear_unlinked(&pass);
    if ((status = add_reverse(&pass)) != VECDB_OK)
        goto out;
    status = graph_link_far(linker, NULL);
    if (status == VECDB_OK)
        status = graph_repair(linker);
out:
    settle_links(&pass, original);
    knn_lists_deinit(&lists);
    cluster_deinit(&cluster);
    return status;
}
