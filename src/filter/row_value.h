/* What a row has in a column, for an operand. */
#ifndef VECDB_FILTER_ROW_VALUE_H
#define VECDB_FILTER_ROW_VALUE_H

#include "filter/plan.h"

/** A constant, a field, a path, an element or a length; not a program. NONE where there is no value. */
struct datum row_value(const struct column *column, const struct operand *operand, size_t row);

/** What a path leads to in a JSON column's row, which is valid. */
struct json row_json(const struct column *column, size_t row, const struct step *steps, size_t count);

/** Elements of an ARRAY column's row. */
struct elements {
    vecdb_type type;
    const uint8_t *data;
    size_t size, count, width;
};
struct elements row_elements(const struct column *column, size_t row);
/** NONE past the end. */
struct datum row_element(const struct elements *elements, size_t i);

/** A value of fixed width at an address: BOOL and integers; FLOAT and DOUBLE. */
int64_t row_integer(vecdb_type type, const uint8_t *at);
double row_real(vecdb_type type, const uint8_t *at);

#endif
