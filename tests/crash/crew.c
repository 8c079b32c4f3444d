#include "crash/crew.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_PROCESSES 64

struct worker {
    pid_t pid; /* 0: free */
    int end;   /* to read counters from */
    size_t task;
};

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

#define FOR_EACH_COUNTER(DO)                                                                                           \
    DO(crash_states) DO(nested_crashes) DO(io_faults) DO(fsync_faults) DO(full_faults) DO(oom_faults) DO(byte_flips)       \
    DO(truncations) DO(kills) DO(model_ops) DO(probes) DO(violations)

void counters_add(struct counters *to, const struct counters *from)
{
#define ADD(name) to->name += from->name;
    FOR_EACH_COUNTER(ADD)
    if (!to->first[0])
        memcpy(to->first, from->first, sizeof to->first);
}

/* -- the log: which program wrote it and what for, then a line for each task that is done: its stage, a tab, numbers */

static bool identify(const struct task *tasks, size_t count, char *out, size_t size)
{
    struct stat file;

    if (stat("/proc/self/exe", &file) != 0 || !count)
        return false;
    snprintf(out, size, "%lld %lld.%09ld %zu %llu\n", (long long)file.st_size, (long long)file.st_mtim.tv_sec,
             file.st_mtim.tv_nsec, count, (unsigned long long)tasks[0].seed);
    return true;
}

/* Outcomes of tasks that were done before; only those without a violation count as done. */
static void read_log(FILE *log, const struct task *tasks, size_t count, struct outcome *outcomes, bool *done)
{
    char stage[64];
    size_t number;
    struct outcome o;

    for (;;) {
        memset(&o, 0, sizeof o);
        if (fscanf(log, " %63[^\t] %zu %lf", stage, &number, &o.seconds) != 3)
            return;
#define READ(name)                                                                                                     \
    {                                                                                                                  \
        unsigned long long value_ = 0;                                                                                 \
        if (fscanf(log, "%llu", &value_) != 1)                                                                         \
            return;                                                                                                    \
        o.counters.name = value_;                                                                                      \
    }
        FOR_EACH_COUNTER(READ)
        for (size_t i = 0; i < count && !o.counters.violations; i++)
            if (tasks[i].number == number && strcmp(tasks[i].stage, stage) == 0) {
                outcomes[i] = o;
                done[i] = true;
            }
    }
}

static void write_log(FILE *log, const struct task *task, const struct outcome *outcome)
{
    if (!log)
        return;
    fprintf(log, "%s\t%zu %.3f", task->stage, task->number, outcome->seconds);
#define WRITE(name) fprintf(log, " %llu", (unsigned long long)outcome->counters.name);
    FOR_EACH_COUNTER(WRITE)
    fputc('\n', log);
    fflush(log);
}

/* Open the log, anew, with the lines that still count: none when another program wrote it, and no half of a last one. */
static FILE *open_log(const struct crew *crew, const struct task *tasks, size_t count, struct outcome *outcomes, bool *done)
{
    char mine[100], theirs[100];
    FILE *log;

    if (!crew->log || !identify(tasks, count, mine, sizeof mine))
        return NULL;
    if ((log = fopen(crew->log, "r")) != NULL) {
        if (fgets(theirs, sizeof theirs, log) && strcmp(mine, theirs) == 0)
            read_log(log, tasks, count, outcomes, done);
        fclose(log);
    }
    if ((log = fopen(crew->log, "w")) == NULL)
        return NULL;
    fputs(mine, log);
    for (size_t i = 0; i < count; i++)
        if (done[i])
            write_log(log, &tasks[i], &outcomes[i]);
    fflush(log);
    return log;
}

/* -- tasks */

