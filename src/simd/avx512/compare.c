/* AVX-512 comparing, bitmaps and selection: same functions, order and contracts as scalar/compare.c. A comparison's
 * result is a mask register already; a word of the bitmap is 1 to 8 of them side by side. */
#include "simd/avx512/vec.h"

#ifndef AVX512
#define AVX512(name) name##_avx512 /* the table's name */
#endif

/* ---- loads ---- */

SCAN_INLINE __m512i load_8(const char *p, __mmask64 mask)
{
    return _mm512_maskz_loadu_epi8(mask, p);
}

SCAN_INLINE __m512i load_16(const char *p, __mmask64 mask)
{
    return _mm512_maskz_loadu_epi16((__mmask32)mask, p);
}

SCAN_INLINE __m512i load_32(const char *p, __mmask64 mask)
{
    return _mm512_maskz_loadu_epi32((__mmask16)mask, p);
}

SCAN_INLINE __m512i load_64(const char *p, __mmask64 mask)
{
    return _mm512_maskz_loadu_epi64((__mmask8)mask, p);
}

SCAN_INLINE __m512 load_f32x16(const char *p, __mmask64 mask)
{
    return _mm512_maskz_loadu_ps((__mmask16)mask, p);
}

SCAN_INLINE __m512d load_f64x8(const char *p, __mmask64 mask)
{
    return _mm512_maskz_loadu_pd((__mmask8)mask, p);
}

#define FULL_8(p) _mm512_loadu_si512(p)
#define FULL_16(p) _mm512_loadu_si512(p)
#define FULL_32(p) _mm512_loadu_si512(p)
#define FULL_64(p) _mm512_loadu_si512(p)
#define FULL_f32x16(p) _mm512_loadu_ps(p)
#define FULL_f64x8(p) _mm512_loadu_pd(p)

/* ---- comparisons ---- */

/* For every word: test(v) of its registers v, which hold `lanes` values each. */
#define FOR_EACH_WORD(vector, load, lanes, test)                                                         \
    do {                                                                                                 \
        const char *p = values;                                                                          \
        size_t i = 0;                                                                                    \
        for (; i + 64 <= n; i += 64) {                                                                   \
            uint64_t word = 0;                                                                           \
            _Pragma("GCC unroll 8") for (unsigned j = 0; j < 64 / (lanes); j++, p += 64)                 \
            {                                                                                            \
                const vector v = FULL_##load(p);                                                         \
                word |= (uint64_t)(test) << (j * (lanes));                                               \
            }                                                                                            \
            bits[i / 64] = word;                                                                         \
        }                                                                                                \
        if (i < n) {                                                                                     \
            uint64_t word = 0;                                                                           \
            for (size_t j = 0; j < n - i; j += (lanes), p += 64) {                                       \
                const __mmask64 mask = first64(n - i - j < (lanes) ? n - i - j : (lanes));               \
                const vector v = load_##load(p, mask);                                                   \
                word |= ((uint64_t)(test) & mask) << j;                                                  \
            }                                                                                            \
            bits[i / 64] = word;                                                                         \
        }                                                                                                \
    } while (0)

#define DEFINE_COMPARE(name, type, vector, load, lanes, set, compare, eq, ne, lt, le, gt, ge)               \
    static void compare_##name(const void *values, size_t n, enum compare_op op, type constant, uint64_t *bits) \
    {                                                                                                       \
        const vector c = set(constant);                                                                     \
        switch (op) {                                                                                       \
        case COMPARE_EQ: FOR_EACH_WORD(vector, load, lanes, compare(v, c, eq)); break;                      \
        case COMPARE_NE: FOR_EACH_WORD(vector, load, lanes, compare(v, c, ne)); break;                      \
        case COMPARE_LT: FOR_EACH_WORD(vector, load, lanes, compare(v, c, lt)); break;                      \
        case COMPARE_LE: FOR_EACH_WORD(vector, load, lanes, compare(v, c, le)); break;                      \
        case COMPARE_GT: FOR_EACH_WORD(vector, load, lanes, compare(v, c, gt)); break;                      \
        default: FOR_EACH_WORD(vector, load, lanes, compare(v, c, ge)); break;                              \
        }                                                                                                   \
    }                                                                                                       \
    static void range_##name(const void *values, size_t n, type low, type high, uint64_t *bits)             \
    {                                                                                                       \
        const vector l = set(low), h = set(high);                                                           \
        FOR_EACH_WORD(vector, load, lanes, compare(v, l, ge) & compare(v, h, le));                          \
    }

#define INTEGER_OPS                                                                                     \
    _MM_CMPINT_EQ, _MM_CMPINT_NE, _MM_CMPINT_LT, _MM_CMPINT_LE, _MM_CMPINT_NLE, _MM_CMPINT_NLT
