/* Scoring codes: chunk by chunk, each kind its own way. */
#include "index/ivf_planes.h"

#include "base/bytes.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define STREAM_CHUNK 64  /* slots scored before they are looked at for one query: short enough that looking and waiting for memory
                          * go on at the same time */
#define MASKED_CHUNK 64  /* slots looked at together under a filter: without an allowed one they are skipped */
#define TOGETHER 4       /* queries whose tables are looked up in one pass over fastscan codes */
#define STAGE_FACTORS 3  /* factors of a code that is a first stage */
#define FASTSCAN_PIECE 64 /* rows whose codes are looked up between asking for as many */
#define SPARSE_SHARE 6   /* a chunk with fewer than one slot in so many allowed is scored slot by slot */

/* Slots of a chunk that may be returned. */
struct slot_mask {
    uint64_t words[SCAN_CHUNK / 64];
    size_t count;
};

static void slot_mask_init(struct slot_mask *mask, const struct ivf_part *part, const uint64_t *allowed,
                           const uint64_t *present, size_t first, size_t n)
{
    memset(mask->words, 0, sizeof mask->words);
    if (part->rows) {
        for (size_t i = 0; i < n; i++) /* rows without a value are in no list */
            mask->words[i / 64] |= (uint64_t)bitmap_get(allowed, part->rows[first + i]) << (i % 64);
    } else {
        for (size_t i = 0; i < n; i++)
            mask->words[i / 64] |= (uint64_t)((!allowed || bitmap_get(allowed, first + i)) &&
                                              (!present || bitmap_get(present, first + i)))
                                   << (i % 64);
    }
    mask->count = bitmap_count(mask->words, n);
}

/* Slots that RABITQ's sign bits left over. Their other bits have been asked for and are read when the next ones are found. */
struct stage_held {
    size_t count;
    uint32_t slots[SCAN_CHUNK];
    int32_t signs[SCAN_CHUNK];
    float bounds[SCAN_CHUNK];
};

/* A chunk being scored. slots: of the i-th score, when they were picked; NULL: first + i. */
struct chunk {
    const struct ivf_part *part;
    const struct coder *coder;
    struct code_query *query;
    const uint64_t *mask; /* of positions; NULL: all */
    const uint32_t *slots;
    size_t list, first, n;
    float list_term, list_distance;
    struct planes_held *held; /* BYTES in two planes */
    struct planes_ask ask;
    struct stage_held *stage; /* RABITQ of several bits */
};

static size_t chunk_slot(const struct chunk *chunk, size_t i) { return chunk->slots ? chunk->slots[i] : chunk->first + i; }

static uint32_t chunk_row(const struct chunk *chunk, size_t i)
{
    size_t slot = chunk_slot(chunk, i);

    return chunk->part->rows ? chunk->part->rows[slot] : (uint32_t)slot;
}

static bool chunk_allows(const struct chunk *chunk, size_t i) { return !chunk->mask || bitmap_get(chunk->mask, i); }

/* Ask for what goes with n fastscan codes from `slot` on: their first factors, and row numbers, which those that are kept want. They
 * are streams of their own, each too short for the hardware to follow. */
static void ask_beside(const struct ivf_part *part, const struct coder *coder, size_t slot, size_t n)
{
    unsigned factors = coder->factors < STAGE_FACTORS ? coder->factors : STAGE_FACTORS;

    for (unsigned f = 0; f < factors; f++)
        simd_prefetch(part->factors[f] + slot, n * sizeof(float));
    simd_prefetch(part->rows + slot, n * sizeof *part->rows);
}

/* Positions whose score is below the limit, or all while there is no limit; in the mask. */
static size_t below(const struct chunk *chunk, const float *scores, float limit, uint32_t *out)
{
    size_t n = 0, kept = 0;

    if (limit < INFINITY)
        n = simd_compare()->below_f32(scores, chunk->n, limit, 0, out);
    else
        for (; n < chunk->n; n++)
            out[n] = (uint32_t)n;
    for (size_t i = 0; i < n; i++)
        if (chunk_allows(chunk, out[i]))
            out[kept++] = out[i];
    return kept;
}

