#include "index/cluster.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"
#include "simd/kernels.h"

#include <stdlib.h>

#define SAMPLE_PER_LEAF 48
#define SAMPLE_PER_SUPER 256
#define ITERATIONS 6
#define SUPERS_SEARCHED 4
#define BLOCK 1024         /* nodes assigned by one task */
#define TILE 96            /* queries per product */
#define LEAF_MAX 768       /* members; longer lists are cut */
#define SINGLE_LEVEL 64    /* leaves up to which one level does */

/* Centroids of one super-cluster, packed. */
struct panel {
    void *data;
    size_t count, padded;
    size_t first; /* number of its first leaf */
};

struct work {
    const struct cluster_input *input;
    size_t super_count, sample_count, leaf_count, tile_width;
    uint32_t *sample;      /* nodes */
    uint32_t *sample_super;
    uint8_t *super_centroids;
    size_t *super_offsets; /* of the sample, sorted by super */
    uint32_t *super_rows;
    struct panel super_panel, *leaf_panels;
    uint32_t *nearest;     /* node_count x overlap leaves, by position in input->nodes */
};

static size_t padded(size_t n) { return align_up(n, 64); }

static vecdb_status pack(struct panel *panel, const uint8_t *centroids, size_t count, size_t dim)
{
    const struct distance_kernels *kernels = simd_distance();

    panel->count = count;
    panel->padded = padded(count);
    panel->data = mem_aligned_alloc(64, align_up(kernels->u8_panel_size(count, dim) + 1, 64));
    if (!panel->data)
        return error_nomem("clustering");
    kernels->u8_pack(centroids, dim, NULL, count, dim, panel->data);
    return VECDB_OK;
}

static void gather(const struct cluster_input *input, const uint32_t *nodes, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        if (i + 8 < n)
            simd_prefetch(input->codes + (size_t)nodes[i + 8] * input->stride, input->dim);
        memcpy(out + i * input->dim, input->codes + (size_t)nodes[i] * input->stride, input->dim);
    }
}

static size_t nearest_of(const int32_t *distances, size_t n)
{
    size_t best = 0;

    for (size_t j = 1; j < n; j++)
        if (distances[j] < distances[best])
            best = j;
    return best;
}

/* k-means over `count` rows, one after another; centroids k x dim, drawn from the rows. */
static vecdb_status train(const uint8_t *rows, size_t count, size_t dim, size_t k, uint64_t seed, uint8_t *centroids)
{
    const struct distance_kernels *kernels = simd_distance();
    struct rng rng = rng_seeded(seed);
    size_t panel_size = align_up(kernels->u8_panel_size(k, dim) + 1, 64);
    void *panel = mem_aligned_alloc(64, panel_size);
    int32_t *tile = mem_array_alloc(TILE * padded(k), sizeof *tile);
    uint32_t *sums = mem_array_alloc(k * dim + 1, sizeof *sums), *members = mem_array_alloc(k, sizeof *members);
    vecdb_status status = VECDB_OK;

    if (!panel || !tile || !sums || !members) {
        status = error_nomem("clustering");
        goto out;
    }
    for (size_t c = 0; c < k; c++) /* one from each k-th part of the rows */
        memcpy(centroids + c * dim, rows + (count * c / k + rng_below(&rng, (count * (c + 1) / k - count * c / k) | 1) % count) % count * dim, dim);
    for (int round = 0; round < ITERATIONS; round++) {
        kernels->u8_pack(centroids, dim, NULL, k, dim, panel);
        memset(sums, 0, k * dim * sizeof *sums);
        memset(members, 0, k * sizeof *members);
        for (size_t at = 0; at < count; at += TILE) {
            size_t n = count - at < TILE ? count - at : TILE;
            kernels->u8_l2sq(rows + at * dim, dim, n, panel, k, dim, tile, padded(k));
            for (size_t i = 0; i < n; i++) {
                size_t best = nearest_of(tile + i * padded(k), k);
                simd_codes()->add_u8(sums + best * dim, rows + (at + i) * dim, dim);
                members[best]++;
            }
        }
        for (size_t c = 0; c < k; c++) {
            if (!members[c]) { /* nobody's nearest: move it onto a row */
                memcpy(centroids + c * dim, rows + rng_below(&rng, count) * dim, dim);
                continue;
            }
            for (size_t d = 0; d < dim; d++)
                centroids[c * dim + d] = (uint8_t)((sums[c * dim + d] + members[c] / 2) / members[c]);
        }
    }
out:
    mem_free(panel);
    mem_free(tile);
    mem_free(sums);
    mem_free(members);
    return status;
}

