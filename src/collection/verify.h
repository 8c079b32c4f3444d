/* Whole databases: check every file, copy, salvage. */
#ifndef VECDB_COLLECTION_VERIFY_H
#define VECDB_COLLECTION_VERIFY_H

#include "collection/database.h"

/** Check every file of the database in a directory, open or not, and report as vecdb_verify() describes.
 * VECDB_OK; VECDB_ERR_CORRUPT when there are problems; others when the check itself failed. */
vecdb_status database_verify(const struct vfs *vfs, const char *path, vecdb_progress progress, void *context,
                             struct buf *report);
/** Copy an open database into a new directory, as it is now; writing goes on. */
vecdb_status database_backup(struct database *database, const char *path, vecdb_progress progress, void *context);
/** Make a damaged, closed database one that opens, dropping what cannot be read; the report says what. */
vecdb_status database_repair(const struct vfs *vfs, const char *path, vecdb_progress progress, void *context,
                             struct buf *report);
/** Facts as JSON. */
vecdb_status database_print_stats(struct database *database, struct buf *out);

#endif
