/* Index definitions, and building what they define on the segments there are. */
#include "base/mem.h"
#include "collection/database.h"
#include "collection/scalar_indexes.h"
#include "index/plugged.h"
#include "query/deferred.h"

#include <stdio.h>
#include <assert.h>
#include <string.h>
#include <strings.h>

/* Above this many rows a segment's vectors are indexed by a graph when the choice is ours; below, scanning is as fast. */
#define AUTOINDEX_FLAT_ROWS 20000

const char *index_definition_type(const struct index_definition *definition)
{
    return definition->automatic ? "AUTOINDEX" : definition->scalar ? definition->scalar : definition->ops->name;
}

vecdb_status collection_find_index(const struct collection *collection, const char *name,
                                   const struct index_definition **out)
{
    size_t on_field = 0;

    *out = NULL;
    for (size_t i = 0; i < collection->index_count; i++)
        if (strcmp(collection->indexes[i].name, name) == 0) {
            *out = &collection->indexes[i];
            return VECDB_OK;
        }
    for (size_t i = 0; i < collection->index_count; i++)
        if (strcmp(collection->indexes[i].field, name) == 0) {
            *out = &collection->indexes[i];
            on_field++;
        }
    if (on_field > 1)
        return error_set(VECDB_ERR_NO_SUCH, "collection %s: field %s has %zu indexes, and none of that name; name one",
                         collection_schema(collection)->name, name, on_field);
    if (!on_field)
        return error_set(VECDB_ERR_NO_SUCH, "collection %s: no index %s", collection_schema(collection)->name, name);
    return VECDB_OK;
}

vecdb_metric collection_field_metric(struct collection *collection, const char *field)
{
    vecdb_metric metric = VECDB_METRIC_DEFAULT;

    pthread_mutex_lock(&collection->snapshot_lock);
    for (size_t i = 0; i < collection->index_count; i++)
        if (strcmp(collection->indexes[i].field, field) == 0)
            metric = collection->indexes[i].metric;
    pthread_mutex_unlock(&collection->snapshot_lock);
    return metric;
}

void index_definition_deinit(struct index_definition *definition)
{
    mem_free(definition->name);
    mem_free(definition->field);
    mem_free(definition->params_text);
}

static vecdb_status unknown_kind(const char *type, const struct field *field)
{
    char kinds[400] = "";

    if (scalar_index_find(type))
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: an index of type %s does not go with %s", field->name, type,
                         type_name(field->type));
    for (size_t i = 0; index_at(i); i++) {
        size_t n = strlen(kinds);
        snprintf(kinds + n, sizeof kinds - n, "%s%s", i ? ", " : "", index_at(i)->name);
    }
    return error_set(VECDB_ERR_NO_SUCH, "index type %s is unknown; there are AUTOINDEX, %s", type, kinds);
}

/* The kind behind a type's name, AUTOINDEX among them. */
static vecdb_status find_kind(const char *type, const struct field *field, struct index_definition *out)
{
    out->automatic = strcasecmp(type, "AUTOINDEX") == 0;
    out->ops = index_find(!out->automatic                             ? type
                          : field->type == VECDB_TYPE_BINARY_VECTOR ? "BIN_FLAT"
                          : type_is_sparse(field->type)             ? "SPARSE_INVERTED_INDEX"
                                                                      : "HNSW");
    if (!out->ops)
        return unknown_kind(type, field);
    if (!(out->ops->types & 1u << (field->type - VECDB_TYPE_BINARY_VECTOR)))
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: %s does not take %s", field->name, out->ops->name,
                         type_name(field->type));
    return VECDB_OK;
}

/* Everything of a definition but its id and name. */
static vecdb_status define_vector(const struct field *field, const vecdb_index_options *options,
                                  struct index_definition *out)
{
    char owner[64];

