/* Inverted lists (Sivic & Zisserman, ICCV 2003; Jegou et al., TPAMI 2011): rows are kept as codes in lists around
 * k-means centroids, and a search scans the lists nearest to the query. Where we depart: what a code needs of its centroid
 * is a number kept beside it, so that nothing about the query is prepared per list.
 *
 * Rows that come later are kept as parts of their own over the same centroids; a search reads a view, an immutable list
 * of parts that is replaced as a whole. */
#include "index/ivf_state.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/rng.h"
#include "index/flat.h"
#include "index/ivf_planes.h"
#include "quant/kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_PER_LIST 48
#define SAMPLE_MIN 4096
#define SAMPLE_BYTES_MAX ((size_t)1 << 31)
#define ITERATIONS 9
#define CODEBOOK_SAMPLE 65536
#define BALANCE_ROUNDS 4
#define ASSIGN_ROWS 1920
#define COPY_ROWS 2048
#define SLICE_TASKS 64        /* tasks between two calls of progress */
#define COARSE_CODED_MIN 512  /* lists whose centroids are worth codes */
#define CALIBRATION_QUERIES 64
#define CALIBRATION_K 10

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

static void part_free(struct ivf_part *part)
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
        part_free(view->parts[i]);
    for (struct ivf_view *older; view; view = older) {
        older = view->older;
        mem_free(view->refine);
        mem_free(view);
    }
    for (size_t i = 0; i < ivf->refine_block_count; i++)
        mem_free(ivf->refine_blocks[i]);
    mem_free(ivf->refine_blocks);
    for (size_t i = 0; i < ivf->retired_count; i++)
        part_free(ivf->retired[i]);
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
    struct params params;
    const char *accel = ivf->list_count >= COARSE_CODED_MIN ? "accel=sq8" : "accel=none";

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
    TRY(params_parse(ivf->kind->owner, index_find("FLAT")->build_params, NULL, accel, &params));
    return index_find("FLAT")->build(&ivf->centroid_vectors, coder->l2 ? VECDB_METRIC_L2 : VECDB_METRIC_IP, &params,
                                     &context, &ivf->coarse);
}

/* -- copies for reranking */

struct copy_job {
    const struct refiner *refiner;
    const struct vectors *vectors;
    struct refine_rows *rows;
    size_t first;
};

static vecdb_status copy_task(void *context, size_t i, unsigned worker)
{
    struct copy_job *job = context;
    size_t first = job->first + i * COPY_ROWS, last = first + COPY_ROWS;
    float *spare = mem_array_alloc(job->refiner->dim, 3 * sizeof *spare);
    vecdb_status status = spare ? VECDB_OK : error_nomem("copies for reranking");

    for (size_t row = first; row < last && row < job->vectors->row_count && status == VECDB_OK; row++) {
        uint8_t *out = (uint8_t *)(uintptr_t)vectors_row(&job->rows->vectors, row);
        if (job->vectors->present && !bitmap_get(job->vectors->present, row))
            memset(out, 0, job->rows->vectors.stride);
        else if (!refine_encode(job->refiner, vectors_row(job->vectors, row), out, spare))
            status = error_set(VECDB_ERR_UNSUPPORTED, "row %zu: not all whole numbers 0..255", row);
    }
    mem_free(spare);
    return status;
}

/* A block of their own for the rows from `first` on, as far as it reaches; those before are copied from `old`. */
static const uint8_t *own_block(struct ivf *ivf, size_t stride, const uint8_t *old, size_t rows)
{
    size_t size = stride << ivf->refine_shift;
    uint8_t **blocks = mem_realloc(ivf->refine_blocks, (ivf->refine_block_count + 1) * sizeof *blocks), *block;

    if (!blocks)
        return NULL;
    ivf->refine_blocks = blocks;
    block = mem_aligned_alloc(size >= 2 << 20 ? 2 << 20 : 64, size);
    if (!block)
        return NULL;
    if (rows)
        memcpy(block, old, rows * stride);
    blocks[ivf->refine_block_count++] = block;
    return block;
}

