#include "crash/harness.h"

#include "base/error.h"
#include "base/rng.h"
#include "support/fault.h"
#include "support/simfs.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PRINTED 20

void crash_violation(struct counters *counters, const struct driver *driver, uint64_t seed, const char *format, ...)
{
    va_list arguments;

    if (counters->violations++ == 0) {
        va_start(arguments, format);
        vsnprintf(counters->first, sizeof counters->first, format, arguments);
        va_end(arguments);
    }
    if (counters->violations > MAX_PRINTED || counters->quiet)
        return;
    printf("VIOLATION %s seed %llu: ", driver->name, (unsigned long long)seed);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
    fflush(stdout);
}

static void make_steps(const struct driver *driver, uint64_t seed, struct step *steps, size_t count)
{
    struct rng rng = rng_seeded(seed);

    for (size_t i = 0; i < count; i++)
        driver->make_step(&rng, &steps[i]);
}

/* -- crash states */

struct exploration {
    const struct driver *driver;
    uint64_t seed;
    const struct effort *effort;
    struct counters *counters;
    const struct oracle *oracle;
    struct rng rng;
    size_t moment;   /* number of the call before which the crash happens */
    size_t tried;    /* states */
    bool nested;     /* this is a crash inside recovery */
    const char *outer; /* the crash before, for messages */
};

static const char *pick_name(enum simfs_pick pick)
{
    static const char *const names[] = {"kill", "none", "prefix", "mask", "all but", "only", "random"};

    return names[pick];
}

static void explore(struct exploration *exploration, struct simfs *fs);

static void nested_hook(void *context, struct simfs *fs)
{
    struct exploration *exploration = context;

    exploration->moment++;
    explore(exploration, fs);
}

/* After a recovery: what was recovered must be durable, and the database must be fit for more. */
static void check_afterlife(struct exploration *exploration, struct simfs *image, size_t prefix, const char *what)
{
    const struct driver *driver = exploration->driver;
    static struct oracle oracle;
    struct step step;
    vecdb_status status;
    uint64_t hash = 0;
    void *db;

    oracle = *exploration->oracle;
    oracle_settle(&oracle, prefix);
    for (int round = 0; round < 2; round++) {
        db = driver->open(simfs_vfs(image), &status);
        if (!db) {
            crash_violation(exploration->counters, driver, exploration->seed, "%s: opening again: %s", what,
                            error_last()->message);
            return;
        }
        for (int i = 0; i < 3; i++) {
            driver->make_step(&exploration->rng, &step);
            oracle_begin(&oracle, &step);
            status = driver->do_step(db, &step);
            oracle_end(&oracle, status);
            if (status < 0)
                crash_violation(exploration->counters, driver, exploration->seed, "%s: step of kind %u afterwards: %s", what,
                                step.kind, error_last()->message);
        }
        error_clear();
        if (driver->state(db, &hash) != VECDB_OK || hash != oracle.hashes[oracle.count])
            crash_violation(exploration->counters, driver, exploration->seed, "%s: wrong state after going on: %s", what,
                            error_last()->message);
        driver->close(db);
    }
}

