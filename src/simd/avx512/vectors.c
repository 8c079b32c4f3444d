/* AVX-512: vectors quantized, rotated, converted and summed; same functions, order and contracts as scalar/vectors.c. */
#include "simd/vectors.h"

#include "simd/avx512/vec.h"

#ifndef AVX512
#define AVX512(name) name##_avx512
#endif

DECLARE_VECTOR_KERNELS(AVX512)

/* ---- quantizing ---- */

SCAN_INLINE __m128i quantize_u8(__m512 v)
{
    v = _mm512_max_ps(v, _mm512_setzero_ps()); /* in this order NaN becomes 0 */
    v = _mm512_min_ps(v, _mm512_set1_ps(255.0f));
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
}

void AVX512(sq8_encode)(const float *x, size_t dim, float low, float inverse_step, uint8_t *code)
{
    const __m512 low_x16 = _mm512_set1_ps(low), inverse_x16 = _mm512_set1_ps(inverse_step);

    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), low_x16);
        _mm_mask_storeu_epi8(code + i, mask, quantize_u8(_mm512_mul_ps(v, inverse_x16)));
    }
}

void AVX512(sq8_encode_dims)(const float *x, size_t dim, const float *low, const float *inverse_step, uint8_t *code)
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

void AVX512(sq8_decode)(const uint8_t *code, size_t dim, float low, float step, float *x)
{
    const __m512 low_x16 = _mm512_set1_ps(low), step_x16 = _mm512_set1_ps(step);

    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        _mm512_mask_storeu_ps(x + i, mask, _mm512_fmadd_ps(step_x16, load_codes(code + i, mask), low_x16));
    }
}

void AVX512(sq8_decode_dims)(const uint8_t *code, size_t dim, const float *low, const float *step, float *x)
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

void AVX512(quantize_i8)(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    const __m512 inverse_x16 = _mm512_set1_ps(inverse_step);

    for (size_t i = 0; i < dim; i += 16) {
        __mmask16 mask = first16(dim - i < 16 ? dim - i : 16);
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), inverse_x16);
        _mm_mask_storeu_epi8(out + i, mask, _mm512_cvtepi32_epi8(quantize_signed(v, 127.0f)));
    }
}

void AVX512(quantize_i8x2)(const float *x, size_t dim, float inverse_step, int8_t *out)
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

void AVX512(rabitq_encode)(const float *x, size_t dim, float t, unsigned bits, uint8_t *u)
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

void AVX512(hadamard)(float *x, size_t n)
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

void AVX512(scale_f32)(float *x, size_t n, float factor)
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

void AVX512(rotate)(float *x, size_t dim, const uint8_t *signs)
{
    size_t power;

    if (!dim)
        return;
    power = power_of_two_below(dim);
    for (int round = 0; round < 4; round++, signs += dim / 8) {
        size_t first = round % 2 ? dim - power : 0;
        flip_round(x, dim, first, power, signs);
        AVX512(hadamard)(x + first, power);
        if (power != dim)
            kac(x, dim / 2);
    }
}

void AVX512(unrotate)(float *x, size_t dim, const uint8_t *signs)
{
    size_t power;

    if (!dim)
        return;
    power = power_of_two_below(dim);
    for (int round = 3; round >= 0; round--) {
        size_t first = round % 2 ? dim - power : 0;
        if (power != dim)
            kac(x, dim / 2);
        AVX512(hadamard)(x + first, power);
        flip_round(x, dim, first, power, signs + (size_t)round * (dim / 8));
    }
}

/* ---- conversion ---- */

void AVX512(f32_from_f16)(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m256i half = _mm256_maskz_loadu_epi16(mask, (const char *)in + 2 * i);
        _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtph_ps(half));
    }
}

void AVX512(f32_from_bf16)(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const char *)in + 2 * i));
        _mm512_mask_storeu_epi32(out + i, mask, _mm512_slli_epi32(wide, 16));
    }
}

