/* What a database may hold after a crash: the state after some prefix of the steps that were issued, no shorter than what
 * was promised to be durable. A step is one call; it is there whole or not at all. */
#ifndef VECDB_TESTS_ORACLE_H
#define VECDB_TESTS_ORACLE_H

#include "base/vfs.h"
#include "vecdb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rng;

struct step {
    uint32_t kind, mode; /* the driver's; mode is a vecdb_durability where that matters */
    uint64_t value;      /* seeds what the step writes */
};

/** Something that keeps data on a struct vfs, and says what it should look like. */
struct driver {
    const char *name;
    /** Any step; kind REOPEN is the harness' own and never made here. */
    void (*make_step)(struct rng *rng, struct step *out);
    /** Open, or create. NULL, with the status, on failure. */
    void *(*open)(const struct vfs *vfs, vecdb_status *status);
    void (*close)(void *db);
    /** OK, a failure that left nothing behind, or VECDB_ERR_POISONED: may be there or not. */
    vecdb_status (*do_step)(void *db, const struct step *step);
    /** A hash of all that can be seen; also checks what it sees. */
    vecdb_status (*state)(void *db, uint64_t *hash);
    /** What state() should be after these steps. */
    uint64_t (*expect)(const struct step *steps, size_t count);
    /** Whether OK from this step means that it and all before it are durable. */
    bool (*promises)(const struct step *step);
    /** The directory in the file system that holds the database. */
    const char *directory;
};

#define ORACLE_MAX_STEPS 4096

struct oracle {
    const struct driver *driver;
    struct step steps[ORACLE_MAX_STEPS];
    uint64_t hashes[ORACLE_MAX_STEPS + 1]; /* hashes[i]: after i steps */
    size_t count;                          /* issued */
    size_t durable;                        /* promised */
};

void oracle_init(struct oracle *oracle, const struct driver *driver);
/** A step is about to be done: from here on it may be found. */
void oracle_begin(struct oracle *oracle, const struct step *step);
/** It returned. */
void oracle_end(struct oracle *oracle, vecdb_status status);
/** Which prefix a state is, at least `durable` and at most `count`; -1: none, a violation. */
long oracle_find(const struct oracle *oracle, uint64_t hash);
/** The database was opened and holds this prefix: the rest is gone, what is there stays. */
void oracle_settle(struct oracle *oracle, size_t prefix);

#endif
