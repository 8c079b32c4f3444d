/* Of the words there are, the one nearest to a misspelt one: for messages that ask "did you mean ...?". */
#ifndef VECDB_BASE_NEAREST_H
#define VECDB_BASE_NEAREST_H

#include <stdbool.h>
#include <stddef.h>

struct nearest {
    const char *word; /* `length` bytes */
    size_t length;
    size_t limit;     /* edits; as many or more are too many */
    const char *best; /* NULL: none is near */
};

static inline struct nearest nearest_to(const char *word, size_t length)
{
    size_t limit = (length + 2) / 3 + 1; /* but not each of its letters: every letter is as near to every other */

    return (struct nearest){.word = word, .length = length, .limit = limit < length ? limit : length};
}

/** One of the words there are; it becomes `best` when no earlier one is as near. */
void nearest_offer(struct nearest *nearest, const char *candidate);

/** The end of a message, as the arguments of "%s%s%s". */
#define DID_YOU_MEAN(best) (best) ? "; did you mean " : "", (best) ? (best) : "", (best) ? "?" : ""

#endif
