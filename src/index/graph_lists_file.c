/* Lists in a graph's file, after everything else, each array at a multiple of 64:
 *
 *     centroids, lists x stride     f32 x lists beyond      f32 x lists spread      f32 x 4 x 128 tails
 *     signs: code dim / 2 bytes     f32 x code dim center   u32 x (lists + 1) offsets
 *     u32 x rows in lists           sketches: rows in lists x {f32 a, f32 b, code dim / 64 x u64} */
#include "index/graph_lists.h"

#include "base/bytes.h"
#include "base/mem.h"

#include <math.h>

#define CORRUPT(...) error_set(VECDB_ERR_CORRUPT, "graph index: lists: " __VA_ARGS__)
#define ARRAYS 9

struct array {
    void *data;
    size_t size;
};

static void arrays_of(const struct graph_lists *lists, const struct graph_codec *codec, size_t count, size_t row_count,
                      struct array out[ARRAYS])
{
    static const struct graph_lists none;
    const struct graph_lists *of = lists ? lists : &none;
    const struct array arrays[ARRAYS] = {{of->centroids, count * codec->stride},
                                         {of->beyond, count * sizeof(float)},
                                         {of->spread, count * sizeof(float)},
                                         {of->tail, GRAPH_TAILS * GRAPH_TAIL_STEPS * sizeof(float)},
                                         {of->signs, codec->code_dim / 2},
                                         {of->center, codec->code_dim * sizeof(float)},
                                         {of->offsets, (count + 1) * sizeof(uint32_t)},
                                         {of->rows, row_count * sizeof(uint32_t)},
                                         {of->sketches, row_count * graph_sketch_size(codec)}};

    memcpy(out, arrays, sizeof arrays);
}

vecdb_status graph_lists_save(const struct graph_lists *lists, const struct graph_codec *codec, struct buf *out)
{
    struct array arrays[ARRAYS];

    arrays_of(lists, codec, lists->count, lists->row_count, arrays);
    for (size_t i = 0; i < ARRAYS; i++) {
        TRY(buf_append(out, arrays[i].data, arrays[i].size));
        TRY(buf_append(out, NULL, align_up(arrays[i].size, 64) - arrays[i].size));
    }
    return VECDB_OK;
}

vecdb_status graph_lists_read(const struct graph_lists_sizes *sizes, const struct graph_codec *codec, const uint8_t *data,
                              size_t size, struct graph_lists **out)
{
    struct array arrays[ARRAYS];
    size_t wanted = 0, at = 0;
    vecdb_status status;

    *out = NULL;
    if (codec->kind >= GRAPH_CODE_HAMMING)
        return CORRUPT("%u of them, which do not go with codes of bits", sizes->count);
    arrays_of(NULL, codec, sizes->count, sizes->row_count, arrays);
    for (size_t i = 0; i < ARRAYS; i++)
        wanted += align_up(arrays[i].size, 64);
    if (sizes->row_count > sizes->row_limit || sizes->row_limit > sizes->rows || wanted != size)
        return CORRUPT("%u of %u rows below %u of %u would take %zu bytes, not %zu", sizes->count, sizes->row_count,
                       sizes->row_limit, sizes->rows, wanted, size);
    status = graph_lists_alloc(codec, sizes->count, sizes->row_count, out);
    if (status == VECDB_ERR_NOMEM) { /* searches do without */
        error_clear();
        return VECDB_OK;
    }
    TRY(status);
    (*out)->row_limit = sizes->row_limit;
    arrays_of(*out, codec, sizes->count, sizes->row_count, arrays);
    for (size_t i = 0; i < ARRAYS; i++) {
        memcpy(arrays[i].data, data + at, arrays[i].size);
        at += align_up(arrays[i].size, 64);
    }
    graph_lists_set_mark(*out);
    return VECDB_OK;
}

/* ---- every invariant ---- */

static vecdb_status check_numbers(const struct graph_lists *lists, const struct graph_codec *codec)
{
    for (size_t i = 0; i < lists->count; i++)
        if (!(lists->beyond[i] >= 0) || !(lists->spread[i] >= 0) || !isfinite(lists->beyond[i]) || !isfinite(lists->spread[i]))
            return CORRUPT("list %zu: beyond %g, spread %g", i, (double)lists->beyond[i], (double)lists->spread[i]);
    for (size_t i = 0; i < GRAPH_TAILS * GRAPH_TAIL_STEPS; i++) {
        bool first = i % GRAPH_TAIL_STEPS == 0;
        if (!(lists->tail[i] >= 0 && lists->tail[i] <= 1) || (!first && lists->tail[i] < lists->tail[i - 1]))
            return CORRUPT("tail: %g in step %zu", (double)lists->tail[i], i);
    }
    for (size_t d = 0; d < codec->code_dim; d++)
        if (!isfinite(lists->center[d]))
            return CORRUPT("center %g in dimension %zu", (double)lists->center[d], d);
    for (size_t i = 0; i < lists->row_count; i++) {
        float numbers[2];
        memcpy(numbers, lists->sketches + i * graph_sketch_size(codec), sizeof numbers);
        if (!isfinite(numbers[0]) || !isfinite(numbers[1]))
            return CORRUPT("sketch %zu: %g and %g", i, (double)numbers[0], (double)numbers[1]);
    }
    return VECDB_OK;
}

/* Every row that has a value is in one list. `met` has a bit per row. */
static vecdb_status check_rows(const struct graph_lists *lists, const struct graph_state *state, uint64_t *met)
{
    const uint64_t *present = state->vectors.present;
    size_t with_value = 0;

    if (lists->offsets[0] != 0 || lists->offsets[lists->count] != lists->row_count)
        return CORRUPT("offsets %u to %u, of %u rows", lists->offsets[0], lists->offsets[lists->count], lists->row_count);
    for (size_t list = 0; list < lists->count; list++)
        if (lists->offsets[list + 1] < lists->offsets[list])
            return CORRUPT("list %zu ends at %u but begins at %u", list, lists->offsets[list + 1], lists->offsets[list]);
    for (size_t i = 0; i < lists->row_count; i++) {
        uint32_t row = lists->rows[i];
        if (row >= lists->row_limit || bitmap_get(met, row) || (present && !bitmap_get(present, row)))
            return CORRUPT("row %u, which is not below %u, has no value or is in two", row, lists->row_limit);
        bitmap_set(met, row);
    }
    for (size_t row = 0; row < lists->row_limit; row++)
        with_value += !present || bitmap_get(present, row);
    return with_value == lists->row_count ? VECDB_OK
                                          : CORRUPT("%u rows in lists, but %zu have a value", lists->row_count, with_value);
}

vecdb_status graph_lists_check(const struct graph_lists *lists, const struct graph_state *state)
{
    uint64_t *met;
    vecdb_status status;

    if (!lists || lists->codes != state->recoded)
        return VECDB_OK;
    if (lists->row_limit > state->layers[0].count)
        return CORRUPT("rows below %u, but there are %u", lists->row_limit, state->layers[0].count);
    TRY(check_numbers(lists, &state->codec));
    if (!(met = mem_array_zalloc(bitmap_words(lists->row_limit) + 1, sizeof *met)))
        return error_nomem("graph index");
    status = check_rows(lists, state, met);
    mem_free(met);
    return status;
}
