/* What binding left, made cheap to evaluate: `not` pushed down, chains flattened, ranges and lists on one operand joined,
 * constants dropped, and every condition on a field of fixed width put in the field's own terms. */
#include "filter/plan.h"

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "schema/value.h"

#include <math.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- Sets ---- */

static int compare_integers(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static int compare_reals(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int compare_texts(const void *a, const void *b)
{
    const struct datum *x = a, *y = b;

    return compare_strings(x->string.data, x->string.length, y->string.data, y->string.length);
}

static uint32_t hash_text(const char *text, size_t length)
{
    return (uint32_t)XXH3_64bits(text, length);
}

static vecdb_status build_table(struct set *set, struct arena *arena)
{
    size_t size = 16;
    uint32_t *table;

    while (size < set->string_count * 2)
        size *= 2;
    table = arena_alloc(arena, size, sizeof *table);
    if (!table)
        return VECDB_ERR_NOMEM;
    for (size_t i = 0; i < set->string_count; i++) {
        size_t at = hash_text(set->strings[i].string.data, set->strings[i].string.length) & (size - 1);

        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)i + 1;
    }
    set->table = table;
    set->table_mask = size - 1;
    return VECDB_OK;
}

vecdb_status set_build(struct set *set, const struct datum *items, size_t count, struct arena *arena)
{
    int64_t *integers = arena_alloc(arena, count, sizeof *integers);
    double *reals = arena_alloc(arena, count, sizeof *reals);
    struct datum *strings = arena_alloc(arena, count, sizeof *strings);
    struct datum *values = arena_alloc(arena, count, sizeof *values);
    size_t n;

    *set = (struct set){0};
    if (!integers || !reals || !strings || !values)
        return VECDB_ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        struct datum item = datum_canonical(items[i]);

        set->classes |= datum_class(&item);
        if (item.kind == DATUM_BOOL)
            set->has[item.boolean] = true;
        else if (item.kind == DATUM_INT)
            integers[set->integer_count++] = item.integer;
        else if (item.kind == DATUM_DOUBLE)
            reals[set->real_count++] = item.real;
        else if (item.kind == DATUM_STRING)
            strings[set->string_count++] = item;
        else {
            bool known = false;

            for (size_t j = 0; j < set->value_count && !known; j++)
                known = datum_equal(&values[j], &item);
            if (!known)
                values[set->value_count++] = item;
        }
    }
    qsort(integers, set->integer_count, sizeof *integers, compare_integers);
    qsort(reals, set->real_count, sizeof *reals, compare_reals);
    qsort(strings, set->string_count, sizeof *strings, compare_texts);
    n = 0;
    for (size_t i = 0; i < set->integer_count; i++)
        if (!n || integers[n - 1] != integers[i])
            integers[n++] = integers[i];
    set->integer_count = n;
    n = 0;
    for (size_t i = 0; i < set->real_count; i++)
        if (!n || reals[n - 1] != reals[i])
            reals[n++] = reals[i];
    set->real_count = n;
    n = 0;
    for (size_t i = 0; i < set->string_count; i++)
        if (!n || compare_texts(&strings[n - 1], &strings[i]) != 0)
            strings[n++] = strings[i];
    set->string_count = n;
    set->integers = integers;
    set->reals = reals;
    set->strings = strings;
    set->values = values;
    return set->string_count > 4 ? build_table(set, arena) : VECDB_OK;
}

size_t set_size(const struct set *set)
{
    return 2 + set->integer_count + set->real_count + set->string_count + set->value_count;
}

static size_t find_string(const struct set *set, const char *text, size_t length)
{
    if (!set->table) {
        for (size_t i = 0; i < set->string_count; i++)
            if (set->strings[i].string.length == length && memcmp(set->strings[i].string.data, text, length) == 0)
                return i;
        return SIZE_MAX;
    }
    for (size_t at = hash_text(text, length) & set->table_mask; set->table[at]; at = (at + 1) & set->table_mask) {
        size_t i = set->table[at] - 1;

        if (set->strings[i].string.length == length && memcmp(set->strings[i].string.data, text, length) == 0)
            return i;
    }
    return SIZE_MAX;
}

