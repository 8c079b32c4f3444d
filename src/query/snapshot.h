/* One committed state of a collection, frozen: segments, how many rows of each, what is deleted, their indexes. Counted;
 * whoever holds one may read it from any thread, whatever is written meanwhile. */
#ifndef VECDB_QUERY_SNAPSHOT_H
#define VECDB_QUERY_SNAPSHOT_H

#include "filter/scalar_index.h"
#include "index/index.h"
#include "storage/index_file.h"
#include "storage/segment.h"
#include "storage/tombstones.h"

#include <pthread.h>

/** A segment's index on a field, counted. It holds on to the segment, whose vectors it reads. */
struct index_ref {
    atomic_uint references;
    struct index *index;         /* on vectors; or NULL, and */
    struct scalar_index *scalar; /* on another field, of the first scalar_index_rows() rows */
    struct segment *segment;
    struct index_file *file; /* whose bytes the index reads; NULL: built in memory */
    size_t field;      /* of the segment's schema */
    uint64_t built_by; /* id of the definition it was built for */
    atomic_size_t covered; /* rows it has; fewer than the segment while that grows */
    atomic_size_t reached; /* rows a search of it may come upon: more than it has while some are being added */
    atomic_size_t bytes;   /* of memory */
    uint64_t *present;     /* growing: which rows have a value, for `add`; NULL where all have */
};

/** Takes over the index and retains the segment; frees the index on failure. */
vecdb_status index_ref_create(struct index *index, struct segment *segment, size_t field, uint64_t built_by,
                              struct index_ref **out);
static inline struct index_ref *index_ref_retain(struct index_ref *ref)
{
    atomic_fetch_add_explicit(&ref->references, 1, memory_order_relaxed);
    return ref;
}
/** The same, of another field. */
vecdb_status index_ref_create_scalar(struct scalar_index *index, struct segment *segment, size_t field, uint64_t built_by,
                                     struct index_ref **out);
void index_ref_release(struct index_ref *ref);
/** "HNSW", "BITMAP": what it is, AUTOINDEX having chosen. */
const char *index_ref_kind(const struct index_ref *ref);
size_t index_ref_memory(const struct index_ref *ref);
/** Rows it has. */
size_t index_ref_rows(const struct index_ref *ref);

/** A segment as a snapshot shows it. */
struct segment_view {
    struct segment *segment;
    size_t row_count;
    struct tombstones *tombstones; /* NULL: none is deleted */
    size_t saved_tombstones;     /* of them, how many the manifest's file has; the log has the others */
    bool keys_ascend;
    uint32_t partition;          /* id */
    struct index_ref **indexes;  /* index_count */
    size_t index_count;
};

struct snapshot {
    atomic_uint references;
    const struct schema *schema; /* the collection's, which outlives its snapshots */
    uint64_t lsn;                /* of the last write in it */
    uint64_t live_rows;
    size_t view_count;
    struct segment_view views[];
};

static inline struct snapshot *snapshot_retain(struct snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
    return snapshot;
}
void snapshot_release(struct snapshot *snapshot);

/** A copy with room for `view_count` views, to be changed before it is shown to anybody. Views of `from` (NULL: none) are
 * retained; those beyond are zero. Set row counts, then call snapshot_count(). */
vecdb_status snapshot_copy(const struct snapshot *from, const struct schema *schema, size_t view_count,
                           struct snapshot **out);
/** The views of `from` that are to be kept, retained, and `extra` zeroed ones behind them. */
vecdb_status snapshot_select(const struct snapshot *from, const bool *keep, size_t extra, struct snapshot **out);
/** Give up a view's tombstones, or the index of the same definition, for others; takes over the reference. */
void view_set_tombstones(struct segment_view *view, struct tombstones *tombstones);
vecdb_status view_set_index(struct segment_view *view, struct index_ref *ref);
void view_drop_index(struct segment_view *view, uint64_t built_by);
/** Recompute live_rows. */
void snapshot_count(struct snapshot *snapshot);

static inline size_t view_live_rows(const struct segment_view *view)
{
    return view->row_count - tombstones_count(view->tombstones);
}
/** The index on a vector field of the segment's schema, or NULL. */
struct index_ref *view_index(const struct segment_view *view, size_t segment_field);
/** A segment's number for a field of the collection's schema; SCHEMA_NONE when the segment is older than the field. */
size_t view_field(const struct segment_view *view, const struct schema *schema, size_t field);
/** Values of a block of a field of the collection's schema. Fields younger than the segment have their default, or none. */
vecdb_status view_column(const struct segment_view *view, const struct schema *schema, size_t field, size_t block,
                         struct column_scratch *scratch, struct column *out);
/** Reads keys that are numbers, one row after another; begins as {0}. */
struct key_reader {
    const struct segment_view *view; /* the last one's block, and NULL before the first */
    size_t block;
    bool counted; /* keys of the block are low, low + 1, ...: they need not be read */
    int64_t low;
    struct column column;
    struct column_scratch scratch; /* the caller frees it */
};
vecdb_status view_int64_key(const struct segment_view *view, const struct schema *schema, uint32_t row, struct key_reader *reader,
                            int64_t *key);
/** Rows in a block. */
size_t view_block_rows(const struct segment_view *view, size_t block);
/** The first row_count rows of a vector field of a segment. */
void segment_vectors(struct segment *segment, size_t field, size_t row_count, struct vectors *out);
/** A vector field's rows; false when the segment is older than the field. */
bool view_vectors(const struct segment_view *view, const struct schema *schema, size_t field, struct vectors *out);
/** Find a live row by key. */
vecdb_status snapshot_find(const struct snapshot *snapshot, const void *key, size_t key_size, bool *found,
                           size_t *view, uint32_t *row);

#endif
