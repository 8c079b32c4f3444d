/* Filters on columns in memory, one thread. `bench_filter DIR` reads what bench/filter.py wrote there:
 *   rows (u64)  year.i32  price.f32  category.text code.text title.text doc.text (u32 offsets[rows + 1], bytes; doc is JSON)
 * and prints one line a test: name, rows found, best and median milliseconds. */
#include "base/mem.h"
#include "filter/filter.h"
#include "filter/scalar_index.h"
#include "schema/json.h"
#include "simd/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BLOCK 4096
#define COPIES 24 /* of the year column, so that it comes from memory and not from a cache */

enum { ID, YEAR, PRICE, CATEGORY, CODE, TITLE, DOC, VECTOR, FIELDS };

static struct {
    size_t rows, copy;
    uint8_t *data[FIELDS];
    uint32_t *offsets[FIELDS];
    struct scalar_index *index[FIELDS];
    bool indexed, statistics;
    struct schema *schema;
} table;

static double now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec * 1e3 + (double)at.tv_nsec * 1e-6;
}

static void *load(const char *directory, const char *name, size_t *size)
{
    char path[1000];
    FILE *file;
    void *data;
    long length;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) < 0 || fseek(file, 0, SEEK_SET) ||
        !(data = aligned_alloc(64, align_up((size_t)length + 64, 64))) ||
        fread(data, 1, (size_t)length, file) != (size_t)length) {
        perror(path);
        exit(1);
    }
    fclose(file);
    *size = (size_t)length;
    return data;
}

static void load_text(const char *directory, const char *name, int field)
{
    size_t size;
    uint8_t *bytes = load(directory, name, &size);

    table.offsets[field] = (uint32_t *)bytes;
    table.data[field] = bytes + (table.rows + 1) * 4;
}

/* JSON text to what columns keep of it. */
static void parse_docs(void)
{
    struct buf out = {0};
    uint32_t *offsets = malloc((table.rows + 1) * 4);

    offsets[0] = 0;
    for (size_t i = 0; i < table.rows; i++) {
        uint32_t begin = table.offsets[DOC][i];

        if (json_parse((const char *)table.data[DOC] + begin, table.offsets[DOC][i + 1] - begin, &out) != VECDB_OK) {
            fprintf(stderr, "%s\n", error_last()->message);
            exit(1);
        }
        offsets[i + 1] = (uint32_t)out.size;
    }
    table.offsets[DOC] = offsets;
    table.data[DOC] = out.data;
}

static vecdb_status column(void *context, size_t field, size_t block, struct column_scratch *scratch, struct column *out)
{
    size_t first = block * BLOCK, left = table.rows - first;
    const struct field *of = &table.schema->fields[field];

    *out = (struct column){.type = of->type, .width = of->width, .row_count = left < BLOCK ? left : BLOCK};
    out->data = table.data[field];
    if (field == YEAR)
        out->data += table.copy * table.rows * 4;
    if (of->width)
        out->data += first * of->width;
    else
        out->offsets = table.offsets[field] + first;
    return VECDB_OK;
}

