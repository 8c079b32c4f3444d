/* AVX-512 kernels on codes: same functions, order and contracts as scalar/codes.c. */
#include "simd/avx512/vec.h"
#include "simd/vectors.h"

#ifndef AVX512
#define AVX512(name) name##_avx512 /* the table's name */
#endif

DECLARE_VECTOR_KERNELS(AVX512)

/* ---- dot products of codes ---- */

SCAN_INLINE i32x16 dot_u8s8_step(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, load64(row, i), load64(query, i));
}

SCAN_INLINE i32x16 dot_u8s8_tail(i32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return _mm512_dpbusd_epi32(sum, tail64(row, i, dim), tail64(query, i, dim));
}

DEFINE_SCAN(dot_u8s8, int32_t, i32x16, 64, i32x16_zero(), dim)
DEFINE_WIDE(dot_u8s8, int32_t, i32x16, 64, i32x16_zero(), dim)

/* The query's high and low terms, against one load of the row. */
typedef struct {
    __m512i high, low;
} two_x16;

SCAN_INLINE two_x16 two_x16_zero(void)
{
    return (two_x16){_mm512_setzero_si512(), _mm512_setzero_si512()};
}

SCAN_INLINE two_x16 two_x16_add(two_x16 a, two_x16 b)
{
    return (two_x16){_mm512_add_epi32(a.high, b.high), _mm512_add_epi32(a.low, b.low)};
}

SCAN_INLINE float two_x16_sum(two_x16 a)
{
    return (float)i32x16_sum(a.high) * 128.0f + (float)i32x16_sum(a.low);
}

SCAN_INLINE void two_x16_sum4(two_x16 a, two_x16 b, two_x16 c, two_x16 d, float *out)
{
    __m128i high = i32x16_total4(a.high, b.high, c.high, d.high), low = i32x16_total4(a.low, b.low, c.low, d.low);

    _mm_storeu_ps(out, _mm_fmadd_ps(_mm_cvtepi32_ps(high), _mm_set1_ps(128.0f), _mm_cvtepi32_ps(low)));
}

SCAN_INLINE two_x16 dot_u8s8x2_step(two_x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return (two_x16){_mm512_dpbusd_epi32(sum.high, load64(row, i), load64(query, i)),
                     _mm512_dpbusd_epi32(sum.low, load64(row, i), load64(query + dim, i))};
}

SCAN_INLINE two_x16 dot_u8s8x2_tail(two_x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return (two_x16){_mm512_dpbusd_epi32(sum.high, tail64(row, i, dim), tail64(query, i, dim)),
                     _mm512_dpbusd_epi32(sum.low, tail64(row, i, dim), tail64(query + dim, i, dim))};
}

DEFINE_SCAN(dot_u8s8x2, float, two_x16, 64, two_x16_zero(), dim)

SCAN_INLINE f32x16 dot_u8f32_step(f32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    __m512i code = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(row + i)));

    return _mm512_fmadd_ps(_mm512_loadu_ps(query + 4 * i), _mm512_cvtepi32_ps(code), sum);
}

SCAN_INLINE f32x16 dot_u8f32_tail(f32x16 sum, const char *query, const char *row, size_t i, size_t dim)
{
    __mmask16 mask = first16(dim - i);
    __m512i code = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, row + i));

    return _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, query + 4 * i), _mm512_cvtepi32_ps(code), sum);
}

DEFINE_SCAN(dot_u8f32, float, f32x16, 16, f32x16_zero(), dim)

/* Packed codes. A field's bytes are repeated across the register, and each part keeps its own bits by a mask, in
 * place: the parts' sums are then 1, 4, 16 or 64 times too large, which one shift at the end puts right. So a field
 * costs a load, an AND and a multiplication, whatever its width. */
typedef struct {
    __m512i four, two, one;
} fields_x16;

