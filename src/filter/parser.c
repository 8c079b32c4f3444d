/* An operator-precedence parser with stacks of its own. Precedences are those of Milvus' grammar, but that `not` takes
 * the comparison behind it, as its documentation writes it. */
#include "filter/ast.h"

#include "base/mem.h"
#include "base/plant.h"
#include "base/plugged.h"
#include "base/utf8.h"

#include <string.h>
#include <strings.h>

/* What waits on the operator stack. */
struct waiting {
    enum { WAIT_PREFIX, WAIT_BINARY, WAIT_PAREN, WAIT_LIST, WAIT_CALL } kind;
    enum token_kind op;
    bool negated;
    unsigned char level; /* looser is larger */
    enum function function;
    size_t at, name_length; /* CALL: the name is at `at` */
    uint32_t operands;      /* LIST, CALL: operands below it */
    uint32_t constants; /* LIST: how many it has */
};

struct parser {
    struct lexer *lexer;
    struct tree *tree;
    struct token token;       /* the one at hand */
    struct waiting *waiting;
    uint32_t *operands;
    size_t waiting_count, waiting_capacity, operand_count, operand_capacity, depth, counted;
};

enum {
    LEVEL_TIGHT = 1, /* like, =~, exists */
    LEVEL_POWER = 2,
    LEVEL_SIGN = 3,
    LEVEL_PRODUCT = 4,
    LEVEL_SUM = 5,
    LEVEL_SHIFT = 6,
    LEVEL_IN = 7,
    LEVEL_ORDER = 10,
    LEVEL_EQUALITY = 11,
    LEVEL_NOT = 12,
    LEVEL_BIT_AND = 13,
    LEVEL_BIT_XOR = 14,
    LEVEL_BIT_OR = 15,
    LEVEL_AND = 16,
    LEVEL_OR = 17
};

static unsigned binary_level(enum token_kind op)
{
    switch (op) {
    case TOKEN_LIKE:
    case TOKEN_MATCH:
    case TOKEN_NOT_MATCH:
        return LEVEL_TIGHT;
    case TOKEN_POWER:
        return LEVEL_POWER;
    case TOKEN_STAR:
    case TOKEN_SLASH:
    case TOKEN_PERCENT:
        return LEVEL_PRODUCT;
    case TOKEN_PLUS:
    case TOKEN_MINUS:
        return LEVEL_SUM;
    case TOKEN_SHIFT_LEFT:
    case TOKEN_SHIFT_RIGHT:
        return LEVEL_SHIFT;
    case TOKEN_IN:
        return LEVEL_IN;
    case TOKEN_LT:
    case TOKEN_LE:
    case TOKEN_GT:
    case TOKEN_GE:
        return LEVEL_ORDER;
    case TOKEN_EQ:
    case TOKEN_NE:
        return LEVEL_EQUALITY;
    case TOKEN_AMPERSAND:
        return LEVEL_BIT_AND;
    case TOKEN_CARET:
        return LEVEL_BIT_XOR;
    case TOKEN_PIPE:
        return LEVEL_BIT_OR;
    case TOKEN_AND:
        return LEVEL_AND;
    case TOKEN_OR:
        return LEVEL_OR;
    default:
        return 0;
    }
}

static const struct {
    const char *name;
    enum function function;
} functions[] = {
    {"json_contains", FUNCTION_CONTAINS},         {"array_contains", FUNCTION_CONTAINS},
    {"json_contains_all", FUNCTION_CONTAINS_ALL}, {"array_contains_all", FUNCTION_CONTAINS_ALL},
    {"json_contains_any", FUNCTION_CONTAINS_ANY}, {"array_contains_any", FUNCTION_CONTAINS_ANY},
    {"array_length", FUNCTION_LENGTH},            {"random_sample", FUNCTION_SAMPLE},
    {"text_match", FUNCTION_TEXT_MATCH},          {"phrase_match", FUNCTION_PHRASE_MATCH},
};

