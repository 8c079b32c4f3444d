/* Rows of every type for tests of storage, made up from a seed, and a directory to keep files in. */
#ifndef VECDB_TESTS_SAMPLE_H
#define VECDB_TESTS_SAMPLE_H

#include "base/file.h"
#include "base/rng.h"
#include "schema/rows.h"
#include "storage/segment.h"

enum { /* what the schema is like */
    SAMPLE_TEXT_KEY = 1,  /* VARCHAR keys; else INT64 */
    SAMPLE_SMALL = 2,     /* few fields, for exhaustive tests */
    SAMPLE_SHUFFLED = 4,  /* keys in no order */
    SAMPLE_LONG = 8,      /* some long strings */
    SAMPLE_DENSE = 16     /* a key, two scalars and a vector of 128 floats */
};

/** A schema with every type, some fields nullable, "absent" without a value in any row, and $meta. Aborts on failure. */
struct schema *sample_schema(unsigned flags);
/** A growing segment with row_count such rows; key i of the first row is first_key. Free with segment_release(). */
struct segment *sample_growing(const struct schema *schema, struct rng *rng, unsigned flags, size_t row_count,
                               int64_t first_key, uint64_t id);
/** The seed of this run: VECDB_TEST_SEED, or `usual`; printed. */
uint64_t sample_seed(uint64_t usual);

extern const uint8_t sample_uuid[16];

/** A fresh directory, and its removal with all in it. */
struct sample_dir {
    char path[64];
    struct dir dir;
};
void sample_dir_open(struct sample_dir *dir);
void sample_dir_close(struct sample_dir *dir);
/** Replace a file's contents. */
void sample_write_file(const struct sample_dir *dir, const char *name, const void *data, size_t size);
void sample_read_file(const struct sample_dir *dir, const char *name, struct buf *out);

#endif
