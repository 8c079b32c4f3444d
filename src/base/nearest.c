#include "base/nearest.h"

#include <ctype.h>
#include <string.h>

#define LONGEST 255 /* bytes; longer words are near to none */

static bool same(char a, char b) { return tolower((unsigned char)a) == tolower((unsigned char)b); }

/* Levenshtein's distance without regard to capitals. */
static size_t edits(const char *a, size_t a_length, const char *b, size_t b_length)
{
    size_t row[LONGEST + 1]; /* of the table: a's first i bytes against b's first j */

    for (size_t j = 0; j <= b_length; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_length; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_length; j++) {
            size_t change = diagonal + !same(a[i - 1], b[j - 1]);
            diagonal = row[j];
            row[j] = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            if (change < row[j])
                row[j] = change;
        }
    }
    return row[b_length];
}

void nearest_offer(struct nearest *nearest, const char *candidate)
{
    size_t length = strlen(candidate), distance;

    if (nearest->length > LONGEST || length > LONGEST)
        return;
    distance = edits(nearest->word, nearest->length, candidate, length);
    if (distance < nearest->limit) {
        nearest->limit = distance;
        nearest->best = candidate;
    }
}
