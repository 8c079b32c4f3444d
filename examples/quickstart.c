#include <stdio.h>
#include <vecdb.h>
int main(void)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "year", .type = VECDB_TYPE_INT32},
                                  {.name = "place", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    schema.name = "films", schema.fields = fields, schema.field_count = 3;
    const int64_t ids[] = {1, 2, 3};
    const int years[] = {1977, 1999, 2014};
    const float places[] = {0, 1, 3, 4, 6, 8}, query[] = {3, 3};
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
                                    {.field = "year", .type = VECDB_TYPE_INT32, .data = years},
                                    {.field = "place", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = 2, .data = places}};
    vecdb_batch batch = VECDB_BATCH_INIT;
    batch.columns = columns, batch.column_count = 3, batch.row_count = 3;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    index.field = "place", index.type = "FLAT", index.metric = VECDB_METRIC_L2;
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    request.queries = query, request.dim = 2, request.query_count = 1, request.limit = 2;
    request.filter = "year > 1980";
    vecdb_db *db; vecdb_collection *films; int64_t keys[2]; float scores[2]; size_t count;
    if (vecdb_open(NULL, NULL, &db) || vecdb_collection_create(db, &schema, &films) || vecdb_insert(films, &batch, NULL) ||
        vecdb_index_create(films, &index) || vecdb_search_into(films, &request, keys, scores, &count) < 0)
        return fprintf(stderr, "%s\n", vecdb_last_error()), 1;
    for (size_t i = 0; i < count; i++)
        printf("film %lld at squared distance %g\n", (long long)keys[i], scores[i]);
    return vecdb_collection_close(&films) || vecdb_close(&db);
}
