#include "index/ivf_codes.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define ENCODE_ROWS 480  /* a multiple of FASTSCAN_ROWS */
#define MASKED_CHUNK 64  /* slots looked at together under a filter: without an allowed one they are skipped */
#define REACH 3.0
#define TOGETHER 4       /* queries whose tables are looked up in one pass over fastscan codes */
#define SPARSE_SHARE 6   /* a chunk with fewer than one slot in so many allowed is scored slot by slot */

/* -- sizes */

static bool fastscan(const struct coder *coder) { return coder->block == FASTSCAN_ROWS; }

/* Tables of a fastscan code; even. */
static size_t fastscan_tables(const struct coder *coder)
{
    return coder->kind == CODE_PQ ? align_up(coder->pq.m, 2) : coder->code_dim / 4;
}

void coder_layout(struct coder *coder)
{
    coder->unit = coder->metric == VECDB_METRIC_COSINE;
    coder->l2 = coder->metric == VECDB_METRIC_L2 || coder->unit;
    coder->turned |= coder->kind == CODE_RABITQ;
    coder->code_dim = coder->turned ? (uint32_t)simd_code_dim(coder->dim) : coder->dim;
    coder->extra_size = 0;
    coder->factors = 0;
    coder->block = 1;
    switch (coder->kind) {
    case CODE_RAW:
        coder->code_size = type_width(coder->type, coder->dim);
        break;
    case CODE_BYTES:
        coder->code_size = coder->dim;
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
            coder->code_size = fastscan_tables(coder) / 2;
        }
        break;
    case CODE_RABITQ:
        coder->rabitq.dim = coder->code_dim;
        coder->rabitq.inner_product = !coder->l2;
        coder->factors = 3;
        if (coder->rabitq.bits <= 5) { /* the sign bits first, the others for what they leave over */
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
    if (has_rows) {
        array = place(base, &at, part->slot_count * 4);
        part->rows = (const uint32_t *)(const void *)array;
    }
    for (unsigned i = 0; i < coder->factors; i++) {
        array = place(base, &at, part->slot_count * 4);
        part->factors[i] = (const float *)(const void *)array;
    }
    part->codes = place(base, &at, part->slot_count * coder->code_size);
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

/* -- encoding */

void coder_turn(const struct coder *coder, float *x)
{
    memset(x + coder->dim, 0, (coder->code_dim - coder->dim) * sizeof *x);
    simd_codes()->rotate(x, coder->code_dim, coder->signs);
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
    size_t values = align_up(coder->kind == CODE_PQ ? coder->pq.m : coder->code_dim, 2);

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
static const int32_t *squares_of(const struct ivf_part *part) { return (const int32_t *)(const void *)part->factors[0]; }
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
    size_t dim = coder->code_dim, m = coder->pq.m, tables = fastscan_tables(coder);
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
        const struct rabitq_row *stage = fastscan(coder) ? &sign : &row;
        writable(part->factors[0])[slot] = stage->add;
        writable(part->factors[1])[slot] = stage->factor;
        writable(part->factors[2])[slot] = stage->error;
        if (!fastscan(coder)) {
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
    for (size_t i = 0; i < n && fastscan(coder); i += FASTSCAN_ROWS)
        codes->fastscan_pack(scratch->values + i * tables, tables, n - i < FASTSCAN_ROWS ? n - i : FASTSCAN_ROWS,
                             tables, out + (first + i) * coder->code_size);
}

vecdb_status part_encode(struct ivf_part *part, const struct coder *coder, const struct pq_encoder *encoder,
                         const struct vectors *vectors, const float *centroid, size_t first, size_t count,
                         struct code_scratch *scratch, float *radius)
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
                if (coder->unit) {
                    writable(part->factors[0])[first + i] = scan_norm(coder->type, coder->dim, from);
                    scan_to_f32(coder->type, coder->dim, from, x);
                }
                if (!simd_codes()->u8_from_f32(x, dim, code))
                    return error_set(VECDB_ERR_UNSUPPORTED, "row %zu: not all whole numbers 0..255", row);
                if (coder->l2 && !coder->unit)
                    writable_squares(part)[first + i] = simd_codes()->sumsq_u8(code, dim);
            }
        }
        if (coder->kind == CODE_SQ8)
            encode_sq8(part, coder, first, n, scratch);
        else if (coder->kind == CODE_PQ)
            TRY(encode_pq(part, coder, encoder, centroid, first, n, scratch));
        else if (coder->kind == CODE_RABITQ)
            encode_rabitq(part, coder, centroid, first, n, scratch);
    }
    return VECDB_OK;
}

