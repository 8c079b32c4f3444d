/* The search goes in rounds. Each takes the nearest rows that may still be of use; then the rows that were taken, and all
 * rows of groups that are full, are struck out, and the next round looks among the rest. So a group with very many near rows
 * cannot crowd out the others, and the search ends only when it has its groups or no row is left. */
#include "query/group.h"

#include "base/mem.h"
#include "storage/key_map.h"

#include <string.h>

/* Group numbers of every row of every view, made once per search. */
struct grouping {
    uint32_t **groups; /* view_count */
    size_t view_count;
    uint32_t group_count;
    struct key_map map; /* value to group */
    struct buf values;  /* all values met, one after another */
    struct buf ends;    /* u64: where each group's value ends */
};

static void grouping_deinit(struct grouping *grouping)
{
    for (size_t v = 0; grouping->groups && v < grouping->view_count; v++)
        mem_free(grouping->groups[v]);
    mem_free(grouping->groups);
    key_map_deinit(&grouping->map);
    buf_deinit(&grouping->values);
    buf_deinit(&grouping->ends);
}

static bool value_equal(const void *context, uint32_t group, const void *value, size_t size)
{
    const struct grouping *grouping = context;
    const uint64_t *ends = (const uint64_t *)(const void *)grouping->ends.data;
    uint64_t start = group ? ends[group - 1] : 0;

    return ends[group] - start == size && memcmp(grouping->values.data + start, value, size) == 0;
}

/* The group of a value, made when it is new. */
static vecdb_status group_of(struct grouping *grouping, const void *value, size_t size, uint32_t *group)
{
    uint64_t hash = key_map_hash(value, size), end;

    *group = key_map_find(&grouping->map, hash, value, size, value_equal, grouping);
    if (*group != KEY_MAP_NONE)
        return VECDB_OK;
    TRY(key_map_reserve(&grouping->map, 1));
    TRY(buf_append(&grouping->values, value, size));
    end = grouping->values.size;
    TRY(buf_append(&grouping->ends, &end, sizeof end));
    *group = grouping->group_count++;
    key_map_put(&grouping->map, hash, value, size, *group, value_equal, grouping);
    return VECDB_OK;
}

static vecdb_status group_rows(const struct snapshot *snapshot, size_t field, const struct row_set *rows,
                               struct grouping *grouping)
{
    static const char nothing[] = "\xFFno value"; /* not UTF-8, and no integer's size: no value is the same */
    struct column_scratch scratch = {{0}};
    vecdb_status status = VECDB_OK;

    grouping->view_count = snapshot->view_count;
    grouping->groups = mem_array_zalloc(snapshot->view_count + 1, sizeof *grouping->groups);
    if (!grouping->groups)
        return error_nomem("group_by");
    for (size_t v = 0; v < snapshot->view_count && status == VECDB_OK; v++) {
        const struct segment_view *view = &snapshot->views[v];
        size_t block_rows = view->segment->block_rows;
        if (!rows->counts[v])
            continue;
        grouping->groups[v] = mem_array_alloc(view->row_count, sizeof **grouping->groups);
        if (!grouping->groups[v])
            status = error_nomem("group_by");
        for (size_t row = 0; row < view->row_count && status == VECDB_OK; row++) {
            struct column column;
            size_t size;
            if (row % block_rows == 0)
                status = view_column(view, snapshot->schema, field, row / block_rows, &scratch, &column);
            if (status != VECDB_OK)
                break;
            if (column_is_valid(&column, row % block_rows)) {
                const uint8_t *value = column_bytes(&column, row % block_rows, &size);
                status = group_of(grouping, value, size, &grouping->groups[v][row]);
            } else {
                status = group_of(grouping, nothing, sizeof nothing, &grouping->groups[v][row]);
            }
        }
    }
    buf_deinit(&scratch.bytes);
    return status;
}

/* One query's groups as they fill up. */
struct filling {
    uint32_t *taken;  /* group_count: rows taken of a group */
    uint32_t *order;  /* group_count: groups that have a row, in the order they came */
    size_t group_count;
};

/* Strike out the rows of groups that are full and, once there are enough groups, of all others. */
static void strike_out(const struct snapshot *snapshot, const struct grouping *grouping,
                       const struct group_search *group, const struct filling *filling, struct row_set *rows)
{
    bool enough = filling->group_count == group->limit;

    for (size_t v = 0; v < rows->view_count; v++) {
        size_t row_count = snapshot->views[v].row_count;
        if (!rows->counts[v])
            continue;
        for (size_t row = bitmap_next(rows->bitmaps[v], row_count, 0); row < row_count;
             row = bitmap_next(rows->bitmaps[v], row_count, row + 1)) {
            uint32_t taken = filling->taken[grouping->groups[v][row]];
            if (taken >= group->group_size || (enough && taken == 0))
                row_set_remove(rows, v, row);
        }
    }
}

