#include "query/search.h"

#include "base/mem.h"
#include "filter/values.h"
#include "index/flat.h"
#include "index/topk.h"
#include "query/expiry.h"
#include "query/filter_rows.h"
#include "query/fresh.h"
#include "query/view_source.h"
#include "schema/rows.h"
#include "simd/kernels.h"
#include "storage/key_map.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RANGE_EFFORT 32000 /* bytes scanned in four times the time that an index takes for one of k hits */
#define TIES_MORE 4        /* times as many rows are asked for as before, until they are all that are equally near */

/* ---- which rows ---- */

static vecdb_status check_deadline(void *context) { return deadline_check(context); }

static bool in_partitions(uint32_t partition, const uint32_t *partitions, size_t count)
{
    if (!partitions)
        return true;
    for (size_t i = 0; i < count; i++)
        if (partitions[i] == partition)
            return true;
    return false;
}

vecdb_status search_live_rows(const struct segment_view *view, uint64_t **rows)
{
    if (!(*rows = mem_array_alloc(bitmap_words(view->row_count) + 1, 8)))
        return error_nomem("filter");
    bitmap_fill(*rows, view->row_count);
    tombstones_subtract(view->tombstones, *rows, view->row_count);
    return VECDB_OK;
}

vecdb_status search_explain_filter(const struct snapshot *snapshot, size_t view_at, const struct filter *filter,
                                   const uint32_t *partitions, size_t partition_count, struct buf *out)
{
    const struct segment_view *view = &snapshot->views[view_at];
    struct view_source source;
    struct filter_source rows = view_source_init(&source, snapshot, view);
    uint64_t *live;
    vecdb_status status;

    if (!in_partitions(view->partition, partitions, partition_count))
        return buf_append_text(out, "null");
    TRY(search_live_rows(view, &live));
    status = filter_explain(filter, &rows, live, out);
    mem_free(live);
    return status;
}

/* ---- partitions of a key ---- */

uint32_t partition_of_key(const struct schema *schema, const void *value, size_t size)
{
    return PARTITION_FIRST + (uint32_t)(key_map_hash(value, size) % schema->num_partitions);
}

struct key_partitions {
    const struct schema *schema;
    uint32_t partition;
    bool wanted;
};

static void want_partition(void *context, const void *value, size_t size)
{
    struct key_partitions *partitions = context;

    if (partition_of_key(partitions->schema, value, size) == partitions->partition)
        partitions->wanted = true;
}

/* Whether a filter may find rows in a partition, by what it says about the partition key. */
static bool may_hold(const struct schema *schema, const struct filter *filter, uint32_t partition)
{
    struct key_partitions partitions = {schema, partition, false};

    if (schema->partition_key == SCHEMA_NONE || !filter)
        return true;
    return !filter_field_values(filter, schema->partition_key, want_partition, &partitions) || partitions.wanted;
}

/* Rows of a view. Nothing is copied of what is remembered. */
struct chosen_rows {
    uint64_t *rows; /* NULL: all, or none, as the count says */
    size_t count;
    struct filter_rows *shared; /* whose the rows are, and then not to be changed; NULL: they are for mem_free() */
};

static void chosen_deinit(struct chosen_rows *chosen)
{
    if (chosen->shared)
        filter_rows_release(chosen->shared);
    else
        mem_free(chosen->rows);
    *chosen = (struct chosen_rows){0};
}

/* Rows that may be changed. */
static vecdb_status chosen_own(struct chosen_rows *chosen, size_t row_count)
{
    size_t words = bitmap_words(row_count);
    uint64_t *own;

    if (chosen->rows && !chosen->shared)
        return VECDB_OK;
    if (!(own = mem_array_alloc(words + 1, 8)))
        return error_nomem("search");
    own[words] = 0;
    if (chosen->rows)
        memcpy(own, chosen->rows, words * 8);
    else
        bitmap_fill(own, row_count);
    filter_rows_release(chosen->shared);
    chosen->shared = NULL;
    chosen->rows = own;
    return VECDB_OK;
}

