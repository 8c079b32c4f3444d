/* AVX2 kernels on codes: same functions, order and contracts as scalar/codes.c. Where a vector's end does not fill a
 * register the scalar function finishes it. */
#include "simd/avx2/vec.h"

#ifndef AVX2
#define AVX2(name) name##_avx2 /* the table's name */
#endif

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

/* ---- quantizing ---- */

/* Eight 32-bit numbers that fit a byte, signed or not, to eight bytes. */
SCAN_INLINE void store_bytes(void *out, __m256i a)
{
    const __m256i lowest = _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1, -1,
                                            -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i packed = _mm256_shuffle_epi8(a, lowest);

    _mm_storel_epi64(out, _mm_unpacklo_epi32(_mm256_castsi256_si128(packed), _mm256_extracti128_si256(packed, 1)));
}

SCAN_INLINE __m256i quantize_u8(__m256 v)
{
    v = _mm256_max_ps(v, _mm256_setzero_ps()); /* in this order NaN becomes 0 */
    v = _mm256_min_ps(v, _mm256_set1_ps(255.0f));
    return _mm256_cvtps_epi32(v);
}

static void sq8_encode(const float *x, size_t dim, float low, float inverse_step, uint8_t *code)
{
    const __m256 low_x8 = _mm256_set1_ps(low), inverse_x8 = _mm256_set1_ps(inverse_step);
    size_t i = 0;

    for (; i + 8 <= dim; i += 8) {
        __m256 v = _mm256_sub_ps(_mm256_loadu_ps(x + i), low_x8);
        store_bytes(code + i, quantize_u8(_mm256_mul_ps(v, inverse_x8)));
    }
    scalar_sq8_encode(x + i, dim - i, low, inverse_step, code + i);
}

static void sq8_encode_dims(const float *x, size_t dim, const float *low, const float *inverse_step, uint8_t *code)
{
    size_t i = 0;

    for (; i + 8 <= dim; i += 8) {
        __m256 v = _mm256_sub_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(low + i));
        store_bytes(code + i, quantize_u8(_mm256_mul_ps(v, _mm256_loadu_ps(inverse_step + i))));
    }
    scalar_sq8_encode_dims(x + i, dim - i, low + i, inverse_step + i, code + i);
}

SCAN_INLINE __m256 load_codes(const uint8_t *code)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)code)));
}

static void sq8_decode(const uint8_t *code, size_t dim, float low, float step, float *x)
{
    const __m256 low_x8 = _mm256_set1_ps(low), step_x8 = _mm256_set1_ps(step);
    size_t i = 0;

    for (; i + 8 <= dim; i += 8)
        _mm256_storeu_ps(x + i, _mm256_fmadd_ps(step_x8, load_codes(code + i), low_x8));
    scalar_sq8_decode(code + i, dim - i, low, step, x + i);
}

static void sq8_decode_dims(const uint8_t *code, size_t dim, const float *low, const float *step, float *x)
{
    size_t i = 0;

    for (; i + 8 <= dim; i += 8)
        _mm256_storeu_ps(x + i, _mm256_fmadd_ps(_mm256_loadu_ps(step + i), load_codes(code + i), _mm256_loadu_ps(low + i)));
    scalar_sq8_decode_dims(code + i, dim - i, low + i, step + i, x + i);
}

SCAN_INLINE __m256i quantize_signed(__m256 v, float limit)
{
    v = _mm256_max_ps(v, _mm256_set1_ps(-limit));
    v = _mm256_min_ps(v, _mm256_set1_ps(limit));
    return _mm256_cvtps_epi32(v);
}

static void quantize_i8(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    const __m256 inverse_x8 = _mm256_set1_ps(inverse_step);
    size_t i = 0;

    for (; i + 8 <= dim; i += 8)
        store_bytes(out + i, quantize_signed(_mm256_mul_ps(_mm256_loadu_ps(x + i), inverse_x8), 127.0f));
    scalar_quantize_i8(x + i, dim - i, inverse_step, out + i);
}

static void quantize_i8x2(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    const __m256 inverse_x8 = _mm256_set1_ps(inverse_step);
    int8_t last[16];
    size_t i = 0;

    for (; i + 8 <= dim; i += 8) {
        __m256i v = quantize_signed(_mm256_mul_ps(_mm256_loadu_ps(x + i), inverse_x8), 127.0f * 128.0f);
        __m256i high = _mm256_srai_epi32(_mm256_add_epi32(v, _mm256_set1_epi32(64)), 7);
        store_bytes(out + i, high);
        store_bytes(out + dim + i, _mm256_sub_epi32(v, _mm256_slli_epi32(high, 7)));
    }
    scalar_quantize_i8x2(x + i, dim - i, inverse_step, last);
    memcpy(out + i, last, dim - i);
    memcpy(out + dim + i, last + (dim - i), dim - i);
}

