/* Damaged and made-up segment files: every byte changed, every length, and numbers that do not agree under checksums that
 * are right. Verify finds all of it; using what opens never crashes. */
#include "base/bytes.h"
#include "base/mem.h"
#include "storage/container.h"
#include "storage/growing.h"
#include "storage/segment_file.h"
#include "storage/segment_format.h"
#include "storage/segment_writer.h"
#include "support/one_file.h"
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

static struct problems {
    size_t count;
    char first[500];
} problems;

static void note(void *context, const char *file, uint64_t offset, const char *what)
{
    if (problems.count++ == 0)
        snprintf(problems.first, sizeof problems.first, "%s", what);
}
static const struct problem_sink sink = {note, NULL};

/* A small segment's file and schema. */
struct specimen {
    struct schema *schema;
    struct buf bytes;
    struct container_id id;
};

static void specimen_make(struct specimen *specimen, unsigned flags, size_t row_count)
{
    struct rng rng = rng_seeded(7);
    struct sample_dir dir;
    struct segment *growing;
    struct segment_source source;
    struct segment_write what;
    struct segment_written written;

    *specimen = (struct specimen){.schema = sample_schema(flags)};
    sample_dir_open(&dir);
    growing = sample_growing(specimen->schema, &rng, flags, row_count, 0, 1);
    source = (struct segment_source){growing, row_count, NULL, NULL};
    what = (struct segment_write){.dir = &dir.dir, .uuid = sample_uuid, .segment_id = 3, .schema = specimen->schema,
                                  .sources = &source, .source_count = 1, .block_rows = 64};
    ok(segment_write(&what, &written));
    specimen->id = written.file;
    sample_read_file(&dir, "seg-3.dat", &specimen->bytes);
    segment_release(growing);
    sample_dir_close(&dir);
}

static void specimen_free(struct specimen *specimen)
{
    buf_deinit(&specimen->bytes);
    schema_free(specimen->schema);
}

/* Everything a reader may do; failures must be VECDB_ERR_CORRUPT. */
static void use(struct segment *segment)
{
    struct column_scratch scratch = {0};
    size_t primary = segment->schema->primary;
    uint64_t sum = 0;

    for (size_t f = 0; f < segment->schema->field_count; f++) {
        for (size_t first = 0, block = 0; first < segment->row_count; first += segment->block_rows, block++) {
            size_t left = segment->row_count - first, rows = left < segment->block_rows ? left : segment->block_rows;
            struct column_stats stats;
            struct column column;
            vecdb_status status = segment->ops->column(segment, f, block, rows, &scratch, &column);
            (void)segment->ops->stats(segment, f, block, &stats);
            if (status != VECDB_OK) {
                assert_int_equal(status, VECDB_ERR_CORRUPT);
                continue;
            }
            for (size_t row = 0; row < rows; row++) {
                size_t size;
                const uint8_t *bytes = column_bytes(&column, row, &size);
                for (size_t i = 0; i < size; i++)
                    sum += bytes[i];
                sum += column_is_valid(&column, row);
            }
        }
        for (size_t row = 0; row < segment->row_count; row += 17) {
            struct column column;
            vecdb_status status = segment_row(segment, f, row, &scratch, &column);
            assert_true(status == VECDB_OK || status == VECDB_ERR_CORRUPT);
        }
        if (type_is_dense(segment->schema->fields[f].type)) {
            size_t width = segment->schema->fields[f].width;
            unsigned shift;
            const uint8_t *const *blocks = segment->ops->vector_blocks(segment, f, &shift);
            for (size_t i = 0; i < segment->row_count * width; i++)
                sum += blocks[0][i];
        }
    }
    for (int64_t key = -2; key < 20; key++) {
        char text[40];
        uint32_t row;
        bool found;
        int size = snprintf(text, sizeof text, "key %012lld%s", (long long)key, key % 3 ? "" : " \xC3\xA9");
        vecdb_status status = segment->schema->fields[primary].type == VECDB_TYPE_INT64
                                  ? segment->ops->find(segment, &key, 8, segment->row_count, &found, &row)
                                  : segment->ops->find(segment, text, (size_t)size, segment->row_count, &found, &row);
        assert_true(status == VECDB_OK || status == VECDB_ERR_CORRUPT);
        assert_true(status != VECDB_OK || !found || row < segment->row_count);
    }
    buf_deinit(&scratch.bytes);
    assert_true(sum != 12345678901ull);
}

