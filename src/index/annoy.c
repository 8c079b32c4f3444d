/* ANNOY: a forest of random-projection trees, after Spotify's Annoy (Bernhardsson, 2013). A node's plane lies halfway
 * between two centres found by 2-means on a few rows; one queue over all trees opens the nodes on the query's side of the
 * planes, and those nearest to a plane on the other, until search_k different rows have been collected and scored exactly.
 * Where we depart: planes are kept as bytes; under IP rows get one more dimension that gives all the same length
 * (Bachrach et al., RecSys 2014), so that planes split them as under COSINE.
 *
 * Format 1, little-endian, each array at a multiple of 64: header (128 bytes), roots u32[trees], children u32[2 nodes],
 * scale f32[nodes], offset f32[nodes], planes u8[nodes x plane_dim], leaf_sizes u32[leaves], items u32[trees x rows]. A child
 * with its top bit set is a leaf; other children have higher numbers than their parent. Leaves lie in items one after the
 * other. */
#include "index/scan.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/deadline.h"
#include "index/topk.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define LEAF 0x80000000u
#define LEAF_ROWS 64      /* a range of at most so many rows is not split */
#define SAMPLE 48         /* rows that 2-means looks at */
#define GATHER 64         /* rows scored at once */
#define CENTRE 128        /* byte of a plane that stands for 0 */

struct annoy_header {
    uint32_t magic, version, type, metric, dim, trees;
    uint64_t row_count;      /* of the segment */
    uint64_t items;          /* of a tree: rows that have a value */
    uint64_t nodes, leaves, size;
    float longest;           /* IP: the greatest length of a row */
    uint8_t zeros[60];
};
_Static_assert(sizeof(struct annoy_header) == 128, "the header is stored");
#define ANNOY_MAGIC 0x314E4E41u /* "ANN1" */

struct annoy {
    struct index base;
    size_t trees, item_count, nodes, leaves, plane_dim;
    float longest;
    const uint32_t *roots, *children;
    const float *scale, *offset;
    const uint8_t *planes;
    const uint32_t *leaf_sizes, *items;
    uint64_t *leaf_starts; /* derived, leaves + 1 */
    uint8_t *owned;
};

static const struct param_spec build_params[] = {
    {"n_trees", 16, 1, 1024, "trees: more find more, and take 4 bytes a row and a little for planes each", NULL, false},
    PARAM_END,
};
static const struct param_spec search_params[] = {
    {"search_k", 0, 1, 1e9, "rows collected and scored; 4 k n_trees, at least 512, when not given", NULL, false},
    PARAM_END,
};

extern const struct index_ops annoy_ops;

/* -- layout */

static uint8_t *place(uint8_t *base, size_t *at, size_t size)
{
    uint8_t *array = base ? base + *at : NULL;

    *at = align_up(*at + size, 64);
    return array;
}

/* Bytes of the arrays; sets the pointers when base is given. */
static size_t layout(struct annoy *annoy, uint8_t *base)
{
    size_t at = 0;

    annoy->roots = (const uint32_t *)(const void *)place(base, &at, annoy->trees * 4);
    annoy->children = (const uint32_t *)(const void *)place(base, &at, annoy->nodes * 8);
    annoy->scale = (const float *)(const void *)place(base, &at, annoy->nodes * 4);
    annoy->offset = (const float *)(const void *)place(base, &at, annoy->nodes * 4);
    annoy->planes = place(base, &at, annoy->nodes * annoy->plane_dim);
    annoy->leaf_sizes = (const uint32_t *)(const void *)place(base, &at, annoy->leaves * 4);
    annoy->items = (const uint32_t *)(const void *)place(base, &at, annoy->trees * annoy->item_count * 4);
    return at;
}

static size_t plane_dim(vecdb_metric metric, uint32_t dim) { return (size_t)dim + (metric == VECDB_METRIC_IP); }

/* A row as planes see it: plane_dim floats. */
static void plane_floats(const struct annoy *annoy, const void *row, bool query, float *out)
{
    const struct vectors *vectors = &annoy->base.vectors;

    scan_to_f32(vectors->type, vectors->dim, row, out);
    if (annoy->base.metric == VECDB_METRIC_COSINE)
        simd_codes()->normalize_f32(out, vectors->dim, out);
    if (annoy->base.metric == VECDB_METRIC_IP) {
        float square = simd_codes()->sumsq_f32(out, vectors->dim);
        out[vectors->dim] = query ? 0 : sqrtf(fmaxf(annoy->longest * annoy->longest - square, 0));
    }
}

