/* Vector arithmetic: every kernel's contract. One constant table of functions per instruction set,
 * chosen once per process (dispatch.c). scalar/ is the definition; the others agree with it.
 *
 * Conventions
 *   f32 f16 bf16 i8 u8  element types; f16 and bf16 are held in uint16_t
 *   b1                  bits, eight to a byte, lowest bit first
 *   dim                 elements per vector, 0 .. SIMD_DIM_MAX. For b1 it counts bits, a multiple of 8
 *   stride              bytes from one row to the next; rows need no alignment, and nothing outside
 *                       the dim elements of a row is ever read
 *   ids                 row numbers: row i lies at base + ids[i] * stride
 *   l2sq                squared Euclidean distance; ip is the plain inner product, larger is closer:
 *                       callers negate it
 *
 * Integer results are exact up to SIMD_DIM_MAX. Float results are within
 * dim * FLT_EPSILON * (sum of the terms' magnitudes) of the true value, and may differ in the last
 * bits between instruction sets and between one(), rows() and gather().
 * Kernels allocate nothing, keep no state and may be called from any thread. */
#ifndef VECDB_SIMD_KERNELS_H
#define VECDB_SIMD_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIMD_DIM_MAX 32768 /* 255 * 255 * 32768 still fits an int32_t */

/* ---- One query against rows: the shape nearly every kernel has ---- */

/* one(): one row.  rows(): n rows, stride bytes apart, streamed at memory speed.
 * gather(): n rows named by ids, several at a time so that their cache misses overlap; rows beyond
 * the first few are prefetched. out[i] belongs to row i, or to ids[i]. */
struct scan_f32 {
    float (*one)(const void *query, const void *row, size_t dim);
    void (*rows)(const void *query, const void *rows, size_t stride, size_t n, size_t dim, float *out);
    void (*gather)(const void *query, const void *base, size_t stride, const uint32_t *ids, size_t n,
                   size_t dim, float *out);
};

struct scan_i32 {
    int32_t (*one)(const void *query, const void *row, size_t dim);
    void (*rows)(const void *query, const void *rows, size_t stride, size_t n, size_t dim,
                 int32_t *out);
    void (*gather)(const void *query, const void *base, size_t stride, const uint32_t *ids, size_t n,
                   size_t dim, int32_t *out);
};

/* ---- Distances between vectors ---- */

#define SIMD_BLOCK_ROWS 16

#define U8_PANEL_ROWS 64

struct distance_kernels {
    /* query f32, rows of the named type */
    struct scan_f32 l2sq_f32, ip_f32;
    struct scan_f32 l2sq_f16, ip_f16;
    struct scan_f32 l2sq_bf16, ip_bf16;
    /* query and rows of the named type, exact */
    struct scan_i32 l2sq_i8, ip_i8;
    struct scan_i32 l2sq_u8, ip_u8;
    struct scan_i32 hamming_b1; /* bits that differ */
    struct scan_i32 and_b1;     /* bits set in both */
    struct scan_i32 or_b1;      /* bits set in either */
    struct scan_f32 jaccard_b1; /* 1 - and / or; 0 when both are empty */

    /* nq queries x n rows, both row-major: out[i * out_stride + j] for query i and row j. out_stride
     * counts elements. For blocks too small to pay for packing; L2 is computed by subtraction, so it
     * does not suffer cancellation. */
    void (*l2sq_f32_tile)(const void *queries, size_t query_stride, size_t nq, const void *rows,
                          size_t row_stride, size_t n, size_t dim, float *out, size_t out_stride);
    void (*ip_f32_tile)(const void *queries, size_t query_stride, size_t nq, const void *rows,
                        size_t row_stride, size_t n, size_t dim, float *out, size_t out_stride);

    /* Rows packed once, then multiplied by many queries: exact search in batches, all pairs of a leaf.
     * The packed form belongs to this table, is never stored, and takes *_panel_size(n, dim) bytes,
     * which must be 64-byte aligned. ids picks the rows, NULL takes rows 0 .. n-1.
     * Best with n a multiple of 64 and nq a multiple of 6. */
    size_t (*f32_panel_size)(size_t n, size_t dim);
    void (*f32_pack)(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                     void *panel);
    /* out = bias[j] + factor * ip(query i, row j); bias NULL is zero. With bias the rows' squared norms and
     * factor -2 this is L2 squared minus the query's norm: fast, but rescore the winners directly, for it
     * cancels when the norms are large. */
    void (*f32_multiply)(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                         size_t dim, float factor, const float *bias, float *out, size_t out_stride);

