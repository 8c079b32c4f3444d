/* A vecdb plug-in: the metric L1, a filter function, and an index kind PIVOTS for that metric and for every other metric that is a distance in the sense
 * of the triangle inequality. Some rows are pivots; each row keeps its distances to them. As |d(q, p) - d(x, p)| <= d(q, x),
 * most rows are passed over without looking at their vectors: the search is exact.
 *
 * Nothing here is known to vecdb before pivots_register() is called; include/vecdb_plugin.h is all it needs. */
#include "pivots.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the metric ---- */

static float l1(const void *a, const void *b, vecdb_type type, uint32_t dim, void *context)
{
    const float *x = a, *y = b;
    double sum = 0;

    (void)type, (void)context;
    for (uint32_t i = 0; i < dim; i++)
        sum += fabs((double)x[i] - (double)y[i]);
    return (float)sum;
}

/* ---- the index ---- */

/* Stored: u64 row count, u64 pivot count, u32 pivots, float distances, row after row. */
struct pivots {
    const vecdb_plugin_vectors *vectors;
    vecdb_metric metric;
    uint64_t row_count, pivot_count;
    const uint32_t *rows;      /* of the pivots */
    const float *distances;    /* row_count x pivot_count */
    void *owned;               /* both, where they were built */
};

static const vecdb_plugin_param build_params[] = {
    {"pivots", 16, 1, 256, "rows that the others keep their distances to", NULL, false},
    {NULL, 0, 0, 0, NULL, NULL, false},
};
static const vecdb_plugin_param search_params[] = {
    {"slack", 0, 0, 1, "share of a bound that is ignored: 0 for exact search", NULL, true},
    {NULL, 0, 0, 0, NULL, NULL, false},
};

static bool is_set(const uint64_t *bits, uint64_t i) { return !bits || (bits[i / 64] >> (i % 64) & 1); }

static float distance_between(const struct pivots *index, const void *query, uint64_t row)
{
    return vecdb_plugin_distance(index->metric, index->vectors->type, index->vectors->dim, query,
                                 vecdb_plugin_row(index->vectors, row));
}

static vecdb_status build(const vecdb_plugin_vectors *vectors, vecdb_metric metric, const double *params, void *context, void **out)
{
    uint64_t rows = vectors->row_count, wanted = (uint64_t)params[0], count = rows < wanted ? rows : wanted;
    struct pivots *index = calloc(1, sizeof *index);
    uint32_t *pivots = malloc(count * sizeof *pivots + rows * count * sizeof(float) + 1);
    float *distances = (float *)(pivots + count);

    (void)context;
    if (!index || !pivots) {
        free(index), free(pivots);
        return vecdb_plugin_fail(VECDB_ERR_NOMEM, "PIVOTS: out of memory");
    }
    *index = (struct pivots){vectors, metric, rows, count, pivots, distances, pivots};
    for (uint64_t p = 0; p < count; p++) /* any rows do; these are spread */
        pivots[p] = (uint32_t)(p * rows / count);
    for (uint64_t row = 0; row < rows; row++)
        for (uint64_t p = 0; p < count; p++)
            distances[row * count + p] = is_set(vectors->present, row) ? distance_between(index, vecdb_plugin_row(vectors, pivots[p]), row) : 0;
    *out = index;
    return VECDB_OK;
}

/* Put a hit among the k best, sorted by distance and row. */
static void insert(vecdb_plugin_hit *hits, uint32_t *count, uint32_t k, vecdb_plugin_hit hit)
{
    uint32_t at = *count < k ? (*count)++ : k - 1;

    while (at > 0 && (hits[at - 1].distance > hit.distance || (hits[at - 1].distance == hit.distance && hits[at - 1].row > hit.row))) {
        hits[at] = hits[at - 1];
        at--;
    }
    hits[at] = hit;
}

static vecdb_status search(const void *of, const vecdb_plugin_search *asked, vecdb_plugin_hit *hits, uint32_t *count)
{
    const struct pivots *index = of;
    float to_pivot[256], keep = (float)(1 - asked->params[0]);

    *count = 0;
    for (uint64_t p = 0; p < index->pivot_count; p++)
        to_pivot[p] = distance_between(index, asked->query, index->rows[p]);
    for (uint64_t row = 0; row < index->row_count; row++) {
        const float *own = index->distances + row * index->pivot_count;
        float bound = asked->has_radius ? asked->radius : INFINITY, distance;
        bool near = true;
        if (row % 4096 == 0 && asked->stop(asked))
            return VECDB_ERR_CANCELLED;
        if (!is_set(asked->allowed, row))
            continue;
        if (*count == asked->k && hits[*count - 1].distance < bound)
            bound = hits[*count - 1].distance;
        for (uint64_t p = 0; p < index->pivot_count && near; p++) /* with some room for rounding */
            near = fabsf(to_pivot[p] - own[p]) * keep <= bound * 1.0001f + 1e-6f;
        if (!near)
            continue;
        distance = distance_between(index, asked->query, row);
        if ((!asked->has_radius || distance < asked->radius) && (*count < asked->k || distance < bound))
            insert(hits, count, asked->k, (vecdb_plugin_hit){distance, (uint32_t)row});
    }
    return VECDB_OK;
}

