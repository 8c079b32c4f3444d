/* Deletion bitmaps: versions against a plain array, pages shared, files that come back or are refused. */
#include "base/mem.h"
#include "storage/tombstones.h"
#include "support/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != VECDB_OK)                                                                                        \
            fail_msg("%s: %s", #call, error_last()->message);                                                          \
    } while (0)

static struct sample_dir dir;
static int open_dir(void **state) { return sample_dir_open(&dir), 0; }
static int close_dir(void **state) { return sample_dir_close(&dir), 0; }

static void assert_rows(const struct tombstones *version, const uint8_t *deleted, size_t row_count)
{
    uint64_t *rows = mem_array_alloc(bitmap_words(row_count) + 1, 8);
    size_t count = 0;

    bitmap_fill(rows, row_count);
    tombstones_subtract(version, rows, row_count);
    for (size_t row = 0; row < row_count; row++) {
        assert_int_equal(tombstones_get(version, row), deleted[row]);
        assert_int_equal(bitmap_get(rows, row), !deleted[row]);
        count += deleted[row];
    }
    assert_int_equal(tombstones_count(version), count);
    assert_int_equal(tombstones_count_first(version, row_count), count);
    for (int i = 0; i < 5 && row_count; i++) {
        size_t first = (size_t)i * row_count / 5, n = 0;
        for (size_t row = 0; row < first; row++)
            n += deleted[row];
        assert_int_equal(tombstones_count_first(version, first), n);
    }
    mem_free(rows);
}

static void test_versions(void **state)
{
    static const size_t counts[] = {1, 63, 64, 65, 32767, 32768, 32769, 100000};
    struct rng rng = rng_seeded(sample_seed(1));

    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        enum { VERSIONS = 12 };
        struct tombstones *versions[VERSIONS] = {NULL};
        uint8_t *states[VERSIONS];
        size_t n = counts[c];
        for (int v = 0; v < VERSIONS; v++) {
            uint32_t rows[50];
            states[v] = v ? mem_dup(states[v - 1], n) : mem_zalloc(n);
            for (int i = 0; i < 50; i++) {
                rows[i] = (uint32_t)rng_below(&rng, n);
                states[v][rows[i]] = 1;
            }
            if (v % 3 == 2) { /* as a bitmap */
                uint64_t *bits = mem_array_zalloc(bitmap_words(n), 8);
                for (int i = 0; i < 50; i++)
                    bitmap_set(bits, rows[i]);
                ok(tombstones_with_bitmap(versions[v - 1], n, bits, &versions[v]));
                mem_free(bits);
            } else {
                ok(tombstones_with(v ? versions[v - 1] : NULL, n, rows, 50, &versions[v]));
            }
        }
        for (int v = 0; v < VERSIONS; v++)
            assert_rows(versions[v], states[v], n); /* older ones stayed as they were */
        for (int v = 0; v < VERSIONS; v += 2)
            tombstones_release(versions[v]);
        for (int v = 1; v < VERSIONS; v += 2)
            assert_rows(versions[v], states[v], n);
        for (int v = 0; v < VERSIONS; v++) {
            if (v % 2)
                tombstones_release(versions[v]);
            mem_free(states[v]);
        }
    }
}

static void test_pages_are_shared(void **state)
{
    struct tombstones *a, *b;
    uint32_t rows[] = {1, 40000, 90000}, more = 40001;

    ok(tombstones_with(NULL, 100000, rows, 3, &a));
    ok(tombstones_with(a, 100000, &more, 1, &b));
    assert_ptr_equal(a->pages[0], b->pages[0]);
    assert_ptr_not_equal(a->pages[1], b->pages[1]);
    assert_ptr_equal(a->pages[2], b->pages[2]);
    assert_null(b->pages[3]);
    tombstones_release(a);
    assert_true(tombstones_get(b, 1) && tombstones_get(b, 40000) && tombstones_get(b, 40001) && tombstones_get(b, 90000));
    tombstones_release(b);
}

static void test_refused_rows(void **state)
{
    struct tombstones *made;
    uint32_t row = 10;
    uint64_t bits = 1ull << 10;

    assert_int_equal(tombstones_with(NULL, 10, &row, 1, &made), VECDB_ERR_INVALID);
    assert_null(made);
    assert_int_equal(tombstones_with_bitmap(NULL, 10, &bits, &made), VECDB_ERR_INVALID);
    ok(tombstones_with(NULL, 11, &row, 1, &made));
    struct tombstones *shrunk;
    assert_int_equal(tombstones_with(made, 10, NULL, 0, &shrunk), VECDB_ERR_INVALID);
    tombstones_release(made);
}

