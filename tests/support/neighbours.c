#include "support/neighbours.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/float16.h"
#include "base/mem.h"
#include "index/topk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t test_seed(void)
{
    const char *text = getenv("VECDB_TEST_SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 20240613;

    printf("seed: VECDB_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

static void put_element(vecdb_type type, uint8_t *row, size_t i, float value)
{
    uint16_t half;

    switch (type) {
    case VECDB_TYPE_FLOAT_VECTOR:
        memcpy(row + 4 * i, &value, 4);
        break;
    case VECDB_TYPE_FLOAT16_VECTOR:
        half = f16_from_float(value);
        memcpy(row + 2 * i, &half, 2);
        break;
    case VECDB_TYPE_BFLOAT16_VECTOR:
        half = bf16_from_float(value);
        memcpy(row + 2 * i, &half, 2);
        break;
    case VECDB_TYPE_INT8_VECTOR:
        ((int8_t *)row)[i] = (int8_t)fmaxf(-128, fminf(127, roundf(value * 20)));
        break;
    default:
        if (value > 0)
            row[i / 8] |= (uint8_t)(0x80 >> i % 8);
    }
}

static double get_element(vecdb_type type, const uint8_t *row, size_t i)
{
    uint16_t half;
    float value;

    switch (type) {
    case VECDB_TYPE_FLOAT_VECTOR:
        memcpy(&value, row + 4 * i, 4);
        return value;
    case VECDB_TYPE_FLOAT16_VECTOR:
        memcpy(&half, row + 2 * i, 2);
        return float_from_f16(half);
    case VECDB_TYPE_BFLOAT16_VECTOR:
        memcpy(&half, row + 2 * i, 2);
        return float_from_bf16(half);
    case VECDB_TYPE_INT8_VECTOR:
        return ((const int8_t *)row)[i];
    default:
        return row[i / 8] >> (7 - i % 8) & 1;
    }
}

struct test_rows test_rows_make(struct rng *rng, vecdb_type type, uint32_t dim, size_t rows, enum test_shape shape,
                                size_t block_rows, bool nulls)
{
    struct test_rows out = {.vectors = {.type = type, .dim = dim, .row_count = rows}};
    size_t width = type_width(type, dim), clusters = rows / 40 + 1, block_count;
    float *centers = mem_alloc(clusters * dim * sizeof *centers + 1);

    for (size_t i = 0; i < clusters * dim; i++)
        centers[i] = (float)rng_normal(rng) * 1.2f;
    out.vectors.width = out.vectors.stride = width;
    out.vectors.block_shift = block_rows ? (unsigned)__builtin_ctzll(block_rows) : 40;
    block_count = block_rows ? (rows + block_rows - 1) / block_rows : 1;
    out.data = mem_zalloc(rows * width + 1);
    out.blocks = mem_alloc((block_count + 1) * sizeof *out.blocks);
    for (size_t i = 0; i < block_count; i++)
        out.blocks[i] = out.data + (block_rows ? i * block_rows * width : 0);
    out.vectors.blocks = out.blocks;
    if (nulls) {
        out.present = mem_zalloc(bitmap_words(rows) * 8 + 8);
        out.vectors.present = out.present;
    }
    for (size_t i = 0; i < rows; i++) {
        const float *center = centers + rng_below(rng, clusters) * dim;
        if (nulls && i % 7 == 3)
            continue;
        if (nulls)
            bitmap_set(out.present, i);
        for (size_t j = 0; j < dim; j++) {
            float value = center[j] + (float)rng_normal(rng) * 0.6f;
            if (shape == TEST_UNEVEN && j % 3)
                value *= 0.1f;
            if (shape == TEST_INTEGERS || shape == TEST_UNEVEN)
                value = fmaxf(0, fminf(255, roundf(128 + 40 * value)));
            else if (shape == TEST_CONSTANT)
                value = 0.75f;
            else if (shape == TEST_OFFSET)
                value += 300;
            put_element(type, out.data + i * width, j, value);
        }
    }
    mem_free(centers);
    return out;
}

void test_rows_free(struct test_rows *rows)
{
    mem_free(rows->data);
    mem_free(rows->blocks);
    mem_free(rows->present);
}

/* The case of the largest tests. */
static double float_l2(uint32_t dim, const uint8_t *a, const uint8_t *b)
{
    double sum = 0;

    for (uint32_t i = 0; i < dim; i++) {
        float x, y;
        memcpy(&x, a + 4 * i, 4);
        memcpy(&y, b + 4 * i, 4);
        sum += ((double)x - y) * ((double)x - y);
    }
    return sum;
}

double test_distance(vecdb_metric metric, vecdb_type type, uint32_t dim, const void *a, const void *b)
{
    double dot = 0, l2 = 0, aa = 0, bb = 0, both = 0, either = 0, differ = 0;

    if (type == VECDB_TYPE_FLOAT_VECTOR && metric == VECDB_METRIC_L2)
        return float_l2(dim, a, b);
    for (uint32_t i = 0; i < dim; i++) {
        double x = get_element(type, a, i), y = get_element(type, b, i);
        dot += x * y;
        l2 += (x - y) * (x - y);
        aa += x * x;
        bb += y * y;
        both += x != 0 && y != 0;
        either += x != 0 || y != 0;
        differ += (x != 0) != (y != 0);
    }
    switch (metric) {
    case VECDB_METRIC_L2:
        return l2;
    case VECDB_METRIC_IP:
        return -dot;
    case VECDB_METRIC_COSINE:
        return aa > 0 && bb > 0 ? 1 - dot / sqrt(aa * bb) : 1;
    case VECDB_METRIC_HAMMING:
        return differ;
    default:
        return either > 0 ? 1 - both / either : 0;
    }
}

/* What rounding may change in a distance. */
static double slack(const struct vectors *vectors, vecdb_metric metric, const uint8_t *query, double distance)
{
    double terms = fabs(distance);

    if (metric == VECDB_METRIC_IP)
        terms += sqrt(-test_distance(metric, vectors->type, vectors->dim, query, query)) * 20 * sqrt(vectors->dim);
    else if (metric == VECDB_METRIC_COSINE)
        terms += 1;
    return terms * 1e-7 * (4 + vectors->dim) + 1e-30;
}

static bool row_allowed(const struct vectors *vectors, const struct index_search *search, size_t row)
{
    return (!search->allowed || bitmap_get(search->allowed, row)) &&
           (!vectors->present || bitmap_get(vectors->present, row));
}

/* Distances of the k nearest of all allowed rows within the radius, sorted; returns how many are allowed and within. */
static size_t true_distances(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                             size_t query, double *out)
{
    const uint8_t *q = (const uint8_t *)search->queries + query * search->query_stride;
    size_t count = 0, kept = 0;

    for (size_t row = 0; row < vectors->row_count; row++) {
        size_t at;
        if (!row_allowed(vectors, search, row))
            continue;
        double distance = test_distance(metric, vectors->type, vectors->dim, q, vectors_row(vectors, row));
        if (search->has_radius && distance >= (double)search->radius)
            continue;
        count++;
        if (kept == search->k && (!kept || distance >= out[kept - 1]))
            continue;
        for (at = kept < search->k ? kept++ : kept - 1; at && out[at - 1] > distance; at--)
            out[at] = out[at - 1];
        out[at] = distance;
    }
    return count;
}

/* Rows that are within the radius whatever the rounding, and rows that may be. */
static void count_within(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                         size_t query, double margin, size_t *sure, size_t *possible)
{
    const uint8_t *q = (const uint8_t *)search->queries + query * search->query_stride;

    *sure = *possible = 0;
    for (size_t row = 0; row < vectors->row_count; row++) {
        if (!row_allowed(vectors, search, row))
            continue;
        double distance = test_distance(metric, vectors->type, vectors->dim, q, vectors_row(vectors, row));
        *sure += distance < (double)search->radius - margin;
        *possible += distance <= (double)search->radius + margin;
    }
}

void test_check_sound(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                      size_t query, const struct hit *hits, size_t count, double tolerance)
{
    const uint8_t *q = (const uint8_t *)search->queries + query * search->query_stride;
    uint8_t *seen = mem_zalloc(vectors->row_count + 1);

    assert_true(count <= search->k);
    for (size_t i = 0; i < count; i++) {
        assert_true(hits[i].row < vectors->row_count);
        assert_true(row_allowed(vectors, search, hits[i].row));
        assert_false(seen[hits[i].row]);
        seen[hits[i].row] = 1;
        assert_true(i == 0 || hit_before(&hits[i - 1], &hits[i]));
        assert_true(!search->has_radius || hits[i].distance < search->radius);
        if (tolerance >= 0) {
            double real =
                test_distance(metric, vectors->type, vectors->dim, q, vectors_row(vectors, hits[i].row));
            if (fabs(real - (double)hits[i].distance) > tolerance * fabs(real) + slack(vectors, metric, q, real))
                fail_msg("query %zu, row %u: distance %.9g, not %.9g", query, hits[i].row, real,
                         (double)hits[i].distance);
        }
    }
    mem_free(seen);
}

void test_check_exact(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                      size_t query, const struct hit *hits, size_t count)
{
    const uint8_t *q = (const uint8_t *)search->queries + query * search->query_stride;
    double *distances = mem_alloc((search->k + 1) * sizeof *distances);
    size_t all = true_distances(vectors, metric, search, query, distances);
    size_t want = all < search->k ? all : search->k;

    test_check_sound(vectors, metric, search, query, hits, count, 0);
    if (!search->has_radius) {
        assert_int_equal(count, want);
    } else { /* rows within rounding of the border may be in or out, all equal ones at once */
        size_t sure, possible;
        double margin = 2 * slack(vectors, metric, q, (double)search->radius);
        count_within(vectors, metric, search, query, margin, &sure, &possible);
        assert_true(count >= (sure < search->k ? sure : search->k));
        assert_true(count <= (possible < search->k ? possible : search->k));
    }
    for (size_t i = 0; i < count && i < want; i++)
        if (fabs(distances[i] - (double)hits[i].distance) > slack(vectors, metric, q, distances[i]) * 2)
            fail_msg("query %zu, hit %zu: distance %.9g, not %.9g", query, i, (double)hits[i].distance, distances[i]);
    mem_free(distances);
}

double test_recall(const struct vectors *vectors, vecdb_metric metric, const struct index_search *search,
                   const struct hit *hits, const size_t *counts)
{
    double *distances = mem_alloc((search->k + 1) * sizeof *distances), found = 0, wanted = 0;

    for (size_t query = 0; query < search->query_count; query++) {
        const uint8_t *q = (const uint8_t *)search->queries + query * search->query_stride;
        size_t all = true_distances(vectors, metric, search, query, distances);
        size_t want = all < search->k ? all : search->k;
        if (!want)
            continue;
        double limit = distances[want - 1];
        limit += slack(vectors, metric, q, limit);
        wanted += (double)want;
        for (size_t i = 0; i < counts[query]; i++)
            found += test_distance(metric, vectors->type, vectors->dim, q,
                                   vectors_row(vectors, hits[query * search->k + i].row)) <= limit;
    }
    mem_free(distances);
    return wanted > 0 ? found / wanted : 1;
}

uint64_t *test_bitmap(struct rng *rng, size_t rows, double share, size_t *count)
{
    uint64_t *bits = mem_zalloc(bitmap_words(rows) * 8 + 8);

    for (size_t i = 0; i < rows; i++)
        if (rng_unit(rng) < share)
            bitmap_set(bits, i);
    *count = bitmap_count(bits, rows);
    return bits;
}
