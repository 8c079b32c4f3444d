/* What an index says that its searches read: the sizes of its own codes, links and copies, not of its kind. */
#include "base/mem.h"
#include "base/pool.h"
#include "index/index.h"
#include "support/unit.h"

#include <stdlib.h>

enum { DIM = 128, ROWS = 6000 };

struct table {
    float *rows;
    const uint8_t *block;
    struct vectors vectors;
    struct pool *pool;
};

/* whole: values 0..255 without a fraction, which codes of a byte lose nothing of. */
static void table_make(struct table *table, bool whole)
{
    uint64_t seed = 7;

    table->rows = malloc((size_t)ROWS * DIM * sizeof(float));
    for (size_t i = 0; i < (size_t)ROWS * DIM; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        float value = (float)(seed >> 40) / 65536;
        table->rows[i] = whole ? (float)(int)value : value;
    }
    table->block = (const uint8_t *)table->rows;
    table->vectors = (struct vectors){.type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .width = 4 * DIM, .stride = 4 * DIM,
                                      .row_count = ROWS, .block_shift = 31, .blocks = &table->block};
    assert_int_equal(pool_create(1, &table->pool), VECDB_OK);
}

static void table_free(struct table *table)
{
    pool_free(table->pool);
    free(table->rows);
}

static struct index_reads reads_of(struct table *table, const char *kind, const char *text)
{
    const struct index_ops *ops = index_find(kind);
    struct index_build_context context = {.pool = table->pool, .seed = 1};
    struct index_reads reads = {0};
    struct params params;
    struct index *index;

    assert_non_null(ops);
    assert_int_equal(params_parse(kind, ops->build_params, ops->search_params, text, &params), VECDB_OK);
    assert_int_equal(ops->build(&table->vectors, VECDB_METRIC_L2, &params, &context, &index), VECDB_OK);
    ops->reads(index, &reads);
    ops->free(index);
    return reads;
}

static void assert_reads(struct table *table, const char *kind, const char *text, struct index_reads wanted)
{
    struct index_reads reads = reads_of(table, kind, text);

    if (reads.query != wanted.query || reads.row != wanted.row || reads.exact != wanted.exact || reads.hop != wanted.hop)
        fail_msg("%s %s: query %zu, row %zu, exact %zu, hop %zu; wanted %zu, %zu, %zu, %zu", kind, text, reads.query, reads.row,
                 reads.exact, reads.hop, wanted.query, wanted.row, wanted.exact, wanted.hop);
}

static void test_graphs(void **state)
{
    struct table table;

    (void)state;
    table_make(&table, false);
    assert_reads(&table, "HNSW", "M=16", (struct index_reads){.row = DIM, .exact = 4 * DIM, .hop = 4 * 32});
    assert_reads(&table, "HNSW", "M=8", (struct index_reads){.row = DIM, .exact = 4 * DIM, .hop = 4 * 16});
    /* fused: the links and, of each, two floats and a bit a dimension in one block */
    assert_true(reads_of(&table, "HNSW", "M=16, layout=fused").hop >= 32 * (4 + 8 + DIM / 8));
    table_free(&table);
}

static void test_scans(void **state)
{
    struct table whole, any;

    (void)state;
    table_make(&whole, true);
    table_make(&any, false);
    /* bytes and their squared length; codes with their square, step and error */
    assert_reads(&whole, "FLAT", "", (struct index_reads){.row = DIM + 4, .exact = 4 * DIM});
    assert_reads(&any, "FLAT", "accel=sq8", (struct index_reads){.row = DIM + 12, .exact = 4 * DIM});
    assert_reads(&any, "FLAT", "accel=none", (struct index_reads){.row = 4 * DIM, .exact = 4 * DIM});
    assert_int_equal(reads_of(&whole, "IVF_FLAT", "nlist=16").row, DIM + 4);
    assert_int_equal(reads_of(&any, "IVF_FLAT", "nlist=16").row, DIM + 12);
    assert_int_equal(reads_of(&any, "IVF_PQ", "nlist=16, m=32, nbits=4").row, 16 + 4);
    assert_int_equal(reads_of(&any, "IVF_PQ", "nlist=16, m=32, nbits=8").row, 32 + 4);
    assert_int_equal(reads_of(&any, "IVF_RABITQ", "nlist=16").row, DIM / 8 + 12);
    /* centroids are read by every query: floats, or codes of them */
    assert_in_range(reads_of(&any, "IVF_FLAT", "nlist=16").query, 16 * DIM, 16 * 4 * DIM);
    assert_true(reads_of(&any, "IVF_FLAT", "nlist=64").query == 4 * reads_of(&any, "IVF_FLAT", "nlist=16").query);
    table_free(&whole);
    table_free(&any);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_graphs), cmocka_unit_test(test_scans)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
