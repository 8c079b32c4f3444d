#include "quant/rabitq.h"

#include "base/rng.h"
#include "simd/kernels.h"

#include <math.h>

/* The t that brings min(floor(t |x|), 2^(bits-1) - 1) + 1/2 nearest in direction to |x|, found by trying. */
static double best_scale(const double *x, size_t n, unsigned bits)
{
    double top = (double)((1u << (bits - 1)) - 1), largest = 0, best = 0, best_cosine = -1;

    for (size_t i = 0; i < n; i++)
        largest = fmax(largest, x[i]);
    for (int step = 1; step <= 200; step++) {
        double t = (top + 1) / largest * (0.2 + 0.02 * step), dot = 0, square = 0;
        for (size_t i = 0; i < n; i++) {
            double level = fmin(floor(t * x[i]), top) + 0.5;
            dot += level * x[i];
            square += level * level;
        }
        if (dot / sqrt(square) > best_cosine) {
            best_cosine = dot / sqrt(square);
            best = t;
        }
    }
    return best;
}

float rabitq_scale(uint32_t dim, unsigned bits)
{
    struct rng rng = rng_seeded(dim * 16 + bits);
    size_t n = dim < 1024 ? dim : 1024; /* beyond, the mean over more elements says the same */
    double x[1024], sum = 0;
    enum { SAMPLES = 24 };

    if (bits == 1)
        return 1;
    for (int sample = 0; sample < SAMPLES; sample++) {
        double square = 0;
        for (size_t i = 0; i < n; i++) {
            x[i] = fabs(rng_normal(&rng));
            square += x[i] * x[i];
        }
        for (size_t i = 0; i < n; i++)
            x[i] /= sqrt(square * dim / (double)n);
        sum += best_scale(x, n, bits);
    }
    return (float)(sum / SAMPLES);
}

/* The three numbers for a code of `bits` bits, given <r, w>, <c, w> and |w|^2 for w = u - (2^bits - 1) / 2. */
static struct rabitq_row row_factors(const struct rabitq *rabitq, double square, double rc, double rw, double cw,
                                     double ww)
{
    struct rabitq_row row;
    double cosine_error;

    if (!(rw > 0)) /* the row is its centre */
        return (struct rabitq_row){rabitq->inner_product ? 0 : (float)square, 0, 0};
    cosine_error = square * ww / (rw * rw) - 1;
    row.error = (float)(sqrt(square) * sqrt(fmax(cosine_error, 0) / (rabitq->dim > 1 ? rabitq->dim - 1 : 1)));
    if (rabitq->inner_product) {
        row.add = (float)(-rc + square * cw / rw);
        row.factor = (float)(-square / rw);
    } else {
        row.add = (float)(square + 2 * square * cw / rw);
        row.factor = (float)(-2 * square / rw);
        row.error *= 2;
    }
    return row;
}

struct rabitq_row rabitq_encode(const struct rabitq *rabitq, const float *x, const float *c, float *residual, uint8_t *u,
                                struct rabitq_row *sign)
{
    const struct code_kernels *codes = simd_codes();
    size_t dim = rabitq->dim;
    double square = 0, rc = 0, rw = 0, cw = 0, ww = 0, rs = 0, cs = 0, half = ((1 << rabitq->bits) - 1) * 0.5;
    float norm;

    codes->sub_f32(x, c, dim, residual);
    norm = sqrtf(codes->sumsq_f32(residual, dim));
    codes->rabitq_encode(residual, dim, norm > 0 ? rabitq->scale / norm : 0, rabitq->bits, u);
    for (size_t i = 0; i < dim; i++) {
        double r = residual[i], center = c[i], w = u[i] - half, s = r >= 0 ? 0.5 : -0.5;
        square += r * r;
        rc += r * center;
        rw += r * w;
        cw += center * w;
        ww += w * w;
        rs += r * s;
        cs += center * s;
    }
    if (sign)
        *sign = row_factors(rabitq, square, rc, rs, cs, (double)dim * 0.25);
    return row_factors(rabitq, square, rc, rw, cw, ww);
}
