#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mem.h"
#include "storage/store.h"
#include "support/fault.h"
#include "support/simfs.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct seen {
    size_t count;
    uint64_t last;
    uint64_t not_needed; /* frames up to here are told to be in segments */
};

static vecdb_status see(void *context, const struct wal_frame *frame, bool *needed)
{
    struct seen *seen = context;

    seen->count++;
    seen->last = frame->lsn;
    *needed = frame->lsn > seen->not_needed;
    return VECDB_OK;
}

static void check_ok(vecdb_status status)
{
    if (status != VECDB_OK)
        fail_msg("status %d: %s", status, error_last()->message);
}

static struct store *open_it(struct simfs *fs, unsigned flags, struct seen *seen)
{
    struct store_options options = {.flags = flags, .wal_roll_size = 1000};
    struct store *store;

    *seen = (struct seen){.not_needed = seen->not_needed};
    check_ok(store_open(simfs_vfs(fs), "db", &options, &store));
    check_ok(store_recover(store, see, seen));
    return store;
}

static uint64_t write_one(struct store *store, vecdb_durability mode)
{
    struct iovec part = {"a batch of some rows", 20};
    uint64_t lsn;

    check_ok(store_append(store, 9, &part, 1, &lsn));
    check_ok(store_commit(store, lsn, mode));
    return lsn;
}

static size_t count_files(struct simfs *fs, const char *prefix)
{
    const char *name;
    size_t count = 0;

    for (size_t i = 0; (name = simfs_name(fs, "db", i)) != NULL; i++)
        count += strncmp(name, prefix, strlen(prefix)) == 0;
    return count;
}

static void opening_without_writing_writes_nothing(void **state)
{
    struct simfs *fs = simfs_create();
    struct seen seen = {0};

    store_close(open_it(fs, 0, &seen));
    uint64_t syncs = simfs_syncs(fs);
    size_t files = count_files(fs, "");
    for (int i = 0; i < 3; i++)
        store_close(open_it(fs, STORE_NO_CREATE, &seen));
    assert_int_equal(simfs_syncs(fs), syncs);
    assert_int_equal(count_files(fs, ""), files);
    assert_int_equal(count_files(fs, "wal-"), 0);
    simfs_free(fs);
}

static void frames_are_replayed_until_the_checkpoint(void **state)
{
    struct simfs *fs = simfs_create();
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen);
    struct manifest *draft;

    for (int i = 0; i < 100; i++)
        assert_int_equal(write_one(store, VECDB_DURABILITY_FULL), i + 1);
    assert_true(count_files(fs, "wal-") > 3); /* it rolled */
    store_close(store);
    for (int round = 0; round < 3; round++) {
        store = open_it(fs, 0, &seen);
        assert_int_equal(seen.count, 100);
        assert_int_equal(store_recovery(store)->frames, 100);
        assert_int_equal(count_files(fs, "wal-"), 1); /* carried over to a new one */
        store_close(store);
    }
    store = open_it(fs, 0, &seen);
    uint64_t before = store_log_size(store);
    assert_true(before > 100 * 60);
    check_ok(store_begin(store, &draft));
    draft->checkpoint_lsn = 90;
    check_ok(store_publish(store));
    assert_in_range(store_log_size(store), before / 11, before / 9);
    assert_int_equal(write_one(store, VECDB_DURABILITY_NONE), 101);
    store_close(store);
    seen.not_needed = 95; /* a collection that is further than the rest */
    store = open_it(fs, 0, &seen);
    assert_int_equal(seen.count, 11);
    assert_int_equal(seen.last, 101);
    store_close(store);
    seen.not_needed = 0;
    store = open_it(fs, 0, &seen);
    assert_int_equal(seen.count, 6); /* 91 .. 95 were not carried over */
    check_ok(store_begin(store, &draft));
    draft->checkpoint_lsn = 101;
    check_ok(store_publish(store));
    assert_int_equal(store_log_size(store), 0);
    store_close(store);
    store = open_it(fs, 0, &seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(write_one(store, VECDB_DURABILITY_FULL), 102);
    check_ok(store_begin(store, &draft));
    draft->checkpoint_lsn = 103; /* not written yet */
    assert_int_equal(store_publish(store), VECDB_ERR_INVALID);
    check_ok(store_begin(store, &draft));
    draft->checkpoint_lsn = 100; /* back */
    assert_int_equal(store_publish(store), VECDB_ERR_INVALID);
    store_close(store);
    assert_int_equal(simfs_open_count(fs), 0);
    simfs_free(fs);
}

