/* Evaluation, block by block. A joint hands each child the rows that are still of interest; a child clears the bits of
 * those for which it is not TRUE. So `and` narrows one bitmap, and `or` gives each child only what the ones before it
 * left over. The stack of joints is an array: its size is the plan's depth. */
#include "filter/eval.h"

#include "base/mem.h"
#include "base/rng.h"
#include "filter/row_value.h"
#include "simd/kernels.h"

#include <math.h>

#define FEW_TEXTS 4    /* tried one by one */
#define CHECK_WORDS 16 /* between two calls of `check`: 1024 rows */

/* ---- Set up ---- */

void eval_deinit(struct eval *eval)
{
    for (size_t i = 0; eval->scratches && i < eval->filter->slot_count; i++)
        buf_deinit(&eval->scratches[i].bytes);
    for (size_t i = 0; eval->regexes && i < eval->filter->regex_count; i++)
        regex_scratch_free(eval->regexes[i]);
    mem_free(eval->scratches);
    mem_free(eval->columns);
    mem_free(eval->loaded);
    mem_free(eval->regexes);
    mem_free(eval->bits);
    mem_free(eval->levels);
    mem_free(eval->frames);
    mem_free(eval->stack);
    mem_free(eval->found);
    mem_free(eval->vectors);
    for (size_t i = 0; eval->access && i < eval->filter->node_count; i++)
        mem_free(eval->access[i].bits);
    mem_free(eval->access);
    mem_free(eval->items);
}

vecdb_status eval_init(struct eval *eval, const struct filter *filter, const struct filter_source *source)
{
    size_t slots = filter->slot_count ? filter->slot_count : 1;

    *eval = (struct eval){.filter = filter, .source = source};
    eval->block_words = bitmap_words(source->block_rows < source->row_count ? source->block_rows : source->row_count);
    eval->scratches = mem_array_zalloc(slots, sizeof *eval->scratches);
    eval->columns = mem_array_zalloc(slots, sizeof *eval->columns);
    eval->loaded = mem_array_zalloc(slots, sizeof *eval->loaded);
    eval->regexes = mem_array_zalloc(filter->regex_count + 1, sizeof *eval->regexes);
    eval->bits = mem_array_alloc(eval->block_words * 2 + 2, 8);
    eval->levels = mem_array_alloc(eval->block_words * 2 * filter->depth + 1, 8);
    eval->frames = mem_array_alloc(filter->depth + 1, sizeof *eval->frames);
    eval->stack = mem_array_alloc(filter->stack_size + 1, sizeof *eval->stack);
    eval->found = mem_array_alloc(bitmap_words(filter->set_size) + 1, 8);
    if (!eval->scratches || !eval->columns || !eval->loaded || !eval->regexes || !eval->bits || !eval->levels ||
        !eval->frames || !eval->stack || !eval->found)
        return error_nomem("filter");
    for (size_t i = 0; i < filter->regex_count; i++)
        if (!(eval->regexes[i] = regex_scratch_create(filter->regexes[i])))
            return VECDB_ERR_NOMEM;
    return VECDB_OK;
}

vecdb_status eval_need_column(struct eval *eval, uint32_t slot)
{
    const struct slot *wanted = &eval->filter->slots[slot];
    struct column *column = &eval->columns[slot];

    if (eval->loaded[slot])
        return VECDB_OK;
    TRY(eval->source->column(eval->source->context, wanted->field, eval->block, &eval->scratches[slot], column));
    if (column->type != wanted->type || column->row_count < eval->row_count ||
        (wanted->type == VECDB_TYPE_ARRAY && column->element_type != wanted->element_type))
        return error_set(VECDB_ERR_CORRUPT, "field %s: block %zu has %zu rows of type %d, expected %zu of type %d",
                         wanted->name, eval->block, column->row_count, (int)column->type, eval->row_count,
                         (int)wanted->type);
    eval->loaded[slot] = true;
    eval->reads++;
    return VECDB_OK;
}

