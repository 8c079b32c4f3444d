/* What is small in base: buffers, errors, UTF-8, halves, bitmaps, random numbers, checksums. */
#include "base/bitmap.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/float16.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/utf8.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void buf_grows(void **state)
{
    struct buf buf = {0};

    for (int i = 0; i < 10000; i++)
        assert_int_equal(buf_append(&buf, &i, sizeof i), VECDB_OK);
    for (int i = 0; i < 10000; i++)
        assert_int_equal(load_u32(buf.data + 4 * i), i);
    assert_int_equal(buf_append(&buf, NULL, 3), VECDB_OK);
    assert_int_equal(buf_align(&buf, 64), VECDB_OK);
    assert_int_equal(buf.size % 64, 0);
    for (size_t i = 40000; i < buf.size; i++)
        assert_int_equal(buf.data[i], 0);
    size_t before = buf.size;
    assert_int_equal(buf_reserve(&buf, SIZE_MAX - 10), VECDB_ERR_NOMEM);
    assert_int_equal(buf.size, before);
    buf_deinit(&buf);
    assert_null(buf.data);
}

static void buf_text(void **state)
{
    struct buf buf = {0};
    char *text;

    assert_int_equal(buf_printf(&buf, "%d-%s", 12, "x"), VECDB_OK);
    assert_int_equal(buf_append_text(&buf, "|"), VECDB_OK);
    assert_int_equal(buf_append_json_string(&buf, "a\"b\\c\n\x01", 7), VECDB_OK);
    text = buf_take_text(&buf);
    assert_string_equal(text, "12-x|\"a\\\"b\\\\c\\n\\u0001\"");
    assert_int_equal(buf.size, 0);
    mem_free(text);
}

static void errors(void **state)
{
    vecdb_error kept;
    char longer[2000];

    error_clear();
    assert_string_equal(error_last()->message, "");
    assert_int_equal(error_set(VECDB_ERR_DIM, "field %s: %d", "v", 3), VECDB_ERR_DIM);
    assert_string_equal(error_last()->message, "field v: 3");
    assert_int_equal(error_prefix("collection %s: ", "c"), VECDB_ERR_DIM);
    assert_string_equal(error_last()->message, "collection c: field v: 3");
    kept = *error_last();
    assert_int_equal(error_set_system(VECDB_ERR_IO, ENOSPC, "f"), VECDB_ERR_IO);
    assert_string_equal(error_last()->message, "f: No space left on device");
    assert_int_equal(error_last()->system, ENOSPC);
    assert_int_equal(error_adopt(&kept), VECDB_ERR_DIM);
    assert_string_equal(error_last()->message, "collection c: field v: 3");
    /* too long: cut to whole characters, always terminated */
    for (size_t i = 0; i < sizeof longer - 1; i++)
        longer[i] = "\xC3\xA4"[i % 2];
    longer[sizeof longer - 1] = '\0';
    for (int shift = 0; shift < 4; shift++) {
        error_set(VECDB_ERR_INVALID, "%.*s%s", shift, "xxxx", longer);
        assert_true(strlen(error_last()->message) >= sizeof kept.message - 3);
        assert_true(utf8_valid(error_last()->message, strlen(error_last()->message), NULL));
    }
    error_set_system(VECDB_ERR_IO, EIO, "%s", longer);
    assert_true(utf8_valid(error_last()->message, strlen(error_last()->message), NULL));
    error_prefix("%s", longer);
    assert_true(utf8_valid(error_last()->message, strlen(error_last()->message), NULL));
    error_clear();
}

