/* NEON distances between vectors: same functions, order and contracts as scalar/distance.c. Compiled twice: neondot/ has an
 * instruction for the product of bytes. */
#include "simd/neon/vec.h"

#ifndef NEON
#define NEON(name) name##_neon /* the table's name */
#endif

/* ---- floats ---- */

SCAN_INLINE f32x8 load8_f32(const char *p, size_t i)
{
    return floats_of(load32(p + 4 * i));
}

SCAN_INLINE f32x8 tail8_f32(const char *p, size_t i, size_t dim)
{
    return floats_of(load_last32(p, 4 * i, 4 * dim));
}

SCAN_INLINE f32x8 f32_of_f16x8(uint8x16_t h)
{
    float16x8_t half = vreinterpretq_f16_u8(h);
    f32x8 v = {{vcvt_f32_f16(vget_low_f16(half)), vcvt_high_f32_f16(half)}};

    return v;
}

SCAN_INLINE f32x8 f32_of_bf16x8(uint8x16_t h)
{
    uint16x8_t half = vreinterpretq_u16_u8(h);
    f32x8 v = {{vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(half), 16)),
                vreinterpretq_f32_u32(vshll_high_n_u16(half, 16))}};

    return v;
}

SCAN_INLINE f32x8 load8_f16(const char *p, size_t i)
{
    return f32_of_f16x8(vld1q_u8((const uint8_t *)p + 2 * i));
}

SCAN_INLINE f32x8 tail8_f16(const char *p, size_t i, size_t dim)
{
    return f32_of_f16x8(load_last16(p, 2 * i, 2 * dim));
}

SCAN_INLINE f32x8 load8_bf16(const char *p, size_t i)
{
    return f32_of_bf16x8(vld1q_u8((const uint8_t *)p + 2 * i));
}

SCAN_INLINE f32x8 tail8_bf16(const char *p, size_t i, size_t dim)
{
    return f32_of_bf16x8(load_last16(p, 2 * i, 2 * dim));
}

SCAN_INLINE f32x8 add_square(f32x8 sum, f32x8 a, f32x8 b)
{
    float32x4_t low = vsubq_f32(a.val[0], b.val[0]), high = vsubq_f32(a.val[1], b.val[1]);
    f32x8 v = {{vfmaq_f32(sum.val[0], low, low), vfmaq_f32(sum.val[1], high, high)}};

    return v;
}

SCAN_INLINE f32x8 add_product(f32x8 sum, f32x8 a, f32x8 b)
{
    f32x8 v = {{vfmaq_f32(sum.val[0], a.val[0], b.val[0]), vfmaq_f32(sum.val[1], a.val[1], b.val[1])}};

    return v;
}

