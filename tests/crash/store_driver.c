#include "crash/store_driver.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/plant.h"
#include "base/rng.h"
#include "storage/store.h"
#include "support/simfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { APPEND, FLUSH, CATALOG, SYNC };
#define FRAME_TYPE 7
#define DIRECTORY "db"

struct toy {
    struct store *store;
    uint64_t chain, catalog, lsn;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t counter = a ^ (b * 0x9E3779B97F4A7C15ull);

    return rng_mix(&counter);
}

static void make_step(struct rng *rng, struct step *out)
{
    uint64_t kind = rng_below(rng, 16);

    *out = (struct step){.value = rng_next(rng)};
    if (kind < 11) {
        out->kind = APPEND;
        out->mode = kind < 6 ? VECDB_DURABILITY_FULL : kind < 9 ? VECDB_DURABILITY_NORMAL : VECDB_DURABILITY_NONE;
    } else {
        out->kind = kind < 13 ? FLUSH : kind < 15 ? CATALOG : SYNC;
    }
}

static uint64_t expect(const struct step *steps, size_t count)
{
    uint64_t chain = 0, catalog = 0;

    for (size_t i = 0; i < count; i++) {
        if (steps[i].kind == APPEND)
            chain = mix(chain, steps[i].value);
        catalog += steps[i].kind == CATALOG;
    }
    return mix(chain, catalog);
}

static bool promises(const struct step *step)
{
    return step->kind != APPEND || step->mode == VECDB_DURABILITY_FULL;
}

/* -- a batch: its value, and bytes that follow from it */

static size_t batch_size(uint64_t value)
{
    switch (value % 8) {
    case 0:
        return 8;
    case 1:
        return 8 + value % 5000;
    default:
        return 8 + value % 200;
    }
}

static vecdb_status batch_make(uint64_t value, struct buf *out)
{
    size_t size = batch_size(value);

    TRY(buf_reserve(out, size));
    store_u64(out->data, value);
    for (size_t i = 8; i < size; i++)
        out->data[i] = (uint8_t)(value >> (i % 8 * 8)) ^ (uint8_t)i;
    out->size = size;
    return VECDB_OK;
}

static vecdb_status batch_check(const uint8_t *data, size_t size, uint64_t *value)
{
    *value = size >= 8 ? load_u64(data) : 0;
    if (size < 8 || size != batch_size(*value))
        return error_set(VECDB_ERR_CORRUPT, "test: batch of %zu bytes", size);
    for (size_t i = 8; i < size; i++)
        if (data[i] != ((uint8_t)(*value >> (i % 8 * 8)) ^ (uint8_t)i))
            return error_set(VECDB_ERR_CORRUPT, "test: batch is wrong at byte %zu", i);
    return VECDB_OK;
}

/* -- files: the common header, u64 chain, u64 lsn, 600 bytes that follow from chain, u64 checksum */

#define SEGMENT_SIZE (FORMAT_HEADER_SIZE + 16 + 600 + 8)

static vecdb_status write_file(struct toy *toy, enum file_kind kind, struct manifest_file *out)
{
    uint8_t bytes[SEGMENT_SIZE];
    struct file file;
    vecdb_status status;

    TRY(store_create_file(toy->store, kind, &out->id, &file));
    format_header_write(bytes, kind, store_manifest(toy->store)->uuid, out->id);
    store_u64(bytes + FORMAT_HEADER_SIZE, toy->chain);
    store_u64(bytes + FORMAT_HEADER_SIZE + 8, toy->lsn);
    for (size_t i = 0; i < 600; i++)
        bytes[FORMAT_HEADER_SIZE + 16 + i] = (uint8_t)(mix(toy->chain, i));
    out->size = sizeof bytes;
    out->checksum = checksum(bytes, sizeof bytes - 8, 0);
    store_u64(bytes + sizeof bytes - 8, out->checksum);
    status = file_write(&file, 0, bytes, sizeof bytes);
    if (status == VECDB_OK && !PLANTED(4))
        status = file_sync(&file);
    file_close(&file);
    if (status != VECDB_OK) {
        vecdb_error cause = *error_last();
        store_discard_file(toy->store, kind, out->id);
        return error_adopt(&cause);
    }
    return VECDB_OK;
}

