/* What a scalar index is, for the files that make it and that look things up in it. */
#ifndef VECDB_FILTER_SCALAR_INDEX_DATA_H
#define VECDB_FILTER_SCALAR_INDEX_DATA_H

#include "filter/plan.h"
#include "filter/scalar_index.h"

/* The bytes, little-endian, every section at a multiple of 8:
 *    0 u32 magic     4 u16 version   6 u8 kind           7 u8 flags (1: several values a row)
 *    8 u32 rows     12 u32 classes: bits of enum datum_class, of the values that are in it
 *   16 u32 bools    20 u32 integers 24 u32 reals        28 u32 strings: distinct values of each
 *   32 u32 postings 36 u32 bytes of strings             40 u32 bitmaps  44 u32 bytes of path
 *   48 u8 min_gram  49 u8 max_gram  50 zeros            56 u64 xxh3 of the bytes 0..55 and 64..end
 *   64 path      per step: u8 1, u32 length, key; or u8 0, u32 index
 *      bools     u8 each
 *      integers  i64 each              all keys ascending, without duplicates; a key's number counts through
 *      reals     f64 each              bools, integers, reals and strings in this order
 *      strings   u32 end each, bytes
 *      begin     u32[keys + 1]: where a key's rows begin among the postings
 *      rows      u32[postings], ascending within a key
 *      present   for each class in `classes`, lowest first: a bitmap of the rows that have a value of it.
 *                With several values a row: one bitmap, of the rows that have an array
 *      dense     u32[keys], when there are bitmaps: 1 + the number of the key's bitmap, or 0
 *      bitmaps   of the rows of keys that many rows have
 */
#define MAX_GRAM 16

enum kind { KIND_NONE, KIND_INVERTED, KIND_BITMAP, KIND_SORTED, KIND_TRIE, KIND_NGRAM, KIND_AUTO };

struct scalar_index {
    struct buf own; /* the bytes, when they are ours */
    const uint8_t *data;
    size_t size;
    enum kind kind;
    bool multi;
    unsigned classes, min_gram, max_gram;
    uint32_t row_count, bool_count, integer_count, real_count, string_count, key_count, posting_count, bitmap_count;
    const uint8_t *path, *bools;
    size_t path_size;
    const int64_t *integers;
    const double *reals;
    const uint32_t *string_ends;
    const char *strings;
    const uint32_t *begin, *rows, *dense;
    const uint64_t *present[3]; /* of BOOL, NUMBER, STRING; or [0]: arrays */
    const uint64_t *bitmaps;
};

/** The i-th text among the keys. */
static inline struct datum key_text(const struct scalar_index *index, uint32_t i)
{
    uint32_t begin = i ? index->string_ends[i - 1] : 0;

    return (struct datum){DATUM_STRING, {.string = {index->strings + begin, index->string_ends[i] - begin}}};
}

#endif
