#include "index/ivf_products.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define TILE 24 /* queries multiplied at a time */

vecdb_status products_init(struct products *products, const struct coder *coder)
{
    size_t dim = coder->dim;

    *products = (struct products){0};
    products->panel = mem_aligned_alloc(64, align_up(simd_distance()->u8_panel_size(SCAN_CHUNK, dim) + 64, 64));
    products->rows = coder->kind == CODE_SQ8 ? mem_array_alloc(SCAN_CHUNK, dim) : NULL;
    products->matrix = mem_array_alloc(TILE, dim);
    products->values = mem_aligned_alloc(64, TILE * SCAN_CHUNK * sizeof *products->values);
    products->errors = mem_array_alloc(TILE, sizeof *products->errors);
    products->sums = mem_array_alloc(TILE, sizeof *products->sums);
    if (!products->panel || (coder->kind == CODE_SQ8 && !products->rows) || !products->matrix || !products->values ||
        !products->errors || !products->sums)
        return error_nomem("search");
    return VECDB_OK;
}

void products_deinit(struct products *products)
{
    mem_free(products->panel);
    mem_free(products->rows);
    mem_free(products->matrix);
    mem_free(products->values);
    mem_free(products->errors);
    mem_free(products->sums);
    *products = (struct products){0};
}

/* -- bytes: products are exact */

static size_t keep_bytes(const struct ivf_part *part, const struct coder *coder, size_t first, size_t n,
                         const struct code_query *query, int32_t *values, uint32_t *found)
{
    float limit = code_query_limit(query), scores[SCAN_CHUNK];

    if (coder->l2 && !coder->unit)
        return simd_compare()->below_i32(values, n, limit < 2147483000.0f ? (int32_t)floorf(limit) + 1 : INT32_MAX, 0, found);
    if (coder->unit)
        for (size_t i = 0; i < n; i++) {
            float norm = part->factors[0][first + i];
            scores[i] = 1 - (norm > 0 ? (float)values[i] * query->bytes.inverse_norm / norm : 0);
        }
    else
        for (size_t i = 0; i < n; i++)
            scores[i] = -(float)values[i];
    limit += FLT_EPSILON * 8 * (1 + fabsf(limit)); /* to be scored again, and perhaps as near as the limit */
    return simd_compare()->below_f32(scores, n, limit, 0, found);
}

/* -- SQ8: products of the query's high terms */

/* The high terms of a query to a line of the matrix: q = step * 128 * high + rest. */
static void high_terms(struct products *products, const struct coder *coder, const struct code_query *query, size_t line)
{
    size_t dim = coder->dim;

    memcpy(products->matrix + line * dim, query->sq.terms, dim);
    products->sums[line] = simd_codes()->sum_i8(query->sq.terms, dim);
    products->errors[line] = query->sq.step * sqrtf((float)simd_codes()->sumsq_i8(query->sq.terms + dim, dim)) * 1.0001f;
}

static size_t keep_sq8(const struct ivf_part *part, const struct coder *coder, size_t list, size_t first, size_t n,
                       const struct code_query *query, float rest, int32_t sum, float high_square, const int32_t *values,
                       uint32_t *found)
{
    const struct sq_query *q = &query->sq;
    float scores[SCAN_CHUNK], factor = coder->l2 ? -2 : -1, step = 128 * q->step;
    float limit = code_query_limit(query) / (query->sieving ? ivf_scale(coder) : 1), error = rest, norm, slack;

    if (query->sieving)
        error += part->max_error[list] + q->error;
    norm = sqrtf(high_square) + part->max_norm[list];
    slack = 16 * FLT_EPSILON * (float)(coder->dim + 16) * (norm * norm + fabsf(q->offset) + 255 * part->max_step[list] * q->spread);
    if (coder->l2) {
        if (coder->unit)
            error += 1e-6f;
        limit = sqrtf(fmaxf(limit, 0)) * (1 + 1e-5f) + error;
        limit = limit * limit * (1 + 1e-5f) + slack;
    } else {
        limit += rest * (part->max_norm[list] + (query->sieving ? part->max_error[list] : 0)) + slack;
        if (query->sieving)
            limit += query->norm * part->max_error[list] * 1.0001f + q->error * (part->max_norm[list] + part->max_error[list]);
    }
    if (!(limit < INFINITY)) {
        for (size_t i = 0; i < n; i++)
            found[i] = (uint32_t)i;
        return n;
    }
    simd_codes()->score_i32(values, coder->l2 ? part->factors[0] + first : NULL, part->factors[coder->l2] + first, n,
                            coder->l2 ? high_square : -q->offset, factor * step, factor * step * 0.5f * (float)sum, scores);
    return simd_compare()->below_f32(scores, n, limit, 0, found);
}

void products_scan(struct products *products, const struct ivf_part *part, const struct coder *coder, size_t list,
                   const struct vectors *vectors, const struct index_search *search, const struct code_target *targets,
                   size_t count)
{
    const struct distance_kernels *kernels = simd_distance();
    size_t dim = coder->dim, end = part->starts[list] + part->sizes[list];
    bool sq8 = coder->kind == CODE_SQ8, l2 = coder->l2 && !coder->unit;
    uint32_t found[SCAN_CHUNK];

    for (size_t first = part->starts[list], n; first < end; first += n) {
        n = end - first < SCAN_CHUNK ? end - first : SCAN_CHUNK;
        if (sq8) { /* as signed bytes, 128 lower */
            const uint8_t *from = part->codes + first * dim;
            for (size_t i = 0; i < n * dim; i++)
                products->rows[i] = from[i] ^ 0x80;
            kernels->i8_pack(products->rows, dim, NULL, n, dim, products->panel);
        } else {
            kernels->u8_pack(part->codes + first * dim, dim, NULL, n, dim, products->panel);
        }
        for (size_t done = 0, m; done < count; done += m) {
            m = count - done < TILE ? count - done : TILE;
            for (size_t q = 0; q < m; q++) {
                if (sq8)
                    high_terms(products, coder, targets[done + q].query, q);
                else
                    memcpy(products->matrix + q * dim, targets[done + q].query->bytes.data, dim);
            }
            (sq8 ? kernels->i8_multiply : l2 ? kernels->u8_l2sq : kernels->u8_multiply)(
                products->matrix, dim, m, products->panel, n, dim, products->values, SCAN_CHUNK);
            for (size_t q = 0; q < m; q++) {
                struct code_query *query = targets[done + q].query;
                int32_t *values = products->values + q * SCAN_CHUNK;
                size_t kept;
                if (sq8) {
                    float high = 128 * query->sq.step;
                    float square = high * high * (float)simd_codes()->sumsq_i8(products->matrix + q * dim, dim);
                    kept = keep_sq8(part, coder, list, first, n, query, products->errors[q], products->sums[q], square,
                                    values, found);
                } else {
                    kept = keep_bytes(part, coder, first, n, query, values, found);
                }
                query->scored += n - kept; /* the others are counted when they are scored again */
                if (kept)
                    part_scan_slots(part, coder, list, first, found, kept, &targets[done + q]);
            }
        }
    }
}