static void rabitq_encode(const float *x, size_t dim, float t, unsigned bits, uint8_t *u)
{
    const int half = 1 << (bits - 1);
    const __m256 t_x8 = _mm256_set1_ps(t), most = _mm256_set1_ps((float)(half - 1)), minus = _mm256_set1_ps(-0.0f);
    const __m256i half_x8 = _mm256_set1_epi32(half), below = _mm256_set1_epi32(half - 1);
    size_t i = 0;

    for (; i + 8 <= dim; i += 8) {
        __m256 v = _mm256_loadu_ps(x + i), positive = _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GE_OQ);
        __m256 scaled = _mm256_min_ps(_mm256_mul_ps(_mm256_andnot_ps(minus, v), t_x8), most);
        __m256i m = _mm256_cvttps_epi32(scaled);
        store_bytes(u + i, _mm256_blendv_epi8(_mm256_sub_epi32(below, m), _mm256_add_epi32(half_x8, m),
                                              _mm256_castps_si256(positive)));
    }
    scalar_rabitq_encode(x + i, dim - i, t, bits, u + i);
}

/* ---- rotation ---- */

/* Sum and difference of lanes some distance apart: partner + own, with the sign of `own`'s lane. */
SCAN_INLINE __m256 butterfly_lanes(__m256 v, __m256 partner, __m256 signs)
{
    return _mm256_fmadd_ps(v, signs, partner);
}

SCAN_INLINE __m256 hadamard8(__m256 v)
{
    v = butterfly_lanes(v, _mm256_permute_ps(v, 0xb1), _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1));
    v = butterfly_lanes(v, _mm256_permute_ps(v, 0x4e), _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1));
    return butterfly_lanes(v, _mm256_permute2f128_ps(v, v, 1), _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1));
}

SCAN_INLINE void butterfly(__m256 *a, __m256 *b)
{
    __m256 sum = _mm256_add_ps(*a, *b);

    *b = _mm256_sub_ps(*a, *b);
    *a = sum;
}

/* 8 * count values, count 1, 2, 4 or 8, all in registers. */
SCAN_INLINE void hadamard_registers(float *x, int count)
{
    __m256 v[8];

#pragma GCC unroll 8
    for (int i = 0; i < count; i++)
        v[i] = hadamard8(_mm256_loadu_ps(x + 8 * i));
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
        _mm256_storeu_ps(x + 8 * i, v[i]);
}

static void hadamard(float *x, size_t n)
{
    size_t half = 64;

    switch (n) {
    case 8: hadamard_registers(x, 1); return;
    case 16: hadamard_registers(x, 2); return;
    case 32: hadamard_registers(x, 4); return;
    }
    if (n < 8) {
        scalar_hadamard(x, n);
        return;
    }
    for (size_t i = 0; i < n; i += 64)
        hadamard_registers(x + i, 8);
    for (; 4 * half <= n; half *= 4) /* two rounds at a time: each value is loaded once */
        for (size_t i = 0; i < n; i += 4 * half)
            for (size_t j = i; j < i + half; j += 8) {
                __m256 a = _mm256_loadu_ps(x + j), b = _mm256_loadu_ps(x + j + half);
                __m256 c = _mm256_loadu_ps(x + j + 2 * half), d = _mm256_loadu_ps(x + j + 3 * half);
                butterfly(&a, &b);
                butterfly(&c, &d);
                butterfly(&a, &c);
                butterfly(&b, &d);
                _mm256_storeu_ps(x + j, a);
                _mm256_storeu_ps(x + j + half, b);
                _mm256_storeu_ps(x + j + 2 * half, c);
                _mm256_storeu_ps(x + j + 3 * half, d);
            }
    if (half < n)
        for (size_t j = 0; j < half; j += 8) {
            __m256 a = _mm256_loadu_ps(x + j), b = _mm256_loadu_ps(x + j + half);
            butterfly(&a, &b);
            _mm256_storeu_ps(x + j, a);
            _mm256_storeu_ps(x + j + half, b);
        }
}

