/* Searching inverted lists. One query walks its lists from the nearest on, so that the limit is tight early. Many queries
 * walk the lists together: each list is read once for all queries that probe it, in two rounds, the first for the
 * nearest list of each query. */
#include "index/ivf_state.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/deadline.h"
#include "index/flat.h"
#include "index/ivf_planes.h"
#include "index/ivf_products.h"

#include <math.h>
#include <string.h>

#define GROUP_MAX 1024       /* queries that walk together */
#define GROUP_BYTES 8388608 /* what they may need together; it stays with the process */
#define COARSE_GROUP 128    /* queries that look for their lists together: what they need stays with the process, too */
#define TOGETHER_MIN 4       /* fewer go one by one */
#define CODED_DIM 256        /* centroids of more dimensions are multiplied as floats in batches: their codes leave too many over */
#define PARALLEL_BYTES 4194304 /* codes of one query worth sharing out among threads */
#define FILTER_FEW 1024      /* passing rows that are scanned, whatever list they are in */
#define FILTER_SHARE 0.9     /* of the rows that a search without a filter scans, so many have to pass */
#define FILTER_QUIET 0.5     /* where that took more lists, hits have not got better for so many of them */
#define FILTER_FAR 0.5       /* a filter passes fewer rows near a query than elsewhere where so much of its share does: */
#define FILTER_MORE 4        /* then so many times as many rows have to pass */
#define K_KNOWN 10           /* the k for which the lists to probe were measured */
#define K_POWER 0.35         /* larger ones want more of them */

const float ivf_targets[IVF_TARGETS] = {0.80f, 0.90f, 0.95f, 0.97f, 0.98f, 0.99f, 0.995f, 0.999f};

/* -- the nearest lists */

static vecdb_status coarse_bits(const struct ivf *ivf, const float *floats, size_t query_count, size_t want,
                                struct hit *lists)
{
    size_t dim = ivf->coder.code_dim;
    float *products = mem_array_alloc(ivf->list_count, sizeof *products);

    if (!products)
        return error_nomem("search");
    for (size_t q = 0; q < query_count; q++) {
        const float *query = floats + q * dim;
        float sum = simd_codes()->sum_f32(query, dim);
        struct topk topk;
        simd_distance()->ip_f32.rows(query, ivf->centroids, dim * sizeof *query, ivf->list_count, dim, products);
        topk_init(&topk, lists + q * want, want);
        for (size_t list = 0; list < ivf->list_count; list++) {
            float both = sum + ivf->centroid_sums[list], term = both - 2 * products[list];
            if (ivf->coder.metric == VECDB_METRIC_JACCARD)
                term = both - products[list] > 0 ? 1 - products[list] / (both - products[list]) : 0;
            if (term <= topk.threshold)
                topk_push(&topk, term, (uint32_t)list);
        }
        topk_finish(&topk);
    }
    mem_free(products);
    return VECDB_OK;
}

vecdb_status ivf_coarse(const struct ivf *ivf, const float *floats, size_t query_count, size_t want,
                        const struct index_search *search, struct hit *lists)
{
    struct index_search coarse = {.queries = floats, .query_count = query_count, .k = want,
                                  .query_stride = ivf->coder.code_dim * sizeof(float), .deadline = search->deadline};
    struct params params;
    size_t *counts;
    vecdb_status status;

    if (!ivf->coarse)
        return coarse_bits(ivf, floats, query_count, want, lists);
    if (ivf->grouped) {
        params_default(ivf->coarse->ops->search_params, &params);
        params_set(&params, "nprobe", (double)ivf_groups_wanted(ivf, want));
        coarse.params = &params;
    }
    counts = mem_array_alloc(query_count, sizeof *counts);
    if (!counts)
        return error_nomem("search");
    if (query_count >= TOGETHER_MIN && ivf->coder.code_dim > CODED_DIM && !ivf->grouped)
        status = flat_search(&ivf->centroid_vectors, ivf->coarse->metric, &coarse, lists, counts, NULL);
    else
        status = ivf->coarse->ops->search(ivf->coarse, &coarse, lists, counts, NULL);
    mem_free(counts);
    return status;
}

