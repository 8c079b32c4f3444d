/* Rows from files: matrices fill a vector field, .csv and .jsonl all fields by name. */
#include "cli.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static vecdb_status insert(vecdb_collection *collection, const vecdb_batch *batch)
{
    static const char *const modes[] = {"full", "normal", "none"};
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    const char *mode = option("--durability");

    options.durability = VECDB_DURABILITY_NONE; /* one sync in the end */
    for (int i = 0; mode && i < 3; i++)
        if (strcasecmp(modes[i], mode) == 0)
            options.durability = (vecdb_durability)(i + 1);
    return option("--upsert") ? vecdb_upsert(collection, batch, &options) : vecdb_insert(collection, batch, &options);
}

/* The numbers that every import needs. */
struct plan {
    double batch, limit;
    int64_t first_id;
};

/* A double would not hold all of its digits. */
static bool read_first_id(int64_t *out)
{
    const char *text = option("--first-id");
    char *end;

    *out = 0;
    if (!text)
        return true;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (end != text && !*end && errno == 0)
        return true;
    complain("--first-id %s: a whole number of 64 bits is wanted", text);
    return false;
}

static bool read_plan(struct plan *plan)
{
    const char *mode = option("--durability");

    if (mode && strcasecmp(mode, "full") != 0 && strcasecmp(mode, "normal") != 0 && strcasecmp(mode, "none") != 0) {
        complain("--durability %s: full, normal or none is wanted", mode);
        return false;
    }
    return option_number("--batch", 1, 1e7, 10000, &plan->batch) && option_number("--limit", 0, 1e15, 0, &plan->limit) &&
           read_first_id(&plan->first_id);
}

/* Messages number rows within their batch. */
static int insert_failed(vecdb_status status, size_t first, size_t count)
{
    if (first == 0)
        return failure(status);
    complain("%s: rows %zu to %zu: %s", argument(2), first, first + count - 1, vecdb_last_error());
    return status == VECDB_ERR_NO_SUCH ? EXIT_NOT_FOUND : EXIT_FAILED;
}

/* ---- matrices ---- */

/* A collection for vectors that nobody has made one for. */
static int create_for(struct session *session, const struct matrix *matrix)
{
    vecdb_field fields[2] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                             {.name = option("--field") ? option("--field") : "vector", .type = matrix->type, .dim = matrix->dim}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_status status;

    schema.name = argument(1);
    schema.fields = fields;
    schema.field_count = 2;
    status = vecdb_collection_create(session->db, &schema, &session->collection);
    return status < 0 ? failure(status) : EXIT_DONE;
}

/* Keys go on after the largest there is. */
static int next_key(vecdb_collection *collection, const char *key, int64_t *out)
{
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    vecdb_result *result = NULL;
    vecdb_column column;
    char order[VECDB_MAX_NAME + 8];
    vecdb_status status;
    int code = EXIT_DONE;

    snprintf(order, sizeof order, "%s desc", key);
    request.output_fields = &key, request.output_count = 1, request.order_by = order, request.limit = 1;
    status = vecdb_query(collection, &request, &result);
    *out = 0;
    if (status >= 0 && vecdb_result_rows(result, 0, NULL) > 0 && (status = vecdb_result_column(result, key, &column)) >= 0)
        if (__builtin_add_overflow(*(const int64_t *)column.data, 1, out))
            code = complain("the largest key is the largest there can be: give --first-id");
    vecdb_result_free(&result);
    return status < 0 ? failure(status) : code;
}

