/* The AVX-512 kernels for CPUs that have VNNI but not yet VBMI and a vector population count (Cascade Lake, Cooper Lake):
 * the directory's flags choose the branches. */
#define AVX512(name) name##_avx512vnni
#include "simd/avx512/vectors.c"