/* The rows that are live, in the partitions and match a filter. To deinit, also on failure. */
static vecdb_status choose_rows(const struct snapshot *snapshot, size_t view_at, const struct filter *filter,
                                const uint32_t *partitions, size_t partition_count, const struct deadline *deadline,
                                struct chosen_rows *out, struct filter_counters *counters)
{
    const struct segment_view *view = &snapshot->views[view_at];
    bool filtered = filter && !filter_matches_all(filter), expires;

    *out = (struct chosen_rows){0};
    if (view->row_count == 0 || !in_partitions(view->partition, partitions, partition_count) ||
        !may_hold(snapshot->schema, filter, view->partition))
        return VECDB_OK;
    out->count = view_live_rows(view);
    expires = schema_expires(snapshot->schema) && view_may_have_expired(snapshot, view);
    if (out->count == 0 || (!filtered && !expires && !tombstones_count(view->tombstones)))
        return VECDB_OK;
    if (filtered) {
        TRY(filter_rows_take(snapshot, view_at, filter, deadline ? check_deadline : NULL, (void *)deadline, counters,
                             &out->shared));
        out->rows = out->shared->words;
        out->count = out->shared->count;
    } else
        TRY(search_live_rows(view, &out->rows));
    if (expires) {
        TRY(chosen_own(out, view->row_count));
        TRY(subtract_expired(snapshot, view, out->rows));
        out->count = simd_compare()->bits_count(out->rows, bitmap_words(view->row_count));
    }
    return VECDB_OK;
}

vecdb_status search_allowed(const struct snapshot *snapshot, size_t view_at, const struct filter *filter,
                            const uint32_t *partitions, size_t partition_count, const struct deadline *deadline,
                            uint64_t **rows, size_t *count, struct filter_counters *counters)
{
    struct chosen_rows chosen;
    vecdb_status status = choose_rows(snapshot, view_at, filter, partitions, partition_count, deadline, &chosen, counters);

    if (status == VECDB_OK && chosen.shared)
        status = chosen_own(&chosen, snapshot->views[view_at].row_count);
    if (status != VECDB_OK)
        chosen_deinit(&chosen);
    *rows = chosen.rows;
    *count = chosen.count;
    return status;
}

/* Narrow the chosen rows to those with a value in the field and to the given keys. */
static vecdb_status narrow(const struct snapshot *snapshot, size_t view_at, const struct search *search,
                           const struct vectors *vectors, struct chosen_rows *chosen)
{
    const struct segment_view *view = &snapshot->views[view_at];
    size_t own = view_field(view, snapshot->schema, search->field);
    bool nullable = snapshot->schema->fields[search->field].flags & VECDB_NULLABLE;
    size_t words = bitmap_words(vectors->row_count);

    if ((!nullable && !search->within) || chosen->count == 0)
        return VECDB_OK;
    TRY(chosen_own(chosen, vectors->row_count));
    if (nullable)
        view->segment->ops->and_present(view->segment, own, vectors->row_count, chosen->rows);
    if (search->within) {
        const struct column *keys = &search->within->columns[snapshot->schema->primary];
        uint64_t *kept = mem_zalloc(words * 8);
        if (!kept)
            return error_nomem("search");
        for (size_t i = 0; i < search->within->row_count; i++) {
            size_t size;
            const uint8_t *key = column_bytes(keys, i, &size);
            uint32_t row;
            bool found;
            vecdb_status status = view->segment->ops->find(view->segment, key, size, view->row_count, &found, &row);
            if (status != VECDB_OK) {
                mem_free(kept);
                return status;
            }
            if (found)
                bitmap_set(kept, row);
        }
        for (size_t w = 0; w < words; w++)
            chosen->rows[w] &= kept[w];
        mem_free(kept);
    }
    chosen->count = simd_compare()->bits_count(chosen->rows, words);
    return VECDB_OK;
}

/* ---- scores ---- */

static float score_of(vecdb_metric metric, float distance)
{
    if (metric == VECDB_METRIC_IP)
        return -distance;
    if (metric == VECDB_METRIC_COSINE)
        return 1.0f - distance;
    return distance;
}

/* What hits are ordered by: smaller first, and equal where scores are, which distances under COSINE need not be. */
static float rank_of(vecdb_metric metric, float distance)
{
    return metric_is_similarity(metric) ? -score_of(metric, distance) : distance;
}

