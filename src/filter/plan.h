/* A filter bound to a schema: conditions on operands, joined by `and` and `or`.
 *
 * There is no `not` left: it has been pushed into the conditions, so that only the rows for which a condition is TRUE are
 * ever computed. In three-valued logic the TRUE rows of `a and b` are those TRUE in both, of `a or b` those TRUE in
 * either; FALSE and UNKNOWN need telling apart only inside a negated condition, which is TRUE where the plain one is FALSE.
 */
#ifndef VECDB_FILTER_PLAN_H
#define VECDB_FILTER_PLAN_H

#include "base/plugged.h"
#include "filter/ast.h"
#include "filter/filter.h"
#include "filter/like.h"
#include "filter/regex.h"

#include <stdatomic.h>

/* What an operand is, before any row is seen. */
enum operand_type {
    TYPE_NONE,
    TYPE_BOOL,
    TYPE_INT,
    TYPE_FLOAT, /* a FLOAT field or element: constants are rounded to FLOAT before they meet it */
    TYPE_DOUBLE,
    TYPE_STRING,
    TYPE_JSON, /* known row by row */
    TYPE_ARRAY,
    TYPE_VECTOR,
    TYPE_LIST,
    TYPE_CONDITION
};

enum operand_kind {
    OPERAND_CONSTANT,
    OPERAND_COLUMN,  /* a field */
    OPERAND_PATH,    /* into a JSON field */
    OPERAND_ELEMENT, /* of an ARRAY field */
    OPERAND_LENGTH,  /* of an ARRAY field or JSON path */
    OPERAND_PROGRAM  /* arithmetic */
};

struct instruction {
    enum token_kind op; /* TOKEN_END: push the operand */
    bool prefix;
    const struct operand *operand;
};

struct operand {
    enum operand_kind kind;
    enum operand_type type;
    uint32_t slot;
    const struct step *steps;
    size_t step_count;
    struct datum constant;
    const struct instruction *program; /* in postfix order */
    size_t program_size, stack_size;
};

/* Values that a condition looks for, by kind, each sorted and without duplicates. */
struct set {
    unsigned classes;
    bool has[2]; /* false, true */
    const int64_t *integers;
    const double *reals; /* those that are no int64 */
    const struct datum *strings;
    const struct datum *values; /* arrays and objects, unsorted */
    size_t integer_count, real_count, string_count, value_count;
    /* a table of the strings' numbers + 1, for more than a few */
    const uint32_t *table;
    size_t table_mask;
};

/* Bounds on numbers or on strings; a bound of DATUM_NONE is none. */
struct bounds {
    struct datum low, high;
    bool low_open, high_open;
};

enum test {
    TEST_NEVER,    /* FALSE for every value */
    TEST_NULL,     /* no value; never UNKNOWN */
    TEST_TRUE,     /* BOOL values: is true */
    TEST_RANGE,
    TEST_SET,
    TEST_LIKE,
    TEST_REGEX,
    TEST_COMPARE,  /* with another operand */
    TEST_CONTAINS, /* some element is in the set */
    TEST_CONTAINS_ALL,
    TEST_SAMPLE,
    TEST_PLUGGED   /* a plug-in's function says */
};

struct condition {
    enum test test;
    bool negated;
    struct operand operand, other;
    enum token_kind op; /* COMPARE: EQ, LT or LE */
    struct bounds bounds;
    struct datum *items; /* SET, CONTAINS: as written; `set` is made of them */
    size_t item_count;
    struct set set;
    struct like *like;
    struct regex *regex;
    uint32_t regex_number;
    uint64_t threshold; /* SAMPLE: of 2^64 */
    const vecdb_plugin_function *function; /* PLUGGED; its constants are `items` */
    size_t at;

    /* For fields of fixed width, and for arithmetic that gives INT64 or DOUBLE: the same test in that type. */
    bool lowered, fixed, vector; /* vector: arithmetic, or two numbers compared, for vector.c */
    union {
        int64_t integer;
        double real;
    } low, high; /* RANGE, inclusive */
    const void *fixed_items; /* SET: int64_t or double, sorted */
    size_t fixed_count;
    const uint64_t *lookup; /* SET of integers close together: bit i is for low + i */
};

enum plan_kind { PLAN_ALL, PLAN_NONE, PLAN_CONDITION, PLAN_AND, PLAN_OR, PLAN_NOT /* while binding only */ };

struct plan_node {
    enum plan_kind kind;
    struct condition *condition;
    uint32_t left, right;  /* while binding */
    uint32_t first, count; /* AND, OR: children are items[first ..] */
};

/* A field that the filter reads. */
struct slot {
    size_t field;
    vecdb_type type, element_type;
    const char *name;
};

struct filter {
    atomic_uint references;
    struct arena arena;
    struct buf params; /* parsed: templates' strings point into it */
    struct slot *slots;
    size_t slot_count;
    struct plan_node *nodes;
    uint32_t node_count, root;
    uint32_t *items;
    size_t regex_count;
    struct regex **regexes;
    size_t stack_size; /* largest of the operands' */
    size_t set_size;   /* largest of the sets of CONTAINS_ALL */
    size_t depth;      /* of the plan */
    struct buf key;    /* text and parameters */
    uint64_t hash;     /* of key */
    const struct schema *schema; /* to be told from others by, not to be looked at */
    bool plugged;      /* asks a function of a plug-in */
};

/** Bind a parsed tree to the schema; fills the filter's slots and nodes. */
vecdb_status plan_bind(struct filter *filter, struct lexer *lexer, const struct tree *tree, const struct schema *schema,
                       struct json params);
/** Push `not` down, join and drop conditions, and put each in the form that its evaluation wants. */
vecdb_status plan_simplify(struct filter *filter, const struct lexer *lexer);

/** Of a row: what decides whether a condition is TRUE. */
enum truth { TRUTH_FALSE, TRUTH_TRUE, TRUTH_UNKNOWN };

/** Arithmetic as filters do it; NONE when there is no result: overflow, division by zero, no numbers. */
struct datum arithmetic_binary(enum token_kind op, const struct datum *a, const struct datum *b);
struct datum arithmetic_prefix(enum token_kind op, const struct datum *a);

/** Where in the set an equal value is, SIZE_MAX when nowhere; numbers are distinct and below set_size(). */
size_t set_find(const struct set *set, const struct datum *value);
size_t set_size(const struct set *set);
vecdb_status set_build(struct set *set, const struct datum *items, size_t count, struct arena *arena);

/** A condition on one value, before negation; not NULL, REGEX, COMPARE, CONTAINS.., SAMPLE. */
enum truth condition_test(const struct condition *condition, const struct datum *value);

#endif
