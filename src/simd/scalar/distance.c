/* Distances between vectors in plain C: the definition that every other instruction set is tested against. */
#include "simd/scalar/scalar.h"

float scalar_l2sq_f32(const void *query, const void *row, size_t dim)
{
    float sum = 0;

    for (size_t i = 0; i < dim; i++) {
        float d = load_f32(query, i) - load_f32(row, i);
        sum += d * d;
    }
    return sum;
}

float scalar_ip_f32(const void *query, const void *row, size_t dim)
{
    float sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += load_f32(query, i) * load_f32(row, i);
    return sum;
}

float scalar_l2sq_f16(const void *query, const void *row, size_t dim)
{
    float sum = 0;

    for (size_t i = 0; i < dim; i++) {
        float d = load_f32(query, i) - f32_of_f16(load_u16(row, i));
        sum += d * d;
    }
    return sum;
}

float scalar_ip_f16(const void *query, const void *row, size_t dim)
{
    float sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += load_f32(query, i) * f32_of_f16(load_u16(row, i));
    return sum;
}

float scalar_l2sq_bf16(const void *query, const void *row, size_t dim)
{
    float sum = 0;

    for (size_t i = 0; i < dim; i++) {
        float d = load_f32(query, i) - f32_of_bf16(load_u16(row, i));
        sum += d * d;
    }
    return sum;
}

float scalar_ip_bf16(const void *query, const void *row, size_t dim)
{
    float sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += load_f32(query, i) * f32_of_bf16(load_u16(row, i));
    return sum;
}

