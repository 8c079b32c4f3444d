/* Graph kinds by themselves: build over .fvecs files, sweep the search effort, print recall@10, speed, distances and bytes.
 *
 *   graph BASE.fvecs QUERIES.fvecs TRUTH.ivecs [metric=L2] [kind=HNSW] [build=...] [search=...] [threads=2] [nq=1000]
 *         [rounds=3] [mode=one|batch|scale] [save=FILE] [load=FILE] [rows=N] [add=1] [merge=1] [ef=16,32,64]
 *
 * `search` is put in front of each ef of the sweep; with search=recall=... and ef=0 the calibrated effort is used. mode=one asks
 * one query at a time, mode=batch all at once on all threads. mode=scale asks one at a time on one thread and then on each of
 * all, and in batches on one and on all, by turns, and prints what the threads are worth: medians over the rounds. */
#include "driver.h"

#include "base/mem.h"
#include "index/hnsw.h"
#include "index/index.h"
#include "schema/type.h"
#include "simd/kernels.h"

#include <err.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(vecdb_status status)
{
    if (status != VECDB_OK)
        errx(1, "%s", error_last()->message);
}

static bool show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    static char last[64];
    static double began, began_cpu;

    if (strcmp(last, stage)) {
        if (*last && now() - began > 0.02)
            fprintf(stderr, "  %-16s %6.2f s, %6.2f s of processor\n", last, now() - began, processor_time() - began_cpu);
        snprintf(last, sizeof last, "%s", stage);
        began = now();
        began_cpu = processor_time();
    }
    return true;
}

static struct index *open_file(const struct index_ops *ops, const char *path, struct vectors *vectors, vecdb_metric metric,
                               const struct params *params)
{
    struct index *index;
    size_t size;
    void *data = read_whole(path, &size);

    if (!data)
        err(1, "%s", path);
    need(ops->open(data, size, vectors, metric, params, &index));
    return index;
}

/* All queries, one at a time, by one thread. */
struct asker {
    const struct index *index;
    struct index_search search; /* of all */
    struct hit *hits;
    pthread_t thread;
};

static void *ask_each(void *context)
{
    struct asker *asker = context;
    struct index_search search = asker->search;
    struct index_counters counters = {0};
    size_t count;

    search.query_count = 1;
    for (size_t q = 0; q < asker->search.query_count; q++) {
        need(asker->index->ops->search(asker->index, &search, asker->hits + q * search.k, &count, &counters));
        search.queries = (const uint8_t *)search.queries + search.query_stride;
    }
    return NULL;
}

/* Queries a second of so many threads. */
static double rate_of_each(struct asker *askers, size_t count)
{
    double start = now();

    for (size_t t = 1; t < count; t++)
        if (pthread_create(&askers[t].thread, NULL, ask_each, &askers[t]))
            errx(1, "no thread");
    ask_each(&askers[0]);
    for (size_t t = 1; t < count; t++)
        pthread_join(askers[t].thread, NULL);
    return (double)(count * askers[0].search.query_count) / (now() - start);
}

static double rate_of_batch(const struct asker *asker, size_t *counts, struct pool *pool)
{
    struct index_search search = asker->search;
    struct index_counters counters = {0};
    double start = now();

    search.pool = pool;
    need(asker->index->ops->search(asker->index, &search, asker->hits, counts, &counters));
    return (double)search.query_count / (now() - start);
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof *values, compare_doubles);
    return values[n / 2];
}

static void show_scale(const struct index *index, const struct index_search *search, struct pool *pool, size_t rounds,
                       const char *text)
{
    size_t threads = pool_threads(pool), hits = search->query_count * search->k;
    struct asker *askers = mem_array_zalloc(threads, sizeof *askers);
    double *rates = mem_array_alloc(rounds * 6, sizeof *rates);
    size_t *counts = mem_array_alloc(search->query_count, sizeof *counts);

    for (size_t t = 0; t < threads; t++)
        askers[t] = (struct asker){.index = index, .search = *search, .hits = mem_array_alloc(hits, sizeof(struct hit))};
    for (size_t r = 0; r < rounds; r++) {
        rates[r] = rate_of_each(askers, 1);
        rates[rounds + r] = rate_of_each(askers, threads);
        rates[2 * rounds + r] = rates[rounds + r] / rates[r];
        rates[3 * rounds + r] = rate_of_batch(&askers[0], counts, NULL);
        rates[4 * rounds + r] = rate_of_batch(&askers[0], counts, pool);
        rates[5 * rounds + r] = rates[4 * rounds + r] / rates[3 * rounds + r];
    }
    for (size_t b = 0; b < 2; b++) {
        double *of = rates + 3 * b * rounds;
        printf("%-24s %s: %8.0f q/s on one thread, %8.0f on %zu, %.2f times\n", text, b ? "in a batch   " : "one at a time",
               median(of, rounds), median(of + rounds, rounds), threads, median(of + 2 * rounds, rounds));
    }
    fflush(stdout);
    for (size_t t = 0; t < threads; t++)
        mem_free(askers[t].hits);
    mem_free(askers);
    mem_free(rates);
    mem_free(counts);
}