static void check_state(struct exploration *exploration, struct simfs *fs, enum simfs_pick pick, uint64_t value)
{
    const struct driver *driver = exploration->driver;
    struct simfs *image = simfs_crash(fs, pick, value);
    struct exploration inner = *exploration;
    const struct effort *effort = exploration->effort;
    char what[160];
    vecdb_status status;
    uint64_t hash = 0;
    long prefix;
    void *db;

    snprintf(what, sizeof what, "%s%scall %zu, %s %llu", exploration->outer, exploration->nested ? "; then " : "",
             exploration->moment, pick_name(pick), (unsigned long long)value);
    exploration->tried++;
    if (exploration->nested) {
        exploration->counters->nested_crashes++;
    } else {
        exploration->counters->crash_states++;
        if (effort->nested_every && exploration->tried % effort->nested_every == 0) {
            inner.nested = true;
            inner.moment = 0;
            inner.outer = what;
            simfs_set_hook(image, nested_hook, &inner);
        }
    }
    db = driver->open(simfs_vfs(image), &status);
    simfs_set_hook(image, NULL, NULL);
    if (!db) {
        crash_violation(exploration->counters, driver, exploration->seed, "%s: does not open: %s", what,
                        error_last()->message);
        simfs_free(image);
        return;
    }
    if (driver->state(db, &hash) != VECDB_OK) {
        crash_violation(exploration->counters, driver, exploration->seed, "%s: %s", what, error_last()->message);
        prefix = -1;
    } else if ((prefix = oracle_find(exploration->oracle, hash)) < 0) {
        crash_violation(exploration->counters, driver, exploration->seed,
                        "%s: the state is none of those after %zu .. %zu steps", what, exploration->oracle->durable,
                        exploration->oracle->count);
    }
    driver->close(db);
    if (simfs_open_count(image) != 0)
        crash_violation(exploration->counters, driver, exploration->seed, "%s: %zu files left open", what,
                        simfs_open_count(image));
    if (prefix >= 0 && effort->continue_every && exploration->tried % effort->continue_every == 0) {
        /* What a reader has seen must not go away with the next power cut. */
        struct simfs *after = simfs_crash(image, PICK_NONE, 0);
        check_afterlife(exploration, after, (size_t)prefix, what);
        simfs_free(after);
    }
    simfs_free(image);
}

static void explore(struct exploration *exploration, struct simfs *fs)
{
    vecdb_error saved = *error_last();
    const struct effort *effort = exploration->effort;
    size_t atoms = simfs_atoms(fs), samples = exploration->nested ? 2 : effort->samples;
    size_t exhaustive = exploration->nested ? 2 : effort->exhaustive_atoms;

    check_state(exploration, fs, PICK_KILL, 0);
    check_state(exploration, fs, PICK_NONE, 0);
    if (atoms > 0 && atoms <= exhaustive) {
        for (uint64_t mask = 1; mask < (uint64_t)1 << atoms; mask++)
            check_state(exploration, fs, PICK_MASK, mask);
    } else if (atoms > 0) {
        for (size_t i = 0; i < samples; i++) {
            check_state(exploration, fs, PICK_RANDOM, rng_next(&exploration->rng));
            check_state(exploration, fs, PICK_ALL_BUT, rng_below(&exploration->rng, atoms));
            check_state(exploration, fs, PICK_ONLY, rng_below(&exploration->rng, atoms));
        }
    }
    if (atoms > 1)
        check_state(exploration, fs, PICK_PREFIX, rng_next(&exploration->rng));
    error_adopt(&saved);
}

static void outer_hook(void *context, struct simfs *fs)
{
    struct exploration *exploration = context;

    exploration->moment++;
    explore(exploration, fs);
}

void crash_states(const struct driver *driver, uint64_t seed, const struct effort *effort, struct counters *counters)
{
    struct oracle *oracle = malloc(sizeof *oracle);
    struct step *steps = calloc(effort->workload_steps, sizeof *steps);
    struct simfs *fs = simfs_create();
    struct exploration exploration = {driver, seed, effort, counters, oracle, rng_seeded(seed), .outer = ""};
    vecdb_status status;
    void *db;

    make_steps(driver, seed, steps, effort->workload_steps);
    oracle_init(oracle, driver);
    simfs_set_hook(fs, outer_hook, &exploration);
    db = driver->open(simfs_vfs(fs), &status);
    for (size_t i = 0; db && i < effort->workload_steps; i++) {
        oracle_begin(oracle, &steps[i]);
        status = driver->do_step(db, &steps[i]);
        oracle_end(oracle, status);
        if (status < 0)
            crash_violation(counters, driver, seed, "step %zu: %s", i, error_last()->message);
        if (rng_below(&exploration.rng, 8) == 0) {
            uint64_t hash = 0;
            driver->close(db);
            db = driver->open(simfs_vfs(fs), &status);
            if (!db || driver->state(db, &hash) != VECDB_OK || hash != oracle->hashes[oracle->count])
                crash_violation(counters, driver, seed, "step %zu: wrong after closing and opening", i);
            oracle_settle(oracle, oracle->count);
        }
    }
    if (!db)
        crash_violation(counters, driver, seed, "does not open: %s", error_last()->message);
    else
        driver->close(db);
    explore(&exploration, fs);
    simfs_set_hook(fs, NULL, NULL);
    simfs_free(fs);
    free(steps);
    free(oracle);
}

