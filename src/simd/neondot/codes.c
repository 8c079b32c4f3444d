/* The NEON kernels for CPUs with the dot product instructions (Cortex-A76, Neoverse N1, Apple M1 and later): the directory's
 * flags choose the branches. */
#define NEON(name) name##_neondot
#include "simd/neon/codes.c"