SCAN_INLINE fields_x16 fields_x16_zero(void)
{
    return (fields_x16){_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
}

SCAN_INLINE fields_x16 fields_x16_add(fields_x16 a, fields_x16 b)
{
    return (fields_x16){_mm512_add_epi32(a.four, b.four), _mm512_add_epi32(a.two, b.two),
                        _mm512_add_epi32(a.one, b.one)};
}

/* The fields together, each at its weight. */
SCAN_INLINE __m512i join_fields(fields_x16 a, unsigned bits)
{
    const __m512i halves = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4);
    const __m512i quarters = _mm512_setr_epi32(0, 0, 0, 0, 2, 2, 2, 2, 4, 4, 4, 4, 6, 6, 6, 6);
    __m512i sum = _mm512_setzero_si512();

    if (bits & 4)
        sum = _mm512_slli_epi32(_mm512_srav_epi32(a.four, halves), bits & 3);
    if (bits & 2)
        sum = _mm512_add_epi32(sum, _mm512_slli_epi32(_mm512_srav_epi32(a.two, quarters), bits & 1));
    if (bits & 1)
        sum = _mm512_add_epi32(sum, a.one);
    return sum;
}

SCAN_INLINE fields_x16 add_fields(fields_x16 sum, __m512i query, const char *code, unsigned bits)
{
    if (bits & 4) {
        const __m512i mask = _mm512_inserti64x4(_mm512_set1_epi8((char)0xf0), _mm256_set1_epi8(0x0f), 0);
        __m512i field = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)code));
        sum.four = _mm512_dpbusd_epi32(sum.four, _mm512_and_si512(field, mask), query);
        code += 32;
    }
    if (bits & 2) {
        const __m512i mask = _mm512_setr_epi32(0x03030303, 0x03030303, 0x03030303, 0x03030303, 0x0c0c0c0c, 0x0c0c0c0c,
                                               0x0c0c0c0c, 0x0c0c0c0c, 0x30303030, 0x30303030, 0x30303030, 0x30303030,
                                               (int)0xc0c0c0c0, (int)0xc0c0c0c0, (int)0xc0c0c0c0, (int)0xc0c0c0c0);
        __m512i field = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)code));
        sum.two = _mm512_dpbusd_epi32(sum.two, _mm512_and_si512(field, mask), query);
        code += 16;
    }
    if (bits & 1) {
        __mmask64 field = (__mmask64)load_u64(code, 0);
        sum.one = _mm512_dpbusd_epi32(sum.one, _mm512_maskz_mov_epi8(field, _mm512_set1_epi8(1)), query);
    }
    return sum;
}