/* Distance of a base row, smaller is nearer. */
static double distance_to(vecdb_metric metric, const float *query, const float *row, size_t dim)
{
    double dot = 0, query_square = 0, row_square = 0;

    for (size_t d = 0; d < dim; d++) {
        dot += (double)query[d] * (double)row[d];
        query_square += (double)query[d] * (double)query[d];
        row_square += (double)row[d] * (double)row[d];
    }
    if (metric == VECDB_METRIC_L2)
        return query_square + row_square - 2 * dot;
    return metric == VECDB_METRIC_IP ? -dot : 1 - dot / sqrt(query_square * row_square + 1e-300);
}

/* Hits that are no farther than the k-th of the truth: of rows equally far any will do. */
static size_t count_found(vecdb_metric metric, const struct matrix *base, const float *query, const int32_t *truth,
                          const struct hit *hits, size_t k)
{
    double limit = distance_to(metric, query, base->floats + (size_t)truth[k - 1] * base->dim, base->dim);
    size_t found = 0;

    limit += 1e-6 * fabs(limit) + 1e-7;
    for (size_t i = 0; i < k; i++)
        found += hits[i].row < base->rows &&
                 distance_to(metric, query, base->floats + (size_t)hits[i].row * base->dim, base->dim) <= limit;
    return found;
}

