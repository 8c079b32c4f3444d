/* A file system in memory that knows what a disk would have: what was synced, and what was only written.
 *
 * Each file has the bytes everybody sees, the bytes that are durable, and the writes in between, in order; each directory
 * likewise its names. sync() of a file makes its writes durable (data and size, not its name); of a directory, its names.
 * At any moment simfs_crash() makes the file system that a power cut would leave, by one of many choices of what made it
 * to the disk. Any call can be made to fail. One thread. */
#ifndef VECDB_TESTS_SIMFS_H
#define VECDB_TESTS_SIMFS_H

#include "base/vfs.h"

struct simfs;

struct simfs *simfs_create(void);
void simfs_free(struct simfs *fs);
/** To hand to the library. The root is "."; directories in it are called by their names. */
const struct vfs *simfs_vfs(struct simfs *fs);

/* -- crashes */

enum simfs_pick {
    PICK_KILL,    /* the process died, the machine lives: all is there, and still not durable (M0) */
    PICK_NONE,    /* nothing but what is durable (M1) */
    PICK_PREFIX,  /* of each file and directory the first so many writes; value seeds (M2) */
    PICK_MASK,    /* atom i is kept when bit i of value is set (M3, as are the rest) */
    PICK_ALL_BUT, /* all atoms but number value */
    PICK_ONLY,    /* atom number value */
    PICK_RANDOM,  /* any; lost sectors are old, zeros or garbage; value seeds */
};
/** What may or may not be durable, in 512-byte sectors, sizes and names. */
size_t simfs_atoms(const struct simfs *fs);
/** The file system after a crash: nothing open, no lock held, no faults set. */
struct simfs *simfs_crash(const struct simfs *fs, enum simfs_pick pick, uint64_t value);
/** Called before each call that changes something. */
void simfs_set_hook(struct simfs *fs, void (*hook)(void *context, struct simfs *fs), void *context);

/* -- faults */

struct simfs_faults {
    uint64_t fail_at;    /* this call fails, counted from 1 over all calls since simfs_set_faults(); 0: none */
    bool forever;        /* and all calls after it */
    int error;           /* with this errno */
    bool only_syncs;     /* count syncs only */
    bool old_content;    /* after a failed sync, readers see the old bytes again; otherwise the new ones */
    bool short_transfers;/* reads and writes do less than asked */
    unsigned interrupts; /* each call is interrupted so many times first */
    uint64_t quota;      /* bytes of all files; 0: no limit */
};
void simfs_set_faults(struct simfs *fs, const struct simfs_faults *faults); /* NULL: none */
/** Calls counted since simfs_set_faults(), and whether the fault was hit. */
uint64_t simfs_calls(const struct simfs *fs);
bool simfs_fault_hit(const struct simfs *fs);
/** All syncs since the beginning, and those that came on a file after one failed there: the library must never do it. */
uint64_t simfs_syncs(const struct simfs *fs);
uint64_t simfs_syncs_after_failure(const struct simfs *fs);

/* -- looking and meddling */

/** Descriptors and maps that are open. */
size_t simfs_open_count(const struct simfs *fs);
uint64_t simfs_used(const struct simfs *fs);
/** Names in a directory, in order of creation; NULL past the last. */
const char *simfs_name(const struct simfs *fs, const char *dir, size_t i);
/** A file's bytes, to look at or to change in place (then simfs_settle()); NULL when it is not there. */
uint8_t *simfs_bytes(struct simfs *fs, const char *dir, const char *name, size_t *size);
/** Replace a file, or make it. */
void simfs_put(struct simfs *fs, const char *dir, const char *name, const void *data, size_t size);
void simfs_remove(struct simfs *fs, const char *dir, const char *name);
/** Everything visible is durable from now on. */
void simfs_settle(struct simfs *fs);

#endif
