/* The `keep` smallest of many estimates, in no order until asked: candidates are appended, and when there is no room left
 * the smallest are selected and the rest forgotten. Cheaper than a heap where keep is tens or hundreds, and the same
 * set: the order is (distance, row) as everywhere. */
#ifndef VECDB_INDEX_SHORTLIST_H
#define VECDB_INDEX_SHORTLIST_H

#include "index/topk.h"

struct shortlist {
    uint64_t *keys; /* distance, made to sort as an integer, above row */
    size_t count, keep, capacity;
    float threshold; /* what is beyond it is of no use */
};

/** Room for so many keys one shortlist wants. */
static inline size_t shortlist_room(size_t keep) { return 2 * keep + 64; }

static inline uint64_t shortlist_key(float distance, uint32_t row)
{
    union {
        float f;
        uint32_t u;
    } bits = {distance + 0.0f}; /* -0 to +0 */

    return (uint64_t)(bits.u ^ (bits.u >> 31 ? 0xFFFFFFFFu : 0x80000000u)) << 32 | row;
}

static inline struct hit shortlist_hit(uint64_t key)
{
    union {
        uint32_t u;
        float f;
    } bits = {(uint32_t)(key >> 32)};

    bits.u ^= bits.u >> 31 ? 0x80000000u : 0xFFFFFFFFu;
    return (struct hit){bits.f, (uint32_t)key};
}

/** Over the caller's array of shortlist_room(keep) keys. */
static inline void shortlist_init(struct shortlist *list, uint64_t *keys, size_t keep)
{
    *list = (struct shortlist){.keys = keys, .keep = keep, .capacity = shortlist_room(keep), .threshold = INFINITY};
}

/** Forget all but the `keep` smallest. */
void shortlist_squeeze(struct shortlist *list);

/** Offer a candidate; call it when distance <= threshold, and never with a NaN. */
static inline void shortlist_push(struct shortlist *list, float distance, uint32_t row)
{
    list->keys[list->count++] = shortlist_key(distance, row);
    if (list->count == list->capacity)
        shortlist_squeeze(list);
}

/** Bring the n smallest to the front. */
void shortlist_split(struct shortlist *list, size_t n);
/** Squeeze, and sort what is left, the smallest first. */
void shortlist_finish(struct shortlist *list);

#endif
