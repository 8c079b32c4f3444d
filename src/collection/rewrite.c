#include "collection/rewrite.h"

#include "base/mem.h"
#include "base/plant.h"
#include "query/deferred.h"
#include "query/search.h"
#include "storage/segment_file.h"

#include <string.h>

#define SYNC_LATER_GROUPS 16 /* whose files stay open until then; of more partitions each is synced when it is written */

/* ------------------------------------------------------------------------------------------------- begin */

/* The collections of the database, so that their progress can be asked for later without database->lock. */
static vecdb_status list_others(struct rewrite *rewrite)
{
    struct database *database = rewrite->collection->database;
    vecdb_status status = VECDB_OK;

    pthread_mutex_lock(&database->lock);
    rewrite->others = mem_array_alloc(database->collection_count + 1, sizeof(struct collection *));
    if (!rewrite->others)
        status = error_nomem("flush");
    for (size_t i = 0; i < database->collection_count && status == VECDB_OK; i++)
        rewrite->others[rewrite->other_count++] = collection_retain(database->collections[i]);
    pthread_mutex_unlock(&database->lock);
    return status;
}

static vecdb_status copy_definitions(struct rewrite *rewrite)
{
    struct collection *collection = rewrite->collection;

    rewrite->definitions = mem_array_zalloc(collection->index_count + 1, sizeof *rewrite->definitions);
    if (!rewrite->definitions)
        return error_nomem("flush");
    for (size_t i = 0; i < collection->index_count; i++) {
        struct index_definition *copy = &rewrite->definitions[rewrite->definition_count++];
        *copy = collection->indexes[i];
        copy->name = mem_strdup(copy->name);
        copy->field = mem_strdup(copy->field);
        copy->params_text = mem_strdup(copy->params_text);
        if (!copy->name || !copy->field || !copy->params_text)
            return error_nomem("flush");
    }
    return VECDB_OK;
}

vecdb_status rewrite_begin(struct collection *collection, bool seals, struct rewrite *rewrite)
{
    vecdb_status status;

    *rewrite = (struct rewrite){.collection = collection, .seals = seals};
    if ((status = list_others(rewrite)) == VECDB_OK) {
        pthread_mutex_lock(&collection->write_lock);
        if ((status = collection_writable(collection)) == VECDB_OK && (status = copy_definitions(rewrite)) == VECDB_OK &&
            (status = collection_settle(collection)) == VECDB_OK) {
            rewrite->from = snapshot_retain(collection->latest);
            for (size_t v = 0; seals && v < rewrite->from->view_count; v++)
                if (rewrite->from->views[v].segment->growing)
                    rewrite->from->views[v].segment->closed = true;
        }
        pthread_mutex_unlock(&collection->write_lock);
    }
    if (status != VECDB_OK)
        rewrite_deinit(rewrite);
    return status;
}

/* ------------------------------------------------------------------------------------------------- what to write */

/* Rows of a view to keep, and where they will be told to have gone. */
static vecdb_status make_source(const struct segment_view *view, struct segment_source *out)
{
    uint64_t *keep = NULL;

    *out = (struct segment_source){.segment = view->segment, .row_count = view->row_count};
    if (tombstones_count_first(view->tombstones, view->row_count)) {
        if (!(keep = mem_array_alloc(bitmap_words(view->row_count), sizeof *keep)))
            return error_nomem("flush");
        bitmap_fill(keep, view->row_count);
        tombstones_subtract(view->tombstones, keep, view->row_count);
        out->keep = keep;
    }
    out->row_map = mem_array_alloc(view->row_count + 1, sizeof *out->row_map);
    return out->row_map ? VECDB_OK : error_nomem("flush");
}

/* Views by their first rows' keys: where those before have smaller keys than those after, so has what they become, whose rows
 * then need no order of their keys beside them. Those without rows are anywhere. */
