/* Fields of fixed width: scalars, with the range of each block, and vectors. */
#include "storage/segment_writing.h"

#include "base/mem.h"

#include <math.h>

static void range_add(struct range *range, vecdb_type type, const uint8_t *value)
{
    if (type == VECDB_TYPE_FLOAT || type == VECDB_TYPE_DOUBLE) {
        double real;
        float narrow;
        if (type == VECDB_TYPE_DOUBLE)
            memcpy(&real, value, sizeof real);
        else
            memcpy(&narrow, value, sizeof narrow), real = narrow;
        if (isnan(real))
            range->spoilt = true;
        if (!range->any || real < range->low.real)
            range->low.real = real;
        if (!range->any || real > range->high.real)
            range->high.real = real;
    } else {
        int64_t integer = type == VECDB_TYPE_INT64   ? (int64_t)load_u64(value)
                          : type == VECDB_TYPE_INT32 ? (int32_t)load_u32(value)
                          : type == VECDB_TYPE_INT16 ? (int16_t)load_u16(value)
                                                     : (int8_t)*value;
        if (!range->any || integer < range->low.integer)
            range->low.integer = integer;
        if (!range->any || integer > range->high.integer)
            range->high.integer = integer;
    }
    range->any = true;
}

/* Default, or zeros, for `count` rows whose source lacks the field. */
static vecdb_status write_absent(struct writing *writer, const struct field *field, size_t row, size_t count,
                                 struct range *range)
{
    for (size_t i = 0; i < count; i++) {
        if (field->default_value) {
            TRY(container_section_write(&writer->container, field->default_value, field->width));
            if (range)
                range_add(range, field->type, field->default_value);
        } else {
            static const uint8_t zeros[4096];
            bitmap_clear(writer->valid, row + i);
            for (size_t done = 0, n; done < field->width; done += n) {
                n = field->width - done < sizeof zeros ? field->width - done : sizeof zeros;
                TRY(container_section_write(&writer->container, zeros, n));
            }
        }
    }
    return VECDB_OK;
}

/* Values of one block of new rows, whose missing ones are known. */
static vecdb_status end_scalar_block(struct writing *writer, size_t f, size_t first, size_t end, const uint8_t *values,
                                     struct range *range)
{
    const struct field *field = writing_field(writer, f);

    for (size_t row = first; values && row < end; row++, values += field->width) {
        if (bitmap_get(writer->valid, row))
            range_add(range, field->type, values);
        if (f == writer->what->schema->primary)
            writer->keys[row] = load_u64(values);
    }
    return writing_put_stats(writer, range, end - first - bitmap_count(writer->valid + first / 64, end - first));
}

static vecdb_status write_scalars_in_order(struct writing *writer, size_t f)
{
    const struct field *field = writing_field(writer, f);
    bool primary = f == writer->what->schema->primary;

    for (size_t first = 0; first < writer->row_count; first += writer->block_rows) {
        size_t end = first + writer->block_rows < writer->row_count ? first + writer->block_rows : writer->row_count;
        struct range range = {0};
        TRY(writing_progress(writer, f, first));
        for (size_t row = first, n; row < end; row += n) {
            struct origin origin = writer->origins[row];
            const uint8_t *values;
            size_t at;
            n = writing_run(writer, row, end - row);
            if (writer->source_fields[origin.source] == SCHEMA_NONE) {
                TRY(write_absent(writer, field, row, n, &range));
                continue;
            }
            TRY(writing_show(writer, origin, &at));
            values = writer->view.data + at * field->width;
            for (size_t i = 0; i < n; i++) {
                if (!column_is_valid(&writer->view, at + i))
                    bitmap_clear(writer->valid, row + i);
                else
                    range_add(&range, field->type, values + i * field->width);
                if (primary)
                    writer->keys[row + i] = load_u64(values + i * field->width);
            }
            TRY(container_section_write(&writer->container, values, n * field->width));
        }
        TRY(end_scalar_block(writer, f, first, end, NULL, &range));
    }
    return VECDB_OK;
}

struct gathered {
    uint8_t *values;
    size_t width;
};

static void gather_value(struct writing *writer, size_t row, const uint8_t *value, size_t size, bool valid, void *context)
{
    struct gathered *gathered = context;

    if (valid)
        memcpy(gathered->values + row * gathered->width, value, gathered->width);
    else
        bitmap_clear(writer->valid, row);
}

