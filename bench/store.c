/* The store's speeds, each beside its bar and, where there is a like, a rival in the same run.
 *
 *   store [dir=/tmp] [rows=1000000] [dim=128] [batch=10000] [kind=HNSW] [params=M=16,efConstruction=100] [seconds=2] [fresh=0]
 *         [only=insert,single,open,get,idle,mixed] [keep=DIR]
 *
 * Each beside SQLite doing the same with the same rows, in WAL mode, where its header was there when this was built (`make bench-store`
 * sees to that):
 *
 *   insert  batches of rows with two scalar columns, in each durability mode, beside the same bytes written to a file, and SQLite's
 *           transactions of as many rows with synchronous=off, normal and full
 *   single  one row a call, FULL, from one thread and from eight; beside SQLite's commits of the same row
 *   open    a collection of so many rows with an index, files in the page cache (SQLite has the rows and no index)
 *   get     one key a call, one thread
 *   idle    resident memory of a process that has that collection open and does nothing
 *   mixed   searches of two readers alone, then beside a writer that writes as fast as it can: one row a call, each made
 *           durable; then a thousand rows a call, NORMAL
 *
 * `keep` is where the collection of open, get, idle and mixed is made, or found from an earlier run. */
#include "driver.h"
#include "store_sqlite.h"

#include "vecdb.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WRITERS 8
#define READERS 2

static const char *dir = "/tmp", *kind = "HNSW", *params = "M=16,efConstruction=100", *only = "", *keep;
static size_t row_count = 1000000, dim = 128, batch_rows = 10000;
static double seconds = 2;
static uint32_t fresh_rows; /* of the open options */
static size_t missed;

static void need(vecdb_status status, const char *what)
{
    if (status >= 0)
        return;
    fprintf(stderr, "store: %s: %s\n", what, vecdb_last_error());
    exit(1);
}

/* A line of the report: what was measured, and whether it is at least (or at most) its bar. */
static void line(const char *what, double value, const char *unit, char relation, double bar)
{
    int digits = value < 100 ? 2 : value < 1000 ? 1 : 0;
    bool met = relation == '>' ? value >= bar : value <= bar;

    if (relation == ' ') {
        printf("%-58s %12.*f %s\n", what, digits, value, unit);
    } else {
        printf("%-58s %12.*f %-8s bar %c= %.*f: %s\n", what, digits, value, unit, relation, bar < 100, bar, met ? "met" : "MISSED");
        missed += !met;
    }
    fflush(stdout);
}

static bool wanted(const char *name) { return !*only || strstr(only, name); }

static void remove_tree(const char *path)
{
    char command[700];

    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0)
        fprintf(stderr, "store: cannot remove %s\n", path);
}

/* ------------------------------------------------------------------------------------------------- rows */

static uint64_t mix(uint64_t x)
{
    x += 0x9E3779B97F4A7C15ull;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

struct rows {
    int64_t *keys, *numbers;
    double *reals;
    float *vectors;
    size_t count;
};

/* Vectors around so many centres, as real ones are. */
static void rows_fill(struct rows *rows, int64_t first)
{
    for (size_t i = 0; i < rows->count; i++) {
        uint64_t key = (uint64_t)first + i, centre = mix(key) % 1000;
        rows->keys[i] = (int64_t)key;
        rows->numbers[i] = (int64_t)(key * 7);
        rows->reals[i] = (double)key / 3;
        for (size_t d = 0; d < dim; d += 4) {
            uint64_t a = mix(centre * dim + d), b = mix(key * dim + d + 0x5555);
            for (size_t j = 0; j < 4 && d + j < dim; j++)
                rows->vectors[i * dim + d + j] =
                    (float)((a >> (16 * j)) & 0xFFFF) / 65536 + (float)((b >> (16 * j)) & 0xFFFF) / 131072;
        }
    }
}

static struct rows rows_make(size_t count)
{
    struct rows rows = {malloc(count * 8), malloc(count * 8), malloc(count * 8), malloc(count * dim * 4), count};

    if (!rows.keys || !rows.numbers || !rows.reals || !rows.vectors)
        exit(1);
    rows_fill(&rows, 0);
    return rows;
}

static void rows_free(struct rows *rows)
{
    free(rows->keys);
    free(rows->numbers);
    free(rows->reals);
    free(rows->vectors);
}

static size_t row_bytes(void) { return 24 + 4 * dim; }

static vecdb_status insert(vecdb_collection *collection, const struct rows *rows, size_t first, size_t count,
                           vecdb_durability durability, bool replace)
{
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_column columns[] = {
        {.field = "key", .type = VECDB_TYPE_INT64, .data = rows->keys + first},
        {.field = "number", .type = VECDB_TYPE_INT64, .data = rows->numbers + first},
        {.field = "real", .type = VECDB_TYPE_DOUBLE, .data = rows->reals + first},
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = (uint32_t)dim, .data = rows->vectors + first * dim},
    };

    options.durability = durability;
    batch.columns = columns;
    batch.column_count = 4;
    batch.row_count = count;
    return replace ? vecdb_upsert(collection, &batch, &options) : vecdb_insert(collection, &batch, &options);
}

