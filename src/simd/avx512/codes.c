/* AVX-512 kernels on codes: same functions, order and contracts as scalar/codes.c. */
#include "simd/avx512/vec.h"

#ifndef AVX512
#define AVX512(name) name##_avx512 /* the table's name */
#endif

/* ---- dot products of codes ---- */

SCAN_INLINE __m512i load64(const char *p, size_t i)
{
    return _mm512_loadu_si512(p + i);
}

SCAN_INLINE __m512i tail64(const char *p, size_t i, size_t dim)
{
    return _mm512_maskz_loadu_epi8(first64(dim - i), p + i);
}

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
    const size_t ahead = FASTSCAN_AHEAD * tables * 16; /* two streams that take turns are too much for the hardware's prefetch */
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

/* ---- quantizing ---- */

SCAN_INLINE __m128i quantize_u8(__m512 v)
{
    v = _mm512_max_ps(v, _mm512_setzero_ps()); /* in this order NaN becomes 0 */
    v = _mm512_min_ps(v, _mm512_set1_ps(255.0f));
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
}

static void sq8_encode(const float *x, size_t dim, float low, float inverse_step, uint8_t *code)
{
    const __m512 low_x16 = _mm512_set1_ps(low), inverse_x16 = _mm512_set1_ps(inverse_step);

    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), low_x16);
        _mm_mask_storeu_epi8(code + i, mask, quantize_u8(_mm512_mul_ps(v, inverse_x16)));
    }
}

static void sq8_encode_dims(const float *x, size_t dim, const float *low, const float *inverse_step, uint8_t *code)
{
    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_maskz_loadu_ps(mask, low + i));
        v = _mm512_mul_ps(v, _mm512_maskz_loadu_ps(mask, inverse_step + i));
        _mm_mask_storeu_epi8(code + i, mask, quantize_u8(v));
    }
}

SCAN_INLINE __m512 load_codes(const uint8_t *code, __mmask16 mask)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, code)));
}

static void sq8_decode(const uint8_t *code, size_t dim, float low, float step, float *x)
{
    const __m512 low_x16 = _mm512_set1_ps(low), step_x16 = _mm512_set1_ps(step);

    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        _mm512_mask_storeu_ps(x + i, mask, _mm512_fmadd_ps(step_x16, load_codes(code + i, mask), low_x16));
    }
}

static void sq8_decode_dims(const uint8_t *code, size_t dim, const float *low, const float *step, float *x)
{
    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        __m512 v = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, step + i), load_codes(code + i, mask),
                                   _mm512_maskz_loadu_ps(mask, low + i));
        _mm512_mask_storeu_ps(x + i, mask, v);
    }
}

SCAN_INLINE __m512i quantize_signed(__m512 v, float limit)
{
    v = _mm512_max_ps(v, _mm512_set1_ps(-limit));
    v = _mm512_min_ps(v, _mm512_set1_ps(limit));
    return _mm512_cvtps_epi32(v);
}

static void quantize_i8(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    const __m512 inverse_x16 = _mm512_set1_ps(inverse_step);

    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), inverse_x16);
        _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtepi32_epi8(quantize_signed(v, 127.0f)));
    }
}

static void quantize_i8x2(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    const __m512 inverse_x16 = _mm512_set1_ps(inverse_step);

    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), inverse_x16);
        __m512i v = quantize_signed(scaled, 127.0f * 128.0f);
        __m512i high = _mm512_srai_epi32(_mm512_add_epi32(v, _mm512_set1_epi32(64)), 7);
        __m512i low = _mm512_sub_epi32(v, _mm512_slli_epi32(high, 7));
        _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtepi32_epi8(high));
        _mm_mask_storeu_epi8(out + dim + i, mask, _mm512_cvtepi32_epi8(low));
    }
}

