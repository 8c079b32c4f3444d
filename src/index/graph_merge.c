/* Merging graphs: every row keeps its links within its part, where they still lead to rows, finds its neighbours in the other
 * parts by a short walk from those it shares a leaf with, and is pruned anew; but rows of the largest part wait to be found. A
 * link to a dropped row is replaced by that row's links (FreshDiskANN, arXiv:2105.09613). The layers above are small and made
 * afresh. */
#include "index/graph_build.h"

#include "base/mem.h"
#include "index/graph_lists.h"
#include "index/graph_prune.h"

#define PARTS_MAX 8        /* more would be searched for longer than building anew takes */
#define LEAST_SHARE 4      /* at least one row in so many comes from the parts, else they are not worth it */
#define FEW_LEFT 50         /* one row in so many that leaves does no harm to the links of the others */
#define MANY_HANG 8         /* one row in so many */
#define BLOCK 256

struct merge {
    struct graph *graph;
    struct graph_state *state;
    const struct graph_state *parts[PARTS_MAX];
    const uint32_t *const *row_maps;
    size_t part_count;
    uint32_t *nodes;
    size_t node_count;
    bool same_codec[PARTS_MAX]; /* its codes are those of the merged graph */
    uint32_t *places[PARTS_MAX]; /* they are but for their order: where each byte lies */
    uint8_t *part_of;       /* of each new row; GRAPH_NO_PART: none */
    uint32_t *old_row;      /* its number in its part */
    uint32_t *head;         /* the node a new row is, or hangs at; GRAPH_NONE: it is held out */
    uint32_t held[GRAPH_CALIBRATION_QUERIES]; /* to calibrate by, where no part was */
    size_t held_count;
    uint32_t *old_head[PARTS_MAX]; /* the same in a part; NULL: all rows are nodes */
};

static void merge_deinit(struct merge *merge)
{
    mem_free(merge->nodes);
    mem_free(merge->part_of);
    mem_free(merge->old_row);
    mem_free(merge->head);
    for (size_t i = 0; i < merge->part_count; i++) {
        mem_free(merge->old_head[i]);
        mem_free(merge->places[i]);
    }
}

/* Of every row, the head of its chain. */
static vecdb_status find_heads(const uint32_t *next, size_t rows, uint32_t **out)
{
    uint64_t *follows = mem_array_zalloc(bitmap_words(rows) + 1, sizeof *follows);
    uint32_t *head = mem_array_alloc(rows + 1, sizeof *head);

    if (!follows || !head) {
        mem_free(follows);
        mem_free(head);
        return error_nomem("merging");
    }
    for (size_t row = 0; row < rows; row++) {
        head[row] = (uint32_t)row;
        if (next && next[row] != GRAPH_NONE)
            bitmap_set(follows, next[row]);
    }
    for (size_t row = 0; next && row < rows; row++)
        if (!bitmap_get(follows, row))
            for (uint32_t at = next[row]; at != GRAPH_NONE; at = next[at])
                head[at] = (uint32_t)row;
    mem_free(follows);
    *out = head;
    return VECDB_OK;
}

/* Which part each row comes from, and which row it was there. */
static vecdb_status find_origins(struct merge *merge)
{
    size_t rows = merge->state->vectors.row_count;

    merge->part_of = mem_array_alloc(rows + 1, sizeof *merge->part_of);
    merge->old_row = mem_array_alloc(rows + 1, sizeof *merge->old_row);
    if (!merge->part_of || !merge->old_row)
        return error_nomem("merging");
    memset(merge->part_of, GRAPH_NO_PART, rows);
    for (size_t i = 0; i < merge->part_count; i++)
        for (size_t row = 0; row < merge->parts[i]->layers[0].count; row++)
            if (merge->row_maps[i][row] < rows) {
                merge->part_of[merge->row_maps[i][row]] = (uint8_t)i;
                merge->old_row[merge->row_maps[i][row]] = (uint32_t)row;
            }
    return VECDB_OK;
}

/* ---- codes ---- */

/* Whether the main part's codec can go on: every row has its code without loss, or it knows enough of the data. */
static vecdb_status codec_suits(const struct merge *merge, const struct graph_codec *codec, bool *suits)
{
    const struct vectors *vectors = &merge->state->vectors;

    *suits = codec->lossless || graph_codec_knows(codec, vectors->row_count);
    if (!codec->lossless)
        return *suits ? graph_codec_reaches(codec, vectors, suits) : VECDB_OK;
    for (size_t row = 0; row < vectors->row_count; row++) {
        uint8_t part = merge->part_of[row];
        if (part != GRAPH_NO_PART && graph_codec_same_values(codec, &merge->parts[part]->codec))
            continue;
        if ((!vectors->present || bitmap_get(vectors->present, row)) &&
            !graph_codec_fits(codec, vectors->type, vectors_row(vectors, row))) {
            *suits = false;
            break;
        }
    }
    return VECDB_OK;
}

