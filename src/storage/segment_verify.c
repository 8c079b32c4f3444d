/* Every rule of a segment's file, once its checksums are known to be right. What is found here was written wrongly, or
 * made on purpose; damage shows in the checksums. */
#include "storage/segment_file.h"

#include "base/mem.h"
#include "storage/block.h"
#include "storage/key_index.h"
#include "storage/segment_body.h"

#include <inttypes.h>
#include <math.h>

#define MOST_REPORTS 20 /* of one kind in one field: a file that is all wrong need not be told row by row */

struct check {
    struct segment *segment;
    struct segment_body *body;
    const struct problem_sink *sink;
    size_t problems;
    struct column_scratch scratch;
};

static void problem(struct check *check, const struct container_section *section, uint64_t at, const char *what, size_t f,
                    size_t row)
{
    /* at: in the section; section NULL: no byte in particular */
    check->problems++;
    problem_report(check->sink, check->body->container.name, (section ? section->offset : 0) + at, "field %s, row %zu: %s",
                   check->body->schema->fields[f].name, row, what);
}

static const uint64_t *words_of(const struct check *check, const struct container_section *section)
{
    return section ? (const uint64_t *)(const void *)container_bytes(&check->body->container, section) : NULL;
}

static void check_valid(struct check *check, size_t f)
{
    const struct field_sections *field = &check->body->fields[f];
    const uint64_t *valid = words_of(check, field->valid);
    size_t rows = check->body->row_count;

    if (!valid)
        return;
    if (valid[bitmap_words(rows) - 1] & ~bitmap_tail(rows))
        problem(check, field->valid, bitmap_words(rows) * 8 - 8, "a bit past the last row is set", f, rows);
    else if (rows - bitmap_count(valid, rows) != field->null_count)
        problem(check, field->valid, 0, "the number of rows without a value is not what INFO says", f, 0);
}

/* Zeros where there is no value; 0 and 1 in BOOL. */
static void check_fixed(struct check *check, size_t f)
{
    const struct field *described = &check->body->schema->fields[f];
    const struct field_sections *field = &check->body->fields[f];
    const uint8_t *value = container_bytes(&check->body->container, field->values);
    const uint64_t *valid = words_of(check, field->valid);
    size_t reports = 0;

    for (size_t row = 0; row < check->body->row_count && reports < MOST_REPORTS; row++, value += described->width) {
        if (valid && !bitmap_get(valid, row)) {
            for (size_t i = 0; i < described->width; i++)
                if (value[i]) {
                    problem(check, field->values, row * described->width, "there is no value, but bytes", f, row);
                    reports++;
                    break;
                }
        } else if (described->type == VECDB_TYPE_BOOL && *value > 1) {
            problem(check, field->values, row, "a boolean other than 0 and 1", f, row);
            reports++;
        }
    }
}

/* A failure to read is a problem to report, when it is the file's; any other ends the check. */
static vecdb_status read_failed(struct check *check, vecdb_status status, const struct container_section *section,
                                uint64_t at, size_t f, size_t row)
{
    if (status != VECDB_ERR_CORRUPT)
        return status;
    problem(check, section, at, error_last()->message, f, row);
    return VECDB_OK;
}

static vecdb_status check_packed(struct check *check, size_t f)
{
    struct segment_body *body = check->body;
    const struct field_sections *field = &body->fields[f];
    uint64_t at = 0, bytes = 0;

    for (size_t page = 0; page < field->pages->count; page++) {
        size_t first = page * field->page_rows;
        struct block_entry entry;
        struct column column;
        vecdb_status status = segment_page_entry(body, f, page, &entry);
        if (status == VECDB_OK)
            status = check->segment->ops->row(check->segment, f, first, &check->scratch, &column);
        if (status != VECDB_OK)
            return read_failed(check, status, field->pages, page * BLOCK_ENTRY_SIZE, f, first);
        if (entry.offset != at) {
            problem(check, field->pages, page * BLOCK_ENTRY_SIZE, "the page does not begin where the one before it ends", f,
                    first);
            return VECDB_OK;
        }
        at += entry.stored_size;
        bytes += entry.size;
    }
    if (at != field->packed->size)
        problem(check, field->packed, at, "bytes after the last page", f, body->row_count);
    if (bytes != field->bytes)
        problem(check, field->packed, 0, "the values' bytes are not as many as INFO says", f, 0);
    return VECDB_OK;
}

static double real_value(const struct column *column, size_t row)
{
    double real;
    float narrow;

    if (column->type == VECDB_TYPE_DOUBLE)
        return memcpy(&real, column->data + row * 8, 8), real;
    return memcpy(&narrow, column->data + row * 4, 4), (double)narrow;
}

static int64_t integer_value(const struct column *column, size_t row)
{
    const uint8_t *value = column->data + row * column->width;

    return column->width == 8   ? (int64_t)load_u64(value)
           : column->width == 4 ? (int32_t)load_u32(value)
           : column->width == 2 ? (int16_t)load_u16(value)
                                : (int8_t)*value;
}