/* Take a round's hits, nearest first, into the groups; what was looked at is struck out. */
static vecdb_status take_hits(const struct grouping *grouping, const struct group_search *group,
                              const struct found *hits, size_t hit_count, struct filling *filling, struct row_set *rows,
                              struct buf *taken)
{
    for (size_t i = 0; i < hit_count; i++) {
        uint32_t of = grouping->groups[hits[i].view][hits[i].row];
        row_set_remove(rows, hits[i].view, hits[i].row);
        if (filling->taken[of] == 0) {
            if (filling->group_count == group->limit)
                continue;
            filling->order[filling->group_count++] = of;
        }
        if (filling->taken[of] < group->group_size) {
            filling->taken[of]++;
            TRY(buf_append(taken, &hits[i], sizeof hits[i]));
        }
    }
    return VECDB_OK;
}

static bool finished(const struct group_search *group, const struct filling *filling)
{
    if (filling->group_count < group->limit)
        return false;
    for (size_t i = 0; group->strict && i < filling->group_count; i++)
        if (filling->taken[filling->order[i]] < group->group_size)
            return false;
    return true;
}

/* Group after group, in the order the groups came. */
static vecdb_status put_in_order(const struct grouping *grouping, const struct filling *filling, const struct buf *taken,
                                 struct buf *out)
{
    const struct found *hits = (const struct found *)(const void *)taken->data;
    size_t count = taken->size / sizeof *hits;

    for (size_t g = 0; g < filling->group_count; g++)
        for (size_t i = 0; i < count; i++)
            if (grouping->groups[hits[i].view][hits[i].row] == filling->order[g])
                TRY(buf_append(out, &hits[i], sizeof hits[i]));
    return VECDB_OK;
}

static vecdb_status row_set_copy(const struct snapshot *snapshot, const struct row_set *from, struct row_set *to)
{
    *to = (struct row_set){.view_count = from->view_count};
    to->bitmaps = mem_array_zalloc(from->view_count + 1, sizeof *to->bitmaps);
    to->counts = mem_dup(from->counts, (from->view_count + 1) * sizeof *to->counts);
    for (size_t v = 0; to->bitmaps && to->counts && v < from->view_count; v++) {
        if (!from->bitmaps[v])
            continue;
        to->bitmaps[v] = mem_dup(from->bitmaps[v], bitmap_words(snapshot->views[v].row_count) * 8);
        if (!to->bitmaps[v])
            goto fail;
    }
    if (to->bitmaps && to->counts)
        return VECDB_OK;
fail:
    row_set_deinit(to);
    return error_nomem("group_by");
}

static vecdb_status run_query(const struct snapshot *snapshot, const struct search *search,
                              const struct group_search *group, const struct grouping *grouping, size_t query,
                              const struct row_set *all, struct buf *out, size_t *count,
                              struct search_counters *counters)
{
    struct search round = *search;
    struct filling filling = {0};
    struct buf taken = {0};
    struct row_set rows;
    size_t before = out->size;
    vecdb_status status = row_set_copy(snapshot, all, &rows);

    if (status != VECDB_OK)
        return status;
    filling.taken = mem_array_zalloc(grouping->group_count + 1, sizeof *filling.taken);
    filling.order = mem_array_alloc(grouping->group_count + 1, sizeof *filling.order);
    if (!filling.taken || !filling.order)
        status = error_nomem("group_by");
    round.queries = search->queries + query * search->query_stride;
    round.query_count = 1;
    round.rows = &rows;
    round.k = group->limit * group->group_size;
    while (status == VECDB_OK && !finished(group, &filling)) {
        struct found *hits;
        size_t hit_count;
        status = search_run(snapshot, &round, &hits, &hit_count, counters);
        if (status != VECDB_OK || hit_count == 0) {
            if (status == VECDB_OK)
                mem_free(hits);
            break;
        }
        status = take_hits(grouping, group, hits, hit_count, &filling, &rows, &taken);
        mem_free(hits);
        strike_out(snapshot, grouping, group, &filling, &rows);
    }
    if (status == VECDB_OK)
        status = put_in_order(grouping, &filling, &taken, out);
    *count = (out->size - before) / sizeof(struct found);
    buf_deinit(&taken);
    mem_free(filling.taken);
    mem_free(filling.order);
    row_set_deinit(&rows);
    return status;
}

vecdb_status group_search_run(const struct snapshot *snapshot, const struct search *search,
                              const struct group_search *group, struct found **found, size_t *counts,
                              struct search_counters *counters)
{
    struct grouping grouping = {0};
    struct row_set rows;
    struct buf out = {0};
    vecdb_status status = row_set_choose(snapshot, search, &rows, counters);

    *found = NULL;
    if (status != VECDB_OK)
        return status;
    status = group_rows(snapshot, group->field, &rows, &grouping);
    for (size_t q = 0; q < search->query_count && status == VECDB_OK; q++)
        status = run_query(snapshot, search, group, &grouping, q, &rows, &out, &counts[q], counters);
    if (status == VECDB_OK)
        status = buf_reserve(&out, 1);
    grouping_deinit(&grouping);
    row_set_deinit(&rows);
    if (status == VECDB_OK)
        *found = (struct found *)(void *)out.data;
    else
        buf_deinit(&out);
    return status;
}
