#include "storage/index_file.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "base/plant.h"

#include <inttypes.h>
#include <stdio.h>

/* Sections: INFO, below; PARAMS, text without a terminator; DATA, what save() gave.
 * INFO:  0 u64 segment     8 u64 rows    16 u64 checksum of the field's data   24 u64 definition
 *       32 u32 field      36 u32 type    40 u32 dim     44 u32 metric   48 u32 format of DATA   52 u32 zero
 *       56 u8[32] kind, zeros after */
enum { SECTION_INFO = 1, SECTION_PARAMS = 2, SECTION_DATA = 3 };
#define INFO_SIZE 88

struct index_file {
    struct file_map map;
    struct container container;
    const struct container_section *data;
};

static void encode(const struct index_binding *binding, uint8_t *info)
{
    memset(info, 0, INFO_SIZE);
    store_u64(info, binding->segment_id);
    store_u64(info + 8, binding->row_count);
    store_u64(info + 16, binding->data_checksum);
    store_u64(info + 24, binding->definition);
    store_u32(info + 32, binding->field);
    store_u32(info + 36, binding->type);
    store_u32(info + 40, binding->dim);
    store_u32(info + 44, binding->metric);
    store_u32(info + 48, binding->format);
    memcpy(info + 56, binding->kind, strnlen(binding->kind, INDEX_KIND_SIZE));
}

static vecdb_status write_sections(struct container_writer *writer, const struct index_binding *binding, const void *data,
                                   size_t size, struct container_id *out)
{
    uint8_t info[INFO_SIZE];

    encode(binding, info);
    TRY(container_section_put(writer, SECTION_DATA, CONTAINER_NO_FIELD, 1, size, data, size));
    TRY(container_section_put(writer, SECTION_PARAMS, CONTAINER_NO_FIELD, 1, strlen(binding->params), binding->params,
                              strlen(binding->params)));
    TRY(container_section_put(writer, SECTION_INFO, CONTAINER_NO_FIELD, INFO_SIZE, 1, info, sizeof info));
    return container_writer_finish(writer, out);
}

vecdb_status index_file_write(const struct dir *dir, const uint8_t *uuid, uint64_t file_id,
                              const struct index_binding *binding, const void *data, size_t size,
                              struct container_id *out)
{
    struct container_writer writer;
    vecdb_status status;

    TRY(container_writer_init(&writer, dir, FILE_INDEX, uuid, file_id));
    if ((status = write_sections(&writer, binding, data, size, out)) != VECDB_OK)
        container_writer_abort(&writer);
    return status;
}

static vecdb_status differs(const struct index_file *file, const char *what, uint64_t found, uint64_t expected)
{
    return error_set(VECDB_ERR_CORRUPT, "%s: an index of %s %" PRIu64 ", expected %" PRIu64, file->container.name, what,
                     found, expected);
}

static vecdb_status check_binding(const struct index_file *file, const uint8_t *info, const struct index_binding *binding,
                                  const struct container_section *params)
{
    static const struct {
        const char *what;
        unsigned offset, size;
    } members[] = {{"segment", 0, 8}, {"a row count of", 8, 8}, {"data with the checksum", 16, 8}, {"definition", 24, 8},
                   {"field", 32, 4},  {"type", 36, 4},          {"dim", 40, 4},                    {"metric", 44, 4},
                   {"format", 48, 4}};
    uint8_t expected[INFO_SIZE];

    encode(binding, expected);
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (memcmp(info + members[i].offset, expected + members[i].offset, members[i].size) != 0)
            return members[i].size == 8
                       ? differs(file, members[i].what, load_u64(info + members[i].offset),
                                 load_u64(expected + members[i].offset))
                       : differs(file, members[i].what, load_u32(info + members[i].offset),
                                 load_u32(expected + members[i].offset));
    if (memcmp(info + 56, expected + 56, INDEX_KIND_SIZE) != 0)
        return error_set(VECDB_ERR_CORRUPT, "%s: an index of kind %.*s, expected %.*s", file->container.name,
                         INDEX_KIND_SIZE, (const char *)info + 56, INDEX_KIND_SIZE, binding->kind);
    if (params->size != strlen(binding->params) ||
        memcmp(container_bytes(&file->container, params), binding->params, (size_t)params->size) != 0)
        return error_set(VECDB_ERR_CORRUPT, "%s: built with other parameters, expected %s", file->container.name,
                         binding->params);
    return VECDB_OK;
}

