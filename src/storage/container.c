#include "storage/container.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mem.h"
#include "base/plant.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Header, after the 64 bytes of storage/format.h:
 *   64  u64 length of the file
 *   72  u64 offset of the section table      80  u32 sections     84  u32 size of a piece, 65536
 *   88  u64 pieces                           96  u64 checksum of the section table
 *  104  zeros                              4088  u64 checksum of bytes 0 .. 4087
 * Section table entry:
 *    0  u32 type       4  u32 field         8  u64 offset        16  u64 size
 *   24  u64 elements  32  u32 element size  36  u32 zero
 *   40  u64 checksum of the section's piece checksums (as bytes)  48  u64 its first piece   56  u64 zero
 * Footer:
 *    0  u64 length    8  u64 checksum of the header (as at 4088)  16  zeros   56  "vecdbEND"
 * The layout leaves no choice: sections follow each other at the next multiple of 4096, pieces are counted through. */
#define HEADER_CHECKSUM 4088
static const uint8_t footer_magic[8] = "vecdbEND";

void problem_report(const struct problem_sink *sink, const char *file, uint64_t offset, const char *format, ...)
{
    char what[300];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    sink->report(sink->context, file, offset, what);
}

static uint64_t padded(uint64_t size) { return align_up(size, CONTAINER_ALIGNMENT); }

static uint64_t piece_count_of(uint64_t size)
{
    return padded(size) / CONTAINER_PIECE_SIZE + (padded(size) % CONTAINER_PIECE_SIZE != 0);
}

