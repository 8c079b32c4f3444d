/* Fields in words, and values as JSON. */
#include "cli.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name;
    vecdb_type type;
} type_names[] = {
    {"BOOL", VECDB_TYPE_BOOL},       {"INT8", VECDB_TYPE_INT8},
    {"INT16", VECDB_TYPE_INT16},     {"INT32", VECDB_TYPE_INT32},
    {"INT64", VECDB_TYPE_INT64},     {"FLOAT", VECDB_TYPE_FLOAT},
    {"DOUBLE", VECDB_TYPE_DOUBLE},   {"VARCHAR", VECDB_TYPE_VARCHAR},
    {"ARRAY", VECDB_TYPE_ARRAY},     {"JSON", VECDB_TYPE_JSON},
    {"BINARY_VECTOR", VECDB_TYPE_BINARY_VECTOR},     {"FLOAT_VECTOR", VECDB_TYPE_FLOAT_VECTOR},
    {"FLOAT16_VECTOR", VECDB_TYPE_FLOAT16_VECTOR},   {"BFLOAT16_VECTOR", VECDB_TYPE_BFLOAT16_VECTOR},
    {"INT8_VECTOR", VECDB_TYPE_INT8_VECTOR},         {"SPARSE_FLOAT_VECTOR", VECDB_TYPE_SPARSE_FLOAT_VECTOR},
};
static const size_t type_count = sizeof type_names / sizeof type_names[0];

static vecdb_type type_of(const char *text, size_t length)
{
    for (size_t i = 0; i < type_count; i++)
        if (strlen(type_names[i].name) == length && strncasecmp(type_names[i].name, text, length) == 0)
            return type_names[i].type;
    return VECDB_TYPE_NONE;
}

static const char *name_of(vecdb_type type)
{
    for (size_t i = 0; i < type_count; i++)
        if (type_names[i].type == type)
            return type_names[i].name;
    return "?";
}

bool parse_type(const char *text, vecdb_field *field)
{
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");
    const char *at = text + length;
    unsigned long number = 0;
    char *end;

    field->type = type_of(text, length);
    if (field->type == VECDB_TYPE_NONE) {
        complain("'%s' is no type; there are BOOL, INT8 .. INT64, FLOAT, DOUBLE, VARCHAR(n), JSON, ARRAY<type>(n), "
                 "FLOAT_VECTOR(dim), FLOAT16_VECTOR(dim), BFLOAT16_VECTOR(dim), INT8_VECTOR(dim), BINARY_VECTOR(bits), "
                 "SPARSE_FLOAT_VECTOR",
                 text);
        return false;
    }
    if (*at == '<') {
        const char *close = strchr(at, '>');
        field->element_type = close ? type_of(at + 1, (size_t)(close - at - 1)) : VECDB_TYPE_NONE;
        if (field->element_type == VECDB_TYPE_NONE) {
            complain("'%s': elements of an array are wanted as ARRAY<INT64>(100)", text);
            return false;
        }
        at = close + 1;
    }
    if (*at == '(') {
        number = strtoul(at + 1, &end, 10);
        if (end == at + 1 || *end != ')' || number > UINT32_MAX) {
            complain("'%s': a number in parentheses is wanted", text);
            return false;
        }
        at = end + 1;
    }
    if (*at) {
        complain("'%s': what is '%s'?", text, at);
        return false;
    }
    if (field->type >= VECDB_TYPE_BINARY_VECTOR)
        field->dim = (uint32_t)number;
    else if (field->type == VECDB_TYPE_ARRAY)
        field->max_capacity = (uint32_t)number;
    else
        field->max_length = (uint32_t)number;
    return true;
}

