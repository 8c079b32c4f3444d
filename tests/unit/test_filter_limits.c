/* Limits, deep nesting in a small stack, no memory, damaged indexes, plans, statistics, sampling, threads. */
#include "base/bitmap.h"
#include "base/mem.h"
#include "base/rng.h"
#include "schema/json.h"
#include "support/filter_rows.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char schema[] =
    "{\"fields\": [{\"name\": \"id\", \"type\": \"INT64\", \"primary\": true},"
    "{\"name\": \"group\", \"type\": \"INT32\", \"nullable\": true}, {\"name\": \"text\", \"type\": \"VARCHAR\"},"
    "{\"name\": \"tags\", \"type\": \"ARRAY\", \"element\": \"VARCHAR\"}, {\"name\": \"json\", \"type\": \"JSON\"}]}";

static struct test_table *make_table(size_t rows)
{
    struct buf text = {0};
    struct test_table *table;

    assert_int_equal(buf_append_text(&text, "["), VECDB_OK);
    for (size_t i = 0; i < rows; i++)
        assert_int_equal(buf_printf(&text,
                                    "%s{\"id\": %zu, \"group\": %s%zu, \"text\": \"row %zu\", \"tags\": [\"a%zu\", \"b\"], "
                                    "\"json\": {\"k\": %zu, \"s\": \"x%zu\"}}",
                                    i ? "," : "", i, i % 10 == 3 ? "null, \"unused\": " : "", i / 100, i, i % 3, i % 7,
                                    i % 5),
                         VECDB_OK);
    assert_int_equal(buf_append(&text, "]", 2), VECDB_OK);
    if (test_table_create(schema, (char *)text.data, 64, &table) != VECDB_OK)
        fail_msg("%s", error_last()->message);
    buf_deinit(&text);
    return table;
}

/* A text of `count` times `part` between two others. */
static char *repeat(const char *before, const char *part, size_t count, const char *after)
{
    size_t n = strlen(part), length = strlen(before) + n * count;
    char *text = malloc(length + strlen(after) + 1);

    assert_non_null(text);
    strcpy(text, before);
    for (size_t i = 0; i < count; i++)
        memcpy(text + strlen(before) + i * n, part, n);
    strcpy(text + length, after);
    return text;
}

static vecdb_status compile(const struct test_table *table, const char *text, const char *params)
{
    struct filter *filter;
    vecdb_status status = filter_compile(test_table_schema(table), text, strlen(text), params, &filter);

    assert_true((status == VECDB_OK) == (filter != NULL));
    filter_free(filter);
    return status;
}

static void expect(const struct test_table *table, char *text, vecdb_status status, const char *message)
{
    vecdb_status found = compile(table, text, NULL);

    if (found != status || (status != VECDB_OK && !strstr(error_last()->message, message)))
        fail_msg("%.60s: status %d, \"%s\"; expected %d, \"%s\"", text, found, found ? error_last()->message : "", status,
                 message);
    free(text);
}

static char *nested(size_t depth)
{
    char *open = repeat("", "(", depth, "id == 1"), *text = repeat(open, ")", depth, "");

    free(open);
    return text;
}

