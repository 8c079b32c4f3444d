/* Databases of formats that were released open for ever, and hold what was put there. tests/golden/<version> is one; it was
 * written by this program with VECDB_MAKE_GOLDEN=<directory> set, by the library of that version. */
#include "base/file.h"
#include "vecdb.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        vecdb_status status_ = (call);                                                                                 \
        if (status_ < 0)                                                                                               \
            fail_msg("%s: %d %s", #call, (int)status_, vecdb_last_error());                                            \
    } while (0)

static const char *const versions[] = {"0.1"};

/* Rows first .. first + 9: year missing in every third, tags as many as the key's last digit. */
static void put(vecdb_collection *films, int64_t first)
{
    int64_t ids[10];
    int32_t years[10];
    uint8_t valid[10];
    char titles[10][40], json[10][60];
    vecdb_string title[10], extra[10], tags[50];
    uint64_t tag_offsets[11] = {0};
    float vectors[10][4];
    vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
                              {.field = "year", .type = VECDB_TYPE_INT32, .data = years, .valid = valid},
                              {.field = "title", .type = VECDB_TYPE_VARCHAR, .data = title},
                              {.field = "extra", .type = VECDB_TYPE_JSON, .data = extra},
                              {.field = "tags", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_VARCHAR,
                               .data = tags, .offsets = tag_offsets},
                              {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 4, .data = vectors}};
    vecdb_batch batch = VECDB_BATCH_INIT;

    for (int i = 0; i < 10; i++) {
        ids[i] = first + i;
        years[i] = 1900 + (int)ids[i];
        valid[i] = ids[i] % 3 != 0;
        title[i].data = titles[i];
        title[i].length = (size_t)snprintf(titles[i], sizeof titles[i], "film \xC3\xA9 %d", (int)ids[i]);
        extra[i].data = json[i];
        extra[i].length = (size_t)snprintf(json[i], sizeof json[i], "{\"n\": %d, \"list\": [1, \"x\", null]}", (int)ids[i]);
        tag_offsets[i + 1] = tag_offsets[i] + (uint64_t)ids[i] % 5;
        for (uint64_t t = tag_offsets[i]; t < tag_offsets[i + 1]; t++)
            tags[t] = (vecdb_string){"tag", t % 4};
        for (int d = 0; d < 4; d++)
            vectors[i][d] = (float)ids[i] + (float)d / 4;
    }
    batch.columns = columns;
    batch.column_count = sizeof columns / sizeof *columns;
    batch.row_count = 10;
    ok(vecdb_insert(films, &batch, NULL));
}

static void make(const char *path)
{
    vecdb_field fields[] = {
        {.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "year", .type = VECDB_TYPE_INT32, .flags = VECDB_NULLABLE},
        {.name = "title", .type = VECDB_TYPE_VARCHAR, .max_length = 100},
        {.name = "extra", .type = VECDB_TYPE_JSON},
        {.name = "tags", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_VARCHAR, .max_length = 10},
        {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 4},
    };
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *films;
    vecdb_db *db;
    char lock[300];

    schema.name = "films";
    schema.fields = fields;
    schema.field_count = sizeof fields / sizeof *fields;
    ok(vecdb_open(path, NULL, &db));
    ok(vecdb_collection_create(db, &schema, &films));
    for (int64_t first = 0; first < 50; first += 10)
        put(films, first);
    ok(vecdb_flush(films)); /* a segment */
    ok(vecdb_delete_where(films, "id in [3, 13, 23]", NULL, NULL));
    put(films, 50);
    ok(vecdb_flush(films)); /* a deletion bitmap and another segment */
    put(films, 60); /* a log */
    ok(vecdb_delete_where(films, "id == 33", NULL, NULL));
    ok(vecdb_alias_set(db, "movies", "films", false));
    ok(vecdb_collection_close(&films));
    ok(vecdb_close(&db));
    snprintf(lock, sizeof lock, "%s/LOCK", path);
    unlink(lock);
}

static uint64_t count(vecdb_collection *films, const char *filter)
{
    uint64_t n;

    ok(vecdb_count(films, filter, NULL, &n));
    return n;
}

static void check(const char *path)
{
    static const char *const output[] = {"year", "title", "extra", "tags", "v"};
    vecdb_collection *films;
    vecdb_result *result;
    vecdb_query_request query = VECDB_QUERY_REQUEST_INIT;
    vecdb_column ids, years, titles, extra, tags, vectors;
    vecdb_db *db;
    char *report = NULL;
    size_t rows;

    if (vecdb_verify(path, NULL, NULL, &report) != VECDB_OK)
        fail_msg("%s: %s", path, report ? report : vecdb_last_error());
    vecdb_free(report);
    ok(vecdb_open(path, NULL, &db));
    ok(vecdb_collection_open(db, "movies", &films));
    assert_int_equal(count(films, NULL), 66);
    assert_int_equal(count(films, "id in [3, 13, 23, 33]"), 0);
    assert_int_equal(count(films, "year is null"), 22); /* 24 of 0 .. 69, less 3 and 33 */
    assert_int_equal(count(films, "extra['n'] >= 60"), 10);
    query.output_fields = output;
    query.output_count = 5;
    ok(vecdb_query(films, &query, &result));
    rows = vecdb_result_rows(result, 0, NULL);
    assert_int_equal(rows, 66);
    ok(vecdb_result_column(result, "id", &ids));
    ok(vecdb_result_column(result, "year", &years));
    ok(vecdb_result_column(result, "title", &titles));
    ok(vecdb_result_column(result, "extra", &extra));
    ok(vecdb_result_column(result, "tags", &tags));
    ok(vecdb_result_column(result, "v", &vectors));
    for (size_t i = 0; i < rows; i++) {
        int64_t id = ((const int64_t *)ids.data)[i];
        char expected[60];
        size_t length = (size_t)snprintf(expected, sizeof expected, "film \xC3\xA9 %d", (int)id);
        assert_int_equal(titles.offsets[i + 1] - titles.offsets[i], length);
        assert_memory_equal((const char *)titles.data + titles.offsets[i], expected, length);
        assert_int_equal(!years.valid || years.valid[i], id % 3 != 0);
        if (id % 3)
            assert_int_equal(((const int32_t *)years.data)[i], 1900 + id);
        assert_int_equal(tags.offsets[i + 1] - tags.offsets[i], id % 5);
        assert_true(((const float *)vectors.data)[4 * i + 1] == (float)id + 0.25f);
        length = (size_t)snprintf(expected, sizeof expected, "\"n\": %d", (int)id);
        assert_non_null(memmem((const char *)extra.data + extra.offsets[i], extra.offsets[i + 1] - extra.offsets[i],
                               expected, length));
    }
    vecdb_result_free(&result);
    ok(vecdb_optimize(films, NULL, NULL)); /* and it can be written to */
    put(films, 70);
    assert_int_equal(count(films, NULL), 76);
    ok(vecdb_collection_close(&films));
    ok(vecdb_close(&db));
}

static void test_golden(void **state)
{
    for (size_t v = 0; v < sizeof versions / sizeof *versions; v++) {
        char path[] = "/tmp/vecdb-golden-XXXXXX", command[300];
        assert_non_null(mkdtemp(path));
        snprintf(command, sizeof command, "cp tests/golden/%s/* %s/", versions[v], path);
        assert_int_equal(system(command), 0);
        check(path);
        snprintf(command, sizeof command, "rm -r %s", path);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_golden)};

    if (getenv("VECDB_MAKE_GOLDEN")) {
        make(getenv("VECDB_MAKE_GOLDEN"));
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
