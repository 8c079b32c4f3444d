/* A file system of one file in memory, read-only: maps are the caller's bytes, so that reading past them shows under ASan. */
#ifndef VECDB_TESTS_ONE_FILE_H
#define VECDB_TESTS_ONE_FILE_H

#include "base/file.h"

struct one_file {
    struct vfs vfs;
    const uint8_t *data;
    size_t size;
};

/** @param dir  receives the directory in which any name is this file. */
void one_file_init(struct one_file *file, const uint8_t *data, size_t size, struct dir *dir);
/** Make all checksums of a container right again after a change, as far as its header and table can be followed. */
void reseal(uint8_t *data, size_t size);

#endif
