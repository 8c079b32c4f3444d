/* Scanning lists in the order in which they may hold answers, until no more are to be expected.
 *
 * What decides when to end is a count: of the rows in lists not yet looked at, how many are expected to be nearer than the k-th
 * that was found? A filter may lie to the vectors as it likes, so that passing rows of a list are farther than its rows in
 * general. Therefore the same count is made of the lists behind, where the truth is known: k. What it is out by there is taken to be
 * what it is out by ahead. */
#include "index/graph_lists_memo.h"
#include "index/graph_task.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "simd/graph.h"
#include "simd/kernels.h"

#include <math.h>

#define BATCH 64          /* rows looked at together */
#define ERRORS 2.0f       /* how far below its estimate a distance may be, in standard deviations of it: */
#define ERROR 0.603f      /* sqrt(1 - 2 / pi), in units of b times the query's distance from the centroid */
#define NEAREST_LEAST 12  /* of fewer, too little is known to tell when to end */
#define NOTED_K 4         /* and of fewer a note tells too little */
#define OPTIMISM 2.0f     /* lists come by the distance that few of their rows are below: so many spreads */
#define FIRST_CHECK 48    /* rows scored before it is asked whether to go on; then now and then: */
#define CHECK_MORE 16
#define CHECK_SHARE 5     /* each time a fifth more */
#define RECENT 0.75       /* how long the share of passing rows in lists just scanned is remembered */
#define WALK_POOL 3        /* of the walk from the best found: candidates, */
#define WALK_HOPS 6       /* and hops at most; */
#define WALK_SHARE 0.05   /* none where fewer of the rows near the query pass: it would go among those that do not */
#define LISTS_FIRST 64    /* lists that are put in order, and twice as many each time more are needed */
#define DEADLINE_LISTS 64
#define LOCAL_LISTS 4     /* the nearest, whose share of passing rows says whether a walk is the better way, */
#define LOCAL_SHARE 0.5   /* from this on; or, as a walk to many is dearer than a scan to many, */
#define LOCAL_MANY 0.9
#define MANY 32

/* Places of a list that pass, whose sketches are on their way from memory. */
struct batch {
    float apart; /* how far the query is from the list's centroid, */
    float error; /* and how far estimates may be out, in units of their b */
    size_t count;
    uint32_t places[BATCH];
};

struct list_scan {
    const struct graph_lists_scan *scan;
    struct graph_scratch *scratch;
    float *centre, *slope;    /* per list: where distances lie, and 1 / how they spread */
    uint32_t *tail;           /* where its list's begins */
    float *ahead, *behind;    /* rows that may pass, and passing rows that were looked at; 0 in the other state */
    uint32_t *counted;        /* lists in which rows nearer than the k-th may be */
    size_t counted_count;
    int32_t *order;           /* where each list comes, INT32_MAX once it is in the heap */
    uint64_t *heap;           /* lists to come, the next first: a few of them, for most never do */
    size_t heap_count, heap_room;
    struct batch *waiting;
    size_t held_count, passed, looked_at, next_check, nearest;
    uint64_t *levels;         /* the query's planes, one after another */
    float step, across, scale; /* of these: a level's size, what they give for a way across, a score's unit */
    double recent_passed, recent_rows;
    struct graph_lists_memo *memo; /* or NULL */
    double miss;              /* rows that may be missed, as a share of k */
    struct graph_trail trail; /* of a search that is noted: it has keys */
    float unit;               /* of the scores, in distances of codes */
    int64_t zero;             /* the score of no distance */
    /* what follows is not zeroed */
    struct batch batches[2];  /* one is filled while the other's sketches come */
    uint32_t held[BATCH];     /* rows chosen, on their way from memory while others are looked at */
};

/* ---- the order of lists ---- */

static void sift_down(uint64_t *heap, size_t count, size_t at)
{
    uint64_t moving = heap[at];

    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= moving)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moving;
}

