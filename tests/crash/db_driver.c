#include "crash/db_driver.h"

#include "api/handle.h"
#include "base/error.h"
#include "base/rng.h"
#include "support/simfs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UPSERT, INSERT, DELETE, DELETE_WHERE, INDEX, FLUSH, OPTIMIZE, PARTITION, TRUNCATE, SYNC, DELETE_MEANWHILE };

#define DIRECTORY "db"
#define POOL 24       /* keys that come and go; inserts bring new ones */
#define DIM 8
#define MAX_ROWS 8    /* of a batch */
#define MAX_KEYS 4096 /* of a model */

struct handle {
    vecdb_db *db;
    vecdb_collection *collection;
};

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t counter = a ^ (b * 0x9E3779B97F4A7C15ull);

    return rng_mix(&counter);
}

/* -- a row: its key and `version` say all the rest, so that a torn one is seen */

static void row_vector(int64_t key, int64_t version, float *out)
{
    for (int i = 0; i < DIM; i++)
        out[i] = (float)(mix(mix((uint64_t)key, (uint64_t)version), (uint64_t)i) % 200) + 1;
}

static size_t row_text(int64_t key, int64_t version, char *out)
{
    size_t length = mix((uint64_t)key * 31, (uint64_t)version) % 40;

    for (size_t i = 0; i < length; i++)
        out[i] = (char)('a' + mix((uint64_t)key + i, (uint64_t)version) % 26);
    return length;
}

struct batch {
    size_t count;
    int64_t keys[MAX_ROWS], versions[MAX_ROWS];
    float vectors[MAX_ROWS][DIM];
    char texts[MAX_ROWS][40];
    vecdb_string strings[MAX_ROWS];
};

/* The rows that a step writes. Keys are unique within it. */
static void batch_make(const struct step *step, struct batch *out)
{
    struct rng rng = rng_seeded(step->value);

    out->count = 1 + rng_below(&rng, MAX_ROWS);
    for (size_t i = 0; i < out->count; i++) {
        int64_t key = step->kind == INSERT ? (int64_t)(1000 + (step->value % 1000000007) * MAX_ROWS + i)
                                           : (int64_t)rng_below(&rng, POOL);
        bool again = false;
        for (size_t j = 0; j < i; j++)
            again |= out->keys[j] == key;
        if (again) {
            out->count = i;
            break;
        }
        out->keys[i] = key;
        out->versions[i] = (int64_t)(step->value % 1000);
        row_vector(key, out->versions[i], out->vectors[i]);
        out->strings[i].length = row_text(key, out->versions[i], out->texts[i]);
        out->strings[i].data = out->texts[i];
    }
}

/* -- the model */

struct model {
    struct {
        int64_t key, version;
    } rows[MAX_KEYS];
    size_t count;
    bool indexed;
    uint64_t partitions;
};

static void model_delete(struct model *model, size_t i) { model->rows[i] = model->rows[--model->count]; }

static size_t model_find(const struct model *model, int64_t key)
{
    for (size_t i = 0; i < model->count; i++)
        if (model->rows[i].key == key)
            return i;
    return model->count;
}

static int64_t where_rest(const struct step *step) { return (int64_t)(step->value / 7 % 5); }

static void model_step(struct model *model, const struct step *step)
{
    struct batch batch;

    switch (step->kind) {
    case UPSERT:
    case INSERT:
        batch_make(step, &batch);
        for (size_t i = 0; i < batch.count; i++) {
            size_t at = model_find(model, batch.keys[i]);
            if (at == model->count && model->count < MAX_KEYS)
                model->rows[model->count++].key = batch.keys[i];
            model->rows[at].version = batch.versions[i];
        }
        break;
    case DELETE:
    case DELETE_MEANWHILE:
        batch_make(step, &batch);
        for (size_t i = 0; i < batch.count; i++) {
            size_t at = model_find(model, batch.keys[i]);
            if (at < model->count)
                model_delete(model, at);
        }
        break;
    case DELETE_WHERE:
        for (size_t i = model->count; i-- > 0;)
            if (model->rows[i].version % 5 == where_rest(step))
                model_delete(model, i);
        break;
    case INDEX:
        model->indexed = !model->indexed;
        break;
    case PARTITION:
        model->partitions++;
        break;
    case TRUNCATE:
        model->count = 0;
        break;
    default:
        break;
    }
}

