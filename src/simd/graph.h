/* Kernels that only graphs need; tables and choice as in kernels.h. */
#ifndef VECDB_SIMD_GRAPH_H
#define VECDB_SIMD_GRAPH_H

#include <stddef.h>
#include <stdint.h>

struct graph_kernels {
    /* Scores of n rows of bytes named by ids, base + ids[i] * dim, which the caller has prefetched; dim is a multiple of
     * 64, base and query are 64-byte aligned. Squared distance to a query of bytes, exact; and 2^31 minus the inner
     * product with a query of signed bytes. */
    void (*l2sq_u8)(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out);
    void (*dot_u8s8)(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out);
    /* Squared distances again, of dimensions from .. to - 1 alone, multiples of 64; unless from is 0 they are added to what out
     * holds. */
    void (*l2sq_u8_part)(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, size_t from,
                         size_t to, uint32_t *out);
    /* The signs of x as dim / 64 words, word w at bits[w * stride]; *size receives the sum of |x|, *along that of y with x's
     * signs. dim is a multiple of 64. */
    void (*sketch_signs)(const float *x, const float *y, size_t dim, size_t stride, uint64_t *bits, float *size, float *along);
    /* x cut to levels 0 .. 15, which stand for (level - 7.5) * the step returned: bit p of x[64 * w + i] is bit i of
     * planes[4 * w + p]. */
    float (*sketch_query)(const float *x, size_t dim, uint64_t *planes);
    /* Of a block of `lanes` (a multiple of 8) links with as many a, b and sketches (word w of sketch i is
     * sketches[w * lanes + i]): those for which a + b * (step * sum - shift) <= room, where sum is that over p < 4 of 2^p times
     * the bits in which the sketch differs from plane p. UINT32_MAX is no link. out has room for lanes + 16. */
    size_t (*sketch_choose)(const uint64_t *planes, size_t words, const uint32_t *links, const float *a, const float *b,
                            const uint64_t *sketches, size_t lanes, float step, float shift, float room, uint32_t *out);
    /* The same of n sketches that lie by themselves, each a and b, as floats, and its words after them, `size` bytes apart: sketch i is
     * number places[i]. Word w of plane p is planes[p * padded + w], where padded is `words` up to a multiple of 8 and what is beyond
     * them 0. Returns how many places have gone to `out`, which has room for n. */
    size_t (*sketch_near)(const uint64_t *planes, size_t words, const uint8_t *sketches, size_t size, const uint32_t *places, size_t n,
                          float step, float shift, float room, uint32_t *out);
    /* The positions, ascending, of the k smallest of n values not above `limit`, fewer when there are fewer. INT32_MAX is never
     * among them; of equal values the first are taken. No value is negative. out has room for n + 16. */
    size_t (*smallest_i32)(const int32_t *values, size_t n, size_t k, int32_t limit, uint32_t *out);
};

extern const struct graph_kernels graph_scalar;
#if defined(__x86_64__)
extern const struct graph_kernels graph_avx2, graph_avx512vnni, graph_avx512;
#endif

/** The table of the instruction set that simd_name() names. */
const struct graph_kernels *simd_graph(void);

#endif