static void annoy_free(struct index *index)
{
    struct annoy *annoy = (struct annoy *)index;

    if (!annoy)
        return;
    mem_free(annoy->owned);
    mem_free(annoy->leaf_starts);
    mem_free(annoy);
}

static vecdb_status derive(struct annoy *annoy)
{
    annoy->leaf_starts = mem_array_alloc(annoy->leaves + 1, sizeof *annoy->leaf_starts);
    if (!annoy->leaf_starts)
        return error_nomem("index ANNOY");
    annoy->leaf_starts[0] = 0;
    for (size_t i = 0; i < annoy->leaves; i++)
        annoy->leaf_starts[i + 1] = annoy->leaf_starts[i] + annoy->leaf_sizes[i];
    return VECDB_OK;
}

/* -- building */

/* One tree while it grows. */
struct tree {
    uint32_t root;
    uint32_t *items;
    struct buf children, scale, offset, planes, leaf_sizes;
};

struct range {
    uint32_t first, count;
    uint32_t parent; /* slot in children that points here; UINT32_MAX: the root */
};

struct grower {
    const struct annoy *annoy;
    struct tree *tree;
    struct rng rng;
    float *rows;              /* SAMPLE x plane_dim */
    float *centres[2], *plane;
    float *row;
    uint8_t *codes;
};

/* Two centres of a few rows. False when they are one. */
static bool find_centres(struct grower *grower, const uint32_t *items, size_t count)
{
    const struct distance_kernels *kernels = simd_distance();
    const struct code_kernels *codes = simd_codes();
    size_t dim = grower->annoy->plane_dim, n = count < SAMPLE ? count : SAMPLE;
    size_t first = rng_below(&grower->rng, n), second = rng_below(&grower->rng, n - 1);

    for (size_t i = 0; i < n; i++) {
        uint32_t row = items[count <= SAMPLE ? i : rng_below(&grower->rng, count)];
        plane_floats(grower->annoy, vectors_row(&grower->annoy->base.vectors, row), false, grower->rows + i * dim);
    }
    second += second >= first;
    memcpy(grower->centres[0], grower->rows + first * dim, dim * sizeof(float));
    memcpy(grower->centres[1], grower->rows + second * dim, dim * sizeof(float));
    for (int round = 0; round < 4; round++) {
        uint8_t side[SAMPLE];
        size_t counts[2] = {0, 0};
        for (size_t i = 0; i < n; i++) {
            const float *row = grower->rows + i * dim;
            side[i] = kernels->l2sq_f32.one(grower->centres[1], row, dim) <
                      kernels->l2sq_f32.one(grower->centres[0], row, dim);
            counts[side[i]]++;
        }
        if (!counts[0] || !counts[1])
            return false;
        memset(grower->centres[0], 0, dim * sizeof(float));
        memset(grower->centres[1], 0, dim * sizeof(float));
        for (size_t i = 0; i < n; i++)
            codes->add_f32(grower->centres[side[i]], grower->rows + i * dim, dim);
        codes->scale_f32(grower->centres[0], dim, 1 / (float)counts[0]);
        codes->scale_f32(grower->centres[1], dim, 1 / (float)counts[1]);
    }
    return true;
}

/* The plane between the centres as bytes; false when there is none. */
static bool make_plane(struct grower *grower, float *scale, float *offset)
{
    size_t dim = grower->annoy->plane_dim;
    double middle = 0, largest = 0;

    simd_codes()->sub_f32(grower->centres[1], grower->centres[0], dim, grower->plane);
    for (size_t i = 0; i < dim; i++)
        largest = fmax(largest, fabs((double)grower->plane[i]));
    if (!(largest > 1e-30) || !(largest < 1e30))
        return false;
    *scale = (float)(largest / 127);
    for (size_t i = 0; i < dim; i++) {
        int value = (int)lround((double)grower->plane[i] / largest * 127);
        grower->codes[i] = (uint8_t)(value + CENTRE);
        middle += value * 0.5 * ((double)grower->centres[0][i] + (double)grower->centres[1][i]);
    }
    *offset = (float)(-middle * (double)*scale);
    return isfinite(*offset);
}

/* Where a vector lies: above 0 on the side of the second child. sum: of x. */
static float margin(const uint8_t *plane, size_t dim, float scale, float offset, const float *x, float sum)
{
    return scale * (simd_codes()->dot_u8f32.one(x, plane, dim) - CENTRE * sum) + offset;
}

