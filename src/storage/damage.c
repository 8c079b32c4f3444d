/* Every checksum covers one run of bytes, so the first one that is wrong says where to look. Where each is stored, and what it covers,
 * is in docs/format.md; nothing that a file says is believed before its own checksum is right, nor then without its bounds. */
#include "storage/damage.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/checksum_find.h"
#include "storage/container.h"
#include "storage/format.h"
#include "storage/manifest.h"
#include "storage/wal.h"

struct search {
    struct file file;
    uint64_t size;
    struct buf bytes;
    struct damage *out;
};

enum verdict {
    RIGHT,
    FOUND,
    LOST, /* more than a byte is wrong, or what says where the bytes are is */
};

/* `size` bytes from `offset` into search->bytes. */
static bool get(struct search *search, uint64_t offset, uint64_t size)
{
    search->bytes.size = 0;
    if (offset > search->size || size > search->size - offset || size > CHECKSUM_FIND_MAX + 1 ||
        buf_reserve(&search->bytes, (size_t)size + 1) != VECDB_OK ||
        file_read(&search->file, offset, search->bytes.data, (size_t)size) != VECDB_OK)
        return false;
    search->bytes.size = (size_t)size;
    return true;
}

static bool get_number(struct search *search, uint64_t offset, uint64_t *out)
{
    uint8_t bytes[8];

    if (search->size < 8 || offset > search->size - 8 || file_read(&search->file, offset, bytes, 8) != VECDB_OK)
        return false;
    *out = load_u64(bytes);
    return true;
}

static enum verdict found(struct search *search, uint64_t offset, uint8_t is, uint8_t was)
{
    *search->out = (struct damage){offset, is, was};
    return FOUND;
}

/* Numbers that should be the same, the first one stored at `offset`: whether one byte of it is another. */
static enum verdict compare(struct search *search, uint64_t offset, uint64_t is, uint64_t was)
{
    unsigned shift = 0;

    if (is == was)
        return RIGHT;
    while (!((is ^ was) >> shift & 0xFF))
        shift += 8;
    if ((is ^ was) >> shift > 0xFF)
        return LOST;
    return found(search, offset + shift / 8, (uint8_t)(is >> shift), (uint8_t)(was >> shift));
}

/* Bytes under a checksum, which is stored at `stored_at`. */
static enum verdict look(struct search *search, uint64_t offset, uint64_t size, uint64_t seed, uint64_t stored_at)
{
    uint64_t expected, computed;
    enum verdict verdict;
    uint8_t was;
    size_t at;

    if (!get_number(search, stored_at, &expected) || !get(search, offset, size))
        return LOST;
    computed = checksum(search->bytes.data, (size_t)size, seed);
    verdict = compare(search, stored_at, expected, computed);
    if (verdict == LOST && checksum_find_byte(search->bytes.data, (size_t)size, seed, expected, &at, &was))
        return found(search, offset + at, search->bytes.data[at], was);
    return verdict;
}

static enum verdict look_at_zeros(struct search *search, uint64_t from, uint64_t to)
{
    enum verdict verdict = RIGHT;

    if (to <= from)
        return RIGHT;
    if (!get(search, from, to - from))
        return LOST;
    for (uint64_t i = 0; i < to - from; i++)
        if (search->bytes.data[i])
            verdict = verdict == RIGHT ? found(search, from + i, search->bytes.data[i], 0) : LOST;
    return verdict;
}

/* The section's checksums, which the table's checksum covers, then the piece that `near` lies in. */
static enum verdict look_at_section(struct search *search, uint64_t entry, uint64_t pieces_at, uint64_t near)
{
    uint64_t offset, size, first, pieces, piece, left;
    enum verdict verdict;

    if (!get_number(search, entry + 8, &offset) || !get_number(search, entry + 16, &size) ||
        !get_number(search, entry + 48, &first) || offset > search->size || size > search->size - offset ||
        first > search->size / 8)
        return LOST;
    size = (size + CONTAINER_ALIGNMENT - 1) / CONTAINER_ALIGNMENT * CONTAINER_ALIGNMENT;
    pieces = (size + CONTAINER_PIECE_SIZE - 1) / CONTAINER_PIECE_SIZE;
    verdict = RIGHT;
    if (8 * pieces <= CHECKSUM_FIND_MAX) /* of more than 1 GiB they are too many; pieces are reported only if they are right */
        verdict = look(search, pieces_at + 8 * first, 8 * pieces, 0, entry + 40);
    if (verdict != RIGHT || near < offset || near >= offset + size)
        return verdict;
    piece = (near - offset) / CONTAINER_PIECE_SIZE;
    left = size - piece * CONTAINER_PIECE_SIZE;
    return look(search, offset + piece * CONTAINER_PIECE_SIZE, left < CONTAINER_PIECE_SIZE ? left : CONTAINER_PIECE_SIZE, 0,
                pieces_at + 8 * (first + piece));
}