static float distance_of(vecdb_metric metric, double score)
{
    if (metric == VECDB_METRIC_IP)
        return (float)-score;
    if (metric == VECDB_METRIC_COSINE)
        return (float)(1.0 - score);
    return (float)score;
}

/* ---- ties ---- */

vecdb_status search_compare_keys(const struct snapshot *snapshot, const struct found *a, const struct found *b,
                                 int *order)
{
    size_t field = snapshot->schema->primary, sizes[2];
    const struct found *both[2] = {a, b};
    struct column_scratch scratch[2] = {{{0}}, {{0}}};
    const uint8_t *bytes[2];
    vecdb_status status = VECDB_OK;

    for (int i = 0; i < 2 && status == VECDB_OK; i++) {
        const struct segment_view *view = &snapshot->views[both[i]->view];
        size_t block_rows = view->segment->block_rows;
        struct column column;
        status = view_column(view, snapshot->schema, field, both[i]->row / block_rows, &scratch[i], &column);
        if (status == VECDB_OK)
            bytes[i] = column_bytes(&column, both[i]->row % block_rows, &sizes[i]);
    }
    if (status == VECDB_OK) {
        if (snapshot->schema->fields[field].type == VECDB_TYPE_INT64) {
            int64_t x = (int64_t)load_u64(bytes[0]), y = (int64_t)load_u64(bytes[1]);
            *order = (x > y) - (x < y);
        } else {
            size_t shorter = sizes[0] < sizes[1] ? sizes[0] : sizes[1];
            *order = memcmp(bytes[0], bytes[1], shorter);
            if (*order == 0)
                *order = (sizes[0] > sizes[1]) - (sizes[0] < sizes[1]);
        }
    }
    buf_deinit(&scratch[0].bytes);
    buf_deinit(&scratch[1].bytes);
    return status;
}

/* Put runs of equal distance into key order: insertion sort, for runs are short and mostly in order already. `found`
 * holds distances at this point. */
static vecdb_status order_ties(const struct snapshot *snapshot, struct found *found, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct found moving = found[i];
        size_t j = i;
        while (j > 0 && found[j - 1].score == moving.score) {
            int order;
            if (found[j - 1].view == moving.view && snapshot->views[moving.view].keys_ascend)
                order = found[j - 1].row < moving.row ? -1 : 1;
            else
                TRY(search_compare_keys(snapshot, &found[j - 1], &moving, &order));
            if (order <= 0)
                break;
            found[j] = found[j - 1];
            j--;
        }
        found[j] = moving;
    }
    return VECDB_OK;
}

static int compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;

    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    if (x->view != y->view)
        return x->view < y->view ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* ---- one segment ---- */

struct part {
    struct hit *hits; /* query_count x k */
    size_t *counts;
    size_t k;         /* hits kept per query */
    bool sorted;      /* by distance and row */
};

static bool scans(const struct index_ref *ref, const struct search *search)
{
    return !ref || search->exact || ref->index->ops->exact || ref->index->metric != search->metric;
}

/* What one segment's search works with. */
struct view_search {
    const struct snapshot *snapshot;
    size_t view;
    const struct search *search;
    size_t field;         /* of the segment's schema */
    struct vectors vectors;
    const uint64_t *allowed; /* NULL: all rows */
    size_t allowed_count;
    struct index_search asked;
};

/* Allowed rows before `covered`, which need not be all that the bitmap is about. */
static size_t covered_count(const struct view_search *task, size_t covered)
{
    const uint64_t *allowed = task->allowed;

    if (!allowed)
        return covered;
    if (covered == task->vectors.row_count)
        return task->allowed_count;
    return simd_compare()->bits_count(allowed, covered / 64) +
           (covered % 64 ? (size_t)__builtin_popcountll(allowed[covered / 64] & bitmap_tail(covered)) : 0);
}

static vecdb_status search_exact_index(const struct view_search *task, const struct index_ref *ref, size_t covered,
                                       struct hit *hits, size_t *counts, struct search_counters *counters)
{
    struct index_search by_index = task->asked;
    struct params params;
    char owner[64];

