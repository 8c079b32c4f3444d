/* Sorting and finding keys, against plain scans; the filter never denies a key that is there. */
#include "base/mem.h"
#include "base/rng.h"
#include "storage/key_index.h"
#include "support/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t draw(struct rng *rng, int kind, size_t i)
{
    switch (kind) {
    case 0:
        return rng_next(rng); /* spread evenly */
    case 1:
        return i; /* one after another */
    case 2:
        return rng_below(rng, 100); /* many equal */
    case 3:
        return 1ull << rng_below(rng, 64); /* worst for guessing by proportion */
    case 4:
        return rng_below(rng, 2) ? rng_below(rng, 1000) : UINT64_MAX - rng_below(rng, 1000);
    default:
        return (uint64_t)((int64_t)rng_below(rng, 2000) - 1000); /* around zero, signed */
    }
}

static void test_sort_and_find(void **state)
{
    struct rng rng = rng_seeded(sample_seed(1));

    for (int round = 0; round < 300; round++) {
        size_t n = rng_below(&rng, round % 10 ? 60 : 5000);
        uint64_t flip = round % 2 ? KEY_FLIP_SIGNED : KEY_FLIP_NONE;
        uint64_t *keys = mem_array_alloc(n + 1, 8), *original = mem_array_alloc(n + 1, 8);
        uint32_t *rows = mem_array_alloc(n + 1, 4);
        for (size_t i = 0; i < n; i++) {
            original[i] = keys[i] = draw(&rng, round % 6, i);
            rows[i] = (uint32_t)i;
        }
        assert_int_equal(key_sort(keys, rows, n, flip), VECDB_OK);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(keys[i], original[rows[i]]);
            if (i) {
                assert_true((keys[i - 1] ^ flip) <= (keys[i] ^ flip));
                assert_true(keys[i - 1] != keys[i] || rows[i - 1] < rows[i]);
            }
        }
        for (int probe = 0; probe < 200; probe++) {
            uint64_t key = n && probe % 2 ? keys[rng_below(&rng, n)] + rng_below(&rng, 3) - 1 : draw(&rng, round % 6, 7);
            size_t expected = 0;
            while (expected < n && (keys[expected] ^ flip) < (key ^ flip))
                expected++;
            assert_int_equal(key_lower_bound(keys, n, key, flip), expected);
        }
        mem_free(keys);
        mem_free(original);
        mem_free(rows);
    }
}

/* Keys from a damaged file may be in no order: any answer, but within bounds. */
static void test_unsorted_is_harmless(void **state)
{
    struct rng rng = rng_seeded(sample_seed(2));

    for (int round = 0; round < 2000; round++) {
        size_t n = rng_below(&rng, 300);
        uint64_t *keys = mem_array_alloc(n + 1, 8); /* its own block, so that a read outside shows under ASan */
        for (size_t i = 0; i < n; i++)
            keys[i] = draw(&rng, round % 6, i);
        assert_true(key_lower_bound(keys, n, draw(&rng, round % 6, 3), round % 2 ? KEY_FLIP_SIGNED : 0) <= n);
        mem_free(keys);
    }
}

static void test_filter(void **state)
{
    static const size_t counts[] = {0, 1, 24, 25, 26, 1000, 100000};

    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        size_t n = counts[c], blocks = key_filter_blocks(n), passed = 0;
        uint8_t *filter = mem_zalloc(blocks * KEY_FILTER_BLOCK + 1);
        char text[32];
        for (size_t i = 0; i < n; i++) {
            int length = snprintf(text, sizeof text, "k%zu", i);
            key_filter_add(filter, blocks,
                           i % 2 ? key_hash_int64((int64_t)i) : key_hash_text(text, (size_t)length));
        }
        for (size_t i = 0; i < n; i++) {
            int length = snprintf(text, sizeof text, "k%zu", i);
            assert_true(key_filter_test(filter, blocks,
                                        i % 2 ? key_hash_int64((int64_t)i) : key_hash_text(text, (size_t)length)));
        }
        for (size_t i = 0; i < 100000; i++)
            passed += key_filter_test(filter, blocks, key_hash_int64((int64_t)(i + 1000000)));
        if (n == 0)
            assert_int_equal(passed, 0);
        if (n == 100000)
            assert_in_range(passed, 100, 2500); /* about 1.1 % of absent keys pass */
        mem_free(filter);
    }
}

/* Hashes are in files: they stay what they are. */
static void test_hashes_stay(void **state)
{
    assert_int_equal(key_hash_int64(0), 0xe220a8397b1dcdafull);
    assert_int_equal(key_hash_int64(-1), 0xe4d971771b652c20ull);
    assert_int_equal(key_hash_text("", 0), 0x2d06800538d394c2ull);
    assert_int_equal(key_hash_text("vecdb", 5), key_hash_text("vecdb!", 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sort_and_find),
        cmocka_unit_test(test_unsorted_is_harmless),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_hashes_stay),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
