/* What a second thread is worth: single searches through the public interface, each thread asking its own, beside what the machine
 * itself gives to two threads at once.
 *
 *   threads BASE QUERIES [metric=L2] [index=HNSW] [params=M=16,efConstruction=200] [search=ef=10;ef=24;ef=128] [rows=N]
 *           [rounds=9] [window=100] [threads=2] [k=10]
 *
 * One thread and all threads search by turns, each for `window` ms of a clock that starts when all are running, so that neither
 * the start of a thread nor its end counts. `probe` is the same of work that shares nothing: products of bytes in registers; lines at random
 * of each thread's own 256 MB, 16 asked for ahead; the same of 4 MB each, which lie in the cache that the cores share. Medians over the rounds; a thread
 * of another program, or of the host's, takes from two threads and not from one. */
#include "driver.h"

#include "vecdb.h"

#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_THREADS 64
#define LINE 64
#define AHEAD 16

static void need(vecdb_status status)
{
    if (status < 0)
        errx(1, "%s", vecdb_last_error());
}

/* What all threads of a window have in common. */
struct window {
    pthread_barrier_t gate;
    double seconds;
    vecdb_collection *rows;
    const struct matrix *queries;
    const char *search;
    size_t k, probe_bytes; /* 0: registers */
};

struct worker {
    struct window *window;
    pthread_t thread;
    size_t number;
    uint8_t *memory;
    double rate; /* searches, or lines, a second */
    char apart[2 * LINE];
};

static double search_some(const struct worker *worker, double end)
{
    const struct window *window = worker->window;
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    size_t count, done = 0, at = worker->number * window->queries->rows / MAX_THREADS;
    int64_t keys[1024];
    float scores[1024];

    request.dim = (uint32_t)window->queries->dim;
    request.query_type = VECDB_TYPE_FLOAT_VECTOR;
    request.query_count = 1;
    request.limit = window->k;
    request.params = window->search;
    do {
        for (int i = 0; i < 16; i++, done++, at++) {
            request.queries = window->queries->floats + at % window->queries->rows * window->queries->dim;
            need(vecdb_search_into(window->rows, &request, keys, scores, &count));
        }
    } while (now() < end);
    return (double)done;
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    return *state ^= *state << 17;
}

static double probe_some(const struct worker *worker, double end)
{
    uint64_t state = 88172645463325252ull + worker->number, ahead[AHEAD] = {0}, sum = 1;
    size_t lines = worker->window->probe_bytes / LINE, done = 0;

    do {
        for (size_t i = 0; i < 4096; i++, done++) {
            if (lines) {
                sum += worker->memory[ahead[i % AHEAD]];
                ahead[i % AHEAD] = next_random(&state) % lines * LINE;
                __builtin_prefetch(worker->memory + ahead[i % AHEAD]);
            } else
                sum = sum * 6364136223846793005ull + 1442695040888963407ull;
        }
    } while (now() < end);
    *(volatile uint8_t *)&worker->memory[0] += (uint8_t)(sum & 1);
    return (double)done;
}

static void *work(void *context)
{
    struct worker *worker = context;
    double start, done;

    pthread_barrier_wait(&worker->window->gate);
    start = now();
    if (worker->window->search)
        done = search_some(worker, start + worker->window->seconds);
    else
        done = probe_some(worker, start + worker->window->seconds);
    worker->rate = done / (now() - start);
    return NULL;
}

static double rate(struct window *window, struct worker *workers, size_t threads)
{
    double sum = 0;

    pthread_barrier_init(&window->gate, NULL, (unsigned)threads);
    for (size_t t = 0; t < threads; t++) {
        workers[t].window = window;
        workers[t].number = t;
        if (t && pthread_create(&workers[t].thread, NULL, work, &workers[t]))
            errx(1, "no thread");
    }
    work(&workers[0]);
    for (size_t t = 1; t < threads; t++)
        pthread_join(workers[t].thread, NULL);
    pthread_barrier_destroy(&window->gate);
    for (size_t t = 0; t < threads; t++)
        sum += workers[t].rate;
    return sum;
}

