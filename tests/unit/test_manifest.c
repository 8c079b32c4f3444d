#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mem.h"
#include "base/rng.h"
#include "storage/manifest.h"
#include "support/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void check_ok(vecdb_status status)
{
    if (status != VECDB_OK)
        fail_msg("status %d: %s", status, error_last()->message);
}

/* Something of everything. */
static void make(struct manifest *manifest)
{
    struct manifest_collection *collection;
    struct manifest_segment segment = {.file = {2, 1000, 77}, .row_count = 10, .deleted_count = 3, .tombstones = {3, 64, 78}};
    uint64_t id, index, other;

    *manifest = (struct manifest){.uuid = {1, 2, 3, 4}, .generation = 9, .epoch = 4, .next_file_id = 20,
                                  .next_collection_id = 1, .checkpoint_lsn = 100};
    manifest->wals = mem_array_zalloc(2, sizeof *manifest->wals);
    manifest->wals[0] = (struct manifest_wal){7, 90};
    manifest->wals[1] = (struct manifest_wal){8, 150};
    manifest->wal_count = 2;
    check_ok(manifest_add_collection(manifest, "schema one", 10, &collection));
    check_ok(manifest_add_partition(collection, "_default", &id));
    segment.partition_id = id;
    check_ok(manifest_add_partition(collection, "zweite ä", &id));
    check_ok(manifest_add_index(collection, "by vector", 3, "HNSW", 1, "M=16", &index));
    check_ok(manifest_add_index(collection, "by year", 1, "INVERTED", 0, NULL, &other));
    check_ok(manifest_add_segment(collection, &segment));
    check_ok(manifest_set_index_file(&collection->segments[0], index, "HNSW", (struct manifest_file){4, 500, 79}));
    check_ok(manifest_set_index_file(&collection->segments[0], other, "INVERTED", (struct manifest_file){5, 50, 80}));
    segment = (struct manifest_segment){.file = {6, 2000, 81}, .partition_id = id, .row_count = 5};
    check_ok(manifest_add_segment(collection, &segment));
    check_ok(manifest_add_collection(manifest, "schema two", 10, &collection));
    check_ok(manifest_set_alias(manifest, "first", 1));
    check_ok(manifest_set_alias(manifest, "second", 2));
}

static void comes_back_the_same(void **state)
{
    struct manifest manifest, back, copy;
    struct buf bytes = {0}, again = {0};
    bool read_only = true;

    make(&manifest);
    check_ok(manifest_check("m", &manifest));
    check_ok(manifest_encode(&manifest, &bytes));
    check_ok(manifest_decode("m", bytes.data, bytes.size, 9, manifest.uuid, &read_only, &back));
    assert_false(read_only);
    assert_int_equal(back.collection_count, 2);
    assert_string_equal(back.collections[0].partitions[1].name, "zweite ä");
    assert_string_equal(back.collections[0].indexes[0].params, "M=16");
    assert_int_equal(back.collections[0].segments[0].indexes[1].file.size, 50);
    check_ok(manifest_encode(&back, &again));
    assert_int_equal(again.size, bytes.size);
    assert_memory_equal(again.data, bytes.data, bytes.size);
    check_ok(manifest_copy(&manifest, &copy));
    assert_int_equal(copy.wals[1].first_lsn, 150);
    manifest_deinit(&copy);
    manifest_deinit(&back);
    manifest_deinit(&manifest);
    buf_deinit(&bytes);
    buf_deinit(&again);
}

static void editing(void **state)
{
    struct manifest manifest;
    struct manifest_collection *collection;
    uint64_t id;

    make(&manifest);
    collection = manifest_find(&manifest, 1);
    assert_null(manifest_find(&manifest, 3));
    check_ok(manifest_set_index_file(&collection->segments[0], 1, "NSG", (struct manifest_file){9, 1, 1}));
    assert_int_equal(collection->segments[0].index_count, 2);
    assert_string_equal(collection->segments[0].indexes[0].kind, "NSG");
    manifest_remove_index(collection, 1);
    assert_int_equal(collection->index_count, 1);
    assert_int_equal(collection->segments[0].index_count, 1);
    check_ok(manifest_add_index(collection, "again", 3, "HNSW", 1, "", &id));
    assert_int_equal(id, 3); /* ids are not used twice */
    manifest_remove_partition(collection, 2);
    assert_int_equal(collection->partition_count, 1);
    assert_int_equal(collection->segment_count, 1); /* its segment went with it */
    check_ok(manifest_add_partition(collection, "new", &id));
    assert_int_equal(id, 3);
    check_ok(manifest_set_alias(&manifest, "first", 2));
    assert_int_equal(manifest.alias_count, 2);
    check_ok(manifest_set_schema(collection, "other", 5));
    assert_int_equal(collection->schema.size, 5);
    manifest_remove_collection(&manifest, 2);
    assert_int_equal(manifest.alias_count, 0);
    check_ok(manifest_add_collection(&manifest, "s", 1, &collection));
    assert_int_equal(collection->id, 3);
    manifest_remove_alias(&manifest, "nothing");
    check_ok(manifest_check("m", &manifest));
    manifest_deinit(&manifest);
}