static vecdb_status read_file(struct toy *toy, enum file_kind kind, const struct manifest_file *expected)
{
    struct format_header header;
    struct file_map map;
    struct file file;
    vecdb_status status;

    status = store_open_file(toy->store, kind, expected->id, &file);
    if (status == VECDB_ERR_NO_SUCH)
        return error_set(VECDB_ERR_CORRUPT, "file %llu is missing", (unsigned long long)expected->id);
    TRY(status);
    status = file_map(&file, expected->size, false, &map);
    file_close(&file);
    TRY(status);
    status = format_header_check(file.name, map.data, map.size, kind, store_manifest(toy->store)->uuid, expected->id, &header);
    if (status == VECDB_OK &&
        (map.size != SEGMENT_SIZE || load_u64(map.data + map.size - 8) != expected->checksum ||
         checksum(map.data, map.size - 8, 0) != expected->checksum))
        status = error_set(VECDB_ERR_CORRUPT, "%s: wrong checksum", file.name);
    if (status == VECDB_OK && kind == FILE_SEGMENT) {
        toy->chain = load_u64(map.data + FORMAT_HEADER_SIZE);
        toy->lsn = load_u64(map.data + FORMAT_HEADER_SIZE + 8);
    }
    file_unmap(&map);
    return status;
}

/* -- the database */

static vecdb_status apply(void *context, const struct wal_frame *frame, bool *needed)
{
    struct toy *toy = context;
    uint64_t value;

    if (frame->type != FRAME_TYPE || frame->lsn != toy->lsn + 1)
        return error_set(VECDB_ERR_CORRUPT, "test: frame %llu of type %u after %llu", (unsigned long long)frame->lsn,
                         frame->type, (unsigned long long)toy->lsn);
    TRY(batch_check(frame->payload, frame->size, &value));
    toy->chain = mix(toy->chain, value);
    toy->lsn = frame->lsn;
    return VECDB_OK;
}

static vecdb_status load(struct toy *toy)
{
    const struct manifest *manifest = store_manifest(toy->store);

    if (manifest->collection_count) {
        const struct manifest_collection *collection = &manifest->collections[0];
        toy->catalog = collection->next_auto_id - 1;
        for (size_t i = 0; i < collection->segment_count; i++) {
            const struct manifest_segment *segment = &collection->segments[i];
            TRY(read_file(toy, FILE_SEGMENT, &segment->file));
            if (segment->tombstones.id)
                TRY(read_file(toy, FILE_TOMBSTONES, &segment->tombstones));
            for (size_t f = 0; f < segment->index_count; f++)
                TRY(read_file(toy, FILE_INDEX, &segment->indexes[f].file));
        }
        if (toy->lsn != collection->checkpoint_lsn || toy->lsn != manifest->checkpoint_lsn)
            return error_set(VECDB_ERR_CORRUPT, "test: segment of %llu, checkpoint %llu", (unsigned long long)toy->lsn,
                             (unsigned long long)manifest->checkpoint_lsn);
    }
    return store_recover(toy->store, apply, toy);
}

static void toy_close(void *db)
{
    struct toy *toy = db;

    store_close(toy->store);
    mem_free(toy);
}

static void *open_with(const struct vfs *vfs, uint32_t align, unsigned flags, vecdb_status *status)
{
    struct store_options options = {.flags = flags, .wal_roll_size = 3000, .wal = {.align = align, .sync_after_bytes = 2000}};
    struct toy *toy = mem_zalloc(sizeof *toy);

    if (!toy) {
        *status = error_nomem("test database");
        return NULL;
    }
    *status = store_open(vfs, DIRECTORY, &options, &toy->store);
    if (*status == VECDB_OK)
        *status = load(toy);
    if (*status == VECDB_OK)
        return toy;
    vecdb_error cause = *error_last();
    toy_close(toy);
    error_adopt(&cause);
    return NULL;
}

static void *toy_open(const struct vfs *vfs, vecdb_status *status) { return open_with(vfs, 8, 0, status); }
static void *toy_open_aligned(const struct vfs *vfs, vecdb_status *status) { return open_with(vfs, 512, 0, status); }

static vecdb_status toy_state(void *db, uint64_t *hash)
{
    struct toy *toy = db;

    *hash = mix(toy->chain, toy->catalog);
    return VECDB_OK;
}

