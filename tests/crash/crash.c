/* Break the database in every way that a disk, a system and an allocator can, and count. `make crash` runs it all,
 * `make crash-check` a minute's worth. Prints one counter a line; the last one must be zero. */
#include "crash/db_driver.h"
#include "crash/harness.h"
#include "crash/store_driver.h"

#include "base/plant.h"
#include "base/rng.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct plan {
    struct effort states;
    size_t workloads;    /* for crash states */
    size_t fault_runs, fault_steps, oom_runs;
    size_t model_seeds, model_steps;
    size_t kills;
    size_t flip_seeds;
};

/* The store alone is fast, so it gets most of the states; the whole library, with everything a user can call, the rest. */
static const struct plan store_check = {{24, 5, 3, 400, 8}, 3, 1, 15, 1, 20, 300, 10, 1};
static const struct plan store_full = {{40, 8, 16, 100, 4}, 20, 6, 30, 10, 2000, 500, 100, 4};
static const struct plan db_check = {{16, 3, 1, 400, 8}, 2, 1, 8, 1, 20, 100, 5, 0};
static const struct plan db_full = {{40, 6, 6, 100, 4}, 10, 4, 16, 12, 300, 500, 100, 0};

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
        crash_interruptions(driver, seed + i, plan->fault_steps, counters);
    }
    for (size_t i = 0; i < plan->oom_runs; i++)
        crash_oom(driver, seed + i, plan->fault_steps, counters);
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
    static const struct plan plan = {{24, 4, 4, 300, 4}, 12, 1, 20, 1, 20, 300, 0, 1};
    struct counters counters = {.quiet = number != 0};

    planted_bug = number;
    store_locking(&counters);
    for (uint64_t round = 0; round < 3 && !counters.violations; round++) {
        crash_interruptions(&store_driver, seed + round, plan.fault_steps, &counters);
        if (!counters.violations)
            store_byte_flips(seed + round, &counters);
        for (size_t w = 0; w < plan.workloads && !counters.violations; w++)
            crash_states(&store_driver, seed + round * 100 + w, &plan.states, &counters);
        if (!counters.violations)
            crash_fsync_faults(&store_driver, seed + round, plan.fault_steps, &counters);
        if (!counters.violations)
            crash_full_disk(&store_driver, seed + round, plan.fault_steps, &counters);
        if (!counters.violations)
            crash_io_faults(&store_driver, seed + round, plan.fault_steps, &counters);
    }
    return counters.violations != 0;
}

/* Plant one bug after the other, each in a process of its own: dying of an assertion is being seen, too. */
static size_t run_planted(uint64_t seed)
{
    size_t caught = 0;

    for (size_t i = 0; i < sizeof bugs / sizeof bugs[0]; i++) {
        const char *only = getenv("PLANT");
        int result = 0;
        if (only && atoi(only) != bugs[i].number) /* PLANT=n in the environment: that one only */
            continue;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            if (!freopen("/dev/null", "w", stderr))
                _exit(0);
            alarm(300); /* a bug that hangs is seen, too */
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
    bool check = false;
    const char *seed_text = getenv("VECDB_TEST_SEED"), *directory = NULL;
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 1;
    double start = seconds();

    for (int i = 1; i < argument_count; i++)
        if (strcmp(arguments[i], "--check") == 0)
            check = true;
        else
            directory = arguments[i];
#ifdef VECDB_PLANT
    (void)check, (void)run_driver, (void)directory;
    (void)store_check, (void)store_full, (void)db_check, (void)db_full;
    size_t caught = run_planted(seed);
    printf("planted_bugs_caught: %zu\n", caught);
    printf("seconds: %.1f\n", seconds() - start);
    return caught == sizeof bugs / sizeof bugs[0] ? 0 : 1;
#else
    struct counters counters = {0};
    printf("seed: %llu\n", (unsigned long long)seed);
    store_locking(&counters);
    for (size_t i = 0; i < (check ? store_check : store_full).flip_seeds; i++)
        store_byte_flips(seed + i, &counters);
    store_truncations(seed, &counters);
    run_driver(&store_driver, check ? &store_check : &store_full, seed, directory, &counters);
    run_driver(&store_driver_aligned, &store_check, seed + 1000000, NULL, &counters);
    run_driver(&db_driver, check ? &db_check : &db_full, seed + 2000000, directory, &counters);
    db_byte_flips(seed, check ? 16 : 2, &counters);
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
