/* The AVX2 kernels for CPUs that have AVX-VNNI but no AVX-512 (Alder Lake and its successors): the directory's flags choose the
 * branches. */
#define AVX2(name) name##_avx2vnni
#include "simd/avx2/vectors.c"
