/* The checksum of everything on disk: XXH3, 64 bits. It finds damage, not malice: hostile files are met by validation. */
#ifndef VECDB_BASE_CHECKSUM_H
#define VECDB_BASE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>
#define XXH_STATIC_LINKING_ONLY /* for a hash state on the stack */
#include <xxhash.h>

static inline uint64_t checksum(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

/** Of parts, as if they were one. */
static inline uint64_t checksum_parts(const struct iovec *parts, size_t part_count, uint64_t seed)
{
    XXH3_state_t state;

    if (part_count == 1)
        return checksum(parts[0].iov_base, parts[0].iov_len, seed);
    XXH3_INITSTATE(&state); /* reset trusts what a state holds, and the stack may hold half of an old one with this seed */
    XXH3_64bits_reset_withSeed(&state, seed);
    for (size_t i = 0; i < part_count; i++)
        XXH3_64bits_update(&state, parts[i].iov_base, parts[i].iov_len);
    return XXH3_64bits_digest(&state);
}

/** Whether two checksums agree. Fuzzing builds say yes, so that the fuzzer gets to what lies behind. */
static inline int checksum_equal(uint64_t stored, uint64_t computed)
{
#ifdef VECDB_FUZZ
    (void)stored, (void)computed;
    return 1;
#else
    return stored == computed;
#endif
}

#endif
