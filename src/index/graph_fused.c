#include "index/graph_fused.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#include <math.h>

#define BLOCK 64            /* nodes of one task */
#define CENTER_NODES 1024   /* whose mean the center is */
#define PREFETCHED 2048     /* bytes of a block fetched ahead; the rest follows by itself */
/* How far from its estimate a score is allowed to be, in standard deviations: a neighbour ruled out by mistake is mostly
 * met again by another link. */
#define DEVIATIONS 1.0f
#define SPREAD 0.603f       /* sqrt(1 - 2 / pi): the deviation of an estimate, in units of b times the query's distance */

static uint32_t *block_links(const struct graph_fused *fused, size_t node)
{
    return (uint32_t *)(void *)(fused->blocks + node * fused->block_size);
}

static void load_code(const struct graph_layer *layer, size_t dim, size_t node, float *out)
{
    const uint8_t *code = layer->codes + node * dim;

    for (size_t d = 0; d < dim; d++)
        out[d] = code[d];
}

static void find_center(const struct graph_layer *layer, size_t dim, float *center)
{
    size_t step = layer->count / CENTER_NODES + 1, n = 0;

    for (size_t node = 0; node < layer->count; node += step, n++)
        for (size_t d = 0; d < dim; d++)
            center[d] += layer->codes[node * dim + d];
    for (size_t d = 0; d < dim && n; d++)
        center[d] /= (float)n;
}

struct fusing {
    struct graph_fused *fused;
    const struct graph_state *state;
    size_t dim;
    float *lengths; /* squared, of what codes stand for; NULL under L2 */
};

/* Squared length of what a code stands for, in steps. */
static float squared_length(const struct fusing *fusing, size_t node, float *x)
{
    load_code(&fusing->state->layers[0], fusing->dim, node, x);
    for (size_t d = 0; d < fusing->dim; d++)
        x[d] += fusing->fused->offset[d];
    return simd_codes()->sumsq_f32(x, fusing->dim);
}

/* The way from a node to another: its sketch, and the numbers a and b with which the difference of their squared distances to a
 * query is a + b * (what the query's planes and the sketch give). */
static void sketch(const struct fusing *fusing, size_t node, size_t other, const float *rotated_node, float *way, uint64_t *code,
                   float *a, float *b)
{
    const struct graph_layer *layer = &fusing->state->layers[0];
    const uint8_t *from = layer->codes + node * fusing->dim, *to = layer->codes + other * fusing->dim;
    size_t dim = fusing->dim;
    float square, size, along;

    for (size_t d = 0; d < dim; d++)
        way[d] = (float)((int)to[d] - (int)from[d]);
    square = simd_codes()->sumsq_f32(way, dim);
    simd_codes()->rotate(way, dim, fusing->fused->signs);
    simd_graph()->sketch_signs(way, rotated_node, dim, fusing->fused->lanes, code, &size, &along);
    *b = size > 0 ? 2 * square / size : 0;
    *a = square + *b * along;
    if (fusing->lengths)
        *a -= fusing->lengths[other] - fusing->lengths[node];
}

static vecdb_status length_task(void *context, size_t task, unsigned worker)
{
    const struct fusing *fusing = context;
    size_t count = fusing->state->layers[0].count, end = (task + 1) * BLOCK < count ? (task + 1) * BLOCK : count;
    float *x = mem_array_alloc(fusing->dim, sizeof *x);

    if (!x)
        return error_nomem("graph index");
    for (size_t node = task * BLOCK; node < end; node++)
        fusing->lengths[node] = squared_length(fusing, node, x);
    mem_free(x);
    return VECDB_OK;
}

static vecdb_status fuse_task(void *context, size_t task, unsigned worker)
{
    const struct fusing *fusing = context;
    struct graph_fused *fused = fusing->fused;
    const struct graph_layer *layer = &fusing->state->layers[0];
    size_t dim = fusing->dim, end = (task + 1) * BLOCK < layer->count ? (task + 1) * BLOCK : layer->count;
    float *rotated = mem_array_alloc(2 * dim, sizeof *rotated), *way = rotated + dim;

    if (!rotated)
        return error_nomem("graph index");
    for (size_t node = task * BLOCK; node < end; node++) {
        uint32_t *links = block_links(fused, node);
        float *a = (float *)(void *)(links + fused->lanes), *b = a + fused->lanes;
        uint64_t *codes = (uint64_t *)(void *)(b + fused->lanes);
        size_t n = graph_links(layer, (uint32_t)node, links);
        if (n) {
            load_code(layer, dim, node, rotated);
            for (size_t d = 0; d < dim; d++)
                rotated[d] -= fused->center[d];
            simd_codes()->rotate(rotated, dim, fused->signs);
        }
        for (size_t l = 0; l < n; l++)
            sketch(fusing, node, links[l], rotated, way, codes + l, &a[l], &b[l]);
        for (size_t l = n; l < fused->lanes; l++)
            links[l] = GRAPH_NONE;
    }
    mem_free(rotated);
    return VECDB_OK;
}

