/* Sealed segments in memory, or back in their files; and facts about a collection. */
#include "base/mem.h"
#include "collection/database.h"
#include "query/deferred.h"
#include "query/filter_rows.h"
#include "storage/growing.h"
#include "storage/segment_file.h"

#include <string.h>

/* The files of a snapshot's indexes, as the manifest has them: of each view's i-th index, one after the other; id 0 where there
 * is none. Kinds are texts that last. */
static vecdb_status list_index_files(const struct collection *collection, const struct manifest *manifest,
                                     const struct snapshot *snapshot, struct manifest_index_file **out)
{
    const struct manifest_collection *described = manifest_find(manifest, collection->id);
    size_t count = 0;

    for (size_t v = 0; v < snapshot->view_count; v++)
        count += snapshot->views[v].index_count;
    if (!(*out = mem_array_zalloc(count + 1, sizeof **out)))
        return error_nomem("load");
    count = 0;
    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        const struct manifest_segment *segment = described ? manifest_find_segment(described, view->segment->id) : NULL;
        for (size_t i = 0; i < view->index_count; i++, count++)
            for (size_t j = 0; segment && !view->segment->growing && j < segment->index_count; j++) {
                const char *kind = index_ref_kind(view->indexes[i]);
                if (segment->indexes[j].index_id != view->indexes[i]->built_by || strcmp(segment->indexes[j].kind, kind) != 0)
                    continue;
                (*out)[count] = segment->indexes[j];
                (*out)[count].kind = (char *)(uintptr_t)kind;
            }
    }
    return VECDB_OK;
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
static vecdb_status change_view(struct collection *collection, struct segment_view *view,
                                const struct manifest_index_file *files, bool load)
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
        struct index_ref *ref = NULL;
        bool detached = view->indexes[i]->index && view->indexes[i]->index->detached;
        for (size_t d = 0; d < collection->index_count; d++)
            if (collection->indexes[d].id == view->indexes[i]->built_by && files[i].file.id)
                TRY(collection_open_index(collection, view, &collection->indexes[d], &files[i], in_heap && !detached, &ref));
        if (ref) {
            index_ref_release(view->indexes[i]);
            view->indexes[i] = ref;
        }
    }
    return VECDB_OK;
}

/* Make what is to be shown, over the rows of `from`; nobody waits for it. */
static vecdb_status change_views(struct collection *collection, const struct snapshot *from,
                                 const struct manifest_index_file *files, bool load, vecdb_progress progress, void *context,
                                 struct snapshot **out)
{
    vecdb_status status;

    TRY(snapshot_copy(from, from->schema, from->view_count, out));
    status = VECDB_OK;
    for (size_t v = 0; status == VECDB_OK && v < from->view_count; v++) {
        if (progress && !progress(context, load ? "load" : "release", v, from->view_count))
            status = error_set(VECDB_ERR_CANCELLED, "load: stopped by the progress callback");
        else if (!from->views[v].segment->growing)
            status = change_view(collection, &(*out)->views[v], files, load);
        files += from->views[v].index_count;
    }
    if (status != VECDB_OK)
        snapshot_release(*out);
    return status;
}

/* A view goes over to another segment of the same rows and its indexes; what is deleted stays. */
static vecdb_status exchange(struct segment_view *view, const struct segment_view *with)
{
    struct index_ref **indexes = mem_dup(with->indexes, with->index_count * sizeof *indexes);

    if (with->index_count && !indexes)
        return error_nomem("load");
    for (size_t i = 0; i < with->index_count; i++)
        index_ref_retain(indexes[i]);
    for (size_t i = 0; i < view->index_count; i++)
        index_ref_release(view->indexes[i]);
    mem_free(view->indexes);
    view->indexes = indexes;
    view->index_count = with->index_count;
    segment_retain(with->segment);
    segment_release(view->segment);
    view->segment = with->segment;
    return VECDB_OK;
}

