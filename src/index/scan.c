#include "index/scan.h"

#include "base/bytes.h"
#include "base/float16.h"

#include <math.h>
#include <string.h>

#define PIECE 512         /* elements converted at a time */
#define READ_TWICE 131072 /* bytes */
#define ASK_BYTES 1024    /* of a row; the rest comes by itself once it is read */

size_t scan_scratch_size(vecdb_type type, uint32_t dim)
{
    return type == VECDB_TYPE_INT8_VECTOR || type == VECDB_TYPE_BINARY_VECTOR ? 0 : align_up((size_t)dim * 4, 64);
}

static float element(vecdb_type type, const void *row, size_t i)
{
    switch (type) {
    case VECDB_TYPE_FLOAT_VECTOR:
        return float_from_bits(load_u32((const uint8_t *)row + 4 * i));
    case VECDB_TYPE_FLOAT16_VECTOR:
        return float_from_f16(load_u16((const uint8_t *)row + 2 * i));
    case VECDB_TYPE_BFLOAT16_VECTOR:
        return float_from_bf16(load_u16((const uint8_t *)row + 2 * i));
    case VECDB_TYPE_INT8_VECTOR:
        return ((const int8_t *)row)[i];
    default: /* bits; the first is the highest of its byte */
        return (float)(((const uint8_t *)row)[i / 8] >> (7 - i % 8) & 1);
    }
}

void scan_to_f32(vecdb_type type, uint32_t dim, const void *row, float *out)
{
    const struct code_kernels *codes = simd_codes();

    switch (type) {
    case VECDB_TYPE_FLOAT_VECTOR:
        memcpy(out, row, (size_t)dim * 4);
        break;
    case VECDB_TYPE_FLOAT16_VECTOR:
        codes->f32_from_f16(row, dim, out);
        break;
    case VECDB_TYPE_BFLOAT16_VECTOR:
        codes->f32_from_bf16(row, dim, out);
        break;
    case VECDB_TYPE_INT8_VECTOR:
        codes->f32_from_i8(row, dim, out);
        break;
    default:
        for (uint32_t i = 0; i < dim; i++)
            out[i] = element(type, row, i);
    }
}

static size_t element_size(vecdb_type type)
{
    return type == VECDB_TYPE_FLOAT_VECTOR ? 4 : type == VECDB_TYPE_INT8_VECTOR ? 1 : 2;
}

float scan_norm(vecdb_type type, uint32_t dim, const void *row)
{
    const struct code_kernels *codes = simd_codes();
    float sum = 0, piece[PIECE];

    if (type == VECDB_TYPE_FLOAT_VECTOR)
        return sqrtf(codes->sumsq_f32(row, dim));
    if (type == VECDB_TYPE_INT8_VECTOR)
        return sqrtf((float)codes->sumsq_i8(row, dim));
    for (uint32_t i = 0; i < dim; i += PIECE) {
        uint32_t n = dim - i < PIECE ? dim - i : PIECE;
        scan_to_f32(type, n, (const uint8_t *)row + i * element_size(type), piece);
        sum += codes->sumsq_f32(piece, n);
    }
    return sqrtf(sum);
}

void scan_prepare(struct scan_query *out, vecdb_type type, vecdb_metric metric, uint32_t dim, const void *query,
                  void *scratch)
{
    const struct distance_kernels *kernels = simd_distance();
    bool l2 = metric == VECDB_METRIC_L2;

    *out = (struct scan_query){.type = type, .metric = metric, .dim = dim, .data = query};
    switch (type) {
    case VECDB_TYPE_FLOAT_VECTOR:
        out->f32 = l2 ? kernels->l2sq_f32 : kernels->ip_f32;
        break;
    case VECDB_TYPE_FLOAT16_VECTOR:
        out->f32 = l2 ? kernels->l2sq_f16 : kernels->ip_f16;
        break;
    case VECDB_TYPE_BFLOAT16_VECTOR:
        out->f32 = l2 ? kernels->l2sq_bf16 : kernels->ip_bf16;
        break;
    case VECDB_TYPE_INT8_VECTOR:
        out->i32 = l2 ? kernels->l2sq_i8 : kernels->ip_i8;
        out->integer = true;
        if (metric == VECDB_METRIC_COSINE) {
            float norm = scan_norm(type, dim, query);
            out->inverse_norm = norm > 0 ? 1 / norm : 0;
        }
        return;
    default:
        out->integer = metric == VECDB_METRIC_HAMMING;
        out->i32 = kernels->hamming_b1;
        out->f32 = kernels->jaccard_b1;
        return;
    }
    scan_to_f32(type, dim, query, scratch); /* also aligns it */
    out->data = scratch;
    if (metric == VECDB_METRIC_COSINE)
        simd_codes()->normalize_f32(scratch, dim, scratch);
    out->data = scratch;
}

