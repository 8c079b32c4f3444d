/* A byte buffer that grows. Zero-initialise it; deinit gives the memory back. */
#ifndef VECDB_BASE_BUF_H
#define VECDB_BASE_BUF_H

#include "base/error.h"

struct buf {
    uint8_t *data;
    size_t size, capacity;
};

void buf_deinit(struct buf *buf);
/** Room for `extra` more bytes; on failure the buffer is as before. */
vecdb_status buf_reserve(struct buf *buf, size_t extra);
/** Append bytes; `data` NULL appends zeros. */
vecdb_status buf_append(struct buf *buf, const void *data, size_t size);
vecdb_status buf_append_text(struct buf *buf, const char *text);
/** Append as printf does, without the terminating zero. */
vecdb_status buf_printf(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** Append a JSON string literal, quoted and escaped. */
vecdb_status buf_append_json_string(struct buf *buf, const char *text, size_t length);
/** Append zeros until size is a multiple of `alignment` (a power of two). */
vecdb_status buf_align(struct buf *buf, size_t alignment);
/** Take the contents as a zero-terminated text for mem_free(); the buffer is empty again. NULL when out of memory. */
char *buf_take_text(struct buf *buf);

#endif