static const struct scalar_index *index_of(void *context, size_t field, size_t i)
{
    return table.indexed && i == 0 ? table.index[field] : NULL;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void run(const char *name, const char *text, bool indexed, int rounds)
{
    struct filter_source source = {.row_count = table.rows, .block_rows = BLOCK, .column = column, .index = index_of};
    uint64_t *rows = malloc(bitmap_words(table.rows) * 8);
    struct filter *filter;
    double times[200];
    size_t found = 0;

    table.indexed = indexed;
    if (filter_compile(table.schema, text, strlen(text), NULL, &filter) != VECDB_OK) {
        fprintf(stderr, "%s: %s\n", text, error_last()->message);
        exit(1);
    }
    for (int i = 0; i < rounds; i++) {
        double start;

        table.copy = (table.copy + 1) % COPIES;
        bitmap_fill(rows, table.rows);
        start = now();
        if (filter_eval(filter, &source, rows, NULL, NULL, NULL) != VECDB_OK)
            exit(1);
        found = bitmap_count(rows, table.rows);
        times[i] = now() - start;
    }
    qsort(times, (size_t)rounds, sizeof *times, by_value);
    printf("%s\t%zu\t%.4f\t%.4f\n", name, found, times[0], times[rounds / 2]);
    filter_free(filter);
    free(rows);
}

/* The time that reading one year column from memory takes: eight sums over all copies, divided. */
static void bandwidth(void)
{
    size_t words = table.rows * COPIES / 2;
    const uint64_t *data = (const uint64_t *)(void *)table.data[YEAR];
    double best = 1e9, all[9];

    for (int round = 0; round < 9; round++) {
        double start = now();
        uint64_t sums[16] = {0};

        for (size_t i = 0; i + 16 <= words; i += 16)
            for (size_t j = 0; j < 16; j++)
                sums[j] += data[i + j];
        all[round] = (now() - start) / COPIES + (sums[3] == 1 ? 1e-9 : 0);
        best = all[round] < best ? all[round] : best;
    }
    qsort(all, 9, sizeof *all, by_value);
    printf("read year\t%zu\t%.4f\t%.4f\n", table.rows, best, all[4]);
}

static void build(int field, const char *kind)
{
    struct filter_source source = {.row_count = table.rows, .block_rows = BLOCK, .column = column};
    double start = now();

    if (scalar_index_build(table.schema, (size_t)field, kind, NULL, &source, &table.index[field]) != VECDB_OK) {
        fprintf(stderr, "%s\n", error_last()->message);
        exit(1);
    }
    printf("build %s on %s\t%zu\t%.1f\t%zu\n", kind, table.schema->fields[field].name, scalar_index_keys(table.index[field]),
           now() - start, scalar_index_size(table.index[field]));
}

int main(int count, char **arguments)
{
    static const vecdb_field fields[FIELDS] = {
        {.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY}, {.name = "year", .type = VECDB_TYPE_INT32},
        {.name = "price", .type = VECDB_TYPE_FLOAT},      {.name = "category", .type = VECDB_TYPE_VARCHAR},
        {.name = "code", .type = VECDB_TYPE_VARCHAR},     {.name = "title", .type = VECDB_TYPE_VARCHAR},
        {.name = "doc", .type = VECDB_TYPE_JSON},         {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2},
    };
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    uint8_t *years;
    size_t size;

    if (count != 2) {
        fprintf(stderr, "usage: bench_filter DIR (see bench/filter.py)\n");
        return 2;
    }
    schema.name = "bench";
    schema.fields = fields;
    schema.field_count = FIELDS;
    if (schema_create(&schema, &table.schema) != VECDB_OK)
        return 1;
    table.rows = (size_t)load_u64(load(arguments[1], "rows", &size));
    years = load(arguments[1], "year.i32", &size);
    table.data[YEAR] = aligned_alloc(64, align_up(size * COPIES, 64));
    for (size_t i = 0; i < COPIES; i++)
        memcpy(table.data[YEAR] + i * size, years, size);
    free(years);
    table.data[PRICE] = load(arguments[1], "price.f32", &size);
    load_text(arguments[1], "category.text", CATEGORY);
    load_text(arguments[1], "code.text", CODE);
    load_text(arguments[1], "title.text", TITLE);
    load_text(arguments[1], "doc.text", DOC);
    parse_docs();
    printf("simd\t%s\n", simd_name());
    bandwidth();
    run("year >= c", "year >= 50000", false, 48);
    bandwidth();
    run("range", "20000 <= year < 30000", false, 48);
    run("conjunction", "year >= 20000 and year < 70000 and price >= 0.2 and price < 0.6 and category == 'category_0421'", false,
        30);
    run("category ==", "category == 'category_0421'", false, 20);
    run("category in", "category in ['category_0421', 'category_0007', 'category_0999']", false, 20);
    run("arithmetic", "year * 2 + 1 > 100000", false, 10);
    run("like scan", "title like '%zqx%'", false, 10);
    run("regex scan", "title =~ 'zq+x'", false, 3);
    run("json", "doc['a']['b'] > 900", false, 10);
    build(CODE, "INVERTED");
    build(TITLE, "INVERTED");
    build(YEAR, "STL_SORT");
    build(CATEGORY, "AUTOINDEX");
    run("code == (index)", "code == 'code_004321'", true, 200);
    run("title like prefix (index)", "title like 'zqx%'", true, 200);
    run("year range (index)", "20000 <= year < 20100", true, 200);
    run("conjunction (index)", "year >= 20000 and year < 70000 and price >= 0.2 and price < 0.6 and category == 'category_0421'",
        true, 200);
    return 0;
}