static int import_matrix(struct session *session, const struct plan *plan, size_t *imported)
{
    const vecdb_schema *schema;
    const vecdb_field *field, *key = NULL;
    struct matrix matrix;
    size_t rows, row_bytes;
    int64_t *keys, first_id, last_id;
    vecdb_status status;
    int code = matrix_read(argument(2), &matrix);

    if (code != EXIT_DONE)
        return code;
    if (!session->collection && (code = create_for(session, &matrix)) != EXIT_DONE)
        return free(matrix.data), code;
    if (vecdb_collection_schema(session->collection, &schema) < 0 || !(field = vector_field(schema)))
        return free(matrix.data), EXIT_FAILED;
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].flags & VECDB_PRIMARY_KEY)
            key = &schema->fields[i];
    if (key->type != VECDB_TYPE_INT64)
        return free(matrix.data), complain("%s has text keys; a file of vectors has none", schema->name);
    if (option("--first-id"))
        first_id = plan->first_id;
    else if ((code = next_key(session->collection, key->name, &first_id)) != EXIT_DONE)
        return free(matrix.data), code;
    rows = plan->limit > 0 && plan->limit < (double)matrix.rows ? (size_t)plan->limit : matrix.rows;
    row_bytes = (size_t)matrix.dim * (matrix.type == VECDB_TYPE_FLOAT_VECTOR ? 4 : matrix.type == VECDB_TYPE_INT8_VECTOR ? 1 : 2);
    if (rows && __builtin_add_overflow(first_id, (int64_t)rows - 1, &last_id))
        return free(matrix.data), complain("%s: %zu rows are more than there are keys from %lld on", argument(2), rows, (long long)first_id);
    keys = malloc((size_t)plan->batch * sizeof *keys);
    for (size_t at = 0; keys && at < rows && code == EXIT_DONE;) {
        size_t n = rows - at < (size_t)plan->batch ? rows - at : (size_t)plan->batch;
        vecdb_column columns[2] = {{.field = field->name, .type = matrix.type, .dim = matrix.dim,
                                    .data = (const char *)matrix.data + at * row_bytes},
                                   {.field = key->name, .type = VECDB_TYPE_INT64, .data = keys}};
        vecdb_batch batch = VECDB_BATCH_INIT;
        if (n * row_bytes > VECDB_MAX_BATCH_BYTES / 2)
            n = VECDB_MAX_BATCH_BYTES / 2 / row_bytes + 1;
        for (size_t i = 0; i < n; i++)
            keys[i] = first_id + (int64_t)(at + i);
        batch.columns = columns;
        batch.column_count = key->flags & VECDB_AUTO_ID ? 1 : 2;
        batch.row_count = n;
        if ((status = insert(session->collection, &batch)) < 0) {
            code = insert_failed(status, at, n);
            break;
        }
        at += n;
        *imported = at;
        show_progress(NULL, "importing", at, rows);
    }
    if (!keys)
        code = complain("out of memory");
    free(keys);
    free(matrix.data);
    return code;
}

/* ---- rows of JSON ---- */

/* Rows are gathered as JSON values per field and turned into columns when a batch is full. */
struct gather {
    const vecdb_schema *schema;
    json_t **rows;
    size_t count, capacity;
    size_t line; /* of the file, for messages */
};

/* A field's values of a batch, in the storage that a column points to. */
struct storage {
    void *data;
    uint64_t *offsets;
    uint8_t *valid;
    vecdb_string *texts;
    char **printed; /* JSON texts */
};

static void storage_free(struct storage *storage, size_t rows)
{
    for (size_t i = 0; storage->printed && i < rows; i++)
        free(storage->printed[i]);
    free(storage->printed);
    free(storage->data);
    free(storage->offsets);
    free(storage->valid);
    free(storage->texts);
}

static int wrong_value(const struct gather *gather, const vecdb_field *field, size_t row, const char *wanted)
{
    return complain("%s: row %zu: field %s: %s is wanted", argument(2), gather->line - gather->count + row + 1, field->name, wanted);
}

static size_t scalar_width(vecdb_type type)
{
    return type == VECDB_TYPE_DOUBLE || type == VECDB_TYPE_INT64 ? 8 : 1;
}

/* Integers as INT64 and reals as DOUBLE: the library narrows them and says when one does not fit. */
static vecdb_type wide_type(vecdb_type type)
{
    if (type == VECDB_TYPE_BOOL || type == VECDB_TYPE_VARCHAR)
        return type;
    return type == VECDB_TYPE_FLOAT || type == VECDB_TYPE_DOUBLE ? VECDB_TYPE_DOUBLE : VECDB_TYPE_INT64;
}

static bool put_scalar(vecdb_type wide, const json_t *value, void *at)
{
    if (wide == VECDB_TYPE_BOOL && json_is_boolean(value))
        *(uint8_t *)at = json_is_true(value);
    else if (wide == VECDB_TYPE_INT64 && json_is_integer(value))
        *(int64_t *)at = json_integer_value(value);
    else if (wide == VECDB_TYPE_DOUBLE && json_is_number(value))
        *(double *)at = json_number_value(value);
    else
        return false;
    return true;
}