static size_t find_number(const void *items, size_t count, size_t size, const void *key,
                          int (*compare)(const void *, const void *))
{
    const char *found = count ? bsearch(key, items, count, size, compare) : NULL;

    return found ? (size_t)(found - (const char *)items) / size : SIZE_MAX;
}

size_t set_find(const struct set *set, const struct datum *value)
{
    struct datum number;
    size_t at = SIZE_MAX, base = 2;

    switch (value->kind) {
    case DATUM_BOOL:
        return set->has[value->boolean] ? (size_t)value->boolean : SIZE_MAX;
    case DATUM_INT:
    case DATUM_DOUBLE:
        number = datum_canonical(*value);
        if (number.kind == DATUM_INT) {
            at = find_number(set->integers, set->integer_count, 8, &number.integer, compare_integers);
        } else if (!isnan(number.real)) {
            base += set->integer_count;
            at = find_number(set->reals, set->real_count, 8, &number.real, compare_reals);
        }
        break;
    case DATUM_STRING:
        base += set->integer_count + set->real_count;
        at = find_string(set, value->string.data, value->string.length);
        break;
    case DATUM_JSON:
        base += set->integer_count + set->real_count + set->string_count;
        for (size_t i = 0; i < set->value_count && at == SIZE_MAX; i++)
            if (datum_equal(&set->values[i], value))
                at = i;
        break;
    default:
        break;
    }
    return at == SIZE_MAX ? at : base + at;
}

/* ---- Bounds ---- */

/* Narrow `into` to what lies in both; false when their bounds cannot be compared. */
static bool intersect(struct bounds *into, const struct bounds *with)
{
    const struct datum *one = into->low.kind ? &into->low : &into->high, *two = with->low.kind ? &with->low : &with->high;
    int order;

    if (datum_class(one) != datum_class(two))
        return false;
    if (with->low.kind) {
        order = into->low.kind ? datum_compare(&with->low, &into->low) : 1;
        if (order > 0) {
            into->low = with->low;
            into->low_open = with->low_open;
        } else if (order == 0) {
            into->low_open = into->low_open || with->low_open;
        }
    }
    if (with->high.kind) {
        order = into->high.kind ? datum_compare(&with->high, &into->high) : -1;
        if (order < 0) {
            into->high = with->high;
            into->high_open = with->high_open;
        } else if (order == 0) {
            into->high_open = into->high_open || with->high_open;
        }
    }
    return true;
}

static bool is_empty(const struct bounds *bounds)
{
    int order;

    if (!bounds->low.kind || !bounds->high.kind)
        return false;
    order = datum_compare(&bounds->low, &bounds->high);
    return order > 0 || (order == 0 && (bounds->low_open || bounds->high_open));
}

/* Inclusive bounds in integers; false when none is between them. */
static bool integer_bounds(const struct bounds *bounds, int64_t *low, int64_t *high)
{
    const struct datum *a = &bounds->low, *b = &bounds->high;

    if (a->kind == DATUM_INT) {
        if (bounds->low_open && a->integer == INT64_MAX)
            return false;
        if (a->integer + bounds->low_open > *low)
            *low = a->integer + bounds->low_open;
    } else if (a->kind == DATUM_DOUBLE) {
        double up = ceil(a->real);

        if (up >= 0x1p63)
            return false;
        if (up >= -0x1p63) {
            int64_t least = (int64_t)up;

            if (bounds->low_open && up == a->real) {
                if (least == INT64_MAX)
                    return false;
                least++;
            }
            if (least > *low)
                *low = least;
        }
    }
    if (b->kind == DATUM_INT) {
        if (bounds->high_open && b->integer == INT64_MIN)
            return false;
        if (b->integer - bounds->high_open < *high)
            *high = b->integer - bounds->high_open;
    } else if (b->kind == DATUM_DOUBLE) {
        double down = floor(b->real);

        if (down < -0x1p63)
            return false;
        if (down < 0x1p63) {
            int64_t most = (int64_t)down;

            if (bounds->high_open && down == b->real) {
                if (most == INT64_MIN)
                    return false;
                most--;
            }
            if (most < *high)
                *high = most;
        }
    }
    return *low <= *high;
}

