/* JSON: text to parsed form and back, the mistakes, and bytes that are no parsed form. */
#include "base/bytes.h"
#include "base/rng.h"
#include "schema/json.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct json parsed(struct buf *buf, const char *text)
{
    buf->size = 0;
    if (json_parse(text, strlen(text), buf) != VECDB_OK)
        fail_msg("%s: %s", text, error_last()->message);
    assert_true(json_check(buf->data, buf->size));
    return (struct json){buf->data, buf->size};
}

static void check_print(const char *text, const char *expected)
{
    struct buf buf = {0}, out = {0};

    assert_int_equal(json_print(parsed(&buf, text), &out), VECDB_OK);
    assert_int_equal(buf_append(&out, "", 1), VECDB_OK);
    assert_string_equal((char *)out.data, expected);
    buf_deinit(&buf);
    buf_deinit(&out);
}

static void test_print(void **state)
{
    check_print("null", "null");
    check_print(" true ", "true");
    check_print("false", "false");
    check_print("-12", "-12");
    check_print("9223372036854775807", "9223372036854775807");
    check_print("-9223372036854775808", "-9223372036854775808");
    check_print("9223372036854775808", "9.223372036854776e+18");
    check_print("-9223372036854775809", "-9.223372036854776e+18");
    check_print("[123456789012345678901234567890, 1]", "[1.2345678901234568e+29, 1]");
    check_print("1.0", "1.0");
    check_print("0.1", "0.1");
    check_print("1e300", "1e+300");
    check_print("-0.5E-3", "-0.0005");
    check_print("\"a\\u0000b\\n\\\"\\u00e9\"", "\"a\\u0000b\\n\\\"\xC3\xA9\"");
    check_print("[]", "[]");
    check_print("{}", "{}");
    check_print("[1, [2, []], {\"b\": 1, \"a\": [true]}]", "[1, [2, []], {\"a\": [true], \"b\": 1}]");
    check_print("{\"a\": 1, \"b\": 2, \"a\": 3}", "{\"a\": 3, \"b\": 2}");
    check_print("[\"12345678901234567890\", 12345678901234567890]",
                "[\"12345678901234567890\", 1.2345678901234567e+19]");
}

static void test_access(void **state)
{
    struct buf buf = {0};
    struct json value = parsed(&buf, "{\"name\": \"x\", \"list\": [1, 2.5, null], \"deep\": {\"k\": true}, \"\": 0}"), list;
    size_t length;

    assert_int_equal(json_kind(value), JSON_OBJECT);
    assert_int_equal(json_count(value), 4);
    assert_string_equal("", strndupa(json_key(value, 0, &length), 0));
    assert_int_equal(length, 0);
    assert_int_equal(json_int(json_member(value, "", 0)), 0);
    list = json_member(value, "list", 4);
    assert_int_equal(json_kind(list), JSON_ARRAY);
    assert_int_equal(json_count(list), 3);
    assert_int_equal(json_int(json_at(list, 0)), 1);
    assert_true(json_double(json_at(list, 0)) == 1.0);
    assert_true(json_double(json_at(list, 1)) == 2.5);
    assert_int_equal(json_kind(json_at(list, 2)), JSON_NULL);
    assert_memory_equal(json_string(json_member(value, "name", 4), &length), "x", 1);
    assert_int_equal(length, 1);
    assert_false(json_exists(json_member(value, "nam", 3)));
    assert_false(json_exists(json_member(value, "names", 5)));
    assert_false(json_exists(json_member(list, "name", 4)));
    assert_int_equal(json_kind(json_member(json_member(value, "deep", 4), "k", 1)), JSON_TRUE);
    buf_deinit(&buf);
}

static void check_error(const char *text, size_t length, vecdb_status status, const char *message)
{
    struct buf buf = {0};

    assert_int_equal(buf_append(&buf, "kept", 4), VECDB_OK);
    assert_int_equal(json_parse(text, length, &buf), status);
    assert_int_equal(buf.size, 4);
    if (!strstr(error_last()->message, message))
        fail_msg("%.40s: \"%s\" lacks \"%s\"", text, error_last()->message, message);
    buf_deinit(&buf);
}

