/* The search goes in rounds. Each takes the nearest rows that may still be of use and reads their groups. Mostly the first
 * has all that is wanted, and no other row's group was looked at. If not, the rows taken are struck out and the next round,
 * larger, looks among the rest; and when a few such rounds were not enough, every row's group is read once, so that from then
 * on all rows of groups that are full are struck out too. So a group with very many near rows cannot crowd out the others,
 * and the search ends only when it has its groups or no row is left. */
#include "query/group.h"

#include "base/mem.h"
#include "storage/key_map.h"

#include <stdlib.h>
#include <string.h>

#define LAZY_ROUNDS 2     /* before every row's group is read */
#define LAZY_GROWTH 4     /* a round is so much larger than the one before */

/* Groups by number, as their values are met. */
struct grouping {
    size_t field;
    uint32_t **groups; /* view_count: of every row; NULL until that is needed */
    size_t view_count;
    uint32_t group_count;
    struct key_map map; /* value to group */
    struct buf values;  /* all values met, one after another */
    struct buf ends;    /* u64: where each group's value ends */
    struct column_scratch scratch; /* the block last read */
    struct column column;
    size_t view, block;
};

static void grouping_deinit(struct grouping *grouping)
{
    for (size_t v = 0; grouping->groups && v < grouping->view_count; v++)
        mem_free(grouping->groups[v]);
    mem_free(grouping->groups);
    key_map_deinit(&grouping->map);
    buf_deinit(&grouping->values);
    buf_deinit(&grouping->ends);
    buf_deinit(&grouping->scratch.bytes);
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

/* The group of one row. */
static vecdb_status group_of_row(const struct snapshot *snapshot, struct grouping *grouping, size_t v, size_t row,
                                 uint32_t *group)
{
    static const char nothing[] = "\xFFno value"; /* not UTF-8, and no integer's size: no value is the same */
    const struct segment_view *view = &snapshot->views[v];
    size_t block = row / view->segment->block_rows, at = row % view->segment->block_rows, size;
    const uint8_t *value;

    if (grouping->groups && grouping->groups[v]) {
        *group = grouping->groups[v][row];
        return VECDB_OK;
    }
    if (grouping->view != v || grouping->block != block) {
        grouping->view = SIZE_MAX;
        TRY(view_column(view, snapshot->schema, grouping->field, block, &grouping->scratch, &grouping->column));
        grouping->view = v;
        grouping->block = block;
    }
    if (!column_is_valid(&grouping->column, at))
        return group_of(grouping, nothing, sizeof nothing, group);
    value = column_bytes(&grouping->column, at, &size);
    return group_of(grouping, value, size, group);
}

/* Every row's group. */
static vecdb_status group_rows(const struct snapshot *snapshot, const struct row_set *rows, struct grouping *grouping)
{
    grouping->groups = mem_array_zalloc(snapshot->view_count + 1, sizeof *grouping->groups);
    if (!grouping->groups)
        return error_nomem("group_by");
    grouping->view_count = snapshot->view_count;
    for (size_t v = 0; v < snapshot->view_count; v++) {
        size_t row_count = snapshot->views[v].row_count;
        uint32_t *groups;
        vecdb_status status = VECDB_OK;
        if (!rows->counts[v])
            continue;
        groups = mem_array_alloc(row_count, sizeof *groups);
        if (!groups)
            return error_nomem("group_by");
        for (size_t row = 0; row < row_count && status == VECDB_OK; row++)
            status = group_of_row(snapshot, grouping, v, row, &groups[row]);
        if (status != VECDB_OK) {
            mem_free(groups);
            return status;
        }
        grouping->groups[v] = groups;
    }
    return VECDB_OK;
}

/* One query's groups as they fill up. */
struct filling {
    struct buf taken;  /* u32 a group: rows taken of it */
    struct buf order;  /* u32: groups that have a row, in the order they came */
    struct buf hits;   /* struct found, in the order they came */
    struct buf of;     /* u32: each hit's group */
};

static void filling_deinit(struct filling *filling)
{
    buf_deinit(&filling->taken);
    buf_deinit(&filling->order);
    buf_deinit(&filling->hits);
    buf_deinit(&filling->of);
}

static size_t filled_groups(const struct filling *filling) { return filling->order.size / sizeof(uint32_t); }
static uint32_t *numbers(const struct buf *buf) { return (uint32_t *)(void *)buf->data; }

/* Rows taken of a group. */
static uint32_t taken_of(const struct filling *filling, uint32_t group)
{
    return group < filling->taken.size / sizeof(uint32_t) ? numbers(&filling->taken)[group] : 0;
}

/* Strike out the rows of groups that are full and, once there are enough groups, of all others. */
static vecdb_status strike_out(const struct snapshot *snapshot, const struct grouping *grouping,
                               const struct group_search *group, const struct filling *filling, struct row_set *rows)
{
    bool enough = filled_groups(filling) == group->offset + group->limit;

    TRY(row_set_spell_out(snapshot, rows));
    for (size_t v = 0; v < rows->view_count; v++) {
        size_t row_count = snapshot->views[v].row_count;
        if (!rows->counts[v])
            continue;
        for (size_t row = bitmap_next(rows->bitmaps[v], row_count, 0); row < row_count;
             row = bitmap_next(rows->bitmaps[v], row_count, row + 1)) {
            uint32_t taken = taken_of(filling, grouping->groups[v][row]);
            if (taken >= group->group_size || (enough && taken == 0))
                TRY(row_set_remove(snapshot, rows, v, row));
        }
    }
    return VECDB_OK;
}

/* Take a round's hits, nearest first, into the groups. */
static vecdb_status take_hits(const struct snapshot *snapshot, struct grouping *grouping, const struct group_search *group,
                              const struct found *hits, size_t hit_count, struct filling *filling)
{
    for (size_t i = 0; i < hit_count; i++) {
        uint32_t of;
        TRY(group_of_row(snapshot, grouping, hits[i].view, hits[i].row, &of));
        if (of >= filling->taken.size / sizeof(uint32_t))
            TRY(buf_append(&filling->taken, NULL, (of + 1) * sizeof(uint32_t) - filling->taken.size));
        if (taken_of(filling, of) == 0) {
            if (filled_groups(filling) == group->offset + group->limit)
                continue;
            TRY(buf_append(&filling->order, &of, sizeof of));
        }
        if (taken_of(filling, of) < group->group_size) {
            numbers(&filling->taken)[of]++;
            TRY(buf_append(&filling->hits, &hits[i], sizeof hits[i]));
            TRY(buf_append(&filling->of, &of, sizeof of));
        }
    }
    return VECDB_OK;
}

static bool finished(const struct group_search *group, const struct filling *filling)
{
    if (filled_groups(filling) < group->offset + group->limit)
        return false;
    for (size_t i = 0; group->strict && i < filled_groups(filling); i++)
        if (taken_of(filling, numbers(&filling->order)[i]) < group->group_size)
            return false;
    return true;
}

struct place { /* of a hit in the answer */
    float distance;
    uint32_t group, at;
};

static int compare_nearness(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->distance != y->distance)
        return x->distance < y->distance ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

static int compare_groups(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->group != y->group)
        return x->group < y->group ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

/* Group after group, that with the nearest row first; those before the offset are left out. An index that estimates may
 * find a row in a later round that is nearer than those before, so the order is made here. */
static vecdb_status put_in_order(const struct group_search *group, bool larger_is_nearer, struct filling *filling,
                                 struct buf *out)
{
    const struct found *hits = (const struct found *)(const void *)filling->hits.data;
    size_t count = filling->hits.size / sizeof *hits;
    struct place *places = mem_array_alloc(count + 1, sizeof *places);
    uint32_t *place = numbers(&filling->taken), met = 0; /* from here on: where a group comes in the answer */
    vecdb_status status = VECDB_OK;

    if (!places)
        return error_nomem("group_by");
    for (size_t i = 0; i < count; i++) {
        float distance = larger_is_nearer ? -hits[i].score : hits[i].score;
        places[i] = (struct place){distance, numbers(&filling->of)[i], (uint32_t)i};
        place[places[i].group] = UINT32_MAX;
    }
    qsort(places, count, sizeof *places, compare_nearness);
    for (size_t i = 0; i < count; i++) {
        if (place[places[i].group] == UINT32_MAX)
            place[places[i].group] = met++;
        places[i].group = place[places[i].group];
    }
    for (size_t i = 0; i < count; i++) { /* `at` becomes the rank, and `of` leads back to the hit */
        numbers(&filling->of)[i] = places[i].at;
        places[i].at = (uint32_t)i;
    }
    qsort(places, count, sizeof *places, compare_groups);
    for (size_t i = 0; i < count && status == VECDB_OK; i++)
        if (places[i].group >= group->offset)
            status = buf_append(out, &hits[numbers(&filling->of)[places[i].at]], sizeof *hits);
    mem_free(places);
    return status;
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

/* One round: search among `rows`, take what is found into the groups, and strike it out. */
static vecdb_status run_round(const struct snapshot *snapshot, const struct search *search,
                              const struct group_search *group, struct grouping *grouping, struct row_set *rows,
                              struct filling *filling, size_t *hit_count, struct search_counters *counters)
{
    struct found *hits;
    vecdb_status status = search_run(snapshot, search, &hits, hit_count, counters);

    if (status != VECDB_OK)
        return status;
    status = take_hits(snapshot, grouping, group, hits, *hit_count, filling);
    if (status == VECDB_OK && !finished(group, filling))
        for (size_t i = 0; i < *hit_count && status == VECDB_OK; i++)
            status = row_set_remove(snapshot, rows, hits[i].view, hits[i].row);
    mem_free(hits);
    return status;
}

static vecdb_status run_query(const struct snapshot *snapshot, const struct search *search,
                              const struct group_search *group, struct grouping *grouping, size_t query,
                              const struct row_set *all, struct buf *out, size_t *count, bool *fewer,
                              struct search_counters *counters)
{
    struct search round = *search;
    struct filling filling = {0};
    struct row_set rows;
    size_t before = out->size, k = (group->offset + group->limit) * group->group_size, hit_count = 1;
    vecdb_status status = row_set_copy(snapshot, all, &rows);

    if (status != VECDB_OK)
        return status;
    round.queries = search->queries + query * search->query_stride;
    round.query_count = 1;
    round.rows = &rows;
    round.k = k;
    for (unsigned n = 0; status == VECDB_OK && hit_count && !finished(group, &filling); n++) {
        if (n > LAZY_ROUNDS) {
            if (!grouping->groups)
                status = group_rows(snapshot, all, grouping);
            if (status == VECDB_OK)
                status = strike_out(snapshot, grouping, group, &filling, &rows);
            round.k = k;
        }
        if (status == VECDB_OK)
            status = run_round(snapshot, &round, group, grouping, &rows, &filling, &hit_count, counters);
        if (round.k < SIZE_MAX / LAZY_GROWTH)
            round.k *= LAZY_GROWTH;
    }
    if (filled_groups(&filling) < group->offset + group->limit)
        *fewer = true;
    if (status == VECDB_OK)
        status = put_in_order(group, metric_is_similarity(search->metric), &filling, out);
    *count = (out->size - before) / sizeof(struct found);
    filling_deinit(&filling);
    row_set_deinit(&rows);
    return status;
}

vecdb_status group_search_run(const struct snapshot *snapshot, const struct search *search,
                              const struct group_search *group, struct found **found, size_t *counts, bool *fewer,
                              struct search_counters *counters)
{
    struct grouping grouping = {.field = group->field, .view = SIZE_MAX};
    struct row_set rows;
    struct buf out = {0};
    vecdb_status status = row_set_choose(snapshot, search, &rows, counters);

    *found = NULL;
    if (status != VECDB_OK)
        return status;
    for (size_t q = 0; q < search->query_count && status == VECDB_OK; q++)
        status = run_query(snapshot, search, group, &grouping, q, &rows, &out, &counts[q], fewer, counters);
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
