/* The simulator itself: if it forgot to lose what was not synced, all crash tests would pass for nothing. */
#include "base/file.h"
#include "support/simfs.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

struct bench {
    struct simfs *fs;
    struct dir dir;
    struct file file;
};

static void begin(struct bench *bench)
{
    bench->fs = simfs_create();
    assert_int_equal(dir_open(simfs_vfs(bench->fs), "d", true, &bench->dir), VECDB_OK);
    assert_int_equal(file_open(&bench->dir, "f", VFS_WRITE | VFS_CREATE, &bench->file), VECDB_OK);
}

static void end(struct bench *bench)
{
    file_close(&bench->file);
    dir_close(&bench->dir);
    assert_int_equal(simfs_open_count(bench->fs), 0);
    simfs_free(bench->fs);
}

/* The contents of d/f after a crash, as text; "-" when it is not there. */
static const char *after(struct bench *bench, enum simfs_pick pick, uint64_t value, const char *name)
{
    static char text[4096];
    struct simfs *image = simfs_crash(bench->fs, pick, value);
    size_t size = 0;
    const uint8_t *bytes = simfs_bytes(image, "d", name, &size);

    strcpy(text, "-");
    if (bytes || size == 0) {
        if (simfs_name(image, "d", 0)) {
            bool there = false;
            for (size_t i = 0; simfs_name(image, "d", i); i++)
                there |= strcmp(simfs_name(image, "d", i), name) == 0;
            if (there) {
                if (size)
                    memcpy(text, bytes, size);
                text[size] = '\0';
            }
        }
    }
    simfs_free(image);
    return text;
}

static void what_is_synced_stays(void **state)
{
    struct bench bench;

    begin(&bench);
    assert_int_equal(file_write(&bench.file, 0, "one", 3), VECDB_OK);
    assert_string_equal(after(&bench, PICK_NONE, 0, "f"), "-"); /* no name, no bytes */
    assert_string_equal(after(&bench, PICK_KILL, 0, "f"), "one");
    assert_int_equal(file_sync(&bench.file), VECDB_OK);
    assert_string_equal(after(&bench, PICK_NONE, 0, "f"), "-"); /* bytes, but no name */
    assert_int_equal(dir_sync(&bench.dir), VECDB_OK);
    assert_string_equal(after(&bench, PICK_NONE, 0, "f"), "one");
    assert_int_equal(file_write(&bench.file, 3, "two", 3), VECDB_OK);
    assert_string_equal(after(&bench, PICK_NONE, 0, "f"), "one");
    assert_string_equal(after(&bench, PICK_KILL, 0, "f"), "onetwo");
    /* size without bytes, bytes without size */
    assert_int_equal(simfs_atoms(bench.fs), 2);
    assert_string_equal(after(&bench, PICK_MASK, 3, "f"), "onetwo");
    assert_string_equal(after(&bench, PICK_MASK, 1, "f"), "one"); /* zeros follow */
    assert_string_equal(after(&bench, PICK_MASK, 2, "f"), "one");
    end(&bench);
}

static void a_name_alone_is_an_empty_file(void **state)
{
    struct bench bench;

    begin(&bench);
    assert_int_equal(file_write(&bench.file, 0, "one", 3), VECDB_OK);
    assert_int_equal(dir_sync(&bench.dir), VECDB_OK);
    assert_string_equal(after(&bench, PICK_NONE, 0, "f"), "");
    end(&bench);
}

