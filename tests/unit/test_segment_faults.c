/* What may fail while containers and segments are written, opened and loaded, where it is hard to meet: each allocation and each
 * write of files that are longer than the writer's buffer, sources that are damaged, files that change while they are read, limits. */
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mem.h"
#include "storage/block.h"
#include "storage/growing.h"
#include "storage/segment_file.h"
#include "storage/segment_format.h"
#include "storage/segment_writer.h"
#include "storage/tombstones.h"
#include "support/fault.h"
#include "support/one_file.h"
#include "support/sample.h"
#include "support/simfs.h"
#include "support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        if ((call) != VECDB_OK)                                                                                        \
            fail_msg("%s: %s", #call, error_last()->message);                                                          \
    } while (0)

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void assert_says(const char *words)
{
    if (!strstr(error_last()->message, words))
        fail_msg("\"%s\" does not say \"%s\"", error_last()->message, words);
}

/* A job that writes files into a directory of the simulated disk and leaves nothing behind when it fails. */
typedef vecdb_status (*job)(const struct dir *dir, void *context);

static void begin_disk(struct simfs **fs, struct dir *dir)
{
    *fs = simfs_create();
    ok(dir_open(simfs_vfs(*fs), "d", true, dir));
}

static void end_disk(struct simfs *fs, struct dir *dir)
{
    dir_close(dir);
    simfs_free(fs);
}

/* Every file call of a job fails once. Returns how many there were. */
static uint64_t fail_calls(job run, void *context)
{
    uint64_t n = 0;
    bool hit = true;

    while (hit) {
        struct simfs_faults faults = {.fail_at = ++n, .error = EIO};
        struct simfs *fs;
        struct dir dir;
        vecdb_status status;
        begin_disk(&fs, &dir);
        simfs_set_faults(fs, &faults);
        status = run(&dir, context);
        hit = simfs_fault_hit(fs);
        assert_true(status == VECDB_OK || (hit && status == VECDB_ERR_IO));
        if (status != VECDB_OK)
            assert_null(simfs_name(fs, "d", 0));
        assert_int_equal(simfs_open_count(fs), 1);
        end_disk(fs, &dir);
    }
    return n - 1;
}

/* Every allocation of a job fails once. `otherwise` is what it ends with when none does. */
static uint64_t fail_allocations(job run, void *context, vecdb_status otherwise)
{
    uint64_t n = 0;
    bool hit = true;

    while (hit) {
        struct simfs *fs;
        struct dir dir;
        vecdb_status status;
        begin_disk(&fs, &dir);
        fault_memory(++n, false);
        status = run(&dir, context);
        hit = fault_memory_hit();
        assert_int_equal(fault_memory_live(), 0);
        fault_memory_end();
        if (status != (hit ? VECDB_ERR_NOMEM : otherwise))
            fail_msg("allocation %llu: status %d: %s", (unsigned long long)n, status, error_last()->message);
        if (status != VECDB_OK)
            assert_null(simfs_name(fs, "d", 0));
        end_disk(fs, &dir);
    }
    return n - 1;
}

/* ---- containers ---- */

/* Sections of these sizes, and so many of a page each behind them. */
struct sections {
    size_t sizes[3];
    size_t pages;
};

static vecdb_status write_sections(const struct dir *dir, void *context)
{
    const struct sections *sections = context;
    struct container_writer writer;
    struct container_id id;
    vecdb_status status = container_writer_init(&writer, dir, FILE_INDEX, sample_uuid, 9);
    uint8_t *bytes = calloc(1, 2000000);

    if (status != VECDB_OK) {
        free(bytes);
        return status;
    }
    for (size_t i = 0; i < COUNT(sections->sizes) + sections->pages && status == VECDB_OK; i++) {
        size_t size = i < COUNT(sections->sizes) ? sections->sizes[i] : CONTAINER_ALIGNMENT;
        status = container_section_put(&writer, 100, (uint32_t)i, 1, size, bytes, size);
    }
    if (status == VECDB_OK)
        status = container_writer_finish(&writer, &id);
    if (status != VECDB_OK)
        container_writer_abort(&writer);
    free(bytes);
    return status;
}

