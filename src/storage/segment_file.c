#include "storage/segment_file.h"

#include "base/checksum.h"
#include "base/mem.h"
#include "storage/block.h"
#include "storage/key_index.h"
#include "storage/segment_body.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static const struct segment_ops file_ops;

static vecdb_status corrupt(const struct segment_body *body, const char *format, ...) __attribute__((format(printf, 2, 3)));
static vecdb_status corrupt(const struct segment_body *body, const char *format, ...)
{
    char what[400];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return error_set(VECDB_ERR_CORRUPT, "%s: %s", body->container.name, what);
}

static const char *field_name(const struct segment_body *body, size_t f) { return body->schema->fields[f].name; }

static size_t block_count_of(const struct segment_body *body)
{
    return body->row_count / body->block_rows + (body->row_count % body->block_rows != 0);
}

/* ------------------------------------------------------------------------------------------------- opening */

static vecdb_status check_info(struct segment_body *body, const uint8_t **info)
{
    const struct container_section *section = container_find(&body->container, SECTION_INFO, CONTAINER_NO_FIELD);
    const struct container_section *schema = container_find(&body->container, SECTION_SCHEMA, CONTAINER_NO_FIELD);
    uint64_t rows, block_rows;
    vecdb_status status;

    if (!section || section->size < SEGMENT_INFO_SIZE)
        return corrupt(body, "the section that says what it is (INFO) is missing or too short");
    if (!schema)
        return corrupt(body, "the section SCHEMA is missing");
    TRY(container_check(&body->container, section, 0, section->size, NULL));
    TRY(container_check(&body->container, schema, 0, schema->size, NULL));
    status = schema_decode(container_bytes(&body->container, schema), (size_t)schema->size, &body->schema);
    if (status != VECDB_OK) {
        vecdb_error failure = *error_last();
        return error_set(status, "%s: %.400s", body->container.name, failure.message);
    }
    *info = container_bytes(&body->container, section);
    rows = load_u64(*info);
    block_rows = load_u32(*info + 32);
    if (rows > SEGMENT_MAX_ROWS)
        return corrupt(body, "%" PRIu64 " rows are more than a segment can have", rows);
    if (block_rows < SEGMENT_MIN_BLOCK_ROWS || block_rows > SEGMENT_MAX_BLOCK_ROWS || (block_rows & (block_rows - 1)))
        return corrupt(body, "blocks of %" PRIu64 " rows: not a power of two in %d .. %d", block_rows,
                       SEGMENT_MIN_BLOCK_ROWS, SEGMENT_MAX_BLOCK_ROWS);
    if (load_u32(*info + 36) != body->schema->field_count)
        return corrupt(body, "INFO tells of %u fields, SCHEMA of %zu", load_u32(*info + 36), body->schema->field_count);
    if (section->size != SEGMENT_INFO_SIZE + body->schema->field_count * SEGMENT_FIELD_INFO_SIZE)
        return corrupt(body, "INFO has %" PRIu64 " bytes, which do not fit %zu fields", section->size,
                       body->schema->field_count);
    if (load_u32(*info + 40) > 1)
        return corrupt(body, "INFO: the order of keys is %u, expected 0 or 1", load_u32(*info + 40));
    if (load_u32(*info + 44))
        return corrupt(body, "INFO: reserved bytes are not zero");
    body->row_count = (size_t)rows;
    body->block_rows = (size_t)block_rows;
    body->collection_id = load_u64(*info + 8);
    body->partition_id = load_u64(*info + 16);
    body->last_lsn = load_u64(*info + 24);
    body->keys_ascend = load_u32(*info + 40);
    return VECDB_OK;
}

/* A field's section, which must be there (or must not), with elements of a size and so many of them. */
static vecdb_status need(struct segment_body *body, size_t f, enum segment_section type, const char *name, bool wanted,
                         size_t element_size, size_t count, const struct container_section **out)
{
    *out = container_find(&body->container, type, (uint32_t)f);
    if (!wanted && *out)
        return corrupt(body, "field %s: a section %s where there should be none", field_name(body, f), name);
    if (!wanted)
        return VECDB_OK;
    if (!*out)
        return corrupt(body, "field %s: the section %s is missing", field_name(body, f), name);
    if (element_size && (*out)->element_size != element_size)
        return corrupt(body, "field %s: elements of %u bytes in %s, expected %zu", field_name(body, f),
                       (*out)->element_size, name, element_size);
    if ((*out)->count != count)
        return corrupt(body, "field %s: %" PRIu64 " elements in %s, expected %zu", field_name(body, f), (*out)->count, name,
                       count);
    return VECDB_OK;
}

