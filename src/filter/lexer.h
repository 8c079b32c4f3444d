/* Filter text to tokens. */
#ifndef VECDB_FILTER_LEXER_H
#define VECDB_FILTER_LEXER_H

#include "filter/arena.h"

enum token_kind {
    TOKEN_END,
    TOKEN_INT,
    TOKEN_REAL,
    TOKEN_STRING,
    TOKEN_NAME,
    TOKEN_TEMPLATE, /* {name} */
    TOKEN_TRUE,
    TOKEN_FALSE,
    TOKEN_NULL,
    TOKEN_AND,
    TOKEN_OR,
    TOKEN_NOT,
    TOKEN_IN,
    TOKEN_LIKE,
    TOKEN_IS,
    TOKEN_EXISTS,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_LT,
    TOKEN_LE,
    TOKEN_GT,
    TOKEN_GE,
    TOKEN_MATCH,     /* =~ */
    TOKEN_NOT_MATCH, /* !~ */
    TOKEN_ASSIGN,
    TOKEN_PLUS,
    TOKEN_MINUS,
    TOKEN_STAR,
    TOKEN_SLASH,
    TOKEN_PERCENT,
    TOKEN_POWER,
    TOKEN_AMPERSAND,
    TOKEN_PIPE,
    TOKEN_CARET,
    TOKEN_TILDE,
    TOKEN_SHIFT_LEFT,
    TOKEN_SHIFT_RIGHT,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_OPEN_BRACKET,
    TOKEN_CLOSE_BRACKET,
    TOKEN_COMMA
};

struct token {
    enum token_kind kind;
    size_t at, length;    /* bytes of the text */
    uint64_t integer;     /* INT: up to 2^63, which only a minus makes fit */
    double real;          /* REAL */
    const char *string;   /* STRING, NAME, TEMPLATE: what it stands for, in the arena */
    size_t string_length;
};

struct lexer {
    const char *text;
    size_t length, at;
    struct arena *arena;
};

/** The next token; a mistake is reported with its column. */
vecdb_status lexer_next(struct lexer *lexer, struct token *token);
/** VECDB_ERR_FILTER (or another status) with "column 7: " before the message, or "line 2, column 7: ". */
vecdb_status lexer_error(const struct lexer *lexer, vecdb_status status, size_t at, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/** A token as messages show it: 'abc', or end of the filter. `room` of at least 64 bytes. */
const char *lexer_show(const struct lexer *lexer, const struct token *token, char *room);

#endif
