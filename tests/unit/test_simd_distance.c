/* Distances of every instruction set against double precision and exact integers. */
#include "support/simd_scan.h"

#include "simd/scalar/scalar.h"

/* ---- data ---- */

static size_t size_1(size_t dim)
{
    return dim;
}

static size_t size_2(size_t dim)
{
    return 2 * dim;
}

static size_t size_4(size_t dim)
{
    return 4 * dim;
}

static size_t size_bits(size_t dim)
{
    return dim / 8;
}

static float float_of_pattern(unsigned pattern, size_t i)
{
    switch (pattern) {
    case 0: return random_f32();
    case 1: return random_f32() * 1e18f;
    case 2: return random_f32() * 1e-40f; /* denormal */
    case 3: return i % 2 ? 1e4f : -1e4f;
    case 4: return (float)(random_u64() % 256);
    default: return random_u64() % 4 ? 0.0f : -0.0f;
    }
}

static void fill_f32(void *query, void *row, size_t dim, unsigned pattern)
{
    for (size_t i = 0; i < dim; i++) {
        float r = float_of_pattern(pattern, i);
        memcpy((char *)row + 4 * i, &r, sizeof r);
        r = query ? float_of_pattern(pattern, i) : 0.0f;
        if (query)
            memcpy((char *)query + 4 * i, &r, sizeof r);
    }
}

static void fill_f16(void *query, void *row, size_t dim, unsigned pattern)
{
    for (size_t i = 0; i < dim; i++) {
        float q = query ? float_of_pattern(pattern == 1 ? 4 : pattern, i) : 0.0f;
        uint16_t r = f16_of_f32(float_of_pattern(pattern, i));
        if (pattern == 1) /* any finite half */
            r = (uint16_t)((random_u64() & 0xffff) % 0x7c00 | (random_u64() & 1) << 15);
        if (query)
            memcpy((char *)query + 4 * i, &q, sizeof q);
        memcpy((char *)row + 2 * i, &r, sizeof r);
    }
}

static void fill_bf16(void *query, void *row, size_t dim, unsigned pattern)
{
    for (size_t i = 0; i < dim; i++) {
        float q = query ? float_of_pattern(pattern, i) : 0.0f;
        uint16_t r = bf16_of_f32(float_of_pattern(pattern, i));
        if (query)
            memcpy((char *)query + 4 * i, &q, sizeof q);
        memcpy((char *)row + 2 * i, &r, sizeof r);
    }
}

/* Also right for i8: the extremes are the same bytes. */
static void fill_bytes(void *query, void *row, size_t dim, unsigned pattern)
{
    static const uint8_t extremes[][2] = {{0, 255}, {255, 0}, {255, 255}, {0x80, 0x7f}, {0x7f, 0x80}, {0x80, 0x80},
                                          {0x7f, 0x7f}, {0, 0x80}};
    if (pattern == 0) {
        if (query)
            random_bytes(query, dim);
        random_bytes(row, dim);
        return;
    }
    if (query)
        memset(query, extremes[pattern - 1][0], dim);
    memset(row, extremes[pattern - 1][1], dim);
}

static void fill_bits(void *query, void *row, size_t dim, unsigned pattern)
{
    static const uint8_t extremes[][2] = {{0, 0}, {255, 255}, {255, 0}, {0x55, 0xaa}};

    if (pattern == 0) {
        if (query)
            random_bytes(query, dim / 8);
        random_bytes(row, dim / 8);
        return;
    }
    if (query)
        memset(query, extremes[pattern - 1][0], dim / 8);
    memset(row, extremes[pattern - 1][1], dim / 8);
}

/* ---- definitions ---- */

static double element_f32(const void *p, size_t i)
{
    return (double)load_f32(p, i);
}

static double element_f16(const void *p, size_t i)
{
    uint16_t h = load_u16(p, i);
    int exponent = h >> 10 & 31;
    double value = exponent ? ldexp(1024 + (h & 1023), exponent - 25) : ldexp(h & 1023, -24);

    return h & 0x8000 ? -value : value;
}

static double element_bf16(const void *p, size_t i)
{
    return (double)f32_of_bits((uint32_t)load_u16(p, i) << 16);
}

