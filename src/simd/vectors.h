/* The kernels on vectors (quantizing, rotation, conversion, sums) have files of their own and are part of the table of those on
 * codes: NAME makes an instruction set's name of a kernel's. Contracts: simd/kernels.h. */
#ifndef VECDB_SIMD_VECTORS_H
#define VECDB_SIMD_VECTORS_H

#include "simd/kernels.h"

#define DECLARE_VECTOR_KERNELS(NAME)                                                                                    \
    void NAME(sq8_encode)(const float *x, size_t dim, float low, float inverse_step, uint8_t *code);                    \
    void NAME(sq8_encode_dims)(const float *x, size_t dim, const float *low, const float *inverse_step, uint8_t *code); \
    void NAME(sq8_decode)(const uint8_t *code, size_t dim, float low, float step, float *x);                            \
    void NAME(sq8_decode_dims)(const uint8_t *code, size_t dim, const float *low, const float *step, float *x);         \
    void NAME(quantize_i8)(const float *x, size_t dim, float inverse_step, int8_t *out);                                \
    void NAME(quantize_i8x2)(const float *x, size_t dim, float inverse_step, int8_t *out);                              \
    void NAME(rabitq_encode)(const float *x, size_t dim, float t, unsigned bits, uint8_t *u);                           \
    void NAME(hadamard)(float *x, size_t n);                                                                            \
    void NAME(rotate)(float *x, size_t dim, const uint8_t *signs);                                                      \
    void NAME(unrotate)(float *x, size_t dim, const uint8_t *signs);                                                    \
    void NAME(f32_from_f16)(const void *in, size_t n, float *out);                                                      \
    void NAME(f32_from_bf16)(const void *in, size_t n, float *out);                                                     \
    void NAME(f32_from_i8)(const void *in, size_t n, float *out);                                                       \
    void NAME(f32_from_u8)(const void *in, size_t n, float *out);                                                       \
    void NAME(f16_from_f32)(const void *in, size_t n, uint16_t *out);                                                   \
    void NAME(bf16_from_f32)(const void *in, size_t n, uint16_t *out);                                                  \
    bool NAME(u8_from_f32)(const void *in, size_t n, uint8_t *out);                                                     \
    bool NAME(finite_f32)(const void *x, size_t n);                                                                     \
    bool NAME(finite_f16)(const void *x, size_t n);                                                                     \
    bool NAME(finite_bf16)(const void *x, size_t n);                                                                    \
    float NAME(sum_f32)(const void *x, size_t n);                                                                       \
    float NAME(sumsq_f32)(const void *x, size_t n);                                                                     \
    int32_t NAME(sum_u8)(const void *x, size_t n);                                                                      \
    int32_t NAME(sumsq_u8)(const void *x, size_t n);                                                                    \
    int32_t NAME(sum_i8)(const void *x, size_t n);                                                                      \
    int32_t NAME(sumsq_i8)(const void *x, size_t n);                                                                    \
    float NAME(normalize_f32)(const float *x, size_t n, float *out);                                                    \
    void NAME(add_f32)(float *sums, const void *x, size_t n);                                                           \
    void NAME(add_u8)(uint32_t *sums, const void *x, size_t n);                                                         \
    void NAME(sub_f32)(const void *x, const void *y, size_t n, float *out);                                             \
    void NAME(scale_f32)(float *x, size_t n, float factor);

#define VECTOR_KERNELS(NAME)                  \
    .sq8_encode = NAME(sq8_encode),           \
    .sq8_encode_dims = NAME(sq8_encode_dims), \
    .sq8_decode = NAME(sq8_decode),           \
    .sq8_decode_dims = NAME(sq8_decode_dims), \
    .quantize_i8 = NAME(quantize_i8),         \
    .quantize_i8x2 = NAME(quantize_i8x2),     \
    .rabitq_encode = NAME(rabitq_encode),     \
    .hadamard = NAME(hadamard),               \
    .rotate = NAME(rotate),                   \
    .unrotate = NAME(unrotate),               \
    .f32_from_f16 = NAME(f32_from_f16),       \
    .f32_from_bf16 = NAME(f32_from_bf16),     \
    .f32_from_i8 = NAME(f32_from_i8),         \
    .f32_from_u8 = NAME(f32_from_u8),         \
    .f16_from_f32 = NAME(f16_from_f32),       \
    .bf16_from_f32 = NAME(bf16_from_f32),     \
    .u8_from_f32 = NAME(u8_from_f32),         \
    .finite_f32 = NAME(finite_f32),           \
    .finite_f16 = NAME(finite_f16),           \
    .finite_bf16 = NAME(finite_bf16),         \
    .sum_f32 = NAME(sum_f32),                 \
    .sumsq_f32 = NAME(sumsq_f32),             \
    .sum_u8 = NAME(sum_u8),                   \
    .sumsq_u8 = NAME(sumsq_u8),               \
    .sum_i8 = NAME(sum_i8),                   \
    .sumsq_i8 = NAME(sumsq_i8),               \
    .normalize_f32 = NAME(normalize_f32),     \
    .add_f32 = NAME(add_f32),                 \
    .add_u8 = NAME(add_u8),                   \
    .sub_f32 = NAME(sub_f32),                 \
    .scale_f32 = NAME(scale_f32)

#endif