/* Whether there is another list; then it is in the heap. */
static bool more_lists(struct list_scan *work)
{
    uint32_t *chosen = work->scratch->list_chosen;

    if (work->heap_count)
        return true;
    work->heap_count = simd_graph()->smallest_i32(work->order, work->scan->lists->count, work->heap_room, INT32_MAX - 1, chosen);
    work->heap_room *= 2;
    for (size_t i = 0; i < work->heap_count; i++) {
        work->heap[i] = (uint64_t)work->order[chosen[i]] << 32 | chosen[i];
        work->order[chosen[i]] = INT32_MAX;
    }
    for (size_t i = work->heap_count / 2; i-- > 0;)
        sift_down(work->heap, work->heap_count, i);
    return work->heap_count > 0;
}

static size_t next_list(struct list_scan *work)
{
    size_t list = (uint32_t)work->heap[0];

    work->heap[0] = work->heap[--work->heap_count];
    if (work->heap_count)
        sift_down(work->heap, work->heap_count, 0);
    return list;
}

/* Inner products turn into squared distances: rows are of one length, and so would the query be. */
static void choose_unit(struct list_scan *work)
{
    const struct graph_query *query = work->scan->query;
    const struct graph_codec *codec = query->codec;

    work->unit = 1;
    work->zero = 0;
    if (query->kind == GRAPH_CODE_DOT) {
        work->unit = query->length > 0 ? 2 * codec->radius * query->step / (query->length * codec->step) : 1;
        work->zero = query->zero;
    }
}

static size_t level_words(const struct graph_codec *codec) { return align_up(codec->code_dim / 64, 8); }

/* The query as planes of bits, into the space of the sketches. */
static void prepare_planes(struct list_scan *work)
{
    const struct graph_lists *lists = work->scan->lists;
    const struct graph_query *query = work->scan->query;
    const struct graph_codec *codec = query->codec;
    size_t words = codec->code_dim / 64, padded = level_words(codec);
    float *x = work->scratch->floats;

    work->scale = 1;
    if (query->kind == GRAPH_CODE_DOT) {
        float to_steps = query->length > 0 ? codec->radius / (query->length * codec->step) : 0;
        work->scale = 0.5f * query->length * codec->step / (codec->radius * query->step);
        for (size_t d = 0; d < codec->code_dim; d++)
            x[d] = x[d] * to_steps - (codec->mean[d] / codec->step - 128) - lists->center[d];
    } else
        for (size_t d = 0; d < codec->code_dim; d++)
            x[d] = (float)((const uint8_t *)query->code)[d] - lists->center[d];
    simd_codes()->rotate(x, codec->code_dim, lists->signs);
    work->step = simd_graph()->sketch_query(x, codec->code_dim, work->scratch->planes);
    work->across = 7.5f * (float)codec->code_dim * work->step;
    memset(work->levels, 0, 4 * padded * sizeof *work->levels);
    for (size_t i = 0; i < 4 * words; i++)
        work->levels[i % 4 * padded + i / 4] = work->scratch->planes[i];
}

/* Where the distances of all lists lie, without a branch: four lists at a time. */
static void place_lists(struct list_scan *work, float *low)
{
    const struct graph_lists *lists = work->scan->lists;
    bool dot = work->scan->query->kind == GRAPH_CODE_DOT;
    const float *beyond = lists->beyond, *spreads = lists->spread;
    const uint32_t *scores = work->scratch->list_scores;
    float *centre = work->centre, *slope = work->slope, *apart = work->behind, unit = work->unit;
    uint32_t zero = (uint32_t)work->zero;

    for (size_t i = 0; i < lists->count; i++) {
        float distance = (float)(int32_t)(scores[i] - zero) * unit;
        /* a product with the mean is the mean of products; a distance lacks what rows lie beyond the centroid */
        apart[i] = dot ? distance - beyond[i] : distance;
        centre[i] = dot ? distance : distance + beyond[i];
    }
    for (size_t i = 0; i < lists->count; i++) {
        float spread = spreads[i] * sqrtf(apart[i] > 1 ? apart[i] : 1);
        slope[i] = GRAPH_TAIL_PER / (spread > 1e-3f ? spread : 1e-3f);
        low[i] = centre[i] - OPTIMISM * spread;
    }
}

