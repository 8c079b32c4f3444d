/* What plug-ins have registered: the one thing that belongs to the process, not to a database. Entries are added, and never
 * changed or taken away. */
#ifndef VECDB_BASE_PLUGGED_H
#define VECDB_BASE_PLUGGED_H

#include "base/error.h"
#include "vecdb_plugin.h"

/** A registered metric by number, or NULL. */
const vecdb_plugin_metric *plugged_metric(vecdb_metric metric);
/** The i-th registered one; NULL past the last. */
const vecdb_plugin_metric *plugged_metric_at(size_t i);
/** Copies the name. VECDB_ERR_EXISTS, VECDB_ERR_LIMIT, VECDB_ERR_NOMEM. */
vecdb_status plugged_add_metric(const vecdb_plugin_metric *metric);
/** A registered filter function by name, or NULL. */
const vecdb_plugin_function *plugged_function(const char *name, size_t length);
vecdb_status plugged_add_function(const vecdb_plugin_function *function);
/** A name of 1..31 letters, digits and _; VECDB_ERR_INVALID. */
vecdb_status plugged_check_name(const char *what, const char *name);

#endif
