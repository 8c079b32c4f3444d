/* Values of differing length (VARCHAR, JSON, ARRAY) in a sealed segment: their bytes in pages compressed by lz4, their
 * sizes apart, in a plain array, so that one value is found without unpacking more than its page. Works on memory; knows
 * no files.
 *
 *   sizes   one u8, u16 or u32 a row (the narrowest that holds the longest value)
 *   page    the values of page_rows rows, one after another, as one lz4 block; or as they are when that is not smaller
 *   entry   24 bytes a page: u64 offset (in the section of pages), u32 stored size, u32 size unpacked, u64 checksum of the
 *           stored bytes. Stored size = size unpacked: the page is not compressed. Pages lie one after another without gaps.
 *
 * page_rows is a power of two, BLOCK_MIN_PAGE_ROWS .. the segment's block_rows.
 */
#ifndef VECDB_STORAGE_BLOCK_H
#define VECDB_STORAGE_BLOCK_H

#include "base/buf.h"
#include "base/bytes.h"
#include "schema/column.h"

#define BLOCK_ENTRY_SIZE 24
#define BLOCK_MIN_PAGE_ROWS 16
#define BLOCK_MAX_PAGE_BYTES 0x7E000000u /* what lz4 takes */

struct block_entry {
    uint64_t offset;
    uint32_t stored_size, size;
    uint64_t checksum;
};

struct block_entry block_load_entry(const uint8_t *bytes);
void block_store_entry(uint8_t *bytes, const struct block_entry *entry);

/** Rows in a page so that it unpacks to about `target` bytes, given the sizes of the first rows. */
size_t block_choose_page_rows(const uint32_t *sizes, size_t row_count, size_t target, size_t block_rows);

/** Append one page to `out`. *entry receives where and what; its offset is counted from `base`, the bytes written before
 * out->data[0]. VECDB_ERR_LIMIT when size > BLOCK_MAX_PAGE_BYTES. */
vecdb_status block_pack(const uint8_t *values, size_t size, uint64_t base, struct buf *out, struct block_entry *entry);

/** Whether an entry can be true of a section of this size; look before making room for entry->size bytes. */
vecdb_status block_check_entry(const struct block_entry *entry, size_t section_size);
/** Unpack a page into exactly entry->size bytes at `out`. The entry and the bytes may hold anything: VECDB_ERR_CORRUPT says
 * what does not fit. */
vecdb_status block_unpack(const uint8_t *section, size_t section_size, const struct block_entry *entry, uint8_t *out);

/** Bytes a size takes: 1, 2 or 4. */
static inline unsigned block_size_width(uint32_t longest) { return longest <= 0xFF ? 1 : longest <= 0xFFFF ? 2 : 4; }
/** Row's size in an array of sizes `width` bytes wide. */
static inline uint32_t block_size_at(const uint8_t *sizes, unsigned width, size_t row)
{
    return width == 1 ? sizes[row] : width == 2 ? load_u16(sizes + 2 * row) : load_u32(sizes + 4 * row);
}
/** Sum of the sizes of `row_count` rows from `first` on. */
uint64_t block_sum_sizes(const uint8_t *sizes, unsigned width, size_t first, size_t row_count);
/** Offsets (row_count + 1, the first is 0) from sizes. Returns the sum, which must fit 32 bits for them to be right. */
uint64_t block_offsets(const uint8_t *sizes, unsigned width, size_t first, size_t row_count, uint32_t *offsets);

/** Whether bytes are a value of this type, as schema/column.h says; if not, *why receives a phrase about it. For ARRAY,
 * `element_type` and, for fixed-width ones, nothing more is needed. */
bool block_value_valid(vecdb_type type, vecdb_type element_type, const uint8_t *data, size_t size, const char **why);

#endif
