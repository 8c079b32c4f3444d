/* Indexes of growing segments: built once there are rows enough, then kept up by adding, so that fresh rows are found as fast
 * as sealed ones. Rows that are not in yet are scanned beside the index. */
#include "base/mem.h"
#include "collection/database.h"

#include <string.h>
#include <time.h>

#define GROW_STEP 512   /* rows that are worth waking somebody */
#define GROW_CHUNK 2048 /* rows added before others get a turn, and writers that wait are told */
#define LATELY_MS 100   /* who searched so long ago is still searching */
#define WAIT_MS 1000    /* that a write waits at most, */
#define WAIT_ROW_MS 1   /* and that it waits for each of its rows */

static struct index_ref *find_ref(const struct segment_view *view, uint64_t definition)
{
    for (size_t i = 0; i < view->index_count; i++)
        if (view->indexes[i]->built_by == definition)
            return view->indexes[i];
    return NULL;
}

enum growth { GROW_NOT, GROW_BUILD, GROW_ADD };

/* What is to be done for a definition on a view; *pending receives how many rows its index lacks. Building all anew takes less
 * than adding as many rows as there are. */
static enum growth growth_due(const struct segment_view *view, const struct index_definition *definition, size_t *pending)
{
    struct index_ref *ref = find_ref(view, definition->id);
    size_t rows = view->row_count, covered = ref ? atomic_load_explicit(&ref->covered, memory_order_acquire) : 0;

    *pending = rows > covered ? rows - covered : 0;
    if (definition->scalar || !view->segment->growing || !*pending || !collection_index_pays(definition, rows))
        return GROW_NOT;
    if (!ref || ref->index->ops != definition->ops)
        return rows >= GROW_FIRST ? GROW_BUILD : GROW_NOT;
    if (*pending > covered && *pending >= GROW_FIRST)
        return GROW_BUILD;
    return definition->ops->add ? GROW_ADD : GROW_NOT;
}

/* Rows that the indexes of one field or another have yet to take in, of all segments. */
static size_t fresh_rows(struct collection *collection)
{
    const struct snapshot *snapshot;
    size_t most = 0;

    pthread_mutex_lock(&collection->snapshot_lock);
    snapshot = collection->published;
    for (size_t i = 0; i < collection->index_count; i++) {
        size_t rows = 0, pending;
        for (size_t v = 0; v < snapshot->view_count; v++)
            if (growth_due(&snapshot->views[v], &collection->indexes[i], &pending) != GROW_NOT)
                rows += pending;
        if (rows > most)
            most = rows;
    }
    pthread_mutex_unlock(&collection->snapshot_lock);
    return most;
}

static uint64_t now_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

void collection_note_search(struct collection *collection)
{
    atomic_store_explicit(&collection->searched, now_ms(), memory_order_relaxed);
}

/* Whether writers are to wait for the indexes: somebody searches, and there is hope. */
static bool is_behind(struct collection *collection, uint64_t now)
{
    return now - atomic_load_explicit(&collection->searched, memory_order_relaxed) <= LATELY_MS &&
           !atomic_load_explicit(&collection->growth_failed, memory_order_relaxed) &&
           fresh_rows(collection) > collection->database->fresh_rows;
}

