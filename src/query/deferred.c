#include "query/deferred.h"

#include "base/mem.h"
#include "index/flat.h"
#include "query/snapshot.h"

#include <pthread.h>
#include <stdatomic.h>

struct deferred {
    struct index base;
    struct index_ops ops; /* the kind's, with those of ours that go through to `real` */
    struct deferred_open how;
    pthread_mutex_t lock; /* held by whoever opens */
    struct index *_Atomic real;
    atomic_bool broken;
};

static void deferred_free(struct index *index)
{
    struct deferred *deferred = (struct deferred *)index;
    struct index *real = atomic_load_explicit(&deferred->real, memory_order_acquire);

    if (real)
        real->ops->free(real);
    index_file_close(deferred->how.file);
    segment_release(deferred->how.segment);
    pthread_mutex_destroy(&deferred->lock);
    mem_free(deferred);
}

static bool is_deferred(const struct index *index) { return index->ops->free == deferred_free; }

static struct vectors vectors_of(const struct deferred_open *how)
{
    struct vectors vectors;

    segment_vectors(how->segment, how->field, how->segment->row_count, &vectors);
    return vectors;
}

vecdb_status deferred_open_now(const struct deferred_open *how, struct index **out, struct index_file **file)
{
    const struct field *described = &how->segment->schema->fields[how->field];
    struct vectors vectors = vectors_of(how);
    uint64_t *present = NULL;
    const void *data;
    size_t size;
    vecdb_status status = index_file_check(how->file);

    *out = NULL;
    *file = how->file;
    if (status == VECDB_OK && described->flags & VECDB_NULLABLE) {
        if (!(present = mem_array_alloc(bitmap_words(vectors.row_count) + 1, sizeof *present)))
            return error_nomem("index");
        bitmap_fill(present, vectors.row_count);
        how->segment->ops->and_present(how->segment, how->field, vectors.row_count, present);
        vectors.present = present;
    }
    data = index_file_data(how->file, &size);
    if (status == VECDB_OK)
        status = how->ops->open(data, size, &vectors, how->metric, &how->params, out);
    mem_free(present);
    if (status != VECDB_OK)
        return status;
    (*out)->vectors.present = NULL; /* which rows are there is the snapshot's to say */
    if ((*out)->detached) {
        index_file_close(how->file);
        *file = NULL;
    }
    return VECDB_OK;
}

vecdb_status deferred_resolve(struct index *index, struct index **out)
{
    struct deferred *deferred = (struct deferred *)index;
    vecdb_status status = VECDB_OK;

    *out = index;
    if (!is_deferred(index))
        return VECDB_OK;
    *out = atomic_load_explicit(&deferred->real, memory_order_acquire);
    if (*out || atomic_load_explicit(&deferred->broken, memory_order_acquire))
        return VECDB_OK;
    pthread_mutex_lock(&deferred->lock);
    *out = atomic_load_explicit(&deferred->real, memory_order_relaxed);
    if (!*out && !atomic_load_explicit(&deferred->broken, memory_order_relaxed)) {
        status = deferred_open_now(&deferred->how, out, &deferred->how.file);
        if (status == VECDB_OK) {
            atomic_store_explicit(&deferred->real, *out, memory_order_release);
        } else if (status != VECDB_ERR_NOMEM) {
            atomic_store_explicit(&deferred->broken, true, memory_order_release);
            error_clear();
            status = VECDB_OK;
        }
    }
    pthread_mutex_unlock(&deferred->lock);
    return status;
}

bool deferred_is_broken(const struct index *index)
{
    return index && is_deferred(index) && atomic_load_explicit(&((const struct deferred *)index)->broken, memory_order_acquire);
}

static vecdb_status deferred_search(const struct index *index, const struct index_search *search, struct hit *hits,
                                    size_t *counts, struct index_counters *counters)
{
    struct index_search scan = *search;
    struct index *real;

    TRY(deferred_resolve((struct index *)(uintptr_t)index, &real));
    if (real)
        return real->ops->search(real, search, hits, counts, counters);
    scan.params = NULL;
    return flat_search(&index->vectors, index->metric, &scan, hits, counts, counters);
}

static vecdb_status no_index(void) { return error_set(VECDB_ERR_CORRUPT, "the index cannot be trusted, and is to be built anew"); }

static vecdb_status deferred_save(const struct index *index, struct buf *out)
{
    struct index *real;

    TRY(deferred_resolve((struct index *)(uintptr_t)index, &real));
    return real ? real->ops->save(real, out) : no_index();
}

static vecdb_status deferred_check(const struct index *index)
{
    struct index *real;

    TRY(deferred_resolve((struct index *)(uintptr_t)index, &real));
    return real ? real->ops->check(real) : no_index();
}

static size_t deferred_memory(const struct index *index)
{
    const struct deferred *deferred = (const struct deferred *)index;
    struct index *real = atomic_load_explicit(&deferred->real, memory_order_acquire);
    size_t size;

    if (real)
        return real->ops->memory(real);
    (void)index_file_data(deferred->how.file, &size); /* what it takes up when it is opened, roughly */
    return size;
}

static bool deferred_complete(const struct index *index)
{
    struct index *real;

    if (deferred_resolve((struct index *)(uintptr_t)index, &real) != VECDB_OK || !real)
        return false;
    return real->ops->complete && real->ops->complete(real);
}

vecdb_status deferred_create(const struct deferred_open *how, struct index **out)
{
    struct deferred *deferred = mem_zalloc(sizeof *deferred);

    *out = NULL;
    if (!deferred) {
        index_file_close(how->file);
        return error_nomem("index");
    }
    deferred->how = *how;
    segment_retain(how->segment);
    deferred->ops = *how->ops;
    deferred->ops.add = NULL;
    deferred->ops.search = deferred_search;
    deferred->ops.save = deferred_save;
    deferred->ops.free = deferred_free;
    deferred->ops.check = deferred_check;
    deferred->ops.memory = deferred_memory;
    deferred->ops.complete = deferred_complete;
    deferred->base.ops = &deferred->ops;
    deferred->base.metric = how->metric;
    deferred->base.vectors = vectors_of(how);
    pthread_mutex_init(&deferred->lock, NULL);
    *out = &deferred->base;
    return VECDB_OK;
}