/* The double that a bound allows first, going up (or, for a high bound, down). */
static double real_bound(const struct datum *bound, bool open, bool low)
{
    double towards = low ? INFINITY : -INFINITY, value;
    int order;

    if (bound->kind == DATUM_NONE)
        return -towards;
    if (bound->kind == DATUM_DOUBLE)
        return open ? nextafter(bound->real, towards) : bound->real;
    value = (double)bound->integer;
    order = compare_int_double(bound->integer, value); /* the integer against its double */
    if (order == 0)
        return open ? nextafter(value, towards) : value;
    return (low ? order > 0 : order < 0) ? nextafter(value, towards) : value;
}

/* The float nearest to a double that does not go beyond it. */
static double float_bound(double value, bool low)
{
    float narrow = (float)value;

    if (low && (double)narrow < value)
        narrow = nextafterf(narrow, INFINITY);
    if (!low && (double)narrow > value)
        narrow = nextafterf(narrow, -INFINITY);
    return narrow;
}

/* ---- Conditions in the terms of a fixed-width field ---- */

static vecdb_status never(struct condition *condition)
{
    condition->test = TEST_NEVER;
    return VECDB_OK;
}

static vecdb_status lower_integers(struct condition *condition, vecdb_type type, struct arena *arena)
{
    int64_t low, high, *items;
    const struct set *set = &condition->set;

    if (type == VECDB_TYPE_BOOL)
        low = 0, high = 1;
    else
        value_integer_range(type, &low, &high);
    condition->low.integer = low;
    condition->high.integer = high;
    condition->fixed = true;
    if (condition->test == TEST_TRUE) {
        condition->test = TEST_RANGE;
        condition->low.integer = 1;
        return VECDB_OK;
    }
    if (condition->test == TEST_RANGE)
        return integer_bounds(&condition->bounds, &condition->low.integer, &condition->high.integer) ? VECDB_OK
                                                                                                      : never(condition);
    items = arena_alloc(arena, set->integer_count + 2, sizeof *items);
    if (!items)
        return VECDB_ERR_NOMEM;
    for (int i = 0; i < 2; i++)
        if (set->has[i])
            items[condition->fixed_count++] = i;
    for (size_t i = 0; i < set->integer_count; i++)
        if (set->integers[i] >= low && set->integers[i] <= high)
            items[condition->fixed_count++] = set->integers[i];
    condition->fixed_items = items;
    if (condition->fixed_count == 0)
        return never(condition);
    condition->low.integer = items[0];
    condition->high.integer = items[condition->fixed_count - 1];
    if ((uint64_t)condition->high.integer - (uint64_t)condition->low.integer == condition->fixed_count - 1) {
        condition->test = TEST_RANGE; /* they follow one another */
        return VECDB_OK;
    }
    if ((uint64_t)condition->high.integer - (uint64_t)condition->low.integer < (1u << 20)) {
        size_t span = (size_t)(condition->high.integer - condition->low.integer) + 1;
        uint64_t *lookup = arena_alloc(arena, bitmap_words(span), 8);

        if (!lookup)
            return VECDB_ERR_NOMEM;
        for (size_t i = 0; i < condition->fixed_count; i++)
            bitmap_set(lookup, (size_t)(items[i] - condition->low.integer));
        condition->lookup = lookup;
    }
    return VECDB_OK;
}