static int gather_vector(const struct gather *gather, const vecdb_field *field, struct storage *storage, vecdb_column *column)
{
    bool bits = field->type == VECDB_TYPE_BINARY_VECTOR;
    size_t count = bits ? field->dim / 8 : field->dim;
    float *floats = calloc(gather->count * count + 1, sizeof *floats);
    uint8_t *bytes = (uint8_t *)floats;

    storage->data = floats;
    if (!floats)
        return complain("out of memory");
    for (size_t row = 0; row < gather->count; row++) {
        json_t *value = json_object_get(gather->rows[row], field->name);
        if (!storage->valid[row])
            continue;
        if (!json_is_array(value))
            return wrong_value(gather, field, row, "an array of numbers");
        if (json_array_size(value) != count)
            return complain("%s: row %zu: field %s: got %zu values, dim is %zu", argument(2),
                            gather->line - gather->count + row + 1, field->name, json_array_size(value), count);
        for (size_t i = 0; i < count; i++) {
            json_t *element = json_array_get(value, i);
            if (!json_is_number(element))
                return wrong_value(gather, field, row, "an array of numbers");
            if (bits)
                bytes[row * count + i] = (uint8_t)json_number_value(element);
            else
                floats[row * count + i] = (float)json_number_value(element);
        }
    }
    column->type = bits ? VECDB_TYPE_BINARY_VECTOR : VECDB_TYPE_FLOAT_VECTOR;
    column->dim = field->dim;
    column->data = floats;
    return EXIT_DONE;
}

static int gather_sparse(const struct gather *gather, const vecdb_field *field, struct storage *storage, vecdb_column *column)
{
    size_t total = 0;

    storage->offsets = calloc(gather->count + 1, sizeof *storage->offsets);
    for (size_t row = 0; storage->offsets && row < gather->count; row++) {
        total += storage->valid[row] ? json_object_size(json_object_get(gather->rows[row], field->name)) : 0;
        storage->offsets[row + 1] = total;
    }
    storage->data = calloc(total + 1, sizeof(vecdb_sparse));
    if (!storage->offsets || !storage->data)
        return complain("out of memory");
    for (size_t row = 0; row < gather->count; row++)
        if (storage->valid[row] && !sparse_from_json(json_object_get(gather->rows[row], field->name),
                                                     (vecdb_sparse *)storage->data + storage->offsets[row]))
            return wrong_value(gather, field, row, "an object of numbers by index, {\"7\": 0.5},");
    column->type = VECDB_TYPE_SPARSE_FLOAT_VECTOR;
    column->data = storage->data;
    column->offsets = storage->offsets;
    return EXIT_DONE;
}

static int gather_array(const struct gather *gather, const vecdb_field *field, struct storage *storage, vecdb_column *column)
{
    vecdb_type wide = wide_type(field->element_type);
    size_t total = 0, width = scalar_width(wide);

    storage->offsets = calloc(gather->count + 1, sizeof *storage->offsets);
    for (size_t row = 0; storage->offsets && row < gather->count; row++) {
        json_t *value = json_object_get(gather->rows[row], field->name);
        if (storage->valid[row] && !json_is_array(value))
            return wrong_value(gather, field, row, "an array");
        total += storage->valid[row] ? json_array_size(value) : 0;
        storage->offsets[row + 1] = total;
    }
    storage->data = calloc(total + 1, wide == VECDB_TYPE_VARCHAR ? sizeof(vecdb_string) : width);
    if (!storage->offsets || !storage->data)
        return complain("out of memory");
    for (size_t row = 0; row < gather->count; row++) {
        json_t *value = json_object_get(gather->rows[row], field->name);
        for (size_t i = 0; storage->valid[row] && i < json_array_size(value); i++) {
            json_t *element = json_array_get(value, i);
            size_t at = storage->offsets[row] + i;
            if (wide == VECDB_TYPE_VARCHAR && json_is_string(element))
                ((vecdb_string *)storage->data)[at] = (vecdb_string){json_string_value(element), json_string_length(element)};
            else if (wide == VECDB_TYPE_VARCHAR || !put_scalar(wide, element, (char *)storage->data + at * width))
                return wrong_value(gather, field, row, "an array of the element type");
        }
    }
    column->type = VECDB_TYPE_ARRAY;
    column->element_type = wide;
    column->data = storage->data;
    column->offsets = storage->offsets;
    return EXIT_DONE;
}