void graph_fused_free(struct graph_fused *fused)
{
    if (!fused)
        return;
    mem_free(fused->blocks);
    mem_free(fused->signs);
    mem_free(fused->center);
    mem_free(fused->offset);
    mem_free(fused);
}

bool graph_fused_matches(const struct graph_fused *fused, const struct graph_layer *layer)
{
    if (fused->node_count != layer->count)
        return false;
    for (size_t node = 0; node < layer->count; node++)
        if (memcmp(block_links(fused, node), layer->links + node * layer->degree, layer->degree * sizeof(uint32_t)) != 0)
            return false;
    return true;
}

size_t graph_fused_memory(const struct graph_fused *fused)
{
    return fused ? sizeof *fused + fused->node_count * fused->block_size : 0;
}

vecdb_status graph_fused_create(const struct graph_state *state, uint64_t seed, struct pool *pool, struct graph_fused **out)
{
    const struct graph_layer *layer = &state->layers[0];
    size_t dim = state->codec.code_dim;
    struct fusing fusing = {.state = state, .dim = dim};
    struct rng rng = rng_seeded(seed ^ 0x66757365ull);
    struct graph_fused *fused;
    vecdb_status status;

    *out = NULL;
    if (state->codec.kind > GRAPH_CODE_DOT || !layer->count)
        return VECDB_OK;
    if (!(fused = mem_zalloc(sizeof *fused)))
        return error_nomem("graph index");
    fusing.fused = fused;
    fused->words = dim / 64;
    fused->lanes = align_up(layer->degree, 8);
    fused->block_size = align_up(fused->lanes * (12 + 8 * fused->words), 64);
    fused->node_count = layer->count;
    fused->blocks = graph_array(fused->node_count, fused->block_size);
    fused->signs = mem_alloc(dim / 2);
    fused->center = mem_array_zalloc(dim, sizeof *fused->center);
    if (state->codec.kind == GRAPH_CODE_DOT)
        fused->offset = mem_array_zalloc(dim, sizeof *fused->offset);
    if (!fused->blocks || !fused->signs || !fused->center || (state->codec.kind == GRAPH_CODE_DOT && !fused->offset)) {
        graph_fused_free(fused);
        return error_nomem("graph index");
    }
    memset(fused->blocks, 0, fused->node_count * fused->block_size);
    for (size_t i = 0; i < dim / 2; i++)
        fused->signs[i] = (uint8_t)rng_next(&rng);
    for (size_t d = 0; fused->offset && d < dim; d++)
        fused->offset[d] = state->codec.mean[d] / state->codec.step - 128;
    find_center(layer, dim, fused->center);
    status = VECDB_OK;
    if (fused->offset) {
        fusing.lengths = mem_array_alloc(layer->count, sizeof *fusing.lengths);
        status = fusing.lengths ? pool_run(pool, (layer->count + BLOCK - 1) / BLOCK, length_task, &fusing)
                                : error_nomem("graph index");
    }
    if (status == VECDB_OK)
        status = pool_run(pool, (layer->count + BLOCK - 1) / BLOCK, fuse_task, &fusing);
    mem_free(fusing.lengths);
    if (status != VECDB_OK) {
        graph_fused_free(fused);
        return status;
    }
    *out = fused;
    return VECDB_OK;
}

/* ---- the query ---- */

struct fused_query {
    const uint64_t *planes;
    float step;  /* of the planes' levels */
    float zero;  /* what the planes give for a way across the query: to be taken from their sum */
    float scale; /* a score's unit, of squared distances between codes */
};

/* Into the codes' space, rotated, cut to planes of bits. */
static void prepare(const struct graph_fused *fused, const struct graph_query *query, float *x, uint64_t *planes,
                    struct fused_query *out)
{
    const struct graph_codec *codec = query->codec;
    size_t dim = codec->code_dim;
    float step;

