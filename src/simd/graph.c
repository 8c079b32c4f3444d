#include "simd/graph.h"

#include <stdatomic.h>
#include <string.h>

#include "simd/kernels.h"

static const struct graph_kernels *choose(void)
{
#if defined(__x86_64__)
    const char *name = simd_name();

    if (strcmp(name, "avx512") == 0)
        return &graph_avx512;
    if (strcmp(name, "avx512vnni") == 0)
        return &graph_avx512vnni;
    if (strncmp(name, "avx2", 4) == 0) /* and avx2vnni */
        return &graph_avx2;
#endif
    return &graph_scalar;
}

/* Threads that race here all find the same table. */
const struct graph_kernels *simd_graph(void)
{
    static _Atomic(const struct graph_kernels *) table;
    const struct graph_kernels *found = atomic_load_explicit(&table, memory_order_relaxed);

    if (!found) {
        found = choose();
        atomic_store_explicit(&table, found, memory_order_relaxed);
    }
    return found;
}
