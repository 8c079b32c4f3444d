/* From primary key to row, for growing rows. Open addressing; a place holds a hash's upper bits and a row number. A key that
 * was written several times has its newest row here, and that row's `previous` leads to the older ones.
 * Not thread-safe: the owner locks. */
#ifndef VECDB_STORAGE_KEY_MAP_H
#define VECDB_STORAGE_KEY_MAP_H

#include "base/error.h"

#define KEY_MAP_NONE UINT32_MAX

struct key_map {
    uint64_t *places; /* hash tag << 32 | row; row KEY_MAP_NONE: empty */
    size_t capacity;  /* a power of two, or 0 */
    size_t count;
};

/** Whether the row that a place names has the key looked for. */
typedef bool (*key_map_equal)(const void *context, uint32_t row, const void *key, size_t key_size);

uint64_t key_map_hash(const void *key, size_t key_size);
void key_map_deinit(struct key_map *map);
/** Room for `extra` more keys, so that put cannot fail. */
vecdb_status key_map_reserve(struct key_map *map, size_t extra);
/** The newest row with this key, or KEY_MAP_NONE. */
uint32_t key_map_find(const struct key_map *map, uint64_t hash, const void *key, size_t key_size, key_map_equal equal,
                      const void *context);
/** Make `row` the newest row with this key; returns the one before it, or KEY_MAP_NONE. Room must have been reserved. */
uint32_t key_map_put(struct key_map *map, uint64_t hash, const void *key, size_t key_size, uint32_t row,
                     key_map_equal equal, const void *context);

#endif
