/* When a search has to be over, by the clock or because another thread says so. Checked every few hundred distance computations. */
#ifndef VECDB_INDEX_DEADLINE_H
#define VECDB_INDEX_DEADLINE_H

#include "base/error.h"

#include <time.h>

struct deadline {
    struct timespec at;    /* CLOCK_MONOTONIC */
    uint32_t timeout_ms;   /* 0: none */
    const int32_t *cancel; /* other than 0: to be over at once; or NULL */
};

/** timeout_ms 0: whenever it takes; cancel: see there, or NULL. */
static inline void deadline_start(struct deadline *deadline, uint32_t timeout_ms, const int32_t *cancel)
{
    deadline->cancel = cancel;
    deadline->timeout_ms = timeout_ms;
    clock_gettime(CLOCK_MONOTONIC, &deadline->at);
    deadline->at.tv_sec += timeout_ms / 1000;
    deadline->at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (deadline->at.tv_nsec >= 1000000000) {
        deadline->at.tv_nsec -= 1000000000;
        deadline->at.tv_sec++;
    }
}

/** VECDB_ERR_CANCELLED once the time is over; `deadline` may be NULL. */
static inline vecdb_status deadline_check(const struct deadline *deadline)
{
    struct timespec now;

    if (!deadline)
        return VECDB_OK;
    if (deadline->cancel && __atomic_load_n(deadline->cancel, __ATOMIC_RELAXED))
        return error_set(VECDB_ERR_CANCELLED, "search: cancelled");
    if (!deadline->timeout_ms)
        return VECDB_OK;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec < deadline->at.tv_sec || (now.tv_sec == deadline->at.tv_sec && now.tv_nsec < deadline->at.tv_nsec))
        return VECDB_OK;
    return error_set(VECDB_ERR_CANCELLED, "search: timeout of %u ms is over", (unsigned)deadline->timeout_ms);
}

#endif
