#include "simd/graph.h"

#include <string.h>

#include "simd/kernels.h"

const struct graph_kernels *simd_graph(void)
{
#if defined(__x86_64__)
    const char *name = simd_name();

    if (strncmp(name, "avx512", 6) == 0)
        return &graph_avx512;
    if (strcmp(name, "avx2") == 0)
        return &graph_avx2;
#endif
    return &graph_scalar;
}
