/* What is in a field: counts and distinct values. */
#include "base/mem.h"
#include "filter/dictionary.h"
#include "filter/scalar_settings.h"

#include <math.h>

static vecdb_status print_key(const struct datum *key, bool boolean, struct buf *out)
{
    if (boolean) /* a BOOL field, whose values are numbers to filters */
        return buf_append_text(out, key->integer ? "true" : "false");
    /* JSON has no infinities */
    if (key->kind == DATUM_DOUBLE && !isfinite(key->real))
        return buf_append_text(out, key->real < 0 ? "\"-Infinity\"" : "\"Infinity\"");
    return datum_print(key, out);
}

/* Whole numbers and others are sorted apart in a dictionary: put them together. */
static void merge_numbers(struct dictionary *dictionary, struct datum *sorted)
{
    const struct datum *keys = dictionary->keys;
    size_t at = dictionary->bool_count, middle = at + dictionary->integer_count, end = middle + dictionary->real_count;

    memcpy(sorted, keys, dictionary->key_count * sizeof *keys);
    for (size_t i = at, j = middle; i < middle || j < end;)
        sorted[at++] = j == end || (i < middle && datum_compare(&keys[i], &keys[j]) < 0) ? keys[i++] : keys[j++];
}

static vecdb_status print_values(struct dictionary *dictionary, size_t max_unique, bool boolean, struct buf *out)
{
    size_t numbers = dictionary->integer_count + dictionary->real_count, first = 0, count = dictionary->key_count;
    struct datum *sorted = mem_array_alloc(count + 1, sizeof *sorted);
    vecdb_status status;

    if (!sorted)
        return error_nomem("statistics");
    merge_numbers(dictionary, sorted);
    if (numbers) { /* a JSON path may lead to several types */
        first = dictionary->bool_count;
        count = numbers;
    } else if (dictionary->string_count) {
        first = dictionary->bool_count;
        count = dictionary->string_count;
    }
    status = buf_printf(out, ", \"distinct_count\": %zu", dictionary->key_count);
    if (status == VECDB_OK && count) {
        status = buf_append_text(out, ", \"min\": ");
        if (status == VECDB_OK)
            status = print_key(&sorted[first], boolean, out);
        if (status == VECDB_OK)
            status = buf_append_text(out, ", \"max\": ");
        if (status == VECDB_OK)
            status = print_key(&sorted[first + count - 1], boolean, out);
    }
    if (status == VECDB_OK && dictionary->key_count <= max_unique) {
        status = buf_append_text(out, ", \"unique_values\": [");
        for (size_t i = 0; i < dictionary->key_count && status == VECDB_OK; i++) {
            status = buf_append_text(out, i ? ", " : "");
            if (status == VECDB_OK)
                status = print_key(&sorted[i], boolean, out);
        }
        if (status == VECDB_OK)
            status = buf_append_text(out, "]");
    }
    mem_free(sorted);
    return status;
}

vecdb_status scalar_statistics(const struct schema *schema, size_t field, const char *params, size_t max_unique,
                               const struct filter_source *sources, const uint64_t *const *rows, size_t source_count,
                               struct buf *out)
{
    struct dictionary dictionary = {.field = field, .keys_only = true};
    struct settings settings = {0};
    const struct field *of = &schema->fields[field];
    bool path = params && *params;
    bool values = !type_is_vector(of->type) && (of->type != VECDB_TYPE_JSON || path);
    vecdb_status status = VECDB_OK;

    if (values)
        status = settings_read(&settings, schema, field, "INVERTED", params);
    else if (path)
        status = error_set(VECDB_ERR_INVALID, "field %s: json_path is for JSON, and the field is %s", of->name,
                           type_name(of->type));
    else
        settings.operand.kind = OPERAND_COLUMN;
    if (status == VECDB_OK) {
        dictionary.operand = &settings.operand;
        dictionary.multi = settings.multi;
        dictionary.classes = settings.classes;
        status = dictionary_build(&dictionary, sources, rows, source_count);
    }
    if (status == VECDB_OK)
        status = buf_printf(out, "{\"rows\": %zu, \"null_count\": %zu", dictionary.row_count, dictionary.null_count);
    if (status == VECDB_OK && values)
        status = print_values(&dictionary, max_unique, of->type == VECDB_TYPE_BOOL, out);
    if (status == VECDB_OK)
        status = buf_append_text(out, "}");
    dictionary_deinit(&dictionary);
    settings_deinit(&settings);
    return status;
}
