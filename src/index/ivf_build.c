/* Rows into lists: building an index, and adding rows to one that is there. */
#include "index/ivf_job.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/ivf_planes.h"

#include <math.h>
#include <string.h>

#define BALANCE_ROUNDS 4
#define ASSIGN_PIECE 480      /* rows that are multiplied at once; a task takes a multiple of it, */
#define ASSIGN_ROWS 8160      /* so many at most, */
#define ASSIGN_BYTES 33554432 /* and fewer when they are more bytes as floats */
#define LISTS_APART 1.6 /* lists that are taken over are at most so many times as many as new ones, or as few */
#define SLICE_TASKS 64 /* tasks between two calls of progress */

struct slice {
    struct ivf_job *job;
    size_t first;
    vecdb_status (*task)(void *context, size_t i, unsigned worker);
};

static vecdb_status slice_task(void *context, size_t i, unsigned worker)
{
    struct slice *slice = context;

    return slice->task(slice->job, slice->first + i, worker);
}

/* Tasks in slices, with progress between them. */
static vecdb_status run_tasks(struct ivf_job *job, const char *stage, size_t count,
                              vecdb_status (*task)(void *context, size_t i, unsigned worker))
{
    const struct index_build_context *context = job->context;

    for (size_t first = 0; first < count; first += SLICE_TASKS) {
        struct slice slice = {job, first, task};
        if (context->progress && !context->progress(context->progress_context, stage, first, count))
            return error_set(VECDB_ERR_CANCELLED, "%s: cancelled", job->ivf->kind->owner);
        TRY(pool_run(context->pool, count - first < SLICE_TASKS ? count - first : SLICE_TASKS, slice_task, &slice));
    }
    return VECDB_OK;
}

/* Numbers of the rows that have a value. */
static uint32_t *present_rows(const struct vectors *vectors, size_t first, size_t *count)
{
    uint32_t *rows = mem_array_alloc(vectors->row_count - first + 1, sizeof *rows);

    *count = 0;
    for (size_t i = first; rows && i < vectors->row_count; i++)
        if (!vectors->present || bitmap_get(vectors->present, i))
            rows[(*count)++] = (uint32_t)i;
    return rows;
}

static size_t assign_rows(const struct coder *coder)
{
    size_t rows = ASSIGN_BYTES / (coder->code_dim * sizeof(float)) / ASSIGN_PIECE * ASSIGN_PIECE;

    return rows > ASSIGN_ROWS ? ASSIGN_ROWS : rows < ASSIGN_PIECE ? ASSIGN_PIECE : rows;
}

static vecdb_status assign_task(void *context, size_t i, unsigned worker)
{
    struct ivf_job *job = context;
    const struct coder *coder = &job->ivf->coder;
    size_t most = assign_rows(coder), first = i * most, n = job->row_count - first < most ? job->row_count - first : most;
    size_t dim = coder->code_dim;
    float *rows = mem_aligned_alloc(64, n * dim * sizeof *rows);
    float *scratch = mem_aligned_alloc(64, kmeans_groups_scratch_floats(&job->assigner) * sizeof *scratch);

    if (!rows || !scratch) {
        mem_free(rows);
        mem_free(scratch);
        return error_nomem("assigning rows to lists");
    }
    for (size_t j = 0; j < n; j++)
        coder_floats(coder, vectors_row(job->vectors, job->rows[first + j]), rows + j * dim);
    kmeans_groups_assign(&job->assigner, rows, n, scratch, job->lists + first);
    mem_free(rows);
    mem_free(scratch);
    return VECDB_OK;
}

static vecdb_status assign(struct ivf_job *job)
{
    struct ivf *ivf = job->ivf;
    size_t rows = assign_rows(&ivf->coder);
    vecdb_status status;

    TRY(kmeans_groups_init(&job->assigner, ivf->centroids, ivf->list_count, ivf->coder.code_dim));
    status = run_tasks(job, "assign", (job->row_count + rows - 1) / rows, assign_task);
    kmeans_groups_deinit(&job->assigner);
    return status;
}