/* ---- Growing arrays ---- */

static bool grow(void **array, size_t *capacity, size_t count, size_t size)
{
    size_t wanted = *capacity ? *capacity * 2 : 32;
    void *larger;

    if (count < *capacity)
        return true;
    larger = mem_realloc(*array, wanted * size);
    if (!larger)
        return false;
    *array = larger;
    *capacity = wanted;
    return true;
}

static vecdb_status add_node(struct parser *parser, struct node node, uint32_t *out)
{
    struct tree *tree = parser->tree;
    size_t capacity = tree->capacity;

    if (!grow((void **)&tree->nodes, &capacity, tree->count, sizeof node))
        return error_nomem("filter");
    tree->capacity = (uint32_t)capacity;
    tree->nodes[tree->count] = node;
    *out = tree->count++;
    return VECDB_OK;
}

static vecdb_status push_operand(struct parser *parser, uint32_t node)
{
    if (!grow((void **)&parser->operands, &parser->operand_capacity, parser->operand_count, sizeof node))
        return error_nomem("filter");
    parser->operands[parser->operand_count++] = node;
    return VECDB_OK;
}

static uint32_t pop_operand(struct parser *parser)
{
    return parser->operands[--parser->operand_count];
}

static vecdb_status push_waiting(struct parser *parser, struct waiting waiting)
{
    if (waiting.kind != WAIT_BINARY && ++parser->depth > FILTER_MAX_DEPTH)
        return lexer_error(parser->lexer, VECDB_ERR_LIMIT, waiting.at, "nested deeper than %d", FILTER_MAX_DEPTH);
    if (!grow((void **)&parser->waiting, &parser->waiting_capacity, parser->waiting_count, sizeof waiting))
        return error_nomem("filter");
    parser->waiting[parser->waiting_count++] = waiting;
    return VECDB_OK;
}

static struct waiting *top_waiting(struct parser *parser)
{
    return parser->waiting_count ? &parser->waiting[parser->waiting_count - 1] : NULL;
}

/* One node more that counts against the limit. */
static vecdb_status count_node(struct parser *parser, size_t at)
{
    if (++parser->counted > FILTER_MAX_NODES)
        return lexer_error(parser->lexer, VECDB_ERR_LIMIT, at, "more than %d fields, constants and operators",
                           FILTER_MAX_NODES);
    return VECDB_OK;
}

static vecdb_status put_operand(struct parser *parser, struct node node)
{
    uint32_t number = 0;

    TRY(count_node(parser, node.at));
    TRY(add_node(parser, node, &number));
    return push_operand(parser, number);
}

static vecdb_status next(struct parser *parser)
{
    return lexer_next(parser->lexer, &parser->token);
}

static vecdb_status expected(struct parser *parser, const char *what)
{
    char room[64];

    return lexer_error(parser->lexer, VECDB_ERR_FILTER, parser->token.at, "expected %s, found %s", what,
                       lexer_show(parser->lexer, &parser->token, room));
}

/* ---- Reducing ---- */

static bool is_order(const struct node *node)
{
    return node->kind == NODE_BINARY && (node->op == TOKEN_LT || node->op == TOKEN_LE || node->op == TOKEN_GT ||
                                         node->op == TOKEN_GE);
}

/* a < b, met by `< c`: the two comparisons share b. */
static vecdb_status reduce_range(struct parser *parser, const struct waiting *top, uint32_t left, uint32_t right)
{
    struct node *nodes = parser->tree->nodes;
    uint32_t before = nodes[left].kind == NODE_RANGE ? nodes[left].right : left, again;
    bool up = nodes[before].op == TOKEN_LT || nodes[before].op == TOKEN_LE;

    if (up != (top->op == TOKEN_LT || top->op == TOKEN_LE))
        return lexer_error(parser->lexer, VECDB_ERR_FILTER, top->at,
                           "a range goes one way: a < b <= c or a > b >= c; use and otherwise");
    TRY(count_node(parser, top->at));
    TRY(add_node(parser,
                 (struct node){.kind = NODE_BINARY, .op = top->op, .at = top->at, .left = nodes[before].right,
                               .right = right},
                 &again));
    return put_operand(parser, (struct node){.kind = NODE_RANGE, .at = top->at, .left = left, .right = again});
}