/* -- one list */

/* No row of the list can be a hit: by the radius of the list. */
static bool list_is_far(const struct ivf *ivf, const struct ivf_part *part, const struct code_query *query, size_t list,
                        float term)
{
    float limit = code_query_limit(query), radius = part->radius[list] * 1.0001f;

    if (!(limit < INFINITY) || !ivf->coarse)
        return false;
    if (query->sieving)
        limit /= ivf_scale(&ivf->coder);
    if (!ivf->coder.l2)
        return term - query->norm * radius > limit + fabsf(limit) * 1e-4f;
    term = sqrtf(fmaxf(term, 0)) * 0.9999f - radius;
    return term > 0 && term * term > limit;
}

#define TARGETS 64 /* queries that a list is read for at once */

/* One list for `count` <= TARGETS queries, whose terms are `terms`. products: or NULL. Returns how many scanned any of
 * it. */
static size_t scan_list(const struct ivf *ivf, const struct ivf_view *view, const struct index_search *search,
                        struct code_query *const *queries, const float *terms, size_t count, uint32_t list,
                        struct products *products)
{
    const float *centroid = ivf->centroids + (size_t)list * ivf->coder.code_dim;
    float distances[TARGETS] = {0};
    bool apart = ivf->coder.ahead && !search->allowed; /* the second plane of one query's rows comes while the first is scanned on */
    size_t scanned = 0;

    for (size_t i = 0; i < count && ivf->coder.kind == CODE_RABITQ; i++) {
        float square = terms[i];
        if (!ivf->coder.l2)
            square = simd_distance()->l2sq_f32.one(queries[i]->floats, centroid, ivf->coder.code_dim);
        distances[i] = sqrtf(fmaxf(square, 0));
    }
    for (size_t p = 0; p < view->part_count; p++) {
        const struct ivf_part *part = view->parts[p];
        struct code_target targets[TARGETS];
        size_t n = 0;
        if (part->sizes[list] == 0)
            continue;
        for (size_t i = 0; i < count; i++)
            if (!list_is_far(ivf, part, queries[i], list, terms[i]))
                targets[n++] = (struct code_target){queries[i], terms[i], distances[i]};
        if (products && n >= PRODUCTS_MIN)
            products_scan(products, part, &ivf->coder, list, &view->vectors, search, targets, n);
        else if (n && !apart)
            part_scan(part, &ivf->coder, list, part->starts[list], part->starts[list + 1], &view->vectors, search,
                      targets, n);
        for (size_t i = 0; apart && i < n; i++)
            part_scan(part, &ivf->coder, list, part->starts[list], part->starts[list + 1], &view->vectors, search,
                      &targets[i], 1);
        if (n > scanned)
            scanned = n;
    }
    for (size_t i = 0; i < count && search->allowed; i++) {
        float limit = code_query_limit(queries[i]);
        if (limit < queries[i]->lowest || !(limit < INFINITY)) {
            queries[i]->lowest = limit;
            queries[i]->improved = queries[i]->passed;
        }
    }
    return scanned;
}

/* -- a search */

struct search_job {
    const struct ivf *ivf;
    const struct ivf_view *view;
    const struct index_search *search;
    struct ivf_search_mode mode;
    size_t probes, group_size, wanted; /* wanted: hits that every query has to get, if there are as many */
    size_t enough;                     /* rows that pass the filter, to be looked at at least; 0 without one */
    struct hit *hits;
    size_t *counts;
    atomic_uint_fast64_t scored, reranked, lists;
};

/* Whether a query needs no more lists. Lists near it may hold few rows that pass, or none: it has seen enough when it has seen as many
 * as it would have without a filter, and, being farther from them than queries are from rows, none that mattered for a while. */
