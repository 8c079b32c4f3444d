#include "queries/oracle.h"

#include "queries/model.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CURSORS 3
#define BATCH 40
#define QUERIES 3
#define MOST_ROWS 700

/* A row that a question may return, with its score. */
struct candidate {
    const struct model_row *row;
    int64_t key;
    double score;
};

struct open_cursor {
    vecdb_cursor *cursor;
    bool searches, ordered;   /* ordered: pages come in the order of `keys` */
    vecdb_metric metric;
    struct model_row *rows;   /* what is still to come */
    double *scores;           /* NULL: a query's */
    size_t count;
    float last;               /* score of the last page's last row */
    bool any;
};

struct oracle {
    struct query_tally *tally;
    struct rng rng;
    uint64_t seed;
    size_t step;
    bool wrong;
    struct model model;
    char directory[64];       /* empty: in memory */
    vecdb_db *db;
    vecdb_collection *rows;
    const char *index;        /* kind of v's, NULL for none */
    size_t kind;              /* place in the tally */
    bool estimates;           /* its scores need not be exact */
    bool index_w;
    const char *scalar_index; /* the field that has one, or NULL */
    struct open_cursor cursors[CURSORS];
};

static void __attribute__((format(printf, 2, 3))) wrong(struct oracle *oracle, const char *format, ...)
{
    va_list arguments;

    if (oracle->wrong)
        return;
    oracle->wrong = true;
    fprintf(stderr, "VECDB_TEST_SEED=%llu, operation %zu: ", (unsigned long long)oracle->seed, oracle->step);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, " (index %s, %zu rows)\n", oracle->index ? oracle->index : "none", oracle->model.count);
}

