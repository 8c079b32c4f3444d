/* A graph in a file, little-endian, everything at multiples of 64 from its beginning:
 *
 *     0 u32 magic "VGRF"      4 u32 header size, 512       8 u64 size of all     16 u64 rows
 *    24 u32 metric           28 u32 vector type           32 u32 dim            36 u32 first row
 *    40 u32 degree           44 u32 efConstruction        48 u64 seed           56 u32 refine; +256 fused
 *    60 u32 code kind        64 u32 code dim              68 u32 flags: 1 lossless, 2 rotate, 4 normalize, 8 augment, 16 chains,
 *                                                                      32 ordered
 *    72 f32 step             76 f32 radius                80 u32 rows the codec was trained on
 *    84 u32 layers           88 u32 code stride           92 u32 calibration queries
 *    96 12 x {f32 ef, f32 recall}                        192 6 x {u32 nodes, u32 degree}
 *   240 8 bytes: XXH3 of bytes 0..239 and 248..511      248 12 x {f32 gamma, f32 recall}
 *   344 u32 entry beam      348 u32 lists               352 u32 rows below are in lists     356 u32 rows in lists
 *   360 u32 entry dims, 0 for none                      364 u32 entry layer                 368 f32 entry scale
 *   372 u32 head            376 u32 middle              380 u32 independent answers of the calibration; 0: taken for 6 a query
 *   384 zeros
 *   512 mean: f32 x code dim (byte codes)    signs: code dim / 2 bytes (rotated ones)    order: u32 x dim (ordered ones)
 *       of each layer: codes, nodes x stride; links, nodes x degree x u32; lower, nodes x u32 (not of the base)
 *       chains: u32 per row, when there are equal codes
 *       entry (graph_entry.h), when it has dims: offsets, f32 x entry dims; directions, entry dims x code dim, signed bytes
 *       lists, when there are any: graph_lists_file.c
 *
 * The hash covers the header only: the segment's file keeps checksums of the rest, and every number in it is checked here for
 * what a search relies on: a link is GRAPH_NONE or below the layer's nodes, nothing follows a GRAPH_NONE,
 * a chain has no loop. open() copies into huge pages where memory allows, else uses the bytes in place. */
#include "index/graph.h"

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "base/plant.h"
#include "index/graph_entry.h"
#include "index/graph_fused.h"
#include "index/graph_lists.h"

#include <math.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC 0x46524756u
#define HEADER_SIZE 512
#define HASH_AT 240
#define REFINE_FUSED 256u
#define REFINE_GROWN 512u /* row by row: what was added last need not be reachable */
enum { FLAG_LOSSLESS = 1, FLAG_ROTATE = 2, FLAG_NORMALIZE = 4, FLAG_AUGMENT = 8, FLAG_CHAINS = 16, FLAG_ORDERED = 32,
       FLAGS_ALL = 63 };

