#include "storage/manifest.h"

#include "base/mem.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- memory */

static void deinit_segment(struct manifest_segment *segment)
{
    for (size_t i = 0; i < segment->index_count; i++)
        mem_free(segment->indexes[i].kind);
    mem_free(segment->indexes);
}

static void deinit_index(struct manifest_index *index)
{
    mem_free(index->name);
    mem_free(index->type);
    mem_free(index->params);
}

static void deinit_collection(struct manifest_collection *collection)
{
    buf_deinit(&collection->schema);
    for (size_t i = 0; i < collection->partition_count; i++)
        mem_free(collection->partitions[i].name);
    for (size_t i = 0; i < collection->index_count; i++)
        deinit_index(&collection->indexes[i]);
    for (size_t i = 0; i < collection->segment_count; i++)
        deinit_segment(&collection->segments[i]);
    mem_free(collection->partitions);
    mem_free(collection->indexes);
    mem_free(collection->segments);
}

void manifest_deinit(struct manifest *manifest)
{
    for (size_t i = 0; i < manifest->collection_count; i++)
        deinit_collection(&manifest->collections[i]);
    for (size_t i = 0; i < manifest->alias_count; i++)
        mem_free(manifest->aliases[i].name);
    mem_free(manifest->collections);
    mem_free(manifest->aliases);
    mem_free(manifest->wals);
    *manifest = (struct manifest){0};
}

/* Room for one more item at the end of an array, zeroed and counted. Arrays are short and change rarely. */
static void *append_item(void **items, size_t *count, size_t item_size)
{
    size_t bytes;
    char *grown;

    if (!mem_array_size(*count + 1, item_size, &bytes) || !(grown = mem_realloc(*items, bytes)))
        return NULL;
    *items = grown;
    return memset(grown + item_size * (*count)++, 0, item_size);
}
#define APPEND(items, count) append_item((void **)&(items), &(count), sizeof *(items))

static void remove_item(void *items, size_t *count, size_t item_size, size_t i)
{
    (*count)--;
    memmove((char *)items + i * item_size, (char *)items + (i + 1) * item_size, (*count - i) * item_size);
}

/* -- rules */

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

struct ids {
    uint64_t *ids;
    size_t count;
};

static vecdb_status collect_id(void *context, enum file_kind kind, const struct manifest_file *file)
{
    struct ids *ids = context;

    if (ids->ids)
        ids->ids[ids->count] = file->id;
    ids->count++;
    return VECDB_OK;
}

static vecdb_status check_file_ids(const char *name, const struct manifest *manifest)
{
    struct ids ids = {0};
    vecdb_status status = VECDB_OK;

    (void)manifest_each_file(manifest, collect_id, &ids);
    if (ids.count == 0)
        return VECDB_OK;
    ids.ids = mem_array_alloc(ids.count, sizeof *ids.ids);
    if (!ids.ids)
        return error_nomem(name);
    ids.count = 0;
    (void)manifest_each_file(manifest, collect_id, &ids);
    qsort(ids.ids, ids.count, sizeof *ids.ids, compare_u64);
    if (ids.ids[0] == 0 || ids.ids[ids.count - 1] >= manifest->next_file_id)
        status = error_set(VECDB_ERR_CORRUPT, "%s: file ids %llu .. %llu, expected 1 .. %llu", name,
                           (unsigned long long)ids.ids[0], (unsigned long long)ids.ids[ids.count - 1],
                           (unsigned long long)manifest->next_file_id - 1);
    for (size_t i = 1; i < ids.count && status == VECDB_OK; i++)
        if (ids.ids[i] == ids.ids[i - 1])
            status = error_set(VECDB_ERR_CORRUPT, "%s: file %llu is named twice", name, (unsigned long long)ids.ids[i]);
    mem_free(ids.ids);
    return status;
}

static bool name_valid(const char *name)
{
    size_t length = name ? strlen(name) : 0;

    return length >= 1 && length <= VECDB_MAX_NAME && utf8_valid(name, length, NULL);
}

static bool partition_exists(const struct manifest_collection *collection, uint64_t id)
{
    for (size_t i = 0; i < collection->partition_count; i++)
        if (collection->partitions[i].id == id)
            return true;
    return false;
}

