/* Loops of the graph kernels that need no instruction of their own: each directory compiles them under its flags (popcnt). */
#ifndef VECDB_SIMD_GRAPH_SCAN_H
#define VECDB_SIMD_GRAPH_SCAN_H

#include "simd/graph.h"

#include <stdbool.h>
#include <string.h>

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

static inline size_t plain_sketch_near(const uint64_t *planes, size_t words, const uint8_t *sketches, size_t size,
                                       const uint32_t *places, size_t n, float step, float shift, float room, uint32_t *out)
{
    size_t padded = (words + 7) / 8 * 8, count = 0;

    for (size_t i = 0; i < n; i++) {
        const uint8_t *sketch = sketches + places[i] * size;
        uint32_t sums[4] = {0};
        float numbers[2];
        memcpy(numbers, sketch, sizeof numbers);
        for (size_t w = 0; w < words; w++) {
            uint64_t word;
            memcpy(&word, sketch + sizeof numbers + 8 * w, sizeof word);
            for (size_t p = 0; p < 4; p++)
                sums[p] += (uint32_t)__builtin_popcountll(word ^ planes[p * padded + w]);
        }
        out[count] = places[i];
        count += numbers[0] + numbers[1] * (step * (float)(sums[0] + 2 * sums[1] + 4 * sums[2] + 8 * sums[3]) - shift) <= room;
    }
    return count;
}

/* What few_smallest() is made of: of each lane of sixteen, over the whole sixteens of n, the least value; how many values are
 * not above `high`; and which, ascending, with 16 more places written to. */
struct few_kernels {
    void (*least16)(const int32_t *values, size_t n, int32_t *out);
    size_t (*count)(const int32_t *values, size_t n, int32_t high);
    size_t (*positions)(const int32_t *values, size_t n, int32_t high, uint32_t *out);
};

#define FEW_SORTED 64

static inline void sort_few(int32_t *values, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        int32_t value = values[i];
        size_t at = i;
        for (; at && values[at - 1] > value; at--)
            values[at] = values[at - 1];
        values[at] = value;
    }
}

/* At most 16 of many: the k-th smallest of the lanes' minima has k values below or at it, and few more. Returns false when there
 * are many. */
static inline __attribute__((always_inline)) bool few_smallest(const struct few_kernels *kernels, const int32_t *values, size_t n,
                                                               size_t k, int32_t limit, uint32_t *out, size_t *count)
{
    int32_t sorted[FEW_SORTED], high;
    size_t found, ties = 0, kept = 0;

    kernels->least16(values, n, sorted);
    sort_few(sorted, 16);
    high = sorted[k - 1] < limit ? sorted[k - 1] : limit;
    if (kernels->count(values, n, high) > FEW_SORTED)
        return false;
    found = kernels->positions(values, n, high, out);
    *count = found;
    if (found <= k)
        return true;
    for (size_t i = 0; i < found; i++)
        sorted[i] = values[out[i]];
    sort_few(sorted, found);
    high = sorted[k - 1];
    for (size_t i = 0; i < k; i++)
        ties += sorted[i] == high;
    for (size_t i = 0; i < found; i++)
        if (values[out[i]] < high || (values[out[i]] == high && ties && ties--))
            out[kept++] = out[i];
    *count = kept;
    return true;
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
