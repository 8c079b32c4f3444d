#include "quant/rabitq.h"

#include "base/rng.h"
#include "simd/kernels.h"

#include <math.h>

/* How near in direction min(floor(t x), top) + 1/2 comes to x, for x > 0. */
static double cosine(const float *x, size_t n, double t, double top)
{
    double dot = 0, square = 0, length = 0;

    for (size_t i = 0; i < n; i++) {
        double level = fmin(floor(t * x[i]), top) + 0.5;
        dot += level * x[i];
        square += level * level;
        length += (double)x[i] * x[i];
    }
    return dot / sqrt(square * length);
}

/* The t for which codes of random vectors are nearest to them on average. */
float rabitq_scale(uint32_t dim, unsigned bits)
{
    enum { SAMPLE = 8192, STEPS = 120 };
    struct rng rng = rng_seeded(dim * 16 + bits);
    float x[512];
    double sums[STEPS] = {0}, top = (double)((1u << (bits - 1)) - 1);
    size_t best = 0, n = dim < 512 ? dim : 512; /* beyond, elements are as independent as they get */

    if (bits == 1)
        return 1;
    for (size_t done = 0; done < SAMPLE; done += n) {
        double square = 0;
        for (size_t i = 0; i < n; i++) {
            /* Box and Muller: the tails decide how much is clipped */
            double radius = sqrt(-2 * log(1 - rng_unit(&rng))), angle = rng_unit(&rng) * 6.283185307179586;
            x[i] = (float)fabs(radius * cos(angle));
            square += (double)x[i] * x[i];
        }
        for (size_t i = 0; i < n; i++)
            x[i] /= (float)sqrt(square / (double)n); /* mean square 1 */
        for (size_t step = 0; step < STEPS; step++)
            sums[step] += cosine(x, n, (top + 1) / (0.8 + 0.04 * (double)step), top);
    }
    for (size_t step = 1; step < STEPS; step++)
        if (sums[step] > sums[best])
            best = step;
    return (float)((top + 1) / (0.8 + 0.04 * (double)best) * sqrt((double)dim));
}

float rabitq_middle(const struct rabitq *rabitq, float sum, float fine)
{
    float half = (float)((1u << rabitq->bits) - 1) * 0.5f;

    return rabitq->fine ? ((float)(2u << rabitq->bits) - 1) * 0.5f * fine + 2 * half * (sum - fine) : half * sum;
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
    size_t dim = rabitq->dim, fine = rabitq->fine;
    double square = 0, rc = 0, rw = 0, cw = 0, ww = 0, rs = 0, cs = 0;
    double step = fine ? 2 : 1, half = ((1 << rabitq->bits) - 1) * 0.5 * step, fine_half = ((2 << rabitq->bits) - 1) * 0.5;
    float norm, t;

    codes->sub_f32(x, c, dim, residual);
    norm = sqrtf(codes->sumsq_f32(residual, dim));
    t = norm > 0 ? rabitq->scale / norm : 0;
    codes->rabitq_encode(residual, fine, 2 * t, rabitq->bits + 1, u);
    codes->rabitq_encode(residual + fine, dim - fine, t, rabitq->bits, u + fine);
    for (size_t i = 0; i < dim; i++) {
        double r = residual[i], center = c[i], w = i < fine ? u[i] - fine_half : step * u[i] - half, s = r >= 0 ? 0.5 : -0.5;
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