static const struct manifest_index *find_index(const struct manifest_collection *collection, uint64_t id)
{
    for (size_t i = 0; i < collection->index_count; i++)
        if (collection->indexes[i].id == id)
            return &collection->indexes[i];
    return NULL;
}

#define RULE(condition, ...)                                                                                           \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            return error_set(VECDB_ERR_CORRUPT, __VA_ARGS__);                                                          \
    } while (0)
#define NUMBER(value) ((unsigned long long)(value))

static vecdb_status check_count(const char *name, const char *what, size_t count, size_t most)
{
    RULE(count <= most, "%s: %zu %s, at most %zu", name, count, what, most);
    return VECDB_OK;
}

static vecdb_status check_segment(const char *name, const struct manifest_collection *collection,
                                  const struct manifest_segment *segment)
{
    uint64_t id = segment->file.id;

    RULE(segment->file.size > 0 && segment->file.size < (uint64_t)1 << 62, "%s: segment %llu has size %llu", name,
         NUMBER(id), NUMBER(segment->file.size));
    RULE(segment->row_count >= 1 && segment->row_count <= MANIFEST_MAX_ROWS, "%s: segment %llu has %llu rows", name,
         NUMBER(id), NUMBER(segment->row_count));
    RULE(segment->deleted_count <= segment->row_count, "%s: segment %llu has %llu rows, %llu of them deleted", name,
         NUMBER(id), NUMBER(segment->row_count), NUMBER(segment->deleted_count));
    RULE(partition_exists(collection, segment->partition_id), "%s: segment %llu is in partition %llu, which is not there",
         name, NUMBER(id), NUMBER(segment->partition_id));
    if (segment->tombstones.id == 0)
        RULE(segment->tombstones.size == 0 && segment->tombstones.checksum == 0 && segment->deleted_count == 0,
             "%s: segment %llu has %llu deleted rows and no file of them", name, NUMBER(id),
             NUMBER(segment->deleted_count));
    else
        RULE(segment->tombstones.size > 0 && segment->tombstones.size < (uint64_t)1 << 62,
             "%s: deletions of segment %llu have size %llu", name, NUMBER(id), NUMBER(segment->tombstones.size));
    TRY(check_count(name, "index files of a segment", segment->index_count, collection->index_count));
    for (size_t i = 0; i < segment->index_count; i++) {
        const struct manifest_index_file *index = &segment->indexes[i];
        RULE(find_index(collection, index->index_id), "%s: segment %llu has a file of index %llu, which is not there",
             name, NUMBER(id), NUMBER(index->index_id));
        RULE(index->file.id != 0 && index->file.size > 0 && index->file.size < (uint64_t)1 << 62,
             "%s: index file %llu of segment %llu has size %llu", name, NUMBER(index->file.id), NUMBER(id),
             NUMBER(index->file.size));
        RULE(name_valid(index->kind), "%s: index file %llu has no kind", name, NUMBER(index->file.id));
        for (size_t j = 0; j < i; j++)
            RULE(segment->indexes[j].index_id != index->index_id, "%s: segment %llu has two files of index %llu", name,
                 NUMBER(id), NUMBER(index->index_id));
    }
    return VECDB_OK;
}

static vecdb_status check_collection(const char *name, const struct manifest_collection *collection)
{
    uint64_t id = collection->id;

    TRY(check_count(name, "partitions", collection->partition_count, MANIFEST_MAX_PARTITIONS));
    TRY(check_count(name, "indexes", collection->index_count, MANIFEST_MAX_INDEXES));
    TRY(check_count(name, "segments", collection->segment_count, MANIFEST_MAX_SEGMENTS));
    RULE(collection->schema.size > 0, "%s: collection %llu has no schema", name, NUMBER(id));
    for (size_t i = 0; i < collection->partition_count; i++) {
        const struct manifest_partition *partition = &collection->partitions[i];
        RULE(partition->id != 0 && partition->id < collection->next_partition_id && name_valid(partition->name),
             "%s: collection %llu: partition %llu (the next one is %llu) is not valid", name, NUMBER(id),
             NUMBER(partition->id), NUMBER(collection->next_partition_id));
        for (size_t j = 0; j < i; j++)
            RULE(collection->partitions[j].id != partition->id && strcmp(collection->partitions[j].name, partition->name),
                 "%s: collection %llu: partition %s is there twice", name, NUMBER(id), partition->name);
    }
    for (size_t i = 0; i < collection->index_count; i++) {
        const struct manifest_index *index = &collection->indexes[i];
        RULE(index->id != 0 && index->id < collection->next_index_id && name_valid(index->name) &&
                 name_valid(index->type) && index->params && index->field < VECDB_MAX_FIELDS + 2,
             "%s: collection %llu: index %llu (the next one is %llu) is not valid", name, NUMBER(id), NUMBER(index->id),
             NUMBER(collection->next_index_id));
        for (size_t j = 0; j < i; j++)
            RULE(collection->indexes[j].id != index->id && strcmp(collection->indexes[j].name, index->name),
                 "%s: collection %llu: index %s is there twice", name, NUMBER(id), index->name);
    }
    for (size_t i = 0; i < collection->segment_count; i++)
        TRY(check_segment(name, collection, &collection->segments[i]));
    return VECDB_OK;
}

