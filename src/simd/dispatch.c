/* The instruction sets this build has, and the choice of one. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#include "simd/scalar/scalar.h"

static bool always(void)
{
    return true;
}

#if defined(__x86_64__)

extern const struct distance_kernels distance_avx2, distance_avx2vnni, distance_avx512vnni, distance_avx512;
extern const struct code_kernels codes_avx2, codes_avx2vnni, codes_avx512vnni, codes_avx512;
extern const struct compare_kernels compare_avx2, compare_avx512vnni, compare_avx512;

/* What the CPU has and the operating system saves across a switch of threads. */
struct cpu {
    bool avx2;       /* AVX2, FMA, F16C, POPCNT, BMI1, BMI2, LZCNT: Haswell, Zen and later */
    bool avx2vnni;   /* AVX-VNNI besides: Alder Lake and later */
    bool avx512vnni; /* F, CD, BW, DQ, VL, VNNI: Cascade Lake and later */
    bool avx512;     /* VBMI, VBMI2, VPOPCNTDQ, BITALG besides: Ice Lake, Zen 4 and later */
};

static bool all_set(uint32_t value, uint32_t bits)
{
    return (value & bits) == bits;
}

static struct cpu cpu_detect(void)
{
    struct cpu cpu = {false, false, false, false};
    uint32_t a, b, c, d, more, saved_low, saved_high;

    if (!__get_cpuid(1, &a, &b, &c, &d))
        return cpu;
    if (!all_set(c, bit_FMA | bit_POPCNT | bit_OSXSAVE | bit_AVX | bit_F16C))
        return cpu;
    __asm__("xgetbv" : "=a"(saved_low), "=d"(saved_high) : "c"(0));
    if (!all_set(saved_low, 0x6)) /* xmm and ymm */
        return cpu;
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !all_set(c, bit_LZCNT))
        return cpu;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return cpu;
    cpu.avx2 = all_set(b, bit_AVX2 | bit_BMI | bit_BMI2);
    cpu.avx512vnni = cpu.avx2 && all_set(saved_low, 0xe6) && /* opmask and zmm too */
                     all_set(b, bit_AVX512F | bit_AVX512CD | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL) &&
                     all_set(c, bit_AVX512VNNI);
    cpu.avx512 = cpu.avx512vnni &&
                 all_set(c, bit_AVX512VBMI | bit_AVX512VBMI2 | bit_AVX512VPOPCNTDQ | bit_AVX512BITALG);
    if (a >= 1 && __get_cpuid_count(7, 1, &more, &b, &c, &d))
        cpu.avx2vnni = cpu.avx2 && all_set(more, bit_AVXVNNI);
    return cpu;
}

static bool has_avx2(void)
{
    return cpu_detect().avx2;
}

static bool has_avx2vnni(void)
{
    return cpu_detect().avx2vnni;
}

static bool has_avx512vnni(void)
{
    return cpu_detect().avx512vnni;
}

static bool has_avx512(void)
{
    return cpu_detect().avx512;
}

#elif defined(__aarch64__)

extern const struct distance_kernels distance_neon, distance_neondot;
extern const struct code_kernels codes_neon, codes_neondot;
extern const struct compare_kernels compare_neon;

static bool has_neondot(void)
{
#if defined(__linux__)
    return getauxval(AT_HWCAP) >> 20 & 1; /* HWCAP_ASIMDDP */
#elif defined(__APPLE__)
    return true; /* all of them */
#else
    return false;
#endif
}

#endif

static const struct simd_row rows[] = { /* worst to best */
    {"scalar", always, &distance_scalar, &codes_scalar, &compare_scalar},
#if defined(__x86_64__)
    {"avx2", has_avx2, &distance_avx2, &codes_avx2, &compare_avx2},
    {"avx2vnni", has_avx2vnni, &distance_avx2vnni, &codes_avx2vnni, &compare_avx2},
    {"avx512vnni", has_avx512vnni, &distance_avx512vnni, &codes_avx512vnni, &compare_avx512vnni},
    {"avx512", has_avx512, &distance_avx512, &codes_avx512, &compare_avx512},
#elif defined(__aarch64__)
    {"neon", always, &distance_neon, &codes_neon, &compare_neon},
    {"neondot", has_neondot, &distance_neondot, &codes_neondot, &compare_neon},
#endif
};
#define ROWS (sizeof rows / sizeof rows[0])

const struct simd_row *simd_rows(size_t *count)
{
    *count = ROWS;
    return rows;
}

static const struct simd_row *choose(void)
{
    const char *wanted = getenv("VECDB_SIMD");
    const struct simd_row *best = &rows[0];

    for (size_t i = 0; i < ROWS; i++) {
        if (!rows[i].supported())
            continue;
        if (wanted && strcmp(wanted, rows[i].name) == 0)
            return &rows[i];
        best = &rows[i];
    }
    return best;
}

/* Threads that race here all find the same row. */
static const struct simd_row *chosen(void)
{
    static _Atomic(const struct simd_row *) row;
    const struct simd_row *found = atomic_load_explicit(&row, memory_order_relaxed);

    if (!found) {
        found = choose();
        atomic_store_explicit(&row, found, memory_order_relaxed);
    }
    return found;
}

const struct distance_kernels *simd_distance(void)
{
    return chosen()->distance;
}

const struct code_kernels *simd_codes(void)
{
    return chosen()->codes;
}

const struct compare_kernels *simd_compare(void)
{
    return chosen()->compare;
}

const char *simd_name(void)
{
    return chosen()->name;
}
