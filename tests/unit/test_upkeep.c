/* Sealing, merging, optimizing, indexes in files, load, verify, backup, repair: through the public interface, against a plain
 * model of what must be there. */
#include "base/mem.h"
#include "base/rng.h"
#include "support/sample.h"
#include "vecdb.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { DIM = 8, KEYS = 3000 };

struct model {
    bool present[KEYS];
    int32_t version[KEYS];
};

static char root[64];
static unsigned next_dir;

static int make_root(void **state)
{
    const char *base = getenv("TMPDIR");

    snprintf(root, sizeof root, "%s/vecdb-upkeep-XXXXXX", base && strlen(base) < 40 ? base : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    char command[100];

    snprintf(command, sizeof command, "rm -r '%s'", root);
    return system(command);
}

#define ok(call)                                                                                                       \
    do {                                                                                                               \
        vecdb_status status_ = (call);                                                                                 \
        if (status_ < 0)                                                                                               \
            fail_msg("%s: %d %s", #call, (int)status_, vecdb_last_error());                                            \
    } while (0)

static const char *fresh_path(char *path)
{
    snprintf(path, 100, "%s/db%u", root, next_dir++);
    return path;
}

static vecdb_db *open_db(const char *path, uint32_t flags)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_db *db;

    options.durability = VECDB_DURABILITY_NONE;
    options.threads = 2;
    options.flags = flags;
    ok(vecdb_open(path, &options, &db));
    return db;
}

static vecdb_collection *create(vecdb_db *db)
{
    vecdb_field fields[] = {
        {.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "version", .type = VECDB_TYPE_INT32},
        {.name = "note", .type = VECDB_TYPE_VARCHAR, .flags = VECDB_NULLABLE, .max_length = 100},
        {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM},
    };
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *collection;

    schema.name = "things";
    schema.fields = fields;
    schema.field_count = 4;
    ok(vecdb_collection_create(db, &schema, &collection));
    return collection;
}

static void vector_of(int64_t key, int32_t version, float *out)
{
    struct rng rng = rng_seeded((uint64_t)key * 7919 + (uint64_t)version);

    for (int i = 0; i < DIM; i++)
        out[i] = (float)rng_normal(&rng);
}

static void put(vecdb_collection *collection, struct model *model, const int64_t *keys, size_t count, const char *partition)
{
    vecdb_column columns[4] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                               {.field = "version", .type = VECDB_TYPE_INT32},
                               {.field = "note", .type = VECDB_TYPE_VARCHAR},
                               {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    vecdb_batch batch = VECDB_BATCH_INIT;
    int32_t *versions = mem_array_alloc(count + 1, sizeof *versions);
    float *vectors = mem_array_alloc(count * DIM + 1, sizeof *vectors);
    vecdb_string *notes = mem_array_zalloc(count + 1, sizeof *notes);
    uint8_t *valid = mem_zalloc(count + 1);
    char(*texts)[32] = mem_array_alloc(count + 1, sizeof *texts);

    for (size_t i = 0; i < count; i++) {
        model->present[keys[i]] = true;
        versions[i] = ++model->version[keys[i]];
        vector_of(keys[i], versions[i], vectors + i * DIM);
        valid[i] = keys[i] % 3 != 0;
        notes[i].length = (size_t)snprintf(texts[i], sizeof *texts, "note %d of %lld", versions[i], (long long)keys[i]);
        notes[i].data = texts[i];
    }
    columns[1].data = versions;
    columns[2].data = notes;
    columns[2].valid = valid;
    columns[3].data = vectors;
    batch.columns = columns;
    batch.column_count = 4;
    batch.row_count = count;
    batch.partition = partition;
    ok(vecdb_upsert(collection, &batch, NULL));
    mem_free(versions);
    mem_free(vectors);
    mem_free(notes);
    mem_free(valid);
    mem_free(texts);
}

static void put_random(vecdb_collection *collection, struct model *model, struct rng *rng, size_t count)
{
    int64_t keys[300];

    for (size_t done = 0, n; done < count; done += n) {
        n = count - done < 300 ? count - done : 300;
        for (size_t i = 0; i < n; i++)
            keys[i] = (int64_t)rng_below(rng, KEYS);
        /* a key twice in a batch: the last wins; the model counts versions, so leave repeats out */
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++)
                if (keys[j] == keys[i])
                    keys[i--] = keys[--n], j = i;
        put(collection, model, keys, n, NULL);
        if (n == 0)
            break;
    }
}

static void erase(vecdb_collection *collection, struct model *model, struct rng *rng, size_t count)
{
    int64_t keys[500];
    vecdb_column column = {.field = "id", .type = VECDB_TYPE_INT64, .data = keys};

    for (size_t i = 0; i < count; i++) {
        keys[i] = (int64_t)rng_below(rng, KEYS);
        model->present[keys[i]] = false;
    }
    ok(vecdb_delete(collection, &column, count, NULL));
}

static long long number_in(const char *json, const char *name)
{
    char pattern[64];
    const char *at;

    snprintf(pattern, sizeof pattern, "\"%s\":", name);
    at = strstr(json, pattern);
    if (!at)
        fail_msg("no %s in %s", name, json);
    return strtoll(at + strlen(pattern), NULL, 10);
}

static long long stat_of(vecdb_collection *collection, const char *name)
{
    char *json;
    long long value;

    ok(vecdb_collection_stats(collection, &json));
    value = number_in(json, name);
    vecdb_free(json);
    return value;
}

/* Every key with its newest version, note and vector, and no other; nearest neighbours of some vectors are themselves. */
static void check(vecdb_collection *collection, const struct model *model)
{
    static int64_t keys[KEYS];
    static const char *const fields[] = {"version", "note", "v"};
    vecdb_column ask = {.field = "id", .type = VECDB_TYPE_INT64, .data = keys}, found, versions, notes, vectors;
    vecdb_result *result;
    size_t present = 0, rows;
    uint64_t count;

    for (int64_t key = 0; key < KEYS; key++) {
        keys[key] = key;
        present += model->present[key];
    }
    ok(vecdb_count(collection, NULL, NULL, &count));
    assert_int_equal(count, present);
    ok(vecdb_get(collection, &ask, KEYS, fields, 3, &result));
    rows = vecdb_result_rows(result, 0, NULL);
    assert_int_equal(rows, present);
    if (rows) {
        ok(vecdb_result_column(result, "id", &found));
        ok(vecdb_result_column(result, "version", &versions));
        ok(vecdb_result_column(result, "note", &notes));
        ok(vecdb_result_column(result, "v", &vectors));
    }
    for (size_t i = 0; i < rows; i++) {
        int64_t key = ((const int64_t *)found.data)[i];
        int32_t version = ((const int32_t *)versions.data)[i];
        float expected[DIM];
        char note[32];
        assert_true(model->present[key]);
        assert_int_equal(version, model->version[key]);
        vector_of(key, version, expected);
        assert_memory_equal((const float *)vectors.data + i * DIM, expected, sizeof expected);
        snprintf(note, sizeof note, "note %d of %lld", version, (long long)key);
        if (key % 3) {
            assert_int_equal(notes.offsets[i + 1] - notes.offsets[i], strlen(note));
            assert_memory_equal((const char *)notes.data + notes.offsets[i], note, strlen(note));
        } else {
            assert_int_equal(notes.valid[i], 0);
        }
    }
    for (size_t i = 0; i < rows; i += rows / 20 + 1) {
        vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
        vecdb_result *hits;
        vecdb_column ids;
        request.queries = (const float *)vectors.data + i * DIM;
        request.dim = DIM;
        request.query_count = 1;
        request.limit = 3;
        request.metric = VECDB_METRIC_L2;
        ok(vecdb_search(collection, &request, &hits));
        assert_int_equal(vecdb_result_rows(hits, 0, NULL), rows < 3 ? rows : 3);
        ok(vecdb_result_column(hits, "id", &ids));
        assert_int_equal(((const int64_t *)ids.data)[0], ((const int64_t *)found.data)[i]);
        vecdb_result_free(&hits);
    }
    vecdb_result_free(&result);
}

static void verify_clean(const char *path)
{
    char *report = NULL;
    vecdb_status status = vecdb_verify(path, NULL, NULL, &report);

    if (status != VECDB_OK)
        fail_msg("verify: %d %s: %s", (int)status, vecdb_last_error(), report ? report : "");
    assert_true(number_in(report, "files") > 0);
    assert_non_null(strstr(report, "\"ok\":true"));
    vecdb_free(report);
}

static vecdb_collection *reopen(vecdb_db **db, vecdb_collection *collection, const char *path, uint32_t flags)
{
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(db));
    verify_clean(path);
    *db = open_db(path, flags);
    ok(vecdb_collection_open(*db, "things", &collection));
    return collection;
}

