/* Lists beside a graph: searches under filters that lie to the vectors in every way find what they must, by scanning lists; files with
 * lists, without, and with broken ones; lists of graphs that grow. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <math.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "index/graph_lists_memo.h"
#include "index/graph_search.h"
#include "index/hnsw.h"
#include "support/neighbours.h"

enum { HEADER = 512, HASH_AT = 240, ROWS = 12000, DIM = 32, K = 10, QUERIES = 50, LISTS_AT = 348 };

struct fixture {
    struct test_rows rows;
    struct index *index;
    vecdb_metric metric;
};

static void make(struct fixture *f, vecdb_metric metric, enum test_shape shape, bool nulls)
{
    struct rng rng = rng_seeded(test_seed());
    struct index_build_context context = {.seed = 9};
    struct params params;

    f->metric = metric;
    f->rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, shape, 0, nulls);
    params_default(hnsw_ops.build_params, &params);
    params.values[0] = 8;
    params.values[1] = 60;
    assert_int_equal(hnsw_ops.build(&f->rows.vectors, metric, &params, &context, &f->index), VECDB_OK);
    assert_int_equal(hnsw_ops.check(f->index), VECDB_OK);
}

static void drop(struct fixture *f)
{
    hnsw_ops.free(f->index);
    test_rows_free(&f->rows);
}

/* The rows nearest to (or farthest from) row 5. */
static uint64_t *by_distance(const struct fixture *f, double share, bool far, size_t *count)
{
    const struct vectors *vectors = &f->rows.vectors;
    uint64_t *rows = mem_array_zalloc(bitmap_words(ROWS), 8);
    double *distances = malloc(ROWS * sizeof *distances), low = 0, high = 1e9;

    for (size_t i = 0; i < ROWS; i++)
        distances[i] = test_distance(f->metric, vectors->type, DIM, vectors_row(vectors, 5), vectors_row(vectors, i));
    if (f->metric == VECDB_METRIC_IP)
        low = -1e9;
    for (int round = 0; round < 80; round++) { /* the distance that the share begins or ends at */
        double middle = (low + high) / 2;
        size_t below = 0;
        for (size_t i = 0; i < ROWS; i++)
            below += distances[i] < middle;
        if ((double)below < (far ? 1 - share : share) * ROWS)
            low = middle;
        else
            high = middle;
    }
    *count = 0;
    for (size_t i = 0; i < ROWS; i++)
        if ((distances[i] >= low) == far && (!vectors->present || bitmap_get(vectors->present, i))) {
            bitmap_set(rows, i);
            ++*count;
        }
    free(distances);
    return rows;
}

static void search_again(const struct fixture *f, const struct index *index, uint64_t *allowed, size_t count, struct index_memos *memos,
                         const void *queries, struct hit *hits, size_t *counts, struct index_counters *counters, double *recall)
{
    struct params params;
    struct index_search search = {.queries = queries, .query_count = QUERIES, .query_stride = f->rows.vectors.stride, .k = K,
                                  .allowed = allowed, .allowed_count = count, .memos = memos, .params = &params};

    params_default(hnsw_ops.search_params, &params);
    *counters = (struct index_counters){0};
    assert_int_equal(hnsw_ops.search(index, &search, hits, counts, counters), VECDB_OK);
    for (size_t q = 0; q < QUERIES; q++) {
        assert_int_equal(counts[q], K);
        test_check_sound(&f->rows.vectors, f->metric, &search, q, hits + q * K, counts[q], 1e-3);
    }
    *recall = test_recall(&f->rows.vectors, f->metric, &search, hits, counts);
}

static void search_it(const struct fixture *f, const struct index *index, uint64_t *allowed, size_t count, const void *queries,
                      struct hit *hits, size_t *counts, struct index_counters *counters, double *recall)
{
    search_again(f, index, allowed, count, NULL, queries, hits, counts, counters, recall);
}

