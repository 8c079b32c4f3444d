/* Rows as codes, in lists: what FLAT (lists of neighbouring rows) and the IVF kinds (lists around centroids) share.
 *
 * Codes estimate squared L2 distances (metrics L2 and COSINE, the latter between vectors brought to length 1) or negative
 * inner products. Estimates are in that space; `ivf_scale` takes them to distances. */
#ifndef VECDB_INDEX_IVF_CODES_H
#define VECDB_INDEX_IVF_CODES_H

#include "base/bytes.h"
#include "index/refine.h"
#include "index/scan_sieve.h"
#include "index/shortlist.h"
#include "quant/pq.h"
#include "quant/rabitq.h"
#include "quant/sq.h"

enum code_kind {
    CODE_RAW = 0,    /* the vectors themselves: int8 and binary ones */
    CODE_BYTES = 1,  /* floats that are all whole numbers 0..255: exact too */
    CODE_SQ8 = 2,
    CODE_PQ = 3,
    CODE_RABITQ = 4,
};
#define NO_LIST SIZE_MAX
#define CODE_FACTORS 6 /* most floats that go with a code */
#define FASTSCAN_ROWS 32

/** How rows become codes. Pointers are borrowed. */
struct coder {
    enum code_kind kind;
    vecdb_type type;
    vecdb_metric metric;
    uint32_t dim;
    bool l2, unit;        /* the space; rows and queries brought to length 1 */
    bool exact;           /* codes give exact answers: RAW, BYTES, and SQ8 with its errors kept */
    bool turned;          /* rotated: PQ on request, RABITQ always */
    bool lean;            /* RABITQ that is not reranked: codes in one piece, two factors a row, the error one a list */
    uint32_t code_dim;    /* dimensions coded: dim, or padded to a multiple of 64 when turned; lean: from 64 on no padding */
    size_t code_size;     /* bytes a row; of fastscan codes on average */
    uint32_t ahead;       /* BYTES in two planes (ivf_planes.h): dimensions of the first; 0: in one piece */
    const uint16_t *order; /* dimensions in the order they are kept; ahead > 0 only */
    size_t extra_size;    /* bytes a row of what is read later: RABITQ's bits after the first, the second plane of BYTES */
    size_t fine_at;       /* lean: where in a code the last bits of the fine dimensions are */
    unsigned factors;     /* floats a row */
    unsigned block;       /* slots per block: 1, 32 for fastscan, SIMD_BLOCK_ROWS for two planes */
    const float *mean;    /* SQ8; lean: of the turned rows */
    const uint8_t *signs; /* turned: coder_sign_bytes() */
    struct pq pq;
    struct rabitq rabitq;
    struct refiner refiner; /* what answers are reranked with */
};
/** Factors: SQ8: square (L2 only), step, error (exact only). PQ, L2: |r|^2 + 2 <c, r>. RABITQ: add, factor, error of the
 * sign bit, then of the whole code when it has more bits; lean: add, factor, for a query less the mean. BYTES: length (COSINE), or
 * the squared one of what is in `codes`, a whole number kept in the place of a float (L2). */

static inline bool coder_fastscan(const struct coder *coder) { return coder->block == FASTSCAN_ROWS; }
/** Tables of a fastscan code; even. */
static inline size_t coder_tables(const struct coder *coder)
{
    return coder->kind == CODE_PQ ? align_up(coder->pq.m, 2) : coder->code_dim / 4;
}
static inline float ivf_scale(const struct coder *coder) { return coder->unit ? 0.5f : 1; }

/** Fill in sizes from kind, type, metric, dim, exact, turned, lean, ahead, pq.m, pq.bits, rabitq.bits, rabitq.fine. */
void coder_layout(struct coder *coder);
size_t coder_sign_bytes(const struct coder *coder);
/** Lean codes: the code_dim numbers of a code, or of a query, to the places they have in packed codes, simd_code_dim() in all:
 * the last block's so that as much as can be of its end is padding, which is not kept. */
void coder_spread_tail(const struct coder *coder, uint8_t *numbers);
/** What scanning codes and reranking read. */
struct index_reads coder_reads(const struct coder *coder);
/** A row as the floats that are coded: converted, brought to length 1, turned. out: code_dim floats. */
void coder_floats(const struct coder *coder, const void *row, float *out);
/** Turn code_dim floats (those past dim zero) in place. */
void coder_turn(const struct coder *coder, float *x);

/** Some rows' codes. Everything is borrowed or in `owned`. */
struct ivf_part {
    size_t list_count, row_count, slot_count; /* slots: with lists padded to whole blocks */
    const uint32_t *sizes;  /* rows of each list */
    const uint32_t *rows;   /* of each slot; NULL: slot i is row i */
    const uint8_t *codes, *extra;
    const float *factors[CODE_FACTORS]; /* slot_count each */
    const float *radius;    /* of each list: no row is farther from the centroid; NULL: no centroids */
    const float *spread;    /* lean: of each list, the largest error of a code */
    size_t *starts;         /* list_count + 1, slots; derived */
    float *max_error, *max_step, *max_norm; /* of each list, SQ8; max_error 0 unless exact; derived */
    uint8_t *owned;         /* or NULL */
    size_t owned_size;
};
/** BYTES, L2: the rows' squared lengths, of the first plane when there are two. */
static inline const int32_t *part_squares(const struct ivf_part *part)
{
    return (const int32_t *)(const void *)part->factors[0];
}
/** Bytes of a part's arrays, one after the other, each at a multiple of 64; fills the pointers when base is given. */
size_t part_layout(struct ivf_part *part, const struct coder *coder, bool has_rows, bool has_radius, uint8_t *base);
/** starts and the maxima; call when the rest is there. */
vecdb_status part_derive(struct ivf_part *part, const struct coder *coder);
/** Copy all arrays of `from` to those of `to`, which has the same layout. */
void part_copy(struct ivf_part *to, const struct ivf_part *from, const struct coder *coder);
/** Whether the floats of a part that came from a file make sense: VECDB_ERR_CORRUPT says which does not. */
vecdb_status part_check_factors(const struct ivf_part *part, const struct coder *coder, const char *owner);
void part_deinit(struct ivf_part *part);
size_t part_memory(const struct ivf_part *part);

