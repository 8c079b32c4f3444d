#include "support/simfs.h"

#include "base/rng.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR 512
#define MAX_FD 256

/* Memory here is the C library's own: faults of the library's allocator must not hit the simulator. */

struct bytes {
    uint8_t *data;
    size_t size, room;
};

enum op_kind { OP_WRITE, OP_TRUNCATE, OP_CREATE, OP_RENAME, OP_UNLINK };
enum op_state { OP_PENDING, OP_DURABLE, OP_LOST /* a sync failed: neither written nor to be written again */ };

struct op {
    enum op_kind kind;
    enum op_state state;
    size_t offset, size; /* WRITE; TRUNCATE: size */
    uint8_t *data;       /* WRITE */
    char *name, *to;     /* CREATE, UNLINK: name; RENAME: name and to */
    struct inode *inode; /* CREATE, RENAME: what the name leads to */
};

struct entry {
    char *name;
    struct inode *inode;
};

struct entries {
    struct entry *items;
    size_t count;
};

struct inode {
    struct inode *next;
    uint64_t number;
    bool is_dir, locked, sync_failed;
    unsigned opened;
    struct bytes now, base;         /* files: what is seen; what is durable before the ops */
    struct entries names, base_names; /* directories */
    struct op *ops;
    size_t op_count;
    uint64_t reserved;  /* files: space is set aside up to here */
    struct inode *copy; /* while cloning */
};

struct descriptor {
    struct inode *inode;
    bool has_lock;
};

struct simfs {
    struct vfs vfs;
    struct inode *inodes, *root;
    uint64_t next_number, clock, random;
    struct descriptor fds[MAX_FD];
    size_t map_count;
    struct simfs_faults faults;
    uint64_t calls, syncs, syncs_after_failure;
    unsigned interrupted; /* times, of the call being tried */
    bool hit;
    void (*hook)(void *context, struct simfs *fs);
    void *hook_context;
};

