/* Quantized codes, rotations and conversions in plain C: the definition the other instruction sets follow. */
#include <float.h>
#include <math.h>

#include "simd/scalar/scalar.h"

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

/* ---- quantizing ---- */

static uint8_t quantize_u8(float v)
{
    v = v > 0.0f ? v : 0.0f; /* NaN becomes 0 */
    v = v < 255.0f ? v : 255.0f;
    return (uint8_t)round_even(v);
}

void scalar_sq8_encode(const float *x, size_t dim, float low, float inverse_step, uint8_t *code)
{
    for (size_t i = 0; i < dim; i++)
        code[i] = quantize_u8((x[i] - low) * inverse_step);
}

void scalar_sq8_encode_dims(const float *x, size_t dim, const float *low, const float *inverse_step,
                            uint8_t *code)
{
    for (size_t i = 0; i < dim; i++)
        code[i] = quantize_u8((x[i] - low[i]) * inverse_step[i]);
}

void scalar_sq8_decode(const uint8_t *code, size_t dim, float low, float step, float *x)
{
    for (size_t i = 0; i < dim; i++)
        x[i] = low + step * (float)code[i];
}

void scalar_sq8_decode_dims(const uint8_t *code, size_t dim, const float *low, const float *step, float *x)
{
    for (size_t i = 0; i < dim; i++)
        x[i] = low[i] + step[i] * (float)code[i];
}

static int quantize_signed(float v, float limit)
{
    v = v > -limit ? v : -limit;
    v = v < limit ? v : limit;
    return (int)round_even(v);
}

void scalar_quantize_i8(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    for (size_t i = 0; i < dim; i++)
        out[i] = (int8_t)quantize_signed(x[i] * inverse_step, 127.0f);
}

void scalar_quantize_i8x2(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    for (size_t i = 0; i < dim; i++) {
        int v = quantize_signed(x[i] * inverse_step, 127.0f * 128.0f);
        int high = (v + 64) >> 7;
        out[i] = (int8_t)high;
        out[dim + i] = (int8_t)(v - 128 * high);
    }
}

void scalar_rabitq_encode(const float *x, size_t dim, float t, unsigned bits, uint8_t *u)
{
    int half = 1 << (bits - 1);
    float most = (float)(half - 1);

    for (size_t i = 0; i < dim; i++) {
        float v = fabsf(x[i]) * t;
        int m = (int)(v < most ? v : most);
        u[i] = (uint8_t)(x[i] >= 0.0f ? half + m : half - 1 - m);
    }
}

/* ---- rotation ---- */

void scalar_hadamard(float *x, size_t n)
{
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
}

static void flip_signs(float *x, size_t dim, const uint8_t *signs)
{
    for (size_t i = 0; i < dim; i++)
        if (signs[i / 8] >> i % 8 & 1)
            x[i] = -x[i];
}

static void butterfly(float *x, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = (a + b) * (float)M_SQRT1_2;
        x[i + half] = (a - b) * (float)M_SQRT1_2;
    }
}

static size_t power_of_two_below(size_t n)
{
    size_t power = 1;

    while (power * 2 <= n)
        power *= 2;
    return power;
}

void scalar_rotate(float *x, size_t dim, const uint8_t *signs)
{
    size_t power = power_of_two_below(dim);

    if (!dim)
        return;
    for (int round = 0; round < 4; round++, signs += dim / 8) {
        float *part = round % 2 ? x + dim - power : x;
        flip_signs(x, dim, signs);
        scalar_hadamard(part, power);
        scalar_scale_f32(part, power, 1.0f / sqrtf((float)power));
        if (power != dim)
            butterfly(x, dim / 2);
    }
}

void scalar_unrotate(float *x, size_t dim, const uint8_t *signs)
{
    size_t power = power_of_two_below(dim);

    if (!dim)
        return;
    for (int round = 3; round >= 0; round--) { /* every step is its own inverse */
        float *part = round % 2 ? x + dim - power : x;
        if (power != dim)
            butterfly(x, dim / 2);
        scalar_hadamard(part, power);
        scalar_scale_f32(part, power, 1.0f / sqrtf((float)power));
        flip_signs(x, dim, signs + (size_t)round * (dim / 8));
    }
}

/* ---- conversion ---- */

void scalar_f32_from_f16(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f32_of_f16(load_u16(in, i));
}

void scalar_f32_from_bf16(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f32_of_bf16(load_u16(in, i));
}