static void a_reader_follows_the_writer(void **state)
{
    struct simfs *fs = simfs_create();
    struct seen seen = {0}, read = {0};
    struct store *writer = open_it(fs, 0, &seen), *reader;
    struct manifest *draft;
    bool changed;

    write_one(writer, VECDB_DURABILITY_FULL);
    uint64_t syncs = simfs_syncs(fs);
    reader = open_it(fs, STORE_READ_ONLY, &read);
    assert_int_equal(read.count, 1);
    check_ok(store_follow(reader, see, &read));
    assert_int_equal(read.count, 1);
    assert_int_equal(simfs_syncs(fs), syncs); /* readers change nothing */
    write_one(writer, VECDB_DURABILITY_NONE);
    write_one(writer, VECDB_DURABILITY_NONE);
    check_ok(store_follow(reader, see, &read));
    assert_int_equal(read.count, 3);
    assert_int_equal(read.last, 3);
    check_ok(store_refresh(reader, &changed));
    assert_false(changed);
    check_ok(store_begin(writer, &draft));
    draft->checkpoint_lsn = 2;
    check_ok(store_publish(writer));
    check_ok(store_refresh(reader, &changed));
    assert_true(changed);
    assert_int_equal(store_follow(reader, see, &read), VECDB_ERR_MISUSE); /* replay first */
    read = (struct seen){0};
    check_ok(store_recover(reader, see, &read));
    assert_int_equal(read.count, 1);
    assert_int_equal(read.last, 3);
    /* the writer goes away and comes back: its new log takes the old one's place */
    store_close(writer);
    writer = open_it(fs, 0, &seen);
    write_one(writer, VECDB_DURABILITY_FULL);
    assert_int_equal(store_follow(reader, see, &read), VECDB_ERR_NO_SUCH); /* the file is gone: refresh */
    check_ok(store_refresh(reader, &changed));
    assert_true(changed);
    read = (struct seen){0};
    check_ok(store_recover(reader, see, &read));
    assert_int_equal(read.last, 4);
    uint64_t lsn;
    assert_int_equal(store_append(reader, 1, NULL, 0, &lsn), VECDB_ERR_READONLY);
    assert_int_equal(store_begin(reader, &draft), VECDB_ERR_READONLY);
    assert_int_equal(store_refresh(writer, &changed), VECDB_ERR_MISUSE);
    store_close(reader);
    store_close(writer);
    assert_int_equal(simfs_open_count(fs), 0);
    simfs_free(fs);
}

static void one_writer(void **state)
{
    struct simfs *fs = simfs_create();
    struct store_options options = {.lock_timeout_ms = 50};
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen), *second;
    const struct vfs *vfs = simfs_vfs(fs);
    uint64_t start = vfs->now(vfs);
    char pid[40];
    pid_t child;
    int result;

    assert_int_equal(store_open(vfs, "db", &options, &second), VECDB_ERR_BUSY);
    assert_true(vfs->now(vfs) - start >= 50000000);
    assert_non_null(strstr(error_last()->message, "this process"));
    assert_null(second);
    snprintf(pid, sizeof pid, "process %ld", (long)getpid());
    options.lock_timeout_ms = 0;
    fflush(NULL);
    if ((child = fork()) == 0)
        exit(store_open(vfs, "db", &options, &second) != VECDB_ERR_BUSY || !strstr(error_last()->message, pid));
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
    store_close(store);
    store_close(open_it(fs, 0, &seen));
    simfs_free(fs);
}

static int (*simfs_stat_at)(const struct vfs *vfs, int dir, const char *name, struct vfs_stat *out);

/* The lock's file is another one each time it is looked at, as if somebody removed it again and again. */
static int stat_another(const struct vfs *vfs, int dir, const char *name, struct vfs_stat *out)
{
    static uint64_t inode = 1000000;
    int result = simfs_stat_at(vfs, dir, name, out);

    if (result == 0 && strcmp(name, "LOCK") == 0)
        out->inode = ++inode;
    return result;
}

