/* Searching: into a result, into the caller's storage, hybrid, explained. */
#include "api/answer.h"
#include "query/hybrid.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

vecdb_status vecdb_search(vecdb_collection *collection, const vecdb_search_request *request, vecdb_result **out)
{
    vecdb_search_request read = VECDB_SEARCH_REQUEST_INIT;
    struct output output = {0};
    struct result *result;
    struct answer answer;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "search: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    if ((status = struct_read("search request", request, &read, sizeof read)) != VECDB_OK ||
        (status = answer_run(collection, &read, &answer)) != VECDB_OK)
        return call_end(&call, status);
    status = output_init(&output, answer.snapshot->schema, read.output_fields, read.output_count);
    if (status == VECDB_OK)
        status = output_fetch(&output, answer.snapshot, answer.found, answer.first, read.query_count, true, &result);
    if (status == VECDB_OK) {
        result->exhausted = answer.exhausted;
        status = wrap_result(result, out);
    }
    if (status == VECDB_OK && answer.exhausted)
        status = VECDB_EXHAUSTED;
    output_deinit(&output);
    answer_deinit(&answer);
    return call_end(&call, status);
}

vecdb_status vecdb_search_into(vecdb_collection *collection, const vecdb_search_request *request, int64_t *keys,
                               float *scores, size_t *counts)
{
    vecdb_search_request read = VECDB_SEARCH_REQUEST_INIT;
    struct key_reader reader = {0};
    size_t primary;
    struct answer answer;
    struct call call;
    vecdb_status status;

    TRY(call_begin_collection(&call, collection));
    if (!keys)
        return call_end(&call, error_set(VECDB_ERR_INVALID, "search: keys is NULL"));
    if ((status = struct_read("search request", request, &read, sizeof read)) != VECDB_OK ||
        (status = answer_run(collection, &read, &answer)) != VECDB_OK)
        return call_end(&call, status);
    primary = answer.snapshot->schema->primary;
    if (answer.snapshot->schema->fields[primary].type != VECDB_TYPE_INT64)
        status = error_set(VECDB_ERR_TYPE, "field %s is a VARCHAR key: use vecdb_search",
                           answer.snapshot->schema->fields[primary].name);
    for (size_t q = 0; q < read.query_count && status == VECDB_OK; q++) {
        size_t count = answer.first[q + 1] - answer.first[q];
        if (counts)
            counts[q] = count;
        for (size_t i = 0; i < read.limit && status == VECDB_OK; i++) {
            const struct found *found = &answer.found[answer.first[q] + i];
            size_t at = q * read.limit + i;
            keys[at] = -1;
            if (scores)
                scores[at] = NAN;
            if (i >= count)
                continue;
            status = view_int64_key(&answer.snapshot->views[found->view], answer.snapshot->schema, found->row, &reader, &keys[at]);
            if (scores)
                scores[at] = found->score;
        }
    }
    if (status == VECDB_OK && answer.exhausted)
        status = VECDB_EXHAUSTED;
    buf_deinit(&reader.scratch.bytes);
    answer_deinit(&answer);
    return call_end(&call, status);
}

/* ---- hybrid ---- */

static vecdb_status read_hybrid(const vecdb_hybrid_request *request, vecdb_hybrid_request *read, struct ranker *ranker)
{
    TRY(struct_read("hybrid request", request, read, sizeof *read));
    if (!read->searches || read->search_count == 0)
        return error_set(VECDB_ERR_INVALID, "hybrid search: no searches");
    if (read->search_count > 1024)
        return error_set(VECDB_ERR_LIMIT, "hybrid search: %zu searches are more than 1024", read->search_count);
    if (read->limit == 0)
        return error_set(VECDB_ERR_INVALID, "hybrid search: limit is 0, it must be at least 1");
    if (!read->ranker || strcmp(read->ranker, "rrf") == 0) {
        ranker->rrf_k = read->rrf_k != 0 ? read->rrf_k : 60;
        if (!(ranker->rrf_k > 0 && ranker->rrf_k < 16384))
            return error_set(VECDB_ERR_INVALID, "hybrid search: rrf_k is %g, it must be in (0, 16384)", ranker->rrf_k);
        return VECDB_OK;
    }
    if (strcmp(read->ranker, "weighted") != 0)
        return error_set(VECDB_ERR_INVALID, "hybrid search: ranker %s is unknown; there are rrf and weighted", read->ranker);
    if (!read->weights)
        return error_set(VECDB_ERR_INVALID, "hybrid search: weights is NULL");
    for (size_t i = 0; i < read->search_count; i++)
        if (!(read->weights[i] >= 0 && read->weights[i] <= 1))
            return error_set(VECDB_ERR_INVALID, "hybrid search: weight %zu is %g, it must be in [0, 1]", i, read->weights[i]);
    ranker->weighted = true;
    ranker->weights = read->weights;
    ranker->raw_scores = read->raw_scores;
    return VECDB_OK;
}

