/* Sparse vectors through the public interface, compared with a model that knows nothing but rows: writes, every form of search, with
 * and without an index, over growing and sealed rows, before and after a restart. */
#include "base/bytes.h"
#include "base/mem.h"
#include "index/sparse_lists.h"
#include "schema/sparse.h"
#include "support/api.h"
#include "support/sample.h"
#include "support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { KEYS = 3000, WIDEST = 24, NAMES = 300, DIM = 4, MOST = KEYS };

struct row {
    bool live, valid;
    size_t count;
    vecdb_sparse values[WIDEST]; /* by index */
    float dense[DIM];
    int64_t colour;
};

struct model {
    struct row rows[KEYS];
    struct rng rng;
};

struct scored {
    int64_t key;
    float score;
};

static int compare_values(const void *a, const void *b)
{
    const vecdb_sparse *x = a, *y = b;

    return (x->index > y->index) - (x->index < y->index);
}

static int compare_scored(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->key > y->key) - (x->key < y->key);
}

/* Small whole weights at few indexes, so that ties are common; now and then some that are not, and very large indexes. */
static size_t make_vector(struct rng *rng, vecdb_sparse *out)
{
    size_t wanted = rng_below(rng, WIDEST + 1), count = 0;

    while (count < wanted) {
        uint32_t index = (uint32_t)rng_below(rng, NAMES), at;
        if (index % 50 == 0)
            index = UINT32_MAX - 1 - index;
        for (at = 0; at < count && out[at].index != index; at++)
            ;
        if (at < count) {
            wanted--;
            continue;
        }
        out[count++] = (vecdb_sparse){index, rng_below(rng, 10) ? (float)((int)rng_below(rng, 7) - 2) : (float)rng_unit(rng) - 0.25f};
    }
    return count;
}

static float score_of(const struct row *row, const vecdb_sparse *query, size_t count)
{
    float sum = 0;

    for (size_t i = 0; i < row->count; i++)
        for (size_t j = 0; j < count; j++)
            if (row->values[i].index == query[j].index)
                sum += query[j].value * row->values[i].value;
    return sum;
}

static vecdb_collection *create(vecdb_db *db)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "colour", .type = VECDB_TYPE_INT64},
                                  {.name = "v", .type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .flags = VECDB_NULLABLE},
                                  {.name = "d", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *rows;

    schema.name = "rows", schema.fields = fields, schema.field_count = 4;
    assert_done(vecdb_collection_create(db, &schema, &rows));
    return rows;
}

/* Write some rows, given in an order and with indexes in an order of their own. */
static void put(struct model *model, vecdb_collection *rows, const int64_t *keys, size_t count, bool replace)
{
    int64_t *colours = malloc(count * sizeof *colours);
    uint64_t *offsets = malloc((count + 1) * sizeof *offsets);
    vecdb_sparse *values = malloc(count * WIDEST * sizeof *values + 1);
    float(*dense)[DIM] = malloc(count * sizeof *dense);
    uint8_t *valid = malloc(count);
    vecdb_batch batch = VECDB_BATCH_INIT;

    offsets[0] = 0;
    for (size_t i = 0; i < count; i++) {
        struct row *row = &model->rows[keys[i]];
        row->live = true;
        valid[i] = rng_below(&model->rng, 9) != 0;
        row->valid = valid[i];
        row->count = row->valid ? make_vector(&model->rng, row->values) : 0;
        memcpy(values + offsets[i], row->values, row->count * sizeof *values);
        qsort(row->values, row->count, sizeof *values, compare_values);
        offsets[i + 1] = offsets[i] + row->count;
        row->colour = colours[i] = (int64_t)rng_below(&model->rng, 10);
        for (size_t j = 0; j < DIM; j++)
            row->dense[j] = dense[i][j] = (float)rng_unit(&model->rng) + 0.1f;
    }
    const vecdb_column columns[] = {
        {.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
        {.field = "colour", .type = VECDB_TYPE_INT64, .data = colours},
        {.field = "v", .type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .data = values, .offsets = offsets, .valid = valid},
        {.field = "d", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = dense}};
    batch.columns = columns, batch.column_count = 4, batch.row_count = count;
    assert_done(replace ? vecdb_upsert(rows, &batch, NULL) : vecdb_insert(rows, &batch, NULL));
    free(colours), free(offsets), free(values), free(dense), free(valid);
}

static void put_range(struct model *model, vecdb_collection *rows, int64_t first, size_t count, bool descending)
{
    int64_t *keys = malloc(count * sizeof *keys);
    bool replace = false; /* some are there */

    for (size_t i = 0; i < count; i++)
        replace |= model->rows[first + (int64_t)i].live;
    for (size_t i = 0; i < count; i++)
        keys[i] = descending ? first + (int64_t)(count - 1 - i) : first + (int64_t)i;
    put(model, rows, keys, count, replace);
    free(keys);
}

static void drop_some(struct model *model, vecdb_collection *rows, size_t count)
{
    int64_t *keys = malloc(count * sizeof *keys);
    vecdb_column column = {.type = VECDB_TYPE_INT64, .data = keys};

    for (size_t i = 0; i < count; i++) {
        keys[i] = (int64_t)rng_below(&model->rng, KEYS);
        model->rows[keys[i]].live = false;
    }
    assert_done(vecdb_delete(rows, &column, count, NULL));
    free(keys);
}

/* The answer to be: all hits, best first. */
static size_t expect(const struct model *model, const vecdb_sparse *query, size_t count, int64_t colour, double low, double high,
                     struct scored *out)
{
    size_t found = 0;

    for (int64_t key = 0; key < KEYS; key++) {
        const struct row *row = &model->rows[key];
        float score = row->live && row->valid ? score_of(row, query, count) : 0;
        if (score != 0 && (colour < 0 || row->colour == colour) && score > low && score <= high)
            out[found++] = (struct scored){key, score};
    }
    qsort(out, found, sizeof *out, compare_scored);
    return found;
}

static void compare_hits(const char *what, const int64_t *keys, const float *scores, size_t count, const struct scored *wanted,
                         size_t wanted_count)
{
    if (count != wanted_count)
        fail_msg("%s: %zu hits, wanted %zu", what, count, wanted_count);
    for (size_t i = 0; i < count; i++)
        if (keys[i] != wanted[i].key || scores[i] != wanted[i].score)
            fail_msg("%s: hit %zu is %lld with %g, wanted %lld with %g", what, i, (long long)keys[i], (double)scores[i],
                     (long long)wanted[i].key, (double)wanted[i].score);
}

static vecdb_search_request ask(const vecdb_sparse *queries, const uint64_t *offsets, size_t count, size_t limit)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;

    request.field = "v", request.queries = queries, request.query_offsets = offsets, request.query_count = count;
    request.limit = limit;
    return request;
}

