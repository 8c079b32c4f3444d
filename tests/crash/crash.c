/* Break the database in every way that a disk, a system and an allocator can, and count. `make crash` runs it all,
 * `make crash-check` a minute's worth. Prints one counter a line; the last one must be zero. */
#include "crash/crew.h"
#include "crash/db_driver.h"
#include "crash/planted.h"
#include "crash/probes.h"
#include "crash/scenarios.h"
#include "crash/store_driver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* How much of everything, for one driver. */
struct plan {
    struct effort states;
    size_t workloads; /* for crash states */
    size_t fault_runs, fault_steps, oom_runs;
    size_t model_seeds, model_steps;
    size_t kills;
};

/* The store alone is fast, so it gets most of the states; the whole library, with everything a user can call, the rest. */
static const struct plan store_check = {{24, 5, 3, 400, 8}, 3, 1, 15, 1, 20, 300, 10};
static const struct plan store_full = {{40, 8, 16, 100, 4}, 20, 6, 30, 10, 2000, 500, 100};
static const struct plan db_check = {{16, 3, 1, 400, 8}, 2, 1, 8, 1, 20, 100, 5};
static const struct plan db_full = {{40, 6, 6, 100, 4}, 10, 4, 16, 12, 300, 500, 100};

/* What a whole run must come to. */
static const struct counters required = {.crash_states = 100000, .nested_crashes = 20000, .io_faults = 60000,
                                         .fsync_faults = 1, .oom_faults = 40000, .byte_flips = 300000, .truncations = 1,
                                         .kills = 200, .model_ops = 1000000};

#define SHARES 4       /* that a long loop is cut into */
#define MODEL_SEEDS 50 /* in one task */

static const char *directory; /* for processes that are killed */

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* -- tasks: each a few seconds, so that all processors are busy to the end */

static const struct plan *plan_of(const struct task *task) { return task->plan; }

static void do_probes(const struct task *task, struct counters *counters)
{
    store_locking(counters);
    probe_all(counters);
}

static void do_scenario(const struct task *task, struct counters *counters)
{
    crash_scenario(task->number, task->seed, task->steps, counters);
}

static void do_store_flips(const struct task *task, struct counters *counters)
{
    store_byte_flips(task->seed, task->from, task->steps, counters);
}

static void do_db_flips(const struct task *task, struct counters *counters)
{
    db_byte_flips(task->seed, task->from, task->steps, counters);
}

static void do_truncations(const struct task *task, struct counters *counters) { store_truncations(task->seed, counters); }

static void do_states(const struct task *task, struct counters *counters)
{
    crash_states(task->driver, task->seed, &plan_of(task)->states, counters);
}

static void do_io(const struct task *task, struct counters *counters)
{
    crash_io_faults(task->driver, task->seed, plan_of(task)->fault_steps, task->from, SHARES, counters);
}

static void do_fsync(const struct task *task, struct counters *counters)
{
    crash_fsync_faults(task->driver, task->seed, plan_of(task)->fault_steps, counters);
}

static void do_full(const struct task *task, struct counters *counters)
{
    crash_full_disk(task->driver, task->seed, plan_of(task)->fault_steps, counters);
    crash_interruptions(task->driver, task->seed, plan_of(task)->fault_steps, counters);
}

static void do_oom(const struct task *task, struct counters *counters)
{
    crash_oom(task->driver, task->seed, plan_of(task)->fault_steps, task->from, SHARES, counters);
}

static void do_model(const struct task *task, struct counters *counters)
{
    size_t left = plan_of(task)->model_seeds - task->from;

    for (size_t i = 0; i < left && i < MODEL_SEEDS; i++)
        crash_model(task->driver, task->seed + i, plan_of(task)->model_steps, counters);
}

static void do_kills(const struct task *task, struct counters *counters)
{
    crash_kills(task->driver, task->seed, plan_of(task)->kills, directory, counters);
}

struct list {
    struct task *tasks;
    size_t count, room;
    const char *only; /* stages whose name begins so; NULL: all */
};

static void add(struct list *list, struct task task)
{
    if (list->only && strncmp(task.stage, list->only, strlen(list->only)) != 0)
        return;
    task.number = list->count && strcmp(list->tasks[list->count - 1].stage, task.stage) == 0
                      ? list->tasks[list->count - 1].number + 1
                      : 0;
    if (list->count == list->room) {
        list->room = list->room * 2 + 64;
        list->tasks = realloc(list->tasks, list->room * sizeof *list->tasks);
        if (!list->tasks)
            abort();
    }
    list->tasks[list->count++] = task;
}

/* `count` runs with seeds of their own, each in `shares` parts. */
static void add_runs(struct list *list, struct task task, size_t count, size_t shares)
{
    uint64_t seed = task.seed;

    for (size_t i = 0; i < count; i++)
        for (size_t share = 0; share < shares; share++) {
            task.seed = seed + i;
            task.from = share;
            add(list, task);
        }
}

#define STAGE(text) (snprintf(names[stage], sizeof names[stage], "%s %s", driver->name, text), names[stage++])

static void add_driver(struct list *list, const struct driver *driver, const struct plan *plan, uint64_t seed, bool kills)
{
    static char names[40][40];
    static size_t stage;
    struct task task = {.driver = driver, .plan = plan, .seed = seed};

    task.stage = STAGE("crash states"), task.run = do_states;
    add_runs(list, task, plan->workloads, 1);
    task.stage = STAGE("I/O faults"), task.run = do_io;
    add_runs(list, task, plan->fault_runs, SHARES);
    task.stage = STAGE("failing syncs"), task.run = do_fsync;
    add_runs(list, task, plan->fault_runs, 1);
    task.stage = STAGE("full disk"), task.run = do_full;
    add_runs(list, task, plan->fault_runs, 1);
    task.stage = STAGE("no memory"), task.run = do_oom;
    add_runs(list, task, plan->oom_runs, SHARES);
    task.stage = STAGE("model"), task.run = do_model;
    for (size_t i = 0; i < plan->model_seeds; i += MODEL_SEEDS) {
        task.seed = seed + i;
        task.from = i;
        add(list, task);
    }
    task.seed = seed;
    task.from = 0;
    task.stage = STAGE("kills"), task.run = do_kills;
    if (kills)
        add(list, task);
}

