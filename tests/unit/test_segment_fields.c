/* Every number in the head, the table and the small sections of segments, deletion bitmaps and index files, changed one at a time
 * with all checksums made right again: what cannot be is refused as corrupt, and nothing goes further than an error. */
#include "fuzz/segment.c"

#include "base/rng.h"
#include "storage/index_file.h"
#include "storage/tombstones.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes;

    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(*size);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static const uint32_t values[] = {0, 1, 3, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF};

/* Call `look` with each number of bytes first .. end - 1 changed in turn, in several ways. */
static void change_numbers(const uint8_t *bytes, size_t size, size_t first, size_t end,
                           void (*look)(const uint8_t *data, size_t size))
{
    uint8_t *copy = malloc(size);

    assert_non_null(copy);
    for (size_t at = first; at + 4 <= end; at += 4)
        for (size_t way = 0; way < sizeof values / sizeof values[0] + 2; way++) {
            uint32_t before = load_u32(bytes + at);
            memcpy(copy, bytes, size);
            store_u32(copy + at, way < sizeof values / sizeof values[0] ? values[way] : before + (way % 2 ? 1 : -1u));
            look(copy, size);
        }
    free(copy);
}

static void look_at_segment(const uint8_t *data, size_t size) { (void)LLVMFuzzerTestOneInput(data, size); }

static void test_segments(void **state)
{
    for (int which = 0; which < 2; which++) {
        char path[80];
        size_t size;
        uint8_t *bytes;
        uint64_t table;
        snprintf(path, sizeof path, "tests/fuzz/corpus/segment/specimen%d", which);
        bytes = read_file(path, &size);
        table = load_u64(bytes + 72);
        change_numbers(bytes, size, 64, 128, look_at_segment);
        change_numbers(bytes, size, (size_t)table, (size_t)table + 64 * load_u32(bytes + 80), look_at_segment);
        for (uint32_t i = 0; i < load_u32(bytes + 80); i++) { /* the beginning of each section */
            const uint8_t *entry = bytes + table + 64 * (size_t)i;
            uint64_t offset = load_u64(entry + 8), length = load_u64(entry + 16);
            change_numbers(bytes, size, (size_t)offset, (size_t)offset + (length < 96 ? (size_t)length : 96), look_at_segment);
        }
        for (uint32_t i = 0; i < load_u32(bytes + 80); i++) { /* a section of another type, or of another field */
            uint8_t *copy = malloc(size), *entry;
            for (uint32_t type = 0; type < 13; type++)
                for (uint32_t field = 0; field < 3; field++) {
                    memcpy(copy, bytes, size);
                    entry = copy + table + 64 * (size_t)i;
                    store_u32(entry, type);
                    if (field)
                        store_u32(entry + 4, field == 1 ? UINT32_MAX : load_u32(entry + 4) + 1);
                    look_at_segment(copy, size);
                }
            free(copy);
        }
        free(bytes);
    }
}

/* -- deletion bitmaps and index files, made here */

static const uint8_t uuid[16] = "a database";
static char directory[] = "/tmp/vecdb-fields-XXXXXX";

static void look_at_tombstones(const uint8_t *data, size_t size)
{
    static const struct problem_sink sink = {ignore, NULL};
    uint8_t *copy = malloc(size);
    struct container_id id = {5, size, 0};
    struct tombstones *opened;
    struct one_file file;
    struct dir dir;

    memcpy(copy, data, size);
    reseal(copy, size);
    id.checksum = load_u64(copy + 4088);
    one_file_init(&file, copy, size, &dir);
    if (tombstones_open(&dir, uuid, &id, 3, 1000, &opened) == VECDB_OK)
        tombstones_release(opened);
    else
        assert_true(error_last()->status == VECDB_ERR_CORRUPT || error_last()->status == VECDB_ERR_VERSION);
    (void)tombstones_verify(&dir, uuid, &id, &sink);
    free(copy);
}

static const struct index_binding binding = {.segment_id = 3, .row_count = 1000, .data_checksum = 77, .definition = 2,
                                             .field = 1, .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 8, .metric = VECDB_METRIC_L2,
                                             .format = 1, .kind = "HNSW", .params = "M=8"};

static void look_at_index(const uint8_t *data, size_t size)
{
    static const struct problem_sink sink = {ignore, NULL};
    uint8_t *copy = malloc(size);
    struct container_id id = {6, size, 0};
    struct index_file *opened;
    struct one_file file;
    struct dir dir;

    memcpy(copy, data, size);
    reseal(copy, size);
    id.checksum = load_u64(copy + 4088);
    one_file_init(&file, copy, size, &dir);
    if (index_file_open(&dir, uuid, &id, &binding, false, &opened) == VECDB_OK)
        index_file_close(opened);
    else
        assert_true(error_last()->status == VECDB_ERR_CORRUPT || error_last()->status == VECDB_ERR_VERSION);
    (void)index_file_verify(&dir, uuid, &id, &sink);
    id.size = size + 1; /* the manifest says otherwise */
    assert_int_equal(index_file_open(&dir, uuid, &id, &binding, false, &opened), VECDB_ERR_CORRUPT);
    free(copy);
}

static void change_all(const char *name, void (*look)(const uint8_t *data, size_t size))
{
    char path[100];
    size_t size;
    uint8_t *bytes;
    uint64_t table;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    bytes = read_file(path, &size);
    look(bytes, size);
    table = load_u64(bytes + 72);
    change_numbers(bytes, size, 0, 128, look);
    change_numbers(bytes, size, 4088, 4096, look);
    change_numbers(bytes, size, (size_t)table, size, look);
    for (uint32_t i = 0; i < load_u32(bytes + 80); i++) {
        size_t offset = (size_t)load_u64(bytes + table + 64 * (size_t)i + 8);
        change_numbers(bytes, size, offset, offset + 96, look);
    }
    free(bytes);
    unlink(path);
}

static void test_small_files(void **state)
{
    const uint32_t rows[] = {1, 5, 999};
    struct tombstones *tombstones;
    struct container_id id;
    struct dir dir;

    assert_non_null(mkdtemp(directory));
    assert_int_equal(dir_open(&vfs_posix, directory, false, &dir), VECDB_OK);
    assert_int_equal(tombstones_with(NULL, 1000, rows, 3, &tombstones), VECDB_OK);
    assert_int_equal(tombstones_save(tombstones, &dir, uuid, 5, 3, &id), VECDB_OK);
    tombstones_release(tombstones);
    assert_int_equal(index_file_write(&dir, uuid, 6, &binding, directory, sizeof directory, &id), VECDB_OK);
    dir_close(&dir);
    change_all("del-5.bm", look_at_tombstones);
    change_all("idx-6.idx", look_at_index);
    rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_segments),
        cmocka_unit_test(test_small_files),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
