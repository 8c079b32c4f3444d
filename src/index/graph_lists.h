/* A partition of a graph's rows beside its links, for searches under filters: a few lists of near rows, each with its centroid,
 * scanned in the order in which they may hold answers (graph_lists_scan.c).
 *
 * Distances from a query q to the rows x of a list about c lie about |q-c|^2 + beyond, and spread about that by spread * |q-c|;
 * `tail` says which share of them lies how many spreads below. All three are learnt from rows when lists are made, so the scan can tell
 * how many rows nearer than those it has are to be expected in the lists it has not looked at. */
#ifndef VECDB_INDEX_GRAPH_LISTS_H
#define VECDB_INDEX_GRAPH_LISTS_H

#include "index/graph_search.h"

#define GRAPH_LISTS_MIN_ROWS 8192 /* fewer rows are scanned one by one */
#define GRAPH_LISTS_MAX 65536
#define GRAPH_TAIL_STEPS 128      /* of `tail`: a 16th of a spread each, */
#define GRAPH_TAIL_FROM -6.0f     /* beginning here */
#define GRAPH_TAIL_PER 16.0f

struct graph_lists {
    uint32_t count;
    uint32_t row_limit;  /* rows below are in a list, if they have a value */
    uint32_t row_count;  /* rows in lists */
    uint32_t codes;      /* graph_state.codes they were made with */
    uint8_t *centroids;  /* count x the codec's stride */
    float *beyond, *spread;
    float *tail;         /* GRAPH_TAIL_STEPS */
    uint32_t *offsets;   /* count + 1, into rows */
    uint32_t *rows;      /* ascending in each list */
    struct graph_lists *retired; /* older ones, for those who may still read them */
};

/** Lists of all rows there are; none, and no error, for few rows or codes of bits. Replaces those there were. */
vecdb_status graph_lists_make(struct graph *graph, const struct index_build_context *context);
/** The same when enough rows have come since, or the codes are others. */
vecdb_status graph_lists_renew(struct graph *graph, const struct index_build_context *context);
/** Lists whose arrays are still to be filled. */
vecdb_status graph_lists_alloc(size_t count, size_t row_count, size_t stride, struct graph_lists **out);
void graph_lists_free(struct graph_lists *lists);
size_t graph_lists_memory(const struct graph_lists *lists, size_t stride);

/** A scan: the `want` best rows that search->allowed has, into scratch->pool. It ends when fewer than `miss` of the nearest k
 * are expected to be elsewhere. */
struct graph_lists_scan {
    const struct graph_lists *lists;
    const struct graph_state *state;
    const struct index_search *search;
    const struct graph_query *query;
    size_t want;
    double miss;
};
vecdb_status graph_lists_scan(const struct graph_lists_scan *scan, struct graph_scratch *scratch,
                              struct index_counters *counters);

#endif
