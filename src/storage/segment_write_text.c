/* Fields of variable width: VARCHAR, JSON, ARRAY, in packed blocks. */
#include "storage/segment_writing.h"

#include "base/mem.h"
#include "storage/block.h"
#include "storage/key_index.h"

#define PAGE_TARGET 16384        /* bytes a page unpacks to; what one row's fetch costs */
#define KEY_PAGE_TARGET 4096     /* the same for keys, which every lookup unpacks */
#define BLOCK_SOFT_LIMIT ((uint64_t)64 << 20)
#define WINDOW_BYTES ((uint64_t)64 << 20)

/* Pack the values of one block of new rows, whose sizes are known. */
static vecdb_status emit_block(struct writing *writer, size_t f, size_t first, size_t end, const uint8_t *values)
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
    return writing_put_stats(writer, NULL, end - first - bitmap_count(writer->valid + first / 64, end - first));
}

static vecdb_status check_block_bytes(struct writing *writer, uint64_t bytes)
{
    if (bytes <= BLOCK_SOFT_LIMIT || (bytes < UINT32_MAX && writer->block_rows == SEGMENT_MIN_BLOCK_ROWS))
        return VECDB_OK;
    writer->smaller_blocks = writer->block_rows > SEGMENT_MIN_BLOCK_ROWS;
    return error_set(VECDB_ERR_LIMIT, "segment %llu: %zu rows of a field have %llu bytes, more than a block can",
                     (unsigned long long)writer->what->segment_id, writer->block_rows, (unsigned long long)bytes);
}

/* Rows in the order of their sources: one new block at a time. */
static vecdb_status write_text_in_order(struct writing *writer, size_t f)
{
    const struct field *field = writing_field(writer, f);

    for (size_t first = 0; first < writer->row_count; first += writer->block_rows) {
        size_t end = first + writer->block_rows < writer->row_count ? first + writer->block_rows : writer->row_count;
        TRY(writing_progress(writer, f, first));
        writer->values.size = 0;
        for (size_t row = first, n; row < end; row += n) {
            struct origin origin = writer->origins[row];
            const uint32_t *offsets;
            size_t at;
            n = writing_run(writer, row, end - row);
            if (writer->source_fields[origin.source] == SCHEMA_NONE) {
                for (size_t i = 0; i < n; i++) {
                    writer->sizes[row + i] = field->default_value ? (uint32_t)field->default_size : 0;
                    if (!field->default_value)
                        bitmap_clear(writer->valid, row + i);
                    TRY(buf_append(&writer->values, field->default_value, writer->sizes[row + i]));
                }
            } else {
                TRY(writing_show(writer, origin, &at));
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

static void note_size(struct writing *writer, size_t row, const uint8_t *value, size_t size, bool valid, void *context)
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

static void place_value(struct writing *writer, size_t row, const uint8_t *value, size_t size, bool valid, void *context)
{
    struct window *window = context;

    if (size)
        memcpy(window->values + window->starts[row - window->first], value, size);
}

/* Rows in another order: a window of new blocks at a time, for each of which the sources are gone through once. */
static vecdb_status write_window(struct writing *writer, size_t f, size_t first, size_t end, uint64_t bytes)
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
        status = writing_visit(writer, first, end, place_value, &window, writing_field(writer, f));
    for (size_t row = first; row < end && status == VECDB_OK; row += writer->block_rows) {
        size_t block_end = row + writer->block_rows < end ? row + writer->block_rows : end;
        status = writing_progress(writer, f, row);
        if (status == VECDB_OK)
            status = emit_block(writer, f, row, block_end, window.values + window.starts[row - first]);
    }
    mem_free(window.starts);
    mem_free(window.values);
    return status;
}

static vecdb_status write_text_reordered(struct writing *writer, size_t f)
{
    uint64_t total = 0, most, bytes = 0;
    size_t first = 0;

    TRY(writing_visit(writer, 0, writer->row_count, note_size, NULL, writing_field(writer, f)));
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
static vecdb_status put_sizes(struct writing *writer, size_t f)
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

vecdb_status writing_text_field(struct writing *writer, size_t f)
{
    struct field_written *written = &writer->fields[f];
    bool empty;

    TRY(writing_begin_field(writer, f));
    TRY(writing_find_nulls(writer, f, &empty));
    if (empty)
        return writing_put_empty(writer, f);
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
    return writing_end_field(writer, f);
}
