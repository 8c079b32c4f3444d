#include "index/ivf_planes.h"

#include "base/bitmap.h"
#include "base/mem.h"
#include "index/spread.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define SAMPLE_ROWS 4096
#define AHEAD_SHARE 0.75  /* of the variance: then few of the rows near a query are left over */
#define AHEAD_MOST 0.5    /* of the dimensions: with more of them little is saved */
#define ASK 512           /* bytes of the second plane worth asking for */

/* -- choosing */

/* The variance of each dimension, of rows picked evenly. */
static size_t measure(const struct vectors *vectors, struct spread *spreads, double *sums, float *row)
{
    size_t dim = vectors->dim, count = vectors->row_count < SAMPLE_ROWS ? vectors->row_count : SAMPLE_ROWS, n = 0;

    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)((unsigned __int128)i * vectors->row_count / count);
        if (vectors->present && !bitmap_get(vectors->present, at))
            continue;
        scan_to_f32(vectors->type, vectors->dim, vectors_row(vectors, at), row);
        for (size_t j = 0; j < dim; j++) {
            sums[j] += row[j];
            spreads[j].variance += (double)row[j] * row[j];
        }
        n++;
    }
    for (size_t j = 0; j < dim && n; j++)
        spreads[j].variance = spreads[j].variance / (double)n - sums[j] / (double)n * (sums[j] / (double)n);
    return n;
}

vecdb_status planes_choose(struct coder *coder, const struct vectors *vectors, uint16_t **order)
{
    size_t dim = coder->dim, most = (size_t)(AHEAD_MOST * (double)dim), ahead;
    double total;
    struct spread *spreads;
    double *sums;
    float *row;
    vecdb_status status = VECDB_OK;

    *order = NULL;
    coder->ahead = 0;
    if (coder->kind != CODE_BYTES || coder->metric != VECDB_METRIC_L2 || most < SPREAD_STEP || dim > UINT16_MAX)
        return VECDB_OK;
    spreads = mem_array_zalloc(dim, sizeof *spreads);
    sums = mem_array_zalloc(dim, sizeof *sums);
    row = mem_array_alloc(dim, sizeof *row);
    if (!spreads || !sums || !row) {
        status = error_nomem("planes of bytes");
        goto done;
    }
    for (size_t j = 0; j < dim; j++)
        spreads[j].dim = (uint32_t)j;
    if (!measure(vectors, spreads, sums, row))
        goto done;
    total = spread_sort(spreads, dim);
    ahead = spread_reach(spreads, dim, total, AHEAD_SHARE);
    if (!(total > 0) || ahead > most)
        goto done;
    if (!(*order = mem_array_alloc(dim, sizeof **order))) {
        status = error_nomem("planes of bytes");
        goto done;
    }
    for (size_t j = 0; j < dim; j++)
        (*order)[j] = (uint16_t)spreads[j].dim;
    coder->ahead = (uint32_t)ahead;
done:
    mem_free(spreads);
    mem_free(sums);
    mem_free(row);
    return status;
}

bool planes_order_valid(const uint16_t *order, uint32_t dim)
{
    uint64_t seen[(UINT16_MAX + 1) / 64] = {0};

    for (uint32_t i = 0; i < dim; i++) {
        if (order[i] >= dim || bitmap_get(seen, order[i]))
            return false;
        bitmap_set(seen, order[i]);
    }
    return true;
}

/* -- storing */

/* The first plane is in blocks of SIMD_BLOCK_ROWS rows, 128 lower: where a row's byte is. */
static size_t place(const struct coder *coder, size_t slot, size_t i)
{
    return slot / SIMD_BLOCK_ROWS * SIMD_BLOCK_ROWS * coder->code_size + i / 4 * 4 * SIMD_BLOCK_ROWS +
           slot % SIMD_BLOCK_ROWS * 4 + i % 4;
}

void planes_store(struct ivf_part *part, const struct coder *coder, size_t slot, const uint8_t *values)
{
    uint8_t *codes = (uint8_t *)(uintptr_t)part->codes;
    uint8_t *rest = (uint8_t *)(uintptr_t)part->extra + slot * coder->extra_size;
    int32_t square = 0;

    for (size_t i = 0; i < coder->ahead; i++) {
        uint8_t value = values[coder->order[i]];
        codes[place(coder, slot, i)] = value ^ 0x80;
        square += value * value;
    }
    for (size_t i = 0; i < coder->extra_size; i++)
        rest[i] = values[coder->order[coder->ahead + i]];
    ((int32_t *)(uintptr_t)part->factors[0])[slot] = square;
}

