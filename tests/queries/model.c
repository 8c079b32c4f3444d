#include "queries/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void model_free(struct model *model) { free(model->rows); }

struct model_row *model_find(struct model *model, int64_t key)
{
    for (size_t i = 0; i < model->count; i++)
        if (model->rows[i].key == key)
            return &model->rows[i];
    return NULL;
}

void model_put(struct model *model, const struct model_row *row)
{
    struct model_row *there = model_find(model, row->key);

    if (!there) {
        if (model->count == model->capacity) {
            model->capacity = model->capacity ? model->capacity * 2 : 64;
            model->rows = realloc(model->rows, model->capacity * sizeof *model->rows);
        }
        there = &model->rows[model->count++];
    }
    *there = *row;
}

bool model_delete(struct model *model, int64_t key)
{
    struct model_row *row = model_find(model, key);

    if (!row)
        return false;
    *row = model->rows[--model->count];
    return true;
}

void model_key_text(int64_t key, char *out) { snprintf(out, 24, "k%lld", (long long)key); }

const char *model_text(int32_t t)
{
    static const char *const texts[MODEL_TEXTS] = {"", "a", "ab", "abc", "b", "ba", "\xC3\xA9", "z"};

    return texts[t];
}

int model_compare_keys(const struct model *model, int64_t a, int64_t b)
{
    char x[24], y[24];

    if (!model->text_keys)
        return (a > b) - (a < b);
    model_key_text(a, x);
    model_key_text(b, y);
    return strcmp(x, y);
}

void model_random_vector(const struct model *model, struct rng *rng, float *v, uint8_t *bits)
{
    if (model->type == VECDB_TYPE_BINARY_VECTOR) {
        for (uint32_t i = 0; i < model->dim / 8; i++)
            bits[i] = (uint8_t)(rng_next(rng) & rng_next(rng));
        return;
    }
    for (uint32_t i = 0; i < model->dim; i++)
        v[i] = model->whole ? (float)((int)rng_below(rng, 7) - 3) : (float)rng_normal(rng);
    v[rng_below(rng, model->dim)] = (float)(1 + (int)rng_below(rng, 3)); /* never all zeros */
}

double model_score_w(vecdb_metric metric, const float *query, const struct model_row *row)
{
    double l2 = 0, ip = 0;

    for (int i = 0; i < MODEL_DIM_W; i++) {
        l2 += ((double)query[i] - (double)row->w[i]) * ((double)query[i] - (double)row->w[i]);
        ip += (double)query[i] * (double)row->w[i];
    }
    return metric == VECDB_METRIC_L2 ? l2 : ip;
}

double model_score(const struct model *model, vecdb_metric metric, const float *query, const uint8_t *query_bits,
                   const struct model_row *row)
{
    double l2 = 0, ip = 0, qq = 0, rr = 0;

    if (model->type == VECDB_TYPE_BINARY_VECTOR) {
        int differ = 0, both = 0, either = 0;
        for (uint32_t i = 0; i < model->dim / 8; i++) {
            differ += __builtin_popcount(query_bits[i] ^ row->bits[i]);
            both += __builtin_popcount(query_bits[i] & row->bits[i]);
            either += __builtin_popcount(query_bits[i] | row->bits[i]);
        }
        return metric == VECDB_METRIC_HAMMING ? differ : either ? 1.0 - (double)both / either : 0;
    }
    for (uint32_t i = 0; i < model->dim; i++) {
        double a = (double)query[i], b = (double)row->v[i];
        l2 += (a - b) * (a - b);
        ip += a * b;
        qq += a * a;
        rr += b * b;
    }
    return metric == VECDB_METRIC_L2 ? l2 : metric == VECDB_METRIC_IP ? ip : ip / sqrt(qq * rr);
}

/* ---- filters ---- */

static const char *const operators[] = {"==", "!=", "<", "<=", ">", ">="};

static int random_value(char field, struct rng *rng)
{
    switch (field) {
    case 'k':
        return (int)rng_below(rng, 900);
    case 't':
        return (int)rng_below(rng, MODEL_TEXTS);
    case 'd':
        return (int)rng_below(rng, 400);
    case 'x':
        return (int)rng_below(rng, 10);
    default:
        return (int)rng_below(rng, 20);
    }
}

struct condition *condition_random(const struct model *model, struct rng *rng, unsigned depth)
{
    struct condition *condition = calloc(1, sizeof *condition);
    const char *fields = model->has_extra_field ? "kitdmx" : "kitdm";

    if (depth && rng_below(rng, 2)) {
        condition->kind = CONDITION_AND + (int)rng_below(rng, 3);
        condition->left = condition_random(model, rng, depth - 1);
        if (condition->kind != CONDITION_NOT)
            condition->right = condition_random(model, rng, depth - 1);
        return condition;
    }
    condition->field = fields[rng_below(rng, strlen(fields))];
    condition->op = (unsigned)rng_below(rng, 6);
    condition->negated = rng_below(rng, 3) == 0;
    condition->kind = rng_below(rng, 10) < 7 ? CONDITION_COMPARE : rng_below(rng, 3) ? CONDITION_IN : CONDITION_NULL;
    if (condition->field == 't' && rng_below(rng, 3) == 0)
        condition->kind = CONDITION_LIKE;
    if (condition->kind == CONDITION_NULL && (condition->field == 'k' || condition->field == 'd'))
        condition->kind = CONDITION_COMPARE;
    condition->value_count = condition->kind == CONDITION_IN ? 1 + rng_below(rng, 4) : 1;
    for (size_t i = 0; i < condition->value_count; i++)
        condition->values[i] = random_value(condition->field, rng);
    return condition;
}

