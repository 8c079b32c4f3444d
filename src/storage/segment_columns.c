/* Columns and rows of sealed segments: what is read is checked first, by checksums, once a piece, and then against what it must agree
 * with. */
#include "storage/block.h"
#include "storage/segment_body.h"

#include <assert.h>
#include <inttypes.h>

static const char *field_name(const struct segment_body *body, size_t f) { return body->schema->fields[f].name; }

/* Bits of a block, or of one row, of a field in which some rows have no value. */
static vecdb_status valid_words(struct segment_body *body, const struct field_sections *field, size_t first_row,
                                size_t row_count, const uint64_t **out)
{
    size_t word = first_row / 64, words = bitmap_words(first_row % 64 + row_count);

    *out = NULL;
    if (!field->valid)
        return VECDB_OK;
    TRY(container_check(&body->container, field->valid, word * 8, words * 8, NULL));
    *out = (const uint64_t *)(const void *)container_bytes(&body->container, field->valid) + word;
    return VECDB_OK;
}

static bool was_checked(const struct field_sections *field, size_t i)
{
    return atomic_load_explicit(&field->checked[i / 64], memory_order_acquire) >> (i % 64) & 1;
}

static void set_checked(struct field_sections *field, size_t i)
{
    atomic_fetch_or_explicit(&field->checked[i / 64], 1ull << (i % 64), memory_order_release);
}

/* A column of a field in which no row has a value. */
static vecdb_status empty_column(size_t row_count, struct column_scratch *scratch, struct column *out)
{
    size_t valid_bytes = bitmap_words(row_count ? row_count : 1) * 8;
    size_t bytes = out->width ? row_count * out->width : (row_count + 1) * sizeof(uint32_t);

    scratch->bytes.size = 0;
    TRY(buf_append(&scratch->bytes, NULL, valid_bytes + bytes));
    out->valid = (const uint64_t *)(const void *)scratch->bytes.data;
    out->data = scratch->bytes.data + valid_bytes;
    if (!out->width)
        out->offsets = (const uint32_t *)(const void *)out->data;
    return VECDB_OK;
}

_Static_assert(CONTAINER_PIECE_SIZE % SEGMENT_MAX_BLOCK_ROWS == 0, "a block of bools or bits lies in one piece");

/* The values of a block, some of which the caller has checked the piece of: hence of all. */
static vecdb_status check_bools(struct segment_body *body, struct field_sections *field, size_t block, const uint8_t *data)
{
    size_t first = block * body->block_rows, left = body->row_count - first;
    size_t n = left < body->block_rows ? left : body->block_rows;
    uint8_t seen = 0;

    if (was_checked(field, block))
        return VECDB_OK;
    for (size_t i = 0; i < n; i++)
        seen |= data[i];
    if (seen > 1)
        return segment_corrupt(body, "rows %zu .. %zu of a BOOL field hold more than 0 and 1", first, first + n - 1);
    set_checked(field, block);
    return VECDB_OK;
}

static vecdb_status fixed_column(struct segment_body *body, size_t f, size_t first, size_t row_count, struct column *out)
{
    struct field_sections *field = &body->fields[f];
    const uint8_t *values = container_bytes(&body->container, field->values);

    TRY(container_check(&body->container, field->values, (uint64_t)first * out->width, (uint64_t)row_count * out->width,
                        NULL));
    out->data = values + first * out->width;
    if (out->type == VECDB_TYPE_BOOL && row_count)
        TRY(check_bools(body, field, first / body->block_rows,
                        values + first / body->block_rows * body->block_rows));
    return VECDB_OK;
}

/* A page's entry, which can be true; how much the page unpacks to is for the caller to compare with its rows' sizes. */
static vecdb_status load_entry(struct segment_body *body, size_t f, size_t page, struct block_entry *out)
{
    const struct field_sections *field = &body->fields[f];

    TRY(container_check(&body->container, field->pages, (uint64_t)page * BLOCK_ENTRY_SIZE, BLOCK_ENTRY_SIZE, NULL));
    *out = block_load_entry(container_bytes(&body->container, field->pages) + page * BLOCK_ENTRY_SIZE);
    if (block_check_entry(out, (size_t)field->packed->size) != VECDB_OK)
        return error_prefix("%s: field %s: ", body->container.name, field_name(body, f));
    return VECDB_OK;
}

static vecdb_status compare_sizes(const struct segment_body *body, size_t f, size_t page, const struct block_entry *entry,
                                  uint64_t sum)
{
    if (sum != entry->size)
        return segment_corrupt(body, "field %s: page %zu unpacks to %u bytes, its rows' sizes add up to %" PRIu64,
                       field_name(body, f), page, entry->size, sum);
    return VECDB_OK;
}

/* Sizes of rows, once their checksums are right. */
static vecdb_status row_sizes(struct segment_body *body, size_t f, size_t first, size_t row_count, const uint8_t **out)
{
    const struct field_sections *field = &body->fields[f];

    TRY(container_check(&body->container, field->sizes, (uint64_t)first * field->size_width,
                        (uint64_t)row_count * field->size_width, NULL));
    *out = container_bytes(&body->container, field->sizes);
    return VECDB_OK;
}

