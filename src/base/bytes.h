/* Little-endian numbers in byte strings, and sizes. Files are little-endian on every machine. */
#ifndef VECDB_BASE_BYTES_H
#define VECDB_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "vecdb runs on little-endian machines"
#endif

#define BYTES_LOAD_STORE(bits)                                                                                         \
    static inline uint##bits##_t load_u##bits(const void *bytes)                                                       \
    {                                                                                                                  \
        uint##bits##_t value;                                                                                          \
        memcpy(&value, bytes, sizeof value);                                                                           \
        return value;                                                                                                  \
    }                                                                                                                  \
    static inline void store_u##bits(void *bytes, uint##bits##_t value) { memcpy(bytes, &value, sizeof value); }
BYTES_LOAD_STORE(16)
BYTES_LOAD_STORE(32)
BYTES_LOAD_STORE(64)
#undef BYTES_LOAD_STORE

/** `value` rounded up to a multiple of `alignment`, a power of two. */
static inline size_t align_up(size_t value, size_t alignment) { return (value + alignment - 1) & ~(alignment - 1); }

#endif
