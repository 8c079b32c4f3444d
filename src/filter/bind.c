/* Names to fields, types checked, constants computed, comparisons to conditions. */
#include "filter/plan.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <stdio.h>

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

/* ---- Words for messages ---- */

static const char *constant_name(const struct datum *constant)
{
    switch (constant->kind) {
    case DATUM_BOOL:
        return "BOOL";
    case DATUM_INT:
        return "INT64";
    case DATUM_DOUBLE:
        return "DOUBLE";
    case DATUM_STRING:
        return "VARCHAR";
    default:
        return "list";
    }
}

/* "INT32 field year", "VARCHAR constant", "JSON path", ... */
static const char *describe(const struct binder *binder, uint32_t number, char *room, size_t size)
{
    const struct bound *bound = &binder->bounds[number];
    const struct operand *operand = &bound->operand;
    const struct slot *slot = binder->filter->slots;

    if (slot)
        slot += operand->slot;
    switch (operand->kind) {
    case OPERAND_CONSTANT:
        snprintf(room, size, operand->constant.kind == DATUM_LIST ? "%s" : "%s constant",
                 constant_name(&operand->constant));
        break;
    case OPERAND_COLUMN:
        snprintf(room, size, "%s field %.60s", type_name(slot->type), slot->name);
        break;
    case OPERAND_PATH:
        snprintf(room, size, "JSON path");
        break;
    case OPERAND_ELEMENT:
        snprintf(room, size, "%s element of %.60s", type_name(slot->element_type), slot->name);
        break;
    case OPERAND_LENGTH:
        snprintf(room, size, "INT64 array_length");
        break;
    default:
        snprintf(room, size, operand->type == TYPE_JSON ? "arithmetic on JSON" : "%s expression",
                 operand->type == TYPE_INT ? "INT64" : "DOUBLE");
        break;
    }
    if (operand->type == TYPE_CONDITION)
        snprintf(room, size, "condition");
    return room;
}

/* ---- Plan nodes ---- */

static vecdb_status add_plan(struct binder *binder, struct plan_node node, uint32_t *out)
{
    struct filter *filter = binder->filter;

    if (filter->node_count == binder->node_capacity) {
        uint32_t capacity = binder->node_capacity ? binder->node_capacity * 2 : 16;
        struct plan_node *larger = mem_realloc(filter->nodes, capacity * sizeof *larger);

        if (!larger)
            return error_nomem("filter");
        filter->nodes = larger;
        binder->node_capacity = capacity;
    }
    filter->nodes[filter->node_count] = node;
    *out = filter->node_count++;
    return VECDB_OK;
}

/* The bound form of a node that is a condition. */
static vecdb_status put_condition(struct binder *binder, uint32_t number, const struct condition *condition)
{
    struct bound *bound = &binder->bounds[number];
    struct plan_node node = {.kind = PLAN_CONDITION};

    node.condition = arena_alloc(&binder->filter->arena, 1, sizeof *condition);
    if (!node.condition)
        return VECDB_ERR_NOMEM;
    *node.condition = *condition;
    bound->operand.kind = OPERAND_PROGRAM;
    bound->operand.type = TYPE_CONDITION;
    return add_plan(binder, node, &bound->condition);
}

static vecdb_status put_truth(struct binder *binder, uint32_t number, bool truth)
{
    struct operand *operand = &binder->bounds[number].operand;

    *operand = (struct operand){.kind = OPERAND_CONSTANT, .type = TYPE_BOOL};
    operand->constant.kind = DATUM_BOOL;
    operand->constant.boolean = truth;
    return VECDB_OK;
}

/* A node where a condition is due, as one. */
static vecdb_status need_condition(struct binder *binder, uint32_t number, const char *where, uint32_t *out)
{
    struct bound *bound = &binder->bounds[number];
    size_t at = binder->tree->nodes[number].at;
    char room[128];

    if (bound->operand.type == TYPE_CONDITION) {
        *out = bound->condition;
        return VECDB_OK;
    }
    if (bound->operand.type == TYPE_BOOL && bound->operand.kind == OPERAND_CONSTANT)
        return add_plan(binder,
                        (struct plan_node){.kind = bound->operand.constant.boolean ? PLAN_ALL : PLAN_NONE}, out);
    if (bound->operand.type == TYPE_BOOL) {
        struct condition condition = {.test = TEST_TRUE, .operand = bound->operand, .at = at};

        TRY(put_condition(binder, number, &condition));
        *out = bound->condition;
        return VECDB_OK;
    }
    if (bound->operand.type == TYPE_JSON)
        return FAIL(binder, at, "%s takes a condition, found %s: compare it, as in == true", where,
                    describe(binder, number, room, sizeof room));
    return FAIL(binder, at, "%s takes a condition, found %s", where, describe(binder, number, room, sizeof room));
}

/* ---- Fields ---- */

static enum operand_type type_of(vecdb_type type)
{
    switch (type) {
    case VECDB_TYPE_BOOL:
        return TYPE_BOOL;
    case VECDB_TYPE_INT8:
    case VECDB_TYPE_INT16:
    case VECDB_TYPE_INT32:
    case VECDB_TYPE_INT64:
        return TYPE_INT;
    case VECDB_TYPE_FLOAT:
        return TYPE_FLOAT;
    case VECDB_TYPE_DOUBLE:
        return TYPE_DOUBLE;
    case VECDB_TYPE_VARCHAR:
        return TYPE_STRING;
    case VECDB_TYPE_JSON:
        return TYPE_JSON;
    case VECDB_TYPE_ARRAY:
        return TYPE_ARRAY;
    default:
        return TYPE_VECTOR;
    }
}

