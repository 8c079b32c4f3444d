/* The scalar kernels by name, so that another instruction set's table can hold one it has no faster version of,
 * and the few inline helpers all of them share. Contracts: simd/kernels.h. */
#ifndef VECDB_SIMD_SCALAR_H
#define VECDB_SIMD_SCALAR_H

#include <string.h>

#include "simd/kernels.h"

/* Rows may lie at any address; these are how one element is read. */
static inline float load_f32(const void *p, size_t i)
{
    float value;
    memcpy(&value, (const char *)p + i * sizeof value, sizeof value);
    return value;
}

static inline uint16_t load_u16(const void *p, size_t i)
{
    uint16_t value;
    memcpy(&value, (const char *)p + i * sizeof value, sizeof value);
    return value;
}

static inline uint64_t load_u64(const void *p, size_t i)
{
    uint64_t value;
    memcpy(&value, (const char *)p + i * sizeof value, sizeof value);
    return value;
}

static inline float f32_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of_f32(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float f32_of_bf16(uint16_t h)
{
    return f32_of_bits((uint32_t)h << 16);
}

static inline uint16_t bf16_of_f32(float value)
{
    uint32_t bits = bits_of_f32(value);

    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40); /* quiet, and never rounded into infinity */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float f32_of_f16(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;

    if (rest >= 0x7c00) /* infinity and NaN, made quiet as the hardware does */
        return f32_of_bits(sign | 0x7f800000 | (rest & 0x3ff) << 13 | (rest > 0x7c00 ? 0x400000 : 0));
    if (rest < 0x400) { /* zero and denormals: an integer times 2^-24 */
        float value = (float)rest * 0x1p-24f;
        return sign ? -value : value;
    }
    return f32_of_bits(sign | ((rest << 13) + 0x38000000));
}

static inline uint16_t f16_of_f32(float value)
{
    uint32_t bits = bits_of_f32(value), sign = bits >> 16 & 0x8000;

    bits &= 0x7fffffff;
    if (bits > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x3ff));
    if (bits >= 0x477ff000) /* rounds to 2^16 or more */
        return (uint16_t)(sign | 0x7c00);
    if (bits < 0x38800000) /* below 2^-14: let an addition at 2^-24 round */
        return (uint16_t)(sign | (bits_of_f32(f32_of_bits(bits) + 0.5f) - 0x3f000000));
    bits += 0xfff + (bits >> 13 & 1);
    return (uint16_t)(sign | (bits - 0x38000000) >> 13);
}

static inline unsigned count_bits(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555;
    x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
    return (unsigned)(x * 0x0101010101010101 >> 56);
}

/* Nearest integer, halves to even, for |x| < 2^22; independent of the compiler's idea of rintf. */
static inline float round_even(float x)
{
    return (x + 12582912.0f) - 12582912.0f;
}

/* ---- distance.c ---- */

#define DECLARE_SCAN(name, result)                                                                      \
    result scalar_##name(const void *query, const void *row, size_t dim);                               \
    void scalar_##name##_rows(const void *query, const void *rows, size_t stride, size_t n, size_t dim, \
                              result *out);                                                             \
    void scalar_##name##_gather(const void *query, const void *base, size_t stride, const uint32_t *ids, \
                                size_t n, size_t dim, result *out);

/* An entry of a table: the three forms of one kernel. */
#define SCALAR_SCAN(name) {scalar_##name, scalar_##name##_rows, scalar_##name##_gather}

/* The definitions of rows() and gather(): one() again and again. */
#define DEFINE_SCALAR_SCAN(name, result)                                                                       \
    void scalar_##name##_rows(const void *query, const void *rows, size_t stride, size_t n, size_t dim, \
                              result *out)                                                              \
    {                                                                                                   \
        for (size_t i = 0; i < n; i++)                                                                  \
            out[i] = scalar_##name(query, (const char *)rows + i * stride, dim);                        \
    }                                                                                                   \
    void scalar_##name##_gather(const void *query, const void *base, size_t stride, const uint32_t *ids, \
                                size_t n, size_t dim, result *out)                                      \
    {                                                                                                   \
        for (size_t i = 0; i < n; i++)                                                                  \
            out[i] = scalar_##name(query, (const char *)base + ids[i] * stride, dim);                   \
    }

