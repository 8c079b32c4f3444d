/* AVX-512 distances between vectors: same functions, order and contracts as scalar/distance.c.
 * Bytes are multiplied by vpdpbusd, which takes one unsigned and one signed operand: flipping the top bit
 * (x ^ 0x80) turns one kind into the other, 128 apart, and a sum over the query puts that right.
 * Compiled twice: avx512vnni/ has no population count of its own. */
#include "simd/avx512/vec.h"

#ifndef AVX512
#define AVX512(name) name##_avx512 /* the table's name */
#endif

/* ---- floats ---- */

SCAN_INLINE __m512 load16_f32(const char *p, size_t i)
{
    return _mm512_loadu_ps((const float *)p + i);
}

SCAN_INLINE __m512 tail16_f32(const char *p, size_t i, size_t dim)
{
    return _mm512_maskz_loadu_ps(first16(dim - i), (const float *)p + i);
}

SCAN_INLINE __m512 load16_f16(const char *p, size_t i)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(p + 2 * i)));
}

SCAN_INLINE __m512 tail16_f16(const char *p, size_t i, size_t dim)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first16(dim - i), p + 2 * i));
}

SCAN_INLINE __m512 f32_of_bf16x16(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

SCAN_INLINE __m512 load16_bf16(const char *p, size_t i)
{
    return f32_of_bf16x16(_mm256_loadu_si256((const __m256i *)(p + 2 * i)));
}

SCAN_INLINE __m512 tail16_bf16(const char *p, size_t i, size_t dim)
{
    return f32_of_bf16x16(_mm256_maskz_loadu_epi16(first16(dim - i), p + 2 * i));
}

SCAN_INLINE __m512 add_square(__m512 sum, __m512 a, __m512 b)
{
    __m512 d = _mm512_sub_ps(a, b);

    return _mm512_fmadd_ps(d, d, sum);
}

#define FLOAT_KERNELS(type, row_bytes)                                                                     \
    SCAN_INLINE f32x16 l2sq_##type##_step(f32x16 sum, const char *query, const char *row, size_t i, size_t dim)         \
    {                                                                                                      \
        return add_square(sum, load16_f32(query, i), load16_##type(row, i));                               \
    }                                                                                                      \
    SCAN_INLINE f32x16 l2sq_##type##_tail(f32x16 sum, const char *query, const char *row, size_t i,        \
                                          size_t dim)                                                      \
    {                                                                                                      \
        return add_square(sum, tail16_f32(query, i, dim), tail16_##type(row, i, dim));                     \
    }                                                                                                      \
    SCAN_INLINE f32x16 ip_##type##_step(f32x16 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                      \
        return _mm512_fmadd_ps(load16_f32(query, i), load16_##type(row, i), sum);                          \
    }                                                                                                      \
    SCAN_INLINE f32x16 ip_##type##_tail(f32x16 sum, const char *query, const char *row, size_t i,          \
                                        size_t dim)                                                        \
    {                                                                                                      \
        return _mm512_fmadd_ps(tail16_f32(query, i, dim), tail16_##type(row, i, dim), sum);                \
    }                                                                                                      \
    DEFINE_SCAN(l2sq_##type, float, f32x16, 16, f32x16_zero(), (row_bytes)*dim) \
    DEFINE_WIDE(l2sq_##type, float, f32x16, 16, f32x16_zero(), (row_bytes)*dim) \
    DEFINE_SCAN(ip_##type, float, f32x16, 16, f32x16_zero(), (row_bytes)*dim) \
    DEFINE_WIDE(ip_##type, float, f32x16, 16, f32x16_zero(), (row_bytes)*dim)

FLOAT_KERNELS(f32, 4)
FLOAT_KERNELS(f16, 2)
FLOAT_KERNELS(bf16, 2)

/* ---- bytes ---- */

SCAN_INLINE __m512i flip(__m512i a)
{
    return _mm512_xor_si512(a, _mm512_set1_epi8((char)0x80));
}

SCAN_INLINE __m512i low_bytes(__m512i a)
{
    return _mm512_and_si512(a, _mm512_set1_epi16(0xff));
}

/* Squares of differences: the even and the odd bytes as 16-bit numbers, without a widening shuffle. */
SCAN_INLINE __m512i add_square_u8(__m512i sum, __m512i a, __m512i b)
{
    __m512i even = _mm512_sub_epi16(low_bytes(a), low_bytes(b));
    __m512i odd = _mm512_sub_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8));

    return _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
}

SCAN_INLINE i32x16 l2sq_u8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_square_u8(sum, load64(query, i), load64(row, i));
}

SCAN_INLINE i32x16 l2sq_u8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_square_u8(sum, tail64(query, i, dim), tail64(row, i, dim));
}

/* Flipped, both are 128 higher, and their difference is the same. */
SCAN_INLINE i32x16 l2sq_i8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_square_u8(sum, flip(load64(query, i)), flip(load64(row, i)));
}

SCAN_INLINE i32x16 l2sq_i8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_square_u8(sum, flip(tail64(query, i, dim)), flip(tail64(row, i, dim)));
}

