/* NEON registers, in pairs: two give an operation the independent sums it needs to run at full rate. Types are named for
 * their lanes. Included by neon/ only. */
#ifndef VECDB_SIMD_NEON_VEC_H
#define VECDB_SIMD_NEON_VEC_H

#include <arm_neon.h>

#include "simd/scalar/scalar.h"
#include "simd/scan.h"

typedef float32x4x2_t f32x8;
typedef int32x4x2_t i32x8;
typedef uint8x16x2_t u8x32;

/* ---- loads ---- */

SCAN_INLINE u8x32 load32(const char *p)
{
    u8x32 v = {{vld1q_u8((const uint8_t *)p), vld1q_u8((const uint8_t *)p + 16)}};

    return v;
}

/* The n < 32 bytes at p, then zeros. */
static __attribute__((noinline, unused)) u8x32 load_part32(const char *p, size_t n)
{
    char bytes[32] = {0};

    memcpy(bytes, p, n);
    return load32(bytes);
}

static const uint8_t last_bytes[64] __attribute__((aligned(64), unused)) = { /* 32 zeros, 32 ones */
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
};

/* The bytes i .. size - 1 of a vector, fewer than 32, and zeros: where in the registers they lie depends on i and size
 * alone, so that two vectors' bytes meet. In a long vector they are the end of its last 32 bytes. */
SCAN_INLINE u8x32 load_last32(const char *p, size_t i, size_t size)
{
    u8x32 v, mask;

    if (size < 32)
        return load_part32(p + i, size - i);
    v = load32(p + size - 32);
    mask = load32((const char *)last_bytes + (size - i));
    v.val[0] = vandq_u8(v.val[0], mask.val[0]);
    v.val[1] = vandq_u8(v.val[1], mask.val[1]);
    return v;
}

SCAN_INLINE uint8x16_t load_last16(const char *p, size_t i, size_t size)
{
    if (size < 16)
        return load_part32(p + i, size - i).val[0];
    return vandq_u8(vld1q_u8((const uint8_t *)p + size - 16), vld1q_u8(last_bytes + 16 + (size - i)));
}

SCAN_INLINE f32x8 floats_of(u8x32 a)
{
    f32x8 v = {{vreinterpretq_f32_u8(a.val[0]), vreinterpretq_f32_u8(a.val[1])}};

    return v;
}

/* ---- sums ---- */

SCAN_INLINE f32x8 f32x8_zero(void)
{
    f32x8 v = {{vdupq_n_f32(0), vdupq_n_f32(0)}};

    return v;
}

SCAN_INLINE i32x8 i32x8_zero(void)
{
    i32x8 v = {{vdupq_n_s32(0), vdupq_n_s32(0)}};

    return v;
}

SCAN_INLINE f32x8 f32x8_add(f32x8 a, f32x8 b)
{
    f32x8 v = {{vaddq_f32(a.val[0], b.val[0]), vaddq_f32(a.val[1], b.val[1])}};

    return v;
}

SCAN_INLINE i32x8 i32x8_add(i32x8 a, i32x8 b)
{
    i32x8 v = {{vaddq_s32(a.val[0], b.val[0]), vaddq_s32(a.val[1], b.val[1])}};

    return v;
}

SCAN_INLINE float f32x8_sum(f32x8 a)
{
    return vaddvq_f32(vaddq_f32(a.val[0], a.val[1]));
}

SCAN_INLINE int32_t i32x8_sum(i32x8 a)
{
    return vaddvq_s32(vaddq_s32(a.val[0], a.val[1]));
}

/* Four sums at once, by pairwise additions. */
SCAN_INLINE void f32x8_sum4(f32x8 a, f32x8 b, f32x8 c, f32x8 d, float *out)
{
    float32x4_t ab = vpaddq_f32(vaddq_f32(a.val[0], a.val[1]), vaddq_f32(b.val[0], b.val[1]));
    float32x4_t cd = vpaddq_f32(vaddq_f32(c.val[0], c.val[1]), vaddq_f32(d.val[0], d.val[1]));

    vst1q_f32(out, vpaddq_f32(ab, cd));
}

SCAN_INLINE int32x4_t i32x8_total4(i32x8 a, i32x8 b, i32x8 c, i32x8 d)
{
    int32x4_t ab = vpaddq_s32(vaddq_s32(a.val[0], a.val[1]), vaddq_s32(b.val[0], b.val[1]));
    int32x4_t cd = vpaddq_s32(vaddq_s32(c.val[0], c.val[1]), vaddq_s32(d.val[0], d.val[1]));

    return vpaddq_s32(ab, cd);
}

SCAN_INLINE void i32x8_sum4(i32x8 a, i32x8 b, i32x8 c, i32x8 d, int32_t *out)
{
    vst1q_s32(out, i32x8_total4(a, b, c, d));
}

/* ---- products of bytes ---- */

SCAN_INLINE uint32x4_t add_u8u8(uint32x4_t sum, uint8x16_t a, uint8x16_t b)
{
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_u32(sum, a, b);
#else
    sum = vpadalq_u16(sum, vmull_u8(vget_low_u8(a), vget_low_u8(b)));
    return vpadalq_u16(sum, vmull_high_u8(a, b));
#endif
}

SCAN_INLINE int32x4_t add_s8s8(int32x4_t sum, int8x16_t a, int8x16_t b)
{
#ifdef __ARM_FEATURE_DOTPROD
    return vdotq_s32(sum, a, b);
#else
    sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    return vpadalq_s16(sum, vmull_high_s8(a, b));
#endif
}

/* The same on pairs of registers; unsigned sums stay below 2^31. */
SCAN_INLINE i32x8 add_u8u8_pair(i32x8 sum, u8x32 a, u8x32 b)
{
    i32x8 v = {{vreinterpretq_s32_u32(add_u8u8(vreinterpretq_u32_s32(sum.val[0]), a.val[0], b.val[0])),
                vreinterpretq_s32_u32(add_u8u8(vreinterpretq_u32_s32(sum.val[1]), a.val[1], b.val[1]))}};

    return v;
}

SCAN_INLINE i32x8 add_s8s8_pair(i32x8 sum, u8x32 a, u8x32 b)
{
    i32x8 v = {{add_s8s8(sum.val[0], vreinterpretq_s8_u8(a.val[0]), vreinterpretq_s8_u8(b.val[0])),
                add_s8s8(sum.val[1], vreinterpretq_s8_u8(a.val[1]), vreinterpretq_s8_u8(b.val[1]))}};

    return v;
}

/* Bits set. */
SCAN_INLINE i32x8 add_counts(i32x8 sum, uint8x16_t a, uint8x16_t b)
{
#ifdef __ARM_FEATURE_DOTPROD
    u8x32 counts = {{vcntq_u8(a), vcntq_u8(b)}}, ones = {{vdupq_n_u8(1), vdupq_n_u8(1)}};

    return add_u8u8_pair(sum, counts, ones);
#else
    i32x8 v = {{vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(sum.val[0]), vpaddlq_u8(vcntq_u8(a)))),
                vreinterpretq_s32_u32(vpadalq_u16(vreinterpretq_u32_s32(sum.val[1]), vpaddlq_u8(vcntq_u8(b))))}};

    return v;
#endif
}

SCAN_INLINE u8x32 flip(u8x32 a)
{
    u8x32 v = {{veorq_u8(a.val[0], vdupq_n_u8(0x80)), veorq_u8(a.val[1], vdupq_n_u8(0x80))}};

    return v;
}

#endif
