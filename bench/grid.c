/* Filtered search, cell by cell: selectivity x how the filter lies to the vectors x k, through the public interface, one thread,
 * default parameters.
 *
 *   grid BASE QUERIES [index=HNSW] [params=...] [nq=200] [checked=100] [rows=N] [kinds=random,near,...] [ks=1,10,100] [shares=...]
 *        [format=json]
 *
 * A cell's line: kind, share, k, recall, queries with fewer hits than there are, QPS, median and 99th percentile (us), time of
 * scanning the matches, time of unfiltered search divided by the share, and our time over the better of the two. As JSON, a line each: for
 * bench/cells, which makes a table of them.
 * The queries of a cell are asked three times over, and the middle one of a query's three times is its time: an interrupt of the machine takes as long as
 * a few queries, and one query in a hundred meets one. Just before, all are asked unfiltered, so that both are of the same minute, and not of
 * caches that the exact scans have emptied.
 * The columns are those of bench/datasets/attributes.py: ranks from 0 to 999,999. */
#include "driver.h"

#include "base/rng.h"
#include "vecdb.h"

#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCALE 1000000
#define PIVOTS 4
#define MAX_K 100
#define PASSES 3
#define SCANS 15 /* queries that the exact scan is timed with */

static void need(vecdb_status status)
{
    if (status < 0)
        errx(1, "%s", vecdb_last_error());
}

static double *sort_by;
static int compare_at(const void *a, const void *b)
{
    double x = sort_by[*(const uint32_t *)a], y = sort_by[*(const uint32_t *)b];
    return x < y ? -1 : x > y ? 1 : *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

/* Values to their ranks, 0 .. SCALE - 1. */
static int32_t *ranks(double *values, size_t n)
{
    uint32_t *order = malloc(n * sizeof *order);
    int32_t *out = malloc(n * sizeof *out);

    for (size_t i = 0; i < n; i++)
        order[i] = (uint32_t)i;
    sort_by = values;
    qsort(order, n, sizeof *order, compare_at);
    for (size_t i = 0; i < n; i++)
        out[order[i]] = (int32_t)(i * SCALE / n);
    free(order);
    free(values);
    return out;
}

static double l2(const float *a, const float *b, size_t dim)
{
    float sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return (double)sum;
}

static const char *const class_names[] = {"c0001", "c001", "c01", "c05", "c10", "c30", "rest"};
static const double class_shares[] = {0.0001, 0.001, 0.01, 0.05, 0.1, 0.3};
static const double all_shares[] = {0.0001, 0.001, 0.01, 0.05, 0.1, 0.3, 0.6, 0.9, 1.0};
static const char *const labels[] = {"\"c0001\"", "\"c001\"", "\"c01\"", "\"c05\"", "\"c10\"", "\"c30\"",
                                     "\"rest\",\"c05\",\"c01\",\"c001\",\"c0001\"", "\"rest\",\"c30\",\"c05\",\"c01\",\"c001\",\"c0001\"",
                                     "\"rest\",\"c30\",\"c10\",\"c05\",\"c01\",\"c001\",\"c0001\""};
static const char *const kinds[] = {"random", "near", "far", "range", "label"};

struct grid {
    struct matrix base, queries;
    unsigned *pivot;   /* of each query */
    vecdb_collection *rows;
    size_t nq, checked; /* queries timed; those of them whose answers are compared with a scan's */
    const char *params;
    bool json;
};

/* What was measured of a cell at one k. */
struct cell {
    const char *kind;
    double share;      /* of the rows that pass */
    size_t k, fewer;   /* queries with fewer hits than there are */
    double recall, qps;
    double median, p99, scan, unfiltered; /* seconds a query; unfiltered: divided by the share */
    double p99_once;   /* of all times, the machine's interrupts among them */
};

static void fill(struct grid *grid, vecdb_db *db)
{
    static const char *const names[] = {"rnd", "value", "near0", "near1", "near2", "near3"};
    vecdb_field fields[9] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                             {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = (uint32_t)grid->base.dim},
                             {.name = "label", .type = VECDB_TYPE_VARCHAR, .max_length = 8}};
    size_t n = grid->base.rows, dim = grid->base.dim, step = ((size_t)32 << 20) / (dim * 4), start = 0;
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_string *label = malloc(n * sizeof *label);
    uint32_t *order = malloc(n * sizeof *order);
    int64_t *ids = malloc(n * sizeof *ids);
    struct rng rng = rng_seeded(7);
    int32_t *columns[6];
    double *values[6];
    float *direction = malloc(dim * 4);

    for (size_t d = 0; d < dim; d++)
        direction[d] = (float)rng_normal(&rng);
    for (int c = 0; c < 6; c++)
        values[c] = malloc(n * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        const float *row = grid->base.floats + i * dim;
        float dot = 0;
        ids[i] = (int64_t)i;
        for (size_t d = 0; d < dim; d++)
            dot += row[d] * direction[d];
        values[0][i] = rng_unit(&rng);
        values[1][i] = (double)dot;
        for (size_t p = 0; p < PIVOTS; p++)
            values[2 + p][i] = l2(row, grid->queries.floats + p * dim, dim);
        label[i] = (vecdb_string){"rest", 4};
        order[i] = (uint32_t)i;
    }
    for (size_t i = n; i-- > 1;) {
        size_t j = (size_t)rng_below(&rng, i + 1);
        uint32_t swap = order[i];
        order[i] = order[j], order[j] = swap;
    }
    for (int c = 0; c < 6; c++) {
        size_t count = (size_t)(class_shares[c] * (double)n + 0.5);
        for (size_t i = start; i < start + count; i++)
            label[order[i]] = (vecdb_string){class_names[c], strlen(class_names[c])};
        start += count;
        columns[c] = ranks(values[c], n);
        fields[3 + c] = (vecdb_field){.name = names[c], .type = VECDB_TYPE_INT32};
    }
    schema.name = "grid", schema.fields = fields, schema.field_count = 9;
    need(vecdb_collection_create(db, &schema, &grid->rows));
    for (size_t at = 0; at < n; at += step) {
        vecdb_batch batch = VECDB_BATCH_INIT;
        vecdb_column given[9] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids + at},
                                 {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = (uint32_t)dim, .data = grid->base.floats + at * dim},
                                 {.field = "label", .type = VECDB_TYPE_VARCHAR, .data = label + at}};
        for (int c = 0; c < 6; c++)
            given[3 + c] = (vecdb_column){.field = names[c], .type = VECDB_TYPE_INT32, .data = columns[c] + at};
        batch.columns = given, batch.column_count = 9, batch.row_count = n - at < step ? n - at : step;
        need(vecdb_insert(grid->rows, &batch, NULL));
    }
    for (int c = 0; c < 6; c++)
        free(columns[c]);
    free(label), free(order), free(ids), free(direction);
}

