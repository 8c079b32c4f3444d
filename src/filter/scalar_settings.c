#include "filter/scalar_settings.h"

#include "base/mem.h"

#include <strings.h>

#define KIND_NAMES "INVERTED, BITMAP, STL_SORT, TRIE, NGRAM, AUTOINDEX"

static const char *const kind_names[] = {NULL, "INVERTED", "BITMAP", "STL_SORT", "TRIE", "NGRAM", "AUTOINDEX"};

#define OF(kind) (1u << (kind))
#define OF_ALL (OF(KIND_INVERTED) | OF(KIND_AUTO))

static const struct {
    struct scalar_param param;
    unsigned kinds;
} table[] = {
    {{NULL, "json_path", "JSON: what to index, as filters write it: meta[\"key\"], or a dynamic key", "PATH", 0, 0, 0},
     OF_ALL | OF(KIND_NGRAM)},
    {{NULL, "json_cast_type", "JSON: index values of this type only",
      "JSON|bool|double|varchar|array_bool|array_double|array_varchar", 0, 6, 0},
     OF_ALL | OF(KIND_NGRAM)},
    {{NULL, "min_gram", "fewest characters of a run", NULL, 1, MAX_GRAM, 0}, OF(KIND_NGRAM)},
    {{NULL, "max_gram", "most characters of a run", NULL, 1, MAX_GRAM, 0}, OF(KIND_NGRAM)},
    {{NULL, "bitmapCardinalityLimit", "distinct values up to which BITMAP is chosen", NULL, 1, 1000, 100}, OF(KIND_AUTO)},
};
#define TABLE_SIZE (sizeof table / sizeof *table)

static enum kind find_kind(const char *name)
{
    for (size_t i = 1; i < sizeof kind_names / sizeof *kind_names; i++)
        if (strcasecmp(name, kind_names[i]) == 0)
            return (enum kind)i;
    return KIND_NONE;
}

const char *scalar_kind_name(enum kind kind) { return kind_names[kind]; }

const char *scalar_index_find(const char *name) { return kind_names[find_kind(name)]; }

bool scalar_index_param_at(size_t i, struct scalar_param *out)
{
    for (size_t kind = 1; kind < sizeof kind_names / sizeof *kind_names; kind++)
        for (size_t p = 0; p < TABLE_SIZE; p++)
            if ((table[p].kinds & OF(kind)) && i-- == 0) {
                *out = table[p].param;
                out->kind = kind_names[kind];
                return true;
            }
    return false;
}

void settings_deinit(struct settings *settings)
{
    arena_deinit(&settings->arena);
    buf_deinit(&settings->parsed);
    buf_deinit(&settings->text);
}

/* ---- Texts of parameters ---- */

/* "name=value, name=value" as a JSON object of texts. A value goes on to a comma that is in no brackets and no quotes. */
static vecdb_status text_to_json(const char *at, struct buf *out)
{
    TRY(buf_append_text(out, "{"));
    for (;;) {
        const char *name, *value;
        size_t length, depth = 0;
        char quote = 0;

        at += strspn(at, " \t\r\n,");
        if (!*at)
            return buf_append_text(out, "}");
        name = at;
        length = strcspn(at, " \t\r\n=:,");
        at += length;
        at += strspn(at, " \t\r\n");
        if (!length || (*at != '=' && *at != ':'))
            return error_set(VECDB_ERR_INVALID, "index parameters: expected name=value, found %.40s", name);
        at++;
        at += strspn(at, " \t\r\n");
        TRY(buf_append_text(out, out->size > 1 ? ", " : ""));
        TRY(buf_append_json_string(out, name, length));
        TRY(buf_append_text(out, ": "));
        for (value = at; *at && (quote || depth || *at != ','); at++) {
            if (quote)
                quote = *at == quote ? 0 : quote;
            else if (*at == '"' || *at == '\'')
                quote = *at;
            else if (*at == '[')
                depth++;
            else if (*at == ']' && depth)
                depth--;
        }
        length = (size_t)(at - value);
        while (length && strchr(" \t\r\n", value[length - 1]))
            length--;
        if (length >= 2 && (*value == '"' || *value == '\'') && memchr(value + 1, *value, length - 1) == value + length - 1)
            value++, length -= 2;
        TRY(buf_append_json_string(out, value, length));
    }
}

