#include "query/request.h"

#include "base/float16.h"
#include "base/mem.h"
#include "filter/compiled.h"
#include "schema/sparse.h"

#include <math.h>
#include <string.h>

vecdb_status request_find_field(const struct schema *schema, const char *name, size_t *out)
{
    size_t vectors = 0;

    if (name) {
        *out = schema_find(schema, name, strlen(name));
        if (*out == SCHEMA_NONE)
            return schema_no_field(schema, name);
        if (!type_is_vector(schema->fields[*out].type))
            return error_set(VECDB_ERR_TYPE, "field %s is %s, not a vector", name, type_name(schema->fields[*out].type));
        return VECDB_OK;
    }
    for (size_t f = 0; f < schema->field_count; f++)
        if (type_is_vector(schema->fields[f].type)) {
            vectors++;
            *out = f;
        }
    if (vectors > 1)
        return error_set(VECDB_ERR_INVALID, "search: the collection has %zu vector fields; name one", vectors);
    return VECDB_OK;
}

static bool is_zero_query(vecdb_type type, uint32_t dim, const uint8_t *query)
{
    for (uint32_t i = 0; i < dim; i++) {
        bool zero = type == VECDB_TYPE_FLOAT_VECTOR  ? (load_u32(query + 4 * (size_t)i) & 0x7FFFFFFF) == 0
                    : type == VECDB_TYPE_INT8_VECTOR ? query[i] == 0
                                                     : (load_u16(query + 2 * (size_t)i) & 0x7FFF) == 0;
        if (!zero)
            return false;
    }
    return true;
}

/* Float queries for a field of another element type. */
static vecdb_status convert_queries(const struct field *field, const vecdb_search_request *from, size_t stride,
                                    struct buf *out)
{
    TRY(buf_reserve(out, from->query_count * field->width));
    for (size_t q = 0; q < from->query_count; q++) {
        const uint8_t *query = (const uint8_t *)from->queries + q * stride;
        TRY(rows_check_vector(VECDB_TYPE_FLOAT_VECTOR, field->dim, query, "query", q));
        for (uint32_t i = 0; i < field->dim; i++) {
            float x = float_from_bits(load_u32(query + 4 * (size_t)i));
            if (field->type == VECDB_TYPE_INT8_VECTOR) {
                float rounded = nearbyintf(x);
                int8_t byte = (int8_t)(rounded < -128 ? -128 : rounded > 127 ? 127 : rounded);
                TRY(buf_append(out, &byte, 1));
            } else {
                uint16_t half = field->type == VECDB_TYPE_FLOAT16_VECTOR ? f16_from_float(x) : bf16_from_float(x);
                TRY(buf_append(out, &half, 2));
            }
        }
    }
    return VECDB_OK;
}

static vecdb_status wrong_query_type(const struct field *field, vecdb_type type)
{
    return error_set(VECDB_ERR_TYPE, "field %s: got queries of type %s, the field is %s", field->name,
                     type_name(type) ? type_name(type) : "(unknown)", type_name(field->type));
}

/* Copies, each by ascending index; in the buffer the structs come first, then what they point at. */
static vecdb_status take_sparse_queries(struct request *request, const struct field *field, const vecdb_search_request *from)
{
    struct buf *out = &request->queries;
    struct sparse_vector *queries;
    size_t heads = from->query_count * sizeof *queries, at = heads;

    if (!from->query_offsets)
        return error_set(VECDB_ERR_INVALID, "field %s: sparse queries need query_offsets", field->name);
    TRY(buf_append(out, NULL, heads));
    for (size_t q = 0; q < from->query_count; q++) {
        size_t begin = out->size;
        if (from->query_offsets[q + 1] < from->query_offsets[q])
            return error_set(VECDB_ERR_INVALID, "search: query_offsets[%zu] is %llu, less than the %llu before it", q + 1,
                             (unsigned long long)from->query_offsets[q + 1], (unsigned long long)from->query_offsets[q]);
        TRY(sparse_put(from->queries, from->query_offsets[q], from->query_offsets[q + 1], "query", q, out));
        ((struct sparse_vector *)(void *)out->data)[q].count = (out->size - begin) / sizeof(vecdb_sparse);
    }
    queries = (struct sparse_vector *)(void *)out->data;
    for (size_t q = 0; q < from->query_count; at += queries[q++].count * sizeof(vecdb_sparse))
        queries[q].values = (const vecdb_sparse *)(const void *)(out->data + at);
    request->search.queries = out->data;
    request->search.query_stride = request->search.query_size = sizeof *queries;
    return VECDB_OK;
}

