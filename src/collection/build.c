/* Indexes of sealed segments as files: saved once built, opened with their segments, built anew when there is any doubt. */
#include "base/mem.h"
#include "collection/database.h"
#include "collection/scalar_indexes.h"
#include "query/deferred.h"
#include "storage/segment_file.h"

#include <stdio.h>
#include <string.h>

static struct index_binding binding_of(const struct segment *segment, size_t field, const char *kind, uint32_t format,
                                       const struct index_definition *definition)
{
    struct index_binding binding = {.segment_id = segment->id,
                                    .row_count = segment->row_count,
                                    .data_checksum = segment_field_checksum(segment, field),
                                    .definition = definition->id,
                                    .field = (uint32_t)field,
                                    .type = segment->schema->fields[field].type,
                                    .dim = segment->schema->fields[field].dim,
                                    .metric = definition->metric,
                                    .format = format,
                                    .params = definition->params_text};

    snprintf(binding.kind, sizeof binding.kind, "%s", kind);
    return binding;
}

vecdb_status collection_save_index(struct collection *collection, const struct index_ref *ref,
                                   const struct index_definition *definition, struct manifest_index_file *out)
{
    struct store *store = collection->database->store;
    const char *kind = index_ref_kind(ref);
    struct index_binding binding = binding_of(ref->segment, ref->field, kind,
                                              ref->index ? ref->index->ops->format : SCALAR_INDEX_FORMAT, definition);
    struct container_id file;
    struct buf bytes = {0};
    vecdb_status status;

    *out = (struct manifest_index_file){.index_id = definition->id};
    if (!(out->kind = mem_strdup(kind)))
        return error_nomem("index");
    status = ref->index ? ref->index->ops->save(ref->index, &bytes) : scalar_index_save(ref->scalar, &bytes);
    if (status == VECDB_OK) {
        uint64_t id = store_new_id(store);
        status = index_file_write(store_dir(store), store_manifest(store)->uuid, id, &binding, bytes.data, bytes.size,
                                  &file);
    }
    buf_deinit(&bytes);
    if (status != VECDB_OK) {
        mem_free(out->kind);
        *out = (struct manifest_index_file){0};
        return status;
    }
    out->file = (struct manifest_file){file.file_id, file.size, file.checksum};
    return VECDB_OK;
}

/* Any failure but want of memory means: not to be trusted. */
static vecdb_status open_scalar_file(struct collection *collection, const struct segment_view *view, size_t field,
                                     const struct index_definition *definition, const struct manifest_index_file *from,
                                     bool in_heap, struct index_file **file, struct scalar_index **index)
{
    struct store *store = collection->database->store;
    struct index_binding binding = binding_of(view->segment, field, from->kind, SCALAR_INDEX_FORMAT, definition);
    struct container_id id = {from->file.id, from->file.size, from->file.checksum};
    const void *data;
    size_t size;

    TRY(index_file_open(store_dir(store), store_manifest(store)->uuid, &id, &binding, in_heap, file));
    data = index_file_data(*file, &size);
    return scalar_index_open_saved(data, size, from->kind, view->segment->row_count, index);
}

/* What opening an index of a file takes; any failure but want of memory means that it is not to be trusted. */
static vecdb_status prepare_open(struct collection *collection, const struct segment_view *view, size_t field,
                                 const struct index_ops *ops, const struct index_definition *definition,
                                 const struct manifest_index_file *from, bool in_heap, struct deferred_open *how)
{
    struct store *store = collection->database->store;
    struct index_binding binding = binding_of(view->segment, field, ops->name, ops->format, definition);
    struct container_id id = {from->file.id, from->file.size, from->file.checksum};

    *how = (struct deferred_open){.ops = ops, .segment = view->segment, .field = field, .metric = definition->metric,
                                  .params = definition->params};
    if (ops != definition->ops) /* AUTOINDEX chose another kind for a small segment */
        params_default(ops->build_params, &how->params);
    return index_file_map(store_dir(store), store_manifest(store)->uuid, &id, &binding, in_heap, &how->file);
}

