/* A copy of a database while it is written to: the files that the manifest of one moment names, which are kept from removal
 * meanwhile, and the log as far as it was written. What comes out is what a crash at that moment would have left. Of a database
 * in memory the rows are written as segments. */
#include "base/mem.h"
#include "collection/verify.h"
#include "storage/segment_format.h"
#include "storage/segment_writer.h"

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

/* ------------------------------------------------------------------------------------------------- from memory */

struct memory_backup {
    struct store *store;
    struct manifest *draft;
    uint64_t done, total; /* rows */
    vecdb_progress progress;
    void *context;
};

static vecdb_status no_frames(void *context, const struct wal_frame *frame, bool *needed) { return VECDB_OK; }

static void sources_deinit(struct segment_source *sources, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free((void *)(uintptr_t)sources[i].keep);
    mem_free(sources);
}

/* The live rows of some views as one segment. */
static vecdb_status write_views(struct memory_backup *backup, const struct snapshot *snapshot, const size_t *views, size_t count,
                                struct manifest_collection *described, uint64_t partition)
{
    struct store *store = backup->store;
    struct segment_source *sources = mem_array_zalloc(count + 1, sizeof *sources);
    struct segment_write what = {.dir = store_dir(store), .uuid = store_manifest(store)->uuid,
                                 .segment_id = store_new_id(store), .collection_id = described->id,
                                 .partition_id = partition, .schema = snapshot->schema, .sources = sources,
                                 .source_count = count};
    struct segment_written written;
    struct manifest_segment segment = {.partition_id = partition};
    uint64_t rows = 0;
    vecdb_status status = sources ? VECDB_OK : error_nomem("backup");

    for (size_t i = 0; i < count && status == VECDB_OK; i++) {
        const struct segment_view *view = &snapshot->views[views[i]];
        uint64_t *keep = mem_array_alloc(bitmap_words(view->row_count) + 1, sizeof *keep);
        sources[i] = (struct segment_source){.segment = view->segment, .row_count = view->row_count, .keep = keep};
        if (!keep) {
            status = error_nomem("backup");
            break;
        }
        bitmap_fill(keep, view->row_count);
        tombstones_subtract(view->tombstones, keep, view->row_count);
        rows += view_live_rows(view);
    }
    if (status == VECDB_OK && rows) {
        status = segment_write(&what, &written);
        if (status == VECDB_OK) {
            segment.file = (struct manifest_file){written.file.file_id, written.file.size, written.file.checksum};
            segment.row_count = written.row_count;
            status = manifest_add_segment(described, &segment);
        }
        backup->done += rows;
        if (status == VECDB_OK && backup->progress &&
            !backup->progress(backup->context, "backup", backup->done, backup->total))
            status = error_set(VECDB_ERR_CANCELLED, "backup: stopped by the progress callback");
    }
    sources_deinit(sources, count);
    return status;
}

/* A partition's rows, in as few segments as can hold them. */
static vecdb_status write_partition(struct memory_backup *backup, const struct snapshot *snapshot, uint32_t partition,
                                    struct manifest_collection *described, uint64_t described_partition)
{
    size_t *views = mem_array_alloc(snapshot->view_count + 1, sizeof *views), count = 0, rows = 0;
    vecdb_status status = views ? VECDB_OK : error_nomem("backup");

    for (size_t v = 0; v < snapshot->view_count && status == VECDB_OK; v++) {
        const struct segment_view *view = &snapshot->views[v];
        if (view->partition != partition)
            continue;
        if (count && rows + view_live_rows(view) > SEGMENT_MAX_ROWS) {
            status = write_views(backup, snapshot, views, count, described, described_partition);
            count = rows = 0;
        }
        views[count++] = v;
        rows += view_live_rows(view);
    }
    if (count && status == VECDB_OK)
        status = write_views(backup, snapshot, views, count, described, described_partition);
    mem_free(views);
    return status;
}

/* A collection to be written: its state at the moment, and what it is in the copy. */
struct copied {
    struct collection *collection;
    struct snapshot *snapshot;
    uint32_t *partitions; /* ids, in the order in which the copy has them */
    uint64_t id;          /* in the copy */
};