/* -- faults */

/* A workload on a disk that fails. Steps that fail are as if they had never been; reopening is tried when the database is
 * not open, or poisoned. */
struct faulty_run {
    const struct driver *driver;
    struct counters *counters;
    uint64_t seed;
    struct oracle *oracle;
    struct simfs *fs;
    char what[160];
    bool (*allowed)(vecdb_status status);
    bool never_poisoned;
    bool cut_after_failure; /* try that, once */
};

static void check_failure(struct faulty_run *run, vecdb_status status, const char *where)
{
    if (status == VECDB_ERR_POISONED && run->never_poisoned)
        crash_violation(run->counters, run->driver, run->seed, "%s: %s: poisoned: %s", run->what, where,
                        error_last()->message);
    else if (status != VECDB_ERR_POISONED && !run->allowed(status))
        crash_violation(run->counters, run->driver, run->seed, "%s: %s: status %d: %s", run->what, where, status,
                        error_last()->message);
}

/* A step has failed, and is said to have left nothing: also not after a power cut that loses one thing of those unsynced. */
static void check_cut_after_failure(struct faulty_run *run)
{
    size_t atoms = simfs_atoms(run->fs);

    for (size_t atom = 0; atom < atoms && atom < 16; atom++) {
        struct simfs *image = simfs_crash(run->fs, PICK_ALL_BUT, atom);
        vecdb_status status;
        uint64_t hash = 0;
        void *db = run->driver->open(simfs_vfs(image), &status);

        if (!db || run->driver->state(db, &hash) != VECDB_OK || oracle_find(run->oracle, hash) < 0)
            crash_violation(run->counters, run->driver, run->seed,
                            "%s: a power cut right after (all but %zu) shows none of the states after %zu .. %zu steps",
                            run->what, atom, run->oracle->durable, run->oracle->count);
        if (db)
            run->driver->close(db);
        simfs_free(image);
    }
}

/* A step has failed: who reads on must see the state before it, if anything can be read. */
static void check_unchanged(struct faulty_run *run, void *db, size_t step)
{
    vecdb_error failure = *error_last();
    uint64_t hash = 0;
    vecdb_status status = run->driver->state(db, &hash);

    if (status == VECDB_OK && oracle_find(run->oracle, hash) < 0)
        crash_violation(run->counters, run->driver, run->seed, "%s: step %zu failed, and left a state of its own: %s",
                        run->what, step, failure.message);
    else if (status == VECDB_ERR_CORRUPT)
        crash_violation(run->counters, run->driver, run->seed, "%s: after step %zu failed: %s", run->what, step,
                        error_last()->message);
    error_adopt(&failure);
}

static void *faulty_open(struct faulty_run *run)
{
    vecdb_status status = VECDB_OK;
    uint64_t hash = 0;
    long prefix;
    void *db = run->driver->open(simfs_vfs(run->fs), &status);

    if (!db) {
        check_failure(run, status, "opening");
        return NULL;
    }
    status = run->driver->state(db, &hash);
    if (status != VECDB_OK) {
        check_failure(run, status, "reading");
        run->driver->close(db);
        return NULL;
    }
    prefix = oracle_find(run->oracle, hash);
    if (prefix < 0)
        crash_violation(run->counters, run->driver, run->seed, "%s: opening shows none of the states after %zu .. %zu steps",
                        run->what, run->oracle->durable, run->oracle->count);
    else
        oracle_settle(run->oracle, (size_t)prefix);
    return db;
}

