/* Files made whole, on top of base/vfs.h: interrupted calls are repeated, short ones continued, failures given a status
 * and a message with the file's name. A failed sync is never repeated: the system may have thrown the data away. */
#ifndef VECDB_BASE_FILE_H
#define VECDB_BASE_FILE_H

#include "base/buf.h"
#include "base/vfs.h"

/** The longest file name that this library makes, with the zero. */
#define FILE_NAME_SIZE 64

struct dir {
    const struct vfs *vfs;
    int fd;
};

struct file {
    const struct vfs *vfs;
    int fd; /* 0: not open */
    char name[FILE_NAME_SIZE];
};

/** Status for an errno: FULL (no space), NOMEM, NO_SUCH, EXISTS, READONLY, BUSY, CORRUPT (a link where a file belongs), IO. */
vecdb_status file_status(int system);

/* -- directories */

/** Open a directory; with `create`, make it when it is not there and make that durable. VECDB_ERR_NO_SUCH, ... */
vecdb_status dir_open(const struct vfs *vfs, const char *path, bool create, struct dir *out);
void dir_close(struct dir *dir);
/** Make creations, renames and removals in it durable. */
vecdb_status dir_sync(const struct dir *dir);
vecdb_status dir_rename(const struct dir *dir, const char *from, const char *to);
/** VECDB_ERR_NO_SUCH when it is not there. */
vecdb_status dir_unlink(const struct dir *dir, const char *name);
/** Whether the name is there, and what it is. VECDB_ERR_NO_SUCH when not. */
vecdb_status dir_stat(const struct dir *dir, const char *name, struct vfs_stat *out);
/** All names, each ended by a zero, appended to `names`. */
vecdb_status dir_list(const struct dir *dir, struct buf *names);
vecdb_status dir_space(const struct dir *dir, uint64_t *free_bytes);

/* -- files */

/** Open a plain file in `dir`; flags are VFS_WRITE | ... . VECDB_ERR_NO_SUCH, VECDB_ERR_CORRUPT when it is no plain file. */
vecdb_status file_open(const struct dir *dir, const char *name, unsigned flags, struct file *out);
/** Close; a file that is not open is left alone. Says nothing: what must last was synced before. */
void file_close(struct file *file);
vecdb_status file_size(const struct file *file, uint64_t *size);
vecdb_status file_stat(const struct file *file, struct vfs_stat *out);
/** Take the exclusive lock, until the file is closed. VECDB_ERR_BUSY when somebody has it. */
vecdb_status file_lock(const struct file *file);
/** Read exactly `size` bytes; VECDB_ERR_CORRUPT when the file ends before. */
vecdb_status file_read(const struct file *file, uint64_t offset, void *data, size_t size);
/** Read at most `size` bytes, fewer only at the end of the file. */
vecdb_status file_read_some(const struct file *file, uint64_t offset, void *data, size_t size, size_t *got);
vecdb_status file_write(const struct file *file, uint64_t offset, const void *data, size_t size);
#define FILE_MAX_PARTS 128
/** Write parts one after the other, in one call where the system lets us. At most FILE_MAX_PARTS. */
vecdb_status file_write_parts(const struct file *file, uint64_t offset, const struct iovec *parts, size_t part_count);
vecdb_status file_truncate(const struct file *file, uint64_t size);
/** Set space aside; VECDB_NOT_FOUND where the file system cannot. */
vecdb_status file_allocate(const struct file *file, uint64_t offset, uint64_t size);
/** Make contents and size durable. Never call it again after it failed. */
vecdb_status file_sync(const struct file *file);
/** Append a whole file to `out`; VECDB_ERR_LIMIT when it is larger than `limit` bytes. */
vecdb_status file_read_all(const struct dir *dir, const char *name, size_t limit, struct buf *out);

/** Random bytes from the system. */
vecdb_status file_random(const struct vfs *vfs, void *data, size_t size);

/* -- maps of files that never change */

struct file_map {
    const struct vfs *vfs;
    const uint8_t *data; /* NULL for an empty file */
    size_t size;
    bool in_heap;        /* a copy; otherwise a read-only map */
};
/**
 * See a whole file as memory, 64-byte aligned: mapped, or copied when `in_heap`, or when mapping fails.
 * The size must be what the caller expects: VECDB_ERR_CORRUPT otherwise, so that a cut file fails here and not by a signal.
 */
vecdb_status file_map(const struct file *file, uint64_t expected_size, bool in_heap, struct file_map *out);
void file_unmap(struct file_map *map);
/** Only advice: what the system refuses is not an error, but for VFS_POPULATE, which finds pages that cannot be read. */
vecdb_status file_advise(const struct file_map *map, size_t offset, size_t size, enum vfs_advice advice);

#endif
