#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mem.h"
#include "storage/wal.h"
#include "support/fault.h"
#include "support/simfs.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const uint8_t uuid[FORMAT_UUID_SIZE] = {1, 2, 3};

struct bench {
    struct simfs *fs;
    struct dir dir;
    struct wal *wal;
};

static vecdb_status publish_nothing(void *context, uint64_t id, uint64_t first_lsn) { return VECDB_OK; }

static void begin(struct bench *bench, const struct wal_options *options)
{
    bench->fs = simfs_create();
    assert_int_equal(dir_open(simfs_vfs(bench->fs), "d", true, &bench->dir), VECDB_OK);
    assert_int_equal(wal_create(&bench->dir, uuid, 3, 11, options, &bench->wal), VECDB_OK);
    assert_int_equal(wal_size(bench->wal), 0);
    assert_int_equal(wal_roll(bench->wal, 1, publish_nothing, NULL), VECDB_OK);
}

static void end(struct bench *bench)
{
    wal_free(bench->wal);
    dir_close(&bench->dir);
    assert_int_equal(simfs_open_count(bench->fs), 0);
    simfs_free(bench->fs);
}

static vecdb_status append(struct bench *bench, const char *text, uint64_t *lsn)
{
    struct iovec part = {(void *)(uintptr_t)text, strlen(text)};

    return wal_append(bench->wal, 5, &part, 1, lsn);
}

struct found {
    size_t count;
    uint64_t last;
    char texts[20][32];
};

static vecdb_status collect(void *context, const struct wal_frame *frame)
{
    struct found *found = context;

    assert_int_equal(frame->type, 5);
    assert_true(found->count == 0 || frame->lsn == found->last + 1);
    found->last = frame->lsn;
    snprintf(found->texts[found->count++], 32, "%.*s", (int)frame->size, (const char *)frame->payload);
    return VECDB_OK;
}

static vecdb_status read_log(struct bench *bench, struct wal_scan *scan, struct found *found)
{
    *found = (struct found){0};
    *scan = (struct wal_scan){.id = 1, .epoch = 3, .uuid = uuid, .first_lsn = 11, .last = true};
    return wal_read(&bench->dir, scan, collect, found);
}

static void frames_come_back(void **state)
{
    static const uint32_t aligns[] = {0, 8, 512, 4096};

    for (size_t i = 0; i < 4; i++) {
        struct wal_options options = {.align = aligns[i]};
        struct wal_scan scan;
        struct found found;
        struct bench bench;
        uint64_t lsn;

        begin(&bench, &options);
        assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
        assert_int_equal(lsn, 11);
        assert_int_equal(append(&bench, "", &lsn), VECDB_OK);
        assert_int_equal(append(&bench, "three", &lsn), VECDB_OK);
        assert_int_equal(lsn, 13);
        assert_int_equal(wal_durable_lsn(bench.wal), 10);
        assert_int_equal(wal_commit(bench.wal, 12, VECDB_DURABILITY_FULL), VECDB_OK);
        assert_int_equal(wal_durable_lsn(bench.wal), 13); /* one sync for all that is there */
        assert_int_equal(read_log(&bench, &scan, &found), VECDB_OK);
        assert_int_equal(found.count, 3);
        assert_string_equal(found.texts[0], "one");
        assert_string_equal(found.texts[1], "");
        assert_string_equal(found.texts[2], "three");
        assert_int_equal(scan.next_lsn, 14);
        assert_int_equal(scan.dropped_bytes, 0);
        assert_int_equal(scan.end_offset, wal_size(bench.wal));
        if (aligns[i])
            assert_int_equal(scan.end_offset % aligns[i], 0);
        end(&bench);
    }
}

