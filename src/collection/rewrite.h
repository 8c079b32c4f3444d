/* Segments written anew: growing ones sealed, sealed ones merged or rid of deleted rows. The slow part runs without any lock
 * that a writer or reader needs; what was deleted meanwhile is carried over when the new segments take the old ones' place.
 *
 *   begin     the state to start from; when growing rows are to be sealed, their segments take no more rows
 *   add       which of its views become one new segment
 *   run       write the files and build their indexes; then, under write_lock, put them in place with one manifest
 * One rewrite of a collection at a time (collection_begin_upkeep). */
#ifndef VECDB_COLLECTION_REWRITE_H
#define VECDB_COLLECTION_REWRITE_H

#include "collection/database.h"
#include "storage/segment_writer.h"

struct rewrite_group {
    uint32_t partition;
    size_t *views;                  /* of rewrite->from */
    struct segment_source *sources; /* as many */
    size_t count;
    uint64_t id;                    /* of the new segment; 0: no row is left, so there is none */
    struct segment_written written;
    struct segment_view view;       /* of it, as it will be in the next snapshot */
    struct manifest_index_file *index_files;
    size_t index_file_count;
};

struct rewrite {
    struct collection *collection;
    struct snapshot *from;
    bool seals;                     /* all growing rows of `from` are in some group: then the log is not needed up to there */
    struct rewrite_group *groups;
    size_t group_count;
    struct manifest_segment *saved; /* tombstones written, of segments that stay: file.id, tombstones, deleted_count */
    size_t saved_count;
    struct index_definition *definitions; /* as they were */
    size_t definition_count;
    struct collection **others;     /* the database's collections, retained */
    size_t other_count;
    bool published;                 /* then the files belong to the manifest */
};

/** With the claim on upkeep. On failure nothing is left to deinit. */
vecdb_status rewrite_begin(struct collection *collection, bool seals, struct rewrite *rewrite);
vecdb_status rewrite_add(struct rewrite *rewrite, uint32_t partition, const size_t *views, size_t count);
vecdb_status rewrite_run(struct rewrite *rewrite, vecdb_progress progress, void *context);
/** The two halves of it: files without the new segments' sync, then that sync and the manifest. Between them the groups' views can be
 * read. */
vecdb_status rewrite_write(struct rewrite *rewrite, vecdb_progress progress, void *context);
vecdb_status rewrite_publish(struct rewrite *rewrite);
void rewrite_deinit(struct rewrite *rewrite);

#endif