/* Open, use and verify; whether anything was found wrong. */
static bool damaged(const struct specimen *specimen, const uint8_t *data, size_t size, const struct container_id *id)
{
    struct one_file file;
    struct dir dir;
    struct segment *segment;
    vecdb_status status;

    problems.count = 0;
    one_file_init(&file, data, size, &dir);
    status = segment_open(&dir, sample_uuid, id, specimen->schema, 0, &segment);
    if (status != VECDB_OK) {
        assert_true(status == VECDB_ERR_CORRUPT || status == VECDB_ERR_VERSION);
        assert_null(segment);
        assert_true(strlen(error_last()->message) > 10);
        snprintf(problems.first, sizeof problems.first, "%s", error_last()->message);
        return true;
    }
    use(segment);
    status = segment_verify(segment, &sink);
    assert_true(status == VECDB_OK || status == VECDB_ERR_CORRUPT);
    assert_int_equal(status == VECDB_OK, problems.count == 0);
    segment_release(segment);
    return status != VECDB_OK;
}

static void test_every_byte(void **state)
{
    static const struct container_id unknown = {3, 0, 0};
    size_t flips = 0;

    for (unsigned flags = 0; flags < 2; flags++) { /* INT64 and VARCHAR keys */
        struct specimen specimen;
        uint8_t *bytes;
        size_t size, zeros = 0;
        specimen_make(&specimen, SAMPLE_SMALL | SAMPLE_SHUFFLED | flags, 70);
        size = specimen.bytes.size;
        bytes = mem_dup(specimen.bytes.data, size); /* exactly as large as it is */
        assert_false(damaged(&specimen, bytes, size, &specimen.id));
        for (size_t i = 0; i < size; i++) {
            uint8_t old = bytes[i];
            zeros = old ? 0 : zeros + 1;
            if (zeros > 64 && i % 31 && !getenv("VECDB_TEST_LONG"))
                continue; /* long stretches of zeros: a sample of them */
            for (int kind = 0; kind < 3; kind++) {
                uint8_t changed = kind == 0 ? old ^ 1 : kind == 1 ? old ^ 0x80 : 0xFF;
                if (changed == old)
                    continue;
                bytes[i] = changed;
                if (!damaged(&specimen, bytes, size, &unknown))
                    fail_msg("byte %zu: %02x instead of %02x is not found", i, changed, old);
                flips++;
            }
            bytes[i] = old;
        }
        assert_false(damaged(&specimen, bytes, size, &specimen.id));
        mem_free(bytes);
        specimen_free(&specimen);
    }
    printf("byte_flips: %zu\n", flips);
}

static void test_every_length(void **state)
{
    static const struct container_id unknown = {3, 0, 0};
    struct specimen specimen;
    size_t lengths = 0;

    specimen_make(&specimen, SAMPLE_SMALL, 70);
    for (size_t size = 0; size < specimen.bytes.size; size += size < 5000 || size + 5000 > specimen.bytes.size ? 1 : 37) {
        uint8_t *cut = mem_dup(specimen.bytes.data, size);
        assert_true(damaged(&specimen, cut, size, &unknown));
        assert_true(damaged(&specimen, cut, size, &specimen.id));
        mem_free(cut);
        lengths++;
    }
    for (size_t extra = 1; extra < 200; extra += 9) {
        uint8_t *longer = mem_zalloc(specimen.bytes.size + extra);
        memcpy(longer, specimen.bytes.data, specimen.bytes.size);
        assert_true(damaged(&specimen, longer, specimen.bytes.size + extra, &unknown));
        mem_free(longer);
        lengths++;
    }
    printf("truncations: %zu\n", lengths);
    specimen_free(&specimen);
}

/* ------------------------------------------------------------------------------------------------- single numbers */

enum { IN_HEADER = 1000, IN_FOOTER, IN_ENTRY }; /* instead of a section's type */