void scan_prepare_floats(struct scan_query *out, vecdb_type type, vecdb_metric metric, uint32_t dim, const float *query,
                         void *scratch)
{
    const struct distance_kernels *kernels = simd_distance();
    bool l2 = metric == VECDB_METRIC_L2, half = type == VECDB_TYPE_FLOAT16_VECTOR;

    *out = (struct scan_query){.type = type, .metric = metric, .dim = dim, .data = scratch};
    out->f32 = half ? (l2 ? kernels->l2sq_f16 : kernels->ip_f16) : l2 ? kernels->l2sq_bf16 : kernels->ip_bf16;
    memcpy(scratch, query, (size_t)dim * sizeof *query);
    if (metric == VECDB_METRIC_COSINE)
        simd_codes()->normalize_f32(scratch, dim, scratch);
}

void scan_prepare_bytes(struct scan_query *out, vecdb_metric metric, uint32_t dim, const float *query, void *scratch)
{
    const struct distance_kernels *kernels = simd_distance();
    const struct code_kernels *codes = simd_codes();
    bool l2 = metric == VECDB_METRIC_L2;

    *out = (struct scan_query){.type = VECDB_TYPE_FLOAT_VECTOR, .metric = metric, .dim = dim, .data = scratch,
                               .bytes = true};
    if (codes->u8_from_f32(query, dim, scratch)) {
        out->integer = true;
        out->i32 = l2 ? kernels->l2sq_u8 : kernels->ip_u8;
        if (metric == VECDB_METRIC_COSINE) {
            float norm = sqrtf((float)codes->sumsq_u8(scratch, dim));
            out->inverse_norm = norm > 0 ? 1 / norm : 0;
        }
        return;
    }
    out->decode = true;
    out->f32 = l2 ? kernels->l2sq_f32 : kernels->ip_f32;
    memcpy(scratch, query, (size_t)dim * 4);
    if (metric == VECDB_METRIC_COSINE)
        codes->normalize_f32(scratch, dim, scratch);
}

/* A float query against one row of bytes. */
static float decoded(const struct scan_query *query, const uint8_t *row)
{
    const float *q = query->data;
    float sum = 0, piece[PIECE];

    for (uint32_t i = 0; i < query->dim; i += PIECE) {
        uint32_t n = query->dim - i < PIECE ? query->dim - i : PIECE;
        simd_codes()->f32_from_u8(row + i, n, piece);
        sum += query->f32.one(q + i, piece, n);
    }
    return sum;
}

/* For rows whose squared length is out of float's range: in double precision, scaled by the largest element. */
static float cosine_slow(const struct scan_query *query, const uint8_t *row)
{
    double largest = 0, dot = 0, sum = 0;
    const float *q = query->data;

    for (uint32_t i = 0; i < query->dim; i++)
        largest = fmax(largest, fabs(element(query->type, row, i)));
    if (largest == 0)
        return 0;
    for (uint32_t i = 0; i < query->dim; i++) {
        double x = element(query->type, row, i) / largest;
        dot += x * q[i];
        sum += x * x;
    }
    return (float)(dot / sqrt(sum));
}

static float cosine_distance(const struct scan_query *query, const uint8_t *row, float ip, float norm)
{
    float cosine;

    if (query->integer || query->bytes)
        cosine = norm > 0 ? ip * (query->integer ? query->inverse_norm : 1) / norm : 0;
    else if (norm > 1e-15f && norm < 1e18f)
        cosine = ip / norm;
    else
        cosine = cosine_slow(query, row);
    return 1 - (cosine < -1 ? -1 : cosine > 1 ? 1 : cosine); /* no fminf(): it is a call */
}

/* From what the kernels gave to distances. */
static void finish(const struct scan_query *query, const int32_t *integers, size_t n, float *out)
{
    if (query->integer)
        for (size_t i = 0; i < n; i++)
            out[i] = (float)integers[i];
    if (query->metric == VECDB_METRIC_IP)
        for (size_t i = 0; i < n; i++)
            out[i] = 0 - out[i]; /* so that 0 stays +0 */
}

void scan_rows(const struct scan_query *query, const uint8_t *rows, size_t stride, size_t n, const float *norms,
               float *out)
{
    int32_t integers[SCAN_CHUNK];
    size_t twice = READ_TWICE / (stride + 1) + 4; /* rows that are still in the cache when their lengths are taken */

    while (n) {
        size_t count = n < SCAN_CHUNK ? n : SCAN_CHUNK;
        if (query->metric == VECDB_METRIC_COSINE && !norms && count > twice)
            count = twice;
        if (query->decode)
            for (size_t i = 0; i < count; i++)
                out[i] = decoded(query, rows + i * stride);
        else if (query->integer)
            query->i32.rows(query->data, rows, stride, count, query->dim, integers);
        else
            query->f32.rows(query->data, rows, stride, count, query->dim, out);
        finish(query, integers, count, out);
        if (query->metric == VECDB_METRIC_COSINE) {
            for (size_t i = 0; i < count; i++) {
                const uint8_t *row = rows + i * stride;
                float norm = norms ? norms[i] : scan_norm(query->type, query->dim, row);
                out[i] = cosine_distance(query, row, out[i], norm);
            }
        }
        norms = norms ? norms + count : NULL;
        rows += count * stride;
        out += count;
        n -= count;
    }
}

