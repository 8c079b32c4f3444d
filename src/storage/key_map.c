#include "storage/key_map.h"

#include "base/mem.h"

#include <xxhash.h>

uint64_t key_map_hash(const void *key, size_t key_size) { return XXH3_64bits(key, key_size); }

void key_map_deinit(struct key_map *map)
{
    mem_free(map->places);
    *map = (struct key_map){0};
}

static inline uint64_t tag_of(uint64_t hash) { return hash & 0xFFFFFFFF00000000ull; }

/* Places are chosen by the upper half of the hash, which is kept, so that growing needs no keys. */
static inline size_t home_of(uint64_t hash, size_t capacity) { return (hash >> 32) & (capacity - 1); }

vecdb_status key_map_reserve(struct key_map *map, size_t extra)
{
    size_t need = map->count + extra, capacity = map->capacity ? map->capacity : 64;
    uint64_t *places;

    if (need <= map->capacity / 2)
        return VECDB_OK;
    while (capacity / 2 < need)
        capacity *= 2;
    places = mem_array_alloc(capacity, sizeof *places);
    if (!places)
        return error_nomem("key map");
    for (size_t i = 0; i < capacity; i++)
        places[i] = KEY_MAP_NONE;
    for (size_t i = 0; i < map->capacity; i++) {
        size_t to;
        if ((uint32_t)map->places[i] == KEY_MAP_NONE)
            continue;
        for (to = home_of(map->places[i], capacity); (uint32_t)places[to] != KEY_MAP_NONE; to = (to + 1) & (capacity - 1))
            ;
        places[to] = map->places[i];
    }
    mem_free(map->places);
    map->places = places;
    map->capacity = capacity;
    return VECDB_OK;
}

/* Where the key is, or the empty place where it would go. */
static size_t find_place(const struct key_map *map, uint64_t hash, const void *key, size_t key_size,
                         key_map_equal equal, const void *context)
{
    size_t place = home_of(hash, map->capacity);

    for (;; place = (place + 1) & (map->capacity - 1)) {
        uint64_t entry = map->places[place];
        if ((uint32_t)entry == KEY_MAP_NONE)
            return place;
        if (tag_of(entry) == tag_of(hash) && equal(context, (uint32_t)entry, key, key_size))
            return place;
    }
}

uint32_t key_map_find(const struct key_map *map, uint64_t hash, const void *key, size_t key_size, key_map_equal equal,
                      const void *context)
{
    if (!map->capacity)
        return KEY_MAP_NONE;
    return (uint32_t)map->places[find_place(map, hash, key, key_size, equal, context)];
}

uint32_t key_map_put(struct key_map *map, uint64_t hash, const void *key, size_t key_size, uint32_t row,
                     key_map_equal equal, const void *context)
{
    size_t place = find_place(map, hash, key, key_size, equal, context);
    uint32_t before = (uint32_t)map->places[place];

    map->places[place] = tag_of(hash) | row;
    map->count += before == KEY_MAP_NONE;
    return before;
}