vecdb_status manifest_check(const char *name, const struct manifest *manifest)
{
    RULE(manifest->next_file_id >= 1 && manifest->next_collection_id >= 1 && manifest->next_file_id < (uint64_t)1 << 62 &&
             manifest->checkpoint_lsn < (uint64_t)1 << 62,
         "%s: next file %llu, next collection %llu, checkpoint %llu are not valid", name, NUMBER(manifest->next_file_id),
         NUMBER(manifest->next_collection_id), NUMBER(manifest->checkpoint_lsn));
    TRY(check_count(name, "collections", manifest->collection_count, MANIFEST_MAX_COLLECTIONS));
    TRY(check_count(name, "aliases", manifest->alias_count, MANIFEST_MAX_ALIASES));
    for (size_t i = 0; i < manifest->wal_count; i++) {
        const struct manifest_wal *wal = &manifest->wals[i];
        RULE(wal->first_lsn >= 1 && wal->first_lsn < (uint64_t)1 << 62, "%s: log %llu begins with write %llu", name,
             NUMBER(wal->id), NUMBER(wal->first_lsn));
        if (i == 0)
            RULE(wal->first_lsn <= manifest->checkpoint_lsn + 1,
                 "%s: log %llu begins with write %llu, though the segments end with %llu", name, NUMBER(wal->id),
                 NUMBER(wal->first_lsn), NUMBER(manifest->checkpoint_lsn));
        else
            RULE(wal->first_lsn > wal[-1].first_lsn && wal->id > wal[-1].id,
                 "%s: log %llu (from %llu) comes after log %llu (from %llu)", name, NUMBER(wal->id),
                 NUMBER(wal->first_lsn), NUMBER(wal[-1].id), NUMBER(wal[-1].first_lsn));
    }
    for (size_t i = 0; i < manifest->collection_count; i++) {
        const struct manifest_collection *collection = &manifest->collections[i];
        RULE(collection->id != 0 && collection->id < manifest->next_collection_id &&
                 (i == 0 || collection->id > collection[-1].id),
             "%s: collection %llu is out of order (the next one is %llu)", name, NUMBER(collection->id),
             NUMBER(manifest->next_collection_id));
        TRY(check_collection(name, collection));
    }
    for (size_t i = 0; i < manifest->alias_count; i++) {
        const struct manifest_alias *alias = &manifest->aliases[i];
        RULE(name_valid(alias->name) && manifest_find(manifest, alias->collection_id),
             "%s: alias %zu leads to collection %llu, which is not there", name, i, NUMBER(alias->collection_id));
        for (size_t j = 0; j < i; j++)
            RULE(strcmp(manifest->aliases[j].name, alias->name), "%s: alias %s is there twice", name, alias->name);
    }
    return check_file_ids(name, manifest);
}

vecdb_status manifest_copy(const struct manifest *from, struct manifest *out)
{
    struct buf bytes = {0};
    bool read_only;
    vecdb_status status;

    *out = (struct manifest){0};
    status = manifest_encode(from, &bytes);
    if (status == VECDB_OK)
        status = manifest_decode("manifest", bytes.data, bytes.size, from->generation, from->uuid, &read_only, out);
    buf_deinit(&bytes);
    return status;
}

/* -- editing */

struct manifest_collection *manifest_find(const struct manifest *manifest, uint64_t collection_id)
{
    for (size_t i = 0; i < manifest->collection_count; i++)
        if (manifest->collections[i].id == collection_id)
            return &manifest->collections[i];
    return NULL;
}