static void rabitq_encode(const float *x, size_t dim, float t, unsigned bits, uint8_t *u)
{
    const int half = 1 << (bits - 1);
    const __m512 t_x16 = _mm512_set1_ps(t), most = _mm512_set1_ps((float)(half - 1));
    const __m512i half_x16 = _mm512_set1_epi32(half), below = _mm512_set1_epi32(half - 1);

    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        __m512 v = _mm512_maskz_loadu_ps(mask, x + i);
        __mmask16 positive = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GE_OQ);
        __m512i m = _mm512_cvttps_epi32(_mm512_min_ps(_mm512_mul_ps(_mm512_abs_ps(v), t_x16), most));
        __m512i code = _mm512_mask_add_epi32(_mm512_sub_epi32(below, m), positive, half_x16, m);
        _mm_mask_storeu_epi8(u + i, mask, _mm512_cvtepi32_epi8(code));
    }
}

/* ---- rotation ---- */

/* Sum and difference of lanes `distance` apart, in place: partner + (+-1) * own. */
SCAN_INLINE __m512 butterfly_lanes(__m512 v, __m512 partner, __mmask16 upper)
{
    const __m512 one = _mm512_set1_ps(1.0f);

    return _mm512_fmadd_ps(v, _mm512_mask_sub_ps(one, upper, _mm512_setzero_ps(), one), partner);
}

SCAN_INLINE __m512 hadamard16(__m512 v)
{
    v = butterfly_lanes(v, _mm512_permute_ps(v, 0xb1), 0xaaaa);
    v = butterfly_lanes(v, _mm512_permute_ps(v, 0x4e), 0xcccc);
    v = butterfly_lanes(v, _mm512_shuffle_f32x4(v, v, 0xb1), 0xf0f0);
    return butterfly_lanes(v, _mm512_shuffle_f32x4(v, v, 0x4e), 0xff00);
}

SCAN_INLINE void butterfly(__m512 *a, __m512 *b)
{
    __m512 sum = _mm512_add_ps(*a, *b);

    *b = _mm512_sub_ps(*a, *b);
    *a = sum;
}

/* 16 * count values, count 1, 2, 4 or 8, all in registers. */
SCAN_INLINE void hadamard_registers(float *x, int count)
{
    __m512 v[8];

#pragma GCC unroll 8
    for (int i = 0; i < count; i++)
        v[i] = hadamard16(_mm512_loadu_ps(x + 16 * i));
    if (count > 1)
#pragma GCC unroll 8
        for (int i = 0; i < count; i += 2)
            butterfly(&v[i], &v[i + 1]);
    if (count > 2)
#pragma GCC unroll 8
        for (int i = 0; i < count; i++)
            if (!(i & 2))
                butterfly(&v[i], &v[i + 2]);
    if (count > 4)
#pragma GCC unroll 8
        for (int i = 0; i < 4; i++)
            butterfly(&v[i], &v[i + 4]);
#pragma GCC unroll 8
    for (int i = 0; i < count; i++)
        _mm512_storeu_ps(x + 16 * i, v[i]);
}

static void hadamard(float *x, size_t n)
{
    size_t half = 128;

    switch (n) {
    case 16: hadamard_registers(x, 1); return;
    case 32: hadamard_registers(x, 2); return;
    case 64: hadamard_registers(x, 4); return;
    }
    if (n < 16) {
        scalar_hadamard(x, n);
        return;
    }
    for (size_t i = 0; i < n; i += 128)
        hadamard_registers(x + i, 8);
    for (; 4 * half <= n; half *= 4) /* two rounds at a time: each value is loaded once */
        for (size_t i = 0; i < n; i += 4 * half)
            for (size_t j = i; j < i + half; j += 16) {
                __m512 a = _mm512_loadu_ps(x + j), b = _mm512_loadu_ps(x + j + half);
                __m512 c = _mm512_loadu_ps(x + j + 2 * half), d = _mm512_loadu_ps(x + j + 3 * half);
                butterfly(&a, &b);
                butterfly(&c, &d);
                butterfly(&a, &c);
                butterfly(&b, &d);
                _mm512_storeu_ps(x + j, a);
                _mm512_storeu_ps(x + j + half, b);
                _mm512_storeu_ps(x + j + 2 * half, c);
                _mm512_storeu_ps(x + j + 3 * half, d);
            }
    if (half < n)
        for (size_t j = 0; j < half; j += 16) {
            __m512 a = _mm512_loadu_ps(x + j), b = _mm512_loadu_ps(x + j + half);
            butterfly(&a, &b);
            _mm512_storeu_ps(x + j, a);
            _mm512_storeu_ps(x + j + half, b);
        }
}

