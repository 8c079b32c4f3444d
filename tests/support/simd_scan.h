/* Tests of one scan kernel, in all three forms, against a definition in double precision. */
#ifndef VECDB_TESTS_SIMD_SCAN_H
#define VECDB_TESTS_SIMD_SCAN_H

#include <float.h>
#include <math.h>

#include "support/simd_test.h"

/* What is known of a kernel besides its function pointers. */
struct scan_case {
    const char *name;
    const void *(*find)(const struct simd_row *row); /* the struct scan_f32 or scan_i32 */
    bool integer;                          /* a scan_i32, exact */
    unsigned dim_step;                     /* dims are multiples of this */
    size_t (*query_size)(size_t dim);      /* bytes */
    size_t (*row_size)(size_t dim);        /* bytes */
    unsigned patterns;                     /* kinds of data fill() knows */
    void (*fill)(void *query, void *row, size_t dim, unsigned pattern);
    /* the true value, and the sum of its terms' magnitudes */
    double (*define)(const void *query, const void *row, size_t dim, double *magnitude);
};

#define SCAN_TEST_ROWS 9 /* two groups of four and one left over */

static SIMD_TEST_UNUSED bool scan_value_ok(double got, double want, double magnitude, size_t dim)
{
    if (magnitude > FLT_MAX) /* a partial sum may overflow, whatever the order */
        return !(fabs(want) > FLT_MAX * (1 + 1e-3)) || !isfinite(got);
    return fabs(got - want) <= ((double)dim + 4) * ((double)FLT_EPSILON * magnitude + (double)FLT_MIN);
}

#define SCAN_EXPECT(ok, ...)                     \
    do {                                         \
        if (!(ok)) {                             \
            print_error(__VA_ARGS__);            \
            fail();                              \
        }                                        \
    } while (0)

/* The true value of one row. */
struct scan_truth {
    double value, magnitude;
};

static SIMD_TEST_UNUSED void scan_check(const struct scan_case *c, const char *form, double got,
                                        const struct scan_truth *truth, size_t dim, unsigned pattern)
{
    bool ok = c->integer ? got == truth->value : scan_value_ok(got, truth->value, truth->magnitude, dim);

    SCAN_EXPECT(ok, "%s %s: dim %zu pattern %u: got %.9g, expected %.9g (terms %.9g)\n", c->name, form, dim, pattern,
                got, truth->value, truth->magnitude);
}

static SIMD_TEST_UNUSED double scan_one(const struct scan_case *c, const void *scan, const void *query,
                                        const void *row, size_t dim)
{
    if (c->integer)
        return ((const struct scan_i32 *)scan)->one(query, row, dim);
    return (double)((const struct scan_f32 *)scan)->one(query, row, dim);
}

/* rows() when ids is NULL, gather() otherwise; results as doubles. */
static SIMD_TEST_UNUSED void scan_many(const struct scan_case *c, const void *scan, const void *query, const void *rows,
                                       size_t stride, const uint32_t *ids, size_t n, size_t dim, double *out)
{
    union {
        float f;
        int32_t i;
    } *raw = malloc((n + 1) * sizeof *raw);

    assert_non_null(raw);
    raw[n].i = 0x5a5a5a5a; /* one past the end must stay */
    if (c->integer && ids)
        ((const struct scan_i32 *)scan)->gather(query, rows, stride, ids, n, dim, &raw[0].i);
    else if (c->integer)
        ((const struct scan_i32 *)scan)->rows(query, rows, stride, n, dim, &raw[0].i);
    else if (ids)
        ((const struct scan_f32 *)scan)->gather(query, rows, stride, ids, n, dim, &raw[0].f);
    else
        ((const struct scan_f32 *)scan)->rows(query, rows, stride, n, dim, &raw[0].f);
    assert_int_equal(raw[n].i, 0x5a5a5a5a);
    for (size_t i = 0; i < n; i++)
        out[i] = c->integer ? raw[i].i : (double)raw[i].f;
    free(raw);
}

