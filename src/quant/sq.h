/* SQ8: a byte per dimension, with a step of the row's own. A row x is kept as mean + step * (u - 127.5), u = 0..255, and
 * the length of what that leaves out, so that distances from codes come with a bound that always holds. */
#ifndef VECDB_QUANT_SQ_H
#define VECDB_QUANT_SQ_H

#include "base/error.h"

#include <stdint.h>

struct sq {
    uint32_t dim;
    const float *mean;
};

/** What goes with a code. */
struct sq_row {
    float square; /* |decoded - mean| squared */
    float step;
    float error;  /* |x - decoded|, rounded up */
};

/** Encode a row of floats. scratch: 2 x dim floats. */
struct sq_row sq_encode(const struct sq *sq, const float *x, float *scratch, uint8_t *code);

/** A query, as integers: q = step * (128 * high + low) + rest. */
struct sq_query {
    const int8_t *terms; /* dim high terms, dim low ones */
    float step;
    float sum;           /* of the integers */
    float square;        /* |step * integers| squared */
    float norm;          /* its root */
    float error;         /* |rest|, rounded up */
    float spread;        /* sum of |step * integers|: how far rounding can carry */
    float offset;        /* IP: <q, mean>; else 0 */
    float mean_norm;     /* IP: |mean|; else 0 */
};
/** centred: the query less the mean is taken (L2), or the query itself (IP). scratch: 2 x dim floats; terms: 2 x dim
 * bytes, kept. */
void sq_query_init(struct sq_query *out, const struct sq *sq, const float *q, bool centred, float *scratch,
                   int8_t *terms);

#endif
