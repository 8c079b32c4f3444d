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
 * Rows at random (gather) are the opposite: four side by side, the beginnings of those after them prefetched; and where
 * registers allow, DEFINE_WIDE adds a gather of eight side by side, 5 to 20 % faster out of DRAM. */
#ifndef VECDB_SIMD_SCAN_H
#define VECDB_SIMD_SCAN_H

#include "simd/kernels.h"

#include <string.h>

#define SCAN_STREAM ((size_t)64 << 10) /* bytes */
#define SCAN_AHEAD 8                   /* rows between a gather's prefetch and its use */
#define SCAN_PREFETCH 384              /* bytes of a row worth prefetching; the hardware follows on a longer one */

#define SCAN_INLINE static inline __attribute__((always_inline))
#define SCAN_APART static __attribute__((noinline))

/* The loops are many and the kernels are many: each loop around a step is expanded once and shared. */
#define DEFINE_SCAN(name, result, vec, lanes, start, row_size)                                              \
    SCAN_INLINE vec name##_row(const char *query, const char *row, size_t dim, vec first)                   \
    {                                                                                                       \
        vec sum0 = first, sum1 = vec##_zero();                                                              \
        size_t i = 0;                                                                                       \
        for (; i + 2 * (lanes) <= dim; i += 2 * (lanes)) { /* two sums: an addition need not await the last */ \
            sum0 = name##_step(sum0, query, row, i, dim);                                                   \
            sum1 = name##_step(sum1, query, row, i + (lanes), dim);                                         \
        }                                                                                                   \
        if (i + (lanes) <= dim) {                                                                           \
            sum0 = name##_step(sum0, query, row, i, dim);                                                   \
            i += (lanes);                                                                                   \
        }                                                                                                   \
        if (i < dim)                                                                                        \
            sum1 = name##_tail(sum1, query, row, i, dim);                                                   \
        return vec##_add(sum0, sum1);                                                                       \
    }                                                                                                       \
    SCAN_APART result name##_single(const char *query, const char *row, size_t dim, vec first)              \
    {                                                                                                       \
        return vec##_sum(name##_row(query, row, dim, first));                                               \
    }                                                                                                       \
    /* n rows one after the other, their sums folded by fours */                                            \
    SCAN_APART void name##_stream(const char *query, const char *row, size_t stride, size_t n, size_t dim,  \
                                  vec first, result *out)                                                   \
    {                                                                                                       \
        size_t i = 0;                                                                                       \
        for (; i + 4 <= n; i += 4) {                                                                        \
            vec sum[4];                                                                                     \
            _Pragma("GCC unroll 1") for (size_t j = 0; j < 4; j++, row += stride)                           \
                sum[j] = name##_row(query, row, dim, first);                                                \
            vec##_sum4(sum[0], sum[1], sum[2], sum[3], out + i);                                            \
        }                                                                                                   \
        for (; i < n; i++, row += stride)                                                                   \
            out[i] = name##_single(query, row, dim, first);                                                 \
    }                                                                                                       \
    /* groups of four rows side by side: ids[4 g + j], or without ids rows g + j * groups */                \
    SCAN_APART void name##_fours(const char *query, const char *rows, size_t stride, const uint32_t *ids,   \
                                 size_t groups, size_t ahead, size_t size, size_t dim, vec first, result *out) \
    {                                                                                                       \
        for (size_t g = 0; g < groups; g++) {                                                               \
            const char *row0, *row1, *row2, *row3;                                                          \
            vec sum0 = first, sum1 = first, sum2 = first, sum3 = first;                                     \
            result sums[4];                                                                                 \
            size_t i = 0;                                                                                   \
            if (ids) {                                                                                      \
                for (size_t j = 4 * g + SCAN_AHEAD; j < 4 * g + SCAN_AHEAD + 4 && j < ahead; j++)           \
                    simd_prefetch(rows + ids[j] * stride, size);                                            \
                row0 = rows + ids[4 * g] * stride;                                                          \
                row1 = rows + ids[4 * g + 1] * stride;                                                      \
                row2 = rows + ids[4 * g + 2] * stride;                                                      \
                row3 = rows + ids[4 * g + 3] * stride;                                                      \
            } else {                                                                                        \
                row0 = rows + g * stride;                                                                   \
                row1 = row0 + groups * stride;                                                              \
                row2 = row1 + groups * stride;                                                              \
                row3 = row2 + groups * stride;                                                              \
            }                                                                                               \
            for (; i + (lanes) <= dim; i += (lanes)) {                                                      \
                sum0 = name##_step(sum0, query, row0, i, dim);                                              \
                sum1 = name##_step(sum1, query, row1, i, dim);                                              \
                sum2 = name##_step(sum2, query, row2, i, dim);                                              \
                sum3 = name##_step(sum3, query, row3, i, dim);                                              \
            }                                                                                               \
            if (i < dim) {                                                                                  \
                sum0 = name##_tail(sum0, query, row0, i, dim);                                              \
                sum1 = name##_tail(sum1, query, row1, i, dim);                                              \
                sum2 = name##_tail(sum2, query, row2, i, dim);                                              \
                sum3 = name##_tail(sum3, query, row3, i, dim);                                              \
            }                                                                                               \
            if (ids) {                                                                                      \
                vec##_sum4(sum0, sum1, sum2, sum3, out + 4 * g);                                            \
                continue;                                                                                   \
            }                                                                                               \
            vec##_sum4(sum0, sum1, sum2, sum3, sums);                                                       \
            for (size_t j = 0; j < 4; j++)                                                                  \
                out[j * groups + g] = sums[j];                                                              \
        }                                                                                                   \
    }                                                                                                       \
    static result name(const void *query, const void *row, size_t dim)                                      \
    {                                                                                                       \
        return name##_single(query, row, dim, start);                                                       \
    }                                                                                                       \
    static void name##_rows(const void *query, const void *rows, size_t stride, size_t n, size_t dim,       \
                            result *out)                                                                    \
    {                                                                                                       \
        const vec first = start;                                                                            \
        size_t far = n / 4, done = 0;                                                                       \
        if (far * stride >= SCAN_STREAM) {                                                                  \
            done = 4 * far;                                                                                 \
            name##_fours(query, rows, stride, NULL, far, 0, 0, dim, first, out);                            \
        }                                                                                                   \
        name##_stream(query, (const char *)rows + done * stride, stride, n - done, dim, first, out + done); \
    }                                                                                                       \
    static void name##_gather(const void *query, const void *base, size_t stride, const uint32_t *ids,      \
                              size_t n, size_t dim, result *out)                                            \
    {                                                                                                       \
        const vec first = start;                                                                            \
        const size_t size = (row_size) < SCAN_PREFETCH ? (row_size) : SCAN_PREFETCH;                        \
        name##_fours(query, base, stride, ids, n / 4, n, size, dim, first, out);                            \
        for (size_t i = n / 4 * 4; i < n; i++)                                                              \
            out[i] = name##_single(query, (const char *)base + ids[i] * stride, dim, first);                \
    }