static void order_lists(struct list_scan *work)
{
    const struct graph_lists *lists = work->scan->lists;
    float *low = work->ahead; /* until that is known */

    graph_scores_rows(work->scan->query, lists->centroids, lists->count, work->scratch->list_scores);
    place_lists(work, low);
    for (size_t i = 0; i < lists->count; i++) {
        uint32_t rows = work->memo ? work->memo->counts[i] : lists->offsets[i + 1] - lists->offsets[i], order;
        memcpy(&order, &low[i], sizeof order); /* floats in the order of unsigned numbers, but for their last bit */
        order ^= -(order >> 31) | 1u << 31;
        work->order[i] = rows ? (int32_t)(order >> 1) : INT32_MAX;
        work->counted[work->counted_count] = (uint32_t)i;
        work->counted_count += rows > 0;
        work->tail[i] = (uint32_t)(GRAPH_TAIL_STEPS * graph_tail_of(work->behind[i], lists->beyond[i]));
        work->ahead[i] = (float)rows;
        work->behind[i] = 0;
    }
    work->heap_room = LISTS_FIRST;
}

/* ---- rows ---- */

static void score_rows(struct list_scan *work, const uint32_t *rows, size_t n, struct index_counters *counters)
{
    uint32_t scores[BATCH];

    graph_scores_ahead(work->scan->query, work->scan->state->layers[0].codes, rows, n, scores);
    counters->rows_scored += n;
    for (size_t i = 0; i < n; i++)
        graph_pool_insert(&work->scratch->pool, graph_key(scores[i], rows[i]));
}

static void score_held(struct list_scan *work, struct index_counters *counters)
{
    score_rows(work, work->held, work->held_count, counters);
    work->held_count = 0;
}

/* Of the places that wait, score the rows that may be nearer than the worst found: at once, or when the next are. */
static void score_waiting(struct list_scan *work, struct index_counters *counters)
{
    const struct graph_lists *lists = work->scan->lists;
    const struct graph_codec *codec = work->scan->query->codec;
    const struct graph_pool *pool = &work->scratch->pool;
    struct batch *batch = work->waiting;
    uint32_t rows[BATCH];
    float room;

    if (!batch->count)
        return;
    if (pool->count < pool->capacity) {
        for (size_t i = 0; i < batch->count; i++)
            rows[i] = lists->rows[batch->places[i]];
        score_rows(work, rows, batch->count, counters);
    } else {
        score_held(work, counters);
        room = (float)((int64_t)graph_key_score(pool->keys[pool->count - 1]) - work->zero) / work->scale;
        work->held_count = simd_graph()->sketch_near(work->levels, codec->code_dim / 64, lists->sketches, graph_sketch_size(codec),
                                                     batch->places, batch->count, work->step, work->across + batch->error,
                                                     room - batch->apart, work->held);
        for (size_t i = 0; i < work->held_count; i++) {
            work->held[i] = lists->rows[work->held[i]];
            simd_prefetch(work->scan->state->layers[0].codes + work->held[i] * codec->stride, codec->stride);
        }
    }
    batch->count = 0;
}

/* Rows that came after the lists. */
static vecdb_status scan_newer(struct list_scan *work, struct index_counters *counters)
{
    const struct index_search *search = work->scan->search;
    size_t count = __atomic_load_n(&work->scan->state->layers[0].count, __ATOMIC_ACQUIRE), row = work->scan->lists->row_limit, n = 0;
    uint32_t rows[BATCH];

    for (; (row = bitmap_next(search->allowed, count, row)) < count; row++) {
        rows[n++] = (uint32_t)row;
        if (n == BATCH) {
            score_rows(work, rows, n, counters);
            n = 0;
            TRY(deadline_check(search->deadline));
        }
    }
    score_rows(work, rows, n, counters);
    return VECDB_OK;
}

/* The places from `from` on that pass, as many as a batch takes. Returns where to go on, `to` at the end. */
static size_t take_places(const struct list_scan *work, size_t from, size_t to, struct batch *batch)
{
    const struct graph_lists *lists = work->scan->lists;
    const uint64_t *allowed = work->scan->search->allowed;
    size_t n = 0;

    if (work->memo) {
        while (from < to) { /* word by word; a word that does not fit in whole is left to the next batch */
            uint64_t bits = work->memo->places[from / 64] >> (from % 64);
            size_t span = 64 - from % 64;
            if (span > to - from) {
                span = to - from;
                bits &= ((uint64_t)1 << span) - 1;
            }
            if (n + (size_t)__builtin_popcountll(bits) > BATCH)
                break;
            for (; bits; bits &= bits - 1)
                batch->places[n++] = (uint32_t)(from + (size_t)__builtin_ctzll(bits));
            from += span;
        }
    } else {
        for (; n < BATCH && from < to; from++) {
            batch->places[n] = (uint32_t)from;
            n += bitmap_get(allowed, lists->rows[from]);
        }
    }
    batch->count = n;
    return from;
}

