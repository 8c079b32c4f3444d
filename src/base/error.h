/* Failures: a status and a message, one per thread. The api layer copies them to the handle the call was made on. */
#ifndef VECDB_BASE_ERROR_H
#define VECDB_BASE_ERROR_H

#include "vecdb.h"

/** Record a failure of the calling thread and return its status: `return error_set(VECDB_ERR_DIM, "field %s: ...", name);` */
vecdb_status error_set(vecdb_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/** The same for a failed system call: appends the text of `system` (an errno value) and keeps the number. */
vecdb_status error_set_system(vecdb_status status, int system, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** Put words in front of the message on record: "collection films: " + "field id: ...". Returns the status on record. */
vecdb_status error_prefix(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** The calling thread's most recent failure; never NULL. */
const vecdb_error *error_last(void);
/** Take a failure from another thread (a pool worker's) as the calling thread's own. Returns its status. */
vecdb_status error_adopt(const vecdb_error *error);
/** Forget the calling thread's failure. */
void error_clear(void);

/** "out of memory" with what for, and how far a memory_limit is used up. */
void error_set_nomem(const char *what);
static inline vecdb_status error_nomem(const char *what) /* inline, so that compilers know what it returns */
{
    error_set_nomem(what);
    return VECDB_ERR_NOMEM;
}

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        vecdb_status try_status_ = (call);                                                                             \
        if (try_status_ != VECDB_OK)                                                                                   \
            return try_status_;                                                                                        \
    } while (0)

#endif
