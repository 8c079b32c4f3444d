/* Kernels that only graphs need, of every instruction set here, against their definitions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "simd/graph.h"
#include "simd/kernels.h"
#include "support/neighbours.h"

/* The tables that this CPU can run. */
static size_t tables(const struct graph_kernels **out)
{
    size_t count, n = 0;
    const struct simd_row *rows = simd_rows(&count);

    out[n++] = &graph_scalar;
#if defined(__x86_64__)
    for (size_t i = 0; i < count; i++) {
        if (!rows[i].supported())
            continue;
        if (strcmp(rows[i].name, "avx2") == 0)
            out[n++] = &graph_avx2;
        if (strcmp(rows[i].name, "avx512vnni") == 0)
            out[n++] = &graph_avx512vnni;
        if (strcmp(rows[i].name, "avx512") == 0)
            out[n++] = &graph_avx512;
    }
#endif
    return n;
}

static void test_scores(void **state)
{
    static const size_t dims[] = {64, 128, 192, 256, 320, 832, 4096};
    struct rng rng = rng_seeded(test_seed());
    const struct graph_kernels *all[8];
    size_t table_count = tables(all);

    (void)state;
    for (size_t d = 0; d < sizeof dims / sizeof dims[0]; d++) {
        size_t dim = dims[d], rows = 23;
        uint8_t *base = mem_aligned_alloc(64, rows * dim), *query = mem_aligned_alloc(64, dim);
        for (size_t i = 0; i < rows * dim; i++)
            base[i] = i < dim ? 0 : i < 2 * dim ? 255 : (uint8_t)rng_next(&rng);
        for (size_t i = 0; i < dim; i++)
            query[i] = d == 1 ? 255 : d == 2 ? 0x80 : (uint8_t)rng_next(&rng);
        for (size_t n = 0; n <= 20; n++)
            for (size_t t = 0; t < table_count; t++) {
                uint32_t ids[20], l2[21], dot[21], parts[21];
                size_t middle = 64 * (1 + rng_below(&rng, dim / 64)), head = 64 * rng_below(&rng, middle / 64 + 1);
                for (size_t i = 0; i < n; i++)
                    ids[i] = (uint32_t)rng_below(&rng, rows);
                l2[n] = dot[n] = parts[n] = 0xDEADBEEF;
                all[t]->l2sq_u8(query, base, ids, n, dim, l2);
                all[t]->dot_u8s8(query, base, ids, n, dim, dot);
                if (head)
                    all[t]->l2sq_u8_part(query, base, ids, n, dim, 0, head, parts);
                all[t]->l2sq_u8_part(query, base, ids, n, dim, head, middle, parts);
                all[t]->l2sq_u8_part(query, base, ids, n, dim, middle, dim, parts);
                for (size_t i = 0; i < n; i++) {
                    const uint8_t *row = base + ids[i] * dim;
                    int64_t square = 0, product = 0;
                    for (size_t j = 0; j < dim; j++) {
                        square += (query[j] - row[j]) * (query[j] - row[j]);
                        product += (int8_t)query[j] * row[j];
                    }
                    assert_int_equal(l2[i], square);
                    assert_int_equal(parts[i], square);
                    assert_int_equal(dot[i], 0x80000000ll - product);
                }
                assert_int_equal(l2[n], 0xDEADBEEF);
                assert_int_equal(dot[n], 0xDEADBEEF);
                assert_int_equal(parts[n], 0xDEADBEEF);
            }
        mem_free(base);
        mem_free(query);
    }
}

static void test_smallest(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    const struct graph_kernels *all[8];
    size_t table_count = tables(all);
    int32_t values[600];
    uint32_t out[620];

    (void)state;
    for (size_t round = 0; round < 3000; round++) {
        size_t n = rng_below(&rng, round % 2 ? 300 : 600), k = rng_below(&rng, round % 4 < 2 ? 20 : 60);
        uint64_t spread = round % 3 == 0 ? 5 : round % 3 == 1 ? 1000 : INT32_MAX;
        int32_t limit = round % 4 ? INT32_MAX : (int32_t)rng_below(&rng, spread);
        for (size_t i = 0; i < n; i++)
            values[i] = rng_below(&rng, 20) ? (int32_t)rng_below(&rng, spread) : INT32_MAX;
        for (size_t t = 0; t < table_count; t++) {
            size_t count = all[t]->smallest_i32(values, n, k, limit, out), possible = 0;
            for (size_t i = 0; i < n; i++)
                possible += values[i] <= limit && values[i] != INT32_MAX;
            assert_int_equal(count, possible < k ? possible : k);
            for (size_t c = 0; c < count; c++) {
                assert_true(out[c] < n && (!c || out[c] > out[c - 1]));
                assert_true(values[out[c]] <= limit && values[out[c]] != INT32_MAX);
            }
            for (size_t i = 0, c = 0; i < n; i++) { /* what is left out is no smaller, and of equals comes later */
                if (c < count && out[c] == i) {
                    c++;
                    continue;
                }
                if (values[i] > limit || values[i] == INT32_MAX)
                    continue;
                for (size_t j = 0; j < count; j++)
                    assert_true(values[out[j]] < values[i] || (values[out[j]] == values[i] && out[j] < i));
            }
        }
    }
}