/* One wrong number each, under right checksums: each must be refused. */
#define C manifest->collections[0]
#define S C.segments[0]
#define CHANGES(_)                                                                                                     \
    _(manifest->next_file_id = 8)                                                                                      \
    _(manifest->next_file_id = 0)                                                                                      \
    _(manifest->next_file_id = UINT64_MAX)                                                                             \
    _(manifest->next_collection_id = 2)                                                                                \
    _(manifest->next_collection_id = 0)                                                                                \
    _(manifest->checkpoint_lsn = UINT64_MAX)                                                                           \
    _(manifest->checkpoint_lsn = 88)                                                                                   \
    _(manifest->wals[0].id = 0)                                                                                        \
    _(manifest->wals[0].id = 20)                                                                                       \
    _(manifest->wals[0].id = 6)                                                                                        \
    _(manifest->wals[0].first_lsn = 0)                                                                                 \
    _(manifest->wals[0].first_lsn = 102)                                                                               \
    _(manifest->wals[0].first_lsn = UINT64_MAX)                                                                        \
    _(manifest->wals[1].first_lsn = 90)                                                                                \
    _(manifest->wals[1].first_lsn = 89)                                                                                \
    _(manifest->wals[1].id = 7)                                                                                        \
    _(manifest->wals[1].id = 1)                                                                                        \
    _(C.id = 0)                                                                                                        \
    _(C.id = 2)                                                                                                        \
    _(C.id = 3)                                                                                                        \
    _(C.schema.size = 0)                                                                                               \
    _(C.next_partition_id = 2)                                                                                         \
    _(C.next_index_id = 2)                                                                                             \
    _(C.partitions[0].id = 0)                                                                                          \
    _(C.partitions[0].id = 3)                                                                                          \
    _(C.partitions[0].id = 2)                                                                                          \
    _(C.partitions[0].name[0] = 0)                                                                                     \
    _(C.partitions[0].name[0] = (char)0xFF)                                                                            \
    _(strcpy(C.partitions[1].name, "_default"))                                                                        \
    _(C.indexes[0].id = 0)                                                                                             \
    _(C.indexes[0].id = 3)                                                                                             \
    _(C.indexes[0].id = 2)                                                                                             \
    _(C.indexes[0].field = 258)                                                                                        \
    _(C.indexes[0].field = UINT32_MAX)                                                                                 \
    _(C.indexes[0].name[0] = 0)                                                                                        \
    _(C.indexes[0].type[0] = 0)                                                                                        \
    _(C.indexes[0].params[0] = (char)0x80)                                                                             \
    _(strcpy(C.indexes[0].name, "by year"))                                                                            \
    _(S.file.id = 0)                                                                                                   \
    _(S.file.id = 20)                                                                                                  \
    _(S.file.id = 6)                                                                                                   \
    _(S.file.id = UINT64_MAX)                                                                                          \
    _(S.file.size = 0)                                                                                                 \
    _(S.file.size = UINT64_MAX)                                                                                        \
    _(S.partition_id = 0)                                                                                              \
    _(S.partition_id = 3)                                                                                              \
    _(S.row_count = 0)                                                                                                 \
    _(S.row_count = 2)                                                                                                 \
    _(S.row_count = (uint64_t)1 << 32)                                                                                 \
    _(S.deleted_count = 11)                                                                                            \
    _(S.tombstones.id = 0)                                                                                             \
    _(S.tombstones.id = 2)                                                                                             \
    _(S.tombstones.size = 0)                                                                                           \
    _(S.tombstones.size = UINT64_MAX)                                                                                  \
    _(C.segments[1].deleted_count = 1)                                                                                 \
    _(C.segments[1].tombstones.checksum = 1)                                                                           \
    _(S.indexes[0].index_id = 0)                                                                                       \
    _(S.indexes[0].index_id = 3)                                                                                       \
    _(S.indexes[0].index_id = 2)                                                                                       \
    _(S.indexes[0].file.id = 0)                                                                                        \
    _(S.indexes[0].file.id = 5)                                                                                        \
    _(S.indexes[0].file.size = 0)                                                                                      \
    _(S.indexes[0].kind[0] = 0)                                                                                        \
    _(manifest->aliases[0].collection_id = 3)                                                                          \
    _(manifest->aliases[0].collection_id = 0)                                                                          \
    _(manifest->aliases[0].name[0] = 0)                                                                                \
    _(strcpy(manifest->aliases[1].name, "first"))