/* The filter of a cell for a query. */
static void write_filter(const struct grid *grid, int kind, int share, size_t query, char *out, size_t room)
{
    int limit = (int)(all_shares[share] * SCALE + 0.5);

    switch (kind) {
    case 0:
        snprintf(out, room, "rnd < %d", limit);
        return;
    case 1:
        snprintf(out, room, "near%u < %d", grid->pivot[query], limit);
        return;
    case 2:
        snprintf(out, room, "near%u >= %d", grid->pivot[query], SCALE - limit);
        return;
    case 3:
        snprintf(out, room, "%d <= value < %d", (SCALE - limit) / 2, (SCALE - limit) / 2 + limit);
        return;
    default:
        snprintf(out, room, "label in [%s]", labels[share]);
    }
}

static double ask(const struct grid *grid, size_t query, const char *filter, size_t k, bool exact, int64_t *keys, float *scores, size_t *count)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    double start;

    request.field = "v", request.queries = grid->queries.floats + query * grid->queries.dim, request.dim = (uint32_t)grid->queries.dim;
    request.query_count = 1, request.limit = k, request.filter = filter, request.exact = exact;
    request.metric = VECDB_METRIC_L2;
    request.params = exact ? NULL : grid->params;
    start = now();
    need(vecdb_search_into(grid->rows, &request, keys, scores, count));
    return now() - start;
}

