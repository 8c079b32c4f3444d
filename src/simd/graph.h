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