int32_t scalar_l2sq_i8(const void *query, const void *row, size_t dim)
{
    const int8_t *a = query, *b = row;
    int32_t sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

int32_t scalar_ip_i8(const void *query, const void *row, size_t dim)
{
    const int8_t *a = query, *b = row;
    int32_t sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += a[i] * b[i];
    return sum;
}

int32_t scalar_l2sq_u8(const void *query, const void *row, size_t dim)
{
    const uint8_t *a = query, *b = row;
    int32_t sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

int32_t scalar_ip_u8(const void *query, const void *row, size_t dim)
{
    const uint8_t *a = query, *b = row;
    int32_t sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += a[i] * b[i];
    return sum;
}

int32_t scalar_hamming_b1(const void *query, const void *row, size_t dim)
{
    const uint8_t *a = query, *b = row;
    size_t size = dim / 8, i = 0;
    unsigned sum = 0;

    for (; i + 8 <= size; i += 8)
        sum += count_bits(load_u64(a + i, 0) ^ load_u64(b + i, 0));
    for (; i < size; i++)
        sum += count_bits(a[i] ^ b[i]);
    return (int32_t)sum;
}

int32_t scalar_and_b1(const void *query, const void *row, size_t dim)
{
    const uint8_t *a = query, *b = row;
    size_t size = dim / 8, i = 0;
    unsigned sum = 0;

    for (; i + 8 <= size; i += 8)
        sum += count_bits(load_u64(a + i, 0) & load_u64(b + i, 0));
    for (; i < size; i++)
        sum += count_bits(a[i] & b[i]);
    return (int32_t)sum;
}

int32_t scalar_or_b1(const void *query, const void *row, size_t dim)
{
    const uint8_t *a = query, *b = row;
    size_t size = dim / 8, i = 0;
    unsigned sum = 0;

    for (; i + 8 <= size; i += 8)
        sum += count_bits(load_u64(a + i, 0) | load_u64(b + i, 0));
    for (; i < size; i++)
        sum += count_bits(a[i] | b[i]);
    return (int32_t)sum;
}

float scalar_jaccard_b1(const void *query, const void *row, size_t dim)
{
    int32_t either = scalar_or_b1(query, row, dim);

    return either ? 1.0f - (float)scalar_and_b1(query, row, dim) / (float)either : 0.0f;
}

DEFINE_SCALAR_SCAN(l2sq_f32, float)
DEFINE_SCALAR_SCAN(ip_f32, float)
DEFINE_SCALAR_SCAN(l2sq_f16, float)
DEFINE_SCALAR_SCAN(ip_f16, float)
DEFINE_SCALAR_SCAN(l2sq_bf16, float)
DEFINE_SCALAR_SCAN(ip_bf16, float)
DEFINE_SCALAR_SCAN(l2sq_i8, int32_t)
DEFINE_SCALAR_SCAN(ip_i8, int32_t)
DEFINE_SCALAR_SCAN(l2sq_u8, int32_t)
DEFINE_SCALAR_SCAN(ip_u8, int32_t)
DEFINE_SCALAR_SCAN(hamming_b1, int32_t)
DEFINE_SCALAR_SCAN(and_b1, int32_t)
DEFINE_SCALAR_SCAN(or_b1, int32_t)
DEFINE_SCALAR_SCAN(jaccard_b1, float)

void scalar_l2sq_f32_tile(const void *queries, size_t query_stride, size_t nq, const void *rows,
                          size_t row_stride, size_t n, size_t dim, float *out, size_t out_stride)
{
    for (size_t i = 0; i < nq; i++)
        scalar_l2sq_f32_rows((const char *)queries + i * query_stride, rows, row_stride, n, dim,
                             out + i * out_stride);
}

void scalar_ip_f32_tile(const void *queries, size_t query_stride, size_t nq, const void *rows,
                        size_t row_stride, size_t n, size_t dim, float *out, size_t out_stride)
{
    for (size_t i = 0; i < nq; i++)
        scalar_ip_f32_rows((const char *)queries + i * query_stride, rows, row_stride, n, dim,
                           out + i * out_stride);
}

/* A scalar panel is simply the rows, one after another. */

static void copy_rows(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t row_size,
                      void *panel)
{
    for (size_t i = 0; i < n && row_size; i++)
        memcpy((char *)panel + i * row_size, (const char *)base + (ids ? ids[i] : i) * stride, row_size);
}

size_t scalar_f32_panel_size(size_t n, size_t dim)
{
    return n * dim * sizeof(float);
}

void scalar_f32_pack(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                     void *panel)
{
    copy_rows(base, stride, ids, n, dim * sizeof(float), panel);
}

void scalar_f32_multiply(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                         size_t dim, float factor, const float *bias, float *out, size_t out_stride)
{
    for (size_t i = 0; i < nq; i++) {
        float *line = out + i * out_stride;
        scalar_ip_f32_rows((const char *)queries + i * query_stride, panel, dim * sizeof(float), n, dim,
                           line);
        for (size_t j = 0; j < n; j++)
            line[j] = (bias ? bias[j] : 0.0f) + factor * line[j];
    }
}

size_t scalar_u8_panel_size(size_t n, size_t dim)
{
    return n * dim;
}

void scalar_u8_pack(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                    void *panel)
{
    copy_rows(base, stride, ids, n, dim, panel);
}

void scalar_u8_multiply(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                        size_t dim, int32_t *out, size_t out_stride)
{
    for (size_t i = 0; i < nq; i++)
        scalar_ip_u8_rows((const char *)queries + i * query_stride, panel, dim, n, dim,
                          out + i * out_stride);
}

void scalar_u8_l2sq(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                    size_t dim, int32_t *out, size_t out_stride)
{
    for (size_t i = 0; i < nq; i++)
        scalar_l2sq_u8_rows((const char *)queries + i * query_stride, panel, dim, n, dim,
                            out + i * out_stride);
}

void scalar_i8_multiply(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                        size_t dim, int32_t *out, size_t out_stride)
{
    for (size_t i = 0; i < nq; i++)
        scalar_ip_i8_rows((const char *)queries + i * query_stride, panel, dim, n, dim,
                          out + i * out_stride);
}

void scalar_i8_l2sq(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                    size_t dim, int32_t *out, size_t out_stride)
{
    for (size_t i = 0; i < nq; i++)
        scalar_l2sq_i8_rows((const char *)queries + i * query_stride, panel, dim, n, dim,
                            out + i * out_stride);
}

void scalar_ip_u8i8_blocks(const void *query, const void *blocks, size_t n_blocks, size_t dim, int32_t *out)
{
    const uint8_t *q = query;
    const int8_t *rows = blocks;

    for (size_t b = 0; b < n_blocks; b++, out += SIMD_BLOCK_ROWS) {
        for (size_t r = 0; r < SIMD_BLOCK_ROWS; r++)
            out[r] = 0;
        for (size_t i = 0; i < dim; i += 4, rows += 4 * SIMD_BLOCK_ROWS)
            for (size_t r = 0; r < SIMD_BLOCK_ROWS; r++)
                for (size_t j = 0; j < 4; j++)
                    out[r] += q[i + j] * rows[4 * r + j];
    }
}

const struct distance_kernels distance_scalar = {
    .l2sq_f32 = SCALAR_SCAN(l2sq_f32),
    .ip_f32 = SCALAR_SCAN(ip_f32),
    .l2sq_f16 = SCALAR_SCAN(l2sq_f16),
    .ip_f16 = SCALAR_SCAN(ip_f16),
    .l2sq_bf16 = SCALAR_SCAN(l2sq_bf16),
    .ip_bf16 = SCALAR_SCAN(ip_bf16),
    .l2sq_i8 = SCALAR_SCAN(l2sq_i8),
    .ip_i8 = SCALAR_SCAN(ip_i8),
    .l2sq_u8 = SCALAR_SCAN(l2sq_u8),
    .ip_u8 = SCALAR_SCAN(ip_u8),
    .hamming_b1 = SCALAR_SCAN(hamming_b1),
    .and_b1 = SCALAR_SCAN(and_b1),
    .or_b1 = SCALAR_SCAN(or_b1),
    .jaccard_b1 = SCALAR_SCAN(jaccard_b1),
    .l2sq_f32_tile = scalar_l2sq_f32_tile,
    .ip_f32_tile = scalar_ip_f32_tile,
    .f32_panel_size = scalar_f32_panel_size,
    .f32_pack = scalar_f32_pack,
    .f32_multiply = scalar_f32_multiply,
    .u8_panel_size = scalar_u8_panel_size,
    .u8_pack = scalar_u8_pack,
    .u8_multiply = scalar_u8_multiply,
    .u8_l2sq = scalar_u8_l2sq,
    .i8_pack = scalar_u8_pack,
    .i8_multiply = scalar_i8_multiply,
    .i8_l2sq = scalar_i8_l2sq,
    .ip_u8i8_blocks = scalar_ip_u8i8_blocks,
};
