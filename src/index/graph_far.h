/* Links between far rows, so that no cluster is an island. */
#ifndef VECDB_INDEX_GRAPH_FAR_H
#define VECDB_INDEX_GRAPH_FAR_H

#include "index/graph_build.h"

/** To be called once a layer has its near links; takes the places of a few of them. `has_nearer`: the largest sample has such links
 * already, as the parts of a merged graph do. */
vecdb_status graph_link_far(const struct graph_linker *linker, bool has_nearer);

#endif