static vecdb_status append(struct toy *toy, const struct step *step)
{
    struct buf batch = {0};
    struct iovec parts[2];
    uint64_t lsn = 0;
    vecdb_status status = batch_make(step->value, &batch);

    if (status == VECDB_OK) {
        parts[0] = (struct iovec){batch.data, 3};
        parts[1] = (struct iovec){batch.data + 3, batch.size - 3};
        status = store_append(toy->store, FRAME_TYPE, parts, 2, &lsn);
    }
    buf_deinit(&batch);
    if (status == VECDB_OK)
        status = store_commit(toy->store, lsn, (vecdb_durability)step->mode);
    if (status == VECDB_OK) {
        toy->chain = mix(toy->chain, step->value);
        toy->lsn = lsn;
    }
    return status;
}

static vecdb_status first_collection(struct manifest *draft, struct manifest_collection **out)
{
    uint64_t id;

    if (draft->collection_count) {
        *out = &draft->collections[0];
        return VECDB_OK;
    }
    TRY(manifest_add_collection(draft, "schema", 6, out));
    TRY(manifest_add_partition(*out, "_default", &id));
    TRY(manifest_add_index(*out, "index", 1, "HNSW", 1, "M=16", &id));
    return manifest_set_alias(draft, "alias", (*out)->id);
}

static vecdb_status edit_flush(struct toy *toy, struct manifest *draft, const struct manifest_file files[3])
{
    struct manifest_collection *collection;
    struct manifest_segment segment = {.file = files[0], .tombstones = files[1], .row_count = 1, .deleted_count = 1};

    TRY(first_collection(draft, &collection));
    while (collection->segment_count)
        manifest_remove_segment(collection, collection->segments[0].file.id);
    segment.partition_id = collection->partitions[0].id;
    TRY(manifest_add_segment(collection, &segment));
    TRY(manifest_set_index_file(&collection->segments[0], collection->indexes[0].id, "HNSW", files[2]));
    collection->checkpoint_lsn = draft->checkpoint_lsn = toy->lsn;
    return VECDB_OK;
}

static vecdb_status flush(struct toy *toy)
{
    static const enum file_kind kinds[3] = {FILE_SEGMENT, FILE_TOMBSTONES, FILE_INDEX};
    struct manifest_file files[3] = {{0}};
    struct manifest *draft;
    vecdb_status status = VECDB_OK;
    vecdb_error cause;
    size_t made;

    for (made = 0; made < 3 && status == VECDB_OK; made++)
        status = write_file(toy, kinds[made], &files[made]);
    if (status != VECDB_OK)
        made--;
    if (status == VECDB_OK)
        status = store_begin(toy->store, &draft);
    if (status == VECDB_OK) {
        status = edit_flush(toy, draft, files);
        if (status == VECDB_OK)
            status = store_publish(toy->store);
        else
            store_abandon(toy->store);
    }
    if (status == VECDB_OK || status == VECDB_ERR_POISONED)
        return status;
    cause = *error_last();
    while (made-- > 0)
        store_discard_file(toy->store, kinds[made], files[made].id);
    return error_adopt(&cause);
}

static vecdb_status change_catalog(struct toy *toy)
{
    struct manifest_collection *collection;
    struct manifest *draft;
    vecdb_status status;

    TRY(store_begin(toy->store, &draft));
    status = first_collection(draft, &collection);
    if (status != VECDB_OK) {
        store_abandon(toy->store);
        return status;
    }
    collection->next_auto_id++;
    if (draft->collection_count == 1 && collection->segment_count == 0)
        collection->checkpoint_lsn = draft->checkpoint_lsn;
    TRY(store_publish(toy->store));
    toy->catalog++;
    return VECDB_OK;
}

static vecdb_status do_step(void *db, const struct step *step)
{
    struct toy *toy = db;

    switch (step->kind) {
    case APPEND:
        return append(toy, step);
    case FLUSH:
        return flush(toy);
    case CATALOG:
        return change_catalog(toy);
    default:
        return store_sync(toy->store);
    }
}

const struct driver store_driver = {"store", make_step, toy_open, toy_close, do_step, toy_state, expect, promises, DIRECTORY};
const struct driver store_driver_aligned = {
    "store-512", make_step, toy_open_aligned, toy_close, do_step, toy_state, expect, promises, DIRECTORY};