/* "id INT64 primary auto", in a copy that the field points into. */
static bool parse_field(char *text, vecdb_field *field)
{
    char *save = NULL, *name = strtok_r(text, " \t", &save), *type = strtok_r(NULL, " \t", &save), *word;

    if (!name || !type) {
        complain("a field is wanted as 'NAME TYPE [primary] [auto] [nullable] [default=JSON]'");
        return false;
    }
    field->name = name;
    if (!parse_type(type, field))
        return false;
    while ((word = strtok_r(NULL, " \t", &save))) {
        if (strcasecmp(word, "primary") == 0)
            field->flags |= VECDB_PRIMARY_KEY;
        else if (strcasecmp(word, "auto") == 0)
            field->flags |= VECDB_AUTO_ID;
        else if (strcasecmp(word, "nullable") == 0)
            field->flags |= VECDB_NULLABLE;
        else if (strcasecmp(word, "partition") == 0)
            field->flags |= VECDB_PARTITION_KEY;
        else if (strncasecmp(word, "default=", 8) == 0)
            field->default_value = word + 8;
        else {
            complain("field %s: what is '%s'? There are primary, auto, nullable, partition, default=JSON", name, word);
            return false;
        }
    }
    return true;
}

int run_create(void)
{
    vecdb_field fields[VECDB_MAX_FIELDS];
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    char *copies[VECDB_MAX_FIELDS];
    struct session session;
    size_t count = 0;
    double ttl = 0;
    int code = option_number("--ttl", 0, 1e10, 0, &ttl) ? EXIT_DONE : EXIT_USAGE;

    memset(fields, 0, sizeof fields);
    for (const char *text; code == EXIT_DONE && (text = option_at("--field", (int)count)); count++) {
        copies[count] = strdup(text);
        if (!copies[count] || !parse_field(copies[count], &fields[count])) {
            count++;
            code = EXIT_USAGE;
            break;
        }
        if (count + 1 == VECDB_MAX_FIELDS)
            break;
    }
    if (code == EXIT_DONE && count == 0)
        code = usage_error("create wants at least a primary key and a vector: --field 'id INT64 primary' "
                           "--field 'embedding FLOAT_VECTOR(384)'");
    if (code == EXIT_DONE && (code = session_open(&session, TO_CREATE, false)) == EXIT_DONE) {
        vecdb_status status;
        schema.name = argument(1);
        schema.description = option("--description");
        schema.fields = fields;
        schema.field_count = count;
        schema.dynamic = option("--dynamic") != NULL;
        schema.ttl_seconds = (uint64_t)ttl;
        status = vecdb_collection_create(session.db, &schema, &session.collection);
        code = session_close(&session, status < 0 ? failure(status) : EXIT_DONE);
        if (code == EXIT_DONE)
            printf(json_wanted() ? "{\"created\": \"%s\", \"fields\": %zu}\n" : "created %s with %zu fields\n", argument(1), count);
    }
    for (size_t i = 0; i < count; i++)
        free(copies[i]);
    return code;
}

int run_ttl(void)
{
    const char *text = argument(2);
    struct session session;
    unsigned long long seconds;
    char *end;
    vecdb_status status;
    int code;

    errno = 0;
    seconds = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-')
        return usage_error("ttl wants a number of seconds, not %s", text);
    if ((code = session_open(&session, TO_WRITE, true)) != EXIT_DONE)
        return code;
    status = vecdb_collection_set_ttl(session.collection, seconds);
    if (status == VECDB_OK)
        printf(json_wanted() ? "{\"ttl_seconds\": %llu}\n" : seconds ? "rows expire after %llu seconds\n" : "rows do not expire\n", seconds);
    return session_close(&session, status < 0 ? failure(status) : EXIT_DONE);
}

const vecdb_field *find_field(const vecdb_schema *schema, const char *name)
{
    for (size_t i = 0; i < schema->field_count; i++)
        if (strcmp(schema->fields[i].name, name) == 0)
            return &schema->fields[i];
    return NULL;
}

