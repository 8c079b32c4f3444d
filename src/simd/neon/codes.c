/* NEON kernels on codes: same functions, order and contracts as scalar/codes.c. Loops over elements stay scalar: NEON is
 * every such CPU's baseline, and the compiler makes vectors of them itself. */
#include "simd/neon/vec.h"

#ifndef NEON
#define NEON(name) name##_neon /* the table's name */
#endif

/* ---- dot products of codes ---- */

/* Unsigned times signed is not to be had: the code flipped is a signed number 128 less, so the sums begin with 128 * sum(q);
 * the query's zeros silence a tail's flipped ones. */
SCAN_INLINE i32x8 dot_u8s8_step(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_s8s8_pair(sum, flip(load32(row + i)), load32(query + i));
}

SCAN_INLINE i32x8 dot_u8s8_tail(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_s8s8_pair(sum, flip(load_last32(row, i, dim)), load_last32(query, i, dim));
}

SCAN_INLINE i32x8 dot_u8s8_start(const char *query, size_t dim)
{
    u8x32 ones = {{vdupq_n_u8(1), vdupq_n_u8(1)}};
    i32x8 sum = i32x8_zero();
    size_t i = 0;

    for (; i + 32 <= dim; i += 32)
        sum = add_s8s8_pair(sum, ones, load32(query + i));
    if (i < dim)
        sum = add_s8s8_pair(sum, ones, load_last32(query, i, dim));
    sum.val[0] = vshlq_n_s32(sum.val[0], 7);
    sum.val[1] = vshlq_n_s32(sum.val[1], 7);
    return sum;
}

DEFINE_SCAN(dot_u8s8, int32_t, i32x8, 32, dot_u8s8_start(query, dim), dim)

/* The query's high and low terms, against one load of the row. */
typedef struct {
    i32x8 high, low;
} two_x8;

SCAN_INLINE two_x8 two_x8_zero(void)
{
    return (two_x8){i32x8_zero(), i32x8_zero()};
}

SCAN_INLINE two_x8 two_x8_add(two_x8 a, two_x8 b)
{
    return (two_x8){i32x8_add(a.high, b.high), i32x8_add(a.low, b.low)};
}

SCAN_INLINE float two_x8_sum(two_x8 a)
{
    return (float)i32x8_sum(a.high) * 128.0f + (float)i32x8_sum(a.low);
}

SCAN_INLINE void two_x8_sum4(two_x8 a, two_x8 b, two_x8 c, two_x8 d, float *out)
{
    int32x4_t high = i32x8_total4(a.high, b.high, c.high, d.high), low = i32x8_total4(a.low, b.low, c.low, d.low);

    vst1q_f32(out, vfmaq_n_f32(vcvtq_f32_s32(low), vcvtq_f32_s32(high), 128.0f));
}

SCAN_INLINE two_x8 dot_u8s8x2_step(two_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return (two_x8){dot_u8s8_step(sum.high, query, row, i, dim), dot_u8s8_step(sum.low, query + dim, row, i, dim)};
}

SCAN_INLINE two_x8 dot_u8s8x2_tail(two_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return (two_x8){dot_u8s8_tail(sum.high, query, row, i, dim), dot_u8s8_tail(sum.low, query + dim, row, i, dim)};
}

SCAN_INLINE two_x8 dot_u8s8x2_start(const char *query, size_t dim)
{
    return (two_x8){dot_u8s8_start(query, dim), dot_u8s8_start(query + dim, dim)};
}

DEFINE_SCAN(dot_u8s8x2, float, two_x8, 32, dot_u8s8x2_start((const char *)query, dim), dim)

SCAN_INLINE f32x8 add_codes(f32x8 sum, f32x8 query, uint8x8_t code)
{
    uint16x8_t wide = vmovl_u8(code);
    f32x8 v = {{vfmaq_f32(sum.val[0], query.val[0], vcvtq_f32_u32(vmovl_u16(vget_low_u16(wide)))),
                vfmaq_f32(sum.val[1], query.val[1], vcvtq_f32_u32(vmovl_high_u16(wide)))}};

    return v;
}

SCAN_INLINE f32x8 dot_u8f32_step(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_codes(sum, floats_of(load32(query + 4 * i)), vld1_u8((const uint8_t *)row + i));
}

SCAN_INLINE f32x8 dot_u8f32_tail(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    u8x32 values = load_part32(query + 4 * i, 4 * (dim - i));

    return add_codes(sum, floats_of(values), vget_low_u8(load_part32(row + i, dim - i).val[0]));
}

