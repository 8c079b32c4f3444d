#include "filter/scalar_index.h"

#include "base/mem.h"
#include "filter/dictionary.h"
#include "filter/scalar_index_data.h"
#include "filter/scalar_settings.h"

#include <math.h>

#define MAGIC 0x58495356u /* "VSIX" */
#define VERSION SCALAR_INDEX_FORMAT
#define HEAD 64
#define FLAG_MULTI 1

/* ---- Building ---- */

static vecdb_status put_section(struct buf *out, const void *data, size_t size)
{
    TRY(buf_append(out, data, size));
    return buf_align(out, 8);
}

static vecdb_status put_path(struct buf *out, const struct operand *operand)
{
    for (size_t i = 0; i < operand->step_count; i++) {
        const struct step *step = &operand->steps[i];
        uint8_t head[5] = {step->key != NULL};

        store_u32(head + 1, (uint32_t)(step->key ? step->length : step->index));
        TRY(buf_append(out, head, sizeof head));
        if (step->key)
            TRY(buf_append(out, step->key, step->length));
    }
    return VECDB_OK;
}

static enum kind choose_kind(const struct settings *settings, size_t keys)
{
    if (settings->kind != KIND_AUTO)
        return settings->kind;
    if (settings->type == VECDB_TYPE_BOOL)
        return KIND_BITMAP;
    if (settings->type == VECDB_TYPE_JSON || settings->type == VECDB_TYPE_ARRAY)
        return KIND_INVERTED;
    if (keys <= settings->cardinality_limit && !type_is_float(settings->type))
        return KIND_BITMAP;
    return settings->type == VECDB_TYPE_VARCHAR ? KIND_INVERTED : KIND_SORTED;
}

static vecdb_status put_bitmaps(struct buf *out, const struct dictionary *dictionary, size_t rows, uint32_t *bitmaps)
{
    size_t words = bitmap_words(rows), at = out->size;
    uint32_t count = 0;

    TRY(put_section(out, NULL, dictionary->key_count * 4));
    for (size_t k = 0; k < dictionary->key_count; k++) {
        size_t first = dictionary->begin[k], end = dictionary->begin[k + 1], start = out->size;

        if ((end - first) * 32 < rows) /* a list is no larger than the bitmap */
            continue;
        store_u32(out->data + at + k * 4, ++count);
        TRY(buf_append(out, NULL, words * 8));
        for (size_t i = first; i < end; i++)
            bitmap_set((uint64_t *)(out->data + start), dictionary->rows[i]);
    }
    if (!count)
        out->size = at;
    *bitmaps = count;
    return VECDB_OK;
}

