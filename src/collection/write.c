/* Insert, upsert, delete: check against the schema, then against the keys there are, then apply and publish. */
#include "base/mem.h"
#include "base/plant.h"
#include "collection/database.h"
#include "query/expiry.h"
#include "query/fresh.h"
#include "storage/growing.h"
#include "storage/key_map.h"
#include "storage/wal.h"

#include <stdio.h>
#include <string.h>

#define GROWING_ROWS ((size_t)1 << 20)        /* room in one growing segment */
#define FRAME_PIECES_BYTES ((size_t)1 << 20)  /* values of one field that are not copied into a frame, at least */
#define DELETE_TRIES 8 /* to delete what a filter matches while segments are written anew */
#define GROWING_BYTES ((size_t)512 << 20)     /* beyond it, further rows go to another */
#define CONVOY_ROWS 64   /* batches so small go with those of other threads: their sync takes longer than all else */
#define CONVOY_FRAMES 32 /* that are logged at once */

/* ---- keys ---- */

struct key_text { /* for messages */
    char text[96];
};

static struct key_text key_text(vecdb_type type, const void *key, size_t size)
{
    struct key_text text;

    if (type == VECDB_TYPE_INT64)
        snprintf(text.text, sizeof text.text, "%lld", (long long)(int64_t)load_u64(key));
    else
        snprintf(text.text, sizeof text.text, "'%.*s'%s", size > 80 ? 80 : (int)size, (const char *)key,
                 size > 80 ? "..." : "");
    return text;
}

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

/* Rows to delete, by view of the snapshot. */
struct doomed {
    uint32_t **rows; /* view_count lists; NULL while there are none, which is what most inserts find */
    size_t *counts, *capacities;
    size_t view_count;
};

static void doomed_deinit(struct doomed *doomed)
{
    for (size_t v = 0; doomed->rows && v < doomed->view_count; v++)
        mem_free(doomed->rows[v]);
    mem_free(doomed->rows);
    mem_free(doomed->counts);
    mem_free(doomed->capacities);
}

static vecdb_status doomed_make_lists(struct doomed *doomed)
{
    doomed->rows = mem_array_zalloc(doomed->view_count + 1, sizeof *doomed->rows);
    doomed->counts = mem_array_zalloc(doomed->view_count + 1, sizeof *doomed->counts);
    doomed->capacities = mem_array_zalloc(doomed->view_count + 1, sizeof *doomed->capacities);
    return doomed->rows && doomed->counts && doomed->capacities ? VECDB_OK : error_nomem("delete");
}

static size_t doomed_count(const struct doomed *doomed, size_t view) { return doomed->rows ? doomed->counts[view] : 0; }

static vecdb_status doomed_add(struct doomed *doomed, size_t view, uint32_t row)
{
    if (!doomed->rows)
        TRY(doomed_make_lists(doomed));
    if (doomed->counts[view] == doomed->capacities[view]) {
        size_t capacity = doomed->capacities[view] ? doomed->capacities[view] * 2 : 16;
        uint32_t *rows = mem_realloc(doomed->rows[view], capacity * sizeof *rows);
        if (!rows)
            return error_nomem("delete");
        doomed->rows[view] = rows;
        doomed->capacities[view] = capacity;
    }
    doomed->rows[view][doomed->counts[view]++] = row;
    return VECDB_OK;
}

/* Apply deletions to the views of a snapshot that is being made; *affected counts rows that were live. */
static vecdb_status doom(const struct doomed *doomed, struct snapshot *next, uint64_t *affected)
{
    for (size_t v = 0; v < doomed->view_count; v++) {
        struct segment_view *view = &next->views[v];
        struct tombstones *tombstones;
        size_t before = tombstones_count(view->tombstones);
        if (doomed_count(doomed, v) == 0)
            continue;
        TRY(tombstones_with(view->tombstones, view->segment->row_count, doomed->rows[v], doomed->counts[v],
                            &tombstones));
        *affected += tombstones_count(tombstones) - before;
        view_set_tombstones(view, tombstones);
    }
    return VECDB_OK;
}

/* Keys that live rows have already: an error for an insert, rows to delete for an upsert. */
static vecdb_status find_present(const struct snapshot *snapshot, const struct rows *rows, bool replace,
                                 struct doomed *doomed, uint64_t *bad_row)
{
    const struct column *keys = &rows->columns[rows->schema->primary];

