/* A search carried out, before its hits are handed over in one form or another. */
#ifndef VECDB_API_ANSWER_H
#define VECDB_API_ANSWER_H

#include "api/handle.h"
#include "query/request.h"

struct answer {
    struct snapshot *snapshot;
    struct request request;
    struct found *found; /* hits of all queries, offset applied, scores rounded */
    size_t *first;       /* query_count + 1: where each query's hits begin */
    bool exhausted;      /* some query has fewer hits than its limit */
    struct search_counters counters;
};

/** The collection's current state, retained; VECDB_ERR_NO_SUCH when it has been dropped. */
vecdb_status take_snapshot(vecdb_collection *handle, struct snapshot **out);
/** Partition id by name; `context` is the struct collection. */
vecdb_status find_partition(void *context, const char *name, uint32_t *id);
/** Check a request against a snapshot and make it ready. `asked` has been read by struct_read(). */
vecdb_status answer_prepare(vecdb_collection *handle, struct snapshot *snapshot, const vecdb_search_request *asked,
                            struct request *request);
/** Carry a request out on the current state. Nothing to deinit on failure. */
vecdb_status answer_run(vecdb_collection *handle, const vecdb_search_request *asked, struct answer *answer);
void answer_deinit(struct answer *answer);
/** Round scores to `digits` after the point; negative: leave them. */
void answer_round(struct found *found, size_t count, int32_t digits);
/** A public handle for a result, which it takes over, also on failure. */
vecdb_status wrap_result(struct result *result, vecdb_result **out);

#endif