static vecdb_status need_operand(struct eval *eval, const struct operand *operand)
{
    if (operand->kind == OPERAND_CONSTANT)
        return VECDB_OK;
    if (operand->kind != OPERAND_PROGRAM)
        return eval_need_column(eval, operand->slot);
    for (size_t i = 0; i < operand->program_size; i++)
        if (operand->program[i].operand && operand->program[i].operand->kind != OPERAND_CONSTANT)
            TRY(eval_need_column(eval, operand->program[i].operand->slot));
    return VECDB_OK;
}

/* ---- Values of a row ---- */

static const struct column *operand_column(const struct eval *eval, const struct operand *operand)
{
    return operand->kind == OPERAND_CONSTANT ? NULL : &eval->columns[operand->slot];
}

static struct datum load(struct eval *eval, const struct operand *operand, size_t row)
{
    struct datum *stack = eval->stack;
    size_t height = 0;

    if (operand->kind != OPERAND_PROGRAM)
        return row_value(operand_column(eval, operand), operand, row);
    for (size_t i = 0; i < operand->program_size; i++) {
        const struct instruction *instruction = &operand->program[i];

        if (instruction->op == TOKEN_END) {
            stack[height++] = row_value(operand_column(eval, instruction->operand), instruction->operand, row);
        } else if (instruction->prefix) {
            stack[height - 1] = arithmetic_prefix(instruction->op, &stack[height - 1]);
        } else {
            height--;
            stack[height - 1] = arithmetic_binary(instruction->op, &stack[height - 1], &stack[height]);
        }
    }
    return stack[0];
}

/* ---- Conditions on a value ---- */

static bool in_bounds(const struct bounds *bounds, const struct datum *value)
{
    int order;

    if (bounds->low.kind) {
        order = datum_compare(value, &bounds->low);
        if (order == DATUM_UNORDERED || order < 0 || (order == 0 && bounds->low_open))
            return false;
    }
    if (bounds->high.kind) {
        order = datum_compare(value, &bounds->high);
        if (order > 0 || (order == 0 && bounds->high_open)) /* unordered is above 0 */
            return false;
    }
    return true;
}

static vecdb_plugin_value to_plugin(const struct datum *datum)
{
    vecdb_plugin_value value = {0};

    switch (datum->kind) {
    case DATUM_BOOL:
        value.kind = VECDB_PLUGIN_BOOL;
        value.boolean = datum->boolean;
        break;
    case DATUM_INT:
        value.kind = VECDB_PLUGIN_INTEGER;
        value.integer = datum->integer;
        value.real = (double)datum->integer;
        break;
    case DATUM_DOUBLE:
        value.kind = VECDB_PLUGIN_REAL;
        value.real = datum->real;
        break;
    default:
        value.kind = VECDB_PLUGIN_TEXT;
        value.text = datum->string.data;
        value.length = datum->string.length;
    }
    return value;
}

static enum truth test_plugged(const struct condition *condition, const struct datum *value)
{
    vecdb_plugin_value arguments[VECDB_PLUGIN_ARGUMENTS];
    int result;

    if (!(datum_class(value) & (CLASS_BOOL | CLASS_NUMBER | CLASS_STRING)))
        return TRUTH_UNKNOWN;
    arguments[0] = to_plugin(value);
    for (size_t i = 0; i < condition->item_count; i++)
        arguments[1 + i] = to_plugin(&condition->items[i]);
    result = condition->function->test(arguments, (uint32_t)condition->item_count + 1, condition->function->context);
    return result > 0 ? TRUTH_TRUE : result == 0 ? TRUTH_FALSE : TRUTH_UNKNOWN;
}

enum truth condition_test(const struct condition *condition, const struct datum *value)
{
    unsigned class = datum_class(value);
    const struct datum *bound;

