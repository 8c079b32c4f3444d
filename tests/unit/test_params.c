/* index/params: what users write, and what they are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/buf.h"
#include "index/index.h"
#include "index/params.h"

#include <stdio.h>
#include <string.h>

static const struct param_spec build_specs[] = {
    {"M", 16, 2, 128, "links", NULL, false},
    {"efConstruction", 200, 8, 4096, "candidates", NULL, false},
    {"refine", 0, 0, 1, "keep more", "false|true", false},
    {"refine_type", 1, 0, 2, "what", "sq8|fp16|fp32", false},
    {"recall", 0.95, 0, 1, "target", NULL, true},
    PARAM_END,
};
static const struct param_spec search_specs[] = {
    {"ef", 64, 1, 100000, "candidates", NULL, false},
    PARAM_END,
};

static vecdb_status parse(const char *text, struct params *out)
{
    return params_parse("index TEST", build_specs, search_specs, text, out);
}

static void reads_lists_and_json(void **state)
{
    static const char *const texts[] = {
        "M=24, efConstruction=300, refine=true, refine_type=fp32, recall=0.9",
        "  m = 24 ,efconstruction:300,REFINE=1,refine_type=FP32,recall=9e-1 ",
        "{\"M\": 24, \"efConstruction\": 300, \"refine\": true, \"refine_type\": \"fp32\", \"recall\": 0.90}",
        "{\"M\": \"24\", \"efConstruction\": 3e2, \"ef\": 7, \"refine\": true, \"refine_type\": \"fp32\", \"recall\": "
        "+.9}\n",
    };
    struct params params;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(parse(texts[i], &params), VECDB_OK);
        assert_true(params_get(&params, "M") == 24);
        assert_true(params_get(&params, "efconstruction") == 300);
        assert_true(params_get(&params, "refine") == 1);
        assert_true(params_get(&params, "refine_type") == 2);
        assert_true(params_get(&params, "recall") == 0.9);
        assert_true(params_given(&params, "recall"));
    }
}

static void defaults_when_nothing_is_given(void **state)
{
    static const char *const texts[] = {NULL, "", "  ", "{}", " { } ", "ef=3"};
    struct params params;

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        assert_int_equal(parse(texts[i], &params), VECDB_OK);
        assert_true(params_get(&params, "M") == 16);
        assert_false(params_given(&params, "M"));
        assert_true(params_get(&params, "recall") == 0.95);
    }
}

static void says_what_is_wrong(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"M=1", "index TEST: M=1 is out of range 2..128"},
        {"M=129", "index TEST: M=129 is out of range 2..128"},
        {"M=-1", "index TEST: M=-1 is out of range 2..128"},
        {"M=2.5", "index TEST: M=2.5 is not a whole number"},
        {"M=1e999", "index TEST: M=1e999 is out of range 2..128"},
        {"M=abc", "index TEST: M=abc is not a number"},
        {"M=nan", "index TEST: M=nan is not a number"},
        {"M=16x", "index TEST: M=16x is not a number"},
        {"M=0x10", "index TEST: M=0x10 is not a number"},
        {"M=1e", "index TEST: M=1e is not a number"},
        {"M=.", "index TEST: M=. is not a number"},
        {"M=3,m=3", "index TEST: M is given twice"},
        {"refine_type=fp8", "index TEST: refine_type=fp8 is none of sq8|fp16|fp32"},
        {"refine=2", "index TEST: refine=2 is none of false|true"},
        {"recall=1.01", "index TEST: recall=1.01 is out of range 0..1"},
        {"efConstructoin=9", "index TEST: no parameter \"efConstructoin\"; did you mean efConstruction?"},
        {"eff=9", "index TEST: no parameter \"eff\"; did you mean ef?"},
        {"zzzzzzzzzz=9", "index TEST: no parameter \"zzzzzzzzzz\"; there are M, efConstruction, refine, refine_type, "
                         "recall"},
        {"M", "index TEST: parameters, character 2: expected \"=\" and a value, found \"\""},
        {"M=", "index TEST: parameters, character 3: expected a number or a word, found \"\""},
        {"M=3 4", "index TEST: parameters, character 5: expected a comma, found \"4\""},
        {"M=3,", "index TEST: parameters, character 5: expected a parameter after the comma, found \"\""},
        {",", "index TEST: parameters, character 1: expected a parameter's name, found \",\""},
        {"{\"M\": 3", "index TEST: parameters, character 8: expected \"}\", found \"\""},
        {"{\"M\": 3} x", "index TEST: parameters, character 10: expected nothing more, found \"x\""},
        {"M=3}", "index TEST: parameters, character 4: expected a parameter's name, found \"}\""},
        {"{\"M\": [3]}", "index TEST: parameters, character 7: expected a number or a word, found \"[3]}\""},
        {"{\"M\": \"3}", "index TEST: parameters, character 8: expected a number or a word, found \"3}\""},
        {"{\"M\\u0041\": 3}", "index TEST: parameters, character 11: expected a parameter's name, found \": 3}\""},
    };
    struct params params;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(cases[i].text, &params), VECDB_ERR_INVALID);
        assert_string_equal(error_last()->message, cases[i].message);
    }
    /* A table without names of its own says those that are passed over. */
    assert_int_equal(params_parse("search", &(struct param_spec)PARAM_END, build_specs, "zzzzzzzzzz=9", &params), VECDB_ERR_INVALID);
    assert_string_equal(error_last()->message,
                        "search: no parameter \"zzzzzzzzzz\"; there are M, efConstruction, refine, refine_type, recall");
}

