/* A collection from what the manifest says of it. */
#include "collection/database.h"
#include "storage/segment_file.h"

static struct container_id file_id(const struct manifest_file *file)
{
    return (struct container_id){file->id, file->size, file->checksum};
}

/* The segment's indexes; one that cannot be trusted is left out, searched without, and built anew by the next optimize(). */
static vecdb_status restore_indexes(struct collection *collection, const struct manifest_segment *from,
                                    struct segment_view *view)
{
    for (size_t i = 0; i < from->index_count; i++)
        for (size_t d = 0; d < collection->index_count; d++) {
            struct index_ref *ref;
            vecdb_status status;
            if (collection->indexes[d].id != from->indexes[i].index_id)
                continue;
            TRY(collection_open_index(collection, view, &collection->indexes[d], &from->indexes[i],
                                      collection->database->in_heap, &ref));
            if (ref && (status = view_set_index(view, ref)) != VECDB_OK) {
                index_ref_release(ref);
                return status;
            }
        }
    return VECDB_OK;
}

/* A sealed segment and which of its rows are deleted, as a view. */
static vecdb_status restore_view(struct collection *collection, const struct manifest_segment *from,
                                 struct segment_view *view)
{
    struct database *database = collection->database;
    const struct dir *dir = store_dir(database->store);
    const uint8_t *uuid = store_manifest(database->store)->uuid;
    struct container_id id = file_id(&from->file), tombstones = file_id(&from->tombstones);

    TRY(segment_open(dir, uuid, &id, collection_schema(collection), database->in_heap ? SEGMENT_IN_HEAP : 0,
                     &view->segment));
    if (view->segment->row_count != from->row_count)
        return error_set(VECDB_ERR_CORRUPT, "%s holds %zu rows, the manifest says %llu",
                         segment_file_name(view->segment), view->segment->row_count,
                         (unsigned long long)from->row_count);
    view->row_count = view->segment->row_count;
    view->keys_ascend = view->segment->keys_ascend;
    view->partition = (uint32_t)from->partition_id;
    view->saved_tombstones = from->deleted_count;
    if (!tombstones.file_id)
        return restore_indexes(collection, from, view);
    TRY(tombstones_open(dir, uuid, &tombstones, from->file.id, view->row_count, &view->tombstones));
    if (tombstones_count(view->tombstones) != from->deleted_count)
        return error_set(VECDB_ERR_CORRUPT, "%s: %zu rows are deleted, the manifest says %llu",
                         segment_file_name(view->segment), tombstones_count(view->tombstones),
                         (unsigned long long)from->deleted_count);
    return restore_indexes(collection, from, view);
}

static vecdb_status restore_views(struct collection *collection, const struct manifest_collection *from)
{
    struct snapshot *snapshot;
    vecdb_status status;

    TRY(snapshot_copy(NULL, collection_schema(collection), from->segment_count, &snapshot));
    snapshot->view_count = 0;
    for (size_t i = 0; i < from->segment_count; i++) {
        snapshot->view_count = i + 1; /* so that a half-made view is given back with the rest */
        if ((status = restore_view(collection, &from->segments[i], &snapshot->views[i])) != VECDB_OK) {
            snapshot_release(snapshot);
            return status;
        }
    }
    snapshot->lsn = from->checkpoint_lsn;
    collection_publish(collection, snapshot);
    return VECDB_OK;
}

vecdb_status collection_restore(struct database *database, const struct manifest_collection *from,
                                struct collection **out)
{
    struct collection *collection;
    struct schema *schema;
    vecdb_status status;

    *out = NULL;
    TRY(schema_decode(from->schema.data, from->schema.size, &schema));
    TRY(collection_create(database, from->id, schema, &collection));
    collection->checkpoint_lsn = from->checkpoint_lsn;
    collection->next_auto_id = (int64_t)from->next_auto_id;
    status = VECDB_OK;
    for (size_t i = 0; i < from->partition_count && status == VECDB_OK; i++)
        status = collection_add_partition(collection, (uint32_t)from->partitions[i].id, from->partitions[i].name);
    if (status == VECDB_OK && collection->partition_count == 0)
        status = error_set(VECDB_ERR_CORRUPT, "collection %s has no partition", schema->name);
    for (size_t i = 0; i < from->index_count && status == VECDB_OK; i++)
        status = collection_restore_index(collection, &from->indexes[i]);
    if (status == VECDB_OK)
        status = restore_views(collection, from);
    if (status != VECDB_OK) {
        vecdb_error failure = *error_last();
        collection_release(collection);
        return error_adopt(&failure);
    }
    *out = collection;
    return VECDB_OK;
}
