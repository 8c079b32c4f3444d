/* Reading the sources of a segment that is written, and what all its fields begin and end with. */
#include "storage/segment_writing.h"

#include "base/mem.h"
#include "storage/segment_file.h"

vecdb_status writing_progress(const struct writing *writer, size_t f, size_t row)
{
    const struct segment_write *what = writer->what;

    if (what->progress && !what->progress(what->progress_context, "write segment", (uint64_t)f * writer->row_count + row,
                                          (uint64_t)what->schema->field_count * writer->row_count))
        return error_set(VECDB_ERR_CANCELLED, "writing segment %llu: stopped by the progress callback",
                         (unsigned long long)what->segment_id);
    return VECDB_OK;
}

size_t writing_run(const struct writing *writer, size_t row, size_t limit)
{
    struct origin first = writer->origins[row];
    size_t block_rows = writer->what->sources[first.source].segment->block_rows, n = 1;
    size_t most = block_rows - first.row % block_rows;

    if (most > limit)
        most = limit;
    if (most > writer->row_count - row)
        most = writer->row_count - row;
    while (n < most && writer->origins[row + n].source == first.source && writer->origins[row + n].row == first.row + n)
        n++;
    return n;
}

vecdb_status writing_begin_field(struct writing *writer, size_t f)
{
    const struct field *field = writing_field(writer, f);

    for (size_t s = 0; s < writer->what->source_count; s++) {
        struct segment *segment = writer->what->sources[s].segment;
        size_t own = schema_find(segment->schema, field->name, strlen(field->name));
        writer->source_fields[s] = own;
        if (own == SCHEMA_NONE) {
            if (!field->default_value && !(field->flags & VECDB_NULLABLE))
                return error_set(VECDB_ERR_INVALID, "segment %llu has no field %s, which must have a value",
                                 (unsigned long long)segment->id, field->name);
            continue;
        }
        if (segment->schema->fields[own].type != field->type || segment->schema->fields[own].width != field->width ||
            segment->schema->fields[own].element_type != field->element_type)
            return error_set(VECDB_ERR_TYPE, "field %s has another type in segment %llu", field->name,
                             (unsigned long long)segment->id);
        /* vectors are read without checks below, so that rot would be copied under a fresh checksum */
        if (type_is_dense(field->type) && segment_is_file(segment) && !writer->what->salvage)
            TRY(segment_check_field(segment, own));
    }
    bitmap_fill(writer->valid, writer->row_count);
    writer->stats.size = writer->entries.size = 0;
    writer->packed_bytes = 0;
    writer->view_source = SIZE_MAX;
    return VECDB_OK;
}

vecdb_status writing_show(struct writing *writer, struct origin origin, size_t *at)
{
    const struct segment_source *source = &writer->what->sources[origin.source];
    size_t block_rows = source->segment->block_rows, block = origin.row / block_rows, rows;

    *at = origin.row % block_rows;
    if (writer->view_source == origin.source && writer->view_block == block)
        return VECDB_OK;
    rows = source->row_count - block * block_rows;
    writer->view_source = SIZE_MAX;
    TRY(source->segment->ops->column(source->segment, writer->source_fields[origin.source], block,
                                     rows < block_rows ? rows : block_rows, &writer->scratch, &writer->view));
    writer->view_source = origin.source;
    writer->view_block = block;
    return VECDB_OK;
}

vecdb_status writing_visit(struct writing *writer, size_t first, size_t end,
                           void (*visit)(struct writing *writer, size_t row, const uint8_t *value, size_t size, bool valid,
                                         void *context),
                           void *context, const struct field *field)
{
    for (size_t s = 0; s < writer->what->source_count; s++) {
        const struct segment_source *source = &writer->what->sources[s];
        const uint32_t *to = writer->inverse[s];
        size_t block_rows = source->segment->block_rows;
        for (size_t block_first = 0; block_first < source->row_count; block_first += block_rows) {
            size_t block_end = block_first + block_rows < source->row_count ? block_first + block_rows : source->row_count;
            for (size_t r = block_first; r < block_end; r++) {
                const uint8_t *value = field->default_value;
                size_t size = value ? field->default_size : 0, at;
                bool valid = value != NULL;
                if (to[r] < first || to[r] >= end) /* NO_ROW too */
                    continue;
                if (writer->source_fields[s] != SCHEMA_NONE) {
                    TRY(writing_show(writer, (struct origin){(uint32_t)s, (uint32_t)r}, &at));
                    value = column_bytes(&writer->view, at, &size);
                    valid = column_is_valid(&writer->view, at);
                }
                visit(writer, to[r], value, size, valid, context);
            }
        }
    }
    return VECDB_OK;
}

vecdb_status writing_put_stats(struct writing *writer, const struct range *range, size_t nulls)
{
    uint8_t entry[SEGMENT_STATS_SIZE] = {0};

    store_u32(entry, (uint32_t)nulls);
    if (range && range->any && !range->spoilt) {
        store_u32(entry + 4, 1);
        memcpy(entry + 8, &range->low, 8);
        memcpy(entry + 16, &range->high, 8);
    }
    return buf_append(&writer->stats, entry, sizeof entry);
}

vecdb_status writing_end_field(struct writing *writer, size_t f)
{
    const struct field *field = writing_field(writer, f);
    struct field_written *written = &writer->fields[f];
    size_t words = bitmap_words(writer->row_count);

    if (written->null_count && !written->empty)
        TRY(container_section_put(&writer->container, SECTION_VALID, (uint32_t)f, 8, words, writer->valid, words * 8));
    if (type_is_dense(field->type))
        return VECDB_OK;
    return container_section_put(&writer->container, SECTION_STATS, (uint32_t)f, SEGMENT_STATS_SIZE,
                                 writer->stats.size / SEGMENT_STATS_SIZE, writer->stats.data, writer->stats.size);
}

vecdb_status writing_find_nulls(struct writing *writer, size_t f, bool *empty)
{
    *empty = false;
    if (!(writing_field(writer, f)->flags & VECDB_NULLABLE) || writer->row_count == 0)
        return VECDB_OK;
    for (size_t s = 0; s < writer->what->source_count; s++) {
        const struct segment_source *source = &writer->what->sources[s];
        for (size_t row = 0, at; row < source->row_count; row++) {
            if (source->keep && (row = bitmap_next(source->keep, source->row_count, row)) == source->row_count)
                break;
            if (writer->source_fields[s] == SCHEMA_NONE) {
                if (writing_field(writer, f)->default_value)
                    return VECDB_OK;
                break;
            }
            TRY(writing_show(writer, (struct origin){(uint32_t)s, (uint32_t)row}, &at));
            if (column_is_valid(&writer->view, at))
                return VECDB_OK;
        }
    }
    *empty = true;
    return VECDB_OK;
}

vecdb_status writing_put_empty(struct writing *writer, size_t f)
{
    writer->fields[f] = (struct field_written){.empty = true, .null_count = writer->row_count};
    memset(writer->valid, 0, bitmap_words(writer->row_count) * 8);
    for (size_t first = 0; first < writer->row_count; first += writer->block_rows)
        TRY(writing_put_stats(writer, NULL,
                      first + writer->block_rows < writer->row_count ? writer->block_rows : writer->row_count - first));
    return writing_end_field(writer, f);
}
