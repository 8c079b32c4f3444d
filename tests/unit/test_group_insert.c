/* Single rows from many threads, durable when they return: they go to the log together, and each has its own answer. */
#include "api/handle.h"
#include "support/api.h"
#include "support/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 8, ROWS = 60, DIM = 4 };

/* The real disk, with syncs that take a while, so that writers meet; and a write or a sync that fails. */
static struct vfs disk;
static _Atomic unsigned writes, syncs;
static unsigned failing_write, failing_sync; /* 0: none */
static int failure;

static int slow_sync(const struct vfs *vfs, int fd, bool data_only)
{
    bool fails = ++syncs == failing_sync;

    usleep(300);
    return fails ? -EIO : vfs_posix.sync(vfs, fd, data_only);
}

static ssize_t write_or_fail(const struct vfs *vfs, int fd, const struct iovec *parts, int part_count, uint64_t offset)
{
    if (failing_write && ++writes == failing_write)
        return failure;
    return vfs_posix.pwritev(vfs, fd, parts, part_count, offset);
}

struct worker {
    vecdb_collection *collection;
    unsigned number;
    vecdb_status own[ROWS];    /* of rows that only this one writes */
    vecdb_status shared[ROWS]; /* of rows that all write */
    int64_t keys[ROWS];        /* AUTO_ID: that were given */
    unsigned wrong;
};

static int64_t own_key(unsigned worker, int row) { return 1000 + (int64_t)worker * ROWS + row; }

static vecdb_status insert_one(vecdb_collection *collection, const int64_t *key, float value, int64_t *given)
{
    float vector[DIM] = {value, 1, 2, 3};
    vecdb_column columns[2] = {
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = vector},
        {.field = "id", .type = VECDB_TYPE_INT64, .data = key},
    };
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;

    batch.columns = columns;
    batch.column_count = key ? 2 : 1;
    batch.row_count = 1;
    options.durability = VECDB_DURABILITY_FULL;
    options.auto_ids = given;
    return vecdb_insert(collection, &batch, &options);
}

/* A failure must speak of the key that failed, or say that nobody knows. */
static void check_words(struct worker *worker, vecdb_status status, int64_t key)
{
    char words[30];

    snprintf(words, sizeof words, "key %lld ", (long long)key);
    if (status == VECDB_ERR_EXISTS && !strstr(vecdb_last_error(), words))
        worker->wrong++;
    if (status == VECDB_ERR_POISONED && !strstr(vecdb_last_error(), "durability unknown"))
        worker->wrong++;
}

static void *write_rows(void *argument)
{
    struct worker *worker = argument;

    for (int row = 0; row < ROWS; row++) {
        int64_t key = own_key(worker->number, row), same = row;
        worker->own[row] = insert_one(worker->collection, &key, (float)key, NULL);
        check_words(worker, worker->own[row], key);
        worker->shared[row] = insert_one(worker->collection, &same, (float)worker->number, NULL);
        check_words(worker, worker->shared[row], same);
    }
    return NULL;
}

static void *write_auto(void *argument)
{
    struct worker *worker = argument;

    for (int row = 0; row < ROWS; row++)
        worker->own[row] = insert_one(worker->collection, NULL, (float)own_key(worker->number, row), &worker->keys[row]);
    return NULL;
}