static float load_f32(const void *bytes)
{
    float value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

static void store_f32(void *bytes, float value) { memcpy(bytes, &value, sizeof value); }

static uint64_t header_hash(const uint8_t *header)
{
    uint8_t copy[HEADER_SIZE];

    memcpy(copy, header, sizeof copy);
    memset(copy + HASH_AT, 0, 8);
    return XXH3_64bits(copy, sizeof copy);
}

/* It is opened for the whole layer, which may have grown. */
static bool keeps_entry(const struct graph_state *state)
{
    return state->entry && state->layers[state->entry->layer].count <= GRAPH_ENTRY_NODES;
}

static void fill_header(const struct graph *graph, const struct graph_state *state, const struct graph_lists *lists, uint8_t *h)
{
    const struct graph_codec *codec = &state->codec;
    uint32_t flags = (codec->lossless ? FLAG_LOSSLESS : 0) | (codec->rotate ? FLAG_ROTATE : 0) |
                     (codec->normalize ? FLAG_NORMALIZE : 0) | (codec->augment ? FLAG_AUGMENT : 0) |
                     (state->dup_next ? FLAG_CHAINS : 0) | (codec->order ? FLAG_ORDERED : 0);

    memset(h, 0, HEADER_SIZE);
    store_u32(h, MAGIC);
    store_u32(h + 4, HEADER_SIZE);
    store_u64(h + 16, state->layers[0].count);
    store_u32(h + 24, (uint32_t)graph->base.metric);
    store_u32(h + 28, (uint32_t)state->vectors.type);
    store_u32(h + 32, codec->dim);
    store_u32(h + 36, graph->first);
    store_u32(h + 40, graph->settings.degree);
    store_u32(h + 44, graph->settings.ef_construction);
    store_u64(h + 48, graph->settings.seed);
    store_u32(h + 56, graph->settings.refine | (graph->settings.fused ? REFINE_FUSED : 0) |
                          (graph->growing ? REFINE_GROWN : 0));
    store_u32(h + 60, codec->kind);
    store_u32(h + 64, codec->code_dim);
    store_u32(h + 68, flags);
    store_f32(h + 72, codec->step);
    store_f32(h + 76, codec->radius);
    store_u32(h + 80, codec->trained_rows);
    store_u32(h + 84, GRAPH_LAYERS);
    store_u32(h + 88, (uint32_t)codec->stride);
    store_u32(h + 92, graph->calibration.query_count);
    store_u32(h + 344, state->entry_beam);
    if (lists) {
        store_u32(h + 348, lists->count);
        store_u32(h + 352, lists->row_limit);
        store_u32(h + 356, lists->row_count);
    }
    if (keeps_entry(state)) {
        store_u32(h + 360, state->entry->dims);
        store_u32(h + 364, state->entry->layer);
        store_f32(h + 368, state->entry->scale);
    }
    store_u32(h + 372, (uint32_t)codec->head);
    store_u32(h + 376, (uint32_t)codec->middle);
    store_u32(h + 380, graph->calibration.independent);
    for (size_t i = 0; i < GRAPH_CALIBRATION_STEPS; i++) {
        store_f32(h + 96 + 8 * i, graph->calibration.ef[i].effort);
        store_f32(h + 100 + 8 * i, graph->calibration.ef[i].recall);
        store_f32(h + 248 + 8 * i, graph->calibration.gamma[i].effort);
        store_f32(h + 252 + 8 * i, graph->calibration.gamma[i].recall);
    }
    for (size_t e = 0; e < GRAPH_LAYERS; e++) {
        store_u32(h + 192 + 8 * e, state->layers[e].count);
        store_u32(h + 196 + 8 * e, state->layers[e].degree);
    }
}

static vecdb_status append(struct buf *out, size_t start, const void *data, size_t size)
{
    TRY(buf_append(out, data, size));
    return buf_append(out, NULL, align_up(out->size - start, 64) - (out->size - start));
}

/* Bytes of a file, nearly: what of it is large. */
static size_t saved_size(const struct graph_state *state, const struct graph_lists *lists)
{
    size_t size = HEADER_SIZE;

    for (size_t e = 0; e < GRAPH_LAYERS; e++) {
        const struct graph_layer *layer = &state->layers[e];
        size += layer->count * (state->codec.stride + (layer->degree + 1) * sizeof *layer->links) + 3 * 64;
    }
    if (state->dup_next)
        size += state->layers[0].count * sizeof *state->dup_next;
    return size + (lists ? graph_lists_memory(lists, &state->codec) : 0);
}

vecdb_status graph_save(const struct index *index, struct buf *out)
{
    const struct graph *graph = (const struct graph *)index;
    /* before the state, which must have their rows */
    const struct graph_lists *lists = atomic_load_explicit(&graph->lists, memory_order_acquire);
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_acquire);
    const struct graph_codec *codec = &state->codec;
    uint8_t header[HEADER_SIZE];
    size_t start = out->size;

    if (lists && lists->codes != state->recoded)
        lists = NULL;
    fill_header(graph, state, lists, header);
    TRY(buf_reserve(out, saved_size(state, lists))); /* at once: growing in steps would move it all, several times */
    TRY(buf_append(out, header, sizeof header));
    if (codec->mean)
        TRY(append(out, start, codec->mean, codec->code_dim * sizeof *codec->mean));
    if (codec->rotate)
        TRY(append(out, start, codec->signs, codec->code_dim / 2));
    if (codec->order)
        TRY(append(out, start, codec->order, codec->dim * sizeof *codec->order));
    for (size_t e = 0; e < GRAPH_LAYERS; e++) {
        const struct graph_layer *layer = &state->layers[e];
        if (!layer->count)
            continue;
        TRY(append(out, start, layer->codes, (size_t)layer->count * codec->stride));
        TRY(append(out, start, layer->links, (size_t)layer->count * layer->degree * sizeof *layer->links));
        if (e)
            TRY(append(out, start, layer->lower, layer->count * sizeof *layer->lower));
    }
    if (state->dup_next)
        TRY(append(out, start, state->dup_next, state->layers[0].count * sizeof *state->dup_next));
    if (keeps_entry(state)) {
        TRY(append(out, start, state->entry->offsets, state->entry->dims * sizeof *state->entry->offsets));
        TRY(append(out, start, state->entry->directions, state->entry->dims * state->entry->code_dim));
    }
    if (lists)
        TRY(graph_lists_save(lists, codec, out));
    store_u64(out->data + start + 8, out->size - start);
    store_u64(out->data + start + HASH_AT, header_hash(out->data + start));
    return VECDB_OK;
}