/* A draw without replacement: a partial shuffle. */
static vecdb_status draw_sample(struct work *work)
{
    const struct cluster_input *input = work->input;
    struct rng rng = rng_seeded(input->seed ^ 0x73616D706C65ull);
    uint32_t *all = mem_array_alloc(input->node_count, sizeof *all);

    if (!all)
        return error_nomem("clustering");
    memcpy(all, input->nodes, input->node_count * sizeof *all);
    for (size_t i = 0; i < work->sample_count; i++) {
        size_t j = i + rng_below(&rng, input->node_count - i);
        uint32_t swap = all[i];
        all[i] = all[j];
        all[j] = swap;
    }
    memcpy(work->sample, all, work->sample_count * sizeof *all);
    mem_free(all);
    return VECDB_OK;
}

static vecdb_status train_supers(struct work *work)
{
    const struct cluster_input *input = work->input;
    size_t count = work->super_count * SAMPLE_PER_SUPER;
    uint8_t *rows;
    vecdb_status status;

    if (count > work->sample_count)
        count = work->sample_count;
    if (!(rows = mem_array_alloc(count, input->dim)))
        return error_nomem("clustering");
    gather(input, work->sample, count, rows);
    status = train(rows, count, input->dim, work->super_count, input->seed, work->super_centroids);
    mem_free(rows);
    if (status != VECDB_OK)
        return status;
    return pack(&work->super_panel, work->super_centroids, work->super_count, input->dim);
}

static vecdb_status sample_task(void *context, size_t block, unsigned worker)
{
    struct work *work = context;
    const struct cluster_input *input = work->input;
    size_t at = block * BLOCK, end = at + BLOCK < work->sample_count ? at + BLOCK : work->sample_count;
    size_t width = padded(work->super_count);
    uint8_t *rows = mem_array_alloc(TILE, input->dim);
    int32_t *tile = mem_array_alloc(TILE * width, sizeof *tile);
    vecdb_status status = rows && tile ? VECDB_OK : error_nomem("clustering");

    for (; status == VECDB_OK && at < end; at += TILE) {
        size_t n = end - at < TILE ? end - at : TILE;
        gather(input, work->sample + at, n, rows);
        simd_distance()->u8_l2sq(rows, input->dim, n, work->super_panel.data, work->super_count, input->dim, tile, width);
        for (size_t i = 0; i < n; i++)
            work->sample_super[at + i] = (uint32_t)nearest_of(tile + i * width, work->super_count);
    }
    mem_free(rows);
    mem_free(tile);
    return status;
}

static vecdb_status leaves_task(void *context, size_t super, unsigned worker)
{
    struct work *work = context;
    const struct cluster_input *input = work->input;
    struct panel *panel = &work->leaf_panels[super];
    size_t first = work->super_offsets[super], count = work->super_offsets[super + 1] - first;
    uint8_t *rows, *centroids;
    vecdb_status status = VECDB_OK;

    if (!count)
        return VECDB_OK;
    rows = mem_array_alloc(count, input->dim);
    centroids = mem_array_alloc(panel->count, input->dim);
    if (!rows || !centroids)
        status = error_nomem("clustering");
    else {
        gather(input, work->super_rows + first, count, rows);
        status = train(rows, count, input->dim, panel->count, input->seed + super + 1, centroids);
    }
    if (status == VECDB_OK)
        status = pack(panel, centroids, panel->count, input->dim);
    mem_free(rows);
    mem_free(centroids);
    return status;
}

struct choice {
    int32_t distance;
    uint32_t leaf;
};