static bool is_owned(const struct ivf *ivf, const uint8_t *block)
{
    for (size_t i = 0; i < ivf->refine_block_count; i++)
        if (ivf->refine_blocks[i] == block)
            return true;
    return false;
}

vecdb_status ivf_refine_rows(struct ivf *ivf, const struct vectors *vectors, const struct refine_rows *before,
                             const struct index_build_context *context, struct refine_rows **out)
{
    const struct refiner *refiner = &ivf->coder.refiner;
    size_t first = before ? before->vectors.row_count : 0, stride = refine_stride(refiner), block_rows, count;
    struct refine_rows *rows;
    struct copy_job job = {.refiner = refiner, .vectors = vectors, .first = first};
    vecdb_status status;

    *out = NULL;
    if (!refiner->kind)
        return VECDB_OK;
    if (!before)
        for (ivf->refine_shift = 6; ivf->refine_shift < 16 && (size_t)1 << ivf->refine_shift < vectors->row_count;)
            ivf->refine_shift++;
    block_rows = (size_t)1 << ivf->refine_shift;
    count = (vectors->row_count + block_rows - 1) / block_rows;
    if (!(rows = mem_alloc(sizeof *rows + (count + 1) * sizeof rows->blocks[0])))
        return error_nomem(ivf->kind->owner);
    rows->vectors = (struct vectors){.type = vectors->type, .dim = vectors->dim, .width = stride, .stride = stride,
                                     .row_count = vectors->row_count, .block_shift = ivf->refine_shift,
                                     .blocks = rows->blocks};
    for (size_t i = 0; i < count; i++) {
        size_t there = first > i * block_rows ? first - i * block_rows : 0; /* rows of the block that are there */
        const uint8_t *old = there ? before->blocks[i] : NULL;
        /* a full block stays, and one of ours may be filled up: nobody reads past the rows of a view */
        rows->blocks[i] = there >= block_rows || (there && is_owned(ivf, old)) ? old : own_block(ivf, stride, old, there);
        if (!rows->blocks[i]) {
            mem_free(rows);
            return error_nomem(ivf->kind->owner);
        }
    }
    job.rows = rows;
    status = pool_run(context->pool, (vectors->row_count - first + COPY_ROWS - 1) / COPY_ROWS, copy_task, &job);
    if (status != VECDB_OK) {
        mem_free(rows);
        return status;
    }
    *out = rows;
    return VECDB_OK;
}

/* -- building */

struct build_job {
    struct ivf *ivf;
    const struct vectors *vectors;
    const struct index_build_context *context;
    const uint32_t *rows; /* that have a value */
    size_t row_count;
    uint32_t *lists;      /* of each of rows */
    struct kmeans_assigner assigner;
    struct ivf_part *part;
    struct pq_encoder *encoder;
    float *sample;
    const uint32_t *sample_rows;
    const uint16_t *order; /* of dimensions, for bytes in two planes */
};

/* Tasks in slices, with progress between them. */
static vecdb_status run_tasks(struct build_job *job, const char *stage, size_t count,
                              vecdb_status (*task)(void *context, size_t i, unsigned worker));

struct slice {
    struct build_job *job;
    size_t first;
    vecdb_status (*task)(void *context, size_t i, unsigned worker);
};

static vecdb_status slice_task(void *context, size_t i, unsigned worker)
{
    struct slice *slice = context;

    return slice->task(slice->job, slice->first + i, worker);
}

