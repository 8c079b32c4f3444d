#include "index/memo.h"

#include "base/mem.h"

void index_memos_init(struct index_memos *memos, size_t most)
{
    atomic_init(&memos->first, NULL);
    atomic_init(&memos->asked, 0);
    atomic_init(&memos->making, false);
    memos->most = most;
}

void index_memos_deinit(struct index_memos *memos)
{
    struct index_memo *memo = atomic_load_explicit(&memos->first, memory_order_acquire), *next;

    for (; memo; memo = next) {
        next = memo->next;
        memo->free(memo);
    }
}

struct index_memo *index_memos_find(struct index_memos *memos, uint64_t mark)
{
    struct index_memo *memo = atomic_load_explicit(&memos->first, memory_order_acquire);

    while (memo && memo->mark != mark)
        memo = memo->next;
    return memo;
}

size_t index_memos_memory(struct index_memos *memos)
{
    struct index_memo *memo = atomic_load_explicit(&memos->first, memory_order_acquire);
    size_t bytes = 0;

    for (; memo; memo = memo->next)
        bytes += memo->bytes;
    return bytes;
}

bool index_memos_begin(struct index_memos *memos, uint64_t mark, unsigned after, size_t bytes)
{
    size_t taken = index_memos_memory(memos);

    if (bytes > memos->most || taken > memos->most - bytes)
        return false;
    if (atomic_fetch_add_explicit(&memos->asked, 1, memory_order_relaxed) < after || !mem_may_keep(bytes))
        return false;
    if (atomic_exchange_explicit(&memos->making, true, memory_order_acquire))
        return false;
    /* nobody adds one now, but somebody may have since we looked */
    if (!index_memos_find(memos, mark) && index_memos_memory(memos) <= memos->most - bytes)
        return true;
    atomic_store_explicit(&memos->making, false, memory_order_release);
    return false;
}

void index_memos_end(struct index_memos *memos, struct index_memo *memo)
{
    if (memo) {
        memo->next = atomic_load_explicit(&memos->first, memory_order_relaxed);
        atomic_store_explicit(&memos->first, memo, memory_order_release);
    }
    atomic_store_explicit(&memos->making, false, memory_order_release);
}