static inline void offer(struct choice *best, unsigned k, int32_t distance, uint32_t leaf)
{
    unsigned at = k - 1;

    if (distance > best[at].distance || (distance == best[at].distance && leaf > best[at].leaf))
        return;
    for (; at > 0 && (best[at - 1].distance > distance || (best[at - 1].distance == distance && best[at - 1].leaf > leaf)); at--)
        best[at] = best[at - 1];
    best[at] = (struct choice){distance, leaf};
}

struct assign_memory {
    uint8_t *rows, *picked;
    int32_t *tile;
    uint32_t *supers;     /* BLOCK x SUPERS_SEARCHED */
    struct choice *best;  /* BLOCK x overlap */
    uint32_t *positions;
};

/* The nearest leaves of a block of nodes, among those of their nearest supers. */
static void assign_block(const struct work *work, struct assign_memory *memory, size_t at, size_t n)
{
    const struct cluster_input *input = work->input;
    const struct distance_kernels *kernels = simd_distance();
    unsigned overlap = input->overlap, searched = work->super_count < SUPERS_SEARCHED ? (unsigned)work->super_count : SUPERS_SEARCHED;
    size_t dim = input->dim, width = padded(work->super_count);

    gather(input, input->nodes + at, n, memory->rows);
    for (size_t i = 0; i < n; i += TILE) {
        size_t rows = n - i < TILE ? n - i : TILE;
        kernels->u8_l2sq(memory->rows + i * dim, dim, rows, work->super_panel.data, work->super_count, dim, memory->tile, width);
        for (size_t r = 0; r < rows; r++) {
            struct choice best[SUPERS_SEARCHED];
            for (unsigned s = 0; s < searched; s++)
                best[s] = (struct choice){INT32_MAX, UINT32_MAX};
            for (size_t s = 0; s < work->super_count; s++)
                offer(best, searched, memory->tile[r * width + s], (uint32_t)s);
            for (unsigned s = 0; s < searched; s++)
                memory->supers[(i + r) * SUPERS_SEARCHED + s] = best[s].leaf;
        }
    }
    for (size_t i = 0; i < n * overlap; i++)
        memory->best[i] = (struct choice){INT32_MAX, UINT32_MAX};
    for (size_t s = 0; s < work->super_count; s++) {
        const struct panel *panel = &work->leaf_panels[s];
        size_t picked = 0;
        if (!panel->data)
            continue;
        for (size_t i = 0; i < n; i++)
            for (unsigned j = 0; j < searched; j++)
                if (memory->supers[i * SUPERS_SEARCHED + j] == s) {
                    memory->positions[picked++] = (uint32_t)i;
                    break;
                }
        for (size_t i = 0; i < picked; i += TILE) {
            size_t rows = picked - i < TILE ? picked - i : TILE;
            for (size_t r = 0; r < rows; r++)
                memcpy(memory->picked + r * dim, memory->rows + memory->positions[i + r] * dim, dim);
            kernels->u8_l2sq(memory->picked, dim, rows, panel->data, panel->count, dim, memory->tile, panel->padded);
            for (size_t r = 0; r < rows; r++) {
                struct choice *best = memory->best + memory->positions[i + r] * overlap;
                const int32_t *line = memory->tile + r * panel->padded;
                for (size_t c = 0; c < panel->count; c++)
                    if (line[c] <= best[overlap - 1].distance)
                        offer(best, overlap, line[c], (uint32_t)(panel->first + c));
            }
        }
    }
    for (size_t i = 0; i < n; i++) /* supers the sample left empty have one leaf, without a centroid */
        if (memory->best[i * overlap].leaf == UINT32_MAX)
            memory->best[i * overlap].leaf = (uint32_t)work->leaf_panels[memory->supers[i * SUPERS_SEARCHED]].first;
    for (size_t i = 0; i < n; i++)
        for (unsigned j = 0; j < overlap; j++)
            work->nearest[(at + i) * overlap + j] = memory->best[i * overlap + j].leaf;
}