static double element_i8(const void *p, size_t i)
{
    return ((const int8_t *)p)[i];
}

static double element_u8(const void *p, size_t i)
{
    return ((const uint8_t *)p)[i];
}

#define DEFINE_TRUTH(type, query_type)                                                                       \
    static double define_l2sq_##type(const void *query, const void *row, size_t dim, double *magnitude)       \
    {                                                                                                        \
        double sum = 0;                                                                                      \
        for (size_t i = 0; i < dim; i++) {                                                                   \
            double d = element_##query_type(query, i) - element_##type(row, i);                              \
            sum += d * d;                                                                                    \
        }                                                                                                    \
        *magnitude = sum;                                                                                    \
        return sum;                                                                                          \
    }                                                                                                        \
    static double define_ip_##type(const void *query, const void *row, size_t dim, double *magnitude)         \
    {                                                                                                        \
        double sum = 0;                                                                                      \
        *magnitude = 0;                                                                                      \
        for (size_t i = 0; i < dim; i++) {                                                                   \
            double product = element_##query_type(query, i) * element_##type(row, i);                        \
            sum += product;                                                                                  \
            *magnitude += fabs(product);                                                                     \
        }                                                                                                    \
        return sum;                                                                                          \
    }

DEFINE_TRUTH(f32, f32)
DEFINE_TRUTH(f16, f32)
DEFINE_TRUTH(bf16, f32)
DEFINE_TRUTH(i8, i8)
DEFINE_TRUTH(u8, u8)

/* counts[2 * bit of a + bit of b] */
static void count_pairs(const void *query, const void *row, size_t dim, double counts[4])
{
    const uint8_t *a = query, *b = row;

    memset(counts, 0, 4 * sizeof *counts);
    for (size_t i = 0; i < dim / 8; i++) {
        counts[0] += __builtin_popcount(~(a[i] | b[i]) & 255);
        counts[1] += __builtin_popcount(~a[i] & b[i]);
        counts[2] += __builtin_popcount(a[i] & ~b[i]);
        counts[3] += __builtin_popcount(a[i] & b[i]);
    }
}

static double define_hamming_b1(const void *query, const void *row, size_t dim, double *magnitude)
{
    double counts[4];

    (void)magnitude;
    count_pairs(query, row, dim, counts);
    return counts[1] + counts[2];
}

static double define_and_b1(const void *query, const void *row, size_t dim, double *magnitude)
{
    double counts[4];

    (void)magnitude;
    count_pairs(query, row, dim, counts);
    return counts[3];
}

static double define_or_b1(const void *query, const void *row, size_t dim, double *magnitude)
{
    double counts[4];

    (void)magnitude;
    count_pairs(query, row, dim, counts);
    return counts[1] + counts[2] + counts[3];
}

static double define_jaccard_b1(const void *query, const void *row, size_t dim, double *magnitude)
{
    double counts[4], either;

    count_pairs(query, row, dim, counts);
    either = counts[1] + counts[2] + counts[3];
    *magnitude = 1;
    return either > 0 ? 1 - counts[3] / either : 0;
}

#define CASE(kernel, is_integer, step, query_bytes, row_bytes, n_patterns, filler)                     \
    static const void *find_##kernel(const struct simd_row *row)                                       \
    {                                                                                                  \
        return &row->distance->kernel;                                                                 \
    }                                                                                                  \
    static const struct scan_case case_##kernel = {                                                    \
        #kernel, find_##kernel, is_integer, step, query_bytes, row_bytes, n_patterns, filler, define_##kernel};

CASE(l2sq_f32, false, 1, size_4, size_4, 6, fill_f32)
CASE(ip_f32, false, 1, size_4, size_4, 6, fill_f32)
CASE(l2sq_f16, false, 1, size_4, size_2, 6, fill_f16)
CASE(ip_f16, false, 1, size_4, size_2, 6, fill_f16)
CASE(l2sq_bf16, false, 1, size_4, size_2, 6, fill_bf16)
CASE(ip_bf16, false, 1, size_4, size_2, 6, fill_bf16)
CASE(l2sq_i8, true, 1, size_1, size_1, 9, fill_bytes)
CASE(ip_i8, true, 1, size_1, size_1, 9, fill_bytes)
CASE(l2sq_u8, true, 1, size_1, size_1, 9, fill_bytes)
CASE(ip_u8, true, 1, size_1, size_1, 9, fill_bytes)
CASE(hamming_b1, true, 8, size_bits, size_bits, 5, fill_bits)
CASE(and_b1, true, 8, size_bits, size_bits, 5, fill_bits)
CASE(or_b1, true, 8, size_bits, size_bits, 5, fill_bits)
CASE(jaccard_b1, false, 8, size_bits, size_bits, 5, fill_bits)

