/* A manifest as bytes, and back (format.md, "Manifest"). */
#include "storage/manifest.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <string.h>

#define BODY_START 72

/* -- writing */

struct writer {
    struct buf *out;
    vecdb_status status; /* the first failure; later calls do nothing */
};

static void put(struct writer *writer, const void *data, size_t size)
{
    if (writer->status == VECDB_OK)
        writer->status = buf_append(writer->out, data, size);
}

static void put_u32(struct writer *writer, uint32_t value) { put(writer, &value, sizeof value); }
static void put_u64(struct writer *writer, uint64_t value) { put(writer, &value, sizeof value); }

static void put_bytes(struct writer *writer, const void *data, size_t size)
{
    put_u32(writer, (uint32_t)size);
    put(writer, data ? data : "", size);
}

static void put_text(struct writer *writer, const char *text) { put_bytes(writer, text, text ? strlen(text) : 0); }

static size_t begin_record(struct writer *writer)
{
    put_u32(writer, 0);
    return writer->out->size;
}

static void end_record(struct writer *writer, size_t start)
{
    if (writer->status == VECDB_OK)
        store_u32(writer->out->data + start - 4, (uint32_t)(writer->out->size - start));
}

static void put_file(struct writer *writer, const struct manifest_file *file)
{
    put_u64(writer, file->id);
    put_u64(writer, file->size);
    put_u64(writer, file->checksum);
}

static void put_segment(struct writer *writer, const struct manifest_segment *segment)
{
    size_t start = begin_record(writer);

    put_file(writer, &segment->file);
    put_u64(writer, segment->partition_id);
    put_u64(writer, segment->row_count);
    put_u64(writer, segment->deleted_count);
    put_file(writer, &segment->tombstones);
    put_u32(writer, (uint32_t)segment->index_count);
    for (size_t i = 0; i < segment->index_count; i++) {
        size_t inner = begin_record(writer);
        put_u64(writer, segment->indexes[i].index_id);
        put_file(writer, &segment->indexes[i].file);
        put_text(writer, segment->indexes[i].kind);
        end_record(writer, inner);
    }
    end_record(writer, start);
}

static void put_collection(struct writer *writer, const struct manifest_collection *collection)
{
    size_t start = begin_record(writer), inner;

    put_u64(writer, collection->id);
    put_u64(writer, collection->checkpoint_lsn);
    put_u64(writer, collection->next_auto_id);
    put_u64(writer, collection->next_partition_id);
    put_u64(writer, collection->next_index_id);
    put_bytes(writer, collection->schema.data, collection->schema.size);
    put_u32(writer, (uint32_t)collection->partition_count);
    for (size_t i = 0; i < collection->partition_count; i++) {
        inner = begin_record(writer);
        put_u64(writer, collection->partitions[i].id);
        put_text(writer, collection->partitions[i].name);
        end_record(writer, inner);
    }
    put_u32(writer, (uint32_t)collection->index_count);
    for (size_t i = 0; i < collection->index_count; i++) {
        const struct manifest_index *index = &collection->indexes[i];
        inner = begin_record(writer);
        put_u64(writer, index->id);
        put_u32(writer, index->field);
        put_u32(writer, index->metric);
        put_text(writer, index->name);
        put_text(writer, index->type);
        put_text(writer, index->params);
        end_record(writer, inner);
    }
    put_u32(writer, (uint32_t)collection->segment_count);
    for (size_t i = 0; i < collection->segment_count; i++)
        put_segment(writer, &collection->segments[i]);
    end_record(writer, start);
}

vecdb_status manifest_encode(const struct manifest *manifest, struct buf *out)
{
    struct writer writer = {out, VECDB_OK};
    size_t base = out->size, root, inner;

    put(&writer, NULL, BODY_START);
    root = begin_record(&writer);
    put_u64(&writer, manifest->epoch);
    put_u64(&writer, manifest->next_file_id);
    put_u64(&writer, manifest->next_collection_id);
    put_u64(&writer, manifest->checkpoint_lsn);
    put_u32(&writer, (uint32_t)manifest->wal_count);
    for (size_t i = 0; i < manifest->wal_count; i++) {
        inner = begin_record(&writer);
        put_u64(&writer, manifest->wals[i].id);
        put_u64(&writer, manifest->wals[i].first_lsn);
        end_record(&writer, inner);
    }
    put_u32(&writer, (uint32_t)manifest->collection_count);
    for (size_t i = 0; i < manifest->collection_count; i++)
        put_collection(&writer, &manifest->collections[i]);
    put_u32(&writer, (uint32_t)manifest->alias_count);
    for (size_t i = 0; i < manifest->alias_count; i++) {
        inner = begin_record(&writer);
        put_u64(&writer, manifest->aliases[i].collection_id);
        put_text(&writer, manifest->aliases[i].name);
        end_record(&writer, inner);
    }
    end_record(&writer, root);
    put_u64(&writer, 0);
    if (writer.status == VECDB_OK && out->size - base > MANIFEST_MAX_SIZE)
        writer.status = error_set(VECDB_ERR_LIMIT, "manifest of %zu bytes: at most %zu", out->size - base,
                                  MANIFEST_MAX_SIZE);
    if (writer.status != VECDB_OK) {
        out->size = base;
        return writer.status;
    }
    format_header_write(out->data + base, FILE_MANIFEST, manifest->uuid, manifest->generation);
    store_u64(out->data + base + FORMAT_HEADER_SIZE, out->size - base);
    store_u64(out->data + out->size - 8, checksum(out->data + base, out->size - base - 8, 0));
    return VECDB_OK;
}

