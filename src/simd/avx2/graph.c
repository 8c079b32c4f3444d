/* AVX2: same functions and contracts as scalar/graph.c. */
#include "simd/graph.h"
#include "simd/graph_scan.h"
#include "simd/kernels.h"

#include <immintrin.h>
#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))

/* The sums of four registers' lanes: each addition serves two of them. */
INLINE __m128i sum4(const __m256i sum_i32x8[4])
{
    __m256i ab = _mm256_hadd_epi32(sum_i32x8[0], sum_i32x8[1]), cd = _mm256_hadd_epi32(sum_i32x8[2], sum_i32x8[3]);
    __m256i abcd = _mm256_hadd_epi32(ab, cd);

    return _mm_add_epi32(_mm256_castsi256_si128(abcd), _mm256_extracti128_si256(abcd, 1));
}

INLINE __m256i even_bytes(__m256i a) { return _mm256_and_si256(a, _mm256_set1_epi16(0xFF)); }
INLINE __m256i odd_bytes(__m256i a) { return _mm256_srli_epi16(a, 8); }

/* The next four rows, which the caller asked for: of what it asks for at once some gets lost when the buffers for misses are full,
 * and unlike with AVX-512 the loop over four rows is too long for the processor to reach the next four by itself. */
INLINE void fetch4(const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, size_t from, size_t to)
{
    for (size_t j = 0; j < 4 && j < n; j++)
        for (size_t d = from; d < to; d += 64)
            simd_prefetch_line(base + (size_t)ids[j] * dim + d);
}

/* Four rows at a time, so that the query is taken apart once for all and no sum waits for another. Even and odd bytes apart, as
 * 16-bit numbers: no widening shuffles. Rows past the last repeat it; they are not stored. */
INLINE void gather(const uint8_t *q, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, size_t from, size_t to,
                   bool dot, uint32_t *out)
{
    for (size_t i = 0; i < n; i += 4) {
        const uint8_t *row[4];
        __m256i sum_i32x8[4];
        uint32_t sums[4];
        __m128i four;
        for (size_t j = 0; j < 4; j++) {
            row[j] = base + (size_t)ids[i + j < n ? i + j : n - 1] * dim;
            sum_i32x8[j] = _mm256_setzero_si256();
        }
        if (i + 4 < n)
            fetch4(base, ids + i + 4, n - i - 4, dim, from, to);
        for (size_t d = from; d < to; d += 32) {
            __m256i a = _mm256_load_si256((const __m256i *)(q + d)), even, odd;
            even = dot ? _mm256_srai_epi16(_mm256_slli_epi16(a, 8), 8) : even_bytes(a);
            odd = dot ? _mm256_srai_epi16(a, 8) : odd_bytes(a);
            for (size_t j = 0; j < 4; j++) {
                __m256i b = _mm256_load_si256((const __m256i *)(row[j] + d)), x = even_bytes(b), y = odd_bytes(b);
                if (!dot) {
                    x = _mm256_sub_epi16(even, x);
                    y = _mm256_sub_epi16(odd, y);
                }
                x = _mm256_madd_epi16(dot ? even : x, x);
                y = _mm256_madd_epi16(dot ? odd : y, y);
                sum_i32x8[j] = _mm256_add_epi32(sum_i32x8[j], _mm256_add_epi32(x, y));
            }
        }
        four = sum4(sum_i32x8);
        if (dot)
            four = _mm_sub_epi32(_mm_set1_epi32(INT32_MIN), four);
        if (i + 4 <= n) {
            if (from)
                four = _mm_add_epi32(four, _mm_loadu_si128((const __m128i *)(out + i)));
            _mm_storeu_si128((__m128i *)(out + i), four);
            continue;
        }
        _mm_storeu_si128((__m128i *)sums, four);
        for (size_t j = 0; i + j < n; j++)
            out[i + j] = from ? out[i + j] + sums[j] : sums[j];
    }
}

/* The common lengths by themselves, so that loops over a few lines are unrolled. */
static void l2sq_u8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    if (dim == 128)
        gather(query, base, ids, n, 128, 0, 128, false, out);
    else
        gather(query, base, ids, n, dim, 0, dim, false, out);
}

static void l2sq_u8_part(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, size_t from,
                         size_t to, uint32_t *out)
{
    gather(query, base, ids, n, dim, from, to, false, out);
}

static void dot_u8s8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    gather(query, base, ids, n, dim, 0, dim, true, out);
}

/* Bit p of each of eight numbers. */
INLINE uint64_t bits_at(__m256i a, int p)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_sll_epi32(a, _mm_cvtsi32_si128(31 - p))));
}

