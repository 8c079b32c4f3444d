/* AVX-512 distances between vectors: same functions, order and contracts as scalar/distance.c.
 * Bytes are multiplied by vpdpbusd, which takes one unsigned and one signed operand: flipping the top bit
 * (x ^ 0x80) turns one kind into the other, 128 apart, and a sum over the query puts that right.
 * Compiled twice: avx512vnni/ has no population count of its own. */
#include "simd/avx512/vec.h"

#ifndef AVX512
#define AVX512(name) name##_avx512 /* the table's name */
#endif

/* ---- floats ---- */

SCAN_INLINE __m512 load16_f32(const char *p, size_t i)
{
    return _mm512_loadu_ps((const float *)p + i);
}

SCAN_INLINE __m512 tail16_f32(const char *p, size_t i, size_t dim)
{
    return _mm512_maskz_loadu_ps(first16(dim - i), (const float *)p + i);
}

SCAN_INLINE __m512 load16_f16(const char *p, size_t i)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p + 2 * i)));
}

SCAN_INLINE __m512 tail16_f16(const char *p, size_t i, size_t dim)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first16(dim - i), p + 2 * i));
}

SCAN_INLINE __m512 f32_of_bf16x16(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

SCAN_INLINE __m512 load16_bf16(const char *p, size_t i)
{
    return f32_of_bf16x16(_mm256_loadu_si256((const __m256i *)(p + 2 * i)));
}

SCAN_INLINE __m512 tail16_bf16(const char *p, size_t i, size_t dim)
{
    return f32_of_bf16x16(_mm256_maskz_loadu_epi16(first16(dim - i), p + 2 * i));
}

SCAN_INLINE __m512 add_square(__m512 sum, __m512 a, __m512 b)
{
    __m512 d = _mm512_sub_ps(a, b);

    return _mm512_fmadd_ps(d, d, sum);
}

#define FLOAT_KERNELS(type, row_bytes)                                                                     \
    SCAN_INLINE f32x16 l2sq_##type##_step(f32x16 sum, const char *query, const char *row, size_t i, size_t dim)         \
    {                                                                                                      \
        return add_square(sum, load16_f32(query, i), load16_##type(row, i));                               \
    }                                                                                                      \
    SCAN_INLINE f32x16 l2sq_##type##_tail(f32x16 sum, const char *query, const char *row, size_t i,        \
                                          size_t dim)                                                      \
    {                                                                                                      \
        return add_square(sum, tail16_f32(query, i, dim), tail16_##type(row, i, dim));                     \
    }                                                                                                      \
    SCAN_INLINE f32x16 ip_##type##_step(f32x16 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                      \
        return _mm512_fmadd_ps(load16_f32(query, i), load16_##type(row, i), sum);                          \
    }                                                                                                      \
    SCAN_INLINE f32x16 ip_##type##_tail(f32x16 sum, const char *query, const char *row, size_t i,          \
                                        size_t dim)                                                        \
    {                                                                                                      \
        return _mm512_fmadd_ps(tail16_f32(query, i, dim), tail16_##type(row, i, dim), sum);                \
    }                                                                                                      \
    DEFINE_SCAN(l2sq_##type, float, f32x16, 16, f32x16_zero(), (row_bytes)*dim)                            \
    DEFINE_SCAN(ip_##type, float, f32x16, 16, f32x16_zero(), (row_bytes)*dim)

FLOAT_KERNELS(f32, 4)
FLOAT_KERNELS(f16, 2)
FLOAT_KERNELS(bf16, 2)

/* ---- bytes ---- */

SCAN_INLINE __m512i load64(const char *p, size_t i)
{
    return _mm512_loadu_si512(p + i);
}

SCAN_INLINE __m512i tail64(const char *p, size_t i, size_t dim)
{
    return _mm512_maskz_loadu_epi8(first64(dim - i), p + i);
}

SCAN_INLINE __m512i flip(__m512i a)
{
    return _mm512_xor_si512(a, _mm512_set1_epi8((char)0x80));
}

SCAN_INLINE __m512i low_bytes(__m512i a)
{
    return _mm512_and_si512(a, _mm512_set1_epi16(0xff));
}

/* Squares of differences: the even and the odd bytes as 16-bit numbers, without a widening shuffle. */
SCAN_INLINE __m512i add_square_u8(__m512i sum, __m512i a, __m512i b)
{
    __m512i even = _mm512_sub_epi16(low_bytes(a), low_bytes(b));
    __m512i odd = _mm512_sub_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8));

    return _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
}

SCAN_INLINE i32x16 l2sq_u8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_square_u8(sum, load64(query, i), load64(row, i));
}

SCAN_INLINE i32x16 l2sq_u8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_square_u8(sum, tail64(query, i, dim), tail64(row, i, dim));
}

/* Flipped, both are 128 higher, and their difference is the same. */
SCAN_INLINE i32x16 l2sq_i8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_square_u8(sum, flip(load64(query, i)), flip(load64(row, i)));
}

SCAN_INLINE i32x16 l2sq_i8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_square_u8(sum, flip(tail64(query, i, dim)), flip(tail64(row, i, dim)));
}

/* sum(q * (r - 128)), so it begins with 128 * sum(q); the query's zeros silence a tail's flipped ones. */
SCAN_INLINE i32x16 ip_u8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, load64(query, i), flip(load64(row, i)));
}

SCAN_INLINE i32x16 ip_u8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, tail64(query, i, dim), flip(tail64(row, i, dim)));
}