static vecdb_status find_slot(struct binder *binder, size_t field, uint32_t *out)
{
    struct filter *filter = binder->filter;
    const struct field *from = &binder->schema->fields[field];

    for (size_t i = 0; i < filter->slot_count; i++)
        if (filter->slots[i].field == field) {
            *out = (uint32_t)i;
            return VECDB_OK;
        }
    if (filter->slot_count == binder->slot_capacity) {
        size_t capacity = binder->slot_capacity ? binder->slot_capacity * 2 : 8;
        struct slot *larger = mem_realloc(filter->slots, capacity * sizeof *larger);

        if (!larger)
            return error_nomem("filter");
        filter->slots = larger;
        binder->slot_capacity = capacity;
    }
    filter->slots[filter->slot_count] = (struct slot){field, from->type, from->element_type,
                                                      arena_copy(&filter->arena, from->name, strlen(from->name))};
    if (!filter->slots[filter->slot_count].name)
        return VECDB_ERR_NOMEM;
    *out = (uint32_t)filter->slot_count++;
    return VECDB_OK;
}

/* Keys of paths point into the text or the arena; the text is not ours to keep. */
static vecdb_status keep_steps(struct binder *binder, const struct node *node, const char *first, size_t first_length,
                               struct operand *operand)
{
    struct arena *arena = &binder->filter->arena;
    size_t count = node->step_count + (first ? 1 : 0), n = 0;
    struct step *steps;

    if (!count)
        return VECDB_OK;
    steps = arena_alloc(arena, count, sizeof *steps);
    if (!steps)
        return VECDB_ERR_NOMEM;
    if (first)
        steps[n++] = (struct step){first, first_length, 0};
    for (size_t i = 0; i < node->step_count; i++)
        steps[n++] = node->steps[i];
    for (size_t i = 0; i < count; i++)
        if (steps[i].key && !(steps[i].key = arena_copy(arena, steps[i].key, steps[i].length)))
            return VECDB_ERR_NOMEM;
    operand->steps = steps;
    operand->step_count = count;
    return VECDB_OK;
}

static vecdb_status unknown_field(struct binder *binder, const struct node *node)
{
    int n = (int)(node->name_length < 60 ? node->name_length : 60);
    const char *near = schema_nearest(binder->schema, node->name, node->name_length);

    if (node->name_length == strlen(SCHEMA_DYNAMIC_FIELD) && memcmp(node->name, SCHEMA_DYNAMIC_FIELD, node->name_length) == 0)
        return FAIL(binder, node->at, "the collection has no dynamic fields, so there is no $meta");
    if (near)
        return FAIL(binder, node->at, "there is no field %.*s; did you mean %s?", n, node->name, near);
    return FAIL(binder, node->at, "there is no field %.*s", n, node->name);
}

static vecdb_status bind_field(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    const struct schema *schema = binder->schema;
    struct bound *bound = &binder->bounds[number];
    struct operand *operand = &bound->operand;
    size_t field = schema_find(schema, node->name, node->name_length);
    const struct field *found;
    const char *key = NULL;

    if (field == SCHEMA_NONE) {
        if (schema->dynamic == SCHEMA_NONE)
            return unknown_field(binder, node);
        field = schema->dynamic;
        key = node->name;
    }
    found = &schema->fields[field];
    TRY(find_slot(binder, field, &operand->slot));
    operand->kind = OPERAND_COLUMN;
    operand->type = type_of(found->type);
    bound->element_type = found->element_type;
    if (operand->type == TYPE_JSON) {
        TRY(keep_steps(binder, node, key, node->name_length, operand));
        operand->kind = operand->step_count ? OPERAND_PATH : OPERAND_COLUMN;
        return VECDB_OK;
    }
    if (!node->step_count)
        return VECDB_OK;
    if (operand->type != TYPE_ARRAY)
        return FAIL(binder, node->at, "the %s field %s has no elements to subscript", type_name(found->type),
                    found->name);
    if (node->steps[0].key || node->step_count > 1)
        return FAIL(binder, node->at, "the ARRAY field %s takes one index, as in %s[0]", found->name, found->name);
    TRY(keep_steps(binder, node, NULL, 0, operand));
    operand->kind = OPERAND_ELEMENT;
    operand->type = type_of(found->element_type);
    return VECDB_OK;
}

/* ---- Constants, templates, lists ---- */

static struct operand constant_operand(struct datum constant)
{
    static const enum operand_type types[] = {
        [DATUM_NONE] = TYPE_NONE,     [DATUM_BOOL] = TYPE_BOOL,     [DATUM_INT] = TYPE_INT,  [DATUM_DOUBLE] = TYPE_DOUBLE,
        [DATUM_STRING] = TYPE_STRING, [DATUM_JSON] = TYPE_LIST,     [DATUM_LIST] = TYPE_LIST,
    };

    return (struct operand){.kind = OPERAND_CONSTANT, .type = types[constant.kind], .constant = constant};
}