    /* A panel from its row 64 i on is a panel too, u8_panel_size(64 * i, dim) bytes further. */
    size_t (*u8_panel_size)(size_t n, size_t dim);
    void (*u8_pack)(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                    void *panel);
    void (*u8_multiply)(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                        size_t dim, int32_t *out, size_t out_stride); /* inner products, exact */
    void (*u8_l2sq)(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                    size_t dim, int32_t *out, size_t out_stride); /* squared distances, exact */
    /* the same for i8; panels of the two types are not interchangeable */
    void (*i8_pack)(const void *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                    void *panel);
    void (*i8_multiply)(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                        size_t dim, int32_t *out, size_t out_stride);
    void (*i8_l2sq)(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n,
                    size_t dim, int32_t *out, size_t out_stride);

    /* Blocks of 16 rows of signed bytes, 16 * dim bytes each, that may be stored: bytes 4 j .. 4 j + 3 of row r at
     * 64 j + 4 r, dim a multiple of 4. out: the inner products of 16 * n_blocks rows with a query of unsigned bytes; exact. */
    void (*ip_u8i8_blocks)(const void *query, const void *blocks, size_t n_blocks, size_t dim, int32_t *out);
};

/* ---- Codes ---- */

/* Codes of 1..8 bits per dimension come in blocks of 64 dimensions, 8 * bits bytes each; dim is
 * rounded up to a multiple of 64 and the rest is zero. Within a block the bits are cut into fields of 4, 2
 * and 1 bits, highest first (7 = 4 + 2 + 1, 5 = 4 + 1; 8 is whole bytes), each field stored apart:
 *   4 bits, 32 bytes: byte i holds dimensions i (low half) and i + 32
 *   2 bits, 16 bytes: byte i holds dimensions i, i + 16, i + 32, i + 48, lowest bits first
 *   1 bit,   8 bytes: bit i of the block is dimension i
 * so that unpacking is a shift and a mask. */
#define SIMD_CODE_BLOCK 64
static inline size_t simd_code_dim(size_t dim)
{
    return (dim + SIMD_CODE_BLOCK - 1) / SIMD_CODE_BLOCK * SIMD_CODE_BLOCK;
}
static inline size_t simd_code_size(size_t dim, unsigned bits)
{
    return simd_code_dim(dim) / 8 * bits;
}

/* FastScan: 4-bit codes of 32 vectors, scored by table lookup in registers. A block is
 * 16 * tables bytes, tables even; for tables m and m + 1, 32 bytes: byte j of the first 16 (table m) and
 * of the last 16 (table m + 1) holds vector v in its low half and v + 16 in its high half, with
 * v = j / 2 + (j odd ? 8 : 0). */
#define SIMD_FASTSCAN_ROWS 32

struct code_kernels {
    /* rows u8, query i8; any dim, no padding; exact */
    struct scan_i32 dot_u8s8;
    /* rows u8, query of 2 * dim i8: dim high terms, then dim low terms; 128 * high + low */
    struct scan_f32 dot_u8s8x2;
    /* rows u8, query f32 */
    struct scan_f32 dot_u8f32;
    /* [bits], 1..8: rows are packed codes as above, query i8; dim a multiple of 64; exact. [0] is empty. */
    struct scan_i32 dot_code[9];
    /* rows b1, query four bit planes of dim / 8 bytes each, lowest first: the inner product with a query of
     * 4-bit unsigned values. dim a multiple of 64. */
    struct scan_i32 dot_b1u4;
    /* row of dim bytes, query a table float[dim][256]: sum of the entries (PQ with 8 bits) */
    struct scan_f32 pq8;

    /* dim values 0 .. 2^bits - 1, one per byte, to and from a packed code of simd_code_size(dim, bits);
     * the padding is written as zero. */
    void (*code_pack)(const uint8_t *values, size_t dim, unsigned bits, uint8_t *code);
    void (*code_unpack)(const uint8_t *code, size_t dim, unsigned bits, uint8_t *values);

    /* n <= 32 rows of `tables` values 0..15, one per byte and stride bytes apart, to one block; the rows
     * missing to 32 are zero. */
    void (*fastscan_pack)(const uint8_t *rows, size_t stride, size_t n, size_t tables, uint8_t *block);
    /* For each of nq queries and 32 * blocks vectors, the sum of luts[query][16 * table + code], every query's tables
     * being 16 * tables bytes; out[query * out_stride + vector]. Any number of tables. A 16-bit table is two
     * queries, its low bytes and its high bytes, added by the caller. Fastest with nq 1, 2 or 4. */
    void (*fastscan)(const uint8_t *blocks, size_t n_blocks, size_t tables, const uint8_t *const *luts, size_t nq,
                     int32_t *out, size_t out_stride);

    /* The one scoring formula of all quantizers:
     * out[i] = a[i] + g + b[i] * (scale * ip[i] + k); a NULL is 0, b NULL is 1. */
    void (*score_i32)(const int32_t *ip, const float *a, const float *b, size_t n, float g, float scale,
                      float k, float *out);
    /* the same for n rows named by ids: a[ids[i]], b[ids[i]] */
    void (*score_i32_gather)(const int32_t *ip, const uint32_t *ids, const float *a, const float *b,
                             size_t n, float g, float scale, float k, float *out);