/* ---- opening ---- */

#define CORRUPT(...) error_set(VECDB_ERR_CORRUPT, "graph index: " __VA_ARGS__)

struct reader {
    const uint8_t *data;
    size_t size, at;
};

static vecdb_status take(struct reader *reader, size_t count, size_t size, const char *what, const uint8_t **out)
{
    size_t bytes;

    *out = reader->data + reader->at;
    if (!mem_array_size(count, size, &bytes) || bytes > reader->size - reader->at)
        return CORRUPT("%s: %zu of %zu bytes do not fit into the %zu that are left", what, count, size,
                       reader->size - reader->at);
    reader->at += bytes;
    reader->at = align_up(reader->at, 64) < reader->size ? align_up(reader->at, 64) : reader->size;
    return VECDB_OK;
}

static vecdb_status check_header(const uint8_t *h, size_t size, const struct vectors *vectors, vecdb_metric metric)
{
    uint64_t rows;

    if (size < HEADER_SIZE)
        return CORRUPT("%zu bytes are less than its header of %d", size, HEADER_SIZE);
    if (load_u32(h) != MAGIC)
        return CORRUPT("begins with %08x, not %08x", load_u32(h), MAGIC);
    if (load_u32(h + 4) != HEADER_SIZE)
        return CORRUPT("header size %u, expected %d", load_u32(h + 4), HEADER_SIZE);
    if (load_u64(h + 8) != size)
        return CORRUPT("says it has %llu bytes, but has %zu", (unsigned long long)load_u64(h + 8), size);
    if (load_u64(h + HASH_AT) != header_hash(h))
        return CORRUPT("header: hash %016llx, expected %016llx", (unsigned long long)header_hash(h),
                       (unsigned long long)load_u64(h + HASH_AT));
    rows = load_u64(h + 16);
    if (rows != vectors->row_count || rows > GRAPH_ROWS_MAX)
        return CORRUPT("of %llu rows, but the segment has %zu", (unsigned long long)rows, vectors->row_count);
    if (load_u32(h + 24) != (uint32_t)metric)
        return CORRUPT("metric %u, but the index is declared with %u", load_u32(h + 24), (unsigned)metric);
    if (load_u32(h + 28) != (uint32_t)vectors->type)
        return CORRUPT("vector type %u, but the field's is %u", load_u32(h + 28), (unsigned)vectors->type);
    if (load_u32(h + 32) != vectors->dim)
        return CORRUPT("dim %u, but the field's is %u", load_u32(h + 32), vectors->dim);
    if (load_u32(h + 84) != GRAPH_LAYERS)
        return CORRUPT("%u layers, expected %d", load_u32(h + 84), GRAPH_LAYERS);
    if (load_u32(h + 344) > GRAPH_ENTRY_BEAM_MAX)
        return CORRUPT("entry beam %u, at most %d", load_u32(h + 344), GRAPH_ENTRY_BEAM_MAX);
    for (size_t i = load_u32(h + 348) ? 384 : 352; i < HEADER_SIZE; i = i == 359 ? 384 : i + 1)
        if (h[i])
            return CORRUPT("header: byte %zu is %u, not zero", i, (unsigned)h[i]);
    return VECDB_OK;
}

static vecdb_status check_settings(const struct graph_settings *settings, uint32_t refine)
{
    if (settings->degree < 4 || settings->degree > GRAPH_DEGREE_MAX)
        return CORRUPT("degree %u, not 4 to %d", settings->degree, GRAPH_DEGREE_MAX);
    if (settings->ef_construction < 1 || settings->ef_construction > INT32_MAX)
        return CORRUPT("efConstruction %u, not 1 to %d", settings->ef_construction, INT32_MAX);
    if ((refine & ~(REFINE_FUSED | REFINE_GROWN)) > 1)
        return CORRUPT("refine %u, not 0 or 1", refine);
    return VECDB_OK;
}