static vecdb_status check_packed(struct segment_body *body, size_t f)
{
    struct field_sections *field = &body->fields[f];
    size_t pages, rows = field->page_rows;

    if (rows < BLOCK_MIN_PAGE_ROWS || rows > body->block_rows || (rows & (rows - 1)))
        return corrupt(body, "field %s: pages of %zu rows: not a power of two in %d .. %zu", field_name(body, f), rows,
                       BLOCK_MIN_PAGE_ROWS, body->block_rows);
    pages = body->row_count / rows + (body->row_count % rows != 0);
    TRY(need(body, f, SECTION_PACKED, "PACKED", true, 0, body->row_count, &field->packed));
    TRY(need(body, f, SECTION_PAGES, "PAGES", true, BLOCK_ENTRY_SIZE, pages, &field->pages));
    TRY(need(body, f, SECTION_SIZES, "SIZES", true, 0, body->row_count, &field->sizes));
    field->size_width = field->sizes->element_size;
    if (field->size_width != 1 && field->size_width != 2 && field->size_width != 4)
        return corrupt(body, "field %s: sizes of %u bytes, expected 1, 2 or 4", field_name(body, f), field->size_width);
    if (!(field->checked = mem_array_zalloc(pages / 64 + 1, sizeof *field->checked)))
        return error_nomem(body->container.name);
    return VECDB_OK;
}

static vecdb_status check_field(struct segment_body *body, size_t f, const uint8_t *info)
{
    const struct field *described = &body->schema->fields[f];
    struct field_sections *field = &body->fields[f];
    const struct container_section *none;
    bool vector = type_is_dense(described->type), packed = type_is_variable(described->type);
    size_t words = bitmap_words(body->row_count);

    if (load_u32(info) > 1)
        return corrupt(body, "field %s: INFO says %u where 0 or 1 is expected", described->name, load_u32(info));
    field->empty = load_u32(info);
    field->page_rows = load_u32(info + 4);
    field->null_count = load_u64(info + 8);
    field->bytes = load_u64(info + 16);
    if (field->null_count > body->row_count)
        return corrupt(body, "field %s: %" PRIu64 " of %zu rows have no value", described->name, field->null_count,
                       body->row_count);
    if (field->null_count && !(described->flags & VECDB_NULLABLE))
        return corrupt(body, "field %s: %" PRIu64 " rows have no value, but must", described->name, field->null_count);
    if (field->empty && (vector || !body->row_count || field->null_count != body->row_count))
        return corrupt(body, "field %s: left out, though %" PRIu64 " of %zu rows have no value", described->name,
                       field->null_count, body->row_count);
    if ((!packed || field->empty) && (field->page_rows || field->bytes))
        return corrupt(body, "field %s: pages of %zu rows and %" PRIu64 " bytes, but it has no pages", described->name,
                       field->page_rows, field->bytes);
    TRY(need(body, f, SECTION_VALUES, "VALUES", !packed && !field->empty, described->width, body->row_count,
             &field->values));
    TRY(need(body, f, SECTION_VALID, "VALID", field->null_count && !field->empty, 8, words, &field->valid));
    TRY(need(body, f, SECTION_STATS, "STATS", !vector, SEGMENT_STATS_SIZE, block_count_of(body), &field->stats));
    if (type_is_vector(described->type) && field->valid) /* read where no failure can be reported */
        TRY(container_check_section(&body->container, field->valid));
    if (packed && !field->empty)
        return check_packed(body, f);
    TRY(need(body, f, SECTION_PACKED, "PACKED", false, 0, 0, &none));
    TRY(need(body, f, SECTION_PAGES, "PAGES", false, 0, 0, &none));
    TRY(need(body, f, SECTION_SIZES, "SIZES", false, 0, 0, &none));
    if (described->type == VECDB_TYPE_BOOL &&
        !(field->checked = mem_array_zalloc(block_count_of(body) / 64 + 1, sizeof *field->checked)))
        return error_nomem(body->container.name);
    return VECDB_OK;
}

