#include "index/graph_entry.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#include <math.h>

#define SAMPLE 1024             /* nodes the directions are learnt from */
#define SAMPLE_VALUES (1u << 21) /* but no more bytes of codes than this, or SAMPLE_LEAST nodes */
#define SAMPLE_LEAST 64
#define ITERATIONS 4
#define REACH 4.0f /* standard deviations along the first direction that the bytes cover, each way */

void graph_entry_free(struct graph_entry *entry)
{
    if (!entry)
        return;
    mem_free(entry->offsets);
    mem_free(entry->shift);
    mem_free(entry->directions);
    mem_free(entry->panel);
    mem_free(entry);
}

size_t graph_entry_memory(const struct graph_entry *entry)
{
    return entry ? sizeof *entry + entry->dims * (entry->code_dim + 2 * sizeof(float)) +
                       simd_distance()->u8_panel_size(entry->count, entry->dims)
                 : 0;
}

/* ---- directions ---- */

struct learning {
    const struct graph_layer *layer;
    size_t dim, dims, count, step; /* nodes 0, step, 2 * step, ... */
    float *x;      /* count x dim: codes less their mean */
    float *basis;  /* dims x dim, orthonormal */
    float *next;   /* dims x dim */
    float *spread; /* dims: standard deviation along each */
};

static void load_centred(struct learning *learning, float *mean)
{
    size_t dim = learning->dim;

    memset(mean, 0, dim * sizeof *mean);
    for (size_t i = 0; i < learning->count; i++) {
        const uint8_t *code = learning->layer->codes + i * learning->step * dim;
        for (size_t d = 0; d < dim; d++)
            learning->x[i * dim + d] = code[d];
        for (size_t d = 0; d < dim; d++)
            mean[d] += (float)code[d];
    }
    for (size_t d = 0; d < dim; d++)
        mean[d] /= (float)learning->count;
    for (size_t i = 0; i < learning->count; i++)
        simd_codes()->sub_f32(learning->x + i * dim, mean, dim, learning->x + i * dim);
}

/* Gram-Schmidt, in place; what is left of a vector that depends on those before it becomes zero. */
static void orthonormalize(float *basis, size_t dims, size_t dim)
{
    for (size_t j = 0; j < dims; j++) {
        float *v = basis + j * dim, before = simd_codes()->sumsq_f32(v, dim), square;
        for (size_t i = 0; i < j; i++) {
            const float *u = basis + i * dim;
            float along = simd_distance()->ip_f32.one(v, u, dim);
            for (size_t d = 0; d < dim; d++)
                v[d] -= along * u[d];
        }
        square = simd_codes()->sumsq_f32(v, dim);
        square = square > 1e-6f * before ? 1 / sqrtf(square) : 0;
        for (size_t d = 0; d < dim; d++)
            v[d] *= square;
    }
}

/* One step of subspace iteration; leaves the spread along the old basis. */
static void iterate(struct learning *learning)
{
    size_t dim = learning->dim, dims = learning->dims;
    float along[GRAPH_ENTRY_DIMS], *swap = learning->basis;

    memset(learning->next, 0, dims * dim * sizeof *learning->next);
    memset(learning->spread, 0, dims * sizeof *learning->spread);
    for (size_t i = 0; i < learning->count; i++) {
        const float *x = learning->x + i * dim;
        simd_distance()->ip_f32.rows(x, learning->basis, dim * sizeof *x, dims, dim, along);
        for (size_t j = 0; j < dims; j++) {
            float *to = learning->next + j * dim, a = along[j];
            for (size_t d = 0; d < dim; d++)
                to[d] += a * x[d];
            learning->spread[j] += a * a;
        }
    }
    for (size_t j = 0; j < dims; j++)
        learning->spread[j] = sqrtf(learning->spread[j] / (float)learning->count);
    learning->basis = learning->next;
    learning->next = swap;
    orthonormalize(learning->basis, dims, dim);
}

/* ---- places of nodes and queries ---- */

static void to_bytes(const struct graph_entry *entry, const float *sums, uint8_t *out)
{
    for (size_t j = 0; j < entry->dims; j++) {
        float value = sums[j] * entry->scale + entry->offsets[j];
        out[j] = (uint8_t)(value > 0 ? value < 255 ? value + 0.5f : 255 : 0);
    }
}

