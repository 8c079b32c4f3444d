#include "storage/tombstones.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <inttypes.h>

/* Sections: INFO {u64 segment, u64 rows, u64 deleted rows, u64 zero}; BITS, a u64 for every 64 rows, bits past the last
 * row clear. */
enum { SECTION_INFO = 1, SECTION_BITS = 2 };
#define INFO_SIZE 32

static size_t page_count_of(size_t row_count) { return row_count / TOMBSTONES_PAGE_ROWS + (row_count % TOMBSTONES_PAGE_ROWS != 0); }

vecdb_status tombstones_create(size_t row_count, struct tombstones **out)
{
    size_t bytes;

    *out = NULL;
    if (!mem_array_size(page_count_of(row_count), sizeof(struct tombstones_page *), &bytes) ||
        !(*out = mem_zalloc(sizeof **out + bytes)))
        return error_nomem("deletion bitmap");
    atomic_init(&(*out)->references, 1);
    (*out)->row_count = row_count;
    return VECDB_OK;
}

void tombstones_retain(struct tombstones *tombstones)
{
    if (tombstones)
        atomic_fetch_add_explicit(&tombstones->references, 1, memory_order_relaxed);
}

static void page_release(struct tombstones_page *page)
{
    if (page && atomic_fetch_sub_explicit(&page->references, 1, memory_order_acq_rel) == 1)
        mem_free(page);
}

