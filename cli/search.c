/* Searching, reading, counting, deleting. */
#include "cli.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static double now(void);

/* "a,b,c" cut up in a copy; the array is for free(), and so is its last element, the copy. */
static char **split_names(const char *text, size_t *count)
{
    char *copy = strdup(text ? text : ""), *save = NULL, **names = calloc(strlen(text ? text : "") + 2, sizeof *names);

    *count = 0;
    if (!copy || !names)
        exit(complain("out of memory"));
    for (char *name = strtok_r(copy, ", ", &save); name; name = strtok_r(NULL, ", ", &save))
        names[(*count)++] = name;
    names[*count] = copy;
    return names;
}

static void free_names(char **names, size_t count)
{
    free(names[count]);
    free(names);
}

static vecdb_metric metric_of(const char *text)
{
    static const char *const names[] = {"", "L2", "IP", "COSINE", "HAMMING", "JACCARD"};

    for (int i = 1; text && i < 6; i++)
        if (strcasecmp(names[i], text) == 0)
            return (vecdb_metric)i;
    return VECDB_METRIC_DEFAULT;
}

static int sparse_from_text(const char *text, struct matrix *out)
{
    json_t *object = json_loads(text, 0, NULL);
    size_t count = json_object_size(object);
    vecdb_sparse *values = calloc(count + 1, sizeof *values);
    bool taken = values && sparse_from_json(object, values);

    json_decref(object);
    *out = (struct matrix){VECDB_TYPE_SPARSE_FLOAT_VECTOR, 1, 0, values, {0, count}};
    return taken ? EXIT_DONE : usage_error("--vector: a JSON object of numbers by index is wanted, {\"7\": 0.5}");
}

static int query_from_text(const char *text, const vecdb_field *field, struct matrix *out)
{
    json_t *array = json_loads(text, 0, NULL);
    bool bits = field->type == VECDB_TYPE_BINARY_VECTOR;
    float *floats;

    if (!json_is_array(array)) {
        json_decref(array);
        return usage_error("--vector: a JSON array of numbers is wanted");
    }
    floats = calloc(json_array_size(array) + 1, sizeof *floats);
    for (size_t i = 0; floats && i < json_array_size(array); i++) {
        if (bits)
            ((uint8_t *)floats)[i] = (uint8_t)json_number_value(json_array_get(array, i));
        else
            floats[i] = (float)json_number_value(json_array_get(array, i));
    }
    *out = (struct matrix){bits ? VECDB_TYPE_BINARY_VECTOR : VECDB_TYPE_FLOAT_VECTOR, 1,
                           (uint32_t)json_array_size(array) * (bits ? 8 : 1), floats, {0}};
    json_decref(array);
    return floats ? EXIT_DONE : complain("out of memory");
}

static int read_queries(const vecdb_field *field, struct matrix *out)
{
    double first;
    int code;

    if (!option_number("--first", 1, 1e9, 1e9, &first))
        return EXIT_USAGE;
    if (option("--vector") && field->type == VECDB_TYPE_SPARSE_FLOAT_VECTOR)
        return sparse_from_text(option("--vector"), out);
    if (option("--vector"))
        return query_from_text(option("--vector"), field, out);
    if (!option("--queries"))
        return usage_error("search wants --vector or --queries");
    if ((code = matrix_read(option("--queries"), out)) != EXIT_DONE)
        return code;
    if (out->rows > (size_t)first)
        out->rows = (size_t)first;
    return EXIT_DONE;
}

static int print_hits(const vecdb_result *result)
{
    size_t queries = vecdb_result_query_count(result);

    if (json_wanted() && queries > 1)
        puts("[");
    for (size_t q = 0; q < queries; q++) {
        size_t first, count = vecdb_result_rows(result, q, &first);
        if (!json_wanted() && queries > 1)
            printf("query %zu\n", q);
        print_rows(result, first, count);
        if (json_wanted())
            puts(queries > 1 && q + 1 < queries ? "," : "");
    }
    if (json_wanted() && queries > 1)
        puts("]");
    return EXIT_DONE;
}