static void reorder(const uint8_t *code, const uint32_t *places, size_t dim, size_t stride, uint8_t *out)
{
    for (size_t d = 0; d < dim; d++)
        out[d] = code[places[d]];
    memset(out + dim, 0, stride - dim);
}

static vecdb_status code_task(void *context, size_t block, unsigned worker)
{
    const struct merge *merge = context;
    struct graph_state *state = merge->state;
    const struct vectors *vectors = &state->vectors;
    size_t stride = state->codec.stride, row = block * BLOCK;
    size_t end = row + BLOCK < vectors->row_count ? row + BLOCK : vectors->row_count;
    float *scratch = mem_array_alloc(graph_codec_scratch(&state->codec) + 1, sizeof *scratch);

    if (!scratch)
        return error_nomem("graph codes");
    for (; row < end; row++) {
        uint8_t part = merge->part_of[row], *code = state->layers[0].codes + row * stride;
        if (part != GRAPH_NO_PART && merge->same_codec[part])
            memcpy(code, graph_code(&merge->parts[part]->layers[0], stride, merge->old_row[row]), stride);
        else if (part != GRAPH_NO_PART && merge->places[part])
            reorder(graph_code(&merge->parts[part]->layers[0], stride, merge->old_row[row]), merge->places[part],
                    state->codec.dim, stride, code);
        else if (!vectors->present || bitmap_get(vectors->present, row))
            graph_codec_encode(&state->codec, vectors->type, vectors_row(vectors, row), scratch, code);
    }
    mem_free(scratch);
    return VECDB_OK;
}

/* Codes of all rows, the parts' own where they are of the same kind. */
static vecdb_status make_codes(struct merge *merge, const struct graph_codec *main, const struct index_build_context *context)
{
    struct graph_state *state = merge->state;
    size_t rows = state->vectors.row_count;
    bool suits;

    TRY(codec_suits(merge, main, &suits));
    TRY(suits ? graph_codec_copy(main, &state->codec)
              : graph_codec_train(&state->codec, &state->vectors, merge->graph->base.metric, merge->graph->settings.seed,
                                  context->pool));
    for (size_t i = 0; i < merge->part_count; i++) {
        const struct graph_codec *codec = &merge->parts[i]->codec;
        merge->same_codec[i] = graph_codec_equal(&state->codec, codec);
        if (merge->same_codec[i] || !graph_codec_same_values(&state->codec, codec))
            continue;
        if (!(merge->places[i] = mem_array_alloc(codec->dim, 2 * sizeof *merge->places[i])))
            return error_nomem("merging");
        graph_codec_places(codec, &state->codec, merge->places[i]);
    }
    TRY(graph_layer_alloc(&state->layers[0], 0, state->codec.stride, rows));
    state->layers[0].count = (uint32_t)rows;
    return pool_run(context->pool, (rows + BLOCK - 1) / BLOCK, code_task, merge);
}

/* The nodes of the merged graph and of its parts, with what hangs at them. */
static vecdb_status find_all_nodes(struct merge *merge, const struct index_build_context *context)
{
    TRY(graph_find_nodes(merge->graph, context->pool, merge->nodes, &merge->node_count));
    TRY(find_heads(merge->state->dup_next, merge->state->layers[0].count, &merge->head));
    for (size_t i = 0; i < merge->part_count; i++)
        if (merge->parts[i]->dup_next)
            TRY(find_heads(merge->parts[i]->dup_next, merge->parts[i]->layers[0].count, &merge->old_head[i]));
    return VECDB_OK;
}

/* Parts too small to have been calibrated may be enough rows together. Links to rows held out are replaced as those to dropped ones. */
static void hold_out(struct merge *merge)
{
    const uint32_t *next = merge->state->dup_next;

    merge->held_count = graph_hold_out(merge->graph, merge->nodes, &merge->node_count, merge->held);
    for (size_t i = 0; i < merge->held_count; i++)
        for (uint32_t row = merge->held[i]; row != GRAPH_NONE; row = next ? next[row] : GRAPH_NONE)
            merge->head[row] = GRAPH_NONE;
}

