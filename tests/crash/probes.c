#include "crash/probes.h"

#include "api/handle.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/rng.h"
#include "filter/filter.h"
#include "index/index.h"
#include "schema/rows.h"
#include "storage/manifest.h"
#include "support/fault.h"
#include "support/simfs.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIRECTORY "db"

static const struct driver probes = {.name = "probe"};

static void wrong(struct counters *counters, const char *what, size_t a, size_t b)
{
    crash_violation(counters, &probes, 0, "%s (%zu, %zu): %s", what, a, b, error_last()->message);
}

/* A collection of key and vector; indexed with HNSW on demand. */
struct small {
    struct simfs *fs;
    vecdb_db *db;
    vecdb_collection *collection;
    uint32_t dim;
};

static bool small_open(struct small *small)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {
        {.name = "key", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = small->dim},
    };

    options.threads = 1;
    schema.name = "rows";
    schema.fields = fields;
    schema.field_count = 2;
    if (db_open_with_vfs(simfs_vfs(small->fs), DIRECTORY, &options, &small->db) != VECDB_OK)
        return false;
    if (vecdb_collection_open(small->db, "rows", &small->collection) == VECDB_OK)
        return true;
    return vecdb_collection_create(small->db, &schema, &small->collection) == VECDB_OK;
}

static void small_close(struct small *small)
{
    (void)vecdb_collection_close(&small->collection);
    (void)vecdb_close(&small->db);
}

static vecdb_status small_upsert(struct small *small, int64_t first, size_t count, uint64_t seed)
{
    vecdb_batch batch = VECDB_BATCH_INIT;
    int64_t *keys = malloc(count * sizeof *keys);
    float *vectors = malloc(count * small->dim * sizeof *vectors);
    vecdb_column columns[] = {
        {.field = "key", .type = VECDB_TYPE_INT64, .data = keys},
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = small->dim, .data = vectors},
    };
    struct rng rng = rng_seeded(seed);
    vecdb_status status;

    for (size_t i = 0; i < count; i++)
        keys[i] = first + (int64_t)i;
    for (size_t i = 0; i < count * small->dim; i++)
        vectors[i] = (float)rng_below(&rng, 1000);
    batch.columns = columns;
    batch.column_count = 2;
    batch.row_count = count;
    status = vecdb_upsert(small->collection, &batch, NULL);
    free(keys);
    free(vectors);
    return status;
}

/* -- a full disk */

static uint64_t rows_there(struct small *small)
{
    uint64_t rows = UINT64_MAX;

    (void)vecdb_count(small->collection, NULL, NULL, &rows);
    return rows;
}

void probe_full_disk(struct counters *counters)
{
    struct small small = {.fs = simfs_create(), .dim = 16};
    struct simfs_faults full = {0};
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    uint64_t rows;
    int64_t next = 500;

    if (!small_open(&small) || small_upsert(&small, 0, 500, 1) != VECDB_OK || vecdb_flush(small.collection) < 0 ||
        small_upsert(&small, 100, 50, 2) != VECDB_OK)
        wrong(counters, "no collection", 0, 0);
    full.quota = simfs_used(small.fs);
    simfs_set_faults(small.fs, &full);
    while (next < 1000000 && small_upsert(&small, next, 500, 3) == VECDB_OK)
        next += 500;
    rows = rows_there(&small);
    if (error_last()->status != VECDB_ERR_FULL || rows != (uint64_t)next)
        wrong(counters, "a full disk shows as something else, or in the rows", (size_t)rows, (size_t)next);
    if (small_upsert(&small, 0, 500, 4) != VECDB_ERR_FULL)
        wrong(counters, "rows fit on a full disk", 0, 0);
    for (int64_t key = 0; key < 400; key += 100) {
        char filter[60];
        snprintf(filter, sizeof filter, "key >= %lld and key < %lld", (long long)key, (long long)key + 100);
        if (vecdb_delete_where(small.collection, filter, NULL, &options) != VECDB_OK || options.affected != 100 ||
            rows_there(&small) != (rows -= 100))
            wrong(counters, "nothing can be deleted on a full disk", (size_t)key, (size_t)rows_there(&small));
        counters->probes++;
    }
    simfs_set_faults(small.fs, NULL);
    if (small_upsert(&small, 0, 100, 5) != VECDB_OK || rows_there(&small) != rows + 100)
        wrong(counters, "writing does not go on when there is space again", 0, 0);
    small_close(&small);
    if (!small_open(&small) || rows_there(&small) != rows + 100)
        wrong(counters, "opened again the rows are others", (size_t)rows_there(&small), (size_t)rows);
    small_close(&small);
    simfs_free(small.fs);
}

