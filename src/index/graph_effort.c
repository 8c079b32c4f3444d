/* How hard a search looks: parameters, and what the calibration makes of them. */
#include "index/graph_task.h"

#include <math.h>

#define EF_UNKNOWN 80 /* before there was a calibration */
#define CAP_FACTOR 4  /* with gamma, the pool may hold so many times what ef asks for */
#define BEYOND 0.4f   /* rows scored grow as gamma to a power of about 1 / 0.4; */
#define BEYOND_LEAST 0.05f /* a gamma of less, or below 0, where little was enough, grows as this one does */

/* The effort from which on more brought no more. */
static float enough(const struct graph_step *steps)
{
    for (size_t i = 0;; i++)
        if (steps[i].recall >= steps[GRAPH_CALIBRATION_STEPS - 1].recall)
            return steps[i].effort;
}

/* Value of a rising line of steps at x, in between and at the ends. A recall that was never reached takes what was
 * enough for all that was. */
static float interpolate(const struct graph_step *steps, bool by_recall, float x)
{
    for (size_t i = 0; i < GRAPH_CALIBRATION_STEPS; i++) {
        float at = by_recall ? steps[i].recall : steps[i].effort, value = by_recall ? steps[i].effort : steps[i].recall;
        if (at < x)
            continue;
        if (i) {
            float before = by_recall ? steps[i - 1].recall : steps[i - 1].effort;
            float least = by_recall ? steps[i - 1].effort : steps[i - 1].recall;
            if (at > before)
                value = least + (value - least) * (x - before) / (at - before);
        }
        return value;
    }
    return by_recall ? enough(steps) : steps[GRAPH_CALIBRATION_STEPS - 1].recall;
}

/* What to ask of the calibration for a recall to be held on other queries, nineteen times in twenty: its own rows are few, so it
 * knows recall only to a standard error, of which so many are added. The ten neighbours of a row are found and missed together:
 * they count as many as was measured, or as six. But no more than half of what may be missed, or of what is left to the best that
 * any effort brought them: far up recall costs too much, and beyond there is nothing to be had. */
static float with_margin(float recall, const struct graph_calibration *calibration)
{
    float answers = calibration->independent ? (float)calibration->independent : 6 * (float)calibration->query_count;
    float best = calibration->gamma[GRAPH_CALIBRATION_STEPS - 1].recall;
    float wish = recall + fminf(1.64f * sqrtf(recall * (1 - recall) / answers), (1 - recall) / 2);

    return wish > best && recall < best ? (recall + best) / 2 : wish;
}

/* What the caller asks for, as a pool size and a gamma. An ef is an effort: with a calibration, the gamma that brings the same
 * recall spends it where a query needs it. */
void graph_effort_settle(const struct graph_calibration *calibration, const struct graph_effort *effort, size_t k,
                          struct search_task *task)
{
    bool measured = calibration->query_count > 0;
    float recall = effort->recall, ef, asked, most = enough(calibration->ef);

    task->gamma_k = k > 10 ? k : 10;
    task->gamma = effort->gamma;
    task->recall = recall;
    if (effort->ef && !measured)
        task->recall = 1 - 0.05f * EF_UNKNOWN / ((float)effort->ef + EF_UNKNOWN);
    if (effort->ef && (!measured || effort->gamma != 0)) {
        task->ef = effort->ef;
        return;
    }
    if (!measured) {
        task->ef = (recall > 0.995f ? 6 : recall > 0.98f ? 2 : 1) * EF_UNKNOWN;
        task->ef = task->ef - 10 + k;
        return;
    }
    asked = (float)effort->ef * 10 / (float)task->gamma_k; /* measured at k = 10: of a larger k, so much is what the k need anyway */
    if (!effort->ef)
        recall = with_margin(recall, calibration);
    else
        task->recall = recall = interpolate(calibration->ef, false, asked);
    ef = interpolate(calibration->ef, true, recall);
    if (task->gamma == 0)
        task->gamma = interpolate(calibration->gamma, true, recall);
    task->ef = (size_t)ef * CAP_FACTOR + k;
    if (asked > most) { /* other queries may have use for more */
        task->gamma += fmaxf(task->gamma, BEYOND_LEAST) * (powf(asked / most, BEYOND) - 1);
        task->ef = task->ef > effort->ef ? task->ef : effort->ef;
    }
    if (task->gamma == 0) /* which would be no stop at all */
        task->gamma = 1e-6f;
}

vecdb_status graph_effort_read(const struct index *index, const struct index_search *search, const char *ef_name,
                               struct graph_effort *effort)
{
    *effort = (struct graph_effort){
        .ef = (size_t)params_get(search->params, ef_name),
        .recall = (float)params_get(search->params, "recall"),
        .gamma = (float)params_get(search->params, "gamma"),
        .refine_k = (float)params_get(search->params, "refine_k"),
    };
    if (effort->ef && effort->ef < search->k)
        return error_set(VECDB_ERR_INVALID, "index %s: %s is %zu, but must be at least k, which is %zu", index->ops->name,
                         ef_name, effort->ef, search->k);
    return VECDB_OK;
}