/* Until no list is far too long, or nothing more comes of it. */
static vecdb_status balance(struct ivf_job *job)
{
    struct ivf_assignment rows = {job->vectors, job->rows, job->lists, job->row_count};
    uint32_t *moved = mem_array_alloc(job->row_count + 1, sizeof *moved);
    uint32_t *anew = mem_array_alloc(job->row_count + 1, sizeof *anew), *lists = NULL;
    vecdb_status status = moved && anew ? VECDB_OK : error_nomem(job->ivf->kind->owner);

    for (int round = 0; round < BALANCE_ROUNDS && status == VECDB_OK; round++) {
        struct ivf_job part = *job;
        size_t count;
        if ((status = ivf_rebalance(job->ivf, &rows, job->context, moved, &count)) != VECDB_OK || !count)
            break;
        mem_free(lists);
        lists = mem_array_alloc(count, sizeof *lists);
        for (size_t i = 0; i < count; i++)
            anew[i] = job->rows[moved[i]];
        part.rows = anew;
        part.row_count = count;
        part.lists = lists;
        status = lists ? assign(&part) : error_nomem(job->ivf->kind->owner);
        for (size_t i = 0; i < count && status == VECDB_OK; i++)
            job->lists[moved[i]] = lists[i];
    }
    mem_free(moved);
    mem_free(anew);
    mem_free(lists);
    return status;
}

static vecdb_status encode_task(void *context, size_t i, unsigned worker)
{
    struct ivf_job *job = context;
    struct ivf_part *part = job->part;
    const struct coder *coder = &job->ivf->coder;
    size_t last = (i + 1) * 16 < part->list_count ? (i + 1) * 16 : part->list_count;
    struct code_scratch *scratch;
    vecdb_status status = VECDB_OK;

    TRY(code_scratch_create(coder, &scratch));
    for (size_t list = i * 16; list < last && status == VECDB_OK; list++) {
        float *radius = (float *)(uintptr_t)&part->radius[list], none = 0;
        float *spread = part->spread ? (float *)(uintptr_t)&part->spread[list] : &none;
        *radius = *spread = 0;
        status = part_encode(part, coder, job->encoder, job->vectors, job->ivf->centroids + list * coder->code_dim,
                             part->starts[list], part->sizes[list], scratch, radius, spread);
        if (!(*radius < INFINITY))
            *radius = 1e38f;
        if (!(*spread < INFINITY))
            *spread = 1e38f;
    }
    code_scratch_free(scratch);
    return status;
}