/* Longest stages first, so that what is left at the end is short. */
static void add_all(struct list *list, bool check, size_t stride_of_places, uint64_t seed)
{
    struct task probes = {.stage = "probes", .run = do_probes};
    struct task scenario = {.stage = "scenarios", .run = do_scenario, .seed = seed, .steps = stride_of_places};
    struct task flips = {.stage = "db byte flips", .run = do_db_flips, .seed = seed};
    struct task store_flips = {.stage = "store byte flips", .run = do_store_flips, .steps = SHARES};
    struct task cut = {.stage = "store truncations", .run = do_truncations, .seed = seed};
    size_t stride = check ? 16 : 2, shares = check ? 1 : SHARES;

    for (size_t i = 0; i < crash_scenario_count(); i++)
        add(list, scenario);
    add_driver(list, &db_driver, check ? &db_check : &db_full, seed + 2000000, true);
    add_driver(list, &store_driver, check ? &store_check : &store_full, seed, true);
    flips.steps = stride * shares;
    for (size_t share = 0; share < shares; share++) {
        flips.from = seed % stride + stride * share;
        add(list, flips);
    }
    store_flips.seed = seed;
    add_runs(list, store_flips, check ? 1 : 4, SHARES);
    add_driver(list, &store_driver_aligned, &store_check, seed + 1000000, false);
    add(list, cut);
    add(list, probes);
}

/* -- the report */

static bool enough(uint64_t have, uint64_t wanted, const char *name)
{
    if (have >= wanted)
        return true;
    printf("TOO FEW %s: %llu are required\n", name, (unsigned long long)wanted);
    return false;
}

static int report(const struct list *list, const struct outcome *outcomes, const struct counters *bar, const char *planted,
                  double start)
{
    struct counters counters = {0};
    double spent = 0;
    char line[100] = "";
    FILE *file = planted ? fopen(planted, "r") : NULL;

    for (size_t i = 0; i < list->count; i++) {
        counters_add(&counters, &outcomes[i].counters);
        spent += outcomes[i].seconds;
        if (outcomes[i].counters.violations)
            printf("%s, task %zu: %llu violations: %s\n", list->tasks[i].stage, list->tasks[i].number,
                   (unsigned long long)outcomes[i].counters.violations, outcomes[i].counters.first);
    }
#define PRINT(name)                                                                                                    \
    printf(#name ": %llu\n", (unsigned long long)counters.name);                                                       \
    if (!enough(counters.name, bar->name, #name))                                                                      \
        counters.violations++;
    PRINT(crash_states)
    PRINT(nested_crashes)
    PRINT(io_faults)
    PRINT(fsync_faults)
    PRINT(full_faults)
    PRINT(oom_faults)
    PRINT(byte_flips)
    PRINT(truncations)
    PRINT(kills)
    PRINT(model_ops)
    PRINT(probes)
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "planted_bugs_caught:", 20) == 0)
            fputs(line, stdout);
    if (file)
        fclose(file);
    printf("processor_seconds: %.1f\nseconds: %.1f\n", spent, seconds() - start);
    printf("violations: %llu\n", (unsigned long long)counters.violations);
    return counters.violations != 0;
}

int main(int argument_count, char **arguments)
{
    static const struct counters nothing;
    const char *seed_text = getenv("VECDB_TEST_SEED"), *planted = NULL;
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 1;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct crew crew = {.processes = processors > 0 ? (size_t)processors : 1};
    struct list list = {0};
    double start = seconds();
    bool check = false;
    size_t places = 0;

    for (int i = 1; i < argument_count; i++) {
        const char *argument = arguments[i];
        if (strcmp(argument, "--check") == 0)
            check = true;
        else if (strncmp(argument, "--processes=", 12) == 0)
            crew.processes = strtoull(argument + 12, NULL, 0);
        else if (strncmp(argument, "--only=", 7) == 0) /* the beginning of a stage's name */
            list.only = argument + 7;
        else if (strncmp(argument, "--stride=", 9) == 0) /* only each so many-th place of the scenarios */
            places = strtoull(argument + 9, NULL, 0);
        else if (strncmp(argument, "--log=", 6) == 0) /* to take up a run that was stopped */
            crew.log = argument + 6;
        else if (strncmp(argument, "--planted=", 10) == 0) /* what the run with planted bugs printed */
            planted = argument + 10;
        else
            directory = argument;
    }
#ifdef VECDB_PLANT
    (void)check, (void)places, (void)add_all, (void)report, (void)required, (void)nothing, (void)planted, (void)list;
    bool caught = planted_run(seed, crew.processes);
    printf("seconds: %.1f\n", seconds() - start);
    return !caught;
#else
    printf("seed: %llu, %zu processes\n", (unsigned long long)seed, crew.processes);
    add_all(&list, check, places ? places : check ? 40 : 1, seed);
    struct outcome *outcomes = calloc(list.count + 1, sizeof *outcomes);
    if (!outcomes || !crew_run(&crew, list.tasks, list.count, outcomes)) {
        printf("cannot make processes\n");
        return 1;
    }
    return report(&list, outcomes, check || list.only ? &nothing : &required, planted, start);
#endif
}
