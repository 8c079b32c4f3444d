/* The IVF kinds: IVF_FLAT, IVF_SQ8, IVF_PQ, IVF_RABITQ, SCANN and BIN_IVF_FLAT. Parameters are Milvus'. */
#include "index/ivf.h"

#include <string.h>

#define TYPE_BIT(type) (1u << ((type) - VECDB_TYPE_BINARY_VECTOR))
#define DENSE_TYPES                                                                                                    \
    (TYPE_BIT(VECDB_TYPE_FLOAT_VECTOR) | TYPE_BIT(VECDB_TYPE_FLOAT16_VECTOR) | TYPE_BIT(VECDB_TYPE_BFLOAT16_VECTOR) |  \
     TYPE_BIT(VECDB_TYPE_INT8_VECTOR))

#define NLIST {"nlist", 0, 1, 65536, "lists the rows are kept in; about 4 sqrt(rows) when not given", NULL, false}
#define REFINE(on) {"refine", on, 0, 1, "rerank the best with the vectors themselves", "false|true", false}
#define REFINE_TYPE                                                                                                    \
    {"refine_type", 0, 0, 5,                                                                                           \
     "what reranking reads: a copy of the vectors in fewer bytes, kept beside the codes, or the vectors themselves "    \
     "(fp32, flat); auto: bytes when all values are whole numbers 0..255, otherwise the vectors",                      \
     "auto|sq8|fp16|bf16|fp32|flat", false}
#define NPROBE {"nprobe", 0, 1, 65536, "lists a query scans; when not given, as many as `recall` took when building", NULL, false}
#define RECALL {"recall", 0.95, 0.5, 1, "recall to aim for when nprobe is not given", NULL, true}
#define REFINE_K {"refine_k", 0, 1, 1000, "estimates reranked, in multiples of k", NULL, true}

static const struct param_spec ivf_flat_build_params[] = {NLIST, PARAM_END};
static const struct param_spec ivf_flat_search_params[] = {NPROBE, RECALL, PARAM_END};
static const struct param_spec ivf_sq8_build_params[] = {
    NLIST, {"sq_type", 0, 0, 0, "the code", "sq8", false}, REFINE(0), REFINE_TYPE, PARAM_END};
static const struct param_spec ivf_refined_search_params[] = {NPROBE, RECALL, REFINE_K, PARAM_END};
static const struct param_spec ivf_pq_build_params[] = {
    NLIST,
    {"m", 0, 1, 32768, "parts a vector is cut into; divides dim. Not given: two dimensions a part", NULL, false},
    {"nbits", 8, 4, 8, "bits of a part: 4 or 8; 4 when m is not given either", NULL, false},
    {"rotation", 0, 0, 1, "turn the vectors first, for dimensions of unequal weight", "none|fht", false},
    REFINE(1),
    REFINE_TYPE,
    PARAM_END};
static const struct param_spec ivf_rabitq_build_params[] = {
    {"nlist", 0, 1, 65536,
     "lists the rows are kept in; about 4 sqrt(rows) when not given, without refine as many as 32 bytes a row beside the bits leave room for",
     NULL, false},
    {"rbq_bits", 4, 1, 8, "bits of a dimension; without refine some may have one more, in the 32 bytes a row beside them", NULL, false},
    REFINE(1),
    REFINE_TYPE,
    PARAM_END};
static const struct param_spec ivf_rabitq_search_params[] = {
    NPROBE, RECALL, {"refine_k", 0, 1, 1000, "accepted for Milvus' sake: error bounds choose what is reranked", NULL, true},
    {"rbq_query_bits", 0, 0, 8, "accepted for Milvus' sake: queries have 8 bits or more", NULL, false},
    {"epsilon", 0, 0.5, 10, "standard deviations that error bounds span; from `recall` when not given", NULL, true},
    PARAM_END};
static const struct param_spec scann_build_params[] = {
    NLIST,
    {"sub_dim", 2, 1, 32768, "dimensions of a part; divides dim", NULL, false},
    {"with_raw_data", 1, 0, 1, "rerank the best with the vectors themselves", "false|true", false},
    PARAM_END};
static const struct param_spec scann_search_params[] = {
    NPROBE, RECALL, {"reorder_k", 0, 1, 1000000, "estimates reranked", NULL, false}, PARAM_END};

/* -- codes */

static vecdb_status choose_flat(const struct vectors *vectors, const struct params *params, bool bytes,
                                struct coder *coder)
{
    bool raw = vectors->type == VECDB_TYPE_INT8_VECTOR || vectors->type == VECDB_TYPE_BINARY_VECTOR;

    coder->kind = raw ? CODE_RAW : bytes ? CODE_BYTES : CODE_SQ8;
    coder->exact = true;
    return VECDB_OK;
}

static vecdb_status choose_sq8(const struct vectors *vectors, const struct params *params, bool bytes,
                               struct coder *coder)
{
    TRY(choose_flat(vectors, params, bytes, coder));
    coder->exact = coder->kind != CODE_SQ8;
    return VECDB_OK;
}

