#include "collection/rebuild.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "schema/rows.h"
#include "storage/segment_file.h"
#include "storage/tombstones.h"
#include "storage/wal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct found_segment {
    struct segment *segment;
    struct container_id id;
    struct tombstones *tombstones; /* as found, then with what newer segments replace */
};

struct found_log {
    uint64_t id, epoch, first_lsn, next_lsn;
};

struct rebuild {
    const struct dir *dir;
    rebuild_note note;
    void *context;
    struct buf names;
    bool has_uuid;
    struct manifest *manifest;
    struct found_segment *segments; /* by collection, then oldest first */
    size_t segment_count;
    struct found_log *logs;
    size_t log_count;
    uint64_t lost_frames;           /* of collections that nothing else is known of */
};

static vecdb_status note(struct rebuild *rebuild, const char *format, ...) __attribute__((format(printf, 2, 3)));
static vecdb_status note(struct rebuild *rebuild, const char *format, ...)
{
    char text[500];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return rebuild->note(rebuild->context, text);
}

static bool is_damage(vecdb_status status)
{
    return status == VECDB_ERR_CORRUPT || status == VECDB_ERR_NO_SUCH || status == VECDB_ERR_VERSION;
}

#define EACH_FILE(rebuild, name)                                                                                       \
    for (const char *name = (const char *)(rebuild)->names.data, *end_ = name + (rebuild)->names.size; name < end_;    \
         name += strlen(name) + 1)

/* ------------------------------------------------------------------------------------------------- what files there are */

/* Size and checksum of a container, and whether it is a file of this database. */
static vecdb_status identify(struct rebuild *rebuild, const char *name, enum file_kind kind, struct container_id *id)
{
    uint8_t header[CONTAINER_HEADER_SIZE];
    struct format_header common;
    struct file file;
    size_t got = 0;
    vecdb_status status;

    TRY(file_open(rebuild->dir, name, VFS_READ, &file));
    status = file_size(&file, &id->size);
    if (status == VECDB_OK)
        status = file_read_some(&file, 0, header, sizeof header, &got);
    file_close(&file);
    if (status == VECDB_OK)
        status = format_header_check(name, header, got, kind, rebuild->has_uuid ? rebuild->manifest->uuid : NULL,
                                     id->file_id, &common);
    if (status == VECDB_OK && kind != FILE_WAL && got < sizeof header)
        status = error_set(VECDB_ERR_CORRUPT, "%s: %zu bytes, too short", name, got);
    if (status != VECDB_OK)
        return status;
    memcpy(rebuild->manifest->uuid, common.uuid, FORMAT_UUID_SIZE);
    rebuild->has_uuid = true;
    id->checksum = kind == FILE_WAL ? 0 : load_u64(header + CONTAINER_HEADER_SIZE - 8);
    return VECDB_OK;
}

static vecdb_status add_segment(struct rebuild *rebuild, const struct container_id *id)
{
    struct found_segment *segments = mem_realloc(rebuild->segments, (rebuild->segment_count + 1) * sizeof *segments);

    if (!segments)
        return error_nomem("repair");
    rebuild->segments = segments;
    segments[rebuild->segment_count] = (struct found_segment){.id = *id};
    TRY(segment_open(rebuild->dir, rebuild->manifest->uuid, id, NULL, 0, &segments[rebuild->segment_count].segment));
    rebuild->segment_count++;
    return VECDB_OK;
}

static vecdb_status count_frame(void *context, const struct wal_frame *frame) { return VECDB_OK; }

static vecdb_status add_log(struct rebuild *rebuild, uint64_t id)
{
    struct wal_scan scan = {.id = id, .epoch = UINT64_MAX, .uuid = rebuild->manifest->uuid, .last = true};
    struct found_log *logs = mem_realloc(rebuild->logs, (rebuild->log_count + 1) * sizeof *logs);
    uint8_t header[WAL_HEADER_SIZE];
    char name[FILE_NAME_SIZE];
    struct file file;
    vecdb_status status;

    if (!logs)
        return error_nomem("repair");
    rebuild->logs = logs;
    status = wal_read(rebuild->dir, &scan, count_frame, NULL);
    if (status == VECDB_ERR_CORRUPT && scan.next_lsn) /* up to there it is good; its end is mended later */
        status = note(rebuild, "%s", error_last()->message);
    TRY(status);
    format_file_name(FILE_WAL, id, name);
    TRY(file_open(rebuild->dir, name, VFS_READ, &file));
    status = file_read(&file, 0, header, sizeof header);
    file_close(&file);
    TRY(status);
    logs[rebuild->log_count++] = (struct found_log){id, load_u64(header + 64), scan.first_lsn, scan.next_lsn};
    return VECDB_OK;
}