static void test_flush_and_reopen(void **state)
{
    struct rng rng = rng_seeded(sample_seed(1));
    struct model *model = mem_zalloc(sizeof *model);
    char path[100];
    vecdb_db *db = open_db(fresh_path(path), 0);
    vecdb_collection *collection = create(db);
    char *stats;

    ok(vecdb_flush(collection)); /* nothing there */
    for (int round = 0; round < 5; round++) {
        put_random(collection, model, &rng, 500);
        erase(collection, model, &rng, 100);
        ok(vecdb_flush(collection));
        assert_int_equal(stat_of(collection, "growing_rows"), 0);
        check(collection, model);
        put_random(collection, model, &rng, 100); /* partly in the log, partly in segments */
        erase(collection, model, &rng, 50);
        check(collection, model);
        collection = reopen(&db, collection, path, round % 2 ? VECDB_OPEN_IN_HEAP : 0);
        check(collection, model);
    }
    ok(vecdb_flush(collection));
    collection = reopen(&db, collection, path, 0);
    ok(vecdb_db_stats(db, &stats)); /* all is in segments: nothing is left to replay */
    assert_int_equal(number_in(stats, "frames"), 0);
    vecdb_free(stats);
    check(collection, model);
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(&db));
    mem_free(model);
}

static long long log_bytes(const char *path)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    struct stat about;
    char name[400];
    long long total = 0;

    assert_non_null(directory);
    while ((entry = readdir(directory)))
        if (strncmp(entry->d_name, "wal-", 4) == 0) {
            snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
            assert_int_equal(stat(name, &about), 0);
            total += about.st_size;
        }
    closedir(directory);
    return total;
}

