/* Links between far rows, so that no cluster is an island. */
#ifndef VECDB_INDEX_GRAPH_FAR_H
#define VECDB_INDEX_GRAPH_FAR_H

#include "index/graph_build.h"
#include "index/knn_graph.h"

/** To be called once a layer has its near links; takes the places of a few of them. `parts` of two parts (apart), which have such links
 * within them: far ones lead from the one to the other then, and not among the largest sample. NULL: all is built at once. */
vecdb_status graph_link_far(const struct graph_linker *linker, const struct knn_input *parts);

#endif