/* After DEFINE_SCAN, with the same arguments: name_wide(), a gather of eight rows at a time. */
#define DEFINE_WIDE(name, result, vec, lanes, start, row_size)                                              \
    static void name##_wide(const void *query, const void *base, size_t stride, const uint32_t *ids,        \
                            size_t n, size_t dim, result *out)                                              \
    {                                                                                                       \
        const size_t size = (row_size) < SCAN_PREFETCH ? (row_size) : SCAN_PREFETCH;                        \
        const char *rows = base;                                                                            \
        const vec first = start;                                                                            \
        size_t g = 0;                                                                                       \
        for (; g + 8 <= n; g += 8) {                                                                        \
            const char *row[8];                                                                             \
            vec sum[8];                                                                                     \
            size_t i = 0;                                                                                   \
            for (size_t j = g + 2 * SCAN_AHEAD; j < g + 2 * SCAN_AHEAD + 8 && j < n; j++)                   \
                simd_prefetch(rows + ids[j] * stride, size);                                                \
            _Pragma("GCC unroll 8") for (size_t j = 0; j < 8; j++) {                                        \
                row[j] = rows + ids[g + j] * stride;                                                        \
                sum[j] = first;                                                                             \
            }                                                                                               \
            for (; i + (lanes) <= dim; i += (lanes))                                                        \
                _Pragma("GCC unroll 8") for (size_t j = 0; j < 8; j++)                                      \
                    sum[j] = name##_step(sum[j], query, row[j], i, dim);                                    \
            if (i < dim)                                                                                    \
                _Pragma("GCC unroll 8") for (size_t j = 0; j < 8; j++)                                      \
                    sum[j] = name##_tail(sum[j], query, row[j], i, dim);                                    \
            vec##_sum4(sum[0], sum[1], sum[2], sum[3], out + g);                                            \
            vec##_sum4(sum[4], sum[5], sum[6], sum[7], out + g + 4);                                        \
        }                                                                                                   \
        name##_gather(query, base, stride, ids + g, n - g, dim, out + g);                                   \
    }