static void faulty_workload(struct faulty_run *run, const struct step *steps, size_t count)
{
    const struct driver *driver = run->driver;
    vecdb_status status;
    bool was_poisoned = false;
    void *db = faulty_open(run);

    for (size_t i = 0; i < count; i++) {
        if (!db && !(db = faulty_open(run)))
            continue;
        oracle_begin(run->oracle, &steps[i]);
        status = driver->do_step(db, &steps[i]);
        if (status >= 0 && was_poisoned && driver->promises(&steps[i]))
            crash_violation(run->counters, driver, run->seed, "%s: step %zu acknowledged after poisoning", run->what, i);
        if (status == VECDB_ERR_POISONED && was_poisoned)
            run->oracle->count--; /* refused before anything was done */
        else
            oracle_end(run->oracle, status);
        if (status < 0)
            check_failure(run, status, "step");
        if (status < 0 && !was_poisoned)
            check_unchanged(run, db, i);
        if (status < 0 && status != VECDB_ERR_POISONED && run->cut_after_failure) {
            run->cut_after_failure = false; /* the first is enough */
            check_cut_after_failure(run);
        }
        if (status == VECDB_ERR_POISONED)
            was_poisoned = true;
        if (i % 5 == 4) {
            driver->close(db);
            was_poisoned = false;
            db = faulty_open(run);
        }
    }
    if (db)
        driver->close(db);
    if (simfs_open_count(run->fs))
        crash_violation(run->counters, driver, run->seed, "%s: %zu files left open", run->what,
                        simfs_open_count(run->fs));
}

/* The disk works again: it must open, and hold a legal state; before and after a power cut. */
static void faulty_aftermath(struct faulty_run *run)
{
    const enum simfs_pick picks[] = {PICK_NONE, PICK_RANDOM, PICK_KILL};

    simfs_set_faults(run->fs, NULL);
    for (size_t i = 0; i < sizeof picks / sizeof picks[0]; i++) {
        struct simfs *image = simfs_crash(run->fs, picks[i], run->seed + i);
        vecdb_status status;
        uint64_t hash = 0;
        void *db = run->driver->open(simfs_vfs(image), &status);

        if (!db)
            crash_violation(run->counters, run->driver, run->seed, "%s: does not open after it (%s): %s", run->what,
                            pick_name(picks[i]), error_last()->message);
        else if (run->driver->state(db, &hash) != VECDB_OK || oracle_find(run->oracle, hash) < 0)
            crash_violation(run->counters, run->driver, run->seed,
                            "%s: after it (%s) the state is none of those after %zu .. %zu steps", run->what,
                            pick_name(picks[i]), run->oracle->durable, run->oracle->count);
        if (db)
            run->driver->close(db);
        simfs_free(image);
    }
}

static bool any_io_status(vecdb_status status)
{
    return status == VECDB_ERR_IO || status == VECDB_ERR_FULL || status == VECDB_ERR_NOMEM || status == VECDB_ERR_READONLY;
}

static bool only_full(vecdb_status status) { return status == VECDB_ERR_FULL; }
static bool only_nomem(vecdb_status status) { return status == VECDB_ERR_NOMEM; }
static bool nothing_fails(vecdb_status status) { return false; }

/* One run under faults, aftermath included. False when the fault was not reached. */
static bool fault_run(struct faulty_run *run, const struct step *steps, size_t count, const struct simfs_faults *faults)
{
    bool hit;

    run->fs = simfs_create();
    oracle_init(run->oracle, run->driver);
    simfs_set_faults(run->fs, faults);
    faulty_workload(run, steps, count);
    hit = simfs_fault_hit(run->fs);
    if (simfs_syncs_after_failure(run->fs))
        crash_violation(run->counters, run->driver, run->seed, "%s: a failed sync was repeated", run->what);
    faulty_aftermath(run);
    simfs_free(run->fs);
    return hit;
}

void crash_io_faults(const struct driver *driver, uint64_t seed, size_t steps, size_t from, size_t stride,
                     struct counters *counters)
{
    static const int errors[] = {EIO, ENOSPC, EDQUOT, EMFILE, EROFS, ENOMEM};
    struct oracle *oracle = malloc(sizeof *oracle);
    struct step *workload = calloc(steps, sizeof *workload);
    struct faulty_run run = {driver, counters, seed, oracle, .allowed = any_io_status};
    bool hit = true;