/* -- damage */

#define SAMPLE_STEPS 40

/* A database with every kind of file, two logs among them, closed; and the model of it. */
struct sample {
    struct simfs *fs;
    struct oracle oracle;
    uint64_t seed;
    struct counters *counters;
    char last_log[FILE_NAME_SIZE];
    size_t last_frame; /* offset of the last frame in it */
    uint64_t live_manifest;
};

static void sample_append(struct sample *sample, void *db, const struct step *step)
{
    oracle_begin(&sample->oracle, step);
    oracle_end(&sample->oracle, do_step(db, step));
}

static bool sample_make(struct sample *sample, uint64_t seed, struct counters *counters)
{
    struct step flush_step = {.kind = FLUSH}, step = {.kind = APPEND, .mode = VECDB_DURABILITY_FULL};
    struct rng rng = rng_seeded(seed);
    vecdb_status status;
    struct toy *db;

    *sample = (struct sample){.fs = simfs_create(), .seed = seed, .counters = counters};
    oracle_init(&sample->oracle, &store_driver);
    db = toy_open(simfs_vfs(sample->fs), &status);
    if (!db)
        return false;
    const struct manifest *manifest = store_manifest(db->store);
    int after_roll = 0;
    for (int i = 0; i < SAMPLE_STEPS || after_roll < 4; i++) {
        step.value = rng_next(&rng) / 8 * 8 + 2; /* small batches */
        if (i == SAMPLE_STEPS / 2)
            sample_append(sample, db, &flush_step);
        sample_append(sample, db, &step);
        after_roll = manifest->wal_count >= 2 ? after_roll + 1 : 0;
    }
    format_file_name(FILE_WAL, manifest->wals[manifest->wal_count - 1].id, sample->last_log);
    sample->live_manifest = manifest->generation;
    toy_close(db);
    simfs_settle(sample->fs);
    /* Where the last frame starts: its size is known. */
    size_t size;
    simfs_bytes(sample->fs, DIRECTORY, sample->last_log, &size);
    sample->last_frame = size - align_up(WAL_FRAME_HEADER_SIZE + batch_size(step.value), 8);
    return true;
}

enum verdict { AS_BEFORE, CORRUPT, PREFIX };

/* Open a damaged copy. What is found must be one of: all, as the oracle has it; E_CORRUPT; or, where the last acknowledged
 * batches may be lost, a prefix. Never anything else, and never a file left open. */
static void sample_judge(struct sample *sample, struct simfs *damaged, enum verdict expected, const char *what,
                         const char *name, size_t offset)
{
    vecdb_status status = VECDB_OK;
    uint64_t hash = 0;
    struct toy *db = toy_open(simfs_vfs(damaged), &status);
    enum verdict found = CORRUPT;

    if (db) {
        toy_state(db, &hash);
        found = hash == sample->oracle.hashes[sample->oracle.count] ? AS_BEFORE : PREFIX;
        if (found == PREFIX) {
            sample->oracle.durable = 0;
            if (oracle_find(&sample->oracle, hash) < 0)
                crash_violation(sample->counters, &store_driver, sample->seed, "%s %s at %zu: no prefix", what, name, offset);
            if (store_recovery(db->store)->dropped_bytes == 0 && expected == PREFIX && strcmp(what, "cut") != 0)
                crash_violation(sample->counters, &store_driver, sample->seed, "%s %s at %zu: dropped silently", what, name,
                                offset);
        }
        toy_close(db);
    } else if (status != VECDB_ERR_CORRUPT && status != VECDB_ERR_VERSION) {
        crash_violation(sample->counters, &store_driver, sample->seed, "%s %s at %zu: status %d: %s", what, name, offset,
                        status, error_last()->message);
    }
    if (found != expected)
        crash_violation(sample->counters, &store_driver, sample->seed, "%s %s at %zu: verdict %d, expected %d (%s)", what,
                        name, offset, found, expected, db ? "opened" : error_last()->message);
    if (simfs_open_count(damaged))
        crash_violation(sample->counters, &store_driver, sample->seed, "%s %s at %zu: files left open", what, name, offset);
}

static enum verdict flip_verdict(const struct sample *sample, const char *name, size_t offset)
{
    uint64_t generation;
    char copy;
    bool temporary;