static void header_must_be_the_expected_one(void **state)
{
    struct bench bench;
    struct wal_scan scan;
    struct found found = {0};
    uint8_t other[FORMAT_UUID_SIZE] = {9};

    begin(&bench, NULL);
    scan = (struct wal_scan){.id = 2, .epoch = 3, .uuid = uuid, .first_lsn = 11, .last = true};
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_ERR_NO_SUCH);
    scan = (struct wal_scan){.id = 1, .epoch = 4, .uuid = uuid, .first_lsn = 11, .last = true};
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_ERR_CORRUPT);
    scan = (struct wal_scan){.id = 1, .epoch = 3, .uuid = other, .first_lsn = 11, .last = true};
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_ERR_CORRUPT);
    scan = (struct wal_scan){.id = 1, .epoch = 3, .uuid = uuid, .first_lsn = 12, .last = true};
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_ERR_CORRUPT);
    scan = (struct wal_scan){.id = 1, .epoch = UINT64_MAX, .uuid = uuid, .first_lsn = 0, .last = true};
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_OK);
    assert_int_equal(scan.first_lsn, 11);
    end(&bench);
}

/* Read a log whose header has `byte` at `at`, with a checksum that fits, and which is cut to `size` bytes if that is not 0. */
static void check_header(struct bench *bench, size_t at, uint8_t byte, size_t size, const char *words)
{
    struct wal_scan scan = {.id = 1, .epoch = 3, .uuid = uuid, .first_lsn = 11, .last = true};
    struct found found = {0};
    uint8_t before[WAL_HEADER_SIZE];
    size_t whole;
    uint8_t *bytes = simfs_bytes(bench->fs, "d", "wal-1.log", &whole);
    uint8_t there = bytes[at], *copy = malloc(whole);

    assert_non_null(copy);
    memcpy(before, bytes, sizeof before);
    bytes[at] = byte;
    store_u64(bytes + 120, checksum(bytes, 120, 0));
    memcpy(copy, bytes, whole);
    if (size)
        simfs_put(bench->fs, "d", "wal-1.log", copy, size);
    assert_int_equal(wal_read(&bench->dir, &scan, collect, &found), VECDB_ERR_CORRUPT);
    assert_non_null(strstr(error_last()->message, words));
    copy[at] = there;
    memcpy(copy, before, sizeof before);
    simfs_put(bench->fs, "d", "wal-1.log", copy, whole);
    free(copy);
    assert_int_equal(wal_read(&bench->dir, &scan, collect, &found), VECDB_OK);
}

static void each_part_of_the_header_is_checked(void **state)
{
    struct wal_options options = {.align = 512};
    struct wal_scan scan = {.id = 1, .epoch = 3, .uuid = uuid, .first_lsn = 11, .last = true, .start_offset = 1 << 20, .start_lsn = 12};
    struct found found = {0};
    struct bench bench;
    uint64_t lsn;

    begin(&bench, &options);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    assert_int_equal(wal_sync(bench.wal), VECDB_OK);
    check_header(&bench, 64, 9, 0, "epoch 9");
    check_header(&bench, 72, 0, 0, "begins with write 0");
    check_header(&bench, 88, 7, 0, "aligned to");
    check_header(&bench, 92, 1, 0, "reserved bytes");
    check_header(&bench, 119, 1, 0, "reserved bytes");
    check_header(&bench, WAL_HEADER_SIZE, 1, 0, "padding");
    check_header(&bench, 511, 1, 0, "padding");
    check_header(&bench, 0, simfs_bytes(bench.fs, "d", "wal-1.log", &(size_t){0})[0], 511, "expected at least 512");
    check_header(&bench, 0, simfs_bytes(bench.fs, "d", "wal-1.log", &(size_t){0})[0], 100, "too short");
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_ERR_CORRUPT);
    assert_non_null(strstr(error_last()->message, "shorter than before"));
    end(&bench);
}

