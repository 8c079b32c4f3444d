#include "storage/segment_writing.h"

#include "base/mem.h"
#include "storage/key_index.h"
#include "storage/segment_file.h"

/* ------------------------------------------------------------------------------------------------- which rows */

static size_t count_kept(const struct segment_source *source)
{
    return source->keep ? bitmap_count(source->keep, source->row_count) : source->row_count;
}

/* Origins in the order of the sources. */
static void list_origins(struct writing *writer)
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

static vecdb_status apply_order(struct writing *writer)
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

static vecdb_status make_inverse(struct writing *writer)
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

static void fill_row_maps(const struct writing *writer)
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

/* ------------------------------------------------------------------------------------------------- keys */

/* The key of a new row, from its source. */
static vecdb_status read_key(struct writing *writer, size_t row, struct column_scratch *scratch, struct column *out)
{
    struct origin origin = writer->origins[row];
    struct segment *segment = writer->what->sources[origin.source].segment;

    return segment_row(segment, segment->schema->primary, origin.row, scratch, out);
}

/* Whether the VARCHAR keys of two new rows are the same, or in which order; equal hashes do not tell. */
static vecdb_status compare_keys(struct writing *writer, size_t a, size_t b, int *order)
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
static vecdb_status text_keys_ascend(struct writing *writer)
{
    struct buf before = {0};
    vecdb_status status = writing_begin_field(writer, writer->what->schema->primary);

    writer->keys_ascend = true;
    for (size_t row = 0; row < writer->row_count && writer->keys_ascend && status == VECDB_OK; row++) {
        const uint8_t *key;
        size_t at, size, shorter;
        int order;
        if ((status = writing_show(writer, writer->origins[row], &at)) != VECDB_OK)
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

static vecdb_status write_key_filter(struct writing *writer, bool integers)
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

static vecdb_status write_keys(struct writing *writer)
{
    uint32_t f = (uint32_t)writer->what->schema->primary;
    const struct field *field = writing_field(writer, f);
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

static vecdb_status write_info(struct writing *writer)
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
static vecdb_status write_all(struct writing *writer)
{
    const struct schema *schema = writer->what->schema;

    memset(writer->fields, 0, schema->field_count * sizeof *writer->fields);
    for (size_t f = 0; f < schema->field_count; f++)
        if (type_is_variable(schema->fields[f].type))
            TRY(writing_text_field(writer, f));
    for (size_t f = 0; f < schema->field_count; f++)
        if (!type_is_variable(schema->fields[f].type) && !type_is_dense(schema->fields[f].type))
            TRY(writing_fixed_field(writer, f));
    for (size_t f = 0; f < schema->field_count; f++)
        if (type_is_dense(schema->fields[f].type))
            TRY(writing_fixed_field(writer, f));
    TRY(write_keys(writer));
    TRY(write_info(writer));
    return writing_progress(writer, schema->field_count, 0);
}

static vecdb_status prepare(struct writing *writer)
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

static void writer_deinit(struct writing *writer)
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
    struct writing writer = {.what = what};
    vecdb_status status = prepare(&writer);

    out->unsynced.fd = 0;
    writer.block_rows = what->block_rows ? what->block_rows : SEGMENT_DEFAULT_BLOCK_ROWS;
    while (status == VECDB_OK) {
        status = container_writer_init(&writer.container, what->dir, FILE_SEGMENT, what->uuid, what->segment_id);
        if (status != VECDB_OK)
            break;
        writer.smaller_blocks = false;
        if ((status = write_all(&writer)) == VECDB_OK &&
            (status = what->sync_later ? container_writer_finish_unsynced(&writer.container, &out->file, &out->unsynced)
                                       : container_writer_finish(&writer.container, &out->file)) == VECDB_OK) {
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

vecdb_status segment_sync(struct segment_written *written)
{
    vecdb_status status = written->unsynced.fd ? file_sync(&written->unsynced) : VECDB_OK;

    file_close(&written->unsynced);
    return status;
}