static int compare_times(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(double *times, size_t n, double *p99, double *sum)
{
    *sum = 0;
    for (size_t i = 0; i < n; i++)
        *sum += times[i];
    qsort(times, n, sizeof *times, compare_times);
    *p99 = times[n * 99 / 100];
    return times[n / 2];
}

static void print_cell(const struct cell *cell, bool json)
{
    double best = cell->scan < cell->unfiltered ? cell->scan : cell->unfiltered;

    printf(json ? "{\"kind\": \"%s\", \"share\": %g, \"k\": %zu, \"recall\": %.4f, \"fewer\": %zu, \"qps\": %.0f, \"median_us\": %.2f, "
                  "\"p99_us\": %.2f, \"scan_us\": %.2f, \"unfiltered_us\": %.2f, \"p99_once_us\": %.2f}\n"
                : "%-6s %8.6f k=%-3zu recall %.4f fewer %zu QPS %8.0f median %8.2f p99 %8.2f scan %8.2f unfiltered %8.2f p99 once %8.2f",
           cell->kind, cell->share, cell->k, cell->recall, cell->fewer, cell->qps, cell->median * 1e6, cell->p99 * 1e6,
           cell->scan * 1e6, cell->unfiltered * 1e6, cell->p99_once * 1e6);
    if (!json)
        printf(" p99/median %.1f ours/best %.2f%s%s%s\n", cell->p99 / cell->median, cell->median / best,
               cell->recall < 0.95 ? " RECALL" : "", cell->median > 1.5 * best ? " SLOW" : "", cell->p99_once > 3 * cell->median ? " TAIL" : "");
}

/* The median of unfiltered searches. */
static double time_unfiltered(const struct grid *grid, size_t k)
{
    double *times = malloc(grid->nq * sizeof *times), p99, sum, median;
    int64_t keys[MAX_K];
    size_t count;

    for (size_t q = 0; q < grid->nq; q++)
        times[q] = ask(grid, PIVOTS + q, NULL, k, false, keys, NULL, &count);
    median = median_of(times, grid->nq, &p99, &sum);
    free(times);
    return median;
}

static double middle(double a, double b, double c)
{
    return a < b ? (b < c ? b : a < c ? c : a) : a < c ? a : b < c ? c : b;
}

static void measure(const struct grid *grid, int kind, int share, const size_t *ks, size_t k_count)
{
    size_t nq = grid->nq, checked = grid->checked, *there = malloc(checked * sizeof *there);
    float *truth = malloc(checked * MAX_K * sizeof *truth), scores[MAX_K];
    double *times = malloc(PASSES * nq * sizeof *times), *all = malloc(PASSES * nq * sizeof *all), scan = 0, p99, p99_once, sum;
    int64_t keys[MAX_K];
    char filter[128];

    for (size_t q = 0; q < checked; q++) { /* queries behind the pivots themselves, which are too easy */
        write_filter(grid, kind, share, PIVOTS + q, filter, sizeof filter);
        double time = ask(grid, PIVOTS + q, filter, MAX_K, true, keys, truth + q * MAX_K, &there[q]);
        if (q < SCANS)
            times[q] = time;
    }
    qsort(times, SCANS, sizeof *times, compare_times);
    scan = times[SCANS / 2];
    for (size_t c = 0; c < k_count; c++) {
        size_t k = ks[c], found = 0, wanted = 0, fewer = 0;
        double median, unfiltered = time_unfiltered(grid, k);
        for (size_t i = 0; i < PASSES * nq; i++) {
            size_t q = i % nq, count, want = q >= checked ? 0 : there[q] < k ? there[q] : k;
            write_filter(grid, kind, share, PIVOTS + q, filter, sizeof filter);
            times[i] = ask(grid, PIVOTS + q, filter, k, false, keys, scores, &count);
            fewer += count < want;
            wanted += want;
            for (size_t h = 0; h < count && want; h++)
                found += scores[h] <= truth[q * MAX_K + want - 1] * 1.00001f;
        }
        memcpy(all, times, PASSES * nq * sizeof *all);
        median_of(all, PASSES * nq, &p99_once, &sum);
        for (size_t q = 0; q < nq; q++)
            times[q] = middle(times[q], times[nq + q], times[2 * nq + q]);
        median = median_of(times, nq, &p99, &sum);
        print_cell(&(struct cell){kinds[kind], all_shares[share], k, fewer, wanted ? (double)found / (double)wanted : 1.0,
                                  (double)nq / sum, median, p99, scan, unfiltered / all_shares[share], p99_once}, grid->json);
    }
    fflush(stdout);
    free(there), free(truth), free(times), free(all);
}

int main(int argc, char **argv)
{
    vecdb_open_options open = VECDB_OPEN_OPTIONS_INIT;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    const char *wanted = option(argc, argv, "kinds", "random,near,far,range,label"), *at = option(argc, argv, "ks", "1,10,100");
    const char *shares = option(argc, argv, "shares", "");
    const char *directory = option(argc, argv, "dir", NULL);
    struct grid grid = {0};
    double start;
    size_t ks[8], k_count = 0;
    vecdb_db *db;

    if (argc < 3)
        return fprintf(stderr, "usage: grid BASE QUERIES [name=value]...\n"), 2;
    grid.base = matrix_read(argv[1], number_option(argc, argv, "rows", 0));
    grid.queries = matrix_read(argv[2], 0);
    grid.nq = number_option(argc, argv, "nq", 200);
    if (grid.nq > grid.queries.rows - PIVOTS)
        grid.nq = grid.queries.rows - PIVOTS;
    grid.checked = number_option(argc, argv, "checked", grid.nq < 100 ? grid.nq : 100);
    if (grid.checked > grid.nq)
        grid.checked = grid.nq;
    grid.params = option(argc, argv, "search", NULL);
    grid.json = strcmp(option(argc, argv, "format", "text"), "json") == 0;
    grid.pivot = calloc(grid.queries.rows, sizeof *grid.pivot);
    for (size_t q = 0; q < grid.queries.rows; q++)
        for (unsigned p = 1; p < PIVOTS; p++) {
            const float *query = grid.queries.floats + q * grid.queries.dim;
            if (l2(query, grid.queries.floats + p * grid.queries.dim, grid.queries.dim) <
                l2(query, grid.queries.floats + grid.pivot[q] * grid.queries.dim, grid.queries.dim))
                grid.pivot[q] = p;
        }
    while (*at && k_count < 8) {
        ks[k_count++] = strtoul(at, (char **)(uintptr_t)&at, 10);
        at += *at == ',';
    }
    open.threads = (uint32_t)number_option(argc, argv, "threads", 1);
    open.durability = VECDB_DURABILITY_NONE;
    need(vecdb_open(directory, &open, &db));
    if (vecdb_collection_open(db, "grid", &grid.rows) < 0) {
        fill(&grid, db);
        index.field = "v", index.type = option(argc, argv, "index", "HNSW"), index.metric = VECDB_METRIC_L2, index.params = option(argc, argv, "params", NULL);
        start = now();
        if (directory)
            need(vecdb_optimize(grid.rows, NULL, NULL));
        need(vecdb_index_create(grid.rows, &index));
        fprintf(stderr, "index built in %.1f s\n", now() - start);
    }
    index = (vecdb_index_options)VECDB_INDEX_OPTIONS_INIT; /* strings are looked up, numbers are scanned */
    index.field = "label", index.type = "INVERTED";
    if (vecdb_index_create(grid.rows, &index) < 0)
        fprintf(stderr, "grid: label: %s\n", vecdb_last_error());
    if (option(argc, argv, "build", NULL))
        return 0;
    for (size_t c = 0; c < k_count; c++) {
        double unfiltered = (time_unfiltered(&grid, ks[c]), time_unfiltered(&grid, ks[c]));
        if (!grid.json)
            printf("unfiltered k=%zu: %.0f QPS\n", ks[c], 1 / unfiltered);
    }
    for (int kind = 0; kind < 5; kind++)
        for (int share = 0; share < 9; share++) {
            char text[16];
            snprintf(text, sizeof text, "%g", all_shares[share] * 100);
            if (strstr(wanted, kinds[kind]) && (!*shares || strstr(shares, text)))
                measure(&grid, kind, share, ks, k_count);
        }
    vecdb_collection_close(&grid.rows);
    vecdb_close(&db);
    return 0;
}