static const struct mutation {
    int section;    /* type, or one of the above */
    int field;      /* of the section (IN_ENTRY: the type of the section whose entry it is); -1: none */
    int offset;
    int width;      /* bytes */
    int64_t value;  /* to store; with ADD: to add to what is there */
    int add;
    const char *expected; /* in the message */
} mutations[] = {
    {IN_HEADER, -1, 0, 1, 'V', 0, "not a vecdb file"},
    {IN_HEADER, -1, 8, 4, FILE_TOMBSTONES, 0, "file of kind 4, expected 3"},
    {IN_HEADER, -1, 12, 2, 2, 0, "format version 2.0"},
    {IN_HEADER, -1, 24, 4, 4, 0, "features 0x4"},
    {IN_HEADER, -1, 28, 4, 1, 0, "reserved bytes of the header"},
    {IN_HEADER, -1, 40, 1, 99, 0, "belongs to database"},
    {IN_HEADER, -1, 48, 8, 4, 0, "says it is number 4, expected 3"},
    {IN_HEADER, -1, 64, 8, 1, 1, "its header says"},
    {IN_HEADER, -1, 72, 8, 4096, 1, "bytes"},
    {IN_HEADER, -1, 72, 8, -4096, 1, "pieces do not fit"},
    {IN_HEADER, -1, 72, 8, 8, 1, "the section table is at"},
    {IN_HEADER, -1, 72, 8, -1, 0, "the section table is at"},
    {IN_HEADER, -1, 80, 4, 1, 1, "pieces do not fit"},
    {IN_HEADER, -1, 80, 4, 0, 0, "pieces do not fit"},
    {IN_HEADER, -1, 80, 4, -1, 0, "sections do not fit"},
    {IN_HEADER, -1, 84, 4, 4096, 0, "pieces of 4096 bytes"},
    {IN_HEADER, -1, 88, 8, -1, 1, "pieces do not fit"},
    {IN_HEADER, -1, 104, 1, 1, 0, "a reserved byte of the header is 1"},
    {IN_HEADER, -1, 4087, 1, 1, 0, "a reserved byte of the header is 1"},
    {IN_FOOTER, -1, 0, 8, 1, 1, "its footer says"},
    {IN_FOOTER, -1, 16, 1, 3, 0, "a reserved byte of the footer is 3"},
    {IN_FOOTER, -1, 60, 1, 0, 0, "the footer's last bytes"},
    {IN_ENTRY, SECTION_STATS, 0, 4, 99, 0, "field id: the section STATS is missing"},
    {IN_ENTRY, SECTION_STATS, 4, 4, 1, 0, "are the same"},
    {IN_ENTRY, SECTION_STATS, 4, 4, 77, 0, "field id: the section STATS is missing"},
    {IN_ENTRY, SECTION_STATS, 8, 8, 4096, 1, "begins at"},
    {IN_ENTRY, SECTION_STATS, 16, 8, 1, 1, "elements of 24 bytes are not"},
    {IN_ENTRY, SECTION_STATS, 16, 8, -1, 0, "reach past the end"},
    {IN_ENTRY, SECTION_STATS, 24, 8, 1, 1, "elements of 24 bytes are not"},
    {IN_ENTRY, SECTION_STATS, 24, 8, 1ll << 61, 0, "elements of 24 bytes are not"},
    {IN_ENTRY, SECTION_STATS, 32, 4, 12, 0, "elements of 12 bytes are not"},
    {IN_ENTRY, SECTION_STATS, 32, 4, 0, 0, "elements of 0 bytes in STATS, expected 24"},
    {IN_ENTRY, SECTION_STATS, 36, 4, 1, 0, "reserved bytes are not zero"},
    {IN_ENTRY, SECTION_STATS, 48, 8, 1, 1, "its first piece is"},
    {IN_ENTRY, SECTION_STATS, 56, 8, 1, 0, "reserved bytes are not zero"},
    {SECTION_INFO, -1, 0, 8, 1, 1, "expected 71"},
    {SECTION_INFO, -1, 0, 8, -1, 0, "more than a segment can have"},
    {SECTION_INFO, -1, 0, 8, 0, 0, "70 elements in VALUES, expected 0"},
    {SECTION_INFO, -1, 32, 4, 63, 0, "not a power of two in 64 .. 65536"},
    {SECTION_INFO, -1, 32, 4, 32, 0, "not a power of two in 64 .. 65536"},
    {SECTION_INFO, -1, 32, 4, 131072, 0, "not a power of two in 64 .. 65536"},
    {SECTION_INFO, -1, 32, 4, 128, 0, "elements in STATS, expected 1"},
    {SECTION_INFO, -1, 36, 4, 4, 0, "INFO tells of 4 fields, SCHEMA of 6"},
    {SECTION_INFO, -1, 40, 4, 1, 0, "a section KEYS where there should be none"},
    {SECTION_INFO, -1, 40, 4, 2, 0, "the order of keys is 2"},
    {SECTION_INFO, -1, 44, 4, 1, 0, "INFO: reserved bytes"},
    {SECTION_INFO, -1, 48 + 24, 4, 2, 0, "field flag: INFO says 2"},
    {SECTION_INFO, -1, 48 + 24, 4, 1, 0, "field flag: left out, though"},
    {SECTION_INFO, -1, 48 + 24 + 4, 4, 16, 0, "field flag: pages of 16 rows"},
    {SECTION_INFO, -1, 48 + 24 + 8, 8, 71, 0, "71 of 70 rows have no value"},
    {SECTION_INFO, -1, 48 + 24 + 8, 8, 0, 0, "field flag: a section VALID where there should be none"},
    {SECTION_INFO, -1, 48 + 24 + 8, 8, 1, 1, "the number of rows without a value"},
    {SECTION_INFO, -1, 48 + 8, 8, 1, 0, "field id: 1 rows have no value, but must"},
    {SECTION_INFO, -1, 48 + 24 + 16, 8, 5, 0, "5 bytes, but it has no pages"},
    {SECTION_INFO, -1, 48 + 48 + 4, 4, 0, 0, "field json: pages of 0 rows"},
    {SECTION_INFO, -1, 48 + 48 + 4, 4, 24, 0, "field json: pages of 24 rows"},
    {SECTION_INFO, -1, 48 + 48 + 4, 4, 128, 0, "field json: pages of 128 rows"},
    {SECTION_INFO, -1, 48 + 48 + 4, 4, 16, 0, "elements in PAGES, expected 5"},
    {SECTION_INFO, -1, 48 + 48 + 16, 8, 1, 1, "the values' bytes are not as many"},
    {SECTION_SCHEMA, -1, 0, 4, 9, 0, "schema: format 9"},
    {SECTION_SCHEMA, -1, 5, 4, 200, 0, "schema: "},
    {SECTION_VALID, 1, 8, 8, -1, 0, "a bit past the last row is set"},
    {SECTION_VALID, 1, 0, 8, -1, 0, "the number of rows without a value"},
    {SECTION_VALID, 4, 0, 8, -1, 0, "the number of rows without a value"},
    {SECTION_VALUES, 1, 0, 1, 2, 0, "field flag, row 0: "},
    {SECTION_VALUES, 0, 0, 8, 1, 1, "its key is not found"},
    {SECTION_STATS, 0, 8, 8, 1000, 0, "STATS are not true"},
    {SECTION_STATS, 1, 0, 4, 1, 1, "STATS are not true"},
    {SECTION_STATS, 2, 24, 4, 1, 1, "STATS are not true"},
    {SECTION_PAGES, 2, 0, 8, -1, 0, "reach past the section's"},
    {SECTION_PAGES, 2, 24, 8, -1, 1, "checksum"},
    {SECTION_PAGES, 2, 8, 4, -1, 0, "reach past the section's"},
    {SECTION_PAGES, 2, 8, 4, 0, 0, "cannot be"},
    {SECTION_PAGES, 2, 12, 4, 1, 1, "its rows' sizes add up to"},
    {SECTION_PAGES, 2, 12, 4, -1, 0, "cannot be"},
    {SECTION_PAGES, 2, 16, 8, 1, 1, "checksum"},
    {SECTION_SIZES, 2, 0, 1, 1, 1, "its rows' sizes add up to"},
    {SECTION_PACKED, 2, 0, 1, 1, 1, "checksum"},
    {SECTION_SIZES, 5, 0, 1, 8, 1, "its rows' sizes add up to"},
    {SECTION_PACKED, 5, 0, 1, 1, 1, "checksum"},
    {SECTION_KEYS, 0, 0, 8, INT64_MAX, 0, "keys are out of order at 1"},
    {SECTION_KEYS, 0, 8, 8, 1, 1, "its key is not found"},
    {SECTION_KEY_ROWS, 0, 0, 4, 70, 0, "is in row 70 of 70"},
    {SECTION_KEY_ROWS, 0, 0, 4, 5, 0, "its key leads to another row"},
    {SECTION_KEY_FILTER, 0, 0, 8, 0, 0, "its key is not found"},
};