/* Take the top operator off and make its node. */
static vecdb_status reduce(struct parser *parser)
{
    struct waiting top = parser->waiting[--parser->waiting_count];
    struct node node = {.op = top.op, .negated = top.negated, .at = top.at};

    if (top.kind == WAIT_PREFIX) {
        parser->depth--;
        node.kind = NODE_PREFIX;
        node.left = pop_operand(parser);
        return put_operand(parser, node);
    }
    node.kind = NODE_BINARY;
    node.right = pop_operand(parser);
    node.left = pop_operand(parser);
    if (top.level == LEVEL_ORDER) {
        const struct node *left = &parser->tree->nodes[node.left];

        if (!left->parenthesised && (is_order(left) || left->kind == NODE_RANGE))
            return reduce_range(parser, &top, node.left, node.right);
    }
    return put_operand(parser, node);
}

/* Reduce what binds at least as tightly as `level`. A prefix operator in front of an operand binds only what is behind
 * it, so it is the looser one that stops us. */
static vecdb_status reduce_down_to(struct parser *parser, unsigned level)
{
    for (struct waiting *top; (top = top_waiting(parser)) != NULL;) {
        if ((top->kind != WAIT_BINARY && top->kind != WAIT_PREFIX) || top->level > level)
            break;
        TRY(reduce(parser));
    }
    return VECDB_OK;
}

/* ---- Operands ---- */

static vecdb_status put_constant(struct parser *parser, struct datum constant)
{
    struct waiting *top = top_waiting(parser);
    struct node node = {.kind = NODE_CONSTANT, .at = parser->token.at, .constant = constant};
    uint32_t number = 0;

    if (!top || top->kind != WAIT_LIST)
        return put_operand(parser, node);
    if (++top->constants > FILTER_MAX_LIST)
        return lexer_error(parser->lexer, VECDB_ERR_LIMIT, parser->token.at, "more than %d values in a list",
                           FILTER_MAX_LIST);
    TRY(add_node(parser, node, &number));
    return push_operand(parser, number);
}

/* A number, with the sign in front of it if there was one. */
static vecdb_status parse_number(struct parser *parser, bool negative)
{
    const struct token *token = &parser->token;

    if (token->kind == TOKEN_REAL)
        return put_constant(parser, (struct datum){DATUM_DOUBLE, {.real = negative ? -token->real : token->real}});
    if (token->integer > INT64_MAX && !negative)
        return lexer_error(parser->lexer, VECDB_ERR_FILTER, token->at,
                           "9223372036854775808 is no number: integers are -9223372036854775808 to "
                           "9223372036854775807; add .0 for a DOUBLE");
    return put_constant(parser, (struct datum){DATUM_INT, {.integer = (int64_t)(negative ? -token->integer
                                                                                         : token->integer)}});
}

/* Whether the sign at hand belongs to the number behind it; not in -2 ** 2, where ** comes first. */
static bool is_signed_number(const struct parser *parser)
{
    struct lexer ahead = *parser->lexer;
    struct token number, behind;

    return lexer_next(&ahead, &number) == VECDB_OK && (number.kind == TOKEN_INT || number.kind == TOKEN_REAL) &&
           lexer_next(&ahead, &behind) == VECDB_OK && behind.kind != TOKEN_POWER;
}