    snprintf(owner, sizeof owner, "index %s", ref->index->ops->name);
    TRY(params_parse(owner, ref->index->ops->search_params, index_known_search_params(), task->search->params, &params));
    by_index.params = &params;
    by_index.allowed_count = covered_count(task, covered);
    if (by_index.allowed_count == 0)
        return VECDB_OK;
    return ref->index->ops->search(ref->index, &by_index, hits, counts, &counters->index);
}

/* The nearest allowed rows, all looked at: the first `covered` by an index that is as good as a scan (0: there is none). */
static vecdb_status scan_rows(const struct view_search *task, const struct index_ref *ref, size_t covered, struct part *part,
                              struct search_counters *counters)
{
    const struct segment_view *view = &task->snapshot->views[task->view];
    size_t queries = task->asked.query_count, k = task->asked.k;
    struct topk_sources sources;
    vecdb_status status;

    if (covered == task->vectors.row_count)
        return search_exact_index(task, ref, covered, part->hits, part->counts, counters);
    if (!covered)
        return fresh_search(view, task->field, &task->vectors, 0, task->search->metric, &task->asked, part->hits, part->counts,
                            &counters->index);
    status = topk_sources_begin(&sources, &task->asked, 2, part->hits, part->counts);
    if (status == VECDB_OK)
        status = search_exact_index(task, ref, covered, sources.hits, sources.counts, counters);
    if (status == VECDB_OK)
        status = fresh_search(view, task->field, &task->vectors, covered, task->search->metric, &task->asked,
                              sources.hits + queries * k, sources.counts + queries, &counters->index);
    topk_sources_end(&sources, &task->asked, status, part->hits, part->counts);
    return status;
}

/* Where rows beyond the k-th are as near as the k-th and keys do not ascend with rows, the scan's choice among them was by
 * row: choose again by key, among all rows that are no farther. `hits` has room for k + 1, and count of them. */
static vecdb_status choose_among_ties(const struct view_search *task, const struct index_ref *ref, size_t covered, size_t query,
                                      struct hit *hits, size_t *count)
{
    size_t k = task->asked.k - 1, all = task->allowed ? task->allowed_count : task->vectors.row_count, tied_count = 0;
    struct view_search again = *task;
    struct search_counters counters = {0};
    struct part tied = {.counts = &tied_count, .k = k + 1};
    struct found *found = NULL;
    vecdb_status status = VECDB_OK;

    if (*count <= k || hits[k].distance != hits[k - 1].distance) {
        *count = *count < k ? *count : k;
        return VECDB_OK;
    }
    *count = k;
    again.asked.queries = (const uint8_t *)task->asked.queries + query * task->asked.query_stride;
    again.asked.query_count = 1;
    again.asked.has_radius = true;
    again.asked.radius = nextafterf(hits[k].distance, INFINITY);
    do { /* as many as there are, which are few as a rule */
        tied.k = tied.k < all / TIES_MORE ? TIES_MORE * tied.k : all;
        again.asked.k = tied.k;
        mem_free(tied.hits);
        tied.hits = mem_array_alloc(tied.k, sizeof *tied.hits);
        tied_count = 0;
        status = tied.hits ? scan_rows(&again, ref, covered, &tied, &counters) : error_nomem("search");
    } while (status == VECDB_OK && tied_count == tied.k && tied.k < all);
    if (status == VECDB_OK && !(found = mem_array_alloc(tied_count + 1, sizeof *found)))
        status = error_nomem("search");
    if (status == VECDB_OK && tied_count >= k) { /* asked another way, a distance may come out a bit larger */
        for (size_t n = 0; n < tied_count; n++)
            found[n] = (struct found){(uint32_t)task->view, tied.hits[n].row, tied.hits[n].distance};
        status = order_ties(task->snapshot, found, tied_count);
        for (size_t i = 0; i < k && status == VECDB_OK; i++)
            hits[i] = (struct hit){found[i].score, found[i].row};
    }
    mem_free(tied.hits);
    mem_free(found);
    return status;
}

/* Look at all allowed rows, and choose by key among those at the end that are equally near. */
static vecdb_status scan_view(struct view_search *task, const struct index_ref *ref, size_t covered, struct part *part,
                              struct search_counters *counters)
{
    struct index_search *asked = &task->asked;
    size_t k = asked->k;
    bool by_key = !task->snapshot->views[task->view].keys_ascend && k < task->allowed_count;
    vecdb_status status;