static void show(const char *what, struct window *window, struct worker *workers, size_t threads, size_t rounds)
{
    double one[256], all[256], ratio[256];

    for (size_t r = 0; r < rounds; r++) {
        one[r] = rate(window, workers, 1);
        all[r] = rate(window, workers, threads);
        ratio[r] = all[r] / one[r];
    }
    qsort(one, rounds, sizeof *one, by_value);
    qsort(all, rounds, sizeof *all, by_value);
    qsort(ratio, rounds, sizeof *ratio, by_value);
    printf("%-32s %12.0f /s on one thread, %12.0f on %zu: %.2f times (%.2f - %.2f)\n", what, one[rounds / 2], all[rounds / 2], threads,
           ratio[rounds / 2], ratio[rounds / 4], ratio[rounds - 1 - rounds / 4]);
    fflush(stdout);
}

static vecdb_collection *fill(vecdb_db *db, const struct matrix *base, int argc, char **argv)
{
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_collection *rows;
    int64_t *ids = malloc(base->rows * sizeof *ids);
    vecdb_field fields[2] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                             {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = (uint32_t)base->dim}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;

    schema.name = "rows";
    schema.fields = fields;
    schema.field_count = 2;
    need(vecdb_collection_create(db, &schema, &rows));
    for (size_t i = 0; i < base->rows; i++)
        ids[i] = (int64_t)i;
    for (size_t at = 0; at < base->rows; at += 20000) {
        vecdb_column columns[2] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids + at},
                                   {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .data = base->floats + at * base->dim,
                                    .dim = (uint32_t)base->dim}};
        batch.columns = columns;
        batch.column_count = 2;
        batch.row_count = base->rows - at < 20000 ? base->rows - at : 20000;
        need(vecdb_insert(rows, &batch, NULL));
    }
    free(ids);
    index.field = "v";
    index.type = option(argc, argv, "index", "HNSW");
    index.metric = strcmp(option(argc, argv, "metric", "L2"), "COSINE") ? VECDB_METRIC_L2 : VECDB_METRIC_COSINE;
    index.params = option(argc, argv, "params", "M=16, efConstruction=200");
    need(vecdb_index_create(rows, &index));
    need(vecdb_optimize(rows, NULL, NULL));
    return rows;
}

int main(int argc, char **argv)
{
    vecdb_open_options open = VECDB_OPEN_OPTIONS_INIT;
    struct matrix base, queries;
    struct worker *workers;
    struct window window = {0};
    size_t threads, rounds, probes[] = {0, (size_t)4 << 20, (size_t)256 << 20};
    const char *names[] = {"probe: registers", "probe: 4 MB each", "probe: 256 MB each"};
    char efs[256];
    vecdb_db *db;

    if (argc < 3)
        return fprintf(stderr, "usage: threads BASE QUERIES [name=value]...\n"), 2;
    base = matrix_read(argv[1], number_option(argc, argv, "rows", 0));
    queries = matrix_read(argv[2], 0);
    threads = number_option(argc, argv, "threads", 2);
    rounds = number_option(argc, argv, "rounds", 9);
    window = (struct window){.seconds = 1e-3 * (double)number_option(argc, argv, "window", 100), .queries = &queries,
                             .k = number_option(argc, argv, "k", 10)};
    if (!threads || threads > MAX_THREADS || !rounds || rounds > 256 || window.k > 1024)
        errx(2, "threads are 1 to %d, rounds 1 to 256, k 1 to 1024", MAX_THREADS);
    workers = calloc(threads, sizeof *workers);
    open.threads = 2;
    open.durability = VECDB_DURABILITY_NONE;
    need(vecdb_open(NULL, &open, &db));
    window.rows = fill(db, &base, argc, argv);
    matrix_free(&base);
    for (size_t t = 0; t < threads; t++)
        if (!(workers[t].memory = aligned_alloc(LINE, probes[2])))
            errx(1, "no memory");
    for (size_t t = 0; t < threads; t++)
        memset(workers[t].memory, 1, probes[2]);
    for (size_t p = 0; p < 3; p++) {
        window.probe_bytes = probes[p];
        show(names[p], &window, workers, threads, rounds);
    }
    snprintf(efs, sizeof efs, "%s", option(argc, argv, "search", "ef=10;ef=24;ef=128"));
    for (char *save = NULL, *text = strtok_r(efs, ";", &save); text; text = strtok_r(NULL, ";", &save)) {
        window.search = text;
        show(text, &window, workers, threads, rounds);
    }
    vecdb_collection_close(&window.rows);
    need(vecdb_close(&db));
    return 0;
}