static void open_db(const char *path, uint32_t threads, vecdb_db **db, vecdb_collection **collection)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {
        {.name = "key", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "number", .type = VECDB_TYPE_INT64},
        {.name = "real", .type = VECDB_TYPE_DOUBLE},
        {.name = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = (uint32_t)dim},
    };
    vecdb_status status;

    schema.name = "rows";
    schema.fields = fields;
    schema.field_count = 4;
    options.threads = threads;
    options.fresh_rows = fresh_rows;
    need(vecdb_open(path, &options, db), "open");
    status = vecdb_collection_open(*db, "rows", collection);
    if (status == VECDB_ERR_NO_SUCH)
        status = vecdb_collection_create(*db, &schema, collection);
    need(status, "collection");
}

static void close_db(vecdb_db **db, vecdb_collection **collection)
{
    need(vecdb_collection_close(collection), "close");
    need(vecdb_close(db), "close");
}

/* ------------------------------------------------------------------------------------------------- insert */

/* Bytes a second, writing the same batches to one file; synced at the end, or after each. */
static double raw_write(const struct rows *rows, bool sync_each)
{
    char path[600];
    double start, spent;
    size_t size = batch_rows * row_bytes(), written = 0;
    char *bytes = malloc(size);
    int fd;

    snprintf(path, sizeof path, "%s/vecdb-bench-raw", dir);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || !bytes)
        exit(1);
    start = now();
    for (size_t first = 0; first + batch_rows <= row_count; first += batch_rows, written += size) {
        memcpy(bytes, rows->vectors + (first % rows->count) * dim, batch_rows * dim * 4);
        memset(bytes + batch_rows * dim * 4, 1, size - batch_rows * dim * 4);
        if (write(fd, bytes, size) != (ssize_t)size || (sync_each && fdatasync(fd) != 0))
            exit(1);
    }
    if (fdatasync(fd) != 0)
        exit(1);
    spent = now() - start;
    close(fd);
    unlink(path);
    free(bytes);
    return (double)written / spent;
}

static double insert_rate(struct rows *rows, vecdb_durability durability)
{
    char path[600];
    vecdb_db *db;
    vecdb_collection *collection;
    double spent = 0;

    snprintf(path, sizeof path, "%s/vecdb-bench-insert", dir);
    remove_tree(path);
    open_db(path, 0, &db, &collection);
    for (size_t first = 0; first < row_count; first += batch_rows) {
        size_t at = first % rows->count;
        double start;
        for (size_t i = 0; i < batch_rows; i++) /* new keys, the same vectors: making vectors is not what is measured */
            rows->keys[at + i] = (int64_t)(first + i);
        start = now();
        need(insert(collection, rows, at, batch_rows, durability, false), "insert");
        spent += now() - start;
    }
    double start = now();
    if (durability != VECDB_DURABILITY_FULL)
        need(vecdb_sync(db), "sync");
    start = now() - start;
    close_db(&db, &collection);
    remove_tree(path);
    return (double)row_count / spent;
}

static void sqlite_path(char *path, size_t size) { snprintf(path, size, "%s/vecdb-bench.sqlite", dir); }

