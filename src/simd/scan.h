/* From one step to a scan: the loops around a kernel, the same for every instruction set. Only macros, so that each
 * directory compiles its own copy under its own flags.
 *
 * DEFINE_SCAN(name, result, vec, lanes, start, row_size) makes name(), name_rows() and name_gather() and needs
 *   name_step(sum, query, row, i, dim)  add elements i .. i + lanes - 1 to a register of sums
 *   name_tail(sum, query, row, i, dim)  add elements i .. dim - 1, fewer than lanes; i may be 0
 *   vec_add(a, b)  vec_sum(a)  vec_sum4(a, b, c, d, out)     of the register type vec
 * start is what the sums of one row begin with, row_size the bytes of a row; both may use query and dim.
 *
 * How rows are walked was measured on Zen 4 with rows of 64 B .. 6 KB out of DRAM:
 *   - four neighbouring rows side by side run at a third of the memory's speed, the hardware prefetcher cannot follow;
 *     one after the other, with two sums each, they run at the speed of a plain read loop;
 *   - four streams far apart run a little faster still, once each is longer than SCAN_STREAM;
 *   - software prefetch of a stream never helps.
 * Rows at random (gather) are the opposite: four side by side, and the ones after them prefetched. */
#ifndef VECDB_SIMD_SCAN_H
#define VECDB_SIMD_SCAN_H

#include "simd/kernels.h"

#define SCAN_STREAM ((size_t)64 << 10) /* bytes */
#define SCAN_AHEAD 8                   /* rows between a gather's prefetch and its use */
#define SCAN_PREFETCH 1024 /* bytes of a row worth prefetching; the hardware follows on a longer one */

#define SCAN_INLINE static inline __attribute__((always_inline))

#define DEFINE_SCAN(name, result, vec, lanes, start, row_size)                                              \
    SCAN_INLINE vec name##_row(const char *query, const char *row, size_t dim, vec first)                   \
    {                                                                                                       \
        vec sum0 = first, sum1 = vec##_zero();                                                              \
        size_t i = 0;                                                                                       \
        for (; i + 2 * (lanes) <= dim; i += 2 * (lanes)) { /* two sums: an addition need not await the last */ \
            sum0 = name##_step(sum0, query, row, i, dim);                                                        \
            sum1 = name##_step(sum1, query, row, i + (lanes), dim);                                              \
        }                                                                                                   \
        if (i + (lanes) <= dim) {                                                                           \
            sum0 = name##_step(sum0, query, row, i, dim);                                                        \
            i += (lanes);                                                                                   \
        }                                                                                                   \
        if (i < dim)                                                                                        \
            sum1 = name##_tail(sum1, query, row, i, dim);                                                   \
        return vec##_add(sum0, sum1);                                                                       \
    }                                                                                                       \
    SCAN_INLINE void name##_four(const char *query, const char *row0, const char *row1, const char *row2,   \
                                 const char *row3, size_t dim, vec first, result *out)                      \
    {                                                                                                       \
        vec sum0 = first, sum1 = first, sum2 = first, sum3 = first;                                         \
        size_t i = 0;                                                                                       \
        for (; i + (lanes) <= dim; i += (lanes)) {                                                          \
            sum0 = name##_step(sum0, query, row0, i, dim);                                                       \
            sum1 = name##_step(sum1, query, row1, i, dim);                                                       \
            sum2 = name##_step(sum2, query, row2, i, dim);                                                       \
            sum3 = name##_step(sum3, query, row3, i, dim);                                                       \
        }                                                                                                   \
        if (i < dim) {                                                                                      \
            sum0 = name##_tail(sum0, query, row0, i, dim);                                                  \
            sum1 = name##_tail(sum1, query, row1, i, dim);                                                  \
            sum2 = name##_tail(sum2, query, row2, i, dim);                                                  \
            sum3 = name##_tail(sum3, query, row3, i, dim);                                                  \
        }                                                                                                   \
        vec##_sum4(sum0, sum1, sum2, sum3, out);                                                            \
    }                                                                                                       \
    static result name(const void *query, const void *row, size_t dim)                                      \
    {                                                                                                       \
        return vec##_sum(name##_row(query, row, dim, start));                                               \
    }                                                                                                       \
    static void name##_rows(const void *query, const void *rows, size_t stride, size_t n, size_t dim,       \
                            result *out)                                                                    \
    {                                                                                                       \
        const char *row = rows;                                                                             \
        const vec first = start;                                                                            \
        size_t i = 0, far = n / 4;                                                                          \
        if (far * stride >= SCAN_STREAM) {                                                                  \
            for (; i < far; i++, row += stride) {                                                           \
                result sums[4];                                                                             \
                name##_four(query, row, row + far * stride, row + 2 * far * stride, row + 3 * far * stride, \
                            dim, first, sums);                                                              \
                for (size_t j = 0; j < 4; j++)                                                              \
                    out[j * far + i] = sums[j];                                                             \
            }                                                                                               \
            i = 4 * far;                                                                                    \
            row = (const char *)rows + i * stride;                                                          \
        }                                                                                                   \
        for (; i + 4 <= n; i += 4, row += 4 * stride) {                                                     \
            vec sum0 = name##_row(query, row, dim, first);                                                  \
            vec sum1 = name##_row(query, row + stride, dim, first);                                         \
            vec sum2 = name##_row(query, row + 2 * stride, dim, first);                                     \
            vec sum3 = name##_row(query, row + 3 * stride, dim, first);                                     \
            vec##_sum4(sum0, sum1, sum2, sum3, out + i);                                                    \
        }                                                                                                   \
        for (; i < n; i++, row += stride)                                                                   \
            out[i] = vec##_sum(name##_row(query, row, dim, first));                                         \
    }                                                                                                       \
    static void name##_gather(const void *query, const void *base, size_t stride, const uint32_t *ids,      \
                              size_t n, size_t dim, result *out)                                            \
    {                                                                                                       \
        const char *rows = base;                                                                            \
        const vec first = start;                                                                            \
        const size_t size = (row_size) < SCAN_PREFETCH ? (row_size) : SCAN_PREFETCH;                        \
        size_t i = 0;                                                                                       \
        for (; i + 4 <= n; i += 4) {                                                                        \
            for (size_t j = i + SCAN_AHEAD; j < i + SCAN_AHEAD + 4 && j < n; j++)                           \
                simd_prefetch(rows + ids[j] * stride, size);                                                \
            name##_four(query, rows + ids[i] * stride, rows + ids[i + 1] * stride,                          \
                        rows + ids[i + 2] * stride, rows + ids[i + 3] * stride, dim, first, out + i);       \
        }                                                                                                   \
        for (; i < n; i++)                                                                                  \
            out[i] = vec##_sum(name##_row(query, rows + ids[i] * stride, dim, first));                      \
    }

/* An entry of a table: the three forms of one kernel. */
#define SCAN(name) {name, name##_rows, name##_gather}

#endif
