/* Comparisons, lists, patterns and functions to conditions, their types checked. */
#include "filter/bind.h"

#include "base/mem.h"

#include <string.h>

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
                    bind_operator_text(node->op));
    if (!both)
        return FAIL(binder, node->at, "%s cannot compare %s with %s", bind_operator_text(node->op),
                    bind_describe(binder, left, room, sizeof room), bind_describe(binder, right, other, sizeof other));
    if (ordered && !(both & (CLASS_NUMBER | CLASS_STRING)))
        return FAIL(binder, node->at, "%s needs an order, which %s has not: found %s and %s", bind_operator_text(node->op),
                    both == CLASS_BOOL ? "BOOL" : "a list", bind_describe(binder, left, room, sizeof room),
                    bind_describe(binder, right, other, sizeof other));
    return VECDB_OK;
}

static vecdb_status compare_constants(struct binder *binder, uint32_t number, const struct datum *a,
                                      const struct datum *b)
{
    enum token_kind op = binder->tree->nodes[number].op;
    int order;

    if (op == TOKEN_EQ || op == TOKEN_NE)
        return bind_put_truth(binder, number, datum_equal(a, b) == (op == TOKEN_EQ));
    order = datum_compare(a, b);
    return bind_put_truth(binder, number, op == TOKEN_LT ? order < 0 : op == TOKEN_LE ? order <= 0 : op == TOKEN_GT ? order > 0
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
                    bind_operator_text(node->op), bind_describe(binder, left, room, sizeof room),
                    bind_describe(binder, right, other, sizeof other));
    same = binder->bounds[constant].operand.constant.boolean == (node->op == TOKEN_EQ);
    bound->operand.kind = OPERAND_PROGRAM;
    bound->operand.type = TYPE_CONDITION;
    if (same) {
        bound->condition = binder->bounds[condition].condition;
        return VECDB_OK;
    }
    return bind_add_plan(binder, (struct plan_node){.kind = PLAN_NOT, .left = binder->bounds[condition].condition},
                    &bound->condition);
}

vecdb_status bind_comparison(struct binder *binder, uint32_t number)
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
            TRY(bind_list_to_json(binder, &side->constant, &side->constant));
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
    TRY(bind_take_operand(binder, left, &condition.operand));
    if (binder->bounds[right].operand.kind != OPERAND_CONSTANT) {
        TRY(bind_take_operand(binder, right, &condition.other));
        condition.test = TEST_COMPARE;
        condition.negated = op == TOKEN_NE;
        condition.op = op == TOKEN_NE ? TOKEN_EQ : op;
        if (op == TOKEN_GT || op == TOKEN_GE) { /* b < a */
            struct operand swap = condition.operand;

            condition.operand = condition.other;
            condition.other = swap;
            condition.op = mirrored(op);
        }
        return bind_put_condition(binder, number, &condition);
    }
    if (op == TOKEN_EQ || op == TOKEN_NE) {
        condition.test = TEST_SET;
        condition.negated = op == TOKEN_NE;
        condition.items = one_item(binder, rounded(condition.operand.type, *b));
        condition.item_count = 1;
        if (!condition.items)
            return VECDB_ERR_NOMEM;
        return bind_put_condition(binder, number, &condition);
    }
    condition.test = TEST_RANGE;
    if (op == TOKEN_LT || op == TOKEN_LE) {
        condition.bounds.high = rounded(condition.operand.type, *b);
        condition.bounds.high_open = op == TOKEN_LT;
    } else {
        condition.bounds.low = rounded(condition.operand.type, *b);
        condition.bounds.low_open = op == TOKEN_GT;
    }
    return bind_put_condition(binder, number, &condition);
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