#define DOT_CODE(bits)                                                                                        \
    typedef fields_x16 fields##bits;                                                                          \
    SCAN_INLINE fields##bits fields##bits##_zero(void)                                                        \
    {                                                                                                         \
        return fields_x16_zero();                                                                             \
    }                                                                                                         \
    SCAN_INLINE fields##bits fields##bits##_add(fields##bits a, fields##bits b)                               \
    {                                                                                                         \
        return fields_x16_add(a, b);                                                                          \
    }                                                                                                         \
    SCAN_INLINE int32_t fields##bits##_sum(fields##bits a)                                                    \
    {                                                                                                         \
        return i32x16_sum(join_fields(a, bits));                                                              \
    }                                                                                                         \
    SCAN_INLINE void fields##bits##_sum4(fields##bits a, fields##bits b, fields##bits c, fields##bits d,      \
                                         int32_t *out)                                                        \
    {                                                                                                         \
        i32x16_sum4(join_fields(a, bits), join_fields(b, bits), join_fields(c, bits), join_fields(d, bits),   \
                    out);                                                                                     \
    }                                                                                                         \
    SCAN_INLINE fields##bits dot_code##bits##_step(fields##bits sum, const char *query, const char *row,      \
                                                   size_t i, size_t dim)                                      \
    {                                                                                                         \
        return add_fields(sum, load64(query, i), row + i / 8 * (bits), bits);                                 \
    }                                                                                                         \
    SCAN_INLINE fields##bits dot_code##bits##_tail(fields##bits sum, const char *query, const char *row,      \
                                                   size_t i, size_t dim)                                      \
    {                                                                                                         \
        return sum; /* dim is a multiple of 64 */                                                             \
    }                                                                                                         \
    DEFINE_SCAN(dot_code##bits, int32_t, fields##bits, 64, fields##bits##_zero(), dim / 8 * (bits))

DOT_CODE(1)
DOT_CODE(2)
DOT_CODE(3)
DOT_CODE(4)
DOT_CODE(5)
DOT_CODE(6)
DOT_CODE(7)

/* One count per plane of the query. */
typedef struct {
    __m512i plane[4];
} planes_x8;

SCAN_INLINE planes_x8 planes_x8_zero(void)
{
    __m512i zero = _mm512_setzero_si512();

    return (planes_x8){{zero, zero, zero, zero}};
}

SCAN_INLINE planes_x8 planes_x8_add(planes_x8 a, planes_x8 b)
{
    return (planes_x8){{_mm512_add_epi64(a.plane[0], b.plane[0]), _mm512_add_epi64(a.plane[1], b.plane[1]),
                        _mm512_add_epi64(a.plane[2], b.plane[2]), _mm512_add_epi64(a.plane[3], b.plane[3])}};
}

SCAN_INLINE __m512i join_planes(planes_x8 a)
{
    __m512i low = _mm512_add_epi64(a.plane[0], _mm512_slli_epi64(a.plane[1], 1));
    __m512i high = _mm512_add_epi64(a.plane[2], _mm512_slli_epi64(a.plane[3], 1));

    return _mm512_add_epi64(low, _mm512_slli_epi64(high, 2));
}

SCAN_INLINE int32_t planes_x8_sum(planes_x8 a)
{
    return i32x16_sum(join_planes(a));
}

SCAN_INLINE void planes_x8_sum4(planes_x8 a, planes_x8 b, planes_x8 c, planes_x8 d, int32_t *out)
{
    i32x16_sum4(join_planes(a), join_planes(b), join_planes(c), join_planes(d), out);
}

SCAN_INLINE __m512i add_plane(__m512i sum, __m512i plane, __m512i code)
{
    return _mm512_add_epi64(sum, count_bits_x8(_mm512_and_si512(plane, code)));
}

SCAN_INLINE planes_x8 dot_b1u4_step(planes_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    const char *plane = query + i / 8;
    __m512i code = load64(row, i / 8);

    return (planes_x8){{add_plane(sum.plane[0], load64(plane, 0), code),
                        add_plane(sum.plane[1], load64(plane + dim / 8, 0), code),
                        add_plane(sum.plane[2], load64(plane + dim / 8 * 2, 0), code),
                        add_plane(sum.plane[3], load64(plane + dim / 8 * 3, 0), code)}};
}

SCAN_INLINE planes_x8 dot_b1u4_tail(planes_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    const char *plane = query + i / 8;
    __mmask64 mask = first64((dim - i) / 8);
    __m512i code = _mm512_maskz_loadu_epi8(mask, row + i / 8);

    return (planes_x8){{add_plane(sum.plane[0], _mm512_maskz_loadu_epi8(mask, plane), code),
                        add_plane(sum.plane[1], _mm512_maskz_loadu_epi8(mask, plane + dim / 8), code),
                        add_plane(sum.plane[2], _mm512_maskz_loadu_epi8(mask, plane + dim / 8 * 2), code),
                        add_plane(sum.plane[3], _mm512_maskz_loadu_epi8(mask, plane + dim / 8 * 3), code)}};
}

DEFINE_SCAN(dot_b1u4, int32_t, planes_x8, 512, planes_x8_zero(), dim / 8)

/* ---- packing ---- */

SCAN_INLINE __m512i keep_bits(__m512i a, int low_bits)
{
    return _mm512_and_si512(a, _mm512_set1_epi8((char)((1 << low_bits) - 1)));
}

/* 64 values to one block; bits is 1..7. */
static void pack_block(__m512i values, unsigned bits, uint8_t *code)
{
    if (bits & 4) {
        __m512i field = keep_bits(_mm512_srli_epi16(values, bits & 3), 4);
        __m256i high = _mm256_slli_epi16(_mm512_extracti64x4_epi64(field, 1), 4);
        _mm256_storeu_si256((__m256i *)code, _mm256_or_si256(_mm512_castsi512_si256(field), high));
        code += 32;
    }
    if (bits & 2) {
        __m512i field = keep_bits(_mm512_srli_epi16(values, bits & 1), 2);
        __m512i placed = _mm512_sllv_epi64(field, _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6));
        __m256i half = _mm256_or_si256(_mm512_castsi512_si256(placed), _mm512_extracti64x4_epi64(placed, 1));
        _mm_storeu_si128((__m128i *)code,
                         _mm_or_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
        code += 16;
    }
    if (bits & 1) {
        uint64_t field = _mm512_test_epi8_mask(values, _mm512_set1_epi8(1));
        memcpy(code, &field, sizeof field);
    }
}

static __m512i unpack_block(const uint8_t *code, unsigned bits)
{
    __m512i values = _mm512_setzero_si512();

    if (bits & 4) {
        __m512i field = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)code));
        field = keep_bits(_mm512_srlv_epi64(field, _mm512_setr_epi64(0, 0, 0, 0, 4, 4, 4, 4)), 4);
        values = _mm512_slli_epi16(field, bits & 3);
        code += 32;
    }
    if (bits & 2) {
        __m512i field = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)code));
        field = keep_bits(_mm512_srlv_epi64(field, _mm512_setr_epi64(0, 0, 2, 2, 4, 4, 6, 6)), 2);
        values = _mm512_or_si512(values, _mm512_slli_epi16(field, bits & 1));
        code += 16;
    }
    if (bits & 1)
        values = _mm512_or_si512(values, _mm512_maskz_set1_epi8((__mmask64)load_u64(code, 0), 1));
    return values;
}