static void utf8(void **state)
{
    static const struct {
        const char *text;
        size_t length;
        long bad; /* offset, or -1 */
    } cases[] = {
        {"", 0, -1},
        {"plain", 5, -1},
        {"a\0b", 3, -1},
        {"\xC3\xA4", 2, -1},
        {"\xE2\x82\xAC", 3, -1},
        {"\xF0\x9F\x98\x80", 4, -1},
        {"\xED\x9F\xBF", 3, -1},
        {"\xEE\x80\x80", 3, -1},
        {"\xF4\x8F\xBF\xBF", 4, -1},
        {"\x80", 1, 0},
        {"ab\xBF", 3, 2},
        {"\xC0\x80", 2, 0},         /* overlong */
        {"\xC1\xBF", 2, 0},
        {"\xE0\x9F\xBF", 3, 0},
        {"\xF0\x8F\xBF\xBF", 4, 0},
        {"\xED\xA0\x80", 3, 0},     /* surrogates */
        {"\xED\xBF\xBF", 3, 0},
        {"\xF4\x90\x80\x80", 4, 0}, /* beyond U+10FFFF */
        {"\xF5\x80\x80\x80", 4, 0},
        {"\xFF", 1, 0},
        {"x\xC3", 2, 1},            /* cut off */
        {"x\xE2\x82", 3, 1},
        {"\xF0\x9F\x98", 3, 0},
        {"\xC3(", 2, 0},
        {"\xE2\x28\xA1", 3, 0},
        {"\xE2\x82(", 3, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t bad = 999;
        assert_int_equal(utf8_valid(cases[i].text, cases[i].length, &bad), cases[i].bad < 0);
        if (cases[i].bad >= 0)
            assert_int_equal(bad, cases[i].bad);
        assert_int_equal(utf8_valid(cases[i].text, cases[i].length, NULL), cases[i].bad < 0);
    }
}

static void halves(void **state)
{
    for (uint32_t bits = 0; bits < 65536; bits++) {
        float value = float_from_f16((uint16_t)bits);
        if (isnan(value))
            assert_true(isnan(float_from_f16(f16_from_float(value))));
        else
            assert_int_equal(f16_from_float(value), bits); /* every half survives the way there and back */
        value = float_from_bf16((uint16_t)bits);
        if (isnan(value))
            assert_true(isnan(float_from_bf16(bf16_from_float(value))));
        else
            assert_int_equal(bf16_from_float(value), bits);
    }
    /* ties go to even; what lies between goes to the nearer */
    assert_int_equal(f16_from_float(1.0f + 0x1p-11f), 0x3C00);
    assert_int_equal(f16_from_float(1.0f + 0x1.8p-10f), 0x3C02);
    assert_int_equal(f16_from_float(1.0f + 0x1.2p-11f), 0x3C01);
    assert_int_equal(f16_from_float(65519.0f), 0x7BFF);
    assert_int_equal(f16_from_float(65520.0f), 0x7C00);
    assert_int_equal(f16_from_float(-1e9f), 0xFC00);
    assert_int_equal(f16_from_float(0x1p-25f), 0);
    assert_int_equal(f16_from_float(0x1.1p-25f), 1);
    assert_int_equal(bf16_from_float(1.0f + 0x1p-8f), 0x3F80);
    assert_int_equal(bf16_from_float(1.0f + 0x1.8p-7f), 0x3F82);
    assert_int_equal(bf16_from_float(3.4e38f), 0x7F80);
}

static void bitmaps(void **state)
{
    for (size_t n = 0; n < 200; n++) {
        uint64_t words[5] = {0};
        bitmap_fill(words, n);
        assert_int_equal(bitmap_count(words, n), n);
        assert_int_equal(bitmap_next(words, n, 0), 0);
        for (size_t i = 0; i < n; i++)
            assert_true(bitmap_get(words, i));
        for (size_t w = bitmap_words(n); w < 5; w++)
            assert_int_equal(words[w], 0);
        if (n % 64)
            assert_int_equal(words[n / 64] & ~bitmap_tail(n), 0);
        memset(words, 0, sizeof words);
        for (size_t i = 0; i < n; i += 37)
            bitmap_set(words, i);
        size_t found = 0;
        for (size_t i = bitmap_next(words, n, 0); i < n; i = bitmap_next(words, n, i + 1), found++)
            assert_int_equal(i % 37, 0);
        assert_int_equal(found, (n + 36) / 37);
        if (n) {
            bitmap_clear(words, 0);
            assert_false(bitmap_get(words, 0));
        }
    }
}

static void random_numbers(void **state)
{
    struct rng a = rng_seeded(5), b = rng_seeded(5), c = rng_seeded(6);
    size_t counts[10] = {0};
    double sum = 0, squares = 0;
    bool differ = false;

    for (int i = 0; i < 1000; i++) {
        uint64_t x = rng_next(&a);
        assert_int_equal(x, rng_next(&b));
        differ |= x != rng_next(&c);
    }
    assert_true(differ);
    for (int i = 0; i < 100000; i++) {
        double unit = rng_unit(&a), normal = rng_normal(&a);
        counts[rng_below(&a, 10)]++;
        assert_true(unit >= 0 && unit < 1);
        sum += normal;
        squares += normal * normal;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_true(fabs(sum / 100000) < 0.02);
    assert_true(fabs(squares / 100000 - 1) < 0.03);
}

/* A hash state on the stack must not depend on what the stack held: the same seed with the rest overwritten. */
static __attribute__((noinline)) uint64_t sum_of_two(const unsigned char *bytes)
{
    struct iovec parts[2] = {{(void *)(uintptr_t)bytes, 3}, {(void *)(uintptr_t)(bytes + 3), 997}};

    return checksum_parts(parts, 2, 42);
}

static __attribute__((noinline)) void soil_the_stack(size_t leave)
{
    volatile unsigned char area[2048];

    for (size_t i = 0; i < sizeof area; i++)
        if (i / 8 < leave || i / 8 > leave + 2) /* the members that reset looks at lie within three words */
            area[i] = 0xA5;
}

static void checksums_whatever_the_stack_holds(void **state)
{
    unsigned char bytes[1000] = {1, 2, 3};
    uint64_t expected = checksum(bytes, sizeof bytes, 42);

    for (size_t leave = 0; leave < 256; leave++) {
        assert_int_equal(sum_of_two(bytes), expected);
        soil_the_stack(leave);
    }
}

static void checksums(void **state)
{
    unsigned char bytes[1000];
    struct iovec parts[3] = {{bytes, 1}, {bytes + 1, 0}, {bytes + 1, 999}};

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(i * 7);
    uint64_t whole = checksum(bytes, sizeof bytes, 42);
    for (size_t cut = 0; cut <= 999; cut++) {
        parts[0].iov_len = cut;
        parts[2] = (struct iovec){bytes + cut, 1000 - cut};
        assert_int_equal(checksum_parts(parts, 3, 42), whole);
    }
    assert_int_not_equal(checksum(bytes, sizeof bytes, 43), whole);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_int_not_equal(checksum(bytes, sizeof bytes, 42), whole);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_grows), cmocka_unit_test(buf_text),       cmocka_unit_test(errors),
        cmocka_unit_test(utf8),      cmocka_unit_test(halves),         cmocka_unit_test(bitmaps),
        cmocka_unit_test(checksums), cmocka_unit_test(checksums_whatever_the_stack_holds),
        cmocka_unit_test(random_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
