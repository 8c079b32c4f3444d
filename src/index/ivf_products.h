/* Codes of bytes (BYTES, SQ8) against many queries at once: a panel of rows is packed and multiplied by all of them, and
 * what the products cannot rule out is scored as part_scan() would score it, so that answers are the same. */
#ifndef VECDB_INDEX_IVF_PRODUCTS_H
#define VECDB_INDEX_IVF_PRODUCTS_H

#include "index/ivf_codes.h"

#define PRODUCTS_MIN 8 /* queries from which packing pays */

struct products {
    uint8_t *panel, *matrix;
    uint8_t *rows; /* of a panel, as signed bytes: SQ8 */
    int32_t *values;
    float *errors; /* of each query of a tile: what its high terms leave out */
    int32_t *sums;
};

/** Whether the coder's codes are multiplied. Not bytes in two planes: of most rows a query then reads the first, and multiplies no more. */
static inline bool products_apply(const struct coder *coder)
{
    return (coder->kind == CODE_BYTES && !coder->ahead) || coder->kind == CODE_SQ8;
}
/** VECDB_ERR_NOMEM; deinit it in any case. */
vecdb_status products_init(struct products *products, const struct coder *coder);
void products_deinit(struct products *products);
/** As part_scan() of a whole list without a bitmap. Queries that are no bytes go the usual way. */
void products_scan(struct products *products, const struct ivf_part *part, const struct coder *coder, size_t list,
                   const struct vectors *vectors, const struct index_search *search, const struct code_target *targets,
                   size_t count);

#endif
