/* base/vfs and base/file on the real file system and on the simulated one. */
#include "base/file.h"
#include "base/mem.h"
#include "support/fault.h"
#include "support/simfs.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct dir dir;
static char path[64];

static int setup(void **state)
{
    strcpy(path, "/tmp/vecdb-file-XXXXXX");
    if (!mkdtemp(path))
        return 1;
    return dir_open(&vfs_posix, path, false, &dir) != VECDB_OK;
}

static int teardown(void **state)
{
    char command[128];

    dir_close(&dir);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    return system(command);
}

static void write_read_map(void **state)
{
    static uint8_t data[100000], back[100000];
    struct iovec parts[3] = {{data, 10}, {data + 10, 0}, {data + 10, sizeof data - 10}};
    struct file_map map;
    struct buf all = {0};
    struct file file;
    uint64_t size;
    size_t got;

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i * 31 >> 3);
    assert_int_equal(file_open(&dir, "a", VFS_READ, &file), VECDB_ERR_NO_SUCH);
    assert_int_equal(file_open(&dir, "a", VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &file), VECDB_OK);
    assert_int_equal(file_write_parts(&file, 5, parts, 3), VECDB_OK);
    assert_int_equal(file_sync(&file), VECDB_OK);
    assert_int_equal(dir_sync(&dir), VECDB_OK);
    assert_int_equal(file_size(&file, &size), VECDB_OK);
    assert_int_equal(size, sizeof data + 5);
    assert_int_equal(file_read(&file, 5, back, sizeof back), VECDB_OK);
    assert_memory_equal(back, data, sizeof data);
    assert_int_equal(file_read(&file, 6, back, sizeof back), VECDB_ERR_CORRUPT);
    assert_non_null(strstr(error_last()->message, "a: ends at 100005"));
    assert_int_equal(file_read_some(&file, 100000, back, 100, &got), VECDB_OK);
    assert_int_equal(got, 5);
    assert_int_equal(file_truncate(&file, 50), VECDB_OK);
    for (int in_heap = 0; in_heap < 2; in_heap++) {
        assert_int_equal(file_map(&file, 49, in_heap, &map), VECDB_ERR_CORRUPT);
        assert_int_equal(file_map(&file, 50, in_heap, &map), VECDB_OK);
        assert_int_equal(map.in_heap, in_heap);
        assert_int_equal((uintptr_t)map.data % 64, 0);
        assert_memory_equal(map.data + 5, data, 45);
        assert_int_equal(file_advise(&map, 0, 50, VFS_POPULATE), VECDB_OK);
        assert_int_equal(file_advise(&map, 60, 50, VFS_WILL_NEED), VECDB_OK);
        file_unmap(&map);
        file_unmap(&map);
    }
    file_close(&file);
    file_close(&file);
    assert_int_equal(file_read_all(&dir, "a", 49, &all), VECDB_ERR_LIMIT);
    assert_int_equal(file_read_all(&dir, "a", 50, &all), VECDB_OK);
    assert_int_equal(all.size, 50);
    buf_deinit(&all);
    assert_int_equal(file_open(&dir, "a", VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &file), VECDB_ERR_EXISTS);
    assert_int_equal(dir_rename(&dir, "a", "b"), VECDB_OK);
    assert_int_equal(dir_unlink(&dir, "a"), VECDB_ERR_NO_SUCH);
    assert_int_equal(dir_unlink(&dir, "b"), VECDB_OK);
}

static void empty_file_maps_to_nothing(void **state)
{
    struct file_map map;
    struct file file;

    assert_int_equal(file_open(&dir, "empty", VFS_WRITE | VFS_CREATE, &file), VECDB_OK);
    assert_int_equal(file_map(&file, 0, false, &map), VECDB_OK);
    assert_null(map.data);
    assert_int_equal(map.size, 0);
    file_unmap(&map);
    file_close(&file);
}