/* ---- blocks ---- */

#define BLOCK_MAX 150

/* nq x n against the definition; the rows through ids or in order, in a panel or not. */
struct block_case {
    const char *name;
    bool integer;
    size_t element_size;
    void (*fill)(void *query, void *row, size_t dim, unsigned pattern);
    unsigned patterns;
    double (*define)(const void *query, const void *row, size_t dim, double *magnitude);
    /* computes the block; ids may be NULL */
    void (*run)(const struct distance_kernels *k, const void *queries, size_t query_stride, size_t nq, const void *rows,
                size_t stride, const uint32_t *ids, size_t n, size_t dim, void *out, size_t out_stride);
    bool takes_ids;
};

static void *panel_alloc(size_t size)
{
    void *panel = aligned_alloc(64, (size + 63) / 64 * 64 + 64);

    assert_non_null(panel);
    return panel;
}

static void run_l2sq_f32_tile(const struct distance_kernels *k, const void *queries, size_t query_stride, size_t nq,
                              const void *rows, size_t stride, const uint32_t *ids, size_t n, size_t dim, void *out,
                              size_t out_stride)
{
    (void)ids;
    k->l2sq_f32_tile(queries, query_stride, nq, rows, stride, n, dim, out, out_stride);
}

static void run_ip_f32_tile(const struct distance_kernels *k, const void *queries, size_t query_stride, size_t nq,
                            const void *rows, size_t stride, const uint32_t *ids, size_t n, size_t dim, void *out,
                            size_t out_stride)
{
    (void)ids;
    k->ip_f32_tile(queries, query_stride, nq, rows, stride, n, dim, out, out_stride);
}

static void run_f32_multiply(const struct distance_kernels *k, const void *queries, size_t query_stride, size_t nq,
                             const void *rows, size_t stride, const uint32_t *ids, size_t n, size_t dim, void *out,
                             size_t out_stride)
{
    void *panel = panel_alloc(k->f32_panel_size(n, dim));

    k->f32_pack(rows, stride, ids, n, dim, panel);
    k->f32_multiply(queries, query_stride, nq, panel, n, dim, 1.0f, NULL, out, out_stride);
    free(panel);
}

#define RUN_BYTES(name, pack)                                                                                       \
    static void run_##name(const struct distance_kernels *k, const void *queries, size_t query_stride, size_t nq,   \
                           const void *rows, size_t stride, const uint32_t *ids, size_t n, size_t dim, void *out,   \
                           size_t out_stride)                                                                       \
    {                                                                                                               \
        char *panel = panel_alloc(k->u8_panel_size(n, dim));                                                        \
        size_t from = random_u64() % (n / U8_PANEL_ROWS + 1) * U8_PANEL_ROWS; /* and the rest as a panel of its own */ \
        k->pack(rows, stride, ids, n, dim, panel);                                                                  \
        k->name(queries, query_stride, nq, panel, from, dim, out, out_stride);                                      \
        k->name(queries, query_stride, nq, panel + k->u8_panel_size(from, dim), n - from, dim, (int32_t *)out + from, \
                out_stride);                                                                                        \
        free(panel);                                                                                                \
    }

RUN_BYTES(u8_multiply, u8_pack)
RUN_BYTES(u8_l2sq, u8_pack)
RUN_BYTES(i8_multiply, i8_pack)
RUN_BYTES(i8_l2sq, i8_pack)

