#include "quant/kmeans_groups.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "simd/kernels.h"

#include <math.h>
#include <string.h>

#define PLAIN_MOST 511   /* centroids that are not worth groups */
#define ITERATIONS 5     /* of the groups' own centroids */
#define NEAR 4           /* centroids compared with, over the mean of a group */
#define BLOCK_ROWS 8192  /* sorted by group at a time */
#define GATHERED 480     /* rows of a group multiplied at a time */

/* -- which centroids a group is made of */

/* The n-th smallest of count numbers, n < count; their order is lost. */
static float nth_smallest(float *values, size_t count, size_t n)
{
    size_t low = 0, high = count - 1;

    while (low < high) {
        float pivot = values[low + (high - low) / 2];
        size_t i = low, j = high;
        for (;;) {
            while (values[i] < pivot)
                i++;
            while (values[j] > pivot)
                j--;
            if (i >= j)
                break;
            float value = values[i];
            values[i++] = values[j];
            values[j--] = value;
        }
        if (n <= j)
            high = j;
        else
            low = j + 1;
    }
    return values[n];
}

struct choice {
    const float *centroids;
    size_t clusters, dim;
    uint32_t *group_of;          /* of each centroid */
    float *distances, *sorted, *packed;
};

/* Its own centroids and the nearest of the others. */
static vecdb_status choose_members(struct kmeans_group *group, const struct choice *choice, const float *center, uint32_t number,
                                   size_t mean)
{
    size_t own = 0, want, n = 0;
    float limit;

    simd_distance()->l2sq_f32.rows(center, choice->centroids, choice->dim * sizeof(float), choice->clusters, choice->dim,
                                   choice->distances);
    for (size_t c = 0; c < choice->clusters; c++) {
        bool mine = choice->group_of[c] == number;
        own += mine;
        choice->distances[c] = mine ? -1 : isfinite(choice->distances[c]) ? choice->distances[c] : 1e38f;
    }
    want = NEAR * mean > 2 * own ? NEAR * mean : 2 * own;
    if (want > choice->clusters)
        want = choice->clusters;
    memcpy(choice->sorted, choice->distances, choice->clusters * sizeof(float));
    limit = nth_smallest(choice->sorted, choice->clusters, want - 1);
    group->members = mem_array_alloc(want, sizeof *group->members);
    if (!group->members)
        return error_nomem("clustering");
    for (int tied = 0; tied < 2; tied++)
        for (size_t c = 0; c < choice->clusters && n < want; c++)
            if (tied ? choice->distances[c] == limit : choice->distances[c] < limit)
                group->members[n++] = (uint32_t)c;
    for (size_t i = 0; i < n; i++)
        memcpy(choice->packed + i * choice->dim, choice->centroids + group->members[i] * choice->dim, choice->dim * sizeof(float));
    return kmeans_assigner_init(&group->assigner, choice->packed, n, choice->dim);
}

static vecdb_status group(struct kmeans_grouping *way, const float *centroids, size_t clusters, size_t dim, size_t count,
                          uint64_t seed)
{
    struct choice choice = {.centroids = centroids, .clusters = clusters, .dim = dim};
    struct kmeans_options options = {.clusters = count, .iterations = ITERATIONS, .seed = seed, .stage = "groups"};
    float *centers = mem_aligned_alloc(64, count * dim * sizeof *centers), *scratch = NULL;
    vecdb_status status;

    choice.group_of = mem_array_alloc(clusters, sizeof *choice.group_of);
    choice.distances = mem_array_alloc(clusters, sizeof *choice.distances);
    choice.sorted = mem_array_alloc(clusters, sizeof *choice.sorted);
    choice.packed = mem_aligned_alloc(64, clusters * dim * sizeof *choice.packed);
    way->groups = mem_array_zalloc(count, sizeof *way->groups);
    status = centers && choice.group_of && choice.distances && choice.sorted && choice.packed && way->groups
                 ? kmeans_train(centroids, clusters, dim, &options, centers)
                 : error_nomem("clustering");
    if (status == VECDB_OK)
        status = kmeans_assigner_init(&way->top, centers, count, dim);
    if (status == VECDB_OK) {
        scratch = mem_aligned_alloc(64, kmeans_scratch_floats(&way->top) * sizeof *scratch);
        status = scratch ? VECDB_OK : error_nomem("clustering");
    }
    if (status == VECDB_OK)
        kmeans_assign(&way->top, centroids, dim, clusters, scratch, choice.group_of, NULL);
    for (size_t g = 0; g < count && status == VECDB_OK; g++)
        status = choose_members(&way->groups[g], &choice, centers + g * dim, (uint32_t)g, clusters / count);
    mem_free(centers);
    mem_free(scratch);
    mem_free(choice.group_of);
    mem_free(choice.distances);
    mem_free(choice.sorted);
    mem_free(choice.packed);
    return status;
}

