/* AVX2 kernels on codes: same functions, order and contracts as scalar/codes.c. Where a vector's end does not fill a
 * register the scalar function finishes it. */
#include "simd/avx2/vec.h"
#include "simd/vectors.h"

#ifndef AVX2
#define AVX2(name) name##_avx2 /* the table's name */
#endif

DECLARE_VECTOR_KERNELS(AVX2)

/* ---- dot products of codes ---- */

SCAN_INLINE i32x8 dot_u8s8_step(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_u8s8(sum, load32(row + i), load32(query + i));
}

SCAN_INLINE i32x8 dot_u8s8_tail(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return add_u8s8(sum, load_last32(row, i, dim), load_last32(query, i, dim));
}

DEFINE_SCAN(dot_u8s8, int32_t, i32x8, 32, i32x8_zero(), dim)
DEFINE_WIDE(dot_u8s8, int32_t, i32x8, 32, i32x8_zero(), dim)

/* The query's high and low terms, against one load of the row. */
typedef struct {
    __m256i high, low;
} two_x8;

SCAN_INLINE two_x8 two_x8_zero(void)
{
    return (two_x8){_mm256_setzero_si256(), _mm256_setzero_si256()};
}

SCAN_INLINE two_x8 two_x8_add(two_x8 a, two_x8 b)
{
    return (two_x8){_mm256_add_epi32(a.high, b.high), _mm256_add_epi32(a.low, b.low)};
}

SCAN_INLINE float two_x8_sum(two_x8 a)
{
    return (float)i32x8_sum(a.high) * 128.0f + (float)i32x8_sum(a.low);
}

SCAN_INLINE void two_x8_sum4(two_x8 a, two_x8 b, two_x8 c, two_x8 d, float *out)
{
    __m128i high = i32x8_total4(a.high, b.high, c.high, d.high), low = i32x8_total4(a.low, b.low, c.low, d.low);

    _mm_storeu_ps(out, _mm_fmadd_ps(_mm_cvtepi32_ps(high), _mm_set1_ps(128.0f), _mm_cvtepi32_ps(low)));
}

SCAN_INLINE two_x8 dot_u8s8x2_step(two_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    return (two_x8){add_u8s8(sum.high, load32(row + i), load32(query + i)),
                    add_u8s8(sum.low, load32(row + i), load32(query + dim + i))};
}

SCAN_INLINE two_x8 dot_u8s8x2_tail(two_x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    __m256i code = load_last32(row, i, dim);

    return (two_x8){add_u8s8(sum.high, code, load_last32(query, i, dim)),
                    add_u8s8(sum.low, code, load_last32(query + dim, i, dim))};
}

DEFINE_SCAN(dot_u8s8x2, float, two_x8, 32, two_x8_zero(), dim)

SCAN_INLINE f32x8 dot_u8f32_step(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    __m256i code = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(row + i)));

    return _mm256_fmadd_ps(_mm256_loadu_ps((const float *)(const void *)(query + 4 * i)), _mm256_cvtepi32_ps(code), sum);
}

SCAN_INLINE f32x8 dot_u8f32_tail(f32x8 sum, const char *query, const char *row, size_t i, size_t dim)
{
    __m256i code = _mm256_cvtepu8_epi32(load_part16(row + i, dim - i));
    __m256 values = _mm256_maskload_ps((const float *)(const void *)(query + 4 * i), first8(dim - i));

    return _mm256_fmadd_ps(values, _mm256_cvtepi32_ps(code), sum);
}

DEFINE_SCAN(dot_u8f32, float, f32x8, 8, f32x8_zero(), dim)

/* Packed codes: 64 values as two registers of bytes. */
typedef struct {
    __m256i low, high; /* dimensions 0 .. 31 and 32 .. 63 */
} block64;

SCAN_INLINE __m256i keep_bits(__m256i a, int low_bits)
{
    return _mm256_and_si256(a, _mm256_set1_epi8((char)((1 << low_bits) - 1)));
}