static enum verdict look_at_footer(struct search *search)
{
    uint64_t at = search->size - CONTAINER_FOOTER_SIZE, checksum_of_header, numbers[3], magic;
    enum verdict verdict;

    memcpy(&magic, "vecdbEND", 8);
    if (!get_number(search, CONTAINER_HEADER_SIZE - 8, &checksum_of_header))
        return LOST;
    for (int i = 0; i < 3; i++)
        if (!get_number(search, at + (uint64_t[]){0, 8, 56}[i], &numbers[i]))
            return LOST;
    verdict = compare(search, at, numbers[0], search->size);
    if (verdict == RIGHT)
        verdict = compare(search, at + 8, numbers[1], checksum_of_header);
    if (verdict == RIGHT)
        verdict = compare(search, at + 56, numbers[2], magic);
    return verdict == RIGHT ? look_at_zeros(search, at + 16, at + 56) : verdict;
}

static enum verdict look_at_container(struct search *search, uint64_t near)
{
    uint64_t length, table_at, count;
    enum verdict verdict;

    if (search->size < CONTAINER_HEADER_SIZE + CONTAINER_FOOTER_SIZE)
        return LOST;
    verdict = look(search, 0, CONTAINER_HEADER_SIZE - 8, 0, CONTAINER_HEADER_SIZE - 8);
    if (verdict == RIGHT && (!get_number(search, 64, &length) || length != search->size))
        return LOST; /* cut or lengthened: what is at its end is no footer */
    if (verdict == RIGHT)
        verdict = look_at_footer(search);
    if (verdict != RIGHT || !get_number(search, 72, &table_at) || !get_number(search, 80, &count))
        return verdict;
    count &= UINT32_MAX;
    if (count > CONTAINER_MAX_SECTIONS || table_at > search->size)
        return LOST;
    verdict = look(search, table_at, count * CONTAINER_ENTRY_SIZE, 0, 96);
    for (uint64_t i = 0; i < count && verdict == RIGHT; i++)
        verdict = look_at_section(search, table_at + i * CONTAINER_ENTRY_SIZE, table_at + count * CONTAINER_ENTRY_SIZE, near);
    return verdict;
}

static enum verdict look_at_log(struct search *search, uint64_t near)
{
    uint64_t salt, align, size, first;
    enum verdict verdict = look(search, 0, 120, 0, 120);

    if (verdict != RIGHT || !get_number(search, 80, &salt) || !get_number(search, 88, &align))
        return verdict;
    align &= UINT32_MAX;
    if (align == 0 || align > 4096)
        return LOST;
    first = (WAL_HEADER_SIZE + align - 1) / align * align;
    verdict = look_at_zeros(search, WAL_HEADER_SIZE, first);
    if (verdict != RIGHT || near < first || near > search->size)
        return verdict;
    verdict = look(search, near, WAL_FRAME_HEADER_SIZE - 8, salt, near + WAL_FRAME_HEADER_SIZE - 8);
    if (verdict == LOST) /* behind the last write all was zero, perhaps */
        return look_at_zeros(search, near, search->size - near > CHECKSUM_FIND_MAX ? near + CHECKSUM_FIND_MAX : search->size);
    if (verdict != RIGHT || !get_number(search, near, &size))
        return verdict;
    size &= UINT32_MAX;
    near += WAL_FRAME_HEADER_SIZE;
    verdict = look(search, near, size, salt, near - WAL_FRAME_HEADER_SIZE + 24);
    return verdict == RIGHT ? look_at_zeros(search, near + size, (near + size + align - 1) / align * align) : verdict;
}

bool damage_find(const struct dir *dir, const char *name, uint64_t near, struct damage *out)
{
    struct search search = {.out = out};
    enum verdict verdict = LOST;
    uint64_t id, generation;
    enum file_kind kind;
    bool temporary;
    char copy;

    if (file_open(dir, name, VFS_READ, &search.file) != VECDB_OK)
        return false;
    if (file_size(&search.file, &search.size) != VECDB_OK)
        verdict = LOST;
    else if (manifest_file_parse(name, &generation, &copy, &temporary))
        verdict = search.size < 8 ? LOST : look(&search, 0, search.size - 8, 0, search.size - 8);
    else if (format_file_parse(name, &kind, &id))
        verdict = kind == FILE_WAL ? look_at_log(&search, near) : look_at_container(&search, near);
    file_close(&search.file);
    buf_deinit(&search.bytes);
    return verdict == FOUND;
}
