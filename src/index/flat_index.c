/* FLAT and BIN_FLAT as index kinds: exact answers, always, from fewer bytes than the vectors have. Floats that are all
 * whole numbers 0..255 are compared as bytes. Others are scanned as SQ8 codes that carry the length of what they leave
 * out: by the triangle inequality a row whose code is farther than the k-th hit by more than that is no hit, and the few
 * that remain are scored with their vectors. Codes cost dim + 12 bytes a row (bytes: dim).
 *
 * Format 2, little-endian: the header below, then mean (SQ8: dim floats), then the arrays of the part. */
#include "index/flat.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/deadline.h"
#include "index/ivf_products.h"
#include "index/topk.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define LIST_BYTES 262144 /* codes that are scanned for all queries of a group while they are in the cache */
#define GROUP_MAX 32
#define PRODUCT_MAX 1024  /* the same, multiplied */
#define MULTIPLY_MIN 12   /* queries a thread from which matrix products are faster */
#define CODED_MIN 4096    /* rows that are worth codes, with accel=auto */

enum accel { ACCEL_NONE, ACCEL_BYTES, ACCEL_SQ8, ACCEL_AUTO };

struct flat_header {
    uint32_t magic, version, kind, type, metric, dim;
    uint64_t rows, size;
};
#define FLAT_MAGIC 0x54414C46u /* "FLAT" */
#define FLAT_VERSION 2
_Static_assert(sizeof(struct flat_header) == 40, "the header is stored");

/* What searches see of a growing index. */
struct flat_view {
    struct vectors vectors;
    struct flat_view *older;
};

struct flat {
    struct index base;
    struct coder coder;   /* of the coded rows */
    struct ivf_part part; /* list_count 0: no codes */
    float *mean;          /* owned, or part of the mapping */
    bool mean_owned;
    _Atomic(struct flat_view *) view;
};

static const struct param_spec flat_build_params[] = {
    {"accel", ACCEL_AUTO, 0, 3, "codes scanned in place of the vectors; answers are the same", "none|bytes|sq8|auto",
     false},
    PARAM_END,
};
static const struct param_spec no_params[] = {PARAM_END};

#define TYPE_BIT(type) (1u << ((type) - VECDB_TYPE_BINARY_VECTOR))
extern const struct index_ops flat_ops, bin_flat_ops;

static void flat_free(struct index *index)
{
    struct flat *flat = (struct flat *)index;

    if (!flat)
        return;
    for (struct flat_view *view = atomic_load(&flat->view), *older; view; view = older) {
        older = view->older;
        mem_free(view);
    }
    part_deinit(&flat->part);
    if (flat->mean_owned)
        mem_free(flat->mean);
    mem_free(flat);
}

static vecdb_status publish(struct flat *flat, const struct vectors *vectors)
{
    struct flat_view *view = mem_alloc(sizeof *view);

    if (!view)
        return error_nomem("index FLAT");
    *view = (struct flat_view){*vectors, atomic_load(&flat->view)};
    atomic_store_explicit(&flat->view, view, memory_order_release);
    return VECDB_OK;
}

static vecdb_status create(const struct vectors *vectors, vecdb_metric metric, struct flat **out)
{
    struct flat *flat = mem_zalloc(sizeof *flat);

    *out = NULL;
    if (!flat)
        return error_nomem("index FLAT");
    flat->base = (struct index){vectors->type == VECDB_TYPE_BINARY_VECTOR ? &bin_flat_ops : &flat_ops, *vectors, metric, false};
    flat->coder = (struct coder){.type = vectors->type, .metric = metric, .dim = vectors->dim, .exact = true};
    if (publish(flat, vectors) != VECDB_OK) {
        mem_free(flat);
        return VECDB_ERR_NOMEM;
    }
    *out = flat;
    return VECDB_OK;
}

/* -- building */

static size_t list_rows(const struct coder *coder)
{
    size_t rows = LIST_BYTES / coder->code_size / 64 * 64;

    return rows < 64 ? 64 : rows > 4096 ? 4096 : rows;
}

/* Lists of neighbouring rows: their sizes follow from the row count. */
static void shape(struct flat *flat, size_t rows)
{
    flat->part.row_count = flat->part.slot_count = rows;
    flat->part.list_count = (rows + list_rows(&flat->coder) - 1) / list_rows(&flat->coder);
}