/* What codes there can be of such vectors under such a metric. */
static vecdb_status check_codec(const struct graph_codec *codec, uint32_t flags, size_t stride, const struct vectors *vectors,
                                vecdb_metric metric)
{
    bool bits = vectors->type == VECDB_TYPE_BINARY_VECTOR;
    uint32_t kind = metric == VECDB_METRIC_HAMMING   ? GRAPH_CODE_HAMMING
                    : metric == VECDB_METRIC_JACCARD ? GRAPH_CODE_JACCARD
                    : metric == VECDB_METRIC_L2      ? GRAPH_CODE_L2
                                                     : GRAPH_CODE_DOT;
    uint32_t code_dim = bits ? codec->dim : (uint32_t)align_up((size_t)codec->dim + codec->augment, 64);

    if (flags & ~(uint32_t)FLAGS_ALL)
        return CORRUPT("flags %x, unknown beyond %x", flags, FLAGS_ALL);
    if (codec->kind != kind && !(metric == VECDB_METRIC_COSINE && codec->kind == GRAPH_CODE_L2))
        return CORRUPT("code kind %u, but the metric takes %u", codec->kind, kind);
    if (codec->code_dim != code_dim)
        return CORRUPT("code dim %u, expected %u", codec->code_dim, code_dim);
    if (codec->stride != stride)
        return CORRUPT("code stride %zu, expected %zu", stride, codec->stride);
    if (codec->lossless && kind == GRAPH_CODE_DOT)
        return CORRUPT("lossless codes, which do not go with the metric");
    if (bits && (!codec->lossless || codec->rotate || codec->normalize || codec->augment))
        return CORRUPT("flags %x do not go with bits", flags);
    if (codec->normalize != (metric == VECDB_METRIC_COSINE))
        return CORRUPT("normalized: %d, which does not go with the metric", (int)codec->normalize);
    if (codec->augment && metric != VECDB_METRIC_IP)
        return CORRUPT("one more dimension, which does not go with the metric");
    if (codec->lossless && codec->rotate)
        return CORRUPT("lossless codes cannot be rotated");
    if (!bits && (!isfinite(codec->step) || codec->step <= 0))
        return CORRUPT("step %g", (double)codec->step);
    if (!bits && !isfinite(codec->radius))
        return CORRUPT("radius %g", (double)codec->radius);
    for (size_t d = 0; codec->mean && d < codec->code_dim; d++)
        if (!isfinite(codec->mean[d]))
            return CORRUPT("mean %g in dimension %zu", (double)codec->mean[d], d);
    return VECDB_OK;
}

/* Every dimension once, and beginnings that lie in a code. */
static vecdb_status check_order(const struct graph_codec *codec, uint32_t head, uint32_t middle)
{
    uint64_t *seen;

    if (codec->kind != GRAPH_CODE_L2 || codec->rotate)
        return CORRUPT("an order of dimensions, which does not go with the codes");
    if (!head || head % 64 || head > middle || middle % 64 || middle > codec->stride)
        return CORRUPT("codes of %zu bytes begin with %u and %u", codec->stride, head, middle);
    if (!(seen = mem_array_zalloc(bitmap_words(codec->dim), sizeof *seen)))
        return error_nomem("graph index");
    for (size_t i = 0; i < codec->dim; i++) {
        if (codec->order[i] >= codec->dim || bitmap_get(seen, codec->order[i])) {
            mem_free(seen);
            return CORRUPT("dimension %u in place %zu of the order", codec->order[i], i);
        }
        bitmap_set(seen, codec->order[i]);
    }
    mem_free(seen);
    return VECDB_OK;
}

static vecdb_status check_steps(const struct graph_step *steps, float least, float most, const char *what)
{
    for (size_t i = 0; i < GRAPH_CALIBRATION_STEPS; i++) {
        if (!(steps[i].effort >= least && steps[i].effort <= most) || (i && steps[i].effort <= steps[i - 1].effort))
            return CORRUPT("calibration: %s %g in step %zu", what, (double)steps[i].effort, i);
        if (!(steps[i].recall >= 0 && steps[i].recall <= 1) || (i && steps[i].recall < steps[i - 1].recall))
            return CORRUPT("calibration: recall %g in step %zu of %s", (double)steps[i].recall, i, what);
    }
    return VECDB_OK;
}

static vecdb_status check_calibration(const struct graph_calibration *calibration)
{
    uint32_t queries = calibration->query_count, independent = calibration->independent;

    if (independent && (independent < queries || independent > (uint64_t)queries * 10))
        return CORRUPT("calibration: %u independent answers of %u queries", independent, queries);
    if (!queries)
        return VECDB_OK;
    TRY(check_steps(calibration->ef, 1, 1 << 20, "ef"));
    return check_steps(calibration->gamma, -1, 100, "gamma");
}