static void test_errors(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"", "at byte 0"}, {"  ", "JSON: "}, {"{", "JSON: "}, {"[1,]", "at byte 4"}, {"[1 2]", "near '2'"},
        {"{\"a\" 1}", "':' expected"}, {"tru", "'tru'"}, {"01", "JSON: "}, {"1.", "JSON: "}, {".5", "JSON: "},
        {"+1", "JSON: "}, {"1e999", "real number overflow"}, {"NaN", "JSON: "}, {"\"a", "JSON: "},
        {"\"\\x\"", "invalid escape"}, {"\"\\ud800\"", "Unicode"}, {"\"a\nb\"", "JSON: "}, {"1 2", "end of file"},
        {"\xC0\x80", "unable to decode byte 0x"}, {"\"\xED\xA0\x80\"", "unable to decode byte 0x"}, {"\"\xFF\"", "unable to decode byte 0x"}, {"{\"\\u0000\": 1}", "NUL"},
        {"-", "JSON: "}, {"--1", "JSON: "}, {"{1: 2}", "string or '}' expected"}, {"]", "JSON: "}, {"[1}", "JSON: "},
        {"[99999999999999999999, x]", "at byte 24"}, {"1e", "JSON: "}, {"1e+e+", "JSON: "},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_error(cases[i].text, strlen(cases[i].text), VECDB_ERR_INVALID, cases[i].message);
    check_error("1\0", 2, VECDB_ERR_INVALID, "at byte");
}

static void test_depth(void **state)
{
    enum { MANY = 1000000 };
    char *text = malloc(MANY * 2);
    struct buf buf = {0}, out = {0};

    assert_non_null(text);
    for (size_t depth = 63; depth <= 66; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        buf.size = out.size = 0;
        assert_int_equal(json_parse(text, depth * 2, &buf), depth <= JSON_MAX_DEPTH ? VECDB_OK : VECDB_ERR_LIMIT);
        if (depth > JSON_MAX_DEPTH)
            continue;
        assert_true(json_check(buf.data, buf.size));
        assert_int_equal(json_print((struct json){buf.data, buf.size}, &out), VECDB_OK);
        assert_memory_equal(out.data, text, depth * 2);
    }
    memset(text, '[', MANY);
    check_error(text, MANY, VECDB_ERR_LIMIT, "nested deeper than 64 at byte 64");
    memset(text, '"', 1);
    check_error(text, MANY, VECDB_ERR_INVALID, "JSON: ");
    buf_deinit(&buf);
    buf_deinit(&out);
    free(text);
}

static void test_put(void **state)
{
    struct buf buf = {0}, one = {0}, two = {0};
    struct json values[3];
    vecdb_string keys[3] = {{"b", 1}, {"a", 1}, {"b", 1}};

    assert_int_equal(json_put_int(&one, 1), VECDB_OK);
    assert_int_equal(json_put_string(&two, "x", 1), VECDB_OK);
    values[0] = values[1] = (struct json){one.data, one.size};
    values[2] = (struct json){two.data, two.size};
    assert_int_equal(json_put_object(&buf, 3, keys, values), VECDB_OK);
    assert_true(json_check(buf.data, buf.size));
    assert_int_equal(json_count((struct json){buf.data, buf.size}), 2);
    assert_int_equal(json_kind(json_member((struct json){buf.data, buf.size}, "b", 1)), JSON_STRING);
    buf.size = 0;
    assert_int_equal(json_put_array(&buf, 3, values), VECDB_OK);
    assert_true(json_check(buf.data, buf.size));
    assert_int_equal(json_kind(json_at((struct json){buf.data, buf.size}, 2)), JSON_STRING);
    buf.size = 0;
    assert_int_equal(json_put_object(&buf, 0, NULL, NULL), VECDB_OK);
    assert_true(json_check(buf.data, buf.size));
    assert_int_equal(json_put_double(&buf, NAN), VECDB_ERR_INVALID);
    assert_int_equal(json_put_double(&buf, INFINITY), VECDB_ERR_INVALID);
    buf_deinit(&buf);
    buf_deinit(&one);
    buf_deinit(&two);
}

