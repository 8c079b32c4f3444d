/* FLAT and BIN_FLAT as index kinds: exact answers, always. */
#include "index/flat.h"

#include "base/mem.h"

struct flat {
    struct index base;
};

static const struct param_spec flat_params[] = {PARAM_END};

#define TYPE_BIT(type) (1u << ((type) - VECDB_TYPE_BINARY_VECTOR))

static vecdb_status create(const struct vectors *vectors, vecdb_metric metric, const struct index_ops *ops,
                           struct index **out)
{
    struct flat *flat = mem_zalloc(sizeof *flat);

    *out = NULL;
    if (!flat)
        return error_nomem("index FLAT");
    flat->base = (struct index){ops, *vectors, metric};
    *out = &flat->base;
    return VECDB_OK;
}

extern const struct index_ops flat_ops, bin_flat_ops;

static const struct index_ops *ops_for(const struct vectors *vectors)
{
    return vectors->type == VECDB_TYPE_BINARY_VECTOR ? &bin_flat_ops : &flat_ops;
}

static vecdb_status flat_build(const struct vectors *vectors, vecdb_metric metric, const struct params *params,
                               const struct index_build_context *context, struct index **out)
{
    return create(vectors, metric, ops_for(vectors), out);
}

static vecdb_status flat_add(struct index *index, const struct vectors *vectors,
                             const struct index_build_context *context)
{
    index->vectors = *vectors;
    return VECDB_OK;
}

static vecdb_status flat_index_search(const struct index *index, const struct index_search *search, struct hit *hits,
                                      size_t *counts, struct index_counters *counters)
{
    return flat_search(&index->vectors, index->metric, search, hits, counts, counters);
}

static vecdb_status flat_save(const struct index *index, struct buf *out) { return VECDB_OK; }

static vecdb_status flat_open(const void *data, size_t size, const struct vectors *vectors, vecdb_metric metric,
                              const struct params *params, struct index **out)
{
    *out = NULL;
    if (size)
        return error_set(VECDB_ERR_CORRUPT, "index FLAT: %zu bytes where none belong", size);
    return create(vectors, metric, ops_for(vectors), out);
}

static void flat_free(struct index *index) { mem_free(index); }
static vecdb_status flat_check(const struct index *index) { return VECDB_OK; }
static size_t flat_memory(const struct index *index) { return sizeof(struct flat); }

#define FLAT_FUNCTIONS                                                                                                 \
    .build_params = flat_params, .search_params = flat_params, .build = flat_build, .add = flat_add,                   \
    .search = flat_index_search, .save = flat_save, .open = flat_open, .free = flat_free, .check = flat_check,         \
    .memory = flat_memory

const struct index_ops flat_ops = {
    .name = "FLAT", .format = 1,
    .types = TYPE_BIT(VECDB_TYPE_FLOAT_VECTOR) | TYPE_BIT(VECDB_TYPE_FLOAT16_VECTOR) |
             TYPE_BIT(VECDB_TYPE_BFLOAT16_VECTOR) | TYPE_BIT(VECDB_TYPE_INT8_VECTOR),
    FLAT_FUNCTIONS,
};
const struct index_ops bin_flat_ops = {
    .name = "BIN_FLAT", .format = 1, .types = TYPE_BIT(VECDB_TYPE_BINARY_VECTOR), FLAT_FUNCTIONS,
};