vecdb_status segment_page_entry(struct segment_body *body, size_t f, size_t page, struct block_entry *out)
{
    const struct field_sections *field = &body->fields[f];
    size_t first = page * field->page_rows, rows = segment_page_rows(body, field, page);
    const uint8_t *sizes;

    TRY(row_sizes(body, f, first, rows, &sizes));
    TRY(load_entry(body, f, page, out));
    return compare_sizes(body, f, page, out, block_sum_sizes(sizes, field->size_width, first, rows));
}

/* What is in a page must be values of the field's type; looked at once. The piece that says which rows have one has been checked:
 * it is that of the row, or the block, that is asked for. */
static vecdb_status check_values(struct segment_body *body, size_t f, size_t page, const uint32_t *offsets, const uint8_t *bytes)
{
    struct field_sections *field = &body->fields[f];
    const struct field *described = &body->schema->fields[f];
    size_t first = page * field->page_rows, rows = segment_page_rows(body, field, page);
    const uint64_t *valid = field->valid ? (const uint64_t *)(const void *)container_bytes(&body->container, field->valid) : NULL;

    for (size_t i = 0; i < rows; i++) {
        uint32_t size = offsets[i + 1] - offsets[i];
        const char *why = "a row without a value has bytes";
        bool right = !valid || bitmap_get(valid, first + i) ? block_value_valid(described->type, described->element_type,
                                                                                bytes, size, &why)
                                                            : size == 0;
        if (!right)
            return segment_corrupt(body, "field %s, row %zu: %s", described->name, first + i, why);
        bytes += size;
    }
    set_checked(field, page);
    return VECDB_OK;
}

/* Unpack a page whose values lie at `offsets`, which are needed until they have been looked at. */
static vecdb_status unpack(struct segment_body *body, size_t f, size_t page, const struct block_entry *entry,
                           const uint32_t *offsets, uint8_t *out)
{
    const struct container_section *packed = body->fields[f].packed;

    if (block_unpack(container_bytes(&body->container, packed), (size_t)packed->size, entry, out) != VECDB_OK)
        return error_prefix("%s: field %s: ", body->container.name, field_name(body, f));
    return was_checked(&body->fields[f], page) ? VECDB_OK : check_values(body, f, page, offsets, out);
}

/* The sizes are read once, so that what is made of them fits together even if the file changes meanwhile. */
static vecdb_status packed_column(struct segment_body *body, size_t f, size_t first, size_t row_count,
                                  struct column_scratch *scratch, struct column *out)
{
    struct field_sections *field = &body->fields[f];
    size_t page_first = first / field->page_rows, pages = row_count / field->page_rows + (row_count % field->page_rows != 0);
    size_t whole = pages * field->page_rows, left = body->row_count - first, rows = whole < left ? whole : left, head;
    const uint8_t *sizes;
    uint32_t *offsets;
    uint64_t total;

    TRY(row_sizes(body, f, first, rows, &sizes));
    head = align_up((rows + 1) * sizeof *offsets, 16);
    scratch->bytes.size = 0;
    TRY(buf_append(&scratch->bytes, NULL, head));
    total = block_offsets(sizes, field->size_width, first, rows, (uint32_t *)(void *)scratch->bytes.data);
    if (total > UINT32_MAX)
        return segment_corrupt(body, "field %s: rows from %zu on unpack to %" PRIu64 " bytes, more than a block can have",
                       field_name(body, f), first, total);
    TRY(buf_reserve(&scratch->bytes, (size_t)total));
    offsets = (uint32_t *)(void *)scratch->bytes.data;
    out->data = scratch->bytes.data + head;
    out->offsets = offsets;
    for (size_t p = 0, row = 0, end; p < pages; p++, row = end) {
        struct block_entry entry;

        end = row + segment_page_rows(body, field, page_first + p);
        TRY(load_entry(body, f, page_first + p, &entry));
        TRY(compare_sizes(body, f, page_first + p, &entry, offsets[end] - offsets[row]));
        TRY(unpack(body, f, page_first + p, &entry, offsets + row, scratch->bytes.data + head + offsets[row]));
    }
    return VECDB_OK;
}

static void describe(const struct segment_body *body, size_t f, size_t row_count, struct column *out)
{
    const struct field *field = &body->schema->fields[f];

    *out = (struct column){.type = field->type,
                           .element_type = field->element_type,
                           .dim = field->dim,
                           .width = field->width,
                           .row_count = row_count};
}

/* Values from row `at` of a block on, where they lie unpacked. */
static bool use_unpacked(const struct segment_file *file, size_t f, size_t block, size_t at, struct column *out)
{
    const struct unpacked_field *field = file->unpacked ? &file->unpacked[f] : NULL;

    if (!field || !field->data)
        return false;
    out->data = field->data + field->starts[block];
    out->offsets = field->offsets + block * (file->body->block_rows + 1) + at;
    return true;
}

vecdb_status segment_file_column(struct segment *segment, size_t f, size_t block, size_t row_count,
                                struct column_scratch *scratch, struct column *out)
{
    struct segment_body *body = segment_file_of(segment)->body;
    struct field_sections *field = &body->fields[f];
    size_t first = block * body->block_rows;