/* Map the file and look at its frame; `binding` NULL: of anything. */
static vecdb_status open_frame(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                               const struct index_binding *binding, bool in_heap, struct index_file *file)
{
    char name[FILE_NAME_SIZE];
    const struct container_section *info, *params;
    struct file opened;
    uint64_t size = id->size;
    vecdb_status status = VECDB_OK;

    format_file_name(FILE_INDEX, id->file_id, name);
    TRY(file_open(dir, name, VFS_READ, &opened));
    if (!size)
        status = file_size(&opened, &size);
    if (status == VECDB_OK)
        status = file_map(&opened, size, in_heap, &file->map);
    file_close(&opened);
    TRY(status);
    TRY(container_init(&file->container, name, file->map.data, file->map.size, FILE_INDEX, uuid, id));
    info = container_find(&file->container, SECTION_INFO, CONTAINER_NO_FIELD);
    params = container_find(&file->container, SECTION_PARAMS, CONTAINER_NO_FIELD);
    file->data = container_find(&file->container, SECTION_DATA, CONTAINER_NO_FIELD);
    if (!info || !params || !file->data || info->size != INFO_SIZE)
        return error_set(VECDB_ERR_CORRUPT, "%s: sections are missing or of a wrong size", name);
    if (!binding || PLANTED(17))
        return VECDB_OK;
    TRY(container_check_section(&file->container, info));
    TRY(container_check_section(&file->container, params));
    return check_binding(file, container_bytes(&file->container, info), binding, params);
}

vecdb_status index_file_check(struct index_file *file) { return container_check_section(&file->container, file->data); }

vecdb_status index_file_open(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                             const struct index_binding *binding, bool in_heap, struct index_file **out)
{
    vecdb_status status;

    TRY(index_file_map(dir, uuid, id, binding, in_heap, out));
    if ((status = index_file_check(*out)) != VECDB_OK) {
        index_file_close(*out);
        *out = NULL;
    }
    return status;
}

vecdb_status index_file_map(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                             const struct index_binding *binding, bool in_heap, struct index_file **out)
{
    struct index_file *file = mem_zalloc(sizeof *file);
    vecdb_status status;

    *out = NULL;
    if (!file)
        return error_nomem("index file");
    if ((status = open_frame(dir, uuid, id, binding, in_heap, file)) != VECDB_OK) {
        index_file_close(file);
        return status;
    }
    *out = file;
    return VECDB_OK;
}

const void *index_file_data(const struct index_file *file, size_t *size)
{
    *size = (size_t)file->data->size;
    return container_bytes(&file->container, file->data);
}

void index_file_close(struct index_file *file)
{
    if (!file)
        return;
    container_deinit(&file->container);
    file_unmap(&file->map);
    mem_free(file);
}

vecdb_status index_file_verify(const struct dir *dir, const uint8_t *uuid, const struct container_id *id,
                               const struct problem_sink *sink)
{
    struct index_file file = {0};
    char name[FILE_NAME_SIZE];
    vecdb_status status = open_frame(dir, uuid, id, NULL, false, &file);

    format_file_name(FILE_INDEX, id->file_id, name);
    if (status == VECDB_ERR_CORRUPT || status == VECDB_ERR_NO_SUCH || status == VECDB_ERR_VERSION) {
        problem_report(sink, name, 0, "%s", error_last()->message);
        status = error_set(VECDB_ERR_CORRUPT, "%s: cannot be opened", name);
    } else if (status == VECDB_OK && container_verify(&file.container, sink)) {
        status = error_set(VECDB_ERR_CORRUPT, "%s: damaged", name);
    }
    container_deinit(&file.container);
    file_unmap(&file.map);
    return status;
}
