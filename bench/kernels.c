/* What each kernel costs, on each instruction set this CPU has, beside the machine's read bandwidth.
 *
 *   kernels [-m MiB] [-d dim,dim,...] [-t table] [-k kernel] [-r rounds]
 *
 * For scans, three places where rows may be: `stream`, one after the other from memory; `random`, gathered from all over
 * the same memory; `hot`, few enough to stay in the second-level cache. ns is per row and the best of the rounds, in which
 * the instruction sets take turns; GB/s counts the rows' bytes; "of limit" is stream over a plain read loop, which takes
 * its turn too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "simd/kernels.h"

#define TABLES_MAX 8
#define HOT_BYTES ((size_t)256 << 10)

static size_t memory_size = (size_t)256 << 20;
static int rounds = 5;
static const char *only_table, *only_kernel;
static char *memory;
static const struct simd_row *tables[TABLES_MAX];
static size_t table_count;
static volatile double sink;

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t random_u64(void)
{
    static uint64_t state = 88172645463325252u;

    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Huge pages, so that page walks are not what is measured. */
static char *allocate(size_t size)
{
    size_t huge = (size_t)2 << 20;
    char *p = mmap(NULL, size + 2 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED) {
        fprintf(stderr, "kernels: no memory\n");
        exit(1);
    }
    p = (char *)(((uintptr_t)p + huge - 1) / huge * huge);
    madvise(p, size, MADV_HUGEPAGE);
    return p;
}

/* One pass of a plain read loop over the memory, in seconds. */
static double read_once(void)
{
    const uint64_t *p = (const uint64_t *)memory;
    uint64_t a = 0, b = 0, c = 0, d = 0;
    double start = now();

    for (size_t i = 0; i < memory_size / 8; i += 32)
        for (size_t j = 0; j < 32; j += 4) {
            a += p[i + j];
            b += p[i + j + 1];
            c += p[i + j + 2];
            d += p[i + j + 3];
        }
    start = now() - start;
    sink = (double)(a ^ b ^ c ^ d);
    return start;
}

/* Sane as floats, as halves and as bytes; or any bytes. */
static void fill_memory(bool any)
{
    for (size_t i = 0; i < memory_size / 8; i++) {
        uint64_t word = random_u64();
        if (!any)
            word = (word & 0x00ff00ff00ff00ff) | 0x3f003e003f003e00;
        memcpy(memory + 8 * i, &word, 8);
    }
}

/* ---- scans ---- */

struct scan_bench {
    const char *name;
    size_t offset; /* of the scan in its table */
    bool codes;
    bool integer;
    unsigned row_bits, query_bits; /* per dimension */
    unsigned step;                 /* of dim */
};

#define DISTANCE(name, integer, row, query, step) {#name, offsetof(struct distance_kernels, name), false, integer, row, query, step}
#define CODE(name, integer, row, query, step) {#name, offsetof(struct code_kernels, name), true, integer, row, query, step}

static const struct scan_bench scans[] = {
    DISTANCE(l2sq_f32, false, 32, 32, 1),  DISTANCE(ip_f32, false, 32, 32, 1),    DISTANCE(l2sq_f16, false, 16, 32, 1),
    DISTANCE(ip_f16, false, 16, 32, 1),    DISTANCE(l2sq_bf16, false, 16, 32, 1), DISTANCE(ip_bf16, false, 16, 32, 1),
    DISTANCE(l2sq_i8, true, 8, 8, 1),      DISTANCE(ip_i8, true, 8, 8, 1),        DISTANCE(l2sq_u8, true, 8, 8, 1),
    DISTANCE(ip_u8, true, 8, 8, 1),        DISTANCE(hamming_b1, true, 1, 1, 8),   DISTANCE(jaccard_b1, false, 1, 1, 8),
    CODE(dot_u8s8, true, 8, 8, 1),         CODE(dot_u8s8x2, false, 8, 16, 1),     CODE(dot_u8f32, false, 8, 32, 1),
    CODE(dot_code[1], true, 1, 8, 64),     CODE(dot_code[2], true, 2, 8, 64),     CODE(dot_code[3], true, 3, 8, 64),
    CODE(dot_code[4], true, 4, 8, 64),     CODE(dot_code[5], true, 5, 8, 64),     CODE(dot_code[6], true, 6, 8, 64),
    CODE(dot_code[7], true, 7, 8, 64),     CODE(dot_b1u4, true, 1, 4, 64),        CODE(pq8, false, 8, 8192, 1),
};