#define FLOAT_KERNELS(type, row_bytes)                                                                         \
    SCAN_INLINE f32x8 l2sq_##type##_step(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)  \
    {                                                                                                          \
        return add_square(sum, load8_f32(query, i), load8_##type(row, i));                                     \
    }                                                                                                          \
    SCAN_INLINE f32x8 l2sq_##type##_tail(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)  \
    {                                                                                                          \
        return add_square(sum, tail8_f32(query, i, dim), tail8_##type(row, i, dim));                           \
    }                                                                                                          \
    SCAN_INLINE f32x8 ip_##type##_step(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)    \
    {                                                                                                          \
        return add_product(sum, load8_f32(query, i), load8_##type(row, i));                                    \
    }                                                                                                          \
    SCAN_INLINE f32x8 ip_##type##_tail(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)    \
    {                                                                                                          \
        return add_product(sum, tail8_f32(query, i, dim), tail8_##type(row, i, dim));                          \
    }                                                                                                          \
    DEFINE_SCAN(l2sq_##type, float, f32x8, 8, f32x8_zero(), (row_bytes)*dim)                                   \
    DEFINE_SCAN(ip_##type, float, f32x8, 8, f32x8_zero(), (row_bytes)*dim)

FLOAT_KERNELS(f32, 4)
FLOAT_KERNELS(f16, 2)
FLOAT_KERNELS(bf16, 2)

/* ---- bytes ---- */

SCAN_INLINE i32x8 add_square_u8(i32x8 sum, u8x32 a, u8x32 b)
{
    u8x32 d = {{vabdq_u8(a.val[0], b.val[0]), vabdq_u8(a.val[1], b.val[1])}};

    return add_u8u8_pair(sum, d, d);
}

/* Flipped, both are 128 higher, and their difference is the same. */
SCAN_INLINE i32x8 add_square_i8(i32x8 sum, u8x32 a, u8x32 b)
{
    return add_square_u8(sum, flip(a), flip(b));
}

#define BYTE_KERNEL(name, add)                                                                                  \
    SCAN_INLINE i32x8 name##_step(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                           \
        return add(sum, load32(query + i), load32(row + i));                                                    \
    }                                                                                                           \
    SCAN_INLINE i32x8 name##_tail(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                           \
        return add(sum, load_last32(query, i, dim), load_last32(row, i, dim));                                  \
    }                                                                                                           \
    DEFINE_SCAN(name, int32_t, i32x8, 32, i32x8_zero(), dim)

BYTE_KERNEL(l2sq_i8, add_square_i8)
BYTE_KERNEL(ip_i8, add_s8s8_pair)
BYTE_KERNEL(l2sq_u8, add_square_u8)
BYTE_KERNEL(ip_u8, add_u8u8_pair)

/* ---- bits ---- */

#define BIT_KERNEL(name, op)                                                                                    \
    SCAN_INLINE i32x8 name##_step(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                           \
        u8x32 q = load32(query + i / 8), r = load32(row + i / 8);                                               \
        return add_counts(sum, op(q.val[0], r.val[0]), op(q.val[1], r.val[1]));                                 \
    }                                                                                                           \
    SCAN_INLINE i32x8 name##_tail(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                           \
        u8x32 q = load_last32(query, i / 8, dim / 8), r = load_last32(row, i / 8, dim / 8);                     \
        return add_counts(sum, op(q.val[0], r.val[0]), op(q.val[1], r.val[1]));                                 \
    }                                                                                                           \
    DEFINE_SCAN(name, int32_t, i32x8, 256, i32x8_zero(), dim / 8)

BIT_KERNEL(hamming_b1, veorq_u8)
BIT_KERNEL(and_b1, vandq_u8)
BIT_KERNEL(or_b1, vorrq_u8)

/* Two counts per row: bits in both, bits in either. */
typedef struct {
    i32x8 both, either;
} pair_x8;

SCAN_INLINE pair_x8 pair_x8_zero(void)
{
    return (pair_x8){i32x8_zero(), i32x8_zero()};
}

SCAN_INLINE pair_x8 pair_x8_add(pair_x8 a, pair_x8 b)
{
    return (pair_x8){i32x8_add(a.both, b.both), i32x8_add(a.either, b.either)};
}

SCAN_INLINE float pair_x8_sum(pair_x8 a)
{
    int32_t either = i32x8_sum(a.either);

    return either ? 1.0f - (float)i32x8_sum(a.both) / (float)either : 0.0f;
}

SCAN_INLINE void pair_x8_sum4(pair_x8 a, pair_x8 b, pair_x8 c, pair_x8 d, float *out)
{
    int32x4_t both = i32x8_total4(a.both, b.both, c.both, d.both);
    int32x4_t either = i32x8_total4(a.either, b.either, c.either, d.either);
    float32x4_t share = vdivq_f32(vcvtq_f32_s32(both), vcvtq_f32_s32(either));

    vst1q_f32(out, vbslq_f32(vceqzq_s32(either), vdupq_n_f32(0), vsubq_f32(vdupq_n_f32(1), share)));
}

SCAN_INLINE pair_x8 add_pair(pair_x8 sum, u8x32 a, u8x32 b)
{
    sum.both = add_counts(sum.both, vandq_u8(a.val[0], b.val[0]), vandq_u8(a.val[1], b.val[1]));
    sum.either = add_counts(sum.either, vorrq_u8(a.val[0], b.val[0]), vorrq_u8(a.val[1], b.val[1]));
    return sum;
}

SCAN_INLINE pair_x8 jaccard_b1_step(pair_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_pair(sum, load32(query + i / 8), load32(row + i / 8));
}

SCAN_INLINE pair_x8 jaccard_b1_tail(pair_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_pair(sum, load_last32(query, i / 8, dim / 8), load_last32(row, i / 8, dim / 8));
}

DEFINE_SCAN(jaccard_b1, float, pair_x8, 256, pair_x8_zero(), dim / 8)

/* ---- blocks ---- */

/* Two queries by four rows, sixteen registers of sums. */
DEFINE_TILE(l2sq_f32, f32x8, 8, 2)
DEFINE_TILE(ip_f32, f32x8, 8, 2)

/* Panels. Rows in groups of 16; of each group the first 32-bit piece of every row (one float, or four bytes), then the second,
 * and so on: piece p of row r is at piece[p * 16 + r]. A query's piece, in all lanes, then meets 16 rows in four registers, and
 * four queries by four registers keep 16 sums going. A group of byte rows is led by the rows' sums of squares. */
#define GROUP 16
#define BYTE_HEAD (GROUP * sizeof(int32_t))

static void pack_group(const char *base, size_t stride, const uint32_t *ids, size_t first, size_t n, size_t size,
                       int32_t *piece)
{
    size_t pieces = (size + 3) / 4;

    for (size_t r = 0; r < GROUP; r++) {
        const char *row = r < n ? base + (ids ? ids[first + r] : first + r) * stride : NULL;
        for (size_t p = 0; p < pieces; p++) {
            int32_t value = 0;
            if (row && size - 4 * p >= 4)
                memcpy(&value, row + 4 * p, 4);
            else if (row)
                memcpy(&value, row + 4 * p, size - 4 * p);
            piece[p * GROUP + r] = value;
        }
    }
}

static size_t f32_panel_size(size_t n, size_t dim)
{
    return (n + GROUP - 1) / GROUP * GROUP * dim * sizeof(float);
}

static void f32_pack(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim, void *panel)
{
    for (size_t i = 0; i < n; i += GROUP)
        pack_group(base, stride, ids, i, n - i, 4 * dim, (int32_t *)panel + i * dim);
}

/* nq 1..4 queries by one group, of which n rows are wanted. */
SCAN_INLINE void f32_multiply_group(const char *query, size_t query_stride, int nq, const float *piece, size_t dim,
                                    float factor, const float *bias, size_t n, float *out, size_t out_stride)
{
    float32x4_t sum[4][4];

#pragma GCC unroll 4
    for (int i = 0; i < nq; i++)
        sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = vdupq_n_f32(0);
    for (size_t d = 0; d < dim; d++, piece += GROUP) {
        float32x4_t rows[4] = {vld1q_f32(piece), vld1q_f32(piece + 4), vld1q_f32(piece + 8), vld1q_f32(piece + 12)};
#pragma GCC unroll 4
        for (int i = 0; i < nq; i++) {
            float value = load_f32(query + (size_t)i * query_stride, d);
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                sum[i][v] = vfmaq_n_f32(sum[i][v], rows[v], value);
        }
    }
    for (int i = 0; i < nq; i++) {
        float line[GROUP];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++)
            vst1q_f32(line + 4 * v, sum[i][v]);
        for (size_t r = 0; r < GROUP && r < n; r++)
            out[(size_t)i * out_stride + r] = (bias ? bias[r] : 0.0f) + factor * line[r];
    }
}

/* run(queries) with a constant, so that every count has its own unrolled loop. */
#define FOR_QUERIES(queries, run) \
    switch (queries) {            \
    case 4: run(4); break;        \
    case 3: run(3); break;        \
    case 2: run(2); break;        \
    default: run(1); break;       \
    }

static void f32_multiply(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n, size_t dim,
                         float factor, const float *bias, float *out, size_t out_stride)
{
    for (size_t j = 0; j < n; j += GROUP)
        for (size_t i = 0; i < nq; i += 4) {
            const char *query = (const char *)queries + i * query_stride;
            const float *piece = (const float *)panel + j * dim;
#define RUN(q)                                                                                              \
    f32_multiply_group(query, query_stride, q, piece, dim, factor, bias ? bias + j : NULL, n - j,           \
                       out + i * out_stride + j, out_stride)
            FOR_QUERIES(nq - i < 4 ? nq - i : 4, RUN)
#undef RUN
        }
}

/* ---- blocks of bytes ---- */

enum byte_kind { BYTES_U8, BYTES_I8 };

SCAN_INLINE size_t byte_group_size(size_t dim)
{
    return BYTE_HEAD + (dim + 3) / 4 * GROUP * sizeof(int32_t);
}

static size_t u8_panel_size(size_t n, size_t dim)
{
    return (n + GROUP - 1) / GROUP * byte_group_size(dim);
}

SCAN_INLINE void byte_pack(const char *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                           enum byte_kind kind, char *panel)
{
    for (size_t i = 0; i < n; i += GROUP, panel += byte_group_size(dim)) {
        int32_t *sumsq = (int32_t *)panel;
        for (size_t r = 0; r < GROUP; r++) {
            const char *row = i + r < n ? base + (ids ? ids[i + r] : i + r) * stride : NULL;
            sumsq[r] = !row ? 0 : kind == BYTES_U8 ? ip_u8(row, row, dim) : ip_i8(row, row, dim);
        }
        pack_group(base, stride, ids, i, n - i, dim, sumsq + GROUP);
    }
}

static void u8_pack(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim, void *panel)
{
    byte_pack(base, stride, ids, n, dim, BYTES_U8, panel);
}

static void i8_pack(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim, void *panel)
{
    byte_pack(base, stride, ids, n, dim, BYTES_I8, panel);
}

/* Four products each of 16 lanes' bytes. */
SCAN_INLINE int32x4_t add_bytes(int32x4_t sum, int32x4_t a, int32x4_t b, enum byte_kind kind)
{
#ifdef __ARM_FEATURE_DOTPROD
    if (kind == BYTES_U8)
        return vreinterpretq_s32_u32(vdotq_u32(vreinterpretq_u32_s32(sum), vreinterpretq_u8_s32(a), vreinterpretq_u8_s32(b)));
    return vdotq_s32(sum, vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
#else
    if (kind == BYTES_U8) {
        uint8x16_t x = vreinterpretq_u8_s32(a), y = vreinterpretq_u8_s32(b);
        uint32x4_t low = vpaddlq_u16(vmull_u8(vget_low_u8(x), vget_low_u8(y))), high = vpaddlq_u16(vmull_high_u8(x, y));
        return vaddq_s32(sum, vreinterpretq_s32_u32(vpaddq_u32(low, high)));
    } else {
        int8x16_t x = vreinterpretq_s8_s32(a), y = vreinterpretq_s8_s32(b);
        int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(y))), high = vpaddlq_s16(vmull_high_s8(x, y));
        return vaddq_s32(sum, vpaddq_s32(low, high));
    }
#endif
}

