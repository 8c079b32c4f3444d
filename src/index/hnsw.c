/* HNSW: Malkov & Yashunin, arXiv:1603.09320, as a user sees it (M, efConstruction, ef). Inside, links are made by leaves
 * rather than one insertion after another, and the layers above the base hold one node in 32; see graph.h.
 *
 * HNSW_SQ, HNSW_PQ and HNSW_PRQ are Milvus' names for walking on codes and scoring the best again on the vectors. HNSW itself
 * does so here, on codes of a byte per dimension; the three take Milvus' parameters and differ in `refine` only, which
 * they can switch off: then no more than k rows are scored again. */
#include "index/hnsw.h"

#include "index/graph_kind.h"
#include "index/graph_search.h"

#define GRAPH_PARAMS                                                                                                   \
    {"M", 16, 2, 2048, "links per node; twice as many at the base, and at most 512", NULL, false},                     \
    {"efConstruction", 200, 1, 2147483647, "effort of linking a node", NULL, false},                                   \
    {"layout", 0, 0, 1, "compact takes the least memory; fused keeps sketches of a node's neighbours beside it, for speed",  \
     "compact|fused", false}
#define REFINE_PARAMS                                                                                                  \
    {"refine", 1, 0, 1, "score more than k rows again on the vectors", "false|true", false},                           \
    {"refine_type", 4, 0, 4, "accepted; rows are scored again as they are", "SQ6|SQ8|BF16|FP16|FP32", false}

static const struct param_spec hnsw_build_params[] = {GRAPH_PARAMS, PARAM_END};
static const struct param_spec sq_build_params[] = {
    GRAPH_PARAMS,
    {"sq_type", 1, 0, 4, "accepted; codes have a byte per dimension", "SQ6|SQ8|BF16|FP16|SQ4U", false},
    REFINE_PARAMS,
    PARAM_END,
};
static const struct param_spec pq_build_params[] = {
    GRAPH_PARAMS,
    {"m", 32, 1, 65536, "accepted; codes have a byte per dimension", NULL, false},
    {"nbits", 8, 1, 24, "accepted", NULL, false},
    {"nrq", 2, 1, 16, "accepted", NULL, false},
    REFINE_PARAMS,
    PARAM_END,
};
static const struct param_spec search_params[] = {
    {"ef", 0, 0, 2147483647, "candidates kept while searching; at least k. 0: as the recall asks", NULL, false},
    {"recall", 0.95, 0.5, 1, "recall wished for, when ef is not given", NULL, true},
    {"gamma", 0, -0.9, 10, "stop at (1 + gamma) times the k-th distance, even before ef; 0: as calibrated", NULL, true},
    {"refine_k", 2, 1, 1000, "rows scored again on the vectors, as a multiple of k", NULL, true},
    PARAM_END,
};

static struct graph_settings hnsw_settings(const struct params *params, const struct index_build_context *context)
{
    double links = 2 * params_get(params, "M");

    return (struct graph_settings){
        .degree = links > GRAPH_DEGREE_MAX ? GRAPH_DEGREE_MAX : (uint32_t)links,
        .ef_construction = (uint32_t)params_get(params, "efConstruction"),
        .fused = params_get(params, "layout") != 0,
        .refine = true,
        .seed = context->seed,
    };
}

static struct graph_settings quantized_settings(const struct params *params, const struct index_build_context *context)
{
    struct graph_settings settings = hnsw_settings(params, context);

    settings.refine = params_get(params, "refine") != 0;
    return settings;
}

static vecdb_status hnsw_search(const struct index *index, const struct index_search *search, struct hit *hits,
                                size_t *counts, struct index_counters *counters)
{
    struct graph_effort effort;

    TRY(graph_effort_read(index, search, "ef", &effort));
    return graph_search(index, search, &effort, hits, counts, counters);
}

GRAPH_KIND(hnsw, "HNSW", hnsw_build_params, search_params, hnsw_settings, hnsw_search);
GRAPH_KIND(hnsw_sq, "HNSW_SQ", sq_build_params, search_params, quantized_settings, hnsw_search);
GRAPH_KIND(hnsw_pq, "HNSW_PQ", pq_build_params, search_params, quantized_settings, hnsw_search);
GRAPH_KIND(hnsw_prq, "HNSW_PRQ", pq_build_params, search_params, quantized_settings, hnsw_search);
