/* Maximal marginal relevance: Carbonell and Goldstein, SIGIR 1998. */
#include "api/handle.h"
#include "schema/rows.h"
#include "simd/distance.h"

#include <float.h>
#include <math.h>

struct mmr {
    struct distance distance;
    vecdb_metric metric;
    const uint8_t *rows;
    size_t stride, count;
    void *prepared;
    float *near, *crowd; /* likeness to the query, and to the likest of those chosen */
};

/* Larger is more alike. */
static float likeness(const struct mmr *mmr, const uint8_t *row)
{
    float distance = distance_one(&mmr->distance, mmr->prepared, row, -1);

    return metric_is_similarity(mmr->metric) ? distance_to_score(mmr->metric, distance) : -distance;
}

static void choose(struct mmr *mmr, double lambda, size_t limit, size_t *chosen, size_t *chosen_count)
{
    for (size_t i = 0; i < mmr->count; i++) {
        mmr->near[i] = likeness(mmr, mmr->rows + i * mmr->stride);
        mmr->crowd[i] = -FLT_MAX;
    }
    for (*chosen_count = 0; *chosen_count < limit && *chosen_count < mmr->count; ++*chosen_count) {
        size_t best = SIZE_MAX;
        double most = 0;
        for (size_t i = 0; i < mmr->count; i++) {
            double worth = lambda * (double)mmr->near[i];
            if (*chosen_count) /* to the first, nothing is alike yet */
                worth -= (1 - lambda) * (double)mmr->crowd[i];
            if (!isnan(mmr->near[i]) && (best == SIZE_MAX || worth > most)) {
                best = i;
                most = worth;
            }
        }
        if (best == SIZE_MAX)
            return;
        chosen[*chosen_count] = best;
        mmr->near[best] = NAN; /* taken */
        distance_prepare(&mmr->distance, mmr->rows + best * mmr->stride, mmr->prepared);
        for (size_t i = 0; i < mmr->count; i++) {
            float like = likeness(mmr, mmr->rows + i * mmr->stride);
            if (like > mmr->crowd[i])
                mmr->crowd[i] = like;
        }
    }
}

static vecdb_status check(const void *query, const vecdb_column *candidates, size_t count, vecdb_metric metric, double lambda,
                          const size_t *chosen, const size_t *chosen_count)
{
    size_t most = candidates && candidates->type == VECDB_TYPE_BINARY_VECTOR ? 8 * (size_t)VECDB_MAX_DIM : VECDB_MAX_DIM;
    size_t width;

    if (!query || !candidates || !chosen || !chosen_count || (count && !candidates->data))
        return error_set(VECDB_ERR_INVALID, "mmr: query, candidates or chosen is NULL");
    if (!type_is_vector(candidates->type))
        return error_set(VECDB_ERR_TYPE, "mmr: the candidates are %s, not vectors",
                         type_name(candidates->type) ? type_name(candidates->type) : "of an unknown type");
    if (type_is_sparse(candidates->type))
        return error_set(VECDB_ERR_UNSUPPORTED, "mmr: the candidates are SPARSE_FLOAT_VECTOR; dense vectors are wanted");
    if (candidates->dim == 0 || candidates->dim > most ||
        (candidates->type == VECDB_TYPE_BINARY_VECTOR && candidates->dim % 8))
        return error_set(VECDB_ERR_DIM, "mmr: a dim of %u is out of range", candidates->dim);
    if (!(lambda >= 0 && lambda <= 1))
        return error_set(VECDB_ERR_INVALID, "mmr: lambda is %g, it must be in [0, 1]", lambda);
    TRY(metric_check(metric, candidates->type, "mmr"));
    width = type_width(candidates->type, candidates->dim);
    if (candidates->stride && candidates->stride < width)
        return error_set(VECDB_ERR_INVALID, "mmr: a stride of %zu bytes is less than the vector's %zu", candidates->stride, width);
    return rows_check_vector(candidates->type, candidates->dim, query, "mmr query", 0);
}

vecdb_status vecdb_mmr(const void *query, const vecdb_column *candidates, size_t count, vecdb_metric metric, double lambda,
                       size_t limit, size_t *chosen, size_t *chosen_count)
{
    struct mmr mmr = {.metric = metric, .count = count};

    TRY(check(query, candidates, count, metric, lambda, chosen, chosen_count));
    *chosen_count = 0;
    mmr.rows = candidates->data;
    mmr.stride = candidates->stride ? candidates->stride : type_width(candidates->type, candidates->dim);
    distance_init(&mmr.distance, distance_element(candidates->type), metric, candidates->dim, 0);
    mmr.prepared = mem_aligned_alloc(64, align_up(mmr.distance.query_size + 1, 64));
    mmr.near = mem_array_alloc(count + 1, sizeof *mmr.near);
    mmr.crowd = mem_array_alloc(count + 1, sizeof *mmr.crowd);
    if (mmr.prepared && mmr.near && mmr.crowd) {
        distance_prepare(&mmr.distance, query, mmr.prepared);
        choose(&mmr, lambda, limit, chosen, chosen_count);
    }
    bool done = mmr.prepared && mmr.near && mmr.crowd;
    mem_free(mmr.prepared);
    mem_free(mmr.near);
    mem_free(mmr.crowd);
    return done ? VECDB_OK : error_nomem("mmr");
}