static bool is_satisfied(const struct search_job *job, const struct code_query *query, size_t enough, bool farther, size_t barren)
{
    size_t found = code_query_count(query);

    if (query->passed < enough ||
        (farther && (double)(query->passed - query->improved) < FILTER_QUIET * (double)query->passed))
        return false;
    return job->search->has_radius ? barren >= 2 || found >= job->search->k : found >= job->wanted;
}

/* Rows that have to pass, of a query whose nearest lists have been scanned. */
static size_t enough_for(const struct search_job *job, const struct code_query *query)
{
    double share = (double)job->search->allowed_count / (double)job->view->row_count, enough = (double)job->enough;

    if ((double)query->passed < FILTER_FAR * share * enough)
        enough *= FILTER_MORE;
    return enough < (double)job->search->allowed_count ? (size_t)enough : job->search->allowed_count;
}

/* Which lists the first walk, over the job's `probes` lists, has scanned; NULL: out of memory. */
static uint64_t *lists_scanned(const struct search_job *job, const struct hit *first)
{
    uint64_t *scanned = mem_array_zalloc(bitmap_words(job->ivf->list_count), sizeof *scanned);

    for (size_t i = 0; scanned && i < job->probes; i++)
        bitmap_set(scanned, first[i].row);
    return scanned;
}

/* Go on past the lists of the first walk while hits are missing, or rows that pass, or a range search still finds some. Lists found by
 * groups may come in between those that were found before, when more are asked for: so those scanned are marked. */
static vecdb_status probe_further(struct search_job *job, struct code_query *query, const struct hit *first)
{
    const struct ivf *ivf = job->ivf;
    size_t done = job->probes, want = done, at = want, barren = 0, enough = job->enough ? enough_for(job, query) : 0;
    bool farther = query->passed < enough;
    struct hit *lists = NULL;
    uint64_t *scanned = NULL;
    vecdb_status status = VECDB_OK;

    while (done < ivf->list_count) {
        size_t before = code_query_count(query);
        if (is_satisfied(job, query, enough, farther, barren))
            break;
        while (at < want && bitmap_get(scanned, lists[at].row)) /* at == want before there are any */
            at++;
        if (at == want) {
            if (want == ivf->list_count)
                break;
            want = want < 16 ? 64 : 4 * want;
            if (job->search->allowed && done == job->probes) /* as many as it takes if rows that pass are everywhere, and more */
                want += (size_t)(2 * (double)job->probes * (double)job->view->row_count / ((double)job->search->allowed_count + 1));
            if (want > ivf->list_count)
                want = ivf->list_count;
            mem_free(lists);
            lists = mem_array_alloc(want, sizeof *lists);
            if (!scanned)
                scanned = lists_scanned(job, first);
            status = lists && scanned ? ivf_coarse(ivf, query->floats, 1, want, job->search, lists) : error_nomem("search");
            if (status != VECDB_OK)
                break;
            at = 0;
            continue;
        }
        scan_list(ivf, job->view, job->search, &query, &lists[at].distance, 1, lists[at].row, NULL);
        bitmap_set(scanned, lists[at].row);
        done++;
        atomic_fetch_add_explicit(&job->lists, 1, memory_order_relaxed);
        barren = code_query_count(query) > before ? 0 : barren + 1;
        if ((status = deadline_check(job->search->deadline)) != VECDB_OK)
            break;
    }
    mem_free(lists);
    mem_free(scanned);
    return status;
}

struct probe {
    uint32_t list, query;
    float term;
};

