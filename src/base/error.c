#include "base/error.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local vecdb_error last = VECDB_ERROR_INIT;

/* Cut a message that did not fit back to whole UTF-8 characters. */
static void trim_utf8(char *text)
{
    size_t n = strlen(text), i = n;

    while (i > 0 && n - i < 3 && ((unsigned char)text[i - 1] & 0xC0) == 0x80)
        i--;
    if (i > 0) {
        unsigned char lead = (unsigned char)text[i - 1];
        size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
        if (n - (i - 1) < need)
            text[i - 1] = '\0';
    }
}

static void set_message(vecdb_status status, int system, const char *format, va_list arguments)
{
    last.status = status;
    last.system = system;
    if (vsnprintf(last.message, sizeof last.message, format, arguments) >= (int)sizeof last.message)
        trim_utf8(last.message);
}

vecdb_status error_set(vecdb_status status, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    set_message(status, 0, format, arguments);
    va_end(arguments);
    return status;
}

vecdb_status error_set_system(vecdb_status status, int system, const char *format, ...)
{
    va_list arguments;
    size_t n;
    char text[128];

    va_start(arguments, format);
    set_message(status, system, format, arguments);
    va_end(arguments);
    n = strlen(last.message);
    if (strerror_r(system, text, sizeof text) != text) /* GNU's returns the text, which may be static */
        snprintf(text, sizeof text, "%s", strerror_r(system, text, sizeof text));
    if (snprintf(last.message + n, sizeof last.message - n, ": %s", text) >= (int)(sizeof last.message - n))
        trim_utf8(last.message);
    return status;
}

void error_set_nomem(const char *what)
{
    uint64_t used, limit;

    if (mem_is_limited(&used, &limit))
        error_set(VECDB_ERR_NOMEM, "%s: out of memory: %llu bytes of the memory_limit of %llu are in use", what,
                  (unsigned long long)used, (unsigned long long)limit);
    else
        error_set(VECDB_ERR_NOMEM, "%s: out of memory", what);
}

vecdb_status error_prefix(const char *format, ...)
{
    char rest[sizeof last.message];
    va_list arguments;
    size_t n;

    memcpy(rest, last.message, sizeof rest);
    va_start(arguments, format);
    vsnprintf(last.message, sizeof last.message, format, arguments);
    va_end(arguments);
    n = strlen(last.message);
    if (snprintf(last.message + n, sizeof last.message - n, "%s", rest) >= (int)(sizeof last.message - n))
        trim_utf8(last.message);
    return last.status;
}

const vecdb_error *error_last(void) { return &last; }

vecdb_status error_adopt(const vecdb_error *error)
{
    last = *error;
    return last.status;
}

void error_clear(void)
{
    last.status = VECDB_OK;
    last.system = 0;
    last.message[0] = '\0';
}