#define AS_FUNCTION(change)                                                                                            \
    {                                                                                                                  \
        #change,                                                                                                       \
    },
static const struct {
    const char *text;
} change_texts[] = {CHANGES(AS_FUNCTION)};
#define AS_CASE(change)                                                                                                \
    if (number == at++)                                                                                                \
        change;

static bool change(struct manifest *manifest, size_t number)
{
    size_t at = 0;

    CHANGES(AS_CASE)
    return number < at;
}

static void every_wrong_number_is_refused(void **state)
{
    size_t number;

    for (number = 0;; number++) {
        struct manifest manifest, back;
        struct buf bytes = {0};
        bool read_only;

        make(&manifest);
        if (!change(&manifest, number)) {
            manifest_deinit(&manifest);
            break;
        }
        check_ok(manifest_encode(&manifest, &bytes));
        fault_memory(0, false);
        if (manifest_decode("m", bytes.data, bytes.size, 9, NULL, &read_only, &back) != VECDB_ERR_CORRUPT)
            fail_msg("taken: %s", change_texts[number].text);
        assert_non_null(strstr(error_last()->message, "m: "));
        assert_int_equal(fault_memory_live(), 0);
        fault_memory_end();
        buf_deinit(&bytes);
        manifest_deinit(&manifest);
    }
    assert_true(number >= 60);
}

static void set_checksums(struct buf *bytes)
{
    store_u64(bytes->data + 56, checksum(bytes->data, 56, 0));
    store_u64(bytes->data + bytes->size - 8, checksum(bytes->data, bytes->size - 8, 0));
}

static void versions_and_features(void **state)
{
    struct manifest manifest, back;
    struct buf bytes = {0};
    bool read_only;

    make(&manifest);
    check_ok(manifest_encode(&manifest, &bytes));
    manifest_deinit(&manifest);
    store_u16(bytes.data + 12, FORMAT_MAJOR + 1);
    set_checksums(&bytes);
    assert_int_equal(manifest_decode("m", bytes.data, bytes.size, 9, NULL, &read_only, &back), VECDB_ERR_VERSION);
    store_u16(bytes.data + 12, FORMAT_MAJOR);
    store_u32(bytes.data + 24, 1u << 31); /* a reader must know it */
    set_checksums(&bytes);
    assert_int_equal(manifest_decode("m", bytes.data, bytes.size, 9, NULL, &read_only, &back), VECDB_ERR_VERSION);
    store_u32(bytes.data + 24, 0);
    store_u32(bytes.data + 20, 1u << 31); /* a writer must know it */
    set_checksums(&bytes);
    check_ok(manifest_decode("m", bytes.data, bytes.size, 9, NULL, &read_only, &back));
    assert_true(read_only);
    manifest_deinit(&back);
    store_u32(bytes.data + 20, 0);
    store_u32(bytes.data + 16, 1u << 31); /* nobody needs to know it */
    set_checksums(&bytes);
    check_ok(manifest_decode("m", bytes.data, bytes.size, 9, NULL, &read_only, &back));
    assert_false(read_only);
    manifest_deinit(&back);
    assert_int_equal(manifest_decode("m", bytes.data, bytes.size, 8, NULL, &read_only, &back), VECDB_ERR_CORRUPT);
    uint8_t other[FORMAT_UUID_SIZE] = {5};
    assert_int_equal(manifest_decode("m", bytes.data, bytes.size, 9, other, &read_only, &back), VECDB_ERR_CORRUPT);
    /* a longer root record: refused from this version, skipped from a later one */
    struct buf longer = {0};
    uint32_t root = load_u32(bytes.data + 72);
    assert_int_equal(buf_append(&longer, bytes.data, bytes.size - 8), VECDB_OK);
    assert_int_equal(buf_append(&longer, "newer..", 8), VECDB_OK);
    assert_int_equal(buf_append(&longer, NULL, 8), VECDB_OK);
    store_u32(longer.data + 72, root + 8);
    store_u64(longer.data + 64, longer.size);
    set_checksums(&longer);
    assert_int_equal(manifest_decode("m", longer.data, longer.size, 9, NULL, &read_only, &back), VECDB_ERR_CORRUPT);
    store_u16(longer.data + 14, FORMAT_MINOR + 1);
    set_checksums(&longer);
    check_ok(manifest_decode("m", longer.data, longer.size, 9, NULL, &read_only, &back));
    manifest_deinit(&back);
    buf_deinit(&longer);
    buf_deinit(&bytes);
}

