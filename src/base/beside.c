#include "base/beside.h"

#include <signal.h>

static void run(struct beside *beside)
{
    beside->status = beside->work(beside->context);
    if (beside->status != VECDB_OK)
        beside->error = *error_last();
}

static void *thread_main(void *argument)
{
    struct beside *beside = argument;

    mem_account_enter(beside->account);
    run(beside);
    mem_account_enter(NULL);
    return NULL;
}

void beside_begin(struct beside *beside, vecdb_status (*work)(void *context), void *context)
{
    sigset_t all, before;

    *beside = (struct beside){.work = work, .context = context, .account = mem_account_enter(NULL)};
    mem_account_enter(beside->account);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    beside->running = pthread_create(&beside->thread, NULL, thread_main, beside) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!beside->running)
        run(beside);
}

vecdb_status beside_end(struct beside *beside)
{
    if (beside->running)
        pthread_join(beside->thread, NULL);
    beside->running = false;
    return beside->status == VECDB_OK ? VECDB_OK : error_adopt(&beside->error);
}
