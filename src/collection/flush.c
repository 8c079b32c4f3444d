/* Growing rows into sealed segments, one for each partition that has some. Afterwards the log is not needed up to there. */
#include "base/mem.h"
#include "collection/rewrite.h"

#define SEAL_FOR_INDEX_ROWS 4096 /* fewer are indexed where they are: that is quicker than a file */

/* All growing views of a partition as one group. */
static vecdb_status add_partition(struct rewrite *rewrite, uint32_t partition)
{
    const struct snapshot *from = rewrite->from;
    size_t *views = mem_array_alloc(from->view_count + 1, sizeof *views), count = 0;
    vecdb_status status = VECDB_OK;

    if (!views)
        return error_nomem("flush");
    for (size_t v = 0; v < from->view_count; v++)
        if (from->views[v].segment->growing && from->views[v].partition == partition)
            views[count++] = v;
    if (count)
        status = rewrite_add(rewrite, partition, views, count);
    mem_free(views);
    return status;
}

/* Whether a view of the same partition comes before, so that its partition has had its turn. */
static bool partition_seen(const struct snapshot *snapshot, size_t view)
{
    for (size_t v = 0; v < view; v++)
        if (snapshot->views[v].partition == snapshot->views[view].partition)
            return true;
    return false;
}

static vecdb_status flush(struct collection *collection, vecdb_progress progress, void *context)
{
    struct rewrite rewrite;
    vecdb_status status;

    TRY(rewrite_begin(collection, true, &rewrite));
    status = VECDB_OK;
    for (size_t v = 0; v < rewrite.from->view_count && status == VECDB_OK; v++)
        if (!partition_seen(rewrite.from, v))
            status = add_partition(&rewrite, rewrite.from->views[v].partition);
    if (status == VECDB_OK && rewrite.from->lsn > collection->checkpoint_lsn)
        status = rewrite_run(&rewrite, progress, context);
    rewrite_deinit(&rewrite);
    mem_trim(); /* of the growing rows that nobody sees any more */
    return status;
}

vecdb_status collection_seal_for_index(struct collection *collection, vecdb_progress progress, void *context)
{
    struct snapshot *snapshot;
    size_t growing = 0;

    if (!collection->database->store)
        return VECDB_OK;
    snapshot = collection_snapshot(collection);
    for (size_t v = 0; v < snapshot->view_count; v++)
        growing += snapshot->views[v].segment->growing ? snapshot->views[v].row_count : 0;
    snapshot_release(snapshot);
    return growing >= SEAL_FOR_INDEX_ROWS ? flush(collection, progress, context) : VECDB_OK;
}

vecdb_status collection_flush(struct collection *collection, vecdb_progress given, void *given_context)
{
    struct watched_progress watched;
    vecdb_progress progress = claim_watch(&watched, collection, given, given_context);
    void *context = &watched;
    vecdb_status status;

    if (!collection->database->store) /* in memory there is nowhere to put them */
        return collection_alive(collection);
    TRY(collection_begin_upkeep(collection));
    status = flush(collection, progress, context);
    collection_end_upkeep(collection);
    return status;
}