void planes_join(const struct ivf_part *part, const struct coder *coder, size_t slot, uint8_t *out)
{
    const uint8_t *from = part->codes + place(coder, slot, 0);

    for (size_t i = 0; i < coder->ahead; i += 4, from += 4 * SIMD_BLOCK_ROWS) {
        uint32_t four;
        memcpy(&four, from, sizeof four);
        four ^= 0x80808080;
        memcpy(out + i, &four, sizeof four);
    }
    memcpy(out + coder->ahead, part->extra + slot * coder->extra_size, coder->extra_size);
}

/* -- searching */

int32_t planes_query(const struct coder *coder, const uint8_t *query)
{
    return (int32_t)((uint32_t)simd_codes()->sumsq_u8(query, coder->ahead) -
                     256u * (uint32_t)simd_codes()->sum_u8(query, coder->ahead));
}

/* What is as far as the limit may still win by its row number: one float further. */
static float beyond(const struct code_query *query) { return nextafterf(query->sieve.limit, INFINITY); }

void planes_finish(const struct ivf_part *part, const struct coder *coder, struct code_query *query,
                   struct planes_held *held)
{
    float limit = beyond(query);
    int32_t rest[SCAN_CHUNK];
    size_t kept = 0;

    for (size_t i = 0; i < held->count; i++) { /* the limit may have come down */
        held->slots[kept] = held->slots[i];
        held->sums[kept] = held->sums[i];
        kept += (float)held->sums[i] < limit;
    }
    held->count = 0;
    if (!kept)
        return;
    query->sieve.reranked += kept;
    simd_distance()->l2sq_u8.gather((const uint8_t *)query->bytes.data + coder->ahead, part->extra, coder->extra_size,
                                    held->slots, kept, coder->extra_size, rest);
    for (size_t i = 0; i < kept; i++) {
        float distance = (float)(int32_t)((uint32_t)held->sums[i] + (uint32_t)rest[i]);
        if (distance < limit)
            sieve_push_exact(&query->sieve, distance, part->rows ? part->rows[held->slots[i]] : held->slots[i]);
    }
}

/* The i-th row to be asked for and those after it, PLANES_PIECE in all. A stream that begins anew with every list is read at two thirds of
 * the memory's speed at best; with as many lines asked for as are read it never stops. */
static void ask_piece(const struct ivf_part *part, const struct coder *coder, const struct planes_ask *ask, size_t i)
{
    size_t which = i >= ask->n[0], slot;

    i -= which ? ask->n[0] : 0;
    if (i >= ask->n[which])
        return;
    slot = ask->first[which] + i;
    simd_prefetch(part->codes + slot * coder->code_size, PLANES_PIECE * coder->code_size);
    simd_prefetch(part_squares(part) + slot, PLANES_PIECE * sizeof(int32_t));
}

void planes_scan(const struct ivf_part *part, const struct coder *coder, struct code_query *query, size_t first,
                 size_t n, const uint64_t *mask, const struct planes_ask *ask, struct planes_held *held)
{
    const int32_t *squares = part_squares(part) + first;
    size_t asked = coder->extra_size < ASK ? coder->extra_size : ASK, count;
    int32_t sums[SCAN_CHUNK], most;
    uint32_t found[SCAN_CHUNK], base = (uint32_t)query->byte_square;
    float limit;

    /* |q|^2 + |r|^2 - 2 <q, r>, with r 128 lower; sums may pass 2^31 on the way, as unsigned numbers may */
    for (size_t i = 0; i < n; i += PLANES_PIECE) {
        ask_piece(part, coder, ask, i);
        simd_distance()->ip_u8i8_blocks(query->bytes.data, part->codes + (first + i) * coder->code_size,
                                        ((n - i < PLANES_PIECE ? n - i : PLANES_PIECE) + SIMD_BLOCK_ROWS - 1) / SIMD_BLOCK_ROWS,
                                        coder->ahead, sums + i);
    }
    for (size_t i = 0; i < n; i++)
        sums[i] = (int32_t)(base + (uint32_t)squares[i] - 2u * (uint32_t)sums[i]);
    planes_finish(part, coder, query, held);
    limit = beyond(query) * (1 + 2 * FLT_EPSILON); /* as a whole number; what is held is compared again */
    most = limit < 2147483000.0f ? (int32_t)limit + 1 : INT32_MAX;
    count = simd_compare()->below_i32(sums, n, most, 0, found);
    for (size_t i = 0; i < count; i++) {
        uint32_t slot = (uint32_t)(first + found[i]);
        if (mask && !bitmap_get(mask, found[i]))
            continue;
        simd_prefetch(part->extra + slot * coder->extra_size, asked);
        held->slots[held->count] = slot;
        held->sums[held->count++] = sums[found[i]];
    }
}

void planes_distances(const struct ivf_part *part, const struct coder *coder, const struct code_query *query, size_t first,
                      size_t n, float *distances)
{
    for (size_t i = 0; i < n; i++) {
        planes_join(part, coder, first + i, query->joined);
        scan_rows(&query->bytes, query->joined, coder->dim, 1, NULL, distances + i);
    }
}
