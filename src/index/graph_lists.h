/* A partition of a graph's rows beside its links, for searches under filters: a few lists of near rows, each with its centroid,
 * scanned in the order in which they may hold answers (graph_lists_scan.c).
 *
 * Distances from a query q to the rows x of a list about c lie about |q-c|^2 + beyond, and spread about that by spread * |q-c|;
 * `tail` says which share of them lies how many spreads below. All three are learnt from rows when lists are made, so the scan can tell
 * how many rows nearer than those it has are to be expected in the lists it has not looked at.
 *
 * Beside each row lies a sketch of its way from the centroid: a bit per dimension after a random rotation, and the numbers a and b with
 * which a + b * (what the query's planes and the sketch give) is how much farther than the centroid it is (as in graph_fused.h). A row is
 * fetched and scored only where that estimate, less its error, is below the worst of those found. */
#ifndef VECDB_INDEX_GRAPH_LISTS_H
#define VECDB_INDEX_GRAPH_LISTS_H

#include "index/cluster.h"
#include "index/graph_search.h"

#define GRAPH_LISTS_MIN_ROWS 8192 /* fewer rows are scanned one by one */
#define GRAPH_LISTS_MOST 32768    /* lists wished for */
#define GRAPH_TAILS 4             /* for queries at so many distances from a list */
#define GRAPH_TAIL_STEPS 128      /* of each: a 16th of a spread each, */
#define GRAPH_TAIL_FROM -6.0f     /* beginning here */
#define GRAPH_TAIL_PER 16.0f

struct graph_lists {
    uint32_t count;
    uint32_t row_limit;  /* rows below are in a list, if they have a value */
    uint32_t row_count;  /* rows in lists */
    uint32_t codes;      /* graph_state.codes they were made with */
    uint64_t mark;       /* of offsets and rows: another partition has another */
    uint8_t *centroids;  /* count x the codec's stride */
    float *beyond, *spread;
    float *tail;         /* GRAPH_TAILS x GRAPH_TAIL_STEPS */
    uint8_t *signs;      /* of the rotation: code_dim / 2 */
    float *center;       /* code_dim: taken from a query's code before it is rotated */
    uint32_t *offsets;   /* count + 1, into rows */
    uint32_t *rows;      /* ascending in each list */
    uint8_t *sketches;   /* per row: f32 a, f32 b, code_dim / 64 x u64 */
    struct graph_lists *retired; /* older ones, for those who may still read them */
};

/** Lists of all rows there are; none, and no error, for few rows or codes of bits. Replaces those there were. */
vecdb_status graph_lists_make(struct graph *graph, const struct index_build_context *context);
/** The same from leaves of the graph's nodes, each in one, of about graph_lists_leaf() rows. */
vecdb_status graph_lists_make_of(struct graph *graph, const struct cluster *cluster, const struct index_build_context *context);
/** How many of so many rows a list is to have; 0: there are to be none. */
size_t graph_lists_leaf(size_t rows);
/** The same when enough rows have come since, or the codes are others. */
vecdb_status graph_lists_renew(struct graph *graph, const struct index_build_context *context);
/** Lists whose arrays are still to be filled. */
vecdb_status graph_lists_alloc(const struct graph_codec *codec, size_t count, size_t row_count, struct graph_lists **out);
static inline size_t graph_sketch_size(const struct graph_codec *codec) { return 8 + (size_t)codec->code_dim / 8; }
/** Which tail is for queries so far (squared) from the centroid of a list. */
static inline size_t graph_tail_of(float apart, float beyond)
{
    return (size_t)(!(apart < 1.25f * beyond) + !(apart < 2.5f * beyond) + !(apart < 5 * beyond)); /* no branch could be foretold */
}
/** What makes a code the vector it stands for, in steps. */
void graph_lists_offset(const struct graph_codec *codec, float *out);
void graph_lists_free(struct graph_lists *lists);
size_t graph_lists_memory(const struct graph_lists *lists, const struct graph_codec *codec);

/** Give lists that are filled their mark. */
void graph_lists_set_mark(struct graph_lists *lists);
/** The arrays, to the end of a graph's file (graph_lists_file.c). */
vecdb_status graph_lists_save(const struct graph_lists *lists, const struct graph_codec *codec, struct buf *out);
struct graph_lists_sizes {
    uint32_t count, row_limit, row_count, rows; /* rows: that the graph has */
};
/** From what save wrote, `size` bytes. *out is NULL, and no error, when memory is wanting. What it holds is not checked yet. */
vecdb_status graph_lists_read(const struct graph_lists_sizes *sizes, const struct graph_codec *codec, const uint8_t *data,
                              size_t size, struct graph_lists **out);
/** Every invariant. */
vecdb_status graph_lists_check(const struct graph_lists *lists, const struct graph_state *state);

/** A scan: the `want` best rows that search->allowed has, into scratch->pool. It ends when fewer than `miss` of the nearest k
 * are expected to be elsewhere. scratch->floats are as graph_codec_query left them, and are overwritten. */
struct graph_lists_scan {
    const struct graph_lists *lists;
    const struct graph_state *state;
    const struct index_search *search;
    const struct graph_query *query;
    size_t want;
    double miss;  /* as a share of k */
    double recall; /* asked for */
};
/** *walk (`walk` may be NULL): nothing was scanned and nothing overwritten, for where the query is so many rows pass that a walk is the
 * better way. */
vecdb_status graph_lists_scan(const struct graph_lists_scan *scan, struct graph_scratch *scratch, bool *walk,
                              struct index_counters *counters);

#endif