static uint8_t *place(uint8_t *bytes, size_t size, const struct mutation *mutation)
{
    uint64_t table = load_u64(bytes + 72);

    if (mutation->section == IN_HEADER)
        return bytes + mutation->offset;
    if (mutation->section == IN_FOOTER)
        return bytes + size - 64 + mutation->offset;
    for (uint32_t i = 0; i < load_u32(bytes + 80); i++) {
        uint8_t *entry = bytes + table + 64 * i;
        uint32_t type = load_u32(entry), field = load_u32(entry + 4);
        if (mutation->section == IN_ENTRY && type == (uint32_t)mutation->field && field == 0)
            return entry + mutation->offset;
        if (type == (uint32_t)mutation->section && field == (uint32_t)mutation->field)
            return bytes + load_u64(entry + 8) + mutation->offset;
    }
    fail_msg("no section %d", mutation->section);
    return NULL;
}

static void test_single_numbers(void **state)
{
    static const struct container_id unknown = {3, 0, 0};
    struct specimen specimen;
    size_t failures = 0;

    specimen_make(&specimen, SAMPLE_SMALL | SAMPLE_SHUFFLED, 70);
    for (size_t m = 0; m < sizeof mutations / sizeof *mutations; m++) {
        const struct mutation *mutation = &mutations[m];
        size_t size = specimen.bytes.size;
        uint8_t *bytes = mem_dup(specimen.bytes.data, size), *at = place(bytes, size, mutation);
        uint64_t value = 0;
        bool found;
        memcpy(&value, at, (size_t)mutation->width);
        value = mutation->add ? value + (uint64_t)mutation->value : (uint64_t)mutation->value;
        memcpy(at, &value, (size_t)mutation->width);
        reseal(bytes, size);
        found = damaged(&specimen, bytes, size, &unknown);
        if (!found || !strstr(problems.first, mutation->expected)) {
            printf("mutation %zu (\"%s\"): %s\n", m, mutation->expected, found ? problems.first : "not found");
            failures++;
        }
        mem_free(bytes);
    }
    printf("single_numbers: %zu\n", sizeof mutations / sizeof *mutations);
    assert_int_equal(failures, 0);
    specimen_free(&specimen);
}

