/* A batch as the caller gives it, made into rows. */
#include "schema/rows_taking.h"

#include "base/mem.h"

void rows_deinit(struct rows *rows)
{
    if (rows->storage)
        for (size_t f = 0; f < rows->schema->field_count; f++) {
            buf_deinit(&rows->storage[f].data);
            buf_deinit(&rows->storage[f].offsets);
            buf_deinit(&rows->storage[f].valid);
        }
    mem_free(rows->storage);
    mem_free(rows->columns);
    rows->storage = NULL;
    rows->columns = NULL;
}

vecdb_status rows_init(struct rows *rows, const struct schema *schema, size_t row_count)
{
    rows->schema = schema;
    rows->row_count = row_count;
    rows->columns = mem_array_zalloc(schema->field_count, sizeof *rows->columns);
    rows->storage = mem_array_zalloc(schema->field_count, sizeof *rows->storage);
    if (!rows->columns || !rows->storage) {
        rows_deinit(rows);
        return error_nomem("batch");
    }
    for (size_t f = 0; f < schema->field_count; f++) {
        const struct field *field = &schema->fields[f];
        rows->columns[f] = (struct column){.type = field->type,
                                           .element_type = field->element_type,
                                           .dim = field->dim,
                                           .width = field->width,
                                           .row_count = row_count};
    }
    return VECDB_OK;
}

void rows_adopt_storage(struct rows *rows, size_t f)
{
    struct column *column = &rows->columns[f];
    struct rows_storage *storage = &rows->storage[f];

    if (storage->data.data || !column->data)
        column->data = storage->data.data;
    if (storage->offsets.size)
        column->offsets = (const uint32_t *)(const void *)storage->offsets.data;
    if (storage->valid.size)
        column->valid = (const uint64_t *)(const void *)storage->valid.data;
}

vecdb_status rows_wrong_type(const struct field *field, vecdb_type given)
{
    return error_set(VECDB_ERR_TYPE, "field %s: got %s, the field is %s", field->name,
                     type_name(given) ? type_name(given) : "an unknown type", type_name(field->type));
}

/* ---- missing values ---- */

/* The rows that have a value; rows without one take the default, if the field has one. */
static vecdb_status take_validity(struct rows *rows, size_t f, const uint8_t *valid, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];
    uint64_t *words;

    if (!valid || field->default_value)
        return VECDB_OK;
    TRY(buf_append(&rows->storage[f].valid, NULL, bitmap_words(rows->row_count) * 8));
    words = (uint64_t *)(void *)rows->storage[f].valid.data;
    for (size_t row = 0; row < rows->row_count; row++) {
        if (valid[row])
            bitmap_set(words, row);
        else if (!(field->flags & VECDB_NULLABLE)) {
            *bad_row = row;
            return error_set(VECDB_ERR_INVALID, "field %s: row %zu has no value, and the field is not nullable",
                             field->name, row);
        }
    }
    return VECDB_OK;
}

vecdb_status rows_fill_missing(struct rows *rows, size_t f)
{
    const struct field *field = &rows->schema->fields[f];
    struct rows_storage *storage = &rows->storage[f];

    if (!field->default_value && !(field->flags & VECDB_NULLABLE))
        return error_set(VECDB_ERR_INVALID, "field %s is missing, and is neither nullable nor has a default",
                         field->name);
    if (type_is_variable(field->type))
        TRY(rows_put_offset(storage));
    for (size_t row = 0; row < rows->row_count; row++) {
        TRY(rows_put_missing(field, &storage->data));
        if (type_is_variable(field->type))
            TRY(rows_put_offset(storage));
    }
    if (!field->default_value)
        TRY(buf_append(&storage->valid, NULL, bitmap_words(rows->row_count) * 8));
    return VECDB_OK;
}

static vecdb_status stamp(struct rows *rows, size_t f)
{
    int64_t now = schema_now();

    for (size_t row = 0; row < rows->row_count; row++)
        TRY(buf_append(&rows->storage[f].data, &now, sizeof now));
    return VECDB_OK;
}

