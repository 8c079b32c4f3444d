/* Reading the log: what is whole, what is torn, what is damaged. */
#include "storage/wal_frame.h"

#include <assert.h>
#include <string.h>

static const uint8_t zeros[16384];

#define WINDOW_SIZE ((size_t)256 << 10)

struct reader {
    struct file file;
    uint64_t size;      /* of the file when reading began: what comes later is not looked at */
    bool growing;       /* its writer may also cut off what failed: bytes that are gone read as zeros */
    uint64_t salt;
    uint32_t align;
    struct buf window;  /* bytes window_start .. of the file, at most WINDOW_SIZE */
    uint64_t window_start;
    struct buf payload;
};

static vecdb_status read_bytes(struct reader *reader, uint64_t offset, uint8_t *data, size_t size)
{
    size_t got;

    if (!reader->growing)
        return file_read(&reader->file, offset, data, size);
    TRY(file_read_some(&reader->file, offset, data, size, &got));
    memset(data + got, 0, size - got);
    return VECDB_OK;
}

/* Bytes offset .. offset + size of the file, size at most WINDOW_SIZE, inside the file; valid until the next call. */
static vecdb_status reader_bytes(struct reader *reader, uint64_t offset, size_t size, const uint8_t **out)
{
    if (offset < reader->window_start || offset + size > reader->window_start + reader->window.size) {
        uint64_t left = reader->size - offset;
        size_t want = left < WINDOW_SIZE ? (size_t)left : WINDOW_SIZE;

        reader->window.size = 0;
        TRY(buf_reserve(&reader->window, want));
        TRY(read_bytes(reader, offset, reader->window.data, want));
        reader->window.size = want;
        reader->window_start = offset;
    }
    *out = reader->window.data + (offset - reader->window_start);
    return VECDB_OK;
}

static bool frame_header_valid(const struct reader *reader, const uint8_t *header)
{
    return load_u32(header) <= WAL_MAX_PAYLOAD && load_u16(header + 6) == 0 &&
           checksum_equal(load_u64(header + 32), wal_header_checksum(header, reader->salt)) &&
           load_u64(header + 16) < load_u64(header + 8);
}

/* Read the frame at `offset`; *good says whether it is whole and has number `lsn`. */
static vecdb_status read_frame(struct reader *reader, uint64_t offset, uint64_t lsn, bool *good,
                               struct wal_frame *frame, uint64_t *durable, uint64_t *span)
{
    uint8_t header[WAL_FRAME_HEADER_SIZE];
    const uint8_t *bytes;
    uint64_t size;

    *good = false;
    if (reader->size - offset < WAL_FRAME_HEADER_SIZE)
        return VECDB_OK;
    TRY(reader_bytes(reader, offset, WAL_FRAME_HEADER_SIZE, &bytes));
    memcpy(header, bytes, sizeof header);
    if (!frame_header_valid(reader, header) || load_u64(header + 8) != lsn)
        return VECDB_OK;
    size = load_u32(header);
    *span = align_up(WAL_FRAME_HEADER_SIZE + size, reader->align);
    if (*span > reader->size - offset)
        return VECDB_OK;
    if (*span <= WINDOW_SIZE) {
        TRY(reader_bytes(reader, offset, (size_t)*span, &bytes));
        bytes += WAL_FRAME_HEADER_SIZE;
    } else {
        reader->payload.size = 0;
        TRY(buf_reserve(&reader->payload, (size_t)*span));
        TRY(read_bytes(reader, offset + WAL_FRAME_HEADER_SIZE, reader->payload.data,
                       (size_t)*span - WAL_FRAME_HEADER_SIZE));
        bytes = reader->payload.data;
    }
    if (!checksum_equal(load_u64(header + 24),
                        checksum(bytes, PLANTED(6) ? *span - WAL_FRAME_HEADER_SIZE : size, reader->salt)))
        return VECDB_OK;
    if (memcmp(bytes + size, zeros, (size_t)(*span - WAL_FRAME_HEADER_SIZE - size)) != 0)
        return VECDB_OK;
    *frame = (struct wal_frame){lsn, load_u16(header + 4), bytes, (size_t)size};
    *durable = load_u64(header + 16);
    *good = true;
    return VECDB_OK;
}

