/* The thread that looks after a database: syncs what NORMAL writes left, takes fresh rows into the indexes, seals growing rows
 * when the log gets long, merges and tidies segments, builds indexes that are missing. It does nothing that a crash at any moment could not undo, and
 * nothing that a caller waits for. */
#include "base/mem.h"
#include "collection/database.h"
#include "query/deferred.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#define SEAL_LOG_BYTES ((uint64_t)128 << 20) /* longer logs are sealed: what opening would replay */
#define TICK_MS 100
#define IDLE_MS 1000
#define LOOK_MS 1000      /* between looks at segments */
#define BACK_OFF_MS 30000 /* after a failure: a full disk is not asked again at once */

struct upkeep {
    struct database *database;
    struct pool *pool; /* what it builds with: threads that give way to the program's */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping, poked; /* lock */
    atomic_bool cancel;   /* the same as stopping, for work in progress */
    atomic_bool idle;     /* sleeping for long: a write that waits for a sync has to wake it */
};

static _Thread_local struct pool *background_pool; /* of a database's upkeep thread, while it is one */

struct pool *database_pool(const struct database *database) { return background_pool ? background_pool : database->pool; }

static bool go_on(void *context, const char *stage, uint64_t done, uint64_t total)
{
    return !atomic_load_explicit(&((struct upkeep *)context)->cancel, memory_order_relaxed);
}

static uint64_t now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Sleep, unless poked or told to stop. Returns whether to stop. */
static bool sleep_for(struct upkeep *upkeep, uint64_t ms)
{
    uint64_t until = now_ms() + ms;
    struct timespec time = {(time_t)(until / 1000), (long)(until % 1000) * 1000000};
    bool stopping;

    pthread_mutex_lock(&upkeep->lock);
    while (!upkeep->stopping && !upkeep->poked &&
           pthread_cond_timedwait(&upkeep->wake, &upkeep->lock, &time) != ETIMEDOUT)
        ;
    upkeep->poked = false;
    stopping = upkeep->stopping;
    pthread_mutex_unlock(&upkeep->lock);
    return stopping;
}

/* Whether sealed segments lack an index that is defined. */
static bool lacks_index(struct collection *collection)
{
    struct snapshot *snapshot;
    size_t defined;
    bool lacks = false;

    pthread_mutex_lock(&collection->snapshot_lock);
    defined = collection->index_count;
    snapshot = snapshot_retain(collection->published);
    pthread_mutex_unlock(&collection->snapshot_lock);
    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        size_t usable = 0;
        for (size_t i = 0; i < view->index_count; i++)
            usable += !deferred_is_broken(view->indexes[i]->index);
        lacks |= !view->segment->growing && view->row_count && usable < defined;
    }
    snapshot_release(snapshot);
    return lacks;
}

static vecdb_status look_after(struct upkeep *upkeep, struct collection *collection)
{
    vecdb_status status = VECDB_OK;

    if (!upkeep->database->store) /* in memory nothing is sealed */
        return VECDB_OK;
    if (store_log_size(upkeep->database->store) > SEAL_LOG_BYTES)
        status = collection_flush(collection, go_on, upkeep);
    if (status == VECDB_OK && collection_wants_compaction(collection))
        status = collection_compact(collection, go_on, upkeep);
    if (status == VECDB_OK && lacks_index(collection)) {
        TRY(collection_begin_upkeep(collection));
        status = collection_build_missing(collection, go_on, upkeep);
        collection_end_upkeep(collection);
    }
    return status == VECDB_ERR_NO_SUCH ? VECDB_OK : status; /* dropped meanwhile */
}

/* The collections there are, retained; NULL when there is no memory for the list. */
static struct collection **list_collections(struct database *database, size_t *count)
{
    struct collection **list;

    pthread_mutex_lock(&database->lock);
    list = mem_array_alloc(database->collection_count + 1, sizeof(struct collection *));
    *count = list ? database->collection_count : 0;
    for (size_t i = 0; i < *count; i++)
        list[i] = collection_retain(database->collections[i]);
    pthread_mutex_unlock(&database->lock);
    return list;
}