static void measure_insert(void)
{
    struct rows rows = rows_make(batch_rows * 10);
    double raw = 0, raw_each = 0, rates[4] = {0}, bar;

    for (int round = 0; round < 2; round++) {
        double value = raw_write(&rows, false);
        raw = value > raw ? value : raw;
        value = raw_write(&rows, true);
        raw_each = value > raw_each ? value : raw_each;
        for (int mode = VECDB_DURABILITY_FULL; mode <= VECDB_DURABILITY_NONE; mode++) {
            value = insert_rate(&rows, (vecdb_durability)mode);
            rates[mode] = value > rates[mode] ? value : rates[mode];
        }
    }
    bar = 0.6 * raw / (double)row_bytes();
    if (bar > 500000)
        bar = 500000;
    line("raw: the same bytes in one file, one sync", raw / 1e6, "MB/s", ' ', 0);
    line("raw: the same bytes, a sync for each batch", raw_each / 1e6, "MB/s", ' ', 0);
    line("insert, none", rates[VECDB_DURABILITY_NONE], "rows/s", '>', bar);
    line("insert, normal", rates[VECDB_DURABILITY_NORMAL], "rows/s", '>', bar);
    line("insert, full", rates[VECDB_DURABILITY_FULL], "rows/s", ' ', 0);
    line("insert, full: times as long as normal", rates[VECDB_DURABILITY_NORMAL] / rates[VECDB_DURABILITY_FULL], "", '<', 1.3);
    if (sqlite_version()) {
        static const char *const modes[] = {"off", "normal", "full"};
        for (size_t i = 0; i < 3; i++) {
            char path[600], what[80];
            double best = 0;
            sqlite_path(path, sizeof path);
            for (int round = 0; round < 2; round++) {
                double value = sqlite_insert_rate(path, modes[i], (const char *)rows.vectors, dim * 4, rows.count, row_count, batch_rows);
                best = value > best ? value : best;
            }
            sqlite_remove(path);
            snprintf(what, sizeof what, "insert: SQLite, WAL, synchronous=%s", modes[i]);
            line(what, best, "rows/s", ' ', 0);
        }
    }
    rows_free(&rows);
}

/* ------------------------------------------------------------------------------------------------- single rows */

struct writer {
    vecdb_collection *collection;
    const struct rows *rows;
    int64_t first_key;
    double until;
    size_t count;
};

static void *write_singles(void *context)
{
    struct writer *writer = context;
    struct rows one = *writer->rows;
    int64_t key;

    one.keys = &key;
    for (; now() < writer->until; writer->count++) {
        key = writer->first_key + (int64_t)writer->count;
        need(insert(writer->collection, &one, 0, 1, VECDB_DURABILITY_FULL, false), "insert");
    }
    return NULL;
}

static double single_rate(vecdb_collection *collection, const struct rows *rows, size_t threads, int64_t first_key)
{
    struct writer writers[WRITERS];
    pthread_t ids[WRITERS];
    double start = now();
    size_t count = 0;

    for (size_t i = 0; i < threads; i++) {
        writers[i] = (struct writer){collection, rows, first_key + (int64_t)i * 100000000, start + seconds, 0};
        if (pthread_create(&ids[i], NULL, write_singles, &writers[i]) != 0)
            exit(1);
    }
    for (size_t i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        count += writers[i].count;
    }
    return (double)count / (now() - start);
}

static void measure_single(void)
{
    struct rows rows = rows_make(1);
    double one = 0, eight = 0;
    char path[600];
    vecdb_db *db;
    vecdb_collection *collection;

    snprintf(path, sizeof path, "%s/vecdb-bench-single", dir);
    remove_tree(path);
    open_db(path, 0, &db, &collection);
    for (int round = 0; round < 3; round++) {
        double value = single_rate(collection, &rows, 1, 10000000000 * (2 * round + 1));
        one = value > one ? value : one;
        value = single_rate(collection, &rows, WRITERS, 10000000000 * (2 * round + 2));
        eight = value > eight ? value : eight;
    }
    close_db(&db, &collection);
    remove_tree(path);
    if (sqlite_version()) {
        sqlite_path(path, sizeof path);
        line("single row: SQLite, WAL, synchronous=full, 1 thread", sqlite_single_rate(path, rows.vectors, dim * 4, seconds), "rows/s", ' ', 0);
    }
    line("single row, full: 1 thread", one, "rows/s", ' ', 0);
    line("single row, full: 8 threads", eight, "rows/s", ' ', 0);
    line("single row, full: 8 threads over 1", eight / one, "times", '>', 4);
    rows_free(&rows);
}

/* ------------------------------------------------------------------------------------------------- a large collection */