static vecdb_status write_index(const struct settings *settings, const struct dictionary *dictionary, struct buf *out)
{
    size_t words = bitmap_words(dictionary->row_count), path;
    uint8_t *head;
    uint32_t bitmaps = 0;
    struct buf texts = {0}, ends = {0};
    enum kind kind = choose_kind(settings, dictionary->key_count);
    vecdb_status status = VECDB_OK;

    TRY(buf_append(out, NULL, HEAD));
    TRY(put_path(out, &settings->operand));
    path = out->size - HEAD;
    TRY(buf_align(out, 8));
    for (size_t i = 0; i < dictionary->bool_count; i++)
        TRY(buf_append(out, &(uint8_t){dictionary->keys[i].boolean}, 1));
    TRY(buf_align(out, 8));
    for (size_t i = 0, at = dictionary->bool_count; i < dictionary->integer_count; i++)
        TRY(buf_append(out, &dictionary->keys[at + i].integer, 8));
    for (size_t i = 0, at = dictionary->bool_count + dictionary->integer_count; i < dictionary->real_count; i++)
        TRY(buf_append(out, &dictionary->keys[at + i].real, 8));
    for (size_t i = 0; i < dictionary->string_count && status == VECDB_OK; i++) {
        const struct datum *key = &dictionary->keys[dictionary->key_count - dictionary->string_count + i];
        uint32_t end;

        status = buf_append(&texts, key->string.data, key->string.length);
        end = (uint32_t)texts.size;
        if (status == VECDB_OK && texts.size > UINT32_MAX)
            status = error_set(VECDB_ERR_LIMIT, "an index on %zu bytes of distinct texts is too large", texts.size);
        if (status == VECDB_OK)
            status = buf_append(&ends, &end, 4);
    }
    if (status == VECDB_OK)
        status = put_section(out, ends.data, ends.size);
    if (status == VECDB_OK)
        status = put_section(out, texts.data, texts.size);
    buf_deinit(&ends);
    if (status != VECDB_OK) {
        buf_deinit(&texts);
        return status;
    }
    status = put_section(out, dictionary->begin, (dictionary->key_count + 1) * 4);
    if (status == VECDB_OK)
        status = put_section(out, dictionary->rows, dictionary->posting_count * 4);
    for (int c = 0; c < 3 && status == VECDB_OK; c++)
        if (settings->multi ? c == 0 : (settings->classes >> c & 1) != 0)
            status = put_section(out, dictionary->present[c], words * 8);
    if (status == VECDB_OK && kind == KIND_BITMAP)
        status = put_bitmaps(out, dictionary, dictionary->row_count, &bitmaps);
    head = out->data;
    store_u32(head, MAGIC);
    store_u16(head + 4, VERSION);
    head[6] = (uint8_t)kind;
    head[7] = settings->multi ? FLAG_MULTI : 0;
    store_u32(head + 8, (uint32_t)dictionary->row_count);
    store_u32(head + 12, settings->classes);
    store_u32(head + 16, (uint32_t)dictionary->bool_count);
    store_u32(head + 20, (uint32_t)dictionary->integer_count);
    store_u32(head + 24, (uint32_t)dictionary->real_count);
    store_u32(head + 28, (uint32_t)dictionary->string_count);
    store_u32(head + 32, (uint32_t)dictionary->posting_count);
    store_u32(head + 36, (uint32_t)texts.size);
    store_u32(head + 40, bitmaps);
    store_u32(head + 44, (uint32_t)path);
    head[48] = (uint8_t)settings->min_gram;
    head[49] = (uint8_t)settings->max_gram;
    buf_deinit(&texts);
    if (status == VECDB_OK)
        store_u64(head + 56, dictionary_hash(out->data, 56) ^ dictionary_hash(out->data + HEAD, out->size - HEAD));
    return status;
}

static vecdb_status index_open(struct scalar_index *index);

vecdb_status scalar_index_build(const struct schema *schema, size_t field, const char *kind, const char *params,
                                const struct filter_source *source, struct scalar_index **out)
{
    struct scalar_index *index = NULL;
    struct dictionary dictionary = {0};
    struct settings settings;
    vecdb_status status = settings_read(&settings, schema, field, kind, params);

    *out = NULL;
    if (status == VECDB_OK) {
        dictionary.operand = &settings.operand;
        dictionary.field = field;
        dictionary.multi = settings.multi;
        dictionary.classes = settings.classes;
        dictionary.min_gram = settings.min_gram;
        dictionary.max_gram = settings.max_gram;
        status = dictionary_build(&dictionary, source, NULL, 1);
    }
    if (status == VECDB_OK && !(index = mem_zalloc(sizeof *index)))
        status = error_nomem("scalar index");
    if (status == VECDB_OK)
        status = write_index(&settings, &dictionary, &index->own);
    if (status == VECDB_OK) {
        index->data = index->own.data;
        index->size = index->own.size;
        status = index_open(index);
    }
    dictionary_deinit(&dictionary);
    settings_deinit(&settings);
    if (status != VECDB_OK) {
        scalar_index_free(index);
        return status;
    }
    *out = index;
    return VECDB_OK;
}

void scalar_index_free(struct scalar_index *index)
{
    if (index)
        buf_deinit(&index->own);
    mem_free(index);
}

vecdb_status scalar_index_save(const struct scalar_index *index, struct buf *out)
{
    return buf_append(out, index->data, index->size);
}

const char *scalar_index_kind(const struct scalar_index *index) { return scalar_kind_name(index->kind); }
size_t scalar_index_rows(const struct scalar_index *index) { return index->row_count; }
size_t scalar_index_keys(const struct scalar_index *index) { return index->key_count; }
size_t scalar_index_size(const struct scalar_index *index) { return index->size; }

