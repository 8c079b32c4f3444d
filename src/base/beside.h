/* One piece of work in a thread of its own, beside what the caller does: for what mostly waits, as a disk does. */
#ifndef VECDB_BASE_BESIDE_H
#define VECDB_BASE_BESIDE_H

#include "base/error.h"
#include "base/mem.h"

#include <pthread.h>

struct beside {
    vecdb_status (*work)(void *context);
    void *context;
    struct mem_account *account; /* the caller's */
    pthread_t thread;
    bool running;
    vecdb_status status;
    vecdb_error error;
};

/** Begin. Without `threads`, and where no thread is to be had, the work is done before this returns. The context must stay until
 * beside_end(). */
void beside_begin(struct beside *beside, bool threads, vecdb_status (*work)(void *context), void *context);
/** Whether it was done before beside_begin() returned, and went wrong. */
static inline bool beside_failed(const struct beside *beside) { return !beside->running && beside->status != VECDB_OK; }
/** Wait for it; its failure becomes the caller's own. Once for each begin. */
vecdb_status beside_end(struct beside *beside);

#endif
