/* The IVF kinds through the public interface: rows that come after training are found, an index is trained anew when segments
 * merge, recall=1 is exact, a recall asked for is about what one gets, and mistakes are named. */
#include "support/neighbours.h"
#include "vecdb.h"

#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { DIM = 24, QUERIES = 40, K = 10 };

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        vecdb_status status_ = (call);                                                                                 \
        if (status_ < 0)                                                                                               \
            fail_msg("%s: %d %s", #call, (int)status_, vecdb_last_error());                                            \
    } while (0)

struct box {
    char path[64];
    vecdb_db *db;
    vecdb_collection *collection;
};

static void box_open(struct box *box)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                            {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;

    snprintf(box->path, sizeof box->path, "/tmp/vecdb-ivf-XXXXXX");
    assert_non_null(mkdtemp(box->path));
    options.durability = VECDB_DURABILITY_NONE;
    options.threads = 2;
    ok(vecdb_open(box->path, &options, &box->db));
    schema.name = "rows";
    schema.fields = fields;
    schema.field_count = 2;
    ok(vecdb_collection_create(box->db, &schema, &box->collection));
}

static void box_close(struct box *box)
{
    char command[100];

    ok(vecdb_collection_close(&box->collection));
    ok(vecdb_close(&box->db));
    snprintf(command, sizeof command, "rm -r '%s'", box->path);
    assert_int_equal(system(command), 0);
}

/* Rows in 40 clusters around `offset`. */
static void fill(struct rng *rng, float *out, size_t count, float offset)
{
    float centres[40][DIM];
    struct rng fixed = rng_seeded(99);

    for (size_t c = 0; c < 40; c++)
        for (size_t i = 0; i < DIM; i++)
            centres[c][i] = offset + 4 * (float)rng_normal(&fixed);
    for (size_t row = 0; row < count; row++) {
        size_t c = rng_below(rng, 40);
        for (size_t i = 0; i < DIM; i++)
            out[row * DIM + i] = centres[c][i] + (float)rng_normal(rng);
    }
}

static void insert(struct box *box, const float *rows, int64_t first, size_t count)
{
    vecdb_column columns[2] = {{.field = "id", .type = VECDB_TYPE_INT64},
                               {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = rows}};
    vecdb_batch batch = VECDB_BATCH_INIT;
    int64_t *keys = mem_array_alloc(count, sizeof *keys);

    for (size_t i = 0; i < count; i++)
        keys[i] = first + (int64_t)i;
    columns[0].data = keys;
    batch.columns = columns;
    batch.column_count = 2;
    batch.row_count = count;
    ok(vecdb_insert(box->collection, &batch, NULL));
    mem_free(keys);
}

static void create_index(struct box *box, const char *type, const char *params)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = "v";
    options.type = type;
    options.metric = VECDB_METRIC_L2;
    options.params = params;
    ok(vecdb_index_create(box->collection, &options));
}

static void ask(struct box *box, const float *queries, const char *params, bool exact, int64_t *keys)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    vecdb_result *result;
    vecdb_column column;

    request.queries = queries;
    request.dim = DIM;
    request.query_count = QUERIES;
    request.limit = K;
    request.params = params;
    request.exact = exact;
    ok(vecdb_search(box->collection, &request, &result));
    ok(vecdb_result_column(result, "id", &column));
    for (size_t q = 0; q < QUERIES; q++) {
        size_t first;
        assert_int_equal(vecdb_result_rows(result, q, &first), K);
        memcpy(keys + q * K, (const int64_t *)column.data + first, K * sizeof *keys);
    }
    vecdb_result_free(&result);
}

static double recall_of(struct box *box, const float *queries, const char *params)
{
    int64_t want[QUERIES * K], got[QUERIES * K];
    size_t found = 0;

    ask(box, queries, NULL, true, want);
    ask(box, queries, params, false, got);
    for (size_t q = 0; q < QUERIES; q++)
        for (size_t i = 0; i < K; i++)
            for (size_t j = 0; j < K; j++)
                found += got[q * K + i] == want[q * K + j];
    return (double)found / (QUERIES * K);
}

static const struct {
    const char *type, *params;
    double most; /* recall with all lists, at least */
} kinds[] = {
    {"IVF_FLAT", "nlist=32", 1},
    {"IVF_SQ8", "nlist=32", 0.95},
    {"IVF_PQ", "nlist=32", 0.97},
    {"IVF_PQ", "nlist=32, refine_type=sq8", 0.95},
    {"IVF_RABITQ", "nlist=32", 0.97},
};