/* The highest durable number that headers behind a bad frame know of. Frames there have numbers after `lsn`, and no more
 * of them fit than there are bytes. */
static vecdb_status look_ahead(struct reader *reader, uint64_t offset, uint64_t lsn, uint64_t *durable)
{
    const uint8_t *bytes;
    uint64_t most = lsn + (reader->size - offset) / WAL_FRAME_HEADER_SIZE;

    for (uint64_t at = offset; reader->size - at >= WAL_FRAME_HEADER_SIZE; at += 8) {
        uint64_t number;

        TRY(reader_bytes(reader, at, WAL_FRAME_HEADER_SIZE, &bytes));
        number = load_u64(bytes + 8);
        if (number >= lsn && number <= most && frame_header_valid(reader, bytes) && load_u64(bytes + 16) > *durable)
            *durable = load_u64(bytes + 16);
    }
    return VECDB_OK;
}

/* How many bytes there are from `offset` to the last one that is not zero, and to where a frame may begin. */
static vecdb_status rest_size(struct reader *reader, uint64_t offset, uint64_t *size)
{
    *size = 0;
    for (uint64_t at = offset; at < reader->size;) {
        uint64_t left = reader->size - at;
        size_t count = left < sizeof zeros ? (size_t)left : sizeof zeros;
        const uint8_t *bytes;

        TRY(reader_bytes(reader, at, count, &bytes));
        if (memcmp(bytes, zeros, count) != 0) {
            size_t last = count;
            while (!bytes[last - 1])
                last--;
            *size = at + last - offset;
        }
        at += count;
    }
    *size = align_up(*size, reader->align);
    if (*size > reader->size - offset)
        *size = reader->size - offset;
    return VECDB_OK;
}

static vecdb_status check_header(struct reader *reader, struct wal_scan *scan, uint64_t *first_offset)
{
    const char *name = reader->file.name;
    struct format_header common;
    const uint8_t *header;

    if (reader->size < WAL_HEADER_SIZE)
        return error_set(VECDB_ERR_CORRUPT, "%s: %llu bytes, too short for a header of %d", name,
                         (unsigned long long)reader->size, WAL_HEADER_SIZE);
    TRY(reader_bytes(reader, 0, WAL_HEADER_SIZE, &header));
    TRY(format_header_check(name, header, WAL_HEADER_SIZE, FILE_WAL, scan->uuid, scan->id, &common));
    if (!checksum_equal(load_u64(header + 120), checksum(header, 120, 0)))
        return error_set(VECDB_ERR_CORRUPT, "%s: checksum of the log header is %016llx, expected %016llx", name,
                         (unsigned long long)checksum(header, 120, 0), (unsigned long long)load_u64(header + 120));
    if (scan->epoch != UINT64_MAX && load_u64(header + 64) != scan->epoch)
        return error_set(VECDB_ERR_CORRUPT, "%s: written in epoch %llu, expected %llu", name,
                         (unsigned long long)load_u64(header + 64), (unsigned long long)scan->epoch);
    if (scan->first_lsn == 0)
        scan->first_lsn = load_u64(header + 72);
    if (load_u64(header + 72) != scan->first_lsn || scan->first_lsn == 0)
        return error_set(VECDB_ERR_CORRUPT, "%s: begins with write %llu, expected %llu", name,
                         (unsigned long long)load_u64(header + 72), (unsigned long long)scan->first_lsn);
    reader->salt = load_u64(header + 80);
    reader->align = load_u32(header + 88);
    if (reader->align != 8 && reader->align != 512 && reader->align != 4096)
        return error_set(VECDB_ERR_CORRUPT, "%s: frames aligned to %u: expected 8, 512 or 4096", name, reader->align);
    if (memcmp(header + 92, zeros, 28) != 0)
        return error_set(VECDB_ERR_CORRUPT, "%s: reserved bytes of the header are not zero", name);
    *first_offset = align_up(WAL_HEADER_SIZE, reader->align);
    if (*first_offset > reader->size)
        return error_set(VECDB_ERR_CORRUPT, "%s: %llu bytes, expected at least %llu", name,
                         (unsigned long long)reader->size, (unsigned long long)*first_offset);
    assert(reader->window.size >= *first_offset); /* the header was read with what follows it */
    if (memcmp(header + WAL_HEADER_SIZE, zeros, (size_t)*first_offset - WAL_HEADER_SIZE) != 0)
        return error_set(VECDB_ERR_CORRUPT, "%s: padding of the header is not zero", name);
    return VECDB_OK;
}