/* Show them, wherever a view of `from` is still there: only truncating and dropping partitions can have taken it away. */
static vecdb_status put_in_place(struct collection *collection, const struct snapshot *from, const struct snapshot *loaded)
{
    struct snapshot *next;
    vecdb_status status = collection_alive(collection);

    if (status == VECDB_OK && !collection->database->read_only)
        status = collection_settle(collection);
    TRY(status);
    TRY(snapshot_copy(collection->latest, collection->latest->schema, collection->latest->view_count, &next));
    for (size_t v = 0; v < next->view_count && status == VECDB_OK; v++)
        for (size_t w = 0; w < from->view_count; w++)
            if (next->views[v].segment == from->views[w].segment && !from->views[w].segment->growing) {
                status = exchange(&next->views[v], &loaded->views[w]);
                break;
            }
    if (status == VECDB_OK)
        collection_publish(collection, next);
    else
        snapshot_release(next);
    return status;
}

/* The state to start from, and its indexes' files. */
static vecdb_status begin(struct collection *collection, struct snapshot **from, struct manifest_index_file **files)
{
    struct store *store = collection->database->store;
    struct manifest *draft;
    vecdb_status status;

    *from = NULL;
    *files = NULL;
    pthread_mutex_lock(&collection->write_lock);
    status = collection_alive(collection);
    if (status == VECDB_OK && !collection->database->read_only)
        status = collection_settle(collection);
    if (status == VECDB_OK) {
        *from = snapshot_retain(collection->latest);
        if (collection->database->read_only) { /* with database->lock, so that no other manifest is read meanwhile */
            status = list_index_files(collection, store_manifest(store), *from, files);
        } else if ((status = store_begin(store, &draft)) == VECDB_OK) {
            status = list_index_files(collection, draft, *from, files);
            store_abandon(store);
        }
    }
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}

vecdb_status collection_load(struct collection *collection, bool load, vecdb_progress given, void *given_context)
{
    struct watched_progress watched;
    vecdb_progress progress = claim_watch(&watched, collection, given, given_context);
    void *context = &watched;
    struct database *database = collection->database;
    struct snapshot *from = NULL, *loaded = NULL;
    struct manifest_index_file *files = NULL;
    vecdb_status status;

    if (!database->store)
        return collection_alive(collection); /* it is in memory, all of it */
    if (database->read_only && progress) { /* with database->lock nobody is called */
        if (!progress(context, load ? "load" : "release", 0, 0))
            return error_set(VECDB_ERR_CANCELLED, "load: stopped by the progress callback");
        progress = NULL;
    }
    TRY(collection_begin_upkeep(collection)); /* nobody else replaces segments or indexes; writers go on */
    if (database->read_only)
        pthread_mutex_lock(&database->lock);
    status = begin(collection, &from, &files);
    if (status == VECDB_OK)
        status = change_views(collection, from, files, load, progress, context, &loaded);
    if (status == VECDB_OK) {
        pthread_mutex_lock(&collection->write_lock);
        status = put_in_place(collection, from, loaded);
        pthread_mutex_unlock(&collection->write_lock);
        snapshot_release(loaded);
    }
    if (database->read_only)
        pthread_mutex_unlock(&database->lock);
    collection_end_upkeep(collection);
    snapshot_release(from);
    mem_free(files);
    return status;
}

vecdb_status collection_print_stats(struct collection *collection, struct buf *out)
{
    struct snapshot *snapshot = collection_snapshot(collection);
    uint64_t rows = 0, deleted = 0, growing_rows = 0, disk = 0, memory = 0, index_memory = 0, filter_memory = 0, indexed = 0;
    size_t growing = 0;
    const char *name = snapshot->schema->name;
    vecdb_status status;

    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        rows += view->row_count;
        deleted += tombstones_count(view->tombstones);
        for (size_t i = 0; i < view->index_count; i++) {
            index_memory += index_ref_memory(view->indexes[i]);
            if (view->indexes[i]->index && !deferred_is_broken(view->indexes[i]->index))
                indexed += atomic_load(&view->indexes[i]->covered);
        }
        filter_memory += filter_rows_memory(view->segment);
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
                            "\"segment_memory\":%llu,\"index_memory\":%llu,\"filter_memory\":%llu}",
                            (unsigned long long)(rows - deleted), (unsigned long long)deleted,
                            snapshot->view_count - growing, growing, (unsigned long long)growing_rows,
                            (unsigned long long)indexed, (unsigned long long)disk, (unsigned long long)memory,
                            (unsigned long long)index_memory, (unsigned long long)filter_memory);
    snapshot_release(snapshot);
    return status;
}
