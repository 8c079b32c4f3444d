/* Clusters of rows: Lloyd's iterations from random rows. The same seed gives the same centroids on any number of
 * threads. */
#ifndef VECDB_QUANT_KMEANS_H
#define VECDB_QUANT_KMEANS_H

#include "base/pool.h"

struct kmeans_options {
    size_t clusters;     /* 1 or more; may exceed the rows: the centroids left over are copies */
    unsigned iterations;
    uint64_t seed;
    bool spherical;      /* centroids are brought to length 1 */
    struct pool *pool;   /* or NULL */
    vecdb_progress progress;
    void *progress_context;
    const char *stage;   /* for progress */
};

/**
 * Find centroids for count x dim floats (count may be 0: centroids are zero).
 * Clusters that stay nearly empty are moved into the largest, so that no list outgrows the others where data allow it.
 * @return VECDB_ERR_CANCELLED when progress says so, VECDB_ERR_NOMEM.
 */
vecdb_status kmeans_train(const float *rows, size_t count, size_t dim, const struct kmeans_options *options,
                          float *centroids);

/** Centroids packed for finding the nearest of them. */
struct kmeans_assigner {
    size_t clusters, dim, panel_columns, panel_size;
    uint8_t *panels;
    float *bias;
};
vecdb_status kmeans_assigner_init(struct kmeans_assigner *assigner, const float *centroids, size_t clusters, size_t dim);
void kmeans_assigner_deinit(struct kmeans_assigner *assigner);
/** The nearest centroid (L2) of each of `count` rows, dim floats `stride` floats apart; on this thread. distances: squared,
 * or NULL. `scratch` has room for kmeans_scratch_floats(). */
void kmeans_assign(const struct kmeans_assigner *assigner, const float *rows, size_t stride, size_t count,
                   float *scratch, uint32_t *out, float *distances);
size_t kmeans_scratch_floats(const struct kmeans_assigner *assigner);

#endif