/* The subscripts behind a field or $meta; the token at hand is behind its name. */
static vecdb_status parse_steps(struct parser *parser, struct node *node)
{
    struct step steps[FILTER_MAX_PATH];
    size_t count = 0;

    while (parser->token.kind == TOKEN_OPEN_BRACKET) {
        struct step *step = &steps[count];

        if (count == FILTER_MAX_PATH)
            return lexer_error(parser->lexer, VECDB_ERR_LIMIT, parser->token.at, "more than %d subscripts",
                               FILTER_MAX_PATH);
        TRY(next(parser));
        if (parser->token.kind == TOKEN_STRING)
            *step = (struct step){parser->token.string, parser->token.string_length, 0};
        else if (parser->token.kind == TOKEN_INT && parser->token.integer <= UINT32_MAX)
            *step = (struct step){NULL, 0, (size_t)parser->token.integer};
        else if (parser->token.kind == TOKEN_MINUS)
            return lexer_error(parser->lexer, VECDB_ERR_FILTER, parser->token.at,
                               "an index counts from 0 and cannot be negative");
        else
            return expected(parser, "a key in quotes or an index");
        TRY(next(parser));
        if (parser->token.kind != TOKEN_CLOSE_BRACKET)
            return expected(parser, "]");
        TRY(next(parser));
        count++;
    }
    if (count) {
        struct step *copy = arena_alloc(parser->lexer->arena, count, sizeof *copy);

        if (!copy)
            return VECDB_ERR_NOMEM;
        memcpy(copy, steps, count * sizeof *copy);
        node->steps = copy;
        node->step_count = count;
    }
    return VECDB_OK;
}

bool function_is_ours(const char *name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (strcasecmp(functions[i].name, name) == 0)
            return true;
    return false;
}

static vecdb_status find_function(struct parser *parser, const struct token *name, enum function *out)
{
    char lower[32];
    size_t n = name->string_length;
    bool upper = true, any = false;

    for (size_t i = 0; i < n && i < sizeof lower; i++) {
        char c = name->string[i];

        upper = upper && !(c >= 'a' && c <= 'z');
        any = any || (c >= 'A' && c <= 'Z');
        lower[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
    }
    for (size_t i = 0; n < sizeof lower && i < sizeof functions / sizeof *functions; i++)
        if (strlen(functions[i].name) == n && memcmp(functions[i].name, lower, n) == 0) {
            if (any && !upper)
                return lexer_error(parser->lexer, VECDB_ERR_FILTER, name->at,
                                   "write the function %s all in small letters, or all in capitals", functions[i].name);
            *out = functions[i].function;
            return VECDB_OK;
        }
    if (plugged_function(name->string, n)) {
        *out = FUNCTION_PLUGGED;
        return VECDB_OK;
    }
    return lexer_error(parser->lexer, VECDB_ERR_FILTER, name->at,
                       "there is no function %.*s; there are json_contains, json_contains_all, json_contains_any (and "
                       "the same as array_...), array_length, random_sample",
                       (int)(n < 40 ? n : 40), name->string);
}

/* A name: a field with subscripts, or a function's. Returns with *call true when its arguments follow. */
static vecdb_status parse_name(struct parser *parser, bool *call)
{
    struct token name = parser->token;
    struct node node = {.kind = NODE_FIELD, .at = name.at, .name = name.string, .name_length = name.string_length};

    TRY(next(parser));
    *call = parser->token.kind == TOKEN_OPEN;
    if (*call) {
        struct waiting waiting = {.kind = WAIT_CALL, .at = name.at, .name_length = name.length,
                                  .operands = (uint32_t)parser->operand_count};

        TRY(find_function(parser, &name, &waiting.function));
        TRY(push_waiting(parser, waiting));
        return next(parser);
    }
    TRY(parse_steps(parser, &node));
    return put_operand(parser, node);
}

static vecdb_status close_bracket(struct parser *parser);

/* Name = in a call of text_match or phrase_match: the values go by their places. */
static vecdb_status skip_argument_name(struct parser *parser)
{
    static const char *const names[] = {"minimum_should_match", "slop", "max_edit_distance"};
    struct waiting *top = top_waiting(parser);
    struct lexer ahead = *parser->lexer;
    struct token token;

    if (!top || top->kind != WAIT_CALL ||
        (top->function != FUNCTION_TEXT_MATCH && top->function != FUNCTION_PHRASE_MATCH) ||
        parser->token.kind != TOKEN_NAME || lexer_next(&ahead, &token) != VECDB_OK || token.kind != TOKEN_ASSIGN)
        return VECDB_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strlen(names[i]) == parser->token.string_length &&
            memcmp(names[i], parser->token.string, parser->token.string_length) == 0) {
            TRY(next(parser));
            return next(parser);
        }
    return expected(parser, "minimum_should_match or slop");
}