/* Queries that lie where codes do not reach, of which lists know nothing. */
static size_t count_far(const struct fixture *f, const struct index *index, const uint8_t *queries)
{
    const struct graph_codec *codec = &atomic_load(&((const struct graph *)index)->state)->codec;
    float *scratch = mem_array_alloc(graph_codec_scratch(codec) + 1, sizeof *scratch);
    uint8_t *code = mem_aligned_alloc(64, align_up(2 * codec->stride, 64));
    size_t far = 0;

    for (size_t q = 0; q < QUERIES; q++) {
        struct graph_query query;
        graph_codec_query(codec, f->rows.vectors.type, queries + q * f->rows.vectors.stride, scratch, code, &query);
        far += query.kind == GRAPH_CODE_FAR;
    }
    mem_free(scratch);
    mem_free(code);
    return far;
}

/* All were by lists, but for those that lie beyond the codes: of these all passing rows were scanned. */
static void expect_lists(const struct fixture *f, const struct index *index, const uint8_t *queries,
                         const struct index_counters *counters)
{
    size_t far = count_far(f, index, queries);

    assert_true(far <= QUERIES / 10);
    assert_int_equal(counters->list_scans, QUERIES - far);
    assert_int_equal(counters->code_scans, far);
    assert_int_equal(counters->row_scans, 0);
}

/* What is kept with a filter: searches that come again find what they must, of whatever partition of the rows. */
static void test_again(void **state)
{
    enum { ROUNDS = 10, ROOM = 1 << 20 };
    struct rng rng = rng_seeded(test_seed());
    struct index_build_context context = {.seed = 77};
    struct index *other;
    struct params params;
    struct fixture f;

    (void)state;
    make(&f, VECDB_METRIC_L2, TEST_CLUSTERS, false);
    params_default(hnsw_ops.build_params, &params);
    assert_int_equal(hnsw_ops.build(&f.rows.vectors, VECDB_METRIC_L2, &params, &context, &other), VECDB_OK);
    for (size_t kind = 0; kind < 4; kind++) {
        struct index_memos memos;
        size_t count, counts[QUERIES], memo_count = 0, scored = 0, scored_before = 0;
        uint64_t *allowed = kind == 0 ? test_bitmap(&rng, ROWS, 0.3, &count) : by_distance(&f, kind == 1 ? 0.4 : 0.7, kind < 3, &count);
        double recalls = 0, recall;
        index_memos_init(&memos, ROOM);
        for (size_t round = 0; round < ROUNDS; round++) {
            struct index_counters counters;
            struct hit hits[QUERIES * K];
            const uint8_t *queries = f.rows.data + round * QUERIES * f.rows.vectors.stride;
            const struct index *index = round == 1 ? other : f.index; /* its lists are others */
            search_it(&f, index, allowed, count, queries, hits, counts, &counters, &recall);
            scored_before += counters.rows_scored;
            search_again(&f, index, allowed, count, &memos, queries, hits, counts, &counters, &recall);
            scored += counters.rows_scored;
            recalls += recall / ROUNDS;
        }
        if (recalls < 0.95)
            fail_msg("filter %zu: recall %.3f", kind, recalls);
        if (scored > scored_before * 3 / 2) /* walks score each row, scans few of those they look at */
            fail_msg("filter %zu: %zu rows scored, %zu without what is kept", kind, scored, scored_before);
        for (struct index_memo *memo = atomic_load(&memos.first); memo; memo = memo->next)
            memo_count++;
        assert_true(memo_count == 2 || (kind == 3 && memo_count < 2)); /* of each index; nearest to a row: walked, as a rule */
        index_memos_deinit(&memos);
        mem_free(allowed);
    }
    hnsw_ops.free(other);
    drop(&f);
}