    if (!class)
        return TRUTH_UNKNOWN;
    switch (condition->test) {
    case TEST_TRUE:
        return class != CLASS_BOOL ? TRUTH_UNKNOWN : (enum truth)value->boolean;
    case TEST_RANGE:
        bound = condition->bounds.low.kind ? &condition->bounds.low : &condition->bounds.high;
        return class != datum_class(bound) ? TRUTH_UNKNOWN : (enum truth)in_bounds(&condition->bounds, value);
    case TEST_SET:
        if (set_find(&condition->set, value) != SIZE_MAX)
            return TRUTH_TRUE;
        return condition->set.classes & ~class ? TRUTH_UNKNOWN : TRUTH_FALSE;
    case TEST_LIKE:
        if (class != CLASS_STRING)
            return TRUTH_UNKNOWN;
        return (enum truth)like_matches(condition->like, value->string.data, value->string.length);
    case TEST_PLUGGED:
        return test_plugged(condition, value);
    default:
        return TRUTH_FALSE;
    }
}

static enum truth test_compare(const struct condition *condition, const struct datum *a, const struct datum *b)
{
    unsigned class = datum_class(a);
    int order;

    if (!class || class != datum_class(b))
        return TRUTH_UNKNOWN;
    if (condition->op == TOKEN_EQ)
        return (enum truth)datum_equal(a, b);
    if (class != CLASS_NUMBER && class != CLASS_STRING)
        return TRUTH_UNKNOWN;
    order = datum_compare(a, b);
    return (enum truth)(order < 0 || (order == 0 && condition->op == TOKEN_LE));
}

/* Elements, of either kind of array, against the set. */
static enum truth test_contains(struct eval *eval, const struct condition *condition, size_t row)
{
    const struct column *column = &eval->columns[condition->operand.slot];
    bool all = condition->test == TEST_CONTAINS_ALL;
    struct elements elements = {0};
    size_t count, left = 0, at;
    struct json array = {NULL, 0};

    if (!column_is_valid(column, row))
        return TRUTH_UNKNOWN;
    if (column->type == VECDB_TYPE_JSON) {
        array = row_json(column, row, condition->operand.steps, condition->operand.step_count);
        if (!json_exists(array) || json_kind(array) != JSON_ARRAY)
            return TRUTH_UNKNOWN;
        count = json_count(array);
    } else {
        elements = row_elements(column, row);
        count = elements.count;
    }
    if (all) {
        left = set_size(&condition->set) - 2 + condition->set.has[0] + condition->set.has[1];
        memset(eval->found, 0, bitmap_words(set_size(&condition->set)) * 8);
        if (!left)
            return TRUTH_TRUE;
    }
    for (size_t i = 0; i < count; i++) {
        struct datum value = array.data ? datum_from_json(json_at(array, i)) : row_element(&elements, i);

        at = set_find(&condition->set, &value);
        if (at == SIZE_MAX)
            continue;
        if (!all)
            return TRUTH_TRUE;
        if (!bitmap_get(eval->found, at)) {
            bitmap_set(eval->found, at);
            if (--left == 0)
                return TRUTH_TRUE;
        }
    }
    return TRUTH_FALSE;
}

static vecdb_status test_row(struct eval *eval, const struct condition *condition, size_t row, enum truth *truth)
{
    struct datum value, other;
    bool matches;

    switch (condition->test) {
    case TEST_NULL:
        *truth = (enum truth)(load(eval, &condition->operand, row).kind == DATUM_NONE);
        return VECDB_OK;
    case TEST_CONTAINS:
    case TEST_CONTAINS_ALL:
        *truth = test_contains(eval, condition, row);
        return VECDB_OK;
    case TEST_COMPARE:
        value = load(eval, &condition->operand, row);
        other = load(eval, &condition->other, row);
        *truth = test_compare(condition, &value, &other);
        return VECDB_OK;
    case TEST_REGEX:
        value = load(eval, &condition->operand, row);
        *truth = TRUTH_UNKNOWN;
        if (value.kind != DATUM_STRING)
            return VECDB_OK;
        TRY(regex_matches(condition->regex, eval->regexes[condition->regex_number], value.string.data,
                          value.string.length, &matches));
        *truth = (enum truth)matches;
        return VECDB_OK;
    default:
        value = load(eval, &condition->operand, row);
        *truth = condition_test(condition, &value);
        return VECDB_OK;
    }
}

