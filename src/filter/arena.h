/* Memory given out piece by piece and given back all at once: a filter's. */
#ifndef VECDB_FILTER_ARENA_H
#define VECDB_FILTER_ARENA_H

#include "base/error.h"

struct arena_chunk;

/** Zero-initialise it. */
struct arena {
    struct arena_chunk *chunks;
    uint8_t *next;
    size_t left;
};

/** Zeroed memory, 16-byte aligned; NULL (and the error set) when out of memory or count * size overflows. */
void *arena_alloc(struct arena *arena, size_t count, size_t size);
/** A copy of bytes, with a zero behind them. */
char *arena_copy(struct arena *arena, const void *data, size_t size);
void arena_deinit(struct arena *arena);

#endif
