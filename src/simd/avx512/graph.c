/* AVX-512: same functions and contracts as scalar/graph.c. Compress goes through a register: to memory
 * it takes 142 cycles on Zen 4. */
#include "simd/graph.h"

#include <immintrin.h>

static inline size_t count_not_above(const int32_t *values, size_t n, int32_t limit)
{
    __m512i limit_i32x16 = _mm512_set1_epi32(limit);
    size_t count = 0, i = 0;

    for (; i + 16 <= n; i += 16)
        count += (size_t)_mm_popcnt_u32(_mm512_cmple_epi32_mask(_mm512_loadu_si512(values + i), limit_i32x16));
    if (i < n) {
        __mmask16 tail = (__mmask16)((1u << (n - i)) - 1);
        count += (size_t)_mm_popcnt_u32(_mm512_mask_cmple_epi32_mask(
            tail, _mm512_maskz_loadu_epi32(tail, values + i), limit_i32x16));
    }
    return count;
}

static size_t smallest_i32(const int32_t *values, size_t n, size_t k, int32_t limit, uint32_t *out)
{
    int32_t low = 0, high = limit < INT32_MAX ? limit : INT32_MAX - 1;
    __m512i high_i32x16, position = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t below, count = 0;

    if (!k || limit < 0)
        return 0;
    below = count_not_above(values, n, high);
    if (below > k) {
        int32_t least = INT32_MAX, most = 0; /* bisect between what there is */
        __m512i least_i32x16 = _mm512_set1_epi32(INT32_MAX), most_i32x16 = _mm512_setzero_si512();
        for (size_t i = 0; i < n; i += 16) {
            __mmask16 lanes = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xFFFF;
            __m512i v = _mm512_maskz_loadu_epi32(lanes, values + i);
            least_i32x16 = _mm512_mask_min_epi32(least_i32x16, lanes, least_i32x16, v);
            lanes = _mm512_mask_cmplt_epi32_mask(lanes, v, _mm512_set1_epi32(INT32_MAX));
            most_i32x16 = _mm512_mask_max_epi32(most_i32x16, lanes, most_i32x16, v);
        }
        least = _mm512_reduce_min_epi32(least_i32x16);
        most = _mm512_reduce_max_epi32(most_i32x16);
        low = least;
        high = most < high ? most : high;
        while (low < high) {
            int32_t middle = low + (high - low) / 2;
            below = count_not_above(values, n, middle);
            if (below >= k)
                high = middle;
            else
                low = middle + 1;
            if (below == k)
                break;
        }
        below = count_not_above(values, n, high);
    }
    high_i32x16 = _mm512_set1_epi32(high);
    if (below > k) { /* equal values across the border: the first of them stay */
        size_t ties = k - (high > 0 ? count_not_above(values, n, high - 1) : 0);
        for (size_t i = 0; i < n; i++)
            if (values[i] < high || (values[i] == high && ties && ties--))
                out[count++] = (uint32_t)i;
        return count;
    }
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xFFFF;
        __mmask16 found = _mm512_mask_cmple_epi32_mask(lanes, _mm512_maskz_loadu_epi32(lanes, values + i), high_i32x16);
        _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(
                                             found, _mm512_add_epi32(position, _mm512_set1_epi32((int32_t)i))));
        count += (size_t)_mm_popcnt_u32(found);
    }
    return count;
}

const struct graph_kernels graph_avx512 = {
    .smallest_i32 = smallest_i32,
};
