#include "storage/key_index.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mem.h"

uint64_t key_hash_int64(int64_t key)
{
    uint64_t x = (uint64_t)key + 0x9E3779B97F4A7C15ull;

    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
}

uint64_t key_hash_text(const void *key, size_t length) { return checksum(key, length, 0); }

size_t key_filter_blocks(size_t key_count) { return key_count / 25 + (key_count % 25 != 0); } /* 256 bits for 25 keys */

/* The high half of the hash chooses the block, the low half a bit in each word. */
static size_t filter_block(uint64_t hash, size_t block_count)
{
    return (size_t)(((unsigned __int128)(hash >> 32) * block_count) >> 32);
}

static uint32_t filter_bit(uint64_t hash, int word)
{
    static const uint32_t odd[8] = {0x47B6137Bu, 0x44974D91u, 0x8824AD5Bu, 0xA2B7289Du,
                                    0x705495C7u, 0x2DF1424Bu, 0x9EFC4947u, 0x5C6BFB31u};

    return 1u << (((uint32_t)hash * odd[word]) >> 27);
}

void key_filter_add(uint8_t *blocks, size_t block_count, uint64_t hash)
{
    uint8_t *block = blocks + filter_block(hash, block_count) * KEY_FILTER_BLOCK;

    for (int i = 0; i < 8; i++)
        store_u32(block + 4 * i, load_u32(block + 4 * i) | filter_bit(hash, i));
}

bool key_filter_test(const uint8_t *blocks, size_t block_count, uint64_t hash)
{
    const uint8_t *block;
    uint32_t missing = 0;

    if (block_count == 0)
        return false;
    block = blocks + filter_block(hash, block_count) * KEY_FILTER_BLOCK;
    for (int i = 0; i < 8; i++)
        missing |= ~load_u32(block + 4 * i) & filter_bit(hash, i);
    return missing == 0;
}

/* Byte by byte from the lowest, skipping bytes that are the same in all keys. */
vecdb_status key_sort(uint64_t *keys, uint32_t *rows, size_t count, uint64_t flip)
{
    uint64_t *from_keys = keys, *to_keys = mem_array_alloc(count ? count : 1, sizeof *to_keys), *spare_keys = to_keys;
    uint32_t *from_rows = rows, *to_rows = mem_array_alloc(count ? count : 1, sizeof *to_rows), *spare_rows = to_rows;

    if (!to_keys || !to_rows) {
        mem_free(to_keys);
        mem_free(to_rows);
        return error_nomem("sorting keys");
    }
    for (unsigned shift = 0; shift < 64; shift += 8) {
        size_t start[257] = {0};
        for (size_t i = 0; i < count; i++)
            start[((from_keys[i] ^ flip) >> shift & 0xFF) + 1]++;
        if (count == 0 || start[((from_keys[0] ^ flip) >> shift & 0xFF) + 1] == count)
            continue;
        for (int digit = 0; digit < 256; digit++)
            start[digit + 1] += start[digit];
        for (size_t i = 0; i < count; i++) {
            size_t at = start[(from_keys[i] ^ flip) >> shift & 0xFF]++;
            to_keys[at] = from_keys[i];
            to_rows[at] = from_rows[i];
        }
        uint64_t *swap_keys = from_keys;
        uint32_t *swap_rows = from_rows;
        from_keys = to_keys, to_keys = swap_keys;
        from_rows = to_rows, to_rows = swap_rows;
    }
    if (from_keys != keys) {
        memcpy(keys, from_keys, count * sizeof *keys);
        memcpy(rows, from_rows, count * sizeof *rows);
    }
    mem_free(spare_keys);
    mem_free(spare_rows);
    return VECDB_OK;
}

/* Three guesses by proportion, each kept within a distance that evenly spread keys hardly ever exceed; then halving. */
size_t key_lower_bound(const uint64_t *keys, size_t count, uint64_t key, uint64_t flip)
{
    size_t low = 0, high = count; /* keys before low are below, those from high on are not */

    key ^= flip;
    for (int round = 0; round < 3 && high - low > 16; round++) {
        uint64_t first = keys[low] ^ flip, last = keys[high - 1] ^ flip;
        size_t reach = (size_t)2 << ((64 - __builtin_clzll(high - low)) / 2), guess, before, after;
        if (first >= key)
            return low;
        if (last < key)
            return high;
        guess = low + (size_t)((unsigned __int128)(key - first) * (high - 1 - low) / (last - first));
        before = guess - low > reach ? guess - reach : low;
        after = high - 1 - guess > reach ? guess + reach : high - 1;
        if ((keys[before] ^ flip) >= key)
            high = before;
        else
            low = before + 1;
        if (after >= low && after < high) {
            if ((keys[after] ^ flip) < key)
                low = after + 1;
            else
                high = after;
        }
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((keys[middle] ^ flip) < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
