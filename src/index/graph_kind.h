/* The table of functions of a kind of graph. settings_of(params, context) gives what it is built with. */
#ifndef VECDB_INDEX_GRAPH_KIND_H
#define VECDB_INDEX_GRAPH_KIND_H

#include "index/graph.h"

#define GRAPH_KIND(id, kind_name, build_table, search_table, settings_of, search_with)                                \
    static vecdb_status id##_build(const struct vectors *vectors, vecdb_metric metric, const struct params *params,   \
                                   const struct index_build_context *context, struct index **out)                     \
    {                                                                                                                 \
        const struct graph_settings settings = settings_of(params, context);                                          \
        return graph_create_built(&id##_ops, vectors, metric, &settings, context, out);                               \
    }                                                                                                                 \
    static vecdb_status id##_open(const void *data, size_t size, const struct vectors *vectors, vecdb_metric metric,  \
                                  const struct params *params, struct index **out)                                    \
    {                                                                                                                 \
        return graph_open(&id##_ops, data, size, vectors, metric, out);                                               \
    }                                                                                                                 \
    static vecdb_status id##_merge(const struct vectors *vectors, vecdb_metric metric, const struct params *params,   \
                                   struct index *const *parts, const uint32_t *const *row_maps, size_t part_count,    \
                                   const struct index_build_context *context, struct index **out)                     \
    {                                                                                                                 \
        return graph_merge(&id##_ops, vectors, metric, parts, row_maps, part_count, context, out);                    \
    }                                                                                                                 \
    const struct index_ops id##_ops = {                                                                               \
        .name = kind_name,                                                                                            \
        .format = 1,                                                                                                  \
        .types = 0x2F,                                                                                                \
        .build_params = build_table,                                                                                  \
        .search_params = search_table,                                                                                \
        .build = id##_build,                                                                                          \
        .add = graph_add,                                                                                             \
        .merge = id##_merge,                                                                                          \
        .search = search_with,                                                                                        \
        .save = graph_save,                                                                                           \
        .open = id##_open,                                                                                            \
        .free = graph_free,                                                                                           \
        .check = graph_check,                                                                                         \
        .memory = graph_memory,                                                                                       \
        .reads = graph_reads,                                                                                         \
        .complete = graph_is_complete,                                                                                \
    }

#endif