/* sum(q * (r - 128)), so it begins with 128 * sum(q); the query's zeros silence a tail's flipped ones. */
SCAN_INLINE i32x16 ip_u8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, load64(query, i), flip(load64(row, i)));
}

SCAN_INLINE i32x16 ip_u8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, tail64(query, i, dim), flip(tail64(row, i, dim)));
}

SCAN_INLINE i32x16 ip_u8_start(const char *query, size_t dim)
{
    __m512i sum = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);
    size_t i = 0;

    for (; i + 64 <= dim; i += 64)
        sum = _mm512_dpbusd_epi32(sum, load64(query, i), one);
    if (i < dim)
        sum = _mm512_dpbusd_epi32(sum, tail64(query, i, dim), one);
    return _mm512_slli_epi32(sum, 7);
}

/* sum((r + 128) * q), so it begins with -128 * sum(q) */
SCAN_INLINE i32x16 ip_i8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, flip(load64(row, i)), load64(query, i));
}

SCAN_INLINE i32x16 ip_i8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, flip(tail64(row, i, dim)), tail64(query, i, dim));
}

SCAN_INLINE i32x16 ip_i8_start(const char *query, size_t dim)
{
    __m512i sum = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);
    size_t i = 0;

    for (; i + 64 <= dim; i += 64)
        sum = _mm512_dpbusd_epi32(sum, one, load64(query, i));
    if (i < dim)
        sum = _mm512_dpbusd_epi32(sum, one, tail64(query, i, dim));
    return _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_slli_epi32(sum, 7));
}

DEFINE_SCAN(l2sq_i8, int32_t, i32x16, 64, i32x16_zero(), dim)
DEFINE_WIDE(l2sq_i8, int32_t, i32x16, 64, i32x16_zero(), dim)
DEFINE_SCAN(ip_i8, int32_t, i32x16, 64, ip_i8_start(query, dim), dim)
DEFINE_WIDE(ip_i8, int32_t, i32x16, 64, ip_i8_start(query, dim), dim)
DEFINE_SCAN(l2sq_u8, int32_t, i32x16, 64, i32x16_zero(), dim)
DEFINE_WIDE(l2sq_u8, int32_t, i32x16, 64, i32x16_zero(), dim)
DEFINE_SCAN(ip_u8, int32_t, i32x16, 64, ip_u8_start(query, dim), dim)
DEFINE_WIDE(ip_u8, int32_t, i32x16, 64, ip_u8_start(query, dim), dim)

/* ---- bits ---- */

SCAN_INLINE __m512i load512(const char *p, size_t i)
{
    return _mm512_loadu_si512(p + i / 8);
}

SCAN_INLINE __m512i tail512(const char *p, size_t i, size_t dim)
{
    return _mm512_maskz_loadu_epi8(first64((dim - i) / 8), p + i / 8);
}

/* Counts stay below 2^31, so that the 64-bit lanes may be summed as 32-bit ones. */
#define BIT_KERNEL(name, op)                                                                               \
    SCAN_INLINE i32x16 name##_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)               \
    {                                                                                                      \
        return _mm512_add_epi64(sum, count_bits_x8(op(load512(query, i), load512(row, i))));               \
    }                                                                                                      \
    SCAN_INLINE i32x16 name##_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)   \
    {                                                                                                      \
        return _mm512_add_epi64(sum, count_bits_x8(op(tail512(query, i, dim), tail512(row, i, dim))));     \
    }                                                                                                      \
    DEFINE_SCAN(name, int32_t, i32x16, 512, i32x16_zero(), dim / 8)

BIT_KERNEL(hamming_b1, _mm512_xor_si512)
BIT_KERNEL(and_b1, _mm512_and_si512)
BIT_KERNEL(or_b1, _mm512_or_si512)