void condition_free(struct condition *condition)
{
    if (!condition)
        return;
    condition_free(condition->left);
    condition_free(condition->right);
    free(condition);
}

/* Whether the row has the field. */
static bool has_value(const struct condition *condition, const struct model_row *row)
{
    switch (condition->field) {
    case 'i':
        return row->has_i;
    case 't':
        return row->has_t;
    case 'm':
        return row->has_m;
    case 'x':
        return row->has_extra;
    default:
        return true;
    }
}

/* Order of the row's value and the i-th of the condition's. */
static int compare(const struct model *model, const struct condition *condition, size_t i, const struct model_row *row)
{
    int value = condition->values[i], own;

    if (condition->field == 'k')
        return model_compare_keys(model, row->key, value);
    if (condition->field == 't')
        return strcmp(model_text(row->t), model_text(value));
    if (condition->field == 'd')
        return (row->d > value * 0.25) - (row->d < value * 0.25);
    own = condition->field == 'i' ? row->i : condition->field == 'm' ? row->m : row->extra;
    return (own > value) - (own < value);
}

int condition_holds(const struct model *model, const struct condition *condition, const struct model_row *row)
{
    int a, b;

    switch (condition->kind) {
    case CONDITION_AND:
        a = condition_holds(model, condition->left, row), b = condition_holds(model, condition->right, row);
        return a == 0 || b == 0 ? 0 : a < 0 || b < 0 ? -1 : 1;
    case CONDITION_OR:
        a = condition_holds(model, condition->left, row), b = condition_holds(model, condition->right, row);
        return a == 1 || b == 1 ? 1 : a < 0 || b < 0 ? -1 : 0;
    case CONDITION_NOT:
        a = condition_holds(model, condition->left, row);
        return a < 0 ? -1 : !a;
    case CONDITION_NULL:
        return has_value(condition, row) == condition->negated;
    default:
        break;
    }
    if (!has_value(condition, row))
        return -1;
    if (condition->kind == CONDITION_LIKE)
        return strncmp(model_text(row->t), model_text(condition->values[0]), strlen(model_text(condition->values[0]))) == 0;
    if (condition->kind == CONDITION_IN) {
        bool in = false;
        for (size_t i = 0; i < condition->value_count; i++)
            in |= compare(model, condition, i, row) == 0;
        return in != condition->negated;
    }
    a = compare(model, condition, 0, row);
    switch (condition->op) {
    case 0:
        return a == 0;
    case 1:
        return a != 0;
    case 2:
        return a < 0;
    case 3:
        return a <= 0;
    case 4:
        return a > 0;
    default:
        return a >= 0;
    }
}

static void print_value(const struct model *model, const struct condition *condition, size_t i, char *out, size_t room)
{
    char key[24];

    if (condition->field == 'k' && model->text_keys) {
        model_key_text(condition->values[i], key);
        snprintf(out, room, "'%s'", key);
    } else if (condition->field == 't') {
        snprintf(out, room, "\"%s\"", model_text(condition->values[i]));
    } else if (condition->field == 'd') {
        snprintf(out, room, "%.2f", condition->values[i] * 0.25);
    } else {
        snprintf(out, room, "%d", condition->values[i]);
    }
}

static const char *field_name(char field)
{
    return field == 'k' ? "id" : field == 'i' ? "i" : field == 't' ? "t" : field == 'd' ? "d" : field == 'm' ? "m" : "extra";
}

void condition_print(const struct model *model, const struct condition *condition, char *out, size_t room)
{
    char left[2048], right[2048];
    size_t at;

    switch (condition->kind) {
    case CONDITION_AND:
    case CONDITION_OR:
        condition_print(model, condition->left, left, sizeof left);
        condition_print(model, condition->right, right, sizeof right);
        snprintf(out, room, "(%s) %s (%s)", left, condition->kind == CONDITION_AND ? "and" : "or", right);
        return;
    case CONDITION_NOT:
        condition_print(model, condition->left, left, sizeof left);
        snprintf(out, room, "not (%s)", left);
        return;
    case CONDITION_NULL:
        snprintf(out, room, "%s is %snull", field_name(condition->field), condition->negated ? "not " : "");
        return;
    case CONDITION_LIKE:
        snprintf(out, room, "t like \"%s%%\"", model_text(condition->values[0]));
        return;
    case CONDITION_COMPARE:
        print_value(model, condition, 0, left, sizeof left);
        snprintf(out, room, "%s %s %s", field_name(condition->field), operators[condition->op], left);
        return;
    default:
        at = (size_t)snprintf(out, room, "%s %sin [", field_name(condition->field), condition->negated ? "not " : "");
        for (size_t i = 0; i < condition->value_count && at < room; i++) {
            print_value(model, condition, i, left, sizeof left);
            at += (size_t)snprintf(out + at, room - at, "%s%s", i ? ", " : "", left);
        }
        snprintf(out + at, room - at, "]");
    }
}
