#include "filter/scalar_index.h"

#include "base/mem.h"
#include "filter/dictionary.h"
#include "filter/scalar_index_data.h"

#include <math.h>

#define MAGIC 0x58495356u /* "VSIX" */
#define VERSION 1
#define HEAD 64
#define FLAG_MULTI 1

static const char *const kind_names[] = {NULL, "INVERTED", "BITMAP", "STL_SORT", "TRIE", "NGRAM", "AUTOINDEX"};

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