static void *must(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static void bytes_resize(struct bytes *bytes, size_t size)
{
    if (size > bytes->room) {
        bytes->room = size + size / 2 + 64;
        bytes->data = must(realloc(bytes->data, bytes->room));
    }
    if (size > bytes->size)
        memset(bytes->data + bytes->size, 0, size - bytes->size);
    bytes->size = size;
}

static void bytes_write(struct bytes *bytes, size_t offset, const void *data, size_t size)
{
    if (offset + size > bytes->size)
        bytes_resize(bytes, offset + size);
    if (size)
        memcpy(bytes->data + offset, data, size);
}

static void bytes_copy(struct bytes *to, const struct bytes *from)
{
    bytes_resize(to, 0);
    bytes_resize(to, from->size);
    if (from->size)
        memcpy(to->data, from->data, from->size);
}

static struct entry *entries_find(const struct entries *entries, const char *name)
{
    for (size_t i = 0; i < entries->count; i++)
        if (strcmp(entries->items[i].name, name) == 0)
            return &entries->items[i];
    return NULL;
}

static void entries_put(struct entries *entries, const char *name, struct inode *inode)
{
    struct entry *found = entries_find(entries, name);

    if (!found) {
        entries->items = must(realloc(entries->items, (entries->count + 1) * sizeof *entries->items));
        found = &entries->items[entries->count++];
        found->name = must(strdup(name));
    }
    found->inode = inode;
}

static void entries_remove(struct entries *entries, const char *name)
{
    struct entry *found = entries_find(entries, name);

    if (!found)
        return;
    free(found->name);
    memmove(found, found + 1, (size_t)(entries->items + entries->count - (found + 1)) * sizeof *found);
    entries->count--;
}

static void entries_clear(struct entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        free(entries->items[i].name);
    free(entries->items);
    *entries = (struct entries){0};
}

static struct inode *inode_create(struct simfs *fs, bool is_dir)
{
    struct inode *inode = must(calloc(1, sizeof *inode));

    inode->number = fs->next_number++;
    inode->is_dir = is_dir;
    inode->next = fs->inodes;
    fs->inodes = inode;
    return inode;
}

static void op_clear(struct op *op)
{
    free(op->data);
    free(op->name);
    free(op->to);
}

static struct op *op_add(struct inode *inode, enum op_kind kind)
{
    inode->ops = must(realloc(inode->ops, (inode->op_count + 1) * sizeof *inode->ops));
    inode->ops[inode->op_count] = (struct op){.kind = kind};
    return &inode->ops[inode->op_count++];
}

static void inode_free(struct inode *inode)
{
    for (size_t i = 0; i < inode->op_count; i++)
        op_clear(&inode->ops[i]);
    free(inode->ops);
    free(inode->now.data);
    free(inode->base.data);
    entries_clear(&inode->names);
    entries_clear(&inode->base_names);
    free(inode);
}

static void apply_name_op(struct entries *names, const struct op *op)
{
    if (op->kind == OP_CREATE) {
        entries_put(names, op->name, op->inode);
    } else if (op->kind == OP_RENAME) {
        struct entry *from = entries_find(names, op->name);
        if (from && from->inode == op->inode)
            entries_remove(names, op->name);
        entries_put(names, op->to, op->inode);
    } else {
        entries_remove(names, op->name);
    }
}

static void apply_file_op(struct bytes *bytes, const struct op *op)
{
    if (op->kind == OP_WRITE)
        bytes_write(bytes, op->offset, op->data, op->size);
    else
        bytes_resize(bytes, op->size);
}

/* Durable ops at the head become the base. Writes lost for good are dropped where nothing durable waits behind them. */
static void fold(struct inode *inode)
{
    size_t i = 0;

    while (i < inode->op_count && inode->ops[i].state == OP_DURABLE) {
        if (inode->is_dir)
            apply_name_op(&inode->base_names, &inode->ops[i]);
        else
            apply_file_op(&inode->base, &inode->ops[i]);
        op_clear(&inode->ops[i++]);
    }
    inode->op_count -= i;
    if (i)
        memmove(inode->ops, inode->ops + i, inode->op_count * sizeof *inode->ops);
}

/* -- faults */

static bool changes(const char *call)
{
    static const char *const changing[] = {"open+", "make_dir", "rename", "unlink", "write", "sync", "truncate"};

    for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++)
        if (strcmp(changing[i], call) == 0)
            return true;
    return false;
}

/* Every call begins here: 0, or the errno it fails with. */
static int enter(struct simfs *fs, const char *call, const char *what)
{
    bool is_sync = strcmp(call, "sync") == 0;

    fs->clock += 1000;
    if (fs->interrupted < fs->faults.interrupts) {
        fs->interrupted++;
        return EINTR;
    }
    fs->interrupted = 0;
    if (fs->hook && changes(call))
        fs->hook(fs->hook_context, fs);
    if (getenv("SIMFS_TRACE"))
        fprintf(stderr, "%p %llu %s %s\n", (void *)fs, (unsigned long long)fs->calls + 1, call, what);
    if (fs->faults.only_syncs && !is_sync)
        return 0;
    fs->calls++;
    if (fs->faults.fail_at && (fs->calls == fs->faults.fail_at || (fs->faults.forever && fs->calls > fs->faults.fail_at))) {
        fs->hit = true;
        return fs->faults.error;
    }
    return 0;
}

#define ENTER(fs, call, what)                                                                                          \
    do {                                                                                                               \
        int error_ = enter((fs), (call), (what));                                                                      \
        if (error_)                                                                                                    \
            return -error_;                                                                                            \
    } while (0)

static struct simfs *of(const struct vfs *vfs) { return (struct simfs *)(uintptr_t)vfs; }

static struct inode *inode_at(struct simfs *fs, int fd)
{
    return fd >= 3 && fd < MAX_FD ? fs->fds[fd].inode : NULL;
}

