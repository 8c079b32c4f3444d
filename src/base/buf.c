#include "base/buf.h"

#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void buf_deinit(struct buf *buf)
{
    mem_free(buf->data);
    *buf = (struct buf){0};
}

vecdb_status buf_reserve(struct buf *buf, size_t extra)
{
    size_t need, capacity;
    uint8_t *data;

    if (extra <= buf->capacity - buf->size)
        return VECDB_OK;
    if (__builtin_add_overflow(buf->size, extra, &need))
        return error_set(VECDB_ERR_NOMEM, "buffer of %zu bytes: %zu more overflow", buf->size, extra);
    capacity = buf->capacity + buf->capacity / 2;
    if (capacity < need)
        capacity = need;
    if (capacity < 64)
        capacity = 64;
    data = mem_realloc(buf->data, capacity);
    if (!data)
        return error_set(VECDB_ERR_NOMEM, "buffer of %zu bytes: out of memory", capacity);
    buf->data = data;
    buf->capacity = capacity;
    return VECDB_OK;
}

vecdb_status buf_append(struct buf *buf, const void *data, size_t size)
{
    TRY(buf_reserve(buf, size));
    if (size && data)
        memcpy(buf->data + buf->size, data, size);
    else if (size)
        memset(buf->data + buf->size, 0, size);
    buf->size += size;
    return VECDB_OK;
}

vecdb_status buf_append_text(struct buf *buf, const char *text) { return buf_append(buf, text, strlen(text)); }

vecdb_status buf_printf(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    int need;

    va_start(arguments, format);
    need = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (need < 0)
        return error_set(VECDB_ERR_INVALID, "cannot format text");
    TRY(buf_reserve(buf, (size_t)need + 1));
    va_start(arguments, format);
    vsnprintf((char *)buf->data + buf->size, (size_t)need + 1, format, arguments);
    va_end(arguments);
    buf->size += (size_t)need;
    return VECDB_OK;
}

vecdb_status buf_append_json_string(struct buf *buf, const char *text, size_t length)
{
    size_t start = 0;

    TRY(buf_append(buf, "\"", 1));
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        TRY(buf_append(buf, text + start, i - start));
        if (c == '"' || c == '\\')
            TRY(buf_printf(buf, "\\%c", c));
        else if (c == '\n')
            TRY(buf_append(buf, "\\n", 2));
        else
            TRY(buf_printf(buf, "\\u%04x", c));
        start = i + 1;
    }
    TRY(buf_append(buf, text + start, length - start));
    return buf_append(buf, "\"", 1);
}

vecdb_status buf_align(struct buf *buf, size_t alignment)
{
    return buf_append(buf, NULL, (size_t)(-buf->size) & (alignment - 1));
}

char *buf_take_text(struct buf *buf)
{
    char *text;

    if (buf_append(buf, "", 1) != VECDB_OK)
        return NULL;
    text = (char *)buf->data;
    *buf = (struct buf){0};
    return text;
}
