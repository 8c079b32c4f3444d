#include "support/filter_rows.h"

#include "base/mem.h"
#include "schema/json.h"
#include "schema/value.h"

#include <math.h>
#include <stdlib.h>

struct test_column {
    struct buf data, offsets, valid;
};

struct test_index {
    size_t field;
    struct buf bytes;
    struct scalar_index *index;
};

struct test_table {
    struct test_index *indexes;
    size_t index_count;
    struct schema *schema;
    struct test_column *columns;
    size_t row_count, block_rows;
};

static struct json member(struct json object, const char *key) { return json_member(object, key, strlen(key)); }

static bool flag(struct json object, const char *key)
{
    struct json value = member(object, key);

    return json_exists(value) && json_kind(value) == JSON_TRUE;
}

static char *text(struct json object, const char *key)
{
    struct json value = member(object, key);
    size_t length;
    const char *data;

    if (!json_exists(value) || json_kind(value) != JSON_STRING)
        return NULL;
    data = json_string(value, &length);
    return strndup(data, length);
}

static uint32_t number(struct json object, const char *key)
{
    struct json value = member(object, key);

    return json_exists(value) ? (uint32_t)json_int(value) : 0;
}

static vecdb_status make_schema(struct json from, struct schema **out)
{
    struct json list = member(from, "fields");
    size_t count = json_count(list);
    bool vector = false;
    vecdb_field *fields = calloc(count + 1, sizeof *fields);
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_status status;

    if (!fields)
        return error_nomem("test schema");
    for (size_t i = 0; i < count; i++) {
        struct json field = json_at(list, i);
        char *type = text(field, "type"), *element = text(field, "element");

        fields[i].name = text(field, "name");
        fields[i].type = type_from_name(type ? type : "");
        fields[i].element_type = element ? type_from_name(element) : VECDB_TYPE_NONE;
        fields[i].flags = (flag(field, "primary") ? VECDB_PRIMARY_KEY : 0) | (flag(field, "nullable") ? VECDB_NULLABLE : 0);
        fields[i].dim = number(field, "dim");
        vector = vector || type_is_vector(fields[i].type);
        free(type);
        free(element);
    }
    if (!vector) { /* which a collection must have */
        fields[count].name = strdup("embedding");
        fields[count].type = VECDB_TYPE_FLOAT_VECTOR;
        fields[count].dim = 2;
        count++;
    }
    schema.name = "test";
    schema.fields = fields;
    schema.field_count = count;
    schema.dynamic = flag(from, "dynamic");
    status = schema_create(&schema, out);
    for (size_t i = 0; i < count; i++)
        free((char *)fields[i].name);
    free(fields);
    return status;
}

static vecdb_status put_value(struct test_table *table, size_t field, size_t row, struct json value)
{
    struct test_column *column = &table->columns[field];
    const struct field *of = &table->schema->fields[field];
    uint32_t end;

    if (json_exists(value) && (json_kind(value) != JSON_NULL || of->type == VECDB_TYPE_JSON)) {
        bitmap_set((uint64_t *)column->valid.data, row);
        if (type_is_vector(of->type)) /* that it is there is all that filters can see */
            TRY(buf_append(&column->data, NULL, of->width));
        else
            TRY(value_from_json(of, value, &column->data));
    } else {
        TRY(buf_append(&column->data, NULL, of->width));
    }
    end = (uint32_t)column->data.size;
    return of->width ? VECDB_OK : buf_append(&column->offsets, &end, sizeof end);
}