static int compare_segments(const void *a, const void *b)
{
    const struct found_segment *x = a, *y = b;
    uint64_t left[3] = {segment_collection_id(x->segment), segment_last_lsn(x->segment), x->id.file_id};
    uint64_t right[3] = {segment_collection_id(y->segment), segment_last_lsn(y->segment), y->id.file_id};

    for (int i = 0; i < 3; i++)
        if (left[i] != right[i])
            return left[i] < right[i] ? -1 : 1;
    return 0;
}

static vecdb_status find_files(struct rebuild *rebuild)
{
    uint64_t highest = 0;

    TRY(dir_list(rebuild->dir, &rebuild->names));
    EACH_FILE(rebuild, name) {
        struct container_id id = {0};
        enum file_kind kind;
        vecdb_status status;

        if (!format_file_parse(name, &kind, &id.file_id))
            continue;
        if (id.file_id > highest)
            highest = id.file_id;
        if (kind == FILE_INDEX)
            continue;
        status = identify(rebuild, name, kind, &id);
        if (status == VECDB_OK && kind == FILE_SEGMENT)
            status = add_segment(rebuild, &id);
        else if (status == VECDB_OK && kind == FILE_WAL)
            status = add_log(rebuild, id.file_id);
        if (is_damage(status))
            status = note(rebuild, "%s; it is left out", error_last()->message);
        TRY(status);
    }
    if (rebuild->segment_count)
        qsort(rebuild->segments, rebuild->segment_count, sizeof *rebuild->segments, compare_segments);
    rebuild->manifest->next_file_id = highest + 1;
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- collections */

static vecdb_status add_partition(struct manifest_collection *described, uint64_t id)
{
    uint64_t next = described->next_partition_id;
    char name[40];

    for (size_t i = 0; i < described->partition_count; i++)
        if (described->partitions[i].id == id)
            return VECDB_OK;
    if (id == 0 || id > UINT32_MAX)
        return error_set(VECDB_ERR_CORRUPT, "partition %llu: there is no such number", (unsigned long long)id);
    snprintf(name, sizeof name, id == 1 ? "_default" : "partition_%llu", (unsigned long long)id);
    described->next_partition_id = id;
    TRY(manifest_add_partition(described, name, &id));
    if (next > described->next_partition_id)
        described->next_partition_id = next;
    return VECDB_OK;
}

static bool name_taken(const struct rebuild *rebuild, const char *name, size_t before)
{
    for (size_t i = 0; i < before; i++)
        if (strcmp(rebuild->segments[i].segment->schema->name, name) == 0 &&
            segment_collection_id(rebuild->segments[i].segment) != segment_collection_id(rebuild->segments[before].segment))
            return true;
    return false;
}

/* A collection with the schema of the newest of its segments, which are first .. end - 1. */
static vecdb_status add_collection(struct rebuild *rebuild, size_t first, size_t end)
{
    const struct schema *schema = rebuild->segments[end - 1].segment->schema;
    uint64_t id = segment_collection_id(rebuild->segments[first].segment);
    struct manifest_collection *described;
    struct schema *renamed = NULL;
    struct buf bytes = {0};
    char name[300];
    vecdb_status status = VECDB_OK;

    for (size_t i = first; i < end; i++) /* fields are only ever added */
        if (rebuild->segments[i].segment->schema->field_count > schema->field_count)
            schema = rebuild->segments[i].segment->schema;
    if (id == 0)
        return note(rebuild, "%s: of no collection", segment_file_name(rebuild->segments[first].segment));
    if (name_taken(rebuild, schema->name, first)) {
        snprintf(name, sizeof name, "%.200s_%llu", schema->name, (unsigned long long)id);
        TRY(note(rebuild, "there are several collections %s; one is called %s now", schema->name, name));
        TRY(schema_copy(schema, name, &renamed));
    }
    status = schema_encode(renamed ? renamed : schema, &bytes);
    rebuild->manifest->next_collection_id = id;
    if (status == VECDB_OK)
        status = manifest_add_collection(rebuild->manifest, bytes.data, bytes.size, &described);
    schema_free(renamed);
    buf_deinit(&bytes);
    TRY(status);
    described->next_auto_id = 1;
    TRY(add_partition(described, 1));
    for (size_t i = first; i < end; i++)
        TRY(add_partition(described, segment_partition_id(rebuild->segments[i].segment)));
    return VECDB_OK;
}

static vecdb_status add_collections(struct rebuild *rebuild)
{
    for (size_t first = 0, end; first < rebuild->segment_count; first = end) {
        uint64_t id = segment_collection_id(rebuild->segments[first].segment);
        for (end = first + 1;
             end < rebuild->segment_count && segment_collection_id(rebuild->segments[end].segment) == id; end++)
            ;
        TRY(add_collection(rebuild, first, end));
    }
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- rows */

/* The newest bitmap of a segment. */
static vecdb_status find_tombstones(struct rebuild *rebuild, struct found_segment *found, struct manifest_file *file)
{
    EACH_FILE(rebuild, name) {
        struct container_id id = {0};
        struct tombstones *tombstones;
        enum file_kind kind;
        vecdb_status status;

        if (!format_file_parse(name, &kind, &id.file_id) || kind != FILE_TOMBSTONES || id.file_id < file->id)
            continue;
        status = identify(rebuild, name, kind, &id);
        if (status == VECDB_OK)
            status = tombstones_open(rebuild->dir, rebuild->manifest->uuid, &id, found->segment->id,
                                     found->segment->row_count, &tombstones);
        if (is_damage(status)) /* of another segment, most likely */
            continue;
        TRY(status);
        tombstones_release(found->tombstones);
        found->tombstones = tombstones;
        *file = (struct manifest_file){id.file_id, id.size, id.checksum};
    }
    return VECDB_OK;
}

/* Rows of a segment whose keys newer segments of the collection have; also notes the highest key. */
static vecdb_status find_stale(struct rebuild *rebuild, size_t at, struct manifest_collection *described, struct buf *stale)
{
    struct segment *segment = rebuild->segments[at].segment;
    struct column_scratch scratch = {{0}};
    size_t primary = segment->schema->primary;
    vecdb_status status = VECDB_OK;

    for (size_t first = 0, block = 0; first < segment->row_count && status == VECDB_OK;
         first += segment->block_rows, block++) {
        size_t left = segment->row_count - first, count = left < segment->block_rows ? left : segment->block_rows;
        struct column keys;
        status = segment->ops->column(segment, primary, block, count, &scratch, &keys);
        if (is_damage(status)) { /* what can be read of it is found out later */
            status = VECDB_OK;
            break;
        }
        for (size_t i = 0; i < count && status == VECDB_OK; i++) {
            uint32_t row = (uint32_t)(first + i), there;
            bool newer = false;
            size_t size;
            const uint8_t *key = column_bytes(&keys, i, &size);
            if (keys.width && (int64_t)load_u64(key) >= (int64_t)described->next_auto_id &&
                (int64_t)load_u64(key) < INT64_MAX)
                described->next_auto_id = load_u64(key) + 1;
            if (tombstones_get(rebuild->segments[at].tombstones, row))
                continue;
            for (size_t j = at + 1; j < rebuild->segment_count && !newer && status == VECDB_OK; j++) {
                struct segment *other = rebuild->segments[j].segment;
                if (segment_collection_id(other) != described->id)
                    break;
                status = other->ops->find(other, key, size, other->row_count, &newer, &there);
                if (is_damage(status))
                    status = VECDB_OK;
            }
            if (newer && status == VECDB_OK)
                status = buf_append(stale, &row, sizeof row);
        }
    }
    buf_deinit(&scratch.bytes);
    return status;
}

static vecdb_status describe_segment(struct rebuild *rebuild, size_t at)
{
    struct found_segment *found = &rebuild->segments[at];
    struct manifest_collection *described = manifest_find(rebuild->manifest, segment_collection_id(found->segment));
    struct manifest_segment segment = {.file = {found->id.file_id, found->id.size, found->id.checksum},
                                       .partition_id = segment_partition_id(found->segment),
                                       .row_count = found->segment->row_count};
    struct tombstones *all = NULL;
    struct buf stale = {0};
    struct container_id file;
    vecdb_status status;

    if (!described)
        return VECDB_OK;
    TRY(find_tombstones(rebuild, found, &segment.tombstones));
    status = find_stale(rebuild, at, described, &stale);
    if (status == VECDB_OK && stale.size) {
        status = tombstones_with(found->tombstones, found->segment->row_count, (const uint32_t *)(const void *)stale.data,
                                 stale.size / sizeof(uint32_t), &all);
        if (status == VECDB_OK) {
            tombstones_release(found->tombstones);
            found->tombstones = all;
            status = tombstones_save(all, rebuild->dir, rebuild->manifest->uuid, rebuild->manifest->next_file_id++,
                                     found->segment->id, &file);
        }
        if (status == VECDB_OK)
            segment.tombstones = (struct manifest_file){file.file_id, file.size, file.checksum};
    }
    buf_deinit(&stale);
    TRY(status);
    segment.deleted_count = tombstones_count(found->tombstones);
    return manifest_add_segment(described, &segment);
}

/* ------------------------------------------------------------------------------------------------- logs */

static int compare_logs(const void *a, const void *b)
{
    const struct found_log *x = a, *y = b;

    if (x->epoch != y->epoch)
        return x->epoch < y->epoch ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Partitions that only the log knows; frames that nobody can read any more. */
static vecdb_status look_at_frame(void *context, const struct wal_frame *frame)
{
    struct rebuild *rebuild = context;
    struct manifest_collection *described;

    if (frame->type == 0 || frame->size < 8)
        return VECDB_OK;
    described = manifest_find(rebuild->manifest, load_u64(frame->payload));
    if (!described)
        rebuild->lost_frames++;
    else if (frame->type == 1 && frame->size >= 12) /* an insert: the partition is its second number */
        return add_partition(described, load_u32(frame->payload + 8));
    return VECDB_OK;
}

/* Logs of one opening that follow each other. An unfinished opening leaves copies of what an older log has, so the run that
 * goes furthest counts, and of two the later. */
static vecdb_status choose_logs(struct rebuild *rebuild)
{
    struct manifest *manifest = rebuild->manifest;
    size_t best = 0, best_end = 0;
    uint64_t furthest = 0, checkpoint = 0;

    if (rebuild->log_count)
        qsort(rebuild->logs, rebuild->log_count, sizeof *rebuild->logs, compare_logs);
    for (size_t first = 0, end; first < rebuild->log_count; first = end) {
        for (end = first + 1; end < rebuild->log_count && rebuild->logs[end].epoch == rebuild->logs[first].epoch &&
                              rebuild->logs[end].first_lsn == rebuild->logs[end - 1].next_lsn;
             end++)
            ;
        if (rebuild->logs[end - 1].next_lsn >= furthest) {
            furthest = rebuild->logs[end - 1].next_lsn;
            best = first;
            best_end = end;
        }
    }
    for (size_t i = 0; i < rebuild->segment_count; i++)
        if (segment_last_lsn(rebuild->segments[i].segment) > checkpoint)
            checkpoint = segment_last_lsn(rebuild->segments[i].segment);
    if (best_end > best && furthest > checkpoint) {
        if (!(manifest->wals = mem_array_alloc(best_end - best, sizeof *manifest->wals)))
            return error_nomem("repair");
        for (size_t i = best; i < best_end; i++)
            manifest->wals[manifest->wal_count++] = (struct manifest_wal){rebuild->logs[i].id, rebuild->logs[i].first_lsn};
        checkpoint = rebuild->logs[best].first_lsn - 1; /* doing again what the segments have does no harm */
        manifest->epoch = rebuild->logs[best].epoch;
    }
    manifest->checkpoint_lsn = checkpoint;
    for (size_t i = 0; i < manifest->collection_count; i++)
        manifest->collections[i].checkpoint_lsn = checkpoint;
    return VECDB_OK;
}

static vecdb_status look_at_logs(struct rebuild *rebuild)
{
    const struct manifest *manifest = rebuild->manifest;

    for (size_t i = 0; i < manifest->wal_count; i++) {
        struct wal_scan scan = {.id = manifest->wals[i].id, .epoch = manifest->epoch, .uuid = manifest->uuid,
                                .first_lsn = manifest->wals[i].first_lsn, .last = true};
        vecdb_status status = wal_read(rebuild->dir, &scan, look_at_frame, rebuild);
        if (status != VECDB_OK && !is_damage(status))
            return status;
    }
    if (rebuild->lost_frames)
        return note(rebuild, "%llu writes in the log are of collections of which no segment is left, and are lost",
                    (unsigned long long)rebuild->lost_frames);
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- all of it */

static vecdb_status rebuild_all(struct rebuild *rebuild)
{
    TRY(find_files(rebuild));
    if (!rebuild->segment_count)
        return error_set(VECDB_ERR_CORRUPT, "repair: no copy of any manifest can be read, and no segment either");
    TRY(note(rebuild, "no copy of any manifest can be read: it is made anew from what the files say. Aliases, indexes and the "
                      "names of partitions are lost; what was deleted or dropped last may be there again"));
    TRY(add_collections(rebuild));
    for (size_t i = 0; i < rebuild->segment_count; i++)
        TRY(describe_segment(rebuild, i));
    TRY(choose_logs(rebuild));
    return look_at_logs(rebuild);
}

vecdb_status rebuild_manifest(const struct dir *dir, rebuild_note report, void *context, struct manifest *out)
{
    struct rebuild rebuild = {.dir = dir, .note = report, .context = context, .manifest = out};
    vecdb_status status;

    *out = (struct manifest){.next_collection_id = 1, .next_file_id = 1};
    status = rebuild_all(&rebuild);
    for (size_t i = 0; i < rebuild.segment_count; i++) {
        tombstones_release(rebuild.segments[i].tombstones);
        segment_release(rebuild.segments[i].segment);
    }
    mem_free(rebuild.segments);
    mem_free(rebuild.logs);
    buf_deinit(&rebuild.names);
    if (status != VECDB_OK) {
        vecdb_error failure = *error_last();
        manifest_deinit(out);
        *out = (struct manifest){0};
        error_adopt(&failure);
    }
    return status;
}
