#include "support/one_file.h"

#include "base/bytes.h"
#include "base/checksum.h"

#include <errno.h>

static const struct one_file *self(const struct vfs *vfs) { return (const struct one_file *)(const void *)vfs; }

static int one_open(const struct vfs *vfs, int dir, const char *name, unsigned flags)
{
    return flags & VFS_WRITE ? -EROFS : 7;
}

static int one_close(const struct vfs *vfs, int fd) { return 0; }

static int one_stat(const struct vfs *vfs, int fd, struct vfs_stat *out)
{
    *out = (struct vfs_stat){.size = self(vfs)->size, .regular = true};
    return 0;
}

static int one_stat_at(const struct vfs *vfs, int dir, const char *name, struct vfs_stat *out)
{
    return one_stat(vfs, 0, out);
}

static ssize_t one_pread(const struct vfs *vfs, int fd, void *data, size_t size, uint64_t offset)
{
    const struct one_file *file = self(vfs);

    if (offset >= file->size)
        return 0;
    if (size > file->size - offset)
        size = file->size - offset;
    memcpy(data, file->data + offset, size);
    return (ssize_t)size;
}

static int one_map(const struct vfs *vfs, int fd, size_t size, const uint8_t **out)
{
    *out = self(vfs)->data;
    return 0;
}

static void one_unmap(const struct vfs *vfs, const uint8_t *data, size_t size) {}
static int one_advise(const struct vfs *vfs, const uint8_t *data, size_t size, enum vfs_advice advice) { return 0; }

void one_file_init(struct one_file *file, const uint8_t *data, size_t size, struct dir *dir)
{
    *file = (struct one_file){.vfs = {.open = one_open, .close = one_close, .stat = one_stat, .stat_at = one_stat_at,
                                      .pread = one_pread, .map = one_map, .unmap = one_unmap, .advise = one_advise},
                              .data = data, .size = size};
    *dir = (struct dir){&file->vfs, 5};
}

void reseal(uint8_t *data, size_t size)
{
    uint64_t table = load_u64(data + 72), pieces_at;
    uint32_t count = load_u32(data + 80);

    if (table < size && count < 1000 && table + 64 * (uint64_t)count + 64 <= size) {
        pieces_at = table + 64 * (uint64_t)count;
        for (uint32_t i = 0; i < count; i++) {
            uint8_t *entry = data + table + 64 * i;
            uint64_t offset = load_u64(entry + 8), bytes = load_u64(entry + 16), first = load_u64(entry + 48), n;
            if (offset > table || bytes > table - offset || first > size / 8)
                continue;
            bytes = align_up(bytes, 4096);
            n = (bytes + 65535) / 65536;
            if (offset + bytes > table || pieces_at + 8 * (first + n) > size - 64)
                continue;
            for (uint64_t p = 0; p < n; p++)
                store_u64(data + pieces_at + 8 * (first + p),
                          checksum(data + offset + p * 65536, bytes - p * 65536 < 65536 ? bytes - p * 65536 : 65536, 0));
            store_u64(entry + 40, checksum(data + pieces_at + 8 * first, 8 * n, 0));
        }
        store_u64(data + 96, checksum(data + table, 64 * count, 0));
    }
    store_u64(data + 56, checksum(data, 56, 0));
    store_u64(data + 4088, checksum(data, 4088, 0));
    store_u64(data + size - 56, load_u64(data + 4088));
}
