/* Sleeping until a number changes. What a condition does, but who is woken takes no lock, and one call wakes all.
 * By Linux' futexes, which the C library has no function for. */
#ifndef VECDB_BASE_PARK_H
#define VECDB_BASE_PARK_H

#include <stdatomic.h>
#include <stdint.h>

#define PARK_FOR_EVER UINT64_MAX

/** Sleep while *word is `seen`, at most so long. May return early for no reason. */
void park(_Atomic uint32_t *word, uint32_t seen, uint64_t nanoseconds);
/** Wake all who sleep on a word, which has been changed before. */
void unpark_all(_Atomic uint32_t *word);

#endif