static vecdb_status take_dense_queries(struct request *request, const struct field *field, vecdb_type type,
                                       const vecdb_search_request *from)
{
    struct search *search = &request->search;
    size_t stride = from->query_stride ? from->query_stride : type_width(type, from->dim);

    if (from->dim != field->dim)
        return error_set(VECDB_ERR_DIM, "field %s: got a query of %u values, dim is %u", field->name, from->dim,
                         field->dim);
    if (stride < type_width(type, from->dim))
        return error_set(VECDB_ERR_INVALID, "search: a query_stride of %zu bytes is less than the vector's %zu", stride,
                         type_width(type, from->dim));
    if (type == field->type) {
        search->queries = from->queries;
        search->query_stride = stride;
    } else if (type == VECDB_TYPE_FLOAT_VECTOR && field->type != VECDB_TYPE_BINARY_VECTOR) {
        TRY(convert_queries(field, from, stride, &request->queries));
        search->queries = request->queries.data;
        search->query_stride = field->width;
    } else {
        return wrong_query_type(field, type);
    }
    search->query_size = field->width;
    for (size_t q = 0; q < from->query_count; q++) {
        const uint8_t *query = search->queries + q * search->query_stride;
        TRY(rows_check_vector(field->type, field->dim, query, "query", q));
        if (search->metric == VECDB_METRIC_COSINE && is_zero_query(field->type, field->dim, query))
            return error_set(VECDB_ERR_INVALID, "field %s: query %zu is a zero vector, which COSINE cannot compare",
                             field->name, q);
    }
    return VECDB_OK;
}

static vecdb_status take_queries(struct request *request, const struct field *field, const vecdb_search_request *from)
{
    vecdb_type type = from->query_type == VECDB_TYPE_NONE ? field->type : from->query_type;

    if (!from->queries)
        return error_set(VECDB_ERR_INVALID, "search: queries is NULL");
    if (from->query_count == 0)
        return error_set(VECDB_ERR_INVALID, "search: query_count is 0");
    if (from->query_count > ((size_t)1 << 24))
        return error_set(VECDB_ERR_LIMIT, "search: %zu queries at once are more than %d", from->query_count, 1 << 24);
    request->search.query_count = from->query_count;
    if (type_is_sparse(type) != type_is_sparse(field->type))
        return wrong_query_type(field, type);
    if (!type_is_sparse(type))
        return take_dense_queries(request, field, type, from);
    if (from->dim)
        return error_set(VECDB_ERR_DIM, "field %s: SPARSE_FLOAT_VECTOR has no dim, the query's is %u", field->name, from->dim);
    return take_sparse_queries(request, field, from);
}

vecdb_status request_partitions(const char *const *names, size_t count, partition_lookup find_partition, void *context,
                                struct buf *ids)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t id;
        if (!names[i])
            return error_set(VECDB_ERR_INVALID, "partition %zu: the name is NULL", i);
        TRY(find_partition(context, names[i], &id));
        TRY(buf_append(ids, &id, sizeof id));
    }
    return VECDB_OK;
}

/* Radius and range_filter must be numbers and not exclude each other. */
static vecdb_status take_range(struct search *search, const vecdb_search_request *from)
{
    bool larger_is_nearer = metric_is_similarity(search->metric);

    search->has_radius = from->has_radius;
    search->has_range_filter = from->has_range_filter;
    search->radius = from->radius;
    search->range_filter = from->range_filter;
    if (from->has_range_filter && !from->has_radius)
        return error_set(VECDB_ERR_INVALID, "search: range_filter needs a radius");
    if ((from->has_radius && isnan(from->radius)) || (from->has_range_filter && isnan(from->range_filter)))
        return error_set(VECDB_ERR_INVALID, "search: radius or range_filter is NaN");
    if (from->has_range_filter && (larger_is_nearer ? from->range_filter <= from->radius : from->range_filter >= from->radius))
        return error_set(VECDB_ERR_INVALID, "search: range_filter %g must be %s radius %g under %s", from->range_filter,
                         larger_is_nearer ? "more than" : "less than", from->radius, metric_name(search->metric));
    return VECDB_OK;
}

