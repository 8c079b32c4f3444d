/* Distances between a query and rows, for every vector type and metric: the one definition that exact search, reranking
 * and the tests of every index kind rely on. Smaller is closer. */
#ifndef VECDB_INDEX_SCAN_H
#define VECDB_INDEX_SCAN_H

#include "base/bytes.h"
#include "index/index.h"
#include "quant/sq.h"
#include "simd/kernels.h"

#define SCAN_CHUNK 256 /* rows scored before they are looked at */

/** A query made ready for the kernels. */
struct scan_query {
    vecdb_type type;
    vecdb_metric metric;
    uint32_t dim;
    const void *data;     /* f32 (f16, bf16 and f32 rows), i8 or bits; COSINE: of length 1 unless i8 */
    float inverse_norm;   /* COSINE on i8: 1 / length, 0 for a zero query */
    struct scan_f32 f32;  /* kernels; those of integer results are in i32 */
    struct scan_i32 i32;
    bool integer;
    const struct sq_query *sq; /* rows are SQ8 codes with their factors behind them (scan_gather() only) */
    bool bytes, decode;   /* rows are bytes that stand for floats; decode: the query is none of them */
};

/** Bytes of scratch that scan_prepare() wants for one query; a multiple of 64. */
size_t scan_scratch_size(vecdb_type type, uint32_t dim);
/** Make a query ready. It, and `scratch`, must stay while `out` is used. */
void scan_prepare(struct scan_query *out, vecdb_type type, vecdb_metric metric, uint32_t dim, const void *query,
                  void *scratch);

/** The same for a query of floats and rows of float16 or bfloat16. scratch: dim floats. */
void scan_prepare_floats(struct scan_query *out, vecdb_type type, vecdb_metric metric, uint32_t dim, const float *query,
                         void *scratch);
/** Where in a row of SQ8 codes its step and its squared length are. */
static inline size_t scan_sq8_factors(uint32_t dim) { return align_up(dim, 4); }

/** The same for a float query and rows of floats kept as bytes 0..255; a byte is dim's unit. scratch: dim floats. */
void scan_prepare_bytes(struct scan_query *out, vecdb_metric metric, uint32_t dim, const float *query, void *scratch);

/** Whether all rows are floats that are whole numbers 0..255, which bytes hold without loss; false without rows. */
bool vectors_are_bytes(const struct vectors *vectors);

/** Distances to n rows, `stride` bytes apart. norms: the rows' lengths for COSINE, or NULL to compute them here. */
void scan_rows(const struct scan_query *query, const uint8_t *rows, size_t stride, size_t n, const float *norms,
               float *out);
/** Distances to n rows by number. norms[row], or NULL. */
void scan_gather(const struct scan_query *query, const struct vectors *vectors, const uint32_t *ids, size_t n,
                 const float *norms, float *out);
/** Ask for the beginnings of rows that will be scored next: rows in blocks are scored one by one, and each would wait for memory. */
void scan_ask(const struct vectors *vectors, const uint32_t *ids, size_t n);
/** Length of a dense row; infinite or 0 when its square is beyond float's range. */
float scan_norm(vecdb_type type, uint32_t dim, const void *row);
/** A dense or binary row as dim floats (bits as 0 and 1). */
void scan_to_f32(vecdb_type type, uint32_t dim, const void *row, float *out);

#endif
