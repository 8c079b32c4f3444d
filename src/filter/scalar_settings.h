/* What a user asked a scalar index to be: kind and parameters, checked against a field. */
#ifndef VECDB_FILTER_SCALAR_SETTINGS_H
#define VECDB_FILTER_SCALAR_SETTINGS_H

#include "filter/scalar_index_data.h"

struct settings {
    enum kind kind;
    struct operand operand; /* what is indexed */
    vecdb_type type, element_type;
    bool multi, grams;
    unsigned classes, min_gram, max_gram;
    size_t cardinality_limit;
    struct arena arena;
    struct buf text, parsed;
};

/** @param params  in one of the forms of scalar_index_check_params(). On failure too, there is something to deinit. */
vecdb_status settings_read(struct settings *settings, const struct schema *schema, size_t field, const char *kind,
                           const char *params);
void settings_deinit(struct settings *settings);
/** "BITMAP"; NULL for KIND_NONE. */
const char *scalar_kind_name(enum kind kind);

#endif