static vecdb_status assign_task(void *context, size_t block, unsigned worker)
{
    struct work *work = context;
    const struct cluster_input *input = work->input;
    size_t at = block * BLOCK, n = input->node_count - at < BLOCK ? input->node_count - at : BLOCK;
    struct assign_memory memory = {
        .rows = mem_array_alloc(BLOCK, input->dim),
        .picked = mem_array_alloc(TILE, input->dim),
        .tile = mem_array_alloc(TILE * work->tile_width, sizeof(int32_t)),
        .supers = mem_array_alloc(BLOCK * SUPERS_SEARCHED, sizeof(uint32_t)),
        .best = mem_array_alloc(BLOCK * CLUSTER_OVERLAP_MAX, sizeof(struct choice)),
        .positions = mem_array_alloc(BLOCK, sizeof(uint32_t)),
    };
    bool enough = memory.rows && memory.picked && memory.tile && memory.supers && memory.best && memory.positions;

    if (enough)
        assign_block(work, &memory, at, n);
    mem_free(memory.rows);
    mem_free(memory.picked);
    mem_free(memory.tile);
    mem_free(memory.supers);
    mem_free(memory.best);
    mem_free(memory.positions);
    return enough ? VECDB_OK : error_nomem("clustering");
}

/* Counting sort of the sample by super, and so many leaves for each. */
static vecdb_status plan_leaves(struct work *work, size_t wanted)
{
    size_t *fill = mem_array_zalloc(work->super_count + 1, sizeof *fill);

    if (!fill)
        return error_nomem("clustering");
    for (size_t i = 0; i < work->sample_count; i++)
        work->super_offsets[work->sample_super[i] + 1]++;
    for (size_t s = 0; s < work->super_count; s++)
        work->super_offsets[s + 1] += work->super_offsets[s];
    memcpy(fill, work->super_offsets, (work->super_count + 1) * sizeof *fill);
    for (size_t i = 0; i < work->sample_count; i++)
        work->super_rows[fill[work->sample_super[i]]++] = work->sample[i];
    mem_free(fill);
    work->tile_width = padded(work->super_count);
    for (size_t s = 0; s < work->super_count; s++) {
        struct panel *panel = &work->leaf_panels[s];
        size_t count = work->super_offsets[s + 1] - work->super_offsets[s];
        panel->count = (count * wanted + work->sample_count / 2) / work->sample_count;
        if (!panel->count)
            panel->count = 1;
        panel->first = work->leaf_count;
        work->leaf_count += panel->count;
        if (padded(panel->count) > work->tile_width)
            work->tile_width = padded(panel->count);
    }
    return VECDB_OK;
}

/* Members of leaves longer than LEAF_MAX, in an order of no meaning, for the cut. */
static void shuffle(uint32_t *members, size_t count, uint64_t seed)
{
    struct rng rng = rng_seeded(seed);

    for (size_t i = count; i > 1; i--) {
        size_t j = rng_below(&rng, i);
        uint32_t swap = members[i - 1];
        members[i - 1] = members[j];
        members[j] = swap;
    }
}

static vecdb_status make_lists(struct work *work, struct cluster *out)
{
    const struct cluster_input *input = work->input;
    unsigned overlap = input->overlap;
    size_t total = input->node_count * overlap, pieces = 0, piece = 0;
    size_t *offsets = mem_array_zalloc(work->leaf_count + 2, sizeof *offsets), *fill = NULL;

    if (!offsets)
        return error_nomem("clustering");
    for (size_t i = 0; i < total; i++)
        if (work->nearest[i] != UINT32_MAX)
            offsets[work->nearest[i] + 1]++;
    for (size_t leaf = 0; leaf < work->leaf_count; leaf++)
        pieces += (offsets[leaf + 1] + LEAF_MAX - 1) / LEAF_MAX;
    for (size_t leaf = 0; leaf < work->leaf_count; leaf++)
        offsets[leaf + 1] += offsets[leaf];
    fill = mem_dup(offsets, (work->leaf_count + 1) * sizeof *offsets);
    out->members = mem_array_alloc(total, sizeof *out->members);
    out->offsets = mem_array_alloc(pieces + 1, sizeof *out->offsets);
    out->order = mem_array_alloc(input->node_count, sizeof *out->order);
    if (!fill || !out->members || !out->offsets || !out->order) {
        mem_free(offsets);
        mem_free(fill);
        return error_nomem("clustering");
    }
    for (size_t i = 0; i < total; i++)
        if (work->nearest[i] != UINT32_MAX)
            out->members[fill[work->nearest[i]]++] = input->nodes[i / overlap];
    for (size_t leaf = 0; leaf < work->leaf_count; leaf++) {
        size_t count = offsets[leaf + 1] - offsets[leaf], cuts = (count + LEAF_MAX - 1) / LEAF_MAX;
        if (cuts > 1)
            shuffle(out->members + offsets[leaf], count, input->seed + leaf);
        for (size_t c = 0; c < cuts; c++)
            out->offsets[piece++] = offsets[leaf] + count * c / cuts;
    }
    out->offsets[piece] = offsets[work->leaf_count];
    out->leaf_count = piece;
    /* the order: by nearest leaf */
    memset(fill, 0, (work->leaf_count + 1) * sizeof *fill);
    for (size_t i = 0; i < input->node_count; i++)
        fill[work->nearest[i * overlap] + 1]++;
    for (size_t leaf = 0; leaf < work->leaf_count; leaf++)
        fill[leaf + 1] += fill[leaf];
    for (size_t i = 0; i < input->node_count; i++)
        out->order[fill[work->nearest[i * overlap]]++] = input->nodes[i];
    mem_free(offsets);
    mem_free(fill);
    return VECDB_OK;
}

