/* Threads that share out the work of one job at a time, or of several. The caller works too, so a pool of one thread
 * starts none and a job always ends. Jobs may be given from several threads at once. */
#ifndef VECDB_BASE_POOL_H
#define VECDB_BASE_POOL_H

#include "base/error.h"

struct pool;

/** A pool in which a job runs on up to `threads` threads, the caller among them. 0: one per core. Threads start with the
 * first job and block all signals. */
vecdb_status pool_create(unsigned threads, struct pool **out);
/** Let its threads, which have not started, give way to others. */
void pool_in_background(struct pool *pool);
/** Let the calling thread give way to others, for good: it runs while nobody else wants the core, and little beside them. */
void thread_in_background(void);
/** Waits for running jobs. */
void pool_free(struct pool *pool);
/** How many there are in this machine; at least 1. */
unsigned pool_processors(void);
/** Threads a job may use; 1 for NULL. */
unsigned pool_threads(const struct pool *pool);

/**
 * Call task(context, i, worker) for every i in 0 .. task_count - 1, each once, in any order; worker is
 * 0 .. pool_threads() - 1 and unique among calls that run at the same time within this job.
 * Stops handing out tasks at the first failure, which it returns as the caller's own. `pool` NULL: runs them here.
 */
vecdb_status pool_run(struct pool *pool, size_t task_count,
                      vecdb_status (*task)(void *context, size_t i, unsigned worker), void *context);

#endif
