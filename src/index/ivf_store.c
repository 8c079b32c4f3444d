/* Storing inverted lists, and taking them back from bytes that may be anything. Format 2, little-endian:
 *   the header below (192 bytes), the part table (16 bytes a part, to a multiple of 64),
 *   centroids, mean, signs, codebook, mean of copies, order of dimensions (ivf_state_layout), then each part's arrays (part_layout),
 *   then the copies of all rows for reranking (refine.h), to a multiple of 64. */
#include "index/ivf_state.h"

#include "base/bytes.h"
#include "base/mem.h"
#include "index/ivf_planes.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct ivf_header {
    uint32_t magic, version;
    uint32_t code_kind, type, metric, dim;
    uint32_t flags;
    uint32_t pq_m, pq_bits, rabitq_bits;
    float rabitq_scale;
    uint32_t list_count;
    uint64_t row_count; /* of the segment when the last rows were added */
    uint64_t part_count;
    uint64_t size;      /* of everything */
    uint32_t probes[IVF_TARGETS];
    uint32_t refine_kind, refine_shift; /* what reranking reads, in blocks of 1 << shift rows once it grows */
    uint32_t rabitq_fine; /* dimensions with one bit more */
    uint32_t ahead;       /* bytes in two planes: dimensions of the first */
    uint8_t zeros[72];
};
_Static_assert(sizeof(struct ivf_header) == 192, "the header is stored");
#define IVF_MAGIC 0x31465649u /* "IVF1" */
#define IVF_VERSION 2

enum { FLAG_EXACT = 1, FLAG_TURNED = 2, FLAG_REFINE = 4, FLAG_LISTS_GIVEN = 8, FLAG_LEAN = 16, FLAG_PLANES = 32, FLAGS = 63 };

struct part_entry {
    uint64_t row_count, slot_count;
};

vecdb_status ivf_save(const struct index *index, struct buf *out)
{
    const struct ivf *ivf = (const struct ivf *)index;
    const struct ivf_view *view = ivf_view(ivf);
    const struct coder *coder = &ivf->coder;
    struct ivf copy = *ivf;
    size_t state = ivf_state_layout(&copy, NULL);
    size_t table = align_up(view->part_count * sizeof(struct part_entry), 64);
    struct ivf_header header = {
        .magic = IVF_MAGIC, .version = IVF_VERSION, .code_kind = coder->kind, .type = coder->type, .metric = coder->metric,
        .dim = coder->dim, .pq_m = coder->kind == CODE_PQ ? coder->pq.m : 0,
        .pq_bits = coder->kind == CODE_PQ ? coder->pq.bits : 0,
        .rabitq_bits = coder->kind == CODE_RABITQ ? coder->rabitq.bits : 0,
        .rabitq_scale = coder->kind == CODE_RABITQ ? coder->rabitq.scale : 0,
        .flags = (coder->exact ? FLAG_EXACT : 0u) | (coder->turned ? FLAG_TURNED : 0u) | (ivf->refine ? FLAG_REFINE : 0u) |
                 (ivf->list_count_given ? FLAG_LISTS_GIVEN : 0u) | (coder->lean ? FLAG_LEAN : 0u) |
                 (coder->ahead ? FLAG_PLANES : 0u),
        .ahead = coder->ahead,
        .rabitq_fine = coder->lean ? coder->rabitq.fine : 0,
        .list_count = (uint32_t)ivf->list_count, .row_count = view->vectors.row_count, .part_count = view->part_count};

    memcpy(header.probes, ivf->probes, sizeof header.probes);
    header.refine_kind = coder->refiner.kind;
    header.refine_shift = view->refine ? ivf->refine_shift : 0;
    header.size = sizeof header + table + state;
    for (size_t i = 0; i < view->part_count; i++) {
        struct ivf_part part = *view->parts[i];
        header.size += part_layout(&part, coder, true, true, NULL);
    }
    if (view->refine)
        header.size += align_up(view->refine->vectors.row_count * view->refine->vectors.stride, 64);
    TRY(buf_reserve(out, header.size));
    TRY(buf_append(out, &header, sizeof header));
    for (size_t i = 0; i < view->part_count; i++) {
        struct part_entry entry = {view->parts[i]->row_count, view->parts[i]->slot_count};
        TRY(buf_append(out, &entry, sizeof entry));
    }
    TRY(buf_append(out, NULL, table - view->part_count * sizeof(struct part_entry)));
    TRY(buf_append(out, ivf->centroids, state)); /* all of the state is one stretch */
    for (size_t i = 0; i < view->part_count; i++) {
        struct ivf_part part = {.list_count = ivf->list_count, .slot_count = view->parts[i]->slot_count};
        size_t at = out->size, size = part_layout(&part, coder, true, true, NULL);
        TRY(buf_append(out, NULL, size));
        part_layout(&part, coder, true, true, out->data + at);
        part_copy(&part, view->parts[i], coder);
    }
    if (view->refine) {
        const struct vectors *copies = &view->refine->vectors;
        size_t block = (size_t)1 << copies->block_shift, bytes = copies->row_count * copies->stride;
        for (size_t row = 0; row < copies->row_count; row += block)
            TRY(buf_append(out, vectors_row(copies, row),
                           (copies->row_count - row < block ? copies->row_count - row : block) * copies->stride));
        TRY(buf_append(out, NULL, align_up(bytes, 64) - bytes));
    }
    return VECDB_OK;
}

