/* simd/distance: every metric over every element type, against its textbook definition. */
#include <math.h>

#include "support/simd_test.h"

#include "simd/distance.h"
#include "simd/scalar/scalar.h"

enum { ROWS = 37 };

struct pair {
    const char *name;
    enum distance_element element;
    vecdb_metric metric;
};

static const struct pair pairs[] = {
    {"L2_f32", ELEMENT_F32, VECDB_METRIC_L2},          {"IP_f32", ELEMENT_F32, VECDB_METRIC_IP},
    {"COSINE_f32", ELEMENT_F32, VECDB_METRIC_COSINE},  {"L2_f16", ELEMENT_F16, VECDB_METRIC_L2},
    {"IP_f16", ELEMENT_F16, VECDB_METRIC_IP},          {"COSINE_f16", ELEMENT_F16, VECDB_METRIC_COSINE},
    {"L2_bf16", ELEMENT_BF16, VECDB_METRIC_L2},        {"IP_bf16", ELEMENT_BF16, VECDB_METRIC_IP},
    {"COSINE_bf16", ELEMENT_BF16, VECDB_METRIC_COSINE}, {"L2_i8", ELEMENT_I8, VECDB_METRIC_L2},
    {"IP_i8", ELEMENT_I8, VECDB_METRIC_IP},            {"COSINE_i8", ELEMENT_I8, VECDB_METRIC_COSINE},
    {"L2_u8", ELEMENT_U8, VECDB_METRIC_L2},            {"IP_u8", ELEMENT_U8, VECDB_METRIC_IP},
    {"COSINE_u8", ELEMENT_U8, VECDB_METRIC_COSINE},    {"HAMMING_b1", ELEMENT_B1, VECDB_METRIC_HAMMING},
    {"JACCARD_b1", ELEMENT_B1, VECDB_METRIC_JACCARD},
};

static double element(enum distance_element kind, const char *row, size_t i)
{
    switch (kind) {
    case ELEMENT_F32: return (double)load_f32(row, i);
    case ELEMENT_F16: return (double)f32_of_f16(load_u16(row, i));
    case ELEMENT_BF16: return (double)f32_of_bf16(load_u16(row, i));
    case ELEMENT_I8: return ((const int8_t *)row)[i];
    case ELEMENT_U8: return ((const uint8_t *)row)[i];
    default: return ((const uint8_t *)row)[i / 8] >> i % 8 & 1;
    }
}

static void fill_row(enum distance_element kind, char *row, size_t dim)
{
    for (size_t i = 0; i < dim; i++) {
        float value = random_f32();
        uint16_t half = kind == ELEMENT_F16 ? f16_of_f32(value) : bf16_of_f32(value);
        if (kind == ELEMENT_F32)
            memcpy(row + 4 * i, &value, 4);
        else if (kind == ELEMENT_F16 || kind == ELEMENT_BF16)
            memcpy(row + 2 * i, &half, 2);
        else if (kind == ELEMENT_B1)
            row[i / 8] = i % 8 ? row[i / 8] : (char)random_u64();
        else
            row[i] = (char)random_u64();
    }
}

static double define(const struct pair *pair, const char *q, const char *r, size_t dim)
{
    double dot = 0, l2 = 0, qq = 0, rr = 0, either = 0;

    for (size_t i = 0; i < dim; i++) {
        double a = element(pair->element, q, i), b = element(pair->element, r, i);
        dot += a * b;
        l2 += (a - b) * (a - b);
        qq += a * a;
        rr += b * b;
        either += a != 0 || b != 0;
    }
    switch (pair->metric) {
    case VECDB_METRIC_IP: return -dot;
    case VECDB_METRIC_COSINE: return rr > 0 ? 1 - dot / sqrt(qq * rr) : 1;
    case VECDB_METRIC_JACCARD: return either > 0 ? 1 - dot / either : 0;
    default: return l2; /* on bits that is the Hamming distance */
    }
}

static void close_to(double got, double want)
{
    if (!(fabs(got - want) <= 2e-5 * (fabs(want) + 1))) {
        print_error("got %.9g, expected %.9g\n", got, want);
        fail();
    }
}