static vecdb_status lower_reals(struct condition *condition, bool narrow, struct arena *arena)
{
    const struct set *set = &condition->set;
    double *items;

    condition->fixed = true;
    if (condition->test == TEST_RANGE) {
        condition->low.real = real_bound(&condition->bounds.low, condition->bounds.low_open, true);
        condition->high.real = real_bound(&condition->bounds.high, condition->bounds.high_open, false);
        if (narrow) {
            condition->low.real = float_bound(condition->low.real, true);
            condition->high.real = float_bound(condition->high.real, false);
        }
        return condition->low.real <= condition->high.real ? VECDB_OK : never(condition);
    }
    items = arena_alloc(arena, set->integer_count + set->real_count, sizeof *items);
    if (!items)
        return VECDB_ERR_NOMEM;
    for (size_t i = 0; i < set->integer_count; i++) {
        double value = (double)set->integers[i];

        if (compare_int_double(set->integers[i], value) == 0 && (!narrow || (double)(float)value == value))
            items[condition->fixed_count++] = value;
    }
    for (size_t i = 0; i < set->real_count; i++)
        if (!narrow || (double)(float)set->reals[i] == set->reals[i])
            items[condition->fixed_count++] = set->reals[i];
    qsort(items, condition->fixed_count, sizeof *items, compare_reals);
    condition->fixed_items = items;
    if (condition->fixed_count == 0)
        return never(condition);
    condition->low.real = items[0];
    condition->high.real = items[condition->fixed_count - 1];
    if (condition->fixed_count == 1)
        condition->test = TEST_RANGE;
    return VECDB_OK;
}

/* Numbers of a type known beforehand, row by row. Powers are left out: theirs depends on the exponent. */
static bool is_vector(const struct operand *operand)
{
    if (operand->type != TYPE_INT && operand->type != TYPE_FLOAT && operand->type != TYPE_DOUBLE)
        return false;
    for (size_t i = 0; operand->kind == OPERAND_PROGRAM && i < operand->program_size; i++)
        if (operand->program[i].op == TOKEN_POWER)
            return false;
    return true;
}

static vecdb_status lower(struct filter *filter, struct condition *condition)
{
    if (condition->lowered)
        return VECDB_OK;
    condition->lowered = true;
    if (condition->test == TEST_SET || condition->test == TEST_CONTAINS || condition->test == TEST_CONTAINS_ALL) {
        TRY(set_build(&condition->set, condition->items, condition->item_count, &filter->arena));
        if (condition->test == TEST_CONTAINS_ALL && set_size(&condition->set) > filter->set_size)
            filter->set_size = set_size(&condition->set);
    }
    if (condition->test == TEST_LIKE && condition->like->kind == LIKE_EQUAL) {
        struct datum *text = arena_alloc(&filter->arena, 1, sizeof *text);

        if (!text)
            return VECDB_ERR_NOMEM;
        *text = (struct datum){DATUM_STRING, {.string = {condition->like->text, condition->like->length}}};
        condition->test = TEST_SET;
        condition->items = text;
        condition->item_count = 1;
        TRY(set_build(&condition->set, text, 1, &filter->arena));
    }
    if (condition->test == TEST_RANGE && is_empty(&condition->bounds) && condition->operand.type != TYPE_JSON)
        return never(condition);
    if (condition->test == TEST_COMPARE && is_vector(&condition->operand) && is_vector(&condition->other)) {
        condition->vector = true;
        return VECDB_OK;
    }
    if (condition->operand.kind == OPERAND_PROGRAM && is_vector(&condition->operand) &&
        (condition->test == TEST_RANGE || condition->test == TEST_SET)) {
        condition->vector = true;
        return condition->operand.type == TYPE_INT ? lower_integers(condition, VECDB_TYPE_INT64, &filter->arena)
                                                   : lower_reals(condition, false, &filter->arena);
    }
    if (condition->operand.kind != OPERAND_COLUMN ||
        (condition->test != TEST_RANGE && condition->test != TEST_SET && condition->test != TEST_TRUE))
        return VECDB_OK;
    switch (condition->operand.type) {
    case TYPE_BOOL:
    case TYPE_INT:
        return lower_integers(condition, filter->slots[condition->operand.slot].type, &filter->arena);
    case TYPE_FLOAT:
    case TYPE_DOUBLE:
        return lower_reals(condition, condition->operand.type == TYPE_FLOAT, &filter->arena);
    default:
        return VECDB_OK;
    }
}

