/* AVX2 distances between vectors: same functions, order and contracts as scalar/distance.c. Bytes are multiplied as 16-bit
 * numbers, even and odd ones apart. Compiled twice: avx2vnni/ multiplies bytes as they are. */
#include "simd/avx2/vec.h"

#ifndef AVX2
#define AVX2(name) name##_avx2 /* the table's name */
#endif

/* ---- floats ---- */

SCAN_INLINE __m256 load8_f32(const char *p, size_t i)
{
    return _mm256_loadu_ps((const float *)(const void *)(p + 4 * i));
}

SCAN_INLINE __m256 tail8_f32(const char *p, size_t i, size_t dim)
{
    return load_last8_f32(p, i, dim);
}

SCAN_INLINE __m256 load8_f16(const char *p, size_t i)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 2 * i)));
}

SCAN_INLINE __m256 tail8_f16(const char *p, size_t i, size_t dim)
{
    return _mm256_cvtph_ps(load_last16(p, 2 * i, 2 * dim));
}

SCAN_INLINE __m256 f32_of_bf16x8(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

SCAN_INLINE __m256 load8_bf16(const char *p, size_t i)
{
    return f32_of_bf16x8(_mm_loadu_si128((const __m128i *)(p + 2 * i)));
}

SCAN_INLINE __m256 tail8_bf16(const char *p, size_t i, size_t dim)
{
    return f32_of_bf16x8(load_last16(p, 2 * i, 2 * dim));
}

SCAN_INLINE __m256 add_square(__m256 sum, __m256 a, __m256 b)
{
    __m256 d = _mm256_sub_ps(a, b);

    return _mm256_fmadd_ps(d, d, sum);
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
        return _mm256_fmadd_ps(load8_f32(query, i), load8_##type(row, i), sum);                                \
    }                                                                                                          \
    SCAN_INLINE f32x8 ip_##type##_tail(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)    \
    {                                                                                                          \
        return _mm256_fmadd_ps(tail8_f32(query, i, dim), tail8_##type(row, i, dim), sum);                      \
    }                                                                                                          \
    DEFINE_SCAN(l2sq_##type, float, f32x8, 8, f32x8_zero(), (row_bytes)*dim) \
    DEFINE_WIDE(l2sq_##type, float, f32x8, 8, f32x8_zero(), (row_bytes)*dim) \
    DEFINE_SCAN(ip_##type, float, f32x8, 8, f32x8_zero(), (row_bytes)*dim) \
    DEFINE_WIDE(ip_##type, float, f32x8, 8, f32x8_zero(), (row_bytes)*dim)

FLOAT_KERNELS(f32, 4)
FLOAT_KERNELS(f16, 2)
FLOAT_KERNELS(bf16, 2)

/* ---- bytes ---- */

SCAN_INLINE __m256i add_square_u8(__m256i sum, __m256i a, __m256i b)
{
    __m256i even = _mm256_sub_epi16(even_u8(a), even_u8(b)), odd = _mm256_sub_epi16(odd_u8(a), odd_u8(b));

    return add_products(add_products(sum, even, even), odd, odd);
}

/* Flipped, both are 128 higher, and their difference is the same. */
SCAN_INLINE __m256i add_square_i8(__m256i sum, __m256i a, __m256i b)
{
    return add_square_u8(sum, flip(a), flip(b));
}

SCAN_INLINE __m256i add_ip_u8(__m256i sum, __m256i query, __m256i row)
{
    return add_products(add_products(sum, even_u8(query), even_u8(row)), odd_u8(query), odd_u8(row));
}

SCAN_INLINE __m256i add_ip_i8(__m256i sum, __m256i query, __m256i row)
{
    return add_products(add_products(sum, even_i8(query), even_i8(row)), odd_i8(query), odd_i8(row));
}

#define BYTE_KERNEL(name, add)                                                                                  \
    SCAN_INLINE i32x8 name##_step(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                           \
        return add(sum, load32(query + i), load32(row + i));                                                    \
    }                                                                                                           \
    SCAN_INLINE i32x8 name##_tail(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                           \
        return add(sum, load_last32(query, i, dim), load_last32(row, i, dim));                        \
    }                                                                                                           \
    DEFINE_SCAN(name, int32_t, i32x8, 32, i32x8_zero(), dim) \
    DEFINE_WIDE(name, int32_t, i32x8, 32, i32x8_zero(), dim)

BYTE_KERNEL(l2sq_i8, add_square_i8)
BYTE_KERNEL(ip_i8, add_ip_i8)
BYTE_KERNEL(l2sq_u8, add_square_u8)
BYTE_KERNEL(ip_u8, add_ip_u8)

/* ---- bits ---- */

/* Counts stay below 2^31, so that the 64-bit lanes may be summed as 32-bit ones. */
#define BIT_KERNEL(name, op)                                                                                    \
    SCAN_INLINE i32x8 name##_step(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                           \
        return _mm256_add_epi64(sum, count_bits_x4(op(load32(query + i / 8), load32(row + i / 8))));            \
    }                                                                                                           \
    SCAN_INLINE i32x8 name##_tail(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)          \
    {                                                                                                           \
        __m256i q = load_last32(query, i / 8, dim / 8), r = load_last32(row, i / 8, dim / 8);     \
        return _mm256_add_epi64(sum, count_bits_x4(op(q, r)));                                                  \
    }                                                                                                           \
    DEFINE_SCAN(name, int32_t, i32x8, 256, i32x8_zero(), dim / 8)

BIT_KERNEL(hamming_b1, _mm256_xor_si256)
BIT_KERNEL(and_b1, _mm256_and_si256)
BIT_KERNEL(or_b1, _mm256_or_si256)

/* Two counts per row: bits in both, bits in either. */
typedef struct {
    __m256i both, either;
} pair_x8;

SCAN_INLINE pair_x8 pair_x8_zero(void)
{
    return (pair_x8){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

SCAN_INLINE pair_x8 pair_x8_add(pair_x8 a, pair_x8 b)
{
    return (pair_x8){_mm256_add_epi64(a.both, b.both), _mm256_add_epi64(a.either, b.either)};
}

SCAN_INLINE float pair_x8_sum(pair_x8 a)
{
    int32_t either = i32x8_sum(a.either);

    return either ? 1.0f - (float)i32x8_sum(a.both) / (float)either : 0.0f;
}

SCAN_INLINE void pair_x8_sum4(pair_x8 a, pair_x8 b, pair_x8 c, pair_x8 d, float *out)
{
    __m128i both = i32x8_total4(a.both, b.both, c.both, d.both);
    __m128i either = i32x8_total4(a.either, b.either, c.either, d.either);
    __m128 share = _mm_div_ps(_mm_cvtepi32_ps(both), _mm_cvtepi32_ps(either));
    __m128i empty = _mm_cmpeq_epi32(either, _mm_setzero_si128());

    _mm_storeu_ps(out, _mm_andnot_ps(_mm_castsi128_ps(empty), _mm_sub_ps(_mm_set1_ps(1.0f), share)));
}

SCAN_INLINE pair_x8 add_pair(pair_x8 sum, __m256i a, __m256i b)
{
    sum.both = _mm256_add_epi64(sum.both, count_bits_x4(_mm256_and_si256(a, b)));
    sum.either = _mm256_add_epi64(sum.either, count_bits_x4(_mm256_or_si256(a, b)));
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

/* Two queries by four rows: eight sums. */
DEFINE_TILE(l2sq_f32, f32x8, 8, 2)
DEFINE_TILE(ip_f32, f32x8, 8, 2)

/* Panels. Rows in groups of 16; of each group the first 32-bit piece of every row (one float, or two bytes widened to 16
 * bits), then the second, and so on: piece p of row r is at piece[p * 16 + r]. A query's piece, broadcast, then meets 16 rows
 * in two registers, and six queries by two registers keep 12 sums going. A group of byte rows is led by the rows' sums of
 * squares. */
#define GROUP 16
#define BYTE_HEAD (GROUP * sizeof(int32_t))

SCAN_INLINE void transpose8(__m256i r[8])
{
    __m256i t[8];

#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        t[i + 4] = _mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
}

enum element { FLOATS, BYTES_U8, BYTES_I8 };

/* Elements i .. of a row as eight pieces, zeros past its end. */
SCAN_INLINE __m256i load_pieces(const char *row, size_t i, size_t dim, enum element element)
{
    size_t left = dim - i;
    __m128i bytes;

    if (element == FLOATS)
        return left < 8 ? _mm256_maskload_epi32((const int *)(const void *)(row + 4 * i), first8(left)) : load32(row + 4 * i);
    bytes = left < 16 ? load_part16(row + i, left) : _mm_loadu_si128((const __m128i *)(row + i));
    return element == BYTES_U8 ? _mm256_cvtepu8_epi16(bytes) : _mm256_cvtepi8_epi16(bytes);
}

static void pack_group(const char *base, size_t stride, const uint32_t *ids, size_t first, size_t n, size_t dim,
                            enum element element, int32_t *piece)
{
    size_t per_piece = element == FLOATS ? 1 : 2, pieces = (dim + per_piece - 1) / per_piece;

    for (size_t r = 0; r < GROUP; r += 8) {
        const char *row[8];
        for (size_t i = 0; i < 8; i++)
            row[i] = r + i < n ? base + (ids ? ids[first + r + i] : first + r + i) * stride : NULL;
        for (size_t p = 0; p < pieces; p += 8) {
            __m256i block[8];
#pragma GCC unroll 8
            for (size_t i = 0; i < 8; i++)
                block[i] = row[i] ? load_pieces(row[i], p * per_piece, dim, element) : _mm256_setzero_si256();
            transpose8(block);
#pragma GCC unroll 8
            for (size_t i = 0; i < 8; i++)
                if (p + i < pieces)
                    _mm256_storeu_si256((__m256i *)(piece + (p + i) * GROUP + r), block[i]);
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
        pack_group(base, stride, ids, i, n - i, dim, FLOATS, (int32_t *)panel + i * dim);
}

/* `count` queries, of which the first nq are wanted, by one group, of which n rows are. */
SCAN_INLINE void f32_multiply_group(const char *const *queries, int count, size_t nq, const float *piece, size_t dim,
                                    float factor, const float *bias, size_t n, float *out, size_t out_stride)
{
    const __m256 factors = _mm256_set1_ps(factor);
    __m256 sum[6][2];

#pragma GCC unroll 6
    for (int i = 0; i < count; i++)
        sum[i][0] = sum[i][1] = _mm256_setzero_ps();
    for (size_t d = 0; d < dim; d++, piece += GROUP) {
        __m256 low = _mm256_loadu_ps(piece), high = _mm256_loadu_ps(piece + 8);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            __m256 value = _mm256_set1_ps(load_f32(queries[i], d));
            sum[i][0] = _mm256_fmadd_ps(value, low, sum[i][0]);
            sum[i][1] = _mm256_fmadd_ps(value, high, sum[i][1]);
        }
    }
#pragma GCC unroll 2
    for (size_t v = 0; v < 2; v++) {
        __m256i mask = first8(n <= 8 * v ? 0 : n - 8 * v < 8 ? n - 8 * v : 8);
        __m256 biases = bias ? _mm256_maskload_ps(bias + 8 * v, mask) : _mm256_setzero_ps();
#pragma GCC unroll 6
        for (int i = 0; i < count; i++)
            if ((size_t)i < nq)
                _mm256_maskstore_ps(out + (size_t)i * out_stride + 8 * v, mask,
                                    _mm256_fmadd_ps(sum[i][v], factors, biases));
    }
}

/* run(count) with a constant that is enough for nq queries; each has its own unrolled loop, so they are few, and some sums
 * computed in vain. */
#define FOR_QUERIES(nq, run) \
    do {                     \
        if ((nq) > 3)        \
            run(6);          \
        else if ((nq) > 1)   \
            run(3);          \
        else                 \
            run(1);          \
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
#define RUN(count)                                                                                          \
    f32_multiply_group(query, count, nq - i, piece, dim, factor, bias ? bias + j : NULL, n - j,             \
                       out + i * out_stride + j, out_stride)
            FOR_QUERIES(nq - i, RUN);
#undef RUN
        }
}

/* ---- blocks of bytes ---- */

#define CHUNK 256 /* dimensions of the queries widened at a time */

SCAN_INLINE size_t byte_group_size(size_t dim)
{
    return BYTE_HEAD + (dim + 1) / 2 * GROUP * sizeof(int32_t);
}

static size_t u8_panel_size(size_t n, size_t dim)
{
    return (n + GROUP - 1) / GROUP * byte_group_size(dim);
}

static void byte_pack(const char *base, size_t stride, const uint32_t *ids, size_t n, size_t dim,
                           enum element element, char *panel)
{
    for (size_t i = 0; i < n; i += GROUP, panel += byte_group_size(dim)) {
        int32_t *sumsq = (int32_t *)panel;
        for (size_t r = 0; r < GROUP; r++) {
            const char *row = i + r < n ? base + (ids ? ids[i + r] : i + r) * stride : NULL;
            sumsq[r] = !row ? 0 : element == BYTES_U8 ? ip_u8(row, row, dim) : ip_i8(row, row, dim);
        }
        pack_group(base, stride, ids, i, n - i, dim, element, sumsq + GROUP);
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

/* Sums go on from chunk to chunk; in memory they are as in registers, 16 rows per query. */
SCAN_INLINE void byte_multiply_chunk(const int32_t (*query)[CHUNK / 2], int count, const char *piece, size_t pieces,
                                     __m256i (*sums)[2])
{
    const char *end = piece + pieces * GROUP * sizeof(int32_t);
    __m256i sum[6][2];

#pragma GCC unroll 6
    for (int i = 0; i < count; i++) {
        sum[i][0] = sums[i][0];
        sum[i][1] = sums[i][1];
    }
    for (size_t p = 0; piece < end; piece += GROUP * sizeof(int32_t), p++) {
        __m256i low = load32(piece), high = load32(piece + 32);
#pragma GCC unroll 6
        for (int i = 0; i < count; i++) {
            __m256i value = _mm256_set1_epi32(query[i][p]);
            sum[i][0] = add_products(sum[i][0], value, low);
            sum[i][1] = add_products(sum[i][1], value, high);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < count; i++) {
        sums[i][0] = sum[i][0];
        sums[i][1] = sum[i][1];
    }
}

/* Squared distance = sumsq(query) + sumsq(row) - 2 * inner product. */
static void byte_multiply(const char *queries, size_t query_stride, size_t nq, const char *panel, size_t n, size_t dim,
                          enum element element, bool l2, int32_t *out, size_t out_stride)
{
    const size_t group_size = byte_group_size(dim), group_count = (n + GROUP - 1) / GROUP;

    for (size_t i = 0; i < nq; i += 6) {
        const size_t some = nq - i < 6 ? nq - i : 6;
        int32_t wide[6][CHUNK / 2] = {{0}}, sumsq[6] = {0};
        const char *query[6];
        query_pointers(queries, query_stride, i, nq, query);
        for (size_t q = 0; q < some; q++)
            sumsq[q] = element == BYTES_U8 ? ip_u8(query[q], query[q], dim) : ip_i8(query[q], query[q], dim);
        for (size_t g = 0; g < group_count; g++) {
            const char *group = panel + g * group_size;
            __m256i sums[6][2];
            for (size_t q = 0; q < 6; q++)
                sums[q][0] = sums[q][1] = _mm256_setzero_si256();
            for (size_t d = 0; d < dim; d += CHUNK) {
                size_t size = dim - d < CHUNK ? dim - d : CHUNK;
                const char *piece = group + BYTE_HEAD + d / 2 * GROUP * sizeof(int32_t);
                if (g == 0 || dim > CHUNK) /* one chunk is widened once for all groups */
                    for (size_t q = 0; q < some; q++)
                        for (size_t e = 0; e < size; e += 16)
                            _mm256_storeu_si256((__m256i *)&wide[q][e / 2], load_pieces(query[q], d + e, dim, element));
#define RUN(count) byte_multiply_chunk((const int32_t(*)[CHUNK / 2]) wide, count, piece, (size + 1) / 2, sums)
                FOR_QUERIES(some, RUN);
#undef RUN
            }
            for (size_t q = 0; q < some; q++)
                for (size_t v = 0; v < 2; v++) {
                    size_t done = g * GROUP + 8 * v;
                    __m256i ip = sums[q][v], squares = load32(group + 32 * v);
                    if (l2)
                        ip = _mm256_sub_epi32(_mm256_add_epi32(squares, _mm256_set1_epi32(sumsq[q])),
                                              _mm256_add_epi32(ip, ip));
                    if (done < n)
                        _mm256_maskstore_epi32(out + (i + q) * out_stride + done, first8(n - done < 8 ? n - done : 8), ip);
                }
        }
    }
}

#define DEFINE_BYTE_BLOCK(name, element, l2)                                                                           \
    static void name(const void *queries, size_t query_stride, size_t nq, const void *panel, size_t n, size_t dim,     \
                     int32_t *out, size_t out_stride)                                                                  \
    {                                                                                                                  \
        byte_multiply(queries, query_stride, nq, panel, n, dim, element, l2, out, out_stride);                         \
    }

DEFINE_BYTE_BLOCK(u8_multiply, BYTES_U8, false)
DEFINE_BYTE_BLOCK(u8_l2sq, BYTES_U8, true)
DEFINE_BYTE_BLOCK(i8_multiply, BYTES_I8, false)
DEFINE_BYTE_BLOCK(i8_l2sq, BYTES_I8, true)

/* Four bytes of four rows become sixteen numbers of 16 bits, whose products are added by twos here and by fours in the end:
 * added as bytes they could pass 32,767. */
static void ip_u8i8_blocks(const void *query, const void *blocks, size_t n_blocks, size_t dim, int32_t *out)
{
    const char *rows = blocks, *q = query;

    for (size_t b = 0; b < n_blocks; b++, out += SIMD_BLOCK_ROWS) {
        __m256i sum[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
        for (size_t i = 0; i < dim; i += 4, rows += 64) {
            int32_t bytes;
            __m256i piece;
            memcpy(&bytes, q + i, sizeof bytes);
            piece = _mm256_cvtepu8_epi16(_mm_set1_epi32(bytes));
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                __m256i four = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(rows + 16 * j)));
                sum[j] = _mm256_add_epi32(sum[j], _mm256_madd_epi16(piece, four));
            }
        }
        for (int j = 0; j < 4; j += 2) { /* rows 0 1, 4 5, 2 3, 6 7 of the eight */
            __m256i pairs = _mm256_hadd_epi32(sum[j], sum[j + 1]);
            _mm256_storeu_si256((__m256i *)(void *)(out + 4 * j), _mm256_permute4x64_epi64(pairs, 0xd8));
        }
    }
}

const struct distance_kernels AVX2(distance) = {
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
