/* Registering index kinds, metrics and filter functions. */
#include "api/handle.h"
#include "base/plugged.h"
#include "filter/ast.h"
#include "index/plugged.h"
#include "simd/distance.h"

#include <string.h>

uint32_t vecdb_plugin_abi(void) { return VECDB_PLUGIN_ABI; }

static vecdb_status check_abi(const char *what, uint32_t abi)
{
    if (abi != VECDB_PLUGIN_ABI)
        return error_set(VECDB_ERR_VERSION, "plug-in %s: compiled for plug-in ABI %u, this vecdb has %d", what, abi,
                         VECDB_PLUGIN_ABI);
    return VECDB_OK;
}

/* Types must be dense vector types that there are. */
static vecdb_status check_types(const char *name, uint32_t types)
{
    uint32_t known = 0;

    for (int type = VECDB_TYPE_BINARY_VECTOR; type < VECDB_TYPE_BINARY_VECTOR + 31; type++)
        if (type_name((vecdb_type)type) && type_is_dense((vecdb_type)type))
            known |= VECDB_PLUGIN_TYPE(type);
    if (!types || (types & ~known))
        return error_set(VECDB_ERR_INVALID, "plug-in %s: types is 0x%x; it has a bit for each dense vector type, and at least one", name,
                         types);
    return VECDB_OK;
}

vecdb_status vecdb_plugin_register_metric(const vecdb_plugin_metric *metric)
{
    vecdb_plugin_metric read = VECDB_PLUGIN_METRIC_INIT;

    if (!metric)
        return error_set(VECDB_ERR_INVALID, "plug-in metric: NULL");
    TRY(check_abi("metric", metric->abi));
    TRY(struct_read("plug-in metric", metric, &read, sizeof read));
    TRY(plugged_check_name("metric", read.name));
    TRY(check_types(read.name, read.types));
    if (read.number < VECDB_PLUGIN_METRIC_FIRST || read.number > 65535)
        return error_set(VECDB_ERR_INVALID, "plug-in metric %s: its number is %u, it must be in %d..65535", read.name, read.number,
                         VECDB_PLUGIN_METRIC_FIRST);
    if (!read.distance)
        return error_set(VECDB_ERR_INVALID, "plug-in metric %s: distance is NULL", read.name);
    if (metric_from_name(read.name) != VECDB_METRIC_DEFAULT)
        return error_set(VECDB_ERR_EXISTS, "plug-in metric %s: there is a metric of that name", read.name);
    return plugged_add_metric(&read);
}

vecdb_status vecdb_plugin_register_index(const vecdb_plugin_index *index)
{
    vecdb_plugin_index read = VECDB_PLUGIN_INDEX_INIT;

    if (!index)
        return error_set(VECDB_ERR_INVALID, "plug-in index: NULL");
    TRY(check_abi("index", index->abi));
    TRY(struct_read("plug-in index", index, &read, sizeof read));
    TRY(plugged_check_name("index", read.name));
    TRY(check_types(read.name, read.types));
    if (!read.build || !read.search || !read.free || !read.save != !read.open)
        return error_set(VECDB_ERR_INVALID, "plug-in index %s: build, search and free are needed, and save and open together",
                         read.name);
    if (!read.metrics)
        return error_set(VECDB_ERR_INVALID, "plug-in index %s: it takes no metric", read.name);
    return index_register(&read);
}

vecdb_status vecdb_plugin_register_function(const vecdb_plugin_function *function)
{
    vecdb_plugin_function read = VECDB_PLUGIN_FUNCTION_INIT;

    if (!function)
        return error_set(VECDB_ERR_INVALID, "plug-in function: NULL");
    TRY(check_abi("function", function->abi));
    TRY(struct_read("plug-in function", function, &read, sizeof read));
    TRY(plugged_check_name("function", read.name));
    if (function_is_ours(read.name))
        return error_set(VECDB_ERR_EXISTS, "plug-in function %s: filters have a function of that name", read.name);
    if (read.argument_count < 1 || read.argument_count > VECDB_PLUGIN_ARGUMENTS || !read.test)
        return error_set(VECDB_ERR_INVALID, "plug-in function %s: %u arguments, where 1..%d may be, or test is NULL", read.name,
                         read.argument_count, VECDB_PLUGIN_ARGUMENTS);
    return plugged_add_function(&read);
}

vecdb_status vecdb_plugin_fail(vecdb_status status, const char *message)
{
    return error_set(status < 0 ? status : VECDB_ERR_MISUSE, "%s", message ? message : "(no message)");
}

#define PREPARED_MAX 4096 /* bytes of a query that needs no memory of its own */

float vecdb_plugin_distance(vecdb_metric metric, vecdb_type type, uint32_t dim, const void *a, const void *b)
{
    const vecdb_plugin_metric *plugged = plugged_metric(metric);
    struct distance distance;
    _Alignas(64) uint8_t space[PREPARED_MAX];
    void *prepared = space;
    float result = 0;

    if (plugged)
        return plugged->distance(a, b, type, dim, plugged->context);
    distance_init(&distance, distance_element(type), metric, dim, 0);
    if (distance.query_size > sizeof space && !(prepared = mem_aligned_alloc(64, align_up(distance.query_size, 64))))
        return 0;
    distance_prepare(&distance, a, prepared);
    result = distance_one(&distance, prepared, b, -1);
    if (prepared != space)
        mem_free(prepared);
    return result;
}
