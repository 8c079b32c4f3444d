/* Growing rows into sealed segments, one for each partition that has some. Afterwards the log is not needed up to there. */
#include "base/beside.h"
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

/* All partitions' groups, and their files. *nothing: there is no need for any. */
static vecdb_status write_files(struct rewrite *rewrite, bool joins, vecdb_progress progress, void *context, bool *nothing)
{
    const struct snapshot *from = rewrite->from;
    vecdb_status status = VECDB_OK;

    for (size_t v = 0; v < from->view_count && status == VECDB_OK; v++)
        if (!partition_seen(from, v))
            status = add_partition(rewrite, from->views[v].partition, joins);
    *nothing = !rewrite->group_count && from->lsn <= rewrite->collection->checkpoint_lsn;
    return status == VECDB_OK && !*nothing ? rewrite_write(rewrite, progress, context) : status;
}

static vecdb_status flush(struct collection *collection, vecdb_progress progress, void *context)
{
    struct rewrite rewrite;
    bool nothing;
    vecdb_status status;

    TRY(rewrite_begin(collection, true, &rewrite));
    status = write_files(&rewrite, false, progress, context, &nothing);
    if (status == VECDB_OK && !nothing)
        status = rewrite_publish(&rewrite);
    rewrite_deinit(&rewrite);
    mem_trim(); /* of the growing rows that nobody sees any more */
    return status;
}

/* ---- beside the building of an index ---- */

struct sealing {
    struct rewrite rewrite;
    struct beside beside;
    struct snapshot *sealed; /* the new segments alone */
    bool nothing;            /* to publish */
};

static vecdb_status publish_sealed(void *context)
{
    struct sealing *sealing = context;
    vecdb_status status = sealing->nothing ? VECDB_OK : rewrite_publish(&sealing->rewrite);

    rewrite_deinit(&sealing->rewrite);
    mem_trim();
    return status;
}

/* A state of only what has been written, which an index can be built from. */
static vecdb_status view_sealed(struct sealing *sealing)
{
    const struct rewrite *rewrite = &sealing->rewrite;
    size_t n = 0;

    TRY(snapshot_copy(NULL, rewrite->from->schema, rewrite->group_count, &sealing->sealed));
    for (size_t g = 0; g < rewrite->group_count; g++) {
        const struct segment_view *view = &rewrite->groups[g].view;
        if (!view->segment)
            continue;
        segment_retain(view->segment);
        sealing->sealed->views[n].segment = view->segment;
        sealing->sealed->views[n++].row_count = view->row_count;
    }
    sealing->sealed->view_count = n;
    return VECDB_OK;
}

static vecdb_status begin_sealing(struct collection *collection, bool joins, vecdb_progress progress, void *context,
                                  struct sealing *sealing)
{
    bool beside;
    vecdb_status status;

    TRY(rewrite_begin(collection, true, &sealing->rewrite));
    status = write_files(&sealing->rewrite, joins, progress, context, &sealing->nothing);
    if (status == VECDB_OK)
        status = view_sealed(sealing);
    if (status != VECDB_OK) {
        rewrite_deinit(&sealing->rewrite);
        return status;
    }
    /* growing rows stay in memory until they are published: where that is short, so long is waited */
    beside = pool_threads(database_pool(collection->database)) > 1 && mem_may_keep(0);
    beside_begin(&sealing->beside, beside, publish_sealed, sealing);
    return VECDB_OK;
}

/* Upkeep seals rows while they still come, so what was inserted in one go may lie in several segments. One index over all of them
 * takes less to build than one each and joining those later. */
vecdb_status collection_seal_for_index(struct collection *collection, bool vectors, vecdb_progress progress, void *context,
                                       struct sealing **out)
{
    struct snapshot *snapshot;
    size_t growing = 0, bare = 0;
    vecdb_status status;

    *out = NULL;
    if (!collection->database->store)
        return VECDB_OK;
    snapshot = collection_snapshot(collection);
    for (size_t v = 0; v < snapshot->view_count; v++)
        if (snapshot->views[v].segment->growing)
            growing += snapshot->views[v].row_count;
        else
            bare += vectors && !has_vector_index(&snapshot->views[v]);
    snapshot_release(snapshot);
    if (growing < SEAL_FOR_INDEX_ROWS && bare <= 1)
        return VECDB_OK;
    if (!(*out = mem_zalloc(sizeof **out)))
        return error_nomem("flush");
    if ((status = begin_sealing(collection, vectors, progress, context, *out)) != VECDB_OK) {
        mem_free(*out);
        *out = NULL;
    } else if (beside_failed(&(*out)->beside)) {
        status = sealing_end(*out);
        *out = NULL;
    }
    return status;
}

const struct snapshot *sealing_sealed(const struct sealing *sealing) { return sealing->sealed; }

vecdb_status sealing_end(struct sealing *sealing)
{
    vecdb_status status = beside_end(&sealing->beside);

    snapshot_release(sealing->sealed);
    mem_free(sealing);
    return status;
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