/* Two counts per row: bits in both, bits in either. */
typedef struct {
    __m512i both, either;
} pair_x16;

SCAN_INLINE pair_x16 pair_x16_zero(void)
{
    return (pair_x16){_mm512_setzero_si512(), _mm512_setzero_si512()};
}

SCAN_INLINE pair_x16 pair_x16_add(pair_x16 a, pair_x16 b)
{
    return (pair_x16){_mm512_add_epi64(a.both, b.both), _mm512_add_epi64(a.either, b.either)};
}

SCAN_INLINE float pair_x16_sum(pair_x16 a)
{
    int32_t either = i32x16_sum(a.either);

    return either ? 1.0f - (float)i32x16_sum(a.both) / (float)either : 0.0f;
}

SCAN_INLINE void pair_x16_sum4(pair_x16 a, pair_x16 b, pair_x16 c, pair_x16 d, float *out)
{
    __m128i both = i32x16_total4(a.both, b.both, c.both, d.both);
    __m128i either = i32x16_total4(a.either, b.either, c.either, d.either);
    __m128 share = _mm_div_ps(_mm_cvtepi32_ps(both), _mm_cvtepi32_ps(either));

    _mm_storeu_ps(out, _mm_maskz_sub_ps(_mm_test_epi32_mask(either, either), _mm_set1_ps(1.0f), share));
}

SCAN_INLINE pair_x16 add_pair(pair_x16 sum, __m512i a, __m512i b)
{
    sum.both = _mm512_add_epi64(sum.both, count_bits_x8(_mm512_and_si512(a, b)));
    sum.either = _mm512_add_epi64(sum.either, count_bits_x8(_mm512_or_si512(a, b)));
    return sum;
}

SCAN_INLINE pair_x16 jaccard_b1_step(pair_x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_pair(sum, load512(query, i), load512(row, i));
}

SCAN_INLINE pair_x16 jaccard_b1_tail(pair_x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_pair(sum, tail512(query, i, dim), tail512(row, i, dim));
}

DEFINE_SCAN(jaccard_b1, float, pair_x16, 512, pair_x16_zero(), dim / 8)

/* ---- blocks ---- */

/* Four queries by four rows: a loaded register serves four multiplications. */
DEFINE_TILE(l2sq_f32, f32x16, 16, 4)
DEFINE_TILE(ip_f32, f32x16, 16, 4)

/* Panels. Rows in groups of 64; of each group the first 32-bit piece of every row (one float, or four bytes), then
 * the second, and so on: piece p of row r is at piece[p * 64 + r]. A query's piece, broadcast, then meets 64 rows in four
 * registers, and six queries by four registers keep 24 sums going. A group of byte rows is led by
 * the rows' sums and sums of squares. */
#define GROUP 64
#define BYTE_HEAD (2 * GROUP * sizeof(int32_t))