#define FLOAT_OPS _CMP_EQ_OQ, _CMP_NEQ_UQ, _CMP_LT_OQ, _CMP_LE_OQ, _CMP_GT_OQ, _CMP_GE_OQ
#define DEFINE(name, type, vector, load, lanes, set, compare, ops) \
    DEFINE_COMPARE(name, type, vector, load, lanes, set, compare, ops)

DEFINE(i8, int8_t, __m512i, 8, 64, _mm512_set1_epi8, _mm512_cmp_epi8_mask, INTEGER_OPS)
DEFINE(u8, uint8_t, __m512i, 8, 64, _mm512_set1_epi8, _mm512_cmp_epu8_mask, INTEGER_OPS)
DEFINE(i16, int16_t, __m512i, 16, 32, _mm512_set1_epi16, _mm512_cmp_epi16_mask, INTEGER_OPS)
DEFINE(i32, int32_t, __m512i, 32, 16, _mm512_set1_epi32, _mm512_cmp_epi32_mask, INTEGER_OPS)
DEFINE(i64, int64_t, __m512i, 64, 8, _mm512_set1_epi64, _mm512_cmp_epi64_mask, INTEGER_OPS)
DEFINE(f32, float, __m512, f32x16, 16, _mm512_set1_ps, _mm512_cmp_ps_mask, FLOAT_OPS)
DEFINE(f64, double, __m512d, f64x8, 8, _mm512_set1_pd, _mm512_cmp_pd_mask, FLOAT_OPS)

/* ---- bitmaps ---- */

SCAN_INLINE __mmask8 first8(size_t n)
{
    return (__mmask8)_bzhi_u32(0xff, (unsigned)(n < 8 ? n : 8));
}

#define DEFINE_BITS(name, expression)                                                             \
    static void name(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out)           \
    {                                                                                             \
        for (size_t i = 0; i < words; i += 8) {                                                   \
            __mmask8 mask = first8(words - i);                                                    \
            const __m512i x = _mm512_maskz_loadu_epi64(mask, a + i);                              \
            const __m512i y = _mm512_maskz_loadu_epi64(mask, b + i);                              \
            _mm512_mask_storeu_epi64(out + i, mask, expression);                                  \
        }                                                                                         \
    }

DEFINE_BITS(bits_and, _mm512_and_si512(x, y))
DEFINE_BITS(bits_or, _mm512_or_si512(x, y))
DEFINE_BITS(bits_andnot, _mm512_andnot_si512(y, x))

static void bits_not(const uint64_t *a, size_t words, uint64_t *out)
{
    const __m512i ones = _mm512_set1_epi64(-1);

    for (size_t i = 0; i < words; i += 8) {
        __mmask8 mask = first8(words - i);
        __m512i x = _mm512_maskz_loadu_epi64(mask, a + i);
        _mm512_mask_storeu_epi64(out + i, mask, _mm512_xor_si512(x, ones));
    }
}

static size_t bits_count(const uint64_t *a, size_t words)
{
    __m512i sum = _mm512_setzero_si512();

    for (size_t i = 0; i < words; i += 8)
        sum = _mm512_add_epi64(sum, count_bits_x8(_mm512_maskz_loadu_epi64(first8(words - i), a + i)));
    return (size_t)_mm512_reduce_add_epi64(sum);
}

static size_t bits_and_count(const uint64_t *a, const uint64_t *b, size_t words)
{
    __m512i sum = _mm512_setzero_si512();

    for (size_t i = 0; i < words; i += 8) {
        __mmask8 mask = first8(words - i);
        __m512i x = _mm512_maskz_loadu_epi64(mask, a + i), y = _mm512_maskz_loadu_epi64(mask, b + i);
        sum = _mm512_add_epi64(sum, count_bits_x8(_mm512_and_si512(x, y)));
    }
    return (size_t)_mm512_reduce_add_epi64(sum);
}

/* The numbers of a mask's lanes, packed. Compressed in a register: straight to memory it is microcoded on Zen 4. */
SCAN_INLINE size_t put_lanes(uint32_t *out, __mmask16 mask, uint32_t first)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    unsigned count = (unsigned)_mm_popcnt_u32(mask);
    __m512i packed = _mm512_maskz_compress_epi32(mask, _mm512_add_epi32(lanes, _mm512_set1_epi32((int)first)));

    _mm512_mask_storeu_epi32(out, first16(count), packed);
    return count;
}

static size_t bits_list(const uint64_t *bits, size_t words, uint32_t first, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < words; i++, first += 64) {
        uint64_t word = bits[i];
        if (_mm_popcnt_u64(word) <= 8) {
            for (; word; word = _blsr_u64(word))
                out[count++] = first + (uint32_t)_tzcnt_u64(word);
            continue;
        }
        for (unsigned j = 0; j < 64; j += 16)
            count += put_lanes(out + count, (__mmask16)(word >> j), first + j);
    }
    return count;
}

