/* What bad input gets from the public API: a code, a message with the name and the numbers, and nothing changed. */
#include "support/api.h"
#include "support/unit.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static vecdb_db *db;
static vecdb_collection *rows;

static int open_rows(void **state)
{
    assert_done(vecdb_open(NULL, NULL, &db));
    rows = api_create(db, "rows", false);
    assert_done(api_insert(rows, 0, 10));
    return 0;
}

static int close_rows(void **state)
{
    uint64_t count;

    assert_done(vecdb_count(rows, NULL, NULL, &count));
    assert_int_equal(count, 10); /* nothing changed */
    assert_done(vecdb_collection_close(&rows));
    assert_done(vecdb_close(&db));
    return 0;
}

/* Try to insert one row: key 100, its vector, and one column more. */
static vecdb_status insert_with(vecdb_column column, const float *vector, uint32_t dim)
{
    static const int64_t key = 100;
    vecdb_column columns[3] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = &key},
                               {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = dim, .data = vector},
                               column};
    vecdb_batch batch = VECDB_BATCH_INIT;

    batch.columns = columns;
    batch.column_count = column.field ? 3 : 2;
    batch.row_count = 1;
    return vecdb_insert(rows, &batch, NULL);
}

static const float zeros[2 * API_DIM], ones[API_DIM] = {1, 1, 1, 1, 1, 1, 1, 1};
static const vecdb_column nothing;

static void test_vectors(void **state)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    float vector[API_DIM] = {0};

    assert_refused(insert_with(nothing, ones, API_DIM - 1), VECDB_ERR_DIM, "vector|got 7|dim is 8");
    assert_refused(insert_with(nothing, ones, 0), VECDB_ERR_DIM, "vector|got 0|dim is 8");
    assert_refused(insert_with(nothing, NULL, API_DIM), VECDB_ERR_INVALID, "vector|NULL");
    for (int b = 0; b < 3; b++)
        for (int i = 0; i < API_DIM; i++) {
            char words[64];
            memset(vector, 0, sizeof vector);
            vector[i] = bad[b];
            snprintf(words, sizeof words, "vector|row 0|element %d|%s", i, b ? "infinite" : "NaN");
            assert_refused(insert_with(nothing, vector, API_DIM), VECDB_ERR_INVALID, words);
        }
    memset(vector, 0, sizeof vector);
    vector[3] = FLT_MAX;
    assert_refused(insert_with(nothing, vector, API_DIM), VECDB_ERR_INVALID, "vector|row 0|squares");
}

