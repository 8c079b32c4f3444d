/* Rows that are equally near where keys do not ascend with rows: the smaller keys are returned, and finding them reads no
 * vectors of which an index has all there is. Segments whose keys follow one another are joined in that order. */
#include "support/api.h"
#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIM = 512, ROWS = 20000, KINDS = 100, QUERIES = 40, K = 10 };

struct box {
    char path[64];
    vecdb_db *db;
    vecdb_collection *rows;
};

static void box_open(struct box *box, bool again)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;

    if (!again) {
        snprintf(box->path, sizeof box->path, "/tmp/vecdb-ties-XXXXXX");
        assert_non_null(mkdtemp(box->path));
    }
    options.durability = VECDB_DURABILITY_NONE;
    options.threads = 1;
    assert_done(vecdb_open(box->path, &options, &box->db));
    schema.name = "rows", schema.fields = fields, schema.field_count = 2;
    assert_done(again ? vecdb_collection_open(box->db, "rows", &box->rows) : vecdb_collection_create(box->db, &schema, &box->rows));
}

static void box_shut(struct box *box)
{
    assert_done(vecdb_collection_close(&box->rows));
    assert_done(vecdb_close(&box->db));
}

static void box_remove(struct box *box)
{
    char command[100];

    snprintf(command, sizeof command, "rm -r '%s'", box->path);
    assert_int_equal(system(command), 0);
}

/* Whole numbers 0..255, one vector for every KINDS keys. */
static float value_of(int64_t key, size_t i) { return (float)((key % KINDS * 37 + (int64_t)i * 11) % 256); }

/* Keys first, first + step .. */
static void insert(struct box *box, int64_t first, int64_t step, size_t count)
{
    int64_t *keys = malloc(count * sizeof *keys);
    float *v = malloc(count * DIM * sizeof *v);
    vecdb_batch batch = VECDB_BATCH_INIT;
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = v}};

    for (size_t row = 0; row < count; row++) {
        keys[row] = first + step * (int64_t)row;
        for (size_t i = 0; i < DIM; i++)
            v[row * DIM + i] = value_of(keys[row], i);
    }
    batch.columns = columns, batch.column_count = 2, batch.row_count = count;
    assert_done(vecdb_insert(box->rows, &batch, NULL));
    free(keys), free(v);
}

static void create_index(struct box *box)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = "v", options.type = "FLAT", options.metric = VECDB_METRIC_L2;
    assert_done(vecdb_index_create(box->rows, &options));
}

/* Bytes of files that this process has in memory. */
static double resident_files(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size, resident, shared;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld %ld", &size, &resident, &shared), 3);
    fclose(file);
    return (double)shared * (double)sysconf(_SC_PAGESIZE);
}

/* Query q is vector q % KINDS, which ROWS / KINDS keys have: q % KINDS and every KINDS-th from there. */
static void check_smallest_keys(struct box *box, size_t queries)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    float *matrix = malloc(queries * DIM * sizeof *matrix);
    int64_t *keys = malloc(queries * K * sizeof *keys);
    size_t *counts = malloc(queries * sizeof *counts);

    for (size_t q = 0; q < queries; q++)
        for (size_t i = 0; i < DIM; i++)
            matrix[q * DIM + i] = value_of((int64_t)q, i);
    request.queries = matrix, request.dim = DIM, request.query_count = queries, request.limit = K;
    request.metric = VECDB_METRIC_L2;
    assert_done(vecdb_search_into(box->rows, &request, keys, NULL, counts));
    for (size_t q = 0; q < queries; q++) {
        assert_int_equal(counts[q], K);
        for (size_t i = 0; i < K; i++)
            assert_int_equal(keys[q * K + i], q % KINDS + i * KINDS);
    }
    free(matrix), free(keys), free(counts);
}

static void smaller_keys_win_without_the_vectors(void **state)
{
    struct box box;
    double before;

    box_open(&box, false);
    insert(&box, ROWS - 1, -1, ROWS); /* the largest first */
    create_index(&box);
    check_smallest_keys(&box, 1);
    assert_done(vecdb_flush(box.rows));
    box_shut(&box);
    box_open(&box, true);
    assert_done(vecdb_load(box.rows, NULL, NULL));
    before = resident_files();
    check_smallest_keys(&box, 1);
    check_smallest_keys(&box, QUERIES);
    assert_true(resident_files() - before < 0.25 * ROWS * DIM * sizeof(float));
    box_shut(&box);
    box_remove(&box);
}

static long number_of(const char *json, const char *name)
{
    const char *at = strstr(json, name);

    assert_non_null(at);
    return atol(at + strlen(name));
}

static long segment_bytes(struct box *box)
{
    char *text;
    long bytes;

    assert_done(vecdb_collection_stats(box->rows, &text));
    assert_int_equal(number_of(text, "\"segments\":"), 1);
    bytes = number_of(text, "\"segment_bytes\":");
    vecdb_free(text);
    return bytes;
}

static void segments_join_in_the_order_of_their_keys(void **state)
{
    long bytes[2];

    for (int reversed = 0; reversed < 2; reversed++) {
        struct box box;
        box_open(&box, false);
        insert(&box, reversed ? 5000 : 0, 1, 5000);
        assert_done(vecdb_flush(box.rows));
        insert(&box, reversed ? 0 : 5000, 1, 5000);
        create_index(&box);
        bytes[reversed] = segment_bytes(&box);
        check_smallest_keys(&box, 3);
        box_shut(&box);
        box_remove(&box);
    }
    assert_int_equal(bytes[0], bytes[1]); /* no order of keys beside rows that are in it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smaller_keys_win_without_the_vectors),
        cmocka_unit_test(segments_join_in_the_order_of_their_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
