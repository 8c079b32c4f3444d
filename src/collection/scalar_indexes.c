#include "collection/scalar_indexes.h"

#include "base/mem.h"
#include "collection/database.h"
#include "query/view_source.h"

#include <string.h>

bool scalar_index_of_dynamic(const struct schema *schema, const vecdb_index_options *options)
{
    const char *kind = options->type ? scalar_index_find(options->type) : "AUTOINDEX";

    if (schema->dynamic == SCHEMA_NONE || !kind)
        return false;
    /* without a word about JSON, AUTOINDEX on a misspelt vector field would become an index of nothing */
    return strcmp(kind, "AUTOINDEX") != 0 || (options->params && strstr(options->params, "json_path"));
}

vecdb_status scalar_index_define(const struct schema *schema, size_t field, const vecdb_index_options *options,
                                 struct index_definition *out)
{
    const struct field *described = &schema->fields[field];
    const char *type = options->type && *options->type ? options->type : "AUTOINDEX";
    bool dynamic = strcmp(described->name, options->field) != 0;
    struct buf params = {0};
    vecdb_status status;

    if (!(out->scalar = scalar_index_find(type)))
        return error_set(VECDB_ERR_UNSUPPORTED,
                         "field %s: an index of type %s does not go with %s; there are INVERTED, BITMAP, STL_SORT, TRIE, "
                         "NGRAM, AUTOINDEX",
                         described->name, type, type_name(described->type));
    if (options->metric != VECDB_METRIC_DEFAULT)
        return error_set(VECDB_ERR_INVALID, "field %s: metric %s is for vectors, this is %s", described->name,
                         metric_name(options->metric), type_name(described->type));
    out->automatic = strcmp(out->scalar, "AUTOINDEX") == 0;
    status = scalar_index_params(out->scalar, options->params, dynamic ? options->field : NULL, &params);
    if (status == VECDB_OK)
        status = scalar_index_check_params(schema, field, out->scalar, (const char *)params.data);
    if (status == VECDB_OK) {
        out->field = mem_strdup(described->name);
        out->params_text = mem_strdup((const char *)params.data);
        status = out->field && out->params_text ? VECDB_OK : error_nomem("index");
    }
    buf_deinit(&params);
    return status;
}

/* A view's rows, and who is told how many of them have been read. */
struct watched_source {
    struct filter_source source;
    const vecdb_index_options *options;
};

static vecdb_status watched_column(void *context, size_t field, size_t block, struct column_scratch *scratch,
                                   struct column *out)
{
    struct watched_source *watched = context;
    const vecdb_index_options *options = watched->options;

    if (options && options->progress &&
        !options->progress(options->context, "index", block * watched->source.block_rows, watched->source.row_count))
        return error_set(VECDB_ERR_CANCELLED, "index: stopped by the progress callback");
    return watched->source.column(watched->source.context, field, block, scratch, out);
}

vecdb_status scalar_index_build_view(const struct collection *collection, const struct snapshot *snapshot,
                                     const struct segment_view *view, const struct index_definition *definition,
                                     const vecdb_index_options *options, struct index_ref **out)
{
    size_t field = schema_find(snapshot->schema, definition->field, strlen(definition->field));
    size_t own = view_field(view, snapshot->schema, field);
    struct watched_source watched = {.options = options};
    struct view_source source;
    struct filter_source rows;
    struct scalar_index *index;

    *out = NULL;
    if (own == SCHEMA_NONE || view->row_count == 0)
        return VECDB_OK;
    if (view->segment->growing && collection->database->store) /* it is sealed soon, and indexed then */
        return VECDB_OK;
    watched.source = view_source_init(&source, snapshot, view);
    rows = watched.source;
    rows.context = &watched;
    rows.column = watched_column;
    TRY(scalar_index_build(snapshot->schema, field, definition->scalar, definition->params_text, &rows, &index));
    return index_ref_create_scalar(index, view->segment, own, definition->id, out);
}

vecdb_status scalar_index_open_saved(const void *data, size_t size, const char *kind, size_t row_count,
                                     struct scalar_index **out)
{
    TRY(scalar_index_open(data, size, out));
    if (scalar_index_rows(*out) == row_count && strcmp(scalar_index_kind(*out), kind) == 0)
        return VECDB_OK;
    error_set(VECDB_ERR_CORRUPT, "scalar index: %s of %zu rows, expected %s of %zu", scalar_index_kind(*out),
              scalar_index_rows(*out), kind, row_count);
    scalar_index_free(*out);
    *out = NULL;
    return VECDB_ERR_CORRUPT;
}

vecdb_status scalar_index_compare_saved(const void *data, size_t size, const struct manifest_index *definition,
                                        const struct schema *schema, struct segment *segment)
{
    struct scalar_index *saved = NULL, *anew = NULL;
    struct snapshot *snapshot;
    struct view_source source;
    struct filter_source rows;
    struct buf bytes = {0};
    vecdb_status status;

    TRY(snapshot_copy(NULL, schema, 1, &snapshot));
    segment_retain(segment);
    snapshot->views[0].segment = segment;
    snapshot->views[0].row_count = segment->row_count;
    rows = view_source_init(&source, snapshot, &snapshot->views[0]);
    status = scalar_index_open(data, size, &saved);
    if (status == VECDB_OK)
        status = scalar_index_build(schema, definition->field, definition->type, definition->params, &rows, &anew);
    if (status == VECDB_OK)
        status = scalar_index_save(anew, &bytes);
    if (status == VECDB_OK && (bytes.size != size || memcmp(bytes.data, data, size) != 0))
        status = error_set(VECDB_ERR_CORRUPT, "index %s: %s of %zu rows and %zu values is not what its segment holds: %s of %zu "
                                              "rows and %zu values",
                           definition->name, scalar_index_kind(saved), scalar_index_rows(saved), scalar_index_keys(saved),
                           scalar_index_kind(anew), scalar_index_rows(anew), scalar_index_keys(anew));
    buf_deinit(&bytes);
    scalar_index_free(saved);
    scalar_index_free(anew);
    snapshot_release(snapshot);
    return status;
}