static void any_bytes_are_survived(void **state)
{
    struct manifest manifest, back;
    struct buf bytes = {0}, broken = {0};
    struct rng rng = rng_seeded(getenv("VECDB_TEST_SEED") ? strtoull(getenv("VECDB_TEST_SEED"), NULL, 0) : 4);
    bool read_only;
    size_t taken = 0;

    make(&manifest);
    check_ok(manifest_encode(&manifest, &bytes));
    manifest_deinit(&manifest);
    for (int round = 0; round < 200000; round++) {
        broken.size = 0;
        assert_int_equal(buf_append(&broken, bytes.data, bytes.size), VECDB_OK);
        for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--) {
            size_t at = 72 + rng_below(&rng, broken.size - 80);
            if (rng_below(&rng, 2))
                broken.data[at] = (uint8_t)rng_next(&rng);
            else if (at + 4 <= broken.size - 8)
                store_u32(broken.data + at, (uint32_t)(rng_below(&rng, 4) ? rng_below(&rng, 300) : rng_next(&rng)));
        }
        set_checksums(&broken);
        if (manifest_decode("m", broken.data, broken.size, 9, NULL, &read_only, &back) == VECDB_OK) {
            assert_int_equal(manifest_check("m", &back), VECDB_OK);
            manifest_deinit(&back);
            taken++;
        }
    }
    assert_true(taken > 1000); /* many numbers may be anything */
    buf_deinit(&bytes);
    buf_deinit(&broken);
}

static void every_allocation_may_fail(void **state)
{
    bool hit = true;

    for (uint64_t n = 1; hit; n++) {
        struct manifest manifest, copy;
        make(&manifest);
        fault_memory(n, false);
        vecdb_status status = manifest_copy(&manifest, &copy);
        hit = fault_memory_hit();
        assert_int_equal(status, hit ? VECDB_ERR_NOMEM : VECDB_OK);
        manifest_deinit(&copy);
        assert_int_equal(fault_memory_live(), 0);
        fault_memory_end();
        manifest_deinit(&manifest);
    }
}

/* More of anything than there may be: refused by the number alone. */
static void too_many(void **state)
{
    struct manifest_segment segment = {.file = {2, 1000, 77}, .row_count = 10, .partition_id = 1};
    struct manifest_collection collection = {0}, whole;
    struct manifest manifest = {.next_file_id = 20, .next_collection_id = 2, .checkpoint_lsn = 100};
    struct manifest_partition partition = {.id = 1, .name = (char *)(uintptr_t) "_default"};

    manifest.collection_count = MANIFEST_MAX_COLLECTIONS + 1;
    assert_int_equal(manifest_check("m", &manifest), VECDB_ERR_CORRUPT);
    assert_string_equal(error_last()->message, "m: 65537 collections, at most 65536");
    manifest.collection_count = 0;
    manifest.alias_count = MANIFEST_MAX_ALIASES + 1;
    assert_int_equal(manifest_check("m", &manifest), VECDB_ERR_CORRUPT);
    assert_string_equal(error_last()->message, "m: 4097 aliases, at most 4096");
    manifest.alias_count = 0;
    collection.id = collection.next_index_id = collection.next_auto_id = 1;
    collection.next_partition_id = 2;
    collection.partitions = &partition;
    collection.segments = &segment;
    collection.schema = (struct buf){(uint8_t *)(uintptr_t) "schema", 6, 6};
    collection.partition_count = 1;
    manifest.collections = &collection;
    manifest.collection_count = 1;
    whole = collection;
    check_ok(manifest_check("m", &manifest));
    collection.partition_count = MANIFEST_MAX_PARTITIONS + 1;
    assert_int_equal(manifest_check("m", &manifest), VECDB_ERR_CORRUPT);
    assert_string_equal(error_last()->message, "m: 4097 partitions, at most 4096");
    collection = whole;
    collection.index_count = MANIFEST_MAX_INDEXES + 1;
    assert_int_equal(manifest_check("m", &manifest), VECDB_ERR_CORRUPT);
    assert_string_equal(error_last()->message, "m: 1025 indexes, at most 1024");
    struct manifest_index index = {.id = 1, .name = (char *)(uintptr_t) "by vector", .type = (char *)(uintptr_t) "HNSW"};
    collection = whole;
    collection.next_index_id = 2;
    collection.index_count = 1;
    collection.indexes = &index;
    assert_int_equal(manifest_check("m", &manifest), VECDB_ERR_CORRUPT); /* without parameters */
    assert_non_null(strstr(error_last()->message, "index 1 (the next one is 2) is not valid"));
    index.params = (char *)(uintptr_t) "";
    check_ok(manifest_check("m", &manifest));
    collection = whole;
    collection.segment_count = MANIFEST_MAX_SEGMENTS + 1;
    assert_int_equal(manifest_check("m", &manifest), VECDB_ERR_CORRUPT);
    assert_string_equal(error_last()->message, "m: 65537 segments, at most 65536");
    collection = whole;
    collection.segment_count = 1;
    check_ok(manifest_check("m", &manifest));
    segment.index_count = 1; /* of a collection that has none */
    assert_int_equal(manifest_check("m", &manifest), VECDB_ERR_CORRUPT);
    assert_string_equal(error_last()->message, "m: 1 index files of a segment, at most 0");
}

