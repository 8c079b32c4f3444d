/* Who may write a collection's segments anew or build its indexes: one at a time, by a claim and not by a lock, so that nothing is held
 * while a caller's progress callback runs. Whoever wants the claim waits for it, but not for a callback that does not return: that
 * callback may be waiting for us. */
#include "base/error.h"
#include "collection/collection.h"

#include <time.h>

#define PATIENCE_MS 1000 /* with one call of a callback */

static uint64_t now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

void claim_init(struct claim *claim)
{
    pthread_condattr_t clock;

    *claim = (struct claim){0};
    pthread_mutex_init(&claim->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&claim->given_back, &clock);
    pthread_condattr_destroy(&clock);
}

void claim_deinit(struct claim *claim)
{
    pthread_cond_destroy(&claim->given_back);
    pthread_mutex_destroy(&claim->lock);
}

/* Wait for the claim. False: it will not come while the callback of who has it runs. */
static bool wait_for(struct claim *claim)
{
    while (claim->taken) {
        uint64_t until = (claim->callback_since ? claim->callback_since : now_ms()) + PATIENCE_MS;
        struct timespec time = {(time_t)(until / 1000), (long)(until % 1000) * 1000000};
        if (claim->callback_since &&
            (pthread_equal(claim->owner, pthread_self()) || now_ms() >= claim->callback_since + PATIENCE_MS))
            return false;
        pthread_cond_timedwait(&claim->given_back, &claim->lock, &time);
    }
    return true;
}

vecdb_status collection_begin_upkeep(struct collection *collection)
{
    struct claim *claim = &collection->upkeep;
    bool own, got;

    pthread_mutex_lock(&claim->lock);
    if ((got = wait_for(claim))) {
        claim->taken = true;
        claim->owner = pthread_self();
    }
    own = !got && pthread_equal(claim->owner, pthread_self());
    pthread_mutex_unlock(&claim->lock);
    if (got)
        return VECDB_OK;
    return error_set(VECDB_ERR_BUSY, "collection %s: flush, optimize, load and index calls %s", collection_schema(collection)->name,
                     own ? "cannot be made from their own callback" : "wait for one whose callback does not return");
}

void collection_end_upkeep(struct collection *collection)
{
    pthread_mutex_lock(&collection->upkeep.lock);
    collection->upkeep.taken = false;
    pthread_cond_signal(&collection->upkeep.given_back);
    pthread_mutex_unlock(&collection->upkeep.lock);
}

static void note_callback(struct claim *claim, uint64_t since)
{
    pthread_mutex_lock(&claim->lock);
    claim->callback_since = since;
    pthread_mutex_unlock(&claim->lock);
}

bool claim_report(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct watched_progress *watched = context;
    bool go_on;

    note_callback(watched->claim, now_ms());
    go_on = watched->progress(watched->context, stage, done, total);
    note_callback(watched->claim, 0);
    return go_on;
}
