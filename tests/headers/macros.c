/* A user's program: C and C++ alike must take every INIT macro. */
#include "vecdb.h"

static vecdb_error error = VECDB_ERROR_INIT;
static vecdb_schema schema = VECDB_SCHEMA_INIT;
static vecdb_batch batch = VECDB_BATCH_INIT;
static vecdb_open_options open_options = VECDB_OPEN_OPTIONS_INIT;
static vecdb_write_options write_options = VECDB_WRITE_OPTIONS_INIT;
static vecdb_index_options index_options = VECDB_INDEX_OPTIONS_INIT;
static vecdb_param_info param_info = VECDB_PARAM_INFO_INIT;
static vecdb_search_request search_request = VECDB_SEARCH_REQUEST_INIT;
static vecdb_hybrid_request hybrid_request = VECDB_HYBRID_REQUEST_INIT;
static vecdb_query_request query_request = VECDB_QUERY_REQUEST_INIT;

int main(void)
{
    return !(error.size && schema.size && batch.size && open_options.size && write_options.size && index_options.size &&
             param_info.size && search_request.size && hybrid_request.size && query_request.size);
}
