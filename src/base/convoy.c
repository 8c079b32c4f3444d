#include "base/convoy.h"

#include "base/park.h"

#include <time.h>

#define PATIENCE_NS_MIN 50000 /* what can be told from nothing */
#define PATIENCE_NS_MAX 1000000 /* a slow disk must not make waiting long */

void convoy_init(struct convoy *convoy)
{
    *convoy = (struct convoy){0};
    convoy->last = &convoy->first;
    pthread_mutex_init(&convoy->lock, NULL);
}

void convoy_deinit(struct convoy *convoy) { pthread_mutex_destroy(&convoy->lock); }

void rider_done(struct rider *rider, vecdb_status status)
{
    rider->status = status;
    if (status < 0)
        rider->error = *error_last();
}

static uint64_t now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* A round for all who wait. Lock held, nobody driving; released at the end. */
static void drive_and_unlock(struct convoy *convoy, convoy_drive drive, void *context)
{
    struct rider *riders = convoy->first;
    size_t count = convoy->waiting;
    _Atomic uint32_t *ended = &convoy->ended[convoy->round % 2];
    uint64_t start = now_ns();

    convoy->first = NULL;
    convoy->last = &convoy->first;
    convoy->waiting = 0;
    convoy->watched = false;
    convoy->driving = true;
    pthread_mutex_unlock(&convoy->lock);
    drive(context, riders);
    pthread_mutex_lock(&convoy->lock);
    convoy->driving = false;
    convoy->company = count + convoy->waiting;
    convoy->round_ns = now_ns() - start;
    convoy->round++;
    atomic_fetch_add_explicit(ended, 1, memory_order_release); /* from here on its riders may be gone */
    pthread_mutex_unlock(&convoy->lock);
    if (count > 1)
        unpark_all(ended);
}

/* How long to wait for company before beginning without. Lock held. */
static uint64_t patience(const struct convoy *convoy)
{
    uint64_t ns = 2 * convoy->round_ns;

    return ns < PATIENCE_NS_MIN ? PATIENCE_NS_MIN : ns < PATIENCE_NS_MAX ? ns : PATIENCE_NS_MAX;
}

/* Sleep until the round of those who wait has ended, or drive it if nobody else does in time. Lock held, and released. */
static void wait_and_unlock(struct convoy *convoy, convoy_drive drive, void *context)
{
    _Atomic uint32_t *ended = &convoy->ended[(convoy->round + convoy->driving) % 2];
    uint32_t seen = atomic_load_explicit(ended, memory_order_relaxed);
    bool watches = !convoy->watched;
    uint64_t until = now_ns() + patience(convoy), now = 0;

    convoy->watched = true;
    pthread_mutex_unlock(&convoy->lock);
    while (atomic_load_explicit(ended, memory_order_acquire) == seen) {
        if (!watches || (now = now_ns()) < until) {
            park(ended, seen, watches ? until - now : PARK_FOR_EVER);
            continue;
        }
        pthread_mutex_lock(&convoy->lock);
        if (!convoy->driving && atomic_load_explicit(ended, memory_order_relaxed) == seen) {
            drive_and_unlock(convoy, drive, context);
            return;
        }
        if (ended == &convoy->ended[convoy->round % 2])
            watches = false; /* the round that runs is ours, or it has ended */
        until = now + patience(convoy);
        pthread_mutex_unlock(&convoy->lock);
    }
}

vecdb_status convoy_ride(struct convoy *convoy, struct rider *rider, convoy_drive drive, void *context)
{
    rider->next = NULL;
    rider->status = VECDB_OK;
    pthread_mutex_lock(&convoy->lock);
    *convoy->last = rider;
    convoy->last = &rider->next;
    convoy->waiting++;
    if (!convoy->driving && convoy->waiting >= convoy->company)
        drive_and_unlock(convoy, drive, context);
    else
        wait_and_unlock(convoy, drive, context);
    return rider->status < 0 ? error_adopt(&rider->error) : rider->status;
}
