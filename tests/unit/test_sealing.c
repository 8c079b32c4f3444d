/* create_index builds while the segments it is for are still on their way to the disk: when either of the two fails, what is left
 * is as it was, and a second try works. And files of many partitions are not all open at once. */
#include "api/handle.h"
#include "support/api.h"
#include "support/fault.h"
#include "support/unit.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { ROWS = 6000, DIM = 8, PARTITIONS = 80, FILES = 64 };

/* The real disk, but for segments that cannot be synced. */
static struct vfs disk;
static atomic_bool refusing;
static _Atomic unsigned refused;

static int sync_or_refuse(const struct vfs *vfs, int fd, bool data_only)
{
    char link[40], name[300] = "";

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (refusing && readlink(link, name, sizeof name - 1) > 0 && strstr(name, "/seg-")) {
        refused++;
        return -EIO;
    }
    return vfs_posix.sync(vfs, fd, data_only);
}

static int prepare(void **state)
{
    (void)state;
    disk = vfs_posix;
    disk.sync = sync_or_refuse;
    return 0;
}

static vecdb_status insert(vecdb_collection *collection, const char *partition, int64_t first, size_t count)
{
    int64_t *keys = malloc(count * sizeof *keys);
    float *vectors = malloc(count * DIM * sizeof *vectors);
    vecdb_column columns[2] = {
        {.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = vectors},
    };
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_status status;

    assert_non_null(keys);
    assert_non_null(vectors);
    for (size_t i = 0; i < count; i++) {
        keys[i] = first + (int64_t)i;
        for (size_t d = 0; d < DIM; d++)
            vectors[i * DIM + d] = (float)((keys[i] * 7919 + (int64_t)d * 104729) % 1000);
    }
    batch.columns = columns;
    batch.column_count = 2;
    batch.row_count = count;
    batch.partition = partition;
    status = vecdb_insert(collection, &batch, NULL);
    free(keys);
    free(vectors);
    return status;
}

static size_t count_segments(const char *path)
{
    DIR *dir = opendir(path);
    size_t count = 0;

    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        count += !strncmp(entry->d_name, "seg-", 4);
    closedir(dir);
    return count;
}

static void assert_holds(vecdb_collection *collection, uint64_t rows, size_t indexes)
{
    uint64_t count;
    char **names;
    size_t n;

    assert_done(vecdb_count(collection, NULL, NULL, &count));
    assert_int_equal(count, rows);
    assert_done(vecdb_index_list(collection, &names, &n));
    assert_int_equal(n, indexes);
    vecdb_free(names);
}

static vecdb_status create_index(vecdb_collection *collection, vecdb_progress progress, void *context)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = "vector";
    options.type = "HNSW";
    options.metric = VECDB_METRIC_L2;
    options.progress = progress;
    options.context = context;
    return vecdb_index_create(collection, &options);
}

static vecdb_collection *open_new(char *path, uint32_t threads, vecdb_db **db)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;

    assert_non_null(mkdtemp(path));
    options.threads = threads;
    assert_done(db_open_with_vfs(&disk, path, &options, db));
    return api_create_plain(*db, "rows", VECDB_TYPE_FLOAT_VECTOR, DIM);
}

/* All is there when it is opened again; then it is removed. */
static void check_and_remove(const char *path, vecdb_db *db, vecdb_collection *collection, uint64_t rows, size_t indexes)
{
    char command[100];

    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
    assert_done(vecdb_open(path, NULL, &db));
    assert_done(vecdb_collection_open(db, "rows", &collection));
    assert_holds(collection, rows, indexes);
    assert_done(vecdb_collection_close(&collection));
    assert_done(vecdb_close(&db));
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

/* The graph comes to be, but its segment does not. */
static void a_segment_that_cannot_be_synced(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads <= 2; threads++) {
        char path[] = "/tmp/vecdb-sealing-XXXXXX";
        vecdb_db *db;
        vecdb_collection *collection = open_new(path, threads, &db);

        assert_done(insert(collection, NULL, 0, ROWS));
        refused = 0;
        refusing = true;
        assert_refused(create_index(collection, NULL, NULL), VECDB_ERR_IO, "seg-");
        refusing = false;
        assert_int_equal(refused, 1);
        assert_holds(collection, ROWS, 0);
        assert_int_equal(count_segments(path), 0);
        assert_done(insert(collection, NULL, ROWS, 10));
        assert_done(create_index(collection, NULL, NULL));
        assert_int_equal(count_segments(path), 1);
        assert_holds(collection, ROWS + 10, 1);
        check_and_remove(path, db, collection, ROWS + 10, 1);
    }
}

/* Stops what comes after the first stage, which is the segment's. */
static bool until_the_graph(void *context, const char *stage, uint64_t done, uint64_t total)
{
    char *first = context;

    (void)done, (void)total;
    if (!*first)
        snprintf(first, 40, "%s", stage);
    return strcmp(first, stage) == 0;
}

/* The segment comes to be, but not the graph. */
static void a_graph_that_is_cancelled(void **state)
{
    char path[] = "/tmp/vecdb-sealing-XXXXXX", first[40] = "";
    vecdb_db *db;
    vecdb_collection *collection = open_new(path, 2, &db);

    (void)state;
    assert_done(insert(collection, NULL, 0, ROWS));
    assert_int_equal(create_index(collection, until_the_graph, first), VECDB_ERR_CANCELLED);
    assert_int_equal(count_segments(path), 1);
    assert_holds(collection, ROWS, 0);
    assert_done(create_index(collection, NULL, NULL));
    assert_int_equal(count_segments(path), 1);
    check_and_remove(path, db, collection, ROWS, 1);
}

/* At the graph's first stage, memory runs out once. */
static bool no_memory_for_the_graph(void *context, const char *stage, uint64_t done, uint64_t total)
{
    char *first = context;

    if (until_the_graph(first, stage, done, total) || fault_memory_hit())
        return true;
    fault_memory_next(1, false);
    return true;
}

/* What is short while growing rows are still held is there when they are not: so the graph is built once more. */
static void a_graph_without_memory_at_first(void **state)
{
    char path[] = "/tmp/vecdb-sealing-XXXXXX", first[40] = "";
    vecdb_db *db;
    vecdb_collection *collection = open_new(path, 1, &db);

    (void)state;
    assert_done(insert(collection, NULL, 0, ROWS));
    fault_memory(0, false);
    assert_done(create_index(collection, no_memory_for_the_graph, first));
    assert_true(fault_memory_hit());
    fault_memory_end();
    assert_int_equal(count_segments(path), 1);
    check_and_remove(path, db, collection, ROWS, 1);
}

static void more_partitions_than_files_may_be_open(void **state)
{
    char path[] = "/tmp/vecdb-sealing-XXXXXX", name[20];
    vecdb_db *db;
    vecdb_collection *collection = open_new(path, 2, &db);
    struct rlimit before, few;

    (void)state;
    for (int64_t p = 0; p < PARTITIONS; p++) {
        snprintf(name, sizeof name, "p%d", (int)p);
        assert_done(vecdb_partition_create(collection, name));
        assert_done(insert(collection, name, p * 10, 10));
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = FILES;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_done(vecdb_flush(collection));
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(count_segments(path), PARTITIONS);
    check_and_remove(path, db, collection, PARTITIONS * 10, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_segment_that_cannot_be_synced),
        cmocka_unit_test(a_graph_that_is_cancelled),
        cmocka_unit_test(a_graph_without_memory_at_first),
        cmocka_unit_test(more_partitions_than_files_may_be_open),
    };

    return cmocka_run_group_tests(tests, prepare, NULL);
}
