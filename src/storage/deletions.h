/* Which rows of a segment are deleted: an immutable, counted bitmap. A write makes a new one; snapshots keep the one they saw. */
#ifndef VECDB_STORAGE_DELETIONS_H
#define VECDB_STORAGE_DELETIONS_H

#include "base/bitmap.h"
#include "base/error.h"

#include <stdatomic.h>

struct deletions {
    atomic_uint references;
    size_t row_count; /* bits; rows beyond are not deleted */
    size_t count;     /* bits set */
    uint64_t words[];
};

/** `old` (may be NULL) with more rows deleted; rows that are deleted already are allowed. row_count: of the segment now. */
vecdb_status deletions_with(const struct deletions *old, size_t row_count, const uint32_t *rows, size_t count,
                            struct deletions **out);
static inline struct deletions *deletions_retain(struct deletions *deletions)
{
    if (deletions)
        atomic_fetch_add_explicit(&deletions->references, 1, memory_order_relaxed);
    return deletions;
}
void deletions_release(struct deletions *deletions);
static inline bool deletions_has(const struct deletions *deletions, size_t row)
{
    return deletions && row < deletions->row_count && bitmap_get(deletions->words, row);
}

#endif
