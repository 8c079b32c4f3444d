#include "index/graph_lists_memo.h"

#include "base/mem.h"

#include <math.h>

#define MADE_AFTER 1     /* scans under a filter, before it pays: it costs about half of one */
#define NOTED_FIRST 16   /* searches, for fewer conclude nothing (UNSEEN); then every so many-th: */
#define NOTED_LATER 24
#define NOTED_LEAST 6    /* of fewer nothing is concluded */
#define NOTED_MOST 128.0 /* then they count half */
#define LOSS_SHARE 0.35  /* of what the recall allows, that ending early may cost; */
#define LOSS_FEW 0.45    /* the same to the nearest few, of which the walk that follows brings some back */
#define FEW 16
#define USUAL_OVER 8     /* searches that a mean is over, nearly */
#define WALKS_LEAST 4
#define CAUTION GRAPH_MEMO_RATIO
#define WORTH 1.5        /* times what may be missed without knowing the filter */
#define DOUBT 1.0        /* standard errors that the mean may be out by */
#define UNSEEN 0.005     /* variance of searches not noted: a few that lost nothing tell little of those that will */

static void memo_free(struct index_memo *kept)
{
    struct graph_lists_memo *memo = (struct graph_lists_memo *)kept;

    pthread_mutex_destroy(&memo->lock);
    mem_free(memo->places);
    mem_free(memo->counts);
    mem_free(memo);
}

static size_t memo_bytes(const struct graph_lists *lists)
{
    return sizeof(struct graph_lists_memo) + (bitmap_words(lists->row_count) + 1) * sizeof(uint64_t) + lists->count * sizeof(uint32_t);
}

static struct graph_lists_memo *make(const struct index_search *search, const struct graph_lists *lists)
{
    struct graph_lists_memo *memo = mem_zalloc(sizeof *memo);

    if (!memo)
        return NULL;
    pthread_mutex_init(&memo->lock, NULL);
    memo->base.free = memo_free;
    memo->base.mark = lists->mark;
    memo->base.bytes = memo_bytes(lists);
    memo->places = mem_array_zalloc(bitmap_words(lists->row_count) + 1, sizeof *memo->places);
    memo->counts = mem_array_alloc(lists->count, sizeof *memo->counts);
    if (!memo->places || !memo->counts) {
        memo_free(&memo->base);
        return NULL;
    }
    for (size_t list = 0; list < lists->count; list++) {
        uint32_t count = 0;
        for (size_t i = lists->offsets[list]; i < lists->offsets[list + 1]; i++) {
            uint64_t passes = bitmap_get(search->allowed, lists->rows[i]);
            memo->places[i / 64] |= passes << (i % 64);
            count += (uint32_t)passes;
        }
        memo->counts[list] = count;
    }
    return memo;
}

static struct graph_lists_memo *find(const struct index_search *search, const struct graph_lists *lists)
{
    return search->memos ? (struct graph_lists_memo *)index_memos_find(search->memos, lists->mark) : NULL;
}

struct graph_lists_memo *graph_lists_memo_take(const struct index_search *search, const struct graph_lists *lists)
{
    struct graph_lists_memo *memo = find(search, lists);

    if (memo || !search->memos || !index_memos_begin(search->memos, lists->mark, MADE_AFTER, memo_bytes(lists)))
        return memo;
    memo = make(search, lists);
    index_memos_end(search->memos, memo ? &memo->base : NULL);
    return memo;
}

static struct learnt *learnt_of(struct graph_lists_memo *memo, size_t k)
{
    return &memo->learnt[k < 4 ? 0 : k < 16 ? 1 : k < 48 ? 2 : 3];
}

static double step_at(size_t step) { return GRAPH_MEMO_LEAST * pow(GRAPH_MEMO_RATIO, (double)step); }

