/* Arithmetic of filters. Integers are exact: a result beyond int64 is no value, as is a division by zero and a NaN. */
#include "filter/plan.h"

#include <math.h>

static const struct datum none = {DATUM_NONE, {0}};

static struct datum integer(int64_t value) { return (struct datum){DATUM_INT, {.integer = value}}; }

static struct datum real(double value)
{
    return isnan(value) ? none : (struct datum){DATUM_DOUBLE, {.real = value}};
}

/* Exact, or no value. */
static struct datum integer_power(int64_t base, int64_t exponent)
{
    int64_t result = 1;

    while (exponent) {
        if ((exponent & 1) && __builtin_mul_overflow(result, base, &result))
            return none;
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base))
            return none;
    }
    return integer(result);
}

static struct datum integer_binary(enum token_kind op, int64_t a, int64_t b)
{
    int64_t result;

    switch (op) {
    case TOKEN_PLUS:
        return __builtin_add_overflow(a, b, &result) ? none : integer(result);
    case TOKEN_MINUS:
        return __builtin_sub_overflow(a, b, &result) ? none : integer(result);
    case TOKEN_STAR:
        return __builtin_mul_overflow(a, b, &result) ? none : integer(result);
    case TOKEN_SLASH:
        return b == 0 || (a == INT64_MIN && b == -1) ? none : integer(a / b);
    case TOKEN_PERCENT:
        return b == 0 ? none : integer(b == -1 ? 0 : a % b);
    case TOKEN_POWER:
        return b >= 0 ? integer_power(a, b) : a == 0 ? none : real(pow((double)a, (double)b));
    case TOKEN_AMPERSAND:
        return integer(a & b);
    case TOKEN_PIPE:
        return integer(a | b);
    case TOKEN_CARET:
        return integer(a ^ b);
    case TOKEN_SHIFT_LEFT:
        return b < 0 || b > 63 ? none : integer((int64_t)((uint64_t)a << b));
    case TOKEN_SHIFT_RIGHT:
        return b < 0 || b > 63 ? none : integer(a >> b);
    default:
        return none;
    }
}

static double as_double(const struct datum *number)
{
    return number->kind == DATUM_INT ? (double)number->integer : number->real;
}

struct datum arithmetic_binary(enum token_kind op, const struct datum *a, const struct datum *b)
{
    double x, y;

    if (datum_class(a) != CLASS_NUMBER || datum_class(b) != CLASS_NUMBER)
        return none;
    if (a->kind == DATUM_INT && b->kind == DATUM_INT)
        return integer_binary(op, a->integer, b->integer);
    x = as_double(a);
    y = as_double(b);
    switch (op) {
    case TOKEN_PLUS:
        return real(x + y);
    case TOKEN_MINUS:
        return real(x - y);
    case TOKEN_STAR:
        return real(x * y);
    case TOKEN_SLASH:
        return y == 0 ? none : real(x / y);
    case TOKEN_POWER:
        return x == 0 && y < 0 ? none : real(pow(x, y));
    default: /* the others are for integers */
        return none;
    }
}

struct datum arithmetic_prefix(enum token_kind op, const struct datum *a)
{
    if (a->kind == DATUM_INT)
        return op == TOKEN_TILDE                                 ? integer(~a->integer)
               : op == TOKEN_PLUS                                ? *a
               : a->integer == INT64_MIN                         ? none
                                                                 : integer(-a->integer);
    if (a->kind == DATUM_DOUBLE && op != TOKEN_TILDE)
        return real(op == TOKEN_MINUS ? -a->real : a->real);
    return none;
}
