/* What scans of lists keep with a filter that is asked for again and again: which places of the lists pass, how many of each list, and
 * what became of searches that went on beyond where they might have ended.
 *
 * How many more answers a scan expects (graph_lists_scan.c) is too many by a factor that goes with the filter. So of some searches it is
 * noted what was expected each time they might have ended, and which of the answers they had by then. What most of them expected
 * when they had nearly all is where others end. Some go on being noted, for the searches to come need not be like those before. */
#ifndef VECDB_INDEX_GRAPH_LISTS_MEMO_H
#define VECDB_INDEX_GRAPH_LISTS_MEMO_H

#include "index/graph_lists.h"
#include "index/memo.h"

#define GRAPH_MEMO_STEPS 24   /* of what is expected, from least to most: */
#define GRAPH_MEMO_LEAST 0.01 /* this of k, */
#define GRAPH_MEMO_RATIO 1.41421356 /* and so much more each */
#define GRAPH_MEMO_CLASSES 4  /* by k */
#define GRAPH_TRAIL_CHECKS 24 /* of a search that is noted */
#define GRAPH_TRAIL_K 128     /* answers of one */

struct graph_lists_memo {
    struct index_memo base;
    uint64_t *places;  /* a bit for each place in the lists' rows */
    uint32_t *counts;  /* bits of each list */
    atomic_uint walks, vain; /* searches that began by a walk, and those of them that ended in the lists */
    pthread_mutex_t lock; /* of what follows */
    struct learnt {
        uint32_t asked;    /* searches, noted or not */
        float usual;       /* rows that those not noted looked at */
        double noted;      /* and of those noted, for each step, were the answers had by then, as a share: */
        double sum[GRAPH_MEMO_STEPS], squares[GRAPH_MEMO_STEPS];
    } learnt[GRAPH_MEMO_CLASSES];
};

/** What is kept with a search's filter, or NULL: it is made when a filter comes again. */
struct graph_lists_memo *graph_lists_memo_take(const struct index_search *search, const struct graph_lists *lists);
/** What a search for the k nearest may still expect and end, at least `miss`; how many rows searches look at (0: not known); and whether
 * this one is to be noted, and so has to go on to `miss`. */
double graph_lists_memo_miss(struct graph_lists_memo *memo, size_t k, double miss, double recall, size_t *usual, bool *note);
/** What a search did. */
void graph_lists_memo_ended(struct graph_lists_memo *memo, size_t k, size_t passed, bool noted);
/** Whether searches that begin by a walk end in the lists all the same, more often than not. */
bool graph_lists_memo_far(const struct index_search *search, const struct graph_lists *lists);
void graph_lists_memo_walked(const struct index_search *search, const struct graph_lists *lists, bool in_vain);

/** A search that is noted: its best rows whenever it might have ended. */
struct graph_trail {
    size_t k, checks;
    double expected[GRAPH_TRAIL_CHECKS];
    size_t counts[GRAPH_TRAIL_CHECKS];
    uint64_t *keys;    /* GRAPH_TRAIL_CHECKS x k */
};
void graph_trail_add(struct graph_trail *trail, const struct graph_pool *pool, double expected);
void graph_lists_memo_note(struct graph_lists_memo *memo, const struct graph_trail *trail, const struct graph_pool *found);

#endif