/* The way that works for every condition: row by row. */
static vecdb_status eval_rows(struct eval *eval, const struct condition *condition, uint64_t *mask)
{
    enum truth wanted = condition->negated ? TRUTH_FALSE : TRUTH_TRUE;

    TRY(need_operand(eval, &condition->operand));
    if (condition->test == TEST_COMPARE)
        TRY(need_operand(eval, &condition->other));
    for (size_t w = 0; w < eval->words; w++) {
        uint64_t keep = 0;

        if (w % CHECK_WORDS == 0 && eval->check)
            TRY(eval->check(eval->check_context));
        for (uint64_t left = mask[w]; left; left &= left - 1) {
            enum truth truth;

            TRY(test_row(eval, condition, w * 64 + (size_t)__builtin_ctzll(left), &truth));
            if (truth == wanted)
                keep |= left & -left;
        }
        mask[w] = keep;
    }
    return VECDB_OK;
}

/* ---- Fields of fixed width ---- */

/* What the statistics of a block say of a condition: MIXED is "read it". */
enum verdict { VERDICT_MIXED, VERDICT_NONE, VERDICT_ALL };

static enum verdict judge(struct eval *eval, const struct condition *condition)
{
    const struct filter_source *source = eval->source;
    const struct slot *slot;
    bool integers, apart, within;
    struct column_stats stats;

    if (!source->stats || (!condition->fixed && condition->test != TEST_NULL) ||
        condition->operand.kind != OPERAND_COLUMN)
        return VERDICT_MIXED;
    slot = &eval->filter->slots[condition->operand.slot];
    integers = !type_is_float(slot->type);
    if (type_width(slot->type, 0) == 0 || !source->stats(source->context, slot->field, eval->block, &stats))
        return VERDICT_MIXED;
    if (condition->test == TEST_NULL) {
        if (!stats.has_range)
            return condition->negated ? VERDICT_NONE : VERDICT_ALL;
        return stats.null_count ? VERDICT_MIXED : condition->negated ? VERDICT_ALL : VERDICT_NONE;
    }
    if (!stats.has_range)
        return VERDICT_NONE;
    if (condition->test == TEST_NEVER)
        return condition->negated && stats.null_count == 0 ? VERDICT_ALL : VERDICT_MIXED;
    if (integers) {
        apart = stats.low.integer > condition->high.integer || stats.high.integer < condition->low.integer;
        within = stats.low.integer >= condition->low.integer && stats.high.integer <= condition->high.integer;
    } else { /* a NaN is in no range and in no statistics: it is never known to be within */
        apart = stats.low.real > condition->high.real || stats.high.real < condition->low.real;
        within = false;
    }
    within = within && condition->test == TEST_RANGE;
    if (apart)
        return !condition->negated ? VERDICT_NONE : stats.null_count == 0 ? VERDICT_ALL : VERDICT_MIXED;
    if (within)
        return condition->negated ? VERDICT_NONE : stats.null_count == 0 ? VERDICT_ALL : VERDICT_MIXED;
    return VERDICT_MIXED;
}

#define RANGE_KERNEL(name, ctype, lowest, highest, member)                                                             \
    do {                                                                                                               \
        ctype low = (ctype)condition->low.member, high = (ctype)condition->high.member;                                \
        if (low == high)                                                                                               \
            kernels->name(data, n, COMPARE_EQ, low, bits);                                                             \
        else if (high == (highest))                                                                                    \
            kernels->name(data, n, COMPARE_GE, low, bits);                                                             \
        else if (low == (lowest))                                                                                      \
            kernels->name(data, n, COMPARE_LE, high, bits);                                                            \
        else                                                                                                           \
            kernels->name##_range(data, n, low, high, bits);                                                           \
    } while (0)

