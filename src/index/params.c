#include "index/params.h"

#include "base/mem.h"
#include "base/nearest.h"

#include <math.h>
#include <string.h>
#include <strings.h>

/* "name=value, name=value" and {"name": value} are one grammar here: braces and quotes may be there or not, and
 * either sign may stand between a name and its value. Numbers are read here too, since strtod() follows the locale. */

struct span {
    const char *at;
    size_t length;
};
#define SPAN(span) (int)((span).length < 60 ? (span).length : 60), (span).at

static void skip_space(const char **at)
{
    while (**at == ' ' || **at == '\t' || **at == '\n' || **at == '\r')
        ++*at;
}

static bool word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.' ||
           c == '-' || c == '+';
}

/* A quoted text without escapes, or a run of word bytes. */
static bool take_word(const char **at, struct span *out)
{
    const char *end;

    skip_space(at);
    if (**at == '"' || **at == '\'') {
        char quote = *(*at)++;
        end = strchr(*at, quote);
        if (!end)
            return false;
        *out = (struct span){*at, (size_t)(end - *at)};
        *at = end + 1;
        return memchr(out->at, '\\', out->length) == NULL;
    }
    for (end = *at; word_byte(*end);)
        end++;
    *out = (struct span){*at, (size_t)(end - *at)};
    *at = end;
    return out->length > 0;
}

static bool span_is(struct span span, const char *text)
{
    return strlen(text) == span.length && strncasecmp(text, span.at, span.length) == 0;
}

/* A decimal number; false when the text is something else. Too large ones become infinite. */
static bool span_number(struct span span, double *out)
{
    const char *at = span.at, *end = span.at + span.length;
    double mantissa = 0;
    int exponent = 0, written = 0, digits = 0;
    bool negative = false, negative_exponent = false;

    if (at < end && (*at == '-' || *at == '+'))
        negative = *at++ == '-';
    for (; at < end && *at >= '0' && *at <= '9'; at++, digits++)
        mantissa = mantissa * 10 + (*at - '0');
    if (at < end && *at == '.')
        for (at++; at < end && *at >= '0' && *at <= '9'; at++, digits++, exponent--)
            mantissa = mantissa * 10 + (*at - '0');
    if (!digits)
        return false;
    if (at < end && (*at == 'e' || *at == 'E')) {
        digits = 0;
        if (++at < end && (*at == '-' || *at == '+'))
            negative_exponent = *at++ == '-';
        for (; at < end && *at >= '0' && *at <= '9'; at++, digits++)
            if (written < 10000)
                written = written * 10 + (*at - '0');
        if (!digits)
            return false;
    }
    if (at != end)
        return false;
    exponent += negative_exponent ? -written : written;
    mantissa = exponent < 0 ? mantissa / pow(10, -exponent) : mantissa * pow(10, exponent);
    *out = negative ? -mantissa : mantissa;
    return !isnan(*out);
}

static size_t spec_index(const struct param_spec *specs, struct span name)
{
    size_t i = 0;

    while (specs[i].name && !span_is(name, specs[i].name))
        i++;
    return i;
}

static vecdb_status unknown_name(const char *owner, struct span name, const struct param_spec *specs,
                                 const struct param_spec *other)
{
    struct nearest nearest = nearest_to(name.at, name.length);
    struct buf names = {0};
    vecdb_status status;

    for (const struct param_spec *spec = specs; spec->name; spec++)
        nearest_offer(&nearest, spec->name);
    for (const struct param_spec *spec = other; spec && spec->name; spec++)
        nearest_offer(&nearest, spec->name);
    if (nearest.best)
        return error_set(VECDB_ERR_INVALID, "%s: no parameter \"%.*s\"; did you mean %s?", owner, SPAN(name), nearest.best);
    for (const struct param_spec *spec = specs->name || !other ? specs : other; spec->name; spec++)
        if (buf_printf(&names, "%s%s", names.size ? ", " : "", spec->name) != VECDB_OK)
            break;
    status = error_set(VECDB_ERR_INVALID, "%s: no parameter \"%.*s\"; there %s%.*s", owner, SPAN(name),
                       names.size ? "are " : "are none", (int)names.size, names.size ? (char *)names.data : "");
    buf_deinit(&names);
    return status;
}

/* The number of a word among "a|b|c"; -1 when it is not there. */
static int choice_number(const char *choices, struct span word)
{
    int number = 0;

    for (const char *at = choices;; number++) {
        size_t length = strcspn(at, "|");
        if (length == word.length && strncasecmp(at, word.at, length) == 0)
            return number;
        at += length;
        if (*at++ == '\0')
            return -1;
    }
}

