#include "index/knn_graph.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/graph_prune.h"
#include "index/graph_search.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#include <assert.h>
#include <stdatomic.h>

#define TILE 48
#define AHEAD 4 /* rows whose lists are on their way from memory */
#define STRIPES 8192
#define MEMBERS_MAX 1024 /* of a leaf; cluster.c cuts below it */
#define MIRROR_DIM 256   /* from here on a distance costs more than copying it to where it is needed the other way round */
#define MIRROR_BLOCK 16
#define STEPS 16         /* of progress, if each has a leaf for every thread: they wait for one another at its end */
#define STAGE "linking"

/* One thread's. */
struct leaf_memory {
    uint8_t *rows;
    void *panel;
    int32_t *tile; /* distances of so many rows to all of the leaf: of TILE, or of all where they are mirrored */
    size_t width;  /* of a row of it */
    uint64_t *merged, *found;
    uint32_t *chosen, *members;
};

struct knn_work {
    const struct knn_input *input;
    const struct cluster *cluster;
    struct knn_lists *lists;
    atomic_flag *locks; /* STRIPES; of the lists */
    size_t first;       /* leaf of task 0 */
    size_t most;        /* members of a leaf */
    struct leaf_memory *memories; /* of each thread, without anything until its first leaf */
};

void knn_lists_deinit(struct knn_lists *lists)
{
    mem_free(lists->keys);
    mem_free(lists->counts);
    memset(lists, 0, sizeof *lists);
}

/* Two sorted lists into one of the k smallest; equal keys, a pair met in two leaves, become one. The order in which leaves
 * come does not matter: what stays is the k smallest of all. */
static size_t merge(const uint64_t *a, size_t a_count, const uint64_t *b, size_t b_count, size_t k, uint64_t *out)
{
    size_t n = 0, i = 0, j = 0;

    while (n < k && i < a_count && j < b_count) {
        uint64_t x = a[i], y = b[j];
        out[n++] = x < y ? x : y;
        i += x <= y;
        j += y <= x;
    }
    while (n < k && i < a_count)
        out[n++] = a[i++];
    while (n < k && j < b_count)
        out[n++] = b[j++];
    return n;
}

static void lock(atomic_flag *flag)
{
    while (atomic_flag_test_and_set_explicit(flag, memory_order_acquire))
        ;
}

static void add_candidates(struct knn_work *work, struct leaf_memory *memory, uint32_t node, const uint32_t *members,
                           const int32_t *distances, size_t m)
{
    struct knn_lists *lists = work->lists;
    size_t k = lists->k, n;
    atomic_flag *flag = &work->locks[node % STRIPES];
    uint64_t *list = lists->keys + node * k;
    int32_t limit = INT32_MAX;

    lock(flag); /* what is farther than the k-th so far need not be chosen from */
    if (lists->counts[node] == k)
        limit = (int32_t)graph_key_score(list[k - 1]);
    atomic_flag_clear_explicit(flag, memory_order_release);
    n = simd_graph()->smallest_i32(distances, m, k, limit, memory->chosen);
    for (size_t i = 0; i < n; i++)
        memory->found[i] = graph_key((uint32_t)distances[memory->chosen[i]], members[memory->chosen[i]]);
    n = graph_sort_keys(memory->found, n);
    lock(flag);
    n = merge(list, lists->counts[node], memory->found, n, k, memory->merged);
    memcpy(list, memory->merged, n * sizeof *list);
    lists->counts[node] = (uint16_t)n;
    atomic_flag_clear_explicit(flag, memory_order_release);
}

/* Members that get a list first. Returns how many. */
static size_t put_first(const struct knn_input *input, const uint32_t *members, size_t m, uint32_t *out)
{
    size_t first = 0, last = m;

    for (size_t i = 0; i < m; i++)
        if (input->part_of && input->part_of[members[i]] == input->without)
            out[--last] = members[i];
        else
            out[first++] = members[i];
    return first;
}

/* Distances of rows at .. at + n - 1 to those after them, to these from those. */
static void mirror(int32_t *tile, size_t width, size_t at, size_t n, size_t m)
{
    for (size_t first = at + n; first < m; first += MIRROR_BLOCK) {
        size_t end = first + MIRROR_BLOCK < m ? first + MIRROR_BLOCK : m;
        for (size_t j = first; j < end; j++)
            for (size_t i = at; i < at + n; i++)
                tile[j * width + i] = tile[i * width + j];
    }
}