/* What is known of a query before its rows: the sum of squares, and the up to three bytes past the last whole piece. */
struct byte_query {
    int32_t sumsq, rest;
};

SCAN_INLINE int32x4_t query_piece(const void *p)
{
    int32_t bytes;

    memcpy(&bytes, p, sizeof bytes);
    return vdupq_n_s32(bytes);
}

/* Squared distance = sumsq(query) + sumsq(row) - 2 * inner product. */
SCAN_INLINE void byte_multiply_group(const char *query, size_t query_stride, int nq, const char *group, size_t dim,
                                     enum byte_kind kind, bool l2, const struct byte_query *known, size_t n,
                                     int32_t *out, size_t out_stride)
{
    const int32_t *sumsq = (const int32_t *)group, *piece = sumsq + GROUP, *end = piece + dim / 4 * GROUP;
    int32x4_t sum[4][4];

#pragma GCC unroll 4
    for (int i = 0; i < nq; i++)
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            sum[i][v] = vdupq_n_s32(0);
            if (dim % 4)
                sum[i][v] = add_bytes(sum[i][v], vdupq_n_s32(known[i].rest), vld1q_s32(end + 4 * v), kind);
        }
    for (; piece < end; piece += GROUP, query += 4) {
        int32x4_t rows[4] = {vld1q_s32(piece), vld1q_s32(piece + 4), vld1q_s32(piece + 8), vld1q_s32(piece + 12)};
#pragma GCC unroll 4
        for (int i = 0; i < nq; i++) {
            int32x4_t value = query_piece(query + (size_t)i * query_stride);
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                sum[i][v] = add_bytes(sum[i][v], value, rows[v], kind);
        }
    }
    for (int i = 0; i < nq; i++) {
        int32_t line[GROUP];
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++) {
            int32x4_t ip = sum[i][v];
            if (l2)
                ip = vsubq_s32(vaddq_s32(vld1q_s32(sumsq + 4 * v), vdupq_n_s32(known[i].sumsq)), vaddq_s32(ip, ip));
            vst1q_s32(line + 4 * v, ip);
        }
        memcpy(out + (size_t)i * out_stride, line, (n < GROUP ? n : GROUP) * sizeof(int32_t));
    }
}

