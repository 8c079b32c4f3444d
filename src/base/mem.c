#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

struct mem_account {
    atomic_uint_least64_t used, peak;
    atomic_uint_least64_t references; /* live blocks, plus one for the owner */
    uint64_t limit;
};

/* In front of every block; `base` is where the table's block begins. 32 bytes keep 16-byte alignment. */
struct header {
    struct mem_account *account;
    size_t size;      /* the caller's */
    void *base;
    size_t base_size; /* the table's */
};

#define HUGE_PAGE ((size_t)2 << 20)

static void *system_alloc(size_t alignment, size_t size)
{
    void *memory = NULL;

    if (alignment <= 16)
        return malloc(size);
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}

static void system_free(void *memory, size_t size)
{
    (void)size;
    free(memory);
}

const struct mem_table mem_system = {system_alloc, system_free};
static const struct mem_table *_Atomic current_table = &mem_system;
static _Thread_local struct mem_account *current_account;

const struct mem_table *mem_set_table(const struct mem_table *table)
{
    return atomic_exchange(&current_table, table ? table : &mem_system);
}

void mem_trim(void)
{
#ifdef __GLIBC__
    if (atomic_load_explicit(&current_table, memory_order_acquire) == &mem_system)
        malloc_trim(0);
#endif
}

static bool account_charge(struct mem_account *account, size_t size)
{
    uint64_t used, peak;

    if (!account)
        return true;
    used = atomic_fetch_add_explicit(&account->used, size, memory_order_relaxed) + size;
    if (account->limit && used > account->limit) {
        atomic_fetch_sub_explicit(&account->used, size, memory_order_relaxed);
        return false;
    }
    peak = atomic_load_explicit(&account->peak, memory_order_relaxed);
    while (used > peak && !atomic_compare_exchange_weak_explicit(&account->peak, &peak, used, memory_order_relaxed,
                                                                 memory_order_relaxed))
        ;
    atomic_fetch_add_explicit(&account->references, 1, memory_order_relaxed);
    return true;
}

static void account_drop_reference(struct mem_account *account)
{
    if (atomic_fetch_sub_explicit(&account->references, 1, memory_order_acq_rel) == 1)
        free(account);
}

static void account_credit(struct mem_account *account, size_t size)
{
    if (!account)
        return;
    atomic_fetch_sub_explicit(&account->used, size, memory_order_relaxed);
    account_drop_reference(account);
}

static inline struct header *header_of(void *memory) { return (struct header *)memory - 1; }

void *mem_aligned_alloc(size_t alignment, size_t size)
{
    size_t offset = alignment > sizeof(struct header) ? alignment : sizeof(struct header);
    const struct mem_table *table = atomic_load_explicit(&current_table, memory_order_acquire);
    size_t total;
    char *base;
    struct header *header;

    if (__builtin_add_overflow(size, offset, &total) || total > PTRDIFF_MAX)
        return NULL;
    if (!account_charge(current_account, total))
        return NULL;
    base = table->alloc(alignment < 16 ? 16 : alignment, total);
    if (!base) {
        account_credit(current_account, total);
        return NULL;
    }
    if (alignment >= HUGE_PAGE && size >= HUGE_PAGE)
        (void)madvise(base + offset, size & ~(HUGE_PAGE - 1), MADV_HUGEPAGE); /* only advice */
    header = header_of(base + offset);
    header->account = current_account;
    header->size = size;
    header->base = base;
    header->base_size = total;
    return base + offset;
}

void *mem_alloc(size_t size) { return mem_aligned_alloc(16, size); }

void *mem_aligned_zalloc(size_t alignment, size_t size)
{
    void *memory = mem_aligned_alloc(alignment, size);

    return memory ? memset(memory, 0, size) : NULL;
}

void *mem_zalloc(size_t size) { return mem_aligned_zalloc(16, size); }

void mem_free(void *memory)
{
    struct header header;

    if (!memory)
        return;
    header = *header_of(memory);
    atomic_load_explicit(&current_table, memory_order_acquire)->free(header.base, header.base_size);
    account_credit(header.account, header.base_size);
}

void *mem_realloc(void *memory, size_t size)
{
    size_t old_size = memory ? header_of(memory)->size : 0;
    void *grown;

    if (memory && size <= old_size && size >= old_size / 2)
        return header_of(memory)->size = size, memory;
    grown = mem_alloc(size);
    if (!grown)
        return NULL;
    if (memory)
        memcpy(grown, memory, old_size < size ? old_size : size);
    mem_free(memory);
    return grown;
}

void *mem_dup(const void *data, size_t size)
{
    void *copy = mem_alloc(size ? size : 1);

    if (copy && size)
        memcpy(copy, data, size);
    return copy;
}

char *mem_strdup(const char *text) { return mem_dup(text, strlen(text) + 1); }

void *mem_array_alloc(size_t count, size_t size)
{
    size_t bytes;

    return mem_array_size(count, size, &bytes) ? mem_alloc(bytes) : NULL;
}

void *mem_array_zalloc(size_t count, size_t size)
{
    size_t bytes;

    return mem_array_size(count, size, &bytes) ? mem_zalloc(bytes) : NULL;
}

/* Accounts themselves are not charged: they outlive their database when a result does. */
struct mem_account *mem_account_create(uint64_t limit)
{
    struct mem_account *account = calloc(1, sizeof *account);

    if (account) {
        account->limit = limit;
        atomic_init(&account->references, 1);
    }
    return account;
}

void mem_account_release(struct mem_account *account)
{
    if (account)
        account_drop_reference(account);
}

struct mem_account *mem_account_enter(struct mem_account *account)
{
    struct mem_account *previous = current_account;

    current_account = account;
    return previous;
}

uint64_t mem_account_used(const struct mem_account *account)
{
    return atomic_load_explicit(&account->used, memory_order_relaxed);
}

uint64_t mem_account_peak(const struct mem_account *account)
{
    return atomic_load_explicit(&account->peak, memory_order_relaxed);
}

uint64_t mem_account_limit(const struct mem_account *account) { return account->limit; }

bool mem_is_limited(uint64_t *used, uint64_t *limit)
{
    const struct mem_account *account = current_account;

    if (!account || !account->limit)
        return false;
    *used = mem_account_used(account);
    *limit = account->limit;
    return true;
}

bool mem_may_keep(size_t bytes)
{
    uint64_t used, limit;

    return !mem_is_limited(&used, &limit) || used + bytes <= limit / 2;
}
