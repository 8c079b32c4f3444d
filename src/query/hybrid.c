#include "query/hybrid.h"

#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

/* A score of any metric onto [0, 1], larger better. With raw scores only distances are turned round, and that only when
 * they would otherwise be added to similarities. */
static double normalized(vecdb_metric metric, double score)
{
    switch (metric) {
    case VECDB_METRIC_COSINE:
        return (1 + score) / 2;
    case VECDB_METRIC_IP:
        return 0.5 + atan(score) / M_PI;
    default:
        return 1 - 2 * atan(score) / M_PI;
    }
}

struct fused {
    uint32_t view, row;
    double score;
};

static int compare_rows(const void *a, const void *b)
{
    const struct fused *x = a, *y = b;

    if (x->view != y->view)
        return x->view < y->view ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

static int compare_scores(const void *a, const void *b)
{
    const struct fused *x = a, *y = b;

    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return compare_rows(a, b);
}

/* Rows with equal scores come by key. */
static vecdb_status order_ties(const struct snapshot *snapshot, struct fused *fused, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct fused moving = fused[i];
        size_t j = i;
        while (j > 0 && fused[j - 1].score == moving.score) {
            struct found a = {fused[j - 1].view, fused[j - 1].row, 0}, b = {moving.view, moving.row, 0};
            int order;
            TRY(search_compare_keys(snapshot, &a, &b, &order));
            if (order <= 0)
                break;
            fused[j] = fused[j - 1];
            j--;
        }
        fused[j] = moving;
    }
    return VECDB_OK;
}

vecdb_status hybrid_merge(const struct snapshot *snapshot, const struct ranked_list *lists, size_t list_count,
                          const struct ranker *ranker, size_t limit, size_t offset, struct buf *out)
{
    bool distances = false, similarities = false;
    size_t total = 0, n = 0, merged = 0;
    struct fused *fused;
    vecdb_status status;

    for (size_t l = 0; l < list_count; l++) {
        total += lists[l].count;
        if (metric_is_similarity(lists[l].metric))
            similarities = true;
        else
            distances = true;
    }
    fused = mem_array_alloc(total + 1, sizeof *fused);
    if (!fused)
        return error_nomem("hybrid search");
    for (size_t l = 0; l < list_count; l++)
        for (size_t i = 0; i < lists[l].count; i++) {
            double score = lists[l].hits[i].score;
            bool turn = !ranker->raw_scores || (distances && similarities && !metric_is_similarity(lists[l].metric));
            double part = ranker->weighted ? ranker->weights[l] * (turn ? normalized(lists[l].metric, score) : score)
                                           : 1.0 / (ranker->rrf_k + (double)(i + 1));
            if (ranker->weighted && ranker->raw_scores && !turn && distances && !similarities)
                part = -part; /* distances alone: the nearest has to be the largest */
            fused[n++] = (struct fused){lists[l].hits[i].view, lists[l].hits[i].row, part};
        }
    qsort(fused, n, sizeof *fused, compare_rows);
    for (size_t i = 0; i < n; i++) {
        if (merged && compare_rows(&fused[merged - 1], &fused[i]) == 0)
            fused[merged - 1].score += fused[i].score;
        else
            fused[merged++] = fused[i];
    }
    qsort(fused, merged, sizeof *fused, compare_scores);
    status = order_ties(snapshot, fused, merged);
    for (size_t i = offset; i < merged && i - offset < limit && status == VECDB_OK; i++) {
        struct found found = {fused[i].view, fused[i].row, (float)fused[i].score};
        status = buf_append(out, &found, sizeof found);
    }
    mem_free(fused);
    return status;
}