void AVX512(f32_from_i8)(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512i wide = _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(mask, (const char *)in + i));
        _mm512_mask_storeu_ps(out + i, mask, _mm512_cvtepi32_ps(wide));
    }
}

void AVX512(f32_from_u8)(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        _mm512_mask_storeu_ps(out + i, mask, load_codes((const uint8_t *)in + i, mask));
    }
}

void AVX512(f16_from_f32)(const void *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_maskz_loadu_ps(mask, (const char *)in + 4 * i);
        _mm256_mask_storeu_epi16(out + i, mask,
                                 _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    }
}

void AVX512(bf16_from_f32)(const void *in, size_t n, uint16_t *out)
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

bool AVX512(u8_from_f32)(const void *in, size_t n, uint8_t *out)
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

bool AVX512(finite_f32)(const void *x, size_t n)
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

bool AVX512(finite_f16)(const void *x, size_t n)
{
    return finite_u16(x, n, 0x7c00);
}

bool AVX512(finite_bf16)(const void *x, size_t n)
{
    return finite_u16(x, n, 0x7f80);
}

/* ---- sums ---- */

float AVX512(sum_f32)(const void *x, size_t n)
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

float AVX512(sumsq_f32)(const void *x, size_t n)
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

int32_t AVX512(sum_u8)(const void *x, size_t n)
{
    __m512i sum = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);

    for (size_t i = 0; i < n; i += 64)
        sum = _mm512_dpbusd_epi32(sum, tail64(x, i, n - i < 64 ? n : i + 64), one);
    return i32x16_sum(sum);
}

int32_t AVX512(sum_i8)(const void *x, size_t n)
{
    __m512i sum = _mm512_setzero_si512(), one = _mm512_set1_epi8(1);

    for (size_t i = 0; i < n; i += 64)
        sum = _mm512_dpbusd_epi32(sum, one, tail64(x, i, n - i < 64 ? n : i + 64));
    return i32x16_sum(sum);
}

int32_t AVX512(sumsq_u8)(const void *x, size_t n)
{
    __m512i sum = _mm512_setzero_si512();

    for (size_t i = 0; i < n; i += 64) {
        __m512i v = tail64(x, i, n - i < 64 ? n : i + 64);
        __m512i even = _mm512_and_si512(v, _mm512_set1_epi16(0xff)), odd = _mm512_srli_epi16(v, 8);
        sum = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
    }
    return i32x16_sum(sum);
}

int32_t AVX512(sumsq_i8)(const void *x, size_t n)
{
    __m512i sum = _mm512_setzero_si512();

    for (size_t i = 0; i < n; i += 64) {
        __m512i v = tail64(x, i, n - i < 64 ? n : i + 64);
        __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8), odd = _mm512_srai_epi16(v, 8);
        sum = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(sum, even, even), odd, odd);
    }
    return i32x16_sum(sum);
}

float AVX512(normalize_f32)(const float *x, size_t n, float *out)
{
    float sum = AVX512(sumsq_f32)(x, n), norm;
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

void AVX512(add_f32)(float *sums, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_maskz_loadu_ps(mask, (const char *)x + 4 * i);
        _mm512_mask_storeu_ps(sums + i, mask, _mm512_add_ps(_mm512_maskz_loadu_ps(mask, sums + i), v));
    }
}

void AVX512(add_u8)(uint32_t *sums, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512i v = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, (const char *)x + i));
        _mm512_mask_storeu_epi32(sums + i, mask, _mm512_add_epi32(_mm512_maskz_loadu_epi32(mask, sums + i), v));
    }
}

void AVX512(sub_f32)(const void *x, const void *y, size_t n, float *out)
{
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 mask = first16(n - i < 16 ? n - i : 16);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, (const char *)x + 4 * i),
                                 _mm512_maskz_loadu_ps(mask, (const char *)y + 4 * i));
        _mm512_mask_storeu_ps(out + i, mask, v);
    }
}