const vecdb_field *vector_field(const vecdb_schema *schema)
{
    const vecdb_field *found = NULL;
    const char *name = option("--field");

    if (name) {
        found = find_field(schema, name);
        if (!found || found->type < VECDB_TYPE_BINARY_VECTOR)
            complain("%s is no vector field of %s", name, schema->name), found = NULL;
        return found;
    }
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].type >= VECDB_TYPE_BINARY_VECTOR) {
            if (found) {
                complain("%s has several vector fields; name one with --field", schema->name);
                return NULL;
            }
            found = &schema->fields[i];
        }
    return found;
}

/* ---- values ---- */

void print_json_string(FILE *out, const char *text, size_t length)
{
    fputc('"', out);
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void print_number(FILE *out, double value, int digits)
{
    if (isfinite(value))
        fprintf(out, "%.*g", digits, value);
    else
        fputs("null", out);
}

static float float_from_half(uint16_t half, bool brain)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;

    if (!brain) {
        int exponent = (half >> 10) & 31, fraction = half & 1023;
        value = exponent == 0 ? ldexpf((float)fraction, -24) : exponent == 31 ? INFINITY : ldexpf((float)(fraction | 1024), exponent - 25);
        return half & 0x8000 ? -value : value;
    }
    memcpy(&value, &bits, sizeof value);
    return value;
}

static size_t width_of(vecdb_type type)
{
    switch (type) {
    case VECDB_TYPE_INT16:
        return 2;
    case VECDB_TYPE_INT32:
    case VECDB_TYPE_FLOAT:
        return 4;
    case VECDB_TYPE_INT64:
    case VECDB_TYPE_DOUBLE:
        return 8;
    default:
        return 1;
    }
}

static void print_scalar(FILE *out, vecdb_type type, const void *at)
{
    switch (type) {
    case VECDB_TYPE_BOOL:
        fputs(*(const uint8_t *)at ? "true" : "false", out);
        break;
    case VECDB_TYPE_INT8:
        fprintf(out, "%d", *(const int8_t *)at);
        break;
    case VECDB_TYPE_INT16:
        fprintf(out, "%d", *(const int16_t *)at);
        break;
    case VECDB_TYPE_INT32:
        fprintf(out, "%d", *(const int32_t *)at);
        break;
    case VECDB_TYPE_INT64:
        fprintf(out, "%lld", (long long)*(const int64_t *)at);
        break;
    case VECDB_TYPE_FLOAT:
        print_number(out, *(const float *)at, 9);
        break;
    default:
        print_number(out, *(const double *)at, 17);
    }
}

bool sparse_from_json(const json_t *object, vecdb_sparse *out)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return false;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        char *end;
        unsigned long long index = strtoull(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || index > UINT32_MAX || !json_is_number(value))
            return false;
        *out++ = (vecdb_sparse){(uint32_t)index, (float)json_number_value(value)};
    }
    return true;
}

static void print_sparse(FILE *out, const vecdb_column *column, size_t row)
{
    const vecdb_sparse *values = column->data;

    fputc('{', out);
    for (uint64_t i = column->offsets[row]; i < column->offsets[row + 1]; i++) {
        fprintf(out, "%s\"%u\": ", i > column->offsets[row] ? ", " : "", values[i].index);
        print_number(out, (double)values[i].value, 9);
    }
    fputc('}', out);
}

static void print_vector(FILE *out, const vecdb_column *column, size_t row)
{
    size_t count = column->type == VECDB_TYPE_BINARY_VECTOR ? column->dim / 8 : column->dim;

    fputc('[', out);
    for (size_t i = 0; i < count; i++) {
        size_t at = row * count + i;
        if (i)
            fputs(", ", out);
        if (column->type == VECDB_TYPE_FLOAT_VECTOR)
            print_number(out, ((const float *)column->data)[at], 9);
        else if (column->type == VECDB_TYPE_INT8_VECTOR)
            fprintf(out, "%d", ((const int8_t *)column->data)[at]);
        else if (column->type == VECDB_TYPE_BINARY_VECTOR)
            fprintf(out, "%u", ((const uint8_t *)column->data)[at]);
        else
            print_number(out, float_from_half(((const uint16_t *)column->data)[at], column->type == VECDB_TYPE_BFLOAT16_VECTOR), 6);
    }
    fputc(']', out);
}