static void fill_sizes(struct flat *flat)
{
    uint32_t *sizes = (uint32_t *)(uintptr_t)flat->part.sizes;
    size_t step = list_rows(&flat->coder), rows = flat->part.row_count;

    for (size_t list = 0; list < flat->part.list_count; list++)
        sizes[list] = (uint32_t)(rows - list * step < step ? rows - list * step : step);
}

/* The mean of up to 4096 rows, evenly picked. */
static vecdb_status find_mean(struct flat *flat)
{
    const struct vectors *vectors = &flat->base.vectors;
    size_t step = vectors->row_count / 4096 + 1, count = 0, dim = flat->coder.dim;
    float *row = mem_array_alloc(dim, sizeof *row);

    flat->mean = mem_aligned_alloc(64, dim * sizeof(float));
    flat->mean_owned = true;
    if (!row || !flat->mean) {
        mem_free(row);
        return error_nomem("index FLAT");
    }
    memset(flat->mean, 0, dim * sizeof(float));
    for (size_t i = 0; i < vectors->row_count; i += step) {
        if (vectors->present && !bitmap_get(vectors->present, i))
            continue;
        coder_floats(&flat->coder, vectors_row(vectors, i), row);
        simd_codes()->scale_f32(row, dim, 1.0f / 4096);
        simd_codes()->add_f32(flat->mean, row, dim);
        count++;
    }
    if (count)
        simd_codes()->scale_f32(flat->mean, dim, 4096 / (float)count);
    mem_free(row);
    for (size_t i = 0; i < dim; i++)
        if (!isfinite(flat->mean[i]))
            flat->mean[i] = 0;
    flat->coder.mean = flat->mean;
    return VECDB_OK;
}

struct encode_job {
    struct flat *flat;
    const struct index_build_context *context;
};

static vecdb_status encode_task(void *context, size_t list, unsigned worker)
{
    struct encode_job *job = context;
    struct flat *flat = job->flat;
    struct code_scratch *scratch;
    vecdb_status status;

    TRY(code_scratch_create(&flat->coder, &scratch));
    status = part_encode(&flat->part, &flat->coder, NULL, &flat->base.vectors, NULL, list * list_rows(&flat->coder),
                         flat->part.sizes[list], scratch, NULL, NULL);
    code_scratch_free(scratch);
    return status;
}

static vecdb_status encode(struct flat *flat, enum code_kind kind, const struct index_build_context *context)
{
    struct encode_job job = {flat, context};
    struct ivf_part *part = &flat->part;

    flat->coder.kind = kind;
    coder_layout(&flat->coder);
    if (kind == CODE_SQ8)
        TRY(find_mean(flat));
    shape(flat, flat->base.vectors.row_count);
    part->owned_size = part_layout(part, &flat->coder, false, false, NULL);
    part->owned = mem_aligned_alloc(part->owned_size >= 2 << 20 ? 2 << 20 : 64, part->owned_size + 64);
    if (!part->owned)
        return error_nomem("index FLAT");
    part_layout(part, &flat->coder, false, false, part->owned);
    fill_sizes(flat);
    if (context->progress && !context->progress(context->progress_context, "encode", 0, part->row_count))
        return error_set(VECDB_ERR_CANCELLED, "index FLAT: cancelled");
    TRY(pool_run(context->pool, part->list_count, encode_task, &job));
    return part_derive(part, &flat->coder);
}

static vecdb_status flat_build(const struct vectors *vectors, vecdb_metric metric, const struct params *params,
                               const struct index_build_context *context, struct index **out)
{
    enum accel accel = vectors->type == VECDB_TYPE_BINARY_VECTOR || vectors->type == VECDB_TYPE_INT8_VECTOR
                           ? ACCEL_NONE
                           : (enum accel)params_get(params, "accel");
    struct flat *flat;
    vecdb_status status = VECDB_OK;

    *out = NULL;
    TRY(create(vectors, metric, &flat));
    if (accel == ACCEL_AUTO && vectors->row_count < CODED_MIN)
        accel = ACCEL_NONE;
    if (vectors->row_count == 0)
        accel = ACCEL_NONE;
    if (accel == ACCEL_BYTES || accel == ACCEL_AUTO) {
        bool bytes = vectors_are_bytes(vectors);
        if (accel == ACCEL_BYTES && !bytes)
            status = error_set(VECDB_ERR_UNSUPPORTED,
                               "index FLAT: accel=bytes needs values that are whole numbers 0..255; try accel=sq8");
        accel = bytes ? ACCEL_BYTES : ACCEL_SQ8;
    }
    if (status == VECDB_OK && accel != ACCEL_NONE)
        status = encode(flat, accel == ACCEL_BYTES ? CODE_BYTES : CODE_SQ8, context);
    if (status != VECDB_OK) {
        flat_free(&flat->base);
        return status;
    }
    *out = &flat->base;
    return VECDB_OK;
}

