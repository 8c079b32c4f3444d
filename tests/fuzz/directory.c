/* A small, good database, and changes to its files: of each 6 bytes, which file, where, and up to three new bytes.
 * With checksums bypassed (-DVECDB_FUZZ) the changes reach every reader of every file; without, they must be found. */
#include "fuzz/fuzz.h"

#include "base/error.h"
#include "base/rng.h"
#include "crash/db_driver.c"
#include "support/simfs.h"

#include <stdlib.h>
#include <string.h>

#define MAX_FILES 64

/* The driver's own tests of damage are not for here. */
void crash_violation(struct counters *counters, const struct driver *driver, uint64_t seed, const char *format, ...)
{
    FUZZ_CHECK(false);
}

static struct simfs *make_sample(void)
{
    struct simfs *fs = simfs_create();
    struct rng rng = rng_seeded(3);
    vecdb_status status;
    void *db = db_driver.open(simfs_vfs(fs), &status);

    FUZZ_CHECK(db);
    for (int i = 0; i < 60; i++) {
        struct step step;
        db_driver.make_step(&rng, &step);
        FUZZ_CHECK(db_driver.do_step(db, &step) >= 0);
    }
    db_driver.close(db);
    simfs_settle(fs);
    return fs;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct simfs *sample;
    struct simfs *fs;
    vecdb_status status;
    uint64_t hash;
    size_t files = 0;
    void *db;

    if (!sample)
        sample = make_sample();
    fs = simfs_crash(sample, PICK_KILL, 0);
    while (simfs_name(fs, db_driver.directory, files))
        files++;
    for (; size >= 6; data += 6, size -= 6) {
        const char *name = simfs_name(fs, db_driver.directory, data[0] % files);
        size_t length = 0, at = data[1] | (size_t)data[2] << 8;
        uint8_t *bytes = simfs_bytes(fs, db_driver.directory, name, &length);
        size_t count = 1 + data[0] / 86;
        if (length == 0)
            continue;
        at %= length;
        memcpy(bytes + at, data + 3, count < length - at ? count : length - at);
    }
    simfs_settle(fs);
    db = db_driver.open(simfs_vfs(fs), &status);
    if (db) {
        (void)db_driver.state(db, &hash);
        db_driver.close(db);
    }
    FUZZ_CHECK(simfs_open_count(fs) == 0);
    simfs_free(fs);
    return 0;
}