SCAN_INLINE void byte_multiply(const char *queries, size_t query_stride, size_t nq, const char *panel, size_t n,
                               size_t dim, enum byte_kind kind, bool l2, int32_t *out, size_t out_stride)
{
    const size_t group_size = byte_group_size(dim);

    for (size_t i = 0; i < nq; i += 4) {
        size_t some = nq - i < 4 ? nq - i : 4;
        const char *query = queries + i * query_stride, *group = panel;
        struct byte_query known[4] = {{0, 0}};
        for (size_t q = 0; q < some; q++) {
            const char *p = query + q * query_stride;
            known[q].sumsq = kind == BYTES_U8 ? ip_u8(p, p, dim) : ip_i8(p, p, dim);
            memcpy(&known[q].rest, p + dim / 4 * 4, dim % 4);
        }
        for (size_t j = 0; j < n; j += GROUP, group += group_size) {
#define RUN(q) \
    byte_multiply_group(query, query_stride, q, group, dim, kind, l2, known, n - j, out + i * out_stride + j, out_stride)
            FOR_QUERIES(some, RUN)
#undef RUN
        }
    }
}

#define DEFINE_BYTE_BLOCK(name, kind, l2)                                                                              \
    static void name(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n, size_t dim,     \
                     int32_t *out, size_t out_stride)                                                                  \
    {                                                                                                                  \
        byte_multiply(queries, query_stride, nq, panel, n, dim, kind, l2, out, out_stride);                            \
    }