static vecdb_status order_views(const struct snapshot *from, size_t *views, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        size_t moving = views[i], j = i;
        for (int order; j > 0 && from->views[moving].row_count && from->views[views[j - 1]].row_count; j--) {
            struct found before = {.view = (uint32_t)views[j - 1]}, after = {.view = (uint32_t)moving};
            TRY(search_compare_keys(from, &before, &after, &order));
            if (order <= 0)
                break;
            views[j] = views[j - 1];
        }
        views[j] = moving;
    }
    return VECDB_OK;
}

vecdb_status rewrite_add(struct rewrite *rewrite, uint32_t partition, const size_t *views, size_t count)
{
    struct rewrite_group *groups = mem_realloc(rewrite->groups, (rewrite->group_count + 1) * sizeof *groups), *group;

    if (!groups)
        return error_nomem("flush");
    rewrite->groups = groups;
    group = &groups[rewrite->group_count++];
    *group = (struct rewrite_group){.partition = partition};
    group->views = mem_array_alloc(count + 1, sizeof *group->views);
    group->sources = mem_array_zalloc(count + 1, sizeof *group->sources);
    if (!group->views || !group->sources)
        return error_nomem("flush");
    memcpy(group->views, views, count * sizeof *views);
    group->count = count;
    TRY(order_views(rewrite->from, group->views, count));
    for (size_t i = 0; i < count; i++)
        TRY(make_source(&rewrite->from->views[group->views[i]], &group->sources[i]));
    return VECDB_OK;
}

static void group_deinit(struct rewrite *rewrite, struct rewrite_group *group)
{
    struct store *store = rewrite->collection->database->store;
    struct segment_view *view = &group->view;

    file_close(&group->written.unsynced);
    for (size_t i = 0; i < view->index_count; i++)
        index_ref_release(view->indexes[i]);
    mem_free(view->indexes);
    tombstones_release(view->tombstones);
    segment_release(view->segment);
    for (size_t i = 0; i < group->index_file_count; i++) {
        if (!rewrite->published)
            store_discard_file(store, FILE_INDEX, group->index_files[i].file.id);
        mem_free(group->index_files[i].kind);
    }
    if (group->id && !rewrite->published)
        store_discard_file(store, FILE_SEGMENT, group->id);
    for (size_t i = 0; i < group->count; i++) {
        mem_free((void *)(uintptr_t)group->sources[i].keep);
        mem_free(group->sources[i].row_map);
    }
    mem_free(group->index_files);
    mem_free(group->views);
    mem_free(group->sources);
}

void rewrite_deinit(struct rewrite *rewrite)
{
    vecdb_error failure = *error_last(); /* files that cannot be removed are no news */

    for (size_t g = 0; g < rewrite->group_count; g++)
        group_deinit(rewrite, &rewrite->groups[g]);
    for (size_t i = 0; i < rewrite->saved_count; i++)
        if (!rewrite->published)
            store_discard_file(rewrite->collection->database->store, FILE_TOMBSTONES, rewrite->saved[i].tombstones.id);
    for (size_t i = 0; i < rewrite->definition_count; i++)
        index_definition_deinit(&rewrite->definitions[i]);
    for (size_t i = 0; i < rewrite->other_count; i++)
        collection_release(rewrite->others[i]);
    mem_free(rewrite->groups);
    mem_free(rewrite->saved);
    mem_free(rewrite->definitions);
    mem_free(rewrite->others);
    snapshot_release(rewrite->from);
    error_adopt(&failure);
}

/* ------------------------------------------------------------------------------------------------- files */

/* The indexes that the group's sources have of a definition, and where their rows go. */
static vecdb_status find_parts(const struct rewrite *rewrite, const struct rewrite_group *group,
                               const struct index_definition *definition, struct index_parts *parts)
{
    *parts = (struct index_parts){mem_array_alloc(group->count + 1, sizeof *parts->indexes),
                                  mem_array_alloc(group->count + 1, sizeof *parts->row_maps), 0};
    if (!parts->indexes || !parts->row_maps)
        return error_nomem("index");
    for (size_t i = 0; i < group->count; i++) {
        const struct segment_view *view = &rewrite->from->views[group->views[i]];
        for (size_t j = 0; j < view->index_count; j++)
            if (view->indexes[j]->built_by == definition->id && view->indexes[j]->index) {
                struct index *index;
                TRY(deferred_resolve(view->indexes[j]->index, &index));
                if (!index || index->ops != definition->ops)
                    continue;
                parts->indexes[parts->count] = index;
                parts->row_maps[parts->count++] = group->sources[i].row_map;
            }
    }
    return VECDB_OK;
}

