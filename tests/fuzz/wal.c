/* Bytes behind a log's header; the first byte chooses alignment and whether frames get right checksums. */
#include "fuzz/fuzz.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "storage/wal.h"
#include "support/simfs.h"

#include <stdlib.h>
#include <string.h>

#define SALT 0x1234567890ABCDEFull

static vecdb_status touch(void *context, const struct wal_frame *frame)
{
    uint64_t *sum = context;

    FUZZ_CHECK(frame->size <= WAL_MAX_PAYLOAD);
    for (size_t i = 0; i < frame->size; i++)
        *sum += frame->payload[i];
    return frame->type == 0xDEAD ? error_set(VECDB_ERR_CORRUPT, "asked for") : VECDB_OK;
}

/* Give every frame that fits right checksums, one behind the other. */
static void repair(uint8_t *bytes, size_t size, size_t at, uint32_t align)
{
    while (size - at >= WAL_FRAME_HEADER_SIZE) {
        uint64_t span = align_up(WAL_FRAME_HEADER_SIZE + (uint64_t)load_u32(bytes + at), align);
        if (load_u32(bytes + at) <= size - at - WAL_FRAME_HEADER_SIZE)
            store_u64(bytes + at + 24, checksum(bytes + at + WAL_FRAME_HEADER_SIZE, load_u32(bytes + at), SALT));
        store_u64(bytes + at + 32, checksum(bytes + at, 32, SALT));
        if (span > size - at)
            return;
        at += span;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t uuid[FORMAT_UUID_SIZE] = {7};
    static const uint32_t aligns[] = {8, 512, 4096, 16};
    struct wal_scan scan = {.id = 1, .epoch = 2, .uuid = uuid, .first_lsn = 10, .last = true};
    uint32_t align = size ? aligns[data[0] & 3] : 8;
    size_t start = align_up(WAL_HEADER_SIZE, align), total;
    struct simfs *fs;
    struct dir dir;
    uint64_t sum = 0;
    uint8_t *bytes;

    if (size < 1 || !(bytes = calloc(1, start + size)))
        return 0;
    format_header_write(bytes, FILE_WAL, uuid, 1);
    store_u64(bytes + 64, 2);
    store_u64(bytes + 72, 10);
    store_u64(bytes + 80, SALT);
    store_u32(bytes + 88, align);
    store_u64(bytes + 120, checksum(bytes, 120, 0));
    memcpy(bytes + start, data + 1, size - 1);
    total = start + size - 1;
    if (data[0] & 4)
        repair(bytes, total, start, align);
    if (data[0] & 8) {
        scan.last = false;
        scan.end_lsn = 10 + data[0] / 16;
    }
    fs = simfs_create();
    simfs_put(fs, "d", "wal-1.log", bytes, total);
    if (dir_open(simfs_vfs(fs), "d", false, &dir) == VECDB_OK) {
        vecdb_status status = wal_read(&dir, &scan, touch, &sum);
        FUZZ_CHECK(status == VECDB_OK || status == VECDB_ERR_CORRUPT);
        if (status == VECDB_OK) { /* what is neither frame nor dropped is zeros */
            FUZZ_CHECK(scan.end_offset + scan.dropped_bytes <= total && scan.next_lsn == 10 + scan.frame_count);
            for (size_t i = scan.end_offset + scan.dropped_bytes; i < total; i++)
                FUZZ_CHECK(bytes[i] == 0);
        }
        dir_close(&dir);
    }
    FUZZ_CHECK(simfs_open_count(fs) == 0);
    simfs_free(fs);
    free(bytes);
    return 0;
}