enum place { STREAM, RANDOM, HOT, ONE, PLACES };

static double run_scan(const struct scan_bench *b, const struct simd_row *table, enum place place, const void *query,
                       size_t stride, size_t n, size_t dim, const uint32_t *ids, void *out)
{
    const char *base = b->codes ? (const char *)table->codes : (const char *)table->distance;
    struct scan_f32 f;
    struct scan_i32 i;
    double start, sum = 0;

    memcpy(&f, base + b->offset, sizeof f);
    memcpy(&i, base + b->offset, sizeof i);
    start = now();
    switch (place) {
    case ONE:
        for (size_t r = 0; r < n; r++)
            sum += b->integer ? i.one(query, memory + r * stride, dim) : (double)f.one(query, memory + r * stride, dim);
        break;
    case RANDOM:
        for (size_t r = 0; r < n; r += 1024) {
            size_t some = n - r < 1024 ? n - r : 1024;
            if (b->integer)
                i.gather(query, memory, stride, ids + r, some, dim, out);
            else
                f.gather(query, memory, stride, ids + r, some, dim, out);
        }
        break;
    default: /* as a search would: in blocks whose results stay in the cache */
        for (size_t r = 0; r < n; r += 4096) {
            size_t some = n - r < 4096 ? n - r : 4096;
            if (b->integer)
                i.rows(query, memory + r * stride, stride, some, dim, out);
            else
                f.rows(query, memory + r * stride, stride, some, dim, out);
        }
    }
    start = now() - start;
    sink = sum;
    return start;
}

static void bench_scan(const struct scan_bench *b, size_t dim)
{
    size_t stride = dim * b->row_bits / 8, n = stride ? memory_size / stride : 0;
    size_t hot = stride ? HOT_BYTES / stride : 0, random = n < 200000 ? n : 200000, hot_turns = 20;
    double best[PLACES][TABLES_MAX], read = 1e9, limit;
    uint32_t *ids;
    void *query, *out;

    if (!stride || dim % b->step)
        return;
    ids = malloc(random * sizeof *ids);
    query = aligned_alloc(64, (dim * b->query_bits / 8 + 63) / 64 * 64 + 64);
    out = malloc(4096 * 4);
    if (!ids || !query || !out)
        exit(1);
    memset(query, 1, dim * b->query_bits / 8);
    if (b->query_bits > 32) /* lookups: codes as they come */
        fill_memory(true);
    for (size_t i = 0; i < random; i++)
        ids[i] = (uint32_t)(random_u64() % n);
    for (int p = 0; p < PLACES; p++)
        for (size_t t = 0; t < table_count; t++)
            best[p][t] = 1e9;
    for (int round = 0; round < rounds; round++) {
        double seconds = read_once();
        read = seconds < read ? seconds : read;
        for (size_t t = 0; t < table_count; t++)
            for (int p = 0; p < PLACES; p++) {
                size_t rows = p == STREAM ? n : p == RANDOM ? random : hot;
                seconds = 0;
                if (p == STREAM && strcmp(tables[t]->name, "scalar") == 0)
                    rows = n / 8; /* compute bound and slow */
                for (size_t turn = 0; turn < (p >= HOT ? hot_turns : 1); turn++) {
                    double s = run_scan(b, tables[t], (enum place)p, query, stride, rows, dim, ids, out) / (double)rows;
                    seconds = turn && seconds < s ? seconds : s;
                }
                if (seconds < best[p][t])
                    best[p][t] = seconds;
            }
    }
    limit = (double)memory_size / read;
    for (size_t t = 0; t < table_count; t++)
        printf("%-12s %5zu %-12s stream %8.2f ns %6.2f GB/s %5.1f %% of limit   random %8.2f ns %6.2f GB/s   hot %8.2f ns"
               " %6.1f GB/s   one %8.2f ns\n",
               b->name, dim, tables[t]->name, best[STREAM][t] * 1e9, (double)stride / best[STREAM][t] * 1e-9,
               100 * (double)stride / best[STREAM][t] / limit, best[RANDOM][t] * 1e9,
               (double)stride / best[RANDOM][t] * 1e-9, best[HOT][t] * 1e9, (double)stride / best[HOT][t] * 1e-9,
               best[ONE][t] * 1e9);
    if (b->query_bits > 32)
        fill_memory(false);
    free(ids);
    free(query);
    free(out);
}