static void test_limits(void **state)
{
    struct test_table *table = make_table(10);
    struct buf params = {0};

    expect(table, nested(63), VECDB_OK, "");
    expect(table, nested(64), VECDB_OK, "");
    expect(table, nested(65), VECDB_ERR_LIMIT, "column 65: nested deeper than 64");
    expect(table, repeat("", "not ", 64, "id == 1"), VECDB_OK, "");
    expect(table, repeat("", "not ", 65, "id == 1"), VECDB_ERR_LIMIT, "nested deeper than 64");
    expect(table, repeat("", "- ", 65, "id == 1"), VECDB_ERR_LIMIT, "nested deeper than 64");
    expect(table, repeat("json[\"l\"] == ", "[", 65, ""), VECDB_ERR_LIMIT, "nested deeper than 64");
    expect(table, repeat("", "array_length(", 65, "id"), VECDB_ERR_LIMIT, "nested deeper than 64");
    expect(table, repeat("id == 1", " or id == 1", 1023, ""), VECDB_OK, "");
    expect(table, repeat("id == 1", " or id == 1", 1024, ""), VECDB_ERR_LIMIT,
           "more than 4096 fields, constants and operators");
    expect(table, repeat("id", "+1", 2046, " == 1"), VECDB_OK, "");
    expect(table, repeat("id", "+1", 2048, " == 1"), VECDB_ERR_LIMIT, "more than 4096");
    expect(table, repeat("id in [1", ",1", 9999, "]"), VECDB_OK, "");
    expect(table, repeat("id in [1", ",1", 10000, "]"), VECDB_ERR_LIMIT, "more than 10000 values in a list");
    expect(table, repeat("id in [-1", ",-1", 9999, "]"), VECDB_OK, "");
    expect(table, repeat("id == 1", " ", 65536 - 7, ""), VECDB_OK, "");
    expect(table, repeat("id == 1", " ", 65536 - 6, ""), VECDB_ERR_LIMIT, "a text of 65537 bytes is longer than 65536");
    expect(table, repeat("json", "[0]", 64, " == 1"), VECDB_OK, "");
    expect(table, repeat("json", "[0]", 65, " == 1"), VECDB_ERR_LIMIT, "more than 64 subscripts");
    expect(table, repeat("text =~ '", "a", 8193, "'"), VECDB_ERR_LIMIT, "longer than 8192");
    expect(table, repeat("id ", "< id ", 4000, ""), VECDB_ERR_LIMIT, "more than 4096");

    assert_int_equal(buf_append_text(&params, "{\"l\": [0"), VECDB_OK);
    for (int i = 0; i < 1000000; i++)
        assert_int_equal(buf_append(&params, ",1", 2), VECDB_OK);
    assert_int_equal(buf_append(&params, "]}", 3), VECDB_OK);
    assert_int_equal(compile(table, "id in {l}", (char *)params.data), VECDB_ERR_LIMIT);
    assert_non_null(strstr(error_last()->message, "the list given for {l} has 1000001 values, more than 1000000"));
    buf_deinit(&params);
    test_table_free(table);
}

static void test_params(void **state)
{
    static const struct {
        const char *text, *params, *message; /* message NULL: it compiles */
    } cases[] = {
        {"id == {x}", "{\"x\": 1}", NULL},
        {"id == { x }", "{\"x\": 1, \"unused\": null}", NULL},
        {"id in {x}", "{\"x\": [1, 2]}", NULL},
        {"id in [{x}, {y}, 3]", "{\"x\": 1, \"y\": 2}", NULL},
        {"text like {x}", "{\"x\": \"a%\"}", NULL},
        {"json_contains_all(tags, {x})", "{\"x\": [\"a\"]}", NULL},
        {"id == {x}", "{\"x\": \"1\"}", "== cannot compare INT64 field id with VARCHAR constant"},
        {"id == {x}", "{\"y\": 1}", "column 7: no value is given for {x}"},
        {"id == {x}", "{\"x\": null}", "the value given for {x} is null"},
        {"id == {x}", "{\"x\": {}}", "is an object"},
        {"id in {x}", "{\"x\": [1, null]}", "value 2 of the list given for {x} is null"},
        {"id in {x}", "{\"x\": 1}", "in takes a list"},
        {"id == {x}", "[1]", "filter parameters: not a JSON object"},
        {"id == {x}", "{", "filter parameters: JSON: "},
        {"group == 1 and idd == 1", NULL, "column 16: there is no field idd; did you mean id?"},
        {"grup == 1", NULL, "column 1: there is no field grup; did you mean group?"},
        {"something_else == 1", NULL, "column 1: there is no field something_else"},
        {"$meta['a'] == 1", NULL, "the collection has no dynamic fields"},
        {"id == 1 and\ngrup == 1", NULL, "filter, line 2, column 1: there is no field grup"},
        {"text == '\xC3\xA9' and id = 1", NULL, "column 20: expected an operator, found ="},
    };
    struct test_table *table = make_table(10);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vecdb_status status = compile(table, cases[i].text, cases[i].params);

        if ((status == VECDB_OK) != !cases[i].message ||
            (cases[i].message && !strstr(error_last()->message, cases[i].message)))
            fail_msg("%s with %s: %s", cases[i].text, cases[i].params ? cases[i].params : "nothing",
                     status ? error_last()->message : "no error");
    }
    assert_int_equal(compile(table, "id == 1 and text == '\xFF'", NULL), VECDB_ERR_FILTER);
    assert_int_equal(compile(table, "", NULL), VECDB_OK);
    assert_int_equal(compile(table, " \n\t", NULL), VECDB_OK);
    test_table_free(table);
}

