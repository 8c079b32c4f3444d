/* Runs workloads of a driver on a simulated disk and breaks them in every way the disk, the system and the allocator can:
 * each function is one kind of breaking, adds to the counters, and reports what should not have happened. */
#ifndef VECDB_TESTS_HARNESS_H
#define VECDB_TESTS_HARNESS_H

#include "support/oracle.h"

struct counters {
    uint64_t crash_states, nested_crashes, io_faults, fsync_faults, full_faults, oom_faults, byte_flips, truncations, kills,
        model_ops, probes, violations;
    bool quiet;      /* count violations, do not print them: for planted bugs */
    char first[200]; /* the first of them, then */
};

/** How much of everything. */
struct effort {
    size_t workload_steps;
    size_t exhaustive_atoms; /* all subsets up to so many atoms; samples beyond */
    size_t samples;          /* random subsets otherwise, and "all but one", "only one" each */
    size_t nested_every;     /* crash the recovery too, of every n-th state; 0: never */
    size_t continue_every;   /* go on working after recovery, of every n-th state */
};

void crash_states(const struct driver *driver, uint64_t seed, const struct effort *effort, struct counters *counters);
/** Every `stride`-th call fails, beginning with the one after `from`; so that several processes can share the work. */
void crash_io_faults(const struct driver *driver, uint64_t seed, size_t steps, size_t from, size_t stride,
                     struct counters *counters);
void crash_fsync_faults(const struct driver *driver, uint64_t seed, size_t steps, struct counters *counters);
void crash_full_disk(const struct driver *driver, uint64_t seed, size_t steps, struct counters *counters);
/** Allocations, likewise. */
void crash_oom(const struct driver *driver, uint64_t seed, size_t steps, size_t from, size_t stride, struct counters *counters);
/** Signals and short transfers only: nothing may be noticed. */
void crash_interruptions(const struct driver *driver, uint64_t seed, size_t steps, struct counters *counters);
/** Random steps, reopening now and then, compared with the model after each. */
void crash_model(const struct driver *driver, uint64_t seed, size_t steps, struct counters *counters);
/** Real processes on a real directory, killed at random. */
void crash_kills(const struct driver *driver, uint64_t seed, size_t count, const char *directory, struct counters *counters);

/** A violation: count it, and say what and how to see it again. */
void crash_violation(struct counters *counters, const struct driver *driver, uint64_t seed, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#endif