/* ---- the rest: a closure that is timed as it is ---- */

struct work {
    const char *name;
    const char *unit; /* of what work() returns the amount */
    double (*work)(const struct simd_row *table, size_t dim);
};

enum { BLOCK_ROWS = 256, BLOCK_QUERIES = 96 };
static float *block_out;
static void *panel;

static double work_f32_tile(const struct simd_row *table, size_t dim)
{
    table->distance->ip_f32_tile(memory, dim * 4, 12, memory + 48 * dim, dim * 4, BLOCK_ROWS, dim, block_out, BLOCK_ROWS);
    return 12.0 * BLOCK_ROWS * (double)dim;
}

static double work_l2_tile(const struct simd_row *table, size_t dim)
{
    table->distance->l2sq_f32_tile(memory, dim * 4, 12, memory + 48 * dim, dim * 4, BLOCK_ROWS, dim, block_out, BLOCK_ROWS);
    return 12.0 * BLOCK_ROWS * (double)dim;
}

static double work_f32_pack(const struct simd_row *table, size_t dim)
{
    table->distance->f32_pack(memory, dim * 4, NULL, BLOCK_ROWS, dim, panel);
    return BLOCK_ROWS * (double)dim * 4;
}

static double work_f32_multiply(const struct simd_row *table, size_t dim)
{
    table->distance->f32_multiply(memory, dim * 4, BLOCK_QUERIES, panel, BLOCK_ROWS, dim, -2.0f, NULL, block_out, BLOCK_ROWS);
    return (double)BLOCK_QUERIES * BLOCK_ROWS * (double)dim;
}

static double work_u8_pack(const struct simd_row *table, size_t dim)
{
    table->distance->u8_pack(memory, dim, NULL, BLOCK_ROWS, dim, panel);
    return BLOCK_ROWS * (double)dim;
}

static double work_u8_l2sq(const struct simd_row *table, size_t dim)
{
    table->distance->u8_l2sq(memory, dim, BLOCK_QUERIES, panel, BLOCK_ROWS, dim, (int32_t *)(void *)block_out, BLOCK_ROWS);
    return (double)BLOCK_QUERIES * BLOCK_ROWS * (double)dim;
}

static double work_i8_l2sq(const struct simd_row *table, size_t dim)
{
    table->distance->i8_l2sq(memory, dim, BLOCK_QUERIES, panel, BLOCK_ROWS, dim, (int32_t *)(void *)block_out, BLOCK_ROWS);
    return (double)BLOCK_QUERIES * BLOCK_ROWS * (double)dim;
}

