#include "api/handle.h"

#include <string.h>
#include <unistd.h>

void failure_init(struct failure *failure)
{
    pthread_mutex_init(&failure->lock, NULL);
    failure->error = (vecdb_error)VECDB_ERROR_INIT;
}

void failure_deinit(struct failure *failure) { pthread_mutex_destroy(&failure->lock); }

vecdb_status failure_copy(struct failure *failure, vecdb_error *out)
{
    uint32_t size = out->size;

    if (size < offsetof(vecdb_error, message) + 1)
        return error_set(VECDB_ERR_MISUSE, "vecdb_error: size is %u; set it with VECDB_ERROR_INIT", size);
    if (size > sizeof *out)
        memset((char *)out + sizeof *out, 0, size - sizeof *out);
    pthread_mutex_lock(&failure->lock);
    memcpy(out, &failure->error, size < sizeof *out ? size : sizeof *out);
    pthread_mutex_unlock(&failure->lock);
    out->size = size;
    ((char *)out)[(size < sizeof *out ? size : sizeof *out) - 1] = '\0';
    return VECDB_OK;
}

static vecdb_status check_db(const vecdb_db *db)
{
    if (!db)
        return error_set(VECDB_ERR_MISUSE, "the database handle is NULL");
    if (db->magic != DB_MAGIC)
        return error_set(VECDB_ERR_MISUSE, "the database handle is closed or was never one");
    if (db->pid != getpid())
        return error_set(VECDB_ERR_MISUSE, "the database was opened by process %ld, and a fork may not use it",
                         (long)db->pid);
    return VECDB_OK;
}

vecdb_status call_begin_db(struct call *call, vecdb_db *db)
{
    TRY(check_db(db));
    call->failure = &db->failure;
    call->before = mem_account_enter(db->database->account);
    return VECDB_OK;
}

vecdb_status call_begin_collection(struct call *call, vecdb_collection *collection)
{
    if (!collection)
        return error_set(VECDB_ERR_MISUSE, "the collection handle is NULL");
    if (collection->magic != COLLECTION_MAGIC)
        return error_set(VECDB_ERR_MISUSE, "the collection handle is closed or was never one");
    TRY(check_db(collection->db));
    call->failure = &collection->failure;
    call->before = mem_account_enter(collection->db->database->account);
    return VECDB_OK;
}

vecdb_status call_end(struct call *call, vecdb_status status)
{
    mem_account_enter(call->before);
    if (status < 0) {
        pthread_mutex_lock(&call->failure->lock);
        call->failure->error = *error_last();
        call->failure->error.status = status;
        pthread_mutex_unlock(&call->failure->lock);
    }
    return status;
}

vecdb_status struct_read(const char *name, const void *from, void *to, size_t to_size)
{
    uint32_t size;

    if (!from)
        return error_set(VECDB_ERR_INVALID, "%s is NULL", name);
    memcpy(&size, from, sizeof size);
    if (size < sizeof size * 2 || size > 65536)
        return error_set(VECDB_ERR_MISUSE, "%s: size is %u; set it with the INIT macro", name, size);
    memcpy(to, from, size < to_size ? size : to_size); /* what is beyond keeps the caller's defaults */
    for (size_t i = to_size; i < size; i++)
        if (((const char *)from)[i])
            return error_set(VECDB_ERR_UNSUPPORTED, "%s: the program asks for what this vecdb does not know", name);
    return VECDB_OK;
}
