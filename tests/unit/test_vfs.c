/* The edges of the file layer: a system that is interrupted without end, calls on what is not open, answers that nobody
 * expects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/file.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

/* -- a system that answers as it is told */

static int answer;
static unsigned asked;

static int answer_path(const struct vfs *vfs, const char *path) { return asked++, answer; }
static int answer_list(const struct vfs *vfs, int dir, int (*entry)(void *context, const char *name), void *context)
{
    return asked++, answer;
}
static int answer_rename(const struct vfs *vfs, int dir, const char *from, const char *to) { return asked++, answer; }
static int answer_unlink(const struct vfs *vfs, int dir, const char *name) { return asked++, answer; }
static int answer_stat_at(const struct vfs *vfs, int dir, const char *name, struct vfs_stat *out) { return asked++, answer; }
static int answer_space(const struct vfs *vfs, int dir, uint64_t *free_bytes) { return asked++, answer; }
static int answer_open(const struct vfs *vfs, int dir, const char *name, unsigned flags) { return asked++, answer; }
static int answer_close(const struct vfs *vfs, int fd) { return 0; }
static ssize_t answer_pread(const struct vfs *vfs, int fd, void *data, size_t size, uint64_t offset) { return asked++, answer; }
static ssize_t answer_pwritev(const struct vfs *vfs, int fd, const struct iovec *parts, int count, uint64_t offset)
{
    return asked++, answer;
}
static int answer_sync(const struct vfs *vfs, int fd, bool data_only) { return asked++, answer; }
static int answer_truncate(const struct vfs *vfs, int fd, uint64_t size) { return asked++, answer; }
static int answer_allocate(const struct vfs *vfs, int fd, uint64_t offset, uint64_t size) { return asked++, answer; }
static int answer_stat(const struct vfs *vfs, int fd, struct vfs_stat *out) { return asked++, answer; }
static int answer_lock(const struct vfs *vfs, int fd) { return asked++, answer; }
static int answer_advise(const struct vfs *vfs, const uint8_t *data, size_t size, enum vfs_advice advice)
{
    return asked++, answer;
}
static int answer_random(const struct vfs *vfs, void *data, size_t size) { return asked++, answer; }

static const struct vfs answering = {
    .open_dir = answer_path, .make_dir = answer_path, .list = answer_list, .rename = answer_rename,
    .unlink = answer_unlink, .stat_at = answer_stat_at, .space = answer_space, .open = answer_open, .close = answer_close,
    .pread = answer_pread, .pwritev = answer_pwritev, .sync = answer_sync, .truncate = answer_truncate,
    .allocate = answer_allocate, .stat = answer_stat, .lock = answer_lock, .advise = answer_advise,
    .random = answer_random,
};

#define assert_asked_again(call)                                                                                       \
    do {                                                                                                               \
        asked = 0;                                                                                                     \
        assert_true((call) < 0);                                                                                       \
        assert_in_range(asked, 50, 1000);                                                                              \
    } while (0)

/* Interrupted for ever, every call gives up with an error after a while. */
static void test_interrupted(void **state)
{
    struct dir dir = {&answering, 7}, opened;
    struct file file = {&answering, 8, "file"}, other;
    struct file_map map = {&answering, (const uint8_t *)"bytes", 5, false};
    struct buf names = {0};
    struct vfs_stat stat;
    uint64_t number;
    char bytes[16] = {0};
    size_t got;

    answer = -EINTR;
    assert_asked_again(dir_open(&answering, "somewhere", false, &opened));
    assert_asked_again(dir_open(&answering, "somewhere", true, &opened));
    assert_asked_again(dir_sync(&dir));
    assert_asked_again(dir_rename(&dir, "a", "b"));
    assert_asked_again(dir_unlink(&dir, "a"));
    assert_asked_again(dir_stat(&dir, "a", &stat));
    assert_asked_again(dir_list(&dir, &names));
    assert_asked_again(dir_space(&dir, &number));
    assert_asked_again(file_open(&dir, "a", VFS_READ, &other));
    assert_asked_again(file_stat(&file, &stat));
    assert_asked_again(file_size(&file, &number));
    assert_asked_again(file_lock(&file));
    assert_asked_again(file_read(&file, 0, bytes, sizeof bytes));
    assert_asked_again(file_read_some(&file, 0, bytes, sizeof bytes, &got));
    assert_asked_again(file_write(&file, 0, bytes, sizeof bytes));
    assert_asked_again(file_truncate(&file, 0));
    assert_asked_again(file_allocate(&file, 0, 4096));
    assert_asked_again(file_random(&answering, bytes, sizeof bytes));
    asked = 0;
    assert_int_equal(file_advise(&map, 0, 5, VFS_WILL_NEED), VECDB_OK); /* it is only advice */
    assert_in_range(asked, 50, 1000);
    buf_deinit(&names);
}

