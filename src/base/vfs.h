/* The system's files, as a table: every file call of the library goes through one, handed over when a database is opened.
 * Tests put a simulated file system in its place, which fails any one call or replays a power cut.
 *
 * The calls are the system's own, raw: each returns a negative errno on failure, may fail with -EINTR, and may read or
 * write less than asked. What makes them whole (loops, messages) is base/file.h, on top, so that it is tested too. */
#ifndef VECDB_BASE_VFS_H
#define VECDB_BASE_VFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct vfs_stat {
    uint64_t size, device, inode;
    bool regular; /* a plain file: no directory, link, pipe or device */
};

enum vfs_open { /* bits */
    VFS_READ = 0,
    VFS_WRITE = 1,
    VFS_CREATE = 2,    /* make it when it is not there */
    VFS_EXCLUSIVE = 4, /* with CREATE: fail when it is there */
};

enum vfs_advice {
    VFS_WILL_NEED, /* read ahead */
    VFS_POPULATE,  /* fault in now; a page that cannot be read is an error, not a signal */
    VFS_RANDOM,    /* no read-ahead */
    VFS_DONT_NEED,
    VFS_HUGE_PAGES,
};

struct vfs {
    /* Directories. Paths are the user's; everything else is a name inside an open directory. */
    int (*open_dir)(const struct vfs *vfs, const char *path);
    int (*make_dir)(const struct vfs *vfs, const char *path);
    /** Calls `entry` for each name but "." and ".."; stops early, with its value, when that is not 0. */
    int (*list)(const struct vfs *vfs, int dir, int (*entry)(void *context, const char *name), void *context);
    int (*rename)(const struct vfs *vfs, int dir, const char *from, const char *to);
    int (*unlink)(const struct vfs *vfs, int dir, const char *name);
    int (*stat_at)(const struct vfs *vfs, int dir, const char *name, struct vfs_stat *out); /* a link is itself */
    int (*space)(const struct vfs *vfs, int dir, uint64_t *free_bytes);

    /* Files. Links are not followed. Descriptors are never 0, 1 or 2, and are closed by exec. */
    int (*open)(const struct vfs *vfs, int dir, const char *name, unsigned flags);
    int (*close)(const struct vfs *vfs, int fd); /* files and directories; never repeated on failure */
    ssize_t (*pread)(const struct vfs *vfs, int fd, void *data, size_t size, uint64_t offset);
    ssize_t (*pwritev)(const struct vfs *vfs, int fd, const struct iovec *parts, int part_count, uint64_t offset);
    int (*sync)(const struct vfs *vfs, int fd, bool data_only); /* files and directories; data_only keeps the size too */
    int (*truncate)(const struct vfs *vfs, int fd, uint64_t size);
    /** Space for bytes that will be written there; the file's size stays. -EOPNOTSUPP where there is no such thing. */
    int (*allocate)(const struct vfs *vfs, int fd, uint64_t offset, uint64_t size);
    int (*stat)(const struct vfs *vfs, int fd, struct vfs_stat *out);
    int (*lock)(const struct vfs *vfs, int fd); /* flock, exclusive, not waiting: -EWOULDBLOCK; let go by close */

    /* Maps: read-only. */
    int (*map)(const struct vfs *vfs, int fd, size_t size, const uint8_t **out);
    void (*unmap)(const struct vfs *vfs, const uint8_t *data, size_t size);
    int (*advise)(const struct vfs *vfs, const uint8_t *data, size_t size, enum vfs_advice advice);

    uint64_t (*now)(const struct vfs *vfs); /* nanoseconds that never go back */
    void (*sleep)(const struct vfs *vfs, uint64_t nanoseconds);
    int (*random)(const struct vfs *vfs, void *data, size_t size); /* from the system; whole or -errno */
};

/** The real thing. */
extern const struct vfs vfs_posix;

#endif
