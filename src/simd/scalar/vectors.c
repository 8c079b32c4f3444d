/* Vectors quantized, rotated, converted and summed in plain C: the definition the other instruction sets follow. */
#include <float.h>
#include <math.h>

#include "simd/scalar/scalar.h"

/* ---- quantizing ---- */

static uint8_t quantize_u8(float v)
{
    v = v > 0.0f ? v : 0.0f; /* NaN becomes 0 */
    v = v < 255.0f ? v : 255.0f;
    return (uint8_t)round_even(v);
}

void scalar_sq8_encode(const float *x, size_t dim, float low, float inverse_step, uint8_t *code)
{
    for (size_t i = 0; i < dim; i++)
        code[i] = quantize_u8((x[i] - low) * inverse_step);
}

void scalar_sq8_encode_dims(const float *x, size_t dim, const float *low, const float *inverse_step,
                            uint8_t *code)
{
    for (size_t i = 0; i < dim; i++)
        code[i] = quantize_u8((x[i] - low[i]) * inverse_step[i]);
}

void scalar_sq8_decode(const uint8_t *code, size_t dim, float low, float step, float *x)
{
    for (size_t i = 0; i < dim; i++)
        x[i] = low + step * (float)code[i];
}

void scalar_sq8_decode_dims(const uint8_t *code, size_t dim, const float *low, const float *step, float *x)
{
    for (size_t i = 0; i < dim; i++)
        x[i] = low[i] + step[i] * (float)code[i];
}

static int quantize_signed(float v, float limit)
{
    v = v > -limit ? v : -limit;
    v = v < limit ? v : limit;
    return (int)round_even(v);
}

void scalar_quantize_i8(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    for (size_t i = 0; i < dim; i++)
        out[i] = (int8_t)quantize_signed(x[i] * inverse_step, 127.0f);
}

void scalar_quantize_i8x2(const float *x, size_t dim, float inverse_step, int8_t *out)
{
    for (size_t i = 0; i < dim; i++) {
        int v = quantize_signed(x[i] * inverse_step, 127.0f * 128.0f);
        int high = (v + 64) >> 7;
        out[i] = (int8_t)high;
        out[dim + i] = (int8_t)(v - 128 * high);
    }
}

void scalar_rabitq_encode(const float *x, size_t dim, float t, unsigned bits, uint8_t *u)
{
    int half = 1 << (bits - 1);
    float most = (float)(half - 1);

    for (size_t i = 0; i < dim; i++) {
        float v = fabsf(x[i]) * t;
        int m = (int)(v < most ? v : most);
        u[i] = (uint8_t)(x[i] >= 0.0f ? half + m : half - 1 - m);
    }
}

/* ---- rotation ---- */

void scalar_hadamard(float *x, size_t n)
{
    for (size_t half = 1; half < n; half *= 2)
        for (size_t i = 0; i < n; i += 2 * half)
            for (size_t j = i; j < i + half; j++) {
                float a = x[j], b = x[j + half];
                x[j] = a + b;
                x[j + half] = a - b;
            }
}

static void flip_signs(float *x, size_t dim, const uint8_t *signs)
{
    for (size_t i = 0; i < dim; i++)
        if (signs[i / 8] >> i % 8 & 1)
            x[i] = -x[i];
}

static void butterfly(float *x, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = (a + b) * (float)M_SQRT1_2;
        x[i + half] = (a - b) * (float)M_SQRT1_2;
    }
}

static size_t power_of_two_below(size_t n)
{
    size_t power = 1;

    while (power * 2 <= n)
        power *= 2;
    return power;
}

void scalar_rotate(float *x, size_t dim, const uint8_t *signs)
{
    size_t power = power_of_two_below(dim);

    if (!dim)
        return;
    for (int round = 0; round < 4; round++, signs += dim / 8) {
        float *part = round % 2 ? x + dim - power : x;
        flip_signs(x, dim, signs);
        scalar_hadamard(part, power);
        scalar_scale_f32(part, power, 1.0f / sqrtf((float)power));
        if (power != dim)
            butterfly(x, dim / 2);
    }
}