    /* code = round((x - low) * inverse_step), clamped to 0..255; halves round to even, NaN gives 0.
     * low and inverse_step are one for all, or one for each dimension. */
    void (*sq8_encode)(const float *x, size_t dim, float low, float inverse_step, uint8_t *code);
    void (*sq8_encode_dims)(const float *x, size_t dim, const float *low, const float *inverse_step,
                            uint8_t *code);
    void (*sq8_decode)(const uint8_t *code, size_t dim, float low, float step, float *x);
    void (*sq8_decode_dims)(const uint8_t *code, size_t dim, const float *low, const float *step, float *x);
    /* Queries: round(x * inverse_step) clamped to -127..127; and as 128 * high + low, the sum clamped to
     * -16256 .. 16256, low within -64..63, written as dim high terms and dim low terms. */
    void (*quantize_i8)(const float *x, size_t dim, float inverse_step, int8_t *out);
    void (*quantize_i8x2)(const float *x, size_t dim, float inverse_step, int8_t *out);
    /* RaBitQ with `bits` 1..8: m = min(floor(|x| * t), 2^(bits-1) - 1);
     * u = x >= 0 ? 2^(bits-1) + m : 2^(bits-1) - 1 - m, one per byte. */
    void (*rabitq_encode)(const float *x, size_t dim, float t, unsigned bits, uint8_t *u);

    /* In place Hadamard transform, not scaled; n a power of two. */
    void (*hadamard)(float *x, size_t n);
    /* A random rotation of dim values in O(dim log dim), in place; dim a multiple of 64. Four rounds: flip the
     * signs given by dim bits of `signs` (4 * dim / 8 bytes in all), Hadamard over the first (then last, in
     * turn) 2^floor(log2 dim) values, and where dim is no power of two a butterfly between the
     * two halves. Lengths and angles are kept. unrotate() is the inverse. */
    void (*rotate)(float *x, size_t dim, const uint8_t *signs);
    void (*unrotate)(float *x, size_t dim, const uint8_t *signs);

    /* Conversions of n values; to f16 and bf16 round to nearest even, overflow is infinity, NaN stays NaN. */
    void (*f32_from_f16)(const void *in, size_t n, float *out);
    void (*f32_from_bf16)(const void *in, size_t n, float *out);
    void (*f32_from_i8)(const void *in, size_t n, float *out);
    void (*f32_from_u8)(const void *in, size_t n, float *out);
    void (*f16_from_f32)(const void *in, size_t n, uint16_t *out);
    void (*bf16_from_f32)(const void *in, size_t n, uint16_t *out);
    /* False, with out half written, when a value is not one of the integers 0..255. */
    bool (*u8_from_f32)(const void *in, size_t n, uint8_t *out);
    /* True when no value is NaN or infinite. */
    bool (*finite_f32)(const void *x, size_t n);
    bool (*finite_f16)(const void *x, size_t n);
    bool (*finite_bf16)(const void *x, size_t n);

    /* Sums, and what k-means and training need. */
    float (*sum_f32)(const void *x, size_t n);
    float (*sumsq_f32)(const void *x, size_t n);
    int32_t (*sum_u8)(const void *x, size_t n);
    int32_t (*sumsq_u8)(const void *x, size_t n);
    int32_t (*sum_i8)(const void *x, size_t n);
    int32_t (*sumsq_i8)(const void *x, size_t n);
    /* out = x / |x|, out may be x; returns |x|. A zero vector stays zero. Safe for lengths whose square
     * overflows or underflows. */
    float (*normalize_f32)(const float *x, size_t n, float *out);
    void (*add_f32)(float *sums, const void *x, size_t n);      /* sums += x */
    void (*add_u8)(uint32_t *sums, const void *x, size_t n);    /* sums += x */
    void (*sub_f32)(const void *x, const void *y, size_t n, float *out); /* out = x - y, out may be x or y */
    void (*scale_f32)(float *x, size_t n, float factor);        /* x *= factor */
};

/* ---- Comparing and choosing ---- */

enum compare_op { COMPARE_EQ, COMPARE_NE, COMPARE_LT, COMPARE_LE, COMPARE_GT, COMPARE_GE, COMPARE_OPS };

/* Bitmaps are words of 64 bits, value i in bit i % 64 of word i / 64. A compare writes (n + 63) / 64
 * words; bits past n are zero. Floats compare as in C: with a NaN only NE holds. */