    for (size_t row = 0; row < rows->row_count; row++) {
        size_t size, view;
        const uint8_t *key = column_bytes(keys, row, &size);
        uint32_t at;
        bool found, expired = false;
        TRY(snapshot_find(snapshot, key, size, &found, &view, &at));
        if (!found)
            continue;
        if (!replace)
            TRY(row_expired(snapshot, view, at, &expired)); /* as good as gone: the new row takes its place */
        if (!replace && !expired) {
            *bad_row = row;
            return error_set(VECDB_ERR_EXISTS, "field %s: row %zu: key %s is there already",
                             rows->schema->fields[rows->schema->primary].name, row,
                             key_text(keys->type, key, size).text);
        }
        TRY(doomed_add(doomed, view, at));
    }
    return VECDB_OK;
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
         (status = find_present(snapshot, rows, replace, &doomed, bad_row)) != VECDB_OK) ||
        (status = snapshot_copy(snapshot, snapshot->schema, snapshot->view_count, &next)) != VECDB_OK ||
        (status = doom(&doomed, next, &replaced)) != VECDB_OK)
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

static vecdb_status plant_delete_first(struct collection *collection, const struct rows *rows);

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
        TRY(plant_delete_first(collection, rows));
    TRY(after_insert(collection, rows, partition, replace, bad_row, &placed, next));
    status = put_frame(collection, rows, partition, replace, next_auto_id, &placed, frame);
    if (status != VECDB_OK) {
        snapshot_release(*next);
        *next = NULL;
    }
    return status;
}

static vecdb_status redo_replacing(struct collection *collection, const struct rows *rows, uint64_t lsn);

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
    return redo_replacing(collection, rows, lsn); /* its partition has been dropped since */
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
    size_t count = 0;

    for (; end && count < CONVOY_FRAMES; end = end->next) {
        struct insert_rider *insert = (struct insert_rider *)end;
        struct snapshot *next;
        rider_done(end, take_batch(collection, insert->batch, insert->replace, insert->result, &next, &insert->frame));
        if (!next) {
            buf_deinit(&insert->frame.bytes);
            continue;
        }
        collection_advance(collection, next);
        frames[count++] = (struct iovec){insert->frame.bytes.data, insert->frame.bytes.size};
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
    return durability == VECDB_DURABILITY_FULL && batch->row_count <= CONVOY_ROWS && collection->database->store;
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

/* ---- delete ---- */

/* The snapshot after a delete; *out stays NULL when no row was there to delete. */
static vecdb_status after_delete(struct collection *collection, const struct doomed *doomed, uint64_t *affected,
                                 struct snapshot **out)
{
    struct snapshot *next;
    vecdb_status status;

    *out = NULL;
    *affected = 0;
    TRY(snapshot_copy(collection->latest, collection->latest->schema, collection->latest->view_count, &next));
    status = doom(doomed, next, affected);
    if (status == VECDB_OK && *affected)
        *out = next;
    else
        snapshot_release(next);
    return status;
}

static vecdb_status delete_locked(struct collection *collection, const struct doomed *doomed,
                                  struct write_result *result, struct snapshot **staged)
{
    struct snapshot *next = NULL;
    struct buf frame = {0};
    vecdb_status status = after_delete(collection, doomed, &result->affected, &next);

    if (status == VECDB_OK && next && collection->database->store)
        status = frame_put_delete(collection, collection->latest, doomed->rows, doomed->counts, &frame);
    if (status == VECDB_OK && next)
        status = collection_stage(collection, next, FRAME_DELETE, &(struct iovec){frame.data, frame.size}, 1, staged);
    else
        snapshot_release(next);
    buf_deinit(&frame);
    return status;
}

/* Planted bug 13: the rows that an upsert replaces go away in a write of their own. */
static vecdb_status plant_delete_first(struct collection *collection, const struct rows *rows)
{
    struct write_result result = {0};
    struct snapshot *staged = NULL;
    struct doomed doomed = {.view_count = collection->latest->view_count};
    uint64_t bad_row;
    vecdb_status status = find_present(collection->latest, rows, true, &doomed, &bad_row);

    if (status == VECDB_OK)
        status = delete_locked(collection, &doomed, &result, &staged);
    doomed_deinit(&doomed);
    return staged ? collection_commit(collection, staged, VECDB_DURABILITY_NONE) : status;
}

/* The live rows of some keys. */
static vecdb_status doom_keys(struct collection *collection, const vecdb_column *keys, size_t key_count,
                              struct doomed *doomed)
{
    struct rows rows;
    uint64_t bad_row;
    vecdb_status status;

    TRY(rows_from_keys(collection_schema(collection), keys, key_count, &rows));
    doomed->view_count = collection->latest->view_count;
    status = find_present(collection->latest, &rows, true, doomed, &bad_row);
    rows_deinit(&rows);
    return status;
}

vecdb_status collection_delete_keys(struct collection *collection, const vecdb_column *keys, size_t key_count,
                                    vecdb_durability durability, struct write_result *result)
{
    struct snapshot *staged = NULL;
    struct doomed doomed = {0};
    vecdb_status status;

    result->affected = 0;
    result->bad_row = UINT64_MAX;
    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = doom_keys(collection, keys, key_count, &doomed);
    if (status == VECDB_OK)
        status = delete_locked(collection, &doomed, result, &staged);
    pthread_mutex_unlock(&collection->write_lock);
    doomed_deinit(&doomed);
    return staged ? collection_commit(collection, staged, durability) : status;
}

/* Doomed rows go, as of a frame. */
static vecdb_status redo_doom(struct collection *collection, const struct doomed *doomed, uint64_t lsn)
{
    struct snapshot *next;
    uint64_t affected;

    TRY(after_delete(collection, doomed, &affected, &next));
    if (next) {
        next->lsn = lsn;
        collection_publish(collection, next);
    }
    return VECDB_OK;
}

/* What an upsert replaced is gone, even where what it wrote is too: rows of other partitions among it. */
static vecdb_status redo_replacing(struct collection *collection, const struct rows *rows, uint64_t lsn)
{
    struct doomed doomed = {.view_count = collection->latest->view_count};
    uint64_t bad_row;
    vecdb_status status = find_present(collection->latest, rows, true, &doomed, &bad_row);

    if (status == VECDB_OK)
        status = redo_doom(collection, &doomed, lsn);
    doomed_deinit(&doomed);
    return status;
}

vecdb_status collection_redo_delete(struct collection *collection, const vecdb_column *keys, size_t key_count,
                                    uint64_t lsn)
{
    struct doomed doomed = {0};
    vecdb_status status = doom_keys(collection, keys, key_count, &doomed);

    if (status == VECDB_OK)
        status = redo_doom(collection, &doomed, lsn);
    doomed_deinit(&doomed);
    return status;
}

/* The rows that match a filter. */
static vecdb_status doom_matches(const struct snapshot *snapshot, const struct filter *filter, struct doomed *doomed)
{
    struct filter_counters counters = {0};

    doomed->view_count = snapshot->view_count;
    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        vecdb_status status = VECDB_OK;
        uint64_t *rows;
        size_t count;
        TRY(search_allowed(snapshot, v, filter, NULL, 0, NULL, &rows, &count, &counters));
        for (size_t row = 0; count && row < view->row_count && status == VECDB_OK; row++)
            if (!rows || bitmap_get(rows, row))
                status = doomed_add(doomed, v, (uint32_t)row);
        mem_free(rows);
        if (status != VECDB_OK)
            return status;
    }
    return VECDB_OK;
}