void scalar_unrotate(float *x, size_t dim, const uint8_t *signs)
{
    size_t power = power_of_two_below(dim);

    if (!dim)
        return;
    for (int round = 3; round >= 0; round--) { /* every step is its own inverse */
        float *part = round % 2 ? x + dim - power : x;
        if (power != dim)
            butterfly(x, dim / 2);
        scalar_hadamard(part, power);
        scalar_scale_f32(part, power, 1.0f / sqrtf((float)power));
        flip_signs(x, dim, signs + (size_t)round * (dim / 8));
    }
}

/* ---- conversion ---- */

void scalar_f32_from_f16(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f32_of_f16(load_u16(in, i));
}

void scalar_f32_from_bf16(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f32_of_bf16(load_u16(in, i));
}

void scalar_f32_from_i8(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((const int8_t *)in)[i];
}

void scalar_f32_from_u8(const void *in, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)((const uint8_t *)in)[i];
}

void scalar_f16_from_f32(const void *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = f16_of_f32(load_f32(in, i));
}

void scalar_bf16_from_f32(const void *in, size_t n, uint16_t *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_of_f32(load_f32(in, i));
}

bool scalar_u8_from_f32(const void *in, size_t n, uint8_t *out)
{
    for (size_t i = 0; i < n; i++) {
        float v = load_f32(in, i);
        if (!(v >= 0.0f && v <= 255.0f) || (float)(uint8_t)v != v)
            return false;
        out[i] = (uint8_t)v;
    }
    return true;
}

bool scalar_finite_f32(const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((bits_of_f32(load_f32(x, i)) & 0x7f800000) == 0x7f800000)
            return false;
    return true;
}

bool scalar_finite_f16(const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((load_u16(x, i) & 0x7c00) == 0x7c00)
            return false;
    return true;
}

bool scalar_finite_bf16(const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((load_u16(x, i) & 0x7f80) == 0x7f80)
            return false;
    return true;
}

/* ---- sums ---- */

float scalar_sum_f32(const void *x, size_t n)
{
    float sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += load_f32(x, i);
    return sum;
}

float scalar_sumsq_f32(const void *x, size_t n)
{
    return scalar_ip_f32(x, x, n);
}

int32_t scalar_sum_u8(const void *x, size_t n)
{
    int32_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += ((const uint8_t *)x)[i];
    return sum;
}

int32_t scalar_sumsq_u8(const void *x, size_t n)
{
    return scalar_ip_u8(x, x, n);
}

int32_t scalar_sum_i8(const void *x, size_t n)
{
    int32_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += ((const int8_t *)x)[i];
    return sum;
}

int32_t scalar_sumsq_i8(const void *x, size_t n)
{
    return scalar_ip_i8(x, x, n);
}

float scalar_normalize_f32(const float *x, size_t n, float *out)
{
    float largest = 0, sum = 0, norm;

    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > largest)
            largest = fabsf(x[i]);
    if (largest == 0.0f) {
        memset(out, 0, n * sizeof *out);
        return 0.0f;
    }
    for (size_t i = 0; i < n; i++) /* dividing first keeps the squares in range */
        sum += (x[i] / largest) * (x[i] / largest);
    norm = sqrtf(sum);
    for (size_t i = 0; i < n; i++)
        out[i] = x[i] / largest / norm;
    return largest * norm;
}

void scalar_add_f32(float *sums, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[i] += load_f32(x, i);
}

void scalar_add_u8(uint32_t *sums, const void *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sums[i] += ((const uint8_t *)x)[i];
}

void scalar_sub_f32(const void *x, const void *y, size_t n, float *out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = load_f32(x, i) - load_f32(y, i);
}

void scalar_scale_f32(float *x, size_t n, float factor)
{
    for (size_t i = 0; i < n; i++)
        x[i] *= factor;
}