static void code_pack(const uint8_t *values, size_t dim, unsigned bits, uint8_t *code)
{
    for (size_t i = 0; i < dim; i += 64, code += 8 * bits) {
        __m512i block = _mm512_maskz_loadu_epi8(first64(dim - i < 64 ? dim - i : 64), values + i);
        if (bits == 8)
            _mm512_storeu_si512(code, block);
        else
            pack_block(block, bits, code);
    }
}

static void code_unpack(const uint8_t *code, size_t dim, unsigned bits, uint8_t *values)
{
    for (size_t i = 0; i < dim; i += 64, code += 8 * bits) {
        __m512i block = bits == 8 ? _mm512_loadu_si512(code) : unpack_block(code, bits);
        _mm512_mask_storeu_epi8(values + i, first64(dim - i < 64 ? dim - i : 64), block);
    }
}

/* ---- FastScan ---- */

#ifdef __AVX512VBMI__

#define FASTSCAN_AHEAD 6 /* blocks */

/* Four tables at a time, not two: vpermb looks 64 bytes up in 64, so a byte may choose among four tables. The codes are
 * first shuffled so that a vector's four codes are neighbours, whose sum vpdpbusd then takes as 32-bit numbers: no
 * overflow to mind, and a third fewer instructions than pshufb in 256 bits. */
