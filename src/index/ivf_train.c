/* What lists and codes are learned from: how many lists, centroids, codebooks, and how many lists bring which recall. */
#include "index/ivf_job.h"

#include "base/mem.h"
#include "base/rng.h"
#include "index/flat.h"
#include "quant/kmeans.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE_PER_LIST 48
#define SAMPLE_MIN 4096
#define SAMPLE_BYTES_MAX ((size_t)1 << 31)
#define ITERATIONS 9
#define CODEBOOK_SAMPLE 65536
#define CALIBRATION_QUERIES 64
#define CALIBRATION_K 10

size_t ivf_default_lists(size_t rows, size_t dim)
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
size_t ivf_lean_lists(const struct coder *coder, size_t rows, size_t lists)
{
    double room = fmax(coder->dim <= 128 ? 3 : lean_bytes_left(coder), 3);
    double most = room * (double)rows / lean_list_bytes(coder);

    return (double)lists < most ? lists : most < 1 ? 1 : (size_t)most;
}

/* One bit more for as many dimensions as there is room for. */
void ivf_lean_plan(struct coder *coder, size_t rows, size_t lists)
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
    struct ivf_job *job = context;
    size_t last = (i + 1) * 1024;

    for (size_t j = i * 1024; j < last && j < job->row_count; j++)
        coder_floats(&job->ivf->coder, vectors_row(job->vectors, job->sample_rows[j]),
                     job->sample + j * job->ivf->coder.code_dim);
    return VECDB_OK;
}

/* `count` of the rows, one from each stretch of them. */
uint32_t *ivf_pick_rows(const struct ivf_job *job, size_t count, uint64_t seed)
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

vecdb_status ivf_train_lists(struct ivf_job *job)
{
    struct ivf *ivf = job->ivf;
    const struct index_build_context *context = job->context;
    size_t dim = ivf->coder.code_dim, count = ivf->list_count * SAMPLE_PER_LIST, most;
    struct kmeans_options options = {.clusters = ivf->list_count, .iterations = ITERATIONS, .seed = context->seed,
                                     .pool = context->pool, .progress = context->progress,
                                     .progress_context = context->progress_context, .stage = "train"};
    struct ivf_job sampling = *job;
    uint32_t *picked;
    vecdb_status status;

    most = SAMPLE_BYTES_MAX / (dim * sizeof(float));
    if (count < SAMPLE_MIN)
        count = SAMPLE_MIN;
    if (count > most)
        count = most;
    if (count > job->row_count)
        count = job->row_count;
    picked = ivf_pick_rows(job, count, context->seed);
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

vecdb_status ivf_train_codebook(struct ivf_job *job)
{
    struct ivf *ivf = job->ivf;
    const struct coder *coder = &ivf->coder;
    size_t dim = coder->code_dim, count = job->row_count < CODEBOOK_SAMPLE ? job->row_count : CODEBOOK_SAMPLE;
    uint32_t *picked;
    float *residuals;
    vecdb_status status = VECDB_OK;

    if (count > SAMPLE_BYTES_MAX / (dim * sizeof(float)))
        count = SAMPLE_BYTES_MAX / (dim * sizeof(float));
    picked = ivf_pick_rows(job, count, job->context->seed + 1);
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

static int compare_ranks(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* So many lists have to be asked for that `list`, the rank-th nearest, is among those that are found: by groups some are missed. near: room
 * for one of each. */
static vecdb_status rank_found(const struct ivf *ivf, const float *floats, const struct index_search *search, uint32_t list,
                               struct hit *near, uint32_t *rank)
{
    if (!ivf->grouped)
        return VECDB_OK;
    for (size_t want = *rank; want < ivf->list_count; want += want / 4 + 1) {
        TRY(ivf_coarse(ivf, floats, 1, want, search, near));
        for (size_t i = 0; i < want; i++)
            if (near[i].row == list) {
                *rank = (uint32_t)want;
                return VECDB_OK;
            }
    }
    *rank = (uint32_t)ivf->list_count;
    return VECDB_OK;
}

/* How many lists bring which recall, found with rows of the index as queries. They lie nearer to their neighbours' lists
 * than strangers do, so the result is taken a little larger. */
vecdb_status ivf_calibrate(struct ivf_job *job)
{
    struct ivf *ivf = job->ivf;
    const struct coder *coder = &ivf->coder;
    size_t queries = job->row_count < CALIBRATION_QUERIES ? job->row_count : CALIBRATION_QUERIES, n = 0;
    size_t k = CALIBRATION_K + 1 < job->row_count ? CALIBRATION_K + 1 : job->row_count, width = job->vectors->width;
    uint32_t *picked = NULL, *list_of = NULL, *ranks = NULL;
    uint8_t *matrix = NULL;
    float *floats = NULL;
    struct hit *hits = NULL, *lists = NULL, *near = NULL;
    size_t *counts = NULL;
    struct index_search search = {.query_count = queries, .query_stride = width, .k = k, .pool = job->context->pool};
    vecdb_status status = VECDB_OK;

    for (size_t i = 0; i < IVF_TARGETS; i++)
        ivf->probes[i] = 1;
    if (queries == 0)
        return VECDB_OK;
    picked = ivf_pick_rows(job, queries, job->context->seed + 3);
    list_of = mem_array_zalloc(job->vectors->row_count, sizeof *list_of);
    ranks = mem_array_alloc(queries * k, sizeof *ranks);
    matrix = mem_array_alloc(queries, width);
    floats = mem_aligned_alloc(64, coder->code_dim * sizeof *floats);
    hits = mem_array_alloc(queries * k, sizeof *hits);
    lists = mem_array_alloc(ivf->list_count, sizeof *lists);
    near = mem_array_alloc(ivf->list_count, sizeof *near);
    counts = mem_array_alloc(queries, sizeof *counts);
    if (!picked || !list_of || !ranks || !matrix || !floats || !hits || !lists || !near || !counts) {
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
            ranks[n] = rank + 1;
            if ((status = rank_found(ivf, floats, &search, lists[rank].row, near, &ranks[n++])) != VECDB_OK)
                goto done;
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
    mem_free(near);
    mem_free(counts);
    return status;
}
