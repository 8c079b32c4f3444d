/* The arrays of some rows' codes: how large, where, and whether what a file says is possible. */
#include "index/ivf_codes.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <math.h>
#include <string.h>

size_t coder_sign_bytes(const struct coder *coder)
{
    size_t window = coder->code_dim / SIMD_CODE_BLOCK * SIMD_CODE_BLOCK;

    return window < coder->code_dim ? window : (size_t)coder->code_dim / 2;
}

/* Of a last block that is not full, codes of 4 bits: bytes it takes, with half of its numbers in the low halves. */
static size_t tail_bytes(size_t rest) { return align_up((rest + 1) / 2, 8); }

void coder_spread_tail(const struct coder *coder, uint8_t *numbers)
{
    size_t dim = coder->code_dim, rest = dim % SIMD_CODE_BLOCK, padded = simd_code_dim(dim), low = tail_bytes(rest);
    uint8_t *tail = numbers + dim - rest;

    memset(numbers + dim, 0, padded - dim);
    if (!rest || coder->rabitq.bits != 4 || low >= rest || low == SIMD_CODE_BLOCK / 2)
        return;
    memmove(tail + SIMD_CODE_BLOCK / 2, tail + low, rest - low);
    memset(tail + low, 0, SIMD_CODE_BLOCK / 2 - low);
    memset(tail + SIMD_CODE_BLOCK / 2 + rest - low, 0, SIMD_CODE_BLOCK / 2 - (rest - low));
}

/* Bytes of a packed code without what pads its last block. */
static size_t trimmed_size(size_t dim, unsigned bits)
{
    size_t rest = dim % SIMD_CODE_BLOCK;

    return simd_code_size(dim, bits) - (rest && bits == 4 ? SIMD_CODE_BLOCK / 2 - tail_bytes(rest) : 0);
}

void coder_layout(struct coder *coder)
{
    coder->unit = coder->metric == VECDB_METRIC_COSINE;
    coder->l2 = coder->metric == VECDB_METRIC_L2 || coder->unit;
    coder->turned |= coder->kind == CODE_RABITQ;
    coder->code_dim = coder->turned && (!coder->lean || coder->dim < SIMD_CODE_BLOCK) ? (uint32_t)simd_code_dim(coder->dim)
                                                                                      : coder->dim;
    coder->extra_size = 0;
    coder->factors = 0;
    coder->block = 1;
    switch (coder->kind) {
    case CODE_RAW:
        coder->code_size = type_width(coder->type, coder->dim);
        break;
    case CODE_BYTES:
        coder->code_size = coder->ahead ? coder->ahead : coder->dim;
        coder->extra_size = coder->ahead ? coder->dim - coder->ahead : 0;
        coder->block = coder->ahead ? SIMD_BLOCK_ROWS : 1;
        coder->factors = coder->l2;
        break;
    case CODE_SQ8:
        coder->code_size = coder->dim;
        coder->factors = 1u + coder->l2 + coder->exact;
        break;
    case CODE_PQ:
        coder->pq.dim = coder->code_dim;
        coder->pq.sub_dim = coder->code_dim / coder->pq.m;
        coder->factors = coder->l2;
        coder->code_size = coder->pq.m;
        if (coder->pq.bits == 4) {
            coder->block = FASTSCAN_ROWS;
            coder->code_size = coder_tables(coder) / 2;
        }
        break;
    case CODE_RABITQ:
        coder->rabitq.dim = coder->code_dim;
        coder->rabitq.inner_product = !coder->l2;
        coder->factors = 3;
        if (coder->lean) {
            coder->factors = 2;
            coder->fine_at = trimmed_size(coder->code_dim, coder->rabitq.bits);
            coder->code_size = coder->fine_at + coder->rabitq.fine / 8;
        } else if (coder->rabitq.bits <= 5) { /* the sign bits first, the others for what they leave over */
            coder->block = FASTSCAN_ROWS;
            coder->code_size = coder->code_dim / 8;
            if (coder->rabitq.bits > 1) {
                coder->extra_size = simd_code_size(coder->code_dim, coder->rabitq.bits - 1);
                coder->factors = 6;
            }
        } else {
            coder->code_size = simd_code_size(coder->code_dim, coder->rabitq.bits);
        }
    }
}

struct index_reads coder_reads(const struct coder *coder)
{
    unsigned factors = coder->factors < 3 ? coder->factors : 3; /* those of the bits after the first are read with them */
    size_t copy = coder->refiner.kind == REFINE_VECTORS ? type_width(coder->type, coder->dim) : refine_stride(&coder->refiner);

    return (struct index_reads){.row = coder->code_size + factors * sizeof(float),
                                .exact = coder->extra_size + (coder->factors - factors) * sizeof(float) + copy};
}

static uint8_t *place(uint8_t *base, size_t *at, size_t size)
{
    uint8_t *array = base ? base + *at : NULL;

    *at = align_up(*at + size, 64);
    return array;
}