/* -- reading */

struct input {
    const uint8_t *at, *end;
    const char *name;    /* of the file */
    const uint8_t *base; /* of the file */
    bool newer;          /* records may be longer than we know */
    vecdb_status status; /* the first failure; later reads give zeros */
};

static void bad(struct input *input, const char *what)
{
    if (input->status == VECDB_OK)
        input->status = error_set(VECDB_ERR_CORRUPT, "%s: %s at offset %zu", input->name, what,
                                  (size_t)(input->at - input->base));
}

static bool want(struct input *input, size_t size)
{
    if (input->status == VECDB_OK && (size_t)(input->end - input->at) < size)
        bad(input, "record ends too early");
    return input->status == VECDB_OK;
}

static uint32_t get_u32(struct input *input)
{
    if (!want(input, 4))
        return 0;
    input->at += 4;
    return load_u32(input->at - 4);
}

static uint64_t get_u64(struct input *input)
{
    if (!want(input, 8))
        return 0;
    input->at += 8;
    return load_u64(input->at - 8);
}

static const uint8_t *get_bytes(struct input *input, size_t *size)
{
    *size = get_u32(input);
    if (!want(input, *size)) {
        *size = 0;
        return input->at;
    }
    input->at += *size;
    return input->at - *size;
}

static void get_text(struct input *input, char **out)
{
    size_t size;
    const uint8_t *text = get_bytes(input, &size);

    if (input->status != VECDB_OK)
        return;
    if (!utf8_valid((const char *)text, size, NULL) || memchr(text, 0, size)) {
        bad(input, "text is not UTF-8 or contains a zero byte");
        return;
    }
    *out = mem_alloc(size + 1);
    if (!*out) {
        input->status = error_nomem(input->name);
        return;
    }
    memcpy(*out, text, size);
    (*out)[size] = '\0';
}

/* Go into a record: the input ends where it ends. Returns where the outer one ends, for leave_record(). */
static const uint8_t *enter_record(struct input *input)
{
    const uint8_t *outer = input->end;
    uint32_t size = get_u32(input);

    if (want(input, size))
        input->end = input->at + size;
    return outer;
}

static void leave_record(struct input *input, const uint8_t *outer)
{
    if (input->status == VECDB_OK && input->at != input->end && !input->newer)
        bad(input, "bytes left over in a record");
    input->at = input->end;
    input->end = outer;
}

/* Begin an array: how many, with room for them in *items. Each takes at least a byte count in the file. */
static size_t begin_array(struct input *input, size_t item_size, void **items)
{
    size_t count = get_u32(input);

    if (input->status == VECDB_OK && count > (size_t)(input->end - input->at) / 4)
        bad(input, "array with more items than bytes");
    if (input->status != VECDB_OK || count == 0)
        return 0;
    *items = mem_array_zalloc(count, item_size);
    if (!*items)
        input->status = error_nomem(input->name);
    return *items ? count : 0;
}
#define BEGIN_ARRAY(input, items) begin_array((input), sizeof *(items), (void **)&(items))

static void get_file(struct input *input, struct manifest_file *file)
{
    file->id = get_u64(input);
    file->size = get_u64(input);
    file->checksum = get_u64(input);
}

static void get_segment(struct input *input, struct manifest_segment *segment)
{
    const uint8_t *outer = enter_record(input), *inner;

    get_file(input, &segment->file);
    segment->partition_id = get_u64(input);
    segment->row_count = get_u64(input);
    segment->deleted_count = get_u64(input);
    get_file(input, &segment->tombstones);
    segment->index_count = BEGIN_ARRAY(input, segment->indexes);
    for (size_t i = 0; i < segment->index_count && input->status == VECDB_OK; i++) {
        inner = enter_record(input);
        segment->indexes[i].index_id = get_u64(input);
        get_file(input, &segment->indexes[i].file);
        get_text(input, &segment->indexes[i].kind);
        leave_record(input, inner);
    }
    leave_record(input, outer);
}