static vecdb_status bind_template(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    int n = (int)(node->name_length < 60 ? node->name_length : 60);
    struct json value = {NULL, 0};
    struct datum datum;

    if (json_exists(binder->params))
        value = json_member(binder->params, node->name, node->name_length);
    if (!json_exists(value))
        return FAIL(binder, node->at, "no value is given for {%.*s}", n, node->name);
    datum = datum_from_json(value);
    if (datum.kind == DATUM_NONE)
        return FAIL(binder, node->at, "the value given for {%.*s} is null; write `is null`", n, node->name);
    if (datum.kind == DATUM_JSON && json_kind(value) == JSON_OBJECT)
        return FAIL(binder, node->at, "the value given for {%.*s} is an object, which filters do not take", n,
                    node->name);
    if (datum.kind == DATUM_JSON) {
        size_t count = json_count(value);
        struct datum *items;

        if (count > FILTER_MAX_LIST_PARAMETER)
            return lexer_error(binder->lexer, VECDB_ERR_LIMIT, node->at,
                               "the list given for {%.*s} has %zu values, more than %d", n, node->name, count,
                               FILTER_MAX_LIST_PARAMETER);
        items = arena_alloc(&binder->filter->arena, count, sizeof *items);
        if (!items)
            return VECDB_ERR_NOMEM;
        for (size_t i = 0; i < count; i++) {
            items[i] = datum_from_json(json_at(value, i));
            if (items[i].kind == DATUM_NONE)
                return FAIL(binder, node->at, "value %zu of the list given for {%.*s} is null", i + 1, n, node->name);
        }
        datum = (struct datum){DATUM_LIST, {.list = {items, count}}};
    }
    binder->bounds[number].operand = constant_operand(datum);
    return VECDB_OK;
}

/* A list as an array of JSON, for lists in lists and comparison with JSON. */
static vecdb_status list_to_json(struct binder *binder, const struct datum *list, struct datum *out)
{
    struct buf bytes = {0}, ends = {0};
    size_t count = list->list.count, start = 0;
    struct json *values = mem_array_alloc(count ? count : 1, sizeof *values);
    vecdb_status status = values ? VECDB_OK : error_nomem("filter");
    char *copy;

    for (size_t i = 0; i < count && status == VECDB_OK; i++)
        if ((status = datum_put_json(&list->list.items[i], &bytes)) == VECDB_OK) {
            values[i].size = bytes.size - start;
            start = bytes.size;
        }
    start = 0;
    for (size_t i = 0; i < count && status == VECDB_OK; i++) {
        values[i].data = bytes.data + start;
        start += values[i].size;
    }
    if (status == VECDB_OK)
        status = json_put_array(&ends, count, values);
    if (status == VECDB_OK) {
        copy = arena_copy(&binder->filter->arena, ends.data, ends.size);
        status = copy ? VECDB_OK : VECDB_ERR_NOMEM;
        *out = (struct datum){DATUM_JSON, {.json = {(const uint8_t *)copy, ends.size}}};
    }
    mem_free(values);
    buf_deinit(&bytes);
    buf_deinit(&ends);
    return status;
}

static vecdb_status bind_list(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    struct datum *items = arena_alloc(&binder->filter->arena, node->count, sizeof *items);

    if (!items)
        return VECDB_ERR_NOMEM;
    for (uint32_t i = 0; i < node->count; i++) {
        uint32_t item = binder->tree->items[node->first + i];
        const struct operand *operand = &binder->bounds[item].operand;
        char room[128];

        if (operand->kind != OPERAND_CONSTANT)
            return FAIL(binder, binder->tree->nodes[item].at, "lists hold constants only, found %s",
                        describe(binder, item, room, sizeof room));
        items[i] = operand->constant;
        if (items[i].kind == DATUM_LIST)
            TRY(list_to_json(binder, &operand->constant, &items[i]));
    }
    binder->bounds[number].operand =
        constant_operand((struct datum){DATUM_LIST, {.list = {items, node->count}}});
    return VECDB_OK;
}

/* Strings in the text live in the lexer's arena, which is the filter's. */
static vecdb_status bind_constant(struct binder *binder, uint32_t number)
{
    binder->bounds[number].operand = constant_operand(binder->tree->nodes[number].constant);
    return VECDB_OK;
}

/* ---- Arithmetic ---- */

static const char *operator_text(enum token_kind op)
{
    static const char *const texts[] = {
        [TOKEN_EQ] = "==",        [TOKEN_NE] = "!=",       [TOKEN_LT] = "<",          [TOKEN_LE] = "<=",
        [TOKEN_GT] = ">",         [TOKEN_GE] = ">=",       [TOKEN_PLUS] = "+",        [TOKEN_MINUS] = "-",
        [TOKEN_STAR] = "*",       [TOKEN_SLASH] = "/",     [TOKEN_PERCENT] = "%",     [TOKEN_POWER] = "**",
        [TOKEN_AMPERSAND] = "&",  [TOKEN_PIPE] = "|",      [TOKEN_CARET] = "^",       [TOKEN_TILDE] = "~",
        [TOKEN_SHIFT_LEFT] = "<<", [TOKEN_SHIFT_RIGHT] = ">>", [TOKEN_LIKE] = "like", [TOKEN_MATCH] = "=~",
        [TOKEN_NOT_MATCH] = "!~", [TOKEN_IN] = "in",       [TOKEN_AND] = "and",       [TOKEN_OR] = "or",
        [TOKEN_NOT] = "not",      [TOKEN_EXISTS] = "exists",
    };

    return texts[op];
}

static bool is_integer_only(enum token_kind op)
{
    return op == TOKEN_PERCENT || op == TOKEN_AMPERSAND || op == TOKEN_PIPE || op == TOKEN_CARET || op == TOKEN_TILDE ||
           op == TOKEN_SHIFT_LEFT || op == TOKEN_SHIFT_RIGHT;
}