static vecdb_status check_layer_sizes(const struct graph *graph, const struct graph_state *state)
{
    uint32_t rows = state->layers[0].count;

    if (graph->first != GRAPH_NONE && graph->first >= rows)
        return CORRUPT("first row %u of %u", graph->first, rows);
    for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
        const struct graph_layer *layer = &state->layers[e];
        uint32_t degree = e ? graph->settings.degree / 2 : graph->settings.degree;
        if (e && degree < 8)
            degree = 8;
        if (layer->degree != degree)
            return CORRUPT("degree %u in layer %u, expected %u", layer->degree, e, degree);
        if (e && (layer->count > state->layers[e - 1].count || (layer->count > 0) != (graph->first != GRAPH_NONE)))
            return CORRUPT("%u nodes in layer %u above %u", layer->count, e, state->layers[e - 1].count);
    }
    return VECDB_OK;
}

static bool has_value(const struct graph_state *state, size_t row)
{
    return !state->vectors.present || bitmap_get(state->vectors.present, row);
}

static vecdb_status check_layer(const struct graph *graph, const struct graph_state *state, unsigned e)
{
    const struct graph_layer *layer = &state->layers[e];

    for (size_t i = 0; i < layer->count; i++) {
        const uint32_t *links = layer->links + i * layer->degree;
        uint32_t most = 0, ended = 0;
        bool bad = false;
        for (uint32_t l = 0; l < layer->degree; l++) { /* no branch per link: a million nodes take milliseconds */
            uint32_t none = links[l] == GRAPH_NONE;
            bad |= (ended && !none) || links[l] == (uint32_t)i;
            ended |= none;
            most = !none && links[l] > most ? links[l] : most;
        }
        if (bad || most >= layer->count + PLANTED(18))
            return CORRUPT("layer %u: node %zu links to %u of %u, to itself, or past its end", e, i, most, layer->count);
        if (!e && links[0] != GRAPH_NONE && !has_value(state, i))
            return CORRUPT("row %zu has links but no value", i);
    }
    for (size_t i = 0; e && i < layer->count; i++)
        if (layer->lower[i] >= state->layers[e - 1].count ||
            (i == 0 && layer->lower[i] != (e == 1 ? graph->first : 0)))
            return CORRUPT("layer %u: node %zu lies above %u of %u", e, i, layer->lower[i], state->layers[e - 1].count);
    return VECDB_OK;
}

/* Chains end, and no row is in two. `in` has a bit per row. */
static vecdb_status check_chains(const struct graph_state *state, uint64_t *in)
{
    const uint32_t *next = state->dup_next;
    size_t rows = state->layers[0].count, members = 0, met = 0;

    for (size_t row = 0; row < rows; row++) {
        if (next[row] == GRAPH_NONE)
            continue;
        if (next[row] >= rows || bitmap_get(in, next[row]))
            return CORRUPT("chain: row %zu leads to %u, which is no row or has a predecessor", row, next[row]);
        if (!has_value(state, row) || !has_value(state, next[row]))
            return CORRUPT("chain: row %zu or %u has no value", row, next[row]);
        bitmap_set(in, next[row]);
        members++;
    }
    for (size_t row = 0; row < rows; row++)
        if (!bitmap_get(in, row))
            for (uint32_t at = next[row]; at != GRAPH_NONE; at = next[at])
                met++;
    return met == members ? VECDB_OK : CORRUPT("chain: %zu rows in a ring", members - met);
}

/* Against the state there is now: a graph that grows may have had lists made since. */
static vecdb_status check_lists(const struct graph *graph)
{
    const struct graph_lists *lists = atomic_load_explicit(&graph->lists, memory_order_acquire);

    return graph_lists_check(lists, atomic_load_explicit(&graph->state, memory_order_acquire));
}

static vecdb_status check_parts(const struct graph *graph, const struct graph_state *state)
{
    TRY(check_layer_sizes(graph, state));
    TRY(check_lists(graph));
    for (unsigned e = 0; e < GRAPH_LAYERS; e++)
        TRY(check_layer(graph, state, e));
    if (graph->first != GRAPH_NONE && !has_value(state, graph->first))
        return CORRUPT("first row %u has no value", graph->first);
    if (state->dup_next) {
        uint64_t *in = mem_array_zalloc(bitmap_words(state->layers[0].count) + 1, sizeof *in);
        vecdb_status status = in ? check_chains(state, in) : error_nomem("graph index");
        mem_free(in);
        return status;
    }
    return VECDB_OK;
}

