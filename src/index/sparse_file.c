/* Inverted lists as bytes: header, starts, names, rows, values. */
#include "index/sparse_lists.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <math.h>

static const uint8_t *place(const uint8_t *at, size_t *used, size_t bytes)
{
    const uint8_t *here = at ? at + *used : NULL;

    *used = align_up(*used + bytes, 64);
    return here;
}

size_t sparse_lists_layout(struct sparse_lists *lists, const uint8_t *at)
{
    size_t used = 0;

    lists->starts = (const void *)place(at, &used, (lists->terms + 1) * sizeof *lists->starts);
    lists->names = (const void *)place(at, &used, lists->terms * sizeof *lists->names);
    lists->rows = (const void *)place(at, &used, lists->postings * sizeof *lists->rows);
    lists->values = (const void *)place(at, &used, lists->postings * sizeof *lists->values);
    return used;
}

void sparse_lists_free(struct index *index)
{
    struct sparse_lists *lists = (struct sparse_lists *)index;

    if (!lists)
        return;
    mem_free(lists->owned);
    mem_free(lists);
}

vecdb_status sparse_lists_save(const struct index *index, struct buf *out)
{
    const struct sparse_lists *lists = (const struct sparse_lists *)index;
    struct sparse_lists copy = *lists;
    size_t size = sparse_lists_layout(&copy, NULL);
    struct sparse_header header = {.magic = SPARSE_LISTS_MAGIC, .version = 1, .type = index->vectors.type,
                                   .metric = index->metric, .row_count = index->vectors.row_count, .terms = lists->terms,
                                   .postings = lists->postings, .size = sizeof header + size};

    TRY(buf_reserve(out, sizeof header + size));
    TRY(buf_append(out, &header, sizeof header));
    return buf_append(out, lists->starts, size); /* the arrays are one stretch */
}

#define CORRUPT(...) error_set(VECDB_ERR_CORRUPT, "index of sparse vectors: " __VA_ARGS__)

static vecdb_status check_header(const struct sparse_header *header, size_t size, const struct vectors *vectors,
                                 vecdb_metric metric)
{
    if (header->magic != SPARSE_LISTS_MAGIC)
        return CORRUPT("begins with %08x, not %08x", header->magic, SPARSE_LISTS_MAGIC);
    if (header->version != 1)
        return error_set(VECDB_ERR_VERSION, "index of sparse vectors: format %u, this library reads 1", header->version);
    if (header->size != size)
        return CORRUPT("says %llu bytes, there are %zu", (unsigned long long)header->size, size);
    if (header->type != (uint32_t)vectors->type || header->metric != (uint32_t)metric)
        return CORRUPT("type %u and metric %u, the field has %u and %u", header->type, header->metric, (unsigned)vectors->type,
                       (unsigned)metric);
    if (header->row_count != vectors->row_count)
        return CORRUPT("%llu rows, the segment has %zu", (unsigned long long)header->row_count, vectors->row_count);
    if (header->postings > size / 8 || header->terms > header->postings)
        return CORRUPT("%llu terms and %llu postings in %zu bytes", (unsigned long long)header->terms,
                       (unsigned long long)header->postings, size);
    for (size_t i = 0; i < sizeof header->zeros; i++)
        if (header->zeros[i])
            return CORRUPT("byte %zu of the header is %u, not 0", offsetof(struct sparse_header, zeros) + i, header->zeros[i]);
    return VECDB_OK;
}

static vecdb_status check_starts(const struct sparse_lists *lists)
{
    if (lists->starts[0] != 0 || lists->starts[lists->terms] != lists->postings)
        return CORRUPT("postings %llu to %llu, there are %zu", (unsigned long long)lists->starts[0],
                       (unsigned long long)lists->starts[lists->terms], lists->postings);
    for (size_t t = 0; t < lists->terms; t++) {
        if (lists->starts[t + 1] <= lists->starts[t])
            return CORRUPT("term %zu has no postings", t);
        if (lists->names[t] == UINT32_MAX || (t && lists->names[t] <= lists->names[t - 1]))
            return CORRUPT("term %zu has index %u, out of order", t, lists->names[t]);
    }
    return VECDB_OK;
}

static vecdb_status check_postings(const struct sparse_lists *lists, const struct vectors *vectors)
{
    for (size_t t = 0; t < lists->terms; t++)
        for (uint64_t p = lists->starts[t]; p < lists->starts[t + 1]; p++) {
            if (lists->rows[p] >= vectors->row_count || (p > lists->starts[t] && lists->rows[p] <= lists->rows[p - 1]))
                return CORRUPT("index %u: posting %llu is of row %u, out of order", lists->names[t], (unsigned long long)p,
                               lists->rows[p]);
            if (vectors->present && !bitmap_get(vectors->present, lists->rows[p]))
                return CORRUPT("index %u: posting %llu is of row %u, which has no value", lists->names[t], (unsigned long long)p,
                               lists->rows[p]);
            if (!isfinite(lists->values[p]) || lists->values[p] == 0)
                return CORRUPT("index %u: the value of row %u is %g", lists->names[t], lists->rows[p], (double)lists->values[p]);
        }
    return VECDB_OK;
}

vecdb_status sparse_lists_check(const struct index *index)
{
    const struct sparse_lists *lists = (const struct sparse_lists *)index;

    TRY(check_starts(lists));
    return check_postings(lists, &index->vectors);
}

vecdb_status sparse_lists_open(const struct index_ops *ops, const void *data, size_t size, const struct vectors *vectors,
                               vecdb_metric metric, struct index **out)
{
    struct sparse_header header;
    struct sparse_lists *lists;
    vecdb_status status;

    *out = NULL;
    if (size < sizeof header)
        return CORRUPT("%zu bytes, the header alone has %zu", size, sizeof header);
    if ((uintptr_t)data % 64)
        return error_set(VECDB_ERR_INVALID, "index of sparse vectors: data is not aligned to 64 bytes");
    memcpy(&header, data, sizeof header);
    TRY(check_header(&header, size, vectors, metric));
    if (!(lists = mem_zalloc(sizeof *lists)))
        return error_nomem("index");
    lists->base = (struct index){.ops = ops, .vectors = *vectors, .metric = metric};
    lists->terms = header.terms;
    lists->postings = header.postings;
    if (sizeof header + sparse_lists_layout(lists, NULL) != size) {
        status = CORRUPT("%zu bytes, its arrays take %zu", size, sparse_lists_layout(lists, NULL));
    } else {
        sparse_lists_layout(lists, (const uint8_t *)data + sizeof header);
        status = sparse_lists_check(&lists->base);
    }
    if (status == VECDB_OK)
        *out = &lists->base;
    else
        sparse_lists_free(&lists->base);
    return status;
}
