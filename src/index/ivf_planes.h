/* Bytes in two planes, for squared distances: of all rows the dimensions that differ most, then of all rows the others.
 * A sum over some dimensions is never more than that over all, so most rows are ruled out by the first plane. */
#ifndef VECDB_INDEX_IVF_PLANES_H
#define VECDB_INDEX_IVF_PLANES_H

#include "index/ivf_codes.h"

/** Order the dimensions by how much rows differ in them, and decide how many come first: coder->ahead, 0 where no half of them
 * would tell enough. *order: NULL then, otherwise coder->dim numbers that the caller frees. Only for BYTES and L2. */
vecdb_status planes_choose(struct coder *coder, const struct vectors *vectors, uint16_t **order);
/** Whether each dimension is in `order` once. */
bool planes_order_valid(const uint16_t *order, uint32_t dim);
/** A row of bytes to its slot in both planes, and the squared length of what is in the first. */
void planes_store(struct ivf_part *part, const struct coder *coder, size_t slot, const uint8_t *values);
/** A row in one piece, dim bytes in the order of the planes. */
void planes_join(const struct ivf_part *part, const struct coder *coder, size_t slot, uint8_t *out);

/** What a query of bytes adds to all sums over the first plane: code_query.byte_square. */
int32_t planes_query(const struct coder *coder, const uint8_t *query);
/** Slots that the first plane left over. Their other bytes have been asked for and are read when the next ones are found. */
struct planes_held {
    size_t count;
    uint32_t slots[SCAN_CHUNK];
    int32_t sums[SCAN_CHUNK]; /* over the first plane */
};
#define PLANES_PIECE 32 /* rows scored between asking for as many */
/** Slots to be scanned later, some here and some in the next list. */
struct planes_ask {
    size_t first[2], n[2];
};
/** Score slots first .. first + n - 1 by their first bytes; mask: of positions, or NULL. What may be a
 * hit stays in `held`, what was there before is finished. n <= SCAN_CHUNK, first is the start of a block. The query is bytes.
 * ask: asked for at the pace of the scan. */
void planes_scan(const struct ivf_part *part, const struct coder *coder, struct code_query *query, size_t first,
                 size_t n, const uint64_t *mask, const struct planes_ask *ask, struct planes_held *held);
/** Finish what is held. */
void planes_finish(const struct ivf_part *part, const struct coder *coder, struct code_query *query,
                   struct planes_held *held);
/** Distances of such slots for a query that is not bytes. */
void planes_distances(const struct ivf_part *part, const struct coder *coder, const struct code_query *query, size_t first,
                      size_t n, float *distances);

#endif