static int new_fd(struct simfs *fs, struct inode *inode)
{
    for (int fd = 3; fd < MAX_FD; fd++)
        if (!fs->fds[fd].inode) {
            fs->fds[fd] = (struct descriptor){inode, false};
            inode->opened++;
            return fd;
        }
    return -EMFILE;
}

static uint64_t inode_space(const struct inode *inode)
{
    return inode->reserved > inode->now.size ? inode->reserved : inode->now.size;
}

static bool inode_linked(const struct simfs *fs, const struct inode *inode)
{
    for (const struct inode *dir = fs->inodes; dir; dir = dir->next)
        for (size_t i = 0; i < dir->names.count; i++)
            if (dir->names.items[i].inode == inode)
                return true;
    return false;
}

uint64_t simfs_used(const struct simfs *fs)
{
    uint64_t used = 0;

    for (const struct inode *inode = fs->inodes; inode; inode = inode->next)
        if (inode->opened || inode_linked(fs, inode))
            used += inode_space(inode);
    return used;
}

/* -- the calls */

static struct inode *dir_by_path(struct simfs *fs, const char *path)
{
    struct entry *entry;

    if (strcmp(path, ".") == 0)
        return fs->root;
    entry = entries_find(&fs->root->names, path);
    return entry ? entry->inode : NULL;
}

static int sim_open_dir(const struct vfs *vfs, const char *path)
{
    struct simfs *fs = of(vfs);
    struct inode *inode;

    ENTER(fs, "open_dir", path);
    inode = dir_by_path(fs, path);
    if (!inode)
        return -ENOENT;
    return inode->is_dir ? new_fd(fs, inode) : -ENOTDIR;
}

static int sim_make_dir(const struct vfs *vfs, const char *path)
{
    struct simfs *fs = of(vfs);
    struct op *op;

    ENTER(fs, "make_dir", path);
    if (dir_by_path(fs, path))
        return -EEXIST;
    if (strchr(path, '/'))
        return -ENOENT;
    op = op_add(fs->root, OP_CREATE);
    op->name = must(strdup(path));
    op->inode = inode_create(fs, true);
    apply_name_op(&fs->root->names, op);
    return 0;
}

static int sim_list(const struct vfs *vfs, int dir, int (*entry)(void *context, const char *name), void *context)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, dir);

    ENTER(fs, "list", "");
    if (!inode || !inode->is_dir)
        return -ENOTDIR;
    for (size_t i = 0; i < inode->names.count; i++) {
        int result = entry(context, inode->names.items[i].name);
        if (result != 0)
            return result;
    }
    return 0;
}

static int sim_rename(const struct vfs *vfs, int dir, const char *from, const char *to)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, dir);
    struct entry *entry;
    struct op *op;

    ENTER(fs, "rename", to);
    entry = entries_find(&inode->names, from);
    if (!entry)
        return -ENOENT;
    op = op_add(inode, OP_RENAME);
    op->name = must(strdup(from));
    op->to = must(strdup(to));
    op->inode = entry->inode;
    apply_name_op(&inode->names, op);
    return 0;
}

static int sim_unlink(const struct vfs *vfs, int dir, const char *name)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, dir);
    struct entry *entry;
    struct op *op;

    ENTER(fs, "unlink", name);
    entry = entries_find(&inode->names, name);
    if (!entry)
        return -ENOENT;
    if (entry->inode->is_dir)
        return -EISDIR;
    op = op_add(inode, OP_UNLINK);
    op->name = must(strdup(name));
    apply_name_op(&inode->names, op);
    return 0;
}

static void fill_stat(const struct inode *inode, struct vfs_stat *out)
{
    *out = (struct vfs_stat){inode->now.size, 1, inode->number, !inode->is_dir};
}

