#include "storage/format.h"

#include "base/bytes.h"
#include "base/checksum.h"

#include <stdio.h>
#include <string.h>

static const uint8_t magic[8] = {'v', 'e', 'c', 'd', 'b', '\r', '\n', 0};

static const struct {
    enum file_kind kind;
    const char *prefix, *suffix;
} names[] = {
    {FILE_WAL, "wal-", ".log"},
    {FILE_SEGMENT, "seg-", ".dat"},
    {FILE_TOMBSTONES, "del-", ".bm"},
    {FILE_INDEX, "idx-", ".idx"},
};

void format_header_write(uint8_t *header, enum file_kind kind, const uint8_t *uuid, uint64_t id)
{
    memset(header, 0, FORMAT_HEADER_SIZE);
    memcpy(header, magic, sizeof magic);
    store_u32(header + 8, kind);
    store_u16(header + 12, FORMAT_MAJOR);
    store_u16(header + 14, FORMAT_MINOR);
    store_u32(header + 16, FORMAT_COMPAT);
    store_u32(header + 20, FORMAT_RO_COMPAT);
    store_u32(header + 24, FORMAT_INCOMPAT);
    memcpy(header + 32, uuid, FORMAT_UUID_SIZE);
    store_u64(header + 48, id);
    store_u64(header + 56, checksum(header, 56, 0));
}

static void uuid_text(const uint8_t *uuid, char text[33])
{
    for (int i = 0; i < FORMAT_UUID_SIZE; i++)
        snprintf(text + 2 * i, 3, "%02x", uuid[i]);
}

vecdb_status format_header_check(const char *name, const uint8_t *data, size_t size, enum file_kind kind,
                                 const uint8_t *uuid, uint64_t id, struct format_header *out)
{
    uint64_t computed;
    uint32_t unknown;

    if (size < FORMAT_HEADER_SIZE)
        return error_set(VECDB_ERR_CORRUPT, "%s: %zu bytes, too short for a header of %d", name, size,
                         FORMAT_HEADER_SIZE);
    if (memcmp(data, magic, sizeof magic) != 0)
        return error_set(VECDB_ERR_CORRUPT, "%s: not a vecdb file: wrong first bytes", name);
    computed = checksum(data, 56, 0);
    if (!checksum_equal(load_u64(data + 56), computed))
        return error_set(VECDB_ERR_CORRUPT, "%s: checksum of the header is %016llx, expected %016llx", name,
                         (unsigned long long)computed, (unsigned long long)load_u64(data + 56));
    if (load_u16(data + 12) != FORMAT_MAJOR)
        return error_set(VECDB_ERR_VERSION, "%s: format version %u.%u; this library reads %u.x", name,
                         load_u16(data + 12), load_u16(data + 14), FORMAT_MAJOR);
    if ((unknown = load_u32(data + 24) & ~FORMAT_INCOMPAT) != 0)
        return error_set(VECDB_ERR_VERSION, "%s: format %u.%u with features %#x that this library (%u.%u) cannot read",
                         name, load_u16(data + 12), load_u16(data + 14), unknown, FORMAT_MAJOR, FORMAT_MINOR);
    if (load_u32(data + 8) != (uint32_t)kind)
        return error_set(VECDB_ERR_CORRUPT, "%s: file of kind %u, expected %u", name, load_u32(data + 8), kind);
    if (load_u32(data + 28) != 0)
        return error_set(VECDB_ERR_CORRUPT, "%s: reserved bytes of the header are not zero", name);
    if (uuid && memcmp(data + 32, uuid, FORMAT_UUID_SIZE) != 0) {
        char found[33], expected[33];
        uuid_text(data + 32, found);
        uuid_text(uuid, expected);
        return error_set(VECDB_ERR_CORRUPT, "%s: belongs to database %s, expected %s", name, found, expected);
    }
    if (load_u64(data + 48) != id)
        return error_set(VECDB_ERR_CORRUPT, "%s: says it is number %llu, expected %llu", name,
                         (unsigned long long)load_u64(data + 48), (unsigned long long)id);
    out->kind = kind;
    out->minor = load_u16(data + 14);
    out->newer_minor = out->minor > FORMAT_MINOR;
    out->read_only = (load_u32(data + 20) & ~FORMAT_RO_COMPAT) != 0;
    memcpy(out->uuid, data + 32, FORMAT_UUID_SIZE);
    out->id = id;
    return VECDB_OK;
}

void format_file_name(enum file_kind kind, uint64_t id, char name[FILE_NAME_SIZE])
{
    name[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].kind == kind)
            snprintf(name, FILE_NAME_SIZE, "%s%llu%s", names[i].prefix, (unsigned long long)id, names[i].suffix);
}

bool format_parse_id(const char *text, const char **end, uint64_t *id)
{
    uint64_t value = 0;
    const char *at = text;

    if (*at < '1' || *at > '9')
        return false;
    for (; *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (at - text >= 18) /* 10^18 is less than 2^63, and more than there will be */
            return false;
    }
    *end = at;
    *id = value;
    return true;
}

bool format_file_parse(const char *name, enum file_kind *kind, uint64_t *id)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t length = strlen(names[i].prefix);
        const char *end;
        if (strncmp(name, names[i].prefix, length) == 0 && format_parse_id(name + length, &end, id) &&
            strcmp(end, names[i].suffix) == 0) {
            *kind = names[i].kind;
            return true;
        }
    }
    return false;
}