static void range_bits(const struct condition *condition, vecdb_type type, const uint8_t *data, size_t n, uint64_t *bits)
{
    const struct compare_kernels *kernels = simd_compare();

    switch (type) {
    case VECDB_TYPE_BOOL:
        RANGE_KERNEL(u8, uint8_t, 0, 1, integer);
        break;
    case VECDB_TYPE_INT8:
        RANGE_KERNEL(i8, int8_t, INT8_MIN, INT8_MAX, integer);
        break;
    case VECDB_TYPE_INT16:
        RANGE_KERNEL(i16, int16_t, INT16_MIN, INT16_MAX, integer);
        break;
    case VECDB_TYPE_INT32:
        RANGE_KERNEL(i32, int32_t, INT32_MIN, INT32_MAX, integer);
        break;
    case VECDB_TYPE_INT64:
        RANGE_KERNEL(i64, int64_t, INT64_MIN, INT64_MAX, integer);
        break;
    case VECDB_TYPE_FLOAT:
        RANGE_KERNEL(f32, float, (float)-INFINITY, (float)INFINITY, real);
        break;
    default:
        RANGE_KERNEL(f64, double, -INFINITY, INFINITY, real);
        break;
    }
}

static void equal_bits(const struct condition *condition, size_t item, vecdb_type type, const uint8_t *data, size_t n,
                       uint64_t *bits)
{
    struct condition one = {.test = TEST_RANGE};

    if (type_is_float(type))
        one.low.real = one.high.real = ((const double *)condition->fixed_items)[item];
    else
        one.low.integer = one.high.integer = ((const int64_t *)condition->fixed_items)[item];
    range_bits(&one, type, data, n, bits);
}

/* Whether a sorted list has the value. */
static bool has_integer(const int64_t *items, size_t count, int64_t value)
{
    size_t low = 0;

    while (count > 1) {
        size_t half = count / 2;

        low = items[low + half] <= value ? low + half : low;
        count -= half;
    }
    return items[low] == value;
}

static bool has_real(const double *items, size_t count, double value)
{
    size_t low = 0;

    while (count > 1) {
        size_t half = count / 2;

        low = items[low + half] <= value ? low + half : low;
        count -= half;
    }
    return items[low] == value;
}

bool eval_fixed_match(const struct condition *condition, const int64_t *integer, const double *real)
{
    if (real)
        return *real >= condition->low.real && *real <= condition->high.real &&
               (condition->test == TEST_RANGE || has_real(condition->fixed_items, condition->fixed_count, *real));
    if (*integer < condition->low.integer || *integer > condition->high.integer)
        return false;
    if (condition->test == TEST_RANGE)
        return true;
    if (condition->lookup)
        return bitmap_get(condition->lookup, (size_t)(*integer - condition->low.integer));
    return has_integer(condition->fixed_items, condition->fixed_count, *integer);
}

static bool fixed_match(const struct condition *condition, vecdb_type type, const uint8_t *at)
{
    int64_t integer;
    double real;

    if (type_is_float(type)) {
        real = row_real(type, at);
        return eval_fixed_match(condition, NULL, &real);
    }
    integer = row_integer(type, at);
    return eval_fixed_match(condition, &integer, NULL);
}

#define FEW_ITEMS 6

static vecdb_status eval_fixed(struct eval *eval, const struct condition *condition, uint64_t *mask)
{
    const struct compare_kernels *kernels = simd_compare();
    uint64_t *bits = eval->bits, *more = eval->bits + eval->block_words;
    size_t n = eval->row_count, words = eval->words, interesting;
    const struct column *column = &eval->columns[condition->operand.slot];
    bool few = condition->test == TEST_RANGE || condition->fixed_count <= FEW_ITEMS;

    TRY(eval_need_column(eval, condition->operand.slot));
    interesting = kernels->bits_count(mask, words);
    if (few && interesting * 32 > n) {
        if (condition->test == TEST_RANGE) {
            range_bits(condition, column->type, column->data, n, bits);
        } else {
            equal_bits(condition, 0, column->type, column->data, n, bits);
            for (size_t i = 1; i < condition->fixed_count; i++) {
                equal_bits(condition, i, column->type, column->data, n, more);
                kernels->bits_or(bits, more, words, bits);
            }
        }
        if (condition->negated)
            kernels->bits_andnot(mask, bits, words, mask);
        else
            kernels->bits_and(mask, bits, words, mask);
    } else {
        for (size_t w = 0; w < words; w++) {
            uint64_t keep = 0;

            for (uint64_t left = mask[w]; left; left &= left - 1) {
                size_t row = w * 64 + (size_t)__builtin_ctzll(left);

                if (fixed_match(condition, column->type, column->data + row * column->width) != condition->negated)
                    keep |= left & -left;
            }
            mask[w] = keep;
        }
    }
    if (column->valid)
        kernels->bits_and(mask, column->valid, words, mask);
    return VECDB_OK;
}

