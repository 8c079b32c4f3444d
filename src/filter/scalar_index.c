#include "filter/scalar_index.h"

#include "base/mem.h"
#include "filter/dictionary.h"
#include "filter/plan.h"

#include <math.h>

/* The bytes, little-endian, every section at a multiple of 8:
 *    0 u32 magic     4 u16 version   6 u8 kind           7 u8 flags (1: several values a row)
 *    8 u32 rows     12 u32 classes: bits of enum datum_class, of the values that are in it
 *   16 u32 bools    20 u32 integers 24 u32 reals        28 u32 strings: distinct values of each
 *   32 u32 postings 36 u32 bytes of strings             40 u32 bitmaps  44 u32 bytes of path
 *   48 u8 min_gram  49 u8 max_gram  50 zeros            56 u64 xxh3 of the bytes 0..55 and 64..end
 *   64 path      per step: u8 1, u32 length, key; or u8 0, u32 index
 *      bools     u8 each
 *      integers  i64 each              all keys ascending, without duplicates; a key's number counts through
 *      reals     f64 each              bools, integers, reals and strings in this order
 *      strings   u32 end each, bytes
 *      begin     u32[keys + 1]: where a key's rows begin among the postings
 *      rows      u32[postings], ascending within a key
 *      present   for each class in `classes`, lowest first: a bitmap of the rows that have a value of it.
 *                With several values a row: one bitmap, of the rows that have an array
 *      dense     u32[keys], when there are bitmaps: 1 + the number of the key's bitmap, or 0
 *      bitmaps   of the rows of keys that many rows have
 */
#define MAGIC 0x58495356u /* "VSIX" */
#define VERSION 1
#define HEAD 64
#define FLAG_MULTI 1
#define MAX_GRAM 16

enum kind { KIND_NONE, KIND_INVERTED, KIND_BITMAP, KIND_SORTED, KIND_TRIE, KIND_NGRAM, KIND_AUTO };
static const char *const kind_names[] = {NULL, "INVERTED", "BITMAP", "STL_SORT", "TRIE", "NGRAM", "AUTOINDEX"};

struct scalar_index {
    struct buf own; /* the bytes, when they are ours */
    const uint8_t *data;
    size_t size;
    enum kind kind;
    bool multi;
    unsigned classes, min_gram, max_gram;
    uint32_t row_count, bool_count, integer_count, real_count, string_count, key_count, posting_count, bitmap_count;
    const uint8_t *path, *bools;
    size_t path_size;
    const int64_t *integers;
    const double *reals;
    const uint32_t *string_ends;
    const char *strings;
    const uint32_t *begin, *rows, *dense;
    const uint64_t *present[3]; /* of BOOL, NUMBER, STRING; or [0]: arrays */
    const uint64_t *bitmaps;
};

/* ---- Parameters ---- */

struct settings {
    enum kind kind;
    struct operand operand; /* what is indexed */
    vecdb_type type, element_type;
    bool multi, grams;
    unsigned classes, min_gram, max_gram;
    size_t cardinality_limit;
    struct arena arena;
    struct buf parsed;
};

static void settings_deinit(struct settings *settings)
{
    arena_deinit(&settings->arena);
    buf_deinit(&settings->parsed);
}

static vecdb_status member_text(struct json object, const char *key, const char **text, size_t *length)
{
    struct json value = json_exists(object) ? json_member(object, key, strlen(key)) : (struct json){NULL, 0};

    *text = NULL;
    if (!json_exists(value))
        return VECDB_OK;
    if (json_kind(value) != JSON_STRING)
        return error_set(VECDB_ERR_INVALID, "index parameter %s is not a text", key);
    *text = json_string(value, length);
    return VECDB_OK;
}

/* Numbers may come as text too, as they do from Milvus programs. */
static vecdb_status member_number(struct json object, const char *key, int64_t low, int64_t high, int64_t *out)
{
    struct json value = json_exists(object) ? json_member(object, key, strlen(key)) : (struct json){NULL, 0};
    int64_t number = 0;
    size_t length;
    const char *text;

    if (!json_exists(value))
        return VECDB_NOT_FOUND;
    if (json_kind(value) == JSON_INT) {
        number = json_int(value);
    } else if (json_kind(value) == JSON_STRING) {
        text = json_string(value, &length);
        for (size_t i = 0; i < length; i++) {
            if (text[i] < '0' || text[i] > '9' || number > high)
                return error_set(VECDB_ERR_INVALID, "index parameter %s is not a number", key);
            number = number * 10 + (text[i] - '0');
        }
    } else {
        return error_set(VECDB_ERR_INVALID, "index parameter %s is not a number", key);
    }
    if (number < low || number > high)
        return error_set(VECDB_ERR_INVALID, "index parameter %s is %lld, expected %lld to %lld", key, (long long)number,
                         (long long)low, (long long)high);
    *out = number;
    return VECDB_OK;
}