struct compare_kernels {
    /* values[i] op constant */
    void (*i8)(const void *values, size_t n, enum compare_op op, int8_t constant, uint64_t *bits);
    void (*u8)(const void *values, size_t n, enum compare_op op, uint8_t constant, uint64_t *bits);
    void (*i16)(const void *values, size_t n, enum compare_op op, int16_t constant, uint64_t *bits);
    void (*i32)(const void *values, size_t n, enum compare_op op, int32_t constant, uint64_t *bits);
    void (*i64)(const void *values, size_t n, enum compare_op op, int64_t constant, uint64_t *bits);
    void (*f32)(const void *values, size_t n, enum compare_op op, float constant, uint64_t *bits);
    void (*f64)(const void *values, size_t n, enum compare_op op, double constant, uint64_t *bits);
    /* low <= values[i] && values[i] <= high */
    void (*i8_range)(const void *values, size_t n, int8_t low, int8_t high, uint64_t *bits);
    void (*u8_range)(const void *values, size_t n, uint8_t low, uint8_t high, uint64_t *bits);
    void (*i16_range)(const void *values, size_t n, int16_t low, int16_t high, uint64_t *bits);
    void (*i32_range)(const void *values, size_t n, int32_t low, int32_t high, uint64_t *bits);
    void (*i64_range)(const void *values, size_t n, int64_t low, int64_t high, uint64_t *bits);
    void (*f32_range)(const void *values, size_t n, float low, float high, uint64_t *bits);
    void (*f64_range)(const void *values, size_t n, double low, double high, uint64_t *bits);

    /* out may be a or b */
    void (*bits_and)(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out);
    void (*bits_or)(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out);
    void (*bits_andnot)(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out); /* a & ~b */
    void (*bits_not)(const uint64_t *a, size_t words, uint64_t *out); /* also flips the bits past n */
    size_t (*bits_count)(const uint64_t *a, size_t words);
    size_t (*bits_and_count)(const uint64_t *a, const uint64_t *b, size_t words);
    /* The numbers of the set bits, first + i, ascending; out has room for all of them. Returns how many. */
    size_t (*bits_list)(const uint64_t *bits, size_t words, uint32_t first, uint32_t *out);

    /* The indices i, first + i, of the values below the threshold, ascending; out has room for n.
     * Returns how many. NaN is never below. */
    size_t (*below_f32)(const float *values, size_t n, float threshold, uint32_t first, uint32_t *out);
    size_t (*below_i32)(const int32_t *values, size_t n, int32_t threshold, uint32_t first, uint32_t *out);
    /* Smallest and largest of n >= 1 values, none a NaN. */
    float (*min_f32)(const void *values, size_t n);
    float (*max_f32)(const void *values, size_t n);
    int32_t (*min_i32)(const void *values, size_t n);
    int32_t (*max_i32)(const void *values, size_t n);
};

/* ---- The choice ---- */

/* One row per instruction set this build has, worst to best. */
struct simd_row {
    const char *name; /* scalar, avx2, avx512, neon ... : what VECDB_SIMD may name */
    bool (*supported)(void);
    const struct distance_kernels *distance;
    const struct code_kernels *codes;
    const struct compare_kernels *compare;
};

/* The best row this CPU can run, or the one the environment variable VECDB_SIMD names; a name that is unknown or
 * not supported here is ignored. Chosen at the first call, safe from any thread. */
const struct distance_kernels *simd_distance(void);
const struct code_kernels *simd_codes(void);
const struct compare_kernels *simd_compare(void);
const char *simd_name(void);

/* All rows, for tests and benchmarks; check supported() before use. */
const struct simd_row *simd_rows(size_t *count);

/* ---- Prefetch ---- */

/* Ask for the cache lines of `bytes` bytes at p. Written as assembly because GCC 12 reduces a loop of
 * __builtin_prefetch to its first. */
static inline void simd_prefetch_line(const void *p)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetcht0 %0" : : "m"(*(const char *)p));
#elif defined(__aarch64__)
    __asm__ volatile("prfm pldl1keep, [%0]" : : "r"(p));
#else
    __builtin_prefetch(p);
#endif
}

/* The same into the second-level cache, which has room for more requests under way: of many lines at once the first level's
 * few buffers for misses (24 on Zen 4) hold up whatever loads come after, and rows to be scored are many lines. */
static inline void simd_prefetch(const void *p, size_t bytes)
{
    /* addresses, not pointers: lines begin before what p points into, and callers ask for more than there is */
    uintptr_t line = (uintptr_t)p & ~(uintptr_t)63, end = (uintptr_t)p + bytes;

    for (; line < end; line += 64) {
#if defined(__x86_64__)
        __asm__ volatile("prefetcht1 %0" : : "m"(*(const char *)line));
#elif defined(__aarch64__)
        __asm__ volatile("prfm pldl2keep, [%0]" : : "r"(line));
#else
        __builtin_prefetch((const void *)line);
#endif
    }
}

#endif
