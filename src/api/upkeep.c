/* Upkeep: sync, and what else is done to a database rather than with it. */
#include "api/handle.h"

vecdb_status vecdb_sync(vecdb_db *db)
{
    struct call call;

    TRY(call_begin_db(&call, db));
    return call_end(&call, database_sync(db->database));
}
