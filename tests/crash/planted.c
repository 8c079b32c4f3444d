#include "crash/planted.h"

#include "base/plant.h"
#include "crash/crew.h"
#include "crash/db_driver.h"
#include "crash/probes.h"
#include "crash/store_driver.h"

#include <stdio.h>
#include <stdlib.h>

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
    enum { WORKLOADS = 12, FAULT_STEPS = 20 };
    static const struct effort states = {24, 4, 4, 300, 4};

    for (uint64_t round = 0; round < 3 && !counters->violations; round++) {
        crash_interruptions(&store_driver, seed + round, FAULT_STEPS, counters);
        if (!counters->violations)
            store_byte_flips(seed + round, 0, 1, counters);
        for (size_t w = 0; w < WORKLOADS && !counters->violations; w++)
            crash_states(&store_driver, seed + round * 100 + w, &states, counters);
        if (!counters->violations)
            crash_fsync_faults(&store_driver, seed + round, FAULT_STEPS, counters);
        if (!counters->violations)
            crash_full_disk(&store_driver, seed + round, FAULT_STEPS, counters);
        if (!counters->violations)
            crash_io_faults(&store_driver, seed + round, FAULT_STEPS, 0, 1, counters);
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
            crash_oom(&db_driver, seed, 24, 0, 1, counters);
    }
}

/* Look for a planted bug where it is to be seen; number 0: everywhere, for none. */
static void hunt(size_t bug, uint64_t seed, struct counters *counters)
{
    bool all = bug == BUG_COUNT;

    planted_bug = all ? 0 : bugs[bug].number;
    if (all || bugs[bug].where == PROBE)
        probe_all(counters);
    if (all || bugs[bug].where == STORE) {
        store_locking(counters);
        hunt_store(seed, counters);
    }
    if (all || bugs[bug].where == WHOLE)
        hunt_whole(seed, counters);
}

static void hunt_one(const struct task *task, struct counters *counters) { hunt(task->number, task->seed, counters); }

/* A task for each bug: dying is being seen, too. And one for none, or catching would say nothing. */
bool planted_run(uint64_t seed, size_t processes)
{
    const char *only = getenv("PLANT"); /* number n: that one only */
    struct crew crew = {.processes = processes, .patience = 1800, .quiet = true};
    struct task tasks[BUG_COUNT + 1];
    struct outcome outcomes[BUG_COUNT + 1] = {{.signal = 0}};
    size_t count = 0, caught = 0;

    for (size_t i = 0; i <= BUG_COUNT; i++) {
        size_t bug = BUG_COUNT - i; /* the one that takes longest, none, first */
        if (!only || (bug < BUG_COUNT && atoi(only) == bugs[bug].number))
            tasks[count++] = (struct task){.stage = "planted", .number = bug, .run = hunt_one, .seed = seed};
    }
    if (!crew_run(&crew, tasks, count, outcomes))
        return false;
    for (size_t i = count; i-- > 0;) {
        const struct outcome *outcome = &outcomes[i];
        size_t bug = tasks[i].number;
        bool seen = outcome->counters.violations != 0;
        if (bug == BUG_COUNT) {
            printf("no planted bug: %s%s\n", seen ? "SOMETHING SEEN: " : "nothing seen", outcome->counters.first);
            caught = seen ? 0 : caught;
            continue;
        }
        caught += seen;
        printf("planted bug %d (%s): %s: %s\n", bugs[bug].number, bugs[bug].what, seen ? "caught" : "NOT CAUGHT",
               outcome->counters.first);
    }
    printf("planted_bugs_caught: %zu of %zu\n", caught, BUG_COUNT);
    return caught == (only ? 1 : BUG_COUNT);
}
#endif
