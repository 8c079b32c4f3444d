#include "storage/growing.h"

#include "base/mem.h"
#include "storage/key_map.h"

#include <assert.h>
#include <pthread.h>

#define SHARED_BYTES ((size_t)4 << 20) /* copied by more than one thread: it is the system that takes most of the time, finding memory */

/* A block of one variable-width field. The bytes grow by moving to a larger buffer; the old one stays for readers that hold
 * it, and is given back with the segment. */
struct text_block {
    uint8_t *_Atomic bytes;
    size_t size, capacity;
    uint32_t *offsets; /* block_rows + 1 */
};

struct growing_field {
    uint8_t **blocks;           /* fixed width: block_count pointers, set before a row in them is published */
    struct text_block *texts;   /* variable width: block_count */
    uint8_t **valid;            /* nullable: a byte for each row, in blocks */
};

struct growing {
    struct segment base;
    size_t block_count;
    unsigned block_shift;
    struct growing_field *fields;
    _Atomic int64_t *earliest; /* of each block, where the schema has $inserted: no row was written before */
    size_t appended; /* writer only */
    size_t bytes;    /* writer only */
    void **retired;  /* outgrown text buffers */
    size_t retired_count;
    pthread_mutex_t keys_lock;
    struct key_map keys;  /* keys_lock */
    uint32_t **previous;  /* keys_lock: blocks of each row's older row with the same key; KEY_MAP_NONE ends */
};

static const struct segment_ops growing_ops;

/* Blocks of about a megabyte of the widest field. */
static unsigned choose_block_shift(const struct schema *schema)
{
    size_t widest = 1;
    unsigned shift = 12;

    for (size_t f = 0; f < schema->field_count; f++)
        if (schema->fields[f].width > widest)
            widest = schema->fields[f].width;
    while (shift > 6 && (widest << shift) > ((size_t)1 << 20))
        shift--;
    return shift;
}

static void growing_free(struct segment *segment)
{
    struct growing *growing = (struct growing *)segment;
    void *beside = atomic_load(&segment->beside);

    if (beside)
        segment->beside_free(beside);
    for (size_t f = 0; growing->fields && f < segment->schema->field_count; f++) {
        struct growing_field *field = &growing->fields[f];
        for (size_t b = 0; b < growing->block_count; b++) {
            if (field->blocks)
                mem_free(field->blocks[b]);
            if (field->texts) {
                mem_free(atomic_load_explicit(&field->texts[b].bytes, memory_order_relaxed));
                mem_free(field->texts[b].offsets);
            }
            if (field->valid)
                mem_free(field->valid[b]);
        }
        mem_free(field->blocks);
        mem_free(field->texts);
        mem_free(field->valid);
    }
    for (size_t i = 0; i < growing->retired_count; i++)
        mem_free(growing->retired[i]);
    for (size_t b = 0; growing->previous && b < growing->block_count; b++)
        mem_free(growing->previous[b]);
    mem_free(growing->previous);
    mem_free(growing->earliest);
    mem_free(growing->retired);
    mem_free(growing->fields);
    key_map_deinit(&growing->keys);
    pthread_mutex_destroy(&growing->keys_lock);
    mem_free(growing);
}

vecdb_status growing_create(const struct schema *schema, uint64_t id, size_t row_capacity, struct segment **out)
{
    struct growing *growing = mem_zalloc(sizeof *growing);
    bool failed;

    *out = NULL;
    if (!growing)
        return error_nomem("growing segment");
    pthread_mutex_init(&growing->keys_lock, NULL);
    growing->block_shift = choose_block_shift(schema);
    growing->block_count = (row_capacity + ((size_t)1 << growing->block_shift) - 1) >> growing->block_shift;
    growing->base.ops = &growing_ops;
    growing->base.schema = schema;
    growing->base.id = id;
    growing->base.block_rows = (size_t)1 << growing->block_shift;
    growing->base.row_count = growing->block_count << growing->block_shift;
    growing->base.growing = true;
    growing->base.keys_ascend = true;
    atomic_init(&growing->base.references, 1);
    growing->fields = mem_array_zalloc(schema->field_count, sizeof *growing->fields);
    growing->previous = mem_array_zalloc(growing->block_count, sizeof *growing->previous);
    failed = !growing->fields || !growing->previous;
    if (schema->inserted != SCHEMA_NONE && !failed) {
        growing->earliest = mem_array_alloc(growing->block_count, sizeof *growing->earliest);
        failed = !growing->earliest;
        for (size_t b = 0; !failed && b < growing->block_count; b++)
            atomic_init(&growing->earliest[b], INT64_MAX);
    }
    for (size_t f = 0; !failed && f < schema->field_count; f++) {
        struct growing_field *field = &growing->fields[f];
        if (schema->fields[f].width)
            failed = !(field->blocks = mem_array_zalloc(growing->block_count, sizeof *field->blocks));
        else
            failed = !(field->texts = mem_array_zalloc(growing->block_count, sizeof *field->texts));
        if (!failed && (schema->fields[f].flags & VECDB_NULLABLE))
            failed = !(field->valid = mem_array_zalloc(growing->block_count, sizeof *field->valid));
    }
    if (failed) {
        growing_free(&growing->base);
        return error_nomem("growing segment");
    }
    *out = &growing->base;
    return VECDB_OK;
}

