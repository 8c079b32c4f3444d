#include "filter/dictionary.h"

#include "base/mem.h"
#include "filter/row_value.h"

#include <math.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* While building: values get numbers in the order they come, and are sorted in the end. */
struct dictionary_work {
    struct arena texts;
    struct datum *keys;
    uint32_t *table; /* key number + 1 by hash; a power of two, at most half full */
    uint32_t *last;  /* per key: 1 + the last row that has it, so that no row has one twice */
    struct buf pairs; /* uint32_t key, row */
    size_t key_count, key_capacity, table_size;
    bool keys_only;
};

uint64_t dictionary_hash(const void *data, size_t size) { return XXH3_64bits(data, size); }

size_t dictionary_character(const char *text, size_t length, size_t at)
{
    unsigned char c = (unsigned char)text[at];
    size_t n = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

    return n < length - at ? n : length - at;
}

static uint64_t hash_key(const struct datum *key)
{
    if (key->kind == DATUM_STRING)
        return XXH3_64bits(key->string.data, key->string.length);
    return XXH3_64bits_withSeed(&key->integer, key->kind == DATUM_BOOL ? 1 : 8, key->kind);
}

static vecdb_status grow(struct dictionary_work *work)
{
    size_t capacity = work->key_capacity ? work->key_capacity * 2 : 1024, size = capacity * 2;
    struct datum *keys = mem_realloc(work->keys, capacity * sizeof *keys);
    uint32_t *last, *table;

    if (!keys)
        return error_nomem("scalar index");
    work->keys = keys;
    last = mem_realloc(work->last, capacity * sizeof *last);
    if (!last)
        return error_nomem("scalar index");
    work->last = last;
    table = mem_array_zalloc(size, sizeof *table);
    if (!table)
        return error_nomem("scalar index");
    mem_free(work->table);
    work->table = table;
    work->table_size = size;
    work->key_capacity = capacity;
    for (size_t i = 0; i < work->key_count; i++) {
        size_t at = hash_key(&keys[i]) & (size - 1);

        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)i + 1;
    }
    return VECDB_OK;
}

static vecdb_status add(struct dictionary_work *work, struct datum key, size_t row)
{
    uint32_t pair[2] = {0, (uint32_t)row};
    size_t at;

    if (work->key_count == work->key_capacity) {
        if (work->key_count >= UINT32_MAX / 2)
            return error_set(VECDB_ERR_LIMIT, "an index on %zu distinct values is too large", work->key_count);
        TRY(grow(work));
    }
    at = hash_key(&key) & (work->table_size - 1);
    for (; work->table[at]; at = (at + 1) & (work->table_size - 1)) {
        const struct datum *known = &work->keys[work->table[at] - 1];

        if (known->kind == key.kind && datum_equal(known, &key))
            break;
    }
    if (!work->table[at]) {
        if (key.kind == DATUM_STRING && !(key.string.data = arena_copy(&work->texts, key.string.data, key.string.length)))
            return VECDB_ERR_NOMEM;
        work->keys[work->key_count] = key;
        work->last[work->key_count] = 0;
        work->table[at] = (uint32_t)++work->key_count;
    }
    pair[0] = work->table[at] - 1;
    if (work->last[pair[0]] == row + 1 || work->keys_only)
        return VECDB_OK;
    work->last[pair[0]] = (uint32_t)row + 1;
    return buf_append(&work->pairs, pair, sizeof pair);
}

static vecdb_status add_grams(const struct dictionary *dictionary, const struct datum *text, size_t row)
{
    const char *data = text->string.data;
    size_t length = text->string.length;

    for (size_t at = 0; at < length; at += dictionary_character(data, length, at)) {
        size_t end = at;

        for (unsigned n = 1; n <= dictionary->max_gram && end < length; n++) {
            end += dictionary_character(data, length, end);
            if (n >= dictionary->min_gram)
                TRY(add(dictionary->work, (struct datum){DATUM_STRING, {.string = {data + at, end - at}}}, row));
        }
    }
    return VECDB_OK;
}

/* A value as a key. Fields keep their own type: those of FLOAT and DOUBLE are reals even when they are whole, and BOOL is a
 * number, as conditions on them have it; elsewhere equal numbers have one form. */