vecdb_status manifest_add_collection(struct manifest *manifest, const void *schema, size_t schema_size,
                                     struct manifest_collection **out)
{
    struct manifest_collection *collection;
    struct buf copy = {0};

    TRY(buf_append(&copy, schema, schema_size));
    collection = APPEND(manifest->collections, manifest->collection_count);
    if (!collection) {
        buf_deinit(&copy);
        return error_nomem("manifest");
    }
    collection->id = manifest->next_collection_id++;
    collection->next_partition_id = collection->next_index_id = collection->next_auto_id = 1;
    collection->schema = copy;
    *out = collection;
    return VECDB_OK;
}

void manifest_remove_collection(struct manifest *manifest, uint64_t collection_id)
{
    for (size_t i = 0; i < manifest->collection_count; i++)
        if (manifest->collections[i].id == collection_id) {
            deinit_collection(&manifest->collections[i]);
            remove_item(manifest->collections, &manifest->collection_count, sizeof *manifest->collections, i);
            break;
        }
    for (size_t i = manifest->alias_count; i-- > 0;)
        if (manifest->aliases[i].collection_id == collection_id) {
            mem_free(manifest->aliases[i].name);
            remove_item(manifest->aliases, &manifest->alias_count, sizeof *manifest->aliases, i);
        }
}

vecdb_status manifest_set_schema(struct manifest_collection *collection, const void *schema, size_t schema_size)
{
    struct buf copy = {0};

    TRY(buf_append(&copy, schema, schema_size));
    buf_deinit(&collection->schema);
    collection->schema = copy;
    return VECDB_OK;
}

vecdb_status manifest_set_alias(struct manifest *manifest, const char *name, uint64_t collection_id)
{
    struct manifest_alias *alias;
    char *copy;

    for (size_t i = 0; i < manifest->alias_count; i++)
        if (strcmp(manifest->aliases[i].name, name) == 0) {
            manifest->aliases[i].collection_id = collection_id;
            return VECDB_OK;
        }
    copy = mem_strdup(name);
    alias = copy ? APPEND(manifest->aliases, manifest->alias_count) : NULL;
    if (!alias) {
        mem_free(copy);
        return error_nomem("manifest");
    }
    *alias = (struct manifest_alias){collection_id, copy};
    return VECDB_OK;
}

void manifest_remove_alias(struct manifest *manifest, const char *name)
{
    for (size_t i = 0; i < manifest->alias_count; i++)
        if (strcmp(manifest->aliases[i].name, name) == 0) {
            mem_free(manifest->aliases[i].name);
            remove_item(manifest->aliases, &manifest->alias_count, sizeof *manifest->aliases, i);
            return;
        }
}

vecdb_status manifest_add_partition(struct manifest_collection *collection, const char *name, uint64_t *id)
{
    char *copy = mem_strdup(name);
    struct manifest_partition *partition = copy ? APPEND(collection->partitions, collection->partition_count) : NULL;

    if (!partition) {
        mem_free(copy);
        return error_nomem("manifest");
    }
    *partition = (struct manifest_partition){collection->next_partition_id++, copy};
    *id = partition->id;
    return VECDB_OK;
}

void manifest_remove_partition(struct manifest_collection *collection, uint64_t id)
{
    for (size_t i = collection->segment_count; i-- > 0;)
        if (collection->segments[i].partition_id == id)
            manifest_remove_segment(collection, collection->segments[i].file.id);
    for (size_t i = 0; i < collection->partition_count; i++)
        if (collection->partitions[i].id == id) {
            mem_free(collection->partitions[i].name);
            remove_item(collection->partitions, &collection->partition_count, sizeof *collection->partitions, i);
            return;
        }
}

vecdb_status manifest_add_index(struct manifest_collection *collection, const char *name, uint32_t field,
                                const char *type, uint32_t metric, const char *params, uint64_t *id)
{
    struct manifest_index made = {0, field, metric, mem_strdup(name), mem_strdup(type), mem_strdup(params ? params : "")};
    struct manifest_index *index = NULL;

    if (made.name && made.type && made.params)
        index = APPEND(collection->indexes, collection->index_count);
    if (!index) {
        deinit_index(&made);
        return error_nomem("manifest");
    }
    made.id = collection->next_index_id++;
    *index = made;
    *id = made.id;
    return VECDB_OK;
}

