/* Looking things up in a scalar index: a condition becomes runs of keys, and their rows become bits. */
#include "filter/scalar_index_data.h"

#include "base/mem.h"
#include "filter/dictionary.h"

/* Runs of key numbers [first, end), ascending or not, without overlap. */
struct runs {
    struct buf pairs; /* uint32_t first, end */
    uint64_t rows;
};

static vecdb_status put_run(const struct scalar_index *index, struct runs *runs, uint32_t first, uint32_t end)
{
    uint32_t pair[2] = {first, end};

    if (first >= end)
        return VECDB_OK;
    runs->rows += index->begin[end] - index->begin[first];
    return buf_append(&runs->pairs, pair, sizeof pair);
}

/* The first key of a kind that is not below a value (or, with `above`, that is above it). */
static uint32_t integers_from(const struct scalar_index *index, int64_t value, bool above)
{
    uint32_t low = 0, high = index->integer_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (above ? index->integers[middle] <= value : index->integers[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return index->bool_count + low;
}

static uint32_t reals_from(const struct scalar_index *index, double value, bool above)
{
    uint32_t low = 0, high = index->real_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (above ? index->reals[middle] <= value : index->reals[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return index->bool_count + index->integer_count + low;
}

static uint32_t strings_at(const struct scalar_index *index)
{
    return index->key_count - index->string_count;
}

static uint32_t strings_from(const struct scalar_index *index, const char *text, size_t length, bool above)
{
    uint32_t low = 0, high = index->string_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct datum key = key_text(index, middle);
        int order = compare_strings(key.string.data, key.string.length, text, length);

        if (above ? order <= 0 : order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return strings_at(index) + low;
}

/* Bounds on numbers of a JSON path or array: its integers and its reals apart. */
static vecdb_status number_runs(const struct scalar_index *index, const struct bounds *bounds, struct runs *runs)
{
    uint32_t first = index->bool_count, middle = first + index->integer_count, end = middle + index->real_count;

    /* few probes on either side; comparing datums keeps integers against doubles exact */
    for (int part = 0; part < 2; part++) {
        uint32_t low = part ? middle : first, high = part ? end : middle, from = low, to = high;

        for (int side = 0; side < 2; side++) {
            const struct datum *bound = side ? &bounds->high : &bounds->low;
            uint32_t a = low, b = high;

            while (bound->kind && a < b) {
                uint32_t half = a + (b - a) / 2;
                struct datum key = part ? (struct datum){DATUM_DOUBLE, {.real = index->reals[half - middle]}}
                                        : (struct datum){DATUM_INT, {.integer = index->integers[half - first]}};
                int order = datum_compare(&key, bound);
                bool before = side ? order < 0 || (order == 0 && !bounds->high_open)
                                   : order < 0 || (order == 0 && bounds->low_open);

                if (before)
                    a = half + 1;
                else
                    b = half;
            }
            if (side)
                to = bound->kind ? a : high;
            else
                from = a;
        }
        TRY(put_run(index, runs, from, to));
    }
    return VECDB_OK;
}

static vecdb_status string_runs(const struct scalar_index *index, const struct bounds *bounds, struct runs *runs)
{
    uint32_t from = strings_at(index), to = index->key_count;

    if (bounds->low.kind)
        from = strings_from(index, bounds->low.string.data, bounds->low.string.length, bounds->low_open);
    if (bounds->high.kind)
        to = strings_from(index, bounds->high.string.data, bounds->high.string.length, !bounds->high_open);
    return put_run(index, runs, from, to);
}

/* The key equal to a value, as a run. */
static vecdb_status value_run(const struct scalar_index *index, struct datum value, struct runs *runs)
{
    uint32_t at = 0;
    bool found = false;

    if (value.kind == DATUM_BOOL) {
        for (at = 0; at < index->bool_count && !found; at += !found)
            found = index->bools[at] == value.boolean;
    } else if (value.kind == DATUM_INT) {
        at = integers_from(index, value.integer, false);
        found = at < index->bool_count + index->integer_count && index->integers[at - index->bool_count] == value.integer;
    } else if (value.kind == DATUM_DOUBLE) {
        uint32_t base = index->bool_count + index->integer_count;

        at = reals_from(index, value.real, false);
        found = at < base + index->real_count && index->reals[at - base] == value.real;
    } else if (value.kind == DATUM_STRING) {
        at = strings_from(index, value.string.data, value.string.length, false);
        if (at < index->key_count) {
            struct datum key = key_text(index, at - strings_at(index));

            found = datum_equal(&key, &value);
        }
    }
    return found ? put_run(index, runs, at, at + 1) : VECDB_OK;
}

/* In the field's own type: what simplify.c made of the condition. */
static vecdb_status fixed_runs(const struct scalar_index *index, const struct condition *condition, struct runs *runs)
{
    bool reals = type_is_float(condition->operand.type == TYPE_FLOAT || condition->operand.type == TYPE_DOUBLE
                                   ? VECDB_TYPE_DOUBLE
                                   : VECDB_TYPE_INT64);

    if (condition->test == TEST_RANGE) {
        if (reals)
            return put_run(index, runs, reals_from(index, condition->low.real, false),
                           reals_from(index, condition->high.real, true));
        return put_run(index, runs, integers_from(index, condition->low.integer, false),
                       integers_from(index, condition->high.integer, true));
    }
    for (size_t i = 0; i < condition->fixed_count; i++) {
        struct datum value = reals ? (struct datum){DATUM_DOUBLE, {.real = ((const double *)condition->fixed_items)[i]}}
                                   : (struct datum){DATUM_INT, {.integer = ((const int64_t *)condition->fixed_items)[i]}};

        TRY(value_run(index, value, runs));
    }
    return VECDB_OK;
}

static vecdb_status set_runs(const struct scalar_index *index, const struct set *set, struct runs *runs)
{
    for (int i = 0; i < 2; i++)
        if (set->has[i])
            TRY(value_run(index, (struct datum){DATUM_BOOL, {.boolean = i}}, runs));
    for (size_t i = 0; i < set->integer_count; i++)
        TRY(value_run(index, (struct datum){DATUM_INT, {.integer = set->integers[i]}}, runs));
    for (size_t i = 0; i < set->real_count; i++)
        TRY(value_run(index, (struct datum){DATUM_DOUBLE, {.real = set->reals[i]}}, runs));
    for (size_t i = 0; i < set->string_count; i++)
        TRY(value_run(index, set->strings[i], runs));
    return VECDB_OK;
}

/* Keys from the text on that begin with it. */
static void prefix_range(const struct scalar_index *index, const char *prefix, size_t length, uint32_t *first, uint32_t *end)
{
    uint32_t low, high = index->key_count;

    *first = low = strings_from(index, prefix, length, false);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct datum key = key_text(index, middle - strings_at(index));

        if (key.string.length >= length && memcmp(key.string.data, prefix, length) == 0)
            low = middle + 1;
        else
            high = middle;
    }
    *end = low;
}

/* A pattern on the distinct texts: only those with its prefix are looked at. */
static vecdb_status pattern_runs(const struct scalar_index *index, const struct condition *condition, struct runs *runs)
{
    struct regex_scratch *scratch = NULL;
    uint32_t first = strings_at(index), end = index->key_count;
    vecdb_status status = VECDB_OK;
    char room[256];
    size_t length;

    if (condition->test == TEST_LIKE) {
        const char *prefix = like_prefix(condition->like, room, sizeof room, &length);

        prefix_range(index, prefix, length, &first, &end);
        if (condition->like->kind == LIKE_ANY || (condition->like->kind == LIKE_PREFIX && length == condition->like->length))
            return put_run(index, runs, first, end);
    } else if (!(scratch = regex_scratch_create(condition->regex))) {
        return VECDB_ERR_NOMEM;
    }
    for (uint32_t k = first; k < end && status == VECDB_OK; k++) {
        struct datum key = key_text(index, k - strings_at(index));
        bool matches;

        if (condition->test == TEST_LIKE)
            matches = like_matches(condition->like, key.string.data, key.string.length);
        else
            status = regex_matches(condition->regex, scratch, key.string.data, key.string.length, &matches);
        if (status == VECDB_OK && matches)
            status = put_run(index, runs, k, k + 1);
    }
    regex_scratch_free(scratch);
    return status;
}

static bool bounds_of_numbers(const struct bounds *bounds)
{
    const struct datum *bound = bounds->low.kind ? &bounds->low : &bounds->high;

    return datum_class(bound) == CLASS_NUMBER;
}

static vecdb_status find_runs(const struct scalar_index *index, const struct condition *condition, struct runs *runs)
{
    if (condition->fixed)
        return fixed_runs(index, condition, runs);
    switch (condition->test) {
    case TEST_RANGE:
        return bounds_of_numbers(&condition->bounds) ? number_runs(index, &condition->bounds, runs)
                                                     : string_runs(index, &condition->bounds, runs);
    case TEST_SET:
    case TEST_CONTAINS:
        return set_runs(index, &condition->set, runs);
    default:
        return pattern_runs(index, condition, runs);
    }
}

static void set_run_rows(const struct scalar_index *index, uint32_t first, uint32_t end, uint64_t *bits)
{
    size_t words = bitmap_words(index->row_count);

    for (uint32_t k = first; k < end; k++) {
        if (index->dense && index->dense[k]) {
            const uint64_t *more = index->bitmaps + (size_t)(index->dense[k] - 1) * words;

            for (size_t w = 0; w < words; w++)
                bits[w] |= more[w];
            continue;
        }
        for (uint32_t i = index->begin[k]; i < index->begin[k + 1]; i++)
            bitmap_set(bits, index->rows[i]);
    }
}

/* Rows of which a negated condition can be TRUE: those with a value of its class. */
static const uint64_t *present_for(const struct scalar_index *index, const struct condition *condition)
{
    unsigned class;

    if (index->multi)
        return index->present[0];
    if (condition->fixed || (condition->test == TEST_NULL && condition->operand.kind == OPERAND_COLUMN))
        class = index->classes;
    else if (condition->test == TEST_RANGE)
        class = bounds_of_numbers(&condition->bounds) ? CLASS_NUMBER : CLASS_STRING;
    else if (condition->test == TEST_SET)
        class = condition->set.classes;
    else
        class = CLASS_STRING;
    return class == CLASS_BOOL     ? index->present[0]
           : class == CLASS_NUMBER ? index->present[1]
           : class == CLASS_STRING ? index->present[2]
                                   : NULL;
}

/* ---- n-grams ---- */

static size_t character_at(const char *text, size_t length, size_t at)
{
    return dictionary_character(text, length, at);
}

/* Calls for grams of the pattern: a run of plain bytes of at least min_gram characters gives its longest grams. */
struct gram_walk {
    const struct scalar_index *index;
    uint64_t *bits, *scratch; /* NULL: only count */
    uint64_t fewest;
    bool any;
};

static void use_gram(struct gram_walk *walk, const char *text, size_t length)
{
    const struct scalar_index *index = walk->index;
    size_t words = bitmap_words(index->row_count);
    struct datum gram = {DATUM_STRING, {.string = {text, length}}}, key;
    uint32_t at = strings_from(index, text, length, false);
    uint64_t rows = 0;

    if (at < index->key_count) {
        key = key_text(index, at - strings_at(index));
        if (datum_equal(&key, &gram))
            rows = index->begin[at + 1] - index->begin[at];
    }
    if (walk->bits) {
        memset(walk->scratch, 0, words * 8);
        if (rows)
            set_run_rows(index, at, at + 1, walk->scratch);
        for (size_t w = 0; w < words; w++)
            walk->bits[w] = walk->any ? walk->bits[w] & walk->scratch[w] : walk->scratch[w];
    }
    if (!walk->any || rows < walk->fewest)
        walk->fewest = rows;
    walk->any = true;
}

static void use_piece(struct gram_walk *walk, const char *text, size_t length)
{
    size_t characters = 0, gram, starts[256], count = 0;

    for (size_t at = 0; at < length && count < 255; at += character_at(text, length, at), characters++)
        starts[count++] = at;
    if (characters < walk->index->min_gram)
        return;
    starts[count] = count < 255 ? length : starts[count - 1];
    if (count == 255)
        characters = count -= 1;
    gram = characters < walk->index->max_gram ? characters : walk->index->max_gram;
    for (size_t i = 0; i + gram <= characters; i++)
        use_gram(walk, text + starts[i], starts[i + gram] - starts[i]);
}

static void walk_grams(struct gram_walk *walk, const struct like *like)
{
    char piece[1024];
    size_t n = 0;

    for (size_t i = 0; i <= like->piece_count; i++) {
        if (i < like->piece_count && like->pieces[i] < 256 && n < sizeof piece) {
            piece[n++] = (char)like->pieces[i];
            continue;
        }
        if (n == sizeof piece) /* cut at a character, so that no half one becomes a gram */
            while (n && ((unsigned char)piece[n - 1] & 0x80))
                n--;
        use_piece(walk, piece, n);
        n = 0;
        while (i < like->piece_count && like->pieces[i] < 256)
            i++;
    }
}

/* ---- What the planner asks ---- */

static bool same_path(const struct scalar_index *index, const struct operand *operand)
{
    size_t at = 0;

    for (size_t i = 0; i < operand->step_count; i++) {
        const struct step *step = &operand->steps[i];
        size_t number;

        if (at >= index->path_size || (index->path[at] == 1) != (step->key != NULL))
            return false;
        number = load_u32(index->path + at + 1);
        if (number != (step->key ? step->length : step->index) ||
            (step->key && memcmp(index->path + at + 5, step->key, number) != 0))
            return false;
        at += 5 + (step->key ? number : 0);
    }
    return at == index->path_size;
}

static bool can_answer(const struct scalar_index *index, const struct condition *condition)
{
    unsigned classes;

    if ((condition->operand.kind != OPERAND_COLUMN && condition->operand.kind != OPERAND_PATH) ||
        !same_path(index, &condition->operand))
        return false;
    if (index->kind == KIND_NGRAM)
        return condition->test == TEST_LIKE && !condition->negated;
    switch (condition->test) {
    case TEST_RANGE:
        if (condition->fixed)
            return true;
        classes = bounds_of_numbers(&condition->bounds) ? CLASS_NUMBER : CLASS_STRING;
        return !index->multi && !(classes & ~index->classes);
    case TEST_SET:
        if (condition->fixed)
            return true;
        /* several classes, negated: TRUE for no row, which is for the scan to find */
        return !index->multi && !(condition->set.classes & ~index->classes) && present_for(index, condition);
    case TEST_LIKE:
    case TEST_REGEX:
        return !index->multi && (index->classes & CLASS_STRING);
    case TEST_CONTAINS:
    case TEST_CONTAINS_ALL:
        return index->multi && !(condition->set.classes & ~index->classes);
    case TEST_NULL:
        return condition->operand.kind == OPERAND_COLUMN && condition->operand.type != TYPE_JSON;
    default:
        return false;
    }
}

bool scalar_index_serves(const struct scalar_index *index, const struct condition *condition, struct scalar_lookup *out)
{
    double sweep = (double)bitmap_words(index->row_count) * 0.5;
    struct runs runs = {{0}, 0};

    if (!can_answer(index, condition))
        return false;
    *out = (struct scalar_lookup){.exact = true, .cost = sweep};
    if (index->kind == KIND_NGRAM) {
        struct gram_walk walk = {.index = index};

        walk_grams(&walk, condition->like);
        if (!walk.any)
            return false;
        *out = (struct scalar_lookup){.exact = false, .rows = walk.fewest, .cost = 4 * sweep + (double)walk.fewest * 2};
        return true;
    }
    if (condition->test == TEST_NULL) {
        const uint64_t *present = present_for(index, condition);

        if (!present)
            return false;
        out->rows = bitmap_count(present, index->row_count);
        if (!condition->negated)
            out->rows = index->row_count - out->rows;
        return true;
    }
    if ((condition->test == TEST_LIKE && condition->like->kind != LIKE_PREFIX && condition->like->kind != LIKE_ANY) ||
        condition->test == TEST_REGEX) { /* the dictionary must be gone through: what it finds is not known before */
        out->cost += index->string_count * (condition->test == TEST_LIKE ? 20.0 : 300.0);
        out->rows = index->row_count / 4;
    } else if (condition->test == TEST_CONTAINS_ALL) {
        out->rows = index->row_count / 4;
        out->cost += (double)set_size(&condition->set) * (sweep + (double)index->posting_count / (index->key_count + 1.0));
    } else if (find_runs(index, condition, &runs) == VECDB_OK) {
        out->rows = index->multi && runs.rows > index->row_count ? index->row_count : runs.rows;
        out->cost += (double)runs.rows * 0.8 + (double)runs.pairs.size;
    } else {
        buf_deinit(&runs.pairs);
        return false;
    }
    buf_deinit(&runs.pairs);
    if (condition->negated)
        out->rows = index->row_count - (out->rows < index->row_count ? out->rows : index->row_count);
    return true;
}

static vecdb_status lookup_all(const struct scalar_index *index, const struct condition *condition, uint64_t *bits)
{
    size_t words = bitmap_words(index->row_count);
    const struct set *set = &condition->set;
    uint64_t *one = mem_array_alloc(words + 1, 8);
    struct runs runs = {{0}, 0};
    vecdb_status status = one ? VECDB_OK : error_nomem("filter");

    memcpy(bits, index->present[0], words * 8);
    for (size_t i = 0, n = set_size(set); i < n && status == VECDB_OK; i++) {
        struct set single = *set; /* the i-th value alone, counted as set_find() does */
        size_t at = i;

        if (i < 2 && !set->has[i])
            continue;
        single.has[0] = i == 0;
        single.has[1] = i == 1;
        single.integer_count = single.real_count = single.string_count = single.value_count = 0;
        at -= 2;
        if (i >= 2 && at < set->integer_count) {
            single.integers += at;
            single.integer_count = 1;
        } else if (i >= 2 && (at -= set->integer_count) < set->real_count) {
            single.reals += at;
            single.real_count = 1;
        } else if (i >= 2 && (at -= set->real_count) < set->string_count) {
            single.strings += at;
            single.string_count = 1;
        }
        runs.pairs.size = 0;
        status = set_runs(index, &single, &runs);
        memset(one, 0, words * 8);
        if (status == VECDB_OK && runs.pairs.size)
            set_run_rows(index, load_u32(runs.pairs.data), load_u32(runs.pairs.data + 4), one);
        for (size_t w = 0; w < words; w++)
            bits[w] &= one[w];
    }
    buf_deinit(&runs.pairs);
    mem_free(one);
    return status;
}

static vecdb_status lookup_grams(const struct scalar_index *index, const struct condition *condition, uint64_t *bits)
{
    struct gram_walk walk = {.index = index, .bits = bits};

    walk.scratch = mem_array_alloc(bitmap_words(index->row_count) + 1, 8);
    if (!walk.scratch)
        return error_nomem("filter");
    walk_grams(&walk, condition->like);
    mem_free(walk.scratch);
    return VECDB_OK;
}

vecdb_status scalar_index_lookup(const struct scalar_index *index, const struct condition *condition, uint64_t *bits)
{
    size_t words = bitmap_words(index->row_count);
    const uint64_t *present = present_for(index, condition);
    struct runs runs = {{0}, 0};
    vecdb_status status;

    if (index->kind == KIND_NGRAM)
        return lookup_grams(index, condition, bits);
    if (condition->test == TEST_CONTAINS_ALL) {
        TRY(lookup_all(index, condition, bits));
    } else {
        memset(bits, 0, words * 8);
        if (condition->test != TEST_NULL) {
            status = find_runs(index, condition, &runs);
            for (size_t i = 0; i < runs.pairs.size && status == VECDB_OK; i += 8)
                set_run_rows(index, load_u32(runs.pairs.data + i), load_u32(runs.pairs.data + i + 4), bits);
            buf_deinit(&runs.pairs);
            if (status != VECDB_OK)
                return status;
        } else {
            for (size_t w = 0; w < words; w++)
                bits[w] = ~present[w];
            if (words)
                bits[words - 1] &= bitmap_tail(index->row_count);
        }
    }
    if (condition->negated && condition->test == TEST_NULL)
        memcpy(bits, present, words * 8);
    else if (condition->negated)
        for (size_t w = 0; w < words; w++)
            bits[w] = present[w] & ~bits[w];
    return VECDB_OK;
}