void cluster_deinit(struct cluster *cluster)
{
    mem_free(cluster->offsets);
    mem_free(cluster->members);
    mem_free(cluster->order);
    memset(cluster, 0, sizeof *cluster);
}

vecdb_status cluster_create(const struct cluster_input *input, struct pool *pool, struct cluster *out)
{
    size_t wanted = input->node_count / input->leaf_rows;
    struct work work = {.input = input};
    vecdb_status status = VECDB_OK;

    memset(out, 0, sizeof *out);
    if (!wanted)
        wanted = 1;
    work.super_count = 1;
    while (wanted > SINGLE_LEVEL && work.super_count * work.super_count < wanted)
        work.super_count++;
    work.sample_count = wanted * SAMPLE_PER_LEAF < input->node_count ? wanted * SAMPLE_PER_LEAF : input->node_count;
    work.sample = mem_array_alloc(work.sample_count, sizeof *work.sample);
    work.sample_super = mem_array_zalloc(work.sample_count, sizeof *work.sample_super);
    work.super_rows = mem_array_alloc(work.sample_count, sizeof *work.super_rows);
    work.super_centroids = mem_array_alloc(work.super_count, input->dim);
    work.super_offsets = mem_array_zalloc(work.super_count + 1, sizeof *work.super_offsets);
    work.leaf_panels = mem_array_zalloc(work.super_count, sizeof *work.leaf_panels);
    work.nearest = mem_array_alloc(input->node_count * input->overlap, sizeof *work.nearest);
    if (!work.sample || !work.sample_super || !work.super_rows || !work.super_centroids || !work.super_offsets ||
        !work.leaf_panels || !work.nearest)
        status = error_nomem("clustering");
    if (status == VECDB_OK)
        status = draw_sample(&work);
    if (status == VECDB_OK)
        status = train_supers(&work);
    if (status == VECDB_OK)
        status = pool_run(pool, (work.sample_count + BLOCK - 1) / BLOCK, sample_task, &work);
    if (status == VECDB_OK)
        status = plan_leaves(&work, wanted);
    if (status == VECDB_OK)
        status = pool_run(pool, work.super_count, leaves_task, &work);
    if (status == VECDB_OK)
        status = pool_run(pool, (input->node_count + BLOCK - 1) / BLOCK, assign_task, &work);
    if (status == VECDB_OK)
        status = make_lists(&work, out);
    if (status != VECDB_OK)
        cluster_deinit(out);
    for (size_t s = 0; work.leaf_panels && s < work.super_count; s++)
        mem_free(work.leaf_panels[s].data);
    mem_free(work.super_panel.data);
    mem_free(work.sample);
    mem_free(work.sample_super);
    mem_free(work.super_rows);
    mem_free(work.super_centroids);
    mem_free(work.super_offsets);
    mem_free(work.leaf_panels);
    mem_free(work.nearest);
    return status;
}