static void names_are_pending_too(void **state)
{
    struct bench bench;

    begin(&bench);
    assert_int_equal(file_write(&bench.file, 0, "x", 1), VECDB_OK);
    assert_int_equal(file_sync(&bench.file), VECDB_OK);
    assert_int_equal(dir_sync(&bench.dir), VECDB_OK);
    assert_int_equal(dir_rename(&bench.dir, "f", "g"), VECDB_OK);
    assert_string_equal(after(&bench, PICK_NONE, 0, "f"), "x");
    assert_string_equal(after(&bench, PICK_NONE, 0, "g"), "-");
    assert_string_equal(after(&bench, PICK_MASK, 1, "f"), "-");
    assert_string_equal(after(&bench, PICK_MASK, 1, "g"), "x");
    assert_int_equal(dir_sync(&bench.dir), VECDB_OK);
    assert_int_equal(dir_unlink(&bench.dir, "g"), VECDB_OK);
    assert_string_equal(after(&bench, PICK_NONE, 0, "g"), "x");
    assert_int_equal(dir_sync(&bench.dir), VECDB_OK);
    assert_string_equal(after(&bench, PICK_NONE, 0, "g"), "-");
    end(&bench);
}

static void a_failed_sync_loses_the_bytes(void **state)
{
    struct bench bench;
    char back[3];

    for (int old_content = 0; old_content < 2; old_content++) {
        struct simfs_faults faults = {.fail_at = 1, .only_syncs = true, .error = EIO, .old_content = old_content};
        begin(&bench);
        assert_int_equal(file_write(&bench.file, 0, "old", 3), VECDB_OK);
        assert_int_equal(file_sync(&bench.file), VECDB_OK);
        assert_int_equal(dir_sync(&bench.dir), VECDB_OK);
        assert_int_equal(file_write(&bench.file, 0, "new", 3), VECDB_OK);
        simfs_set_faults(bench.fs, &faults);
        assert_int_equal(file_sync(&bench.file), VECDB_ERR_IO);
        assert_int_equal(simfs_syncs_after_failure(bench.fs), 0);
        assert_int_equal(file_read(&bench.file, 0, back, 3), VECDB_OK);
        assert_memory_equal(back, old_content ? "old" : "new", 3);
        assert_int_equal(file_sync(&bench.file), VECDB_OK); /* the trap: it says all is well */
        assert_int_equal(simfs_syncs_after_failure(bench.fs), 1);
        assert_string_equal(after(&bench, PICK_NONE, 0, "f"), "old");
        end(&bench);
    }
}

static void a_full_disk_takes_what_fits(void **state)
{
    struct bench bench;
    uint64_t size;

    begin(&bench);
    simfs_set_faults(bench.fs, &(struct simfs_faults){.quota = 5});
    assert_int_equal(file_write(&bench.file, 0, "123456789", 9), VECDB_ERR_FULL);
    assert_int_equal(file_size(&bench.file, &size), VECDB_OK);
    assert_int_equal(size, 5);
    assert_int_equal(file_truncate(&bench.file, 0), VECDB_OK);
    assert_int_equal(file_write(&bench.file, 0, "12345", 5), VECDB_OK);
    end(&bench);
}

static void count_hook(void *context, struct simfs *fs) { ++*(int *)context; }

static void the_hook_sees_every_change(void **state)
{
    struct bench bench;
    int changes = 0;
    char byte;

    begin(&bench);
    simfs_set_hook(bench.fs, count_hook, &changes);
    assert_int_equal(file_write(&bench.file, 0, "x", 1), VECDB_OK);
    assert_int_equal(changes, 1);
    assert_int_equal(file_read(&bench.file, 0, &byte, 1), VECDB_OK);
    assert_int_equal(changes, 1);
    assert_int_equal(file_sync(&bench.file), VECDB_OK);
    assert_int_equal(file_truncate(&bench.file, 0), VECDB_OK);
    assert_int_equal(dir_rename(&bench.dir, "f", "g"), VECDB_OK);
    assert_int_equal(dir_unlink(&bench.dir, "g"), VECDB_OK);
    assert_int_equal(changes, 5);
    end(&bench);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_synced_stays),          cmocka_unit_test(a_name_alone_is_an_empty_file),
        cmocka_unit_test(names_are_pending_too),         cmocka_unit_test(a_failed_sync_loses_the_bytes),
        cmocka_unit_test(a_full_disk_takes_what_fits),   cmocka_unit_test(the_hook_sees_every_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