/* Put the rows of a range on either side; returns how many are on the first. */
static size_t split(struct grower *grower, uint32_t *items, size_t count, float scale, float offset)
{
    const struct annoy *annoy = grower->annoy;
    size_t left = 0, right = count;

    while (left < right) {
        float side;
        plane_floats(annoy, vectors_row(&annoy->base.vectors, items[left]), false, grower->row);
        side = margin(grower->codes, annoy->plane_dim, scale, offset, grower->row,
                      simd_codes()->sum_f32(grower->row, annoy->plane_dim));
        if (side > 0) {
            uint32_t row = items[left];
            items[left] = items[--right];
            items[right] = row;
        } else {
            left++;
        }
    }
    return left;
}

static vecdb_status put_u32(struct buf *buf, uint32_t value) { return buf_append(buf, &value, sizeof value); }

static void point_parent(struct tree *tree, uint32_t parent, uint32_t child)
{
    if (parent == UINT32_MAX)
        tree->root = child;
    else
        memcpy(tree->children.data + (size_t)parent * 4, &child, sizeof child);
}

/* Split ranges until they are leaves. A stack of ranges replaces recursion: the first child is done before the second, so
 * leaves come in the order of their rows. */
static vecdb_status grow(struct grower *grower)
{
    const struct annoy *annoy = grower->annoy;
    struct tree *tree = grower->tree;
    struct buf stack = {0};
    struct range range = {0, (uint32_t)annoy->item_count, UINT32_MAX};
    vecdb_status status = buf_append(&stack, &range, sizeof range);

    while (status == VECDB_OK && stack.size) {
        uint32_t node = (uint32_t)(tree->scale.size / 4), zero[2] = {0, 0};
        float scale = 0, offset = 0;
        size_t left = 0;
        stack.size -= sizeof range;
        memcpy(&range, stack.data + stack.size, sizeof range);
        if (range.count <= LEAF_ROWS) {
            point_parent(tree, range.parent, (uint32_t)(tree->leaf_sizes.size / 4) | LEAF);
            status = put_u32(&tree->leaf_sizes, range.count);
            continue;
        }
        for (int attempt = 0; attempt < 3; attempt++) {
            if (find_centres(grower, tree->items + range.first, range.count) && make_plane(grower, &scale, &offset)) {
                left = split(grower, tree->items + range.first, range.count, scale, offset);
                if (left * 20 >= range.count && (range.count - left) * 20 >= range.count)
                    break;
            }
            left = 0;
        }
        if (left == 0 || left == range.count) { /* rows that no plane parts: any half will do, both are to be searched */
            left = range.count / 2;
            scale = offset = 0;
            memset(grower->codes, CENTRE, annoy->plane_dim);
        }
        point_parent(tree, range.parent, node);
        if ((status = buf_append(&tree->children, zero, sizeof zero)) != VECDB_OK ||
            (status = buf_append(&tree->scale, &scale, 4)) != VECDB_OK ||
            (status = buf_append(&tree->offset, &offset, 4)) != VECDB_OK ||
            (status = buf_append(&tree->planes, grower->codes, annoy->plane_dim)) != VECDB_OK)
            break;
        struct range second = {range.first + (uint32_t)left, range.count - (uint32_t)left, node * 2 + 1};
        struct range first = {range.first, (uint32_t)left, node * 2};
        if ((status = buf_append(&stack, &second, sizeof second)) == VECDB_OK)
            status = buf_append(&stack, &first, sizeof first);
    }
    buf_deinit(&stack);
    return status;
}

struct forest {
    struct annoy *annoy;
    const uint32_t *rows;
    struct tree *trees;
    size_t first; /* tree of task 0 */
    uint64_t seed;
};

static vecdb_status tree_task(void *context, size_t i, unsigned worker)
{
    struct forest *forest = context;
    struct tree *tree = &forest->trees[forest->first + i];
    size_t dim = forest->annoy->plane_dim, count = forest->annoy->item_count;
    struct grower grower = {.annoy = forest->annoy, .tree = tree, .rng = rng_seeded(forest->seed * 1024 + forest->first + i)};
    float *floats = mem_array_alloc((SAMPLE + 4) * dim, sizeof *floats);
    vecdb_status status = VECDB_OK;

    grower.codes = mem_alloc(dim);
    tree->items = mem_array_alloc(count + 1, sizeof *tree->items);
    if (floats && grower.codes && tree->items) {
        memcpy(tree->items, forest->rows, count * sizeof *tree->items);
        grower.rows = floats;
        grower.centres[0] = floats + SAMPLE * dim;
        grower.centres[1] = floats + (SAMPLE + 1) * dim;
        grower.plane = floats + (SAMPLE + 2) * dim;
        grower.row = floats + (SAMPLE + 3) * dim;
        status = grow(&grower);
    } else {
        status = error_nomem("index ANNOY");
    }
    mem_free(floats);
    mem_free(grower.codes);
    return status;
}