    assert(row_count <= body->block_rows && first + row_count <= body->row_count);
    describe(body, f, row_count, out);
    if (field->empty)
        return empty_column(row_count, scratch, out);
    if (row_count)
        TRY(valid_words(body, field, first, row_count, &out->valid));
    if (field->values)
        return fixed_column(body, f, first, row_count, out);
    if (!use_unpacked(segment_file_of(segment), f, block, 0, out))
        return packed_column(body, f, first, row_count, scratch, out);
    return VECDB_OK;
}

static const uint64_t missing = 0;

/* One row, for which its page is unpacked. `head` holds the offsets of all of the page's rows while its values have yet to be looked
 * at, and those of the row, which are the first two, in the end. */
static vecdb_status packed_row(struct segment_body *body, size_t f, size_t row, struct column_scratch *scratch,
                               struct column *out)
{
    struct field_sections *field = &body->fields[f];
    size_t page = row / field->page_rows, first = page * field->page_rows, within = row - first;
    size_t rows = segment_page_rows(body, field, page), head = 16;
    const uint8_t *sizes;
    uint64_t start, size, total;
    struct block_entry entry;
    uint32_t *offsets;

    TRY(row_sizes(body, f, first, rows, &sizes));
    TRY(load_entry(body, f, page, &entry));
    scratch->bytes.size = 0;
    if (was_checked(field, page)) {
        start = block_sum_sizes(sizes, field->size_width, first, within);
        size = block_size_at(sizes, field->size_width, row);
        total = start + size + block_sum_sizes(sizes, field->size_width, row + 1, rows - within - 1);
    } else {
        head = align_up((rows + 1) * sizeof *offsets, 16);
        TRY(buf_append(&scratch->bytes, NULL, head));
        offsets = (uint32_t *)(void *)scratch->bytes.data;
        total = block_offsets(sizes, field->size_width, first, rows, offsets);
        start = offsets[within];
        size = offsets[within + 1] - offsets[within];
    }
    TRY(compare_sizes(body, f, page, &entry, total));
    scratch->bytes.size = 0; /* what is there stays */
    TRY(buf_reserve(&scratch->bytes, head + (size_t)entry.size));
    offsets = (uint32_t *)(void *)scratch->bytes.data;
    TRY(unpack(body, f, page, &entry, offsets, scratch->bytes.data + head));
    offsets[0] = 0;
    offsets[1] = (uint32_t)size;
    out->data = scratch->bytes.data + head + start;
    out->offsets = offsets;
    return VECDB_OK;
}

vecdb_status segment_file_row(struct segment *segment, size_t f, size_t row, struct column_scratch *scratch,
                             struct column *out)
{
    struct segment_body *body = segment_file_of(segment)->body;
    struct field_sections *field = &body->fields[f];
    const uint64_t *valid;

    assert(row < body->row_count);
    describe(body, f, 1, out);
    if (field->empty)
        return empty_column(1, scratch, out);
    TRY(valid_words(body, field, row, 1, &valid));
    if (valid && !bitmap_get(valid, row % 64))
        out->valid = &missing;
    if (field->values)
        return fixed_column(body, f, row, 1, out);
    if (!use_unpacked(segment_file_of(segment), f, row / body->block_rows, row % body->block_rows, out))
        return packed_row(body, f, row, scratch, out);
    return VECDB_OK;
}

const uint8_t *const *segment_file_vector_blocks(struct segment *segment, size_t f, unsigned *block_shift)
{
    *block_shift = 31; /* one block for all rows */
    return (const uint8_t *const *)&segment_file_of(segment)->vectors[f];
}

void segment_file_and_present(struct segment *segment, size_t f, size_t row_count, uint64_t *rows)
{
    struct segment_body *body = segment_file_of(segment)->body;
    const uint64_t *valid;

    if (body->fields[f].empty)
        memset(rows, 0, bitmap_words(row_count) * 8);
    if (!body->fields[f].valid || row_count == 0)
        return;
    valid = (const uint64_t *)(const void *)container_bytes(&body->container, body->fields[f].valid);
    for (size_t w = 0; w < bitmap_words(row_count); w++)
        rows[w] &= valid[w];
}

bool segment_file_stats(struct segment *segment, size_t f, size_t block, struct column_stats *out)
{
    struct segment_body *body = segment_file_of(segment)->body;
    const struct container_section *stats = body->fields[f].stats;
    const uint8_t *entry;

    if (!stats || block >= stats->count ||
        container_check(&body->container, stats, block * SEGMENT_STATS_SIZE, SEGMENT_STATS_SIZE, NULL) != VECDB_OK)
        return false;
    entry = container_bytes(&body->container, stats) + block * SEGMENT_STATS_SIZE;
    *out = (struct column_stats){.has_range = load_u32(entry + 4) == 1 && body->schema->fields[f].width,
                                 .null_count = load_u32(entry)};
    memcpy(&out->low, entry + 8, 8);
    memcpy(&out->high, entry + 16, 8);
    return true;
}
