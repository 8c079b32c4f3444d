/* The examples of docs/filter.md find what the page says. */
#include "base/bitmap.h"
#include "support/filter_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE "docs/filter.md"

/* As the table on the page has them. */
static const char schema[] =
    "{\"dynamic\": true, \"fields\": [{\"name\": \"id\", \"type\": \"INT64\", \"primary\": true},"
    "{\"name\": \"year\", \"type\": \"INT32\", \"nullable\": true}, {\"name\": \"price\", \"type\": \"FLOAT\"},"
    "{\"name\": \"rating\", \"type\": \"DOUBLE\", \"nullable\": true}, {\"name\": \"sold\", \"type\": \"BOOL\", \"nullable\": true},"
    "{\"name\": \"title\", \"type\": \"VARCHAR\", \"nullable\": true},"
    "{\"name\": \"tags\", \"type\": \"ARRAY\", \"element\": \"VARCHAR\", \"nullable\": true},"
    "{\"name\": \"marks\", \"type\": \"ARRAY\", \"element\": \"INT32\", \"nullable\": true},"
    "{\"name\": \"meta\", \"type\": \"JSON\", \"nullable\": true}]}";
static const char rows[] =
    "[{\"id\": 1, \"year\": 1999, \"price\": 0.1, \"rating\": 8.5, \"sold\": true, \"title\": \"The Matrix\","
    "  \"tags\": [\"scifi\", \"action\"], \"marks\": [9, 7, 8],"
    "  \"meta\": {\"lang\": \"en\", \"runtime\": 136, \"cast\": [\"Reeves\", \"Moss\"]}, \"color\": \"green\"},"
    " {\"id\": 2, \"year\": 2001, \"price\": 5, \"rating\": 8, \"sold\": false, \"title\": \"Am\xC3\xA9lie\","
    "  \"tags\": [\"comedy\"], \"marks\": [], \"meta\": {\"lang\": \"fr\", \"runtime\": 122.5, \"awards\": {\"cesar\": 4}},"
    "  \"color\": \"red\", \"size\": 7},"
    " {\"id\": 3, \"price\": 12.5, \"title\": \"100% Wolf\"},"
    " {\"id\": 4, \"year\": 2017, \"price\": 20, \"rating\": -1, \"sold\": true, \"title\": \"It's_a_trap\","
    "  \"tags\": [\"action\", \"scifi\", \"war\"], \"marks\": [7],"
    "  \"meta\": {\"lang\": null, \"runtime\": \"long\", \"cast\": []}, \"color\": 3},"
    " {\"id\": 5, \"year\": 1954, \"price\": 7.25, \"rating\": 9.25, \"sold\": false, \"tags\": [], \"marks\": [10, 10],"
    "  \"meta\": {\"big\": 9007199254740993, \"ok\": true, \"list\": [1, \"a\", [2, 3]]}, \"size\": 9.5}]";

static void check(struct test_table *table, const char *text, const char *expected)
{
    char found[500] = "";
    uint64_t bits[1];

    if (test_table_match(table, text, NULL, false, bits) != VECDB_OK) {
        if (strncmp(expected, "error ", 6) != 0 || !strstr(error_last()->message, expected + 6))
            fail_msg("%s\n  page  %s\n  found %s", text, expected, error_last()->message);
        return;
    }
    for (unsigned row = 0; row < 5; row++)
        if (bitmap_get(bits, row))
            snprintf(found + strlen(found), 4, "%s%c", found[0] ? " " : "", '1' + row);
    if (strcmp(found, expected) != 0)
        fail_msg("%s\n  page  %s\n  found %s", text, expected, found);
}

static void test_examples(void **state)
{
    FILE *page = fopen(PAGE, "r");
    struct test_table *table;
    bool inside = false;
    size_t examples = 0;
    char line[1000];

    if (!page)
        fail_msg("%s is not there: run from the top of the tree", PAGE);
    if (test_table_create(schema, rows, 64, &table) != VECDB_OK)
        fail_msg("%s", error_last()->message);
    while (fgets(line, sizeof line, page)) {
        char *arrow = strstr(line, "->"), *end = line + strlen(line);

        while (end > line && (end[-1] == '\n' || end[-1] == ' '))
            *--end = '\0';
        if (strncmp(line, "```", 3) == 0) {
            inside = strcmp(line, "```filter") == 0;
            continue;
        }
        if (!inside)
            continue;
        if (!arrow)
            fail_msg("no -> in the example %s", line);
        *arrow = '\0';
        for (end = arrow; end > line && end[-1] == ' ';)
            *--end = '\0';
        arrow += 2;
        check(table, line, arrow + strspn(arrow, " "));
        examples++;
    }
    fclose(page);
    test_table_free(table);
    assert_true(examples > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_examples)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
