/* An index file's DATA, of every kind: opened, checked, searched, saved again. The first byte chooses kind, metric and whether
 * rows are missing; the segment has 64 rows. What opens must pass its own check, and give rows that are there.
 *
 * With VECDB_FUZZ_SEEDS=directory in the environment the program writes one seed of each kind there. */
#include "base/bytes.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "fuzz.h"
#include "index/index.h"
#include "schema/sparse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { ROWS = 64, DIM = 8, HITS = 5 };

struct setting {
    const struct index_ops *ops;
    vecdb_metric metric;
    bool binary, sparse, nulls;
    struct vectors vectors;
    struct params build, search;
};

static uint8_t rows[ROWS * DIM * 4] __attribute__((aligned(64)));
static const uint8_t *const blocks[1] = {rows};
static uint64_t present = ~(uint64_t)0x1001001;
static vecdb_sparse sparse_rows[ROWS * DIM];
static uint32_t sparse_offsets[ROWS + 1];
static const struct sparse_vector sparse_query = {sparse_rows + 4 * DIM, DIM};

static vecdb_status read_sparse(void *context, size_t field, size_t block, size_t row_count, struct column_scratch *scratch,
                                struct column *out)
{
    *out = (struct column){.type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .data = (const uint8_t *)sparse_rows, .offsets = sparse_offsets,
                           .valid = context, .row_count = row_count};
    return VECDB_OK;
}

static bool set_up(uint8_t choice, struct setting *out)
{
    size_t count = 0;

    while (index_at(count))
        count++;
    *out = (struct setting){.ops = index_at((choice >> 1) % count), .nulls = choice & 1};
    out->binary = out->ops->types & 1u; /* VECDB_TYPE_BINARY_VECTOR is the first */
    if (out->binary && out->ops->types & (1u << (VECDB_TYPE_FLOAT_VECTOR - VECDB_TYPE_BINARY_VECTOR)))
        out->binary = false;
    out->sparse = out->ops->types == 1u << (VECDB_TYPE_SPARSE_FLOAT_VECTOR - VECDB_TYPE_BINARY_VECTOR);
    out->metric = out->binary ? VECDB_METRIC_HAMMING : out->sparse ? VECDB_METRIC_IP : VECDB_METRIC_L2;
    out->vectors = (struct vectors){.type = out->binary ? VECDB_TYPE_BINARY_VECTOR : VECDB_TYPE_FLOAT_VECTOR,
                                    .dim = out->binary ? DIM * 32 : DIM, .width = DIM * 4, .stride = DIM * 4,
                                    .row_count = ROWS, .block_shift = 10, .blocks = blocks,
                                    .present = out->nulls ? &present : NULL};
    if (out->sparse)
        out->vectors = (struct vectors){.type = VECDB_TYPE_SPARSE_FLOAT_VECTOR, .row_count = ROWS, .block_shift = 10,
                                        .present = out->vectors.present,
                                        .columns = {read_sparse, out->nulls ? &present : NULL, 0}};
    params_default(out->ops->build_params, &out->build);
    params_default(out->ops->search_params, &out->search);
    for (size_t i = 0; out->ops->build_params && out->ops->build_params[i].name; i++)
        if (strcmp(out->ops->build_params[i].name, "nlist") == 0)
            out->build.values[i] = 4;
    return true;
}

static void fill_rows(void)
{
    struct rng rng = rng_seeded(5);

    for (size_t i = 0; i < ROWS * DIM; i++) {
        float value = (float)rng_below(&rng, 100);
        memcpy(rows + 4 * i, &value, 4);
    }
    for (size_t i = 0; i < ROWS * DIM; i++)
        sparse_rows[i] = (vecdb_sparse){(uint32_t)(i % DIM * 10 + rng_below(&rng, 10)), 1 + (float)rng_below(&rng, 100)};
    for (uint32_t i = 0; i <= ROWS; i++)
        sparse_offsets[i] = i * DIM * (uint32_t)sizeof(vecdb_sparse);
}

/* The graphs' headers carry a hash of their own. */
static void mend_hash(uint8_t *data, size_t size)
{
    if (size < 512 || memcmp(data, "VGRF", 4) != 0)
        return;
    memset(data + 240, 0, 8);
    store_u64(data + 240, XXH3_64bits(data, 512));
}

static void use(struct index *index, const struct setting *setting)
{
    struct index_counters counters = {0};
    struct hit hits[HITS];
    size_t count = 0;
    struct buf saved = {0};
    struct index_search search = {.queries = rows + 4 * DIM * 4, .query_count = 1, .query_stride = DIM * 4, .k = HITS,
                                  .allowed = setting->nulls ? &present : NULL,
                                  .allowed_count = setting->nulls ? (size_t)__builtin_popcountll(present) : ROWS,
                                  .params = &setting->search};

    if (setting->sparse)
        search.queries = &sparse_query, search.query_stride = sizeof sparse_query;
    (void)index->ops->check(index);
    if (index->ops->search(index, &search, hits, &count, &counters) == VECDB_OK) {
        FUZZ_CHECK(count <= HITS);
        for (size_t i = 0; i < count; i++)
            FUZZ_CHECK(hits[i].row < ROWS);
    }
    (void)index->ops->save(index, &saved);
    (void)index->ops->memory(index);
    buf_deinit(&saved);
}

static void write_seeds(const char *directory)
{
    struct setting setting;

    for (uint8_t choice = 0; choice < 2 || index_at(choice >> 1); choice++) {
        struct index_build_context context = {.seed = 1};
        struct index *index = NULL;
        struct buf bytes = {0};
        char path[300];
        FILE *file;
        set_up(choice, &setting);
        snprintf(path, sizeof path, "%s/%s-%d", directory, setting.ops->name, setting.nulls);
        if (setting.ops->build(&setting.vectors, setting.metric, &setting.build, &context, &index) != VECDB_OK ||
            setting.ops->save(index, &bytes) != VECDB_OK || !(file = fopen(path, "wb"))) {
            fprintf(stderr, "%s: %s\n", path, error_last()->message);
        } else {
            fputc(choice, file);
            fwrite(bytes.data, 1, bytes.size, file);
            fclose(file);
        }
        if (index)
            index->ops->free(index);
        buf_deinit(&bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool filled;
    struct setting setting;
    struct index *index;
    uint8_t *copy;

    if (!filled) {
        fill_rows();
        filled = true;
        if (getenv("VECDB_FUZZ_SEEDS"))
            write_seeds(getenv("VECDB_FUZZ_SEEDS"));
    }
    if (size < 2 || !set_up(data[0], &setting))
        return 0;
    copy = mem_aligned_alloc(4096, size);
    memcpy(copy, data + 1, size - 1);
    mend_hash(copy, size - 1);
    if (setting.ops->open(copy, size - 1, &setting.vectors, setting.metric, &setting.build, &index) == VECDB_OK) {
        use(index, &setting);
        index->ops->free(index);
    }
    mem_free(copy);
    return 0;
}
