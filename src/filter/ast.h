/* The tree of an expression, as parsed: nodes in one array, children before their parents, so that every pass is a loop
 * and nothing recurses however deep or long the expression is. */
#ifndef VECDB_FILTER_AST_H
#define VECDB_FILTER_AST_H

#include "filter/datum.h"
#include "filter/lexer.h"

#define FILTER_MAX_TEXT 65536   /* bytes */
#define FILTER_MAX_DEPTH 64     /* open parentheses, brackets, calls, not, ! and signs around a thing */
#define FILTER_MAX_NODES 4096   /* fields, constants and operators, without the constants of lists */
#define FILTER_MAX_LIST 10000   /* constants in a list in the text */
#define FILTER_MAX_LIST_PARAMETER 1000000 /* in a list given for a template */
#define FILTER_MAX_PATH 64      /* subscripts behind a field */

enum node_kind {
    NODE_CONSTANT,
    NODE_TEMPLATE,
    NODE_LIST,
    NODE_FIELD,
    NODE_PREFIX, /* op: MINUS, PLUS, TILDE, NOT, EXISTS */
    NODE_BINARY, /* op: a token; NOT_IN and NOT_LIKE as IN, LIKE with `negated` */
    NODE_RANGE,  /* a < b < c as the `and` of its two halves */
    NODE_IS_NULL,
    NODE_CALL
};

enum function {
    FUNCTION_CONTAINS,
    FUNCTION_CONTAINS_ALL,
    FUNCTION_CONTAINS_ANY,
    FUNCTION_LENGTH,
    FUNCTION_SAMPLE,
    FUNCTION_TEXT_MATCH,
    FUNCTION_PHRASE_MATCH,
    FUNCTION_PLUGGED /* of a plug-in */
};

/** One subscript: ["key"] or [3]. */
struct step {
    const char *key; /* NULL: an index */
    size_t length, index;
};

#define NODE_NONE UINT32_MAX

struct node {
    enum node_kind kind;
    enum token_kind op;
    bool negated, parenthesised;
    enum function function;
    size_t at;              /* byte of the text, for messages */
    uint32_t left, right;   /* PREFIX, IS_NULL: left only */
    uint32_t first, count;  /* LIST, CALL: children are items[first .. first + count - 1] of the tree */
    struct datum constant;
    const char *name;       /* FIELD, TEMPLATE, CALL; not terminated */
    size_t name_length;
    const struct step *steps;
    size_t step_count;
};

struct tree {
    struct node *nodes;
    uint32_t count, capacity;
    uint32_t *items;
    uint32_t item_count, item_capacity;
    uint32_t root; /* NODE_NONE for an empty text */
};

/** Whether a function of the language has this name, however written. */
bool function_is_ours(const char *name);
/** Parse; names stay names. The tree's arrays are mem_alloc()ed, what they point to is the arena's or the text's. */
vecdb_status tree_parse(struct lexer *lexer, struct tree *tree);
void tree_deinit(struct tree *tree);

#endif