static vecdb_status check_keys(struct segment_body *body)
{
    size_t f = body->schema->primary;
    bool left_out = body->keys_ascend && body->schema->fields[f].type == VECDB_TYPE_INT64;

    TRY(need(body, f, SECTION_KEYS, "KEYS", !left_out, 8, body->row_count, &body->keys));
    TRY(need(body, f, SECTION_KEY_ROWS, "KEY_ROWS", !left_out, 4, body->row_count, &body->key_rows));
    return need(body, f, SECTION_KEY_FILTER, "KEY_FILTER", true, KEY_FILTER_BLOCK, key_filter_blocks(body->row_count),
                &body->key_filter);
}

/* Sections that nothing above asked for: of fields that there are not, or of types we do not know. */
static vecdb_status check_no_others(const struct segment_body *body)
{
    size_t known = 2 + 1 + 2 * (body->keys != NULL);

    for (size_t f = 0; f < body->schema->field_count; f++) {
        const struct field_sections *field = &body->fields[f];
        known += (field->values != NULL) + (field->valid != NULL) + (field->packed != NULL) + (field->pages != NULL) +
                 (field->sizes != NULL) + (field->stats != NULL);
    }
    if (known != body->container.section_count && !body->container.header.newer_minor)
        return corrupt(body, "%zu sections, of which only %zu are known", body->container.section_count, known);
    return VECDB_OK;
}

/* Each field must be in the collection's schema as it is here. */
static vecdb_status check_agreement(const struct segment_body *body, const struct schema *schema)
{
    for (size_t f = 0; f < body->schema->field_count; f++) {
        const struct field *own = &body->schema->fields[f], *theirs;
        size_t at = schema_find(schema, own->name, strlen(own->name));
        if (at == SCHEMA_NONE)
            return corrupt(body, "field %s is not in the schema of collection %s", own->name, schema->name);
        theirs = &schema->fields[at];
        if (own->type != theirs->type || own->element_type != theirs->element_type || own->dim != theirs->dim ||
            (own->flags & (VECDB_NULLABLE | VECDB_PRIMARY_KEY)) != (theirs->flags & (VECDB_NULLABLE | VECDB_PRIMARY_KEY)))
            return corrupt(body, "field %s is %s (dim %u, flags %u), in collection %s it is %s (dim %u, flags %u)",
                           own->name, type_name(own->type), own->dim, own->flags, schema->name, type_name(theirs->type),
                           theirs->dim, theirs->flags);
    }
    return VECDB_OK;
}