/* One step where an operand is due; *operand tells whether it was complete. */
static vecdb_status parse_operand(struct parser *parser, bool *operand)
{
    struct token *token = &parser->token;
    struct waiting waiting = {.kind = WAIT_PREFIX, .op = token->kind, .at = token->at, .level = LEVEL_SIGN};
    struct waiting *top = top_waiting(parser);
    bool call;

    TRY(skip_argument_name(parser));
    *operand = true;
    switch (token->kind) {
    case TOKEN_INT:
    case TOKEN_REAL:
        TRY(parse_number(parser, false));
        return next(parser);
    case TOKEN_TRUE:
    case TOKEN_FALSE:
        TRY(put_constant(parser, (struct datum){DATUM_BOOL, {.boolean = token->kind == TOKEN_TRUE}}));
        return next(parser);
    case TOKEN_STRING:
        TRY(put_constant(parser, (struct datum){DATUM_STRING, {.string = {token->string, token->string_length}}}));
        return next(parser);
    case TOKEN_TEMPLATE:
        TRY(put_operand(parser, (struct node){.kind = NODE_TEMPLATE, .at = token->at, .name = token->string,
                                              .name_length = token->string_length}));
        return next(parser);
    case TOKEN_NAME:
        TRY(parse_name(parser, &call));
        if (!call)
            return VECDB_OK;
        break;
    case TOKEN_NOT:
        waiting.level = LEVEL_NOT;
        TRY(push_waiting(parser, waiting));
        *operand = false;
        return next(parser);
    case TOKEN_NOT_MATCH: /* where an operand is due, !~ is a not and a complement */
        waiting.op = TOKEN_NOT;
        waiting.level = LEVEL_NOT;
        TRY(push_waiting(parser, waiting));
        *operand = false;
        token->kind = TOKEN_TILDE;
        token->at++;
        token->length--;
        return VECDB_OK;
    case TOKEN_EXISTS:
        waiting.level = LEVEL_TIGHT;
        TRY(push_waiting(parser, waiting));
        *operand = false;
        return next(parser);
    case TOKEN_PLUS:
    case TOKEN_MINUS:
        if (is_signed_number(parser)) {
            TRY(next(parser));
            TRY(parse_number(parser, waiting.op == TOKEN_MINUS));
            return next(parser);
        }
        /* fall through */
    case TOKEN_TILDE:
        TRY(push_waiting(parser, waiting));
        *operand = false;
        return next(parser);
    case TOKEN_OPEN:
        waiting.kind = WAIT_PAREN;
        TRY(push_waiting(parser, waiting));
        *operand = false;
        return next(parser);
    case TOKEN_OPEN_BRACKET:
        waiting.kind = WAIT_LIST;
        waiting.operands = (uint32_t)parser->operand_count;
        TRY(push_waiting(parser, waiting));
        TRY(next(parser));
        break;
    case TOKEN_NULL:
        return lexer_error(parser->lexer, VECDB_ERR_FILTER, token->at,
                           "null is no value to compare with: write `is null` or `is not null`");
    case TOKEN_ASSIGN:
        return expected(parser, "a value (equality is ==)");
    case TOKEN_CLOSE:
        if (top && top->kind == WAIT_CALL)
            return expected(parser, "an argument");
        return expected(parser, "a field, a value or (");
    default:
        return expected(parser, "a field, a value or (");
    }
    /* a call or a list has just been opened: it may be empty */
    *operand = false;
    top = top_waiting(parser);
    if ((top->kind == WAIT_LIST && token->kind == TOKEN_CLOSE_BRACKET) ||
        (top->kind == WAIT_CALL && token->kind == TOKEN_CLOSE)) {
        *operand = true;
        return close_bracket(parser);
    }
    return VECDB_OK;
}