static int sim_stat_at(const struct vfs *vfs, int dir, const char *name, struct vfs_stat *out)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, dir);
    struct entry *entry;

    ENTER(fs, "stat_at", name);
    entry = entries_find(&inode->names, name);
    if (!entry)
        return -ENOENT;
    fill_stat(entry->inode, out);
    return 0;
}

static int sim_space(const struct vfs *vfs, int dir, uint64_t *free_bytes)
{
    struct simfs *fs = of(vfs);
    uint64_t used;

    ENTER(fs, "space", "");
    used = simfs_used(fs);
    *free_bytes = !fs->faults.quota ? (uint64_t)1 << 40 : fs->faults.quota > used ? fs->faults.quota - used : 0;
    return 0;
}

static int sim_open(const struct vfs *vfs, int dir, const char *name, unsigned flags)
{
    struct simfs *fs = of(vfs);
    struct inode *parent = inode_at(fs, dir);
    struct entry *entry;
    struct op *op;

    /* A name is never a path: nothing outside the directory is ever touched. */
    assert(strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    ENTER(fs, flags & VFS_CREATE ? "open+" : "open", name);
    entry = entries_find(&parent->names, name);
    if (entry && (flags & VFS_EXCLUSIVE))
        return -EEXIST;
    if (!entry && !(flags & VFS_CREATE))
        return -ENOENT;
    if (!entry) {
        op = op_add(parent, OP_CREATE);
        op->name = must(strdup(name));
        op->inode = inode_create(fs, false);
        apply_name_op(&parent->names, op);
        entry = entries_find(&parent->names, name);
    }
    return new_fd(fs, entry->inode);
}

static int sim_close(const struct vfs *vfs, int fd)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, fd);

    assert(inode && "closing what is not open");
    if (fs->fds[fd].has_lock)
        inode->locked = false;
    if (--inode->opened == 0)
        inode->sync_failed = false; /* whoever opens it anew starts over */
    fs->fds[fd] = (struct descriptor){0};
    return 0;
}

static ssize_t sim_pread(const struct vfs *vfs, int fd, void *data, size_t size, uint64_t offset)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, fd);

    ENTER(fs, "read", "");
    if (offset >= inode->now.size)
        return 0;
    if (size > inode->now.size - offset)
        size = inode->now.size - offset;
    if (fs->faults.short_transfers && size > 1)
        size = size / 2;
    memcpy(data, inode->now.data + offset, size);
    return (ssize_t)size;
}

static ssize_t sim_pwritev(const struct vfs *vfs, int fd, const struct iovec *parts, int part_count, uint64_t offset)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, fd);
    size_t size = 0, done = 0;
    uint8_t *data;
    struct op *op;
    int error;

    for (int i = 0; i < part_count; i++)
        size += parts[i].iov_len;
    error = enter(fs, "write", "");
    if (error == EINTR)
        return -EINTR;
    if (error == EIO) /* part of it may have come through, or all */
        size = fs->calls % 2 ? size : size / 2;
    else if (error)
        return -error;
    if (fs->faults.short_transfers && size > 1)
        size = size / 2;
    if (fs->faults.quota && offset + size > inode_space(inode)) {
        uint64_t used = simfs_used(fs), room = fs->faults.quota > used ? fs->faults.quota - used : 0;
        if (offset + size > inode_space(inode) + room) {
            fs->hit = true;
            if (inode_space(inode) + room <= offset)
                return -ENOSPC;
            size = inode_space(inode) + room - offset;
        }
    }
    data = must(malloc(size ? size : 1));
    for (int i = 0; i < part_count && done < size; i++) {
        size_t take = parts[i].iov_len < size - done ? parts[i].iov_len : size - done;
        memcpy(data + done, parts[i].iov_base, take);
        done += take;
    }
    op = op_add(inode, OP_WRITE);
    op->offset = offset;
    op->size = size;
    op->data = data;
    apply_file_op(&inode->now, op);
    return error ? -error : (ssize_t)size;
}