/* What segments hold takes no space in the log any more; and an index over many growing rows comes with their sealing, so
 * that it is built once. */
static void test_flush_gives_log_space_back(void **state)
{
    static struct model model;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_collection *collection;
    struct rng rng = rng_seeded(11);
    vecdb_db *db;
    char path[100];

    memset(&model, 0, sizeof model);
    db = open_db(fresh_path(path), 0);
    collection = create(db);
    while (log_bytes(path) < 3 << 20)
        put_random(collection, &model, &rng, 3000);
    assert_true(stat_of(collection, "growing_rows") > 0);
    index.field = "v";
    index.type = "HNSW";
    index.metric = VECDB_METRIC_L2;
    ok(vecdb_index_create(collection, &index));
    assert_int_equal(stat_of(collection, "growing_rows"), 0);
    assert_true(log_bytes(path) < 1 << 20);
    check(collection, &model);
    vecdb_collection_close(&collection);
    ok(vecdb_close(&db));
    db = open_db(path, 0);
    ok(vecdb_collection_open(db, "things", &collection));
    check(collection, &model);
    vecdb_collection_close(&collection);
    ok(vecdb_close(&db));
}

static void test_optimize(void **state)
{
    struct rng rng = rng_seeded(sample_seed(2));
    struct model *model = mem_zalloc(sizeof *model);
    char path[100];
    vecdb_db *db = open_db(fresh_path(path), 0);
    vecdb_collection *collection = create(db);
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    char *text;

    for (int round = 0; round < 3; round++) { /* one more, and the background might merge them */
        put_random(collection, model, &rng, 400);
        ok(vecdb_flush(collection));
    }
    erase(collection, model, &rng, 300);
    assert_int_equal(stat_of(collection, "segments"), 3);
    index.field = "v";
    index.type = "HNSW";
    index.metric = VECDB_METRIC_L2;
    ok(vecdb_index_create(collection, &index));
    assert_int_equal(stat_of(collection, "segments"), 1); /* one graph is built, not three that are merged later */
    check(collection, model);
    put_random(collection, model, &rng, 100);
    ok(vecdb_optimize(collection, NULL, NULL));
    assert_int_equal(stat_of(collection, "segments"), 1);
    assert_int_equal(stat_of(collection, "deleted"), 0);
    assert_int_equal(stat_of(collection, "growing_segments"), 0);
    assert_int_equal(stat_of(collection, "indexed_rows"), stat_of(collection, "rows"));
    check(collection, model);
    ok(vecdb_optimize(collection, NULL, NULL)); /* again: nothing to do */
    collection = reopen(&db, collection, path, 0);
    assert_int_equal(stat_of(collection, "indexed_rows"), stat_of(collection, "rows")); /* from its file */
    check(collection, model);
    ok(vecdb_load(collection, NULL, NULL));
    check(collection, model);
    put_random(collection, model, &rng, 50);
    erase(collection, model, &rng, 50);
    check(collection, model);
    ok(vecdb_release(collection));
    check(collection, model);
    ok(vecdb_flush(collection));
    assert_int_equal(stat_of(collection, "indexed_rows"), stat_of(collection, "rows") + stat_of(collection, "deleted"));
    ok(vecdb_index_describe(collection, "v", &text));
    assert_non_null(strstr(text, "\"finished\""));
    vecdb_free(text);
    collection = reopen(&db, collection, path, 0);
    check(collection, model);
    ok(vecdb_index_drop(collection, "v"));
    collection = reopen(&db, collection, path, 0);
    assert_int_equal(stat_of(collection, "indexed_rows"), 0);
    check(collection, model);
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(&db));
    mem_free(model);
}

