/* Comparing columns, bitmaps and selection in plain C: the definition the other instruction sets follow. */
#include "simd/scalar/scalar.h"

/* Sets the bit of every value for which test holds; v is the value. */
#define FOR_EACH_BIT(type, test)                                       \
    for (size_t i = 0; i < n; i += 64) {                               \
        size_t count = n - i < 64 ? n - i : 64;                        \
        uint64_t word = 0;                                             \
        for (size_t j = 0; j < count; j++) {                           \
            type v;                                                    \
            memcpy(&v, (const char *)values + (i + j) * sizeof v, sizeof v); \
            word |= (uint64_t)(test) << j;                             \
        }                                                              \
        bits[i / 64] = word;                                           \
    }

#define DEFINE_COMPARE(name, type)                                                               \
    void scalar_compare_##name(const void *values, size_t n, enum compare_op op, type constant,  \
                               uint64_t *bits)                                                   \
    {                                                                                            \
        switch (op) {                                                                            \
        case COMPARE_EQ: FOR_EACH_BIT(type, v == constant) break;                                \
        case COMPARE_NE: FOR_EACH_BIT(type, v != constant) break;                                \
        case COMPARE_LT: FOR_EACH_BIT(type, v < constant) break;                                 \
        case COMPARE_LE: FOR_EACH_BIT(type, v <= constant) break;                                \
        case COMPARE_GT: FOR_EACH_BIT(type, v > constant) break;                                 \
        default: FOR_EACH_BIT(type, v >= constant) break;                                        \
        }                                                                                        \
    }                                                                                            \
    void scalar_range_##name(const void *values, size_t n, type low, type high, uint64_t *bits)  \
    {                                                                                            \
        FOR_EACH_BIT(type, v >= low && v <= high)                                                \
    }

DEFINE_COMPARE(i8, int8_t)
DEFINE_COMPARE(u8, uint8_t)
DEFINE_COMPARE(i16, int16_t)
DEFINE_COMPARE(i32, int32_t)
DEFINE_COMPARE(i64, int64_t)
DEFINE_COMPARE(f32, float)
DEFINE_COMPARE(f64, double)

/* ---- bitmaps ---- */

void scalar_bits_and(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out)
{
    for (size_t i = 0; i < words; i++)
        out[i] = a[i] & b[i];
}

void scalar_bits_or(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out)
{
    for (size_t i = 0; i < words; i++)
        out[i] = a[i] | b[i];
}

void scalar_bits_andnot(const uint64_t *a, const uint64_t *b, size_t words, uint64_t *out)
{
    for (size_t i = 0; i < words; i++)
        out[i] = a[i] & ~b[i];
}

void scalar_bits_not(const uint64_t *a, size_t words, uint64_t *out)
{
    for (size_t i = 0; i < words; i++)
        out[i] = ~a[i];
}

size_t scalar_bits_count(const uint64_t *a, size_t words)
{
    size_t count = 0;

    for (size_t i = 0; i < words; i++)
        count += count_bits(a[i]);
    return count;
}

size_t scalar_bits_and_count(const uint64_t *a, const uint64_t *b, size_t words)
{
    size_t count = 0;

    for (size_t i = 0; i < words; i++)
        count += count_bits(a[i] & b[i]);
    return count;
}

size_t scalar_bits_list(const uint64_t *bits, size_t words, uint32_t first, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < words; i++)
        for (uint64_t word = bits[i]; word; word &= word - 1)
            out[count++] = first + (uint32_t)(i * 64) + (uint32_t)__builtin_ctzll(word);
    return count;
}

/* ---- selection ---- */

size_t scalar_below_f32(const float *values, size_t n, float threshold, uint32_t first, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        if (values[i] < threshold)
            out[count++] = first + (uint32_t)i;
    return count;
}

size_t scalar_below_i32(const int32_t *values, size_t n, int32_t threshold, uint32_t first, uint32_t *out)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        if (values[i] < threshold)
            out[count++] = first + (uint32_t)i;
    return count;
}

float scalar_min_f32(const void *values, size_t n)
{
    float least = load_f32(values, 0);

    for (size_t i = 1; i < n; i++)
        if (load_f32(values, i) < least)
            least = load_f32(values, i);
    return least;
}

float scalar_max_f32(const void *values, size_t n)
{
    float most = load_f32(values, 0);

    for (size_t i = 1; i < n; i++)
        if (load_f32(values, i) > most)
            most = load_f32(values, i);
    return most;
}

static int32_t load_i32(const void *p, size_t i)
{
    int32_t value;
    memcpy(&value, (const char *)p + i * sizeof value, sizeof value);
    return value;
}

int32_t scalar_min_i32(const void *values, size_t n)
{
    int32_t least = load_i32(values, 0);

    for (size_t i = 1; i < n; i++)
        if (load_i32(values, i) < least)
            least = load_i32(values, i);
    return least;
}

int32_t scalar_max_i32(const void *values, size_t n)
{
    int32_t most = load_i32(values, 0);

    for (size_t i = 1; i < n; i++)
        if (load_i32(values, i) > most)
            most = load_i32(values, i);
    return most;
}

const struct compare_kernels compare_scalar = {
    .i8 = scalar_compare_i8,
    .u8 = scalar_compare_u8,
    .i16 = scalar_compare_i16,
    .i32 = scalar_compare_i32,
    .i64 = scalar_compare_i64,
    .f32 = scalar_compare_f32,
    .f64 = scalar_compare_f64,
    .i8_range = scalar_range_i8,
    .u8_range = scalar_range_u8,
    .i16_range = scalar_range_i16,
    .i32_range = scalar_range_i32,
    .i64_range = scalar_range_i64,
    .f32_range = scalar_range_f32,
    .f64_range = scalar_range_f64,
    .bits_and = scalar_bits_and,
    .bits_or = scalar_bits_or,
    .bits_andnot = scalar_bits_andnot,
    .bits_not = scalar_bits_not,
    .bits_count = scalar_bits_count,
    .bits_and_count = scalar_bits_and_count,
    .bits_list = scalar_bits_list,
    .below_f32 = scalar_below_f32,
    .below_i32 = scalar_below_i32,
    .min_f32 = scalar_min_f32,
    .max_f32 = scalar_max_f32,
    .min_i32 = scalar_min_i32,
    .max_i32 = scalar_max_i32,
};
