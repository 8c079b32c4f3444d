/* What tests/python/test_filter_oracle.py talks to. A line in, a line out:
 *   {"schema": {...}, "rows": [...], "block": 64, "indexes": [["field", "kind", {...}], ...]}   a new table: "ok"
 *   {"filter": "...", "params": {...}}              a 0 or 1 per row, or "!" and the message
 * Every filter is run plainly, and with statistics and indexes; if they differ the line is "?" and both. */
#include "base/mem.h"
#include "schema/json.h"
#include "support/filter_rows.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *as_text(struct json object, const char *key)
{
    struct json value = json_member(object, key, strlen(key));
    struct buf out = {0};
    size_t length;
    const char *text;

    if (!json_exists(value) || json_kind(value) == JSON_NULL)
        return NULL;
    if (json_kind(value) == JSON_STRING) {
        text = json_string(value, &length);
        if (buf_append(&out, text, length) != VECDB_OK)
            abort();
    } else if (json_print(value, &out) != VECDB_OK) {
        abort();
    }
    return buf_take_text(&out);
}

static void print_bits(const uint64_t *bits, size_t count)
{
    for (size_t i = 0; i < count; i++)
        putchar(bitmap_get(bits, i) ? '1' : '0');
}

static void add_indexes(struct test_table *table, struct json list)
{
    for (size_t i = 0; json_exists(list) && i < json_count(list); i++) {
        size_t length, kind_length;
        const char *field = json_string(json_at(json_at(list, i), 0), &length);
        const char *kind = json_string(json_at(json_at(list, i), 1), &kind_length);
        struct buf params = {0};
        char name[64], what[64], *text;

        snprintf(name, sizeof name, "%.*s", (int)length, field);
        snprintf(what, sizeof what, "%.*s", (int)kind_length, kind);
        if (json_print(json_at(json_at(list, i), 2), &params) != VECDB_OK || !(text = buf_take_text(&params)))
            abort();
        if (test_table_add_index(table, name, what, text) != VECDB_OK) {
            fprintf(stderr, "index %s on %s: %s\n", what, name, error_last()->message);
            exit(1);
        }
        mem_free(text);
    }
}

int main(void)
{
    struct test_table *table = NULL;
    uint64_t *bits = NULL, *again = NULL;
    struct buf parsed = {0};
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;

    while ((length = getline(&line, &capacity, stdin)) > 0) {
        struct json message;
        char *schema, *rows, *filter, *params;

        parsed.size = 0;
        if (json_parse(line, (size_t)length, &parsed) != VECDB_OK) {
            printf("!%s\n", error_last()->message);
            continue;
        }
        message = (struct json){parsed.data, parsed.size};
        if ((schema = as_text(message, "schema")) != NULL) {
            struct json block = json_member(message, "block", 5);

            rows = as_text(message, "rows");
            test_table_free(table);
            if (test_table_create(schema, rows, json_exists(block) ? (size_t)json_int(block) : 64, &table) != VECDB_OK) {
                fprintf(stderr, "%s\n", error_last()->message);
                return 1;
            }
            bits = realloc(bits, bitmap_words(test_table_rows(table)) * 8 + 8);
            again = realloc(again, bitmap_words(test_table_rows(table)) * 8 + 8);
            add_indexes(table, json_member(message, "indexes", 7));
            puts("ok");
            mem_free(schema);
            mem_free(rows);
        } else {
            size_t count = test_table_rows(table);

            filter = as_text(message, "filter");
            params = as_text(message, "params");
            if (test_table_match(table, filter, params, true, bits) != VECDB_OK ||
                test_table_match(table, filter, params, false, again) != VECDB_OK) {
                printf("!%s\n", error_last()->message);
            } else if (memcmp(bits, again, bitmap_words(count) * 8) != 0) {
                printf("?");
                print_bits(bits, count);
                printf(" ");
                print_bits(again, count);
                printf("\n");
            } else {
                print_bits(bits, count);
                printf("\n");
            }
            mem_free(filter);
            mem_free(params);
        }
        fflush(stdout);
    }
    test_table_free(table);
    buf_deinit(&parsed);
    free(line);
    free(bits);
    free(again);
    return 0;
}