static vecdb_status add_value(struct dictionary *dictionary, struct datum value, size_t row, bool field)
{
    unsigned class = datum_class(&value);

    if (!(class & dictionary->classes))
        return VECDB_OK;
    if (!dictionary->multi)
        bitmap_set(dictionary->present[class == CLASS_BOOL ? 0 : class == CLASS_NUMBER ? 1 : 2], row);
    if (value.kind == DATUM_DOUBLE && isnan(value.real))
        return VECDB_OK; /* equal to nothing and in no range */
    if (field && value.kind == DATUM_BOOL)
        value = (struct datum){DATUM_INT, {.integer = value.boolean}};
    else if (!field)
        value = datum_canonical(value);
    if (value.kind == DATUM_DOUBLE && value.real == 0)
        value.real = 0; /* one zero */
    if (dictionary->max_gram)
        return add_grams(dictionary, &value, row);
    return add(dictionary->work, value, row);
}

static vecdb_status add_row(struct dictionary *dictionary, const struct column *column, size_t at, size_t row)
{
    struct json array = {NULL, 0};
    struct elements elements = {0};
    struct datum value;
    size_t count;

    if (!column_is_valid(column, at)) {
        dictionary->null_count++;
        return VECDB_OK;
    }
    if (!dictionary->classes)
        return VECDB_OK;
    if (!dictionary->multi) {
        value = row_value(column, dictionary->operand, at);
        if (value.kind == DATUM_NONE)
            dictionary->null_count++;
        return add_value(dictionary, value, row, column->width != 0);
    }
    if (column->type == VECDB_TYPE_JSON) {
        array = row_json(column, at, dictionary->operand->steps, dictionary->operand->step_count);
        if (!json_exists(array) || json_kind(array) != JSON_ARRAY) {
            dictionary->null_count++;
            return VECDB_OK;
        }
        count = json_count(array);
    } else {
        elements = row_elements(column, at);
        count = elements.count;
    }
    bitmap_set(dictionary->present[0], row);
    for (size_t i = 0; i < count; i++)
        TRY(add_value(dictionary, array.data ? datum_from_json(json_at(array, i)) : row_element(&elements, i), row, false));
    return VECDB_OK;
}

/* `from`: the number of the source's first row. */
static vecdb_status read_rows(struct dictionary *dictionary, const struct filter_source *source, const uint64_t *wanted,
                              size_t from)
{
    struct column_scratch scratch = {0};
    struct column column = {0};
    vecdb_status status = VECDB_OK;

    for (size_t first = 0, block = 0; first < source->row_count && status == VECDB_OK;
         first += source->block_rows, block++) {
        size_t left = source->row_count - first, rows = left < source->block_rows ? left : source->block_rows;

        status = source->column(source->context, dictionary->field, block, &scratch, &column);
        for (size_t i = 0; i < rows && status == VECDB_OK; i++)
            if (!wanted || bitmap_get(wanted, first + i))
                status = add_row(dictionary, &column, i, from + first + i);
    }
    buf_deinit(&scratch.bytes);
    return status;
}

/* A key to be sorted: by kind, then by a number that goes as the keys do, and by all of it where texts begin alike. */
struct sorted {
    uint64_t head;
    const struct datum *key;
};

static uint64_t head_of(const struct datum *key)
{
    uint64_t bits = 0;

    switch (key->kind) {
    case DATUM_BOOL:
        return key->boolean;
    case DATUM_INT:
        return (uint64_t)key->integer ^ 1ull << 63;
    case DATUM_DOUBLE:
        memcpy(&bits, &key->real, sizeof bits);
        return bits >> 63 ? ~bits : bits ^ 1ull << 63;
    default: /* STRING: its first eight bytes */
        memcpy(&bits, key->string.data, key->string.length < 8 ? key->string.length : 8);
        return __builtin_bswap64(bits);
    }
}

static int compare_keys(const void *left, const void *right)
{
    const struct sorted *a = left, *b = right;

    if (a->key->kind != b->key->kind)
        return a->key->kind < b->key->kind ? -1 : 1; /* kinds are numbered bool, integer, real, string */
    if (a->head != b->head)
        return a->head < b->head ? -1 : 1;
    return a->key->kind == DATUM_STRING ? datum_compare(a->key, b->key) : 0;
}

