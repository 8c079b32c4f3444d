/* Requests as the caller gave them, checked against a snapshot. */
#ifndef VECDB_QUERY_REQUEST_H
#define VECDB_QUERY_REQUEST_H

#include "query/search.h"
#include "schema/rows.h"

/** A search request made ready. Owns what it had to convert. */
struct request {
    struct search search;
    struct filter *filter;   /* compiled here; NULL when the caller brought one, or none */
    struct rows within;
    struct buf queries;      /* converted ones */
    struct buf partitions;   /* u32 ids */
    struct deadline deadline;
    size_t limit, offset;
    size_t group_field, group_size; /* SCHEMA_NONE: not grouped */
    bool strict_group_size;
    const char *const *query_filters; /* the caller's; NULL: one for all */
    const char *filter_params;
    struct compiled_filters *filters; /* where to look for them; or NULL */
};

/** What to bring along with the rows. */
struct output {
    size_t *fields;         /* numbers */
    size_t field_count;
    const char **dynamic;   /* keys of $meta; point into the request, or into `kept` */
    size_t dynamic_count;
    char *kept;
};

/** Id of a partition by name, for a snapshot's collection. */
typedef vecdb_status (*partition_lookup)(void *context, const char *name, uint32_t *id);

/** The number of the vector field that a request names, or of the only one there is. */
vecdb_status request_find_field(const struct schema *schema, const char *name, size_t *out);
/**
 * @param index_metric  metric of the field's index, VECDB_METRIC_DEFAULT when it has none.
 * @param filters       filters of late, or NULL.
 * On failure there is nothing to deinit.
 */
vecdb_status request_init(struct request *request, const struct snapshot *snapshot, const vecdb_search_request *from,
                          vecdb_metric index_metric, struct compiled_filters *filters, const struct filter *compiled,
                          partition_lookup find_partition, void *context);
void request_deinit(struct request *request);

/** Partition ids by name. */
vecdb_status request_partitions(const char *const *names, size_t count, partition_lookup find_partition, void *context,
                                struct buf *ids);
/** Fields by name; "*" is all of them, $meta included. Names that are no field are keys of $meta when there is one. */
vecdb_status output_init(struct output *output, const struct schema *schema, const char *const *names, size_t count);
/** Copy what points into the request, which may go away. */
vecdb_status output_keep(struct output *output);
void output_deinit(struct output *output);
/** A result with what was asked for. */
vecdb_status output_fetch(const struct output *output, const struct snapshot *snapshot, const struct found *found,
                          const size_t *first, size_t query_count, bool with_scores, struct result **out);

#endif