/* ---- VARCHAR fields ---- */

/* One condition on texts: what `like` and `in` and bounds say of one. */
static bool text_matches(const struct condition *condition, const char *text, size_t length)
{
    struct datum value;

    if (condition->test == TEST_LIKE)
        return like_matches(condition->like, text, length);
    value = (struct datum){DATUM_STRING, {.string = {text, length}}};
    return condition->test == TEST_SET ? set_find(&condition->set, &value) != SIZE_MAX : in_bounds(&condition->bounds, &value);
}

/* `like '%part%'` on most rows of a block: one search through all its texts, and then to the row where the part was found;
 * a match that lies across two rows is none. */
static void find_infix(const struct column *column, size_t rows, const struct like *like, uint64_t *bits)
{
    const char *data = (const char *)column->data;
    size_t at = column->offsets[0], end = column->offsets[rows], row = 0;

    while (at < end) {
        const char *found = memmem(data + at, end - at, like->text, like->length);
        size_t place;

        if (!found)
            return;
        place = (size_t)(found - data);
        while (column->offsets[row + 1] <= place)
            row++;
        if (place + like->length <= column->offsets[row + 1]) {
            bitmap_set(bits, row);
            at = column->offsets[row + 1];
        } else {
            at = place + 1;
        }
    }
}

/* Texts that are looked for, few enough to be tried one by one. Their last bytes are compared first: what texts of a field
 * have in common is mostly at their beginning. */
struct wanted_text {
    const char *data;
    size_t length;
    uint64_t tail;
};

static uint64_t tail_of(const char *text, size_t length)
{
    uint64_t tail = 0;

    if (length >= 8)
        return load_u64(text + length - 8);
    for (size_t i = 0; i < length; i++)
        tail = tail << 8 | (unsigned char)text[i];
    return tail;
}

/* Their number; 0: there are none, or too many. */
static size_t want_texts(const struct condition *condition, struct wanted_text *out)
{
    const struct set *set = &condition->set;

    if (condition->test != TEST_SET || set->table || set->string_count > FEW_TEXTS)
        return 0;
    for (size_t i = 0; i < set->string_count; i++)
        out[i] = (struct wanted_text){set->strings[i].string.data, set->strings[i].string.length,
                                      tail_of(set->strings[i].string.data, set->strings[i].string.length)};
    return set->string_count;
}

static bool is_wanted(const struct wanted_text *wanted, size_t count, const char *text, size_t length)
{
    uint64_t tail = 0;

    for (size_t i = 0; i < count; i++) {
        if (wanted[i].length != length)
            continue;
        if (!tail)
            tail = tail_of(text, length);
        if (wanted[i].tail == tail && (length <= 8 || memcmp(wanted[i].data, text, length - 8) == 0))
            return true;
    }
    return false;
}

static vecdb_status eval_text(struct eval *eval, const struct condition *condition, uint64_t *mask)
{
    const struct column *column = &eval->columns[condition->operand.slot];
    struct wanted_text wanted[FEW_TEXTS];
    size_t wanted_count = want_texts(condition, wanted);

    TRY(eval_need_column(eval, condition->operand.slot));
    if (column->valid)
        simd_compare()->bits_and(mask, column->valid, eval->words, mask);
    if (condition->test == TEST_LIKE && condition->like->kind == LIKE_INFIX && condition->like->length &&
        simd_compare()->bits_count(mask, eval->words) * 4 > eval->row_count) {
        memset(eval->bits, 0, eval->words * 8);
        find_infix(column, eval->row_count, condition->like, eval->bits);
        if (condition->negated)
            simd_compare()->bits_andnot(mask, eval->bits, eval->words, mask);
        else
            simd_compare()->bits_and(mask, eval->bits, eval->words, mask);
        return VECDB_OK;
    }
    for (size_t w = 0; w < eval->words; w++) {
        uint64_t keep = 0;

        if (w % CHECK_WORDS == 0 && eval->check)
            TRY(eval->check(eval->check_context));
        for (uint64_t left = mask[w]; left; left &= left - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(left);
            uint32_t begin = column->offsets[row], size = column->offsets[row + 1] - begin;
            const char *at = (const char *)column->data + begin;
            bool matches = wanted_count ? is_wanted(wanted, wanted_count, at, size) : text_matches(condition, at, size);

            if (matches != condition->negated)
                keep |= left & -left;
        }
        mask[w] = keep;
    }
    return VECDB_OK;
}