static int gather_texts(const struct gather *gather, const char *name, bool as_json, struct storage *storage, vecdb_column *column)
{
    storage->texts = calloc(gather->count + 1, sizeof *storage->texts);
    storage->printed = calloc(gather->count + 1, sizeof *storage->printed);
    if (!storage->texts || !storage->printed)
        return complain("out of memory");
    for (size_t row = 0; row < gather->count; row++) {
        json_t *value = json_object_get(gather->rows[row], name);
        if (!storage->valid[row])
            continue;
        if (as_json) {
            storage->printed[row] = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
            if (!storage->printed[row])
                return complain("out of memory");
            storage->texts[row] = (vecdb_string){storage->printed[row], strlen(storage->printed[row])};
        } else if (json_is_string(value)) {
            storage->texts[row] = (vecdb_string){json_string_value(value), json_string_length(value)};
        } else {
            return complain("%s: row %zu: field %s: text is wanted", argument(2), gather->line - gather->count + row + 1, name);
        }
    }
    column->type = as_json ? VECDB_TYPE_JSON : VECDB_TYPE_VARCHAR;
    column->data = storage->texts;
    return EXIT_DONE;
}

/* One field's column; *missing when no row has a value for it. */
static int gather_field(const struct gather *gather, const vecdb_field *field, struct storage *storage, vecdb_column *column,
                        bool *missing)
{
    vecdb_type wide = wide_type(field->type);

    storage->valid = calloc(gather->count + 1, 1);
    *missing = true;
    if (!storage->valid)
        return complain("out of memory");
    for (size_t row = 0; row < gather->count; row++) {
        json_t *value = json_object_get(gather->rows[row], field->name);
        storage->valid[row] = value && !json_is_null(value);
        *missing &= !storage->valid[row];
    }
    if (*missing)
        return EXIT_DONE;
    *column = (vecdb_column){.field = field->name, .valid = storage->valid};
    if (field->type == VECDB_TYPE_SPARSE_FLOAT_VECTOR)
        return gather_sparse(gather, field, storage, column);
    if (field->type >= VECDB_TYPE_BINARY_VECTOR)
        return gather_vector(gather, field, storage, column);
    if (field->type == VECDB_TYPE_ARRAY)
        return gather_array(gather, field, storage, column);
    if (field->type == VECDB_TYPE_VARCHAR || field->type == VECDB_TYPE_JSON)
        return gather_texts(gather, field->name, field->type == VECDB_TYPE_JSON, storage, column);
    storage->data = calloc(gather->count + 1, scalar_width(wide));
    if (!storage->data)
        return complain("out of memory");
    for (size_t row = 0; row < gather->count; row++) {
        json_t *value = json_object_get(gather->rows[row], field->name);
        if (storage->valid[row] && !put_scalar(wide, value, (char *)storage->data + row * scalar_width(wide)))
            return wrong_value(gather, field, row, wide == VECDB_TYPE_BOOL ? "true or false" : wide == VECDB_TYPE_INT64 ? "an integer" : "a number");
    }
    column->type = wide;
    column->data = storage->data;
    return EXIT_DONE;
}

/* Keys that are no field, of all rows, as one "$meta" column. */
static int gather_dynamic(struct gather *gather, struct storage *storage, vecdb_column *column, bool *missing)
{
    *missing = true;
    for (size_t row = 0; row < gather->count; row++) {
        json_t *rest = json_object(), *value;
        const char *key;
        json_object_foreach(gather->rows[row], key, value)
            if (!find_field(gather->schema, key))
                json_object_set(rest, key, value);
        if (json_object_size(rest))
            *missing = false;
        json_object_set_new(gather->rows[row], "$meta", rest);
    }
    if (*missing)
        return EXIT_DONE;
    storage->valid = malloc(gather->count + 1);
    if (!storage->valid)
        return complain("out of memory");
    memset(storage->valid, 1, gather->count + 1);
    *column = (vecdb_column){.field = "$meta"};
    return gather_texts(gather, "$meta", true, storage, column);
}