static double fastscan(const struct simd_row *table, size_t dim, size_t nq)
{
    size_t m = dim / 4, blocks = ((size_t)128 << 10) / (16 * m); /* in the second-level cache */

    const uint8_t *luts[4];

    for (size_t q = 0; q < nq; q++)
        luts[q] = (const uint8_t *)memory + ((size_t)1 << 20) + q * m * 16;
    table->codes->fastscan((const uint8_t *)memory, blocks, m, luts, nq,
                           (int32_t *)(void *)block_out, 32 * blocks);
    return 32.0 * (double)blocks * (double)nq;
}

static double work_fastscan1(const struct simd_row *table, size_t dim)
{
    return fastscan(table, dim, 1);
}

static double work_fastscan2(const struct simd_row *table, size_t dim)
{
    return fastscan(table, dim, 2);
}

static double work_fastscan4(const struct simd_row *table, size_t dim)
{
    return fastscan(table, dim, 4);
}

static double work_rotate(const struct simd_row *table, size_t dim)
{
    size_t padded = simd_code_dim(dim);

    for (int i = 0; i < 10; i++)
        table->codes->rotate(block_out, padded, (const uint8_t *)memory);
    memset(block_out, 0, padded * 4);
    return 10;
}

static double work_quantize(const struct simd_row *table, size_t dim)
{
    for (int i = 0; i < 100; i++)
        table->codes->quantize_i8((const float *)memory, dim, 1.0f, (int8_t *)panel);
    return 100;
}

static double work_code_pack(const struct simd_row *table, size_t dim)
{
    for (int i = 0; i < 100; i++)
        table->codes->code_pack((const uint8_t *)memory, dim, 4, panel);
    return 100;
}

static double work_compare_i32(const struct simd_row *table, size_t dim)
{
    size_t n = memory_size / 4;

    (void)dim;
    table->compare->i32(memory, n, COMPARE_GE, 5, panel);
    return (double)n * 4;
}

static double work_range_i64(const struct simd_row *table, size_t dim)
{
    size_t n = memory_size / 8;

    (void)dim;
    table->compare->i64_range(memory, n, 5, 7, panel);
    return (double)n * 8;
}

static double work_below_none(const struct simd_row *table, size_t dim)
{
    (void)dim;
    sink = (double)table->compare->below_f32((const float *)memory, 16384, -1e30f, 0, panel);
    return 16384 * 4;
}

static double work_below_tenth(const struct simd_row *table, size_t dim)
{
    static float values[16384];

    (void)dim;
    if (values[0] == 0)
        for (size_t i = 0; i < 16384; i++)
            values[i] = (float)(1 + random_u64() % 1000);
    sink = (double)table->compare->below_f32(values, 16384, 100.0f, 0, panel);
    return 16384 * 4;
}

static double bits_list(const struct simd_row *table, unsigned density)
{
    static uint64_t bits[3][1024];
    double total = 0;

    if (!bits[0][0])
        for (size_t i = 0; i < 1024; i++) {
            bits[0][i] = random_u64() & random_u64() & random_u64() & random_u64() & random_u64();
            bits[1][i] = random_u64() & random_u64();
            bits[2][i] = random_u64() | random_u64();
        }
    for (int i = 0; i < 10; i++)
        total += (double)table->compare->bits_list(bits[density], 1024, 0, panel);
    return total;
}

static double work_list_sparse(const struct simd_row *table, size_t dim)
{
    (void)dim;
    return bits_list(table, 0);
}

static double work_list_middle(const struct simd_row *table, size_t dim)
{
    (void)dim;
    return bits_list(table, 1);
}

static double work_list_dense(const struct simd_row *table, size_t dim)
{
    (void)dim;
    return bits_list(table, 2);
}