/* One dim, one pattern: nine rows of odd stride, the last of them and the query right before forbidden memory. */
static SIMD_TEST_UNUSED void scan_check_dim(const struct scan_case *c, const void *scan, const struct guarded *query_memory,
                                            const struct guarded *row_memory, size_t dim, unsigned pattern)
{
    size_t row_size = c->row_size(dim), stride = row_size + 1 + dim % 3;
    void *query = guarded_end(query_memory, c->query_size(dim));
    char *rows = guarded_end(row_memory, (SCAN_TEST_ROWS - 1) * stride + row_size);
    double got[SCAN_TEST_ROWS];
    struct scan_truth truth[SCAN_TEST_ROWS];
    uint32_t ids[SCAN_TEST_ROWS];

    for (size_t i = SCAN_TEST_ROWS; i-- > 0;)
        c->fill(i ? NULL : query, rows + i * stride, dim, pattern);
    for (size_t i = 0; i < SCAN_TEST_ROWS; i++) {
        truth[i].value = c->define(query, rows + i * stride, dim, &truth[i].magnitude);
        scan_check(c, "one", scan_one(c, scan, query, rows + i * stride, dim), &truth[i], dim, pattern);
    }
    for (size_t n = dim % 2; n <= SCAN_TEST_ROWS; n += 2) {
        size_t first = SCAN_TEST_ROWS - n;
        scan_many(c, scan, query, rows + first * stride, stride, NULL, n, dim, got);
        for (size_t i = 0; i < n; i++)
            scan_check(c, "rows", got[i], &truth[first + i], dim, pattern);
        for (size_t i = 0; i < n; i++)
            ids[i] = (uint32_t)(random_u64() % SCAN_TEST_ROWS);
        scan_many(c, scan, query, rows, stride, ids, n, dim, got);
        for (size_t i = 0; i < n; i++)
            scan_check(c, "gather", got[i], &truth[ids[i]], dim, pattern);
    }
}

/* Enough rows for the loops that only long scans reach. */
static SIMD_TEST_UNUSED void scan_check_long(const struct scan_case *c, const void *scan, size_t dim)
{
    size_t row_size = c->row_size(dim), stride = row_size + 3, n = 300000 / stride + 3;
    struct guarded memory;
    char *query = malloc(c->query_size(dim) + 1), *rows;
    double *got = malloc(n * sizeof *got);
    struct scan_truth *truth = malloc(n * sizeof *truth);
    uint32_t *ids = malloc(n * sizeof *ids);

    assert_true(query && got && truth && ids);
    guarded_init(&memory, n * stride);
    rows = guarded_end(&memory, (n - 1) * stride + row_size);
    for (size_t i = n; i-- > 0;) {
        c->fill(i ? NULL : query, rows + i * stride, dim, 0);
        ids[i] = (uint32_t)(random_u64() % n);
    }
    for (size_t i = 0; i < n; i++)
        truth[i].value = c->define(query, rows + i * stride, dim, &truth[i].magnitude);
    scan_many(c, scan, query, rows, stride, NULL, n, dim, got);
    for (size_t i = 0; i < n; i++)
        scan_check(c, "long rows", got[i], &truth[i], dim, 0);
    scan_many(c, scan, query, rows, stride, ids, n, dim, got);
    for (size_t i = 0; i < n; i++)
        scan_check(c, "long gather", got[i], &truth[ids[i]], dim, 0);
    guarded_deinit(&memory);
    free(query);
    free(got);
    free(truth);
    free(ids);
}

static SIMD_TEST_UNUSED void scan_test(void **state)
{
    static const size_t large[] = {384, 512, 768, 784, 960, 1536, 4096, 32768};
    const struct simd_test *test = *state;
    const struct scan_case *c = test->kernel;
    const void *scan = c->find(test->row);
    struct guarded query_memory, row_memory;

    guarded_init(&query_memory, c->query_size(SIMD_DIM_MAX));
    guarded_init(&row_memory, SCAN_TEST_ROWS * (c->row_size(SIMD_DIM_MAX) + 3));
    for (unsigned pattern = 0; pattern < c->patterns; pattern++) {
        for (size_t dim = 0; dim <= 300 * (c->dim_step > 8 ? 8 : c->dim_step); dim += c->dim_step)
            scan_check_dim(c, scan, &query_memory, &row_memory, dim, pattern);
        for (size_t i = 0; i < sizeof large / sizeof large[0]; i++)
            if (large[i] % c->dim_step == 0)
                scan_check_dim(c, scan, &query_memory, &row_memory, large[i], pattern);
    }
    scan_check_long(c, scan, 64);
    scan_check_long(c, scan, 128);
    scan_check_long(c, scan, c->dim_step > 8 ? 192 : 200);
    guarded_deinit(&query_memory);
    guarded_deinit(&row_memory);
}

#endif
