/* Plug-ins from within: what is refused, what a faulty one cannot do, and what goes on working without one. The worked example is
 * compiled and run by tests/examples/run. */
#include "support/api.h"
#include "support/unit.h"
#include "vecdb_plugin.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { L0 = 2001, DIM = 4, ROWS = 400 };

static float l0(const void *a, const void *b, vecdb_type type, uint32_t dim, void *context)
{
    uint32_t differ = 0;

    for (uint32_t i = 0; i < dim; i++)
        differ += ((const float *)a)[i] != ((const float *)b)[i];
    return (float)differ + *(const float *)context;
}
static float zero = 0;

/* An index that does what the test tells it to. */
static enum { GOOD, FEW, BEYOND, TWICE, NOT_ALLOWED, NAN_DISTANCE, FAILS, FAILS_SILENTLY } mood;
static int alive;

struct bad_index {
    const vecdb_plugin_vectors *vectors;
    vecdb_metric metric;
};

static vecdb_status build(const vecdb_plugin_vectors *vectors, vecdb_metric metric, const double *params, void *context, void **out)
{
    struct bad_index *index = malloc(sizeof *index);

    assert_true(params[0] == 3); /* what was asked for */
    assert_ptr_equal(context, &zero);
    *index = (struct bad_index){vectors, metric};
    *out = index;
    alive++;
    return VECDB_OK;
}

static vecdb_status search(const void *of, const vecdb_plugin_search *asked, vecdb_plugin_hit *hits, uint32_t *count)
{
    const struct bad_index *index = of;
    uint32_t n = 0;

    if (mood == FAILS)
        return vecdb_plugin_fail(VECDB_ERR_INVALID, "out of order today");
    if (mood == FAILS_SILENTLY)
        return VECDB_ERR_IO;
    for (uint32_t row = 0; row < index->vectors->row_count; row++) { /* not in order: the library sorts */
        float distance = vecdb_plugin_distance(index->metric, index->vectors->type, index->vectors->dim, asked->query, vecdb_plugin_row(index->vectors, row));
        uint32_t worst = 0;
        if (asked->allowed && !(asked->allowed[row / 64] >> (row % 64) & 1))
            continue;
        if (n < asked->k) {
            hits[n++] = (vecdb_plugin_hit){distance, row};
            continue;
        }
        for (uint32_t i = 1; i < n; i++)
            if (hits[i].distance > hits[worst].distance || (hits[i].distance == hits[worst].distance && hits[i].row > hits[worst].row))
                worst = i;
        if (distance < hits[worst].distance)
            hits[worst] = (vecdb_plugin_hit){distance, row};
    }
    *count = mood == FEW ? 1 : n;
    if (mood == BEYOND)
        hits[0].row = (uint32_t)index->vectors->row_count;
    if (mood == TWICE)
        hits[1] = hits[0];
    if (mood == NOT_ALLOWED)
        hits[0].row = 1;
    if (mood == NAN_DISTANCE)
        hits[0].distance = NAN;
    return VECDB_OK;
}

static void free_index(void *index)
{
    free(index);
    alive--;
}

static int longer(const vecdb_plugin_value *arguments, uint32_t count, void *context)
{
    assert_int_equal(count, 2);
    return arguments[0].kind != VECDB_PLUGIN_TEXT ? -1 : (int64_t)arguments[0].length > arguments[1].integer;
}

static vecdb_collection *fill(vecdb_db *db, const char *name)
{
    vecdb_collection *rows = api_create_plain(db, name, VECDB_TYPE_FLOAT_VECTOR, DIM);
    static float vectors[ROWS][DIM];
    static int64_t keys[ROWS];

    for (int i = 0; i < ROWS; i++) {
        keys[i] = i;
        for (int d = 0; d < DIM; d++)
            vectors[i][d] = (float)(i / (d * 5 + 1) % 7);
    }
    assert_done(api_insert_plain(rows, VECDB_TYPE_FLOAT_VECTOR, DIM, keys, vectors, ROWS));
    return rows;
}

static vecdb_search_request ask(const float *query)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;

    request.queries = query, request.dim = DIM, request.query_count = 1, request.limit = 10;
    return request;
}

