/* A metric over an element type, resolved once to functions: for callers who do not want to know which.
 *
 * distance is smaller-is-closer: L2 squared, -inner product, 1 - cosine similarity, differing bits, Jaccard. score is
 * what a user is shown: L2 squared, inner product, cosine similarity, differing bits, Jaccard.
 *
 * COSINE needs the rows' lengths. Give their inverses (distance_inverse_norm) if you keep them, say DISTANCE_UNIT_ROWS if
 * the rows are stored with length one, or give neither and pay for a second look at each row.
 *
 * struct distance is constant after distance_init and may be used by any number of threads. */
#ifndef VECDB_SIMD_DISTANCE_H
#define VECDB_SIMD_DISTANCE_H

#include "simd/kernels.h"
#include "vecdb.h"

enum distance_element {
    ELEMENT_F32,
    ELEMENT_F16,
    ELEMENT_BF16,
    ELEMENT_I8,
    ELEMENT_U8, /* no field has it; floats that are all integers 0..255 are kept so */
    ELEMENT_B1,
};

enum { DISTANCE_UNIT_ROWS = 1 }; /* COSINE: every row has length one, or is zero */

struct distance {
    enum distance_element element;
    vecdb_metric metric;
    unsigned flags;
    size_t dim;
    size_t row_size;   /* bytes of a row's elements */
    size_t query_size; /* bytes of a prepared query; align it to 64 for speed */
    struct scan_f32 f32; /* what computes it: f32 for floats and Jaccard, i32 for the rest */
    struct scan_i32 i32;
};

/** The element of a vector type. */
enum distance_element distance_element(vecdb_type type);
/** dim within the limits and a metric that goes with the element (schema/type.h, metric_check) are the caller's duty. */
void distance_init(struct distance *distance, enum distance_element element, vecdb_metric metric, size_t dim,
                   unsigned flags);

/** Bring a query, a vector of the rows' element type, into the form that the calls below want; no zero vector under
 * COSINE. prepared has distance->query_size bytes. */
void distance_prepare(const struct distance *distance, const void *query, void *prepared);
/** The same from a query of floats, for rows of any element but B1; I8 and U8 want integers in range. */
void distance_prepare_f32(const struct distance *distance, const void *query, void *prepared);

/** 1 / length of a row; 0 for a zero row. */
float distance_inverse_norm(const struct distance *distance, const void *row);

/** Query to one row. inverse_norm: the row's, or negative to have it computed; read under COSINE only. */
float distance_one(const struct distance *distance, const void *prepared, const void *row, float inverse_norm);
/** Query to n rows, stride bytes apart. inverse_norms[i] is row i's; NULL to have them computed. */
void distance_rows(const struct distance *distance, const void *prepared, const void *rows, size_t stride, size_t n,
                   const float *inverse_norms, float *out);
/** Query to the n rows base + ids[i] * stride. inverse_norms[ids[i]] is row i's; NULL to have them computed. */
void distance_gather(const struct distance *distance, const void *prepared, const void *base, size_t stride,
                     const uint32_t *ids, size_t n, const float *inverse_norms, float *out);

/** Distance to score, and back (for radius and range_filter). */
float distance_to_score(vecdb_metric metric, float distance);
float distance_from_score(vecdb_metric metric, float score);

#endif
