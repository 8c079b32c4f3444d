/* The C side of bench/python_overhead.py: the same calls in a loop without Python, on the same handles. Loaded into the
 * Python process, so that both sides search one collection with one library, in turn. */
#include <stdint.h>
#include <time.h>
#include <vecdb.h>

double search_each(vecdb_collection *collection, vecdb_search_request *request, const float *queries, size_t count,
                   size_t dim, int64_t *keys, float *scores, size_t *counts);
double search_batch(vecdb_collection *collection, const vecdb_search_request *request, int64_t *keys, float *scores,
                    size_t *counts);
double insert(vecdb_collection *collection, const float *vectors, const int64_t *ids, size_t count, size_t dim, size_t step);

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Seconds for one search after the other; negative when one fails. */
double search_each(vecdb_collection *collection, vecdb_search_request *request, const float *queries, size_t count,
                   size_t dim, int64_t *keys, float *scores, size_t *counts)
{
    double start = now();

    for (size_t i = 0; i < count; i++) {
        request->queries = queries + i * dim;
        if (vecdb_search_into(collection, request, keys, scores, counts) < 0)
            return -1;
    }
    return now() - start;
}

/* Seconds for all in one call. */
double search_batch(vecdb_collection *collection, const vecdb_search_request *request, int64_t *keys, float *scores,
                    size_t *counts)
{
    double start = now();

    return vecdb_search_into(collection, request, keys, scores, counts) < 0 ? -1 : now() - start;
}

/* Seconds to insert rows with keys first.., in batches as Python makes them. */
double insert(vecdb_collection *collection, const float *vectors, const int64_t *ids, size_t count, size_t dim, size_t step)
{
    double start = now();

    for (size_t at = 0; at < count; at += step) {
        vecdb_column columns[2] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = ids + at},
                                   {.field = "v", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = (uint32_t)dim, .data = vectors + at * dim}};
        vecdb_batch batch = VECDB_BATCH_INIT;
        vecdb_write_options options = VECDB_WRITE_OPTIONS_INIT;
        batch.columns = columns;
        batch.column_count = 2;
        batch.row_count = count - at < step ? count - at : step;
        if (vecdb_insert(collection, &batch, &options) < 0)
            return -1;
    }
    return now() - start;
}
