/* Index files: what an index's save() gave, in a container of kind FILE_INDEX, with what it is an index of. A file that
 * does not fit in any respect is VECDB_ERR_CORRUPT; the caller drops it and builds the index anew, for a file like this
 * never holds the only copy of anything. */
#ifndef VECDB_STORAGE_INDEX_FILE_H
#define VECDB_STORAGE_INDEX_FILE_H

#include "storage/container.h"

#define INDEX_KIND_SIZE 32

/** What an index belongs to. All of it must be the same when the file is opened again. */
struct index_binding {
    uint64_t segment_id, row_count;
    uint64_t data_checksum;      /* segment_field_checksum() */
    uint64_t definition;         /* id of the index definition it was built for */
    uint32_t field;              /* of the segment's schema */
    uint32_t type, dim, metric;
    uint32_t format;             /* of save(), as the index kind counts it */
    char kind[INDEX_KIND_SIZE];  /* "HNSW", zeros after */
    const char *params;          /* as text; "" for none */
};

struct index_file;

/** Write and sync; the directory is left for the caller to sync. On failure nothing is left behind. */
vecdb_status index_file_write(const struct dir *dir, const uint8_t *uuid, uint64_t file_id,
                              const struct index_binding *binding, const void *data, size_t size,
                              struct container_id *out);
/**
 * Open, checking every checksum and that the file is an index of what `binding` says; without a binding neither.
 * @param in_heap  read the file instead of mapping it.
 */
vecdb_status index_file_open(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                             const struct index_binding *binding, bool in_heap, struct index_file **out);
/** The same, but for DATA's checksums: index_file_check() sees to those, later. */
vecdb_status index_file_map(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                            const struct index_binding *binding, bool in_heap, struct index_file **out);
/** VECDB_ERR_CORRUPT when DATA is not what was written. */
vecdb_status index_file_check(struct index_file *file);
/** save()'s bytes, 4096-byte aligned, until close. */
const void *index_file_data(const struct index_file *file, size_t *size);
void index_file_close(struct index_file *file);
/** Check the file's frame and checksums. VECDB_OK; VECDB_ERR_CORRUPT after reporting; others when the check itself failed. */
vecdb_status index_file_verify(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                               const struct problem_sink *sink);

#endif