static void scale_f32(float *x, size_t n, float factor)
{
    const __m512 factor_x16 = _mm512_set1_ps(factor);

    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        _mm512_mask_storeu_ps(x + i, mask, _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), factor_x16));
    }
}

/* Multiply by the scale, or by minus it where a bit is set. */
static void flip_signs(float *x, size_t dim, const uint8_t *signs, float scale)
{
    const __m512 scale_x16 = _mm512_set1_ps(scale);

    for (size_t i = 0; i < dim; i += 16) {
        __m512 v = _mm512_mul_ps(_mm512_loadu_ps(x + i), scale_x16);
        __mmask16 mask = load_u16(signs + i / 8, 0);
        _mm512_storeu_ps(x + i, _mm512_mask_xor_ps(v, mask, v, _mm512_set1_ps(-0.0f)));
    }
}

static void kac(float *x, size_t half)
{
    const __m512 scale = _mm512_set1_ps(0.707106781f);

    for (size_t i = 0; i < half; i += 16) {
        __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + half);
        butterfly(&a, &b);
        _mm512_storeu_ps(x + i, _mm512_mul_ps(a, scale));
        _mm512_storeu_ps(x + i + half, _mm512_mul_ps(b, scale));
    }
}

static size_t power_of_two_below(size_t n)
{
    return (size_t)1 << (63 - __builtin_clzll(n));
}

/* The signs of one round, and the scale of the part that is transformed: values first .. first + power - 1. */
static void flip_round(float *x, size_t dim, size_t first, size_t power, const uint8_t *signs)
{
    float scale = 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss((float)power)));
    size_t end = first + power;

    flip_signs(x, first, signs, 1.0f);
    flip_signs(x + first, power, signs + first / 8, scale);
    flip_signs(x + end, dim - end, signs + end / 8, 1.0f);
}

static void rotate(float *x, size_t dim, const uint8_t *signs)
{
    size_t power;

    if (!dim)
        return;
    power = power_of_two_below(dim);
    for (int round = 0; round < 4; round++, signs += dim / 8) {
        size_t first = round % 2 ? dim - power : 0;
        flip_round(x, dim, first, power, signs);
        hadamard(x + first, power);
        if (power != dim)
            kac(x, dim / 2);
    }
}

static void unrotate(float *x, size_t dim, const uint8_t *signs)
{
    size_t power;

    if (!dim)
        return;
    power = power_of_two_below(dim);
    for (int round = 3; round >= 0; round--) {
        size_t first = round % 2 ? dim - power : 0;
        if (power != dim)
            kac(x, dim / 2);
        hadamard(x + first, power);
        flip_round(x, dim, first, power, signs + (size_t)round * (dim / 8));
    }
}

/* ---- conversion ---- */

static void f32_from_f16(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m256i half = _mm256_maskz_loadu_epi16(mask, (const char *)in + 2 * i);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(half));
    }
}

static void f32_from_bf16(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const char *)in + 2 * i));
        _mm512_mask_storeu_epi32(out + i, mask, _mm512_slli_epi32(wide, 16));
    }
}

static void f32_from_i8(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512i wide = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, (const char *)in + i));
        _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtepi32_ps(wide));
    }
}

static void f32_from_u8(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        _mm512_mask_storeu_ps(out + i, mask, load_codes((const uint8_t *)in + i, mask));
    }
}