/* -- what a call brings */

void probe_input(struct counters *counters)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY};

    for (uint32_t dim = 1; dim <= 40; dim++) {
        struct small small = {.fs = simfs_create(), .dim = dim};
        vecdb_batch batch = VECDB_BATCH_INIT;
        int64_t key = 1;
        float vector[40];
        vecdb_column columns[] = {
            {.field = "key", .type = VECDB_TYPE_INT64, .data = &key},
            {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = dim, .data = vector},
        };
        uint64_t rows = 0;

        batch.columns = columns;
        batch.column_count = 2;
        batch.row_count = 1;
        if (!small_open(&small))
            wrong(counters, "no collection", dim, 0);
        for (uint32_t at = 0; small.collection && at < dim; at++)
            for (size_t b = 0; b < 3; b++) {
                for (uint32_t i = 0; i < dim; i++)
                    vector[i] = i == at ? bad[b] : 1;
                if (vecdb_upsert(small.collection, &batch, NULL) != VECDB_ERR_INVALID)
                    wrong(counters, "a vector that is no vector was taken", dim, at);
                counters->probes++;
            }
        if (small.collection && (vecdb_count(small.collection, NULL, NULL, &rows) != VECDB_OK || rows))
            wrong(counters, "refused rows are there", dim, (size_t)rows);
        small_close(&small);
        simfs_free(small.fs);
    }
}

/* -- numbers in files */

void probe_counts(struct counters *counters)
{
    vecdb_schema from = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {
        {.name = "key", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2},
    };
    struct schema *schema = NULL;

    from.name = "rows";
    from.fields = fields;
    from.field_count = 2;
    if (schema_create(&from, &schema) != VECDB_OK) {
        wrong(counters, "no schema", 0, 0);
        return;
    }
    for (unsigned shift = 28; shift <= 30; shift++) /* 2^29 rows of 8 bytes are 0 in 32 bits */
        for (uint32_t more = 1; more <= 4; more++) {
            uint64_t words[1 + 2 * (2 + 4)] = {0};
            size_t size = 8 + 2 * (16 + (size_t)more * 8);
            uint8_t *bytes = (uint8_t *)words;
            struct rows rows;
            store_u32(bytes, (1u << shift) + more);
            store_u32(bytes + 4, 2);
            store_u64(bytes + 8 + 8, more * 8);
            store_u64(bytes + 8 + 16 + more * 8 + 8, more * 8);
            if (rows_decode(schema, bytes, size, &rows) == VECDB_OK) {
                wrong(counters, "rows that are not there were read", (size_t)1 << shift, more);
                rows_deinit(&rows);
            } else if (error_last()->status != VECDB_ERR_CORRUPT) {
                wrong(counters, "not refused as corrupt", (size_t)1 << shift, more);
            }
            counters->probes++;
        }
    schema_free(schema);
}

enum { NODES = 300, DIM = 8, HITS = 10 };

