#include "base/vfs.h"

#include "base/plant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#endif

static int result_of(int value) { return value < 0 ? -errno : value; }

/* Programs that closed their standard streams must not find them in our files: move low descriptors up. */
static int above_standard_streams(int fd)
{
    int moved, saved;

    if (fd < 0)
        return -errno;
    if (fd > 2)
        return fd;
    moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    saved = errno;
    close(fd);
    return moved < 0 ? -saved : moved;
}

static int posix_open_dir(const struct vfs *vfs, const char *path)
{
    return above_standard_streams(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int posix_make_dir(const struct vfs *vfs, const char *path) { return result_of(mkdir(path, 0777)); }

static int posix_list(const struct vfs *vfs, int dir, int (*entry)(void *context, const char *name), void *context)
{
    /* A descriptor of its own: a copy would share the position, and with it the listing of another thread. */
    int fd = above_standard_streams(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)), result = 0;
    struct dirent *item;
    DIR *stream;

    if (fd < 0)
        return fd;
    stream = fdopendir(fd);
    if (!stream) {
        result = -errno;
        close(fd);
        return result;
    }
    while (errno = 0, (item = readdir(stream)) != NULL) {
        if (strcmp(item->d_name, ".") == 0 || strcmp(item->d_name, "..") == 0)
            continue;
        if ((result = entry(context, item->d_name)) != 0)
            break;
    }
    if (!item && errno)
        result = -errno;
    closedir(stream);
    return result;
}

static int posix_rename(const struct vfs *vfs, int dir, const char *from, const char *to)
{
    return result_of(renameat(dir, from, dir, to));
}

static int posix_unlink(const struct vfs *vfs, int dir, const char *name) { return result_of(unlinkat(dir, name, 0)); }

static void stat_from_system(const struct stat *from, struct vfs_stat *to)
{
    to->size = (uint64_t)from->st_size;
    to->device = from->st_dev;
    to->inode = from->st_ino;
    to->regular = S_ISREG(from->st_mode);
}

static int posix_stat_at(const struct vfs *vfs, int dir, const char *name, struct vfs_stat *out)
{
    struct stat info;

    if (fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    stat_from_system(&info, out);
    return 0;
}

static int posix_space(const struct vfs *vfs, int dir, uint64_t *free_bytes)
{
    struct statvfs info;

    if (fstatvfs(dir, &info) < 0)
        return -errno;
    *free_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return 0;
}

static int posix_open(const struct vfs *vfs, int dir, const char *name, unsigned flags)
{
    /* NONBLOCK: opening a pipe that someone put there must not wait for its other end. */
    int mode = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;

    mode |= flags & VFS_WRITE ? O_RDWR : O_RDONLY;
    mode |= flags & VFS_CREATE ? O_CREAT : 0;
    mode |= flags & VFS_EXCLUSIVE ? O_EXCL : 0;
    return above_standard_streams(openat(dir, name, mode, 0640));
}

static int posix_close(const struct vfs *vfs, int fd) { return result_of(close(fd)); }

static ssize_t posix_pread(const struct vfs *vfs, int fd, void *data, size_t size, uint64_t offset)
{
    ssize_t done = pread(fd, data, size, (off_t)offset);

    return done < 0 ? -errno : done;
}

static ssize_t posix_pwritev(const struct vfs *vfs, int fd, const struct iovec *parts, int part_count, uint64_t offset)
{
    ssize_t done = pwritev(fd, parts, part_count, (off_t)offset);

    return done < 0 ? -errno : done;
}

static int posix_sync(const struct vfs *vfs, int fd, bool data_only)
{
    return result_of(data_only ? fdatasync(fd) : fsync(fd));
}

static int posix_truncate(const struct vfs *vfs, int fd, uint64_t size)
{
    return result_of(ftruncate(fd, (off_t)size));
}

static int posix_allocate(const struct vfs *vfs, int fd, uint64_t offset, uint64_t size)
{
    return result_of(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size));
}

static int posix_stat(const struct vfs *vfs, int fd, struct vfs_stat *out)
{
    struct stat info;

    if (fstat(fd, &info) < 0)
        return -errno;
    stat_from_system(&info, out);
    return 0;
}

/* flock, not fcntl: it belongs to the open file, so a second opening in this process is refused too, and closing some
 * other descriptor of the file does not let go of it. */
static int posix_lock(const struct vfs *vfs, int fd)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

    return PLANTED(22) ? result_of(fcntl(fd, F_SETLK, &whole)) : result_of(flock(fd, LOCK_EX | LOCK_NB));
}

static int posix_map(const struct vfs *vfs, int fd, size_t size, const uint8_t **out)
{
    void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

    if (data == MAP_FAILED)
        return -errno;
    *out = data;
    return 0;
}

static void posix_unmap(const struct vfs *vfs, const uint8_t *data, size_t size) { munmap((void *)(uintptr_t)data, size); }

static int posix_advise(const struct vfs *vfs, const uint8_t *data, size_t size, enum vfs_advice advice)
{
    static const int system_advice[] = {
        [VFS_WILL_NEED] = MADV_WILLNEED,  [VFS_POPULATE] = MADV_POPULATE_READ,  [VFS_RANDOM] = MADV_RANDOM,
        [VFS_DONT_NEED] = MADV_DONTNEED, [VFS_HUGE_PAGES] = MADV_HUGEPAGE,
    };
    uintptr_t start = (uintptr_t)data & ~(uintptr_t)4095; /* a page at least: wider ones the system rounds itself */

    return result_of(madvise((void *)start, size + ((uintptr_t)data - start), system_advice[advice]));
}

static uint64_t posix_now(const struct vfs *vfs)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void posix_sleep(const struct vfs *vfs, uint64_t nanoseconds)
{
    struct timespec time = {(time_t)(nanoseconds / 1000000000u), (long)(nanoseconds % 1000000000u)};

    nanosleep(&time, NULL);
}

static int posix_random(const struct vfs *vfs, void *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        ssize_t got = getrandom((char *)data + done, size - done, 0);
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0)
            done += (size_t)got;
    }
    return 0;
}

const struct vfs vfs_posix = {
    .open_dir = posix_open_dir,
    .make_dir = posix_make_dir,
    .list = posix_list,
    .rename = posix_rename,
    .unlink = posix_unlink,
    .stat_at = posix_stat_at,
    .space = posix_space,
    .open = posix_open,
    .close = posix_close,
    .pread = posix_pread,
    .pwritev = posix_pwritev,
    .sync = posix_sync,
    .truncate = posix_truncate,
    .allocate = posix_allocate,
    .stat = posix_stat,
    .lock = posix_lock,
    .map = posix_map,
    .unmap = posix_unmap,
    .advise = posix_advise,
    .now = posix_now,
    .sleep = posix_sleep,
    .random = posix_random,
};
