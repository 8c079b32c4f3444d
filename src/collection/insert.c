/* Insert, upsert: check against the schema, then against the keys there are, then apply, log and publish. */
#include "base/mem.h"
#include "base/plant.h"
#include "collection/database.h"
#include "collection/doomed.h"
#include "query/fresh.h"
#include "storage/growing.h"
#include "storage/key_map.h"
#include "storage/wal.h"

#include <string.h>

#define GROWING_ROWS ((size_t)1 << 20)        /* room in one growing segment */
#define FRAME_PIECES_BYTES ((size_t)1 << 20)  /* values of one field that are not copied into a frame, at least */
#define GROWING_BYTES ((size_t)512 << 20)     /* beyond it, further rows go to another */
#define CONVOY_ROWS 64   /* batches so small go with those of other threads: their sync takes longer than all else */
#define CONVOY_BYTES ((size_t)1 << 20) /* the same; and of frames that are logged at once, but for the last */
#define CONVOY_FRAMES 32 /* that are logged at once */

static bool column_key_equal(const void *context, uint32_t row, const void *key, size_t key_size)
{
    size_t size;
    const uint8_t *other = column_bytes(context, row, &size);

    return size == key_size && memcmp(other, key, size) == 0;
}

/* For each row of the batch whether a later one has the same key (bit set: this one is superseded). For an insert that is
 * an error. */
static vecdb_status find_repeats(const struct rows *rows, bool replace, uint64_t *superseded, size_t *count,
                                 uint64_t *bad_row)
{
    const struct column *keys = &rows->columns[rows->schema->primary];
    const struct field *field = &rows->schema->fields[rows->schema->primary];
    struct key_map map = {0};
    vecdb_status status;

    if (rows->row_count < 2)
        return VECDB_OK;
    status = key_map_reserve(&map, rows->row_count);
    for (size_t row = 0; row < rows->row_count && status == VECDB_OK; row++) {
        size_t size;
        const uint8_t *key = column_bytes(keys, row, &size);
        uint32_t before =
            key_map_put(&map, key_map_hash(key, size), key, size, (uint32_t)row, column_key_equal, keys);
        if (before == KEY_MAP_NONE)
            continue;
        if (!replace) {
            *bad_row = row;
            status = error_set(VECDB_ERR_EXISTS, "field %s: key %s is in rows %u and %zu of the batch", field->name,
                               key_text(keys->type, key, size).text, before, row);
            break;
        }
        bitmap_set(superseded, before);
        ++*count;
    }
    key_map_deinit(&map);
    return status;
}

/* ---- vectors against the metrics of their indexes ---- */

static bool is_zero(const uint8_t *bytes, size_t size, vecdb_type type)
{
    uint8_t any = 0;

    for (size_t i = 0; i < size; i++) /* -0.0 is zero too */
        any |= type == VECDB_TYPE_FLOAT_VECTOR && i % 4 == 3   ? bytes[i] & 0x7F
               : (type == VECDB_TYPE_FLOAT16_VECTOR || type == VECDB_TYPE_BFLOAT16_VECTOR) && i % 2 == 1
                   ? bytes[i] & 0x7F
                   : bytes[i];
    return any == 0;
}

/* A zero vector has no direction. */
static vecdb_status check_cosine(const struct collection *collection, const struct rows *rows, uint64_t *bad_row)
{
    for (size_t i = 0; i < collection->index_count; i++) {
        const struct index_definition *definition = &collection->indexes[i];
        size_t f = schema_find(rows->schema, definition->field, strlen(definition->field));
        const struct column *column = &rows->columns[f];
        if (definition->metric != VECDB_METRIC_COSINE)
            continue;
        for (size_t row = 0; row < rows->row_count; row++)
            if (column_is_valid(column, row) &&
                is_zero(column->data + row * column->width, column->width, column->type)) {
                *bad_row = row;
                return error_set(VECDB_ERR_INVALID, "field %s: row %zu is a zero vector, which COSINE cannot compare",
                                 definition->field, row);
            }
    }
    return VECDB_OK;
}

/* ---- insert and upsert ---- */

