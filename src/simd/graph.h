/* Kernels that only graphs need; tables and choice as in kernels.h. */
#ifndef VECDB_SIMD_GRAPH_H
#define VECDB_SIMD_GRAPH_H

#include <stddef.h>
#include <stdint.h>

struct graph_kernels {
    /* The positions, ascending, of the k smallest of n values not above `limit`, fewer when there are fewer. INT32_MAX is never
     * among them; of equal values the first are taken. No value is negative. out has room for n + 16. */
    size_t (*smallest_i32)(const int32_t *values, size_t n, size_t k, int32_t limit, uint32_t *out);
};

extern const struct graph_kernels graph_scalar;
#if defined(__x86_64__)
extern const struct graph_kernels graph_avx2, graph_avx512;
#endif

/** The table of the instruction set that simd_name() names. */
const struct graph_kernels *simd_graph(void);

#endif