static void f16_from_f32(const void *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_maskz_loadu_ps(mask, (const char *)in + 4 * i);
        _mm256_mask_storeu_epi16(out + i, mask,
                                 _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
}

static void bf16_from_f32(const void *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_maskz_loadu_ps(mask, (const char *)in + 4 * i);
        __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
        __m512i bits = _mm512_castps_si512(v), top = _mm512_srli_epi32(bits, 16);
        __m512i odd = _mm512_and_si512(top, _mm512_set1_epi32(1));
        __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
        top = _mm512_mask_or_epi32(_mm512_srli_epi32(rounded, 16), nan, top, _mm512_set1_epi32(0x40));
        _mm256_mask_storeu_epi16(out + i, mask, _mm512_cvtepi32_epi16(top));
    }
}

static bool u8_from_f32(const void *in, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_maskz_loadu_ps(mask, (const char *)in + 4 * i);
        __m512i integer = _mm512_cvttps_epi32(v);
        __mmask16 fits = _mm512_cmp_ps_mask(_mm512_cvtepi32_ps(integer), v, _CMP_EQ_OQ);
        fits &= _mm512_cmple_epu32_mask(integer, _mm512_set1_epi32(255));
        if (fits != 0xffff)
            return false;
        _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtepi32_epi8(integer));
    }
    return true;
}

static bool finite_f32(const void *x, size_t n)
{
    const __m512i exponent = _mm512_set1_epi32(0x7f800000);

    for (size_t i = 0; i < n; i += 16) {
        __m512i v = _mm512_maskz_loadu_epi32(first16(n - i < 16 ? n - i : 16), (const char *)x + 4 * i);
        if (_mm512_cmpeq_epi32_mask(_mm512_and_si512(v, exponent), exponent))
            return false;
    }
    return true;
}

SCAN_INLINE bool finite_u16(const void *x, size_t n, short exponent)
{
    const __m512i exponent_x32 = _mm512_set1_epi16(exponent);

    for (size_t i = 0; i < n; i += 32) {
        __mmask32 mask = (__mmask32)first64(n - i < 32 ? n - i : 32);
        __m512i v = _mm512_maskz_loadu_epi16(mask, (const char *)x + 2 * i);
        if (_mm512_cmpeq_epi16_mask(_mm512_and_si512(v, exponent_x32), exponent_x32))
            return false;
    }
    return true;
}

static bool finite_f16(const void *x, size_t n)
{
    return finite_u16(x, n, 0x7c00);
}

static bool finite_bf16(const void *x, size_t n)
{
    return finite_u16(x, n, 0x7f80);
}

/* ---- sums ---- */

static float sum_f32(const void *x, size_t n)
{
    __m512 sum0 = _mm512_setzero_ps(), sum1 = _mm512_setzero_ps();
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        sum0 = _mm512_add_ps(sum0, _mm512_loadu_ps((const char *)x + 4 * i));
        sum1 = _mm512_add_ps(sum1, _mm512_loadu_ps((const char *)x + 4 * i + 64));
    }
    for (; i < n; i += 16)
        sum0 = _mm512_add_ps(sum0, _mm512_maskz_loadu_ps(first16(n - i < 16 ? n - i : 16), (const char *)x + 4 * i));
    return f32x16_sum(_mm512_add_ps(sum0, sum1));
}

static float sumsq_f32(const void *x, size_t n)
{
    __m512 sum0 = _mm512_setzero_ps(), sum1 = _mm512_setzero_ps();
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        __m512 v0 = _mm512_loadu_ps((const char *)x + 4 * i), v1 = _mm512_loadu_ps((const char *)x + 4 * i + 64);
        sum0 = _mm512_fmadd_ps(v0, v0, sum0);
        sum1 = _mm512_fmadd_ps(v1, v1, sum1);
    }
    for (; i < n; i += 16) {
        __m512 v = _mm512_maskz_loadu_ps(first16(n - i < 16 ? n - i : 16), (const char *)x + 4 * i);
        sum0 = _mm512_fmadd_ps(v, v, sum0);
    }
    return f32x16_sum(_mm512_add_ps(sum0, sum1));
}