/* What happens between the lines: writes while a segment is being written, from its own progress callback. */
struct meddler {
    vecdb_collection *collection;
    struct model *model;
    struct rng *rng;
    int calls, truncate_at;
};

static bool meddle(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct meddler *meddler = context;

    if (meddler->calls++ == meddler->truncate_at) {
        ok(vecdb_collection_truncate(meddler->collection));
        memset(meddler->model->present, 0, sizeof meddler->model->present);
    }
    put_random(meddler->collection, meddler->model, meddler->rng, 20);
    erase(meddler->collection, meddler->model, meddler->rng, 20);
    return true;
}

static void test_writes_meanwhile(void **state)
{
    struct rng rng = rng_seeded(sample_seed(3));

    for (int round = 0; round < 6; round++) {
        struct model *model = mem_zalloc(sizeof *model);
        char path[100];
        vecdb_db *db = open_db(fresh_path(path), 0);
        vecdb_collection *collection = create(db);
        struct meddler meddler = {collection, model, &rng, 0, round % 3 == 2 ? round : -1};
        put_random(collection, model, &rng, 500);
        ok(vecdb_flush(collection));
        erase(collection, model, &rng, 100);
        put_random(collection, model, &rng, 300);
        ok(vecdb_optimize(collection, meddle, &meddler));
        assert_true(meddler.calls > 3);
        check(collection, model);
        collection = reopen(&db, collection, path, 0);
        check(collection, model);
        meddler = (struct meddler){collection, model, &rng, 0, -1};
        ok(vecdb_optimize(collection, meddle, &meddler));
        check(collection, model);
        ok(vecdb_optimize(collection, NULL, NULL));
        assert_int_equal(stat_of(collection, "segments"), 1);
        collection = reopen(&db, collection, path, 0);
        check(collection, model);
        ok(vecdb_collection_close(&collection));
        ok(vecdb_close(&db));
        mem_free(model);
    }
}

static bool stop(void *context, const char *stage, uint64_t done, uint64_t total) { return (*(int *)context)-- > 0; }

static size_t count_files(const char *path)
{
    struct dir dir;
    struct buf names = {0};
    size_t n = 0;

    ok(dir_open(&vfs_posix, path, false, &dir));
    ok(dir_list(&dir, &names));
    for (size_t at = 0; at < names.size; at += strlen((char *)names.data + at) + 1)
        n += strncmp((char *)names.data + at, "seg-", 4) == 0 || strncmp((char *)names.data + at, "idx-", 4) == 0 ||
             strncmp((char *)names.data + at, "del-", 4) == 0;
    buf_deinit(&names);
    dir_close(&dir);
    return n;
}

