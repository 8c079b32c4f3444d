#include "index/shortlist.h"

#include <stdlib.h>

#define ROUNDS 64 /* of selection, before what is left is sorted */

static int by_key(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void swap(uint64_t *a, uint64_t *b)
{
    uint64_t t = *a;

    *a = *b;
    *b = t;
}

static uint64_t median(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t low = a < b ? a : b, high = a < b ? b : a;

    return c < low ? low : c > high ? high : c;
}

/* Order keys so that the `keep` smallest come first (quickselect; the partition has no branch on what is compared). Keys
 * are distinct but for rows offered twice. */
static void select_smallest(uint64_t *keys, size_t count, size_t keep)
{
    size_t low = 0, high = count;

    for (int round = 0; high - low > 16 && round < ROUNDS; round++) {
        uint64_t pivot = median(keys[low], keys[low + (high - low) / 2], keys[high - 1]);
        size_t middle = low, equal;
        for (size_t i = low; i < high; i++) { /* those below the pivot to the front */
            uint64_t key = keys[i];
            keys[i] = keys[middle];
            keys[middle] = key;
            middle += key < pivot;
        }
        equal = middle;
        for (size_t i = middle; i < high; i++)
            if (keys[i] == pivot)
                swap(&keys[i], &keys[equal++]);
        if (keep < middle)
            high = middle;
        else if (keep > equal)
            low = equal;
        else
            return;
    }
    qsort(keys + low, high - low, sizeof *keys, by_key);
}

void shortlist_split(struct shortlist *list, size_t n)
{
    if (n < list->count)
        select_smallest(list->keys, list->count, n);
}

void shortlist_squeeze(struct shortlist *list)
{
    uint64_t last = 0;

    if (list->count <= list->keep)
        return;
    shortlist_split(list, list->keep);
    list->count = list->keep;
    for (size_t i = 0; i < list->count; i++)
        last = list->keys[i] > last ? list->keys[i] : last;
    list->threshold = shortlist_hit(last).distance;
}

void shortlist_finish(struct shortlist *list)
{
    shortlist_squeeze(list);
    qsort(list->keys, list->count, sizeof *list->keys, by_key);
}
