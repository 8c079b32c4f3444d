/* SPARSE_INVERTED_INDEX and SPARSE_WAND, Milvus' names for an inverted index of sparse vectors and for searching it without looking
 * at every posting. Here both are the same, and their answers are those of a scan; the parameters that trade answers for speed are
 * taken and have no effect. */
#include "index/sparse_lists.h"

static const struct param_spec build_params[] = {
    {"inverted_index_algo", 0, 0, 2, "accepted; all postings of a query's terms are added up", "DAAT_MAXSCORE|DAAT_WAND|TAAT_NAIVE",
     false},
    {"drop_ratio_build", 0, 0, 1, "accepted; all values are kept", NULL, true},
    PARAM_END,
};
static const struct param_spec search_params[] = {
    {"drop_ratio_search", 0, 0, 1, "accepted; all values of a query count", NULL, true},
    {"dim_max_score_ratio", 1, 0.5, 1.3, "accepted; no row is passed over", NULL, true},
    {"refine_factor", 1, 1, 10000, "accepted; scores are exact", NULL, false},
    PARAM_END,
};

static size_t sparse_memory(const struct index *index)
{
    struct sparse_lists copy = *(const struct sparse_lists *)index;

    return sizeof copy + sparse_lists_layout(&copy, NULL);
}

static void sparse_reads(const struct index *index, struct index_reads *out)
{
    *out = (struct index_reads){.row = sizeof(uint32_t) + sizeof(float), .hop = sizeof(uint64_t) + sizeof(uint32_t)};
}

static bool sparse_complete(const struct index *index) { return true; }

#define SPARSE_KIND(id, kind_name)                                                                                     \
    extern const struct index_ops id##_ops;                                                                           \
    static vecdb_status id##_build(const struct vectors *vectors, vecdb_metric metric, const struct params *params,  \
                                   const struct index_build_context *context, struct index **out)                    \
    {                                                                                                                 \
        return sparse_lists_build(&id##_ops, vectors, metric, context, out);                                         \
    }                                                                                                                 \
    static vecdb_status id##_open(const void *data, size_t size, const struct vectors *vectors, vecdb_metric metric, \
                                  const struct params *params, struct index **out)                                   \
    {                                                                                                                 \
        return sparse_lists_open(&id##_ops, data, size, vectors, metric, out);                                       \
    }                                                                                                                 \
    const struct index_ops id##_ops = {                                                                               \
        .name = kind_name, .format = 1, .types = 1u << (VECDB_TYPE_SPARSE_FLOAT_VECTOR - VECDB_TYPE_BINARY_VECTOR),  \
        .build_params = build_params, .search_params = search_params, .exact = true, .build = id##_build,            \
        .search = sparse_lists_search, .save = sparse_lists_save, .open = id##_open, .free = sparse_lists_free,      \
        .check = sparse_lists_check, .memory = sparse_memory, .reads = sparse_reads, .complete = sparse_complete,    \
    }

SPARSE_KIND(sparse_inverted, "SPARSE_INVERTED_INDEX");
SPARSE_KIND(sparse_wand, "SPARSE_WAND");
