#include "storage/segment_writer.h"

#include "base/mem.h"
#include "storage/block.h"
#include "storage/key_index.h"
#include "storage/segment_file.h"
#include "storage/segment_format.h"

#include <math.h>

#define PAGE_TARGET 16384        /* bytes a page unpacks to; what one row's fetch costs */
#define KEY_PAGE_TARGET 4096     /* the same for keys, which every lookup unpacks */
#define BLOCK_SOFT_LIMIT ((uint64_t)64 << 20)
#define WINDOW_BYTES ((uint64_t)64 << 20)
#define NO_ROW UINT32_MAX

/* Where a new row comes from. */
struct origin {
    uint32_t source, row;
};

struct field_written {
    bool empty; /* no row has a value */
    size_t page_rows;
    uint64_t null_count, bytes;
};

struct writer {
    const struct segment_write *what;
    struct container_writer container;
    size_t row_count, block_rows;
    struct origin *origins;   /* row_count */
    uint32_t **inverse;       /* for each source, its rows' new rows; only with an order */
    struct field_written *fields;
    uint64_t *keys;           /* INT64: the keys; VARCHAR: their hashes */
    uint32_t *key_rows;
    bool keys_ascend;
    struct column_scratch scratch;
    /* per field */
    size_t *source_fields;    /* its number in each source, or SCHEMA_NONE */
    uint64_t *valid;          /* bitmap of row_count bits */
    uint32_t *sizes;          /* row_count; VARCHAR, JSON, ARRAY */
    struct buf stats, entries, page, values;
    uint64_t packed_bytes;    /* of the field so far */
    /* the block of a source that `view` shows; scratch belongs to it */
    struct column view;
    size_t view_source, view_block;
    bool smaller_blocks;      /* the failure at hand is that a block is too large */
};

static const struct field *field_at(const struct writer *writer, size_t f) { return &writer->what->schema->fields[f]; }