static void test_pair(void **state)
{
    static const size_t dims[] = {8, 16, 64, 104, 128, 768};
    const struct simd_test *test = *state;
    const struct pair *pair = test->kernel;

    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        struct distance distance;
        size_t dim = dims[d], stride;
        char *query, *rows, *prepared;
        float norms[ROWS], out[ROWS];
        uint32_t ids[ROWS];

        distance_init(&distance, pair->element, pair->metric, dim, 0);
        stride = distance.row_size + 1;
        query = malloc(distance.row_size);
        rows = malloc(ROWS * stride);
        prepared = malloc(distance.query_size);
        assert_true(query && rows && prepared);
        fill_row(pair->element, query, dim);
        for (size_t i = 0; i < ROWS; i++) {
            fill_row(pair->element, rows + i * stride, dim);
            if (i == 5) /* a zero row has no direction, and is at distance 1 */
                memset(rows + i * stride, 0, distance.row_size);
            norms[i] = distance_inverse_norm(&distance, rows + i * stride);
            ids[i] = (uint32_t)(random_u64() % ROWS);
        }
        distance_prepare(&distance, query, prepared);
        for (size_t i = 0; i < ROWS; i++) {
            double want = define(pair, query, rows + i * stride, dim);
            close_to((double)distance_one(&distance, prepared, rows + i * stride, norms[i]), want);
            close_to((double)distance_one(&distance, prepared, rows + i * stride, -1.0f), want);
        }
        for (int computed = 0; computed < 2; computed++) {
            const float *inverse_norms = computed ? NULL : norms;
            distance_rows(&distance, prepared, rows, stride, ROWS, inverse_norms, out);
            for (size_t i = 0; i < ROWS; i++)
                close_to((double)out[i], define(pair, query, rows + i * stride, dim));
            distance_gather(&distance, prepared, rows, stride, ids, ROWS, inverse_norms, out);
            for (size_t i = 0; i < ROWS; i++)
                close_to((double)out[i], define(pair, query, rows + ids[i] * stride, dim));
        }
        if (pair->element != ELEMENT_B1) { /* a query of floats gives the same */
            float *floats = malloc(dim * sizeof *floats);
            assert_non_null(floats);
            for (size_t i = 0; i < dim; i++)
                floats[i] = (float)element(pair->element, query, i);
            distance_prepare_f32(&distance, floats, prepared);
            close_to((double)distance_one(&distance, prepared, rows, norms[0]), define(pair, query, rows, dim));
            free(floats);
        }
        free(query);
        free(rows);
        free(prepared);
    }
}

/* More integer rows than are converted at a time. */
static void test_many_rows(void **state)
{
    enum { MANY = 2500, DIM = 24 };
    const struct pair pair = {"L2_i8", ELEMENT_I8, VECDB_METRIC_L2};
    struct distance distance;
    char query[DIM], *rows = malloc(MANY * DIM), *prepared;
    float *out = malloc(MANY * sizeof *out);
    uint32_t *ids = malloc(MANY * sizeof *ids);

    (void)state;
    distance_init(&distance, pair.element, pair.metric, DIM, 0);
    prepared = malloc(distance.query_size);
    assert_true(rows && out && ids && prepared);
    random_bytes(query, DIM);
    random_bytes(rows, MANY * DIM);
    distance_prepare(&distance, query, prepared);
    distance_rows(&distance, prepared, rows, DIM, MANY, NULL, out);
    for (size_t i = 0; i < MANY; i++) {
        close_to((double)out[i], define(&pair, query, rows + i * DIM, DIM));
        ids[i] = (uint32_t)(MANY - 1 - i);
    }
    distance_gather(&distance, prepared, rows, DIM, ids, MANY, NULL, out);
    for (size_t i = 0; i < MANY; i++)
        close_to((double)out[i], define(&pair, query, rows + ids[i] * DIM, DIM));
    free(rows);
    free(out);
    free(ids);
    free(prepared);
}

/* Lengths whose squares no float can hold. */
static void test_cosine_of_extreme_lengths(void **state)
{
    static const float scales[] = {1e-30f, 1e-18f, 1.0f, 1e18f, 1e25f};
    struct distance distance;
    float query[48], row[48], opposite[48];
    char prepared[1024];

    (void)state;
    distance_init(&distance, ELEMENT_F32, VECDB_METRIC_COSINE, 48, 0);
    assert_true(distance.query_size <= sizeof prepared);
    for (size_t i = 0; i < 5; i++)
        for (size_t j = 0; j < 5; j++) {
            for (size_t d = 0; d < 48; d++) {
                float value = random_f32();
                query[d] = value * scales[i];
                row[d] = value * scales[j];
                opposite[d] = -row[d];
            }
            distance_prepare(&distance, query, prepared);
            close_to((double)distance_one(&distance, prepared, row, -1.0f), 0);
            close_to((double)distance_one(&distance, prepared, opposite, -1.0f), 2);
        }
}