/* The row past the last is in memory, and is the nearest to the query by far: whoever follows a link to it finds it. */
void probe_neighbours(struct counters *counters)
{
    const struct index_ops *ops = index_find("HNSW");
    float *rows = mem_aligned_alloc(64, (NODES + 1) * DIM * sizeof *rows);
    const uint8_t *blocks[1] = {(const uint8_t *)rows};
    struct vectors vectors = {.type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .width = DIM * 4, .stride = DIM * 4,
                              .row_count = NODES, .block_shift = 20, .blocks = blocks};
    struct index_build_context context = {.seed = 1};
    struct rng rng = rng_seeded(7);
    struct params build, search;
    struct index *index = NULL;
    struct buf saved = {0};
    size_t opened = 0;

    for (size_t i = 0; i < NODES * DIM; i++)
        rows[i] = (float)rng_below(&rng, 1000);
    for (size_t i = NODES * DIM; i < (NODES + 1) * DIM; i++)
        rows[i] = 500;
    if (params_parse("probe", ops->build_params, NULL, "M=4, efConstruction=20", &build) != VECDB_OK ||
        params_parse("probe", ops->search_params, NULL, "ef=600", &search) != VECDB_OK ||
        ops->build(&vectors, VECDB_METRIC_L2, &build, &context, &index) != VECDB_OK ||
        ops->save(index, &saved) != VECDB_OK)
        wrong(counters, "no graph", 0, 0);
    if (index)
        ops->free(index);
    for (size_t at = 512; at + 4 <= saved.size; at += 4) {
        uint8_t *bytes = mem_aligned_alloc(64, saved.size);
        struct hit hits[HITS];
        size_t count = 0;
        struct index_counters used = {0};
        struct index_search what = {.queries = rows + NODES * DIM, .query_count = 1, .query_stride = DIM * 4, .k = HITS,
                                    .allowed_count = NODES, .params = &search};
        if (load_u32(saved.data + at) >= NODES) {
            mem_free(bytes);
            continue;
        }
        memcpy(bytes, saved.data, saved.size);
        store_u32(bytes + at, NODES);
        if (ops->open(bytes, saved.size, &vectors, VECDB_METRIC_L2, &build, &index) == VECDB_OK) {
            opened++;
            if (ops->search(index, &what, hits, &count, &used) != VECDB_OK)
                wrong(counters, "a graph that was taken cannot be searched", at, 0);
            for (size_t i = 0; i < count; i++)
                if (hits[i].row >= NODES)
                    wrong(counters, "a row past the last was found", at, hits[i].row);
            ops->free(index);
        }
        counters->probes++;
        mem_free(bytes);
    }
    error_clear();
    buf_deinit(&saved);
    mem_free(rows);
}

/* -- indexes of other segments */

static uint64_t indexed_rows(struct small *small)
{
    char *stats = NULL, *at;
    uint64_t rows = UINT64_MAX;

    if (vecdb_collection_stats(small->collection, &stats) == VECDB_OK && (at = strstr(stats, "\"indexed_rows\":")))
        rows = strtoull(at + strlen("\"indexed_rows\":"), NULL, 10);
    vecdb_free(stats);
    return rows;
}

static const char *newest_manifest(struct simfs *fs, uint64_t *generation)
{
    static char newest[64];
    const char *name;
    uint64_t found;
    bool temporary;
    char copy;

    *generation = 0;
    for (size_t i = 0; (name = simfs_name(fs, DIRECTORY, i)) != NULL; i++)
        if (manifest_file_parse(name, &found, &copy, &temporary) && !temporary && found > *generation) {
            *generation = found;
            snprintf(newest, sizeof newest, "%s", name);
        }
    return newest;
}