/* ---- Opening ---- */

#define CORRUPT(...) error_set(VECDB_ERR_CORRUPT, "scalar index: " __VA_ARGS__)

/* The section at *at of count * width bytes, or NULL when it is not all there. */
static const void *take_section(const struct scalar_index *index, size_t *at, uint64_t count, size_t width)
{
    size_t size = count * width, padded = align_up(size, 8);
    const void *section = index->data + *at;

    if (padded > index->size - *at)
        return NULL;
    *at += padded;
    return section;
}

static vecdb_status check_path(const struct scalar_index *index)
{
    size_t at = 0;

    while (at < index->path_size) {
        size_t left = index->path_size - at;

        if (left < 5 || index->path[at] > 1 || (index->path[at] == 1 && load_u32(index->path + at + 1) > left - 5))
            return CORRUPT("its path ends in the middle of a step");
        at += 5 + (index->path[at] == 1 ? load_u32(index->path + at + 1) : 0);
    }
    return VECDB_OK;
}

static vecdb_status check_keys(const struct scalar_index *index, uint32_t string_bytes)
{
    for (uint32_t i = 0; i < index->bool_count; i++)
        if (index->bools[i] > 1 || (i && index->bools[i] <= index->bools[i - 1]))
            return CORRUPT("its BOOL keys are out of order");
    for (uint32_t i = 1; i < index->integer_count; i++)
        if (index->integers[i] <= index->integers[i - 1])
            return CORRUPT("integer key %u is out of order", i);
    for (uint32_t i = 0; i < index->real_count; i++)
        if (isnan(index->reals[i]) || (i && index->reals[i] <= index->reals[i - 1]))
            return CORRUPT("real key %u is out of order", i);
    for (uint32_t i = 0; i < index->string_count; i++) {
        if (index->string_ends[i] > string_bytes || (i && index->string_ends[i] < index->string_ends[i - 1]))
            return CORRUPT("text key %u ends outside of its section", i);
        if (i) {
            struct datum a = key_text(index, i - 1), b = key_text(index, i);

            if (datum_compare(&a, &b) >= 0)
                return CORRUPT("text key %u is out of order", i);
        }
    }
    return VECDB_OK;
}

static vecdb_status check_postings(const struct scalar_index *index)
{
    size_t words = bitmap_words(index->row_count);

    if (index->begin[0] != 0 || index->begin[index->key_count] != index->posting_count)
        return CORRUPT("its lists of rows do not fill their section");
    for (uint32_t k = 0; k < index->key_count; k++) {
        if (index->begin[k + 1] <= index->begin[k] || index->begin[k + 1] > index->posting_count)
            return CORRUPT("the rows of key %u are empty or outside of their section", k);
        for (uint32_t i = index->begin[k]; i < index->begin[k + 1]; i++)
            if (index->rows[i] >= index->row_count || (i > index->begin[k] && index->rows[i] <= index->rows[i - 1]))
                return CORRUPT("posting %u is out of order or no row", i);
        if (index->dense && index->dense[k] > index->bitmap_count)
            return CORRUPT("key %u has a bitmap that is not there", k);
        if (index->dense && index->dense[k]) {
            const uint64_t *bits = index->bitmaps + (size_t)(index->dense[k] - 1) * words;

            if (bitmap_count(bits, index->row_count) != index->begin[k + 1] - index->begin[k])
                return CORRUPT("the bitmap of key %u does not have its rows", k);
            for (uint32_t i = index->begin[k]; i < index->begin[k + 1]; i++)
                if (!bitmap_get(bits, index->rows[i]))
                    return CORRUPT("the bitmap of key %u lacks row %u", k, index->rows[i]);
        }
    }
    for (int c = 0; c < 3; c++)
        if (index->present[c] && words && index->present[c][words - 1] & ~bitmap_tail(index->row_count))
            return CORRUPT("it has rows past the last");
    return VECDB_OK;
}

