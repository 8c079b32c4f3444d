/* Quantized codes in plain C: the definition the other instruction sets follow. */
#include <float.h>
#include <math.h>

#include "simd/scalar/scalar.h"
#include "simd/vectors.h"

#define SCALAR(name) scalar_##name

/* ---- dot products of codes ---- */

int32_t scalar_dot_u8s8(const void *query, const void *row, size_t dim)
{
    const int8_t *q = query;
    const uint8_t *code = row;
    int32_t sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += q[i] * code[i];
    return sum;
}

float scalar_dot_u8s8x2(const void *query, const void *row, size_t dim)
{
    const int8_t *high = query, *low = high + dim;

    return (float)scalar_dot_u8s8(high, row, dim) * 128.0f + (float)scalar_dot_u8s8(low, row, dim);
}

float scalar_dot_u8f32(const void *query, const void *row, size_t dim)
{
    const uint8_t *code = row;
    float sum = 0;

    for (size_t i = 0; i < dim; i++)
        sum += load_f32(query, i) * (float)code[i];
    return sum;
}

/* One block of 64 values out of its fields; see SIMD_CODE_BLOCK in kernels.h. */
static void unpack_block(const uint8_t *code, unsigned bits, uint8_t *values)
{
    unsigned rest = bits;

    if (bits == 8) {
        memcpy(values, code, 64);
        return;
    }
    memset(values, 0, 64);
    for (unsigned width = 4; width; width /= 2) {
        unsigned bytes = 8 * width;
        if (!(rest & width))
            continue;
        rest -= width;
        for (unsigned i = 0; i < 64; i++) {
            unsigned field = width == 1 ? code[i / 8] >> i % 8 : code[i % bytes] >> i / bytes * width;
            values[i] |= (uint8_t)((field & ((1u << width) - 1)) << rest);
        }
        code += bytes;
    }
}

static void pack_block(const uint8_t *values, unsigned bits, uint8_t *code)
{
    unsigned rest = bits;

    if (bits == 8) {
        memcpy(code, values, 64);
        return;
    }
    memset(code, 0, 8 * bits);
    for (unsigned width = 4; width; width /= 2) {
        unsigned bytes = 8 * width;
        if (!(rest & width))
            continue;
        rest -= width;
        for (unsigned i = 0; i < 64; i++) {
            unsigned field = values[i] >> rest & ((1u << width) - 1);
            if (width == 1)
                code[i / 8] |= (uint8_t)(field << i % 8);
            else
                code[i % bytes] |= (uint8_t)(field << i / bytes * width);
        }
        code += bytes;
    }
}

static int32_t dot_code(const void *query, const void *row, size_t dim, unsigned bits)
{
    const int8_t *q = query;
    const uint8_t *code = row;
    uint8_t values[64];
    int32_t sum = 0;

    for (size_t i = 0; i < dim; i += 64, code += 8 * bits) {
        unpack_block(code, bits, values);
        sum += scalar_dot_u8s8(q + i, values, 64);
    }
    return sum;
}