static void test_values(void **state)
{
    static const int64_t big = 300, huge = 1ll << 40;
    static const double infinite = INFINITY, large = 1e300;
    static const uint8_t two = 2;
    static const vecdb_string text = {"x", 1}, bad_utf8 = {"\xC3(", 2}, surrogate = {"\xED\xA0\x80", 3}, broken = {"{\"a\":", 5};
    static char long_text[65];
    const vecdb_string longer = {memset(long_text, 'a', 65), 65};
    static const int32_t many[9];
    static const uint64_t nine[] = {0, 9}, backwards[] = {5, 2};

    assert_refused(insert_with((vecdb_column){.field = "i8", .type = VECDB_TYPE_INT64, .data = &big}, ones, API_DIM),
                   VECDB_ERR_TYPE, "i8|300|INT8|-128 .. 127");
    assert_refused(insert_with((vecdb_column){.field = "i32", .type = VECDB_TYPE_INT64, .data = &huge}, ones, API_DIM),
                   VECDB_ERR_TYPE, "i32|1099511627776|INT32");
    assert_refused(insert_with((vecdb_column){.field = "i32", .type = VECDB_TYPE_DOUBLE, .data = &large}, ones, API_DIM),
                   VECDB_ERR_TYPE, "i32|DOUBLE|INT32");
    assert_refused(insert_with((vecdb_column){.field = "f", .type = VECDB_TYPE_DOUBLE, .data = &large}, ones, API_DIM),
                   VECDB_ERR_TYPE, "f|1e+300|FLOAT");
    assert_refused(insert_with((vecdb_column){.field = "d", .type = VECDB_TYPE_DOUBLE, .data = &infinite}, ones, API_DIM),
                   VECDB_ERR_INVALID, "d|infinite");
    assert_refused(insert_with((vecdb_column){.field = "b", .type = VECDB_TYPE_BOOL, .data = &two}, ones, API_DIM),
                   VECDB_ERR_TYPE, "b|2|BOOL");
    assert_refused(insert_with((vecdb_column){.field = "b", .type = VECDB_TYPE_VARCHAR, .data = &text}, ones, API_DIM),
                   VECDB_ERR_TYPE, "b|VARCHAR|BOOL");
    assert_refused(insert_with((vecdb_column){.field = "text", .type = VECDB_TYPE_VARCHAR, .data = &bad_utf8}, ones, API_DIM),
                   VECDB_ERR_INVALID, "text|UTF-8|byte 0");
    assert_refused(insert_with((vecdb_column){.field = "text", .type = VECDB_TYPE_VARCHAR, .data = &surrogate}, ones, API_DIM),
                   VECDB_ERR_INVALID, "text|UTF-8");
    assert_refused(insert_with((vecdb_column){.field = "text", .type = VECDB_TYPE_VARCHAR, .data = &longer}, ones, API_DIM),
                   VECDB_ERR_LIMIT, "text|65 bytes|max_length 64");
    assert_refused(insert_with((vecdb_column){.field = "json", .type = VECDB_TYPE_JSON, .data = &broken}, ones, API_DIM),
                   VECDB_ERR_INVALID, "json|row 0");
    assert_refused(insert_with((vecdb_column){.field = "list", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_INT32,
                                              .data = many, .offsets = nine}, ones, API_DIM),
                   VECDB_ERR_LIMIT, "list|9 elements|max_capacity 8");
    assert_refused(insert_with((vecdb_column){.field = "list", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_INT32,
                                              .data = many, .offsets = backwards}, ones, API_DIM),
                   VECDB_ERR_INVALID, "list|offset 1 is 2");
    assert_refused(insert_with((vecdb_column){.field = "list", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_INT32,
                                              .data = many}, ones, API_DIM),
                   VECDB_ERR_INVALID, "list|offsets");
    assert_refused(insert_with((vecdb_column){.field = "texts", .type = VECDB_TYPE_VARCHAR, .data = &text}, ones, API_DIM),
                   VECDB_ERR_NO_SUCH, "texts|did you mean text?");
    assert_refused(insert_with((vecdb_column){.field = "vector", .type = VECDB_TYPE_VARCHAR, .data = &text}, ones, API_DIM),
                   VECDB_ERR_INVALID, "vector|twice");
    assert_refused(insert_with((vecdb_column){.field = "i8", .type = (vecdb_type)77, .data = &big}, ones, API_DIM),
                   VECDB_ERR_TYPE, "i8|unknown type");
}

static void test_batches(void **state)
{
    static const uint8_t missing = 0;
    static const int64_t key = 100;
    vecdb_column columns[2] = {{.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = API_DIM, .data = ones},
                               {.field = "id", .type = VECDB_TYPE_INT64, .data = &key, .valid = &missing}};
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;

    assert_refused(vecdb_insert(rows, NULL, NULL), VECDB_ERR_INVALID, "batch|NULL");
    assert_refused(vecdb_insert(NULL, &batch, NULL), VECDB_ERR_MISUSE, "NULL");
    batch.columns = columns, batch.column_count = 1, batch.row_count = 1;
    assert_refused(vecdb_insert(rows, &batch, NULL), VECDB_ERR_INVALID, "field id|missing");
    batch.column_count = 2;
    assert_refused(vecdb_insert(rows, &batch, &options), VECDB_ERR_INVALID, "id|row 0|no key");
    assert_int_equal(options.bad_row, 0);
    columns[1].valid = NULL;
    columns[0].valid = &missing;
    assert_refused(vecdb_insert(rows, &batch, NULL), VECDB_ERR_INVALID, "vector|row 0|not nullable");
    batch.size = 1;
    assert_refused(vecdb_insert(rows, &batch, NULL), VECDB_ERR_MISUSE, "batch|size is 1");
    batch.size = sizeof batch;
    options.durability = (vecdb_durability)9;
    assert_refused(vecdb_insert(rows, &batch, &options), VECDB_ERR_INVALID, "durability 9");
}