void manifest_remove_index(struct manifest_collection *collection, uint64_t id)
{
    for (size_t i = 0; i < collection->segment_count; i++)
        manifest_remove_index_file(&collection->segments[i], id);
    for (size_t i = 0; i < collection->index_count; i++)
        if (collection->indexes[i].id == id) {
            deinit_index(&collection->indexes[i]);
            remove_item(collection->indexes, &collection->index_count, sizeof *collection->indexes, i);
            return;
        }
}

vecdb_status manifest_add_segment(struct manifest_collection *collection, const struct manifest_segment *segment)
{
    struct manifest_segment *added = APPEND(collection->segments, collection->segment_count);

    if (!added)
        return error_nomem("manifest");
    *added = *segment;
    added->indexes = NULL;
    added->index_count = 0;
    return VECDB_OK;
}

struct manifest_segment *manifest_find_segment(const struct manifest_collection *collection, uint64_t id)
{
    for (size_t i = 0; i < collection->segment_count; i++)
        if (collection->segments[i].file.id == id)
            return &collection->segments[i];
    return NULL;
}

void manifest_remove_segment(struct manifest_collection *collection, uint64_t id)
{
    struct manifest_segment *segment = manifest_find_segment(collection, id);

    if (!segment)
        return;
    deinit_segment(segment);
    remove_item(collection->segments, &collection->segment_count, sizeof *segment,
                (size_t)(segment - collection->segments));
}

vecdb_status manifest_set_index_file(struct manifest_segment *segment, uint64_t index_id, const char *kind,
                                     struct manifest_file file)
{
    char *copy = mem_strdup(kind);
    struct manifest_index_file *index = NULL;

    for (size_t i = 0; i < segment->index_count; i++)
        if (segment->indexes[i].index_id == index_id)
            index = &segment->indexes[i];
    if (copy && !index)
        index = APPEND(segment->indexes, segment->index_count);
    if (!copy || !index) {
        mem_free(copy);
        return error_nomem("manifest");
    }
    mem_free(index->kind);
    *index = (struct manifest_index_file){index_id, file, copy};
    return VECDB_OK;
}

void manifest_remove_index_file(struct manifest_segment *segment, uint64_t index_id)
{
    for (size_t i = 0; i < segment->index_count; i++)
        if (segment->indexes[i].index_id == index_id) {
            mem_free(segment->indexes[i].kind);
            remove_item(segment->indexes, &segment->index_count, sizeof *segment->indexes, i);
            return;
        }
}

/* -- names */

void manifest_file_name(uint64_t generation, char copy, bool temporary, char name[FILE_NAME_SIZE])
{
    snprintf(name, FILE_NAME_SIZE, "MANIFEST-%llu.%c%s", NUMBER(generation), copy, temporary ? ".tmp" : "");
}

bool manifest_file_parse(const char *name, uint64_t *generation, char *copy, bool *temporary)
{
    const char *end;

    if (strncmp(name, "MANIFEST-", 9) != 0 || !format_parse_id(name + 9, &end, generation))
        return false;
    if (end[0] != '.' || (end[1] != 'a' && end[1] != 'b'))
        return false;
    *copy = end[1];
    *temporary = strcmp(end + 2, ".tmp") == 0;
    return *temporary || end[2] == '\0';
}

vecdb_status manifest_each_file(const struct manifest *manifest,
                                vecdb_status (*visit)(void *context, enum file_kind kind, const struct manifest_file *file),
                                void *context)
{
    for (size_t i = 0; i < manifest->wal_count; i++)
        TRY(visit(context, FILE_WAL, &(struct manifest_file){.id = manifest->wals[i].id}));
    for (size_t c = 0; c < manifest->collection_count; c++) {
        const struct manifest_collection *collection = &manifest->collections[c];
        for (size_t s = 0; s < collection->segment_count; s++) {
            const struct manifest_segment *segment = &collection->segments[s];
            TRY(visit(context, FILE_SEGMENT, &segment->file));
            if (segment->tombstones.id)
                TRY(visit(context, FILE_TOMBSTONES, &segment->tombstones));
            for (size_t i = 0; i < segment->index_count; i++)
                TRY(visit(context, FILE_INDEX, &segment->indexes[i].file));
        }
    }
    return VECDB_OK;
}