static size_t at_most(size_t count, size_t most) { return count < most ? count : most; }

/* One batch of queries in every form. */
static void check_batch(struct model *model, vecdb_collection *rows)
{
    enum { QUERIES = 5 };
    static struct scored wanted[MOST];
    static int64_t keys[QUERIES * MOST];
    static float scores[QUERIES * MOST];
    vecdb_sparse queries[QUERIES * WIDEST];
    uint64_t offsets[QUERIES + 1] = {0};
    size_t counts[QUERIES], limits[] = {1, 10, MOST};

    for (size_t q = 0; q < QUERIES; q++)
        offsets[q + 1] = offsets[q] + make_vector(&model->rng, queries + offsets[q]);
    vecdb_sparse sorted[QUERIES * WIDEST];
    memcpy(sorted, queries, sizeof queries);
    for (size_t q = 0; q < QUERIES; q++)
        qsort(sorted + offsets[q], offsets[q + 1] - offsets[q], sizeof *sorted, compare_values);
    for (size_t l = 0; l < 3; l++)
        for (int form = 0; form < 5; form++) { /* plain, filtered, within a radius, between two, exact */
            vecdb_search_request request = ask(queries, offsets, QUERIES, limits[l]);
            double low = form == 2 || form == 3 ? 3 : -INFINITY, high = form == 3 ? 8 : INFINITY;
            char what[64];
            request.filter = form == 1 ? "colour == 3" : NULL;
            request.has_radius = low == 3, request.radius = low;
            request.has_range_filter = high == 8, request.range_filter = high;
            request.exact = form == 4;
            assert_done(vecdb_search_into(rows, &request, keys, scores, counts));
            for (size_t q = 0; q < QUERIES; q++) {
                size_t count = expect(model, sorted + offsets[q], offsets[q + 1] - offsets[q], form == 1 ? 3 : -1, low, high, wanted);
                snprintf(what, sizeof what, "form %d, limit %zu, query %zu", form, limits[l], q);
                compare_hits(what, keys + q * limits[l], scores + q * limits[l], counts[q], wanted, at_most(count, limits[l]));
            }
        }
}