static void test_cancel(void **state)
{
    struct rng rng = rng_seeded(sample_seed(4));
    struct model *model = mem_zalloc(sizeof *model);
    char path[100];
    vecdb_db *db = open_db(fresh_path(path), 0);
    vecdb_collection *collection = create(db);
    size_t files;

    put_random(collection, model, &rng, 500);
    ok(vecdb_flush(collection));
    put_random(collection, model, &rng, 500);
    erase(collection, model, &rng, 200);
    files = count_files(path);
    for (int calls = 0;; calls++) {
        int left = calls;
        vecdb_status status = vecdb_optimize(collection, stop, &left);
        check(collection, model);
        if (status == VECDB_OK) {
            assert_true(calls > 3);
            break;
        }
        assert_int_equal(status, VECDB_ERR_CANCELLED);
        assert_int_equal(count_files(path), files); /* nothing left behind */
        put_random(collection, model, &rng, 30);
    }
    assert_int_equal(count_files(path), 1);
    collection = reopen(&db, collection, path, 0);
    check(collection, model);
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(&db));
    mem_free(model);
}

/* Two collections share the log: it is given up only as far as both have their rows in segments. */
static void test_two_collections(void **state)
{
    struct rng rng = rng_seeded(sample_seed(5));
    struct model *a_model = mem_zalloc(sizeof *a_model), *b_model = mem_zalloc(sizeof *b_model);
    char path[100];
    vecdb_db *db = open_db(fresh_path(path), 0);
    vecdb_collection *a = create(db), *b;

    ok(vecdb_collection_rename(db, "things", "other"));
    b = create(db);
    for (int round = 0; round < 6; round++) {
        put_random(a, a_model, &rng, 100);
        put_random(b, b_model, &rng, 100);
        if (round % 2)
            erase(a, a_model, &rng, 50);
        ok(vecdb_flush(round % 3 == 1 ? a : b));
        if (round == 4)
            ok(vecdb_flush(a));
        ok(vecdb_collection_close(&a));
        b = reopen(&db, b, path, 0);
        ok(vecdb_collection_open(db, "other", &a));
        check(a, a_model);
        check(b, b_model);
    }
    ok(vecdb_collection_close(&a));
    ok(vecdb_collection_close(&b));
    ok(vecdb_close(&db));
    mem_free(a_model);
    mem_free(b_model);
}

static void test_partitions(void **state)
{
    struct rng rng = rng_seeded(sample_seed(6));
    struct model *model = mem_zalloc(sizeof *model);
    char path[100];
    vecdb_db *db = open_db(fresh_path(path), 0);
    vecdb_collection *collection = create(db);
    int64_t keys[100];

    ok(vecdb_partition_create(collection, "left"));
    ok(vecdb_partition_create(collection, "right"));
    for (int part = 0; part < 3; part++) {
        for (int i = 0; i < 100; i++)
            keys[i] = part * 100 + i;
        put(collection, model, keys, 100, part == 0 ? NULL : part == 1 ? "left" : "right");
    }
    ok(vecdb_flush(collection));
    assert_int_equal(stat_of(collection, "segments"), 3);
    erase(collection, model, &rng, 300);
    ok(vecdb_optimize(collection, NULL, NULL));
    assert_int_equal(stat_of(collection, "segments"), 3);
    collection = reopen(&db, collection, path, 0);
    check(collection, model);
    ok(vecdb_partition_drop(collection, "left"));
    for (int i = 100; i < 200; i++)
        model->present[i] = false;
    check(collection, model);
    collection = reopen(&db, collection, path, 0);
    check(collection, model);
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(&db));
    mem_free(model);
}