static vecdb_status check_names(const char *kind, struct json object)
{
    for (size_t i = 0; i < json_count(object); i++) {
        size_t length, p = 0;
        const char *name = json_key(object, i, &length);

        while (p < TABLE_SIZE &&
               (strlen(table[p].param.name) != length || strncasecmp(table[p].param.name, name, length) != 0))
            p++;
        if (p == TABLE_SIZE)
            return error_set(VECDB_ERR_INVALID,
                             "index %.40s: no parameter \"%.*s\"; there are json_path, json_cast_type, min_gram, max_gram, "
                             "bitmapCardinalityLimit",
                             kind, (int)(length < 60 ? length : 60), name);
    }
    return VECDB_OK;
}

/* The members that there are, in the order of the table, so that the same parameters are the same text. */
static vecdb_status print_members(struct json object, const char *path, struct buf *out)
{
    for (size_t p = 0; p < TABLE_SIZE; p++) {
        const char *wanted = table[p].param.name;
        bool found = false;

        for (size_t i = 0; json_exists(object) && i < json_count(object) && !found; i++) {
            size_t length;
            const char *name = json_key(object, i, &length);

            if (strlen(wanted) != length || strncasecmp(wanted, name, length) != 0)
                continue;
            found = true;
            TRY(buf_printf(out, "%s\"%s\": ", out->size ? ", " : "{", wanted));
            TRY(json_print(json_at(object, i), out));
        }
        if (p == 0 && !found && path) {
            TRY(buf_printf(out, "{\"%s\": ", wanted));
            TRY(buf_append_json_string(out, path, strlen(path)));
        }
    }
    return out->size ? buf_append_text(out, "}") : VECDB_OK;
}

static vecdb_status canonical(const char *kind, const char *params, const char *path, struct buf *out)
{
    struct buf text = {0}, parsed = {0};
    struct json object = {NULL, 0};
    vecdb_status status = VECDB_OK;

    params = params ? params + strspn(params, " \t\r\n") : "";
    if (*params && *params != '{' && (status = text_to_json(params, &text)) == VECDB_OK)
        status = json_parse((const char *)text.data, text.size, &parsed);
    else if (*params == '{' && (status = json_parse(params, strlen(params), &parsed)) != VECDB_OK)
        status = error_prefix("index %.40s: parameters: ", kind);
    if (status == VECDB_OK && parsed.size) {
        object = (struct json){parsed.data, parsed.size};
        status = check_names(kind, object);
    }
    if (status == VECDB_OK)
        status = print_members(object, path, out);
    buf_deinit(&text);
    buf_deinit(&parsed);
    return status;
}

vecdb_status scalar_index_params(const char *kind, const char *params, const char *path, struct buf *out)
{
    TRY(canonical(kind, params, path, out));
    return buf_append(out, "", 1);
}

/* ---- Values of parameters ---- */

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

vecdb_status settings_read(struct settings *settings, const struct schema *schema, size_t field_number,
                                  const char *kind, const char *params)
{
    const struct field *field = &schema->fields[field_number];
    struct json object = {NULL, 0};
    const char *text;
    size_t length;
    int64_t limit;
    vecdb_status status;

    *settings = (struct settings){.type = field->type, .element_type = field->element_type, .cardinality_limit = 100};
    settings->kind = find_kind(kind);
    if (settings->kind == KIND_NONE)
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: there is no scalar index %.40s; there are " KIND_NAMES, field->name,
                         kind);
    if (type_is_vector(field->type))
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: a scalar index does not go with %s", field->name,
                         type_name(field->type));
    TRY(canonical(kind, params, NULL, &settings->text));
    if (settings->text.size) {
        TRY(json_parse((const char *)settings->text.data, settings->text.size, &settings->parsed));
        object = (struct json){settings->parsed.data, settings->parsed.size};
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
