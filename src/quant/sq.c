#include "quant/sq.h"

#include "simd/kernels.h"

#include <math.h>
#include <string.h>

static float largest_magnitude(const float *x, size_t dim)
{
    const struct compare_kernels *compare = simd_compare();

    return fmaxf(fabsf(compare->min_f32(x, dim)), fabsf(compare->max_f32(x, dim)));
}

struct sq_row sq_encode(const struct sq *sq, const float *x, float *scratch, uint8_t *code)
{
    const struct code_kernels *codes = simd_codes();
    float *centred = scratch, *decoded = scratch + sq->dim, error;
    struct sq_row row;

    codes->sub_f32(x, sq->mean, sq->dim, centred);
    row.step = largest_magnitude(centred, sq->dim) / 127.5f;
    if (!(row.step > 1e-30f)) /* nothing left, or nothing that a float's square can hold */
        row.step = 0;
    codes->sq8_encode(centred, sq->dim, -127.5f * row.step, row.step > 0 ? 1 / row.step : 0, code);
    codes->sq8_decode(code, sq->dim, -127.5f * row.step, row.step, decoded);
    row.square = codes->sumsq_f32(decoded, sq->dim);
    codes->sub_f32(centred, decoded, sq->dim, decoded);
    error = sqrtf(codes->sumsq_f32(decoded, sq->dim));
    row.error = error * 1.0001f + row.step * 1e-4f;
    return row;
}

void sq_query_init(struct sq_query *out, const struct sq *sq, const float *q, bool centred, float *scratch,
                   int8_t *terms)
{
    const struct code_kernels *codes = simd_codes();
    size_t dim = sq->dim;
    float *x = scratch, *rest = scratch + dim, largest;
    double sum = 0, square = 0, spread = 0;

    *out = (struct sq_query){.terms = terms};
    if (centred) {
        codes->sub_f32(q, sq->mean, dim, x);
    } else {
        out->offset = simd_distance()->ip_f32.one(q, sq->mean, dim);
        out->mean_norm = sqrtf(codes->sumsq_f32(sq->mean, dim));
        memcpy(x, q, dim * sizeof *x);
    }
    largest = largest_magnitude(x, dim);
    out->step = largest / 16256;
    if (!(out->step > 1e-30f))
        out->step = 0;
    codes->quantize_i8x2(x, dim, out->step > 0 ? 1 / out->step : 0, terms);
    for (size_t i = 0; i < dim; i++) {
        float integer = (float)(128 * terms[i] + terms[dim + i]);
        sum += integer;
        square += (double)integer * integer;
        spread += fabsf(integer);
        rest[i] = x[i] - integer * out->step;
    }
    out->sum = (float)sum;
    out->square = (float)(square * out->step * out->step);
    out->norm = sqrtf(out->square);
    out->spread = (float)(spread * out->step);
    out->error = sqrtf(codes->sumsq_f32(rest, dim)) * 1.0001f + out->step * 1e-4f;
}