/* ---- A small stack ---- */

static void *refuse_depth(void *context)
{
    static const char *const openers[] = {"(", "not ", "[", "-", "!", "~", "exists ", "json_contains(", "id == (", "{", "json[",
                                          "id + (", "'\\", "1 ** -"};
    const struct schema *of = context;
    struct filter *filter;

    for (size_t i = 0; i < sizeof openers / sizeof *openers; i++) {
        /* the text limit would catch a million of them before the depth limit has a chance: both are tried */
        for (size_t count = 1000; count <= 1000000; count *= 1000) {
            char *text = repeat("", openers[i], count, "id == 1");
            size_t length = strlen(text);

            if (filter_compile(of, text, length, NULL, &filter) == VECDB_OK)
                return "it compiled";
            if (length > 65536 && filter_compile(of, text, 65536, NULL, &filter) == VECDB_OK)
                return "it compiled";
            free(text);
        }
    }
    return NULL;
}

static void *long_chains(void *context)
{
    static const char *const chains[][2] = {
        {"id == 1", " or id == 2"}, {"id == 1", " and id == 2"}, {"id", " + id"}, {"id", " - 1"}, {"id == 1", " == true"},
        {"text == 'a'", " or (text =~ 'b' and id > 1)"}, {"2", " ** 1"},
    };
    struct test_table *table = context;
    uint64_t bits[8];

    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        char *text = repeat(chains[i][0], chains[i][1], 400, i == 2 || i == 3 || i == 6 ? " == 1" : "");

        if (test_table_match(table, text, NULL, false, bits) != VECDB_OK)
            return strdup(error_last()->message);
        free(text);
    }
    return NULL;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SMALL_STACK (1 << 20) /* the sanitizers' own data would not fit the real one */
#else
#define SMALL_STACK (64 << 10)
#endif

static void run_in_small_stack(void *(*body)(void *), void *context)
{
    pthread_attr_t attributes;
    pthread_t thread;
    void *failure;

    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, SMALL_STACK), 0);
    assert_int_equal(pthread_create(&thread, &attributes, body, context), 0);
    assert_int_equal(pthread_join(thread, &failure), 0);
    assert_int_equal(pthread_attr_destroy(&attributes), 0);
    if (failure)
        fail_msg("%s", (const char *)failure);
}

static void test_small_stack(void **state)
{
    struct test_table *table = make_table(300);

    run_in_small_stack(refuse_depth, (void *)test_table_schema(table));
    run_in_small_stack(long_chains, table);
    test_table_free(table);
}

/* ---- No memory ---- */

static size_t allocations_left;

static void *failing_alloc(size_t alignment, size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    return mem_system.alloc(alignment, size);
}

static void give_back(void *memory, size_t size) { mem_system.free(memory, size); }

