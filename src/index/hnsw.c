/* HNSW: Malkov & Yashunin, arXiv:1603.09320, as a user sees it (M, efConstruction, ef). Inside, links are made by leaves
 * rather than one insertion after another, and the layers above the base hold one node in 32; see graph.h. */
#include "index/hnsw.h"

#include "index/graph.h"
#include "index/graph_search.h"

static const struct param_spec build_params[] = {
    {"M", 16, 2, 2048, "links per node; twice as many at the base, and at most 512", NULL, false},
    {"efConstruction", 200, 1, 2147483647, "effort of linking a node", NULL, false},
    PARAM_END,
};

static const struct param_spec search_params[] = {
    {"ef", 0, 0, 2147483647, "candidates kept while searching; at least k. 0: as the recall asks", NULL, false},
    {"recall", 0.95, 0.5, 1, "recall wished for, when ef is not given", NULL, true},
    {"gamma", 0, 0, 10, "stop at (1 + gamma) times the k-th distance, even before ef; 0: do not", NULL, true},
    {"refine_k", 2, 1, 1000, "rows scored again exactly, as a multiple of k", NULL, true},
    PARAM_END,
};

static vecdb_status hnsw_build(const struct vectors *vectors, vecdb_metric metric, const struct params *params,
                               const struct index_build_context *context, struct index **out)
{
    double links = 2 * params_get(params, "M");
    struct graph_settings settings = {
        .degree = links > GRAPH_DEGREE_MAX ? GRAPH_DEGREE_MAX : (uint32_t)links,
        .ef_construction = (uint32_t)params_get(params, "efConstruction"),
        .refine = true,
        .seed = context->seed,
    };
    struct graph *graph;
    vecdb_status status;

    *out = NULL;
    TRY(graph_create(&hnsw_ops, vectors, metric, &settings, &graph));
    if ((status = graph_build(graph, context)) != VECDB_OK) {
        graph_free(&graph->base);
        return status;
    }
    *out = &graph->base;
    return VECDB_OK;
}

static vecdb_status hnsw_search(const struct index *index, const struct index_search *search, struct hit *hits,
                                size_t *counts, struct index_counters *counters)
{
    struct graph_effort effort = {
        .ef = (size_t)params_get(search->params, "ef"),
        .recall = (float)params_get(search->params, "recall"),
        .gamma = (float)params_get(search->params, "gamma"),
        .refine_k = (float)params_get(search->params, "refine_k"),
    };

    if (effort.ef && effort.ef < search->k)
        return error_set(VECDB_ERR_INVALID, "index %s: ef is %zu, but must be at least k, which is %zu", index->ops->name,
                         effort.ef, search->k);
    return graph_search(index, search, &effort, hits, counts, counters);
}

static vecdb_status hnsw_open(const void *data, size_t size, const struct vectors *vectors, vecdb_metric metric,
                              const struct params *params, struct index **out)
{
    return graph_open(&hnsw_ops, data, size, vectors, metric, out);
}

const struct index_ops hnsw_ops = {
    .name = "HNSW",
    .format = 1,
    .types = 0x2F,
    .build_params = build_params,
    .search_params = search_params,
    .build = hnsw_build,
    .add = graph_add,
    .search = hnsw_search,
    .save = graph_save,
    .open = hnsw_open,
    .free = graph_free,
    .check = graph_check,
    .memory = graph_memory,
};
