#include "query/result.h"

#include "base/mem.h"
#include "schema/json.h"

#include <string.h>

void result_free(struct result *result)
{
    if (!result)
        return;
    for (size_t i = 0; i < result->column_count; i++) {
        mem_free(result->columns[i].name);
        buf_deinit(&result->columns[i].data);
        buf_deinit(&result->columns[i].offsets);
        buf_deinit(&result->columns[i].valid);
    }
    mem_free(result->columns);
    mem_free(result->first);
    mem_free(result);
}

const struct result_column *result_find(const struct result *result, const char *name)
{
    for (size_t i = 0; i < result->column_count; i++)
        if (strcmp(result->columns[i].name, name) == 0)
            return &result->columns[i];
    return NULL;
}

static vecdb_status add_column(struct result *result, const char *name, struct result_column **out)
{
    struct result_column *columns =
        mem_realloc(result->columns, (result->column_count + 1) * sizeof *result->columns);

    if (!columns)
        return error_nomem("result");
    result->columns = columns;
    *out = &columns[result->column_count];
    memset(*out, 0, sizeof **out);
    if (!((*out)->name = mem_strdup(name)))
        return error_nomem("result");
    result->column_count++;
    return VECDB_OK;
}

static vecdb_status put_offset(struct result_column *column, uint64_t offset)
{
    return buf_append(&column->offsets, &offset, sizeof offset);
}

static vecdb_status mark_valid(struct result_column *column, size_t i, size_t row_count, bool valid)
{
    if (column->valid.size == 0) {
        if (valid)
            return VECDB_OK;
        TRY(buf_reserve(&column->valid, row_count));
        memset(column->valid.data, 1, row_count);
        column->valid.size = row_count;
    }
    column->valid.data[i] = valid;
    return VECDB_OK;
}

/* Array elements of a text column become vecdb_string, whose pointers can be set only when the bytes have stopped moving:
 * until then `data` holds lengths, and the bytes gather behind in `bytes`. */
static vecdb_status put_array(struct result_column *column, const uint8_t *bytes, size_t size, struct buf *texts,
                              uint64_t *count)
{
    if (column->element_type != VECDB_TYPE_VARCHAR) {
        *count += size / type_width(column->element_type, 0);
        return buf_append(&column->data, bytes, size);
    }
    size_t n = size ? load_u32(bytes) : 0, start = 0;
    const uint8_t *values = bytes + 4 + 4 * n;
    for (size_t i = 0; i < n; i++) {
        size_t end = load_u32(bytes + 4 + 4 * i);
        vecdb_string text = {(const char *)(uintptr_t)texts->size, end - start};
        TRY(buf_append(texts, values + start, end - start));
        TRY(buf_append(&column->data, &text, sizeof text));
        start = end;
    }
    *count += n;
    return VECDB_OK;
}

static vecdb_status put_value(struct result_column *column, const struct column *values, size_t row, struct buf *texts,
                              uint64_t *elements)
{
    size_t size;
    const uint8_t *bytes = column_bytes(values, row, &size);

    switch (column->type) {
    case VECDB_TYPE_JSON:
        return json_print((struct json){bytes, size}, &column->data);
    case VECDB_TYPE_ARRAY:
        return put_array(column, bytes, size, texts, elements);
    case VECDB_TYPE_SPARSE_FLOAT_VECTOR:
        *elements += size / sizeof(vecdb_sparse);
        return buf_append(&column->data, bytes, size);
    default:
        return buf_append(&column->data, bytes, size);
    }
}

/* Text elements' bytes go behind the vecdb_string array, and offsets become pointers. */
static vecdb_status join_texts(struct result_column *column, const struct buf *texts)
{
    size_t strings = column->data.size / sizeof(vecdb_string);
    vecdb_string *string;

    TRY(buf_append(&column->data, texts->data, texts->size));
    string = (vecdb_string *)(void *)column->data.data;
    for (size_t i = 0; i < strings; i++)
        string[i].data = (const char *)column->data.data + strings * sizeof *string + (uintptr_t)string[i].data;
    return VECDB_OK;
}

