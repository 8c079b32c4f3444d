/* A copy of a database while it is written to: the files that the manifest of one moment names, which are kept from removal
 * meanwhile, and the log as far as it was written. What comes out is what a crash at that moment would have left. */
#include "base/mem.h"
#include "collection/verify.h"

#include <string.h>

#define COPY_BYTES ((size_t)1 << 20)

struct backup {
    struct store *store;
    struct dir to;
    struct manifest manifest; /* of the moment */
    uint8_t *buffer;
    uint64_t done, total;
    vecdb_progress progress;
    void *context;
};

static vecdb_status nothing_wrong(struct backup *backup, uint64_t bytes)
{
    backup->done += bytes;
    if (backup->progress && !backup->progress(backup->context, "backup", backup->done, backup->total))
        return error_set(VECDB_ERR_CANCELLED, "backup: stopped by the progress callback");
    return VECDB_OK;
}

/* Copy `size` bytes, or all there are when size is 0. */
static vecdb_status copy_bytes(struct backup *backup, const struct file *from, const struct file *to, uint64_t size)
{
    uint64_t at = 0;

    for (;;) {
        size_t want = COPY_BYTES, got;
        if (size && size - at < want)
            want = (size_t)(size - at);
        TRY(file_read_some(from, at, backup->buffer, want, &got));
        if (got == 0)
            break;
        TRY(file_write(to, at, backup->buffer, got));
        at += got;
        TRY(nothing_wrong(backup, got));
        if (size && at == size)
            break;
    }
    if (at < size)
        return error_set(VECDB_ERR_CORRUPT, "%s: %llu bytes, expected %llu", from->name, (unsigned long long)at,
                         (unsigned long long)size);
    return file_sync(to);
}

static void ignore_report(void *context, const char *file, uint64_t offset, const char *what) {}

/* What is copied must be whole: a backup of rot is none. The copy is what is checked. */
static vecdb_status check_copy(struct backup *backup, enum file_kind kind, const struct manifest_file *file)
{
    const struct container_id id = {file->id, file->size, file->checksum};
    static const struct problem_sink quiet = {ignore_report, NULL};
    struct container container;
    struct file_map map;
    struct file copy;
    char name[FILE_NAME_SIZE];
    vecdb_status status;

    format_file_name(kind, file->id, name);
    TRY(file_open(&backup->to, name, VFS_READ, &copy));
    status = file_map(&copy, file->size, false, &map);
    file_close(&copy);
    TRY(status);
    status = container_init(&container, name, map.data, map.size, kind, backup->manifest.uuid, &id);
    if (status == VECDB_OK) {
        size_t problems = container_verify(&container, &quiet);
        if (problems)
            status = error_set(VECDB_ERR_CORRUPT, "%s is damaged in %zu places: see verify", name, problems);
        container_deinit(&container);
    }
    file_unmap(&map);
    return status;
}

static vecdb_status copy_file(void *context, enum file_kind kind, const struct manifest_file *file)
{
    struct backup *backup = context;
    struct file from, to;
    char name[FILE_NAME_SIZE];
    vecdb_status status;

    format_file_name(kind, file->id, name);
    TRY(store_open_file(backup->store, kind, file->id, &from));
    status = file_open(&backup->to, name, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &to);
    if (status == VECDB_OK) {
        status = copy_bytes(backup, &from, &to, kind == FILE_WAL ? 0 : file->size);
        file_close(&to);
    }
    file_close(&from);
    if (status == VECDB_OK && kind != FILE_WAL)
        status = check_copy(backup, kind, file);
    return status;
}

static vecdb_status write_manifest(struct backup *backup)
{
    struct buf bytes = {0};
    vecdb_status status = manifest_encode(&backup->manifest, &bytes);

    for (char copy = 'a'; copy <= 'b' && status == VECDB_OK; copy++) {
        char name[FILE_NAME_SIZE];
        struct file file;
        manifest_file_name(backup->manifest.generation, copy, false, name);
        status = file_open(&backup->to, name, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &file);
        if (status != VECDB_OK)
            break;
        status = file_write(&file, 0, bytes.data, bytes.size);
        if (status == VECDB_OK)
            status = file_sync(&file);
        file_close(&file);
    }
    buf_deinit(&bytes);
    return status == VECDB_OK ? dir_sync(&backup->to) : status;
}

static vecdb_status add_size(void *context, enum file_kind kind, const struct manifest_file *file)
{
    ((struct backup *)context)->total += file->size;
    return VECDB_OK;
}

/* Remove what a failed backup has made; what else is in the directory stays. */
static void undo(struct backup *backup)
{
    struct buf names = {0};

    if (dir_list(&backup->to, &names) == VECDB_OK)
        for (size_t at = 0; at < names.size; at += strlen((char *)names.data + at) + 1)
            (void)dir_unlink(&backup->to, (char *)names.data + at);
    buf_deinit(&names);
}

static vecdb_status copy_all(struct backup *backup)
{
    if (!(backup->buffer = mem_aligned_alloc(4096, COPY_BYTES)))
        return error_nomem("backup");
    TRY(manifest_each_file(&backup->manifest, add_size, backup));
    TRY(manifest_each_file(&backup->manifest, copy_file, backup));
    return write_manifest(backup); /* last: without it the directory holds no database */
}

static vecdb_status open_empty(const struct vfs *vfs, const char *path, struct dir *out)
{
    struct buf names = {0};
    vecdb_status status;

    TRY(dir_open(vfs, path, true, out));
    status = dir_list(out, &names);
    if (status == VECDB_OK && names.size)
        status = error_set(VECDB_ERR_EXISTS, "backup: the directory %s is not empty", path);
    buf_deinit(&names);
    if (status != VECDB_OK)
        dir_close(out);
    return status;
}

vecdb_status database_backup(struct database *database, const char *path, vecdb_progress progress, void *context)
{
    struct backup backup = {.store = database->store, .progress = progress, .context = context};
    struct manifest *draft;
    vecdb_status status;

    if (!database->store)
        return error_set(VECDB_ERR_UNSUPPORTED, "backup: a database in memory has no files");
    if (database->read_only)
        return error_set(VECDB_ERR_READONLY, "backup: the database is open read-only, so its files may go away meanwhile");
    TRY(open_empty(store_dir(database->store)->vfs, path, &backup.to));
    store_hold_files(database->store);
    status = store_sync(database->store); /* what was acknowledged is in the copy, whatever its durability */
    if (status == VECDB_OK)
        status = store_begin(database->store, &draft);
    if (status == VECDB_OK) {
        status = manifest_copy(draft, &backup.manifest);
        store_abandon(database->store);
    }
    if (status == VECDB_OK) {
        status = copy_all(&backup);
        manifest_deinit(&backup.manifest);
    }
    store_let_files_go(database->store);
    if (status != VECDB_OK) {
        vecdb_error failure = *error_last();
        undo(&backup);
        error_adopt(&failure);
    }
    mem_free(backup.buffer);
    dir_close(&backup.to);
    return status;
}
