#include "index/refine.h"

#include "base/bytes.h"

#include <float.h>
#include <math.h>
#include <string.h>

size_t refine_stride(const struct refiner *refiner)
{
    switch (refiner->kind) {
    case REFINE_BYTES:
        return refiner->dim;
    case REFINE_SQ8:
        return scan_sq8_factors(refiner->dim) + 2 * sizeof(float);
    case REFINE_FP16:
    case REFINE_BF16:
        return 2 * (size_t)refiner->dim;
    default:
        return 0;
    }
}

static void to_floats(const struct refiner *refiner, const void *row, float *out)
{
    scan_to_f32(refiner->type, refiner->dim, row, out);
    if (refiner->kind == REFINE_SQ8 && refiner->metric == VECDB_METRIC_COSINE)
        simd_codes()->normalize_f32(out, refiner->dim, out);
}

/* Nothing becomes infinite by being copied. */
static void clamp(float *x, size_t dim, float most)
{
    for (size_t i = 0; i < dim; i++)
        x[i] = x[i] > most ? most : x[i] < -most ? -most : x[i];
}

bool refine_encode(const struct refiner *refiner, const void *row, uint8_t *out, float *spare)
{
    size_t dim = refiner->dim;

    to_floats(refiner, row, spare);
    switch (refiner->kind) {
    case REFINE_BYTES:
        return simd_codes()->u8_from_f32(spare, dim, out);
    case REFINE_SQ8: {
        struct sq sq = {refiner->dim, refiner->mean};
        struct sq_row coded = sq_encode(&sq, spare, spare + dim, out);
        clamp(&coded.step, 1, FLT_MAX);
        clamp(&coded.square, 1, FLT_MAX);
        memset(out + dim, 0, scan_sq8_factors(refiner->dim) - dim);
        memcpy(out + scan_sq8_factors(refiner->dim), &coded.step, sizeof coded.step);
        memcpy(out + scan_sq8_factors(refiner->dim) + sizeof coded.step, &coded.square, sizeof coded.square);
        return true;
    }
    case REFINE_FP16:
        clamp(spare, dim, 65504.0f);
        simd_codes()->f16_from_f32(spare, dim, (uint16_t *)(void *)out);
        return true;
    case REFINE_BF16:
        clamp(spare, dim, 0x1.FEp127f);
        simd_codes()->bf16_from_f32(spare, dim, (uint16_t *)(void *)out);
        return true;
    default:
        return false;
    }
}

void refine_mean(const struct refiner *refiner, const struct vectors *vectors, float *mean, float *spare)
{
    size_t step = vectors->row_count / 4096 + 1, count = 0, dim = refiner->dim;

    memset(mean, 0, dim * sizeof *mean);
    for (size_t i = 0; i < vectors->row_count; i += step) {
        if (vectors->present && !bitmap_get(vectors->present, i))
            continue;
        to_floats(refiner, vectors_row(vectors, i), spare);
        simd_codes()->scale_f32(spare, dim, 1.0f / 4096);
        simd_codes()->add_f32(mean, spare, dim);
        count++;
    }
    if (count)
        simd_codes()->scale_f32(mean, dim, 4096 / (float)count);
    for (size_t i = 0; i < dim; i++)
        if (!isfinite(mean[i]))
            mean[i] = 0;
}

void refine_prepare(const struct refiner *refiner, const void *query, struct scan_query *out, struct sq_query *sq,
                    void *scratch, float *spare)
{
    to_floats(refiner, query, spare);
    if (refiner->kind == REFINE_BYTES) {
        scan_prepare_bytes(out, refiner->metric, refiner->dim, spare, scratch);
    } else if (refiner->kind == REFINE_SQ8) {
        struct sq codes = {refiner->dim, refiner->mean};
        sq_query_init(sq, &codes, spare, refiner->metric != VECDB_METRIC_IP, spare + refiner->dim, scratch);
        *out = (struct scan_query){.type = refiner->type, .metric = refiner->metric, .dim = refiner->dim, .sq = sq};
    } else {
        scan_prepare_floats(out, refiner->kind == REFINE_FP16 ? VECDB_TYPE_FLOAT16_VECTOR : VECDB_TYPE_BFLOAT16_VECTOR,
                            refiner->metric, refiner->dim, spare, scratch);
    }
}

vecdb_status refine_check(const struct refiner *refiner, const struct refine_rows *rows, const char *owner)
{
    for (size_t i = 0; i < rows->vectors.row_count; i++) {
        const uint8_t *row = vectors_row(&rows->vectors, i);
        float factors[2];
        if (refiner->kind == REFINE_SQ8) {
            memcpy(factors, row + scan_sq8_factors(refiner->dim), sizeof factors);
            if (!(factors[0] >= 0 && factors[0] < INFINITY && factors[1] >= 0 && factors[1] < INFINITY))
                return error_set(VECDB_ERR_CORRUPT, "%s: the copy of row %zu has step %g and square %g", owner, i,
                                 (double)factors[0], (double)factors[1]);
        } else if ((refiner->kind == REFINE_FP16 && !simd_codes()->finite_f16(row, refiner->dim)) ||
                   (refiner->kind == REFINE_BF16 && !simd_codes()->finite_bf16(row, refiner->dim))) {
            return error_set(VECDB_ERR_CORRUPT, "%s: the copy of row %zu is not finite", owner, i);
        }
    }
    return VECDB_OK;
}