/* A part of job->rows in job->lists. */
static vecdb_status make_part(struct ivf_job *job, struct ivf_part **out)
{
    struct ivf *ivf = job->ivf;
    const struct coder *coder = &ivf->coder;
    struct ivf_part *part = mem_zalloc(sizeof *part);
    uint32_t *sizes = mem_array_zalloc(ivf->list_count, sizeof *sizes), *rows;
    size_t *next = mem_array_alloc(ivf->list_count, sizeof *next);
    vecdb_status status = part && sizes && next ? VECDB_OK : error_nomem(ivf->kind->owner);

    *out = NULL;
    if (status != VECDB_OK)
        goto done;
    for (size_t i = 0; i < job->row_count; i++)
        sizes[job->lists[i]]++;
    part->list_count = ivf->list_count;
    part->row_count = job->row_count;
    for (size_t list = 0; list < ivf->list_count; list++)
        part->slot_count += align_up(sizes[list], coder->block);
    part->owned_size = part_layout(part, coder, true, true, NULL);
    part->owned = mem_aligned_alloc(part->owned_size >= 2 << 20 ? 2 << 20 : 64, part->owned_size + 64);
    if (!part->owned) {
        status = error_nomem(ivf->kind->owner);
        goto done;
    }
    memset(part->owned, 0, part->owned_size); /* slots that pad lists: row and codes of zeros */
    part_layout(part, coder, true, true, part->owned);
    memcpy((void *)(uintptr_t)part->sizes, sizes, ivf->list_count * sizeof *sizes);
    /* starts; the maxima come when the codes are there */
    part->starts = mem_array_alloc(ivf->list_count + 1, sizeof *part->starts);
    if (!part->starts) {
        status = error_nomem(ivf->kind->owner);
        goto done;
    }
    part->starts[0] = 0;
    for (size_t list = 0; list < ivf->list_count; list++) {
        part->starts[list + 1] = part->starts[list] + align_up(sizes[list], coder->block);
        next[list] = part->starts[list];
    }
    rows = (uint32_t *)(uintptr_t)part->rows;
    for (size_t i = 0; i < job->row_count; i++)
        rows[next[job->lists[i]]++] = job->rows[i];
    if (coder->kind == CODE_PQ)
        status = pq_encoder_create(&coder->pq, &job->encoder);
    if (status == VECDB_OK) {
        job->part = part;
        status = run_tasks(job, "encode", (ivf->list_count + 15) / 16, encode_task);
    }
    pq_encoder_free(job->encoder);
    job->encoder = NULL;
    if (status == VECDB_OK) {
        mem_free(part->starts);
        part->starts = NULL;
        status = part_derive(part, coder);
    }
done:
    mem_free(sizes);
    mem_free(next);
    if (status != VECDB_OK) {
        ivf_part_free(part);
        return status;
    }
    *out = part;
    return VECDB_OK;
}

static vecdb_status make_state(struct ivf *ivf, uint64_t seed, const uint16_t *order)
{
    struct rng rng = rng_seeded(seed ^ 0x726F74617465ull);

    ivf->state_size = ivf_state_layout(ivf, NULL);
    ivf->state = mem_aligned_alloc(64, ivf->state_size + 64);
    if (!ivf->state)
        return error_nomem(ivf->kind->owner);
    memset(ivf->state, 0, ivf->state_size);
    ivf_state_layout(ivf, ivf->state);
    for (size_t i = 0; ivf->coder.turned && i < coder_sign_bytes(&ivf->coder); i++)
        ((uint8_t *)(uintptr_t)ivf->signs)[i] = (uint8_t)rng_next(&rng);
    ivf->coder.signs = ivf->signs;
    ivf->coder.mean = ivf->mean;
    ivf->coder.pq.centroids = ivf->codebook;
    if (ivf->order && order)
        memcpy((void *)(uintptr_t)ivf->order, order, ivf->coder.dim * sizeof *order);
    ivf->coder.order = ivf->order;
    return VECDB_OK;
}

static vecdb_status build_all(struct ivf_job *job)
{
    struct ivf *ivf = job->ivf;
    struct ivf_part *part;
    struct refine_rows *refine = NULL;
    vecdb_status status;

    TRY(make_state(ivf, job->context->seed, job->order));
    if (ivf->refine_mean && !job->like) {
        float *spare = mem_array_alloc(ivf->coder.dim, sizeof *spare);
        if (!spare)
            return error_nomem(ivf->kind->owner);
        refine_mean(&ivf->coder.refiner, job->vectors, (float *)(uintptr_t)ivf->refine_mean, spare);
        mem_free(spare);
    }
    if (job->like) /* all of it is one stretch */
        memcpy(ivf->state, job->like->centroids, ivf->state_size);
    else
        TRY(ivf_train_lists(job));
    TRY(assign(job));
    TRY(balance(job));
    if (ivf->coder.kind == CODE_PQ && !job->like)
        TRY(ivf_train_codebook(job));
    TRY(make_part(job, &part));
    status = ivf_derive(ivf);
    if (status == VECDB_OK)
        status = ivf_calibrate(job);
    if (status == VECDB_OK)
        status = ivf_refine_rows(ivf, job->vectors, NULL, job->context, &refine);
    if (status == VECDB_OK)
        status = ivf_publish(ivf, job->vectors, &part, 1, refine);
    if (status != VECDB_OK) {
        mem_free(refine);
        ivf_part_free(part);
    }
    return status;
}

