/* The index kinds there are: one line each. */
#include "index/index.h"

#include <strings.h>

extern const struct index_ops flat_ops, bin_flat_ops, hnsw_ops, hnsw_sq_ops, hnsw_pq_ops, hnsw_prq_ops, nsg_ops, rnsg_ops;

static const struct index_ops *const kinds[] = {
    &flat_ops, &bin_flat_ops, &hnsw_ops, &hnsw_sq_ops, &hnsw_pq_ops, &hnsw_prq_ops, &nsg_ops, &rnsg_ops,
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