static const struct work works[] = {
    {"ip_f32_tile", "MAC", work_f32_tile},        {"l2sq_f32_tile", "MAC", work_l2_tile},
    {"f32_pack", "B", work_f32_pack},             {"f32_multiply", "MAC", work_f32_multiply},
    {"u8_pack", "B", work_u8_pack},               {"u8_l2sq", "MAC", work_u8_l2sq},
    {"i8_l2sq", "MAC", work_i8_l2sq},             {"fastscan x1", "row", work_fastscan1},
    {"fastscan x2", "row", work_fastscan2},       {"fastscan x4", "row", work_fastscan4},
    {"rotate", "vector", work_rotate},            {"quantize_i8", "vector", work_quantize},
    {"code_pack 4", "vector", work_code_pack},    {"compare_i32", "B", work_compare_i32},
    {"i64_range", "B", work_range_i64},           {"below none", "B", work_below_none},
    {"below 10 %", "B", work_below_tenth},        {"list 3 %", "id", work_list_sparse},
    {"list 25 %", "id", work_list_middle},        {"list 75 %", "id", work_list_dense},
};

static void bench_work(const struct work *w, size_t dim)
{
    double best[TABLES_MAX];

    for (size_t t = 0; t < table_count; t++)
        best[t] = 1e9;
    for (int round = 0; round < rounds; round++)
        for (size_t t = 0; t < table_count; t++) {
            bool slow = strcmp(tables[t]->name, "scalar") == 0;
            if (strstr(w->name, "pack") || strstr(w->name, "multiply") || strstr(w->name, "l2sq"))
                (strchr(w->name, 'f') == w->name ? work_f32_pack : work_u8_pack)(tables[t], dim);
            for (int turn = 0; turn < (slow ? 1 : 5); turn++) {
                double start = now(), amount = w->work(tables[t], dim), seconds = (now() - start) / amount;
                if (seconds < best[t])
                    best[t] = seconds;
            }
        }
    for (size_t t = 0; t < table_count; t++)
        printf("%-14s %5zu %-12s %10.3f ns/%s %9.2f G%s/s\n", w->name, dim, tables[t]->name, best[t] * 1e9, w->unit,
               1e-9 / best[t], w->unit);
}

int main(int argc, char **argv)
{
    size_t dims[32] = {128, 256, 768, 784}, dim_count = 4, count;
    const struct simd_row *rows = simd_rows(&count);
    double read = 1e9;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "-m") == 0)
            memory_size = strtoull(argv[i + 1], NULL, 10) << 20;
        else if (strcmp(argv[i], "-t") == 0)
            only_table = argv[i + 1];
        else if (strcmp(argv[i], "-k") == 0)
            only_kernel = argv[i + 1];
        else if (strcmp(argv[i], "-r") == 0)
            rounds = atoi(argv[i + 1]);
        else if (strcmp(argv[i], "-d") == 0) {
            dim_count = 0;
            for (char *p = strtok(argv[i + 1], ","); p && dim_count < 32; p = strtok(NULL, ","))
                dims[dim_count++] = strtoull(p, NULL, 10);
        }
    }
    for (size_t i = 0; i < count && table_count < TABLES_MAX; i++)
        if (rows[i].supported() && (!only_table || strcmp(only_table, rows[i].name) == 0))
            tables[table_count++] = &rows[i];
    memory = allocate(memory_size);
    fill_memory(false);
    block_out = (float *)(void *)allocate((size_t)4 << 20);
    panel = allocate((size_t)64 << 20);
    memset(block_out, 0, (size_t)4 << 20);
    memset(panel, 0, (size_t)64 << 20);
    for (int round = 0; round < 2 * rounds; round++) {
        double seconds = read_once();
        read = seconds < read ? seconds : read;
    }
    printf("read bandwidth, one thread, %zu MiB: %.2f GB/s; chosen: %s\n", memory_size >> 20,
           (double)memory_size / read * 1e-9, simd_name());
    for (size_t d = 0; d < dim_count; d++) {
        for (size_t i = 0; i < sizeof scans / sizeof scans[0]; i++)
            if (!only_kernel || strstr(scans[i].name, only_kernel))
                bench_scan(&scans[i], dims[d]);
        for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
            if (!only_kernel || strstr(works[i].name, only_kernel))
                bench_work(&works[i], dims[d]);
    }
    return 0;
}
