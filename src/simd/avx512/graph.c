/* AVX-512: same functions and contracts as scalar/graph.c. Compress goes through a register: to memory
 * it takes 142 cycles on Zen 4. */
#include "simd/graph.h"
#include "simd/graph_scan.h"

#include <immintrin.h>
#include <stdbool.h>

#define INLINE static inline __attribute__((always_inline))

INLINE __m512i even_bytes(__m512i a) { return _mm512_and_si512(a, _mm512_set1_epi16(0xFF)); }
INLINE __m512i odd_bytes(__m512i a) { return _mm512_srli_epi16(a, 8); }

/* Even and odd bytes apart, as 16-bit numbers: no widening shuffles. */
INLINE __m512i add_squares(__m512i sum, __m512i even, __m512i odd, const uint8_t *row)
{
    __m512i b = _mm512_load_si512(row);

    even = _mm512_sub_epi16(even, even_bytes(b));
    odd = _mm512_sub_epi16(odd, odd_bytes(b));
    return _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
}

/* Four sums at once: halve while interleaving, so that each addition serves two registers. */
INLINE __m128i sum4(__m512i a, __m512i b, __m512i c, __m512i d)
{
    __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    __m512i abcd = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(abcd), _mm512_extracti32x8_epi32(abcd, 1));

    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

/* Rows of at most four lines: the query stays in registers. Rows past the last repeat it; they are not stored. */
INLINE void l2sq_short(const uint8_t *q, const uint8_t *base, const uint32_t *ids, size_t n, size_t lines, uint32_t *out)
{
    __m512i even[4], odd[4];

    for (size_t l = 0; l < lines; l++) {
        __m512i a = _mm512_load_si512(q + 64 * l);
        even[l] = even_bytes(a);
        odd[l] = odd_bytes(a);
    }
    for (size_t i = 0; i < n; i += 4) {
        __m512i sum[4];
        for (size_t j = 0; j < 4; j++) {
            const uint8_t *row = base + (size_t)ids[i + j < n ? i + j : n - 1] * (64 * lines);
            sum[j] = _mm512_setzero_si512();
            for (size_t l = 0; l < lines; l++)
                sum[j] = add_squares(sum[j], even[l], odd[l], row + 64 * l);
        }
        if (i + 4 <= n)
            _mm_storeu_si128((__m128i *)(out + i), sum4(sum[0], sum[1], sum[2], sum[3]));
        else
            _mm_mask_storeu_epi32(out + i, (__mmask8)((1u << (n - i)) - 1), sum4(sum[0], sum[1], sum[2], sum[3]));
    }
}

static void l2sq_u8_part(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, size_t from,
                         size_t to, uint32_t *out)
{
    const uint8_t *q = query;

    for (size_t i = 0; i < n; i += 4) {
        const uint8_t *row[4];
        __mmask8 mask = (__mmask8)(i + 4 <= n ? 15 : (1u << (n - i)) - 1);
        __m128i before = _mm_maskz_loadu_epi32(from ? mask : 0, out + i);
        __m512i sum[4];
        for (size_t j = 0; j < 4; j++) {
            row[j] = base + (size_t)ids[i + j < n ? i + j : n - 1] * dim;
            sum[j] = _mm512_setzero_si512();
        }
        for (size_t d = from; d < to; d += 64) {
            __m512i a = _mm512_load_si512(q + d), even = even_bytes(a), odd = odd_bytes(a);
            for (size_t j = 0; j < 4; j++)
                sum[j] = add_squares(sum[j], even, odd, row[j] + d);
        }
        _mm_mask_storeu_epi32(out + i, mask, _mm_add_epi32(before, sum4(sum[0], sum[1], sum[2], sum[3])));
    }
}

static void l2sq_u8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    switch (dim) {
    case 64:
        l2sq_short(query, base, ids, n, 1, out);
        break;
    case 128:
        l2sq_short(query, base, ids, n, 2, out);
        break;
    case 192:
        l2sq_short(query, base, ids, n, 3, out);
        break;
    case 256:
        l2sq_short(query, base, ids, n, 4, out);
        break;
    default:
        l2sq_u8_part(query, base, ids, n, dim, 0, dim, out);
    }
}