/* Distances of SQ8 codes from the products of their integers. */
static void finish_sq8(const struct scan_query *query, const uint8_t *base, size_t stride, const uint32_t *ids, size_t n,
                       float *out)
{
    const struct sq_query *sq = query->sq;

    for (size_t i = 0; i < n; i++) {
        float factors[2], product;
        memcpy(factors, base + ids[i] * stride + scan_sq8_factors(query->dim), sizeof factors);
        product = factors[0] * sq->step * (out[i] - 127.5f * sq->sum);
        if (query->metric == VECDB_METRIC_IP) {
            out[i] = -(sq->offset + product);
        } else {
            float square = sq->square + factors[1] - 2 * product;
            out[i] = (square > 0 ? square : 0) * (query->metric == VECDB_METRIC_COSINE ? 0.5f : 1);
        }
    }
}

static float row_norm(const struct scan_query *query, const uint8_t *row)
{
    return query->bytes ? sqrtf((float)simd_codes()->sumsq_u8(row, query->dim)) : scan_norm(query->type, query->dim, row);
}

/* How many of ids lie in the block of the first, at most SCAN_CHUNK. */
static size_t block_run(const struct vectors *vectors, const uint32_t *ids, size_t n)
{
    size_t block = ids[0] >> vectors->block_shift, i = 1;

    if (n > SCAN_CHUNK)
        n = SCAN_CHUNK;
    while (i < n && ids[i] >> vectors->block_shift == block)
        i++;
    return i;
}

void scan_gather(const struct scan_query *query, const struct vectors *vectors, const uint32_t *ids, size_t n,
                 const float *norms, float *out)
{
    int32_t integers[SCAN_CHUNK];

    while (n) {
        bool one_block = (uint64_t)vectors->row_count <= (uint64_t)1 << vectors->block_shift;
        size_t count = one_block ? (n < SCAN_CHUNK ? n : SCAN_CHUNK) : block_run(vectors, ids, n);
        size_t block = one_block ? 0 : ids[0] >> vectors->block_shift;
        /* where row 0 would be, so that ids need no change */
        const uint8_t *base = (const uint8_t *)((uintptr_t)vectors->blocks[block] -
                                                (block << vectors->block_shift) * vectors->stride);

        if (query->metric == VECDB_METRIC_COSINE && !norms && count > 16)
            count = 16;
        if (query->sq) {
            simd_codes()->dot_u8s8x2.gather(query->sq->terms, base, vectors->stride, ids, count, query->dim, out);
            finish_sq8(query, base, vectors->stride, ids, count, out);
            goto next;
        }
        if (query->decode)
            for (size_t i = 0; i < count; i++)
                out[i] = decoded(query, base + ids[i] * vectors->stride);
        else if (query->integer)
            query->i32.gather(query->data, base, vectors->stride, ids, count, query->dim, integers);
        else
            query->f32.gather(query->data, base, vectors->stride, ids, count, query->dim, out);
        finish(query, integers, count, out);
        if (query->metric == VECDB_METRIC_COSINE) {
            for (size_t i = 0; i < count; i++) {
                const uint8_t *row = base + ids[i] * vectors->stride;
                float norm = norms ? norms[ids[i]] : row_norm(query, row);
                out[i] = cosine_distance(query, row, out[i], norm);
            }
        }
    next:
        ids += count;
        out += count;
        n -= count;
    }
}

void scan_ask(const struct vectors *vectors, const uint32_t *ids, size_t n)
{
    size_t bytes = vectors->width < ASK_BYTES ? vectors->width : ASK_BYTES;

    for (size_t i = 0; i < n; i++)
        simd_prefetch(vectors_row(vectors, ids[i]), bytes);
}

bool vectors_are_bytes(const struct vectors *vectors)
{
    uint8_t piece[512];

    if (vectors->type != VECDB_TYPE_FLOAT_VECTOR || vectors->row_count == 0)
        return false;
    for (size_t i = 0; i < vectors->row_count; i++) {
        const float *row = (const float *)(const void *)vectors_row(vectors, i);
        for (size_t j = 0; j < vectors->dim; j += sizeof piece)
            if (!simd_codes()->u8_from_f32(row + j, vectors->dim - j < sizeof piece ? vectors->dim - j : sizeof piece, piece))
                return false;
    }
    return true;
}
