/* The filter contract, for as long as only the empty filter exists. */
#include "filter/filter.h"

#include "base/mem.h"

struct filter {
    char unused;
};

vecdb_status filter_compile(const struct schema *schema, const char *text, size_t length, const char *params,
                            struct filter **out)
{
    *out = NULL;
    for (size_t i = 0; i < length; i++)
        if (!strchr(" \t\r\n", text[i]))
            return error_set(VECDB_ERR_UNSUPPORTED, "filter: expressions are not supported yet");
    *out = mem_alloc(sizeof **out);
    return *out ? VECDB_OK : error_nomem("filter");
}

void filter_free(struct filter *filter) { mem_free(filter); }
bool filter_matches_all(const struct filter *filter) { return true; }

vecdb_status filter_eval(const struct filter *filter, const struct filter_source *source, uint64_t *rows,
                         struct filter_counters *counters, vecdb_status (*check)(void *context), void *check_context)
{
    return VECDB_OK;
}
