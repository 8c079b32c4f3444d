/* Index or scan, and which condition first. Costs are nanoseconds on a machine of 2020 or so; only their ratios count. */
#include "filter/eval.h"

#include "base/mem.h"

#include <stdlib.h>

#define MAX_LOOKUPS 64     /* in one filter; each takes a bit a row */
#define SAMPLED_BLOCKS 16  /* whose statistics are looked at to estimate a range */

/* Of a row whose column is at hand. */
static double scan_cost(const struct filter *filter, const struct condition *condition)
{
    const struct operand *operand = &condition->operand;
    double cost;

    switch (operand->kind) {
    case OPERAND_COLUMN:
        cost = condition->fixed                  ? 0.05 * (double)type_width(filter->slots[operand->slot].type, 0)
               : operand->type == TYPE_STRING    ? 3
               : condition->test == TEST_NULL    ? 0.01
                                                 : 8;
        if (condition->fixed && condition->test == TEST_SET)
            cost *= condition->fixed_count <= 6 ? (double)condition->fixed_count : 20;
        break;
    case OPERAND_PATH:
        cost = 15 + 10 * (double)operand->step_count;
        break;
    case OPERAND_PROGRAM:
        cost = (condition->vector ? 1 : 20) * (double)operand->program_size;
        break;
    default:
        cost = 10;
        break;
    }
    switch (condition->test) {
    case TEST_LIKE:
        return cost + (condition->like->kind == LIKE_PIECES ? 40 : 10);
    case TEST_REGEX:
    case TEST_PLUGGED:
        return cost + 300;
    case TEST_CONTAINS:
    case TEST_CONTAINS_ALL:
        return cost + 40;
    case TEST_COMPARE:
        return condition->vector ? cost + 2 : cost + 15;
    case TEST_SAMPLE:
        return 2;
    default:
        return cost;
    }
}

/* The share of a field's span that a range covers, by the statistics of some blocks; negative when there are none. */
static double covered(const struct eval *eval, const struct condition *condition)
{
    const struct filter_source *source = eval->source;
    const struct slot *slot;
    size_t blocks = (source->row_count + source->block_rows - 1) / source->block_rows, step = blocks / SAMPLED_BLOCKS + 1;
    double inside = 0, seen = 0;

    if (!source->stats || !condition->fixed || condition->vector || condition->test != TEST_RANGE)
        return -1;
    slot = &eval->filter->slots[condition->operand.slot];
    for (size_t block = 0; block < blocks; block += step) {
        struct column_stats stats;
        double low, high, from, to;

        if (!source->stats(source->context, slot->field, block, &stats))
            return -1;
        if (!stats.has_range)
            continue;
        if (type_is_float(slot->type)) {
            low = stats.low.real, high = stats.high.real;
            from = condition->low.real, to = condition->high.real;
        } else {
            low = (double)stats.low.integer, high = (double)stats.high.integer + 1;
            from = (double)condition->low.integer, to = (double)condition->high.integer + 1;
        }
        from = from > low ? from : low;
        to = to < high ? to : high;
        seen++;
        if (to >= from)
            inside += high > low ? (to - from) / (high - low) : 1;
    }
    return seen > 0 ? inside / seen : -1;
}

static double guess_selectivity(const struct eval *eval, const struct condition *condition)
{
    double share = covered(eval, condition);

    if (share < 0)
        switch (condition->test) {
        case TEST_RANGE:
            share = 0.3;
            break;
        case TEST_SET:
            share = 0.02 * (double)condition->item_count;
            break;
        case TEST_SAMPLE:
            share = (double)condition->threshold * 0x1p-64;
            break;
        case TEST_NULL:
        case TEST_LIKE:
        case TEST_REGEX:
            share = 0.1;
            break;
        case TEST_NEVER:
            share = 0;
            break;
        default:
            share = 0.2;
            break;
        }
    if (share > 1)
        share = 1;
    return condition->negated ? 1 - share : share;
}

