#include "storage/file_list.h"

#include "base/mem.h"

#include <stdlib.h>

vecdb_status file_list_reserve(struct file_list *list, size_t extra)
{
    size_t bytes;
    void *grown;

    if (list->count + extra <= list->room)
        return VECDB_OK;
    if (!mem_array_size(list->count + extra, sizeof *list->items, &bytes) ||
        !(grown = mem_realloc(list->items, bytes)))
        return error_nomem("list of files");
    list->items = grown;
    list->room = list->count + extra;
    return VECDB_OK;
}

static vecdb_status add(void *context, enum file_kind kind, const struct manifest_file *file)
{
    struct file_list *list = context;

    TRY(file_list_reserve(list, 1));
    list->items[list->count].kind = kind;
    list->items[list->count++].id = file->id;
    return VECDB_OK;
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = ((const uint64_t *)a)[1], y = ((const uint64_t *)b)[1]; /* the id follows the kind */

    return x < y ? -1 : x > y;
}

bool file_list_has(const struct file_list *sorted, uint64_t id)
{
    size_t low = 0, high = sorted->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (sorted->items[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sorted->count && sorted->items[low].id == id;
}

vecdb_status file_list_of(const struct manifest *manifest, struct file_list *out)
{
    _Static_assert(sizeof *out->items == 16, "compare_ids() looks at the second half");
    vecdb_status status = manifest_each_file(manifest, add, out);

    if (status == VECDB_OK && out->count)
        qsort(out->items, out->count, sizeof *out->items, compare_ids);
    return status;
}

vecdb_status file_list_dropped(const struct manifest *from, const struct manifest *to, struct file_list *out)
{
    struct file_list before = {0}, after = {0};
    vecdb_status status = file_list_of(from, &before);

    if (status == VECDB_OK)
        status = file_list_of(to, &after);
    for (size_t i = 0; i < before.count && status == VECDB_OK; i++)
        if (!file_list_has(&after, before.items[i].id))
            status = add(out, before.items[i].kind, &(struct manifest_file){.id = before.items[i].id});
    mem_free(before.items);
    mem_free(after.items);
    return status;
}

void file_list_remove(const struct dir *dir, struct file_list *list)
{
    char name[FILE_NAME_SIZE];

    for (size_t i = 0; i < list->count; i++) {
        format_file_name(list->items[i].kind, list->items[i].id, name);
        (void)dir_unlink(dir, name); /* what stays is removed by the next opening */
    }
    list->count = 0;
}