/* After DEFINE_SCAN of floats: name_tile(), `wide` queries by four rows at a time, each pair with a register of sums along the
 * dimensions. Where fewer queries or rows are left the last is computed again, and not stored. */
#define DEFINE_TILE(name, vec, lanes, wide)                                                             \
    static void name##_tile(const void *queries, size_t query_stride, size_t nq, const void *rows,      \
                            size_t row_stride, size_t n, size_t dim, float *out, size_t out_stride)     \
    {                                                                                                   \
        for (size_t i = 0; i < nq; i += (wide)) {                                                       \
            const char *query[wide];                                                                    \
            for (size_t a = 0; a < (wide); a++)                                                         \
                query[a] = (const char *)queries + (i + a < nq ? i + a : nq - 1) * query_stride;        \
            for (size_t j = 0; j < n; j += 4) {                                                         \
                const char *row[4];                                                                     \
                vec sum[wide][4];                                                                       \
                float block[wide][4];                                                                   \
                size_t d = 0;                                                                           \
                for (size_t b = 0; b < 4; b++)                                                          \
                    row[b] = (const char *)rows + (j + b < n ? j + b : n - 1) * row_stride;             \
                _Pragma("GCC unroll 4") for (size_t a = 0; a < (wide); a++)                             \
                    _Pragma("GCC unroll 4") for (size_t b = 0; b < 4; b++)                              \
                        sum[a][b] = vec##_zero();                                                       \
                for (; d + (lanes) <= dim; d += (lanes))                                                \
                    _Pragma("GCC unroll 4") for (size_t a = 0; a < (wide); a++)                         \
                        _Pragma("GCC unroll 4") for (size_t b = 0; b < 4; b++)                          \
                            sum[a][b] = name##_step(sum[a][b], query[a], row[b], d, dim);               \
                if (d < dim)                                                                            \
                    _Pragma("GCC unroll 4") for (size_t a = 0; a < (wide); a++)                         \
                        _Pragma("GCC unroll 4") for (size_t b = 0; b < 4; b++)                          \
                            sum[a][b] = name##_tail(sum[a][b], query[a], row[b], d, dim);               \
                _Pragma("GCC unroll 4") for (size_t a = 0; a < (wide); a++)                             \
                    vec##_sum4(sum[a][0], sum[a][1], sum[a][2], sum[a][3], block[a]);                   \
                for (size_t a = 0; a < (wide) && i + a < nq; a++)                                       \
                    memcpy(out + (i + a) * out_stride + j, block[a], (n - j < 4 ? n - j : 4) * sizeof(float));\
            }                                                                                           \
        }                                                                                               \
    }

/* An entry of a table: the three forms of one kernel. */
#define SCAN(name) {name, name##_rows, name##_gather}
#define SCAN_WIDE(name) {name, name##_rows, name##_wide}

#endif
