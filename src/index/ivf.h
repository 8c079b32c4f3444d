/* Inverted lists: what the kinds of ivf_kinds.c have in common, and how they differ. */
#ifndef VECDB_INDEX_IVF_H
#define VECDB_INDEX_IVF_H

#include "index/ivf_codes.h"

/** What sets one IVF kind apart: how it codes rows, given its parameters. */
struct ivf_kind {
    const struct index_ops *ops;
    const char *owner; /* "index IVF_PQ": begins messages */
    /* Choose coder->kind and the members that coder_layout() wants. bytes: all values are whole numbers 0..255. */
    vecdb_status (*choose)(const struct vectors *vectors, const struct params *params, bool bytes, struct coder *coder);
    bool may_be_bytes; /* whether it matters */
    bool (*refines)(const struct params *params); /* whether it is built to rerank estimates with the vectors */
    /* with what, when it does; NULL: the vectors */
    enum refine_kind (*refine_kind)(const struct vectors *vectors, const struct params *params, bool bytes);
    uint32_t codes;    /* code kinds it may have: 1u << kind */
};

/** How a search of a kind treats its estimates. */
struct ivf_search_mode {
    bool sieving;  /* answers are exact distances: exact codes, or bounds of RABITQ */
    bool rerank;   /* estimates are reranked with the vectors */
    size_t keep;   /* estimates kept */
    float epsilon; /* of RABITQ's bounds */
};

vecdb_status ivf_build(const struct ivf_kind *kind, const struct vectors *vectors, vecdb_metric metric,
                       const struct params *params, const struct index_build_context *context, struct index **out);
vecdb_status ivf_merge(const struct ivf_kind *kind, const struct vectors *vectors, vecdb_metric metric,
                       const struct params *params, struct index *const *parts, const uint32_t *const *row_maps,
                       size_t part_count, const struct index_build_context *context, struct index **out);
vecdb_status ivf_open(const struct ivf_kind *kind, const void *data, size_t size, const struct vectors *vectors,
                      vecdb_metric metric, const struct params *params, struct index **out);
vecdb_status ivf_add(struct index *index, const struct vectors *vectors, const struct index_build_context *context);
vecdb_status ivf_search(const struct index *index, const struct index_search *search, struct hit *hits, size_t *counts,
                        struct index_counters *counters);
vecdb_status ivf_save(const struct index *index, struct buf *out);
void ivf_free(struct index *index);
vecdb_status ivf_check(const struct index *index);
size_t ivf_memory(const struct index *index);
void ivf_reads(const struct index *index, struct index_reads *out);
bool ivf_complete(const struct index *index);

/** In ivf_kinds.c: what the search parameters ask for. refine: the index was built to rerank. */
struct ivf_search_mode ivf_search_mode(const struct coder *coder, bool refine, const struct params *params, size_t k);

#endif