/* Trees' arrays one after the other. */
static vecdb_status join_trees(struct annoy *annoy, const struct tree *trees)
{
    size_t node = 0, leaf = 0, size;

    annoy->nodes = annoy->leaves = 0;
    for (size_t t = 0; t < annoy->trees; t++) {
        annoy->nodes += trees[t].scale.size / 4;
        annoy->leaves += trees[t].leaf_sizes.size / 4;
    }
    if (annoy->nodes >= LEAF || annoy->leaves >= LEAF)
        return error_set(VECDB_ERR_LIMIT, "index ANNOY: %zu nodes, %u at most", annoy->nodes, LEAF - 1);
    size = layout(annoy, NULL);
    annoy->owned = mem_aligned_alloc(64, size + 64);
    if (!annoy->owned)
        return error_nomem("index ANNOY");
    memset(annoy->owned, 0, size);
    layout(annoy, annoy->owned);
    for (size_t t = 0; t < annoy->trees; t++) {
        const struct tree *tree = &trees[t];
        size_t nodes = tree->scale.size / 4, leaves = tree->leaf_sizes.size / 4;
        uint32_t *children = (uint32_t *)(uintptr_t)annoy->children + 2 * node;
        ((uint32_t *)(uintptr_t)annoy->roots)[t] = tree->root & LEAF ? tree->root + (uint32_t)leaf
                                                                     : tree->root + (uint32_t)node;
        for (size_t i = 0; i < 2 * nodes; i++) {
            uint32_t child = load_u32(tree->children.data + 4 * i);
            children[i] = child + (uint32_t)(child & LEAF ? leaf : node);
        }
        if (nodes) {
            memcpy((float *)(uintptr_t)annoy->scale + node, tree->scale.data, nodes * 4);
            memcpy((float *)(uintptr_t)annoy->offset + node, tree->offset.data, nodes * 4);
            memcpy((uint8_t *)(uintptr_t)annoy->planes + node * annoy->plane_dim, tree->planes.data,
                   nodes * annoy->plane_dim);
        }
        memcpy((uint32_t *)(uintptr_t)annoy->leaf_sizes + leaf, tree->leaf_sizes.data, leaves * 4);
        memcpy((uint32_t *)(uintptr_t)annoy->items + t * annoy->item_count, tree->items, annoy->item_count * 4);
        node += nodes;
        leaf += leaves;
    }
    return derive(annoy);
}

static struct annoy *create(const struct vectors *vectors, vecdb_metric metric)
{
    struct annoy *annoy = mem_zalloc(sizeof *annoy);

    if (!annoy)
        return NULL;
    annoy->base = (struct index){&annoy_ops, *vectors, metric, false};
    annoy->plane_dim = plane_dim(metric, vectors->dim);
    return annoy;
}

static void tree_deinit(struct tree *tree)
{
    mem_free(tree->items);
    buf_deinit(&tree->children);
    buf_deinit(&tree->scale);
    buf_deinit(&tree->offset);
    buf_deinit(&tree->planes);
    buf_deinit(&tree->leaf_sizes);
}

static vecdb_status annoy_build(const struct vectors *vectors, vecdb_metric metric, const struct params *params,
                                const struct index_build_context *context, struct index **out)
{
    struct annoy *annoy = create(vectors, metric);
    uint32_t *rows = mem_array_alloc(vectors->row_count + 1, sizeof *rows);
    struct forest forest = {.annoy = annoy, .rows = rows, .seed = context->seed};
    vecdb_status status = annoy && rows ? VECDB_OK : error_nomem("index ANNOY");
    size_t threads = pool_threads(context->pool), step;

    *out = NULL;
    if (status == VECDB_OK) {
        annoy->trees = (size_t)params_get(params, "n_trees");
        for (size_t i = 0; i < vectors->row_count; i++) {
            if (vectors->present && !bitmap_get(vectors->present, i))
                continue;
            rows[annoy->item_count++] = (uint32_t)i;
            if (metric == VECDB_METRIC_IP) {
                float norm = scan_norm(vectors->type, vectors->dim, vectors_row(vectors, i));
                if (norm > annoy->longest && norm < 1e18f)
                    annoy->longest = norm;
            }
        }
        forest.trees = mem_array_zalloc(annoy->trees, sizeof *forest.trees);
        if (!forest.trees)
            status = error_nomem("index ANNOY");
    }
    step = threads * 2;
    for (size_t t = 0; status == VECDB_OK && t < annoy->trees; t += step) {
        forest.first = t;
        if (context->progress && !context->progress(context->progress_context, "trees", t, annoy->trees))
            status = error_set(VECDB_ERR_CANCELLED, "index ANNOY: cancelled");
        else
            status = pool_run(context->pool, annoy->trees - t < step ? annoy->trees - t : step, tree_task, &forest);
    }
    if (status == VECDB_OK)
        status = join_trees(annoy, forest.trees);
    for (size_t t = 0; forest.trees && t < annoy->trees; t++)
        tree_deinit(&forest.trees[t]);
    mem_free(forest.trees);
    mem_free(rows);
    if (status != VECDB_OK) {
        annoy_free(annoy ? &annoy->base : NULL);
        return status;
    }
    *out = &annoy->base;
    return VECDB_OK;
}

