/* Many threads that want the same kind of thing done, one at a time, and all of them waiting: one of them does it for all that have
 * come, the others sleep. Beside a lock that each takes in turn, nobody waits for the lock, what is done stays in one processor's
 * cache, and what costs the same for many as for one is done once.
 *
 * Those who were served are about to come again: to wait for them, for no longer than two rounds take, is worth it, for otherwise
 * they would take turns with those who are here, half of them in each round. Who comes last drives. A thread alone waits for nobody. */
#ifndef VECDB_BASE_CONVOY_H
#define VECDB_BASE_CONVOY_H

#include "base/error.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct rider {
    struct rider *next;  /* who came later */
    vecdb_status status; /* what came of it */
    vecdb_error error;   /* if it failed */
};

struct convoy {
    pthread_mutex_t lock;        /* only ever held for a moment */
    struct rider *first, **last; /* lock: who waits for the next round, in the order they came */
    size_t waiting;              /* lock: how many */
    size_t company;              /* lock: how many there were at the end of the last round, served or waiting */
    uint64_t round;              /* lock: number of the one that runs or comes next */
    uint64_t round_ns;           /* lock: how long the last one took */
    bool driving;                /* lock: a round runs */
    bool watched;                /* lock: one who waits sees to it that the next begins though not all have come */
    _Atomic uint32_t ended[2];   /* set with the lock: ended[n % 2] counts up when round n has ended; its riders sleep on it */
};

void convoy_init(struct convoy *convoy);
void convoy_deinit(struct convoy *convoy);
/** What is done for all riders of a round, on one of their threads: call rider_done() for each. */
typedef void (*convoy_drive)(void *context, struct rider *riders);
/** Ride along, or drive: `drive` has been called for a list with this rider in it when this returns what came of it. All riders
 * of a convoy have the same `drive` and `context`. */
vecdb_status convoy_ride(struct convoy *convoy, struct rider *rider, convoy_drive drive, void *context);
/** What came of a rider; of a failure, the one on record. It may be called again, before the round ends. */
void rider_done(struct rider *rider, vecdb_status status);

#endif