vecdb_status collection_open_index(struct collection *collection, const struct segment_view *view,
                                   const struct index_definition *definition, const struct manifest_index_file *from,
                                   bool in_heap, struct index_ref **out)
{
    const struct index_ops *ops = index_find(from->kind);
    size_t field = schema_find(view->segment->schema, definition->field, strlen(definition->field));
    struct index_file *file = NULL;
    struct index *index = NULL;
    struct scalar_index *scalar = NULL;
    struct deferred_open how;
    vecdb_status status;

    *out = NULL;
    if ((!ops && !definition->scalar) || field == SCHEMA_NONE)
        return VECDB_OK;
    if (definition->scalar) {
        status = open_scalar_file(collection, view, field, definition, from, in_heap, &file, &scalar);
        if (status == VECDB_OK)
            status = index_ref_create_scalar(scalar, view->segment, field, definition->id, out);
    } else {
        status = prepare_open(collection, view, field, ops, definition, from, in_heap, &how);
        if (status == VECDB_OK && in_heap)
            status = deferred_open_now(&how, &index, &file);
        else if (status == VECDB_OK)
            status = deferred_create(&how, &index);
        if (status == VECDB_OK)
            status = index_ref_create(index, view->segment, field, definition->id, out);
    }
    if (status == VECDB_OK)
        (*out)->file = file;
    else
        index_file_close(file);
    if (status == VECDB_OK || status == VECDB_ERR_NOMEM)
        return status;
    error_clear();
    return VECDB_OK;
}

/* Put refs into the latest state and their files into the manifest, and before them their definition when it is new
 * (`define`). With write_lock. */
static vecdb_status put_in_place(struct collection *collection, const struct index_definition *define,
                                 struct index_ref **refs, size_t count, const struct manifest_index_file *files)
{
    bool defined = false, files_named = false;
    struct store *store = collection->database->store;
    struct manifest_collection *described = NULL;
    struct manifest *draft = NULL;
    struct snapshot *next;
    vecdb_status status;

    TRY(collection_settle(collection));
    TRY(snapshot_copy(collection->latest, collection->latest->schema, collection->latest->view_count, &next));
    status = VECDB_OK;
    for (size_t i = 0; i < count && status == VECDB_OK; i++)
        for (size_t v = 0; refs[i] && v < next->view_count; v++)
            if (next->views[v].segment == refs[i]->segment) {
                status = view_set_index(&next->views[v], index_ref_retain(refs[i]));
                if (status != VECDB_OK)
                    index_ref_release(refs[i]);
                break;
            }
    for (size_t i = 0; i < count; i++)
        files_named |= files[i].file.id != 0;
    if (status == VECDB_OK && store && (define || files_named)) /* of growing segments the manifest knows nothing */
        status = collection_begin_change(collection, &draft, &described);
    if (status == VECDB_OK && define) {
        status = collection_define_index(collection, described, define);
        defined = status == VECDB_OK;
        if (!defined && draft)
            store_abandon(store);
    }
    if (status == VECDB_OK && draft) {
        for (size_t i = 0; i < count && status == VECDB_OK; i++) {
            struct manifest_segment *segment =
                files[i].file.id ? manifest_find_segment(described, refs[i]->segment->id) : NULL;
            if (segment)
                status = manifest_set_index_file(segment, files[i].index_id, files[i].kind, files[i].file);
        }
        if (status == VECDB_OK)
            status = store_publish(store);
        else
            store_abandon(store);
    }
    if (status == VECDB_OK) {
        collection_publish(collection, next);
        return VECDB_OK;
    }
    snapshot_release(next);
    if (defined)
        collection_undefine_index(collection, define->id);
    return status;
}

