/* libFuzzer target: make fuzz-filter. */
#include "fuzz/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct test_table *table;

    if (!table)
        table = filter_fuzz_table();
    filter_fuzz_one(table, data, size);
    return 0;
}
