/* Pages of values: round trips, hostile entries and bytes, what counts as a value. */
#include "base/mem.h"
#include "base/rng.h"
#include "storage/block.h"
#include "support/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void fill(struct rng *rng, int kind, uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = kind == 0 ? 'x' : kind == 1 ? (uint8_t)rng_next(rng) : (uint8_t)"the quick brown fox "[i % 20];
}

static void test_round_trip(void **state)
{
    static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 100, 4096, 65536, 1000000};
    struct rng rng = rng_seeded(sample_seed(1));
    struct buf out = {0};

    for (int kind = 0; kind < 3; kind++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            size_t size = sizes[s], before = out.size;
            uint8_t *values = mem_alloc(size + 1), *back = mem_alloc(size + 1), stored[BLOCK_ENTRY_SIZE];
            struct block_entry entry, again;
            fill(&rng, kind, values, size);
            assert_int_equal(block_pack(values, size, 0, &out, &entry), VECDB_OK);
            assert_int_equal(entry.offset, before);
            assert_int_equal(entry.size, size);
            assert_true(entry.stored_size <= size);
            assert_int_equal(out.size, before + entry.stored_size);
            block_store_entry(stored, &entry);
            again = block_load_entry(stored);
            assert_memory_equal(&again, &entry, sizeof entry);
            assert_int_equal(block_unpack(out.data, out.size, &entry, back), VECDB_OK);
            assert_memory_equal(values, back, size);
            if (kind == 1)
                assert_int_equal(entry.stored_size, size); /* noise is kept as it is */
            mem_free(values);
            mem_free(back);
        }
    buf_deinit(&out);
}

static void test_hostile_entries(void **state)
{
    struct buf out = {0};
    struct block_entry entry, bad;
    uint8_t values[1000], back[1000];

    memset(values, 'a', sizeof values);
    assert_int_equal(block_pack(values, sizeof values, 0, &out, &entry), VECDB_OK);
#define refused(member, value)                                                                                         \
    do {                                                                                                               \
        bad = entry;                                                                                                   \
        bad.member = (value);                                                                                          \
        assert_int_equal(block_unpack(out.data, out.size, &bad, back), VECDB_ERR_CORRUPT);                             \
    } while (0)
    refused(offset, 1);
    refused(offset, out.size + 1);
    refused(offset, UINT64_MAX);
    refused(stored_size, entry.stored_size + 1);
    refused(stored_size, entry.stored_size - 1);
    refused(stored_size, 0);
    refused(stored_size, UINT32_MAX);
    refused(size, entry.size - 1);
    refused(size, 0);
    refused(size, UINT32_MAX);
    refused(size, BLOCK_MAX_PAGE_BYTES);
    refused(checksum, entry.checksum ^ 1);
    for (size_t i = 0; i < out.size; i++) {
        out.data[i] ^= 0x10;
        assert_int_equal(block_unpack(out.data, out.size, &entry, back), VECDB_ERR_CORRUPT);
        out.data[i] ^= 0x10;
    }
    buf_deinit(&out);
}

/* What is refused by its size alone is not looked at. */
static void test_limits(void **state)
{
    struct buf out = {0};
    struct block_entry entry;
    const char *why = "";

    assert_int_equal(block_pack((const uint8_t *)"x", (size_t)BLOCK_MAX_PAGE_BYTES + 1, 0, &out, &entry), VECDB_ERR_LIMIT);
    assert_null(out.data);
    assert_false(block_value_valid(VECDB_TYPE_VARCHAR, 0, (const uint8_t *)"x", (size_t)VECDB_MAX_VARCHAR + 1, &why));
    assert_non_null(strstr(why, "longer than strings can be"));
}

static void test_sizes(void **state)
{
    uint32_t sizes[100], offsets[101];
    uint8_t narrow[400];

    for (unsigned width = 1; width <= 4; width *= 2) {
        uint32_t end = 0;
        for (uint32_t i = 0; i < 100; i++) {
            sizes[i] = i * 2 + (width == 2 ? 300 : width == 4 ? 70000 : 0);
            memcpy(narrow + i * width, &sizes[i], width);
        }
        assert_int_equal(block_size_width(sizes[99]), width);
        block_offsets(narrow, width, 10, 90, offsets);
        for (size_t i = 0; i < 90; i++) {
            assert_int_equal(offsets[i], end);
            assert_int_equal(block_size_at(narrow, width, 10 + i), sizes[10 + i]);
            end += sizes[10 + i];
        }
        assert_int_equal(offsets[90], end);
        assert_int_equal(block_sum_sizes(narrow, width, 10, 90), end);
    }
}

