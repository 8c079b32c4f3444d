#include "query/fresh.h"

#include "base/mem.h"
#include "index/flat.h"
#include "base/plugged.h"
#include "index/row_codes.h"

struct fresh {
    size_t field_count;
    struct row_codes *_Atomic codes[]; /* of each field of the segment's schema; set once */
};

static void fresh_free(void *beside)
{
    struct fresh *fresh = beside;

    for (size_t f = 0; f < fresh->field_count; f++)
        row_codes_free(atomic_load(&fresh->codes[f]));
    mem_free(fresh);
}

/* Rows whose vectors a search reads only as candidates, for an index has them; an index that scans is no help here. */
static size_t covered_rows(const struct segment_view *view, size_t field)
{
    struct index_ref *ref = view_index(view, field);

    return ref && ref->index->ops != index_find("FLAT") ? atomic_load_explicit(&ref->covered, memory_order_acquire) : 0;
}

/* The codes of a field, made when there are none; NULL when there is no memory. */
static struct row_codes *codes_of(struct segment *segment, size_t field, vecdb_metric metric, size_t first_row)
{
    struct fresh *fresh = atomic_load_explicit(&segment->beside, memory_order_relaxed);
    size_t fields = segment->schema->field_count;
    struct row_codes *codes;

    if (!fresh) {
        if (!(fresh = mem_zalloc(sizeof *fresh + fields * sizeof *fresh->codes)))
            return NULL;
        fresh->field_count = fields;
        segment->beside_free = fresh_free;
        atomic_store_explicit(&segment->beside, fresh, memory_order_release);
    }
    codes = atomic_load_explicit(&fresh->codes[field], memory_order_relaxed);
    if (!codes && row_codes_create(segment->schema->fields[field].type, metric, segment->schema->fields[field].dim, first_row,
                                   &codes) == VECDB_OK)
        atomic_store_explicit(&fresh->codes[field], codes, memory_order_release);
    return codes;
}

void fresh_code(struct segment_view *view, size_t field, vecdb_metric metric)
{
    struct segment *segment = view->segment;
    const struct field *described = &segment->schema->fields[field];
    size_t covered = covered_rows(view, field);
    struct vectors vectors;
    struct row_codes *codes;

    if (!row_codes_take(described->type) || plugged_metric(metric))
        return;
    codes = codes_of(segment, field, metric, covered);
    if (codes && row_codes_metric(codes) == metric) {
        segment_vectors(segment, field, view->row_count, &vectors);
        (void)row_codes_add(codes, &vectors);
        row_codes_forget(codes, covered);
    }
    error_clear();
}

vecdb_status fresh_search(const struct segment_view *view, size_t field, const struct vectors *vectors, size_t first_row,
                          vecdb_metric metric, const struct index_search *search, struct hit *hits, size_t *counts,
                          struct index_counters *counters)
{
    struct fresh *fresh = atomic_load_explicit(&view->segment->beside, memory_order_acquire);
    struct row_codes *codes = fresh ? atomic_load_explicit(&fresh->codes[field], memory_order_acquire) : NULL;

    if (codes && row_codes_metric(codes) == metric)
        return row_codes_search(codes, vectors, first_row, search, hits, counts, counters);
    return flat_search_from(vectors, first_row, metric, search, hits, counts, counters);
}