static vecdb_status run_tasks(struct build_job *job, const char *stage, size_t count,
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

/* Lists when the user names none: 4 sqrt(n), 16 rows each at least, and centroids of at most 256 MB. */
static size_t default_lists(size_t rows, size_t dim)
{
    size_t lists = (size_t)(4 * sqrt((double)rows)), most = ((size_t)256 << 20) / (dim * sizeof(float));

    if (lists > rows / 16)
        lists = rows / 16;
    if (lists > most)
        lists = most;
    return lists < 1 ? 1 : lists > 65536 ? 65536 : lists;
}

/* Lean codes of 4 bits, or of whole blocks, take bits x dim / 8 + LEAN_BYTES a row at most, with everything that lists need. */
#define LEAN_BYTES 32

/* What is left of that for lists and finer codes; a row's number and two factors take 12. */
static double lean_bytes_left(const struct coder *coder)
{
    return LEAN_BYTES - 12 - ((double)coder->fine_at - coder->dim * coder->rabitq.bits / 8.0);
}

/* A list's centroid as floats and as a code, its size, radius, spread and start. */
static double lean_list_bytes(const struct coder *coder) { return 5.0 * coder->code_dim + 36; }

/* No more lists than there is room for, when the user does not say how many. Where few dimensions could all be finer, that is
 * worth more than lists shorter than some hundred rows. */
static size_t lean_lists(const struct coder *coder, size_t rows, size_t lists)
{
    double room = fmax(coder->dim <= 128 ? 3 : lean_bytes_left(coder), 3);
    double most = room * (double)rows / lean_list_bytes(coder);

    return (double)lists < most ? lists : most < 1 ? 1 : (size_t)most;
}

/* One bit more for as many dimensions as there is room for. */
static void lean_plan(struct coder *coder, size_t rows, size_t lists)
{
    double left = lean_bytes_left(coder) - (double)lists * lean_list_bytes(coder) / (double)(rows + 1) - 1;
    uint32_t most = coder->code_dim / SIMD_CODE_BLOCK * SIMD_CODE_BLOCK, fine = left > 0 ? (uint32_t)left / 8 * 64 : 0;

    coder->rabitq.fine = fine < most ? fine : most;
    coder_layout(coder);
    coder->rabitq.scale = coder->rabitq.fine == coder->code_dim ? rabitq_scale(coder->code_dim, coder->rabitq.bits + 1) / 2
                                                                : rabitq_scale(coder->code_dim, coder->rabitq.bits);
}

static vecdb_status sample_task(void *context, size_t i, unsigned worker)
{
    struct build_job *job = context;
    size_t last = (i + 1) * 1024;

    for (size_t j = i * 1024; j < last && j < job->row_count; j++)
        coder_floats(&job->ivf->coder, vectors_row(job->vectors, job->sample_rows[j]),
                     job->sample + j * job->ivf->coder.code_dim);
    return VECDB_OK;
}

/* `count` of the rows, one from each stretch of them. */
static uint32_t *pick_rows(const struct build_job *job, size_t count, uint64_t seed)
{
    struct rng rng = rng_seeded(seed);
    uint32_t *picked = mem_array_alloc(count + 1, sizeof *picked);

    for (size_t i = 0; picked && i < count; i++) {
        size_t low = (size_t)((unsigned __int128)i * job->row_count / count);
        size_t high = (size_t)((unsigned __int128)(i + 1) * job->row_count / count);
        picked[i] = (uint32_t)(low + rng_below(&rng, high > low ? high - low : 1));
    }
    return picked;
}

static vecdb_status train_lists(struct build_job *job)
{
    struct ivf *ivf = job->ivf;
    const struct index_build_context *context = job->context;
    size_t dim = ivf->coder.code_dim, count = ivf->list_count * SAMPLE_PER_LIST, most;
    struct kmeans_options options = {.clusters = ivf->list_count, .iterations = ITERATIONS, .seed = context->seed,
                                     .pool = context->pool, .progress = context->progress,
                                     .progress_context = context->progress_context, .stage = "train"};
    struct build_job sampling = *job;
    uint32_t *picked;
    vecdb_status status;

    most = SAMPLE_BYTES_MAX / (dim * sizeof(float));
    if (count < SAMPLE_MIN)
        count = SAMPLE_MIN;
    if (count > most)
        count = most;
    if (count > job->row_count)
        count = job->row_count;
    picked = pick_rows(job, count, context->seed);
    for (size_t i = 0; picked && i < count; i++)
        picked[i] = job->rows[picked[i]];
    sampling.sample_rows = picked;
    sampling.row_count = count;
    sampling.sample = mem_array_alloc(count * dim + 1, sizeof(float));
    if (picked && sampling.sample) {
        status = pool_run(context->pool, (count + 1023) / 1024, sample_task, &sampling);
        if (status == VECDB_OK)
            status = kmeans_train(sampling.sample, count, dim, &options, (float *)(uintptr_t)ivf->centroids);
    } else {
        status = error_nomem(ivf->kind->owner);
    }
    if (status == VECDB_OK && ivf->mean) { /* the mean of the sample */
        float *mean = (float *)(uintptr_t)ivf->mean;
        memset(mean, 0, dim * sizeof *mean);
        for (size_t i = 0; i < count; i++) {
            simd_codes()->scale_f32(sampling.sample + i * dim, dim, 1 / (float)count);
            simd_codes()->add_f32(mean, sampling.sample + i * dim, dim);
        }
        for (size_t i = 0; i < dim; i++)
            if (!isfinite(mean[i]))
                mean[i] = 0;
    }
    mem_free(picked);
    mem_free(sampling.sample);
    return status;
}

static vecdb_status assign_task(void *context, size_t i, unsigned worker)
{
    struct build_job *job = context;
    const struct coder *coder = &job->ivf->coder;
    size_t first = i * ASSIGN_ROWS, n = job->row_count - first < ASSIGN_ROWS ? job->row_count - first : ASSIGN_ROWS;
    size_t dim = coder->code_dim;
    float *rows = mem_aligned_alloc(64, n * dim * sizeof *rows);
    float *scratch = mem_aligned_alloc(64, kmeans_scratch_floats(&job->assigner) * sizeof *scratch);

    if (!rows || !scratch) {
        mem_free(rows);
        mem_free(scratch);
        return error_nomem("assigning rows to lists");
    }
    for (size_t j = 0; j < n; j++)
        coder_floats(coder, vectors_row(job->vectors, job->rows[first + j]), rows + j * dim);
    kmeans_assign(&job->assigner, rows, dim, n, scratch, job->lists + first, NULL);
    mem_free(rows);
    mem_free(scratch);
    return VECDB_OK;
}

static vecdb_status assign(struct build_job *job)
{
    struct ivf *ivf = job->ivf;
    vecdb_status status;

    TRY(kmeans_assigner_init(&job->assigner, ivf->centroids, ivf->list_count, ivf->coder.code_dim));
    status = run_tasks(job, "assign", (job->row_count + ASSIGN_ROWS - 1) / ASSIGN_ROWS, assign_task);
    kmeans_assigner_deinit(&job->assigner);
    return status;
}

/* Until no list is far too long, or nothing more comes of it. */
static vecdb_status balance(struct build_job *job)
{
    struct ivf_assignment rows = {job->vectors, job->rows, job->lists, job->row_count};
    uint32_t *moved = mem_array_alloc(job->row_count + 1, sizeof *moved);
    uint32_t *anew = mem_array_alloc(job->row_count + 1, sizeof *anew), *lists = NULL;
    vecdb_status status = moved && anew ? VECDB_OK : error_nomem(job->ivf->kind->owner);

    for (int round = 0; round < BALANCE_ROUNDS && status == VECDB_OK; round++) {
        struct build_job part = *job;
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

static vecdb_status train_codebook(struct build_job *job)
{
    struct ivf *ivf = job->ivf;
    const struct coder *coder = &ivf->coder;
    size_t dim = coder->code_dim, count = job->row_count < CODEBOOK_SAMPLE ? job->row_count : CODEBOOK_SAMPLE;
    uint32_t *picked;
    float *residuals;
    vecdb_status status = VECDB_OK;

    if (count > SAMPLE_BYTES_MAX / (dim * sizeof(float)))
        count = SAMPLE_BYTES_MAX / (dim * sizeof(float));
    picked = pick_rows(job, count, job->context->seed + 1);
    residuals = mem_array_alloc(count * dim + 1, sizeof *residuals);
    if (picked && residuals) {
        for (size_t i = 0; i < count; i++) {
            float *residual = residuals + i * dim;
            coder_floats(coder, vectors_row(job->vectors, job->rows[picked[i]]), residual);
            simd_codes()->sub_f32(residual, ivf->centroids + job->lists[picked[i]] * dim, dim, residual);
        }
        if (job->context->progress && !job->context->progress(job->context->progress_context, "codebook", 0, 1))
            status = error_set(VECDB_ERR_CANCELLED, "%s: cancelled", ivf->kind->owner);
        else
            status = pq_train(&coder->pq, residuals, count, job->context->seed + 2, job->context->pool,
                              (float *)(uintptr_t)ivf->codebook);
    } else {
        status = error_nomem(ivf->kind->owner);
    }
    mem_free(picked);
    mem_free(residuals);
    return status;
}

static vecdb_status encode_task(void *context, size_t i, unsigned worker)
{
    struct build_job *job = context;
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
static vecdb_status make_part(struct build_job *job, struct ivf_part **out)
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
        part_free(part);
        return status;
    }
    *out = part;
    return VECDB_OK;
}

static int compare_ranks(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* How many lists bring which recall, found with rows of the index as queries. They lie nearer to their neighbours' lists
 * than strangers do, so the result is taken a little larger. */
static vecdb_status calibrate(struct build_job *job)
{
    struct ivf *ivf = job->ivf;
    const struct coder *coder = &ivf->coder;
    size_t queries = job->row_count < CALIBRATION_QUERIES ? job->row_count : CALIBRATION_QUERIES, n = 0;
    size_t k = CALIBRATION_K + 1 < job->row_count ? CALIBRATION_K + 1 : job->row_count, width = job->vectors->width;
    uint32_t *picked = NULL, *list_of = NULL, *ranks = NULL;
    uint8_t *matrix = NULL;
    float *floats = NULL;
    struct hit *hits = NULL, *lists = NULL;
    size_t *counts = NULL;
    struct index_search search = {.query_count = queries, .query_stride = width, .k = k, .pool = job->context->pool};
    vecdb_status status = VECDB_OK;

    for (size_t i = 0; i < IVF_TARGETS; i++)
        ivf->probes[i] = 1;
    if (queries == 0)
        return VECDB_OK;
    picked = pick_rows(job, queries, job->context->seed + 3);
    list_of = mem_array_zalloc(job->vectors->row_count, sizeof *list_of);
    ranks = mem_array_alloc(queries * k, sizeof *ranks);
    matrix = mem_array_alloc(queries, width);
    floats = mem_aligned_alloc(64, coder->code_dim * sizeof *floats);
    hits = mem_array_alloc(queries * k, sizeof *hits);
    lists = mem_array_alloc(ivf->list_count, sizeof *lists);
    counts = mem_array_alloc(queries, sizeof *counts);
    if (!picked || !list_of || !ranks || !matrix || !floats || !hits || !lists || !counts) {
        status = error_nomem(ivf->kind->owner);
        goto done;
    }
    for (size_t i = 0; i < job->row_count; i++)
        list_of[job->rows[i]] = job->lists[i];
    for (size_t q = 0; q < queries; q++)
        memcpy(matrix + q * width, vectors_row(job->vectors, job->rows[picked[q]]), width);
    search.queries = matrix;
    if ((status = flat_search(job->vectors, coder->metric, &search, hits, counts, NULL)) != VECDB_OK)
        goto done;
    for (size_t q = 0; q < queries; q++) {
        coder_floats(coder, matrix + q * width, floats);
        if ((status = ivf_coarse(ivf, floats, 1, ivf->list_count, &search, lists)) != VECDB_OK)
            goto done;
        for (size_t i = 0; i < counts[q]; i++) {
            uint32_t rank = 0;
            if (hits[q * k + i].row == job->rows[picked[q]] && counts[q] > 1)
                continue;
            while (rank + 1 < ivf->list_count && lists[rank].row != list_of[hits[q * k + i].row])
                rank++;
            ranks[n++] = rank + 1;
        }
    }
    qsort(ranks, n, sizeof *ranks, compare_ranks);
    for (size_t i = 0; i < IVF_TARGETS && n; i++) {
        size_t at = (size_t)((double)ivf_targets[i] * (double)n);
        double probes = 1.25 * ranks[at < n ? at : n - 1] + 0.5;
        ivf->probes[i] = probes < (double)ivf->list_count ? (uint32_t)probes : (uint32_t)ivf->list_count;
    }
done:
    mem_free(picked);
    mem_free(list_of);
    mem_free(ranks);
    mem_free(matrix);
    mem_free(floats);
    mem_free(hits);
    mem_free(lists);
    mem_free(counts);
    return status;
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
    if (ivf->order)
        memcpy((void *)(uintptr_t)ivf->order, order, ivf->coder.dim * sizeof *order);
    ivf->coder.order = ivf->order;
    return VECDB_OK;
}

static vecdb_status build_all(struct build_job *job)
{
    struct ivf *ivf = job->ivf;
    struct ivf_part *part;
    struct refine_rows *refine = NULL;
    vecdb_status status;

    TRY(make_state(ivf, job->context->seed, job->order));
    if (ivf->refine_mean) {
        float *spare = mem_array_alloc(ivf->coder.dim, sizeof *spare);
        if (!spare)
            return error_nomem(ivf->kind->owner);
        refine_mean(&ivf->coder.refiner, job->vectors, (float *)(uintptr_t)ivf->refine_mean, spare);
        mem_free(spare);
    }
    TRY(train_lists(job));
    TRY(assign(job));
    TRY(balance(job));
    if (ivf->coder.kind == CODE_PQ)
        TRY(train_codebook(job));
    TRY(make_part(job, &part));
    status = ivf_derive(ivf);
    if (status == VECDB_OK)
        status = calibrate(job);
    if (status == VECDB_OK)
        status = ivf_refine_rows(ivf, job->vectors, NULL, job->context, &refine);
    if (status == VECDB_OK)
        status = ivf_publish(ivf, job->vectors, &part, 1, refine);
    if (status != VECDB_OK) {
        mem_free(refine);
        part_free(part);
    }
    return status;
}

vecdb_status ivf_build(const struct ivf_kind *kind, const struct vectors *vectors, vecdb_metric metric,
                       const struct params *params, const struct index_build_context *context, struct index **out)
{
    struct ivf *ivf = ivf_create(kind, vectors, metric);
    struct build_job job = {.ivf = ivf, .vectors = vectors, .context = context};
    uint32_t *rows = NULL;
    uint16_t *order = NULL;
    bool bytes;
    vecdb_status status;

    *out = NULL;
    if (!ivf)
        return error_nomem(kind->owner);
    bytes = kind->may_be_bytes && vectors_are_bytes(vectors);
    status = kind->choose(vectors, params, bytes, &ivf->coder);
    if (status == VECDB_OK)
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
                                                : default_lists(job.row_count, ivf->coder.code_dim);
        if (ivf->coder.lean) {
            if (!ivf->list_count_given)
                ivf->list_count = lean_lists(&ivf->coder, job.row_count, ivf->list_count);
            lean_plan(&ivf->coder, job.row_count, ivf->list_count);
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

/* -- growing */

/* The rows of parts 1 .. once more, as job->rows. */
static vecdb_status gather_added(struct build_job *job, const struct ivf_view *view, uint32_t *rows, size_t *count)
{
    for (size_t p = 1; p < view->part_count; p++) {
        const struct ivf_part *part = view->parts[p];
        for (size_t list = 0; list < part->list_count; list++)
            for (size_t slot = part->starts[list]; slot < part->starts[list] + part->sizes[list]; slot++) {
                rows[*count] = part->rows[slot];
                job->lists[(*count)++] = (uint32_t)list;
            }
    }
    return VECDB_OK;
}

vecdb_status ivf_add(struct index *index, const struct vectors *vectors, const struct index_build_context *context)
{
    struct ivf *ivf = (struct ivf *)index;
    const struct ivf_view *view = ivf_view(ivf);
    struct build_job job = {.ivf = ivf, .vectors = vectors, .context = context};
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
        part_free(part);
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
    if (ivf->coarse) { /* FLAT: all of it */
        ivf->coarse->ops->reads(ivf->coarse, &coarse);
        out->query = ivf->list_count * coarse.row;
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