static vecdb_status index_open(struct scalar_index *index)
{
    const uint8_t *head = index->data;
    uint32_t string_bytes;
    uint64_t keys;
    size_t at = HEAD;

    if (index->size < HEAD || load_u32(head) != MAGIC)
        return CORRUPT("its %zu bytes do not begin as one", index->size);
    if (load_u16(head + 4) > VERSION)
        return error_set(VECDB_ERR_VERSION, "scalar index: version %u, this library reads up to %d", load_u16(head + 4),
                         VERSION);
    if (load_u64(head + 56) != (dictionary_hash(head, 56) ^ dictionary_hash(head + HEAD, index->size - HEAD)))
        return CORRUPT("its checksum does not match");
    index->kind = (enum kind)head[6];
    if (index->kind == KIND_NONE || index->kind > KIND_NGRAM || head[7] > FLAG_MULTI)
        return CORRUPT("kind %u, flags %u", head[6], head[7]);
    index->multi = head[7] & FLAG_MULTI;
    index->row_count = load_u32(head + 8);
    index->classes = load_u32(head + 12);
    index->bool_count = load_u32(head + 16);
    index->integer_count = load_u32(head + 20);
    index->real_count = load_u32(head + 24);
    index->string_count = load_u32(head + 28);
    index->posting_count = load_u32(head + 32);
    string_bytes = load_u32(head + 36);
    index->bitmap_count = load_u32(head + 40);
    index->path_size = load_u32(head + 44);
    index->min_gram = head[48];
    index->max_gram = head[49];
    keys = (uint64_t)index->bool_count + index->integer_count + index->real_count + index->string_count;
    if (index->classes == 0 || index->classes > 7 || keys > index->posting_count || index->bitmap_count > keys ||
        (index->kind == KIND_NGRAM &&
         (index->min_gram < 1 || index->min_gram > index->max_gram || index->max_gram > MAX_GRAM)))
        return CORRUPT("the numbers in its head do not fit together");
    index->key_count = (uint32_t)keys;
    if (!(index->path = take_section(index, &at, index->path_size, 1)) ||
        !(index->bools = take_section(index, &at, index->bool_count, 1)) ||
        !(index->integers = take_section(index, &at, index->integer_count, 8)) ||
        !(index->reals = take_section(index, &at, index->real_count, 8)) ||
        !(index->string_ends = take_section(index, &at, index->string_count, 4)) ||
        !(index->strings = take_section(index, &at, string_bytes, 1)) ||
        !(index->begin = take_section(index, &at, keys + 1, 4)) ||
        !(index->rows = take_section(index, &at, index->posting_count, 4)))
        return CORRUPT("its sections are longer than its %zu bytes", index->size);
    for (int c = 0; c < 3; c++)
        if ((index->multi ? c == 0 : (index->classes >> c & 1) != 0) &&
            !(index->present[c] = take_section(index, &at, bitmap_words(index->row_count), 8)))
            return CORRUPT("its sections are longer than its %zu bytes", index->size);
    if (index->bitmap_count &&
        (!(index->dense = take_section(index, &at, keys, 4)) ||
         !(index->bitmaps = take_section(index, &at, (uint64_t)index->bitmap_count * bitmap_words(index->row_count), 8))))
        return CORRUPT("its sections are longer than its %zu bytes", index->size);
    if (at != index->size)
        return CORRUPT("%zu bytes follow its sections", index->size - at);
    TRY(check_path(index));
    TRY(check_keys(index, string_bytes));
    return check_postings(index);
}

vecdb_status scalar_index_open(const uint8_t *data, size_t size, struct scalar_index **out)
{
    struct scalar_index *index = mem_zalloc(sizeof *index);
    vecdb_status status;

    *out = NULL;
    if (!index)
        return error_nomem("scalar index");
    index->data = data;
    index->size = size;
    status = index_open(index);
    if (status != VECDB_OK) {
        scalar_index_free(index);
        return status;
    }
    *out = index;
    return VECDB_OK;
}

vecdb_status scalar_index_check(const struct scalar_index *index)
{
    struct scalar_index again = {.data = index->data, .size = index->size};

    return index_open(&again);
}
