/* Scalar indexes of collections, through the public interface: a filter finds the same rows with and without them, whatever
 * becomes of the rows and the files; what is wrong with a request is said; columns' statistics. */
#include "base/rng.h"
#include "support/api.h"
#include "support/unit.h"
#include "vecdb.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char root[64];
static unsigned next_dir;

static int make_root(void **state)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof root, "%s/vecdb-scalar-XXXXXX", base && strlen(base) < 40 ? base : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[100];

    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command);
}

static vecdb_db *open_db(const char *path)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_db *db;

    options.durability = VECDB_DURABILITY_NONE;
    assert_done(vecdb_open(path, &options, &db));
    return db;
}

static const char *fresh_path(char path[100])
{
    snprintf(path, 100, "%s/db%u", root, next_dir++);
    return path;
}

/* Every kind on the fields that it goes with, for the collection of support/api.h. */
static const struct {
    const char *field, *type, *name, *params;
} wanted[] = {
    {"b", "AUTOINDEX", NULL, NULL},
    {"i8", "bitmap", NULL, NULL},
    {"i16", NULL, NULL, "bitmapCardinalityLimit=1000"},
    {"i32", "STL_SORT", NULL, NULL},
    {"f", "INVERTED", NULL, NULL},
    {"d", NULL, NULL, NULL},
    {"text", "TRIE", "by text", NULL},
    {"list", "INVERTED", NULL, NULL},
    {"json", "INVERTED", "by n", "json_path=json[\"n\"], json_cast_type = double"},
    {"json", "INVERTED", "by odd", "{\"json_path\": \"json['odd']\"}"},
};
enum { WANTED = sizeof wanted / sizeof *wanted };

static vecdb_status create_index(vecdb_collection *collection, const char *field, const char *type, const char *name,
                                 const char *params)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = field;
    options.type = type;
    options.name = name;
    options.params = params;
    return vecdb_index_create(collection, &options);
}

static void create_all(vecdb_collection *collection)
{
    for (size_t i = 0; i < WANTED; i++)
        assert_done(create_index(collection, wanted[i].field, wanted[i].type, wanted[i].name, wanted[i].params));
}

static const char *const filters[] = {
    "b == true",
    "not b",
    "i8 == 3",
    "i8 in [1, 5, 7]",
    "i8 is null",
    "i16 == 17",
    "i32 >= 100 and i32 < 300",
    "i32 == 17 or i8 == 5",
    "f > 10.5",
    "d <= 3",
    "d is not null",
    "text == 'text 17 \xC3\xA9'",
    "text like 'text 1%'",
    "text like '%7 \xC3\xA9'",
    "text =~ '^text [12]+ '",
    "text not in ['text 4 \xC3\xA9', 'text 5 \xC3\xA9']",
    "array_contains(list, 5)",
    "array_contains_any(list, [1, 2, 700])",
    "array_contains_all(list, [7, 8])",
    "not array_contains(list, 5)",
    "json['n'] == 5",
    "json['n'] > 400 and json['odd'] == true",
    "not (json['n'] == 5)",
    "json['n'] is null",
    "json['odd'] != true",
    "id % 7 == 3 and i8 != 2",
};
enum { FILTERS = sizeof filters / sizeof *filters };

/* Number and a sum over the keys of what a filter finds. */
static void find(vecdb_collection *collection, const char *filter, uint64_t *count, uint64_t *sum)
{
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    vecdb_result *result;
    vecdb_column column;
    uint64_t counted;

    request.filter = filter;
    assert_done(vecdb_query(collection, &request, &result));
    *count = vecdb_result_rows(result, 0, NULL);
    *sum = 0;
    assert_done(vecdb_result_column(result, "id", &column));
    for (uint64_t i = 0; i < *count; i++)
        *sum += (uint64_t)((const int64_t *)column.data)[i] * 2654435761u + i;
    vecdb_result_free(&result);
    assert_done(vecdb_count(collection, filter, NULL, &counted));
    assert_int_equal(counted, *count);
}

struct found {
    uint64_t count, sum;
};

static void find_all(vecdb_collection *collection, struct found *found)
{
    for (size_t i = 0; i < FILTERS; i++)
        find(collection, filters[i], &found[i].count, &found[i].sum);
}

static void assert_same(vecdb_collection *collection, const struct found *expected, const char *when)
{
    struct found found[FILTERS];

    find_all(collection, found);
    for (size_t i = 0; i < FILTERS; i++)
        if (found[i].count != expected[i].count || found[i].sum != expected[i].sum)
            fail_msg("%s: %s finds %llu rows, expected %llu", when, filters[i], (unsigned long long)found[i].count,
                     (unsigned long long)expected[i].count);
}