/* The ) or ] at hand, all operators since its opening one being reduced. */
static vecdb_status close_bracket(struct parser *parser)
{
    struct waiting *top = top_waiting(parser);
    bool round = parser->token.kind == TOKEN_CLOSE;
    struct tree *tree = parser->tree;
    struct node node = {0};
    size_t capacity = tree->item_capacity;

    if (!top)
        return lexer_error(parser->lexer, VECDB_ERR_FILTER, parser->token.at, "found %c, which nothing opens",
                           round ? ')' : ']');
    if (round != (top->kind != WAIT_LIST))
        return expected(parser, round ? "]" : ")");
    parser->waiting_count--;
    parser->depth--;
    TRY(next(parser));
    if (top->kind == WAIT_PAREN) {
        tree->nodes[parser->operands[parser->operand_count - 1]].parenthesised = true;
        return VECDB_OK;
    }
    node.kind = top->kind == WAIT_LIST ? NODE_LIST : NODE_CALL;
    node.function = top->function;
    node.at = top->at;
    node.name = parser->lexer->text + top->at;
    node.name_length = top->name_length;
    node.first = tree->item_count;
    node.count = (uint32_t)(parser->operand_count - top->operands);
    for (size_t i = top->operands; i < parser->operand_count; i++) {
        if (!grow((void **)&tree->items, &capacity, tree->item_count, sizeof *tree->items))
            return error_nomem("filter");
        tree->item_capacity = (uint32_t)capacity;
        tree->items[tree->item_count++] = parser->operands[i];
    }
    parser->operand_count = top->operands;
    return put_operand(parser, node);
}

/* ---- Operators ---- */

static vecdb_status parse_is_null(struct parser *parser)
{
    struct node node = {.kind = NODE_IS_NULL, .at = parser->token.at};

    TRY(next(parser));
    if (parser->token.kind == TOKEN_NOT) {
        node.negated = true;
        TRY(next(parser));
    }
    if (parser->token.kind != TOKEN_NULL)
        return expected(parser, node.negated ? "null" : "null or not null");
    node.left = pop_operand(parser);
    TRY(put_operand(parser, node));
    return next(parser);
}

/* And, Or, oR, ...: keywords are written one way or the other. */
static bool is_miswritten_keyword(const struct token *token)
{
    static const char *const words[] = {"and", "or", "not", "in", "like", "is"};

    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strlen(words[i]) == token->string_length && strncasecmp(words[i], token->string, token->string_length) == 0)
            return true;
    return false;
}