/* Cut `dim` dimensions into m parts. */
static vecdb_status check_parts(const char *owner, const char *name, uint32_t value, uint32_t dim, uint32_t m)
{
    uint32_t below = value, above = value;

    if (m > 0 && m <= dim && dim % m == 0 && dim % value == 0)
        return VECDB_OK;
    while (below > 1 && dim % below)
        below--;
    while (above < dim && dim % above)
        above++;
    if (above > dim)
        return error_set(VECDB_ERR_INVALID, "%s: %s=%u is out of range 1..%u, the dimensions there are", owner, name,
                         value, dim);
    return error_set(VECDB_ERR_INVALID, "%s: %s=%u does not divide dim %u; %u and %u do", owner, name, value, dim, below,
                     above);
}

static vecdb_status choose_pq(const struct vectors *vectors, const struct params *params, bool bytes,
                              struct coder *coder)
{
    uint32_t dim = vectors->dim, bits = (uint32_t)params_get(params, "nbits");

    if (bits != 4 && bits != 8)
        return error_set(VECDB_ERR_INVALID, "index IVF_PQ: nbits=%u is neither 4 nor 8", bits);
    coder->kind = CODE_PQ;
    coder->turned = params_get(params, "rotation") == 1;
    if (coder->turned)
        dim = (uint32_t)simd_code_dim(dim);
    if (params_given(params, "m")) {
        coder->pq.m = (uint32_t)params_get(params, "m");
        TRY(check_parts("index IVF_PQ", "m", coder->pq.m, dim, coder->pq.m));
    } else {
        uint32_t sub_dim = params_given(params, "nbits") && bits == 8 ? 4 : 2;
        while (dim % sub_dim)
            sub_dim--;
        coder->pq.m = dim / sub_dim;
        if (!params_given(params, "nbits"))
            bits = 4;
    }
    coder->pq.bits = bits;
    return VECDB_OK;
}

static vecdb_status choose_scann(const struct vectors *vectors, const struct params *params, bool bytes,
                                 struct coder *coder)
{
    uint32_t sub_dim = (uint32_t)params_get(params, "sub_dim");

    if (!params_given(params, "sub_dim") && vectors->dim % 2)
        sub_dim = 1;
    TRY(check_parts("index SCANN", "sub_dim", sub_dim, vectors->dim, vectors->dim / sub_dim));
    coder->kind = CODE_PQ;
    coder->pq.m = vectors->dim / sub_dim;
    coder->pq.bits = 4;
    return VECDB_OK;
}

static vecdb_status choose_rabitq(const struct vectors *vectors, const struct params *params, bool bytes,
                                  struct coder *coder)
{
    coder->kind = CODE_RABITQ;
    coder->rabitq.bits = (unsigned)params_get(params, "rbq_bits");
    coder->rabitq.scale = rabitq_scale((uint32_t)simd_code_dim(vectors->dim), coder->rabitq.bits);
    coder->lean = params_get(params, "refine") <= 0 && coder->rabitq.bits >= 2 && coder->rabitq.bits <= 7;
    return VECDB_OK;
}

/* -- searching */

/* A parameter that only some kinds have. */
static double get_or(const struct params *params, const char *name, double fallback)
{
    for (size_t i = 0; params->specs[i].name; i++)
        if (strcmp(params->specs[i].name, name) == 0)
            return params->given >> i & 1 ? params->values[i] : fallback;
    return fallback;
}

struct ivf_search_mode ivf_search_mode(const struct coder *coder, bool refine, const struct params *params, size_t k)
{
    struct ivf_search_mode mode = {.keep = k};
    double recall = params_get(params, "recall"), multiple = 1;

    if (coder->exact) {
        mode.sieving = true;
    } else if (coder->kind == CODE_RABITQ) {
        mode.sieving = refine;
        mode.epsilon = (float)get_or(params, "epsilon", recall <= 0.9 ? 1.9 : recall <= 0.96 ? 2.3 : 3.0);
    } else if (refine) {
        mode.rerank = true;
        multiple = coder->kind == CODE_SQ8 ? 1.5 : coder->pq.bits == 8 ? 6 : 8;
        multiple = get_or(params, "refine_k", multiple);
        mode.keep = (size_t)(multiple * (double)k + 0.5);
        if (coder->kind != CODE_SQ8 && !get_or(params, "refine_k", 0) && mode.keep < 40)
            mode.keep = 40;
        mode.keep = (size_t)get_or(params, "reorder_k", (double)mode.keep);
    }
    if (mode.keep < k)
        mode.keep = k;
    return mode;
}

/* -- reranking */

/* A copy that is no smaller than the vectors would be of no use: then it is them. */
static enum refine_kind refine_kind(const struct vectors *vectors, const struct params *params, bool bytes)
{
    enum { AUTO, SQ8, FP16, BF16 };
    int wanted = (int)params_get(params, "refine_type");

