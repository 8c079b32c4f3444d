#include "base/pool.h"

#include "base/mem.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BACKGROUND_NICE 10 /* a tenth of what a thread of the usual priority gets, beside one */

/* One call of pool_run, on its caller's stack. */
struct job {
    vecdb_status (*task)(void *context, size_t i, unsigned worker);
    void *context;
    struct mem_account *account;
    size_t task_count;
    atomic_size_t next;   /* task to hand out */
    unsigned helpers;     /* pool lock: pool threads inside; they use worker numbers 1.. */
    unsigned joined;      /* pool lock: worker numbers given out */
    bool failed;          /* pool lock */
    vecdb_error error;    /* pool lock: the first failure */
    struct job *next_job; /* pool lock */
};

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    struct job *jobs;      /* lock: jobs that still want helpers */
    pthread_t *threads;
    unsigned thread_count; /* a job's, the caller included */
    unsigned started;      /* lock: pool threads running */
    bool stop;             /* lock */
    bool background;       /* set before threads start */
};

static void job_fail(struct pool *pool, struct job *job)
{
    if (pool)
        pthread_mutex_lock(&pool->lock);
    if (!job->failed) {
        job->failed = true;
        job->error = *error_last();
    }
    if (pool)
        pthread_mutex_unlock(&pool->lock);
    atomic_store_explicit(&job->next, job->task_count, memory_order_relaxed);
}

static void job_work(struct pool *pool, struct job *job, unsigned worker)
{
    for (;;) {
        size_t i = atomic_load_explicit(&job->next, memory_order_relaxed);

        if (i >= job->task_count)
            return;
        i = atomic_fetch_add_explicit(&job->next, 1, memory_order_relaxed);
        if (i >= job->task_count)
            return;
        if (job->task(job->context, i, worker) != VECDB_OK)
            job_fail(pool, job);
    }
}

/* The next job that has tasks left and room for a helper; unlinks those that have none. Lock held. */
static struct job *next_job(struct pool *pool)
{
    struct job **link = &pool->jobs;

    while (*link) {
        struct job *job = *link;
        if (atomic_load_explicit(&job->next, memory_order_relaxed) >= job->task_count ||
            job->joined + 1 >= pool->thread_count)
            *link = job->next_job;
        else
            return job;
    }
    return NULL;
}

void thread_in_background(void)
{
#ifdef SYS_gettid /* elsewhere it would be the whole process */
    id_t id = (id_t)syscall(SYS_gettid);

    (void)setpriority(PRIO_PROCESS, id, getpriority(PRIO_PROCESS, id) + BACKGROUND_NICE);
#endif
}

void pool_in_background(struct pool *pool) { pool->background = true; }

static void *thread_main(void *argument)
{
    struct pool *pool = argument;

    if (pool->background)
        thread_in_background();
    pthread_mutex_lock(&pool->lock);
    while (!pool->stop) {
        struct job *job = next_job(pool);
        if (!job) {
            pthread_cond_wait(&pool->work, &pool->lock);
            continue;
        }
        unsigned worker = ++job->joined;
        job->helpers++;
        pthread_mutex_unlock(&pool->lock);
        mem_account_enter(job->account);
        job_work(pool, job, worker);
        mem_account_enter(NULL);
        pthread_mutex_lock(&pool->lock);
        if (--job->helpers == 0)
            pthread_cond_broadcast(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

unsigned pool_processors(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);

    return count > 0 ? (unsigned)count : 1;
}

vecdb_status pool_create(unsigned threads, struct pool **out)
{
    struct pool *pool = mem_zalloc(sizeof *pool);

    *out = NULL;
    if (threads == 0)
        threads = pool_processors();
    if (threads > 1024)
        threads = 1024;
    if (!pool || !(pool->threads = mem_array_zalloc(threads, sizeof *pool->threads))) {
        mem_free(pool);
        return error_nomem("thread pool");
    }
    pool->thread_count = threads;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    pthread_cond_init(&pool->done, NULL);
    *out = pool;
    return VECDB_OK;
}

void pool_free(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->started; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->work);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool->threads);
    mem_free(pool);
}

unsigned pool_threads(const struct pool *pool) { return pool ? pool->thread_count : 1; }

/* Start the threads; a system that refuses some gives a slower pool, not an error. Lock held. */
static void start_threads(struct pool *pool)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (pool->started + 1 < pool->thread_count &&
           pthread_create(&pool->threads[pool->started], NULL, thread_main, pool) == 0)
        pool->started++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

vecdb_status pool_run(struct pool *pool, size_t task_count,
                      vecdb_status (*task)(void *context, size_t i, unsigned worker), void *context)
{
    struct job job = {.task = task, .context = context, .task_count = task_count};
    bool shared = pool && pool->thread_count > 1 && task_count > 1;

    atomic_init(&job.next, 0);
    if (shared) {
        job.account = mem_account_enter(NULL);
        mem_account_enter(job.account);
        pthread_mutex_lock(&pool->lock);
        if (pool->started + 1 < pool->thread_count)
            start_threads(pool);
        job.next_job = pool->jobs;
        pool->jobs = &job;
        pthread_cond_broadcast(&pool->work);
        pthread_mutex_unlock(&pool->lock);
    }
    job_work(shared ? pool : NULL, &job, 0);
    if (shared) {
        pthread_mutex_lock(&pool->lock);
        for (struct job **link = &pool->jobs; *link; link = &(*link)->next_job)
            if (*link == &job) {
                *link = job.next_job;
                break;
            }
        while (job.helpers)
            pthread_cond_wait(&pool->done, &pool->lock);
        pthread_mutex_unlock(&pool->lock);
    }
    return job.failed ? error_adopt(&job.error) : VECDB_OK;
}