    if (strcmp(name, "LOCK") == 0 || manifest_file_parse(name, &generation, &copy, &temporary))
        return AS_BEFORE; /* the other copy is good */
    if (strcmp(name, sample->last_log) == 0 && offset >= sample->last_frame)
        return PREFIX; /* nothing later says that the last batch was promised */
    return CORRUPT;
}

void store_byte_flips(uint64_t seed, size_t from, size_t stride, struct counters *counters)
{
    static struct sample sample;
    const char *name;

    if (!sample_make(&sample, seed, counters))
        return;
    for (size_t i = 0; (name = simfs_name(sample.fs, DIRECTORY, i)) != NULL; i++) {
        size_t size;
        simfs_bytes(sample.fs, DIRECTORY, name, &size);
        for (size_t offset = from; offset < size; offset += stride)
            for (int pattern = 0; pattern < 3; pattern++) {
                struct simfs *damaged = simfs_crash(sample.fs, PICK_KILL, 0);
                uint8_t *byte = simfs_bytes(damaged, DIRECTORY, name, &size) + offset, before = *byte;
                *byte = pattern == 0 ? before ^ 1 : pattern == 1 ? before ^ 0x80 : 0xFF;
                simfs_settle(damaged);
                if (before != 0xFF || pattern != 2) {
                    sample_judge(&sample, damaged, flip_verdict(&sample, name, offset), "flip in", name, offset);
                    counters->byte_flips++;
                }
                simfs_free(damaged);
            }
    }
    /* Both copies of the manifest: never back to an older one. */
    for (size_t offset = from; offset < 200; offset += stride) {
        struct simfs *damaged = simfs_crash(sample.fs, PICK_KILL, 0);
        for (char copy = 'a'; copy <= 'b'; copy++) {
            char file[FILE_NAME_SIZE];
            size_t size;
            manifest_file_name(sample.live_manifest, copy, false, file);
            simfs_bytes(damaged, DIRECTORY, file, &size)[offset] ^= 0x10;
        }
        simfs_settle(damaged);
        sample_judge(&sample, damaged, CORRUPT, "flip in both copies of", "the manifest", offset);
        counters->byte_flips++;
        simfs_free(damaged);
    }
    simfs_free(sample.fs);
}

static enum verdict cut_verdict(const struct sample *sample, const char *name, size_t length, bool missing)
{
    uint64_t generation;
    char copy;
    bool temporary;

    if (strcmp(name, "LOCK") == 0 || manifest_file_parse(name, &generation, &copy, &temporary))
        return AS_BEFORE;
    /* The end of the last log is the one place where a cut looks like a write that never happened. */
    return !missing && strcmp(name, sample->last_log) == 0 && length >= WAL_HEADER_SIZE ? PREFIX : CORRUPT;
}