/* meta["a"]["b"], or a dynamic key, as filters write them. */
static vecdb_status parse_path(struct settings *settings, const struct schema *schema, size_t field, const char *text,
                               size_t length)
{
    struct lexer lexer = {.text = text, .length = length, .arena = &settings->arena};
    const char *name = schema->fields[field].name;
    struct tree tree;
    const struct node *root;
    struct step *steps;
    bool bare;
    size_t count = 0;
    vecdb_status status = tree_parse(&lexer, &tree);

    if (status == VECDB_OK && (tree.root == NODE_NONE || tree.nodes[tree.root].kind != NODE_FIELD))
        status = error_set(VECDB_ERR_INVALID, "json_path %.*s is no path, as in %s[\"key\"]", (int)(length < 100 ? length : 100),
                           text, name);
    if (status != VECDB_OK) {
        tree_deinit(&tree);
        return status == VECDB_ERR_FILTER ? error_set(VECDB_ERR_INVALID, "json_path %.*s is no path, as in %s[\"key\"]",
                                                      (int)(length < 100 ? length : 100), text, name)
                                          : status;
    }
    root = &tree.nodes[tree.root];
    bare = root->name_length != strlen(name) || memcmp(root->name, name, root->name_length) != 0;
    if (bare && field != schema->dynamic) {
        status = error_set(VECDB_ERR_INVALID, "json_path %.*s does not begin with the field %s",
                           (int)(length < 100 ? length : 100), text, name);
    } else {
        steps = arena_alloc(&settings->arena, root->step_count + 1, sizeof *steps);
        if (!steps) {
            status = VECDB_ERR_NOMEM;
        } else {
            if (bare)
                steps[count++] = (struct step){arena_copy(&settings->arena, root->name, root->name_length),
                                               root->name_length, 0};
            if (bare && !steps[0].key)
                status = VECDB_ERR_NOMEM;
            for (size_t i = 0; i < root->step_count; i++)
                steps[count++] = root->steps[i];
            settings->operand.steps = steps;
            settings->operand.step_count = count;
        }
    }
    tree_deinit(&tree);
    return status;
}

static vecdb_status parse_cast(struct settings *settings, const char *text, size_t length)
{
    static const struct {
        const char *name;
        unsigned classes;
        bool multi;
    } casts[] = {
        {"bool", CLASS_BOOL, false},       {"double", CLASS_NUMBER, false},       {"varchar", CLASS_STRING, false},
        {"array_bool", CLASS_BOOL, true},  {"array_double", CLASS_NUMBER, true},  {"array_varchar", CLASS_STRING, true},
        {"JSON", CLASS_BOOL | CLASS_NUMBER | CLASS_STRING, false},
    };

    for (size_t i = 0; i < sizeof casts / sizeof *casts; i++)
        if (strlen(casts[i].name) == length && strncasecmp(casts[i].name, text, length) == 0) {
            settings->classes = casts[i].classes;
            settings->multi = casts[i].multi;
            return VECDB_OK;
        }
    return error_set(VECDB_ERR_INVALID,
                     "json_cast_type %.*s is unknown; there are bool, double, varchar, array_bool, array_double, "
                     "array_varchar, JSON",
                     (int)(length < 60 ? length : 60), text);
}

static unsigned class_of_type(vecdb_type type)
{
    return type == VECDB_TYPE_BOOL ? CLASS_BOOL : type == VECDB_TYPE_VARCHAR ? CLASS_STRING : CLASS_NUMBER;
}

static vecdb_status read_grams(struct settings *settings, struct json params, const char *name)
{
    int64_t low, high;
    vecdb_status status = member_number(params, "min_gram", 1, MAX_GRAM, &low), other;

    if (status < 0)
        return status;
    other = member_number(params, "max_gram", 1, MAX_GRAM, &high);
    if (other < 0)
        return other;
    if (status != VECDB_OK || other != VECDB_OK || low > high)
        return error_set(VECDB_ERR_INVALID, "field %s: NGRAM needs min_gram and max_gram, 1 to %d, the first not larger", name,
                         MAX_GRAM);
    settings->min_gram = (unsigned)low;
    settings->max_gram = (unsigned)high;
    settings->grams = true;
    return VECDB_OK;
}