/* Lists of a group's queries, read once each: probes `first` .. `last` - 1 of every query. */
static vecdb_status walk_together(struct search_job *job, struct code_query *queries, size_t count,
                                  const struct hit *lists, size_t first, size_t last, struct probe *probes,
                                  uint32_t *starts, struct products *products)
{
    const struct ivf *ivf = job->ivf;
    size_t total = count * (last - first), scanned = 0, since_check = 0;

    memset(starts, 0, (ivf->list_count + 2) * sizeof *starts);
    for (size_t q = 0; q < count; q++)
        for (size_t i = first; i < last; i++)
            starts[lists[q * job->probes + i].row + 2]++;
    for (size_t list = 2; list <= ivf->list_count + 1; list++)
        starts[list] += starts[list - 1];
    for (size_t i = first; i < last; i++) /* a list's nearest queries first */
        for (size_t q = 0; q < count; q++) {
            struct hit hit = lists[q * job->probes + i];
            probes[starts[hit.row + 1]++] = (struct probe){hit.row, (uint32_t)q, hit.distance};
        }
    for (size_t i = 0, n; i < total; i += n) {
        struct code_query *together[TARGETS];
        float terms[TARGETS];
        for (n = 0; n < TARGETS && i + n < total && probes[i + n].list == probes[i].list; n++) {
            together[n] = &queries[probes[i + n].query];
            terms[n] = probes[i + n].term;
        }
        scanned += scan_list(ivf, job->view, job->search, together, terms, n, probes[i].list, products);
        since_check += n;
        if (since_check >= 256) {
            since_check = 0;
            TRY(deadline_check(job->search->deadline));
        }
    }
    atomic_fetch_add_explicit(&job->lists, scanned, memory_order_relaxed);
    return deadline_check(job->search->deadline);
}

static vecdb_status walk_alone(struct search_job *job, struct code_query *query, const struct hit *lists)
{
    size_t scanned = 0;
    struct planes_held held;

    held.count = 0;
    if (job->ivf->coder.ahead && job->view->part_count == 1 && !job->search->allowed)
        query->held = &held;
    for (size_t i = 0; i < job->probes; i++) {
        query->next_list = i + 1 < job->probes ? lists[i + 1].row : NO_LIST;
        scanned += scan_list(job->ivf, job->view, job->search, &query, &lists[i].distance, 1, lists[i].row, NULL);
        if (i % 16 == 15)
            TRY(deadline_check(job->search->deadline));
    }
    if (held.count)
        planes_finish(job->view->parts[0], &job->ivf->coder, query, &held);
    query->held = NULL;
    atomic_fetch_add_explicit(&job->lists, scanned, memory_order_relaxed);
    return deadline_check(job->search->deadline);
}

struct group_memory {
    struct code_query *queries;
    uint8_t *scratch, *spare;
    float *floats;
    struct hit *lists;
    struct probe *probes;
    uint32_t *starts;
    struct products products;
};

static void group_free(struct group_memory *group)
{
    mem_free(group->queries);
    mem_free(group->scratch);
    mem_free(group->spare);
    mem_free(group->floats);
    mem_free(group->lists);
    mem_free(group->probes);
    mem_free(group->starts);
    products_deinit(&group->products);
}