static uint64_t facts_hash(bool indexed, uint64_t partitions) { return mix(17 + indexed, partitions); }
static uint64_t row_hash(int64_t key, int64_t version) { return mix(mix(99, (uint64_t)key), (uint64_t)version); }

static uint64_t expect(const struct step *steps, size_t count)
{
    static struct model model;
    uint64_t hash;

    model.count = 0;
    model.indexed = false;
    model.partitions = 0;
    for (size_t i = 0; i < count; i++)
        model_step(&model, &steps[i]);
    hash = facts_hash(model.indexed, model.partitions);
    for (size_t i = 0; i < model.count; i++)
        hash += row_hash(model.rows[i].key, model.rows[i].version);
    return hash;
}

static void make_step(struct rng *rng, struct step *out)
{
    uint64_t kind = rng_below(rng, 42), mode = rng_below(rng, 8);

    out->value = rng_next(rng);
    out->mode = mode < 5 ? VECDB_DURABILITY_FULL : mode < 7 ? VECDB_DURABILITY_NORMAL : VECDB_DURABILITY_NONE;
    out->kind = kind < 13   ? UPSERT
                : kind < 19 ? INSERT
                : kind < 24 ? DELETE
                : kind < 27 ? DELETE_WHERE
                : kind < 29 ? INDEX
                : kind < 34 ? FLUSH
                : kind < 36 ? OPTIMIZE
                : kind < 37 ? PARTITION
                : kind < 38 ? TRUNCATE
                : kind < 40 ? DELETE_MEANWHILE
                            : SYNC;
}

static bool promises(const struct step *step)
{
    return (step->kind != UPSERT && step->kind != INSERT && step->kind != DELETE && step->kind != DELETE_WHERE &&
            step->kind != DELETE_MEANWHILE) ||
           step->mode == VECDB_DURABILITY_FULL;
}

/* -- the library */

static void db_close(void *opened)
{
    struct handle *handle = opened;

    (void)vecdb_collection_close(&handle->collection);
    (void)vecdb_close(&handle->db);
    free(handle);
}

static vecdb_status create(struct handle *handle)
{
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_field fields[] = {
        {.name = "key", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "version", .type = VECDB_TYPE_INT64},
        {.name = "text", .type = VECDB_TYPE_VARCHAR, .max_length = 100},
        {.name = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM},
    };

    schema.name = "rows";
    schema.fields = fields;
    schema.field_count = sizeof fields / sizeof fields[0];
    return vecdb_collection_create(handle->db, &schema, &handle->collection);
}

static void *db_open(const struct vfs *vfs, vecdb_status *status)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;
    struct handle *handle = calloc(1, sizeof *handle);

    options.threads = 1;
    *status = db_open_with_vfs(vfs, DIRECTORY, &options, &handle->db);
    if (*status == VECDB_OK) {
        *status = vecdb_collection_open(handle->db, "rows", &handle->collection);
        if (*status == VECDB_ERR_NO_SUCH)
            *status = create(handle);
    }
    if (*status == VECDB_OK)
        return handle;
    vecdb_error cause = *error_last();
    db_close(handle);
    error_adopt(&cause);
    return NULL;
}

