/* Comparisons, bitmaps and selection of every instruction set, value by value. */
#include <float.h>
#include <limits.h>
#include <math.h>

#include "support/simd_test.h"

#define MOST 300

struct memory {
    struct guarded values, bits;
};

static void memory_init(struct memory *m)
{
    guarded_init(&m->values, MOST * 8 + 8);
    guarded_init(&m->bits, MOST * 8);
}

static void memory_deinit(struct memory *m)
{
    guarded_deinit(&m->values);
    guarded_deinit(&m->bits);
}

/* Every op, every length, constants from the data and the type's ends; the bits past n must be zero. `extra` are values
 * mixed into the data. */
#define DEFINE_TEST(name, type, random_value, ...)                                                              \
    static bool holds_##name(type v, enum compare_op op, type c)                                                \
    {                                                                                                           \
        switch (op) {                                                                                           \
        case COMPARE_EQ: return v == c;                                                                         \
        case COMPARE_NE: return v != c;                                                                         \
        case COMPARE_LT: return v < c;                                                                          \
        case COMPARE_LE: return v <= c;                                                                         \
        case COMPARE_GT: return v > c;                                                                          \
        default: return v >= c;                                                                                 \
        }                                                                                                       \
    }                                                                                                           \
    static void test_compare_##name(void **state)                                                               \
    {                                                                                                           \
        const type extra[] = {__VA_ARGS__};                                                                     \
        const size_t extras = sizeof extra / sizeof extra[0];                                                   \
        const struct compare_kernels *k = ((const struct simd_test *)*state)->row->compare;                     \
        struct memory m;                                                                                        \
        memory_init(&m);                                                                                        \
        for (size_t n = 0; n <= MOST; n++) {                                                                    \
            size_t words = (n + 63) / 64;                                                                       \
            char *values = guarded_end(&m.values, n * sizeof(type) + n % 2);                                    \
            uint64_t *bits = guarded_end(&m.bits, words * 8);                                                   \
            type value[MOST + 1] = {0};                                                                         \
            for (size_t i = 0; i < n; i++) {                                                                    \
                value[i] = random_u64() % 3 ? (type)(random_value) : extra[random_u64() % extras];              \
                memcpy(values + i * sizeof(type), &value[i], sizeof(type));                                     \
            }                                                                                                   \
            for (size_t c = 0; c < extras + 2; c++) {                                                           \
                type constant = c < extras ? extra[c] : (type)(random_value);                                   \
                type low = value[random_u64() % (n + 1)], high = constant;                                      \
                for (int op = 0; op < COMPARE_OPS; op++) {                                                      \
                    memset(bits, 0xee, words * 8);                                                              \
                    k->name(values, n, (enum compare_op)op, constant, bits);                                    \
                    for (size_t i = 0; i < words * 64; i++)                                                     \
                        assert_int_equal(bits[i / 64] >> i % 64 & 1,                                            \
                                         i < n && holds_##name(value[i], (enum compare_op)op, constant));       \
                }                                                                                               \
                memset(bits, 0xee, words * 8);                                                                  \
                k->name##_range(values, n, low, high, bits);                                                    \
                for (size_t i = 0; i < words * 64; i++)                                                         \
                    assert_int_equal(bits[i / 64] >> i % 64 & 1, i < n && value[i] >= low && value[i] <= high); \
            }                                                                                                   \
        }                                                                                                       \
        memory_deinit(&m);                                                                                      \
    }

DEFINE_TEST(i8, int8_t, random_u64(), 0, 1, -1, INT8_MIN, INT8_MAX)
DEFINE_TEST(u8, uint8_t, random_u64(), 0, 1, 127, 128, UINT8_MAX)
DEFINE_TEST(i16, int16_t, random_u64(), 0, 1, -1, INT16_MIN, INT16_MAX)
DEFINE_TEST(i32, int32_t, random_u64(), 0, 1, -1, INT32_MIN, INT32_MAX)
DEFINE_TEST(i64, int64_t, random_u64(), 0, 1, -1, INT64_MIN, INT64_MAX, (int64_t)1 << 32, -((int64_t)1 << 32))
DEFINE_TEST(f32, float, random_f32(), 0.0f, -0.0f, NAN, INFINITY, -INFINITY, FLT_MAX, 1e-40f)
DEFINE_TEST(f64, double, (double)random_f32(), 0.0, -0.0, (double)NAN, (double)INFINITY, -(double)INFINITY, DBL_MAX, 1e-310)

/* ---- bitmaps ---- */

static uint64_t random_word(unsigned density)
{
    uint64_t word = random_u64();

    switch (density % 6) {
    case 0: return 0;
    case 1: return ~(uint64_t)0;
    case 2: return word & random_u64() & random_u64() & random_u64() & random_u64();
    case 3: return (uint64_t)1 << word % 64;
    case 4: return word | random_u64();
    default: return word;
    }
}

static void test_bits(void **state)
{
    const struct compare_kernels *k = ((const struct simd_test *)*state)->row->compare;
    struct memory m;

    memory_init(&m);
    for (size_t words = 0; words <= 150; words++) {
        uint64_t *a = guarded_end(&m.values, words * 8), *b = guarded_end(&m.bits, words * 8), out[151], was[150];
        size_t count = 0, both = 0;
        for (size_t i = 0; i < words; i++) {
            a[i] = random_word((unsigned)random_u64());
            b[i] = random_word((unsigned)random_u64());
            count += (size_t)__builtin_popcountll(a[i]);
            both += (size_t)__builtin_popcountll(a[i] & b[i]);
        }
        memcpy(was, a, words * 8);
        out[words] = 0xabcd;
        k->bits_and(a, b, words, out);
        for (size_t i = 0; i < words; i++)
            assert_true(out[i] == (a[i] & b[i]));
        k->bits_or(a, b, words, out);
        for (size_t i = 0; i < words; i++)
            assert_true(out[i] == (a[i] | b[i]));
        k->bits_andnot(a, b, words, out);
        for (size_t i = 0; i < words; i++)
            assert_true(out[i] == (a[i] & ~b[i]));
        k->bits_not(a, words, out);
        for (size_t i = 0; i < words; i++)
            assert_true(out[i] == ~a[i]);
        assert_true(out[words] == 0xabcd);
        assert_int_equal(k->bits_count(a, words), count);
        assert_int_equal(k->bits_and_count(a, b, words), both);
        k->bits_and(a, b, words, a); /* out may be a */
        for (size_t i = 0; i < words; i++)
            assert_true(a[i] == (was[i] & b[i]));
        memcpy(a, was, words * 8);
        k->bits_or(a, b, words, b); /* or b */
        for (size_t i = 0; i < words; i++)
            assert_true((b[i] & a[i]) == a[i]);
    }
    memory_deinit(&m);
}

static void test_bits_list(void **state)
{
    const struct compare_kernels *k = ((const struct simd_test *)*state)->row->compare;
    struct guarded in, out;

    guarded_init(&in, 40 * 8);
    guarded_init(&out, 40 * 64 * 4);
    for (unsigned turn = 0; turn < 600; turn++) {
        size_t words = turn % 40, count = 0, at = 0;
        uint64_t *bits = guarded_end(&in, words * 8);
        uint32_t *ids, first = turn % 3 ? (uint32_t)random_u64() % 1000000 : 0;
        for (size_t i = 0; i < words; i++) {
            bits[i] = random_word(turn % 7 == 6 ? (unsigned)random_u64() : turn % 7);
            count += (size_t)__builtin_popcountll(bits[i]);
        }
        ids = guarded_end(&out, count * 4); /* room for as many as there are, and no more */
        assert_int_equal(k->bits_list(bits, words, first, ids), count);
        for (size_t i = 0; i < words * 64; i++)
            if (bits[i / 64] >> i % 64 & 1)
                assert_int_equal(ids[at++], first + i);
    }
    guarded_deinit(&in);
    guarded_deinit(&out);
}

/* ---- selection ---- */

static void test_below(void **state)
{
    const struct compare_kernels *k = ((const struct simd_test *)*state)->row->compare;
    static const float thresholds[] = {-2.0f, -0.99f, -0.5f, 0.0f, 0.9f, 2.0f, INFINITY, -INFINITY, NAN};
    struct guarded in, out;

    guarded_init(&in, MOST * 4);
    guarded_init(&out, MOST * 4);
    for (size_t n = 0; n <= MOST; n++)
        for (size_t t = 0; t < sizeof thresholds / sizeof thresholds[0]; t++) {
            float *values = guarded_end(&in, n * 4);
            int32_t *integers = (int32_t *)values, limit;
            uint32_t *ids = guarded_end(&out, n * 4);
            size_t count, at = 0;
            for (size_t i = 0; i < n; i++)
                values[i] = random_u64() % 30 ? random_f32() : random_u64() % 2 ? NAN : thresholds[t];
            count = k->below_f32(values, n, thresholds[t], 100, ids);
            for (size_t i = 0; i < n; i++)
                if (values[i] < thresholds[t])
                    assert_true(at < count && ids[at++] == 100 + i);
            assert_int_equal(at, count);
            for (size_t i = 0; i < n; i++)
                integers[i] = (int32_t)random_u64();
            limit = t % 3 == 0 ? INT32_MAX : t % 3 == 1 ? INT32_MIN : (int32_t)random_u64();
            if (n)
                integers[random_u64() % n] = limit;
            count = k->below_i32(integers, n, limit, 0, ids);
            at = 0;
            for (size_t i = 0; i < n; i++)
                if (integers[i] < limit)
                    assert_true(at < count && ids[at++] == i);
            assert_int_equal(at, count);
        }
    guarded_deinit(&in);
    guarded_deinit(&out);
}

static void test_extremes(void **state)
{
    const struct compare_kernels *k = ((const struct simd_test *)*state)->row->compare;
    struct guarded in;

    guarded_init(&in, MOST * 4);
    for (size_t n = 1; n <= MOST; n++)
        for (int turn = 0; turn < 10; turn++) {
            float *values = guarded_end(&in, n * 4), least, most;
            int32_t *integers = (int32_t *)values, low, high;
            for (size_t i = 0; i < n; i++)
                values[i] = random_f32();
            values[random_u64() % n] = turn % 2 ? INFINITY : -5.0f;
            values[random_u64() % n] = turn % 3 ? -INFINITY : 5.0f;
            least = most = values[0];
            for (size_t i = 0; i < n; i++) {
                least = fminf(least, values[i]);
                most = fmaxf(most, values[i]);
            }
            assert_true(k->min_f32(values, n) == least);
            assert_true(k->max_f32(values, n) == most);
            for (size_t i = 0; i < n; i++)
                integers[i] = (int32_t)random_u64();
            integers[random_u64() % n] = turn % 2 ? INT32_MAX : INT32_MIN;
            low = high = integers[0];
            for (size_t i = 0; i < n; i++) {
                low = integers[i] < low ? integers[i] : low;
                high = integers[i] > high ? integers[i] : high;
            }
            assert_int_equal(k->min_i32(integers, n), low);
            assert_int_equal(k->max_i32(integers, n), high);
        }
    guarded_deinit(&in);
}

int main(void)
{
    static const struct {
        const char *name;
        CMUnitTestFunction function;
    } tests[] = {
        {"i8", test_compare_i8},   {"u8", test_compare_u8},   {"i16", test_compare_i16},
        {"i32", test_compare_i32}, {"i64", test_compare_i64}, {"f32", test_compare_f32},
        {"f64", test_compare_f64}, {"bits", test_bits},       {"bits_list", test_bits_list},
        {"below", test_below},     {"extremes", test_extremes},
    };

    simd_test_seed();
    FOR_EACH_SUPPORTED_ROW(row) {
        for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
            simd_test_add(row, tests[i].name, NULL, tests[i].function);
    }
    return simd_test_run("simd_compare");
}
