/* Filters on columns in memory, one thread. `bench_filter DIR` reads what bench/filter.py wrote there:
 *   rows (u64)  year.i32  price.f32  category.text code.text title.text doc.text (u32 offsets[rows + 1], bytes; doc is JSON)
 * and prints one line a test: name, rows found, best and median milliseconds. Then the same rows in a collection on disk,
 * one sealed segment, asked by vecdb_count(): the lines whose names begin with "count: ". */
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

#define CONJUNCTION "year >= 20000 and year < 70000 and price >= 0.2 and price < 0.6 and category == 'category_0421'"

static const struct {
    const char *name, *text;
    int rounds;
} scans[] = {
    {"year >= c", "year >= 50000", 48},
    {"range", "20000 <= year < 30000", 48},
    {"conjunction", CONJUNCTION, 30},
    {"category ==", "category == 'category_0421'", 20},
    {"category in", "category in ['category_0421', 'category_0007', 'category_0999']", 20},
    {"arithmetic", "year * 2 + 1 > 100000", 10},
    {"like scan", "title like '%zqx%'", 10},
    {"regex scan", "title =~ 'zq+x'", 3},
    {"json", "doc['a']['b'] > 900", 10},
}, lookups[] = {
    {"code == (index)", "code == 'code_004321'", 200},
    {"title like prefix (index)", "title like 'zqx%'", 200},
    {"year range (index)", "20000 <= year < 20100", 200},
    {"conjunction (index)", CONJUNCTION, 200},
};

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

/* ---- The same rows in a collection ---- */

static void must(vecdb_status status)
{
    if (status >= 0)
        return;
    fprintf(stderr, "%s\n", vecdb_last_error());
    exit(1);
}

static const vecdb_string *texts_of(uint8_t *data, const uint32_t *offsets, size_t first, size_t count, vecdb_string *out)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (vecdb_string){(const char *)data + offsets[first + i], offsets[first + i + 1] - offsets[first + i]};
    return out;
}

/* `docs`: the JSON texts, which parse_docs() put away. */
static vecdb_collection *fill(vecdb_db *db, const vecdb_schema *schema, uint8_t *docs, const uint32_t *doc_offsets)
{
    enum { BATCH = 50000 };
    vecdb_collection *collection;
    int64_t *ids = calloc(BATCH, 8);
    float *vectors = calloc(BATCH * 2, 4);
    vecdb_string *texts = calloc(BATCH * 4, sizeof *texts);

    must(vecdb_collection_create(db, schema, &collection));
    for (size_t first = 0; first < table.rows; first += BATCH) {
        size_t count = table.rows - first < BATCH ? table.rows - first : BATCH;
        vecdb_batch batch = VECDB_BATCH_INIT;

        for (size_t i = 0; i < count; i++)
            ids[i] = (int64_t)(first + i);
        vecdb_column columns[] = {
            {.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
            {.field = "year", .type = VECDB_TYPE_INT32, .data = table.data[YEAR] + first * 4},
            {.field = "price", .type = VECDB_TYPE_FLOAT, .data = table.data[PRICE] + first * 4},
            {.field = "category", .type = VECDB_TYPE_VARCHAR,
             .data = texts_of(table.data[CATEGORY], table.offsets[CATEGORY], first, count, texts)},
            {.field = "code", .type = VECDB_TYPE_VARCHAR,
             .data = texts_of(table.data[CODE], table.offsets[CODE], first, count, texts + BATCH)},
            {.field = "title", .type = VECDB_TYPE_VARCHAR,
             .data = texts_of(table.data[TITLE], table.offsets[TITLE], first, count, texts + 2 * BATCH)},
            {.field = "doc", .type = VECDB_TYPE_JSON, .data = texts_of(docs, doc_offsets, first, count, texts + 3 * BATCH)},
            {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2, .data = vectors},
        };
        batch.columns = columns;
        batch.column_count = sizeof columns / sizeof *columns;
        batch.row_count = count;
        must(vecdb_insert(collection, &batch, NULL));
    }
    must(vecdb_optimize(collection, NULL, NULL));
    free(ids);
    free(vectors);
    free(texts);
    return collection;
}

static void run_count(vecdb_collection *collection, const char *name, const char *text, int rounds)
{
    double times[200];
    uint64_t found = 0;

    for (int i = 0; i < rounds; i++) {
        double start = now();

        must(vecdb_count(collection, text, NULL, &found));
        times[i] = now() - start;
    }
    qsort(times, (size_t)rounds, sizeof *times, by_value);
    printf("count: %s\t%llu\t%.4f\t%.4f\n", name, (unsigned long long)found, times[0], times[rounds / 2]);
}

static void create_index(vecdb_collection *collection, const char *field, const char *kind)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = field;
    options.type = kind;
    must(vecdb_index_create(collection, &options));
}

static void in_collection(const char *directory, const vecdb_schema *schema, uint8_t *docs, const uint32_t *doc_offsets)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_collection *collection;
    char path[1000];
    vecdb_db *db;

    snprintf(path, sizeof path, "%s/db", directory);
    options.threads = 1;
    options.durability = VECDB_DURABILITY_NONE;
    must(vecdb_open(path, &options, &db));
    collection = fill(db, schema, docs, doc_offsets);
    must(vecdb_load(collection, NULL, NULL));
    for (size_t i = 0; i < sizeof scans / sizeof *scans; i++)
        run_count(collection, scans[i].name, scans[i].text, scans[i].rounds);
    create_index(collection, "code", "INVERTED");
    create_index(collection, "title", "INVERTED");
    create_index(collection, "year", "STL_SORT");
    create_index(collection, "category", NULL);
    for (size_t i = 0; i < sizeof lookups / sizeof *lookups; i++)
        run_count(collection, lookups[i].name, lookups[i].text, lookups[i].rounds);
    must(vecdb_collection_close(&collection));
    must(vecdb_close(&db));
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
    uint8_t *years, *docs;
    uint32_t *doc_offsets;
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
    docs = table.data[DOC];
    doc_offsets = table.offsets[DOC];
    parse_docs();
    printf("simd\t%s\n", simd_name());
    bandwidth();
    for (size_t i = 0; i < sizeof scans / sizeof *scans; i++) {
        run(scans[i].name, scans[i].text, false, scans[i].rounds);
        if (i == 0)
            bandwidth();
    }
    build(CODE, "INVERTED");
    build(TITLE, "INVERTED");
    build(YEAR, "STL_SORT");
    build(CATEGORY, "AUTOINDEX");
    for (size_t i = 0; i < sizeof lookups / sizeof *lookups; i++)
        run(lookups[i].name, lookups[i].text, true, lookups[i].rounds);
    in_collection(arguments[1], &schema, docs, doc_offsets);
    return 0;
}