    asked->k = k + by_key;
    part->k = asked->k;
    part->hits = mem_array_alloc(asked->k * asked->query_count, sizeof *part->hits);
    part->counts = mem_array_zalloc(asked->query_count, sizeof *part->counts);
    if (!part->hits || !part->counts)
        return error_nomem("search");
    if (covered && type_is_sparse(task->vectors.type))
        counters->indexed_segments++;
    else
        counters->scanned_segments++;
    status = scan_rows(task, ref, covered, part, counters);
    for (size_t q = 0; by_key && q < asked->query_count && status == VECDB_OK; q++)
        status = choose_among_ties(task, ref, covered, q, part->hits + q * asked->k, &part->counts[q]);
    return status;
}

/* The allowed rows before `end`, in a bitmap as long as the segment has room. */
static vecdb_status allowed_before(const struct view_search *task, size_t end, uint64_t **out)
{
    size_t room = task->snapshot->views[task->view].segment->row_count;
    uint64_t *rows = mem_zalloc(bitmap_words(room) * 8);

    *out = rows;
    if (!rows)
        return error_nomem("search");
    if (task->allowed)
        memcpy(rows, task->allowed, bitmap_words(end) * 8);
    else
        bitmap_fill(rows, end);
    if (end % 64)
        rows[end / 64] &= (1ull << (end % 64)) - 1;
    return VECDB_OK;
}

/* Make an ef that was given at least k. */
static void raise_effort(struct params *params, size_t k)
{
    for (size_t i = 0; params->specs[i].name; i++)
        if ((strcmp(params->specs[i].name, "ef") == 0 || strcmp(params->specs[i].name, "search_length") == 0) &&
            params->values[i] > 0 && params->values[i] < (double)k)
            params->values[i] = (double)k;
}

/* Rows from `covered` on that an index came upon while they are being added to it are found by the scan, or not in the view. */
static void drop_uncovered(struct hit *hits, size_t *count, size_t covered)
{
    size_t kept = 0;

    for (size_t i = 0; i < *count; i++)
        if (hits[i].row < covered)
            hits[kept++] = hits[i];
    *count = kept;
}

/* An index finds the nearest, or nearly so; that it found all within a radius it cannot know. So where it found fewer than
 * were asked for, the rows are scanned. */
static vecdb_status complete_range(const struct view_search *task, const struct index_search *by_index, struct part *part,
                                   struct search_counters *counters)
{
    struct index_search one = *by_index;

    one.query_count = 1;
    one.params = NULL;
    for (size_t q = 0; q < by_index->query_count; q++) {
        one.queries = (const uint8_t *)by_index->queries + q * by_index->query_stride;
        if (part->counts[q] < by_index->k) /* hits of by_index->k a query still */
            TRY(flat_search(&task->vectors, task->search->metric, &one, part->hits + q * by_index->k, &part->counts[q],
                            &counters->index));
    }
    return VECDB_OK;
}

/* Whether a range search had better scan at once. An index's effort goes with k and is lost when it finds fewer, for then the rows are
 * scanned all the same; so it is tried only where that costs little beside scanning. */
static bool range_scans(const struct view_search *task, const struct index_search *by_index)
{
    double effort = (double)by_index->k * RANGE_EFFORT, scan = (double)by_index->allowed_count * (double)task->vectors.width;

    return by_index->has_radius && effort > scan;
}

/* Search an index for its first `covered` rows. `by_index` has their number for allowed_count. */
static vecdb_status search_covered(const struct view_search *task, const struct index_ref *ref, size_t covered,
                                   struct index_search *by_index, struct part *part, struct search_counters *counters)
{
    size_t queries = by_index->query_count, k = by_index->k;
    uint64_t *front = NULL;
    vecdb_status status;