static void offer_best(const struct chunk *chunk, const float *scores)
{
    struct shortlist *best = &chunk->query->best;
    uint32_t found[SCAN_CHUNK];
    /* what is as far as the limit may still win by its row number: one float further */
    size_t n = below(chunk, scores, nextafterf(best->threshold, INFINITY), found);

    for (size_t i = 0; i < n; i++) {
        float score = scores[found[i]];
        if (!(score < INFINITY))
            score = INFINITY;
        if (score <= best->threshold)
            shortlist_push(best, score, chunk_row(chunk, found[i]));
    }
}

static void offer_exact(const struct chunk *chunk, const float *distances)
{
    struct sieve *sieve = &chunk->query->sieve;
    uint32_t found[SCAN_CHUNK];
    /* what is as far as the limit may still win by its row number: one float further */
    size_t n = below(chunk, distances, nextafterf(sieve->limit, INFINITY), found);

    for (size_t i = 0; i < n; i++)
        sieve_push_exact(sieve, distances[found[i]], chunk_row(chunk, found[i]));
}

/* Squared distances of bytes: |q|^2 + |r|^2 - 2 <q, r>, whole numbers, and one product for 64 of them. */
static void scan_squares(const struct chunk *chunk, const uint8_t *query, int32_t square)
{
    const int32_t *squares = part_squares(chunk->part);
    size_t size = chunk->coder->code_size;
    float distances[SCAN_CHUNK];
    int32_t products[SCAN_CHUNK];

    if (chunk->slots) {
        simd_distance()->ip_u8.gather(query, chunk->part->codes, size, chunk->slots, chunk->n, size, products);
        for (size_t i = 0; i < chunk->n; i++) /* sums may pass 2^31 on the way, as unsigned numbers may */
            distances[i] = (float)(int32_t)((uint32_t)square + (uint32_t)squares[chunk->slots[i]] - 2u * (uint32_t)products[i]);
    } else {
        squares += chunk->first;
        simd_distance()->ip_u8.rows(query, chunk->part->codes + chunk->first * size, size, chunk->n, size, products);
        for (size_t i = 0; i < chunk->n; i++)
            distances[i] = (float)(int32_t)((uint32_t)square + (uint32_t)squares[i] - 2u * (uint32_t)products[i]);
    }
    offer_exact(chunk, distances);
}

static void scan_exact(const struct chunk *chunk, const struct scan_query *scan)
{
    const struct ivf_part *part = chunk->part;
    const uint8_t *codes = part->codes;
    size_t size = chunk->coder->code_size;
    const float *norms = chunk->coder->factors && chunk->coder->unit ? part->factors[0] : NULL;
    float distances[SCAN_CHUNK];

    if (chunk->slots) {
        struct vectors rows = {.type = chunk->coder->type, .dim = chunk->coder->dim, .width = size, .stride = size,
                               .row_count = part->slot_count, .block_shift = 40, .blocks = &codes};
        scan_gather(scan, &rows, chunk->slots, chunk->n, norms, distances);
    } else {
        scan_rows(scan, codes + chunk->first * size, size, chunk->n, norms ? norms + chunk->first : NULL, distances);
    }
    offer_exact(chunk, distances);
}

static void scan_planes(const struct chunk *chunk)
{
    struct planes_held now;

    if (!chunk->query->bytes.integer) {
        float distances[SCAN_CHUNK];
        planes_distances(chunk->part, chunk->coder, chunk->query, chunk->first, chunk->n, distances);
        offer_exact(chunk, distances);
        return;
    }
    if (chunk->held) {
        planes_scan(chunk->part, chunk->coder, chunk->query, chunk->first, chunk->n, chunk->mask, &chunk->ask, chunk->held);
        return;
    }
    now.count = 0;
    planes_scan(chunk->part, chunk->coder, chunk->query, chunk->first, chunk->n, chunk->mask, &chunk->ask, &now);
    planes_finish(chunk->part, chunk->coder, chunk->query, &now);
}