/* -- queries */

struct query_layout {
    size_t scan, bytes, refine, floats, terms, lut, table, hits, total;
    size_t spare, spare_table, spare_total; /* wanted only while the query is made ready */
};

static struct query_layout query_layout(const struct coder *coder, size_t k, size_t keep)
{
    struct query_layout layout;
    size_t at = 0, dim = coder->code_dim, tables = fastscan(coder) ? fastscan_tables(coder) : 0;
    size_t candidates = sieve_scratch_hits(k) * sizeof(struct hit), floats = dim * 4;

    if (shortlist_room(keep) * sizeof(uint64_t) > candidates)
        candidates = shortlist_room(keep) * sizeof(uint64_t);
    layout.scan = at;
    at += align_up(scan_scratch_size(coder->type, coder->dim), 64);
    layout.bytes = at;
    at += coder->kind == CODE_BYTES ? align_up((size_t)coder->dim * 4, 64) : 0;
    layout.refine = at;
    at += coder->refiner.kind ? align_up((size_t)coder->dim * 4, 64) : 0;
    layout.floats = at;
    at += align_up(floats, 64);
    layout.terms = at;
    at += coder->kind == CODE_SQ8 || coder->kind == CODE_RABITQ ? align_up(2 * dim, 64) : 0;
    layout.lut = at;
    at += align_up(tables * 16, 64);
    layout.table = at;
    at += coder->kind == CODE_PQ && !fastscan(coder) ? align_up(pq_table_floats(&coder->pq) * 4, 64) : 0;
    layout.hits = at;
    at += align_up(candidates, 64);
    layout.total = at;
    at = 0;
    layout.spare = at;
    at += align_up(3 * floats, 64);
    layout.spare_table = at;
    at += tables * 64;
    layout.spare_total = at;
    return layout;
}

size_t code_query_size(const struct coder *coder, size_t k, size_t keep)
{
    return query_layout(coder, k, keep).total;
}

size_t code_query_spare(const struct coder *coder) { return query_layout(coder, 1, 1).spare_total + 64; }

/* Smallest and largest of 16 entries, four side by side. */
static inline void table_range(const float *table, float *low, float *high)
{
    float least[4], most[4];

    for (size_t i = 0; i < 4; i++)
        least[i] = most[i] = table[i];
    for (size_t j = 4; j < 16; j += 4)
        for (size_t i = 0; i < 4; i++) { /* no fminf(): it is a call, for the sake of NaNs */
            least[i] = table[j + i] < least[i] ? table[j + i] : least[i];
            most[i] = table[j + i] > most[i] ? table[j + i] : most[i];
        }
    *low = least[0];
    *high = most[0];
    for (size_t i = 1; i < 4; i++) {
        *low = least[i] < *low ? least[i] : *low;
        *high = most[i] > *high ? most[i] : *high;
    }
}

/* Tables of floats to bytes with one step: entry ~ bias + step * byte, biases summed. */
static void quantize_tables(struct code_query *query, const float *table, size_t tables, size_t padded, uint8_t *lut)
{
    float span = 0, bias = 0, inverse;

    for (size_t t = 0; t < tables; t++) {
        float low, high;
        table_range(table + t * 16, &low, &high);
        span = high - low > span ? high - low : span;
    }
    query->lut_scale = span / 255;
    inverse = span > 1e-30f ? 255 / span : 0;
    for (size_t t = 0; t < tables; t++) {
        float low, high;
        table_range(table + t * 16, &low, &high);
        simd_codes()->sq8_encode(table + t * 16, 16, low, inverse, lut + t * 16);
        bias += low;
    }
    memset(lut + tables * 16, 0, (padded - tables) * 16);
    query->lut_bias = bias;
}

/* Sums of the elements that a 4-bit number picks, for every four of the query. */
static void sign_tables(const float *q, size_t tables, float *table)
{
    for (size_t t = 0; t < tables; t++, q += 4, table += 16) {
        table[0] = 0;
        for (unsigned i = 0; i < 4; i++)
            for (unsigned j = 0; j < 1u << i; j++)
                table[(1u << i) + j] = table[j] + q[i];
    }
}