static vecdb_status flat_add(struct index *index, const struct vectors *vectors,
                             const struct index_build_context *context)
{
    TRY(publish((struct flat *)index, vectors));
    index->vectors = *vectors;
    return VECDB_OK;
}

/* -- searching */

struct coded_job {
    const struct flat *flat;
    const struct vectors *vectors;
    const struct index_search *search;
    size_t group_size, range_count, range_lists;
    struct hit *hits; /* as in flat.c: range_count times query_count x k */
    size_t *counts;
    atomic_uint_fast64_t scored, reranked;
};

/* Lists first .. last - 1 for all queries of a group. */
static vecdb_status scan_lists(struct coded_job *job, struct code_query *queries, size_t count, size_t first, size_t last)
{
    const struct ivf_part *part = &job->flat->part;

    for (size_t list = first; list < last; list++) {
        for (size_t q = 0; q < count; q++)
            part_scan(part, &job->flat->coder, list, part->starts[list], part->starts[list + 1], job->vectors,
                      job->search, &(struct code_target){&queries[q], 0, 0}, 1);
        TRY(deadline_check(job->search->deadline));
    }
    return VECDB_OK;
}

/* The same through products. */
static vecdb_status multiply_lists(struct coded_job *job, struct code_query *queries, size_t count, size_t first,
                                   size_t last)
{
    const struct coder *coder = &job->flat->coder;
    struct code_target *targets = mem_array_alloc(count, sizeof *targets);
    struct products products;
    vecdb_status status = products_init(&products, coder);

    if (status == VECDB_OK && !targets)
        status = error_nomem("search");
    for (size_t q = 0; q < count && status == VECDB_OK; q++)
        targets[q] = (struct code_target){&queries[q], 0, 0};
    for (size_t list = first; list < last && status == VECDB_OK; list++) {
        products_scan(&products, &job->flat->part, coder, list, job->vectors, job->search, targets, count);
        status = deadline_check(job->search->deadline);
    }
    products_deinit(&products);
    mem_free(targets);
    return status;
}

static vecdb_status coded_task(void *context, size_t i, unsigned worker)
{
    struct coded_job *job = context;
    const struct index_search *search = job->search;
    const struct coder *coder = &job->flat->coder;
    size_t group = i / job->range_count, range = i % job->range_count;
    size_t first_query = group * job->group_size, count = search->query_count - first_query;
    size_t first = range * job->range_lists, last = first + job->range_lists;
    size_t slot = range * search->query_count + first_query, size = code_query_size(coder, search->k, 0);
    struct code_query *queries;
    uint8_t *scratch, *spare;
    vecdb_status status = VECDB_OK;
    bool multiply = !search->allowed && !job->vectors->present;
    uint64_t reranked = 0;

    if (count > job->group_size)
        count = job->group_size;
    if (last > job->flat->part.list_count)
        last = job->flat->part.list_count;
    if (first > last)
        first = last;
    queries = mem_array_alloc(count, sizeof *queries);
    scratch = mem_aligned_alloc(64, count * size);
    spare = mem_aligned_alloc(64, code_query_spare(coder));
    if (!queries || !scratch || !spare)
        status = error_nomem("search");
    for (size_t q = 0; q < count && status == VECDB_OK; q++) {
        code_query_init(&queries[q], coder, job->vectors, search,
                        (const uint8_t *)search->queries + (first_query + q) * search->query_stride, true, 0, 0,
                        job->hits + (slot + q) * search->k, scratch + q * size, spare);
        multiply = multiply && (coder->kind == CODE_SQ8 || queries[q].bytes.integer);
    }
    if (status == VECDB_OK)
        status = multiply && count >= MULTIPLY_MIN
                     ? multiply_lists(job, queries, count, first, last)
                     : scan_lists(job, queries, count, first, last);
    for (size_t q = 0; q < count && status == VECDB_OK; q++) {
        if (q + 1 < count)
            code_query_ask(&queries[q + 1], job->vectors, false);
        job->counts[slot + q] = code_query_finish(&queries[q], coder, job->vectors, search, false, NULL, &reranked);
        atomic_fetch_add_explicit(&job->scored, queries[q].scored, memory_order_relaxed);
    }
    atomic_fetch_add_explicit(&job->reranked, reranked, memory_order_relaxed);
    mem_free(queries);
    mem_free(scratch);
    mem_free(spare);
    return status;
}

