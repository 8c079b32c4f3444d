/* The same loops as scalar/graph.c, for eight lanes. */
#include "simd/graph.h"

#include <immintrin.h>

static inline uint32_t sum_lanes(__m256i sum_i32x8)
{
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sum_i32x8), _mm256_extracti128_si256(sum_i32x8, 1));

    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4E));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xB1)));
}

/* Even and odd bytes apart, as 16-bit numbers: no widening shuffles. */
static void l2sq_u8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    const uint8_t *q = query;
    const __m256i low = _mm256_set1_epi16(0xFF);

    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = base + (size_t)ids[i] * dim;
        __m256i even_i32x8 = _mm256_setzero_si256(), odd_i32x8 = _mm256_setzero_si256();
        for (size_t d = 0; d < dim; d += 32) {
            __m256i a = _mm256_load_si256((const __m256i *)(q + d)), b = _mm256_load_si256((const __m256i *)(row + d));
            __m256i even = _mm256_sub_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
            __m256i odd = _mm256_sub_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
            even_i32x8 = _mm256_add_epi32(even_i32x8, _mm256_madd_epi16(even, even));
            odd_i32x8 = _mm256_add_epi32(odd_i32x8, _mm256_madd_epi16(odd, odd));
        }
        out[i] = sum_lanes(_mm256_add_epi32(even_i32x8, odd_i32x8));
    }
}

/* Signed bytes in the upper half of 16 bits, shifted down; a product of bytes fits 16 bits, a pair of them needs madd's 32. */
static void dot_u8s8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    const int8_t *q = query;
    const __m256i low = _mm256_set1_epi16(0xFF);

    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = base + (size_t)ids[i] * dim;
        __m256i even_i32x8 = _mm256_setzero_si256(), odd_i32x8 = _mm256_setzero_si256();
        for (size_t d = 0; d < dim; d += 32) {
            __m256i a = _mm256_load_si256((const __m256i *)(q + d)), b = _mm256_load_si256((const __m256i *)(row + d));
            __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8), odd = _mm256_srai_epi16(a, 8);
            even_i32x8 = _mm256_add_epi32(even_i32x8, _mm256_madd_epi16(even, _mm256_and_si256(b, low)));
            odd_i32x8 = _mm256_add_epi32(odd_i32x8, _mm256_madd_epi16(odd, _mm256_srli_epi16(b, 8)));
        }
        out[i] = 0x80000000u - sum_lanes(_mm256_add_epi32(even_i32x8, odd_i32x8));
    }
}

/* The largest value that is among the k smallest, by bisection: values are not negative. */
static size_t smallest_i32(const int32_t *values, size_t n, size_t k, int32_t limit, uint32_t *out)
{
    int32_t low = 0, high = limit < INT32_MAX ? limit : INT32_MAX - 1;
    size_t below = 0, count = 0, ties;

    if (!k || limit < 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        below += values[i] <= high;
    if (below > k)
        while (low < high) { /* the smallest `low` with at least k values not above it */
            int32_t middle = low + (high - low) / 2;
            below = 0;
            for (size_t i = 0; i < n; i++)
                below += values[i] <= middle;
            if (below >= k)
                high = middle;
            else
                low = middle + 1;
            if (below == k)
                break;
        }
    below = 0;
    for (size_t i = 0; i < n; i++)
        below += values[i] < high;
    ties = below < k ? k - below : 0;
    for (size_t i = 0; i < n; i++)
        if (values[i] < high || (values[i] == high && ties && ties--))
            out[count++] = (uint32_t)i;
    return count;
}

const struct graph_kernels graph_avx2 = {
    .l2sq_u8 = l2sq_u8,
    .dot_u8s8 = dot_u8s8,
    .smallest_i32 = smallest_i32,
};