/* What goes with what: refused with the reason. */
static vecdb_status check_fit(const struct settings *settings, const struct field *field)
{
    vecdb_type type = field->type, inner = type == VECDB_TYPE_ARRAY ? field->element_type : type;

    switch (settings->kind) {
    case KIND_BITMAP:
        if (type == VECDB_TYPE_JSON || type_is_float(inner))
            return error_set(VECDB_ERR_UNSUPPORTED, "field %s: a BITMAP index does not go with %s; it takes BOOL, integers, "
                                                    "VARCHAR and ARRAYs of these",
                             field->name, type_name(inner));
        break;
    case KIND_SORTED:
        if (type != VECDB_TYPE_VARCHAR && !type_is_integer(type) && !type_is_float(type))
            return error_set(VECDB_ERR_UNSUPPORTED, "field %s: an STL_SORT index does not go with %s; it takes numbers and "
                                                    "VARCHAR",
                             field->name, type_name(type));
        break;
    case KIND_TRIE:
        if (type != VECDB_TYPE_VARCHAR)
            return error_set(VECDB_ERR_UNSUPPORTED, "field %s: a TRIE index does not go with %s; it takes VARCHAR", field->name,
                             type_name(type));
        break;
    case KIND_NGRAM:
        if (type != VECDB_TYPE_VARCHAR && !(type == VECDB_TYPE_JSON && settings->classes == CLASS_STRING && !settings->multi))
            return error_set(VECDB_ERR_UNSUPPORTED, "field %s: an NGRAM index does not go with %s; it takes VARCHAR, or a JSON "
                                                    "path with json_cast_type varchar",
                             field->name, type_name(type));
        break;
    default:
        break;
    }
    return VECDB_OK;
}

static vecdb_status settings_read(struct settings *settings, const struct schema *schema, size_t field_number,
                                  const char *kind, const char *params)
{
    const struct field *field = &schema->fields[field_number];
    struct json object = {NULL, 0};
    const char *text;
    size_t length;
    int64_t limit;
    vecdb_status status;

    *settings = (struct settings){.type = field->type, .element_type = field->element_type, .cardinality_limit = 100};
    for (size_t i = 1; i < sizeof kind_names / sizeof *kind_names; i++)
        if (strcasecmp(kind, kind_names[i]) == 0)
            settings->kind = (enum kind)i;
    if (settings->kind == KIND_NONE)
        return error_set(VECDB_ERR_UNSUPPORTED,
                         "field %s: there is no scalar index %.40s; there are INVERTED, BITMAP, STL_SORT, TRIE, NGRAM, "
                         "AUTOINDEX",
                         field->name, kind);
    if (type_is_vector(field->type))
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: a scalar index does not go with %s", field->name,
                         type_name(field->type));
    if (params && *params) {
        if (json_parse(params, strlen(params), &settings->parsed) != VECDB_OK)
            return error_prefix("field %s: index parameters: ", field->name);
        object = (struct json){settings->parsed.data, settings->parsed.size};
        if (json_kind(object) != JSON_OBJECT)
            return error_set(VECDB_ERR_INVALID, "field %s: index parameters are no JSON object", field->name);
    }
    settings->operand.kind = OPERAND_COLUMN;
    settings->multi = field->type == VECDB_TYPE_ARRAY;
    settings->classes = class_of_type(settings->multi ? field->element_type : field->type);
    TRY(member_text(object, "json_path", &text, &length));
    if (field->type == VECDB_TYPE_JSON) {
        if (!text)
            return error_set(VECDB_ERR_INVALID, "field %s: an index on JSON needs json_path, as in %s[\"key\"]", field->name,
                             field->name);
        TRY(parse_path(settings, schema, field_number, text, length));
        settings->operand.kind = OPERAND_PATH;
        settings->classes = CLASS_BOOL | CLASS_NUMBER | CLASS_STRING;
        TRY(member_text(object, "json_cast_type", &text, &length));
        if (text)
            TRY(parse_cast(settings, text, length));
        TRY(member_text(object, "json_cast_function", &text, &length));
        if (text)
            return error_set(VECDB_ERR_UNSUPPORTED, "field %s: json_cast_function %.*s is not known; values are indexed as "
                                                    "they are",
                             field->name, (int)(length < 60 ? length : 60), text);
    } else if (text) {
        return error_set(VECDB_ERR_INVALID, "field %s: json_path is for JSON, and the field is %s", field->name,
                         type_name(field->type));
    }
    if (settings->kind == KIND_NGRAM)
        TRY(read_grams(settings, object, field->name));
    status = member_number(object, "bitmapCardinalityLimit", 1, 1000, &limit);
    if (status < 0)
        return status;
    if (status == VECDB_OK)
        settings->cardinality_limit = (size_t)limit;
    return check_fit(settings, field);
}

vecdb_status scalar_index_check_params(const struct schema *schema, size_t field, const char *kind, const char *params)
{
    struct settings settings;
    vecdb_status status = settings_read(&settings, schema, field, kind, params);

    settings_deinit(&settings);
    return status;
}

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
        status = dictionary_build(&dictionary, source);
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