DECLARE_SCAN(l2sq_f32, float)
DECLARE_SCAN(ip_f32, float)
DECLARE_SCAN(l2sq_f16, float)
DECLARE_SCAN(ip_f16, float)
DECLARE_SCAN(l2sq_bf16, float)
DECLARE_SCAN(ip_bf16, float)
DECLARE_SCAN(l2sq_i8, int32_t)
DECLARE_SCAN(ip_i8, int32_t)
DECLARE_SCAN(l2sq_u8, int32_t)
DECLARE_SCAN(ip_u8, int32_t)
DECLARE_SCAN(hamming_b1, int32_t)
DECLARE_SCAN(and_b1, int32_t)
DECLARE_SCAN(or_b1, int32_t)
DECLARE_SCAN(jaccard_b1, float)

void scalar_l2sq_f32_tile(const void *queries, size_t query_stride, size_t nq, const void *rows,
                          size_t row_stride, size_t n, size_t dim, float *out, size_t out_stride);
void scalar_ip_f32_tile(const void *queries, size_t query_stride, size_t nq, const void *rows,
                        size_t row_stride, size_t n, size_t dim, float *out, size_t out_stride);
size_t scalar_f32_panel_size(size_t n, size_t dim);
void scalar_f32_pack(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                     void *panel);
void scalar_f32_multiply(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                         size_t dim, float factor, const float *bias, float *out, size_t out_stride);
void scalar_ip_u8i8_blocks(const void *query, const void *blocks, size_t n_blocks, size_t dim, int32_t *out);
size_t scalar_u8_panel_size(size_t n, size_t dim);
void scalar_u8_pack(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                    void *panel);
void scalar_u8_multiply(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                        size_t dim, int32_t *out, size_t out_stride);
void scalar_u8_l2sq(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                    size_t dim, int32_t *out, size_t out_stride);
void scalar_i8_multiply(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                        size_t dim, int32_t *out, size_t out_stride);
void scalar_i8_l2sq(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                    size_t dim, int32_t *out, size_t out_stride);

/* ---- codes.c ---- */

DECLARE_SCAN(dot_u8s8, int32_t)
DECLARE_SCAN(dot_u8s8x2, float)
DECLARE_SCAN(dot_u8f32, float)
DECLARE_SCAN(dot_code1, int32_t)
DECLARE_SCAN(dot_code2, int32_t)
DECLARE_SCAN(dot_code3, int32_t)
DECLARE_SCAN(dot_code4, int32_t)
DECLARE_SCAN(dot_code5, int32_t)
DECLARE_SCAN(dot_code6, int32_t)
DECLARE_SCAN(dot_code7, int32_t)
DECLARE_SCAN(dot_b1u4, int32_t)
DECLARE_SCAN(pq8, float)

void scalar_code_pack(const uint8_t *values, size_t dim, unsigned bits, uint8_t *code);
void scalar_code_unpack(const uint8_t *code, size_t dim, unsigned bits, uint8_t *values);
void scalar_fastscan_pack(const uint8_t *rows, size_t stride, size_t n, size_t tables, uint8_t *block);
void scalar_fastscan(const uint8_t *blocks, size_t n_blocks, size_t tables, const uint8_t *const *luts, size_t nq,
                     int32_t *out, size_t out_stride);
void scalar_score_i32(const int32_t *ip, const float *a, const float *b, size_t n, float g, float scale,
                      float k, float *out);
void scalar_score_i32_gather(const int32_t *ip, const uint32_t *ids, const float *a, const float *b, size_t n,
                             float g, float scale, float k, float *out);
void scalar_sq8_encode(const float *x, size_t dim, float low, float inverse_step, uint8_t *code);
void scalar_sq8_encode_dims(const float *x, size_t dim, const float *low, const float *inverse_step,
                            uint8_t *code);
