/* Every call that a user can make, on a database that has some of everything, with every file call and every allocation
 * inside it failing in turn. */
#ifndef VECDB_TESTS_SCENARIOS_H
#define VECDB_TESTS_SCENARIOS_H

#include "crash/harness.h"

size_t crash_scenario_count(void);
/** One of them. `stride`: only each so many-th place, for a quick look; where it begins follows from `seed`. */
void crash_scenario(size_t number, uint64_t seed, size_t stride, struct counters *counters);

#endif