/* -- searching */

struct opening {
    float margin;
    uint32_t node;
};

/* What a worker keeps from query to query. */
struct walk {
    struct opening *queue; /* a heap, the largest margin on top */
    size_t queue_count, queue_capacity;
    uint64_t *seen;        /* rows collected */
    uint32_t *collected;   /* to clear `seen` by */
    size_t collected_count;
    float *floats;
    void *scratch;
};

static vecdb_status queue_push(struct walk *walk, float value, uint32_t node)
{
    size_t i = walk->queue_count;

    if (i == walk->queue_capacity) {
        size_t capacity = walk->queue_capacity ? 2 * walk->queue_capacity : 1024;
        struct opening *queue = mem_realloc(walk->queue, capacity * sizeof *queue);
        if (!queue)
            return error_nomem("search");
        walk->queue = queue;
        walk->queue_capacity = capacity;
    }
    walk->queue_count++;
    for (; i > 0 && walk->queue[(i - 1) / 2].margin < value; i = (i - 1) / 2)
        walk->queue[i] = walk->queue[(i - 1) / 2];
    walk->queue[i] = (struct opening){value, node};
    return VECDB_OK;
}

static struct opening queue_pop(struct walk *walk)
{
    struct opening top = walk->queue[0], last = walk->queue[--walk->queue_count];
    size_t i = 0, n = walk->queue_count;

    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && walk->queue[child + 1].margin > walk->queue[child].margin)
            child++;
        if (!(walk->queue[child].margin > last.margin))
            break;
        walk->queue[i] = walk->queue[child];
    }
    walk->queue[i] = last;
    return top;
}

struct annoy_job {
    const struct annoy *annoy;
    const struct index_search *search;
    size_t search_k, per_task;
    struct hit *hits;
    size_t *counts;
    atomic_uint_fast64_t scored, opened;
};

static void score(struct annoy_job *job, const struct scan_query *query, struct topk *topk, const uint32_t *rows, size_t n)
{
    float distances[GATHER];

    scan_gather(query, &job->annoy->base.vectors, rows, n, NULL, distances);
    for (size_t i = 0; i < n; i++) {
        float distance = distances[i] < INFINITY ? distances[i] : INFINITY;
        if ((!job->search->has_radius || distance < job->search->radius) && distance <= topk->threshold)
            topk_push(topk, distance, rows[i]);
    }
}

/* Collect a leaf's rows that were not collected yet and may be returned; score full batches. */
static void collect(struct annoy_job *job, struct walk *walk, uint32_t leaf, const struct scan_query *query,
                    struct topk *topk, size_t *scored)
{
    const struct annoy *annoy = job->annoy;
    const uint64_t *allowed = job->search->allowed;

    for (uint64_t i = annoy->leaf_starts[leaf]; i < annoy->leaf_starts[leaf + 1]; i++) {
        uint32_t row = annoy->items[i];
        if (bitmap_get(walk->seen, row) || (allowed && !bitmap_get(allowed, row)))
            continue;
        bitmap_set(walk->seen, row);
        walk->collected[walk->collected_count++] = row;
        if (walk->collected_count - *scored == GATHER) {
            score(job, query, topk, walk->collected + *scored, GATHER);
            *scored = walk->collected_count;
        }
    }
}

