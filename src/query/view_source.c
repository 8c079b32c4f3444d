#include "query/view_source.h"

static vecdb_status source_column(void *context, size_t field, size_t block, struct column_scratch *scratch,
                                  struct column *out)
{
    struct view_source *source = context;

    return view_column(source->view, source->snapshot->schema, field, block, scratch, out);
}

static bool source_stats(void *context, size_t field, size_t block, struct column_stats *out)
{
    struct view_source *source = context;
    size_t own = view_field(source->view, source->snapshot->schema, field);

    return own != SCHEMA_NONE && source->view->segment->ops->stats &&
           source->view->segment->ops->stats(source->view->segment, own, block, out);
}

static const struct scalar_index *source_index(void *context, size_t field, size_t i)
{
    struct view_source *source = context;
    const struct segment_view *view = source->view;
    size_t own = view->index_count ? view_field(view, source->snapshot->schema, field) : SCHEMA_NONE;

    for (size_t at = 0; own != SCHEMA_NONE && at < view->index_count; at++)
        if (view->indexes[at]->scalar && view->indexes[at]->field == own && i-- == 0)
            return view->indexes[at]->scalar;
    return NULL;
}

struct filter_source view_source_init(struct view_source *source, const struct snapshot *snapshot,
                                      const struct segment_view *view)
{
    *source = (struct view_source){snapshot, view};
    return (struct filter_source){.context = source,
                                  .row_count = view->row_count,
                                  .block_rows = view->segment->block_rows,
                                  .column = source_column,
                                  .stats = source_stats,
                                  .index = source_index,
                                  .seed = view->segment->id};
}