static vecdb_status corrupt(const struct container *container, uint64_t offset, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static vecdb_status corrupt(const struct container *container, uint64_t offset, const char *format, ...)
{
    char what[300];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    return error_set(VECDB_ERR_CORRUPT, "%s, byte %" PRIu64 ": %s", container->name, offset, what);
}

/* ------------------------------------------------------------------------------------------------- reading */

static vecdb_status check_header(struct container *container, enum file_kind kind, const uint8_t *uuid,
                                 const struct container_id *expected)
{
    const uint8_t *header = container->data;
    uint64_t found;

    if (container->size < CONTAINER_HEADER_SIZE + CONTAINER_FOOTER_SIZE)
        return corrupt(container, 0, "%zu bytes are too few for a header and a footer", container->size);
    if (expected->size && expected->size != container->size)
        return corrupt(container, container->size, "the file has %zu bytes, the manifest says %" PRIu64, container->size,
                       expected->size);
    TRY(format_header_check(container->name, header, container->size, kind, uuid, expected->file_id,
                            &container->header));
    found = checksum(header, HEADER_CHECKSUM, 0);
    container->checksum = load_u64(header + HEADER_CHECKSUM);
    if (!checksum_equal(container->checksum, found))
        return corrupt(container, 0, "checksum of the header is %016" PRIx64 ", expected %016" PRIx64, found,
                       container->checksum);
    if (expected->size && !checksum_equal(expected->checksum, container->checksum))
        return corrupt(container, HEADER_CHECKSUM, "checksum of the file is %016" PRIx64 ", the manifest says %016" PRIx64,
                       container->checksum, expected->checksum);
    if (load_u64(header + 64) != container->size)
        return corrupt(container, 64, "the file has %zu bytes, its header says %" PRIu64, container->size,
                       load_u64(header + 64));
    if (load_u32(header + 84) != CONTAINER_PIECE_SIZE)
        return corrupt(container, 84, "pieces of %u bytes, expected %d", load_u32(header + 84), CONTAINER_PIECE_SIZE);
    for (size_t i = 104; i < HEADER_CHECKSUM; i++)
        if (header[i])
            return corrupt(container, i, "a reserved byte of the header is %u, expected 0", header[i]);
    return VECDB_OK;
}

static vecdb_status check_footer(const struct container *container)
{
    size_t at = container->size - CONTAINER_FOOTER_SIZE;
    const uint8_t *footer = container->data + at;

    if (memcmp(footer + 56, footer_magic, sizeof footer_magic) != 0)
        return corrupt(container, at + 56, "the footer's last bytes are wrong");
    if (load_u64(footer) != container->size)
        return corrupt(container, at, "the file has %zu bytes, its footer says %" PRIu64, container->size,
                       load_u64(footer));
    if (!checksum_equal(container->checksum, load_u64(footer + 8)))
        return corrupt(container, at + 8, "header and footer disagree about the header's checksum");
    for (size_t i = 16; i < 56; i++)
        if (footer[i])
            return corrupt(container, at + i, "a reserved byte of the footer is %u, expected 0", footer[i]);
    return VECDB_OK;
}

static vecdb_status check_entry(const struct container *container, const uint8_t *entry, size_t i, uint64_t *end,
                                uint64_t *pieces, struct container_section *out)
{
    uint64_t at = (uint64_t)(entry - container->data), bytes;

    *out = (struct container_section){.type = load_u32(entry),
                                      .field = load_u32(entry + 4),
                                      .offset = load_u64(entry + 8),
                                      .size = load_u64(entry + 16),
                                      .count = load_u64(entry + 24),
                                      .element_size = load_u32(entry + 32),
                                      .checksum = load_u64(entry + 40)};
    if (load_u32(entry + 36) || load_u64(entry + 56))
        return corrupt(container, at + 36, "section %zu: reserved bytes are not zero", i);
    if (out->offset != *end)
        return corrupt(container, at + 8, "section %zu: begins at %" PRIu64 ", expected %" PRIu64, i, out->offset, *end);
    if (out->size > container->size - out->offset)
        return corrupt(container, at + 16, "section %zu: its %" PRIu64 " bytes reach past the end of the file", i,
                       out->size);
    if (out->element_size && (__builtin_mul_overflow(out->count, (uint64_t)out->element_size, &bytes) ||
                              bytes != out->size))
        return corrupt(container, at + 24, "section %zu: %" PRIu64 " elements of %u bytes are not %" PRIu64 " bytes", i,
                       out->count, out->element_size, out->size);
    if (load_u64(entry + 48) != *pieces)
        return corrupt(container, at + 48, "section %zu: its first piece is %" PRIu64 ", expected %" PRIu64, i,
                       load_u64(entry + 48), *pieces);
    out->first_piece = (size_t)*pieces;
    *end += padded(out->size);
    *pieces += piece_count_of(out->size);
    return VECDB_OK;
}

static vecdb_status check_table(struct container *container)
{
    const uint8_t *header = container->data, *table;
    uint64_t table_at = load_u64(header + 72), pieces_at, found, end = CONTAINER_HEADER_SIZE, pieces = 0;
    uint64_t piece_count = load_u64(header + 88), room = container->size - CONTAINER_FOOTER_SIZE;
    uint32_t count = load_u32(header + 80);

    if (table_at < CONTAINER_HEADER_SIZE || table_at % CONTAINER_ALIGNMENT || table_at > room)
        return corrupt(container, 72, "the section table is at %" PRIu64 " of %zu bytes", table_at, container->size);
    if (count > CONTAINER_MAX_SECTIONS || (uint64_t)count * CONTAINER_ENTRY_SIZE > room - table_at)
        return corrupt(container, 80, "%u sections do not fit", count);
    pieces_at = table_at + (uint64_t)count * CONTAINER_ENTRY_SIZE;
    if (piece_count != (room - pieces_at) / 8 || (room - pieces_at) % 8)
        return corrupt(container, 88, "%" PRIu64 " pieces do not fit the %" PRIu64 " bytes of their checksums", piece_count,
                       room - pieces_at);
    table = container->data + table_at;
    found = checksum(table, (size_t)count * CONTAINER_ENTRY_SIZE, 0);
    if (!checksum_equal(load_u64(header + 96), found))
        return corrupt(container, table_at, "checksum of the section table is %016" PRIx64 ", expected %016" PRIx64, found,
                       load_u64(header + 96));
    container->sections = mem_array_zalloc(count ? count : 1, sizeof *container->sections);
    container->checked = mem_array_zalloc((size_t)piece_count / 64 + 1, sizeof *container->checked);
    if (!container->sections || !container->checked)
        return error_nomem(container->name);
    container->section_count = count;
    container->piece_count = (size_t)piece_count;
    container->piece_checksums = container->data + pieces_at;
    for (size_t i = 0; i < count; i++) {
        struct container_section *section = &container->sections[i];
        uint64_t at = pieces_at + 8 * pieces, bytes;
        if (end > table_at)
            break;
        TRY(check_entry(container, table + i * CONTAINER_ENTRY_SIZE, i, &end, &pieces, section));
        if (pieces > piece_count || end > table_at)
            break;
        bytes = 8 * piece_count_of(section->size);
        found = checksum(container->data + at, (size_t)bytes, 0);
        if (!checksum_equal(section->checksum, found))
            return corrupt(container, at, "section %zu: checksum of its pieces is %016" PRIx64 ", expected %016" PRIx64, i,
                           found, section->checksum);
        for (size_t j = 0; j < i; j++)
            if (container->sections[j].type == section->type && container->sections[j].field == section->field)
                return corrupt(container, table_at + i * CONTAINER_ENTRY_SIZE, "sections %zu and %zu are the same", j, i);
    }
    if (end != table_at)
        return corrupt(container, 72, "the sections end at %" PRIu64 ", the section table is at %" PRIu64, end, table_at);
    if (pieces != piece_count)
        return corrupt(container, 88, "the sections have %" PRIu64 " pieces, the header says %" PRIu64, pieces, piece_count);
    return VECDB_OK;
}

vecdb_status container_init(struct container *container, const char *name, const uint8_t *data, size_t size,
                            enum file_kind kind, const uint8_t *uuid, const struct container_id *expected)
{
    vecdb_status status;

    memset(container, 0, sizeof *container);
    snprintf(container->name, sizeof container->name, "%s", name);
    container->data = data;
    container->size = size;
    if ((status = check_header(container, kind, uuid, expected)) != VECDB_OK ||
        (status = check_footer(container)) != VECDB_OK || (status = check_table(container)) != VECDB_OK)
        container_deinit(container);
    return status;
}

void container_deinit(struct container *container)
{
    mem_free(container->sections);
    mem_free(container->checked);
    container->sections = NULL;
    container->checked = NULL;
    container->section_count = 0;
}

const struct container_section *container_find(const struct container *container, uint32_t type, uint32_t field)
{
    for (size_t i = 0; i < container->section_count; i++)
        if (container->sections[i].type == type && container->sections[i].field == field)
            return &container->sections[i];
    return NULL;
}

/* Where piece i of a section lies. */
static const uint8_t *piece_bytes(const struct container *container, const struct container_section *section, size_t i,
                                  size_t *size)
{
    uint64_t start = (uint64_t)i * CONTAINER_PIECE_SIZE, left = padded(section->size) - start;

    *size = left < CONTAINER_PIECE_SIZE ? (size_t)left : CONTAINER_PIECE_SIZE;
    return container->data + section->offset + start;
}

static bool piece_right(const struct container *container, const struct container_section *section, size_t i,
                        uint64_t *found, uint64_t *expected)
{
    size_t size;
    const uint8_t *bytes = piece_bytes(container, section, i, &size);

    *found = checksum(bytes, size, 0);
    *expected = load_u64(container->piece_checksums + 8 * (section->first_piece + i));
    return checksum_equal(*expected, *found);
}

static vecdb_status check_piece(struct container *container, const struct container_section *section, size_t i)
{
    size_t piece = section->first_piece + i;
    uint64_t found, expected;

    if (!piece_right(container, section, i, &found, &expected))
        return corrupt(container, section->offset + (uint64_t)i * CONTAINER_PIECE_SIZE,
                       "checksum of the 64 KiB from here is %016" PRIx64 ", expected %016" PRIx64, found, expected);
    atomic_fetch_or_explicit(&container->checked[piece / 64], 1ull << (piece % 64), memory_order_release);
    return VECDB_OK;
}

vecdb_status container_check(struct container *container, const struct container_section *section, uint64_t offset,
                             uint64_t size, bool *fresh)
{
    size_t last;

    if (fresh)
        *fresh = false;
    if (size == 0)
        return VECDB_OK;
    last = (size_t)((offset + size - 1) / CONTAINER_PIECE_SIZE);
    for (size_t i = (size_t)(offset / CONTAINER_PIECE_SIZE); i <= last; i++) {
        size_t piece = section->first_piece + i;
        if (atomic_load_explicit(&container->checked[piece / 64], memory_order_acquire) >> (piece % 64) & 1)
            continue;
        TRY(check_piece(container, section, i));
        if (fresh)
            *fresh = true;
    }
    return VECDB_OK;
}

vecdb_status container_check_section(struct container *container, const struct container_section *section)
{
    for (size_t i = 0; i < piece_count_of(section->size); i++)
        TRY(check_piece(container, section, i));
    return VECDB_OK;
}

size_t container_verify(const struct container *container, const struct problem_sink *sink)
{
    size_t problems = 0;

    for (size_t s = 0; s < container->section_count; s++) {
        const struct container_section *section = &container->sections[s];
        for (size_t i = 0; i < piece_count_of(section->size); i++) {
            uint64_t found, expected, at = section->offset + (uint64_t)i * CONTAINER_PIECE_SIZE;
            if (piece_right(container, section, i, &found, &expected))
                continue;
            problem_report(sink, container->name, at,
                           "checksum of the 64 KiB from byte %" PRIu64 " is %016" PRIx64 ", expected %016" PRIx64, at, found,
                           expected);
            problems++;
        }
        for (uint64_t i = section->size; i < padded(section->size); i++)
            if (container->data[section->offset + i]) {
                problem_report(sink, container->name, section->offset + i, "the byte after section %zu is %u, expected 0", s,
                               container->data[section->offset + i]);
                problems++;
                break;
            }
    }
    return problems;
}

/* ------------------------------------------------------------------------------------------------- writing */

#define BUFFER_SIZE ((size_t)1 << 20)

vecdb_status container_writer_init(struct container_writer *writer, const struct dir *dir, enum file_kind kind,
                                   const uint8_t *uuid, uint64_t id)
{
    char name[FILE_NAME_SIZE];
    vecdb_status status;

    memset(writer, 0, sizeof *writer);
    writer->dir = dir;
    writer->kind = kind;
    writer->id = id;
    memcpy(writer->uuid, uuid, FORMAT_UUID_SIZE);
    writer->offset = CONTAINER_HEADER_SIZE;
    format_file_name(kind, id, name);
    if (!(writer->buffer = mem_aligned_alloc(4096, BUFFER_SIZE + CONTAINER_PIECE_SIZE)))
        return error_nomem(name);
    status = file_open(dir, name, VFS_READ | VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &writer->file);
    if (status != VECDB_OK) {
        mem_free(writer->buffer);
        writer->buffer = NULL;
    }
    return status;
}

static vecdb_status end_piece(struct container_writer *writer)
{
    uint64_t sum = checksum(writer->buffer + writer->piece_start, writer->used - writer->piece_start, 0);

    TRY(buf_append(&writer->piece_checksums, &sum, sizeof sum));
    writer->piece_start = writer->used;
    return VECDB_OK;
}

/* Write the pieces that are complete. */
static vecdb_status flush(struct container_writer *writer)
{
    if (writer->piece_start == 0)
        return VECDB_OK;
    TRY(file_write(&writer->file, writer->offset, writer->buffer, writer->piece_start));
    writer->offset += writer->piece_start;
    writer->used -= writer->piece_start;
    memmove(writer->buffer, writer->buffer + writer->piece_start, writer->used);
    writer->piece_start = 0;
    return VECDB_OK;
}

void container_section_begin(struct container_writer *writer)
{
    writer->section_start = writer->offset + writer->used;
    writer->section_first_piece = writer->piece_checksums.size / 8;
}

vecdb_status container_section_write(struct container_writer *writer, const void *data, size_t size)
{
    const uint8_t *bytes = data;

    while (size) {
        size_t room = CONTAINER_PIECE_SIZE - (writer->used - writer->piece_start), n = size < room ? size : room;
        memcpy(writer->buffer + writer->used, bytes, n);
        writer->used += n;
        bytes += n;
        size -= n;
        if (n == room) {
            TRY(end_piece(writer));
            if (writer->used >= BUFFER_SIZE)
                TRY(flush(writer));
        }
    }
    return VECDB_OK;
}

vecdb_status container_section_end(struct container_writer *writer, uint32_t type, uint32_t field,
                                   uint32_t element_size, uint64_t count, uint64_t *checksum_out)
{
    static const uint8_t zeros[CONTAINER_ALIGNMENT];
    uint64_t size = writer->offset + writer->used - writer->section_start;
    size_t first = writer->section_first_piece;
    uint8_t entry[CONTAINER_ENTRY_SIZE] = {0};

    if (writer->section_count == CONTAINER_MAX_SECTIONS)
        return error_set(VECDB_ERR_LIMIT, "%s: more than %d sections", writer->file.name, CONTAINER_MAX_SECTIONS);
    TRY(container_section_write(writer, zeros, (size_t)(padded(size) - size)));
    if (writer->used > writer->piece_start)
        TRY(end_piece(writer));
    if (writer->used >= BUFFER_SIZE)
        TRY(flush(writer));
    store_u32(entry, type);
    store_u32(entry + 4, field);
    store_u64(entry + 8, writer->section_start);
    store_u64(entry + 16, size);
    store_u64(entry + 24, count);
    store_u32(entry + 32, element_size);
    store_u64(entry + 40, checksum(writer->piece_checksums.data + 8 * first, writer->piece_checksums.size - 8 * first, 0));
    store_u64(entry + 48, first);
    TRY(buf_append(&writer->table, entry, sizeof entry));
    writer->section_count++;
    if (checksum_out)
        *checksum_out = load_u64(entry + 40);
    return VECDB_OK;
}

vecdb_status container_section_put(struct container_writer *writer, uint32_t type, uint32_t field,
                                   uint32_t element_size, uint64_t count, const void *data, size_t size)
{
    container_section_begin(writer);
    TRY(container_section_write(writer, data, size));
    return container_section_end(writer, type, field, element_size, count, NULL);
}

/* The table, the checksums and the footer are no section: plain bytes after the last one. */
static vecdb_status write_end(struct container_writer *writer, uint8_t *header, uint64_t *size)
{
    uint64_t table_at, at, length;
    uint8_t footer[CONTAINER_FOOTER_SIZE] = {0};

    TRY(flush(writer));
    table_at = at = writer->offset;
    length = table_at + writer->table.size + writer->piece_checksums.size + CONTAINER_FOOTER_SIZE;
    format_header_write(header, writer->kind, writer->uuid, writer->id);
    store_u64(header + 64, length);
    store_u64(header + 72, table_at);
    store_u32(header + 80, (uint32_t)writer->section_count);
    store_u32(header + 84, CONTAINER_PIECE_SIZE);
    store_u64(header + 88, writer->piece_checksums.size / 8);
    store_u64(header + 96, checksum(writer->table.data, writer->table.size, 0));
    store_u64(header + HEADER_CHECKSUM, checksum(header, HEADER_CHECKSUM, 0));
    store_u64(footer, length);
    store_u64(footer + 8, load_u64(header + HEADER_CHECKSUM));
    memcpy(footer + 56, footer_magic, sizeof footer_magic);
    TRY(file_write(&writer->file, at, writer->table.data, writer->table.size));
    at += writer->table.size;
    TRY(file_write(&writer->file, at, writer->piece_checksums.data, writer->piece_checksums.size));
    at += writer->piece_checksums.size;
    TRY(file_write(&writer->file, at, footer, sizeof footer));
    TRY(file_write(&writer->file, 0, header, CONTAINER_HEADER_SIZE));
    *size = length;
    return VECDB_OK;
}

static void writer_free(struct container_writer *writer)
{
    mem_free(writer->buffer);
    writer->buffer = NULL;
    buf_deinit(&writer->table);
    buf_deinit(&writer->piece_checksums);
}

vecdb_status container_writer_finish_unsynced(struct container_writer *writer, struct container_id *out, struct file *file)
{
    uint8_t header[CONTAINER_HEADER_SIZE] = {0};

    TRY(write_end(writer, header, &out->size));
    out->file_id = writer->id;
    out->checksum = load_u64(header + HEADER_CHECKSUM);
    *file = writer->file;
    writer->file.fd = 0;
    writer_free(writer);
    return VECDB_OK;
}

vecdb_status container_writer_finish(struct container_writer *writer, struct container_id *out)
{
    bool unsynced = PLANTED(14) && writer->kind == FILE_TOMBSTONES;
    struct file file;
    vecdb_status status;

    TRY(container_writer_finish_unsynced(writer, out, &file));
    if (!unsynced && (status = file_sync(&file)) != VECDB_OK) {
        writer->file = file; /* for the abort */
        return status;
    }
    file_close(&file);
    return VECDB_OK;
}

void container_writer_abort(struct container_writer *writer)
{
    vecdb_error failure = *error_last(); /* removing may fail too; what the caller wants to hear is why it came to this */

    if (writer->file.fd) {
        file_close(&writer->file);
        (void)dir_unlink(writer->dir, writer->file.name);
        error_adopt(&failure);
    }
    writer_free(writer);
}
