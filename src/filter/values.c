#include "filter/values.h"

#include "filter/plan.h"

#define RANGE_VALUES 1000 /* a range of more integers says nothing worth knowing */

/* A condition that rows meet only with one of some values of the field. */
static bool chooses_values(const struct filter *filter, const struct plan_node *node, size_t field)
{
    const struct condition *condition = node->condition;

    if (node->kind != PLAN_CONDITION || condition->negated || condition->operand.kind != OPERAND_COLUMN ||
        condition->operand.step_count || filter->slots[condition->operand.slot].field != field)
        return false;
    if (condition->fixed && condition->test == TEST_RANGE)
        return condition->low.integer <= condition->high.integer &&
               (uint64_t)condition->high.integer - (uint64_t)condition->low.integer < RANGE_VALUES;
    return condition->test == TEST_SET;
}

static void visit_values(const struct condition *condition, void (*visit)(void *context, const void *value, size_t size),
                         void *context)
{
    const int64_t *items = condition->fixed_items;

    if (condition->fixed && condition->test == TEST_RANGE) {
        for (uint64_t i = 0; i <= (uint64_t)condition->high.integer - (uint64_t)condition->low.integer; i++) {
            int64_t value = (int64_t)((uint64_t)condition->low.integer + i);
            visit(context, &value, sizeof value);
        }
        return;
    }
    for (size_t i = 0; condition->fixed && i < condition->fixed_count; i++)
        visit(context, &items[i], sizeof *items);
    for (size_t i = 0; i < condition->set.string_count && !condition->fixed; i++)
        visit(context, condition->set.strings[i].string.data, condition->set.strings[i].string.length);
}

bool filter_field_values(const struct filter *filter, size_t field,
                         void (*visit)(void *context, const void *value, size_t size), void *context)
{
    const struct plan_node *root = &filter->nodes[filter->root];

    if (root->kind == PLAN_NONE)
        return true;
    if (chooses_values(filter, root, field)) {
        visit_values(root->condition, visit, context);
        return true;
    }
    for (uint32_t i = 0; root->kind == PLAN_AND && i < root->count; i++) {
        const struct plan_node *child = &filter->nodes[filter->items[root->first + i]];
        if (chooses_values(filter, child, field)) {
            visit_values(child->condition, visit, context);
            return true;
        }
    }
    return false;
}