void print_value(FILE *out, const vecdb_column *column, size_t row)
{
    if (column->valid && !column->valid[row]) {
        fputs("null", out);
        return;
    }
    switch (column->type) {
    case VECDB_TYPE_VARCHAR:
        print_json_string(out, (const char *)column->data + column->offsets[row],
                          (size_t)(column->offsets[row + 1] - column->offsets[row]));
        return;
    case VECDB_TYPE_JSON:
        fwrite((const char *)column->data + column->offsets[row], 1,
               (size_t)(column->offsets[row + 1] - column->offsets[row]), out);
        return;
    case VECDB_TYPE_SPARSE_FLOAT_VECTOR:
        print_sparse(out, column, row);
        return;
    case VECDB_TYPE_ARRAY:
        fputc('[', out);
        for (uint64_t i = column->offsets[row]; i < column->offsets[row + 1]; i++) {
            if (i > column->offsets[row])
                fputs(", ", out);
            if (column->element_type == VECDB_TYPE_VARCHAR) {
                const vecdb_string *text = (const vecdb_string *)column->data + i;
                print_json_string(out, text->data, text->length);
            } else {
                print_scalar(out, column->element_type, (const char *)column->data + i * width_of(column->element_type));
            }
        }
        fputc(']', out);
        return;
    default:
        if (column->type >= VECDB_TYPE_BINARY_VECTOR)
            print_vector(out, column, row);
        else
            print_scalar(out, column->type, (const char *)column->data + row * width_of(column->type));
    }
}

static const char *column_title(const vecdb_column *column) { return strcmp(column->field, "$score") == 0 ? "score" : column->field; }

static void print_json_rows(const vecdb_column *columns, size_t column_count, size_t first, size_t count)
{
    puts("[");
    for (size_t row = first; row < first + count; row++) {
        fputs("  {", stdout);
        for (size_t c = 0; c < column_count; c++) {
            const char *title = column_title(&columns[c]);
            if (c)
                fputs(", ", stdout);
            print_json_string(stdout, title, strlen(title));
            fputs(": ", stdout);
            print_value(stdout, &columns[c], row);
        }
        puts(row + 1 < first + count ? "}," : "}");
    }
    fputs("]", stdout);
}

#define CELL 48 /* bytes of a table's cell */

static void cell_text(const vecdb_column *column, size_t row, char *cell)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    cell[0] = '\0';
    if (!out)
        return;
    print_value(out, column, row);
    fclose(out);
    if (size >= CELL - 4) { /* cut at a whole character */
        size = CELL - 4;
        while (size && ((unsigned char)text[size] & 0xC0) == 0x80)
            size--;
        memcpy(cell, text, size);
        memcpy(cell + size, "...", 4);
    } else {
        memcpy(cell, text, size + 1);
    }
    free(text);
}

static void print_table(const vecdb_column *columns, size_t column_count, size_t first, size_t count)
{
    char cell[CELL];

    for (size_t c = 0; c < column_count; c++) {
        size_t width = strlen(column_title(&columns[c]));
        for (size_t row = first; row < first + count; row++) {
            cell_text(&columns[c], row, cell);
            if (strlen(cell) > width)
                width = strlen(cell);
        }
        ((vecdb_column *)columns)[c].reserved[0] = width;
    }
    for (size_t c = 0; c < column_count; c++)
        printf("%-*s%s", (int)columns[c].reserved[0], column_title(&columns[c]), c + 1 < column_count ? "  " : "\n");
    for (size_t row = first; row < first + count; row++)
        for (size_t c = 0; c < column_count; c++) {
            cell_text(&columns[c], row, cell);
            printf("%-*s%s", (int)columns[c].reserved[0], cell, c + 1 < column_count ? "  " : "\n");
        }
}