vecdb_status bind_in(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    const struct operand *subject = &binder->bounds[node->left].operand, *list = &binder->bounds[node->right].operand;
    struct condition condition = {.test = TEST_SET, .negated = node->negated, .at = node->at};
    char room[128];

    if (list->kind != OPERAND_CONSTANT || list->constant.kind != DATUM_LIST)
        return FAIL(binder, node->at, "in takes a list, as in [1, 2], found %s",
                    bind_describe(binder, node->right, room, sizeof room));
    if (!class_of(subject->type) || subject->type == TYPE_LIST)
        return FAIL(binder, node->at, "in takes a single value on its left, found %s",
                    bind_describe(binder, node->left, room, sizeof room));
    for (size_t i = 0; i < list->constant.list.count; i++) {
        struct operand item = bind_constant_operand(list->constant.list.items[i]);

        if (!(class_of(item.type) & class_of(subject->type)))
            return FAIL(binder, node->at, "in: value %zu of the list is %s, which cannot be compared with %s", i + 1,
                        bind_constant_name(&item.constant), bind_describe(binder, node->left, room, sizeof room));
    }
    if (list->constant.list.count == 0)
        return bind_put_truth(binder, number, node->negated);
    if (subject->kind == OPERAND_CONSTANT) {
        bool found = false;

        for (size_t i = 0; i < list->constant.list.count; i++)
            found = found || datum_equal(&subject->constant, &list->constant.list.items[i]);
        return bind_put_truth(binder, number, found != node->negated);
    }
    TRY(bind_take_operand(binder, node->left, &condition.operand));
    TRY(copy_items(binder, &condition, list->constant.list.items, list->constant.list.count, subject->type));
    return bind_put_condition(binder, number, &condition);
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

vecdb_status bind_pattern(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    const struct operand *subject = &binder->bounds[node->left].operand, *pattern = &binder->bounds[node->right].operand;
    struct condition condition = {.test = node->op == TOKEN_LIKE ? TEST_LIKE : TEST_REGEX,
                                  .negated = node->negated || node->op == TOKEN_NOT_MATCH,
                                  .at = node->at};
    const char *text = bind_operator_text(node->op);
    vecdb_status status;
    char room[128];

    if (!(class_of(subject->type) & CLASS_STRING))
        return FAIL(binder, node->at, "%s takes a VARCHAR on its left, found %s", text,
                    bind_describe(binder, node->left, room, sizeof room));
    if (pattern->kind != OPERAND_CONSTANT || pattern->type != TYPE_STRING)
        return FAIL(binder, node->at, "%s takes a pattern in quotes on its right, found %s", text,
                    bind_describe(binder, node->right, room, sizeof room));
    if (subject->kind == OPERAND_CONSTANT)
        return FAIL(binder, node->at, "%s takes a field on its left, found a VARCHAR constant", text);
    TRY(bind_take_operand(binder, node->left, &condition.operand));
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
    return condition.items ? bind_put_condition(binder, number, &condition) : VECDB_ERR_NOMEM;
}

vecdb_status bind_null(struct binder *binder, uint32_t number, bool exists)
{
    const struct node *node = &binder->tree->nodes[number];
    const struct operand *subject = &binder->bounds[node->left].operand;
    struct condition condition = {.test = TEST_NULL, .negated = node->negated || exists, .at = node->at};
    char room[128];

    if (subject->kind != OPERAND_COLUMN && subject->kind != OPERAND_PATH && subject->kind != OPERAND_ELEMENT)
        return FAIL(binder, node->at, "%s takes a field or a path, found %s", exists ? "exists" : "is null",
                    bind_describe(binder, node->left, room, sizeof room));
    if (exists && subject->type != TYPE_JSON)
        return FAIL(binder, node->at, "exists takes a JSON path, found %s; write `is not null`",
                    bind_describe(binder, node->left, room, sizeof room));
    condition.operand = *subject;
    return bind_put_condition(binder, number, &condition);
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
                    bind_describe(binder, first, room, sizeof room));
    if (sought->kind != OPERAND_CONSTANT)
        return FAIL(binder, binder->tree->nodes[second].at, "%.*s looks for a constant, found %s", n, name,
                    bind_describe(binder, second, room, sizeof room));
    if (node->function == FUNCTION_CONTAINS) {
        json = sought->constant;
        if (json.kind == DATUM_LIST)
            TRY(bind_list_to_json(binder, &sought->constant, &json));
        items = &json;
        count = 1;
    } else {
        if (sought->constant.kind != DATUM_LIST)
            return FAIL(binder, binder->tree->nodes[second].at, "%.*s takes a list, as in [1, 2], found %s", n, name,
                        bind_describe(binder, second, room, sizeof room));
        items = sought->constant.list.items;
        count = sought->constant.list.count;
    }
    type = subject->type == TYPE_ARRAY ? bind_type_of(binder->bounds[first].element_type) : TYPE_JSON;
    for (size_t i = 0; i < count && type != TYPE_JSON; i++) {
        struct operand item = bind_constant_operand(items[i]);

        if (!(class_of(item.type) & class_of(type)))
            return FAIL(binder, binder->tree->nodes[second].at, "%.*s: %s is no element of an ARRAY of %s", n, name,
                        bind_constant_name(&items[i]), type_name(binder->bounds[first].element_type));
    }
    condition.operand = *subject;
    TRY(copy_items(binder, &condition, items, count, type));
    return bind_put_condition(binder, number, &condition);
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
                    bind_describe(binder, first, room, sizeof room));
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
    return bind_put_condition(binder, number, &condition);
}

static vecdb_status bind_plugged(struct binder *binder, uint32_t number)
{
    const struct node *node = &binder->tree->nodes[number];
    struct condition condition = {.test = TEST_PLUGGED, .at = node->at};
    struct datum items[VECDB_PLUGIN_ARGUMENTS];
    uint32_t first;
    char room[128];

    condition.function = plugged_function(node->name, node->name_length);
    binder->filter->plugged = true;
    TRY(check_arguments(binder, node, condition.function->argument_count));
    first = binder->tree->items[node->first];
    if (!class_of(binder->bounds[first].operand.type) || binder->bounds[first].operand.kind == OPERAND_CONSTANT ||
        binder->bounds[first].operand.type == TYPE_LIST || binder->bounds[first].operand.type == TYPE_ARRAY)
        return FAIL(binder, binder->tree->nodes[first].at, "%s takes a single value of the row first, found %s",
                    condition.function->name, bind_describe(binder, first, room, sizeof room));
    for (uint32_t i = 1; i < node->count; i++) {
        uint32_t at = binder->tree->items[node->first + i];
        const struct operand *operand = &binder->bounds[at].operand;
        if (operand->kind != OPERAND_CONSTANT ||
            !(datum_class(&operand->constant) & (CLASS_BOOL | CLASS_NUMBER | CLASS_STRING)))
            return FAIL(binder, binder->tree->nodes[at].at, "%s takes a constant here, found %s", condition.function->name,
                        bind_describe(binder, at, room, sizeof room));
        items[i - 1] = operand->constant;
    }
    TRY(bind_take_operand(binder, first, &condition.operand));
    TRY(copy_items(binder, &condition, items, node->count - 1, TYPE_JSON));
    return bind_put_condition(binder, number, &condition);
}

vecdb_status bind_call(struct binder *binder, uint32_t number)
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
    case FUNCTION_PLUGGED:
        return bind_plugged(binder, number);
    default:
        return lexer_error(binder->lexer, VECDB_ERR_UNSUPPORTED, node->at,
                           "%s needs a text index on the field, and vecdb has no text indexes; like and =~ search text "
                           "without one",
                           node->function == FUNCTION_TEXT_MATCH ? "text_match" : "phrase_match");
    }
}
