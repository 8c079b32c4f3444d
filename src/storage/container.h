/* The shape that all written-once files share: segments, deletion bitmaps, index files. docs/format.md has every byte.
 *
 *   0          header, 4096 bytes: magic, version, flags, kind, ids, length, where the section table is; its checksum last
 *   4096       sections, each at a multiple of 4096, zeros between them, no other gaps
 *   then       section table, 64 bytes an entry
 *   then       checksums, 8 bytes for every 64 KiB of every section (its zeros up to the next 4096 included)
 *   then       footer, 64 bytes: length and header checksum again
 *
 * The header's checksum covers the table's, the table's those of the sections, and those the checksums of the 64 KiB
 * pieces: the header's checksum stands for the whole file, and every byte of the file is under one of them.
 */
#ifndef VECDB_STORAGE_CONTAINER_H
#define VECDB_STORAGE_CONTAINER_H

#include "storage/format.h"

#include <stdatomic.h>

#define CONTAINER_HEADER_SIZE 4096
#define CONTAINER_ALIGNMENT 4096
#define CONTAINER_PIECE_SIZE 65536
#define CONTAINER_ENTRY_SIZE 64
#define CONTAINER_FOOTER_SIZE 64
#define CONTAINER_MAX_SECTIONS 4096

#define CONTAINER_NO_FIELD UINT32_MAX

struct container_section {
    uint32_t type;  /* its meaning is the kind's; never reused */
    uint32_t field; /* or CONTAINER_NO_FIELD */
    uint64_t offset, size;
    uint64_t count; /* elements */
    uint32_t element_size; /* 0: of differing sizes */
    uint64_t checksum;     /* of the checksums of its pieces */
    size_t first_piece;
};

/** What the manifest knows of a file; what writing one returns. */
struct container_id {
    uint64_t file_id;
    uint64_t size;     /* bytes; 0: not known, and the checksum neither */
    uint64_t checksum; /* of the header, hence of all */
};

struct container {
    char name[FILE_NAME_SIZE];
    const uint8_t *data;
    size_t size;
    struct format_header header;
    uint64_t checksum; /* of the header, hence of all */
    struct container_section *sections;
    size_t section_count, piece_count;
    const uint8_t *piece_checksums;
    atomic_uint_least64_t *checked; /* a bit for each piece whose checksum was right once */
};

/** Told of each problem that a thorough check finds; offset is in the file. */
struct problem_sink {
    void (*report)(void *context, const char *file, uint64_t offset, const char *what);
    void *context;
};
/** Report in printf's words. */
void problem_report(const struct problem_sink *sink, const char *file, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/**
 * Look at a file's bytes, which stay where they are until container_deinit(). Checks header, table, footer and how they
 * agree, not the sections' contents.
 * @param name      of the file, for messages.
 * @param uuid      the database's, or NULL for any.
 * @param expected  what the manifest says of the file.
 * @return VECDB_OK; VECDB_ERR_CORRUPT; VECDB_ERR_VERSION; VECDB_ERR_NOMEM.
 */
vecdb_status container_init(struct container *container, const char *name, const uint8_t *data, size_t size,
                            enum file_kind kind, const uint8_t *uuid, const struct container_id *expected);
void container_deinit(struct container *container);
/** The section of a type (and field); NULL when there is none. */
const struct container_section *container_find(const struct container *container, uint32_t type, uint32_t field);
static inline const uint8_t *container_bytes(const struct container *container, const struct container_section *section)
{
    return container->data + section->offset;
}
/** Check the checksums of the pieces that hold bytes offset .. offset + size - 1 of a section, unless they were right
 * before. What has passed may be read; *fresh (may be NULL) receives whether anything had to be checked. */
vecdb_status container_check(struct container *container, const struct container_section *section, uint64_t offset,
                             uint64_t size, bool *fresh);
/** Check all of a section, also what was right before. */
vecdb_status container_check_section(struct container *container, const struct container_section *section);
/** Check every checksum, and that what fills up the last page of a section is zero; each piece that is wrong is reported.
 * Header, table and footer were checked by container_init(). Returns the number of problems. */
size_t container_verify(const struct container *container, const struct problem_sink *sink);

/* -- writing: sections one after another, memory for about a MiB */

struct container_writer {
    const struct dir *dir;
    struct file file;
    enum file_kind kind;
    uint8_t uuid[FORMAT_UUID_SIZE];
    uint64_t id;
    uint64_t offset;    /* of buffer[0] in the file */
    uint8_t *buffer;
    size_t used;        /* bytes in buffer */
    size_t piece_start; /* in buffer, of the piece being filled: those before it have their checksum */
    uint64_t section_start;
    size_t section_first_piece;
    struct buf table, piece_checksums;
    size_t section_count;
};

/** Begin: creates the file, which must not exist, named by kind and id. On failure nothing is left behind. `dir` is
 * borrowed until the end. After a failure of any later call: container_writer_abort(). */
vecdb_status container_writer_init(struct container_writer *writer, const struct dir *dir, enum file_kind kind,
                                   const uint8_t *uuid, uint64_t id);
void container_section_begin(struct container_writer *writer);
vecdb_status container_section_write(struct container_writer *writer, const void *data, size_t size);
/** @param checksum  receives the section's, or NULL. */
vecdb_status container_section_end(struct container_writer *writer, uint32_t type, uint32_t field,
                                   uint32_t element_size, uint64_t count, uint64_t *checksum);
/** Begin, write and end. */
vecdb_status container_section_put(struct container_writer *writer, uint32_t type, uint32_t field,
                                   uint32_t element_size, uint64_t count, const void *data, size_t size);
/** Write table, checksums, footer and header, sync the file and close it. The directory is not synced. */
vecdb_status container_writer_finish(struct container_writer *writer, struct container_id *out);
/** The same, but for syncing and closing: that is the caller's to do, with *file. */
vecdb_status container_writer_finish_unsynced(struct container_writer *writer, struct container_id *out, struct file *file);
/** Give up: close, remove the file, free. Harmless after finish. */
void container_writer_abort(struct container_writer *writer);

#endif
