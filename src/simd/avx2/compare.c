/* AVX2 comparing, bitmaps and selection: same functions, order and contracts as scalar/compare.c. There are only "equal" and
 * "greater" for integers; the other three are the complement of these, or the operands exchanged. */
#include "simd/avx2/vec.h"

#ifndef AVX2
#define AVX2(name) name##_avx2 /* the table's name */
#endif

/* ---- 64 values to a word ---- */

SCAN_INLINE uint64_t mask_bytes(__m256i low, __m256i high)
{
    return (uint32_t)_mm256_movemask_epi8(low) | (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
}

/* 32 comparisons of 16 bits to 32 bytes in order: packs works within each half of a register. */
SCAN_INLINE __m256i narrow(__m256i low, __m256i high)
{
    return _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
}

#define WORD_8(test) mask_bytes(test(load32(p)), test(load32(p + 32)))
#define WORD_16(test)                                                     \
    mask_bytes(narrow(test(load32(p)), test(load32(p + 32))),             \
               narrow(test(load32(p + 64)), test(load32(p + 96))))
#define LANES_32(test, j) ((uint64_t)(unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(test(load32(p + 32 * (j))))) << (8 * (j)))
#define WORD_32(test)                                                                                \
    (LANES_32(test, 0) | LANES_32(test, 1) | LANES_32(test, 2) | LANES_32(test, 3) | LANES_32(test, 4) | \
     LANES_32(test, 5) | LANES_32(test, 6) | LANES_32(test, 7))
#define LANES_64(test, j) ((uint64_t)(unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(test(load32(p + 32 * (j))))) << (4 * (j)))
#define WORD_64(test)                                                                                        \
    (LANES_64(test, 0) | LANES_64(test, 1) | LANES_64(test, 2) | LANES_64(test, 3) | LANES_64(test, 4) |     \
     LANES_64(test, 5) | LANES_64(test, 6) | LANES_64(test, 7) | LANES_64(test, 8) | LANES_64(test, 9) |     \
     LANES_64(test, 10) | LANES_64(test, 11) | LANES_64(test, 12) | LANES_64(test, 13) | LANES_64(test, 14) | \
     LANES_64(test, 15))

/* For the whole words; rest(i) does the values from i on. */
#define FOR_EACH_WORD(type, word)                                     \
    for (; i + 64 <= n; i += 64, p += 64 * sizeof(type))              \
        bits[i / 64] = (word);

#define DEFINE_COMPARE(name, type, width, vector, set, eq, ne, lt, le, gt, ge)                                       \
    static void compare_##name(const void *values, size_t n, enum compare_op op, type constant, uint64_t *bits)      \
    {                                                                                                                \
        const char *p = values;                                                                                      \
        const vector c = set(constant);                                                                              \
        size_t i = 0;                                                                                                \
        switch (op) {                                                                                                \
        case COMPARE_EQ: FOR_EACH_WORD(type, eq(width)) break;                                                       \
        case COMPARE_NE: FOR_EACH_WORD(type, ne(width)) break;                                                       \
        case COMPARE_LT: FOR_EACH_WORD(type, lt(width)) break;                                                       \
        case COMPARE_LE: FOR_EACH_WORD(type, le(width)) break;                                                       \
        case COMPARE_GT: FOR_EACH_WORD(type, gt(width)) break;                                                       \
        default: FOR_EACH_WORD(type, ge(width)) break;                                                               \
        }                                                                                                            \
        scalar_compare_##name(p, n - i, op, constant, bits + i / 64);                                                \
    }

#define DEFINE_RANGE(name, type, width, vector, set, within)                                                         \
    static void range_##name(const void *values, size_t n, type low, type high, uint64_t *bits)                      \
    {                                                                                                                \
        const char *p = values;                                                                                      \
        const vector l = set(low), h = set(high);                                                                    \
        size_t i = 0;                                                                                                \
        FOR_EACH_WORD(type, within(width))                                                                           \
        scalar_range_##name(p, n - i, low, high, bits + i / 64);                                                     \
    }

/* ---- integers ---- */

#define WORD(width, test) WORD_##width(test)

#define EQ_8(v) _mm256_cmpeq_epi8(v, c)
#define GT_8(v) _mm256_cmpgt_epi8(v, c)
#define LT_8(v) _mm256_cmpgt_epi8(c, v)
#define OUT_8(v) _mm256_or_si256(_mm256_cmpgt_epi8(l, v), _mm256_cmpgt_epi8(v, h))
#define EQ_16(v) _mm256_cmpeq_epi16(v, c)
#define GT_16(v) _mm256_cmpgt_epi16(v, c)
#define LT_16(v) _mm256_cmpgt_epi16(c, v)
#define OUT_16(v) _mm256_or_si256(_mm256_cmpgt_epi16(l, v), _mm256_cmpgt_epi16(v, h))
#define EQ_32(v) _mm256_cmpeq_epi32(v, c)
#define GT_32(v) _mm256_cmpgt_epi32(v, c)
#define LT_32(v) _mm256_cmpgt_epi32(c, v)
#define OUT_32(v) _mm256_or_si256(_mm256_cmpgt_epi32(l, v), _mm256_cmpgt_epi32(v, h))
#define EQ_64(v) _mm256_cmpeq_epi64(v, c)
#define GT_64(v) _mm256_cmpgt_epi64(v, c)
#define LT_64(v) _mm256_cmpgt_epi64(c, v)
#define OUT_64(v) _mm256_or_si256(_mm256_cmpgt_epi64(l, v), _mm256_cmpgt_epi64(v, h))

#define EQ_OF(width) WORD(width, EQ_##width)
#define NE_OF(width) ~WORD(width, EQ_##width)
#define LT_OF(width) WORD(width, LT_##width)
#define LE_OF(width) ~WORD(width, GT_##width)
#define GT_OF(width) WORD(width, GT_##width)
#define GE_OF(width) ~WORD(width, LT_##width)
#define WITHIN(width) ~WORD(width, OUT_##width)

#define DEFINE_INTEGER(name, type, width, set)                                                      \
    DEFINE_COMPARE(name, type, width, __m256i, set, EQ_OF, NE_OF, LT_OF, LE_OF, GT_OF, GE_OF)       \
    DEFINE_RANGE(name, type, width, __m256i, set, WITHIN)

DEFINE_INTEGER(i8, int8_t, 8, _mm256_set1_epi8)
DEFINE_INTEGER(i16, int16_t, 16, _mm256_set1_epi16)
DEFINE_INTEGER(i32, int32_t, 32, _mm256_set1_epi32)
DEFINE_INTEGER(i64, int64_t, 64, _mm256_set1_epi64x)

/* Unsigned bytes: with the top bit flipped their order is that of signed ones. */
#define SET_FLIPPED(constant) flip(_mm256_set1_epi8((char)(constant)))
#define EQ_U8(v) _mm256_cmpeq_epi8(flip(v), c)
#define GT_U8(v) _mm256_cmpgt_epi8(flip(v), c)
#define LT_U8(v) _mm256_cmpgt_epi8(c, flip(v))
#define OUT_U8(v) _mm256_or_si256(_mm256_cmpgt_epi8(l, flip(v)), _mm256_cmpgt_epi8(flip(v), h))
#define EQ_OF_U8(width) WORD(width, EQ_U8)
#define NE_OF_U8(width) ~WORD(width, EQ_U8)
#define LT_OF_U8(width) WORD(width, LT_U8)
#define LE_OF_U8(width) ~WORD(width, GT_U8)
#define GT_OF_U8(width) WORD(width, GT_U8)
#define GE_OF_U8(width) ~WORD(width, LT_U8)
#define WITHIN_U8(width) ~WORD(width, OUT_U8)

DEFINE_COMPARE(u8, uint8_t, 8, __m256i, SET_FLIPPED, EQ_OF_U8, NE_OF_U8, LT_OF_U8, LE_OF_U8, GT_OF_U8, GE_OF_U8)
DEFINE_RANGE(u8, uint8_t, 8, __m256i, SET_FLIPPED, WITHIN_U8)

/* ---- floats ---- */

#define F32(v) _mm256_castsi256_ps(v)
#define F32_TEST(v, op) _mm256_castps_si256(_mm256_cmp_ps(F32(v), c, op))
#define F32_EQ(v) F32_TEST(v, _CMP_EQ_OQ)
#define F32_NE(v) F32_TEST(v, _CMP_NEQ_UQ)
#define F32_LT(v) F32_TEST(v, _CMP_LT_OQ)
#define F32_LE(v) F32_TEST(v, _CMP_LE_OQ)
#define F32_GT(v) F32_TEST(v, _CMP_GT_OQ)
#define F32_GE(v) F32_TEST(v, _CMP_GE_OQ)
#define F32_WITHIN(v) \
    _mm256_castps_si256(_mm256_and_ps(_mm256_cmp_ps(F32(v), l, _CMP_GE_OQ), _mm256_cmp_ps(F32(v), h, _CMP_LE_OQ)))
#define F64(v) _mm256_castsi256_pd(v)
#define F64_TEST(v, op) _mm256_castpd_si256(_mm256_cmp_pd(F64(v), c, op))
#define F64_EQ(v) F64_TEST(v, _CMP_EQ_OQ)
#define F64_NE(v) F64_TEST(v, _CMP_NEQ_UQ)
#define F64_LT(v) F64_TEST(v, _CMP_LT_OQ)
#define F64_LE(v) F64_TEST(v, _CMP_LE_OQ)
#define F64_GT(v) F64_TEST(v, _CMP_GT_OQ)
#define F64_GE(v) F64_TEST(v, _CMP_GE_OQ)
#define F64_WITHIN(v) \
    _mm256_castpd_si256(_mm256_and_pd(_mm256_cmp_pd(F64(v), l, _CMP_GE_OQ), _mm256_cmp_pd(F64(v), h, _CMP_LE_OQ)))

#define FLOAT_EQ(kind) WORD_OF_##kind(EQ)
#define FLOAT_NE(kind) WORD_OF_##kind(NE)
#define FLOAT_LT(kind) WORD_OF_##kind(LT)
#define FLOAT_LE(kind) WORD_OF_##kind(LE)
#define FLOAT_GT(kind) WORD_OF_##kind(GT)
#define FLOAT_GE(kind) WORD_OF_##kind(GE)
#define FLOAT_WITHIN(kind) WORD_OF_##kind(WITHIN)
#define WORD_OF_F32(op) WORD_32(F32_##op)
#define WORD_OF_F64(op) WORD_64(F64_##op)

DEFINE_COMPARE(f32, float, F32, __m256, _mm256_set1_ps, FLOAT_EQ, FLOAT_NE, FLOAT_LT, FLOAT_LE, FLOAT_GT, FLOAT_GE)
DEFINE_RANGE(f32, float, F32, __m256, _mm256_set1_ps, FLOAT_WITHIN)
DEFINE_COMPARE(f64, double, F64, __m256d, _mm256_set1_pd, FLOAT_EQ, FLOAT_NE, FLOAT_LT, FLOAT_LE, FLOAT_GT, FLOAT_GE)
DEFINE_RANGE(f64, double, F64, __m256d, _mm256_set1_pd, FLOAT_WITHIN)

/* ---- bitmaps ---- */

SCAN_INLINE __m256i load_words(const uint64_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

#define DEFINE_BITS(name, op)                                                                     \
    static void name(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out)           \
    {                                                                                             \
        size_t i = 0;                                                                             \
        for (; i + 4 <= words; i += 4)                                                            \
            _mm256_storeu_si256((__m256i *)(out + i), op(load_words(a + i), load_words(b + i)));  \
        scalar_##name(a + i, b + i, words - i, out + i);                                          \
    }

#define AND_NOT(x, y) _mm256_andnot_si256(y, x)
DEFINE_BITS(bits_and, _mm256_and_si256)
DEFINE_BITS(bits_or, _mm256_or_si256)
DEFINE_BITS(bits_andnot, AND_NOT)

static void bits_not(const uint64_t *a, size_t words, uint64_t *out)
{
    const __m256i ones = _mm256_set1_epi64x(-1);
    size_t i = 0;

    for (; i + 4 <= words; i += 4)
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_xor_si256(load_words(a + i), ones));
    scalar_bits_not(a + i, words - i, out + i);
}

SCAN_INLINE size_t sum_words(__m256i sum)
{
    __m128i half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));

    return (size_t)_mm_cvtsi128_si64(_mm_add_epi64(half, _mm_unpackhi_epi64(half, half)));
}

