#include "simd/graph.h"

#include <string.h>

#include "simd/kernels.h"

const struct graph_kernels *simd_graph(void)
{
#if defined(__x86_64__)
    const char *name = simd_name();

    if (strcmp(name, "avx512") == 0) /* its flags are beyond avx512vnni */
        return &graph_avx512;
    if (strcmp(name, "avx2") == 0 || strcmp(name, "avx2vnni") == 0 || strcmp(name, "avx512vnni") == 0)
        return &graph_avx2;
#endif
    return &graph_scalar;
}
