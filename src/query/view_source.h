/* A view's rows as a filter reads them. */
#ifndef VECDB_QUERY_VIEW_SOURCE_H
#define VECDB_QUERY_VIEW_SOURCE_H

#include "filter/filter.h"
#include "query/snapshot.h"

/** Lives as long as the source that is made of it. */
struct view_source {
    const struct snapshot *snapshot;
    const struct segment_view *view;
};

/** All rows of a view, deleted ones too, with statistics and indexes; fields are numbers of the snapshot's schema. */
struct filter_source view_source_init(struct view_source *source, const struct snapshot *snapshot,
                                      const struct segment_view *view);

#endif