static vecdb_status search_one(struct annoy_job *job, struct walk *walk, size_t q)
{
    const struct annoy *annoy = job->annoy;
    const struct index_search *search = job->search;
    const struct vectors *vectors = &annoy->base.vectors;
    const uint8_t *raw = (const uint8_t *)search->queries + q * search->query_stride;
    struct scan_query query;
    struct topk topk;
    size_t scored = 0, opened = 0, wanted = job->search_k;
    float sum;

    scan_prepare(&query, vectors->type, annoy->base.metric, vectors->dim, raw, walk->scratch);
    plane_floats(annoy, raw, true, walk->floats);
    sum = simd_codes()->sum_f32(walk->floats, annoy->plane_dim);
    topk_init(&topk, job->hits + q * search->k, search->k);
    walk->queue_count = walk->collected_count = 0;
    for (size_t t = 0; t < annoy->trees; t++)
        TRY(queue_push(walk, INFINITY, annoy->roots[t]));
    while (walk->queue_count && walk->collected_count < wanted) {
        struct opening top = queue_pop(walk);
        if (top.node & LEAF) {
            collect(job, walk, top.node & ~LEAF, &query, &topk, &scored);
        } else {
            float side = margin(annoy->planes + top.node * annoy->plane_dim, annoy->plane_dim, annoy->scale[top.node],
                                annoy->offset[top.node], walk->floats, sum);
            if (!(fabsf(side) < INFINITY))
                side = 0;
            TRY(queue_push(walk, fminf(top.margin, -side), annoy->children[2 * top.node]));
            TRY(queue_push(walk, fminf(top.margin, side), annoy->children[2 * top.node + 1]));
        }
        if (++opened % 256 == 0)
            TRY(deadline_check(search->deadline));
    }
    for (size_t n; scored < walk->collected_count; scored += n) {
        n = walk->collected_count - scored < GATHER ? walk->collected_count - scored : GATHER;
        score(job, &query, &topk, walk->collected + scored, n);
    }
    for (size_t i = 0; i < walk->collected_count; i++)
        bitmap_clear(walk->seen, walk->collected[i]);
    topk_finish(&topk);
    job->counts[q] = topk.count;
    atomic_fetch_add_explicit(&job->scored, walk->collected_count, memory_order_relaxed);
    atomic_fetch_add_explicit(&job->opened, opened, memory_order_relaxed);
    return deadline_check(search->deadline);
}

static vecdb_status search_task(void *context, size_t i, unsigned worker)
{
    struct annoy_job *job = context;
    const struct vectors *vectors = &job->annoy->base.vectors;
    size_t first = i * job->per_task, last = first + job->per_task;
    struct walk walk = {0};
    vecdb_status status = VECDB_OK;

    if (last > job->search->query_count)
        last = job->search->query_count;
    walk.seen = mem_array_zalloc(bitmap_words(vectors->row_count) + 1, sizeof *walk.seen);
    walk.collected = mem_array_alloc(vectors->row_count + 1, sizeof *walk.collected);
    walk.floats = mem_aligned_alloc(64, (job->annoy->plane_dim + 16) * sizeof(float));
    walk.scratch = mem_aligned_alloc(64, scan_scratch_size(vectors->type, vectors->dim) + 64);
    if (!walk.seen || !walk.collected || !walk.floats || !walk.scratch)
        status = error_nomem("search");
    for (size_t q = first; q < last && status == VECDB_OK; q++)
        status = search_one(job, &walk, q);
    mem_free(walk.seen);
    mem_free(walk.collected);
    mem_free(walk.floats);
    mem_free(walk.scratch);
    mem_free(walk.queue);
    return status;
}

static vecdb_status annoy_search(const struct index *index, const struct index_search *search, struct hit *hits,
                                 size_t *counts, struct index_counters *counters)
{
    const struct annoy *annoy = (const struct annoy *)index;
    struct annoy_job job = {.annoy = annoy, .search = search, .hits = hits, .counts = counts};
    size_t threads = pool_threads(search->pool);
    vecdb_status status;

    if (search->query_count == 0)
        return VECDB_OK;
    job.search_k = (size_t)params_get(search->params, "search_k");
    if (job.search_k == 0) {
        job.search_k = 4 * search->k * annoy->trees;
        if (job.search_k < 512)
            job.search_k = 512;
    }
    if (job.search_k < search->k) /* every row is in every tree: going on finds k where there are k */
        job.search_k = search->k;
    job.per_task = (search->query_count + threads - 1) / threads;
    if (job.per_task > 64)
        job.per_task = 64;
    status = pool_run(search->pool, (search->query_count + job.per_task - 1) / job.per_task, search_task, &job);
    if (counters) {
        counters->rows_scored += atomic_load(&job.scored);
        counters->reranked += atomic_load(&job.scored);
        counters->hops += atomic_load(&job.opened);
    }
    return status;
}

/* -- storing */

static vecdb_status annoy_save(const struct index *index, struct buf *out)
{
    const struct annoy *annoy = (const struct annoy *)index;
    struct annoy copy = *annoy;
    size_t size = layout(&copy, NULL);
    struct annoy_header header = {.magic = ANNOY_MAGIC, .version = 1, .type = index->vectors.type,
                                  .metric = index->metric, .dim = index->vectors.dim, .trees = (uint32_t)annoy->trees,
                                  .row_count = index->vectors.row_count, .items = annoy->item_count,
                                  .nodes = annoy->nodes, .leaves = annoy->leaves, .longest = annoy->longest,
                                  .size = sizeof header + size};

    TRY(buf_reserve(out, sizeof header + size));
    TRY(buf_append(out, &header, sizeof header));
    return buf_append(out, annoy->roots, size); /* the arrays are one stretch */
}

