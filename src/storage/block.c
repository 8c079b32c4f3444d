#include "storage/block.h"

#include "base/checksum.h"
#include "base/utf8.h"
#include "schema/json.h"
#include "schema/sparse.h"
#include "schema/type.h"

#include <inttypes.h>
#include <lz4.h>

struct block_entry block_load_entry(const uint8_t *bytes)
{
    return (struct block_entry){load_u64(bytes), load_u32(bytes + 8), load_u32(bytes + 12), load_u64(bytes + 16)};
}

void block_store_entry(uint8_t *bytes, const struct block_entry *entry)
{
    store_u64(bytes, entry->offset);
    store_u32(bytes + 8, entry->stored_size);
    store_u32(bytes + 12, entry->size);
    store_u64(bytes + 16, entry->checksum);
}

size_t block_choose_page_rows(const uint32_t *sizes, size_t row_count, size_t target, size_t block_rows)
{
    uint64_t total = 0;
    size_t rows = block_rows;

    for (size_t i = 0; i < row_count; i++)
        total += sizes[i];
    if (total == 0 && rows > 64)
        rows = 64; /* nothing to go by: no value yet */
    while (rows > BLOCK_MIN_PAGE_ROWS && row_count && total / row_count * rows > target)
        rows /= 2;
    return rows;
}

vecdb_status block_pack(const uint8_t *values, size_t size, uint64_t base, struct buf *out, struct block_entry *entry)
{
    int packed = 0;

    if (size > BLOCK_MAX_PAGE_BYTES)
        return error_set(VECDB_ERR_LIMIT, "page of %zu bytes: at most %u fit", size, BLOCK_MAX_PAGE_BYTES);
    TRY(buf_reserve(out, (size_t)LZ4_compressBound((int)size)));
    if (size)
        packed = LZ4_compress_default((const char *)values, (char *)out->data + out->size, (int)size,
                                      LZ4_compressBound((int)size));
    if (packed <= 0 || (size_t)packed >= size) {
        if (size)
            memcpy(out->data + out->size, values, size);
        packed = (int)size;
    }
    *entry = (struct block_entry){base + out->size, (uint32_t)packed, (uint32_t)size,
                                  checksum(out->data + out->size, (size_t)packed, 0)};
    out->size += (size_t)packed;
    return VECDB_OK;
}

vecdb_status block_check_entry(const struct block_entry *entry, size_t section_size)
{
    if (entry->offset > section_size || entry->stored_size > section_size - entry->offset)
        return error_set(VECDB_ERR_CORRUPT, "page at %" PRIu64 ": its %u bytes reach past the section's %zu", entry->offset,
                         entry->stored_size, section_size);
    /* lz4 makes at most 255 bytes of one */
    if (entry->stored_size > entry->size || entry->size > BLOCK_MAX_PAGE_BYTES ||
        entry->size > (uint64_t)entry->stored_size * 255 + 64 * (entry->stored_size > 0))
        return error_set(VECDB_ERR_CORRUPT, "page at %" PRIu64 ": %u bytes stored cannot be %u bytes unpacked",
                         entry->offset, entry->stored_size, entry->size);
    return VECDB_OK;
}

vecdb_status block_unpack(const uint8_t *section, size_t section_size, const struct block_entry *entry, uint8_t *out)
{
    const uint8_t *stored;
    uint64_t found;
    int size;

    TRY(block_check_entry(entry, section_size));
    stored = section + entry->offset;
    found = checksum(stored, entry->stored_size, 0);
    if (!checksum_equal(entry->checksum, found))
        return error_set(VECDB_ERR_CORRUPT, "page at %" PRIu64 ": checksum %016" PRIx64 ", expected %016" PRIx64,
                         entry->offset, found, entry->checksum);
    if (entry->stored_size == entry->size) {
        if (entry->size)
            memcpy(out, stored, entry->size);
        return VECDB_OK;
    }
    size = LZ4_decompress_safe((const char *)stored, (char *)out, (int)entry->stored_size, (int)entry->size);
    if (size != (int)entry->size)
        return error_set(VECDB_ERR_CORRUPT, "page at %" PRIu64 ": lz4 gave %d bytes, expected %u", entry->offset, size,
                         entry->size);
    return VECDB_OK;
}

uint64_t block_sum_sizes(const uint8_t *sizes, unsigned width, size_t first, size_t row_count)
{
    uint64_t sum = 0;

    for (size_t i = first; i < first + row_count; i++)
        sum += block_size_at(sizes, width, i);
    return sum;
}

uint64_t block_offsets(const uint8_t *sizes, unsigned width, size_t first, size_t row_count, uint32_t *offsets)
{
    uint64_t end = 0;

    offsets[0] = 0;
    for (size_t i = 0; i < row_count; i++)
        offsets[i + 1] = (uint32_t)(end += block_size_at(sizes, width, first + i));
    return end;
}

static bool array_valid(vecdb_type element_type, const uint8_t *data, size_t size, const char **why)
{
    size_t width = type_width(element_type, 1), count, rest;
    uint32_t start = 0;

    if (element_type != VECDB_TYPE_VARCHAR) {
        *why = "an array is no whole number of elements";
        if (!width || size % width || size / width > VECDB_MAX_CAPACITY)
            return false;
        *why = "an array of booleans holds something else";
        for (size_t i = 0; element_type == VECDB_TYPE_BOOL && i < size; i++)
            if (data[i] > 1)
                return false;
        return true;
    }
    *why = "an array of strings is cut short";
    if (size < 4)
        return false;
    count = load_u32(data);
    if (count > VECDB_MAX_CAPACITY || count > (size - 4) / 4)
        return false;
    rest = size - 4 - 4 * count;
    data += 4;
    *why = "the ends of an array's strings do not fit";
    for (size_t i = 0; i < count; i++) {
        uint32_t end = load_u32(data + 4 * i);
        if (end < start || end > rest)
            return false;
        start = end;
    }
    if (start != rest)
        return false;
    *why = "a string in an array is not UTF-8";
    start = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t end = load_u32(data + 4 * i);
        if (!utf8_valid((const char *)data + 4 * count + start, end - start, NULL))
            return false;
        start = end;
    }
    return true;
}

bool block_value_valid(vecdb_type type, vecdb_type element_type, const uint8_t *data, size_t size, const char **why)
{
    switch (type) {
    case VECDB_TYPE_VARCHAR:
        *why = "a string is longer than strings can be";
        if (size > VECDB_MAX_VARCHAR)
            return false;
        *why = "a string is not UTF-8";
        return utf8_valid((const char *)data, size, NULL);
    case VECDB_TYPE_JSON:
        *why = "a JSON value is malformed";
        return json_check(data, size);
    case VECDB_TYPE_ARRAY:
        return array_valid(element_type, data, size, why);
    case VECDB_TYPE_SPARSE_FLOAT_VECTOR:
        return sparse_check(data, size, why);
    default:
        *why = "values of this type have a fixed width";
        return false;
    }
}
