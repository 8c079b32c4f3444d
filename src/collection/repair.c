/* Explicit salvage of a damaged, closed database. Without any manifest one is put together first (rebuild.h). What cannot be read is dropped and reported: index files silently become
 * work for the next optimize(), deletion bitmaps bring deleted rows back, segments lose the blocks that are damaged or, when
 * their tables are, all rows, and the log ends before its first damaged write. Logs are copied aside before they are cut.
 * Nothing else of the old files changes until the new manifest is in place. */
#include "collection/rebuild.h"
#include "collection/verify.h"
#include "storage/segment_file.h"
#include "storage/segment_writer.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct repair {
    struct dir dir;
    struct file lock;
    struct manifest manifest; /* being mended */
    uint64_t newest;          /* generation of any manifest there is */
    struct buf notes;         /* JSON strings, with commas between */
    size_t note_count;
    vecdb_progress progress;
    void *context;
};

static vecdb_status note(struct repair *repair, const char *format, ...) __attribute__((format(printf, 2, 3)));
static vecdb_status note(struct repair *repair, const char *format, ...)
{
    char text[600];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (repair->note_count++)
        TRY(buf_append_text(&repair->notes, ","));
    return buf_append_json_string(&repair->notes, text, strlen(text));
}

static vecdb_status note_text(void *context, const char *text) { return note(context, "%s", text); }

static bool is_damage(vecdb_status status)
{
    return status == VECDB_ERR_CORRUPT || status == VECDB_ERR_NO_SUCH || status == VECDB_ERR_VERSION;
}

static struct container_id id_of(const struct manifest_file *file)
{
    return (struct container_id){file->id, file->size, file->checksum};
}

