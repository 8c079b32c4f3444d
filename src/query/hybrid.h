/* Several searches' hits merged into one ranking. Formulas are Milvus'. */
#ifndef VECDB_QUERY_HYBRID_H
#define VECDB_QUERY_HYBRID_H

#include "query/search.h"

/** One search's hits for one query, best first. */
struct ranked_list {
    const struct found *hits;
    size_t count;
    vecdb_metric metric;
};

struct ranker {
    bool weighted;         /* otherwise reciprocal rank fusion */
    double rrf_k;
    const double *weights; /* one per list */
    bool raw_scores;
};

/** Merge: a row's score is the sum over the lists it is in. Larger is better, ties by smaller key.
 * @param out  receives at most `limit` rows after skipping `offset`, appended as struct found. */
vecdb_status hybrid_merge(const struct snapshot *snapshot, const struct ranked_list *lists, size_t list_count,
                          const struct ranker *ranker, size_t limit, size_t offset, struct buf *out);

#endif