static int sim_sync(const struct vfs *vfs, int fd, bool data_only)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, fd);
    int error = enter(fs, "sync", inode->is_dir ? "directory" : "file");

    if (error == EINTR)
        return -EINTR;
    fs->syncs++;
    if (inode->sync_failed)
        fs->syncs_after_failure++;
    if (error) {
        /* The kernel marks the pages clean: a later sync says all is well, and the bytes are lost. Names of a directory
         * are the journal's, and stay in it. */
        inode->sync_failed = true;
        if (inode->is_dir)
            return -error;
        for (size_t i = 0; i < inode->op_count; i++)
            if (inode->ops[i].state == OP_PENDING)
                inode->ops[i].state = OP_LOST;
        if (fs->faults.old_content) {
            bytes_copy(&inode->now, &inode->base);
            for (size_t i = 0; i < inode->op_count; i++)
                if (inode->ops[i].state == OP_DURABLE)
                    apply_file_op(&inode->now, &inode->ops[i]);
        }
        return -error;
    }
    for (size_t i = 0; i < inode->op_count; i++)
        if (inode->ops[i].state == OP_PENDING)
            inode->ops[i].state = OP_DURABLE;
    fold(inode);
    return 0;
}

static int sim_truncate(const struct vfs *vfs, int fd, uint64_t size)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, fd);
    struct op *op;

    ENTER(fs, "truncate", "");
    op = op_add(inode, OP_TRUNCATE);
    op->size = size;
    apply_file_op(&inode->now, op);
    inode->reserved = 0;
    return 0;
}

static int sim_allocate(const struct vfs *vfs, int fd, uint64_t offset, uint64_t size)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, fd);
    uint64_t used, room;

    ENTER(fs, "allocate", "");
    used = simfs_used(fs);
    room = fs->faults.quota > used ? fs->faults.quota - used : 0;
    if (fs->faults.quota && offset + size > inode_space(inode) + room) {
        fs->hit = true;
        return -ENOSPC;
    }
    if (offset + size > inode->reserved)
        inode->reserved = offset + size;
    return 0;
}

static int sim_stat(const struct vfs *vfs, int fd, struct vfs_stat *out)
{
    struct simfs *fs = of(vfs);

    ENTER(fs, "stat", "");
    fill_stat(inode_at(fs, fd), out);
    return 0;
}

static int sim_lock(const struct vfs *vfs, int fd)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, fd);

    ENTER(fs, "lock", "");
    if (inode->locked && !fs->fds[fd].has_lock)
        return -EWOULDBLOCK;
    inode->locked = fs->fds[fd].has_lock = true;
    return 0;
}

static int sim_map(const struct vfs *vfs, int fd, size_t size, const uint8_t **out)
{
    struct simfs *fs = of(vfs);
    struct inode *inode = inode_at(fs, fd);
    void *copy;

    ENTER(fs, "map", "");
    if (posix_memalign(&copy, 4096, size))
        abort();
    memset(copy, 0, size);
    memcpy(copy, inode->now.data, size < inode->now.size ? size : inode->now.size);
    fs->map_count++;
    *out = copy;
    return 0;
}

static void sim_unmap(const struct vfs *vfs, const uint8_t *data, size_t size)
{
    of(vfs)->map_count--;
    free((void *)(uintptr_t)data);
}

static int sim_advise(const struct vfs *vfs, const uint8_t *data, size_t size, enum vfs_advice advice) { return 0; }
static uint64_t sim_now(const struct vfs *vfs) { return of(vfs)->clock += 1000; }
static void sim_sleep(const struct vfs *vfs, uint64_t nanoseconds) { of(vfs)->clock += nanoseconds; }

static int sim_random(const struct vfs *vfs, void *data, size_t size)
{
    struct simfs *fs = of(vfs);

    ENTER(fs, "random", "");
    for (size_t i = 0; i < size; i++)
        ((uint8_t *)data)[i] = (uint8_t)rng_mix(&fs->random);
    return 0;
}

