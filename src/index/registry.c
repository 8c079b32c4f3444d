/* The index kinds there are: one line each. */
#include "index/index.h"

#include <pthread.h>
#include <strings.h>

extern const struct index_ops flat_ops, bin_flat_ops, hnsw_ops, hnsw_sq_ops, hnsw_pq_ops, hnsw_prq_ops, nsg_ops, rnsg_ops,
    ivf_flat_ops, bin_ivf_flat_ops, ivf_sq8_ops, ivf_pq_ops, ivf_rabitq_ops, scann_ops, annoy_ops;

static const struct index_ops *const kinds[] = {
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
};
static const size_t kind_count = sizeof kinds / sizeof kinds[0];

const struct index_ops *index_find(const char *name)
{
    for (size_t i = 0; i < kind_count; i++)
        if (strcasecmp(kinds[i]->name, name) == 0)
            return kinds[i];
    return NULL;
}

const struct index_ops *index_at(size_t i) { return i < kind_count ? kinds[i] : NULL; }

#define KNOWN_MAX 256

static struct param_spec known[KNOWN_MAX + 1]; /* ends with zeros, which is PARAM_END */
static pthread_once_t known_once = PTHREAD_ONCE_INIT;

static void collect_known(void)
{
    size_t count = 0;

    for (size_t i = 0; i < kind_count; i++)
        for (const struct param_spec *spec = kinds[i]->search_params; spec && spec->name; spec++) {
            size_t j = 0;
            while (j < count && strcasecmp(known[j].name, spec->name) != 0)
                j++;
            if (j == count && count < KNOWN_MAX)
                known[count++] = *spec;
        }
}

const struct param_spec *index_known_search_params(void)
{
    pthread_once(&known_once, collect_known);
    return known;
}