    make_steps(driver, seed, workload, steps);
    for (uint64_t call = 1 + from; hit; call += stride) {
        hit = false;
        for (size_t e = 0; e < sizeof errors / sizeof errors[0]; e++)
            for (int forever = 0; forever < 2; forever++) {
                struct simfs_faults faults = {.fail_at = call, .forever = forever, .error = errors[e]};
                snprintf(run.what, sizeof run.what, "call %llu fails %s with %s", (unsigned long long)call,
                         forever ? "forever" : "once", strerror(errors[e]));
                run.cut_after_failure = !forever;
                if (fault_run(&run, workload, steps, &faults)) {
                    hit = true;
                    counters->io_faults++;
                }
            }
    }
    free(workload);
    free(oracle);
}

void crash_fsync_faults(const struct driver *driver, uint64_t seed, size_t steps, struct counters *counters)
{
    struct oracle *oracle = malloc(sizeof *oracle);
    struct step *workload = calloc(steps, sizeof *workload);
    struct faulty_run run = {driver, counters, seed, oracle, .allowed = any_io_status};
    bool hit = true;

    make_steps(driver, seed, workload, steps);
    for (uint64_t call = 1; hit; call++) {
        hit = false;
        for (int variant = 0; variant < 4; variant++) {
            struct simfs_faults faults = {.fail_at = call, .only_syncs = true, .error = EIO,
                                          .old_content = variant & 1, .forever = variant & 2};
            snprintf(run.what, sizeof run.what, "sync %llu fails %s, readers see %s bytes", (unsigned long long)call,
                     variant & 2 ? "forever" : "once", variant & 1 ? "old" : "new");
            if (fault_run(&run, workload, steps, &faults)) {
                hit = true;
                counters->fsync_faults++;
            }
        }
    }
    free(workload);
    free(oracle);
}

void crash_full_disk(const struct driver *driver, uint64_t seed, size_t steps, struct counters *counters)
{
    struct oracle *oracle = malloc(sizeof *oracle);
    struct step *workload = calloc(steps, sizeof *workload);
    struct faulty_run run = {driver, counters, seed, oracle, .allowed = only_full, .never_poisoned = true};
    bool hit = true;

    make_steps(driver, seed, workload, steps);
    for (uint64_t quota = 1; hit; quota += quota < 100000 ? 997 : 20011) { /* a log sets a megabyte aside */
        struct simfs_faults faults = {.quota = quota};
        snprintf(run.what, sizeof run.what, "disk of %llu bytes", (unsigned long long)quota);
        hit = fault_run(&run, workload, steps, &faults);
        counters->full_faults += hit;

        /* Full in the middle, then space again: writing must go on without opening anew. */
        run.fs = simfs_create();
        oracle_init(oracle, driver);
        void *db = faulty_open(&run);
        size_t i = 0;
        for (; db && i < steps / 2; i++) {
            oracle_begin(oracle, &workload[i]);
            oracle_end(oracle, driver->do_step(db, &workload[i]));
        }
        simfs_set_faults(run.fs, &faults);
        for (; db && i < steps * 3 / 4; i++) {
            vecdb_status status;
            oracle_begin(oracle, &workload[i]);
            status = driver->do_step(db, &workload[i]);
            oracle_end(oracle, status);
            if (status < 0)
                check_failure(&run, status, "step on a full disk");
        }
        simfs_set_faults(run.fs, NULL);
        for (; db && i < steps; i++) {
            vecdb_status status;
            oracle_begin(oracle, &workload[i]);
            status = driver->do_step(db, &workload[i]);
            oracle_end(oracle, status);
            if (status < 0)
                crash_violation(counters, driver, seed, "%s: step %zu with space again: %s", run.what, i,
                                error_last()->message);
        }
        uint64_t hash = 0;
        if (db && (driver->state(db, &hash) != VECDB_OK || hash != oracle->hashes[oracle->count]))
            crash_violation(counters, driver, seed, "%s: wrong state with space again", run.what);
        if (db)
            driver->close(db);
        faulty_aftermath(&run);
        simfs_free(run.fs);
    }
    free(workload);
    free(oracle);
}

