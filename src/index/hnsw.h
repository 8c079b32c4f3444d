/* The graph kinds' tables of functions. */
#ifndef VECDB_INDEX_HNSW_H
#define VECDB_INDEX_HNSW_H

#include "index/index.h"

extern const struct index_ops hnsw_ops, hnsw_sq_ops, hnsw_pq_ops, hnsw_prq_ops, nsg_ops, rnsg_ops;

#endif