static vecdb_status advance(struct repair *repair, uint64_t done, uint64_t total)
{
    if (repair->progress && !repair->progress(repair->context, "repair", done, total))
        return error_set(VECDB_ERR_CANCELLED, "repair: stopped by the progress callback");
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- manifests */

/* The newest manifest of which a copy can be read. */
static vecdb_status find_manifest(struct repair *repair)
{
    struct buf names = {0}, bytes = {0};
    uint64_t best = 0;
    vecdb_status status = dir_list(&repair->dir, &names);

    for (size_t at = 0; status == VECDB_OK && at < names.size; at += strlen((char *)names.data + at) + 1) {
        const char *name = (char *)names.data + at;
        struct manifest manifest;
        uint64_t generation;
        bool temporary, read_only;
        char copy;
        if (!manifest_file_parse(name, &generation, &copy, &temporary))
            continue;
        if (generation > repair->newest)
            repair->newest = generation;
        if (temporary || generation <= best)
            continue;
        bytes.size = 0;
        status = file_read_all(&repair->dir, name, MANIFEST_MAX_SIZE, &bytes);
        if (status == VECDB_OK)
            status = manifest_decode(name, bytes.data, bytes.size, generation, NULL, &read_only, &manifest);
        if (status == VECDB_OK) {
            manifest_deinit(&repair->manifest);
            repair->manifest = manifest;
            best = generation;
        } else if (is_damage(status)) {
            status = note(repair, "%s: %s", name, error_last()->message);
        }
    }
    buf_deinit(&names);
    buf_deinit(&bytes);
    if (status == VECDB_OK && !best)
        return rebuild_manifest(&repair->dir, note_text, repair, &repair->manifest);
    if (status == VECDB_OK && best < repair->newest)
        status = note(repair, "manifest %llu cannot be read; %llu is taken, what was changed in between is lost",
                      (unsigned long long)repair->newest, (unsigned long long)best);
    return status;
}

static vecdb_status publish(struct repair *repair)
{
    struct buf bytes = {0};
    vecdb_status status;

    repair->manifest.generation = repair->newest + 1;
    status = manifest_encode(&repair->manifest, &bytes);
    if (status == VECDB_OK)
        status = dir_sync(&repair->dir);
    for (char copy = 'a'; copy <= 'b' && status == VECDB_OK; copy++) {
        char name[FILE_NAME_SIZE], temporary[FILE_NAME_SIZE];
        struct file file;
        manifest_file_name(repair->manifest.generation, copy, false, name);
        manifest_file_name(repair->manifest.generation, copy, true, temporary);
        status = file_open(&repair->dir, temporary, VFS_WRITE | VFS_CREATE, &file);
        if (status != VECDB_OK)
            break;
        status = file_truncate(&file, 0);
        if (status == VECDB_OK)
            status = file_write(&file, 0, bytes.data, bytes.size);
        if (status == VECDB_OK)
            status = file_sync(&file);
        file_close(&file);
        if (status == VECDB_OK)
            status = dir_rename(&repair->dir, temporary, name);
        if (status == VECDB_OK)
            status = dir_sync(&repair->dir);
    }
    buf_deinit(&bytes);
    return status;
}

/* ------------------------------------------------------------------------------------------------- segments */

static void ignore_report(void *context, const char *file, uint64_t offset, const char *what) {}
static const struct problem_sink quiet = {ignore_report, NULL};

/* Rows of the blocks in which every field can be read; *count receives how many. */
static vecdb_status readable_rows(struct segment *segment, uint64_t **out, size_t *count)
{
    struct column_scratch scratch = {{0}};
    uint64_t *rows = mem_array_zalloc(bitmap_words(segment->row_count) + 1, sizeof *rows);
    vecdb_status status = rows ? VECDB_OK : error_nomem("repair");

    *count = 0;
    for (size_t first = 0, block = 0; first < segment->row_count && status == VECDB_OK;
         first += segment->block_rows, block++) {
        size_t left = segment->row_count - first, n = left < segment->block_rows ? left : segment->block_rows;
        struct column column;
        for (size_t f = 0; f < segment->schema->field_count && status == VECDB_OK; f++)
            status = segment->ops->column(segment, f, block, n, &scratch, &column);
        if (status == VECDB_OK) {
            for (size_t row = first; row < first + n; row++)
                bitmap_set(rows, row);
            *count += n;
        } else if (status == VECDB_ERR_CORRUPT) {
            status = VECDB_OK;
        }
    }
    buf_deinit(&scratch.bytes);
    if (status != VECDB_OK)
        mem_free(rows);
    else
        *out = rows;
    return status;
}

/* Write what can be read of a segment anew, in place of the old one. */
static vecdb_status salvage(struct repair *repair, struct manifest_collection *described, struct manifest_segment *from,
                            struct segment *segment, struct tombstones *tombstones, uint64_t *kept)
{
    struct segment_source source = {segment, segment->row_count, NULL, NULL};
    struct segment_write what = {.dir = &repair->dir, .uuid = repair->manifest.uuid,
                                 .segment_id = repair->manifest.next_file_id++,
                                 .collection_id = described->id, .partition_id = from->partition_id,
                                 .last_lsn = segment_last_lsn(segment), .schema = segment->schema,
                                 .sources = &source, .source_count = 1, .salvage = true};
    struct segment_written written;
    uint64_t *rows;
    size_t count;
    vecdb_status status;

    *kept = 0;
    TRY(readable_rows(segment, &rows, &count));
    tombstones_subtract(tombstones, rows, segment->row_count);
    source.keep = rows;
    count = bitmap_count(rows, segment->row_count);
    status = count ? segment_write(&what, &written) : VECDB_OK;
    mem_free(rows);
    TRY(status);
    *kept = count;
    for (size_t i = 0; i < from->index_count; i++)
        mem_free(from->indexes[i].kind);
    from->index_count = 0;
    from->tombstones = (struct manifest_file){0};
    from->deleted_count = 0;
    from->row_count = count;
    if (count)
        from->file = (struct manifest_file){written.file.file_id, written.file.size, written.file.checksum};
    return VECDB_OK;
}

/* The segment's deletions; without them what was deleted is there again, which is better than losing the segment. */
static vecdb_status mend_tombstones(struct repair *repair, struct manifest_segment *from, struct tombstones **out)
{
    struct container_id id = id_of(&from->tombstones);
    vecdb_status status;

    *out = NULL;
    if (!id.file_id)
        return VECDB_OK;
    status = tombstones_open(&repair->dir, repair->manifest.uuid, &id, from->file.id, (size_t)from->row_count, out);
    if (!is_damage(status))
        return status;
    TRY(note(repair, "%s; %llu deleted rows of seg-%llu.dat are there again", error_last()->message,
             (unsigned long long)from->deleted_count, (unsigned long long)from->file.id));
    from->tombstones = (struct manifest_file){0};
    from->deleted_count = 0;
    return VECDB_OK;
}

/* Index files that are damaged are left out: they are built anew. */
static vecdb_status mend_indexes(struct repair *repair, struct manifest_segment *from)
{
    for (size_t i = from->index_count; i-- > 0;) {
        struct container_id id = id_of(&from->indexes[i].file);
        vecdb_status status = index_file_verify(&repair->dir, repair->manifest.uuid, &id, &quiet);
        if (status == VECDB_OK)
            continue;
        if (!is_damage(status))
            return status;
        TRY(note(repair, "%s; it is built anew when it is asked for", error_last()->message));
        manifest_remove_index_file(from, from->indexes[i].index_id);
    }
    return VECDB_OK;
}

/* *lost: no row is left, and the segment is to be removed. */
static vecdb_status mend_segment(struct repair *repair, struct manifest_collection *described,
                                 struct manifest_segment *from, bool *lost)
{
    struct container_id id = id_of(&from->file);
    struct tombstones *tombstones = NULL;
    struct segment *segment = NULL;
    uint64_t kept, rows = from->row_count - from->deleted_count;
    char name[FILE_NAME_SIZE];
    vecdb_status status;

    *lost = false;
    format_file_name(FILE_SEGMENT, id.file_id, name);
    status = segment_open(&repair->dir, repair->manifest.uuid, &id, NULL, 0, &segment);
    if (status == VECDB_OK && segment->row_count != from->row_count)
        status = error_set(VECDB_ERR_CORRUPT, "%s has %zu rows, the manifest says %llu", name, segment->row_count,
                           (unsigned long long)from->row_count);
    if (is_damage(status)) {
        status = note(repair, "%s; all %llu rows are lost", error_last()->message, (unsigned long long)rows);
        *lost = true;
    } else if (status == VECDB_OK && (status = mend_tombstones(repair, from, &tombstones)) == VECDB_OK) {
        rows = from->row_count - from->deleted_count;
        status = segment_verify(segment, &quiet);
        if (status == VECDB_ERR_CORRUPT) {
            status = salvage(repair, described, from, segment, tombstones, &kept);
            if (status == VECDB_OK)
                status = note(repair, "%s is damaged; %llu of %llu rows are lost", name,
                              (unsigned long long)(rows - kept), (unsigned long long)rows);
            *lost = status == VECDB_OK && kept == 0;
        } else if (status == VECDB_OK) {
            status = mend_indexes(repair, from);
        }
    }
    tombstones_release(tombstones);
    segment_release(segment);
    return status;
}

static vecdb_status mend_collections(struct repair *repair)
{
    for (size_t c = 0; c < repair->manifest.collection_count; c++) {
        struct manifest_collection *described = &repair->manifest.collections[c];
        for (size_t s = described->segment_count; s-- > 0;) {
            uint64_t id = described->segments[s].file.id;
            bool lost;
            TRY(advance(repair, c, repair->manifest.collection_count));
            TRY(mend_segment(repair, described, &described->segments[s], &lost));
            if (lost)
                manifest_remove_segment(described, id);
        }
    }
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- logs */

struct log_end {
    uint64_t lsn; /* of the last good frame */
};

static vecdb_status note_frame(void *context, const struct wal_frame *frame)
{
    ((struct log_end *)context)->lsn = frame->lsn;
    return VECDB_OK;
}

/* Keep a damaged log under a name that is nobody's, then cut it behind its last good frame. */
static vecdb_status cut_log(struct repair *repair, const char *name, uint64_t size)
{
    char aside[FILE_NAME_SIZE + 16];
    struct buf bytes = {0};
    struct file file;
    vecdb_status status = file_read_all(&repair->dir, name, SIZE_MAX / 2, &bytes);

    snprintf(aside, sizeof aside, "damaged-%s", name);
    if (status == VECDB_OK)
        status = file_open(&repair->dir, aside, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &file);
    if (status == VECDB_OK) {
        status = file_write(&file, 0, bytes.data, bytes.size);
        if (status == VECDB_OK)
            status = file_sync(&file);
        file_close(&file);
    }
    buf_deinit(&bytes);
    TRY(status);
    TRY(dir_sync(&repair->dir));
    TRY(file_open(&repair->dir, name, VFS_WRITE, &file));
    status = file_truncate(&file, size);
    if (status == VECDB_OK)
        status = file_sync(&file);
    file_close(&file);
    return status;
}

/* Writes to come are numbered from the log's end on: no collection may take them for writes that its segments hold. */
static void renumber(struct manifest *manifest, uint64_t last_lsn)
{
    for (size_t i = 0; i < manifest->collection_count; i++) {
        struct manifest_collection *described = &manifest->collections[i];
        if (manifest->wal_count && described->checkpoint_lsn > last_lsn)
            described->checkpoint_lsn = last_lsn;
        if (!manifest->wal_count && described->checkpoint_lsn > manifest->checkpoint_lsn)
            manifest->checkpoint_lsn = described->checkpoint_lsn;
    }
    if (!manifest->wal_count && manifest->checkpoint_lsn < last_lsn)
        manifest->checkpoint_lsn = last_lsn;
}

static vecdb_status mend_logs(struct repair *repair)
{
    struct manifest *manifest = &repair->manifest;

    for (size_t i = 0; i < manifest->wal_count; i++) {
        bool last = i + 1 == manifest->wal_count;
        struct wal_scan scan = {.id = manifest->wals[i].id, .epoch = manifest->epoch, .uuid = manifest->uuid,
                                .first_lsn = manifest->wals[i].first_lsn, .last = last,
                                .end_lsn = last ? 0 : manifest->wals[i + 1].first_lsn - 1};
        struct log_end end = {manifest->wals[i].first_lsn - 1};
        char name[FILE_NAME_SIZE];
        vecdb_error failure;
        vecdb_status status = wal_read(&repair->dir, &scan, note_frame, &end);
        format_file_name(FILE_WAL, scan.id, name);
        if (status == VECDB_OK && scan.dropped_bytes) {
            TRY(note(repair, "%s: the last %llu bytes are no complete write, and are dropped", name,
                     (unsigned long long)scan.dropped_bytes));
            TRY(cut_log(repair, name, scan.end_offset));
        }
        if (status == VECDB_OK)
            continue;
        if (!is_damage(status))
            return status;
        failure = *error_last();
        TRY(note(repair, "%s; writes after number %llu are lost", failure.message, (unsigned long long)end.lsn));
        if (scan.end_offset >= WAL_HEADER_SIZE && end.lsn >= manifest->wals[i].first_lsn) {
            TRY(cut_log(repair, name, scan.end_offset));
            manifest->wal_count = i + 1;
        } else {
            manifest->wal_count = i;
        }
        renumber(manifest, end.lsn);
        return VECDB_OK;
    }
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- all of it */

static vecdb_status repair_all(struct repair *repair)
{
    vecdb_status status = file_open(&repair->dir, "LOCK", VFS_WRITE | VFS_CREATE, &repair->lock);

    TRY(status);
    if ((status = file_lock(&repair->lock)) != VECDB_OK)
        return status == VECDB_ERR_BUSY ? error_set(status, "repair: the database is open in some process") : status;
    TRY(find_manifest(repair));
    TRY(mend_collections(repair));
    TRY(mend_logs(repair));
    if (repair->note_count)
        TRY(publish(repair));
    return VECDB_OK;
}

vecdb_status database_repair(const struct vfs *vfs, const char *path, vecdb_progress progress, void *context,
                             struct buf *report)
{
    struct repair repair = {.progress = progress, .context = context};
    vecdb_status status;

    TRY(dir_open(vfs, path, false, &repair.dir));
    status = repair_all(&repair);
    if (status == VECDB_OK)
        status = buf_printf(report, "{\"changed\":%s,\"dropped\":[", repair.note_count ? "true" : "false");
    if (status == VECDB_OK)
        status = buf_append(report, repair.notes.size ? repair.notes.data : NULL, repair.notes.size);
    if (status == VECDB_OK)
        status = buf_append_text(report, "]}");
    manifest_deinit(&repair.manifest);
    buf_deinit(&repair.notes);
    file_close(&repair.lock);
    dir_close(&repair.dir);
    return status;
}