/* A program built against a later header: what it sets beyond our struct must be refused, zeros must not. */
static void test_structs_of_a_later_version(void **state)
{
    struct {
        vecdb_search_request request;
        uint64_t later;
    } from_later = {VECDB_SEARCH_REQUEST_INIT, 0};
    struct {
        uint32_t size, flags;
    } from_earlier = {8, VECDB_OPEN_NO_CREATE};
    int64_t keys[10];
    vecdb_db *other;

    from_later.request.size = sizeof from_later;
    from_later.request.queries = ones, from_later.request.dim = API_DIM, from_later.request.query_count = 1;
    assert_done(vecdb_search_into(rows, &from_later.request, keys, NULL, NULL));
    from_later.later = 1;
    assert_refused(vecdb_search_into(rows, &from_later.request, keys, NULL, NULL), VECDB_ERR_UNSUPPORTED, "search request");
    assert_refused(vecdb_open("/tmp/vecdb-that-is-not-there", (const vecdb_open_options *)&from_earlier, &other), VECDB_ERR_NO_SUCH, "not-there");
    assert_null(other);
}

static void test_searches(void **state)
{
    static const char *const unknown[] = {"nonsense"};
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    float bad[API_DIM] = {0};
    vecdb_result *result;

    assert_refused(vecdb_search(rows, NULL, &result), VECDB_ERR_INVALID, "search request|NULL");
    assert_null(result);
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "queries is NULL");
    request.queries = ones, request.dim = API_DIM, request.query_count = 1;
    assert_refused(vecdb_search(rows, &request, NULL), VECDB_ERR_INVALID, "out is NULL");
    request.limit = 0;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "limit is 0");
    request.limit = 5, request.dim = 9;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_DIM, "vector|9 values|dim is 8");
    request.dim = API_DIM, request.query_count = 0;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "query_count is 0");
    request.query_count = 1, request.field = "id";
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_TYPE, "id|INT64|not a vector");
    request.field = "vectro";
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_NO_SUCH, "vectro|did you mean vector?");
    request.field = NULL, request.metric = VECDB_METRIC_HAMMING;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_UNSUPPORTED, "HAMMING|FLOAT_VECTOR|L2, IP or COSINE");
    request.metric = VECDB_METRIC_COSINE, request.queries = zeros;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "zero vector|COSINE");
    bad[7] = NAN, request.queries = bad, request.metric = VECDB_METRIC_L2;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "query|element 7|NaN");
    request.queries = ones, request.query_stride = 4;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "query_stride|4 bytes|32");
    request.query_stride = 0, request.filter = "year >";
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_FILTER, "column");
    request.filter = NULL, request.params = "nonsense=5";
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "nonsense|there are|ef, |nprobe");
    request.params = NULL, request.output_fields = unknown, request.output_count = 1;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_NO_SUCH, "nonsense");
    request.output_count = 0, request.has_range_filter = true;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "range_filter|radius");
    request.has_radius = true, request.radius = 1, request.range_filter = 2;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_INVALID, "range_filter 2|less than radius 1|L2");
    request.has_radius = request.has_range_filter = false, request.group_by = "json";
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_TYPE, "json|JSON");
    request.group_by = NULL, request.query_type = VECDB_TYPE_INT8_VECTOR;
    assert_refused(vecdb_search(rows, &request, &result), VECDB_ERR_TYPE, "vector|INT8_VECTOR|FLOAT_VECTOR");
}

/* One field beside a key and a vector, to be refused. */
static vecdb_status create_with(vecdb_field field)
{
    vecdb_field fields[3] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                             {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2}, field};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *collection;
    vecdb_status status;

    schema.name = "other", schema.fields = fields, schema.field_count = 3;
    status = vecdb_collection_create(db, &schema, &collection);
    if (status == VECDB_OK)
        assert_done(vecdb_collection_close(&collection));
    else
        assert_null(collection);
    return status;
}