static vecdb_status write_rows(struct handle *handle, const struct step *step)
{
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_batch rows = VECDB_BATCH_INIT;
    struct batch batch;
    vecdb_column columns[] = {
        {.field = "key", .type = VECDB_TYPE_INT64, .data = batch.keys},
        {.field = "version", .type = VECDB_TYPE_INT64, .data = batch.versions},
        {.field = "text", .type = VECDB_TYPE_VARCHAR, .data = batch.strings},
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = batch.vectors},
    };

    batch_make(step, &batch);
    rows.columns = columns;
    rows.column_count = sizeof columns / sizeof columns[0];
    rows.row_count = batch.count;
    options.durability = (vecdb_durability)step->mode;
    return step->kind == INSERT ? vecdb_insert(handle->collection, &rows, &options)
                                : vecdb_upsert(handle->collection, &rows, &options);
}

/* A delete that found nothing wrote nothing; then the promise for what came before must be asked for. */
static vecdb_status delete_rows(struct handle *handle, const struct step *step)
{
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    struct batch batch;
    vecdb_status status;
    char filter[64];

    options.durability = (vecdb_durability)step->mode;
    if (step->kind != DELETE_WHERE) {
        vecdb_column keys = {.field = "key", .type = VECDB_TYPE_INT64, .data = batch.keys};
        batch_make(step, &batch);
        status = vecdb_delete(handle->collection, &keys, batch.count, &options);
    } else {
        snprintf(filter, sizeof filter, "version %% 5 == %lld", (long long)where_rest(step));
        status = vecdb_delete_where(handle->collection, filter, NULL, &options);
    }
    if (status >= 0 && options.affected == 0 && promises(step))
        return vecdb_sync(handle->db);
    return status;
}

struct meanwhile {
    struct handle *handle;
    const struct step *step;
    vecdb_status status;
    bool done;
};

static bool delete_meanwhile(void *context, const char *stage, uint64_t done, uint64_t total)
{
    struct meanwhile *meanwhile = context;

    if (!meanwhile->done) {
        meanwhile->done = true;
        meanwhile->status = delete_rows(meanwhile->handle, meanwhile->step);
    }
    return meanwhile->status >= 0;
}

/* Delete rows while their segments are being merged. What counts is the deleting: merging may fail as it likes. */
static vecdb_status optimize_and_delete(struct handle *handle, const struct step *step)
{
    struct meanwhile meanwhile = {handle, step, VECDB_OK, false};
    vecdb_status status = vecdb_optimize(handle->collection, delete_meanwhile, &meanwhile);

    if (status < 0 && !meanwhile.done)
        return status;
    if (!meanwhile.done)
        return delete_rows(handle, step);
    return meanwhile.status < 0 || status == VECDB_ERR_CORRUPT ? (meanwhile.status < 0 ? meanwhile.status : status)
                                                               : meanwhile.status;
}

static vecdb_status index_count(struct handle *handle, size_t *count)
{
    char **names = NULL;
    vecdb_status status = vecdb_index_list(handle->collection, &names, count);

    vecdb_free(names);
    return status;
}

static vecdb_status toggle_index(struct handle *handle)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    size_t count = 0;

    TRY(index_count(handle, &count));
    if (count)
        return vecdb_index_drop(handle->collection, "vector");
    options.field = "vector";
    options.type = "HNSW";
    options.metric = VECDB_METRIC_L2;
    options.params = "M=4, efConstruction=16";
    return vecdb_index_create(handle->collection, &options);
}

static vecdb_status do_step(void *opened, const struct step *step)
{
    struct handle *handle = opened;
    vecdb_status status;
    char name[40];

    switch (step->kind) {
    case UPSERT:
    case INSERT:
        status = write_rows(handle, step);
        break;
    case DELETE:
    case DELETE_WHERE:
        status = delete_rows(handle, step);
        break;
    case INDEX:
        status = toggle_index(handle);
        break;
    case FLUSH:
        status = vecdb_flush(handle->collection);
        if (status >= 0) /* nothing to seal, nothing synced */
            status = vecdb_sync(handle->db);
        break;
    case OPTIMIZE:
        status = vecdb_optimize(handle->collection, NULL, NULL);
        if (status >= 0)
            status = vecdb_sync(handle->db);
        break;
    case DELETE_MEANWHILE:
        status = optimize_and_delete(handle, step);
        break;
    case PARTITION:
        snprintf(name, sizeof name, "p%llx", (unsigned long long)step->value);
        status = vecdb_partition_create(handle->collection, name);
        break;
    case TRUNCATE:
        status = vecdb_collection_truncate(handle->collection);
        if (status >= 0)
            status = vecdb_sync(handle->db);
        break;
    default:
        status = vecdb_sync(handle->db);
        break;
    }
    return status > 0 ? VECDB_OK : status;
}