/* Segment 0 gets the file of segment 1's index, and the other way round. */
static bool swap_index_files(struct simfs *fs)
{
    uint64_t generation;
    const char *name = newest_manifest(fs, &generation);
    struct manifest_index_file *first, *second, between;
    struct manifest manifest;
    struct buf bytes = {0};
    size_t size;
    const uint8_t *data = simfs_bytes(fs, DIRECTORY, name, &size);
    bool read_only;
    char file[FILE_NAME_SIZE];

    if (manifest_decode(name, data, size, generation, NULL, &read_only, &manifest) != VECDB_OK)
        return false;
    if (manifest.collections[0].segment_count != 2 || manifest.collections[0].segments[0].index_count != 1 ||
        manifest.collections[0].segments[1].index_count != 1) {
        manifest_deinit(&manifest);
        return false;
    }
    first = &manifest.collections[0].segments[0].indexes[0];
    second = &manifest.collections[0].segments[1].indexes[0];
    between = *first;
    first->file = second->file;
    second->file = between.file;
    if (manifest_encode(&manifest, &bytes) == VECDB_OK)
        for (char copy = 'a'; copy <= 'b'; copy++) {
            manifest_file_name(generation, copy, false, file);
            simfs_put(fs, DIRECTORY, file, bytes.data, bytes.size);
        }
    simfs_settle(fs);
    manifest_deinit(&manifest);
    buf_deinit(&bytes);
    return true;
}

void probe_swapped_indexes(struct counters *counters)
{
    struct small small = {.fs = simfs_create(), .dim = 4};
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;

    options.field = "vector";
    options.type = "HNSW";
    options.metric = VECDB_METRIC_L2;
    if (!small_open(&small) || small_upsert(&small, 0, 40, 1) != VECDB_OK || vecdb_flush(small.collection) != VECDB_OK ||
        vecdb_index_create(small.collection, &options) != VECDB_OK || small_upsert(&small, 100, 40, 2) != VECDB_OK ||
        vecdb_flush(small.collection) != VECDB_OK || indexed_rows(&small) != 80)
        wrong(counters, "no two segments with an index", 0, 0);
    small_close(&small);
    simfs_settle(small.fs);
    if (!small_open(&small) || indexed_rows(&small) != 80)
        wrong(counters, "the indexes were not opened", 0, 0);
    small_close(&small);
    if (!swap_index_files(small.fs))
        wrong(counters, "index files could not be swapped", 0, 0);
    if (!small_open(&small))
        wrong(counters, "swapped indexes keep the database from opening", 0, 0);
    else if (indexed_rows(&small) != 0)
        wrong(counters, "an index of another segment was taken", (size_t)indexed_rows(&small), 0);
    counters->probes++;
    small_close(&small);
    simfs_free(small.fs);
}

/* -- filters */

struct filters_run {
    struct counters *counters;
    struct schema *schema;
};

static void *run_filters(void *context)
{
    static const struct {
        const char *before, *between, *after;
        size_t count;
    } shapes[] = {
        {"", "key == 1 or ", "key == 1", 600},         /* a long chain */
        {"", "key == 1 and ", "key == 1", 600},
        {"key < ", "1 + ", "1", 2000},
        {"", "not (", "key == 1", 31},                 /* deep: not and ( each count */
        {"", "(", "key == 1", 60},
        {"", "((key == 1) or ", "key == 1", 30},
    };
    struct filters_run *run = context;

    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        struct buf text = {0};
        struct filter *filter = NULL;
        size_t open = 0;
        (void)buf_append_text(&text, shapes[s].before);
        for (size_t i = 0; i < shapes[s].count; i++)
            (void)buf_append_text(&text, shapes[s].between);
        (void)buf_append_text(&text, shapes[s].after);
        for (const char *c = shapes[s].between; *c; c++)
            open += (*c == '(') - (size_t)(*c == ')');
        for (size_t i = 0; i < open * shapes[s].count; i++)
            (void)buf_append_text(&text, ")");
        if (filter_compile(run->schema, (const char *)text.data, text.size, NULL, &filter) != VECDB_OK)
            wrong(run->counters, "a filter within the limits was refused", s, text.size);
        filter_free(filter);
        run->counters->probes++;
        buf_deinit(&text);
    }
    return NULL;
}

