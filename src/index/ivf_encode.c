/* Rows to codes. */
#include "index/ivf_codes.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/ivf_planes.h"

#include <math.h>
#include <string.h>

#define ENCODE_ROWS 480  /* a multiple of FASTSCAN_ROWS */

void coder_turn(const struct coder *coder, float *x)
{
    size_t window = coder->code_dim / SIMD_CODE_BLOCK * SIMD_CODE_BLOCK, rest = coder->code_dim - window;

    memset(x + coder->dim, 0, (coder->code_dim - coder->dim) * sizeof *x);
    simd_codes()->rotate(x, window, coder->signs);
    if (rest) { /* two windows that overlap, the first of them twice so that either reaches everywhere */
        simd_codes()->rotate(x + rest, window, coder->signs + window / 2);
        simd_codes()->rotate(x, window, coder->signs);
    }
}

void coder_floats(const struct coder *coder, const void *row, float *out)
{
    scan_to_f32(coder->type, coder->dim, row, out);
    if (coder->unit)
        simd_codes()->normalize_f32(out, coder->dim, out);
    if (coder->turned)
        coder_turn(coder, out);
}

struct code_scratch {
    float *rows;     /* ENCODE_ROWS x code_dim */
    float *spare;    /* 2 x code_dim */
    uint8_t *values; /* ENCODE_ROWS x the most numbers of a code */
    uint8_t *numbers;
};

vecdb_status code_scratch_create(const struct coder *coder, struct code_scratch **out)
{
    struct code_scratch *scratch = mem_zalloc(sizeof *scratch);
    size_t values = coder->kind == CODE_PQ ? align_up(coder->pq.m, 2) : simd_code_dim(coder->code_dim);

    *out = NULL;
    if (!scratch)
        return error_nomem("encoding");
    scratch->rows = mem_array_alloc((size_t)ENCODE_ROWS * coder->code_dim, sizeof(float));
    scratch->spare = mem_array_alloc((size_t)2 * coder->code_dim, sizeof(float));
    scratch->values = mem_alloc(ENCODE_ROWS * values);
    scratch->numbers = mem_alloc(values);
    if (!scratch->rows || !scratch->spare || !scratch->values || !scratch->numbers) {
        code_scratch_free(scratch);
        return error_nomem("encoding");
    }
    *out = scratch;
    return VECDB_OK;
}

void code_scratch_free(struct code_scratch *scratch)
{
    if (!scratch)
        return;
    mem_free(scratch->rows);
    mem_free(scratch->spare);
    mem_free(scratch->values);
    mem_free(scratch->numbers);
    mem_free(scratch);
}

static float *writable(const float *array) { return (float *)(uintptr_t)array; }

/* BYTES, L2: the rows' squared lengths. */
static int32_t *writable_squares(const struct ivf_part *part) { return (int32_t *)(uintptr_t)part->factors[0]; }

/* Rows in scratch->rows to slots first .. first + n - 1, one kind each. */

static void encode_sq8(struct ivf_part *part, const struct coder *coder, size_t first, size_t n,
                       struct code_scratch *scratch)
{
    struct sq sq = {coder->dim, coder->mean};
    uint8_t *codes = (uint8_t *)(uintptr_t)part->codes;

    for (size_t i = 0; i < n; i++) {
        struct sq_row row =
            sq_encode(&sq, scratch->rows + i * coder->code_dim, scratch->spare, codes + (first + i) * coder->code_size);
        if (coder->l2)
            writable(part->factors[0])[first + i] = row.square;
        writable(part->factors[coder->l2])[first + i] = row.step;
        if (coder->exact)
            writable(part->factors[coder->l2 + 1u])[first + i] = row.error;
    }
}