static vecdb_status put_row(struct test_table *table, size_t row, struct json object)
{
    size_t count = json_count(object), others = 0;
    vecdb_string *keys = calloc(count + 1, sizeof *keys);
    struct json *values = calloc(count + 1, sizeof *values);
    struct buf dynamic = {0};
    vecdb_status status = VECDB_OK;

    for (size_t i = 0; i < count; i++) {
        size_t length;
        const char *key = json_key(object, i, &length);

        if (schema_find(table->schema, key, length) == SCHEMA_NONE) {
            keys[others] = (vecdb_string){key, length};
            values[others++] = json_at(object, i);
        }
    }
    if (table->schema->dynamic != SCHEMA_NONE)
        status = json_put_object(&dynamic, others, keys, values);
    for (size_t i = 0; i < table->schema->field_count && status == VECDB_OK; i++)
        status = put_value(table, i, row,
                           i == table->schema->dynamic ? (struct json){dynamic.data, dynamic.size}
                                                       : member(object, table->schema->fields[i].name));
    buf_deinit(&dynamic);
    free(keys);
    free(values);
    return status;
}

vecdb_status test_table_create(const char *schema, const char *rows, size_t block_rows, struct test_table **out)
{
    struct test_table *table = calloc(1, sizeof *table);
    struct buf parsed = {0};
    vecdb_status status;
    struct json list;

    *out = NULL;
    if (!table)
        return error_nomem("test table");
    table->block_rows = block_rows;
    if ((status = json_parse(schema, strlen(schema), &parsed)) == VECDB_OK)
        status = make_schema((struct json){parsed.data, parsed.size}, &table->schema);
    parsed.size = 0;
    if (status == VECDB_OK)
        status = json_parse(rows, strlen(rows), &parsed);
    if (status == VECDB_OK) {
        list = (struct json){parsed.data, parsed.size};
        table->row_count = json_count(list);
        table->columns = calloc(table->schema->field_count, sizeof *table->columns);
        for (size_t i = 0; i < table->schema->field_count && status == VECDB_OK; i++) {
            status = buf_append(&table->columns[i].valid, NULL, bitmap_words(table->row_count) * 8 + 8);
            if (status == VECDB_OK && !table->schema->fields[i].width)
                status = buf_append(&table->columns[i].offsets, NULL, 4);
        }
        for (size_t i = 0; i < table->row_count && status == VECDB_OK; i++)
            status = put_row(table, i, json_at(list, i));
    }
    buf_deinit(&parsed);
    if (status != VECDB_OK) {
        test_table_free(table);
        return status;
    }
    *out = table;
    return VECDB_OK;
}

void test_table_free(struct test_table *table)
{
    if (!table)
        return;
    for (size_t i = 0; table->columns && i < table->schema->field_count; i++) {
        buf_deinit(&table->columns[i].data);
        buf_deinit(&table->columns[i].offsets);
        buf_deinit(&table->columns[i].valid);
    }
    for (size_t i = 0; i < table->index_count; i++) {
        scalar_index_free(table->indexes[i].index);
        buf_deinit(&table->indexes[i].bytes);
    }
    free(table->indexes);
    schema_free(table->schema);
    free(table->columns);
    free(table);
}

const struct schema *test_table_schema(const struct test_table *table) { return table->schema; }
size_t test_table_rows(const struct test_table *table) { return table->row_count; }

static vecdb_status read_column(void *context, size_t field, size_t block, struct column_scratch *scratch,
                                struct column *out)
{
    struct test_table *table = context;
    const struct field *of = &table->schema->fields[field];
    struct test_column *column = &table->columns[field];
    size_t first = block * table->block_rows, left = table->row_count - first;

    *out = (struct column){.type = of->type, .element_type = of->element_type, .dim = of->dim, .width = of->width};
    out->row_count = left < table->block_rows ? left : table->block_rows;
    if (of->width) {
        /* a copy, so that a read past the end shows, and the view does not outlive the scratch */
        scratch->bytes.size = 0;
        TRY(buf_append(&scratch->bytes, column->data.data + first * of->width, out->row_count * of->width));
        out->data = scratch->bytes.data;
    } else {
        out->data = column->data.data ? column->data.data : (const uint8_t *)"";
        out->offsets = (const uint32_t *)column->offsets.data + first;
    }
    if (of->flags & VECDB_NULLABLE)
        out->valid = (const uint64_t *)column->valid.data + first / 64;
    return VECDB_OK;
}