static vecdb_status save(const void *of, vecdb_status (*write)(void *to, const void *bytes, size_t size), void *to)
{
    const struct pivots *index = of;
    const uint64_t head[2] = {index->row_count, index->pivot_count};
    vecdb_status status = write(to, head, sizeof head);

    if (status == VECDB_OK)
        status = write(to, index->rows, index->pivot_count * sizeof *index->rows);
    if (status == VECDB_OK)
        status = write(to, index->distances, index->row_count * index->pivot_count * sizeof *index->distances);
    return status;
}

static vecdb_status open_stored(const void *bytes, size_t size, const vecdb_plugin_vectors *vectors, vecdb_metric metric,
                                const double *params, void *context, void **out)
{
    struct pivots *index;
    uint64_t head[2];

    (void)params, (void)context;
    if (size < sizeof head)
        return vecdb_plugin_fail(VECDB_ERR_CORRUPT, "PIVOTS: too short");
    memcpy(head, bytes, sizeof head);
    if (head[0] != vectors->row_count || head[1] > 256 || (head[1] == 0 && head[0]) || size != sizeof head + head[1] * 4 + head[0] * head[1] * 4)
        return vecdb_plugin_fail(VECDB_ERR_CORRUPT, "PIVOTS: the counts do not fit the rows");
    if (!(index = calloc(1, sizeof *index)))
        return vecdb_plugin_fail(VECDB_ERR_NOMEM, "PIVOTS: out of memory");
    *index = (struct pivots){vectors, metric, head[0], head[1], (const uint32_t *)((const char *)bytes + sizeof head), NULL, NULL};
    index->distances = (const float *)(index->rows + head[1]);
    for (uint64_t p = 0; p < head[1]; p++)
        if (index->rows[p] >= head[0]) {
            free(index);
            return vecdb_plugin_fail(VECDB_ERR_CORRUPT, "PIVOTS: a pivot is no row");
        }
    *out = index;
    return VECDB_OK;
}

static void free_index(void *of)
{
    struct pivots *index = of;

    free(index->owned);
    free(index);
}

static uint64_t memory(const void *of)
{
    const struct pivots *index = of;

    return sizeof *index + index->pivot_count * 4 + index->row_count * index->pivot_count * 4;
}

/* ---- a filter function: divides(field, 7) ---- */

static int divides(const vecdb_plugin_value *arguments, uint32_t count, void *context)
{
    (void)count, (void)context;
    if (arguments[0].kind != VECDB_PLUGIN_INTEGER || arguments[1].kind != VECDB_PLUGIN_INTEGER || arguments[1].integer == 0)
        return -1;
    return arguments[0].integer % arguments[1].integer == 0;
}

/* ---- all of them ---- */

vecdb_status pivots_register(void)
{
    vecdb_plugin_metric metric = VECDB_PLUGIN_METRIC_INIT;
    vecdb_plugin_function function = VECDB_PLUGIN_FUNCTION_INIT;
    vecdb_plugin_index index = VECDB_PLUGIN_INDEX_INIT;
    vecdb_status status;

    metric.name = "L1";
    metric.number = PIVOTS_METRIC_L1;
    metric.types = VECDB_PLUGIN_TYPE(VECDB_TYPE_FLOAT_VECTOR);
    metric.distance = l1;
    if ((status = vecdb_plugin_register_metric(&metric)) != VECDB_OK)
        return status;
    function.name = "divides";
    function.argument_count = 2;
    function.test = divides;
    if ((status = vecdb_plugin_register_function(&function)) != VECDB_OK)
        return status;
    index.name = "PIVOTS";
    index.format = 1;
    index.types = VECDB_PLUGIN_TYPE(VECDB_TYPE_FLOAT_VECTOR) | VECDB_PLUGIN_TYPE(VECDB_TYPE_BINARY_VECTOR);
    index.metrics = UINT64_C(1) << VECDB_METRIC_HAMMING | UINT64_C(1) << VECDB_METRIC_JACCARD | UINT64_C(1) << 63;
    index.build_params = build_params, index.search_params = search_params;
    index.build = build, index.search = search, index.save = save, index.open = open_stored;
    index.free = free_index, index.memory = memory;
    return vecdb_plugin_register_index(&index);
}
