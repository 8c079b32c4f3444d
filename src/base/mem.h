/* Memory. Every allocation of the library goes through here, so that a test can fail the n-th, and a database can be
 * held to its memory_limit. Allocations are charged to the account that the calling thread has entered; whoever frees
 * them, the right account is credited. */
#ifndef VECDB_BASE_MEM_H
#define VECDB_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What one thread writes often and others read beside it is kept so far apart. */
#define CACHE_LINE 64

/** What allocates underneath; tests replace it with one that fails. */
struct mem_table {
    void *(*alloc)(size_t alignment, size_t size); /* alignment is a power of two of at least 16; NULL when out of memory */
    void (*free)(void *memory, size_t size);
};
/** Replace the table (NULL: the system's). Only while no vecdb memory is in use by other threads. Returns the old one. */
const struct mem_table *mem_set_table(const struct mem_table *table);
extern const struct mem_table mem_system;

void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
/** `alignment` is a power of two, at most 2 MiB; blocks of 2 MiB and more aligned to 2 MiB are offered huge pages. */
void *mem_aligned_alloc(size_t alignment, size_t size);
void *mem_aligned_zalloc(size_t alignment, size_t size);
/** As realloc; keeps the 16-byte alignment of mem_alloc only. On failure the old block stays. */
void *mem_realloc(void *memory, size_t size);
void mem_free(void *memory);
/** Give freed memory back to the system, where it does not come by itself; after much was freed. */
void mem_trim(void);
char *mem_strdup(const char *text);
void *mem_dup(const void *data, size_t size);

/** count * size into *bytes; false when that overflows. */
static inline bool mem_array_size(size_t count, size_t size, size_t *bytes)
{
    return !__builtin_mul_overflow(count, size, bytes);
}
/** NULL also when count * size overflows. */
void *mem_array_alloc(size_t count, size_t size);
void *mem_array_zalloc(size_t count, size_t size);

/** How much one database has allocated, and may. Lives until it is released and all its memory is freed. */
struct mem_account;
struct mem_account *mem_account_create(uint64_t limit); /* limit 0: none */
void mem_account_release(struct mem_account *account);
/** Charge the calling thread's allocations to `account` (NULL: nobody); returns what it was, to be entered again. */
struct mem_account *mem_account_enter(struct mem_account *account);
uint64_t mem_account_used(const struct mem_account *account);
uint64_t mem_account_peak(const struct mem_account *account);
uint64_t mem_account_limit(const struct mem_account *account);
/** What is in use and the limit of the calling thread's account; false when there is none. */
bool mem_is_limited(uint64_t *used, uint64_t *limit);
/** Whether memory is plentiful enough for so many bytes that are only kept to save time: half of the limit of the calling thread's account
 * is for what has to be. */
bool mem_may_keep(size_t bytes);

#endif