static void only_plain_files(void **state)
{
    char target[128];
    struct file file;

    snprintf(target, sizeof target, "%s/target", path);
    assert_int_equal(file_open(&dir, "target", VFS_WRITE | VFS_CREATE, &file), VECDB_OK);
    file_close(&file);
    assert_int_equal(symlinkat(target, dir.fd, "link"), 0);
    assert_int_equal(file_open(&dir, "link", VFS_WRITE, &file), VECDB_ERR_CORRUPT);
    assert_int_equal(mkfifoat(dir.fd, "pipe", 0600), 0);
    assert_int_equal(file_open(&dir, "pipe", VFS_READ, &file), VECDB_ERR_CORRUPT); /* and does not wait for a writer */
    assert_int_equal(mkdirat(dir.fd, "below", 0700), 0);
    assert_int_equal(file_open(&dir, "below", VFS_READ, &file), VECDB_ERR_CORRUPT);
    assert_int_equal(file_open(&dir, "0123456789012345678901234567890123456789012345678901234567890123", VFS_READ, &file),
                     VECDB_ERR_INVALID);
}

static void lock_is_of_the_opening(void **state)
{
    struct file first, second;

    assert_int_equal(file_open(&dir, "lock", VFS_WRITE | VFS_CREATE, &first), VECDB_OK);
    assert_int_equal(file_open(&dir, "lock", VFS_WRITE | VFS_CREATE, &second), VECDB_OK);
    assert_int_equal(file_lock(&first), VECDB_OK);
    assert_int_equal(file_lock(&second), VECDB_ERR_BUSY);
    file_close(&first);
    assert_int_equal(file_lock(&second), VECDB_OK);
    file_close(&second);
}

static void descriptors_stay_clear_of_the_standard_streams(void **state)
{
    pid_t child = fork();
    int result;

    if (child == 0) {
        struct file file;
        struct dir again;
        close(0);
        close(1);
        close(2);
        if (dir_open(&vfs_posix, path, false, &again) != VECDB_OK || again.fd <= 2)
            _exit(1);
        if (file_open(&again, "fd", VFS_WRITE | VFS_CREATE, &file) != VECDB_OK || file.fd <= 2)
            _exit(2);
        if (!(fcntl(file.fd, F_GETFD) & FD_CLOEXEC) || !(fcntl(again.fd, F_GETFD) & FD_CLOEXEC))
            _exit(3);
        struct buf names = {0};
        if (dir_list(&again, &names) != VECDB_OK || fcntl(0, F_GETFD) != -1 || fcntl(1, F_GETFD) != -1)
            _exit(4);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_int_equal(result, 0);
}

static void lists_all_names(void **state)
{
    struct buf names = {0};
    struct file file;
    size_t count = 0;

    for (int i = 0; i < 500; i++) {
        char name[20];
        snprintf(name, sizeof name, "n%d", i);
        assert_int_equal(file_open(&dir, name, VFS_WRITE | VFS_CREATE, &file), VECDB_OK);
        file_close(&file);
    }
    for (int round = 0; round < 2; round++) { /* the position of one listing is not the next one's */
        names.size = count = 0;
        assert_int_equal(dir_list(&dir, &names), VECDB_OK);
        for (size_t at = 0; at < names.size; at += strlen((char *)names.data + at) + 1)
            count++;
        assert_int_equal(count, 500);
    }
    buf_deinit(&names);
}

static void directories(void **state)
{
    char deeper[128];
    struct dir made;
    uint64_t space = 0;

    snprintf(deeper, sizeof deeper, "%s/new", path);
    assert_int_equal(dir_open(&vfs_posix, deeper, false, &made), VECDB_ERR_NO_SUCH);
    assert_int_equal(dir_open(&vfs_posix, deeper, true, &made), VECDB_OK);
    assert_int_equal(dir_space(&made, &space), VECDB_OK);
    assert_true(space > 0);
    dir_close(&made);
    strcat(deeper, "//");
    assert_int_equal(dir_open(&vfs_posix, deeper, true, &made), VECDB_OK);
    dir_close(&made);
    snprintf(deeper, sizeof deeper, "%s/not/there", path);
    assert_int_equal(dir_open(&vfs_posix, deeper, true, &made), VECDB_ERR_NO_SUCH);
    assert_int_equal(dir_open(&vfs_posix, "/dev/null", true, &made), VECDB_ERR_INVALID);
}

static void statuses(void **state)
{
    assert_int_equal(file_status(ENOSPC), VECDB_ERR_FULL);
    assert_int_equal(file_status(EDQUOT), VECDB_ERR_FULL);
    assert_int_equal(file_status(EROFS), VECDB_ERR_READONLY);
    assert_int_equal(file_status(EACCES), VECDB_ERR_READONLY);
    assert_int_equal(file_status(ENOMEM), VECDB_ERR_NOMEM);
    assert_int_equal(file_status(EMFILE), VECDB_ERR_IO);
    assert_int_equal(file_status(EIO), VECDB_ERR_IO);
}

/* -- on the simulated disk */

static void interruptions_and_short_transfers_are_invisible(void **state)
{
    struct simfs *fs = simfs_create();
    struct simfs_faults faults = {.interrupts = 5, .short_transfers = true};
    uint8_t data[3000], back[3000];
    struct dir on_sim;
    struct file file;

    simfs_set_faults(fs, &faults);
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)(i >> 2);
    assert_int_equal(dir_open(simfs_vfs(fs), "d", true, &on_sim), VECDB_OK);
    assert_int_equal(file_open(&on_sim, "f", VFS_WRITE | VFS_CREATE, &file), VECDB_OK);
    struct iovec parts[4] = {{data, 1}, {data + 1, 1000}, {data + 1001, 1}, {data + 1002, 1998}};
    assert_int_equal(file_write_parts(&file, 0, parts, 4), VECDB_OK);
    assert_int_equal(file_sync(&file), VECDB_OK);
    assert_int_equal(file_read(&file, 0, back, sizeof back), VECDB_OK);
    assert_memory_equal(back, data, sizeof data);
    /* but not forever */
    faults.interrupts = 1000;
    simfs_set_faults(fs, &faults);
    assert_int_equal(file_sync(&file), VECDB_ERR_IO);
    assert_int_equal(error_last()->system, EINTR);
    file_close(&file);
    dir_close(&on_sim);
    assert_int_equal(simfs_open_count(fs), 0);
    simfs_free(fs);
}

