#include "query/snapshot.h"

#include "base/mem.h"

#include <string.h>

static struct index_ref *ref_create(size_t rows, size_t bytes, struct segment *segment, size_t field, uint64_t built_by)
{
    struct index_ref *ref = mem_zalloc(sizeof *ref);

    if (!ref)
        return NULL;
    atomic_init(&ref->references, 1);
    atomic_init(&ref->covered, rows);
    atomic_init(&ref->reached, rows);
    atomic_init(&ref->bytes, bytes);
    ref->segment = segment;
    ref->field = field;
    ref->built_by = built_by;
    segment_retain(segment);
    return ref;
}

vecdb_status index_ref_create(struct index *index, struct segment *segment, size_t field, uint64_t built_by,
                              struct index_ref **out)
{
    if (!(*out = ref_create(index->vectors.row_count, index->ops->memory(index), segment, field, built_by))) {
        index->ops->free(index);
        return error_nomem("index");
    }
    (*out)->index = index;
    return VECDB_OK;
}

vecdb_status index_ref_create_scalar(struct scalar_index *index, struct segment *segment, size_t field, uint64_t built_by,
                                     struct index_ref **out)
{
    if (!(*out = ref_create(scalar_index_rows(index), scalar_index_size(index), segment, field, built_by))) {
        scalar_index_free(index);
        return error_nomem("index");
    }
    (*out)->scalar = index;
    return VECDB_OK;
}

void index_ref_release(struct index_ref *ref)
{
    if (!ref || atomic_fetch_sub_explicit(&ref->references, 1, memory_order_acq_rel) != 1)
        return;
    if (ref->index)
        ref->index->ops->free(ref->index);
    scalar_index_free(ref->scalar);
    index_file_close(ref->file);
    segment_release(ref->segment);
    mem_free(ref->present);
    mem_free(ref);
}

const char *index_ref_kind(const struct index_ref *ref)
{
    return ref->index ? ref->index->ops->name : scalar_index_kind(ref->scalar);
}

size_t index_ref_memory(const struct index_ref *ref)
{
    return atomic_load_explicit(&ref->bytes, memory_order_relaxed);
}

size_t index_ref_rows(const struct index_ref *ref)
{
    return atomic_load_explicit(&ref->covered, memory_order_acquire);
}

static void view_deinit(struct segment_view *view)
{
    for (size_t i = 0; i < view->index_count; i++)
        index_ref_release(view->indexes[i]);
    mem_free(view->indexes);
    tombstones_release(view->tombstones);
    segment_release(view->segment);
}

void snapshot_release(struct snapshot *snapshot)
{
    if (!snapshot || atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < snapshot->view_count; i++)
        view_deinit(&snapshot->views[i]);
    mem_free(snapshot);
}

static vecdb_status view_copy(const struct segment_view *from, struct segment_view *to)
{
    struct index_ref **indexes = NULL;

    if (from->index_count) {
        indexes = mem_dup(from->indexes, from->index_count * sizeof(struct index_ref *));
        if (!indexes)
            return error_nomem("snapshot");
        for (size_t i = 0; i < from->index_count; i++)
            index_ref_retain(indexes[i]);
    }
    *to = *from;
    to->indexes = indexes;
    segment_retain(to->segment);
    tombstones_retain(to->tombstones);
    return VECDB_OK;
}

vecdb_status snapshot_copy(const struct snapshot *from, const struct schema *schema, size_t view_count,
                           struct snapshot **out)
{
    size_t size = sizeof(struct snapshot) + view_count * sizeof(struct segment_view);
    struct snapshot *snapshot = mem_zalloc(size);
    size_t copied = from ? from->view_count : 0;

    *out = NULL;
    if (!snapshot)
        return error_nomem("snapshot");
    atomic_init(&snapshot->references, 1);
    snapshot->schema = schema;
    snapshot->lsn = from ? from->lsn : 0;
    for (size_t i = 0; i < copied && i < view_count; i++) {
        vecdb_status status = view_copy(&from->views[i], &snapshot->views[i]);
        if (status != VECDB_OK) {
            snapshot->view_count = i;
            snapshot_release(snapshot);
            return status;
        }
    }
    snapshot->view_count = view_count;
    *out = snapshot;
    return VECDB_OK;
}

