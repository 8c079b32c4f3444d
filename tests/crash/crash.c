/* Break the database in every way that a disk, a system and an allocator can, and count. `make crash` runs it all,
 * `make crash-check` a minute's worth. Prints one counter a line; the last one must be zero. */
#include "harness.h"
#include "store_driver.h"

#include "base/plant.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct driver *const drivers[] = {&store_driver, &store_driver_aligned};
#define DRIVER_COUNT (sizeof drivers / sizeof drivers[0])

struct plan {
    struct effort states;
    size_t workloads;    /* for crash states */
    size_t fault_runs, fault_steps;
    size_t model_seeds, model_steps;
    size_t kills;
    size_t flip_seeds;
};

static const struct plan check_plan = {{24, 5, 3, 400, 8}, 6, 1, 20, 20, 300, 10, 1};
static const struct plan full_plan = {{40, 8, 16, 100, 4}, 60, 4, 30, 1000, 500, 200, 4};

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void run_driver(const struct driver *driver, const struct plan *plan, uint64_t seed, const char *directory,
                       struct counters *counters)
{
    for (size_t i = 0; i < plan->workloads; i++)
        crash_states(driver, seed + i, &plan->states, counters);
    for (size_t i = 0; i < plan->fault_runs; i++) {
        crash_io_faults(driver, seed + i, plan->fault_steps, counters);
        crash_fsync_faults(driver, seed + i, plan->fault_steps, counters);
        crash_full_disk(driver, seed + i, plan->fault_steps, counters);
        crash_oom(driver, seed + i, plan->fault_steps, counters);
        crash_interruptions(driver, seed + i, plan->fault_steps, counters);
    }
    for (size_t i = 0; i < plan->model_seeds; i++)
        crash_model(driver, seed + i, plan->model_steps, counters);
    if (directory)
        crash_kills(driver, seed, plan->kills, directory, counters);
}

#ifdef VECDB_PLANT
/* Which bug is planted; the library asks through PLANTED(). */
int planted_bug;

static const struct {
    int number;
    const char *what;
} bugs[] = {
    {1, "the directory is not synced after the manifest's renaming"},
    {2, "the directory is not synced after a new log"},
    {3, "files are removed before the manifest that drops them"},
    {4, "a log is removed before the segment is synced"},
    {5, "appending behind a torn tail"},
    {6, "a checksum that skips the length"},
    {7, "a short write taken for a whole one"},
    {8, "an interrupted call taken for a failed one"},
    {9, "a failed sync repeated"},
    {10, "acknowledged before the sync"},
    {11, "a file id used again after a failure"},
    {22, "a lock that the same process takes twice"},
    {25, "the log of an unfinished opening replayed"},
    {26, "a torn log hides a newer one"},
    {27, "a failed append cut off without syncing the cut"},
};

/* Whether the harness sees a planted bug. */
static bool planted_seen(int number, uint64_t seed)
{
    static const struct plan plan = {{24, 5, 4, 8, 4}, 12, 1, 20, 20, 300, 0, 1};
    struct counters counters = {.quiet = true};

    planted_bug = number;
    store_locking(&counters);
    for (uint64_t round = 0; round < 3 && !counters.violations; round++) {
        crash_interruptions(&store_driver, seed + round, plan.fault_steps, &counters);
        for (size_t w = 0; w < plan.workloads && !counters.violations; w++)
            crash_states(&store_driver, seed + round * 100 + w, &plan.states, &counters);
        if (!counters.violations)
            crash_fsync_faults(&store_driver, seed + round, plan.fault_steps, &counters);
        if (!counters.violations)
            crash_full_disk(&store_driver, seed + round, plan.fault_steps, &counters);
        if (!counters.violations)
            crash_io_faults(&store_driver, seed + round, plan.fault_steps, &counters);
        if (!counters.violations)
            store_byte_flips(seed + round, &counters);
    }
    return counters.violations != 0;
}

/* Plant one bug after the other, each in a process of its own: dying of an assertion is being seen, too. */
static size_t run_planted(uint64_t seed)
{
    size_t caught = 0;

    for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
        int result = 0;
        pid_t child = fork();
        if (child == 0) {
            if (!freopen("/dev/null", "w", stderr))
                _exit(0);
            _exit(planted_seen(bugs[i].number, seed));
        }
        waitpid(child, &result, 0);
        bool seen = !WIFEXITED(result) || WEXITSTATUS(result) != 0;
        caught += seen;
        printf("planted bug %d (%s): %s\n", bugs[i].number, bugs[i].what, seen ? "caught" : "NOT CAUGHT");
        fflush(stdout);
    }
    /* And none where there is none, or catching would say nothing. */
    if (planted_seen(0, seed)) {
        printf("violations without a planted bug\n");
        caught = 0;
    }
    printf("planted_bugs: %zu\n", sizeof bugs / sizeof bugs[0]);
    return caught;
}
#endif

int main(int argument_count, char **arguments)
{
    const struct plan *plan = &full_plan;
    const char *seed_text = getenv("VECDB_TEST_SEED"), *directory = NULL;
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 1;
    double start = seconds();

    for (int i = 1; i < argument_count; i++)
        if (strcmp(arguments[i], "--check") == 0)
            plan = &check_plan;
        else
            directory = arguments[i];
#ifdef VECDB_PLANT
    (void)plan, (void)drivers, (void)run_driver, (void)full_plan, (void)check_plan, (void)directory;
    size_t caught = run_planted(seed);
    printf("planted_bugs_caught: %zu\n", caught);
    printf("seconds: %.1f\n", seconds() - start);
    return caught == sizeof bugs / sizeof bugs[0] ? 0 : 1;
#else
    struct counters counters = {0};
    printf("seed: %llu\n", (unsigned long long)seed);
    store_locking(&counters);
    for (size_t i = 0; i < plan->flip_seeds; i++)
        store_byte_flips(seed + i, &counters);
    store_truncations(seed, &counters);
    for (size_t i = 0; i < DRIVER_COUNT; i++)
        run_driver(drivers[i], plan, seed + i * 1000000, i == 0 ? directory : NULL, &counters);
#define PRINT(name) printf(#name ": %llu\n", (unsigned long long)counters.name)
    PRINT(crash_states);
    PRINT(nested_crashes);
    PRINT(io_faults);
    PRINT(fsync_faults);
    PRINT(full_faults);
    PRINT(oom_faults);
    PRINT(byte_flips);
    PRINT(truncations);
    PRINT(kills);
    PRINT(model_ops);
    printf("seconds: %.1f\n", seconds() - start);
    PRINT(violations);
    return counters.violations != 0;
#endif
}
