/* Single values: from JSON to the bytes a column keeps, and back to JSON text. */
#ifndef VECDB_SCHEMA_VALUE_H
#define VECDB_SCHEMA_VALUE_H

#include "schema/json.h"
#include "schema/schema.h"

/** Append the bytes that a column of `field` keeps for a JSON value; VECDB_ERR_TYPE or _LIMIT names what does not fit. */
vecdb_status value_from_json(const struct field *field, struct json value, struct buf *out);
/** Append a row's value as JSON text; null when it has none. Vectors are arrays of numbers (binary ones: of bytes),
 * sparse ones objects of numbers by index. */
vecdb_status value_print_json(const struct column *column, size_t row, struct buf *out);
/** Smallest and largest of an integer type. */
void value_integer_range(vecdb_type type, int64_t *low, int64_t *high);

#endif