/* Rows 128 lower, in blocks, and what that takes away put back. */
static void run_ip_u8i8_blocks(const struct distance_kernels *k, const void *queries, size_t query_stride, size_t nq,
                               const void *rows, size_t stride, const uint32_t *ids, size_t n, size_t dim, void *out,
                               size_t out_stride)
{
    size_t padded = (dim + 3) / 4 * 4, count = (n + SIMD_BLOCK_ROWS - 1) / SIMD_BLOCK_ROWS;
    uint8_t *memory = panel_alloc(count * SIMD_BLOCK_ROWS * padded), *query = calloc(padded + 1, 1);
    int32_t *products = malloc(count * SIMD_BLOCK_ROWS * sizeof *products + 1);

    assert_true(query && products);
    memset(memory, 0x80, count * SIMD_BLOCK_ROWS * padded);
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < dim; i++)
            memory[r / 16 * 16 * padded + i / 4 * 64 + r % 16 * 4 + i % 4] =
                ((const uint8_t *)rows)[(ids ? ids[r] : r) * stride + i] ^ 0x80;
    for (size_t q = 0; q < nq; q++) {
        uint32_t sum = 0;
        memcpy(query, (const uint8_t *)queries + q * query_stride, dim);
        for (size_t i = 0; i < dim; i++)
            sum += query[i];
        k->ip_u8i8_blocks(query, memory, count, padded, products);
        for (size_t r = 0; r < n; r++)
            ((int32_t *)out)[q * out_stride + r] = (int32_t)((uint32_t)products[r] + 128 * sum);
    }
    free(memory);
    free(query);
    free(products);
}

static const struct block_case blocks[] = {
    {"l2sq_f32_tile", false, 4, fill_f32, 6, define_l2sq_f32, run_l2sq_f32_tile, false},
    {"ip_f32_tile", false, 4, fill_f32, 6, define_ip_f32, run_ip_f32_tile, false},
    {"f32_multiply", false, 4, fill_f32, 6, define_ip_f32, run_f32_multiply, true},
    {"u8_multiply", true, 1, fill_bytes, 9, define_ip_u8, run_u8_multiply, true},
    {"u8_l2sq", true, 1, fill_bytes, 9, define_l2sq_u8, run_u8_l2sq, true},
    {"i8_multiply", true, 1, fill_bytes, 9, define_ip_i8, run_i8_multiply, true},
    {"i8_l2sq", true, 1, fill_bytes, 9, define_l2sq_i8, run_i8_l2sq, true},
    {"ip_u8i8_blocks", true, 1, fill_bytes, 9, define_ip_u8, run_ip_u8i8_blocks, true},
};

static void check_block(const struct distance_kernels *k, const struct block_case *b, size_t nq, size_t n, size_t dim,
                        unsigned pattern)
{
    size_t row_size = dim * b->element_size, query_stride = row_size + 1, stride = row_size + 3, out_stride = n + 5;
    struct guarded query_memory, row_memory;
    char *queries, *rows;
    uint32_t ids[BLOCK_MAX];
    union {
        float f;
        int32_t i;
    } *out = malloc((nq * out_stride + 1) * sizeof *out);

    assert_non_null(out);
    guarded_init(&query_memory, nq * query_stride + 1);
    guarded_init(&row_memory, n * stride + 1);
    queries = guarded_end(&query_memory, nq ? (nq - 1) * query_stride + row_size : 0);
    rows = guarded_end(&row_memory, n ? (n - 1) * stride + row_size : 0);
    for (size_t i = 0; i < n; i++) {
        b->fill(NULL, rows + i * stride, dim, pattern);
        ids[i] = (uint32_t)(random_u64() % n);
    }
    for (size_t i = 0; i < nq; i++) {
        char *scratch = malloc(row_size + 1);
        assert_non_null(scratch);
        b->fill(queries + i * query_stride, scratch, dim, pattern);
        free(scratch);
    }
    for (int by_id = 0; by_id <= b->takes_ids; by_id++) {
        for (size_t i = 0; i <= nq * out_stride; i++)
            out[i].i = 0x5a5a5a5a;
        b->run(k, queries, query_stride, nq, rows, stride, by_id ? ids : NULL, n, dim, out, out_stride);
        for (size_t i = 0; i < nq; i++) {
            for (size_t j = 0; j < n; j++) {
                const char *query = queries + i * query_stride, *row = rows + (by_id ? ids[j] : j) * stride;
                double magnitude = 0, want = b->define(query, row, dim, &magnitude);
                double got = b->integer ? out[i * out_stride + j].i : (double)out[i * out_stride + j].f;
                SCAN_EXPECT(b->integer ? got == want : scan_value_ok(got, want, magnitude, dim),
                            "%s: %zu x %zu dim %zu pattern %u, at %zu %zu: got %.9g, expected %.9g\n", b->name, nq, n,
                            dim, pattern, i, j, got, want);
            }
            for (size_t j = n; j < out_stride && i + 1 < nq; j++)
                assert_int_equal(out[i * out_stride + j].i, 0x5a5a5a5a);
        }
        assert_int_equal(out[nq * out_stride].i, 0x5a5a5a5a);
    }
    guarded_deinit(&query_memory);
    guarded_deinit(&row_memory);
    free(out);
}