static void test_backup(void **state)
{
    struct rng rng = rng_seeded(sample_seed(7));
    struct model *model = mem_zalloc(sizeof *model), *then = mem_alloc(sizeof *then);
    char path[100], copy[100];
    vecdb_db *db = open_db(fresh_path(path), 0), *copied;
    vecdb_collection *collection = create(db), *other;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    int left = 0;

    put_random(collection, model, &rng, 800);
    index.field = "v";
    index.type = "HNSW";
    index.metric = VECDB_METRIC_L2;
    ok(vecdb_index_create(collection, &index));
    ok(vecdb_flush(collection));
    erase(collection, model, &rng, 100);
    put_random(collection, model, &rng, 100);
    *then = *model;
    assert_int_equal(vecdb_backup(db, fresh_path(copy), stop, &left), VECDB_ERR_CANCELLED);
    assert_int_equal(count_files(copy), 0);
    ok(vecdb_backup(db, copy, NULL, NULL));
    assert_int_equal(vecdb_backup(db, copy, NULL, NULL), VECDB_ERR_EXISTS);
    put_random(collection, model, &rng, 300);
    ok(vecdb_optimize(collection, NULL, NULL));
    verify_clean(copy);
    copied = open_db(copy, 0);
    ok(vecdb_collection_open(copied, "things", &other));
    check(other, then);
    check(collection, model);
    ok(vecdb_collection_close(&other));
    ok(vecdb_close(&copied));
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(&db));
    mem_free(model);
    mem_free(then);
}

/* A database in memory becomes one on disk: rows, deletions, partitions, indexes, aliases. */
static void test_backup_memory(void **state)
{
    struct rng rng = rng_seeded(sample_seed(8));
    struct model *model = mem_zalloc(sizeof *model);
    char copy[100], **names;
    vecdb_db *db = open_db(NULL, 0), *copied;
    vecdb_collection *collection = create(db), *other;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    size_t count;
    int left = 0;

    put_random(collection, model, &rng, 500);
    erase(collection, model, &rng, 100);
    put_random(collection, model, &rng, 100);
    index.field = "v";
    index.type = "HNSW";
    index.metric = VECDB_METRIC_L2;
    ok(vecdb_index_create(collection, &index));
    ok(vecdb_partition_create(collection, "other"));
    ok(vecdb_alias_set(db, "stuff", "things", false));
    assert_int_equal(vecdb_backup(db, fresh_path(copy), stop, &left), VECDB_ERR_CANCELLED);
    assert_int_equal(count_files(copy), 0);
    ok(vecdb_backup(db, copy, NULL, NULL));
    assert_int_equal(vecdb_backup(db, copy, NULL, NULL), VECDB_ERR_EXISTS);
    verify_clean(copy);
    copied = open_db(copy, 0);
    ok(vecdb_collection_open(copied, "stuff", &other));
    check(other, model);
    ok(vecdb_index_list(other, &names, &count));
    assert_int_equal(count, 1);
    vecdb_free(names);
    ok(vecdb_partition_list(other, &names, &count));
    assert_int_equal(count, 2);
    vecdb_free(names);
    ok(vecdb_optimize(other, NULL, NULL));
    check(other, model);
    ok(vecdb_collection_close(&other));
    ok(vecdb_close(&copied));
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(&db));
    mem_free(model);
}

/* Change one byte of the first file whose name begins so; returns its offset. */
static long damage(const char *path, const char *prefix, double where, char *name_out)
{
    struct dir dir;
    struct buf names = {0};
    char name[FILE_NAME_SIZE] = "", file[200];
    FILE *stream;
    long at;
    int byte;

    ok(dir_open(&vfs_posix, path, false, &dir));
    ok(dir_list(&dir, &names));
    for (size_t i = 0; i < names.size; i += strlen((char *)names.data + i) + 1)
        if (strncmp((char *)names.data + i, prefix, strlen(prefix)) == 0)
            snprintf(name, sizeof name, "%s", (char *)names.data + i);
    buf_deinit(&names);
    dir_close(&dir);
    assert_true(name[0]);
    snprintf(file, sizeof file, "%s/%s", path, name);
    stream = fopen(file, "r+b");
    assert_non_null(stream);
    fseek(stream, 0, SEEK_END);
    at = (long)(where * (double)(ftell(stream) - 1));
    fseek(stream, at, SEEK_SET);
    byte = fgetc(stream);
    fseek(stream, at, SEEK_SET);
    fputc(byte ^ 0x40, stream);
    fclose(stream);
    strcpy(name_out, name);
    return at;
}