struct gathering {
    uint32_t ids[GRAPH_DEGREE_MAX * 4];
    uint32_t scores[GRAPH_DEGREE_MAX * 4];
    uint64_t keys[GRAPH_DEGREE_MAX * 4];
    size_t count;
};

/* A row of a part as a node of the merged graph; GRAPH_NONE when it was dropped. A dropped head may have followers that
 * were not: those are other nodes, found by searching. */
static uint32_t renumber(const struct merge *merge, size_t part, uint32_t old)
{
    uint32_t row = merge->row_maps[part][old];

    return row < merge->state->layers[0].count ? merge->head[row] : GRAPH_NONE;
}

static void gather(const struct merge *merge, size_t part, uint32_t old, uint32_t self, bool through,
                   struct gathering *gathering)
{
    const struct graph_layer *layer = &merge->parts[part]->layers[0];
    uint32_t links[GRAPH_DEGREE_MAX];
    size_t n = graph_links(layer, old, links);

    for (size_t l = 0; l < n; l++) {
        uint32_t node = renumber(merge, part, links[l]);
        bool known = node == self;
        if (node == GRAPH_NONE) {
            if (through)
                gather(merge, part, links[l], self, false, gathering); /* one step only */
            continue;
        }
        for (size_t i = 0; i < gathering->count && !known; i++)
            known = gathering->ids[i] == node;
        /* within its own part only: the parts' graphs are searched apart */
        if (!known && merge->part_of[node] == part && gathering->count < GRAPH_DEGREE_MAX * 4)
            gathering->ids[gathering->count++] = node;
    }
}

static vecdb_status keep_task(void *context, size_t block, unsigned worker)
{
    struct merge *merge = context;
    const struct graph_layer *layer = &merge->state->layers[0];
    const struct graph_codec *codec = &merge->state->codec;
    size_t end = (block + 1) * BLOCK < merge->node_count ? (block + 1) * BLOCK : merge->node_count;
    struct gathering *gathering = mem_alloc(sizeof *gathering);
    uint32_t links[GRAPH_DEGREE_MAX];

    if (!gathering)
        return error_nomem("merging");
    for (size_t at = block * BLOCK; at < end; at++) {
        uint32_t node = merge->nodes[at], old = merge->old_row[node];
        size_t part = merge->part_of[node], n;
        struct graph_query self;
        if (part == GRAPH_NO_PART)
            continue;
        gathering->count = 0;
        gather(merge, part, merge->old_head[part] ? merge->old_head[part][old] : old, node, true, gathering);
        n = gathering->count;
        if (n > layer->degree) {
            graph_codec_self(codec, graph_code(layer, codec->stride, node), &self);
            graph_scores(&self, layer->codes, gathering->ids, n, gathering->scores);
            for (size_t i = 0; i < n; i++)
                gathering->keys[i] = graph_key(gathering->scores[i], gathering->ids[i]);
            n = graph_sort_keys(gathering->keys, n);
            n = graph_prune(codec, layer->codes, gathering->keys, n, 1.2f, layer->degree, links);
            graph_set_links(layer, node, links, n);
        } else
            graph_set_links(layer, node, gathering->ids, n);
    }
    mem_free(gathering);
    return VECDB_OK;
}

/* Nodes of a leaf that can be a list too; 0: where many rows hang at others, lists are of other sizes, or some are held out. */
static size_t leaf_for_lists(const struct merge *merge)
{
    const struct vectors *vectors = &merge->state->vectors;
    size_t rows = vectors->present ? bitmap_count(vectors->present, vectors->row_count) : vectors->row_count;

    return merge->held_count || rows - merge->node_count > rows / MANY_HANG ? 0 : graph_lists_leaf(rows);
}

