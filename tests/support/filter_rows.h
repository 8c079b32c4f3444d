/* A table in memory that filters can be run on, made from JSON text:
 *   schema  {"dynamic": true, "fields": [{"name": "id", "type": "INT64", "primary": true},
 *            {"name": "tags", "type": "ARRAY", "element": "VARCHAR", "nullable": true}, ...]}
 *   rows    [{"id": 1, "tags": ["a"], "other": 5}, ...]; what is left out is NULL, what is no field goes to $meta */
#ifndef VECDB_TESTS_FILTER_ROWS_H
#define VECDB_TESTS_FILTER_ROWS_H

#include "filter/filter.h"
#include "filter/scalar_index.h"

struct test_table;

/** Errors are those of the library. block_rows is a multiple of 64. */
vecdb_status test_table_create(const char *schema, const char *rows, size_t block_rows, struct test_table **out);
void test_table_free(struct test_table *table);
const struct schema *test_table_schema(const struct test_table *table);
size_t test_table_rows(const struct test_table *table);
/** Build a scalar index, save it, open it again from the bytes, and let sources show that one. */
vecdb_status test_table_add_index(struct test_table *table, const char *field, const char *kind, const char *params);
/** The table as a source; without statistics and indexes when `plain`. Valid as long as the table. */
struct filter_source test_table_source(struct test_table *table, bool plain);
/** Compile and run; `bits` has room for all rows. */
vecdb_status test_table_match(struct test_table *table, const char *expression, const char *params, bool plain,
                              uint64_t *bits);

#endif