static bool begin(const struct crew *crew, const struct task *task, struct worker *worker)
{
    int ends[2];

    fflush(stdout);
    if (pipe(ends) != 0)
        return false;
    worker->pid = fork();
    if (worker->pid < 0)
        return false;
    if (worker->pid == 0) {
        struct counters counters = {.quiet = crew->quiet};
        close(ends[0]);
        if (crew->quiet && !freopen("/dev/null", "w", stderr))
            _exit(1);
        alarm(crew->patience);
        task->run(task, &counters);
        fflush(stdout);
        exit(write(ends[1], &counters, sizeof counters) != sizeof counters); /* not _exit(): what was covered is to be written */
    }
    close(ends[1]);
    worker->end = ends[0];
    return true;
}

static double of_timeval(struct timeval time) { return (double)time.tv_sec + (double)time.tv_usec * 1e-6; }

/* A worker has written, or died. */
static void finish(struct worker *worker, struct outcome *outcome)
{
    struct rusage usage;
    int status = 0;
    bool whole = read(worker->end, &outcome->counters, sizeof outcome->counters) == sizeof outcome->counters;

    while (wait4(worker->pid, &status, 0, &usage) < 0 && errno == EINTR)
        ;
    close(worker->end);
    outcome->seconds = of_timeval(usage.ru_utime) + of_timeval(usage.ru_stime);
    if (WIFSIGNALED(status))
        outcome->signal = WTERMSIG(status);
    if (!whole || status != 0) {
        outcome->counters.violations++;
        snprintf(outcome->counters.first, sizeof outcome->counters.first, "died of signal %d (%s)", outcome->signal,
                 strsignal(outcome->signal));
    }
    worker->pid = 0;
}

/* What a stage did, once its last task has ended. */
static void report_stage(const struct task *tasks, size_t count, const struct outcome *outcomes, const bool *done,
                         const char *stage, double start)
{
    struct counters sum = {0};
    double seconds = 0, longest = 0;
    size_t members = 0;

    for (size_t i = 0; i < count; i++)
        if (strcmp(tasks[i].stage, stage) == 0) {
            if (!done[i])
                return;
            members++;
            counters_add(&sum, &outcomes[i].counters);
            seconds += outcomes[i].seconds;
            if (outcomes[i].seconds > longest)
                longest = outcomes[i].seconds;
        }
    printf("# %7.1f s  %-22s %5zu tasks, %7.1f s of processor time, the longest %.1f:", now() - start, stage, members, seconds,
           longest);
#define SAY(name)                                                                                                      \
    if (sum.name)                                                                                                      \
        printf(" %s %llu", #name, (unsigned long long)sum.name);
    FOR_EACH_COUNTER(SAY)
    printf("\n");
    fflush(stdout);
}

bool crew_run(const struct crew *crew, const struct task *tasks, size_t count, struct outcome *outcomes)
{
    struct worker workers[MAX_PROCESSES] = {{0}};
    size_t processes = crew->processes < MAX_PROCESSES ? crew->processes : MAX_PROCESSES, next = 0, busy = 0;
    bool *done = calloc(count + 1, sizeof *done), able = done != NULL;
    double start = now();
    FILE *log = able ? open_log(crew, tasks, count, outcomes, done) : NULL;

    while (able && (busy || next < count)) {
        struct pollfd ends[MAX_PROCESSES];
        for (size_t w = 0; w < processes && able; w++) {
            while (next < count && done[next])
                next++;
            if (!workers[w].pid && next < count) {
                workers[w].task = next++;
                able = begin(crew, &tasks[workers[w].task], &workers[w]);
                busy += able;
            }
            ends[w] = (struct pollfd){workers[w].pid > 0 ? workers[w].end : -1, POLLIN, 0};
        }
        if (!busy || poll(ends, processes, -1) <= 0)
            continue;
        for (size_t w = 0; w < processes; w++)
            if (workers[w].pid > 0 && ends[w].revents) {
                size_t i = workers[w].task;
                finish(&workers[w], &outcomes[i]);
                busy--;
                done[i] = true;
                write_log(log, &tasks[i], &outcomes[i]);
                if (!crew->quiet)
                    report_stage(tasks, count, outcomes, done, tasks[i].stage, start);
            }
    }
    if (log)
        fclose(log);
    free(done);
    return able;
}