static vecdb_status search_group(struct search_job *job, struct group_memory *group, size_t first_query, size_t count)
{
    const struct ivf *ivf = job->ivf;
    const struct index_search *search = job->search;
    size_t size = code_query_size(&ivf->coder, search->k, job->mode.keep), dim = ivf->coder.code_dim;
    bool together = count >= TOGETHER_MIN && job->probes > 0;
    uint64_t scored = 0, reranked = 0;

    group->floats = mem_aligned_alloc(64, count * dim * sizeof(float));
    group->lists = mem_array_alloc(count * job->probes + 1, sizeof *group->lists);
    if (!group->floats || !group->lists)
        return error_nomem("search");
    for (size_t q = 0; q < count; q++)
        coder_floats(&ivf->coder, (const uint8_t *)search->queries + (first_query + q) * search->query_stride, group->floats + q * dim);
    for (size_t q = 0, n; q < count; q += n) { /* before the rest takes memory, as it wants some */
        n = count - q < COARSE_GROUP ? count - q : COARSE_GROUP;
        TRY(ivf_coarse(ivf, group->floats + q * dim, n, job->probes, search, group->lists + q * job->probes));
    }
    group->queries = mem_array_alloc(count, sizeof *group->queries);
    group->scratch = mem_aligned_alloc(64, count * size);
    group->spare = mem_aligned_alloc(64, code_query_spare(&ivf->coder));
    if (together) {
        group->probes = mem_array_alloc(count * job->probes, sizeof *group->probes);
        group->starts = mem_array_alloc(ivf->list_count + 2, sizeof *group->starts);
    }
    if (!group->queries || !group->scratch || !group->spare || (together && (!group->probes || !group->starts)))
        return error_nomem("search");
    for (size_t q = 0; q < count; q++)
        code_query_init(&group->queries[q], &ivf->coder, ivf_exact(job->view), search,
                        (const uint8_t *)search->queries + (first_query + q) * search->query_stride, job->mode.sieving,
                        job->mode.keep, job->mode.epsilon, job->hits + (first_query + q) * search->k,
                        group->scratch + q * size, group->spare);
    if (together) {
        bool multiply = products_apply(&ivf->coder) && !search->allowed && count >= PRODUCTS_MIN;
        for (size_t q = 0; q < count && ivf->coder.kind == CODE_BYTES; q++)
            multiply = multiply && group->queries[q].bytes.integer;
        if (multiply)
            TRY(products_init(&group->products, &ivf->coder));
        for (size_t first = 0, last = 1; first < job->probes; first = last, last = job->probes)
            TRY(walk_together(job, group->queries, count, group->lists, first, last, group->probes, group->starts,
                              multiply ? &group->products : NULL));
    } else {
        for (size_t q = 0; q < count; q++)
            TRY(walk_alone(job, &group->queries[q], group->lists + q * job->probes));
    }
    code_query_ask(&group->queries[0], ivf_exact(job->view), job->mode.rerank);
    for (size_t q = 0; q < count; q++) {
        TRY(probe_further(job, &group->queries[q], group->lists + q * job->probes));
        if (q + 1 < count)
            code_query_ask(&group->queries[q + 1], ivf_exact(job->view), job->mode.rerank);
        job->counts[first_query + q] =
            code_query_finish(&group->queries[q], &ivf->coder, ivf_exact(job->view), search, job->mode.rerank,
                              job->hits + (first_query + q) * search->k, &reranked);
        scored += group->queries[q].scored;
    }
    atomic_fetch_add_explicit(&job->scored, scored, memory_order_relaxed);
    atomic_fetch_add_explicit(&job->reranked, reranked, memory_order_relaxed);
    return VECDB_OK;
}

static vecdb_status group_task(void *context, size_t i, unsigned worker)
{
    struct search_job *job = context;
    struct group_memory group = {0};
    size_t first = i * job->group_size, count = job->search->query_count - first;
    vecdb_status status;

    status = search_group(job, &group, first, count < job->group_size ? count : job->group_size);
    group_free(&group);
    return status;
}

/* -- one query on several threads: each takes every so-many-th list and keeps what it finds apart */

struct shared_job {
    struct search_job *job;
    struct hit *lists;
    size_t shares;
    struct code_query *queries; /* one a share */
    uint8_t *scratch;           /* for each, what it keeps and what it wants to begin with */
    struct hit *hits;           /* shares x k */
};

static vecdb_status share_task(void *context, size_t share, unsigned worker)
{
    struct shared_job *shared = context;
    struct search_job *job = shared->job;
    const struct ivf *ivf = job->ivf;
    size_t size = code_query_size(&ivf->coder, job->search->k, job->mode.keep), scanned = 0;
    size_t whole = size + align_up(code_query_spare(&ivf->coder), 64);
    struct code_query *query = &shared->queries[share];

    code_query_init(query, &ivf->coder, ivf_exact(job->view), job->search, job->search->queries, job->mode.sieving,
                    job->mode.keep, job->mode.epsilon, shared->hits + share * job->search->k,
                    shared->scratch + share * whole, shared->scratch + share * whole + size);
    for (size_t i = share; i < job->probes; i += shared->shares) {
        scanned += scan_list(ivf, job->view, job->search, &query, &shared->lists[i].distance, 1,
                             shared->lists[i].row, NULL);
        TRY(deadline_check(job->search->deadline));
    }
    atomic_fetch_add_explicit(&job->lists, scanned, memory_order_relaxed);
    atomic_fetch_add_explicit(&job->scored, query->scored, memory_order_relaxed);
    return VECDB_OK;
}

