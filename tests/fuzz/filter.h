/* One input of the filter fuzzer: an expression, and behind a zero byte, if there is one, its parameters. What compiles is
 * run plainly and with statistics and indexes, which must agree, and explained. */
#ifndef VECDB_TESTS_FUZZ_FILTER_H
#define VECDB_TESTS_FUZZ_FILTER_H

#include "support/filter_rows.h"

/** The table that inputs run on; abort()s when it cannot be made. */
struct test_table *filter_fuzz_table(void);
/** Whether the input compiled. abort()s on a wrong result. */
bool filter_fuzz_one(struct test_table *table, const uint8_t *data, size_t size);

#endif