SCAN_INLINE void fastscan_blocks(const uint8_t *blocks, int count, size_t tables, const uint8_t *const *luts, int nq,
                                 int32_t *out, size_t out_stride)
{
    /* byte 4 v + t comes from table t, position 2 (v % 8) + v / 8 */
#define FROM(v) (v) * 2 % 16 + (v) / 8, 16 + (v) * 2 % 16 + (v) / 8, 32 + (v) * 2 % 16 + (v) / 8, 48 + (v) * 2 % 16 + (v) / 8
    static const uint8_t order[64] __attribute__((aligned(64))) = {
        FROM(0), FROM(1), FROM(2),  FROM(3),  FROM(4),  FROM(5),  FROM(6),  FROM(7),
        FROM(8), FROM(9), FROM(10), FROM(11), FROM(12), FROM(13), FROM(14), FROM(15),
    };
#undef FROM
    const __m512i together = _mm512_load_si512(order), nibble = _mm512_set1_epi8(15), one = _mm512_set1_epi8(1);
    const __m512i which = _mm512_set1_epi32(0x30201000);
    /* two streams that take turns are too much for the hardware's prefetch; who scans for one query asks for codes itself */
    const size_t ahead = FASTSCAN_AHEAD * tables * 16;
    __m512i low[4][2], high[4][2];

    for (int q = 0; q < nq; q++)
        low[q][0] = low[q][1] = high[q][0] = high[q][1] = _mm512_setzero_si512();
    for (size_t t = 0; t < tables; t += 4) {
        __mmask64 mask = tables - t < 4 ? 0xffffffff : ~(__mmask64)0;
        __m512i index_low[2], index_high[2];
#pragma GCC unroll 2
        for (int b = 0; b < count; b++) {
            const uint8_t *at = blocks + ((size_t)b * tables + t) * 16;
            __m512i codes = _mm512_maskz_loadu_epi8(mask, at);
            if (nq > 1)
                simd_prefetch_line(at + ahead);
            codes = _mm512_permutexvar_epi8(together, codes);
            index_low[b] = _mm512_ternarylogic_epi64(codes, nibble, which, 0xea); /* (codes & nibble) | which */
            index_high[b] = _mm512_ternarylogic_epi64(_mm512_srli_epi16(codes, 4), nibble, which, 0xea);
        }
#pragma GCC unroll 4
        for (int q = 0; q < nq; q++) {
            __m512i lut = _mm512_maskz_loadu_epi8(mask, luts[q] + t * 16);
#pragma GCC unroll 2
            for (int b = 0; b < count; b++) {
                low[q][b] = _mm512_dpbusd_epi32(low[q][b], _mm512_permutexvar_epi8(index_low[b], lut), one);
                high[q][b] = _mm512_dpbusd_epi32(high[q][b], _mm512_permutexvar_epi8(index_high[b], lut), one);
            }
        }
    }
#pragma GCC unroll 4
    for (int q = 0; q < nq; q++)
#pragma GCC unroll 2
        for (int b = 0; b < count; b++) {
            int32_t *to = out + (size_t)q * out_stride + 32 * (size_t)b;
            _mm512_storeu_si512(to, low[q][b]);
            _mm512_storeu_si512(to + 16, high[q][b]);
        }
}

#else

/* vpshufb in 256 bits, two tables at a time. Sums are 16-bit, in which the odd bytes ride on the even ones until they
 * are subtracted at the end of each run of tables that cannot overflow. */
SCAN_INLINE void fastscan_one(const uint8_t *block, size_t tables, const uint8_t *const *luts, int nq, int32_t *out,
                              size_t out_stride)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    __m512i low[4], high[4];

    for (int q = 0; q < nq; q++)
        low[q] = high[q] = _mm512_setzero_si512();
    for (size_t first = 0; first < tables; first += 256) {
        size_t last = tables - first < 256 ? tables : first + 256;
        __m256i sum[4][4];
        for (int q = 0; q < nq; q++)
            sum[q][0] = sum[q][1] = sum[q][2] = sum[q][3] = _mm256_setzero_si256();
        for (size_t t = first; t < last; t += 2) {
            __m256i codes = _mm256_loadu_si256((const __m256i *)(block + t * 16));
            __m256i index_low = _mm256_and_si256(codes, nibble);
            __m256i index_high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
#pragma GCC unroll 4
            for (int q = 0; q < nq; q++) {
                __m256i lut = _mm256_loadu_si256((const __m256i *)(luts[q] + t * 16));
                __m256i value_low = _mm256_shuffle_epi8(lut, index_low);
                __m256i value_high = _mm256_shuffle_epi8(lut, index_high);
                sum[q][0] = _mm256_add_epi16(sum[q][0], value_low);
                sum[q][1] = _mm256_add_epi16(sum[q][1], _mm256_srli_epi16(value_low, 8));
                sum[q][2] = _mm256_add_epi16(sum[q][2], value_high);
                sum[q][3] = _mm256_add_epi16(sum[q][3], _mm256_srli_epi16(value_high, 8));
            }
        }
#pragma GCC unroll 4
        for (int q = 0; q < nq; q++) {
            for (int half = 0; half < 2; half++) {
                __m256i odd = sum[q][2 * half + 1];
                __m256i even = _mm256_sub_epi16(sum[q][2 * half], _mm256_slli_epi16(odd, 8));
                __m256i vectors = _mm256_add_epi16(_mm256_permute2x128_si256(even, odd, 0x20),
                                                   _mm256_permute2x128_si256(even, odd, 0x31));
                __m512i *total = half ? &high[q] : &low[q];
                *total = _mm512_add_epi32(*total, _mm512_cvtepu16_epi32(vectors));
            }
        }
    }
