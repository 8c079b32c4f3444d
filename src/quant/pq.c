#include "quant/pq.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "quant/kmeans.h"
#include "simd/kernels.h"

#include <string.h>

#define ITERATIONS 12
#define ENCODE_ROWS 480

struct train_job {
    const struct pq *pq;
    const float *rows;
    size_t count;
    uint64_t seed;
    float *centroids;
};

/* One part's centroids. */
static vecdb_status train_task(void *context, size_t part, unsigned worker)
{
    struct train_job *job = context;
    size_t dim = job->pq->dim, sub_dim = job->pq->sub_dim;
    struct kmeans_options options = {
        .clusters = pq_centroids(job->pq), .iterations = ITERATIONS, .seed = job->seed + part, .stage = "codebook"};
    float *rows = mem_array_alloc(job->count + 1, sub_dim * sizeof *rows);
    vecdb_status status;

    if (!rows)
        return error_nomem("codebook");
    for (size_t i = 0; i < job->count; i++)
        memcpy(rows + i * sub_dim, job->rows + i * dim + part * sub_dim, sub_dim * sizeof *rows);
    status = kmeans_train(rows, job->count, sub_dim, &options,
                          job->centroids + part * pq_centroids(job->pq) * sub_dim);
    mem_free(rows);
    return status;
}

vecdb_status pq_train(const struct pq *pq, const float *rows, size_t count, uint64_t seed, struct pool *pool,
                      float *centroids)
{
    struct train_job job = {pq, rows, count, seed, centroids};

    return pool_run(pool, pq->m, train_task, &job);
}

struct pq_encoder {
    struct pq pq;
    size_t scratch_floats;
    struct kmeans_assigner parts[];
};

vecdb_status pq_encoder_create(const struct pq *pq, struct pq_encoder **out)
{
    struct pq_encoder *encoder = mem_zalloc(sizeof *encoder + pq->m * sizeof encoder->parts[0]);

    *out = NULL;
    if (!encoder)
        return error_nomem("codebook");
    encoder->pq = *pq;
    for (uint32_t part = 0; part < pq->m; part++) {
        vecdb_status status =
            kmeans_assigner_init(&encoder->parts[part], pq->centroids + part * pq_centroids(pq) * pq->sub_dim,
                                 pq_centroids(pq), pq->sub_dim);
        if (status != VECDB_OK) {
            pq_encoder_free(encoder);
            return status;
        }
    }
    encoder->scratch_floats = kmeans_scratch_floats(&encoder->parts[0]);
    *out = encoder;
    return VECDB_OK;
}

void pq_encoder_free(struct pq_encoder *encoder)
{
    if (!encoder)
        return;
    for (uint32_t part = 0; part < encoder->pq.m; part++)
        kmeans_assigner_deinit(&encoder->parts[part]);
    mem_free(encoder);
}

vecdb_status pq_encode(const struct pq_encoder *encoder, const float *rows, size_t count, uint8_t *codes)
{
    const struct pq *pq = &encoder->pq;
    uint32_t numbers[ENCODE_ROWS];
    float *scratch = mem_aligned_alloc(64, encoder->scratch_floats * sizeof *scratch);

    if (!scratch)
        return error_nomem("encoding");
    for (size_t first = 0; first < count; first += ENCODE_ROWS) {
        size_t n = count - first < ENCODE_ROWS ? count - first : ENCODE_ROWS;
        for (uint32_t part = 0; part < pq->m; part++) {
            kmeans_assign(&encoder->parts[part], rows + first * pq->dim + part * pq->sub_dim, pq->dim, n, scratch,
                          numbers, NULL);
            for (size_t i = 0; i < n; i++)
                codes[(first + i) * pq->m + part] = (uint8_t)numbers[i];
        }
    }
    mem_free(scratch);
    return VECDB_OK;
}

void pq_decode(const struct pq *pq, const uint8_t *code, float *x)
{
    for (uint32_t part = 0; part < pq->m; part++)
        memcpy(x + part * pq->sub_dim, pq->centroids + (part * pq_centroids(pq) + code[part]) * pq->sub_dim,
               pq->sub_dim * sizeof *x);
}

void pq_columns(const struct pq *pq, float *columns)
{
    size_t entries = pq_centroids(pq), sub_dim = pq->sub_dim;

    for (uint32_t part = 0; part < pq->m; part++)
        for (size_t c = 0; c < entries; c++)
            for (size_t i = 0; i < sub_dim; i++)
                columns[(part * sub_dim + i) * entries + c] = pq->centroids[(part * entries + c) * sub_dim + i];
}

/* 16 entries at a time, so that their sums stay in registers. */
void pq_table(const struct pq *pq, const float *q, float factor, float *table)
{
    size_t entries = pq_centroids(pq), sub_dim = pq->sub_dim;

    for (uint32_t part = 0; part < pq->m; part++) {
        const float *columns = pq->columns + part * entries * sub_dim, *sub = q + part * sub_dim;
        for (size_t c = 0; c < entries; c += 16) {
            float sums[16] = {0};
            for (size_t i = 0; i < sub_dim; i++)
                for (size_t j = 0; j < 16; j++)
                    sums[j] += sub[i] * columns[i * entries + c + j];
            for (size_t j = 0; j < 16; j++)
                table[part * entries + c + j] = factor * sums[j];
        }
    }
}
