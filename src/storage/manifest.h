/* What a database consists of: a full snapshot, written anew for every change, in two copies.
 *
 * The file, after the common header of storage/format.h (kind FILE_MANIFEST, id = generation):
 *   64  u64 file size
 *   72  the root record
 *   file size - 8: u64 checksum of all bytes before, seed 0
 * A record is a u32 byte count and that many bytes: its members in the order of the structs below. Numbers are u64 unless
 * said otherwise, texts and bytes are a u32 byte count and the bytes, arrays a u32 count and as many records.
 * New members are only ever added at the end of a record: a reader of the same major skips what a newer minor wrote there.
 *
 * Every number is checked when read: ids are in range and unique, references lead somewhere, nothing is left over.
 */
#ifndef VECDB_STORAGE_MANIFEST_H
#define VECDB_STORAGE_MANIFEST_H

#include "base/buf.h"
#include "storage/format.h"
#include "storage/wal.h"

#define MANIFEST_MAX_SIZE ((size_t)1 << 28)
#define MANIFEST_MAX_ROWS 0xFFFFFFFEull /* of one segment */
/* Also bounds on the work that a hostile file can ask for. */
#define MANIFEST_MAX_COLLECTIONS 65536
#define MANIFEST_MAX_ALIASES 4096
#define MANIFEST_MAX_PARTITIONS 4096 /* of a collection; so are those below */
#define MANIFEST_MAX_INDEXES 1024
#define MANIFEST_MAX_SEGMENTS 65536

struct manifest_file {
    uint64_t id; /* 0: there is none */
    uint64_t size;
    uint64_t checksum;
};

struct manifest_index_file {
    uint64_t index_id; /* of the definition it was built for */
    struct manifest_file file;
    char *kind;        /* "HNSW": what reads it */
};

struct manifest_segment {
    struct manifest_file file; /* its id is the segment's */
    uint64_t partition_id;
    uint64_t row_count;        /* 1 .. MANIFEST_MAX_ROWS */
    uint64_t deleted_count;
    struct manifest_file tombstones;
    struct manifest_index_file *indexes;
    size_t index_count;
};

struct manifest_index { /* a definition */
    uint64_t id;
    uint32_t field;
    uint32_t metric;
    char *name, *type, *params;
};

struct manifest_partition {
    uint64_t id;
    char *name;
};

struct manifest_collection {
    uint64_t id;
    uint64_t checkpoint_lsn;   /* its writes up to here are in the segments */
    uint64_t next_auto_id;
    uint64_t next_partition_id;
    uint64_t next_index_id;
    struct buf schema;         /* as schema_encode() makes it; the collection's name is in there */
    struct manifest_partition *partitions;
    size_t partition_count;
    struct manifest_index *indexes;
    size_t index_count;
    struct manifest_segment *segments;
    size_t segment_count;
};

struct manifest_alias {
    uint64_t collection_id;
    char *name;
};

struct manifest_wal {
    uint64_t id;
    uint64_t first_lsn;
};

struct manifest {
    uint8_t uuid[FORMAT_UUID_SIZE]; /* in the header */
    uint64_t generation;            /* in the header; counts manifests */
    uint64_t epoch;                 /* counts openings that wrote; the logs below carry it */
    uint64_t next_file_id;
    uint64_t next_collection_id;
    uint64_t checkpoint_lsn;        /* writes up to here are in the segments, of every collection */
    struct manifest_wal *wals;      /* oldest first */
    size_t wal_count;
    struct manifest_collection *collections;
    size_t collection_count;
    struct manifest_alias *aliases;
    size_t alias_count;
};

void manifest_deinit(struct manifest *manifest);
vecdb_status manifest_encode(const struct manifest *manifest, struct buf *out);
/** @param name  of the file, for messages;  @param uuid  or NULL for any. VECDB_ERR_CORRUPT, _VERSION, _NOMEM. */
vecdb_status manifest_decode(const char *name, const uint8_t *data, size_t size, uint64_t generation,
                             const uint8_t *uuid, bool *read_only, struct manifest *out);
/** Every rule that decoding enforces; what publishes a manifest calls it first. VECDB_ERR_CORRUPT. */
vecdb_status manifest_check(const char *name, const struct manifest *manifest);
vecdb_status manifest_copy(const struct manifest *from, struct manifest *out);

/* Editing. Texts and bytes are copied. Pointers into arrays last until the next change of that array. */
struct manifest_collection *manifest_find(const struct manifest *manifest, uint64_t collection_id); /* or NULL */
/** A new collection with the next id; no partitions, indexes or segments. */
vecdb_status manifest_add_collection(struct manifest *manifest, const void *schema, size_t schema_size,
                                     struct manifest_collection **out);
void manifest_remove_collection(struct manifest *manifest, uint64_t collection_id);
vecdb_status manifest_set_schema(struct manifest_collection *collection, const void *schema, size_t schema_size);
/** Point an alias at a collection, making it when it is not there. */
vecdb_status manifest_set_alias(struct manifest *manifest, const char *name, uint64_t collection_id);
void manifest_remove_alias(struct manifest *manifest, const char *name);
vecdb_status manifest_add_partition(struct manifest_collection *collection, const char *name, uint64_t *id);
void manifest_remove_partition(struct manifest_collection *collection, uint64_t id); /* and its segments */
vecdb_status manifest_add_index(struct manifest_collection *collection, const char *name, uint32_t field,
                                const char *type, uint32_t metric, const char *params, uint64_t *id);
void manifest_remove_index(struct manifest_collection *collection, uint64_t id); /* and its files */
/** A segment without index files; `segment` gives the rest, and is copied. */
vecdb_status manifest_add_segment(struct manifest_collection *collection, const struct manifest_segment *segment);
struct manifest_segment *manifest_find_segment(const struct manifest_collection *collection, uint64_t id); /* or NULL */
void manifest_remove_segment(struct manifest_collection *collection, uint64_t id);
/** Name the index file of a segment for a definition, in place of what was named before. */
vecdb_status manifest_set_index_file(struct manifest_segment *segment, uint64_t index_id, const char *kind,
                                     struct manifest_file file);
void manifest_remove_index_file(struct manifest_segment *segment, uint64_t index_id);

/** "MANIFEST-7.a" and so on; copy is 'a' or 'b'; `temporary` adds ".tmp". */
void manifest_file_name(uint64_t generation, char copy, bool temporary, char name[FILE_NAME_SIZE]);
/** The reverse; false for other names. */
bool manifest_file_parse(const char *name, uint64_t *generation, char *copy, bool *temporary);

/** Every file that a manifest names, in any order, each with its kind. Stops at the first failure. */
vecdb_status manifest_each_file(const struct manifest *manifest,
                                vecdb_status (*visit)(void *context, enum file_kind kind, const struct manifest_file *file),
                                void *context);

#endif