static vecdb_status encode_pq(struct ivf_part *part, const struct coder *coder, const struct pq_encoder *encoder,
                              const float *centroid, size_t first, size_t n, struct code_scratch *scratch)
{
    const struct code_kernels *codes = simd_codes();
    size_t dim = coder->code_dim, m = coder->pq.m, tables = coder_tables(coder);
    uint8_t *out = (uint8_t *)(uintptr_t)part->codes;

    for (size_t i = 0; i < n; i++)
        codes->sub_f32(scratch->rows + i * dim, centroid, dim, scratch->rows + i * dim);
    TRY(pq_encode(encoder, scratch->rows, n, scratch->values));
    for (size_t i = 0; i < n && coder->l2; i++) {
        float *decoded = scratch->spare;
        pq_decode(&coder->pq, scratch->values + i * m, decoded);
        writable(part->factors[0])[first + i] =
            codes->sumsq_f32(decoded, dim) + 2 * simd_distance()->ip_f32.one(centroid, decoded, dim);
    }
    if (coder->pq.bits == 8) {
        memcpy(out + first * m, scratch->values, n * m);
        return VECDB_OK;
    }
    if (m % 2) { /* an empty table makes them even */
        for (size_t i = n; i-- > 0;) {
            memmove(scratch->values + i * tables, scratch->values + i * m, m);
            scratch->values[i * tables + m] = 0;
        }
    }
    for (size_t i = 0; i < n; i += FASTSCAN_ROWS)
        codes->fastscan_pack(scratch->values + i * tables, tables, n - i < FASTSCAN_ROWS ? n - i : FASTSCAN_ROWS,
                             tables, out + (first + i) * coder->code_size);
    return VECDB_OK;
}

/* Whole codes, then the last bits of the fine dimensions. The query comes without the mean, whose part is in `add`. */
static void encode_lean(struct ivf_part *part, const struct coder *coder, const float *centroid, size_t first, size_t n,
                        struct code_scratch *scratch, float *spread)
{
    const struct code_kernels *codes = simd_codes();
    const struct rabitq *rabitq = &coder->rabitq;
    size_t dim = coder->code_dim;
    uint8_t *u = scratch->numbers, *packed = scratch->values, *last = scratch->values + align_up(dim, SIMD_CODE_BLOCK);

    for (size_t i = 0; i < n; i++) {
        struct rabitq_row row = rabitq_encode(rabitq, scratch->rows + i * dim, centroid, scratch->spare, u, NULL);
        uint8_t *out = (uint8_t *)(uintptr_t)part->codes + (first + i) * coder->code_size;
        double product = 0, sum = 0, fine = 0;
        for (size_t j = 0; j < dim; j++) {
            double mean = coder->mean[j];
            product += mean * u[j] * (rabitq->fine && j >= rabitq->fine ? 2 : 1);
            sum += mean;
            fine += j < rabitq->fine ? mean : 0;
        }
        product = product - rabitq_middle(rabitq, (float)sum, (float)fine);
        writable(part->factors[0])[first + i] = (float)(row.add + row.factor * product);
        writable(part->factors[1])[first + i] = row.factor;
        *spread = fmaxf(*spread, row.error);
        for (size_t j = 0; j < rabitq->fine; j++) {
            last[j] = u[j] & 1;
            u[j] >>= 1;
        }
        coder_spread_tail(coder, u);
        codes->code_pack(u, simd_code_dim(dim), rabitq->bits, packed);
        memcpy(out, packed, coder->fine_at);
        codes->code_pack(last, rabitq->fine, 1, out + coder->fine_at);
    }
}