    by_index->allowed = NULL;
    by_index->memos = covered == task->vectors.row_count ? task->asked.memos : NULL; /* they are of all the rows */
    if (!task->allowed && k == task->asked.k && !task->asked.has_radius && /* what is dropped makes room for what the scan finds */
        atomic_load_explicit(&ref->reached, memory_order_acquire) <= task->vectors.row_count) {
        TRY(ref->index->ops->search(ref->index, by_index, part->hits, part->counts, &counters->index));
        for (size_t q = 0; q < queries; q++)
            drop_uncovered(part->hits + q * k, &part->counts[q], covered);
        /* what was not in the view may have been in the way only if it came meanwhile */
        if (atomic_load_explicit(&ref->reached, memory_order_acquire) <= task->vectors.row_count)
            return VECDB_OK;
    }
    if (task->allowed && covered == task->vectors.row_count &&
        atomic_load_explicit(&ref->reached, memory_order_acquire) == covered && !task->snapshot->views[task->view].segment->growing) {
        by_index->allowed = task->allowed;
    } else {
        TRY(allowed_before(task, covered, &front));
        by_index->allowed = front;
    }
    if (range_scans(task, by_index)) {
        status = flat_search(&task->vectors, task->search->metric, by_index, part->hits, part->counts, &counters->index);
        mem_free(front);
        return status;
    }
    status = ref->index->ops->search(ref->index, by_index, part->hits, part->counts, &counters->index);
    if (status == VECDB_OK && by_index->has_radius)
        status = complete_range(task, by_index, part, counters);
    mem_free(front);
    return status;
}

/* Search by an index that has the segment's first `covered` rows, and scan those behind. */
static vecdb_status index_view(struct view_search *task, const struct index_ref *ref, size_t covered,
                               struct part *part, struct search_counters *counters)
{
    struct index_search by_index = task->asked, behind = task->asked;
    size_t *tail_counts = NULL;
    struct hit *tail_hits = NULL;
    struct params params;
    char owner[64];
    vecdb_status status;

    snprintf(owner, sizeof owner, "index %s", ref->index->ops->name);
    TRY(params_parse(owner, ref->index->ops->search_params, index_known_search_params(), task->search->params, &params));
    if (task->search->has_radius) /* k is only a bound then: an effort below it is no mistake */
        raise_effort(&params, task->asked.k);
    by_index.params = &params;
    counters->indexed_segments++;
    by_index.allowed_count = covered_count(task, covered);
    behind.allowed_count = task->allowed_count - by_index.allowed_count;
    by_index.k = by_index.k < by_index.allowed_count ? by_index.k : by_index.allowed_count;
    behind.k = behind.k < behind.allowed_count ? behind.k : behind.allowed_count;
    part->k = by_index.k + behind.k;
    part->sorted = !behind.k;
    part->hits = mem_array_alloc(part->k * task->asked.query_count + 1, sizeof *part->hits);
    part->counts = mem_array_zalloc(task->asked.query_count, sizeof *part->counts);
    status = part->hits && part->counts ? VECDB_OK : error_nomem("search");
    if (status == VECDB_OK && by_index.k)
        status = search_covered(task, ref, covered, &by_index, part, counters);
    if (status == VECDB_OK && behind.k) {
        tail_hits = mem_array_alloc(behind.k * behind.query_count, sizeof *tail_hits);
        tail_counts = mem_array_zalloc(behind.query_count, sizeof *tail_counts);
        status = tail_hits && tail_counts
                     ? fresh_search(&task->snapshot->views[task->view], task->field, &task->vectors, covered,
                                    task->search->metric, &behind, tail_hits, tail_counts, &counters->index)
                     : error_nomem("search");
        for (size_t q = behind.query_count; status == VECDB_OK && q-- > 0;) { /* from k a query to part->k, in place */
            memmove(part->hits + q * part->k, part->hits + q * by_index.k, part->counts[q] * sizeof *part->hits);
            memcpy(part->hits + q * part->k + part->counts[q], tail_hits + q * behind.k,
                   tail_counts[q] * sizeof *tail_hits);
            part->counts[q] += tail_counts[q];
        }
    }
    mem_free(tail_hits);
    mem_free(tail_counts);
    return status;
}

static vecdb_status search_view(const struct snapshot *snapshot, size_t view_at, const struct search *search,
                                struct part *part, struct search_counters *counters)
{
    const struct segment_view *view = &snapshot->views[view_at];
    struct view_search task = {.snapshot = snapshot, .view = view_at, .search = search};
    struct chosen_rows chosen = {0};
    struct index_ref *ref;
    vecdb_status status;