/* A side of an arithmetic operator must be a number, or JSON that may turn out to be one. */
static vecdb_status check_number(struct binder *binder, uint32_t side, enum token_kind op, size_t at)
{
    const struct operand *operand = &binder->bounds[side].operand;
    const char *text = operator_text(op);
    char room[128];

    if ((operand->type == TYPE_CONDITION || operand->type == TYPE_BOOL) && operand->kind != OPERAND_COLUMN &&
        (op == TOKEN_AMPERSAND || op == TOKEN_PIPE || op == TOKEN_CARET))
        return FAIL(binder, at, "%s takes integers, found a condition: comparisons bind tighter, so write (a %s b) == c",
                    text, text);
    if (is_integer_only(op)) {
        if (operand->type != TYPE_INT && operand->type != TYPE_JSON)
            return FAIL(binder, at, "%s takes integers, found %s", text, describe(binder, side, room, sizeof room));
    } else if (operand->type != TYPE_INT && operand->type != TYPE_FLOAT && operand->type != TYPE_DOUBLE &&
               operand->type != TYPE_JSON) {
        return FAIL(binder, at, "%s takes numbers, found %s", text, describe(binder, side, room, sizeof room));
    }
    return VECDB_OK;
}

static vecdb_status bind_arithmetic(struct binder *binder, uint32_t number, uint32_t left, uint32_t right)
{
    const struct node *node = &binder->tree->nodes[number];
    const struct operand *a = &binder->bounds[left].operand, *b = NULL;
    struct operand *out = &binder->bounds[number].operand;

    TRY(check_number(binder, left, node->op, node->at));
    if (right != NODE_NONE) {
        TRY(check_number(binder, right, node->op, node->at));
        b = &binder->bounds[right].operand;
    }
    if (b && b->kind == OPERAND_CONSTANT && b->type == TYPE_INT) {
        if ((node->op == TOKEN_SLASH || node->op == TOKEN_PERCENT) && b->constant.integer == 0)
            return FAIL(binder, node->at, "division by zero");
        if ((node->op == TOKEN_SHIFT_LEFT || node->op == TOKEN_SHIFT_RIGHT) &&
            (b->constant.integer < 0 || b->constant.integer > 63))
            return FAIL(binder, node->at, "a shift by %lld: it must be 0 to 63", (long long)b->constant.integer);
    }
    if (a->kind == OPERAND_CONSTANT && (!b || b->kind == OPERAND_CONSTANT)) {
        struct datum result =
            b ? arithmetic_binary(node->op, &a->constant, &b->constant) : arithmetic_prefix(node->op, &a->constant);

        if (result.kind == DATUM_NONE)
            return FAIL(binder, node->at, "%s of these constants has no result: it overflows, or divides by zero",
                        operator_text(node->op));
        *out = constant_operand(result);
        return VECDB_OK;
    }
    out->kind = OPERAND_PROGRAM;
    if (a->type == TYPE_JSON || (b && b->type == TYPE_JSON))
        out->type = TYPE_JSON;
    else if (a->type == TYPE_INT && (!b || b->type == TYPE_INT))
        out->type = node->op == TOKEN_POWER && !(b->kind == OPERAND_CONSTANT && b->constant.integer >= 0) ? TYPE_DOUBLE
                                                                                                         : TYPE_INT;
    else
        out->type = TYPE_DOUBLE;
    return VECDB_OK;
}

/* The instructions of an arithmetic node, collected from the tree: last one first, then turned around. */
static vecdb_status make_program(struct binder *binder, uint32_t number, struct operand *out)
{
    const struct tree *tree = binder->tree;
    struct buf stack = {0}, program = {0};
    vecdb_status status = buf_append(&stack, &number, sizeof number);
    struct instruction *instructions = NULL;
    size_t count, height = 0;

    while (status == VECDB_OK && stack.size) {
        struct instruction instruction = {TOKEN_END, false, NULL};
        const struct node *node;
        uint32_t at;

        stack.size -= sizeof at;
        memcpy(&at, stack.data + stack.size, sizeof at);
        node = &tree->nodes[at];
        if (binder->bounds[at].operand.kind == OPERAND_PROGRAM) {
            instruction.op = node->op;
            instruction.prefix = node->kind == NODE_PREFIX;
            status = buf_append(&stack, &node->left, sizeof at);
            if (status == VECDB_OK && !instruction.prefix)
                status = buf_append(&stack, &node->right, sizeof at);
        } else {
            struct operand *copy = arena_alloc(&binder->filter->arena, 1, sizeof *copy);

            if (!copy)
                status = VECDB_ERR_NOMEM;
            else
                *copy = binder->bounds[at].operand;
            instruction.operand = copy;
        }
        if (status == VECDB_OK)
            status = buf_append(&program, &instruction, sizeof instruction);
    }
    count = program.size / sizeof *instructions;
    if (status == VECDB_OK && !(instructions = arena_alloc(&binder->filter->arena, count, sizeof *instructions)))
        status = VECDB_ERR_NOMEM;
    for (size_t i = 0; i < count && status == VECDB_OK; i++) {
        memcpy(&instructions[i], program.data + (count - 1 - i) * sizeof *instructions, sizeof *instructions);
        height += instructions[i].op == TOKEN_END;
        height -= instructions[i].op != TOKEN_END && !instructions[i].prefix;
        if (height > out->stack_size)
            out->stack_size = height;
    }
    out->program = instructions;
    out->program_size = count;
    if (out->stack_size > binder->filter->stack_size)
        binder->filter->stack_size = out->stack_size;
    buf_deinit(&stack);
    buf_deinit(&program);
    return status;
}