/* As many lists as would be made now, or nearly. */
static bool lists_fit(const struct ivf *ivf, const struct ivf *like)
{
    double wanted = (double)ivf->list_count, there = (double)like->list_count;

    if (ivf->list_count_given || like->list_count_given)
        return ivf->list_count_given && like->list_count_given && ivf->list_count == like->list_count;
    return wanted <= LISTS_APART * there && there <= LISTS_APART * wanted;
}

/* Whether what `like` has learned is what this index would learn. */
static bool learns_alike(const struct ivf *ivf, const struct ivf *like)
{
    const struct coder *a = &ivf->coder, *b = &like->coder;
    struct ivf mine = *ivf, theirs = *like;

    return ivf->refine == like->refine && a->kind == b->kind && a->type == b->type && a->metric == b->metric &&
           a->dim == b->dim && a->code_dim == b->code_dim && a->exact == b->exact && a->turned == b->turned &&
           a->lean == b->lean && a->ahead == b->ahead && a->pq.m == b->pq.m && a->pq.bits == b->pq.bits &&
           a->rabitq.bits == b->rabitq.bits && a->rabitq.fine == b->rabitq.fine && a->refiner.kind == b->refiner.kind &&
           ivf_state_layout(&mine, NULL) == ivf_state_layout(&theirs, NULL);
}

vecdb_status ivf_build_like(const struct ivf_kind *kind, const struct ivf *like, const struct vectors *vectors,
                            vecdb_metric metric, const struct params *params, const struct index_build_context *context,
                            struct index **out)
{
    struct ivf *ivf = ivf_create(kind, vectors, metric);
    struct ivf_job job = {.ivf = ivf, .vectors = vectors, .context = context};
    uint32_t *rows = NULL;
    uint16_t *order = NULL;
    bool bytes;
    vecdb_status status;

    *out = NULL;
    if (!ivf)
        return error_nomem(kind->owner);
    bytes = kind->may_be_bytes && vectors_are_bytes(vectors);
    status = kind->choose(vectors, params, bytes, &ivf->coder);
    if (status == VECDB_OK && like && like->coder.kind == CODE_BYTES && ivf->coder.kind == CODE_BYTES)
        ivf->coder.ahead = like->coder.ahead;
    else if (status == VECDB_OK)
        status = planes_choose(&ivf->coder, vectors, &order);
    if (status == VECDB_OK) {
        coder_layout(&ivf->coder);
        rows = present_rows(vectors, 0, &job.row_count);
        job.rows = rows;
        job.order = order;
        ivf->refine = kind->refines(params);
        ivf->coder.refiner = (struct refiner){.type = vectors->type, .metric = metric, .dim = vectors->dim};
        if (ivf->refine && !ivf->coder.exact && kind->refine_kind)
            ivf->coder.refiner.kind = kind->refine_kind(vectors, params, bytes);
        ivf->list_count_given = params_given(params, "nlist");
        ivf->list_count = ivf->list_count_given ? (size_t)params_get(params, "nlist")
                                                : ivf_default_lists(job.row_count, ivf->coder.code_dim);
        if (ivf->coder.lean && !ivf->list_count_given)
            ivf->list_count = ivf_lean_lists(&ivf->coder, job.row_count, ivf->list_count);
        if (like && lists_fit(ivf, like)) {
            job.like = like;
            ivf->list_count = like->list_count;
        }
        if (ivf->coder.lean)
            ivf_lean_plan(&ivf->coder, job.row_count, ivf->list_count);
        if (like && (!job.like || !learns_alike(ivf, like))) { /* once more, from the beginning */
            mem_free(rows);
            ivf_free(&ivf->base);
            return ivf_build(kind, vectors, metric, params, context, out);
        }
        job.lists = mem_array_alloc(job.row_count + 1, sizeof *job.lists);
        status = rows && job.lists ? build_all(&job) : error_nomem(kind->owner);
    }
    mem_free(rows);
    mem_free(order);
    mem_free(job.lists);
    if (status != VECDB_OK) {
        ivf_free(&ivf->base);
        return status;
    }
    *out = &ivf->base;
    return VECDB_OK;
}