void tombstones_release(struct tombstones *tombstones)
{
    if (!tombstones || atomic_fetch_sub_explicit(&tombstones->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < page_count_of(tombstones->row_count); i++)
        page_release(tombstones->pages[i]);
    mem_free(tombstones);
}

/* A version that shares all pages with `from`, which may have had fewer rows. */
static vecdb_status share(const struct tombstones *from, size_t row_count, struct tombstones **out)
{
    if (from && from->row_count > row_count)
        return error_set(VECDB_ERR_INVALID, "deletion bitmap: of %zu rows, cannot shrink to %zu", from->row_count, row_count);
    TRY(tombstones_create(row_count, out));
    if (!from)
        return VECDB_OK;
    (*out)->deleted_count = from->deleted_count;
    for (size_t i = 0; i < page_count_of(from->row_count); i++)
        if (((*out)->pages[i] = from->pages[i]) != NULL)
            atomic_fetch_add_explicit(&from->pages[i]->references, 1, memory_order_relaxed);
    return VECDB_OK;
}

/* A page of a new version, to be written to. A page still shared is copied; one with a single reference is the new
 * version's own, since the old version would hold another. */
static struct tombstones_page *own_page(struct tombstones *tombstones, size_t i)
{
    struct tombstones_page *page = tombstones->pages[i], *copy;

    if (page && atomic_load_explicit(&page->references, memory_order_acquire) == 1)
        return page;
    copy = page ? mem_dup(page, sizeof *page) : mem_zalloc(sizeof *page);
    if (!copy)
        return NULL;
    atomic_init(&copy->references, 1);
    page_release(page);
    return tombstones->pages[i] = copy;
}

vecdb_status tombstones_with(const struct tombstones *from, size_t row_count, const uint32_t *rows, size_t count,
                             struct tombstones **out)
{
    struct tombstones *made;

    *out = NULL;
    for (size_t i = 0; i < count; i++)
        if (rows[i] >= row_count)
            return error_set(VECDB_ERR_INVALID, "deletion bitmap: row %u of %zu", rows[i], row_count);
    TRY(share(from, row_count, &made));
    for (size_t i = 0; i < count; i++) {
        struct tombstones_page *page;
        size_t bit = rows[i] % TOMBSTONES_PAGE_ROWS;
        if (tombstones_get(made, rows[i]))
            continue;
        if (!(page = own_page(made, rows[i] / TOMBSTONES_PAGE_ROWS))) {
            tombstones_release(made);
            return error_nomem("deletion bitmap");
        }
        bitmap_set(page->words, bit);
        made->deleted_count++;
    }
    *out = made;
    return VECDB_OK;
}

vecdb_status tombstones_with_bitmap(const struct tombstones *from, size_t row_count, const uint64_t *rows,
                                    struct tombstones **out)
{
    struct tombstones *made;
    size_t words = bitmap_words(row_count);

    *out = NULL;
    if (words && rows[words - 1] & ~bitmap_tail(row_count))
        return error_set(VECDB_ERR_INVALID, "deletion bitmap: a bit past row %zu is set", row_count);
    TRY(share(from, row_count, &made));
    for (size_t w = 0; w < words; w++) {
        struct tombstones_page *page = made->pages[w / TOMBSTONES_PAGE_WORDS];
        uint64_t fresh = rows[w] & ~(page ? page->words[w % TOMBSTONES_PAGE_WORDS] : 0);
        if (!fresh)
            continue;
        if (!(page = own_page(made, w / TOMBSTONES_PAGE_WORDS))) {
            tombstones_release(made);
            return error_nomem("deletion bitmap");
        }
        page->words[w % TOMBSTONES_PAGE_WORDS] |= fresh;
        made->deleted_count += (size_t)__builtin_popcountll(fresh);
    }
    *out = made;
    return VECDB_OK;
}

/* Words of page i that hold bits of the first row_count rows. */
static size_t page_words(size_t i, size_t row_count)
{
    size_t left = bitmap_words(row_count) - i * TOMBSTONES_PAGE_WORDS;

    return left < TOMBSTONES_PAGE_WORDS ? left : TOMBSTONES_PAGE_WORDS;
}

void tombstones_subtract(const struct tombstones *tombstones, uint64_t *rows, size_t row_count)
{
    if (!tombstones || tombstones->deleted_count == 0)
        return;
    for (size_t i = 0; i < page_count_of(row_count); i++) {
        const struct tombstones_page *page = tombstones->pages[i];
        size_t words = page ? page_words(i, row_count) : 0;
        for (size_t w = 0; w < words; w++)
            rows[i * TOMBSTONES_PAGE_WORDS + w] &= ~page->words[w];
    }
}

size_t tombstones_count_first(const struct tombstones *tombstones, size_t row_count)
{
    size_t total = 0;

    if (!tombstones || tombstones->deleted_count == 0)
        return 0;
    for (size_t i = 0; i < page_count_of(row_count); i++) {
        size_t words = page_words(i, row_count), first = i * TOMBSTONES_PAGE_ROWS;
        const struct tombstones_page *page = tombstones->pages[i];
        if (!page)
            continue;
        if (row_count - first >= TOMBSTONES_PAGE_ROWS)
            total += bitmap_count(page->words, TOMBSTONES_PAGE_ROWS);
        else
            total += bitmap_count(page->words, (words - 1) * 64) +
                     (size_t)__builtin_popcountll(page->words[words - 1] & bitmap_tail(row_count - first));
    }
    return total;
}

/* ------------------------------------------------------------------------------------------------- files */

static vecdb_status save(const struct tombstones *tombstones, uint64_t segment_id, struct container_writer *writer,
                         struct container_id *out)
{
    static const struct tombstones_page empty;
    size_t row_count = tombstones->row_count;
    uint8_t info[INFO_SIZE] = {0};

    store_u64(info, segment_id);
    store_u64(info + 8, row_count);
    store_u64(info + 16, tombstones->deleted_count);
    TRY(container_section_put(writer, SECTION_INFO, CONTAINER_NO_FIELD, INFO_SIZE, 1, info, sizeof info));
    container_section_begin(writer);
    for (size_t i = 0; i < page_count_of(row_count); i++) {
        const struct tombstones_page *page = tombstones->pages[i] ? tombstones->pages[i] : &empty;
        TRY(container_section_write(writer, page->words, page_words(i, row_count) * 8));
    }
    TRY(container_section_end(writer, SECTION_BITS, CONTAINER_NO_FIELD, 8, bitmap_words(row_count), NULL));
    return container_writer_finish(writer, out);
}

vecdb_status tombstones_save(const struct tombstones *tombstones, const struct dir *dir, const uint8_t *uuid,
                             uint64_t file_id, uint64_t segment_id, struct container_id *out)
{
    struct container_writer writer;
    vecdb_status status;

    TRY(container_writer_init(&writer, dir, FILE_TOMBSTONES, uuid, file_id));
    if ((status = save(tombstones, segment_id, &writer, out)) != VECDB_OK)
        container_writer_abort(&writer);
    return status;
}

/* The bits of a file whose checksums are right, or VECDB_ERR_CORRUPT. */
static vecdb_status check_contents(const struct container *container, uint64_t *segment_id, size_t *row_count,
                                   const uint64_t **bits)
{
    const struct container_section *info = container_find(container, SECTION_INFO, CONTAINER_NO_FIELD);
    const struct container_section *section = container_find(container, SECTION_BITS, CONTAINER_NO_FIELD);
    const uint8_t *bytes;
    uint64_t rows, deleted, counted;

    if (!info || info->size != INFO_SIZE)
        return error_set(VECDB_ERR_CORRUPT, "%s: the section that says what it is is missing or has a wrong size",
                         container->name);
    bytes = container_bytes(container, info);
    rows = load_u64(bytes + 8);
    deleted = load_u64(bytes + 16);
    if (load_u64(bytes + 24))
        return error_set(VECDB_ERR_CORRUPT, "%s: reserved bytes are not zero", container->name);
    if (rows > UINT32_MAX)
        return error_set(VECDB_ERR_CORRUPT, "%s: of %" PRIu64 " rows, more than a segment can have", container->name, rows);
    if (!section || section->element_size != 8 || section->count != bitmap_words((size_t)rows))
        return error_set(VECDB_ERR_CORRUPT, "%s: %" PRIu64 " words of bits do not fit %" PRIu64 " rows", container->name,
                         section ? section->count : 0, rows);
    *bits = (const uint64_t *)container_bytes(container, section);
    if (rows % 64 && (*bits)[rows / 64] & ~bitmap_tail((size_t)rows))
        return error_set(VECDB_ERR_CORRUPT, "%s: a bit past the last of %" PRIu64 " rows is set", container->name, rows);
    counted = bitmap_count(*bits, (size_t)rows);
    if (counted != deleted)
        return error_set(VECDB_ERR_CORRUPT, "%s: %" PRIu64 " rows are marked, it says %" PRIu64, container->name, counted,
                         deleted);
    *segment_id = load_u64(bytes);
    *row_count = (size_t)rows;
    return VECDB_OK;
}

/* Map a file and look at its frame. */
static vecdb_status open_container(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                                   struct file_map *map, struct container *container)
{
    char name[FILE_NAME_SIZE];
    struct file file;
    vecdb_status status;
    uint64_t size = id->size;

    format_file_name(FILE_TOMBSTONES, id->file_id, name);
    TRY(file_open(dir, name, VFS_READ, &file));
    if (size || (status = file_size(&file, &size)) == VECDB_OK)
        status = file_map(&file, size, true, map); /* small, and all of it is read: a failing disk is an error, no signal */
    file_close(&file);
    TRY(status);
    status = container_init(container, name, map->data, map->size, FILE_TOMBSTONES, uuid, id);
    if (status != VECDB_OK)
        file_unmap(map);
    return status;
}

vecdb_status tombstones_open(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                             uint64_t segment_id, size_t row_count, struct tombstones **out)
{
    struct container container;
    struct file_map map;
    const uint64_t *bits;
    uint64_t found_segment;
    size_t found_rows;
    vecdb_status status = VECDB_OK;

    *out = NULL;
    TRY(open_container(dir, uuid, id, &map, &container));
    for (size_t i = 0; i < container.section_count && status == VECDB_OK; i++)
        status = container_check_section(&container, &container.sections[i]);
    if (status == VECDB_OK)
        status = check_contents(&container, &found_segment, &found_rows, &bits);
    if (status == VECDB_OK && (found_segment != segment_id || found_rows != row_count))
        status = error_set(VECDB_ERR_CORRUPT, "%s: belongs to segment %" PRIu64 " of %zu rows, expected %" PRIu64 " of %zu",
                           container.name, found_segment, found_rows, segment_id, row_count);
    if (status == VECDB_OK)
        status = tombstones_with_bitmap(NULL, row_count, bits, out);
    container_deinit(&container);
    file_unmap(&map);
    return status;
}

vecdb_status tombstones_verify(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                               const struct problem_sink *sink)
{
    struct container container;
    struct file_map map;
    const uint64_t *bits;
    uint64_t segment_id;
    size_t row_count;
    vecdb_status status = open_container(dir, uuid, id, &map, &container);

    if (status == VECDB_OK) {
        bool sound = container_verify(&container, sink) == 0;
        status = sound ? check_contents(&container, &segment_id, &row_count, &bits)
                       : error_set(VECDB_ERR_CORRUPT, "%s: damaged", container.name);
        container_deinit(&container);
        file_unmap(&map);
        if (!sound)
            return status;
    }
    if (status == VECDB_ERR_CORRUPT) {
        char name[FILE_NAME_SIZE];
        format_file_name(FILE_TOMBSTONES, id->file_id, name);
        problem_report(sink, name, 0, "%s", error_last()->message);
    }
    return status;
}
