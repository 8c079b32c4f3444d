/* AVX2 registers: loads of fewer bytes than a register holds that read nothing past the end, and sums across lanes. Types
 * are named for their lanes. Included by avx2/ only. */
#ifndef VECDB_SIMD_AVX2_VEC_H
#define VECDB_SIMD_AVX2_VEC_H

#include <immintrin.h>

#include "simd/scalar/scalar.h"
#include "simd/scan.h"

typedef __m256 f32x8;
typedef __m256i i32x8;

/* ---- loads ---- */

/* A mask of the lowest n of eight 32-bit lanes, n 0..8. */
SCAN_INLINE __m256i first8(size_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

SCAN_INLINE uint32_t load_bytes4(const char *p)
{
    uint32_t value;

    memcpy(&value, p, sizeof value);
    return value;
}

/* The n < 16 bytes at p, then zeros. Two loads that overlap in the middle do for any n of a size. */
SCAN_INLINE __m128i load_part16(const char *p, size_t n)
{
    uint64_t low = 0, high = 0;

    if (n >= 8) {
        low = load_u64(p, 0);
        high = n > 8 ? load_u64(p + n - 8, 0) >> (8 * (16 - n)) : 0;
    } else if (n >= 4) {
        low = load_bytes4(p) | (uint64_t)load_bytes4(p + n - 4) << (8 * (n - 4));
    } else if (n) {
        low = (uint8_t)p[0] | (uint64_t)(uint8_t)p[n / 2] << (8 * (n / 2)) | (uint64_t)(uint8_t)p[n - 1] << (8 * (n - 1));
    }
    return _mm_set_epi64x((long long)high, (long long)low);
}

/* The n < 32 bytes at p, then zeros. */
SCAN_INLINE __m256i load_part32(const char *p, size_t n)
{
    if (n < 16)
        return _mm256_zextsi128_si256(load_part16(p, n));
    return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128((const __m128i *)p)),
                                   load_part16(p + 16, n - 16), 1);
}

SCAN_INLINE __m256i load32(const char *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* ---- sums ---- */

SCAN_INLINE f32x8 f32x8_zero(void)
{
    return _mm256_setzero_ps();
}

SCAN_INLINE i32x8 i32x8_zero(void)
{
    return _mm256_setzero_si256();
}

SCAN_INLINE f32x8 f32x8_add(f32x8 a, f32x8 b)
{
    return _mm256_add_ps(a, b);
}

SCAN_INLINE i32x8 i32x8_add(i32x8 a, i32x8 b)
{
    return _mm256_add_epi32(a, b);
}

SCAN_INLINE float f32x8_sum(f32x8 a)
{
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));

    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(b, _mm_movehdup_ps(b)));
}

SCAN_INLINE int32_t i32x8_sum(i32x8 a)
{
    __m128i b = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));

    b = _mm_add_epi32(b, _mm_unpackhi_epi64(b, b));
    return _mm_cvtsi128_si32(_mm_add_epi32(b, _mm_shuffle_epi32(b, 1)));
}

/* Four sums at once: halve while interleaving, so that each addition serves two registers. */
SCAN_INLINE void f32x8_sum4(f32x8 a, f32x8 b, f32x8 c, f32x8 d, float *out)
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    __m256 abcd = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));

    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(abcd), _mm256_extractf128_ps(abcd, 1)));
}

SCAN_INLINE __m128i i32x8_total4(i32x8 a, i32x8 b, i32x8 c, i32x8 d)
{
    __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    __m256i abcd = _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));

    return _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
}

SCAN_INLINE void i32x8_sum4(i32x8 a, i32x8 b, i32x8 c, i32x8 d, int32_t *out)
{
    _mm_storeu_si128((__m128i *)out, i32x8_total4(a, b, c, d));
}

/* ---- products ---- */

/* Even and odd bytes as 16-bit numbers, unsigned and signed, without a widening shuffle. */
SCAN_INLINE __m256i even_u8(__m256i a)
{
    return _mm256_and_si256(a, _mm256_set1_epi16(0xff));
}

SCAN_INLINE __m256i odd_u8(__m256i a)
{
    return _mm256_srli_epi16(a, 8);
}

SCAN_INLINE __m256i even_i8(__m256i a)
{
    return _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8);
}

SCAN_INLINE __m256i odd_i8(__m256i a)
{
    return _mm256_srai_epi16(a, 8);
}

/* sum + products of 16-bit numbers, pairs added */
SCAN_INLINE __m256i add_products(__m256i sum, __m256i a, __m256i b)
{
#ifdef __AVXVNNI__
    return _mm256_dpwssd_avx_epi32(sum, a, b);
#else
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
#endif
}

SCAN_INLINE __m256i flip(__m256i a)
{
    return _mm256_xor_si256(a, _mm256_set1_epi8((char)0x80));
}

/* Unsigned code times signed query. maddubs, which does it in one, saturates: 255 * 127 * 2 is beyond 16 bits. */
SCAN_INLINE __m256i add_u8s8(__m256i sum, __m256i code, __m256i query)
{
#ifdef __AVXVNNI__
    return _mm256_dpbusd_avx_epi32(sum, code, query);
#else
    sum = add_products(sum, even_u8(code), even_i8(query));
    return add_products(sum, odd_u8(code), odd_i8(query));
#endif
}

/* Bits set, per 64-bit lane: looked up four bits at a time. */
SCAN_INLINE __m256i count_bits_x4(__m256i a)
{
    const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2,
                                            2, 3, 2, 3, 3, 4);
    const __m256i nibble = _mm256_set1_epi8(15);
    __m256i low = _mm256_shuffle_epi8(counts, _mm256_and_si256(a, nibble));
    __m256i high = _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(a, 4), nibble));

    return _mm256_sad_epu8(_mm256_add_epi8(low, high), _mm256_setzero_si256());
}

#endif
