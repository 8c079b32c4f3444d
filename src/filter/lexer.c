#include "filter/lexer.h"

#include "base/bytes.h"
#include "base/utf8.h"

#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '$' || (unsigned char)c >= 0x80;
}
static bool is_name(char c) { return is_name_start(c) || is_digit(c); }

static int hex_value(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

vecdb_status lexer_error(const struct lexer *lexer, vecdb_status status, size_t at, const char *format, ...)
{
    char message[400];
    size_t line = 1, column = 1;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    for (size_t i = 0; i < at && i < lexer->length; i++) {
        if (lexer->text[i] == '\n')
            line++, column = 1;
        else if (((unsigned char)lexer->text[i] & 0xC0) != 0x80)
            column++;
    }
    if (line > 1)
        return error_set(status, "filter, line %zu, column %zu: %s", line, column, message);
    return error_set(status, "filter, column %zu: %s", column, message);
}

const char *lexer_show(const struct lexer *lexer, const struct token *token, char *room)
{
    size_t n = token->length;

    if (token->kind == TOKEN_END)
        return "the end";
    if (n > 40) {
        for (n = 40; n && ((unsigned char)lexer->text[token->at + n] & 0xC0) == 0x80; n--)
            ;
    }
    snprintf(room, 64, "%.*s%s", (int)n, lexer->text + token->at, n < token->length ? "..." : "");
    return room;
}

static void put_utf8(char *out, size_t *size, uint32_t c)
{
    if (c < 0x80) {
        out[(*size)++] = (char)c;
    } else if (c < 0x800) {
        out[(*size)++] = (char)(0xC0 | c >> 6);
        out[(*size)++] = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        out[(*size)++] = (char)(0xE0 | c >> 12);
        out[(*size)++] = (char)(0x80 | (c >> 6 & 63));
        out[(*size)++] = (char)(0x80 | (c & 63));
    } else {
        out[(*size)++] = (char)(0xF0 | c >> 18);
        out[(*size)++] = (char)(0x80 | (c >> 12 & 63));
        out[(*size)++] = (char)(0x80 | (c >> 6 & 63));
        out[(*size)++] = (char)(0x80 | (c & 63));
    }
}

/* `digits` hexadecimal digits at `at`, or -1. */
static int64_t hex_digits(const struct lexer *lexer, size_t at, size_t digits)
{
    int64_t value = 0;

    for (size_t i = 0; i < digits; i++) {
        int digit = at + i < lexer->length ? hex_value(lexer->text[at + i]) : -1;

        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The escape whose backslash is at *at; leaves *at behind it. */
static vecdb_status read_escape(const struct lexer *lexer, size_t *at, char *out, size_t *size)
{
    static const char letters[] = "abfnrtv\\'\"?", meanings[] = "\a\b\f\n\r\t\v\\'\"?";
    size_t start = *at;
    char c = start + 1 < lexer->length ? lexer->text[start + 1] : '\0';
    const char *letter = c ? strchr(letters, c) : NULL;

    *at += 2;
    if (letter) {
        out[(*size)++] = meanings[letter - letters];
        return VECDB_OK;
    }
    if (c == '%' || c == '_') { /* for like, which gives them their meaning */
        out[(*size)++] = '\\';
        out[(*size)++] = c;
        return VECDB_OK;
    }
    if (c >= '0' && c <= '7') {
        unsigned value = 0, digits = 0;

        for (*at = start + 1; digits < 3 && *at < lexer->length && lexer->text[*at] >= '0' && lexer->text[*at] <= '7';
             digits++)
            value = value * 8 + (unsigned)(lexer->text[(*at)++] - '0');
        if (value > 255)
            return lexer_error(lexer, VECDB_ERR_FILTER, start, "octal escape \\%o is beyond \\377", value);
        out[(*size)++] = (char)value;
        return VECDB_OK;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        int64_t value = hex_digits(lexer, *at, digits);

        if (value < 0)
            return lexer_error(lexer, VECDB_ERR_FILTER, start, "\\%c takes %zu hexadecimal digits", c, digits);
        *at += digits;
        if (c == 'x') {
            out[(*size)++] = (char)value;
            return VECDB_OK;
        }
        if (value >= 0xD800 && value <= 0xDBFF && *at + 1 < lexer->length && lexer->text[*at] == '\\' &&
            lexer->text[*at + 1] == 'u') { /* two halves of a UTF-16 pair */
            int64_t low = hex_digits(lexer, *at + 2, 4);

            if (low >= 0xDC00 && low <= 0xDFFF) {
                value = 0x10000 + ((value - 0xD800) << 10) + (low - 0xDC00);
                *at += 6;
            }
        }
        if (value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
            return lexer_error(lexer, VECDB_ERR_FILTER, start, "\\%c%0*llX is no Unicode character", c, (int)digits,
                               (unsigned long long)value);
        put_utf8(out, size, (uint32_t)value);
        return VECDB_OK;
    }
    if (c >= 0x20 && c < 0x7F)
        return lexer_error(lexer, VECDB_ERR_FILTER, start,
                           "unknown escape \\%c in a string; write \\\\%c, or a raw string r'...'", c, c);
    return lexer_error(lexer, VECDB_ERR_FILTER, start, "a backslash in a string needs a character of its escape");
}

static vecdb_status read_string(struct lexer *lexer, struct token *token, bool raw)
{
    size_t at = token->at + (raw ? 2 : 1), size = 0, end, bad;
    char quote = lexer->text[at - 1], *out;

    for (end = at; end < lexer->length && lexer->text[end] != quote; end++)
        end += lexer->text[end] == '\\';
    if (end >= lexer->length)
        return lexer_error(lexer, VECDB_ERR_FILTER, token->at, "the string that starts here has no closing %c", quote);
    out = arena_alloc(lexer->arena, end - at + 1, 1); /* no escape takes fewer bytes than it gives */
    if (!out)
        return VECDB_ERR_NOMEM;
    if (raw) /* as in Python: a backslash keeps the quote behind it from ending the string, and both stay */
        memcpy(out, lexer->text + at, size = end - at);
    else
        while (at < end)
            if (lexer->text[at] != '\\')
                out[size++] = lexer->text[at++];
            else
                TRY(read_escape(lexer, &at, out, &size));
    if (!utf8_valid(out, size, &bad))
        return lexer_error(lexer, VECDB_ERR_FILTER, token->at, "the string's escapes make no UTF-8 at its byte %zu",
                           bad);
    lexer->at = end + 1;
    token->kind = TOKEN_STRING;
    token->string = out;
    token->string_length = size;
    return VECDB_OK;
}

static vecdb_status number_error(struct lexer *lexer, struct token *token, const char *what)
{
    char room[64];

    while (lexer->at < lexer->length && (is_name(lexer->text[lexer->at]) || lexer->text[lexer->at] == '.'))
        lexer->at++;
    token->kind = TOKEN_REAL;
    token->length = lexer->at - token->at;
    return lexer_error(lexer, VECDB_ERR_FILTER, token->at, "%s is no number: %s", lexer_show(lexer, token, room), what);
}

static vecdb_status read_real(struct lexer *lexer, struct token *token)
{
    size_t n = lexer->at - token->at;
    char few[64], *text = n < sizeof few ? few : arena_alloc(lexer->arena, n + 1, 1), *end;

    if (!text)
        return VECDB_ERR_NOMEM;
    memcpy(text, lexer->text + token->at, n);
    text[n] = '\0';
    token->kind = TOKEN_REAL;
    token->real = strtod_l(text, &end, newlocale(LC_ALL_MASK, "C", (locale_t)0)); /* static: nothing to free */
    if (*end)
        return number_error(lexer, token, "a digit is missing");
    if (!isfinite(token->real))
        return number_error(lexer, token, "it is beyond DOUBLE");
    if (lexer->at < lexer->length && is_name(lexer->text[lexer->at]))
        return number_error(lexer, token, "a letter follows it");
    return VECDB_OK;
}

static vecdb_status read_number(struct lexer *lexer, struct token *token)
{
    const char *text = lexer->text;
    size_t at = token->at, length = lexer->length, digits = at;
    unsigned base = 10;
    uint64_t value = 0;
    bool real = false;

    if (text[at] == '0' && at + 1 < length) {
        char c = text[at + 1] | 0x20;

        base = c == 'x' ? 16 : c == 'b' ? 2 : c == 'o' ? 8 : 10;
        if (base != 10)
            at = digits = at + 2;
    }
    while (at < length && (base == 16 ? hex_value(text[at]) >= 0 : is_digit(text[at])))
        at++;
    if ((base == 10 || base == 16) && at < length && text[at] == '.') {
        real = true;
        for (at++; at < length && (base == 16 ? hex_value(text[at]) >= 0 : is_digit(text[at]));)
            at++;
    }
    if (at < length && ((base == 10 && (text[at] | 0x20) == 'e') || (base == 16 && (text[at] | 0x20) == 'p'))) {
        real = true;
        at++;
        if (at < length && (text[at] == '+' || text[at] == '-'))
            at++;
        while (at < length && is_digit(text[at]))
            at++;
    }
    lexer->at = at;
    if (real && base == 16 && !memchr(text + digits, 'p', at - digits) && !memchr(text + digits, 'P', at - digits))
        return number_error(lexer, token, "a hexadecimal fraction needs an exponent, as in 0x1.8p3");
    if (real)
        return read_real(lexer, token);
    if (at == digits)
        return number_error(lexer, token, "a digit is missing");
    if (at < length && is_name(text[at]))
        return number_error(lexer, token, "a letter follows it");
    if (base == 10 && text[digits] == '0' && at > digits + 1)
        base = 8;
    for (size_t i = digits; i < at; i++) {
        uint64_t digit = (uint64_t)hex_value(text[i]);

        if (digit >= base)
            return number_error(lexer, token, base == 2   ? "binary digits are 0 and 1"
                                              : base == 8 ? "it starts with 0, and octal digits are 0 to 7"
                                                          : "");
        if (__builtin_mul_overflow(value, (uint64_t)base, &value) || __builtin_add_overflow(value, digit, &value) ||
            value > (uint64_t)INT64_MAX + 1)
            return number_error(lexer, token, "integers are -9223372036854775808 to 9223372036854775807; add .0 for a DOUBLE");
    }
    token->kind = TOKEN_INT;
    token->integer = value;
    return VECDB_OK;
}

static const struct {
    const char *lower, *upper, *other;
    enum token_kind kind;
} keywords[] = {
    {"and", "AND", NULL, TOKEN_AND},       {"or", "OR", NULL, TOKEN_OR},
    {"not", "NOT", NULL, TOKEN_NOT},       {"in", "IN", NULL, TOKEN_IN},
    {"like", "LIKE", NULL, TOKEN_LIKE},    {"is", "IS", NULL, TOKEN_IS},
    {"null", "NULL", NULL, TOKEN_NULL},    {"exists", "EXISTS", NULL, TOKEN_EXISTS},
    {"true", "TRUE", "True", TOKEN_TRUE},  {"false", "FALSE", "False", TOKEN_FALSE},
};

static bool equals(const char *word, const char *text, size_t length)
{
    return word && strlen(word) == length && memcmp(word, text, length) == 0;
}

static vecdb_status read_name(struct lexer *lexer, struct token *token)
{
    const char *text = lexer->text + token->at;
    size_t n = 0;

    while (token->at + n < lexer->length && is_name(text[n]))
        n++;
    lexer->at = token->at + n;
    token->kind = TOKEN_NAME;
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (equals(keywords[i].lower, text, n) || equals(keywords[i].upper, text, n) ||
            equals(keywords[i].other, text, n))
            token->kind = keywords[i].kind;
    token->string = text;
    token->string_length = n;
    return VECDB_OK;
}

/* Names that are no word: `my field`. Two backquotes are one. */
static vecdb_status read_quoted_name(struct lexer *lexer, struct token *token)
{
    size_t at = token->at + 1, size = 0, end;
    char *out;

    for (end = at; end < lexer->length && (lexer->text[end] != '`' || (end + 1 < lexer->length && lexer->text[end + 1] == '`'));)
        end += lexer->text[end] == '`' ? 2 : 1;
    if (end >= lexer->length || end == at)
        return lexer_error(lexer, VECDB_ERR_FILTER, token->at, "a name in backquotes starts here and %s",
                           end == at ? "is empty" : "has no closing `");
    out = arena_alloc(lexer->arena, end - at + 1, 1);
    if (!out)
        return VECDB_ERR_NOMEM;
    for (; at < end; at += lexer->text[at] == '`' ? 2 : 1)
        out[size++] = lexer->text[at];
    at = end + 1;
    lexer->at = at;
    token->kind = TOKEN_NAME;
    token->string = out;
    token->string_length = size;
    return VECDB_OK;
}

static vecdb_status read_template(struct lexer *lexer, struct token *token)
{
    size_t at = token->at + 1, start, end;

    while (at < lexer->length && strchr(" \t\r\n", lexer->text[at]) && lexer->text[at])
        at++;
    for (start = at; at < lexer->length && is_name(lexer->text[at]);)
        at++;
    end = at;
    while (at < lexer->length && strchr(" \t\r\n", lexer->text[at]) && lexer->text[at])
        at++;
    if (start == end || at >= lexer->length || lexer->text[at] != '}')
        return lexer_error(lexer, VECDB_ERR_FILTER, token->at, "a template is a name in braces: {name}");
    lexer->at = at + 1;
    token->kind = TOKEN_TEMPLATE;
    token->string = lexer->text + start;
    token->string_length = end - start;
    return VECDB_OK;
}

static const struct {
    char text[3];
    enum token_kind kind;
} symbols[] = {
    /* longer ones first */
    {"==", TOKEN_EQ},          {"!=", TOKEN_NE},          {"<=", TOKEN_LE},          {">=", TOKEN_GE},
    {"=~", TOKEN_MATCH},       {"!~", TOKEN_NOT_MATCH},   {"&&", TOKEN_AND},         {"||", TOKEN_OR},
    {"**", TOKEN_POWER},       {"<<", TOKEN_SHIFT_LEFT},  {">>", TOKEN_SHIFT_RIGHT}, {"<", TOKEN_LT},
    {">", TOKEN_GT},           {"=", TOKEN_ASSIGN},       {"!", TOKEN_NOT},          {"+", TOKEN_PLUS},
    {"-", TOKEN_MINUS},        {"*", TOKEN_STAR},         {"/", TOKEN_SLASH},        {"%", TOKEN_PERCENT},
    {"&", TOKEN_AMPERSAND},    {"|", TOKEN_PIPE},         {"^", TOKEN_CARET},        {"~", TOKEN_TILDE},
    {"(", TOKEN_OPEN},         {")", TOKEN_CLOSE},        {"[", TOKEN_OPEN_BRACKET}, {"]", TOKEN_CLOSE_BRACKET},
    {",", TOKEN_COMMA},
};

static vecdb_status read_token(struct lexer *lexer, struct token *token)
{
    const char *text = lexer->text + lexer->at;
    size_t left = lexer->length - lexer->at;
    char c = text[0];

    if (is_digit(c) || (c == '.' && left > 1 && is_digit(text[1])))
        return read_number(lexer, token);
    if (c == '\'' || c == '"')
        return read_string(lexer, token, false);
    if ((c == 'r' || c == 'R') && left > 1 && (text[1] == '\'' || text[1] == '"'))
        return read_string(lexer, token, true);
    if (is_name_start(c))
        return read_name(lexer, token);
    if (c == '`')
        return read_quoted_name(lexer, token);
    if (c == '{')
        return read_template(lexer, token);
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        size_t n = strlen(symbols[i].text);

        if (n <= left && memcmp(symbols[i].text, text, n) == 0) {
            token->kind = symbols[i].kind;
            lexer->at += n;
            return VECDB_OK;
        }
    }
    if (c > 0x20 && c < 0x7F)
        return lexer_error(lexer, VECDB_ERR_FILTER, lexer->at, "found %c, which means nothing here", c);
    return lexer_error(lexer, VECDB_ERR_FILTER, lexer->at, "found the control character \\x%02x", (unsigned char)c);
}

vecdb_status lexer_next(struct lexer *lexer, struct token *token)
{
    while (lexer->at < lexer->length && (lexer->text[lexer->at] == ' ' || lexer->text[lexer->at] == '\t' ||
                                         lexer->text[lexer->at] == '\r' || lexer->text[lexer->at] == '\n'))
        lexer->at++;
    *token = (struct token){.kind = TOKEN_END, .at = lexer->at};
    if (lexer->at == lexer->length)
        return VECDB_OK;
    TRY(read_token(lexer, token));
    token->length = lexer->at - token->at;
    return VECDB_OK;
}
