/* FLAT and the cluster kinds by themselves: build one index over an .npy matrix, search it, print recall and speed.
 *
 *   bench_ivf BASE.npy QUERY.npy TRUTH.ivecs METRIC KIND [build=PARAMS] [search=PARAMS]... [k=10] [threads=1]
 *             [build_threads=1] [cache=FILE] [single=N] [batch=N] [rounds=3]
 *
 * single: queries asked one call each; batch: in one call. Rates are medians over the rounds. KIND "scan" is exact
 * search without an index. */
#include "driver.h"

#include "base/buf.h"
#include "base/mem.h"
#include "index/flat.h"
#include "index/index.h"
#include "simd/kernels.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(const char *what) { errx(1, "%s: %s", what, error_last()->message); }

static vecdb_status run(struct index *index, const struct vectors *vectors, vecdb_metric metric,
                        const struct index_search *search, struct hit *hits, size_t *counts,
                        struct index_counters *counters)
{
    return index ? index->ops->search(index, search, hits, counts, counters)
                 : flat_search(vectors, metric, search, hits, counts, counters);
}

int main(int argc, char **argv)
{
    if (argc < 6) {
        fprintf(stderr, "usage: bench_ivf BASE.npy QUERY.npy TRUTH.ivecs METRIC KIND [name=value]...\n");
        return 2;
    }
    struct matrix base = matrix_read(argv[1], 0), query = matrix_read(argv[2], 0), truth = matrix_read(argv[3], 0);
    vecdb_metric metric = metric_from_name(argv[4]);
    const struct index_ops *ops = index_find(argv[5]);
    size_t k = number_option(argc, argv, "k", 10);
    size_t single = number_option(argc, argv, "single", 200);
    size_t batch = number_option(argc, argv, "batch", 1000);
    size_t rounds = number_option(argc, argv, "rounds", 3);
    unsigned threads = (unsigned)number_option(argc, argv, "threads", 1);
    const uint8_t *blocks[1] = {(const uint8_t *)base.data};
    struct vectors vectors = {.type = VECDB_TYPE_FLOAT_VECTOR, .dim = (uint32_t)base.dim, .width = base.dim * 4,
                              .stride = base.dim * 4, .row_count = base.rows, .block_shift = 40, .blocks = blocks};
    struct pool *pool = NULL;
    struct index *index = NULL;
    struct params params;

    if (rounds > 64 || rounds < 1 || k > truth.dim)
        return 2;
    unsigned build_threads = (unsigned)number_option(argc, argv, "build_threads", 1);
    struct pool *build_pool = NULL;
    if (pool_create(build_threads, &build_pool) != VECDB_OK || (threads > 1 && pool_create(threads, &pool) != VECDB_OK))
        fail("pool");
    printf("%s, %zu x %zu, %s %s %s, %u threads\n", simd_name(), base.rows, base.dim, argv[4], argv[5],
           option(argc, argv, "build", ""), threads);
    if (ops) {
        struct index_build_context context = {.pool = build_pool, .seed = 42};
        double start = now();
        const char *cache = option(argc, argv, "cache", NULL);
        struct buf stored = {0};
        if (params_parse(argv[5], ops->build_params, ops->search_params, option(argc, argv, "build", ""), &params) !=
            VECDB_OK)
            fail("build");
        if (cache && (stored.data = read_whole(cache, &stored.size))) {
            if (ops->open(stored.data, stored.size, &vectors, metric, &params, &index) != VECDB_OK)
                fail(cache);
        } else if (ops->build(&vectors, metric, &params, &context, &index) != VECDB_OK) {
            fail("build");
        } else if (cache) {
            if (ops->save(index, &stored) != VECDB_OK)
                fail(cache);
            write_whole(cache, stored.data, stored.size);
        }
        printf("build %.2f s, %.1f MB, %.1f bytes a row\n", now() - start, (double)ops->memory(index) / 1e6,
               (double)ops->memory(index) / (double)base.rows);
    }
    struct hit *hits = mem_array_alloc((batch > single ? batch : single) * k, sizeof *hits);
    size_t *counts = mem_array_alloc(batch > single ? batch : single, sizeof *counts);
    int sweeps = 0;
    for (int i = 6; i <= argc; i++) {
        if (i < argc ? strncmp(argv[i], "search=", 7) != 0 : sweeps > 0)
            continue;
        const char *text = i < argc ? argv[i] + 7 : "";
        sweeps++;
        if (ops && params_parse(argv[5], ops->search_params, ops->build_params, text, &params) != VECDB_OK)
            fail("search");
        for (int mode = 0; mode < 2; mode++) {
            size_t n = mode ? batch : single;
            double rates[64] = {0};
            struct index_counters counters = {0};
            struct index_search search = {.query_stride = query.dim * 4, .k = k, .params = &params, .pool = pool};
            if (n > query.rows)
                n = query.rows;
            if (n == 0)
                continue;
            for (size_t round = 0; round < rounds; round++) {
                double start = now();
                counters = (struct index_counters){0};
                for (size_t q = 0; q < n; q += search.query_count) {
                    search.query_count = mode ? n : 1;
                    search.queries = query.floats + q * query.dim;
                    if (run(index, &vectors, metric, &search, hits + q * k, counts + q, &counters) != VECDB_OK)
                        fail("search");
                }
                rates[round] = (double)n / (now() - start);
            }
            qsort(rates, rounds, sizeof *rates, by_value);
            size_t found = 0, asked = n < truth.rows ? n : truth.rows;
            for (size_t q = 0; q < asked; q++)
                for (size_t j = 0; j < counts[q]; j++)
                    for (size_t t = 0; t < k; t++)
                        found += (int32_t)hits[q * k + j].row == truth.ints[q * truth.dim + t];
            printf("%-28s %-6s recall@%zu %.4f  %10.1f QPS (best %.1f)  scored %.0f reranked %.1f lists %.1f\n", text,
                   mode ? "batch" : "single", k, (double)found / (double)(asked * k), rates[rounds / 2],
                   rates[rounds - 1], (double)counters.rows_scored / (double)n, (double)counters.reranked / (double)n,
                   (double)counters.hops / (double)n);
            fflush(stdout);
        }
    }
    return 0;
}