/* The holder's number is for the message; who holds the lock need not have written it yet. */
static void the_holder_is_named(void **state)
{
    static const char *const texts[] = {"1\n", "\n"}, *const words[] = {"in process 1", "in another process"};
    struct simfs *fs = simfs_create();
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen), *second;
    size_t size;

    for (int i = 0; i < 2; i++) {
        uint8_t *bytes = simfs_bytes(fs, "db", "LOCK", &size);
        assert_true(bytes && size >= 2);
        memcpy(bytes, texts[i], strlen(texts[i]));
        assert_int_equal(store_open(simfs_vfs(fs), "db", NULL, &second), VECDB_ERR_BUSY);
        assert_non_null(strstr(error_last()->message, words[i]));
    }
    store_close(store);
    simfs_free(fs);
}

static void a_lock_that_guards_nothing(void **state)
{
    struct simfs *fs = simfs_create();
    struct vfs *vfs = (struct vfs *)(uintptr_t)simfs_vfs(fs);
    struct seen seen = {0};
    struct store *store;

    simfs_stat_at = vfs->stat_at;
    vfs->stat_at = stat_another;
    assert_int_equal(store_open(vfs, "db", NULL, &store), VECDB_ERR_BUSY);
    assert_non_null(strstr(error_last()->message, "keeps being replaced"));
    vfs->stat_at = simfs_stat_at;
    store_close(open_it(fs, 0, &seen));
    simfs_free(fs);
}

/* -- a disk that can only be read */

static int (*simfs_open)(const struct vfs *vfs, int dir, const char *name, unsigned flags);
static unsigned refused;

static int open_to_read(const struct vfs *vfs, int dir, const char *name, unsigned flags)
{
    return flags & (VFS_WRITE | VFS_CREATE) ? (refused++, -EROFS) : simfs_open(vfs, dir, name, flags);
}
static int refuse_path(const struct vfs *vfs, const char *path) { return refused++, -EROFS; }
static int refuse_rename(const struct vfs *vfs, int dir, const char *from, const char *to) { return refused++, -EROFS; }
static int refuse_unlink(const struct vfs *vfs, int dir, const char *name) { return refused++, -EROFS; }
static int refuse_sync(const struct vfs *vfs, int fd, bool data_only) { return refused++, -EROFS; }
static int refuse_lock(const struct vfs *vfs, int fd) { return refused++, -EROFS; }

/* A reader asks for nothing that a disk which can only be read would refuse; a writer is told. */
static void read_only_media(void **state)
{
    struct simfs *fs = simfs_create();
    struct vfs *vfs = (struct vfs *)(uintptr_t)simfs_vfs(fs);
    const struct vfs usual = *vfs;
    struct store_options reading = {.flags = STORE_READ_ONLY}, writing = {.flags = STORE_NO_CREATE};
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen);
    bool changed;

    for (int i = 0; i < 30; i++)
        write_one(store, VECDB_DURABILITY_NONE);
    store_close(store);
    simfs_open = vfs->open;
    vfs->open = open_to_read;
    vfs->make_dir = refuse_path;
    vfs->rename = refuse_rename;
    vfs->unlink = refuse_unlink;
    vfs->sync = refuse_sync;
    vfs->lock = refuse_lock;
    refused = 0;
    check_ok(store_open(vfs, "db", &reading, &store));
    check_ok(store_recover(store, see, &seen));
    assert_int_equal(seen.count, 30);
    check_ok(store_refresh(store, &changed));
    assert_false(changed);
    store_close(store);
    assert_int_equal(refused, 0);
    assert_int_equal(store_open(vfs, "db", &writing, &store), VECDB_ERR_READONLY);
    assert_true(refused > 0);
    *vfs = usual;
    simfs_free(fs);
}

/* What could not be read back is not written. */
static void a_draft_that_breaks_a_rule(void **state)
{
    struct simfs *fs = simfs_create();
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen);
    uint64_t generation = store_manifest(store)->generation;
    struct manifest *draft;

    check_ok(store_begin(store, &draft));
    draft->next_collection_id = 0;
    assert_int_equal(store_publish(store), VECDB_ERR_LIMIT);
    assert_int_equal(store_manifest(store)->generation, generation);
    write_one(store, VECDB_DURABILITY_FULL);
    check_ok(store_begin(store, &draft));
    check_ok(store_publish(store));
    store_close(store);
    simfs_free(fs);
}