static unsigned plane_sum(const uint64_t *planes, const uint64_t *sketches, size_t words, size_t lanes, size_t i)
{
    unsigned sum = 0;

    for (size_t w = 0; w < words; w++)
        for (size_t p = 0; p < 4; p++)
            for (size_t bit = 0; bit < 64; bit++)
                sum += (unsigned)((sketches[w * lanes + i] ^ planes[4 * w + p]) >> bit & 1) << p;
    return sum;
}

/* The same sketches one after another, some of them asked for, in a place of exactly their size. */
static void check_rows(const struct graph_kernels *table, struct rng *rng, const uint64_t *planes, size_t words, const uint64_t *sketches,
                       size_t lanes, const float *a, const float *b, float shift, float room)
{
    size_t size = 8 + 8 * words, padded = (words + 7) / 8 * 8, n = 0, count, wanted = 0;
    uint64_t *levels = mem_aligned_alloc(64, 4 * padded * sizeof *levels);
    uint8_t *rows = malloc(lanes * size);
    uint32_t places[64], out[64];

    memset(levels, 0, 4 * padded * sizeof *levels);
    for (size_t i = 0; i < 4 * words; i++)
        levels[i % 4 * padded + i / 4] = planes[i];
    for (size_t i = 0; i < lanes; i++) {
        memcpy(rows + i * size, &a[i], 4);
        memcpy(rows + i * size + 4, &b[i], 4);
        for (size_t w = 0; w < words; w++)
            memcpy(rows + i * size + 8 + 8 * w, &sketches[w * lanes + i], 8);
        if (rng_below(rng, 3))
            places[n++] = (uint32_t)i;
    }
    count = table->sketch_near(levels, words, rows, size, places, n, 1, shift, room, out);
    for (size_t i = 0; i < n; i++)
        if (a[places[i]] + b[places[i]] * ((float)plane_sum(planes, sketches, words, lanes, places[i]) - shift) <= room)
            assert_true(wanted < count && out[wanted++] == places[i]);
    assert_int_equal(count, wanted);
    free(rows);
    mem_free(levels);
}

static void test_sketches(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    const struct graph_kernels *all[8];
    size_t table_count = tables(all);

    (void)state;
    for (size_t round = 0; round < 300; round++) {
        size_t words = 1 + rng_below(&rng, 14), dim = 64 * words, lanes = 8 * (1 + rng_below(&rng, 8));
        float *x = mem_array_alloc(dim, sizeof *x), *y = mem_array_alloc(dim, sizeof *y), a[64], b[64];
        uint64_t planes[4 * 14], expected[4 * 14], sketches[14 * 64];
        uint32_t links[64];
        float most = 0, step, shift, room;
        for (size_t i = 0; i < dim; i++) {
            x[i] = round == 0 ? 0 : (float)rng_normal(&rng);
            y[i] = (float)rng_normal(&rng);
            most = x[i] > most ? x[i] : -x[i] > most ? -x[i] : most;
        }
        step = graph_scalar.sketch_query(x, dim, expected);
        for (size_t i = 0; i < dim && round; i++) { /* a level stands for what is within half a step of it */
            unsigned level = 0;
            for (size_t p = 0; p < 4; p++)
                level |= (unsigned)(expected[4 * (i / 64) + p] >> (i % 64) & 1) << p;
            assert_true(x[i] >= ((float)level - 8.01f) * step && x[i] <= ((float)level - 6.99f) * step);
        }
        for (size_t i = 0; i < lanes; i++) {
            links[i] = rng_below(&rng, 5) ? (uint32_t)rng_below(&rng, 1000000) : UINT32_MAX;
            a[i] = (float)rng_below(&rng, 1000);
            b[i] = (float)rng_below(&rng, 8);
        }
        for (size_t i = 0; i < words * lanes; i++)
            sketches[i] = rng_next(&rng);
        shift = (float)(15 * 32 * words);
        room = (float)rng_below(&rng, 2000);
        for (size_t t = 0; t < table_count; t++) {
            uint64_t bits[14 * 3];
            uint32_t out[64 + 16];
            float size, along, wanted_size = 0, wanted_along = 0;
            size_t count, n = 0;
            all[t]->sketch_signs(x, y, dim, 3, bits, &size, &along);
            for (size_t i = 0; i < dim; i++) {
                assert_int_equal(bits[i / 64 * 3] >> (i % 64) & 1, x[i] >= 0);
                wanted_size += x[i] >= 0 ? x[i] : -x[i];
                wanted_along += x[i] >= 0 ? y[i] : -y[i];
            }
            assert_true(size >= wanted_size * 0.9999f && size <= wanted_size * 1.0001f);
            assert_true(along - wanted_along < 0.01f && wanted_along - along < 0.01f);
            assert_true(all[t]->sketch_query(x, dim, planes) == step);
            assert_memory_equal(planes, expected, 4 * words * sizeof *planes);
            count = all[t]->sketch_choose(planes, words, links, a, b, sketches, lanes, 1, shift, room, out);
            for (size_t i = 0; i < lanes; i++) { /* whole numbers: no rounding */
                float sum = (float)plane_sum(planes, sketches, words, lanes, i);
                if (links[i] != UINT32_MAX && a[i] + b[i] * (sum - shift) <= room)
                    assert_true(n < count && out[n++] == links[i]);
            }
            assert_int_equal(count, n);
            check_rows(all[t], &rng, planes, words, sketches, lanes, a, b, shift, room);
        }
        mem_free(x);
        mem_free(y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_scores), cmocka_unit_test(test_smallest),
                                       cmocka_unit_test(test_sketches)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
