/* Indexes on fields that are no vectors: what indexes.c and build.c do for them. */
#ifndef VECDB_COLLECTION_SCALAR_INDEXES_H
#define VECDB_COLLECTION_SCALAR_INDEXES_H

#include "collection/collection.h"

/** Fill in a definition (but its id and name), checked against the schema. `field` is a number of the schema. With
 * write_lock. */
vecdb_status scalar_index_define(const struct schema *schema, size_t field, const vecdb_index_options *options,
                                 struct index_definition *out);
/** Whether an index is wanted of a name that is no field: of a key among the dynamic ones. */
bool scalar_index_of_dynamic(const struct schema *schema, const vecdb_index_options *options);
/** Index a view's rows; *out stays NULL where there is nothing to build. */
vecdb_status scalar_index_build_view(const struct collection *collection, const struct snapshot *snapshot,
                                     const struct segment_view *view, const struct index_definition *definition,
                                     const vecdb_index_options *options, struct index_ref **out);
/** Open what was saved of a segment's index; the bytes must outlive it. VECDB_ERR_CORRUPT when it is not `kind`, or of
 * another number of rows. */
vecdb_status scalar_index_open_saved(const void *data, size_t size, const char *kind, size_t row_count,
                                     struct scalar_index **out);

/** Whether bytes are what indexing the segment gives, by a definition as the manifest has it: VECDB_ERR_CORRUPT when not. */
vecdb_status scalar_index_compare_saved(const void *data, size_t size, const struct manifest_index *definition,
                                        const struct schema *schema, struct segment *segment);

#endif
