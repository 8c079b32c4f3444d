/* Sealed segments in memory, or back in their files; and facts about a collection. */
#include "base/mem.h"
#include "collection/database.h"
#include "storage/growing.h"
#include "storage/segment_file.h"

#include <string.h>

/* The file of a view's i-th index, as the manifest has it; false when it was never saved. With write_lock. */
static bool find_index_file(const struct collection *collection, const struct segment_view *view, size_t i,
                            struct manifest_index_file *out)
{
    const struct manifest_collection *described = manifest_find(store_manifest(collection->database->store), collection->id);
    const struct manifest_segment *segment = described ? manifest_find_segment(described, view->segment->id) : NULL;

    for (size_t j = 0; segment && j < segment->index_count; j++)
        if (segment->indexes[j].index_id == view->indexes[i]->built_by) {
            *out = segment->indexes[j];
            return true;
        }
    return false;
}

/* The vector fields whose values an index holds without loss: searches read those instead. */
static uint64_t *complete_fields(const struct segment_view *view)
{
    uint64_t *fields = mem_array_zalloc(bitmap_words(view->segment->schema->field_count), sizeof *fields);

    for (size_t i = 0; fields && i < view->index_count; i++) {
        const struct index *index = view->indexes[i]->index;
        if (index && index->ops->complete && index->ops->complete(index))
            bitmap_set(fields, view->indexes[i]->field);
    }
    return fields;
}

/* The view with its segment loaded (or not), and its indexes over that one. An index that cannot be opened again stays as it
 * was, over the old segment. */
static vecdb_status change_view(struct collection *collection, struct segment_view *view, bool load)
{
    uint64_t *left_out = complete_fields(view);
    bool in_heap = load || collection->database->in_heap;
    struct segment *twin;
    vecdb_status status = left_out ? VECDB_OK : error_nomem("load");

    if (status == VECDB_OK)
        status = load ? segment_load(view->segment, left_out, &twin) : segment_unload(view->segment, &twin);
    mem_free(left_out);
    TRY(status);
    segment_release(view->segment);
    view->segment = twin;
    for (size_t i = 0; i < view->index_count; i++) {
        struct manifest_index_file file;
        struct index_ref *ref = NULL;
        bool detached = view->indexes[i]->index && view->indexes[i]->index->detached;
        for (size_t d = 0; d < collection->index_count; d++)
            if (collection->indexes[d].id == view->indexes[i]->built_by && find_index_file(collection, view, i, &file))
                TRY(collection_open_index(collection, view, &collection->indexes[d], &file, in_heap && !detached, &ref));
        if (ref) {
            index_ref_release(view->indexes[i]);
            view->indexes[i] = ref;
        }
    }
    return VECDB_OK;
}

vecdb_status collection_load(struct collection *collection, bool load, vecdb_progress progress, void *context)
{
    struct snapshot *next = NULL;
    vecdb_status status;

    if (!collection->database->store)
        return collection_alive(collection); /* it is in memory, all of it */
    pthread_mutex_lock(&collection->upkeep_lock);
    pthread_mutex_lock(&collection->write_lock);
    status = collection_alive(collection);
    if (status == VECDB_OK && !collection->database->read_only)
        status = collection_settle(collection);
    if (status == VECDB_OK)
        status = snapshot_copy(collection->latest, collection->latest->schema, collection->latest->view_count, &next);
    for (size_t v = 0; status == VECDB_OK && v < next->view_count; v++) {
        if (progress && !progress(context, load ? "load" : "release", v, next->view_count))
            status = error_set(VECDB_ERR_CANCELLED, "load: stopped by the progress callback");
        else if (!next->views[v].segment->growing)
            status = change_view(collection, &next->views[v], load);
    }
    if (status == VECDB_OK)
        collection_publish(collection, next);
    else
        snapshot_release(next);
    pthread_mutex_unlock(&collection->write_lock);
    pthread_mutex_unlock(&collection->upkeep_lock);
    return status;
}

vecdb_status collection_print_stats(struct collection *collection, struct buf *out)
{
    struct snapshot *snapshot = collection_snapshot(collection);
    uint64_t rows = 0, deleted = 0, growing_rows = 0, disk = 0, memory = 0, index_memory = 0, indexed = 0;
    size_t growing = 0;
    const char *name = snapshot->schema->name;
    vecdb_status status;

    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        rows += view->row_count;
        deleted += tombstones_count(view->tombstones);
        for (size_t i = 0; i < view->index_count; i++) {
            index_memory += index_ref_memory(view->indexes[i]);
            if (view->indexes[i]->index)
                indexed += atomic_load(&view->indexes[i]->covered);
        }
        if (view->segment->growing) {
            growing++;
            growing_rows += view->row_count;
        } else {
            disk += segment_file_size(view->segment);
            memory += segment_memory(view->segment);
        }
    }
    status = buf_append_text(out, "{\"name\":");
    if (status == VECDB_OK)
        status = buf_append_json_string(out, name, strlen(name));
    if (status == VECDB_OK)
        status = buf_printf(out,
                            ",\"rows\":%llu,\"deleted\":%llu,\"segments\":%zu,\"growing_segments\":%zu,"
                            "\"growing_rows\":%llu,\"indexed_rows\":%llu,\"segment_bytes\":%llu,"
                            "\"segment_memory\":%llu,\"index_memory\":%llu}",
                            (unsigned long long)(rows - deleted), (unsigned long long)deleted,
                            snapshot->view_count - growing, growing, (unsigned long long)growing_rows,
                            (unsigned long long)indexed, (unsigned long long)disk, (unsigned long long)memory,
                            (unsigned long long)index_memory);
    snapshot_release(snapshot);
    return status;
}
