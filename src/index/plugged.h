/* Index kinds and metrics that plug-ins registered, in the form the built-in ones have. */
#ifndef VECDB_INDEX_PLUGGED_H
#define VECDB_INDEX_PLUGGED_H

#include "index/index.h"
#include "vecdb_plugin.h"

/** A kind as others see it, made of a plug-in's; lives as long as the process. */
vecdb_status plugged_kind_create(const vecdb_plugin_index *from, struct index_ops **out);
void plugged_kind_free(struct index_ops *ops);
/** Put a plug-in's kind into the registry, where the built-in ones are. VECDB_ERR_EXISTS, VECDB_ERR_LIMIT. */
vecdb_status index_register(const vecdb_plugin_index *plugin);
/** Whether a kind takes a metric: built-in kinds take all built-in ones. VECDB_ERR_UNSUPPORTED. */
vecdb_status plugged_check_metric(const struct index_ops *ops, vecdb_metric metric);
/** flat_search() by a registered metric. */
vecdb_status plugged_scan(const struct vectors *vectors, size_t first_row, const vecdb_plugin_metric *metric,
                          const struct index_search *search, struct hit *hits, size_t *counts,
                          struct index_counters *counters);

#endif