/* ---- The tree ---- */

/* Push negation down. Children come before their parents, so a loop from the last to the first meets each parent first. */
static vecdb_status push_not_down(struct filter *filter)
{
    uint8_t *negated = mem_zalloc(filter->node_count);

    if (!negated)
        return error_nomem("filter");
    for (uint32_t i = filter->node_count; i-- > 0;) {
        struct plan_node *node = &filter->nodes[i];
        bool flip = negated[i];

        switch (node->kind) {
        case PLAN_ALL:
        case PLAN_NONE:
            if (flip)
                node->kind = node->kind == PLAN_ALL ? PLAN_NONE : PLAN_ALL;
            break;
        case PLAN_CONDITION:
            node->condition->negated = node->condition->negated != flip;
            break;
        case PLAN_NOT:
            negated[node->left] = !flip;
            break;
        case PLAN_AND:
        case PLAN_OR:
            if (flip)
                node->kind = node->kind == PLAN_AND ? PLAN_OR : PLAN_AND;
            negated[node->left] = negated[node->right] = flip;
            break;
        }
    }
    mem_free(negated);
    return VECDB_OK;
}

/* Joints of one kind under one another become one. A `not` has done its work and hands its place to what it stood before.
 * owner: of each node, itself, or the joint that takes its children; parent: the joint whose child it becomes. */
static vecdb_status flatten(struct filter *filter)
{
    uint32_t n = filter->node_count, total = 0;
    uint32_t *memory = mem_array_zalloc(n, 3 * sizeof *memory + 1), *owner = memory, *parent, *count;
    uint8_t *reached;

    if (!memory)
        return error_nomem("filter");
    parent = owner + n;
    count = parent + n;
    reached = (uint8_t *)(count + n);
    while (filter->nodes[filter->root].kind == PLAN_NOT)
        filter->root = filter->nodes[filter->root].left;
    owner[filter->root] = filter->root;
    parent[filter->root] = NODE_NONE;
    reached[filter->root] = 1;
    for (uint32_t i = n; i-- > 0;) {
        struct plan_node *node = &filter->nodes[i];

        if (!reached[i] || (node->kind != PLAN_AND && node->kind != PLAN_OR))
            continue;
        for (int side = 0; side < 2; side++) {
            uint32_t child = side ? node->right : node->left;

            while (filter->nodes[child].kind == PLAN_NOT)
                child = filter->nodes[child].left;
            reached[child] = 1;
            if (filter->nodes[child].kind == node->kind) {
                owner[child] = owner[i];
            } else {
                owner[child] = child;
                parent[child] = owner[i];
                count[owner[i]]++;
            }
        }
    }
    filter->items = mem_array_alloc(n, sizeof *filter->items);
    if (!filter->items) {
        mem_free(memory);
        return error_nomem("filter");
    }
    for (uint32_t i = 0; i < n; i++)
        if (reached[i] && owner[i] == i && count[i]) {
            filter->nodes[i].first = total;
            total += count[i];
        }
    for (uint32_t i = 0; i < n; i++) {
        struct plan_node *up;

        if (!reached[i] || owner[i] != i) {
            filter->nodes[i].kind = PLAN_NOT; /* nobody's any more */
            continue;
        }
        if (parent[i] == NODE_NONE)
            continue;
        up = &filter->nodes[parent[i]];
        filter->items[up->first + up->count++] = i;
    }
    mem_free(memory);
    return VECDB_OK;
}