/* The operand of a node, for a condition to keep. */
static vecdb_status take_operand(struct binder *binder, uint32_t number, struct operand *out)
{
    *out = binder->bounds[number].operand;
    return out->kind == OPERAND_PROGRAM ? make_program(binder, number, out) : VECDB_OK;
}

/* ---- Comparisons ---- */

static unsigned class_of(enum operand_type type)
{
    switch (type) {
    case TYPE_BOOL:
        return CLASS_BOOL;
    case TYPE_INT:
    case TYPE_FLOAT:
    case TYPE_DOUBLE:
        return CLASS_NUMBER;
    case TYPE_STRING:
        return CLASS_STRING;
    case TYPE_LIST:
        return CLASS_ARRAY;
    case TYPE_JSON:
        return CLASS_BOOL | CLASS_NUMBER | CLASS_STRING | CLASS_ARRAY;
    default:
        return 0;
    }
}

static enum token_kind mirrored(enum token_kind op)
{
    return op == TOKEN_LT ? TOKEN_GT : op == TOKEN_LE ? TOKEN_GE : op == TOKEN_GT ? TOKEN_LT : op == TOKEN_GE ? TOKEN_LE
                                                                                                               : op;
}

/* What a FLOAT field sees of a constant: the FLOAT nearest to it. Those beyond FLOAT stay as they are. */
static struct datum rounded(enum operand_type type, struct datum constant)
{
    float value;

    if (type != TYPE_FLOAT || datum_class(&constant) != CLASS_NUMBER)
        return constant;
    value = constant.kind == DATUM_INT ? (float)constant.integer : (float)constant.real;
    if (__builtin_isinf(value))
        return constant;
    return (struct datum){DATUM_DOUBLE, {.real = value}};
}

static vecdb_status check_comparable(struct binder *binder, const struct node *node, uint32_t left, uint32_t right)
{
    const struct operand *a = &binder->bounds[left].operand, *b = &binder->bounds[right].operand;
    unsigned both = class_of(a->type) & class_of(b->type);
    bool ordered = node->op != TOKEN_EQ && node->op != TOKEN_NE;
    char room[128], other[128];

    if (a->type == TYPE_ARRAY || b->type == TYPE_ARRAY)
        return FAIL(binder, node->at,
                    "%s does not compare whole ARRAY fields: use array_contains, array_length or a subscript",
                    operator_text(node->op));
    if (!both)
        return FAIL(binder, node->at, "%s cannot compare %s with %s", operator_text(node->op),
                    describe(binder, left, room, sizeof room), describe(binder, right, other, sizeof other));
    if (ordered && !(both & (CLASS_NUMBER | CLASS_STRING)))
        return FAIL(binder, node->at, "%s needs an order, which %s has not: found %s and %s", operator_text(node->op),
                    both == CLASS_BOOL ? "BOOL" : "a list", describe(binder, left, room, sizeof room),
                    describe(binder, right, other, sizeof other));
    return VECDB_OK;
}

static vecdb_status compare_constants(struct binder *binder, uint32_t number, const struct datum *a,
                                      const struct datum *b)
{
    enum token_kind op = binder->tree->nodes[number].op;
    int order;

    if (op == TOKEN_EQ || op == TOKEN_NE)
        return put_truth(binder, number, datum_equal(a, b) == (op == TOKEN_EQ));
    order = datum_compare(a, b);
    return put_truth(binder, number, op == TOKEN_LT ? order < 0 : op == TOKEN_LE ? order <= 0 : op == TOKEN_GT ? order > 0
                                                                                                              : order >= 0);
}

static struct datum *one_item(struct binder *binder, struct datum item)
{
    struct datum *items = arena_alloc(&binder->filter->arena, 1, sizeof *items);

    if (items)
        *items = item;
    return items;
}

/* (a > 1) == true: the condition itself, or its opposite. */
static vecdb_status compare_condition(struct binder *binder, uint32_t number, uint32_t left, uint32_t right)
{
    const struct node *node = &binder->tree->nodes[number];
    bool constant_left = binder->bounds[left].operand.kind == OPERAND_CONSTANT, same;
    uint32_t constant = constant_left ? left : right, condition = constant_left ? right : left;
    struct bound *bound = &binder->bounds[number];
    char room[128], other[128];

    if (binder->bounds[constant].operand.kind != OPERAND_CONSTANT ||
        binder->bounds[constant].operand.constant.kind != DATUM_BOOL || (node->op != TOKEN_EQ && node->op != TOKEN_NE))
        return FAIL(binder, node->at, "%s cannot compare %s with %s; join conditions with and, or, not",
                    operator_text(node->op), describe(binder, left, room, sizeof room),
                    describe(binder, right, other, sizeof other));
    same = binder->bounds[constant].operand.constant.boolean == (node->op == TOKEN_EQ);
    bound->operand.kind = OPERAND_PROGRAM;
    bound->operand.type = TYPE_CONDITION;
    if (same) {
        bound->condition = binder->bounds[condition].condition;
        return VECDB_OK;
    }
    return add_plan(binder, (struct plan_node){.kind = PLAN_NOT, .left = binder->bounds[condition].condition},
                    &bound->condition);
}