#pragma GCC unroll 4
    for (int q = 0; q < nq; q++) {
        _mm512_storeu_si512(out + (size_t)q * out_stride, low[q]);
        _mm512_storeu_si512(out + (size_t)q * out_stride + 16, high[q]);
    }
}

SCAN_INLINE void fastscan_blocks(const uint8_t *blocks, int count, size_t tables, const uint8_t *const *luts, int nq,
                                 int32_t *out, size_t out_stride)
{
    for (int b = 0; b < count; b++)
        fastscan_one(blocks + (size_t)b * tables * 16, tables, luts, nq, out + 32 * b, out_stride);
}

#endif

/* All blocks for nq queries, two blocks at a time so that there are sums enough in flight. */
SCAN_INLINE void fastscan_queries(const uint8_t *blocks, size_t n_blocks, size_t tables, const uint8_t *const *luts, int nq,
                                  int32_t *out, size_t out_stride)
{
    size_t b = 0;

    for (; b + 2 <= n_blocks; b += 2)
        fastscan_blocks(blocks + b * tables * 16, 2, tables, luts, nq, out + b * 32, out_stride);
    if (b < n_blocks)
        fastscan_blocks(blocks + b * tables * 16, 1, tables, luts, nq, out + b * 32, out_stride);
}

static void fastscan(const uint8_t *blocks, size_t n_blocks, size_t tables, const uint8_t *const *luts, size_t nq,
                     int32_t *out, size_t out_stride)
{
    for (; nq >= 4; nq -= 4, luts += 4, out += 4 * out_stride)
        fastscan_queries(blocks, n_blocks, tables, luts, 4, out, out_stride);
    for (; nq >= 2; nq -= 2, luts += 2, out += 2 * out_stride)
        fastscan_queries(blocks, n_blocks, tables, luts, 2, out, out_stride);
    if (nq)
        fastscan_queries(blocks, n_blocks, tables, luts, 1, out, out_stride);
}

/* ---- scoring ---- */

static void score_i32(const int32_t *ip, const float *a, const float *b, size_t n, float g, float scale, float k,
                      float *out)
{
    const __m512 g_x16 = _mm512_set1_ps(g), scale_x16 = _mm512_set1_ps(scale), k_x16 = _mm512_set1_ps(k);

    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 dot = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, ip + i));
        __m512 base = a ? _mm512_add_ps(_mm512_maskz_loadu_ps(mask, a + i), g_x16) : g_x16;
        __m512 factor = b ? _mm512_maskz_loadu_ps(mask, b + i) : _mm512_set1_ps(1.0f);
        dot = _mm512_fmadd_ps(scale_x16, dot, k_x16);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_fmadd_ps(factor, dot, base));
    }
}

const struct code_kernels AVX512(codes) = {
    .dot_u8s8 = SCAN_WIDE(dot_u8s8),
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
            [8] = SCAN_WIDE(dot_u8s8),
        },
    .dot_b1u4 = SCAN(dot_b1u4),
    .pq8 = SCALAR_SCAN(pq8),
    .code_pack = code_pack,
    .code_unpack = code_unpack,
    .fastscan_pack = scalar_fastscan_pack,
    .fastscan = fastscan,
    .score_i32 = score_i32,
    .score_i32_gather = scalar_score_i32_gather, /* gathers are slow where this matters */
    VECTOR_KERNELS(AVX512),
};
