#include "query/select.h"

#include "base/mem.h"
#include "base/nearest.h"
#include "query/expiry.h"
#include "schema/rows.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

vecdb_status select_count(const struct snapshot *snapshot, const struct filter *filter, const uint32_t *partitions,
                        size_t partition_count, uint64_t *count, struct filter_counters *counters)
{
    *count = 0;
    for (size_t v = 0; v < snapshot->view_count; v++) {
        uint64_t *rows;
        size_t here;
        TRY(search_allowed(snapshot, v, filter, partitions, partition_count, NULL, &rows, &here, counters));
        mem_free(rows);
        *count += here;
    }
    return VECDB_OK;
}

vecdb_status select_keys(const struct snapshot *snapshot, const struct rows *keys, struct found **found, size_t *count)
{
    const struct column *column = &keys->columns[snapshot->schema->primary];

    *count = 0;
    *found = mem_array_alloc(keys->row_count + 1, sizeof **found);
    if (!*found)
        return error_nomem("get");
    for (size_t i = 0; i < keys->row_count; i++) {
        size_t size, view;
        const uint8_t *key = column_bytes(column, i, &size);
        uint32_t row;
        bool here, over = false;
        vecdb_status status = snapshot_find(snapshot, key, size, &here, &view, &row);
        if (status != VECDB_OK) {
            mem_free(*found);
            *found = NULL;
            return status;
        }
        if (here && (status = row_expired(snapshot, view, row, &over)) != VECDB_OK) {
            mem_free(*found);
            *found = NULL;
            return status;
        }
        if (here && !over)
            (*found)[(*count)++] = (struct found){(uint32_t)view, row, 0};
    }
    return VECDB_OK;
}

/* ---- order ---- */

struct order_term {
    size_t field;
    bool descending;
};

#define ORDER_TERMS 8

/* A value to be sorted by, copied out of its column. */
struct sort_value {
    bool valid;
    union {
        int64_t integer;
        double real;
        struct {
            size_t at, size; /* in the texts */
        } text;
    } as;
};

struct sorter {
    struct order_term terms[ORDER_TERMS];
    size_t term_count;
    const struct schema *schema;
    struct sort_value *values; /* rows x term_count */
    struct buf texts;
};

/* "year desc, title" */
static vecdb_status parse_order(const struct schema *schema, const char *text, struct sorter *sorter)
{
    const char *at = text;

    while (*at) {
        const char *name, *word;
        size_t length, word_length;
        struct order_term term = {0};

        at += strspn(at, " \t");
        name = at;
        length = strcspn(at, " \t,");
        at += length;
        at += strspn(at, " \t");
        word = at;
        word_length = strcspn(at, " \t,");
        at += word_length;
        at += strspn(at, " \t");
        if (length == 0 || (*at && *at != ','))
            return error_set(VECDB_ERR_INVALID, "order_by '%s': expected a field and asc or desc at column %zu", text,
                             (size_t)(at - text) + 1);
        term.field = schema_find(schema, name, length);
        if (term.field == SCHEMA_NONE)
            return error_set(VECDB_ERR_NO_SUCH, "order_by: field %.*s is not in the schema%s%s%s", (int)length, name,
                             DID_YOU_MEAN(schema_nearest(schema, name, length)));
        if (type_is_vector(schema->fields[term.field].type) || schema->fields[term.field].type == VECDB_TYPE_JSON ||
            schema->fields[term.field].type == VECDB_TYPE_ARRAY)
            return error_set(VECDB_ERR_TYPE, "order_by: %s fields such as %.*s have no order",
                             type_name(schema->fields[term.field].type), (int)length, name);
        if (word_length && strncasecmp(word, "desc", word_length) == 0 && word_length == 4)
            term.descending = true;
        else if (word_length && !(word_length == 3 && strncasecmp(word, "asc", 3) == 0))
            return error_set(VECDB_ERR_INVALID, "order_by '%s': %.*s is neither asc nor desc", text, (int)word_length,
                             word);
        if (sorter->term_count == ORDER_TERMS)
            return error_set(VECDB_ERR_LIMIT, "order_by: more than %d fields", ORDER_TERMS);
        sorter->terms[sorter->term_count++] = term;
        if (*at == ',' && !at[1 + strspn(at + 1, " \t")])
            return error_set(VECDB_ERR_INVALID, "order_by '%s' ends with a comma", text);
        at += *at == ',';
    }
    return VECDB_OK;
}