#define CORRUPT(...) corrupt(ivf, __VA_ARGS__)

__attribute__((format(printf, 2, 3))) static vecdb_status corrupt(const struct ivf *ivf, const char *format, ...)
{
    char text[200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return error_set(VECDB_ERR_CORRUPT, "%s: %s", ivf->kind->owner, text);
}

static vecdb_status check_header(const struct ivf *ivf, const struct ivf_header *header, size_t size,
                                 const struct vectors *vectors, vecdb_metric metric)
{
    uint32_t dim = header->flags & FLAG_TURNED ? (uint32_t)simd_code_dim(vectors->dim) : vectors->dim;

    if (header->magic != IVF_MAGIC)
        return CORRUPT("begins with %08x, not %08x", header->magic, IVF_MAGIC);
    if (header->version != IVF_VERSION)
        return error_set(VECDB_ERR_VERSION, "%s: format %u, this library reads %d", ivf->kind->owner, header->version,
                         IVF_VERSION);
    if (header->size != size)
        return CORRUPT("says %llu bytes, there are %zu", (unsigned long long)header->size, size);
    if (header->type != (uint32_t)vectors->type)
        return CORRUPT("type %u, the field has %u", header->type, (unsigned)vectors->type);
    if (header->metric != (uint32_t)metric)
        return CORRUPT("metric %u, the index has %u", header->metric, (unsigned)metric);
    if (header->dim != vectors->dim)
        return CORRUPT("dim %u, the field has %u", header->dim, vectors->dim);
    if (header->code_kind > CODE_RABITQ || !(ivf->kind->codes >> header->code_kind & 1))
        return CORRUPT("code kind %u is none of this index kind", header->code_kind);
    if (header->flags & ~(uint32_t)FLAGS)
        return CORRUPT("flags %x, known are %x", header->flags, (unsigned)FLAGS);
    if (header->row_count != vectors->row_count)
        return CORRUPT("%llu rows, the segment has %zu", (unsigned long long)header->row_count, vectors->row_count);
    if (header->list_count < 1 || header->list_count > 65536)
        return CORRUPT("%u lists, there may be 1..65536", header->list_count);
    if (header->part_count < 1 || header->part_count > IVF_PARTS_MAX + 1)
        return CORRUPT("%llu parts, there may be 1..%d", (unsigned long long)header->part_count, IVF_PARTS_MAX + 1);
    if (header->code_kind == CODE_PQ
            ? (header->pq_bits != 4 && header->pq_bits != 8) || !header->pq_m || header->pq_m > dim || dim % header->pq_m
            : header->pq_m || header->pq_bits)
        return CORRUPT("%u parts of %u bits for %u dimensions", header->pq_m, header->pq_bits, dim);
    if (header->code_kind == CODE_RABITQ ? header->rabitq_bits < 1 || header->rabitq_bits > 8 : header->rabitq_bits != 0)
        return CORRUPT("%u bits a dimension", header->rabitq_bits);
    if (header->code_kind == CODE_RABITQ ? !(header->rabitq_scale > 0 && header->rabitq_scale < 1e9f)
                                         : !(fabsf(header->rabitq_scale) <= 0))
        return CORRUPT("scale %g", (double)header->rabitq_scale);
    if (header->flags & FLAG_LEAN && (header->code_kind != CODE_RABITQ || header->flags & FLAG_REFINE ||
                                      header->rabitq_bits < 2 || header->rabitq_bits > 7))
        return CORRUPT("flags %x do not go with code kind %u of %u bits", header->flags, header->code_kind,
                       header->rabitq_bits);
    if (header->rabitq_fine && (!(header->flags & FLAG_LEAN) || header->rabitq_fine % SIMD_CODE_BLOCK ||
                                header->rabitq_fine > simd_code_dim(vectors->dim)))
        return CORRUPT("%u dimensions of %u have finer codes", header->rabitq_fine, vectors->dim);
    if (header->flags & FLAG_PLANES ? header->code_kind != CODE_BYTES || header->metric != VECDB_METRIC_L2 ||
                                          header->ahead == 0 || header->ahead % 4 || header->ahead >= vectors->dim
                                    : header->ahead != 0)
        return CORRUPT("%u of %u dimensions ahead, flags %x, code kind %u", header->ahead, vectors->dim, header->flags,
                       header->code_kind);
    if ((header->code_kind == CODE_RAW || header->code_kind == CODE_BYTES) && !(header->flags & FLAG_EXACT))
        return CORRUPT("code kind %u without exact answers", header->code_kind);
    if (header->code_kind >= CODE_PQ && header->flags & FLAG_EXACT)
        return CORRUPT("code kind %u with exact answers", header->code_kind);
    if (header->flags & FLAG_TURNED && header->code_kind != CODE_PQ && header->code_kind != CODE_RABITQ)
        return CORRUPT("code kind %u turned", header->code_kind);
    if (header->code_kind == CODE_RABITQ && !(header->flags & FLAG_TURNED))
        return CORRUPT("code kind %u not turned", header->code_kind);
    if ((header->code_kind == CODE_RAW) !=
        (vectors->type == VECDB_TYPE_BINARY_VECTOR || (vectors->type == VECDB_TYPE_INT8_VECTOR && header->code_kind < CODE_PQ)))
        return CORRUPT("code kind %u does not go with %s", header->code_kind, type_name(vectors->type));
    if (header->code_kind == CODE_BYTES && vectors->type != VECDB_TYPE_FLOAT_VECTOR)
        return CORRUPT("code kind %u does not go with %s", header->code_kind, type_name(vectors->type));
    if (header->refine_kind > REFINE_BF16 ||
        (header->refine_kind && (!(header->flags & FLAG_REFINE) || header->flags & FLAG_EXACT || !ivf->kind->refine_kind ||
                                 vectors->type == VECDB_TYPE_INT8_VECTOR || vectors->type == VECDB_TYPE_BINARY_VECTOR ||
                                 (header->refine_kind != REFINE_SQ8 && vectors->type != VECDB_TYPE_FLOAT_VECTOR))))
        return CORRUPT("copies of kind %u for reranking do not go with code kind %u, flags %x and %s", header->refine_kind,
                       header->code_kind, header->flags, type_name(vectors->type));
    if (header->refine_kind ? header->refine_shift < 6 || header->refine_shift > 16 : header->refine_shift != 0)
        return CORRUPT("copies for reranking in blocks of 2^%u rows", header->refine_shift);
    for (size_t i = 0; i < IVF_TARGETS; i++)
        if (header->probes[i] < 1 || header->probes[i] > header->list_count)
            return CORRUPT("%u lists to probe, there are %u", header->probes[i], header->list_count);
    for (size_t i = 0; i < sizeof header->zeros; i++)
        if (header->zeros[i])
            return CORRUPT("byte %zu of the header is %u, not 0", offsetof(struct ivf_header, zeros) + i,
                           header->zeros[i]);
    return VECDB_OK;
}

/* A part's sizes and row numbers; `seen` has a bit for every row that an earlier part or list holds. */
static vecdb_status check_part(const struct ivf *ivf, const struct ivf_part *part, const struct vectors *vectors,
                               uint64_t *seen)
{
    size_t slots = 0, rows = 0, slot = 0;

    for (size_t list = 0; list < part->list_count; list++) {
        slots += align_up(part->sizes[list], ivf->coder.block);
        rows += part->sizes[list];
        if (slots > part->slot_count)
            break;
    }
    if (slots != part->slot_count)
        return CORRUPT("lists take %zu slots, there are %zu", slots, part->slot_count);
    if (rows != part->row_count)
        return CORRUPT("lists have %zu rows, their part has %zu", rows, part->row_count);
    for (size_t list = 0; list < part->list_count; list++) {
        for (size_t i = 0; i < part->sizes[list]; i++) {
            uint32_t row = part->rows[slot + i];
            if (row >= vectors->row_count)
                return CORRUPT("list %zu has row %u, there are %zu", list, row, vectors->row_count);
            if (vectors->present && !bitmap_get(vectors->present, row))
                return CORRUPT("list %zu has row %u, which has no value", list, row);
            if (bitmap_get(seen, row))
                return CORRUPT("row %u is there twice", row);
            bitmap_set(seen, row);
        }
        slot += align_up(part->sizes[list], ivf->coder.block);
    }
    return part_check_factors(part, &ivf->coder, ivf->kind->owner);
}

/* The copies for reranking, from *at on. */
static vecdb_status open_copies(const struct ivf *ivf, const uint8_t *bytes, size_t *at, size_t size,
                                const struct vectors *vectors, struct refine_rows **out)
{
    const struct refiner *refiner = &ivf->coder.refiner;
    size_t stride = refine_stride(refiner), block = (size_t)1 << ivf->refine_shift, need;
    struct refine_rows *rows;

    *out = NULL;
    if (!refiner->kind)
        return VECDB_OK;
    if (!mem_array_size(vectors->row_count, stride, &need) || align_up(need, 64) > size - *at)
        return CORRUPT("copies of %zu rows take %zu bytes each, %zu are left", vectors->row_count, stride, size - *at);
    rows = mem_alloc(sizeof *rows + (vectors->row_count / block + 1) * sizeof rows->blocks[0]);
    if (!rows)
        return error_nomem(ivf->kind->owner);
    rows->vectors = (struct vectors){.type = vectors->type, .dim = vectors->dim, .width = stride, .stride = stride,
                                     .row_count = vectors->row_count, .block_shift = ivf->refine_shift,
                                     .blocks = rows->blocks};
    for (size_t i = 0; i * block < vectors->row_count; i++)
        rows->blocks[i] = bytes + *at + i * block * stride;
    *at += align_up(need, 64);
    *out = rows; /* the caller's to free, whatever comes */
    return refine_check(refiner, rows, ivf->kind->owner);
}

static vecdb_status open_parts(struct ivf *ivf, const struct ivf_header *header, uint8_t *bytes, size_t at, size_t size,
                               const struct vectors *vectors)
{
    struct ivf_part *parts[IVF_PARTS_MAX + 1] = {0};
    struct refine_rows *refine = NULL;
    uint64_t *seen = mem_array_zalloc(bitmap_words(vectors->row_count) + 1, sizeof *seen);
    size_t count = header->part_count, total = 0, present = vectors->row_count;
    vecdb_status status = seen ? VECDB_OK : error_nomem(ivf->kind->owner);

    for (size_t i = 0; i < count && status == VECDB_OK; i++) {
        struct part_entry entry;
        size_t need;
        memcpy(&entry, bytes + sizeof *header + i * sizeof entry, sizeof entry);
        if (entry.row_count > vectors->row_count || entry.slot_count < entry.row_count ||
            entry.slot_count - entry.row_count > header->list_count * (uint64_t)FASTSCAN_ROWS) {
            status = CORRUPT("part %zu: %llu rows in %llu slots", i, (unsigned long long)entry.row_count,
                             (unsigned long long)entry.slot_count);
            break;
        }
        parts[i] = mem_zalloc(sizeof *parts[i]);
        if (!parts[i]) {
            status = error_nomem(ivf->kind->owner);
            break;
        }
        parts[i]->list_count = ivf->list_count;
        parts[i]->row_count = entry.row_count;
        parts[i]->slot_count = entry.slot_count;
        need = part_layout(parts[i], &ivf->coder, true, true, NULL);
        if (need > size - at) {
            status = CORRUPT("part %zu takes %zu bytes, %zu are left", i, need, size - at);
            break;
        }
        part_layout(parts[i], &ivf->coder, true, true, bytes + at);
        at += need;
        total += entry.row_count;
        status = check_part(ivf, parts[i], vectors, seen);
        if (status == VECDB_OK)
            status = part_derive(parts[i], &ivf->coder);
    }
    if (vectors->present)
        present = bitmap_count(vectors->present, vectors->row_count);
    if (status == VECDB_OK)
        status = open_copies(ivf, bytes, &at, size, vectors, &refine);
    if (status == VECDB_OK && at != size)
        status = CORRUPT("%zu bytes after what belongs there", size - at);
    if (status == VECDB_OK && total != present)
        status = CORRUPT("%zu rows in lists, %zu have a value", total, present);
    if (status == VECDB_OK)
        status = ivf_publish(ivf, vectors, parts, count, refine);
    if (status != VECDB_OK)
        mem_free(refine);
    for (size_t i = 0; i < count && status != VECDB_OK; i++) {
        if (parts[i])
            part_deinit(parts[i]);
        mem_free(parts[i]);
    }
    mem_free(seen);
    return status;
}

vecdb_status ivf_open(const struct ivf_kind *kind, const void *data, size_t size, const struct vectors *vectors,
                      vecdb_metric metric, const struct params *params, struct index **out)
{
    struct ivf *ivf = ivf_create(kind, vectors, metric);
    struct ivf_header header;
    uint8_t *bytes = (uint8_t *)(uintptr_t)data;
    size_t at = sizeof header, state;
    vecdb_status status = VECDB_OK;

    *out = NULL;
    if (!ivf)
        return error_nomem(kind->owner);
    if (size < sizeof header)
        status = CORRUPT("%zu bytes, the header alone has %zu", size, sizeof header);
    else if ((uintptr_t)data % 64)
        status = error_set(VECDB_ERR_INVALID, "%s: data is not aligned to 64 bytes", kind->owner);
    if (status != VECDB_OK)
        goto done;
    memcpy(&header, data, sizeof header);
    if ((status = check_header(ivf, &header, size, vectors, metric)) != VECDB_OK)
        goto done;
    ivf->coder.kind = (enum code_kind)header.code_kind;
    ivf->coder.exact = header.flags & FLAG_EXACT;
    ivf->coder.turned = header.flags & FLAG_TURNED;
    ivf->refine = header.flags & FLAG_REFINE;
    ivf->list_count_given = header.flags & FLAG_LISTS_GIVEN;
    ivf->coder.pq.m = header.pq_m;
    ivf->coder.pq.bits = header.pq_bits;
    ivf->coder.rabitq.bits = header.rabitq_bits;
    ivf->coder.rabitq.scale = header.rabitq_scale;
    ivf->coder.lean = header.flags & FLAG_LEAN;
    ivf->coder.rabitq.fine = header.rabitq_fine;
    ivf->coder.ahead = header.ahead;
    ivf->list_count = header.list_count;
    memcpy(ivf->probes, header.probes, sizeof ivf->probes);
    ivf->coder.refiner = (struct refiner){.kind = (enum refine_kind)header.refine_kind, .type = vectors->type,
                                          .metric = metric, .dim = vectors->dim};
    ivf->refine_shift = header.refine_shift;
    coder_layout(&ivf->coder);
    at += align_up(header.part_count * sizeof(struct part_entry), 64);
    state = ivf_state_layout(ivf, NULL);
    if (at + state > size) {
        status = CORRUPT("%zu bytes, %u lists of %u dimensions take %zu", size, header.list_count, header.dim, at + state);
        goto done;
    }
    ivf_state_layout(ivf, bytes + at);
    if (!simd_codes()->finite_f32(ivf->centroids, ivf->list_count * ivf->coder.code_dim))
        status = CORRUPT("a centroid is not finite");
    else if (ivf->mean && !simd_codes()->finite_f32(ivf->mean, ivf->coder.code_dim))
        status = CORRUPT("the mean is not finite");
    else if (ivf->codebook &&
             !simd_codes()->finite_f32(ivf->codebook, pq_table_floats(&ivf->coder.pq) * ivf->coder.pq.sub_dim))
        status = CORRUPT("the codebook is not finite");
    if (status == VECDB_OK && ivf->refine_mean && !simd_codes()->finite_f32(ivf->refine_mean, ivf->coder.dim))
        status = CORRUPT("the mean of copies is not finite");
    if (status == VECDB_OK && ivf->order && !planes_order_valid(ivf->order, ivf->coder.dim))
        status = CORRUPT("the order of %u dimensions has one twice", ivf->coder.dim);
    if (status == VECDB_OK)
        status = open_parts(ivf, &header, bytes, at + state, size, vectors);
    if (status == VECDB_OK)
        status = ivf_derive(ivf);
done:
    if (status != VECDB_OK) {
        ivf_free(&ivf->base);
        return status;
    }
    *out = &ivf->base;
    return VECDB_OK;
}

/* A row's copy is what encoding the row gives, but for how another instruction set may round. */
static vecdb_status check_copy(const struct ivf *ivf, const struct ivf_view *view, size_t row)
{
    const struct refiner *refiner = &ivf->coder.refiner;
    size_t stride = view->refine->vectors.stride, bytes = refiner->kind == REFINE_SQ8 ? refiner->dim : stride;
    const uint8_t *copy = vectors_row(&view->refine->vectors, row);
    uint8_t *again = mem_alloc(stride + 8);
    float *spare = mem_array_alloc(refiner->dim, 3 * sizeof *spare);
    vecdb_status status = again && spare ? VECDB_OK : error_nomem(ivf->kind->owner);
    bool present = !view->vectors.present || bitmap_get(view->vectors.present, row);

    if (status == VECDB_OK && present && !refine_encode(refiner, vectors_row(&view->vectors, row), again, spare))
        status = CORRUPT("row %zu: a copy of bytes, and it is none", row);
    for (size_t i = 0; i < bytes && present && status == VECDB_OK; i++) {
        int difference = (int)copy[i] - (int)again[i];
        if (difference && (refiner->kind != REFINE_SQ8 || difference > 1 || difference < -1))
            status = CORRUPT("row %zu, byte %zu of its copy is %u, expected %u", row, i, copy[i], again[i]);
    }
    mem_free(again);
    mem_free(spare);
    return status;
}

vecdb_status ivf_check(const struct index *index)
{
    const struct ivf *ivf = (const struct ivf *)index;
    const struct ivf_view *view = ivf_view(ivf);
    const struct coder *coder = &ivf->coder;
    uint64_t *seen = mem_array_zalloc(bitmap_words(view->vectors.row_count) + 1, sizeof *seen);
    float *floats = mem_aligned_alloc(64, coder->code_dim * sizeof *floats);
    vecdb_status status = seen && floats ? VECDB_OK : error_nomem(ivf->kind->owner);

    for (size_t p = 0; p < view->part_count && status == VECDB_OK; p++) {
        const struct ivf_part *part = view->parts[p];
        status = check_part(ivf, part, &view->vectors, seen);
        for (size_t list = 0; list < part->list_count && status == VECDB_OK; list++) {
            for (size_t i = 0; i < part->sizes[list] && status == VECDB_OK; i++) {
                uint32_t row = part->rows[part->starts[list] + i];
                float distance;
                coder_floats(coder, vectors_row(&view->vectors, row), floats);
                distance = sqrtf(simd_distance()->l2sq_f32.one(floats, ivf->centroids + list * coder->code_dim,
                                                               coder->code_dim));
                if (distance > part->radius[list] * 1.001f + 1e-6f)
                    status = CORRUPT("row %u is %g from the centroid of list %zu, whose radius is %g", row,
                                     (double)distance, list, (double)part->radius[list]);
            }
        }
    }
    for (size_t row = 0; view->refine && row < view->vectors.row_count && status == VECDB_OK; row++)
        status = check_copy(ivf, view, row);
    mem_free(seen);
    mem_free(floats);
    return status;
}