static vecdb_status grow(struct upkeep *upkeep, struct collection *collection)
{
    vecdb_status status = collection_grow_indexes(collection, go_on, upkeep);

    if (status == VECDB_ERR_BUSY) /* with somebody's callback */
        return VECDB_OK;
    atomic_store_explicit(&collection->growth_failed, status != VECDB_OK, memory_order_relaxed);
    return status == VECDB_ERR_NO_SUCH ? VECDB_OK : status; /* dropped meanwhile */
}

static vecdb_status for_all(struct upkeep *upkeep, vecdb_status (*work)(struct upkeep *, struct collection *))
{
    size_t count;
    struct collection **list = list_collections(upkeep->database, &count);
    vecdb_status status = VECDB_OK;

    for (size_t i = 0; i < count; i++) {
        vecdb_status result = work(upkeep, list[i]);
        if (status == VECDB_OK && result != VECDB_ERR_BUSY) /* with somebody's callback: later */
            status = result;
        collection_release(list[i]);
    }
    mem_free(list);
    return status;
}

static void *upkeep_main(void *context)
{
    struct upkeep *upkeep = context;
    struct store *store = upkeep->database->store;
    uint64_t next_look = now_ms() + LOOK_MS, next_growth = 0, last_lsn = 0;

    mem_account_enter(upkeep->database->account);
    thread_in_background();
    background_pool = upkeep->pool;
    for (;;) {
        uint64_t lsn;
        bool busy;
        atomic_store(&upkeep->idle, true); /* before looking, so that a write which we do not see sees this */
        lsn = store ? store_last_lsn(store) : 0;
        if ((busy = lsn != last_lsn))
            atomic_store(&upkeep->idle, false);
        last_lsn = lsn;
        if (sleep_for(upkeep, busy ? TICK_MS : IDLE_MS))
            break;
        atomic_store(&upkeep->idle, false);
        if (store)
            (void)store_tick(store); /* a failure shows at the next write: the log is poisoned */
        if (now_ms() >= next_growth && for_all(upkeep, grow) != VECDB_OK)
            next_growth = now_ms() + BACK_OFF_MS;
        if (now_ms() < next_look)
            continue;
        next_look = for_all(upkeep, look_after) == VECDB_OK ? now_ms() + LOOK_MS : now_ms() + BACK_OFF_MS;
    }
    return NULL;
}

vecdb_status upkeep_start(struct database *database)
{
    struct upkeep *upkeep = mem_zalloc(sizeof *upkeep);
    pthread_condattr_t clock;
    sigset_t all, before;
    int result;

    if (!upkeep)
        return error_nomem("database");
    upkeep->database = database;
    if (pool_create(pool_threads(database->pool), &upkeep->pool) != VECDB_OK) {
        mem_free(upkeep);
        return VECDB_ERR_NOMEM;
    }
    pool_in_background(upkeep->pool);
    pthread_mutex_init(&upkeep->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&upkeep->wake, &clock);
    pthread_condattr_destroy(&clock);
    sigfillset(&all); /* signals are the program's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    result = pthread_create(&upkeep->thread, NULL, upkeep_main, upkeep);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result == 0) {
        database->upkeep = upkeep;
        return VECDB_OK;
    }
    pthread_cond_destroy(&upkeep->wake);
    pthread_mutex_destroy(&upkeep->lock);
    pool_free(upkeep->pool);
    mem_free(upkeep);
    return error_set_system(VECDB_ERR_NOMEM, result, "cannot start a thread");
}

void upkeep_poke(struct upkeep *upkeep)
{
    if (upkeep && atomic_exchange(&upkeep->idle, false))
        upkeep_hurry(upkeep);
}

void upkeep_hurry(struct upkeep *upkeep)
{
    pthread_mutex_lock(&upkeep->lock);
    upkeep->poked = true;
    pthread_cond_signal(&upkeep->wake);
    pthread_mutex_unlock(&upkeep->lock);
}

void upkeep_stop(struct upkeep *upkeep)
{
    if (!upkeep)
        return;
    atomic_store(&upkeep->cancel, true);
    pthread_mutex_lock(&upkeep->lock);
    upkeep->stopping = true;
    pthread_cond_signal(&upkeep->wake);
    pthread_mutex_unlock(&upkeep->lock);
    pthread_join(upkeep->thread, NULL);
    pthread_cond_destroy(&upkeep->wake);
    pthread_mutex_destroy(&upkeep->lock);
    pool_free(upkeep->pool);
    mem_free(upkeep);
}