static const struct vfs calls = {
    .open_dir = sim_open_dir,
    .make_dir = sim_make_dir,
    .list = sim_list,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .stat_at = sim_stat_at,
    .space = sim_space,
    .open = sim_open,
    .close = sim_close,
    .pread = sim_pread,
    .pwritev = sim_pwritev,
    .sync = sim_sync,
    .truncate = sim_truncate,
    .allocate = sim_allocate,
    .stat = sim_stat,
    .lock = sim_lock,
    .map = sim_map,
    .unmap = sim_unmap,
    .advise = sim_advise,
    .now = sim_now,
    .sleep = sim_sleep,
    .random = sim_random,
};

struct simfs *simfs_create(void)
{
    struct simfs *fs = must(calloc(1, sizeof *fs));

    fs->vfs = calls;
    fs->clock = 1000000000;
    fs->random = 1;
    fs->next_number = 1;
    fs->root = inode_create(fs, true);
    return fs;
}

void simfs_free(struct simfs *fs)
{
    if (!fs)
        return;
    while (fs->inodes) {
        struct inode *next = fs->inodes->next;
        inode_free(fs->inodes);
        fs->inodes = next;
    }
    free(fs);
}

const struct vfs *simfs_vfs(struct simfs *fs) { return &fs->vfs; }

/* -- crashes */

static size_t sector_count(const struct op *op)
{
    return op->size ? (op->offset + op->size - 1) / SECTOR - op->offset / SECTOR + 1 : 0;
}

/* Atoms of one op: its sectors and its size, or the op as a whole. */
static size_t op_atoms(const struct inode *inode, const struct op *op)
{
    if (op->state != OP_PENDING)
        return 0;
    return !inode->is_dir && op->kind == OP_WRITE ? sector_count(op) + 1 : 1;
}

size_t simfs_atoms(const struct simfs *fs)
{
    size_t count = 0;

    for (const struct inode *inode = fs->inodes; inode; inode = inode->next)
        for (size_t i = 0; i < inode->op_count; i++)
            count += op_atoms(inode, &inode->ops[i]);
    return count;
}

struct picker {
    enum simfs_pick pick;
    uint64_t value;
    struct rng rng;
    size_t atom;
};

static bool picked(struct picker *picker)
{
    size_t atom = picker->atom++;

    switch (picker->pick) {
    case PICK_MASK:
        return atom >= 64 || (picker->value >> atom & 1);
    case PICK_ALL_BUT:
        return atom != picker->value;
    case PICK_ONLY:
        return atom == picker->value;
    case PICK_RANDOM:
        return rng_next(&picker->rng) >> 63;
    default:
        return false;
    }
}

/* Part of a write to the image. Lost sectors keep the old bytes, or, if the file is that long, become zeros or garbage. */
static void image_write(struct picker *picker, struct bytes *bytes, const struct op *op)
{
    size_t end = op->offset + op->size;
    bool longer = picked(picker);

    if (longer && end > bytes->size)
        bytes_resize(bytes, end);
    for (size_t at = op->offset; at < end;) {
        size_t stop = (at / SECTOR + 1) * SECTOR, size;
        bool kept = picked(picker);

        if (stop > end)
            stop = end;
        size = at < bytes->size ? (stop < bytes->size ? stop : bytes->size) - at : 0;
        if (size && kept) {
            memcpy(bytes->data + at, op->data + (at - op->offset), size);
        } else if (size && picker->pick == PICK_RANDOM) {
            uint64_t fate = rng_below(&picker->rng, 6);
            if (fate == 0)
                memset(bytes->data + at, 0, size);
            else if (fate == 1)
                for (size_t i = 0; i < size; i++)
                    bytes->data[at + i] = (uint8_t)rng_next(&picker->rng);
        }
        at = stop;
    }
}