static void test_refused(void **state)
{
    static const vecdb_plugin_param bad_param[] = {{"size", 9, 0, 5, "its default is out of range", NULL, false}, {0}};
    vecdb_plugin_metric metric = VECDB_PLUGIN_METRIC_INIT;
    vecdb_plugin_index index = VECDB_PLUGIN_INDEX_INIT;
    vecdb_plugin_function function = VECDB_PLUGIN_FUNCTION_INIT;

    assert_int_equal(vecdb_plugin_abi(), VECDB_PLUGIN_ABI);
    metric.name = "L0", metric.number = L0, metric.types = VECDB_PLUGIN_TYPE(VECDB_TYPE_FLOAT_VECTOR), metric.distance = l0, metric.context = &zero;
    metric.abi = 99;
    assert_refused(vecdb_plugin_register_metric(&metric), VECDB_ERR_VERSION, "99|1");
    metric.abi = VECDB_PLUGIN_ABI, metric.number = 7;
    assert_refused(vecdb_plugin_register_metric(&metric), VECDB_ERR_INVALID, "L0|7|1000");
    metric.number = L0, metric.name = "cosine";
    assert_refused(vecdb_plugin_register_metric(&metric), VECDB_ERR_EXISTS, "cosine");
    metric.name = "L 0";
    assert_refused(vecdb_plugin_register_metric(&metric), VECDB_ERR_INVALID, "name");
    metric.name = "L0", metric.types = 0;
    assert_refused(vecdb_plugin_register_metric(&metric), VECDB_ERR_INVALID, "types");
    metric.types = VECDB_PLUGIN_TYPE(VECDB_TYPE_FLOAT_VECTOR);
    assert_done(vecdb_plugin_register_metric(&metric));
    assert_refused(vecdb_plugin_register_metric(&metric), VECDB_ERR_EXISTS, "L0");
    metric.name = "L00";
    assert_refused(vecdb_plugin_register_metric(&metric), VECDB_ERR_EXISTS, "2001");
    assert_true(vecdb_has_feature("metric.L0"));
    assert_false(vecdb_has_feature("index.BAD"));

    index.name = "hnsw", index.types = metric.types, index.metrics = 1ull << 63, index.build = build, index.search = search, index.free = free_index;
    assert_refused(vecdb_plugin_register_index(&index), VECDB_ERR_EXISTS, "hnsw");
    index.name = "BAD", index.build_params = bad_param;
    assert_refused(vecdb_plugin_register_index(&index), VECDB_ERR_INVALID, "BAD|size");
    index.build_params = NULL, index.search = NULL;
    assert_refused(vecdb_plugin_register_index(&index), VECDB_ERR_INVALID, "BAD|search");
    function.name = "ARRAY_length", function.argument_count = 1, function.test = longer;
    assert_refused(vecdb_plugin_register_function(&function), VECDB_ERR_EXISTS, "ARRAY_length");
    function.name = "longer", function.argument_count = 9;
    assert_refused(vecdb_plugin_register_function(&function), VECDB_ERR_INVALID, "9");
}