DEFINE_SCAN(dot_u8f32, float, f32x8, 8, f32x8_zero(), dim)

/* Packed codes: 64 values as four registers of bytes. */
SCAN_INLINE uint8x16_t keep_bits(uint8x16_t a, unsigned low_bits)
{
    return vandq_u8(a, vdupq_n_u8((uint8_t)((1u << low_bits) - 1)));
}

SCAN_INLINE uint8x16_t shift_left(uint8x16_t a, unsigned by)
{
    return vshlq_u8(a, vdupq_n_s8((int8_t)by));
}

SCAN_INLINE uint8x16_t bytes_of_bits(const char *two_bytes)
{
    static const uint8_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    uint8x16_t spread = vcombine_u8(vdup_n_u8((uint8_t)two_bytes[0]), vdup_n_u8((uint8_t)two_bytes[1]));

    return keep_bits(vtstq_u8(spread, vld1q_u8(bit)), 1);
}

SCAN_INLINE uint8x16x4_t unpack_block(const char *code, unsigned bits)
{
    uint8x16x4_t values = {{vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)}};

    if (bits & 4) {
        u8x32 field = load32(code);
        for (int i = 0; i < 2; i++) {
            values.val[i] = shift_left(keep_bits(field.val[i], 4), bits & 3);
            values.val[i + 2] = shift_left(vshrq_n_u8(field.val[i], 4), bits & 3);
        }
        code += 32;
    }
    if (bits & 2) {
        uint8x16_t field = vld1q_u8((const uint8_t *)code);
        for (int i = 0; i < 4; i++) {
            uint8x16_t two = keep_bits(vshlq_u8(field, vdupq_n_s8((int8_t)(-2 * i))), 2);
            values.val[i] = vorrq_u8(values.val[i], shift_left(two, bits & 1));
        }
        code += 16;
    }
    if (bits & 1)
        for (int i = 0; i < 4; i++)
            values.val[i] = vorrq_u8(values.val[i], bytes_of_bits(code + 2 * i));
    return values;
}