static void parts_deinit(struct index_parts *parts)
{
    mem_free(parts->indexes);
    mem_free(parts->row_maps);
}

static vecdb_status write_indexes(struct rewrite *rewrite, struct rewrite_group *group, vecdb_progress progress,
                                  void *context)
{
    struct collection *collection = rewrite->collection;
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.progress = progress;
    options.context = context;
    group->index_files = mem_array_zalloc(rewrite->definition_count + 1, sizeof *group->index_files);
    if (!group->index_files)
        return error_nomem("index");
    for (size_t i = 0; i < rewrite->definition_count; i++) {
        struct manifest_index_file *file = &group->index_files[group->index_file_count];
        struct index_parts parts;
        struct index_ref *ref;
        vecdb_status status = find_parts(rewrite, group, &rewrite->definitions[i], &parts);
        if (status == VECDB_OK)
            status = collection_build_index(collection, rewrite->from, &group->view, &rewrite->definitions[i], &options, &parts,
                                            &ref);
        parts_deinit(&parts);
        if (status != VECDB_OK)
            return status;
        if (!ref)
            continue;
        if ((status = view_set_index(&group->view, ref)) != VECDB_OK) {
            index_ref_release(ref);
            return status;
        }
        TRY(collection_save_index(collection, ref, &rewrite->definitions[i], file));
        group->index_file_count++;
    }
    return VECDB_OK;
}

static vecdb_status write_group(struct rewrite *rewrite, struct rewrite_group *group, vecdb_progress progress,
                                void *context)
{
    struct database *database = rewrite->collection->database;
    const uint8_t *uuid = store_manifest(database->store)->uuid;
    struct segment_write what = {.dir = store_dir(database->store), .uuid = uuid,
                                 .collection_id = rewrite->collection->id, .partition_id = group->partition,
                                 .last_lsn = rewrite->from->lsn, .schema = rewrite->from->schema,
                                 .sources = group->sources, .source_count = group->count,
                                 .sync_later = rewrite->group_count <= SYNC_LATER_GROUPS,
                                 .progress = progress, .progress_context = context};
    struct segment_view *view = &group->view;
    size_t kept = 0;

    for (size_t i = 0; i < group->count; i++)
        kept += view_live_rows(&rewrite->from->views[group->views[i]]);
    if (kept == 0) {
        for (size_t i = 0; i < group->count; i++)
            memset(group->sources[i].row_map, 0xFF, group->sources[i].row_count * sizeof *group->sources[i].row_map);
        return VECDB_OK;
    }
    what.segment_id = group->id = store_new_id(database->store);
    TRY(segment_write(&what, &group->written));
    TRY(segment_open(what.dir, uuid, &group->written.file, what.schema, database->in_heap ? SEGMENT_IN_HEAP : 0,
                     &view->segment));
    view->row_count = view->segment->row_count;
    view->keys_ascend = view->segment->keys_ascend;
    view->partition = group->partition;
    return write_indexes(rewrite, group, progress, context);
}

static bool in_some_group(const struct rewrite *rewrite, size_t view)
{
    for (size_t g = 0; g < rewrite->group_count; g++)
        for (size_t i = 0; i < rewrite->groups[g].count; i++)
            if (rewrite->groups[g].views[i] == view)
                return true;
    return false;
}