static int insert_gathered(struct session *session, struct gather *gather)
{
    vecdb_column columns[VECDB_MAX_FIELDS + 1];
    struct storage storage[VECDB_MAX_FIELDS + 1];
    vecdb_batch batch = VECDB_BATCH_INIT;
    size_t used = 0, count = 0;
    bool missing = true;
    int code = EXIT_DONE;

    memset(storage, 0, sizeof storage);
    for (size_t row = 0; !gather->schema->dynamic && row < gather->count && code == EXIT_DONE; row++) {
        json_t *value;
        const char *key;
        json_object_foreach(gather->rows[row], key, value)
            if (!find_field(gather->schema, key)) {
                code = complain("%s: row %zu: %s is no field of %s", argument(2), gather->line - gather->count + row + 1, key,
                                gather->schema->name);
                break;
            }
    }
    for (size_t f = 0; f < gather->schema->field_count && code == EXIT_DONE; f++) {
        code = gather_field(gather, &gather->schema->fields[f], &storage[used++], &columns[count], &missing);
        count += !missing;
    }
    if (gather->schema->dynamic && code == EXIT_DONE) {
        code = gather_dynamic(gather, &storage[used++], &columns[count], &missing);
        count += !missing;
    }
    if (code == EXIT_DONE) {
        vecdb_status status;
        batch.columns = columns;
        batch.column_count = count;
        batch.row_count = gather->count;
        if ((status = insert(session->collection, &batch)) < 0)
            code = insert_failed(status, gather->line - gather->count, gather->count);
    }
    for (size_t i = 0; i < used; i++)
        storage_free(&storage[i], gather->count);
    for (size_t row = 0; row < gather->count; row++)
        json_decref(gather->rows[row]);
    gather->count = 0;
    return code;
}

/* The values of a line of comma-separated text; quotes may hold commas, quotes doubled, and line ends. Returns the next
 * line's start, NULL at the end; values are cut out in place. */
static char *split_csv(char *at, char **values, size_t most, size_t *count)
{
    *count = 0;
    for (;;) {
        char *to = at, *start = at;
        if (*at == '"') {
            at++;
            while (*at && !(*at == '"' && at[1] != '"')) {
                at += *at == '"';
                *to++ = *at++;
            }
            at += *at == '"';
        } else {
            while (*at && *at != ',' && *at != '\n' && *at != '\r')
                at++;
            to = at;
        }
        if (*count < most)
            values[(*count)++] = start;
        char ended_by = *at;
        if (ended_by)
            at++;
        if (ended_by == '\r' && *at == '\n')
            at++;
        *to = '\0';
        if (ended_by != ',')
            return *at ? at : NULL;
    }
}

/* A cell as the field wants it: numbers and booleans by what they look like, arrays as JSON, an empty cell as no value. */
static json_t *csv_value(const vecdb_field *field, const char *text)
{
    json_t *parsed;

    if (!*text && !(field && field->type == VECDB_TYPE_VARCHAR && !(field->flags & VECDB_NULLABLE)))
        return json_null();
    if (field && field->type == VECDB_TYPE_VARCHAR)
        return json_string(text);
    if (strcasecmp(text, "true") == 0 || strcasecmp(text, "false") == 0)
        return json_boolean(strcasecmp(text, "true") == 0);
    parsed = json_loads(text, JSON_DECODE_ANY, NULL);
    return parsed ? parsed : json_string(text);
}

static char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    struct stat stat;
    char *text = NULL;

    if (!file || fstat(fileno(file), &stat) != 0) {
        complain("cannot open %s: %s", path, strerror(errno));
    } else if (!(text = malloc((size_t)stat.st_size + 1)) || fread(text, 1, (size_t)stat.st_size, file) != (size_t)stat.st_size) {
        complain("cannot read %s", path);
        free(text);
        text = NULL;
    } else {
        text[stat.st_size] = '\0';
    }
    if (file)
        fclose(file);
    return text;
}