static void place(const struct graph_entry *entry, const uint8_t *code, float *sums, uint8_t *out)
{
    for (size_t j = 0; j < entry->dims; j++)
        sums[j] = (float)simd_codes()->dot_u8s8.one(entry->directions + j * entry->code_dim, code, entry->code_dim);
    to_bytes(entry, sums, out);
}

/* A query under inner product is brought to the rows' length and into the units of codes: its sums are a multiple of those of
 * its signed bytes, less those of what lies between a code and the vector it stands for (`shift`). */
static void place_query(const struct graph_entry *entry, const struct graph_query *query, uint8_t *out)
{
    const struct graph_codec *codec = query->codec;
    float sums[GRAPH_ENTRY_DIMS], unit = 0;

    if (query->kind != GRAPH_CODE_DOT) {
        place(entry, query->code, sums, out);
        return;
    }
    if (query->length > 0)
        unit = query->step * codec->radius / (query->length * codec->step);
    for (size_t j = 0; j < entry->dims; j++)
        sums[j] = unit * (float)simd_distance()->ip_i8.one(entry->directions + j * entry->code_dim, query->code, entry->code_dim) -
                  entry->shift[j];
    to_bytes(entry, sums, out);
}

static void find_shift(struct graph_entry *entry, const struct graph_codec *codec)
{
    for (size_t j = 0; j < entry->dims; j++) {
        double sum = 0;
        for (size_t d = 0; d < entry->code_dim; d++)
            sum += (double)entry->directions[j * entry->code_dim + d] * ((double)codec->mean[d] / codec->step - 128);
        entry->shift[j] = (float)sum;
    }
}

static vecdb_status pack_nodes(struct graph_entry *entry, const struct graph_layer *layer)
{
    const struct distance_kernels *kernels = simd_distance();
    uint8_t *bytes = mem_array_alloc(entry->count, entry->dims);
    float sums[GRAPH_ENTRY_DIMS];

    entry->panel = mem_aligned_alloc(64, align_up(kernels->u8_panel_size(entry->count, entry->dims) + 1, 64));
    if (!bytes || !entry->panel) {
        mem_free(bytes);
        return error_nomem("graph index");
    }
    for (size_t i = 0; i < entry->count; i++)
        place(entry, layer->codes + i * entry->code_dim, sums, bytes + i * entry->dims);
    kernels->u8_pack(bytes, entry->dims, NULL, entry->count, entry->dims, entry->panel);
    mem_free(bytes);
    return VECDB_OK;
}

/* ---- making one ---- */

static struct graph_entry *entry_alloc(const struct graph_state *state, uint32_t layer, uint32_t dims)
{
    struct graph_entry *entry = mem_zalloc(sizeof *entry);
    bool dot = state->codec.kind == GRAPH_CODE_DOT;

    if (!entry)
        return NULL;
    entry->layer = layer;
    entry->count = state->layers[layer].count;
    entry->dims = dims;
    entry->code_dim = state->codec.code_dim;
    entry->offsets = mem_array_zalloc(dims, sizeof *entry->offsets);
    entry->shift = dot ? mem_array_zalloc(dims, sizeof *entry->shift) : NULL;
    entry->directions = mem_aligned_alloc(64, align_up(dims * entry->code_dim, 64));
    if (entry->offsets && (entry->shift || !dot) && entry->directions)
        return entry;
    graph_entry_free(entry);
    return NULL;
}

vecdb_status graph_entry_restore(const struct graph_state *state, uint32_t layer, uint32_t dims, float scale, const float *offsets,
                                 const int8_t *directions, struct graph_entry **out)
{
    struct graph_entry *entry = entry_alloc(state, layer, dims);
    vecdb_status status;

    *out = NULL;
    if (!entry)
        return error_nomem("graph index");
    entry->scale = scale;
    memcpy(entry->offsets, offsets, dims * sizeof *offsets);
    memcpy(entry->directions, directions, dims * entry->code_dim);
    if (entry->shift)
        find_shift(entry, &state->codec);
    if ((status = pack_nodes(entry, &state->layers[layer])) != VECDB_OK) {
        graph_entry_free(entry);
        return status;
    }
    *out = entry;
    return VECDB_OK;
}

