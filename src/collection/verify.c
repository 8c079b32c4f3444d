#include "collection/verify.h"

#include "collection/scalar_indexes.h"
#include "query/deferred.h"
#include "storage/damage.h"
#include "storage/segment_file.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MOST_SEARCHES 8 /* for single bytes, each of which may take two seconds */

struct verification {
    const struct dir *dir;
    struct store *store;
    const struct manifest *manifest;
    struct buf problems; /* JSON objects, with commas between */
    size_t problem_count, files;
    uint64_t bytes, total;
    vecdb_status failure; /* of reporting */
    bool missing;         /* a file was not there: the writing process may have gone on */
    char searched[FILE_NAME_SIZE]; /* the last file that was looked through for the byte that was changed */
    size_t search_count;
    vecdb_progress progress;
    void *context;
    struct problem_sink sink;
};

/* The first problem of a file says which byte was changed, if it was only one: *offset becomes the byte's. */
static void name_byte(struct verification *check, const char *file, uint64_t *offset, char *what, size_t room)
{
    size_t length = strlen(what);
    struct damage damage;
    struct vfs_stat there;

    if (!check->dir || strcmp(file, check->searched) == 0 || check->search_count == MOST_SEARCHES)
        return;
    snprintf(check->searched, sizeof check->searched, "%s", file);
    if (dir_stat(check->dir, file, &there) != VECDB_OK)
        return;
    check->search_count++;
    if (!damage_find(check->dir, file, *offset, &damage))
        return;
    *offset = damage.offset;
    snprintf(what + length, room - length, ": byte %llu is 0x%02x, with 0x%02x it would be right",
             (unsigned long long)damage.offset, damage.is, damage.was);
}

static void report(void *context, const char *file, uint64_t offset, const char *problem)
{
    struct verification *check = context;
    struct buf *out = &check->problems;
    char what[sizeof error_last()->message + 100];
    vecdb_error last = *error_last();
    vecdb_status status = VECDB_OK;

    snprintf(what, sizeof what, "%s", problem); /* it may be the last error's, which will be another one's */
    name_byte(check, file, &offset, what, sizeof what);
    error_adopt(&last);

    if (check->problem_count++)
        status = buf_append_text(out, ",");
    if (status == VECDB_OK)
        status = buf_append_text(out, "{\"file\":");
    if (status == VECDB_OK)
        status = buf_append_json_string(out, file, strlen(file));
    if (status == VECDB_OK)
        status = buf_printf(out, ",\"offset\":%llu,\"what\":", (unsigned long long)offset);
    if (status == VECDB_OK)
        status = buf_append_json_string(out, what, strlen(what));
    if (status == VECDB_OK)
        status = buf_append_text(out, "}");
    if (status != VECDB_OK && check->failure == VECDB_OK)
        check->failure = status;
}

/* A failure that is the file's fault is reported, with the offset if the message has one; any other is returned. */
static vecdb_status judge(struct verification *check, vecdb_status status, const char *file)
{
    const char *message = error_last()->message, *byte = strstr(message, ", byte "), *at = strstr(message, " at offset ");
    unsigned long long offset = 0;

    if (status == VECDB_ERR_NO_SUCH)
        check->missing = true;
    if (status != VECDB_ERR_CORRUPT && status != VECDB_ERR_NO_SUCH && status != VECDB_ERR_VERSION)
        return status;
    if (byte)
        (void)sscanf(byte, ", byte %llu", &offset);
    else if (at)
        (void)sscanf(at, " at offset %llu", &offset);
    report(check, file, offset, message);
    return VECDB_OK;
}

static vecdb_status advance(struct verification *check, uint64_t bytes)
{
    check->files++;
    check->bytes += bytes;
    if (check->progress && !check->progress(check->context, "verify", check->bytes, check->total))
        return error_set(VECDB_ERR_CANCELLED, "verify: stopped by the progress callback");
    return check->failure;
}

static struct container_id id_of(const struct manifest_file *file)
{
    return (struct container_id){file->id, file->size, file->checksum};
}

/* Whatever a check's own reports did not say is said here. */
static vecdb_status settle(struct verification *check, vecdb_status status, size_t problems_before, const char *file)
{
    if (status == VECDB_ERR_NO_SUCH)
        check->missing = true;
    if (status == VECDB_ERR_CORRUPT && check->problem_count > problems_before)
        return VECDB_OK;
    return status == VECDB_OK ? VECDB_OK : judge(check, status, file);
}