static void prepare_rabitq(struct code_query *query, const struct coder *coder, const struct query_layout *layout,
                           uint8_t *scratch, uint8_t *spare)
{
    size_t dim = coder->code_dim, tables = dim / 4;
    int8_t *terms = (int8_t *)(scratch + layout->terms);
    const float *q = query->floats;
    bool two = coder->rabitq.bits == 8;
    float largest = fmaxf(fabsf(simd_compare()->min_f32(q, dim)), fabsf(simd_compare()->max_f32(q, dim)));

    query->sum = simd_codes()->sum_f32(q, dim);
    if (fastscan(coder)) {
        float *table = (float *)(void *)(spare + layout->spare_table);
        sign_tables(q, tables, table);
        quantize_tables(query, table, tables, tables, scratch + layout->lut);
        query->lut = scratch + layout->lut;
    }
    query->term_step = largest / (two ? 16256 : 127);
    if (!(query->term_step > 1e-30f))
        query->term_step = 0;
    if (two)
        simd_codes()->quantize_i8x2(q, dim, query->term_step > 0 ? 1 / query->term_step : 0, terms);
    else
        simd_codes()->quantize_i8(q, dim, query->term_step > 0 ? 1 / query->term_step : 0, terms);
    query->terms = terms;
}

void code_query_init(struct code_query *out, const struct coder *coder, const struct vectors *vectors,
                     const struct index_search *search, const void *query, bool sieving, size_t keep, float epsilon,
                     struct hit *hits, void *scratch, void *spare_memory)
{
    struct query_layout layout = query_layout(coder, search->k, keep);
    uint8_t *base = scratch, *spare = spare_memory;
    float *floats = (float *)(void *)(base + layout.floats);
    struct hit *candidates = (struct hit *)(void *)(base + layout.hits);

    *out = (struct code_query){.floats = floats, .sieving = sieving, .epsilon = epsilon};
    scan_prepare(&out->scan, coder->type, coder->metric, coder->dim, query, base + layout.scan);
    if (coder->refiner.kind)
        refine_prepare(&coder->refiner, query, &out->refine, &out->refine_sq, base + layout.refine,
                       (float *)(void *)(spare + layout.spare));
    coder_floats(coder, query, floats);
    out->square = simd_codes()->sumsq_f32(floats, coder->code_dim);
    out->norm = sqrtf(out->square);
    switch (coder->kind) {
    case CODE_RAW:
        break;
    case CODE_BYTES:
        scan_prepare_bytes(&out->bytes, coder->metric, coder->dim, query, base + layout.bytes);
        out->byte_square = out->bytes.integer ? simd_codes()->sumsq_u8(out->bytes.data, coder->dim) : 0;
        break;
    case CODE_SQ8: {
        struct sq sq = {coder->dim, coder->mean};
        sq_query_init(&out->sq, &sq, floats, coder->l2, (float *)(void *)(spare + layout.spare),
                      (int8_t *)(base + layout.terms));
        break;
    }
    case CODE_PQ: {
        float *table = (float *)(void *)(fastscan(coder) ? spare + layout.spare_table : base + layout.table);
        pq_table(&coder->pq, floats, coder->l2 ? -2 : -1, table);
        out->table = table;
        if (fastscan(coder)) {
            quantize_tables(out, table, coder->pq.m, fastscan_tables(coder), base + layout.lut);
            out->lut = base + layout.lut;
        }
        break;
    }
    case CODE_RABITQ:
        prepare_rabitq(out, coder, &layout, base, spare);
    }
    if (sieving)
        sieve_init(&out->sieve, coder->refiner.kind ? &out->refine : &out->scan, vectors, search, hits, candidates);
    else
        shortlist_init(&out->best, (uint64_t *)(void *)candidates, keep);
}

/* -- scanning */

/* Slots of a chunk that may be returned. */
struct slot_mask {
    uint64_t words[SCAN_CHUNK / 64];
    size_t count;
};

static void slot_mask_init(struct slot_mask *mask, const struct ivf_part *part, const uint64_t *allowed,
                           const uint64_t *present, size_t first, size_t n)
{
    memset(mask->words, 0, sizeof mask->words);
    if (part->rows) {
        for (size_t i = 0; i < n; i++) /* rows without a value are in no list */
            mask->words[i / 64] |= (uint64_t)bitmap_get(allowed, part->rows[first + i]) << (i % 64);
    } else {
        for (size_t i = 0; i < n; i++)
            mask->words[i / 64] |= (uint64_t)((!allowed || bitmap_get(allowed, first + i)) &&
                                              (!present || bitmap_get(present, first + i)))
                                   << (i % 64);
    }
    mask->count = bitmap_count(mask->words, n);
}

/* A chunk being scored. slots: of the i-th score, when they were picked; NULL: first + i. */
struct chunk {
    const struct ivf_part *part;
    const struct coder *coder;
    struct code_query *query;
    const uint64_t *mask; /* of positions; NULL: all */
    const uint32_t *slots;
    size_t list, first, n;
    float list_term, list_distance;
};

