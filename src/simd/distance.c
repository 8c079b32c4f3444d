/* Metric and element type to kernels: prepare the query, scan, turn what the kernel counts into a distance. */
#include "simd/distance.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* A prepared query: this, then the elements as the kernels take them. */
struct prepared {
    float inverse_norm; /* integers under COSINE; floats are scaled to length one instead */
    char pad[60];
};

#define CHUNK 1024 /* integer results converted at a time */

enum distance_element distance_element(vecdb_type type)
{
    switch (type) {
    case VECDB_TYPE_FLOAT16_VECTOR: return ELEMENT_F16;
    case VECDB_TYPE_BFLOAT16_VECTOR: return ELEMENT_BF16;
    case VECDB_TYPE_INT8_VECTOR: return ELEMENT_I8;
    case VECDB_TYPE_BINARY_VECTOR: return ELEMENT_B1;
    default: assert(type == VECDB_TYPE_FLOAT_VECTOR); return ELEMENT_F32;
    }
}

static bool element_is_float(enum distance_element element)
{
    return element <= ELEMENT_BF16;
}

/* Whether the kernels give floats. */
static bool is_f32(const struct distance *distance)
{
    return element_is_float(distance->element) || distance->metric == VECDB_METRIC_JACCARD;
}

void distance_init(struct distance *distance, enum distance_element element, vecdb_metric metric, size_t dim,
                   unsigned flags)
{
    const struct distance_kernels *k = simd_distance();
    bool l2 = metric == VECDB_METRIC_L2;

    assert((element == ELEMENT_B1) == (metric == VECDB_METRIC_HAMMING || metric == VECDB_METRIC_JACCARD));
    memset(distance, 0, sizeof *distance);
    distance->element = element;
    distance->metric = metric;
    distance->flags = flags;
    distance->dim = dim;
    switch (element) {
    case ELEMENT_F32:
        distance->f32 = l2 ? k->l2sq_f32 : k->ip_f32;
        distance->row_size = 4 * dim;
        break;
    case ELEMENT_F16:
        distance->f32 = l2 ? k->l2sq_f16 : k->ip_f16;
        distance->row_size = 2 * dim;
        break;
    case ELEMENT_BF16:
        distance->f32 = l2 ? k->l2sq_bf16 : k->ip_bf16;
        distance->row_size = 2 * dim;
        break;
    case ELEMENT_I8:
        distance->i32 = l2 ? k->l2sq_i8 : k->ip_i8;
        distance->row_size = dim;
        break;
    case ELEMENT_U8:
        distance->i32 = l2 ? k->l2sq_u8 : k->ip_u8;
        distance->row_size = dim;
        break;
    case ELEMENT_B1:
        distance->i32 = k->hamming_b1;
        distance->f32 = k->jaccard_b1;
        distance->row_size = dim / 8;
        break;
    }
    distance->query_size = sizeof(struct prepared) + (element_is_float(element) ? 4 * dim : distance->row_size);
}

/* ---- norms ---- */

/* Where the sum of squares leaves a float's range or precision. */
static float inverse_norm_f64(const struct distance *distance, const char *row)
{
    const struct code_kernels *k = simd_codes();
    double sum = 0;

    for (size_t i = 0; i < distance->dim; i++) {
        float value;
        if (distance->element == ELEMENT_F32)
            memcpy(&value, row + 4 * i, sizeof value);
        else if (distance->element == ELEMENT_F16)
            k->f32_from_f16(row + 2 * i, 1, &value);
        else
            k->f32_from_bf16(row + 2 * i, 1, &value);
        sum += (double)value * (double)value;
    }
    return sum > 0 ? (float)(1 / sqrt(sum)) : 0.0f;
}

static float sumsq_half(const struct distance *distance, const char *row)
{
    const struct code_kernels *k = simd_codes();
    float chunk[256], sum = 0;

    for (size_t i = 0; i < distance->dim; i += 256) {
        size_t n = distance->dim - i < 256 ? distance->dim - i : 256;
        if (distance->element == ELEMENT_F16)
            k->f32_from_f16(row + 2 * i, n, chunk);
        else
            k->f32_from_bf16(row + 2 * i, n, chunk);
        sum += k->sumsq_f32(chunk, n);
    }
    return sum;
}

float distance_inverse_norm(const struct distance *distance, const void *row)
{
    const struct code_kernels *k = simd_codes();
    float sum;

    switch (distance->element) {
    case ELEMENT_I8: sum = (float)k->sumsq_i8(row, distance->dim); return sum > 0 ? 1.0f / sqrtf(sum) : 0.0f;
    case ELEMENT_U8: sum = (float)k->sumsq_u8(row, distance->dim); return sum > 0 ? 1.0f / sqrtf(sum) : 0.0f;
    case ELEMENT_F32: sum = k->sumsq_f32(row, distance->dim); break;
    case ELEMENT_B1: return 1.0f;
    default: sum = sumsq_half(distance, row); break;
    }
    if (sum > 1e-30f && sum < 1e37f)
        return 1.0f / sqrtf(sum);
    return inverse_norm_f64(distance, row);
}

/* ---- queries ---- */

static void *elements(const void *prepared)
{
    return (char *)prepared + sizeof(struct prepared);
}