INLINE void dot_rows(const int8_t *q, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    for (size_t i = 0; i < n; i += 4) {
        const uint8_t *row[4];
        __m512i sum[4];
        __m128i score;
        for (size_t j = 0; j < 4; j++) {
            row[j] = base + (size_t)ids[i + j < n ? i + j : n - 1] * dim;
            sum[j] = _mm512_setzero_si512();
        }
        for (size_t d = 0; d < dim; d += 64)
            for (size_t j = 0; j < 4; j++)
                sum[j] = _mm512_dpbusd_epi32(sum[j], _mm512_load_si512(row[j] + d), _mm512_load_si512(q + d));
        score = _mm_sub_epi32(_mm_set1_epi32((int32_t)0x80000000), sum4(sum[0], sum[1], sum[2], sum[3]));
        _mm_mask_storeu_epi32(out + i, (__mmask8)(i + 4 <= n ? 15 : (1u << (n - i)) - 1), score);
    }
}

static void dot_u8s8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    switch (dim) {
    case 64:
        dot_rows(query, base, ids, n, 64, out);
        break;
    case 128:
        dot_rows(query, base, ids, n, 128, out);
        break;
    case 256:
        dot_rows(query, base, ids, n, 256, out);
        break;
    default:
        dot_rows(query, base, ids, n, dim, out);
    }
}

static void sketch_signs(const float *x, const float *y, size_t dim, size_t stride, uint64_t *bits, float *size, float *along)
{
    __m512 size_f32x16 = _mm512_setzero_ps(), along_f32x16 = _mm512_setzero_ps();

    for (size_t w = 0; w < dim / 64; w++) {
        uint64_t positive = 0;
        for (size_t i = 0; i < 64; i += 16) {
            __m512 a = _mm512_loadu_ps(x + w * 64 + i), b = _mm512_loadu_ps(y + w * 64 + i);
            __mmask16 mask = _mm512_cmp_ps_mask(a, _mm512_setzero_ps(), _CMP_GE_OQ);
            positive |= (uint64_t)mask << i;
            size_f32x16 = _mm512_add_ps(size_f32x16, _mm512_abs_ps(a));
            along_f32x16 = _mm512_mask_add_ps(_mm512_sub_ps(along_f32x16, b), mask, along_f32x16, b);
        }
        bits[w * stride] = positive;
    }
    *size = _mm512_reduce_add_ps(size_f32x16);
    *along = _mm512_reduce_add_ps(along_f32x16);
}

static float sketch_query(const float *x, size_t dim, uint64_t *planes)
{
    __m512 most_f32x16 = _mm512_setzero_ps(), shrink;
    float most, step;

    for (size_t i = 0; i < dim; i += 16)
        most_f32x16 = _mm512_max_ps(most_f32x16, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
    most = _mm512_reduce_max_ps(most_f32x16);
    step = most > 0 ? most / 7.5f : 1;
    shrink = _mm512_set1_ps(step);
    for (size_t w = 0; w < dim / 64; w++) {
        uint64_t bits[4] = {0};
        for (size_t i = 0; i < 64; i += 16) {
            __m512 scaled = _mm512_div_ps(_mm512_loadu_ps(x + w * 64 + i), shrink);
            __m512i level = _mm512_cvttps_epi32(_mm512_add_ps(scaled, _mm512_set1_ps(8)));
            level = _mm512_min_epi32(level, _mm512_set1_epi32(15));
            for (size_t p = 0; p < 4; p++)
                bits[p] |= (uint64_t)_mm512_test_epi32_mask(level, _mm512_set1_epi32(1 << p)) << i;
        }
        for (size_t p = 0; p < 4; p++)
            planes[4 * w + p] = bits[p];
    }
    return step;
}

#ifdef __AVX512VPOPCNTDQ__
#define SKETCH_CHOOSE sketch_choose
static size_t sketch_choose(const uint64_t *planes, size_t words, const uint32_t *links, const float *a, const float *b,
                            const uint64_t *sketches, size_t lanes, float step, float shift, float room, uint32_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < lanes; i += 8) {
        __m512i sum_u64x8[4];
        __m256i ids = _mm256_loadu_si256((const __m256i *)(links + i));
        __m256 estimate;
        __mmask8 near;
        for (size_t p = 0; p < 4; p++)
            sum_u64x8[p] = _mm512_setzero_si512();
        for (size_t w = 0; w < words; w++) {
            __m512i sketch = _mm512_loadu_si512(sketches + w * lanes + i);
            for (size_t p = 0; p < 4; p++) {
                __m512i differ = _mm512_xor_si512(sketch, _mm512_set1_epi64((long long)planes[4 * w + p]));
                sum_u64x8[p] = _mm512_add_epi64(sum_u64x8[p], _mm512_popcnt_epi64(differ));
            }
        }
        sum_u64x8[0] = _mm512_add_epi64(sum_u64x8[0], _mm512_slli_epi64(sum_u64x8[1], 1));
        sum_u64x8[2] = _mm512_add_epi64(sum_u64x8[2], _mm512_slli_epi64(sum_u64x8[3], 1));
        sum_u64x8[0] = _mm512_add_epi64(sum_u64x8[0], _mm512_slli_epi64(sum_u64x8[2], 2));
        estimate = _mm256_fmsub_ps(_mm256_cvtepi32_ps(_mm512_cvtepi64_epi32(sum_u64x8[0])), _mm256_set1_ps(step),
                                   _mm256_set1_ps(shift));
        estimate = _mm256_fmadd_ps(estimate, _mm256_loadu_ps(b + i), _mm256_loadu_ps(a + i));
        near = _mm256_cmp_ps_mask(estimate, _mm256_set1_ps(room), _CMP_LE_OQ) &
               _mm256_cmpneq_epi32_mask(ids, _mm256_set1_epi32(-1));
        _mm256_storeu_si256((__m256i *)(out + n), _mm256_maskz_compress_epi32(near, ids));
        n += (size_t)_mm_popcnt_u32(near);
    }
    return n;
}