static void plan(struct coded_job *job)
{
    size_t threads = pool_threads(job->search->pool), lists = job->flat->part.list_count, groups;
    size_t queries = job->search->query_count, most = job->search->allowed || job->vectors->present ? GROUP_MAX : PRODUCT_MAX;

    job->group_size = (queries + threads - 1) / threads;
    if (job->group_size > most)
        job->group_size = most;
    groups = (queries + job->group_size - 1) / job->group_size;
    job->range_count = 1;
    if (groups < threads && lists >= 4 * threads)
        job->range_count = 2 * threads;
    job->range_lists = (lists + job->range_count - 1) / job->range_count;
}

static vecdb_status coded_search(const struct flat *flat, const struct vectors *vectors,
                                 const struct index_search *search, struct hit *hits, size_t *counts,
                                 struct index_counters *counters)
{
    struct coded_job job = {.flat = flat, .vectors = vectors, .search = search};
    size_t groups, tail = vectors->row_count > flat->part.row_count;
    struct topk_sources sources;
    vecdb_status status;

    plan(&job);
    groups = (search->query_count + job.group_size - 1) / job.group_size;
    status = topk_sources_begin(&sources, search, job.range_count + tail, hits, counts);
    job.hits = sources.hits;
    job.counts = sources.counts;
    if (status == VECDB_OK)
        status = pool_run(search->pool, groups * job.range_count, coded_task, &job);
    if (status == VECDB_OK && tail) { /* rows that came after the codes */
        size_t at = job.range_count * search->query_count;
        status = flat_search_from(vectors, flat->part.row_count, flat->base.metric, search, job.hits + at * search->k,
                                  job.counts + at, counters);
    }
    topk_sources_end(&sources, search, status, hits, counts);
    if (counters) {
        counters->rows_scored += atomic_load(&job.scored);
        counters->reranked += atomic_load(&job.reranked);
    }
    return status;
}

static vecdb_status flat_index_search(const struct index *index, const struct index_search *search, struct hit *hits,
                                      size_t *counts, struct index_counters *counters)
{
    struct flat *flat = (struct flat *)(uintptr_t)index;
    const struct vectors *vectors = &atomic_load_explicit(&flat->view, memory_order_acquire)->vectors;
    /* many queries under a bitmap are better multiplied with what it leaves of the vectors */
    bool multiply = flat->coder.kind == CODE_SQ8 && (search->allowed || vectors->present) &&
                    search->query_count >= MULTIPLY_MIN * pool_threads(search->pool);

    if (search->query_count == 0)
        return VECDB_OK;
    if (flat->part.list_count == 0 || multiply)
        return flat_search(vectors, index->metric, search, hits, counts, counters);
    return coded_search(flat, vectors, search, hits, counts, counters);
}

/* -- storing */

static vecdb_status flat_save(const struct index *index, struct buf *out)
{
    const struct flat *flat = (const struct flat *)index;
    struct flat_header header = {.magic = FLAT_MAGIC, .version = FLAT_VERSION, .type = index->vectors.type,
                                 .metric = index->metric, .dim = index->vectors.dim};
    struct ivf_part part = {.list_count = flat->part.list_count, .slot_count = flat->part.slot_count};
    size_t body = 0, start = out->size, mean = 0;

    if (flat->part.list_count) {
        header.kind = flat->coder.kind;
        header.rows = flat->part.row_count;
        body = part_layout(&part, &flat->coder, false, false, NULL);
        mean = flat->coder.kind == CODE_SQ8 ? align_up(flat->coder.dim * sizeof(float), 64) : 0;
    }
    header.size = 64 + mean + body;
    TRY(buf_append(out, &header, sizeof header));
    TRY(buf_append(out, NULL, 64 - sizeof header));
    if (mean) {
        TRY(buf_append(out, flat->mean, flat->coder.dim * sizeof(float)));
        TRY(buf_append(out, NULL, mean - flat->coder.dim * sizeof(float)));
    }
    if (body) {
        TRY(buf_append(out, NULL, body));
        part_layout(&part, &flat->coder, false, false, out->data + start + 64 + mean);
        part_copy(&part, &flat->part, &flat->coder);
    }
    return VECDB_OK;
}