static void check_groups(struct model *model, vecdb_collection *rows)
{
    static struct scored wanted[MOST];
    vecdb_sparse query[WIDEST];
    uint64_t offsets[2] = {0, make_vector(&model->rng, query)};
    vecdb_search_request request = ask(query, offsets, 1, 20);
    const char *fields[] = {"colour"};
    vecdb_column ids, colours;
    vecdb_result *result;
    bool seen[10] = {false};
    size_t count, groups = 0, first;

    request.group_by = "colour", request.output_fields = fields, request.output_count = 1;
    assert_done(vecdb_search(rows, &request, &result));
    assert_done(vecdb_result_column(result, "id", &ids));
    assert_done(vecdb_result_column(result, "colour", &colours));
    qsort(query, offsets[1], sizeof *query, compare_values);
    count = expect(model, query, offsets[1], -1, -INFINITY, INFINITY, wanted);
    for (size_t i = 0; i < count; i++) { /* the best of each colour, in order */
        int64_t colour = model->rows[wanted[i].key].colour;
        if (seen[colour])
            continue;
        seen[colour] = true;
        assert_true(groups < vecdb_result_rows(result, 0, &first));
        assert_int_equal(((const int64_t *)ids.data)[groups], wanted[i].key);
        assert_int_equal(((const int64_t *)colours.data)[groups++], colour);
    }
    assert_int_equal(vecdb_result_rows(result, 0, &first), groups);
    vecdb_result_free(&result);
}

static void check_cursor(struct model *model, vecdb_collection *rows)
{
    static struct scored wanted[MOST];
    vecdb_sparse query[WIDEST], given[WIDEST];
    uint64_t offsets[2] = {0, make_vector(&model->rng, query)};
    vecdb_search_request request = ask(given, offsets, 1, 1);
    size_t count, seen = 0, first;
    vecdb_result *page;
    vecdb_cursor *cursor;
    vecdb_status status;

    memcpy(given, query, sizeof query);
    assert_done(vecdb_search_cursor(rows, &request, &cursor));
    memset(given, 0xFF, sizeof given); /* it must not be read any more */
    qsort(query, offsets[1], sizeof *query, compare_values);
    count = expect(model, query, offsets[1], -1, -INFINITY, INFINITY, wanted);
    while ((status = vecdb_cursor_next(cursor, 37, &page)) == VECDB_OK) {
        vecdb_column ids, scores;
        size_t n = vecdb_result_rows(page, 0, &first);
        assert_done(vecdb_result_column(page, "id", &ids));
        assert_done(vecdb_result_column(page, "$score", &scores));
        assert_true(seen + n <= count);
        compare_hits("cursor", ids.data, scores.data, n, wanted + seen, n);
        seen += n;
        vecdb_result_free(&page);
    }
    assert_int_equal(status, VECDB_EXHAUSTED);
    vecdb_result_free(&page);
    assert_int_equal(seen, count);
    vecdb_cursor_close(&cursor);
}

/* Each query its own filter, and a search among some keys. */
static void check_chosen_rows(struct model *model, vecdb_collection *rows)
{
    enum { QUERIES = 3, LIMIT = 50, AMONG = 40 };
    static struct scored wanted[MOST];
    const char *filters[QUERIES] = {"colour == 1", NULL, "colour == 1"};
    vecdb_sparse queries[QUERIES * WIDEST];
    uint64_t offsets[QUERIES + 1] = {0};
    int64_t keys[QUERIES * LIMIT], among[AMONG];
    float scores[QUERIES * LIMIT];
    size_t counts[QUERIES], count = 0, all;
    vecdb_search_request request;
    vecdb_column column = {.type = VECDB_TYPE_INT64, .data = among};

    for (size_t q = 0; q < QUERIES; q++) {
        offsets[q + 1] = offsets[q] + make_vector(&model->rng, queries + offsets[q]);
        qsort(queries + offsets[q], offsets[q + 1] - offsets[q], sizeof *queries, compare_values);
    }
    request = ask(queries, offsets, QUERIES, LIMIT);
    request.query_filters = filters;
    assert_done(vecdb_search_into(rows, &request, keys, scores, counts));
    for (size_t q = 0; q < QUERIES; q++) {
        all = expect(model, queries + offsets[q], offsets[q + 1] - offsets[q], filters[q] ? 1 : -1, -INFINITY, INFINITY, wanted);
        compare_hits("a filter for each", keys + q * LIMIT, scores + q * LIMIT, counts[q], wanted, at_most(all, LIMIT));
    }
    for (size_t i = 0; i < AMONG; i++)
        among[i] = (int64_t)(i * (KEYS / AMONG));
    request = ask(queries, offsets, 1, LIMIT);
    request.within_keys = &column, request.within_count = AMONG;
    assert_done(vecdb_search_into(rows, &request, keys, scores, counts));
    all = expect(model, queries, offsets[1], -1, -INFINITY, INFINITY, wanted);
    for (size_t i = 0; i < all; i++)
        if (wanted[i].key % (KEYS / AMONG) == 0)
            wanted[count++] = wanted[i];
    compare_hits("within keys", keys, scores, counts[0], wanted, count);
}

static float cosine(const float *a, const float *b)
{
    double ab = 0, aa = 0, bb = 0;

    for (size_t i = 0; i < DIM; i++)
        ab += (double)a[i] * b[i], aa += (double)a[i] * a[i], bb += (double)b[i] * b[i];
    return (float)(ab / sqrt(aa * bb));
}