/* Many numbers wrong at once, under right checksums: anything may be said, nothing may break. */
static void test_noise(void **state)
{
    static const struct container_id unknown = {3, 0, 0};
    struct rng rng = rng_seeded(sample_seed(5));
    size_t opened = 0;

    for (unsigned flags = 0; flags < 4; flags++) {
        struct specimen specimen;
        size_t size;
        uint8_t *bytes;
        specimen_make(&specimen, SAMPLE_SMALL | (flags & 1) | (flags & 2 ? SAMPLE_SHUFFLED : 0), 70 + 60 * flags);
        size = specimen.bytes.size;
        bytes = mem_alloc(size);
        for (int round = 0; round < 4000; round++) {
            size_t changes = 1 + rng_below(&rng, 3);
            memcpy(bytes, specimen.bytes.data, size);
            for (size_t i = 0; i < changes; i++) {
                uint64_t table = load_u64(specimen.bytes.data + 72);
                size_t entry = rng_below(&rng, load_u32(specimen.bytes.data + 80));
                uint64_t offset = load_u64(specimen.bytes.data + table + 64 * entry + 8);
                uint64_t length = load_u64(specimen.bytes.data + table + 64 * entry + 16);
                if (!length)
                    continue;
                offset += rng_below(&rng, 2) ? rng_below(&rng, length) : rng_below(&rng, length < 64 ? length : 64);
                bytes[offset] = rng_below(&rng, 2) ? (uint8_t)rng_next(&rng) : (uint8_t)(bytes[offset] ^ 1 << rng_below(&rng, 8));
            }
            reseal(bytes, size);
            opened += !damaged(&specimen, bytes, size, &unknown) || problems.count > 0;
        }
        mem_free(bytes);
        specimen_free(&specimen);
    }
    assert_true(opened > 1000); /* most get past the first checks */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_numbers),
        cmocka_unit_test(test_every_length),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_every_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