SCAN_INLINE i32x16 ip_u8_start(const char *query, size_t dim)
{
    __m512i sum = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);
    size_t i = 0;

    for (; i + 64 <= dim; i += 64)
        sum = _mm512_dpbusd_epi32(sum, load64(query, i), one);
    if (i < dim)
        sum = _mm512_dpbusd_epi32(sum, tail64(query, i, dim), one);
    return _mm512_slli_epi32(sum, 7);
}

/* sum((r + 128) * q), so it begins with -128 * sum(q) */
SCAN_INLINE i32x16 ip_i8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, flip(load64(row, i)), load64(query, i));
}

SCAN_INLINE i32x16 ip_i8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, flip(tail64(row, i, dim)), tail64(query, i, dim));
}

SCAN_INLINE i32x16 ip_i8_start(const char *query, size_t dim)
{
    __m512i sum = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);
    size_t i = 0;

    for (; i + 64 <= dim; i += 64)
        sum = _mm512_dpbusd_epi32(sum, one, load64(query, i));
    if (i < dim)
        sum = _mm512_dpbusd_epi32(sum, one, tail64(query, i, dim));
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, 7));
}

DEFINE_SCAN(l2sq_i8, int32_t, i32x16, 64, i32x16_zero(), dim)
DEFINE_SCAN(ip_i8, int32_t, i32x16, 64, ip_i8_start(query, dim), dim)
DEFINE_SCAN(l2sq_u8, int32_t, i32x16, 64, i32x16_zero(), dim)
DEFINE_SCAN(ip_u8, int32_t, i32x16, 64, ip_u8_start(query, dim), dim)

/* ---- bits ---- */

SCAN_INLINE __m512i load512(const char *p, size_t i)
{
    return _mm512_loadu_si512(p + i / 8);
}

SCAN_INLINE __m512i tail512(const char *p, size_t i, size_t dim)
{
    return _mm512_maskz_loadu_epi8(first64((dim - i) / 8), p + i / 8);
}

/* Counts stay below 2^31, so that the 64-bit lanes may be summed as 32-bit ones. */
#define BIT_KERNEL(name, op)                                                                               \
    SCAN_INLINE i32x16 name##_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)               \
    {                                                                                                      \
        return _mm512_add_epi64(sum, count_bits_x8(op(load512(query, i), load512(row, i))));               \
    }                                                                                                      \
    SCAN_INLINE i32x16 name##_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)   \
    {                                                                                                      \
        return _mm512_add_epi64(sum, count_bits_x8(op(tail512(query, i, dim), tail512(row, i, dim))));     \
    }                                                                                                      \
    DEFINE_SCAN(name, int32_t, i32x16, 512, i32x16_zero(), dim / 8)

BIT_KERNEL(hamming_b1, _mm512_xor_si512)
BIT_KERNEL(and_b1, _mm512_and_si512)
BIT_KERNEL(or_b1, _mm512_or_si512)

/* Two counts per row: bits in both, bits in either. */
typedef struct {
    __m512i both, either;
} pair_x16;

SCAN_INLINE pair_x16 pair_x16_zero(void)
{
    return (pair_x16){_mm512_setzero_si512(), _mm512_setzero_si512()};
}

SCAN_INLINE pair_x16 pair_x16_add(pair_x16 a, pair_x16 b)
{
    return (pair_x16){_mm512_add_epi64(a.both, b.both), _mm512_add_epi64(a.either, b.either)};
}

SCAN_INLINE float pair_x16_sum(pair_x16 a)
{
    int32_t either = i32x16_sum(a.either);

    return either ? 1.0f - (float)i32x16_sum(a.both) / (float)either : 0.0f;
}

SCAN_INLINE void pair_x16_sum4(pair_x16 a, pair_x16 b, pair_x16 c, pair_x16 d, float *out)
{
    __m128i both = i32x16_total4(a.both, b.both, c.both, d.both);
    __m128i either = i32x16_total4(a.either, b.either, c.either, d.either);
    __m128 share = _mm_div_ps(_mm_cvtepi32_ps(both), _mm_cvtepi32_ps(either));

    _mm_storeu_ps(out, _mm_maskz_sub_ps(_mm_test_epi32_mask(either, either), _mm_set1_ps(1.0f), share));
}

SCAN_INLINE pair_x16 add_pair(pair_x16 sum, __m512i a, __m512i b)
{
    sum.both = _mm512_add_epi64(sum.both, count_bits_x8(_mm512_and_si512(a, b)));
    sum.either = _mm512_add_epi64(sum.either, count_bits_x8(_mm512_or_si512(a, b)));
    return sum;
}

SCAN_INLINE pair_x16 jaccard_b1_step(pair_x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_pair(sum, load512(query, i), load512(row, i));
}

SCAN_INLINE pair_x16 jaccard_b1_tail(pair_x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_pair(sum, tail512(query, i, dim), tail512(row, i, dim));
}

DEFINE_SCAN(jaccard_b1, float, pair_x16, 512, pair_x16_zero(), dim / 8)

/* ---- blocks ---- */

const struct distance_kernels AVX512(distance) = {
    .l2sq_f32 = SCAN(l2sq_f32),
    .ip_f32 = SCAN(ip_f32),
    .l2sq_f16 = SCAN(l2sq_f16),
    .ip_f16 = SCAN(ip_f16),
    .l2sq_bf16 = SCAN(l2sq_bf16),
    .ip_bf16 = SCAN(ip_bf16),
    .l2sq_i8 = SCAN(l2sq_i8),
    .ip_i8 = SCAN(ip_i8),
    .l2sq_u8 = SCAN(l2sq_u8),
    .ip_u8 = SCAN(ip_u8),
    .hamming_b1 = SCAN(hamming_b1),
    .and_b1 = SCAN(and_b1),
    .or_b1 = SCAN(or_b1),
    .jaccard_b1 = SCAN(jaccard_b1),
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
};
