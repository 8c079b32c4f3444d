/* AVX2: vectors quantized, rotated, converted and summed; same functions, order and contracts as scalar/vectors.c. Where a
 * vector's end does not fill a register the scalar function finishes it. */
#include "simd/vectors.h"

#include "simd/avx2/vec.h"

#ifndef AVX2
#define AVX2(name) name##_avx2
#endif

DECLARE_VECTOR_KERNELS(AVX2)

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

void AVX2(sq8_encode)(const float *x, size_t dim, float low, float inverse_step, uint8_t *code)
{
    const __m256 low_x8 = _mm256_set1_ps(low), inverse_x8 = _mm256_set1_ps(inverse_step);
    size_t i = 0;

    for (; i + 8 <= dim; i += 8) {
        __m256 v = _mm256_sub_ps(_mm256_loadu_ps(x + i), low_x8);
        store_bytes(code + i, quantize_u8(_mm256_mul_ps(v, inverse_x8)));
    }
    scalar_sq8_encode(x + i, dim - i, low, inverse_step, code + i);
}

void AVX2(sq8_encode_dims)(const float *x, size_t dim, const float *low, const float *inverse_step, uint8_t *code)
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

void AVX2(sq8_decode)(const uint8_t *code, size_t dim, float low, float step, float *x)
{
    const __m256 low_x8 = _mm256_set1_ps(low), step_x8 = _mm256_set1_ps(step);
    size_t i = 0;

    for (; i + 8 <= dim; i += 8)
        _mm256_storeu_ps(x + i, _mm256_fmadd_ps(step_x8, load_codes(code + i), low_x8));
    scalar_sq8_decode(code + i, dim - i, low, step, x + i);
}

void AVX2(sq8_decode_dims)(const uint8_t *code, size_t dim, const float *low, const float *step, float *x)
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

void AVX2(quantize_i8)(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    const __m256 inverse_x8 = _mm256_set1_ps(inverse_step);
    size_t i = 0;

    for (; i + 8 <= dim; i += 8)
        store_bytes(out + i, quantize_signed(_mm256_mul_ps(_mm256_loadu_ps(x + i), inverse_x8), 127.0f));
    scalar_quantize_i8(x + i, dim - i, inverse_step, out + i);
}

void AVX2(quantize_i8x2)(const float *x, size_t dim, float inverse_step, int8_t *out)
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

void AVX2(rabitq_encode)(const float *x, size_t dim, float t, unsigned bits, uint8_t *u)
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

void AVX2(hadamard)(float *x, size_t n)
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

void AVX2(scale_f32)(float *x, size_t n, float factor)
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

void AVX2(rotate)(float *x, size_t dim, const uint8_t *signs)
{
    size_t power;

    if (!dim)
        return;
    power = power_of_two_below(dim);
    for (int round = 0; round < 4; round++, signs += dim / 8) {
        size_t first = round % 2 ? dim - power : 0;
        flip_round(x, dim, first, power, signs);
        AVX2(hadamard)(x + first, power);
        if (power != dim)
            kac(x, dim / 2);
    }
}

void AVX2(unrotate)(float *x, size_t dim, const uint8_t *signs)
{
    size_t power;

    if (!dim)
        return;
    power = power_of_two_below(dim);
    for (int round = 3; round >= 0; round--) {
        size_t first = round % 2 ? dim - power : 0;
        if (power != dim)
            kac(x, dim / 2);
        AVX2(hadamard)(x + first, power);
        flip_round(x, dim, first, power, signs + (size_t)round * (dim / 8));
    }
}

/* ---- conversion ---- */

void AVX2(f32_from_f16)(const void *in, size_t n, float *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 2 * i))));
    scalar_f32_from_f16(p + 2 * i, n - i, out + i);
}

void AVX2(f32_from_bf16)(const void *in, size_t n, float *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(p + 2 * i)));
        _mm256_storeu_si256((__m256i *)(out + i), _mm256_slli_epi32(wide, 16));
    }
    scalar_f32_from_bf16(p + 2 * i, n - i, out + i);
}

void AVX2(f32_from_i8)(const void *in, size_t n, float *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(p + i)))));
    scalar_f32_from_i8(p + i, n - i, out + i);
}

void AVX2(f32_from_u8)(const void *in, size_t n, float *out)
{
    const uint8_t *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, load_codes(p + i));
    scalar_f32_from_u8(p + i, n - i, out + i);
}

void AVX2(f16_from_f32)(const void *in, size_t n, uint16_t *out)
{
    const char *p = in;
    size_t i = 0;

    for (; i + 8 <= n; i += 8) {
        __m256 v = _mm256_loadu_ps((const float *)(const void *)(p + 4 * i));
        _mm_storeu_si128((__m128i *)(out + i), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
    }
    scalar_f16_from_f32(p + 4 * i, n - i, out + i);
}

void AVX2(bf16_from_f32)(const void *in, size_t n, uint16_t *out)
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

bool AVX2(u8_from_f32)(const void *in, size_t n, uint8_t *out)
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

bool AVX2(finite_f32)(const void *x, size_t n)
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

bool AVX2(finite_f16)(const void *x, size_t n)
{
    size_t done;

    return finite_u16(x, n, 0x7c00, &done) && scalar_finite_f16((const char *)x + 2 * done, n - done);
}

bool AVX2(finite_bf16)(const void *x, size_t n)
{
    size_t done;

    return finite_u16(x, n, 0x7f80, &done) && scalar_finite_bf16((const char *)x + 2 * done, n - done);
}

/* ---- sums ---- */

float AVX2(sum_f32)(const void *x, size_t n)
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

float AVX2(sumsq_f32)(const void *x, size_t n)
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

int32_t AVX2(sum_u8)(const void *x, size_t n)
{
    const char *p = x;
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 32 <= n; i += 32)
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(load32(p + i), _mm256_setzero_si256()));
    return i32x8_sum(sum) + scalar_sum_u8(p + i, n - i);
}

int32_t AVX2(sum_i8)(const void *x, size_t n)
{
    const char *p = x;
    __m256i sum = _mm256_setzero_si256();
    size_t i = 0;

    for (; i + 32 <= n; i += 32)
        sum = _mm256_add_epi64(sum, _mm256_sad_epu8(flip(load32(p + i)), _mm256_setzero_si256()));
    return i32x8_sum(sum) - 128 * (int32_t)i + scalar_sum_i8(p + i, n - i);
}

int32_t AVX2(sumsq_u8)(const void *x, size_t n)
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

int32_t AVX2(sumsq_i8)(const void *x, size_t n)
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

float AVX2(normalize_f32)(const float *x, size_t n, float *out)
{
    float sum = AVX2(sumsq_f32)(x, n), norm;
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

void AVX2(add_f32)(float *sums, const void *x, size_t n)
{
    const float *p = x;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(sums + i, _mm256_add_ps(_mm256_loadu_ps(sums + i), _mm256_loadu_ps(p + i)));
    scalar_add_f32(sums + i, p + i, n - i);
}

void AVX2(add_u8)(uint32_t *sums, const void *x, size_t n)
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

void AVX2(sub_f32)(const void *x, const void *y, size_t n, float *out)
{
    const float *p = x, *q = y;
    size_t i = 0;

    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_sub_ps(_mm256_loadu_ps(p + i), _mm256_loadu_ps(q + i)));
    scalar_sub_f32(p + i, q + i, n - i, out + i);
}