#define DEFINE_DOT_CODE(bits)                                                              \
    int32_t scalar_dot_code##bits(const void *query, const void *row, size_t dim)         \
    {                                                                                      \
        return dot_code(query, row, dim, bits);                                            \
    }                                                                                      \
    DEFINE_SCALAR_SCAN(dot_code##bits, int32_t)

DEFINE_DOT_CODE(1)
DEFINE_DOT_CODE(2)
DEFINE_DOT_CODE(3)
DEFINE_DOT_CODE(4)
DEFINE_DOT_CODE(5)
DEFINE_DOT_CODE(6)
DEFINE_DOT_CODE(7)

int32_t scalar_dot_b1u4(const void *query, const void *row, size_t dim)
{
    const char *plane = query;
    int32_t sum = 0;

    for (int bit = 0; bit < 4; bit++, plane += dim / 8)
        sum += scalar_and_b1(plane, row, dim) << bit;
    return sum;
}

/* Every instruction set's version: lookups in memory gain nothing from wide registers, but from four sums, so that none
 * waits for the addition before it, and from tables that stay in the first-level cache: 16 at a time for many rows. */
static float pq8_part(const char *tables, const uint8_t *code, size_t n)
{
    float sum0 = 0, sum1 = 0, sum2 = 0, sum3 = 0;
    size_t i = 0;

    for (; i + 8 <= n; i += 8, tables += 8192) {
        uint64_t eight = load_u64(code + i, 0);
        sum0 += load_f32(tables, eight & 255);
        sum1 += load_f32(tables, 256 + (eight >> 8 & 255));
        sum2 += load_f32(tables, 512 + (eight >> 16 & 255));
        sum3 += load_f32(tables, 768 + (eight >> 24 & 255));
        sum0 += load_f32(tables, 1024 + (eight >> 32 & 255));
        sum1 += load_f32(tables, 1280 + (eight >> 40 & 255));
        sum2 += load_f32(tables, 1536 + (eight >> 48 & 255));
        sum3 += load_f32(tables, 1792 + (eight >> 56));
    }
    for (; i < n; i++, tables += 1024)
        sum0 += load_f32(tables, code[i]);
    return (sum0 + sum1) + (sum2 + sum3);
}

float scalar_pq8(const void *query, const void *row, size_t dim)
{
    return pq8_part(query, row, dim);
}

static void pq8_many(const char *tables, const char *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                     float *out)
{
    enum { TABLES = 16, ROWS = 128 };

    for (size_t first = 0; first < n; first += ROWS) {
        size_t last = n - first < ROWS ? n : first + ROWS;
        memset(out + first, 0, (last - first) * sizeof *out);
        for (size_t table = 0; table < dim; table += TABLES) {
            size_t some = dim - table < TABLES ? dim - table : TABLES;
            for (size_t i = first; i < last; i++) {
                const char *row = base + (ids ? ids[i] : i) * stride;
                out[i] += pq8_part(tables + table * 1024, (const uint8_t *)row + table, some);
            }
        }
    }
}

void scalar_pq8_rows(const void *query, const void *rows, size_t stride, size_t n, size_t dim, float *out)
{
    pq8_many(query, rows, stride, NULL, n, dim, out);
}

void scalar_pq8_gather(const void *query, const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                       float *out)
{
    pq8_many(query, base, stride, ids, n, dim, out);
}

DEFINE_SCALAR_SCAN(dot_u8s8, int32_t)
DEFINE_SCALAR_SCAN(dot_u8s8x2, float)
DEFINE_SCALAR_SCAN(dot_u8f32, float)
DEFINE_SCALAR_SCAN(dot_b1u4, int32_t)

/* ---- packing ---- */

void scalar_code_pack(const uint8_t *values, size_t dim, unsigned bits, uint8_t *code)
{
    uint8_t last[64] = {0};

    for (; dim >= 64; dim -= 64, values += 64, code += 8 * bits)
        pack_block(values, bits, code);
    if (dim) {
        memcpy(last, values, dim);
        pack_block(last, bits, code);
    }
}

void scalar_code_unpack(const uint8_t *code, size_t dim, unsigned bits, uint8_t *values)
{
    uint8_t last[64];

    for (; dim >= 64; dim -= 64, values += 64, code += 8 * bits)
        unpack_block(code, bits, values);
    if (dim) {
        unpack_block(code, bits, last);
        memcpy(values, last, dim);
    }
}

void scalar_fastscan_pack(const uint8_t *rows, size_t stride, size_t n, size_t tables, uint8_t *block)
{
    for (size_t table = 0; table < tables; table++)
        for (size_t j = 0; j < 16; j++) {
            size_t v = j / 2 + (j % 2 ? 8 : 0);
            unsigned low = v < n ? rows[v * stride + table] & 15u : 0;
            unsigned high = v + 16 < n ? rows[(v + 16) * stride + table] & 15u : 0;
            block[table * 16 + j] = (uint8_t)(low | high << 4);
        }
}

void scalar_fastscan(const uint8_t *blocks, size_t n_blocks, size_t tables, const uint8_t *const *luts, size_t nq,
                     int32_t *out, size_t out_stride)
{
    for (size_t q = 0; q < nq; q++)
        for (size_t b = 0; b < n_blocks; b++) {
            const uint8_t *code = blocks + b * tables * 16, *lut = luts[q];
            int32_t *sums = out + q * out_stride + b * 32;

            memset(sums, 0, 32 * sizeof *sums);
            for (size_t table = 0; table < tables; table++, lut += 16)
                for (size_t j = 0; j < 16; j++, code++) {
                    size_t v = j / 2 + (j % 2 ? 8 : 0);
                    sums[v] += lut[*code & 15];
                    sums[v + 16] += lut[*code >> 4];
                }
        }
}

/* ---- scoring ---- */

void scalar_score_i32(const int32_t *ip, const float *a, const float *b, size_t n, float g, float scale,
                      float k, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (a ? a[i] : 0.0f) + g + (b ? b[i] : 1.0f) * (scale * (float)ip[i] + k);
}

void scalar_score_i32_gather(const int32_t *ip, const uint32_t *ids, const float *a, const float *b, size_t n,
                             float g, float scale, float k, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (a ? a[ids[i]] : 0.0f) + g + (b ? b[ids[i]] : 1.0f) * (scale * (float)ip[i] + k);
}

const struct code_kernels codes_scalar = {
    .dot_u8s8 = SCALAR_SCAN(dot_u8s8),
    .dot_u8s8x2 = SCALAR_SCAN(dot_u8s8x2),
    .dot_u8f32 = SCALAR_SCAN(dot_u8f32),
    .dot_code =
        {
            [1] = SCALAR_SCAN(dot_code1),
            [2] = SCALAR_SCAN(dot_code2),
            [3] = SCALAR_SCAN(dot_code3),
            [4] = SCALAR_SCAN(dot_code4),
            [5] = SCALAR_SCAN(dot_code5),
            [6] = SCALAR_SCAN(dot_code6),
            [7] = SCALAR_SCAN(dot_code7),
            [8] = SCALAR_SCAN(dot_u8s8),
        },
    .dot_b1u4 = SCALAR_SCAN(dot_b1u4),
    .pq8 = SCALAR_SCAN(pq8),
    .code_pack = scalar_code_pack,
    .code_unpack = scalar_code_unpack,
    .fastscan_pack = scalar_fastscan_pack,
    .fastscan = scalar_fastscan,
    .score_i32 = scalar_score_i32,
    .score_i32_gather = scalar_score_i32_gather,
    VECTOR_KERNELS(SCALAR),
};