static void test_no_memory(void **state)
{
    static const struct mem_table failing = {failing_alloc, give_back};
    static const char text[] = "id in [1, 2, 3, 400] and (text like 'row%' or json[\"k\"] + 1 > {x}) and text =~ 'r.w' and "
                               "not (json_contains_all(tags, [\"a1\", \"b\"]) or json[\"s\"] in ['x1', 'y', [1]])";
    struct test_table *table = make_table(200);
    const struct mem_table *before;
    uint64_t bits[4], expected[4];
    vecdb_status status = VECDB_ERR_NOMEM;

    assert_int_equal(test_table_add_index(table, "id", "STL_SORT", NULL), VECDB_OK);
    assert_int_equal(test_table_add_index(table, "text", "NGRAM", "{\"min_gram\": 2, \"max_gram\": 3}"), VECDB_OK);
    assert_int_equal(test_table_match(table, text, "{\"x\": 2}", true, expected), VECDB_OK);
    for (size_t n = 0; status != VECDB_OK; n++) {
        assert_true(n < 10000);
        allocations_left = n;
        before = mem_set_table(&failing);
        status = test_table_match(table, text, "{\"x\": 2}", false, bits);
        mem_set_table(before);
        assert_true(status == VECDB_OK || status == VECDB_ERR_NOMEM);
    }
    assert_memory_equal(bits, expected, sizeof bits);
    for (size_t n = 0, made = 0; !made; n++) {
        struct filter_source source = test_table_source(table, true);
        struct scalar_index *index;

        assert_true(n < 10000);
        allocations_left = n;
        before = mem_set_table(&failing);
        status = scalar_index_build(test_table_schema(table), 2, "AUTOINDEX", NULL, &source, &index);
        mem_set_table(before);
        assert_true(status == VECDB_OK || status == VECDB_ERR_NOMEM);
        assert_true((status == VECDB_OK) == (index != NULL));
        made = status == VECDB_OK;
        scalar_index_free(index);
    }
    test_table_free(table);
}

/* ---- Damaged indexes ---- */