/* The rule of docs/durability.md: damage is a torn tail only as long as nothing behind it says it was promised. */
static void torn_or_corrupt(void **state)
{
    struct bench bench;
    struct wal_scan scan;
    struct found found;
    uint64_t lsn, second;
    size_t size;

    /* nothing synced: all of it may go */
    begin(&bench, NULL);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    second = wal_size(bench.wal);
    assert_int_equal(append(&bench, "two", &lsn), VECDB_OK);
    assert_int_equal(append(&bench, "three", &lsn), VECDB_OK);
    simfs_bytes(bench.fs, "d", "wal-1.log", &size)[second + 41] ^= 1;
    assert_int_equal(read_log(&bench, &scan, &found), VECDB_OK);
    assert_int_equal(found.count, 1);
    assert_int_equal(scan.dropped_bytes, size - second);
    end(&bench);

    /* the frame behind the damage knows that it was durable */
    begin(&bench, NULL);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    second = wal_size(bench.wal);
    assert_int_equal(append(&bench, "two", &lsn), VECDB_OK);
    assert_int_equal(wal_sync(bench.wal), VECDB_OK);
    assert_int_equal(append(&bench, "three", &lsn), VECDB_OK);
    simfs_bytes(bench.fs, "d", "wal-1.log", &size)[second + 41] ^= 1;
    assert_int_equal(read_log(&bench, &scan, &found), VECDB_ERR_CORRUPT);
    assert_non_null(strstr(error_last()->message, "write 12 at offset"));
    /* whatever else is damaged, as long as one header survives; even if it lies where no frame should start */
    uint8_t *bytes = simfs_bytes(bench.fs, "d", "wal-1.log", &size);
    memset(bytes + second, 0xEE, 48);
    assert_int_equal(read_log(&bench, &scan, &found), VECDB_ERR_CORRUPT);
    end(&bench);

    /* frames of another log in our file are not ours, though they are well-formed */
    struct bench foreign;
    begin(&bench, NULL);
    begin(&foreign, NULL);
    assert_int_equal(append(&foreign, "one", &lsn), VECDB_OK);
    assert_int_equal(append(&foreign, "two", &lsn), VECDB_OK);
    uint8_t burnt;
    simfs_vfs(bench.fs)->random(simfs_vfs(bench.fs), &burnt, 1);
    assert_int_equal(wal_roll(bench.wal, 2, publish_nothing, NULL), VECDB_OK); /* so that the salts differ */
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    uint8_t *from = simfs_bytes(foreign.fs, "d", "wal-1.log", &size), copy[400];
    memcpy(copy, simfs_bytes(bench.fs, "d", "wal-2.log", &size), size);
    size_t mine = size;
    (void)simfs_bytes(foreign.fs, "d", "wal-1.log", &size);
    memcpy(copy + mine, from + mine, size - mine); /* their frame 12 behind our frame 11 */
    simfs_put(bench.fs, "d", "wal-2.log", copy, size);
    found = (struct found){0};
    scan = (struct wal_scan){.id = 2, .epoch = 3, .uuid = uuid, .first_lsn = 11, .last = true};
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_OK);
    assert_int_equal(found.count, 1);
    assert_int_equal(scan.dropped_bytes, size - mine);
    end(&foreign);
    end(&bench);
}

static void of_older_logs_everything_was_promised(void **state)
{
    struct bench bench;
    struct wal_scan scan;
    struct found found = {0};
    uint64_t lsn;
    size_t size;

    begin(&bench, NULL);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    assert_int_equal(append(&bench, "two", &lsn), VECDB_OK);
    assert_int_equal(wal_roll(bench.wal, 2, publish_nothing, NULL), VECDB_OK);
    assert_int_equal(wal_durable_lsn(bench.wal), 12);
    const struct wal_scan older = {.id = 1, .epoch = 3, .uuid = uuid, .first_lsn = 11, .end_lsn = 12};
    scan = older;
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_OK);
    assert_int_equal(found.count, 2);
    uint8_t *bytes = simfs_bytes(bench.fs, "d", "wal-1.log", &size);
    bytes[size - 1] ^= 1;
    scan = older;
    found.count = 0;
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_ERR_CORRUPT);
    bytes[size - 1] ^= 1;
    scan = older;
    scan.end_lsn = 13; /* one is missing */
    found.count = 0;
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_ERR_CORRUPT);
    end(&bench);
}

