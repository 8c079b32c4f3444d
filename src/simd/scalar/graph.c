/* What graphs need beyond distances: the definitions. */
#include "simd/graph.h"
#include "simd/graph_scan.h"

#include <stdbool.h>

static void l2sq_u8_part(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, size_t from,
                         size_t to, uint32_t *out)
{
    const uint8_t *q = query;

    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = base + (size_t)ids[i] * dim;
        uint32_t sum = from ? out[i] : 0;
        for (size_t d = from; d < to; d++) {
            int difference = q[d] - row[d];
            sum += (uint32_t)(difference * difference);
        }
        out[i] = sum;
    }
}

static void l2sq_u8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    l2sq_u8_part(query, base, ids, n, dim, 0, dim, out);
}

static void dot_u8s8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    const int8_t *q = query;

    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = base + (size_t)ids[i] * dim;
        int32_t sum = 0;
        for (size_t d = 0; d < dim; d++)
            sum += q[d] * row[d];
        out[i] = 0x80000000u - (uint32_t)sum;
    }
}

static void sketch_signs(const float *x, const float *y, size_t dim, size_t stride, uint64_t *bits, float *size, float *along)
{
    *size = *along = 0;
    for (size_t w = 0; w < dim / 64; w++) {
        uint64_t word = 0;
        for (size_t i = w * 64; i < w * 64 + 64; i++) {
            bool positive = x[i] >= 0;
            *size += positive ? x[i] : -x[i];
            *along += positive ? y[i] : -y[i];
            word |= (uint64_t)positive << (i % 64);
        }
        bits[w * stride] = word;
    }
}

static float sketch_query(const float *x, size_t dim, uint64_t *planes)
{
    float most = 0, step;

    for (size_t i = 0; i < dim; i++)
        most = x[i] > most ? x[i] : -x[i] > most ? -x[i] : most;
    step = most > 0 ? most / 7.5f : 1;
    for (size_t w = 0; w < dim / 64; w++) {
        uint64_t bits[4] = {0};
        for (size_t i = 0; i < 64; i++) {
            unsigned level = (unsigned)(x[w * 64 + i] / step + 8);
            level = level > 15 ? 15 : level;
            for (size_t p = 0; p < 4; p++)
                bits[p] |= (uint64_t)(level >> p & 1) << i;
        }
        for (size_t p = 0; p < 4; p++)
            planes[4 * w + p] = bits[p];
    }
    return step;
}

const struct graph_kernels graph_scalar = {
    .l2sq_u8 = l2sq_u8,
    .l2sq_u8_part = l2sq_u8_part,
    .dot_u8s8 = dot_u8s8,
    .sketch_signs = sketch_signs,
    .sketch_query = sketch_query,
    .sketch_choose = plain_sketch_choose,
    .sketch_near = plain_sketch_near,
    .smallest_i32 = plain_smallest_i32,
};