static void survives_any_bytes(void **state)
{
    static const char alphabet[] = "M=ef{}\":,.19-+e \\'[]refine\x80\xff\n\t";
    struct params params;
    uint32_t seed = 1;

    for (int round = 0; round < 20000; round++) {
        char text[24];
        size_t n = (size_t)round % (sizeof text - 1);
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            text[i] = alphabet[(seed >> 16) % (sizeof alphabet - 1)];
        }
        text[n] = '\0';
        vecdb_status status = parse(text, &params);
        assert_true(status == VECDB_OK || status == VECDB_ERR_INVALID);
        for (size_t i = 0; build_specs[i].name; i++)
            assert_true(params.values[i] >= build_specs[i].low && params.values[i] <= build_specs[i].high);
    }
}

static void prints_what_parse_reads(void **state)
{
    struct params params, again;
    struct buf out = {0};

    assert_int_equal(parse("M=24, refine_type=fp16, recall=0.975", &params), VECDB_OK);
    assert_int_equal(params_print(&params, &out), VECDB_OK);
    assert_int_equal(buf_append(&out, "", 1), VECDB_OK);
    assert_string_equal((char *)out.data, "{\"M\": 24, \"efConstruction\": 200, \"refine\": \"false\", \"refine_type\": "
                                          "\"fp16\", \"recall\": 0.975}");
    assert_int_equal(parse((char *)out.data, &again), VECDB_OK);
    assert_memory_equal(params.values, again.values, sizeof params.values);
    buf_deinit(&out);
}

static void every_kind_has_sound_tables(void **state)
{
    size_t kinds = 0;

    for (const struct index_ops *ops; (ops = index_at(kinds)); kinds++) {
        assert_ptr_equal(index_find(ops->name), ops);
        assert_true(ops->types != 0 && ops->format > 0);
        for (int table = 0; table < 2; table++) {
            const struct param_spec *spec = table ? ops->search_params : ops->build_params;
            size_t n = 0;
            for (; spec[n].name; n++) {
                assert_true(spec[n].low <= spec[n].high);
                assert_non_null(spec[n].meaning);
                for (size_t j = 0; j < n; j++)
                    assert_string_not_equal(spec[n].name, spec[j].name);
            }
            assert_true(n <= PARAMS_MAX);
        }
    }
    assert_true(kinds >= 2);
    assert_null(index_find("NO_SUCH_KIND"));
    assert_non_null(index_find("flat"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_lists_and_json),    cmocka_unit_test(defaults_when_nothing_is_given),
        cmocka_unit_test(says_what_is_wrong),      cmocka_unit_test(survives_any_bytes),
        cmocka_unit_test(prints_what_parse_reads), cmocka_unit_test(every_kind_has_sound_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