/* Zeros are written ahead where frames are waited for. They are nothing; one bit among them is something. */
static void zeros_ahead_are_no_frames(void **state)
{
    struct bench bench;
    struct wal_scan scan;
    struct found found;
    uint64_t lsn, at;
    uint8_t *bytes;
    size_t size;

    begin(&bench, NULL);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    simfs_bytes(bench.fs, "d", "wal-1.log", &size);
    assert_int_equal(size, wal_size(bench.wal)); /* nobody has waited yet */
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_FULL), VECDB_OK);
    assert_int_equal(append(&bench, "two", &lsn), VECDB_OK);
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_FULL), VECDB_OK);
    at = wal_size(bench.wal);
    simfs_bytes(bench.fs, "d", "wal-1.log", &size);
    assert_true(size >= at + 4096);
    assert_int_equal(append(&bench, "three", &lsn), VECDB_OK); /* into the zeros */
    bytes = simfs_bytes(bench.fs, "d", "wal-1.log", &size);
    assert_true(size > wal_size(bench.wal));
    at = wal_size(bench.wal);
    assert_int_equal(read_log(&bench, &scan, &found), VECDB_OK);
    assert_int_equal(found.count, 3);
    assert_int_equal(scan.end_offset, at);
    assert_int_equal(scan.dropped_bytes, 0);

    bytes[size - 1] ^= 1;
    assert_int_equal(read_log(&bench, &scan, &found), VECDB_OK);
    assert_int_equal(found.count, 3);
    assert_int_equal(scan.dropped_bytes, size - at);
    bytes[size - 1] ^= 1;

    /* of an older log, too */
    const struct wal_scan older = {.id = 1, .epoch = 3, .uuid = uuid, .first_lsn = 11, .end_lsn = 13};
    scan = older;
    found = (struct found){0};
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_OK);
    assert_int_equal(found.count, 3);
    bytes[at + 100] ^= 1;
    scan = older;
    found = (struct found){0};
    assert_int_equal(wal_read(&bench.dir, &scan, collect, &found), VECDB_ERR_CORRUPT);
    bytes[at + 100] ^= 1;

    wal_free(bench.wal); /* closing takes them away */
    bench.wal = NULL;
    simfs_bytes(bench.fs, "d", "wal-1.log", &size);
    assert_int_equal(size, at);
    end(&bench);
}

static void normal_syncs_by_time_and_size(void **state)
{
    struct wal_options options = {.sync_after_bytes = 1000};
    static char large[900];
    struct bench bench;
    uint64_t lsn;

    begin(&bench, &options);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_NORMAL), VECDB_OK);
    assert_int_equal(wal_durable_lsn(bench.wal), 10);
    assert_int_equal(wal_tick(bench.wal), VECDB_OK);
    assert_int_equal(wal_durable_lsn(bench.wal), 10);
    simfs_vfs(bench.fs)->sleep(simfs_vfs(bench.fs), 210000000);
    assert_int_equal(wal_tick(bench.wal), VECDB_OK); /* 200 ms are over */
    assert_int_equal(wal_durable_lsn(bench.wal), 11);
    memset(large, 'x', sizeof large - 1);
    assert_int_equal(append(&bench, large, &lsn), VECDB_OK);
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_NORMAL), VECDB_OK);
    assert_int_equal(wal_durable_lsn(bench.wal), 11);
    assert_int_equal(append(&bench, large, &lsn), VECDB_OK);
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_NORMAL), VECDB_OK); /* 1000 bytes are over */
    assert_int_equal(wal_durable_lsn(bench.wal), 13);
    /* NONE waits for somebody to ask */
    assert_int_equal(append(&bench, large, &lsn), VECDB_OK);
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_NONE), VECDB_OK);
    simfs_vfs(bench.fs)->sleep(simfs_vfs(bench.fs), 2100000000);
    assert_int_equal(wal_tick(bench.wal), VECDB_OK);
    assert_int_equal(wal_durable_lsn(bench.wal), 13);
    assert_int_equal(wal_sync(bench.wal), VECDB_OK);
    assert_int_equal(wal_durable_lsn(bench.wal), 14);
    end(&bench);
}

static void a_full_disk_is_not_the_end(void **state)
{
    struct bench bench;
    struct wal_scan scan;
    struct found found;
    uint64_t lsn;

    begin(&bench, NULL);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    simfs_set_faults(bench.fs, &(struct simfs_faults){.quota = wal_size(bench.wal) + 45});
    assert_int_equal(append(&bench, "does not fit", &lsn), VECDB_ERR_FULL);
    assert_int_equal(append(&bench, "nor does this", &lsn), VECDB_ERR_FULL);
    assert_int_equal(wal_check(bench.wal), VECDB_OK);
    simfs_set_faults(bench.fs, NULL);
    assert_int_equal(append(&bench, "two", &lsn), VECDB_OK);
    assert_int_equal(lsn, 12); /* failed frames take no number */
    assert_int_equal(read_log(&bench, &scan, &found), VECDB_OK);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.texts[1], "two");
    assert_int_equal(scan.dropped_bytes, 0);
    end(&bench);
}

