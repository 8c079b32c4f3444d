/* What the log carries: one frame per batch, enough to do it again.
 *
 * A frame's payload, little-endian:
 *    0  u64 collection id
 *    8  FRAME_INSERT: u32 partition id, u32 flags (1: replace), i64 next auto id after it, then rows (schema/rows.h)
 *       FRAME_DELETE: u32 key count, u32 0, then INT64 keys: i64 each; VARCHAR keys: u32 length and the bytes, each
 *       FRAME_TRUNCATE: nothing
 * Deletes name keys, also those that were found by a filter: doing one again needs no filter and no index. */
#include "base/mem.h"
#include "collection/database.h"

#include <string.h>

#define FRAME_INSERT_HEAD 24
#define FRAME_DELETE_HEAD 16

vecdb_status frame_put_insert(const struct collection *collection, uint32_t partition, bool replace,
                              int64_t next_auto_id, const struct rows *rows, size_t around, struct buf *out, size_t *hole)
{
    uint32_t numbers[2] = {partition, replace};

    TRY(buf_append(out, &collection->id, 8));
    TRY(buf_append(out, numbers, sizeof numbers));
    TRY(buf_append(out, &next_auto_id, 8));
    return rows_encode_around(rows, around, out, hole);
}

vecdb_status frame_put_delete(const struct collection *collection, const struct snapshot *snapshot,
                              uint32_t *const *rows, const size_t *counts, struct buf *out)
{
    size_t primary = snapshot->schema->primary, total = 0;
    struct column_scratch scratch = {{0}};
    uint32_t numbers[2] = {0, 0};
    vecdb_status status;

    for (size_t v = 0; v < snapshot->view_count; v++)
        total += counts[v];
    numbers[0] = (uint32_t)total;
    TRY(buf_append(out, &collection->id, 8));
    TRY(buf_append(out, numbers, sizeof numbers));
    status = VECDB_OK;
    for (size_t v = 0; v < snapshot->view_count && status == VECDB_OK; v++) {
        size_t block_rows = snapshot->views[v].segment->block_rows, block_at = SIZE_MAX;
        struct column column = {0};
        for (size_t i = 0; i < counts[v] && status == VECDB_OK; i++) {
            size_t block = rows[v][i] / block_rows, size;
            const uint8_t *key;
            if (block != block_at)
                status = view_column(&snapshot->views[v], snapshot->schema, primary, block, &scratch, &column);
            if (status != VECDB_OK)
                break;
            block_at = block;
            key = column_bytes(&column, rows[v][i] % block_rows, &size);
            if (!column.width) {
                uint32_t length = (uint32_t)size;
                status = buf_append(out, &length, sizeof length);
            }
            if (status == VECDB_OK)
                status = buf_append(out, key, size);
        }
    }
    buf_deinit(&scratch.bytes);
    return status;
}

vecdb_status frame_put_truncate(const struct collection *collection, struct buf *out)
{
    return buf_append(out, &collection->id, 8);
}

vecdb_status frame_collection(const struct wal_frame *frame, uint64_t *id)
{
    if (frame->size < 8)
        return error_set(VECDB_ERR_CORRUPT, "log: frame %llu of %zu bytes", (unsigned long long)frame->lsn, frame->size);
    *id = load_u64(frame->payload);
    return VECDB_OK;
}

static vecdb_status bad_frame(const struct wal_frame *frame, const char *what)
{
    return error_set(VECDB_ERR_CORRUPT, "log: frame %llu: %s", (unsigned long long)frame->lsn, what);
}

static vecdb_status replay_insert(struct collection *collection, const struct wal_frame *frame)
{
    struct buf aligned = {0};
    struct rows rows = {0};
    uint32_t partition;
    vecdb_status status;

    if (frame->size < FRAME_INSERT_HEAD)
        return bad_frame(frame, "an insert that is cut off");
    partition = load_u32(frame->payload + 8);
    status = buf_append(&aligned, frame->payload + FRAME_INSERT_HEAD, frame->size - FRAME_INSERT_HEAD);
    if (status == VECDB_OK)
        status = rows_decode(collection_schema(collection), aligned.data, aligned.size, &rows);
    if (status == VECDB_OK) {
        status = collection_redo_insert(collection, &rows, partition, frame->lsn);
        rows_deinit(&rows);
    }
    if (status == VECDB_OK && (int64_t)load_u64(frame->payload + 16) > collection->next_auto_id)
        collection->next_auto_id = (int64_t)load_u64(frame->payload + 16);
    buf_deinit(&aligned);
    return status;
}

/* The keys of a delete frame as a batch of keys, for doing it again. */
static vecdb_status replay_delete(struct collection *collection, const struct wal_frame *frame)
{
    const struct field *field = &collection_schema(collection)->fields[collection_schema(collection)->primary];
    const uint8_t *at = frame->payload + FRAME_DELETE_HEAD, *end = frame->payload + frame->size;
    struct buf keys = {0}, offsets = {0};
    uint64_t offset = 0;
    uint32_t count;
    vecdb_status status = VECDB_OK;
    vecdb_column column = {.field = field->name, .type = field->type};

    if (frame->size < FRAME_DELETE_HEAD)
        return bad_frame(frame, "a delete that is cut off");
    count = load_u32(frame->payload + 8);
    if (field->type == VECDB_TYPE_INT64) {
        if ((size_t)(end - at) != (size_t)count * 8)
            return bad_frame(frame, "a delete whose keys are not as many as it says");
        status = buf_append(&keys, at, (size_t)count * 8);
    } else {
        status = buf_append(&offsets, &offset, sizeof offset);
        for (uint32_t i = 0; i < count && status == VECDB_OK; i++) {
            uint32_t length;
            if (end - at < 4 || (length = load_u32(at)) > (size_t)(end - at) - 4) {
                status = bad_frame(frame, "a delete whose keys are cut off");
                break;
            }
            status = buf_append(&keys, at + 4, length);
            at += 4 + length;
            offset = keys.size;
            if (status == VECDB_OK)
                status = buf_append(&offsets, &offset, sizeof offset);
        }
        if (status == VECDB_OK && at != end)
            status = bad_frame(frame, "a delete with bytes left over");
        column.offsets = (const uint64_t *)(const void *)offsets.data;
    }
    if (status == VECDB_OK)
        status = buf_reserve(&keys, 1);
    column.data = keys.data;
    if (status == VECDB_OK)
        status = collection_redo_delete(collection, &column, count, frame->lsn);
    buf_deinit(&keys);
    buf_deinit(&offsets);
    return status;
}

vecdb_status collection_replay(struct collection *collection, const struct wal_frame *frame)
{
    switch (frame->type) {
    case FRAME_INSERT:
        return replay_insert(collection, frame);
    case FRAME_DELETE:
        return replay_delete(collection, frame);
    case FRAME_TRUNCATE:
        return collection_redo_truncate(collection, frame->lsn);
    default:
        return error_set(VECDB_ERR_VERSION, "log: frame %llu is of type %u, which this vecdb does not know",
                         (unsigned long long)frame->lsn, frame->type);
    }
}
