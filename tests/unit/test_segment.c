/* Sealed segments: what goes in comes out, in any order, from any sources; keys are found; a loaded one is the same. */
#include "base/mem.h"
#include "storage/growing.h"
#include "storage/segment_file.h"
#include "storage/segment_writer.h"
#include "support/fault.h"
#include "support/sample.h"
#include "support/simfs.h"

#include <errno.h>
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
static uint64_t next_id = 1;

static int open_dir(void **state) { return sample_dir_open(&dir), 0; }
static int close_dir(void **state) { return sample_dir_close(&dir), 0; }

static void no_problem(void *context, const char *file, uint64_t offset, const char *what)
{
    fail_msg("%s, byte %llu: %s", file, (unsigned long long)offset, what);
}
static const struct problem_sink strict = {no_problem, NULL};

/* A row of one segment against a row of another, field by field. */
static void assert_same_row(struct segment *a, size_t a_row, struct segment *b, size_t b_row)
{
    struct column_scratch a_scratch = {0}, b_scratch = {0};

    for (size_t f = 0; f < b->schema->field_count; f++) {
        struct column x, y;
        const uint8_t *x_bytes, *y_bytes;
        size_t x_size, y_size;
        size_t own = schema_find(a->schema, b->schema->fields[f].name, strlen(b->schema->fields[f].name));
        ok(segment_row(a, own, a_row, &a_scratch, &x));
        ok(segment_row(b, f, b_row, &b_scratch, &y));
        assert_int_equal(column_is_valid(&x, 0), column_is_valid(&y, 0));
        x_bytes = column_bytes(&x, 0, &x_size);
        y_bytes = column_bytes(&y, 0, &y_size);
        assert_int_equal(x_size, y_size);
        if (x_size)
            assert_memory_equal(x_bytes, y_bytes, x_size);
        if (type_is_dense(b->schema->fields[f].type)) {
            unsigned shift;
            const uint8_t *const *blocks = b->ops->vector_blocks(b, f, &shift);
            const uint8_t *vector = blocks[b_row >> shift] + (b_row & (((size_t)1 << shift) - 1)) * y_size;
            assert_memory_equal(vector, x_bytes, x_size);
        }
    }
    buf_deinit(&a_scratch.bytes);
    buf_deinit(&b_scratch.bytes);
}

/* Whole blocks through column() give the same as row by row. */
static void assert_blocks_agree(struct segment *segment)
{
    struct column_scratch scratch = {0}, row_scratch = {0};

    for (size_t f = 0; f < segment->schema->field_count; f++)
        for (size_t first = 0, block = 0; first < segment->row_count; first += segment->block_rows, block++) {
            size_t left = segment->row_count - first, rows = left < segment->block_rows ? left : segment->block_rows;
            struct column_stats stats;
            struct column column, one;
            size_t nulls = 0;
            ok(segment->ops->column(segment, f, block, rows, &scratch, &column));
            assert_int_equal(column.row_count, rows);
            for (size_t row = 0; row < rows; row++) {
                size_t size, one_size;
                const uint8_t *bytes = column_bytes(&column, row, &size), *one_bytes;
                ok(segment_row(segment, f, first + row, &row_scratch, &one));
                one_bytes = column_bytes(&one, 0, &one_size);
                assert_int_equal(size, one_size);
                assert_int_equal(column_is_valid(&column, row), column_is_valid(&one, 0));
                if (size)
                    assert_memory_equal(bytes, one_bytes, size);
                nulls += !column_is_valid(&column, row);
            }
            if (!type_is_dense(column.type)) {
                assert_true(segment->ops->stats(segment, f, block, &stats));
                assert_int_equal(stats.null_count, nulls);
            }
        }
    buf_deinit(&scratch.bytes);
    buf_deinit(&row_scratch.bytes);
}