static void body_release(struct segment_body *body)
{
    if (!body || atomic_fetch_sub_explicit(&body->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t f = 0; body->fields && f < body->schema->field_count; f++)
        mem_free(body->fields[f].checked);
    mem_free(body->fields);
    schema_free(body->schema);
    container_deinit(&body->container);
    file_unmap(&body->map);
    mem_free(body);
}

static vecdb_status body_open(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                              const struct schema *schema, unsigned flags, struct segment_body *body)
{
    char name[FILE_NAME_SIZE];
    const uint8_t *info = NULL;
    struct file file;
    uint64_t size = id->size;
    vecdb_status status = VECDB_OK;

    format_file_name(FILE_SEGMENT, id->file_id, name);
    TRY(file_open(dir, name, VFS_READ, &file));
    if (!size)
        status = file_size(&file, &size);
    if (status == VECDB_OK)
        status = file_map(&file, size, flags & SEGMENT_IN_HEAP, &body->map);
    file_close(&file);
    TRY(status);
    TRY(container_init(&body->container, name, body->map.data, body->map.size, FILE_SEGMENT, uuid, id));
    TRY(check_info(body, &info));
    if (schema)
        TRY(check_agreement(body, schema));
    if (!(body->fields = mem_array_zalloc(body->schema->field_count, sizeof *body->fields)))
        return error_nomem(name);
    for (size_t f = 0; f < body->schema->field_count; f++)
        TRY(check_field(body, f, info + SEGMENT_INFO_SIZE + f * SEGMENT_FIELD_INFO_SIZE));
    TRY(check_keys(body));
    return check_no_others(body);
}

static void file_free(struct segment *segment)
{
    struct segment_file *file = segment_file_of(segment);

    for (size_t i = 0; file->loaded && i < file->body->schema->field_count + 3; i++)
        mem_free(file->loaded[i]);
    mem_free(file->loaded);
    segment_free_unpacked(file);
    mem_free(file->vectors);
    body_release(file->body);
    mem_free(file);
}

/* A segment over a body, whose reference it takes over; also on failure. */
static vecdb_status file_create(struct segment_body *body, struct segment_file **out)
{
    struct segment_file *file = mem_zalloc(sizeof *file);

    *out = NULL;
    if (!file || !(file->vectors = mem_array_zalloc(body->schema->field_count, sizeof *file->vectors))) {
        mem_free(file);
        body_release(body);
        return error_nomem("segment");
    }
    file->body = body;
    file->base.ops = &file_ops;
    file->base.schema = body->schema;
    file->base.id = body->container.header.id;
    file->base.block_rows = body->block_rows;
    file->base.row_count = body->row_count;
    file->base.keys_ascend = body->keys_ascend;
    atomic_init(&file->base.references, 1);
    for (size_t f = 0; f < body->schema->field_count; f++)
        if (type_is_dense(body->schema->fields[f].type))
            file->vectors[f] = container_bytes(&body->container, body->fields[f].values);
    file->keys = (const uint64_t *)(const void *)container_bytes(
        &body->container, body->keys ? body->keys : body->fields[body->schema->primary].values);
    file->key_rows = body->key_rows ? (const uint32_t *)(const void *)container_bytes(&body->container, body->key_rows) : NULL;
    file->key_filter = container_bytes(&body->container, body->key_filter);
    file->memory = sizeof *file + sizeof *body + body->container.piece_count / 8 + (body->map.in_heap ? body->map.size : 0);
    *out = file;
    return VECDB_OK;
}

vecdb_status segment_open(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                          const struct schema *schema, unsigned flags, struct segment **out)
{
    struct segment_body *body = mem_zalloc(sizeof *body);
    struct segment_file *file;
    vecdb_status status;

    *out = NULL;
    if (!body)
        return error_nomem("segment");
    atomic_init(&body->references, 1);
    if ((status = body_open(dir, uuid, id, schema, flags, body)) != VECDB_OK) {
        body_release(body);
        return status;
    }
    TRY(file_create(body, &file));
    *out = &file->base;
    return VECDB_OK;
}

/* ------------------------------------------------------------------------------------------------- columns */

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
        return corrupt(body, "rows %zu .. %zu of a BOOL field hold more than 0 and 1", first, first + n - 1);
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
        return corrupt(body, "field %s: page %zu unpacks to %u bytes, its rows' sizes add up to %" PRIu64,
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
            return corrupt(body, "field %s, row %zu: %s", described->name, first + i, why);
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
        return corrupt(body, "field %s: rows from %zu on unpack to %" PRIu64 " bytes, more than a block can have",
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

static vecdb_status file_column(struct segment *segment, size_t f, size_t block, size_t row_count,
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

static vecdb_status file_row(struct segment *segment, size_t f, size_t row, struct column_scratch *scratch,
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

static const uint8_t *const *file_vector_blocks(struct segment *segment, size_t f, unsigned *block_shift)
{
    *block_shift = 31; /* one block for all rows */
    return (const uint8_t *const *)&segment_file_of(segment)->vectors[f];
}

static void file_and_present(struct segment *segment, size_t f, size_t row_count, uint64_t *rows)
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

static bool file_stats(struct segment *segment, size_t f, size_t block, struct column_stats *out)
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

/* ------------------------------------------------------------------------------------------------- keys */

/* Checksums, order and row numbers of everything a lookup reads; once. */
static vecdb_status check_key_contents(struct segment_file *file)
{
    struct segment_body *body = file->body;
    const struct container_section *sections[] = {body->keys, body->key_rows, body->key_filter,
                                                  body->keys ? NULL : body->fields[body->schema->primary].values};
    bool integers = body->schema->fields[body->schema->primary].type == VECDB_TYPE_INT64;

    if (atomic_load_explicit(&body->keys_checked, memory_order_acquire))
        return VECDB_OK;
    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (sections[i])
            TRY(container_check(&body->container, sections[i], 0, sections[i]->size, NULL));
    for (size_t i = 1; i < body->row_count; i++)
        if (integers ? (int64_t)file->keys[i - 1] >= (int64_t)file->keys[i] : file->keys[i - 1] > file->keys[i])
            return corrupt(body, "keys are out of order at %zu", i);
    for (size_t i = 0; file->key_rows && i < body->row_count; i++)
        if (file->key_rows[i] >= body->row_count)
            return corrupt(body, "key %zu is in row %u of %zu", i, file->key_rows[i], body->row_count);
    atomic_store_explicit(&body->keys_checked, true, memory_order_release);
    return VECDB_OK;
}

vecdb_status segment_find_int64(struct segment *segment, int64_t key, size_t *row)
{
    struct segment_file *file = segment_file_of(segment);
    struct segment_body *body = file->body;
    size_t at;

    TRY(check_key_contents(file));
    if (!key_filter_test(file->key_filter, (size_t)body->key_filter->count, key_hash_int64(key)))
        return VECDB_NOT_FOUND;
    at = key_lower_bound(file->keys, body->row_count, (uint64_t)key, KEY_FLIP_SIGNED);
    if (at == body->row_count || file->keys[at] != (uint64_t)key)
        return VECDB_NOT_FOUND;
    *row = file->key_rows ? file->key_rows[at] : at;
    return *row < body->row_count ? VECDB_OK : corrupt(body, "key %zu is in row %zu of %zu", at, *row, body->row_count);
}

vecdb_status segment_find_text(struct segment *segment, const void *key, size_t length, struct column_scratch *scratch,
                               size_t *row)
{
    struct segment_file *file = segment_file_of(segment);
    struct segment_body *body = file->body;
    uint64_t hash = key_hash_text(key, length);

    TRY(check_key_contents(file));
    if (!key_filter_test(file->key_filter, (size_t)body->key_filter->count, hash))
        return VECDB_NOT_FOUND;
    for (size_t at = key_lower_bound(file->keys, body->row_count, hash, KEY_FLIP_NONE);
         at < body->row_count && file->keys[at] == hash; at++) {
        struct column found;
        size_t size;
        const uint8_t *bytes;
        *row = file->key_rows[at];
        if (*row >= body->row_count)
            return corrupt(body, "key %zu is in row %zu of %zu", at, *row, body->row_count);
        TRY(file_row(segment, body->schema->primary, *row, scratch, &found));
        bytes = column_bytes(&found, 0, &size);
        if (size == length && (size == 0 || memcmp(bytes, key, size) == 0))
            return VECDB_OK;
    }
    return VECDB_NOT_FOUND;
}

static vecdb_status file_find(struct segment *segment, const void *key, size_t key_size, size_t row_count, bool *found,
                              uint32_t *row)
{
    const struct schema *schema = segment->schema;
    struct column_scratch scratch = {0};
    size_t at = 0;
    vecdb_status status;

    if (schema->fields[schema->primary].type == VECDB_TYPE_INT64) {
        assert(key_size == 8);
        status = segment_find_int64(segment, (int64_t)load_u64(key), &at);
    } else {
        status = segment_find_text(segment, key, key_size, &scratch, &at);
        buf_deinit(&scratch.bytes);
    }
    *found = status == VECDB_OK && at < row_count;
    *row = (uint32_t)at;
    return status == VECDB_NOT_FOUND ? VECDB_OK : status;
}

static const struct segment_ops file_ops = {
    .column = file_column,
    .vector_blocks = file_vector_blocks,
    .and_present = file_and_present,
    .find = file_find,
    .stats = file_stats,
    .row = file_row,
    .free = file_free,
};

/* ------------------------------------------------------------------------------------------------- the rest */

bool segment_is_file(const struct segment *segment) { return segment->ops == &file_ops; }
uint64_t segment_collection_id(const struct segment *segment) { return segment_file_of(segment)->body->collection_id; }
uint64_t segment_partition_id(const struct segment *segment) { return segment_file_of(segment)->body->partition_id; }
uint64_t segment_last_lsn(const struct segment *segment) { return segment_file_of(segment)->body->last_lsn; }
const char *segment_file_name(const struct segment *segment) { return segment_file_of(segment)->body->container.name; }
uint64_t segment_file_size(const struct segment *segment) { return segment_file_of(segment)->body->container.size; }
size_t segment_memory(const struct segment *segment) { return segment_file_of(segment)->memory; }

uint64_t segment_field_checksum(const struct segment *segment, size_t f)
{
    const struct field_sections *field = &segment_file_of(segment)->body->fields[f];
    const struct container_section *sections[] = {field->values, field->valid, field->packed, field->sizes};
    uint64_t sums[4] = {0};

    for (size_t i = 0; i < 4; i++)
        sums[i] = sections[i] ? sections[i]->checksum : 0;
    return checksum(sums, sizeof sums, 0);
}

vecdb_status segment_check_field(struct segment *segment, size_t f)
{
    struct segment_body *body = segment_file_of(segment)->body;
    const struct field_sections *field = &body->fields[f];
    const struct container_section *sections[] = {field->values, field->valid, field->packed,
                                                  field->pages,  field->sizes, field->stats};

    for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
        if (sections[i])
            TRY(container_check_section(&body->container, sections[i]));
    return VECDB_OK;
}

/* Copy a checked section into memory of its own. */
static vecdb_status load_section(struct segment_file *file, const struct container_section *section, size_t slot)
{
    struct container *container = &file->body->container;
    size_t size = (size_t)section->size, huge = (size_t)2 << 20;

    if (!(file->loaded[slot] = mem_aligned_alloc(size >= huge ? huge : 64, size ? size : 1)))
        return error_set(VECDB_ERR_NOMEM, "%s: out of memory for %zu bytes", container->name, size);
    TRY(container_check_section(container, section));
    if (size)
        memcpy(file->loaded[slot], container_bytes(container, section), size);
    /* The copy is what is read from now on: the file's pages need not stay. */
    (void)file_advise(&file->body->map, (size_t)(container_bytes(container, section) - file->body->map.data), size,
                      VFS_DONT_NEED);
    file->memory += size;
    return VECDB_OK;
}

static vecdb_status load_all(struct segment_file *file, const uint64_t *left_out)
{
    struct segment_body *body = file->body;
    size_t n = body->schema->field_count;
    const struct container_section *keys =
        body->keys ? body->keys : body->fields[body->schema->primary].values; /* INT64 in row order */

    if (!(file->loaded = mem_array_zalloc(n + 3, sizeof *file->loaded)))
        return error_nomem(body->container.name);
    TRY(check_key_contents(file));
    for (size_t f = 0; f < n; f++)
        if (type_is_dense(body->schema->fields[f].type) && !(left_out && bitmap_get(left_out, f))) {
            TRY(load_section(file, body->fields[f].values, f));
            file->vectors[f] = file->loaded[f];
        }
    TRY(load_section(file, keys, n));
    file->keys = file->loaded[n];
    if (body->key_rows) {
        TRY(load_section(file, body->key_rows, n + 1));
        file->key_rows = file->loaded[n + 1];
    }
    TRY(load_section(file, body->key_filter, n + 2));
    file->key_filter = file->loaded[n + 2];
    return VECDB_OK;
}

static vecdb_status twin(struct segment *segment, bool loaded, const uint64_t *left_out, struct segment **out)
{
    struct segment_body *body = segment_file_of(segment)->body;
    struct segment_file *file;
    vecdb_status status;

    *out = NULL;
    atomic_fetch_add_explicit(&body->references, 1, memory_order_relaxed);
    TRY(file_create(body, &file));
    status = loaded && !body->map.in_heap ? load_all(file, left_out) : VECDB_OK;
    if (status != VECDB_OK) {
        file_free(&file->base);
        return status;
    }
    if (loaded)
        segment_unpack(file, left_out);
    *out = &file->base;
    return VECDB_OK;
}

vecdb_status segment_load(struct segment *segment, const uint64_t *left_out, struct segment **out)
{
    return twin(segment, true, left_out, out);
}

vecdb_status segment_unload(struct segment *segment, struct segment **out) { return twin(segment, false, NULL, out); }