/* Indexes that search in the same rows by turns, as those of a hybrid search do: each gets its memo, as long as there is room. */
static void test_memos(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct index_build_context context = {.seed = 77};
    size_t count, counts[QUERIES], one;
    struct hit hits[QUERIES * K];
    struct index_counters counters;
    struct index *indexes[2];
    struct params params;
    struct fixture f;
    uint64_t *allowed;
    double recall;

    (void)state;
    make(&f, VECDB_METRIC_L2, TEST_CLUSTERS, false);
    params_default(hnsw_ops.build_params, &params);
    indexes[0] = f.index;
    assert_int_equal(hnsw_ops.build(&f.rows.vectors, VECDB_METRIC_L2, &params, &context, &indexes[1]), VECDB_OK);
    allowed = test_bitmap(&rng, ROWS, 0.2, &count);
    for (size_t room = 0; room < 3; room++) { /* for none, one, both */
        struct index_memos memos;
        index_memos_init(&memos, room == 0 ? 100 : room == 1 ? one * 3 / 2 : 1 << 20);
        for (size_t round = 0; round < 6; round++) {
            search_again(&f, indexes[round % 2], allowed, count, &memos, f.rows.data, hits, counts, &counters, &recall);
            assert_true(recall >= 0.9);
        }
        one = index_memos_memory(&memos);
        if (room == 0) {
            assert_null(atomic_load(&memos.first));
            one = sizeof(struct graph_lists_memo) + ROWS / 8 + ROWS / 10;
            continue;
        }
        assert_non_null(atomic_load(&memos.first));
        assert_true((atomic_load(&memos.first)->next != NULL) == (room == 2));
        assert_true(one >= room * ROWS / 8 && one <= memos.most);
        assert_false(atomic_load(&memos.making));
        one = atomic_load(&memos.first)->bytes;
        index_memos_deinit(&memos);
    }
    mem_free(allowed);
    hnsw_ops.free(indexes[1]);
    drop(&f);
}

static void test_filters(void **state)
{
    static const vecdb_metric metrics[] = {VECDB_METRIC_L2, VECDB_METRIC_COSINE, VECDB_METRIC_IP};
    static const double shares[] = {0.1, 0.15, 0.3, 0.45}; /* of the first so few rows pass that all of them are scanned */
    struct rng rng = rng_seeded(test_seed());

    (void)state;
    for (size_t m = 0; m < 3; m++) {
        struct fixture f;
        make(&f, metrics[m], TEST_CLUSTERS, false);
        for (size_t s = 0; s < 12; s++) {
            double share = shares[s % 4], recall;
            size_t count, counts[QUERIES];
            struct hit hits[QUERIES * K];
            struct index_counters counters;
            uint64_t *allowed = s < 4 ? test_bitmap(&rng, ROWS, share, &count) : by_distance(&f, share, s < 8, &count);
            search_it(&f, f.index, allowed, count, f.rows.data, hits, counts, &counters, &recall);
            if (s % 4)
                expect_lists(&f, f.index, f.rows.data, &counters);
            else
                assert_int_equal(counters.code_scans, QUERIES);
            if (recall < 0.95)
                fail_msg("metric %d, filter %zu: recall %.3f", (int)metrics[m], s, recall);
            if (s > 0 && s < 4) /* where rows pass at random, a part of them is enough */
                assert_true(counters.rows_scored < QUERIES * count * 6 / 10);
            mem_free(allowed);
        }
        drop(&f);
    }
}

static void fix_hash(uint8_t *h)
{
    memset(h + HASH_AT, 0, 8);
    store_u64(h + HASH_AT, XXH3_64bits(h, HEADER));
}

static vecdb_status open_it(const struct fixture *f, const uint8_t *data, size_t size, struct index **index)
{
    struct params params;

    params_default(hnsw_ops.build_params, &params);
    return hnsw_ops.open(data, size, &f->rows.vectors, f->metric, &params, index);
}