static vecdb_status report_progress(const struct writer *writer, size_t f, size_t row)
{
    const struct segment_write *what = writer->what;

    if (what->progress && !what->progress(what->progress_context, "write segment", (uint64_t)f * writer->row_count + row,
                                          (uint64_t)what->schema->field_count * writer->row_count))
        return error_set(VECDB_ERR_CANCELLED, "writing segment %llu: stopped by the progress callback",
                         (unsigned long long)what->segment_id);
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- which rows */

static size_t count_kept(const struct segment_source *source)
{
    return source->keep ? bitmap_count(source->keep, source->row_count) : source->row_count;
}

/* Origins in the order of the sources. */
static void list_origins(struct writer *writer)
{
    size_t n = 0;

    for (size_t s = 0; s < writer->what->source_count; s++) {
        const struct segment_source *source = &writer->what->sources[s];
        for (size_t row = 0; row < source->row_count; row++) {
            if (source->keep && (row = bitmap_next(source->keep, source->row_count, row)) == source->row_count)
                break;
            writer->origins[n++] = (struct origin){(uint32_t)s, (uint32_t)row};
        }
    }
}

static vecdb_status apply_order(struct writer *writer)
{
    struct origin *ordered = mem_array_alloc(writer->row_count ? writer->row_count : 1, sizeof *ordered);

    if (!ordered)
        return error_nomem("writing a segment");
    for (size_t i = 0; i < writer->row_count; i++) {
        uint32_t from = writer->what->order[i];
        if (from >= writer->row_count || writer->origins[from].source == NO_ROW) {
            mem_free(ordered);
            return error_set(VECDB_ERR_INVALID, "writing a segment: order[%zu] is %u, out of range or there twice of %zu", i,
                             from, writer->row_count);
        }
        ordered[i] = writer->origins[from];
        writer->origins[from].source = NO_ROW;
    }
    mem_free(writer->origins);
    writer->origins = ordered;
    return VECDB_OK;
}

static vecdb_status make_inverse(struct writer *writer)
{
    const struct segment_write *what = writer->what;

    if (!(writer->inverse = mem_array_zalloc(what->source_count + 1, sizeof *writer->inverse)))
        return error_nomem("writing a segment");
    for (size_t s = 0; s < what->source_count; s++) {
        size_t rows = what->sources[s].row_count;
        if (!(writer->inverse[s] = mem_array_alloc(rows + 1, sizeof **writer->inverse)))
            return error_nomem("writing a segment");
        memset(writer->inverse[s], 0xFF, rows * sizeof **writer->inverse);
    }
    for (size_t i = 0; i < writer->row_count; i++)
        writer->inverse[writer->origins[i].source][writer->origins[i].row] = (uint32_t)i;
    return VECDB_OK;
}

static void fill_row_maps(const struct writer *writer)
{
    for (size_t s = 0; s < writer->what->source_count; s++)
        if (writer->what->sources[s].row_map)
            memset(writer->what->sources[s].row_map, 0xFF, writer->what->sources[s].row_count * sizeof(uint32_t));
    for (size_t i = 0; i < writer->row_count; i++) {
        struct origin origin = writer->origins[i];
        uint32_t *map = writer->what->sources[origin.source].row_map;
        if (map)
            map[origin.row] = (uint32_t)i;
    }
}

/* Rows from `row` on that come from one block of one source, one after another; at most `limit`. */
static size_t run_length(const struct writer *writer, size_t row, size_t limit)
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

/* ------------------------------------------------------------------------------------------------- reading sources */

static vecdb_status begin_field(struct writer *writer, size_t f)
{
    const struct field *field = field_at(writer, f);

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

/* Show the block of a source that a row is in; returns its place there. */
static vecdb_status show(struct writer *writer, struct origin origin, size_t *at)
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

/* Call `visit` for every source row that is kept, a block of a source at a time, so that each is unpacked once. Blocks with
 * no row among the new rows first .. end - 1 are passed over. */
static vecdb_status visit_sources(struct writer *writer, size_t first, size_t end,
                                  void (*visit)(struct writer *writer, size_t row, const uint8_t *value, size_t size,
                                                bool valid, void *context),
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
                    TRY(show(writer, (struct origin){(uint32_t)s, (uint32_t)r}, &at));
                    value = column_bytes(&writer->view, at, &size);
                    valid = column_is_valid(&writer->view, at);
                }
                visit(writer, to[r], value, size, valid, context);
            }
        }
    }
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- statistics */

struct range {
    bool any, spoilt; /* spoilt: a NaN, which no range describes */
    union {
        int64_t integer;
        double real;
    } low, high;
};

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

static vecdb_status put_stats(struct writer *writer, const struct range *range, size_t nulls)
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

/* What all fields end with: VALID and STATS. */
static vecdb_status end_field(struct writer *writer, size_t f)
{
    const struct field *field = field_at(writer, f);
    struct field_written *written = &writer->fields[f];
    size_t words = bitmap_words(writer->row_count);

    if (written->null_count && !written->empty)
        TRY(container_section_put(&writer->container, SECTION_VALID, (uint32_t)f, 8, words, writer->valid, words * 8));
    if (type_is_dense(field->type))
        return VECDB_OK;
    return container_section_put(&writer->container, SECTION_STATS, (uint32_t)f, SEGMENT_STATS_SIZE,
                                 writer->stats.size / SEGMENT_STATS_SIZE, writer->stats.data, writer->stats.size);
}

/* ------------------------------------------------------------------------------------------------- fixed width */