static size_t bits_count(const uint64_t *a, size_t words)
{
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 4 <= words; i += 4)
        sum = _mm256_add_epi64(sum, count_bits_x4(load_words(a + i)));
    return sum_words(sum) + scalar_bits_count(a + i, words - i);
}

static size_t bits_and_count(const uint64_t *a, const uint64_t *b, size_t words)
{
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 4 <= words; i += 4)
        sum = _mm256_add_epi64(sum, count_bits_x4(_mm256_and_si256(load_words(a + i), load_words(b + i))));
    return sum_words(sum) + scalar_bits_and_count(a + i, b + i, words - i);
}

static size_t bits_list(const uint64_t *bits, size_t words, uint32_t first, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < words; i++, first += 64)
        for (uint64_t word = bits[i]; word; word = _blsr_u64(word))
            out[count++] = first + (uint32_t)_tzcnt_u64(word);
    return count;
}

/* ---- selection ---- */

/* Most values are not selected: 32 are rejected by one test. */
#define DEFINE_BELOW(name, type, vector, set, mask_of)                                                   \
    static size_t name(const type *values, size_t n, type threshold, uint32_t first, uint32_t *out)      \
    {                                                                                                    \
        const vector c = set(threshold);                                                                 \
        size_t i = 0, count = 0;                                                                         \
        for (; i + 32 <= n; i += 32) {                                                                   \
            uint32_t mask = 0;                                                                           \
            _Pragma("GCC unroll 4") for (unsigned j = 0; j < 4; j++)                                     \
            {                                                                                            \
                __m256i v = _mm256_loadu_si256((const __m256i *)(values + i + 8 * j));                   \
                mask |= (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(mask_of(v))) << (8 * j);        \
            }                                                                                            \
            for (; mask; mask = _blsr_u32(mask))                                                         \
                out[count++] = first + (uint32_t)i + _tzcnt_u32(mask);                                   \
        }                                                                                                \
        return count + scalar_##name(values + i, n - i, threshold, first + (uint32_t)i, out + count);    \
    }

