/* Graph kinds by themselves: build over .fvecs files, sweep the search effort, print recall@10, speed, distances and bytes.
 *
 *   graph BASE.fvecs QUERIES.fvecs TRUTH.ivecs [metric=L2] [kind=HNSW] [build=...] [search=...] [threads=2] [nq=1000]
 *         [rounds=3] [mode=one|batch] [save=FILE] [load=FILE] [rows=N] [add=1] [merge=1] [ef=16,32,64]
 *
 * `search` is put in front of each ef of the sweep; with search=recall=... and ef=0 the calibrated effort is used. */
#include "base/mem.h"
#include "index/hnsw.h"
#include "index/index.h"
#include "schema/type.h"
#include "simd/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct matrix {
    int32_t *data;
    size_t rows, dim;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Of all threads: what a busy machine does not stretch. */
static double cpu(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void need(vecdb_status status)
{
    if (status != VECDB_OK) {
        fprintf(stderr, "graph: %s\n", error_last()->message);
        exit(1);
    }
}

static struct matrix load(const char *path)
{
    struct matrix m = {0};
    FILE *file = fopen(path, "rb");
    int32_t dim;
    long size;

    if (!file || fread(&dim, 4, 1, file) != 1 || dim <= 0)
        fprintf(stderr, "graph: cannot read %s\n", path), exit(1);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    m.dim = (size_t)dim;
    m.rows = (size_t)size / (4 * (m.dim + 1));
    m.data = mem_aligned_alloc(1 << 21, m.rows * m.dim * 4);
    for (size_t i = 0; i < m.rows; i++)
        if (fread(&dim, 4, 1, file) != 1 || fread(m.data + i * m.dim, 4, m.dim, file) != m.dim)
            exit(1);
    fclose(file);
    return m;
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise)
{
    size_t length = strlen(name);

    for (int i = 4; i < argc; i++)
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=')
            return argv[i] + length + 1;
    return otherwise;
}

static bool show_progress(void *context, const char *stage, uint64_t done, uint64_t total)
{
    static char last[64];
    static double began, began_cpu;

    if (strcmp(last, stage)) {
        if (*last && now() - began > 0.02)
            fprintf(stderr, "  %-16s %6.2f s, %6.2f s of processor\n", last, now() - began, cpu() - began_cpu);
        snprintf(last, sizeof last, "%s", stage);
        began = now();
        began_cpu = cpu();
    }
    return true;
}

static struct index *open_file(const struct index_ops *ops, const char *path, struct vectors *vectors, vecdb_metric metric,
                               const struct params *params)
{
    FILE *file = fopen(path, "rb");
    struct index *index;
    uint8_t *data;
    long size;

    if (!file)
        fprintf(stderr, "graph: cannot read %s\n", path), exit(1);
    fseek(file, 0, SEEK_END);
    size = ftell(file);
    rewind(file);
    data = mem_aligned_alloc(4096, (size_t)size);
    if (fread(data, 1, (size_t)size, file) != (size_t)size)
        exit(1);
    fclose(file);
    need(ops->open(data, (size_t)size, vectors, metric, params, &index));
    return index;
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
    bool batch;

    if (argc < 4)
        return fprintf(stderr, "usage: graph BASE QUERIES TRUTH [name=value]...\n"), 2;
    base = load(argv[1]);
    queries = load(argv[2]);
    truth = load(argv[3]);
    ops = index_find(option(argc, argv, "kind", "HNSW"));
    metric = metric_from_name(option(argc, argv, "metric", "L2"));
    rounds = (size_t)atoi(option(argc, argv, "rounds", "3"));
    batch = !strcmp(option(argc, argv, "mode", "one"), "batch");
    nq = (size_t)atoi(option(argc, argv, "nq", "1000"));
    if (nq > truth.rows)
        nq = truth.rows;
    need(pool_create((unsigned)atoi(option(argc, argv, "threads", "2")), &context.pool));
    vectors.dim = (uint32_t)base.dim;
    vectors.width = vectors.stride = base.dim * 4;
    vectors.row_count = (size_t)atol(option(argc, argv, "rows", "0"));
    if (!vectors.row_count || vectors.row_count > base.rows)
        vectors.row_count = base.rows;
    block = (const uint8_t *)base.data;
    vectors.blocks = &block;
    need(params_parse("index", ops->build_params, ops->search_params, option(argc, argv, "build", ""), &build_params));
    start = now();
    start_cpu = cpu();
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
        start_cpu = cpu();
        need(ops->merge(&vectors, metric, &build_params, parts, (const uint32_t *const *)maps, 2, &context, &index));
        for (size_t p = 0; p < 2; p++) {
            ops->free(parts[p]);
            mem_free(maps[p]);
        }
    } else
        need(ops->build(&vectors, metric, &build_params, &context, &index));
    show_progress(NULL, "", 0, 0);
    printf("%s %s: %zu x %zu, %s, ready in %.2f s (%.2f of processor), %.0f MB beside the vectors\n", ops->name, metric_name(metric),
           vectors.row_count, base.dim, simd_name(), now() - start, cpu() - start_cpu, (double)ops->memory(index) / 1e6);
    if (ops->check)
        need(ops->check(index));
    if (*option(argc, argv, "save", "")) {
        struct buf out = {0};
        FILE *file = fopen(option(argc, argv, "save", ""), "wb");
        need(ops->save(index, &out));
        if (!file || fwrite(out.data, 1, out.size, file) != out.size || fclose(file))
            return 1;
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
            start_cpu = cpu();
            if (batch)
                need(ops->search(index, &search, hits, all_counts, &counters));
            else {
                search.query_count = 1;
                for (size_t q = 0; q < nq; q++) {
                    search.queries = queries.data + q * base.dim;
                    need(ops->search(index, &search, hits + q * k, counts, &counters));
                }
            }
            best = now() - start < best ? now() - start : best;
            best_cpu = cpu() - start_cpu < best_cpu ? cpu() - start_cpu : best_cpu;
        }
        for (size_t q = 0; q < nq; q++)
            for (size_t i = 0; i < k; i++)
                for (size_t j = 0; j < k; j++)
                    found += hits[q * k + i].row == (uint32_t)truth.data[q * truth.dim + j];
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