static size_t chunk_slot(const struct chunk *chunk, size_t i) { return chunk->slots ? chunk->slots[i] : chunk->first + i; }

static uint32_t chunk_row(const struct chunk *chunk, size_t i)
{
    size_t slot = chunk_slot(chunk, i);

    return chunk->part->rows ? chunk->part->rows[slot] : (uint32_t)slot;
}

static bool chunk_allows(const struct chunk *chunk, size_t i) { return !chunk->mask || bitmap_get(chunk->mask, i); }

/* Positions whose score is below the limit, or all while there is no limit; in the mask. */
static size_t below(const struct chunk *chunk, const float *scores, float limit, uint32_t *out)
{
    size_t n = 0, kept = 0;

    if (limit < INFINITY)
        n = simd_compare()->below_f32(scores, chunk->n, limit, 0, out);
    else
        for (; n < chunk->n; n++)
            out[n] = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        if (chunk_allows(chunk, out[i]))
            out[kept++] = out[i];
    return kept;
}

static void offer_best(const struct chunk *chunk, const float *scores)
{
    struct shortlist *best = &chunk->query->best;
    uint32_t found[SCAN_CHUNK];
    /* what is as far as the limit may still win by its row number: one float further */
    size_t n = below(chunk, scores, nextafterf(best->threshold, INFINITY), found);

    for (size_t i = 0; i < n; i++) {
        float score = scores[found[i]];
        if (!(score < INFINITY))
            score = INFINITY;
        if (score <= best->threshold)
            shortlist_push(best, score, chunk_row(chunk, found[i]));
    }
}

static void offer_exact(const struct chunk *chunk, const float *distances)
{
    struct sieve *sieve = &chunk->query->sieve;
    uint32_t found[SCAN_CHUNK];
    /* what is as far as the limit may still win by its row number: one float further */
    size_t n = below(chunk, distances, nextafterf(sieve->limit, INFINITY), found);

    for (size_t i = 0; i < n; i++)
        sieve_push_exact(sieve, distances[found[i]], chunk_row(chunk, found[i]));
}

/* Squared distances of bytes: |q|^2 + |r|^2 - 2 <q, r>, whole numbers, and one product for 64 of them. */
static void scan_squares(const struct chunk *chunk, const uint8_t *query, int32_t square)
{
    const int32_t *squares = squares_of(chunk->part);
    size_t size = chunk->coder->code_size;
    float distances[SCAN_CHUNK];
    int32_t products[SCAN_CHUNK];

    if (chunk->slots) {
        simd_distance()->ip_u8.gather(query, chunk->part->codes, size, chunk->slots, chunk->n, size, products);
        for (size_t i = 0; i < chunk->n; i++) /* sums may pass 2^31 on the way, as unsigned numbers may */
            distances[i] = (float)(int32_t)((uint32_t)square + (uint32_t)squares[chunk->slots[i]] - 2u * (uint32_t)products[i]);
    } else {
        squares += chunk->first;
        simd_distance()->ip_u8.rows(query, chunk->part->codes + chunk->first * size, size, chunk->n, size, products);
        for (size_t i = 0; i < chunk->n; i++)
            distances[i] = (float)(int32_t)((uint32_t)square + (uint32_t)squares[i] - 2u * (uint32_t)products[i]);
    }
    offer_exact(chunk, distances);
}

static void scan_exact(const struct chunk *chunk, const struct scan_query *scan)
{
    const struct ivf_part *part = chunk->part;
    const uint8_t *codes = part->codes;
    size_t size = chunk->coder->code_size;
    const float *norms = chunk->coder->factors && chunk->coder->unit ? part->factors[0] : NULL;
    float distances[SCAN_CHUNK];

    if (chunk->slots) {
        struct vectors rows = {.type = chunk->coder->type, .dim = chunk->coder->dim, .width = size, .stride = size,
                               .row_count = part->slot_count, .block_shift = 40, .blocks = &codes};
        scan_gather(scan, &rows, chunk->slots, chunk->n, norms, distances);
    } else {
        scan_rows(scan, codes + chunk->first * size, size, chunk->n, norms ? norms + chunk->first : NULL, distances);
    }
    offer_exact(chunk, distances);
}

static void scan_bytes(const struct chunk *chunk)
{
    const struct scan_query *bytes = &chunk->query->bytes;

    if (bytes->integer && bytes->metric == VECDB_METRIC_L2)
        scan_squares(chunk, bytes->data, chunk->query->byte_square);
    else
        scan_exact(chunk, bytes);
}