/* The growing segment that a partition's rows go to, appended to the snapshot when there is none with room. */
static vecdb_status growing_view(struct collection *collection, struct snapshot **next, uint32_t partition,
                                 const struct rows *rows, size_t first, struct segment_view **out)
{
    struct snapshot *snapshot = *next, *wider;
    struct segment *segment;

    for (size_t v = snapshot->view_count; v-- > 0;) {
        struct segment_view *view = &snapshot->views[v];
        if (view->segment->growing && !view->segment->closed && view->partition == partition && view->segment->schema == rows->schema &&
            growing_bytes(view->segment) < GROWING_BYTES && growing_row_count(view->segment) == view->row_count &&
            growing_room(view->segment, rows, first, rows->row_count - first) > 0) {
            *out = view;
            return VECDB_OK;
        }
    }
    TRY(growing_create(rows->schema, database_new_id(collection->database), GROWING_ROWS, &segment));
    if (snapshot_copy(snapshot, snapshot->schema, snapshot->view_count + 1, &wider) != VECDB_OK) {
        segment_release(segment);
        return error_last()->status;
    }
    snapshot_release(snapshot);
    *next = wider;
    *out = &wider->views[wider->view_count - 1];
    (*out)->segment = segment;
    (*out)->partition = partition;
    (*out)->keys_ascend = true;
    return VECDB_OK;
}

/* Vectors of fields with an index are scanned as codes until it takes them in. */
static void code_vectors(const struct collection *collection, struct segment_view *view)
{
    for (size_t i = 0; i < collection->index_count; i++) {
        const struct index_definition *definition = &collection->indexes[i];
        size_t field = schema_find(view->segment->schema, definition->field, strlen(definition->field));
        if (!definition->scalar && field != SCHEMA_NONE)
            fresh_code(view, field, definition->metric);
    }
}

/* Where the rows of a batch went, if all went to one place. */
struct placed {
    const struct segment *segment; /* or NULL */
    size_t first;
};

/* Runs of rows that are not superseded go to growing segments. */
static vecdb_status append_rows(struct collection *collection, struct snapshot **next, uint32_t partition,
                                const struct rows *rows, const uint64_t *superseded, struct placed *placed)
{
    size_t row = 0;

    while (row < rows->row_count) {
        struct segment_view *view = NULL;
        size_t count = 1, room;
        if (superseded && bitmap_get(superseded, row)) {
            row++;
            continue;
        }
        if (!superseded)
            count = rows->row_count - row;
        while (superseded && row + count < rows->row_count && !bitmap_get(superseded, row + count))
            count++;
        if (PLANTED(16) && count > 1)
            count = 1;
        TRY(growing_view(collection, next, partition, rows, row, &view));
        room = growing_room(view->segment, rows, row, count);
        if (room < count)
            count = room;
        if (count == rows->row_count)
            *placed = (struct placed){view->segment, growing_row_count(view->segment)};
        TRY(growing_append(view->segment, rows, row, count, database_pool(collection->database)));
        view->row_count += count;
        view->keys_ascend = view->segment->keys_ascend;
        code_vectors(collection, view);
        row += count;
    }
    return VECDB_OK;
}

/* Each row to the partition of its partition key. */
static vecdb_status append_by_key(struct collection *collection, struct snapshot **next, const struct rows *rows,
                                  const uint64_t *superseded, struct placed *placed)
{
    const struct column *keys = &rows->columns[rows->schema->partition_key];
    uint32_t *partitions = mem_array_alloc(rows->row_count, sizeof *partitions);
    uint64_t *others = mem_array_alloc(bitmap_words(rows->row_count) + 1, 8);
    vecdb_status status = partitions && others ? VECDB_OK : error_nomem("insert");

    for (size_t row = 0; row < rows->row_count && status == VECDB_OK; row++) {
        size_t size;
        const uint8_t *key = column_bytes(keys, row, &size);
        partitions[row] = partition_of_key(rows->schema, key, size);
    }
    for (uint32_t p = PARTITION_FIRST; p < PARTITION_FIRST + rows->schema->num_partitions && status == VECDB_OK; p++) {
        bool any = false;
        memset(others, 0, bitmap_words(rows->row_count) * 8);
        if (superseded)
            memcpy(others, superseded, bitmap_words(rows->row_count) * 8);
        for (size_t row = 0; row < rows->row_count; row++)
            if (partitions[row] != p)
                bitmap_set(others, row);
            else
                any = true;
        if (any)
            status = append_rows(collection, next, p, rows, others, placed);
    }
    mem_free(partitions);
    mem_free(others);
    return status;
}