#define CORRUPT(...) error_set(VECDB_ERR_CORRUPT, "index ANNOY: " __VA_ARGS__)

static vecdb_status check_header(const struct annoy_header *header, size_t size, const struct vectors *vectors,
                                 vecdb_metric metric)
{
    size_t present = vectors->present ? bitmap_count(vectors->present, vectors->row_count) : vectors->row_count;

    if (header->magic != ANNOY_MAGIC)
        return CORRUPT("begins with %08x, not %08x", header->magic, ANNOY_MAGIC);
    if (header->version != 1)
        return error_set(VECDB_ERR_VERSION, "index ANNOY: format %u, this library reads 1", header->version);
    if (header->size != size)
        return CORRUPT("says %llu bytes, there are %zu", (unsigned long long)header->size, size);
    if (header->type != (uint32_t)vectors->type)
        return CORRUPT("type %u, the field has %u", header->type, (unsigned)vectors->type);
    if (header->metric != (uint32_t)metric)
        return CORRUPT("metric %u, the index has %u", header->metric, (unsigned)metric);
    if (header->dim != vectors->dim)
        return CORRUPT("dim %u, the field has %u", header->dim, vectors->dim);
    if (header->trees < 1 || header->trees > 1024)
        return CORRUPT("%u trees, there may be 1..1024", header->trees);
    if (header->row_count != vectors->row_count)
        return CORRUPT("%llu rows, the segment has %zu", (unsigned long long)header->row_count, vectors->row_count);
    if (header->items != present)
        return CORRUPT("%llu rows a tree, %zu have a value", (unsigned long long)header->items, present);
    if (header->leaves != header->nodes + header->trees || header->leaves >= LEAF ||
        header->nodes > (uint64_t)header->trees * (present + 1))
        return CORRUPT("%llu nodes and %llu leaves in %u trees", (unsigned long long)header->nodes,
                       (unsigned long long)header->leaves, header->trees);
    if (!(header->longest >= 0 && header->longest < 1e18f))
        return CORRUPT("longest row %g", (double)header->longest);
    for (size_t i = 0; i < sizeof header->zeros; i++)
        if (header->zeros[i])
            return CORRUPT("byte %zu of the header is %u, not 0", offsetof(struct annoy_header, zeros) + i,
                           header->zeros[i]);
    return VECDB_OK;
}

/* One reference to a node or leaf, the only one there may be. */
static vecdb_status claim(const struct annoy *annoy, uint64_t *nodes, uint64_t *leaves, uint32_t child, size_t above)
{
    bool leaf = child & LEAF;
    size_t number = child & ~LEAF;
    uint64_t *claimed = leaf ? leaves : nodes;

    if (number >= (leaf ? annoy->leaves : annoy->nodes) || (!leaf && number < above))
        return CORRUPT("%s %zu out of place, there are %zu", leaf ? "leaf" : "node", number,
                       leaf ? annoy->leaves : annoy->nodes);
    if (bitmap_get(claimed, number))
        return CORRUPT("%s %zu has two parents", leaf ? "leaf" : "node", number);
    bitmap_set(claimed, number);
    return VECDB_OK;
}

static vecdb_status check_trees(const struct annoy *annoy, const struct vectors *vectors, uint64_t *nodes,
                                uint64_t *leaves, uint64_t *rows)
{
    uint64_t total = 0;

    for (size_t t = 0; t < annoy->trees; t++)
        TRY(claim(annoy, nodes, leaves, annoy->roots[t], 0));
    for (size_t node = 0; node < annoy->nodes; node++) {
        TRY(claim(annoy, nodes, leaves, annoy->children[2 * node], node + 1));
        TRY(claim(annoy, nodes, leaves, annoy->children[2 * node + 1], node + 1));
        if (!isfinite(annoy->scale[node]) || !isfinite(annoy->offset[node]))
            return CORRUPT("the plane of node %zu is not finite", node);
    }
    for (size_t leaf = 0; leaf < annoy->leaves; leaf++)
        total += annoy->leaf_sizes[leaf];
    if (total != (uint64_t)annoy->trees * annoy->item_count)
        return CORRUPT("leaves have %llu rows, their trees %llu", (unsigned long long)total,
                       (unsigned long long)annoy->trees * annoy->item_count);
    for (size_t t = 0; t < annoy->trees; t++) {
        const uint32_t *items = annoy->items + t * annoy->item_count;
        memset(rows, 0, bitmap_words(vectors->row_count) * sizeof *rows);
        for (size_t i = 0; i < annoy->item_count; i++) {
            if (items[i] >= vectors->row_count)
                return CORRUPT("tree %zu has row %u, there are %zu", t, items[i], vectors->row_count);
            if (vectors->present && !bitmap_get(vectors->present, items[i]))
                return CORRUPT("tree %zu has row %u, which has no value", t, items[i]);
            if (bitmap_get(rows, items[i]))
                return CORRUPT("tree %zu has row %u twice", t, items[i]);
            bitmap_set(rows, items[i]);
        }
    }
    return VECDB_OK;
}

