/* Fewer segments, without deleted rows: what optimize() does for all, and what upkeep does for those that are worth it. */
#include "base/mem.h"
#include "base/plant.h"
#include "collection/rewrite.h"
#include "storage/segment_format.h"

#define COMPACT_DELETED_SHARE 5  /* a segment of which a fifth is deleted is written anew */
#define COMPACT_DELETED_ROWS 1000
#define COMPACT_MERGE_COUNT 4    /* so many segments of a size become one */
#define COMPACT_SMALLEST 4096    /* rows: all below count as one size */

static bool partition_seen(const struct snapshot *snapshot, size_t view)
{
    for (size_t v = 0; v < view; v++)
        if (snapshot->views[v].partition == snapshot->views[view].partition)
            return true;
    return false;
}

/* Planted bug 20: rows that were replayed are in the first growing segment of this opening. */
static bool plant_is_replayed(const struct rewrite *rewrite, const struct segment_view *view)
{
    return PLANTED(20) && view->segment->growing && view->segment->id == 1 &&
           store_recovery(rewrite->collection->database->store)->frames;
}

/* The views of a partition for which `wanted` holds, as groups of at most as many rows as a segment can have. */
static vecdb_status add_views(struct rewrite *rewrite, uint32_t partition,
                              bool (*wanted)(const struct segment_view *view, size_t context), size_t context)
{
    const struct snapshot *from = rewrite->from;
    size_t *views = mem_array_alloc(from->view_count + 1, sizeof *views), count = 0, rows = 0;
    vecdb_status status = VECDB_OK;

    if (!views)
        return error_nomem("optimize");
    for (size_t v = 0; v < from->view_count && status == VECDB_OK; v++) {
        const struct segment_view *view = &from->views[v];
        if (view->partition != partition || !wanted(view, context) || plant_is_replayed(rewrite, view))
            continue;
        if (count && rows + view_live_rows(view) > SEGMENT_MAX_ROWS) {
            status = rewrite_add(rewrite, partition, views, count);
            count = rows = 0;
        }
        views[count++] = v;
        rows += view_live_rows(view);
    }
    if (count && status == VECDB_OK)
        status = rewrite_add(rewrite, partition, views, count);
    mem_free(views);
    return status;
}

static bool any_view(const struct segment_view *view, size_t context) { return true; }

/* Whether a partition is one sealed segment without deleted rows already. */
static bool is_optimal(const struct snapshot *snapshot, uint32_t partition)
{
    size_t views = 0;

    for (size_t v = 0; v < snapshot->view_count; v++) {
        const struct segment_view *view = &snapshot->views[v];
        if (view->partition != partition)
            continue;
        if (view->segment->growing || tombstones_count(view->tombstones) || ++views > 1)
            return false;
    }
    return true;
}

static vecdb_status optimize(struct collection *collection, vecdb_progress progress, void *context)
{
    struct rewrite rewrite;
    vecdb_status status;

    TRY(rewrite_begin(collection, true, &rewrite));
    status = VECDB_OK;
    for (size_t v = 0; v < rewrite.from->view_count && status == VECDB_OK; v++) {
        uint32_t partition = rewrite.from->views[v].partition;
        if (!partition_seen(rewrite.from, v) && !is_optimal(rewrite.from, partition))
            status = add_views(&rewrite, partition, any_view, 0);
    }
    if (status == VECDB_OK && (rewrite.group_count || rewrite.from->lsn > collection->checkpoint_lsn))
        status = rewrite_run(&rewrite, progress, context);
    rewrite_deinit(&rewrite);
    return status;
}

vecdb_status collection_optimize(struct collection *collection, vecdb_progress given, void *given_context)
{
    struct watched_progress watched;
    vecdb_progress progress = claim_watch(&watched, collection, given, given_context);
    void *context = &watched;
    vecdb_status status;

    TRY(collection_begin_upkeep(collection));
    status = collection_delete_expired(collection);
    if (status == VECDB_OK && collection->database->store)
        status = optimize(collection, progress, context);
    if (status == VECDB_OK)
        status = collection_build_missing(collection, progress, context);
    collection_end_upkeep(collection);
    if (status == VECDB_OK) /* in memory rows stay where they are; else those written meanwhile */
        status = collection_grow_indexes(collection, given, given_context);
    return status;
}

/* ------------------------------------------------------------------------------------------------- upkeep */

/* Sizes in steps of four. */
static size_t size_class(size_t rows)
{
    size_t step = 0;

    for (rows /= COMPACT_SMALLEST; rows; rows /= 4)
        step++;
    return step;
}

static bool of_class(const struct segment_view *view, size_t step)
{
    return !view->segment->growing && size_class(view_live_rows(view)) == step;
}

static bool mostly_deleted(const struct segment_view *view)
{
    size_t deleted = tombstones_count(view->tombstones);

    return !view->segment->growing &&
           (deleted == view->row_count || (deleted >= COMPACT_DELETED_ROWS && deleted >= view->row_count / COMPACT_DELETED_SHARE));
}

/* Merge where there are many of a size; otherwise rid single segments of what is deleted. */
static vecdb_status add_partition(struct rewrite *rewrite, uint32_t partition)
{
    const struct snapshot *from = rewrite->from;
    size_t counts[32] = {0};
    bool merged[32] = {false};

    for (size_t v = 0; v < from->view_count; v++)
        if (from->views[v].partition == partition && !from->views[v].segment->growing)
            counts[size_class(view_live_rows(&from->views[v]))]++;
    for (size_t step = 0; step < 32; step++)
        if (counts[step] >= COMPACT_MERGE_COUNT) {
            merged[step] = true;
            TRY(add_views(rewrite, partition, of_class, step));
        }
    for (size_t v = 0; v < from->view_count; v++)
        if (from->views[v].partition == partition && mostly_deleted(&from->views[v]) &&
            !merged[size_class(view_live_rows(&from->views[v]))])
            TRY(rewrite_add(rewrite, partition, &v, 1));
    return VECDB_OK;
}

bool collection_wants_compaction(struct collection *collection)
{
    struct snapshot *snapshot = collection_snapshot(collection);
    bool wants = false;

    for (size_t v = 0; v < snapshot->view_count && !wants; v++) {
        const struct segment_view *view = &snapshot->views[v];
        size_t alike = 0;
        if (view->segment->growing)
            continue;
        for (size_t w = 0; w < snapshot->view_count; w++)
            alike += snapshot->views[w].partition == view->partition &&
                     of_class(&snapshot->views[w], size_class(view_live_rows(view)));
        wants = alike >= COMPACT_MERGE_COUNT || mostly_deleted(view);
    }
    snapshot_release(snapshot);
    return wants;
}

vecdb_status collection_compact(struct collection *collection, vecdb_progress given, void *given_context)
{
    struct watched_progress watched;
    vecdb_progress progress = claim_watch(&watched, collection, given, given_context);
    void *context = &watched;
    struct rewrite rewrite;
    vecdb_status status;

    if (!collection->database->store)
        return VECDB_OK;
    TRY(collection_begin_upkeep(collection));
    status = collection_delete_expired(collection);
    if (status == VECDB_OK && (status = rewrite_begin(collection, false, &rewrite)) == VECDB_OK) {
        for (size_t v = 0; v < rewrite.from->view_count && status == VECDB_OK; v++)
            if (!partition_seen(rewrite.from, v))
                status = add_partition(&rewrite, rewrite.from->views[v].partition);
        if (status == VECDB_OK && rewrite.group_count)
            status = rewrite_run(&rewrite, progress, context);
        rewrite_deinit(&rewrite);
    }
    collection_end_upkeep(collection);
    return status;
}
