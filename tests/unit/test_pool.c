#include "base/mem.h"
#include "base/pool.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>

#include <cmocka.h>

struct job {
    atomic_uint done[1000];
    atomic_int inside[8];
    size_t fail_at;
    struct mem_account *account;
    atomic_uint charged_wrongly;
};

static vecdb_status work(void *context, size_t i, unsigned worker)
{
    struct job *job = context;

    if (atomic_fetch_add(&job->inside[worker], 1) != 0)
        return error_set(VECDB_ERR_MISUSE, "two tasks are worker %u at once", worker);
    atomic_fetch_add(&job->done[i], 1);
    if (job->account) {
        void *memory = mem_alloc(1 << 20);
        if (mem_account_used(job->account) < 1 << 20) /* others' blocks come and go, ours is there */
            atomic_fetch_add(&job->charged_wrongly, 1);
        mem_free(memory);
    }
    atomic_fetch_sub(&job->inside[worker], 1);
    if (i == job->fail_at)
        return error_set(VECDB_ERR_TYPE, "task %zu", i);
    return VECDB_OK;
}

static void each_task_once(void **state)
{
    for (unsigned threads = 1; threads <= 4; threads++) {
        struct pool *pool;
        assert_int_equal(pool_create(threads, &pool), VECDB_OK);
        assert_int_equal(pool_threads(pool), threads);
        for (size_t tasks = 0; tasks <= 1000; tasks = tasks * 2 + 1) {
            static struct job job;
            memset(&job, 0, sizeof job);
            job.fail_at = SIZE_MAX;
            assert_int_equal(pool_run(pool, tasks, work, &job), VECDB_OK);
            for (size_t i = 0; i < 1000; i++)
                assert_int_equal(job.done[i], i < tasks);
        }
        pool_free(pool);
    }
}

static void without_a_pool(void **state)
{
    static struct job job;

    memset(&job, 0, sizeof job);
    job.fail_at = SIZE_MAX;
    assert_int_equal(pool_threads(NULL), 1);
    assert_int_equal(pool_run(NULL, 10, work, &job), VECDB_OK);
    assert_int_equal(job.done[9], 1);
}

static void failure_becomes_the_callers(void **state)
{
    struct pool *pool;

    assert_int_equal(pool_create(3, &pool), VECDB_OK);
    for (size_t fail_at = 0; fail_at < 1000; fail_at += 111) {
        static struct job job;
        memset(&job, 0, sizeof job);
        job.fail_at = fail_at;
        error_clear();
        assert_int_equal(pool_run(pool, 1000, work, &job), VECDB_ERR_TYPE);
        assert_non_null(strstr(error_last()->message, "task "));
    }
    pool_free(pool);
}

static void tasks_charge_the_callers_account(void **state)
{
    static struct job job;
    struct pool *pool;
    struct mem_account *before;

    memset(&job, 0, sizeof job);
    job.fail_at = SIZE_MAX;
    job.account = mem_account_create(0);
    assert_int_equal(pool_create(4, &pool), VECDB_OK);
    before = mem_account_enter(job.account);
    assert_int_equal(pool_run(pool, 200, work, &job), VECDB_OK);
    mem_account_enter(before);
    assert_true(mem_account_peak(job.account) >= 1 << 20);
    assert_int_equal(mem_account_used(job.account), 0);
    assert_int_equal(job.charged_wrongly, 0);
    pool_free(pool);
    mem_account_release(job.account);
}

struct giver {
    struct pool *pool;
    struct job job;
    vecdb_status status;
};

static void *give(void *argument)
{
    struct giver *giver = argument;

    for (int i = 0; i < 50 && giver->status == VECDB_OK; i++) {
        memset(&giver->job, 0, sizeof giver->job);
        giver->job.fail_at = SIZE_MAX;
        giver->status = pool_run(giver->pool, 100, work, &giver->job);
        for (size_t t = 0; t < 100; t++)
            if (giver->job.done[t] != 1)
                giver->status = VECDB_ERR_MISUSE;
    }
    return NULL;
}

static void jobs_from_several_threads(void **state)
{
    static struct giver givers[4];
    pthread_t threads[4];
    struct pool *pool;

    assert_int_equal(pool_create(3, &pool), VECDB_OK);
    for (int i = 0; i < 4; i++) {
        givers[i].pool = pool;
        givers[i].status = VECDB_OK;
        assert_int_equal(pthread_create(&threads[i], NULL, give, &givers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(givers[i].status, VECDB_OK);
    }
    pool_free(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_task_once),
        cmocka_unit_test(without_a_pool),
        cmocka_unit_test(failure_becomes_the_callers),
        cmocka_unit_test(tasks_charge_the_callers_account),
        cmocka_unit_test(jobs_from_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
