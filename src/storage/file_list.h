/* Files of the database by kind and id: those that a manifest names, or that are to be removed. */
#ifndef VECDB_STORAGE_FILE_LIST_H
#define VECDB_STORAGE_FILE_LIST_H

#include "storage/manifest.h"

struct file_list {
    struct {
        enum file_kind kind;
        uint64_t id;
    } *items; /* mem_free() them */
    size_t count, room;
};

/** Room for so many more, so that adding them cannot fail. */
vecdb_status file_list_reserve(struct file_list *list, size_t extra);
/** All files that a manifest names, sorted by id, which no two files share. */
vecdb_status file_list_of(const struct manifest *manifest, struct file_list *out);
/** Whether an id is in a sorted list. */
bool file_list_has(const struct file_list *sorted, uint64_t id);
/** Files that `from` names and `to` does not. */
vecdb_status file_list_dropped(const struct manifest *from, const struct manifest *to, struct file_list *out);
/** Remove them from the directory, and from the list. What cannot be removed now is removed by the next opening. */
void file_list_remove(const struct dir *dir, struct file_list *list);

#endif