static void a_failed_sync_poisons(void **state)
{
    struct bench bench;
    uint64_t lsn;

    begin(&bench, NULL);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    simfs_set_faults(bench.fs, &(struct simfs_faults){.fail_at = 1, .only_syncs = true, .error = EIO});
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_FULL), VECDB_ERR_POISONED);
    assert_non_null(strstr(error_last()->message, "durability unknown"));
    assert_int_equal(error_last()->system, EIO);
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_FULL), VECDB_ERR_POISONED);
    assert_int_equal(wal_commit(bench.wal, lsn, VECDB_DURABILITY_NORMAL), VECDB_ERR_POISONED);
    assert_int_equal(wal_tick(bench.wal), VECDB_ERR_POISONED);
    assert_int_equal(wal_sync(bench.wal), VECDB_ERR_POISONED);
    assert_int_equal(append(&bench, "two", &lsn), VECDB_ERR_POISONED);
    assert_int_equal(wal_roll(bench.wal, 2, publish_nothing, NULL), VECDB_ERR_POISONED);
    assert_int_equal(wal_commit(bench.wal, 10, VECDB_DURABILITY_FULL), VECDB_OK); /* that was durable before */
    assert_int_equal(simfs_syncs_after_failure(bench.fs), 0);
    end(&bench);
}

static vecdb_status refuse(void *context, uint64_t id, uint64_t first_lsn) { return error_set(VECDB_ERR_FULL, "no"); }

static void a_roll_that_is_not_published_never_was(void **state)
{
    struct bench bench;
    struct wal_scan scan;
    struct found found;
    uint64_t lsn;
    size_t size;

    begin(&bench, NULL);
    assert_int_equal(append(&bench, "one", &lsn), VECDB_OK);
    assert_int_equal(wal_roll(bench.wal, 2, refuse, NULL), VECDB_ERR_FULL);
    assert_null(simfs_bytes(bench.fs, "d", "wal-2.log", &size));
    assert_int_equal(append(&bench, "two", &lsn), VECDB_OK);
    assert_int_equal(read_log(&bench, &scan, &found), VECDB_OK);
    assert_int_equal(found.count, 2);
    end(&bench);
}

static void limits(void **state)
{
    struct iovec parts[WAL_MAX_PARTS + 1] = {{0}};
    struct bench bench;
    uint64_t lsn;

    begin(&bench, NULL);
    parts[0] = (struct iovec){(void *)1, WAL_MAX_PAYLOAD + 1}; /* refused before it is looked at */
    assert_int_equal(wal_append(bench.wal, 1, parts, 1, &lsn), VECDB_ERR_LIMIT);
    parts[0] = parts[1] = (struct iovec){(void *)1, WAL_MAX_PAYLOAD / 2 + 1};
    assert_int_equal(wal_append(bench.wal, 1, parts, 2, &lsn), VECDB_ERR_LIMIT);
    assert_int_equal(wal_append(bench.wal, 1, parts, WAL_MAX_PARTS + 1, &lsn), VECDB_ERR_INVALID);
    end(&bench);
}

static void frames_larger_than_the_window(void **state)
{
    static uint8_t large[1000003];
    struct iovec part = {large, sizeof large};
    struct bench bench;
    struct wal_scan scan;
    uint64_t lsn;
    size_t size;

    for (size_t i = 0; i < sizeof large; i++)
        large[i] = (uint8_t)(i * 2654435761u >> 24);
    begin(&bench, NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(wal_append(bench.wal, 5, &part, 1, &lsn), VECDB_OK);
    struct found found;
    assert_int_equal(read_log(&bench, &scan, &found), VECDB_OK);
    assert_int_equal(found.count, 3);
    /* sizes that lie, under right checksums of the header */
    uint8_t *frame = simfs_bytes(bench.fs, "d", "wal-1.log", &size) + WAL_HEADER_SIZE;
    uint64_t salt = load_u64(frame - WAL_HEADER_SIZE + 80);
    static const uint32_t sizes[] = {0, 1, 1000002, 1000004, 1000008, 3000000, 0x7FFFFFFF, 0xFFFFFFFF};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        store_u32(frame, sizes[i]);
        store_u64(frame + 32, checksum(frame, 32, salt));
        assert_int_equal(read_log(&bench, &scan, &found), VECDB_OK);
        assert_int_equal(found.count, 0);
        assert_int_equal(scan.dropped_bytes, size - WAL_HEADER_SIZE);
    }
    end(&bench);
}

