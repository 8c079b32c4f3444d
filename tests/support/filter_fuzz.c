#include "fuzz/filter.h"

#include "base/mem.h"
#include "schema/json.h"

#include <stdio.h>
#include <stdlib.h>

static const char schema[] =
    "{\"dynamic\": true, \"fields\": [{\"name\": \"id\", \"type\": \"INT64\", \"primary\": true},"
    "{\"name\": \"i\", \"type\": \"INT16\", \"nullable\": true}, {\"name\": \"f\", \"type\": \"FLOAT\"},"
    "{\"name\": \"d\", \"type\": \"DOUBLE\", \"nullable\": true}, {\"name\": \"b\", \"type\": \"BOOL\", \"nullable\": true},"
    "{\"name\": \"s\", \"type\": \"VARCHAR\", \"nullable\": true}, {\"name\": \"a\", \"type\": \"ARRAY\", \"element\": \"INT32\"},"
    "{\"name\": \"t\", \"type\": \"ARRAY\", \"element\": \"VARCHAR\", \"nullable\": true},"
    "{\"name\": \"j\", \"type\": \"JSON\", \"nullable\": true}]}";

struct test_table *filter_fuzz_table(void)
{
    static const char *const texts[] = {"", "a", "ab", "b%", "a_c", "\xC3\xA9", "\xE6\x97\xA5\xE6\x9C\xAC", "xyz"};
    static const char *const values[] = {"1", "1.5", "true", "\"a\"", "null", "[1, \"a\", [2]]", "{\"k\": 2}", "-3"};
    struct test_table *table;
    struct buf rows = {0};
    bool made = buf_append_text(&rows, "[") == VECDB_OK;

    for (int i = 0; i < 100 && made; i++) {
        made = buf_printf(&rows, "%s{\"id\": %d, \"f\": %g, \"a\": [%d, %d], \"dk\": %s", i ? "," : "", i, i / 4.0, i % 3, i % 5,
                          values[i / 3 % 8]) == VECDB_OK;
        if (i % 6)
            made = made && buf_printf(&rows, ", \"i\": %d, \"d\": %g, \"b\": %s, \"s\": \"%s\", \"t\": [\"%s\", \"a\"]", i % 9 - 4,
                                      i / 7.0, i % 2 ? "true" : "false", texts[i % 8], texts[i / 2 % 8]) == VECDB_OK;
        if (i % 5)
            made = made && buf_printf(&rows, ", \"j\": {\"a\": %s, \"l\": [%s, %s]}", values[i % 8], values[i / 8 % 8],
                                      values[i / 4 % 8]) == VECDB_OK;
        made = made && buf_append_text(&rows, "}") == VECDB_OK;
    }
    if (!made || buf_append(&rows, "]", 2) != VECDB_OK ||
        test_table_create(schema, (char *)rows.data, 64, &table) != VECDB_OK ||
        test_table_add_index(table, "id", "STL_SORT", NULL) != VECDB_OK ||
        test_table_add_index(table, "i", "BITMAP", NULL) != VECDB_OK ||
        test_table_add_index(table, "d", "INVERTED", NULL) != VECDB_OK ||
        test_table_add_index(table, "s", "INVERTED", NULL) != VECDB_OK ||
        test_table_add_index(table, "s", "NGRAM", "{\"min_gram\": 1, \"max_gram\": 2}") != VECDB_OK ||
        test_table_add_index(table, "t", "INVERTED", NULL) != VECDB_OK ||
        test_table_add_index(table, "j", "INVERTED", "{\"json_path\": \"j['a']\"}") != VECDB_OK ||
        test_table_add_index(table, "$meta", "INVERTED", "{\"json_path\": \"dk\"}") != VECDB_OK) {
        fprintf(stderr, "%s\n", error_last()->message);
        abort();
    }
    buf_deinit(&rows);
    return table;
}

bool filter_fuzz_one(struct test_table *table, const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t length = zero ? (size_t)(zero - data) : size;
    char *text = malloc(length + 1), *params = zero ? strndup((const char *)zero + 1, size - length - 1) : NULL;
    uint64_t plain[2], indexed[2];
    vecdb_status status;

    if (!text)
        abort();
    memcpy(text, data, length);
    text[length] = '\0';
    status = test_table_match(table, text, params, true, plain);
    if (status == VECDB_OK) {
        struct filter_source source = test_table_source(table, false);
        struct filter *filter;
        struct buf out = {0}, form = {0};

        if (test_table_match(table, text, params, false, indexed) != VECDB_OK || memcmp(plain, indexed, sizeof plain) != 0)
            abort();
        if (filter_compile(test_table_schema(table), text, length, params, &filter) != VECDB_OK ||
            filter_explain(filter, &source, NULL, &out) != VECDB_OK ||
            json_parse((const char *)out.data, out.size, &form) != VECDB_OK)
            abort();
        buf_deinit(&out);
        buf_deinit(&form);
        filter_free(filter);
    } else if (!error_last()->message[0] || status > 0) {
        abort();
    }
    free(text);
    free(params);
    return status == VECDB_OK;
}
