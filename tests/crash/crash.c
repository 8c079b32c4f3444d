/* Break the database in every way that a disk, a system and an allocator can, and count. `make crash` runs it all,
 * `make crash-check` a minute's worth. Prints one counter a line; the last one must be zero. */
#include "crash/db_driver.h"
#include "crash/harness.h"
#include "crash/probes.h"
#include "crash/scenarios.h"
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

static void run_probes(struct counters *counters)
{
    probe_full_disk(counters);
    probe_input(counters);
    probe_counts(counters);
    probe_neighbours(counters);
    probe_swapped_indexes(counters);
    probe_filters(counters);
    probe_old_states(counters);
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
    enum { PROBE, STORE, WHOLE } where; /* it is to be seen */
    const char *what;
} bugs[] = {
    {1, STORE, "the directory is not synced after the manifest's renaming"},
    {2, STORE, "the directory is not synced after a new log"},
    {3, STORE, "files are removed before the manifest that drops them"},
    {4, STORE, "a log is removed before the segment is synced"},
    {5, STORE, "appending behind a torn tail"},
    {6, STORE, "a checksum that skips the length"},
    {7, STORE, "a short write taken for a whole one"},
    {8, STORE, "an interrupted call taken for a failed one"},
    {9, STORE, "a failed sync repeated"},
    {10, STORE, "acknowledged before the sync"},
    {11, STORE, "a file id used again after a failure"},
    {12, WHOLE, "rows deleted during a merge come back"},
    {13, WHOLE, "an upsert in two steps"},
    {14, WHOLE, "deleted rows reach the disk after the manifest"},
    {15, WHOLE, "replaying what the segments hold already"},
    {16, WHOLE, "a part of a batch stays when memory runs out"},
    {17, PROBE, "an index of another segment is taken"},
    {18, PROBE, "a link to one row past the last is taken"},
    {19, PROBE, "rows times width in 32 bits"},
    {20, WHOLE, "optimizing after a recovery loses what was replayed"},
    {21, PROBE, "a state given back while a reader holds it"},
    {22, STORE, "a lock that the same process takes twice"},
    {23, PROBE, "NaN passes behind the last whole register"},
    {24, PROBE, "a filter's tree freed by recursion"},
    {25, STORE, "the log of an unfinished opening replayed"},
    {26, STORE, "a torn log hides a newer one"},
    {27, STORE, "a failed append cut off without syncing the cut"},
};
#define BUG_COUNT (sizeof bugs / sizeof bugs[0])

static void hunt_store(uint64_t seed, struct counters *counters)
{
    static const struct plan plan = {{24, 4, 4, 300, 4}, 12, 1, 20, 1, 20, 300, 0, 1};

    for (uint64_t round = 0; round < 3 && !counters->violations; round++) {
        crash_interruptions(&store_driver, seed + round, plan.fault_steps, counters);
        if (!counters->violations)
            store_byte_flips(seed + round, counters);
        for (size_t w = 0; w < plan.workloads && !counters->violations; w++)
            crash_states(&store_driver, seed + round * 100 + w, &plan.states, counters);
        if (!counters->violations)
            crash_fsync_faults(&store_driver, seed + round, plan.fault_steps, counters);
        if (!counters->violations)
            crash_full_disk(&store_driver, seed + round, plan.fault_steps, counters);
        if (!counters->violations)
            crash_io_faults(&store_driver, seed + round, plan.fault_steps, counters);
    }
}

static void hunt_whole(uint64_t seed, struct counters *counters)
{
    static const struct effort states = {24, 3, 1, 0, 8};

    for (uint64_t round = 0; round < 4 && !counters->violations; round++) {
        for (size_t m = 0; m < 4 && !counters->violations; m++)
            crash_model(&db_driver, seed + round * 100 + m, 300, counters);
        for (size_t w = 0; w < 2 && !counters->violations; w++)
            crash_states(&db_driver, seed + round * 100 + w, &states, counters);
        if (!counters->violations && round == 0)
            crash_oom(&db_driver, seed, 24, counters);
    }
}