static vecdb_status count_any(void *context, const struct wal_frame *frame)
{
    ++*(size_t *)context;
    return VECDB_OK;
}

/* A log of many windows, which ends well, or is damaged near its begin or its end; every call and every allocation of reading it
 * fails once. */
static void reading_fails_anywhere(void **state)
{
    enum { WELL, NEAR_BEGIN, NEAR_END, KINDS };
    static uint8_t bytes[400000];
    static const size_t sizes[] = {100, 100000, 400000, 77, 200000};

    for (int kind = 0; kind < KINDS; kind++) {
        struct bench bench;
        struct wal_scan scan;
        size_t count, size, whole = 0;
        uint64_t lsn;
        begin(&bench, NULL);
        for (size_t i = 0; i < 12; i++) {
            struct iovec part = {bytes, sizes[i % 5]};
            assert_int_equal(wal_append(bench.wal, 5, &part, 1, &lsn), VECDB_OK);
        }
        uint8_t *log = simfs_bytes(bench.fs, "d", "wal-1.log", &size);
        if (kind == NEAR_BEGIN)
            log[WAL_HEADER_SIZE + 1] ^= 1;
        if (kind == NEAR_END)
            memset(log + size - 150000, 0xEE, 100000);
        for (int memory = 0; memory < 2; memory++) {
            bool hit = true;
            for (uint64_t n = 1; hit; n++) {
                struct simfs_faults faults = {.fail_at = memory ? 0 : n, .error = EIO};
                vecdb_status status;
                scan = (struct wal_scan){.id = 1, .epoch = 3, .uuid = uuid, .first_lsn = 11, .last = true};
                count = 0;
                simfs_set_faults(bench.fs, &faults);
                fault_memory(memory ? n : 0, false);
                status = wal_read(&bench.dir, &scan, count_any, &count);
                hit = memory ? fault_memory_hit() : simfs_fault_hit(bench.fs);
                assert_int_equal(fault_memory_live(), 0);
                fault_memory_end();
                if (!hit || status == VECDB_OK /* closing */) {
                    assert_int_equal(status, VECDB_OK);
                    assert_int_equal(count, kind == WELL ? 12 : kind == NEAR_BEGIN ? 0 : 9);
                    whole++;
                } else {
                    assert_int_equal(status, memory ? VECDB_ERR_NOMEM : VECDB_ERR_IO);
                }
                assert_in_range(n, 1, 100);
            }
        }
        simfs_set_faults(bench.fs, NULL);
        assert_in_range(whole, 2, 4);
        end(&bench);
    }
}

/* -- threads, on the real disk */

enum { WRITERS = 8, WRITES = 200 };

struct writers {
    struct wal *wal;
    _Atomic unsigned failures;
};

static void *write_many(void *argument)
{
    struct writers *writers = argument;

    for (int i = 0; i < WRITES; i++) {
        char text[40];
        uint64_t lsn;
        struct iovec part = {text, (size_t)snprintf(text, sizeof text, "%d", i)};
        if (wal_append(writers->wal, 5, &part, 1, &lsn) != VECDB_OK ||
            wal_commit(writers->wal, lsn, i % 4 ? VECDB_DURABILITY_FULL : VECDB_DURABILITY_NORMAL) != VECDB_OK ||
            (i % 4 && wal_durable_lsn(writers->wal) < lsn))
            writers->failures++;
    }
    return NULL;
}

static vecdb_status count_frames(void *context, const struct wal_frame *frame)
{
    ++*(size_t *)context;
    return VECDB_OK;
}