/* scores[i] = a[i] + g + b[i] * (scale * ip[i] + k), a[] and b[] by slot; as the kernel for integers. */
static void score_floats(const struct chunk *chunk, const float *ip, const float *a, const float *b, float g, float scale,
                         float k, float *scores)
{
    if (chunk->slots) {
        for (size_t i = 0; i < chunk->n; i++) {
            size_t slot = chunk->slots[i];
            scores[i] = (a ? a[slot] : 0) + g + b[slot] * (scale * ip[i] + k);
        }
        return;
    }
    b += chunk->first;
    if (a) {
        a += chunk->first;
        for (size_t i = 0; i < chunk->n; i++)
            scores[i] = a[i] + g + b[i] * (scale * ip[i] + k);
    } else {
        for (size_t i = 0; i < chunk->n; i++)
            scores[i] = g + b[i] * (scale * ip[i] + k);
    }
}

static void scan_sq8(const struct chunk *chunk)
{
    const struct ivf_part *part = chunk->part;
    const struct coder *coder = chunk->coder;
    const struct sq_query *q = &chunk->query->sq;
    const struct scan_f32 *dot = &simd_codes()->dot_u8s8x2;
    struct sieve *sieve = &chunk->query->sieve;
    float ip[SCAN_CHUNK], scores[SCAN_CHUNK], factor = coder->l2 ? -2 : -1, scale = ivf_scale(coder);
    float rounding = FLT_EPSILON * (float)(coder->dim + 8), limit, slack, error;
    uint32_t found[SCAN_CHUNK];
    size_t n;

    if (chunk->slots)
        dot->gather(q->terms, part->codes, coder->code_size, chunk->slots, chunk->n, coder->dim, ip);
    else
        dot->rows(q->terms, part->codes + chunk->first * coder->code_size, coder->code_size, chunk->n, coder->dim, ip);
    score_floats(chunk, ip, coder->l2 ? part->factors[0] : NULL, part->factors[coder->l2],
                 coder->l2 ? q->square : -q->offset, factor * q->step, -127.5f * factor * q->step * q->sum, scores);
    if (!chunk->query->sieving) {
        offer_best(chunk, scores);
        return;
    }
    /* What float arithmetic may have added here, and what it may add to the exact distance (`rounding`). */
    slack = 8 * FLT_EPSILON *
            ((q->norm + part->max_norm[chunk->list]) * (q->norm + part->max_norm[chunk->list]) +
             255 * part->max_step[chunk->list] * q->spread + fabsf(q->offset));
    limit = sieve->limit / scale;
    if (coder->l2) {
        error = part->max_error[chunk->list] + q->error + (coder->unit ? 1e-6f : 0);
        limit += 2 * rounding * (coder->unit ? 1 : limit);
        limit = sqrtf(fmaxf(limit, 0)) * (1 + 1e-6f) + error;
        limit = limit * limit * (1 + 1e-6f) + slack;
    } else {
        error = chunk->query->norm * part->max_error[chunk->list] * 1.00001f +
                q->error * (part->max_norm[chunk->list] + part->max_error[chunk->list]);
        slack += 2 * rounding * chunk->query->norm *
                 (part->max_norm[chunk->list] + part->max_error[chunk->list] + q->mean_norm);
        limit += error + slack;
    }
    n = below(chunk, scores, limit, found);
    for (size_t i = 0; i < n; i++) {
        float score = scores[found[i]], lower, upper;
        error = part->factors[coder->l2 + 1u][chunk_slot(chunk, found[i])];
        if (coder->l2) {
            error += q->error + (coder->unit ? 1e-6f : 0);
            lower = fmaxf(sqrtf(fmaxf(score - slack, 0)) * (1 - 1e-6f) - error, 0);
            upper = sqrtf(fmaxf(score + slack, 0)) * (1 + 1e-6f) + error;
            lower = lower * lower * scale;
            upper = upper * upper * scale;
            lower -= rounding * (coder->unit ? 1 : lower);
            upper += rounding * (coder->unit ? 1 : upper);
        } else {
            error = chunk->query->norm * error * 1.00001f +
                    q->error * (part->max_norm[chunk->list] + part->max_error[chunk->list]) + slack;
            lower = score - error;
            upper = score + error;
        }
        if (!(slack < 1e30f)) { /* beyond what floats can tell */
            lower = -INFINITY;
            upper = INFINITY;
        }
        if (!(lower > sieve->limit))
            sieve_push(sieve, lower, upper, chunk_row(chunk, found[i]));
    }
}

