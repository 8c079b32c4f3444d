/* Which byte of a damaged file was changed, where it was only one. */
#ifndef VECDB_STORAGE_DAMAGE_H
#define VECDB_STORAGE_DAMAGE_H

#include "base/file.h"

struct damage {
    uint64_t offset; /* in the file */
    uint8_t is, was;
};

/**
 * Look at the checksums of a database's file, and at the bytes of one that is wrong: takes up to two seconds.
 * @param near  where a check found something: of sections only the piece this lies in is looked at, of a log the write that
 *              begins here.
 * @return false when no single byte explains what is wrong there, or the file cannot be read. The last error is another afterwards.
 */
bool damage_find(const struct dir *dir, const char *name, uint64_t near, struct damage *out);

#endif