vecdb_status ivf_build(const struct ivf_kind *kind, const struct vectors *vectors, vecdb_metric metric,
                       const struct params *params, const struct index_build_context *context, struct index **out)
{
    return ivf_build_like(kind, NULL, vectors, metric, params, context, out);
}

/* -- growing */

/* The rows of parts 1 .. and their lists, behind the *count that are there. */
static void gather_added(struct ivf_job *job, const struct ivf_view *view, uint32_t *rows, size_t *count)
{
    for (size_t p = 1; p < view->part_count; p++) {
        const struct ivf_part *part = view->parts[p];
        for (size_t list = 0; list < part->list_count; list++)
            for (size_t slot = part->starts[list]; slot < part->starts[list] + part->sizes[list]; slot++) {
                rows[*count] = part->rows[slot];
                job->lists[(*count)++] = (uint32_t)list;
            }
    }
}

vecdb_status ivf_add(struct index *index, const struct vectors *vectors, const struct index_build_context *context)
{
    struct ivf *ivf = (struct ivf *)index;
    const struct ivf_view *view = ivf_view(ivf);
    struct ivf_job job = {.ivf = ivf, .vectors = vectors, .context = context};
    struct ivf_part *parts[IVF_PARTS_MAX + 1], *part = NULL, **retired;
    bool merge = view->part_count >= IVF_PARTS_MAX;
    size_t first = view->vectors.row_count, kept = merge ? 1 : view->part_count, added = 0, before = 0;
    struct refine_rows *refine = NULL;
    uint32_t *rows, *all = NULL;
    vecdb_status status;

    for (size_t p = kept; p < view->part_count; p++)
        before += view->parts[p]->row_count;
    rows = present_rows(vectors, first, &added);
    job.lists = mem_array_alloc(added + before + 1, sizeof *job.lists);
    all = mem_array_alloc(added + before + 1, sizeof *all);
    retired = mem_realloc(ivf->retired, (ivf->retired_count + IVF_PARTS_MAX) * sizeof *retired);
    if (retired)
        ivf->retired = retired;
    if (!rows || !job.lists || !all || !retired) {
        status = error_nomem(ivf->kind->owner);
        goto done;
    }
    job.rows = rows;
    job.row_count = added;
    if ((status = assign(&job)) != VECDB_OK)
        goto done;
    memcpy(all, rows, added * sizeof *all);
    if (merge)
        gather_added(&job, view, all, &added);
    job.rows = all;
    job.row_count = added;
    if ((status = make_part(&job, &part)) != VECDB_OK)
        goto done;
    memcpy(parts, view->parts, kept * sizeof *parts);
    parts[kept] = part;
    status = ivf_refine_rows(ivf, vectors, view->refine, context, &refine);
    if (status == VECDB_OK)
        status = ivf_publish(ivf, vectors, parts, kept + 1, refine);
    if (status != VECDB_OK) {
        mem_free(refine);
        ivf_part_free(part);
        goto done;
    }
    for (size_t p = kept; p < view->part_count; p++)
        ivf->retired[ivf->retired_count++] = view->parts[p];
    index->vectors = *vectors;
done:
    mem_free(rows);
    mem_free(all);
    mem_free(job.lists);
    return status;
}
