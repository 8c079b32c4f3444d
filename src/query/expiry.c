#include "query/expiry.h"

/* A row has expired when its value in the field is above 0 and at most the limit. */
struct expiry {
    size_t field;
    int64_t limit;
};
#define EXPIRIES 2 /* for which a row may expire */

static size_t expiries_of(const struct schema *schema, struct expiry out[EXPIRIES])
{
    int64_t now = schema_now();
    size_t n = 0;

    if (schema->ttl_field != SCHEMA_NONE)
        out[n++] = (struct expiry){schema->ttl_field, now / 1000};
    if (schema->ttl_seconds && schema->inserted != SCHEMA_NONE)
        out[n++] = (struct expiry){schema->inserted, now - (int64_t)schema->ttl_seconds * 1000};
    return n;
}

bool schema_expires(const struct schema *schema)
{
    return schema->ttl_field != SCHEMA_NONE || (schema->ttl_seconds && schema->inserted != SCHEMA_NONE);
}

static bool is_over(const struct column *column, size_t at, int64_t limit)
{
    int64_t value = (int64_t)load_u64(column->data + at * 8);

    return column_is_valid(column, at) && value > 0 && value <= limit;
}

vecdb_status row_expired(const struct snapshot *snapshot, size_t view_at, size_t row, bool *expired)
{
    const struct segment_view *view = &snapshot->views[view_at];
    struct column_scratch scratch = {{0}};
    struct expiry expiries[EXPIRIES];
    size_t n = expiries_of(snapshot->schema, expiries);
    vecdb_status status = VECDB_OK;

    *expired = false;
    for (size_t i = 0; i < n && !*expired && status == VECDB_OK; i++) {
        struct column column;
        status = view_column(view, snapshot->schema, expiries[i].field, row / view->segment->block_rows, &scratch, &column);
        if (status == VECDB_OK)
            *expired = is_over(&column, row % view->segment->block_rows, expiries[i].limit);
    }
    buf_deinit(&scratch.bytes);
    return status;
}

/* Whether some rows of a block may have expired, by what is known of its values. */
static bool block_may(const struct snapshot *snapshot, const struct segment_view *view, const struct expiry *expiry, size_t block)
{
    const struct field *field = &snapshot->schema->fields[expiry->field];
    size_t own = view_field(view, snapshot->schema, expiry->field);
    struct column_stats stats;

    if (own == SCHEMA_NONE) /* all have the default */
        return field->default_value && (int64_t)load_u64(field->default_value) <= expiry->limit;
    return !view->segment->ops->stats || !view->segment->ops->stats(view->segment, own, block, &stats) ||
           (stats.has_range && stats.low.integer <= expiry->limit);
}

static size_t block_count(const struct segment_view *view)
{
    return (view->row_count + view->segment->block_rows - 1) / view->segment->block_rows;
}

bool view_may_have_expired(const struct snapshot *snapshot, const struct segment_view *view)
{
    struct expiry expiries[EXPIRIES];
    size_t n = expiries_of(snapshot->schema, expiries);

    for (size_t i = 0; i < n; i++)
        for (size_t block = 0; block < block_count(view); block++)
            if (block_may(snapshot, view, &expiries[i], block))
                return true;
    return false;
}

vecdb_status subtract_expired(const struct snapshot *snapshot, const struct segment_view *view, uint64_t *rows)
{
    struct column_scratch scratch = {{0}};
    struct expiry expiries[EXPIRIES];
    size_t n = expiries_of(snapshot->schema, expiries);
    vecdb_status status = VECDB_OK;

    for (size_t i = 0; i < n; i++)
        for (size_t block = 0; block < block_count(view) && status == VECDB_OK; block++) {
            size_t count = view_block_rows(view, block), first = block * view->segment->block_rows;
            struct column column;
            if (!block_may(snapshot, view, &expiries[i], block))
                continue;
            status = view_column(view, snapshot->schema, expiries[i].field, block, &scratch, &column);
            for (size_t at = 0; at < count && status == VECDB_OK; at++)
                if (is_over(&column, at, expiries[i].limit))
                    bitmap_clear(rows, first + at);
        }
    buf_deinit(&scratch.bytes);
    return status;
}