static bool same_operand(const struct operand *a, const struct operand *b)
{
    if (a->slot != b->slot || a->kind != b->kind || a->step_count != b->step_count || a->kind == OPERAND_PROGRAM)
        return false;
    for (size_t i = 0; i < a->step_count; i++) {
        const struct step *x = &a->steps[i], *y = &b->steps[i];

        if (!x->key != !y->key || x->index != y->index || x->length != y->length ||
            (x->key && memcmp(x->key, y->key, x->length) != 0))
            return false;
    }
    return true;
}

/* Whether the condition may join others on its operand into one: ranges and `not in` under and, `in` under or. */
static bool can_join(const struct condition *condition, enum plan_kind kind)
{
    if (condition->lowered)
        return false;
    if (kind == PLAN_AND)
        return condition->negated ? condition->test == TEST_SET : condition->test == TEST_RANGE;
    return condition->test == TEST_SET && !condition->negated;
}

/* Children of one joint that speak of one operand become one child. Those that were taken up are set to NODE_NONE. */
static vecdb_status join_children(struct filter *filter, const struct plan_node *node)
{
    uint32_t *children = filter->items + node->first;

    for (uint32_t i = 0; i < node->count; i++) {
        struct condition *condition;
        size_t total, last = i;

        if (children[i] == NODE_NONE || filter->nodes[children[i]].kind != PLAN_CONDITION)
            continue;
        condition = filter->nodes[children[i]].condition;
        if (!can_join(condition, node->kind))
            continue;
        total = condition->item_count;
        for (uint32_t j = i + 1; j < node->count; j++) {
            const struct condition *other;

            if (children[j] == NODE_NONE || filter->nodes[children[j]].kind != PLAN_CONDITION)
                continue;
            other = filter->nodes[children[j]].condition;
            if (other->test != condition->test || !can_join(other, node->kind) ||
                !same_operand(&condition->operand, &other->operand))
                continue;
            if (condition->test == TEST_SET) {
                total += other->item_count;
                last = j;
            } else if (intersect(&condition->bounds, &other->bounds)) {
                children[j] = NODE_NONE;
            }
        }
        if (last > i) {
            struct datum *items = arena_alloc(&filter->arena, total, sizeof *items);
            size_t n = condition->item_count;

            if (!items)
                return VECDB_ERR_NOMEM;
            memcpy(items, condition->items, n * sizeof *items);
            for (uint32_t j = i + 1; j <= last; j++) {
                const struct condition *other;

                if (children[j] == NODE_NONE || filter->nodes[children[j]].kind != PLAN_CONDITION)
                    continue;
                other = filter->nodes[children[j]].condition;
                if (other->test != TEST_SET || !can_join(other, node->kind) ||
                    !same_operand(&condition->operand, &other->operand))
                    continue;
                memcpy(items + n, other->items, other->item_count * sizeof *items);
                n += other->item_count;
                children[j] = NODE_NONE;
            }
            condition->items = items;
            condition->item_count = n;
        }
    }
    return VECDB_OK;
}

/* A condition that is TRUE nowhere; where it is the opposite, rows without a value still stay out. */
static bool is_nowhere(const struct plan_node *node)
{
    return node->kind == PLAN_NONE ||
           (node->kind == PLAN_CONDITION && node->condition->test == TEST_NEVER && !node->condition->negated);
}

