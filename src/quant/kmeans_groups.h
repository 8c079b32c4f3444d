/* The nearest of many centroids, nearly always: a row is compared with the centroids of groups of them, then with those near the
 * group that is nearest. Groups are made in two ways, and the nearer of what both find is taken, for at the border of a group
 * a row may have its neighbours on the other side. A third of the products for 1,024 centroids, a sixth for 4,096. */
#ifndef VECDB_QUANT_KMEANS_GROUPS_H
#define VECDB_QUANT_KMEANS_GROUPS_H

#include "quant/kmeans.h"

struct kmeans_group {
    struct kmeans_assigner assigner;
    uint32_t *members; /* the centroids it is made of */
};

#define KMEANS_GROUPINGS 2
struct kmeans_grouping {
    struct kmeans_assigner top;
    struct kmeans_group *groups;
};

struct kmeans_groups {
    size_t count; /* 0: so few centroids that the first `top` has all of them */
    struct kmeans_grouping ways[KMEANS_GROUPINGS];
};

vecdb_status kmeans_groups_init(struct kmeans_groups *groups, const float *centroids, size_t clusters, size_t dim);
void kmeans_groups_deinit(struct kmeans_groups *groups);
/** As kmeans_assign(), `count` rows next to each other. A row that lies on a centroid gets it, or one that is as near but for rounding;
 * only where rounding decides which group is the nearest, in both ways, it may get another. */
void kmeans_groups_assign(const struct kmeans_groups *groups, const float *rows, size_t count, float *scratch, uint32_t *out);
size_t kmeans_groups_scratch_floats(const struct kmeans_groups *groups);

#endif