void crash_interruptions(const struct driver *driver, uint64_t seed, size_t steps, struct counters *counters)
{
    struct oracle *oracle = malloc(sizeof *oracle);
    struct step *workload = calloc(steps, sizeof *workload);
    struct faulty_run run = {driver, counters, seed, oracle, .allowed = nothing_fails, .never_poisoned = true};

    make_steps(driver, seed, workload, steps);
    for (unsigned i = 1; i < 4; i++) {
        struct simfs_faults faults = {.interrupts = i & 1 ? 3 : 0, .short_transfers = i & 2};
        snprintf(run.what, sizeof run.what, "%u interruptions, %s transfers", faults.interrupts, i & 2 ? "short" : "whole");
        (void)fault_run(&run, workload, steps, &faults);
        counters->io_faults++;
    }
    free(workload);
    free(oracle);
}

void crash_oom(const struct driver *driver, uint64_t seed, size_t steps, size_t from, size_t stride, struct counters *counters)
{
    struct oracle *oracle = malloc(sizeof *oracle);
    struct step *workload = calloc(steps, sizeof *workload);
    struct faulty_run run = {driver, counters, seed, oracle, .allowed = only_nomem, .never_poisoned = true};
    bool hit = true;

    make_steps(driver, seed, workload, steps);
    for (uint64_t n = 1 + from; hit; n += stride) {
        hit = false;
        for (int forever = 0; forever < 2; forever++) {
            snprintf(run.what, sizeof run.what, "allocation %llu fails %s", (unsigned long long)n,
                     forever ? "forever" : "once");
            run.fs = simfs_create();
            oracle_init(oracle, driver);
            fault_memory(n, forever);
            faulty_workload(&run, workload, steps);
            if (fault_memory_hit()) {
                hit = true;
                counters->oom_faults++;
            }
            if (fault_memory_live() != 0)
                crash_violation(counters, driver, seed, "%s: %lld blocks leaked", run.what,
                                (long long)fault_memory_live());
            fault_memory_end();
            faulty_aftermath(&run);
            simfs_free(run.fs);
        }
    }
    free(workload);
    free(oracle);
}

/* -- model */

void crash_model(const struct driver *driver, uint64_t seed, size_t steps, struct counters *counters)
{
    struct oracle *oracle = malloc(sizeof *oracle);
    struct simfs *fs = simfs_create();
    struct rng rng = rng_seeded(seed);
    vecdb_status status;
    void *db;

    oracle_init(oracle, driver);
    db = driver->open(simfs_vfs(fs), &status);
    for (size_t i = 0; db && i < steps; i++) {
        struct step step;
        uint64_t hash = 0;

        driver->make_step(&rng, &step);
        oracle_begin(oracle, &step);
        status = driver->do_step(db, &step);
        oracle_end(oracle, status);
        counters->model_ops++;
        if (status < 0 || driver->state(db, &hash) != VECDB_OK || hash != oracle->hashes[oracle->count]) {
            crash_violation(counters, driver, seed, "step %zu of kind %u: differs from the model", i, step.kind);
            break;
        }
        if (rng_below(&rng, 16) == 0) {
            struct simfs *next = rng_below(&rng, 2) ? simfs_crash(fs, PICK_RANDOM, rng_next(&rng)) : NULL;
            long prefix;

            driver->close(db);
            if (next) {
                simfs_free(fs);
                fs = next;
            }
            error_clear();
            db = driver->open(simfs_vfs(fs), &status);
            prefix = db && (status = driver->state(db, &hash)) == VECDB_OK ? oracle_find(oracle, hash) : -1;
            if (prefix < 0) {
                crash_violation(counters, driver, seed, "step %zu: wrong after %s: %s", i,
                                next ? "a power cut" : "closing",
                                db && status == VECDB_OK ? "a state that never was" : error_last()->message);
                break;
            }
            oracle_settle(oracle, (size_t)prefix);
        }
    }
    if (db)
        driver->close(db);
    simfs_free(fs);
    free(oracle);
}

/* -- kills */