/* The snapshot after an insert or upsert. */
static vecdb_status after_insert(struct collection *collection, const struct rows *rows, uint32_t partition,
                                 bool replace, uint64_t *bad_row, struct placed *placed, struct snapshot **out)
{
    struct snapshot *snapshot = collection->latest, *next = NULL;
    struct doomed doomed = {.view_count = snapshot->view_count};
    uint64_t *superseded = NULL;
    uint64_t replaced = 0;
    size_t repeats = 0;
    vecdb_status status;

    *out = NULL;
    *placed = (struct placed){0};
    if (rows->row_count > 1 && !(superseded = mem_array_zalloc(bitmap_words(rows->row_count) + 1, 8)))
        return error_nomem("insert");
    if ((status = find_repeats(rows, replace, superseded, &repeats, bad_row)) != VECDB_OK ||
        (status = check_cosine(collection, rows, bad_row)) != VECDB_OK ||
        (!(PLANTED(15) && !collection->database->account /* replaying */) &&
         (status = doomed_find_keys(snapshot, rows, replace, &doomed, bad_row)) != VECDB_OK) ||
        (status = snapshot_copy(snapshot, snapshot->schema, snapshot->view_count, &next)) != VECDB_OK ||
        (status = doomed_apply(&doomed, next, &replaced)) != VECDB_OK)
        goto done;
    status = rows->schema->partition_key == SCHEMA_NONE
                 ? append_rows(collection, &next, partition, rows, repeats ? superseded : NULL, placed)
                 : append_by_key(collection, &next, rows, superseded, placed);
done:
    if (status == VECDB_OK)
        *out = next;
    else if (PLANTED(16) && next && collection->database->account)
        collection_publish(collection, next);
    else
        snapshot_release(next);
    doomed_deinit(&doomed);
    mem_free(superseded);
    return status;
}

/* The field with most bytes, if they are many and of fixed width; SCHEMA_NONE otherwise. */
static size_t widest_field(const struct rows *rows)
{
    size_t widest = SCHEMA_NONE, most = FRAME_PIECES_BYTES - 1;

    for (size_t f = 0; f < rows->schema->field_count; f++)
        if (rows->columns[f].width * rows->row_count > most && rows->columns[f].width * rows->row_count % 8 == 0) {
            most = rows->columns[f].width * rows->row_count;
            widest = f;
        }
    return widest;
}

/* What the log is to have of a batch. */
struct insert_frame {
    struct buf bytes;
    struct iovec *parts; /* room for WAL_MAX_PARTS: `bytes`, and between them what need not be copied. NULL: all is in `bytes` */
    size_t part_count;
};

/* With room for parts, the values of the widest field are left where they have been copied to: nobody else can change them there, as a
 * caller could change the batch while it is written. */
static vecdb_status put_frame(const struct collection *collection, const struct rows *rows, uint32_t partition, bool replace,
                              int64_t next_auto_id, const struct placed *placed, struct insert_frame *frame)
{
    size_t widest = frame->parts && placed->segment ? widest_field(rows) : SCHEMA_NONE, hole = 0, count = 0;

    if (!collection->database->store)
        return VECDB_OK;
    if (widest != SCHEMA_NONE)
        count = growing_pieces(placed->segment, widest, placed->first, rows->row_count, frame->parts + 1, WAL_MAX_PARTS - 2);
    TRY(frame_put_insert(collection, partition, replace, next_auto_id, rows, count ? widest : SCHEMA_NONE, &frame->bytes, &hole));
    if (frame->parts) {
        frame->parts[0] = (struct iovec){frame->bytes.data, count ? hole : frame->bytes.size};
        if (count)
            frame->parts[++count] = (struct iovec){frame->bytes.data + hole, frame->bytes.size - hole};
        frame->part_count = count + 1;
    }
    return VECDB_OK;
}

/* The snapshot after a batch, and the frame that says so. Both are made, and the rows copied, before the log is appended to: what
 * follows that cannot fail. */
static vecdb_status make_insert(struct collection *collection, const struct rows *rows, uint32_t partition, bool replace,
                                int64_t next_auto_id, uint64_t *bad_row, struct snapshot **next, struct insert_frame *frame)
{
    struct placed placed;
    vecdb_status status;

    if (PLANTED(13) && replace)
        TRY(delete_plant_first(collection, rows));
    TRY(after_insert(collection, rows, partition, replace, bad_row, &placed, next));
    status = put_frame(collection, rows, partition, replace, next_auto_id, &placed, frame);
    if (status != VECDB_OK) {
        snapshot_release(*next);
        *next = NULL;
    }
    return status;
}