    TRY(find_kind(options->type && *options->type ? options->type : "AUTOINDEX", field, out));
    out->metric = options->metric == VECDB_METRIC_DEFAULT ? metric_default(field->type) : options->metric;
    TRY(metric_check(out->metric, field->type, field->name));
    TRY(plugged_check_metric(out->ops, out->metric));
    snprintf(owner, sizeof owner, "index %s", out->ops->name);
    TRY(params_parse(owner, out->ops->build_params, out->ops->search_params, options->params, &out->params));
    out->field = mem_strdup(field->name);
    out->params_text = mem_strdup(options->params ? options->params : "");
    return out->field && out->params_text ? VECDB_OK : error_nomem("index");
}

/* One index a field; JSON may have one for every path. */
static vecdb_status check_vacant(const struct collection *collection, const struct field *field, const char *name,
                                 const struct index_definition *wanted)
{
    for (size_t i = 0; i < collection->index_count; i++) {
        const struct index_definition *there = &collection->indexes[i];
        if (strcmp(there->field, field->name) == 0 &&
            (field->type != VECDB_TYPE_JSON || strcmp(there->params_text, wanted->params_text) == 0))
            return error_set(VECDB_ERR_EXISTS, "field %s has an index already: %s", field->name, there->name);
        if (strcmp(there->name, name) == 0)
            return error_set(VECDB_ERR_EXISTS, "index %s exists%s", name,
                             field->type == VECDB_TYPE_JSON ? ": give this one another name" : "");
    }
    return VECDB_OK;
}

/* A definition, checked against the schema and the kind's parameter table; it has no id yet. */
static vecdb_status define(struct collection *collection, const vecdb_index_options *options,
                           struct index_definition *out)
{
    const struct schema *schema = collection_schema(collection);
    const char *name = options->name ? options->name : options->field;
    const struct field *field;
    size_t f;

    if (!options->field)
        return error_set(VECDB_ERR_INVALID, "index: field is NULL");
    f = schema_find(schema, options->field, strlen(options->field));
    if (f == SCHEMA_NONE && scalar_index_of_dynamic(schema, options))
        f = schema->dynamic;
    if (f == SCHEMA_NONE || f == schema->inserted)
        return schema_no_field(schema, options->field);
    field = &schema->fields[f];
    if (type_is_vector(field->type))
        TRY(define_vector(field, options, out));
    else
        TRY(scalar_index_define(schema, f, options, out));
    if (options->name)
        TRY(schema_check_name("index", options->name));
    TRY(check_vacant(collection, field, name, out));
    out->name = mem_strdup(name);
    return out->name ? VECDB_OK : error_nomem("index");
}

/* Add a copy, with texts of its own. */
static vecdb_status add_definition(struct collection *collection, const struct index_definition *definition)
{
    struct index_definition copy = *definition, *definitions;

    copy.name = mem_strdup(definition->name);
    copy.field = mem_strdup(definition->field);
    copy.params_text = mem_strdup(definition->params_text);
    pthread_mutex_lock(&collection->snapshot_lock);
    definitions = mem_realloc(collection->indexes, (collection->index_count + 1) * sizeof *definitions);
    if (definitions)
        collection->indexes = definitions;
    if (definitions && copy.name && copy.field && copy.params_text) {
        definitions[collection->index_count++] = copy;
        pthread_mutex_unlock(&collection->snapshot_lock);
        return VECDB_OK;
    }
    pthread_mutex_unlock(&collection->snapshot_lock);
    index_definition_deinit(&copy);
    return error_nomem("index");
}

vecdb_status collection_restore_index(struct collection *collection, const struct manifest_index *from)
{
    const struct schema *schema = collection_schema(collection);
    struct index_definition definition = {.id = from->id};
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    vecdb_status status;

    if (from->field >= schema->field_count)
        return error_set(VECDB_ERR_CORRUPT, "index %s: field %u of %zu", from->name, from->field, schema->field_count);
    options.field = schema->fields[from->field].name;
    options.name = from->name;
    options.type = from->type;
    options.metric = (vecdb_metric)from->metric;
    options.params = from->params;
    status = define(collection, &options, &definition);
    if (status == VECDB_OK)
        status = add_definition(collection, &definition);
    index_definition_deinit(&definition);
    return status;
}