static void scan_list(struct list_scan *work, size_t list, struct index_counters *counters)
{
    const struct graph_lists *lists = work->scan->lists;
    size_t size = graph_sketch_size(work->scan->query->codec);
    size_t from = lists->offsets[list], to = lists->offsets[list + 1], passed = 0;
    float apart = (float)((int64_t)work->scratch->list_scores[list] - work->zero) / work->scale;

    for (size_t at = from; at < to;) {
        struct batch *batch = work->waiting == work->batches ? work->batches + 1 : work->batches;
        at = take_places(work, at, to, batch);
        batch->apart = apart;
        batch->error = ERRORS * ERROR * sqrtf(apart > 0 ? apart : 0);
        for (size_t i = 0; i < batch->count; i++)
            simd_prefetch(lists->sketches + batch->places[i] * size, size);
        passed += batch->count;
        score_waiting(work, counters);
        work->waiting = batch;
    }
    work->ahead[list] = 0;
    work->behind[list] = (float)passed;
    work->passed += passed;
    work->looked_at += to - from;
    work->recent_passed = RECENT * work->recent_passed + (double)passed;
    work->recent_rows = RECENT * work->recent_rows + (double)(to - from);
    counters->hops++;
}

/* ---- whether to go on ---- */

/* Rows expected nearer than the k-th, in the lists ahead, as a share of k. */
static double expected_ahead(struct list_scan *work)
{
    const struct graph_lists *lists = work->scan->lists;
    const struct index_search *search = work->scan->search;
    double left = (double)search->allowed_count - (double)work->passed, rows = (double)lists->row_count - (double)work->looked_at;
    double share = rows > 0 && left > 0 ? left / rows : 0, recent = work->recent_passed / (work->recent_rows + 1);
    int64_t worst = graph_key_score(work->scratch->pool.keys[work->nearest - 1]);
    float kth = (float)(worst - work->zero) * work->unit, ahead = 0, behind = 0;

    for (size_t c = 0; c < work->counted_count;) {
        size_t i = work->counted[c];
        float at = (kth - work->centre[i]) * work->slope[i] - GRAPH_TAIL_FROM * GRAPH_TAIL_PER, expected;
        if (at < 0) { /* none, now and later: the k-th only gets nearer */
            work->counted[c] = work->counted[--work->counted_count];
            continue;
        }
        c++;
        at = at > GRAPH_TAIL_STEPS - 1 ? GRAPH_TAIL_STEPS - 1 : at;
        expected = lists->tail[work->tail[i] + (size_t)at];
        ahead += work->ahead[i] * expected;
        behind += work->behind[i] * expected;
    }
    share = work->memo ? 1 : share > recent ? share : recent < 1 ? recent : 1;
    return share * (double)ahead * ((double)work->nearest + 1) / ((double)behind + 1) / (double)work->nearest;
}

static bool enough(struct list_scan *work, struct index_counters *counters)
{
    double expected;

    if (work->passed < work->next_check)
        return false;
    score_waiting(work, counters);
    score_held(work, counters);
    work->next_check = work->passed + work->passed / CHECK_SHARE + CHECK_MORE;
    if (work->scratch->pool.count < work->nearest)
        return false;
    expected = expected_ahead(work);
    if (work->trail.keys)
        graph_trail_add(&work->trail, &work->scratch->pool, expected);
    return expected <= work->miss;
}

/* What searches before this one under the same filter tell about when to end. */
static void use_memo(struct list_scan *work)
{
    const struct graph_lists_scan *scan = work->scan;
    size_t usual;
    bool note;

    work->miss = scan->miss;
    if (!work->memo)
        return;
    work->miss = graph_lists_memo_miss(work->memo, scan->search->k, scan->miss, scan->recall, &usual, &note);
    if (!note && usual / 2 > work->next_check)
        work->next_check = usual / 2;
    if (!note || scan->search->k < NOTED_K || !(work->trail.keys = work->scratch->trail))
        return;
    work->trail.k = scan->search->k;
    work->miss = scan->miss;
}

