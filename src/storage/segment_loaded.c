/* Short texts and sparse vectors of a loaded segment: unpacked once, so that filters and searches read them as they lie. */
#include "base/mem.h"
#include "storage/block.h"
#include "storage/segment_body.h"

#include <string.h>

#define SHORT_BYTES 128 /* a row, on average; fields with longer values stay packed */
#define SLACK 64        /* behind the last value, for reads that go in steps */

static bool is_wanted(const struct segment_body *body, size_t f, const struct unpacked_field *field)
{
    vecdb_type type = body->schema->fields[f].type;

    return type_is_sparse(type) || field->size <= (uint64_t)body->row_count * SHORT_BYTES;
}

/* Where the blocks' values will lie: `starts`, and the size of it all. */
static vecdb_status place_blocks(struct segment_body *body, size_t f, struct unpacked_field *field)
{
    const struct field_sections *sections = &body->fields[f];
    size_t pages_per_block = body->block_rows / sections->page_rows, pages, page = 0;

    pages = (body->row_count + sections->page_rows - 1) / sections->page_rows;
    for (size_t block = 0; page < pages; block++) {
        field->starts[block] = field->size;
        for (size_t p = 0; p < pages_per_block && page < pages; p++, page++) {
            struct block_entry entry;

            TRY(segment_page_entry(body, f, page, &entry));
            field->size += entry.size;
        }
        field->size = align_up(field->size, 16);
    }
    return VECDB_OK;
}

static vecdb_status unpack_blocks(struct segment_file *file, size_t f, struct unpacked_field *field)
{
    struct segment_body *body = file->body;
    struct column_scratch scratch = {0};
    vecdb_status status = VECDB_OK;

    for (size_t first = 0, block = 0; first < body->row_count && status == VECDB_OK; first += body->block_rows, block++) {
        size_t left = body->row_count - first, rows = left < body->block_rows ? left : body->block_rows;
        uint64_t end = block + 1 < field->block_count ? field->starts[block + 1] : field->size;
        struct column column;

        status = file->base.ops->column(&file->base, f, block, rows, &scratch, &column);
        if (status == VECDB_OK && column.offsets[rows] > end - field->starts[block])
            status = error_set(VECDB_ERR_CORRUPT, "%s: the file changes while it is read", body->container.name);
        if (status != VECDB_OK)
            break;
        memcpy(field->offsets + block * (body->block_rows + 1), column.offsets, (rows + 1) * sizeof *column.offsets);
        memcpy(field->data + field->starts[block], column.data, column.offsets[rows]);
    }
    buf_deinit(&scratch.bytes);
    return status;
}

static void unpacked_deinit(struct unpacked_field *field)
{
    mem_free(field->starts);
    mem_free(field->offsets);
    mem_free(field->data);
    *field = (struct unpacked_field){0};
}

static vecdb_status unpack_field(struct segment_file *file, size_t f, struct unpacked_field *field)
{
    struct segment_body *body = file->body;

    if (!body->fields[f].packed || body->fields[f].empty)
        return VECDB_OK;
    field->block_count = (body->row_count + body->block_rows - 1) / body->block_rows;
    if (!(field->starts = mem_array_alloc(field->block_count + 1, sizeof *field->starts)))
        return error_nomem(body->container.name);
    TRY(place_blocks(body, f, field));
    if (!is_wanted(body, f, field)) {
        unpacked_deinit(field);
        return VECDB_OK;
    }
    field->offsets = mem_array_alloc(field->block_count * (body->block_rows + 1), sizeof *field->offsets);
    field->data = mem_alloc((size_t)field->size + SLACK);
    if (!field->offsets || !field->data)
        return error_nomem(body->container.name);
    memset(field->data + field->size, 0, SLACK);
    return unpack_blocks(file, f, field);
}

void segment_unpack(struct segment_file *file, const uint64_t *left_out)
{
    struct segment_body *body = file->body;

    file->unpacked = mem_array_zalloc(body->schema->field_count, sizeof *file->unpacked);
    for (size_t f = 0; file->unpacked && f < body->schema->field_count; f++) {
        struct unpacked_field field = {0}; /* put in its place when it is whole: until then it is read packed */

        if (left_out && bitmap_get(left_out, f))
            continue;
        if (unpack_field(file, f, &field) != VECDB_OK) { /* it goes without; what is damaged is said when it is read */
            unpacked_deinit(&field);
            error_clear();
        }
        if (field.data)
            file->memory += (size_t)field.size + SLACK + field.block_count * (body->block_rows + 1) * sizeof *field.offsets;
        file->unpacked[f] = field;
    }
}

void segment_free_unpacked(struct segment_file *file)
{
    for (size_t f = 0; file->unpacked && f < file->body->schema->field_count; f++)
        unpacked_deinit(&file->unpacked[f]);
    mem_free(file->unpacked);
}
