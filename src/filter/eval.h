/* One evaluation of a filter over a source: what a thread needs while it runs. */
#ifndef VECDB_FILTER_EVAL_H
#define VECDB_FILTER_EVAL_H

#include "filter/plan.h"
#include "filter/scalar_index.h"

struct frame {
    uint32_t node, next; /* the child to come */
    uint64_t *mask;
};

/* How a condition's rows are found, and what is expected of them. Joints have one too, for their estimates. */
struct access {
    const struct scalar_index *index; /* NULL: a scan */
    struct scalar_lookup lookup;
    uint64_t *bits;      /* what the index found */
    double cost;         /* of scanning a row, nanoseconds or so */
    double selectivity;  /* expected share of rows for which it is TRUE */
    uint64_t rows_in, rows_out; /* counted when explaining */
};

struct eval {
    const struct filter *filter;
    const struct filter_source *source;
    vecdb_status (*check)(void *context);
    void *check_context;

    struct column_scratch *scratches; /* a slot each, as the next two */
    struct column *columns;
    bool *loaded;                     /* of the block at hand */
    struct regex_scratch **regexes;
    uint64_t *bits;                   /* two blocks' worth, for kernels */
    uint64_t *levels;                 /* two more for each level of the plan */
    struct frame *frames;
    struct datum *stack;              /* of programs */
    uint64_t *found;                  /* of CONTAINS_ALL */
    struct vector *vectors;           /* of vector.c, which makes them */

    struct access *access;            /* per plan node */
    uint32_t *items;                  /* the filter's, each joint's in the order in which they are tried */
    bool counting;                    /* rows_in and rows_out are wanted */

    size_t block, row_count, words;   /* the block at hand */
    size_t block_words;               /* of the largest */
    size_t reads;                     /* columns read */
};

vecdb_status eval_init(struct eval *eval, const struct filter *filter, const struct filter_source *source);
/** Choose between indexes and scans, and the order of conditions; look up what indexes find. */
vecdb_status eval_plan(struct eval *eval, struct filter_counters *counters);
/** Columns are read when first wanted, a block at a time. */
vecdb_status eval_need_column(struct eval *eval, uint32_t slot);
/** A condition that is marked `vector`. */
vecdb_status eval_vectors(struct eval *eval, const struct condition *condition, uint64_t *mask);
/** A number against a lowered RANGE or SET; one of the two is NULL. */
bool eval_fixed_match(const struct condition *condition, const int64_t *integer, const double *real);
/** All blocks; `rows` as for filter_eval(). */
vecdb_status eval_run(struct eval *eval, uint64_t *rows, struct filter_counters *counters);
/** Also after a failed eval_init(). */
void eval_deinit(struct eval *eval);

#endif
