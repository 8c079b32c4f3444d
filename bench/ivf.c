/* FLAT and the cluster kinds by themselves: build one index over an .npy matrix, search it, print recall and speed.
 *
 *   bench_ivf BASE.npy QUERY.npy TRUTH.ivecs METRIC KIND [build=PARAMS] [search=PARAMS]... [k=10] [threads=1]
 *             [build_threads=1] [cache=FILE] [single=N] [batch=N] [rounds=3]
 *
 * single: queries asked one call each; batch: in one call. Rates are medians over the rounds. KIND "scan" is exact
 * search without an index. */
#include "base/buf.h"
#include "base/mem.h"
#include "index/flat.h"
#include "index/index.h"
#include "simd/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct matrix {
    float *data;
    size_t rows, dim;
};

static double now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + 1e-9 * (double)at.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_ivf: %s: %s\n", what, error_last()->message);
    exit(1);
}

static struct matrix read_npy(const char *path)
{
    struct matrix out = {0};
    char header[4096] = {0};
    uint8_t start[10];
    const char *shape;
    FILE *file = fopen(path, "rb");

    if (!file || fread(start, 1, 10, file) != 10)
        fail(path);
    size_t length = (size_t)start[8] | (size_t)start[9] << 8;
    if (length >= sizeof header || fread(header, 1, length, file) != length || !strstr(header, "<f4") ||
        !(shape = strstr(header, "'shape': (")) || sscanf(shape + 10, "%zu, %zu", &out.rows, &out.dim) != 2)
        fail(path);
    out.data = mem_aligned_alloc(1 << 21, out.rows * out.dim * 4);
    if (!out.data || fread(out.data, out.dim * 4, out.rows, file) != out.rows)
        fail(path);
    fclose(file);
    return out;
}

static int32_t *read_ivecs(const char *path, size_t *count, size_t *width)
{
    FILE *file = fopen(path, "rb");
    int32_t k, *out;

    if (!file || fread(&k, 4, 1, file) != 1)
        fail(path);
    fseek(file, 0, SEEK_END);
    *count = (size_t)ftell(file) / (4 * ((size_t)k + 1));
    *width = (size_t)k;
    out = mem_array_alloc(*count, (size_t)k * 4);
    rewind(file);
    for (size_t i = 0; i < *count; i++)
        if (fread(&k, 4, 1, file) != 1 || fread(out + i * *width, 4, *width, file) != *width)
            fail(path);
    fclose(file);
    return out;
}

/* A file in aligned memory; false when there is none. */
static bool read_file(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "rb");

    if (!file)
        return false;
    fseek(file, 0, SEEK_END);
    out->size = (size_t)ftell(file);
    rewind(file);
    out->data = mem_aligned_alloc(1 << 21, out->size + 1);
    if (!out->data || fread(out->data, 1, out->size, file) != out->size)
        fail(path);
    fclose(file);
    return true;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static const char *option(int argc, char **argv, const char *name, const char *fallback)
{
    size_t n = strlen(name);

    for (int i = 6; i < argc; i++)
        if (strncmp(argv[i], name, n) == 0 && argv[i][n] == '=')
            return argv[i] + n + 1;
    return fallback;
}

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
    struct matrix base = read_npy(argv[1]), query = read_npy(argv[2]);
    size_t truth_count, truth_width;
    int32_t *truth = read_ivecs(argv[3], &truth_count, &truth_width);
    vecdb_metric metric = metric_from_name(argv[4]);
    const struct index_ops *ops = index_find(argv[5]);
    size_t k = strtoul(option(argc, argv, "k", "10"), NULL, 10);
    size_t single = strtoul(option(argc, argv, "single", "200"), NULL, 10);
    size_t batch = strtoul(option(argc, argv, "batch", "1000"), NULL, 10);
    size_t rounds = strtoul(option(argc, argv, "rounds", "3"), NULL, 10);
    unsigned threads = (unsigned)strtoul(option(argc, argv, "threads", "1"), NULL, 10);
    const uint8_t *blocks[1] = {(const uint8_t *)base.data};
    struct vectors vectors = {.type = VECDB_TYPE_FLOAT_VECTOR, .dim = (uint32_t)base.dim, .width = base.dim * 4,
                              .stride = base.dim * 4, .row_count = base.rows, .block_shift = 40, .blocks = blocks};
    struct pool *pool = NULL;
    struct index *index = NULL;
    struct params params;

    if (rounds > 64 || rounds < 1 || k > truth_width)
        return 2;
    unsigned build_threads = (unsigned)strtoul(option(argc, argv, "build_threads", "1"), NULL, 10);
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
        if (cache && read_file(cache, &stored)) {
            if (ops->open(stored.data, stored.size, &vectors, metric, &params, &index) != VECDB_OK)
                fail(cache);
        } else if (ops->build(&vectors, metric, &params, &context, &index) != VECDB_OK) {
            fail("build");
        } else if (cache) {
            FILE *file = fopen(cache, "wb");
            if (!file || ops->save(index, &stored) != VECDB_OK ||
                fwrite(stored.data, 1, stored.size, file) != stored.size || fclose(file) != 0)
                fail(cache);
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
                    search.queries = query.data + q * query.dim;
                    if (run(index, &vectors, metric, &search, hits + q * k, counts + q, &counters) != VECDB_OK)
                        fail("search");
                }
                rates[round] = (double)n / (now() - start);
            }
            qsort(rates, rounds, sizeof *rates, by_value);
            size_t found = 0, asked = n < truth_count ? n : truth_count;
            for (size_t q = 0; q < asked; q++)
                for (size_t j = 0; j < counts[q]; j++)
                    for (size_t t = 0; t < k; t++)
                        found += (int32_t)hits[q * k + j].row == truth[q * truth_width + t];
            printf("%-28s %-6s recall@%zu %.4f  %10.1f QPS (best %.1f)  scored %.0f reranked %.1f lists %.1f\n", text,
                   mode ? "batch" : "single", k, (double)found / (double)(asked * k), rates[rounds / 2],
                   rates[rounds - 1], (double)counters.rows_scored / (double)n, (double)counters.reranked / (double)n,
                   (double)counters.hops / (double)n);
            fflush(stdout);
        }
    }
    return 0;
}