vecdb_status collection_redo_insert(struct collection *collection, const struct rows *rows, uint32_t partition,
                                    uint64_t lsn)
{
    struct snapshot *next;
    struct placed placed;
    uint64_t bad_row;

    for (size_t i = 0; i < collection->partition_count; i++)
        if (collection->partitions[i].id == partition) {
            TRY(after_insert(collection, rows, partition, true, &bad_row, &placed, &next));
            next->lsn = lsn;
            collection_publish(collection, next);
            return VECDB_OK;
        }
    return delete_redo_replaced(collection, rows, lsn); /* its partition has been dropped since */
}

static vecdb_status check_batch_size(const struct rows *rows)
{
    size_t bytes = 0;

    for (size_t f = 0; f < rows->schema->field_count; f++) {
        const struct column *column = &rows->columns[f];
        bytes += column->width ? column->width * rows->row_count : column->offsets[rows->row_count];
    }
    if (bytes > VECDB_MAX_BATCH_BYTES)
        return error_set(VECDB_ERR_LIMIT, "a batch of %zu bytes is larger than %d: insert it in parts", bytes,
                         VECDB_MAX_BATCH_BYTES);
    return VECDB_OK;
}

/* Read a batch and make what comes of it: *next, which stays NULL when it has no rows, and its frame. With write_lock. */
static vecdb_status take_batch(struct collection *collection, const vecdb_batch *batch, bool replace, struct write_result *result,
                               struct snapshot **next, struct insert_frame *frame)
{
    const struct schema *schema = collection_schema(collection);
    struct rows rows;
    uint32_t partition;
    bool keep_keys = false;
    int64_t first = 0, next_auto_id;
    vecdb_status status;

    *next = NULL;
    result->affected = 0;
    result->bad_row = UINT64_MAX;
    status = collection_writable(collection);
    partition = collection->partitions[0].id;
    if (status == VECDB_OK && batch->partition && schema->partition_key != SCHEMA_NONE)
        status = error_set(VECDB_ERR_INVALID, "collection %s: rows go where their partition key %s says, not to partition %s",
                           schema->name, schema->fields[schema->partition_key].name, batch->partition);
    else if (status == VECDB_OK && batch->partition)
        status = collection_find_partition(collection, batch->partition, &partition);
    if (status == VECDB_OK) {
        keep_keys = schema->auto_id && replace; /* an upsert brings the keys that it replaces */
        first = collection->next_auto_id;
        status = rows_from_batch(schema, batch, first, keep_keys, &rows, &result->bad_row);
    }
    if (status == VECDB_OK) {
        status = check_batch_size(&rows);
        next_auto_id = schema->auto_id && !keep_keys ? first + (int64_t)rows.row_count : first;
        if (status == VECDB_OK && rows.row_count)
            status = make_insert(collection, &rows, partition, replace, next_auto_id, &result->bad_row, next, frame);
        if (status == VECDB_OK) {
            collection->next_auto_id = next_auto_id;
            result->affected = rows.row_count;
        }
        rows_deinit(&rows);
    }
    result->first_auto_id = first;
    return status;
}

/* A batch by itself, up to its commit. */
static vecdb_status stage_batch(struct collection *collection, const vecdb_batch *batch, bool replace,
                                struct write_result *result, struct snapshot **staged)
{
    struct iovec parts[WAL_MAX_PARTS];
    struct insert_frame frame = {.parts = parts};
    struct snapshot *next;
    int64_t auto_id;
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    auto_id = collection->next_auto_id;
    status = take_batch(collection, batch, replace, result, &next, &frame);
    if (next && (status = collection_stage(collection, next, FRAME_INSERT, parts, frame.part_count, staged)) != VECDB_OK) {
        collection->next_auto_id = auto_id;
        result->affected = 0;
    }
    pthread_mutex_unlock(&collection->write_lock);
    buf_deinit(&frame.bytes);
    return status;
}

/* An insert that goes with those of other threads. */
struct insert_rider {
    struct rider rider; /* first */
    const vecdb_batch *batch;
    bool replace;
    struct write_result *result;
    struct insert_frame frame; /* has bytes: its batch is in the latest snapshot, and to be in the log */
};