static vecdb_status read_value(struct sorter *sorter, const struct column *column, size_t row, struct sort_value *out)
{
    size_t size;
    const uint8_t *bytes = column_bytes(column, row, &size);

    out->valid = column_is_valid(column, row);
    switch (column->type) {
    case VECDB_TYPE_VARCHAR:
        out->as.text.at = sorter->texts.size;
        out->as.text.size = size;
        return buf_append(&sorter->texts, bytes, size);
    case VECDB_TYPE_FLOAT: {
        float value;
        memcpy(&value, bytes, sizeof value);
        out->as.real = value;
        return VECDB_OK;
    }
    case VECDB_TYPE_DOUBLE:
        memcpy(&out->as.real, bytes, sizeof out->as.real);
        return VECDB_OK;
    case VECDB_TYPE_INT64:
        out->as.integer = (int64_t)load_u64(bytes);
        return VECDB_OK;
    case VECDB_TYPE_INT32:
        out->as.integer = (int32_t)load_u32(bytes);
        return VECDB_OK;
    case VECDB_TYPE_INT16:
        out->as.integer = (int16_t)load_u16(bytes);
        return VECDB_OK;
    default:
        out->as.integer = column->type == VECDB_TYPE_BOOL ? bytes[0] : (int8_t)bytes[0];
        return VECDB_OK;
    }
}

static int compare_values(const struct sorter *sorter, vecdb_type type, const struct sort_value *a,
                          const struct sort_value *b)
{
    if (type == VECDB_TYPE_VARCHAR) {
        size_t shorter = a->as.text.size < b->as.text.size ? a->as.text.size : b->as.text.size;
        int order = memcmp(sorter->texts.data + a->as.text.at, sorter->texts.data + b->as.text.at, shorter);
        return order ? order : (a->as.text.size > b->as.text.size) - (a->as.text.size < b->as.text.size);
    }
    if (type_is_float(type))
        return (a->as.real > b->as.real) - (a->as.real < b->as.real);
    return (a->as.integer > b->as.integer) - (a->as.integer < b->as.integer);
}

struct sort_item {
    struct found found;
    size_t at; /* of its values */
};

/* Rows without a value come last, whichever way. */
static int compare_items(const void *a, const void *b, void *context)
{
    const struct sorter *sorter = context;
    const struct sort_item *x = a, *y = b;

    for (size_t t = 0; t < sorter->term_count; t++) {
        const struct sort_value *v = &sorter->values[x->at * sorter->term_count + t];
        const struct sort_value *w = &sorter->values[y->at * sorter->term_count + t];
        int order;
        if (v->valid != w->valid)
            return v->valid ? -1 : 1;
        if (!v->valid)
            continue;
        order = compare_values(sorter, sorter->schema->fields[sorter->terms[t].field].type, v, w);
        if (order)
            return sorter->terms[t].descending ? -order : order;
    }
    return 0;
}