static void test_odd_answers(void **state)
{
    static const int unsupported[] = {-EOPNOTSUPP, -ENOSYS, -EINVAL}, unreadable[] = {-EFAULT, -EIO, -EHWPOISON};
    struct file file = {&answering, 8, "file"};
    struct file_map map = {&answering, (const uint8_t *)"bytes", 5, false}, none = {&answering, NULL, 0, false};
    struct iovec parts[FILE_MAX_PARTS + 1] = {{0}};
    char bytes[16] = {0};

    for (size_t i = 0; i < 3; i++) {
        answer = unsupported[i];
        assert_int_equal(file_allocate(&file, 0, 4096), VECDB_NOT_FOUND);
        answer = unreadable[i];
        assert_int_equal(file_advise(&map, 0, 100, VFS_POPULATE), VECDB_ERR_IO);
        assert_int_equal(file_advise(&map, 2, 2, VFS_WILL_NEED), VECDB_OK);
    }
    answer = -ENOSPC;
    assert_int_equal(file_allocate(&file, 0, 4096), VECDB_ERR_FULL);
    answer = -ENOMEM;
    assert_int_equal(file_advise(&map, 0, 5, VFS_POPULATE), VECDB_OK);
    assert_int_equal(file_advise(&none, 0, 5, VFS_POPULATE), VECDB_OK);
    assert_int_equal(file_advise(&map, 5, 5, VFS_POPULATE), VECDB_OK);
    map.in_heap = true;
    assert_int_equal(file_advise(&map, 0, 5, VFS_POPULATE), VECDB_OK);
    answer = 0; /* nothing written, and no reason */
    assert_int_equal(file_write(&file, 0, bytes, sizeof bytes), VECDB_ERR_IO);
    assert_int_equal(file_write_parts(&file, 0, parts, FILE_MAX_PARTS + 1), VECDB_ERR_INVALID);
    asked = 0;
    assert_int_equal(file_write_parts(&file, 0, parts, FILE_MAX_PARTS), VECDB_OK); /* all of them empty */
    assert_int_equal(asked, 0);
}

/* -- the real one, on what is not open */

static int stop_at_once(void *context, const char *name) { return 42; }

static void test_not_open(void **state)
{
    const struct vfs *vfs = &vfs_posix;
    struct iovec part = {(char[4]){0}, 4};
    struct vfs_stat stat;
    const uint8_t *data;
    uint64_t number, start;
    char bytes[4];
    int dir;

    assert_true(vfs->open_dir(vfs, "/no/such/directory") < 0);
    assert_true(vfs->make_dir(vfs, "/no/such/directory") < 0);
    assert_true(vfs->list(vfs, -1, stop_at_once, NULL) < 0);
    assert_true(vfs->space(vfs, -1, &number) < 0);
    assert_true(vfs->stat_at(vfs, -1, "x", &stat) < 0);
    assert_true(vfs->pread(vfs, -1, bytes, 4, 0) < 0);
    assert_true(vfs->pwritev(vfs, -1, &part, 1, 0) < 0);
    assert_true(vfs->sync(vfs, -1, true) < 0);
    assert_true(vfs->sync(vfs, -1, false) < 0);
    assert_true(vfs->truncate(vfs, -1, 0) < 0);
    assert_true(vfs->allocate(vfs, -1, 0, 1) < 0);
    assert_true(vfs->stat(vfs, -1, &stat) < 0);
    assert_true(vfs->lock(vfs, -1) < 0);
    assert_true(vfs->map(vfs, -1, 4096, &data) < 0);
    assert_true(vfs->rename(vfs, -1, "x", "y") < 0);
    assert_true(vfs->unlink(vfs, -1, "x") < 0);
    start = vfs->now(vfs);
    vfs->sleep(vfs, 2000000);
    assert_true(vfs->now(vfs) - start >= 2000000);
    dir = vfs->open_dir(vfs, "/tmp");
    assert_true(dir > 2);
    assert_int_equal(vfs->list(vfs, dir, stop_at_once, NULL), 42);
    assert_int_equal(vfs->space(vfs, dir, &number), 0);
    assert_int_equal(vfs->close(vfs, dir), 0);
}