static void test_schemas(void **state)
{
    static char long_name[300];
    const vecdb_field vector_only[] = {{.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2}};
    const vecdb_field key_only[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY}};
    static const char *const bad_names[] = {"", "a\nb", "\x7F", "\xC3("};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *collection;

    memset(long_name, 'n', sizeof long_name - 1);
    assert_refused(create_with((vecdb_field){.name = "x", .type = (vecdb_type)99}), VECDB_ERR_TYPE, "x|99");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_FLOAT_VECTOR}), VECDB_ERR_DIM, "x|dim|1 to 32768");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 32769}), VECDB_ERR_LIMIT, "x|32769|32768");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_BINARY_VECTOR, .dim = 12}), VECDB_ERR_DIM, "x|12|multiple of 8");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT32, .dim = 3}), VECDB_ERR_INVALID, "x|INT32|no dim");
    assert_refused(create_with((vecdb_field){.name = "v", .type = VECDB_TYPE_INT32}), VECDB_ERR_EXISTS, "v|twice");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY}), VECDB_ERR_INVALID, "id and x|primary");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_ARRAY}), VECDB_ERR_TYPE, "x|ARRAY");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_JSON}), VECDB_ERR_TYPE, "x|JSON");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_VARCHAR, .max_length = 2000000}), VECDB_ERR_LIMIT, "x|2000000");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT8, .default_value = "1000"}), VECDB_ERR_TYPE, "x|1000|INT8");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT8, .default_value = "\"a\""}), VECDB_ERR_TYPE, "x|INT8");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT8, .default_value = "{"}), VECDB_ERR_INVALID, "x|default");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_JSON, .default_value = "1"}), VECDB_ERR_UNSUPPORTED, "x|JSON|default");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT8, .flags = 64}), VECDB_ERR_INVALID, "x|0x40");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT8, .flags = VECDB_AUTO_ID}), VECDB_ERR_INVALID, "x|AUTO_ID");
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT8, .flags = VECDB_PARTITION_KEY}), VECDB_ERR_TYPE, "x|partition|INT8");
    assert_refused(create_with((vecdb_field){.name = "$x", .type = VECDB_TYPE_INT8}), VECDB_ERR_INVALID, "$x|reserved");
    assert_refused(create_with((vecdb_field){.name = NULL, .type = VECDB_TYPE_INT8}), VECDB_ERR_INVALID, "field|NULL");
    assert_refused(create_with((vecdb_field){.name = long_name, .type = VECDB_TYPE_INT8}), VECDB_ERR_LIMIT, "longer than 255");
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++)
        assert_refused(create_with((vecdb_field){.name = bad_names[i], .type = VECDB_TYPE_INT8}), VECDB_ERR_INVALID, "name");
    assert_done(create_with((vecdb_field){.name = "../\xE2\x98\x83 name", .type = VECDB_TYPE_INT8}));
    assert_refused(create_with((vecdb_field){.name = "x", .type = VECDB_TYPE_INT8}), VECDB_ERR_EXISTS, "other");
    schema.name = "third", schema.fields = vector_only, schema.field_count = 1;
    assert_refused(vecdb_collection_create(db, &schema, &collection), VECDB_ERR_INVALID, "third|primary key");
    schema.fields = key_only;
    assert_refused(vecdb_collection_create(db, &schema, &collection), VECDB_ERR_INVALID, "third|vector");
    schema.field_count = 0;
    assert_refused(vecdb_collection_create(db, &schema, &collection), VECDB_ERR_INVALID, "third|no fields");
    assert_done(vecdb_collection_drop(db, "other"));
    assert_refused(vecdb_collection_drop(db, "other"), VECDB_ERR_NO_SUCH, "other");
    assert_refused(vecdb_collection_open(db, "nowhere", &collection), VECDB_ERR_NO_SUCH, "nowhere");
    assert_refused(vecdb_collection_open(db, "rws", &collection), VECDB_ERR_NO_SUCH, "rws|did you mean rows?");
    assert_refused(vecdb_collection_open(db, "r", &collection), VECDB_ERR_NO_SUCH, "no collection r");
    assert_null(strstr(vecdb_last_error(), "did you mean"));
    assert_refused(vecdb_collection_open(db, NULL, &collection), VECDB_ERR_INVALID, "NULL");
}

static void test_indexes(void **state)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_INVALID, "field is NULL");
    options.field = "nothing";
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_NO_SUCH, "nothing");
    options.field = "vector", options.type = "HSNW";
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_NO_SUCH, "HSNW|HNSW");
    options.type = "INVERTED"; /* there is such a type, but for scalars */
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_UNSUPPORTED, "vector|INVERTED|does not go with FLOAT_VECTOR");
    options.type = "HNSW", options.metric = VECDB_METRIC_JACCARD;
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_UNSUPPORTED, "JACCARD|FLOAT_VECTOR");
    options.metric = VECDB_METRIC_L2, options.params = "M=1";
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_INVALID, "HNSW|M|1|2");
    options.params = "MM=16";
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_INVALID, "MM");
    options.params = "{\"M\": \"many\"}";
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_INVALID, "M");
    options.params = NULL, options.type = "BIN_FLAT";
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_UNSUPPORTED, "vector|BIN_FLAT|FLOAT_VECTOR");
    options.type = "FLAT", options.metric = VECDB_METRIC_COSINE;
    assert_done(vecdb_index_create(rows, &options));
    assert_refused(vecdb_index_create(rows, &options), VECDB_ERR_EXISTS, "vector|index already");
    assert_refused(insert_with(nothing, zeros, API_DIM), VECDB_ERR_INVALID, "vector|row 0|zero vector|COSINE");
    assert_done(vecdb_index_drop(rows, "vector"));
    assert_refused(vecdb_index_drop(rows, "vector"), VECDB_ERR_NO_SUCH, "vector");
}

