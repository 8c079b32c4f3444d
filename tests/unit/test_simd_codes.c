/* Kernels on codes, of every instruction set, against definitions written out here or against scalar. */
#include "support/simd_scan.h"

#include "simd/scalar/scalar.h"

/* ---- scans ---- */

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

static size_t size_half(size_t dim)
{
    return dim / 2;
}

static size_t size_bits(size_t dim)
{
    return dim / 8;
}

static size_t size_1024(size_t dim)
{
    return 1024 * dim;
}

static const uint8_t extremes[][2] = {{127, 255}, {0x80, 255}, {0x81, 255}, {255, 255}, {0x80, 0}, {1, 0x80}};
#define PATTERNS 7

/* query_size and row_size bytes, at random or all at an extreme */
static void fill(void *query, size_t query_size, void *row, size_t row_size, unsigned pattern)
{
    if (pattern == 0) {
        if (query)
            random_bytes(query, query_size);
        random_bytes(row, row_size);
        return;
    }
    if (query)
        memset(query, extremes[pattern - 1][0], query_size);
    memset(row, extremes[pattern - 1][1], row_size);
}

static void fill_bytes(void *query, void *row, size_t dim, unsigned pattern)
{
    fill(query, dim, row, dim, pattern);
}

static void fill_bytes_x2(void *query, void *row, size_t dim, unsigned pattern)
{
    fill(query, 2 * dim, row, dim, pattern);
}

static void fill_floats(void *query, void *row, size_t dim, unsigned pattern)
{
    for (size_t i = 0; query && i < dim; i++) {
        float value = random_f32() * (pattern ? 1e30f : 1.0f);
        memcpy((char *)query + 4 * i, &value, sizeof value);
    }
    random_bytes(row, dim);
}

static void fill_tables(void *query, void *row, size_t dim, unsigned pattern)
{
    for (size_t i = 0; query && i < 256 * dim; i++) {
        float value = dim < 5000 || i % 64 == 0 ? random_f32() : (float)i; /* large ones would take long */
        memcpy((char *)query + 4 * i, &value, sizeof value);
    }
    random_bytes(row, dim);
}

static void fill_planes(void *query, void *row, size_t dim, unsigned pattern)
{
    fill(query, dim / 2, row, dim / 8, pattern);
}

static double define_dot_u8s8(const void *query, const void *row, size_t dim, double *magnitude)
{
    double sum = 0;

    *magnitude = 0;
    for (size_t i = 0; i < dim; i++) {
        double product = (double)((const int8_t *)query)[i] * ((const uint8_t *)row)[i];
        sum += product;
        *magnitude += fabs(product);
    }
    return sum;
}

static double define_dot_u8s8x2(const void *query, const void *row, size_t dim, double *magnitude)
{
    double high_magnitude, low_magnitude;
    double high = define_dot_u8s8(query, row, dim, &high_magnitude);
    double low = define_dot_u8s8((const char *)query + dim, row, dim, &low_magnitude);

    *magnitude = 128 * high_magnitude + low_magnitude;
    return 128 * high + low;
}

static double define_dot_u8f32(const void *query, const void *row, size_t dim, double *magnitude)
{
    double sum = 0;

    *magnitude = 0;
    for (size_t i = 0; i < dim; i++) {
        double product = (double)load_f32(query, i) * ((const uint8_t *)row)[i];
        sum += product;
        *magnitude += fabs(product);
    }
    return sum;
}

static double define_pq8(const void *query, const void *row, size_t dim, double *magnitude)
{
    double sum = 0;

    *magnitude = 0;
    for (size_t i = 0; i < dim; i++) {
        double entry = (double)load_f32(query, 256 * i + ((const uint8_t *)row)[i]);
        sum += entry;
        *magnitude += fabs(entry);
    }
    return sum;
}

static double define_dot_b1u4(const void *query, const void *row, size_t dim, double *magnitude)
{
    const uint8_t *q = query, *r = row;
    double sum = 0;

    (void)magnitude;
    for (size_t i = 0; i < dim; i++)
        for (size_t plane = 0; plane < 4; plane++)
            if ((r[i / 8] & q[plane * (dim / 8) + i / 8]) >> i % 8 & 1)
                sum += 1 << plane;
    return sum;
}