static void scan_bytes(const struct chunk *chunk)
{
    const struct scan_query *bytes = &chunk->query->bytes;

    if (chunk->coder->ahead)
        scan_planes(chunk);
    else if (bytes->integer && bytes->metric == VECDB_METRIC_L2)
        scan_squares(chunk, bytes->data, chunk->query->byte_square);
    else
        scan_exact(chunk, bytes);
}

/* scores[i] = a[i] + g + b[i] * (scale * ip[i] + k), a[] and b[] by slot; as the kernel for integers. */
static void score_floats(const struct chunk *chunk, const float *ip, const float *a, const float *b, float g, float scale,
                         float k, float *scores)
{
    if (chunk->slots) {
        for (size_t i = 0; i < chunk->n; i++) {
            size_t slot = chunk->slots[i];
            scores[i] = (a ? a[slot] : 0) + g + b[slot] * (scale * ip[i] + k);
        }
        return;
    }
    b += chunk->first;
    if (a) {
        a += chunk->first;
        for (size_t i = 0; i < chunk->n; i++)
            scores[i] = a[i] + g + b[i] * (scale * ip[i] + k);
    } else {
        for (size_t i = 0; i < chunk->n; i++)
            scores[i] = g + b[i] * (scale * ip[i] + k);
    }
}

static void scan_sq8(const struct chunk *chunk)
{
    const struct ivf_part *part = chunk->part;
    const struct coder *coder = chunk->coder;
    const struct sq_query *q = &chunk->query->sq;
    const struct scan_f32 *dot = &simd_codes()->dot_u8s8x2;
    struct sieve *sieve = &chunk->query->sieve;
    float ip[SCAN_CHUNK], scores[SCAN_CHUNK], factor = coder->l2 ? -2 : -1, scale = ivf_scale(coder);
    float rounding = FLT_EPSILON * (float)(coder->dim + 8), limit, slack, error;
    uint32_t found[SCAN_CHUNK];
    size_t n;

    if (chunk->slots)
        dot->gather(q->terms, part->codes, coder->code_size, chunk->slots, chunk->n, coder->dim, ip);
    else
        dot->rows(q->terms, part->codes + chunk->first * coder->code_size, coder->code_size, chunk->n, coder->dim, ip);
    score_floats(chunk, ip, coder->l2 ? part->factors[0] : NULL, part->factors[coder->l2],
                 coder->l2 ? q->square : -q->offset, factor * q->step, -127.5f * factor * q->step * q->sum, scores);
    if (!chunk->query->sieving) {
        offer_best(chunk, scores);
        return;
    }
    /* What float arithmetic may have added here, and what it may add to the exact distance (`rounding`). */
    slack = 8 * FLT_EPSILON *
            ((q->norm + part->max_norm[chunk->list]) * (q->norm + part->max_norm[chunk->list]) +
             255 * part->max_step[chunk->list] * q->spread + fabsf(q->offset));
    limit = sieve->limit / scale;
    if (coder->l2) {
        error = part->max_error[chunk->list] + q->error + (coder->unit ? 1e-6f : 0);
        limit += 2 * rounding * (coder->unit ? 1 : limit);
        limit = sqrtf(fmaxf(limit, 0)) * (1 + 1e-6f) + error;
        limit = limit * limit * (1 + 1e-6f) + slack;
    } else {
        error = chunk->query->norm * part->max_error[chunk->list] * 1.00001f +
                q->error * (part->max_norm[chunk->list] + part->max_error[chunk->list]);
        slack += 2 * rounding * chunk->query->norm *
                 (part->max_norm[chunk->list] + part->max_error[chunk->list] + q->mean_norm);
        limit += error + slack;
    }
    n = below(chunk, scores, limit, found);
    for (size_t i = 0; i < n; i++) {
        float score = scores[found[i]], lower, upper;
        error = part->factors[coder->l2 + 1u][chunk_slot(chunk, found[i])];
        if (coder->l2) {
            error += q->error + (coder->unit ? 1e-6f : 0);
            lower = fmaxf(sqrtf(fmaxf(score - slack, 0)) * (1 - 1e-6f) - error, 0);
            upper = sqrtf(fmaxf(score + slack, 0)) * (1 + 1e-6f) + error;
            lower = lower * lower * scale;
            upper = upper * upper * scale;
            lower -= rounding * (coder->unit ? 1 : lower);
            upper += rounding * (coder->unit ? 1 : upper);
        } else {
            error = chunk->query->norm * error * 1.00001f +
                    q->error * (part->max_norm[chunk->list] + part->max_error[chunk->list]) + slack;
            lower = score - error;
            upper = score + error;
        }
        if (!(slack < 1e30f)) { /* beyond what floats can tell */
            lower = -INFINITY;
            upper = INFINITY;
        }
        if (!(lower > sieve->limit))
            sieve_push(sieve, lower, upper, chunk_row(chunk, found[i]));
    }
}