/* Into memory of our own; what cannot be had stays where it is. */
static bool copy_parts(struct graph_state *state)
{
    struct graph_state copy = *state;
    size_t stride = state->codec.stride;
    bool enough = true;

    for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
        struct graph_layer *to = &copy.layers[e];
        const struct graph_layer *from = &state->layers[e];
        size_t links = (size_t)from->degree * sizeof *from->links;
        to->codes = graph_array(from->count, stride);
        to->links = graph_array(from->count, links);
        to->lower = e ? graph_array(from->count, sizeof *from->lower) : NULL;
        enough &= to->codes && to->links && (!e || to->lower);
        if (!enough || !from->count)
            continue;
        memcpy(to->codes, from->codes, from->count * stride);
        memcpy(to->links, from->links, from->count * links);
        if (e)
            memcpy(to->lower, from->lower, from->count * sizeof *from->lower);
    }
    if (state->dup_next) {
        copy.dup_next = graph_array(state->layers[0].count, sizeof *state->dup_next);
        enough &= copy.dup_next != NULL;
        if (copy.dup_next)
            memcpy(copy.dup_next, state->dup_next, state->layers[0].count * sizeof *state->dup_next);
    }
    if (enough) {
        *state = copy;
        return true;
    }
    for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
        mem_free(copy.layers[e].codes);
        mem_free(copy.layers[e].links);
        mem_free(copy.layers[e].lower);
    }
    if (state->dup_next)
        mem_free(copy.dup_next);
    error_clear();
    return false;
}

static vecdb_status check_entry(const struct graph_state *state, uint32_t layer, uint32_t dims, float scale)
{
    if (state->codec.kind > GRAPH_CODE_DOT)
        return CORRUPT("an entry, which does not go with bits");
    if (dims % 4 || dims > GRAPH_ENTRY_DIMS)
        return CORRUPT("entry of %u dims, not a multiple of 4 up to %d", dims, GRAPH_ENTRY_DIMS);
    if (layer < 1 || layer >= GRAPH_LAYERS || state->layers[layer].count > GRAPH_ENTRY_NODES || !state->layers[layer].count)
        return CORRUPT("entry by layer %u, which is none or has not 1 to %d nodes", layer, GRAPH_ENTRY_NODES);
    if (!isfinite(scale))
        return CORRUPT("entry scale %g", (double)scale);
    return VECDB_OK;
}

/* What a search begins by; the nodes' bytes are made of codes that have been checked. */
static vecdb_status read_entry(struct graph *graph, struct graph_state *state, const uint8_t *h, struct reader *reader)
{
    uint32_t dims = load_u32(h + 360), layer = load_u32(h + 364);
    float scale = load_f32(h + 368);
    const uint8_t *offsets, *directions;

    if (!dims) {
        if (layer || scale != 0)
            return CORRUPT("entry layer %u, scale %g, but no dims", layer, (double)scale);
        return VECDB_OK;
    }
    TRY(check_entry(state, layer, dims, scale));
    TRY(take(reader, dims, sizeof(float), "entry offsets", &offsets));
    TRY(take(reader, dims, state->codec.code_dim, "entry directions", &directions));
    for (size_t j = 0; j < dims; j++)
        if (!isfinite(load_f32(offsets + 4 * j)))
            return CORRUPT("entry offset %g in dimension %zu", (double)load_f32(offsets + 4 * j), j);
    TRY(graph_entry_restore(state, layer, dims, scale, (const float *)(const void *)offsets, (const int8_t *)directions,
                            &graph->entry));
    state->entry = graph->entry;
    return VECDB_OK;
}

