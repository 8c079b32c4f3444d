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
#define STAGE "linking"

struct knn_work {
    const struct knn_input *input;
    const struct cluster *cluster;
    struct knn_lists *lists;
    atomic_flag *locks; /* STRIPES; of the lists */
    size_t first;       /* leaf of task 0 */
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

struct leaf_memory {
    uint8_t *rows;
    void *panel;
    int32_t *tile;
    uint64_t *merged, *found;
    uint32_t *chosen, *members;
};

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

static void all_pairs(struct knn_work *work, struct leaf_memory *memory, const uint32_t *unordered, size_t m)
{
    const struct distance_kernels *kernels = simd_distance();
    size_t dim = work->input->dim, width = align_up(m, 64), wanted = put_first(work->input, unordered, m, memory->members);
    const uint32_t *members = memory->members;

    if (!wanted)
        return;

    for (size_t i = 0; i < m; i++) {
        if (i + 8 < m)
            simd_prefetch(work->input->codes + (size_t)members[i + 8] * work->input->stride, dim);
        memcpy(memory->rows + i * dim, work->input->codes + (size_t)members[i] * work->input->stride, dim);
    }
    kernels->u8_pack(memory->rows, dim, NULL, m, dim, memory->panel);
    for (size_t at = 0; at < wanted; at += TILE) {
        size_t n = wanted - at < TILE ? wanted - at : TILE;
        kernels->u8_l2sq(memory->rows + at * dim, dim, n, memory->panel, m, dim, memory->tile, width);
        for (size_t i = 0; i < n; i++) {
            if (i + AHEAD < n)
                knn_prefetch_list(work->lists, members[at + i + AHEAD]);
            memory->tile[i * width + at + i] = INT32_MAX; /* itself */
            add_candidates(work, memory, members[at + i], members, memory->tile + i * width, m);
        }
    }
}

static vecdb_status leaf_task(void *context, size_t i, unsigned worker)
{
    struct knn_work *work = context;
    const size_t *offsets = work->cluster->offsets + work->first + i;
    size_t m = offsets[1] - offsets[0], k = work->lists->k, dim = work->input->dim;
    struct leaf_memory memory;
    bool enough;

    if (m < 2)
        return VECDB_OK;
    assert(m <= MEMBERS_MAX);
    memory = (struct leaf_memory){
        .rows = mem_aligned_alloc(64, align_up(m * dim, 64)),
        .panel = mem_aligned_alloc(64, align_up(simd_distance()->u8_panel_size(m, dim) + 1, 64)),
        .tile = mem_aligned_alloc(64, TILE * align_up(m, 64) * sizeof(int32_t)),
        .merged = mem_array_alloc(k, sizeof(uint64_t)),
        .found = mem_array_alloc(m, sizeof(uint64_t)),
        .chosen = mem_array_alloc(m + 16, sizeof(uint32_t)),
        .members = mem_array_alloc(m, sizeof(uint32_t)),
    };
    enough = memory.rows && memory.panel && memory.tile && memory.merged && memory.found && memory.chosen && memory.members;
    if (enough)
        all_pairs(work, &memory, work->cluster->members + offsets[0], m);
    mem_free(memory.rows);
    mem_free(memory.panel);
    mem_free(memory.tile);
    mem_free(memory.merged);
    mem_free(memory.found);
    mem_free(memory.chosen);
    mem_free(memory.members);
    return enough ? VECDB_OK : error_nomem("linking");
}

vecdb_status knn_lists_create(const struct knn_input *input, const struct cluster *cluster, size_t k,
                              const struct index_build_context *context, struct knn_lists *out)
{
    struct knn_work work = {input, cluster, out, mem_array_alloc(STRIPES, sizeof(atomic_flag)), 0};
    size_t steps = 16;
    vecdb_status status = VECDB_OK;

    *out = (struct knn_lists){mem_array_alloc(input->node_count * k, sizeof *out->keys),
                              mem_array_zalloc(input->node_count, sizeof *out->counts), k};
    if (!out->keys || !out->counts || !work.locks)
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
    mem_free(work.locks);
    if (status != VECDB_OK)
        knn_lists_deinit(out);
    return status;
}