/* Where each array of the lists begins, from the file's end backwards. */
static void find_arrays(const struct buf *saved, size_t at[9])
{
    uint32_t count = load_u32(saved->data + LISTS_AT), rows = load_u32(saved->data + LISTS_AT + 8);
    uint32_t dim = load_u32(saved->data + 64), stride = load_u32(saved->data + 88);
    const size_t sizes[9] = {(size_t)count * stride, (size_t)count * 4, (size_t)count * 4, (size_t)4 * 128 * 4, dim / 2, (size_t)dim * 4,
                             ((size_t)count + 1) * 4, (size_t)rows * 4, (size_t)rows * (8 + dim / 8)};
    size_t from = saved->size;

    for (size_t i = 9; i-- > 0;)
        at[i] = from -= align_up(sizes[i], 64);
}

static void expect_corrupt(const struct fixture *f, uint8_t *data, const struct buf *saved, const char *words, int line)
{
    struct index *index = NULL;
    vecdb_status status;

    fix_hash(data);
    status = open_it(f, data, saved->size, &index);
    if (status != VECDB_ERR_CORRUPT || !strstr(error_last()->message, words))
        fail_msg("line %d: status %d, \"%s\" does not say \"%s\"", line, (int)status, error_last()->message, words);
    memcpy(data, saved->data, saved->size);
}

static void store_float(uint8_t *at, float value) { memcpy(at, &value, 4); }

