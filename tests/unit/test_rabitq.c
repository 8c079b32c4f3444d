/* The coders against their formulas: RaBitQ's bias, error and bound; SQ8's bound, which always holds; PQ's tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "support/neighbours.h"

#include "base/mem.h"
#include "quant/pq.h"
#include "quant/rabitq.h"
#include "quant/sq.h"
#include "simd/kernels.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { DIM = 256, ROWS = 300, QUERIES = 20 };

static void fill(struct rng *rng, float *x, double spread)
{
    for (size_t i = 0; i < DIM; i++)
        x[i] = (float)(rng_normal(rng) * (i < 32 ? 3 * spread : spread));
}

/* Mean relative error of the estimated squared distance halves with every bit; the estimate is unbiased; and the error's
 * standard deviation is what the row says. */
static void rabitq_estimates(void **state)
{
    static const double most[] = {0, 0.055, 0.028, 0.0145, 0.0080, 0.0045, 0.0025, 0.0014, 0.0008};
    struct rng rng = rng_seeded(test_seed());
    static float c[DIM], x[DIM], q[DIM], residual[DIM];
    static uint8_t u[DIM], signs[DIM / 2];

    for (size_t i = 0; i < sizeof signs; i++)
        signs[i] = (uint8_t)rng_next(&rng);
    for (int ip = 0; ip < 2; ip++) {
        for (unsigned bits = 1; bits <= 8; bits++) {
            struct rabitq rabitq = {DIM, bits, ip, rabitq_scale(DIM, bits), 0};
            double error = 0, bias = 0, inside = 0, sign_bias = 0, n = 0;
            fill(&rng, c, 0.5);
            simd_codes()->rotate(c, DIM, signs);
            for (size_t i = 0; i < ROWS; i++) {
                struct rabitq_row sign, row;
                fill(&rng, x, 1);
                simd_codes()->rotate(x, DIM, signs);
                row = rabitq_encode(&rabitq, x, c, residual, u, &sign);
                for (size_t k = 0; k < QUERIES; k++) {
                    double dot = 0, sum = 0, l2 = 0, real_ip = 0, qc = 0, center_ip = 0, top = 0;
                    fill(&rng, q, 1);
                    simd_codes()->rotate(q, DIM, signs);
                    for (size_t j = 0; j < DIM; j++) {
                        assert_true(u[j] < 1u << bits);
                        dot += (double)u[j] * q[j];
                        top += (double)(u[j] >> (bits - 1)) * q[j];
                        sum += q[j];
                        l2 += ((double)q[j] - x[j]) * ((double)q[j] - x[j]);
                        real_ip += (double)q[j] * x[j];
                        qc += ((double)q[j] - c[j]) * ((double)q[j] - c[j]);
                        center_ip += (double)q[j] * c[j];
                    }
                    double real = ip ? -real_ip : l2, constant = ip ? -center_ip : qc, scale = ip ? sqrt(qc) * 16 : l2;
                    double estimate = row.add + constant + row.factor * (dot - ((1u << bits) - 1) * 0.5 * sum);
                    double by_sign = sign.add + constant + sign.factor * (top - 0.5 * sum);
                    error += fabs(estimate - real) / scale;
                    bias += (estimate - real) / scale;
                    sign_bias += (by_sign - real) / scale;
                    inside += fabs(estimate - real) <= 1.9 * row.error * sqrt(qc);
                    n++;
                }
            }
            if (error / n > most[bits] * 1.1)
                fail_msg("%u bits: mean relative error %.4f, at most %.4f expected", bits, error / n, most[bits]);
            assert_true(fabs(bias / n) < most[bits] * 0.15);
            assert_true(fabs(sign_bias / n) < most[1] * 0.3);
            if (inside / n < 0.92 || inside / n > 0.97) /* a two-sided 1.9 is 94.3 % */
                fail_msg("%u bits: %.3f inside 1.9 standard deviations", bits, inside / n);
        }
    }
}