static void writing_a_container(void **state)
{
    struct sections first_in_the_middle = {{70000, 1500000, 5}, 0}, first_in_the_padding = {{65436, 0, 7}, 600}, limit = {{0}, 4094};

    fail_allocations(write_sections, &first_in_the_middle, VECDB_OK);
    fail_allocations(write_sections, &first_in_the_padding, VECDB_OK);
    assert_in_range(fail_calls(write_sections, &first_in_the_middle), 8, 20);
    assert_in_range(fail_calls(write_sections, &first_in_the_padding), 8, 20);
    struct simfs *fs;
    struct dir dir;
    begin_disk(&fs, &dir);
    assert_int_equal(write_sections(&dir, &limit), VECDB_ERR_LIMIT);
    assert_says("more than 4096 sections");
    assert_null(simfs_name(fs, "d", 0));
    end_disk(fs, &dir);
}

/* Two sections that share the pieces between them in another way than they were written. */
static void pieces_that_do_not_add_up(void **state)
{
    struct sections written = {{69632, 61440, 4096}, 0}, other = {{65536, 65536, 4096}, 0};
    const struct container_id unknown = {.file_id = 9};

    for (int more = 0; more < 2; more++) { /* pieces than the header says; or fewer */
        const struct sections *there = more ? &other : &written, *told = more ? &written : &other;
        struct container container;
        struct container_id id = unknown;
        struct simfs *fs;
        struct dir dir;
        uint8_t *bytes;
        size_t size;
        begin_disk(&fs, &dir);
        ok(write_sections(&dir, (void *)(uintptr_t)there));
        bytes = simfs_bytes(fs, "d", "idx-9.idx", &size);
        assert_non_null(bytes);
        ok(container_init(&container, "idx-9.idx", bytes, size, FILE_INDEX, sample_uuid, &id));
        container_deinit(&container);
        id.size = size + 1;
        assert_int_equal(container_init(&container, "idx-9.idx", bytes, size, FILE_INDEX, sample_uuid, &id), VECDB_ERR_CORRUPT);
        assert_says("the manifest says");
        uint8_t *table = bytes + load_u64(bytes + 72);
        uint64_t at = 4096, piece = 0;
        for (size_t i = 0; i < 3; i++) {
            store_u64(table + 64 * i + 8, at);
            store_u64(table + 64 * i + 16, told->sizes[i]);
            store_u64(table + 64 * i + 24, told->sizes[i]);
            store_u64(table + 64 * i + 48, piece);
            at += told->sizes[i];
            piece += (told->sizes[i] + 65535) / 65536;
        }
        reseal(bytes, size);
        assert_int_equal(container_init(&container, "idx-9.idx", bytes, size, FILE_INDEX, sample_uuid, &unknown), VECDB_ERR_CORRUPT);
        assert_says("the header says");
        end_disk(fs, &dir);
    }
}

static vecdb_status save_tombstones(const struct dir *dir, void *context)
{
    struct container_id id;

    return tombstones_save(context, dir, sample_uuid, 5, 3, &id);
}

static void writing_many_deletions(void **state)
{
    const uint32_t rows[] = {0, 100000, 19999999};
    struct tombstones *tombstones;

    ok(tombstones_with(NULL, 20000000, rows, COUNT(rows), &tombstones));
    assert_in_range(fail_calls(save_tombstones, tombstones), 8, 20);
    tombstones_release(tombstones);
}

/* ---- rows ---- */

enum { FIELDS = 8 };

static struct schema *make_schema(const vecdb_field *fields, size_t count)
{
    vecdb_schema form = VECDB_SCHEMA_INIT;
    struct schema *schema;

    form.name = "faults";
    form.fields = fields;
    form.field_count = count;
    ok(schema_create(&form, &schema));
    return schema;
}

