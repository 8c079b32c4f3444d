/* Exact answers from cheap distances: candidates are known by bounds of their distance, and few need the real one.
 * The k-th smallest upper bound is a limit that every hit keeps, so candidates whose lower bound is beyond it are dropped
 * unseen; what is left in the end is scored exactly in the order of lower bounds until none can be a hit. */
#ifndef VECDB_INDEX_SCAN_SIEVE_H
#define VECDB_INDEX_SCAN_SIEVE_H

#include "index/scan.h"
#include "index/topk.h"

struct sieve {
    struct topk exact;   /* over the caller's k hits */
    struct topk upper;   /* the k smallest upper bounds */
    struct hit *pending; /* lower bounds of rows not yet scored */
    size_t pending_count, pending_capacity;
    size_t asked;        /* of those, in the order of their bounds, have been asked for; 0: they may be in any order */
    float limit;         /* a row whose lower bound is beyond it is no hit */
    float radius;        /* INFINITY: none */
    bool has_radius;
    const struct scan_query *query;
    const struct vectors *vectors;
    const float *norms;  /* as for scan_gather() */
    uint64_t reranked;
};

/** Hits of scratch one sieve wants. */
static inline size_t sieve_scratch_hits(size_t k) { return 3 * k + 256; }
void sieve_init(struct sieve *sieve, const struct scan_query *query, const struct vectors *vectors,
                const struct index_search *search, struct hit *hits, struct hit *scratch);
/** Offer a row by bounds; call it when lower <= sieve->limit. */
void sieve_push(struct sieve *sieve, float lower, float upper, uint32_t row);
/** Offer a row by its exact distance. */
void sieve_push_exact(struct sieve *sieve, float distance, uint32_t row);
/** Nothing more will be offered, or little: put what has to be scored in order, and ask for the first of it. */
void sieve_ask(struct sieve *sieve);
/** Score what has to be scored, and sort. Returns how many hits there are. */
size_t sieve_finish(struct sieve *sieve);

#endif
