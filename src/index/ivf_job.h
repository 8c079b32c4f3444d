/* Inside the IVF kinds: an index that is being built, or grown. */
#ifndef VECDB_INDEX_IVF_JOB_H
#define VECDB_INDEX_IVF_JOB_H

#include "index/ivf_state.h"
#include "quant/kmeans_groups.h"

struct ivf_job {
    struct ivf *ivf;
    const struct vectors *vectors;
    const struct index_build_context *context;
    const uint32_t *rows; /* that have a value */
    size_t row_count;
    uint32_t *lists;      /* of each of rows */
    struct kmeans_groups assigner;
    struct ivf_part *part;
    struct pq_encoder *encoder;
    float *sample;
    const uint32_t *sample_rows;
    const struct ivf *like; /* what it has learned is taken over; or NULL */
    const uint16_t *order; /* of dimensions, for bytes in two planes */
};

/** ivf_build(), with what `like` has learned in place of training, where it fits the parameters, the values and the number of
 * rows. like: or NULL. */
vecdb_status ivf_build_like(const struct ivf_kind *kind, const struct ivf *like, const struct vectors *vectors,
                            vecdb_metric metric, const struct params *params, const struct index_build_context *context,
                            struct index **out);
/** Lists when the user names none: 4 sqrt(n), 16 rows each at least, and centroids of at most 256 MB. */
size_t ivf_default_lists(size_t rows, size_t dim);
/** No more of them than lean codes have room for. */
size_t ivf_lean_lists(const struct coder *coder, size_t rows, size_t lists);
/** Lean codes: what the room that is left goes to. */
void ivf_lean_plan(struct coder *coder, size_t rows, size_t lists);
/** `count` of job->rows by place, one from each stretch of them; the caller frees them, NULL: out of memory. */
uint32_t *ivf_pick_rows(const struct ivf_job *job, size_t count, uint64_t seed);
/** Centroids, and the mean where the codes want one. */
vecdb_status ivf_train_lists(struct ivf_job *job);
/** The codebook of PQ, from rows whose lists are known. */
vecdb_status ivf_train_codebook(struct ivf_job *job);
/** How many lists bring which recall. */
vecdb_status ivf_calibrate(struct ivf_job *job);

#endif
