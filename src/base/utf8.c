#include "base/utf8.h"

#include "base/bytes.h"

bool utf8_valid(const char *text, size_t length, size_t *bad)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;

    while (i < length) {
        unsigned char c = s[i], low = 0x80, high = 0xBF;
        size_t more;

        if (c < 0x80) {
            while (length - i >= 8 && !(load_u64(s + i) & 0x8080808080808080ull))
                i += 8;
            if (i < length && s[i] < 0x80)
                i++;
            continue;
        }
        if (c >= 0xC2 && c <= 0xDF)
            more = 1;
        else if (c >= 0xE0 && c <= 0xEF)
            more = 2, low = c == 0xE0 ? 0xA0 : 0x80, high = c == 0xED ? 0x9F : 0xBF;
        else if (c >= 0xF0 && c <= 0xF4)
            more = 3, low = c == 0xF0 ? 0x90 : 0x80, high = c == 0xF4 ? 0x8F : 0xBF;
        else
            more = 0;
        if (more == 0 || length - i <= more || s[i + 1] < low || s[i + 1] > high)
            goto wrong;
        for (size_t j = 2; j <= more; j++)
            if ((s[i + j] & 0xC0) != 0x80)
                goto wrong;
        i += more + 1;
    }
    return true;
wrong:
    if (bad)
        *bad = i;
    return false;
}