static vecdb_status tidy(struct filter *filter)
{
    for (uint32_t i = 0; i < filter->node_count; i++) {
        struct plan_node *node = &filter->nodes[i];
        uint32_t n = 0;

        if (node->kind != PLAN_AND && node->kind != PLAN_OR)
            continue;
        TRY(join_children(filter, node));
        for (uint32_t j = 0; j < node->count; j++) {
            uint32_t child = filter->items[node->first + j];
            struct plan_node *at;

            if (child == NODE_NONE)
                continue;
            at = &filter->nodes[child];
            if (at->kind == PLAN_CONDITION)
                TRY(lower(filter, at->condition));
            if (is_nowhere(at))
                at->kind = PLAN_NONE;
            if (at->kind == (node->kind == PLAN_AND ? PLAN_ALL : PLAN_NONE))
                continue;
            if (at->kind == PLAN_ALL || at->kind == PLAN_NONE) { /* settles the joint */
                node->kind = at->kind;
                n = 0;
                break;
            }
            filter->items[node->first + n++] = child;
        }
        node->count = n;
        if ((node->kind == PLAN_AND || node->kind == PLAN_OR) && n == 0)
            node->kind = node->kind == PLAN_AND ? PLAN_ALL : PLAN_NONE;
        else if (n == 1 && (node->kind == PLAN_AND || node->kind == PLAN_OR)) {
            uint32_t only = filter->items[node->first];

            *node = filter->nodes[only];
            filter->nodes[only].kind = PLAN_NOT;
        }
    }
    return VECDB_OK;
}

/* Depth of the plan, which is what its evaluation needs of scratch; and an end to nodes that are no part of it any more. */
static vecdb_status measure(struct filter *filter)
{
    uint32_t *depth = mem_array_zalloc(filter->node_count, sizeof *depth);

    if (!depth)
        return error_nomem("filter");
    depth[filter->root] = 1; /* from here to the next loop: whether it is reached */
    for (uint32_t i = filter->node_count; i-- > 0;) {
        struct plan_node *node = &filter->nodes[i];

        if (!depth[i])
            node->kind = PLAN_NOT;
        for (uint32_t j = 0; (node->kind == PLAN_AND || node->kind == PLAN_OR) && j < node->count; j++)
            depth[filter->items[node->first + j]] = 1;
        depth[i] = 0;
    }
    for (uint32_t i = 0; i < filter->node_count; i++) {
        const struct plan_node *node = &filter->nodes[i];

        if (node->kind != PLAN_AND && node->kind != PLAN_OR)
            continue;
        for (uint32_t j = 0; j < node->count; j++) {
            uint32_t below = depth[filter->items[node->first + j]] + 1;

            if (below > depth[i])
                depth[i] = below;
        }
    }
    filter->depth = depth[filter->root] + 1;
    mem_free(depth);
    return VECDB_OK;
}

/* random_sample may stand alone, or be joined to others by `and` at the top. */
static vecdb_status check_samples(const struct filter *filter, const struct lexer *lexer)
{
    const struct plan_node *root = &filter->nodes[filter->root];

    for (uint32_t i = 0; i < filter->node_count; i++) {
        const struct plan_node *node = &filter->nodes[i];
        bool allowed = i == filter->root;

        if (node->kind != PLAN_CONDITION || node->condition->test != TEST_SAMPLE)
            continue;
        for (uint32_t j = 0; j < root->count && root->kind == PLAN_AND; j++)
            allowed = allowed || filter->items[root->first + j] == i;
        if (!allowed || node->condition->negated)
            return lexer_error(lexer, VECDB_ERR_FILTER, node->condition->at,
                               "random_sample can only stand alone, or be joined to the rest by and");
    }
    return VECDB_OK;
}

vecdb_status plan_simplify(struct filter *filter, const struct lexer *lexer)
{
    TRY(push_not_down(filter));
    TRY(flatten(filter));
    TRY(check_samples(filter, lexer));
    TRY(tidy(filter));
    if (filter->nodes[filter->root].kind == PLAN_CONDITION) {
        struct plan_node *root = &filter->nodes[filter->root];

        TRY(lower(filter, root->condition));
        if (is_nowhere(root))
            root->kind = PLAN_NONE;
    }
    return measure(filter);
}