/* What the shares found, to the first of them. */
static void join_shares(struct shared_job *shared)
{
    struct code_query *first = &shared->queries[0];

    for (size_t share = 1; share < shared->shares; share++) {
        struct code_query *other = &shared->queries[share];
        if (!first->sieving) {
            for (size_t i = 0; i < other->best.count; i++) {
                struct hit hit = shortlist_hit(other->best.keys[i]);
                if (hit.distance <= first->best.threshold)
                    shortlist_push(&first->best, hit.distance, hit.row);
            }
            continue;
        }
        sieve_finish(&other->sieve);
        first->sieve.reranked += other->sieve.reranked;
        for (size_t i = 0; i < other->sieve.exact.count; i++)
            sieve_push_exact(&first->sieve, other->sieve.exact.hits[i].distance, other->sieve.exact.hits[i].row);
    }
    for (size_t share = 1; share < shared->shares; share++)
        first->passed += shared->queries[share].passed; /* all of it is past, and none of it quiet */
    first->improved = first->passed;
    first->scored = 0; /* counted by the shares */
}

static vecdb_status search_shared(struct search_job *job, size_t shares)
{
    const struct ivf *ivf = job->ivf;
    const struct index_search *search = job->search;
    struct shared_job shared = {.job = job, .shares = shares};
    float *floats = mem_aligned_alloc(64, ivf->coder.code_dim * sizeof *floats);
    size_t size = code_query_size(&ivf->coder, search->k, job->mode.keep) + align_up(code_query_spare(&ivf->coder), 64);
    uint64_t reranked = 0;
    vecdb_status status;

    shared.lists = mem_array_alloc(job->probes, sizeof *shared.lists);
    shared.queries = mem_array_alloc(shares, sizeof *shared.queries);
    shared.scratch = mem_aligned_alloc(64, shares * size);
    shared.hits = mem_array_alloc(shares * search->k, sizeof *shared.hits);
    if (floats && shared.lists && shared.queries && shared.scratch && shared.hits) {
        coder_floats(&ivf->coder, search->queries, floats);
        status = ivf_coarse(ivf, floats, 1, job->probes, search, shared.lists);
        if (status == VECDB_OK)
            status = pool_run(search->pool, shares, share_task, &shared);
    } else {
        status = error_nomem("search");
    }
    if (status == VECDB_OK) {
        join_shares(&shared);
        status = probe_further(job, &shared.queries[0], shared.lists);
    }
    if (status == VECDB_OK) {
        code_query_ask(&shared.queries[0], ivf_exact(job->view), job->mode.rerank);
        job->counts[0] = code_query_finish(&shared.queries[0], &ivf->coder, ivf_exact(job->view), search,
                                           job->mode.rerank, shared.hits, &reranked);
        memcpy(job->hits, shared.hits, job->counts[0] * sizeof *job->hits);
        atomic_fetch_add_explicit(&job->reranked, reranked, memory_order_relaxed);
    }
    mem_free(floats);
    mem_free(shared.lists);
    mem_free(shared.queries);
    mem_free(shared.scratch);
    mem_free(shared.hits);
    return status;
}

/* -- */