/* A scalar index is cheap to make: whether it is the one that the segment's rows give. */
static vecdb_status check_scalar(struct verification *check, const struct manifest_collection *described,
                                 const struct schema *schema, struct segment *segment,
                                 const struct manifest_index_file *from, const char *name)
{
    struct container_id id = id_of(&from->file);
    const struct manifest_index *definition = NULL;
    struct index_file *file;
    const void *data;
    size_t size;
    vecdb_status status;

    for (size_t i = 0; i < described->index_count; i++)
        if (described->indexes[i].id == from->index_id)
            definition = &described->indexes[i];
    if (!definition || definition->field >= schema->field_count || type_is_vector(schema->fields[definition->field].type))
        return VECDB_OK;
    status = index_file_open(check->dir, check->manifest->uuid, &id, NULL, false, &file);
    if (status == VECDB_OK) {
        data = index_file_data(file, &size);
        status = scalar_index_compare_saved(data, size, definition, schema, segment);
        index_file_close(file);
    }
    return status == VECDB_OK ? VECDB_OK : judge(check, status, name);
}

/* An index on vectors: opening checks every number in it, and the kind's own check every rule. */
static vecdb_status check_structure(struct verification *check, const struct manifest_collection *described,
                                    const struct schema *schema, struct segment *segment,
                                    const struct manifest_index_file *from, const char *name)
{
    struct deferred_open how = {.ops = index_find(from->kind), .segment = segment, .field = SCHEMA_NONE};
    struct container_id id = id_of(&from->file);
    struct index_file *file = NULL;
    struct index *index = NULL;
    vecdb_status status;

    for (size_t i = 0; i < described->index_count; i++) {
        const struct manifest_index *definition = &described->indexes[i];
        if (definition->id != from->index_id || definition->field >= schema->field_count)
            continue;
        how.field = schema_find(segment->schema, schema->fields[definition->field].name,
                                strlen(schema->fields[definition->field].name));
        how.metric = (vecdb_metric)definition->metric;
        if (how.ops && strcasecmp(how.ops->name, definition->type) == 0)
            TRY(params_parse("index", how.ops->build_params, how.ops->search_params, definition->params, &how.params));
        else if (how.ops)
            params_default(how.ops->build_params, &how.params);
    }
    if (!how.ops || how.field == SCHEMA_NONE)
        return VECDB_OK;
    TRY(index_file_map(check->dir, check->manifest->uuid, &id, NULL, false, &how.file));
    status = deferred_open_now(&how, &index, &file);
    if (status == VECDB_OK) {
        status = index->ops->check(index);
        index->ops->free(index);
    }
    index_file_close(file);
    return status == VECDB_OK ? VECDB_OK : judge(check, status, name);
}

/* `segment` NULL: it cannot be read. */
static vecdb_status check_index(struct verification *check, const struct manifest_collection *described,
                                const struct schema *schema, struct segment *segment,
                                const struct manifest_index_file *from)
{
    struct container_id id = id_of(&from->file);
    char name[FILE_NAME_SIZE];
    size_t before = check->problem_count;
    vecdb_status status;

    format_file_name(FILE_INDEX, id.file_id, name);
    status = index_file_verify(check->dir, check->manifest->uuid, &id, &check->sink);
    TRY(settle(check, status, before, name));
    if (status == VECDB_OK && segment) {
        TRY(check_scalar(check, described, schema, segment, from, name));
        TRY(check_structure(check, described, schema, segment, from, name));
    }
    return advance(check, id.size);
}

static vecdb_status check_tombstones(struct verification *check, const struct manifest_segment *from)
{
    struct container_id id = id_of(&from->tombstones);
    struct tombstones *tombstones;
    char name[FILE_NAME_SIZE];
    size_t before = check->problem_count;
    vecdb_status status;

    format_file_name(FILE_TOMBSTONES, id.file_id, name);
    status = tombstones_verify(check->dir, check->manifest->uuid, &id, &check->sink);
    TRY(settle(check, status, before, name));
    if (status == VECDB_OK) {
        status = tombstones_open(check->dir, check->manifest->uuid, &id, from->file.id, (size_t)from->row_count,
                                 &tombstones);
        if (status != VECDB_OK)
            TRY(judge(check, status, name));
        else if (tombstones_count(tombstones) != from->deleted_count)
            report(check, name, 0, "the number of deleted rows is not what the manifest says");
        tombstones_release(tombstones);
    }
    return advance(check, id.size);
}

/* `whole` NULL when the segment cannot be trusted. */
static vecdb_status check_rows(struct verification *check, const struct manifest_collection *described,
                               const struct schema *schema, const struct manifest_segment *from, struct segment **whole)
{
    struct container_id id = id_of(&from->file);
    struct segment *segment = NULL;
    char name[FILE_NAME_SIZE];
    size_t before = check->problem_count;
    vecdb_status status;

    format_file_name(FILE_SEGMENT, id.file_id, name);
    status = segment_open(check->dir, check->manifest->uuid, &id, schema, 0, &segment);
    if (status == VECDB_OK) {
        status = segment_verify(segment, &check->sink);
        if (segment->row_count != from->row_count)
            report(check, name, 0, "the number of rows is not what the manifest says");
        if (segment_collection_id(segment) != described->id || segment_partition_id(segment) != from->partition_id)
            report(check, name, 0, "it belongs to another collection or partition than the manifest says");
    }
    if (status == VECDB_OK && check->problem_count == before)
        *whole = segment;
    else
        segment_release(segment);
    TRY(settle(check, status, before, name));
    return advance(check, id.size);
}