static void run_workers(vecdb_collection *collection, void *(*work)(void *), struct worker *workers)
{
    pthread_t ids[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.collection = collection, .number = i};
        assert_int_equal(pthread_create(&ids[i], NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(ids[i], NULL);
}

/* The first element of a row's vector, NAN where there is no such row. */
static bool has_row(vecdb_collection *collection, int64_t key, float *value)
{
    const vecdb_column keys = {.type = VECDB_TYPE_INT64, .data = &key};
    const char *const output[] = {"vector"};
    vecdb_result *result;
    vecdb_column vectors;
    bool found;

    assert_done(vecdb_get(collection, &keys, 1, output, 1, &result));
    found = vecdb_result_rows(result, 0, NULL) == 1;
    if (found) {
        assert_done(vecdb_result_column(result, "vector", &vectors));
        *value = ((const float *)vectors.data)[0];
    }
    vecdb_result_free(&result);
    return found;
}

/* Every row that was promised is there and no other, unless nobody can know. */
static void check_rows(vecdb_collection *collection, const struct worker *workers, bool unknown)
{
    for (int row = 0; row < ROWS; row++) {
        unsigned winners = 0, winner = 0;
        float value;
        for (unsigned i = 0; i < THREADS; i++) {
            bool there = has_row(collection, own_key(i, row), &value);
            if (workers[i].own[row] == VECDB_OK || !unknown)
                assert_int_equal(there, workers[i].own[row] == VECDB_OK);
            if (there)
                assert_true(value == (float)own_key(i, row));
            if (workers[i].shared[row] == VECDB_OK) {
                winners++;
                winner = i;
            }
        }
        assert_true(winners <= 1);
        if (winners || !unknown)
            assert_int_equal(has_row(collection, row, &value), winners);
        if (winners)
            assert_true(value == (float)winner);
    }
}

static void open_rows(const char *path, vecdb_db **db, vecdb_collection **collection)
{
    assert_done(db_open_with_vfs(&disk, path, NULL, db));
    assert_done(vecdb_collection_open(*db, "rows", collection));
}

static vecdb_collection *open_new(char *path, vecdb_db **db)
{
    assert_non_null(mkdtemp(path));
    assert_done(db_open_with_vfs(&disk, path, NULL, db));
    return api_create_plain(*db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
}

static void close_rows(vecdb_db **db, vecdb_collection **collection)
{
    assert_done(vecdb_collection_close(collection));
    assert_done(vecdb_close(db));
}

static void remove_path(const char *path)
{
    char command[100];

    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

/* The rows are as promised now, and when opened again. */
static void check_and_remove(const char *path, vecdb_db *db, vecdb_collection *collection, const struct worker *workers)
{
    check_rows(collection, workers, false);
    close_rows(&db, &collection);
    open_rows(path, &db, &collection);
    check_rows(collection, workers, false);
    close_rows(&db, &collection);
    remove_path(path);
}

static void each_has_its_own_answer(void **state)
{
    char path[] = "/tmp/vecdb-group-XXXXXX";
    struct worker workers[THREADS];
    vecdb_collection *collection;
    vecdb_db *db;

    (void)state;
    collection = open_new(path, &db);
    syncs = 0;
    run_workers(collection, write_rows, workers);
    assert_true(syncs < THREADS * ROWS); /* half of what one sync a row would be; eight share one, mostly */
    for (int row = 0; row < ROWS; row++) {
        unsigned winners = 0;
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(workers[i].own[row], VECDB_OK);
            winners += workers[i].shared[row] == VECDB_OK;
            if (workers[i].shared[row] != VECDB_OK)
                assert_int_equal(workers[i].shared[row], VECDB_ERR_EXISTS);
            assert_int_equal(workers[i].wrong, 0);
        }
        assert_int_equal(winners, 1);
    }
    check_and_remove(path, db, collection, workers);
}

static void keys_are_given_once(void **state)
{
    char path[] = "/tmp/vecdb-group-XXXXXX";
    struct worker workers[THREADS];
    vecdb_field fields[] = {
        {.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY | VECDB_AUTO_ID},
        {.name = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM},
    };
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *collection;
    vecdb_db *db;

    (void)state;
    assert_non_null(mkdtemp(path));
    assert_done(db_open_with_vfs(&disk, path, NULL, &db));
    schema.name = "rows", schema.fields = fields, schema.field_count = 2;
    assert_done(vecdb_collection_create(db, &schema, &collection));
    run_workers(collection, write_auto, workers);
    close_rows(&db, &collection);
    open_rows(path, &db, &collection);
    for (unsigned i = 0; i < THREADS; i++)
        for (int row = 0; row < ROWS; row++) {
            float value;
            assert_int_equal(workers[i].own[row], VECDB_OK);
            assert_in_range(workers[i].keys[row], 1, THREADS * ROWS);
            assert_true(has_row(collection, workers[i].keys[row], &value));
            assert_true(value == (float)own_key(i, row)); /* so no key was given twice */
        }
    close_rows(&db, &collection);
    remove_path(path);
}

/* A write to the log that fails leaves none of the rows that went with it, then and after opening again; others go on. */
static void a_failed_write_leaves_nothing(void **state)
{
    static const int failures[] = {-ENOSPC, -EIO, -EDQUOT};
    unsigned failed_together = 0;

    (void)state;
    for (unsigned n = 4; n < 70; n += 6) {
        char path[] = "/tmp/vecdb-group-XXXXXX";
        struct worker workers[THREADS];
        vecdb_collection *collection;
        bool unknown = false;
        unsigned failed = 0;
        vecdb_db *db;

        collection = open_new(path, &db);
        failure = failures[n / 6 % 3];
        writes = 0;
        failing_write = n;
        run_workers(collection, write_rows, workers);
        failing_write = 0;
        for (unsigned i = 0; i < THREADS; i++)
            for (int row = 0; row < ROWS; row++)
                for (int kind = 0; kind < 2; kind++) {
                    vecdb_status status = kind ? workers[i].shared[row] : workers[i].own[row];
                    unknown |= status == VECDB_ERR_POISONED;
                    failed += status == VECDB_ERR_FULL || status == VECDB_ERR_IO;
                    if (status != VECDB_OK && status != VECDB_ERR_FULL && status != VECDB_ERR_IO && status != VECDB_ERR_POISONED)
                        assert_int_equal(status, VECDB_ERR_EXISTS);
                }
        assert_false(unknown); /* what was written of it could be cut off */
        failed_together += failed > 1;
        check_and_remove(path, db, collection, workers);
    }
    assert_true(failed_together > 0);
}

/* A sync that fails is that of all who ride: each is told that nobody knows, none of the rows is shown, and opened again each is there
 * whole or not at all. What came before stays, and nothing is written after it. */
static void a_failed_sync_is_everybodys(void **state)
{
    unsigned together = 0;

    (void)state;
    for (unsigned n = 3; n < 60; n += 7) {
        char path[] = "/tmp/vecdb-group-XXXXXX";
        struct worker workers[THREADS];
        vecdb_collection *collection;
        unsigned done = 0, unknown = 0;
        vecdb_db *db;

        collection = open_new(path, &db);
        syncs = 0;
        failing_sync = n;
        run_workers(collection, write_rows, workers);
        failing_sync = 0;
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(workers[i].wrong, 0);
            assert_int_equal(workers[i].own[ROWS - 1], VECDB_ERR_POISONED);
            for (int row = 0; row < ROWS; row++) {
                assert_true(workers[i].own[row] == VECDB_OK || workers[i].own[row] == VECDB_ERR_POISONED);
                if (row && workers[i].own[row - 1] != VECDB_OK)
                    assert_int_equal(workers[i].own[row], VECDB_ERR_POISONED);
                done += workers[i].own[row] == VECDB_OK;
                unknown += workers[i].own[row] == VECDB_ERR_POISONED && (row == 0 || workers[i].own[row - 1] == VECDB_OK);
            }
        }
        assert_true(done < THREADS * ROWS);
        together += unknown > 1;
        check_rows(collection, workers, false); /* nothing is shown of what is not known */
        close_rows(&db, &collection);
        open_rows(path, &db, &collection);
        check_rows(collection, workers, true);
        close_rows(&db, &collection);
        remove_path(path);
    }
    assert_true(together > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_has_its_own_answer),
        cmocka_unit_test(keys_are_given_once),
        cmocka_unit_test(a_failed_write_leaves_nothing),
        cmocka_unit_test(a_failed_sync_is_everybodys),
    };

    disk = vfs_posix;
    disk.sync = slow_sync;
    disk.pwritev = write_or_fail;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