/* *useless when no row that is left was linked before. `cluster` receives leaves fit for lists, or nothing. */
static vecdb_status merge_parts(struct merge *merge, const struct index_build_context *context, struct cluster *cluster, bool *useless)
{
    struct graph_linker linker = {merge->graph, merge->state, &merge->state->layers[0], merge->nodes, merge->node_count, context};
    bool parts[GRAPH_NO_PART + 1] = {false};
    size_t of = 0, left = 0;
    size_t leaf = leaf_for_lists(merge);
    uint32_t *rows;
    vecdb_status status;

    for (size_t i = 0; i < merge->node_count; i++)
        parts[merge->part_of[merge->nodes[i]]] = true;
    for (size_t i = 0; i < merge->part_count; i++) {
        of += parts[i];
        for (size_t row = 0; row < merge->parts[i]->layers[0].count; row++)
            left += merge->row_maps[i][row] >= merge->state->layers[0].count;
    }
    *useless = of == 0;
    if (*useless)
        return VECDB_OK;
    TRY(pool_run(context->pool, (merge->node_count + BLOCK - 1) / BLOCK, keep_task, merge));
    if (!(rows = mem_dup(merge->nodes, (merge->node_count + 1) * sizeof *rows)))
        return error_nomem("merging");
    if (of == 1 && !parts[GRAPH_NO_PART] && left < merge->node_count / FEW_LEFT) /* they have their links */
        status = graph_repair(&linker);
    else
        status = graph_link_parts(&linker, merge->part_of, left >= merge->node_count / FEW_LEFT, leaf, cluster);
    if (!leaf)
        cluster_deinit(cluster);
    if (status == VECDB_OK)
        status = graph_link_layers(merge->graph, false, NULL, rows, merge->node_count, context);
    if (status == VECDB_OK)
        status = graph_cover(merge->graph, merge->nodes, merge->node_count, context);
    mem_free(rows);
    return status;
}

/* The part with most rows, whose settings and calibration go on; NULL when merging is not worth it. */
static const struct graph *choose_main(struct index *const *parts, const uint32_t *const *row_maps, size_t part_count,
                                       const struct vectors *vectors)
{
    const struct graph *best = NULL;
    size_t most = 0, kept = 0;

    if (part_count > PARTS_MAX || vectors->type == VECDB_TYPE_BINARY_VECTOR)
        return NULL;
    for (size_t i = 0; i < part_count; i++) {
        const struct graph *part = (const struct graph *)parts[i];
        size_t rows = atomic_load_explicit(&part->state, memory_order_acquire)->layers[0].count;
        for (size_t row = 0; row < rows; row++)
            kept += row_maps[i][row] < vectors->row_count;
        if (!best || rows > most) {
            best = part;
            most = rows;
        }
    }
    return kept * LEAST_SHARE >= vectors->row_count ? best : NULL;
}

vecdb_status graph_merge(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric,
                         struct index *const *parts, const uint32_t *const *row_maps, size_t part_count,
                         const struct index_build_context *context, struct index **out)
{
    const struct graph *main = choose_main(parts, row_maps, part_count, vectors);
    struct merge merge = {.row_maps = row_maps, .part_count = part_count};
    struct cluster cluster = {0};
    struct graph_settings settings;
    bool useless = false;
    vecdb_status status;

    *out = NULL;
    if (!part_count)
        return error_set(VECDB_ERR_INVALID, "index %s: nothing to merge", ops->name);
    settings = ((const struct graph *)parts[0])->settings;
    settings.seed = context->seed;
    if (!main || !vectors->row_count)
        return graph_create_built(ops, vectors, metric, &settings, context, out);
    settings = main->settings;
    settings.seed = context->seed;
    TRY(graph_create(ops, vectors, metric, &settings, &merge.graph));
    merge.state = atomic_load_explicit(&merge.graph->state, memory_order_relaxed);
    for (size_t i = 0; i < part_count; i++)
        merge.parts[i] = atomic_load_explicit(&((const struct graph *)parts[i])->state, memory_order_acquire);
    merge.nodes = mem_array_alloc(vectors->row_count + 1, sizeof *merge.nodes);
    status = merge.nodes ? find_origins(&merge) : error_nomem("merging");
    if (status == VECDB_OK)
        status = make_codes(&merge, &atomic_load_explicit(&main->state, memory_order_acquire)->codec, context);
    if (status == VECDB_OK)
        status = find_all_nodes(&merge, context);
    if (status == VECDB_OK && !main->calibration.query_count)
        hold_out(&merge);
    if (status == VECDB_OK && merge.node_count)
        status = merge_parts(&merge, context, &cluster, &useless);
    if (status == VECDB_OK && !useless)
        status = graph_take_in_held(merge.graph, merge.held, merge.held_count, context);
    merge_deinit(&merge);
    if (status == VECDB_OK && !useless)
        status = cluster.leaf_count ? graph_lists_make_of(merge.graph, &cluster, context) : graph_lists_make(merge.graph, context);
    cluster_deinit(&cluster);
    if (status == VECDB_OK && !useless)
        status = graph_lay_out(merge.graph, context->pool);
    if (status != VECDB_OK || useless) {
        graph_free(&merge.graph->base);
        return status == VECDB_OK ? graph_create_built(ops, vectors, metric, &settings, context, out) : status;
    }
    if (!merge.held_count)
        merge.graph->calibration = main->calibration;
    *out = &merge.graph->base;
    return VECDB_OK;
}