size_t growing_row_count(const struct segment *segment) { return ((const struct growing *)segment)->appended; }
size_t growing_bytes(const struct segment *segment) { return ((const struct growing *)segment)->bytes; }

static const uint8_t *key_at(const struct growing *growing, uint32_t row, size_t *size)
{
    const struct field *field = &growing->base.schema->fields[growing->base.schema->primary];
    const struct growing_field *values = &growing->fields[growing->base.schema->primary];
    size_t block = row >> growing->block_shift, i = row & (growing->base.block_rows - 1);

    if (field->width) {
        *size = field->width;
        return values->blocks[block] + i * field->width;
    }
    *size = values->texts[block].offsets[i + 1] - values->texts[block].offsets[i];
    return atomic_load_explicit(&values->texts[block].bytes, memory_order_acquire) + values->texts[block].offsets[i];
}

static bool key_equal(const void *context, uint32_t row, const void *key, size_t key_size)
{
    size_t size;
    const uint8_t *other = key_at(context, row, &size);

    return size == key_size && memcmp(other, key, size) == 0;
}

/* Room in one block's text for `extra` bytes more. */
static vecdb_status text_reserve(struct growing *growing, struct text_block *text, size_t extra)
{
    size_t capacity = text->capacity ? text->capacity : 256;
    uint8_t *old = atomic_load_explicit(&text->bytes, memory_order_relaxed), *grown;
    void **retired;

    if (text->size + extra <= text->capacity)
        return VECDB_OK;
    while (capacity < text->size + extra)
        capacity *= 2;
    retired = mem_realloc(growing->retired, (growing->retired_count + 1) * sizeof *retired);
    if (!retired)
        return error_nomem("growing segment");
    growing->retired = retired;
    grown = mem_alloc(capacity);
    if (!grown)
        return error_nomem("growing segment");
    if (old) {
        memcpy(grown, old, text->size);
        growing->retired[growing->retired_count++] = old;
    }
    atomic_store_explicit(&text->bytes, grown, memory_order_release);
    text->capacity = capacity;
    return VECDB_OK;
}

/* Memory for count rows more, so that copying them cannot fail. */
static vecdb_status reserve(struct growing *growing, const struct rows *rows, size_t first, size_t count)
{
    const struct schema *schema = growing->base.schema;
    size_t from = growing->appended, to = from + count, block_rows = growing->base.block_rows;

    for (size_t b = from >> growing->block_shift; b <= (to - 1) >> growing->block_shift; b++) {
        size_t begin = b * block_rows < from ? from : b * block_rows;
        size_t end = (b + 1) * block_rows > to ? to : (b + 1) * block_rows;
        if (!growing->previous[b] && !(growing->previous[b] = mem_array_alloc(block_rows, sizeof **growing->previous)))
            return error_nomem("growing segment");
        for (size_t f = 0; f < schema->field_count; f++) {
            struct growing_field *field = &growing->fields[f];
            if (field->blocks && !field->blocks[b]) {
                field->blocks[b] = mem_aligned_alloc(64, block_rows * schema->fields[f].width);
                if (!field->blocks[b])
                    return error_nomem("growing segment");
            }
            if (field->valid && !field->valid[b] && !(field->valid[b] = mem_alloc(block_rows)))
                return error_nomem("growing segment");
            if (field->texts) {
                const uint32_t *offsets = rows->columns[f].offsets + first;
                struct text_block *text = &field->texts[b];
                if (!text->offsets) {
                    text->offsets = mem_array_alloc(block_rows + 1, sizeof *text->offsets);
                    if (!text->offsets)
                        return error_nomem("growing segment");
                    text->offsets[0] = 0;
                }
                TRY(text_reserve(growing, text, offsets[end - from] - offsets[begin - from]));
            }
        }
    }
    return VECDB_OK;
}

