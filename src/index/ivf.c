/* Inverted lists (Sivic & Zisserman, ICCV 2003; Jegou et al., TPAMI 2011): rows are kept as codes in lists around
 * k-means centroids, and a search scans the lists nearest to the query. Where we depart: what a code needs of its centroid
 * is a number kept beside it, so that nothing about the query is prepared per list.
 *
 * Rows that come later are kept as parts of their own over the same centroids; a search reads a view, an immutable list
 * of parts that is replaced as a whole. Here: what an index is. How it comes about is in ivf_build.c and ivf_train.c. */
#include "index/ivf_state.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <math.h>

#define COARSE_GROUPED 2048      /* lists from which they are found by groups of them */
#define COARSE_CODED_BYTES 131072 /* of centroids, which are worth codes from there on: each query reads them all */

/* -- life */

struct ivf *ivf_create(const struct ivf_kind *kind, const struct vectors *vectors, vecdb_metric metric)
{
    struct ivf *ivf = mem_zalloc(sizeof *ivf);

    if (!ivf)
        return NULL;
    ivf->kind = kind;
    ivf->base = (struct index){kind->ops, *vectors, metric, false};
    ivf->coder = (struct coder){.type = vectors->type, .metric = metric, .dim = vectors->dim};
    return ivf;
}

void ivf_part_free(struct ivf_part *part)
{
    if (!part)
        return;
    part_deinit(part);
    mem_free(part);
}

void ivf_free(struct index *index)
{
    struct ivf *ivf = (struct ivf *)index;
    struct ivf_view *view;

    if (!ivf)
        return;
    view = ivf_view(ivf);
    for (size_t i = 0; view && i < view->part_count; i++)
        ivf_part_free(view->parts[i]);
    for (struct ivf_view *older; view; view = older) {
        older = view->older;
        mem_free(view->refine);
        mem_free(view);
    }
    for (size_t i = 0; i < ivf->refine_block_count; i++)
        mem_free(ivf->refine_blocks[i]);
    mem_free(ivf->refine_blocks);
    for (size_t i = 0; i < ivf->retired_count; i++)
        ivf_part_free(ivf->retired[i]);
    mem_free(ivf->retired);
    if (ivf->coarse)
        ivf->coarse->ops->free(ivf->coarse);
    mem_free(ivf->centroid_sums);
    mem_free(ivf->columns);
    mem_free(ivf->state);
    mem_free(ivf);
}

vecdb_status ivf_publish(struct ivf *ivf, const struct vectors *vectors, struct ivf_part *const *parts, size_t count,
                         struct refine_rows *refine)
{
    struct ivf_view *view = mem_alloc(sizeof *view + count * sizeof view->parts[0]);

    if (!view)
        return error_nomem(ivf->kind->owner);
    *view = (struct ivf_view){.vectors = *vectors, .part_count = count, .refine = refine,
                               .older = ivf_view(ivf)};
    for (size_t i = 0; i < count; i++) {
        view->parts[i] = parts[i];
        view->row_count += parts[i]->row_count;
    }
    atomic_store_explicit(&ivf->view, view, memory_order_release);
    return VECDB_OK;
}

size_t ivf_state_layout(struct ivf *ivf, uint8_t *base)
{
    const struct coder *coder = &ivf->coder;
    size_t at = 0;

    if (base)
        ivf->centroids = (const float *)(const void *)base;
    at += align_up(ivf->list_count * coder->code_dim * sizeof(float), 64);
    if (coder->kind == CODE_SQ8 || coder->lean) {
        if (base)
            ivf->mean = (const float *)(const void *)(base + at);
        at += align_up(coder->code_dim * sizeof(float), 64);
    }
    if (coder->turned) {
        if (base)
            ivf->signs = base + at;
        at += align_up(coder_sign_bytes(coder), 64);
    }
    if (coder->kind == CODE_PQ) {
        if (base)
            ivf->codebook = (const float *)(const void *)(base + at);
        at += align_up(pq_table_floats(&coder->pq) * coder->pq.sub_dim * sizeof(float), 64);
    }
    if (coder->refiner.kind == REFINE_SQ8) {
        if (base)
            ivf->refine_mean = (const float *)(const void *)(base + at);
        at += align_up(coder->dim * sizeof(float), 64);
    }
    if (coder->ahead) {
        if (base)
            ivf->order = (const uint16_t *)(const void *)(base + at);
        at += align_up(coder->dim * sizeof(uint16_t), 64);
    }
    return at;
}

static bool binary_metric(vecdb_metric metric)
{
    return metric == VECDB_METRIC_HAMMING || metric == VECDB_METRIC_JACCARD;
}