int run_search(void)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    struct matrix queries = {0};
    const vecdb_schema *schema;
    const vecdb_field *field;
    struct session session;
    vecdb_result *result;
    double limit, offset;
    size_t name_count;
    char **names, *text;
    vecdb_status status;
    int code;

    if (!option_number("--limit", 1, 4e9, 10, &limit) || !option_number("--offset", 0, 4e9, 0, &offset) ||
        !option_number("--radius", -INFINITY, INFINITY, 0, &request.radius))
        return EXIT_USAGE;
    if (option("--metric") && (request.metric = metric_of(option("--metric"))) == VECDB_METRIC_DEFAULT)
        return usage_error("--metric %s: L2, IP, COSINE, HAMMING or JACCARD is wanted", option("--metric"));
    if ((code = session_open(&session, TO_READ, true)) != EXIT_DONE)
        return code;
    names = split_names(option("--output"), &name_count);
    if (vecdb_collection_schema(session.collection, &schema) < 0 || !(field = vector_field(schema)))
        code = EXIT_FAILED;
    if (code == EXIT_DONE)
        code = read_queries(field, &queries);
    if (code == EXIT_DONE) {
        request.field = field->name;
        request.queries = queries.data;
        request.query_type = queries.type;
        request.dim = queries.dim;
        request.query_offsets = queries.type == VECDB_TYPE_SPARSE_FLOAT_VECTOR ? queries.offsets : NULL;
        request.query_count = queries.rows;
        request.limit = (size_t)limit;
        request.offset = (size_t)offset;
        request.filter = option("--filter");
        request.filter_params = option("--filter-params");
        request.params = option("--params");
        request.has_radius = option("--radius") != NULL;
        request.group_by = option("--group-by");
        request.exact = option("--exact") != NULL;
        request.output_fields = (const char *const *)names;
        request.output_count = name_count;
        if (option("--explain")) {
            if ((status = vecdb_explain(session.collection, &request, &text)) < 0)
                code = failure(status);
            else
                puts(text), vecdb_free(text);
        } else if ((status = vecdb_search(session.collection, &request, &result)) < 0) {
            code = failure(status);
        } else {
            code = print_hits(result);
            vecdb_result_free(&result);
        }
    }
    free_names(names, name_count);
    free(queries.data);
    return session_close(&session, code);
}

/* Keys "1,2,3" as the primary key's type. */
struct key_list {
    vecdb_column column;
    void *data;
    size_t count;
};

static int read_keys(vecdb_collection *collection, char **words, size_t count, struct key_list *out)
{
    const vecdb_schema *schema;
    const vecdb_field *key = NULL;

    if (vecdb_collection_schema(collection, &schema) < 0)
        return failure(VECDB_ERR_INVALID);
    for (size_t i = 0; i < schema->field_count; i++)
        if (schema->fields[i].flags & VECDB_PRIMARY_KEY)
            key = &schema->fields[i];
    out->data = calloc(count + 1, sizeof(vecdb_string));
    if (!out->data)
        return complain("out of memory");
    for (size_t i = 0; i < count; i++) {
        char *end = words[i];
        if (key->type == VECDB_TYPE_INT64)
            ((int64_t *)out->data)[i] = strtoll(words[i], &end, 10);
        else
            ((vecdb_string *)out->data)[i] = (vecdb_string){words[i], strlen(words[i])};
        if (key->type == VECDB_TYPE_INT64 && (*end || end == words[i]))
            return usage_error("--keys: %s is no integer", words[i]);
    }
    out->count = count;
    out->column = (vecdb_column){.field = key->name, .type = key->type, .data = out->data};
    return EXIT_DONE;
}

int run_query(void)
{
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    struct key_list keys = {{0}, NULL, 0};
    const vecdb_schema *schema;
    struct session session;
    vecdb_result *result = NULL;
    double limit, offset;
    size_t name_count, word_count;
    char **names, **words;
    vecdb_status status = VECDB_OK;
    int code;

    if (!option_number("--limit", 0, 4e9, 20, &limit) || !option_number("--offset", 0, 4e9, 0, &offset))
        return EXIT_USAGE;
    if (option("--keys") && option("--filter"))
        return usage_error("query takes --keys or --filter, not both");
    if ((code = session_open(&session, TO_READ, true)) != EXIT_DONE)
        return code;
    words = split_names(option("--keys"), &word_count);
    names = split_names(option("--output"), &name_count);
    if (vecdb_collection_schema(session.collection, &schema) < 0)
        code = failure(VECDB_ERR_INVALID);
    if (code == EXIT_DONE && !option("--output")) { /* all but vectors, which nobody reads */
        free_names(names, name_count);
        names = calloc(schema->field_count + 2, sizeof *names);
        name_count = 0;
        for (size_t i = 0; names && i < schema->field_count; i++)
            if (schema->fields[i].type < VECDB_TYPE_BINARY_VECTOR)
                names[name_count++] = (char *)schema->fields[i].name;
        if (names && schema->dynamic)
            names[name_count++] = "$meta";
        if (names)
            names[name_count] = NULL;
    }
    if (code == EXIT_DONE && word_count) {
        code = read_keys(session.collection, words, word_count, &keys);
        if (code == EXIT_DONE)
            status = vecdb_get(session.collection, &keys.column, keys.count, (const char *const *)names, name_count, &result);
        if (status == VECDB_NOT_FOUND)
            code = EXIT_NOT_FOUND;
    } else if (code == EXIT_DONE) {
        request.filter = option("--filter");
        request.filter_params = option("--filter-params");
        request.output_fields = (const char *const *)names;
        request.output_count = name_count;
        request.limit = (size_t)limit;
        request.offset = (size_t)offset;
        request.order_by = option("--order-by");
        status = vecdb_query(session.collection, &request, &result);
    }
    if (status < 0)
        code = failure(status);
    else if (result)
        print_rows(result, 0, vecdb_result_rows(result, 0, NULL)), puts("");
    vecdb_result_free(&result);
    free(keys.data);
    free_names(words, word_count);
    free_names(names, name_count);
    return session_close(&session, code);
}

