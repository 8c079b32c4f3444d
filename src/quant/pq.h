/* Product quantization (Jegou, Douze, Schmid, TPAMI 2011): a vector is cut into m parts and each is kept as the number of
 * the nearest of 16 or 256 centroids. */
#ifndef VECDB_QUANT_PQ_H
#define VECDB_QUANT_PQ_H

#include "base/pool.h"

struct pq {
    uint32_t dim, m, sub_dim; /* dim == m * sub_dim */
    unsigned bits;            /* 4 or 8 */
    const float *centroids;   /* m x 2^bits x sub_dim */
    const float *columns;     /* the same as m x sub_dim x 2^bits, by pq_columns(); pq_table() wants it */
};

static inline size_t pq_centroids(const struct pq *pq) { return (size_t)1 << pq->bits; }
static inline size_t pq_table_floats(const struct pq *pq) { return (size_t)pq->m << pq->bits; }

/** Find pq's centroids for count x dim floats, into `centroids` (m x 2^bits x sub_dim). */
vecdb_status pq_train(const struct pq *pq, const float *rows, size_t count, uint64_t seed, struct pool *pool,
                      float *centroids);

/** Encoding many rows. */
struct pq_encoder;
vecdb_status pq_encoder_create(const struct pq *pq, struct pq_encoder **out);
void pq_encoder_free(struct pq_encoder *encoder);
/** codes: count x m numbers, one a byte. On this thread; several may use one encoder. VECDB_ERR_NOMEM. */
vecdb_status pq_encode(const struct pq_encoder *encoder, const float *rows, size_t count, uint8_t *codes);
/** A code back to dim floats. */
void pq_decode(const struct pq *pq, const uint8_t *code, float *x);
/** What pq->columns points to, from pq->centroids. */
void pq_columns(const struct pq *pq, float *columns);
/** table[part][centroid] = factor * <q, centroid>. */
void pq_table(const struct pq *pq, const float *q, float factor, float *table);

#endif