static bool is_zero(const float *values, uint32_t dim)
{
    for (uint32_t i = 0; i < dim; i++)
        if (values[i] != 0)
            return false;
    return true;
}

/* COSINE cannot compare zero vectors: refuse an index over rows that have one. */
static vecdb_status check_no_zero(const struct snapshot *snapshot, size_t field)
{
    const struct field *described = &snapshot->schema->fields[field];

    if (described->type != VECDB_TYPE_FLOAT_VECTOR)
        return VECDB_OK;
    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        struct vectors vectors;
        uint64_t *present = NULL;
        vecdb_status status = VECDB_OK;
        if (!view_vectors(view, snapshot->schema, field, &vectors))
            continue;
        if (described->flags & VECDB_NULLABLE) {
            if (!(present = mem_array_alloc(bitmap_words(vectors.row_count) + 1, 8)))
                return error_nomem("index");
            bitmap_fill(present, vectors.row_count);
            view->segment->ops->and_present(view->segment, view_field(view, snapshot->schema, field),
                                            vectors.row_count, present);
        }
        for (size_t row = 0; row < vectors.row_count && status == VECDB_OK; row++)
            if (!tombstones_get(view->tombstones, row) && (!present || bitmap_get(present, row)) &&
                is_zero((const float *)(const void *)vectors_row(&vectors, row), vectors.dim))
                status = error_set(VECDB_ERR_INVALID, "field %s holds a zero vector, which COSINE cannot compare",
                                   described->name);
        mem_free(present);
        if (status != VECDB_OK)
            return status;
    }
    return VECDB_OK;
}

/* Whether AUTOINDEX leaves so few rows to scanning; of sparse vectors that is slow, since they are packed. */
static bool left_to_scans(const struct index_definition *definition, size_t rows)
{
    return definition->automatic && rows < AUTOINDEX_FLAT_ROWS && definition->ops != index_find("SPARSE_INVERTED_INDEX");
}

bool collection_index_pays(const struct index_definition *definition, size_t rows)
{
    return !left_to_scans(definition, rows) && strcmp(definition->ops->name, "FLAT") != 0 &&
           strcmp(definition->ops->name, "BIN_FLAT") != 0;
}

vecdb_status collection_build_index(struct collection *collection, const struct snapshot *snapshot,
                                    const struct segment_view *view, const struct index_definition *definition,
                                    const vecdb_index_options *options, const struct index_parts *parts,
                                    struct index_ref **out)
{
    size_t field = schema_find(snapshot->schema, definition->field, strlen(definition->field));
    const struct index_ops *ops = definition->ops;
    struct index_build_context context = {.pool = database_pool(collection->database),
                                          .seed = view->segment->id,
                                          .progress = options ? options->progress : NULL,
                                          .progress_context = options ? options->context : NULL};
    struct params params = definition->params;
    struct vectors vectors;
    uint64_t *present = NULL;
    struct index *index;
    vecdb_status status;

    *out = NULL;
    if (definition->scalar)
        return scalar_index_build_view(collection, snapshot, view, definition, options, out);
    if (!view_vectors(view, snapshot->schema, field, &vectors) || vectors.row_count == 0)
        return VECDB_OK;
    if (left_to_scans(definition, vectors.row_count)) {
        ops = index_find("FLAT");
        if (!(ops->types & definition->ops->types))
            return VECDB_OK;
        params_default(ops->build_params, &params);
    }
    if (snapshot->schema->fields[field].flags & VECDB_NULLABLE) {
        if (!(present = mem_array_alloc(bitmap_words(vectors.row_count), 8)))
            return error_nomem("index");
        bitmap_fill(present, vectors.row_count);
        view->segment->ops->and_present(view->segment, view_field(view, snapshot->schema, field), vectors.row_count,
                                        present);
        vectors.present = present;
    }
    if (parts && parts->count && ops->merge && ops == definition->ops)
        status = ops->merge(&vectors, definition->metric, &params, parts->indexes, parts->row_maps, parts->count, &context,
                            &index);
    else
        status = ops->build(&vectors, definition->metric, &params, &context, &index);
    mem_free(present);
    if (status != VECDB_OK)
        return status;
    index->vectors.present = NULL; /* which rows are there is the snapshot's to say from now on */
    return index_ref_create(index, view->segment, view_field(view, snapshot->schema, field), definition->id, out);
}