static vecdb_status take_group(struct request *request, const struct schema *schema, const vecdb_search_request *from)
{
    request->group_field = SCHEMA_NONE;
    request->group_size = from->group_size ? from->group_size : 1;
    request->strict_group_size = from->strict_group_size;
    if (!from->group_by)
        return VECDB_OK;
    request->group_field = schema_find(schema, from->group_by, strlen(from->group_by));
    if (request->group_field == SCHEMA_NONE)
        return schema_no_field(schema, from->group_by);
    if (type_is_vector(schema->fields[request->group_field].type) ||
        schema->fields[request->group_field].type == VECDB_TYPE_JSON ||
        schema->fields[request->group_field].type == VECDB_TYPE_ARRAY ||
        type_is_float(schema->fields[request->group_field].type))
        return error_set(VECDB_ERR_TYPE, "group_by: field %s is %s; a BOOL, an integer or a VARCHAR is wanted",
                         from->group_by, type_name(schema->fields[request->group_field].type));
    if (from->has_radius)
        return error_set(VECDB_ERR_UNSUPPORTED, "search: group_by does not go with a radius");
    return VECDB_OK;
}

/* Names that no index kind knows are mistakes, whatever the segments have; values are checked by the index that uses them. */
static vecdb_status check_params(const char *text)
{
    struct params params;

    return params_parse("search", index_find("FLAT")->search_params, index_known_search_params(), text, &params);
}

static vecdb_status prepare(struct request *request, const struct snapshot *snapshot, const vecdb_search_request *from,
                            vecdb_metric index_metric, const struct filter *compiled, partition_lookup find_partition,
                            void *context)
{
    const struct schema *schema = snapshot->schema;
    struct search *search = &request->search;
    const struct field *field;

    TRY(request_find_field(schema, from->field, &search->field));
    field = &schema->fields[search->field];
    search->metric = from->metric != VECDB_METRIC_DEFAULT    ? from->metric
                     : index_metric != VECDB_METRIC_DEFAULT ? index_metric
                                                            : metric_default(field->type);
    TRY(metric_check(search->metric, field->type, field->name));
    if (index_metric != VECDB_METRIC_DEFAULT && search->metric != index_metric && !from->exact)
        return error_set(VECDB_ERR_INVALID, "field %s: metric %s differs from its index's %s", field->name,
                         metric_name(search->metric), metric_name(index_metric));
    if (from->limit == 0)
        return error_set(VECDB_ERR_INVALID, "search: limit is 0, it must be at least 1");
    if (from->limit > UINT32_MAX || from->offset > UINT32_MAX)
        return error_set(VECDB_ERR_LIMIT, "search: limit %zu and offset %zu must be below 2^32", from->limit, from->offset);
    request->limit = from->limit;
    request->offset = from->offset;
    search->k = from->limit + from->offset;
    TRY(take_queries(request, field, from));
    TRY(take_range(search, from));
    if (from->query_filters && (compiled || (from->filter && *from->filter)))
        return error_set(VECDB_ERR_INVALID, "search: a filter for each query and one for all do not go together");
    request->query_filters = from->query_filters;
    request->filter_params = from->filter_params;
    if (compiled) {
        search->filter = compiled;
    } else if (from->filter && *from->filter) {
        TRY(compiled_filters_take(request->filters, schema, from->filter, strlen(from->filter), from->filter_params,
                                  &request->filter));
        search->filter = request->filter;
    }
    if (from->partitions) {
        TRY(request_partitions(from->partitions, from->partition_count, find_partition, context, &request->partitions));
        TRY(buf_reserve(&request->partitions, 4)); /* so that none is not NULL, which means all */
        search->partitions = (const uint32_t *)(const void *)request->partitions.data;
        search->partition_count = from->partition_count;
    }
    if (from->within_keys) {
        TRY(rows_from_keys(schema, from->within_keys, from->within_count, &request->within));
        search->within = &request->within;
    }
    TRY(take_group(request, schema, from));
    if (from->timeout_ms || from->cancel) {
        deadline_start(&request->deadline, from->timeout_ms, from->cancel);
        search->deadline = &request->deadline;
    }
    TRY(deadline_check(search->deadline));
    TRY(check_params(from->params));
    search->params = from->params;
    search->exact = from->exact;
    return VECDB_OK;
}