static void all_pairs(struct knn_work *work, struct leaf_memory *memory, const uint32_t *unordered, size_t m)
{
    const struct distance_kernels *kernels = simd_distance();
    size_t dim = work->input->dim, width = memory->width, wanted = put_first(work->input, unordered, m, memory->members);
    size_t from = work->input->apart ? wanted : 0; /* the first that may be in a list */
    const uint32_t *members = memory->members;
    bool mirrored = dim >= MIRROR_DIM && !from;

    if (!wanted || from == m)
        return;

    for (size_t i = 0; i < m; i++) {
        if (i + 8 < m)
            simd_prefetch(work->input->codes + (size_t)members[i + 8] * work->input->stride, dim);
        memcpy(memory->rows + i * dim, work->input->codes + (size_t)members[i] * work->input->stride, dim);
    }
    kernels->u8_pack(memory->rows, dim, NULL, m, dim, memory->panel);
    for (size_t at = 0; at < wanted; at += TILE) {
        size_t n = wanted - at < TILE ? wanted - at : TILE, known = (mirrored ? at : from) / U8_PANEL_ROWS * U8_PANEL_ROWS;
        int32_t *tile = memory->tile + (mirrored ? at * width : 0);
        kernels->u8_l2sq(memory->rows + at * dim, dim, n, (uint8_t *)memory->panel + kernels->u8_panel_size(known, dim), m - known,
                         dim, tile + known, width);
        if (mirrored)
            mirror(memory->tile, width, at, n, wanted);
        for (size_t i = 0; i < n; i++) {
            if (i + AHEAD < n)
                knn_prefetch_list(work->lists, members[at + i + AHEAD]);
            tile[i * width + at + i] = INT32_MAX; /* itself */
            add_candidates(work, memory, members[at + i], members + from, tile + i * width + from, m - from);
        }
    }
}

static void leaf_memory_deinit(struct leaf_memory *memory)
{
    mem_free(memory->rows);
    mem_free(memory->panel);
    mem_free(memory->tile);
    mem_free(memory->merged);
    mem_free(memory->found);
    mem_free(memory->chosen);
    mem_free(memory->members);
}

static vecdb_status leaf_memory_init(struct leaf_memory *memory, size_t m, size_t k, size_t dim)
{
    size_t width = align_up(m, 64) + 16; /* not a power of two: mirroring reads down a column */

    *memory = (struct leaf_memory){
        .rows = mem_aligned_alloc(64, align_up(m * dim, 64)),
        .panel = mem_aligned_alloc(64, align_up(simd_distance()->u8_panel_size(m, dim) + 1, 64)),
        .tile = mem_aligned_alloc(64, (dim >= MIRROR_DIM && m > TILE ? m : TILE) * width * sizeof(int32_t)),
        .width = width,
        .merged = mem_array_alloc(k, sizeof(uint64_t)),
        .found = mem_array_alloc(m, sizeof(uint64_t)),
        .chosen = mem_array_alloc(m + 16, sizeof(uint32_t)),
        .members = mem_array_alloc(m, sizeof(uint32_t)),
    };
    if (memory->rows && memory->panel && memory->tile && memory->merged && memory->found && memory->chosen && memory->members)
        return VECDB_OK;
    leaf_memory_deinit(memory);
    *memory = (struct leaf_memory){0};
    return error_nomem("linking");
}

static vecdb_status leaf_task(void *context, size_t i, unsigned worker)
{
    struct knn_work *work = context;
    const size_t *offsets = work->cluster->offsets + work->first + i;
    size_t m = offsets[1] - offsets[0];
    struct leaf_memory *memory = &work->memories[worker];

    if (m < 2)
        return VECDB_OK;
    if (!memory->rows)
        TRY(leaf_memory_init(memory, work->most, work->lists->k, work->input->dim));
    all_pairs(work, memory, work->cluster->members + offsets[0], m);
    return VECDB_OK;
}

vecdb_status knn_lists_create(const struct knn_input *input, const struct cluster *cluster, size_t k,
                              const struct index_build_context *context, struct knn_lists *out)
{
    unsigned threads = pool_threads(context->pool);
    struct knn_work work = {.input = input, .cluster = cluster, .lists = out,
                            .locks = mem_array_alloc(STRIPES, sizeof(atomic_flag)),
                            .memories = mem_array_zalloc(threads, sizeof(struct leaf_memory))};
    size_t steps = cluster->leaf_count / threads;
    vecdb_status status = VECDB_OK;

    steps = steps < 1 ? 1 : steps > STEPS ? STEPS : steps;
    for (size_t i = 0; i < cluster->leaf_count; i++)
        if (cluster->offsets[i + 1] - cluster->offsets[i] > work.most)
            work.most = cluster->offsets[i + 1] - cluster->offsets[i];
    assert(work.most <= MEMBERS_MAX);
    *out = (struct knn_lists){mem_array_alloc(input->node_count * k, sizeof *out->keys),
                              mem_array_zalloc(input->node_count, sizeof *out->counts), k};
    if (!out->keys || !out->counts || !work.locks || !work.memories)
        status = error_nomem("linking");
    else
        for (size_t i = 0; i < STRIPES; i++)
            atomic_flag_clear(&work.locks[i]);
    for (size_t s = 0; s < steps && status == VECDB_OK; s++) {
        size_t end = cluster->leaf_count * (s + 1) / steps;
        work.first = cluster->leaf_count * s / steps;
        status = pool_run(context->pool, end - work.first, leaf_task, &work);
        if (status == VECDB_OK && context->progress && !context->progress(context->progress_context, STAGE, s + 1, steps))
            status = error_set(VECDB_ERR_CANCELLED, "building the graph: cancelled while %s", STAGE);
    }
    for (unsigned t = 0; work.memories && t < threads; t++)
        leaf_memory_deinit(&work.memories[t]);
    mem_free(work.memories);
    mem_free(work.locks);
    if (status != VECDB_OK)
        knn_lists_deinit(out);
    return status;
}
