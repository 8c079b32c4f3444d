#include "base/file.h"

#include "base/mem.h"
#include "base/plant.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* Repeat what a signal interrupted. A call that never gets through is a failure, not an endless loop. */
#define INTERRUPTED_MAX 100
#define RETRY(result, call)                                                                                            \
    do {                                                                                                               \
        int tries_ = 0;                                                                                                \
        do                                                                                                             \
            (result) = (call);                                                                                         \
        while ((result) == -EINTR && !PLANTED(8) && ++tries_ < INTERRUPTED_MAX);                                       \
    } while (0)

vecdb_status file_status(int system)
{
    switch (system) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return VECDB_ERR_FULL;
    case ENOMEM:
        return VECDB_ERR_NOMEM;
    case ENOENT:
        return VECDB_ERR_NO_SUCH;
    case EEXIST:
        return VECDB_ERR_EXISTS;
    case EROFS:
    case EACCES:
    case EPERM:
        return VECDB_ERR_READONLY;
    case EWOULDBLOCK:
        return VECDB_ERR_BUSY;
    case ELOOP:
        return VECDB_ERR_CORRUPT;
    default:
        return VECDB_ERR_IO;
    }
}

static vecdb_status fail(const char *name, const char *what, int result)
{
    return error_set_system(file_status(-result), -result, "%s: %s", name, what);
}

/* -- directories */

/* The directory that holds `path`, for making its creation durable. */
static vecdb_status sync_parent(const struct vfs *vfs, const char *path)
{
    size_t length = strlen(path);
    char *parent;
    int fd, result;

    while (length > 1 && path[length - 1] == '/')
        length--;
    while (length > 0 && path[length - 1] != '/')
        length--;
    while (length > 1 && path[length - 1] == '/')
        length--;
    parent = length ? mem_dup(path, length + 1) : mem_strdup(".");
    if (!parent)
        return error_nomem("directory path");
    if (length)
        parent[length] = '\0';
    RETRY(fd, vfs->open_dir(vfs, parent));
    mem_free(parent);
    if (fd < 0)
        return fail(path, "cannot open the directory above", fd);
    RETRY(result, vfs->sync(vfs, fd, false));
    vfs->close(vfs, fd);
    return result < 0 ? fail(path, "cannot sync the directory above", result) : VECDB_OK;
}

vecdb_status dir_open(const struct vfs *vfs, const char *path, bool create, struct dir *out)
{
    int fd, result;

    *out = (struct dir){vfs, 0};
    RETRY(fd, vfs->open_dir(vfs, path));
    if (fd == -ENOENT && create) {
        RETRY(result, vfs->make_dir(vfs, path));
        if (result < 0 && result != -EEXIST)
            return fail(path, "cannot create the directory", result);
        RETRY(fd, vfs->open_dir(vfs, path));
    }
    if (fd == -ENOTDIR)
        return error_set_system(VECDB_ERR_INVALID, ENOTDIR, "%s: a database is a directory", path);
    if (fd < 0)
        return fail(path, "cannot open the directory", fd);
    out->fd = fd;
    if (create) {
        /* Also when it was there: an earlier call may have been cut off between making it and this. */
        vecdb_status status = sync_parent(vfs, path);
        if (status != VECDB_OK && status != VECDB_ERR_READONLY) { /* unreadable above, so not made by us */
            dir_close(out);
            return status;
        }
    }
    return VECDB_OK;
}

void dir_close(struct dir *dir)
{
    if (dir->fd > 0)
        dir->vfs->close(dir->vfs, dir->fd);
    dir->fd = 0;
}

vecdb_status dir_sync(const struct dir *dir)
{
    int result;

    RETRY(result, dir->vfs->sync(dir->vfs, dir->fd, false));
    return result < 0 ? fail("directory", "sync failed", result) : VECDB_OK;
}

vecdb_status dir_rename(const struct dir *dir, const char *from, const char *to)
{
    int result;

    RETRY(result, dir->vfs->rename(dir->vfs, dir->fd, from, to));
    if (result < 0)
        return error_set_system(file_status(-result), -result, "%s: cannot rename to %s", from, to);
    return VECDB_OK;
}

vecdb_status dir_unlink(const struct dir *dir, const char *name)
{
    int result;

    RETRY(result, dir->vfs->unlink(dir->vfs, dir->fd, name));
    return result < 0 ? fail(name, "cannot remove", result) : VECDB_OK;
}

vecdb_status dir_stat(const struct dir *dir, const char *name, struct vfs_stat *out)
{
    int result;

    RETRY(result, dir->vfs->stat_at(dir->vfs, dir->fd, name, out));
    return result < 0 ? fail(name, "cannot look up", result) : VECDB_OK;
}

static int add_name(void *context, const char *name)
{
    return buf_append(context, name, strlen(name) + 1) == VECDB_OK ? 0 : -ENOMEM;
}