vecdb_status request_init(struct request *request, const struct snapshot *snapshot, const vecdb_search_request *from,
                          vecdb_metric index_metric, struct compiled_filters *filters, const struct filter *compiled,
                          partition_lookup find_partition, void *context)
{
    vecdb_status status;

    memset(request, 0, sizeof *request);
    request->filters = filters;
    status = prepare(request, snapshot, from, index_metric, compiled, find_partition, context);
    if (status != VECDB_OK)
        request_deinit(request);
    return status;
}

void request_deinit(struct request *request)
{
    filter_free(request->filter);
    rows_deinit(&request->within);
    buf_deinit(&request->queries);
    buf_deinit(&request->partitions);
}

vecdb_status output_init(struct output *output, const struct schema *schema, const char *const *names, size_t count)
{
    memset(output, 0, sizeof *output);
    if (count && !names)
        return error_set(VECDB_ERR_INVALID, "output_fields is NULL");
    output->fields = mem_array_alloc(schema->field_count + count + 1, sizeof *output->fields);
    output->dynamic = mem_array_alloc(count + 1, sizeof *output->dynamic);
    if (!output->fields || !output->dynamic) {
        output_deinit(output);
        return error_nomem("output fields");
    }
    for (size_t i = 0; i < count; i++) {
        size_t f;
        bool all = false;
        if (!names[i]) {
            output_deinit(output);
            return error_set(VECDB_ERR_INVALID, "output field %zu: the name is NULL", i);
        }
        if (strcmp(names[i], "*") == 0) {
            for (size_t j = 0; j < i; j++) /* room was made for one "*" */
                all |= strcmp(names[j], "*") == 0;
            for (f = 0; f < schema->field_count && !all; f++)
                if (f != schema->inserted)
                    output->fields[output->field_count++] = f;
            continue;
        }
        f = schema_find(schema, names[i], strlen(names[i]));
        if (f != SCHEMA_NONE && f != schema->inserted) {
            output->fields[output->field_count++] = f;
        } else if (schema->dynamic != SCHEMA_NONE) {
            output->dynamic[output->dynamic_count++] = names[i];
        } else {
            output_deinit(output);
            return schema_no_field(schema, names[i]);
        }
    }
    return VECDB_OK;
}

vecdb_status output_keep(struct output *output)
{
    size_t size = 1, at = 0;

    for (size_t i = 0; i < output->dynamic_count; i++)
        size += strlen(output->dynamic[i]) + 1;
    output->kept = mem_alloc(size);
    if (!output->kept)
        return error_nomem("output fields");
    for (size_t i = 0; i < output->dynamic_count; i++) {
        size_t length = strlen(output->dynamic[i]) + 1;
        memcpy(output->kept + at, output->dynamic[i], length);
        output->dynamic[i] = output->kept + at;
        at += length;
    }
    return VECDB_OK;
}

void output_deinit(struct output *output)
{
    mem_free(output->kept);
    mem_free(output->fields);
    mem_free(output->dynamic);
    memset(output, 0, sizeof *output);
}

vecdb_status output_fetch(const struct output *output, const struct snapshot *snapshot, const struct found *found,
                          const size_t *first, size_t query_count, bool with_scores, struct result **out)
{
    TRY(result_create(snapshot, found, first, query_count, output->fields, output->field_count, with_scores, out));
    for (size_t i = 0; i < output->dynamic_count; i++) {
        vecdb_status status = result_add_dynamic(*out, snapshot, found, output->dynamic[i]);
        if (status != VECDB_OK) {
            result_free(*out);
            *out = NULL;
            return status;
        }
    }
    return VECDB_OK;
}