static void test_file(void **state)
{
    struct rng rng = rng_seeded(test_seed());
    struct hit hits[QUERIES * K], again[QUERIES * K];
    size_t count, counts[QUERIES], at[9], list_scans;
    struct index_counters counters;
    struct buf saved = {0};
    struct index *opened;
    struct fixture f;
    uint64_t *allowed;
    uint8_t *data;
    double recall;

    (void)state;
    make(&f, VECDB_METRIC_L2, TEST_CLUSTERS, true);
    assert_int_equal(hnsw_ops.save(f.index, &saved), VECDB_OK);
    data = mem_aligned_alloc(64, saved.size);
    memcpy(data, saved.data, saved.size);
    allowed = by_distance(&f, 0.3, true, &count);
    search_it(&f, f.index, allowed, count, f.rows.data, hits, counts, &counters, &recall);
    list_scans = counters.list_scans;
    expect_lists(&f, f.index, f.rows.data, &counters);
    assert_int_equal(open_it(&f, data, saved.size, &opened), VECDB_OK);
    assert_int_equal(hnsw_ops.check(opened), VECDB_OK);
    search_it(&f, opened, allowed, count, f.rows.data, again, counts, &counters, &recall);
    assert_int_equal(counters.list_scans, list_scans);
    assert_memory_equal(hits, again, sizeof hits);
    hnsw_ops.free(opened);

    find_arrays(&saved, at);
    for (size_t round = 0; round < 2; round++) { /* a file from before there were lists */
        size_t size = at[0];
        store_u64(data + 8, size);
        memset(data + LISTS_AT, 0, 12);
        fix_hash(data);
        assert_int_equal(open_it(&f, data, size, &opened), VECDB_OK);
        search_it(&f, opened, allowed, count, f.rows.data, again, counts, &counters, &recall);
        assert_int_equal(counters.list_scans, 0);
        assert_true(recall >= 0.95);
        hnsw_ops.free(opened);
        memcpy(data, saved.data, saved.size);
    }

#define BREAK32(offset, value, words)                                                                                  \
    (store_u32(data + (offset), (value)), expect_corrupt(&f, data, &saved, words, __LINE__))
#define BREAKF(offset, value, words)                                                                                   \
    (store_float(data + (offset), (value)), expect_corrupt(&f, data, &saved, words, __LINE__))
    BREAK32(LISTS_AT, load_u32(data + LISTS_AT) + 1000, "would take");
    BREAK32(LISTS_AT, UINT32_MAX, "would take");
    BREAK32(LISTS_AT, 0, "byte 352");
    BREAK32(LISTS_AT + 4, ROWS + 1, "would take");
    BREAK32(LISTS_AT + 4, ROWS - 1, "which is not below");
    BREAK32(LISTS_AT + 8, load_u32(data + LISTS_AT + 8) - 100, "would take");
    BREAK32(LISTS_AT + 8, UINT32_MAX, "would take");
    BREAKF(at[1], NAN, "beyond");
    BREAKF(at[1] + 4, -1, "beyond -1");
    BREAKF(at[2], INFINITY, "spread inf");
    BREAKF(at[3], 2, "tail: 2 in step 0");
    BREAKF(at[3] + 127 * 4, 0, "in step 127");
    BREAKF(at[3] + 300 * 4, NAN, "in step 300");
    BREAKF(at[5] + 4, NAN, "center");
    BREAK32(at[6], 1, "offsets 1");
    BREAK32(at[6] + 8, UINT32_MAX, "list 2 ends");
    BREAK32(at[7], ROWS, "row 12000");
    BREAK32(at[7], load_u32(data + at[7] + 4), "is in two");
    BREAK32(at[7], 3, "has no value");
    BREAKF(at[8], NAN, "sketch 0");
    BREAKF(at[8] + 4 + 16, INFINITY, "sketch 1");
    mem_free(data);
    for (size_t round = 0; round < 300; round++) { /* whatever a few flipped bytes do */
        struct params params;
        struct index_search search = {.queries = f.rows.data, .query_count = 1, .query_stride = f.rows.vectors.stride, .k = K,
                                      .allowed = allowed, .allowed_count = count, .params = &params};
        data = mem_aligned_alloc(64, saved.size);
        memcpy(data, saved.data, saved.size);
        for (size_t i = 0; i < 1 + rng_below(&rng, 3); i++)
            data[at[round % 9] + rng_below(&rng, (round % 9 < 8 ? at[round % 9 + 1] : saved.size) - at[round % 9])] ^=
                (uint8_t)(1 + rng_below(&rng, 255));
        params_default(hnsw_ops.search_params, &params);
        if (open_it(&f, data, saved.size, &opened) == VECDB_OK) {
            assert_int_equal(hnsw_ops.search(opened, &search, hits, counts, &counters), VECDB_OK);
            for (size_t i = 0; i < counts[0]; i++)
                assert_true(hits[i].row < ROWS && bitmap_get(allowed, hits[i].row));
            hnsw_ops.free(opened);
        }
        mem_free(data);
    }
    mem_free(allowed);
    buf_deinit(&saved);
    drop(&f);
}

static void grow(uint64_t seed)
{
    struct rng rng = rng_seeded(seed);
    struct index_build_context context = {.seed = 9};
    struct hit hits[QUERIES * K];
    struct index_counters counters;
    size_t count, counts[QUERIES];
    struct vectors all, part;
    struct params params;
    struct fixture f = {.metric = VECDB_METRIC_L2};
    uint64_t *allowed;
    double recall;

    f.rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, DIM, ROWS, TEST_INTEGERS, 0, false);
    all = part = f.rows.vectors;
    params_default(hnsw_ops.build_params, &params);
    params.values[0] = 8;
    params.values[1] = 30;
    part.row_count = 0;
    assert_int_equal(hnsw_ops.build(&part, f.metric, &params, &context, &f.index), VECDB_OK);
    for (size_t rows = 9000; rows <= ROWS; rows += 1000) {
        part.row_count = rows;
        assert_int_equal(hnsw_ops.add(f.index, &part, &context), VECDB_OK);
        assert_int_equal(hnsw_ops.check(f.index), VECDB_OK);
        f.rows.vectors = part;
        allowed = test_bitmap(&rng, ROWS, 0.4, &count);
        for (size_t i = rows; i < ROWS; i++)
            bitmap_clear(allowed, i);
        for (size_t i = rows - QUERIES; i < rows; i++)
            bitmap_set(allowed, i);
        count = bitmap_count(allowed, ROWS);
        search_it(&f, f.index, allowed, count, f.rows.data + (rows - QUERIES) * all.stride, hits, counts, &counters, &recall);
        expect_lists(&f, f.index, f.rows.data + (rows - QUERIES) * all.stride, &counters);
        assert_true(recall >= 0.95);
        for (size_t q = 0; q < QUERIES; q++) /* itself, or its twin */
            assert_true(hits[q * K].distance == 0);
        mem_free(allowed);
    }
    f.rows.vectors = all;
    drop(&f);
}