static void many_writers_one_log(void **state)
{
    char path[] = "/tmp/vecdb-wal-XXXXXX", command[64];
    struct writers writers = {0};
    pthread_t threads[WRITERS];
    struct dir dir;
    size_t frames = 0;

    assert_non_null(mkdtemp(path));
    assert_int_equal(dir_open(&vfs_posix, path, false, &dir), VECDB_OK);
    assert_int_equal(wal_create(&dir, uuid, 1, 1, NULL, &writers.wal), VECDB_OK);
    assert_int_equal(wal_roll(writers.wal, 1, publish_nothing, NULL), VECDB_OK);
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &writers), 0);
    uint64_t middle = 0; /* change files while they write */
    while (middle < WRITERS * WRITES / 3)
        middle = wal_next_lsn(writers.wal);
    assert_int_equal(wal_roll(writers.wal, 2, publish_nothing, NULL), VECDB_OK);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(writers.failures, 0);
    assert_int_equal(wal_next_lsn(writers.wal), WRITERS * WRITES + 1);
    assert_int_equal(wal_sync(writers.wal), VECDB_OK);
    struct wal_scan second = {.id = 2, .epoch = 1, .uuid = uuid, .first_lsn = 0, .last = true};
    assert_int_equal(wal_read(&dir, &second, count_frames, &frames), VECDB_OK);
    struct wal_scan first = {.id = 1, .epoch = 1, .uuid = uuid, .first_lsn = 1, .end_lsn = second.first_lsn - 1};
    assert_int_equal(wal_read(&dir, &first, count_frames, &frames), VECDB_OK);
    assert_int_equal(frames, WRITERS * WRITES);
    wal_free(writers.wal);
    dir_close(&dir);
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

/* The real disk, with syncs that take a millisecond and fail from some number on. */
static _Atomic unsigned syncs, syncs_at_once, first_failure;

static int slow_sync(const struct vfs *vfs, int fd, bool data_only)
{
    unsigned number = ++syncs;

    assert_int_equal(++syncs_at_once, 1);
    vfs_posix.sleep(vfs, 1000000);
    syncs_at_once--;
    return number >= first_failure ? -EIO : vfs_posix.sync(vfs, fd, data_only);
}

static struct wal *slow_log(struct vfs *vfs, char *path, struct dir *dir)
{
    struct wal *wal;

    *vfs = vfs_posix;
    assert_non_null(mkdtemp(path));
    assert_int_equal(dir_open(vfs, path, false, dir), VECDB_OK);
    assert_int_equal(wal_create(dir, uuid, 1, 1, NULL, &wal), VECDB_OK);
    assert_int_equal(wal_roll(wal, 1, publish_nothing, NULL), VECDB_OK);
    vfs->sync = slow_sync;
    syncs = 0;
    first_failure = UINT32_MAX;
    return wal;
}