vecdb_status ivf_derive(struct ivf *ivf)
{
    struct coder *coder = &ivf->coder;
    size_t dim = coder->code_dim;
    struct index_build_context context = {.seed = 1};
    const struct index_ops *ops;
    struct params params;
    const char *accel = ivf->list_count * dim * sizeof(float) >= COARSE_CODED_BYTES ? "accel=sq8" : "accel=none";

    coder->mean = ivf->mean;
    coder->signs = ivf->signs;
    coder->pq.centroids = ivf->codebook;
    coder->refiner.mean = ivf->refine_mean;
    coder->order = ivf->order;
    if (coder->kind == CODE_PQ) {
        ivf->columns = mem_aligned_alloc(64, pq_table_floats(&coder->pq) * coder->pq.sub_dim * sizeof(float));
        if (!ivf->columns)
            return error_nomem(ivf->kind->owner);
        pq_columns(&coder->pq, ivf->columns);
        coder->pq.columns = ivf->columns;
    }
    if (binary_metric(coder->metric)) {
        ivf->centroid_sums = mem_array_alloc(ivf->list_count, sizeof(float));
        if (!ivf->centroid_sums)
            return error_nomem(ivf->kind->owner);
        for (size_t list = 0; list < ivf->list_count; list++)
            ivf->centroid_sums[list] = simd_codes()->sum_f32(ivf->centroids + list * dim, dim);
        return VECDB_OK;
    }
    ivf->centroid_block[0] = (const uint8_t *)ivf->centroids;
    ivf->centroid_vectors = (struct vectors){.type = VECDB_TYPE_FLOAT_VECTOR, .dim = coder->code_dim,
                                             .width = dim * sizeof(float), .stride = dim * sizeof(float),
                                             .row_count = ivf->list_count, .block_shift = 40,
                                             .blocks = ivf->centroid_block};
    if (ivf->list_count < COARSE_GROUPED || !coder->l2) { /* the largest products are not all in near groups */
        ops = index_find("FLAT");
        TRY(params_parse(ivf->kind->owner, ops->build_params, NULL, accel, &params));
    } else { /* lists of lists: their number is the square root of what it was, so this ends here */
        ops = index_find("IVF_FLAT");
        params_default(ops->build_params, &params);
        params_set(&params, "nlist", floor(sqrt((double)ivf->list_count)));
        ivf->grouped = true;
    }
    TRY(ops->build(&ivf->centroid_vectors, coder->l2 ? VECDB_METRIC_L2 : VECDB_METRIC_IP, &params, &context, &ivf->coarse));
    return ivf->grouped ? ivf_groups_measure(ivf) : VECDB_OK;
}

/* -- facts */

size_t ivf_memory(const struct index *index)
{
    const struct ivf *ivf = (const struct ivf *)index;
    const struct ivf_view *view = ivf_view(ivf);
    struct ivf copy = *ivf;
    size_t total = sizeof *ivf + ivf_state_layout(&copy, NULL);

    if (ivf->coarse)
        total += ivf->coarse->ops->memory(ivf->coarse);
    if (ivf->centroid_sums)
        total += ivf->list_count * sizeof(float);
    if (ivf->columns)
        total += pq_table_floats(&ivf->coder.pq) * ivf->coder.pq.sub_dim * sizeof(float);
    for (size_t i = 0; i < view->part_count; i++) {
        struct ivf_part part = *view->parts[i];
        total += part_layout(&part, &ivf->coder, true, true, NULL) + part_memory(view->parts[i]) -
                 view->parts[i]->owned_size;
    }
    for (size_t i = 0; i < ivf->retired_count; i++)
        total += part_memory(ivf->retired[i]);
    if (view->refine)
        total += view->refine->vectors.row_count * view->refine->vectors.stride;
    return total;
}

void ivf_reads(const struct index *index, struct index_reads *out)
{
    const struct ivf *ivf = (const struct ivf *)index;

    struct index_reads coarse;

    *out = coder_reads(&ivf->coder);
    if (ivf->coarse) { /* all of it, or of some of its groups */
        ivf->coarse->ops->reads(ivf->coarse, &coarse);
        out->query = ivf->list_count * coarse.row;
        if (ivf->grouped)
            out->query = coarse.query + (size_t)(ivf->groups_least * (double)out->query);
    } else {
        out->query = ivf->list_count * type_width(VECDB_TYPE_BINARY_VECTOR, ivf->coder.dim);
    }
}

bool ivf_complete(const struct index *index)
{
    const struct ivf *ivf = (const struct ivf *)index;
    const struct coder *coder = &ivf->coder;

    if (coder->exact)
        return coder->kind != CODE_SQ8; /* whose errors leave rows over */
    return !ivf->refine || coder->refiner.kind != REFINE_VECTORS;
}