/* Values below 128 are the same signed. */
#define DOT_CODE(bits)                                                                                             \
    SCAN_INLINE i32x8 dot_code##bits##_step(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)   \
    {                                                                                                              \
        uint8x16x4_t values = unpack_block(row + i / 8 * (bits), bits);                                            \
        u8x32 low = {{values.val[0], values.val[1]}}, high = {{values.val[2], values.val[3]}};                     \
        sum = add_s8s8_pair(sum, low, load32(query + i));                                                          \
        return add_s8s8_pair(sum, high, load32(query + i + 32));                                                   \
    }                                                                                                              \
    SCAN_INLINE i32x8 dot_code##bits##_tail(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)   \
    {                                                                                                              \
        return sum; /* dim is a multiple of 64 */                                                                  \
    }                                                                                                              \
    DEFINE_SCAN(dot_code##bits, int32_t, i32x8, 64, i32x8_zero(), dim / 8 * (bits))

DOT_CODE(1)
DOT_CODE(2)
DOT_CODE(3)
DOT_CODE(4)
DOT_CODE(5)
DOT_CODE(6)
DOT_CODE(7)

/* One count per plane of the query. */
typedef struct {
    i32x8 plane[4];
} planes_x8;

SCAN_INLINE planes_x8 planes_x8_zero(void)
{
    return (planes_x8){{i32x8_zero(), i32x8_zero(), i32x8_zero(), i32x8_zero()}};
}

SCAN_INLINE planes_x8 planes_x8_add(planes_x8 a, planes_x8 b)
{
    for (int i = 0; i < 4; i++)
        a.plane[i] = i32x8_add(a.plane[i], b.plane[i]);
    return a;
}

SCAN_INLINE i32x8 join_planes(planes_x8 a)
{
    i32x8 sum = a.plane[0];

    for (int i = 1; i < 4; i++) {
        sum.val[0] = vaddq_s32(sum.val[0], vshlq_s32(a.plane[i].val[0], vdupq_n_s32(i)));
        sum.val[1] = vaddq_s32(sum.val[1], vshlq_s32(a.plane[i].val[1], vdupq_n_s32(i)));
    }
    return sum;
}

SCAN_INLINE int32_t planes_x8_sum(planes_x8 a)
{
    return i32x8_sum(join_planes(a));
}

SCAN_INLINE void planes_x8_sum4(planes_x8 a, planes_x8 b, planes_x8 c, planes_x8 d, int32_t *out)
{
    i32x8_sum4(join_planes(a), join_planes(b), join_planes(c), join_planes(d), out);
}

SCAN_INLINE planes_x8 dot_b1u4_step(planes_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    u8x32 code = load32(row + i / 8);

    for (int j = 0; j < 4; j++) {
        u8x32 plane = load32(query + dim / 8 * (size_t)j + i / 8);
        sum.plane[j] = add_counts(sum.plane[j], vandq_u8(plane.val[0], code.val[0]), vandq_u8(plane.val[1], code.val[1]));
    }
    return sum;
}

SCAN_INLINE planes_x8 dot_b1u4_tail(planes_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    u8x32 code = load_last32(row, i / 8, dim / 8);

    for (int j = 0; j < 4; j++) {
        u8x32 plane = load_last32(query + dim / 8 * (size_t)j, i / 8, dim / 8);
        sum.plane[j] = add_counts(sum.plane[j], vandq_u8(plane.val[0], code.val[0]), vandq_u8(plane.val[1], code.val[1]));
    }
    return sum;
}

DEFINE_SCAN(dot_b1u4, int32_t, planes_x8, 256, planes_x8_zero(), dim / 8)

/* ---- FastScan ---- */

/* One table a time: its 16 bytes are looked up 16 at once. Sums are 16-bit, in which the odd bytes ride on the even ones until
 * they are subtracted at the end of each run of tables that cannot overflow. nq is 1 or 2. */
SCAN_INLINE void fastscan_block(const uint8_t *block, size_t tables, const uint8_t *const *luts, int nq, int32_t *out,
                                size_t out_stride)
{
    for (size_t first = 0; first == 0 || first < tables; first += 256) {
        size_t last = tables - first < 256 ? tables : first + 256;
        uint16x8_t sum[2][4];
#pragma GCC unroll 2
        for (int q = 0; q < nq; q++)
            sum[q][0] = sum[q][1] = sum[q][2] = sum[q][3] = vdupq_n_u16(0);
        for (size_t t = first; t < last; t++) {
            uint8x16_t codes = vld1q_u8(block + t * 16);
            uint8x16_t index_low = keep_bits(codes, 4), index_high = vshrq_n_u8(codes, 4);
#pragma GCC unroll 2
            for (int q = 0; q < nq; q++) {
                uint8x16_t lut = vld1q_u8(luts[q] + t * 16);
                uint16x8_t value_low = vreinterpretq_u16_u8(vqtbl1q_u8(lut, index_low));
                uint16x8_t value_high = vreinterpretq_u16_u8(vqtbl1q_u8(lut, index_high));
                sum[q][0] = vaddq_u16(sum[q][0], value_low);
                sum[q][1] = vsraq_n_u16(sum[q][1], value_low, 8);
                sum[q][2] = vaddq_u16(sum[q][2], value_high);
                sum[q][3] = vsraq_n_u16(sum[q][3], value_high, 8);
            }
        }
#pragma GCC unroll 2
        for (int q = 0; q < nq; q++)
#pragma GCC unroll 4
            for (int part = 0; part < 4; part++) { /* vectors 8 * part .. 8 * part + 7 */
                uint16x8_t odd = sum[q][part | 1];
                uint16x8_t vectors = part & 1 ? odd : vsubq_u16(sum[q][part], vshlq_n_u16(odd, 8));
                int32x4_t low = vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vectors)));
                int32x4_t high = vreinterpretq_s32_u32(vmovl_high_u16(vectors));
                int32_t *to = out + (size_t)q * out_stride + 8 * (size_t)part;
                if (first) {
                    low = vaddq_s32(low, vld1q_s32(to));
                    high = vaddq_s32(high, vld1q_s32(to + 4));
                }
                vst1q_s32(to, low);
                vst1q_s32(to + 4, high);
            }
    }
}

static void fastscan(const uint8_t *blocks, size_t n_blocks, size_t tables, const uint8_t *const *luts, size_t nq,
                     int32_t *out, size_t out_stride)
{
    const size_t block_size = tables * 16;

    for (; nq >= 2; nq -= 2, luts += 2, out += 2 * out_stride)
        for (size_t b = 0; b < n_blocks; b++)
            fastscan_block(blocks + b * block_size, tables, luts, 2, out + b * 32, out_stride);
    if (nq)
        for (size_t b = 0; b < n_blocks; b++)
            fastscan_block(blocks + b * block_size, tables, luts, 1, out + b * 32, out_stride);
}