static void test_block(void **state)
{
    static const size_t dims[] = {0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 131, 300, 784};
    static const size_t counts[] = {0, 1, 2, 3, 5, 6, 7, 12, 13, 16, 17, 31, 33, 47, 48, 49, 63, 64, 65, 97, 128, 150};
    const struct simd_test *test = *state;
    const struct block_case *b = test->kernel;

    for (size_t i = 0; i < sizeof dims / sizeof dims[0]; i++)
        for (unsigned pattern = 0; pattern < b->patterns; pattern++)
            check_block(test->row->distance, b, 1 + random_u64() % 15, 1 + random_u64() % 70, dims[i], pattern);
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        for (size_t j = 0; j < sizeof counts / sizeof counts[0]; j += 1 + random_u64() % 3)
            check_block(test->row->distance, b, counts[j], counts[i], 1 + random_u64() % 40, 0);
    check_block(test->row->distance, b, 3, 5, SIMD_DIM_MAX, 0);
    if (b->integer)
        for (unsigned pattern = 1; pattern < b->patterns; pattern++)
            check_block(test->row->distance, b, 2, 3, SIMD_DIM_MAX, pattern);
}

/* The epilogue of f32_multiply: a factor, and a bias per row. */
static void test_multiply_bias(void **state)
{
    const struct simd_test *test = *state;
    const struct distance_kernels *k = test->row->distance;
    enum { NQ = 7, N = 75, DIM = 33 };
    float queries[NQ][DIM], rows[N][DIM], bias[N], out[NQ][N];
    void *panel = panel_alloc(k->f32_panel_size(N, DIM));

    for (size_t i = 0; i < NQ; i++)
        fill_f32(NULL, queries[i], DIM, 0);
    for (size_t i = 0; i < N; i++)
        fill_f32(NULL, rows[i], DIM, 0);
    for (size_t i = 0; i < N; i++)
        bias[i] = random_f32() * 10;
    k->f32_pack(rows, sizeof rows[0], NULL, N, DIM, panel);
    k->f32_multiply(queries, sizeof queries[0], NQ, panel, N, DIM, -2.0f, bias, out[0], N);
    for (size_t i = 0; i < NQ; i++)
        for (size_t j = 0; j < N; j++) {
            double magnitude, want = define_ip_f32(queries[i], rows[j], DIM, &magnitude) * -2 + (double)bias[j];
            assert_true(fabs((double)out[i][j] - want) < 1e-5 * (2 * magnitude + 10));
        }
    free(panel);
}

int main(void)
{
    static const struct scan_case *const cases[] = {
        &case_l2sq_f32, &case_ip_f32,     &case_l2sq_f16, &case_ip_f16, &case_l2sq_bf16,
        &case_ip_bf16,  &case_l2sq_i8,    &case_ip_i8,    &case_l2sq_u8, &case_ip_u8,
        &case_hamming_b1, &case_and_b1,   &case_or_b1,    &case_jaccard_b1,
    };

    simd_test_seed();
    FOR_EACH_SUPPORTED_ROW(row) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            simd_test_add(row, cases[i]->name, cases[i], scan_test);
        for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
            simd_test_add(row, blocks[i].name, &blocks[i], test_block);
        simd_test_add(row, "f32_multiply_bias", NULL, test_multiply_bias);
    }
    return simd_test_run("simd_distance");
}