static void assert_finds_keys(struct segment *segment)
{
    size_t f = segment->schema->primary;
    struct column_scratch scratch = {0};

    for (size_t row = 0; row < segment->row_count; row++) {
        struct column column;
        size_t size;
        const uint8_t *key;
        uint32_t at = 0;
        bool found = false;
        ok(segment_row(segment, f, row, &scratch, &column));
        key = column_bytes(&column, 0, &size);
        ok(segment->ops->find(segment, key, size, segment->row_count, &found, &at));
        assert_true(found);
        assert_int_equal(at, row);
        ok(segment->ops->find(segment, key, size, row, &found, &at));
        assert_false(found);
    }
    for (int64_t key = -1; key < 2001; key += 2) { /* sample keys are even */
        char text[40];
        uint32_t at;
        bool found;
        int size = snprintf(text, sizeof text, "key %012lld", (long long)key);
        if (segment->schema->fields[f].type == VECDB_TYPE_INT64)
            ok(segment->ops->find(segment, &key, 8, segment->row_count, &found, &at));
        else
            ok(segment->ops->find(segment, text, (size_t)size, segment->row_count, &found, &at));
        assert_false(found);
    }
    buf_deinit(&scratch.bytes);
}

static struct segment_write writing(const struct schema *schema, const struct segment_source *sources, size_t count)
{
    return (struct segment_write){.dir = &dir.dir, .uuid = sample_uuid, .segment_id = next_id++, .collection_id = 7,
                                  .partition_id = 8, .last_lsn = 9, .schema = schema, .sources = sources,
                                  .source_count = count};
}

static struct segment *written(const struct segment_write *what, unsigned flags)
{
    struct segment_written result;
    struct segment *segment;

    ok(segment_write(what, &result));
    ok(segment_open(&dir.dir, sample_uuid, &result.file, what->schema, flags, &segment));
    assert_int_equal(segment->row_count, result.row_count);
    assert_int_equal(segment->id, what->segment_id);
    assert_int_equal(segment_file_size(segment), result.file.size);
    assert_int_equal(segment_collection_id(segment), 7);
    assert_int_equal(segment_partition_id(segment), 8);
    assert_int_equal(segment_last_lsn(segment), 9);
    assert_true(segment_is_file(segment));
    assert_false(segment->growing);
    ok(segment_verify(segment, &strict));
    return segment;
}

static void test_round_trip(void **state)
{
    static const size_t counts[] = {0, 1, 2, 63, 64, 65, 129, 1023, 1024, 1025, 3000};
    struct rng rng = rng_seeded(sample_seed(1));

    for (unsigned flags = 0; flags < 16; flags++)
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            struct schema *schema = sample_schema(flags);
            struct segment *growing = sample_growing(schema, &rng, flags, counts[i], -100, 1), *sealed;
            struct segment_source source = {growing, counts[i], NULL, NULL};
            struct segment_write what = writing(schema, &source, 1);
            what.block_rows = i % 3 == 0 ? 0 : (size_t)64 << i % 4;
            sealed = written(&what, i % 2 ? SEGMENT_IN_HEAP : 0);
            for (size_t row = 0; row < counts[i]; row++)
                assert_same_row(growing, row, sealed, row);
            assert_int_equal(sealed->keys_ascend, growing->keys_ascend);
            assert_blocks_agree(sealed);
            assert_finds_keys(sealed);
            segment_release(sealed);
            segment_release(growing);
            schema_free(schema);
        }
}