static void step_delete(vecdb_collection *collection)
{
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    uint64_t before;

    assert_done(vecdb_count(collection, "i8 in [4, 5, 8] or text like 'text 10%'", NULL, &before));
    assert_true(before > 10);
    assert_done(vecdb_delete_where(collection, "i8 in [4, 5, 8] or text like 'text 10%'", NULL, &options));
    assert_int_equal(options.affected, before);
}

/* Sealed, indexed, partly deleted and growing rows; reopened, merged, dropped: always what a scan finds. */
static void test_same_rows(void **state)
{
    struct found expected[FILTERS];
    vecdb_collection *collection, *plain;
    char path[100], *report;
    vecdb_db *db = open_db(fresh_path(path));

    collection = api_create(db, "indexed", false);
    plain = api_create(db, "plain", false);
    create_all(collection); /* before there are rows */
    for (int part = 0; part < 3; part++) {
        assert_done(api_insert(collection, part * 700, 700));
        assert_done(api_insert(plain, part * 700, 700));
        find_all(plain, expected);
        assert_same(collection, expected, "growing rows");
        if (part < 2)
            assert_done(vecdb_flush(collection));
        assert_same(collection, expected, "sealed rows");
    }
    step_delete(collection);
    step_delete(plain);
    find_all(plain, expected);
    assert_same(collection, expected, "after deletions");
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_collection_close(&plain));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_verify(path, NULL, NULL, &report));
    vecdb_free(report);

    db = open_db(path);
    assert_done(vecdb_collection_open(db, "indexed", &collection));
    assert_same(collection, expected, "reopened");
    assert_done(vecdb_load(collection, NULL, NULL));
    assert_same(collection, expected, "loaded");
    assert_done(vecdb_release(collection));
    assert_done(vecdb_optimize(collection, NULL, NULL));
    assert_same(collection, expected, "optimized");
    for (size_t i = 0; i < WANTED; i++) {
        assert_done(vecdb_index_drop(collection, wanted[i].name ? wanted[i].name : wanted[i].field));
        assert_same(collection, expected, "dropped");
    }
    create_all(collection); /* after there are rows */
    assert_same(collection, expected, "indexed anew");
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_verify(path, NULL, NULL, &report));
    vecdb_free(report);
}

static bool explains(vecdb_collection *collection, const char *filter, const char *what)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    char *text;
    bool found;

    request.filter = filter;
    assert_done(vecdb_explain(collection, &request, &text));
    found = strstr(text, what) != NULL;
    if (!found)
        print_error("%s: %s lacks %s\n", filter, text, what);
    vecdb_free(text);
    return found;
}

/* The index answers where it is the cheapest way, block statistics or a scan where they are. */
static void test_explained(void **state)
{
    char path[100];
    vecdb_db *db = open_db(fresh_path(path));
    vecdb_collection *collection = api_create(db, "c", false);

    assert_done(api_insert(collection, 0, 5000));
    assert_done(vecdb_flush(collection));
    create_all(collection);
    assert_true(explains(collection, "text == 'text 17 \xC3\xA9'", "\"access\": \"index TRIE\""));
    assert_true(explains(collection, "text == 'text 17 \xC3\xA9'", "\"estimated_rows\": 1, \"rows_in\": 5000, \"rows_out\": 1"));
    assert_true(explains(collection, "i32 == 17", "\"access\": \"index STL_SORT\""));
    assert_true(explains(collection, "json['n'] == 17", "\"access\": \"index INVERTED\""));
    assert_true(explains(collection, "array_contains(list, 17)", "\"access\": \"index INVERTED\""));
    assert_true(explains(collection, "i16 == 5", "\"access\": \"index BITMAP\""));
    assert_true(explains(collection, "id == 17", "\"access\": \"scan\""));
    assert_true(explains(collection, "id < 0", "\"blocks_skipped\": 5")); /* by statistics */
    assert_true(explains(collection, "i32 >= 0", "\"access\": \"scan\"")); /* all rows: reading is cheaper */
    assert_true(explains(collection, "i8 == 3 and id > 10", "\"node\": \"and\""));
    assert_done(vecdb_delete_where(collection, "i32 == 17", NULL, NULL));
    assert_true(explains(collection, "i32 == 17", "\"rows_in\": 4999, \"rows_out\": 0"));
    assert_done(vecdb_index_drop(collection, "i32"));
    assert_true(explains(collection, "i32 == 17", "\"access\": \"scan\""));
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
}