void collection_keep_pace(struct collection *collection, size_t row_count)
{
    struct upkeep *upkeep = collection->database->upkeep;
    uint64_t start, patience = row_count * WAIT_ROW_MS < WAIT_MS ? row_count * WAIT_ROW_MS : WAIT_MS;
    size_t fresh = upkeep ? fresh_rows(collection) : 0;

    if (fresh < GROW_STEP)
        return;
    upkeep_poke(upkeep);
    start = now_ms();
    if (fresh <= collection->database->fresh_rows || !is_behind(collection, start))
        return;
    upkeep_hurry(upkeep);
    for (uint64_t now = start; now - start < patience && is_behind(collection, now); now = now_ms())
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Which rows have a value; the bitmap stays with the index. */
static vecdb_status mark_present(struct index_ref *ref, const struct field *field, struct vectors *vectors)
{
    size_t words = bitmap_words(ref->segment->row_count);

    if (!(field->flags & VECDB_NULLABLE))
        return VECDB_OK;
    if (!ref->present && !(ref->present = mem_array_zalloc(words + 1, sizeof *ref->present)))
        return error_nomem("index");
    bitmap_fill(ref->present, vectors->row_count);
    ref->segment->ops->and_present(ref->segment, ref->field, vectors->row_count, ref->present);
    vectors->present = ref->present;
    return VECDB_OK;
}

/* Take a view's next rows into its index. With the claim on upkeep. */
static vecdb_status add_chunk(struct collection *collection, const struct snapshot *snapshot, const struct segment_view *view,
                              struct index_ref *ref, vecdb_progress progress, void *context)
{
    struct index_build_context build = {.pool = database_pool(collection->database),
                                        .seed = view->segment->id,
                                        .progress = progress,
                                        .progress_context = context};
    size_t field, covered;
    struct vectors vectors;
    vecdb_status status;

    for (field = 0; field < snapshot->schema->field_count; field++)
        if (view_field(view, snapshot->schema, field) == ref->field)
            break;
    if (field == snapshot->schema->field_count || !view_vectors(view, snapshot->schema, field, &vectors))
        return VECDB_OK;
    covered = atomic_load_explicit(&ref->covered, memory_order_relaxed);
    if (vectors.row_count > covered + GROW_CHUNK)
        vectors.row_count = covered + GROW_CHUNK;
    status = vectors.row_count > covered ? mark_present(ref, &snapshot->schema->fields[field], &vectors) : VECDB_OK;
    if (status == VECDB_OK && vectors.row_count > covered) {
        atomic_store_explicit(&ref->reached, vectors.row_count, memory_order_release); /* before a search can find one of them */
        status = ref->index->ops->add(ref->index, &vectors, &build);
        if (status == VECDB_OK)
            atomic_store_explicit(&ref->covered, vectors.row_count, memory_order_release);
        atomic_store_explicit(&ref->bytes, ref->index->ops->memory(ref->index), memory_order_relaxed);
    }
    return status;
}

/* One step for one view and definition: a build, or a chunk. */
static vecdb_status grow_view(struct collection *collection, const struct snapshot *snapshot, size_t v,
                              const struct index_definition *definition, vecdb_progress progress, void *context, bool *more)
{
    const struct segment_view *view = &snapshot->views[v];
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    struct index_ref *ref = NULL;
    size_t pending;
    vecdb_status status;

    switch (growth_due(view, definition, &pending)) {
    case GROW_NOT:
        return VECDB_OK;
    case GROW_ADD:
        status = add_chunk(collection, snapshot, view, find_ref(view, definition->id), progress, context);
        if (status != VECDB_ERR_UNSUPPORTED) {
            *more |= pending > GROW_CHUNK;
            return status;
        }
        error_clear(); /* rows that its codes cannot hold: built for what there is now */
        /* fall through */
    default:
        options.progress = progress;
        options.context = context;
        status = collection_build_index(collection, snapshot, view, definition, &options, NULL, &ref);
        if (status == VECDB_OK && ref)
            status = collection_publish_indexes(collection, definition, false, &ref, 1);
        index_ref_release(ref);
        return status;
    }
}

vecdb_status collection_grow_indexes(struct collection *collection, vecdb_progress given, void *given_context)
{
    struct watched_progress watched;
    vecdb_progress progress = claim_watch(&watched, collection, given, given_context);
    void *context = &watched;
    vecdb_status status = VECDB_OK;
    bool more = true;

    while (more && status == VECDB_OK) {
        struct snapshot *snapshot;
        more = false;
        if ((status = collection_begin_upkeep(collection)) != VECDB_OK)
            break;
        status = collection_alive(collection);
        snapshot = collection_snapshot(collection);
        for (size_t v = 0; v < snapshot->view_count; v++)
            for (size_t i = 0; i < collection->index_count && status == VECDB_OK; i++)
                status = grow_view(collection, snapshot, v, &collection->indexes[i], progress, context, &more);
        snapshot_release(snapshot);
        collection_end_upkeep(collection);
    }
    return status;
}