static vecdb_status wrong(const char *what, int64_t key)
{
    return error_set(VECDB_ERR_CORRUPT, "test: row %lld: %s", (long long)key, what);
}

/* Every row is whole; then the nearest rows to some point are what a scan of them says. */
static vecdb_status check_rows(const vecdb_result *result, size_t count, uint64_t *hash)
{
    vecdb_column keys, versions, texts, vectors;

    TRY(vecdb_result_column(result, "key", &keys));
    TRY(vecdb_result_column(result, "version", &versions));
    TRY(vecdb_result_column(result, "text", &texts));
    TRY(vecdb_result_column(result, "vector", &vectors));
    for (size_t i = 0; i < count; i++) {
        int64_t key = ((const int64_t *)keys.data)[i], version = ((const int64_t *)versions.data)[i];
        size_t stride = vectors.stride ? vectors.stride : DIM * sizeof(float);
        float expected[DIM];
        char text[40];
        size_t length = row_text(key, version, text);

        row_vector(key, version, expected);
        if (memcmp((const char *)vectors.data + i * stride, expected, sizeof expected) != 0)
            return wrong("vector and key do not go together", key);
        if (texts.offsets[i + 1] - texts.offsets[i] != length ||
            memcmp((const char *)texts.data + texts.offsets[i], text, length) != 0)
            return wrong("text and key do not go together", key);
        *hash += row_hash(key, version);
    }
    return VECDB_OK;
}

static vecdb_status check_search(struct handle *handle, const vecdb_result *rows, size_t count)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    float query[DIM];
    int64_t found[3];
    float scores[3];
    size_t hits = 0;
    double best = INFINITY;
    vecdb_column keys, vectors;
    vecdb_status status;

    for (int i = 0; i < DIM; i++)
        query[i] = (float)(20 * i + 3);
    request.field = "vector";
    request.queries = query;
    request.query_count = 1;
    request.dim = DIM;
    request.limit = 3;
    request.metric = VECDB_METRIC_L2;
    request.exact = true;
    request.exact = false; /* by the index, if there is one */
    if ((status = vecdb_search_into(handle->collection, &request, found, scores, &hits)) < 0)
        return status;
    request.exact = true;
    if ((status = vecdb_search_into(handle->collection, &request, found, scores, &hits)) < 0)
        return status;
    if (hits != (count < 3 ? count : 3))
        return error_set(VECDB_ERR_CORRUPT, "test: %zu hits among %zu rows", hits, count);
    if (count == 0)
        return VECDB_OK;
    TRY(vecdb_result_column(rows, "key", &keys));
    TRY(vecdb_result_column(rows, "vector", &vectors));
    for (size_t i = 0; i < count; i++) {
        const float *vector = (const float *)vectors.data + i * DIM;
        double distance = 0;
        for (int d = 0; d < DIM; d++)
            distance += (double)(vector[d] - query[d]) * (vector[d] - query[d]);
        if (distance < best)
            best = distance;
    }
    if (fabs(best - scores[0]) > 1e-5 * best)
        return error_set(VECDB_ERR_CORRUPT, "test: nearest row at %g, a scan says %g", scores[0], best);
    return VECDB_OK;
}