/* After test_refused, which registered the metric. */
static void test_index(void **state)
{
    static const vecdb_plugin_param params[] = {{"size", 2, 0, 5, "a number", NULL, false}, {0}};
    const float query[DIM] = {3, 1, 0, 2};
    vecdb_search_request request = ask(query), none = ask(query);
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    vecdb_plugin_index index = VECDB_PLUGIN_INDEX_INIT;
    int64_t keys[10], scanned[10];
    float scores[10];
    vecdb_collection *rows, *other;
    vecdb_db *db;
    size_t count;

    index.name = "BAD", index.types = VECDB_PLUGIN_TYPE(VECDB_TYPE_FLOAT_VECTOR), index.metrics = 1ull << 63 | 1ull << VECDB_METRIC_L2;
    index.build = build, index.search = search, index.free = free_index, index.build_params = params, index.context = &zero;
    assert_done(vecdb_plugin_register_index(&index));
    assert_done(vecdb_open(NULL, NULL, &db));
    rows = fill(db, "rows");
    other = fill(db, "other");
    none.metric = (vecdb_metric)L0; /* no index: a scan */
    assert_done(vecdb_search_into(other, &none, scanned, scores, &count));
    assert_int_equal(count, 10);
    for (int i = 1; i < 10; i++)
        assert_true(scores[i - 1] < scores[i] || (scores[i - 1] == scores[i] && scanned[i - 1] < scanned[i]));
    options.field = "vector", options.type = "HNSW", options.metric = (vecdb_metric)L0;
    assert_refused(vecdb_index_create(other, &options), VECDB_ERR_UNSUPPORTED, "HNSW|L0");
    options.metric = (vecdb_metric)4000;
    assert_refused(vecdb_index_create(other, &options), VECDB_ERR_INVALID, "4000|not registered");
    options.type = "BAD", options.metric = VECDB_METRIC_COSINE;
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_UNSUPPORTED, "BAD|COSINE");
    options.metric = (vecdb_metric)L0, options.params = "size=7";
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_INVALID, "size|7|0|5");
    options.params = "size=3";
    assert_done(vecdb_index_create(rows, &options));
    assert_true(alive > 0);
    for (mood = GOOD; mood <= FEW; mood++) { /* one that finds too little is helped out */
        assert_done(vecdb_search_into(rows, &request, keys, NULL, &count));
        assert_int_equal(count, 10);
        assert_memory_equal(keys, scanned, sizeof keys);
        request.filter = "id % 2 == 0";
        none.filter = request.filter;
        assert_done(vecdb_search_into(other, &none, scanned, NULL, &count));
        assert_done(vecdb_search_into(rows, &request, keys, NULL, &count));
        assert_memory_equal(keys, scanned, sizeof keys);
        request.filter = none.filter = NULL;
        assert_done(vecdb_search_into(other, &none, scanned, NULL, &count));
    }
    request.filter = "id % 2 == 0";
    mood = BEYOND;
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, &count), VECDB_ERR_MISUSE, "BAD|400");
    mood = TWICE;
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, &count), VECDB_ERR_MISUSE, "BAD|twice");
    mood = NOT_ALLOWED;
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, &count), VECDB_ERR_MISUSE, "BAD|not allowed");
    mood = NAN_DISTANCE;
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, &count), VECDB_ERR_MISUSE, "BAD|NaN");
    mood = FAILS;
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, &count), VECDB_ERR_INVALID, "out of order today");
    mood = FAILS_SILENTLY;
    assert_refused(vecdb_search_into(rows, &request, keys, NULL, &count), VECDB_ERR_IO, "BAD|VECDB_ERR_IO");
    mood = GOOD;
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_collection_close(&other));
    assert_done(vecdb_close(&db));
    assert_int_equal(alive, 0);
}

static void test_function(void **state)
{
    vecdb_plugin_function function = VECDB_PLUGIN_FUNCTION_INIT;
    vecdb_collection *rows;
    uint64_t count, all, null;
    vecdb_db *db;

    assert_done(vecdb_open(NULL, NULL, &db));
    rows = api_create(db, "rows", true);
    assert_done(api_insert(rows, 0, 300));
    assert_refused(vecdb_count(rows, "longer(text, 9)", NULL, &count), VECDB_ERR_FILTER, "no function longer");
    function.name = "longer", function.argument_count = 2, function.test = longer;
    assert_done(vecdb_plugin_register_function(&function));
    assert_refused(vecdb_plugin_register_function(&function), VECDB_ERR_EXISTS, "longer");
    assert_done(vecdb_count(rows, NULL, NULL, &all));
    assert_done(vecdb_count(rows, "text is null", NULL, &null));
    assert_done(vecdb_count(rows, "longer(text, 9)", NULL, &count)); /* "text 100 \xC3\xA9" has 11 bytes, "text 10 \xC3\xA9" 10 */
    assert_int_equal(count, 300 - 10 - 100 + 4); /* all but 0..9, and the nulls, four of which are among those */
    assert_done(vecdb_count(rows, "longer(text, {n}) and id < 100", "{\"n\": 9}", &count));
    assert_int_equal(count, 60);
    assert_done(vecdb_count(rows, "not longer(text, 9)", NULL, &count));
    assert_int_equal(count, 6);
    assert_done(vecdb_count(rows, "longer(i32, 9) or not longer(i32, 9)", NULL, &count)); /* no text: unknown */
    assert_int_equal(count, 0);
    assert_true(all == 300 && null == 100);
    assert_refused(vecdb_count(rows, "longer(text)", NULL, &count), VECDB_ERR_FILTER, "longer takes 2 arguments, found 1");
    assert_refused(vecdb_count(rows, "longer('a', 9)", NULL, &count), VECDB_ERR_FILTER, "longer takes a single value of the row");
    assert_refused(vecdb_count(rows, "longer(list, 9)", NULL, &count), VECDB_ERR_FILTER, "longer takes a single value of the row");
    assert_refused(vecdb_count(rows, "longer(text, id)", NULL, &count), VECDB_ERR_FILTER, "longer takes a constant");
    assert_refused(vecdb_count(rows, "longer(text, [1])", NULL, &count), VECDB_ERR_FILTER, "longer takes a constant");
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
}