static vecdb_status bind_comparison(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    uint32_t left = node->left, right = node->right;
    enum token_kind op = node->op;
    struct condition condition = {.at = node->at};
    struct datum *a = &binder->bounds[left].operand.constant, *b = &binder->bounds[right].operand.constant;

    if (binder->bounds[left].operand.type == TYPE_CONDITION || binder->bounds[right].operand.type == TYPE_CONDITION)
        return compare_condition(binder, number, left, right);
    TRY(check_comparable(binder, node, left, right));
    for (int i = 0; i < 2; i++) {
        struct operand *side = &binder->bounds[i ? right : left].operand;

        if (side->kind == OPERAND_CONSTANT && side->constant.kind == DATUM_LIST)
            TRY(list_to_json(binder, &side->constant, &side->constant));
    }
    if (binder->bounds[left].operand.kind == OPERAND_CONSTANT) {
        uint32_t swap = left;

        if (binder->bounds[right].operand.kind == OPERAND_CONSTANT)
            return compare_constants(binder, number, a, b);
        left = right;
        right = swap;
        op = mirrored(op);
        b = a;
    }
    TRY(take_operand(binder, left, &condition.operand));
    if (binder->bounds[right].operand.kind != OPERAND_CONSTANT) {
        TRY(take_operand(binder, right, &condition.other));
        condition.test = TEST_COMPARE;
        condition.negated = op == TOKEN_NE;
        condition.op = op == TOKEN_NE ? TOKEN_EQ : op;
        if (op == TOKEN_GT || op == TOKEN_GE) { /* b < a */
            struct operand swap = condition.operand;

            condition.operand = condition.other;
            condition.other = swap;
            condition.op = mirrored(op);
        }
        return put_condition(binder, number, &condition);
    }
    if (op == TOKEN_EQ || op == TOKEN_NE) {
        condition.test = TEST_SET;
        condition.negated = op == TOKEN_NE;
        condition.items = one_item(binder, rounded(condition.operand.type, *b));
        condition.item_count = 1;
        if (!condition.items)
            return VECDB_ERR_NOMEM;
        return put_condition(binder, number, &condition);
    }
    condition.test = TEST_RANGE;
    if (op == TOKEN_LT || op == TOKEN_LE) {
        condition.bounds.high = rounded(condition.operand.type, *b);
        condition.bounds.high_open = op == TOKEN_LT;
    } else {
        condition.bounds.low = rounded(condition.operand.type, *b);
        condition.bounds.low_open = op == TOKEN_GT;
    }
    return put_condition(binder, number, &condition);
}

/* ---- in, like, =~, is null, exists ---- */

static vecdb_status copy_items(struct binder *binder, struct condition *condition, const struct datum *items, size_t count,
                               enum operand_type type)
{
    condition->items = arena_alloc(&binder->filter->arena, count, sizeof *items);
    condition->item_count = count;
    if (!condition->items)
        return VECDB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        condition->items[i] = rounded(type, items[i]);
    return VECDB_OK;
}

static vecdb_status bind_in(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    const struct operand *subject = &binder->bounds[node->left].operand, *list = &binder->bounds[node->right].operand;
    struct condition condition = {.test = TEST_SET, .negated = node->negated, .at = node->at};
    char room[128];

    if (list->kind != OPERAND_CONSTANT || list->constant.kind != DATUM_LIST)
        return FAIL(binder, node->at, "in takes a list, as in [1, 2], found %s",
                    describe(binder, node->right, room, sizeof room));
    if (!class_of(subject->type) || subject->type == TYPE_LIST)
        return FAIL(binder, node->at, "in takes a single value on its left, found %s",
                    describe(binder, node->left, room, sizeof room));
    for (size_t i = 0; i < list->constant.list.count; i++) {
        struct operand item = constant_operand(list->constant.list.items[i]);

        if (!(class_of(item.type) & class_of(subject->type)))
            return FAIL(binder, node->at, "in: value %zu of the list is %s, which cannot be compared with %s", i + 1,
                        constant_name(&item.constant), describe(binder, node->left, room, sizeof room));
    }
    if (list->constant.list.count == 0)
        return put_truth(binder, number, node->negated);
    if (subject->kind == OPERAND_CONSTANT) {
        bool found = false;

        for (size_t i = 0; i < list->constant.list.count; i++)
            found = found || datum_equal(&subject->constant, &list->constant.list.items[i]);
        return put_truth(binder, number, found != node->negated);
    }
    TRY(take_operand(binder, node->left, &condition.operand));
    TRY(copy_items(binder, &condition, list->constant.list.items, list->constant.list.count, subject->type));
    return put_condition(binder, number, &condition);
}

static vecdb_status add_regex(struct binder *binder, struct regex *regex, uint32_t *number)
{
    struct filter *filter = binder->filter;
    struct regex **larger = mem_realloc(filter->regexes, (filter->regex_count + 1) * sizeof *larger);

    if (!larger) {
        regex_free(regex);
        return error_nomem("filter");
    }
    filter->regexes = larger;
    *number = (uint32_t)filter->regex_count;
    filter->regexes[filter->regex_count++] = regex;
    return VECDB_OK;
}