vecdb_status dir_list(const struct dir *dir, struct buf *names)
{
    size_t before = names->size;
    int result, tries = 0;

    do {
        names->size = before;
        result = dir->vfs->list(dir->vfs, dir->fd, add_name, names);
    } while (result == -EINTR && ++tries < INTERRUPTED_MAX);
    return result < 0 ? fail("directory", "cannot list", result) : VECDB_OK;
}

vecdb_status dir_space(const struct dir *dir, uint64_t *free_bytes)
{
    int result;

    RETRY(result, dir->vfs->space(dir->vfs, dir->fd, free_bytes));
    return result < 0 ? fail("directory", "cannot ask for free space", result) : VECDB_OK;
}

/* -- files */

vecdb_status file_open(const struct dir *dir, const char *name, unsigned flags, struct file *out)
{
    const struct vfs *vfs = dir->vfs;
    struct vfs_stat info;
    size_t length = strlen(name);
    int fd, result;

    *out = (struct file){.vfs = vfs};
    if (length >= sizeof out->name)
        return error_set(VECDB_ERR_INVALID, "file name of %zu bytes: at most %zu", length, sizeof out->name - 1);
    memcpy(out->name, name, length + 1);
    RETRY(fd, vfs->open(vfs, dir->fd, name, flags));
    if (fd < 0)
        return fail(name, flags & VFS_CREATE ? "cannot create" : "cannot open", fd);
    RETRY(result, vfs->stat(vfs, fd, &info));
    if (result < 0 || !info.regular) {
        vfs->close(vfs, fd);
        if (flags & VFS_EXCLUSIVE) /* it is new, and the caller's failure leaves nothing behind */
            (void)vfs->unlink(vfs, dir->fd, name);
        if (result < 0)
            return fail(name, "cannot look up", result);
        return error_set(VECDB_ERR_CORRUPT, "%s: not a plain file", name);
    }
    out->fd = fd;
    return VECDB_OK;
}

void file_close(struct file *file)
{
    if (file->fd > 0)
        file->vfs->close(file->vfs, file->fd);
    file->fd = 0;
}

vecdb_status file_stat(const struct file *file, struct vfs_stat *out)
{
    int result;

    RETRY(result, file->vfs->stat(file->vfs, file->fd, out));
    return result < 0 ? fail(file->name, "cannot look up", result) : VECDB_OK;
}

vecdb_status file_size(const struct file *file, uint64_t *size)
{
    struct vfs_stat info;

    TRY(file_stat(file, &info));
    *size = info.size;
    return VECDB_OK;
}

vecdb_status file_lock(const struct file *file)
{
    int result;

    RETRY(result, file->vfs->lock(file->vfs, file->fd));
    return result < 0 ? fail(file->name, "cannot lock", result) : VECDB_OK;
}

vecdb_status file_random(const struct vfs *vfs, void *data, size_t size)
{
    int result;

    RETRY(result, vfs->random(vfs, data, size));
    return result < 0 ? fail("system", "no random numbers", result) : VECDB_OK;
}

vecdb_status file_read_some(const struct file *file, uint64_t offset, void *data, size_t size, size_t *got)
{
    size_t done = 0;

    while (done < size) {
        ssize_t result;
        size_t ask = size - done < ((size_t)1 << 30) ? size - done : (size_t)1 << 30;
        RETRY(result, file->vfs->pread(file->vfs, file->fd, (char *)data + done, ask, offset + done));
        if (result < 0)
            return error_set_system(file_status((int)-result), (int)-result, "%s: cannot read %zu bytes at %llu",
                                    file->name, size, (unsigned long long)offset);
        if (result == 0)
            break;
        done += (size_t)result;
    }
    *got = done;
    return VECDB_OK;
}

vecdb_status file_read(const struct file *file, uint64_t offset, void *data, size_t size)
{
    size_t got;

    TRY(file_read_some(file, offset, data, size, &got));
    if (got < size)
        return error_set(VECDB_ERR_CORRUPT, "%s: ends at %llu, expected %zu bytes at %llu", file->name,
                         (unsigned long long)(offset + got), size, (unsigned long long)offset);
    return VECDB_OK;
}

vecdb_status file_write_parts(const struct file *file, uint64_t offset, const struct iovec *parts, size_t part_count)
{
    struct iovec rest[FILE_MAX_PARTS];
    size_t first = 0;
    uint64_t at = offset;

    if (part_count > FILE_MAX_PARTS)
        return error_set(VECDB_ERR_INVALID, "%s: write of %zu parts: at most %d", file->name, part_count,
                         FILE_MAX_PARTS);
    memcpy(rest, parts, part_count * sizeof *parts);
    for (;;) {
        ssize_t result;

        while (first < part_count && rest[first].iov_len == 0)
            first++;
        if (first == part_count)
            return VECDB_OK;
        RETRY(result, file->vfs->pwritev(file->vfs, file->fd, rest + first, (int)(part_count - first), at));
        if (result == 0)
            result = -EIO; /* no progress and no reason */
        if (result < 0)
            return error_set_system(file_status((int)-result), (int)-result, "%s: cannot write at %llu", file->name,
                                    (unsigned long long)at);
        if (PLANTED(7))
            return VECDB_OK;
        at += (uint64_t)result;
        while (first < part_count && (size_t)result >= rest[first].iov_len)
            result -= (ssize_t)rest[first++].iov_len;
        if (first < part_count) {
            rest[first].iov_base = (char *)rest[first].iov_base + result;
            rest[first].iov_len -= (size_t)result;
        }
    }
}

