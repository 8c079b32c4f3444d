#include "filter/arena.h"

#include "base/bytes.h"
#include "base/mem.h"

#define CHUNK 8192

struct arena_chunk {
    struct arena_chunk *before;
    uint64_t unused; /* keeps what follows 16-byte aligned */
};

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
    size_t bytes, room;
    uint8_t *memory;

    if (!mem_array_size(count, size, &bytes) || bytes > SIZE_MAX / 2) {
        error_nomem("filter");
        return NULL;
    }
    bytes = align_up(bytes ? bytes : 1, 16);
    if (bytes > arena->left) {
        struct arena_chunk *chunk;

        room = bytes > CHUNK ? bytes : CHUNK;
        chunk = mem_alloc(sizeof *chunk + room);
        if (!chunk) {
            error_nomem("filter");
            return NULL;
        }
        chunk->before = arena->chunks;
        arena->chunks = chunk;
        arena->next = (uint8_t *)(chunk + 1);
        arena->left = room;
    }
    memory = arena->next;
    arena->next += bytes;
    arena->left -= bytes;
    memset(memory, 0, bytes);
    return memory;
}

char *arena_copy(struct arena *arena, const void *data, size_t size)
{
    char *copy = arena_alloc(arena, size + 1, 1);

    if (copy && size)
        memcpy(copy, data, size);
    return copy;
}

void arena_deinit(struct arena *arena)
{
    while (arena->chunks) {
        struct arena_chunk *before = arena->chunks->before;

        mem_free(arena->chunks);
        arena->chunks = before;
    }
    *arena = (struct arena){0};
}
