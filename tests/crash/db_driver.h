/* The whole library, through its public calls, on the simulated disk. */
#ifndef VECDB_TESTS_DB_DRIVER_H
#define VECDB_TESTS_DB_DRIVER_H

#include "crash/harness.h"

extern const struct driver db_driver;

/** Change bytes of a small database's files, every `stride`-th from number `from` on, in three ways each. What opens must show what was there,
 * or a prefix of it, unless a flipped vector byte is seen by its row's check; everything else must be refused. */
void db_byte_flips(uint64_t seed, size_t from, size_t stride, struct counters *counters);

#endif