/* Some rows of several sources, growing and sealed, in the order of the sources or any other, with row maps. */
static void merge(struct rng *rng, unsigned flags, bool ordered)
{
    struct schema *schema = sample_schema(flags);
    struct segment *segments[3], *merged;
    struct segment_source sources[3];
    uint64_t *keep[3];
    size_t total = 0, n = 0;
    uint32_t *order;
    struct segment_write what;

    for (size_t s = 0; s < 3; s++) {
        size_t rows = rng_below(rng, 700);
        struct segment *growing = sample_growing(schema, rng, flags, rows, 10000 * (int64_t)(3 - s), s + 1);
        segments[s] = growing;
        if (s == 1) {
            struct segment_source whole = {growing, rows, NULL, NULL};
            what = writing(schema, &whole, 1);
            what.block_rows = 128;
            segments[s] = written(&what, 0);
            segment_release(growing);
        }
        keep[s] = mem_array_zalloc(bitmap_words(rows) + 1, 8);
        for (size_t row = 0; row < rows; row++)
            if (s == 0 || rng_below(rng, 3)) {
                bitmap_set(keep[s], row);
                total++;
            }
        sources[s] = (struct segment_source){segments[s], rows, s == 0 ? NULL : keep[s],
                                             mem_array_alloc(rows + 1, sizeof(uint32_t))};
    }
    order = mem_array_alloc(total + 1, sizeof *order);
    for (size_t i = 0; i < total; i++)
        order[i] = (uint32_t)i;
    for (size_t i = total; i > 1; i--) {
        size_t j = rng_below(rng, i);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
    what = writing(schema, sources, 3);
    what.block_rows = (size_t)64 << rng_below(rng, 5);
    what.order = ordered ? order : NULL;
    merged = written(&what, 0);
    assert_int_equal(merged->row_count, total);
    for (size_t s = 0; s < 3; s++)
        for (size_t row = 0; row < sources[s].row_count; row++) {
            if (!bitmap_get(keep[s], row)) {
                assert_int_equal(sources[s].row_map[row], UINT32_MAX);
                continue;
            }
            assert_same_row(segments[s], row, merged, sources[s].row_map[row]);
            n++;
        }
    assert_int_equal(n, total);
    for (size_t i = 0; i < total && ordered; i++) { /* the order is the one asked for */
        size_t s = 0, from = order[i], row = 0;
        while (from >= (s ? bitmap_count(keep[s], sources[s].row_count) : sources[0].row_count)) {
            from -= s ? bitmap_count(keep[s], sources[s].row_count) : sources[0].row_count;
            s++;
        }
        for (row = bitmap_next(keep[s], sources[s].row_count, 0); from > 0; from--)
            row = bitmap_next(keep[s], sources[s].row_count, row + 1);
        assert_int_equal(sources[s].row_map[row], i);
    }
    assert_blocks_agree(merged);
    assert_finds_keys(merged);
    segment_release(merged);
    for (size_t s = 0; s < 3; s++) {
        mem_free(sources[s].row_map);
        mem_free(keep[s]);
        segment_release(segments[s]);
    }
    mem_free(order);
    schema_free(schema);
}

static void test_merge(void **state)
{
    struct rng rng = rng_seeded(sample_seed(2));

    for (int i = 0; i < 40; i++)
        merge(&rng, (unsigned)i % 16, i / 16 % 2);
}

/* A field added after a source was written takes its default, or none. */
static void test_new_fields(void **state)
{
    struct rng rng = rng_seeded(sample_seed(3));
    struct schema *old = sample_schema(SAMPLE_SMALL), *with_default, *newest;
    vecdb_field extra = {.name = "rating", .type = VECDB_TYPE_INT32, .default_value = "42"};
    vecdb_field text = {.name = "note", .type = VECDB_TYPE_VARCHAR, .default_value = "\"caf\xC3\xA9\""};
    vecdb_field vector = {.name = "second", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2000, .flags = VECDB_NULLABLE};
    struct segment *growing = sample_growing(old, &rng, SAMPLE_SMALL, 300, 0, 1), *sealed;
    struct segment_source source = {growing, 300, NULL, NULL};
    struct column_scratch scratch = {0};
    struct schema *between;
    uint32_t order[300];

    ok(schema_with_field(old, &extra, &with_default));
    ok(schema_with_field(with_default, &text, &between));
    ok(schema_with_field(between, &vector, &newest));
    for (uint32_t i = 0; i < 300; i++)
        order[i] = 299 - i;
    for (int reverse = 0; reverse < 2; reverse++) {
        struct segment_write what = writing(newest, &source, 1);
        what.order = reverse ? order : NULL;
        sealed = written(&what, 0);
        for (size_t row = 0; row < 300; row++) {
            struct column column;
            size_t size;
            uint64_t bits[5];
            ok(segment_row(sealed, schema_find(newest, "rating", 6), row, &scratch, &column));
            assert_true(column_is_valid(&column, 0));
            assert_int_equal(load_u32(column.data), 42);
            ok(segment_row(sealed, schema_find(newest, "note", 4), row, &scratch, &column));
            assert_memory_equal(column_bytes(&column, 0, &size), "caf\xC3\xA9", 5);
            assert_int_equal(size, 5);
            ok(segment_row(sealed, schema_find(newest, "second", 6), row, &scratch, &column));
            assert_false(column_is_valid(&column, 0));
            bitmap_fill(bits, 300);
            sealed->ops->and_present(sealed, schema_find(newest, "second", 6), 300, bits);
            assert_int_equal(bitmap_count(bits, 300), 0);
        }
        /* opened with a schema that lacks its fields, or has them otherwise */
        segment_release(sealed);
    }
    buf_deinit(&scratch.bytes);
    segment_release(growing);
    schema_free(old);
    schema_free(with_default);
    schema_free(between);
    schema_free(newest);
}

static void test_loaded(void **state)
{
    struct rng rng = rng_seeded(sample_seed(4));

    for (unsigned flags = 0; flags < 8; flags++) {
        struct schema *schema = sample_schema(flags);
        struct segment *growing = sample_growing(schema, &rng, flags, 500, 0, 1), *sealed, *loaded, *unloaded;
        struct segment_source source = {growing, 500, NULL, NULL};
        struct segment_write what = writing(schema, &source, 1);
        size_t floats = schema_find(schema, "floats", 6);
        unsigned shift;
        sealed = written(&what, 0);
        ok(segment_load(sealed, NULL, &loaded));
        ok(segment_unload(loaded, &unloaded));
        assert_true(segment_memory(loaded) > segment_memory(sealed) + 500 * schema->fields[floats].width);
        assert_int_equal(segment_memory(unloaded), segment_memory(sealed));
        assert_ptr_not_equal(sealed->ops->vector_blocks(sealed, floats, &shift)[0],
                             loaded->ops->vector_blocks(loaded, floats, &shift)[0]);
        segment_release(sealed);
        for (size_t row = 0; row < 500; row++) {
            assert_same_row(growing, row, loaded, row);
            assert_same_row(growing, row, unloaded, row);
        }
        assert_finds_keys(loaded);
        assert_int_equal(segment_field_checksum(loaded, floats), segment_field_checksum(unloaded, floats));
        segment_release(unloaded);
        segment_release(loaded);
        segment_release(growing);
        schema_free(schema);
    }
}

static bool stop_at(void *context, const char *stage, uint64_t done, uint64_t total)
{
    assert_true(done <= total);
    return (*(int *)context)-- > 0;
}

static void assert_no_file(uint64_t id)
{
    char name[FILE_NAME_SIZE];
    struct vfs_stat stat;

    format_file_name(FILE_SEGMENT, id, name);
    assert_int_equal(dir_stat(&dir.dir, name, &stat), VECDB_ERR_NO_SUCH);
}

static void test_refusals(void **state)
{
    struct rng rng = rng_seeded(sample_seed(5));

    for (unsigned flags = 0; flags < 2; flags++) {
        struct schema *schema = sample_schema(flags), *other = sample_schema(flags | SAMPLE_SMALL);
        struct segment *growing = sample_growing(schema, &rng, flags, 200, 0, 1), *sealed;
        struct segment_source twice[2] = {{growing, 200, NULL, NULL}, {growing, 150, NULL, NULL}};
        struct segment_write what = writing(schema, twice, 2);
        struct segment_written result;
        uint32_t order[200] = {0};
        int calls;

        assert_int_equal(segment_write(&what, &result), VECDB_ERR_EXISTS); /* every key twice */
        assert_no_file(what.segment_id);
        what = writing(schema, twice, 1);
        what.order = order; /* all the same row */
        assert_int_equal(segment_write(&what, &result), VECDB_ERR_INVALID);
        what.order = NULL;
        what.progress = stop_at;
        what.progress_context = &calls;
        for (calls = 0; calls < 3; calls++) {
            int left = calls;
            what.progress_context = &left;
            assert_int_equal(segment_write(&what, &result), VECDB_ERR_CANCELLED);
            assert_no_file(what.segment_id);
        }
        calls = 100000;
        what.progress_context = &calls;
        ok(segment_write(&what, &result));
        assert_int_equal(segment_write(&what, &result), VECDB_ERR_EXISTS); /* the file */
        assert_int_equal(segment_open(&dir.dir, sample_uuid, &result.file, other, 0, &sealed), VECDB_ERR_CORRUPT);
        result.file.file_id = 999999;
        assert_int_equal(segment_open(&dir.dir, sample_uuid, &result.file, schema, 0, &sealed), VECDB_ERR_NO_SUCH);
        assert_null(sealed);
        segment_release(growing);
        schema_free(schema);
        schema_free(other);
    }
}

/* Write rows of two segments, one of them older than the schema's last fields, in an order or as they come. */
static vecdb_status write_mixed(const struct dir *where, const struct schema *newest, struct segment *const *segments,
                                const uint32_t *order)
{
    uint32_t maps[2][150];
    struct segment_source sources[2] = {{segments[0], 150, NULL, maps[0]}, {segments[1], 90, NULL, maps[1]}};
    struct segment_write what = writing(newest, sources, 2);
    struct segment_written result;

    what.dir = where;
    what.order = order;
    what.block_rows = 64;
    return segment_write(&what, &result);
}

static size_t count_files(const struct simfs *fs)
{
    size_t count = 0;

    while (simfs_name(fs, "d", count))
        count++;
    return count;
}

/* Whatever fails while a segment is written, the caller hears of it, nothing stays behind and nothing is lost. */
static void test_failures(void **state)
{
    struct rng rng = rng_seeded(sample_seed(6));
    struct schema *old = sample_schema(0), *with_default, *between, *newest;
    vecdb_field extra = {.name = "rating", .type = VECDB_TYPE_INT32, .default_value = "42"};
    vecdb_field text = {.name = "note", .type = VECDB_TYPE_VARCHAR, .max_length = 10, .flags = VECDB_NULLABLE};
    vecdb_field vector = {.name = "second", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 20, .flags = VECDB_NULLABLE};
    struct segment *segments[2];
    uint32_t order[240];

    ok(schema_with_field(old, &extra, &with_default));
    ok(schema_with_field(with_default, &text, &between));
    ok(schema_with_field(between, &vector, &newest));
    segments[0] = sample_growing(old, &rng, 0, 150, 0, 1);
    segments[1] = sample_growing(newest, &rng, 0, 90, 10000, 2);
    for (uint32_t i = 0; i < 240; i++)
        order[i] = i * 7 % 240;
    for (int ordered = 0; ordered < 2; ordered++) {
        const uint32_t *asked = ordered ? order : NULL;
        uint64_t allocations, calls;
        size_t written_files = 1;
        struct simfs *fs = simfs_create();
        struct simfs_faults faults = {0};
        struct dir where;

        ok(dir_open(simfs_vfs(fs), "d", true, &where));
        simfs_set_faults(fs, &faults);
        fault_memory(0, false);
        ok(write_mixed(&where, newest, segments, asked));
        allocations = fault_memory_count();
        fault_memory_end();
        calls = simfs_calls(fs);
        assert_in_range(allocations, 10, 1000);
        assert_in_range(calls, 3, 1000);
        for (uint64_t n = 1; n <= allocations; n++) {
            fault_memory(n, n % 2);
            assert_int_equal(write_mixed(&where, newest, segments, asked), VECDB_ERR_NOMEM);
            assert_int_equal(fault_memory_live(), 0);
            fault_memory_end();
            assert_int_equal(count_files(fs), 1);
        }
        for (faults.fail_at = 1; faults.fail_at <= calls; faults.fail_at++) {
            faults.error = faults.fail_at % 2 ? ENOSPC : EIO;
            simfs_set_faults(fs, &faults);
            vecdb_status status = write_mixed(&where, newest, segments, asked);
            assert_true(simfs_fault_hit(fs));
            assert_true(status == (faults.error == EIO ? VECDB_ERR_IO : VECDB_ERR_FULL) || status == VECDB_OK /* closing */);
            written_files += status == VECDB_OK;
        }
        simfs_set_faults(fs, NULL);
        assert_int_equal(count_files(fs), written_files);
        assert_int_equal(simfs_open_count(fs), 1);
        dir_close(&where);
        simfs_free(fs);
    }
    for (size_t s = 0; s < 2; s++)
        segment_release(segments[s]);
    schema_free(old);
    schema_free(with_default);
    schema_free(between);
    schema_free(newest);
}

/* Blocks that would unpack to too much get fewer rows. */
static void test_large_values(void **state)
{
    vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                            {.name = "text", .type = VECDB_TYPE_VARCHAR, .max_length = 1000000},
                            {.name = "v", .type = VECDB_TYPE_INT8_VECTOR, .dim = 4}};
    vecdb_schema public_form = VECDB_SCHEMA_INIT;
    struct schema *schema;
    struct segment *growing, *sealed;
    struct segment_source source;
    struct segment_write what;
    enum { ROWS = 300, LONG = 500000 };
    int64_t keys[ROWS];
    uint32_t offsets[ROWS + 1];
    uint8_t vectors[ROWS * 4] = {0};
    uint8_t *text = mem_alloc((size_t)ROWS * LONG);
    struct column columns[3];
    struct rows rows = {.row_count = ROWS, .columns = columns};

    public_form.name = "large";
    public_form.fields = fields;
    public_form.field_count = 3;
    ok(schema_create(&public_form, &schema));
    rows.schema = schema;
    memset(text, 'x', (size_t)ROWS * LONG);
    for (uint32_t i = 0; i <= ROWS; i++) {
        offsets[i] = i * LONG;
        if (i < ROWS)
            keys[i] = i;
    }
    columns[0] = (struct column){.type = VECDB_TYPE_INT64, .width = 8, .data = (uint8_t *)keys, .row_count = ROWS};
    columns[1] = (struct column){.type = VECDB_TYPE_VARCHAR, .data = text, .offsets = offsets, .row_count = ROWS};
    columns[2] = (struct column){.type = VECDB_TYPE_INT8_VECTOR, .dim = 4, .width = 4, .data = vectors, .row_count = ROWS};
    ok(growing_create(schema, 1, ROWS, &growing));
    ok(growing_append(growing, &rows, 0, ROWS, NULL));
    source = (struct segment_source){growing, ROWS, NULL, NULL};
    what = writing(schema, &source, 1);
    sealed = written(&what, 0);
    assert_int_equal(sealed->block_rows, 128); /* 128 x 500,000 bytes are less than 64 MiB */
    assert_same_row(growing, 299, sealed, 299);
    segment_release(sealed);
    segment_release(growing);
    schema_free(schema);
    mem_free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_merge),    cmocka_unit_test(test_new_fields),
        cmocka_unit_test(test_loaded),     cmocka_unit_test(test_refusals), cmocka_unit_test(test_large_values),
        cmocka_unit_test(test_failures),
    };

    return cmocka_run_group_tests(tests, open_dir, close_dir);
}