void collection_undefine_index(struct collection *collection, uint64_t id)
{
    pthread_mutex_lock(&collection->snapshot_lock);
    for (size_t i = 0; i < collection->index_count; i++)
        if (collection->indexes[i].id == id) {
            index_definition_deinit(&collection->indexes[i]);
            collection->index_count--;
            memmove(&collection->indexes[i], &collection->indexes[i + 1],
                    (collection->index_count - i) * sizeof *collection->indexes);
            break;
        }
    pthread_mutex_unlock(&collection->snapshot_lock);
}

vecdb_status collection_define_index(struct collection *collection, struct manifest_collection *described,
                                     const struct index_definition *definition)
{
    const struct schema *schema = collection_schema(collection);
    uint64_t id = definition->id;

    if (definition->metric == VECDB_METRIC_COSINE) /* rows may have come since the building began */
        TRY(check_no_zero(collection->latest, schema_find(schema, definition->field, strlen(definition->field))));
    if (described)
        TRY(manifest_add_index(described, definition->name,
                               (uint32_t)schema_find(schema, definition->field, strlen(definition->field)),
                               index_definition_type(definition), definition->metric, definition->params_text, &id));
    assert(id == definition->id); /* upkeep is claimed: nobody took it */
    return add_definition(collection, definition);
}

/* The id that the next definition gets. With write_lock and the claim on upkeep. */
static vecdb_status next_index_id(struct collection *collection, uint64_t *id)
{
    struct manifest_collection *described;
    struct manifest *draft;

    TRY(collection_begin_change(collection, &draft, &described));
    *id = draft ? described->next_index_id : database_new_id(collection->database);
    if (draft)
        store_abandon(collection->database->store);
    return VECDB_OK;
}

/* Take a definition out of the manifest and from among the collection's. With write_lock. */
static vecdb_status forget_definition(struct collection *collection, uint64_t id)
{
    struct manifest_collection *described;
    struct manifest *draft;

    TRY(collection_begin_change(collection, &draft, &described));
    if (draft) {
        manifest_remove_index(described, id);
        TRY(store_publish(collection->database->store));
    }
    collection_undefine_index(collection, id);
    return VECDB_OK;
}

/* Indexes of a definition on the segments that are being sealed, while that goes on. */
static vecdb_status build_sealed(struct collection *collection, const struct snapshot *sealed,
                                 const struct index_definition *definition, const vecdb_index_options *options,
                                 struct index_ref **refs)
{
    vecdb_status status = VECDB_OK;

    for (size_t v = 0; v < sealed->view_count && status == VECDB_OK; v++)
        status = collection_build_index(collection, sealed, &sealed->views[v], definition, options, NULL, &refs[v]);
    return status;
}

/* The index of a view: one of those built already, or else built now. Vectors that came while segments were sealed wait for
 * upkeep. */
static vecdb_status build_view(struct collection *collection, const struct snapshot *snapshot, const struct segment_view *view,
                               const struct index_definition *definition, const vecdb_index_options *options,
                               struct index_ref **built, size_t built_count, struct index_ref **out)
{
    for (size_t i = 0; i < built_count; i++)
        if (built[i] && built[i]->segment == view->segment) {
            *out = index_ref_retain(built[i]);
            return VECDB_OK;
        }
    if (built_count && view->segment->growing && !definition->scalar)
        return VECDB_OK;
    return collection_build_index(collection, snapshot, view, definition, options, NULL, out);
}