#define SKETCH_NEAR sketch_near
/* Sums over the lanes of one sketch, weighted by plane. */
static inline __m512i sketch_sums(const uint64_t *planes, size_t words, size_t padded, const uint8_t *sketch)
{
    __m512i sum_u64x8[4], low, high;

    for (size_t p = 0; p < 4; p++)
        sum_u64x8[p] = _mm512_setzero_si512();
    for (size_t w = 0; w < padded; w += 8) {
        __mmask8 there = words - w >= 8 ? 0xFF : (__mmask8)((1u << (words - w)) - 1);
        __m512i bits = _mm512_maskz_loadu_epi64(there, sketch + 2 * sizeof(float) + 8 * w);
        for (size_t p = 0; p < 4; p++)
            sum_u64x8[p] = _mm512_add_epi64(sum_u64x8[p], _mm512_popcnt_epi64(_mm512_xor_si512(
                                                              bits, _mm512_loadu_si512(planes + p * padded + w))));
    }
    low = _mm512_add_epi64(sum_u64x8[0], _mm512_slli_epi64(sum_u64x8[1], 1));
    high = _mm512_add_epi64(sum_u64x8[2], _mm512_slli_epi64(sum_u64x8[3], 1));
    return _mm512_add_epi64(low, _mm512_slli_epi64(high, 2));
}

/* The lanes' sums of two sketches, each in 32 bits of the result. */
static inline __m128i sketch_pair(__m512i first, __m512i second)
{
    __m512i both = _mm512_or_si512(first, _mm512_slli_epi64(second, 32));
    __m256i half = _mm256_add_epi64(_mm512_castsi512_si256(both), _mm512_extracti64x4_epi64(both, 1));
    __m128i sum = _mm_add_epi64(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));

    return _mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum));
}