/* The use there is for sparse vectors: ranks of a sparse and of a dense search brought together. */
static void check_hybrid(struct model *model, vecdb_collection *rows)
{
    enum { EACH = 30, LIMIT = 10 };
    static struct scored sparse[MOST], dense[MOST], fused[MOST];
    vecdb_sparse query[WIDEST];
    uint64_t offsets[2] = {0, make_vector(&model->rng, query)};
    float vector[DIM] = {0.3f, 0.9f, 0.2f, 0.7f};
    vecdb_search_request one = ask(query, offsets, 1, EACH), two = VECDB_SEARCH_REQUEST_INIT;
    const vecdb_search_request *both[] = {&one, &two};
    vecdb_hybrid_request hybrid = VECDB_HYBRID_REQUEST_INIT;
    size_t sparse_count, dense_count = 0, count = 0, first;
    double rank[KEYS] = {0};
    vecdb_column ids, scores;
    vecdb_result *result;

    two.field = "d", two.queries = vector, two.dim = DIM, two.query_count = 1, two.limit = EACH, two.exact = true;
    hybrid.searches = both, hybrid.search_count = 2, hybrid.limit = LIMIT;
    assert_done(vecdb_hybrid_search(rows, &hybrid, &result));
    qsort(query, offsets[1], sizeof *query, compare_values);
    sparse_count = at_most(expect(model, query, offsets[1], -1, -INFINITY, INFINITY, sparse), EACH);
    for (int64_t key = 0; key < KEYS; key++)
        if (model->rows[key].live)
            dense[dense_count++] = (struct scored){key, cosine(vector, model->rows[key].dense)};
    qsort(dense, dense_count, sizeof *dense, compare_scored);
    for (size_t i = 0; i < sparse_count; i++)
        rank[sparse[i].key] += 1.0 / (60 + (double)i + 1);
    for (size_t i = 0; i < EACH; i++)
        rank[dense[i].key] += 1.0 / (60 + (double)i + 1);
    for (int64_t key = 0; key < KEYS; key++)
        if (rank[key] > 0)
            fused[count++] = (struct scored){key, (float)rank[key]};
    qsort(fused, count, sizeof *fused, compare_scored);
    assert_done(vecdb_result_column(result, "id", &ids));
    assert_done(vecdb_result_column(result, "$score", &scores));
    assert_int_equal(vecdb_result_rows(result, 0, &first), LIMIT);
    for (size_t i = 0; i < LIMIT; i++)
        assert_true(fabsf(((const float *)scores.data)[i] - fused[i].score) < 1e-6f);
    vecdb_result_free(&result);
}

/* Every row as it was given. */
static void check_values(struct model *model, vecdb_collection *rows)
{
    const char *fields[] = {"v"};
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    vecdb_column ids, values;
    vecdb_result *result;
    size_t first, count, live = 0;

    request.output_fields = fields, request.output_count = 1;
    assert_done(vecdb_query(rows, &request, &result));
    assert_done(vecdb_result_column(result, "id", &ids));
    assert_done(vecdb_result_column(result, "v", &values));
    assert_int_equal(values.type, VECDB_TYPE_SPARSE_FLOAT_VECTOR);
    count = vecdb_result_rows(result, 0, &first);
    for (size_t key = 0; key < KEYS; key++)
        live += model->rows[key].live;
    assert_int_equal(count, live);
    for (size_t i = 0; i < count; i++) {
        const struct row *row = &model->rows[((const int64_t *)ids.data)[i]];
        assert_true(row->live);
        assert_int_equal(!values.valid || values.valid[i], row->valid);
        assert_int_equal(values.offsets[i + 1] - values.offsets[i], row->count);
        assert_memory_equal((const vecdb_sparse *)values.data + values.offsets[i], row->values, row->count * sizeof *row->values);
    }
    vecdb_result_free(&result);
}

static void check_all(struct model *model, vecdb_collection *rows)
{
    check_values(model, rows);
    for (int i = 0; i < 3; i++)
        check_batch(model, rows);
    check_groups(model, rows);
    check_cursor(model, rows);
    check_chosen_rows(model, rows);
    check_hybrid(model, rows);
}

static void create_index(vecdb_collection *rows, const char *type)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = "v", options.type = type;
    assert_done(vecdb_index_create(rows, &options));
}

static struct model *model_create(void)
{
    struct model *model = calloc(1, sizeof *model);

    model->rng = rng_seeded(sample_seed(20261122));
    return model;
}

