#include "filter/regex.h"

#include "base/mem.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#define MAX_STEPS 1000000
#define MAX_HEAP 1024 /* KiB */
#define MAX_PARENTHESES 64
#define MAX_PATTERN 8192

struct regex {
    pcre2_general_context *memory;
    pcre2_code *code;
    pcre2_match_context *limits;
};

struct regex_scratch {
    pcre2_match_data *data;
};

static void *take(PCRE2_SIZE size, void *context) { return mem_alloc(size); }
static void give(void *memory, void *context) { mem_free(memory); }

vecdb_status regex_compile(const char *pattern, size_t length, struct regex **out)
{
    struct regex *regex;
    pcre2_compile_context *options = NULL;
    int code = 0;
    PCRE2_SIZE at = 0;

    *out = NULL;
    if (length > MAX_PATTERN)
        return error_set(VECDB_ERR_LIMIT, "a regular expression of %zu bytes is longer than %d", length, MAX_PATTERN);
    regex = mem_zalloc(sizeof *regex);
    if (!regex || !(regex->memory = pcre2_general_context_create(take, give, NULL)) ||
        !(regex->limits = pcre2_match_context_create(regex->memory)) ||
        !(options = pcre2_compile_context_create(regex->memory))) {
        regex_free(regex);
        return error_nomem("regular expression");
    }
    pcre2_set_match_limit(regex->limits, MAX_STEPS);
    pcre2_set_heap_limit(regex->limits, MAX_HEAP);
    pcre2_set_parens_nest_limit(options, MAX_PARENTHESES);
    /* INVALID_UTF: rows are UTF-8, but nothing bad may come of a damaged one */
    regex->code = pcre2_compile((PCRE2_SPTR)pattern, length, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C,
                                &code, &at, options);
    pcre2_compile_context_free(options);
    if (!regex->code) {
        char words[160] = "";

        pcre2_get_error_message(code, (PCRE2_UCHAR *)words, sizeof words);
        regex_free(regex);
        if (code == PCRE2_ERROR_NOMEMORY || code == 121 /* the compiler's "failed to allocate" */)
            return error_nomem("regular expression");
        return error_set(VECDB_ERR_INVALID, "the regular expression is wrong at its byte %zu: %s", (size_t)at, words);
    }
    *out = regex;
    return VECDB_OK;
}

void regex_free(struct regex *regex)
{
    if (!regex)
        return;
    pcre2_code_free(regex->code);
    pcre2_match_context_free(regex->limits);
    pcre2_general_context_free(regex->memory);
    mem_free(regex);
}

struct regex_scratch *regex_scratch_create(const struct regex *regex)
{
    struct regex_scratch *scratch = mem_zalloc(sizeof *scratch);

    if (!scratch || !(scratch->data = pcre2_match_data_create(1, regex->memory))) {
        mem_free(scratch);
        error_nomem("regular expression");
        return NULL;
    }
    return scratch;
}

void regex_scratch_free(struct regex_scratch *scratch)
{
    if (scratch)
        pcre2_match_data_free(scratch->data);
    mem_free(scratch);
}

vecdb_status regex_matches(const struct regex *regex, struct regex_scratch *scratch, const char *text, size_t length,
                           bool *matches)
{
    int result = pcre2_match(regex->code, (PCRE2_SPTR)text, length, 0, 0, scratch->data, regex->limits);
    char words[160] = "";

    *matches = result >= 0;
    if (result >= 0 || result == PCRE2_ERROR_NOMATCH)
        return VECDB_OK;
    if (result == PCRE2_ERROR_NOMEMORY)
        return error_nomem("regular expression");
    pcre2_get_error_message(result, (PCRE2_UCHAR *)words, sizeof words);
    return error_set(VECDB_ERR_LIMIT, "filter: the regular expression on a text of %zu bytes: %s (at most %d steps)", length,
                     words, MAX_STEPS);
}