static void mapping_that_fails_becomes_reading(void **state)
{
    struct simfs *fs = simfs_create();
    struct file_map map;
    struct dir on_sim;
    struct file file;

    simfs_put(fs, "d", "f", "contents", 8);
    assert_int_equal(dir_open(simfs_vfs(fs), "d", false, &on_sim), VECDB_OK);
    assert_int_equal(file_open(&on_sim, "f", VFS_READ, &file), VECDB_OK);
    simfs_set_faults(fs, &(struct simfs_faults){.fail_at = 2, .error = ENOMEM});
    assert_int_equal(file_map(&file, 8, false, &map), VECDB_OK);
    assert_true(map.in_heap);
    assert_memory_equal(map.data, "contents", 8);
    file_unmap(&map);
    simfs_set_faults(fs, &(struct simfs_faults){.fail_at = 2, .error = EIO, .forever = true});
    fault_memory(0, false);
    assert_int_equal(file_map(&file, 8, false, &map), VECDB_ERR_IO);
    assert_int_equal(fault_memory_live(), 0);
    fault_memory_end();
    file_close(&file);
    dir_close(&on_sim);
    simfs_free(fs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(write_read_map, setup, teardown),
        cmocka_unit_test_setup_teardown(empty_file_maps_to_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(only_plain_files, setup, teardown),
        cmocka_unit_test_setup_teardown(lock_is_of_the_opening, setup, teardown),
        cmocka_unit_test_setup_teardown(descriptors_stay_clear_of_the_standard_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_all_names, setup, teardown),
        cmocka_unit_test_setup_teardown(directories, setup, teardown),
        cmocka_unit_test(statuses),
        cmocka_unit_test(interruptions_and_short_transfers_are_invisible),
        cmocka_unit_test(mapping_that_fails_becomes_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