DEFINE_BYTE_BLOCK(u8_multiply, BYTES_U8, false)
DEFINE_BYTE_BLOCK(u8_l2sq, BYTES_U8, true)
DEFINE_BYTE_BLOCK(i8_multiply, BYTES_I8, false)
DEFINE_BYTE_BLOCK(i8_l2sq, BYTES_I8, true)

/* ---- stored blocks of bytes ---- */

/* Four bytes each of four rows, by four of an unsigned query: rows' sums in four lanes. */
#ifdef __ARM_FEATURE_DOTPROD
/* The query 128 lower has signed bytes; what is lacking is 128 times the rows' sum. */
struct block_sums {
    int32x4_t product, rows;
};

SCAN_INLINE struct block_sums block_sums_zero(void)
{
    return (struct block_sums){vdupq_n_s32(0), vdupq_n_s32(0)};
}

SCAN_INLINE struct block_sums block_sums_add(struct block_sums sum, int32x4_t query, int8x16_t rows)
{
    int8x16_t lower = veorq_s8(vreinterpretq_s8_s32(query), vdupq_n_s8(-128));

    return (struct block_sums){vdotq_s32(sum.product, lower, rows), vdotq_s32(sum.rows, vdupq_n_s8(1), rows)};
}

SCAN_INLINE int32x4_t block_sums_total(struct block_sums sum)
{
    return vaddq_s32(sum.product, vshlq_n_s32(sum.rows, 7));
}
#else
struct block_sums {
    int32x4_t of[4]; /* a row each */
};

