/* Arithmetic whose types are known beforehand, a run of rows at a time: each instruction is one loop over numbers of one
 * type. Rules are those of arithmetic.c; a row without a result is marked so. */
#include "filter/eval.h"

#include "base/mem.h"
#include "filter/row_value.h"

#include <math.h>

#define RUN 256 /* rows */
#define RUN_WORDS (RUN / 64)

struct vector {
    bool real;
    union {
        int64_t integers[RUN];
        double reals[RUN];
    };
    uint8_t valid[RUN]; /* 1 or 0, so that loops over it are plain */
};

/* Columns lie at any address. */
typedef int16_t loose_i16 __attribute__((aligned(1), may_alias));
typedef int32_t loose_i32 __attribute__((aligned(1), may_alias));
typedef float loose_f32 __attribute__((aligned(1), may_alias));

#define WIDEN(type)                                                                                                    \
    do {                                                                                                               \
        const type *from = (const type *)(const void *)column->data + first;                                           \
        for (size_t i = 0; i < n; i++)                                                                                 \
            out->integers[i] = from[i];                                                                                \
    } while (0)

static void load_column(const struct column *column, size_t first, size_t n, struct vector *out)
{
    const uint8_t *data = column->data;

    out->real = type_is_float(column->type);
    switch (column->type) {
    case VECDB_TYPE_INT8:
        WIDEN(int8_t);
        break;
    case VECDB_TYPE_INT16:
        WIDEN(loose_i16);
        break;
    case VECDB_TYPE_INT32:
        WIDEN(loose_i32);
        break;
    case VECDB_TYPE_INT64:
        memcpy(out->integers, data + first * 8, n * 8);
        break;
    case VECDB_TYPE_FLOAT:
        for (size_t i = 0; i < n; i++)
            out->reals[i] = ((const loose_f32 *)(const void *)data)[first + i];
        break;
    default:
        memcpy(out->reals, data + first * 8, n * 8);
        break;
    }
    for (size_t i = 0; i < n; i++)
        out->valid[i] = !column->valid || bitmap_get(column->valid, first + i);
}

/* Elements, lengths, constants: a value at a time. */
static void load_values(const struct column *column, const struct operand *operand, size_t first, size_t n,
                        struct vector *out)
{
    out->real = operand->type != TYPE_INT;
    for (size_t i = 0; i < n; i++) {
        struct datum value = row_value(column, operand, first + i);

        out->valid[i] = value.kind != DATUM_NONE;
        if (out->real)
            out->reals[i] = value.kind == DATUM_DOUBLE ? value.real : 0;
        else
            out->integers[i] = value.kind == DATUM_INT ? value.integer : 0;
    }
}

static vecdb_status load(struct eval *eval, const struct operand *operand, size_t first, size_t n, struct vector *out)
{
    const struct column *column = NULL;

    if (operand->kind != OPERAND_CONSTANT) {
        TRY(eval_need_column(eval, operand->slot));
        column = &eval->columns[operand->slot];
    }
    if (operand->kind == OPERAND_COLUMN)
        load_column(column, first, n, out);
    else
        load_values(column, operand, first, n, out);
    return VECDB_OK;
}

static void make_real(struct vector *vector, size_t n)
{
    if (vector->real)
        return;
    for (size_t i = 0; i < n; i++)
        vector->reals[i] = (double)vector->integers[i];
    vector->real = true;
}

/* Doubles: a NaN is no result. */
#define REAL_LOOP(expression)                                                                                          \
    do {                                                                                                               \
        for (size_t i = 0; i < n; i++) {                                                                               \
            double x = a->reals[i], y = b->reals[i], result = (expression);                                            \
            a->reals[i] = result;                                                                                      \
            a->valid[i] = (uint8_t)(a->valid[i] & b->valid[i] & (result == result));                                   \
        }                                                                                                              \
    } while (0)

#define EXACT_LOOP(builtin)                                                                                            \
    do {                                                                                                               \
        for (size_t i = 0; i < n; i++) {                                                                               \
            int64_t result;                                                                                            \
            bool over = builtin(a->integers[i], b->integers[i], &result);                                              \
            a->integers[i] = result;                                                                                   \
            a->valid[i] = (uint8_t)(a->valid[i] & b->valid[i] & !over);                                                \
        }                                                                                                              \
    } while (0)

#define BIT_LOOP(operator)                                                                                             \
    do {                                                                                                               \
        for (size_t i = 0; i < n; i++) {                                                                               \
            a->integers[i] = a->integers[i] operator b->integers[i];                                                   \
            a->valid[i] = a->valid[i] & b->valid[i];                                                                   \
        }                                                                                                              \
    } while (0)

/* Divisions and shifts: as arithmetic.c has them. */
static void one_by_one(enum token_kind op, struct vector *a, const struct vector *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct datum x = {DATUM_INT, {.integer = a->integers[i]}}, y = {DATUM_INT, {.integer = b->integers[i]}};
        struct datum result = arithmetic_binary(op, &x, &y);

        a->integers[i] = result.kind == DATUM_INT ? result.integer : 0;
        a->valid[i] = (uint8_t)(a->valid[i] & b->valid[i] & (result.kind == DATUM_INT));
    }
}