/* ---- selection ---- */

/* Most values are not selected: 64 are rejected by one test. */
#define DEFINE_BELOW(name, type, vector, load, set, compare)                                            \
    static size_t name(const type *values, size_t n, type threshold, uint32_t first, uint32_t *out)     \
    {                                                                                                   \
        const vector t = set(threshold);                                                                \
        size_t i = 0, count = 0;                                                                        \
        for (; i + 64 <= n; i += 64) {                                                                  \
            __mmask16 mask[4];                                                                          \
            _Pragma("GCC unroll 4") for (int j = 0; j < 4; j++)                                         \
                mask[j] = compare(FULL_##load(values + i + 16 * j), t);                                 \
            if (!(mask[0] | mask[1] | mask[2] | mask[3]))                                               \
                continue;                                                                               \
            for (unsigned j = 0; j < 4; j++)                                                            \
                if (mask[j])                                                                            \
                    count += put_lanes(out + count, mask[j], first + (uint32_t)i + 16 * j);             \
        }                                                                                               \
        for (; i < n; i += 16) {                                                                        \
            __mmask16 some = first16(n - i < 16 ? n - i : 16);                                          \
            __mmask16 mask = some & compare(load_##load((const char *)(values + i), some), t);          \
            if (mask)                                                                                   \
                count += put_lanes(out + count, mask, first + (uint32_t)i);                             \
        }                                                                                               \
        return count;                                                                                   \
    }

#define BELOW_F32(v, t) _mm512_cmp_ps_mask(v, t, _CMP_LT_OQ)
DEFINE_BELOW(below_f32, float, __m512, f32x16, _mm512_set1_ps, BELOW_F32)
DEFINE_BELOW(below_i32, int32_t, __m512i, 32, _mm512_set1_epi32, _mm512_cmplt_epi32_mask)

#define DEFINE_EXTREME(name, type, vector, set, masked_load, full_load, pick, reduce)                     \
    static type name(const void *values, size_t n)                                                        \
    {                                                                                                     \
        const type *p = values;                                                                           \
        type head;                                                                                        \
        vector best0, best1;                                                                              \
        size_t i = 0;                                                                                     \
        memcpy(&head, p, sizeof head);                                                                    \
        best0 = best1 = set(head);                                                                        \
        for (; i + 32 <= n; i += 32) {                                                                    \
            best0 = pick(best0, full_load(p + i));                                                        \
            best1 = pick(best1, full_load(p + i + 16));                                                   \
        }                                                                                                 \
        for (; i < n; i += 16)                                                                            \
            best0 = pick(best0, masked_load(best0, first16(n - i < 16 ? n - i : 16), p + i));             \
        return reduce(pick(best0, best1));                                                                \
    }

DEFINE_EXTREME(min_f32, float, __m512, _mm512_set1_ps, _mm512_mask_loadu_ps, _mm512_loadu_ps, _mm512_min_ps,
               _mm512_reduce_min_ps)
DEFINE_EXTREME(max_f32, float, __m512, _mm512_set1_ps, _mm512_mask_loadu_ps, _mm512_loadu_ps, _mm512_max_ps,
               _mm512_reduce_max_ps)
DEFINE_EXTREME(min_i32, int32_t, __m512i, _mm512_set1_epi32, _mm512_mask_loadu_epi32, _mm512_loadu_si512,
               _mm512_min_epi32, _mm512_reduce_min_epi32)
DEFINE_EXTREME(max_i32, int32_t, __m512i, _mm512_set1_epi32, _mm512_mask_loadu_epi32, _mm512_loadu_si512,
               _mm512_max_epi32, _mm512_reduce_max_epi32)

const struct compare_kernels AVX512(compare) = {
    .i8 = compare_i8,
    .u8 = compare_u8,
    .i16 = compare_i16,
    .i32 = compare_i32,
    .i64 = compare_i64,
    .f32 = compare_f32,
    .f64 = compare_f64,
    .i8_range = range_i8,
    .u8_range = range_u8,
    .i16_range = range_i16,
    .i32_range = range_i32,
    .i64_range = range_i64,
    .f32_range = range_f32,
    .f64_range = range_f64,
    .bits_and = bits_and,
    .bits_or = bits_or,
    .bits_andnot = bits_andnot,
    .bits_not = bits_not,
    .bits_count = bits_count,
    .bits_and_count = bits_and_count,
    .bits_list = bits_list,
    .below_f32 = below_f32,
    .below_i32 = below_i32,
    .min_f32 = min_f32,
    .max_f32 = max_f32,
    .min_i32 = min_i32,
    .max_i32 = max_i32,
};
