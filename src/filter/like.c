#include "filter/like.h"

#include <string.h>

vecdb_status like_compile(const char *pattern, size_t length, struct arena *arena, struct like **out)
{
    struct like *like = arena_alloc(arena, 1, sizeof *like);
    uint16_t *pieces = arena_alloc(arena, length, sizeof *pieces);
    char *text = arena_alloc(arena, length, 1);
    size_t n = 0, first, last, specials = 0;

    *out = NULL;
    if (!like || !pieces || !text)
        return VECDB_ERR_NOMEM;
    for (size_t i = 0; i < length; i++) {
        char c = pattern[i];

        if (c == '%') {
            if (n && pieces[n - 1] == LIKE_PERCENT)
                continue;
            pieces[n++] = LIKE_PERCENT;
        } else if (c == '_') {
            pieces[n++] = LIKE_UNDERSCORE;
        } else {
            if (c == '\\' && ++i == length)
                return error_set(VECDB_ERR_INVALID, "the pattern ends in a backslash that escapes nothing");
            pieces[n++] = (unsigned char)pattern[i];
        }
    }
    like->pieces = pieces;
    like->piece_count = n;
    like->text = text;
    first = n && pieces[0] == LIKE_PERCENT;
    last = n > first && pieces[n - 1] == LIKE_PERCENT;
    for (size_t i = first; i < n - last; i++) {
        specials += pieces[i] >= 256;
        text[like->length++] = (char)pieces[i];
    }
    like->kind = specials                  ? LIKE_PIECES
                 : first && like->length == 0 ? LIKE_ANY
                 : first && last           ? LIKE_INFIX
                 : first                   ? LIKE_SUFFIX
                 : last                    ? LIKE_PREFIX
                                           : LIKE_EQUAL;
    *out = like;
    return VECDB_OK;
}

/* Bytes of the character at `at`; a byte that starts none counts as one. */
static size_t character_size(const char *text, size_t length, size_t at)
{
    unsigned char c = (unsigned char)text[at];
    size_t n = c < 0xC0 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;

    return n < length - at ? n : length - at;
}

/* On a mismatch only the last % need take one character more: an earlier one could gain nothing by it. */
static bool match_pieces(const struct like *like, const char *text, size_t length)
{
    const uint16_t *pieces = like->pieces;
    size_t n = like->piece_count, p = 0, s = 0, star = SIZE_MAX, mark = 0;

    while (s < length) {
        if (p < n && pieces[p] == LIKE_PERCENT) {
            star = p++;
            mark = s;
        } else if (p < n && pieces[p] == LIKE_UNDERSCORE) {
            s += character_size(text, length, s);
            p++;
        } else if (p < n && pieces[p] == (unsigned char)text[s]) {
            s++;
            p++;
        } else if (star != SIZE_MAX) {
            mark += character_size(text, length, mark);
            if (star + 1 < n && pieces[star + 1] < 256) { /* on to where the next byte of the pattern is */
                const char *at = mark < length ? memchr(text + mark, pieces[star + 1], length - mark) : NULL;

                if (!at)
                    return false;
                mark = (size_t)(at - text);
            }
            s = mark;
            p = star + 1;
        } else {
            return false;
        }
    }
    while (p < n && pieces[p] == LIKE_PERCENT)
        p++;
    return p == n;
}

bool like_matches(const struct like *like, const char *text, size_t length)
{
    size_t n = like->length;

    switch (like->kind) {
    case LIKE_EQUAL:
        return length == n && memcmp(text, like->text, n) == 0;
    case LIKE_PREFIX:
        return length >= n && memcmp(text, like->text, n) == 0;
    case LIKE_SUFFIX:
        return length >= n && memcmp(text + length - n, like->text, n) == 0;
    case LIKE_INFIX:
        return memmem(text, length, like->text, n) != NULL;
    case LIKE_ANY:
        return true;
    case LIKE_PIECES:
        break;
    }
    return match_pieces(like, text, length);
}

const char *like_prefix(const struct like *like, char *room, size_t room_size, size_t *length)
{
    size_t n = 0;

    while (n < like->piece_count && n < room_size && like->pieces[n] < 256) {
        room[n] = (char)like->pieces[n];
        n++;
    }
    *length = n;
    return room;
}