int main(int argc, char **argv)
{
    struct matrix base, queries, truth;
    const struct index_ops *ops;
    struct index_build_context context = {.seed = 1, .progress = show_progress};
    struct params build_params, search_params;
    struct index *index;
    struct vectors vectors = {.type = VECDB_TYPE_FLOAT_VECTOR, .block_shift = 31};
    const uint8_t *block;
    vecdb_metric metric;
    size_t nq, k = 10, rounds, counts[1];
    double start, start_cpu;
    char efs[256];
    bool batch, scale;

    if (argc < 4)
        return fprintf(stderr, "usage: graph BASE QUERIES TRUTH [name=value]...\n"), 2;
    base = matrix_read(argv[1], number_option(argc, argv, "rows", 0));
    queries = matrix_read(argv[2], 0);
    truth = matrix_read(argv[3], 0);
    ops = index_find(option(argc, argv, "kind", "HNSW"));
    metric = metric_from_name(option(argc, argv, "metric", "L2"));
    rounds = number_option(argc, argv, "rounds", 3);
    batch = !strcmp(option(argc, argv, "mode", "one"), "batch");
    scale = !strcmp(option(argc, argv, "mode", "one"), "scale");
    nq = number_option(argc, argv, "nq", 1000);
    if (nq > truth.rows)
        nq = truth.rows;
    need(pool_create((unsigned)number_option(argc, argv, "threads", 2), &context.pool));
    vectors.dim = (uint32_t)base.dim;
    vectors.width = vectors.stride = base.dim * 4;
    vectors.row_count = base.rows;
    block = (const uint8_t *)base.data;
    vectors.blocks = &block;
    need(params_parse("index", ops->build_params, ops->search_params, option(argc, argv, "build", ""), &build_params));
    start = now();
    start_cpu = processor_time();
    if (*option(argc, argv, "load", ""))
        index = open_file(ops, option(argc, argv, "load", ""), &vectors, metric, &build_params);
    else if (*option(argc, argv, "add", "")) {
        struct vectors none = vectors;
        none.row_count = 0;
        need(ops->build(&none, metric, &build_params, &context, &index));
        need(ops->add(index, &vectors, &context));
    } else if (*option(argc, argv, "merge", "")) { /* the first and the second half, built apart */
        struct vectors halves[2] = {vectors, vectors};
        const uint8_t *second = block + vectors.row_count / 2 * vectors.stride;
        struct index *parts[2];
        uint32_t *maps[2];
        halves[0].row_count = vectors.row_count / 2;
        halves[1].row_count = vectors.row_count - halves[0].row_count;
        halves[1].blocks = &second;
        for (size_t p = 0; p < 2; p++) {
            need(ops->build(&halves[p], metric, &build_params, &context, &parts[p]));
            maps[p] = mem_array_alloc(halves[p].row_count, sizeof *maps[p]);
            for (size_t i = 0; i < halves[p].row_count; i++)
                maps[p][i] = (uint32_t)(i + p * halves[0].row_count);
        }
        show_progress(NULL, "", 0, 0);
        start = now();
        start_cpu = processor_time();
        need(ops->merge(&vectors, metric, &build_params, parts, (const uint32_t *const *)maps, 2, &context, &index));
        for (size_t p = 0; p < 2; p++) {
            ops->free(parts[p]);
            mem_free(maps[p]);
        }
    } else
        need(ops->build(&vectors, metric, &build_params, &context, &index));
    show_progress(NULL, "", 0, 0);
    printf("%s %s: %zu x %zu, %s, ready in %.2f s (%.2f of processor), %.0f MB beside the vectors\n", ops->name, metric_name(metric),
           vectors.row_count, base.dim, simd_name(), now() - start, processor_time() - start_cpu, (double)ops->memory(index) / 1e6);
    if (ops->check)
        need(ops->check(index));
    if (*option(argc, argv, "save", "")) {
        struct buf out = {0};
        need(ops->save(index, &out));
        write_whole(option(argc, argv, "save", ""), out.data, out.size);
        buf_deinit(&out);
    }
    snprintf(efs, sizeof efs, "%s", option(argc, argv, "ef", "10,16,24,32,48,64,96,128,192,256"));
    for (char *save = NULL, *ef = strtok_r(efs, ",", &save); ef; ef = strtok_r(NULL, ",", &save)) {
        char text[256];
        struct hit *hits = mem_array_alloc(nq * k, sizeof *hits);
        size_t *all_counts = mem_array_alloc(nq, sizeof *all_counts), found = 0;
        struct index_counters counters = {0};
        double best = 1e30, best_cpu = 1e30;
        snprintf(text, sizeof text, "%s%s%s=%s", option(argc, argv, "search", ""), *option(argc, argv, "search", "") ? ", " : "",
                 ops->search_params[0].name, ef);
        need(params_parse("index", ops->search_params, NULL, text, &search_params));
        for (size_t r = 0; r < rounds; r++) {
            struct index_search search = {.queries = queries.data, .query_count = nq, .query_stride = base.dim * 4, .k = k,
                                          .params = &search_params, .pool = batch ? context.pool : NULL};
            memset(&counters, 0, sizeof counters);
            start = now();
            start_cpu = processor_time();
            if (batch)
                need(ops->search(index, &search, hits, all_counts, &counters));
            else {
                search.query_count = 1;
                for (size_t q = 0; q < nq; q++) {
                    search.queries = queries.floats + q * base.dim;
                    need(ops->search(index, &search, hits + q * k, counts, &counters));
                }
            }
            best = now() - start < best ? now() - start : best;
            best_cpu = processor_time() - start_cpu < best_cpu ? processor_time() - start_cpu : best_cpu;
        }
        if (scale) {
            struct index_search search = {.queries = queries.data, .query_count = nq, .query_stride = base.dim * 4, .k = k,
                                          .params = &search_params};
            show_scale(index, &search, context.pool, rounds, text);
        }
        for (size_t q = 0; q < nq; q++)
            found += count_found(metric, &base, queries.floats + q * base.dim, truth.ints + q * truth.dim, hits + q * k, k);
        printf("%-24s recall %.4f  %8.0f q/s  %7.1f us (%7.1f of processor)  rows %7.1f  hops %6.1f  exact %5.1f\n", text,
               (double)found / (double)(nq * k), (double)nq / best, best / (double)nq * 1e6, best_cpu / (double)nq * 1e6,
               (double)counters.rows_scored / (double)nq, (double)counters.hops / (double)nq,
               (double)counters.reranked / (double)nq);
        fflush(stdout);
        mem_free(hits);
        mem_free(all_counts);
    }
    ops->free(index);
    pool_free(context.pool);
    return 0;
}