void scalar_f32_from_i8(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((const int8_t *)in)[i];
}

void scalar_f32_from_u8(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((const uint8_t *)in)[i];
}

void scalar_f16_from_f32(const void *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f16_of_f32(load_f32(in, i));
}

void scalar_bf16_from_f32(const void *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_of_f32(load_f32(in, i));
}

bool scalar_u8_from_f32(const void *in, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        float v = load_f32(in, i);
        if (!(v >= 0.0f && v <= 255.0f) || (float)(uint8_t)v != v)
            return false;
        out[i] = (uint8_t)v;
    }
    return true;
}

bool scalar_finite_f32(const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((bits_of_f32(load_f32(x, i)) & 0x7f800000) == 0x7f800000)
            return false;
    return true;
}

bool scalar_finite_f16(const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((load_u16(x, i) & 0x7c00) == 0x7c00)
            return false;
    return true;
}

bool scalar_finite_bf16(const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((load_u16(x, i) & 0x7f80) == 0x7f80)
            return false;
    return true;
}

/* ---- sums ---- */

float scalar_sum_f32(const void *x, size_t n)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += load_f32(x, i);
    return sum;
}

float scalar_sumsq_f32(const void *x, size_t n)
{
    return scalar_ip_f32(x, x, n);
}

int32_t scalar_sum_u8(const void *x, size_t n)
{
    int32_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += ((const uint8_t *)x)[i];
    return sum;
}

int32_t scalar_sumsq_u8(const void *x, size_t n)
{
    return scalar_ip_u8(x, x, n);
}

int32_t scalar_sum_i8(const void *x, size_t n)
{
    int32_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += ((const int8_t *)x)[i];
    return sum;
}

int32_t scalar_sumsq_i8(const void *x, size_t n)
{
    return scalar_ip_i8(x, x, n);
}

float scalar_normalize_f32(const float *x, size_t n, float *out)
{
    float largest = 0, sum = 0, norm;

    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > largest)
            largest = fabsf(x[i]);
    if (largest == 0.0f) {
        memset(out, 0, n * sizeof *out);
        return 0.0f;
    }
    for (size_t i = 0; i < n; i++) /* dividing first keeps the squares in range */
        sum += (x[i] / largest) * (x[i] / largest);
    norm = sqrtf(sum);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] / largest / norm;
    return largest * norm;
}

void scalar_add_f32(float *sums, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[i] += load_f32(x, i);
}

void scalar_add_u8(uint32_t *sums, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[i] += ((const uint8_t *)x)[i];
}

void scalar_sub_f32(const void *x, const void *y, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = load_f32(x, i) - load_f32(y, i);
}

void scalar_scale_f32(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
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
    .sq8_encode = scalar_sq8_encode,
    .sq8_encode_dims = scalar_sq8_encode_dims,
    .sq8_decode = scalar_sq8_decode,
    .sq8_decode_dims = scalar_sq8_decode_dims,
    .quantize_i8 = scalar_quantize_i8,
    .quantize_i8x2 = scalar_quantize_i8x2,
    .rabitq_encode = scalar_rabitq_encode,
    .hadamard = scalar_hadamard,
    .rotate = scalar_rotate,
    .unrotate = scalar_unrotate,
    .f32_from_f16 = scalar_f32_from_f16,
    .f32_from_bf16 = scalar_f32_from_bf16,
    .f32_from_i8 = scalar_f32_from_i8,
    .f32_from_u8 = scalar_f32_from_u8,
    .f16_from_f32 = scalar_f16_from_f32,
    .bf16_from_f32 = scalar_bf16_from_f32,
    .u8_from_f32 = scalar_u8_from_f32,
    .finite_f32 = scalar_finite_f32,
    .finite_f16 = scalar_finite_f16,
    .finite_bf16 = scalar_finite_bf16,
    .sum_f32 = scalar_sum_f32,
    .sumsq_f32 = scalar_sumsq_f32,
    .sum_u8 = scalar_sum_u8,
    .sumsq_u8 = scalar_sumsq_u8,
    .sum_i8 = scalar_sum_i8,
    .sumsq_i8 = scalar_sumsq_i8,
    .normalize_f32 = scalar_normalize_f32,
    .add_f32 = scalar_add_f32,
    .add_u8 = scalar_add_u8,
    .sub_f32 = scalar_sub_f32,
    .scale_f32 = scalar_scale_f32,
};
