/* Which values a field may have in the rows that a filter finds. */
#ifndef VECDB_FILTER_VALUES_H
#define VECDB_FILTER_VALUES_H

#include "filter/filter.h"

/**
 * The values of an INT64 or VARCHAR field that `==` or `in` leave, as they lie in a column. May be called with more than
 * match.
 * @param visit  called for each; in no order.
 * @return false when the filter says nothing of the kind about the field: any value may be in a row that it finds.
 */
bool filter_field_values(const struct filter *filter, size_t field,
                         void (*visit)(void *context, const void *value, size_t size), void *context);

#endif
