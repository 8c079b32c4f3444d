#include "index/graph_exact.h"

#include "simd/kernels.h"

#include <math.h>

void graph_exact_init(struct graph_exact *exact, const struct vectors *vectors, vecdb_metric metric, const void *query,
                      float *scratch)
{
    const struct code_kernels *kernels = simd_codes();

    *exact = (struct graph_exact){.vectors = vectors, .metric = metric, .query = query};
    if (vectors->type == VECDB_TYPE_FLOAT16_VECTOR) {
        kernels->f32_from_f16(query, vectors->dim, scratch);
        exact->query = scratch;
    } else if (vectors->type == VECDB_TYPE_BFLOAT16_VECTOR) {
        kernels->f32_from_bf16(query, vectors->dim, scratch);
        exact->query = scratch;
    }
    if (metric == VECDB_METRIC_COSINE)
        exact->query_length = vectors->type == VECDB_TYPE_INT8_VECTOR
                                  ? sqrtf((float)kernels->sumsq_i8(query, vectors->dim))
                                  : sqrtf(kernels->sumsq_f32(exact->query, vectors->dim));
}

static float product(const struct graph_exact *exact, const void *row, float *length)
{
    const struct distance_kernels *kernels = simd_distance();
    size_t dim = exact->vectors->dim;
    float x[256], sum = 0;
    size_t width = 2;

    switch (exact->vectors->type) {
    case VECDB_TYPE_INT8_VECTOR:
        if (length)
            *length = (float)simd_codes()->sumsq_i8(row, dim);
        return (float)kernels->ip_i8.one(exact->query, row, dim);
    case VECDB_TYPE_FLOAT_VECTOR:
        if (length)
            *length = simd_codes()->sumsq_f32(row, dim);
        return kernels->ip_f32.one(exact->query, row, dim);
    default:
        break;
    }
    if (length) {
        for (size_t i = 0; i < dim; i += 256) {
            size_t n = dim - i < 256 ? dim - i : 256;
            if (exact->vectors->type == VECDB_TYPE_FLOAT16_VECTOR)
                simd_codes()->f32_from_f16((const char *)row + i * width, n, x);
            else
                simd_codes()->f32_from_bf16((const char *)row + i * width, n, x);
            sum += simd_codes()->sumsq_f32(x, n);
        }
        *length = sum;
    }
    return exact->vectors->type == VECDB_TYPE_FLOAT16_VECTOR ? kernels->ip_f16.one(exact->query, row, dim)
                                                             : kernels->ip_bf16.one(exact->query, row, dim);
}

static float distance_to(const struct graph_exact *exact, const void *row)
{
    const struct distance_kernels *kernels = simd_distance();
    size_t dim = exact->vectors->dim;
    float length, ip;

    switch (exact->metric) {
    case VECDB_METRIC_HAMMING:
        return (float)kernels->hamming_b1.one(exact->query, row, dim);
    case VECDB_METRIC_JACCARD:
        return kernels->jaccard_b1.one(exact->query, row, dim);
    case VECDB_METRIC_IP:
        return -product(exact, row, NULL);
    case VECDB_METRIC_COSINE:
        ip = product(exact, row, &length);
        return length > 0 ? 1 - ip / (sqrtf(length) * exact->query_length) : 1;
    default:
        break;
    }
    switch (exact->vectors->type) {
    case VECDB_TYPE_INT8_VECTOR:
        return (float)kernels->l2sq_i8.one(exact->query, row, dim);
    case VECDB_TYPE_FLOAT16_VECTOR:
        return kernels->l2sq_f16.one(exact->query, row, dim);
    case VECDB_TYPE_BFLOAT16_VECTOR:
        return kernels->l2sq_bf16.one(exact->query, row, dim);
    default:
        return kernels->l2sq_f32.one(exact->query, row, dim);
    }
}

/* Long rows are left to the hardware's own prefetcher after their first lines. */
#define AHEAD_ROWS 6
#define AHEAD_BYTES 1024

void graph_exact_distances(const struct graph_exact *exact, const uint32_t *rows, size_t n, float *out)
{
    const struct vectors *vectors = exact->vectors;
    size_t bytes = vectors->width < AHEAD_BYTES ? vectors->width : AHEAD_BYTES;

    for (size_t i = 0; i < n && i < AHEAD_ROWS; i++)
        simd_prefetch(vectors_row(vectors, rows[i]), bytes);
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD_ROWS < n)
            simd_prefetch(vectors_row(vectors, rows[i + AHEAD_ROWS]), bytes);
        out[i] = distance_to(exact, vectors_row(vectors, rows[i]));
    }
}