static void directories_that_are_no_database(void **state)
{
    struct simfs *fs = simfs_create();
    struct store_options no_create = {.flags = STORE_NO_CREATE}, read_only = {.flags = STORE_READ_ONLY};
    struct seen seen = {0};
    struct store *store;

    assert_int_equal(store_open(simfs_vfs(fs), "db", &no_create, &store), VECDB_ERR_NO_SUCH);
    assert_int_equal(store_open(simfs_vfs(fs), "db", &read_only, &store), VECDB_ERR_NO_SUCH);
    simfs_put(fs, "db", "notes.txt", "mine", 4);
    assert_int_equal(store_open(simfs_vfs(fs), "db", &no_create, &store), VECDB_ERR_NO_SUCH);
    assert_int_equal(store_open(simfs_vfs(fs), "db", &read_only, &store), VECDB_ERR_NO_SUCH);
    assert_int_equal(count_files(fs, ""), 1); /* no trace */
    simfs_put(fs, "db", "seg-3.dat", "x", 1);
    assert_int_equal(store_open(simfs_vfs(fs), "db", NULL, &store), VECDB_ERR_CORRUPT); /* its manifest is lost */
    assert_non_null(strstr(error_last()->message, "seg-3.dat"));
    assert_int_equal(count_files(fs, "seg-3"), 1);
    simfs_remove(fs, "db", "seg-3.dat");
    store = open_it(fs, 0, &seen);
    write_one(store, VECDB_DURABILITY_FULL);
    store_close(store);
    /* what is left over of ours is removed, what is not ours stays; ids go on behind all of them */
    simfs_put(fs, "db", "seg-77.dat", "x", 1);
    simfs_put(fs, "db", "MANIFEST-900.a.tmp", "x", 1);
    simfs_put(fs, "db", "seg-078.dat", "x", 1);
    store = open_it(fs, 0, &seen);
    assert_int_equal(seen.count, 1);
    assert_true(store_recovery(store)->removed_files >= 2);
    assert_int_equal(count_files(fs, "seg-77"), 0);
    assert_int_equal(count_files(fs, "MANIFEST-900"), 0);
    assert_int_equal(count_files(fs, "seg-078"), 1);
    assert_int_equal(count_files(fs, "notes.txt"), 1);
    assert_true(store_manifest(store)->generation > 900);
    struct file file;
    uint64_t id;
    check_ok(store_create_file(store, FILE_SEGMENT, &id, &file));
    assert_true(id > 77);
    file_close(&file);
    store_close(store);
    simfs_free(fs);
}

static void held_files_stay(void **state)
{
    struct simfs *fs = simfs_create();
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen);
    struct manifest *draft;

    for (int i = 0; i < 30; i++)
        write_one(store, VECDB_DURABILITY_FULL);
    size_t logs = count_files(fs, "wal-");
    assert_true(logs > 1);
    store_hold_files(store);
    store_hold_files(store);
    check_ok(store_begin(store, &draft));
    draft->checkpoint_lsn = 30;
    check_ok(store_publish(store));
    assert_int_equal(count_files(fs, "wal-"), logs + 1); /* and the empty one that follows them */
    store_let_files_go(store);
    assert_int_equal(count_files(fs, "wal-"), logs + 1);
    store_let_files_go(store);
    assert_int_equal(count_files(fs, "wal-"), 1);
    store_close(store);
    simfs_free(fs);
}

static void a_damaged_copy_is_replaced(void **state)
{
    struct simfs *fs = simfs_create();
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen);
    struct manifest *draft;
    char name[FILE_NAME_SIZE];
    size_t size;

    check_ok(store_begin(store, &draft));
    check_ok(store_publish(store));
    for (int i = 0; i < 2; i++) {
        manifest_file_name(store_manifest(store)->generation, i ? 'b' : 'a', false, name);
        store_close(store);
        simfs_bytes(fs, "db", name, &size)[70] ^= 1;
        store = open_it(fs, 0, &seen);
        assert_int_equal(store_recovery(store)->damaged_copies, 1);
        store_close(store);
        store = open_it(fs, 0, &seen);
        assert_int_equal(store_recovery(store)->damaged_copies, 0);
    }
    store_close(store);
    simfs_free(fs);
}

