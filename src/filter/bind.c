/* Names to fields, types checked, constants computed, comparisons to conditions. */
#include "filter/bind.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <stdio.h>

/* ---- Words for messages ---- */

const char *bind_constant_name(const struct datum *constant)
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
const char *bind_describe(const struct binder *binder, uint32_t number, char *room, size_t size)
{
    const struct bound *bound = &binder->bounds[number];
    const struct operand *operand = &bound->operand;
    const struct slot *slot = binder->filter->slots;

    if (slot)
        slot += operand->slot;
    switch (operand->kind) {
    case OPERAND_CONSTANT:
        snprintf(room, size, operand->constant.kind == DATUM_LIST ? "%s" : "%s constant",
                 bind_constant_name(&operand->constant));
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

vecdb_status bind_add_plan(struct binder *binder, struct plan_node node, uint32_t *out)
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
vecdb_status bind_put_condition(struct binder *binder, uint32_t number, const struct condition *condition)
{
    struct bound *bound = &binder->bounds[number];
    struct plan_node node = {.kind = PLAN_CONDITION};

    node.condition = arena_alloc(&binder->filter->arena, 1, sizeof *condition);
    if (!node.condition)
        return VECDB_ERR_NOMEM;
    *node.condition = *condition;
    bound->operand.kind = OPERAND_PROGRAM;
    bound->operand.type = TYPE_CONDITION;
    return bind_add_plan(binder, node, &bound->condition);
}

vecdb_status bind_put_truth(struct binder *binder, uint32_t number, bool truth)
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
        return bind_add_plan(binder,
                        (struct plan_node){.kind = bound->operand.constant.boolean ? PLAN_ALL : PLAN_NONE}, out);
    if (bound->operand.type == TYPE_BOOL) {
        struct condition condition = {.test = TEST_TRUE, .operand = bound->operand, .at = at};

        TRY(bind_put_condition(binder, number, &condition));
        *out = bound->condition;
        return VECDB_OK;
    }
    if (bound->operand.type == TYPE_JSON)
        return FAIL(binder, at, "%s takes a condition, found %s: compare it, as in == true", where,
                    bind_describe(binder, number, room, sizeof room));
    return FAIL(binder, at, "%s takes a condition, found %s", where, bind_describe(binder, number, room, sizeof room));
}

/* ---- Fields ---- */

enum operand_type bind_type_of(vecdb_type type)
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
    operand->type = bind_type_of(found->type);
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
    operand->type = bind_type_of(found->element_type);
    return VECDB_OK;
}

/* ---- Constants, templates, lists ---- */

struct operand bind_constant_operand(struct datum constant)
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
    binder->bounds[number].operand = bind_constant_operand(datum);
    return VECDB_OK;
}

/* A list as an array of JSON, for lists in lists and comparison with JSON. */
vecdb_status bind_list_to_json(struct binder *binder, const struct datum *list, struct datum *out)
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
                        bind_describe(binder, item, room, sizeof room));
        items[i] = operand->constant;
        if (items[i].kind == DATUM_LIST)
            TRY(bind_list_to_json(binder, &operand->constant, &items[i]));
    }
    binder->bounds[number].operand =
        bind_constant_operand((struct datum){DATUM_LIST, {.list = {items, node->count}}});
    return VECDB_OK;
}

/* Strings in the text live in the lexer's arena, which is the filter's. */
static vecdb_status bind_constant(struct binder *binder, uint32_t number)
{
    binder->bounds[number].operand = bind_constant_operand(binder->tree->nodes[number].constant);
    return VECDB_OK;
}

/* ---- Arithmetic ---- */

const char *bind_operator_text(enum token_kind op)
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
    const char *text = bind_operator_text(op);
    char room[128];

    if ((operand->type == TYPE_CONDITION || operand->type == TYPE_BOOL) && operand->kind != OPERAND_COLUMN &&
        (op == TOKEN_AMPERSAND || op == TOKEN_PIPE || op == TOKEN_CARET))
        return FAIL(binder, at, "%s takes integers, found a condition: comparisons bind tighter, so write (a %s b) == c",
                    text, text);
    if (is_integer_only(op)) {
        if (operand->type != TYPE_INT && operand->type != TYPE_JSON)
            return FAIL(binder, at, "%s takes integers, found %s", text, bind_describe(binder, side, room, sizeof room));
    } else if (operand->type != TYPE_INT && operand->type != TYPE_FLOAT && operand->type != TYPE_DOUBLE &&
               operand->type != TYPE_JSON) {
        return FAIL(binder, at, "%s takes numbers, found %s", text, bind_describe(binder, side, room, sizeof room));
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
                        bind_operator_text(node->op));
        *out = bind_constant_operand(result);
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
vecdb_status bind_take_operand(struct binder *binder, uint32_t number, struct operand *out)
{
    *out = binder->bounds[number].operand;
    return out->kind == OPERAND_PROGRAM ? make_program(binder, number, out) : VECDB_OK;
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
    return bind_add_plan(binder, plan, &bound->condition);
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
        return bind_add_plan(&binder, (struct plan_node){.kind = PLAN_ALL}, &filter->root);
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