/* Rows that came after the lists are found; lists are made again as rows come. With seeds 10 and 21 a row lies beyond where scans end. */
static void test_growing(void **state)
{
    (void)state;
    grow(test_seed());
    grow(10);
    grow(21);
}

/* What a search left behind has room for the lists of other codes too: with rows of several lengths, inner products take a dimension
 * more, and of 512 dimensions that makes a query's planes longer where lists become no more. */
static void test_longer_codes(void **state)
{
    enum { FIRST = 2100, MORE = 8399, ALL = 8660, LONG = 512 };
    struct rng rng = rng_seeded(3);
    struct index_build_context context = {.seed = 9};
    struct fixture f = {.metric = VECDB_METRIC_IP};
    struct index_counters counters;
    struct hit hits[QUERIES * K];
    size_t count, counts[QUERIES], lists = 0, dim = 0;
    const struct graph *graph;
    struct params params;
    struct vectors all;
    double recall;

    (void)state;
    f.rows = test_rows_make(&rng, VECDB_TYPE_FLOAT_VECTOR, LONG, ALL, TEST_CLUSTERS, 0, false);
    all = f.rows.vectors;
    for (size_t i = 0; i < ALL; i++) {
        float *row = (float *)(void *)(f.rows.data + i * all.stride), sum = 0;
        if (i > MORE)
            memcpy(row, f.rows.data + MORE * all.stride, all.stride);
        for (size_t d = 0; d < LONG; d++)
            sum += row[d] * row[d];
        for (size_t d = 0; d < LONG && i <= MORE; d++)
            row[d] *= (i < MORE ? 1 : 0.7f) / sqrtf(sum);
    }
    params_default(hnsw_ops.build_params, &params);
    params.values[0] = 4;
    params.values[1] = 16;
    f.rows.vectors.row_count = FIRST;
    assert_int_equal(hnsw_ops.build(&f.rows.vectors, f.metric, &params, &context, &f.index), VECDB_OK);
    graph = (const struct graph *)f.index;
    for (size_t round = 0; round < 2; round++) {
        const struct graph_state *now;
        uint64_t *allowed;
        f.rows.vectors.row_count = round ? ALL : MORE;
        assert_int_equal(hnsw_ops.add(f.index, &f.rows.vectors, &context), VECDB_OK);
        now = atomic_load(&graph->state);
        allowed = test_bitmap(&rng, f.rows.vectors.row_count, 0.4, &count);
        search_it(&f, f.index, allowed, count, f.rows.data, hits, counts, &counters, &recall);
        assert_true(counters.list_scans > 0);
        assert_true(recall >= 0.8);
        assert_non_null(graph->scratch);
        assert_true(graph->scratch->list_words >= now->codec.code_dim / 64);
        if (round) { /* else this would not be the case that is meant */
            assert_int_equal(now->codec.code_dim, dim + 64);
            assert_true(atomic_load(&graph->lists)->count <= lists);
        }
        dim = now->codec.code_dim;
        lists = atomic_load(&graph->lists)->count;
        mem_free(allowed);
    }
    f.rows.vectors = all;
    drop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_memos),
        cmocka_unit_test(test_file),
        cmocka_unit_test(test_growing),
        cmocka_unit_test(test_longer_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