    if (!view_vectors(view, snapshot->schema, search->field, &task.vectors))
        return VECDB_OK;
    task.field = view_field(view, snapshot->schema, search->field);
    if (search->rows) {
        task.allowed = search->rows->bitmaps[view_at];
        task.allowed_count = search->rows->counts[view_at];
        status = VECDB_OK;
    } else {
        status = choose_rows(snapshot, view_at, search->filter, search->partitions, search->partition_count, search->deadline,
                             &chosen, &counters->filter);
        if (status == VECDB_OK)
            status = narrow(snapshot, view_at, search, &task.vectors, &chosen);
        task.allowed = chosen.rows;
        task.allowed_count = chosen.count;
    }
    if (status == VECDB_OK && task.allowed_count == task.vectors.row_count &&
        !(snapshot->schema->fields[search->field].flags & VECDB_NULLABLE))
        task.allowed = NULL; /* all: no need to look */
    if (status == VECDB_OK && task.allowed_count) {
        size_t covered;
        counters->rows_allowed += task.allowed_count;
        task.asked = (struct index_search){.queries = search->queries,
                                           .query_count = search->query_count,
                                           .query_stride = search->query_stride,
                                           .k = search->k < task.allowed_count ? search->k : task.allowed_count,
                                           .allowed = task.allowed,
                                           .allowed_count = task.allowed_count,
                                           .memos = chosen.shared && task.allowed == chosen.shared->words ? &chosen.shared->memos : NULL,
                                           .has_radius = search->has_radius,
                                           .pool = search->pool,
                                           .deadline = search->deadline};
        if (search->has_radius)
            task.asked.radius = distance_of(search->metric, search->radius);
        if (search->has_range_filter) /* the nearest are left out afterwards, so all within the radius are wanted */
            task.asked.k = task.allowed_count;
        ref = view_index(view, task.field);
        covered = ref ? atomic_load_explicit(&ref->covered, memory_order_acquire) : 0;
        if (covered > task.vectors.row_count)
            covered = task.vectors.row_count;
        if (scans(ref, search)) {
            /* also over growing rows: nothing is added to an index of the kinds that are exact */
            bool of_index = ref && !search->exact && ref->index->metric == search->metric &&
                            ref->index->vectors.row_count <= task.vectors.row_count;
            status = scan_view(&task, ref, of_index ? covered : 0, part, counters);
        } else {
            status = index_view(&task, ref, covered, part, counters);
        }
    }
    chosen_deinit(&chosen);
    return status;
}

/* ---- rows chosen before ---- */

void row_set_deinit(struct row_set *set)
{
    for (size_t v = 0; set->bitmaps && v < set->view_count; v++)
        mem_free(set->bitmaps[v]);
    mem_free(set->bitmaps);
    mem_free(set->counts);
    *set = (struct row_set){0};
}

static vecdb_status spell_out_view(const struct snapshot *snapshot, struct row_set *set, size_t view)
{
    size_t row_count = snapshot->views[view].row_count;

    if (set->bitmaps[view] || !set->counts[view])
        return VECDB_OK;
    set->bitmaps[view] = mem_array_alloc(bitmap_words(row_count), 8);
    if (!set->bitmaps[view])
        return error_nomem("search");
    bitmap_fill(set->bitmaps[view], row_count);
    return VECDB_OK;
}

vecdb_status row_set_spell_out(const struct snapshot *snapshot, struct row_set *set)
{
    for (size_t v = 0; v < set->view_count; v++)
        TRY(spell_out_view(snapshot, set, v));
    return VECDB_OK;
}

vecdb_status row_set_remove(const struct snapshot *snapshot, struct row_set *set, size_t view, size_t row)
{
    TRY(spell_out_view(snapshot, set, view));
    if (!set->counts[view] || !bitmap_get(set->bitmaps[view], row))
        return VECDB_OK;
    bitmap_clear(set->bitmaps[view], row);
    set->counts[view]--;
    return VECDB_OK;
}

vecdb_status row_set_choose(const struct snapshot *snapshot, const struct search *search, struct row_set *out,
                            struct search_counters *counters)
{
    vecdb_status status = VECDB_OK;

