#include "filter/compiled.h"

#include "filter/plan.h"

#include <string.h>

void compiled_filters_init(struct compiled_filters *filters)
{
    *filters = (struct compiled_filters){0};
    pthread_mutex_init(&filters->lock, NULL);
}

void compiled_filters_deinit(struct compiled_filters *filters)
{
    for (size_t i = 0; i < filters->count; i++)
        filter_free(filters->entries[i].filter);
    pthread_mutex_destroy(&filters->lock);
}

static bool is_of(const struct filter *filter, const struct schema *schema, const char *text, size_t length, const char *params,
                  size_t more)
{
    const uint8_t *key = filter->key.data;

    return filter->schema == schema && filter->key.size == length + (params ? 1 + more : 0) && memcmp(key, text, length) == 0 &&
           (!params || (key[length] == 0 && memcmp(key + length + 1, params, more) == 0));
}

/* The filter, retained, or NULL. */
static struct filter *find(struct compiled_filters *filters, const struct schema *schema, const char *text, size_t length,
                           const char *params)
{
    size_t more = params ? strlen(params) : 0;
    struct filter *found = NULL;

    pthread_mutex_lock(&filters->lock);
    for (size_t i = 0; i < filters->count && !found; i++)
        if (is_of(filters->entries[i].filter, schema, text, length, params, more)) {
            found = filter_retain(filters->entries[i].filter);
            filters->entries[i].used = ++filters->clock;
        }
    pthread_mutex_unlock(&filters->lock);
    return found;
}

/* In place of the one used longest ago, if need be. */
static void put(struct compiled_filters *filters, struct filter *filter)
{
    struct filter *replaced = NULL;
    size_t at = 0;

    pthread_mutex_lock(&filters->lock);
    for (size_t i = 0; i < filters->count; i++)
        if (filters->entries[i].used < filters->entries[at].used)
            at = i;
    if (filters->count < COMPILED_MOST)
        at = filters->count++;
    else
        replaced = filters->entries[at].filter;
    filters->entries[at].filter = filter_retain(filter);
    filters->entries[at].used = ++filters->clock;
    pthread_mutex_unlock(&filters->lock);
    filter_free(replaced);
}

vecdb_status compiled_filters_take(struct compiled_filters *filters, const struct schema *schema, const char *text, size_t length,
                                   const char *params, struct filter **out)
{
    const struct schema *of;
    uint64_t hash;
    size_t size;

    if (filters && (*out = find(filters, schema, text, length, params)))
        return VECDB_OK;
    TRY(filter_compile(schema, text, length, params, out));
    if (filters && filter_key(*out, &of, &size, &hash))
        put(filters, *out);
    return VECDB_OK;
}