/* Whether the manifest now names a file. */
static bool is_named(const struct collection *collection, const struct index_ref *ref, uint64_t file)
{
    const struct manifest_collection *described =
        manifest_find(store_manifest(collection->database->store), collection->id);
    const struct manifest_segment *segment = described ? manifest_find_segment(described, ref->segment->id) : NULL;

    for (size_t i = 0; segment && i < segment->index_count; i++)
        if (segment->indexes[i].file.id == file)
            return true;
    return false;
}

vecdb_status collection_publish_indexes(struct collection *collection, const struct index_definition *definition,
                                        bool define, struct index_ref **refs, size_t count)
{
    struct store *store = collection->database->store;
    struct manifest_index_file *files = mem_array_zalloc(count + 1, sizeof *files);
    vecdb_status status = files ? VECDB_OK : error_nomem("index");
    vecdb_error failure;

    for (size_t i = 0; i < count && status == VECDB_OK && store; i++)
        if (refs[i] && segment_is_file(refs[i]->segment))
            status = collection_save_index(collection, refs[i], definition, &files[i]);
    pthread_mutex_lock(&collection->write_lock);
    if (status == VECDB_OK && (status = collection_alive(collection)) == VECDB_OK)
        status = put_in_place(collection, define ? definition : NULL, refs, count, files);
    failure = *error_last();
    for (size_t i = 0; files && i < count; i++) {
        if (files[i].file.id && status != VECDB_ERR_POISONED && !is_named(collection, refs[i], files[i].file.id))
            store_discard_file(store, FILE_INDEX, files[i].file.id);
        mem_free(files[i].kind);
    }
    pthread_mutex_unlock(&collection->write_lock);
    mem_free(files);
    if (status != VECDB_OK)
        error_adopt(&failure);
    return status;
}

/* Whether a view's rows are to be indexed now. Growing ones are not; in memory, where no row is ever sealed, a scalar index
 * that rows have come after is made anew. */
static bool lacks_index(const struct collection *collection, const struct segment_view *view,
                        const struct index_definition *definition)
{
    bool growing = view->segment->growing;

    if (growing && (collection->database->store || !definition->scalar))
        return false;
    for (size_t i = 0; i < view->index_count; i++)
        if (view->indexes[i]->built_by == definition->id) {
            struct index *index;
            if (!view->indexes[i]->index)
                return growing && index_ref_rows(view->indexes[i]) < view->row_count;
            if (deferred_resolve(view->indexes[i]->index, &index) != VECDB_OK) /* no memory to look at it */
                error_clear();
            return deferred_is_broken(view->indexes[i]->index);
        }
    return true;
}

/* Build one definition's index wherever a sealed segment lacks it. */
static vecdb_status build_definition(struct collection *collection, const struct index_definition *definition,
                                     const vecdb_index_options *options)
{
    struct snapshot *snapshot = collection_snapshot(collection);
    struct index_ref **refs = mem_array_zalloc(snapshot->view_count + 1, sizeof *refs);
    vecdb_status status = refs ? VECDB_OK : error_nomem("index");
    size_t built = 0;

    for (size_t v = 0; v < snapshot->view_count && status == VECDB_OK; v++) {
        if (!lacks_index(collection, &snapshot->views[v], definition))
            continue;
        status = collection_build_index(collection, snapshot, &snapshot->views[v], definition, options, NULL, &refs[v]);
        built += refs[v] != NULL;
    }
    if (status == VECDB_OK && built)
        status = collection_publish_indexes(collection, definition, false, refs, snapshot->view_count);
    for (size_t v = 0; refs && v < snapshot->view_count; v++)
        index_ref_release(refs[v]);
    mem_free(refs);
    snapshot_release(snapshot);
    return status;
}

vecdb_status collection_build_missing(struct collection *collection, vecdb_progress progress, void *context)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    vecdb_status status = VECDB_OK;

    options.progress = progress;
    options.context = context;
    /* definitions only change with the claim on upkeep, which we have */
    for (size_t i = 0; i < collection->index_count && status == VECDB_OK; i++)
        status = build_definition(collection, &collection->indexes[i], &options);
    return status;
}