/* Where a program has closed its standard files, ours do not take their place. */
static void test_low_descriptors(void **state)
{
    int result = 0;
    pid_t child;

    fflush(NULL);
    if ((child = fork()) == 0) {
        int fd;
        close(0), close(1), close(2);
        fd = vfs_posix.open_dir(&vfs_posix, "/tmp");
        exit(fd > 2 && vfs_posix.list(&vfs_posix, fd, stop_at_once, NULL) == 42 ? 0 : 1); /* which says what was covered */
    }
    waitpid(child, &result, 0);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

/* -- the real one, on a system that fails: what the C library has of these names stands behind ours */

static int failing_errno; /* 0: none */

DIR *fdopendir(int fd)
{
    DIR *(*real)(int) = (DIR * (*)(int)) dlsym(RTLD_NEXT, "fdopendir");

    if (failing_errno == ENOMEM)
        return errno = ENOMEM, NULL;
    return real(fd);
}

struct dirent *readdir(DIR *stream)
{
    struct dirent *(*real)(DIR *) = (struct dirent * (*)(DIR *)) dlsym(RTLD_NEXT, "readdir");

    if (failing_errno == EIO)
        return errno = EIO, NULL;
    return real(stream);
}

ssize_t getrandom(void *data, size_t size, unsigned flags)
{
    ssize_t (*real)(void *, size_t, unsigned) = (ssize_t(*)(void *, size_t, unsigned))dlsym(RTLD_NEXT, "getrandom");

    if (failing_errno == ENOSYS)
        return errno = ENOSYS, -1;
    return real(data, size, flags);
}

static void test_a_failing_system(void **state)
{
    const struct vfs *vfs = &vfs_posix;
    int dir = vfs->open_dir(vfs, "/tmp"), next;
    char bytes[16];

    assert_true(dir > 2);
    failing_errno = ENOMEM;
    assert_int_equal(vfs->list(vfs, dir, stop_at_once, NULL), -ENOMEM);
    failing_errno = EIO;
    assert_int_equal(vfs->list(vfs, dir, stop_at_once, NULL), -EIO);
    failing_errno = ENOSYS;
    assert_int_equal(vfs->random(vfs, bytes, sizeof bytes), -ENOSYS);
    failing_errno = 0;
    next = vfs->open_dir(vfs, "/tmp");
    assert_int_equal(next, dir + 1); /* nothing was left open */
    assert_int_equal(vfs->random(vfs, bytes, sizeof bytes), 0);
    assert_int_equal(vfs->close(vfs, next), 0);
    assert_int_equal(vfs->close(vfs, dir), 0);
}

/* A size that no memory has. */
static int huge_stat(const struct vfs *vfs, int fd, struct vfs_stat *out)
{
    *out = (struct vfs_stat){.size = UINT64_MAX / 2 + 2, .regular = true};
    return 0;
}

static void test_too_large_to_map(void **state)
{
    const struct vfs vfs = {.stat = huge_stat};
    const struct file file = {&vfs, 8, "file"};
    struct file_map map;

    assert_int_equal(file_map(&file, UINT64_MAX / 2 + 2, false, &map), VECDB_ERR_NOMEM);
    assert_non_null(strstr(error_last()->message, "do not fit into memory"));
    assert_int_equal(file_map(&file, 5, false, &map), VECDB_ERR_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_odd_answers),
        cmocka_unit_test(test_not_open),
        cmocka_unit_test(test_low_descriptors),
        cmocka_unit_test(test_a_failing_system),
        cmocka_unit_test(test_too_large_to_map),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