static void image_of_file(struct picker *picker, const struct inode *inode, struct bytes *out)
{
    size_t pending = 0, keep = 0;

    bytes_copy(out, &inode->base);
    for (size_t i = 0; i < inode->op_count; i++)
        pending += inode->ops[i].state == OP_PENDING;
    if (picker->pick == PICK_PREFIX)
        keep = rng_below(&picker->rng, pending + 1);
    for (size_t i = 0; i < inode->op_count; i++) {
        const struct op *op = &inode->ops[i];
        bool whole = op->state == OP_DURABLE;

        if (op->state == OP_PENDING && picker->pick == PICK_PREFIX)
            whole = keep && keep--;
        else if (op->state == OP_PENDING && op->kind == OP_WRITE)
            image_write(picker, out, op);
        else if (op->state == OP_PENDING)
            whole = picked(picker);
        if (whole)
            apply_file_op(out, op);
    }
}

static void image_of_names(struct picker *picker, const struct inode *inode, struct entries *out)
{
    size_t keep = picker->pick == PICK_PREFIX ? rng_below(&picker->rng, inode->op_count + 1) : 0;

    for (size_t i = 0; i < inode->base_names.count; i++)
        entries_put(out, inode->base_names.items[i].name, inode->base_names.items[i].inode);
    for (size_t i = 0; i < inode->op_count; i++) {
        const struct op *op = &inode->ops[i];
        bool kept = op->state == OP_DURABLE;

        if (op->state == OP_PENDING)
            kept = picker->pick == PICK_PREFIX ? keep && keep-- : picked(picker);
        if (kept)
            apply_name_op(out, op);
    }
}

static struct inode *clone_inode(struct simfs *to, struct inode *from)
{
    if (!from->copy) {
        from->copy = inode_create(to, from->is_dir);
        from->copy->number = from->number;
    }
    return from->copy;
}

/* Everything as it is, with what is pending still pending. */
static void clone_whole(struct simfs *to, const struct simfs *from)
{
    for (struct inode *inode = from->inodes; inode; inode = inode->next) {
        struct inode *copy = clone_inode(to, inode);

        copy->sync_failed = false; /* new descriptors: the failure was reported on the old ones */
        bytes_copy(&copy->now, &inode->now);
        bytes_copy(&copy->base, &inode->base);
        for (size_t i = 0; i < inode->names.count; i++)
            entries_put(&copy->names, inode->names.items[i].name, clone_inode(to, inode->names.items[i].inode));
        for (size_t i = 0; i < inode->base_names.count; i++)
            entries_put(&copy->base_names, inode->base_names.items[i].name,
                        clone_inode(to, inode->base_names.items[i].inode));
        for (size_t i = 0; i < inode->op_count; i++) {
            const struct op *op = &inode->ops[i];
            struct op *added = op_add(copy, op->kind);
            *added = *op;
            if (op->data) {
                added->data = must(malloc(op->size ? op->size : 1));
                memcpy(added->data, op->data, op->size);
            }
            added->name = op->name ? must(strdup(op->name)) : NULL;
            added->to = op->to ? must(strdup(op->to)) : NULL;
            added->inode = op->inode ? clone_inode(to, op->inode) : NULL;
        }
    }
    to->root = from->root->copy;
}

struct simfs *simfs_crash(const struct simfs *fs, enum simfs_pick pick, uint64_t value)
{
    struct simfs *image = must(calloc(1, sizeof *image));
    struct picker picker = {pick, value, rng_seeded(value), 0};