const char *scalar_index_kind(const struct scalar_index *index) { return kind_names[index->kind]; }
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

static struct datum key_text(const struct scalar_index *index, uint32_t i)
{
    uint32_t begin = i ? index->string_ends[i - 1] : 0;

    return (struct datum){DATUM_STRING, {.string = {index->strings + begin, index->string_ends[i] - begin}}};
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

/* ---- Looking up ---- */

/* Runs of key numbers [first, end), ascending or not, without overlap. */
struct runs {
    struct buf pairs; /* uint32_t first, end */
    uint64_t rows;
};

static vecdb_status put_run(const struct scalar_index *index, struct runs *runs, uint32_t first, uint32_t end)
{
    uint32_t pair[2] = {first, end};

    if (first >= end)
        return VECDB_OK;
    runs->rows += index->begin[end] - index->begin[first];
    return buf_append(&runs->pairs, pair, sizeof pair);
}

/* The first key of a kind that is not below a value (or, with `above`, that is above it). */
static uint32_t integers_from(const struct scalar_index *index, int64_t value, bool above)
{
    uint32_t low = 0, high = index->integer_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (above ? index->integers[middle] <= value : index->integers[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return index->bool_count + low;
}

static uint32_t reals_from(const struct scalar_index *index, double value, bool above)
{
    uint32_t low = 0, high = index->real_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (above ? index->reals[middle] <= value : index->reals[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return index->bool_count + index->integer_count + low;
}

static uint32_t strings_at(const struct scalar_index *index)
{
    return index->key_count - index->string_count;
}

static uint32_t strings_from(const struct scalar_index *index, const char *text, size_t length, bool above)
{
    uint32_t low = 0, high = index->string_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct datum key = key_text(index, middle);
        int order = compare_strings(key.string.data, key.string.length, text, length);

        if (above ? order <= 0 : order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return strings_at(index) + low;
}

/* Bounds on numbers of a JSON path or array: its integers and its reals apart. */
static vecdb_status number_runs(const struct scalar_index *index, const struct bounds *bounds, struct runs *runs)
{
    uint32_t first = index->bool_count, middle = first + index->integer_count, end = middle + index->real_count;

    /* few probes on either side; comparing datums keeps integers against doubles exact */
    for (int part = 0; part < 2; part++) {
        uint32_t low = part ? middle : first, high = part ? end : middle, from = low, to = high;

        for (int side = 0; side < 2; side++) {
            const struct datum *bound = side ? &bounds->high : &bounds->low;
            uint32_t a = low, b = high;

            while (bound->kind && a < b) {
                uint32_t half = a + (b - a) / 2;
                struct datum key = part ? (struct datum){DATUM_DOUBLE, {.real = index->reals[half - middle]}}
                                        : (struct datum){DATUM_INT, {.integer = index->integers[half - first]}};
                int order = datum_compare(&key, bound);
                bool before = side ? order < 0 || (order == 0 && !bounds->high_open)
                                   : order < 0 || (order == 0 && bounds->low_open);

                if (before)
                    a = half + 1;
                else
                    b = half;
            }
            if (side)
                to = bound->kind ? a : high;
            else
                from = a;
        }
        TRY(put_run(index, runs, from, to));
    }
    return VECDB_OK;
}

static vecdb_status string_runs(const struct scalar_index *index, const struct bounds *bounds, struct runs *runs)
{
    uint32_t from = strings_at(index), to = index->key_count;

    if (bounds->low.kind)
        from = strings_from(index, bounds->low.string.data, bounds->low.string.length, bounds->low_open);
    if (bounds->high.kind)
        to = strings_from(index, bounds->high.string.data, bounds->high.string.length, !bounds->high_open);
    return put_run(index, runs, from, to);
}

/* The key equal to a value, as a run. */
static vecdb_status value_run(const struct scalar_index *index, struct datum value, struct runs *runs)
{
    uint32_t at = 0;
    bool found = false;

    if (value.kind == DATUM_BOOL) {
        for (at = 0; at < index->bool_count && !found; at += !found)
            found = index->bools[at] == value.boolean;
    } else if (value.kind == DATUM_INT) {
        at = integers_from(index, value.integer, false);
        found = at < index->bool_count + index->integer_count && index->integers[at - index->bool_count] == value.integer;
    } else if (value.kind == DATUM_DOUBLE) {
        uint32_t base = index->bool_count + index->integer_count;

        at = reals_from(index, value.real, false);
        found = at < base + index->real_count && index->reals[at - base] == value.real;
    } else if (value.kind == DATUM_STRING) {
        at = strings_from(index, value.string.data, value.string.length, false);
        if (at < index->key_count) {
            struct datum key = key_text(index, at - strings_at(index));

            found = datum_equal(&key, &value);
        }
    }
    return found ? put_run(index, runs, at, at + 1) : VECDB_OK;
}

/* In the field's own type: what simplify.c made of the condition. */
static vecdb_status fixed_runs(const struct scalar_index *index, const struct condition *condition, struct runs *runs)
{
    bool reals = type_is_float(condition->operand.type == TYPE_FLOAT || condition->operand.type == TYPE_DOUBLE
                                   ? VECDB_TYPE_DOUBLE
                                   : VECDB_TYPE_INT64);

    if (condition->test == TEST_RANGE) {
        if (reals)
            return put_run(index, runs, reals_from(index, condition->low.real, false),
                           reals_from(index, condition->high.real, true));
        return put_run(index, runs, integers_from(index, condition->low.integer, false),
                       integers_from(index, condition->high.integer, true));
    }
    for (size_t i = 0; i < condition->fixed_count; i++) {
        struct datum value = reals ? (struct datum){DATUM_DOUBLE, {.real = ((const double *)condition->fixed_items)[i]}}
                                   : (struct datum){DATUM_INT, {.integer = ((const int64_t *)condition->fixed_items)[i]}};

        TRY(value_run(index, value, runs));
    }
    return VECDB_OK;
}

static vecdb_status set_runs(const struct scalar_index *index, const struct set *set, struct runs *runs)
{
    for (int i = 0; i < 2; i++)
        if (set->has[i])
            TRY(value_run(index, (struct datum){DATUM_BOOL, {.boolean = i}}, runs));
    for (size_t i = 0; i < set->integer_count; i++)
        TRY(value_run(index, (struct datum){DATUM_INT, {.integer = set->integers[i]}}, runs));
    for (size_t i = 0; i < set->real_count; i++)
        TRY(value_run(index, (struct datum){DATUM_DOUBLE, {.real = set->reals[i]}}, runs));
    for (size_t i = 0; i < set->string_count; i++)
        TRY(value_run(index, set->strings[i], runs));
    return VECDB_OK;
}

/* Keys from the text on that begin with it. */
static void prefix_range(const struct scalar_index *index, const char *prefix, size_t length, uint32_t *first, uint32_t *end)
{
    uint32_t low, high = index->key_count;

    *first = low = strings_from(index, prefix, length, false);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct datum key = key_text(index, middle - strings_at(index));

        if (key.string.length >= length && memcmp(key.string.data, prefix, length) == 0)
            low = middle + 1;
        else
            high = middle;
    }
    *end = low;
}

/* A pattern on the distinct texts: only those with its prefix are looked at. */
static vecdb_status pattern_runs(const struct scalar_index *index, const struct condition *condition, struct runs *runs)
{
    struct regex_scratch *scratch = NULL;
    uint32_t first = strings_at(index), end = index->key_count;
    vecdb_status status = VECDB_OK;
    char room[256];
    size_t length;

    if (condition->test == TEST_LIKE) {
        const char *prefix = like_prefix(condition->like, room, sizeof room, &length);

        prefix_range(index, prefix, length, &first, &end);
        if (condition->like->kind == LIKE_ANY || (condition->like->kind == LIKE_PREFIX && length == condition->like->length))
            return put_run(index, runs, first, end);
    } else if (!(scratch = regex_scratch_create(condition->regex))) {
        return VECDB_ERR_NOMEM;
    }
    for (uint32_t k = first; k < end && status == VECDB_OK; k++) {
        struct datum key = key_text(index, k - strings_at(index));
        bool matches;

        if (condition->test == TEST_LIKE)
            matches = like_matches(condition->like, key.string.data, key.string.length);
        else
            status = regex_matches(condition->regex, scratch, key.string.data, key.string.length, &matches);
        if (status == VECDB_OK && matches)
            status = put_run(index, runs, k, k + 1);
    }
    regex_scratch_free(scratch);
    return status;
}

static bool bounds_of_numbers(const struct bounds *bounds)
{
    const struct datum *bound = bounds->low.kind ? &bounds->low : &bounds->high;

    return datum_class(bound) == CLASS_NUMBER;
}

static vecdb_status find_runs(const struct scalar_index *index, const struct condition *condition, struct runs *runs)
{
    if (condition->fixed)
        return fixed_runs(index, condition, runs);
    switch (condition->test) {
    case TEST_RANGE:
        return bounds_of_numbers(&condition->bounds) ? number_runs(index, &condition->bounds, runs)
                                                     : string_runs(index, &condition->bounds, runs);
    case TEST_SET:
    case TEST_CONTAINS:
        return set_runs(index, &condition->set, runs);
    default:
        return pattern_runs(index, condition, runs);
    }
}

static void set_run_rows(const struct scalar_index *index, uint32_t first, uint32_t end, uint64_t *bits)
{
    size_t words = bitmap_words(index->row_count);

    for (uint32_t k = first; k < end; k++) {
        if (index->dense && index->dense[k]) {
            const uint64_t *more = index->bitmaps + (size_t)(index->dense[k] - 1) * words;

            for (size_t w = 0; w < words; w++)
                bits[w] |= more[w];
            continue;
        }
        for (uint32_t i = index->begin[k]; i < index->begin[k + 1]; i++)
            bitmap_set(bits, index->rows[i]);
    }
}

/* Rows of which a negated condition can be TRUE: those with a value of its class. */
static const uint64_t *present_for(const struct scalar_index *index, const struct condition *condition)
{
    unsigned class;

    if (index->multi)
        return index->present[0];
    if (condition->fixed || (condition->test == TEST_NULL && condition->operand.kind == OPERAND_COLUMN))
        class = index->classes;
    else if (condition->test == TEST_RANGE)
        class = bounds_of_numbers(&condition->bounds) ? CLASS_NUMBER : CLASS_STRING;
    else if (condition->test == TEST_SET)
        class = condition->set.classes;
    else
        class = CLASS_STRING;
    return class == CLASS_BOOL     ? index->present[0]
           : class == CLASS_NUMBER ? index->present[1]
           : class == CLASS_STRING ? index->present[2]
                                   : NULL;
}

/* ---- n-grams ---- */

static size_t character_at(const char *text, size_t length, size_t at)
{
    return dictionary_character(text, length, at);
}

/* Calls for grams of the pattern: a run of plain bytes of at least min_gram characters gives its longest grams. */
struct gram_walk {
    const struct scalar_index *index;
    uint64_t *bits, *scratch; /* NULL: only count */
    uint64_t fewest;
    bool any;
};

static void use_gram(struct gram_walk *walk, const char *text, size_t length)
{
    const struct scalar_index *index = walk->index;
    size_t words = bitmap_words(index->row_count);
    struct datum gram = {DATUM_STRING, {.string = {text, length}}}, key;
    uint32_t at = strings_from(index, text, length, false);
    uint64_t rows = 0;

    if (at < index->key_count) {
        key = key_text(index, at - strings_at(index));
        if (datum_equal(&key, &gram))
            rows = index->begin[at + 1] - index->begin[at];
    }
    if (walk->bits) {
        memset(walk->scratch, 0, words * 8);
        if (rows)
            set_run_rows(index, at, at + 1, walk->scratch);
        for (size_t w = 0; w < words; w++)
            walk->bits[w] = walk->any ? walk->bits[w] & walk->scratch[w] : walk->scratch[w];
    }
    if (!walk->any || rows < walk->fewest)
        walk->fewest = rows;
    walk->any = true;
}

static void use_piece(struct gram_walk *walk, const char *text, size_t length)
{
    size_t characters = 0, gram, starts[256], count = 0;

    for (size_t at = 0; at < length && count < 255; at += character_at(text, length, at), characters++)
        starts[count++] = at;
    if (characters < walk->index->min_gram)
        return;
    starts[count] = count < 255 ? length : starts[count - 1];
    if (count == 255)
        characters = count -= 1;
    gram = characters < walk->index->max_gram ? characters : walk->index->max_gram;
    for (size_t i = 0; i + gram <= characters; i++)
        use_gram(walk, text + starts[i], starts[i + gram] - starts[i]);
}

static void walk_grams(struct gram_walk *walk, const struct like *like)
{
    char piece[1024];
    size_t n = 0;

    for (size_t i = 0; i <= like->piece_count; i++) {
        if (i < like->piece_count && like->pieces[i] < 256 && n < sizeof piece) {
            piece[n++] = (char)like->pieces[i];
            continue;
        }
        if (n == sizeof piece) /* cut at a character, so that no half one becomes a gram */
            while (n && ((unsigned char)piece[n - 1] & 0x80))
                n--;
        use_piece(walk, piece, n);
        n = 0;
        while (i < like->piece_count && like->pieces[i] < 256)
            i++;
    }
}

/* ---- What the planner asks ---- */

static bool same_path(const struct scalar_index *index, const struct operand *operand)
{
    size_t at = 0;

    for (size_t i = 0; i < operand->step_count; i++) {
        const struct step *step = &operand->steps[i];
        size_t number;

        if (at >= index->path_size || (index->path[at] == 1) != (step->key != NULL))
            return false;
        number = load_u32(index->path + at + 1);
        if (number != (step->key ? step->length : step->index) ||
            (step->key && memcmp(index->path + at + 5, step->key, number) != 0))
            return false;
        at += 5 + (step->key ? number : 0);
    }
    return at == index->path_size;
}

static bool can_answer(const struct scalar_index *index, const struct condition *condition)
{
    unsigned classes;

    if ((condition->operand.kind != OPERAND_COLUMN && condition->operand.kind != OPERAND_PATH) ||
        !same_path(index, &condition->operand))
        return false;
    if (index->kind == KIND_NGRAM)
        return condition->test == TEST_LIKE && !condition->negated;
    switch (condition->test) {
    case TEST_RANGE:
        if (condition->fixed)
            return true;
        classes = bounds_of_numbers(&condition->bounds) ? CLASS_NUMBER : CLASS_STRING;
        return !index->multi && !(classes & ~index->classes);
    case TEST_SET:
        if (condition->fixed)
            return true;
        /* several classes, negated: TRUE for no row, which is for the scan to find */
        return !index->multi && !(condition->set.classes & ~index->classes) && present_for(index, condition);
    case TEST_LIKE:
    case TEST_REGEX:
        return !index->multi && (index->classes & CLASS_STRING);
    case TEST_CONTAINS:
    case TEST_CONTAINS_ALL:
        return index->multi && !(condition->set.classes & ~index->classes);
    case TEST_NULL:
        return condition->operand.kind == OPERAND_COLUMN && condition->operand.type != TYPE_JSON;
    default:
        return false;
    }
}

bool scalar_index_serves(const struct scalar_index *index, const struct condition *condition, struct scalar_lookup *out)
{
    double sweep = (double)bitmap_words(index->row_count) * 0.5;
    struct runs runs = {{0}, 0};

    if (!can_answer(index, condition))
        return false;
    *out = (struct scalar_lookup){.exact = true, .cost = sweep};
    if (index->kind == KIND_NGRAM) {
        struct gram_walk walk = {.index = index};

        walk_grams(&walk, condition->like);
        if (!walk.any)
            return false;
        *out = (struct scalar_lookup){.exact = false, .rows = walk.fewest, .cost = 4 * sweep + (double)walk.fewest * 2};
        return true;
    }
    if (condition->test == TEST_NULL) {
        const uint64_t *present = present_for(index, condition);

        if (!present)
            return false;
        out->rows = bitmap_count(present, index->row_count);
        if (!condition->negated)
            out->rows = index->row_count - out->rows;
        return true;
    }
    if ((condition->test == TEST_LIKE && condition->like->kind != LIKE_PREFIX && condition->like->kind != LIKE_ANY) ||
        condition->test == TEST_REGEX) { /* the dictionary must be gone through: what it finds is not known before */
        out->cost += index->string_count * (condition->test == TEST_LIKE ? 20.0 : 300.0);
        out->rows = index->row_count / 4;
    } else if (condition->test == TEST_CONTAINS_ALL) {
        out->rows = index->row_count / 4;
        out->cost += (double)set_size(&condition->set) * (sweep + (double)index->posting_count / (index->key_count + 1.0));
    } else if (find_runs(index, condition, &runs) == VECDB_OK) {
        out->rows = index->multi && runs.rows > index->row_count ? index->row_count : runs.rows;
        out->cost += (double)runs.rows * 0.8 + (double)runs.pairs.size;
    } else {
        buf_deinit(&runs.pairs);
        return false;
    }
    buf_deinit(&runs.pairs);
    if (condition->negated)
        out->rows = index->row_count - (out->rows < index->row_count ? out->rows : index->row_count);
    return true;
}

static vecdb_status lookup_all(const struct scalar_index *index, const struct condition *condition, uint64_t *bits)
{
    size_t words = bitmap_words(index->row_count);
    const struct set *set = &condition->set;
    uint64_t *one = mem_array_alloc(words + 1, 8);
    struct runs runs = {{0}, 0};
    vecdb_status status = one ? VECDB_OK : error_nomem("filter");

    memcpy(bits, index->present[0], words * 8);
    for (size_t i = 0, n = set_size(set); i < n && status == VECDB_OK; i++) {
        struct set single = *set; /* the i-th value alone, counted as set_find() does */
        size_t at = i;

        if (i < 2 && !set->has[i])
            continue;
        single.has[0] = i == 0;
        single.has[1] = i == 1;
        single.integer_count = single.real_count = single.string_count = single.value_count = 0;
        at -= 2;
        if (i >= 2 && at < set->integer_count) {
            single.integers += at;
            single.integer_count = 1;
        } else if (i >= 2 && (at -= set->integer_count) < set->real_count) {
            single.reals += at;
            single.real_count = 1;
        } else if (i >= 2 && (at -= set->real_count) < set->string_count) {
            single.strings += at;
            single.string_count = 1;
        }
        runs.pairs.size = 0;
        status = set_runs(index, &single, &runs);
        memset(one, 0, words * 8);
        if (status == VECDB_OK && runs.pairs.size)
            set_run_rows(index, load_u32(runs.pairs.data), load_u32(runs.pairs.data + 4), one);
        for (size_t w = 0; w < words; w++)
            bits[w] &= one[w];
    }
    buf_deinit(&runs.pairs);
    mem_free(one);
    return status;
}

static vecdb_status lookup_grams(const struct scalar_index *index, const struct condition *condition, uint64_t *bits)
{
    struct gram_walk walk = {.index = index, .bits = bits};

    walk.scratch = mem_array_alloc(bitmap_words(index->row_count) + 1, 8);
    if (!walk.scratch)
        return error_nomem("filter");
    walk_grams(&walk, condition->like);
    mem_free(walk.scratch);
    return VECDB_OK;
}

vecdb_status scalar_index_lookup(const struct scalar_index *index, const struct condition *condition, uint64_t *bits)
{
    size_t words = bitmap_words(index->row_count);
    const uint64_t *present = present_for(index, condition);
    struct runs runs = {{0}, 0};
    vecdb_status status;

    if (index->kind == KIND_NGRAM)
        return lookup_grams(index, condition, bits);
    if (condition->test == TEST_CONTAINS_ALL) {
        TRY(lookup_all(index, condition, bits));
    } else {
        memset(bits, 0, words * 8);
        if (condition->test != TEST_NULL) {
            status = find_runs(index, condition, &runs);
            for (size_t i = 0; i < runs.pairs.size && status == VECDB_OK; i += 8)
                set_run_rows(index, load_u32(runs.pairs.data + i), load_u32(runs.pairs.data + i + 4), bits);
            buf_deinit(&runs.pairs);
            if (status != VECDB_OK)
                return status;
        } else {
            for (size_t w = 0; w < words; w++)
                bits[w] = ~present[w];
            if (words)
                bits[words - 1] &= bitmap_tail(index->row_count);
        }
    }
    if (condition->negated && condition->test == TEST_NULL)
        memcpy(bits, present, words * 8);
    else if (condition->negated)
        for (size_t w = 0; w < words; w++)
            bits[w] = present[w] & ~bits[w];
    return VECDB_OK;
}

/* ---- Statistics ---- */

static vecdb_status print_key(const struct dictionary *dictionary, size_t key, struct buf *out)
{
    const struct datum *datum = &dictionary->keys[key];

    /* JSON has no infinities */
    if (datum->kind == DATUM_DOUBLE && !isfinite(datum->real))
        return buf_append_text(out, datum->real < 0 ? "\"-Infinity\"" : "\"Infinity\"");
    return datum_print(datum, out);
}

static vecdb_status print_statistics(const struct dictionary *dictionary, size_t max_unique, bool keys, struct buf *out)
{
    TRY(buf_printf(out, "{\"rows\": %zu, \"null_count\": %zu", dictionary->row_count, dictionary->null_count));
    if (keys)
        TRY(buf_printf(out, ", \"distinct_count\": %zu", dictionary->key_count));
    if (keys && dictionary->key_count) {
        TRY(buf_append_text(out, ", \"min\": "));
        TRY(print_key(dictionary, 0, out));
        TRY(buf_append_text(out, ", \"max\": "));
        TRY(print_key(dictionary, dictionary->key_count - 1, out));
    }
    if (keys && dictionary->key_count <= max_unique) {
        TRY(buf_append_text(out, ", \"unique_values\": ["));
        for (size_t i = 0; i < dictionary->key_count; i++) {
            TRY(buf_append_text(out, i ? ", " : ""));
            TRY(print_key(dictionary, i, out));
        }
        TRY(buf_append_text(out, "]"));
    }
    return buf_append_text(out, "}");
}

vecdb_status scalar_statistics(const struct schema *schema, size_t field, const char *params, size_t max_unique,
                               const struct filter_source *source, struct buf *out)
{
    struct dictionary dictionary = {0};
    struct settings settings = {0};
    const struct field *of = &schema->fields[field];
    bool whole = of->type == VECDB_TYPE_JSON && !params, keys = !whole && !type_is_vector(of->type);
    vecdb_status status = VECDB_OK;

    if (keys)
        status = settings_read(&settings, schema, field, "INVERTED", params);
    else
        settings.operand.kind = OPERAND_COLUMN;
    if (status == VECDB_OK) {
        dictionary.operand = &settings.operand;
        dictionary.field = field;
        dictionary.multi = settings.multi;
        dictionary.classes = settings.classes;
        status = dictionary_build(&dictionary, source);
    }
    if (status == VECDB_OK)
        status = print_statistics(&dictionary, max_unique, keys, out);
    dictionary_deinit(&dictionary);
    settings_deinit(&settings);
    return status;
}