/* Deletions that only the log knows, of the segments that stay as they are. */
static vecdb_status save_tombstones(struct rewrite *rewrite)
{
    struct store *store = rewrite->collection->database->store;
    const struct snapshot *from = rewrite->from;

    rewrite->saved = mem_array_zalloc(from->view_count + 1, sizeof *rewrite->saved);
    if (!rewrite->saved)
        return error_nomem("flush");
    for (size_t v = 0; v < from->view_count; v++) {
        const struct segment_view *view = &from->views[v];
        struct manifest_segment *saved = &rewrite->saved[rewrite->saved_count];
        struct container_id file;
        if (view->segment->growing || in_some_group(rewrite, v) ||
            tombstones_count(view->tombstones) == view->saved_tombstones)
            continue;
        saved->tombstones.id = store_new_id(store);
        TRY(tombstones_save(view->tombstones, store_dir(store), store_manifest(store)->uuid, saved->tombstones.id,
                            view->segment->id, &file));
        saved->file.id = view->segment->id;
        saved->tombstones.size = file.size;
        saved->tombstones.checksum = file.checksum;
        saved->deleted_count = tombstones_count(view->tombstones);
        rewrite->saved_count++;
    }
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- in place */

/* Where a view of the state we started from is now; SIZE_MAX when it is gone. */
static size_t find_view(const struct snapshot *snapshot, const struct segment *segment)
{
    for (size_t v = 0; v < snapshot->view_count; v++)
        if (snapshot->views[v].segment == segment)
            return v;
    return SIZE_MAX;
}

/* Rows that were deleted while we wrote, as rows of the new segment. */
static vecdb_status late_deletions(struct rewrite *rewrite, struct rewrite_group *group, const struct snapshot *now)
{
    struct buf rows = {0};
    vecdb_status status = VECDB_OK;

    for (size_t i = 0; i < group->count && status == VECDB_OK; i++) {
        const struct segment_view *before = &rewrite->from->views[group->views[i]];
        const struct segment_view *view = &now->views[find_view(now, before->segment)];
        if (view->tombstones == before->tombstones || PLANTED(12))
            continue;
        for (size_t row = 0; row < before->row_count && status == VECDB_OK; row++)
            if (group->sources[i].row_map[row] != UINT32_MAX && tombstones_get(view->tombstones, row))
                status = buf_append(&rows, &group->sources[i].row_map[row], sizeof(uint32_t));
    }
    if (status == VECDB_OK && rows.size)
        status = tombstones_with(NULL, group->view.row_count, (const uint32_t *)(const void *)rows.data,
                                 rows.size / sizeof(uint32_t), &group->view.tombstones);
    buf_deinit(&rows);
    return status;
}

/* Whether all of a group's sources are still there; a truncate or a dropped partition takes them away, and the group's new
 * segment with them. Growing segments cannot have got rows meanwhile, they are closed. */
static bool still_there(const struct rewrite *rewrite, const struct rewrite_group *group, const struct snapshot *now)
{
    for (size_t i = 0; i < group->count; i++)
        if (find_view(now, group->sources[i].segment) == SIZE_MAX)
            return false;
    return true;
}

/* The state with new views in place of old ones. */
static vecdb_status next_state(struct rewrite *rewrite, const bool *valid, struct snapshot **out)
{
    struct collection *collection = rewrite->collection;
    const struct snapshot *now = collection->latest;
    bool *keep = mem_array_zalloc(now->view_count + 1, sizeof *keep);
    size_t extra = 0, at = 0;
    vecdb_status status = VECDB_OK;

    if (!keep)
        return error_nomem("flush");
    for (size_t v = 0; v < now->view_count; v++)
        keep[v] = true;
    for (size_t g = 0; g < rewrite->group_count && status == VECDB_OK; g++) {
        struct rewrite_group *group = &rewrite->groups[g];
        if (!valid[g])
            continue;
        for (size_t i = 0; i < group->count; i++)
            keep[find_view(now, group->sources[i].segment)] = false;
        if (!group->view.segment)
            continue;
        status = late_deletions(rewrite, group, now);
        extra++;
    }
    for (size_t v = 0; v < now->view_count; v++)
        at += keep[v];
    if (status == VECDB_OK)
        status = snapshot_select(now, keep, extra, out);
    for (size_t g = 0; g < rewrite->group_count && status == VECDB_OK; g++)
        if (valid[g] && rewrite->groups[g].view.segment) {
            (*out)->views[at++] = rewrite->groups[g].view; /* its references too */
            rewrite->groups[g].view = (struct segment_view){0};
        }
    for (size_t s = 0; s < rewrite->saved_count && status == VECDB_OK; s++)
        for (size_t v = 0; v < (*out)->view_count; v++)
            if (!(*out)->views[v].segment->growing && (*out)->views[v].segment->id == rewrite->saved[s].file.id)
                (*out)->views[v].saved_tombstones = rewrite->saved[s].deleted_count;
    mem_free(keep);
    return status;
}

static vecdb_status describe_group(struct rewrite *rewrite, const struct rewrite_group *group,
                                   struct manifest_collection *described)
{
    struct manifest_segment segment = {.file = {group->written.file.file_id, group->written.file.size,
                                                group->written.file.checksum},
                                       .partition_id = group->partition,
                                       .row_count = group->written.row_count};

    for (size_t i = 0; i < group->count; i++)
        if (!group->sources[i].segment->growing)
            manifest_remove_segment(described, group->sources[i].segment->id);
    if (!group->id)
        return VECDB_OK;
    TRY(manifest_add_segment(described, &segment));
    for (size_t i = 0; i < group->index_file_count; i++) {
        const struct manifest_index_file *file = &group->index_files[i];
        bool defined = false;
        for (size_t d = 0; d < described->index_count; d++)
            defined |= described->indexes[d].id == file->index_id;
        if (defined)
            TRY(manifest_set_index_file(manifest_find_segment(described, group->id), file->index_id, file->kind,
                                        file->file));
    }
    return VECDB_OK;
}

/* How far the log is not needed by one of the other collections: its own checkpoint, or all of the log when every write to it
 * is in segments. A collection that is being written to just now counts as not having got further. */
static uint64_t checkpoint_of(const struct rewrite *rewrite, const struct manifest_collection *described, uint64_t all)
{
    uint64_t checkpoint = described->checkpoint_lsn;

    for (size_t i = 0; i < rewrite->other_count; i++) {
        struct collection *other = rewrite->others[i];
        if (other->id != described->id || other == rewrite->collection || pthread_mutex_trylock(&other->write_lock) != 0)
            continue;
        if (other->latest->lsn <= other->checkpoint_lsn)
            checkpoint = all;
        pthread_mutex_unlock(&other->write_lock);
    }
    return checkpoint;
}

static void describe_checkpoint(const struct rewrite *rewrite, struct manifest *draft)
{
    uint64_t lsn = rewrite->from->lsn, lowest = UINT64_MAX;

    for (size_t i = 0; i < draft->collection_count; i++) {
        struct manifest_collection *described = &draft->collections[i];
        uint64_t checkpoint = described->id == rewrite->collection->id ? lsn : checkpoint_of(rewrite, described, lsn);
        if (checkpoint < lowest)
            lowest = checkpoint;
    }
    if (lowest > draft->checkpoint_lsn && lowest != UINT64_MAX)
        draft->checkpoint_lsn = lowest;
}

/* Segments that a truncate took away before we started: once the log is not needed up to there, nothing else says so. */
static void describe_truncated(const struct rewrite *rewrite, struct manifest_collection *described)
{
    for (size_t i = described->segment_count; i-- > 0;) {
        uint64_t id = described->segments[i].file.id;
        bool there = false;
        for (size_t v = 0; v < rewrite->from->view_count; v++)
            there |= !rewrite->from->views[v].segment->growing && rewrite->from->views[v].segment->id == id;
        if (!there)
            manifest_remove_segment(described, id);
    }
}

static vecdb_status describe(struct rewrite *rewrite, const bool *valid, struct manifest *draft,
                             struct manifest_collection *described)
{
    if (rewrite->seals)
        describe_truncated(rewrite, described);
    for (size_t g = 0; g < rewrite->group_count; g++)
        if (valid[g])
            TRY(describe_group(rewrite, &rewrite->groups[g], described));
    for (size_t i = 0; i < rewrite->saved_count; i++) {
        struct manifest_segment *segment = manifest_find_segment(described, rewrite->saved[i].file.id);
        if (!segment)
            continue;
        segment->tombstones = rewrite->saved[i].tombstones;
        segment->deleted_count = rewrite->saved[i].deleted_count;
    }
    described->next_auto_id = (uint64_t)rewrite->collection->next_auto_id;
    if (!rewrite->seals)
        return VECDB_OK;
    if (rewrite->from->lsn > described->checkpoint_lsn)
        described->checkpoint_lsn = rewrite->from->lsn;
    describe_checkpoint(rewrite, draft);
    return VECDB_OK;
}

/* Files that turned out not to be wanted after all are not the manifest's. */
static void discard_unwanted(struct rewrite *rewrite, const bool *valid)
{
    struct store *store = rewrite->collection->database->store;
    const struct manifest_collection *described = manifest_find(store_manifest(store), rewrite->collection->id);

    for (size_t g = 0; g < rewrite->group_count; g++) {
        struct rewrite_group *group = &rewrite->groups[g];
        if (valid[g] || !group->id)
            continue;
        store_discard_file(store, FILE_SEGMENT, group->id);
        for (size_t i = 0; i < group->index_file_count; i++)
            store_discard_file(store, FILE_INDEX, group->index_files[i].file.id);
    }
    for (size_t i = 0; i < rewrite->saved_count && described; i++)
        if (!manifest_find_segment(described, rewrite->saved[i].file.id))
            store_discard_file(store, FILE_TOMBSTONES, rewrite->saved[i].tombstones.id);
}

static vecdb_status put_in_place(struct rewrite *rewrite, bool *valid)
{
    struct collection *collection = rewrite->collection;
    struct manifest_collection *described;
    struct snapshot *next = NULL;
    struct manifest *draft;
    vecdb_status status;

    TRY(collection_alive(collection));
    TRY(collection_settle(collection));
    for (size_t g = 0; g < rewrite->group_count; g++)
        valid[g] = still_there(rewrite, &rewrite->groups[g], collection->latest);
    status = next_state(rewrite, valid, &next);
    if (status == VECDB_OK)
        status = collection_begin_change(collection, &draft, &described);
    if (status == VECDB_OK) {
        status = describe(rewrite, valid, draft, described);
        if (status == VECDB_OK)
            status = store_publish(collection->database->store);
        else
            store_abandon(collection->database->store);
        /* after a failure that leaves open what the disk has, files must stay */
        rewrite->published = status == VECDB_OK || status == VECDB_ERR_POISONED;
    }
    if (status != VECDB_OK) {
        snapshot_release(next);
        return status;
    }
    collection_publish(collection, next);
    if (rewrite->seals && rewrite->from->lsn > collection->checkpoint_lsn)
        collection->checkpoint_lsn = rewrite->from->lsn;
    return VECDB_OK;
}

vecdb_status rewrite_write(struct rewrite *rewrite, vecdb_progress progress, void *context)
{
    vecdb_status status = VECDB_OK;

    for (size_t g = 0; g < rewrite->group_count && status == VECDB_OK; g++)
        status = write_group(rewrite, &rewrite->groups[g], progress, context);
    return status == VECDB_OK && rewrite->seals ? save_tombstones(rewrite) : status;
}

vecdb_status rewrite_publish(struct rewrite *rewrite)
{
    struct collection *collection = rewrite->collection;
    bool *valid = mem_array_zalloc(rewrite->group_count + 1, sizeof *valid);
    vecdb_status status = valid ? VECDB_OK : error_nomem("flush");

    for (size_t g = 0; g < rewrite->group_count && status == VECDB_OK; g++)
        status = segment_sync(&rewrite->groups[g].written);
    if (status == VECDB_OK) {
        pthread_mutex_lock(&collection->write_lock);
        status = put_in_place(rewrite, valid);
        if (status == VECDB_OK)
            discard_unwanted(rewrite, valid);
        pthread_mutex_unlock(&collection->write_lock);
    }
    mem_free(valid);
    return status;
}

vecdb_status rewrite_run(struct rewrite *rewrite, vecdb_progress progress, void *context)
{
    TRY(rewrite_write(rewrite, progress, context));
    return rewrite_publish(rewrite);
}