static void finish_query(const struct distance *distance, void *prepared)
{
    float inverse_norm = 1.0f;

    if (distance->metric == VECDB_METRIC_COSINE) {
        if (element_is_float(distance->element))
            simd_codes()->normalize_f32(elements(prepared), distance->dim, elements(prepared));
        else
            inverse_norm = distance_inverse_norm(distance, elements(prepared));
    }
    memset(prepared, 0, sizeof(struct prepared));
    memcpy(prepared, &inverse_norm, sizeof inverse_norm);
}

void distance_prepare(const struct distance *distance, const void *query, void *prepared)
{
    const struct code_kernels *k = simd_codes();

    switch (distance->element) {
    case ELEMENT_F16: k->f32_from_f16(query, distance->dim, elements(prepared)); break;
    case ELEMENT_BF16: k->f32_from_bf16(query, distance->dim, elements(prepared)); break;
    default:
        if (distance->row_size)
            memcpy(elements(prepared), query, distance->row_size);
    }
    finish_query(distance, prepared);
}

void distance_prepare_f32(const struct distance *distance, const void *query, void *prepared)
{
    char *out = elements(prepared);

    assert(distance->element != ELEMENT_B1);
    if (element_is_float(distance->element)) {
        if (distance->dim)
            memcpy(out, query, 4 * distance->dim);
    } else {
        for (size_t i = 0; i < distance->dim; i++) {
            float value;
            memcpy(&value, (const char *)query + 4 * i, sizeof value);
            out[i] = (char)(int)value; /* 0..255 as a byte's bits */
        }
    }
    finish_query(distance, prepared);
}

/* ---- distances ---- */

static float query_inverse_norm(const void *prepared)
{
    float inverse_norm;

    memcpy(&inverse_norm, prepared, sizeof inverse_norm);
    return inverse_norm;
}

/* What the kernel computed, in place, to distances. ids NULL: rows in order. */
static void to_distances(const struct distance *distance, const void *prepared, const void *base, size_t stride,
                         const uint32_t *ids, size_t n, const float *inverse_norms, float *out)
{
    float scale = query_inverse_norm(prepared);

    if (distance->metric == VECDB_METRIC_IP) {
        for (size_t i = 0; i < n; i++)
            out[i] = -out[i];
    } else if (distance->metric == VECDB_METRIC_COSINE) {
        if (distance->flags & DISTANCE_UNIT_ROWS) {
            for (size_t i = 0; i < n; i++)
                out[i] = 1.0f - out[i] * scale;
        } else if (!inverse_norms) {
            for (size_t i = 0; i < n; i++) {
                const char *row = (const char *)base + (ids ? ids[i] : i) * stride;
                out[i] = 1.0f - out[i] * (scale * distance_inverse_norm(distance, row));
            }
        } else if (ids) {
            for (size_t i = 0; i < n; i++)
                out[i] = 1.0f - out[i] * (scale * inverse_norms[ids[i]]);
        } else {
            for (size_t i = 0; i < n; i++)
                out[i] = 1.0f - out[i] * (scale * inverse_norms[i]);
        }
    }
}

float distance_one(const struct distance *distance, const void *prepared, const void *row, float inverse_norm)
{
    const void *query = elements(prepared);
    float out;

    if (is_f32(distance))
        out = distance->f32.one(query, row, distance->dim);
    else
        out = (float)distance->i32.one(query, row, distance->dim);
    to_distances(distance, prepared, row, 0, NULL, 1, inverse_norm < 0 ? NULL : &inverse_norm, &out);
    return out;
}

void distance_rows(const struct distance *distance, const void *prepared, const void *rows, size_t stride, size_t n,
                   const float *inverse_norms, float *out)
{
    const void *query = elements(prepared);
    int32_t counts[CHUNK];

    if (is_f32(distance)) {
        distance->f32.rows(query, rows, stride, n, distance->dim, out);
    } else {
        for (size_t i = 0; i < n; i += CHUNK) {
            size_t count = n - i < CHUNK ? n - i : CHUNK;
            distance->i32.rows(query, (const char *)rows + i * stride, stride, count, distance->dim, counts);
            for (size_t j = 0; j < count; j++)
                out[i + j] = (float)counts[j];
        }
    }
    to_distances(distance, prepared, rows, stride, NULL, n, inverse_norms, out);
}

void distance_gather(const struct distance *distance, const void *prepared, const void *base, size_t stride,
                     const uint32_t *ids, size_t n, const float *inverse_norms, float *out)
{
    const void *query = elements(prepared);
    int32_t counts[CHUNK];

    if (is_f32(distance)) {
        distance->f32.gather(query, base, stride, ids, n, distance->dim, out);
    } else {
        for (size_t i = 0; i < n; i += CHUNK) {
            size_t count = n - i < CHUNK ? n - i : CHUNK;
            distance->i32.gather(query, base, stride, ids + i, count, distance->dim, counts);
            for (size_t j = 0; j < count; j++)
                out[i + j] = (float)counts[j];
        }
    }
    to_distances(distance, prepared, base, stride, ids, n, inverse_norms, out);
}

float distance_to_score(vecdb_metric metric, float distance)
{
    float score;

    switch (metric) {
    case VECDB_METRIC_IP: return -distance;
    case VECDB_METRIC_COSINE:
        score = 1.0f - distance;
        return score > 1.0f ? 1.0f : score < -1.0f ? -1.0f : score;
    default: return distance;
    }
}

float distance_from_score(vecdb_metric metric, float score)
{
    switch (metric) {
    case VECDB_METRIC_IP: return -score;
    case VECDB_METRIC_COSINE: return 1.0f - score;
    default: return score;
    }
}
