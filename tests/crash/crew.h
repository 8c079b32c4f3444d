/* Runs many tasks in as many processes at a time as there are processors, each task in a process of its own: what one leaves
 * behind meets no other, and one that dies is seen. */
#ifndef VECDB_TESTS_CREW_H
#define VECDB_TESTS_CREW_H

#include "crash/harness.h"

struct task {
    const char *stage; /* tasks of a stage follow one another */
    size_t number;     /* in its stage */
    void (*run)(const struct task *task, struct counters *counters);
    const void *plan;  /* the task's own */
    const struct driver *driver;
    uint64_t seed;
    size_t from, steps; /* what they mean is the task's own business, too */
};

/** What became of a task. */
struct outcome {
    struct counters counters;
    double seconds; /* of processor time, of it and of the processes it made */
    int signal;     /* it died of; 0: it ended */
};

struct crew {
    size_t processes;
    unsigned patience; /* seconds that a task may take; 0: any */
    bool quiet;        /* do not say what stage takes how long */
    const char *log;   /* outcomes are kept there, and tasks that are in it not run again; NULL: neither */
};

/** Run all tasks; outcomes[i] is that of tasks[i]. False when no process can be made. */
bool crew_run(const struct crew *crew, const struct task *tasks, size_t count, struct outcome *outcomes);
/** Sum up, in the order of the fields of struct counters. */
void counters_add(struct counters *to, const struct counters *from);

#endif
