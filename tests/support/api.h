/* What tests of the public API share: a small collection with every type, and rows for it. */
#ifndef TESTS_SUPPORT_API_H
#define TESTS_SUPPORT_API_H

#include "vecdb.h"

#define API_DIM 8

/** Fail the test with the library's message unless the call succeeds (a remark is success). */
#define assert_done(call)                                                                                              \
    do {                                                                                                               \
        vecdb_status done_ = (call);                                                                                   \
        if (done_ < 0)                                                                                                 \
            fail_msg("%s: %s: %s", #call, vecdb_status_name(done_), vecdb_last_error());                               \
    } while (0)
/** The call must fail so, and its message must have all of `words` in it, in order ("field|383|384"). */
#define assert_refused(call, status, words) api_check_refused((call), (status), (words), #call, __FILE__, __LINE__)
void api_check_refused(vecdb_status got, vecdb_status wanted, const char *words, const char *call, const char *file, int line);

/** id INT64 key; b, i8, i16, i32, f, d, text, json, list: one nullable field of each scalar type; vector FLOAT_VECTOR. */
vecdb_collection *api_create(vecdb_db *db, const char *name, bool dynamic);
/** Rows first .. first + count - 1: every value follows from the key; each third row has nulls. */
vecdb_status api_insert(vecdb_collection *collection, int64_t first, size_t count);
void api_vector(int64_t key, float *vector);
/** Key and vector alone. */
vecdb_collection *api_create_plain(vecdb_db *db, const char *name, vecdb_type type, uint32_t dim);
vecdb_status api_insert_plain(vecdb_collection *collection, vecdb_type type, uint32_t dim, const int64_t *keys,
                              const void *vectors, size_t count);

#endif