/* ---- sums ---- */

static float sum_f32(const void *x, size_t n)
{
    const char *p = x;
    f32x8 sum = f32x8_zero();
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        sum = f32x8_add(sum, floats_of(load32(p + 4 * i)));
    return f32x8_sum(sum) + scalar_sum_f32(p + 4 * i, n - i);
}

static float sumsq_f32(const void *x, size_t n)
{
    const char *p = x;
    f32x8 sum = f32x8_zero();
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        f32x8 v = floats_of(load32(p + 4 * i));
        sum.val[0] = vfmaq_f32(sum.val[0], v.val[0], v.val[0]);
        sum.val[1] = vfmaq_f32(sum.val[1], v.val[1], v.val[1]);
    }
    return f32x8_sum(sum) + scalar_sumsq_f32(p + 4 * i, n - i);
}

static float normalize_f32(const float *x, size_t n, float *out)
{
    float sum = sumsq_f32(x, n), norm;

    if (!(sum > 1e-30f && sum < 1e37f)) /* squares out of a float's range, or a zero vector */
        return scalar_normalize_f32(x, n, out);
    norm = vget_lane_f32(vsqrt_f32(vdup_n_f32(sum)), 0);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] / norm;
    return norm;
}

/* ---- conversion ---- */

static void f32_from_f16(const void *in, size_t n, float *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)p + 2 * i))));
    scalar_f32_from_f16(p + 2 * i, n - i, out + i);
}

static void f16_from_f32(const void *in, size_t n, uint16_t *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 4 <= n; i += 4) {
        float32x4_t v = vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p + 4 * i));
        vst1_u16(out + i, vreinterpret_u16_f16(vcvt_f16_f32(v)));
    }
    scalar_f16_from_f32(p + 4 * i, n - i, out + i);
}

const struct code_kernels NEON(codes) = {
    .dot_u8s8 = SCAN(dot_u8s8),
    .dot_u8s8x2 = SCAN(dot_u8s8x2),
    .dot_u8f32 = SCAN(dot_u8f32),
    .dot_code =
        {
            [1] = SCAN(dot_code1),
            [2] = SCAN(dot_code2),
            [3] = SCAN(dot_code3),
            [4] = SCAN(dot_code4),
            [5] = SCAN(dot_code5),
            [6] = SCAN(dot_code6),
            [7] = SCAN(dot_code7),
            [8] = SCAN(dot_u8s8),
        },
    .dot_b1u4 = SCAN(dot_b1u4),
    .pq8 = SCALAR_SCAN(pq8),
    .code_pack = scalar_code_pack,
    .code_unpack = scalar_code_unpack,
    .fastscan_pack = scalar_fastscan_pack,
    .fastscan = fastscan,
    .score_i32 = scalar_score_i32,
    .score_i32_gather = scalar_score_i32_gather,
    .sq8_encode = scalar_sq8_encode,
    .sq8_encode_dims = scalar_sq8_encode_dims,
    .sq8_decode = scalar_sq8_decode,
    .sq8_decode_dims = scalar_sq8_decode_dims,
    .quantize_i8 = scalar_quantize_i8,
    .quantize_i8x2 = scalar_quantize_i8x2,
    .rabitq_encode = scalar_rabitq_encode,
    .hadamard = scalar_hadamard,
    .rotate = scalar_rotate,
    .unrotate = scalar_unrotate,
    .f32_from_f16 = f32_from_f16,
    .f32_from_bf16 = scalar_f32_from_bf16,
    .f32_from_i8 = scalar_f32_from_i8,
    .f32_from_u8 = scalar_f32_from_u8,
    .f16_from_f32 = f16_from_f32,
    .bf16_from_f32 = scalar_bf16_from_f32,
    .u8_from_f32 = scalar_u8_from_f32,
    .finite_f32 = scalar_finite_f32,
    .finite_f16 = scalar_finite_f16,
    .finite_bf16 = scalar_finite_bf16,
    .sum_f32 = sum_f32,
    .sumsq_f32 = sumsq_f32,
    .sum_u8 = scalar_sum_u8,
    .sumsq_u8 = scalar_sumsq_u8,
    .sum_i8 = scalar_sum_i8,
    .sumsq_i8 = scalar_sumsq_i8,
    .normalize_f32 = normalize_f32,
    .add_f32 = scalar_add_f32,
    .add_u8 = scalar_add_u8,
    .sub_f32 = scalar_sub_f32,
    .scale_f32 = scalar_scale_f32,
};
