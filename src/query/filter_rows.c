/* What is remembered of a segment: the last few filters' rows, by the filter's text and the deletions they were made under. Rows of a
 * segment never change and deletions only grow, so what is remembered stays true for the snapshots it was made for, and becomes true
 * for later ones by taking out what has been deleted since. */
#include "query/filter_rows.h"

#include "base/mem.h"
#include "query/view_source.h"
#include "simd/kernels.h"

#include <string.h>

#define REMEMBERED 16        /* filters of a segment; a bit a row each */
#define ROWS_LEAST 64        /* of a segment worth remembering about */
#define MEMOS_MOST 4         /* what indexes may keep with a filter: so many times its rows' bits */
#define MEMOS_MORE 65536     /* and so many bytes */

struct remembered {
    const struct schema *schema;
    uint64_t hash;
    void *key;
    size_t key_size, row_count;
    struct tombstones *tombstones;
    struct filter_rows *rows;
    uint64_t used; /* when last */
};

struct filter_cache {
    struct segment_kept base;
    pthread_mutex_t lock;
    size_t count;
    uint64_t clock;
    struct remembered entries[REMEMBERED];
};

void filter_rows_release(struct filter_rows *rows)
{
    if (rows && atomic_fetch_sub_explicit(&rows->references, 1, memory_order_acq_rel) == 1) {
        index_memos_deinit(&rows->memos);
        mem_free(rows);
    }
}

static void forget(struct remembered *entry)
{
    mem_free(entry->key);
    tombstones_release(entry->tombstones);
    filter_rows_release(entry->rows);
    *entry = (struct remembered){0};
}

static void cache_free(struct segment_kept *kept)
{
    struct filter_cache *cache = (struct filter_cache *)kept;

    for (size_t i = 0; i < cache->count; i++)
        forget(&cache->entries[i]);
    pthread_mutex_destroy(&cache->lock);
    mem_free(cache);
}

/* The segment's cache; NULL when there is no memory for one. */
static struct filter_cache *cache_of(struct segment *segment)
{
    struct segment_kept *kept = atomic_load_explicit(&segment->kept, memory_order_acquire), *none = NULL;
    struct filter_cache *cache;

    if (kept)
        return (struct filter_cache *)kept;
    if (!(cache = mem_zalloc(sizeof *cache)))
        return NULL;
    cache->base.free = cache_free;
    pthread_mutex_init(&cache->lock, NULL);
    if (atomic_compare_exchange_strong(&segment->kept, &none, &cache->base))
        return cache;
    cache_free(&cache->base);
    return (struct filter_cache *)none;
}

static bool matches(const struct remembered *entry, const struct remembered *wanted)
{
    return entry->hash == wanted->hash && entry->schema == wanted->schema && entry->row_count == wanted->row_count &&
           entry->key_size == wanted->key_size && memcmp(entry->key, wanted->key, wanted->key_size) == 0;
}

/* The rows of an entry that serves, retained, and whether more have been deleted since they were made; or NULL. */
static struct filter_rows *find(struct filter_cache *cache, const struct remembered *wanted, bool *stale)
{
    struct filter_rows *rows = NULL;

    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; i < cache->count && !rows; i++) {
        struct remembered *entry = &cache->entries[i];
        if (!matches(entry, wanted) ||
            (entry->tombstones != wanted->tombstones &&
             tombstones_count(entry->tombstones) >= tombstones_count(wanted->tombstones)))
            continue; /* of a later snapshot: what was deleted since cannot be told */
        *stale = entry->tombstones != wanted->tombstones;
        entry->used = ++cache->clock;
        rows = entry->rows;
        atomic_fetch_add_explicit(&rows->references, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&cache->lock);
    return rows;
}

/* Where to put the rows of a filter: over older ones of the same, or over what was used longest ago. */
static struct remembered *choose_place(struct filter_cache *cache, const struct remembered *wanted)
{
    struct remembered *oldest = &cache->entries[0];

    for (size_t i = 0; i < cache->count; i++) {
        if (matches(&cache->entries[i], wanted))
            return &cache->entries[i];
        if (cache->entries[i].used < oldest->used)
            oldest = &cache->entries[i];
    }
    return cache->count < REMEMBERED ? &cache->entries[cache->count++] : oldest;
}