INLINE float sum_f32(__m256 sum_f32x8)
{
    __m128 sum = _mm_add_ps(_mm256_castps256_ps128(sum_f32x8), _mm256_extractf128_ps(sum_f32x8, 1));

    sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
    return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

static void sketch_signs(const float *x, const float *y, size_t dim, size_t stride, uint64_t *bits, float *size, float *along)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 size_f32x8 = _mm256_setzero_ps(), along_f32x8 = _mm256_setzero_ps();

    for (size_t w = 0; w < dim / 64; w++) {
        uint64_t negative = 0;
        for (size_t i = 0; i < 64; i += 8) {
            __m256 a = _mm256_loadu_ps(x + w * 64 + i);
            __m256 mask = _mm256_cmp_ps(a, _mm256_setzero_ps(), _CMP_NGE_UQ);
            negative |= (uint64_t)(uint32_t)_mm256_movemask_ps(mask) << i;
            size_f32x8 = _mm256_add_ps(size_f32x8, _mm256_andnot_ps(sign, a));
            along_f32x8 = _mm256_add_ps(along_f32x8, _mm256_xor_ps(_mm256_loadu_ps(y + w * 64 + i), _mm256_and_ps(mask, sign)));
        }
        bits[w * stride] = ~negative;
    }
    *size = sum_f32(size_f32x8);
    *along = sum_f32(along_f32x8);
}

static float sketch_query(const float *x, size_t dim, uint64_t *planes)
{
    __m256 most_f32x8 = _mm256_setzero_ps();
    float values[8], most = 0, step;

    for (size_t i = 0; i < dim; i += 8)
        most_f32x8 = _mm256_max_ps(most_f32x8, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_loadu_ps(x + i)));
    _mm256_storeu_ps(values, most_f32x8);
    for (size_t i = 0; i < 8; i++)
        most = values[i] > most ? values[i] : most;
    step = most > 0 ? most / 7.5f : 1;
    for (size_t w = 0; w < dim / 64; w++) {
        uint64_t bits[4] = {0};
        for (size_t i = 0; i < 64; i += 8) {
            __m256 scaled = _mm256_div_ps(_mm256_loadu_ps(x + w * 64 + i), _mm256_set1_ps(step));
            __m256i level = _mm256_cvttps_epi32(_mm256_add_ps(scaled, _mm256_set1_ps(8)));
            level = _mm256_min_epi32(level, _mm256_set1_epi32(15));
            for (int p = 0; p < 4; p++)
                bits[p] |= bits_at(level, p) << i;
        }
        for (size_t p = 0; p < 4; p++)
            planes[4 * w + p] = bits[p];
    }
    return step;
}

/* ---- the smallest of many ---- */

static void least16(const int32_t *values, size_t n, int32_t *out)
{
    __m256i low = _mm256_set1_epi32(INT32_MAX), high = low;

    for (size_t i = 0; i + 16 <= n; i += 16) {
        low = _mm256_min_epi32(low, _mm256_loadu_si256((const __m256i *)(values + i)));
        high = _mm256_min_epi32(high, _mm256_loadu_si256((const __m256i *)(values + i + 8)));
    }
    _mm256_storeu_si256((__m256i *)out, low);
    _mm256_storeu_si256((__m256i *)(out + 8), high);
}

/* A bit for each of eight values above. */
INLINE unsigned above8(const int32_t *values, __m256i high_i32x8)
{
    __m256i above = _mm256_cmpgt_epi32(_mm256_loadu_si256((const __m256i *)values), high_i32x8);

    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(above));
}

static size_t count_not_above(const int32_t *values, size_t n, int32_t high)
{
    const __m256i high_i32x8 = _mm256_set1_epi32(high);
    size_t i = 0, above = 0;

    for (; i + 8 <= n; i += 8)
        above += (size_t)__builtin_popcount(above8(values + i, high_i32x8));
    for (; i < n; i++)
        above += values[i] > high;
    return n - above;
}

static size_t positions_not_above(const int32_t *values, size_t n, int32_t high, uint32_t *out)
{
    const __m256i high_i32x8 = _mm256_set1_epi32(high);
    size_t i = 0, count = 0;

    for (; i + 8 <= n; i += 8)
        for (unsigned found = above8(values + i, high_i32x8) ^ 255; found; found &= found - 1)
            out[count++] = (uint32_t)(i + (size_t)__builtin_ctz(found));
    for (; i < n; i++)
        if (values[i] <= high)
            out[count++] = (uint32_t)i;
    return count;
}

static const struct few_kernels few_kernels = {least16, count_not_above, positions_not_above};

static size_t smallest_i32(const int32_t *values, size_t n, size_t k, int32_t limit, uint32_t *out)
{
    size_t count;

    if (k && k <= 16 && n >= 256 && limit >= 0 &&
        few_smallest(&few_kernels, values, n, k, limit < INT32_MAX ? limit : INT32_MAX - 1, out, &count))
        return count;
    return plain_smallest_i32(values, n, k, limit, out);
}

const struct graph_kernels graph_avx2 = {
    .l2sq_u8 = l2sq_u8,
    .l2sq_u8_part = l2sq_u8_part,
    .dot_u8s8 = dot_u8s8,
    .sketch_signs = sketch_signs,
    .sketch_query = sketch_query,
    .sketch_choose = plain_sketch_choose,
    .sketch_near = plain_sketch_near,
    .smallest_i32 = smallest_i32,
};
