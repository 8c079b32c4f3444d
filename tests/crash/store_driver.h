/* A small database straight on storage/store.h: a running hash of all batches, sealed into a file now and then. */
#ifndef VECDB_TESTS_STORE_DRIVER_H
#define VECDB_TESTS_STORE_DRIVER_H

#include "crash/harness.h"

extern const struct driver store_driver;         /* frames at multiples of 8 */
extern const struct driver store_driver_aligned; /* of 512 */

/** Change bytes of every file, every `stride`-th from number `from` on, in three ways each: what is found must be what the
 * format's rules say. */
void store_byte_flips(uint64_t seed, size_t from, size_t stride, struct counters *counters);
/** Cut every file at every length, remove it, lengthen it, swap it with others. */
void store_truncations(uint64_t seed, struct counters *counters);
/** The cases of locking and opening twice. */
void store_locking(struct counters *counters);

#endif
