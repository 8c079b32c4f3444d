/* Pages of values and the values in them: any bytes as an entry, a section, and a value of each type. */
#include "base/bytes.h"
#include "base/mem.h"
#include "storage/block.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const vecdb_type elements[] = {VECDB_TYPE_BOOL,  VECDB_TYPE_INT8,   VECDB_TYPE_INT32, VECDB_TYPE_INT64,
                                          VECDB_TYPE_FLOAT, VECDB_TYPE_DOUBLE, VECDB_TYPE_VARCHAR};
    struct block_entry entry;
    const char *why;
    uint8_t *out;

    if (size < BLOCK_ENTRY_SIZE)
        return 0;
    entry = block_load_entry(data);
    data += BLOCK_ENTRY_SIZE;
    size -= BLOCK_ENTRY_SIZE;
    if (block_check_entry(&entry, size) == VECDB_OK && (out = mem_alloc(entry.size ? entry.size : 1))) {
        if (block_unpack(data, size, &entry, out) == VECDB_OK) {
            (void)block_value_valid(VECDB_TYPE_VARCHAR, VECDB_TYPE_NONE, out, entry.size, &why);
            (void)block_value_valid(VECDB_TYPE_JSON, VECDB_TYPE_NONE, out, entry.size, &why);
            for (size_t i = 0; i < sizeof elements / sizeof *elements; i++)
                (void)block_value_valid(VECDB_TYPE_ARRAY, elements[i], out, entry.size, &why);
        }
        mem_free(out);
    }
    (void)block_value_valid(VECDB_TYPE_JSON, VECDB_TYPE_NONE, data, size, &why);
    (void)block_value_valid(VECDB_TYPE_ARRAY, VECDB_TYPE_VARCHAR, data, size, &why);
    return 0;
}
