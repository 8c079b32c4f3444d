/* The plan of a filter as JSON text. Conditions are printed as filters write them. */
#include "filter/eval.h"

#include "base/mem.h"

static const char *operator_text(enum token_kind op)
{
    switch (op) {
    case TOKEN_PLUS:
        return "+";
    case TOKEN_MINUS:
        return "-";
    case TOKEN_STAR:
        return "*";
    case TOKEN_SLASH:
        return "/";
    case TOKEN_PERCENT:
        return "%";
    case TOKEN_POWER:
        return "**";
    case TOKEN_AMPERSAND:
        return "&";
    case TOKEN_PIPE:
        return "|";
    case TOKEN_CARET:
        return "^";
    case TOKEN_TILDE:
        return "~";
    case TOKEN_SHIFT_LEFT:
        return "<<";
    case TOKEN_SHIFT_RIGHT:
        return ">>";
    case TOKEN_EQ:
        return "==";
    case TOKEN_LT:
        return "<";
    default:
        return "<=";
    }
}

static vecdb_status print_simple(const struct filter *filter, const struct operand *operand, struct buf *out)
{
    if (operand->kind == OPERAND_CONSTANT)
        return datum_print(&operand->constant, out);
    if (operand->kind == OPERAND_LENGTH)
        TRY(buf_append_text(out, "array_length("));
    TRY(buf_append_text(out, filter->slots[operand->slot].name));
    for (size_t i = 0; i < operand->step_count; i++) {
        const struct step *step = &operand->steps[i];

        TRY(buf_append_text(out, "["));
        if (step->key)
            TRY(buf_append_json_string(out, step->key, step->length));
        else
            TRY(buf_printf(out, "%zu", step->index));
        TRY(buf_append_text(out, "]"));
    }
    return operand->kind == OPERAND_LENGTH ? buf_append_text(out, ")") : VECDB_OK;
}

/* Programs are printed as they run, operators behind their operands: (year 1 +). */
static vecdb_status print_operand(const struct filter *filter, const struct operand *operand, struct buf *out)
{
    if (operand->kind != OPERAND_PROGRAM)
        return print_simple(filter, operand, out);
    TRY(buf_append_text(out, "("));
    for (size_t i = 0; i < operand->program_size; i++) {
        const struct instruction *instruction = &operand->program[i];

        TRY(buf_append_text(out, i ? " " : ""));
        if (instruction->operand)
            TRY(print_simple(filter, instruction->operand, out));
        else
            TRY(buf_printf(out, "%s%s", instruction->prefix ? "prefix " : "", operator_text(instruction->op)));
    }
    return buf_append_text(out, ")");
}

static vecdb_status print_items(const struct condition *condition, struct buf *out)
{
    struct datum list = {DATUM_LIST, {.list = {condition->items, condition->item_count}}};

    return datum_print(&list, out);
}

/* Bounds of a field of fixed width, which need not be those that were written. */
static vecdb_status print_fixed_range(const struct filter *filter, const struct condition *condition, struct buf *out)
{
    bool real = condition->operand.type == TYPE_FLOAT || condition->operand.type == TYPE_DOUBLE;
    struct datum low = {DATUM_INT, {.integer = condition->low.integer}}, high = {DATUM_INT, {.integer = condition->high.integer}};

    if (real) {
        low = (struct datum){DATUM_DOUBLE, {.real = condition->low.real}};
        high = (struct datum){DATUM_DOUBLE, {.real = condition->high.real}};
    }
    if (datum_equal(&low, &high)) {
        TRY(print_operand(filter, &condition->operand, out));
        TRY(buf_append_text(out, " == "));
        return datum_print(&low, out);
    }
    TRY(datum_print(&low, out));
    TRY(buf_append_text(out, " <= "));
    TRY(print_operand(filter, &condition->operand, out));
    TRY(buf_append_text(out, " <= "));
    return datum_print(&high, out);
}

static vecdb_status print_bounds(const struct filter *filter, const struct condition *condition, struct buf *out)
{
    const struct bounds *bounds = &condition->bounds;

    if (bounds->low.kind) {
        TRY(datum_print(&bounds->low, out));
        TRY(buf_append_text(out, bounds->low_open ? " < " : " <= "));
    }
    TRY(print_operand(filter, &condition->operand, out));
    if (bounds->high.kind) {
        TRY(buf_append_text(out, bounds->high_open ? " < " : " <= "));
        TRY(datum_print(&bounds->high, out));
    }
    return VECDB_OK;
}

static vecdb_status print_condition(const struct filter *filter, const struct condition *condition, struct buf *out)
{
    if (condition->negated && condition->test != TEST_NULL)
        TRY(buf_append_text(out, "not "));
    switch (condition->test) {
    case TEST_NEVER:
        TRY(print_operand(filter, &condition->operand, out));
        return buf_append_text(out, " in []");
    case TEST_NULL:
        TRY(print_operand(filter, &condition->operand, out));
        return buf_append_text(out, condition->negated ? " is not null" : " is null");
    case TEST_TRUE:
        return print_operand(filter, &condition->operand, out);
    case TEST_RANGE:
        return condition->fixed ? print_fixed_range(filter, condition, out) : print_bounds(filter, condition, out);
    case TEST_SET:
        TRY(print_operand(filter, &condition->operand, out));
        TRY(buf_append_text(out, condition->item_count == 1 ? " == " : " in "));
        return condition->item_count == 1 ? datum_print(&condition->items[0], out) : print_items(condition, out);
    case TEST_LIKE:
    case TEST_REGEX:
        TRY(print_operand(filter, &condition->operand, out));
        TRY(buf_append_text(out, condition->test == TEST_LIKE ? " like " : " =~ "));
        return datum_print(&condition->items[0], out);
    case TEST_COMPARE:
        TRY(print_operand(filter, &condition->operand, out));
        TRY(buf_printf(out, " %s ", operator_text(condition->op)));
        return print_operand(filter, &condition->other, out);
    case TEST_CONTAINS:
    case TEST_CONTAINS_ALL:
        TRY(buf_append_text(out, condition->test == TEST_CONTAINS ? "array_contains_any(" : "array_contains_all("));
        TRY(print_operand(filter, &condition->operand, out));
        TRY(buf_append_text(out, ", "));
        TRY(print_items(condition, out));
        return buf_append_text(out, ")");
    case TEST_PLUGGED:
        TRY(buf_printf(out, "%s(", condition->function->name));
        TRY(print_operand(filter, &condition->operand, out));
        for (size_t i = 0; i < condition->item_count; i++) {
            TRY(buf_append_text(out, ", "));
            TRY(datum_print(&condition->items[i], out));
        }
        return buf_append_text(out, ")");
    case TEST_SAMPLE:
        return buf_printf(out, "random_sample(%g)", (double)condition->threshold * 0x1p-64);
    }
    return VECDB_OK;
}