/* One of the searches, on the common snapshot. */
struct hybrid_part {
    struct request request;
    bool ready;
    struct found *found;
    size_t *counts;
};

static vecdb_status run_part(vecdb_collection *collection, struct snapshot *snapshot, const vecdb_search_request *asked,
                             size_t query_count, struct hybrid_part *part)
{
    vecdb_search_request read = VECDB_SEARCH_REQUEST_INIT;
    struct search_counters counters = {0};

    TRY(struct_read("search request", asked, &read, sizeof read));
    if (query_count && read.query_count != query_count)
        return error_set(VECDB_ERR_INVALID, "hybrid search: one search has %zu queries, another %zu", query_count,
                         read.query_count);
    if (read.group_by || read.query_filters)
        return error_set(VECDB_ERR_UNSUPPORTED, "hybrid search: its searches take no group_by and no query_filters");
    TRY(answer_prepare(collection, snapshot, &read, &part->request));
    part->ready = true;
    part->counts = mem_array_zalloc(read.query_count + 1, sizeof *part->counts);
    if (!part->counts)
        return error_nomem("hybrid search");
    return search_run(snapshot, &part->request.search, &part->found, part->counts, &counters);
}

static vecdb_status merge_parts(const struct snapshot *snapshot, const vecdb_hybrid_request *read,
                                const struct ranker *ranker, const struct hybrid_part *parts, size_t query_count,
                                struct buf *merged, size_t *first)
{
    struct ranked_list *lists = mem_array_alloc(read->search_count, sizeof *lists);
    size_t *at = mem_array_zalloc(read->search_count, sizeof *at);
    vecdb_status status = lists && at ? VECDB_OK : error_nomem("hybrid search");

    for (size_t q = 0; q < query_count && status == VECDB_OK; q++) {
        for (size_t i = 0; i < read->search_count; i++) {
            lists[i] = (struct ranked_list){parts[i].found + at[i], parts[i].counts[q], parts[i].request.search.metric};
            at[i] += parts[i].counts[q];
        }
        status = hybrid_merge(snapshot, lists, read->search_count, ranker, read->limit, read->offset, merged);
        first[q + 1] = merged->size / sizeof(struct found);
    }
    mem_free(lists);
    mem_free(at);
    return status;
}

vecdb_status vecdb_hybrid_search(vecdb_collection *collection, const vecdb_hybrid_request *request, vecdb_result **out)
{
    vecdb_hybrid_request read = VECDB_HYBRID_REQUEST_INIT;
    struct hybrid_part *parts = NULL;
    struct snapshot *snapshot = NULL;
    struct output output = {0};
    struct ranker ranker = {0};
    struct buf merged = {0};
    size_t *first = NULL, query_count = 0;
    struct result *result;
    struct call call;
    vecdb_status status;

    if (!out)
        return error_set(VECDB_ERR_INVALID, "hybrid search: out is NULL");
    *out = NULL;
    TRY(call_begin_collection(&call, collection));
    status = read_hybrid(request, &read, &ranker);
    if (status == VECDB_OK)
        status = take_snapshot(collection, &snapshot);
    if (status == VECDB_OK && !(parts = mem_array_zalloc(read.search_count, sizeof *parts)))
        status = error_nomem("hybrid search");
    for (size_t i = 0; i < read.search_count && status == VECDB_OK; i++) {
        status = run_part(collection, snapshot, read.searches[i], query_count, &parts[i]);
        query_count = parts[i].request.search.query_count;
    }
    if (status == VECDB_OK && !(first = mem_array_zalloc(query_count + 1, sizeof *first)))
        status = error_nomem("hybrid search");
    if (status == VECDB_OK)
        status = merge_parts(snapshot, &read, &ranker, parts, query_count, &merged, first);
    if (status == VECDB_OK)
        status = output_init(&output, snapshot->schema, read.output_fields, read.output_count);
    if (status == VECDB_OK) {
        answer_round((struct found *)(void *)merged.data, first[query_count], read.round_decimal);
        status = output_fetch(&output, snapshot, (const struct found *)(const void *)merged.data, first, query_count, true,
                              &result);
    }
    if (status == VECDB_OK)
        status = wrap_result(result, out);
    for (size_t i = 0; parts && i < read.search_count; i++) {
        if (parts[i].ready)
            request_deinit(&parts[i].request);
        mem_free(parts[i].found);
        mem_free(parts[i].counts);
    }
    mem_free(parts);
    mem_free(first);
    buf_deinit(&merged);
    output_deinit(&output);
    snapshot_release(snapshot);
    return call_end(&call, status);
}
