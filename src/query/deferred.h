/* An index that is opened by the first search that wants it: opening a database reads no index. Until then, and for good when
 * its bytes turn out not to be worth trusting, it stands in for the index: it has the kind's name and parameters, and searches
 * by scanning where there is no index to ask. */
#ifndef VECDB_QUERY_DEFERRED_H
#define VECDB_QUERY_DEFERRED_H

#include "index/index.h"
#include "storage/index_file.h"
#include "storage/segment.h"

/** What opening will need. The file is mapped, so that it may be removed meanwhile, and its frame has been checked. */
struct deferred_open {
    const struct index_ops *ops;
    struct index_file *file;
    struct segment *segment;
    size_t field; /* of the segment's schema */
    vecdb_metric metric;
    struct params params;
};

/** Takes over `file`, also on failure; retains the segment. */
vecdb_status deferred_create(const struct deferred_open *how, struct index **out);
/** Open one at once; the same, and *file goes to the caller unless the index has done with it (then it is NULL). */
vecdb_status deferred_open_now(const struct deferred_open *how, struct index **out, struct index_file **file);
/** The index behind it, opened if need be; `index` itself when it is not deferred. *out is NULL when there is none to be
 * trusted. VECDB_OK or VECDB_ERR_NOMEM. */
vecdb_status deferred_resolve(struct index *index, struct index **out);
/** `index` may be NULL. Whether it has turned out not to be worth trusting: it is to be built anew. */
bool deferred_is_broken(const struct index *index);

#endif
