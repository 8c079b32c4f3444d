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

vecdb_status segment_corrupt(const struct segment_body *body, const char *format, ...)
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
        return segment_corrupt(body, "the section that says what it is (INFO) is missing or too short");
    if (!schema)
        return segment_corrupt(body, "the section SCHEMA is missing");
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
        return segment_corrupt(body, "%" PRIu64 " rows are more than a segment can have", rows);
    if (block_rows < SEGMENT_MIN_BLOCK_ROWS || block_rows > SEGMENT_MAX_BLOCK_ROWS || (block_rows & (block_rows - 1)))
        return segment_corrupt(body, "blocks of %" PRIu64 " rows: not a power of two in %d .. %d", block_rows,
                       SEGMENT_MIN_BLOCK_ROWS, SEGMENT_MAX_BLOCK_ROWS);
    if (load_u32(*info + 36) != body->schema->field_count)
        return segment_corrupt(body, "INFO tells of %u fields, SCHEMA of %zu", load_u32(*info + 36), body->schema->field_count);
    if (section->size != SEGMENT_INFO_SIZE + body->schema->field_count * SEGMENT_FIELD_INFO_SIZE)
        return segment_corrupt(body, "INFO has %" PRIu64 " bytes, which do not fit %zu fields", section->size,
                       body->schema->field_count);
    if (load_u32(*info + 40) > 1)
        return segment_corrupt(body, "INFO: the order of keys is %u, expected 0 or 1", load_u32(*info + 40));
    if (load_u32(*info + 44))
        return segment_corrupt(body, "INFO: reserved bytes are not zero");
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
        return segment_corrupt(body, "field %s: a section %s where there should be none", field_name(body, f), name);
    if (!wanted)
        return VECDB_OK;
    if (!*out)
        return segment_corrupt(body, "field %s: the section %s is missing", field_name(body, f), name);
    if (element_size && (*out)->element_size != element_size)
        return segment_corrupt(body, "field %s: elements of %u bytes in %s, expected %zu", field_name(body, f),
                       (*out)->element_size, name, element_size);
    if ((*out)->count != count)
        return segment_corrupt(body, "field %s: %" PRIu64 " elements in %s, expected %zu", field_name(body, f), (*out)->count, name,
                       count);
    return VECDB_OK;
}