/* One bit more for some dimensions: between whole codes of so many bits and of one more, unbiased, inside its bound. */
static void rabitq_with_finer_dimensions(void **state)
{
    static const uint32_t fines[] = {0, 64, 128, 192, 256};
    struct rng rng = rng_seeded(test_seed() + 3);
    static float c[DIM], x[DIM], q[DIM], residual[DIM];
    static uint8_t u[DIM];
    double before = INFINITY;

    fill(&rng, c, 0.5);
    for (size_t f = 0; f < sizeof fines / sizeof fines[0]; f++) {
        struct rabitq rabitq = {DIM, 4, false, fines[f] == DIM ? rabitq_scale(DIM, 5) / 2 : rabitq_scale(DIM, 4), fines[f]};
        double error = 0, bias = 0, inside = 0, n = 0;
        for (size_t i = 0; i < ROWS; i++) {
            for (size_t j = 0; j < DIM; j++)
                x[j] = c[j] + (float)rng_normal(&rng);
            struct rabitq_row row = rabitq_encode(&rabitq, x, c, residual, u, NULL);
            for (size_t k = 0; k < QUERIES; k++) {
                double product = 0, l2 = 0, qc = 0;
                float sum = 0, fine = 0;
                for (size_t j = 0; j < DIM; j++) {
                    q[j] = (float)rng_normal(&rng);
                    assert_true(u[j] < (j < fines[f] ? 32 : 16));
                    product += (double)u[j] * q[j] * (fines[f] && j >= fines[f] ? 2 : 1);
                    sum += q[j];
                    fine += j < fines[f] ? q[j] : 0;
                    l2 += ((double)q[j] - x[j]) * ((double)q[j] - x[j]);
                    qc += ((double)q[j] - c[j]) * ((double)q[j] - c[j]);
                }
                double estimate = row.add + qc + row.factor * (product - rabitq_middle(&rabitq, sum, fine));
                error += fabs(estimate - l2) / l2;
                bias += (estimate - l2) / l2;
                inside += fabs(estimate - l2) <= 1.9 * row.error * sqrt(qc);
                n++;
            }
        }
        if (!(error / n < 0.97 * before))
            fail_msg("%u of %d dimensions finer: mean relative error %.5f, %.5f before", fines[f], DIM, error / n, before);
        before = error / n;
        assert_true(fabs(bias / n) < 0.15 * error / n);
        if (inside / n < 0.92 || inside / n > 0.97)
            fail_msg("%u dimensions finer: %.3f inside 1.9 standard deviations", fines[f], inside / n);
    }
}

static void rabitq_of_the_centre(void **state)
{
    static float c[DIM], residual[DIM];
    static uint8_t u[DIM];
    struct rabitq rabitq = {DIM, 4, false, rabitq_scale(DIM, 4), 0};
    struct rabitq_row sign, row = rabitq_encode(&rabitq, c, c, residual, u, &sign);

    assert_true(row.add == 0 && row.factor == 0 && row.error == 0);
    assert_true(sign.add == 0 && sign.factor == 0 && sign.error == 0);
}