static void remember(struct filter_cache *cache, const struct remembered *wanted, struct filter_rows *rows)
{
    struct remembered entry = *wanted, replaced, *place;

    if (!(entry.key = mem_dup(wanted->key, wanted->key_size)))
        return;
    tombstones_retain(entry.tombstones);
    atomic_fetch_add_explicit(&rows->references, 1, memory_order_relaxed);
    entry.rows = rows;
    pthread_mutex_lock(&cache->lock);
    entry.used = ++cache->clock;
    place = choose_place(cache, wanted);
    replaced = *place;
    *place = entry;
    pthread_mutex_unlock(&cache->lock);
    forget(&replaced);
}

size_t filter_rows_memory(struct segment *segment)
{
    struct filter_cache *cache = (struct filter_cache *)atomic_load_explicit(&segment->kept, memory_order_acquire);
    size_t bytes = cache ? sizeof *cache : 0;

    if (!cache)
        return 0;
    pthread_mutex_lock(&cache->lock);
    for (size_t i = 0; i < cache->count; i++)
        bytes += cache->entries[i].key_size + cache->entries[i].rows->bytes + index_memos_memory(&cache->entries[i].rows->memos);
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}

static vecdb_status rows_alloc(size_t row_count, struct filter_rows **out)
{
    *out = mem_alloc(sizeof **out + (bitmap_words(row_count) + 1) * 8);
    if (!*out)
        return error_nomem("filter");
    atomic_init(&(*out)->references, 1);
    (*out)->bytes = sizeof **out + (bitmap_words(row_count) + 1) * 8;
    index_memos_init(&(*out)->memos, MEMOS_MOST * bitmap_words(row_count) * 8 + MEMOS_MORE);
    (*out)->words[bitmap_words(row_count)] = 0;
    return VECDB_OK;
}

/* Remembered rows less those deleted since. */
static vecdb_status bring_up_to_date(const struct segment_view *view, struct filter_rows **rows)
{
    struct filter_rows *older = *rows;
    vecdb_status status = rows_alloc(view->row_count, rows);

    if (status == VECDB_OK) {
        memcpy((*rows)->words, older->words, bitmap_words(view->row_count) * 8);
        tombstones_subtract(view->tombstones, (*rows)->words, view->row_count);
        (*rows)->count = simd_compare()->bits_count((*rows)->words, bitmap_words(view->row_count));
    }
    filter_rows_release(older);
    return status;
}

vecdb_status filter_rows_take(const struct snapshot *snapshot, size_t view_at, const struct filter *filter,
                              vecdb_status (*check)(void *context), void *check_context, struct filter_counters *counters,
                              struct filter_rows **out)
{
    const struct segment_view *view = &snapshot->views[view_at];
    struct remembered wanted = {.row_count = view->row_count, .tombstones = view->tombstones};
    struct filter_cache *cache = NULL;
    struct view_source source;
    struct filter_source rows;
    bool stale = true;
    vecdb_status status;

    *out = NULL;
    wanted.key = (void *)(uintptr_t)filter_key(filter, &wanted.schema, &wanted.key_size, &wanted.hash);
    if (wanted.key && view->row_count >= ROWS_LEAST && (cache = cache_of(view->segment)))
        *out = find(cache, &wanted, &stale);
    if (!*out) {
        TRY(rows_alloc(view->row_count, out));
        bitmap_fill((*out)->words, view->row_count);
        tombstones_subtract(view->tombstones, (*out)->words, view->row_count);
        rows = view_source_init(&source, snapshot, view);
        status = filter_eval(filter, &rows, (*out)->words, counters, check, check_context);
        (*out)->count = simd_compare()->bits_count((*out)->words, bitmap_words(view->row_count));
    } else {
        counters->remembered++;
        status = stale ? bring_up_to_date(view, out) : VECDB_OK;
    }
    if (status != VECDB_OK) {
        filter_rows_release(*out);
        *out = NULL;
    } else if (cache && stale && mem_may_keep((*out)->bytes))
        remember(cache, &wanted, *out);
    return status;
}