static size_t sketch_near(const uint64_t *planes, size_t words, const uint8_t *sketches, size_t size, const uint32_t *places, size_t n,
                          float step, float shift, float room, uint32_t *out)
{
    size_t padded = (words + 7) / 8 * 8, count = 0;

    for (size_t i = 0; i < n; i += 4) { /* four share what turns sums into a comparison */
        const uint8_t *at[4];
        __m512i sums[4];
        __m128 low, high, estimate;
        __m128i ids;
        __mmask8 near;
        for (size_t s = 0; s < 4; s++) {
            at[s] = sketches + places[i + s < n ? i + s : i] * size;
            sums[s] = sketch_sums(planes, words, padded, at[s]);
        }
        low = _mm_loadh_pi(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)at[0])), (const __m64 *)at[1]);
        high = _mm_loadh_pi(_mm_castsi128_ps(_mm_loadl_epi64((const __m128i *)at[2])), (const __m64 *)at[3]);
        estimate = _mm_cvtepi32_ps(_mm_unpacklo_epi64(sketch_pair(sums[0], sums[1]), sketch_pair(sums[2], sums[3])));
        estimate = _mm_fmsub_ps(estimate, _mm_set1_ps(step), _mm_set1_ps(shift));
        estimate = _mm_fmadd_ps(estimate, _mm_shuffle_ps(low, high, 0xDD), _mm_shuffle_ps(low, high, 0x88));
        near = _mm_cmp_ps_mask(estimate, _mm_set1_ps(room), _CMP_LE_OQ);
        if (n - i < 4)
            near &= (__mmask8)((1u << (n - i)) - 1);
        ids = _mm_maskz_loadu_epi32((__mmask8)(n - i < 4 ? (1u << (n - i)) - 1 : 15), places + i);
        ids = _mm_maskz_compress_epi32(near, ids);
        near = (__mmask8)_mm_popcnt_u32(near);
        _mm_mask_storeu_epi32(out + count, (__mmask8)((1u << near) - 1), ids);
        count += near;
    }
    return count;
}
#else
#define SKETCH_CHOOSE plain_sketch_choose
#define SKETCH_NEAR plain_sketch_near
#endif

static size_t count_not_above(const int32_t *values, size_t n, int32_t limit)
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

/* Positions of values not above `high`. */
static size_t positions_not_above(const int32_t *values, size_t n, int32_t high, uint32_t *out)
{
    __m512i high_i32x16 = _mm512_set1_epi32(high), position = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    size_t count = 0;

    for (size_t i = 0; i < n; i += 16) {
        __mmask16 lanes = n - i < 16 ? (__mmask16)((1u << (n - i)) - 1) : 0xFFFF;
        __mmask16 found = _mm512_mask_cmple_epi32_mask(lanes, _mm512_maskz_loadu_epi32(lanes, values + i), high_i32x16);
        _mm512_storeu_si512(out + count, _mm512_maskz_compress_epi32(
                                             found, _mm512_add_epi32(position, _mm512_set1_epi32((int32_t)i))));
        count += (size_t)_mm_popcnt_u32(found);
    }
    return count;
}

static void least16(const int32_t *values, size_t n, int32_t *out)
{
    __m512i least_i32x16 = _mm512_set1_epi32(INT32_MAX);

    for (size_t i = 0; i + 16 <= n; i += 16)
        least_i32x16 = _mm512_min_epi32(least_i32x16, _mm512_loadu_si512(values + i));
    _mm512_storeu_si512(out, least_i32x16);
}

static const struct few_kernels few_kernels = {least16, count_not_above, positions_not_above};

static size_t smallest_i32(const int32_t *values, size_t n, size_t k, int32_t limit, uint32_t *out)
{
    int32_t low = 0, high = limit < INT32_MAX ? limit : INT32_MAX - 1;
    size_t below, count = 0;

    if (!k || limit < 0)
        return 0;
    if (k <= 16 && n >= 256 && few_smallest(&few_kernels, values, n, k, high, out, &count))
        return count;
    count = 0;
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
    if (below > k) { /* equal values across the border: the first of them stay */
        size_t ties = k - (high > 0 ? count_not_above(values, n, high - 1) : 0);
        for (size_t i = 0; i < n; i++)
            if (values[i] < high || (values[i] == high && ties && ties--))
                out[count++] = (uint32_t)i;
        return count;
    }
    return positions_not_above(values, n, high, out);
}

#ifndef AVX512
#define AVX512(name) name##_avx512 /* the table's name */
#endif
const struct graph_kernels AVX512(graph) = {
    .l2sq_u8 = l2sq_u8,
    .l2sq_u8_part = l2sq_u8_part,
    .dot_u8s8 = dot_u8s8,
    .sketch_signs = sketch_signs,
    .sketch_query = sketch_query,
    .sketch_choose = SKETCH_CHOOSE,
    .sketch_near = SKETCH_NEAR,
    .smallest_i32 = smallest_i32,
};