static struct {
    vecdb_collection *rows;
    bool now, tidy;
} meddling;

/* True of ids below 100. When told to, it changes the rows that are being looked at, on the first it sees. */
static int meddle(const vecdb_plugin_value *arguments, uint32_t count, void *context)
{
    int64_t keys[10];
    vecdb_column gone = {.field = "id", .type = VECDB_TYPE_INT64, .data = keys};

    if (meddling.now) {
        meddling.now = false;
        for (int i = 0; i < 10; i++)
            keys[i] = 20 + i;
        assert_done(vecdb_delete(meddling.rows, &gone, 10, NULL));
        for (int i = 0; i < 10; i++)
            keys[i] = i;
        assert_done(vecdb_delete(meddling.rows, &gone, 10, NULL)); /* and back again: other rows of the same keys */
        assert_done(api_insert(meddling.rows, 0, 10));
        if (meddling.tidy)
            assert_done(vecdb_optimize(meddling.rows, NULL, NULL));
    }
    return arguments[0].integer < 100;
}

/* No lock is held while a filter's function runs, also of a delete. */
static void test_meddling(void **state)
{
    vecdb_plugin_function function = VECDB_PLUGIN_FUNCTION_INIT;
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    uint64_t count;
    vecdb_db *db;

    function.name = "meddle", function.argument_count = 1, function.test = meddle;
    assert_done(vecdb_plugin_register_function(&function));
    for (int tidy = 0; tidy < 2; tidy++) {
        char directory[] = "/tmp/vecdb-meddle-XXXXXX", command[64];
        assert_non_null(mkdtemp(directory));
        assert_done(vecdb_open(directory, NULL, &db));
        meddling.rows = api_create(db, "rows", true);
        assert_done(api_insert(meddling.rows, 0, 300));
        meddling.now = true, meddling.tidy = tidy;
        assert_done(vecdb_delete_where(meddling.rows, "meddle(id)", NULL, &options));
        assert_false(meddling.now);
        assert_int_equal(options.affected, tidy ? 90 : 80); /* rows that came after it began stay, unless it had to begin again */
        for (int again = 0; again < 2; again++) {
            assert_done(vecdb_count(meddling.rows, "id < 100", NULL, &count));
            assert_int_equal(count, tidy ? 0 : 10);
            assert_done(vecdb_count(meddling.rows, NULL, NULL, &count));
            assert_int_equal(count, tidy ? 200 : 210);
            assert_done(vecdb_collection_close(&meddling.rows)); /* and so the log has it */
            assert_done(vecdb_close(&db));
            assert_done(vecdb_open(directory, NULL, &db));
            assert_done(vecdb_collection_open(db, "rows", &meddling.rows));
        }
        assert_done(vecdb_collection_close(&meddling.rows));
        assert_done(vecdb_close(&db));
        snprintf(command, sizeof command, "rm -rf %s", directory);
        assert_int_equal(system(command), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_function),
        cmocka_unit_test(test_meddling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
