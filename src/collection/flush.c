/* Growing rows into sealed segments, one for each partition that has some. Afterwards the log is not needed up to there. */
#include "base/mem.h"
#include "collection/rewrite.h"
#include "storage/segment_format.h"

#define SEAL_FOR_INDEX_ROWS 4096 /* fewer are indexed where they are: that is quicker than a file */

static bool has_vector_index(const struct segment_view *view)
{
    for (size_t i = 0; i < view->index_count; i++)
        if (view->indexes[i]->index)
            return true;
    return false;
}

/* All growing views of a partition as one group; with `joins`, sealed ones without an index on vectors too. */
static vecdb_status add_partition(struct rewrite *rewrite, uint32_t partition, bool joins)
{
    const struct snapshot *from = rewrite->from;
    size_t *views = mem_array_alloc(from->view_count + 1, sizeof *views), count = 0, rows = 0;
    bool changes = false; /* a sealed segment by itself stays as it is */
    vecdb_status status = VECDB_OK;

    if (!views)
        return error_nomem("flush");
    for (size_t v = 0; v < from->view_count && status == VECDB_OK; v++) {
        const struct segment_view *view = &from->views[v];
        bool growing = view->segment->growing;
        if (view->partition != partition || (!growing && (!joins || has_vector_index(view))))
            continue;
        if (count && rows + view_live_rows(view) > SEGMENT_MAX_ROWS) {
            if (changes)
                status = rewrite_add(rewrite, partition, views, count);
            count = rows = 0;
            changes = false;
        }
        changes |= growing || count;
        views[count++] = v;
        rows += view_live_rows(view);
    }
    if (changes && status == VECDB_OK)
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

static vecdb_status flush(struct collection *collection, bool joins, vecdb_progress progress, void *context)
{
    struct rewrite rewrite;
    vecdb_status status;

    TRY(rewrite_begin(collection, true, &rewrite));
    status = VECDB_OK;
    for (size_t v = 0; v < rewrite.from->view_count && status == VECDB_OK; v++)
        if (!partition_seen(rewrite.from, v))
            status = add_partition(&rewrite, rewrite.from->views[v].partition, joins);
    if (status == VECDB_OK && (rewrite.group_count || rewrite.from->lsn > collection->checkpoint_lsn))
        status = rewrite_run(&rewrite, progress, context);
    rewrite_deinit(&rewrite);
    mem_trim(); /* of the growing rows that nobody sees any more */
    return status;
}

/* Upkeep seals rows while they still come, so what was inserted in one go may lie in several segments. One index over all of them
 * takes less to build than one each and joining those later. */
vecdb_status collection_seal_for_index(struct collection *collection, bool vectors, vecdb_progress progress, void *context)
{
    struct snapshot *snapshot;
    size_t growing = 0, bare = 0;

    if (!collection->database->store)
        return VECDB_OK;
    snapshot = collection_snapshot(collection);
    for (size_t v = 0; v < snapshot->view_count; v++)
        if (snapshot->views[v].segment->growing)
            growing += snapshot->views[v].row_count;
        else
            bare += vectors && !has_vector_index(&snapshot->views[v]);
    snapshot_release(snapshot);
    return growing >= SEAL_FOR_INDEX_ROWS || bare > 1 ? flush(collection, vectors, progress, context) : VECDB_OK;
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
    status = flush(collection, false, progress, context);
    collection_end_upkeep(collection);
    return status;
}