SCAN_INLINE __m256i bytes_of_bits(uint32_t bits)
{
    const __m256i which = _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
    __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)bits), which);

    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit), _mm256_set1_epi8(1));
}

SCAN_INLINE block64 unpack_block(const char *code, unsigned bits)
{
    block64 values = {_mm256_setzero_si256(), _mm256_setzero_si256()};

    if (bits & 4) {
        __m256i field = load32(code);
        values.low = _mm256_slli_epi16(keep_bits(field, 4), bits & 3);
        values.high = _mm256_slli_epi16(keep_bits(_mm256_srli_epi16(field, 4), 4), bits & 3);
        code += 32;
    }
    if (bits & 2) {
        __m256i field = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)code));
        __m256i low = keep_bits(_mm256_srlv_epi64(field, _mm256_setr_epi64x(0, 0, 2, 2)), 2);
        __m256i high = keep_bits(_mm256_srlv_epi64(field, _mm256_setr_epi64x(4, 4, 6, 6)), 2);
        values.low = _mm256_or_si256(values.low, _mm256_slli_epi16(low, bits & 1));
        values.high = _mm256_or_si256(values.high, _mm256_slli_epi16(high, bits & 1));
        code += 16;
    }
    if (bits & 1) {
        values.low = _mm256_or_si256(values.low, bytes_of_bits(load_bytes4(code)));
        values.high = _mm256_or_si256(values.high, bytes_of_bits(load_bytes4(code + 4)));
    }
    return values;
}

/* Values below 128, so that maddubs does not saturate: 2 * 127 * 128 fits 16 bits. Two of its results are added in 16 bits
 * while the values are 4 bits or fewer. */
SCAN_INLINE __m256i add_block(__m256i sum, block64 values, const char *query, unsigned bits)
{
#ifdef __AVXVNNI__
    return _mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(sum, values.low, load32(query)), values.high,
                                   load32(query + 32));
#else
    const __m256i one = _mm256_set1_epi16(1);
    __m256i low = _mm256_maddubs_epi16(values.low, load32(query));
    __m256i high = _mm256_maddubs_epi16(values.high, load32(query + 32));

    if (bits <= 4)
        return add_products(sum, _mm256_add_epi16(low, high), one);
    return add_products(add_products(sum, low, one), high, one);
#endif
}

#define DOT_CODE(bits)                                                                                             \
    SCAN_INLINE i32x8 dot_code##bits##_step(i32x8 sum, const char *query, const char *row, size_t i, size_t dim)   \
    {                                                                                                              \
        return add_block(sum, unpack_block(row + i / 8 * (bits), bits), query + i, bits);                          \
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
    __m256i plane[4];
} planes_x4;

SCAN_INLINE planes_x4 planes_x4_zero(void)
{
    __m256i zero = _mm256_setzero_si256();

    return (planes_x4){{zero, zero, zero, zero}};
}

SCAN_INLINE planes_x4 planes_x4_add(planes_x4 a, planes_x4 b)
{
    return (planes_x4){{_mm256_add_epi64(a.plane[0], b.plane[0]), _mm256_add_epi64(a.plane[1], b.plane[1]),
                        _mm256_add_epi64(a.plane[2], b.plane[2]), _mm256_add_epi64(a.plane[3], b.plane[3])}};
}

SCAN_INLINE __m256i join_planes(planes_x4 a)
{
    __m256i low = _mm256_add_epi64(a.plane[0], _mm256_slli_epi64(a.plane[1], 1));
    __m256i high = _mm256_add_epi64(a.plane[2], _mm256_slli_epi64(a.plane[3], 1));

    return _mm256_add_epi64(low, _mm256_slli_epi64(high, 2));
}

SCAN_INLINE int32_t planes_x4_sum(planes_x4 a)
{
    return i32x8_sum(join_planes(a));
}

