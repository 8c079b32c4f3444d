/* What estimates are reranked with: the vectors of the segment, or a smaller copy of them that the index keeps by row
 * number. A copy costs memory and saves reads; bytes, where all values are whole numbers 0..255, lose nothing. */
#ifndef VECDB_INDEX_REFINE_H
#define VECDB_INDEX_REFINE_H

#include "index/scan.h"

enum refine_kind { /* stored */
    REFINE_VECTORS = 0,
    REFINE_BYTES = 1,
    REFINE_SQ8 = 2, /* a row: dim codes, padded to 4; step; squared length (floats) */
    REFINE_FP16 = 3,
    REFINE_BF16 = 4,
};

struct refiner {
    enum refine_kind kind;
    vecdb_type type; /* of the field */
    vecdb_metric metric;
    uint32_t dim;
    const float *mean; /* SQ8; of rows brought to length 1 under COSINE */
};

/** The copies of rows 0 .. vectors.row_count - 1; what searches see of them never changes. */
struct refine_rows {
    struct vectors vectors; /* for scan_gather() */
    const uint8_t *blocks[];
};

/** Bytes of a row. */
size_t refine_stride(const struct refiner *refiner);
/** A copy of one row. spare: 3 x dim floats. False when it is no bytes. */
bool refine_encode(const struct refiner *refiner, const void *row, uint8_t *out, float *spare);
/** The mean of up to 4096 rows, evenly picked; dim floats. spare: dim floats. */
void refine_mean(const struct refiner *refiner, const struct vectors *vectors, float *mean, float *spare);
/** A query for scan_gather() over copies. sq and scratch (4 x dim bytes) are kept, spare (3 x dim floats) is not. */
void refine_prepare(const struct refiner *refiner, const void *query, struct scan_query *out, struct sq_query *sq,
                    void *scratch, float *spare);
/** Whether copies that came from a file make sense: VECDB_ERR_CORRUPT says which does not. */
vecdb_status refine_check(const struct refiner *refiner, const struct refine_rows *rows, const char *owner);

#endif
