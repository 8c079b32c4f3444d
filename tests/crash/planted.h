/* Known bugs, planted one by one in a library built for it (VECDB_PLANT): the crash tests must catch every one. */
#ifndef VECDB_TESTS_PLANTED_H
#define VECDB_TESTS_PLANTED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Print for each what saw it; whether all were caught. */
bool planted_run(uint64_t seed, size_t processes);

#endif
