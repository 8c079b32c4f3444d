/* The copies of all rows that estimates are reranked with. */
#include "index/ivf_state.h"

#include "base/bitmap.h"
#include "base/mem.h"

#include <string.h>

#define COPY_ROWS 2048

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