static void copy_field(struct growing *growing, size_t f, const struct column *column, size_t first, size_t begin,
                       size_t end)
{
    struct growing_field *field = &growing->fields[f];
    size_t block = begin >> growing->block_shift, at = begin & (growing->base.block_rows - 1);
    size_t source = first + (begin - growing->appended), count = end - begin;

    if (field->blocks) {
        memcpy(field->blocks[block] + at * column->width, column->data + source * column->width, count * column->width);
    } else {
        struct text_block *text = &field->texts[block];
        uint8_t *bytes = atomic_load_explicit(&text->bytes, memory_order_relaxed);
        uint32_t start = column->offsets[source], size = column->offsets[source + count] - start;
        if (size)
            memcpy(bytes + text->size, column->data + start, size);
        for (size_t i = 0; i < count; i++)
            text->offsets[at + i + 1] = (uint32_t)text->size + column->offsets[source + i + 1] - start;
        text->size += size;
    }
    if (field->valid)
        for (size_t i = 0; i < count; i++)
            field->valid[block][at + i] = column_is_valid(column, source + i);
}

static bool key_less(vecdb_type type, const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    int order;

    if (type == VECDB_TYPE_INT64)
        return (int64_t)load_u64(a) < (int64_t)load_u64(b);
    order = memcmp(a, b, a_size < b_size ? a_size : b_size);
    return order < 0 || (order == 0 && a_size < b_size);
}

/* Enter the new rows' keys, and note whether keys still ascend. */
static void enter_keys(struct growing *growing, size_t from, size_t to)
{
    vecdb_type type = growing->base.schema->fields[growing->base.schema->primary].type;
    const uint8_t *before = NULL;
    size_t before_size = 0;

    if (from > 0)
        before = key_at(growing, (uint32_t)from - 1, &before_size);
    pthread_mutex_lock(&growing->keys_lock);
    for (size_t row = from; row < to; row++) {
        size_t size;
        const uint8_t *key = key_at(growing, (uint32_t)row, &size);
        uint32_t older =
            key_map_put(&growing->keys, key_map_hash(key, size), key, size, (uint32_t)row, key_equal, growing);
        growing->previous[row >> growing->block_shift][row & (growing->base.block_rows - 1)] = older;
        if (growing->base.keys_ascend && before && !key_less(type, before, before_size, key, size))
            growing->base.keys_ascend = false;
        before = key;
        before_size = size;
    }
    pthread_mutex_unlock(&growing->keys_lock);
}

/* Before readers learn of the rows. */
static void note_earliest(struct growing *growing, const struct column *column, size_t first, size_t begin, size_t end)
{
    _Atomic int64_t *earliest = &growing->earliest[begin >> growing->block_shift];
    int64_t least = atomic_load_explicit(earliest, memory_order_relaxed);

    for (size_t row = first + begin - growing->appended; begin < end; begin++, row++) {
        int64_t inserted = (int64_t)load_u64(column->data + row * 8);
        least = inserted < least ? inserted : least;
    }
    atomic_store_explicit(earliest, least, memory_order_relaxed);
}

struct copying {
    struct growing *growing;
    const struct rows *rows;
    size_t first, to;
};

/* Rows of one block of the segment. */
static vecdb_status copy_task(void *context, size_t task, unsigned worker)
{
    const struct copying *copying = context;
    struct growing *growing = copying->growing;
    const struct schema *schema = growing->base.schema;
    size_t block = (growing->appended >> growing->block_shift) + task, begin = block << growing->block_shift;
    size_t end = begin + growing->base.block_rows;

    begin = begin < growing->appended ? growing->appended : begin;
    end = end > copying->to ? copying->to : end;
    for (size_t f = 0; f < schema->field_count; f++)
        copy_field(growing, f, &copying->rows->columns[f], copying->first, begin, end);
    if (growing->earliest)
        note_earliest(growing, &copying->rows->columns[schema->inserted], copying->first, begin, end);
    return VECDB_OK;
}

/* Of the values of rows first .. first + count - 1 of a batch. */
static size_t bytes_of(const struct rows *rows, size_t first, size_t count)
{
    size_t bytes = 0;

    for (size_t f = 0; f < rows->schema->field_count; f++) {
        const struct column *column = &rows->columns[f];
        bytes += column->width ? count * column->width : column->offsets[first + count] - column->offsets[first] + count * 4;
    }
    return bytes;
}

size_t growing_pieces(const struct segment *segment, size_t field, size_t first, size_t count, struct iovec *pieces, size_t most)
{
    const struct growing *growing = (const struct growing *)segment;
    size_t width = segment->schema->fields[field].width, n = 0;

    for (size_t row = first, end; row < first + count; row = end) {
        end = (row | (segment->block_rows - 1)) + 1;
        end = end > first + count ? first + count : end;
        if (n == most)
            return 0;
        pieces[n++] = (struct iovec){growing->fields[field].blocks[row >> growing->block_shift] +
                                         (row & (segment->block_rows - 1)) * width,
                                     (end - row) * width};
    }
    return n;
}

