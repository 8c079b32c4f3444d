/* Building inverted lists. */
#include "index/sparse_lists.h"

#include "base/mem.h"
#include "schema/sparse.h"

#include <stdlib.h>

#define NO_INDEX UINT32_MAX

/* How many rows have an index; later, where its next posting goes. */
struct term {
    uint32_t name; /* NO_INDEX: empty */
    uint64_t postings;
};

struct term_map {
    struct term *slots;
    size_t mask, count;
};

static size_t hash_name(uint32_t name) { return (size_t)((name * 0x9E3779B97F4A7C15ull) >> 32); }

static struct term *find_term(const struct term_map *map, uint32_t name)
{
    size_t at = hash_name(name) & map->mask;

    while (map->slots[at].name != NO_INDEX && map->slots[at].name != name)
        at = (at + 1) & map->mask;
    return &map->slots[at];
}

static vecdb_status make_slots(struct term_map *map, size_t count)
{
    if (!(map->slots = mem_array_alloc(count, sizeof *map->slots)))
        return error_nomem("index");
    for (size_t i = 0; i < count; i++)
        map->slots[i] = (struct term){NO_INDEX, 0};
    map->mask = count - 1;
    return VECDB_OK;
}

static vecdb_status count_posting(struct term_map *map, uint32_t name)
{
    struct term *term = find_term(map, name);

    if (term->name == NO_INDEX) {
        if (map->count * 2 > map->mask) {
            struct term_map larger = {.count = map->count};
            TRY(make_slots(&larger, (map->mask + 1) * 2));
            for (size_t i = 0; i <= map->mask; i++)
                if (map->slots[i].name != NO_INDEX)
                    *find_term(&larger, map->slots[i].name) = map->slots[i];
            mem_free(map->slots);
            *map = larger;
            term = find_term(map, name);
        }
        term->name = name;
        map->count++;
    }
    term->postings++;
    return VECDB_OK;
}

struct building {
    const struct vectors *vectors;
    const struct index_build_context *context;
    struct term_map map;
    struct sparse_lists *lists;
    uint32_t *rows; /* of lists */
    float *values;
};

static vecdb_status count_row(struct building *building, size_t row, const vecdb_sparse *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (values[i].value != 0)
            TRY(count_posting(&building->map, values[i].index));
    return VECDB_OK;
}

static vecdb_status fill_row(struct building *building, size_t row, const vecdb_sparse *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct term *term;
        if (values[i].value == 0)
            continue;
        term = find_term(&building->map, values[i].index);
        if (term->name == NO_INDEX || term->postings >= building->lists->postings)
            return error_set(VECDB_ERR_CORRUPT, "index: row %zu changes while it is read", row);
        building->rows[term->postings] = (uint32_t)row;
        building->values[term->postings++] = values[i].value;
    }
    return VECDB_OK;
}

static vecdb_status read_rows(struct building *building, const char *stage,
                              vecdb_status (*visit)(struct building *building, size_t row, const vecdb_sparse *values, size_t count))
{
    const struct vectors *vectors = building->vectors;
    const struct index_build_context *context = building->context;
    size_t block_rows = (size_t)1 << vectors->block_shift;
    struct column_scratch scratch = {{0}};
    vecdb_status status = VECDB_OK;

    for (size_t first = 0; first < vectors->row_count && status == VECDB_OK; first += block_rows) {
        size_t count = vectors->row_count - first < block_rows ? vectors->row_count - first : block_rows;
        struct column column;
        if (context->progress && !context->progress(context->progress_context, stage, first, vectors->row_count))
            status = error_set(VECDB_ERR_CANCELLED, "index: stopped by the progress callback");
        else
            status = vectors->columns.read(vectors->columns.context, vectors->columns.field, first >> vectors->block_shift, count,
                                           &scratch, &column);
        for (size_t i = 0; i < count && status == VECDB_OK; i++) {
            size_t size;
            const uint8_t *bytes;
            if (!column_is_valid(&column, i))
                continue;
            bytes = column_bytes(&column, i, &size);
            status = visit(building, first + i, (const vecdb_sparse *)(const void *)bytes, size / sizeof(vecdb_sparse));
        }
    }
    buf_deinit(&scratch.bytes);
    return status;
}

static int compare_names(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* The arrays, with names and starts in them; the map then says where each term's postings go. */
static vecdb_status place_terms(struct building *building)
{
    struct sparse_lists *lists = building->lists;
    uint64_t *starts;
    uint32_t *names;
    size_t at = 0, size;

    lists->terms = building->map.count;
    for (size_t i = 0; i <= building->map.mask; i++)
        lists->postings += building->map.slots[i].postings;
    size = sparse_lists_layout(lists, NULL);
    if (!(lists->owned = mem_aligned_alloc(64, size + 64)))
        return error_nomem("index");
    memset(lists->owned, 0, size);
    sparse_lists_layout(lists, lists->owned);
    starts = (uint64_t *)(uintptr_t)lists->starts;
    names = (uint32_t *)(uintptr_t)lists->names;
    building->rows = (uint32_t *)(uintptr_t)lists->rows;
    building->values = (float *)(uintptr_t)lists->values;
    for (size_t i = 0; i <= building->map.mask; i++)
        if (building->map.slots[i].name != NO_INDEX)
            names[at++] = building->map.slots[i].name;
    qsort(names, lists->terms, sizeof *names, compare_names);
    starts[0] = 0;
    for (size_t i = 0; i < lists->terms; i++) {
        struct term *term = find_term(&building->map, names[i]);
        starts[i + 1] = starts[i] + term->postings;
        term->postings = starts[i];
    }
    return VECDB_OK;
}

vecdb_status sparse_lists_build(const struct index_ops *ops, const struct vectors *vectors, vecdb_metric metric,
                                const struct index_build_context *context, struct index **out)
{
    struct building building = {.vectors = vectors, .context = context, .lists = mem_zalloc(sizeof *building.lists)};
    vecdb_status status;

    *out = NULL;
    if (!building.lists)
        return error_nomem("index");
    building.lists->base = (struct index){.ops = ops, .vectors = *vectors, .metric = metric};
    status = make_slots(&building.map, 1024);
    if (status == VECDB_OK)
        status = read_rows(&building, "count", count_row);
    if (status == VECDB_OK)
        status = place_terms(&building);
    if (status == VECDB_OK)
        status = read_rows(&building, "fill in", fill_row);
    mem_free(building.map.slots);
    if (status == VECDB_OK)
        *out = &building.lists->base;
    else
        sparse_lists_free(&building.lists->base);
    return status;
}
