/* What all files of a database have in common: names and the first 64 bytes.
 *
 *    0  u8[8]  "vecdb\r\n\0"          magic; a copy made in text mode breaks it
 *    8  u32    kind                   enum file_kind
 *   12  u16    major, u16 minor       format version: another major cannot be read
 *   16  u32    compat                 features a reader may ignore when it does not know them
 *   20  u32    ro_compat              features a writer must know; without, the database opens read-only
 *   24  u32    incompat               features a reader must know; without, VECDB_ERR_VERSION
 *   28  u32    zero
 *   32  u8[16] uuid of the database   a file of another database is refused
 *   48  u64    file id                the manifest's is its generation
 *   56  u64    checksum of bytes 0 .. 55, seed 0
 * This header never changes, whatever the version: versions are judged before anything else is believed.
 */
#ifndef VECDB_STORAGE_FORMAT_H
#define VECDB_STORAGE_FORMAT_H

#include "base/file.h"

enum file_kind { /* stored: a number is never reused */
    FILE_MANIFEST = 1,
    FILE_WAL = 2,
    FILE_SEGMENT = 3,
    FILE_TOMBSTONES = 4,
    FILE_INDEX = 5,
};

#define FORMAT_HEADER_SIZE 64
#define FORMAT_UUID_SIZE 16
#define FORMAT_MAJOR 1
#define FORMAT_MINOR 0
/* Features this library knows. */
#define FORMAT_COMPAT 0u
#define FORMAT_RO_COMPAT 0u
#define FORMAT_INCOMPAT 0u

/** Write the first 64 bytes of a file. */
void format_header_write(uint8_t *header, enum file_kind kind, const uint8_t *uuid, uint64_t id);

struct format_header {
    enum file_kind kind;
    uint16_t minor;
    bool newer_minor; /* written by a later version of this major: records may be longer than we know */
    bool read_only;   /* has ro_compat features that we do not know */
    uint8_t uuid[FORMAT_UUID_SIZE];
    uint64_t id;
};
/**
 * Check the first bytes of a file of `size` bytes and take them apart.
 * @param uuid  the database's, or NULL to take any.
 * @return VECDB_ERR_CORRUPT, VECDB_ERR_VERSION; messages name the file and both values.
 */
vecdb_status format_header_check(const char *name, const uint8_t *data, size_t size, enum file_kind kind,
                                 const uint8_t *uuid, uint64_t id, struct format_header *out);

/** "seg-12.dat", "del-13.bm", "idx-14.idx", "wal-15.log". For manifests see storage/manifest.h. */
void format_file_name(enum file_kind kind, uint64_t id, char name[FILE_NAME_SIZE]);
/** The reverse: false for a name that this library never makes. */
bool format_file_parse(const char *name, enum file_kind *kind, uint64_t *id);
/** A number as format_file_name() writes it: no sign, no leading zero, less than 2^63. *end is what follows. */
bool format_parse_id(const char *text, const char **end, uint64_t *id);

#endif
