/* Memory that runs out on purpose: the n-th allocation fails, once or from then on. Also counts what is in use, so that a
 * test sees a leak where it happens. */
#ifndef VECDB_TESTS_FAULT_H
#define VECDB_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Put the failing table in place. fail_at 0: only count. */
void fault_memory(uint64_t fail_at, bool forever);
/** From here on: the n-th allocation fails, counted anew; what is in use stays counted. 0: none. */
void fault_memory_next(uint64_t fail_at, bool forever);
/** Put the system's back. */
void fault_memory_end(void);
/** Allocations since fault_memory(), whether one failed, and blocks in use that were made since. */
uint64_t fault_memory_count(void);
bool fault_memory_hit(void);
int64_t fault_memory_live(void);
/** Suspend failing and counting while the harness itself uses the library; they nest. */
void fault_memory_pause(void);
void fault_memory_resume(void);

#endif