void store_truncations(uint64_t seed, struct counters *counters)
{
    static struct sample sample;
    const char *name, *other;
    size_t size;

    if (!sample_make(&sample, seed, counters))
        return;
    for (size_t i = 0; (name = simfs_name(sample.fs, DIRECTORY, i)) != NULL; i++) {
        uint8_t *bytes = simfs_bytes(sample.fs, DIRECTORY, name, &size), *longer = malloc(size + 1);

        for (size_t length = 0; length < size; length++) {
            struct simfs *damaged = simfs_crash(sample.fs, PICK_KILL, 0);
            simfs_put(damaged, DIRECTORY, name, bytes, length);
            sample_judge(&sample, damaged, cut_verdict(&sample, name, length, false), "cut", name, length);
            counters->truncations++;
            simfs_free(damaged);
        }
        struct simfs *damaged = simfs_crash(sample.fs, PICK_KILL, 0);
        simfs_remove(damaged, DIRECTORY, name);
        sample_judge(&sample, damaged, cut_verdict(&sample, name, 0, true), "without", name, 0);
        counters->truncations++;
        simfs_free(damaged);

        damaged = simfs_crash(sample.fs, PICK_KILL, 0);
        memcpy(longer, bytes, size);
        longer[size] = 0x5A;
        simfs_put(damaged, DIRECTORY, name, longer, size + 1);
        free(longer);
        sample_judge(&sample, damaged, strcmp(name, sample.last_log) == 0 ? AS_BEFORE : cut_verdict(&sample, name, 0, true),
                     "longer", name, size);
        counters->truncations++;
        simfs_free(damaged);

        for (size_t j = 0; (other = simfs_name(sample.fs, DIRECTORY, j)) != NULL; j++) {
            size_t other_size;
            uint8_t *other_bytes = simfs_bytes(sample.fs, DIRECTORY, other, &other_size);
            uint64_t generation;
            char copy;
            bool temporary;
            if (i == j)
                continue;
            /* The other file in this one's place; the two copies of a manifest are equal. */
            bool same = other_size == size && memcmp(bytes, other_bytes, size) == 0;
            damaged = simfs_crash(sample.fs, PICK_KILL, 0);
            simfs_put(damaged, DIRECTORY, name, other_bytes, other_size);
            sample_judge(&sample, damaged,
                         same || manifest_file_parse(name, &generation, &copy, &temporary) || strcmp(name, "LOCK") == 0
                             ? AS_BEFORE
                             : CORRUPT,
                         other, name, 0);
            counters->truncations++;
            simfs_free(damaged);
        }
    }
    /* A file of another database: right name, right kind, wrong uuid. */
    static struct sample foreign;
    if (sample_make(&foreign, seed, counters)) {
        struct simfs *fs = simfs_create();
        vecdb_status status;
        uint8_t burnt[8];
        simfs_vfs(fs)->random(simfs_vfs(fs), burnt, sizeof burnt); /* so that this one gets another uuid */
        simfs_free(foreign.fs);
        foreign.fs = fs;
        struct toy *db = toy_open(simfs_vfs(fs), &status);
        struct rng rng = rng_seeded(seed);
        struct step step = {.kind = APPEND, .mode = VECDB_DURABILITY_FULL}, flush_step = {.kind = FLUSH};
        for (int i = 0; db && i < SAMPLE_STEPS; i++) {
            step.value = rng_next(&rng) / 8 * 8 + 2;
            if (i == 20)
                (void)do_step(db, &flush_step);
            (void)do_step(db, &step);
        }
        if (db)
            toy_close(db);
        for (size_t i = 0; (name = simfs_name(fs, DIRECTORY, i)) != NULL; i++) {
            uint64_t generation;
            char copy;
            bool temporary;
            uint8_t *bytes = simfs_bytes(fs, DIRECTORY, name, &size);
            if (manifest_file_parse(name, &generation, &copy, &temporary) || strcmp(name, "LOCK") == 0)
                continue;
            struct simfs *damaged = simfs_crash(sample.fs, PICK_KILL, 0);
            simfs_put(damaged, DIRECTORY, name, bytes, size);
            sample_judge(&sample, damaged, CORRUPT, "another database's", name, 0);
            counters->truncations++;
            simfs_free(damaged);
        }
        simfs_free(fs);
    }
    simfs_free(sample.fs);
}

/* -- locking */

void store_locking(struct counters *counters)
{
    char path[] = "/tmp/vecdb-lock-XXXXXX", command[64];
    struct store *first = NULL, *second = NULL, *reader = NULL;
    struct store_options read_only = {.flags = STORE_READ_ONLY};
    vecdb_status status;

    if (!mkdtemp(path) || store_open(&vfs_posix, path, NULL, &first) != VECDB_OK) {
        crash_violation(counters, &store_driver, 0, "cannot make a database in %s: %s", path, error_last()->message);
        return;
    }
    status = store_open(&vfs_posix, path, NULL, &second);
    if (status != VECDB_ERR_BUSY)
        crash_violation(counters, &store_driver, 0, "opened twice in one process: status %d", status);
    store_close(second);
    status = store_open(&vfs_posix, path, &read_only, &reader);
    if (status != VECDB_OK)
        crash_violation(counters, &store_driver, 0, "a reader beside the writer: %s", error_last()->message);
    store_close(reader);
    store_close(first);
    status = store_open(&vfs_posix, path, NULL, &first);
    if (status != VECDB_OK)
        crash_violation(counters, &store_driver, 0, "the lock outlived its holder: %s", error_last()->message);
    store_close(first);
    snprintf(command, sizeof command, "rm -rf %s", path);
    if (system(command) != 0)
        crash_violation(counters, &store_driver, 0, "cannot remove %s", path);
}
