/* From a primary key to its row within a sealed segment: plain arrays, made once, searched in place. Works on memory.
 *
 *   INT64    the keys in ascending order, and for each the row it is in. Left out when the rows are in that order already.
 *   VARCHAR  the keys' hashes in ascending order, and for each the row; whoever asks compares the key itself.
 *   filter   tells most keys that are not there at the price of one cache line: a Bloom filter split into blocks of
 *            32 bytes (Putze, Sanders and Singler, 2007), one bit in each of the block's eight words. 10 bits a key:
 *            about 1 in 90 absent keys passes.
 */
#ifndef VECDB_STORAGE_KEY_INDEX_H
#define VECDB_STORAGE_KEY_INDEX_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define KEY_FILTER_BLOCK 32
/** i64 keys compare as u64 after this bit is flipped. */
#define KEY_FLIP_SIGNED (1ull << 63)
#define KEY_FLIP_NONE 0ull

/** Hashes are stored: they never change. */
uint64_t key_hash_int64(int64_t key);
uint64_t key_hash_text(const void *key, size_t length);

size_t key_filter_blocks(size_t key_count);
void key_filter_add(uint8_t *blocks, size_t block_count, uint64_t hash);
/** False: the key is not there. */
bool key_filter_test(const uint8_t *blocks, size_t block_count, uint64_t hash);

/** Sort keys (as u64 after flipping) and carry the rows along; equal keys keep their order. VECDB_ERR_NOMEM. */
vecdb_status key_sort(uint64_t *keys, uint32_t *rows, size_t count, uint64_t flip);
/** The first position whose key is not below `key`, or count. Keys that are not in order give some position, no harm. */
size_t key_lower_bound(const uint64_t *keys, size_t count, uint64_t key, uint64_t flip);

#endif
