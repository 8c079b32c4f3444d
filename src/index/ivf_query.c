/* A query made ready for codes, and what its candidates come to. */
#include "index/ivf_planes.h"

#include "base/bytes.h"

#include <math.h>
#include <string.h>

#define REACH 3.0
#define ASK_ROWS 128 /* to be reranked, and asked for before the first of them is */

/* -- making ready */

struct query_layout {
    size_t scan, bytes, joined, refine, floats, terms, lut, table, hits, total;
    size_t spare, spare_table, spare_total; /* wanted only while the query is made ready */
};

static struct query_layout query_layout(const struct coder *coder, size_t k, size_t keep)
{
    struct query_layout layout;
    size_t at = 0, dim = coder->code_dim, tables = coder_fastscan(coder) ? coder_tables(coder) : 0;
    bool bounds = coder->kind != CODE_RAW && coder->kind != CODE_BYTES; /* distances of those are exact: none are pending */
    size_t candidates = (bounds ? sieve_scratch_hits(k) : k) * sizeof(struct hit), floats = dim * 4;

    if (shortlist_room(keep) * sizeof(uint64_t) > candidates)
        candidates = shortlist_room(keep) * sizeof(uint64_t);
    layout.scan = at;
    at += align_up(scan_scratch_size(coder->type, coder->dim), 64);
    layout.bytes = at;
    at += coder->kind == CODE_BYTES ? align_up((size_t)coder->dim * 4, 64) : 0;
    layout.joined = at;
    at += coder->ahead ? align_up(coder->dim, 64) : 0;
    layout.refine = at;
    at += coder->refiner.kind ? align_up((size_t)coder->dim * 4, 64) : 0;
    layout.floats = at;
    at += align_up(floats, 64);
    layout.terms = at;
    at += coder->kind == CODE_SQ8 || coder->kind == CODE_RABITQ ? align_up(2 * simd_code_dim(dim), 64) : 0;
    layout.lut = at;
    at += align_up(tables * 16, 64);
    layout.table = at;
    at += coder->kind == CODE_PQ && !coder_fastscan(coder) ? align_up(pq_table_floats(&coder->pq) * 4, 64) : 0;
    layout.hits = at;
    at += align_up(candidates, 64);
    layout.total = at;
    at = 0;
    layout.spare = at;
    at += align_up(3 * floats, 64);
    layout.spare_table = at;
    at += tables * 64;
    layout.spare_total = at;
    return layout;
}

size_t code_query_size(const struct coder *coder, size_t k, size_t keep)
{
    return query_layout(coder, k, keep).total;
}

size_t code_query_spare(const struct coder *coder) { return query_layout(coder, 1, 1).spare_total + 64; }

/* Smallest and largest of 16 entries, four side by side. */
static inline void table_range(const float *table, float *low, float *high)
{
    float least[4], most[4];

    for (size_t i = 0; i < 4; i++)
        least[i] = most[i] = table[i];
    for (size_t j = 4; j < 16; j += 4)
        for (size_t i = 0; i < 4; i++) { /* no fminf(): it is a call, for the sake of NaNs */
            least[i] = table[j + i] < least[i] ? table[j + i] : least[i];
            most[i] = table[j + i] > most[i] ? table[j + i] : most[i];
        }
    *low = least[0];
    *high = most[0];
    for (size_t i = 1; i < 4; i++) {
        *low = least[i] < *low ? least[i] : *low;
        *high = most[i] > *high ? most[i] : *high;
    }
}

/* Tables of floats to bytes with one step: entry ~ bias + step * byte, biases summed. */
static void quantize_tables(struct code_query *query, const float *table, size_t tables, size_t padded, uint8_t *lut)
{
    float span = 0, bias = 0, inverse;

    for (size_t t = 0; t < tables; t++) {
        float low, high;
        table_range(table + t * 16, &low, &high);
        span = high - low > span ? high - low : span;
    }
    query->lut_scale = span / 255;
    inverse = span > 1e-30f ? 255 / span : 0;
    for (size_t t = 0; t < tables; t++) {
        float low, high;
        table_range(table + t * 16, &low, &high);
        simd_codes()->sq8_encode(table + t * 16, 16, low, inverse, lut + t * 16);
        bias += low;
    }
    memset(lut + tables * 16, 0, (padded - tables) * 16);
    query->lut_bias = bias;
}

/* Sums of the elements that a 4-bit number picks, for every four of the query. */
static void sign_tables(const float *q, size_t tables, float *table)
{
    for (size_t t = 0; t < tables; t++, q += 4, table += 16) {
        table[0] = 0;
        for (unsigned i = 0; i < 4; i++)
            for (unsigned j = 0; j < 1u << i; j++)
                table[(1u << i) + j] = table[j] + q[i];
    }
}