static vecdb_status check_packed(struct segment_body *body, size_t f)
{
    struct field_sections *field = &body->fields[f];
    size_t pages, rows = field->page_rows;

    if (rows < BLOCK_MIN_PAGE_ROWS || rows > body->block_rows || (rows & (rows - 1)))
        return segment_corrupt(body, "field %s: pages of %zu rows: not a power of two in %d .. %zu", field_name(body, f), rows,
                       BLOCK_MIN_PAGE_ROWS, body->block_rows);
    pages = body->row_count / rows + (body->row_count % rows != 0);
    TRY(need(body, f, SECTION_PACKED, "PACKED", true, 0, body->row_count, &field->packed));
    TRY(need(body, f, SECTION_PAGES, "PAGES", true, BLOCK_ENTRY_SIZE, pages, &field->pages));
    TRY(need(body, f, SECTION_SIZES, "SIZES", true, 0, body->row_count, &field->sizes));
    field->size_width = field->sizes->element_size;
    if (field->size_width != 1 && field->size_width != 2 && field->size_width != 4)
        return segment_corrupt(body, "field %s: sizes of %u bytes, expected 1, 2 or 4", field_name(body, f), field->size_width);
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
        return segment_corrupt(body, "field %s: INFO says %u where 0 or 1 is expected", described->name, load_u32(info));
    field->empty = load_u32(info);
    field->page_rows = load_u32(info + 4);
    field->null_count = load_u64(info + 8);
    field->bytes = load_u64(info + 16);
    if (field->null_count > body->row_count)
        return segment_corrupt(body, "field %s: %" PRIu64 " of %zu rows have no value", described->name, field->null_count,
                       body->row_count);
    if (field->null_count && !(described->flags & VECDB_NULLABLE))
        return segment_corrupt(body, "field %s: %" PRIu64 " rows have no value, but must", described->name, field->null_count);
    if (field->empty && (vector || !body->row_count || field->null_count != body->row_count))
        return segment_corrupt(body, "field %s: left out, though %" PRIu64 " of %zu rows have no value", described->name,
                       field->null_count, body->row_count);
    if ((!packed || field->empty) && (field->page_rows || field->bytes))
        return segment_corrupt(body, "field %s: pages of %zu rows and %" PRIu64 " bytes, but it has no pages", described->name,
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
        return segment_corrupt(body, "%zu sections, of which only %zu are known", body->container.section_count, known);
    return VECDB_OK;
}

/* Each field must be in the collection's schema as it is here. */
static vecdb_status check_agreement(const struct segment_body *body, const struct schema *schema)
{
    for (size_t f = 0; f < body->schema->field_count; f++) {
        const struct field *own = &body->schema->fields[f], *theirs;
        size_t at = schema_find(schema, own->name, strlen(own->name));
        if (at == SCHEMA_NONE)
            return segment_corrupt(body, "field %s is not in the schema of collection %s", own->name, schema->name);
        theirs = &schema->fields[at];
        if (own->type != theirs->type || own->element_type != theirs->element_type || own->dim != theirs->dim ||
            (own->flags & (VECDB_NULLABLE | VECDB_PRIMARY_KEY)) != (theirs->flags & (VECDB_NULLABLE | VECDB_PRIMARY_KEY)))
            return segment_corrupt(body, "field %s is %s (dim %u, flags %u), in collection %s it is %s (dim %u, flags %u)",
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
            return segment_corrupt(body, "keys are out of order at %zu", i);
    for (size_t i = 0; file->key_rows && i < body->row_count; i++)
        if (file->key_rows[i] >= body->row_count)
            return segment_corrupt(body, "key %zu is in row %u of %zu", i, file->key_rows[i], body->row_count);
    atomic_store_explicit(&body->keys_checked, true, memory_order_release);
    return VECDB_OK;
}

vecdb_status segment_find_int64(struct segment *segment, int64_t key, size_t *row)
{
    struct segment_file *file = segment_file_of(segment);
    struct segment_body *body = file->body;
    size_t at;

    TRY(check_key_contents(file));
    if (file->counted) {
        uint64_t place = (uint64_t)key - (uint64_t)file->first_key;
        *row = (size_t)place;
        return place < body->row_count ? VECDB_OK : VECDB_NOT_FOUND;
    }
    if (!key_filter_test(file->key_filter, (size_t)body->key_filter->count, key_hash_int64(key)))
        return VECDB_NOT_FOUND;
    at = key_lower_bound(file->keys, body->row_count, (uint64_t)key, KEY_FLIP_SIGNED);
    if (at == body->row_count || file->keys[at] != (uint64_t)key)
        return VECDB_NOT_FOUND;
    *row = file->key_rows ? file->key_rows[at] : at;
    return *row < body->row_count ? VECDB_OK : segment_corrupt(body, "key %zu is in row %zu of %zu", at, *row, body->row_count);
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
            return segment_corrupt(body, "key %zu is in row %zu of %zu", at, *row, body->row_count);
        TRY(segment_file_row(segment, body->schema->primary, *row, scratch, &found));
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
    .column = segment_file_column,
    .vector_blocks = segment_file_vector_blocks,
    .and_present = segment_file_and_present,
    .find = file_find,
    .stats = segment_file_stats,
    .row = segment_file_row,
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

/* The file's pages need not stay. */
static void forget_section(struct segment_file *file, const struct container_section *section)
{
    (void)file_advise(&file->body->map, (size_t)(container_bytes(&file->body->container, section) - file->body->map.data),
                      (size_t)section->size, VFS_DONT_NEED);
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
    forget_section(file, section); /* the copy is what is read from now on */
    file->memory += size;
    return VECDB_OK;
}

/* Whether every key is one more than that of the row before: then nothing has to be kept to find one. */
static bool count_keys(struct segment_file *file)
{
    const struct segment_body *body = file->body;
    size_t n = body->row_count;

    if (n == 0 || file->key_rows || body->schema->fields[body->schema->primary].type != VECDB_TYPE_INT64)
        return false;
    file->first_key = (int64_t)file->keys[0];
    file->counted = file->keys[n - 1] - file->keys[0] == n - 1;
    return file->counted;
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
    if (count_keys(file)) { /* they are in order, as was just checked */
        forget_section(file, keys);
        forget_section(file, body->key_filter);
        return VECDB_OK;
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