/* sums: what fastscan() made of the chunk, 4-bit codes. */
static void scan_pq(const struct chunk *chunk, const int32_t *sums)
{
    const struct ivf_part *part = chunk->part;
    const struct coder *coder = chunk->coder;
    const struct code_query *query = chunk->query;
    float scores[SCAN_CHUNK];

    if (fastscan(coder)) {
        simd_codes()->score_i32(sums, coder->l2 ? part->factors[0] + chunk->first : NULL, NULL, chunk->n,
                                chunk->list_term + query->lut_bias, query->lut_scale, 0, scores);
    } else if (chunk->slots) {
        simd_codes()->pq8.gather(query->table, part->codes, coder->code_size, chunk->slots, chunk->n, coder->pq.m,
                                 scores);
        for (size_t i = 0; i < chunk->n; i++)
            scores[i] += chunk->list_term + (coder->l2 ? part->factors[0][chunk->slots[i]] : 0);
    } else {
        simd_codes()->pq8.rows(query->table, part->codes + chunk->first * coder->code_size, coder->code_size, chunk->n,
                               coder->pq.m, scores);
        for (size_t i = 0; i < chunk->n; i++)
            scores[i] += chunk->list_term + (coder->l2 ? part->factors[0][chunk->first + i] : 0);
    }
    offer_best(chunk, scores);
}

/* Offer a RaBitQ estimate and the standard deviation of its error. */
static void offer_rabitq(const struct chunk *chunk, size_t slot, float score, float error)
{
    struct code_query *query = chunk->query;
    uint32_t row = chunk->part->rows ? chunk->part->rows[slot] : (uint32_t)slot;
    float scale = ivf_scale(chunk->coder);

    if (!query->sieving) {
        if (!(score < INFINITY))
            score = INFINITY;
        if (score <= query->best.threshold)
            shortlist_push(&query->best, score, row);
        return;
    }
    error *= query->epsilon;
    if (!((score - error) * scale > query->sieve.limit))
        sieve_push(&query->sieve, (score - error) * scale, (score + error) * scale, row);
}

/* sums: what fastscan() made of the chunk's sign bits, up to 5 bits. */
static void scan_rabitq(const struct chunk *chunk, const int32_t *signs)
{
    const struct ivf_part *part = chunk->part;
    const struct coder *coder = chunk->coder;
    struct code_query *query = chunk->query;
    const struct code_kernels *codes = simd_codes();
    unsigned bits = coder->rabitq.bits;
    size_t dim = coder->code_dim, first = chunk->first;
    float half = (float)((1u << bits) - 1) * 0.5f, g = chunk->list_distance, wide = query->epsilon * g;
    float scores[SCAN_CHUNK], bounds[SCAN_CHUNK], limit = code_query_limit(query);
    int32_t sums[SCAN_CHUNK];
    uint32_t found[SCAN_CHUNK], slots[SCAN_CHUNK];
    size_t n;

    if (query->sieving)
        limit /= ivf_scale(coder);
    if (!fastscan(coder)) {
        const uint8_t *from = part->codes + (chunk->slots ? 0 : first * coder->code_size);
        if (bits == 8) {
            float products[SCAN_CHUNK];
            if (chunk->slots)
                codes->dot_u8s8x2.gather(query->terms, from, coder->code_size, chunk->slots, chunk->n, dim, products);
            else
                codes->dot_u8s8x2.rows(query->terms, from, coder->code_size, chunk->n, dim, products);
            score_floats(chunk, products, part->factors[0], part->factors[1], chunk->list_term, query->term_step,
                         -half * query->sum, scores);
        } else if (chunk->slots) {
            codes->dot_code[bits].gather(query->terms, from, coder->code_size, chunk->slots, chunk->n, dim, sums);
            codes->score_i32_gather(sums, chunk->slots, part->factors[0], part->factors[1], chunk->n,
                                    chunk->list_term, query->term_step, -half * query->sum, scores);
        } else {
            codes->dot_code[bits].rows(query->terms, from, coder->code_size, chunk->n, dim, sums);
            codes->score_i32(sums, part->factors[0] + first, part->factors[1] + first, chunk->n, chunk->list_term,
                             query->term_step, -half * query->sum, scores);
        }
        if (!query->sieving) {
            offer_best(chunk, scores);
            return;
        }
        for (size_t i = 0; i < chunk->n; i++)
            bounds[i] = scores[i] - part->factors[2][chunk_slot(chunk, i)] * wide;
        n = below(chunk, bounds, limit, found);
        for (size_t i = 0; i < n; i++) {
            size_t slot = chunk_slot(chunk, found[i]);
            offer_rabitq(chunk, slot, scores[found[i]], part->factors[2][slot] * g);
        }
        return;
    }
    codes->score_i32(signs, part->factors[0] + first, part->factors[1] + first, chunk->n, chunk->list_term,
                     query->lut_scale, query->lut_bias - 0.5f * query->sum, scores);
    for (size_t i = 0; i < chunk->n; i++)
        bounds[i] = scores[i] - part->factors[2][first + i] * wide;
    n = below(chunk, bounds, limit, found);
    if (bits == 1) {
        for (size_t i = 0; i < n; i++)
            offer_rabitq(chunk, first + found[i], scores[found[i]], part->factors[2][first + found[i]] * g);
        return;
    }
    if (n == 0)
        return;
    /* what the sign bits leave over is scored with all bits */
    for (size_t i = 0; i < n; i++)
        slots[i] = (uint32_t)(first + found[i]);
    {
        int32_t extra[SCAN_CHUNK];
        float top = (float)(1u << (bits - 1));
        codes->dot_code[bits - 1].gather(query->terms, part->extra, coder->extra_size, slots, n, dim, extra);
        for (size_t i = 0; i < n; i++) {
            float sign = query->lut_scale * (float)signs[found[i]] + query->lut_bias;
            float product = top * sign + query->term_step * (float)extra[i] - half * query->sum;
            float score = part->factors[3][slots[i]] + chunk->list_term + part->factors[4][slots[i]] * product;
            offer_rabitq(chunk, slots[i], score, part->factors[5][slots[i]] * g);
        }
    }
}