static void grows_and_is_trained_anew(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    enum { N = 3000, MORE = 600, MOVED = 9000 };
    float *rows = mem_array_alloc(N + MORE + MOVED, DIM * sizeof *rows);
    float *more = rows + N * DIM, *moved = more + MORE * DIM;

    fill(&rng, rows, N, 0);
    fill(&rng, more, MORE, 0);
    fill(&rng, moved, MOVED, 60); /* far from all there was */
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct box box;
        int64_t keys[QUERIES * K];
        double before, after;
        box_open(&box);
        insert(&box, rows, 0, N);
        create_index(&box, kinds[i].type, kinds[i].params);
        assert_true(recall_of(&box, rows, "nprobe=32") >= kinds[i].most);
        insert(&box, more, N, MORE);
        ask(&box, more, "nprobe=4", false, keys); /* rows that came after training */
        for (size_t q = 0; q < QUERIES; q++)
            assert_true(keys[q * K] == (int64_t)(N + q));
        assert_true(recall_of(&box, more, "nprobe=32") >= kinds[i].most);
        insert(&box, moved, N + MORE, MOVED);
        ok(vecdb_flush(box.collection));
        before = recall_of(&box, moved, "nprobe=6");
        ok(vecdb_optimize(box.collection, NULL, NULL));
        after = recall_of(&box, moved, "nprobe=6");
        if (after < before - 0.02 || after < 0.8) /* 6 of 32 lists, of clusters that training knows now */
            fail_msg("%s %s: recall %.3f before merging, %.3f after", kinds[i].type, kinds[i].params, before, after);
        box_close(&box);
        box_open(&box); /* all rows at once: what has grown and merged is about as good */
        insert(&box, rows, 0, N + MORE + MOVED);
        create_index(&box, kinds[i].type, kinds[i].params);
        before = recall_of(&box, moved, "nprobe=6");
        if (after < before - 0.03)
            fail_msg("%s %s: recall %.3f built at once, %.3f after drifting", kinds[i].type, kinds[i].params, before, after);
        box_close(&box);
    }
    mem_free(rows);
}

static void recall_is_what_was_asked_for(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 1);
    enum { N = 8000 };
    float *rows = mem_array_alloc(N + QUERIES, DIM * sizeof *rows), *queries = rows + N * DIM;
    struct box box;

    fill(&rng, rows, N + QUERIES, 0);
    box_open(&box);
    insert(&box, rows, 0, N);
    create_index(&box, "IVF_FLAT", NULL);
    ok(vecdb_flush(box.collection));
    ok(vecdb_optimize(box.collection, NULL, NULL));
    assert_true(recall_of(&box, queries, "recall=1") == 1);
    assert_true(recall_of(&box, queries, "recall=0.99") >= 0.97);
    assert_true(recall_of(&box, queries, "recall=0.9") >= 0.85);
    box_close(&box);
    mem_free(rows);
}

static void mistakes_are_named(void **state)
{
    static const struct {
        const char *type, *params, *message; /* begins so, somewhere */
    } cases[] = {
        {"IVF_FLAT", "nlist=0", "nlist=0 is out of range 1..65536"},
        {"IVF_FLAT", "nlist=65537", "nlist=65537 is out of range 1..65536"},
        {"IVF_PQ", "m=7", "m=7 does not divide dim 24"},
        {"IVF_PQ", "nbits=9", "nbits=9 is out of range 4..8"},
        {"IVF_PQ", "nbits=5", "nbits=5 is neither 4 nor 8"},
        {"IVF_PQ", "refine_type=sq6", "refine_type=sq6 is none of auto|sq8|fp16|bf16|fp32|flat"},
        {"IVF_PQ", "rotation=pca", "rotation=pca is none of none|fht"},
        {"IVF_RABITQ", "rbq_bits=9", "rbq_bits=9 is out of range 1..8"},
        {"SCANN", "sub_dim=5", "sub_dim=5 does not divide dim 24"},
    };
    struct rng rng = rng_seeded(test_seed() + 2);
    float rows[QUERIES * DIM];
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    vecdb_result *result;
    struct box box;

    fill(&rng, rows, QUERIES, 0);
    box_open(&box);
    insert(&box, rows, 0, QUERIES);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
        options.field = "v";
        options.type = cases[i].type;
        options.metric = VECDB_METRIC_L2;
        options.params = cases[i].params;
        assert_int_equal(vecdb_index_create(box.collection, &options), VECDB_ERR_INVALID);
        if (!strstr(vecdb_last_error(), cases[i].message))
            fail_msg("%s %s: \"%s\" is not in \"%s\"", cases[i].type, cases[i].params, cases[i].message,
                     vecdb_last_error());
    }
    create_index(&box, "IVF_FLAT", "nlist=8");
    request.queries = rows;
    request.dim = DIM;
    request.query_count = 1;
    request.params = "nprobe=9";
    assert_int_equal(vecdb_search(box.collection, &request, &result), VECDB_ERR_INVALID);
    assert_non_null(strstr(vecdb_last_error(), "nprobe=9 is out of range 1..8"));
    box_close(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_is_trained_anew),
        cmocka_unit_test(recall_is_what_was_asked_for),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