/* ---- JSON paths ---- */

static vecdb_status eval_path(struct eval *eval, const struct condition *condition, uint64_t *mask)
{
    const struct operand *operand = &condition->operand;
    const struct column *column = &eval->columns[operand->slot];
    enum truth wanted = condition->negated ? TRUTH_FALSE : TRUTH_TRUE;

    TRY(eval_need_column(eval, operand->slot));
    if (column->valid)
        simd_compare()->bits_and(mask, column->valid, eval->words, mask);
    for (size_t w = 0; w < eval->words; w++) {
        uint64_t keep = 0;

        if (w % CHECK_WORDS == 0 && eval->check)
            TRY(eval->check(eval->check_context));
        for (uint64_t left = mask[w]; left; left &= left - 1) {
            size_t row = w * 64 + (size_t)__builtin_ctzll(left);
            struct json value = row_json(column, row, operand->steps, operand->step_count);
            struct datum datum;

            if (!json_exists(value))
                continue;
            datum = datum_from_json(value);
            if (condition_test(condition, &datum) == wanted)
                keep |= left & -left;
        }
        mask[w] = keep;
    }
    return VECDB_OK;
}

/* ---- The others ---- */

static vecdb_status eval_null(struct eval *eval, const struct condition *condition, uint64_t *mask)
{
    const struct column *column = &eval->columns[condition->operand.slot];

    TRY(eval_need_column(eval, condition->operand.slot));
    for (size_t w = 0; w < eval->words; w++) {
        uint64_t valid = column->valid ? column->valid[w] : ~0ull;

        mask[w] &= condition->negated ? valid : ~valid;
    }
    return VECDB_OK;
}

static void eval_sample(struct eval *eval, const struct condition *condition, uint64_t *mask)
{
    size_t first = eval->block * eval->source->block_rows;

    for (size_t w = 0; w < eval->words; w++) {
        uint64_t keep = 0;

        for (uint64_t left = mask[w]; left; left &= left - 1) {
            uint64_t counter = eval->source->seed * 0x9E3779B97F4A7C15ull + first + w * 64 + (uint64_t)__builtin_ctzll(left);

            counter *= 0xD1342543DE82EF95ull; /* neighbours far apart before they are mixed */
            if (rng_mix(&counter) < condition->threshold)
                keep |= left & -left;
        }
        mask[w] = keep;
    }
}

static bool is_empty(const uint64_t *mask, size_t words)
{
    uint64_t any = 0;

    for (size_t w = 0; w < words && !any; w++)
        any = mask[w];
    return !any;
}