static vecdb_status bind_pattern(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    const struct operand *subject = &binder->bounds[node->left].operand, *pattern = &binder->bounds[node->right].operand;
    struct condition condition = {.test = node->op == TOKEN_LIKE ? TEST_LIKE : TEST_REGEX,
                                  .negated = node->negated || node->op == TOKEN_NOT_MATCH,
                                  .at = node->at};
    const char *text = operator_text(node->op);
    vecdb_status status;
    char room[128];

    if (!(class_of(subject->type) & CLASS_STRING))
        return FAIL(binder, node->at, "%s takes a VARCHAR on its left, found %s", text,
                    describe(binder, node->left, room, sizeof room));
    if (pattern->kind != OPERAND_CONSTANT || pattern->type != TYPE_STRING)
        return FAIL(binder, node->at, "%s takes a pattern in quotes on its right, found %s", text,
                    describe(binder, node->right, room, sizeof room));
    if (subject->kind == OPERAND_CONSTANT)
        return FAIL(binder, node->at, "%s takes a field on its left, found a VARCHAR constant", text);
    TRY(take_operand(binder, node->left, &condition.operand));
    if (condition.test == TEST_LIKE) {
        status = like_compile(pattern->constant.string.data, pattern->constant.string.length, &binder->filter->arena,
                              &condition.like);
    } else {
        status = regex_compile(pattern->constant.string.data, pattern->constant.string.length, &condition.regex);
        if (status == VECDB_OK)
            TRY(add_regex(binder, condition.regex, &condition.regex_number));
    }
    if (status == VECDB_ERR_NOMEM)
        return status;
    if (status != VECDB_OK) {
        char message[sizeof error_last()->message];

        memcpy(message, error_last()->message, sizeof message);
        return lexer_error(binder->lexer, status == VECDB_ERR_LIMIT ? status : VECDB_ERR_FILTER,
                           binder->tree->nodes[node->right].at, "%s", message);
    }
    condition.items = one_item(binder, pattern->constant);
    condition.item_count = 1;
    return condition.items ? put_condition(binder, number, &condition) : VECDB_ERR_NOMEM;
}

static vecdb_status bind_null(struct binder *binder, uint32_t number, bool exists)
{
    const struct node *node = &binder->tree->nodes[number];
    const struct operand *subject = &binder->bounds[node->left].operand;
    struct condition condition = {.test = TEST_NULL, .negated = node->negated || exists, .at = node->at};
    char room[128];

    if (subject->kind != OPERAND_COLUMN && subject->kind != OPERAND_PATH && subject->kind != OPERAND_ELEMENT)
        return FAIL(binder, node->at, "%s takes a field or a path, found %s", exists ? "exists" : "is null",
                    describe(binder, node->left, room, sizeof room));
    if (exists && subject->type != TYPE_JSON)
        return FAIL(binder, node->at, "exists takes a JSON path, found %s; write `is not null`",
                    describe(binder, node->left, room, sizeof room));
    condition.operand = *subject;
    return put_condition(binder, number, &condition);
}

/* ---- Functions ---- */

static vecdb_status check_arguments(struct binder *binder, const struct node *node, uint32_t count)
{
    if (node->count == count)
        return VECDB_OK;
    return FAIL(binder, node->at, "%.*s takes %u argument%s, found %u", (int)node->name_length, node->name,
                (unsigned)count, count == 1 ? "" : "s", (unsigned)node->count);
}

static vecdb_status bind_contains(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    const char *name = node->name;
    int n = (int)node->name_length;
    struct condition condition = {.test = node->function == FUNCTION_CONTAINS_ALL ? TEST_CONTAINS_ALL : TEST_CONTAINS,
                                  .at = node->at};
    const struct operand *subject, *sought;
    uint32_t first, second;
    const struct datum *items;
    enum operand_type type;
    struct datum json;
    size_t count;
    char room[128];

    TRY(check_arguments(binder, node, 2));
    first = binder->tree->items[node->first];
    second = binder->tree->items[node->first + 1];
    subject = &binder->bounds[first].operand;
    sought = &binder->bounds[second].operand;
    if (subject->type != TYPE_ARRAY &&
        !(subject->type == TYPE_JSON && (subject->kind == OPERAND_PATH || subject->kind == OPERAND_COLUMN)))
        return FAIL(binder, binder->tree->nodes[first].at, "%.*s takes an ARRAY field or a JSON path, found %s", n, name,
                    describe(binder, first, room, sizeof room));
    if (sought->kind != OPERAND_CONSTANT)
        return FAIL(binder, binder->tree->nodes[second].at, "%.*s looks for a constant, found %s", n, name,
                    describe(binder, second, room, sizeof room));
    if (node->function == FUNCTION_CONTAINS) {
        json = sought->constant;
        if (json.kind == DATUM_LIST)
            TRY(list_to_json(binder, &sought->constant, &json));
        items = &json;
        count = 1;
    } else {
        if (sought->constant.kind != DATUM_LIST)
            return FAIL(binder, binder->tree->nodes[second].at, "%.*s takes a list, as in [1, 2], found %s", n, name,
                        describe(binder, second, room, sizeof room));
        items = sought->constant.list.items;
        count = sought->constant.list.count;
    }
    type = subject->type == TYPE_ARRAY ? type_of(binder->bounds[first].element_type) : TYPE_JSON;
    for (size_t i = 0; i < count && type != TYPE_JSON; i++) {
        struct operand item = constant_operand(items[i]);

        if (!(class_of(item.type) & class_of(type)))
            return FAIL(binder, binder->tree->nodes[second].at, "%.*s: %s is no element of an ARRAY of %s", n, name,
                        constant_name(&items[i]), type_name(binder->bounds[first].element_type));
    }
    condition.operand = *subject;
    TRY(copy_items(binder, &condition, items, count, type));
    return put_condition(binder, number, &condition);
}