static void combine(enum token_kind op, struct vector *a, struct vector *b, size_t n)
{
    if (a->real || b->real) {
        make_real(a, n);
        make_real(b, n);
        switch (op) {
        case TOKEN_PLUS:
            REAL_LOOP(x + y);
            break;
        case TOKEN_MINUS:
            REAL_LOOP(x - y);
            break;
        case TOKEN_STAR:
            REAL_LOOP(x * y);
            break;
        default: /* SLASH: the others take integers only */
            REAL_LOOP(y == 0 ? (double)NAN : x / y);
            break;
        }
        return;
    }
    switch (op) {
    case TOKEN_PLUS:
        EXACT_LOOP(__builtin_add_overflow);
        break;
    case TOKEN_MINUS:
        EXACT_LOOP(__builtin_sub_overflow);
        break;
    case TOKEN_STAR:
        EXACT_LOOP(__builtin_mul_overflow);
        break;
    case TOKEN_AMPERSAND:
        BIT_LOOP(&);
        break;
    case TOKEN_PIPE:
        BIT_LOOP(|);
        break;
    case TOKEN_CARET:
        BIT_LOOP(^);
        break;
    default:
        one_by_one(op, a, b, n);
        break;
    }
}

static void change(enum token_kind op, struct vector *a, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (a->real) {
            a->reals[i] = op == TOKEN_MINUS ? -a->reals[i] : a->reals[i];
            a->valid[i] = (uint8_t)(a->valid[i] & (a->reals[i] == a->reals[i]));
        } else if (op == TOKEN_TILDE) {
            a->integers[i] = ~a->integers[i];
        } else if (op == TOKEN_MINUS) {
            a->valid[i] = (uint8_t)(a->valid[i] & (a->integers[i] != INT64_MIN));
            a->integers[i] = (int64_t)(0 - (uint64_t)a->integers[i]);
        }
    }
}

/* Leaves the operand's values in stack[0]. */
static vecdb_status run(struct eval *eval, const struct operand *operand, size_t first, size_t n, struct vector *stack)
{
    size_t height = 0;

    if (operand->kind != OPERAND_PROGRAM)
        return load(eval, operand, first, n, stack);
    for (size_t i = 0; i < operand->program_size; i++) {
        const struct instruction *instruction = &operand->program[i];

        if (instruction->op == TOKEN_END) {
            TRY(load(eval, instruction->operand, first, n, &stack[height]));
            height++;
        } else if (instruction->prefix) {
            change(instruction->op, &stack[height - 1], n);
        } else {
            height--;
            combine(instruction->op, &stack[height - 1], &stack[height], n);
        }
    }
    return VECDB_OK;
}

static void test_values(const struct condition *condition, const struct vector *a, size_t n, uint8_t *matches)
{
    bool plain = condition->test == TEST_RANGE;

    if (condition->test == TEST_NEVER) {
        memset(matches, 0, n);
    } else if (plain && a->real) {
        for (size_t i = 0; i < n; i++)
            matches[i] = (a->reals[i] >= condition->low.real) & (a->reals[i] <= condition->high.real);
    } else if (plain) {
        for (size_t i = 0; i < n; i++)
            matches[i] = (a->integers[i] >= condition->low.integer) & (a->integers[i] <= condition->high.integer);
    } else {
        for (size_t i = 0; i < n; i++)
            matches[i] = eval_fixed_match(condition, a->real ? NULL : &a->integers[i], a->real ? &a->reals[i] : NULL);
    }
}

static int compare_mixed(const struct vector *a, const struct vector *b, size_t i)
{
    int order;

    if (a->real && b->real)
        return a->reals[i] < b->reals[i] ? -1 : a->reals[i] > b->reals[i] ? 1 : a->reals[i] == b->reals[i] ? 0 : DATUM_UNORDERED;
    if (!a->real && !b->real)
        return (a->integers[i] > b->integers[i]) - (a->integers[i] < b->integers[i]);
    if (!a->real)
        return compare_int_double(a->integers[i], b->reals[i]);
    order = compare_int_double(b->integers[i], a->reals[i]);
    return order == DATUM_UNORDERED ? order : -order;
}

static void compare(enum token_kind op, struct vector *a, const struct vector *b, size_t n, uint8_t *matches)
{
    for (size_t i = 0; i < n; i++) {
        int order = compare_mixed(a, b, i);

        matches[i] = op == TOKEN_EQ ? order == 0 : op == TOKEN_LT ? order < 0 : order <= 0;
        a->valid[i] = a->valid[i] & b->valid[i];
    }
}

vecdb_status eval_vectors(struct eval *eval, const struct condition *condition, uint64_t *mask)
{
    struct vector *stack;
    uint8_t matches[RUN];

    if (!eval->vectors && !(eval->vectors = mem_array_alloc(eval->filter->stack_size + 3, sizeof *eval->vectors)))
        return error_nomem("filter");
    stack = eval->vectors;
    for (size_t w = 0; w < eval->words; w += RUN_WORDS) {
        size_t words = eval->words - w < RUN_WORDS ? eval->words - w : RUN_WORDS, first = w * 64;
        size_t n = eval->row_count - first < RUN ? eval->row_count - first : RUN;
        uint64_t any = 0;

        for (size_t i = 0; i < words; i++)
            any |= mask[w + i];
        if (!any)
            continue;
        if (eval->check)
            TRY(eval->check(eval->check_context));
        TRY(run(eval, &condition->operand, first, n, stack));
        if (condition->test == TEST_COMPARE) {
            TRY(run(eval, &condition->other, first, n, stack + 1));
            compare(condition->op, stack, stack + 1, n, matches);
        } else {
            test_values(condition, stack, n, matches);
        }
        for (size_t i = 0; i < words; i++) {
            size_t rows = n - i * 64 < 64 ? n - i * 64 : 64;
            uint64_t bits = 0;

            for (size_t j = 0; j < rows; j++)
                bits |= (uint64_t)(stack->valid[i * 64 + j] & (matches[i * 64 + j] ^ condition->negated)) << j;
            mask[w + i] &= bits;
        }
    }
    return VECDB_OK;
}
