/* Half and bfloat16 to float and back, one at a time; the kernels convert many. Round to nearest even. */
#ifndef VECDB_BASE_FLOAT16_H
#define VECDB_BASE_FLOAT16_H

#include <stdint.h>
#include <string.h>

static inline float float_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_from_float(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_from_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023;

    if (exponent == 31)
        return float_from_bits(sign | 0x7F800000u | fraction << 13);
    if (exponent == 0) { /* zero or subnormal: fraction * 2^-24 */
        float magnitude = (float)fraction * (1.0f / 16777216.0f);
        return sign ? -magnitude : magnitude;
    }
    return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
}

static inline uint16_t f16_from_float(float value)
{
    uint32_t bits = bits_from_float(value), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7FFFFFFF;

    if (magnitude > 0x7F800000u)
        return (uint16_t)(sign | 0x7E00); /* NaN */
    if (magnitude >= 0x477FF000u)
        return (uint16_t)(sign | 0x7C00); /* rounds to infinity */
    if (magnitude < 0x38800000u) {        /* subnormal half: let the float adder round to multiples of 2^-24 */
        float shifted = float_from_bits(magnitude) + 0.5f;
        return (uint16_t)(sign | (bits_from_float(shifted) - 0x3F000000u));
    }
    return (uint16_t)(sign | ((magnitude - 0x38000000u + 0xFFF + ((magnitude >> 13) & 1)) >> 13));
}

static inline float float_from_bf16(uint16_t value) { return float_from_bits((uint32_t)value << 16); }

static inline uint16_t bf16_from_float(float value)
{
    uint32_t bits = bits_from_float(value);

    if ((bits & 0x7FFFFFFF) > 0x7F800000u)
        return (uint16_t)(bits >> 16 | 0x40); /* NaN stays NaN */
    return (uint16_t)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

#endif
