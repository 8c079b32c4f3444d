/* Merging: what the largest part has learned serves all rows, unless the others lie elsewhere. Then only the rows' lists and
 * codes are made anew, which is the smaller part of building. */
#include "index/ivf_job.h"

#include "base/bitmap.h"
#include "base/mem.h"

#include <math.h>

#define SAMPLE 2048
#define SAMPLE_LEAST 64
#define MOVED 1.25 /* the others' mean squared distance to their centroids, over that of rows that were learned from */

/* The part that most rows come from. */
static size_t choose_largest(size_t row_count, struct index *const *parts, const uint32_t *const *row_maps,
                             size_t part_count)
{
    size_t best = 0, most = 0;

    for (size_t i = 0; i < part_count; i++) {
        size_t kept = 0;
        for (size_t row = 0; row < parts[i]->vectors.row_count; row++)
            kept += row_maps[i][row] < row_count;
        if (kept > most) {
            best = i;
            most = kept;
        }
    }
    return best;
}

/* The mean squared distance of some rows to the nearest centroid. */
static vecdb_status measure(const struct ivf *like, const struct kmeans_assigner *assigner, const struct vectors *vectors,
                            const uint32_t *rows, size_t count, double *mean)
{
    size_t dim = like->coder.code_dim;
    float *floats = mem_aligned_alloc(64, (count * dim + 1) * sizeof *floats);
    float *scratch = mem_aligned_alloc(64, kmeans_scratch_floats(assigner) * sizeof *scratch);
    float *distances = mem_array_alloc(count + 1, sizeof *distances);
    uint32_t *lists = mem_array_alloc(count + 1, sizeof *lists);
    vecdb_status status = floats && scratch && distances && lists ? VECDB_OK : error_nomem(like->kind->owner);

    *mean = 0;
    if (status == VECDB_OK) {
        for (size_t i = 0; i < count; i++)
            coder_floats(&like->coder, vectors_row(vectors, rows[i]), floats + i * dim);
        kmeans_assign(assigner, floats, dim, count, scratch, lists, distances);
        for (size_t i = 0; i < count; i++)
            *mean += fmax(distances[i], 0) / (double)count;
    }
    mem_free(floats);
    mem_free(scratch);
    mem_free(distances);
    mem_free(lists);
    return status;
}

/* Every so-many-th of the rows that are of one kind. */
static size_t pick(const struct vectors *vectors, const uint64_t *known, bool which, uint32_t *out)
{
    size_t there = 0, step, n = 0, at = 0;

    for (size_t row = 0; row < vectors->row_count; row++)
        there += bitmap_get(known, row) == which && (!vectors->present || bitmap_get(vectors->present, row));
    step = there / SAMPLE + 1;
    for (size_t row = 0; row < vectors->row_count && n < SAMPLE; row++)
        if (bitmap_get(known, row) == which && (!vectors->present || bitmap_get(vectors->present, row)) && at++ % step == 0)
            out[n++] = (uint32_t)row;
    return n;
}

/* Whether rows that are not of the part lie farther from its centroids than its own. */
static vecdb_status has_moved(const struct ivf *like, const struct vectors *vectors, const uint32_t *row_map, bool *moved)
{
    uint64_t *known = mem_array_zalloc(bitmap_words(vectors->row_count) + 1, sizeof *known);
    uint32_t *rows = mem_array_alloc(SAMPLE, sizeof *rows);
    struct kmeans_assigner assigner = {0};
    vecdb_status status = known && rows ? VECDB_OK : error_nomem(like->kind->owner);
    double own, others;
    size_t count;

    *moved = false;
    if (status == VECDB_OK)
        status = kmeans_assigner_init(&assigner, like->centroids, like->list_count, like->coder.code_dim);
    if (status == VECDB_OK) {
        for (size_t row = 0; row < like->base.vectors.row_count; row++)
            if (row_map[row] < vectors->row_count)
                bitmap_set(known, row_map[row]);
        count = pick(vectors, known, true, rows);
        status = measure(like, &assigner, vectors, rows, count, &own);
        *moved = count < SAMPLE_LEAST;
        if (status == VECDB_OK && (count = pick(vectors, known, false, rows)) > 0) {
            status = measure(like, &assigner, vectors, rows, count, &others);
            *moved = *moved || !(others <= MOVED * own);
        }
    }
    kmeans_assigner_deinit(&assigner);
    mem_free(known);
    mem_free(rows);
    return status;
}

vecdb_status ivf_merge(const struct ivf_kind *kind, const struct vectors *vectors, vecdb_metric metric,
                       const struct params *params, struct index *const *parts, const uint32_t *const *row_maps,
                       size_t part_count, const struct index_build_context *context, struct index **out)
{
    const struct ivf *like = NULL;
    bool moved = true;
    size_t largest;

    *out = NULL;
    if (part_count > 0) {
        largest = choose_largest(vectors->row_count, parts, row_maps, part_count);
        if (parts[largest]->ops == kind->ops) {
            like = (const struct ivf *)parts[largest];
            TRY(has_moved(like, vectors, row_maps[largest], &moved));
        }
    }
    return ivf_build_like(kind, moved ? NULL : like, vectors, metric, params, context, out);
}
