/* Regular expressions, by PCRE2: a match anywhere in the text counts. Memory comes from base/mem.h. */
#ifndef VECDB_FILTER_REGEX_H
#define VECDB_FILTER_REGEX_H

#include "base/error.h"

struct regex;
/** What one thread needs to match; made for a regex, used with that one only. */
struct regex_scratch;

/** VECDB_ERR_INVALID with PCRE2's words and the place in the pattern. */
vecdb_status regex_compile(const char *pattern, size_t length, struct regex **out);
void regex_free(struct regex *regex);
/** Needs no scratch to be there; NULL on no memory. */
struct regex_scratch *regex_scratch_create(const struct regex *regex);
void regex_scratch_free(struct regex_scratch *scratch);
/** VECDB_ERR_LIMIT when the pattern takes too many steps on this text. */
vecdb_status regex_matches(const struct regex *regex, struct regex_scratch *scratch, const char *text, size_t length,
                           bool *matches);

#endif
