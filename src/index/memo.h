/* What indexes work out about a set of allowed rows, for the next search that has the same. Kept with the rows and freed with them. */
#ifndef VECDB_INDEX_MEMO_H
#define VECDB_INDEX_MEMO_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_memo {
    struct index_memo *next;
    uint64_t mark; /* of what it is about */
    size_t bytes;  /* of memory, all in all */
    void (*free)(struct index_memo *memo);
};

/** Of one set of rows, from as many indexes as search in it. Memos are added, never taken out. */
struct index_memos {
    _Atomic(struct index_memo *) first;
    atomic_uint asked;  /* how often one was wanted and not there */
    atomic_bool making; /* one at a time */
    size_t most;        /* bytes that all of them may take; 0: there are none */
};

void index_memos_init(struct index_memos *memos, size_t most);
void index_memos_deinit(struct index_memos *memos);
/** Or NULL. */
struct index_memo *index_memos_find(struct index_memos *memos, uint64_t mark);
/** Whether the caller is to make the memo of `mark`, which is not there, and takes `bytes`: once one was wanted more than `after` times, while
 * there is room and memory for it, and nobody else makes one. If so, index_memos_end() has to follow. */
bool index_memos_begin(struct index_memos *memos, uint64_t mark, unsigned after, size_t bytes);
/** `memo`: what was made, with its mark, or NULL. */
void index_memos_end(struct index_memos *memos, struct index_memo *memo);
/** Bytes that they take. */
size_t index_memos_memory(struct index_memos *memos);

#endif