static void test_page_rows(void **state)
{
    uint32_t sizes[1024];

    for (int i = 0; i < 1024; i++)
        sizes[i] = 100;
    assert_int_equal(block_choose_page_rows(sizes, 1024, 16384, 1024), 128);
    assert_int_equal(block_choose_page_rows(sizes, 1024, 16384, 64), 64);
    assert_int_equal(block_choose_page_rows(sizes, 1024, 10, 1024), BLOCK_MIN_PAGE_ROWS);
    memset(sizes, 0, sizeof sizes);
    assert_int_equal(block_choose_page_rows(sizes, 1024, 16384, 1024), 64); /* nothing to go by */
    sizes[0] = 1024;
    assert_int_equal(block_choose_page_rows(sizes, 1024, 16384, 1024), 1024);
}

static bool valid(vecdb_type type, vecdb_type element, const void *data, size_t size)
{
    const char *why = "";
    uint8_t *exact = mem_alloc(size ? size : 1); /* so that a read outside shows under ASan */
    bool result;

    memcpy(exact, data, size);
    result = block_value_valid(type, element, exact, size, &why);
    mem_free(exact);
    if (!result)
        assert_true(strlen(why) > 10);
    return result;
}

static void test_values(void **state)
{
    static const uint8_t words[] = {2, 0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 'a', 0xC3, 0xA9};
    uint8_t bad[sizeof words];

    assert_true(valid(VECDB_TYPE_VARCHAR, 0, "", 0));
    assert_true(valid(VECDB_TYPE_VARCHAR, 0, "a\0b", 3));
    assert_false(valid(VECDB_TYPE_VARCHAR, 0, "\xC3", 1));
    assert_true(valid(VECDB_TYPE_JSON, 0, "\0", 1)); /* null */
    assert_false(valid(VECDB_TYPE_JSON, 0, "", 0));
    assert_false(valid(VECDB_TYPE_JSON, 0, "\7", 1));
    assert_true(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_INT32, "12345678", 8));
    assert_true(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_INT32, "", 0));
    assert_false(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_INT32, "1234567", 7));
    assert_true(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_BOOL, "\0\1", 2));
    assert_false(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_BOOL, "\0\2", 2));
    assert_false(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_JSON, "", 0));
    assert_false(valid(VECDB_TYPE_INT64, 0, "12345678", 8));
    assert_true(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_VARCHAR, words, sizeof words));
    for (size_t size = 0; size < sizeof words; size++)
        assert_false(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_VARCHAR, words, size));
    for (size_t i = 0; i < 12; i++) { /* any other count or end */
        memcpy(bad, words, sizeof words);
        bad[i] ^= 0x41;
        assert_false(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_VARCHAR, bad, sizeof bad));
    }
    memcpy(bad, words, sizeof words);
    bad[4] = 2; /* cuts a character in two */
    assert_false(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_VARCHAR, bad, sizeof bad));
    bad[4] = 3, bad[8] = 2; /* ends go back */
    assert_false(valid(VECDB_TYPE_ARRAY, VECDB_TYPE_VARCHAR, bad, sizeof bad));
}

/* Any bytes at all as a value or as a page: an answer, no crash. */
static void test_noise(void **state)
{
    struct rng rng = rng_seeded(sample_seed(2));
    static const vecdb_type types[] = {VECDB_TYPE_VARCHAR, VECDB_TYPE_JSON, VECDB_TYPE_ARRAY};
    size_t valid_count = 0;

    for (int round = 0; round < 50000; round++) {
        size_t size = rng_below(&rng, 40);
        uint8_t bytes[40], out[100];
        struct block_entry entry;
        for (size_t i = 0; i < size; i++)
            bytes[i] = rng_below(&rng, 3) ? (uint8_t)rng_below(&rng, 8) : (uint8_t)rng_next(&rng);
        valid_count += valid(types[round % 3], rng_below(&rng, 2) ? VECDB_TYPE_VARCHAR : VECDB_TYPE_BOOL, bytes, size);
        entry = (struct block_entry){0, (uint32_t)size, (uint32_t)(size + rng_below(&rng, 60)), 0};
        assert_int_not_equal(block_unpack(bytes, size, &entry, out), VECDB_ERR_NOMEM);
    }
    assert_true(valid_count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_hostile_entries), cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_page_rows),  cmocka_unit_test(test_values),          cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