static void encode_rabitq(struct ivf_part *part, const struct coder *coder, const float *centroid, size_t first,
                          size_t n, struct code_scratch *scratch)
{
    const struct code_kernels *codes = simd_codes();
    size_t dim = coder->code_dim, tables = dim / 4;
    unsigned bits = coder->rabitq.bits;
    uint8_t *out = (uint8_t *)(uintptr_t)part->codes, *extra = (uint8_t *)(uintptr_t)part->extra;
    uint8_t *u = scratch->numbers, mask = (uint8_t)((1u << (bits - 1)) - 1);

    for (size_t i = 0; i < n; i++) {
        struct rabitq_row sign, row = rabitq_encode(&coder->rabitq, scratch->rows + i * dim, centroid, scratch->spare, u,
                                                    &sign);
        size_t slot = first + i;
        const struct rabitq_row *stage = coder_fastscan(coder) ? &sign : &row;
        writable(part->factors[0])[slot] = stage->add;
        writable(part->factors[1])[slot] = stage->factor;
        writable(part->factors[2])[slot] = stage->error;
        if (!coder_fastscan(coder)) {
            codes->code_pack(u, dim, bits, out + slot * coder->code_size);
            continue;
        }
        for (size_t t = 0; t < tables; t++) {
            const uint8_t *four = u + 4 * t;
            unsigned shift = bits - 1;
            scratch->values[i * tables + t] = (uint8_t)(four[0] >> shift | four[1] >> shift << 1 |
                                                        four[2] >> shift << 2 | four[3] >> shift << 3);
        }
        if (bits > 1) {
            writable(part->factors[3])[slot] = row.add;
            writable(part->factors[4])[slot] = row.factor;
            writable(part->factors[5])[slot] = row.error;
            for (size_t j = 0; j < dim; j++)
                u[j] &= mask;
            codes->code_pack(u, dim, bits - 1, extra + slot * coder->extra_size);
        }
    }
    for (size_t i = 0; i < n && coder_fastscan(coder); i += FASTSCAN_ROWS)
        codes->fastscan_pack(scratch->values + i * tables, tables, n - i < FASTSCAN_ROWS ? n - i : FASTSCAN_ROWS,
                             tables, out + (first + i) * coder->code_size);
}

vecdb_status part_encode(struct ivf_part *part, const struct coder *coder, const struct pq_encoder *encoder,
                         const struct vectors *vectors, const float *centroid, size_t first, size_t count,
                         struct code_scratch *scratch, float *radius, float *spread)
{
    size_t dim = coder->code_dim;

    for (size_t done = 0, n; done < count; done += n, first += n) {
        n = count - done < ENCODE_ROWS ? count - done : ENCODE_ROWS;
        for (size_t i = 0; i < n; i++) {
            size_t row = part->rows ? part->rows[first + i] : first + i;
            const uint8_t *from = vectors_row(vectors, row);
            float *x = scratch->rows + i * dim;
            coder_floats(coder, from, x);
            if (centroid && radius)
                *radius = fmaxf(*radius, sqrtf(simd_distance()->l2sq_f32.one(x, centroid, dim)));
            if (coder->kind == CODE_RAW)
                memcpy((uint8_t *)(uintptr_t)part->codes + (first + i) * coder->code_size, from, coder->code_size);
            if (coder->kind == CODE_BYTES) {
                uint8_t *code = (uint8_t *)(uintptr_t)part->codes + (first + i) * coder->code_size;
                uint8_t *values = coder->ahead ? scratch->values : code;
                if (coder->unit) {
                    writable(part->factors[0])[first + i] = scan_norm(coder->type, coder->dim, from);
                    scan_to_f32(coder->type, coder->dim, from, x);
                }
                if (!simd_codes()->u8_from_f32(x, dim, values))
                    return error_set(VECDB_ERR_UNSUPPORTED, "row %zu: not all whole numbers 0..255", row);
                if (coder->ahead)
                    planes_store(part, coder, first + i, values);
                else if (coder->l2 && !coder->unit)
                    writable_squares(part)[first + i] = simd_codes()->sumsq_u8(code, dim);
            }
        }
        if (coder->kind == CODE_SQ8)
            encode_sq8(part, coder, first, n, scratch);
        else if (coder->kind == CODE_PQ)
            TRY(encode_pq(part, coder, encoder, centroid, first, n, scratch));
        else if (coder->lean)
            encode_lean(part, coder, centroid, first, n, scratch, spread);
        else if (coder->kind == CODE_RABITQ)
            encode_rabitq(part, coder, centroid, first, n, scratch);
    }
    return VECDB_OK;
}
