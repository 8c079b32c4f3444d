/* Uses the plug-in of pivots.c: builds its index, finds the same as a scan does, closes, opens again, finds it again.
 * With a directory given, the database lives there. */
#include "pivots.h"

#include <stdio.h>
#include <stdlib.h>

enum { DIM = 8, ROWS = 5000, K = 10 };

static void need(vecdb_status status)
{
    if (status < 0) {
        fprintf(stderr, "%s\n", vecdb_last_error());
        exit(1);
    }
}

static float at(unsigned i) { return (float)((i * 2654435761u >> 8) % 1000) / 100; }

static size_t differing(vecdb_collection *rows, const char *filter)
{
    vecdb_search_request request = VECDB_SEARCH_REQUEST_INIT;
    int64_t found[K], scanned[K];
    float query[DIM];
    size_t differ = 0;

    for (unsigned q = 0; q < 50; q++) {
        for (unsigned i = 0; i < DIM; i++)
            query[i] = at(1000000 + q * DIM + i);
        request.queries = query, request.dim = DIM, request.query_count = 1, request.limit = K;
        request.metric = (vecdb_metric)PIVOTS_METRIC_L1, request.filter = filter;
        request.exact = false;
        need(vecdb_search_into(rows, &request, found, NULL, NULL));
        request.exact = true;
        need(vecdb_search_into(rows, &request, scanned, NULL, NULL));
        for (int i = 0; i < K; i++)
            differ += found[i] != scanned[i];
    }
    return differ;
}

int main(int argc, char **argv)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM}};
    static float vectors[ROWS][DIM];
    static int64_t keys[ROWS];
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_index_options index = VECDB_INDEX_OPTIONS_INIT;
    vecdb_collection *rows;
    vecdb_db *db;
    size_t differ;
    char *text;

    need(pivots_register());
    for (unsigned i = 0; i < ROWS; i++) {
        keys[i] = i;
        for (unsigned d = 0; d < DIM; d++)
            vectors[i][d] = at(i * DIM + d);
    }
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                                    {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = DIM, .data = vectors}};
    need(vecdb_open(argc > 1 ? argv[1] : NULL, NULL, &db));
    schema.name = "rows", schema.fields = fields, schema.field_count = 2;
    need(vecdb_collection_create(db, &schema, &rows));
    batch.columns = columns, batch.column_count = 2, batch.row_count = ROWS;
    need(vecdb_insert(rows, &batch, NULL));
    need(vecdb_flush(rows));
    index.field = "v", index.type = "PIVOTS", index.metric = (vecdb_metric)PIVOTS_METRIC_L1, index.params = "pivots=24";
    need(vecdb_index_create(rows, &index));
    differ = differing(rows, NULL) + differing(rows, "divides(id, 3) and id > 9");
    if (argc > 1) {
        need(vecdb_collection_close(&rows));
        need(vecdb_close(&db));
        need(vecdb_open(argv[1], NULL, &db));
        need(vecdb_collection_open(db, "rows", &rows));
        differ += differing(rows, NULL);
    }
    need(vecdb_index_describe(rows, "v", &text));
    printf("%s\n%zu hits differ from a scan's\n", text, differ);
    vecdb_free(text);
    need(vecdb_collection_close(&rows));
    need(vecdb_close(&db));
    return differ != 0;
}