/* A little of everything that may happen to rows. */
static void change(struct model *model, vecdb_collection *rows)
{
    int64_t keys[100];

    for (size_t i = 0; i < 100; i++) /* no key twice: the last of a batch would win */
        keys[i] = (int64_t)(i * 30 + rng_below(&model->rng, 30));
    put(model, rows, keys, 100, true);
    drop_some(model, rows, 50);
}

static void test_memory(void **state)
{
    struct model *model = model_create();
    vecdb_collection *rows;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db);
    put_range(model, rows, 0, 1000, false);
    check_all(model, rows);
    create_index(rows, NULL);
    check_all(model, rows);
    put_range(model, rows, 1000, 700, true); /* not in the index yet */
    change(model, rows);
    check_all(model, rows);
    assert_done(vecdb_optimize(rows, NULL, NULL));
    check_all(model, rows);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    free(model);
}

static void reopen(const char *path, vecdb_db **db, vecdb_collection **rows)
{
    assert_done(vecdb_collection_close(rows));
    assert_done(vecdb_close(db));
    assert_done(vecdb_open(path, NULL, db));
    assert_done(vecdb_collection_open(*db, "rows", rows));
}

static void check_explain(vecdb_collection *rows, const char *words)
{
    const vecdb_sparse query[] = {{7, 1}};
    const uint64_t offsets[] = {0, 1};
    vecdb_search_request request = ask(query, offsets, 1, 3);
    char *text;

    assert_done(vecdb_explain(rows, &request, &text));
    if (!strstr(text, words))
        fail_msg("%s is not in %s", words, text);
    vecdb_free(text);
}

static void test_disk(void **state)
{
    struct model *model = model_create();
    char directory[] = "/tmp/vecdb-sparse-XXXXXX", path[64], copy[64], command[64];
    vecdb_collection *rows;
    vecdb_db *db;
    char *report;

    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/db", directory);
    snprintf(copy, sizeof copy, "%s/copy", directory);
    assert_done(vecdb_open(path, NULL, &db));
    rows = create(db);
    put_range(model, rows, 0, 900, true);
    reopen(path, &db, &rows); /* from the log */
    check_all(model, rows);
    assert_done(vecdb_flush(rows));
    check_explain(rows, "\"index\":\"none\"");
    check_all(model, rows);
    reopen(path, &db, &rows);
    put_range(model, rows, 900, 900, false);
    change(model, rows);
    check_all(model, rows);
    create_index(rows, "SPARSE_WAND");
    check_explain(rows, "\"index\":\"SPARSE_WAND\"");
    check_all(model, rows);
    reopen(path, &db, &rows);
    check_all(model, rows);
    assert_done(vecdb_load(rows, NULL, NULL));
    check_all(model, rows);
    assert_done(vecdb_release(rows));
    put_range(model, rows, 1800, 1200, false);
    change(model, rows);
    assert_done(vecdb_optimize(rows, NULL, NULL));
    check_all(model, rows);
    assert_done(vecdb_index_drop(rows, "v"));
    assert_done(vecdb_load(rows, NULL, NULL)); /* unpacked, for there is no index */
    check_all(model, rows);
    create_index(rows, "AUTOINDEX");
    check_explain(rows, "\"index\":\"SPARSE_INVERTED_INDEX\"");
    assert_done(vecdb_backup(db, copy, NULL, NULL));
    reopen(copy, &db, &rows);
    check_all(model, rows);
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_verify(copy, NULL, NULL, &report));
    vecdb_free(report);
    snprintf(command, sizeof command, "rm -rf %s", directory);
    assert_int_equal(system(command), 0);
    free(model);
}