static vecdb_status check_all(const struct annoy *annoy, const struct vectors *vectors)
{
    uint64_t *nodes = mem_array_zalloc(bitmap_words(annoy->nodes) + 1, sizeof *nodes);
    uint64_t *leaves = mem_array_zalloc(bitmap_words(annoy->leaves) + 1, sizeof *leaves);
    uint64_t *rows = mem_array_zalloc(bitmap_words(vectors->row_count) + 1, sizeof *rows);
    vecdb_status status = nodes && leaves && rows ? check_trees(annoy, vectors, nodes, leaves, rows)
                                                  : error_nomem("index ANNOY");

    mem_free(nodes);
    mem_free(leaves);
    mem_free(rows);
    return status;
}

static vecdb_status annoy_open(const void *data, size_t size, const struct vectors *vectors, vecdb_metric metric,
                               const struct params *params, struct index **out)
{
    struct annoy_header header;
    struct annoy *annoy;
    vecdb_status status;

    *out = NULL;
    if (size < sizeof header)
        return CORRUPT("%zu bytes, the header alone has %zu", size, sizeof header);
    if ((uintptr_t)data % 64)
        return error_set(VECDB_ERR_INVALID, "index ANNOY: data is not aligned to 64 bytes");
    memcpy(&header, data, sizeof header);
    TRY(check_header(&header, size, vectors, metric));
    annoy = create(vectors, metric);
    if (!annoy)
        return error_nomem("index ANNOY");
    annoy->trees = header.trees;
    annoy->item_count = header.items;
    annoy->nodes = header.nodes;
    annoy->leaves = header.leaves;
    annoy->longest = header.longest;
    if (sizeof header + layout(annoy, NULL) != size) {
        status = CORRUPT("%zu bytes, its arrays take %zu", size, sizeof header + layout(annoy, NULL));
    } else {
        layout(annoy, (uint8_t *)(uintptr_t)data + sizeof header);
        status = check_all(annoy, vectors);
    }
    if (status == VECDB_OK)
        status = derive(annoy);
    if (status != VECDB_OK) {
        annoy_free(&annoy->base);
        return status;
    }
    *out = &annoy->base;
    return VECDB_OK;
}

static vecdb_status annoy_check(const struct index *index)
{
    return check_all((const struct annoy *)index, &index->vectors);
}

static size_t annoy_memory(const struct index *index)
{
    const struct annoy *annoy = (const struct annoy *)index;
    struct annoy copy = *annoy;

    return sizeof *annoy + layout(&copy, NULL) + (annoy->leaves + 1) * sizeof *annoy->leaf_starts;
}

static void annoy_reads(const struct index *index, struct index_reads *out)
{
    const struct annoy *annoy = (const struct annoy *)index;

    /* rows are scored by their vectors at once; what a leaf holds of a row is its number */
    *out = (struct index_reads){.row = sizeof(uint32_t), .exact = index->vectors.width,
                                .hop = annoy->plane_dim + 2 * sizeof(uint32_t) + 2 * sizeof(float)};
}

#define TYPE_BIT(type) (1u << ((type) - VECDB_TYPE_BINARY_VECTOR))

const struct index_ops annoy_ops = {
    .name = "ANNOY", .format = 1, .build_params = build_params, .search_params = search_params,
    .types = TYPE_BIT(VECDB_TYPE_FLOAT_VECTOR) | TYPE_BIT(VECDB_TYPE_FLOAT16_VECTOR) |
             TYPE_BIT(VECDB_TYPE_BFLOAT16_VECTOR) | TYPE_BIT(VECDB_TYPE_INT8_VECTOR),
    .build = annoy_build, .search = annoy_search, .save = annoy_save, .open = annoy_open, .free = annoy_free,
    .check = annoy_check, .memory = annoy_memory, .reads = annoy_reads,
};