static vecdb_status read_parts(struct graph *graph, struct graph_state *state, const uint8_t *h, size_t size)
{
    struct graph_codec *codec = &state->codec;
    struct reader reader = {h, size, HEADER_SIZE};
    uint32_t flags = load_u32(h + 68);
    const uint8_t *part;

    *codec = (struct graph_codec){.kind = load_u32(h + 60), .dim = state->vectors.dim, .code_dim = load_u32(h + 64),
                                  .lossless = flags & FLAG_LOSSLESS, .rotate = flags & FLAG_ROTATE,
                                  .normalize = flags & FLAG_NORMALIZE, .augment = flags & FLAG_AUGMENT,
                                  .step = load_f32(h + 72), .radius = load_f32(h + 76), .trained_rows = load_u32(h + 80)};
    if (codec->code_dim > 2 * (uint32_t)VECDB_MAX_DIM * 8 || codec->kind >= GRAPH_CODE_KINDS)
        return CORRUPT("code kind %u, code dim %u", codec->kind, codec->code_dim);
    TRY(graph_codec_alloc(codec));
    if (codec->mean) {
        TRY(take(&reader, codec->code_dim, sizeof *codec->mean, "mean", &part));
        memcpy(codec->mean, part, codec->code_dim * sizeof *codec->mean);
    }
    if (codec->signs) {
        TRY(take(&reader, codec->code_dim / 2, 1, "signs", &part));
        memcpy(codec->signs, part, codec->code_dim / 2);
    }
    TRY(check_codec(codec, flags, load_u32(h + 88), &state->vectors, graph->base.metric));
    if (flags & FLAG_ORDERED) {
        TRY(take(&reader, codec->dim, sizeof *codec->order, "order", &part));
        if (!(codec->order = mem_array_alloc(codec->dim, sizeof *codec->order)))
            return error_nomem("graph index");
        memcpy(codec->order, part, codec->dim * sizeof *codec->order);
        TRY(check_order(codec, load_u32(h + 372), load_u32(h + 376)));
        codec->head = load_u32(h + 372);
        codec->middle = load_u32(h + 376);
    } else if (load_u32(h + 372) || load_u32(h + 376))
        return CORRUPT("codes without an order begin with %u and %u", load_u32(h + 372), load_u32(h + 376));
    state->entry_beam = load_u32(h + 344);
    for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
        struct graph_layer *layer = &state->layers[e];
        layer->count = layer->capacity = load_u32(h + 192 + 8 * e);
        layer->degree = load_u32(h + 196 + 8 * e);
    }
    if (state->layers[0].count != state->vectors.row_count)
        return CORRUPT("%u nodes in the base layer, but %zu rows", state->layers[0].count, state->vectors.row_count);
    TRY(check_layer_sizes(graph, state));
    for (unsigned e = 0; e < GRAPH_LAYERS; e++) {
        struct graph_layer *layer = &state->layers[e];
        if (!layer->count)
            continue;
        TRY(take(&reader, layer->count, codec->stride, "codes", &part));
        layer->codes = (uint8_t *)part;
        TRY(take(&reader, (size_t)layer->count * layer->degree, sizeof *layer->links, "links", &part));
        layer->links = (uint32_t *)(void *)part;
        if (!e)
            continue;
        TRY(take(&reader, layer->count, sizeof *layer->lower, "layer", &part));
        layer->lower = (uint32_t *)(void *)part;
    }
    if (flags & FLAG_CHAINS) {
        TRY(take(&reader, state->layers[0].count, sizeof *state->dup_next, "chains", &part));
        state->dup_next = (uint32_t *)(void *)part;
    }
    TRY(read_entry(graph, state, h, &reader));
    if (load_u32(h + 348)) {
        struct graph_lists_sizes sizes = {load_u32(h + 348), load_u32(h + 352), load_u32(h + 356), state->layers[0].count};
        struct graph_lists *lists;
        TRY(graph_lists_read(&sizes, codec, h + reader.at, size - reader.at, &lists));
        atomic_store_explicit(&graph->lists, lists, memory_order_release);
        reader.at = size;
    }
    if (reader.at != size)
        return CORRUPT("%zu bytes after its end", size - reader.at);
    return VECDB_OK;
}

vecdb_status graph_open(const struct index_ops *ops, const void *data, size_t size, const struct vectors *vectors,
                        vecdb_metric metric, struct index **out)
{
    const uint8_t *h = data;
    struct graph_settings settings;
    struct graph_state *state;
    struct graph *graph;
    vecdb_status status;

    *out = NULL;
    TRY(check_header(h, size, vectors, metric));
    settings = (struct graph_settings){.degree = load_u32(h + 40), .ef_construction = load_u32(h + 44),
                                       .refine = load_u32(h + 56) & 1,
                                       .fused = load_u32(h + 56) & REFINE_FUSED, .seed = load_u64(h + 48)};
    TRY(check_settings(&settings, load_u32(h + 56)));
    TRY(graph_create(ops, vectors, metric, &settings, &graph));
    graph->mapped = true;
    graph->growing = load_u32(h + 56) & REFINE_GROWN;
    graph->first = load_u32(h + 36);
    graph->calibration.query_count = load_u32(h + 92);
    graph->calibration.independent = load_u32(h + 380);
    for (size_t i = 0; i < GRAPH_CALIBRATION_STEPS; i++) {
        graph->calibration.ef[i] = (struct graph_step){load_f32(h + 96 + 8 * i), load_f32(h + 100 + 8 * i)};
        graph->calibration.gamma[i] = (struct graph_step){load_f32(h + 248 + 8 * i), load_f32(h + 252 + 8 * i)};
    }
    state = atomic_load_explicit(&graph->state, memory_order_relaxed);
    status = check_calibration(&graph->calibration);
    if (status == VECDB_OK)
        status = read_parts(graph, state, h, size);
    if (status == VECDB_OK && copy_parts(state)) /* check what is used, not what may change under it */
        graph->mapped = false;
    graph->base.detached = !graph->mapped;
    if (status == VECDB_OK && graph->mapped && (uintptr_t)data % 64)
        status = error_nomem("graph index");
    if (status == VECDB_OK)
        status = check_parts(graph, state);
    if (status == VECDB_OK)
        status = graph_lay_out(graph, NULL);
    if (status != VECDB_OK) {
        graph_free(&graph->base);
        return status;
    }
    *out = &graph->base;
    return VECDB_OK;
}

