/* Batches of rows: bytes that are no batch, and columns that are not what they say. */
#include "base/bytes.h"
#include "base/mem.h"
#include "schema/rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define ROWS 3

static struct schema *make_schema(vecdb_type type, vecdb_type element_type, bool dynamic)
{
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {
        {.name = "key", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2},
        {.name = "value", .type = type, .element_type = element_type, .max_length = 1000, .max_capacity = 100},
    };
    struct schema *made = NULL;

    schema.name = "rows";
    schema.fields = fields;
    schema.field_count = 3;
    schema.dynamic = dynamic;
    assert_int_equal(schema_create(&schema, &made), VECDB_OK);
    return made;
}

static vecdb_status read_batch(const struct schema *schema, vecdb_column *value, struct rows *rows)
{
    static const int64_t keys[ROWS] = {1, 2, 3};
    static const float vectors[ROWS * 2] = {1, 2, 3, 4, 5, 6};
    vecdb_column columns[3] = {
        {.field = "key", .type = VECDB_TYPE_INT64, .data = keys},
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2, .data = vectors},
    };
    vecdb_batch batch = VECDB_BATCH_INIT;
    uint64_t bad_row;

    columns[2] = *value;
    batch.columns = columns;
    batch.column_count = 3;
    batch.row_count = ROWS;
    return rows_from_batch(schema, &batch, 1, false, rows, &bad_row);
}

/* The encoded batch at the end of memory: whoever reads behind it is stopped. */
static uint8_t *at_the_edge(const struct buf *bytes, void **mapped, size_t *mapped_size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = (bytes->size + page - 1) / page * page;
    uint8_t *memory = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(memory, MAP_FAILED);
    assert_int_equal(mprotect(memory + size, page, PROT_NONE), 0);
    *mapped = memory;
    *mapped_size = size + page;
    return memcpy(memory + size - bytes->size, bytes->data, bytes->size);
}

static void check_offsets(vecdb_type type, vecdb_type element_type, const void *data, const uint64_t *offsets)
{
    struct schema *schema = make_schema(type, element_type, false);
    vecdb_column value = {.field = "value", .type = type, .element_type = element_type, .data = data, .offsets = offsets};
    static const uint32_t wrong[] = {100000, UINT32_MAX, 0x7FFFFFFF, 1u << 24};
    struct buf bytes = {0};
    struct rows rows;
    size_t mapped_size, at = 0;
    uint32_t found[ROWS + 1];
    void *mapped;
    uint8_t *edge;

    assert_int_equal(read_batch(schema, &value, &rows), VECDB_OK);
    assert_int_equal(rows_encode(&rows, &bytes), VECDB_OK);
    memcpy(found, rows.columns[2].offsets, sizeof found);
    rows_deinit(&rows);
    edge = at_the_edge(&bytes, &mapped, &mapped_size);
    assert_int_equal(rows_decode(schema, edge, bytes.size, &rows), VECDB_OK);
    assert_int_equal(rows.row_count, ROWS);
    rows_deinit(&rows);
    while (memcmp(edge + at, found, sizeof found) != 0)
        at += 4;
    for (size_t i = 0; i <= ROWS; i++)
        for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
            if (wrong[w] == found[i])
                continue;
            store_u32(edge + at + 4 * i, wrong[w]);
            assert_int_equal(rows_decode(schema, edge, bytes.size, &rows), VECDB_ERR_CORRUPT);
            assert_null(rows.columns);
            store_u32(edge + at + 4 * i, found[i]);
        }
    assert_int_equal(munmap(mapped, mapped_size), 0);
    buf_deinit(&bytes);
    schema_free(schema);
}

static void offsets_are_checked_before_they_are_followed(void **state)
{
    static const vecdb_string texts[ROWS] = {{"{\"a\": [1, 2]}", 13}, {"7", 1}, {"\"text\"", 6}};
    static const int32_t elements[6] = {1, 2, 3, 4, 5, 6};
    static const vecdb_sparse values[4] = {{3, 1}, {7, 2}, {8, 3}, {9, 4}}; /* they ascend on beyond their rows */
    static const uint64_t of_elements[ROWS + 1] = {0, 2, 3, 6}, of_values[ROWS + 1] = {0, 2, 3, 4};

    (void)state;
    check_offsets(VECDB_TYPE_JSON, 0, texts, NULL);
    check_offsets(VECDB_TYPE_VARCHAR, 0, texts, NULL);
    check_offsets(VECDB_TYPE_ARRAY, VECDB_TYPE_INT32, elements, of_elements);
    check_offsets(VECDB_TYPE_SPARSE_FLOAT_VECTOR, 0, values, of_values);
}

/* Looked at before anything has been checked: roughly right, and nothing is followed that need not be there. */
static void about_how_large_a_batch_is(void **state)
{
    static const uint64_t offsets[ROWS + 1] = {100, 200, 300, 1100};
    vecdb_column columns[3] = {
        {.field = "key", .type = VECDB_TYPE_INT64, .offsets = (const uint64_t *)8}, /* means nothing here, and is not there */
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 50},
        {.field = "value", .type = VECDB_TYPE_VARCHAR, .offsets = offsets},
    };
    vecdb_batch batch = VECDB_BATCH_INIT;

    assert_int_equal(rows_batch_bytes(&batch), 0);
    batch.column_count = 3;
    batch.row_count = ROWS;
    assert_int_equal(rows_batch_bytes(&batch), 0);
    batch.columns = columns;
    assert_int_equal(rows_batch_bytes(&batch), ROWS * 8 + ROWS * 200 + 1000);
    batch.column_size = 3;
    assert_int_equal(rows_batch_bytes(&batch), 0);
}

static void meta_takes_json_only(void **state)
{
    struct schema *schema = make_schema(VECDB_TYPE_BOOL, 0, true);
    static const uint8_t values[ROWS * 16] = {1};
    static const int64_t keys[ROWS] = {1, 2, 3};
    static const float vectors[ROWS * 2] = {1, 2, 3, 4, 5, 6};
    static const vecdb_type types[] = {VECDB_TYPE_INT64, VECDB_TYPE_BOOL, VECDB_TYPE_DOUBLE, VECDB_TYPE_FLOAT_VECTOR,
                                       VECDB_TYPE_ARRAY, 0, 250};
    static const vecdb_string metas[ROWS] = {{"{\"a\": 1}", 8}, {"{}", 2}, {"{\"b\": null}", 11}};
    vecdb_batch batch = VECDB_BATCH_INIT;
    struct rows rows;
    uint64_t bad_row;

    (void)state;
    vecdb_column columns[4] = {
        {.field = "key", .type = VECDB_TYPE_INT64, .data = keys},
        {.field = "value", .type = VECDB_TYPE_BOOL, .data = values},
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2, .data = vectors},
        {.field = "$meta", .type = VECDB_TYPE_JSON, .data = metas},
    };
    batch.columns = columns;
    batch.column_count = 4;
    batch.row_count = ROWS;
    assert_int_equal(rows_from_batch(schema, &batch, 1, false, &rows, &bad_row), VECDB_OK);
    rows_deinit(&rows);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) { /* numbers must not pass for pointers to text */
        columns[3].type = types[i];
        columns[3].data = values;
        assert_int_equal(rows_from_batch(schema, &batch, 1, false, &rows, &bad_row), VECDB_ERR_TYPE);
        assert_non_null(strstr(error_last()->message, "$meta"));
    }
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_are_checked_before_they_are_followed),
        cmocka_unit_test(about_how_large_a_batch_is),
        cmocka_unit_test(meta_takes_json_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