static void scale_f32(float *x, size_t n, float factor)
{
    const __m256 factor_x8 = _mm256_set1_ps(factor);
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), factor_x8));
    scalar_scale_f32(x + i, n - i, factor);
}

/* Multiply by the scale, or by minus it where a bit is set. */
static void flip_signs(float *x, size_t dim, const uint8_t *signs, float scale)
{
    const __m256i place = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24);
    const __m256 scale_x8 = _mm256_set1_ps(scale);

    for (size_t i = 0; i < dim; i += 8) { /* bit j to the sign of lane j */
        __m256i bits = _mm256_sllv_epi32(_mm256_set1_epi32(signs[i / 8]), place);
        __m256i sign = _mm256_and_si256(bits, _mm256_set1_epi32((int)0x80000000));
        __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), scale_x8);
        _mm256_storeu_ps(x + i, _mm256_xor_ps(v, _mm256_castsi256_ps(sign)));
    }
}

static void kac(float *x, size_t half)
{
    const __m256 scale = _mm256_set1_ps(0.707106781f);

    for (size_t i = 0; i < half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + half);
        butterfly(&a, &b);
        _mm256_storeu_ps(x + i, _mm256_mul_ps(a, scale));
        _mm256_storeu_ps(x + i + half, _mm256_mul_ps(b, scale));
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
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 2 * i))));
    scalar_f32_from_f16(p + 2 * i, n - i, out + i);
}

static void f32_from_bf16(const void *in, size_t n, float *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 2 * i)));
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_slli_epi32(wide, 16));
    }
    scalar_f32_from_bf16(p + 2 * i, n - i, out + i);
}

static void f32_from_i8(const void *in, size_t n, float *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p + i)))));
    scalar_f32_from_i8(p + i, n - i, out + i);
}

static void f32_from_u8(const void *in, size_t n, float *out)
{
    const uint8_t *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, load_codes(p + i));
    scalar_f32_from_u8(p + i, n - i, out + i);
}

static void f16_from_f32(const void *in, size_t n, uint16_t *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps((const float *)(const void *)(p + 4 * i));
        _mm_storeu_si128((__m128i *)(out + i), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    scalar_f16_from_f32(p + 4 * i, n - i, out + i);
}

static void bf16_from_f32(const void *in, size_t n, uint16_t *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps((const float *)(const void *)(p + 4 * i));
        __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
        __m256i bits = _mm256_castps_si256(v), top = _mm256_srli_epi32(bits, 16);
        __m256i odd = _mm256_and_si256(top, _mm256_set1_epi32(1));
        __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
        __m256i quiet = _mm256_or_si256(top, _mm256_set1_epi32(0x40));
        __m256i half = _mm256_blendv_epi8(_mm256_srli_epi32(rounded, 16), quiet, nan);
        _mm_storeu_si128((__m128i *)(out + i),
                         _mm_packus_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
    }
    scalar_bf16_from_f32(p + 4 * i, n - i, out + i);
}

static bool u8_from_f32(const void *in, size_t n, uint8_t *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps((const float *)(const void *)(p + 4 * i));
        __m256i integer = _mm256_cvttps_epi32(v);
        __m256 whole = _mm256_cmp_ps(_mm256_cvtepi32_ps(integer), v, _CMP_EQ_OQ);
        if (_mm256_movemask_ps(whole) != 0xff || !_mm256_testz_si256(integer, _mm256_set1_epi32(~0xff)))
            return false;
        store_bytes(out + i, integer);
    }
    return scalar_u8_from_f32(p + 4 * i, n - i, out + i);
}

static bool finite_f32(const void *x, size_t n)
{
    const __m256i exponent = _mm256_set1_epi32(0x7f800000);
    const char *p = x;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256i special = _mm256_cmpeq_epi32(_mm256_and_si256(load32(p + 4 * i), exponent), exponent);
        if (!_mm256_testz_si256(special, special))
            return false;
    }
    return scalar_finite_f32(p + 4 * i, n - i);
}

/* Of the whole registers among n; *done receives how many values that was. */
SCAN_INLINE bool finite_u16(const char *p, size_t n, short exponent, size_t *done)
{
    const __m256i exponent_x16 = _mm256_set1_epi16(exponent);
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        __m256i special = _mm256_cmpeq_epi16(_mm256_and_si256(load32(p + 2 * i), exponent_x16), exponent_x16);
        if (!_mm256_testz_si256(special, special))
            return false;
    }
    *done = i;
    return true;
}

