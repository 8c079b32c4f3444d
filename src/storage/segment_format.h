/* What a sealed segment's file holds; for segment_writer.c and segment_file.c only. A container (storage/container.h) of
 * kind FILE_SEGMENT with these sections:
 *
 *   INFO       see below
 *   SCHEMA     schema_encode() of the rows' schema: a segment can be read without the manifest
 * and for field numbers of that schema
 *   VALUES     fixed width and vectors: row_count x width, as schema/column.h lays them out; rows without a value are zeros
 *   VALID      a bit for each row that has a value, in u64 words, bits past the last row clear; when some row has none
 *   PACKED, PAGES, SIZES   VARCHAR, JSON, ARRAY: pages, their entries, the rows' sizes (storage/block.h)
 *   STATS      for each block of block_rows rows of a field that is no vector, 24 bytes: u32 rows without a value, u32 1 when
 *              there is a range, then low and high as i64 (BOOL, INT8..INT64) or f64 (FLOAT, DOUBLE)
 *   KEYS       field: the primary key; i64 keys or u64 hashes in ascending order (storage/key_index.h)
 *   KEY_ROWS   u32 row of each of them
 *   KEY_FILTER 32-byte blocks
 * A field in which no row has a value has none of VALUES, VALID, PACKED, PAGES, SIZES (vectors: it has VALUES and VALID).
 * KEYS and KEY_ROWS are left out when the keys are INT64 and ascend with the rows.
 *
 * INFO:   0 u64 rows       8 u64 collection   16 u64 partition   24 u64 last write that is in it (0: not recorded)
 *        32 u32 block_rows 36 u32 fields      40 u32 1 when keys ascend with the rows   44 u32 zero
 *        then for each field 24 bytes:
 *         0 u32 1 when no row has a value     4 u32 rows a page (PACKED), else 0
 *         8 u64 rows without a value         16 u64 bytes of all values (PACKED), else 0
 */
#ifndef VECDB_STORAGE_SEGMENT_FORMAT_H
#define VECDB_STORAGE_SEGMENT_FORMAT_H

enum segment_section { /* stored: a number is never reused */
    SECTION_INFO = 1,
    SECTION_SCHEMA = 2,
    SECTION_VALUES = 3,
    SECTION_VALID = 4,
    SECTION_PACKED = 5,
    SECTION_PAGES = 6,
    SECTION_SIZES = 7,
    SECTION_STATS = 8,
    SECTION_KEYS = 9,
    SECTION_KEY_ROWS = 10,
    SECTION_KEY_FILTER = 11,
};

#define SEGMENT_INFO_SIZE 48
#define SEGMENT_FIELD_INFO_SIZE 24
#define SEGMENT_STATS_SIZE 24
#define SEGMENT_MAX_ROWS 0x7FFFFFFFu /* row numbers are u32, and shifting one by 31 gives 0 */
#define SEGMENT_MIN_BLOCK_ROWS 64
#define SEGMENT_MAX_BLOCK_ROWS 65536

#endif