vecdb_status kmeans_groups_init(struct kmeans_groups *groups, const float *centroids, size_t clusters, size_t dim)
{
    vecdb_status status = VECDB_OK;

    *groups = (struct kmeans_groups){0};
    if (clusters <= PLAIN_MOST)
        return kmeans_assigner_init(&groups->ways[0].top, centroids, clusters, dim);
    groups->count = (size_t)sqrt((double)clusters);
    for (size_t w = 0; w < KMEANS_GROUPINGS && status == VECDB_OK; w++)
        status = group(&groups->ways[w], centroids, clusters, dim, groups->count, w + 1);
    if (status != VECDB_OK)
        kmeans_groups_deinit(groups);
    return status;
}

void kmeans_groups_deinit(struct kmeans_groups *groups)
{
    for (size_t w = 0; w < KMEANS_GROUPINGS; w++) {
        struct kmeans_grouping *way = &groups->ways[w];
        kmeans_assigner_deinit(&way->top);
        for (size_t g = 0; way->groups && g < groups->count; g++) {
            kmeans_assigner_deinit(&way->groups[g].assigner);
            mem_free(way->groups[g].members);
        }
        mem_free(way->groups);
    }
    *groups = (struct kmeans_groups){0};
}

/* -- assigning */

/* Scratch: what a product wants; rows of one group, their centroids, how far these are; the nearest group of each row, the
 * nearest centroid's distance, places sorted by group, where groups start. */
static size_t plain_floats(const struct kmeans_groups *groups)
{
    size_t most = kmeans_scratch_floats(&groups->ways[0].top);

    for (size_t w = 0; w < KMEANS_GROUPINGS; w++)
        for (size_t g = 0; g < groups->count; g++) {
            size_t floats = kmeans_scratch_floats(&groups->ways[w].groups[g].assigner);
            most = floats > most ? floats : most;
        }
    return align_up(most, 32);
}

size_t kmeans_groups_scratch_floats(const struct kmeans_groups *groups)
{
    if (!groups->count)
        return kmeans_scratch_floats(&groups->ways[0].top);
    return plain_floats(groups) + GATHERED * (groups->ways[0].top.dim + 2) + 3 * BLOCK_ROWS + groups->count + 2;
}

static void assign_block(const struct kmeans_groups *groups, const struct kmeans_grouping *way, bool first_way, const float *rows,
                         size_t count, float *scratch, uint32_t *out)
{
    size_t dim = way->top.dim;
    float *gathered = scratch + plain_floats(groups), *far = gathered + GATHERED * dim, *best = far + GATHERED;
    uint32_t *found = (uint32_t *)(void *)(best + BLOCK_ROWS), *nearest = found + GATHERED, *order = nearest + BLOCK_ROWS;
    uint32_t *starts = order + BLOCK_ROWS;

    kmeans_assign(&way->top, rows, dim, count, scratch, nearest, NULL);
    memset(starts, 0, (groups->count + 2) * sizeof *starts);
    for (size_t i = 0; i < count; i++)
        starts[nearest[i] + 2]++;
    for (size_t g = 2; g <= groups->count; g++)
        starts[g] += starts[g - 1];
    for (size_t i = 0; i < count; i++)
        order[starts[nearest[i] + 1]++] = (uint32_t)i;
    for (size_t g = 0; g < groups->count; g++) { /* starts[g] is now where group g begins */
        const struct kmeans_group *group = &way->groups[g];
        for (size_t first = starts[g], n; first < starts[g + 1]; first += n) {
            n = starts[g + 1] - first < GATHERED ? starts[g + 1] - first : GATHERED;
            for (size_t i = 0; i < n; i++)
                memcpy(gathered + i * dim, rows + order[first + i] * dim, dim * sizeof *rows);
            kmeans_assign(&group->assigner, gathered, dim, n, scratch, found, far);
            for (size_t i = 0; i < n; i++) {
                uint32_t row = order[first + i];
                if (first_way || far[i] < best[row]) {
                    best[row] = far[i];
                    out[row] = group->members[found[i]];
                }
            }
        }
    }
}

void kmeans_groups_assign(const struct kmeans_groups *groups, const float *rows, size_t count, float *scratch, uint32_t *out)
{
    size_t dim = groups->ways[0].top.dim;

    if (!groups->count) {
        kmeans_assign(&groups->ways[0].top, rows, dim, count, scratch, out, NULL);
        return;
    }
    for (size_t first = 0, n; first < count; first += n) {
        n = count - first < BLOCK_ROWS ? count - first : BLOCK_ROWS;
        for (size_t w = 0; w < KMEANS_GROUPINGS; w++)
            assign_block(groups, &groups->ways[w], w == 0, rows + first * dim, n, scratch, out + first);
    }
}