static void make_large(const char *path)
{
    struct rows rows = rows_make(batch_rows);
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_db *db;
    vecdb_collection *collection;
    uint64_t count = 0;
    double start = now();

    open_db(path, 0, &db, &collection);
    need(vecdb_count(collection, NULL, NULL, &count), "count");
    if (count == 0) {
        for (size_t first = 0; first < row_count; first += batch_rows) {
            rows_fill(&rows, (int64_t)first);
            need(insert(collection, &rows, 0, batch_rows, VECDB_DURABILITY_NONE, false), "insert");
        }
        need(vecdb_optimize(collection, NULL, NULL), "optimize");
        index.field = "vector";
        index.type = kind;
        index.metric = VECDB_METRIC_L2;
        index.params = params;
        need(vecdb_index_create(collection, &index), "index");
        printf("# %zu rows with %s in %s: made in %.0f s\n", row_count, kind, path, now() - start);
    }
    close_db(&db, &collection);
    rows_free(&rows);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The same rows in SQLite, made once. */
static void sqlite_large(char *path)
{
    static bool made;

    sqlite_path(path, 600);
    if (made)
        return;
    struct rows rows = rows_make(batch_rows);
    (void)sqlite_insert_rate(path, "off", (const char *)rows.vectors, dim * 4, rows.count, row_count, batch_rows);
    rows_free(&rows);
    made = true;
}

static void measure_open(const char *path)
{
    double times[15];
    char rival[600];

    for (size_t i = 0; i < 15; i++) {
        vecdb_db *db;
        vecdb_collection *collection;
        double start = now();
        open_db(path, 0, &db, &collection);
        times[i] = (now() - start) * 1000;
        close_db(&db, &collection);
    }
    qsort(times, 15, sizeof *times, compare_doubles);
    line("open, median of 15", times[7], "ms", '<', 50);
    if (sqlite_version()) {
        sqlite_large(rival);
        for (size_t i = 0; i < 15; i++)
            times[i] = sqlite_open_ms(rival);
        qsort(times, 15, sizeof *times, compare_doubles);
        line("open: SQLite, with the first row read, median of 15", times[7], "ms", ' ', 0);
    }
}

static void measure_get(const char *path)
{
    static const char *const fields[] = {"number"};
    vecdb_db *db;
    vecdb_collection *collection;
    double best = 0, best_wide = 0;
    char rival[600];

    open_db(path, 1, &db, &collection);
    for (int round = 0; round < 6; round++) {
        double start = now(), rate;
        size_t count = 0;
        for (; count % 256 || now() - start < seconds / 3; count++) {
            int64_t key = (int64_t)(mix(count + (uint64_t)round * 1000000007) % row_count);
            vecdb_column keys = {.field = "key", .type = VECDB_TYPE_INT64, .data = &key};
            static const char *const all[] = {"*"};
            vecdb_result *result = NULL;
            need(vecdb_get(collection, &keys, 1, round % 2 ? all : fields, 1, &result), "get");
            if (vecdb_result_rows(result, 0, NULL) != 1)
                fprintf(stderr, "store: key %lld is not there\n", (long long)key), exit(1);
            vecdb_result_free(&result);
        }
        rate = (double)count / (now() - start);
        if (round % 2)
            best_wide = rate > best_wide ? rate : best_wide;
        else
            best = rate > best ? rate : best;
    }
    close_db(&db, &collection);
    line("get by key, a scalar field, 1 thread", best, "keys/s", '>', 200000);
    line("get by key, all fields, 1 thread", best_wide, "keys/s", ' ', 0);
    if (sqlite_version()) {
        sqlite_large(rival);
        line("get by key: SQLite, one column", sqlite_get_rate(rival, row_count, false, seconds), "keys/s", ' ', 0);
        line("get by key: SQLite, all columns", sqlite_get_rate(rival, row_count, true, seconds), "keys/s", ' ', 0);
    }
}

static double resident_mb(const char *member)
{
    char text[256];
    double value = 0;
    FILE *file = fopen("/proc/self/status", "r");

    while (file && fgets(text, sizeof text, file))
        if (strncmp(text, member, strlen(member)) == 0)
            value = atof(text + strlen(member)) / 1024;
    if (file)
        fclose(file);
    return value;
}

/* Resident memory of a process of its own, before it opens a database and with it open, and what of that is no mapped file: this one
 * has used much already. */
static void look_at_idle(const char *whose, const char *path, double values[3])
{
    int ends[2];
    pid_t child;

    if (pipe(ends) != 0)
        exit(1);
    fflush(stdout);
    child = fork();
    if (child == 0) {
        char fd[16];
        snprintf(fd, sizeof fd, "%d", ends[1]);
        execl("/proc/self/exe", "store", whose, path, fd, (char *)NULL);
        _exit(1);
    }
    close(ends[1]);
    if (read(ends[0], values, 3 * sizeof *values) != 3 * sizeof *values)
        exit(1);
    close(ends[0]);
    waitpid(child, NULL, 0);
}

static void measure_idle(const char *path)
{
    double values[3];
    char rival[600];

    look_at_idle("idle-child", path, values);
    line("idle: resident memory before opening", values[0], "MB", ' ', 0);
    line("idle: of the process' own (not mapped files)", values[2], "MB", ' ', 0);
    line("idle: resident memory with the database open", values[1], "MB", '<', 20);
    if (sqlite_version()) {
        sqlite_large(rival);
        look_at_idle("idle-rival", rival, values);
        line("idle: SQLite, resident memory with the database open", values[1], "MB", ' ', 0);
    }
}

static int idle_child(const char *path, int fd, bool rival)
{
    double values[3] = {resident_mb("VmRSS:")};
    vecdb_db *db;
    vecdb_collection *collection;

    if (rival)
        sqlite_leave_open(path);
    else
        open_db(path, 0, &db, &collection);
    usleep(300000);
    values[1] = resident_mb("VmRSS:");
    values[2] = resident_mb("RssAnon:");
    if (write(fd, values, sizeof values) != sizeof values)
        return 1;
    if (!rival)
        close_db(&db, &collection);
    return 0;
}

/* ------------------------------------------------------------------------------------------------- mixed */

struct reader {
    vecdb_collection *collection;
    double until;
    uint64_t seed;
    double *times; /* milliseconds */
    size_t count, room;
};

static void *read_all(void *context)
{
    struct reader *reader = context;
    struct rows one = rows_make(1);

    while (now() < reader->until && reader->count < reader->room) {
        vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
        int64_t keys[10];
        double start;
        rows_fill(&one, (int64_t)(mix(reader->seed++) % row_count));
        request.queries = one.vectors;
        request.dim = (uint32_t)dim;
        request.query_count = 1;
        request.limit = 10;
        start = now();
        need(vecdb_search_into(reader->collection, &request, keys, NULL, NULL), "search");
        reader->times[reader->count++] = (now() - start) * 1000;
    }
    rows_free(&one);
    return NULL;
}

struct full_speed {
    vecdb_collection *collection;
    size_t batch;
    vecdb_durability durability;
    int64_t next_key;
    atomic_bool stop;
    size_t rows;
};

static void *write_all(void *context)
{
    struct full_speed *writer = context;
    struct rows rows = rows_make(writer->batch);

    while (!atomic_load(&writer->stop)) {
        rows_fill(&rows, writer->next_key);
        need(insert(writer->collection, &rows, 0, rows.count, writer->durability, true), "upsert");
        writer->rows += rows.count;
        writer->next_key += (int64_t)rows.count;
    }
    rows_free(&rows);
    return NULL;
}

static double percentile(struct reader *readers, double share, double *rate, double spent)
{
    size_t count = 0;
    double *all, value;

    for (size_t i = 0; i < READERS; i++)
        count += readers[i].count;
    all = malloc((count + 1) * sizeof *all);
    count = 0;
    for (size_t i = 0; i < READERS; i++) {
        memcpy(all + count, readers[i].times, readers[i].count * sizeof *all);
        count += readers[i].count;
    }
    qsort(all, count, sizeof *all, compare_doubles);
    value = count ? all[(size_t)((double)(count - 1) * share)] : 0;
    free(all);
    *rate = (double)count / spent;
    return value;
}

static double run_readers(vecdb_collection *collection, double *p50, double *rate)
{
    struct reader readers[READERS];
    pthread_t ids[READERS];
    double start = now(), spent, p99;

    for (size_t i = 0; i < READERS; i++) {
        readers[i] = (struct reader){collection, start + 2 * seconds, i * 1000003 + 17, malloc(8000000), 0, 1000000};
        if (!readers[i].times || pthread_create(&ids[i], NULL, read_all, &readers[i]) != 0)
            exit(1);
    }
    for (size_t i = 0; i < READERS; i++)
        pthread_join(ids[i], NULL);
    spent = now() - start;
    *p50 = percentile(readers, 0.5, rate, spent);
    p99 = percentile(readers, 0.99, rate, spent);
    for (size_t i = 0; i < READERS; i++)
        free(readers[i].times);
    return p99;
}

static void beside_writer(vecdb_collection *collection, struct full_speed *writer, const char *name, double alone)
{
    double p50, p99, rate, start = now();
    char what[80];
    pthread_t id;

    if (pthread_create(&id, NULL, write_all, writer) != 0)
        exit(1);
    p99 = run_readers(collection, &p50, &rate);
    atomic_store(&writer->stop, true);
    pthread_join(id, NULL);
    start = now() - start;
#define MIXED(text, ...) (snprintf(what, sizeof what, "mixed, %s: " text, name), line(what, __VA_ARGS__))
    MIXED("rows written", (double)writer->rows / start, "rows/s", ' ', 0);
    MIXED("searches", rate, "1/s", ' ', 0);
    MIXED("p50", p50, "ms", ' ', 0);
    MIXED("p99", p99, "ms", ' ', 0);
    MIXED("p99 over p99 alone", p99 / alone, "times", '<', 3);
}

/* On a copy: the rows that are written are not to stay. */
static void measure_mixed(const char *path)
{
    struct full_speed single = {.batch = 1, .durability = VECDB_DURABILITY_FULL, .next_key = 1000000000};
    struct full_speed bulk = {.batch = 1000, .durability = VECDB_DURABILITY_NORMAL, .next_key = 2000000000};
    double alone, p50, rate;
    char copy[600];
    vecdb_db *db;
    vecdb_collection *collection;

    snprintf(copy, sizeof copy, "%s/vecdb-bench-mixed", dir);
    remove_tree(copy);
    open_db(path, 2, &db, &collection);
    need(vecdb_backup(db, copy, NULL, NULL), "backup");
    close_db(&db, &collection);
    open_db(copy, 2, &db, &collection);
    single.collection = bulk.collection = collection;
    (void)run_readers(collection, &p50, &rate); /* to warm up */
    alone = run_readers(collection, &p50, &rate);
    line("mixed, readers alone: searches", rate, "1/s", ' ', 0);
    line("mixed, readers alone: p50", p50, "ms", ' ', 0);
    line("mixed, readers alone: p99", alone, "ms", ' ', 0);
    beside_writer(collection, &single, "1 row a call, full", alone);
    beside_writer(collection, &bulk, "1000 rows a call, normal", alone);
    close_db(&db, &collection);
    remove_tree(copy);
}

static void take_argument(const char *argument)
{
    const char *equals = strchr(argument, '=');
    size_t length = equals ? (size_t)(equals - argument) : 0;

#define TAKE(name, target, value)                                                                                      \
    if (length == strlen(name) && memcmp(argument, name, length) == 0) {                                               \
        target = value;                                                                                                \
        return;                                                                                                        \
    }
    TAKE("dir", dir, equals + 1)
    TAKE("rows", row_count, strtoull(equals + 1, NULL, 0))
    TAKE("dim", dim, strtoull(equals + 1, NULL, 0))
    TAKE("batch", batch_rows, strtoull(equals + 1, NULL, 0))
    TAKE("kind", kind, equals + 1)
    TAKE("params", params, equals + 1)
    TAKE("seconds", seconds, atof(equals + 1))
    TAKE("fresh", fresh_rows, (uint32_t)strtoull(equals + 1, NULL, 0))
    TAKE("only", only, equals + 1)
    TAKE("keep", keep, equals + 1)
    fprintf(stderr, "store: unknown argument %s\n", argument);
    exit(2);
}

int main(int argument_count, char **arguments)
{
    char large[600];

    if (argument_count == 4 && strncmp(arguments[1], "idle-", 5) == 0)
        return idle_child(arguments[2], atoi(arguments[3]), strcmp(arguments[1], "idle-rival") == 0);
    for (int i = 1; i < argument_count; i++)
        take_argument(arguments[i]);
    printf("# vecdb %s, %zu rows x %zu, batches of %zu, in %s; SQLite %s\n", vecdb_version(), row_count, dim, batch_rows, dir,
           sqlite_version() ? sqlite_version() : "was not there when this was built");
    if (wanted("insert"))
        measure_insert();
    if (wanted("single"))
        measure_single();
    if (keep)
        snprintf(large, sizeof large, "%s", keep);
    else
        snprintf(large, sizeof large, "%s/vecdb-bench-large", dir);
    if (wanted("make") || wanted("open") || wanted("get") || wanted("idle") || wanted("mixed"))
        make_large(large);
    if (wanted("open"))
        measure_open(large);
    if (wanted("get"))
        measure_get(large);
    if (wanted("idle"))
        measure_idle(large);
    if (wanted("mixed"))
        measure_mixed(large);
    if (!keep)
        remove_tree(large);
    sqlite_path(large, sizeof large);
    sqlite_remove(large);
    printf("missed: %zu\n", missed);
    return missed != 0;
}