SCAN_INLINE void planes_x4_sum4(planes_x4 a, planes_x4 b, planes_x4 c, planes_x4 d, int32_t *out)
{
    i32x8_sum4(join_planes(a), join_planes(b), join_planes(c), join_planes(d), out);
}

SCAN_INLINE __m256i add_plane(__m256i sum, __m256i plane, __m256i code)
{
    return _mm256_add_epi64(sum, count_bits_x4(_mm256_and_si256(plane, code)));
}

SCAN_INLINE planes_x4 dot_b1u4_step(planes_x4 sum, const char *query, const char *row, size_t i, size_t dim)
{
    const char *plane = query + i / 8;
    __m256i code = load32(row + i / 8);

    return (planes_x4){{add_plane(sum.plane[0], load32(plane), code),
                        add_plane(sum.plane[1], load32(plane + dim / 8), code),
                        add_plane(sum.plane[2], load32(plane + dim / 8 * 2), code),
                        add_plane(sum.plane[3], load32(plane + dim / 8 * 3), code)}};
}

SCAN_INLINE planes_x4 dot_b1u4_tail(planes_x4 sum, const char *query, const char *row, size_t i, size_t dim)
{
    size_t size = dim / 8;
    __m256i code = load_last32(row, i / 8, size);

    return (planes_x4){{add_plane(sum.plane[0], load_last32(query, i / 8, size), code),
                        add_plane(sum.plane[1], load_last32(query + size, i / 8, size), code),
                        add_plane(sum.plane[2], load_last32(query + size * 2, i / 8, size), code),
                        add_plane(sum.plane[3], load_last32(query + size * 3, i / 8, size), code)}};
}

DEFINE_SCAN(dot_b1u4, int32_t, planes_x4, 256, planes_x4_zero(), dim / 8)

/* ---- packing ---- */