#define DONE(oracle, call)                                                                                             \
    do {                                                                                                               \
        vecdb_status done_ = (call);                                                                                   \
        if (done_ < 0) {                                                                                               \
            wrong(oracle, "%s: %s: %s", #call, vecdb_status_name(done_), vecdb_last_error());                          \
            return;                                                                                                    \
        }                                                                                                              \
    } while (0)

static size_t below(struct oracle *oracle, size_t bound) { return (size_t)rng_below(&oracle->rng, bound); }
static bool chance(struct oracle *oracle, unsigned percent) { return below(oracle, 100) < percent; }

/* ---- the collection ---- */

static void open_db(struct oracle *oracle)
{
    vecdb_open_options options = VECDB_OPEN_OPTIONS_INIT;

    options.durability = VECDB_DURABILITY_NONE;
    options.threads = 1 + (uint32_t)(oracle->seed % 3 == 0);
    if (oracle->seed % 5 == 4)
        options.flags = VECDB_OPEN_IN_HEAP;
    DONE(oracle, vecdb_open(oracle->directory[0] ? oracle->directory : NULL, &options, &oracle->db));
}

static void create(struct oracle *oracle)
{
    struct model *model = &oracle->model;
    vecdb_field fields[] = {
        {.name = "id", .type = model->text_keys ? VECDB_TYPE_VARCHAR : VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "v", .type = model->type, .dim = model->dim},
        {.name = "w", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = MODEL_DIM_W, .flags = VECDB_NULLABLE},
        {.name = "i", .type = VECDB_TYPE_INT32, .flags = VECDB_NULLABLE},
        {.name = "t", .type = VECDB_TYPE_VARCHAR, .max_length = 8, .flags = VECDB_NULLABLE},
        {.name = "d", .type = VECDB_TYPE_DOUBLE},
    };
    vecdb_schema schema = VECDB_SCHEMA_INIT;

    schema.name = "rows", schema.fields = fields, schema.field_count = 6, schema.dynamic = true;
    if (model->keyed) {
        fields[4].flags = VECDB_PARTITION_KEY;
        schema.num_partitions = 5;
    }
    schema.ttl_seconds = chance(oracle, 30) ? 100000 : 0;
    DONE(oracle, vecdb_collection_create(oracle->db, &schema, &oracle->rows));
}

static const char *const partition_names[MODEL_PARTITIONS] = {"_default", "one", "two", "three"};

static unsigned random_partition(struct oracle *oracle)
{
    unsigned partition = (unsigned)below(oracle, MODEL_PARTITIONS);

    return oracle->model.partitions[partition] ? partition : 0;
}

static void search(struct oracle *oracle, bool ranged);
static void search_groups(struct oracle *oracle);
static void use_cursor(struct oracle *oracle);
static void query(struct oracle *oracle);
static void get_rows(struct oracle *oracle);

/* ---- writing ---- */

static struct model_row random_row(struct oracle *oracle, int64_t key, unsigned partition)
{
    struct model_row row = {.key = key, .partition = partition};

    model_random_vector(&oracle->model, &oracle->rng, row.v, row.bits);
    if (oracle->model.count && chance(oracle, 10)) { /* the same vector as another's */
        const struct model_row *other = &oracle->model.rows[below(oracle, oracle->model.count)];
        memcpy(row.v, other->v, sizeof row.v);
        memcpy(row.bits, other->bits, sizeof row.bits);
    }
    row.has_w = chance(oracle, 70), row.has_i = chance(oracle, 85), row.has_t = chance(oracle, 85) || oracle->model.keyed, row.has_m = chance(oracle, 60);
    for (int i = 0; i < MODEL_DIM_W && row.has_w; i++)
        row.w[i] = (float)((int)below(oracle, 9) - 4);
    row.i = (int32_t)below(oracle, 20), row.t = (int32_t)below(oracle, MODEL_TEXTS), row.m = (int32_t)below(oracle, 20);
    row.d = (double)below(oracle, 400) * 0.25;
    row.has_extra = oracle->model.has_extra_field;
    row.extra = row.has_extra ? (int32_t)below(oracle, 10) : MODEL_EXTRA;
    return row;
}

/* A half float of a small value; bfloat16 likewise: what is lost is lost in the model too. */
static uint16_t to_half(float x, bool bfloat)
{
    _Float16 half = (_Float16)x;
    uint32_t bits;
    uint16_t out;

    if (!bfloat) {
        memcpy(&out, &half, 2);
        return out;
    }
    memcpy(&bits, &x, 4);
    return (uint16_t)(bits >> 16);
}

/* The vectors of rows in the field's type; returns bytes of one. */
static size_t pack_vectors(const struct model *model, const struct model_row *rows, size_t count, uint8_t *out)
{
    size_t width = model->type == VECDB_TYPE_FLOAT_VECTOR    ? 4 * (size_t)model->dim
                   : model->type == VECDB_TYPE_BINARY_VECTOR ? model->dim / 8
                   : model->type == VECDB_TYPE_INT8_VECTOR   ? model->dim
                                                             : 2 * (size_t)model->dim;

    for (size_t r = 0; r < count; r++) {
        uint8_t *to = out + r * width;
        if (model->type == VECDB_TYPE_FLOAT_VECTOR)
            memcpy(to, rows[r].v, width);
        else if (model->type == VECDB_TYPE_BINARY_VECTOR)
            memcpy(to, rows[r].bits, width);
        for (uint32_t i = 0; i < model->dim && model->type == VECDB_TYPE_INT8_VECTOR; i++)
            to[i] = (uint8_t)(int8_t)rows[r].v[i];
        for (uint32_t i = 0; i < model->dim && (model->type == VECDB_TYPE_FLOAT16_VECTOR || model->type == VECDB_TYPE_BFLOAT16_VECTOR); i++) {
            uint16_t half = to_half(rows[r].v[i], model->type == VECDB_TYPE_BFLOAT16_VECTOR);
            memcpy(to + 2 * i, &half, 2);
        }
    }
    return width;
}

/* Keys as a column; texts holds count x 24 bytes. */
static vecdb_column key_column(const struct model *model, const int64_t *keys, size_t count, vecdb_string *strings, char (*texts)[24])
{
    vecdb_column column = {.field = "id", .type = VECDB_TYPE_INT64, .data = keys};

    if (!model->text_keys)
        return column;
    for (size_t i = 0; i < count; i++) {
        model_key_text(keys[i], texts[i]);
        strings[i] = (vecdb_string){texts[i], strlen(texts[i])};
    }
    column.type = VECDB_TYPE_VARCHAR;
    column.data = strings;
    return column;
}

static vecdb_status write_rows(struct oracle *oracle, const struct model_row *rows, size_t count, bool replace, const char *partition,
                               vecdb_write_options *options)
{
    const struct model *model = &oracle->model;
    int64_t keys[BATCH];
    int32_t i[BATCH], m[BATCH], extra[BATCH];
    double d[BATCH];
    float w[BATCH][MODEL_DIM_W];
    uint8_t v[BATCH * MODEL_DIM * 4], has_w[BATCH], has_i[BATCH], has_t[BATCH], has_m[BATCH];
    vecdb_string strings[BATCH], t[BATCH];
    char texts[BATCH][24];
    vecdb_batch batch = VECDB_BATCH_INIT;

    for (size_t r = 0; r < count; r++) {
        keys[r] = rows[r].key;
        memcpy(w[r], rows[r].w, sizeof w[r]);
        i[r] = rows[r].i, m[r] = rows[r].m, d[r] = rows[r].d, extra[r] = rows[r].extra;
        t[r] = (vecdb_string){model_text(rows[r].t), strlen(model_text(rows[r].t))};
        has_w[r] = rows[r].has_w, has_i[r] = rows[r].has_i, has_t[r] = rows[r].has_t, has_m[r] = rows[r].has_m;
    }
    pack_vectors(model, rows, count, v);
    const vecdb_column columns[] = {
        key_column(model, keys, count, strings, texts),
        {.field = "v", .type = model->type, .dim = model->dim, .data = v},
        {.field = "w", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = MODEL_DIM_W, .data = w, .valid = has_w},
        {.field = "i", .type = VECDB_TYPE_INT32, .data = i, .valid = has_i},
        {.field = "t", .type = VECDB_TYPE_VARCHAR, .data = t, .valid = has_t},
        {.field = "d", .type = VECDB_TYPE_DOUBLE, .data = d},
        {.field = "m", .type = VECDB_TYPE_INT32, .data = m, .valid = has_m},
        {.field = "extra", .type = VECDB_TYPE_INT32, .data = extra},
    };
    batch.columns = columns, batch.column_count = model->has_extra_field ? 8 : 7, batch.row_count = count;
    batch.partition = partition;
    return replace ? vecdb_upsert(oracle->rows, &batch, options) : vecdb_insert(oracle->rows, &batch, options);
}

static void insert(struct oracle *oracle, bool replace)
{
    struct model_row rows[BATCH];
    size_t count = 1 + below(oracle, BATCH);
    unsigned partition = random_partition(oracle);
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    bool bad = false;
    vecdb_status status;

    if (oracle->model.count > MOST_ROWS && !replace)
        return;
    for (size_t r = 0; r < count; r++) {
        int64_t key = (int64_t)below(oracle, 900);
        if (!replace && !chance(oracle, 2)) /* a key that is free, all but now and then */
            while (model_find(&oracle->model, key))
                key = (int64_t)below(oracle, 900 + oracle->step);
        rows[r] = random_row(oracle, key, partition);
        bad |= model_find(&oracle->model, key) != NULL;
        for (size_t s = 0; s < r; s++)
            bad |= rows[s].key == key;
    }
    status = write_rows(oracle, rows, count, replace,
                        partition || (chance(oracle, 50) && !oracle->model.keyed) ? partition_names[partition] : NULL, &options);
    if (!replace && bad) {
        if (status != VECDB_ERR_EXISTS)
            wrong(oracle, "insert of a key that is there gave %s", vecdb_status_name(status));
        return;
    }
    if (status != VECDB_OK) {
        wrong(oracle, "write: %s: %s", vecdb_status_name(status), vecdb_last_error());
        return;
    }
    for (size_t r = 0; r < count; r++)
        model_put(&oracle->model, &rows[r]);
    oracle->tally->rows_written += count;
}

static void delete_keys(struct oracle *oracle)
{
    int64_t keys[BATCH];
    vecdb_string strings[BATCH];
    char texts[BATCH][24];
    size_t count = 1 + below(oracle, BATCH), gone = 0;
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    vecdb_column column;

    for (size_t i = 0; i < count; i++)
        keys[i] = oracle->model.count && chance(oracle, 60) ? oracle->model.rows[below(oracle, oracle->model.count)].key
                                                            : (int64_t)below(oracle, 900);
    column = key_column(&oracle->model, keys, count, strings, texts);
    DONE(oracle, vecdb_delete(oracle->rows, &column, count, &options));
    for (size_t i = 0; i < count; i++)
        gone += model_delete(&oracle->model, keys[i]);
    if (options.affected != gone)
        wrong(oracle, "delete says %llu rows, not %zu", (unsigned long long)options.affected, gone);
}

static void delete_where(struct oracle *oracle)
{
    struct condition *condition = condition_random(&oracle->model, &oracle->rng, 2);
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    size_t matches = 0;
    char text[8192];

    for (size_t i = 0; i < oracle->model.count; i++)
        matches += condition_holds(&oracle->model, condition, &oracle->model.rows[i]) == 1;
    condition_print(&oracle->model, condition, text, sizeof text);
    if (matches * 4 <= oracle->model.count || chance(oracle, 10)) {
        vecdb_status status = vecdb_delete_where(oracle->rows, text, NULL, &options);
        if (status < 0 || options.affected != matches)
            wrong(oracle, "delete where %s: %s, %llu rows, not %zu", text, status < 0 ? vecdb_last_error() : "",
                  (unsigned long long)options.affected, matches);
        for (size_t i = oracle->model.count; i-- > 0;)
            if (condition_holds(&oracle->model, condition, &oracle->model.rows[i]) == 1)
                model_delete(&oracle->model, oracle->model.rows[i].key);
    }
    condition_free(condition);
}

/* ---- indexes, partitions, the collection as a whole ---- */

static void change_index(struct oracle *oracle)
{
    static const char *const dense[] = {"FLAT", "HNSW", "HNSW_SQ", "HNSW_PQ", "HNSW_PRQ", "NSG", "RNSG", "IVF_FLAT", "IVF_SQ8",
                                        "IVF_PQ", "IVF_RABITQ", "SCANN", "ANNOY", "AUTOINDEX"};
    static const char *const binary[] = {"BIN_FLAT", "BIN_IVF_FLAT", "HNSW", "AUTOINDEX"};
    bool is_binary = oracle->model.type == VECDB_TYPE_BINARY_VECTOR;
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    vecdb_status status;

    if (chance(oracle, 15)) { /* the one on w */
        if (oracle->index_w) {
            DONE(oracle, vecdb_index_drop(oracle->rows, "w"));
        } else {
            options.field = "w", options.type = chance(oracle, 50) ? "HNSW" : "IVF_FLAT", options.metric = oracle->model.metric_w;
            DONE(oracle, vecdb_index_create(oracle->rows, &options));
        }
        oracle->index_w = !oracle->index_w;
        return;
    }
    if (oracle->index) {
        DONE(oracle, vecdb_index_drop(oracle->rows, "v"));
        oracle->index = NULL;
        if (chance(oracle, 20))
            return;
    }
    options.type = is_binary ? binary[below(oracle, 4)] : dense[below(oracle, 14)];
    options.field = "v", options.metric = oracle->model.metric;
    oracle->estimates = strcmp(options.type, "IVF_SQ8") == 0 || strcmp(options.type, "IVF_PQ") == 0 || strcmp(options.type, "IVF_RABITQ") == 0;
    if (oracle->estimates && chance(oracle, 60)) {
        options.params = "refine=true";
        oracle->estimates = false;
    }
    status = vecdb_index_create(oracle->rows, &options);
    if (status == VECDB_ERR_UNSUPPORTED || status == VECDB_ERR_TYPE)
        return;
    if (status < 0) {
        wrong(oracle, "create %s: %s", options.type, vecdb_last_error());
        return;
    }
    oracle->index = options.type;
    for (oracle->kind = 0; oracle->kind < ORACLE_KINDS - 1; oracle->kind++)
        if (!oracle->tally->recall[oracle->kind].kind || strcmp(oracle->tally->recall[oracle->kind].kind, options.type) == 0)
            break;
    oracle->tally->recall[oracle->kind].kind = options.type;
}

static void change_partition(struct oracle *oracle)
{
    size_t partition = 1 + below(oracle, MODEL_PARTITIONS - 1), rows = 0;
    struct model *model = &oracle->model;

    if (model->keyed)
        return;
    for (size_t i = 0; i < model->count; i++)
        rows += model->rows[i].partition == partition;
    if (!model->partitions[partition]) {
        DONE(oracle, vecdb_partition_create(oracle->rows, partition_names[partition]));
    } else if (rows * 5 <= model->count) {
        DONE(oracle, vecdb_partition_drop(oracle->rows, partition_names[partition]));
        for (size_t i = model->count; i-- > 0;)
            if (model->rows[i].partition == partition)
                model_delete(model, model->rows[i].key);
    } else {
        return;
    }
    model->partitions[partition] = !model->partitions[partition];
}

static void close_cursor(struct open_cursor *cursor)
{
    vecdb_cursor_close(&cursor->cursor);
    free(cursor->rows);
    free(cursor->scores);
    memset(cursor, 0, sizeof *cursor);
}

static void reopen(struct oracle *oracle)
{
    if (!oracle->directory[0])
        return;
    for (int i = 0; i < CURSORS; i++)
        close_cursor(&oracle->cursors[i]);
    DONE(oracle, vecdb_collection_close(&oracle->rows));
    if (chance(oracle, 50)) {
        DONE(oracle, vecdb_close(&oracle->db));
        open_db(oracle);
        if (oracle->wrong)
            return;
    }
    DONE(oracle, vecdb_collection_open(oracle->db, "rows", &oracle->rows));
}

static void add_field(struct oracle *oracle)
{
    const vecdb_field field = {.name = "extra", .type = VECDB_TYPE_INT32, .default_value = "7"};

    if (oracle->model.has_extra_field)
        return;
    DONE(oracle, vecdb_collection_add_field(oracle->rows, &field));
    oracle->model.has_extra_field = true;
    for (size_t i = 0; i < oracle->model.count; i++)
        oracle->model.rows[i].has_extra = true, oracle->model.rows[i].extra = MODEL_EXTRA;
}

/* Another time to live, long enough for all that is to come; or so short that nothing is left. */
static void change_ttl(struct oracle *oracle)
{
    static const uint64_t times[] = {0, 50000, 100000};
    uint64_t count;

    if (chance(oracle, 85)) {
        DONE(oracle, vecdb_collection_set_ttl(oracle->rows, times[below(oracle, 3)]));
        return;
    }
    DONE(oracle, vecdb_collection_set_ttl(oracle->rows, 1));
    usleep(1010000);
    DONE(oracle, vecdb_count(oracle->rows, NULL, NULL, &count));
    if (count)
        wrong(oracle, "%llu rows outlived their time", (unsigned long long)count);
    oracle->model.count = 0;
    for (int i = 0; i < 6 && !oracle->wrong; i++) {
        search(oracle, i % 2 == 0);
        search_groups(oracle);
        use_cursor(oracle);
        query(oracle);
        get_rows(oracle);
    }
    DONE(oracle, vecdb_optimize(oracle->rows, NULL, NULL)); /* or they come back */
    DONE(oracle, vecdb_collection_set_ttl(oracle->rows, 100000));
}

static void truncate_rows(struct oracle *oracle)
{
    DONE(oracle, vecdb_collection_truncate(oracle->rows));
    oracle->model.count = 0;
}

static void change_scalar_index(struct oracle *oracle)
{
    vecdb_index_options options = VECDB_INDEX_OPTIONS_INIT;
    vecdb_status status;

    static const char *const fields[] = {"i", "t", "d", "id"}, *const kinds[] = {"INVERTED", "BITMAP", "STL_SORT", "AUTOINDEX"};

    if (oracle->scalar_index) {
        DONE(oracle, vecdb_index_drop(oracle->rows, oracle->scalar_index));
        oracle->scalar_index = NULL;
        return;
    }
    options.field = fields[below(oracle, 4)], options.type = kinds[below(oracle, 4)];
    status = vecdb_index_create(oracle->rows, &options);
    if (status < 0 && status != VECDB_ERR_UNSUPPORTED)
        wrong(oracle, "create %s on %s: %s", options.type, options.field, vecdb_last_error());
    oracle->scalar_index = status >= 0 ? options.field : NULL;
}

/* ---- questions ---- */

/* What a question asks of rows, and the request that says so. */
struct question {
    struct condition *condition;
    char text[8192];
    const char *partitions[MODEL_PARTITIONS];
    bool in_partition[MODEL_PARTITIONS], has_partitions;
    size_t partition_count;
    int64_t within[BATCH];
    vecdb_string strings[BATCH];
    char texts[BATCH][24];
    vecdb_column within_column;
    size_t within_count;
    bool on_w;
    vecdb_metric metric;
    struct model_row query[QUERIES];
    uint8_t packed[QUERIES * MODEL_DIM * 4];
    vecdb_search_request request;
};

static void ask_about_rows(struct oracle *oracle, struct question *question)
{
    if (chance(oracle, 60)) {
        question->condition = condition_random(&oracle->model, &oracle->rng, 2);
        condition_print(&oracle->model, question->condition, question->text, sizeof question->text);
    }
    if (chance(oracle, 15) && !oracle->model.keyed) {
        question->has_partitions = true;
        for (unsigned p = 0; p < MODEL_PARTITIONS; p++)
            if (oracle->model.partitions[p] && chance(oracle, 60)) {
                question->in_partition[p] = true;
                question->partitions[question->partition_count++] = partition_names[p];
            }
    }
}

static bool asked_for(const struct oracle *oracle, const struct question *question, const struct model_row *row)
{
    if (question->on_w && !row->has_w)
        return false;
    if (question->condition && condition_holds(&oracle->model, question->condition, row) != 1)
        return false;
    if (question->has_partitions && !question->in_partition[row->partition])
        return false;
    if (!question->within_count)
        return true;
    for (size_t i = 0; i < question->within_count; i++)
        if (question->within[i] == row->key)
            return true;
    return false;
}

static struct question *ask_search(struct oracle *oracle, size_t query_count, bool on_w)
{
    struct question *question = calloc(1, sizeof *question);
    struct model *model = &oracle->model;
    vecdb_search_request *request = &question->request;

    ask_about_rows(oracle, question);
    if (chance(oracle, 10)) {
        question->within_count = 1 + below(oracle, BATCH);
        for (size_t i = 0; i < question->within_count; i++)
            question->within[i] = model->count && chance(oracle, 80) ? model->rows[below(oracle, model->count)].key
                                                                     : (int64_t)below(oracle, 900);
        question->within_column = key_column(model, question->within, question->within_count, question->strings, question->texts);
    }
    *request = (vecdb_search_request)VECDB_SEARCH_REQUEST_INIT;
    question->on_w = on_w;
    question->metric = on_w ? model->metric_w : model->metric;
    for (size_t q = 0; q < query_count; q++) {
        model_random_vector(model, &oracle->rng, question->query[q].v, question->query[q].bits);
        for (int i = 0; i < MODEL_DIM_W; i++)
            question->query[q].w[i] = (float)((int)below(oracle, 9) - 4);
    }
    if (on_w)
        for (size_t q = 0; q < query_count; q++)
            memcpy(question->packed + q * sizeof question->query[q].w, question->query[q].w, sizeof question->query[q].w);
    else
        pack_vectors(model, question->query, query_count, question->packed);
    request->field = on_w ? "w" : "v";
    request->queries = question->packed;
    request->query_count = query_count;
    request->dim = on_w ? MODEL_DIM_W : model->dim;
    request->metric = on_w ? oracle->index_w ? VECDB_METRIC_DEFAULT : model->metric_w
                           : oracle->index && chance(oracle, 50) ? VECDB_METRIC_DEFAULT : model->metric;
    request->limit = chance(oracle, 10) ? 1 + below(oracle, 300) : 1 + below(oracle, 15);
    request->filter = question->condition ? question->text : NULL;
    if (question->has_partitions)
        request->partitions = question->partitions, request->partition_count = question->partition_count;
    if (question->within_count)
        request->within_keys = &question->within_column, request->within_count = question->within_count;
    return question;
}

static void question_free(struct question *question)
{
    condition_free(question->condition);
    free(question);
}

static double score_of(const struct oracle *oracle, const struct question *question, size_t q, const struct model_row *row)
{
    return question->on_w ? model_score_w(question->metric, question->query[q].w, row)
                          : model_score(&oracle->model, question->metric, question->query[q].v, question->query[q].bits, row);
}

struct order {
    const struct model *model;
    bool descending;
};

static int compare_candidates(const void *a, const void *b, void *context)
{
    const struct candidate *x = a, *y = b;
    const struct order *order = context;

    if (x->score != y->score)
        return (x->score < y->score) != order->descending ? -1 : 1;
    return model_compare_keys(order->model, x->key, y->key);
}

/* Every row that may answer query q, best first. */
static struct candidate *answer(const struct oracle *oracle, const struct question *question, size_t q, size_t *count)
{
    struct candidate *candidates = malloc((oracle->model.count + 1) * sizeof *candidates);
    struct order order = {&oracle->model, model_larger_is_nearer(question->metric)};
    const vecdb_search_request *request = &question->request;

    *count = 0;
    for (size_t i = 0; i < oracle->model.count; i++) {
        const struct model_row *row = &oracle->model.rows[i];
        double score;
        if (!asked_for(oracle, question, row))
            continue;
        score = score_of(oracle, question, q, row);
        if (request->has_radius && (order.descending ? score <= request->radius : score >= request->radius))
            continue;
        if (request->has_range_filter && (order.descending ? score > request->range_filter : score < request->range_filter))
            continue;
        candidates[(*count)++] = (struct candidate){row, row->key, score};
    }
    qsort_r(candidates, *count, sizeof *candidates, compare_candidates, &order);
    return candidates;
}

static int64_t key_at(const struct oracle *oracle, const vecdb_column *column, size_t i)
{
    const char *text = (const char *)column->data;
    char copy[24] = {0};
    size_t size;

    if (!oracle->model.text_keys)
        return ((const int64_t *)column->data)[i];
    size = (size_t)(column->offsets[i + 1] - column->offsets[i]);
    memcpy(copy, text + column->offsets[i], size < 23 ? size : 23);
    return copy[0] == 'k' ? atoll(copy + 1) : -1;
}

static bool close_to(double a, double b) { return fabs(a - b) <= 1e-3 + 1e-4 * fabs(b); }

/* Whether equal scores are equal to the last bit, so that order is one and only one. */
static bool unambiguous(const struct oracle *oracle, const struct question *question)
{
    if (question->on_w)
        return true;
    return oracle->model.whole && question->metric != VECDB_METRIC_COSINE && question->metric != VECDB_METRIC_JACCARD;
}

/* Check the fields of a row that were brought along. */
static void check_fields(struct oracle *oracle, const vecdb_result *result, size_t at, const struct model_row *row)
{
    vecdb_column column;

    if (vecdb_result_column(result, "i", &column) == VECDB_OK &&
        ((!column.valid || column.valid[at]) != row->has_i || (row->has_i && ((const int32_t *)column.data)[at] != row->i)))
        wrong(oracle, "key %lld: i is not %d", (long long)row->key, row->i);
    if (vecdb_result_column(result, "t", &column) == VECDB_OK) {
        size_t size = (size_t)(column.offsets[at + 1] - column.offsets[at]);
        const char *text = model_text(row->t);
        if ((!column.valid || column.valid[at]) != row->has_t ||
            (row->has_t && (size != strlen(text) || memcmp((const char *)column.data + column.offsets[at], text, size) != 0)))
            wrong(oracle, "key %lld: t is not %s", (long long)row->key, text);
    }
    if (vecdb_result_column(result, "d", &column) == VECDB_OK && ((const double *)column.data)[at] != row->d)
        wrong(oracle, "key %lld: d is not %g", (long long)row->key, row->d);
    if (vecdb_result_column(result, "extra", &column) == VECDB_OK && ((const int32_t *)column.data)[at] != row->extra)
        wrong(oracle, "key %lld: extra is not %d", (long long)row->key, row->extra);
    if (vecdb_result_column(result, "m", &column) == VECDB_OK) {
        size_t size = (size_t)(column.offsets[at + 1] - column.offsets[at]);
        char text[16] = {0};
        if ((!column.valid || column.valid[at]) != row->has_m)
            wrong(oracle, "key %lld: m is%s there", (long long)row->key, row->has_m ? " not" : "");
        memcpy(text, (const char *)column.data + column.offsets[at], size < 15 ? size : 15);
        if (row->has_m && atoi(text) != row->m)
            wrong(oracle, "key %lld: m is %s, not %d", (long long)row->key, text, row->m);
    }
    if (vecdb_result_column(result, "v", &column) == VECDB_OK) {
        uint8_t packed[MODEL_DIM * 4];
        size_t width = pack_vectors(&oracle->model, row, 1, packed);
        if (memcmp((const uint8_t *)column.data + at * width, packed, width) != 0)
            wrong(oracle, "key %lld: v is another", (long long)row->key);
    }
}

/* One query's hits against the candidates. `exact`: which hits is settled; otherwise only that each is right. */
static void check_hits(struct oracle *oracle, const struct question *question, size_t q, const vecdb_result *result, size_t first,
                       size_t count, const struct candidate *candidates, size_t candidate_count, size_t offset, size_t limit,
                       bool exact)
{
    size_t wanted = candidate_count > offset ? candidate_count - offset : 0;
    bool estimates = !exact && oracle->estimates && !question->on_w;
    vecdb_column keys, scores;

    wanted = wanted < limit ? wanted : limit;
    if (vecdb_result_column(result, "id", &keys) != VECDB_OK || vecdb_result_column(result, "$score", &scores) != VECDB_OK) {
        wrong(oracle, "no key or score in the result");
        return;
    }
    if (count != wanted && (exact || !question->request.has_radius || count > wanted))
        wrong(oracle, "%zu hits, not %zu (of %zu, filter %s)", count, wanted, candidate_count, question->text);
    for (size_t i = 0; i < count && !oracle->wrong; i++) {
        int64_t key = key_at(oracle, &keys, first + i);
        double score = (double)((const float *)scores.data)[first + i];
        const struct candidate *candidate = NULL;
        for (size_t c = 0; c < candidate_count && !candidate; c++)
            if (candidates[c].key == key)
                candidate = &candidates[c];
        if (!candidate) {
            const struct model_row *row = model_find(&oracle->model, key);
            wrong(oracle, "hit %zu of %zu, key %lld, score %.9g, %s (filter %s, radius %d %.9g, range filter %d %.9g, on %s, partitions %d, within %zu)", i, count, (long long)key, score, row ? "does not match" : "is not there", question->text, question->request.has_radius, question->request.radius, question->request.has_range_filter, question->request.range_filter, question->on_w ? "w" : "v", question->has_partitions, question->within_count);
            return;
        }
        if (!estimates && !close_to(score, candidate->score))
            wrong(oracle, "hit %zu, key %lld: score %g, not %g", i, (long long)key, score, candidate->score);
        for (size_t j = 0; j < i; j++)
            if (key_at(oracle, &keys, first + j) == key)
                wrong(oracle, "key %lld twice", (long long)key);
        if (i) {
            double before = (double)((const float *)scores.data)[first + i - 1];
            bool larger = model_larger_is_nearer(question->metric);
            if (larger ? before < score : before > score)
                wrong(oracle, "hit %zu is nearer than the one before it", i);
            if (before == score && model_compare_keys(&oracle->model, key_at(oracle, &keys, first + i - 1), key) > 0)
                wrong(oracle, "hits %zu and %zu tie and are not in key order", i - 1, i);
        }
        if (exact && unambiguous(oracle, question) && candidates[offset + i].key != key)
            wrong(oracle, "hit %zu is key %lld, not %lld", i, (long long)key, (long long)candidates[offset + i].key);
        if (exact && !close_to(score, candidates[offset + i].score))
            wrong(oracle, "hit %zu has score %g, not %g", i, score, candidates[offset + i].score);
        check_fields(oracle, result, first + i, candidate->row);
    }
    if (!exact && !question->on_w && oracle->index) { /* hits as near as those wanted */
        uint64_t found = 0;
        double worst = wanted ? candidates[offset + wanted - 1].score : 0;
        bool larger = model_larger_is_nearer(question->metric);
        for (size_t i = 0; i < count; i++) {
            const struct model_row *row = model_find(&oracle->model, key_at(oracle, &keys, first + i));
            double score = score_of(oracle, question, q, row);
            found += larger ? score >= worst - 1e-4 : score <= worst + 1e-4;
        }
        if (question->request.has_radius) {
            oracle->tally->recall[oracle->kind].in_range += found;
            oracle->tally->recall[oracle->kind].range_wanted += wanted;
        } else {
            oracle->tally->recall[oracle->kind].found += found;
            oracle->tally->recall[oracle->kind].wanted += wanted;
        }
        oracle->tally->recall[oracle->kind].searches++;
    }
}

static const char *const all_output[] = {"*", "m"};
static const char *const some_output[] = {"i", "v", "m", "d"};

static void choose_output(struct oracle *oracle, const char *const **fields, size_t *count)
{
    size_t which = below(oracle, 3);

    *fields = which == 0 ? NULL : which == 1 ? all_output : some_output;
    *count = which == 0 ? 0 : which == 1 ? 2 : 4;
}

/* Make the request a range search around scores that there are. */
static void choose_range(struct oracle *oracle, struct question *question)
{
    vecdb_search_request *request = &question->request;
    size_t count, from, to;
    struct candidate *candidates = answer(oracle, question, 0, &count);

    if (count >= 2) {
        from = below(oracle, count), to = below(oracle, count);
        if (from > to) {
            size_t swap = from;
            from = to, to = swap;
        }
        request->has_radius = true;
        request->radius = (double)(float)candidates[to].score;
        if (chance(oracle, 50) && candidates[from].score != candidates[to].score) {
            request->has_range_filter = true;
            request->range_filter = (double)(float)candidates[from].score;
        }
        if (!unambiguous(oracle, question)) { /* no row lies on the border */
            double toward = model_larger_is_nearer(question->metric) ? 1e-3 : -1e-3;
            request->radius -= toward * 1.5;
            if (request->has_range_filter)
                request->range_filter += toward * 1.7;
        }
        request->limit = 1 + below(oracle, 200);
    }
    free(candidates);
}

/* Rows whose score is within rounding of a border may be in or out. */
static bool near_border(const struct oracle *oracle, const struct question *question)
{
    const vecdb_search_request *request = &question->request;

    if (!request->has_radius || unambiguous(oracle, question))
        return false;
    for (size_t q = 0; q < request->query_count; q++)
        for (size_t i = 0; i < oracle->model.count; i++) {
            double score = score_of(oracle, question, q, &oracle->model.rows[i]);
            if (fabs(score - request->radius) < 2e-4 || (request->has_range_filter && fabs(score - request->range_filter) < 2e-4))
                return true;
        }
    return false;
}

static void search(struct oracle *oracle, bool ranged)
{
    size_t query_count = chance(oracle, 20) ? QUERIES : 1;
    struct question *question = ask_search(oracle, query_count, chance(oracle, 15));
    vecdb_search_request *request = &question->request;
    bool exact = chance(oracle, 40) || (question->on_w ? !oracle->index_w : !oracle->index || strstr(oracle->index, "FLAT") == oracle->index), any_less = false;
    vecdb_result *result = NULL;
    vecdb_status status;

    request->exact = exact;
    if (ranged)
        choose_range(oracle, question);
    else if (chance(oracle, 15))
        request->offset = below(oracle, 20);
    choose_output(oracle, &request->output_fields, &request->output_count);
    if (near_border(oracle, question)) {
        question_free(question);
        return;
    }
    status = vecdb_search(oracle->rows, request, &result);
    if (status < 0) {
        wrong(oracle, "search: %s", vecdb_last_error());
        question_free(question);
        return;
    }
    for (size_t q = 0; q < query_count; q++) {
        size_t first, count = vecdb_result_rows(result, q, &first), candidate_count;
        struct candidate *candidates = answer(oracle, question, q, &candidate_count);
        bool settled = exact && !(oracle->estimates && !request->exact);
        check_hits(oracle, question, q, result, first, count, candidates, candidate_count, request->offset, request->limit, settled);
        any_less |= count < request->limit;
        free(candidates);
    }
    if ((status == VECDB_EXHAUSTED) != any_less)
        wrong(oracle, "search gave %s", vecdb_status_name(status));
    if (!oracle->model.text_keys && chance(oracle, 20) && !oracle->wrong) { /* the same into the caller's storage */
        int64_t *keys = malloc(query_count * request->limit * sizeof *keys);
        float *scores = malloc(query_count * request->limit * sizeof *scores);
        size_t counts[QUERIES];
        vecdb_column column;
        vecdb_result_column(result, "id", &column);
        if (vecdb_search_into(oracle->rows, request, keys, scores, counts) < 0)
            wrong(oracle, "search_into: %s", vecdb_last_error());
        for (size_t q = 0; q < query_count && !oracle->wrong; q++) {
            size_t first, count = vecdb_result_rows(result, q, &first);
            if (counts[q] != count)
                wrong(oracle, "search_into has %zu hits, search %zu", counts[q], count);
            for (size_t i = 0; i < request->limit && !oracle->wrong; i++)
                if (keys[q * request->limit + i] != (i < count ? key_at(oracle, &column, first + i) : -1) ||
                    (i >= count) != isnan(scores[q * request->limit + i]))
                    wrong(oracle, "search_into differs from search at hit %zu", i);
        }
        free(keys), free(scores);
    }
    oracle->tally->exact += exact, oracle->tally->approximate += !exact, oracle->tally->ranged += ranged;
    vecdb_result_free(&result);
    question_free(question);
}

/* ---- groups ---- */

/* A row's group by field i or t; -1 for no value. */
static int group_of(const struct model_row *row, char field)
{
    if (field == 'i')
        return row->has_i ? row->i : -1;
    return row->has_t ? row->t : -1;
}

static void check_groups(struct oracle *oracle, const struct question *question, char field, const vecdb_result *result, size_t first,
                         size_t count, const struct candidate *candidates, size_t candidate_count, bool exact)
{
    const vecdb_search_request *request = &question->request;
    size_t size = request->group_size ? request->group_size : 1, group_count = 0, seen = 0, wanted_groups = 0;
    int groups[MODEL_TEXTS + 24], order[MODEL_TEXTS + 24];
    size_t taken[MODEL_TEXTS + 24] = {0}, there[MODEL_TEXTS + 24] = {0};
    vecdb_column keys, scores;

    vecdb_result_column(result, "id", &keys);
    vecdb_result_column(result, "$score", &scores);
    for (size_t c = 0; c < candidate_count; c++) { /* groups in the order of their nearest rows */
        int group = group_of(candidates[c].row, field);
        if (there[group + 1]++ == 0)
            order[wanted_groups++] = group;
    }
    for (size_t i = 0; i < count && !oracle->wrong; i++) {
        int64_t key = key_at(oracle, &keys, first + i);
        const struct candidate *candidate = NULL;
        int group;
        for (size_t c = 0; c < candidate_count && !candidate; c++)
            if (candidates[c].key == key)
                candidate = &candidates[c];
        if (!candidate) {
            wrong(oracle, "grouped: key %lld does not match", (long long)key);
            return;
        }
        group = group_of(candidate->row, field);
        if (!group_count || groups[group_count - 1] != group) {
            for (size_t g = 0; g < group_count; g++)
                if (groups[g] == group)
                    wrong(oracle, "grouped: group %d in two places", group);
            groups[group_count++] = group;
        } else if (model_larger_is_nearer(question->metric)
                       ? ((const float *)scores.data)[first + i] > ((const float *)scores.data)[first + i - 1]
                       : ((const float *)scores.data)[first + i] < ((const float *)scores.data)[first + i - 1]) {
            wrong(oracle, "grouped: hit %zu is nearer than the one before it", i);
        }
        for (size_t j = 0; j < i; j++)
            if (key_at(oracle, &keys, first + j) == key)
                wrong(oracle, "grouped: key %lld twice", (long long)key);
        taken[group + 1]++;
        seen = taken[group + 1];
        if (seen > size)
            wrong(oracle, "grouped: more than %zu rows of group %d", size, group);
        if (exact && unambiguous(oracle, question)) { /* the group's next nearest */
            size_t n = 0, c = 0;
            for (; c < candidate_count; c++)
                if (group_of(candidates[c].row, field) == group && n++ == seen - 1)
                    break;
            if (candidates[c].key != key)
                wrong(oracle, "grouped: row %zu of group %d is key %lld, not %lld", seen, group, (long long)key, (long long)candidates[c].key);
        }
    }
    if (oracle->wrong)
        return;
    seen = wanted_groups > request->offset ? wanted_groups - request->offset : 0;
    seen = seen < request->limit ? seen : request->limit;
    if (group_count != seen)
        wrong(oracle, "grouped: %zu groups, not %zu of %zu", group_count, seen, wanted_groups);
    for (size_t g = 0; g < group_count && !oracle->wrong; g++) {
        size_t all = there[groups[g] + 1] < size ? there[groups[g] + 1] : size;
        if (exact && unambiguous(oracle, question) && groups[g] != order[request->offset + g])
            wrong(oracle, "grouped: group %zu is %d, not %d", g, groups[g], order[request->offset + g]);
        if (request->strict_group_size && taken[groups[g] + 1] != all)
            wrong(oracle, "grouped: %zu rows of group %d, not %zu", taken[groups[g] + 1], groups[g], all);
    }
}

static void search_groups(struct oracle *oracle)
{
    struct question *question = ask_search(oracle, chance(oracle, 20) ? QUERIES : 1, false);
    vecdb_search_request *request = &question->request;
    char field = chance(oracle, 50) ? 'i' : 't';
    vecdb_result *result = NULL;

    request->exact = chance(oracle, 50);
    request->group_by = field == 'i' ? "i" : "t";
    request->limit = 1 + below(oracle, 12);
    request->group_size = below(oracle, 5);
    request->offset = chance(oracle, 20) ? below(oracle, 5) : 0;
    request->strict_group_size = chance(oracle, 50);
    if (vecdb_search(oracle->rows, request, &result) < 0)
        wrong(oracle, "grouped search: %s", vecdb_last_error());
    for (size_t q = 0; q < request->query_count && !oracle->wrong; q++) {
        size_t first, count = vecdb_result_rows(result, q, &first), candidate_count;
        struct candidate *candidates = answer(oracle, question, q, &candidate_count);
        check_groups(oracle, question, field, result, first, count, candidates, candidate_count, request->exact || !oracle->index);
        free(candidates);
    }
    oracle->tally->grouped++;
    vecdb_result_free(&result);
    question_free(question);
}

/* ---- hybrid ---- */

static double normal(vecdb_metric metric, double score)
{
    return metric == VECDB_METRIC_COSINE ? (1 + score) / 2
           : metric == VECDB_METRIC_IP   ? 0.5 + atan(score) / M_PI
                                         : 1 - 2 * atan(score) / M_PI;
}

static void search_hybrid(struct oracle *oracle)
{
    struct question *questions[2] = {ask_search(oracle, 1, false), ask_search(oracle, 1, true)};
    const vecdb_search_request *searches[2] = {&questions[0]->request, &questions[1]->request};
    vecdb_hybrid_request request = VECDB_HYBRID_REQUEST_INIT;
    const double weights[2] = {rng_unit(&oracle->rng), rng_unit(&oracle->rng)};
    bool weighted = chance(oracle, 50);
    struct order order = {&oracle->model, true};
    struct candidate *all = calloc(oracle->model.count + 1, sizeof *all);
    size_t all_count = 0;
    vecdb_column keys, scores;
    vecdb_result *result = NULL;

    request.searches = searches, request.search_count = 2, request.limit = 1 + below(oracle, 20);
    request.offset = chance(oracle, 20) ? below(oracle, 5) : 0;
    request.ranker = weighted ? "weighted" : "rrf";
    request.weights = weighted ? weights : NULL;
    request.rrf_k = chance(oracle, 50) ? 0 : 1 + (double)below(oracle, 100);
    for (int s = 0; s < 2; s++) {
        size_t count;
        struct candidate *candidates;
        questions[s]->request.exact = true;
        candidates = answer(oracle, questions[s], 0, &count);
        for (size_t i = 0; i < count && i < questions[s]->request.limit; i++) {
            double part = weighted ? weights[s] * normal(questions[s]->metric, candidates[i].score)
                                   : 1 / ((request.rrf_k != 0 ? request.rrf_k : 60) + (double)i + 1);
            size_t at = 0;
            while (at < all_count && all[at].key != candidates[i].key)
                at++;
            if (at == all_count)
                all[all_count++] = (struct candidate){candidates[i].row, candidates[i].key, 0};
            all[at].score += part;
        }
        free(candidates);
    }
    qsort_r(all, all_count, sizeof *all, compare_candidates, &order);
    if (vecdb_hybrid_search(oracle->rows, &request, &result) < 0) {
        wrong(oracle, "hybrid: %s", vecdb_last_error());
    } else if (unambiguous(oracle, questions[0])) {
        size_t count = vecdb_result_rows(result, 0, NULL), wanted = all_count > request.offset ? all_count - request.offset : 0;
        vecdb_result_column(result, "id", &keys);
        vecdb_result_column(result, "$score", &scores);
        wanted = wanted < request.limit ? wanted : request.limit;
        if (count != wanted)
            wrong(oracle, "hybrid: %zu hits, not %zu", count, wanted);
        for (size_t i = 0; i < count && !oracle->wrong; i++) {
            const struct candidate *candidate = &all[request.offset + i];
            double score = (double)((const float *)scores.data)[i];
            if (fabs(score - candidate->score) > 1e-5)
                wrong(oracle, "hybrid: hit %zu has score %.8g, not %.8g", i, score, candidate->score);
            if (key_at(oracle, &keys, i) != candidate->key) { /* unless sums differ in their last bits */
                size_t at = 0;
                while (at < all_count && all[at].key != key_at(oracle, &keys, i))
                    at++;
                if (at == all_count || fabs(all[at].score - candidate->score) > 1e-9)
                    wrong(oracle, "hybrid: hit %zu is key %lld, not %lld", i, (long long)key_at(oracle, &keys, i), (long long)candidate->key);
            }
        }
    }
    oracle->tally->hybrid++;
    vecdb_result_free(&result);
    question_free(questions[0]), question_free(questions[1]);
    free(all);
}

/* ---- queries ---- */

struct sort {
    const struct model *model;
    int kind; /* 0 by key, 1 "i desc, d", 2 "t, id desc" */
};

static int compare_rows(const void *a, const void *b, void *context)
{
    const struct sort *sort = context;
    const struct model_row *x = *(const struct model_row *const *)a, *y = *(const struct model_row *const *)b;

    if (sort->kind == 1) {
        if (x->has_i != y->has_i)
            return x->has_i ? -1 : 1;
        if (x->has_i && x->i != y->i)
            return x->i > y->i ? -1 : 1;
        if (x->d != y->d)
            return x->d < y->d ? -1 : 1;
    } else if (sort->kind == 2) {
        int order = x->has_t && y->has_t ? strcmp(model_text(x->t), model_text(y->t)) : 0;
        if (x->has_t != y->has_t)
            return x->has_t ? -1 : 1;
        return order ? order : -model_compare_keys(sort->model, x->key, y->key);
    }
    return model_compare_keys(sort->model, x->key, y->key);
}

/* Rows that match, in order, as copies. */
static struct model_row *matching(const struct oracle *oracle, const struct question *question, int order, size_t *count)
{
    const struct model_row **list = malloc((oracle->model.count + 1) * sizeof *list);
    struct sort sort = {&oracle->model, order};
    struct model_row *rows;

    *count = 0;
    for (size_t i = 0; i < oracle->model.count; i++)
        if (asked_for(oracle, question, &oracle->model.rows[i]))
            list[(*count)++] = &oracle->model.rows[i];
    qsort_r(list, *count, sizeof *list, compare_rows, &sort);
    rows = malloc((*count + 1) * sizeof *rows);
    for (size_t i = 0; i < *count; i++)
        rows[i] = *list[i];
    free(list);
    return rows;
}

static const char *const orders[] = {NULL, "i desc, d", "t, id desc"};

static void query_request(struct oracle *oracle, struct question *question, int order, vecdb_query_request *request)
{
    *request = (vecdb_query_request)VECDB_QUERY_REQUEST_INIT;
    request->filter = question->condition ? question->text : NULL;
    if (question->has_partitions)
        request->partitions = question->partitions, request->partition_count = question->partition_count;
    request->order_by = orders[order];
    choose_output(oracle, &request->output_fields, &request->output_count);
}

static void query(struct oracle *oracle)
{
    struct question *question = calloc(1, sizeof *question);
    int order = (int)below(oracle, 3);
    vecdb_query_request request;
    vecdb_result *result = NULL;
    struct model_row *rows;
    size_t count, wanted;
    vecdb_column keys;

    ask_about_rows(oracle, question);
    query_request(oracle, question, order, &request);
    request.limit = chance(oracle, 50) ? below(oracle, 50) : 0;
    request.offset = chance(oracle, 30) ? below(oracle, 50) : 0;
    rows = matching(oracle, question, order, &wanted);
    count = wanted > request.offset ? wanted - request.offset : 0;
    count = request.limit && count > request.limit ? request.limit : count;
    if (vecdb_query(oracle->rows, &request, &result) < 0) {
        wrong(oracle, "query %s: %s", question->text, vecdb_last_error());
    } else if (vecdb_result_rows(result, 0, NULL) != count) {
        wrong(oracle, "query %s has %zu rows, not %zu", question->text, vecdb_result_rows(result, 0, NULL), count);
    } else {
        vecdb_result_column(result, "id", &keys);
        for (size_t i = 0; i < count && !oracle->wrong; i++) {
            const struct model_row *row = &rows[request.offset + i];
            if (key_at(oracle, &keys, i) != row->key)
                wrong(oracle, "query %s by %s: row %zu is key %lld, not %lld", question->text, request.order_by ? request.order_by : "key", i,
                      (long long)key_at(oracle, &keys, i), (long long)row->key);
            else
                check_fields(oracle, result, i, row);
        }
    }
    oracle->tally->queries++;
    vecdb_result_free(&result);
    free(rows);
    question_free(question);
}

static void count_rows(struct oracle *oracle)
{
    struct question *question = calloc(1, sizeof *question);
    uint64_t count = 0, wanted = 0;

    question->condition = chance(oracle, 80) ? condition_random(&oracle->model, &oracle->rng, 3) : NULL;
    if (question->condition)
        condition_print(&oracle->model, question->condition, question->text, sizeof question->text);
    for (size_t i = 0; i < oracle->model.count; i++)
        wanted += asked_for(oracle, question, &oracle->model.rows[i]);
    if (vecdb_count(oracle->rows, question->condition ? question->text : NULL, NULL, &count) < 0)
        wrong(oracle, "count: %s", vecdb_last_error());
    else if (count != wanted)
        wrong(oracle, "count of %s is %llu, not %llu", question->text, (unsigned long long)count, (unsigned long long)wanted);
    oracle->tally->counts++;
    question_free(question);
}

static void get_rows(struct oracle *oracle)
{
    int64_t keys[BATCH];
    vecdb_string strings[BATCH];
    char texts[BATCH][24];
    size_t count = 1 + below(oracle, 10), at = 0;
    const char *const *fields;
    size_t field_count;
    vecdb_result *result = NULL;
    vecdb_column column, found;
    vecdb_status status;

    for (size_t i = 0; i < count; i++)
        keys[i] = oracle->model.count && chance(oracle, 70) ? oracle->model.rows[below(oracle, oracle->model.count)].key : (int64_t)below(oracle, 900);
    column = key_column(&oracle->model, keys, count, strings, texts);
    choose_output(oracle, &fields, &field_count);
    status = vecdb_get(oracle->rows, &column, count, fields, field_count, &result);
    if (status < 0) {
        wrong(oracle, "get: %s", vecdb_last_error());
        return;
    }
    vecdb_result_column(result, "id", &found);
    for (size_t i = 0; i < count && !oracle->wrong; i++) {
        const struct model_row *row = model_find(&oracle->model, keys[i]);
        if (!row)
            continue;
        if (at >= vecdb_result_rows(result, 0, NULL) || key_at(oracle, &found, at) != row->key)
            wrong(oracle, "get: key %lld is not row %zu", (long long)row->key, at);
        else
            check_fields(oracle, result, at, row);
        at++;
    }
    if (!oracle->wrong && (vecdb_result_rows(result, 0, NULL) != at || (status == VECDB_NOT_FOUND) != (at == 0)))
        wrong(oracle, "get: %zu rows, not %zu", vecdb_result_rows(result, 0, NULL), at);
    oracle->tally->gets++;
    vecdb_result_free(&result);
}

/* ---- cursors ---- */

static void open_search_cursor(struct oracle *oracle, struct open_cursor *cursor)
{
    struct question *question = ask_search(oracle, 1, false);
    size_t count;
    struct candidate *candidates;

    question->request.exact = chance(oracle, 50);
    if (chance(oracle, 20))
        choose_range(oracle, question);
    if (near_border(oracle, question)) {
        question_free(question);
        return;
    }
    question->request.offset = 0;
    choose_output(oracle, &question->request.output_fields, &question->request.output_count);
    candidates = answer(oracle, question, 0, &count);
    if (vecdb_search_cursor(oracle->rows, &question->request, &cursor->cursor) < 0) {
        wrong(oracle, "search cursor: %s", vecdb_last_error());
    } else {
        cursor->searches = true;
        cursor->ordered = question->request.exact && unambiguous(oracle, question);
        cursor->metric = question->metric;
        cursor->rows = malloc((count + 1) * sizeof *cursor->rows);
        cursor->scores = malloc((count + 1) * sizeof *cursor->scores);
        cursor->count = count;
        for (size_t i = 0; i < count; i++)
            cursor->rows[i] = *candidates[i].row, cursor->scores[i] = candidates[i].score;
    }
    free(candidates);
    question_free(question);
}

static void open_query_cursor(struct oracle *oracle, struct open_cursor *cursor)
{
    struct question *question = calloc(1, sizeof *question);
    int order = (int)below(oracle, 3);
    vecdb_query_request request;

    ask_about_rows(oracle, question);
    query_request(oracle, question, order, &request);
    if (vecdb_query_cursor(oracle->rows, &request, &cursor->cursor) < 0) {
        wrong(oracle, "query cursor: %s", vecdb_last_error());
    } else {
        cursor->ordered = true;
        cursor->rows = matching(oracle, question, order, &cursor->count);
    }
    question_free(question);
}

static void next_page(struct oracle *oracle, struct open_cursor *cursor)
{
    size_t asked = 1 + below(oracle, chance(oracle, 20) ? 400 : 30), count;
    vecdb_result *result = NULL;
    vecdb_column keys, scores = {0};
    vecdb_status status = vecdb_cursor_next(cursor->cursor, asked, &result);

    oracle->tally->pages++;
    if (status < 0) {
        wrong(oracle, "cursor: %s", vecdb_last_error());
        return;
    }
    count = vecdb_result_rows(result, 0, NULL);
    if ((status == VECDB_EXHAUSTED) != (count == 0))
        wrong(oracle, "cursor: %zu rows and %s", count, vecdb_status_name(status));
    if (count != (asked < cursor->count ? asked : cursor->count))
        wrong(oracle, "cursor: a page of %zu rows; %zu asked, %zu left", count, asked, cursor->count);
    vecdb_result_column(result, "id", &keys);
    if (cursor->searches)
        vecdb_result_column(result, "$score", &scores);
    for (size_t i = 0; i < count && !oracle->wrong; i++) {
        int64_t key = key_at(oracle, &keys, i);
        size_t at = 0;
        while (at < cursor->count && cursor->rows[at].key != key)
            at++;
        if (at == cursor->count) {
            wrong(oracle, "cursor: key %lld is not to come, or came before", (long long)key);
            break;
        }
        if (cursor->ordered && at != 0)
            wrong(oracle, "cursor: key %lld before key %lld", (long long)key, (long long)cursor->rows[0].key);
        check_fields(oracle, result, i, &cursor->rows[at]);
        memmove(cursor->rows + at, cursor->rows + at + 1, (cursor->count - at - 1) * sizeof *cursor->rows);
        if (cursor->scores)
            memmove(cursor->scores + at, cursor->scores + at + 1, (cursor->count - at - 1) * sizeof *cursor->scores);
        cursor->count--;
    }
    vecdb_result_free(&result);
    if (status == VECDB_EXHAUSTED) {
        if (cursor->count && !oracle->wrong)
            wrong(oracle, "cursor: ended with %zu rows to come", cursor->count);
        close_cursor(cursor);
    }
}

static void use_cursor(struct oracle *oracle)
{
    struct open_cursor *cursor = &oracle->cursors[below(oracle, CURSORS)];

    if (!cursor->cursor) {
        oracle->tally->cursors++;
        if (chance(oracle, 60))
            open_search_cursor(oracle, cursor);
        else
            open_query_cursor(oracle, cursor);
    } else if (chance(oracle, 4)) {
        close_cursor(cursor);
    } else {
        next_page(oracle, cursor);
    }
}

/* ---- all together ---- */

static void operate(struct oracle *oracle)
{
    size_t dice = below(oracle, 1000);

    if (dice < 130)
        insert(oracle, false);
    else if (dice < 180)
        insert(oracle, true);
    else if (dice < 220)
        delete_keys(oracle);
    else if (dice < 245)
        delete_where(oracle);
    else if (dice < 270)
        DONE(oracle, vecdb_flush(oracle->rows));
    else if (dice < 274)
        DONE(oracle, vecdb_optimize(oracle->rows, NULL, NULL));
    else if (dice < 275)
        change_ttl(oracle);
    else if (dice < 287)
        change_index(oracle);
    else if (dice < 305)
        change_partition(oracle);
    else if (dice < 307)
        truncate_rows(oracle);
    else if (dice < 315)
        reopen(oracle);
    else if (dice < 318)
        add_field(oracle);
    else if (dice < 326)
        change_scalar_index(oracle);
    else if (dice < 330)
        DONE(oracle, chance(oracle, 50) ? vecdb_load(oracle->rows, NULL, NULL) : vecdb_release(oracle->rows));
    else if (dice < 570)
        search(oracle, false);
    else if (dice < 650)
        search(oracle, true);
    else if (dice < 710)
        search_groups(oracle);
    else if (dice < 760)
        search_hybrid(oracle);
    else if (dice < 880)
        use_cursor(oracle);
    else if (dice < 940)
        query(oracle);
    else if (dice < 970)
        count_rows(oracle);
    else
        get_rows(oracle);
}

static void begin(struct oracle *oracle)
{
    static const vecdb_type types[] = {VECDB_TYPE_FLOAT_VECTOR, VECDB_TYPE_FLOAT_VECTOR, VECDB_TYPE_FLOAT_VECTOR,
                                       VECDB_TYPE_FLOAT16_VECTOR, VECDB_TYPE_BFLOAT16_VECTOR, VECDB_TYPE_INT8_VECTOR,
                                       VECDB_TYPE_BINARY_VECTOR};
    struct model *model = &oracle->model;

    model->type = types[below(oracle, 7)];
    model->text_keys = chance(oracle, 30);
    model->whole = model->type != VECDB_TYPE_FLOAT_VECTOR || chance(oracle, 70);
    model->dim = model->type == VECDB_TYPE_BINARY_VECTOR ? 8 * (1 + (uint32_t)below(oracle, MODEL_BYTES))
                                                         : 2 * (1 + (uint32_t)below(oracle, MODEL_DIM / 2));
    model->metric = model->type == VECDB_TYPE_BINARY_VECTOR
                        ? (chance(oracle, 60) ? VECDB_METRIC_HAMMING : VECDB_METRIC_JACCARD)
                        : (vecdb_metric)(VECDB_METRIC_L2 + (int)below(oracle, 3));
    model->metric_w = chance(oracle, 50) ? VECDB_METRIC_L2 : VECDB_METRIC_IP;
    model->partitions[0] = true;
    model->keyed = chance(oracle, 20);
    if (chance(oracle, 60)) {
        snprintf(oracle->directory, sizeof oracle->directory, "/tmp/vecdb-queries-XXXXXX");
        if (!mkdtemp(oracle->directory))
            wrong(oracle, "mkdtemp failed");
    }
    if (!oracle->wrong)
        open_db(oracle);
    if (!oracle->wrong)
        create(oracle);
}

int query_oracle(uint64_t seed, size_t operations, struct query_tally *tally)
{
    struct oracle *oracle = calloc(1, sizeof *oracle);
    char command[96];
    int result;

    oracle->seed = seed, oracle->rng = rng_seeded(seed), oracle->tally = tally;
    begin(oracle);
    for (; oracle->step < operations && !oracle->wrong; oracle->step++) {
        operate(oracle);
        tally->operations++;
    }
    for (int i = 0; i < CURSORS; i++)
        close_cursor(&oracle->cursors[i]);
    if (vecdb_collection_close(&oracle->rows) < 0 || vecdb_close(&oracle->db) < 0)
        wrong(oracle, "close: %s", vecdb_last_error());
    snprintf(command, sizeof command, "rm -rf %s", oracle->directory);
    if (oracle->directory[0] && system(command) != 0)
        wrong(oracle, "%s failed", command);
    model_free(&oracle->model);
    result = oracle->wrong;
    free(oracle);
    return result;
}

static double share(uint64_t part, uint64_t whole) { return whole ? (double)part / (double)whole : 1; }

double query_tally_worst(const struct query_tally *tally, const char **kind)
{
    double worst = 1;

    for (size_t i = 0; i < ORACLE_KINDS; i++) {
        double recall = fmin(share(tally->recall[i].found, tally->recall[i].wanted),
                             share(tally->recall[i].in_range, tally->recall[i].range_wanted));
        if (tally->recall[i].searches >= 200 && recall < worst)
            worst = recall, *kind = tally->recall[i].kind;
    }
    return worst;
}

void query_tally_print(const struct query_tally *tally)
{
    printf("operations %llu, rows written %llu, searches %llu exact %llu approximate (%llu ranged), %llu grouped, %llu hybrid, "
           "cursors %llu (%llu pages), queries %llu, counts %llu, gets %llu\n",
           (unsigned long long)tally->operations, (unsigned long long)tally->rows_written, (unsigned long long)tally->exact,
           (unsigned long long)tally->approximate, (unsigned long long)tally->ranged, (unsigned long long)tally->grouped,
           (unsigned long long)tally->hybrid, (unsigned long long)tally->cursors, (unsigned long long)tally->pages,
           (unsigned long long)tally->queries, (unsigned long long)tally->counts, (unsigned long long)tally->gets);
    for (size_t i = 0; i < ORACLE_KINDS && tally->recall[i].kind; i++)
        printf("  %-12s %8llu searches, recall %.4f, of ranges %.4f\n", tally->recall[i].kind,
               (unsigned long long)tally->recall[i].searches, share(tally->recall[i].found, tally->recall[i].wanted),
               share(tally->recall[i].in_range, tally->recall[i].range_wanted));
}
