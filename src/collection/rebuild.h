/* A manifest made of what the files say of themselves, for a database that has lost every copy of its own. */
#ifndef VECDB_COLLECTION_REBUILD_H
#define VECDB_COLLECTION_REBUILD_H

#include "storage/manifest.h"

/** Told what is missing or doubtful. */
typedef vecdb_status (*rebuild_note)(void *context, const char *text);

/**
 * Collections, their schemas and rows come from the segments, deletions from the newest bitmap of each segment, what came
 * last from the log. Where segments share keys the newer row counts. New bitmaps are written; nothing is removed.
 * @param out  receives a manifest; generation is the caller's to set.
 * @return VECDB_ERR_CORRUPT when there is nothing to go by.
 */
vecdb_status rebuild_manifest(const struct dir *dir, rebuild_note note, void *context, struct manifest *out);

#endif