/* The share of the rows in the lists nearest to the query that pass. */
static double local_share(const struct list_scan *work)
{
    const struct graph_lists *lists = work->scan->lists;
    uint32_t nearest[LOCAL_LISTS] = {0}, *scores = work->scratch->list_scores;
    size_t count = 0, passing = 0, rows = 0;

    for (uint32_t i = 0; i < lists->count; i++) {
        size_t at = count;
        if (count == LOCAL_LISTS && scores[i] >= scores[nearest[count - 1]])
            continue;
        if (count < LOCAL_LISTS)
            count++;
        else
            at--;
        for (; at > 0 && scores[nearest[at - 1]] > scores[i]; at--)
            nearest[at] = nearest[at - 1];
        nearest[at] = i;
    }
    for (size_t i = 0; i < count; i++) {
        passing += work->memo->counts[nearest[i]];
        rows += lists->offsets[nearest[i] + 1] - lists->offsets[nearest[i]];
    }
    return rows ? (double)passing / (double)rows : 0;
}

static vecdb_status scan_room(struct graph_scratch *scratch, size_t lists, size_t words)
{
    if (scratch->list_room >= lists && scratch->list_words >= words)
        return VECDB_OK;
    lists = lists > scratch->list_room ? lists : scratch->list_room;
    words = words > scratch->list_words ? words : scratch->list_words;
    scratch->list_room = scratch->list_words = 0;
    mem_free(scratch->list_floats);
    mem_free(scratch->list_scores);
    mem_free(scratch->list_heap);
    mem_free(scratch->list_chosen);
    mem_free(scratch->list_bits);
    scratch->list_floats = mem_array_alloc(lists, 4 * sizeof *scratch->list_floats);
    scratch->list_scores = mem_array_alloc(lists, 4 * sizeof *scratch->list_scores);
    scratch->list_chosen = mem_array_alloc(lists + 16, sizeof *scratch->list_chosen);
    scratch->list_heap = mem_array_alloc(lists, sizeof *scratch->list_heap);
    scratch->list_bits = mem_aligned_alloc(64, 4 * words * sizeof *scratch->list_bits);
    if (!scratch->list_floats || !scratch->list_scores || !scratch->list_heap || !scratch->list_chosen || !scratch->list_bits)
        return error_nomem("graph search");
    mem_free(scratch->trail); /* not needed to search */
    scratch->trail = mem_array_alloc(GRAPH_TRAIL_CHECKS * GRAPH_TRAIL_K, sizeof *scratch->trail);
    scratch->list_room = lists;
    scratch->list_words = words;
    return VECDB_OK;
}

/* A node of the graph, and the rows that hang in its chain, as far as they pass and are not among those found. */
static void take_chain(struct list_scan *work, uint32_t node, uint32_t score)
{
    const uint32_t *next = work->scan->state->dup_next;
    struct graph_scratch *scratch = work->scratch;

    if (bitmap_get(work->scan->search->allowed, node))
        graph_pool_insert(&scratch->pool, graph_key(score, node));
    while (next && (node = __atomic_load_n(&next[node], __ATOMIC_ACQUIRE)) != GRAPH_NONE)
        if (bitmap_get(work->scan->search->allowed, node) && graph_visit(scratch, node))
            graph_pool_insert(&scratch->pool, graph_key(score, node));
}

/* Links of a node to those that the walk has not come by, into scratch->ids. */
static size_t new_links(struct list_scan *work, uint32_t node)
{
    struct graph_scratch *scratch = work->scratch;
    const struct graph_layer *layer = &work->scan->state->layers[0];
    size_t stride = work->scan->query->codec->stride, links = graph_links(layer, node, scratch->scores), n = 0;

    for (size_t i = 0; i < links; i++) {
        if (!graph_visit(scratch, scratch->scores[i]))
            continue;
        simd_prefetch(layer->codes + (size_t)scratch->scores[i] * stride, stride);
        scratch->ids[n++] = scratch->scores[i];
    }
    return n;
}

/* A short walk over all rows, from the best found: a row may lie far out in a list that was left out, as one that lies alone does, but
 * links lead to it. What passes on the way goes into the pool. */
