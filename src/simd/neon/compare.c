/* NEON comparing, bitmaps and selection: same functions, order and contracts as scalar/compare.c. A comparison's result is a
 * lane of ones or zeros; lanes are narrowed to bytes, and 64 of those to a word of bits. */
#include "simd/neon/vec.h"

#ifndef NEON
#define NEON(name) name##_neon /* the table's name */
#endif

/* ---- 64 values to a word ---- */

/* The lowest bit of each byte weighs 2^(its place modulo 8); three pairwise additions gather eight in one byte. */
SCAN_INLINE uint64_t word_of_masks(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d)
{
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vld1q_u8(bit);
    uint8x16_t ab = vpaddq_u8(vandq_u8(a, bits), vandq_u8(b, bits));
    uint8x16_t cd = vpaddq_u8(vandq_u8(c, bits), vandq_u8(d, bits));
    uint8x16_t abcd = vpaddq_u8(ab, cd);

    return vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(abcd, abcd)), 0);
}

SCAN_INLINE uint8x16_t load_8(const char *p)
{
    return vld1q_u8((const uint8_t *)p);
}

SCAN_INLINE uint8x16_t narrow_16(uint16x8_t a, uint16x8_t b)
{
    return vuzp1q_u8(vreinterpretq_u8_u16(a), vreinterpretq_u8_u16(b));
}

SCAN_INLINE uint16x8_t narrow_32(uint32x4_t a, uint32x4_t b)
{
    return vuzp1q_u16(vreinterpretq_u16_u32(a), vreinterpretq_u16_u32(b));
}

SCAN_INLINE uint32x4_t narrow_64(uint64x2_t a, uint64x2_t b)
{
    return vuzp1q_u32(vreinterpretq_u32_u64(a), vreinterpretq_u32_u64(b));
}

/* Masks of 16 values from p on, by the width of one; test(v) gives a lane's mask. */
#define MASKS_8(test, p) test(load_8(p))
#define MASKS_16(test, p) narrow_16(test(load_8(p)), test(load_8((p) + 16)))
#define MASKS_32(test, p)                                               \
    narrow_16(narrow_32(test(load_8(p)), test(load_8((p) + 16))),       \
              narrow_32(test(load_8((p) + 32)), test(load_8((p) + 48))))
#define PAIR_64(test, p) narrow_64(test(load_8(p)), test(load_8((p) + 16)))
#define MASKS_64(test, p)                                               \
    narrow_16(narrow_32(PAIR_64(test, p), PAIR_64(test, (p) + 32)),     \
              narrow_32(PAIR_64(test, (p) + 64), PAIR_64(test, (p) + 96)))