/* What is known of a node; the object stays open. */
static vecdb_status print_node(const struct eval *eval, const struct filter *filter, uint32_t number, struct buf *out)
{
    static const char *const names[] = {"all rows", "no rows", "condition", "and", "or", ""};
    const struct plan_node *node = &filter->nodes[number];
    const struct access *access = eval ? &eval->access[number] : NULL;
    struct buf text = {0};
    vecdb_status status;

    TRY(buf_printf(out, "{\"node\": \"%s\"", names[node->kind]));
    if (node->kind == PLAN_CONDITION) {
        status = print_condition(filter, node->condition, &text);
        if (status == VECDB_OK)
            status = buf_append_text(out, ", \"test\": ");
        if (status == VECDB_OK)
            status = buf_append_json_string(out, (const char *)text.data, text.size);
        buf_deinit(&text);
        if (status != VECDB_OK)
            return status;
        if (access && access->index)
            TRY(buf_printf(out, ", \"access\": \"index %s%s\"", scalar_index_kind(access->index),
                           access->lookup.exact ? "" : ", then scan"));
        else if (access)
            TRY(buf_append_text(out, ", \"access\": \"scan\""));
    }
    if (access)
        TRY(buf_printf(out, ", \"estimated_rows\": %.0f, \"rows_in\": %llu, \"rows_out\": %llu",
                       access->selectivity * (double)eval->source->row_count, (unsigned long long)access->rows_in,
                       (unsigned long long)access->rows_out));
    return VECDB_OK;
}

static vecdb_status print_plan(const struct eval *eval, const struct filter *filter, struct buf *out)
{
    struct frame *frames = mem_array_alloc(filter->depth + 1, sizeof *frames);
    const uint32_t *items = eval ? eval->items : filter->items;
    vecdb_status status;
    size_t height = 1;

    if (!frames)
        return error_nomem("filter");
    frames[0] = (struct frame){filter->root, 0, NULL};
    status = print_node(eval, filter, filter->root, out);
    while (height && status == VECDB_OK) {
        struct frame *top = &frames[height - 1];
        const struct plan_node *node = &filter->nodes[top->node];
        bool joint = node->kind == PLAN_AND || node->kind == PLAN_OR;

        if (joint && top->next < node->count) {
            uint32_t child = items[node->first + top->next];

            status = buf_append_text(out, top->next++ ? ", " : ", \"children\": [");
            if (status == VECDB_OK)
                status = print_node(eval, filter, child, out);
            frames[height++] = (struct frame){child, 0, NULL};
        } else {
            status = buf_append_text(out, joint ? "]}" : "}");
            height--;
        }
    }
    mem_free(frames);
    return status;
}

static vecdb_status explain_rows(const struct filter *filter, const struct filter_source *source, uint64_t *rows,
                                 struct buf *out)
{
    struct filter_counters counters = {0};
    struct eval eval;
    vecdb_status status = eval_init(&eval, filter, source);

    eval.counting = true;
    if (status == VECDB_OK)
        status = eval_plan(&eval, &counters);
    if (status == VECDB_OK)
        status = eval_run(&eval, rows, &counters);
    if (status == VECDB_OK)
        status = buf_append_text(out, "{\"plan\": ");
    if (status == VECDB_OK)
        status = print_plan(&eval, filter, out);
    if (status == VECDB_OK)
        status = buf_printf(out,
                            ", \"rows\": %zu, \"matching_rows\": %zu, \"blocks\": %llu, \"blocks_skipped\": %llu, "
                            "\"index_lookups\": %llu}",
                            source->row_count, bitmap_count(rows, source->row_count), (unsigned long long)counters.blocks,
                            (unsigned long long)counters.blocks_skipped, (unsigned long long)counters.index_lookups);
    eval_deinit(&eval);
    return status;
}

vecdb_status filter_explain(const struct filter *filter, const struct filter_source *source, uint64_t *rows,
                            struct buf *out)
{
    enum plan_kind root = filter->nodes[filter->root].kind;
    uint64_t *all = NULL;
    vecdb_status status;

    if (!source || source->row_count == 0 || root == PLAN_ALL || root == PLAN_NONE) {
        TRY(buf_append_text(out, "{\"plan\": "));
        TRY(print_plan(NULL, filter, out));
        return buf_append_text(out, "}");
    }
    if (!rows) {
        if (!(all = mem_array_alloc(bitmap_words(source->row_count), 8)))
            return error_nomem("filter");
        bitmap_fill(all, source->row_count);
    }
    status = explain_rows(filter, source, rows ? rows : all, out);
    mem_free(all);
    return status;
}