/* Fixed width and no nulls: copied without looking at validity, block by block. */
static vecdb_status fetch_field(struct result *result, const struct snapshot *snapshot, const struct found *found,
                                size_t row_count, size_t f)
{
    const struct field *field = &snapshot->schema->fields[f];
    struct column_scratch scratch = {0};
    struct result_column *column;
    struct buf texts = {0};
    struct column values = {0};
    uint32_t view_at = UINT32_MAX;
    size_t block_at = 0;
    uint64_t elements = 0;
    vecdb_status status;

    TRY(add_column(result, field->name, &column));
    column->type = field->type;
    column->element_type = field->element_type;
    column->dim = field->dim;
    column->width = field->width;
    status = field->width ? buf_reserve(&column->data, row_count * field->width) : put_offset(column, 0);
    for (size_t i = 0; i < row_count && status == VECDB_OK; i++) {
        const struct segment_view *view = &snapshot->views[found[i].view];
        size_t block = found[i].row / view->segment->block_rows, row = found[i].row % view->segment->block_rows;
        bool valid;
        if (found[i].view != view_at || block != block_at) {
            if ((status = view_column(view, snapshot->schema, f, block, &scratch, &values)) != VECDB_OK)
                break;
            view_at = found[i].view;
            block_at = block;
        }
        valid = column_is_valid(&values, row);
        status = mark_valid(column, i, row_count, valid);
        if (status == VECDB_OK && valid)
            status = put_value(column, &values, row, &texts, &elements);
        else if (status == VECDB_OK && field->width)
            status = buf_append(&column->data, NULL, field->width);
        if (status == VECDB_OK && !field->width)
            status = put_offset(column, field->type == VECDB_TYPE_ARRAY || type_is_sparse(field->type) ? elements : column->data.size);
    }
    if (status == VECDB_OK && field->element_type == VECDB_TYPE_VARCHAR)
        status = join_texts(column, &texts);
    buf_deinit(&texts);
    buf_deinit(&scratch.bytes);
    return status;
}

static vecdb_status put_scores(struct result *result, const struct found *found, size_t row_count)
{
    struct result_column *column;

    TRY(add_column(result, "$score", &column));
    column->type = VECDB_TYPE_FLOAT;
    column->width = sizeof(float);
    TRY(buf_reserve(&column->data, row_count * sizeof(float)));
    for (size_t i = 0; i < row_count; i++)
        TRY(buf_append(&column->data, &found[i].score, sizeof(float)));
    return VECDB_OK;
}

vecdb_status result_create(const struct snapshot *snapshot, const struct found *found, const size_t *first,
                           size_t query_count, const size_t *fields, size_t field_count, bool with_scores,
                           struct result **out)
{
    struct result *result = mem_zalloc(sizeof *result);
    size_t row_count = first[query_count];
    vecdb_status status;

    *out = NULL;
    if (!result || !(result->first = mem_dup(first, (query_count + 1) * sizeof *first))) {
        result_free(result);
        return error_nomem("result");
    }
    result->query_count = query_count;
    status = fetch_field(result, snapshot, found, row_count, snapshot->schema->primary);
    if (status == VECDB_OK && with_scores)
        status = put_scores(result, found, row_count);
    for (size_t i = 0; i < field_count && status == VECDB_OK; i++)
        if (!result_find(result, snapshot->schema->fields[fields[i]].name))
            status = fetch_field(result, snapshot, found, row_count, fields[i]);
    if (status != VECDB_OK) {
        result_free(result);
        return status;
    }
    *out = result;
    return VECDB_OK;
}

vecdb_status result_add_dynamic(struct result *result, const struct snapshot *snapshot, const struct found *found,
                                const char *key)
{
    size_t row_count = result->first[result->query_count], key_length = strlen(key);
    struct column_scratch scratch = {0};
    struct result_column *column;
    vecdb_status status;

    if (result_find(result, key))
        return VECDB_OK;
    TRY(add_column(result, key, &column));
    column->type = VECDB_TYPE_JSON;
    status = put_offset(column, 0);
    for (size_t i = 0; i < row_count && status == VECDB_OK; i++) {
        const struct segment_view *view = &snapshot->views[found[i].view];
        size_t block_rows = view->segment->block_rows, row = found[i].row % block_rows, size;
        struct json member = {0};
        struct column values;
        status = view_column(view, snapshot->schema, snapshot->schema->dynamic, found[i].row / block_rows, &scratch,
                             &values);
        if (status != VECDB_OK)
            break;
        if (column_is_valid(&values, row)) {
            const uint8_t *bytes = column_bytes(&values, row, &size);
            member = json_member((struct json){bytes, size}, key, key_length);
        }
        status = mark_valid(column, i, row_count, json_exists(member));
        if (status == VECDB_OK && json_exists(member))
            status = json_print(member, &column->data);
        if (status == VECDB_OK)
            status = put_offset(column, column->data.size);
    }
    buf_deinit(&scratch.bytes);
    return status;
}