/* One chunk for one query. */
static void scan_chunk(const struct chunk *chunk, const int32_t *sums)
{
    chunk->query->scored += chunk->n;
    switch (chunk->coder->kind) {
    case CODE_RAW:
        scan_exact(chunk, &chunk->query->scan);
        break;
    case CODE_BYTES:
        scan_bytes(chunk);
        break;
    case CODE_SQ8:
        scan_sq8(chunk);
        break;
    case CODE_PQ:
        scan_pq(chunk, sums);
        break;
    case CODE_RABITQ:
        scan_rabitq(chunk, sums);
    }
}

void part_scan(const struct ivf_part *part, const struct coder *coder, size_t list, size_t first, size_t last,
               const struct vectors *vectors, const struct index_search *search, const struct code_target *targets,
               size_t count)
{
    const uint64_t *present = part->rows ? NULL : vectors->present;
    bool masked = search->allowed || present;
    struct slot_mask mask;
    uint32_t slots[MASKED_CHUNK];
    int32_t sums[TOGETHER * SCAN_CHUNK];
    size_t end = part->starts[list] + part->sizes[list], n;

    if (last > end)
        last = end;
    for (; first < last; first += n) {
        struct chunk chunk = {.part = part, .coder = coder, .list = list, .first = first};
        size_t step = last - first, limit = masked ? MASKED_CHUNK : SCAN_CHUNK;
        n = chunk.n = step < limit ? step : limit;
        if (masked) {
            slot_mask_init(&mask, part, search->allowed, present, first, n);
            if (!mask.count)
                continue;
            if (!fastscan(coder) && mask.count * SPARSE_SHARE <= n) {
                chunk.n = simd_compare()->bits_list(mask.words, bitmap_words(n), (uint32_t)first, slots);
                chunk.slots = slots;
            } else if (mask.count < n) {
                chunk.mask = mask.words;
            }
        }
        for (size_t done = 0, together; done < count; done += together) {
            together = count - done < TOGETHER ? count - done : TOGETHER;
            if (fastscan(coder)) {
                const uint8_t *luts[TOGETHER];
                for (size_t i = 0; i < together; i++)
                    luts[i] = targets[done + i].query->lut;
                simd_codes()->fastscan(part->codes + first * coder->code_size, (n + FASTSCAN_ROWS - 1) / FASTSCAN_ROWS,
                                       fastscan_tables(coder), luts, together, sums, SCAN_CHUNK);
            }
            for (size_t i = 0; i < together; i++) {
                chunk.query = targets[done + i].query;
                chunk.list_term = targets[done + i].list_term;
                chunk.list_distance = targets[done + i].list_distance;
                scan_chunk(&chunk, sums + i * SCAN_CHUNK);
            }
        }
    }
}