/* One step where an operator is due; *operand tells whether an operand is due next. */
static vecdb_status parse_operator(struct parser *parser, bool *operand)
{
    struct waiting waiting = {.kind = WAIT_BINARY, .op = parser->token.kind, .at = parser->token.at};
    struct waiting *top;
    unsigned level;

    *operand = false;
    switch (parser->token.kind) {
    case TOKEN_CLOSE:
    case TOKEN_CLOSE_BRACKET:
        TRY(reduce_down_to(parser, LEVEL_OR));
        return close_bracket(parser);
    case TOKEN_COMMA:
        TRY(reduce_down_to(parser, LEVEL_OR));
        top = top_waiting(parser);
        if (!top || (top->kind != WAIT_LIST && top->kind != WAIT_CALL))
            return expected(parser, top ? ")" : "an operator or the end");
        TRY(next(parser));
        *operand = top->kind != WAIT_LIST || parser->token.kind != TOKEN_CLOSE_BRACKET; /* a list may end in a comma */
        return VECDB_OK;
    case TOKEN_IS:
        return parse_is_null(parser);
    case TOKEN_NOT:
        TRY(next(parser));
        if (parser->token.kind != TOKEN_IN && parser->token.kind != TOKEN_LIKE)
            return expected(parser, "in or like behind not");
        waiting.op = parser->token.kind;
        waiting.negated = true;
        break;
    case TOKEN_ASSIGN:
        return lexer_error(parser->lexer, VECDB_ERR_FILTER, parser->token.at, "expected an operator, found =: equality "
                                                                              "is ==");
    default:
        break;
    }
    level = binary_level(waiting.op);
    if (!level && parser->token.kind == TOKEN_NAME && is_miswritten_keyword(&parser->token))
        return expected(parser, "an operator, all in small letters or all in capitals");
    if (!level) {
        top = top_waiting(parser);
        while (top && (top->kind == WAIT_BINARY || top->kind == WAIT_PREFIX))
            top = top == parser->waiting ? NULL : top - 1;
        return expected(parser, !top                     ? "an operator or the end"
                                : top->kind == WAIT_LIST ? "an operator, a comma or ]"
                                : top->kind == WAIT_CALL ? "an operator, a comma or )"
                                                         : "an operator or )");
    }
    TRY(reduce_down_to(parser, level));
    waiting.level = (unsigned char)level;
    TRY(push_waiting(parser, waiting));
    *operand = true;
    return next(parser);
}

static vecdb_status parse(struct parser *parser)
{
    bool want_operand = true, complete;
    struct waiting *top;

    TRY(next(parser));
    if (parser->token.kind == TOKEN_END)
        return VECDB_OK;
    while (parser->token.kind != TOKEN_END || want_operand) {
        if (want_operand) {
            TRY(parse_operand(parser, &complete));
            want_operand = !complete;
        } else {
            TRY(parse_operator(parser, &want_operand));
        }
    }
    TRY(reduce_down_to(parser, LEVEL_OR));
    top = top_waiting(parser);
    if (top)
        return lexer_error(parser->lexer, VECDB_ERR_FILTER, parser->token.at, "expected %s, found the end",
                           top->kind == WAIT_LIST ? "]" : ")");
    parser->tree->root = pop_operand(parser);
    return VECDB_OK;
}

vecdb_status tree_parse(struct lexer *lexer, struct tree *tree)
{
    struct parser parser = {.lexer = lexer, .tree = tree};
    vecdb_status status;
    size_t bad;

    *tree = (struct tree){.root = NODE_NONE};
    if (lexer->length > FILTER_MAX_TEXT)
        return error_set(VECDB_ERR_LIMIT, "filter: a text of %zu bytes is longer than %d; give long lists as parameters",
                         lexer->length, FILTER_MAX_TEXT);
    if (!utf8_valid(lexer->text, lexer->length, &bad))
        return lexer_error(lexer, VECDB_ERR_FILTER, bad, "the text is not UTF-8");
    status = parse(&parser);
    mem_free(parser.waiting);
    mem_free(parser.operands);
    return status;
}

/* Planted bug 24: freeing goes down the tree, however deep it is. */
static __attribute__((noinline)) uint32_t plant_free_node(const struct tree *tree, uint32_t at)
{
    volatile char frame[64] = {0};
    const struct node *node = &tree->nodes[at];
    bool two = node->kind == NODE_BINARY || node->kind == NODE_RANGE;

    if (two)
        frame[0] = (char)plant_free_node(tree, node->left);
    return two ? plant_free_node(tree, node->right) + (uint32_t)frame[0] : at;
}

void tree_deinit(struct tree *tree)
{
    if (PLANTED(24) && tree->nodes && tree->root != NODE_NONE)
        (void)plant_free_node(tree, tree->root);
    mem_free(tree->nodes);
    mem_free(tree->items);
    *tree = (struct tree){.root = NODE_NONE};
}