static void test_verify_finds_damage(void **state)
{
    static const char *const prefixes[] = {"seg-", "del-", "idx-", "MANIFEST-", "wal-"};
    struct rng rng = rng_seeded(sample_seed(8));
    struct model *model = mem_zalloc(sizeof *model);
    char path[100];
    vecdb_db *db = open_db(fresh_path(path), 0);
    vecdb_collection *collection = create(db);
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;

    put_random(collection, model, &rng, 800);
    ok(vecdb_flush(collection));
    index.field = "v";
    index.type = "HNSW";
    index.metric = VECDB_METRIC_L2;
    ok(vecdb_index_create(collection, &index));
    erase(collection, model, &rng, 100);
    put_random(collection, model, &rng, 10);
    ok(vecdb_flush(collection)); /* the deletions into a file */
    put_random(collection, model, &rng, 10);
    put_random(collection, model, &rng, 10);
    verify_clean(path); /* while it is open */
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(&db));
    verify_clean(path);
    for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++)
        for (int i = 0; i < 12; i++) {
            char name[FILE_NAME_SIZE], undone[FILE_NAME_SIZE], offset[40];
            double where = i / 11.0;
            char *report = NULL;
            vecdb_status status;
            long at;
            at = damage(path, prefixes[p], where, name);
            snprintf(offset, sizeof offset, "\"offset\":%ld,", at);
            status = vecdb_verify(path, NULL, NULL, &report);
            if (status != VECDB_ERR_CORRUPT || !report || !strstr(report, "\"ok\":false") || !strstr(report, name) ||
                !strstr(report, offset))
                fail_msg("%s at %g: %d %s %s", name, where, (int)status, vecdb_last_error(), report ? report : "");
            vecdb_free(report);
            damage(path, prefixes[p], where, undone);
            assert_string_equal(name, undone);
        }
    verify_clean(path);
    /* a damaged index is no reason not to open: it is left out, and built anew */
    {
        char name[FILE_NAME_SIZE];
        damage(path, "idx-", 0.5, name);
        db = open_db(path, 0);
        ok(vecdb_collection_open(db, "things", &collection));
        check(collection, model);
        ok(vecdb_optimize(collection, NULL, NULL));
        assert_int_equal(stat_of(collection, "indexed_rows"), stat_of(collection, "rows"));
        check(collection, model);
        ok(vecdb_collection_close(&collection));
        ok(vecdb_close(&db));
        verify_clean(path);
    }
    /* also when nothing but the index is to be made anew; until then searches are right */
    {
        vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
        float query[DIM];
        int64_t keys[5], exact[5];
        char name[FILE_NAME_SIZE];
        damage(path, "idx-", 0.5, name);
        db = open_db(path, VECDB_OPEN_READ_ONLY);
        ok(vecdb_collection_open(db, "things", &collection));
        assert_int_equal(stat_of(collection, "indexed_rows"), stat_of(collection, "rows"));
        vector_of(7, 1, query);
        request.queries = query;
        request.dim = DIM;
        request.query_count = 1;
        request.limit = 5;
        ok(vecdb_search_into(collection, &request, keys, NULL, NULL));
        assert_int_equal(stat_of(collection, "indexed_rows"), 0);
        request.exact = true;
        ok(vecdb_search_into(collection, &request, exact, NULL, NULL));
        assert_memory_equal(keys, exact, sizeof keys);
        ok(vecdb_collection_close(&collection));
        ok(vecdb_close(&db));
        db = open_db(path, 0);
        ok(vecdb_collection_open(db, "things", &collection));
        ok(vecdb_optimize(collection, NULL, NULL));
        ok(vecdb_collection_close(&collection));
        ok(vecdb_close(&db));
        verify_clean(path);
    }
    mem_free(model);
}