void scalar_sq8_decode(const uint8_t *code, size_t dim, float low, float step, float *x);
void scalar_sq8_decode_dims(const uint8_t *code, size_t dim, const float *low, const float *step, float *x);
void scalar_quantize_i8(const float *x, size_t dim, float inverse_step, int8_t *out);
void scalar_quantize_i8x2(const float *x, size_t dim, float inverse_step, int8_t *out);
void scalar_rabitq_encode(const float *x, size_t dim, float t, unsigned bits, uint8_t *u);
void scalar_hadamard(float *x, size_t n);
void scalar_rotate(float *x, size_t dim, const uint8_t *signs);
void scalar_unrotate(float *x, size_t dim, const uint8_t *signs);
void scalar_f32_from_f16(const void *in, size_t n, float *out);
void scalar_f32_from_bf16(const void *in, size_t n, float *out);
void scalar_f32_from_i8(const void *in, size_t n, float *out);
void scalar_f32_from_u8(const void *in, size_t n, float *out);
void scalar_f16_from_f32(const void *in, size_t n, uint16_t *out);
void scalar_bf16_from_f32(const void *in, size_t n, uint16_t *out);
bool scalar_u8_from_f32(const void *in, size_t n, uint8_t *out);
bool scalar_finite_f32(const void *x, size_t n);
bool scalar_finite_f16(const void *x, size_t n);
bool scalar_finite_bf16(const void *x, size_t n);
float scalar_sum_f32(const void *x, size_t n);
float scalar_sumsq_f32(const void *x, size_t n);
int32_t scalar_sum_u8(const void *x, size_t n);
int32_t scalar_sumsq_u8(const void *x, size_t n);
int32_t scalar_sum_i8(const void *x, size_t n);
int32_t scalar_sumsq_i8(const void *x, size_t n);
float scalar_normalize_f32(const float *x, size_t n, float *out);
void scalar_add_f32(float *sums, const void *x, size_t n);
void scalar_add_u8(uint32_t *sums, const void *x, size_t n);
void scalar_sub_f32(const void *x, const void *y, size_t n, float *out);
void scalar_scale_f32(float *x, size_t n, float factor);

/* ---- compare.c ---- */

#define DECLARE_COMPARE(name, type)                                                               \
    void scalar_compare_##name(const void *values, size_t n, enum compare_op op, type constant,   \
                               uint64_t *bits);                                                   \
    void scalar_range_##name(const void *values, size_t n, type low, type high, uint64_t *bits);

DECLARE_COMPARE(i8, int8_t)
DECLARE_COMPARE(u8, uint8_t)
DECLARE_COMPARE(i16, int16_t)
DECLARE_COMPARE(i32, int32_t)
DECLARE_COMPARE(i64, int64_t)
DECLARE_COMPARE(f32, float)
DECLARE_COMPARE(f64, double)

void scalar_bits_and(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out);
void scalar_bits_or(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out);
void scalar_bits_andnot(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out);
void scalar_bits_not(const uint64_t *a, size_t words, uint64_t *out);
size_t scalar_bits_count(const uint64_t *a, size_t words);
size_t scalar_bits_and_count(const uint64_t *a, const uint64_t *b, size_t words);
size_t scalar_bits_list(const uint64_t *bits, size_t words, uint32_t first, uint32_t *out);
size_t scalar_below_f32(const float *values, size_t n, float threshold, uint32_t first, uint32_t *out);
size_t scalar_below_i32(const int32_t *values, size_t n, int32_t threshold, uint32_t first, uint32_t *out);
float scalar_min_f32(const void *values, size_t n);
float scalar_max_f32(const void *values, size_t n);
int32_t scalar_min_i32(const void *values, size_t n);
int32_t scalar_max_i32(const void *values, size_t n);

/* ---- the tables ---- */

extern const struct distance_kernels distance_scalar;
extern const struct code_kernels codes_scalar;
extern const struct compare_kernels compare_scalar;

#endif