/* Enough rows for several windows of an index, and terms that nearly every row has beside terms that few have. */
static void test_many_rows(void **state)
{
    enum { ROWS = 80000, LIMIT = 20 };
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "v", .type = VECDB_TYPE_SPARSE_FLOAT_VECTOR}};
    vecdb_sparse *values = malloc(3 * ROWS * sizeof *values);
    uint64_t *offsets = malloc((ROWS + 1) * sizeof *offsets);
    int64_t *keys = malloc(ROWS * sizeof *keys);
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    struct rng rng;
    vecdb_collection *rows;
    vecdb_db *db;

    rng = rng_seeded(sample_seed(7));
    schema.name = "rows", schema.fields = fields, schema.field_count = 2;
    assert_done(vecdb_open(NULL, NULL, &db));
    assert_done(vecdb_collection_create(db, &schema, &rows));
    for (size_t i = 0; i <= ROWS; i++)
        offsets[i] = 3 * i;
    for (size_t i = 0; i < ROWS; i++) {
        keys[i] = (int64_t)i;
        for (uint32_t j = 0; j < 3; j++)
            values[3 * i + j] = (vecdb_sparse){j == 2 ? 2 + (uint32_t)rng_below(&rng, 5000) : j, 1 + (float)rng_below(&rng, 1000)};
    }
    const vecdb_column columns[] = {
        {.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
        {.field = "v", .type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .data = values, .offsets = offsets}};
    batch.columns = columns, batch.column_count = 2, batch.row_count = ROWS;
    assert_done(vecdb_insert(rows, &batch, NULL));
    create_index(rows, "SPARSE_INVERTED_INDEX");
    for (int i = 0; i < 60; i++) {
        vecdb_sparse query[] = {{(uint32_t)rng_below(&rng, 2), 1 + (float)(i % 3)}, {2 + (uint32_t)rng_below(&rng, 5000), 2}};
        uint64_t bounds[] = {0, 2};
        vecdb_search_request request = ask(query + i % 2, bounds, 1, LIMIT);
        int64_t found[2][LIMIT];
        float scores[2][LIMIT];
        size_t counts[2];
        bounds[1] = 2 - (uint64_t)(i % 2);
        request.filter = i % 5 == 0 ? "id > 60000" : i % 5 == 1 ? "id in [3, 40000, 79999]" : NULL;
        assert_done(vecdb_search_into(rows, &request, found[0], scores[0], &counts[0]));
        request.exact = true;
        assert_done(vecdb_search_into(rows, &request, found[1], scores[1], &counts[1]));
        assert_int_equal(counts[0], counts[1]);
        assert_memory_equal(found[0], found[1], counts[0] * sizeof *found[0]);
        assert_memory_equal(scores[0], scores[1], counts[0] * sizeof *scores[0]);
    }
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    free(values), free(offsets), free(keys);
}

static vecdb_status insert_one(vecdb_collection *rows, int64_t key, const vecdb_sparse *values, size_t count)
{
    const uint64_t offsets[] = {0, count};
    const int64_t colour = 0;
    const float dense[DIM] = {1, 0, 0, 0};
    const vecdb_column columns[] = {
        {.field = "id", .type = VECDB_TYPE_INT64, .data = &key},
        {.field = "colour", .type = VECDB_TYPE_INT64, .data = &colour},
        {.field = "v", .type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .data = values, .offsets = offsets},
        {.field = "d", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = dense}};
    vecdb_batch batch = VECDB_BATCH_INIT;

    batch.columns = columns, batch.column_count = 4, batch.row_count = 1;
    return vecdb_insert(rows, &batch, NULL);
}

static void test_refused(void **state)
{
    const vecdb_sparse twice[] = {{5, 1}, {3, 1}, {5, 2}}, large[] = {{UINT32_MAX, 1}}, nan[] = {{1, NAN}}, inf[] = {{1, INFINITY}},
                       huge[] = {{1, 3e38f}}, good[] = {{9, 2}, {UINT32_MAX - 1, 1}};
    vecdb_sparse *many = calloc(VECDB_MAX_SPARSE + 1, sizeof *many);
    const uint64_t offsets[] = {0, 2}, back[] = {2, 0};
    const float dense[DIM] = {1};
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_search_request request;
    vecdb_collection *rows;
    vecdb_result *result;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = create(db);
    for (uint32_t i = 0; i <= VECDB_MAX_SPARSE; i++)
        many[i].index = VECDB_MAX_SPARSE - i;
    assert_refused(insert_one(rows, 1, twice, 3), VECDB_ERR_INVALID, "v|index 5|twice");
    assert_refused(insert_one(rows, 1, large, 1), VECDB_ERR_INVALID, "v|4294967295|too large");
    assert_refused(insert_one(rows, 1, nan, 1), VECDB_ERR_INVALID, "v|index 1|NaN");
    assert_refused(insert_one(rows, 1, inf, 1), VECDB_ERR_INVALID, "v|index 1|infinite");
    assert_refused(insert_one(rows, 1, huge, 1), VECDB_ERR_INVALID, "v|squares");
    assert_refused(insert_one(rows, 1, many, VECDB_MAX_SPARSE + 1), VECDB_ERR_LIMIT, "v|131073|131072");
    assert_done(insert_one(rows, 1, many, VECDB_MAX_SPARSE));
    assert_done(insert_one(rows, 2, NULL, 0));
    assert_done(insert_one(rows, 3, good, 2));

    request = ask(good, offsets, 1, 10);
    assert_int_equal(vecdb_search(rows, &request, &result), VECDB_EXHAUSTED);
    assert_int_equal(vecdb_result_rows(result, 0, NULL), 1); /* the first row has zeros at these indexes */
    vecdb_result_free(&result);
    request.metric = VECDB_METRIC_L2;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_UNSUPPORTED, "v|L2|IP");
    request = ask(good, NULL, 1, 10);
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "v|query_offsets");
    request = ask(good, back, 1, 10);
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "query_offsets|0|2");
    request = ask(twice, (const uint64_t[]){0, 3}, 1, 10);
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "query|index 5|twice");
    request = ask(good, offsets, 1, 10), request.dim = 4;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_DIM, "v|4");
    request = ask((const void *)dense, offsets, 1, 10), request.query_type = VECDB_TYPE_FLOAT_VECTOR, request.dim = DIM;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_TYPE, "FLOAT_VECTOR|SPARSE_FLOAT_VECTOR");
    request = ask(good, offsets, 1, 10), request.query_type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, request.field = "d";
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_TYPE, "SPARSE_FLOAT_VECTOR|FLOAT_VECTOR");

    index.field = "v", index.type = "HNSW";
    assert_refused(vecdb_index_create(rows, &index), VECDB_ERR_UNSUPPORTED, "v|HNSW|SPARSE_FLOAT_VECTOR");
    index.type = "SPARSE_INVERTED_INDEX", index.metric = VECDB_METRIC_COSINE;
    assert_refused(vecdb_index_create(rows, &index), VECDB_ERR_UNSUPPORTED, "v|COSINE|IP");
    index.metric = VECDB_METRIC_IP, index.params = "drop_ratio_build=2";
    assert_refused(vecdb_index_create(rows, &index), VECDB_ERR_INVALID, "drop_ratio_build|2");
    index.params = "{\"inverted_index_algo\": \"DAAT_WAND\", \"drop_ratio_build\": 0.2}";
    assert_done(vecdb_index_create(rows, &index));
    request = ask(good, offsets, 1, 10), request.params = "drop_ratio_search=1.5";
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "drop_ratio_search|1.5");
    request.params = "drop_ratio_search=0.5";
    assert_done(vecdb_search(rows, &request, &result));
    vecdb_result_free(&result);
    index.field = "d", index.type = "SPARSE_WAND";
    assert_refused(vecdb_index_create(rows, &index), VECDB_ERR_UNSUPPORTED, "d|SPARSE_WAND|FLOAT_VECTOR");
    assert_done(vecdb_collection_close(&rows));

    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                            {.name = "v", .type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .dim = 8}};
    schema.name = "other", schema.fields = fields, schema.field_count = 2;
    assert_refused(vecdb_collection_create(db, &schema, &rows), VECDB_ERR_INVALID, "v|SPARSE_FLOAT_VECTOR|dim");
    assert_done(vecdb_close(&db));
    free(many);
}