/* Value i of a packed code, read off the description in kernels.h. */
static unsigned code_value(const uint8_t *code, unsigned bits, size_t i)
{
    const uint8_t *p = code + i / 64 * 8 * bits;
    unsigned value = 0;

    i %= 64;
    if (bits == 8)
        return p[i];
    if (bits & 4) {
        value = value << 4 | (i < 32 ? p[i] & 15u : p[i - 32] >> 4);
        p += 32;
    }
    if (bits & 2) {
        value = value << 2 | (p[i % 16] >> i / 16 * 2 & 3u);
        p += 16;
    }
    if (bits & 1)
        value = value << 1 | (p[i / 8] >> i % 8 & 1u);
    return value;
}

#define DOT_CODE(bits)                                                                                        \
    static size_t size_code##bits(size_t dim)                                                                 \
    {                                                                                                         \
        return dim / 8 * (bits);                                                                              \
    }                                                                                                         \
    static void fill_code##bits(void *query, void *row, size_t dim, unsigned pattern)                         \
    {                                                                                                         \
        fill(query, dim, row, size_code##bits(dim), pattern);                                                 \
    }                                                                                                         \
    static double define_dot_code##bits(const void *query, const void *row, size_t dim, double *magnitude)    \
    {                                                                                                         \
        double sum = 0;                                                                                       \
        (void)magnitude;                                                                                      \
        for (size_t i = 0; i < dim; i++)                                                                      \
            sum += (double)((const int8_t *)query)[i] * code_value(row, bits, i);                             \
        return sum;                                                                                           \
    }                                                                                                         \
    static const void *find_dot_code##bits(const struct simd_row *row)                                        \
    {                                                                                                         \
        return &row->codes->dot_code[bits];                                                                   \
    }                                                                                                         \
    static const struct scan_case case_dot_code##bits = {                                                     \
        "dot_code" #bits, find_dot_code##bits, true, 64, size_1, size_code##bits, PATTERNS, fill_code##bits,  \
        define_dot_code##bits};

DOT_CODE(1)
DOT_CODE(2)
DOT_CODE(3)
DOT_CODE(4)
DOT_CODE(5)
DOT_CODE(6)
DOT_CODE(7)
DOT_CODE(8)

#define CASE(kernel, is_integer, step, query_bytes, row_bytes, n_patterns, filler)                     \
    static const void *find_##kernel(const struct simd_row *row)                                       \
    {                                                                                                  \
        return &row->codes->kernel;                                                                    \
    }                                                                                                  \
    static const struct scan_case case_##kernel = {                                                    \
        #kernel, find_##kernel, is_integer, step, query_bytes, row_bytes, n_patterns, filler, define_##kernel};

CASE(dot_u8s8, true, 1, size_1, size_1, PATTERNS, fill_bytes)
CASE(dot_u8s8x2, false, 1, size_2, size_1, PATTERNS, fill_bytes_x2)
CASE(dot_u8f32, false, 1, size_4, size_1, 2, fill_floats)
CASE(dot_b1u4, true, 64, size_half, size_bits, PATTERNS, fill_planes)
CASE(pq8, false, 1, size_1024, size_1, 1, fill_tables)

/* ---- packing ---- */

static void test_code_pack(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct guarded in, out;

    guarded_init(&in, 8192);
    guarded_init(&out, 8192);
    for (unsigned bits = 1; bits <= 8; bits++)
        for (size_t dim = 0; dim <= 300; dim++) {
            uint8_t *values = guarded_end(&in, dim), *code = guarded_end(&out, simd_code_size(dim, bits));
            for (size_t i = 0; i < dim; i++)
                values[i] = (uint8_t)(random_u64() & ((1u << bits) - 1));
            memset(code, 0xee, simd_code_size(dim, bits));
            k->code_pack(values, dim, bits, code);
            for (size_t i = 0; i < dim; i++)
                assert_int_equal(code_value(code, bits, i), values[i]);
            for (size_t i = dim; i < simd_code_dim(dim); i++)
                assert_int_equal(code_value(code, bits, i), 0);
        }
    guarded_deinit(&in);
    guarded_deinit(&out);
}

static void test_code_unpack(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct guarded in, out;

    guarded_init(&in, 8192);
    guarded_init(&out, 8192);
    for (unsigned bits = 1; bits <= 8; bits++)
        for (size_t dim = 0; dim <= 300; dim++) {
            uint8_t *code = guarded_end(&in, simd_code_size(dim, bits)), *values = guarded_end(&out, dim);
            random_bytes(code, simd_code_size(dim, bits));
            k->code_unpack(code, dim, bits, values);
            for (size_t i = 0; i < dim; i++)
                assert_int_equal(values[i], code_value(code, bits, i));
        }
    guarded_deinit(&in);
    guarded_deinit(&out);
}

/* ---- FastScan ---- */

static void check_fastscan(const struct code_kernels *k, size_t tables, size_t n_blocks, size_t nq, bool extreme)
{
    size_t n = 32 * n_blocks, stride = tables + 3, out_stride = n + 7;
    uint8_t *rows = calloc(n * stride + 1, 1);
    struct guarded block_memory, lut_memory;
    uint8_t *blocks, *luts;
    const uint8_t *tables_of[16];
    int32_t *out = malloc((nq * out_stride + 1) * sizeof *out);

    assert_true(rows && out);
    guarded_init(&block_memory, n_blocks * tables * 16 + 1);
    guarded_init(&lut_memory, nq * tables * 16 + 1);
    blocks = guarded_end(&block_memory, n_blocks * tables * 16);
    luts = guarded_end(&lut_memory, nq * tables * 16);
    for (size_t i = 0; i < n * stride; i++)
        rows[i] = extreme ? 15 : (uint8_t)(random_u64() & 15);
    for (size_t i = 0; i < nq * tables * 16; i++)
        luts[i] = extreme ? 255 : (uint8_t)random_u64();
    for (size_t b = 0; b < n_blocks; b++) {
        size_t filled = b + 1 == n_blocks ? 1 + random_u64() % 32 : 32;
        for (size_t v = filled; v < 32; v++) /* rows that are not there count as zeros */
            memset(rows + (32 * b + v) * stride, 0, tables);
        k->fastscan_pack(rows + 32 * b * stride, stride, filled, tables, blocks + b * tables * 16);
    }
    for (size_t i = 0; i <= nq * out_stride; i++)
        out[i] = 0x5a5a5a5a;
    assert_true(nq <= 16);
    for (size_t q = 0; q < nq; q++)
        tables_of[q] = luts + q * tables * 16;
    k->fastscan(blocks, n_blocks, tables, tables_of, nq, out, out_stride);
    for (size_t q = 0; q < nq; q++) {
        for (size_t v = 0; v < n; v++) {
            int32_t want = 0;
            for (size_t t = 0; t < tables; t++)
                want += luts[(q * tables + t) * 16 + rows[v * stride + t]];
            assert_int_equal(out[q * out_stride + v], want);
        }
        for (size_t v = n; v < out_stride; v++)
            assert_int_equal(out[q * out_stride + v], 0x5a5a5a5a);
    }
    guarded_deinit(&block_memory);
    guarded_deinit(&lut_memory);
    free(rows);
    free(out);
}

static void test_fastscan(void **state)
{
    static const size_t tables[] = {0,  2,  4,   6,   8,   14,  16,  32,  62,  64,  128,
                                    192, 254, 256, 258, 260, 384, 512, 514, 1024, 1536, 4096};
    const struct simd_test *test = *state;

    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (size_t nq = 0; nq <= 9; nq += 1 + (tables[i] > 100))
            check_fastscan(test->row->codes, tables[i], nq % 4 + (nq < 4), nq, false);
}

/* Every entry 255: 16-bit sums overflow past 257 tables, unless they are cared for. */
static void test_fastscan_extreme(void **state)
{
    static const size_t tables[] = {2, 128, 256, 258, 260, 384, 514, 1024, 1536, 4096, 16384};
    const struct simd_test *test = *state;

    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        for (size_t nq = 1; nq <= 4; nq++)
            check_fastscan(test->row->codes, tables[i], 1, nq, true);
}

/* ---- element by element ---- */

#define MOST 300

static bool close_enough(float got, double want, double magnitude)
{
    return fabs((double)got - want) <= 4 * (double)FLT_EPSILON * magnitude + (double)FLT_MIN;
}

static void test_score(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;

    for (size_t n = 0; n <= 70; n++)
        for (int with = 0; with < 4; with++) {
            int32_t ip[70];
            uint32_t ids[70];
            float a[70], b[70], out[71] = {0}, gathered[71] = {0}, g = random_f32(), scale = random_f32(), t = random_f32();
            const float *pa = with & 1 ? a : NULL, *pb = with & 2 ? b : NULL;
            for (size_t i = 0; i < 70; i++) {
                ip[i] = (int32_t)(random_u64() % 2000000) - 1000000;
                ids[i] = (uint32_t)(random_u64() % 70);
                a[i] = random_f32();
                b[i] = random_f32();
            }
            out[n] = gathered[n] = 77.0f;
            k->score_i32(ip, pa, pb, n, g, scale, t, out);
            k->score_i32_gather(ip, ids, pa, pb, n, g, scale, t, gathered);
            for (size_t i = 0; i < n; i++) {
                double dot = (double)scale * ip[i] + (double)t, magnitude = fabs((double)scale * ip[i]) + 4;
                double want = (pa ? (double)a[i] : 0) + (double)g + (pb ? (double)b[i] : 1) * dot;
                assert_true(close_enough(out[i], want, magnitude));
                want = (pa ? (double)a[ids[i]] : 0) + (double)g + (pb ? (double)b[ids[i]] : 1) * dot;
                assert_true(close_enough(gathered[i], want, magnitude));
            }
            assert_true(out[n] == 77.0f && gathered[n] == 77.0f);
        }
}

/* Inputs that end where memory does, outputs likewise: in and out hold n values of the sizes given. */
struct vectors {
    struct guarded memory[4];
};

static void vectors_init(struct vectors *v)
{
    for (size_t i = 0; i < 4; i++)
        guarded_init(&v->memory[i], 4096 * 4);
}

static void vectors_deinit(struct vectors *v)
{
    for (size_t i = 0; i < 4; i++)
        guarded_deinit(&v->memory[i]);
}

static float *random_floats(struct vectors *v, size_t which, size_t n, float scale)
{
    float *x = guarded_end(&v->memory[which], n * sizeof *x);

    for (size_t i = 0; i < n; i++)
        x[i] = random_f32() * scale;
    return x;
}

/* Codes are the same to the bit on every CPU, or an index would depend on where it was built. */
static void test_sq8(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (size_t dim = 0; dim <= MOST; dim++) {
        float *x = random_floats(&v, 0, dim, 3.0f), *low = random_floats(&v, 1, dim, 1.0f), decoded[MOST];
        float *step = random_floats(&v, 2, dim, 0.01f);
        uint8_t *code = guarded_end(&v.memory[3], dim), want[MOST];
        if (dim > 20) {
            x[3] = 1e30f;
            x[4] = -1e30f;
            x[5] = NAN;
            x[6] = -1.25f;
            x[7] = INFINITY;
        }
        k->sq8_encode(x, dim, -1.25f, 100.0f, code);
        scalar_sq8_encode(x, dim, -1.25f, 100.0f, want);
        assert_memory_equal(code, want, dim);
        for (size_t i = 0; i < dim; i++)
            if (fabsf(x[i]) < 10)
                assert_true(abs(code[i] - (int)fmin(255, fmax(0, round(((double)x[i] + 1.25) * 100)))) <= 1);
        k->sq8_decode(code, dim, -1.25f, 0.01f, decoded);
        for (size_t i = 0; i < dim; i++)
            assert_true(close_enough(decoded[i], -1.25 + (double)0.01f * code[i], 4));
        for (size_t i = 0; i < dim; i++)
            step[i] = 1.0f / (fabsf(step[i]) + 0.001f);
        k->sq8_encode_dims(x, dim, low, step, code);
        scalar_sq8_encode_dims(x, dim, low, step, want);
        assert_memory_equal(code, want, dim);
        k->sq8_decode_dims(code, dim, low, step, decoded);
        for (size_t i = 0; i < dim; i++)
            assert_true(close_enough(decoded[i], (double)low[i] + (double)step[i] * code[i], 300000));
    }
    vectors_deinit(&v);
}

static void test_quantize(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (size_t dim = 0; dim <= MOST; dim++) {
        float *x = random_floats(&v, 0, dim, 1.3f); /* some clip */
        int8_t *out = guarded_end(&v.memory[1], dim), want[2 * MOST], *two = guarded_end(&v.memory[2], 2 * dim);
        k->quantize_i8(x, dim, 127.0f, out);
        scalar_quantize_i8(x, dim, 127.0f, want);
        assert_memory_equal(out, want, dim);
        for (size_t i = 0; i < dim; i++)
            assert_true(fabs(out[i] - fmin(127, fmax(-127, (double)x[i] * 127))) <= 0.51);
        k->quantize_i8x2(x, dim, 16256.0f, two);
        scalar_quantize_i8x2(x, dim, 16256.0f, want);
        assert_memory_equal(two, want, 2 * dim);
        for (size_t i = 0; i < dim; i++)
            assert_true(fabs(128 * two[i] + two[dim + i] - fmin(16256, fmax(-16256, (double)x[i] * 16256))) <= 0.51);
    }
    vectors_deinit(&v);
}

static void test_rabitq_encode(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (unsigned bits = 1; bits <= 8; bits++)
        for (size_t dim = 0; dim <= MOST; dim += 1 + bits % 3) {
            float *x = random_floats(&v, 0, dim, 1.0f), t = (float)(1 << bits) * 0.6f;
            uint8_t *u = guarded_end(&v.memory[1], dim);
            if (dim > 3) {
                x[1] = 0.0f;
                x[2] = 1e30f;
            }
            k->rabitq_encode(x, dim, t, bits, u);
            for (size_t i = 0; i < dim; i++) {
                int m = (int)fmin(floor((double)(fabsf(x[i]) * t)), (1 << (bits - 1)) - 1);
                assert_int_equal(u[i], x[i] >= 0 ? (1 << (bits - 1)) + m : (1 << (bits - 1)) - 1 - m);
            }
        }
    vectors_deinit(&v);
}

/* ---- rotation ---- */

static void test_hadamard(void **state)
{
    const struct simd_test *test = *state;
    struct vectors v;

    vectors_init(&v);
    for (size_t n = 1; n <= 4096; n *= 2) {
        float *x = random_floats(&v, 0, n, 1.0f);
        double sum = 0;
        static double before[4096];
        for (size_t i = 0; i < n; i++) {
            before[i] = (double)x[i];
            sum += fabs(before[i]);
        }
        test->row->codes->hadamard(x, n);
        for (size_t j = 0; j < n; j += n > 256 ? 1 + random_u64() % 64 : 1) {
            double want = 0;
            for (size_t i = 0; i < n; i++)
                want += __builtin_popcountll(i & j) & 1 ? -before[i] : before[i];
            assert_true(fabs((double)x[j] - want) <= 16 * (double)FLT_EPSILON * sum);
        }
    }
    vectors_deinit(&v);
}

static void test_rotate(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    static float x[4096], y[4096], want[4096];
    static uint8_t signs[4 * 4096 / 8];

    for (size_t dim = 0; dim <= 4096; dim += dim < 1024 ? 64 : 512) {
        double norm = 0, rotated = 0, moved = 0, error = 0, back = 0;
        random_bytes(signs, sizeof signs);
        for (size_t i = 0; i < dim; i++)
            x[i] = y[i] = want[i] = i < dim / 8 ? 1.0f + random_f32() : 0.0f;
        k->rotate(y, dim, signs);
        scalar_rotate(want, dim, signs);
        for (size_t i = 0; i < dim; i++) {
            norm += (double)x[i] * (double)x[i];
            rotated += (double)y[i] * (double)y[i];
            moved = fmax(moved, fabs((double)y[i]));
            error = fmax(error, fabs((double)(y[i] - want[i])));
        }
        assert_true(fabs(norm - rotated) <= 1e-5 * norm);
        assert_true(error <= 1e-5 * sqrt(norm));
        if (dim >= 256) /* the mass of an eighth is spread over all */
            assert_true(moved <= 6 * sqrt(norm / (double)dim));
        k->unrotate(y, dim, signs);
        for (size_t i = 0; i < dim; i++)
            back = fmax(back, fabs((double)(y[i] - x[i])));
        assert_true(back <= 1e-5 * sqrt(norm));
    }
}

/* ---- conversion ---- */

static void test_f16(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    static uint16_t halves[65536], back[65536];
    static float floats[65536];

    for (size_t i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    k->f32_from_f16(halves, 65536, floats);
    for (size_t i = 0; i < 65536; i++) {
        int exponent = (int)(i >> 10 & 31), fraction = (int)(i & 1023);
        double want = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
        if (exponent == 31)
            want = fraction ? NAN : INFINITY;
        if (i & 0x8000)
            want = -want;
        assert_true(isnan(want) ? isnan(floats[i]) : (double)floats[i] == want && !signbit(want) == !signbit(floats[i]));
    }
    k->f16_from_f32(floats, 65536, back); /* every half survives */
    for (size_t i = 0; i < 65536; i++)
        assert_true(back[i] == i || ((i & 0x7fff) > 0x7c00 && (back[i] & 0x7fff) > 0x7c00));
    for (size_t i = 0; i < 65536; i++) { /* any float: the nearest, ties to even */
        uint32_t bits = (uint32_t)random_u64();
        if (i % 2) /* near the middle between two halves, in their range */
            bits = (uint32_t)(0x33000000 + random_u64() % 0x15000000) & ~0x1fffu;
        if (i % 4 == 1)
            bits += 0x1000 + (uint32_t)(random_u64() % 3) - 1;
        floats[i] = f32_of_bits(bits | (uint32_t)(random_u64() & 1) << 31);
    }
    k->f16_from_f32(floats, 65536, back);
    for (size_t i = 0; i < 65536; i++) {
        double value = fabs((double)floats[i]), ulp, rounded;
        int exponent;
        uint16_t want;
        if (isnan(floats[i])) {
            assert_true((back[i] & 0x7fff) > 0x7c00);
            continue;
        }
        frexp(value, &exponent);
        ulp = ldexp(1, exponent < -13 ? -24 : exponent - 11);
        rounded = isinf(floats[i]) ? INFINITY : nearbyint(value / ulp) * ulp;
        if (rounded >= 65536)
            want = 0x7c00;
        else if (rounded < 0x1p-14)
            want = (uint16_t)(rounded * 0x1p24);
        else {
            frexp(rounded, &exponent);
            want = (uint16_t)(((exponent + 14) << 10) + (int)(rounded * ldexp(1, 11 - exponent)) - 1024);
        }
        assert_int_equal(back[i] & 0x7fff, want);
        assert_int_equal(back[i] >> 15, signbit(floats[i]) ? 1 : 0);
    }
}

static void test_bf16(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    static uint16_t halves[65536], back[65536];
    static float floats[65536];

    for (size_t i = 0; i < 65536; i++)
        halves[i] = (uint16_t)i;
    k->f32_from_bf16(halves, 65536, floats);
    for (size_t i = 0; i < 65536; i++)
        assert_int_equal(bits_of_f32(floats[i]), (uint32_t)i << 16);
    k->bf16_from_f32(floats, 65536, back);
    for (size_t i = 0; i < 65536; i++)
        assert_true(back[i] == i || ((i & 0x7fff) > 0x7f80 && (back[i] & 0x7fff) > 0x7f80));
    for (size_t i = 0; i < 65536; i++)
        floats[i] = f32_of_bits((uint32_t)random_u64() & (i % 2 ? 0xffff8000 : 0xffffffff));
    k->bf16_from_f32(floats, 65536, back);
    for (size_t i = 0; i < 65536; i++) {
        uint32_t bits = bits_of_f32(floats[i]), rest = bits & 0xffff, want = bits >> 16;
        if (isnan(floats[i])) {
            assert_true((back[i] & 0x7fff) > 0x7f80);
            continue;
        }
        if (rest > 0x8000 || (rest == 0x8000 && want & 1))
            want++;
        assert_int_equal(back[i], want);
    }
}

/* Every length, ends guarded: same as scalar. */
static void test_conversion_lengths(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (size_t n = 0; n <= MOST; n++) {
        float *x = random_floats(&v, 0, n, 100.0f), *y = guarded_end(&v.memory[1], 4 * n), wide[MOST];
        uint16_t *half = guarded_end(&v.memory[2], 2 * n), halves[MOST];
        uint8_t *byte = guarded_end(&v.memory[3], n);
        k->f16_from_f32(x, n, half);
        scalar_f16_from_f32(x, n, halves);
        assert_memory_equal(half, halves, 2 * n);
        k->f32_from_f16(half, n, y);
        scalar_f32_from_f16(half, n, wide);
        assert_memory_equal(y, wide, 4 * n);
        k->bf16_from_f32(x, n, half);
        scalar_bf16_from_f32(x, n, halves);
        assert_memory_equal(half, halves, 2 * n);
        k->f32_from_bf16(half, n, y);
        scalar_f32_from_bf16(half, n, wide);
        assert_memory_equal(y, wide, 4 * n);
        random_bytes(byte, n);
        k->f32_from_u8(byte, n, y);
        for (size_t i = 0; i < n; i++)
            assert_true(y[i] == (float)byte[i]);
        k->f32_from_i8(byte, n, y);
        for (size_t i = 0; i < n; i++)
            assert_true(y[i] == (float)(int8_t)byte[i]);
    }
    vectors_deinit(&v);
}

static void test_u8_from_f32(void **state)
{
    static const float bad[] = {256.0f, -1.0f, 0.5f, 254.99998f, 1e10f, -1e10f, 1e-30f, NAN, INFINITY, -INFINITY, 4294967296.0f};
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (size_t n = 0; n <= MOST; n++) {
        float *x = guarded_end(&v.memory[0], 4 * n);
        uint8_t *out = guarded_end(&v.memory[1], n), scratch[MOST];
        for (size_t i = 0; i < n; i++)
            x[i] = (float)(random_u64() % 256);
        if (n)
            x[random_u64() % n] = -0.0f;
        assert_true(k->u8_from_f32(x, n, out));
        for (size_t i = 0; i < n; i++)
            assert_true((float)out[i] == x[i]);
        for (size_t b = 0; n && b < sizeof bad / sizeof bad[0]; b++) {
            size_t where = random_u64() % n;
            float good = x[where];
            x[where] = bad[b];
            assert_false(k->u8_from_f32(x, n, scratch));
            x[where] = good;
        }
    }
    vectors_deinit(&v);
}

static void test_finite(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (size_t n = 0; n <= MOST; n++) {
        float *x = random_floats(&v, 0, n, 3e38f);
        uint16_t *half = guarded_end(&v.memory[1], 2 * n), *brain = guarded_end(&v.memory[2], 2 * n);
        for (size_t i = 0; i < n; i++) {
            half[i] = (uint16_t)(random_u64() % 0x7c00 | (random_u64() & 1) << 15);
            brain[i] = (uint16_t)(random_u64() % 0x7f80 | (random_u64() & 1) << 15);
        }
        assert_true(k->finite_f32(x, n));
        assert_true(k->finite_f16(half, n));
        assert_true(k->finite_bf16(brain, n));
        for (int kind = 0; n && kind < 3; kind++) {
            size_t where = random_u64() % n;
            float was = x[where];
            uint16_t half_was = half[where], brain_was = brain[where];
            x[where] = kind == 0 ? NAN : kind == 1 ? INFINITY : -INFINITY;
            half[where] = kind == 0 ? 0x7e01 : kind == 1 ? 0x7c00 : 0xfc00;
            brain[where] = kind == 0 ? 0x7fc1 : kind == 1 ? 0x7f80 : 0xff80;
            assert_false(k->finite_f32(x, n));
            assert_false(k->finite_f16(half, n));
            assert_false(k->finite_bf16(brain, n));
            x[where] = was;
            half[where] = half_was;
            brain[where] = brain_was;
        }
    }
    vectors_deinit(&v);
}

/* ---- sums ---- */

static void test_sums(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (size_t n = 0; n <= MOST; n++) {
        float *x = random_floats(&v, 0, n, 1.0f);
        uint8_t *byte = guarded_end(&v.memory[1], n);
        double sum = 0, sumsq = 0, magnitude = 0;
        int32_t u8 = 0, u8sq = 0, i8 = 0, i8sq = 0;
        random_bytes(byte, n);
        if (n % 5 == 4)
            memset(byte, n % 2 ? 0xff : 0x80, n);
        for (size_t i = 0; i < n; i++) {
            int8_t s = (int8_t)byte[i];
            sum += (double)x[i];
            magnitude += fabs((double)x[i]);
            sumsq += (double)x[i] * (double)x[i];
            u8 += byte[i];
            u8sq += byte[i] * byte[i];
            i8 += s;
            i8sq += s * s;
        }
        assert_true(scan_value_ok((double)k->sum_f32(x, n), sum, magnitude, n));
        assert_true(scan_value_ok((double)k->sumsq_f32(x, n), sumsq, sumsq, n));
        assert_int_equal(k->sum_u8(byte, n), u8);
        assert_int_equal(k->sumsq_u8(byte, n), u8sq);
        assert_int_equal(k->sum_i8(byte, n), i8);
        assert_int_equal(k->sumsq_i8(byte, n), i8sq);
    }
    vectors_deinit(&v);
}

static void test_normalize(void **state)
{
    static const float scales[] = {1.0f, 1e-40f, 1e-25f, 1e18f, 1e30f};
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (size_t n = 1; n <= MOST; n++)
        for (size_t s = 0; s < sizeof scales / sizeof scales[0]; s++) {
            float *x = random_floats(&v, 0, n, scales[s]), *out = guarded_end(&v.memory[1], 4 * n), norm;
            double want = 0;
            x[0] = scales[s]; /* never all zero */
            for (size_t i = 0; i < n; i++)
                want += (double)x[i] * (double)x[i];
            want = sqrt(want);
            norm = k->normalize_f32(x, n, out);
            assert_true(fabs((double)norm - want) <= 1e-5 * want + 2e-45);
            for (size_t i = 0; i < n; i++)
                assert_true(fabs((double)out[i] - (double)x[i] / want) <= 1e-5);
            k->normalize_f32(x, n, x); /* in place */
            assert_memory_equal(x, out, 4 * n);
        }
    for (size_t n = 0; n < 40; n++) {
        float zero[40] = {0}, out[40];
        assert_true(k->normalize_f32(zero, n, out) == 0.0f);
        assert_memory_equal(out, zero, 4 * n);
    }
    vectors_deinit(&v);
}

static void test_arithmetic(void **state)
{
    const struct simd_test *test = *state;
    const struct code_kernels *k = test->row->codes;
    struct vectors v;

    vectors_init(&v);
    for (size_t n = 0; n <= MOST; n++) {
        float *x = random_floats(&v, 0, n, 1.0f), *y = random_floats(&v, 1, n, 1.0f), *out = guarded_end(&v.memory[2], 4 * n);
        uint8_t *byte = guarded_end(&v.memory[3], n);
        uint32_t counts[MOST];
        float was[MOST];
        k->sub_f32(x, y, n, out);
        for (size_t i = 0; i < n; i++)
            assert_true(out[i] == x[i] - y[i]);
        k->sub_f32(x, y, n, x); /* out may be x */
        assert_memory_equal(x, out, 4 * n);
        memcpy(was, out, 4 * n);
        k->add_f32(out, y, n);
        for (size_t i = 0; i < n; i++)
            assert_true(out[i] == was[i] + y[i]);
        memcpy(was, out, 4 * n);
        k->scale_f32(out, n, 3.5f);
        for (size_t i = 0; i < n; i++)
            assert_true(out[i] == was[i] * 3.5f);
        random_bytes(byte, n);
        for (size_t i = 0; i < n; i++)
            counts[i] = (uint32_t)i * 100000;
        k->add_u8(counts, byte, n);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(counts[i], i * 100000 + byte[i]);
    }
    vectors_deinit(&v);
}

int main(void)
{
    static const struct scan_case *const cases[] = {
        &case_dot_u8s8,  &case_dot_u8s8x2, &case_dot_u8f32, &case_dot_code1, &case_dot_code2, &case_dot_code3, &case_dot_code4,
        &case_dot_code5, &case_dot_code6,  &case_dot_code7, &case_dot_code8, &case_dot_b1u4,  &case_pq8,
    };
    static const struct {
        const char *name;
        CMUnitTestFunction function;
    } tests[] = {
        {"code_pack", test_code_pack},
        {"code_unpack", test_code_unpack},
        {"fastscan", test_fastscan},
        {"fastscan_extreme", test_fastscan_extreme},
        {"score", test_score},
        {"sq8", test_sq8},
        {"quantize", test_quantize},
        {"rabitq_encode", test_rabitq_encode},
        {"hadamard", test_hadamard},
        {"rotate", test_rotate},
        {"f16", test_f16},
        {"bf16", test_bf16},
        {"conversion_lengths", test_conversion_lengths},
        {"u8_from_f32", test_u8_from_f32},
        {"finite", test_finite},
        {"sums", test_sums},
        {"normalize", test_normalize},
        {"arithmetic", test_arithmetic},
    };

    simd_test_seed();
    FOR_EACH_SUPPORTED_ROW(row) {
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            simd_test_add(row, cases[i]->name, cases[i], scan_test);
        for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
            simd_test_add(row, tests[i].name, NULL, tests[i].function);
    }
    return simd_test_run("simd_codes");
}