/* The cheapest index that answers, if one is cheaper than reading the column. */
static void choose_index(const struct eval *eval, const struct condition *condition, struct access *access)
{
    const struct filter_source *source = eval->source;
    double scan = access->cost * (double)source->row_count;
    const struct scalar_index *index;

    if (!source->index || (condition->operand.kind != OPERAND_COLUMN && condition->operand.kind != OPERAND_PATH))
        return;
    for (size_t i = 0; (index = source->index(source->context, eval->filter->slots[condition->operand.slot].field, i));
         i++) {
        struct scalar_lookup lookup;
        size_t rows = scalar_index_rows(index);

        if (rows > source->row_count || !scalar_index_serves(index, condition, &lookup))
            continue;
        if (rows < source->row_count) { /* the rows behind remain to be tested */
            lookup.exact = false;
            lookup.rows += source->row_count - rows;
        }
        if (!lookup.exact)
            lookup.cost += (double)lookup.rows * access->cost;
        if (lookup.cost >= scan || (access->index && lookup.cost >= access->lookup.cost))
            continue;
        access->index = index;
        access->lookup = lookup;
    }
    if (access->index)
        access->selectivity = (double)access->lookup.rows / (double)source->row_count;
}

/* Set the bits from `from` to `end`, those of rows that an index does not have. */
static void fill_behind(uint64_t *bits, size_t from, size_t end)
{
    if (from == end)
        return;
    if (from % 64)
        bits[from / 64] |= ~0ull << from % 64;
    for (size_t w = bitmap_words(from); w < bitmap_words(end); w++)
        bits[w] = ~0ull;
    bits[bitmap_words(end) - 1] &= bitmap_tail(end);
}

struct ranked {
    double rank;
    uint32_t node;
};

static int compare_ranks(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;

    if (a->rank != b->rank)
        return a->rank < b->rank ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* Cheap and telling ones first: `and` by cost per row thrown out, `or` by cost per row taken. */
static void order_children(struct eval *eval, uint32_t number, struct ranked *ranked)
{
    const struct plan_node *node = &eval->filter->nodes[number];
    uint32_t *items = eval->items + node->first;
    bool all = node->kind == PLAN_AND;
    double reached = 1, cost = 0;

    for (uint32_t i = 0; i < node->count; i++) {
        const struct access *child = &eval->access[items[i]];
        double decided = all ? 1 - child->selectivity : child->selectivity;

        ranked[i] = (struct ranked){child->cost / (decided > 1e-6 ? decided : 1e-6), items[i]};
    }
    qsort(ranked, node->count, sizeof *ranked, compare_ranks);
    for (uint32_t i = 0; i < node->count; i++) {
        const struct access *child = &eval->access[ranked[i].node];

        items[i] = ranked[i].node;
        cost += reached * child->cost;
        reached *= all ? child->selectivity : 1 - child->selectivity;
    }
    eval->access[number].cost = cost;
    eval->access[number].selectivity = all ? reached : 1 - reached;
}

vecdb_status eval_plan(struct eval *eval, struct filter_counters *counters)
{
    const struct filter *filter = eval->filter;
    size_t words = bitmap_words(eval->source->row_count), lookups = 0;
    struct ranked *ranked = mem_array_alloc(filter->node_count, sizeof *ranked);

    eval->access = mem_array_zalloc(filter->node_count, sizeof *eval->access);
    eval->items = mem_array_alloc(filter->node_count, sizeof *eval->items);
    if (!ranked || !eval->access || !eval->items) {
        mem_free(ranked);
        return error_nomem("filter");
    }
    if (filter->items)
        memcpy(eval->items, filter->items, filter->node_count * sizeof *eval->items);
    for (uint32_t i = 0; i < filter->node_count; i++) {
        const struct plan_node *node = &filter->nodes[i];
        struct access *access = &eval->access[i];

        if (node->kind == PLAN_AND || node->kind == PLAN_OR) {
            order_children(eval, i, ranked);
        } else if (node->kind == PLAN_CONDITION) {
            access->cost = scan_cost(filter, node->condition);
            access->selectivity = guess_selectivity(eval, node->condition);
            if (lookups < MAX_LOOKUPS)
                choose_index(eval, node->condition, access);
            if (access->index && access->lookup.exact)
                access->cost = 0.01;
            lookups += access->index != NULL;
        }
    }
    mem_free(ranked);
    for (uint32_t i = 0; i < filter->node_count && lookups; i++) {
        struct access *access = &eval->access[i];

        if (!access->index)
            continue;
        access->bits = mem_array_alloc(words, 8);
        if (!access->bits)
            return error_nomem("filter");
        TRY(scalar_index_lookup(access->index, filter->nodes[i].condition, access->bits));
        fill_behind(access->bits, scalar_index_rows(access->index), eval->source->row_count);
        if (counters)
            counters->index_lookups++;
    }
    return VECDB_OK;
}