static vecdb_status check_segment(struct verification *check, const struct manifest_collection *described,
                                  const struct schema *schema, const struct manifest_segment *from)
{
    struct segment *segment = NULL;
    vecdb_status status = check_rows(check, described, schema, from, &segment);

    if (status == VECDB_OK && from->tombstones.id)
        status = check_tombstones(check, from);
    for (size_t i = 0; i < from->index_count && status == VECDB_OK; i++)
        status = check_index(check, described, schema, segment, &from->indexes[i]);
    segment_release(segment);
    return status;
}

static vecdb_status check_collection(struct verification *check, const struct manifest_collection *described)
{
    char name[FILE_NAME_SIZE];
    struct schema *schema;
    vecdb_status status = schema_decode(described->schema.data, described->schema.size, &schema);

    if (status != VECDB_OK) {
        manifest_file_name(check->manifest->generation, 'a', false, name);
        return judge(check, status, name);
    }
    for (size_t i = 0; i < described->segment_count && status == VECDB_OK; i++)
        status = check_segment(check, described, schema, &described->segments[i]);
    schema_free(schema);
    return status;
}

/* All copies of manifests that there are, not only the one that counts. */
static vecdb_status check_manifests(struct verification *check)
{
    struct buf names = {0}, bytes = {0};
    vecdb_status status = dir_list(check->dir, &names);

    for (size_t at = 0; status == VECDB_OK && at < names.size; at += strlen((char *)names.data + at) + 1) {
        const char *name = (char *)names.data + at;
        struct manifest manifest;
        uint64_t generation;
        bool temporary, read_only;
        char copy;
        if (!manifest_file_parse(name, &generation, &copy, &temporary) || temporary)
            continue;
        bytes.size = 0;
        status = file_read_all(check->dir, name, MANIFEST_MAX_SIZE, &bytes);
        if (status == VECDB_ERR_NO_SUCH) { /* an older one, removed just now */
            status = VECDB_OK;
            continue;
        }
        if (status == VECDB_OK)
            status = manifest_decode(name, bytes.data, bytes.size, generation, check->manifest->uuid, &read_only,
                                     &manifest);
        if (status == VECDB_OK)
            manifest_deinit(&manifest);
        else
            status = judge(check, status, name);
        if (status == VECDB_OK)
            status = advance(check, bytes.size);
    }
    buf_deinit(&names);
    buf_deinit(&bytes);
    return status;
}

static vecdb_status look_at_frame(void *context, const struct wal_frame *frame)
{
    uint64_t id;

    return frame->type ? frame_collection(frame, &id) : VECDB_OK;
}

/* Whether some process writes the database just now: then its log may end in the middle of a frame. */
static bool is_written_to(const struct dir *dir)
{
    struct file lock;
    bool busy;

    if (file_open(dir, "LOCK", VFS_READ, &lock) != VECDB_OK)
        return false;
    busy = file_lock(&lock) == VECDB_ERR_BUSY;
    file_close(&lock);
    return busy;
}

static vecdb_status check_logs(struct verification *check)
{
    const struct manifest *manifest = check->manifest;
    bool busy = is_written_to(check->dir);

    for (size_t i = 0; i < manifest->wal_count; i++) {
        bool last = i + 1 == manifest->wal_count;
        struct wal_scan scan = {.id = manifest->wals[i].id, .epoch = manifest->epoch, .uuid = manifest->uuid,
                                .first_lsn = manifest->wals[i].first_lsn, .last = last,
                                .end_lsn = last ? 0 : manifest->wals[i + 1].first_lsn - 1, .growing = busy};
        char name[FILE_NAME_SIZE];
        vecdb_status status = wal_read(check->dir, &scan, look_at_frame, NULL);
        format_file_name(FILE_WAL, scan.id, name);
        if (status != VECDB_OK)
            TRY(judge(check, status, name));
        else if (scan.dropped_bytes && !busy)
            problem_report(&check->sink, name, scan.end_offset,
                           "the last %llu bytes are no complete write: torn by a crash, or damaged; opening drops them",
                           (unsigned long long)scan.dropped_bytes);
        TRY(advance(check, scan.end_offset));
    }
    return VECDB_OK;
}