/* What lies at the end of a file that was cut is no footer with a wrong byte: the header knows how long the file was. */
static void test_no_byte_is_blamed_for_a_cut(void **state)
{
    struct rng rng = rng_seeded(sample_seed(10));
    struct model *model = mem_zalloc(sizeof *model);
    char path[100], name[FILE_NAME_SIZE], file[200], *report = NULL;
    vecdb_db *db = open_db(fresh_path(path), 0);
    vecdb_collection *collection = create(db);

    put_random(collection, model, &rng, 100);
    ok(vecdb_flush(collection));
    ok(vecdb_collection_close(&collection));
    ok(vecdb_close(&db));
    damage(path, "seg-", 0.5, name);
    snprintf(file, sizeof file, "%s/%s", path, name);
    assert_int_equal(truncate(file, 4096), 0); /* the header is whole, */
    assert_int_equal(truncate(file, 65536), 0); /* and the number at the end, 0, one byte from this */
    assert_int_equal(vecdb_verify(path, NULL, NULL, &report), VECDB_ERR_CORRUPT);
    assert_non_null(strstr(report, name));
    assert_null(strstr(report, "would be right"));
    vecdb_free(report);
    mem_free(model);
}

/* After repair a database opens and verifies; what it has is a part of what was there, and mostly all. */
static void test_repair(void **state)
{
    static const char *const prefixes[] = {"seg-", "del-", "idx-", "wal-", "seg-", "seg-"};
    struct rng rng = rng_seeded(sample_seed(9));

    for (int round = 0; round < 30; round++) {
        struct model *model = mem_zalloc(sizeof *model);
        char path[100], name[FILE_NAME_SIZE], *report = NULL;
        vecdb_db *db = open_db(fresh_path(path), 0);
        vecdb_collection *collection = create(db);
        uint64_t count;
        for (int64_t key = 0; key < 2700; key += 300) {
            int64_t keys[300];
            for (int i = 0; i < 300; i++)
                keys[i] = key + i;
            put(collection, model, keys, 300, NULL);
        }
        ok(vecdb_flush(collection));
        erase(collection, model, &rng, 50);
        ok(vecdb_flush(collection));
        if (round % 2) {
            vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
            index.field = "v";
            index.type = "HNSW";
            index.metric = VECDB_METRIC_L2;
            ok(vecdb_index_create(collection, &index));
        }
        for (int64_t key = 2700; key < 2900; key += 10) {
            int64_t keys[10];
            for (int i = 0; i < 10; i++)
                keys[i] = key + i;
            put(collection, model, keys, 10, NULL);
        }
        ok(vecdb_collection_close(&collection));
        ok(vecdb_close(&db));
        ok(vecdb_repair(path, NULL, NULL, &report)); /* nothing wrong: nothing changed */
        assert_non_null(strstr(report, "\"changed\":false"));
        vecdb_free(report);
        if (round % 6 == 2 && round % 2 == 0)
            damage(path, "wal-", 0.3, name);
        else
            damage(path, prefixes[round % 6], rng_unit(&rng), name);
        ok(vecdb_repair(path, NULL, NULL, &report));
        assert_non_null(strstr(report, "\"changed\":true"));
        assert_non_null(strstr(report, name));
        vecdb_free(report);
        verify_clean(path);
        db = open_db(path, 0);
        ok(vecdb_collection_open(db, "things", &collection));
        ok(vecdb_count(collection, NULL, NULL, &count));
        if (strncmp(name, "del-", 4) == 0)
            assert_int_equal(count, 2900);
        else
            assert_true(count <= 2900);
        put_random(collection, model, &rng, 100); /* and it can be written to, and reopened */
        uint64_t after, again;
        ok(vecdb_count(collection, NULL, NULL, &after));
        collection = reopen(&db, collection, path, 0);
        ok(vecdb_count(collection, NULL, NULL, &again));
        assert_int_equal(after, again);
        ok(vecdb_collection_close(&collection));
        ok(vecdb_close(&db));
        mem_free(model);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flush_and_reopen),
        cmocka_unit_test(test_flush_gives_log_space_back),
        cmocka_unit_test(test_optimize),
        cmocka_unit_test(test_writes_meanwhile),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_two_collections),
        cmocka_unit_test(test_partitions),
        cmocka_unit_test(test_backup),
        cmocka_unit_test(test_backup_memory),
        cmocka_unit_test(test_verify_finds_damage),
        cmocka_unit_test(test_no_byte_is_blamed_for_a_cut),
        cmocka_unit_test(test_repair),
    };

    return cmocka_run_group_tests(tests, make_root, remove_root);
}
