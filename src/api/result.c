/* Reading results. */
#include "api/handle.h"

#include <string.h>

size_t vecdb_result_query_count(const vecdb_result *result) { return result ? result->result->query_count : 0; }

size_t vecdb_result_rows(const vecdb_result *result, size_t i, size_t *first)
{
    if (first)
        *first = 0;
    if (!result || i >= result->result->query_count)
        return 0;
    if (first)
        *first = result->result->first[i];
    return result->result->first[i + 1] - result->result->first[i];
}

static void publish(const struct result_column *column, vecdb_column *out)
{
    static const uint64_t nothing[2];

    *out = (vecdb_column){.field = column->name,
                          .type = column->type,
                          .element_type = column->element_type,
                          .dim = column->dim,
                          .data = column->data.data ? (const void *)column->data.data : (const void *)nothing,
                          .offsets = column->width ? NULL : (const uint64_t *)(const void *)column->offsets.data,
                          .valid = column->valid.size ? column->valid.data : NULL};
}

vecdb_status vecdb_result_column(const vecdb_result *result, const char *field, vecdb_column *out)
{
    const struct result_column *column;

    if (!result || !field || !out)
        return error_set(VECDB_ERR_INVALID, "result column: result, field or out is NULL");
    column = result_find(result->result, field);
    if (!column)
        return error_set(VECDB_ERR_NO_SUCH, "the result has no column %s", field);
    publish(column, out);
    return VECDB_OK;
}

vecdb_status vecdb_result_column_at(const vecdb_result *result, size_t i, vecdb_column *out)
{
    if (!result || !out)
        return error_set(VECDB_ERR_INVALID, "result column: result or out is NULL");
    if (i >= result->result->column_count)
        return VECDB_NOT_FOUND;
    publish(&result->result->columns[i], out);
    return VECDB_OK;
}

void vecdb_result_free(vecdb_result **result)
{
    if (!result || !*result)
        return;
    result_free((*result)->result);
    mem_free(*result);
    *result = NULL;
}