SCAN_INLINE void transpose16(__m512i r[16])
{
    __m512i t[16];

#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) { /* r[4 a + i]: columns i, i + 4, i + 8, i + 12 of rows 4 a .. 4 a + 3 */
        __m512i low01 = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88), high01 = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        __m512i low23 = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        __m512i high23 = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
        t[i] = _mm512_shuffle_i32x4(low01, low23, 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(high01, high23, 0x88);
        t[i + 8] = _mm512_shuffle_i32x4(low01, low23, 0xdd);
        t[i + 12] = _mm512_shuffle_i32x4(high01, high23, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        r[i] = t[i];
}

/* Up to 64 rows of `size` bytes to one group's pieces. flip_bytes is xored to every piece. */
static void pack_group(const char *base, size_t stride, const uint32_t *ids, size_t first, size_t n, size_t size,
                       uint32_t flip_bytes, int32_t *piece)
{
    const __m512i flips = _mm512_set1_epi32((int)flip_bytes);
    size_t pieces = (size + 3) / 4;

    for (size_t r = 0; r < GROUP; r += 16) {
        const char *row[16];
        for (size_t i = 0; i < 16; i++)
            row[i] = r + i < n ? base + (ids ? ids[first + r + i] : first + r + i) * stride : NULL;
        for (size_t p = 0; p < pieces; p += 16) {
            __mmask64 mask = first64(size - 4 * p < 64 ? size - 4 * p : 64);
            __m512i block[16];
#pragma GCC unroll 16
            for (size_t i = 0; i < 16; i++)
                block[i] = row[i] ? _mm512_xor_si512(_mm512_maskz_loadu_epi8(mask, row[i] + 4 * p), flips)
                                  : _mm512_setzero_si512();
            transpose16(block);
#pragma GCC unroll 16
            for (size_t i = 0; i < 16; i++)
                if (p + i < pieces)
                    _mm512_storeu_si512(piece + (p + i) * GROUP + r, block[i]);
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
        pack_group(base, stride, ids, i, n - i, 4 * dim, 0, (int32_t *)panel + i * dim);
}

/* The lanes of a group's vector v that hold some of its n rows. */
SCAN_INLINE __mmask16 vector_mask(size_t n, int v)
{
    size_t before = 16 * (size_t)v;

    return first16(n <= before ? 0 : n - before < 16 ? n - before : 16);
}

/* `count` queries, of which the first nq are wanted, by one group, of which `vectors` registers are. */
SCAN_INLINE void f32_multiply_group(const char *const *queries, int count, size_t nq, const float *piece, int vectors,
                                    size_t dim, float factor, const float *bias, size_t n, float *out,
                                    size_t out_stride)
{
    const __m512 factors = _mm512_set1_ps(factor);
    __m512 sum[6][4];

#pragma GCC unroll 6
    for (int i = 0; i < count; i++)
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            sum[i][v] = _mm512_setzero_ps();
    for (size_t d = 0; d < dim; d++, piece += GROUP) {
        __m512 rows[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            rows[v] = _mm512_loadu_ps(piece + 16 * v);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            __m512 value = _mm512_set1_ps(load_f32(queries[i], d));
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sum[i][v] = _mm512_fmadd_ps(value, rows[v], sum[i][v]);
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        __mmask16 mask = vector_mask(n, v);
        __m512 biases = bias ? _mm512_maskz_loadu_ps(mask, bias + 16 * v) : _mm512_setzero_ps();
#pragma GCC unroll 6
        for (int i = 0; i < count; i++)
            if ((size_t)i < nq)
                _mm512_mask_storeu_ps(out + (size_t)i * out_stride + 16 * v, mask,
                                      _mm512_fmadd_ps(sum[i][v], factors, biases));
    }
}

/* run(count, vectors) with constants that are enough for nq queries and n rows; each pair has its own unrolled loop, so the
 * pairs are few, and some sums computed in vain. */
#define FOR_SIZES(nq, n, run) \
    do {                      \
        if ((nq) > 3) {       \
            if ((n) > 32)     \
                run(6, 4);    \
            else              \
                run(6, 2);    \
        } else if ((nq) > 1)  \
            run(3, 4);        \
        else                  \
            run(1, 4);        \
    } while (0)

/* Six queries from the i-th on; the last again where there are fewer. */
SCAN_INLINE void query_pointers(const char *queries, size_t query_stride, size_t i, size_t nq, const char *pointers[6])
{
    for (size_t q = 0; q < 6; q++)
        pointers[q] = queries + (i + q < nq ? i + q : nq - 1) * query_stride;
}

static void f32_multiply(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n, size_t dim,
                         float factor, const float *bias, float *out, size_t out_stride)
{
    for (size_t j = 0; j < n; j += GROUP)
        for (size_t i = 0; i < nq; i += 6) {
            const float *piece = (const float *)panel + j * dim;
            const char *query[6];
            query_pointers(queries, query_stride, i, nq, query);
#define RUN(count, vectors)                                                                                        \
    f32_multiply_group(query, count, nq - i, piece, vectors, dim, factor, bias ? bias + j : NULL, n - j,           \
                       out + i * out_stride + j, out_stride)
            FOR_SIZES(nq - i, n - j, RUN);
#undef RUN
        }
}

/* ---- blocks of bytes ---- */

/* u8: rows are kept 128 lower, as signed bytes. i8: the query's bytes are taken 128 higher. */
enum byte_kind { BYTES_U8, BYTES_I8 };

SCAN_INLINE size_t byte_group_size(size_t dim)
{
    return BYTE_HEAD + (dim + 3) / 4 * 4 * GROUP;
}

static size_t u8_panel_size(size_t n, size_t dim)
{
    return (n + GROUP - 1) / GROUP * byte_group_size(dim);
}

/* Sum and sum of squares of the bytes as they are. */
static void byte_sums(const char *row, size_t dim, enum byte_kind kind, int32_t *sum, int32_t *sumsq)
{
    const __m512i one = _mm512_set1_epi8(1);
    __m512i sums = _mm512_setzero_si512(), squares = _mm512_setzero_si512();

    for (size_t i = 0; i < dim; i += 64) {
        __m512i v = tail64(row, i, dim - i < 64 ? dim : i + 64), even, odd;
        if (kind == BYTES_U8) {
            sums = _mm512_dpbusd_epi32(sums, v, one);
            even = low_bytes(v);
            odd = _mm512_srli_epi16(v, 8);
        } else {
            sums = _mm512_dpbusd_epi32(sums, one, v);
            even = _mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8);
            odd = _mm512_srai_epi16(v, 8);
        }
        squares = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(squares, even, even), odd, odd);
    }
    *sum = i32x16_sum(sums);
    *sumsq = i32x16_sum(squares);
}

SCAN_INLINE void byte_pack(const char *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                           enum byte_kind kind, char *panel)
{
    for (size_t i = 0; i < n; i += GROUP, panel += byte_group_size(dim)) {
        int32_t *sum = (int32_t *)panel, *sumsq = sum + GROUP;
        for (size_t r = 0; r < GROUP; r++) {
            sum[r] = sumsq[r] = 0;
            if (i + r < n)
                byte_sums(base + (ids ? ids[i + r] : i + r) * stride, dim, kind, &sum[r], &sumsq[r]);
        }
        pack_group(base, stride, ids, i, n - i, dim, kind == BYTES_U8 ? 0x80808080 : 0, sumsq + GROUP);
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

/* What is known of a query before its rows: sums, and the up to three bytes past the last whole piece. */
struct byte_query {
    int32_t sum, sumsq, rest;
};

SCAN_INLINE __m512i query_piece(const void *p, enum byte_kind kind)
{
    int32_t bytes;

    memcpy(&bytes, p, sizeof bytes);
    return kind == BYTES_I8 ? flip(_mm512_set1_epi32(bytes)) : _mm512_set1_epi32(bytes);
}

/* With d the sums that vpdpbusd gives, q the query, r a row:
 *   u8: d = sum(q * (r - 128)) = ip - 128 * sum(q)        i8: d = sum((q + 128) * r) = ip + 128 * sum(r)
 *   squared distance = sumsq(q) + sumsq(r) - 2 * ip */
SCAN_INLINE void byte_multiply_group(const char *const *queries, int count, size_t nq, const char *group, int vectors,
                                     size_t dim, enum byte_kind kind, bool l2, const struct byte_query *known,
                                     size_t n, int32_t *out, size_t out_stride)
{
    const int32_t *row_sum = (const int32_t *)group, *row_sumsq = row_sum + GROUP;
    const char *piece = group + BYTE_HEAD, *end = piece + dim / 4 * 4 * GROUP;
    __m512i sum[6][4];

    /* the odd bytes first: nothing but the loop may use the sums, or the compiler copies all of them every time round */
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) {
        __m512i value = query_piece(&known[i].rest, kind);
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++) {
            sum[i][v] = _mm512_setzero_si512();
            if (dim % 4)
                sum[i][v] = _mm512_dpbusd_epi32(sum[i][v], value, _mm512_loadu_si512(end + 64 * v));
        }
    }
    for (size_t d = 0; piece < end; piece += 4 * GROUP, d += 4) {
        __m512i rows[4];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; v++)
            rows[v] = _mm512_loadu_si512(piece + 64 * v);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            __m512i value = query_piece(queries[i] + d, kind);
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++)
                sum[i][v] = _mm512_dpbusd_epi32(sum[i][v], value, rows[v]);
        }
    }
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) {
        __mmask16 mask = vector_mask(n, v);
        __m512i sums = _mm512_slli_epi32(_mm512_loadu_si512(row_sum + 16 * v), 7);
        __m512i squares = _mm512_loadu_si512(row_sumsq + 16 * v);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            __m512i ip = sum[i][v];
            if (kind == BYTES_U8)
                ip = _mm512_add_epi32(ip, _mm512_set1_epi32(128 * known[i].sum));
            else
                ip = _mm512_sub_epi32(ip, sums);
            if (l2)
                ip = _mm512_sub_epi32(_mm512_add_epi32(squares, _mm512_set1_epi32(known[i].sumsq)),
                                      _mm512_add_epi32(ip, ip));
            if ((size_t)i < nq)
                _mm512_mask_storeu_epi32(out + (size_t)i * out_stride + 16 * v, mask, ip);
        }
    }
}

