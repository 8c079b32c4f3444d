#include "index/spread.h"

#include "base/bytes.h"

#include <stdlib.h>

static int wider_first(const void *a, const void *b)
{
    const struct spread *x = a, *y = b;

    if (x->variance < y->variance || x->variance > y->variance)
        return x->variance < y->variance ? 1 : -1;
    return (x->dim > y->dim) - (x->dim < y->dim);
}

double spread_sort(struct spread *spreads, size_t dim)
{
    double total = 0;

    qsort(spreads, dim, sizeof *spreads, wider_first);
    for (size_t i = 0; i < dim; i++)
        total += spreads[i].variance;
    return total;
}

size_t spread_reach(const struct spread *spreads, size_t dim, double total, double share)
{
    double sum = 0;
    size_t i = 0;

    while (i < dim && (sum < share * total || i % SPREAD_STEP))
        sum += spreads[i++].variance;
    return align_up(i, SPREAD_STEP);
}