/* Default, or zeros, for `count` rows whose source lacks the field. */
static vecdb_status write_absent(struct writer *writer, const struct field *field, size_t row, size_t count,
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
static vecdb_status end_scalar_block(struct writer *writer, size_t f, size_t first, size_t end, const uint8_t *values,
                                     struct range *range)
{
    const struct field *field = field_at(writer, f);

    for (size_t row = first; values && row < end; row++, values += field->width) {
        if (bitmap_get(writer->valid, row))
            range_add(range, field->type, values);
        if (f == writer->what->schema->primary)
            writer->keys[row] = load_u64(values);
    }
    return put_stats(writer, range, end - first - bitmap_count(writer->valid + first / 64, end - first));
}

static vecdb_status write_scalars_in_order(struct writer *writer, size_t f)
{
    const struct field *field = field_at(writer, f);
    bool primary = f == writer->what->schema->primary;

    for (size_t first = 0; first < writer->row_count; first += writer->block_rows) {
        size_t end = first + writer->block_rows < writer->row_count ? first + writer->block_rows : writer->row_count;
        struct range range = {0};
        TRY(report_progress(writer, f, first));
        for (size_t row = first, n; row < end; row += n) {
            struct origin origin = writer->origins[row];
            const uint8_t *values;
            size_t at;
            n = run_length(writer, row, end - row);
            if (writer->source_fields[origin.source] == SCHEMA_NONE) {
                TRY(write_absent(writer, field, row, n, &range));
                continue;
            }
            TRY(show(writer, origin, &at));
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

static void gather_value(struct writer *writer, size_t row, const uint8_t *value, size_t size, bool valid, void *context)
{
    struct gathered *gathered = context;

    if (valid)
        memcpy(gathered->values + row * gathered->width, value, gathered->width);
    else
        bitmap_clear(writer->valid, row);
}

/* Another order: the whole column is brought together in memory, at most 8 bytes a row. */
static vecdb_status write_scalars_reordered(struct writer *writer, size_t f)
{
    const struct field *field = field_at(writer, f);
    struct gathered gathered = {mem_array_zalloc(writer->row_count ? writer->row_count : 1, field->width), field->width};
    vecdb_status status = VECDB_OK;

    if (!gathered.values)
        return error_nomem("writing a segment");
    status = visit_sources(writer, 0, writer->row_count, gather_value, &gathered, field);
    for (size_t first = 0; first < writer->row_count && status == VECDB_OK; first += writer->block_rows) {
        size_t end = first + writer->block_rows < writer->row_count ? first + writer->block_rows : writer->row_count;
        const uint8_t *values = gathered.values + first * field->width;
        struct range range = {0};
        if ((status = report_progress(writer, f, first)) == VECDB_OK &&
            (status = container_section_write(&writer->container, values, (end - first) * field->width)) == VECDB_OK)
            status = end_scalar_block(writer, f, first, end, values, &range);
    }
    mem_free(gathered.values);
    return status;
}

static vecdb_status write_scalars(struct writer *writer, size_t f)
{
    return writer->inverse ? write_scalars_reordered(writer, f) : write_scalars_in_order(writer, f);
}

static vecdb_status write_vectors(struct writer *writer, size_t f)
{
    const struct field *field = field_at(writer, f);
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
            TRY(report_progress(writer, f, row));
        n = run_length(writer, row, 1024 - row % 1024);
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

/* Whether no row has a value, before anything is written. */
static vecdb_status find_nulls(struct writer *writer, size_t f, bool *empty)
{
    *empty = false;
    if (!(field_at(writer, f)->flags & VECDB_NULLABLE) || writer->row_count == 0)
        return VECDB_OK;
    for (size_t s = 0; s < writer->what->source_count; s++) {
        const struct segment_source *source = &writer->what->sources[s];
        for (size_t row = 0, at; row < source->row_count; row++) {
            if (source->keep && (row = bitmap_next(source->keep, source->row_count, row)) == source->row_count)
                break;
            if (writer->source_fields[s] == SCHEMA_NONE) {
                if (field_at(writer, f)->default_value)
                    return VECDB_OK;
                break;
            }
            TRY(show(writer, (struct origin){(uint32_t)s, (uint32_t)row}, &at));
            if (column_is_valid(&writer->view, at))
                return VECDB_OK;
        }
    }
    *empty = true;
    return VECDB_OK;
}

static vecdb_status write_empty(struct writer *writer, size_t f)
{
    writer->fields[f] = (struct field_written){.empty = true, .null_count = writer->row_count};
    memset(writer->valid, 0, bitmap_words(writer->row_count) * 8);
    for (size_t first = 0; first < writer->row_count; first += writer->block_rows)
        TRY(put_stats(writer, NULL,
                      first + writer->block_rows < writer->row_count ? writer->block_rows : writer->row_count - first));
    return end_field(writer, f);
}

static vecdb_status write_fixed(struct writer *writer, size_t f)
{
    const struct field *field = field_at(writer, f);
    struct field_written *written = &writer->fields[f];
    bool vector = type_is_dense(field->type), empty = false;

    TRY(begin_field(writer, f));
    if (!vector)
        TRY(find_nulls(writer, f, &empty));
    if (empty)
        return write_empty(writer, f);
    container_section_begin(&writer->container);
    TRY(vector ? write_vectors(writer, f) : write_scalars(writer, f));
    TRY(container_section_end(&writer->container, SECTION_VALUES, (uint32_t)f, (uint32_t)field->width, writer->row_count,
                              NULL));
    written->null_count = writer->row_count - bitmap_count(writer->valid, writer->row_count);
    return end_field(writer, f);
}

/* ------------------------------------------------------------------------------------------------- variable width */

/* Pack the values of one block of new rows, whose sizes are known. */
static vecdb_status emit_block(struct writer *writer, size_t f, size_t first, size_t end, const uint8_t *values)
{
    struct field_written *written = &writer->fields[f];
    bool primary = f == writer->what->schema->primary;

    if (!written->page_rows)
        written->page_rows = block_choose_page_rows(writer->sizes, end, primary ? KEY_PAGE_TARGET : PAGE_TARGET,
                                                    writer->block_rows);
    for (size_t row = first; row < end; row += written->page_rows) {
        size_t page_end = row + written->page_rows < end ? row + written->page_rows : end, bytes = 0;
        uint8_t stored[BLOCK_ENTRY_SIZE];
        struct block_entry entry;
        for (size_t i = row; i < page_end; i++) {
            if (primary)
                writer->keys[i] = key_hash_text(values + bytes, writer->sizes[i]);
            bytes += writer->sizes[i];
        }
        writer->page.size = 0;
        TRY(block_pack(values, bytes, writer->packed_bytes, &writer->page, &entry));
        TRY(container_section_write(&writer->container, writer->page.data, writer->page.size));
        block_store_entry(stored, &entry);
        TRY(buf_append(&writer->entries, stored, sizeof stored));
        writer->packed_bytes += writer->page.size;
        written->bytes += bytes;
        values += bytes;
    }
    return put_stats(writer, NULL, end - first - bitmap_count(writer->valid + first / 64, end - first));
}

static vecdb_status check_block_bytes(struct writer *writer, uint64_t bytes)
{
    if (bytes <= BLOCK_SOFT_LIMIT || (bytes < UINT32_MAX && writer->block_rows == SEGMENT_MIN_BLOCK_ROWS))
        return VECDB_OK;
    writer->smaller_blocks = writer->block_rows > SEGMENT_MIN_BLOCK_ROWS;
    return error_set(VECDB_ERR_LIMIT, "segment %llu: %zu rows of a field have %llu bytes, more than a block can",
                     (unsigned long long)writer->what->segment_id, writer->block_rows, (unsigned long long)bytes);
}

/* Rows in the order of their sources: one new block at a time. */
static vecdb_status write_text_in_order(struct writer *writer, size_t f)
{
    const struct field *field = field_at(writer, f);

    for (size_t first = 0; first < writer->row_count; first += writer->block_rows) {
        size_t end = first + writer->block_rows < writer->row_count ? first + writer->block_rows : writer->row_count;
        TRY(report_progress(writer, f, first));
        writer->values.size = 0;
        for (size_t row = first, n; row < end; row += n) {
            struct origin origin = writer->origins[row];
            const uint32_t *offsets;
            size_t at;
            n = run_length(writer, row, end - row);
            if (writer->source_fields[origin.source] == SCHEMA_NONE) {
                for (size_t i = 0; i < n; i++) {
                    writer->sizes[row + i] = field->default_value ? (uint32_t)field->default_size : 0;
                    if (!field->default_value)
                        bitmap_clear(writer->valid, row + i);
                    TRY(buf_append(&writer->values, field->default_value, writer->sizes[row + i]));
                }
            } else {
                TRY(show(writer, origin, &at));
                offsets = writer->view.offsets + at;
                for (size_t i = 0; i < n; i++) {
                    writer->sizes[row + i] = offsets[i + 1] - offsets[i];
                    if (!column_is_valid(&writer->view, at + i))
                        bitmap_clear(writer->valid, row + i);
                }
                TRY(check_block_bytes(writer, (uint64_t)writer->values.size + (offsets[n] - offsets[0])));
                if (offsets[n] > offsets[0])
                    TRY(buf_append(&writer->values, writer->view.data + offsets[0], offsets[n] - offsets[0]));
            }
            TRY(check_block_bytes(writer, writer->values.size));
        }
        TRY(emit_block(writer, f, first, end, writer->values.data));
    }
    return VECDB_OK;
}

static void note_size(struct writer *writer, size_t row, const uint8_t *value, size_t size, bool valid, void *context)
{
    writer->sizes[row] = (uint32_t)size;
    if (!valid)
        bitmap_clear(writer->valid, row);
}

struct window {
    size_t first;
    uint64_t *starts; /* in values, of each row from first on */
    uint8_t *values;
};

static void place_value(struct writer *writer, size_t row, const uint8_t *value, size_t size, bool valid, void *context)
{
    struct window *window = context;

    if (size)
        memcpy(window->values + window->starts[row - window->first], value, size);
}

/* Rows in another order: a window of new blocks at a time, for each of which the sources are gone through once. */
static vecdb_status write_window(struct writer *writer, size_t f, size_t first, size_t end, uint64_t bytes)
{
    struct window window = {first, mem_array_alloc(end - first + 1, sizeof(uint64_t)), mem_alloc(bytes ? bytes : 1)};
    vecdb_status status = VECDB_OK;
    uint64_t at = 0;

    if (!window.starts || !window.values)
        status = error_nomem("writing a segment");
    for (size_t row = first; row < end && status == VECDB_OK; row++) {
        window.starts[row - first] = at;
        at += writer->sizes[row];
    }
    if (status == VECDB_OK)
        status = visit_sources(writer, first, end, place_value, &window, field_at(writer, f));
    for (size_t row = first; row < end && status == VECDB_OK; row += writer->block_rows) {
        size_t block_end = row + writer->block_rows < end ? row + writer->block_rows : end;
        status = report_progress(writer, f, row);
        if (status == VECDB_OK)
            status = emit_block(writer, f, row, block_end, window.values + window.starts[row - first]);
    }
    mem_free(window.starts);
    mem_free(window.values);
    return status;
}

static vecdb_status write_text_reordered(struct writer *writer, size_t f)
{
    uint64_t total = 0, most, bytes = 0;
    size_t first = 0;

    TRY(visit_sources(writer, 0, writer->row_count, note_size, NULL, field_at(writer, f)));
    for (size_t row = 0; row < writer->row_count; row++)
        total += writer->sizes[row];
    most = total / 16 > WINDOW_BYTES ? total / 16 : WINDOW_BYTES;
    for (size_t begin = 0; begin < writer->row_count; begin += writer->block_rows) {
        size_t end = begin + writer->block_rows < writer->row_count ? begin + writer->block_rows : writer->row_count;
        uint64_t block_bytes = 0;
        for (size_t row = begin; row < end; row++)
            block_bytes += writer->sizes[row];
        TRY(check_block_bytes(writer, block_bytes));
        if (begin > first && bytes + block_bytes > most) {
            TRY(write_window(writer, f, first, begin, bytes));
            first = begin;
            bytes = 0;
        }
        bytes += block_bytes;
    }
    return first < writer->row_count ? write_window(writer, f, first, writer->row_count, bytes) : VECDB_OK;
}

/* Sizes, narrowed in place to the fewest bytes that hold the longest. */
static vecdb_status put_sizes(struct writer *writer, size_t f)
{
    uint8_t *narrow = (uint8_t *)writer->sizes;
    uint32_t longest = 0;
    unsigned width;

    for (size_t row = 0; row < writer->row_count; row++)
        if (writer->sizes[row] > longest)
            longest = writer->sizes[row];
    width = block_size_width(longest);
    for (size_t row = 0; row < writer->row_count && width < 4; row++) {
        uint32_t size = writer->sizes[row];
        memcpy(narrow + row * width, &size, width);
    }
    return container_section_put(&writer->container, SECTION_SIZES, (uint32_t)f, width, writer->row_count, narrow,
                                 writer->row_count * width);
}

static vecdb_status write_text(struct writer *writer, size_t f)
{
    struct field_written *written = &writer->fields[f];
    bool empty;

    TRY(begin_field(writer, f));
    TRY(find_nulls(writer, f, &empty));
    if (empty)
        return write_empty(writer, f);
    written->page_rows = 0;
    written->bytes = 0;
    container_section_begin(&writer->container);
    TRY(writer->inverse ? write_text_reordered(writer, f) : write_text_in_order(writer, f));
    if (!written->page_rows)
        written->page_rows = writer->block_rows; /* no rows */
    TRY(container_section_end(&writer->container, SECTION_PACKED, (uint32_t)f, 0, writer->row_count, NULL));
    TRY(container_section_put(&writer->container, SECTION_PAGES, (uint32_t)f, BLOCK_ENTRY_SIZE,
                              writer->entries.size / BLOCK_ENTRY_SIZE, writer->entries.data, writer->entries.size));
    TRY(put_sizes(writer, f));
    written->null_count = writer->row_count - bitmap_count(writer->valid, writer->row_count);
    return end_field(writer, f);
}

/* ------------------------------------------------------------------------------------------------- keys */

/* The key of a new row, from its source. */
static vecdb_status read_key(struct writer *writer, size_t row, struct column_scratch *scratch, struct column *out)
{
    struct origin origin = writer->origins[row];
    struct segment *segment = writer->what->sources[origin.source].segment;

    return segment_row(segment, segment->schema->primary, origin.row, scratch, out);
}

/* Whether the VARCHAR keys of two new rows are the same, or in which order; equal hashes do not tell. */
static vecdb_status compare_keys(struct writer *writer, size_t a, size_t b, int *order)
{
    struct column_scratch a_scratch = {0}, b_scratch = {0};
    struct column a_key, b_key;
    const uint8_t *a_bytes, *b_bytes;
    size_t a_size, b_size;
    vecdb_status status;

    if ((status = read_key(writer, a, &a_scratch, &a_key)) == VECDB_OK &&
        (status = read_key(writer, b, &b_scratch, &b_key)) == VECDB_OK) {
        a_bytes = column_bytes(&a_key, 0, &a_size);
        b_bytes = column_bytes(&b_key, 0, &b_size);
        *order = a_size && b_size ? memcmp(a_bytes, b_bytes, a_size < b_size ? a_size : b_size) : 0;
        if (*order == 0)
            *order = a_size < b_size ? -1 : a_size > b_size;
    }
    buf_deinit(&a_scratch.bytes);
    buf_deinit(&b_scratch.bytes);
    return status;
}

/* Whether VARCHAR keys ascend with the rows: read through once, a block at a time. */
static vecdb_status text_keys_ascend(struct writer *writer)
{
    struct buf before = {0};
    vecdb_status status = begin_field(writer, writer->what->schema->primary);

    writer->keys_ascend = true;
    for (size_t row = 0; row < writer->row_count && writer->keys_ascend && status == VECDB_OK; row++) {
        const uint8_t *key;
        size_t at, size, shorter;
        int order;
        if ((status = show(writer, writer->origins[row], &at)) != VECDB_OK)
            break;
        key = column_bytes(&writer->view, at, &size);
        shorter = size < before.size ? size : before.size;
        order = shorter ? memcmp(before.data, key, shorter) : 0;
        writer->keys_ascend = row == 0 || order < 0 || (order == 0 && before.size < size);
        before.size = 0;
        status = buf_append(&before, size ? key : NULL, size);
    }
    buf_deinit(&before);
    return status;
}

static vecdb_status write_key_filter(struct writer *writer, bool integers)
{
    size_t blocks = key_filter_blocks(writer->row_count);
    uint8_t *filter = mem_array_zalloc(blocks ? blocks : 1, KEY_FILTER_BLOCK);
    vecdb_status status;

    if (!filter)
        return error_nomem("writing a segment");
    for (size_t i = 0; i < writer->row_count; i++)
        key_filter_add(filter, blocks, integers ? key_hash_int64((int64_t)writer->keys[i]) : writer->keys[i]);
    status = container_section_put(&writer->container, SECTION_KEY_FILTER, (uint32_t)writer->what->schema->primary,
                                   KEY_FILTER_BLOCK, blocks, filter, blocks * KEY_FILTER_BLOCK);
    mem_free(filter);
    return status;
}

static vecdb_status write_keys(struct writer *writer)
{
    uint32_t f = (uint32_t)writer->what->schema->primary;
    const struct field *field = field_at(writer, f);
    bool integers = field->type == VECDB_TYPE_INT64;
    size_t n = writer->row_count;

    TRY(write_key_filter(writer, integers));
    if (integers) {
        writer->keys_ascend = true;
        for (size_t i = 1; i < n && writer->keys_ascend; i++)
            writer->keys_ascend = (int64_t)writer->keys[i - 1] < (int64_t)writer->keys[i];
        if (writer->keys_ascend)
            return VECDB_OK;
    } else {
        TRY(text_keys_ascend(writer));
    }
    for (size_t i = 0; i < n; i++)
        writer->key_rows[i] = (uint32_t)i;
    TRY(key_sort(writer->keys, writer->key_rows, n, integers ? KEY_FLIP_SIGNED : KEY_FLIP_NONE));
    for (size_t i = 1; i < n; i++) {
        int order = 0;
        if (writer->keys[i - 1] != writer->keys[i])
            continue;
        if (integers)
            return error_set(VECDB_ERR_EXISTS, "segment %llu: two rows have the key %lld",
                             (unsigned long long)writer->what->segment_id, (long long)writer->keys[i]);
        for (size_t j = i; j-- > 0 && writer->keys[j] == writer->keys[i];) {
            TRY(compare_keys(writer, writer->key_rows[j], writer->key_rows[i], &order));
            if (order == 0)
                return error_set(VECDB_ERR_EXISTS, "segment %llu: rows %u and %u have the same key",
                                 (unsigned long long)writer->what->segment_id, writer->key_rows[j], writer->key_rows[i]);
        }
    }
    TRY(container_section_put(&writer->container, SECTION_KEYS, f, 8, n, writer->keys, n * 8));
    return container_section_put(&writer->container, SECTION_KEY_ROWS, f, 4, n, writer->key_rows, n * 4);
}

/* ------------------------------------------------------------------------------------------------- all of it */

static vecdb_status write_info(struct writer *writer)
{
    const struct segment_write *what = writer->what;
    size_t size = SEGMENT_INFO_SIZE + what->schema->field_count * SEGMENT_FIELD_INFO_SIZE;
    uint8_t *info = mem_zalloc(size);
    struct buf schema = {0};
    vecdb_status status;

    if (!info)
        return error_nomem("writing a segment");
    store_u64(info, writer->row_count);
    store_u64(info + 8, what->collection_id);
    store_u64(info + 16, what->partition_id);
    store_u64(info + 24, what->last_lsn);
    store_u32(info + 32, (uint32_t)writer->block_rows);
    store_u32(info + 36, (uint32_t)what->schema->field_count);
    store_u32(info + 40, writer->keys_ascend);
    for (size_t f = 0; f < what->schema->field_count; f++) {
        uint8_t *entry = info + SEGMENT_INFO_SIZE + f * SEGMENT_FIELD_INFO_SIZE;
        store_u32(entry, writer->fields[f].empty);
        store_u32(entry + 4, (uint32_t)writer->fields[f].page_rows);
        store_u64(entry + 8, writer->fields[f].null_count);
        store_u64(entry + 16, writer->fields[f].bytes);
    }
    status = container_section_put(&writer->container, SECTION_INFO, CONTAINER_NO_FIELD, 0, 1, info, size);
    mem_free(info);
    if (status == VECDB_OK)
        status = schema_encode(what->schema, &schema);
    if (status == VECDB_OK)
        status = container_section_put(&writer->container, SECTION_SCHEMA, CONTAINER_NO_FIELD, 0, 1, schema.data,
                                       schema.size);
    buf_deinit(&schema);
    return status;
}

/* Fields of differing widths come first, since a block of theirs that is too large starts all anew. */
static vecdb_status write_all(struct writer *writer)
{
    const struct schema *schema = writer->what->schema;

    memset(writer->fields, 0, schema->field_count * sizeof *writer->fields);
    for (size_t f = 0; f < schema->field_count; f++)
        if (type_is_variable(schema->fields[f].type))
            TRY(write_text(writer, f));
    for (size_t f = 0; f < schema->field_count; f++)
        if (!type_is_variable(schema->fields[f].type) && !type_is_dense(schema->fields[f].type))
            TRY(write_fixed(writer, f));
    for (size_t f = 0; f < schema->field_count; f++)
        if (type_is_dense(schema->fields[f].type))
            TRY(write_fixed(writer, f));
    TRY(write_keys(writer));
    TRY(write_info(writer));
    return report_progress(writer, schema->field_count, 0);
}

static vecdb_status prepare(struct writer *writer)
{
    const struct segment_write *what = writer->what;
    size_t total = 0, n;

    for (size_t s = 0; s < what->source_count; s++)
        total += count_kept(&what->sources[s]);
    if (total > SEGMENT_MAX_ROWS || what->source_count > UINT32_MAX - 1)
        return error_set(VECDB_ERR_LIMIT, "segment %llu: %zu rows are more than %u",
                         (unsigned long long)what->segment_id, total, SEGMENT_MAX_ROWS);
    writer->row_count = total;
    n = total ? total : 1;
    if (!(writer->origins = mem_array_alloc(n, sizeof *writer->origins)) ||
        !(writer->fields = mem_array_alloc(what->schema->field_count, sizeof *writer->fields)) ||
        !(writer->source_fields = mem_array_alloc(what->source_count + 1, sizeof *writer->source_fields)) ||
        !(writer->valid = mem_array_alloc(bitmap_words(n), sizeof *writer->valid)) ||
        !(writer->sizes = mem_array_alloc(n, sizeof *writer->sizes)) ||
        !(writer->keys = mem_array_alloc(n, sizeof *writer->keys)) ||
        !(writer->key_rows = mem_array_alloc(n, sizeof *writer->key_rows)))
        return error_nomem("writing a segment");
    list_origins(writer);
    if (what->order) {
        TRY(apply_order(writer));
        TRY(make_inverse(writer));
    }
    return VECDB_OK;
}

static void writer_deinit(struct writer *writer)
{
    for (size_t s = 0; writer->inverse && s < writer->what->source_count; s++)
        mem_free(writer->inverse[s]);
    mem_free(writer->inverse);
    mem_free(writer->origins);
    mem_free(writer->fields);
    mem_free(writer->source_fields);
    mem_free(writer->valid);
    mem_free(writer->sizes);
    mem_free(writer->keys);
    mem_free(writer->key_rows);
    buf_deinit(&writer->scratch.bytes);
    buf_deinit(&writer->stats);
    buf_deinit(&writer->entries);
    buf_deinit(&writer->page);
    buf_deinit(&writer->values);
}

vecdb_status segment_write(const struct segment_write *what, struct segment_written *out)
{
    struct writer writer = {.what = what};
    vecdb_status status = prepare(&writer);

    writer.block_rows = what->block_rows ? what->block_rows : SEGMENT_DEFAULT_BLOCK_ROWS;
    while (status == VECDB_OK) {
        status = container_writer_init(&writer.container, what->dir, FILE_SEGMENT, what->uuid, what->segment_id);
        if (status != VECDB_OK)
            break;
        writer.smaller_blocks = false;
        if ((status = write_all(&writer)) == VECDB_OK &&
            (status = container_writer_finish(&writer.container, &out->file)) == VECDB_OK) {
            out->row_count = writer.row_count;
            fill_row_maps(&writer);
            break;
        }
        container_writer_abort(&writer.container);
        if (!writer.smaller_blocks)
            break;
        writer.block_rows /= 2;
        status = VECDB_OK;
    }
    writer_deinit(&writer);
    return status;
}
