#include "support/api.h"

#include "support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void api_check_refused(vecdb_status got, vecdb_status wanted, const char *words, const char *call, const char *file, int line)
{
    char copy[256], *save = NULL;
    const char *message = vecdb_last_error(), *at = message;

    if (got != wanted)
        fail_at(file, line, "%s gave %s (%s), not %s", call, vecdb_status_name(got), got < 0 ? message : "", vecdb_status_name(wanted));
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, "|", &save); word; word = strtok_r(NULL, "|", &save)) {
        at = strstr(at, word);
        if (!at)
            fail_at(file, line, "%s: the message \"%s\" lacks \"%s\"", call, message, word);
    }
}

vecdb_collection *api_create(vecdb_db *db, const char *name, bool dynamic)
{
    const vecdb_field fields[] = {
        {.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
        {.name = "b", .type = VECDB_TYPE_BOOL, .flags = VECDB_NULLABLE},
        {.name = "i8", .type = VECDB_TYPE_INT8, .flags = VECDB_NULLABLE},
        {.name = "i16", .type = VECDB_TYPE_INT16, .flags = VECDB_NULLABLE},
        {.name = "i32", .type = VECDB_TYPE_INT32, .flags = VECDB_NULLABLE},
        {.name = "f", .type = VECDB_TYPE_FLOAT, .flags = VECDB_NULLABLE},
        {.name = "d", .type = VECDB_TYPE_DOUBLE, .flags = VECDB_NULLABLE},
        {.name = "text", .type = VECDB_TYPE_VARCHAR, .max_length = 64, .flags = VECDB_NULLABLE},
        {.name = "json", .type = VECDB_TYPE_JSON, .flags = VECDB_NULLABLE},
        {.name = "list", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_INT32, .max_capacity = 8, .flags = VECDB_NULLABLE},
        {.name = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = API_DIM},
    };
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *collection = NULL;

    schema.name = name;
    schema.fields = fields;
    schema.field_count = sizeof fields / sizeof fields[0];
    schema.dynamic = dynamic;
    if (vecdb_collection_create(db, &schema, &collection) != VECDB_OK)
        fail_msg("create: %s", vecdb_last_error());
    return collection;
}

void api_vector(int64_t key, float *vector)
{
    uint64_t state = (uint64_t)key * 0x9E3779B97F4A7C15ull + 1;

    for (int i = 0; i < API_DIM; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        vector[i] = (float)(state % 2000) / 100 - 10;
    }
}

vecdb_status api_insert(vecdb_collection *collection, int64_t first, size_t count)
{
    int64_t *ids = calloc(count, sizeof *ids);
    uint8_t *b = calloc(count, 1), *valid = calloc(count, 1);
    int8_t *i8 = calloc(count, 1);
    int16_t *i16 = calloc(count, 2);
    int32_t *i32 = calloc(count, 4), *list = calloc(count * 3, 4);
    float *f = calloc(count, 4), *vectors = calloc(count * API_DIM, 4);
    double *d = calloc(count, 8);
    vecdb_string *text = calloc(count, sizeof *text), *json = calloc(count, sizeof *json);
    char(*texts)[32] = calloc(count, 32), (*jsons)[64] = calloc(count, 64);
    uint64_t *offsets = calloc(count + 1, 8);
    vecdb_batch batch = VECDB_BATCH_INIT;
    vecdb_status status;

    for (size_t i = 0; i < count; i++) {
        int64_t key = first + (int64_t)i;
        ids[i] = key;
        valid[i] = key % 3 != 0;
        b[i] = key % 2 == 0;
        i8[i] = (int8_t)(key % 100);
        i16[i] = (int16_t)(key % 1000);
        i32[i] = (int32_t)(key % 100000);
        f[i] = (float)(key % 1000) / 4;
        d[i] = (double)key / 8;
        text[i] = (vecdb_string){texts[i], (size_t)snprintf(texts[i], 32, "text %lld \xC3\xA9", (long long)key)};
        json[i] = (vecdb_string){jsons[i], (size_t)snprintf(jsons[i], 64, "{\"n\": %lld, \"odd\": %s}", (long long)key, key % 2 ? "true" : "false")};
        offsets[i + 1] = offsets[i] + (valid[i] ? (uint64_t)(key % 4) : 0);
        for (uint64_t j = offsets[i]; j < offsets[i + 1]; j++)
            list[j] = (int32_t)(key + (int64_t)(j - offsets[i]));
        api_vector(key, vectors + i * API_DIM);
    }
    vecdb_column columns[] = {
        {.field = "id", .type = VECDB_TYPE_INT64, .data = ids},
        {.field = "b", .type = VECDB_TYPE_BOOL, .data = b, .valid = valid},
        {.field = "i8", .type = VECDB_TYPE_INT8, .data = i8, .valid = valid},
        {.field = "i16", .type = VECDB_TYPE_INT16, .data = i16, .valid = valid},
        {.field = "i32", .type = VECDB_TYPE_INT32, .data = i32, .valid = valid},
        {.field = "f", .type = VECDB_TYPE_FLOAT, .data = f, .valid = valid},
        {.field = "d", .type = VECDB_TYPE_DOUBLE, .data = d, .valid = valid},
        {.field = "text", .type = VECDB_TYPE_VARCHAR, .data = text, .valid = valid},
        {.field = "json", .type = VECDB_TYPE_JSON, .data = json, .valid = valid},
        {.field = "list", .type = VECDB_TYPE_ARRAY, .element_type = VECDB_TYPE_INT32, .data = list, .offsets = offsets, .valid = valid},
        {.field = "vector", .type = VECDB_TYPE_FLOAT_VECTOR, .dim = API_DIM, .data = vectors},
    };
    batch.columns = columns;
    batch.column_count = sizeof columns / sizeof columns[0];
    batch.row_count = count;
    status = vecdb_insert(collection, &batch, NULL);
    free(ids), free(b), free(valid), free(i8), free(i16), free(i32), free(list), free(f), free(vectors), free(d);
    free(text), free(json), free(texts), free(jsons), free(offsets);
    return status;
}

vecdb_collection *api_create_plain(vecdb_db *db, const char *name, vecdb_type type, uint32_t dim)
{
    const vecdb_field fields[] = {{.name = "id", .type = VECDB_TYPE_INT64, .flags = VECDB_PRIMARY_KEY},
                                  {.name = "vector", .type = type, .dim = dim}};
    vecdb_schema schema = VECDB_SCHEMA_INIT;
    vecdb_collection *collection = NULL;

    schema.name = name;
    schema.fields = fields;
    schema.field_count = 2;
    if (vecdb_collection_create(db, &schema, &collection) != VECDB_OK)
        fail_msg("create: %s", vecdb_last_error());
    return collection;
}

vecdb_status api_insert_plain(vecdb_collection *collection, vecdb_type type, uint32_t dim, const int64_t *keys,
                              const void *vectors, size_t count)
{
    const vecdb_column columns[] = {{.field = "id", .type = VECDB_TYPE_INT64, .data = keys},
                                    {.field = "vector", .type = type, .dim = dim, .data = vectors}};
    vecdb_batch batch = VECDB_BATCH_INIT;

    batch.columns = columns;
    batch.column_count = 2;
    batch.row_count = count;
    return vecdb_insert(collection, &batch, NULL);
}