static vecdb_status sort_found(const struct snapshot *snapshot, struct sorter *sorter, struct found *found, size_t count)
{
    struct sort_item *items = mem_array_alloc(count + 1, sizeof *items);
    struct column_scratch scratch = {0};
    vecdb_status status = VECDB_OK;

    sorter->values = mem_array_zalloc(count * sorter->term_count + 1, sizeof *sorter->values);
    if (!items || !sorter->values)
        status = error_nomem("order_by");
    for (size_t t = 0; t < sorter->term_count && status == VECDB_OK; t++) {
        struct column column = {0};
        uint32_t view_at = UINT32_MAX;
        size_t block_at = 0;
        for (size_t i = 0; i < count && status == VECDB_OK; i++) {
            const struct segment_view *view = &snapshot->views[found[i].view];
            size_t block = found[i].row / view->segment->block_rows;
            if (found[i].view != view_at || block != block_at)
                status = view_column(view, snapshot->schema, sorter->terms[t].field, block, &scratch, &column);
            view_at = found[i].view;
            block_at = block;
            if (status == VECDB_OK)
                status = read_value(sorter, &column, found[i].row % view->segment->block_rows,
                                    &sorter->values[i * sorter->term_count + t]);
        }
    }
    if (status == VECDB_OK) {
        for (size_t i = 0; i < count; i++)
            items[i] = (struct sort_item){found[i], i};
        qsort_r(items, count, sizeof *items, compare_items, sorter);
        for (size_t i = 0; i < count; i++)
            found[i] = items[i].found;
    }
    buf_deinit(&scratch.bytes);
    mem_free(items);
    mem_free(sorter->values);
    buf_deinit(&sorter->texts);
    return status;
}

/* Whether the views' rows, one after the other, are in key order as they stand. */
static vecdb_status in_key_order(const struct snapshot *snapshot, const struct found *found, size_t count, bool *ordered)
{
    *ordered = true;
    for (size_t v = 0; v < snapshot->view_count; v++)
        if (!snapshot->views[v].keys_ascend)
            *ordered = false;
    for (size_t i = 1; i < count && *ordered; i++)
        if (found[i].view != found[i - 1].view) {
            int order;
            TRY(search_compare_keys(snapshot, &found[i - 1], &found[i], &order));
            *ordered = order < 0;
        }
    return VECDB_OK;
}

vecdb_status select_rows(const struct snapshot *snapshot, const struct filter *filter, const uint32_t *partitions,
                       size_t partition_count, const char *order_by, size_t limit, size_t offset, struct found **found,
                       size_t *count, struct filter_counters *counters)
{
    struct sorter sorter = {.schema = snapshot->schema};
    size_t capacity = 0, n = 0;
    bool ordered = false;
    vecdb_status status = VECDB_OK;

    *found = NULL;
    if (order_by && *order_by)
        TRY(parse_order(snapshot->schema, order_by, &sorter));
    for (size_t v = 0; v < snapshot->view_count && status == VECDB_OK; v++) {
        const struct segment_view *view = &snapshot->views[v];
        struct found *grown;
        uint64_t *rows;
        size_t here;
        status = search_allowed(snapshot, v, filter, partitions, partition_count, NULL, &rows, &here, counters);
        if (status != VECDB_OK)
            break;
        capacity += here;
        grown = mem_realloc(*found, (capacity + 1) * sizeof **found);
        if (grown)
            *found = grown;
        else
            status = error_nomem("query");
        for (size_t row = 0; here && status == VECDB_OK && row < view->row_count; row++)
            if (!rows || bitmap_get(rows, row))
                (*found)[n++] = (struct found){(uint32_t)v, (uint32_t)row, 0};
        mem_free(rows);
    }
    if (status == VECDB_OK && sorter.term_count == 0) {
        status = in_key_order(snapshot, *found, n, &ordered);
        if (!ordered)
            sorter.terms[sorter.term_count++] = (struct order_term){snapshot->schema->primary, false};
    } else if (status == VECDB_OK && sorter.term_count < ORDER_TERMS) {
        sorter.terms[sorter.term_count++] = (struct order_term){snapshot->schema->primary, false};
    }
    if (status == VECDB_OK && !ordered)
        status = sort_found(snapshot, &sorter, *found, n);
    if (status != VECDB_OK) {
        mem_free(*found);
        *found = NULL;
        return status;
    }
    if (offset >= n)
        n = 0;
    else if (offset) {
        memmove(*found, *found + offset, (n - offset) * sizeof **found);
        n -= offset;
    }
    *count = limit && limit < n ? limit : n;
    return VECDB_OK;
}
