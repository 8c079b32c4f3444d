/* Patterns of `like`: % is any text, _ any one character, a backslash takes either as it is. */
#ifndef VECDB_FILTER_LIKE_H
#define VECDB_FILTER_LIKE_H

#include "filter/arena.h"

struct like {
    enum { LIKE_EQUAL, LIKE_PREFIX, LIKE_SUFFIX, LIKE_INFIX, LIKE_ANY, LIKE_PIECES } kind;
    const char *text; /* EQUAL .. INFIX: what is left without the % */
    size_t length;
    const uint16_t *pieces; /* PIECES: bytes, or one of the two below */
    size_t piece_count;
};
#define LIKE_PERCENT 256
#define LIKE_UNDERSCORE 257

/** VECDB_ERR_INVALID: a backslash at the end. */
vecdb_status like_compile(const char *pattern, size_t length, struct arena *arena, struct like **out);
bool like_matches(const struct like *like, const char *text, size_t length);
/** What every match begins with, or the longest run of bytes every match has in it; may be of length 0. */
const char *like_prefix(const struct like *like, char *room, size_t room_size, size_t *length);

#endif
