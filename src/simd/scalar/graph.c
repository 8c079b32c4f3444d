/* What graphs need beyond distances: the definitions. */
#include "simd/graph.h"

static void l2sq_u8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    const uint8_t *q = query;

    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = base + (size_t)ids[i] * dim;
        uint32_t sum = 0;
        for (size_t d = 0; d < dim; d++) {
            int difference = q[d] - row[d];
            sum += (uint32_t)(difference * difference);
        }
        out[i] = sum;
    }
}

static void dot_u8s8(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out)
{
    const int8_t *q = query;

    for (size_t i = 0; i < n; i++) {
        const uint8_t *row = base + (size_t)ids[i] * dim;
        int32_t sum = 0;
        for (size_t d = 0; d < dim; d++)
            sum += q[d] * row[d];
        out[i] = 0x80000000u - (uint32_t)sum;
    }
}

/* The largest value that is among the k smallest, by bisection: values are not negative. */
static size_t smallest_i32(const int32_t *values, size_t n, size_t k, int32_t limit, uint32_t *out)
{
    int32_t low = 0, high = limit < INT32_MAX ? limit : INT32_MAX - 1;
    size_t below = 0, count = 0, ties;

    if (!k || limit < 0)
        return 0;
    for (size_t i = 0; i < n; i++)
        below += values[i] <= high;
    if (below > k)
        while (low < high) { /* the smallest `low` with at least k values not above it */
            int32_t middle = low + (high - low) / 2;
            below = 0;
            for (size_t i = 0; i < n; i++)
                below += values[i] <= middle;
            if (below >= k)
                high = middle;
            else
                low = middle + 1;
            if (below == k)
                break;
        }
    below = 0;
    for (size_t i = 0; i < n; i++)
        below += values[i] < high;
    ties = below < k ? k - below : 0;
    for (size_t i = 0; i < n; i++)
        if (values[i] < high || (values[i] == high && ties && ties--))
            out[count++] = (uint32_t)i;
    return count;
}

const struct graph_kernels graph_scalar = {
    .l2sq_u8 = l2sq_u8,
    .dot_u8s8 = dot_u8s8,
    .smallest_i32 = smallest_i32,
};