void part_scan_slots(const struct ivf_part *part, const struct coder *coder, size_t list, size_t first, uint32_t *offsets,
                     size_t n, const struct code_target *target)
{
    struct chunk chunk = {.part = part, .coder = coder, .query = target->query, .slots = offsets, .list = list,
                          .first = first, .n = n, .list_term = target->list_term, .list_distance = target->list_distance};

    for (size_t i = 0; i < n; i++)
        offsets[i] += (uint32_t)first;
    scan_chunk(&chunk, NULL);
}

/* -- results */

/* Score candidates first .. last - 1 exactly. errors: receives exact distance less estimate of each, or NULL. */
static void score_candidates(struct code_query *query, const struct scan_query *scan, const struct vectors *vectors,
                             const struct index_search *search, size_t first, size_t last, struct topk *exact,
                             float *errors, float scale)
{
    uint32_t rows[SCAN_CHUNK];
    float distances[SCAN_CHUNK];

    for (size_t n; first < last; first += n) {
        n = last - first < SCAN_CHUNK ? last - first : SCAN_CHUNK;
        for (size_t i = 0; i < n; i++)
            rows[i] = shortlist_hit(query->best.keys[first + i]).row;
        scan_gather(scan, vectors, rows, n, NULL, distances);
        for (size_t i = 0; i < n; i++) {
            float distance = distances[i] < INFINITY ? distances[i] : INFINITY;
            if (errors)
                errors[i] = distance - scale * shortlist_hit(query->best.keys[first + i]).distance;
            if ((!search->has_radius || distance < search->radius) && distance <= exact->threshold)
                topk_push(exact, distance, rows[i]);
        }
    }
}

/* Score the best estimates exactly: first a few more than k of them, which also show how far estimates of this query are
 * off; then those of the others that could still be a hit if theirs are off by no more than REACH standard deviations. */
static size_t rerank(struct code_query *query, const struct coder *coder, const struct vectors *vectors,
                     const struct index_search *search, struct hit *hits, uint64_t *reranked)
{
    const struct scan_query *scan = coder->refiner.kind ? &query->refine : &query->scan;
    struct topk exact;
    float errors[SCAN_CHUNK], scale = ivf_scale(coder);
    size_t first = search->k + (search->k / 2 > 6 ? search->k / 2 : 6), count;
    double mean = 0, square = 0;

    topk_init(&exact, hits, search->k);
    shortlist_squeeze(&query->best);
    count = query->best.count;
    if (search->has_radius || first > SCAN_CHUNK || first >= count) {
        score_candidates(query, scan, vectors, search, 0, count, &exact, NULL, scale);
    } else {
        size_t last = first;
        float limit;
        shortlist_split(&query->best, first);
        score_candidates(query, scan, vectors, search, 0, first, &exact, errors, scale);
        for (size_t i = 0; i < first; i++) {
            mean += errors[i];
            square += (double)errors[i] * errors[i];
        }
        mean /= (double)first;
        square = fmax(square / (double)first - mean * mean, 0);
        limit = (float)((exact.threshold - mean + REACH * sqrt(square)) / scale);
        for (size_t i = first; i < count; i++) {
            uint64_t key = query->best.keys[i];
            if (!(shortlist_hit(key).distance > limit))
                query->best.keys[last++] = key;
        }
        score_candidates(query, scan, vectors, search, first, last, &exact, NULL, scale);
        count = last;
    }
    *reranked += count;
    topk_finish(&exact);
    return exact.count;
}

size_t code_query_finish(struct code_query *query, const struct coder *coder, const struct vectors *vectors,
                         const struct index_search *search, bool rerank_best, struct hit *hits, uint64_t *reranked)
{
    size_t count = 0;

    if (query->sieving) {
        count = sieve_finish(&query->sieve);
        *reranked += query->sieve.reranked;
        return count;
    }
    if (rerank_best)
        return rerank(query, coder, vectors, search, hits, reranked);
    shortlist_finish(&query->best);
    for (size_t i = 0; i < query->best.count && count < search->k; i++) {
        struct hit hit = shortlist_hit(query->best.keys[i]);
        hit.distance *= ivf_scale(coder);
        if (coder->l2 && hit.distance < 0)
            hit.distance = 0;
        if (search->has_radius && !(hit.distance < search->radius))
            continue;
        hits[count++] = hit;
        for (size_t j = count - 1; j > 0 && hit_before(&hits[j], &hits[j - 1]); j--) { /* what became equal */
            hits[j] = hits[j - 1];
            hits[j - 1] = hit;
        }
    }
    return count;
}