/* Another order: the whole column is brought together in memory, at most 8 bytes a row. */
static vecdb_status write_scalars_reordered(struct writing *writer, size_t f)
{
    const struct field *field = writing_field(writer, f);
    struct gathered gathered = {mem_array_zalloc(writer->row_count ? writer->row_count : 1, field->width), field->width};
    vecdb_status status = VECDB_OK;

    if (!gathered.values)
        return error_nomem("writing a segment");
    status = writing_visit(writer, 0, writer->row_count, gather_value, &gathered, field);
    for (size_t first = 0; first < writer->row_count && status == VECDB_OK; first += writer->block_rows) {
        size_t end = first + writer->block_rows < writer->row_count ? first + writer->block_rows : writer->row_count;
        const uint8_t *values = gathered.values + first * field->width;
        struct range range = {0};
        if ((status = writing_progress(writer, f, first)) == VECDB_OK &&
            (status = container_section_write(&writer->container, values, (end - first) * field->width)) == VECDB_OK)
            status = end_scalar_block(writer, f, first, end, values, &range);
    }
    mem_free(gathered.values);
    return status;
}

static vecdb_status write_scalars(struct writing *writer, size_t f)
{
    return writer->inverse ? write_scalars_reordered(writer, f) : write_scalars_in_order(writer, f);
}

static vecdb_status write_vectors(struct writing *writer, size_t f)
{
    const struct field *field = writing_field(writer, f);
    size_t source_count = writer->what->source_count;

    for (size_t s = 0; s < source_count; s++) { /* rows without a value: from the source's rows to ours */
        const struct segment_source *source = &writer->what->sources[s];
        size_t own = writer->source_fields[s];
        uint64_t *present;
        if (own == SCHEMA_NONE || !(source->segment->schema->fields[own].flags & VECDB_NULLABLE) || !source->row_count)
            continue;
        if (!(present = mem_array_alloc(bitmap_words(source->row_count), sizeof *present)))
            return error_nomem("writing a segment");
        bitmap_fill(present, source->row_count);
        source->segment->ops->and_present(source->segment, own, source->row_count, present);
        for (size_t row = 0; row < writer->row_count; row++)
            if (writer->origins[row].source == s && !bitmap_get(present, writer->origins[row].row))
                bitmap_clear(writer->valid, row);
        mem_free(present);
    }
    for (size_t row = 0, n; row < writer->row_count; row += n) {
        struct origin origin = writer->origins[row];
        struct segment *segment = writer->what->sources[origin.source].segment;
        const uint8_t *const *blocks;
        unsigned shift;
        size_t within;
        if (row % 1024 == 0)
            TRY(writing_progress(writer, f, row));
        n = writing_run(writer, row, 1024 - row % 1024);
        if (writer->source_fields[origin.source] == SCHEMA_NONE) {
            TRY(write_absent(writer, field, row, n, NULL));
            continue;
        }
        blocks = segment->ops->vector_blocks(segment, writer->source_fields[origin.source], &shift);
        within = (size_t)origin.row & (((size_t)1 << shift) - 1);
        if (n > ((size_t)1 << shift) - within)
            n = ((size_t)1 << shift) - within;
        TRY(container_section_write(&writer->container, blocks[origin.row >> shift] + within * field->width,
                                    n * field->width));
    }
    return VECDB_OK;
}

vecdb_status writing_fixed_field(struct writing *writer, size_t f)
{
    const struct field *field = writing_field(writer, f);
    struct field_written *written = &writer->fields[f];
    bool vector = type_is_dense(field->type), empty = false;

    TRY(writing_begin_field(writer, f));
    if (!vector)
        TRY(writing_find_nulls(writer, f, &empty));
    if (empty)
        return writing_put_empty(writer, f);
    container_section_begin(&writer->container);
    TRY(vector ? write_vectors(writer, f) : write_scalars(writer, f));
    TRY(container_section_end(&writer->container, SECTION_VALUES, (uint32_t)f, (uint32_t)field->width, writer->row_count,
                              NULL));
    written->null_count = writer->row_count - bitmap_count(writer->valid, writer->row_count);
    return writing_end_field(writer, f);
}