    *out = (struct row_set){.view_count = snapshot->view_count};
    out->bitmaps = mem_array_zalloc(snapshot->view_count + 1, sizeof *out->bitmaps);
    out->counts = mem_array_zalloc(snapshot->view_count + 1, sizeof *out->counts);
    if (!out->bitmaps || !out->counts)
        status = error_nomem("search");
    for (size_t v = 0; v < snapshot->view_count && status == VECDB_OK; v++) {
        struct chosen_rows chosen;
        struct vectors vectors;
        if (!view_vectors(&snapshot->views[v], snapshot->schema, search->field, &vectors))
            continue;
        status = choose_rows(snapshot, v, search->filter, search->partitions, search->partition_count, search->deadline,
                             &chosen, &counters->filter);
        if (status == VECDB_OK)
            status = narrow(snapshot, v, search, &vectors, &chosen);
        if (status == VECDB_OK && chosen.shared)
            status = chosen_own(&chosen, snapshot->views[v].row_count);
        if (status != VECDB_OK) {
            chosen_deinit(&chosen);
            break;
        }
        out->bitmaps[v] = chosen.rows;
        out->counts[v] = chosen.count;
    }
    if (status != VECDB_OK)
        row_set_deinit(out);
    return status;
}

/* ---- all segments ---- */

static bool within_range(const struct search *search, float distance)
{
    float limit;

    if (!search->has_radius && !search->has_range_filter)
        return true;
    if (search->has_radius && !(distance < distance_of(search->metric, search->radius)))
        return false;
    if (!search->has_range_filter)
        return true;
    limit = distance_of(search->metric, search->range_filter);
    return distance >= limit;
}

static vecdb_status merge_query(const struct snapshot *snapshot, const struct search *search, const struct part *parts,
                                size_t query, struct found *all, struct found *out, size_t *count)
{
    size_t n = 0, lists = 0;

    for (size_t v = 0; v < snapshot->view_count; v++) {
        if (!parts[v].hits)
            continue;
        lists += parts[v].sorted ? 1 : 2;
        for (size_t i = 0; i < parts[v].counts[query]; i++) {
            const struct hit *hit = &parts[v].hits[query * parts[v].k + i];
            if (within_range(search, hit->distance))
                all[n++] = (struct found){(uint32_t)v, hit->row, rank_of(search->metric, hit->distance)};
        }
    }
    if (lists > 1)
        qsort(all, n, sizeof *all, compare_found);
    TRY(order_ties(snapshot, all, n));
    *count = n < search->k ? n : search->k;
    for (size_t i = 0; i < *count; i++) {
        out[i] = all[i];
        out[i].score = metric_is_similarity(search->metric) ? -all[i].score : all[i].score;
    }
    return VECDB_OK;
}

vecdb_status search_run(const struct snapshot *snapshot, const struct search *search, struct found **found,
                        size_t *counts, struct search_counters *counters)
{
    struct part *parts = mem_array_zalloc(snapshot->view_count + 1, sizeof *parts);
    struct found *all = NULL;
    size_t most = 0;
    vecdb_status status = VECDB_OK;

    *found = NULL;
    if (!parts)
        return error_nomem("search");
    for (size_t v = 0; v < snapshot->view_count && status == VECDB_OK; v++) {
        status = search_view(snapshot, v, search, &parts[v], counters);
        most += parts[v].hits ? parts[v].k : 0;
    }
    if (status == VECDB_OK) {
        size_t room = search->k < most ? search->k : most;
        all = mem_array_alloc(most + 1, sizeof *all);
        *found = mem_array_alloc(search->query_count * room + 1, sizeof **found);
        if (!all || !*found)
            status = error_nomem("search");
        for (size_t q = 0, at = 0; q < search->query_count && status == VECDB_OK; q++, at += counts[q - 1])
            status = merge_query(snapshot, search, parts, q, all, *found + at, &counts[q]);
    }
    for (size_t v = 0; v < snapshot->view_count; v++) {
        mem_free(parts[v].hits);
        mem_free(parts[v].counts);
    }
    mem_free(parts);
    mem_free(all);
    if (status != VECDB_OK) {
        mem_free(*found);
        *found = NULL;
    }
    return status;
}