static void assert_described(vecdb_collection *collection, const char *name, const char *what)
{
    char *text;

    assert_done(vecdb_index_describe(collection, name, &text));
    if (!strstr(text, what))
        fail_msg("%s lacks %s", text, what);
    vecdb_free(text);
}

static void test_described(void **state)
{
    char path[100], **names;
    size_t count;
    vecdb_db *db = open_db(fresh_path(path));
    vecdb_collection *collection = api_create(db, "c", true);

    create_all(collection);
    assert_done(api_insert(collection, 0, 1000));
    assert_described(collection, "i8", "\"total_rows\":1000,\"indexed_rows\":0,\"pending_rows\":0,\"bytes\":0,\"state\":\"finished\"");
    assert_done(vecdb_flush(collection));
    assert_described(collection, "i8", "\"type\":\"BITMAP\",\"kind\":\"BITMAP\",\"metric\":\"\",\"params\":{}");
    assert_described(collection, "i8", "\"indexed_rows\":1000");
    assert_described(collection, "i8", "\"state\":\"finished\"");
    assert_described(collection, "b", "\"type\":\"AUTOINDEX\",\"kind\":\"BITMAP\"");
    assert_described(collection, "d", "\"type\":\"AUTOINDEX\",\"kind\":\"STL_SORT\"");
    assert_described(collection, "by text", "\"field\":\"text\",\"type\":\"TRIE\"");
    assert_described(collection, "text", "\"name\":\"by text\"");
    assert_described(collection, "by n", "\"params\":{\"json_path\": \"json[\\\"n\\\"]\", \"json_cast_type\": \"double\"}");
    assert_refused(create_index(collection, "i8", "INVERTED", NULL, NULL), VECDB_ERR_EXISTS, "field i8 has an index already: i8");
    assert_refused(create_index(collection, "json", "INVERTED", "again", "json_path=json['odd']"), VECDB_ERR_EXISTS,
                   "field json has an index already: by odd");
    assert_refused(create_index(collection, "json", "INVERTED", "by n", "json_path=json['x']"), VECDB_ERR_EXISTS,
                   "index by n exists");
    assert_refused(vecdb_index_drop(collection, "json"), VECDB_ERR_NO_SUCH, "field json has 2 indexes");
    assert_refused(vecdb_index_drop(collection, "nothing"), VECDB_ERR_NO_SUCH, "no index nothing");
    assert_done(vecdb_index_drop(collection, "text")); /* by its field */
    assert_refused(create_index(collection, "text", "HNSW", NULL, NULL), VECDB_ERR_UNSUPPORTED, "text|HNSW|VARCHAR|STL_SORT");
    assert_refused(create_index(collection, "vector", "INVERTED", NULL, NULL), VECDB_ERR_UNSUPPORTED,
                   "vector|INVERTED|FLOAT_VECTOR");
    assert_refused(create_index(collection, "text", "NGRAM", NULL, "min_gram=3"), VECDB_ERR_INVALID, "text|min_gram and max_gram");
    assert_refused(create_index(collection, "text", "NGRAM", NULL, "min_gram=3, max_gram=99"), VECDB_ERR_INVALID,
                   "max_gram is 99, expected 1 to 16");
    assert_refused(create_index(collection, "text", "INVERTED", NULL, "M=16"), VECDB_ERR_INVALID, "no parameter \"M\"");
    assert_refused(create_index(collection, "text", "INVERTED", NULL, "json_path"), VECDB_ERR_INVALID, "expected name=value");
    assert_refused(create_index(collection, "json", "INVERTED", "j", NULL), VECDB_ERR_INVALID, "needs json_path");
    assert_refused(create_index(collection, "f", "TRIE", NULL, NULL), VECDB_ERR_UNSUPPORTED, "TRIE index does not go with FLOAT");
    assert_refused(create_index(collection, "txt", NULL, NULL, NULL), VECDB_ERR_NO_SUCH, "did you mean text");
    assert_done(create_index(collection, "text", "NGRAM", NULL, "min_gram=2, max_gram=3"));
    assert_true(explains(collection, "text like '%t 17%'", "index NGRAM, then scan"));
    assert_done(vecdb_index_list(collection, &names, &count));
    assert_int_equal(count, WANTED);
    vecdb_free(names);
    assert_true(vecdb_has_feature("index.INVERTED"));
    assert_true(vecdb_has_feature("index.trie"));
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
}

