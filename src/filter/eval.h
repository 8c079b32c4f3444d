/* One evaluation of a filter over a source: what a thread needs while it runs. */
#ifndef VECDB_FILTER_EVAL_H
#define VECDB_FILTER_EVAL_H

#include "filter/plan.h"

struct frame {
    uint32_t node, next; /* the child to come */
    uint64_t *mask;
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

    size_t block, row_count, words;   /* the block at hand */
    size_t block_words;               /* of the largest */
    size_t reads;                     /* columns read */
};

vecdb_status eval_init(struct eval *eval, const struct filter *filter, const struct filter_source *source);
/** All blocks; `rows` as for filter_eval(). */
vecdb_status eval_run(struct eval *eval, uint64_t *rows, struct filter_counters *counters);
/** Also after a failed eval_init(). */
void eval_deinit(struct eval *eval);

#endif