/* What filters skip blocks by must be true of every row. */
static bool stats_hold(const struct column *column, const struct column_stats *stats)
{
    size_t nulls = 0;

    for (size_t row = 0; row < column->row_count; row++) {
        if (!column_is_valid(column, row)) {
            nulls++;
            continue;
        }
        if (!stats->has_range)
            continue;
        if (type_is_float(column->type)) {
            double real = real_value(column, row);
            if (!(real >= stats->low.real && real <= stats->high.real))
                return false;
        } else if (integer_value(column, row) < stats->low.integer || integer_value(column, row) > stats->high.integer) {
            return false;
        }
    }
    return nulls == stats->null_count;
}

static vecdb_status check_stats(struct check *check, size_t f)
{
    struct segment_body *body = check->body;

    for (size_t first = 0, block = 0; first < body->row_count; first += body->block_rows, block++) {
        size_t left = body->row_count - first, rows = left < body->block_rows ? left : body->block_rows;
        struct column_stats stats;
        struct column column;
        vecdb_status status = check->segment->ops->column(check->segment, f, block, rows, &check->scratch, &column);
        if (status != VECDB_OK)
            return read_failed(check, status, NULL, 0, f, first);
        if (!check->segment->ops->stats(check->segment, f, block, &stats) || !stats_hold(&column, &stats)) {
            problem(check, body->fields[f].stats, block * SEGMENT_STATS_SIZE, "STATS are not true of the block from here on", f,
                    first);
            return VECDB_OK;
        }
    }
    return VECDB_OK;
}

/* Whether a row's key is before the next row's. */
static vecdb_status text_ascends(struct check *check, const uint8_t *key, size_t size, size_t next, struct column_scratch *scratch,
                                 bool *ascends)
{
    const uint8_t *next_key;
    struct column column;
    size_t next_size;
    int order;

    TRY(check->segment->ops->row(check->segment, check->body->schema->primary, next, scratch, &column));
    next_key = column_bytes(&column, 0, &next_size);
    order = size && next_size ? memcmp(key, next_key, size < next_size ? size : next_size) : 0;
    *ascends = order < 0 || (order == 0 && size < next_size);
    return VECDB_OK;
}

/* Each row's key leads back to it: then keys and rows are a permutation, no key is there twice, and the filter knows all. */
static vecdb_status check_key_rows(struct check *check, struct column_scratch *other)
{
    struct segment_body *body = check->body;
    size_t f = body->schema->primary, reports = 0;
    bool integers = body->schema->fields[f].type == VECDB_TYPE_INT64;

    for (size_t row = 0; row < body->row_count && reports < MOST_REPORTS; row++) {
        struct column column;
        const uint8_t *key;
        size_t size, found = 0;
        bool ascends = true;
        vecdb_status status;
        TRY(check->segment->ops->row(check->segment, f, row, &check->scratch, &column));
        key = column_bytes(&column, 0, &size);
        status = integers ? segment_find_int64(check->segment, (int64_t)load_u64(key), &found)
                          : segment_find_text(check->segment, key, size, other, &found);
        if (status < 0)
            return status;
        if (status != VECDB_OK || found != row) {
            problem(check, body->keys ? body->keys : body->key_filter, 0,
                    status == VECDB_OK ? "its key leads to another row" : "its key is not found", f, row);
            reports++;
        }
        if (body->keys_ascend && !integers && row + 1 < body->row_count) {
            TRY(text_ascends(check, key, size, row + 1, other, &ascends));
            if (!ascends) {
                problem(check, NULL, 0, "keys do not ascend, though INFO says so", f, row + 1);
                reports++;
            }
        }
    }
    return VECDB_OK;
}

static vecdb_status check_structure(struct check *check)
{
    struct segment_body *body = check->body;
    struct column_scratch other = {0};
    vecdb_status status = VECDB_OK;

    for (size_t f = 0; f < body->schema->field_count && status == VECDB_OK; f++) {
        const struct field_sections *field = &body->fields[f];
        check_valid(check, f);
        if (field->values)
            check_fixed(check, f);
        if (field->packed)
            status = check_packed(check, f);
        if (field->stats && status == VECDB_OK)
            status = check_stats(check, f);
    }
    if (status == VECDB_OK && (status = check_key_rows(check, &other)) != VECDB_OK)
        status = read_failed(check, status, NULL, 0, body->schema->primary, 0);
    buf_deinit(&other.bytes);
    return status;
}

vecdb_status segment_verify(struct segment *segment, const struct problem_sink *sink)
{
    struct check check = {.segment = segment, .body = segment_file_of(segment)->body, .sink = sink};
    vecdb_status status = VECDB_OK;

    check.problems = container_verify(&check.body->container, sink);
    if (check.problems == 0)
        status = check_structure(&check);
    buf_deinit(&check.scratch.bytes);
    if (status == VECDB_OK && check.problems)
        status = error_set(VECDB_ERR_CORRUPT, "%s: %zu problems", check.body->container.name, check.problems);
    return status;
}