static vecdb_status bind_length(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    struct operand *out = &binder->bounds[number].operand;
    uint32_t first;
    char room[128];

    TRY(check_arguments(binder, node, 1));
    first = binder->tree->items[node->first];
    *out = binder->bounds[first].operand;
    if (out->type != TYPE_ARRAY &&
        !(out->type == TYPE_JSON && (out->kind == OPERAND_PATH || out->kind == OPERAND_COLUMN)))
        return FAIL(binder, node->at, "array_length takes an ARRAY field or a JSON path, found %s",
                    describe(binder, first, room, sizeof room));
    out->kind = OPERAND_LENGTH;
    out->type = TYPE_INT;
    return VECDB_OK;
}

static vecdb_status bind_sample(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    struct condition condition = {.test = TEST_SAMPLE, .at = node->at};
    const struct operand *part;
    double value;

    TRY(check_arguments(binder, node, 1));
    part = &binder->bounds[binder->tree->items[node->first]].operand;
    if (part->kind != OPERAND_CONSTANT || datum_class(&part->constant) != CLASS_NUMBER)
        return FAIL(binder, node->at, "random_sample takes a number between 0 and 1");
    value = part->constant.kind == DATUM_INT ? (double)part->constant.integer : part->constant.real;
    if (!(value > 0 && value < 1))
        return FAIL(binder, node->at, "random_sample takes a number between 0 and 1, both excluded, found %g", value);
    condition.threshold = (uint64_t)(value * 0x1p64);
    return put_condition(binder, number, &condition);
}

static vecdb_status bind_call(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];

    switch (node->function) {
    case FUNCTION_CONTAINS:
    case FUNCTION_CONTAINS_ALL:
    case FUNCTION_CONTAINS_ANY:
        return bind_contains(binder, number);
    case FUNCTION_LENGTH:
        return bind_length(binder, number);
    case FUNCTION_SAMPLE:
        return bind_sample(binder, number);
    default:
        return lexer_error(binder->lexer, VECDB_ERR_UNSUPPORTED, node->at,
                           "%s needs a text index on the field, and vecdb has no text indexes; like and =~ search text "
                           "without one",
                           node->function == FUNCTION_TEXT_MATCH ? "text_match" : "phrase_match");
    }
}

/* ---- Nodes ---- */

static vecdb_status join(struct binder *binder, uint32_t number, enum plan_kind kind, const char *where)
{
    const struct node *node = &binder->tree->nodes[number];
    struct bound *bound = &binder->bounds[number];
    struct plan_node plan = {.kind = kind};

    TRY(need_condition(binder, node->left, where, &plan.left));
    if (kind != PLAN_NOT)
        TRY(need_condition(binder, node->right, where, &plan.right));
    bound->operand.kind = OPERAND_PROGRAM;
    bound->operand.type = TYPE_CONDITION;
    return add_plan(binder, plan, &bound->condition);
}

static vecdb_status bind_binary(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];

    switch (node->op) {
    case TOKEN_AND:
        return join(binder, number, PLAN_AND, "and");
    case TOKEN_OR:
        return join(binder, number, PLAN_OR, "or");
    case TOKEN_EQ:
    case TOKEN_NE:
    case TOKEN_LT:
    case TOKEN_LE:
    case TOKEN_GT:
    case TOKEN_GE:
        return bind_comparison(binder, number);
    case TOKEN_IN:
        return bind_in(binder, number);
    case TOKEN_LIKE:
    case TOKEN_MATCH:
    case TOKEN_NOT_MATCH:
        return bind_pattern(binder, number);
    default:
        return bind_arithmetic(binder, number, node->left, node->right);
    }
}

static vecdb_status bind_node(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];

    switch (node->kind) {
    case NODE_CONSTANT:
        return bind_constant(binder, number);
    case NODE_TEMPLATE:
        return bind_template(binder, number);
    case NODE_LIST:
        return bind_list(binder, number);
    case NODE_FIELD:
        return bind_field(binder, number);
    case NODE_PREFIX:
        if (node->op == TOKEN_NOT)
            return join(binder, number, PLAN_NOT, "not");
        if (node->op == TOKEN_EXISTS)
            return bind_null(binder, number, true);
        return bind_arithmetic(binder, number, node->left, NODE_NONE);
    case NODE_BINARY:
        return bind_binary(binder, number);
    case NODE_RANGE:
        return join(binder, number, PLAN_AND, "a range");
    case NODE_IS_NULL:
        return bind_null(binder, number, false);
    case NODE_CALL:
        return bind_call(binder, number);
    }
    return VECDB_OK;
}

vecdb_status plan_bind(struct filter *filter, struct lexer *lexer, const struct tree *tree, const struct schema *schema,
                       struct json params)
{
    struct binder binder = {.filter = filter, .lexer = lexer, .tree = tree, .schema = schema, .params = params};
    vecdb_status status = VECDB_OK;

    if (tree->root == NODE_NONE)
        return add_plan(&binder, (struct plan_node){.kind = PLAN_ALL}, &filter->root);
    binder.bounds = mem_array_zalloc(tree->count, sizeof *binder.bounds);
    if (!binder.bounds)
        return error_nomem("filter");
    for (uint32_t i = 0; i < tree->count && status == VECDB_OK; i++)
        status = bind_node(&binder, i);
    if (status == VECDB_OK)
        status = need_condition(&binder, tree->root, "a filter", &filter->root);
    mem_free(binder.bounds);
    return status;
}