static void get_collection(struct input *input, struct manifest_collection *collection)
{
    const uint8_t *outer = enter_record(input), *inner, *schema;
    size_t size;

    collection->id = get_u64(input);
    collection->checkpoint_lsn = get_u64(input);
    collection->next_auto_id = get_u64(input);
    collection->next_partition_id = get_u64(input);
    collection->next_index_id = get_u64(input);
    schema = get_bytes(input, &size);
    if (input->status == VECDB_OK)
        input->status = buf_append(&collection->schema, schema, size);
    collection->partition_count = BEGIN_ARRAY(input, collection->partitions);
    for (size_t i = 0; i < collection->partition_count && input->status == VECDB_OK; i++) {
        inner = enter_record(input);
        collection->partitions[i].id = get_u64(input);
        get_text(input, &collection->partitions[i].name);
        leave_record(input, inner);
    }
    collection->index_count = BEGIN_ARRAY(input, collection->indexes);
    for (size_t i = 0; i < collection->index_count && input->status == VECDB_OK; i++) {
        struct manifest_index *index = &collection->indexes[i];
        inner = enter_record(input);
        index->id = get_u64(input);
        index->field = get_u32(input);
        index->metric = get_u32(input);
        get_text(input, &index->name);
        get_text(input, &index->type);
        get_text(input, &index->params);
        leave_record(input, inner);
    }
    collection->segment_count = BEGIN_ARRAY(input, collection->segments);
    for (size_t i = 0; i < collection->segment_count && input->status == VECDB_OK; i++)
        get_segment(input, &collection->segments[i]);
    leave_record(input, outer);
}

static void get_root(struct input *input, struct manifest *out)
{
    const uint8_t *outer = enter_record(input), *inner;

    out->epoch = get_u64(input);
    out->next_file_id = get_u64(input);
    out->next_collection_id = get_u64(input);
    out->checkpoint_lsn = get_u64(input);
    out->wal_count = BEGIN_ARRAY(input, out->wals);
    for (size_t i = 0; i < out->wal_count && input->status == VECDB_OK; i++) {
        inner = enter_record(input);
        out->wals[i].id = get_u64(input);
        out->wals[i].first_lsn = get_u64(input);
        leave_record(input, inner);
    }
    out->collection_count = BEGIN_ARRAY(input, out->collections);
    for (size_t i = 0; i < out->collection_count && input->status == VECDB_OK; i++)
        get_collection(input, &out->collections[i]);
    out->alias_count = BEGIN_ARRAY(input, out->aliases);
    for (size_t i = 0; i < out->alias_count && input->status == VECDB_OK; i++) {
        inner = enter_record(input);
        out->aliases[i].collection_id = get_u64(input);
        get_text(input, &out->aliases[i].name);
        leave_record(input, inner);
    }
    leave_record(input, outer);
    if (input->status == VECDB_OK && input->at != input->end)
        bad(input, "bytes left over");
}

vecdb_status manifest_decode(const char *name, const uint8_t *data, size_t size, uint64_t generation,
                             const uint8_t *uuid, bool *read_only, struct manifest *out)
{
    struct format_header header;
    struct input input = {.name = name, .base = data};
    vecdb_status status;

    *out = (struct manifest){0};
    TRY(format_header_check(name, data, size, FILE_MANIFEST, uuid, generation, &header));
    if (size < BODY_START + 8 || load_u64(data + FORMAT_HEADER_SIZE) != size)
        return error_set(VECDB_ERR_CORRUPT, "%s: %zu bytes, expected %llu", name, size,
                         size < BODY_START ? 0 : (unsigned long long)load_u64(data + FORMAT_HEADER_SIZE));
    if (!checksum_equal(load_u64(data + size - 8), checksum(data, size - 8, 0)))
        return error_set(VECDB_ERR_CORRUPT, "%s: checksum is %016llx, expected %016llx", name,
                         (unsigned long long)checksum(data, size - 8, 0), (unsigned long long)load_u64(data + size - 8));
    input.at = data + BODY_START;
    input.end = data + size - 8;
    input.newer = header.newer_minor;
    get_root(&input, out);
    memcpy(out->uuid, header.uuid, sizeof out->uuid);
    out->generation = generation;
    status = input.status == VECDB_OK ? manifest_check(name, out) : input.status;
    if (status != VECDB_OK) {
        vecdb_error cause = *error_last();
        manifest_deinit(out);
        return error_adopt(&cause);
    }
    *read_only = header.read_only;
    return VECDB_OK;
}