/* Log the batches of riders up to `end`, which are in the latest snapshot; if that fails, go back to the one before them. */
static vecdb_status log_inserts(struct collection *collection, struct rider *riders, const struct rider *end,
                                const struct iovec *frames, size_t count, struct snapshot *before, int64_t auto_id)
{
    uint64_t lsn = 0;
    vecdb_status status = store_append_frames(collection->database->store, FRAME_INSERT, frames, count, &lsn);

    if (status == VECDB_OK) {
        collection->latest->lsn = lsn + count - 1;
        return VECDB_OK;
    }
    snapshot_release(collection->latest);
    collection->latest = snapshot_retain(before);
    collection->next_auto_id = auto_id;
    for (struct rider *rider = riders; rider != end; rider = rider->next) {
        struct insert_rider *insert = (struct insert_rider *)rider;
        if (insert->frame.bytes.size == 0)
            continue;
        insert->result->affected = 0;
        rider_done(rider, status);
    }
    return status;
}

/* Take in the batches of some riders, with one write to the log; returns who is next. With write_lock. */
static struct rider *stage_inserts(struct collection *collection, struct rider *riders, struct snapshot **staged)
{
    struct snapshot *before = snapshot_retain(collection->latest);
    int64_t auto_id = collection->next_auto_id;
    struct iovec frames[CONVOY_FRAMES];
    struct rider *end = riders;
    size_t count = 0, bytes = 0;

    for (; end && count < CONVOY_FRAMES && bytes < CONVOY_BYTES; end = end->next) {
        struct insert_rider *insert = (struct insert_rider *)end;
        struct snapshot *next;
        rider_done(end, take_batch(collection, insert->batch, insert->replace, insert->result, &next, &insert->frame));
        if (!next) {
            buf_deinit(&insert->frame.bytes);
            continue;
        }
        collection_advance(collection, next);
        frames[count++] = (struct iovec){insert->frame.bytes.data, insert->frame.bytes.size};
        bytes += insert->frame.bytes.size;
    }
    if (count && log_inserts(collection, riders, end, frames, count, before, auto_id) == VECDB_OK) {
        snapshot_release(*staged);
        *staged = snapshot_retain(collection->latest);
    }
    for (struct rider *rider = riders; rider != end; rider = rider->next)
        buf_deinit(&((struct insert_rider *)rider)->frame.bytes);
    snapshot_release(before);
    return end;
}

/* Take in the batches of all, then wait for one sync, which makes all of them durable. */
static void drive_inserts(void *context, struct rider *riders)
{
    struct collection *collection = context;
    struct snapshot *staged = NULL;
    vecdb_status status = VECDB_OK;

    pthread_mutex_lock(&collection->write_lock);
    for (struct rider *rider = riders; rider;)
        rider = stage_inserts(collection, rider, &staged);
    pthread_mutex_unlock(&collection->write_lock);
    if (staged)
        status = collection_commit(collection, staged, VECDB_DURABILITY_FULL);
    for (struct rider *rider = riders; rider && status != VECDB_OK; rider = rider->next)
        if (rider->status == VECDB_OK)
            rider_done(rider, status);
    error_clear(); /* each has its own */
}

/* Whether a batch goes with those of other threads. */
static bool rides(const struct collection *collection, const vecdb_batch *batch, vecdb_durability durability)
{
    if (durability == VECDB_DURABILITY_DEFAULT)
        durability = collection->database->durability;
    return durability == VECDB_DURABILITY_FULL && collection->database->store && batch->row_count <= CONVOY_ROWS &&
           rows_batch_bytes(batch) <= CONVOY_BYTES;
}

vecdb_status collection_insert(struct collection *collection, const vecdb_batch *batch, bool replace,
                               vecdb_durability durability, struct write_result *result)
{
    struct snapshot *staged = NULL;
    vecdb_status status;

    if (rides(collection, batch, durability)) {
        struct insert_rider insert = {.batch = batch, .replace = replace, .result = result};
        status = convoy_ride(&collection->convoy, &insert.rider, drive_inserts, collection);
    } else {
        status = stage_batch(collection, batch, replace, result, &staged);
        if (staged)
            status = collection_commit(collection, staged, durability);
    }
    if (status == VECDB_OK)
        collection_keep_pace(collection, (size_t)result->affected);
    return status;
}