/* A key that is no field, of rows that come with one. */
static void test_dynamic(void **state)
{
    static const char *const colors[] = {"red", "green", "blue"};
    char path[100], *text;
    vecdb_db *db = open_db(fresh_path(path));
    vecdb_collection *collection = api_create(db, "c", true);
    vecdb_string metas[300];
    char bytes[300][64];
    int64_t ids[300];
    float vectors[300][API_DIM];
    const vecdb_column columns[] = {
        {.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = API_DIM, .data = vectors},
        {.field = "$meta", .type = VECDB_TYPE_JSON, .data = metas},
    };
    vecdb_batch batch = VECDB_BATCH_INIT;
    uint64_t count;

    for (int i = 0; i < 300; i++) {
        ids[i] = i;
        api_vector(i, vectors[i]);
        metas[i].data = bytes[i];
        metas[i].length = (size_t)snprintf(bytes[i], sizeof bytes[i], "{\"color\": \"%s\", \"size\": %d}", colors[i % 3], i % 10);
    }
    batch.columns = columns;
    batch.column_count = 3;
    batch.row_count = 300;
    assert_done(vecdb_insert(collection, &batch, NULL));
    assert_done(vecdb_flush(collection));
    assert_done(create_index(collection, "color", "INVERTED", NULL, NULL));
    assert_done(create_index(collection, "size", "AUTOINDEX", NULL, "json_path=$meta[\"size\"], json_cast_type=double"));
    assert_refused(create_index(collection, "vectr", NULL, NULL, NULL), VECDB_ERR_NO_SUCH, "did you mean vector");
    assert_true(explains(collection, "color == 'red'", "\"estimated_rows\": 100, \"rows_in\": 300, \"rows_out\": 100"));
    assert_true(explains(collection, "color == 'purple'", "index INVERTED"));
    assert_true(explains(collection, "$meta['size'] == 3", "index INVERTED"));
    assert_described(collection, "color", "\"field\":\"$meta\"");
    assert_done(vecdb_count(collection, "color == 'red' and size == 3", NULL, &count));
    assert_int_equal(count, 10);
    assert_done(vecdb_field_stats(collection, "color", NULL, 10, &text));
    assert_string_equal(text, "{\"rows\": 300, \"null_count\": 0, \"distinct_count\": 3, \"min\": \"blue\", \"max\": \"red\", "
                              "\"unique_values\": [\"blue\", \"green\", \"red\"]}");
    vecdb_free(text);
    assert_done(vecdb_index_drop(collection, "color"));
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
    db = open_db(path);
    assert_done(vecdb_collection_open(db, "c", &collection));
    assert_true(explains(collection, "size == 3", "index INVERTED"));
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
}

static void test_in_memory(void **state)
{
    struct found expected[FILTERS];
    vecdb_db *db = open_db(NULL);
    vecdb_collection *collection = api_create(db, "c", false), *plain = api_create(db, "plain", false);

    assert_done(api_insert(collection, 0, 2000));
    assert_done(api_insert(plain, 0, 2000));
    create_all(collection);
    find_all(plain, expected);
    assert_same(collection, expected, "in memory");
    assert_true(explains(collection, "i32 == 16", "\"access\": \"index STL_SORT\""));
    assert_done(api_insert(collection, 2000, 100)); /* the index has the rows before */
    assert_done(api_insert(plain, 2000, 100));
    find_all(plain, expected);
    assert_same(collection, expected, "more in memory");
    assert_true(explains(collection, "text == 'text 2017 \xC3\xA9'", "\"access\": \"index TRIE, then scan\", \"estimated_rows\": 100"));
    assert_done(vecdb_optimize(collection, NULL, NULL));
    assert_true(explains(collection, "text == 'text 2017 \xC3\xA9'", "\"access\": \"index TRIE\", \"estimated_rows\": 1,"));
    assert_same(collection, expected, "optimized in memory");
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_collection_close(&plain));
    assert_done(vecdb_close(&db));
}

/* Flip a byte in the middle of every index file. */
static size_t damage_indexes(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    size_t count = 0;

    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        char name[400];
        uint8_t byte;
        int file;

        if (strncmp(entry->d_name, "idx-", 4) != 0)
            continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        file = open(name, O_RDWR);
        assert_true(file >= 0);
        assert_int_equal(pread(file, &byte, 1, 4096 + 100), 1);
        byte ^= 0x10;
        assert_int_equal(pwrite(file, &byte, 1, 4096 + 100), 1);
        close(file);
        count++;
    }
    closedir(dir);
    return count;
}