/* Directions as signed bytes, and where the mean lies along them. */
static void take_directions(struct graph_entry *entry, const struct learning *learning, const float *mean)
{
    float most = 0, widest = 0;

    for (size_t i = 0; i < learning->dims * learning->dim; i++)
        most = fabsf(learning->basis[i]) > most ? fabsf(learning->basis[i]) : most;
    for (size_t j = 0; j < learning->dims; j++)
        widest = learning->spread[j] > widest ? learning->spread[j] : widest;
    for (size_t i = 0; i < learning->dims * learning->dim; i++)
        entry->directions[i] = (int8_t)rintf(most > 0 ? learning->basis[i] * (127 / most) : 0);
    entry->scale = widest > 0 && most > 0 ? 127.5f * most / (127 * REACH * widest) : 1;
    for (size_t j = 0; j < learning->dims; j++) {
        double sum = 0;
        for (size_t d = 0; d < learning->dim; d++)
            sum += (double)entry->directions[j * learning->dim + d] * (double)mean[d];
        entry->offsets[j] = (float)(127.5 - sum * (double)entry->scale);
    }
}

static vecdb_status learn(struct graph_entry *entry, const struct graph_layer *layer)
{
    struct learning learning = {.layer = layer, .dim = entry->code_dim, .dims = entry->dims};
    size_t most = SAMPLE_VALUES / entry->code_dim, dim = entry->code_dim;
    struct rng rng = rng_seeded(0x656E747279ull);
    float spread[GRAPH_ENTRY_DIMS], *mean = mem_array_alloc(dim, sizeof *mean), *x, *a, *b;
    bool enough;

    most = most < SAMPLE_LEAST ? SAMPLE_LEAST : most > SAMPLE ? SAMPLE : most;
    learning.step = (layer->count + most - 1) / most;
    learning.count = (layer->count + learning.step - 1) / learning.step;
    x = learning.x = mem_array_alloc(learning.count, dim * sizeof *x);
    a = learning.basis = mem_array_alloc(learning.dims, dim * sizeof *a);
    b = learning.next = mem_array_alloc(learning.dims, dim * sizeof *b);
    learning.spread = spread;
    enough = mean && x && a && b;
    if (enough) {
        load_centred(&learning, mean);
        for (size_t j = 0; j < learning.dims; j++)
            memcpy(a + j * dim, x + rng_below(&rng, learning.count) * dim, dim * sizeof *a);
        orthonormalize(a, learning.dims, dim);
        for (size_t i = 0; i < ITERATIONS; i++)
            iterate(&learning);
        take_directions(entry, &learning, mean);
    }
    mem_free(mean);
    mem_free(x);
    mem_free(a);
    mem_free(b);
    return enough ? VECDB_OK : error_nomem("graph index");
}

vecdb_status graph_entry_create(const struct graph_state *state, struct graph_entry **out)
{
    struct graph_entry *entry;
    uint32_t layer = 1;
    vecdb_status status;

    *out = NULL;
    while (layer < GRAPH_LAYERS - 1 && state->layers[layer].count > GRAPH_ENTRY_NODES)
        layer++;
    if (state->codec.kind > GRAPH_CODE_DOT || state->layers[layer].count <= GRAPH_SCAN_MAX ||
        state->layers[layer].count > GRAPH_ENTRY_NODES)
        return VECDB_OK;
    if (!(entry = entry_alloc(state, layer, GRAPH_ENTRY_DIMS)))
        return error_nomem("graph index");
    if ((status = learn(entry, &state->layers[layer])) == VECDB_OK) {
        if (entry->shift)
            find_shift(entry, &state->codec);
        status = pack_nodes(entry, &state->layers[layer]);
    }
    if (status != VECDB_OK) {
        graph_entry_free(entry);
        return status;
    }
    *out = entry;
    return VECDB_OK;
}

/* ---- searching ---- */

bool graph_entry_serves(const struct graph_entry *entry, const struct graph_state *state)
{
    return __atomic_load_n(&state->layers[entry->layer].count, __ATOMIC_ACQUIRE) <= entry->count + entry->count / 4;
}

size_t graph_entry_nearest(const struct graph_entry *entry, const struct graph_query *query, size_t want, int32_t *scores,
                           uint32_t *out)
{
    uint8_t bytes[GRAPH_ENTRY_DIMS];

    place_query(entry, query, bytes);
    simd_distance()->u8_l2sq(bytes, entry->dims, 1, entry->panel, entry->count, entry->dims, scores, entry->count);
    return simd_graph()->smallest_i32(scores, entry->count, want, INT32_MAX, out);
}