static vecdb_status read_frames(struct reader *reader, struct wal_scan *scan, uint64_t offset, uint64_t lsn,
                                wal_apply apply, void *context)
{
    uint64_t promised = scan->last ? 0 : scan->end_lsn, rest = 0;
    bool good = true;

    scan->frame_count = scan->dropped_bytes = 0;
    scan->end_offset = offset;
    scan->next_lsn = lsn;
    while (offset < reader->size) {
        struct wal_frame frame;
        uint64_t durable, span;

        TRY(read_frame(reader, offset, lsn, &good, &frame, &durable, &span));
        if (!good)
            break;
        TRY(apply(context, &frame));
        if (durable > promised)
            promised = durable;
        offset += span;
        lsn++;
        scan->frame_count++;
        scan->end_offset = offset;
        scan->next_lsn = lsn;
    }
    if (!good)
        TRY(rest_size(reader, offset, &rest));
    if (rest)
        TRY(look_ahead(reader, offset, lsn, &promised));
    if (promised >= lsn)
        return error_set(VECDB_ERR_CORRUPT, "%s: write %llu at offset %llu is damaged or missing, though writes up to %llu "
                         "were durable", reader->file.name, (unsigned long long)lsn, (unsigned long long)offset,
                         (unsigned long long)promised);
    if (!scan->last && (rest || lsn != scan->end_lsn + 1))
        return error_set(VECDB_ERR_CORRUPT, "%s: %llu bytes after write %llu at offset %llu, where the file should end",
                         reader->file.name, (unsigned long long)(reader->size - offset), (unsigned long long)scan->end_lsn,
                         (unsigned long long)offset);
    if (!scan->growing)
        scan->dropped_bytes = rest;
    return VECDB_OK;
}

vecdb_status wal_read(const struct dir *dir, struct wal_scan *scan, wal_apply apply, void *context)
{
    struct reader reader = {.growing = scan->growing};
    char name[FILE_NAME_SIZE];
    uint64_t first_offset = 0;
    vecdb_status status;

    format_file_name(FILE_WAL, scan->id, name);
    TRY(file_open(dir, name, VFS_READ, &reader.file));
    status = file_size(&reader.file, &reader.size);
    if (status == VECDB_OK)
        status = check_header(&reader, scan, &first_offset);
    if (status == VECDB_OK && scan->start_offset > reader.size)
        status = error_set(VECDB_ERR_CORRUPT, "%s: %llu bytes, shorter than before (%llu)", name,
                           (unsigned long long)reader.size, (unsigned long long)scan->start_offset);
    if (status == VECDB_OK)
        status = read_frames(&reader, scan, scan->start_offset ? scan->start_offset : first_offset,
                             scan->start_offset ? scan->start_lsn : scan->first_lsn, apply, context);
    file_close(&reader.file);
    buf_deinit(&reader.window);
    buf_deinit(&reader.payload);
    return status;
}