SCAN_INLINE struct block_sums block_sums_zero(void)
{
    return (struct block_sums){{vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)}};
}

SCAN_INLINE struct block_sums block_sums_add(struct block_sums sum, int32x4_t query, int8x16_t rows)
{
    int16x4_t four = vreinterpret_s16_u16(vget_low_u16(vmovl_u8(vget_low_u8(vreinterpretq_u8_s32(query)))));
    int16x8_t low = vmovl_s8(vget_low_s8(rows)), high = vmovl_high_s8(rows);

    return (struct block_sums){{vmlal_s16(sum.of[0], four, vget_low_s16(low)), vmlal_s16(sum.of[1], four, vget_high_s16(low)),
                                vmlal_s16(sum.of[2], four, vget_low_s16(high)), vmlal_s16(sum.of[3], four, vget_high_s16(high))}};
}

SCAN_INLINE int32x4_t block_sums_total(struct block_sums sum)
{
    return vpaddq_s32(vpaddq_s32(sum.of[0], sum.of[1]), vpaddq_s32(sum.of[2], sum.of[3]));
}
#endif

static void ip_u8i8_blocks(const void *query, const void *blocks, size_t n_blocks, size_t dim, int32_t *out)
{
    const int8_t *rows = blocks;

    for (size_t b = 0; b < n_blocks; b++, out += SIMD_BLOCK_ROWS) {
        struct block_sums sums[4] = {block_sums_zero(), block_sums_zero(), block_sums_zero(), block_sums_zero()};
        for (size_t i = 0; i < dim; i += 4, rows += 4 * SIMD_BLOCK_ROWS) {
            int32x4_t piece = query_piece((const char *)query + i);
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                sums[v] = block_sums_add(sums[v], piece, vld1q_s8(rows + 16 * v));
        }
        for (int v = 0; v < 4; v++)
            vst1q_s32(out + 4 * v, block_sums_total(sums[v]));
    }
}

const struct distance_kernels NEON(distance) = {
    .l2sq_f32 = SCAN(l2sq_f32),
    .ip_f32 = SCAN(ip_f32),
    .l2sq_f16 = SCAN(l2sq_f16),
    .ip_f16 = SCAN(ip_f16),
    .l2sq_bf16 = SCAN(l2sq_bf16),
    .ip_bf16 = SCAN(ip_bf16),
    .l2sq_i8 = SCAN(l2sq_i8),
    .ip_i8 = SCAN(ip_i8),
    .l2sq_u8 = SCAN(l2sq_u8),
    .ip_u8 = SCAN(ip_u8),
    .hamming_b1 = SCAN(hamming_b1),
    .and_b1 = SCAN(and_b1),
    .or_b1 = SCAN(or_b1),
    .jaccard_b1 = SCAN(jaccard_b1),
    .l2sq_f32_tile = l2sq_f32_tile,
    .ip_f32_tile = ip_f32_tile,
    .f32_panel_size = f32_panel_size,
    .f32_pack = f32_pack,
    .f32_multiply = f32_multiply,
    .u8_panel_size = u8_panel_size,
    .u8_pack = u8_pack,
    .u8_multiply = u8_multiply,
    .u8_l2sq = u8_l2sq,
    .i8_pack = i8_pack,
    .i8_multiply = i8_multiply,
    .i8_l2sq = i8_l2sq,
    .ip_u8i8_blocks = ip_u8i8_blocks,
};