#define CORRUPT(...) error_set(VECDB_ERR_CORRUPT, "index FLAT: " __VA_ARGS__)

static vecdb_status check_header(const struct flat_header *header, size_t size, const struct vectors *vectors,
                                 vecdb_metric metric)
{
    if (header->magic != FLAT_MAGIC)
        return CORRUPT("begins with %08x, not %08x", header->magic, FLAT_MAGIC);
    if (header->version != FLAT_VERSION)
        return error_set(VECDB_ERR_VERSION, "index FLAT: format %u, this library reads %d", header->version, FLAT_VERSION);
    if (header->type != (uint32_t)vectors->type)
        return CORRUPT("type %u, the field has %u", header->type, (unsigned)vectors->type);
    if (header->metric != (uint32_t)metric)
        return CORRUPT("metric %u, the index has %u", header->metric, (unsigned)metric);
    if (header->dim != vectors->dim)
        return CORRUPT("dim %u, the field has %u", header->dim, vectors->dim);
    if (header->size != size)
        return CORRUPT("says %llu bytes, there are %zu", (unsigned long long)header->size, size);
    if (header->kind > CODE_SQ8)
        return CORRUPT("code kind %u is unknown", header->kind);
    if (header->kind != CODE_RAW && (vectors->type == VECDB_TYPE_BINARY_VECTOR || vectors->type == VECDB_TYPE_INT8_VECTOR ||
                                     (header->kind == CODE_BYTES && vectors->type != VECDB_TYPE_FLOAT_VECTOR)))
        return CORRUPT("code kind %u does not go with %s", header->kind, type_name(vectors->type));
    if (header->rows > vectors->row_count || (header->kind == CODE_RAW) != (header->rows == 0))
        return CORRUPT("codes of %llu rows, the segment has %zu", (unsigned long long)header->rows, vectors->row_count);
    return VECDB_OK;
}

static vecdb_status flat_open(const void *data, size_t size, const struct vectors *vectors, vecdb_metric metric,
                              const struct params *params, struct index **out)
{
    struct flat_header header;
    struct flat *flat;
    size_t mean = 0, body;
    uint8_t *bytes = (uint8_t *)(uintptr_t)data;
    vecdb_status status = VECDB_OK;

    *out = NULL;
    if (size < 64)
        return CORRUPT("%zu bytes, the header alone has 64", size);
    if ((uintptr_t)data % 64)
        return error_set(VECDB_ERR_INVALID, "index FLAT: data is not aligned to 64 bytes");
    memcpy(&header, data, sizeof header);
    TRY(check_header(&header, size, vectors, metric));
    for (size_t i = sizeof header; i < 64; i++)
        if (bytes[i])
            return CORRUPT("byte %zu of the header is %u, not 0", i, bytes[i]);
    TRY(create(vectors, metric, &flat));
    if (header.kind == CODE_RAW) {
        if (size != 64)
            status = CORRUPT("%zu bytes after the header where none belong", size - 64);
        goto done;
    }
    flat->coder.kind = (enum code_kind)header.kind;
    coder_layout(&flat->coder);
    shape(flat, header.rows);
    mean = header.kind == CODE_SQ8 ? align_up(flat->coder.dim * sizeof(float), 64) : 0;
    body = part_layout(&flat->part, &flat->coder, false, false, NULL);
    if (size != 64 + mean + body) {
        status = CORRUPT("%zu bytes, %llu rows of dim %u take %zu", size, (unsigned long long)header.rows, header.dim,
                         64 + mean + body);
        goto done;
    }
    flat->mean = (float *)(void *)(bytes + 64);
    flat->coder.mean = flat->mean;
    part_layout(&flat->part, &flat->coder, false, false, bytes + 64 + mean);
    for (size_t list = 0; list < flat->part.list_count && status == VECDB_OK; list++) {
        size_t step = list_rows(&flat->coder), rest = header.rows - list * step;
        if (flat->part.sizes[list] != (rest < step ? rest : step))
            status = CORRUPT("list %zu has %u rows, expected %zu", list, flat->part.sizes[list],
                             rest < step ? rest : step);
    }
    if (status == VECDB_OK && mean && !simd_codes()->finite_f32(flat->mean, flat->coder.dim))
        status = CORRUPT("the mean is not finite");
    if (status == VECDB_OK)
        status = part_check_factors(&flat->part, &flat->coder, "index FLAT");
    if (status == VECDB_OK)
        status = part_derive(&flat->part, &flat->coder);
done:
    if (status != VECDB_OK) {
        flat_free(&flat->base);
        return status;
    }
    *out = &flat->base;
    return VECDB_OK;
}

