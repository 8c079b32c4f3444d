/* Filters compiled lately, for those who send the same text again. */
#ifndef VECDB_FILTER_COMPILED_H
#define VECDB_FILTER_COMPILED_H

#include "filter/filter.h"

#include <pthread.h>

#define COMPILED_MOST 32

struct compiled_filters {
    pthread_mutex_t lock;
    size_t count;
    uint64_t clock;
    struct {
        struct filter *filter;
        uint64_t used;
    } entries[COMPILED_MOST];
};

void compiled_filters_init(struct compiled_filters *filters);
void compiled_filters_deinit(struct compiled_filters *filters);
/** As filter_compile(), which it spares where it can; for filter_free(). `filters` may be NULL. */
vecdb_status compiled_filters_take(struct compiled_filters *filters, const struct schema *schema, const char *text, size_t length,
                                   const char *params, struct filter **out);

#endif