/* Rows chosen in an older snapshot, as the latest has them. Those deleted since are left out, their keys may have other rows now; rows
 * that came since are as if they had come after us. False: there are segments written anew, whose rows have to be looked at. */
static vecdb_status bring_forward(const struct snapshot *seen, const struct doomed *chosen, const struct snapshot *latest,
                                  struct doomed *out, bool *all)
{
    out->view_count = latest->view_count;
    *all = true;
    for (size_t w = 0; w < latest->view_count; w++) {
        const struct segment_view *view = &latest->views[w];
        size_t v = 0;
        while (v < seen->view_count && seen->views[v].segment != view->segment)
            v++;
        if (v == seen->view_count) {
            *all = *all && view->segment->growing;
            continue;
        }
        for (size_t i = 0; i < doomed_count(chosen, v); i++)
            if (chosen->rows[v][i] < view->row_count && !tombstones_get(view->tombstones, chosen->rows[v][i]))
                TRY(doomed_add(out, w, chosen->rows[v][i]));
    }
    return VECDB_OK;
}

static struct snapshot *latest_of(struct collection *collection)
{
    struct snapshot *snapshot;

    pthread_mutex_lock(&collection->write_lock);
    snapshot = snapshot_retain(collection->latest);
    pthread_mutex_unlock(&collection->write_lock);
    return snapshot;
}

/* Choose rows with no lock held, for filters may call functions of the program's; then delete those still there. *done is false when
 * segments were written anew meanwhile. */