#define FOR_EACH_WORD(width, invert, test)                                                              \
    for (; i + 64 <= n; i += 64, p += 8 * (width))                                                      \
        bits[i / 64] = (invert) ^ word_of_masks(MASKS_##width(test, p), MASKS_##width(test, p + 2 * (width)), \
                                                MASKS_##width(test, p + 4 * (width)),                   \
                                                MASKS_##width(test, p + 6 * (width)));

#define ALL (~(uint64_t)0)

#define DEFINE_COMPARE(name, type, width, vector, dup)                                                               \
    static void compare_##name(const void *values, size_t n, enum compare_op op, type constant, uint64_t *bits)      \
    {                                                                                                                \
        const char *p = values;                                                                                      \
        const vector c = dup(constant);                                                                              \
        size_t i = 0;                                                                                                \
        switch (op) {                                                                                                \
        case COMPARE_EQ: FOR_EACH_WORD(width, 0, EQ_##name) break;                                                   \
        case COMPARE_NE: FOR_EACH_WORD(width, ALL, EQ_##name) break;                                                 \
        case COMPARE_LT: FOR_EACH_WORD(width, 0, LT_##name) break;                                                   \
        case COMPARE_LE: FOR_EACH_WORD(width, 0, LE_##name) break;                                                   \
        case COMPARE_GT: FOR_EACH_WORD(width, 0, GT_##name) break;                                                   \
        default: FOR_EACH_WORD(width, 0, GE_##name) break;                                                           \
        }                                                                                                            \
        scalar_compare_##name(p, n - i, op, constant, bits + i / 64);                                                \
    }                                                                                                                \
    static void range_##name(const void *values, size_t n, type low, type high, uint64_t *bits)                      \
    {                                                                                                                \
        const char *p = values;                                                                                      \
        const vector l = dup(low), h = dup(high);                                                                    \
        size_t i = 0;                                                                                                \
        FOR_EACH_WORD(width, 0, IN_##name)                                                                           \
        scalar_range_##name(p, n - i, low, high, bits + i / 64);                                                     \
    }

#define EQ_i8(v) vceqq_s8(vreinterpretq_s8_u8(v), c)
#define LT_i8(v) vcltq_s8(vreinterpretq_s8_u8(v), c)
#define LE_i8(v) vcleq_s8(vreinterpretq_s8_u8(v), c)
#define GT_i8(v) vcgtq_s8(vreinterpretq_s8_u8(v), c)
#define GE_i8(v) vcgeq_s8(vreinterpretq_s8_u8(v), c)
#define IN_i8(v) vandq_u8(vcgeq_s8(vreinterpretq_s8_u8(v), l), vcleq_s8(vreinterpretq_s8_u8(v), h))
#define EQ_u8(v) vceqq_u8(v, c)
#define LT_u8(v) vcltq_u8(v, c)
#define LE_u8(v) vcleq_u8(v, c)
#define GT_u8(v) vcgtq_u8(v, c)
#define GE_u8(v) vcgeq_u8(v, c)
#define IN_u8(v) vandq_u8(vcgeq_u8(v, l), vcleq_u8(v, h))
#define EQ_i16(v) vceqq_s16(vreinterpretq_s16_u8(v), c)
#define LT_i16(v) vcltq_s16(vreinterpretq_s16_u8(v), c)
#define LE_i16(v) vcleq_s16(vreinterpretq_s16_u8(v), c)
#define GT_i16(v) vcgtq_s16(vreinterpretq_s16_u8(v), c)
#define GE_i16(v) vcgeq_s16(vreinterpretq_s16_u8(v), c)
#define IN_i16(v) vandq_u16(vcgeq_s16(vreinterpretq_s16_u8(v), l), vcleq_s16(vreinterpretq_s16_u8(v), h))
#define EQ_i32(v) vceqq_s32(vreinterpretq_s32_u8(v), c)
#define LT_i32(v) vcltq_s32(vreinterpretq_s32_u8(v), c)
#define LE_i32(v) vcleq_s32(vreinterpretq_s32_u8(v), c)
#define GT_i32(v) vcgtq_s32(vreinterpretq_s32_u8(v), c)
#define GE_i32(v) vcgeq_s32(vreinterpretq_s32_u8(v), c)
#define IN_i32(v) vandq_u32(vcgeq_s32(vreinterpretq_s32_u8(v), l), vcleq_s32(vreinterpretq_s32_u8(v), h))
#define EQ_i64(v) vceqq_s64(vreinterpretq_s64_u8(v), c)
#define LT_i64(v) vcltq_s64(vreinterpretq_s64_u8(v), c)
#define LE_i64(v) vcleq_s64(vreinterpretq_s64_u8(v), c)
#define GT_i64(v) vcgtq_s64(vreinterpretq_s64_u8(v), c)
#define GE_i64(v) vcgeq_s64(vreinterpretq_s64_u8(v), c)
#define IN_i64(v) vandq_u64(vcgeq_s64(vreinterpretq_s64_u8(v), l), vcleq_s64(vreinterpretq_s64_u8(v), h))
#define EQ_f32(v) vceqq_f32(vreinterpretq_f32_u8(v), c)
#define LT_f32(v) vcltq_f32(vreinterpretq_f32_u8(v), c)
#define LE_f32(v) vcleq_f32(vreinterpretq_f32_u8(v), c)
#define GT_f32(v) vcgtq_f32(vreinterpretq_f32_u8(v), c)
#define GE_f32(v) vcgeq_f32(vreinterpretq_f32_u8(v), c)
#define IN_f32(v) vandq_u32(vcgeq_f32(vreinterpretq_f32_u8(v), l), vcleq_f32(vreinterpretq_f32_u8(v), h))
#define EQ_f64(v) vceqq_f64(vreinterpretq_f64_u8(v), c)
#define LT_f64(v) vcltq_f64(vreinterpretq_f64_u8(v), c)
#define LE_f64(v) vcleq_f64(vreinterpretq_f64_u8(v), c)
#define GT_f64(v) vcgtq_f64(vreinterpretq_f64_u8(v), c)
#define GE_f64(v) vcgeq_f64(vreinterpretq_f64_u8(v), c)
#define IN_f64(v) vandq_u64(vcgeq_f64(vreinterpretq_f64_u8(v), l), vcleq_f64(vreinterpretq_f64_u8(v), h))

DEFINE_COMPARE(i8, int8_t, 8, int8x16_t, vdupq_n_s8)
DEFINE_COMPARE(u8, uint8_t, 8, uint8x16_t, vdupq_n_u8)
DEFINE_COMPARE(i16, int16_t, 16, int16x8_t, vdupq_n_s16)
DEFINE_COMPARE(i32, int32_t, 32, int32x4_t, vdupq_n_s32)
DEFINE_COMPARE(i64, int64_t, 64, int64x2_t, vdupq_n_s64)
DEFINE_COMPARE(f32, float, 32, float32x4_t, vdupq_n_f32)
DEFINE_COMPARE(f64, double, 64, float64x2_t, vdupq_n_f64)

/* ---- bitmaps ---- */

static size_t bits_count(const uint64_t *a, size_t words)
{
    uint64x2_t sum = vdupq_n_u64(0);
    size_t i = 0;

    for (; i + 2 <= words; i += 2)
        sum = vpadalq_u32(sum, vpaddlq_u16(vpaddlq_u8(vcntq_u8(load_8((const char *)(a + i))))));
    return vaddvq_u64(sum) + scalar_bits_count(a + i, words - i);
}

static size_t bits_and_count(const uint64_t *a, const uint64_t *b, size_t words)
{
    uint64x2_t sum = vdupq_n_u64(0);
    size_t i = 0;

    for (; i + 2 <= words; i += 2) {
        uint8x16_t both = vandq_u8(load_8((const char *)(a + i)), load_8((const char *)(b + i)));
        sum = vpadalq_u32(sum, vpaddlq_u16(vpaddlq_u8(vcntq_u8(both))));
    }
    return vaddvq_u64(sum) + scalar_bits_and_count(a + i, b + i, words - i);
}

/* ---- selection ---- */

/* Most values are not selected: 64 are rejected by one test. */
#define DEFINE_BELOW(name, type, vector, dup, test)                                                      \
    static size_t name(const type *values, size_t n, type threshold, uint32_t first, uint32_t *out)      \
    {                                                                                                    \
        const char *p = (const char *)values;                                                            \
        const vector c = dup(threshold);                                                                 \
        size_t i = 0, count = 0;                                                                         \
        for (; i + 64 <= n; i += 64, p += 256) {                                                         \
            uint64_t mask = word_of_masks(MASKS_32(test, p), MASKS_32(test, p + 64), MASKS_32(test, p + 128), \
                                          MASKS_32(test, p + 192));                                      \
            for (; mask; mask &= mask - 1)                                                               \
                out[count++] = first + (uint32_t)i + (uint32_t)__builtin_ctzll(mask);                    \
        }                                                                                                \
        return count + scalar_##name(values + i, n - i, threshold, first + (uint32_t)i, out + count);    \
    }

DEFINE_BELOW(below_f32, float, float32x4_t, vdupq_n_f32, LT_f32)
DEFINE_BELOW(below_i32, int32_t, int32x4_t, vdupq_n_s32, LT_i32)

#define DEFINE_EXTREME(name, type, vector, load, pick, across)                     \
    static type name(const void *values, size_t n)                                 \
    {                                                                              \
        const char *p = values;                                                    \
        vector best0, best1;                                                       \
        size_t i = 8;                                                              \
        if (n < 8)                                                                 \
            return scalar_##name(values, n);                                       \
        best0 = load(p);                                                           \
        best1 = load(p + 16);                                                      \
        for (; i + 8 <= n; i += 8) {                                               \
            best0 = pick(best0, load(p + 4 * i));                                  \
            best1 = pick(best1, load(p + 4 * i + 16));                             \
        }                                                                          \
        best0 = pick(best0, load(p + 4 * n - 16)); /* the rest, some once more */  \
        best1 = pick(best1, load(p + 4 * n - 32));                                 \
        return across(pick(best0, best1));                                         \
    }

#define LOAD_F32(p) vreinterpretq_f32_u8(load_8(p))
#define LOAD_I32(p) vreinterpretq_s32_u8(load_8(p))
DEFINE_EXTREME(min_f32, float, float32x4_t, LOAD_F32, vminq_f32, vminvq_f32)
DEFINE_EXTREME(max_f32, float, float32x4_t, LOAD_F32, vmaxq_f32, vmaxvq_f32)
DEFINE_EXTREME(min_i32, int32_t, int32x4_t, LOAD_I32, vminq_s32, vminvq_s32)
DEFINE_EXTREME(max_i32, int32_t, int32x4_t, LOAD_I32, vmaxq_s32, vmaxvq_s32)

const struct compare_kernels NEON(compare) = {
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
    .bits_and = scalar_bits_and,
    .bits_or = scalar_bits_or,
    .bits_andnot = scalar_bits_andnot,
    .bits_not = scalar_bits_not,
    .bits_count = bits_count,
    .bits_and_count = bits_and_count,
    .bits_list = scalar_bits_list,
    .below_f32 = below_f32,
    .below_i32 = below_i32,
    .min_f32 = min_f32,
    .max_f32 = max_f32,
    .min_i32 = min_i32,
    .max_i32 = max_i32,
};