    image->vfs = calls;
    image->clock = fs->clock;
    image->random = fs->random + 0x1234567;
    image->next_number = fs->next_number;
    if (pick == PICK_KILL) {
        clone_whole(image, fs);
    } else {
        /* In the order of simfs_atoms(): a directory's names are chosen where it comes in the list. */
        for (struct inode *inode = fs->inodes; inode; inode = inode->next) {
            struct inode *copy = clone_inode(image, inode);
            if (inode->is_dir) {
                image_of_names(&picker, inode, &copy->base_names);
            } else {
                image_of_file(&picker, inode, &copy->base);
                bytes_copy(&copy->now, &copy->base);
            }
        }
        for (struct inode *copy = image->inodes; copy; copy = copy->next)
            for (size_t i = 0; i < copy->base_names.count; i++) {
                copy->base_names.items[i].inode = copy->base_names.items[i].inode->copy;
                entries_put(&copy->names, copy->base_names.items[i].name, copy->base_names.items[i].inode);
            }
        image->root = fs->root->copy;
    }
    for (struct inode *inode = fs->inodes; inode; inode = inode->next)
        inode->copy = NULL;
    return image;
}

void simfs_set_hook(struct simfs *fs, void (*hook)(void *context, struct simfs *fs), void *context)
{
    fs->hook = hook;
    fs->hook_context = context;
}

/* -- control */

void simfs_set_faults(struct simfs *fs, const struct simfs_faults *faults)
{
    fs->faults = faults ? *faults : (struct simfs_faults){0};
    fs->calls = 0;
    fs->interrupted = 0;
    fs->hit = false;
}

uint64_t simfs_calls(const struct simfs *fs) { return fs->calls; }
bool simfs_fault_hit(const struct simfs *fs) { return fs->hit; }
uint64_t simfs_syncs(const struct simfs *fs) { return fs->syncs; }
uint64_t simfs_syncs_after_failure(const struct simfs *fs) { return fs->syncs_after_failure; }

size_t simfs_open_count(const struct simfs *fs)
{
    size_t count = fs->map_count;

    for (int fd = 3; fd < MAX_FD; fd++)
        count += fs->fds[fd].inode != NULL;
    return count;
}

static struct inode *dir_of(const struct simfs *fs, const char *dir)
{
    struct inode *inode = dir_by_path((struct simfs *)(uintptr_t)fs, dir);

    return inode && inode->is_dir ? inode : NULL;
}

const char *simfs_name(const struct simfs *fs, const char *dir, size_t i)
{
    struct inode *inode = dir_of(fs, dir);

    return inode && i < inode->names.count ? inode->names.items[i].name : NULL;
}

void simfs_settle(struct simfs *fs)
{
    for (struct inode *inode = fs->inodes; inode; inode = inode->next) {
        for (size_t i = 0; i < inode->op_count; i++)
            op_clear(&inode->ops[i]);
        inode->op_count = 0;
        bytes_copy(&inode->base, &inode->now);
        entries_clear(&inode->base_names);
        for (size_t i = 0; i < inode->names.count; i++)
            entries_put(&inode->base_names, inode->names.items[i].name, inode->names.items[i].inode);
    }
}

uint8_t *simfs_bytes(struct simfs *fs, const char *dir, const char *name, size_t *size)
{
    struct inode *parent = dir_of(fs, dir);
    struct entry *entry = parent ? entries_find(&parent->names, name) : NULL;

    if (!entry)
        return NULL;
    *size = entry->inode->now.size;
    return entry->inode->now.data;
}

void simfs_put(struct simfs *fs, const char *dir, const char *name, const void *data, size_t size)
{
    struct inode *parent = dir_of(fs, dir);
    struct entry *entry;

    if (!parent) {
        parent = inode_create(fs, true);
        entries_put(&fs->root->names, dir, parent);
    }
    entry = entries_find(&parent->names, name);
    if (!entry) {
        entries_put(&parent->names, name, inode_create(fs, false));
        entry = entries_find(&parent->names, name);
    }
    bytes_resize(&entry->inode->now, 0);
    bytes_write(&entry->inode->now, 0, data, size);
    simfs_settle(fs);
}

void simfs_remove(struct simfs *fs, const char *dir, const char *name)
{
    struct inode *parent = dir_of(fs, dir);

    if (parent)
        entries_remove(&parent->names, name);
    simfs_settle(fs);
}
