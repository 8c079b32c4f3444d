/* So many lists that the nearest are found by groups of them: an IVF_FLAT index over the centroids, whose lists are the groups. How
 * many groups a query has to look through is measured, for it differs with how the centroids lie. */
#include "index/ivf_state.h"

#include "base/mem.h"
#include "index/topk.h"

#include <math.h>
#include <stdlib.h>

#define SAMPLE 64        /* centroids that ask for the nearest others */
#define NEAREST 16       /* of them */
#define FOUND 0.97       /* of them that have to be found */
#define STRANGERS 1.25   /* queries are no centroids: they want more groups, so many times as many */
#define MORE 4           /* and so many times the share of the lists that is wanted */

static int compare_ranks(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* Ranks of the groups, as seen from centroid `asking`, that its nearest others are in. distances: room for one of each list. */
static size_t rank_groups(const struct ivf *ivf, const struct ivf *groups, const uint32_t *group_of, size_t asking,
                          float *distances, uint32_t *ranks)
{
    size_t size = ivf->coder.code_dim * sizeof(float), n = 0;
    const float *query = ivf->centroids + asking * ivf->coder.code_dim;
    struct hit near[NEAREST + 1];
    struct topk topk;

    topk_init(&topk, near, NEAREST + 1);
    simd_distance()->l2sq_f32.rows(query, ivf->centroids, size, ivf->list_count, ivf->coder.code_dim, distances);
    for (size_t list = 0; list < ivf->list_count; list++)
        if (distances[list] <= topk.threshold)
            topk_push(&topk, distances[list], (uint32_t)list);
    topk_finish(&topk);
    simd_distance()->l2sq_f32.rows(query, groups->centroids, size, groups->list_count, ivf->coder.code_dim, distances);
    for (size_t i = 0; i < topk.count; i++) {
        uint32_t rank = 1;
        if (near[i].row == asking)
            continue;
        for (size_t g = 0; g < groups->list_count; g++)
            rank += distances[g] < distances[group_of[near[i].row]];
        ranks[n++] = rank;
    }
    return n;
}

vecdb_status ivf_groups_measure(struct ivf *ivf)
{
    const struct ivf *groups = (const struct ivf *)ivf->coarse;
    const struct ivf_part *part = ivf_view(groups)->parts[0];
    uint32_t *group_of = mem_array_zalloc(ivf->list_count, sizeof *group_of), ranks[SAMPLE * (NEAREST + 1)];
    float *distances = mem_array_alloc(ivf->list_count, sizeof *distances);
    size_t n = 0;

    if (!group_of || !distances) {
        mem_free(group_of);
        mem_free(distances);
        return error_nomem(ivf->kind->owner);
    }
    for (size_t g = 0; g < groups->list_count; g++)
        for (size_t slot = part->starts[g]; slot < part->starts[g] + part->sizes[g]; slot++)
            group_of[part->rows[slot]] = (uint32_t)g;
    for (size_t i = 0; i < SAMPLE; i++)
        n += rank_groups(ivf, groups, group_of, i * ivf->list_count / SAMPLE, distances, ranks + n);
    qsort(ranks, n, sizeof *ranks, compare_ranks);
    ivf->groups_least = n ? STRANGERS * ranks[(size_t)(FOUND * (double)n)] / (double)groups->list_count : 1;
    mem_free(group_of);
    mem_free(distances);
    return VECDB_OK;
}

size_t ivf_groups_wanted(const struct ivf *ivf, size_t want)
{
    const struct ivf *groups = (const struct ivf *)ivf->coarse;
    double share = ivf->groups_least + MORE * (double)want / (double)ivf->list_count;

    return (size_t)ceil(fmin(share, 1) * (double)groups->list_count);
}