static void prepare_rabitq(struct code_query *query, const struct coder *coder, const struct query_layout *layout,
                           uint8_t *scratch, uint8_t *spare)
{
    size_t dim = coder->code_dim, tables = dim / 4;
    int8_t *terms = (int8_t *)(scratch + layout->terms);
    const float *q = query->floats;
    bool two = coder->rabitq.bits == 8;
    float largest;

    if (coder->lean) { /* fewer steps are wasted on what all rows have in common */
        float *centred = (float *)(void *)(spare + layout->spare);
        simd_codes()->sub_f32(q, coder->mean, dim, centred);
        q = centred;
    }
    largest = fmaxf(fabsf(simd_compare()->min_f32(q, dim)), fabsf(simd_compare()->max_f32(q, dim)));
    query->sum = simd_codes()->sum_f32(q, dim);
    query->middle = rabitq_middle(&coder->rabitq, query->sum, simd_codes()->sum_f32(q, coder->rabitq.fine));
    if (coder_fastscan(coder)) {
        float *table = (float *)(void *)(spare + layout->spare_table);
        sign_tables(q, tables, table);
        quantize_tables(query, table, tables, tables, scratch + layout->lut);
        query->lut = scratch + layout->lut;
    }
    query->term_step = largest / (two ? 16256 : 127);
    if (!(query->term_step > 1e-30f))
        query->term_step = 0;
    if (two)
        simd_codes()->quantize_i8x2(q, dim, query->term_step > 0 ? 1 / query->term_step : 0, terms);
    else
        simd_codes()->quantize_i8(q, dim, query->term_step > 0 ? 1 / query->term_step : 0, terms);
    if (coder->lean)
        coder_spread_tail(coder, (uint8_t *)terms);
    query->terms = terms;
}

void code_query_init(struct code_query *out, const struct coder *coder, const struct vectors *vectors,
                     const struct index_search *search, const void *query, bool sieving, size_t keep, float epsilon,
                     struct hit *hits, void *scratch, void *spare_memory)
{
    struct query_layout layout = query_layout(coder, search->k, keep);
    uint8_t *base = scratch, *spare = spare_memory;
    float *floats = (float *)(void *)(base + layout.floats);
    struct hit *candidates = (struct hit *)(void *)(base + layout.hits);

    *out = (struct code_query){.floats = floats, .sieving = sieving, .epsilon = epsilon, .lowest = INFINITY, .next_list = NO_LIST};
    scan_prepare(&out->scan, coder->type, coder->metric, coder->dim, query, base + layout.scan);
    if (coder->refiner.kind)
        refine_prepare(&coder->refiner, query, &out->refine, &out->refine_sq, base + layout.refine,
                       (float *)(void *)(spare + layout.spare));
    coder_floats(coder, query, floats);
    out->square = simd_codes()->sumsq_f32(floats, coder->code_dim);
    out->norm = sqrtf(out->square);
    switch (coder->kind) {
    case CODE_RAW:
        break;
    case CODE_BYTES:
        if (coder->ahead) { /* L2 of floats: in the order of the planes */
            float *ordered = (float *)(void *)(spare + layout.spare);
            for (uint32_t i = 0; i < coder->dim; i++)
                ordered[i] = floats[coder->order[i]];
            query = ordered;
        }
        scan_prepare_bytes(&out->bytes, coder->metric, coder->dim, query, base + layout.bytes);
        out->byte_square = !out->bytes.integer ? 0
                           : coder->ahead      ? planes_query(coder, out->bytes.data)
                                               : simd_codes()->sumsq_u8(out->bytes.data, coder->dim);
        out->joined = base + layout.joined;
        break;
    case CODE_SQ8: {
        struct sq sq = {coder->dim, coder->mean};
        sq_query_init(&out->sq, &sq, floats, coder->l2, (float *)(void *)(spare + layout.spare),
                      (int8_t *)(base + layout.terms));
        break;
    }
    case CODE_PQ: {
        float *table = (float *)(void *)(coder_fastscan(coder) ? spare + layout.spare_table : base + layout.table);
        pq_table(&coder->pq, floats, coder->l2 ? -2 : -1, table);
        out->table = table;
        if (coder_fastscan(coder)) {
            quantize_tables(out, table, coder->pq.m, coder_tables(coder), base + layout.lut);
            out->lut = base + layout.lut;
        }
        break;
    }
    case CODE_RABITQ:
        prepare_rabitq(out, coder, &layout, base, spare);
    }
    if (sieving)
        sieve_init(&out->sieve, coder->refiner.kind ? &out->refine : &out->scan, vectors, search, hits, candidates);
    else
        shortlist_init(&out->best, (uint64_t *)(void *)candidates, keep);
}