static bool finite_f16(const void *x, size_t n)
{
    size_t done;

    return finite_u16(x, n, 0x7c00, &done) && scalar_finite_f16((const char *)x + 2 * done, n - done);
}

static bool finite_bf16(const void *x, size_t n)
{
    size_t done;

    return finite_u16(x, n, 0x7f80, &done) && scalar_finite_bf16((const char *)x + 2 * done, n - done);
}

/* ---- sums ---- */

static float sum_f32(const void *x, size_t n)
{
    const float *p = x;
    __m256 sum0 = _mm256_setzero_ps(), sum1 = _mm256_setzero_ps();
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        sum0 = _mm256_add_ps(sum0, _mm256_loadu_ps(p + i));
        sum1 = _mm256_add_ps(sum1, _mm256_loadu_ps(p + i + 8));
    }
    return f32x8_sum(_mm256_add_ps(sum0, sum1)) + scalar_sum_f32(p + i, n - i);
}

static float sumsq_f32(const void *x, size_t n)
{
    const float *p = x;
    __m256 sum0 = _mm256_setzero_ps(), sum1 = _mm256_setzero_ps();
    size_t i = 0;

    for (; i + 16 <= n; i += 16) {
        __m256 v0 = _mm256_loadu_ps(p + i), v1 = _mm256_loadu_ps(p + i + 8);
        sum0 = _mm256_fmadd_ps(v0, v0, sum0);
        sum1 = _mm256_fmadd_ps(v1, v1, sum1);
    }
    return f32x8_sum(_mm256_add_ps(sum0, sum1)) + scalar_sumsq_f32(p + i, n - i);
}

static int32_t sum_u8(const void *x, size_t n)
{
    const char *p = x;
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 32 <= n; i += 32)
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(load32(p + i), _mm256_setzero_si256()));
    return i32x8_sum(sum) + scalar_sum_u8(p + i, n - i);
}

static int32_t sum_i8(const void *x, size_t n)
{
    const char *p = x;
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 32 <= n; i += 32)
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(flip(load32(p + i)), _mm256_setzero_si256()));
    return i32x8_sum(sum) - 128 * (int32_t)i + scalar_sum_i8(p + i, n - i);
}

static int32_t sumsq_u8(const void *x, size_t n)
{
    const char *p = x;
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        __m256i even = even_u8(load32(p + i)), odd = odd_u8(load32(p + i));
        sum = add_products(add_products(sum, even, even), odd, odd);
    }
    return i32x8_sum(sum) + scalar_sumsq_u8(p + i, n - i);
}

static int32_t sumsq_i8(const void *x, size_t n)
{
    const char *p = x;
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 32 <= n; i += 32) {
        __m256i even = even_i8(load32(p + i)), odd = odd_i8(load32(p + i));
        sum = add_products(add_products(sum, even, even), odd, odd);
    }
    return i32x8_sum(sum) + scalar_sumsq_i8(p + i, n - i);
}

static float normalize_f32(const float *x, size_t n, float *out)
{
    float sum = sumsq_f32(x, n), norm;
    __m256 norm_x8;
    size_t i = 0;

    if (!(sum > 1e-30f && sum < 1e37f)) /* squares out of a float's range, or a zero vector */
        return scalar_normalize_f32(x, n, out);
    norm = _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(sum)));
    norm_x8 = _mm256_set1_ps(norm);
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_div_ps(_mm256_loadu_ps(x + i), norm_x8));
    for (; i < n; i++)
        out[i] = x[i] / norm;
    return norm;
}

static void add_f32(float *sums, const void *x, size_t n)
{
    const float *p = x;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(sums + i, _mm256_add_ps(_mm256_loadu_ps(sums + i), _mm256_loadu_ps(p + i)));
    scalar_add_f32(sums + i, p + i, n - i);
}

static void add_u8(uint32_t *sums, const void *x, size_t n)
{
    const char *p = x;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(p + i)));
        __m256i *to = (__m256i *)(sums + i);
        _mm256_storeu_si256(to, _mm256_add_epi32(_mm256_loadu_si256(to), v));
    }
    scalar_add_u8(sums + i, p + i, n - i);
}

static void sub_f32(const void *x, const void *y, size_t n, float *out)
{
    const float *p = x, *q = y;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_sub_ps(_mm256_loadu_ps(p + i), _mm256_loadu_ps(q + i)));
    scalar_sub_f32(p + i, q + i, n - i, out + i);
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