/* bits is 1..7 */
SCAN_INLINE void pack_block(__m256i low, __m256i high, unsigned bits, uint8_t *code)
{
    if (bits & 4) {
        __m256i field_low = keep_bits(_mm256_srli_epi16(low, bits & 3), 4);
        __m256i field_high = keep_bits(_mm256_srli_epi16(high, bits & 3), 4);
        _mm256_storeu_si256((__m256i *)code, _mm256_or_si256(field_low, _mm256_slli_epi16(field_high, 4)));
        code += 32;
    }
    if (bits & 2) {
        __m256i field_low = keep_bits(_mm256_srli_epi16(low, bits & 1), 2);
        __m256i field_high = keep_bits(_mm256_srli_epi16(high, bits & 1), 2);
        __m256i half = _mm256_or_si256(_mm256_sllv_epi64(field_low, _mm256_setr_epi64x(0, 0, 2, 2)),
                                       _mm256_sllv_epi64(field_high, _mm256_setr_epi64x(4, 4, 6, 6)));
        _mm_storeu_si128((__m128i *)code,
                         _mm_or_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
        code += 16;
    }
    if (bits & 1) {
        uint32_t field[2] = {(uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(low, 7)),
                             (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(high, 7))};
        memcpy(code, field, sizeof field);
    }
}

static void code_pack(const uint8_t *values, size_t dim, unsigned bits, uint8_t *code)
{
    size_t i = 0;

    if (bits < 8)
        for (; i + 64 <= dim; i += 64, code += 8 * bits)
            pack_block(load32((const char *)values + i), load32((const char *)values + i + 32), bits, code);
    scalar_code_pack(values + i, dim - i, bits, code);
}

static void code_unpack(const uint8_t *code, size_t dim, unsigned bits, uint8_t *values)
{
    size_t i = 0;

    if (bits < 8)
        for (; i + 64 <= dim; i += 64, code += 8 * bits) {
            block64 block = unpack_block((const char *)code, bits);
            _mm256_storeu_si256((__m256i *)(values + i), block.low);
            _mm256_storeu_si256((__m256i *)(values + i + 32), block.high);
        }
    scalar_code_unpack(code, dim - i, bits, values + i);
}

/* ---- FastScan ---- */

/* vpshufb, two tables at a time. Sums are 16-bit, in which the odd bytes ride on the even ones until they are subtracted at
 * the end of each run of tables that cannot overflow. nq is 1 or 2: sixteen registers hold no more. */
SCAN_INLINE void fastscan_block(const uint8_t *block, size_t tables, const uint8_t *const *luts, int nq, int32_t *out,
                                size_t out_stride)
{
    const __m256i nibble = _mm256_set1_epi8(15);

    for (size_t first = 0; first == 0 || first < tables; first += 256) {
        size_t last = tables - first < 256 ? tables : first + 256;
        __m256i sum[2][4];
#pragma GCC unroll 2
        for (int q = 0; q < nq; q++)
            sum[q][0] = sum[q][1] = sum[q][2] = sum[q][3] = _mm256_setzero_si256();
        for (size_t t = first; t < last; t += 2) {
            __m256i codes = load32((const char *)block + t * 16);
            __m256i index_low = _mm256_and_si256(codes, nibble);
            __m256i index_high = _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble);
#pragma GCC unroll 2
            for (int q = 0; q < nq; q++) {
                __m256i lut = load32((const char *)luts[q] + t * 16);
                __m256i value_low = _mm256_shuffle_epi8(lut, index_low);
                __m256i value_high = _mm256_shuffle_epi8(lut, index_high);
                sum[q][0] = _mm256_add_epi16(sum[q][0], value_low);
                sum[q][1] = _mm256_add_epi16(sum[q][1], _mm256_srli_epi16(value_low, 8));
                sum[q][2] = _mm256_add_epi16(sum[q][2], value_high);
                sum[q][3] = _mm256_add_epi16(sum[q][3], _mm256_srli_epi16(value_high, 8));
            }
        }
#pragma GCC unroll 2
        for (int q = 0; q < nq; q++)
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                __m256i odd = sum[q][2 * half + 1];
                __m256i even = _mm256_sub_epi16(sum[q][2 * half], _mm256_slli_epi16(odd, 8));
                __m256i vectors = _mm256_add_epi16(_mm256_permute2x128_si256(even, odd, 0x20),
                                                   _mm256_permute2x128_si256(even, odd, 0x31));
                __m256i low = _mm256_cvtepu16_epi32(_mm256_castsi256_si128(vectors));
                __m256i high = _mm256_cvtepu16_epi32(_mm256_extracti128_si256(vectors, 1));
                __m256i *to = (__m256i *)(out + (size_t)q * out_stride + 16 * (size_t)half);
                if (first) {
                    low = _mm256_add_epi32(low, _mm256_loadu_si256(to));
                    high = _mm256_add_epi32(high, _mm256_loadu_si256(to + 1));
                }
                _mm256_storeu_si256(to, low);
                _mm256_storeu_si256(to + 1, high);
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

/* ---- scoring ---- */

static void score_i32(const int32_t *ip, const float *a, const float *b, size_t n, float g, float scale, float k,
                      float *out)
{
    const __m256 g_x8 = _mm256_set1_ps(g), scale_x8 = _mm256_set1_ps(scale), k_x8 = _mm256_set1_ps(k);
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256 dot = _mm256_cvtepi32_ps(_mm256_loadu_si256((const __m256i *)(ip + i)));
        __m256 base = a ? _mm256_add_ps(_mm256_loadu_ps(a + i), g_x8) : g_x8;
        __m256 factor = b ? _mm256_loadu_ps(b + i) : _mm256_set1_ps(1.0f);
        dot = _mm256_fmadd_ps(scale_x8, dot, k_x8);
        _mm256_storeu_ps(out + i, _mm256_fmadd_ps(factor, dot, base));
    }
    scalar_score_i32(ip + i, a ? a + i : NULL, b ? b + i : NULL, n - i, g, scale, k, out + i);
}

const struct code_kernels AVX2(codes) = {
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
    VECTOR_KERNELS(AVX2),
};
