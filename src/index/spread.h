/* How much the dimensions of a set of rows differ from row to row: those that differ most tell most of a distance. */
#ifndef VECDB_INDEX_SPREAD_H
#define VECDB_INDEX_SPREAD_H

#include <stddef.h>
#include <stdint.h>

#define SPREAD_STEP 64 /* dimensions: a line of memory as bytes, and what one step of the kernels takes */

struct spread {
    double variance; /* in any unit */
    uint32_t dim;
};

/** The widest first, dimensions of equal spread by number. Returns the sum of all. */
double spread_sort(struct spread *spreads, size_t dim);
/** The least multiple of SPREAD_STEP dimensions, of sorted ones, that bring such a share of their sum; all: dim rounded up. */
size_t spread_reach(const struct spread *spreads, size_t dim, double total, double share);

#endif