static vecdb_field key = {.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                   number = {.name = "n", .type = VECDB_TYPE_INT32},
                   title = {.name = "title", .type = VECDB_TYPE_VARCHAR, .max_length = 100},
                   vector = {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 4},
                   rating = {.name = "rating", .type = VECDB_TYPE_INT32, .default_value = "42"},
                   label = {.name = "label", .type = VECDB_TYPE_VARCHAR, .max_length = 65535, .default_value = "\"label\""},
                   nothing = {.name = "nothing", .type = VECDB_TYPE_VARCHAR, .max_length = 10, .flags = VECDB_NULLABLE},
                   second = {.name = "second", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 4, .flags = VECDB_NULLABLE};

/* Growing rows of `key`, `number`, `vector` and, if the schema has it, `title`: noise of 20 letters. */
static struct segment *make_rows(const struct schema *schema, size_t count)
{
    struct rng rng = rng_seeded(11);
    struct column columns[FIELDS] = {{0}};
    struct rows rows = {.schema = schema, .row_count = count, .columns = columns};
    int64_t *keys = mem_array_alloc(count, 8);
    int32_t *numbers = mem_array_zalloc(count, 4);
    float *vectors = mem_array_zalloc(count * 4, 4);
    uint32_t *offsets = mem_array_alloc(count + 1, 4);
    uint8_t *text = mem_array_alloc(count, 20);
    struct segment *growing;

    for (size_t i = 0; i < count; i++)
        keys[i] = (int64_t)i;
    for (size_t i = 0; i <= count; i++)
        offsets[i] = (uint32_t)(20 * i);
    for (size_t i = 0; i < 20 * count; i++)
        text[i] = (uint8_t)('0' + rng_below(&rng, 64));
    for (size_t f = 0; f < schema->field_count; f++) {
        const struct field *field = &schema->fields[f];
        const void *data = field->type == VECDB_TYPE_INT64     ? (void *)keys
                           : field->type == VECDB_TYPE_INT32   ? (void *)numbers
                           : field->type == VECDB_TYPE_VARCHAR ? (void *)text
                                                               : (void *)vectors;
        columns[f] = (struct column){.type = field->type, .dim = field->dim, .width = field->width, .data = data, .row_count = count,
                                     .offsets = field->type == VECDB_TYPE_VARCHAR ? offsets : NULL};
    }
    ok(growing_create(schema, 1, count, &growing));
    ok(growing_append(growing, &rows, 0, count, NULL));
    mem_free(keys);
    mem_free(numbers);
    mem_free(vectors);
    mem_free(offsets);
    mem_free(text);
    return growing;
}

/* ---- writing segments ---- */

struct recipe {
    struct segment_source sources[2];
    size_t source_count;
    const struct schema *schema;
    uint32_t *order;
    size_t block_rows;
    vecdb_progress progress;
    void *progress_context;
};

static vecdb_status write_recipe(const struct dir *dir, void *context)
{
    const struct recipe *recipe = context;
    struct segment_write what = {.dir = dir, .uuid = sample_uuid, .segment_id = 3, .schema = recipe->schema,
                                 .sources = recipe->sources, .source_count = recipe->source_count, .order = recipe->order,
                                 .block_rows = recipe->block_rows, .progress = recipe->progress,
                                 .progress_context = recipe->progress_context};
    struct segment_written written;

    return segment_write(&what, &written);
}

static vecdb_status write_once(const struct recipe *recipe)
{
    struct simfs *fs;
    struct dir dir;
    vecdb_status status;

    begin_disk(&fs, &dir);
    status = write_recipe(&dir, (void *)(uintptr_t)recipe);
    assert_int_equal(simfs_name(fs, "d", 0) != NULL, status == VECDB_OK);
    end_disk(fs, &dir);
    return status;
}

static uint32_t *backwards(size_t count)
{
    uint32_t *order = mem_array_alloc(count, sizeof *order);

    for (size_t i = 0; i < count; i++)
        order[i] = (uint32_t)(count - 1 - i);
    return order;
}

/* Each kind of section is longer than what the writer keeps, so that each is where some write fails. */
static void every_write_of_a_long_segment(void **state)
{
    enum { ROWS = 280000 };
    vecdb_field olds[] = {key, number, title, vector}, news[] = {key, number, title, vector, rating, label, second};
    struct schema *old = make_schema(olds, COUNT(olds)), *newest = make_schema(news, COUNT(news));
    struct segment *growing = make_rows(old, ROWS);
    struct recipe recipe = {.sources = {{growing, ROWS, NULL, NULL}}, .source_count = 1, .schema = newest};
    uint32_t *order = backwards(ROWS);

    for (int ordered = 0; ordered < 2; ordered++) {
        recipe.order = ordered ? order : NULL;
        assert_in_range(fail_calls(write_recipe, &recipe), 15, 60);
    }
    mem_free(order);
    segment_release(growing);
    schema_free(old);
    schema_free(newest);
}

/* Buffers grow where the first field of a kind needs them: a schema for each. */
static void every_allocation_of_first_fields(void **state)
{
    enum { ROWS = 300 };
    vecdb_field olds[] = {key, number, vector};
    vecdb_field news[][4] = {{key, number, vector, rating}, {key, number, vector, label}, {key, number, vector, nothing}};
    struct schema *old = make_schema(olds, COUNT(olds));
    struct segment *growing = make_rows(old, ROWS);
    uint32_t *order = backwards(ROWS);

    for (size_t i = 0; i < COUNT(news); i++) {
        struct schema *schema = make_schema(news[i], 4);
        struct recipe recipe = {.sources = {{growing, ROWS, NULL, NULL}}, .source_count = 1, .schema = schema, .block_rows = 64};
        for (int ordered = 0; ordered < 2; ordered++) {
            recipe.order = ordered ? order : NULL;
            assert_in_range(fail_allocations(write_recipe, &recipe, VECDB_OK), 10, 100);
        }
        schema_free(schema);
    }
    mem_free(order);
    segment_release(growing);
    schema_free(old);
}

static bool stop(void *context, const char *phase, uint64_t done, uint64_t total)
{
    int *calls = context;

    return (*calls)-- > 0;
}

/* A field that older rows lack has the default's size in each: blocks of it may be too large, and windows more than one. */
static void long_defaults(void **state)
{
    enum { ROWS = 66000 };
    char text[1103];
    vecdb_field olds[] = {key, vector}, news[] = {key, vector, label};
    struct schema *old = make_schema(olds, COUNT(olds)), *newest;
    struct segment *growing = make_rows(old, ROWS);
    struct recipe recipe = {.sources = {{growing, ROWS, NULL, NULL}}, .source_count = 1, .block_rows = 65536};
    uint32_t *order = backwards(ROWS);
    int calls = 0;

    memset(text, 'x', sizeof text - 1);
    text[0] = text[sizeof text - 2] = '"';
    text[sizeof text - 1] = '\0';
    news[2].default_value = text;
    recipe.schema = newest = make_schema(news, COUNT(news));
    assert_int_equal(write_once(&recipe), VECDB_OK);
    recipe.order = order;
    assert_int_equal(write_once(&recipe), VECDB_OK);
    recipe.progress = stop;
    recipe.progress_context = &calls;
    assert_int_equal(write_once(&recipe), VECDB_ERR_CANCELLED); /* in the first of several windows */
    mem_free(order);
    segment_release(growing);
    schema_free(old);
    schema_free(newest);
}

static void sources_that_do_not_fit(void **state)
{
    vecdb_field olds[] = {key, number, vector}, no_title[] = {key, number, vector, title}, no_second[] = {key, vector, number, rating};
    vecdb_field other[] = {key, number, vector};
    struct schema *old = make_schema(olds, COUNT(olds));
    struct segment *growing = make_rows(old, 10);
    struct recipe recipe = {.sources = {{growing, 10, NULL, NULL}, {growing, 10, NULL, NULL}}, .source_count = 1};
    struct schema *schema;

    no_second[3].default_value = NULL;
    recipe.schema = schema = make_schema(no_title, COUNT(no_title));
    assert_int_equal(write_once(&recipe), VECDB_ERR_INVALID);
    assert_says("has no field title");
    schema_free(schema);
    recipe.schema = schema = make_schema(no_second, COUNT(no_second));
    assert_int_equal(write_once(&recipe), VECDB_ERR_INVALID);
    assert_says("has no field rating");
    schema_free(schema);
    other[1].type = VECDB_TYPE_DOUBLE;
    recipe.schema = schema = make_schema(other, COUNT(other));
    assert_int_equal(write_once(&recipe), VECDB_ERR_TYPE);
    assert_says("field n has another type");
    schema_free(schema);
    recipe.schema = old;
    recipe.sources[0].row_count = recipe.sources[1].row_count = SEGMENT_MAX_ROWS; /* counted before they are looked at */
    recipe.source_count = 2;
    assert_int_equal(write_once(&recipe), VECDB_ERR_LIMIT);
    assert_says("rows are more than");
    segment_release(growing);
    schema_free(old);
}

/* ---- sealed segments: damaged, changing, or without memory ---- */

struct specimen {
    struct schema *schema;
    uint8_t *bytes;
    size_t size;
    struct one_file file;
    struct dir dir;
};

static const struct container_id any_size = {3, 0, 0};

/* The file that a recipe makes. */
static void take_file(struct specimen *specimen, const struct recipe *recipe)
{
    struct simfs *fs;
    struct dir dir;
    const uint8_t *bytes;

    begin_disk(&fs, &dir);
    ok(write_recipe(&dir, (void *)(uintptr_t)recipe));
    bytes = simfs_bytes(fs, "d", "seg-3.dat", &specimen->size);
    assert_non_null(bytes);
    specimen->bytes = mem_dup(bytes, specimen->size);
    end_disk(fs, &dir);
    one_file_init(&specimen->file, specimen->bytes, specimen->size, &specimen->dir);
}

static void specimen_make(struct specimen *specimen, unsigned flags, size_t row_count)
{
    struct rng rng = rng_seeded(7);
    struct segment *growing;
    struct recipe recipe = {.source_count = 1, .block_rows = 64};

    recipe.schema = specimen->schema = sample_schema(flags);
    growing = sample_growing(specimen->schema, &rng, flags, row_count, 0, 1);
    recipe.sources[0] = (struct segment_source){growing, row_count, NULL, NULL};
    take_file(specimen, &recipe);
    segment_release(growing);
}

static void specimen_free(struct specimen *specimen)
{
    mem_free(specimen->bytes);
    schema_free(specimen->schema);
}

static struct segment *open_specimen(struct specimen *specimen)
{
    struct segment *segment;

    ok(segment_open(&specimen->dir, sample_uuid, &any_size, specimen->schema, 0, &segment));
    return segment;
}

/* A section's entry in the table. */
static uint8_t *find_entry(const struct specimen *specimen, uint32_t type, uint32_t field)
{
    uint8_t *table = specimen->bytes + load_u64(specimen->bytes + 72);

    for (uint32_t i = 0; i < load_u32(specimen->bytes + 80); i++)
        if (load_u32(table + 64 * i) == type && load_u32(table + 64 * i + 4) == field)
            return table + 64 * i;
    fail_msg("no section %u of field %u", type, field);
    return NULL;
}

static uint8_t *find_section(const struct specimen *specimen, uint32_t type, uint32_t field)
{
    return specimen->bytes + load_u64(find_entry(specimen, type, field) + 8);
}

/* A byte of one section is wrong: whoever reads it is told, be it to load it or to copy it. */
static void damaged_sections(void **state)
{
    static const unsigned kinds[] = {SAMPLE_SHUFFLED, SAMPLE_TEXT_KEY, SAMPLE_TEXT_KEY | SAMPLE_SHUFFLED};
    enum { ROWS = 150 };
    size_t told = 0, loads = 0, checks = 0;

    for (size_t k = 0; k < COUNT(kinds); k++) {
        struct specimen specimen;
        uint32_t *order = backwards(ROWS), sections;
        specimen_make(&specimen, kinds[k], ROWS);
        sections = load_u32(specimen.bytes + 80);
        for (uint32_t i = 0; i < sections; i++) {
            uint8_t *entry = specimen.bytes + load_u64(specimen.bytes + 72) + 64 * i, *byte = specimen.bytes + load_u64(entry + 8);
            uint32_t type = load_u32(entry), field = load_u32(entry + 4);
            struct segment *segment, *loaded;
            bool bad_field = false;
            *byte ^= 0x10;
            vecdb_status status = segment_open(&specimen.dir, sample_uuid, &any_size, specimen.schema, 0, &segment);
            assert_true(status == VECDB_OK || status == VECDB_ERR_CORRUPT);
            if (status == VECDB_OK) {
                status = segment_load(segment, NULL, &loaded);
                assert_true(status == VECDB_OK || status == VECDB_ERR_CORRUPT);
                loads += status != VECDB_OK;
                if (status == VECDB_OK)
                    segment_release(loaded);
                segment_release(segment);
                for (int ordered = 0; ordered < 2; ordered++) {
                    segment = open_specimen(&specimen); /* nothing of it has been found right yet */
                    struct recipe recipe = {.sources = {{segment, ROWS, NULL, NULL}}, .source_count = 1, .block_rows = 64,
                                            .schema = specimen.schema, .order = ordered ? order : NULL};
                    status = write_once(&recipe);
                    assert_true(status == VECDB_OK || status == VECDB_ERR_CORRUPT);
                    if (type == SECTION_VALUES || type == SECTION_PACKED || type == SECTION_PAGES || type == SECTION_SIZES)
                        assert_int_equal(status, VECDB_ERR_CORRUPT);
                    told += status != VECDB_OK;
                    segment_release(segment);
                }
                segment = open_specimen(&specimen);
                for (size_t f = 0; f < specimen.schema->field_count; f++)
                    if (segment_check_field(segment, f) != VECDB_OK) {
                        assert_int_equal(f, field);
                        bad_field = true;
                    }
                assert_int_equal(bad_field, type < SECTION_KEYS);
                checks += bad_field;
                segment_release(segment);
            }
            *byte ^= 0x10;
        }
        mem_free(order);
        specimen_free(&specimen);
    }
    printf("damaged sections: %zu of writes, %zu of loads, %zu of checks\n", told, loads, checks);
    assert_true(told > 50 && loads > 5 && checks > 50);
}

/* Keys are read once more when all fields have been written. */
static bool damage_later(void *context, const char *phase, uint64_t done, uint64_t total)
{
    struct specimen *specimen = context;

    if (done * 2 > total)
        find_section(specimen, SECTION_PACKED, (uint32_t)specimen->schema->primary)[3] = 0xFE;
    return true;
}

static void keys_that_rot_meanwhile(void **state)
{
    struct specimen specimen;
    struct segment *segment;

    specimen_make(&specimen, SAMPLE_TEXT_KEY, 150);
    segment = open_specimen(&specimen);
    struct recipe recipe = {.sources = {{segment, 150, NULL, NULL}}, .source_count = 1, .block_rows = 64, .schema = specimen.schema,
                            .progress = damage_later, .progress_context = &specimen};
    assert_int_equal(write_once(&recipe), VECDB_ERR_CORRUPT);
    segment_release(segment);
    specimen_free(&specimen);
}

/* Two rows with one text for a key, found out in sealed sources: which takes memory to read them. */
static void keys_that_are_there_twice(void **state)
{
    struct specimen specimen;
    struct segment *segment;

    specimen_make(&specimen, SAMPLE_TEXT_KEY | SAMPLE_SMALL, 80);
    segment = open_specimen(&specimen);
    struct recipe recipe = {.sources = {{segment, 80, NULL, NULL}, {segment, 80, NULL, NULL}}, .source_count = 2, .block_rows = 64,
                            .schema = specimen.schema};
    assert_in_range(fail_allocations(write_recipe, &recipe, VECDB_ERR_EXISTS), 10, 200);
    assert_says("have the same key");
    segment_release(segment);
    specimen_free(&specimen);
}

static vecdb_status open_and_load(const struct dir *unused, void *context)
{
    struct specimen *specimen = context;
    struct segment *segment, *loaded;
    vecdb_status status = segment_open(&specimen->dir, sample_uuid, &any_size, specimen->schema, 0, &segment);

    if (status != VECDB_OK)
        return status;
    status = segment_load(segment, NULL, &loaded);
    if (status == VECDB_OK) /* texts that found no memory stay packed: that is no failure, but it is to be seen here */
        status = segment_memory(loaded) < specimen->size / 100 ? VECDB_OK
                 : fault_memory_hit()                          ? VECDB_ERR_NOMEM
                                                               : VECDB_OK;
    segment_release(loaded);
    segment_release(segment);
    return status;
}

static void no_memory_to_open_or_load(void **state)
{
    static const unsigned kinds[] = {SAMPLE_SHUFFLED, SAMPLE_TEXT_KEY, SAMPLE_SMALL};

    for (size_t k = 0; k < COUNT(kinds); k++) {
        struct specimen specimen;
        specimen_make(&specimen, kinds[k], 200);
        assert_in_range(fail_allocations(open_and_load, &specimen, VECDB_OK), 10, 200);
        specimen_free(&specimen);
    }
}

/* The same sections and one that nobody knows; or sizes that add up to more than a block can have. */
static void sections_of_another_kind(void **state)
{
    for (int kind = 0; kind < 2; kind++) {
        struct specimen specimen, changed;
        struct container_writer writer;
        struct container_id id;
        struct segment *segment;
        struct column_scratch scratch = {0};
        struct column column;
        struct simfs *fs;
        struct dir dir;
        size_t json;
        specimen_make(&specimen, SAMPLE_SMALL, 70);
        json = schema_find(specimen.schema, "json", 4);
        begin_disk(&fs, &dir);
        ok(container_writer_init(&writer, &dir, FILE_SEGMENT, sample_uuid, 3));
        for (uint32_t i = 0; i < load_u32(specimen.bytes + 80); i++) {
            const uint8_t *entry = specimen.bytes + load_u64(specimen.bytes + 72) + 64 * i;
            uint32_t huge[70];
            memset(huge, 0x70, sizeof huge);
            if (kind == 1 && load_u32(entry) == SECTION_SIZES && load_u32(entry + 4) == json)
                ok(container_section_put(&writer, SECTION_SIZES, (uint32_t)json, 4, 70, huge, sizeof huge));
            else
                ok(container_section_put(&writer, load_u32(entry), load_u32(entry + 4), load_u32(entry + 32), load_u64(entry + 24),
                                         specimen.bytes + load_u64(entry + 8), load_u64(entry + 16)));
        }
        if (kind == 0)
            ok(container_section_put(&writer, 77, CONTAINER_NO_FIELD, 0, 1, "unknown", 7));
        ok(container_writer_finish(&writer, &id));
        changed = (struct specimen){.schema = specimen.schema};
        changed.bytes = mem_dup(simfs_bytes(fs, "d", "seg-3.dat", &changed.size), id.size);
        one_file_init(&changed.file, changed.bytes, changed.size, &changed.dir);
        if (kind == 0) {
            assert_int_equal(segment_open(&changed.dir, sample_uuid, &id, specimen.schema, 0, &segment), VECDB_ERR_CORRUPT);
            assert_says("of which only");
        } else {
            segment = open_specimen(&changed);
            assert_int_equal(segment->ops->column(segment, json, 0, 64, &scratch, &column), VECDB_ERR_CORRUPT);
            assert_says("more than a block can have");
            assert_int_equal(segment->ops->row(segment, json, 5, &scratch, &column), VECDB_ERR_CORRUPT);
            assert_says("add up to");
            buf_deinit(&scratch.bytes);
            segment_release(segment);
        }
        mem_free(changed.bytes);
        specimen_free(&specimen);
        end_disk(fs, &dir);
    }
}

/* Row numbers that change under the map after they have been checked lead nowhere else. */
static void keys_that_change_after_they_were_checked(void **state)
{
    for (unsigned text = 0; text < 2; text++) {
        struct specimen specimen;
        struct segment *segment;
        struct column_scratch scratch = {0}, other = {0};
        struct column column;
        uint8_t *rows;
        size_t size, row = 0;
        specimen_make(&specimen, SAMPLE_SMALL | SAMPLE_SHUFFLED | (text ? SAMPLE_TEXT_KEY : 0), 70);
        segment = open_specimen(&specimen);
        ok(segment->ops->row(segment, 0, 5, &scratch, &column));
        const uint8_t *bytes = column_bytes(&column, 0, &size);
        for (int round = 0; round < 2; round++) {
            vecdb_status status = text ? segment_find_text(segment, bytes, size, &other, &row)
                                       : segment_find_int64(segment, (int64_t)load_u64(bytes), &row);
            assert_int_equal(status, round ? VECDB_ERR_CORRUPT : VECDB_OK);
            rows = find_section(&specimen, SECTION_KEY_ROWS, 0);
            for (size_t i = 0; i < 70; i++)
                store_u32(rows + 4 * i, 70);
        }
        assert_says("is in row 70 of 70");
        buf_deinit(&scratch.bytes);
        buf_deinit(&other.bytes);
        segment_release(segment);
        specimen_free(&specimen);
    }
}

/* A file that changes under the map while it is loaded, at each allocation: a page takes in the first bytes of the one behind it,
 * and everything that is said of it agrees. */
static struct {
    struct specimen specimen;
    uint64_t count, change_at;
} changing;

static void change_file(void)
{
    uint8_t *sizes = find_section(&changing.specimen, SECTION_SIZES, 1), *pages = find_section(&changing.specimen, SECTION_PAGES, 1);
    const uint8_t *packed = find_section(&changing.specimen, SECTION_PACKED, 1);
    struct block_entry entry = block_load_entry(pages);

    assert_int_equal(entry.stored_size, entry.size);
    entry.size = entry.stored_size += 40;
    entry.checksum = checksum(packed, entry.stored_size, 0);
    block_store_entry(pages, &entry);
    sizes[63] += 40;
}

static void *alloc_and_change(size_t alignment, size_t size)
{
    if (++changing.count == changing.change_at)
        change_file();
    return mem_system.alloc(alignment, size);
}

static void a_file_that_changes_while_it_is_loaded(void **state)
{
    const struct mem_table table = {alloc_and_change, mem_system.free};
    vecdb_field fields[] = {key, title, vector};
    struct schema *schema = make_schema(fields, COUNT(fields));
    struct segment *growing = make_rows(schema, 128);
    struct recipe recipe = {.sources = {{growing, 128, NULL, NULL}}, .source_count = 1, .block_rows = 64, .schema = schema};
    size_t memory[100], n = 0, packed = 0;

    do {
        struct segment *segment, *loaded;
        changing.specimen = (struct specimen){.schema = schema};
        take_file(&changing.specimen, &recipe);
        segment = open_specimen(&changing.specimen);
        changing.count = 0;
        changing.change_at = ++n;
        mem_set_table(&table);
        ok(segment_load(segment, NULL, &loaded));
        mem_set_table(NULL);
        assert_in_range(n, 1, 99);
        memory[n] = segment_memory(loaded);
        segment_release(loaded);
        segment_release(segment);
        mem_free(changing.specimen.bytes);
    } while (changing.count >= n);
    for (size_t i = 1; i < n; i++)
        packed += memory[i] + 128 * 20 <= memory[n]; /* the texts were not taken in */
    assert_in_range(packed, 2, n - 1);
    segment_release(growing);
    schema_free(schema);
}

/* Rows backwards have the same keys, but their place does not tell them. */
static void loaded_keys_that_are_counted(void **state)
{
    enum { ROWS = 128 };
    vecdb_field fields[] = {key, title, vector};
    struct schema *schema = make_schema(fields, COUNT(fields));
    struct segment *growing = make_rows(schema, ROWS);
    uint32_t *order = backwards(ROWS);
    size_t memory[2];

    for (int turned = 0; turned < 2; turned++) {
        struct recipe recipe = {.sources = {{growing, ROWS, NULL, NULL}}, .source_count = 1, .schema = schema,
                                .order = turned ? order : NULL};
        const int64_t others[] = {-1, ROWS, INT64_MIN, INT64_MAX, INT64_MIN + ROWS};
        struct specimen specimen = {.schema = schema};
        struct segment *segment, *loaded;
        size_t row;
        take_file(&specimen, &recipe);
        segment = open_specimen(&specimen);
        ok(segment_load(segment, NULL, &loaded));
        for (int64_t wanted = 0; wanted < ROWS; wanted++) {
            ok(segment_find_int64(loaded, wanted, &row));
            assert_int_equal(row, turned ? ROWS - 1 - wanted : wanted);
        }
        for (size_t i = 0; i < COUNT(others); i++)
            assert_int_equal(segment_find_int64(loaded, others[i], &row), VECDB_NOT_FOUND);
        memory[turned] = segment_memory(loaded);
        segment_release(loaded);
        segment_release(segment);
        mem_free(specimen.bytes);
    }
    assert_true(memory[0] + ROWS * 8 <= memory[1]);
    mem_free(order);
    segment_release(growing);
    schema_free(schema);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loaded_keys_that_are_counted),
        cmocka_unit_test(writing_a_container),
        cmocka_unit_test(pieces_that_do_not_add_up),
        cmocka_unit_test(writing_many_deletions),
        cmocka_unit_test(every_write_of_a_long_segment),
        cmocka_unit_test(every_allocation_of_first_fields),
        cmocka_unit_test(long_defaults),
        cmocka_unit_test(sources_that_do_not_fit),
        cmocka_unit_test(damaged_sections),
        cmocka_unit_test(keys_that_rot_meanwhile),
        cmocka_unit_test(keys_that_are_there_twice),
        cmocka_unit_test(no_memory_to_open_or_load),
        cmocka_unit_test(sections_of_another_kind),
        cmocka_unit_test(keys_that_change_after_they_were_checked),
        cmocka_unit_test(a_file_that_changes_while_it_is_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