static uint64_t test_seed(void)
{
    const char *text = getenv("VECDB_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 20261122;

    print_message("VECDB_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void random_text(struct rng *rng, struct buf *out, unsigned depth)
{
    static const char *const atoms[] = {"null", "true", "false", "0", "-1", "3.25", "1e-9", "\"\"", "\"k\"",
                                        "\"\xE2\x82\xAC\\t\"", "18446744073709551616", "-9223372036854775808"};
    uint64_t kind = rng_below(rng, depth ? 4 : 2);

    if (kind < 2) {
        assert_int_equal(buf_append_text(out, atoms[rng_below(rng, sizeof atoms / sizeof *atoms)]), VECDB_OK);
        return;
    }
    assert_int_equal(buf_append_text(out, kind == 2 ? "[" : "{"), VECDB_OK);
    for (uint64_t i = 0, n = rng_below(rng, 5); i < n; i++) {
        assert_int_equal(buf_append_text(out, i ? "," : ""), VECDB_OK);
        if (kind == 3)
            assert_int_equal(buf_printf(out, "\"%c\":", (int)('a' + rng_below(rng, 6))), VECDB_OK);
        random_text(rng, out, depth - 1);
    }
    assert_int_equal(buf_append_text(out, kind == 2 ? "]" : "}"), VECDB_OK);
}

/* Print and parse again: the same bytes. Damage the bytes: json_check() says no, or reading stays inside them. */
static void test_random(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct buf text = {0}, first = {0}, printed = {0}, second = {0};

    for (int round = 0; round < 3000; round++) {
        text.size = first.size = printed.size = second.size = 0;
        random_text(&rng, &text, 5);
        assert_int_equal(json_parse((char *)text.data, text.size, &first), VECDB_OK);
        assert_true(json_check(first.data, first.size));
        assert_int_equal(json_print((struct json){first.data, first.size}, &printed), VECDB_OK);
        assert_int_equal(json_parse((char *)printed.data, printed.size, &second), VECDB_OK);
        assert_int_equal(first.size, second.size);
        assert_memory_equal(first.data, second.data, first.size);
        assert_false(json_check(first.data, first.size - 1));
        for (int damage = 0; damage < 20; damage++) {
            uint8_t *exact = malloc(first.size); /* so that a sanitizer sees a read past the end */

            assert_non_null(exact);
            memcpy(exact, first.data, first.size);
            exact[rng_below(&rng, first.size)] ^= (uint8_t)(1u << rng_below(&rng, 8));
            printed.size = 0;
            if (json_check(exact, first.size))
                assert_int_equal(json_print((struct json){exact, first.size}, &printed), VECDB_OK);
            free(exact);
        }
    }
    buf_deinit(&text);
    buf_deinit(&first);
    buf_deinit(&printed);
    buf_deinit(&second);
}

static void test_doubles(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct buf text = {0}, form = {0};

    for (int round = 0; round < 20000; round++) {
        uint64_t bits = rng_next(&rng);
        double value, back;

        memcpy(&value, &bits, sizeof value);
        if (!isfinite(value))
            continue;
        text.size = form.size = 0;
        assert_int_equal(json_print_double(value, &text), VECDB_OK);
        assert_int_equal(json_parse((char *)text.data, text.size, &form), VECDB_OK);
        assert_int_equal(form.data[0], JSON_DOUBLE);
        back = json_double((struct json){form.data, form.size});
        assert_memory_equal(&back, &value, sizeof value);
    }
    buf_deinit(&text);
    buf_deinit(&form);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_print),  cmocka_unit_test(test_access), cmocka_unit_test(test_errors),
        cmocka_unit_test(test_depth),  cmocka_unit_test(test_put),    cmocka_unit_test(test_random),
        cmocka_unit_test(test_doubles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