/* Keys into order; rows counted out to them, which keeps each key's rows in theirs. */
static vecdb_status sort_keys(struct dictionary *dictionary)
{
    struct dictionary_work *work = dictionary->work;
    size_t keys = work->key_count, pairs = work->pairs.size / 8;
    struct sorted *order = mem_array_alloc(keys + 1, sizeof *order);
    uint32_t *place = mem_array_alloc(keys + 1, sizeof *place);

    dictionary->keys = mem_array_alloc(keys + 1, sizeof *dictionary->keys);
    dictionary->begin = mem_array_zalloc(keys + 2, sizeof *dictionary->begin);
    dictionary->rows = mem_array_alloc(pairs + 1, sizeof *dictionary->rows);
    if (!order || !place || !dictionary->keys || !dictionary->begin || !dictionary->rows || pairs > UINT32_MAX) {
        mem_free(order);
        mem_free(place);
        return pairs > UINT32_MAX ? error_set(VECDB_ERR_LIMIT, "an index on %zu values is too large", pairs)
                                  : error_nomem("scalar index");
    }
    for (size_t i = 0; i < keys; i++)
        order[i] = (struct sorted){head_of(&work->keys[i]), &work->keys[i]};
    qsort(order, keys, sizeof *order, compare_keys);
    for (size_t i = 0; i < keys; i++) {
        dictionary->keys[i] = *order[i].key;
        place[order[i].key - work->keys] = (uint32_t)i;
        dictionary->bool_count += order[i].key->kind == DATUM_BOOL;
        dictionary->integer_count += order[i].key->kind == DATUM_INT;
        dictionary->real_count += order[i].key->kind == DATUM_DOUBLE;
        dictionary->string_count += order[i].key->kind == DATUM_STRING;
    }
    for (size_t i = 0; i < pairs; i++)
        dictionary->begin[place[load_u32(work->pairs.data + i * 8)] + 1]++;
    for (size_t i = 0; i < keys; i++)
        dictionary->begin[i + 1] += dictionary->begin[i];
    /* begin[k] moves to the end of key k as its rows are put in, which is where key k + 1 begins */
    for (size_t i = 0; i < pairs; i++)
        dictionary->rows[dictionary->begin[place[load_u32(work->pairs.data + i * 8)]]++] =
            load_u32(work->pairs.data + i * 8 + 4);
    memmove(dictionary->begin + 1, dictionary->begin, keys * sizeof *dictionary->begin);
    dictionary->begin[0] = 0;
    dictionary->key_count = keys;
    dictionary->posting_count = pairs;
    mem_free(order);
    mem_free(place);
    return VECDB_OK;
}

vecdb_status dictionary_build(struct dictionary *dictionary, const struct filter_source *sources,
                              const uint64_t *const *rows, size_t source_count)
{
    size_t total = 0;

    for (size_t i = 0; i < source_count; i++) {
        total += sources[i].row_count;
        dictionary->row_count += rows && rows[i] ? bitmap_count(rows[i], sources[i].row_count) : sources[i].row_count;
    }
    if (total > UINT32_MAX - 1)
        return error_set(VECDB_ERR_LIMIT, "an index on %zu rows is too large", total);
    dictionary->work = mem_zalloc(sizeof *dictionary->work);
    for (int c = 0; c < 3; c++)
        dictionary->present[c] = mem_array_zalloc(bitmap_words(total) + 1, 8);
    if (!dictionary->work || !dictionary->present[0] || !dictionary->present[1] || !dictionary->present[2])
        return error_nomem("scalar index");
    dictionary->work->keys_only = dictionary->keys_only;
    for (size_t i = 0, from = 0; i < source_count; from += sources[i++].row_count)
        TRY(read_rows(dictionary, &sources[i], rows ? rows[i] : NULL, from));
    return sort_keys(dictionary);
}

void dictionary_deinit(struct dictionary *dictionary)
{
    if (dictionary->work) {
        arena_deinit(&dictionary->work->texts);
        mem_free(dictionary->work->keys);
        mem_free(dictionary->work->table);
        mem_free(dictionary->work->last);
        buf_deinit(&dictionary->work->pairs);
    }
    mem_free(dictionary->work);
    for (int c = 0; c < 3; c++)
        mem_free(dictionary->present[c]);
    mem_free(dictionary->keys);
    mem_free(dictionary->begin);
    mem_free(dictionary->rows);
    *dictionary = (struct dictionary){0};
}
