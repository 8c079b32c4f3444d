#include "support/sample.h"

#include "base/mem.h"
#include "schema/json.h"
#include "storage/growing.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

const uint8_t sample_uuid[16] = "a sample's uuid";

static void need(vecdb_status status)
{
    if (status == VECDB_OK)
        return;
    printf("sample: %s\n", error_last()->message);
    abort();
}

uint64_t sample_seed(uint64_t usual)
{
    const char *text = getenv("VECDB_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : usual;

    printf("VECDB_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

struct schema *sample_schema(unsigned flags)
{
    vecdb_field all[] = {
        {.name = "flag", .type = VECDB_TYPE_BOOL, .flags = VECDB_NULLABLE},
        {.name = "id", .type = flags & SAMPLE_TEXT_KEY ? VECDB_TYPE_VARCHAR : VECDB_TYPE_INT64,
         .flags = VECDB_PRIMARY_KEY, .max_length = flags & SAMPLE_TEXT_KEY ? 64 : 0},
        {.name = "tiny", .type = VECDB_TYPE_INT8},
        {.name = "short", .type = VECDB_TYPE_INT16, .flags = VECDB_NULLABLE},
        {.name = "int", .type = VECDB_TYPE_INT32, .flags = VECDB_NULLABLE},
        {.name = "long", .type = VECDB_TYPE_INT64},
        {.name = "float", .type = VECDB_TYPE_FLOAT, .flags = VECDB_NULLABLE},
        {.name = "double", .type = VECDB_TYPE_DOUBLE},
        {.name = "title", .type = VECDB_TYPE_VARCHAR, .flags = VECDB_NULLABLE},
        {.name = "json", .type = VECDB_TYPE_JSON, .flags = VECDB_NULLABLE},
        {.name = "numbers", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_INT32},
        {.name = "words", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_VARCHAR, .flags = VECDB_NULLABLE},
        {.name = "flags", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_BOOL},
        {.name = "absent", .type = VECDB_TYPE_INT32, .flags = VECDB_NULLABLE},
        {.name = "absent text", .type = VECDB_TYPE_VARCHAR, .flags = VECDB_NULLABLE},
        {.name = "floats", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 5},
        {.name = "halves", .type = VECDB_TYPE_FLOAT16_VECTOR, .dim = 3, .flags = VECDB_NULLABLE},
        {.name = "brains", .type = VECDB_TYPE_BFLOAT16_VECTOR, .dim = 2},
        {.name = "bytes", .type = VECDB_TYPE_INT8_VECTOR, .dim = 7},
        {.name = "bits", .type = VECDB_TYPE_BINARY_VECTOR, .dim = 16},
        {.name = "sparse", .type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .flags = VECDB_NULLABLE},
    };
    vecdb_field small[] = {
        {.name = "id", .type = flags & SAMPLE_TEXT_KEY ? VECDB_TYPE_VARCHAR : VECDB_TYPE_INT64,
         .flags = VECDB_PRIMARY_KEY, .max_length = flags & SAMPLE_TEXT_KEY ? 64 : 0},
        {.name = "flag", .type = VECDB_TYPE_BOOL, .flags = VECDB_NULLABLE},
        {.name = "json", .type = VECDB_TYPE_JSON, .flags = VECDB_NULLABLE},
        {.name = "words", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_VARCHAR},
        {.name = "floats", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 3, .flags = VECDB_NULLABLE},
        {.name = "sparse", .type = VECDB_TYPE_SPARSE_FLOAT_VECTOR},
    };
    vecdb_field dense[] = {
        {.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "year", .type = VECDB_TYPE_INT32},
        {.name = "price", .type = VECDB_TYPE_DOUBLE},
        {.name = "embedding", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 128},
    };
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    struct schema *made;

    schema.name = "sample";
    schema.fields = flags & SAMPLE_DENSE ? dense : flags & SAMPLE_SMALL ? small : all;
    schema.field_count = flags & SAMPLE_DENSE   ? sizeof dense / sizeof *dense
                         : flags & SAMPLE_SMALL ? sizeof small / sizeof *small
                                                : sizeof all / sizeof *all;
    schema.dynamic = !(flags & (SAMPLE_DENSE | SAMPLE_SMALL));
    need(schema_create(&schema, &made));
    return made;
}

static void put_text(struct rng *rng, unsigned flags, struct buf *out)
{
    static const char *const parts[] = {"", "a", "the quick brown fox ", "\xC3\xA9t\xC3\xA9 ", "\xE6\x97\xA5\xE6\x9C\xAC",
                                        "\xF0\x9F\x9A\x80", "lazy dog ", "0123456789"};
    size_t n = rng_below(rng, 6);

    if (flags & SAMPLE_LONG && rng_below(rng, 50) == 0)
        n = rng_below(rng, 5000);
    for (size_t i = 0; i < n; i++)
        need(buf_append_text(out, parts[rng_below(rng, 8)]));
}

static void put_json(struct rng *rng, struct buf *out)
{
    char text[200];

    switch (rng_below(rng, 5)) {
    case 0:
        snprintf(text, sizeof text, "null");
        break;
    case 1:
        snprintf(text, sizeof text, "%d", (int)rng_below(rng, 1000) - 500);
        break;
    case 2:
        snprintf(text, sizeof text, "[1, %d, \"x\", {\"deep\": [true, false, null, 1.5]}]", (int)rng_below(rng, 9));
        break;
    case 3:
        snprintf(text, sizeof text, "{}");
        break;
    default:
        snprintf(text, sizeof text, "{\"year\": %d, \"title\": \"\\u00e9 %d\", \"tags\": [\"a\", \"b\"]}",
                 (int)rng_below(rng, 3000), (int)rng_below(rng, 100));
    }
    need(json_parse(text, strlen(text), out));
}

static void put_words(struct rng *rng, unsigned flags, struct buf *out)
{
    uint32_t count = (uint32_t)rng_below(rng, 4), end = 0;
    struct buf bytes = {0}, ends = {0};

    for (uint32_t i = 0; i < count; i++) {
        put_text(rng, flags, &bytes);
        end = (uint32_t)bytes.size;
        need(buf_append(&ends, &end, 4));
    }
    need(buf_append(out, &count, 4));
    need(buf_append(out, ends.size ? ends.data : NULL, ends.size));
    need(buf_append(out, bytes.size ? bytes.data : NULL, bytes.size));
    buf_deinit(&bytes);
    buf_deinit(&ends);
}

static void put_sparse(struct rng *rng, struct buf *out)
{
    uint32_t count = (uint32_t)rng_below(rng, 5), index = 0;

    for (uint32_t i = 0; i < count; i++) {
        vecdb_sparse value = {index += 1 + (uint32_t)rng_below(rng, 1000), (float)rng_unit(rng)};
        need(buf_append(out, &value, sizeof value));
    }
}

static void put_value(const struct field *field, struct rng *rng, unsigned flags, int64_t key, struct buf *out)
{
    size_t count;
    char text[40];

    switch (field->type) {
    case VECDB_TYPE_VARCHAR:
        if (field->flags & VECDB_PRIMARY_KEY) {
            snprintf(text, sizeof text, "key %012lld%s", (long long)key, key % 3 ? "" : " \xC3\xA9");
            need(buf_append_text(out, text));
        } else {
            put_text(rng, flags, out);
        }
        return;
    case VECDB_TYPE_JSON:
        put_json(rng, out);
        return;
    case VECDB_TYPE_ARRAY:
        if (field->element_type == VECDB_TYPE_VARCHAR) {
            put_words(rng, flags, out);
            return;
        }
        count = rng_below(rng, 5);
        for (size_t i = 0; i < count; i++) {
            uint32_t number = (uint32_t)rng_below(rng, 2);
            need(buf_append(out, &number, field->element_type == VECDB_TYPE_BOOL ? 1 : 4));
        }
        return;
    case VECDB_TYPE_SPARSE_FLOAT_VECTOR:
        put_sparse(rng, out);
        return;
    case VECDB_TYPE_BOOL: {
        uint8_t flag = rng_below(rng, 2);
        need(buf_append(out, &flag, 1));
        return;
    }
    case VECDB_TYPE_FLOAT: {
        float number = (float)rng_normal(rng);
        need(buf_append(out, &number, 4));
        return;
    }
    case VECDB_TYPE_DOUBLE: {
        double number = rng_normal(rng);
        need(buf_append(out, &number, 8));
        return;
    }
    case VECDB_TYPE_FLOAT_VECTOR:
        for (uint32_t i = 0; i < field->dim; i++) {
            float number = (float)rng_unit(rng);
            need(buf_append(out, &number, 4));
        }
        return;
    default:
        if (field->flags & VECDB_PRIMARY_KEY) {
            need(buf_append(out, &key, 8));
            return;
        }
        for (size_t i = 0; i < field->width; i++) {
            uint8_t byte = (uint8_t)rng_below(rng, 100);
            need(buf_append(out, &byte, 1));
        }
    }
}

struct segment *sample_growing(const struct schema *schema, struct rng *rng, unsigned flags, size_t row_count,
                               int64_t first_key, uint64_t id)
{
    size_t fields = schema->field_count;
    struct buf *data = mem_array_zalloc(fields, sizeof *data), *offsets = mem_array_zalloc(fields, sizeof *offsets);
    struct rows rows = {.schema = schema, .row_count = row_count};
    int64_t *keys = mem_array_alloc(row_count + 1, sizeof *keys);
    struct segment *segment;

    rows.columns = mem_array_zalloc(fields, sizeof *rows.columns);
    for (size_t i = 0; i < row_count; i++)
        keys[i] = first_key + 2 * (int64_t)i;
    for (size_t i = row_count; flags & SAMPLE_SHUFFLED && i > 1; i--) {
        size_t j = rng_below(rng, i);
        int64_t key = keys[i - 1];
        keys[i - 1] = keys[j];
        keys[j] = key;
    }
    for (size_t f = 0; f < fields; f++) {
        const struct field *field = &schema->fields[f];
        struct column *column = &rows.columns[f];
        bool none = strncmp(field->name, "absent", 6) == 0;
        uint64_t *valid = mem_array_zalloc(bitmap_words(row_count) + 1, 8);
        for (size_t row = 0; row < row_count; row++) {
            uint32_t end = (uint32_t)data[f].size;
            if (!field->width)
                need(buf_append(&offsets[f], &end, 4));
            if (!(field->flags & VECDB_NULLABLE) || (!none && rng_below(rng, 4))) {
                bitmap_set(valid, row);
                put_value(field, rng, flags, keys[row], &data[f]);
            } else {
                need(buf_append(&data[f], NULL, field->width));
            }
        }
        if (!field->width) {
            uint32_t end = (uint32_t)data[f].size;
            need(buf_append(&offsets[f], &end, 4));
        }
        *column = (struct column){.type = field->type, .element_type = field->element_type, .dim = field->dim,
                                  .width = field->width, .data = data[f].data, .valid = valid, .row_count = row_count,
                                  .offsets = field->width ? NULL : (const uint32_t *)(const void *)offsets[f].data};
    }
    need(growing_create(schema, id, row_count ? row_count : 1, &segment));
    need(growing_append(segment, &rows, 0, row_count, NULL));
    for (size_t f = 0; f < fields; f++) {
        buf_deinit(&data[f]);
        buf_deinit(&offsets[f]);
        mem_free((void *)(uintptr_t)rows.columns[f].valid);
    }
    mem_free(data);
    mem_free(offsets);
    mem_free(rows.columns);
    mem_free(keys);
    return segment;
}

void sample_dir_open(struct sample_dir *dir)
{
    const char *base = getenv("TMPDIR");

    snprintf(dir->path, sizeof dir->path, "%s/vecdb-test-XXXXXX", base && strlen(base) < 40 ? base : "/tmp");
    if (!mkdtemp(dir->path)) {
        perror(dir->path);
        abort();
    }
    need(dir_open(&vfs_posix, dir->path, false, &dir->dir));
}

void sample_dir_close(struct sample_dir *dir)
{
    struct buf names = {0};

    need(dir_list(&dir->dir, &names));
    for (size_t i = 0; i < names.size; i += strlen((char *)names.data + i) + 1)
        need(dir_unlink(&dir->dir, (char *)names.data + i));
    buf_deinit(&names);
    dir_close(&dir->dir);
    rmdir(dir->path);
}

void sample_write_file(const struct sample_dir *dir, const char *name, const void *data, size_t size)
{
    char path[160];
    int fd;

    snprintf(path, sizeof path, "%s/%s", dir->path, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        perror(path);
        abort();
    }
    close(fd);
}

void sample_read_file(const struct sample_dir *dir, const char *name, struct buf *out)
{
    out->size = 0;
    need(file_read_all(&dir->dir, name, SIZE_MAX, out));
}