static void follow_links(struct list_scan *work, struct index_counters *counters)
{
    struct graph_scratch *scratch = work->scratch;
    const struct graph_state *state = work->scan->state;
    const struct graph_layer *layer = &state->layers[0];
    const struct graph_pool *found = &scratch->pool;
    struct graph_pool *walk = &scratch->passing;

    graph_scratch_clear(scratch); /* of a walk that was given up */
    walk->count = walk->cursor = 0;
    walk->capacity = WALK_POOL;
    for (size_t i = 0; i < found->count; i++) {
        uint32_t node = graph_key_node(found->keys[i]);
        (void)graph_visit(scratch, node);
        /* a row that hangs in a chain has no links: the walk begins at the best that have */
        if (walk->count < WALK_POOL && __atomic_load_n(&layer->links[(size_t)node * layer->degree], __ATOMIC_ACQUIRE) != GRAPH_NONE)
            graph_pool_insert(walk, found->keys[i]);
    }
    for (size_t hops = 0; hops < WALK_HOPS; hops++) {
        size_t n;
        while (walk->cursor < walk->count && walk->keys[walk->cursor] & 1)
            walk->cursor++;
        if (walk->cursor == walk->count)
            break;
        walk->keys[walk->cursor] |= 1;
        n = new_links(work, graph_key_node(walk->keys[walk->cursor]));
        graph_scores(work->scan->query, layer->codes, scratch->ids, n, scratch->scores);
        counters->rows_scored += n;
        for (size_t i = 0; i < n; i++) {
            graph_pool_insert(walk, graph_key(scratch->scores[i], scratch->ids[i]));
            take_chain(work, scratch->ids[i], scratch->scores[i]);
        }
    }
    graph_scratch_clear(scratch);
}

vecdb_status graph_lists_scan(const struct graph_lists_scan *scan, struct graph_scratch *scratch, bool *walk,
                              struct index_counters *counters)
{
    size_t count = scan->lists->count, lists = 0, k = scan->search->k;
    struct list_scan work;
    double local;

    memset(&work, 0, offsetof(struct list_scan, batches));
    work.scan = scan;
    work.scratch = scratch;
    work.next_check = FIRST_CHECK;
    work.waiting = work.batches;
    work.batches[0].count = 0;
    TRY(scan_room(scratch, count, level_words(scan->query->codec)));
    work.nearest = k > NEAREST_LEAST ? k : NEAREST_LEAST;
    TRY(graph_scratch_pool(scratch, work.nearest > scan->want ? work.nearest : scan->want));
    work.centre = scratch->list_floats;
    work.slope = work.centre + count;
    work.ahead = work.slope + count;
    work.behind = work.ahead + count;
    work.tail = scratch->list_scores + count;
    work.counted = work.tail + count;
    work.order = (int32_t *)(work.counted + count);
    work.heap = scratch->list_heap;
    work.levels = scratch->list_bits;
    scratch->pool.count = scratch->pool.cursor = 0;
    scratch->pool.capacity = work.nearest > scan->want ? work.nearest : scan->want;
    work.memo = graph_lists_memo_take(scan->search, scan->lists);
    choose_unit(&work);
    order_lists(&work);
    counters->rows_scored += count;
    local = work.memo ? local_share(&work) : WALK_SHARE;
    if (walk && (*walk = work.memo && local >= (work.nearest > MANY ? LOCAL_MANY : LOCAL_SHARE)))
        return VECDB_OK;
    prepare_planes(&work);
    use_memo(&work);
    TRY(scan_newer(&work, counters));
    while (more_lists(&work) && !enough(&work, counters)) {
        scan_list(&work, next_list(&work), counters);
        if (++lists % DEADLINE_LISTS == 0)
            TRY(deadline_check(scan->search->deadline));
    }
    score_waiting(&work, counters);
    score_held(&work, counters);
    if (local >= WALK_SHARE)
        follow_links(&work, counters);
    if (work.memo)
        graph_lists_memo_ended(work.memo, k, work.passed, work.trail.keys != NULL);
    if (work.trail.keys)
        graph_lists_memo_note(work.memo, &work.trail, &scratch->pool);
    if (scratch->pool.count > scan->want)
        scratch->pool.count = scan->want;
    return VECDB_OK;
}
