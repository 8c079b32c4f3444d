/* Loops of the graph kernels that need no instruction of their own: each directory compiles them under its flags (popcnt). */
#ifndef VECDB_SIMD_GRAPH_SCAN_H
#define VECDB_SIMD_GRAPH_SCAN_H

#include "simd/graph.h"

static inline size_t plain_sketch_choose(const uint64_t *planes, size_t words, const uint32_t *links, const float *a,
                                         const float *b, const uint64_t *sketches, size_t lanes, float step, float shift,
                                         float room, uint32_t *out)
{
    size_t n = 0;

    for (size_t i = 0; i < lanes; i++) {
        uint32_t sum = 0;
        for (size_t w = 0; w < words; w++)
            for (size_t p = 0; p < 4; p++)
                sum += (uint32_t)__builtin_popcountll(sketches[w * lanes + i] ^ planes[4 * w + p]) << p;
        out[n] = links[i];
        n += links[i] != UINT32_MAX && a[i] + b[i] * (step * (float)sum - shift) <= room;
    }
    return n;
}

/* The largest value that is among the k smallest, by bisection: values are not negative. */
static inline size_t plain_smallest_i32(const int32_t *values, size_t n, size_t k, int32_t limit, uint32_t *out)
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

#endif