static void test_damaged(void **state)
{
    struct found expected[FILTERS];
    char path[100], *report;
    vecdb_db *db = open_db(fresh_path(path));
    vecdb_collection *collection = api_create(db, "c", false);

    assert_done(api_insert(collection, 0, 2000));
    assert_done(vecdb_flush(collection));
    find_all(collection, expected);
    create_all(collection);
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
    assert_int_equal(damage_indexes(path), WANTED);
    assert_refused(vecdb_verify(path, NULL, NULL, &report), VECDB_ERR_CORRUPT, "10 problems");
    assert_non_null(strstr(report, "idx-"));
    vecdb_free(report);
    db = open_db(path);
    assert_done(vecdb_collection_open(db, "c", &collection));
    assert_same(collection, expected, "without indexes");
    assert_true(explains(collection, "i32 == 16", "\"access\": \"scan\""));
    assert_described(collection, "i32", "\"indexed_rows\":0");
    assert_done(vecdb_optimize(collection, NULL, NULL)); /* they are made anew */
    assert_same(collection, expected, "with new indexes");
    assert_true(explains(collection, "i32 == 16", "\"access\": \"index STL_SORT\""));
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_verify(path, NULL, NULL, &report));
    vecdb_free(report);
}

static bool stop_at_once(void *context, const char *stage, uint64_t done, uint64_t total) { return false; }

static void test_cancelled(void **state)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    char path[100];
    vecdb_db *db = open_db(fresh_path(path));
    vecdb_collection *collection = api_create(db, "c", false);
    char **names;
    size_t count;

    assert_done(api_insert(collection, 0, 100));
    assert_done(vecdb_flush(collection));
    options.field = "text";
    options.progress = stop_at_once;
    assert_refused(vecdb_index_create(collection, &options), VECDB_ERR_CANCELLED, "stopped");
    assert_done(vecdb_index_list(collection, &names, &count));
    assert_int_equal(count, 0);
    vecdb_free(names);
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
}

static void assert_stats(vecdb_collection *collection, const char *field, const char *params, const char *expected)
{
    char *text;

    assert_done(vecdb_field_stats(collection, field, params, 4, &text));
    assert_string_equal(text, expected);
    vecdb_free(text);
}

static void test_statistics(void **state)
{
    char path[100], *text;
    vecdb_db *db = open_db(fresh_path(path));
    vecdb_collection *collection = api_create(db, "c", false);

    assert_stats(collection, "i32", NULL, "{\"rows\": 0, \"null_count\": 0, \"distinct_count\": 0, \"unique_values\": []}");
    assert_done(api_insert(collection, 0, 300));
    assert_done(vecdb_flush(collection));
    assert_done(api_insert(collection, 300, 300));
    assert_done(vecdb_delete_where(collection, "id >= 590 or id < 2", NULL, NULL));
    assert_stats(collection, "id", NULL, "{\"rows\": 588, \"null_count\": 0, \"distinct_count\": 588, \"min\": 2, \"max\": 589}");
    assert_stats(collection, "b", NULL,
                 "{\"rows\": 588, \"null_count\": 196, \"distinct_count\": 2, \"min\": false, \"max\": true, "
                 "\"unique_values\": [false, true]}");
    assert_stats(collection, "d", NULL,
                 "{\"rows\": 588, \"null_count\": 196, \"distinct_count\": 392, \"min\": 0.25, \"max\": 73.625}");
    assert_stats(collection, "text", NULL,
                 "{\"rows\": 588, \"null_count\": 196, \"distinct_count\": 392, \"min\": \"text 10 \xC3\xA9\", "
                 "\"max\": \"text 98 \xC3\xA9\"}");
    assert_stats(collection, "json", NULL, "{\"rows\": 588, \"null_count\": 196}");
    assert_stats(collection, "json", "json_path=json['n']",
                 "{\"rows\": 588, \"null_count\": 196, \"distinct_count\": 392, \"min\": 2, \"max\": 589}");
    assert_stats(collection, "json", "{\"json_path\": \"json['odd']\"}",
                 "{\"rows\": 588, \"null_count\": 196, \"distinct_count\": 2, \"min\": false, \"max\": true, "
                 "\"unique_values\": [false, true]}");
    assert_stats(collection, "vector", NULL, "{\"rows\": 588, \"null_count\": 0}");
    assert_refused(vecdb_field_stats(collection, "txt", NULL, 4, &text), VECDB_ERR_NO_SUCH, "field txt|did you mean text");
    assert_refused(vecdb_field_stats(collection, "text", "json_path=text['a']", 4, &text), VECDB_ERR_INVALID,
                   "json_path is for JSON");
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_rows), cmocka_unit_test(test_explained), cmocka_unit_test(test_described),
        cmocka_unit_test(test_dynamic),   cmocka_unit_test(test_in_memory), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_cancelled), cmocka_unit_test(test_statistics),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