void print_rows(const vecdb_result *result, size_t first, size_t count)
{
    vecdb_column columns[VECDB_MAX_FIELDS + 2];
    size_t column_count = 0;

    while (column_count < sizeof columns / sizeof columns[0] &&
           vecdb_result_column_at(result, column_count, &columns[column_count]) == VECDB_OK)
        column_count++;
    if (json_wanted())
        print_json_rows(columns, column_count, first, count);
    else
        print_table(columns, column_count, first, count);
}

/* ---- info ---- */

static void print_schema(const vecdb_schema *schema)
{
    for (size_t i = 0; i < schema->field_count; i++) {
        const vecdb_field *field = &schema->fields[i];
        printf("  %-20s %s", field->name, name_of(field->type));
        if (field->element_type)
            printf("<%s>", name_of(field->element_type));
        if (field->dim || field->max_length || field->max_capacity)
            printf("(%u)", field->dim ? field->dim : field->max_capacity ? field->max_capacity : field->max_length);
        printf("%s%s%s%s\n", field->flags & VECDB_PRIMARY_KEY ? " primary" : "", field->flags & VECDB_AUTO_ID ? " auto" : "",
               field->flags & VECDB_NULLABLE ? " nullable" : "", field->default_value ? " default" : "");
    }
    if (schema->dynamic)
        puts("  ...                  keys that are no field are kept");
    if (schema->ttl_seconds)
        printf("  rows expire %llu seconds after they were written\n", (unsigned long long)schema->ttl_seconds);
}

static int print_collection(vecdb_collection *collection)
{
    const vecdb_schema *schema;
    char **names = NULL, *text;
    size_t count = 0;
    uint64_t rows;
    vecdb_status status;

    if ((status = vecdb_collection_schema(collection, &schema)) < 0 || (status = vecdb_count(collection, NULL, NULL, &rows)) < 0 ||
        (status = vecdb_index_list(collection, &names, &count)) < 0)
        return failure(status);
    printf("%s: %llu rows\n", schema->name, (unsigned long long)rows);
    print_schema(schema);
    for (size_t i = 0; i < count; i++)
        if (vecdb_index_describe(collection, names[i], &text) == VECDB_OK) {
            printf("  index %s\n", text);
            vecdb_free(text);
        }
    vecdb_free(names);
    return EXIT_DONE;
}

int run_info(void)
{
    struct session session;
    char **names = NULL, *text = NULL;
    size_t count = 0;
    int code = session_open(&session, TO_READ, argument(1) != NULL);
    vecdb_status status;

    if (code != EXIT_DONE)
        return code;
    if (option("--field")) {
        double unique;

        if (!option_number("--unique", 0, 1e9, 20, &unique))
            return session_close(&session, EXIT_USAGE);
        if (!session.collection)
            return session_close(&session, usage_error("info --field wants DB COLLECTION"));
        status = vecdb_field_stats(session.collection, option("--field"), option("--params"), (size_t)unique, &text);
        if (status < 0)
            return session_close(&session, failure(status));
        puts(text);
        vecdb_free(text);
    } else if (json_wanted()) {
        status = session.collection ? vecdb_collection_stats(session.collection, &text) : vecdb_db_stats(session.db, &text);
        if (status < 0)
            code = failure(status);
        else
            puts(text);
        vecdb_free(text);
    } else if (session.collection) {
        code = print_collection(session.collection);
    } else {
        status = vecdb_collection_list(session.db, &names, &count);
        if (status < 0)
            code = failure(status);
        for (size_t i = 0; i < count && code == EXIT_DONE; i++) {
            vecdb_collection *collection;
            if ((status = vecdb_collection_open(session.db, names[i], &collection)) < 0)
                code = failure(status);
            else
                code = print_collection(collection);
            vecdb_collection_close(&collection);
        }
        if (count == 0 && code == EXIT_DONE)
            puts("no collections");
        vecdb_free(names);
    }
    return session_close(&session, code);
}
