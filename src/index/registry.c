/* The index kinds there are: one line each, and those that plug-ins register. */
#include "index/index.h"
#include "index/plugged.h"

#include <pthread.h>
#include <stdatomic.h>
#include <strings.h>

extern const struct index_ops flat_ops, bin_flat_ops, hnsw_ops, hnsw_sq_ops, hnsw_pq_ops, hnsw_prq_ops, nsg_ops, rnsg_ops,
    ivf_flat_ops, bin_ivf_flat_ops, ivf_sq8_ops, ivf_pq_ops, ivf_rabitq_ops, scann_ops, annoy_ops,
    sparse_inverted_ops, sparse_wand_ops;

static const struct index_ops *const built_in[] = {
    &flat_ops,
    &bin_flat_ops,
    &hnsw_ops,
    &hnsw_sq_ops,
    &hnsw_pq_ops,
    &hnsw_prq_ops,
    &nsg_ops,
    &rnsg_ops,
    &ivf_flat_ops,
    &bin_ivf_flat_ops,
    &ivf_sq8_ops,
    &ivf_pq_ops,
    &ivf_rabitq_ops,
    &scann_ops,
    &annoy_ops,
    &sparse_inverted_ops,
    &sparse_wand_ops,
};

#define KINDS_MAX 128
#define KNOWN_MAX 256

/* One table for all. Entries below the count do not change, so that they are read without the lock. */
static const struct index_ops *kinds[KINDS_MAX];
static atomic_size_t kind_count;
static struct param_spec known[KNOWN_MAX + 1]; /* search parameters of all; what is behind them is zeros, which is PARAM_END */
static size_t known_count;
static pthread_mutex_t adding = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t built_in_once = PTHREAD_ONCE_INIT;

static void add_known(const struct param_spec *spec)
{
    for (size_t i = 0; i < known_count; i++)
        if (strcasecmp(known[i].name, spec->name) == 0)
            return;
    if (known_count == KNOWN_MAX)
        return;
    known[known_count] = *spec;
    known[known_count].name = NULL;
    __atomic_store_n(&known[known_count++].name, spec->name, __ATOMIC_RELEASE); /* a reader may be at the end of the table */
}

static void add_kind(const struct index_ops *ops)
{
    size_t count = atomic_load(&kind_count);

    for (const struct param_spec *spec = ops->search_params; spec && spec->name; spec++)
        add_known(spec);
    kinds[count] = ops;
    atomic_store_explicit(&kind_count, count + 1, memory_order_release);
}

static void add_built_in(void)
{
    for (size_t i = 0; i < sizeof built_in / sizeof built_in[0]; i++)
        add_kind(built_in[i]);
}

const struct index_ops *index_at(size_t i)
{
    pthread_once(&built_in_once, add_built_in);
    return i < atomic_load_explicit(&kind_count, memory_order_acquire) ? kinds[i] : NULL;
}

const struct index_ops *index_find(const char *name)
{
    const struct index_ops *ops;

    for (size_t i = 0; (ops = index_at(i)); i++)
        if (strcasecmp(ops->name, name) == 0)
            return ops;
    return NULL;
}

const struct param_spec *index_known_search_params(void)
{
    pthread_once(&built_in_once, add_built_in);
    return known;
}

vecdb_status index_register(const vecdb_plugin_index *plugin)
{
    vecdb_status status = VECDB_OK;
    struct index_ops *ops;

    pthread_mutex_lock(&adding);
    if (index_find(plugin->name) || strcasecmp(plugin->name, "AUTOINDEX") == 0)
        status = error_set(VECDB_ERR_EXISTS, "plug-in index %s: there is a kind of that name", plugin->name);
    else if (atomic_load(&kind_count) == KINDS_MAX)
        status = error_set(VECDB_ERR_LIMIT, "plug-in index %s: there are %d kinds already", plugin->name, KINDS_MAX);
    else if ((status = plugged_kind_create(plugin, &ops)) == VECDB_OK)
        add_kind(ops);
    pthread_mutex_unlock(&adding);
    return status;
}