int run_count(void)
{
    struct session session;
    uint64_t count;
    vecdb_status status;
    int code = session_open(&session, TO_READ, true);

    if (code != EXIT_DONE)
        return code;
    if (option("--explain")) {
        vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
        char *text;

        request.filter = option("--filter");
        request.filter_params = option("--filter-params");
        if ((status = vecdb_explain(session.collection, &request, &text)) < 0)
            return session_close(&session, failure(status));
        puts(text);
        vecdb_free(text);
        return session_close(&session, EXIT_DONE);
    }
    status = vecdb_count(session.collection, option("--filter"), option("--filter-params"), &count);
    if (status < 0)
        code = failure(status);
    else
        printf(json_wanted() ? "{\"count\": %llu}\n" : "%llu\n", (unsigned long long)count);
    return session_close(&session, code);
}

int run_delete(void)
{
    vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
    struct key_list keys = {{0}, NULL, 0};
    struct session session;
    size_t word_count;
    char **words;
    vecdb_status status = VECDB_OK;
    int code;

    if (!option("--keys") + !option("--filter") + !option("--collection") != 2)
        return usage_error("delete wants one of --keys, --filter and --collection");
    if ((code = session_open(&session, TO_WRITE, option("--collection") == NULL)) != EXIT_DONE)
        return code;
    words = split_names(option("--keys"), &word_count);
    if (option("--collection"))
        status = vecdb_collection_drop(session.db, argument(1));
    else if (option("--filter"))
        status = vecdb_delete_where(session.collection, option("--filter"), option("--filter-params"), &options);
    else if ((code = read_keys(session.collection, words, word_count, &keys)) == EXIT_DONE)
        status = vecdb_delete(session.collection, &keys.column, keys.count, &options);
    if (status < 0)
        code = failure(status);
    else if (code == EXIT_DONE && option("--collection"))
        printf(json_wanted() ? "{\"dropped\": \"%s\"}\n" : "dropped %s\n", argument(1));
    else if (code == EXIT_DONE)
        printf(json_wanted() ? "{\"deleted\": %llu}\n" : "deleted %llu rows\n", (unsigned long long)options.affected);
    free(keys.data);
    free_names(words, word_count);
    return session_close(&session, code);
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Rows of the collection itself as queries, when no file gives any. */
static int own_queries(vecdb_collection *collection, const vecdb_field *field, size_t count, struct matrix *out)
{
    vecdb_query_request request = VECDB_QUERY_REQUEST_INIT;
    const char *names[1] = {field->name};
    vecdb_result *result;
    vecdb_column column;
    size_t bytes;
    vecdb_status status;

    request.output_fields = names;
    request.output_count = 1;
    request.limit = count;
    if ((status = vecdb_query(collection, &request, &result)) < 0)
        return failure(status);
    *out = (struct matrix){field->type, vecdb_result_rows(result, 0, NULL), field->dim, NULL, {0}};
    bytes = field->type == VECDB_TYPE_FLOAT_VECTOR    ? (size_t)field->dim * 4
            : field->type == VECDB_TYPE_INT8_VECTOR   ? field->dim
            : field->type == VECDB_TYPE_BINARY_VECTOR ? field->dim / 8
                                                      : (size_t)field->dim * 2;
    out->data = malloc(out->rows * bytes + 1);
    if (out->data && vecdb_result_column(result, field->name, &column) == VECDB_OK)
        memcpy(out->data, column.data, out->rows * bytes);
    vecdb_result_free(&result);
    return out->rows ? EXIT_DONE : complain("the collection is empty");
}

/* Run the request and give the hits' scores and the seconds it took. */
static vecdb_status timed(vecdb_collection *collection, const vecdb_search_request *request, bool one_by_one, int64_t *keys,
                          float *scores, double *seconds)
{
    double begin = now();
    vecdb_status status = VECDB_OK;

    if (!one_by_one) {
        status = vecdb_search_into(collection, request, keys, scores, NULL);
    } else {
        vecdb_search_request one = *request;
        size_t bytes = request->query_type == VECDB_TYPE_FLOAT_VECTOR    ? (size_t)request->dim * 4
                       : request->query_type == VECDB_TYPE_INT8_VECTOR   ? request->dim
                       : request->query_type == VECDB_TYPE_BINARY_VECTOR ? request->dim / 8
                                                                         : (size_t)request->dim * 2;
        one.query_count = 1;
        for (size_t q = 0; q < request->query_count && status >= 0; q++) {
            one.queries = (const char *)request->queries + q * bytes;
            status = vecdb_search_into(collection, &one, keys + q * request->limit, scores + q * request->limit, NULL);
        }
    }
    *seconds = now() - begin;
    return status;
}

int run_bench(void)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    double limit, first, exact_seconds, one_seconds = 0, batch_seconds = 0;
    size_t cells, hits = 0, wanted = 0;
    float *scores = NULL, *truth = NULL;
    struct matrix queries = {0};
    const vecdb_schema *schema;
    const vecdb_field *field;
    struct session session;
    int64_t *keys = NULL;
    vecdb_status status;
    bool nearer_is_larger;
    int code;

    if (!option_number("--limit", 1, 4e6, 10, &limit) || !option_number("--first", 1, 1e7, 1000, &first))
        return EXIT_USAGE;
    if ((code = session_open(&session, TO_READ, true)) != EXIT_DONE)
        return code;
    if (vecdb_collection_schema(session.collection, &schema) < 0 || !(field = vector_field(schema)))
        return session_close(&session, EXIT_FAILED);
    if (field->type == VECDB_TYPE_SPARSE_FLOAT_VECTOR)
        return session_close(&session, complain("%s is a sparse vector: bench takes dense ones", field->name));
    code = option("--queries") ? matrix_read(option("--queries"), &queries) : own_queries(session.collection, field, (size_t)first, &queries);
    if (code != EXIT_DONE)
        return session_close(&session, code);
    request.field = field->name;
    request.queries = queries.data;
    request.query_type = queries.type;
    request.dim = queries.dim;
    request.query_count = queries.rows < (size_t)first ? queries.rows : (size_t)first;
    request.limit = (size_t)limit;
    request.filter = option("--filter");
    request.filter_params = option("--filter-params");
    request.params = option("--params");
    cells = request.query_count * request.limit;
    keys = malloc(cells * sizeof *keys);
    scores = malloc(cells * sizeof *scores);
    truth = malloc(cells * sizeof *truth);
    if (!keys || !scores || !truth) {
        code = complain("out of memory");
    } else {
        request.exact = true;
        status = timed(session.collection, &request, false, keys, truth, &exact_seconds);
        request.exact = false;
        if (status >= 0) /* once to warm up */
            status = timed(session.collection, &request, false, keys, scores, &batch_seconds);
        if (status >= 0)
            status = timed(session.collection, &request, true, keys, scores, &one_seconds);
        if (status >= 0)
            status = timed(session.collection, &request, false, keys, scores, &batch_seconds);
        if (status < 0)
            code = failure(status);
    }
    if (code == EXIT_DONE) {
        for (size_t q = 0; q < request.query_count; q++) { /* ties count: a hit is as near as the k-th true one */
            size_t found = 0;
            float last = NAN;
            for (size_t i = 0; i < request.limit && !isnan(truth[q * request.limit + i]); i++, found++)
                last = truth[q * request.limit + i];
            nearer_is_larger = found > 1 && truth[q * request.limit] > last;
            for (size_t i = 0; i < found; i++) {
                float score = scores[q * request.limit + i], slack = 1e-5f * fmaxf(1, fabsf(last));
                hits += !isnan(score) && (nearer_is_larger ? score >= last - slack : score <= last + slack);
            }
            wanted += found;
        }
        printf(json_wanted() ? "{\"queries\": %zu, \"k\": %zu, \"recall\": %.4f, \"qps_one\": %.1f, \"qps_batch\": %.1f, \"qps_exact_batch\": %.1f}\n"
                             : "%zu queries, k %zu: recall %.4f, %.0f QPS one at a time, %.0f QPS as a batch (exact scan: %.0f QPS)\n",
               request.query_count, request.limit, wanted ? (double)hits / (double)wanted : 1.0,
               (double)request.query_count / one_seconds, (double)request.query_count / batch_seconds,
               (double)request.query_count / exact_seconds);
    }
    free(keys);
    free(scores);
    free(truth);
    free(queries.data);
    return session_close(&session, code);
}
