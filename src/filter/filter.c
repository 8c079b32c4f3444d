#include "filter/filter.h"

#include "base/checksum.h"
#include "base/mem.h"
#include "filter/eval.h"

void filter_free(struct filter *filter)
{
    if (!filter || atomic_fetch_sub_explicit(&filter->references, 1, memory_order_acq_rel) != 1)
        return;
    for (size_t i = 0; i < filter->regex_count; i++)
        regex_free(filter->regexes[i]);
    mem_free(filter->regexes);
    mem_free(filter->slots);
    mem_free(filter->nodes);
    mem_free(filter->items);
    buf_deinit(&filter->params);
    buf_deinit(&filter->key);
    arena_deinit(&filter->arena);
    mem_free(filter);
}

static vecdb_status parse_params(const char *params, struct buf *out, struct json *value)
{
    *value = (struct json){NULL, 0};
    if (!params)
        return VECDB_OK;
    if (json_parse(params, strlen(params), out) != VECDB_OK)
        return error_prefix("filter parameters: ");
    *value = (struct json){out->data, out->size};
    if (json_kind(*value) != JSON_OBJECT)
        return error_set(VECDB_ERR_INVALID, "filter parameters: not a JSON object, as in {\"name\": 1}");
    return VECDB_OK;
}

/* What tells the filter from others of its schema. */
static vecdb_status make_key(struct filter *filter, const char *text, size_t length, const char *params)
{
    size_t more = params ? strlen(params) : 0;

    if (length > FILTER_KEY_MAX || more > FILTER_KEY_MAX)
        return VECDB_OK;
    TRY(buf_append(&filter->key, text, length));
    if (params) {
        TRY(buf_append(&filter->key, "", 1));
        TRY(buf_append(&filter->key, params, more));
    }
    filter->hash = checksum(filter->key.data, filter->key.size, 0);
    return VECDB_OK;
}

const void *filter_key(const struct filter *filter, const struct schema **schema, size_t *size, uint64_t *hash)
{
    *schema = filter->schema;
    *size = filter->key.size;
    *hash = filter->hash;
    return filter->plugged || !filter->key.size ? NULL : filter->key.data;
}

vecdb_status filter_compile(const struct schema *schema, const char *text, size_t length, const char *params,
                            struct filter **out)
{
    struct filter *filter = mem_zalloc(sizeof *filter);
    struct lexer lexer = {.text = text, .length = length};
    struct tree tree = {.root = NODE_NONE};
    struct json values;
    vecdb_status status;

    *out = NULL;
    if (!filter)
        return error_nomem("filter");
    atomic_init(&filter->references, 1);
    lexer.arena = &filter->arena;
    if ((status = parse_params(params, &filter->params, &values)) == VECDB_OK &&
        (status = tree_parse(&lexer, &tree)) == VECDB_OK &&
        (status = plan_bind(filter, &lexer, &tree, schema, values)) == VECDB_OK)
        status = plan_simplify(filter, &lexer);
    if (status == VECDB_OK)
        status = make_key(filter, text, length, params);
    filter->schema = schema;
    tree_deinit(&tree);
    if (status != VECDB_OK) {
        filter_free(filter);
        return status;
    }
    *out = filter;
    return VECDB_OK;
}

struct filter *filter_retain(struct filter *filter)
{
    atomic_fetch_add_explicit(&filter->references, 1, memory_order_relaxed);
    return filter;
}

bool filter_matches_all(const struct filter *filter)
{
    return filter->nodes[filter->root].kind == PLAN_ALL;
}

vecdb_status filter_eval(const struct filter *filter, const struct filter_source *source, uint64_t *rows,
                         struct filter_counters *counters, vecdb_status (*check)(void *context), void *check_context)
{
    struct eval eval;
    vecdb_status status;

    if (filter_matches_all(filter) || source->row_count == 0)
        return VECDB_OK;
    if (filter->nodes[filter->root].kind == PLAN_NONE) {
        memset(rows, 0, bitmap_words(source->row_count) * 8);
        return VECDB_OK;
    }
    status = eval_init(&eval, filter, source);
    eval.check = check;
    eval.check_context = check_context;
    if (status == VECDB_OK)
        status = eval_plan(&eval, counters);
    if (status == VECDB_OK)
        status = eval_run(&eval, rows, counters);
    eval_deinit(&eval);
    return status;
}