    if (vectors->type == VECDB_TYPE_INT8_VECTOR || vectors->type == VECDB_TYPE_BINARY_VECTOR)
        return REFINE_VECTORS;
    if (bytes && (wanted == AUTO || wanted == SQ8))
        return REFINE_BYTES;
    if (wanted == SQ8)
        return REFINE_SQ8;
    if (vectors->type == VECDB_TYPE_FLOAT_VECTOR && wanted == FP16)
        return REFINE_FP16;
    return vectors->type == VECDB_TYPE_FLOAT_VECTOR && wanted == BF16 ? REFINE_BF16 : REFINE_VECTORS;
}

static enum refine_kind scann_refine_kind(const struct vectors *vectors, const struct params *params, bool bytes)
{
    return bytes ? REFINE_BYTES : REFINE_VECTORS;
}

/* -- the tables */

static bool never(const struct params *params) { return false; }
static bool refine(const struct params *params) { return params_get(params, "refine") > 0; }
static bool with_raw_data(const struct params *params) { return params_get(params, "with_raw_data") > 0; }

#define IVF_KIND(variable, title, chooser, bytes_matter, refiner, refine_with, code_kinds)                                                   \
    extern const struct index_ops variable##_ops;                                                                      \
    static const struct ivf_kind variable##_kind = {&variable##_ops, "index " title, chooser, bytes_matter,     \
                                                  refiner, refine_with, code_kinds};                                                \
    static vecdb_status variable##_build(const struct vectors *vectors, vecdb_metric metric, const struct params *params, \
                                         const struct index_build_context *context, struct index **out)                \
    {                                                                                                                  \
        return ivf_build(&variable##_kind, vectors, metric, params, context, out);                                     \
    }                                                                                                                  \
    static vecdb_status variable##_merge(const struct vectors *vectors, vecdb_metric metric, const struct params *params, \
                                         struct index *const *parts, const uint32_t *const *row_maps, size_t part_count, \
                                         const struct index_build_context *context, struct index **out)                \
    {                                                                                                                  \
        return ivf_merge(&variable##_kind, vectors, metric, params, parts, row_maps, part_count, context, out);        \
    }                                                                                                                  \
    static vecdb_status variable##_open(const void *data, size_t size, const struct vectors *vectors,                  \
                                        vecdb_metric metric, const struct params *params, struct index **out)          \
    {                                                                                                                  \
        return ivf_open(&variable##_kind, data, size, vectors, metric, params, out);                                   \
    }
#define IVF_OPS(variable, title, build_table, search_table, vector_types)                                              \
    const struct index_ops variable##_ops = {                                                                          \
        .name = title, .format = 1, .types = vector_types, .build_params = build_table, .search_params = search_table, \
        .build = variable##_build, .add = ivf_add, .merge = variable##_merge, .search = ivf_search, .save = ivf_save, .open = variable##_open,    \
        .free = ivf_free, .check = ivf_check, .memory = ivf_memory, .reads = ivf_reads,                            \
        .complete = ivf_complete}

#define FLAT_CODES (1u << CODE_RAW | 1u << CODE_BYTES | 1u << CODE_SQ8)

IVF_KIND(ivf_flat, "IVF_FLAT", choose_flat, true, never, NULL, FLAT_CODES)
IVF_KIND(bin_ivf_flat, "BIN_IVF_FLAT", choose_flat, false, never, NULL, 1u << CODE_RAW)
IVF_KIND(ivf_sq8, "IVF_SQ8", choose_sq8, true, refine, refine_kind, FLAT_CODES)
IVF_KIND(ivf_pq, "IVF_PQ", choose_pq, true, refine, refine_kind, 1u << CODE_PQ)
IVF_KIND(ivf_rabitq, "IVF_RABITQ", choose_rabitq, true, refine, refine_kind, 1u << CODE_RABITQ)
IVF_KIND(scann, "SCANN", choose_scann, true, with_raw_data, scann_refine_kind, 1u << CODE_PQ)

IVF_OPS(ivf_flat, "IVF_FLAT", ivf_flat_build_params, ivf_flat_search_params, DENSE_TYPES);
IVF_OPS(bin_ivf_flat, "BIN_IVF_FLAT", ivf_flat_build_params, ivf_flat_search_params, TYPE_BIT(VECDB_TYPE_BINARY_VECTOR));
IVF_OPS(ivf_sq8, "IVF_SQ8", ivf_sq8_build_params, ivf_refined_search_params, DENSE_TYPES);
IVF_OPS(ivf_pq, "IVF_PQ", ivf_pq_build_params, ivf_refined_search_params, DENSE_TYPES);
IVF_OPS(ivf_rabitq, "IVF_RABITQ", ivf_rabitq_build_params, ivf_rabitq_search_params, DENSE_TYPES);
IVF_OPS(scann, "SCANN", scann_build_params, scann_search_params, DENSE_TYPES);
