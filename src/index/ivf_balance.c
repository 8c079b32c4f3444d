/* Lists that came out far too long, where rows crowd in few places and centroids went to the many that lie apart: such lists are
 * cut by k-means of their own rows, and the centroids for that are taken from lists that are nearly empty. */
#include "index/ivf_state.h"

#include "base/mem.h"
#include "base/rng.h"
#include "quant/kmeans.h"

#include <stdlib.h>
#include <string.h>

#define LONG 5         /* times the mean: lists that are cut */
#define PIECE 2        /* times the mean: what they are cut into, about */
#define SHORT 4        /* lists of less than the mean / SHORT give their centroid away */
#define PIECE_SAMPLE 64 /* rows of a piece that it is trained on */
#define ITERATIONS 6

struct size_of_list {
    uint32_t list;
    size_t size;
};

static int by_size(const void *a, const void *b)
{
    const struct size_of_list *x = a, *y = b;

    if (x->size != y->size)
        return x->size < y->size ? -1 : 1;
    return (x->list > y->list) - (x->list < y->list);
}

/* k-means of some rows of `list`: its centroid and those of `donors` become the centres of its pieces. */
static vecdb_status cut(struct ivf *ivf, const struct ivf_assignment *rows, struct size_of_list list,
                        const struct size_of_list *donors, size_t donor_count, const struct index_build_context *context)
{
    size_t dim = ivf->coder.code_dim, pieces = donor_count + 1, most = pieces * PIECE_SAMPLE, n = 0, seen = 0;
    struct kmeans_options options = {.clusters = pieces, .iterations = ITERATIONS, .seed = context->seed + list.list,
                                     .pool = context->pool, .stage = "train"};
    float *sample, *centroids, *to = (float *)(uintptr_t)ivf->centroids;
    vecdb_status status;

    if (most > list.size)
        most = list.size;
    sample = mem_array_alloc(most * dim + 1, sizeof *sample);
    centroids = mem_array_alloc(pieces * dim, sizeof *centroids);
    status = sample && centroids ? VECDB_OK : error_nomem(ivf->kind->owner);
    for (size_t i = 0; i < rows->count && status == VECDB_OK; i++) { /* evenly from all of the list */
        if (rows->lists[i] != list.list)
            continue;
        if (n * list.size <= seen * most && n < most)
            coder_floats(&ivf->coder, vectors_row(rows->vectors, rows->rows[i]), sample + n++ * dim);
        seen++;
    }
    if (status == VECDB_OK)
        status = kmeans_train(sample, n, dim, &options, centroids);
    for (size_t i = 0; i < pieces && status == VECDB_OK; i++)
        memcpy(to + (i ? donors[i - 1].list : list.list) * dim, centroids + i * dim, dim * sizeof *to);
    mem_free(sample);
    mem_free(centroids);
    return status;
}

vecdb_status ivf_rebalance(struct ivf *ivf, const struct ivf_assignment *rows, const struct index_build_context *context,
                           uint32_t *moved, size_t *moved_count)
{
    size_t lists = ivf->list_count, mean = rows->count / lists, donor = 0;
    struct size_of_list *sizes = mem_array_alloc(lists, sizeof *sizes);
    bool *touched = mem_array_zalloc(lists, sizeof *touched);
    vecdb_status status = sizes && touched ? VECDB_OK : error_nomem(ivf->kind->owner);

    *moved_count = 0;
    if (status != VECDB_OK)
        goto done;
    for (size_t list = 0; list < lists; list++)
        sizes[list] = (struct size_of_list){(uint32_t)list, 0};
    for (size_t i = 0; i < rows->count; i++)
        sizes[rows->lists[i]].size++;
    qsort(sizes, lists, sizeof *sizes, by_size);
    for (size_t i = lists; i-- > 0 && sizes[i].size > LONG * mean && mean > 0 && status == VECDB_OK;) {
        size_t wanted = sizes[i].size / (PIECE * mean), count = 0;
        while (count < wanted && donor + count < i && sizes[donor + count].size < mean / SHORT + 1)
            touched[sizes[donor + count++].list] = true;
        if (!count)
            break;
        touched[sizes[i].list] = true;
        status = cut(ivf, rows, sizes[i], sizes + donor, count, context);
        donor += count;
    }
    for (size_t i = 0; i < rows->count && donor && status == VECDB_OK; i++)
        if (touched[rows->lists[i]])
            moved[(*moved_count)++] = (uint32_t)i;
done:
    mem_free(sizes);
    mem_free(touched);
    return status;
}