/* sums: what fastscan() made of the chunk, 4-bit codes. */
static void scan_pq(const struct chunk *chunk, const int32_t *sums)
{
    const struct ivf_part *part = chunk->part;
    const struct coder *coder = chunk->coder;
    const struct code_query *query = chunk->query;
    float scores[SCAN_CHUNK];

    if (coder_fastscan(coder)) {
        simd_codes()->score_i32(sums, coder->l2 ? part->factors[0] + chunk->first : NULL, NULL, chunk->n,
                                chunk->list_term + query->lut_bias, query->lut_scale, 0, scores);
    } else if (chunk->slots) {
        simd_codes()->pq8.gather(query->table, part->codes, coder->code_size, chunk->slots, chunk->n, coder->pq.m,
                                 scores);
        for (size_t i = 0; i < chunk->n; i++)
            scores[i] += chunk->list_term + (coder->l2 ? part->factors[0][chunk->slots[i]] : 0);
    } else {
        simd_codes()->pq8.rows(query->table, part->codes + chunk->first * coder->code_size, coder->code_size, chunk->n,
                               coder->pq.m, scores);
        for (size_t i = 0; i < chunk->n; i++)
            scores[i] += chunk->list_term + (coder->l2 ? part->factors[0][chunk->first + i] : 0);
    }
    offer_best(chunk, scores);
}

/* Offer a RaBitQ estimate and the standard deviation of its error. */
static void offer_rabitq(const struct chunk *chunk, size_t slot, float score, float error)
{
    struct code_query *query = chunk->query;
    uint32_t row = chunk->part->rows ? chunk->part->rows[slot] : (uint32_t)slot;
    float scale = ivf_scale(chunk->coder);

    if (!query->sieving) {
        if (!(score < INFINITY))
            score = INFINITY;
        if (score <= query->best.threshold)
            shortlist_push(&query->best, score, row);
        return;
    }
    error *= query->epsilon;
    if (!((score - error) * scale > query->sieve.limit))
        sieve_push(&query->sieve, (score - error) * scale, (score + error) * scale, row);
}

/* Products of a chunk's whole codes, of fewer than 8 bits, with the query's terms. */
static void code_products(const struct chunk *chunk, int32_t *products)
{
    const struct coder *coder = chunk->coder;
    const struct scan_i32 *dot = &simd_codes()->dot_code[coder->rabitq.bits], *last = &simd_codes()->dot_code[1];
    const int8_t *terms = chunk->query->terms;
    const uint8_t *from = chunk->part->codes + (chunk->slots ? 0 : chunk->first * coder->code_size);
    size_t dim = simd_code_dim(coder->code_dim), size = coder->code_size;
    int32_t fine[SCAN_CHUNK];

    if (chunk->slots)
        dot->gather(terms, from, size, chunk->slots, chunk->n, dim, products);
    else
        dot->rows(terms, from, size, chunk->n, dim, products);
    if (!coder->rabitq.fine)
        return;
    if (chunk->slots)
        last->gather(terms, from + coder->fine_at, size, chunk->slots, chunk->n, coder->rabitq.fine, fine);
    else
        last->rows(terms, from + coder->fine_at, size, chunk->n, coder->rabitq.fine, fine);
    for (size_t i = 0; i < chunk->n; i++)
        products[i] = 2 * products[i] + fine[i];
}

