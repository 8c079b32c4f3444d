/* NSG: Fu, Xiang, Wang & Cai, arXiv:1707.00143: a graph of near neighbours, thinned by the rule of relative neighbourhoods
 * (alpha 1) over what a search for each row comes by. Departs from the paper in that searches start at the row's own
 * neighbours and enter by layers, as HNSW's do (graph.h), not at one navigating node. */
#include "index/graph_kind.h"
#include "index/graph_search.h"
#include "index/hnsw.h"

static const struct param_spec build_params[] = {
    {"knng", 40, 5, 300, "near neighbours per row to begin with", NULL, false},
    {"out_degree", 32, 5, 300, "links per node at most", NULL, false},
    {"candidate_pool_size", 100, 50, 1000, "finds of a row's search that are thinned to its links", NULL, false},
    {"search_length", 60, 10, 300, "width of that search, over floats five thirds of it", NULL, false},
    {"layout", 0, 0, 1, "compact takes the least memory; fused keeps sketches of a node's neighbours beside it, for speed",
     "compact|fused", false},
    PARAM_END,
};

static const struct param_spec search_params[] = {
    {"search_length", 0, 0, 2147483647, "candidates kept while searching; at least k. 0: as the recall asks", NULL, false},
    {"recall", 0.95, 0.5, 1, "recall wished for, when search_length is not given", NULL, true},
    {"gamma", 0, -0.9, 10, "stop at (1 + gamma) times the k-th distance, even before; 0: as calibrated", NULL, true},
    {"refine_k", 2, 1, 1000, "rows scored again on the vectors, as a multiple of k", NULL, true},
    PARAM_END,
};

static struct graph_settings nsg_settings(const struct params *params, const struct index_build_context *context)
{
    return (struct graph_settings){
        .degree = (uint32_t)params_get(params, "out_degree"),
        .ef_construction = 5 * (uint32_t)params_get(params, "search_length"),
        .fused = params_get(params, "layout") != 0,
        .refine = true,
        .seed = context->seed,
        .neighbours = (uint32_t)params_get(params, "knng"),
        .beam = (uint32_t)params_get(params, "search_length"),
        .candidates = (uint32_t)params_get(params, "candidate_pool_size"),
        .alpha2 = 1,
    };
}

static vecdb_status nsg_search(const struct index *index, const struct index_search *search, struct hit *hits,
                               size_t *counts, struct index_counters *counters)
{
    struct graph_effort effort;

    TRY(graph_effort_read(index, search, "search_length", &effort));
    return graph_search(index, search, &effort, hits, counts, counters);
}

GRAPH_KIND(nsg, "NSG", build_params, search_params, nsg_settings, nsg_search);
GRAPH_KIND(rnsg, "RNSG", build_params, search_params, nsg_settings, nsg_search);