/* Lists to probe: what was asked for, or what brought the recall asked for. */
static size_t probes_wanted(const struct ivf *ivf, const struct params *params, size_t k)
{
    size_t probes;

    if (params_given(params, "nprobe")) {
        probes = (size_t)params_get(params, "nprobe");
    } else {
        float recall = (float)params_get(params, "recall");
        size_t i = 0;
        while (i + 1 < IVF_TARGETS && ivf_targets[i] < recall - 1e-6f)
            i++;
        probes = recall > ivf_targets[IVF_TARGETS - 1] + 1e-6f ? ivf->list_count : ivf->probes[i];
        if (k > K_KNOWN)
            probes = (size_t)ceil((double)probes * pow((double)k / K_KNOWN, K_POWER));
    }
    return probes < ivf->list_count ? probes : ivf->list_count;
}

/* Every row that passes, on its vector. */
static vecdb_status scan_few(const struct search_job *job, struct index_counters *counters)
{
    struct vectors vectors = job->view->vectors;

    vectors.present = NULL; /* rows without a value do not pass, and who built the index has taken the bitmap back */
    return flat_search(&vectors, job->ivf->coder.metric, job->search, job->hits, job->counts, counters);
}

vecdb_status ivf_search(const struct index *index, const struct index_search *search, struct hit *hits, size_t *counts,
                        struct index_counters *counters)
{
    const struct ivf *ivf = (const struct ivf *)index;
    struct search_job job = {.ivf = ivf, .view = ivf_view(ivf), .search = search, .hits = hits, .counts = counts};
    size_t threads = pool_threads(search->pool), rows = job.view->row_count, bytes, each, groups;
    vecdb_status status;

    if (search->query_count == 0)
        return VECDB_OK;
    if (ivf->list_count_given && params_given(search->params, "nprobe") &&
        params_get(search->params, "nprobe") > (double)ivf->list_count)
        return error_set(VECDB_ERR_INVALID, "%s: nprobe=%.0f is out of range 1..%zu, the lists of this index",
                         ivf->kind->owner, params_get(search->params, "nprobe"), ivf->list_count);
    if (search->allowed && search->allowed_count <= FILTER_FEW)
        return scan_few(&job, counters);
    job.mode = ivf_search_mode(&ivf->coder, ivf->refine || search->has_radius, search->params, search->k); /* no estimate decides what is in a range */
    if (job.mode.keep > rows)
        job.mode.keep = rows;
    if (job.mode.keep < search->k)
        job.mode.keep = search->k;
    job.probes = probes_wanted(ivf, search->params, search->k);
    job.wanted = search->allowed && search->allowed_count < rows ? search->allowed_count : rows;
    if (job.wanted > search->k)
        job.wanted = search->k;
    if (search->allowed)
        job.enough = (size_t)(FILTER_SHARE * (double)job.probes * (double)rows / (double)ivf->list_count);
    bytes = (size_t)((double)rows / (double)ivf->list_count * (double)job.probes) *
            (ivf->coder.code_size + ivf->coder.extra_size);
    if (search->query_count == 1 && threads > 1 && bytes >= PARALLEL_BYTES && job.probes >= 4 * threads) {
        status = search_shared(&job, threads);
    } else {
        job.group_size = (search->query_count + threads - 1) / threads;
        each = code_query_size(&ivf->coder, search->k, job.mode.keep) + job.probes * (sizeof(struct probe) + sizeof(struct hit));
        if (job.group_size > GROUP_MAX)
            job.group_size = GROUP_MAX;
        if (job.group_size > GROUP_BYTES / each)
            job.group_size = GROUP_BYTES / each > TOGETHER_MIN ? GROUP_BYTES / each : TOGETHER_MIN;
        groups = (search->query_count + job.group_size - 1) / job.group_size;
        job.group_size = (search->query_count + groups - 1) / groups; /* of one size: a small one would read the lists for few */
        status = pool_run(search->pool, (search->query_count + job.group_size - 1) / job.group_size, group_task, &job);
    }
    if (counters) {
        counters->rows_scored += atomic_load(&job.scored);
        counters->reranked += atomic_load(&job.reranked);
        counters->hops += atomic_load(&job.lists);
    }
    return status;
}