static void ask_stage(const struct ivf_part *part, const struct coder *coder, uint32_t slot)
{
    simd_prefetch(part->extra + (size_t)slot * coder->extra_size, coder->extra_size);
    for (unsigned f = STAGE_FACTORS; f < 2 * STAGE_FACTORS; f++)
        simd_prefetch_line(part->factors[f] + slot);
    simd_prefetch_line(part->rows + slot);
}

/* Score what is held with all bits. */
static void stage_finish(const struct chunk *chunk, struct stage_held *held)
{
    const struct ivf_part *part = chunk->part;
    const struct coder *coder = chunk->coder;
    struct code_query *query = chunk->query;
    unsigned bits = coder->rabitq.bits;
    float top = (float)(1u << (bits - 1)), limit = code_query_limit(query);
    int32_t extra[SCAN_CHUNK];
    size_t n = 0;

    if (query->sieving)
        limit /= ivf_scale(coder);
    for (size_t i = 0; i < held->count; i++) { /* the limit may have come down */
        held->slots[n] = held->slots[i];
        held->signs[n] = held->signs[i];
        n += !(held->bounds[i] > limit);
    }
    held->count = 0;
    if (!n)
        return;
    simd_codes()->dot_code[bits - 1].gather(query->terms, part->extra, coder->extra_size, held->slots, n, coder->code_dim, extra);
    for (size_t i = 0; i < n; i++) {
        uint32_t slot = held->slots[i];
        float sign = query->lut_scale * (float)held->signs[i] + query->lut_bias;
        float product = top * sign + query->term_step * (float)extra[i] - query->middle;
        float score = part->factors[3][slot] + chunk->list_term + part->factors[4][slot] * product;
        offer_rabitq(chunk, slot, score, part->factors[5][slot] * chunk->list_distance);
    }
}

/* sums: what fastscan() made of the chunk's sign bits, up to 5 bits. */
static void scan_rabitq(const struct chunk *chunk, const int32_t *signs)
{
    const struct ivf_part *part = chunk->part;
    const struct coder *coder = chunk->coder;
    struct code_query *query = chunk->query;
    const struct code_kernels *codes = simd_codes();
    unsigned bits = coder->rabitq.bits;
    size_t dim = coder->code_dim, first = chunk->first;
    float g = chunk->list_distance, wide = query->epsilon * g;
    float scores[SCAN_CHUNK], bounds[SCAN_CHUNK], limit;
    int32_t sums[SCAN_CHUNK];
    uint32_t found[SCAN_CHUNK];
    struct stage_held now, *held = chunk->stage ? chunk->stage : &now;
    size_t n;

    if (chunk->stage)
        stage_finish(chunk, held);
    now.count = 0;
    limit = code_query_limit(query);
    if (query->sieving)
        limit /= ivf_scale(coder);
    if (!coder_fastscan(coder)) {
        const uint8_t *from = part->codes + (chunk->slots ? 0 : first * coder->code_size);
        if (bits == 8) {
            float products[SCAN_CHUNK];
            if (chunk->slots)
                codes->dot_u8s8x2.gather(query->terms, from, coder->code_size, chunk->slots, chunk->n, dim, products);
            else
                codes->dot_u8s8x2.rows(query->terms, from, coder->code_size, chunk->n, dim, products);
            score_floats(chunk, products, part->factors[0], part->factors[1], chunk->list_term, query->term_step,
                         -query->middle, scores);
        } else {
            code_products(chunk, sums);
            if (chunk->slots)
                codes->score_i32_gather(sums, chunk->slots, part->factors[0], part->factors[1], chunk->n,
                                        chunk->list_term, query->term_step, -query->middle, scores);
            else
                codes->score_i32(sums, part->factors[0] + first, part->factors[1] + first, chunk->n, chunk->list_term,
                                 query->term_step, -query->middle, scores);
        }
        if (!query->sieving) {
            offer_best(chunk, scores);
            return;
        }
        for (size_t i = 0; i < chunk->n; i++)
            bounds[i] = scores[i] - (coder->lean ? part->spread[chunk->list] : part->factors[2][chunk_slot(chunk, i)]) * wide;
        n = below(chunk, bounds, limit, found);
        for (size_t i = 0; i < n; i++) {
            size_t slot = chunk_slot(chunk, found[i]);
            float error = coder->lean ? part->spread[chunk->list] : part->factors[2][slot];
            offer_rabitq(chunk, slot, scores[found[i]], error * g);
        }
        return;
    }
    codes->score_i32(signs, part->factors[0] + first, part->factors[1] + first, chunk->n, chunk->list_term,
                     query->lut_scale, query->lut_bias - 0.5f * query->sum, scores);
    for (size_t i = 0; i < chunk->n; i++)
        bounds[i] = scores[i] - part->factors[2][first + i] * wide;
    n = below(chunk, bounds, limit, found);
    if (bits == 1) {
        for (size_t i = 0; i < n; i++)
            offer_rabitq(chunk, first + found[i], scores[found[i]], part->factors[2][first + found[i]] * g);
        return;
    }
    for (size_t i = 0; i < n; i++) { /* what the sign bits leave over is scored with all bits */
        uint32_t slot = (uint32_t)(first + found[i]);
        ask_stage(part, coder, slot);
        held->slots[held->count] = slot;
        held->signs[held->count] = signs[found[i]];
        held->bounds[held->count++] = bounds[found[i]];
    }
    if (held == &now)
        stage_finish(chunk, held);
}