static int32_t sum_u8(const void *x, size_t n)
{
    __m512i sum = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);

    for (size_t i = 0; i < n; i += 64)
        sum = _mm512_dpbusd_epi32(sum, tail64(x, i, n - i < 64 ? n : i + 64), one);
    return i32x16_sum(sum);
}

static int32_t sum_i8(const void *x, size_t n)
{
    __m512i sum = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);

    for (size_t i = 0; i < n; i += 64)
        sum = _mm512_dpbusd_epi32(sum, one, tail64(x, i, n - i < 64 ? n : i + 64));
    return i32x16_sum(sum);
}

static int32_t sumsq_u8(const void *x, size_t n)
{
    __m512i sum = _mm512_setzero_si512();

    for (size_t i = 0; i < n; i += 64) {
        __m512i v = tail64(x, i, n - i < 64 ? n : i + 64);
        __m512i even = _mm512_and_si512(v, _mm512_set1_epi16(0xff)), odd = _mm512_srli_epi16(v, 8);
        sum = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
    }
    return i32x16_sum(sum);
}

static int32_t sumsq_i8(const void *x, size_t n)
{
    __m512i sum = _mm512_setzero_si512();

    for (size_t i = 0; i < n; i += 64) {
        __m512i v = tail64(x, i, n - i < 64 ? n : i + 64);
        __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8), odd = _mm512_srai_epi16(v, 8);
        sum = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
    }
    return i32x16_sum(sum);
}

static float normalize_f32(const float *x, size_t n, float *out)
{
    float sum = sumsq_f32(x, n), norm;
    __m512 norm_x16;

    if (!(sum > 1e-30f && sum < 1e37f)) /* squares out of a float's range, or a zero vector */
        return scalar_normalize_f32(x, n, out);
    norm = _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(sum)));
    norm_x16 = _mm512_set1_ps(norm);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_div_ps(_mm512_maskz_loadu_ps(mask, x + i), norm_x16));
    }
    return norm;
}

static void add_f32(float *sums, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_maskz_loadu_ps(mask, (const char *)x + 4 * i);
        _mm512_mask_storeu_ps(sums + i, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, sums + i), v));
    }
}

static void add_u8(uint32_t *sums, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512i v = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, (const char *)x + i));
        _mm512_mask_storeu_epi32(sums + i, mask, _mm512_add_epi32(_mm512_maskz_loadu_epi32(mask, sums + i), v));
    }
}

static void sub_f32(const void *x, const void *y, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, (const char *)x + 4 * i),
                                 _mm512_maskz_loadu_ps(mask, (const char *)y + 4 * i));
        _mm512_mask_storeu_ps(out + i, mask, v);
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
    .sq8_encode = sq8_encode,
    .sq8_encode_dims = sq8_encode_dims,
    .sq8_decode = sq8_decode,
    .sq8_decode_dims = sq8_decode_dims,
    .quantize_i8 = quantize_i8,
    .quantize_i8x2 = quantize_i8x2,
    .rabitq_encode = rabitq_encode,
    .hadamard = hadamard,
    .rotate = rotate,
    .unrotate = unrotate,
    .f32_from_f16 = f32_from_f16,
    .f32_from_bf16 = f32_from_bf16,
    .f32_from_i8 = f32_from_i8,
    .f32_from_u8 = f32_from_u8,
    .f16_from_f32 = f16_from_f32,
    .bf16_from_f32 = bf16_from_f32,
    .u8_from_f32 = u8_from_f32,
    .finite_f32 = finite_f32,
    .finite_f16 = finite_f16,
    .finite_bf16 = finite_bf16,
    .sum_f32 = sum_f32,
    .sumsq_f32 = sumsq_f32,
    .sum_u8 = sum_u8,
    .sumsq_u8 = sumsq_u8,
    .sum_i8 = sum_i8,
    .sumsq_i8 = sumsq_i8,
    .normalize_f32 = normalize_f32,
    .add_f32 = add_f32,
    .add_u8 = add_u8,
    .sub_f32 = sub_f32,
    .scale_f32 = scale_f32,
};
