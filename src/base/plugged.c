#include "base/plugged.h"

#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <strings.h>

#define METRICS_MAX 64
#define FUNCTIONS_MAX 256
#define NAME_MAX 32

static struct {
    vecdb_plugin_metric metric;
    char name[NAME_MAX];
} metrics[METRICS_MAX]; /* below metric_count they do not change */
static atomic_size_t metric_count;
static struct {
    vecdb_plugin_function function;
    char name[NAME_MAX];
} functions[FUNCTIONS_MAX];
static atomic_size_t function_count;
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;

const vecdb_plugin_metric *plugged_metric_at(size_t i)
{
    return i < atomic_load_explicit(&metric_count, memory_order_acquire) ? &metrics[i].metric : NULL;
}

const vecdb_plugin_metric *plugged_metric(vecdb_metric metric)
{
    const vecdb_plugin_metric *at;

    if ((uint32_t)metric < VECDB_PLUGIN_METRIC_FIRST)
        return NULL;
    for (size_t i = 0; (at = plugged_metric_at(i)); i++)
        if (at->number == (uint32_t)metric)
            return at;
    return NULL;
}

vecdb_status plugged_check_name(const char *what, const char *name)
{
    size_t length = name ? strlen(name) : 0;

    for (size_t i = 0; i < length && i < NAME_MAX; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '_')
            length = 0;
    if (length == 0 || length >= NAME_MAX)
        return error_set(VECDB_ERR_INVALID, "plug-in %s: a name has 1..%d letters, digits and _", what, NAME_MAX - 1);
    return VECDB_OK;
}

vecdb_status plugged_add_metric(const vecdb_plugin_metric *metric)
{
    vecdb_status status = VECDB_OK;
    const vecdb_plugin_metric *at;
    size_t count;

    pthread_mutex_lock(&adding);
    count = atomic_load(&metric_count);
    for (size_t i = 0; (at = plugged_metric_at(i)) && status == VECDB_OK; i++)
        if (at->number == metric->number || strcasecmp(at->name, metric->name) == 0)
            status = error_set(VECDB_ERR_EXISTS, "plug-in metric %s, %u: there is %s, %u", metric->name, metric->number, at->name,
                               at->number);
    if (status == VECDB_OK && count == METRICS_MAX)
        status = error_set(VECDB_ERR_LIMIT, "plug-in metric %s: %d are registered already", metric->name, METRICS_MAX);
    if (status == VECDB_OK) {
        metrics[count].metric = *metric;
        strcpy(metrics[count].name, metric->name); /* NOLINT: its length was checked */
        metrics[count].metric.name = metrics[count].name;
        atomic_store_explicit(&metric_count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&adding);
    return status;
}

const vecdb_plugin_function *plugged_function(const char *name, size_t length)
{
    size_t count = atomic_load_explicit(&function_count, memory_order_acquire);

    for (size_t i = 0; i < count; i++)
        if (strlen(functions[i].name) == length && memcmp(functions[i].name, name, length) == 0)
            return &functions[i].function;
    return NULL;
}

vecdb_status plugged_add_function(const vecdb_plugin_function *function)
{
    vecdb_status status = VECDB_OK;
    size_t count;

    pthread_mutex_lock(&adding);
    count = atomic_load(&function_count);
    if (plugged_function(function->name, strlen(function->name)))
        status = error_set(VECDB_ERR_EXISTS, "plug-in function %s: it is registered already", function->name);
    else if (count == FUNCTIONS_MAX)
        status = error_set(VECDB_ERR_LIMIT, "plug-in function %s: %d are registered already", function->name, FUNCTIONS_MAX);
    if (status == VECDB_OK) {
        functions[count].function = *function;
        strcpy(functions[count].name, function->name); /* NOLINT: its length was checked */
        functions[count].function.name = functions[count].name;
        atomic_store_explicit(&function_count, count + 1, memory_order_release);
    }
    pthread_mutex_unlock(&adding);
    return status;
}
