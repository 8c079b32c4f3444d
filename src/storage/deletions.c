#include "storage/deletions.h"

#include "base/mem.h"

#include <string.h>

vecdb_status deletions_with(const struct deletions *old, size_t row_count, const uint32_t *rows, size_t count,
                            struct deletions **out)
{
    size_t words = bitmap_words(row_count), old_words = old ? bitmap_words(old->row_count) : 0;
    struct deletions *made = mem_alloc(sizeof *made + words * 8);

    *out = NULL;
    if (!made)
        return error_nomem("deletions");
    atomic_init(&made->references, 1);
    made->row_count = row_count;
    made->count = old ? old->count : 0;
    if (old)
        memcpy(made->words, old->words, old_words * 8);
    memset(made->words + old_words, 0, (words - old_words) * 8);
    for (size_t i = 0; i < count; i++) {
        made->count += !bitmap_get(made->words, rows[i]);
        bitmap_set(made->words, rows[i]);
    }
    *out = made;
    return VECDB_OK;
}

void deletions_release(struct deletions *deletions)
{
    if (deletions && atomic_fetch_sub_explicit(&deletions->references, 1, memory_order_acq_rel) == 1)
        mem_free(deletions);
}