static void release_refs(struct index_ref **refs, size_t count)
{
    for (size_t i = 0; refs && i < count; i++)
        index_ref_release(refs[i]);
    mem_free(refs);
}

/* What create_index() begins with: the definition, its id, and whether rows allow it. */
static vecdb_status begin_definition(struct collection *collection, const vecdb_index_options *options,
                                     struct index_definition *definition)
{
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = define(collection, options, definition);
    if (status == VECDB_OK)
        status = collection_settle(collection);
    if (status == VECDB_OK && definition->metric == VECDB_METRIC_COSINE)
        status = check_no_zero(collection->latest,
                               schema_find(collection->latest->schema, definition->field, strlen(definition->field)));
    if (status == VECDB_OK)
        status = next_index_id(collection, &definition->id);
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}

/* `sealing`, which may be NULL, is ended. */
static vecdb_status create_index(struct collection *collection, const vecdb_index_options *options, struct sealing *sealing)
{
    struct index_definition definition = {0};
    struct snapshot *snapshot = NULL;
    struct index_ref **refs = NULL, **built = NULL;
    size_t built_count = sealing ? sealing_sealed(sealing)->view_count : 0, count = 0;
    vecdb_status status = begin_definition(collection, options, &definition), sealed;
    vecdb_error failure;

    /* Built without the lock: writers go on. Definition and files then come to be with one manifest, or not at all. */
    if (status == VECDB_OK && sealing) {
        built = mem_array_zalloc(built_count + 1, sizeof *built);
        status = built ? build_sealed(collection, sealing_sealed(sealing), &definition, options, built) : error_nomem("index");
    }
    failure = *error_last();
    sealed = sealing ? sealing_end(sealing) : VECDB_OK;
    if (status == VECDB_OK) {
        status = sealed;
    } else if (status == VECDB_ERR_NOMEM && built && sealed == VECDB_OK) {
        release_refs(built, built_count); /* once more, without the growing rows, which went when they were published */
        built = NULL;
        built_count = 0;
        status = VECDB_OK;
    } else {
        error_adopt(&failure);
    }
    if (status == VECDB_OK) {
        snapshot = collection_snapshot(collection);
        refs = mem_array_zalloc(snapshot->view_count + 1, sizeof *refs);
        status = refs ? VECDB_OK : error_nomem("index");
    }
    for (; status == VECDB_OK && count < snapshot->view_count; count++)
        status = build_view(collection, snapshot, &snapshot->views[count], &definition, options, built, built_count, &refs[count]);
    if (status == VECDB_OK)
        status = collection_publish_indexes(collection, &definition, true, refs, snapshot->view_count);
    release_refs(refs, count);
    release_refs(built, built_count);
    snapshot_release(snapshot);
    index_definition_deinit(&definition);
    return status;
}

/* Whether create_index() would refuse: nothing is sealed for what cannot be. */
static vecdb_status check_options(struct collection *collection, const vecdb_index_options *options, bool *vectors)
{
    struct index_definition definition = {0};
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = define(collection, options, &definition);
    pthread_mutex_unlock(&collection->write_lock);
    *vectors = definition.ops != NULL;
    index_definition_deinit(&definition);
    return status;
}

vecdb_status collection_create_index(struct collection *collection, const vecdb_index_options *given)
{
    vecdb_index_options watched = *given, *options = &watched;
    struct watched_progress progress;
    struct sealing *sealing = NULL;
    vecdb_status status;
    bool vectors;

    watched.progress = claim_watch(&progress, collection, given->progress, given->context);
    watched.context = &progress;
    TRY(collection_begin_upkeep(collection));
    status = check_options(collection, options, &vectors);
    if (status == VECDB_OK)
        status = collection_seal_for_index(collection, vectors, options->progress, options->context, &sealing);
    if (status == VECDB_OK)
        status = create_index(collection, options, sealing);
    collection_end_upkeep(collection);
    return status;
}