vecdb_status file_write(const struct file *file, uint64_t offset, const void *data, size_t size)
{
    struct iovec part = {(void *)(uintptr_t)data, size};

    return file_write_parts(file, offset, &part, 1);
}

vecdb_status file_truncate(const struct file *file, uint64_t size)
{
    int result;

    RETRY(result, file->vfs->truncate(file->vfs, file->fd, size));
    if (result < 0)
        return error_set_system(file_status(-result), -result, "%s: cannot cut to %llu bytes", file->name,
                                (unsigned long long)size);
    return VECDB_OK;
}

vecdb_status file_allocate(const struct file *file, uint64_t offset, uint64_t size)
{
    int result;

    RETRY(result, file->vfs->allocate(file->vfs, file->fd, offset, size));
    if (result == -EOPNOTSUPP || result == -ENOSYS || result == -EINVAL)
        return VECDB_NOT_FOUND;
    if (result < 0)
        return error_set_system(file_status(-result), -result, "%s: no space for %llu bytes at offset %llu", file->name,
                                (unsigned long long)size, (unsigned long long)offset);
    return VECDB_OK;
}

vecdb_status file_sync(const struct file *file)
{
    int result;

    RETRY(result, file->vfs->sync(file->vfs, file->fd, true));
    if (PLANTED(9) && result < 0)
        RETRY(result, file->vfs->sync(file->vfs, file->fd, true));
    return result < 0 ? fail(file->name, "sync failed", result) : VECDB_OK;
}

vecdb_status file_read_all(const struct dir *dir, const char *name, size_t limit, struct buf *out)
{
    struct file file;
    uint64_t size = 0;
    vecdb_status status;

    TRY(file_open(dir, name, VFS_READ, &file));
    status = file_size(&file, &size);
    if (status == VECDB_OK && size > limit)
        status = error_set(VECDB_ERR_LIMIT, "%s: %llu bytes, at most %zu", name, (unsigned long long)size, limit);
    if (status == VECDB_OK)
        status = buf_reserve(out, (size_t)size);
    if (status == VECDB_OK)
        status = file_read(&file, 0, out->data + out->size, (size_t)size);
    if (status == VECDB_OK)
        out->size += (size_t)size;
    file_close(&file);
    return status;
}

/* -- maps */

vecdb_status file_map(const struct file *file, uint64_t expected_size, bool in_heap, struct file_map *out)
{
    uint64_t size = 0;
    uint8_t *copy;
    int result = -ENOSYS;

    *out = (struct file_map){.vfs = file->vfs};
    TRY(file_size(file, &size));
    if (size != expected_size)
        return error_set(VECDB_ERR_CORRUPT, "%s: %llu bytes, expected %llu", file->name, (unsigned long long)size,
                         (unsigned long long)expected_size);
    if (size > PTRDIFF_MAX)
        return error_set(VECDB_ERR_NOMEM, "%s: %llu bytes do not fit into memory", file->name,
                         (unsigned long long)size);
    if (size == 0)
        return VECDB_OK;
    out->size = (size_t)size;
    if (!in_heap)
        RETRY(result, file->vfs->map(file->vfs, file->fd, (size_t)size, &out->data));
    if (result >= 0)
        return VECDB_OK;
    copy = mem_aligned_alloc(size >= ((size_t)2 << 20) ? (size_t)2 << 20 : 64, (size_t)size);
    if (!copy)
        return error_set(VECDB_ERR_NOMEM, "%s: out of memory for %llu bytes", file->name, (unsigned long long)size);
    if (file_read(file, 0, copy, (size_t)size) != VECDB_OK) {
        mem_free(copy);
        *out = (struct file_map){.vfs = file->vfs};
        return error_last()->status;
    }
    out->data = copy;
    out->in_heap = true;
    return VECDB_OK;
}

void file_unmap(struct file_map *map)
{
    if (map->data && map->in_heap)
        mem_free((void *)(uintptr_t)map->data);
    else if (map->data)
        map->vfs->unmap(map->vfs, map->data, map->size);
    map->data = NULL;
    map->size = 0;
}

vecdb_status file_advise(const struct file_map *map, size_t offset, size_t size, enum vfs_advice advice)
{
    int result;

    if (!map->data || map->in_heap || offset >= map->size)
        return VECDB_OK;
    if (size > map->size - offset)
        size = map->size - offset;
    RETRY(result, map->vfs->advise(map->vfs, map->data + offset, size, advice));
    if (advice == VFS_POPULATE && (result == -EFAULT || result == -EIO || result == -EHWPOISON))
        return error_set_system(VECDB_ERR_IO, -result, "file map: cannot read the pages at %zu", offset);
    return VECDB_OK;
}