static vecdb_status describe_locked(struct memory_backup *backup, struct copied *copied)
{
    const struct collection *collection = copied->collection;
    const struct schema *schema = collection_schema(collection);
    struct manifest_collection *described = NULL;
    struct buf bytes = {0};
    uint64_t id;
    vecdb_status status = schema_encode(schema, &bytes);

    copied->snapshot = snapshot_retain(collection->latest);
    copied->partitions = mem_array_alloc(collection->partition_count + 1, sizeof *copied->partitions);
    if (status == VECDB_OK && !copied->partitions)
        status = error_nomem("backup");
    if (status == VECDB_OK)
        status = manifest_add_collection(backup->draft, bytes.data, bytes.size, &described);
    if (status == VECDB_OK) {
        copied->id = described->id;
        described->next_auto_id = (uint64_t)collection->next_auto_id;
    }
    for (size_t i = 0; i < collection->partition_count && status == VECDB_OK; i++) {
        copied->partitions[i] = collection->partitions[i].id;
        status = manifest_add_partition(described, collection->partitions[i].name, &id);
    }
    for (size_t i = 0; i < collection->index_count && status == VECDB_OK; i++) {
        const struct index_definition *index = &collection->indexes[i];
        status = manifest_add_index(described, index->name,
                                    (uint32_t)schema_find(schema, index->field, strlen(index->field)),
                                    index_definition_type(index), index->metric, index->params_text, &id);
    }
    buf_deinit(&bytes);
    return status;
}

/* All collections and aliases as they are at one moment. */
static vecdb_status describe_all(struct memory_backup *backup, struct database *database, struct copied **out, size_t *count)
{
    vecdb_status status = VECDB_OK;

    *count = 0;
    pthread_mutex_lock(&database->lock);
    if (!(*out = mem_array_zalloc(database->collection_count + 1, sizeof **out)))
        status = error_nomem("backup");
    for (size_t i = 0; i < database->collection_count && status == VECDB_OK; i++) {
        struct copied *copied = &(*out)[(*count)++];
        copied->collection = collection_retain(database->collections[i]);
        pthread_mutex_lock(&copied->collection->write_lock);
        status = describe_locked(backup, copied);
        pthread_mutex_unlock(&copied->collection->write_lock);
        backup->total += copied->snapshot->live_rows;
        for (size_t a = 0; a < database->alias_count && status == VECDB_OK; a++)
            if (database->aliases[a].collection == copied->collection->id)
                status = manifest_set_alias(backup->draft, database->aliases[a].name, copied->id);
    }
    pthread_mutex_unlock(&database->lock);
    return status;
}

static vecdb_status write_database(struct memory_backup *backup, struct database *database)
{
    struct copied *list;
    size_t count;
    vecdb_status status = describe_all(backup, database, &list, &count);

    for (size_t i = 0; i < count; i++) {
        struct copied *copied = &list[i];
        struct manifest_collection *described = manifest_find(backup->draft, copied->id);
        for (size_t p = 0; status == VECDB_OK && p < described->partition_count; p++)
            status = write_partition(backup, copied->snapshot, copied->partitions[p], described, described->partitions[p].id);
        snapshot_release(copied->snapshot);
        mem_free(copied->partitions);
        collection_release(copied->collection);
    }
    mem_free(list);
    return status;
}

/* A database in memory becomes one on disk: each partition a segment, indexes to be built when it is opened. */
static vecdb_status backup_memory(struct database *database, const char *path, vecdb_progress progress, void *context)
{
    struct memory_backup backup = {.progress = progress, .context = context};
    struct backup made = {0};
    vecdb_status status;

    TRY(open_empty(&vfs_posix, path, &made.to));
    status = store_open(&vfs_posix, path, NULL, &backup.store);
    if (status == VECDB_OK && (status = store_recover(backup.store, no_frames, NULL)) == VECDB_OK &&
        (status = store_begin(backup.store, &backup.draft)) == VECDB_OK) {
        status = write_database(&backup, database);
        if (status == VECDB_OK)
            status = store_publish(backup.store);
        else
            store_abandon(backup.store);
    }
    vecdb_error failure = *error_last();
    store_close(backup.store);
    if (status != VECDB_OK) {
        undo(&made);
        error_adopt(&failure);
    }
    dir_close(&made.to);
    return status;
}

vecdb_status database_backup(struct database *database, const char *path, vecdb_progress progress, void *context)
{
    struct backup backup = {.store = database->store, .progress = progress, .context = context};
    struct manifest *draft;
    vecdb_status status;

    if (!database->store)
        return backup_memory(database, path, progress, context);
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
