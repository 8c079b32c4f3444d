/* Keys of answers, whether they follow one another, and are told by a row's place, or have gaps, and are read. */
#include "support/api.h"
#include "support/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ROWS = 140000, DIM = 2 }; /* more than two blocks */

/* Row `row`'s key where every `gap`-th is left out, and one after `hole`; 0: none. */
static int64_t key_of(int64_t first, int64_t row, int64_t gap, int64_t hole)
{
    return first + row + (gap ? row / gap : 0) + (hole && row >= hole);
}

static void fill(vecdb_collection *rows, int64_t first, int64_t gap, int64_t hole)
{
    int64_t *keys = malloc(ROWS * sizeof *keys);
    float *v = malloc(ROWS * DIM * sizeof *v);
    vecdb_batch batch = VECDB_BATCH_INIT;
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = v}};

    for (int64_t row = 0; row < ROWS; row++) {
        keys[row] = key_of(first, row, gap, hole);
        v[row * DIM] = (float)(row / 500);
        v[row * DIM + 1] = (float)(row % 500);
    }
    batch.columns = columns, batch.column_count = 2, batch.row_count = ROWS;
    assert_done(vecdb_insert(rows, &batch, NULL));
    assert_done(vecdb_flush(rows));
    free(keys), free(v);
}

static void check(vecdb_collection *rows, int64_t first, int64_t gap, int64_t hole)
{
    static const int64_t asked[] = {0, 1, 65535, 65536, 70000, 70001, 131071, 131072, ROWS - 1};
    enum { QUERIES = sizeof asked / sizeof asked[0] };
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    float queries[QUERIES * DIM];
    int64_t keys[QUERIES];
    size_t counts[QUERIES];

    for (size_t q = 0; q < QUERIES; q++) {
        queries[q * DIM] = (float)(asked[q] / 500);
        queries[q * DIM + 1] = (float)(asked[q] % 500);
    }
    request.queries = queries, request.dim = DIM, request.query_count = QUERIES, request.limit = 1;
    request.metric = VECDB_METRIC_L2;
    assert_done(vecdb_search_into(rows, &request, keys, NULL, counts));
    for (size_t q = 0; q < QUERIES; q++)
        assert_int_equal(keys[q], key_of(first, asked[q], gap, hole));
}

static void keys_are_those_of_the_rows(void **state)
{
    static const struct {
        int64_t first, gap, hole;
    } cases[] = {{0, 0, 0}, {-5000, 0, 0}, {7, 3, 0}, {0, 0, 70001}, {INT64_MAX - ROWS, 0, 0}, {INT64_MIN, 0, 65536}};
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_schema schema = VECDB_SCHEMA_INIT;

    options.durability = VECDB_DURABILITY_NONE;
    options.threads = 1;
    schema.name = "rows", schema.fields = fields, schema.field_count = 2;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[] = "/tmp/vecdb-keys-XXXXXX", command[100];
        vecdb_collection *rows;
        vecdb_db *db;

        assert_non_null(mkdtemp(path));
        assert_done(vecdb_open(path, &options, &db));
        assert_done(vecdb_collection_create(db, &schema, &rows));
        fill(rows, cases[i].first, cases[i].gap, cases[i].hole);
        check(rows, cases[i].first, cases[i].gap, cases[i].hole);
        assert_done(vecdb_collection_close(&rows));
        assert_done(vecdb_close(&db));
        assert_done(vecdb_open(path, &options, &db));
        assert_done(vecdb_collection_open(db, "rows", &rows));
        assert_done(vecdb_load(rows, NULL, NULL));
        check(rows, cases[i].first, cases[i].gap, cases[i].hole);
        assert_done(vecdb_collection_close(&rows));
        assert_done(vecdb_close(&db));
        snprintf(command, sizeof command, "rm -r '%s'", path);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(keys_are_those_of_the_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
