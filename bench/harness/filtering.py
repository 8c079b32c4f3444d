"""Workloads (d) filtered search and (h) range search: every library at one question before the next question."""
import os

import numpy as np

from ..datasets import attributes, exact
from . import judge
from .curve import median
from .process import Failed


def filtered(run, kinds, selectivities, queries=100, settings=3):
    """Every kind of filter at every share; settings: how many of each sweep, 1 for its middle."""
    rows = run.sections.setdefault("filter", [])
    _, groups = run.dataset.attributes()
    queries = min(queries, len(run.dataset.queries))
    out = {id(c) for c in run.candidates if "filter" not in c.kind.features}
    for kind in kinds:
        # for near and far the question must lie near the pivot: those that do are asked
        numbers = _near_pivots(run, groups, queries) if kind in ("near", "far") else np.arange(queries)
        for selectivity in selectivities:
            run.say("  filter %s %g %%" % (kind, selectivity * 100))
            _filter_cell(run, _Cell(run, kind, selectivity, numbers, groups), settings, out, rows)


def _near_pivots(run, groups, queries):
    pivots = run.dataset.queries[:attributes.PIVOTS]
    picked = []
    for p in range(len(pivots)):
        mine = np.nonzero(groups == p)[0]
        order = np.argsort(exact.distances(run.dataset.metric, pivots[p], run.dataset.queries[mine]), kind="stable")
        picked.append(mine[order][:max(1, queries // len(pivots))])
    return np.concatenate(picked)


class _Cell:
    """One filter, or one per pivot where it depends on the query, with its questions and true answers."""

    def __init__(self, run, kind, selectivity, numbers, groups):
        self.kind, self.selectivity = kind, selectivity
        columns, _ = run.dataset.attributes()
        _, truth = run.dataset.filtered_truth(kind, selectivity, numbers, run.k)
        self.parts = []
        if kind in ("near", "far"):
            shares = [(p, np.nonzero(groups[numbers] == p)[0]) for p in np.unique(groups[numbers])]
        else:
            shares = [(groups[numbers][0], np.arange(len(numbers)))]
        for pivot, at in shares:
            expression = attributes.filter_of(kind, selectivity, int(pivot))
            self.parts.append((expression, attributes.passes(expression, columns), numbers[at], truth[at]))


def _filter_cell(run, cell, settings, out, rows):
    got = {}
    for r in range(run.rounds):
        for c in run.in_turn(r, out):
            for s, params in enumerate(c.some(settings)):
                try:
                    got.setdefault((id(c), s), []).append(_filter_point(run, c, params, cell))
                except Failed as e:
                    if not e.unsupported:
                        run.drop(c)
                    out.add(id(c))
                    run.fail(c, e)
                    break
    for c in run.in_turn(0, out):
        for s, params in enumerate(c.some(settings)):
            points = got[id(c), s]
            rows.append({"library": c.library, "index": c.plan.index, "build_params": c.plan.build,
                         "search_params": params, "dataset": run.dataset.name, "kind": cell.kind,
                         "selectivity": cell.selectivity, "recall": median([p["recall"] for p in points]),
                         "full_share": median([p["full_share"] for p in points]),
                         "qps": median([p["qps"] for p in points]), "p50_us": median([p["p50_us"] for p in points]),
                         "p99_us": median([p["p99_us"] for p in points]), "queries": points[0]["asked"],
                         "rounds": len(points)})


def _filter_point(run, c, params, cell):
    """One library's answers to all of a cell's questions, at one setting."""
    w = run.opened(c, 1)
    out = os.path.join(run.answers, "%d-filter" % id(c))
    asked, recall, full, spent, p50, p99 = 0, 0.0, 0.0, 0.0, [], []
    for expression, mask, numbers, truth in cell.parts:
        reply = w.call("filtered search", 60 + 30 * run.point_s, do="filtered", params=params,
                       queries=run.dataset.queries_path, numbers=numbers.tolist(), k=run.k, expression=expression,
                       columns=run.dataset.cached_path("attributes"), out=out, max_s=run.point_s / len(cell.parts))
        n = reply["asked"]
        said = np.load(out + ".distances.npy") if reply["distances"] else None
        verdict = judge.check(run.dataset.metric, run.dataset.base, run.dataset.queries[numbers[:n]],
                              np.load(out + ".ids.npy"), said, truth[:n], run.k, exact_claim=c.plan.exact,
                              lossy=c.plan.lossy, mask=mask)
        if verdict.faults:
            run.catch(c, verdict.faults, "filtered search")
        asked += n
        recall += verdict.recall * n
        full += verdict.full_share * n
        spent += n / reply["qps"]
        p50.append(reply["p50_us"])
        p99.append(reply["p99_us"])
    return {"recall": recall / asked, "full_share": full / asked, "qps": asked / spent, "p50_us": median(p50),
            "p99_us": max(p99), "asked": asked}


def ranges(run, queries=100, targets=(10, 100, 1000)):
    rows = run.sections.setdefault("range", [])
    queries = min(queries, len(run.dataset.queries))
    most = min(max(targets), len(run.dataset.base) // 10)
    _, truth = run.dataset.truth(queries, most)
    asked = run.dataset.queries[:queries]
    out = {id(c) for c in run.candidates if "range" not in c.kind.features}
    for target in targets:
        if target > most:
            continue
        # one radius for all, as a user has it: the median distance of the target-th neighbour
        radius = float(np.float32(np.median(truth[:, target - 1])))
        true_ids = [ids for ids, _ in exact.within(run.dataset.metric, run.dataset.base, asked, [radius] * queries)]
        run.say("  range of about %d rows: radius %.6g, %d to %d hits" % (
            target, radius, min(map(len, true_ids)), max(map(len, true_ids))))
        got = {}
        for r in range(run.rounds):
            for c in run.in_turn(r, out):
                for s, params in enumerate(c.some(2)):
                    try:
                        got.setdefault((id(c), s), []).append(_range_point(run, c, params, asked, radius, true_ids))
                    except Failed as e:
                        if not e.unsupported:
                            run.drop(c)
                        out.add(id(c))
                        run.fail(c, e)
                        break
        for c in run.in_turn(0, out):
            for s, params in enumerate(c.some(2)):
                points = got[id(c), s]
                rows.append({"library": c.library, "index": c.plan.index, "build_params": c.plan.build,
                             "search_params": params, "dataset": run.dataset.name, "target": target,
                             "radius": radius, "recall": median([p["recall"] for p in points]),
                             "qps": median([p["qps"] for p in points]), "p50_us": median([p["p50_us"] for p in points]),
                             "p99_us": median([p["p99_us"] for p in points]), "queries": points[0]["asked"],
                             "rounds": len(points)})


def _range_point(run, c, params, asked, radius, true_ids):
    out = os.path.join(run.answers, "%d-range" % id(c))
    reply = run.opened(c, 1).call(
        "range search", 60 + 30 * run.point_s, do="ranges", params=params, queries=run.dataset.queries_path,
        numbers=list(range(len(asked))), radii=[radius] * len(asked), out=out, max_s=run.point_s)
    with np.load(out + ".npz") as f:
        answers = [(part, None) for part in np.split(f["ids"], np.cumsum(f["lengths"])[:-1])]
    n = reply["asked"]
    verdict = judge.check_ranges(run.dataset.metric, run.dataset.base, asked[:n], answers[:n], true_ids[:n],
                                 [radius] * n, c.plan.lossy)
    if verdict.faults:
        run.catch(c, verdict.faults, "range search")
    return dict(reply, recall=verdict.recall)
