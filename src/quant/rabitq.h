/* RaBitQ (Gao & Long, arXiv:2405.12497; several bits: arXiv:2409.09913). A row less its centre is turned by a random
 * rotation and rounded to 1..8 bits a dimension; three numbers beside the code make an unbiased estimate of the distance
 * and a bound of its error. Where we depart: the query's part is the query itself, not its residual, so that it is
 * prepared once and not for every centre. */
#ifndef VECDB_QUANT_RABITQ_H
#define VECDB_QUANT_RABITQ_H

#include "base/error.h"

#include <stdint.h>

struct rabitq {
    uint32_t dim;      /* of the rotated vectors: a multiple of 64 */
    unsigned bits;     /* 1..8 */
    bool inner_product; /* otherwise L2 */
    float scale;       /* t of the paper for unit vectors of this dim */
    uint32_t fine;     /* so many dimensions, the first, have one bit more: a multiple of 64 */
};

/** With c the centre, u the code, S the sum of q's elements, g = |q - c|:
 *    distance ~ add + G + factor * (<u, q> - (2^bits - 1) / 2 * S),   G = |q - c|^2 (L2) or -<q, c> (IP)
 *    standard deviation of the error about error * g
 * With fine dimensions the bracket is, in steps of theirs, <u, q> - (2^(bits + 1) - 1) / 2 * S over those and
 * 2 <u, q> - (2^bits - 1) * S over the rest. */
struct rabitq_row {
    float add, factor, error;
};

/** The scale for codes of `bits` bits over `dim` dimensions. */
float rabitq_scale(uint32_t dim, unsigned bits);
/** The number that the bracket above takes off: `sum` over all dimensions, `fine` over the fine ones. */
float rabitq_middle(const struct rabitq *rabitq, float sum, float fine);
/** Encode the rotated row x around the rotated centre c. residual: dim floats of scratch; u: dim numbers, one a byte.
 * sign: receives what goes with the highest bit alone, or NULL; no fine dimensions then. */
struct rabitq_row rabitq_encode(const struct rabitq *rabitq, const float *x, const float *c, float *residual, uint8_t *u,
                                struct rabitq_row *sign);

#endif