static int import_text(struct session *session, const struct plan *plan, bool csv, size_t *imported)
{
    char *text = read_file(argument(2)), *at = text, *titles[VECDB_MAX_FIELDS], *cells[VECDB_MAX_FIELDS];
    size_t title_count = 0, cell_count, length;
    struct gather gather = {.capacity = (size_t)plan->batch};
    int code = EXIT_DONE;

    if (!text)
        return EXIT_NOT_FOUND;
    length = strlen(text);
    gather.rows = calloc(gather.capacity, sizeof(json_t *));
    if (!gather.rows || vecdb_collection_schema(session->collection, &gather.schema) < 0)
        code = complain("%s", gather.rows ? vecdb_last_error() : "out of memory");
    if (csv && code == EXIT_DONE)
        at = *at ? split_csv(at, titles, VECDB_MAX_FIELDS, &title_count) : NULL;
    while (at && *at && code == EXIT_DONE && (plan->limit == 0 || (double)*imported + (double)gather.count < plan->limit)) {
        json_t *row;
        if (csv) {
            at = split_csv(at, cells, VECDB_MAX_FIELDS, &cell_count);
            if (cell_count != title_count) {
                code = complain("%s: row %zu has %zu values, the first line %zu", argument(2), gather.line + 1, cell_count, title_count);
                break;
            }
            row = json_object();
            for (size_t i = 0; i < cell_count; i++)
                json_object_set_new(row, titles[i], csv_value(find_field(gather.schema, titles[i]), cells[i]));
        } else {
            char *end = strchr(at, '\n');
            json_error_t error;
            size_t blank = strspn(at, " \t\r");
            if (end)
                *end = '\0';
            if (!at[blank]) {
                at = end ? end + 1 : NULL;
                gather.line++;
                continue;
            }
            row = json_loads(at, 0, &error);
            if (!json_is_object(row)) {
                json_decref(row);
                code = complain("%s: line %zu is no JSON object: %s", argument(2), gather.line + 1, row ? "it is something else" : error.text);
                break;
            }
            at = end ? end + 1 : NULL;
        }
        gather.rows[gather.count++] = row;
        gather.line++;
        if (gather.count == gather.capacity) {
            size_t n = gather.count;
            code = insert_gathered(session, &gather);
            *imported += code == EXIT_DONE ? n : 0;
            show_progress(NULL, "importing", at ? (uint64_t)(at - text) : length, length);
        }
    }
    if (code == EXIT_DONE && gather.count) {
        size_t n = gather.count;
        code = insert_gathered(session, &gather);
        *imported += code == EXIT_DONE ? n : 0;
    }
    for (size_t i = 0; i < gather.count; i++)
        json_decref(gather.rows[i]);
    free(gather.rows);
    free(text);
    return code;
}

int run_import(void)
{
    const char *dot = strrchr(argument(2), '.');
    bool csv = dot && strcasecmp(dot, ".csv") == 0, jsonl = dot && (strcasecmp(dot, ".jsonl") == 0 || strcasecmp(dot, ".ndjson") == 0);
    struct session session;
    struct plan plan;
    size_t imported = 0;
    vecdb_status status;
    int code;

    if (!matrix_is_file(argument(2)) && !csv && !jsonl)
        return usage_error("%s: .npy, .fvecs, .bvecs, .ivecs, .csv or .jsonl is wanted", argument(2));
    if (!read_plan(&plan))
        return EXIT_USAGE;
    if (access(argument(2), R_OK) != 0) /* before a database is made for nothing */
        return complain("cannot open %s: %s", argument(2), strerror(errno)), EXIT_NOT_FOUND;
    if ((code = session_open(&session, matrix_is_file(argument(2)) ? TO_CREATE : TO_WRITE, false)) != EXIT_DONE)
        return code;
    status = vecdb_collection_open(session.db, argument(1), &session.collection);
    if (status == VECDB_ERR_NO_SUCH && !matrix_is_file(argument(2))) {
        complain("%s; vecdb create makes one, with the types that %s does not tell", vecdb_last_error(), argument(2));
        return session_close(&session, EXIT_NOT_FOUND);
    }
    if (status < 0 && status != VECDB_ERR_NO_SUCH)
        return session_close(&session, failure(status));
    code = matrix_is_file(argument(2)) ? import_matrix(&session, &plan, &imported) : import_text(&session, &plan, csv, &imported);
    if (code == EXIT_DONE && (status = vecdb_sync(session.db)) < 0)
        code = failure(status);
    end_progress();
    code = session_close(&session, code);
    if (json_wanted())
        printf("{\"imported\": %zu}\n", imported);
    else if (code == EXIT_DONE || imported)
        printf("imported %zu rows into %s\n", imported, argument(1));
    return code;
}