static void test_unit_rows(void **state)
{
    struct distance distance;
    float query[32], row[32], out[2];
    char prepared[1024];
    double dot = 0;

    (void)state;
    distance_init(&distance, ELEMENT_F32, VECDB_METRIC_COSINE, 32, DISTANCE_UNIT_ROWS);
    fill_row(ELEMENT_F32, (char *)query, 32);
    fill_row(ELEMENT_F32, (char *)row, 32);
    simd_codes()->normalize_f32(row, 32, row);
    distance_prepare(&distance, query, prepared);
    simd_codes()->normalize_f32(query, 32, query);
    for (size_t i = 0; i < 32; i++)
        dot += (double)query[i] * (double)row[i];
    distance_rows(&distance, prepared, row, 0, 2, NULL, out);
    close_to((double)out[0], 1 - dot);
    close_to((double)out[1], 1 - dot);
}

static void test_scores(void **state)
{
    (void)state;
    assert_true(distance_to_score(VECDB_METRIC_L2, 4.0f) == 4.0f);
    assert_true(distance_to_score(VECDB_METRIC_IP, -4.0f) == 4.0f);
    assert_true(distance_to_score(VECDB_METRIC_COSINE, 0.25f) == 0.75f);
    assert_true(distance_to_score(VECDB_METRIC_COSINE, -1e-6f) == 1.0f);
    assert_true(distance_to_score(VECDB_METRIC_COSINE, 2.00001f) == -1.0f);
    assert_true(distance_to_score(VECDB_METRIC_HAMMING, 7.0f) == 7.0f);
    assert_true(distance_to_score(VECDB_METRIC_JACCARD, 0.5f) == 0.5f);
    assert_true(distance_from_score(VECDB_METRIC_IP, 3.0f) == -3.0f);
    assert_true(distance_from_score(VECDB_METRIC_COSINE, 0.75f) == 0.25f);
    assert_true(distance_from_score(VECDB_METRIC_L2, 3.0f) == 3.0f);
}

static void test_elements(void **state)
{
    (void)state;
    assert_int_equal(distance_element(VECDB_TYPE_FLOAT_VECTOR), ELEMENT_F32);
    assert_int_equal(distance_element(VECDB_TYPE_FLOAT16_VECTOR), ELEMENT_F16);
    assert_int_equal(distance_element(VECDB_TYPE_BFLOAT16_VECTOR), ELEMENT_BF16);
    assert_int_equal(distance_element(VECDB_TYPE_INT8_VECTOR), ELEMENT_I8);
    assert_int_equal(distance_element(VECDB_TYPE_BINARY_VECTOR), ELEMENT_B1);
}

/* The choice: what VECDB_SIMD names if it can run here, the best that can run otherwise. */
static void test_choice(void **state)
{
    const char *wanted = getenv("VECDB_SIMD");
    const struct simd_row *expected = NULL;

    (void)state;
    FOR_EACH_SUPPORTED_ROW(row) {
        if (!expected || !wanted || strcmp(expected->name, wanted) != 0)
            expected = row;
    }
    assert_non_null(expected);
    assert_string_equal(simd_name(), expected->name);
    assert_ptr_equal(simd_distance(), expected->distance);
    assert_ptr_equal(simd_codes(), expected->codes);
    assert_ptr_equal(simd_compare(), expected->compare);
}

/* A hole in a table would be a crash in production on somebody else's CPU: check the rows that cannot run here too. */
static void test_tables_have_no_holes(void **state)
{
    size_t count;
    const struct simd_row *rows = simd_rows(&count);

    (void)state;
    for (size_t i = 0; i < count; i++) {
        const void *const *distance = (const void *const *)(const void *)rows[i].distance;
        const void *const *codes = (const void *const *)(const void *)rows[i].codes;
        const void *const *compare = (const void *const *)(const void *)rows[i].compare;
        size_t first = offsetof(struct code_kernels, dot_code) / sizeof(void *); /* dot_code[0] is empty */

        for (size_t j = 0; j < sizeof(struct distance_kernels) / sizeof(void *); j++)
            assert_non_null(distance[j]);
        for (size_t j = 0; j < sizeof(struct code_kernels) / sizeof(void *); j++)
            assert_true((j >= first && j < first + 3) == !codes[j]);
        for (size_t j = 0; j < sizeof(struct compare_kernels) / sizeof(void *); j++)
            assert_non_null(compare[j]);
    }
}

int main(void)
{
    simd_test_seed();
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        simd_test_add(NULL, pairs[i].name, &pairs[i], test_pair);
    simd_test_add(NULL, "many_rows", NULL, test_many_rows);
    simd_test_add(NULL, "cosine_of_extreme_lengths", NULL, test_cosine_of_extreme_lengths);
    simd_test_add(NULL, "unit_rows", NULL, test_unit_rows);
    simd_test_add(NULL, "scores", NULL, test_scores);
    simd_test_add(NULL, "elements", NULL, test_elements);
    simd_test_add(NULL, "choice", NULL, test_choice);
    simd_test_add(NULL, "tables_have_no_holes", NULL, test_tables_have_no_holes);
    return simd_test_run("simd_metric");
}