static uint64_t test_seed(void)
{
    const char *text = getenv("VECDB_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 10) : 20261122;

    print_message("VECDB_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void test_damage(void **state)
{
    static const struct {
        size_t field;
        const char *kind, *params;
    } made[] = {
        {0, "STL_SORT", NULL},   {1, "BITMAP", NULL}, {2, "NGRAM", "{\"min_gram\": 2, \"max_gram\": 2}"},
        {3, "INVERTED", NULL},   {4, "INVERTED", "{\"json_path\": \"json['k']\"}"},
        {4, "INVERTED", "{\"json_path\": \"json['s']\", \"json_cast_type\": \"varchar\"}"},
    };
    struct rng rng = rng_seeded(test_seed());
    struct test_table *table = make_table(200);

    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        struct filter_source source = test_table_source(table, true);
        struct scalar_index *index, *again;
        struct buf bytes = {0};

        assert_int_equal(scalar_index_build(test_table_schema(table), made[i].field, made[i].kind, made[i].params, &source, &index),
                         VECDB_OK);
        assert_string_equal(scalar_index_kind(index), made[i].kind);
        assert_int_equal(scalar_index_save(index, &bytes), VECDB_OK);
        assert_int_equal(scalar_index_size(index), bytes.size);
        for (size_t size = 0; size < bytes.size; size += 1 + rng_below(&rng, 40))
            assert_int_equal(scalar_index_open(bytes.data, size, &again), VECDB_ERR_CORRUPT);
        for (int round = 0; round < 2000; round++) {
            size_t at = rng_below(&rng, bytes.size);
            uint8_t before = bytes.data[at];

            bytes.data[at] ^= (uint8_t)(1u << rng_below(&rng, 8));
            assert_true(scalar_index_open(bytes.data, bytes.size, &again) < 0);
            assert_null(again);
            bytes.data[at] = before;
        }
        assert_int_equal(scalar_index_open(bytes.data, bytes.size, &again), VECDB_OK);
        assert_int_equal(scalar_index_check(again), VECDB_OK);
        scalar_index_free(again);
        scalar_index_free(index);
        buf_deinit(&bytes);
    }
    test_table_free(table);
}

static void test_index_params(void **state)
{
    static const struct {
        size_t field;
        const char *kind, *params, *message;
    } cases[] = {
        {0, "HNSW", NULL, "there is no scalar index HNSW"},
        {0, "TRIE", NULL, "field id: a TRIE index does not go with INT64"},
        {3, "STL_SORT", NULL, "does not go with ARRAY"},
        {4, "BITMAP", "{\"json_path\": \"json['k']\"}", "a BITMAP index does not go with JSON"},
        {4, "INVERTED", NULL, "an index on JSON needs json_path"},
        {4, "INVERTED", "{\"json_path\": \"json[\"}", "json_path json[ is no path"},
        {4, "INVERTED", "{\"json_path\": \"other['k']\"}", "does not begin with the field json"},
        {4, "INVERTED", "{\"json_path\": \"json['k']\", \"json_cast_type\": \"int\"}", "json_cast_type int is unknown"},
        {4, "INVERTED", "{\"json_path\": \"json['k']\", \"json_cast_function\": \"STRING_TO_DOUBLE\"}", "no parameter"},
        {2, "NGRAM", NULL, "NGRAM needs min_gram and max_gram"},
        {2, "NGRAM", "{\"min_gram\": 3, \"max_gram\": 2}", "the first not larger"},
        {2, "NGRAM", "{\"min_gram\": 0, \"max_gram\": 2}", "min_gram is 0, expected 1 to 16"},
        {2, "NGRAM", "{\"min_gram\": \"x\", \"max_gram\": 2}", "min_gram is not a number"},
        {2, "INVERTED", "{\"json_path\": \"text\"}", "json_path is for JSON"},
        {2, "INVERTED", "[]", "expected name=value"},
        {5, "INVERTED", NULL, "a scalar index does not go with FLOAT_VECTOR"},
    };
    struct test_table *table = make_table(3);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(scalar_index_check_params(test_table_schema(table), cases[i].field, cases[i].kind, cases[i].params) < 0);
        if (!strstr(error_last()->message, cases[i].message))
            fail_msg("%s %s: \"%s\" lacks \"%s\"", cases[i].kind, cases[i].params ? cases[i].params : "",
                     error_last()->message, cases[i].message);
    }
    test_table_free(table);
}

/* ---- Plans, statistics ---- */

static void explain(struct test_table *table, const char *text, bool plain, const char *part)
{
    struct filter_source source = test_table_source(table, plain);
    struct filter *filter;
    struct buf out = {0}, form = {0};

    assert_int_equal(filter_compile(test_table_schema(table), text, strlen(text), NULL, &filter), VECDB_OK);
    assert_int_equal(filter_explain(filter, &source, NULL, &out), VECDB_OK);
    assert_int_equal(json_parse((char *)out.data, out.size, &form), VECDB_OK);
    assert_int_equal(buf_append(&out, "", 1), VECDB_OK);
    if (!strstr((char *)out.data, part))
        fail_msg("%s: %s lacks %s", text, (char *)out.data, part);
    out.size = 0;
    assert_int_equal(filter_explain(filter, NULL, NULL, &out), VECDB_OK);
    buf_deinit(&out);
    buf_deinit(&form);
    filter_free(filter);
}

static void test_explain(void **state)
{
    struct test_table *table = make_table(1000);

    explain(table, "", true, "\"node\": \"all rows\"");
    explain(table, "id < 5 and id > 7", true, "\"node\": \"no rows\"");
    explain(table, "id >= 100 and id < 200", true, "\"test\": \"100 <= id <= 199\", \"access\": \"scan\"");
    explain(table, "id >= 100 and id < 200", true, "\"matching_rows\": 100, \"blocks\": 16, \"blocks_skipped\": 0");
    explain(table, "id >= 100 and id < 200", false, "\"blocks_skipped\": 14");
    explain(table, "id == 1 or id == 2 or id == 4", true, "\"test\": \"id in [1, 2, 4]\"");
    explain(table, "id != 1 and id != 3", true, "\"test\": \"not id in [1, 3]\"");
    explain(table, "not (text == 'a' or json['k'] > 3)", true, "not text == \\\"a\\\"");
    explain(table, "text =~ 'r' and id == 5", true, "\"children\": [{\"node\": \"condition\", \"test\": \"id == 5\"");
    assert_int_equal(test_table_add_index(table, "id", "STL_SORT", NULL), VECDB_OK);
    assert_int_equal(test_table_add_index(table, "text", "NGRAM", "{\"min_gram\": 1, \"max_gram\": 3}"), VECDB_OK);
    explain(table, "id == 7", false, "\"access\": \"index STL_SORT\", \"estimated_rows\": 1, \"rows_in\": 1000, \"rows_out\": 1}");
    explain(table, "id == 7", false, "\"index_lookups\": 1}");
    explain(table, "text like '%99%'", false, "\"access\": \"index NGRAM, then scan\"");
    explain(table, "id > 6 and id < 9", false, "\"index_lookups\": 1}");
    explain(table, "id >= 0", false, "\"access\": \"scan\"");
    test_table_free(table);
}

static void statistics(struct test_table *table, size_t field, const char *params, const char *expected)
{
    struct filter_source source = test_table_source(table, true);
    struct buf out = {0};

    assert_int_equal(scalar_statistics(test_table_schema(table), field, params, 10, &source, NULL, 1, &out), VECDB_OK);
    assert_int_equal(buf_append(&out, "", 1), VECDB_OK);
    assert_string_equal((char *)out.data, expected);
    buf_deinit(&out);
}

static void test_statistics(void **state)
{
    struct test_table *table = make_table(500);

    statistics(table, 0, NULL, "{\"rows\": 500, \"null_count\": 0, \"distinct_count\": 500, \"min\": 0, \"max\": 499}");
    statistics(table, 1, NULL,
               "{\"rows\": 500, \"null_count\": 50, \"distinct_count\": 5, \"min\": 0, \"max\": 4, \"unique_values\": [0, 1, 2, 3, 4]}");
    statistics(table, 3, NULL,
               "{\"rows\": 500, \"null_count\": 0, \"distinct_count\": 4, \"min\": \"a0\", \"max\": \"b\", "
               "\"unique_values\": [\"a0\", \"a1\", \"a2\", \"b\"]}");
    statistics(table, 4, NULL, "{\"rows\": 500, \"null_count\": 0}");
    statistics(table, 4, "{\"json_path\": \"json['k']\"}",
               "{\"rows\": 500, \"null_count\": 0, \"distinct_count\": 7, \"min\": 0, \"max\": 6, "
               "\"unique_values\": [0, 1, 2, 3, 4, 5, 6]}");
    statistics(table, 5, NULL, "{\"rows\": 500, \"null_count\": 0}");
    test_table_free(table);
}

static void test_sample(void **state)
{
    struct test_table *table = make_table(5000);
    uint64_t one[80], two[80], three[80];
    size_t count;

    assert_int_equal(test_table_match(table, "random_sample(0.2)", NULL, true, one), VECDB_OK);
    assert_int_equal(test_table_match(table, "random_sample(0.2)", NULL, false, two), VECDB_OK);
    assert_int_equal(test_table_match(table, "id < 2500 and random_sample(0.2)", NULL, false, three), VECDB_OK);
    assert_memory_equal(one, two, bitmap_words(5000) * 8);
    count = bitmap_count(one, 5000);
    assert_in_range(count, 850, 1150); /* five deviations */
    for (size_t i = 0; i < 2500; i++)
        assert_int_equal(bitmap_get(one, i), bitmap_get(three, i));
    assert_int_equal(bitmap_next(three, 5000, 2500), 5000);
    test_table_free(table);
}

/* Only rows that are asked for come back, and a check that fails ends it. */
static vecdb_status give_up(void *context)
{
    return --*(int *)context < 0 ? error_set(VECDB_ERR_CANCELLED, "enough") : VECDB_OK;
}

static void test_rows_and_check(void **state)
{
    struct test_table *table = make_table(1000);
    struct filter_source source = test_table_source(table, true);
    struct filter_counters counters = {0};
    struct filter *filter;
    uint64_t rows[16] = {0};
    int patience = 3;

    assert_int_equal(filter_compile(test_table_schema(table), "text like '%1%' or id > 990", 27, NULL, &filter), VECDB_OK);
    bitmap_set(rows, 1);
    bitmap_set(rows, 2);
    bitmap_set(rows, 999);
    assert_int_equal(filter_eval(filter, &source, rows, &counters, NULL, NULL), VECDB_OK);
    assert_int_equal(bitmap_count(rows, 1000), 2);
    assert_true(bitmap_get(rows, 1) && bitmap_get(rows, 999));
    assert_int_equal(counters.blocks, 2);
    bitmap_fill(rows, 1000);
    assert_int_equal(filter_eval(filter, &source, rows, NULL, give_up, &patience), VECDB_ERR_CANCELLED);
    filter_free(filter);
    test_table_free(table);
}

struct job {
    struct test_table *table;
    const struct filter *filter;
    uint64_t expected[16];
};

static void *evaluate(void *context)
{
    struct job *job = context;
    struct filter_source source = test_table_source(job->table, false);
    uint64_t rows[16];

    for (int i = 0; i < 50; i++) {
        bitmap_fill(rows, 1000);
        if (filter_eval(job->filter, &source, rows, NULL, NULL, NULL) != VECDB_OK ||
            memcmp(rows, job->expected, sizeof rows) != 0)
            return "another result";
    }
    return NULL;
}

static void test_threads(void **state)
{
    static const char text[] = "text =~ '1$' and json[\"k\"] in [1, 2, 3] or array_contains_all(tags, ['a1', 'b']) and id % 7 == 1";
    struct test_table *table = make_table(1000);
    struct job job = {.table = table};
    struct filter *filter;
    pthread_t threads[4];

    assert_int_equal(test_table_add_index(table, "tags", "INVERTED", NULL), VECDB_OK);
    assert_int_equal(test_table_match(table, text, NULL, true, job.expected), VECDB_OK);
    assert_int_equal(filter_compile(test_table_schema(table), text, strlen(text), NULL, &filter), VECDB_OK);
    job.filter = filter;
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, evaluate, &job), 0);
    for (int i = 0; i < 4; i++) {
        void *failure;

        assert_int_equal(pthread_join(threads[i], &failure), 0);
        assert_null(failure);
    }
    filter_free(filter);
    test_table_free(table);
}