/** Encode rows into slots first .. first + count - 1 of a part whose arrays are writable; slots are in one list, first is
 * the start of a block. centroid: code_dim floats, or NULL. *radius becomes as large as the largest distance from it, *spread,
 * of lean codes, as their largest error. */
struct code_scratch;
vecdb_status code_scratch_create(const struct coder *coder, struct code_scratch **out);
void code_scratch_free(struct code_scratch *scratch);
vecdb_status part_encode(struct ivf_part *part, const struct coder *coder, const struct pq_encoder *encoder,
                         const struct vectors *vectors, const float *centroid, size_t first, size_t count,
                         struct code_scratch *scratch, float *radius, float *spread);

/** One query. */
struct code_query {
    struct scan_query scan;  /* exact distances to vectors, and to RAW and BYTES codes */
    struct scan_query bytes; /* BYTES */
    struct scan_query refine; /* to what it is reranked with, unless that is the vectors */
    struct sq_query refine_sq;
    int32_t byte_square;     /* BYTES: of the query, when it is bytes too; planes_query() where there are two */
    uint8_t *joined;         /* BYTES in two planes: room for a row in one piece */
    const float *floats;     /* coded form, code_dim */
    float square, norm;      /* of floats */
    struct sq_query sq;
    const uint8_t *lut;      /* fastscan tables */
    const float *table;      /* PQ of 8 bits */
    float lut_scale, lut_bias;
    float sum;               /* of floats */
    const int8_t *terms;     /* RABITQ: the query for the bits after the first; lean: less the mean */
    float term_step, term_sum;
    float middle;            /* RABITQ: rabitq_middle() */
    float epsilon;           /* RABITQ: how many standard deviations a bound is */
    /* where candidates go */
    bool sieving;
    struct sieve sieve;      /* exact answers, and RABITQ reranked by its bounds */
    struct shortlist best;   /* estimates */
    size_t next_list;        /* scanned after this one, or NO_LIST */
    struct planes_held *held; /* BYTES in two planes: slots to be finished with the next list's; NULL: each finishes its own */
    uint64_t scored;
    /* under a filter: rows that were allowed in what was scanned; what `passed` was when the limit last came down, which was then */
    uint64_t passed, improved;
    float lowest;
};

/** Bytes of scratch one query wants. keep: estimates kept (k, or more to rerank). */
size_t code_query_size(const struct coder *coder, size_t k, size_t keep);
/** Bytes wanted only while a query is made ready: queries made one after the other may share them. */
size_t code_query_spare(const struct coder *coder);
/** Make a query ready. vectors: what answers are reranked with, the segment's or the refiner's. sieving: answers are exact distances
 * from `vectors`, otherwise estimates. hits: k of the caller's. scratch and spare: 64-byte aligned. */
void code_query_init(struct code_query *out, const struct coder *coder, const struct vectors *vectors,
                     const struct index_search *search, const void *query, bool sieving, size_t keep, float epsilon,
                     struct hit *hits, void *scratch, void *spare);
/** Beyond it a candidate's estimate, or bound, is of no use. */
static inline float code_query_limit(const struct code_query *query)
{
    return query->sieving ? query->sieve.limit : query->best.threshold;
}
/** Candidates there are. */
static inline size_t code_query_count(const struct code_query *query)
{
    return query->sieving ? query->sieve.pending_count + query->sieve.exact.count : query->best.count;
}

/** A query and what it is to a list. */
struct code_target {
    struct code_query *query;
    float list_term, list_distance; /* |q - c|^2 or -<q, c>, and |q - c|; PQ and RABITQ */
};
/** Score slots first .. last - 1 of a list for `count` queries, whose codes are read once. */
void part_scan(const struct ivf_part *part, const struct coder *coder, size_t list, size_t first, size_t last,
               const struct vectors *vectors, const struct index_search *search, const struct code_target *targets,
               size_t count);
/** Score some slots of a list for one query: first + offsets[i], ascending, n <= SCAN_CHUNK; no fastscan codes. offsets is
 * overwritten. */
void part_scan_slots(const struct ivf_part *part, const struct coder *coder, size_t list, size_t first, uint32_t *offsets,
                     size_t n, const struct code_target *target);
/** Ask for the rows that code_query_finish() will read first: before another query is finished, so that they arrive meanwhile. */
void code_query_ask(struct code_query *query, const struct vectors *vectors, bool rerank);
/** The best k, sorted, to hits; estimates are reranked with the vectors when `rerank`. Returns how many. */
size_t code_query_finish(struct code_query *query, const struct coder *coder, const struct vectors *vectors,
                         const struct index_search *search, bool rerank, struct hit *hits, uint64_t *reranked);

#endif