static void end_slow_log(struct wal *wal, struct dir *dir, const char *path)
{
    char command[64];

    wal_free(wal);
    dir_close(dir);
    snprintf(command, sizeof command, "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

/* As many threads as there are writers, from begin to end. */
static void run_writers(void *(*write)(void *), void *argument)
{
    pthread_t threads[WRITERS];

    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write, argument), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
}

static void one_sync_serves_all_who_wait(void **state)
{
    char path[] = "/tmp/vecdb-wal-XXXXXX";
    struct writers writers = {0};
    struct vfs vfs;
    struct dir dir;

    writers.wal = slow_log(&vfs, path, &dir);
    run_writers(write_many, &writers);
    assert_int_equal(writers.failures, 0);
    assert_true(syncs < WRITERS * WRITES / 3); /* eight of them at a time, when nothing else keeps the machine busy */
    syncs = 0;
    write_many(&writers); /* its company is gone: it has all syncs for itself */
    assert_int_equal(writers.failures, 0);
    assert_in_range(syncs, WRITES * 3 / 4, WRITES);
    end_slow_log(writers.wal, &dir, path);
}

struct until_failure {
    struct wal *wal;
    _Atomic uint64_t promised; /* the highest number that was */
    _Atomic unsigned poisoned, other;
};

static void *write_until_failure(void *argument)
{
    struct until_failure *writers = argument;
    struct iovec part = {(void *)(uintptr_t)"text", 4};
    vecdb_status status = VECDB_OK;
    uint64_t lsn;

    while (status == VECDB_OK) {
        status = wal_append(writers->wal, 5, &part, 1, &lsn);
        if (status == VECDB_OK)
            status = wal_commit(writers->wal, lsn, VECDB_DURABILITY_FULL);
        for (uint64_t before = writers->promised; status == VECDB_OK && before < lsn;)
            if (atomic_compare_exchange_weak(&writers->promised, &before, lsn))
                break;
    }
    if (status == VECDB_ERR_POISONED)
        writers->poisoned++;
    else
        writers->other++;
    return NULL;
}

static void a_failed_sync_reaches_all_who_wait(void **state)
{
    for (unsigned n = 1; n < 40; n += 3) {
        char path[] = "/tmp/vecdb-wal-XXXXXX";
        struct until_failure writers = {0};
        struct vfs vfs;
        struct dir dir;

        writers.wal = slow_log(&vfs, path, &dir);
        first_failure = n;
        run_writers(write_until_failure, &writers);
        assert_int_equal(writers.poisoned, WRITERS);
        assert_int_equal(writers.other, 0);
        assert_int_equal(syncs, n); /* it is never asked again */
        assert_int_equal(wal_durable_lsn(writers.wal), writers.promised);
        end_slow_log(writers.wal, &dir, path);
    }
}

/* One thread's append fails while another's sync runs, which fails too: the log cannot be cut back any more. */
static _Atomic bool sync_runs;

static int sync_that_fails(const struct vfs *vfs, int fd, bool data_only)
{
    sync_runs = true;
    vfs_posix.sleep(vfs, 50000000);
    return -EIO;
}

static ssize_t no_write_beside_a_sync(const struct vfs *vfs, int fd, const struct iovec *parts, int count, uint64_t offset)
{
    return sync_runs ? -EIO : vfs_posix.pwritev(vfs, fd, parts, count, offset);
}

static void *append_beside_a_sync(void *argument)
{
    struct writers *writers = argument;
    struct iovec part = {"two", 3};
    uint64_t lsn;

    while (!sync_runs)
        vfs_posix.sleep(&vfs_posix, 100000);
    writers->failures += wal_append(writers->wal, 5, &part, 1, &lsn) == VECDB_ERR_POISONED;
    writers->failures += strstr(error_last()->message, "durability unknown") != NULL;
    return NULL;
}

static void an_append_fails_beside_a_sync_that_fails(void **state)
{
    char path[] = "/tmp/vecdb-wal-XXXXXX";
    struct writers writers = {0};
    struct iovec part = {"one", 3};
    pthread_t thread;
    struct dir dir;
    struct vfs vfs;
    uint64_t lsn;

    writers.wal = slow_log(&vfs, path, &dir);
    vfs.sync = sync_that_fails;
    vfs.pwritev = no_write_beside_a_sync;
    sync_runs = false;
    assert_int_equal(wal_append(writers.wal, 5, &part, 1, &lsn), VECDB_OK);
    assert_int_equal(pthread_create(&thread, NULL, append_beside_a_sync, &writers), 0);
    assert_int_equal(wal_commit(writers.wal, lsn, VECDB_DURABILITY_FULL), VECDB_ERR_POISONED);
    pthread_join(thread, NULL);
    assert_int_equal(writers.failures, 2);
    end_slow_log(writers.wal, &dir, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_back),
        cmocka_unit_test(header_must_be_the_expected_one),
        cmocka_unit_test(each_part_of_the_header_is_checked),
        cmocka_unit_test(torn_or_corrupt),
        cmocka_unit_test(of_older_logs_everything_was_promised),
        cmocka_unit_test(zeros_ahead_are_no_frames),
        cmocka_unit_test(normal_syncs_by_time_and_size),
        cmocka_unit_test(a_full_disk_is_not_the_end),
        cmocka_unit_test(a_failed_sync_poisons),
        cmocka_unit_test(an_append_fails_beside_a_sync_that_fails),
        cmocka_unit_test(a_roll_that_is_not_published_never_was),
        cmocka_unit_test(limits),
        cmocka_unit_test(frames_larger_than_the_window),
        cmocka_unit_test(reading_fails_anywhere),
        cmocka_unit_test(many_writers_one_log),
        cmocka_unit_test(one_sync_serves_all_who_wait),
        cmocka_unit_test(a_failed_sync_reaches_all_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