/* Patterns that would take for ever end, with an error or an answer. */
static void test_slow_patterns(void **state)
{
    char *as = repeat("", "a", 3000, ""), *rows = malloc(4000), *pattern = repeat("text like '", "%a", 1500, "%b'");
    struct test_table *table;
    uint64_t bits[1];

    assert_non_null(rows);
    snprintf(rows, 4000, "[{\"id\": 1, \"text\": \"%s!\", \"tags\": [], \"json\": {}}]", as);
    assert_int_equal(test_table_create(schema, rows, 64, &table), VECDB_OK);
    assert_int_equal(test_table_match(table, "text =~ '^(a|aa)+$'", NULL, true, bits), VECDB_ERR_LIMIT);
    assert_non_null(strstr(error_last()->message, "the regular expression on a text of 3001 bytes"));
    assert_int_equal(test_table_match(table, pattern, NULL, true, bits), VECDB_OK);
    assert_int_equal(bits[0], 0);
    free(as);
    free(rows);
    free(pattern);
    test_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_params),  cmocka_unit_test(test_small_stack),
        cmocka_unit_test(test_no_memory),   cmocka_unit_test(test_damage),  cmocka_unit_test(test_index_params),
        cmocka_unit_test(test_explain),     cmocka_unit_test(test_statistics), cmocka_unit_test(test_sample),
        cmocka_unit_test(test_rows_and_check), cmocka_unit_test(test_threads), cmocka_unit_test(test_slow_patterns),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