DEFINE_BELOW(below_f32, float, __m256, _mm256_set1_ps, F32_LT)
DEFINE_BELOW(below_i32, int32_t, __m256i, _mm256_set1_epi32, LT_32)

#define DEFINE_EXTREME(name, type, vector, load, pick)                                     \
    static type name(const void *values, size_t n)                                         \
    {                                                                                      \
        const type *p = values;                                                            \
        vector best0, best1;                                                               \
        type lanes[8];                                                                     \
        size_t i = 16;                                                                     \
        if (n < 16)                                                                        \
            return scalar_##name(values, n);                                               \
        best0 = load(p);                                                                   \
        best1 = load(p + 8);                                                               \
        for (; i + 16 <= n; i += 16) {                                                     \
            best0 = pick(best0, load(p + i));                                              \
            best1 = pick(best1, load(p + i + 8));                                          \
        }                                                                                  \
        best0 = pick(best0, load(p + n - 8)); /* the rest, some of it once more */         \
        best1 = pick(best1, load(p + n - 16));                                             \
        best0 = pick(best0, best1);                                                        \
        memcpy(lanes, &best0, sizeof lanes);                                               \
        return scalar_##name(lanes, 8);                                                    \
    }

#define LOAD_F32(p) _mm256_loadu_ps(p)
#define LOAD_I32(p) load32((const char *)(p))
DEFINE_EXTREME(min_f32, float, __m256, LOAD_F32, _mm256_min_ps)
DEFINE_EXTREME(max_f32, float, __m256, LOAD_F32, _mm256_max_ps)
DEFINE_EXTREME(min_i32, int32_t, __m256i, LOAD_I32, _mm256_min_epi32)
DEFINE_EXTREME(max_i32, int32_t, __m256i, LOAD_I32, _mm256_max_epi32)

const struct compare_kernels AVX2(compare) = {
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
