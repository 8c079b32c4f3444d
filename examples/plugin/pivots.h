#ifndef PIVOTS_H
#define PIVOTS_H

#include "vecdb_plugin.h"

enum { PIVOTS_METRIC_L1 = 1001 };

/** Make the metric L1, the filter function divides() and the index kind PIVOTS known to vecdb. Once, before databases that use them are opened. */
vecdb_status pivots_register(void);

#endif