/* Features that a later version marks as harmless to read, and not to write. */
static void a_newer_version_may_only_be_read(void **state)
{
    struct simfs *fs = simfs_create();
    struct store_options options = {0}, reading = {.flags = STORE_READ_ONLY};
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen);
    char name[FILE_NAME_SIZE];

    for (int i = 0; i < 2; i++) {
        size_t size;
        uint8_t *bytes;
        manifest_file_name(store_manifest(store)->generation, i ? 'b' : 'a', false, name);
        bytes = simfs_bytes(fs, "db", name, &size);
        assert_non_null(bytes);
        store_u32(bytes + 20, 1u << 31);
        store_u64(bytes + 56, checksum(bytes, 56, 0));
        store_u64(bytes + size - 8, checksum(bytes, size - 8, 0));
    }
    store_close(store);
    assert_int_equal(store_open(simfs_vfs(fs), "db", &options, &store), VECDB_ERR_READONLY);
    assert_non_null(strstr(error_last()->message, "written by a newer version"));
    check_ok(store_open(simfs_vfs(fs), "db", &reading, &store));
    check_ok(store_recover(store, see, &seen));
    store_close(store);
    simfs_free(fs);
}

static vecdb_status open_again(struct simfs *fs)
{
    struct store_options options = {.wal_roll_size = 1000};
    struct seen seen = {0};
    struct store *store;
    vecdb_status status = store_open(simfs_vfs(fs), "db", &options, &store);

    if (status == VECDB_OK) {
        status = store_recover(store, see, &seen);
        store_close(store);
    }
    return status;
}

/* Each allocation of an opening with frames to replay fails once; opened again it has them all. */
static void opening_without_memory(void **state)
{
    bool hit = true;

    for (uint64_t n = 1; hit; n++) {
        struct simfs *fs = simfs_create();
        struct seen seen = {0};
        struct store *store = open_it(fs, 0, &seen);
        vecdb_status status;
        for (int i = 0; i < 30; i++)
            write_one(store, VECDB_DURABILITY_FULL);
        store_close(store);
        fault_memory(n, false);
        status = open_again(fs);
        hit = fault_memory_hit();
        assert_int_equal(fault_memory_live(), 0);
        fault_memory_end();
        assert_true(status == VECDB_OK || (hit && status == VECDB_ERR_NOMEM));
        store_close(open_it(fs, 0, &seen));
        assert_int_equal(seen.count, 30);
        assert_int_equal(store_recovery(store = open_it(fs, 0, &seen))->damaged_copies, 0);
        store_close(store);
        simfs_free(fs);
        assert_in_range(n, 1, 300);
    }
}

/* There is no space to carry the log over: nothing is lost, readers can read, and with space it opens. */
static void opening_on_a_full_disk(void **state)
{
    struct simfs *fs = simfs_create();
    struct store_options options = {.wal_roll_size = 1000}, reading = {.flags = STORE_READ_ONLY};
    struct seen seen = {0};
    struct store *store = open_it(fs, 0, &seen);

    for (int i = 0; i < 30; i++)
        write_one(store, VECDB_DURABILITY_FULL);
    store_close(store);
    simfs_set_faults(fs, &(struct simfs_faults){.quota = simfs_used(fs) + 500});
    assert_int_equal(open_again(fs), VECDB_ERR_FULL);
    assert_non_null(strstr(error_last()->message, "make space, or open it read-only"));
    check_ok(store_open(simfs_vfs(fs), "db", &reading, &store));
    seen = (struct seen){0};
    check_ok(store_recover(store, see, &seen));
    assert_int_equal(seen.count, 30);
    store_close(store);
    simfs_set_faults(fs, NULL);
    check_ok(store_open(simfs_vfs(fs), "db", &options, &store));
    seen = (struct seen){0};
    check_ok(store_recover(store, see, &seen));
    assert_int_equal(seen.count, 30);
    store_close(store);
    simfs_free(fs);
}

static void misuse_is_told(void **state)
{
    struct simfs *fs = simfs_create();
    struct store_options options = {0};
    struct seen seen = {0};
    struct manifest *draft;
    struct store *store;
    uint64_t lsn;

    check_ok(store_open(simfs_vfs(fs), "db", &options, &store));
    assert_int_equal(store_append(store, 1, NULL, 0, &lsn), VECDB_ERR_MISUSE);
    assert_int_equal(store_begin(store, &draft), VECDB_ERR_MISUSE);
    check_ok(store_recover(store, see, &seen));
    assert_int_equal(store_recover(store, see, &seen), VECDB_ERR_MISUSE);
    check_ok(store_begin(store, &draft));
    store_abandon(store);
    store_close(store);
    store_close(NULL);
    simfs_free(fs);
}