/* What a reader would refuse to read whole is not written. */
static void too_long(void **state)
{
    struct manifest manifest;
    struct buf bytes = {0};
    uint8_t *schema = mem_zalloc(MANIFEST_MAX_SIZE);

    make(&manifest);
    check_ok(manifest_set_schema(&manifest.collections[1], schema, MANIFEST_MAX_SIZE));
    mem_free(schema);
    assert_int_equal(manifest_encode(&manifest, &bytes), VECDB_ERR_LIMIT);
    assert_non_null(strstr(error_last()->message, "at most 268435456"));
    assert_int_equal(bytes.size, 0);
    fault_memory(1, false);
    assert_int_equal(manifest_set_schema(&manifest.collections[1], "new", 3), VECDB_ERR_NOMEM);
    fault_memory_end();
    assert_int_equal(manifest.collections[1].schema.size, MANIFEST_MAX_SIZE); /* the old one */
    buf_deinit(&bytes);
    manifest_deinit(&manifest);
}

static void names(void **state)
{
    static const char *const wrong[] = {"",         "MANIFEST",     "MANIFEST-",     "MANIFEST-1",      "MANIFEST-1.c",
                                        "MANIFEST-01.a", "MANIFEST--1.a", "MANIFEST-0.a", "MANIFEST-1.a.tmpx", "MANIFEST-1.ab",
                                        "MANIFEST-99999999999999999999.a", "manifest-1.a", "MANIFEST-1.a/../x"};
    static const char *const wrong_files[] = {"seg-1.da", "seg-.dat", "seg-0.dat", "seg-1.dat.tmp", "seg-1x.dat", "del-1.dat",
                                              "wal-1.logs", "idx-+1.idx", "seg-9223372036854775808.dat", "LOCK", "../seg-1.dat"};
    char name[FILE_NAME_SIZE], copy;
    uint64_t id;
    bool temporary;
    enum file_kind kind;

    manifest_file_name(12, 'b', true, name);
    assert_string_equal(name, "MANIFEST-12.b.tmp");
    assert_true(manifest_file_parse(name, &id, &copy, &temporary));
    assert_int_equal(id, 12);
    assert_int_equal(copy, 'b');
    assert_true(temporary);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(manifest_file_parse(wrong[i], &id, &copy, &temporary));
    for (int k = FILE_WAL; k <= FILE_INDEX; k++) {
        format_file_name((enum file_kind)k, 345, name);
        assert_true(format_file_parse(name, &kind, &id));
        assert_int_equal(kind, k);
        assert_int_equal(id, 345);
    }
    for (size_t i = 0; i < sizeof wrong_files / sizeof wrong_files[0]; i++)
        assert_false(format_file_parse(wrong_files[i], &kind, &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_the_same),   cmocka_unit_test(editing),
        cmocka_unit_test(every_wrong_number_is_refused), cmocka_unit_test(versions_and_features),
        cmocka_unit_test(any_bytes_are_survived), cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(names),                 cmocka_unit_test(too_many),
        cmocka_unit_test(too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
