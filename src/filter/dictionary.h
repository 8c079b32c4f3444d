/* The distinct values of a field, array elements or JSON path, in order, and the rows of each: what an index is made of,
 * and statistics. */
#ifndef VECDB_FILTER_DICTIONARY_H
#define VECDB_FILTER_DICTIONARY_H

#include "filter/plan.h"

struct dictionary {
    /* What to read; slot is not used. */
    const struct operand *operand;
    size_t field;
    bool multi;                  /* elements of an ARRAY field, or of arrays at a JSON path */
    unsigned classes;            /* values of other classes are passed over */
    unsigned min_gram, max_gram; /* instead of texts, their runs of so many characters; 0: texts */
    bool keys_only;              /* without the rows of each */

    /* What was found. Keys: bools, integers, reals, strings, each ascending. */
    size_t row_count, null_count, key_count, posting_count;
    size_t bool_count, integer_count, real_count, string_count;
    struct datum *keys;
    uint32_t *begin, *rows; /* rows[begin[k] .. begin[k + 1] - 1], ascending, are those of key k */
    uint64_t *present[3];   /* rows with a value of BOOL, NUMBER, STRING; multi: [0], rows with an array */

    struct dictionary_work *work;
};

/**
 * Fill in what was found. Without classes: null_count only.
 * @param rows  of each source: a bitmap of the rows to read, NULL for all; or NULL. Rows are numbered through all sources.
 */
vecdb_status dictionary_build(struct dictionary *dictionary, const struct filter_source *sources,
                              const uint64_t *const *rows, size_t source_count);
void dictionary_deinit(struct dictionary *dictionary);

/** Bytes of the UTF-8 character at `at`. */
size_t dictionary_character(const char *text, size_t length, size_t at);
uint64_t dictionary_hash(const void *data, size_t size);

#endif