/* -- threads, on the real disk: writers, publishers, and a reader beside them */

enum { WRITERS = 4, WRITES = 150 };

struct work {
    struct store *store;
    _Atomic unsigned failures;
    _Atomic bool stop;
};

static void *writer_thread(void *argument)
{
    struct work *work = argument;

    for (int i = 0; i < WRITES; i++) {
        struct iovec part = {"some bytes", 10};
        uint64_t lsn;
        if (store_append(work->store, 3, &part, 1, &lsn) != VECDB_OK ||
            store_commit(work->store, lsn, i % 2 ? VECDB_DURABILITY_FULL : VECDB_DURABILITY_NORMAL) != VECDB_OK)
            work->failures++;
    }
    return NULL;
}

static void *publisher_thread(void *argument)
{
    struct work *work = argument;

    while (!work->stop) {
        struct manifest *draft;
        uint64_t last = store_last_lsn(work->store);
        if (store_begin(work->store, &draft) != VECDB_OK) {
            work->failures++;
            break;
        }
        if (last > 100 && draft->checkpoint_lsn < last - 100)
            draft->checkpoint_lsn = last - 100;
        if (store_publish(work->store) != VECDB_OK)
            work->failures++;
        (void)store_log_size(work->store);
        (void)store_tick(work->store);
    }
    return NULL;
}

static void writers_publishers_readers(void **state)
{
    char path[] = "/tmp/vecdb-store-XXXXXX", command[64];
    struct store_options options = {.wal_roll_size = 4000}, read_only = {.flags = STORE_READ_ONLY};
    struct work work = {0};
    pthread_t writers[WRITERS], publisher;
    struct seen seen = {0};
    struct store *reader = NULL;
    size_t rounds = 0;

    assert_non_null(mkdtemp(path));
    check_ok(store_open(&vfs_posix, path, &options, &work.store));
    check_ok(store_recover(work.store, see, &seen));
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&writers[i], NULL, writer_thread, &work), 0);
    assert_int_equal(pthread_create(&publisher, NULL, publisher_thread, &work), 0);
    while (store_last_lsn(work.store) < WRITERS * WRITES) {
        struct seen read = {0};
        vecdb_status status = store_open(&vfs_posix, path, &read_only, &reader);
        if (status == VECDB_OK)
            status = store_recover(reader, see, &read);
        for (int i = 0; i < 5 && status == VECDB_OK; i++)
            status = store_follow(reader, see, &read);
        if (status != VECDB_OK && status != VECDB_ERR_NO_SUCH) /* overtaken is all that may happen */
            fail_msg("reader: status %d: %s", status, error_last()->message);
        store_close(reader);
        reader = NULL;
        rounds++;
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    work.stop = true;
    pthread_join(publisher, NULL);
    assert_int_equal(work.failures, 0);
    assert_true(rounds > 0);
    store_close(work.store);
    seen = (struct seen){0};
    check_ok(store_open(&vfs_posix, path, &options, &work.store));
    uint64_t checkpoint = store_manifest(work.store)->checkpoint_lsn;
    check_ok(store_recover(work.store, see, &seen));
    assert_int_equal(seen.count, WRITERS * WRITES - checkpoint);
    store_close(work.store);
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_without_writing_writes_nothing),
        cmocka_unit_test(frames_are_replayed_until_the_checkpoint),
        cmocka_unit_test(a_reader_follows_the_writer),
        cmocka_unit_test(one_writer),
        cmocka_unit_test(the_holder_is_named),
        cmocka_unit_test(a_lock_that_guards_nothing),
        cmocka_unit_test(read_only_media),
        cmocka_unit_test(a_draft_that_breaks_a_rule),
        cmocka_unit_test(directories_that_are_no_database),
        cmocka_unit_test(held_files_stay),
        cmocka_unit_test(a_damaged_copy_is_replaced),
        cmocka_unit_test(a_newer_version_may_only_be_read),
        cmocka_unit_test(opening_without_memory),
        cmocka_unit_test(opening_on_a_full_disk),
        cmocka_unit_test(misuse_is_told),
        cmocka_unit_test(writers_publishers_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
