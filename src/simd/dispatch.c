/* The instruction sets this build has, and the choice of one. */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "simd/scalar/scalar.h"

static bool always(void)
{
    return true;
}

static const struct simd_row rows[] = { /* worst to best */
    {"scalar", always, &distance_scalar, &codes_scalar, &compare_scalar},
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