static vecdb_status parse_value(const char *owner, const struct param_spec *spec, struct span text, double *out)
{
    double value;

    if (spec->choices) {
        int number = choice_number(spec->choices, text);
        if (number < 0 && strcmp(spec->choices, "false|true") == 0)
            number = span_is(text, "0") ? 0 : span_is(text, "1") ? 1 : -1;
        if (number < 0)
            return error_set(VECDB_ERR_INVALID, "%s: %s=%.*s is none of %s", owner, spec->name, SPAN(text),
                             spec->choices);
        *out = number;
        return VECDB_OK;
    }
    if (!span_number(text, &value))
        return error_set(VECDB_ERR_INVALID, "%s: %s=%.*s is not a number", owner, spec->name, SPAN(text));
    if (value < spec->low || value > spec->high)
        return error_set(VECDB_ERR_INVALID, "%s: %s=%.*s is out of range %.10g..%.10g", owner, spec->name, SPAN(text),
                         spec->low, spec->high);
    if (!spec->fraction && value != floor(value))
        return error_set(VECDB_ERR_INVALID, "%s: %s=%.*s is not a whole number", owner, spec->name, SPAN(text));
    *out = value;
    return VECDB_OK;
}

void params_default(const struct param_spec *specs, struct params *out)
{
    *out = (struct params){.specs = specs};
    for (size_t i = 0; specs[i].name; i++)
        out->values[i] = specs[i].default_value;
}

static vecdb_status malformed(const char *owner, const char *text, const char *at, const char *wanted)
{
    return error_set(VECDB_ERR_INVALID, "%s: parameters, character %zu: expected %s, found \"%.20s\"", owner,
                     (size_t)(at - text) + 1, wanted, at);
}

vecdb_status params_parse(const char *owner, const struct param_spec *specs, const struct param_spec *other,
                          const char *text, struct params *out)
{
    const char *at = text ? text : "";
    bool braces;

    params_default(specs, out);
    skip_space(&at);
    braces = *at == '{';
    at += braces;
    skip_space(&at);
    while (*at && *at != '}') {
        struct span name, value;
        size_t i;

        if (!take_word(&at, &name))
            return malformed(owner, text, at, "a parameter's name");
        skip_space(&at);
        if (*at != '=' && *at != ':')
            return malformed(owner, text, at, braces ? "\":\" and a value" : "\"=\" and a value");
        at++;
        if (!take_word(&at, &value))
            return malformed(owner, text, at, "a number or a word");
        i = spec_index(specs, name);
        if (!specs[i].name) {
            if (!other || !other[spec_index(other, name)].name)
                return unknown_name(owner, name, specs, other);
        } else {
            if (out->given >> i & 1)
                return error_set(VECDB_ERR_INVALID, "%s: %s is given twice", owner, specs[i].name);
            TRY(parse_value(owner, &specs[i], value, &out->values[i]));
            out->given |= 1u << i;
        }
        skip_space(&at);
        if (*at == ',') {
            at++;
            skip_space(&at);
            if (!*at || *at == '}')
                return malformed(owner, text, at, "a parameter after the comma");
        } else if (*at && *at != '}') {
            return malformed(owner, text, at, "a comma");
        }
    }
    if (braces != (*at == '}'))
        return malformed(owner, text, at, braces ? "\"}\"" : "a parameter's name");
    if (braces) {
        at++;
        skip_space(&at);
        if (*at)
            return malformed(owner, text, at, "nothing more");
    }
    return VECDB_OK;
}

static size_t name_index(const struct params *params, const char *name)
{
    size_t i = spec_index(params->specs, (struct span){name, strlen(name)});

    if (!params->specs[i].name)
        __builtin_trap(); /* our mistake: the caller asked for a name its table has not */
    return i;
}

double params_get(const struct params *params, const char *name) { return params->values[name_index(params, name)]; }

void params_set(struct params *params, const char *name, double value)
{
    size_t i = name_index(params, name);

    params->values[i] = value;
    params->given |= 1u << i;
}

bool params_given(const struct params *params, const char *name)
{
    return params->given >> name_index(params, name) & 1;
}

vecdb_status params_print(const struct params *params, struct buf *out)
{
    TRY(buf_append_text(out, "{"));
    for (size_t i = 0; params->specs[i].name; i++) {
        const struct param_spec *spec = &params->specs[i];
        TRY(buf_printf(out, "%s\"%s\": ", i ? ", " : "", spec->name));
        if (spec->choices) {
            const char *word = spec->choices;
            for (int skip = (int)params->values[i]; skip > 0; skip--)
                word += strcspn(word, "|") + 1;
            TRY(buf_printf(out, "\"%.*s\"", (int)strcspn(word, "|"), word));
        } else if (spec->fraction) { /* by hand: printf's point follows the locale */
            double value = params->values[i];
            long long millionths = llround(fabs(value) * 1e6);
            TRY(buf_printf(out, "%s%lld.%06lld", value < 0 ? "-" : "", millionths / 1000000, millionths % 1000000));
            while (out->data[out->size - 1] == '0')
                out->size--;
            if (out->data[out->size - 1] == '.')
                out->size--;
        } else {
            TRY(buf_printf(out, "%lld", (long long)params->values[i]));
        }
    }
    return buf_append_text(out, "}");
}