static vecdb_status try_delete_where(struct collection *collection, const char *text, const char *params,
                                     struct write_result *result, struct snapshot **staged, bool *done)
{
    struct snapshot *seen = latest_of(collection);
    struct doomed chosen = {0}, doomed = {0};
    struct filter *filter = NULL;
    vecdb_status status = filter_compile(seen->schema, text, strlen(text), params, &filter);

    if (status == VECDB_OK)
        status = doom_matches(seen, filter, &chosen);
    pthread_mutex_lock(&collection->write_lock);
    if (status == VECDB_OK)
        status = collection_writable(collection);
    if (status == VECDB_OK)
        status = bring_forward(seen, &chosen, collection->latest, &doomed, done);
    if (status == VECDB_OK && *done)
        status = delete_locked(collection, &doomed, result, staged);
    pthread_mutex_unlock(&collection->write_lock);
    doomed_deinit(&chosen);
    doomed_deinit(&doomed);
    filter_free(filter);
    snapshot_release(seen);
    return status;
}

vecdb_status collection_delete_where(struct collection *collection, const char *text, const char *params,
                                     vecdb_durability durability, struct write_result *result)
{
    struct snapshot *staged = NULL;
    bool done = false, claimed = false;
    vecdb_status status;

    result->affected = 0;
    result->bad_row = UINT64_MAX;
    if (!text || !text[strspn(text, " \t\r\n")])
        return error_set(VECDB_ERR_INVALID, "delete: the filter is empty; use truncate to delete all rows");
    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    pthread_mutex_unlock(&collection->write_lock);
    for (int tries = 0; status == VECDB_OK && !done; tries++) {
        if (tries == DELETE_TRIES) { /* segments change faster than we look at them: keep them as they are */
            TRY(collection_begin_upkeep(collection));
            claimed = true;
        }
        status = try_delete_where(collection, text, params, result, &staged, &done);
    }
    if (claimed)
        collection_end_upkeep(collection);
    return staged ? collection_commit(collection, staged, durability) : status;
}

/* Rows that have expired, as a filter has no word for them. */
static vecdb_status doom_expired(const struct snapshot *snapshot, struct doomed *doomed)
{
    doomed->view_count = snapshot->view_count;
    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        struct filter_counters counters = {0};
        vecdb_status status = VECDB_OK;
        uint64_t *rows;
        size_t count;
        TRY(search_allowed(snapshot, v, NULL, NULL, 0, NULL, &rows, &count, &counters));
        if (count == view_live_rows(view)) {
            mem_free(rows);
            continue;
        }
        for (size_t row = 0; row < view->row_count && status == VECDB_OK; row++)
            if (!bitmap_get(rows, row) && !tombstones_get(view->tombstones, (uint32_t)row))
                status = doomed_add(doomed, v, (uint32_t)row);
        mem_free(rows);
        if (status != VECDB_OK)
            return status;
    }
    return VECDB_OK;
}

vecdb_status collection_delete_expired(struct collection *collection)
{
    struct write_result result = {0};
    struct snapshot *staged = NULL;
    struct doomed doomed = {0};
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_alive(collection);
    if (status == VECDB_OK && schema_expires(collection_schema(collection))) {
        status = database_writable(collection->database);
        if (status == VECDB_OK)
            status = doom_expired(collection->latest, &doomed);
        if (status == VECDB_OK)
            status = delete_locked(collection, &doomed, &result, &staged);
    }
    pthread_mutex_unlock(&collection->write_lock);
    doomed_deinit(&doomed);
    return staged ? collection_commit(collection, staged, VECDB_DURABILITY_DEFAULT) : status;
}

vecdb_status collection_redo_truncate(struct collection *collection, uint64_t lsn)
{
    struct snapshot *next;

    TRY(snapshot_copy(NULL, collection->latest->schema, 0, &next));
    next->lsn = lsn;
    collection_publish(collection, next);
    return VECDB_OK;
}

vecdb_status collection_truncate(struct collection *collection)
{
    struct snapshot *next = NULL, *staged = NULL;
    struct buf frame = {0};
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = frame_put_truncate(collection, &frame);
    if (status == VECDB_OK)
        status = snapshot_copy(NULL, collection->latest->schema, 0, &next);
    if (status == VECDB_OK)
        status = collection_stage(collection, next, FRAME_TRUNCATE, &(struct iovec){frame.data, frame.size}, 1, &staged);
    pthread_mutex_unlock(&collection->write_lock);
    buf_deinit(&frame);
    return staged ? collection_commit(collection, staged, VECDB_DURABILITY_DEFAULT) : status;
}