SCAN_INLINE void byte_multiply(const char *queries, size_t query_stride, size_t nq, const char *panel, size_t n,
                               size_t dim, enum byte_kind kind, bool l2, int32_t *out, size_t out_stride)
{
    const size_t group_size = byte_group_size(dim);

    for (size_t i = 0; i < nq; i += 6) {
        const char *query[6], *group = panel;
        struct byte_query known[6] = {{0, 0, 0}};
        query_pointers(queries, query_stride, i, nq, query);
        for (size_t q = 0; q < 6 && i + q < nq; q++) {
            byte_sums(query[q], dim, kind, &known[q].sum, &known[q].sumsq);
            memcpy(&known[q].rest, query[q] + dim / 4 * 4, dim % 4);
        }
        for (size_t j = 0; j < n; j += GROUP, group += group_size) {
#define RUN(count, vectors)                                                                                        \
    byte_multiply_group(query, count, nq - i, group, vectors, dim, kind, l2, known, n - j, out + i * out_stride + j, \
                        out_stride)
            FOR_SIZES(nq - i, n - j, RUN);
#undef RUN
        }
    }
}

SCAN_APART void u8_block(const char *queries, size_t query_stride, size_t nq, const char *panel, size_t n, size_t dim, bool l2,
                     int32_t *out, size_t out_stride)
{
    byte_multiply(queries, query_stride, nq, panel, n, dim, BYTES_U8, l2, out, out_stride);
}