static vecdb_status make_auto_keys(struct rows *rows, int64_t first)
{
    size_t f = rows->schema->primary;
    struct rows_storage *storage = &rows->storage[f];
    bool text = rows->schema->fields[f].type == VECDB_TYPE_VARCHAR;

    if (text)
        TRY(rows_put_offset(storage));
    for (size_t row = 0; row < rows->row_count; row++) {
        int64_t key = first + (int64_t)row;
        if (text) {
            TRY(buf_printf(&storage->data, "%lld", (long long)key));
            TRY(rows_put_offset(storage));
        } else {
            TRY(buf_append(&storage->data, &key, sizeof key));
        }
    }
    return VECDB_OK;
}

/* ---- the batch ---- */

static vecdb_status read_column(const vecdb_batch *batch, size_t i, vecdb_column *out)
{
    const char *bytes = (const char *)batch->columns + i * batch->column_size;

    memset(out, 0, sizeof *out);
    memcpy(out, bytes, batch->column_size < sizeof *out ? batch->column_size : sizeof *out);
    for (size_t b = sizeof *out; b < batch->column_size; b++)
        if (bytes[b])
            return error_set(VECDB_ERR_UNSUPPORTED, "column %zu: the program asks for what this vecdb does not know", i);
    if (!out->field)
        return error_set(VECDB_ERR_INVALID, "column %zu: field is NULL", i);
    if (!out->data && batch->row_count && !(out->offsets && out->offsets[batch->row_count] == out->offsets[0]))
        return error_set(VECDB_ERR_INVALID, "field %s: data is NULL", out->field);
    return VECDB_OK;
}

static vecdb_status take_column(struct rows *rows, size_t f, const vecdb_column *column, uint64_t *bad_row)
{
    const struct field *field = &rows->schema->fields[f];

    if (type_is_dense(field->type))
        TRY(rows_take_vectors(rows, f, column, bad_row));
    else if (type_is_variable(field->type))
        TRY(rows_take_variable(rows, f, column, bad_row));
    else
        TRY(rows_take_scalars(rows, f, column, bad_row));
    return take_validity(rows, f, column->valid, bad_row);
}

static vecdb_status take_columns(struct rows *rows, const vecdb_batch *batch, int64_t auto_first, bool keep_keys,
                                 vecdb_column *columns, const vecdb_column **unknown, bool *taken, uint64_t *bad_row)
{
    const struct schema *schema = rows->schema;
    const vecdb_column *meta = NULL;
    size_t unknown_count = 0;

    for (size_t i = 0; i < batch->column_count; i++) {
        size_t f;
        TRY(read_column(batch, i, &columns[i]));
        f = schema_find(schema, columns[i].field, strlen(columns[i].field));
        if (f == SCHEMA_NONE) {
            if (schema->dynamic == SCHEMA_NONE)
                return schema_no_field(schema, columns[i].field);
            TRY(schema_check_name("dynamic field", columns[i].field));
            unknown[unknown_count++] = &columns[i];
            continue;
        }
        if (f == schema->inserted)
            return error_set(VECDB_ERR_INVALID, "field %s is reserved", columns[i].field);
        if (taken[f])
            return error_set(VECDB_ERR_INVALID, "field %s is there twice", columns[i].field);
        taken[f] = true;
        if (f == schema->dynamic) {
            if (columns[i].type != VECDB_TYPE_JSON && columns[i].type != VECDB_TYPE_VARCHAR)
                return rows_wrong_type(&schema->fields[f], columns[i].type);
            meta = &columns[i];
            continue;
        }
        if (f == schema->primary && schema->auto_id && !keep_keys)
            return error_set(VECDB_ERR_INVALID, "field %s is AUTO_ID: the batch must not bring keys", columns[i].field);
        if (f == schema->primary && columns[i].valid)
            for (size_t row = 0; row < rows->row_count; row++)
                if (!columns[i].valid[row]) {
                    *bad_row = row;
                    return error_set(VECDB_ERR_INVALID, "field %s: row %zu has no key", columns[i].field, row);
                }
        TRY(take_column(rows, f, &columns[i], bad_row));
    }
    if (schema->auto_id && !keep_keys) {
        TRY(make_auto_keys(rows, auto_first));
        taken[schema->primary] = true;
    }
    if (schema->dynamic != SCHEMA_NONE && (unknown_count || meta)) {
        TRY(rows_take_dynamic(rows, unknown, unknown_count, meta, bad_row));
        taken[schema->dynamic] = true;
    }
    for (size_t f = 0; f < schema->field_count; f++) {
        if (!taken[f])
            TRY(f == schema->inserted ? stamp(rows, f) : rows_fill_missing(rows, f));
        rows_adopt_storage(rows, f);
    }
    return VECDB_OK;
}