vecdb_status snapshot_select(const struct snapshot *from, const bool *keep, size_t extra, struct snapshot **out)
{
    struct snapshot *snapshot;
    size_t kept = 0, at = 0;

    *out = NULL;
    for (size_t i = 0; i < from->view_count; i++)
        kept += keep[i];
    snapshot = mem_zalloc(sizeof *snapshot + (kept + extra) * sizeof *snapshot->views);
    if (!snapshot)
        return error_nomem("snapshot");
    atomic_init(&snapshot->references, 1);
    snapshot->schema = from->schema;
    snapshot->lsn = from->lsn;
    for (size_t i = 0; i < from->view_count; i++) {
        vecdb_status status = keep[i] ? view_copy(&from->views[i], &snapshot->views[at]) : VECDB_OK;
        if (status != VECDB_OK) {
            snapshot->view_count = at;
            snapshot_release(snapshot);
            return status;
        }
        at += keep[i];
    }
    snapshot->view_count = kept + extra;
    *out = snapshot;
    return VECDB_OK;
}

void view_set_tombstones(struct segment_view *view, struct tombstones *tombstones)
{
    tombstones_release(view->tombstones);
    view->tombstones = tombstones;
}

vecdb_status view_set_index(struct segment_view *view, struct index_ref *ref)
{
    struct index_ref **indexes;

    for (size_t i = 0; i < view->index_count; i++)
        if (view->indexes[i]->built_by == ref->built_by) {
            index_ref_release(view->indexes[i]);
            view->indexes[i] = ref;
            return VECDB_OK;
        }
    indexes = mem_realloc(view->indexes, (view->index_count + 1) * sizeof(struct index_ref *));
    if (!indexes)
        return error_nomem("snapshot");
    view->indexes = indexes;
    view->indexes[view->index_count++] = ref;
    return VECDB_OK;
}

void view_drop_index(struct segment_view *view, uint64_t built_by)
{
    for (size_t i = 0; i < view->index_count; i++)
        if (view->indexes[i]->built_by == built_by) {
            index_ref_release(view->indexes[i]);
            view->indexes[i] = view->indexes[--view->index_count];
            return;
        }
}

void snapshot_count(struct snapshot *snapshot)
{
    snapshot->live_rows = 0;
    for (size_t i = 0; i < snapshot->view_count; i++)
        snapshot->live_rows += view_live_rows(&snapshot->views[i]);
}

struct index_ref *view_index(const struct segment_view *view, size_t segment_field)
{
    for (size_t i = 0; i < view->index_count; i++)
        if (view->indexes[i]->field == segment_field && view->indexes[i]->index)
            return view->indexes[i];
    return NULL;
}

size_t view_field(const struct segment_view *view, const struct schema *schema, size_t field)
{
    const struct schema *own = view->segment->schema;
    const char *name = schema->fields[field].name;

    if (own == schema || (field < own->field_count && strcmp(own->fields[field].name, name) == 0))
        return field;
    return schema_find(own, name, strlen(name));
}

size_t view_block_rows(const struct segment_view *view, size_t block)
{
    size_t first = block * view->segment->block_rows;

    if (first >= view->row_count)
        return 0;
    return view->row_count - first < view->segment->block_rows ? view->row_count - first : view->segment->block_rows;
}

/* A block of a field that did not exist when the segment was made. */
static vecdb_status absent_column(const struct field *field, size_t row_count, struct column_scratch *scratch,
                                  struct column *out)
{
    struct buf *buf = &scratch->bytes;
    size_t words = bitmap_words(row_count) * 8, offsets_at, data_at;

    buf->size = 0;
    TRY(buf_append(buf, NULL, words)); /* no row is valid */
    offsets_at = buf->size;
    if (!field->width)
        for (size_t i = 0; i <= row_count; i++) {
            uint32_t offset = (uint32_t)(i * field->default_size);
            TRY(buf_append(buf, &offset, sizeof offset));
        }
    TRY(buf_align(buf, 16));
    data_at = buf->size;
    for (size_t i = 0; i < row_count; i++)
        TRY(field->default_value ? buf_append(buf, field->default_value, field->default_size)
                                 : buf_append(buf, NULL, field->width));
    TRY(buf_append(buf, NULL, 64));
    *out = (struct column){.type = field->type,
                           .element_type = field->element_type,
                           .dim = field->dim,
                           .width = field->width,
                           .data = buf->data + data_at,
                           .offsets = field->width ? NULL : (const uint32_t *)(const void *)(buf->data + offsets_at),
                           .valid = field->default_value ? NULL : (const uint64_t *)(const void *)buf->data,
                           .row_count = row_count};
    return VECDB_OK;
}