size_t part_layout(struct ivf_part *part, const struct coder *coder, bool has_rows, bool has_radius, uint8_t *base)
{
    size_t at = 0;
    uint8_t *array;

    array = place(base, &at, part->list_count * 4);
    part->sizes = (const uint32_t *)(const void *)array;
    if (has_radius) {
        array = place(base, &at, part->list_count * 4);
        part->radius = (const float *)(const void *)array;
    }
    if (coder->lean) {
        array = place(base, &at, part->list_count * 4);
        part->spread = (const float *)(const void *)array;
    }
    if (has_rows) {
        array = place(base, &at, part->slot_count * 4);
        part->rows = (const uint32_t *)(const void *)array;
    }
    for (unsigned i = 0; i < coder->factors; i++) {
        array = place(base, &at, part->slot_count * 4);
        part->factors[i] = (const float *)(const void *)array;
    }
    /* a trimmed code is read to the end of its last block */
    part->codes = place(base, &at, part->slot_count * coder->code_size + (coder->lean ? SIMD_CODE_BLOCK : 0));
    part->extra = place(base, &at, part->slot_count * coder->extra_size);
    return at;
}

vecdb_status part_derive(struct ivf_part *part, const struct coder *coder)
{
    bool maxima = coder->kind == CODE_SQ8;
    size_t slot = 0;

    part->starts = mem_array_alloc(part->list_count + 1, sizeof *part->starts);
    if (maxima)
        part->max_error = mem_array_zalloc(part->list_count * 3 + 1, sizeof *part->max_error);
    if (!part->starts || (maxima && !part->max_error))
        return error_nomem("index lists");
    for (size_t list = 0; list < part->list_count; list++) {
        part->starts[list] = slot;
        slot += align_up(part->sizes[list], coder->block);
    }
    part->starts[part->list_count] = slot;
    if (!maxima)
        return VECDB_OK;
    part->max_step = part->max_error + part->list_count;
    part->max_norm = part->max_step + part->list_count;
    for (size_t list = 0; list < part->list_count; list++) {
        size_t first = part->starts[list], n = part->sizes[list];
        if (n == 0)
            continue;
        part->max_step[list] = simd_compare()->max_f32(part->factors[coder->l2] + first, n);
        if (coder->exact)
            part->max_error[list] = simd_compare()->max_f32(part->factors[coder->l2 + 1u] + first, n);
        /* IP keeps no squares; no code is longer than this */
        part->max_norm[list] = coder->l2 ? sqrtf(simd_compare()->max_f32(part->factors[0] + first, n))
                                         : part->max_step[list] * 127.5f * sqrtf((float)coder->dim);
    }
    return VECDB_OK;
}

void part_copy(struct ivf_part *to, const struct ivf_part *from, const struct coder *coder)
{
    memcpy((void *)(uintptr_t)to->sizes, from->sizes, to->list_count * 4);
    if (to->radius)
        memcpy((void *)(uintptr_t)to->radius, from->radius, to->list_count * 4);
    if (to->spread)
        memcpy((void *)(uintptr_t)to->spread, from->spread, to->list_count * 4);
    if (to->rows)
        memcpy((void *)(uintptr_t)to->rows, from->rows, to->slot_count * 4);
    for (unsigned i = 0; i < coder->factors; i++)
        memcpy((void *)(uintptr_t)to->factors[i], from->factors[i], to->slot_count * 4);
    memcpy((void *)(uintptr_t)to->codes, from->codes, to->slot_count * coder->code_size);
    if (coder->extra_size)
        memcpy((void *)(uintptr_t)to->extra, from->extra, to->slot_count * coder->extra_size);
}

vecdb_status part_check_factors(const struct ivf_part *part, const struct coder *coder, const char *owner)
{
    for (unsigned i = 0; i < coder->factors; i++) {
        bool length = coder->kind == CODE_SQ8 || coder->kind == CODE_BYTES ||
                      (coder->kind == CODE_RABITQ && i % 3 == 2);
        if (part->slot_count == 0)
            break;
        if (!simd_codes()->finite_f32(part->factors[i], part->slot_count))
            return error_set(VECDB_ERR_CORRUPT, "%s: number %u of some code is not finite", owner, i);
        if (length && simd_compare()->min_f32(part->factors[i], part->slot_count) < 0)
            return error_set(VECDB_ERR_CORRUPT, "%s: number %u of some code is %g, below 0", owner, i,
                             (double)simd_compare()->min_f32(part->factors[i], part->slot_count));
    }
    for (size_t list = 0; part->radius && list < part->list_count; list++)
        if (!(part->radius[list] >= 0 && part->radius[list] < INFINITY))
            return error_set(VECDB_ERR_CORRUPT, "%s: list %zu has radius %g", owner, list, (double)part->radius[list]);
    for (size_t list = 0; part->spread && list < part->list_count; list++)
        if (!(part->spread[list] >= 0 && part->spread[list] < INFINITY))
            return error_set(VECDB_ERR_CORRUPT, "%s: list %zu has codes with errors of %g", owner, list,
                             (double)part->spread[list]);
    return VECDB_OK;
}

void part_deinit(struct ivf_part *part)
{
    mem_free(part->starts);
    mem_free(part->max_error);
    mem_free(part->owned);
    *part = (struct ivf_part){0};
}

size_t part_memory(const struct ivf_part *part)
{
    return part->owned_size + (part->list_count + 1) * sizeof *part->starts +
           (part->max_error ? part->list_count * 3 * sizeof(float) : 0);
}
