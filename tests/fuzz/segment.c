/* A segment file: opened, read in every way, verified. Checksums are believed (VECDB_FUZZ), so that the numbers behind them
 * are what is tried. */
#include "base/bytes.h"
#include "base/mem.h"
#include "storage/segment_file.h"
#include "support/one_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *context, const char *file, uint64_t offset, const char *what) {}

static void read_all(struct segment *segment)
{
    struct column_scratch scratch = {{0}};
    volatile uint64_t sum = 0;
    size_t primary = segment->schema->primary;

    for (size_t f = 0; f < segment->schema->field_count; f++) {
        for (size_t first = 0, block = 0; first < segment->row_count; first += segment->block_rows, block++) {
            size_t left = segment->row_count - first, rows = left < segment->block_rows ? left : segment->block_rows;
            struct column_stats stats;
            struct column column;
            (void)segment->ops->stats(segment, f, block, &stats);
            if (segment->ops->column(segment, f, block, rows, &scratch, &column) != VECDB_OK)
                break;
            for (size_t row = 0; row < rows; row += 7) {
                size_t bytes;
                const uint8_t *value = column_bytes(&column, row, &bytes);
                sum += column_is_valid(&column, row);
                if (bytes)
                    sum += value[0] + value[bytes - 1];
            }
        }
        for (size_t row = 0; row < segment->row_count; row += segment->row_count / 10 + 1) {
            struct column column;
            (void)segment_row(segment, f, row, &scratch, &column);
        }
    }
    for (int64_t key = 0; key < 8; key++) {
        bool found;
        uint32_t row;
        size_t length = segment->schema->fields[primary].type == VECDB_TYPE_INT64 ? 8 : 5;
        (void)segment->ops->find(segment, &key, length, segment->row_count, &found, &row);
    }
    (void)sum;
    buf_deinit(&scratch.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct problem_sink sink = {ignore, NULL};
    uint8_t *copy = size >= 4096 + 64 ? mem_dup(data, size) : NULL;
    struct container_id id = {1, 0, 0};
    struct one_file file;
    struct dir dir;
    struct segment *segment;

    if (!copy)
        return 0;
    reseal(copy, size); /* where checksums count, all but those of pages are made right */
    id.file_id = load_u64(copy + 48);
    one_file_init(&file, copy, size, &dir);
    if (segment_open(&dir, NULL, &id, NULL, 0, &segment) == VECDB_OK) {
        read_all(segment);
        (void)segment_verify(segment, &sink);
        segment_release(segment);
    }
    mem_free(copy);
    return 0;
}