/* Every code is what encoding its row gives. */
static vecdb_status flat_check(const struct index *index)
{
    const struct flat *flat = (const struct flat *)index;
    struct flat again = {.base = *index, .coder = flat->coder, .part = {0}};
    struct code_scratch *scratch = NULL;
    const struct ivf_part *part = &flat->part;
    vecdb_status status = VECDB_OK;

    if (part->list_count == 0)
        return VECDB_OK;
    shape(&again, list_rows(&flat->coder) < part->row_count ? list_rows(&flat->coder) : part->row_count);
    again.part.list_count = 1;
    again.part.owned = mem_aligned_alloc(64, part_layout(&again.part, &flat->coder, false, false, NULL) + 64);
    if (!again.part.owned)
        return error_nomem("index FLAT");
    part_layout(&again.part, &flat->coder, false, false, again.part.owned);
    status = code_scratch_create(&flat->coder, &scratch);
    if (status == VECDB_OK)
        status = part_encode(&again.part, &flat->coder, NULL, &index->vectors, NULL, 0, again.part.row_count, scratch, NULL, NULL);
    if (status == VECDB_ERR_UNSUPPORTED)
        status = CORRUPT("bytes for rows that are none");
    /* another instruction set may round otherwise: a code may be off by one */
    for (size_t i = 0; i < again.part.row_count * flat->coder.code_size && status == VECDB_OK; i++) {
        int difference = (int)again.part.codes[i] - (int)part->codes[i];
        if (difference > 1 || difference < -1)
            status = CORRUPT("row %zu, byte %zu of its code is %u, expected %u", i / flat->coder.code_size,
                             i % flat->coder.code_size, part->codes[i], again.part.codes[i]);
    }
    code_scratch_free(scratch);
    part_deinit(&again.part);
    return status;
}

static size_t flat_memory(const struct index *index)
{
    const struct flat *flat = (const struct flat *)index;
    size_t part = 0;

    if (flat->part.list_count) {
        struct ivf_part copy = flat->part;
        part = part_layout(&copy, &flat->coder, false, false, NULL) + flat->coder.dim * sizeof(float) +
               part_memory(&flat->part) - flat->part.owned_size;
    }
    return sizeof *flat + sizeof(struct flat_view) + part;
}

static void flat_reads(const struct index *index, struct index_reads *out)
{
    const struct flat *flat = (const struct flat *)index;

    *out = flat->part.list_count ? coder_reads(&flat->coder) : (struct index_reads){.row = index->vectors.width};
    out->exact = index->vectors.width;
}

static bool flat_complete(const struct index *index)
{
    const struct flat *flat = (const struct flat *)index;

    return flat->part.list_count && flat->coder.kind != CODE_SQ8 &&
           flat->part.row_count == atomic_load_explicit(&flat->view, memory_order_acquire)->vectors.row_count;
}

#define FLAT_FUNCTIONS                                                                                                 \
    .search_params = no_params, .exact = true, .build = flat_build, .add = flat_add, .search = flat_index_search, .save = flat_save,   \
    .open = flat_open, .free = flat_free, .check = flat_check, .memory = flat_memory, \
    .reads = flat_reads, .complete = flat_complete

const struct index_ops flat_ops = {
    .name = "FLAT", .format = 1, .build_params = flat_build_params,
    .types = TYPE_BIT(VECDB_TYPE_FLOAT_VECTOR) | TYPE_BIT(VECDB_TYPE_FLOAT16_VECTOR) |
             TYPE_BIT(VECDB_TYPE_BFLOAT16_VECTOR) | TYPE_BIT(VECDB_TYPE_INT8_VECTOR),
    FLAT_FUNCTIONS,
};
const struct index_ops bin_flat_ops = {
    .name = "BIN_FLAT", .format = 1, .build_params = no_params, .types = TYPE_BIT(VECDB_TYPE_BINARY_VECTOR),
    FLAT_FUNCTIONS,
};
