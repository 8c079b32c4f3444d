#include "schema/sparse.h"

#include "base/bytes.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define MOST_SQUARES (FLT_MAX / 4.0) /* then an inner product of two vectors stays finite */

static uint32_t index_at(const uint8_t *bytes, size_t i) { return load_u32(bytes + i * sizeof(vecdb_sparse)); }

static float value_at(const uint8_t *bytes, size_t i)
{
    float value;

    memcpy(&value, bytes + i * sizeof(vecdb_sparse) + offsetof(vecdb_sparse, value), sizeof value);
    return value;
}

static bool ascends(const uint8_t *bytes, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (index_at(bytes, i) <= index_at(bytes, i - 1))
            return false;
    return true;
}

static int compare_indexes(const void *a, const void *b)
{
    const vecdb_sparse *x = a, *y = b;

    return (x->index > y->index) - (x->index < y->index);
}

static vecdb_status check_values(const uint8_t *bytes, size_t count, const char *field, size_t row)
{
    double squares = 0;

    for (size_t i = 0; i < count; i++) {
        float value = value_at(bytes, i);
        if (index_at(bytes, i) == UINT32_MAX)
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu: index %u is too large; at most %u is possible", field, row,
                             UINT32_MAX, UINT32_MAX - 1);
        if (!isfinite(value))
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu: the value at index %u is %s", field, row, index_at(bytes, i),
                             isnan(value) ? "NaN" : "infinite");
        squares += (double)value * value;
    }
    if (squares > MOST_SQUARES)
        return error_set(VECDB_ERR_INVALID, "field %s: row %zu: the squares of its values sum to %g, more than %g", field, row,
                         squares, MOST_SQUARES);
    return VECDB_OK;
}

vecdb_status sparse_put(const vecdb_sparse *values, uint64_t first, uint64_t last, const char *field, size_t row, struct buf *out)
{
    size_t begin = out->size, count = last - first;

    if (last - first > VECDB_MAX_SPARSE)
        return error_set(VECDB_ERR_LIMIT, "field %s: row %zu: %llu values are more than %d", field, row,
                         (unsigned long long)(last - first), VECDB_MAX_SPARSE);
    if (count == 0)
        return VECDB_OK;
    TRY(check_values((const uint8_t *)(values + first), count, field, row));
    TRY(buf_append(out, values + first, count * sizeof *values));
    if (ascends(out->data + begin, count))
        return VECDB_OK;
    qsort(out->data + begin, count, sizeof *values, compare_indexes);
    for (size_t i = 1; i < count; i++)
        if (index_at(out->data + begin, i) == index_at(out->data + begin, i - 1))
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu: index %u is there twice", field, row,
                             index_at(out->data + begin, i));
    return VECDB_OK;
}

bool sparse_check(const uint8_t *bytes, size_t size, const char **why)
{
    size_t count = size / sizeof(vecdb_sparse);
    double squares = 0;
    const char *unused;

    why = why ? why : &unused;
    *why = "a sparse vector is no whole number of values, or too long";
    if (size % sizeof(vecdb_sparse) || count > VECDB_MAX_SPARSE)
        return false;
    *why = "a sparse vector's indexes do not ascend, or are too large";
    if (!ascends(bytes, count) || (count && index_at(bytes, count - 1) == UINT32_MAX))
        return false;
    *why = "a sparse vector has values that are not finite, or too large";
    for (size_t i = 0; i < count; i++) {
        double value = (double)value_at(bytes, i);
        squares += value * value;
    }
    return squares <= MOST_SQUARES; /* no NaN is */
}