/* Look for a planted bug where it is to be seen; number 0: everywhere, for none. */
static void hunt(size_t bug, uint64_t seed, struct counters *counters)
{
    bool all = bug == BUG_COUNT;

    planted_bug = all ? 0 : bugs[bug].number;
    if (all || bugs[bug].where == PROBE)
        run_probes(counters);
    if (all || bugs[bug].where == STORE) {
        store_locking(counters);
        hunt_store(seed, counters);
    }
    if (all || bugs[bug].where == WHOLE)
        hunt_whole(seed, counters);
}

/* Plant one bug after the other, each in a process of its own: dying is being seen, too. The parent says what was seen. */
static size_t run_planted(uint64_t seed)
{
    struct counters none = {0};
    size_t caught = 0;

    for (size_t i = 0; i < BUG_COUNT; i++) {
        const char *only = getenv("PLANT");
        char reason[200] = "nothing";
        int result = 0, ends[2];
        if ((only && atoi(only) != bugs[i].number) || pipe(ends) != 0) /* PLANT=n in the environment: that one only */
            continue;
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            struct counters counters = {.quiet = true};
            if (!freopen("/dev/null", "w", stderr))
                _exit(0);
            alarm(300); /* a bug that hangs is seen, too */
            hunt(i, seed, &counters);
            if (counters.violations && write(ends[1], counters.first, sizeof counters.first) < 0)
                _exit(0);
            _exit(counters.violations != 0);
        }
        close(ends[1]);
        waitpid(child, &result, 0);
        if (WIFSIGNALED(result))
            snprintf(reason, sizeof reason, "died of signal %d (%s)", WTERMSIG(result), strsignal(WTERMSIG(result)));
        else if (read(ends[0], reason, sizeof reason) < 0)
            reason[0] = '\0';
        close(ends[0]);
        bool seen = !WIFEXITED(result) || WEXITSTATUS(result) != 0;
        caught += seen;
        printf("planted bug %d (%s): %s: %s\n", bugs[i].number, bugs[i].what, seen ? "caught" : "NOT CAUGHT", reason);
        fflush(stdout);
    }
    if (getenv("PLANT"))
        return caught;
    /* And none where there is none, or catching would say nothing. */
    hunt(BUG_COUNT, seed, &none);
    if (none.violations) {
        printf("violations without a planted bug\n");
        caught = 0;
    }
    printf("planted_bugs: %zu\n", BUG_COUNT);
    return caught;
}
#endif

int main(int argument_count, char **arguments)
{
    bool check = false;
    const char *seed_text = getenv("VECDB_TEST_SEED"), *directory = NULL;
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 0) : 1;
    double start = seconds();
    bool only_scenarios = false;
    size_t stride = 0; /* of the scenarios; 0: the plan's */

    for (int i = 1; i < argument_count; i++)
        if (strcmp(arguments[i], "--check") == 0)
            check = true;
        else if (strcmp(arguments[i], "--scenarios") == 0)
            only_scenarios = true;
        else if (strncmp(arguments[i], "--stride=", 9) == 0)
            stride = strtoull(arguments[i] + 9, NULL, 0);
        else
            directory = arguments[i];
#ifdef VECDB_PLANT
    (void)check, (void)run_driver, (void)directory, (void)stride, (void)only_scenarios;
    (void)store_check, (void)store_full, (void)db_check, (void)db_full;
    size_t caught = run_planted(seed);
    printf("planted_bugs_caught: %zu\n", caught);
    printf("seconds: %.1f\n", seconds() - start);
    return caught == BUG_COUNT ? 0 : 1;
#else
    struct counters counters = {0};
    printf("seed: %llu\n", (unsigned long long)seed);
    store_locking(&counters);
    run_probes(&counters);
    crash_scenarios(seed, stride ? stride : check ? 40 : 1, &counters);
    if (only_scenarios)
        goto report;
    for (size_t i = 0; i < (check ? store_check : store_full).flip_seeds; i++)
        store_byte_flips(seed + i, &counters);
    store_truncations(seed, &counters);
    run_driver(&store_driver, check ? &store_check : &store_full, seed, directory, &counters);
    run_driver(&store_driver_aligned, &store_check, seed + 1000000, NULL, &counters);
    run_driver(&db_driver, check ? &db_check : &db_full, seed + 2000000, directory, &counters);
    db_byte_flips(seed, check ? 16 : 2, &counters);
report:
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
    PRINT(probes);
    printf("seconds: %.1f\n", seconds() - start);
    PRINT(violations);
    return counters.violations != 0;
#endif
}