/* One chunk for one query. */
static void scan_chunk(const struct chunk *chunk, const int32_t *sums)
{
    chunk->query->scored += chunk->n;
    switch (chunk->coder->kind) {
    case CODE_RAW:
        scan_exact(chunk, &chunk->query->scan);
        break;
    case CODE_BYTES:
        scan_bytes(chunk);
        break;
    case CODE_SQ8:
        scan_sq8(chunk);
        break;
    case CODE_PQ:
        scan_pq(chunk, sums);
        break;
    case CODE_RABITQ:
        scan_rabitq(chunk, sums);
    }
}

/* The first of two planes is scored in long chunks, once there is a limit that leaves few of their rows over. */
static bool is_ahead(const struct coder *coder, const struct code_query *query)
{
    return coder->ahead && code_query_limit(query) < INFINITY;
}

/* What goes with rows first .. first + n - 1 of the list: as many, a long chunk on, or in the next list. */
static struct planes_ask ask_beyond(const struct ivf_part *part, size_t list, size_t next_list, size_t first, size_t n)
{
    size_t size = part->sizes[list], from = first - part->starts[list] + (size < SCAN_CHUNK ? size : SCAN_CHUNK);
    struct planes_ask ask = {.first = {part->starts[list] + from}};

    if (from < size)
        ask.n[0] = align_up(size - from < n ? size - from : n, PLANES_PIECE);
    if (ask.n[0] >= n || next_list == NO_LIST)
        return ask;
    from = from > size ? from - size : 0;
    ask.first[1] = part->starts[next_list] + from;
    ask.n[1] = part->sizes[next_list] > from ? part->sizes[next_list] - from : 0;
    return ask;
}

/* Codes of slots first .. first + n - 1 for one query, in pieces between which as much of what comes later is asked for. */
static void fastscan_paced(const struct ivf_part *part, const struct coder *coder, size_t list, const struct code_query *query,
                           size_t first, size_t n, int32_t *sums)
{
    struct planes_ask ask = ask_beyond(part, list, query->next_list, first, n);

    for (size_t i = 0; i < n; i += FASTSCAN_PIECE) {
        size_t step = n - i < FASTSCAN_PIECE ? n - i : FASTSCAN_PIECE;
        for (size_t j = i; j < i + step; j += PLANES_PIECE) {
            size_t which = j >= ask.n[0], at = j - (which ? ask.n[0] : 0), slot = ask.first[which] + at;
            if (at >= ask.n[which])
                continue;
            simd_prefetch(part->codes + slot * coder->code_size, PLANES_PIECE * coder->code_size);
            ask_beside(part, coder, slot, PLANES_PIECE);
        }
        simd_codes()->fastscan(part->codes + (first + i) * coder->code_size, (step + FASTSCAN_ROWS - 1) / FASTSCAN_ROWS,
                               coder_tables(coder), &query->lut, 1, sums + i, SCAN_CHUNK);
    }
}