/* -- results */

/* Score candidates first .. last - 1 exactly. errors: receives exact distance less estimate of each, or NULL. */
static void score_candidates(struct code_query *query, const struct scan_query *scan, const struct vectors *vectors,
                             const struct index_search *search, size_t first, size_t last, struct topk *exact,
                             float *errors, float scale)
{
    uint32_t rows[SCAN_CHUNK];
    float distances[SCAN_CHUNK];

    for (size_t n; first < last; first += n) {
        n = last - first < SCAN_CHUNK ? last - first : SCAN_CHUNK;
        for (size_t i = 0; i < n; i++)
            rows[i] = shortlist_hit(query->best.keys[first + i]).row;
        scan_gather(scan, vectors, rows, n, NULL, distances);
        for (size_t i = 0; i < n; i++) {
            float distance = distances[i] < INFINITY ? distances[i] : INFINITY;
            if (errors)
                errors[i] = distance - scale * shortlist_hit(query->best.keys[first + i]).distance;
            if ((!search->has_radius || distance < search->radius) && distance <= exact->threshold)
                topk_push(exact, distance, rows[i]);
        }
    }
}

/* Score the best estimates exactly: first a few more than k of them, which also show how far estimates of this query are
 * off; then those of the others that could still be a hit if theirs are off by no more than REACH standard deviations. */
static size_t rerank(struct code_query *query, const struct coder *coder, const struct vectors *vectors,
                     const struct index_search *search, struct hit *hits, uint64_t *reranked)
{
    const struct scan_query *scan = coder->refiner.kind ? &query->refine : &query->scan;
    struct topk exact;
    float errors[SCAN_CHUNK], scale = ivf_scale(coder);
    size_t first = search->k + (search->k / 2 > 6 ? search->k / 2 : 6), count;
    double mean = 0, square = 0;

    topk_init(&exact, hits, search->k);
    shortlist_squeeze(&query->best);
    count = query->best.count;
    if (search->has_radius || first > SCAN_CHUNK || first >= count) {
        score_candidates(query, scan, vectors, search, 0, count, &exact, NULL, scale);
    } else {
        size_t last = first;
        float limit;
        shortlist_split(&query->best, first);
        score_candidates(query, scan, vectors, search, 0, first, &exact, errors, scale);
        for (size_t i = 0; i < first; i++) {
            mean += errors[i];
            square += (double)errors[i] * errors[i];
        }
        mean /= (double)first;
        square = fmax(square / (double)first - mean * mean, 0);
        limit = (float)((exact.threshold - mean + REACH * sqrt(square)) / scale);
        for (size_t i = first; i < count; i++) {
            uint64_t key = query->best.keys[i];
            if (!(shortlist_hit(key).distance > limit))
                query->best.keys[last++] = key;
        }
        score_candidates(query, scan, vectors, search, first, last, &exact, NULL, scale);
        count = last;
    }
    *reranked += count;
    topk_finish(&exact);
    return exact.count;
}

void code_query_ask(struct code_query *query, const struct vectors *vectors, bool rerank_best)
{
    uint32_t rows[SCAN_CHUNK];
    size_t n = 0;

    if (query->sieving) {
        sieve_ask(&query->sieve);
        return;
    }
    if (!rerank_best)
        return;
    shortlist_squeeze(&query->best);
    for (; n < query->best.count && n < ASK_ROWS; n++)
        rows[n] = shortlist_hit(query->best.keys[n]).row;
    scan_ask(vectors, rows, n);
}

size_t code_query_finish(struct code_query *query, const struct coder *coder, const struct vectors *vectors,
                         const struct index_search *search, bool rerank_best, struct hit *hits, uint64_t *reranked)
{
    size_t count = 0;

    if (query->sieving) {
        count = sieve_finish(&query->sieve);
        *reranked += query->sieve.reranked;
        return count;
    }
    if (rerank_best)
        return rerank(query, coder, vectors, search, hits, reranked);
    shortlist_finish(&query->best);
    for (size_t i = 0; i < query->best.count && count < search->k; i++) {
        struct hit hit = shortlist_hit(query->best.keys[i]);
        hit.distance *= ivf_scale(coder);
        if (coder->l2 && hit.distance < 0)
            hit.distance = 0;
        if (search->has_radius && !(hit.distance < search->radius))
            continue;
        hits[count++] = hit;
        for (size_t j = count - 1; j > 0 && hit_before(&hits[j], &hits[j - 1]); j--) { /* what became equal */
            hits[j] = hits[j - 1];
            hits[j - 1] = hit;
        }
    }
    return count;
}
