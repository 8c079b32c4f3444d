/* AVX-512 registers: masked loads that read nothing past the end, and sums across lanes. Types are named for their
 * lanes. Included by avx512/ only. */
#ifndef VECDB_SIMD_AVX512_VEC_H
#define VECDB_SIMD_AVX512_VEC_H

#include <immintrin.h>

#include "simd/scalar/scalar.h"
#include "simd/scan.h"

typedef __m512 f32x16;
typedef __m512i i32x16;

/* The lowest n lanes, n 0..16 or 0..64. */
SCAN_INLINE __mmask16 first16(size_t n)
{
    return (__mmask16)_bzhi_u32(0xffff, (unsigned)n);
}

SCAN_INLINE __mmask64 first64(size_t n)
{
    return _bzhi_u64(~0ull, (unsigned)n);
}

/* Bytes i .. i + 63, and of them those before dim. */
SCAN_INLINE __m512i load64(const char *p, size_t i)
{
    return _mm512_loadu_si512(p + i);
}

SCAN_INLINE __m512i tail64(const char *p, size_t i, size_t dim)
{
    return _mm512_maskz_loadu_epi8(first64(dim - i), p + i);
}

SCAN_INLINE f32x16 f32x16_zero(void)
{
    return _mm512_setzero_ps();
}

SCAN_INLINE i32x16 i32x16_zero(void)
{
    return _mm512_setzero_si512();
}

SCAN_INLINE f32x16 f32x16_add(f32x16 a, f32x16 b)
{
    return _mm512_add_ps(a, b);
}

SCAN_INLINE i32x16 i32x16_add(i32x16 a, i32x16 b)
{
    return _mm512_add_epi32(a, b);
}

SCAN_INLINE float f32x16_sum(f32x16 a)
{
    __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));

    c = _mm_add_ps(c, _mm_movehl_ps(c, c));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}

SCAN_INLINE int32_t i32x16_sum(i32x16 a)
{
    __m256i b = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti32x8_epi32(a, 1));
    __m128i c = _mm_add_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));

    c = _mm_add_epi32(c, _mm_unpackhi_epi64(c, c));
    return _mm_cvtsi128_si32(_mm_add_epi32(c, _mm_shuffle_epi32(c, 1)));
}

/* Four sums at once: halve while interleaving, so that each addition serves two registers. */
SCAN_INLINE void f32x16_sum4(f32x16 a, f32x16 b, f32x16 c, f32x16 d, float *out)
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 abcd = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44), _mm512_shuffle_ps(ab, cd, 0xee));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(abcd), _mm512_extractf32x8_ps(abcd, 1));

    _mm_storeu_ps(out, _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1)));
}

SCAN_INLINE __m128i i32x16_total4(i32x16 a, i32x16 b, i32x16 c, i32x16 d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti32x8_epi32(abcd, 1));

    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

SCAN_INLINE void i32x16_sum4(i32x16 a, i32x16 b, i32x16 c, i32x16 d, int32_t *out)
{
    _mm_storeu_si128((__m128i *)out, i32x16_total4(a, b, c, d));
}

/* Bits set, per 64-bit lane. */
#ifdef __AVX512VPOPCNTDQ__
SCAN_INLINE __m512i count_bits_x8(__m512i a)
{
    return _mm512_popcnt_epi64(a);
}
#else
/* Looked up four bits at a time, then summed within each 64. */
SCAN_INLINE __m512i count_bits_x8(__m512i a)
{
    const __m512i counts = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i low = _mm512_shuffle_epi8(counts, _mm512_and_si512(a, nibble));
    __m512i high = _mm512_shuffle_epi8(counts, _mm512_and_si512(_mm512_srli_epi16(a, 4), nibble));

    return _mm512_sad_epu8(_mm512_add_epi8(low, high), _mm512_setzero_si512());
}
#endif

#endif
