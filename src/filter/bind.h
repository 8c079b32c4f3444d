/* Shared by the files that bind a tree to a schema: bind.c, and bind_condition.c, which makes the conditions. Nodes of the
 * tree are named by their number. */
#ifndef VECDB_FILTER_BIND_H
#define VECDB_FILTER_BIND_H

#include "filter/plan.h"

/* What a node of the tree has been found to be. */
struct bound {
    struct operand operand; /* CONSTANT kind for constants; lists too */
    uint32_t condition;     /* TYPE_CONDITION: plan node */
    vecdb_type element_type;
};

struct binder {
    struct filter *filter;
    struct lexer *lexer;
    const struct tree *tree;
    const struct schema *schema;
    struct json params;
    struct bound *bounds;
    uint32_t node_capacity;
    size_t slot_capacity;
};

#define FAIL(binder, at, ...) lexer_error((binder)->lexer, VECDB_ERR_FILTER, at, __VA_ARGS__)

/** "INT32 field year", "VARCHAR constant", "JSON path", ..., for messages; made in `room`. */
const char *bind_describe(const struct binder *binder, uint32_t number, char *room, size_t size);
/** "INT64" */
const char *bind_constant_name(const struct datum *constant);
/** A node of the plan more. */
vecdb_status bind_add_plan(struct binder *binder, struct plan_node node, uint32_t *out);
/** A node of the tree becomes a condition; the condition is copied. */
vecdb_status bind_put_condition(struct binder *binder, uint32_t number, const struct condition *condition);
/** It becomes a constant. */
vecdb_status bind_put_truth(struct binder *binder, uint32_t number, bool truth);
/** What a field of a type is. */
enum operand_type bind_type_of(vecdb_type type);
/** A constant, or a list of them. */
struct operand bind_constant_operand(struct datum constant);
/** A list as an array of JSON, for lists in lists and for comparing with JSON. */
vecdb_status bind_list_to_json(struct binder *binder, const struct datum *list, struct datum *out);
/** "<=", "like" */
const char *bind_operator_text(enum token_kind op);
/** The operand of a node, its program made, for a condition to keep. */
vecdb_status bind_take_operand(struct binder *binder, uint32_t number, struct operand *out);

/** ==, !=, <, ...; in; like, =~, !~; is null and exists; functions: each on a node whose children are bound. */
vecdb_status bind_comparison(struct binder *binder, uint32_t number);
vecdb_status bind_in(struct binder *binder, uint32_t number);
vecdb_status bind_pattern(struct binder *binder, uint32_t number);
vecdb_status bind_null(struct binder *binder, uint32_t number, bool exists);
vecdb_status bind_call(struct binder *binder, uint32_t number);

#endif