/* The triangle inequality with the kept error holds for every row and query, outliers and all. */
static void sq8_bounds_hold(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 1);
    static float mean[DIM], x[DIM], q[DIM], scratch[2 * DIM];
    static uint8_t code[DIM];
    static int8_t terms[2 * DIM];
    struct sq sq = {DIM, mean};
    size_t tight = 0;

    fill(&rng, mean, 0.3);
    for (size_t i = 0; i < 3000; i++) {
        struct sq_row row;
        struct sq_query query;
        double real = 0, decoded = 0, rest = 0, square = 0;
        fill(&rng, x, i % 3 == 0 ? 1e-3 : 1);
        fill(&rng, q, 1);
        if (i % 5 == 0)
            x[rng_below(&rng, DIM)] = 1e4f;
        if (i % 7 == 0)
            memcpy(x, mean, sizeof x);
        row = sq_encode(&sq, x, scratch, code);
        sq_query_init(&query, &sq, q, true, scratch, terms);
        for (size_t j = 0; j < DIM; j++) {
            double back = (double)row.step * (code[j] - 127.5);
            double integer = 128 * terms[j] + terms[DIM + j];
            double from_query = (double)query.step * integer;
            real += ((double)q[j] - x[j]) * ((double)q[j] - x[j]);
            decoded += (from_query - back) * (from_query - back);
            rest += (x[j] - mean[j] - back) * (x[j] - mean[j] - back);
            square += back * back;
        }
        assert_true(sqrt(rest) <= (double)row.error + 1e-12);
        assert_true(fabs(square - (double)row.square) <= 1e-5 * square + 1e-20);
        assert_true(fabs(sqrt(real) - sqrt(decoded)) <= (double)row.error + (double)query.error + 1e-6 * sqrt(real));
        tight += sqrt(rest) > 0.99 * (double)row.error - 1e-9;
    }
    assert_true(tight > 2900); /* bounds no wider than they need be */
}

static void pq_tables_and_codes(void **state)
{
    struct rng rng = rng_seeded(test_seed() + 2);
    enum { N = 3000, D = 24 };
    static float rows[N * D], table[24 * 256], centroids[24 * 256 * 6], columns[24 * 256 * 6];
    static uint8_t codes[N * 24];
    double errors[2];

    for (size_t i = 0; i < N * D; i++)
        rows[i] = (float)rng_normal(&rng);
    for (unsigned bits = 4; bits <= 8; bits += 4) {
        struct pq pq = {.dim = D, .m = 12, .sub_dim = 2, .bits = bits, .centroids = centroids};
        struct pq_encoder *encoder;
        double error = 0;
        pq.columns = columns;
        assert_int_equal(pq_train(&pq, rows, N, 3, NULL, centroids), VECDB_OK);
        assert_int_equal(pq_encoder_create(&pq, &encoder), VECDB_OK);
        assert_int_equal(pq_encode(encoder, rows, N, codes), VECDB_OK);
        pq_encoder_free(encoder);
        pq_columns(&pq, columns);
        for (size_t i = 0; i < N; i++) {
            float decoded[D];
            pq_decode(&pq, codes + i * 12, decoded);
            for (size_t part = 0; part < 12; part++) {
                double chosen = 0, best = INFINITY;
                assert_true(codes[i * 12 + part] < 1u << bits);
                for (size_t c = 0; c < 1u << bits; c++) {
                    const float *at = centroids + ((part << bits) + c) * 2, *x = rows + i * D + part * 2;
                    double distance = (double)(x[0] - at[0]) * (x[0] - at[0]) + (double)(x[1] - at[1]) * (x[1] - at[1]);
                    best = fmin(best, distance);
                    if (c == codes[i * 12 + part])
                        chosen = distance;
                }
                assert_true(chosen <= best + 1e-5);
                error += chosen;
            }
            if (i < 50) { /* the table's sum is the product with the decoded row */
                double sum = 0, dot = 0;
                pq_table(&pq, rows, -2, table);
                for (size_t part = 0; part < 12; part++)
                    sum += table[(part << bits) + codes[i * 12 + part]];
                for (size_t j = 0; j < D; j++)
                    dot += -2 * (double)rows[j] * decoded[j];
                assert_true(fabs(sum - dot) < 1e-4);
            }
        }
        errors[bits / 8] = error / (N * D);
    }
    /* 2 and 4 bits a dimension: what normal data leave over, about */
    assert_true(errors[0] < 0.16 && errors[1] < 0.015);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rabitq_estimates),
        cmocka_unit_test(rabitq_with_finer_dimensions),
        cmocka_unit_test(rabitq_of_the_centre),
        cmocka_unit_test(sq8_bounds_hold),
        cmocka_unit_test(pq_tables_and_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
