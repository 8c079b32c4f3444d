/* Vectors to the codes a graph is walked on.
 *
 *   GRAPH_CODE_L2       bytes under squared distance. Lossless when every value is an integer and all lie within 255 of the
 *                       smallest; otherwise (x - mean) / step + 128, one step for all dimensions
 *   GRAPH_CODE_DOT      the same bytes under inner product with a query of signed bytes, for vectors of equal length: COSINE
 *                       (unless they all point much the same way), and IP after one more dimension has brought all rows to the same length (so that
 *                       the nearest by angle, by distance and by inner product are the same, and links are made by distance)
 *   GRAPH_CODE_HAMMING  the bits
 *   GRAPH_CODE_JACCARD
 *
 * Where dimensions differ much in spread, or one was added, vectors are rotated at random first, which
 * evens them out. Codes under squared distance that are not rotated have the dimensions that differ most first, where that puts
 * most of a distance into the beginning (`order`): a row that is too far by its beginning need not be scored to its end.
 * Scores are uint32_t, smaller is closer, in units only comparable with each other.
 *
 * Bytes under squared distance end where the rows end. Of a query further out, the code is its nearest point in that range,
 * and what lies beyond, e, is kept beside it: |q + e - r|^2 is |q - r|^2 - 2 <e, r> and a constant, two products of bytes. */
#ifndef VECDB_INDEX_GRAPH_CODEC_H
#define VECDB_INDEX_GRAPH_CODEC_H

#include "base/pool.h"
#include "base/rng.h"
#include "index/index.h"

enum graph_code_kind { GRAPH_CODE_L2, GRAPH_CODE_DOT, GRAPH_CODE_HAMMING, GRAPH_CODE_JACCARD, GRAPH_CODE_KINDS };
#define GRAPH_CODE_FAR GRAPH_CODE_KINDS /* a query's alone: GRAPH_CODE_L2 for one that lies outside of what codes can say */

struct graph_codec {
    uint32_t kind;
    uint32_t dim;      /* of the vectors */
    uint32_t code_dim; /* of the codes: bytes, a multiple of 64; or bits */
    bool lossless, rotate, normalize, augment;
    float step;        /* value of one code step */
    float radius;      /* length that `augment` brings rows to */
    size_t stride;     /* bytes of a code */
    float *mean;       /* code_dim; NULL for bits */
    uint8_t *signs;    /* of the rotation: 4 * code_dim / 8 bytes */
    uint32_t *order;   /* dim: the dimension that each byte is of; NULL: its own */
    size_t head, middle; /* bytes that bring most and nearly all of a distance; 0 without an order */
    uint32_t trained_rows;
};

/** A query, made comparable with codes. Its code lies in the caller's scratch. */
struct graph_query {
    const struct graph_codec *codec;
    void (*gather)(const void *query, const uint8_t *base, const uint32_t *ids, size_t n, size_t dim, uint32_t *out);
    uint32_t kind;
    const void *code;
    int64_t zero; /* the score of no distance */
    float step, length; /* GRAPH_CODE_DOT: of the code, and of the query itself */
    bool exact;    /* the scores are the distances themselves, so nothing is gained by scoring again */
    /* GRAPH_CODE_FAR: what lies beyond the code, as signed bytes; a score is (distance - along * product - least) * scale */
    const int8_t *beyond;
    double along, least, scale;
};

/** Learn from the rows; same rows and seed, same codec. On failure the codec is empty. */
vecdb_status graph_codec_train(struct graph_codec *codec, const struct vectors *vectors, vecdb_metric metric,
                               uint64_t seed, struct pool *pool);
/** stride, mean, signs and order for what kind, code_dim, rotate and head say. */
vecdb_status graph_codec_alloc(struct graph_codec *codec);
vecdb_status graph_codec_copy(const struct graph_codec *from, struct graph_codec *to);
/** Whether rows have the same codes. */
bool graph_codec_equal(const struct graph_codec *a, const struct graph_codec *b);
/** Whether they have the same codes but for the order of bytes. Lossless ones only. */
bool graph_codec_same_values(const struct graph_codec *a, const struct graph_codec *b);
/** Where in a code of `from` each of the first dim bytes of a code of `to` lies, which has the same values. places has room for
 * twice dim. */
void graph_codec_places(const struct graph_codec *from, const struct graph_codec *to, uint32_t *places);
/** Whether the rows it learnt from will do for so many. */
bool graph_codec_knows(const struct graph_codec *codec, size_t rows);
/** Whether codes with loss reach so far that hardly a row of these is cut off by them, as rows may be that it did not learn from. */
vecdb_status graph_codec_reaches(const struct graph_codec *codec, const struct vectors *vectors, bool *out);
/** Whether a row can be encoded without loss, as a lossless codec promises. */
bool graph_codec_fits(const struct graph_codec *codec, vecdb_type type, const void *row);
void graph_codec_deinit(struct graph_codec *codec);
/** Floats of scratch that encoding takes. */
size_t graph_codec_scratch(const struct graph_codec *codec);
void graph_codec_encode(const struct graph_codec *codec, vecdb_type type, const void *row, float *scratch, uint8_t *code);
/** `code` has room for 2 * stride bytes, 64-byte aligned. */
void graph_codec_query(const struct graph_codec *codec, vecdb_type type, const void *query, float *scratch, uint8_t *code,
                       struct graph_query *out);
/** Let a stored code be the query, as building does: distance between codes. */
void graph_codec_self(const struct graph_codec *codec, const uint8_t *code, struct graph_query *out);
/** Distance as the metric has it, of a score of a lossless code. */
float graph_codec_distance(const struct graph_codec *codec, uint32_t score);

/** Scores of n codes named by ids, which the caller has prefetched: of bits, and for queries far out. */
void graph_scores_other(const struct graph_query *query, const uint8_t *codes, const uint32_t *ids, size_t n, uint32_t *out);
/** Scores of n codes named by ids, which the caller has prefetched. */
static inline void graph_scores(const struct graph_query *query, const uint8_t *codes, const uint32_t *ids, size_t n,
                                uint32_t *out)
{
    if (query->gather)
        query->gather(query->code, codes, ids, n, query->codec->code_dim, out);
    else
        graph_scores_other(query, codes, ids, n, out);
}
/** Scores of n codes that follow one another. */
void graph_scores_rows(const struct graph_query *query, const uint8_t *codes, size_t n, uint32_t *out);

#endif