    out->scale = 1;
    if (query->kind == GRAPH_CODE_DOT) {
        float to_steps = query->length > 0 ? codec->radius / (query->length * codec->step) : 0;
        out->scale = 0.5f * query->length * codec->step / (codec->radius * query->step);
        for (size_t d = 0; d < dim; d++)
            x[d] = x[d] * to_steps - fused->offset[d] - fused->center[d];
    } else
        for (size_t d = 0; d < dim; d++)
            x[d] = (float)((const uint8_t *)query->code)[d] - fused->center[d];
    simd_codes()->rotate(x, dim, fused->signs);
    step = simd_graph()->sketch_query(x, dim, planes);
    out->planes = planes;
    out->step = step;
    out->zero = 7.5f * (float)dim * step;
}

/* ---- the walk ---- */

static inline void prefetch_block(const struct graph_fused *fused, uint32_t node)
{
    const uint8_t *block = fused->blocks + (size_t)node * fused->block_size;
    size_t size = fused->block_size < PREFETCHED ? fused->block_size : PREFETCHED;

    for (size_t at = 0; at < size; at += 64)
        simd_prefetch_line(block + at);
}

/* The links of a block that may lead to a score not above `limit`, when the node's own is `score`. */
static size_t choose(const struct graph_fused *fused, const struct graph_query *query, const struct fused_query *planes,
                     const uint32_t *links, uint32_t score, uint64_t limit, uint32_t *out)
{
    const float *a = (const float *)(const void *)(links + fused->lanes), *b = a + fused->lanes;
    const uint64_t *codes = (const uint64_t *)(const void *)(b + fused->lanes);
    float beyond = (float)((double)score - (double)query->zero) / planes->scale, room, shift;

    room = (float)((double)(limit >> 32) - (double)score) / planes->scale;
    shift = planes->zero + DEVIATIONS * SPREAD * sqrtf(beyond > 0 ? beyond : 0);
    return simd_graph()->sketch_choose(planes->planes, fused->words, links, a, b, codes, fused->lanes, planes->step, shift, room,
                                       out);
}

void graph_fused_walk(const struct graph_fused *fused, struct graph_scratch *scratch, const struct graph_layer *layer,
                      const struct graph_query *query, float *x, struct graph_stop stop, struct index_counters *counters)
{
    struct graph_pool *pool = &scratch->pool;
    size_t stride = query->codec->stride;
    uint32_t *ids = scratch->ids, *scores = scratch->scores, chosen[GRAPH_DEGREE_MAX + 16];
    uint64_t limit = UINT64_MAX, bound;
    struct fused_query planes;

    prepare(fused, query, x, scratch->planes, &planes);
    while (pool->cursor < pool->count) {
        uint64_t key = pool->keys[pool->cursor];
        const uint32_t *links;
        size_t candidates = 0, n = 0;

        if (key & 1) {
            pool->cursor++;
            continue;
        }
        if (stop.gamma != 0 && pool->count >= stop.keep && graph_walk_ends(pool, query, stop, key, &limit))
            break;
        pool->keys[pool->cursor++] |= 1;
        counters->hops++;
        bound = pool->count == pool->capacity && pool->keys[pool->count - 1] < limit ? pool->keys[pool->count - 1] : limit;
        links = block_links(fused, graph_key_node(key));
        if (bound == UINT64_MAX)
            while (candidates < fused->lanes && links[candidates] != GRAPH_NONE) {
                chosen[candidates] = links[candidates];
                candidates++;
            }
        else
            candidates = choose(fused, query, &planes, links, graph_key_score(key), bound, chosen);
        for (size_t i = 0; i < candidates; i++)
            if (graph_visit(scratch, chosen[i])) {
                simd_prefetch(layer->codes + (size_t)chosen[i] * stride, stride);
                ids[n++] = chosen[i];
            }
        if (pool->cursor < pool->count)
            prefetch_block(fused, graph_key_node(pool->keys[pool->cursor]));
        graph_scores(query, layer->codes, ids, n, scores);
        counters->rows_scored += n;
        for (size_t i = 0; i < n; i++) {
            uint64_t candidate = graph_key(scores[i], ids[i]);
            if (candidate <= limit && (pool->count < pool->capacity || candidate < pool->keys[pool->count - 1]) &&
                graph_pool_insert(pool, candidate) == pool->cursor)
                prefetch_block(fused, ids[i]);
        }
    }
}