/* The child works and tells, through the pipe, what it begins (its number) and what was promised. */
static void child_work(const struct driver *driver, const struct vfs *vfs, const struct step *steps, size_t from, size_t count,
                       int pipe_fd)
{
    vecdb_status status;
    void *db = driver->open(vfs, &status);

    if (!db)
        _exit(2);
    for (size_t i = from; i < count; i++) {
        uint32_t message[2] = {(uint32_t)i, 0};
        if (write(pipe_fd, message, sizeof message) != sizeof message)
            _exit(3);
        if (driver->do_step(db, &steps[i]) < 0)
            _exit(4);
        message[1] = 1;
        if (write(pipe_fd, message, sizeof message) != sizeof message)
            _exit(3);
    }
    driver->close(db);
    _exit(0);
}

/* All paths of the driver's directory, moved below `base`. */
struct moved_vfs {
    struct vfs vfs;
    char base[512];
};

static const char *moved_path(const struct vfs *vfs, const char *path, char *out, size_t size)
{
    const struct moved_vfs *moved = (const struct moved_vfs *)vfs;

    snprintf(out, size, "%s/%s", moved->base, path);
    return out;
}

static int moved_open_dir(const struct vfs *vfs, const char *path)
{
    char full[1024];

    return vfs_posix.open_dir(vfs, moved_path(vfs, path, full, sizeof full));
}

static int moved_make_dir(const struct vfs *vfs, const char *path)
{
    char full[1024];

    return vfs_posix.make_dir(vfs, moved_path(vfs, path, full, sizeof full));
}

void crash_kills(const struct driver *driver, uint64_t seed, size_t count, const char *directory, struct counters *counters)
{
    enum { STEPS = ORACLE_MAX_STEPS };
    struct oracle *oracle = malloc(sizeof *oracle);
    struct step *steps = calloc(STEPS, sizeof *steps);
    struct moved_vfs moved = {.vfs = vfs_posix};
    struct rng rng = rng_seeded(seed);
    size_t at = 0, round = 0;

    moved.vfs.open_dir = moved_open_dir;
    moved.vfs.make_dir = moved_make_dir;
    make_steps(driver, seed, steps, STEPS);
    for (size_t kill_number = 0; kill_number < count; kill_number++) {
        int ends[2], exit_status = 0;
        uint32_t message[2];
        pid_t child;
        vecdb_status status;
        uint64_t hash = 0;
        long prefix;
        void *db;

        if (at == 0) {
            snprintf(moved.base, sizeof moved.base, "%s/%s-%zu", directory, driver->name, round++);
            if (vfs_posix.make_dir(&vfs_posix, moved.base) < 0 || pipe(ends) != 0) {
                crash_violation(counters, driver, seed, "cannot make %s", moved.base);
                break;
            }
            oracle_init(oracle, driver);
        } else if (pipe(ends) != 0) {
            break;
        }
        child = fork();
        if (child == 0) {
            close(ends[0]);
            child_work(driver, &moved.vfs, steps, at, STEPS, ends[1]);
        }
        close(ends[1]);
        usleep((useconds_t)(500 + rng_below(&rng, 15000)));
        kill(child, SIGKILL);
        waitpid(child, &exit_status, 0);
        while (read(ends[0], message, sizeof message) == sizeof message) {
            if (message[1] == 0)
                oracle_begin(oracle, &steps[message[0]]);
            else
                oracle->durable = oracle->count; /* a killed process loses nothing that was acknowledged, in any mode */
        }
        close(ends[0]);
        counters->kills++;
        if (WIFEXITED(exit_status) && WEXITSTATUS(exit_status) != 0)
            crash_violation(counters, driver, seed, "kill %zu: the process had failed with %d", kill_number,
                            WEXITSTATUS(exit_status));
        db = driver->open(&moved.vfs, &status);
        prefix = db && driver->state(db, &hash) == VECDB_OK ? oracle_find(oracle, hash) : -1;
        if (prefix < 0) {
            crash_violation(counters, driver, seed, "kill %zu in %s: the state is none of those after %zu .. %zu steps: %s",
                            kill_number, moved.base, oracle->durable, oracle->count, db ? "" : error_last()->message);
            if (db)
                driver->close(db);
            break;
        }
        oracle_settle(oracle, (size_t)prefix);
        driver->close(db);
        at = (size_t)prefix;
        if (at + 64 > STEPS)
            at = 0;
    }
    free(steps);
    free(oracle);
}