static vecdb_status eval_condition(struct eval *eval, uint32_t node, uint64_t *mask)
{
    const struct condition *condition = eval->filter->nodes[node].condition;
    const struct access *access = &eval->access[node];
    bool column = condition->operand.kind == OPERAND_COLUMN;

    if (access->bits) {
        simd_compare()->bits_and(mask, access->bits + eval->block * (eval->source->block_rows / 64), eval->words, mask);
        if (access->lookup.exact || is_empty(mask, eval->words))
            return VECDB_OK;
    }
    switch (judge(eval, condition)) {
    case VERDICT_ALL:
        return VECDB_OK;
    case VERDICT_NONE:
        memset(mask, 0, eval->words * 8);
        return VECDB_OK;
    case VERDICT_MIXED:
        break;
    }
    if (condition->test == TEST_SAMPLE) {
        eval_sample(eval, condition, mask);
        return VECDB_OK;
    }
    if (column && condition->test == TEST_NULL)
        return eval_null(eval, condition, mask);
    if (column && condition->test == TEST_NEVER && condition->operand.type != TYPE_JSON) {
        struct condition present = {.test = TEST_NULL, .negated = true, .operand = condition->operand};

        return eval_null(eval, &present, mask); /* negated, or the plan would not have kept it */
    }
    if (condition->vector)
        return eval_vectors(eval, condition, mask);
    if (condition->fixed)
        return eval_fixed(eval, condition, mask);
    if (column && condition->operand.type == TYPE_STRING && condition->test != TEST_REGEX && condition->test != TEST_COMPARE &&
        condition->test != TEST_PLUGGED)
        return eval_text(eval, condition, mask);
    if (condition->operand.kind == OPERAND_PATH && condition->test != TEST_NULL && condition->test != TEST_REGEX &&
        condition->test != TEST_COMPARE && condition->test != TEST_CONTAINS && condition->test != TEST_CONTAINS_ALL)
        return eval_path(eval, condition, mask);
    return eval_rows(eval, condition, mask);
}

static vecdb_status eval_block(struct eval *eval, uint64_t *rows)
{
    const struct filter *filter = eval->filter;
    struct frame *frames = eval->frames;
    size_t height = 1, words = eval->words;

    frames[0] = (struct frame){filter->root, 0, rows};
    while (height) {
        size_t before = height;
        struct frame *top = &frames[height - 1];
        struct access *access = &eval->access[top->node];
        const struct plan_node *node = &filter->nodes[top->node];
        uint64_t *taken = eval->levels + (height - 1) * 2 * eval->block_words, *tried = taken + eval->block_words;
        uint64_t *mask = top->mask;

        if (eval->counting && top->next == 0)
            access->rows_in += bitmap_count(mask, eval->row_count);
        switch (node->kind) {
        case PLAN_NONE:
            memset(mask, 0, words * 8);
            height--;
            break;
        case PLAN_CONDITION:
            TRY(eval_condition(eval, top->node, mask));
            height--;
            break;
        case PLAN_AND:
            if (top->next == node->count || (top->next && is_empty(mask, words)))
                height--;
            else
                frames[height++] = (struct frame){eval->items[node->first + top->next++], 0, mask};
            break;
        case PLAN_OR:
            if (top->next == 0)
                memset(taken, 0, words * 8);
            else
                for (size_t w = 0; w < words; w++) {
                    taken[w] |= tried[w];
                    mask[w] &= ~tried[w];
                }
            if (top->next == node->count || is_empty(mask, words)) {
                memcpy(mask, taken, words * 8);
                height--;
            } else {
                memcpy(tried, mask, words * 8);
                frames[height++] = (struct frame){eval->items[node->first + top->next++], 0, tried};
            }
            break;
        default: /* ALL */
            height--;
            break;
        }
        if (eval->counting && height < before)
            access->rows_out += bitmap_count(mask, eval->row_count);
    }
    return VECDB_OK;
}

vecdb_status eval_run(struct eval *eval, uint64_t *rows, struct filter_counters *counters)
{
    const struct filter_source *source = eval->source;
    size_t per_block = source->block_rows / 64;

    for (size_t first = 0; first < source->row_count; first += source->block_rows, eval->block++) {
        size_t left = source->row_count - first, reads = eval->reads;
        uint64_t *mask = rows + eval->block * per_block;

        eval->row_count = left < source->block_rows ? left : source->block_rows;
        eval->words = bitmap_words(eval->row_count);
        if (is_empty(mask, eval->words))
            continue;
        if (eval->check)
            TRY(eval->check(eval->check_context));
        memset(eval->loaded, 0, eval->filter->slot_count * sizeof *eval->loaded);
        TRY(eval_block(eval, mask));
        if (counters) {
            counters->blocks++;
            counters->blocks_skipped += eval->reads == reads;
        }
    }
    return VECDB_OK;
}