/* ---- every invariant ---- */

static vecdb_status check_links_differ(const struct graph_layer *layer, unsigned e)
{
    for (size_t i = 0; i < layer->count; i++) {
        const uint32_t *links = layer->links + i * layer->degree;
        for (uint32_t l = 1; l < layer->degree && links[l] != GRAPH_NONE; l++)
            for (uint32_t m = 0; m < l; m++)
                if (links[l] == links[m])
                    return CORRUPT("layer %u: node %zu links to %u twice", e, i, links[l]);
    }
    return VECDB_OK;
}

/* From the first node every other is met; in the base layer, every row that has a value and heads its chain. */
static vecdb_status check_reach(const struct graph *graph, const struct graph_state *state, unsigned e, uint32_t *queue,
                                uint64_t *met, const uint64_t *followers)
{
    const struct graph_layer *layer = &state->layers[e];
    size_t head = 0, tail = 0;

    if (!layer->count || graph->first == GRAPH_NONE)
        return VECDB_OK;
    memset(met, 0, bitmap_words(layer->count) * sizeof *met);
    queue[tail++] = e ? 0 : graph->first;
    bitmap_set(met, queue[0]);
    while (head < tail) {
        const uint32_t *links = layer->links + (size_t)queue[head++] * layer->degree;
        for (uint32_t l = 0; l < layer->degree && links[l] != GRAPH_NONE; l++)
            if (!bitmap_get(met, links[l])) {
                bitmap_set(met, links[l]);
                queue[tail++] = links[l];
            }
    }
    for (size_t i = 0; i < layer->count; i++) {
        bool node = e || (has_value(state, i) && !bitmap_get(followers, i));
        if (node != bitmap_get(met, i))
            return CORRUPT("layer %u: node %zu %s", e, i, node ? "cannot be reached" : "is linked to but is no node");
    }
    return VECDB_OK;
}

vecdb_status graph_check(const struct index *index)
{
    const struct graph *graph = (const struct graph *)index;
    const struct graph_state *state = atomic_load_explicit(&graph->state, memory_order_acquire);
    const struct graph_fused *fused = atomic_load_explicit(&graph->fused, memory_order_acquire);
    size_t rows = state->layers[0].count;
    uint64_t *met = mem_array_zalloc(bitmap_words(rows) + 1, sizeof *met);
    uint64_t *followers = mem_array_zalloc(bitmap_words(rows) + 1, sizeof *followers);
    uint32_t *queue = mem_array_alloc(rows + 1, sizeof *queue);
    vecdb_status status = met && followers && queue ? VECDB_OK : error_nomem("graph index");

    if (status == VECDB_OK && rows)
        status = check_parts(graph, state);
    if (status == VECDB_OK && fused && !graph_fused_matches(fused, &state->layers[0]))
        status = CORRUPT("the fused blocks have other links than the base layer");
    for (size_t row = 0; status == VECDB_OK && state->dup_next && row < rows; row++)
        if (state->dup_next[row] != GRAPH_NONE)
            bitmap_set(followers, state->dup_next[row]);
    for (unsigned e = 0; e < GRAPH_LAYERS && status == VECDB_OK; e++)
        status = check_links_differ(&state->layers[e], e);
    for (unsigned e = 0; e < GRAPH_LAYERS && status == VECDB_OK && !graph->growing; e++)
        status = check_reach(graph, state, e, queue, met, followers);
    mem_free(met);
    mem_free(followers);
    mem_free(queue);
    return status;
}