static vecdb_status drop_index(struct collection *collection, const char *name)
{
    const struct index_definition *definition;
    struct snapshot *next = NULL;
    uint64_t id;
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_writable(collection);
    if (status == VECDB_OK)
        status = collection_find_index(collection, name, &definition);
    if (status == VECDB_OK)
        status = collection_settle(collection);
    if (status == VECDB_OK)
        status = snapshot_copy(collection->latest, collection->latest->schema, collection->latest->view_count, &next);
    if (status == VECDB_OK) {
        id = definition->id;
        for (size_t v = 0; v < next->view_count; v++)
            view_drop_index(&next->views[v], id);
        status = forget_definition(collection, id);
    }
    if (status == VECDB_OK)
        collection_publish(collection, next);
    else
        snapshot_release(next);
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}

vecdb_status collection_drop_index(struct collection *collection, const char *name)
{
    vecdb_status status;

    TRY(collection_begin_upkeep(collection));
    status = drop_index(collection, name);
    collection_end_upkeep(collection);
    return status;
}

/** What of the views an index holds, added up. */
struct index_state {
    size_t rows, bytes, total;
    size_t pending; /* rows that upkeep is yet to take in: growing rows are scanned while they are few, and have no scalar indexes */
    const char *kind;
};

static void add_view(struct index_state *state, const struct segment_view *view, const struct index_definition *definition)
{
    size_t covered = 0, rest;
    bool wait = !view->segment->growing;

    for (size_t i = 0; i < view->index_count; i++) {
        struct index_ref *ref = view->indexes[i];
        if (ref->built_by != definition->id || deferred_is_broken(ref->index))
            continue;
        covered = index_ref_rows(ref);
        state->bytes += index_ref_memory(ref);
        state->kind = index_ref_kind(ref);
    }
    state->rows += covered;
    state->total += view->row_count;
    rest = covered < view->row_count ? view->row_count - covered : 0;
    if (!wait && !definition->scalar && collection_index_pays(definition, view->row_count))
        wait = covered || rest >= GROW_FIRST;
    if (wait)
        state->pending += rest;
}

vecdb_status collection_describe_index(struct collection *collection, const char *name, struct buf *out)
{
    const struct index_definition *definition;
    struct index_state state = {.kind = ""};
    vecdb_status status;

    pthread_mutex_lock(&collection->write_lock);
    status = collection_find_index(collection, name, &definition);
    if (status != VECDB_OK)
        goto done;
    for (size_t v = 0; v < collection->latest->view_count; v++)
        add_view(&state, &collection->latest->views[v], definition);
    status = buf_append_text(out, "{\"name\":");
    if (status == VECDB_OK)
        status = buf_append_json_string(out, definition->name, strlen(definition->name));
    if (status == VECDB_OK)
        status = buf_append_text(out, ",\"field\":");
    if (status == VECDB_OK)
        status = buf_append_json_string(out, definition->field, strlen(definition->field));
    if (status == VECDB_OK)
        status = buf_printf(out, ",\"type\":\"%s\",\"kind\":\"%s\",\"metric\":\"%s\",\"params\":",
                            index_definition_type(definition), state.kind,
                            definition->scalar ? "" : metric_name(definition->metric));
    if (status == VECDB_OK)
        status = !definition->scalar ? params_print(&definition->params, out)
                                     : buf_append_text(out, *definition->params_text ? definition->params_text : "{}");
    if (status == VECDB_OK)
        status = buf_printf(out, ",\"total_rows\":%zu,\"indexed_rows\":%zu,\"pending_rows\":%zu,\"bytes\":%zu,\"state\":\"%s\"}",
                            state.total, state.rows, state.pending, state.bytes, state.pending ? "partial" : "finished");
done:
    pthread_mutex_unlock(&collection->write_lock);
    return status;
}