double graph_lists_memo_miss(struct graph_lists_memo *memo, size_t k, double miss, double recall, size_t *usual, bool *note)
{
    struct learnt *learnt = learnt_of(memo, k);
    double least = 1 - (k < FEW ? LOSS_FEW : LOSS_SHARE) * (1 - recall), chosen = miss;

    *note = false;
    *usual = 0;
    if (k > GRAPH_TRAIL_K)
        return miss;
    pthread_mutex_lock(&memo->lock);
    *note = learnt->asked < NOTED_FIRST || learnt->asked % NOTED_LATER == 0;
    learnt->asked++;
    *usual = (size_t)learnt->usual;
    for (size_t step = GRAPH_MEMO_STEPS; step-- > 0 && learnt->noted >= NOTED_LEAST;) {
        double mean = learnt->sum[step] / learnt->noted, variance = learnt->squares[step] / learnt->noted - mean * mean;
        if (mean - DOUBT * sqrt(((variance > 0 ? variance : 0) + UNSEEN) / learnt->noted) < least)
            continue;
        chosen = step_at(step);
        break;
    }
    pthread_mutex_unlock(&memo->lock);
    if (k >= FEW)
        chosen /= CAUTION; /* the best of a few looks better than it is */
    return chosen > WORTH * miss ? chosen : miss;
}

void graph_lists_memo_ended(struct graph_lists_memo *memo, size_t k, size_t passed, bool noted)
{
    struct learnt *learnt = learnt_of(memo, k);

    if (noted)
        return;
    pthread_mutex_lock(&memo->lock);
    learnt->usual += ((float)passed - learnt->usual) / (learnt->usual > 0 ? USUAL_OVER : 1);
    pthread_mutex_unlock(&memo->lock);
}

bool graph_lists_memo_far(const struct index_search *search, const struct graph_lists *lists)
{
    struct graph_lists_memo *memo = find(search, lists);
    unsigned walks, vain;

    if (!memo)
        return false;
    walks = atomic_load_explicit(&memo->walks, memory_order_relaxed);
    vain = atomic_load_explicit(&memo->vain, memory_order_relaxed);
    return walks >= WALKS_LEAST && vain > walks / 2;
}

void graph_lists_memo_walked(const struct index_search *search, const struct graph_lists *lists, bool in_vain)
{
    struct graph_lists_memo *memo = find(search, lists);

    if (!memo)
        return;
    atomic_fetch_add_explicit(&memo->walks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&memo->vain, in_vain, memory_order_relaxed);
}

void graph_trail_add(struct graph_trail *trail, const struct graph_pool *pool, double expected)
{
    size_t count = pool->count < trail->k ? pool->count : trail->k;

    if (trail->checks == GRAPH_TRAIL_CHECKS)
        return;
    trail->expected[trail->checks] = expected;
    trail->counts[trail->checks] = count;
    memcpy(trail->keys + trail->checks++ * trail->k, pool->keys, count * sizeof *pool->keys);
}

/* The share of the answers that a search had at a check; both are sorted. */
static double share_had(const struct graph_trail *trail, size_t check, const struct graph_pool *found)
{
    const uint64_t *keys = trail->keys + check * trail->k;
    size_t all = found->count < trail->k ? found->count : trail->k, had = 0;

    for (size_t i = 0, j = 0; i < trail->counts[check] && j < all;) {
        had += keys[i] == found->keys[j];
        if (keys[i] <= found->keys[j])
            i++;
        else
            j++;
    }
    return all ? (double)had / (double)all : 1;
}

void graph_lists_memo_note(struct graph_lists_memo *memo, const struct graph_trail *trail, const struct graph_pool *found)
{
    struct learnt *learnt = learnt_of(memo, trail->k);
    double shares[GRAPH_TRAIL_CHECKS];

    for (size_t c = 0; c < trail->checks; c++)
        shares[c] = share_had(trail, c, found);
    pthread_mutex_lock(&memo->lock);
    if (learnt->noted >= NOTED_MOST) {
        learnt->noted /= 2;
        for (size_t step = 0; step < GRAPH_MEMO_STEPS; step++) {
            learnt->sum[step] /= 2;
            learnt->squares[step] /= 2;
        }
    }
    for (size_t step = 0; step < GRAPH_MEMO_STEPS; step++) {
        double share = 1; /* of one that would not have ended */
        for (size_t c = 0; c < trail->checks; c++)
            if (trail->expected[c] <= step_at(step)) {
                share = shares[c];
                break;
            }
        learnt->sum[step] += share;
        learnt->squares[step] += share * share;
    }
    learnt->noted++;
    pthread_mutex_unlock(&memo->lock);
}