SCAN_APART void i8_block(const char *queries, size_t query_stride, size_t nq, const char *panel, size_t n, size_t dim, bool l2,
                     int32_t *out, size_t out_stride)
{
    byte_multiply(queries, query_stride, nq, panel, n, dim, BYTES_I8, l2, out, out_stride);
}

#define DEFINE_BYTE_BLOCK(name, block, l2)                                                                             \
    static void name(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n, size_t dim,     \
                     int32_t *out, size_t out_stride)                                                                  \
    {                                                                                                                  \
        block(queries, query_stride, nq, panel, n, dim, l2, out, out_stride);                                          \
    }

DEFINE_BYTE_BLOCK(u8_multiply, u8_block, false)
DEFINE_BYTE_BLOCK(u8_l2sq, u8_block, true)
DEFINE_BYTE_BLOCK(i8_multiply, i8_block, false)
DEFINE_BYTE_BLOCK(i8_l2sq, i8_block, true)

/* A register is four bytes of each row of a block, so that sums are where they belong without any being folded. */
static void ip_u8i8_blocks(const void *query, const void *blocks, size_t n_blocks, size_t dim, int32_t *out)
{
    const char *rows = blocks, *q = query;

    for (size_t b = 0; b < n_blocks; b++, out += SIMD_BLOCK_ROWS) {
        __m512i sum[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
        size_t i = 0;
        for (; i + 16 <= dim; i += 16, rows += 256) {
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
                sum[j] = _mm512_dpbusd_epi32(sum[j], query_piece(q + i + 4 * j, BYTES_U8), _mm512_loadu_si512(rows + 64 * j));
        }
        for (; i < dim; i += 4, rows += 64)
            sum[0] = _mm512_dpbusd_epi32(sum[0], query_piece(q + i, BYTES_U8), _mm512_loadu_si512(rows));
        _mm512_storeu_si512(out, _mm512_add_epi32(_mm512_add_epi32(sum[0], sum[1]), _mm512_add_epi32(sum[2], sum[3])));
    }
}

const struct distance_kernels AVX512(distance) = {
    .l2sq_f32 = SCAN_WIDE(l2sq_f32),
    .ip_f32 = SCAN_WIDE(ip_f32),
    .l2sq_f16 = SCAN_WIDE(l2sq_f16),
    .ip_f16 = SCAN_WIDE(ip_f16),
    .l2sq_bf16 = SCAN_WIDE(l2sq_bf16),
    .ip_bf16 = SCAN_WIDE(ip_bf16),
    .l2sq_i8 = SCAN_WIDE(l2sq_i8),
    .ip_i8 = SCAN_WIDE(ip_i8),
    .l2sq_u8 = SCAN_WIDE(l2sq_u8),
    .ip_u8 = SCAN_WIDE(ip_u8),
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