void part_scan(const struct ivf_part *part, const struct coder *coder, size_t list, size_t first, size_t last,
               const struct vectors *vectors, const struct index_search *search, const struct code_target *targets,
               size_t count)
{
    const uint64_t *present = part->rows ? NULL : vectors->present;
    bool masked = search->allowed || present, stream = count == 1 && !coder_fastscan(coder);
    struct slot_mask mask;
    uint32_t slots[MASKED_CHUNK];
    int32_t sums[TOGETHER * SCAN_CHUNK];
    size_t end = part->starts[list] + part->sizes[list], n;
    struct planes_held own, *held = count > 1 ? NULL : targets[0].query->held ? targets[0].query->held : &own;
    struct stage_held stage;

    own.count = stage.count = 0;
    if (last > end)
        last = end;
    for (; first < last; first += n) {
        struct chunk chunk = {.part = part, .coder = coder, .list = list, .first = first,
                              .held = held, .stage = count == 1 ? &stage : NULL};
        size_t step = last - first, limit = masked ? MASKED_CHUNK : stream && !is_ahead(coder, targets[0].query) ? STREAM_CHUNK : SCAN_CHUNK;
        if (stream && !masked && step > limit && step < 2 * limit) /* alike: what goes before a short one would come late */
            step = align_up(step / 2, coder->block);
        n = chunk.n = step < limit ? step : limit;
        if (coder->ahead && count == 1)
            chunk.ask = ask_beyond(part, list, targets[0].query->next_list, first, n);
        if (masked) {
            slot_mask_init(&mask, part, search->allowed, present, first, n);
            if (!mask.count)
                continue;
            for (size_t i = 0; i < count; i++)
                targets[i].query->passed += mask.count;
            if (coder->block == 1 && mask.count * SPARSE_SHARE <= n) {
                chunk.n = simd_compare()->bits_list(mask.words, bitmap_words(n), (uint32_t)first, slots);
                chunk.slots = slots;
            } else if (mask.count < n) {
                chunk.mask = mask.words;
            }
        }
        for (size_t done = 0, together; done < count; done += together) {
            together = count - done < TOGETHER ? count - done : TOGETHER;
            if (coder_fastscan(coder)) {
                const uint8_t *luts[TOGETHER];
                for (size_t i = 0; i < together; i++)
                    luts[i] = targets[done + i].query->lut;
                if (count == 1)
                    fastscan_paced(part, coder, list, targets[0].query, first, n, sums);
                else
                    simd_codes()->fastscan(part->codes + first * coder->code_size, (n + FASTSCAN_ROWS - 1) / FASTSCAN_ROWS,
                                           coder_tables(coder), luts, together, sums, SCAN_CHUNK);
            }
            for (size_t i = 0; i < together; i++) {
                chunk.query = targets[done + i].query;
                chunk.list_term = targets[done + i].list_term;
                chunk.list_distance = targets[done + i].list_distance;
                scan_chunk(&chunk, sums + i * SCAN_CHUNK);
            }
        }
    }
    if (own.count)
        planes_finish(part, coder, targets[0].query, &own);
    if (stage.count)
        stage_finish(&(struct chunk){.part = part, .coder = coder, .query = targets[0].query, .list_term = targets[0].list_term,
                                     .list_distance = targets[0].list_distance}, &stage);
}

void part_scan_slots(const struct ivf_part *part, const struct coder *coder, size_t list, size_t first, uint32_t *offsets,
                     size_t n, const struct code_target *target)
{
    struct chunk chunk = {.part = part, .coder = coder, .query = target->query, .slots = offsets, .list = list,
                          .first = first, .n = n, .list_term = target->list_term, .list_distance = target->list_distance};

    for (size_t i = 0; i < n; i++)
        offsets[i] += (uint32_t)first;
    scan_chunk(&chunk, NULL);
}
