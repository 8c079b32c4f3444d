/* Parameters of index kinds: data, so that checks, messages, the command line and the documentation agree. */
#ifndef VECDB_INDEX_PARAMS_H
#define VECDB_INDEX_PARAMS_H

#include "base/buf.h"

struct param_spec {
    const char *name;      /* as the user writes it; compared without regard to capitals */
    double default_value;  /* of a word: its number in `choices` */
    double low, high;
    const char *meaning;
    const char *choices;   /* words separated by '|', numbered from 0; NULL for numbers */
    bool fraction;         /* not only integers */
};
#define PARAM_END {NULL, 0, 0, 0, NULL, NULL, false}
#define PARAMS_MAX 24 /* of one table */

/** Checked values, one per row of a table, in its order. */
struct params {
    const struct param_spec *specs;
    double values[PARAMS_MAX];
    uint32_t given; /* bit i: the user set value i; the others have their default */
};

/**
 * Check "M=16, efConstruction=200" or {"M": 16} against a table.
 * @param owner  "index HNSW": begins the messages.
 * @param text   NULL or "" for defaults.
 * @param other  a second table whose names are passed over (search parameters among build ones), or NULL.
 * @return VECDB_ERR_INVALID naming the parameter, its value and its range, or the nearest name there is.
 */
vecdb_status params_parse(const char *owner, const struct param_spec *specs, const struct param_spec *other,
                          const char *text, struct params *out);
void params_default(const struct param_spec *specs, struct params *out);
/** Value by name; the name must be in the table. */
double params_get(const struct params *params, const char *name);
/** As if the user had given it, and unchecked; the name must be in the table. */
void params_set(struct params *params, const char *name, double value);
bool params_given(const struct params *params, const char *name);
/** The values as a JSON object. */
vecdb_status params_print(const struct params *params, struct buf *out);

#endif