static void test_files(void **state)
{
    static const size_t counts[] = {1, 64, 1000, 32768, 70001};
    struct rng rng = rng_seeded(sample_seed(2));

    for (uint64_t id = 1; id <= sizeof counts / sizeof *counts; id++) {
        size_t n = counts[id - 1];
        uint8_t *deleted = mem_zalloc(n);
        uint32_t rows[40];
        struct tombstones *version, *read;
        struct container_id file;
        uint8_t other_uuid[16] = {0};
        for (int i = 0; i < 40; i++) {
            rows[i] = (uint32_t)rng_below(&rng, n);
            deleted[rows[i]] = 1;
        }
        ok(tombstones_with(NULL, n, rows, 40, &version));
        ok(tombstones_save(version, &dir.dir, sample_uuid, id, 77, &file));
        ok(tombstones_open(&dir.dir, sample_uuid, &file, 77, n, &read));
        assert_rows(read, deleted, n);
        tombstones_release(read);
        assert_int_equal(tombstones_open(&dir.dir, sample_uuid, &file, 78, n, &read), VECDB_ERR_CORRUPT);
        assert_int_equal(tombstones_open(&dir.dir, sample_uuid, &file, 77, n + 1, &read), VECDB_ERR_CORRUPT);
        assert_int_equal(tombstones_open(&dir.dir, other_uuid, &file, 77, n, &read), VECDB_ERR_CORRUPT);
        assert_int_equal(tombstones_save(version, &dir.dir, sample_uuid, id, 77, &file), VECDB_ERR_EXISTS);
        tombstones_release(version);
        mem_free(deleted);
    }
}

static void count_problem(void *context, const char *file, uint64_t offset, const char *what)
{
    assert_string_equal(file, "del-100.bm");
    assert_true(strlen(what) > 5);
    ++*(size_t *)context;
}

/* A wrong bit brings a row back: whatever byte is changed, or missing, the file is refused. */
static void test_damage(void **state)
{
    struct tombstones *version, *read;
    uint32_t rows[] = {0, 5, 64, 99};
    struct container_id file;
    struct buf bytes = {0};
    size_t problems = 0;
    struct problem_sink sink = {count_problem, &problems};
    static const struct container_id unknown = {100, 0, 0};

    ok(tombstones_with(NULL, 100, rows, 4, &version));
    ok(tombstones_save(version, &dir.dir, sample_uuid, 100, 77, &file));
    sample_read_file(&dir, "del-100.bm", &bytes);
    assert_int_equal(bytes.size, file.size);
    assert_int_equal(tombstones_verify(&dir.dir, sample_uuid, &file, &sink), VECDB_OK);
    assert_int_equal(problems, 0);
    for (size_t i = 0; i < bytes.size; i += i < 200 || i > 4080 ? 1 : 61) {
        uint8_t old = bytes.data[i];
        bytes.data[i] ^= (uint8_t)(1 << i % 8);
        sample_write_file(&dir, "del-100.bm", bytes.data, bytes.size);
        assert_int_equal(tombstones_open(&dir.dir, sample_uuid, &file, 77, 100, &read), VECDB_ERR_CORRUPT);
        assert_null(read);
        if (i % 7 == 0) {
            problems = 0;
            assert_int_equal(tombstones_verify(&dir.dir, sample_uuid, &unknown, &sink), VECDB_ERR_CORRUPT);
            assert_true(problems > 0);
        }
        bytes.data[i] = old;
    }
    for (size_t size = 0; size < bytes.size; size += 97) {
        sample_write_file(&dir, "del-100.bm", bytes.data, size);
        assert_int_equal(tombstones_open(&dir.dir, sample_uuid, &file, 77, 100, &read), VECDB_ERR_CORRUPT);
        assert_int_equal(tombstones_open(&dir.dir, sample_uuid, &unknown, 77, 100, &read), VECDB_ERR_CORRUPT);
    }
    tombstones_release(version);
    buf_deinit(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions), cmocka_unit_test(test_pages_are_shared), cmocka_unit_test(test_refused_rows),
        cmocka_unit_test(test_files),    cmocka_unit_test(test_damage),
    };

    return cmocka_run_group_tests(tests, open_dir, close_dir);
}