vecdb_status view_column(const struct segment_view *view, const struct schema *schema, size_t field, size_t block,
                         struct column_scratch *scratch, struct column *out)
{
    size_t own = view_field(view, schema, field), row_count = view_block_rows(view, block);

    if (own == SCHEMA_NONE)
        return absent_column(&schema->fields[field], row_count, scratch, out);
    return view->segment->ops->column(view->segment, own, block, row_count, scratch, out);
}

/* Keys ascend, and as many lie between the smallest and the largest of a block as there are rows: then a row's place tells its key,
 * and the pages that keys are on stay on the disk. */
static bool keys_are_counted(const struct segment_view *view, size_t field, size_t block, int64_t *low)
{
    struct segment *segment = view->segment;
    struct column_stats stats;

    if (segment->growing || !segment->keys_ascend || !segment->ops->stats(segment, field, block, &stats) || !stats.has_range ||
        stats.null_count)
        return false;
    *low = stats.low.integer;
    return (uint64_t)stats.high.integer - (uint64_t)stats.low.integer == view_block_rows(view, block) - 1;
}

vecdb_status view_int64_key(const struct segment_view *view, const struct schema *schema, uint32_t row, struct key_reader *reader,
                            int64_t *key)
{
    size_t block_rows = view->segment->block_rows, block = row / block_rows, at = row % block_rows;

    if (reader->view != view || reader->block != block) {
        reader->view = NULL;
        reader->counted = keys_are_counted(view, view_field(view, schema, schema->primary), block, &reader->low);
        if (!reader->counted)
            TRY(view_column(view, schema, schema->primary, block, &reader->scratch, &reader->column));
        reader->view = view;
        reader->block = block;
    }
    *key = reader->counted ? reader->low + (int64_t)at : (int64_t)load_u64(reader->column.data + at * 8);
    return VECDB_OK;
}

static vecdb_status read_rows(void *context, size_t field, size_t block, size_t row_count, struct column_scratch *scratch,
                              struct column *out)
{
    struct segment *segment = context;

    return segment->ops->column(segment, field, block, row_count, scratch, out);
}

void segment_vectors(struct segment *segment, size_t field, size_t row_count, struct vectors *out)
{
    const struct field *described = &segment->schema->fields[field];

    *out = (struct vectors){.type = described->type,
                            .dim = described->dim,
                            .width = described->width,
                            .stride = described->width,
                            .row_count = row_count};
    if (type_is_dense(described->type)) {
        out->blocks = segment->ops->vector_blocks(segment, field, &out->block_shift);
        return;
    }
    out->block_shift = (unsigned)__builtin_ctzll(segment->block_rows);
    out->columns = (struct vector_columns){read_rows, segment, field};
}

bool view_vectors(const struct segment_view *view, const struct schema *schema, size_t field, struct vectors *out)
{
    size_t own = view_field(view, schema, field);

    if (own == SCHEMA_NONE)
        return false;
    segment_vectors(view->segment, own, view->row_count, out);
    return true;
}

vecdb_status snapshot_find(const struct snapshot *snapshot, const void *key, size_t key_size, bool *found,
                           size_t *view, uint32_t *row)
{
    *found = false;
    for (size_t i = snapshot->view_count; i-- > 0;) {
        const struct segment_view *at = &snapshot->views[i];
        bool here;
        uint32_t row_here;
        if (at->row_count == 0)
            continue;
        TRY(at->segment->ops->find(at->segment, key, key_size, at->row_count, &here, &row_here));
        if (here && !tombstones_get(at->tombstones, row_here)) {
            *found = true;
            *view = i;
            *row = row_here;
            return VECDB_OK;
        }
    }
    return VECDB_OK;
}