/* What a file may hold in place of a vector. */
static void test_bytes(void **state)
{
    static const struct {
        vecdb_sparse values[3];
        size_t size;
        const char *why; /* NULL: nothing */
    } cases[] = {
        {{{0, 0}}, 0, NULL},
        {{{1, 1}, {2, -1}, {UINT32_MAX - 1, 0}}, 24, NULL},
        {{{1, 1}, {2, -1}}, 12, "whole number"},
        {{{2, 1}, {1, -1}}, 16, "ascend"},
        {{{2, 1}, {2, 1}}, 16, "ascend"},
        {{{2, 1}, {UINT32_MAX, 1}}, 16, "too large"},
        {{{2, 1}, {3, NAN}}, 16, "not finite"},
        {{{2, -INFINITY}, {3, 1}}, 16, "not finite"},
        {{{2, 2e19f}, {3, 1}}, 16, "too large"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = "";
        bool right = sparse_check((const uint8_t *)cases[i].values, cases[i].size, &why);
        assert_int_equal(right, !cases[i].why);
        if (cases[i].why && !strstr(why, cases[i].why))
            fail_msg("%zu: %s", i, why);
    }
}

enum { FEW = 4 };
/* Index 10 in rows 0, 1, 3; index 20 in row 1; index 30 in rows 0, 3. Row 2 has no value. */
static const vecdb_sparse few[] = {{10, 1}, {30, 2}, {10, 3}, {20, 4}, {10, 5}, {30, 6}};
static const uint32_t few_offsets[FEW + 1] = {0, 16, 32, 32, 48};
static uint64_t few_present = 11;

static vecdb_status read_few(void *context, size_t field, size_t block, size_t row_count, struct column_scratch *scratch,
                             struct column *out)
{
    *out = (struct column){.type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .data = (const uint8_t *)few, .offsets = few_offsets,
                           .valid = &few_present, .row_count = row_count};
    return VECDB_OK;
}

/* Every number of a saved index, made wrong. */
static void test_index_damage(void **state)
{
    static const struct {
        size_t offset, width;
        uint64_t value;
        const char *why;
    } cases[] = {
        {0, 4, 1, "begins with"},
        {4, 4, 2, "format 2"},
        {8, 4, 101, "type 101"},
        {12, 4, 1, "metric 1"},
        {16, 8, 5, "5 rows, the segment has 4"},
        {24, 8, 2, "its arrays take|postings 0 to"},
        {24, 8, 7, "7 terms and 6 postings"},
        {24, 8, UINT64_MAX, "terms and 6 postings"},
        {32, 8, 5, "postings 0 to 6, there are 5"},
        {32, 8, UINT64_MAX, "postings in"},
        {40, 8, 9, "says 9 bytes"},
        {48, 1, 1, "byte 48 of the header"},
        {63, 1, 1, "byte 63 of the header"},
        {64, 8, 1, "postings 1 to 6"},            /* starts: 0 3 4 6 */
        {64 + 8, 8, 0, "term 0 has no postings"},
        {64 + 8, 8, 4, "term 1 has no postings"},
        {64 + 8, 8, UINT64_MAX, "term 1 has no postings"},
        {64 + 24, 8, 7, "postings 0 to 7"},
        {128, 4, 20, "term 1 has index 20"},      /* names: 10 20 30 */
        {128 + 8, 4, UINT32_MAX, "term 2 has index 4294967295"},
        {192, 4, 1, "row 1, out of order"},       /* rows: 0 1 3, 1, 0 3 */
        {192 + 8, 4, 4, "row 4, out of order"},
        {192 + 8, 4, 2, "row 2, which has no value"},
        {192 + 12, 4, UINT32_MAX, "row 4294967295, out of order"},
        {256, 4, 0x7FC00000, "is nan"},           /* values */
        {256 + 4, 4, 0xFF800000, "is -inf"},
        {256 + 20, 4, 0, "is 0"},
    };
    const struct index_ops *ops = index_find("SPARSE_INVERTED_INDEX");
    struct vectors vectors = {.type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .row_count = FEW, .block_shift = 6, .columns = {.read = read_few},
                              .present = &few_present};
    const vecdb_sparse query_values[] = {{10, 2}, {20, 1}, {30, 1}, {31, 9}};
    const struct sparse_vector query = {query_values, 4};
    struct index_search search = {.queries = &query, .query_count = 1, .query_stride = sizeof query, .k = FEW};
    struct index_build_context context = {.seed = 1};
    struct index_counters counters = {0};
    struct params params;
    struct index *index;
    struct buf saved = {0};
    struct hit hits[FEW];
    size_t count;
    uint8_t *bytes;

    params_default(ops->build_params, &params);
    assert_int_equal(ops->build(&vectors, VECDB_METRIC_IP, &params, &context, &index), VECDB_OK);
    assert_int_equal(ops->check(index), VECDB_OK);
    assert_int_equal(ops->search(index, &search, hits, &count, &counters), VECDB_OK);
    assert_int_equal(count, 3);
    assert_true(hits[0].row == 3 && hits[0].distance == -16 && hits[1].row == 1 && hits[1].distance == -10 && hits[2].row == 0 &&
                hits[2].distance == -4);
    assert_int_equal(ops->save(index, &saved), VECDB_OK);
    ops->free(index);
    assert_int_equal(saved.size, 320);
    bytes = mem_aligned_alloc(64, saved.size);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *other = strchr(cases[i].why, '|');
        size_t length = other ? (size_t)(other - cases[i].why) : strlen(cases[i].why);
        char why[100];
        vecdb_status status;
        snprintf(why, sizeof why, "%.*s", (int)length, cases[i].why);
        memcpy(bytes, saved.data, saved.size);
        memcpy(bytes + cases[i].offset, &cases[i].value, cases[i].width);
        status = ops->open(bytes, saved.size, &vectors, VECDB_METRIC_IP, &params, &index);
        if ((status != VECDB_ERR_CORRUPT && status != VECDB_ERR_VERSION) ||
            !(strstr(vecdb_last_error(), why) || (other && strstr(vecdb_last_error(), other + 1))))
            fail_msg("%zu: %d %s, wanted %s", i, (int)status, vecdb_last_error(), cases[i].why);
    }
    for (size_t i = 0; i < 8 * saved.size; i++) { /* what opens can be searched */
        memcpy(bytes, saved.data, saved.size);
        bytes[i / 8] ^= (uint8_t)(1 << i % 8);
        if (ops->open(bytes, saved.size, &vectors, VECDB_METRIC_IP, &params, &index) != VECDB_OK)
            continue;
        assert_int_equal(ops->search(index, &search, hits, &count, &counters), VECDB_OK);
        assert_true(count <= FEW);
        for (size_t h = 0; h < count; h++)
            assert_true(hits[h].row < FEW);
        ops->free(index);
    }
    for (size_t size = 0; size < saved.size; size++) {
        memcpy(bytes, saved.data, size);
        assert_int_equal(ops->open(bytes, size, &vectors, VECDB_METRIC_IP, &params, &index), VECDB_ERR_CORRUPT);
    }
    mem_free(bytes);
    buf_deinit(&saved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_disk),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_index_damage),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