size_t rows_batch_bytes(const vecdb_batch *batch)
{
    size_t bytes = 0;

    if (!batch->columns || batch->column_size < offsetof(vecdb_column, reserved))
        return 0;
    for (size_t i = 0; i < batch->column_count; i++) {
        vecdb_column column;
        memcpy(&column, (const char *)batch->columns + i * batch->column_size, offsetof(vecdb_column, reserved));
        if (!type_is_variable(column.type)) /* of which offsets are not read: they may be anything */
            bytes += batch->row_count * type_width(column.type, column.dim);
        else if (column.offsets && batch->row_count)
            bytes += (size_t)(column.offsets[batch->row_count] - column.offsets[0]) *
                     (column.type == VECDB_TYPE_VARCHAR || column.type == VECDB_TYPE_JSON ? 1 : sizeof(vecdb_sparse));
    }
    return bytes;
}

vecdb_status rows_from_batch(const struct schema *schema, const vecdb_batch *batch, int64_t auto_first, bool keep_keys,
                             struct rows *out, uint64_t *bad_row)
{
    vecdb_column *columns;
    const vecdb_column **unknown;
    bool *taken;
    vecdb_status status;

    *bad_row = UINT64_MAX;
    *out = (struct rows){0};
    if (batch->column_count && !batch->columns)
        return error_set(VECDB_ERR_INVALID, "batch: columns is NULL");
    if (batch->column_count > 65536)
        return error_set(VECDB_ERR_LIMIT, "batch: %zu columns are more than 65536", batch->column_count);
    if (batch->column_count && batch->column_size < offsetof(vecdb_column, reserved))
        return error_set(VECDB_ERR_MISUSE, "batch: column_size is %u; set it with VECDB_BATCH_INIT", batch->column_size);
    if (batch->row_count > UINT32_MAX / 2)
        return error_set(VECDB_ERR_LIMIT, "batch: %zu rows are too many", batch->row_count);
    TRY(rows_init(out, schema, batch->row_count));
    columns = mem_array_alloc(batch->column_count + 1, sizeof *columns);
    unknown = mem_array_alloc(batch->column_count + 1, sizeof *unknown);
    taken = mem_array_zalloc(schema->field_count, sizeof *taken);
    if (!columns || !unknown || !taken)
        status = error_nomem("batch");
    else
        status = take_columns(out, batch, auto_first, keep_keys, columns, unknown, taken, bad_row);
    mem_free(columns);
    mem_free(unknown);
    mem_free(taken);
    if (status != VECDB_OK)
        rows_deinit(out);
    return status;
}

vecdb_status rows_from_keys(const struct schema *schema, const vecdb_column *keys, size_t key_count, struct rows *out)
{
    vecdb_column column = *keys;
    uint64_t bad_row;
    vecdb_status status;

    *out = (struct rows){0};
    if (key_count > UINT32_MAX / 2)
        return error_set(VECDB_ERR_LIMIT, "%zu keys are too many", key_count);
    if (key_count && !column.data)
        return error_set(VECDB_ERR_INVALID, "keys: data is NULL");
    column.valid = NULL;
    TRY(rows_init(out, schema, key_count));
    status = take_column(out, schema->primary, &column, &bad_row);
    rows_adopt_storage(out, schema->primary);
    if (status != VECDB_OK)
        rows_deinit(out);
    return status;
}