static vecdb_status db_state(void *opened, uint64_t *hash)
{
    static const char *const fields[] = {"version", "text", "vector"};
    struct handle *handle = opened;
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    vecdb_result *result = NULL;
    size_t indexes = 0, partitions = 0, count;
    uint64_t counted = 0;
    char **names = NULL;
    vecdb_status status;

    request.output_fields = fields;
    request.output_count = 3;
    TRY(index_count(handle, &indexes));
    TRY(vecdb_partition_list(handle->collection, &names, &partitions));
    vecdb_free(names);
    *hash = facts_hash(indexes != 0, partitions - 1);
    status = vecdb_query(handle->collection, &request, &result);
    if (status < 0)
        return status;
    count = vecdb_result_rows(result, 0, NULL);
    status = check_rows(result, count, hash);
    if (status == VECDB_OK)
        status = vecdb_count(handle->collection, NULL, NULL, &counted);
    if (status == VECDB_OK && counted != count)
        status = error_set(VECDB_ERR_CORRUPT, "test: %llu rows counted, %zu found", (unsigned long long)counted, count);
    if (status == VECDB_OK)
        status = check_search(handle, result, count);
    vecdb_result_free(&result);
    return status;
}

const struct driver db_driver = {"db", make_step, db_open, db_close, do_step, db_state, expect, promises, DIRECTORY};

/* -- damage */

void db_byte_flips(uint64_t seed, size_t from, size_t stride, struct counters *counters)
{
    static struct oracle oracle;
    struct simfs *fs = simfs_create();
    struct rng rng = rng_seeded(seed);
    struct step step;
    vecdb_status status;
    const char *name;
    void *db;

    oracle_init(&oracle, &db_driver);
    db = db_open(simfs_vfs(fs), &status);
    for (int i = 0; db && i < 40; i++) {
        make_step(&rng, &step);
        if (step.kind == TRUNCATE)
            step.kind = FLUSH;
        oracle_begin(&oracle, &step);
        oracle_end(&oracle, do_step(db, &step));
    }
    if (!db) {
        crash_violation(counters, &db_driver, seed, "no sample: %s", error_last()->message);
        simfs_free(fs);
        return;
    }
    db_close(db);
    simfs_settle(fs);
    oracle.durable = 0;
    for (size_t i = 0; (name = simfs_name(fs, DIRECTORY, i)) != NULL; i++) {
        size_t size;
        simfs_bytes(fs, DIRECTORY, name, &size);
        for (size_t offset = from; offset < size; offset += stride)
            for (int pattern = 0; pattern < 3; pattern++) {
                struct simfs *damaged = simfs_crash(fs, PICK_KILL, 0);
                uint8_t *byte = simfs_bytes(damaged, DIRECTORY, name, &size) + offset, before = *byte;
                uint64_t hash = 0;
                *byte = pattern == 0 ? before ^ 1 : pattern == 1 ? before ^ 0x80 : 0xFF;
                simfs_settle(damaged);
                db = db_open(simfs_vfs(damaged), &status);
                if (!db && status != VECDB_ERR_CORRUPT && status != VECDB_ERR_VERSION)
                    crash_violation(counters, &db_driver, seed, "flip in %s at %zu: status %d: %s", name, offset, status,
                                    error_last()->message);
                if (db) {
                    status = db_state(db, &hash);
                    if (status != VECDB_OK && status != VECDB_ERR_CORRUPT)
                        crash_violation(counters, &db_driver, seed, "flip in %s at %zu: reading: status %d: %s", name,
                                        offset, status, error_last()->message);
                    if (status == VECDB_OK && oracle_find(&oracle, hash) < 0)
                        crash_violation(counters, &db_driver, seed, "flip in %s at %zu: a state that never was", name,
                                        offset);
                    db_close(db);
                }
                if (simfs_open_count(damaged))
                    crash_violation(counters, &db_driver, seed, "flip in %s at %zu: files left open", name, offset);
                counters->byte_flips++;
                simfs_free(damaged);
            }
    }
    simfs_free(fs);
}
