#include "schema/type.h"

#include "base/plugged.h"

#include <strings.h>

static const struct {
    vecdb_type type;
    const char *name;
    uint8_t width; /* bytes; 0: variable or a vector */
} types[] = {
    {VECDB_TYPE_BOOL, "BOOL", 1},
    {VECDB_TYPE_INT8, "INT8", 1},
    {VECDB_TYPE_INT16, "INT16", 2},
    {VECDB_TYPE_INT32, "INT32", 4},
    {VECDB_TYPE_INT64, "INT64", 8},
    {VECDB_TYPE_FLOAT, "FLOAT", 4},
    {VECDB_TYPE_DOUBLE, "DOUBLE", 8},
    {VECDB_TYPE_VARCHAR, "VARCHAR", 0},
    {VECDB_TYPE_ARRAY, "ARRAY", 0},
    {VECDB_TYPE_JSON, "JSON", 0},
    {VECDB_TYPE_BINARY_VECTOR, "BINARY_VECTOR", 0},
    {VECDB_TYPE_FLOAT_VECTOR, "FLOAT_VECTOR", 0},
    {VECDB_TYPE_FLOAT16_VECTOR, "FLOAT16_VECTOR", 0},
    {VECDB_TYPE_BFLOAT16_VECTOR, "BFLOAT16_VECTOR", 0},
    {VECDB_TYPE_SPARSE_FLOAT_VECTOR, "SPARSE_FLOAT_VECTOR", 0},
    {VECDB_TYPE_INT8_VECTOR, "INT8_VECTOR", 0},
};
static const size_t type_count = sizeof types / sizeof types[0];

static const char *const metrics[] = {NULL, "L2", "IP", "COSINE", "HAMMING", "JACCARD"};
static const size_t metric_count = sizeof metrics / sizeof metrics[0];

const char *type_name(vecdb_type type)
{
    for (size_t i = 0; i < type_count; i++)
        if (types[i].type == type)
            return types[i].name;
    return NULL;
}

vecdb_type type_from_name(const char *name)
{
    for (size_t i = 0; i < type_count; i++)
        if (strcasecmp(types[i].name, name) == 0)
            return types[i].type;
    return VECDB_TYPE_NONE;
}

size_t type_width(vecdb_type type, uint32_t dim)
{
    switch (type) {
    case VECDB_TYPE_FLOAT_VECTOR:
        return (size_t)dim * 4;
    case VECDB_TYPE_FLOAT16_VECTOR:
    case VECDB_TYPE_BFLOAT16_VECTOR:
        return (size_t)dim * 2;
    case VECDB_TYPE_INT8_VECTOR:
        return dim;
    case VECDB_TYPE_BINARY_VECTOR:
        return dim / 8;
    default:
        for (size_t i = 0; i < type_count; i++)
            if (types[i].type == type)
                return types[i].width;
        return 0;
    }
}

const char *metric_name(vecdb_metric metric)
{
    const vecdb_plugin_metric *plugged = plugged_metric(metric);

    return plugged ? plugged->name : (size_t)metric < metric_count ? metrics[metric] : NULL;
}

vecdb_metric metric_from_name(const char *name)
{
    const vecdb_plugin_metric *plugged;

    for (size_t i = 1; i < metric_count; i++)
        if (strcasecmp(metrics[i], name) == 0)
            return (vecdb_metric)i;
    for (size_t i = 0; (plugged = plugged_metric_at(i)); i++)
        if (strcasecmp(plugged->name, name) == 0)
            return (vecdb_metric)plugged->number;
    return VECDB_METRIC_DEFAULT;
}

vecdb_metric metric_default(vecdb_type type)
{
    return type == VECDB_TYPE_BINARY_VECTOR ? VECDB_METRIC_HAMMING : type_is_sparse(type) ? VECDB_METRIC_IP : VECDB_METRIC_COSINE;
}

vecdb_status metric_check(vecdb_metric metric, vecdb_type type, const char *field)
{
    bool binary = type == VECDB_TYPE_BINARY_VECTOR;
    const vecdb_plugin_metric *plugged = plugged_metric(metric);
    bool binary_metric = metric == VECDB_METRIC_HAMMING || metric == VECDB_METRIC_JACCARD;

    if (!metric_name(metric))
        return error_set(VECDB_ERR_INVALID, "field %s: metric %d is unknown%s", field, (int)metric,
                         (uint32_t)metric >= VECDB_PLUGIN_METRIC_FIRST ? "; the plug-in with it is not registered" : "");
    if (type_is_sparse(type) && metric != VECDB_METRIC_IP)
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: metric %s does not go with SPARSE_FLOAT_VECTOR, which takes IP", field,
                         metric_name(metric));
    if (plugged && !(plugged->types & VECDB_PLUGIN_TYPE(type)))
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: metric %s does not go with %s", field, plugged->name, type_name(type));
    if (plugged)
        return VECDB_OK;
    if (binary != binary_metric)
        return error_set(VECDB_ERR_UNSUPPORTED, "field %s: metric %s does not go with %s, which takes %s", field,
                         metric_name(metric), type_name(type), binary ? "HAMMING or JACCARD" : "L2, IP or COSINE");
    return VECDB_OK;
}