static void test_handles(void **state)
{
    vecdb_error error = VECDB_ERROR_INIT;
    vecdb_collection *second;
    vecdb_db *closed = NULL;
    int code;
    pid_t child;

    assert_refused(vecdb_close(&db), VECDB_ERR_BUSY, "collections|open");
    assert_done(vecdb_db_error(db, &error));
    assert_int_equal(error.status, VECDB_ERR_BUSY);
    assert_non_null(strstr(error.message, "collections"));
    assert_done(vecdb_collection_open(db, "rows", &second));
    assert_refused(vecdb_count(second, "nonsense ==", NULL, &(uint64_t){0}), VECDB_ERR_FILTER, "column");
    assert_done(vecdb_collection_error(second, &error));
    assert_int_equal(error.status, VECDB_ERR_FILTER);
    assert_done(vecdb_collection_error(rows, &error)); /* each handle has its own */
    assert_int_not_equal(error.status, VECDB_ERR_FILTER);
    assert_done(vecdb_collection_close(&second));
    assert_done(vecdb_collection_close(&second)); /* twice does no harm */
    assert_done(vecdb_close(&closed));
    assert_refused(vecdb_count(NULL, NULL, NULL, &(uint64_t){0}), VECDB_ERR_MISUSE, "NULL");
    vecdb_result_free(NULL);
    vecdb_cursor_close(NULL);
    vecdb_filter_free(NULL);
    vecdb_free(NULL);
    child = fork();
    if (child == 0) { /* a fork may not use the database, but may let it go */
        uint64_t count;
        int wrong = vecdb_count(rows, NULL, NULL, &count) != VECDB_ERR_MISUSE;
        wrong += strstr(vecdb_last_error(), "fork") == NULL;
        wrong += vecdb_close(&db) != VECDB_OK || db != NULL;
        _exit(wrong);
    }
    assert_int_equal(waitpid(child, &code, 0), child);
    assert_int_equal(code, 0);
}

static void test_opening(void **state)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_db *other;

    assert_refused(vecdb_open("", NULL, &other), VECDB_ERR_INVALID, "empty");
    assert_refused(vecdb_open(NULL, NULL, NULL), VECDB_ERR_INVALID, "out is NULL");
    options.flags = 1024;
    assert_refused(vecdb_open(NULL, &options, &other), VECDB_ERR_UNSUPPORTED, "0x400");
    options.flags = VECDB_OPEN_READ_ONLY;
    assert_refused(vecdb_open(NULL, &options, &other), VECDB_ERR_INVALID, "memory|read-only");
    assert_refused(vecdb_open("/proc/vecdb", NULL, &other), vecdb_open("/proc/vecdb", NULL, &other), "vecdb");
    assert_refused(vecdb_open("/dev/null", NULL, &other), vecdb_open("/dev/null", NULL, &other), "null");
    assert_string_equal(vecdb_status_name(12345), "unknown status");
    assert_string_equal(vecdb_status_name(VECDB_ERR_DIM), "VECDB_ERR_DIM");
    assert_true(vecdb_has_feature("index.HNSW"));
    assert_false(vecdb_has_feature("index.nonsense"));
    assert_false(vecdb_has_feature(NULL));
    assert_int_equal(vecdb_version_number(), VECDB_VERSION_NUMBER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_vectors, open_rows, close_rows),
        cmocka_unit_test_setup_teardown(test_values, open_rows, close_rows),
        cmocka_unit_test_setup_teardown(test_batches, open_rows, close_rows),
        cmocka_unit_test_setup_teardown(test_structs_of_a_later_version, open_rows, close_rows),
        cmocka_unit_test_setup_teardown(test_searches, open_rows, close_rows),
        cmocka_unit_test_setup_teardown(test_schemas, open_rows, close_rows),
        cmocka_unit_test_setup_teardown(test_indexes, open_rows, close_rows),
        cmocka_unit_test_setup_teardown(test_handles, open_rows, close_rows),
        cmocka_unit_test_setup_teardown(test_opening, open_rows, close_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
