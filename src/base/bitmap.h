/* Bits in 64-bit words, least significant first: bit i is words[i / 64] >> (i % 64) & 1. Bits past the last are zero. */
#ifndef VECDB_BASE_BITMAP_H
#define VECDB_BASE_BITMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline size_t bitmap_words(size_t bit_count) { return bit_count / 64 + (bit_count % 64 != 0); }
static inline bool bitmap_get(const uint64_t *words, size_t i) { return words[i / 64] >> (i % 64) & 1; }
static inline void bitmap_set(uint64_t *words, size_t i) { words[i / 64] |= 1ull << (i % 64); }
static inline void bitmap_clear(uint64_t *words, size_t i) { words[i / 64] &= ~(1ull << (i % 64)); }
/** Mask of the bits of the last word that count; all ones when bit_count is a multiple of 64. */
static inline uint64_t bitmap_tail(size_t bit_count) { return bit_count % 64 ? (1ull << (bit_count % 64)) - 1 : ~0ull; }

/** Set bits 0 .. bit_count - 1, clear the rest of the last word. */
static inline void bitmap_fill(uint64_t *words, size_t bit_count)
{
    size_t n = bitmap_words(bit_count);

    for (size_t w = 0; w < n; w++)
        words[w] = ~0ull;
    if (n)
        words[n - 1] &= bitmap_tail(bit_count);
}

static inline size_t bitmap_count(const uint64_t *words, size_t bit_count)
{
    size_t n = bitmap_words(bit_count), total = 0;

    for (size_t w = 0; w < n; w++)
        total += (size_t)__builtin_popcountll(words[w]);
    return total;
}

/** The first set bit at or after `from`, or bit_count when there is none. */
static inline size_t bitmap_next(const uint64_t *words, size_t bit_count, size_t from)
{
    size_t w = from / 64, n = bitmap_words(bit_count);
    uint64_t word;

    if (from >= bit_count)
        return bit_count;
    for (word = words[w] & (~0ull << (from % 64)); !word; word = words[w])
        if (++w == n)
            return bit_count;
    return w * 64 + (size_t)__builtin_ctzll(word);
}

#endif