static bool read_stats(void *context, size_t field, size_t block, struct column_stats *out)
{
    struct test_table *table = context;
    const struct field *of = &table->schema->fields[field];
    struct test_column *column = &table->columns[field];
    size_t first = block * table->block_rows, end = first + table->block_rows;

    if (!of->width || type_is_vector(of->type))
        return false;
    memset(out, 0, sizeof *out);
    for (size_t row = first; row < end && row < table->row_count; row++) {
        const uint8_t *at = column->data.data + row * of->width;
        int64_t integer = 0;
        double real = 0;
        float narrow;

        if (!bitmap_get((const uint64_t *)column->valid.data, row)) {
            out->null_count++;
            continue;
        }
        switch (of->type) {
        case VECDB_TYPE_FLOAT:
            memcpy(&narrow, at, 4);
            real = narrow;
            break;
        case VECDB_TYPE_DOUBLE:
            memcpy(&real, at, 8);
            break;
        default:
            memcpy(&integer, at, of->width);
            if (of->width < 8 && of->type != VECDB_TYPE_BOOL)
                integer = (int64_t)((uint64_t)integer << (64 - 8 * of->width)) >> (64 - 8 * of->width);
        }
        if (type_is_float(of->type)) {
            if (!out->has_range || real < out->low.real)
                out->low.real = real;
            if (!out->has_range || real > out->high.real)
                out->high.real = real;
        } else {
            if (!out->has_range || integer < out->low.integer)
                out->low.integer = integer;
            if (!out->has_range || integer > out->high.integer)
                out->high.integer = integer;
        }
        out->has_range = true;
    }
    return true;
}

static const struct scalar_index *read_index(void *context, size_t field, size_t i)
{
    struct test_table *table = context;

    for (size_t at = 0; at < table->index_count; at++)
        if (table->indexes[at].field == field && i-- == 0)
            return table->indexes[at].index;
    return NULL;
}

vecdb_status test_table_add_index(struct test_table *table, const char *field, const char *kind, const char *params)
{
    struct filter_source source = test_table_source(table, true);
    struct test_index made = {.field = schema_find(table->schema, field, strlen(field))};
    struct scalar_index *built = NULL;

    TRY(scalar_index_build(table->schema, made.field, kind, params, &source, &built));
    if (scalar_index_save(built, &made.bytes) != VECDB_OK ||
        scalar_index_open(made.bytes.data, made.bytes.size, &made.index) != VECDB_OK ||
        scalar_index_check(made.index) != VECDB_OK) {
        scalar_index_free(built);
        buf_deinit(&made.bytes);
        return error_last()->status;
    }
    scalar_index_free(built);
    table->indexes = realloc(table->indexes, (table->index_count + 1) * sizeof *table->indexes);
    table->indexes[table->index_count++] = made;
    return VECDB_OK;
}

struct filter_source test_table_source(struct test_table *table, bool plain)
{
    struct filter_source source = {.context = table,
                                   .row_count = table->row_count,
                                   .block_rows = table->block_rows,
                                   .column = read_column,
                                   .stats = plain ? NULL : read_stats,
                                   .index = plain ? NULL : read_index,
                                   .seed = 7};
    return source;
}

vecdb_status test_table_match(struct test_table *table, const char *expression, const char *params, bool plain,
                              uint64_t *bits)
{
    struct filter_source source = test_table_source(table, plain);
    struct filter *filter;
    vecdb_status status = filter_compile(table->schema, expression, strlen(expression), params, &filter);

    if (status != VECDB_OK)
        return status;
    bitmap_fill(bits, table->row_count);
    status = filter_eval(filter, &source, bits, NULL, NULL, NULL);
    filter_free(filter);
    return status;
}