vecdb_status growing_append(struct segment *segment, const struct rows *rows, size_t first, size_t count, struct pool *pool)
{
    struct growing *growing = (struct growing *)segment;
    size_t from = growing->appended, to = from + count, bytes = bytes_of(rows, first, count);
    struct copying copying = {growing, rows, first, to};
    vecdb_status status;

    if (count == 0)
        return VECDB_OK;
    TRY(reserve(growing, rows, first, count));
    pthread_mutex_lock(&growing->keys_lock);
    status = key_map_reserve(&growing->keys, count);
    pthread_mutex_unlock(&growing->keys_lock);
    if (status != VECDB_OK)
        return status;
    status = pool_run(bytes >= SHARED_BYTES ? pool : NULL, ((to - 1) >> growing->block_shift) - (from >> growing->block_shift) + 1,
                      copy_task, &copying);
    assert(status == VECDB_OK); /* no task fails */
    growing->bytes += bytes;
    enter_keys(growing, from, to);
    growing->appended = to;
    return VECDB_OK;
}

size_t growing_room(const struct segment *segment, const struct rows *rows, size_t first, size_t count)
{
    const struct growing *growing = (const struct growing *)segment;
    size_t room = segment->row_count - growing->appended;

    if (count > room)
        count = room;
    for (size_t f = 0; f < segment->schema->field_count; f++) {
        const uint32_t *offsets = rows->columns[f].offsets;
        size_t block, used;
        if (!growing->fields[f].texts || !count)
            continue;
        block = growing->appended >> growing->block_shift;
        used = growing->fields[f].texts[block].size;
        while (count && used + (offsets[first + count] - offsets[first]) > ((size_t)1 << 30))
            count /= 2;
    }
    return count;
}

static vecdb_status growing_column(struct segment *segment, size_t f, size_t block, size_t row_count,
                                   struct column_scratch *scratch, struct column *out)
{
    struct growing *growing = (struct growing *)segment;
    const struct field *field = &segment->schema->fields[f];
    struct growing_field *values = &growing->fields[f];

    *out = (struct column){.type = field->type,
                           .element_type = field->element_type,
                           .dim = field->dim,
                           .width = field->width,
                           .row_count = row_count};
    if (row_count == 0)
        return VECDB_OK;
    if (values->blocks) {
        out->data = values->blocks[block];
    } else {
        out->data = atomic_load_explicit(&values->texts[block].bytes, memory_order_acquire);
        out->offsets = values->texts[block].offsets;
    }
    if (values->valid) {
        uint64_t *words;
        scratch->bytes.size = 0;
        TRY(buf_append(&scratch->bytes, NULL, bitmap_words(row_count) * 8));
        words = (uint64_t *)(void *)scratch->bytes.data;
        for (size_t i = 0; i < row_count; i++)
            words[i / 64] |= (uint64_t)values->valid[block][i] << (i % 64);
        out->valid = words;
    }
    return VECDB_OK;
}

static const uint8_t *const *growing_vector_blocks(struct segment *segment, size_t f, unsigned *block_shift)
{
    struct growing *growing = (struct growing *)segment;

    *block_shift = growing->block_shift;
    return (const uint8_t *const *)growing->fields[f].blocks;
}

static void growing_and_present(struct segment *segment, size_t f, size_t row_count, uint64_t *rows)
{
    struct growing *growing = (struct growing *)segment;
    uint8_t **valid = growing->fields[f].valid;

    if (!valid)
        return;
    for (size_t row = 0; row < row_count; row++)
        if (!valid[row >> growing->block_shift][row & (segment->block_rows - 1)])
            bitmap_clear(rows, row);
}

static vecdb_status growing_find(struct segment *segment, const void *key, size_t key_size, size_t row_count,
                                 bool *found, uint32_t *row)
{
    struct growing *growing = (struct growing *)segment;
    uint64_t hash = key_map_hash(key, key_size);
    uint32_t at;

    pthread_mutex_lock(&growing->keys_lock);
    at = key_map_find(&growing->keys, hash, key, key_size, key_equal, growing);
    while (at != KEY_MAP_NONE && at >= row_count)
        at = growing->previous[at >> growing->block_shift][at & (segment->block_rows - 1)];
    pthread_mutex_unlock(&growing->keys_lock);
    *found = at != KEY_MAP_NONE;
    *row = at;
    return VECDB_OK;
}

/* Known of one field alone. */
static bool growing_stats(struct segment *segment, size_t f, size_t block, struct column_stats *out)
{
    const struct growing *growing = (const struct growing *)segment;

    if (!growing->earliest || f != segment->schema->inserted)
        return false;
    *out = (struct column_stats){.has_range = true,
                                 .low.integer = atomic_load_explicit(&growing->earliest[block], memory_order_relaxed),
                                 .high.integer = INT64_MAX};
    return true;
}

static const struct segment_ops growing_ops = {
    .stats = growing_stats,
    .column = growing_column,
    .vector_blocks = growing_vector_blocks,
    .and_present = growing_and_present,
    .find = growing_find,
    .free = growing_free,
};