static vecdb_status add_size(void *context, enum file_kind kind, const struct manifest_file *file)
{
    ((struct verification *)context)->total += file->size;
    return VECDB_OK;
}

static vecdb_status check_all(struct verification *check)
{
    check->manifest = store_manifest(check->store);
    check->dir = store_dir(check->store);
    TRY(manifest_each_file(check->manifest, add_size, check));
    TRY(check_manifests(check));
    for (size_t i = 0; i < check->manifest->collection_count; i++)
        TRY(check_collection(check, &check->manifest->collections[i]));
    return check_logs(check);
}

static void begin_anew(struct verification *check)
{
    check->problems.size = 0;
    check->problem_count = check->files = 0;
    check->bytes = check->total = 0;
    check->missing = false;
    check->searched[0] = 0;
    check->search_count = 0;
}

static vecdb_status print_report(struct verification *check, struct buf *out)
{
    TRY(buf_printf(out, "{\"ok\":%s,\"files\":%zu,\"bytes\":%llu,\"problems\":[", check->problem_count ? "false" : "true",
                   check->files, (unsigned long long)check->bytes));
    TRY(buf_append(out, check->problems.size ? check->problems.data : NULL, check->problems.size));
    return buf_append_text(out, "]}");
}

vecdb_status database_verify(const struct vfs *vfs, const char *path, vecdb_progress progress, void *context,
                             struct buf *out)
{
    struct verification check = {.progress = progress, .context = context};
    struct store_options options = {.flags = STORE_READ_ONLY | STORE_NO_CREATE};
    vecdb_status status;
    bool changed = true;

    check.sink = (struct problem_sink){report, &check};
    status = store_open(vfs, path, &options, &check.store);
    if (status == VECDB_ERR_CORRUPT || status == VECDB_ERR_VERSION) {
        status = judge(&check, status, "MANIFEST");
    } else if (status == VECDB_OK) {
        while ((status = check_all(&check)) == VECDB_OK && check.missing) {
            if ((status = store_refresh(check.store, &changed)) != VECDB_OK || !changed)
                break;
            begin_anew(&check); /* a file is gone because the database went on: look at what it is now */
        }
        store_close(check.store);
    }
    if (status == VECDB_OK)
        status = print_report(&check, out);
    if (status == VECDB_OK && check.problem_count)
        status = error_set(VECDB_ERR_CORRUPT, "%s: %zu problems", path, check.problem_count);
    buf_deinit(&check.problems);
    return status;
}

vecdb_status database_print_stats(struct database *database, struct buf *out)
{
    struct collection **collections;
    size_t count = 0;
    vecdb_status status;

    pthread_mutex_lock(&database->lock);
    collections = mem_array_alloc(database->collection_count + 1, sizeof(struct collection *));
    for (size_t i = 0; collections && i < database->collection_count; i++)
        collections[count++] = collection_retain(database->collections[i]);
    pthread_mutex_unlock(&database->lock);
    if (!collections)
        return error_nomem("stats");
    status = buf_append_text(out, "{\"path\":");
    if (status == VECDB_OK)
        status = database->path ? buf_append_json_string(out, database->path, strlen(database->path))
                                : buf_append_text(out, "null");
    if (status == VECDB_OK)
        status = buf_printf(out, ",\"version\":\"%d.%d.%d\",\"read_only\":%s,\"memory\":%llu,\"memory_peak\":%llu",
                            VECDB_VERSION_MAJOR, VECDB_VERSION_MINOR, VECDB_VERSION_PATCH,
                            database->read_only ? "true" : "false",
                            (unsigned long long)(database->account ? mem_account_used(database->account) : 0),
                            (unsigned long long)(database->account ? mem_account_peak(database->account) : 0));
    if (status == VECDB_OK && database->store) {
        const struct store_recovery *recovery = store_recovery(database->store);
        status = buf_printf(out,
                            ",\"log_bytes\":%llu,\"recovery\":{\"frames\":%llu,\"dropped_bytes\":%llu,"
                            "\"damaged_copies\":%llu,\"removed_files\":%llu}",
                            (unsigned long long)store_log_size(database->store), (unsigned long long)recovery->frames,
                            (unsigned long long)recovery->dropped_bytes, (unsigned long long)recovery->damaged_copies,
                            (unsigned long long)recovery->removed_files);
    }
    if (status == VECDB_OK)
        status = buf_append_text(out, ",\"collections\":[");
    for (size_t i = 0; i < count; i++) {
        if (status == VECDB_OK && i)
            status = buf_append_text(out, ",");
        if (status == VECDB_OK)
            status = collection_print_stats(collections[i], out);
        collection_release(collections[i]);
    }
    mem_free(collections);
    return status == VECDB_OK ? buf_append_text(out, "]}") : status;
}