void probe_filters(struct counters *counters)
{
    vecdb_schema from = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {
        {.name = "key", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2},
    };
    struct filters_run run = {counters, NULL};
    pthread_attr_t small_stack;
    pthread_t thread;

    from.name = "rows";
    from.fields = fields;
    from.field_count = 2;
    if (schema_create(&from, &run.schema) != VECDB_OK) {
        wrong(counters, "no schema", 0, 0);
        return;
    }
    pthread_attr_init(&small_stack);
    pthread_attr_setstacksize(&small_stack, (size_t)64 << 10);
    if (pthread_create(&thread, &small_stack, run_filters, &run) == 0)
        pthread_join(thread, NULL);
    else
        wrong(counters, "no thread", 0, 0);
    pthread_attr_destroy(&small_stack);
    schema_free(run.schema);
}

/* -- states that readers hold */

/* What is left of a cursor: rows in the order of their keys, as many as there were. */
static void drain(struct counters *counters, vecdb_cursor *cursor, int64_t next, int64_t end)
{
    vecdb_result *page = NULL;
    vecdb_column keys;

    while (next < end) {
        vecdb_status status = vecdb_cursor_next(cursor, 7, &page);
        size_t count = status < 0 ? 0 : vecdb_result_rows(page, 0, NULL);
        if (status < 0 || count == 0 || vecdb_result_column(page, "key", &keys) != VECDB_OK) {
            wrong(counters, "a cursor ended early", (size_t)next, (size_t)end);
            break;
        }
        for (size_t i = 0; i < count; i++, next++)
            if (((const int64_t *)keys.data)[i] != next)
                wrong(counters, "a cursor shows another state", (size_t)next, i);
        vecdb_result_free(&page);
        counters->probes++;
    }
    vecdb_result_free(&page);
}

void probe_old_states(struct counters *counters)
{
    static const char *const fields[] = {"key", "vector"};
    struct small small = {.fs = simfs_create(), .dim = 4};
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    vecdb_cursor *cursors[8] = {0};
    int64_t ends[8];

    fault_memory(0, false); /* blocks that are given back are overwritten */
    request.output_fields = fields;
    request.output_count = 2;
    if (!small_open(&small)) {
        wrong(counters, "no collection", 0, 0);
        goto out;
    }
    for (size_t i = 0; i < 8; i++) {
        ends[i] = 20 * ((int64_t)i + 1);
        if (small_upsert(&small, 20 * (int64_t)i, 20, i) != VECDB_OK ||
            vecdb_query_cursor(small.collection, &request, &cursors[i]) != VECDB_OK)
            wrong(counters, "no cursor", i, 0);
        if (i % 2 && vecdb_flush(small.collection) != VECDB_OK)
            wrong(counters, "no flush", i, 0);
        if (i % 4 == 3 && vecdb_optimize(small.collection, NULL, NULL) < 0)
            wrong(counters, "no optimize", i, 0);
    }
    if (vecdb_delete_where(small.collection, "key >= 0", NULL, NULL) != VECDB_OK ||
        vecdb_optimize(small.collection, NULL, NULL) < 0)
        wrong(counters, "not deleted", 0, 0);
    for (size_t i = 0; i < 8; i++) {
        if (cursors[i])
            drain(counters, cursors[i], 0, ends[i]);
        vecdb_cursor_close(&cursors[i]);
    }
out:
    small_close(&small);
    if (fault_memory_live() != 0)
        wrong(counters, "blocks leaked", (size_t)fault_memory_live(), 0);
    fault_memory_end();
    simfs_free(small.fs);
}

void probe_all(struct counters *counters)
{
    probe_full_disk(counters);
    probe_input(counters);
    probe_counts(counters);
    probe_neighbours(counters);
    probe_swapped_indexes(counters);
    probe_filters(counters);
    probe_old_states(counters);
}
