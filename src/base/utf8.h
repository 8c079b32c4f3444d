/* UTF-8 checking (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF). */
#ifndef VECDB_BASE_UTF8_H
#define VECDB_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/** Whether `text` is UTF-8; if not, *bad (may be NULL) receives the offset of the first wrong byte. */
bool utf8_valid(const char *text, size_t length, size_t *bad);

#endif
